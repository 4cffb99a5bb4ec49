/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * store.h -- what parent and workers share: three objects of a store
 *
 *     wordcount.files    a queue of paths that are still to be counted
 *     wordcount.counts   a dict from word to count
 *     wordcount.totals   a dict: how many "files", "words" and "skipped" files have been counted
 */

#include <objd.h>

#include "files.h"

struct store {
        objd_conn *conn;
        objd_object *files;
        objd_object *counts;
        objd_object *totals;
};

/* Connects, and makes the objects anew. url may be NULL. */
objd_status store_open(struct store *store, const char *url);
void store_close(struct store *store);

/* Puts all paths into the queue and closes it: workers take what is there, and then end. */
objd_status store_put_files(struct store *store, const struct files *files);

/* One of the totals; 0 if nothing has been added to it yet. */
objd_status store_total(struct store *store, const char *name, int64_t *ret_n);
