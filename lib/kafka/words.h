/* SPDX-License-Identifier: ISC */
/* Options of kcat and rpk which mean nothing here, and how it is written here. For opt_page. */
#ifndef EVPIPE_WORDS_H
#define EVPIPE_WORDS_H

#include "base/opt.h"

extern const struct opt_hint words_of_readers[], words_of_writers[];

#endif
