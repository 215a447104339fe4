/* SPDX-License-Identifier: ISC */
/* page.html, as it stands in the tree; the build makes page.inc of it. */
#ifndef EVSSE_PAGE_H
#define EVSSE_PAGE_H

#include "base/buf.h"

struct span page_html(void);

#endif
