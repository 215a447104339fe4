/* SPDX-License-Identifier: ISC */
/* Runs a fuzz target once on each file given: what a compiler without libFuzzer can do. */
#include "base/buf.h"
#include "fuzz.h"

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct buf b = {0};
		FILE *f = fopen(argv[i], "rb");
		size_t n;

		if (!f)
			abort();
		while ((n = fread(buf_room(&b, 4096), 1, 4096, f)) > 0)
			b.len += n;
		fclose(f);
		LLVMFuzzerTestOneInput((const uint8_t *)b.p, b.len);
		buf_free(&b);
	}
	printf("%d files\n", argc - 1);
	return 0;
}
