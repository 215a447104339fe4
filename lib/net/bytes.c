/* SPDX-License-Identifier: ISC */
#include "net/bytes.h"

#include "base/msg.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void bytes_open(struct bytes *b, int fd, struct bytes_client *client, const char *host)
{
	*b = (struct bytes){.fd = fd, .host = host, .read_want = POLLIN, .write_want = POLLOUT};
	if (client)
		client->start(client, b);
}

int bytes_shake(struct bytes *b)
{
	return b->layer ? b->layer->shake(b) : 1;
}

ssize_t bytes_read(struct bytes *b, void *p, size_t n)
{
	ssize_t got = b->layer ? b->layer->read(b, p, n) : read(b->fd, p, n);

	if (got < 0 && errno != EAGAIN && errno != EINTR)
		trouble_set(&b->trouble, EXIT_TEMP, "%s", msg_errno(errno));
	return got;
}

ssize_t bytes_write(struct bytes *b, const void *p, size_t n)
{
	ssize_t sent;
	int err;

	do
		sent = b->layer ? b->layer->write(b, p, n) : send(b->fd, p, n, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0 || errno == EAGAIN)
		return sent;
	err = errno;
	trouble_set(&b->trouble, EXIT_TEMP, "%s", msg_errno(err));
	shutdown(b->fd, SHUT_WR);
	errno = err;
	return -1;
}

void bytes_close(struct bytes *b)
{
	if (b->layer)
		b->layer->close(b);
	b->layer = NULL;
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
	b->more = false;
}
