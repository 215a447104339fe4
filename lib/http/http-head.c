/* SPDX-License-Identifier: ISC */
/* Headers that may stand on several lines; and whether a request's head says one thing alone: a
 * proxy in front may read another one differently, and what we take for the next request is then a
 * stranger's body (RFC 9112, 3.2, 5.1 and 6.3). And how much room it leaves. */
#include "http/http-parts.h"

#include <string.h>
#include <strings.h>

struct head {
	unsigned hosts, lengths;
	bool bad_name, bad_host, is_chunked, is_coded, is_folded, is_cut, has_cr;
	const char *from, *to; /* where it stands */
	const char *at; /* so far it was looked at */
};

static bool has_only(struct span s, const char *marks)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i], small = (char)(c | 0x20);

		if (!(small >= 'a' && small <= 'z') && !(c >= '0' && c <= '9') &&
			(!c || !strchr(marks, c)))
			return false;
	}
	return true;
}

/* A value that goes on in the next line, which libmicrohttpd puts behind the name: of
 * "Content-Length:", " 27" it makes Content-Length27. Else the value is behind the name's colon. */
static bool is_folded(struct span name, const char *value)
{
	const char *at = name.p + name.len + 1;

	while (at < value && (*at == ' ' || *at == '\t'))
		at++;
	return at != value;
}

/* libmicrohttpd has the head as texts, in the place where it was read: where a client has sent a
 * NUL the text ends, and the rest of its line stands before the next one's. @nuls: of the library's
 * own that may stand there, in place of marks. */
static void look_to(struct head *h, const char *next, unsigned nuls)
{
	for (; h->at < next && next <= h->to; h->at++)
		h->is_cut = h->is_cut || (*h->at ? !strchr(" \t\r\n", *h->at) : !nuls--);
}

static void look_from(struct head *h, const char *end)
{
	h->at = end >= h->from && end <= h->to ? end : h->to;
}

/* Blanks around a value are none of it (RFC 9110, 5.5). The library leaves those behind it: they
 * are taken away in its text, which is all that anybody reads. Returns how long the value is. */
static size_t trim(const char *value, size_t len)
{
	size_t n = value ? len : 0;

	while (n && (value[n - 1] == ' ' || value[n - 1] == '\t'))
		n--;
	if (value && n < len)
		((char *)(uintptr_t)value)[n] = '\0';
	return n;
}

static enum MHD_Result on_header(void *ctx, enum MHD_ValueKind kind, const char *name,
	size_t name_len, const char *value, size_t value_len)
{
	struct head *h = ctx;

	(void)kind;
	look_to(h, name, 2);
	look_from(h, value ? value + value_len : name + name_len);
	if (value && is_folded((struct span){name, name_len}, value))
		h->is_folded = true;
	if (!has_only((struct span){name, name_len}, "!#$%&'*+-.^_`|~"))
		h->bad_name = true;
	if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
		h->lengths++;
		h->is_chunked = true;
		/* The library knows it without blanks. */
		h->is_coded = h->is_coded || strcasecmp(value, "chunked") != 0;
	}
	value_len = trim(value, value_len);
	if (value_len && memchr(value, '\r', value_len))
		h->has_cr = true;
	if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0) {
		h->hosts++;
		if (!has_only((struct span){value, value_len}, "-._~%!$&'()*+,;=:[]"))
			h->bad_host = true;
	}
	if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0)
		h->lengths++;
	return MHD_YES;
}

bool http_head_is_sound(struct http_request_inner *r, const char *version)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	struct head h = {
		.from = r->pub.method, .to = r->pub.method + (info ? info->header_size : 0)};
	int status = MHD_HTTP_BAD_REQUEST;
	const char *why = NULL;

	look_from(&h, h.from + strlen(h.from));
	look_to(&h, r->uri, 1);
	look_from(&h, r->uri_end);
	look_to(&h, version, 1);
	look_from(&h, version + strlen(version));
	MHD_get_connection_values_n(r->connection, MHD_HEADER_KIND, on_header, &h);
	look_to(&h, h.to, 4);
	if (h.is_folded) {
		why = "a header goes on in a second line";
	} else if (h.is_cut) {
		why = "a line of the head has a NUL in it";
	} else if (h.has_cr) {
		why = "a header has a CR in it";
	} else if (r->has_blank) {
		why = "the URL has a blank or a control character in it";
	} else if (h.bad_name) {
		why = "a header has a name that cannot be one";
	} else if (h.lengths > 1) {
		why = "the length of the body is given more than once";
	} else if (h.is_chunked && r->is_old) {
		why = "HTTP/1.0 has no Transfer-Encoding";
	} else if (h.is_coded) {
		status = MHD_HTTP_NOT_IMPLEMENTED;
		why = "no Transfer-Encoding but 'chunked' is known here";
	} else if (h.hosts > 1 || (!h.hosts && !r->is_old)) {
		why = "the header Host is needed, once";
	} else if (h.bad_host) {
		why = "the header Host names no host";
	} else if (r->has_nul || strstr(r->path, "%00")) {
		why = "the URL has a NUL in it, %00";
	}
	if (!why)
		return true;
	r->refused = status;
	r->why = why;
	return false;
}

/* ---- how much memory it takes ---- */

enum {
	ENTRY_BYTES = 64, /* for each header and cookie */
	LEAST_BYTES = 320, /* for the answer's head */
	NEXT_BYTES = 128, /* of the next request may be read already */
};

static enum MHD_Result on_entry(void *ctx, enum MHD_ValueKind kind, const char *name,
	size_t name_len, const char *value, size_t value_len)
{
	size_t *bytes = ctx;

	(void)name_len;
	(void)value;
	*bytes += ENTRY_BYTES;
	/* The library copies it, to take it apart. */
	if (kind == MHD_HEADER_KIND && strcasecmp(name, MHD_HTTP_HEADER_COOKIE) == 0)
		*bytes += value_len + ENTRY_BYTES;
	return MHD_YES;
}

bool http_head_fits(struct http_request_inner *r)
{
	static const enum MHD_ValueKind kinds[] = {MHD_HEADER_KIND, MHD_COOKIE_KIND};
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	const struct http_conf *conf = &r->client->http->conf;
	size_t head = info ? info->header_size : 0, taken = head + NEXT_BYTES;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		MHD_get_connection_values_n(r->connection, kinds[i], on_entry, &taken);
	r->room = taken < conf->memory ? conf->memory - taken : 0;
	return head <= conf->max_head && r->room >= LEAST_BYTES;
}

bool http_has_blank(const char *uri)
{
	while ((unsigned char)*uri > ' ' && *uri != 0x7f)
		uri++;
	return *uri;
}

/* Of "http://host/path" what is behind "://"; NULL: it is no such one. */
static const char *authority_of(const char *uri)
{
	const char *p = *uri == '/' ? NULL : strstr(uri, "://");

	return p ? p + 3 : NULL;
}

const char *http_path_of(const char *uri)
{
	const char *p = authority_of(uri);

	if (!p)
		return uri;
	p += strcspn(p, "/?");
	return *p == '/' ? p : "/";
}

struct span http_host(const struct http_request *r)
{
	const char *p = authority_of(http_inner(r)->uri);
	size_t n = p ? strcspn(p, "/?") : 0;

	if (!p)
		p = http_header(r, MHD_HTTP_HEADER_HOST);
	return (struct span){p, n || !p ? n : strlen(p)};
}

struct lines {
	const char *name, *first;
	struct buf *joined;
};

static void on_line(void *ctx, const char *name, const char *value)
{
	struct lines *l = ctx;

	if (strcasecmp(name, l->name))
		return;
	if (!l->first) {
		l->first = value;
		return;
	}
	if (!l->joined->len)
		buf_puts(l->joined, l->first);
	buf_printf(l->joined, ", %s", value);
}

const char *http_header_list(const struct http_request *r, const char *name, struct buf *joined)
{
	struct lines l = {name, NULL, joined};

	http_each(r, HTTP_HEADER, on_line, &l);
	if (!joined->len)
		return l.first;
	buf_putc(joined, '\0');
	return joined->p;
}

bool http_body_is_coded(const struct http_request *r)
{
	struct buf joined = {0};
	const char *text = http_header_list(r, MHD_HTTP_HEADER_CONTENT_ENCODING, &joined);
	bool is_coded = false;

	while (text && *(text += strspn(text, ", \t"))) {
		size_t n = strcspn(text, ", \t");

		is_coded = is_coded || n != 8 || strncasecmp(text, "identity", n);
		text += n;
	}
	buf_free(&joined);
	return is_coded;
}
