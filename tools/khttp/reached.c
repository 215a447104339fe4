/* SPDX-License-Identifier: ISC */
#include "khttp/reached.h"

#include "base/text.h"

#include <string.h>
#include <strings.h>

static struct span text_span(const char *text)
{
	return (struct span){text, text ? strlen(text) : 0};
}

/* Of a list, to which each proxy has added what it saw. */
static struct span first_of(const char *text)
{
	struct span s = {text, text ? strcspn(text, ",") : 0};

	while (s.len && strchr(" \t", s.p[s.len - 1]))
		s.len--;
	return s;
}

/* The value of NAME= in "for=a;host=b;proto=c", of the first of several that commas part. */
static struct span forwarded(const char *text, const char *name)
{
	size_t name_len = strlen(name), n;

	for (const char *p = text; p && *p && *p != ','; p += n) {
		p += strspn(p, " \t;");
		n = text_until(p, ";,");
		if (n > name_len && strncasecmp(p, name, name_len) == 0 && p[name_len] == '=') {
			struct span value = {p + name_len + 1, n - name_len - 1};

			while (value.len && strchr(" \t\"", value.p[value.len - 1]))
				value.len--;
			if (value.len && *value.p == '"') {
				value.p++;
				value.len--;
			}
			return value;
		}
	}
	return SPAN_NONE;
}

/* The length of a host's name; an address of IPv6 stands in brackets. */
static size_t name_len(struct span host)
{
	const char *end = host.len ? memchr(host.p, *host.p == '[' ? ']' : ':', host.len) : NULL;

	return end ? (size_t)(end - host.p) + (*host.p == '[') : host.len;
}

/* "host", "host:" or "host:port". */
static bool is_host(struct span s)
{
	size_t n = name_len(s);
	int64_t port = 0;

	for (size_t i = 0; i < n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("\"/\\?#@<>^`{|}", s.p[i]) ||
			(strchr("[]", s.p[i]) && i && i != n - 1))
			return false;
	if (!n || (*s.p == '[') != (s.p[n - 1] == ']'))
		return false;
	for (size_t i = n + 1; i < s.len && port < 65536; i++)
		port = s.p[i] >= '0' && s.p[i] <= '9' ? port * 10 + s.p[i] - '0' : 65536;
	return port < 65536 && (n == s.len || s.p[n] == ':');
}

static bool is_proto(struct span s, const char *name)
{
	return s.len == strlen(name) && strncasecmp(s.p, name, s.len) == 0;
}

/* One without the other says nothing, and so does what names no host. */
static bool is_place(struct span host, struct span proto)
{
	return proto.len && is_host(host);
}

bool reached_put(const struct reached *how, const char *path, struct buf *out, struct span *bad)
{
	struct span replaced = first_of(how->path);
	struct span host = forwarded(how->forwarded, "host");
	struct span proto = forwarded(how->forwarded, "proto");
	size_t n;

	if (!is_place(host, proto)) {
		host = first_of(how->host);
		proto = first_of(how->proto);
	}
	if (!is_place(host, proto)) {
		host = how->asked;
		proto = how->tls ? SPAN("https") : SPAN("http");
	}
	*bad = proto;
	if (!is_proto(proto, "http") && !is_proto(proto, "https"))
		return false;
	if (!is_host(host))
		host = text_span(how->address);
	n = name_len(host);
	buf_puts(out, is_proto(proto, "https") ? "https://" : "http://");
	buf_span(out, host);
	if (host.len <= n + 1)
		buf_printf(out, "%s%s", host.len == n ? ":" : "",
			is_proto(proto, "https") ? "443" : "80");
	while (replaced.len > 1 && replaced.p[replaced.len - 1] == '/')
		replaced.len--;
	if (replaced.len && *replaced.p == '/')
		buf_span(out, replaced);
	else
		buf_puts(out, path);
	return true;
}
