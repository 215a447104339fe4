/* SPDX-License-Identifier: ISC */
/* A connection's bytes, plain and through TLS, against OpenSSL as the server. The server's bytes go
 * through memory, so the test says how many of them arrive at a time. */
#define _GNU_SOURCE
#include "net/tls.h"
#include "redis/link.h"
#include "base/msg.h"
#include "test.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { DAY = 24 * 3600 };

/* ---- certificates ---- */

struct cert {
	EVP_PKEY *key;
	X509 *cert;
	char file[40]; /* both, PEM */
};
static struct cert ca, other_ca, server_cert, address_cert, old_cert, future_cert, stray_cert,
	client_cert;

static void cert_new(
	struct cert *c, const char *name, const struct cert *issuer, long from, long to)
{
	X509_EXTENSION *e;
	FILE *f;
	int fd;

	c->key = EVP_EC_gen("P-256");
	c->cert = X509_new();
	X509_set_version(c->cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(c->cert), (long)(test_random() >> 40));
	X509_gmtime_adj(X509_getm_notBefore(c->cert), from * DAY);
	X509_gmtime_adj(X509_getm_notAfter(c->cert), to * DAY);
	X509_set_pubkey(c->cert, c->key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(c->cert), "CN", MBSTRING_ASC,
		(const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(c->cert, X509_get_subject_name(issuer ? issuer->cert : c->cert));
	e = issuer ? X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, name)
		   : X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
	assert_non_null(e);
	X509_add_ext(c->cert, e, -1);
	X509_EXTENSION_free(e);
	assert_true(X509_sign(c->cert, issuer ? issuer->key : c->key, EVP_sha256()));
	snprintf(c->file, sizeof(c->file), "/tmp/test-tls.XXXXXX");
	fd = mkstemp(c->file);
	f = fdopen(fd, "w");
	assert_non_null(f);
	PEM_write_X509(f, c->cert);
	PEM_write_PrivateKey(f, c->key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
}

static void cert_free(struct cert *c)
{
	X509_free(c->cert);
	EVP_PKEY_free(c->key);
	unlink(c->file);
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	cert_new(&ca, "one ca", NULL, -10, 10);
	cert_new(&other_ca, "another ca", NULL, -10, 10);
	cert_new(&server_cert, "DNS:redis.example", &ca, -1, 1);
	cert_new(&address_cert, "IP:127.0.0.1", &ca, -1, 1);
	cert_new(&old_cert, "DNS:redis.example", &ca, -2, -1);
	cert_new(&future_cert, "DNS:redis.example", &ca, 1, 2);
	cert_new(&stray_cert, "DNS:redis.example", &other_ca, -1, 1);
	cert_new(&client_cert, "DNS:client", &ca, -1, 1);
	return 0;
}

static int tear_down(void **state)
{
	struct cert *const all[] = {&ca, &other_ca, &server_cert, &address_cert, &old_cert,
		&future_cert, &stray_cert, &client_cert};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		cert_free(all[i]);
	return 0;
}

/* ---- the server ---- */

struct server {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in, *out;
	int fd;
	size_t piece; /* bytes sent in one turn */
	char name[64]; /* that the client has asked for */
};

static void server_open(
	struct server *s, const struct cert *c, bool wants_cert, int version, int fd)
{
	*s = (struct server){.ctx = SSL_CTX_new(TLS_server_method()), .fd = fd, .piece = SIZE_MAX};
	SSL_CTX_set_max_proto_version(s->ctx, version);
	assert_int_equal(SSL_CTX_use_certificate(s->ctx, c->cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(s->ctx, c->key), 1);
	if (wants_cert) {
		X509_STORE_add_cert(SSL_CTX_get_cert_store(s->ctx), ca.cert);
		SSL_CTX_set_verify(s->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
	s->ssl = SSL_new(s->ctx);
	s->in = BIO_new(BIO_s_mem());
	s->out = BIO_new(BIO_s_mem());
	SSL_set_bio(s->ssl, s->in, s->out);
	SSL_set_accept_state(s->ssl);
}

/* Takes what has come, goes on with the handshake, and sends a piece of what is to go. */
static void server_turn(struct server *s)
{
	char bytes[65536];
	ssize_t n = recv(s->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	const char *name;

	if (n > 0)
		BIO_write(s->in, bytes, (int)n);
	SSL_do_handshake(s->ssl);
	name = SSL_get_servername(s->ssl, TLSEXT_NAMETYPE_host_name);
	if (name)
		snprintf(s->name, sizeof(s->name), "%s", name);
	n = BIO_read(s->out, bytes, (int)(s->piece < sizeof(bytes) ? s->piece : sizeof(bytes)));
	if (n > 0)
		assert_int_equal(send(s->fd, bytes, (size_t)n, MSG_NOSIGNAL), n);
}

static void server_close(struct server *s)
{
	SSL_free(s->ssl);
	SSL_CTX_free(s->ctx);
	close(s->fd);
	ERR_clear_error();
}

/* ---- a pair ---- */

struct pair {
	struct bytes_client *client;
	struct bytes tls;
	struct server server;
	int fd; /* of the client, in the test's hands too */
};

static void pair_open(struct pair *p, const struct tls_config *config, const char *host,
	const struct cert *c, bool wants_cert, int version)
{
	struct trouble why = {0};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	p->client = tls_open(config, &why);
	assert_string_equal(why.text, "");
	assert_non_null(p->client);
	p->fd = fds[0];
	bytes_open(&p->tls, fds[0], p->client, host);
	server_open(&p->server, c, wants_cert, version, fds[1]);
}

static void pair_close(struct pair *p)
{
	bytes_close(&p->tls);
	bytes_close(&p->tls);
	tls_free(p->client);
	server_close(&p->server);
}

static short poll_now(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, 0) == 1 ? p.revents : 0;
}

/* Both sides in turns, the client only when what it wants is there, as a loop would. */
static int shake(struct pair *p)
{
	for (int turn = 0; turn < 100000; turn++) {
		if (bytes_can_read(&p->tls, poll_now(p->fd, bytes_want(&p->tls, false)))) {
			int got = bytes_shake(&p->tls);

			if (got)
				return got;
		}
		server_turn(&p->server);
	}
	fail_msg("the handshake has no end");
	return -1;
}

static const struct tls_config trust = {.ca_file = ca.file};

/* ---- tests ---- */

static void a_handshake_waits_for_input_in_each_round(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct pair p;

		pair_open(&p, &trust, "redis.example", &server_cert, false, versions[i]);
		p.server.piece = 1;
		assert_int_equal(bytes_want(&p.tls, false), POLLOUT);
		assert_int_equal(bytes_shake(&p.tls), 0);
		assert_int_equal(bytes_want(&p.tls, false), POLLIN);
		assert_int_equal(shake(&p), 1);
		assert_int_equal(bytes_want(&p.tls, false), POLLIN);
		assert_int_equal(bytes_want(&p.tls, true), POLLIN | POLLOUT);
		assert_string_equal(p.server.name, "redis.example");
		pair_close(&p);
	}
}

static void a_certificate_that_is_not_good_is_refused_with_its_reason(void **state)
{
	static const struct {
		const char *host, *name;
		const struct cert *cert;
		const char *why; /* NULL: good */
	} rows[] = {
		{"redis.example", NULL, &server_cert, NULL},
		{"127.0.0.1", NULL, &address_cert, NULL},
		{"127.0.0.1", "redis.example", &server_cert, NULL},
		{"other.example", NULL, &server_cert,
			"its certificate is not for host name 'other.example'"},
		{"redis.example", "other.example", &server_cert,
			"its certificate is not for host name 'other.example'"},
		{"127.0.0.2", NULL, &address_cert,
			"its certificate is not for address '127.0.0.2'"},
		{"::1", NULL, &address_cert, "its certificate is not for address '::1'"},
		{"127.0.0.1", NULL, &server_cert, "its certificate is not for address '127.0.0.1'"},
		{"redis.example", NULL, &old_cert, "its certificate has expired"},
		{"redis.example", NULL, &future_cert,
			"its certificate is not yet valid: is the clock right?"},
		{"redis.example", NULL, &stray_cert,
			"its certificate is from no CA that is trusted here: name the CA's file"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct tls_config config = {.ca_file = ca.file, .name = rows[i].name};
		struct pair p;

		pair_open(&p, &config, rows[i].host, rows[i].cert, false, TLS1_3_VERSION);
		assert_int_equal(shake(&p), rows[i].why ? -1 : 1);
		assert_string_equal(p.tls.trouble.text, rows[i].why ? rows[i].why : "");
		assert_int_equal(p.tls.trouble.status, rows[i].why ? EXIT_PERM : 0);
		/* A name is told to the server, an address never. */
		server_turn(&p.server);
		assert_string_equal(p.server.name,
			rows[i].name			    ? rows[i].name
				: strchr(rows[i].host, 'x') ? rows[i].host
							    : "");
		pair_close(&p);
	}
}

static void without_a_ca_file_the_systems_are_trusted(void **state)
{
	struct pair p;

	(void)state;
	pair_open(
		&p, &(struct tls_config){0}, "redis.example", &server_cert, false, TLS1_3_VERSION);
	assert_int_equal(shake(&p), -1);
	assert_int_equal(p.tls.trouble.status, EXIT_PERM);
	pair_close(&p);
}

static void a_client_certificate_is_shown_or_its_lack_is_named(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	struct tls_config with = {.ca_file = ca.file, .cert_file = client_cert.file};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct pair p;
		char c;
		int got;

		pair_open(&p, &with, "redis.example", &server_cert, true, versions[i]);
		assert_int_equal(shake(&p), 1);
		pair_close(&p);
		pair_open(&p, &trust, "redis.example", &server_cert, true, versions[i]);
		got = shake(&p);
		/* TLS 1.3: the server's word comes behind the handshake. */
		assert_int_equal(got, i ? 1 : -1);
		server_turn(&p.server);
		if (got == 1)
			assert_int_equal(bytes_read(&p.tls, &c, 1), -1);
		assert_int_equal(p.tls.trouble.status, EXIT_PERM);
		assert_non_null(strstr(p.tls.trouble.text, "client certificate"));
		pair_close(&p);
	}
}

static void a_server_without_tls_is_named(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p, &trust, "redis.example", &server_cert, false, TLS1_3_VERSION);
	assert_int_equal(bytes_shake(&p.tls), 0);
	assert_int_equal(send(p.server.fd, "-ERR unknown command\r\n", 22, 0), 22);
	assert_int_equal(bytes_shake(&p.tls), -1);
	assert_string_equal(p.tls.trouble.text, "it does not speak TLS at this port");
	assert_int_equal(p.tls.trouble.status, EXIT_PERM);
	pair_close(&p);
	pair_open(&p, &trust, "redis.example", &server_cert, false, TLS1_3_VERSION);
	assert_int_equal(bytes_shake(&p.tls), 0);
	shutdown(p.server.fd, SHUT_RDWR);
	assert_int_equal(bytes_shake(&p.tls), -1);
	assert_int_equal(p.tls.trouble.status, EXIT_TEMP);
	pair_close(&p);
}

/* Several records lie in OpenSSL after the first read, and the socket is empty. */
static void bytes_that_openssl_holds_are_pending(void **state)
{
	struct pair p;
	char bytes[64];
	size_t total = 0;
	ssize_t n;

	(void)state;
	pair_open(&p, &trust, "redis.example", &server_cert, false, TLS1_3_VERSION);
	assert_int_equal(shake(&p), 1);
	server_turn(&p.server);
	for (int i = 0; i < 3; i++) {
		char part[100];

		memset(part, 'a' + i, sizeof(part));
		assert_int_equal(SSL_write(p.server.ssl, part, sizeof(part)), sizeof(part));
	}
	p.server.piece = 250;
	server_turn(&p.server); /* two records and the head of the third */
	for (; total < 200; total += (size_t)n) {
		n = bytes_read(&p.tls, bytes, sizeof(bytes));
		assert_true(n > 0);
		assert_int_equal(poll_now(p.fd, POLLIN), 0);
		assert_true(bytes_pending(&p.tls));
		assert_true(bytes_can_read(&p.tls, 0));
	}
	assert_int_equal(bytes_read(&p.tls, bytes, sizeof(bytes)), -1);
	assert_int_equal(errno, EAGAIN);
	assert_false(bytes_pending(&p.tls)); /* part of a record is nothing to be had */
	assert_int_equal(bytes_want(&p.tls, false), POLLIN);
	p.server.piece = SIZE_MAX;
	server_turn(&p.server);
	assert_int_equal(bytes_read(&p.tls, bytes, sizeof(bytes)), 64);
	assert_int_equal(bytes_read(&p.tls, bytes, sizeof(bytes)), 36);
	assert_int_equal(bytes[35], 'c');
	assert_int_equal(SSL_shutdown(p.server.ssl), 0);
	server_turn(&p.server);
	assert_int_equal(bytes_read(&p.tls, bytes, sizeof(bytes)), 0);
	pair_close(&p);
}

/* Writes until the socket is full; the same bytes go on from another place. */
static void a_write_goes_on_from_another_place(void **state)
{
	enum { MUCH = 4 << 20 };
	char *from = malloc(MUCH), *got = malloc(MUCH);
	size_t sent = 0, seen = 0;
	struct pair p;

	(void)state;
	for (size_t i = 0; i < MUCH; i++)
		from[i] = (char)(i * 31 >> 3);
	pair_open(&p, &trust, "redis.example", &server_cert, false, TLS1_3_VERSION);
	assert_int_equal(shake(&p), 1);
	while (seen < MUCH) {
		ssize_t n = sent < MUCH ? bytes_write(&p.tls, from + sent, MUCH - sent) : 0;
		char *moved = malloc(MUCH);
		int m;

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			assert_int_equal(bytes_want(&p.tls, true), POLLIN | POLLOUT);
			assert_int_equal(poll_now(p.fd, POLLOUT), 0);
		}
		sent += n > 0 ? (size_t)n : 0;
		memcpy(moved, from, MUCH);
		free(from);
		from = moved;
		if (n > 0)
			continue;
		server_turn(&p.server);
		while ((m = SSL_read(p.server.ssl, got + seen, (int)(MUCH - seen))) > 0)
			seen += (size_t)m;
	}
	assert_memory_equal(got, from, MUCH);
	free(from);
	free(got);
	pair_close(&p);
}

static void plain_bytes_go_as_they_are(void **state)
{
	struct bytes t;
	char bytes[8];
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	bytes_open(&t, fds[0], NULL, NULL);
	assert_int_equal(bytes_shake(&t), 1);
	assert_int_equal(bytes_want(&t, false), POLLIN);
	assert_int_equal(bytes_want(&t, true), POLLIN | POLLOUT);
	assert_int_equal(bytes_read(&t, bytes, sizeof(bytes)), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(bytes_write(&t, "abc", 3), 3);
	assert_int_equal(read(fds[1], bytes, sizeof(bytes)), 3);
	assert_int_equal(write(fds[1], "defg", 4), 4);
	assert_int_equal(bytes_read(&t, bytes, 2), 2);
	assert_false(bytes_pending(&t));
	assert_true(bytes_can_read(&t, poll_now(fds[0], POLLIN)));
	assert_int_equal(bytes_read(&t, bytes, sizeof(bytes)), 2);
	close(fds[1]);
	assert_int_equal(bytes_read(&t, bytes, sizeof(bytes)), 0);
	bytes_close(&t);
	assert_int_equal(t.fd, -1);
	bytes_close(&t);
}

/* Else what is sent later could arrive without what was not. */
static void after_a_failed_write_the_peer_sees_the_end(void **state)
{
	struct bytes t;
	char bytes[8];
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	bytes_open(&t, fds[0], NULL, NULL);
	assert_int_equal(write(fds[1], "late", 4), 4);
	shutdown(fds[0], SHUT_WR);
	assert_int_equal(bytes_write(&t, "abc", 3), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(t.trouble.status, EXIT_TEMP);
	assert_int_equal(read(fds[1], bytes, sizeof(bytes)), 0);
	assert_int_equal(bytes_read(&t, bytes, sizeof(bytes)), 4);
	bytes_close(&t);
	close(fds[1]);
}

static void files_that_cannot_be_used_are_named(void **state)
{
	static const struct {
		struct tls_config config;
		const char *why;
	} rows[] = {
		{{.ca_file = "/no/ca"},
			"cannot read the CA certificates '/no/ca': No such file or directory"},
		{{.ca_file = ca.file, .cert_file = "/no/cert"},
			"cannot read the certificate '/no/cert': No such file or directory"},
		{{.ca_file = ca.file, .cert_file = client_cert.file, .key_file = "/no/key"},
			"cannot read the key '/no/key': No such file or directory"},
		{{.ca_file = ca.file, .cert_file = client_cert.file, .key_file = ca.file},
			"cannot read the key '"},
		{{.ca_file = ca.file, .key_file = ca.file}, "the key '"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct trouble why = {0};

		assert_null(tls_open(&rows[i].config, &why));
		assert_int_equal(why.status, EXIT_PERM);
		assert_memory_equal(why.text, rows[i].why, strlen(rows[i].why));
	}
}

/* The whole of a connection to Redis: the link's loop waits for what TLS wants, byte by byte, and
 * no reply is left lying in OpenSSL. */
static void a_redis_link_goes_through_tls(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct tls_config config = {.ca_file = ca.file, .name = "redis.example"};
	struct trouble why = {0};
	struct bytes_client *client = tls_open(&config, &why);
	struct link_login login = {.what = "redis", .client = "me", .tls = client};
	struct link_reply reply;
	struct server server;
	struct link l;
	enum link_news news = LINK_SAME;
	char dir[] = "/tmp/test-tls.XXXXXX", bytes[200];
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), n = 0;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/s", dir);
	assert_int_equal(bind(listener, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(listener, 8), 0);
	link_open(&l, "test", sun.sun_path, NULL, &login);
	link_dial(&l, 0);
	assert_int_equal(link_step(&l, 0, 0), LINK_SAME);
	assert_int_equal(l.state, LINK_SHAKING);
	assert_int_equal(link_events(&l), POLLIN);
	server_open(&server, &server_cert, false, TLS1_3_VERSION, accept(listener, NULL, NULL));
	server.piece = 1;
	for (int turn = 0; news == LINK_SAME && turn < 100000; turn++) {
		short got = poll_now(link_fd(&l), link_events(&l));

		if (got || link_timeout_ms(&l, 0) == 0)
			news = link_step(&l, got, 0);
		server_turn(&server);
		if (n <= 0 && (n = SSL_read(server.ssl, bytes, sizeof(bytes))) > 0)
			assert_int_equal(SSL_write(server.ssl, "+OK\r\n", 5), 5);
	}
	assert_int_equal(news, LINK_CAME);
	server.piece = SIZE_MAX;
	for (uint64_t tag = 0; tag < 3; tag++) {
		link_command(&l, tag, 1, (const char *const[]){"PING"});
		SSL_write(server.ssl, "+PONG\r\n", 7);
	}
	server_turn(&server);
	link_step(&l, poll_now(link_fd(&l), link_events(&l)), 0);
	for (uint64_t tag = 0; tag < 3; tag++) {
		assert_int_equal(link_reply(&l, &reply), RESP_STATUS);
		assert_int_equal(reply.tag, tag);
	}
	assert_int_equal(link_timeout_ms(&l, 0), 5000);
	link_close(&l);
	server_close(&server);
	close(listener);
	tls_free(client);
	unlink(sun.sun_path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_handshake_waits_for_input_in_each_round),
		cmocka_unit_test(a_certificate_that_is_not_good_is_refused_with_its_reason),
		cmocka_unit_test(without_a_ca_file_the_systems_are_trusted),
		cmocka_unit_test(a_client_certificate_is_shown_or_its_lack_is_named),
		cmocka_unit_test(a_server_without_tls_is_named),
		cmocka_unit_test(bytes_that_openssl_holds_are_pending),
		cmocka_unit_test(a_write_goes_on_from_another_place),
		cmocka_unit_test(plain_bytes_go_as_they_are),
		cmocka_unit_test(after_a_failed_write_the_peer_sees_the_end),
		cmocka_unit_test(files_that_cannot_be_used_are_named),
		cmocka_unit_test(a_redis_link_goes_through_tls),
	};

	test_seed_init();
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
