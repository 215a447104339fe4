/* SPDX-License-Identifier: ISC */
#include "evsse/page.h"

static const unsigned char html[] = {
#include "evsse/page.inc"
};

struct span page_html(void)
{
	return (struct span){(const char *)html, sizeof(html)};
}
