/* SPDX-License-Identifier: ISC */
/* Preloaded: a program stops itself once it is loaded and before its main, for strace to come in
 * there. So the n-th call of a kind is the program's n-th, not the loader's. */
#include <signal.h>

__attribute__((constructor)) static void gate(void)
{
	raise(SIGSTOP);
}
