/* SPDX-License-Identifier: ISC */
#include "base/near.h"

#include <string.h>

enum { WORD_MAX = 63 };

static int least(int a, int b)
{
	return a < b ? a : b;
}

bool near_word(const char *typed, const char *word)
{
	/* The distance between the first i letters of the one and the first j of the other
	 * (Damerau, Levenshtein). */
	static int d[WORD_MAX + 1][WORD_MAX + 1];
	size_t n = strlen(typed), m = strlen(word);

	if (n > WORD_MAX || m > WORD_MAX)
		return false;
	for (size_t i = 0; i <= n; i++)
		for (size_t j = 0; j <= m; j++) {
			if (!i || !j) {
				d[i][j] = (int)(i + j);
				continue;
			}
			d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1,
				d[i - 1][j - 1] + (typed[i - 1] != word[j - 1]));
			if (i > 1 && j > 1 && typed[i - 1] == word[j - 2] &&
				typed[i - 2] == word[j - 1])
				d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
		}
	return d[n][m] > 0 && d[n][m] <= (m >= 8 ? 2 : 1);
}
