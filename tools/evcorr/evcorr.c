/* SPDX-License-Identifier: ISC */
/* evcorr - request and reply over Kafka, with Redis in between.
 *
 * DESIGN: a request is a record with an id, a reply is a record with the same id. Any process may
 * read a reply from its topic and puts it into Redis, under its id, for the one process that waits
 * for it: replicas of a caller share one reply topic and one consumer group. What a call is stands
 * in its headers (ident.h), so that any program may be the other side.
 *
 * Files: a command each; ident.c ids and headers. */
#include "evcorr/commands.h"

#include "base/opt.h"
#include "http/http.h"
#include "net/tls.h"
#include "redis/link.h"

int main(int argc, char **argv)
{
	static const struct opt_command commands[] = {
		{"stamp", "give requests an id, where their reply goes to, and a deadline",
			stamp_main},
		{"store", "put replies into Redis, and wake those that wait for them", store_main},
		{"wait", "wait for the replies of ids, and print them", wait_main},
		{"call", "send requests, and print their replies", call_main},
		{"serve", "answer requests: what a command prints becomes their replies",
			serve_main},
		{"http", "answer a POST with the reply to a request", http_main},
		{NULL},
	};
	static const char *const examples[] = {
		"evpipe -n replies kread -g replies replies '|' evcorr store",
		"evcorr call --timeout 1m --raw --reply-to replies -- kwrite -t requests <requests.txt",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evcorr",
		.summary = "Request and reply over Kafka, with Redis in between.",
		.examples = examples,
		.libraries = {link_library, tls_library, http_library},
	};

	return opt_run(argc, argv, &page, commands);
}
