/* SPDX-License-Identifier: ISC */
/* A conversation with one address, to find out whether a broker of Kafka can be used there: dial,
 * TLS, ApiVersions, login, Metadata; then requests of the user's. On the way it notes how far it
 * came, how long each step took, and what has gone wrong. For a poll loop; nothing blocks. It sets
 * no limit to time: talk_give_up does. */
#ifndef EVPIPE_KAFKA_TALK_H
#define EVPIPE_KAFKA_TALK_H

#include "kafka/login.h"
#include "kafka/protocol.h"
#include "net/bytes.h"
#include "net/dial.h"
#include "net/tls.h"

#include <poll.h>

/* How a client of some configuration talks. All that it points to stays. */
struct talk_as {
	bool tls, sasl;
	bool any_cert; /* the client takes any certificate */
	/* With any_cert of tls_config, of this module's users; `look` needs no files, and no_trust.
	 * NULL: without TLS. */
	struct bytes_client *tls_client, *tls_look;
	struct login_as login;
	const char *client_id;
};

/* What for. */
enum talk_aim {
	TALK_USE, /* as the client is configured, up to its metadata */
	TALK_LOOK_PLAIN, /* without TLS, up to the mechanisms that are offered, or none */
	TALK_LOOK_TLS, /* the same, with TLS and any certificate */
	TALK_LOOK_LOGIN, /* as configured, up to the mechanisms that are offered */
	TALK_LOOK_PROXY, /* says by the PROXY protocol where it comes from, then as configured, with
			    any certificate, up to ApiVersions */
	TALK_LOOK_WORDS, /* without TLS; sends @words, to see what comes back */
	TALK_LOOK_TLS_WORDS, /* the same, with TLS and any certificate */
};

/* The step it is at, or failed in. */
enum talk_step {
	TALK_IDLE,
	TALK_DIALS,
	TALK_SHAKES, /* hands, for TLS */
	TALK_ASKS_VERSIONS,
	TALK_ASKS_MECHANISMS,
	TALK_LOGS_IN,
	TALK_ASKS_METADATA,
	TALK_READS_TEXT,
	TALK_ASKS, /* a request of the user's */
	TALK_STEPS,
};

enum talk_fault {
	TALK_NO_FAULT,
	TALK_REFUSED, /* the connection */
	TALK_UNREACHABLE, /* for the reason errno has */
	TALK_SILENT, /* no answer in time */
	TALK_CLOSED, /* by the peer, before it answered */
	TALK_BAD_TLS, /* tls has why */
	TALK_BAD_CERT, /* the handshake succeeds, but the certificate has a flaw */
	TALK_NO_KAFKA, /* the answer is none of Kafka's; `first` has how it begins */
	TALK_NO_BROKER, /* Kafka, but not a broker: it knows no Metadata */
	TALK_DENIED, /* a broker's answer has an error code */
	TALK_LACKS, /* our configuration, what any client needs: `text` has what */
	TALK_CANNOT, /* we, though another client may: `text` has why */
};

struct talk {
	/* Results. */
	enum talk_step step;
	enum talk_fault fault;
	bool done; /* the aim is reached */
	int error; /* errno's, or Kafka's for TALK_DENIED */
	char text[256]; /* the reason in the peer's or the system's words */
	struct tls_report tls; /* its version is NULL without TLS */
	struct proto_versions versions;
	struct buf mechanisms; /* "A, B": what it offers; empty: no login is wanted */
	char first[80]; /* printable */
	const char *kind; /* what the server seems to be (stranger.h); NULL */
	bool answers_in_tls; /* with an alert or a handshake of TLS, which was not asked for */
	struct proto_metadata metadata;
	int64_t step_us[TALK_STEPS]; /* how long each took */
	/* Of the last request of the user's: in the answer's memory until the next one. */
	struct span answer;
	/* Internal. */
	enum talk_aim aim;
	struct span words; /* that a look sends */
	const struct talk_as *as;
	char *host, *address, *port;
	struct dial dial;
	struct bytes bytes;
	struct login login;
	struct buf in, out;
	size_t sent, request;
	int16_t version;
	int32_t number;
	int64_t since_us, start_us;
	bool has_bytes, nudged, is_second;
};

/* Servers of text answer these, HTTP, Redis, mail; and ZooKeeper those, which takes the first four
 * bytes of any other line for a length, and closes. */
extern const struct span talk_line, talk_zookeeper;

/* Begins. @host is what a certificate is for; @address is numeric. They are copied; @words, of a
 * look with them, stay. @t is all zero. */
void talk_start(struct talk *t, const struct talk_as *as, enum talk_aim aim, struct span words,
	const char *host, const char *address, const char *port, int64_t now_us);
/* It waits for a descriptor or an answer. */
bool talk_goes_on(const struct talk *t);
/* Fills in what poll is to look at; -1: nothing. */
void talk_poll(const struct talk *t, struct pollfd *p);
/* What TLS holds already wakes no poll: go on without. */
bool talk_is_due(const struct talk *t);
void talk_go_on(struct talk *t, short revents, int64_t now_us);
/* Sends the ends of lines behind a request that gets no answer, which a server of text may be
 * waiting for. A broker that is slow would close the connection. */
void talk_nudge(struct talk *t);
/* It has taken too long: TALK_SILENT. */
void talk_give_up(struct talk *t, int64_t now_us);
/* Ends the connection; the results stay. */
void talk_close(struct talk *t);
/* Frees the results too. */
void talk_free(struct talk *t);

/* Begins a request of the user's on a conversation that is `done`; the body is to be appended to
 * what is returned. Then talk_send; it is `done` again when `answer` is there. NULL: the broker has
 * no version between @low and @high; else *@version. */
struct buf *talk_request(
	struct talk *t, enum proto_api api, int16_t low, int16_t high, int16_t *version);
void talk_send(struct talk *t, int64_t now_us);

#endif
