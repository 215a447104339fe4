/* SPDX-License-Identifier: ISC */
/* The commands of evchain, and what they share. See evchain.c for the design. */
#ifndef EVPIPE_EVCHAIN_PARTS_H
#define EVPIPE_EVCHAIN_PARTS_H

#include "base/opt.h"
#include "evchain/note.h"

/* argv[0] is the command's name. Each returns the exit status. */
int append_command(int argc, char **argv);
int verify_command(int argc, char **argv);
int show_command(int argc, char **argv);
int prove_command(int argc, char **argv);
int check_command(int argc, char **argv);
int consistency_command(int argc, char **argv);
int keygen_command(int argc, char **argv);

const char *evchain_library(void); /* "OpenSSL 3.0.17" */
/* A text that is given as itself, as @FILE, as a file's name, or, "-", on standard input: as itself
 * when it begins with @begin. Dies with 100 when a file cannot be read. */
void take_text(const char *arg, const char *begin, struct buf *out);
/* The same for a text of several lines, a head or a proof, which ends in one line end then. */
void take_note(const char *arg, const char *begin, struct buf *out);
/* Keys as options have them: the text or @FILE. Die with 100 when it is no key. */
void take_vkey(const char *arg, struct vkey *key);
/* @file: the name of the file, or NULL when @arg is the key's text, which ps does not show any more
 * then. */
void take_skey(const char *arg, struct skey *key, const char **file);

#endif
