/* SPDX-License-Identifier: ISC */
/* What the parts of lib/ack/client share. */
#ifndef EVPIPE_ACK_CLIENT_PARTS_H
#define EVPIPE_ACK_CLIENT_PARTS_H

#include "ack/client.h"

enum { ACK_RETRY_MS = 50 };

/* A client that is off, all zero, is ACK_CONNECTING too. */
enum ack_state { ACK_CONNECTING, ACK_WAITING, ACK_UP, ACK_LOST, ACK_CLOSED };

/* Connects when it is time to, and says hello; gives up when it takes too long. @input_came: poll
 * has told of standard input. */
void ack_client_connect(struct ack *a, bool input_came, int64_t now_ms);
void ack_client_close(struct ack *a, enum ack_state next);
/* The events of standard input, as poll tells them now. */
short ack_client_input(void);
/* What was reported so far becomes a line, before another one is appended. */
void ack_client_end_list(struct ack *a);

/* ---- client-message.c ---- */
/* Returns whether it is a line that a source sends. */
bool ack_client_on_line(struct ack *a, struct span line);

/* ---- client-position.c ---- */
/* A message for a sink that keeps positions; @line: behind its word. Returns whether it was one. */
bool ack_client_on_assigned(struct ack *a, struct span line);
bool ack_client_on_from(struct ack *a, struct span line);

#endif
