/* SPDX-License-Identifier: Apache-2.0 */

/*
 * worker.c -- the work of one process
 */

#include "worker.h"

#include <stdlib.h>
#include <string.h>

#include "words.h"

static objd_status add(objd_batch *batch, objd_object *dict, const char *text, size_t size, int64_t n)
{
        objd_value key = objd_str(text, size);

        return objd_batch_dict_add_int(batch, dict, &key, n);
}

static objd_status add_total(struct store *store, objd_batch *batch, const char *name, int64_t n)
{
        return n ? add(batch, store->totals, name, strlen(name), n) : OBJD_OK;
}

/* Everything that one file changes, in one batch: all of it happens, or nothing. */
static objd_status commit_file(struct store *store, objd_batch *batch, const struct words *words,
                               bool skipped, uint64_t lease)
{
        objd_status r = OBJD_OK;

        objd_batch_clear(batch);
        for (size_t i = 0; i < words->room && !r; i++)
                if (words->word[i].letters)
                        r = add(batch, store->counts, words->word[i].letters, words->word[i].size,
                                words->word[i].count);
        if (!r)
                r = add_total(store, batch, "files", 1);
        if (!r)
                r = add_total(store, batch, "words", words->n_words);
        if (!r)
                r = add_total(store, batch, "skipped", skipped);
        if (!r)
                r = objd_batch_queue_ack(batch, store->files, lease);
        return r ? r : objd_batch_commit(batch, NULL);
}

/* A file that has gone, or cannot be read any more, counts as one without words. */
static bool count_file(const objd_value *path, struct words *words)
{
        char *copy = strndup(path->data, path->size), *data = NULL;
        size_t size;
        bool ok = false;

        words_clear(words);
        if (copy)
                data = file_read(copy, &size);
        if (data)
                ok = words_count(words, data, size);
        if (!ok)
                words_clear(words);
        free(data);
        free(copy);
        return ok;
}

static objd_status work(struct store *store, objd_batch *batch, struct words *words, objd_buf *buf)
{
        for (;;) {
                objd_value path;
                uint64_t lease;
                bool counted;
                objd_status r;

                r = objd_queue_get_lease(store->files, OBJD_FOREVER, &path, buf, &lease, OBJD_FOREVER);
                if (r == OBJD_E_CLOSED)
                        return OBJD_OK;
                if (r)
                        return r;
                counted = count_file(&path, words);
                r = commit_file(store, batch, words, !counted, lease);
                if (r)
                        return r;
        }
}

objd_status worker_run(struct store *store)
{
        objd_buf buf = OBJD_BUF_INIT;
        struct words words = { 0 };
        objd_batch *batch;
        objd_status r;

        r = objd_batch_new(store->conn, &batch);
        if (r)
                return r;
        r = work(store, batch, &words, &buf);
        objd_batch_free(batch);
        objd_buf_free(&buf);
        words_free(&words);
        return r;
}
