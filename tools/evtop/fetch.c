/* SPDX-License-Identifier: ISC */
#include "evtop/fetch.h"

#include "base/mem.h"
#include "base/wake.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { FETCH_MS = 5000, ANSWER_MAX = 64 << 20, SOCKET_PATH_MAX = 108 };

static int fail(struct fetch *f, const char *why)
{
	snprintf(f->why, sizeof(f->why), "%s", why);
	bytes_close(&f->bytes);
	f->until_ms = 0;
	dial_stop(&f->dial);
	return -1;
}

int fetch_set(struct fetch *f, const char *url, const struct tls_config *config)
{
	const char *at = strstr(url, "://"), *slash, *colon;
	bool secure = strncmp(url, "https://", 8) == 0;
	struct trouble why = {0};
	char *host, *port;

	*f = (struct fetch){.bytes.fd = -1, .url = mem_dup(url)};
	if (strncmp(url, "unix:", 5) == 0) {
		if (!url[5] || strlen(url + 5) >= SOCKET_PATH_MAX)
			return fail(f, "the path of a socket has 1 to 107 bytes");
		f->host = mem_dup("localhost");
		f->path = mem_dup("/metrics");
		dial_set(&f->dial, url + 5, NULL);
		return 0;
	}
	if (at && !secure && strncmp(url, "http://", 7) != 0)
		return fail(f, "only http and https URLs are taken");
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
	dial_set(&f->dial, *host ? host : "127.0.0.1", port ? port : secure ? "443" : "80");
	f->name = host;
	f->tls = secure ? tls_open(config, &why) : NULL;
	return secure && !f->tls ? fail(f, why.text) : 0;
}

void fetch_start(struct fetch *f, int64_t now_ms)
{
	if (f->until_ms)
		return;
	f->until_ms = now_ms + FETCH_MS;
	f->sent = 0;
	f->has_shaken = false;
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
	return f->bytes.fd >= 0 ? f->bytes.fd : f->until_ms ? dial_fd(&f->dial) : -1;
}

short fetch_events(const struct fetch *f)
{
	if (f->bytes.fd < 0)
		return dial_events(&f->dial);
	return bytes_want(&f->bytes, f->has_shaken && is_sending(f));
}

int fetch_timeout_ms(const struct fetch *f, int64_t now_ms)
{
	int left = f->until_ms > now_ms ? (int)(f->until_ms - now_ms) : 0;

	if (!f->until_ms)
		return -1;
	return f->bytes.fd < 0 ? wake_least(left, dial_timeout_ms(&f->dial, now_ms)) : left;
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

static bool is_passing(void)
{
	return errno == EAGAIN || errno == EINTR;
}

static int receive(struct fetch *f, struct span *body)
{
	for (;;) {
		char *to = buf_room(&f->answer, 65536);
		ssize_t n = bytes_read(&f->bytes, to, 65536);

		if (n == 0)
			return judge(f, body);
		if (n < 0)
			return is_passing() ? 0 : fail(f, f->bytes.trouble.text);
		f->answer.len += (size_t)n;
		if (f->answer.len > ANSWER_MAX)
			return fail(f, "the answer is too long");
	}
}

static int send_request(struct fetch *f)
{
	ssize_t n = bytes_write(&f->bytes, f->request.p + f->sent, f->request.len - f->sent);

	if (n < 0)
		return is_passing() ? 0 : fail(f, f->bytes.trouble.text);
	f->sent += (size_t)n;
	return 0;
}

/* Connected. */
static int go_on(struct fetch *f, struct span *body)
{
	if (!f->has_shaken) {
		int got = bytes_shake(&f->bytes);

		if (got < 0)
			return fail(f, f->bytes.trouble.text);
		if (got == 0)
			return 0;
		f->has_shaken = true;
	}
	return is_sending(f) ? send_request(f) : receive(f, body);
}

int fetch_step(struct fetch *f, short revents, int64_t now_ms, struct span *body)
{
	if (!f->until_ms)
		return 0;
	if (now_ms >= f->until_ms)
		return fail(f, "no answer in 5 s");
	if (f->bytes.fd >= 0)
		return revents ? go_on(f, body) : 0;
	switch (dial_step(&f->dial, revents, now_ms)) {
	case DIAL_CONNECTED:
		bytes_open(&f->bytes, dial_take(&f->dial), f->tls, f->name);
		return go_on(f, body);
	case DIAL_FAILED:
		return fail(f, f->dial.why);
	default:
		return 0;
	}
}
