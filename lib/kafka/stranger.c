/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "kafka/stranger.h"

#include <string.h>

#define TEXT(s) s, sizeof(s) - 1

const struct span stranger_questions[STRANGER_QUESTIONS + 1] = {
	/* MQTT 3.1.1: CONNECT, a clean session, no name of a client. */
	{TEXT("\x10\x0c\0\4MQTT\4\2\0\0\0\0")},
	/* LDAP: an anonymous bind. */
	{TEXT("0\x0c\2\1\1`\7\2\1\3\4\0\x80\0")},
	/* RDP: a connection request of X.224 in TPKT, any security. */
	{TEXT("\3\0\0\x13\x0e\xe0\0\0\0\0\0\1\0\x08\0\3\0\0\0")},
	/* DNS: which version the server is, number "kc". */
	{TEXT("\0\x1ekc\0\0\0\1\0\0\0\0\0\0\7version\4bind\0\0\x10\0\3")},
	/* Pulsar: CONNECT of a client "k", version 12. */
	{TEXT("\0\0\0\x0d\0\0\0\x09\x08\2\x12\5\x0a\1k\x20\x0c")},
	SPAN_NONE,
};

static bool has(struct span s, const char *text)
{
	return memmem(s.p, s.len, text, strlen(text)) != NULL;
}

/* Several programs answer GET / as no other HTTP server does. */
static const char *http_kind(struct span first)
{
	if (has(first, "MongoDB over HTTP"))
		return "a MongoDB server";
	if (has(first, "kafka_cluster_id"))
		return "Kafka Connect (HTTP)";
	if (has(first, "vnd.schemaregistry"))
		return "a Schema Registry (HTTP)";
	return "an HTTP server";
}

const char *stranger_kind(struct span first)
{
	static const struct {
		size_t at; /* where these bytes stand */
		const char *bytes;
		size_t len;
		const char *kind;
	} kinds[] = {
		{0, TEXT("<!DOCTYPE"), "an HTTP server"},
		{0, TEXT("<!doctype"), "an HTTP server"},
		{0, TEXT("<html"), "an HTTP server"},
		{0, TEXT("<HTML"), "an HTTP server"},
		/* A frame of SETTINGS, of stream 0. */
		{3, TEXT("\4\0\0\0\0\0"), "an HTTP/2 server (gRPC?)"},
		{0, TEXT("-ERR 'Unknown Protocol"), "a NATS server"},
		{0, TEXT("-ERR"), "a Redis server"},
		{0, TEXT("-NOAUTH"), "a Redis server"},
		{0, TEXT("-DENIED"), "a Redis server"},
		{0, TEXT("-NOPERM"), "a Redis server"},
		{0, TEXT("-LOADING"), "a Redis server"},
		{0, TEXT("+PONG"), "a Redis server"},
		/* A packet with number 0: a greeting, or an error. */
		{3, TEXT("\0\x0a"), "a MySQL server"},
		{3, TEXT("\0\xff"), "a MySQL server"},
		/* An error, in the third version of its protocol or before. */
		{5, TEXT("SFATAL"), "a PostgreSQL server"},
		{0, TEXT("EFATAL"), "a PostgreSQL server"},
		{0, TEXT("Zookeeper version"), "ZooKeeper"},
		{0, TEXT("srvr is not executed"), "ZooKeeper"},
		{0, TEXT("SSH-"), "an SSH server"},
		{0, TEXT("220 "), "a mail or FTP server"},
		{0, TEXT("220-"), "a mail or FTP server"},
		{0, TEXT("421 "), "a mail or FTP server"},
		{0, TEXT("554 "), "a mail or FTP server"},
		{0, TEXT("* OK"), "a mail server"},
		{0, TEXT("+OK"), "a mail server"},
		{0, TEXT("AMQP"), "an AMQP server"},
		{0, TEXT("INFO {"), "a NATS server"},
		{0, TEXT("RFB "), "a VNC server"},
		{0, TEXT("This is not an HTTP port"), "an Elasticsearch server"},
		{5, TEXT("ActiveMQ"), "an ActiveMQ broker (OpenWire)"},
		{0, TEXT("ERROR\r\n"), "a memcached server"},
		{0, TEXT("ERROR"), "another server"},
		{0, TEXT("@RSYNCD:"), "an rsync server"},
		/* IAC DO, or IAC WILL. */
		{0, TEXT("\xff\xfd"), "a telnet server"},
		{0, TEXT("\xff\xfb"), "a telnet server"},
		/* An error of a protocol whose version is told, in stream 0. */
		{0, TEXT("\x83\0\0\0\0"), "a Cassandra server"},
		{0, TEXT("\x84\0\0\0\0"), "a Cassandra server"},
		{0, TEXT("\x85\0\0\0\0"), "a Cassandra server"},
		{0, TEXT("\x86\x10\0\0\0"), "a Cassandra server"},
		/* Answers to stranger_questions. CONNACK, of version 5 too. */
		{0, TEXT("\x20\2\0"), "an MQTT broker"},
		{0, TEXT("\x20\3\0"), "an MQTT broker"},
		/* A bind response, by the short form of a length and the long one; a notice. */
		{2, TEXT("\2\1\1a"), "an LDAP server"},
		{6, TEXT("\2\1\1a"), "an LDAP server"},
		{2, TEXT("\2\1\0x"), "an LDAP server"},
		/* A connection confirm. */
		{5, TEXT("\xd0\0\0"), "an RDP server"},
		/* A response, with or without authority. */
		{2, TEXT("kc\x80"), "a DNS server"},
		{2, TEXT("kc\x84"), "a DNS server"},
		/* CONNECTED, ERROR. */
		{8, TEXT("\x08\3\x1a"), "a Pulsar broker"},
		{8, TEXT("\x08\x0e\x72"), "a Pulsar broker"},
	};

	if (span_starts(first, "HTTP/"))
		return http_kind(first);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (first.len >= kinds[i].at + kinds[i].len &&
			memcmp(first.p + kinds[i].at, kinds[i].bytes, kinds[i].len) == 0)
			return kinds[i].kind;
	return NULL;
}
