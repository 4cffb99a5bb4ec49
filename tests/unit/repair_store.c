/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair_store.c -- a store with something of everything
 */

#include "repair_store.h"

#include <stdint.h>
#include <string.h>

#include "support/child.h"

const char *const names[N_NAMES] = { "small", LONG_NAME, "large", "values", "list",     "tree",
                                     "blobs", "fifo",    "chain", "lifo",   "priority", "lock" };

objd_conn *store;
char text[200000];

objd_object *make(objd_conn *conn, const char *name, objd_kind kind, objd_order order)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *object;

        config.order = order;
        child_ok(objd_create(conn, name, kind, &config, &object));
        return object;
}

static void fill_dict(objd_object *dict, int n, size_t size)
{
        for (int i = 0; i < n; i++) {
                objd_value key = objd_int(i), value = objd_str(text, size ? size : (size_t)(i % 50));

                child_ok(objd_dict_set(dict, &key, &value));
        }
        for (int i = 0; i < n; i += 7) {
                objd_value key = objd_int(i);

                child_ok(objd_dict_del(dict, &key));
        }
}

static void fill_list(objd_object *list, int n, size_t size)
{
        for (int i = 0; i < n; i++) {
                objd_value value = size ? objd_str(text, size) : objd_int(i);

                child_ok(i % 2 ? objd_list_append(list, &value) : objd_list_insert(list, i / 3, &value));
        }
}

static void fill_queue(objd_object *queue, int n, bool priority)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        uint64_t lease, back;

        for (int i = 0; i < n; i++) {
                value = i % 3 ? objd_str(text, (size_t)(i * 37 % 300)) : objd_int(i);
                child_ok(priority ? objd_queue_put_priority(queue, &value, i * 37 % 11, OBJD_NOWAIT)
                                  : objd_queue_put(queue, &value, OBJD_NOWAIT));
        }
        for (int i = 0; i < n / 10; i++)
                child_ok(objd_queue_get(queue, &value, &buf, OBJD_NOWAIT));
        child_ok(objd_queue_get_lease(queue, OBJD_FOREVER, &value, &buf, &lease, OBJD_NOWAIT));
        child_ok(objd_queue_get_lease(queue, OBJD_FOREVER, &value, &buf, &back, OBJD_NOWAIT));
        child_ok(objd_queue_give_back(queue, back));
        child_ok(
                objd_queue_give_back(queue, lease)); /* a lease of ours would still be one after the repair */
        objd_buf_free(&buf);
}

objd_conn *make_store(void)
{
        objd_conn *conn;
        objd_object *lock, *gone;
        objd_value value;
        uint64_t token;

        memset(text, 'x', sizeof(text));
        child_ok(objd_connect("embedded:64M", &conn));
        gone = make(conn, "gone", OBJD_DICT, OBJD_FIFO);
        fill_dict(gone, 3, sizeof(text));
        fill_dict(make(conn, "small", OBJD_DICT, OBJD_FIFO), 20, 0);
        fill_dict(make(conn, LONG_NAME, OBJD_DICT, OBJD_FIFO), 5, 0);
        fill_dict(make(conn, "large", OBJD_DICT, OBJD_FIFO), 2000, 0);
        fill_dict(make(conn, "values", OBJD_DICT, OBJD_FIFO), 9, 6000);
        fill_list(make(conn, "list", OBJD_LIST, OBJD_FIFO), 30, 0);
        fill_list(make(conn, "tree", OBJD_LIST, OBJD_FIFO), 1200, 0);
        fill_list(make(conn, "blobs", OBJD_LIST, OBJD_FIFO), 6, 4000);
        fill_queue(make(conn, "fifo", OBJD_QUEUE, OBJD_FIFO), 30, false);
        fill_queue(make(conn, "chain", OBJD_QUEUE, OBJD_FIFO), 900, false);
        fill_queue(make(conn, "lifo", OBJD_QUEUE, OBJD_LIFO), 60, false);
        fill_queue(make(conn, "priority", OBJD_QUEUE, OBJD_PRIORITY), 60, true);
        lock = make(conn, "lock", OBJD_LOCK, OBJD_FIFO);
        child_ok(objd_lock_take(lock, OBJD_NOWAIT, &token));
        child_ok(objd_lock_give(lock));
        value = objd_int(1);
        child_ok(objd_list_append(make(conn, NULL, OBJD_LIST, OBJD_FIFO), &value));
        child_ok(objd_destroy(gone));
        child_ok(objd_set_timeout(conn, 1000000));
        return conn;
}
