/* SPDX-License-Identifier: ISC */
/* usage: sse-load PORT PATH CLIENTS EVENTS
 *
 * Opens CLIENTS event streams at 127.0.0.1:PORT and reads EVENTS events in each. The data of an
 * event has somewhere #NUMBER#MICROSECONDS#: numbers from 0, and when it was sent, by
 * CLOCK_REALTIME. Prints a line of JSON when all streams are open, {"opened_s":…,"opened_cpu_s":…},
 * and one at the end: deliveries, from the first to the last of them in seconds, gaps and repeats
 * in the numbers, events without an id, delays in ms, and its own CPU from the opened streams on:
 * where cpu_s is near to seconds, this program was what was slow. Ends with 1 when nothing has come
 * for 30 seconds. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUCKETS = 1 << 16, QUIET_MS = 30000, STARTED = 200 /* connections under way */ };

struct client {
	int fd;
	bool open, chunked, has_id;
	enum { HEAD, SIZE, BODY, CRLF } state;
	unsigned matched; /* of the empty line, or of "chunked" */
	unsigned word;
	uint64_t left, next, got;
	/* A line: which, and the number that is read. */
	enum { BEGIN, I, REST, OTHER, NUMBER, TIME } at;
	uint64_t number, sent;
};

static struct {
	struct client *all;
	size_t count, opened, done;
	uint64_t want, deliveries, gaps, repeats, no_id, delays[BUCKETS];
	double first, last, now; /* now: of the bytes that are looked at */
	int epoll;
	char request[512];
	int request_len;
	struct sockaddr_in address;
} load;

static double now_s(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void take_event(struct client *c, uint64_t number, uint64_t sent_us)
{
	double now = load.now, delay = now * 1e6 - (double)sent_us;
	/* In tenths of a millisecond. */
	size_t bucket = delay < 0	    ? 0
		: delay / 100 < BUCKETS - 1 ? (size_t)(delay / 100)
					    : BUCKETS - 1;

	load.first = load.first ? load.first : now;
	load.last = now;
	load.deliveries++;
	load.delays[bucket]++;
	load.no_id += !c->has_id;
	load.gaps += number > c->next;
	load.repeats += number < c->next;
	c->next = number + 1;
	if (++c->got == load.want)
		load.done++;
}

/* A byte of the stream itself. */
static void take_byte(struct client *c, char b)
{
	if (b == '\n') {
		/* A blank line ends an event. */
		if (c->at == BEGIN)
			c->has_id = false;
		c->at = BEGIN;
		return;
	}
	switch (c->at) {
	case BEGIN:
		c->at = b == 'i' ? I : OTHER;
		break;
	case I:
		c->has_id = c->has_id || b == 'd';
		c->at = OTHER;
		break;
	case OTHER:
		if (b == '#') {
			c->number = 0;
			c->at = NUMBER;
		}
		break;
	case NUMBER:
		if (b == '#') {
			c->sent = 0;
			c->at = TIME;
		} else {
			c->number = c->number * 10 + (uint64_t)(b - '0');
		}
		break;
	case TIME:
		if (b == '#') {
			take_event(c, c->number, c->sent);
			c->at = REST;
		} else {
			c->sent = c->sent * 10 + (uint64_t)(b - '0');
		}
		break;
	case REST:
		break;
	}
}

static void take_head(struct client *c, char b)
{
	static const char word[] = "chunked", end[] = "\r\n\r\n";

	c->word = (b | 32) == word[c->word] ? c->word + 1 : 0;
	if (c->word == sizeof(word) - 1) {
		c->chunked = true;
		c->word = 0;
	}
	c->matched = b == end[c->matched] ? c->matched + 1 : b == '\r';
	if (c->matched < 4)
		return;
	c->state = c->chunked ? SIZE : BODY;
	c->open = true;
	load.opened++;
}

/* Bytes of the stream: most are those behind the numbers, up to the end of the line. */
static void take_bytes(struct client *c, const char *p, size_t n)
{
	for (const char *end = p + n; p < end; p++) {
		if (c->at == REST && !(p = memchr(p, '\n', (size_t)(end - p))))
			return;
		take_byte(c, *p);
	}
}

static void take(struct client *c, const char *p, size_t n)
{
	for (const char *end = p + n; p < end;) {
		size_t body = (size_t)(end - p);
		char b = *p;

		switch (c->state) {
		case HEAD:
			take_head(c, b);
			break;
		case SIZE:
			if (b == '\n')
				c->state = BODY;
			else if (b != '\r')
				c->left = c->left * 16 +
					(uint64_t)(b <= '9' ? b - '0' : (b | 32) - 'a' + 10);
			break;
		case BODY:
			if (c->chunked && c->left < body)
				body = c->left;
			take_bytes(c, p, body);
			p += body;
			c->left -= c->chunked ? body : 0;
			if (c->chunked && !c->left)
				c->state = CRLF;
			continue;
		case CRLF:
			if (b == '\n')
				c->state = SIZE;
			break;
		}
		p++;
	}
}

static void start(struct client *c)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->fd < 0 ||
		(connect(c->fd, (void *)&load.address, sizeof(load.address)) &&
			errno != EINPROGRESS) ||
		epoll_ctl(load.epoll, EPOLL_CTL_ADD, c->fd, &e)) {
		perror("sse-load: connect");
		exit(1);
	}
}

static void on_event(const struct epoll_event *e)
{
	static char b[256 << 10];
	struct client *c = e->data.ptr;
	struct epoll_event reads = {.events = EPOLLIN, .data.ptr = c};
	ssize_t n;

	if (e->events & EPOLLOUT) {
		if (send(c->fd, load.request, (size_t)load.request_len, MSG_NOSIGNAL) !=
			load.request_len) {
			perror("sse-load: send");
			exit(1);
		}
		epoll_ctl(load.epoll, EPOLL_CTL_MOD, c->fd, &reads);
		return;
	}
	n = recv(c->fd, b, sizeof(b), 0);
	if (n <= 0) {
		fprintf(stderr, "sse-load: a stream has ended\n");
		exit(1);
	}
	load.now = now_s(CLOCK_REALTIME);
	take(c, b, (size_t)n);
}

static double delay_ms(double share)
{
	uint64_t seen = 0;
	size_t i = 0;

	for (; i < BUCKETS - 1 && seen + load.delays[i] < (double)load.deliveries * share; i++)
		seen += load.delays[i];
	return (double)i / 10;
}

int main(int argc, char **argv)
{
	struct rlimit files = {1 << 16, 1 << 16};
	double begun = now_s(CLOCK_MONOTONIC), cpu = 0;
	size_t started = 0;
	bool told = false;

	if (argc != 5)
		return 100;
	setrlimit(RLIMIT_NOFILE, &files);
	load.address = (struct sockaddr_in){.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(argv[1])),
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
	load.request_len = snprintf(load.request, sizeof(load.request),
		"GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n", argv[2]);
	load.count = (size_t)atol(argv[3]);
	load.want = (uint64_t)atol(argv[4]);
	load.all = calloc(load.count, sizeof(*load.all));
	load.epoll = epoll_create1(0);
	while (load.done < load.count) {
		struct epoll_event events[256];
		int n;

		while (started < load.count && started - load.opened < STARTED)
			start(&load.all[started++]);
		n = epoll_wait(load.epoll, events, 256, QUIET_MS);
		if (n <= 0)
			break;
		for (int i = 0; i < n; i++)
			on_event(&events[i]);
		if (load.opened == load.count && !told) {
			told = true;
			cpu = now_s(CLOCK_PROCESS_CPUTIME_ID);
			printf("{\"opened_s\":%.3f,\"opened_cpu_s\":%.3f}\n",
				now_s(CLOCK_MONOTONIC) - begun, cpu);
			fflush(stdout);
		}
	}
	printf("{\"deliveries\":%ju,\"seconds\":%.3f,\"cpu_s\":%.2f,\"gaps\":%ju,\"repeats\":%ju,\"no_id\":%ju,\"p50_ms\":%.1f,\"p99_ms\":%.1f}\n",
		(uintmax_t)load.deliveries, load.last - load.first,
		now_s(CLOCK_PROCESS_CPUTIME_ID) - cpu, (uintmax_t)load.gaps,
		(uintmax_t)load.repeats, (uintmax_t)load.no_id, delay_ms(0.5), delay_ms(0.99));
	return load.done < load.count;
}
