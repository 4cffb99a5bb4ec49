/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * words.h -- a private table that counts the words of one file
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longer words are counted by their first so many letters: a key of objd has no more bytes. */
#define WORD_MAX 1024

struct word {
        char *letters; /* not terminated; NULL: the place is free */
        size_t size;
        uint32_t hash;
        int64_t count;
};

/*
 * Start from all zeros; words_clear() makes it ready for the next file, words_free() gives all memory back.
 */
struct words {
        struct word *word; /* `room` places, of which n_distinct are taken */
        size_t room;
        size_t n_distinct;
        int64_t n_words;
};

/*
 * Counts the words in data: a word is a maximal run of ASCII letters, and case does not matter. False if
 * there is no memory.
 */
bool words_count(struct words *words, const char *data, size_t size);

void words_clear(struct words *words);
void words_free(struct words *words);
