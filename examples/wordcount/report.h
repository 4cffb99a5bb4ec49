/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * report.h -- what wordcount shows: how far it is, and what came out
 */

#include <stdbool.h>

#include "store.h"

/*
 * Start with n_files set. On a terminal a bar that is drawn again and again, otherwise a line now and then.
 */
struct progress {
        int64_t n_files;
        int64_t start_ns;
        int64_t shown; /* tenths of the files that lines have been written for */
        bool terminal;
};

void progress_start(struct progress *progress);
void progress_show(struct progress *progress, int64_t n_files, int64_t n_words);
void progress_end(struct progress *progress);

/*
 * Prints totals and the most frequent words, and writes all counts to a file (unless that is NULL). Returns
 * an exit status; it is 1 also if the counts do not add up to the number of words that the workers have
 * seen.
 */
int report(struct store *store, const struct progress *progress, const char *counts_path);
