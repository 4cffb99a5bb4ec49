/* SPDX-License-Identifier: Apache-2.0 */

/*
 * words.c -- a private table that counts the words of one file: open addressing, doubled when it is half full
 */

#include "words.h"

#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 1024
#define ROOM_KEPT \
        16384 /* clearing a larger table for each small file would cost more than making a new one */

/* The letter in lower case, or 0. */
static char letter(char c)
{
        c = (char)(c | 0x20);
        return c >= 'a' && c <= 'z' ? c : 0;
}

/* FNV-1a */
static uint32_t hash_of(const char *letters, size_t size)
{
        uint32_t hash = 2166136261u;

        for (size_t i = 0; i < size; i++)
                hash = (hash ^ (uint8_t)letters[i]) * 16777619u;
        return hash;
}

/* The word's place: where it is, or the free one where it belongs. */
static struct word *find(const struct words *words, const char *letters, size_t size, uint32_t hash)
{
        for (size_t i = hash & (words->room - 1);; i = (i + 1) & (words->room - 1)) {
                struct word *word = &words->word[i];

                if (!word->letters ||
                    (word->hash == hash && word->size == size && !memcmp(word->letters, letters, size)))
                        return word;
        }
}

static bool grow(struct words *words)
{
        struct words larger = { .room = words->room ? words->room * 2 : ROOM_FIRST };

        larger.word = calloc(larger.room, sizeof(*larger.word));
        if (!larger.word)
                return false;
        for (size_t i = 0; i < words->room; i++) {
                const struct word *word = &words->word[i];

                if (word->letters)
                        *find(&larger, word->letters, word->size, word->hash) = *word;
        }
        free(words->word);
        words->word = larger.word;
        words->room = larger.room;
        return true;
}

static bool count_word(struct words *words, const char *letters, size_t size)
{
        uint32_t hash = hash_of(letters, size);
        struct word *word;

        if (words->n_distinct * 2 >= words->room && !grow(words))
                return false;
        word = find(words, letters, size, hash);
        if (!word->letters) {
                word->letters = malloc(size);
                if (!word->letters)
                        return false;
                memcpy(word->letters, letters, size);
                word->size = size;
                word->hash = hash;
                words->n_distinct++;
        }
        word->count++;
        words->n_words++;
        return true;
}

bool words_count(struct words *words, const char *data, size_t size)
{
        char letters[WORD_MAX];
        size_t n = 0;

        for (size_t i = 0; i <= size; i++) {
                char c = i < size ? letter(data[i]) : 0;

                if (c) {
                        if (n < WORD_MAX)
                                letters[n] = c;
                        n++;
                        continue;
                }
                if (n && !count_word(words, letters, n < WORD_MAX ? n : WORD_MAX))
                        return false;
                n = 0;
        }
        return true;
}

void words_clear(struct words *words)
{
        for (size_t i = 0; i < words->room; i++) {
                free(words->word[i].letters);
                words->word[i] = (struct word){ 0 };
        }
        if (words->room > ROOM_KEPT) {
                free(words->word);
                words->word = NULL;
                words->room = 0;
        }
        words->n_distinct = 0;
        words->n_words = 0;
}

void words_free(struct words *words)
{
        words_clear(words);
        free(words->word);
        *words = (struct words){ 0 };
}
