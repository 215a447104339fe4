/* SPDX-License-Identifier: ISC */
/* Can a client of this configuration reach its cluster, and why not? Each address of
 * bootstrap.servers is dialled, each address of a name by itself, as far as the metadata; then each
 * address that the brokers advertise. Where one cannot be used it is looked at in other ways, to
 * tell what it is. For a poll loop; nothing blocks. */
#ifndef EVPIPE_KAFKA_CHECK_H
#define EVPIPE_KAFKA_CHECK_H

#include "base/trouble.h"
#include "kafka/stranger.h"
#include "kafka/talk.h"
#include "net/resolve.h"

#include <poll.h>

struct kafka_resolves;

/* Those of the first turn, the look at the login, those of the second. */
enum { CHECK_LOOKS = 4 + 1 + 2 + STRANGER_QUESTIONS };

/* One address of a listener. */
struct check_address {
	char text[64]; /* numeric, without the port */
	struct talk talk;
	struct talk looks[CHECK_LOOKS]; /* in other ways, when that has failed or is slow */
	int look_count;
	int64_t looks_us; /* since when */
	bool looks_login; /* one of them has begun */
	bool looks_further; /* the second turn */
	bool done;
};

/* What is said of a listener. */
struct check_verdict {
	/* 0: it can be used; EXIT_PERM: our configuration is wrong; EXIT_TIMEOUT; else EXIT_TEMP */
	int status;
	char text[640]; /* the sentence; "good" */
	char remedy[640]; /* what to do, to be copied; "" */
	char note[640]; /* what is not wrong, but odd; "" */
	bool is_cert; /* it is about the certificate of the broker */
	bool is_stranger; /* a broker of another cluster */
	bool is_unknown; /* we cannot go so far; a client may, and then nothing is wrong */
	bool is_passing; /* it may be over soon: a broker that starts again looks so */
};

/* HOST:PORT, of bootstrap.servers or advertised by a broker, or both. */
struct check_listener {
	char *host, *port;
	char name
		[288]; /* "host:port", an IPv6 address in brackets; of a long host as much is told */
	char *to_host, *to_port; /* where --resolve leads; else as above */
	bool is_mapped; /* by --resolve */
	bool is_bootstrap;
	int32_t *brokers; /* that advertise it */
	int broker_count;
	struct check_address *addresses;
	int address_count;
	int64_t start_us, resolve_us, took_us;
	int resolve_error; /* getaddrinfo's; 0: none */
	bool done;
	struct check_verdict verdict;
	/* internal */
	struct resolve *resolve;
};

/* What a client is configured with; see check_conf_open. */
struct check_conf {
	struct talk_as as;
	char *bootstrap, *protocol; /* "SASL_SSL" */
	bool has_cert; /* a client certificate */
	bool lacks_mechanism; /* of the login */
	int64_t token_end_ms; /* since the epoch; 0: there is no token */
	int family; /* AF_UNSPEC, AF_INET, AF_INET6 */
	const struct kafka_resolves *resolves;
};

struct kafka_conf;
/* Reads the properties. Fails with 100 when a file of certificates cannot be read. The list of
 * resolves of @k must live as long as @c. After a failure, too, check_conf_close is due; a program
 * that ends need not call it. */
int check_conf_open(struct check_conf *c, const struct kafka_conf *k, struct trouble *why);
void check_conf_close(struct check_conf *c);

struct check {
	const struct check_conf *conf;
	struct check_listener **listeners;
	size_t count;
	bool done; /* each listener is */
	const struct check_listener *via; /* that told the brokers; NULL */
	const struct check_address *via_address;
	/* internal */
	int64_t until_us, nudge_us, connect_us;
	struct talk **polled;
	size_t polled_count, polled_room;
};

/* Begins. Takes @timeout_ms at most, and a connection that is not answered a half of it. */
void check_start(
	struct check *c, const struct check_conf *conf, int64_t timeout_ms, int64_t now_us);
/* Makes an array of what poll is to look at in *@fds, which is realloc'ed. Returns how many. */
size_t check_poll(struct check *c, struct pollfd **fds, size_t *room);
int check_timeout_ms(const struct check *c, int64_t now_us);
/* Goes on. @fds as they came from poll, NULL: poll was not called. */
void check_go_on(struct check *c, const struct pollfd *fds, int64_t now_us);
/* The address that can be used, of a listener that is done; NULL: none. */
struct check_address *check_usable(const struct check_listener *l);
/* The address with which most has been done; NULL: there is none. */
const struct check_address *check_farthest(const struct check_listener *l);
/* The listener that a broker advertises; NULL. */
struct check_listener *check_broker(const struct check *c, int32_t id);
/* A further listener, as if @broker had advertised it; the one that is there already if it is. */
struct check_listener *check_add(
	struct check *c, const char *host, const char *port, int32_t broker, int64_t now_us);
/* Of a listener that can be used: an address @a of it that cannot, in words that go on from its
 * name, and how it is left out. */
void check_dead_address(const struct check_listener *l, const struct check_address *a, char *why,
	size_t why_size, char *remedy, size_t remedy_size);
/* Appends to @text, as a sentence, which HOST:PORT of --resolve are neither of -b nor advertised.
 * Of one that is done; @files: those in files count, too. Returns whether that is known: a broker
 * has told the others. */
bool check_unused(const struct check *c, bool files, char *text, size_t size);
/* The worst status of all, with its sentence. */
const struct check_verdict *check_worst(const struct check *c);
void check_free(struct check *c);

/* What is wrong with a consumer group when a broker answers with this error; or when its
 * coordinator @l cannot be used. */
void check_group_error(struct check_verdict *v, const char *group, const char *user, int16_t error);
void check_group_unreached(
	struct check_verdict *v, const char *group, const struct check_listener *l);
/* The error may be over soon, for the coordinator is being made. */
bool check_group_is_passing(int16_t error);

#endif
