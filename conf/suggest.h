/* Which of several words was probably meant. Private to the room. */
#pragma once

#include <stddef.h>

enum { SUGGEST_WORD_MAX = 64 }; /* longer words get no suggestion */

/* The changes of one character (insert, remove, replace) that make @a into @b. */
unsigned edit_distance(const char *a, const char *b);

/* The best candidate so far, for offering one word after the other. Zero-initialise. */
struct suggestion {
        const char *word; /* NULL: none is near enough */
        unsigned distance;
};

/* Takes @candidate if it is near enough to @word and nearer than what was offered before. */
void suggestion_offer(struct suggestion *s, const char *word, const char *candidate);
