/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "kafka/bootstrap.h"

#include "base/msg.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_protocol(struct span name, const char *wanted, struct trouble *why)
{
	static const char *const protocols[] = {"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"};

	for (size_t i = 0; i < 4; i++) {
		const char *p = protocols[i];

		if (strlen(p) != name.len || strncasecmp(name.p, p, name.len) != 0)
			continue;
		if (strcasecmp(wanted, p) == 0)
			return 0;
		return trouble_set(why, EXIT_PERM,
			"a broker's address begins with %s://, and security.protocol is %s: -X "
			"security.protocol=%s",
			p, wanted, p);
	}
	return trouble_set(why, EXIT_PERM,
		"'%.*s://' is no protocol of brokers: name them as HOST:PORT", (int)name.len,
		name.p);
}

static bool is_ipv6(struct span host)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;
	const char *zone = memchr(host.p, '%', host.len);
	size_t len = zone ? (size_t)(zone - host.p) : host.len;

	if (len >= sizeof(text))
		return false;
	snprintf(text, sizeof(text), "%.*s", (int)len, host.p);
	return inet_pton(AF_INET6, text, &address) == 1;
}

bool bootstrap_is_port(struct span port)
{
	char text[6];

	if (!port.len || port.len >= sizeof(text))
		return false;
	snprintf(text, sizeof(text), "%.*s", (int)port.len, port.p);
	return strspn(text, "0123456789") == port.len && atoi(text) > 0 && atoi(text) <= 65535;
}

/* Without its protocol. */
static int check_address(struct span a, struct trouble *why)
{
	const char *colon = memchr(a.p, ':', a.len), *end = a.p + a.len;
	bool bracket = a.len && *a.p == '[';

	if (memchr(a.p, '@', a.len))
		return trouble_set(why, EXIT_PERM,
			"a broker's address has no user in it: HOST:PORT; the login is -X "
			"sasl.username=USER -X sasl.password=@FILE");
	if (bracket) {
		colon = memchr(a.p, ']', a.len);
		if (!colon || !is_ipv6((struct span){a.p + 1, (size_t)(colon - a.p - 1)}) ||
			(colon + 1 < end && colon[1] != ':'))
			return trouble_set(why, EXIT_PERM,
				"'%.*s' is no broker's address: an IPv6 address is [ADDRESS]:PORT",
				(int)a.len, a.p);
		colon = colon + 1 < end ? colon + 1 : NULL;
	} else if (colon && memrchr(a.p, ':', a.len) != colon) {
		const char *last = memrchr(a.p, ':', a.len);

		/* ::1:9092 would be a whole address, too. */
		if (is_ipv6(a) &&
			!(is_ipv6((struct span){a.p, (size_t)(last - a.p)}) &&
				bootstrap_is_port(
					(struct span){last + 1, (size_t)(end - last - 1)})))
			return 0;
		return trouble_set(why, EXIT_PERM,
			"'%.*s' is no broker's address: HOST:PORT, and an IPv6 address has "
			"brackets: [ADDRESS]:PORT",
			(int)a.len, a.p);
	}
	if (!a.len || colon == a.p)
		return trouble_set(why, EXIT_PERM,
			"'%.*s' is no broker's address: HOST is missing in HOST:PORT", (int)a.len,
			a.p);
	if (colon && !bootstrap_is_port((struct span){colon + 1, (size_t)(end - colon - 1)}))
		return trouble_set(why, EXIT_PERM,
			"'%.*s' is no broker's address: in HOST:PORT the port is a number from 1 to "
			"65535",
			(int)a.len, a.p);
	return 0;
}

int bootstrap_check(const char *list, const char *protocol, struct trouble *why)
{
	int count = 0;

	for (size_t len; *list; list += len + (list[len] == ',')) {
		struct span a;
		const char *rest;

		list += strspn(list, " \t");
		len = strcspn(list, ",");
		a = (struct span){list, strcspn(list, ", \t")};
		if (a.len + strspn(a.p + a.len, " \t") < len)
			return trouble_set(why, EXIT_PERM,
				"a broker's address has no blank in it: name several as HOST:PORT,HOST:PORT");
		if (!a.len)
			continue;
		rest = memmem(a.p, a.len, "://", 3);
		if (rest) {
			if (check_protocol((struct span){a.p, (size_t)(rest - a.p)}, protocol, why))
				return -1;
			a = (struct span){rest + 3, (size_t)(a.p + a.len - rest - 3)};
		}
		if (check_address(a, why))
			return -1;
		count++;
	}
	return count;
}
