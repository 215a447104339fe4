/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "kafka/token.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/msg.h"
#include "base/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RUN_MS = 30000, TOKEN_MAX = 1 << 20, LIFE_MS = 300000, ANEW_MS = 500 };

/* ---- the command ---- */

/* Threads of librdkafka take no signals: the command does. */
static pid_t start(const char *command, int *out_fd)
{
	char *const argv[] = {"sh", "-c", (char *)(uintptr_t)command, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int fds[2], bad;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -1;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(
		&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, fds[1], STDOUT_FILENO);
	bad = posix_spawn(&pid, "/bin/sh", &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	close(fds[1]);
	if (bad) {
		close(fds[0]);
		errno = bad;
		return -1;
	}
	*out_fd = fds[0];
	return pid;
}

/* All that the command prints. false: it is late, or prints too much. */
static bool read_out(int fd, struct buf *out)
{
	int64_t until = wake_now_ms() + RUN_MS;

	while (out->len < TOKEN_MAX) {
		int64_t left = until - wake_now_ms();
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return false;
		n = read(fd, buf_room(out, 4096), 4096);
		if (n < 0 && errno != EINTR)
			return false;
		if (n == 0)
			return true;
		if (n > 0)
			out->len += (size_t)n;
	}
	return false;
}

static int run(const char *command, struct buf *out, char *why, size_t size)
{
	int fd, status = 0;
	pid_t pid = start(command, &fd);
	bool ended;

	if (pid < 0) {
		snprintf(why, size, "--oauth-token-cmd: cannot run it: %s", msg_errno(errno));
		return -1;
	}
	ended = read_out(fd, out);
	close(fd);
	if (!ended)
		kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!ended)
		snprintf(why, size, "--oauth-token-cmd has not ended within 30 s");
	else if (WIFSIGNALED(status))
		snprintf(why, size, "--oauth-token-cmd was ended by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		snprintf(why, size, "--oauth-token-cmd has ended with status %d",
			WEXITSTATUS(status));
	return !ended || status ? -1 : 0;
}

/* ---- the token ---- */

/* The claims of a JWT, the JSON between its two dots, as text; empty when it is none. */
static void read_claims(const char *token, struct buf *json)
{
	const char *from = strchr(token, '.');
	size_t n = from ? strcspn(from + 1, ".") : 0;
	struct buf base64 = {0};

	for (size_t i = 1; i <= n; i++)
		buf_putc(&base64, from[i] == '-' ? '+' : from[i] == '_' ? '/' : from[i]);
	while (base64.len % 4)
		buf_putc(&base64, '=');
	buf_unbase64(json, buf_as_span(&base64));
	buf_putc(json, '\0');
	buf_free(&base64);
}

/* What stands behind "name": in the claims; NULL: nothing. */
static const char *find_claim(const char *json, const char *name)
{
	char quoted[32];
	const char *at;

	snprintf(quoted, sizeof(quoted), "\"%s\"", name);
	at = strstr(json, quoted);
	if (!at)
		return NULL;
	at += strlen(quoted);
	at += strspn(at, " \t\r\n");
	return *at == ':' ? at + 1 + strspn(at + 1, " \t\r\n") : NULL;
}

static void take_claims(struct token *t)
{
	struct buf json = {0};
	const char *end, *name;
	struct timespec now;

	read_claims(t->text, &json);
	end = find_claim(json.p, "exp");
	name = find_claim(json.p, "sub");
	clock_gettime(CLOCK_REALTIME, &now);
	t->end_ms = end ? (int64_t)(strtod(end, NULL) * 1000) : 0;
	if (t->end_ms <= 0)
		t->end_ms = (int64_t)now.tv_sec * 1000 + LIFE_MS;
	if (name && *name == '"')
		t->principal = mem_printf("%.*s", (int)strcspn(name + 1, "\"\\"), name + 1);
	else
		t->principal = mem_dup("");
	buf_free(&json);
}

int token_run(const char *command, struct token *t, char *why, size_t why_size)
{
	struct buf out = {0};
	int bad = run(command, &out, why, why_size);

	*t = (struct token){0};
	buf_putc(&out, '\0');
	out.p[strcspn(out.p, "\r\n")] = '\0';
	if (!bad && !*out.p) {
		snprintf(why, why_size, "--oauth-token-cmd has printed no token");
		bad = -1;
	}
	if (!bad) {
		t->text = mem_dup(out.p);
		take_claims(t);
	}
	explicit_bzero(out.p, out.len);
	buf_free(&out);
	return bad;
}

void token_forget(const char *token)
{
	char *p = (char *)(uintptr_t)token;

	if (p)
		explicit_bzero(p, strlen(p));
	free(p);
}

void token_free(struct token *t)
{
	token_forget(t->text);
	free(t->principal);
}

/* ---- a client ---- */

static void on_refresh(rd_kafka_t *rk, const char *config, void *opaque)
{
	struct token_source *source = token_source_of(opaque);
	char why[400], text[300];
	struct token t;

	(void)config;
	if (token_run(source->command, &t, why, sizeof(why))) {
		rd_kafka_oauthbearer_set_token_failure(rk, why);
		return;
	}
	if (rd_kafka_oauthbearer_set_token(
		    rk, t.text, t.end_ms, t.principal, NULL, 0, text, sizeof(text))) {
		snprintf(why, sizeof(why), "the token of --oauth-token-cmd: %s", text);
		rd_kafka_oauthbearer_set_token_failure(rk, why);
	} else {
		struct token old;

		source->end_ms = t.end_ms;
		pthread_mutex_lock(&source->lock);
		old = source->last;
		source->last = t;
		pthread_mutex_unlock(&source->lock);
		t = old;
	}
	token_free(&t);
}

/* librdkafka asks for another token when four fifths of a token's life are over. */
void token_anew(rd_kafka_t *rk, struct token_source *source)
{
	char text[300];

	pthread_mutex_lock(&source->lock);
	if (source->last.text)
		rd_kafka_oauthbearer_set_token(rk, source->last.text, wake_epoch_ms() + ANEW_MS,
			source->last.principal, NULL, 0, text, sizeof(text));
	pthread_mutex_unlock(&source->lock);
}

char *token_last(struct token_source *source)
{
	char *text = NULL;

	pthread_mutex_lock(&source->lock);
	if (source->last.text && wake_epoch_ms() < source->last.end_ms)
		text = mem_dup(source->last.text);
	pthread_mutex_unlock(&source->lock);
	return text;
}

void token_source_close(struct token_source *source)
{
	token_free(&source->last);
	source->last = (struct token){0};
}

void token_prepare(rd_kafka_conf_t *conf)
{
	rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, on_refresh);
	rd_kafka_conf_enable_sasl_queue(conf, 1);
}

void token_start(rd_kafka_t *rk)
{
	rd_kafka_error_t *error = rd_kafka_sasl_background_callbacks_enable(rk);

	if (error)
		rd_kafka_error_destroy(error);
}
