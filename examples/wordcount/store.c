/* SPDX-License-Identifier: Apache-2.0 */

/*
 * store.c -- the three objects that parent and workers share
 */

#include "store.h"

#include <string.h>

/* Items of one call. More at a time is not faster, and would hold the queue for longer. */
#define PUT_AT_ONCE 256

static objd_status make(struct store *store, const char *name, objd_kind kind, const objd_config *config,
                        objd_object **ret_object)
{
        objd_status r = objd_delete(store->conn, name);

        if (r && r != OBJD_E_NOTFOUND)
                return r;
        return objd_create(store->conn, name, kind, config, ret_object);
}

objd_status store_open(struct store *store, const char *url)
{
        objd_config queue = OBJD_CONFIG_INIT, dict = OBJD_CONFIG_INIT;
        objd_status r;

        queue.value_type = OBJD_BYTES; /* a path may be anything */
        dict.key_type = OBJD_STR;
        dict.value_type = OBJD_INT;
        *store = (struct store){ 0 };
        r = objd_connect(url, &store->conn);
        if (!r)
                r = make(store, "wordcount.files", OBJD_QUEUE, &queue, &store->files);
        if (!r)
                r = make(store, "wordcount.counts", OBJD_DICT, &dict, &store->counts);
        if (!r)
                r = make(store, "wordcount.totals", OBJD_DICT, &dict, &store->totals);
        return r;
}

void store_close(struct store *store)
{
        objd_release(store->files);
        objd_release(store->counts);
        objd_release(store->totals);
        objd_close(store->conn);
}

objd_status store_put_files(struct store *store, const struct files *files)
{
        objd_value values[PUT_AT_ONCE];
        objd_status r = OBJD_OK;
        size_t n = 0;

        for (size_t i = 0; i < files->len && !r; i++) {
                values[n++] = objd_bytes(files->path[i], strlen(files->path[i]));
                if (n == PUT_AT_ONCE || i + 1 == files->len) {
                        r = objd_queue_put_many(store->files, values, n, OBJD_FOREVER);
                        n = 0;
                }
        }
        return r ? r : objd_queue_close(store->files);
}

objd_status store_total(struct store *store, const char *name, int64_t *ret_n)
{
        objd_value key = objd_cstr(name), value = objd_int(0);
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r = objd_dict_get(store->totals, &key, &value, &buf);

        objd_buf_free(&buf);
        if (r && r != OBJD_E_NOTFOUND)
                return r;
        *ret_n = value.u.integer;
        return OBJD_OK;
}
