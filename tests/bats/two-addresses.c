/* SPDX-License-Identifier: ISC */
/* Preloaded: every name has the addresses 127.0.0.2 and 127.0.0.1, in this order. */
#define _GNU_SOURCE
#include <netdb.h>
#include <signal.h>
#include <stddef.h>

int getaddrinfo_a(int mode, struct gaicb **list, int count, struct sigevent *event)
{
	const char *port = list[0]->ar_service;

	(void)mode, (void)count;
	if (getaddrinfo("127.0.0.2", port, list[0]->ar_request, &list[0]->ar_result) ||
		getaddrinfo("127.0.0.1", port, list[0]->ar_request, &list[0]->ar_result->ai_next))
		return EAI_FAIL;
	event->sigev_notify_function(event->sigev_value);
	return 0;
}

int gai_error(struct gaicb *request)
{
	(void)request;
	return 0;
}
