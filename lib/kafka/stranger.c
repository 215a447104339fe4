/* SPDX-License-Identifier: ISC */
#include "kafka/stranger.h"

#include <string.h>

#define TEXT(s) s, sizeof(s) - 1

const char *stranger_kind(struct span first)
{
	static const struct {
		size_t at; /* where these bytes stand */
		const char *bytes;
		size_t len;
		const char *kind;
	} kinds[] = {
		{0, TEXT("HTTP/"), "an HTTP server"},
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
		{0, TEXT("* OK"), "a mail server"},
		{0, TEXT("+OK"), "a mail server"},
		{0, TEXT("AMQP"), "an AMQP server"},
		{0, TEXT("INFO {"), "a NATS server"},
		{0, TEXT("RFB "), "a VNC server"},
		{0, TEXT("This is not an HTTP port"), "an Elasticsearch server"},
		{0, TEXT("ERROR"), "another server"},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (first.len >= kinds[i].at + kinds[i].len &&
			memcmp(first.p + kinds[i].at, kinds[i].bytes, kinds[i].len) == 0)
			return kinds[i].kind;
	return NULL;
}
