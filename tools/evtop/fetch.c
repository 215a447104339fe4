/* SPDX-License-Identifier: ISC */
#include "evtop/fetch.h"

#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FETCH_MS = 5000, ANSWER_MAX = 64 << 20, SOCKET_PATH_MAX = 108 };

static int fail(struct fetch *f, const char *why)
{
	snprintf(f->why, sizeof(f->why), "%s", why);
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	f->until_ms = 0;
	dial_stop(&f->dial);
	return -1;
}

int fetch_set(struct fetch *f, const char *url)
{
	const char *at = strstr(url, "://"), *slash, *colon;
	char *host, *port;

	*f = (struct fetch){.fd = -1, .url = mem_dup(url)};
	if (strncmp(url, "unix:", 5) == 0) {
		if (!url[5] || strlen(url + 5) >= SOCKET_PATH_MAX)
			return fail(f, "the path of a socket has 1 to 107 bytes");
		f->host = mem_dup("localhost");
		f->path = mem_dup("/metrics");
		dial_set(&f->dial, url + 5, NULL);
		return 0;
	}
	if (at && strncmp(url, "http://", 7) != 0)
		return fail(f, "only http URLs are taken");
	at = at ? at + 3 : url;
	slash = at + strcspn(at, "/");
	f->host = span_text((struct span){at, (size_t)(slash - at)});
	f->path = mem_dup(slash[0] && slash[1] ? slash : "/metrics");
	/* [::1]:9100 */
	colon = strrchr(f->host, ':');
	if (colon && strchr(colon, ']'))
		colon = NULL;
	host = mem_dup(f->host);
	port = colon ? host + (colon - f->host) : NULL;
	if (port)
		*port++ = '\0';
	if (*host == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = '\0';
		memmove(host, host + 1, strlen(host));
	}
	if (!*f->host || (port && !*port) || strpbrk(f->host, " \r\n") || strpbrk(f->path, " \r\n"))
		return fail(f, "it is not of the form http://HOST:PORT/metrics");
	dial_set(&f->dial, *host ? host : "127.0.0.1", port ? port : "80");
	free(host);
	return 0;
}

void fetch_start(struct fetch *f, int64_t now_ms)
{
	if (f->until_ms)
		return;
	f->until_ms = now_ms + FETCH_MS;
	f->sent = 0;
	buf_clear(&f->answer);
	buf_clear(&f->request);
	buf_printf(&f->request, "GET %s HTTP/1.0\r\nHost: %s\r\nAccept: text/plain\r\n\r\n",
		f->path, f->host);
	dial_start(&f->dial, now_ms);
}

static bool is_sending(const struct fetch *f)
{
	return f->sent < f->request.len;
}

int fetch_fd(const struct fetch *f)
{
	return f->fd >= 0 ? f->fd : f->until_ms ? dial_fd(&f->dial) : -1;
}

short fetch_events(const struct fetch *f)
{
	if (f->fd < 0)
		return dial_events(&f->dial);
	return is_sending(f) ? POLLOUT : POLLIN;
}

int fetch_timeout_ms(const struct fetch *f, int64_t now_ms)
{
	int left = f->until_ms > now_ms ? (int)(f->until_ms - now_ms) : 0;

	if (!f->until_ms)
		return -1;
	return f->fd < 0 ? wake_least(left, dial_timeout_ms(&f->dial, now_ms)) : left;
}

static int judge(struct fetch *f, struct span *body)
{
	struct span text = buf_as_span(&f->answer);
	int status = 0;
	char *head, why[64];

	buf_putc(&f->answer, '\0');
	f->answer.len--;
	if (sscanf(f->answer.p, "HTTP/1.%*1d %3d", &status) != 1)
		return fail(f, "the answer is not HTTP's: is it another server's port?");
	head = strstr(f->answer.p, "\r\n\r\n");
	snprintf(why, sizeof(why), "the server answers %d", status);
	if (status != 200 || !head)
		return fail(f, why);
	fail(f, "");
	body->p = head + 4;
	body->len = text.len - (size_t)(body->p - f->answer.p);
	return 1;
}

static int receive(struct fetch *f, struct span *body)
{
	for (;;) {
		char *to = buf_room(&f->answer, 65536);
		ssize_t n = read(f->fd, to, 65536);

		if (n == 0)
			return judge(f, body);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : fail(f, msg_errno(errno));
		f->answer.len += (size_t)n;
		if (f->answer.len > ANSWER_MAX)
			return fail(f, "the answer is too long");
	}
}

static int send_request(struct fetch *f)
{
	ssize_t n = write(f->fd, f->request.p + f->sent, f->request.len - f->sent);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : fail(f, msg_errno(errno));
	f->sent += (size_t)n;
	return 0;
}

int fetch_step(struct fetch *f, short revents, int64_t now_ms, struct span *body)
{
	if (!f->until_ms)
		return 0;
	if (now_ms >= f->until_ms)
		return fail(f, "no answer in 5 s");
	if (f->fd >= 0) {
		if (!revents)
			return 0;
		return is_sending(f) ? send_request(f) : receive(f, body);
	}
	switch (dial_step(&f->dial, revents, now_ms)) {
	case DIAL_CONNECTED:
		f->fd = dial_take(&f->dial);
		return send_request(f);
	case DIAL_FAILED:
		return fail(f, f->dial.why);
	default:
		return 0;
	}
}
