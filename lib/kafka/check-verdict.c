/* SPDX-License-Identifier: ISC */
/* What is wrong with a listener, in words, and the remedy. */
#define _GNU_SOURCE
#include "kafka/check-parts.h"

#include "base/msg.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* What is wrong with our configuration, unless brokers alone name this address. */
static int ours(const struct judge *j)
{
	return j->l->is_bootstrap ? EXIT_PERM : EXIT_TEMP;
}

/* ---- remedies ---- */

static void advise_listener(struct judge *j)
{
	judge_advise(j,
		"broker %d must advertise a listener of the protocol %s to those who ask at "
		"one: see listener.security.protocol.map and advertised.listeners",
		j->l->brokers[0], j->c->conf->protocol);
}

static void advise_protocol(struct judge *j, const char *protocol)
{
	if (j->l->is_bootstrap)
		judge_advise(j, "-X security.protocol=%s", protocol);
	else
		advise_listener(j);
}

static void advise_broker(struct judge *j)
{
	if (j->l->is_bootstrap && !j->l->is_mapped)
		judge_advise(j, "name the address of a broker: -b HOST:PORT");
	else
		judge_advise_address(j);
}

/* ---- what the port is ---- */

static const struct talk *look_of(const struct check_address *a, enum talk_aim aim)
{
	for (int i = 0; i < a->look_count; i++)
		if (a->looks[i].aim == aim)
			return &a->looks[i];
	return NULL;
}

/* The peer speaks TLS, with or without Kafka in it. */
static bool speaks_tls(const struct talk *t)
{
	return t && (t->tls.version || t->tls.end == TLS_WANTS_CERT);
}

/* How an answer begins that is no Kafka's and no TLS; "": none has come. */
static const char *other_words(const struct check_address *a)
{
	const char *words = a->talk.answers_in_tls ? "" : a->talk.first;

	for (int i = 0; i < a->look_count && !*words; i++)
		if (!a->looks[i].answers_in_tls && !speaks_tls(&a->looks[i]))
			words = a->looks[i].first;
	return words;
}

static const char *other_server(const struct check_address *a)
{
	const char *kind = a->talk.kind;

	for (int i = 0; i < a->look_count && !kind; i++)
		kind = a->looks[i].kind;
	return kind;
}

bool check_knows(const struct check_address *a)
{
	for (int i = 0; i < a->look_count; i++)
		if (a->looks[i].done)
			return true;
	return other_server(a) != NULL;
}

static bool offers(const struct talk *t, const char *mechanism)
{
	return t->mechanisms.len &&
		memmem(t->mechanisms.p, t->mechanisms.len, mechanism, strlen(mechanism));
}

/* One that is offered, with a password if there is one; the result is static. */
static const char *a_mechanism(const struct talk *t)
{
	static const char *const by_password[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"};
	static char name[64];
	struct span all = buf_as_span(&t->mechanisms);
	const char *comma = all.len ? memchr(all.p, ',', all.len) : NULL;

	for (int i = 0; i < 3; i++)
		if (offers(t, by_password[i]))
			return by_password[i];
	snprintf(name, sizeof(name), "%.*s", comma ? (int)(comma - all.p) : (int)all.len, all.p);
	return name;
}

/* The properties of a login that the peer takes; the result is static. */
static const char *login_properties(const struct talk *t)
{
	static char text[160];
	const char *mechanism = a_mechanism(t);

	if (strcmp(mechanism, "OAUTHBEARER") == 0)
		return "--oauth-token-cmd CMD";
	snprintf(text, sizeof(text), "-X sasl.mechanisms=%s%s", mechanism,
		strcmp(mechanism, "GSSAPI") == 0
			? ""
			: " -X sasl.username=USER -X sasl.password=PASSWORD");
	return text;
}

/* It speaks TLS, which is not spoken to it, or the other way round; @look, which tells whether a
 * login is wanted, has found that, or is NULL. */
static void judge_other_way(struct judge *j, const struct talk *look)
{
	const struct talk_as *as = &j->c->conf->as;
	bool knows = look && look->done, wants = knows ? look->mechanisms.len > 0 : as->sasl;
	bool wants_cert = look && look->tls.end == TLS_WANTS_CERT && !j->c->conf->has_cert;
	const char *what = as->tls ? "it does not speak TLS" : "it speaks TLS";
	const char *protocol = as->tls ? "PLAINTEXT" : "SSL", *more = "", *mechanism = "";
	char properties[300];

	if (wants && !as->sasl) {
		judge_say(j, ours(j),
			"%s, and security.protocol is %s; it wants a login (SASL), too, and offers the "
			"mechanisms %.*s",
			what, j->c->conf->protocol, (int)look->mechanisms.len, look->mechanisms.p);
		more = login_properties(look);
	} else {
		judge_say(j, ours(j), "%s, and security.protocol is %s%s", what,
			j->c->conf->protocol,
			wants != as->sasl    ? "; it wants no login (SASL)"
				: wants_cert ? "; it wants a client certificate, too"
					     : "");
		if (wants_cert)
			more = "-X ssl.certificate.location=FILE -X ssl.key.location=FILE";
		if (knows && wants && !offers(look, as->login.mechanism)) {
			more = "-X sasl.mechanisms=";
			mechanism = a_mechanism(look);
		}
	}
	snprintf(properties, sizeof(properties), "%s%s%s%s%s", wants ? "SASL_" : "", protocol,
		*more ? " " : "", more, mechanism);
	advise_protocol(j, properties);
	if (!knows && !as->sasl && j->l->is_bootstrap)
		judge_advise(j, "or SASL_%s, where it wants a login", protocol);
}

/* The conversation did not come to ApiVersions: what the looks have found. Returns whether they
 * did. */
static bool judge_looks(struct judge *j)
{
	const struct talk *tls = look_of(j->a, TALK_LOOK_TLS), *login, *proxy;
	const struct talk *plain = look_of(j->a, TALK_LOOK_PLAIN);
	const char *kind = other_server(j->a), *protocol = j->c->conf->protocol;

	if (plain && (plain->done || plain->step > TALK_ASKS_VERSIONS)) {
		judge_other_way(j, plain);
		return true;
	}
	login = look_of(j->a, TALK_LOOK_LOGIN);
	if (login && login->done) {
		judge_say(j, ours(j),
			"it wants a login (SASL), and security.protocol is %s; it offers "
			"the mechanisms %.*s",
			protocol, (int)login->mechanisms.len, buf_as_span(&login->mechanisms).p);
		judge_advise(j, "%s%s%s-X security.protocol=SASL_%s %s",
			j->l->is_bootstrap ? "" : "here: -b ", j->l->is_bootstrap ? "" : j->l->name,
			j->l->is_bootstrap ? "" : " ", protocol, login_properties(login));
		if (!j->l->is_bootstrap)
			advise_listener(j);
		return true;
	}
	proxy = look_of(j->a, TALK_LOOK_PROXY);
	if (proxy && proxy->done) {
		judge_say(j, ours(j),
			"a proxy answers there that wants to be told by the PROXY protocol who calls, "
			"which no client of Kafka does");
		judge_advise(j,
			"take accept-proxy (proxy_protocol) from that listener of the proxy, or name "
			"the balancer before it that sends the PROXY protocol");
		return true;
	}
	if (kind) {
		judge_say(j, ours(j), "%s answers there, no broker of Kafka%s", kind,
			speaks_tls(tls) && !tls->done ? ", and through TLS" : "");
		advise_broker(j);
		return true;
	}
	if (speaks_tls(tls) || j->a->talk.answers_in_tls) {
		judge_other_way(j, tls);
		return true;
	}
	return false;
}

/* ---- certificates ---- */

static const char *day(int64_t s, char *text, size_t size)
{
	time_t t = (time_t)s;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(text, size, "%Y-%m-%d %H:%M:%S UTC", &tm);
	return text;
}

static void judge_host_name(struct judge *j)
{
	const struct tls_report *r = &j->a->talk.tls;
	const char *names = *r->names ? r->names : r->subject, *name = strstr(r->names, "DNS:");
	bool is_name = strspn(j->l->host, "0123456789.:abcdefABCDEF") != strlen(j->l->host);
	char one[128] = "", first[136] = "", to[72];

	if (name)
		snprintf(one, sizeof(one), "%.*s", (int)strcspn(name + 4, ","), name + 4);
	else if (strncmp(r->names, "IP:", 3) == 0)
		snprintf(one, sizeof(one), "%.*s", (int)strcspn(r->names + 3, ","), r->names + 3);
	/* A client cannot ask for a wildcard. */
	if (*one == '*')
		snprintf(first, sizeof(first), "HOST%s", one + 1);
	else
		judge_bracket(one, first, sizeof(first));
	judge_say(j, EXIT_TEMP, "its certificate is not for the host name %s'%s', but for %s",
		is_name ? "" : "or address ", j->l->host, names);
	if (*first && j->l->is_bootstrap)
		judge_advise(j, "here: -b %s:%s%s%s%s%s%s%s", first, j->l->port,
			name ? " --resolve " : "", name ? first : "", name ? ":" : "",
			name ? j->l->port : "", name ? ":" : "",
			name ? judge_bracket(j->a->text, to, sizeof(to)) : "");
	else if (*first)
		judge_advise(j, "at broker %d: advertised.listeners=%s://%s:%s", j->l->brokers[0],
			j->c->conf->protocol, first, j->l->port);
	judge_advise(j, "%sa certificate with subjectAltName=%s:%s", *first ? "or " : "",
		is_name ? "DNS" : "IP", j->l->host);
}

/* One between the server's certificate and the CA may be too old, too. */
static void judge_time(struct judge *j)
{
	const struct tls_report *r = &j->a->talk.tls;
	bool is_own = strcmp(r->late, r->subject) == 0;
	const char *whose = is_own ? "its certificate" : "the certificate of its CA";
	char from[40], until[40], now[40];

	day(r->late_from_s, from, sizeof(from));
	day(r->late_until_s, until, sizeof(until));
	if (!(r->flaws & TLS_EXPIRED)) {
		judge_say(j, EXIT_TEMP, "%s is not yet valid: %s is from %s on, and here it is %s",
			whose, r->late, from, day(time(NULL), now, sizeof(now)));
		judge_advise(j, "set the clock right, here or where the certificate was made");
		return;
	}
	judge_say(j, EXIT_TEMP, "%s has expired: %s was valid until %s", whose, r->late, until);
	if (is_own)
		judge_advise(j, "renew the broker's certificate (ssl.keystore.location)");
	else
		judge_advise(j,
			"renew the certificate of %s, where it stands: -X ssl.ca.location=FILE here, "
			"or the broker's ssl.keystore.location",
			r->late);
}

static void judge_ca(struct judge *j)
{
	const struct tls_report *r = &j->a->talk.tls;
	bool is_far = strcmp(r->missing, r->issuer) != 0;

	judge_say(j, EXIT_PERM,
		"its certificate is from no CA that is trusted here: %s was signed by %s%s%s",
		r->subject, r->issuer, is_far ? ", and in the end by " : "",
		is_far ? r->missing : "");
	judge_advise(j, "-X ssl.ca.location=FILE, with the certificate of %s in it", r->missing);
	if (r->is_alone)
		judge_advise(j,
			"or, where that is an intermediate CA that the broker does not send: put it "
			"behind the broker's own in its ssl.keystore.location");
}

static void judge_cert(struct judge *j)
{
	const struct tls_report *r = &j->a->talk.tls;

	j->v->is_cert = true;
	if (r->flaws & (TLS_EXPIRED | TLS_NOT_YET_VALID)) {
		judge_time(j);
	} else if (r->flaws & TLS_UNKNOWN_CA) {
		judge_ca(j);
	} else if (r->flaws & TLS_OTHER_HOST) {
		judge_host_name(j);
	} else if (strstr(r->flaw, "CRL")) {
		judge_say(j, EXIT_PERM,
			"whether its certificate was revoked cannot be told from ssl.crl.location: %s",
			r->flaw);
		judge_advise(
			j, "-X ssl.crl.location=FILE, with the newest list of %s in it", r->issuer);
	} else {
		judge_say(j, EXIT_TEMP, "its certificate is not accepted: %s", r->flaw);
		judge_advise(j, "renew the broker's certificate (ssl.keystore.location)");
	}
}

static void judge_tls(struct judge *j)
{
	const struct talk *t = &j->a->talk;

	if (t->tls.end != TLS_WANTS_CERT) {
		judge_say(j, EXIT_TEMP, "the TLS handshake fails: %s", t->text);
		return;
	}
	if (j->c->conf->has_cert) {
		judge_say(j, EXIT_PERM, "it does not accept our client certificate: %s", t->text);
		judge_advise(j,
			"-X ssl.certificate.location=FILE -X ssl.key.location=FILE, of a CA in the "
			"broker's ssl.truststore.location");
		return;
	}
	judge_say(j, EXIT_PERM, "it wants a client certificate, and we have none");
	judge_advise(j, "-X ssl.certificate.location=FILE -X ssl.key.location=FILE");
}

/* ---- logins ---- */

static void judge_no_mechanism(struct judge *j)
{
	const struct talk *t = &j->a->talk;
	const struct login_as *as = &j->c->conf->as.login;

	judge_say(j, EXIT_PERM, "sasl.mechanisms is not set, and it offers the mechanisms %.*s",
		(int)t->mechanisms.len, t->mechanisms.p);
	if (as->user && as->password)
		judge_advise(j, "-X sasl.mechanisms=%s", a_mechanism(t));
	else
		judge_advise(j, "%s", login_properties(t));
}

static void judge_denied(struct judge *j)
{
	const struct talk *t = &j->a->talk;
	const struct login_as *as = &j->c->conf->as.login;
	struct span offered = buf_as_span(&t->mechanisms);

	if (t->error == PROTO_ILLEGAL_SASL_STATE) {
		judge_say(j, ours(j), "it wants no login (SASL), and security.protocol is %s",
			j->c->conf->protocol);
		advise_protocol(j, j->c->conf->as.tls ? "SSL" : "PLAINTEXT");
	} else if (t->error == PROTO_UNKNOWN_MECHANISM) {
		judge_say(j, EXIT_PERM, "it does not offer the SASL mechanism %s, but %.*s",
			as->mechanism, (int)offered.len, offered.p);
		judge_advise(j, "-X sasl.mechanisms=%s", a_mechanism(t));
	} else if (t->step == TALK_LOGS_IN && as->token) {
		judge_say(j, EXIT_PERM, "it does not take the token (SASL %s)%s%s", as->mechanism,
			*t->text ? ": " : "", t->text);
		judge_advise(j, "%s", login_remedy(as->mechanism));
	} else if (t->step == TALK_LOGS_IN) {
		judge_say(j, EXIT_PERM,
			"it refuses the user name or the password of '%s' (SASL %s)%s%s",
			as->user ? as->user : "", as->mechanism, *t->text ? ": " : "", t->text);
		judge_advise(j, "%s", login_remedy(as->mechanism));
	} else {
		judge_say(j, EXIT_TEMP, "the broker answers with error %d %s", t->error, t->text);
	}
}

/* ---- all of it ---- */

static void judge_silent(struct judge *j)
{
	const struct talk *t = &j->a->talk;

	if (t->step == TALK_DIALS) {
		judge_unreached(j);
		return;
	}
	j->v->is_passing = true;
	judge_say(j, EXIT_TIMEOUT, "time-out: it takes connections, and does not answer %s",
		t->step == TALK_SHAKES		  ? "to TLS"
			: t->step == TALK_LOGS_IN ? "to the login (SASL)"
						  : "as a broker");
	judge_advise(j, "is a broker there, and does it run? A proxy may have lost it");
}

static void judge_address(struct judge *j)
{
	const struct talk *t = &j->a->talk;
	char to[72];

	if (t->fault && t->mechanisms.len && j->c->conf->lacks_mechanism) {
		judge_no_mechanism(j);
		return;
	}
	switch (t->fault) {
	case TALK_REFUSED:
	case TALK_UNREACHABLE:
		judge_unreached(j);
		return;
	case TALK_BAD_CERT:
		judge_cert(j);
		return;
	case TALK_NO_BROKER:
		judge_say(j, ours(j), "it is the listener of a controller, not of a broker");
		advise_broker(j);
		return;
	case TALK_DENIED:
		judge_denied(j);
		return;
	case TALK_LACKS:
		judge_say(j, EXIT_PERM, "%s", t->text);
		judge_advise(j, "-X sasl.username=USER -X sasl.password=PASSWORD");
		return;
	case TALK_CANNOT:
		j->v->is_unknown = true;
		judge_say(j, EXIT_PERM, "%s", t->text);
		judge_advise(j, "kread, kwrite and khttp may do so, by librdkafka");
		return;
	default:
		break;
	}
	if (t->tls.end == TLS_WANTS_CERT) {
		judge_tls(j);
		return;
	}
	if (judge_looks(j))
		return;
	if (t->fault == TALK_NO_KAFKA || (*other_words(j->a) && !t->tls.version)) {
		judge_say(j, ours(j), "the answer is none of Kafka's: '%s'", other_words(j->a));
		advise_broker(j);
	} else if (t->fault == TALK_SILENT) {
		judge_silent(j);
	} else if (t->fault == TALK_CLOSED) {
		j->v->is_passing = true;
		judge_say(j, EXIT_TEMP,
			"it takes connections and closes them without an answer: no broker of "
			"Kafka, or a proxy that has lost its own");
		judge_advise(j,
			"is a broker there, and does it run? A proxy before it must not send the PROXY "
			"protocol (send-proxy), which no broker understands");
		if (j->c->conf->as.tls)
			judge_advise(j,
				"one that goes by SNI wants a host name that it knows: -b "
				"NAME:%s --resolve NAME:%s:%s",
				j->l->port, j->l->port, judge_bracket(j->a->text, to, sizeof(to)));
	} else {
		judge_tls(j);
	}
}

const struct check_address *check_farthest(const struct check_listener *l)
{
	const struct check_address *best = NULL;

	for (int i = 0; i < l->address_count; i++)
		if (!best || l->addresses[i].talk.step > best->talk.step)
			best = &l->addresses[i];
	return best;
}

void check_judge(const struct check *c, struct check_listener *l)
{
	struct judge j = {.c = c, .l = l, .a = check_farthest(l), .v = &l->verdict};

	*j.v = (struct check_verdict){0};
	if (judge_form(&j))
		return;
	if (check_usable(l))
		judge_good(&j);
	else if (!j.a)
		judge_name(&j);
	else
		judge_address(&j);
}
