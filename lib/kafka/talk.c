/* SPDX-License-Identifier: ISC */
/* DESIGN: one step at a time, one request on its way at a time. A step ends with next(), or with
 * fail(), after which the connection is closed. A certificate with a flaw ends the conversation
 * behind the handshake: no password is sent to whom we do not know. */
#define _GNU_SOURCE
#include "kafka/talk.h"

#include "base/mem.h"
#include "base/msg.h"
#include "kafka/stranger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { READ_SIZE = 16 << 10, TEXT_ENOUGH = 12 };

const struct span talk_line = SPAN("GET / HTTP/1.0\r\n\r\n"), talk_zookeeper = SPAN("srvr");
/* Version 1 of the PROXY protocol: where we come from is not told. */
static const char proxy_line[] = "PROXY UNKNOWN\r\n";

static void fail(struct talk *t, enum talk_fault fault, int error, const char *text)
{
	t->fault = fault;
	t->error = error;
	snprintf(t->text, sizeof(t->text), "%.255s", text);
	msg_clean(t->text);
	talk_close(t);
}

static void fail_errno(struct talk *t, enum talk_fault fault, int error)
{
	fail(t, fault, error, msg_errno(error));
}

static void enter(struct talk *t, enum talk_step step, int64_t now_us)
{
	t->step_us[t->step] = now_us - t->since_us;
	t->since_us = now_us;
	t->step = step;
}

static void finish(struct talk *t, int64_t now_us)
{
	t->step_us[t->step] = now_us - t->since_us;
	t->since_us = now_us;
	t->done = true;
}

static struct bytes_client *tls_of(const struct talk *t)
{
	switch (t->aim) {
	case TALK_LOOK_TLS:
	case TALK_LOOK_TLS_WORDS:
		return t->as->tls_look;
	case TALK_LOOK_PROXY:
		return t->as->tls ? t->as->tls_look : NULL;
	case TALK_LOOK_PLAIN:
	case TALK_LOOK_WORDS:
		return NULL;
	default:
		return t->as->tls ? t->as->tls_client : NULL;
	}
}

/* ---- requests ---- */

static struct buf *request(struct talk *t, enum proto_api api, int16_t version)
{
	buf_clear(&t->out);
	buf_clear(&t->in);
	t->sent = 0;
	t->version = version;
	t->request = proto_begin(&t->out, api, version, ++t->number, t->as->client_id);
	return &t->out;
}

static void ask_versions(struct talk *t, int64_t now_us)
{
	enter(t, TALK_ASKS_VERSIONS, now_us);
	request(t, PROTO_API_VERSIONS, 0);
	proto_end(&t->out, t->request);
}

static void ask_mechanisms(struct talk *t, int64_t now_us)
{
	const char *mechanism = t->aim == TALK_USE ? t->as->login.mechanism : "PLAIN";

	enter(t, TALK_ASKS_MECHANISMS, now_us);
	if (proto_version(&t->versions, PROTO_SASL_HANDSHAKE, 1, 1) < 0) {
		fail(t, TALK_CANNOT, 0, "the broker is too old for a login");
		return;
	}
	proto_put_string(request(t, PROTO_SASL_HANDSHAKE, 1), mechanism);
	proto_end(&t->out, t->request);
}

static void send_token(struct talk *t, struct buf *token)
{
	proto_put_bytes(request(t, PROTO_SASL_AUTHENTICATE, 0), buf_as_span(token));
	proto_end(&t->out, t->request);
	explicit_bzero(token->p, token->len);
}

static void log_in(struct talk *t, int64_t now_us)
{
	struct buf token = {0};

	enter(t, TALK_LOGS_IN, now_us);
	if (!login_knows(&t->as->login)) {
		bool is_oauth = strcmp(t->as->login.mechanism, "OAUTHBEARER") == 0;

		snprintf(t->text, sizeof(t->text), "kcheck cannot log in by %s%s",
			t->as->login.mechanism, is_oauth ? " without --oauth-token-cmd" : "");
		fail(t, TALK_CANNOT, 0, strdupa(t->text));
	} else if (proto_version(&t->versions, PROTO_SASL_AUTHENTICATE, 0, 0) < 0) {
		fail(t, TALK_CANNOT, 0, "the broker is too old for a login");
	} else if (login_first(&t->login, &t->as->login, &token)) {
		fail(t, TALK_LACKS, 0, t->login.why);
	} else {
		send_token(t, &token);
	}
	buf_free(&token);
}

static void ask_metadata(struct talk *t, int64_t now_us)
{
	static const char *const none[] = {NULL};
	int16_t version =
		proto_version(&t->versions, PROTO_METADATA, PROTO_METADATA_MIN, PROTO_METADATA_MAX);

	enter(t, TALK_ASKS_METADATA, now_us);
	if (version < 0) {
		fail(t, TALK_CANNOT, 0, "the broker has no version of Metadata that we have");
		return;
	}
	proto_put_metadata(request(t, PROTO_METADATA, version), version, none);
	proto_end(&t->out, t->request);
}

/* ---- answers ---- */

static void no_kafka(struct talk *t)
{
	struct span in = buf_as_span(&t->in);

	snprintf(t->first, sizeof(t->first), "%.*s", (int)in.len, in.p);
	/* An alert, or a handshake. */
	t->answers_in_tls = in.len >= 2 && (in.p[0] == 0x15 || in.p[0] == 0x16) && in.p[1] == 3;
	t->kind = stranger_kind(in);
	t->first[strcspn(t->first, "\r\n")] = '\0';
	msg_clean(t->first);
	fail(t, TALK_NO_KAFKA, 0, "the answer is none of Kafka's");
}

static bool is_other_way(const struct talk *t)
{
	return t->aim == TALK_LOOK_PLAIN || t->aim == TALK_LOOK_TLS;
}

static void dial_anew(struct talk *t, int64_t now_us);

static void on_versions(struct talk *t, struct span body, int64_t now_us)
{
	if (proto_read_versions(body, &t->versions))
		no_kafka(t);
	else if (t->versions.error)
		fail(t, TALK_DENIED, t->versions.error, "the broker refuses ApiVersions");
	else if (!proto_has(&t->versions, PROTO_METADATA))
		fail(t, TALK_NO_BROKER, 0, "it has no Metadata");
	else if (t->nudged && !t->is_second)
		dial_anew(t, now_us);
	else if (t->aim == TALK_LOOK_PROXY ||
		(is_other_way(t) && proto_version(&t->versions, PROTO_SASL_HANDSHAKE, 1, 1) < 0))
		finish(t, now_us);
	else if (t->aim == TALK_LOOK_LOGIN || is_other_way(t) || t->as->sasl)
		ask_mechanisms(t, now_us);
	else
		ask_metadata(t, now_us);
}

static void on_mechanisms(struct talk *t, struct span body, int64_t now_us)
{
	int16_t error;

	if (proto_read_mechanisms(body, &error, &t->mechanisms))
		no_kafka(t);
	else if (is_other_way(t) ||
		(t->aim == TALK_LOOK_LOGIN && error != PROTO_ILLEGAL_SASL_STATE))
		finish(t, now_us);
	else if (error)
		fail(t, TALK_DENIED, error, "");
	else
		log_in(t, now_us);
}

static void on_login(struct talk *t, struct span body, int64_t now_us)
{
	struct buf token = {0};
	struct span text, answer;
	char why[256];
	int16_t error;
	int got;

	if (proto_read_login(body, &error, &text, &answer)) {
		no_kafka(t);
		return;
	}
	if (error) {
		snprintf(why, sizeof(why), "%.*s", (int)text.len, text.p ? text.p : "");
		fail(t, TALK_DENIED, error, why);
		return;
	}
	got = login_next(&t->login, answer, &token);
	if (got < 0)
		fail(t, TALK_DENIED, PROTO_LOGIN_FAILED, t->login.why);
	else if (got)
		ask_metadata(t, now_us);
	else
		send_token(t, &token);
	buf_free(&token);
}

static void on_answer(struct talk *t, struct span body, int64_t now_us)
{
	switch (t->step) {
	case TALK_ASKS_VERSIONS:
		on_versions(t, body, now_us);
		break;
	case TALK_ASKS_MECHANISMS:
		on_mechanisms(t, body, now_us);
		break;
	case TALK_LOGS_IN:
		on_login(t, body, now_us);
		break;
	case TALK_ASKS_METADATA:
		proto_metadata_free(&t->metadata);
		if (proto_read_metadata(body, t->version, &t->metadata))
			no_kafka(t);
		else
			finish(t, now_us);
		break;
	default:
		t->answer = body;
		finish(t, now_us);
	}
}

static void look_at_input(struct talk *t, int64_t now_us)
{
	int32_t number = 0;
	struct span body;
	int got;

	if (t->step == TALK_READS_TEXT) {
		if (t->in.len >= TEXT_ENOUGH || stranger_kind(buf_as_span(&t->in)))
			no_kafka(t);
		return;
	}
	got = proto_answer(buf_as_span(&t->in), &number, &body);
	if (got < 0 || (t->in.len >= 2 * sizeof(number) && number != t->number))
		no_kafka(t);
	else if (got > 0)
		on_answer(t, body, now_us);
}

/* ---- bytes ---- */

/* After a failed read or write, or the end of what the peer sends. */
static void on_end(struct talk *t, int error)
{
	if (t->bytes.layer)
		tls_report(&t->bytes, &t->tls);
	if (t->bytes.layer && t->tls.end != TLS_GOES_ON)
		fail(t, TALK_BAD_TLS, 0, t->bytes.trouble.text);
	else if (t->in.len && t->step != TALK_ASKS)
		no_kafka(t);
	else
		fail(t, TALK_CLOSED, error, error ? msg_errno(error) : "");
}

static void on_shaken(struct talk *t, int64_t now_us)
{
	bool any_cert = t->as->any_cert || tls_of(t) == t->as->tls_look;

	if (t->bytes.layer)
		tls_report(&t->bytes, &t->tls);
	if (t->tls.flaws && !any_cert) {
		enter(t, TALK_SHAKES, now_us);
		fail(t, TALK_BAD_CERT, 0, t->tls.flaw);
	} else if (t->words.len) {
		enter(t, TALK_READS_TEXT, now_us);
		buf_put(&t->out, t->words.p, t->words.len);
	} else {
		ask_versions(t, now_us);
	}
}

static void shake(struct talk *t, int64_t now_us)
{
	int got = bytes_shake(&t->bytes);

	if (got > 0)
		on_shaken(t, now_us);
	else if (got < 0)
		on_end(t, 0);
}

static void send_out(struct talk *t)
{
	while (t->sent < t->out.len) {
		ssize_t n = bytes_write(&t->bytes, t->out.p + t->sent, t->out.len - t->sent);

		if (n >= 0) {
			t->sent += (size_t)n;
			continue;
		}
		/* What the peer has said before it closed is still to be read. */
		if (errno != EAGAIN && errno != EINTR)
			t->sent = t->out.len;
		return;
	}
}

static void take_in(struct talk *t, int64_t now_us)
{
	ssize_t n = bytes_read(&t->bytes, buf_room(&t->in, READ_SIZE), READ_SIZE);

	if (n > 0) {
		t->in.len += (size_t)n;
		look_at_input(t, now_us);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		on_end(t, n ? errno : 0);
	}
}

static void on_connected(struct talk *t, int64_t now_us)
{
	struct bytes_client *tls = tls_of(t);
	int fd = dial_take(&t->dial);

	/* Before TLS. A new connection has room for it; one that is gone fails at what follows. */
	if (t->aim == TALK_LOOK_PROXY &&
		send(fd, proxy_line, sizeof(proxy_line) - 1, MSG_NOSIGNAL) < 0)
		t->error = errno;
	bytes_open(&t->bytes, fd, tls, t->host);
	t->has_bytes = true;
	if (tls)
		enter(t, TALK_SHAKES, now_us);
	else
		on_shaken(t, now_us);
}

static void on_dial(struct talk *t, int64_t now_us)
{
	if (t->dial.state == DIAL_CONNECTED)
		on_connected(t, now_us);
	else if (t->dial.state != DIAL_FAILED)
		return;
	else if (t->dial.error == ECONNREFUSED)
		fail_errno(t, TALK_REFUSED, t->dial.error);
	else if (t->dial.error == ETIMEDOUT)
		fail_errno(t, TALK_SILENT, t->dial.error);
	else
		fail(t, TALK_UNREACHABLE, t->dial.error, t->dial.why);
}

static void begin_dial(struct talk *t, int64_t now_us)
{
	t->step = TALK_DIALS;
	t->since_us = t->start_us = now_us;
	dial_set(&t->dial, t->address, t->port);
	dial_start(&t->dial, now_us / 1000);
	on_dial(t, now_us);
}

/* Behind the ends of lines a broker takes no other request. */
static void dial_anew(struct talk *t, int64_t now_us)
{
	talk_close(t);
	buf_clear(&t->in);
	t->is_second = true;
	begin_dial(t, now_us);
}

/* ---- the whole ---- */

void talk_start(struct talk *t, const struct talk_as *as, enum talk_aim aim, struct span words,
	const char *host, const char *address, const char *port, int64_t now_us)
{
	*t = (struct talk){.aim = aim,
		.words = words,
		.as = as,
		.host = mem_dup(host),
		.address = mem_dup(address),
		.port = mem_dup(port)};
	begin_dial(t, now_us);
}

bool talk_goes_on(const struct talk *t)
{
	return t->step != TALK_IDLE && !t->done && !t->fault;
}

void talk_poll(const struct talk *t, struct pollfd *p)
{
	*p = (struct pollfd){.fd = -1};
	if (!talk_goes_on(t))
		return;
	if (t->step == TALK_DIALS)
		*p = (struct pollfd){.fd = dial_fd(&t->dial), .events = dial_events(&t->dial)};
	else
		*p = (struct pollfd){
			.fd = t->bytes.fd, .events = bytes_want(&t->bytes, t->sent < t->out.len)};
}

bool talk_is_due(const struct talk *t)
{
	return talk_goes_on(t) && t->has_bytes && bytes_pending(&t->bytes);
}

void talk_go_on(struct talk *t, short revents, int64_t now_us)
{
	if (!talk_goes_on(t))
		return;
	if (t->step == TALK_DIALS) {
		dial_step(&t->dial, revents, now_us / 1000);
		on_dial(t, now_us);
	} else if (t->step == TALK_SHAKES) {
		if (revents)
			shake(t, now_us);
	} else {
		if (t->sent < t->out.len)
			send_out(t);
		if (bytes_can_read(&t->bytes, revents))
			take_in(t, now_us);
	}
}

void talk_nudge(struct talk *t)
{
	if (!talk_goes_on(t) || t->step != TALK_ASKS_VERSIONS || t->nudged)
		return;
	t->nudged = true;
	buf_puts(&t->out, "\r\n\r\n");
}

void talk_give_up(struct talk *t, int64_t now_us)
{
	if (!talk_goes_on(t))
		return;
	t->step_us[t->step] = now_us - t->since_us;
	if (t->in.len)
		no_kafka(t);
	else
		fail_errno(t, TALK_SILENT, ETIMEDOUT);
}

void talk_close(struct talk *t)
{
	dial_free(&t->dial);
	if (t->has_bytes)
		bytes_close(&t->bytes);
	t->has_bytes = false;
}

void talk_free(struct talk *t)
{
	talk_close(t);
	if (t->out.p)
		explicit_bzero(t->out.p, t->out.cap);
	buf_free(&t->in);
	buf_free(&t->out);
	buf_free(&t->mechanisms);
	login_free(&t->login);
	proto_metadata_free(&t->metadata);
	free(t->host);
	free(t->address);
	free(t->port);
	*t = (struct talk){0};
}

struct buf *talk_request(
	struct talk *t, enum proto_api api, int16_t low, int16_t high, int16_t *version)
{
	*version = proto_version(&t->versions, api, low, high);
	return *version < 0 ? NULL : request(t, api, *version);
}

void talk_send(struct talk *t, int64_t now_us)
{
	proto_end(&t->out, t->request);
	t->done = false;
	t->step = TALK_ASKS;
	t->since_us = now_us;
}
