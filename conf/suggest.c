/* Levenshtein's distance (1966), with one row of the matrix. */
#include "conf/suggest.h"

#include <limits.h>
#include <string.h>

static unsigned smaller(unsigned a, unsigned b)
{
        return a < b ? a : b;
}

unsigned edit_distance(const char *a, const char *b)
{
        unsigned row[SUGGEST_WORD_MAX + 1];
        size_t n = strlen(b);

        if (n > SUGGEST_WORD_MAX || strlen(a) > SUGGEST_WORD_MAX)
                return UINT_MAX;
        for (size_t j = 0; j <= n; j++)
                row[j] = (unsigned)j;
        for (; *a; a++) {
                unsigned diagonal = row[0]++;

                for (size_t j = 1; j <= n; j++) {
                        unsigned replaced = diagonal + (*a != b[j - 1]);

                        diagonal = row[j];
                        row[j] = smaller(replaced, smaller(row[j], row[j - 1]) + 1);
                }
        }
        return row[n];
}

/* One wrong character in three may still be a slip; in a short word it is another word. */
static unsigned slips_allowed(const char *word)
{
        size_t n = strlen(word);

        return n < 6 ? 1 + (n >= 4) : (unsigned)(n / 3);
}

void suggestion_offer(struct suggestion *s, const char *word, const char *candidate)
{
        unsigned distance = edit_distance(word, candidate);

        if (distance > slips_allowed(word) || (s->word && s->distance <= distance))
                return;
        *s = (struct suggestion){ .word = candidate, .distance = distance };
}
