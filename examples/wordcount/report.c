/* SPDX-License-Identifier: Apache-2.0 */

/*
 * report.c -- what wordcount shows: how far it is, and what came out
 */

#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR_WIDTH 40
#define TOP 10
#define TOP_WORD_MAX 64

/* ---- Progress ----------------------------------------------------------------------------------------- */

static int64_t clock_ns(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static double seconds_since(int64_t start_ns)
{
        return (double)(clock_ns() - start_ns) / 1e9;
}

void progress_start(struct progress *progress)
{
        progress->start_ns = clock_ns();
        progress->terminal = isatty(STDOUT_FILENO);
}

static void draw_bar(const struct progress *progress, int64_t n_files, double words_per_second)
{
        int full = progress->n_files ? (int)(n_files * BAR_WIDTH / progress->n_files) : BAR_WIDTH;

        printf("\r[");
        for (int i = 0; i < BAR_WIDTH; i++)
                putchar(i < full ? '#' : '.');
        printf("] %" PRId64 "/%" PRId64 " files  %.1f million words/s ", n_files, progress->n_files,
               words_per_second / 1e6);
        fflush(stdout);
}

void progress_show(struct progress *progress, int64_t n_files, int64_t n_words)
{
        double seconds = seconds_since(progress->start_ns);
        double words_per_second = seconds > 0 ? (double)n_words / seconds : 0;
        int64_t tenths = progress->n_files ? n_files * 10 / progress->n_files : 10;

        if (progress->terminal) {
                draw_bar(progress, n_files, words_per_second);
                return;
        }
        if (tenths <= progress->shown)
                return;
        progress->shown = tenths;
        printf("%3" PRId64 "%%  %" PRId64 " files  %" PRId64 " words  %.1f million words/s\n", tenths * 10,
               n_files, n_words, words_per_second / 1e6);
        fflush(stdout);
}

void progress_end(struct progress *progress)
{
        if (progress->terminal)
                putchar('\n');
}

/* ---- The result --------------------------------------------------------------------------------------- */

struct top_word {
        char text[TOP_WORD_MAX + 1];
        int64_t count;
};

struct sum {
        struct top_word top[TOP]; /* the most frequent first */
        int64_t n_distinct;
        int64_t n_words;
};

static void offer(struct sum *sum, const objd_value *word, int64_t count)
{
        size_t size = word->size < TOP_WORD_MAX ? word->size : TOP_WORD_MAX;
        int i = TOP;

        while (i > 0 && count > sum->top[i - 1].count)
                i--;
        if (i == TOP)
                return;
        memmove(&sum->top[i + 1], &sum->top[i], (size_t)(TOP - 1 - i) * sizeof(sum->top[0]));
        memcpy(sum->top[i].text, word->data, size);
        sum->top[i].text[size] = '\0';
        sum->top[i].count = count;
}

/* Goes through all counts; writes them to f unless that is NULL. */
static objd_status add_up(struct store *store, FILE *f, struct sum *sum)
{
        objd_value word, count;
        objd_cursor *cursor;
        objd_status r;

        r = objd_cursor_new(store->counts, &cursor);
        if (r)
                return r;
        while (!(r = objd_cursor_next(cursor, &word, &count))) {
                sum->n_distinct++;
                sum->n_words += count.u.integer;
                offer(sum, &word, count.u.integer);
                if (f)
                        fprintf(f, "%.*s %" PRId64 "\n", (int)word.size, (const char *)word.data,
                                count.u.integer);
        }
        objd_cursor_free(cursor);
        return r == OBJD_E_NOTFOUND ? OBJD_OK : r;
}

static int print(struct store *store, const struct progress *progress, const struct sum *sum)
{
        int64_t n_files, n_words, n_skipped;

        if (store_total(store, "files", &n_files) || store_total(store, "words", &n_words) ||
            store_total(store, "skipped", &n_skipped)) {
                fprintf(stderr, "wordcount: %s\n", objd_last_error());
                return 1;
        }
        printf("%" PRId64 " files, %" PRId64 " words, %" PRId64 " different ones, in %.1f s\n", n_files,
               n_words, sum->n_distinct, seconds_since(progress->start_ns));
        if (n_skipped)
                printf("%" PRId64 " files could not be read\n", n_skipped);
        for (int i = 0; i < TOP && sum->top[i].count; i++)
                printf("%10" PRId64 "  %s\n", sum->top[i].count, sum->top[i].text);
        if (sum->n_words == n_words)
                return 0;
        fprintf(stderr,
                "wordcount: the counts add up to %" PRId64 " words, but the workers have seen %" PRId64 "\n",
                sum->n_words, n_words);
        return 1;
}

int report(struct store *store, const struct progress *progress, const char *counts_path)
{
        FILE *f = counts_path ? fopen(counts_path, "we") : NULL;
        struct sum sum = { 0 };
        objd_status r;

        if (counts_path && !f) {
                fprintf(stderr, "wordcount: cannot write %s: %s\n", counts_path, strerror(errno));
                return 1;
        }
        r = add_up(store, f, &sum);
        if (f && (ferror(f) | fclose(f))) {
                fprintf(stderr, "wordcount: cannot write %s\n", counts_path);
                return 1;
        }
        if (r) {
                fprintf(stderr, "wordcount: %s\n", objd_last_error());
                return 1;
        }
        return print(store, progress, &sum);
}
