/* SPDX-License-Identifier: ISC */
/* The commands of evcorr, a file each: opt_run calls them. They return the exit status. */
#ifndef EVPIPE_EVCORR_COMMANDS_H
#define EVPIPE_EVCORR_COMMANDS_H

int http_main(int argc, char **argv);
int serve_main(int argc, char **argv);
int stamp_main(int argc, char **argv);
int store_main(int argc, char **argv);
int wait_main(int argc, char **argv);
int call_main(int argc, char **argv);

#endif
