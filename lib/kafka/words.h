/* SPDX-License-Identifier: ISC */
/* Options of kcat, rpk and Kafka's own programs which mean nothing here, and how it is written
 * here. For opt_page. */
#ifndef EVPIPE_WORDS_H
#define EVPIPE_WORDS_H

#include "base/opt.h"

extern const struct opt_hint words_of_readers[], words_of_writers[], words_of_askers[];

#endif
