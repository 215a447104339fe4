/* SPDX-License-Identifier: ISC */
/* Commands that a record may not give to Redis. */
#ifndef EVPIPE_RAPPLY_NAMES_H
#define EVPIPE_RAPPLY_NAMES_H

#include "base/buf.h"

enum name_kind {
	NAME_HARMLESS,
	NAME_DANGEROUS, /* --allow lets it through */
	NAME_NEVER, /* it changes the connection or the transaction */
};
/* In any case of letters. */
enum name_kind names_kind(struct span name);

#endif
