/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ops_batch.c -- batches: all of it or nothing, wherever its process dies
 */

#include "crash/sweep.h"

static void set(objd_object *dict, int64_t n, const objd_value *value)
{
        objd_value key = objd_int(n);

        must(objd_dict_set(dict, &key, value), "building a dict");
}

/* "it" and "other" are dicts with a number each; the first one has some other entries. */
static void build_accounts(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *it = open_it(conn, "it", OBJD_DICT, NULL),
                    *other = open_it(conn, "other", OBJD_DICT, NULL);
        objd_value number = objd_int(10);

        for (int64_t i = 0; i < test->fill; i++) {
                objd_value value = value_of(test->fill_value);

                set(it, i, &value);
        }
        set(it, TARGET, &number);
        set(other, TARGET, &number);
        objd_release(it);
        objd_release(other);
}

/* A dict, a list, and queues of two orders. */
static void build_kinds(struct objd_conn *conn, const struct op_test *test)
{
        static const char *const names[] = { "list", "fifo", "heap" };
        static const objd_kind kinds[] = { OBJD_LIST, OBJD_QUEUE, OBJD_QUEUE };
        static const objd_order orders[] = { OBJD_FIFO, OBJD_FIFO, OBJD_PRIORITY };

        build_accounts(conn, test);
        for (int i = 0; i < 3; i++) {
                objd_config config = OBJD_CONFIG_INIT;
                objd_value value = value_of(test->fill_value);
                objd_object *object;

                config.order = orders[i];
                object = open_it(conn, names[i], kinds[i], &config);
                must(kinds[i] == OBJD_LIST ? objd_list_append(object, &value)
                                           : objd_queue_put(object, &value, OBJD_NOWAIT),
                     "building");
                objd_release(object);
        }
}

static objd_status add_transfer(struct victim *v)
{
        objd_status r = objd_batch_dict_add_int(v->batch, v->it, &v->key, -3);

        return r ? r : objd_batch_dict_add_int(v->batch, v->other, &v->key, 3);
}

static objd_status prepare_transfer(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return add_transfer(v);
}

static objd_status run_commit(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_batch_commit(v->batch, NULL);
}

/* Far more than the lane's own log holds, so that it grows into a chunk, twice. */
static objd_status prepare_large(struct objd_conn *conn, struct victim *v)
{
        objd_status r = add_transfer(v);

        (void)conn;
        for (int64_t i = 0; i < 8 && r == OBJD_OK; i++) {
                objd_value key = objd_int(i);

                r = objd_batch_dict_set(v->batch, v->it, &key, &v->value);
        }
        return r;
}

/* The last of it fails, so that all of it is undone, and its process dies while it is. */
static objd_status prepare_refused(struct objd_conn *conn, struct victim *v)
{
        objd_value key = objd_int(0), big = value_of(9000), other = objd_nil();
        objd_status r = add_transfer(v);

        (void)conn;
        if (r == OBJD_OK)
                r = objd_batch_dict_set(v->batch, v->it, &key, &big);
        return r ? r : objd_batch_dict_cas(v->batch, v->it, &v->key, &other, &other);
}

static objd_status run_refused(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_batch_commit(v->batch, NULL) == OBJD_E_MISMATCH ? OBJD_OK : OBJD_E_CORRUPT;
}

/* From each of the kinds to another. */
static objd_status prepare_kinds(struct objd_conn *conn, struct victim *v)
{
        objd_object *list = open_it(conn, "list", OBJD_LIST, NULL),
                    *fifo = open_it(conn, "fifo", OBJD_QUEUE, NULL),
                    *heap = open_it(conn, "heap", OBJD_QUEUE, NULL);
        objd_status r = add_transfer(v);

        if (r == OBJD_OK)
                r = objd_batch_list_append(v->batch, list, &v->value);
        if (r == OBJD_OK)
                r = objd_batch_list_pop(v->batch, list, 0);
        if (r == OBJD_OK)
                r = objd_batch_queue_get(v->batch, fifo);
        if (r == OBJD_OK)
                r = objd_batch_queue_put(v->batch, heap, &v->value, 3);
        if (r == OBJD_OK)
                r = objd_batch_queue_task_done(v->batch, fifo);
        return r;
}

#define BATCH .kind = OBJD_DICT, .build = build_accounts

static struct op_test tests[] = {
        { "batch: two dicts", BATCH, .fill = 20, .fill_value = 50, .prepare = prepare_transfer,
          .run = run_commit },
        { "batch: one that is refused and undone", BATCH, .fill = 20, .fill_value = 50,
          .prepare = prepare_refused, .run = run_refused, .silent = true },
        { "batch: with a log that grows", BATCH, .fill = 20, .fill_value = 3999, .new_value = 4000,
          .prepare = prepare_large, .run = run_commit, .size = 4 * MIB, .large = true },
        { "batch: a dict, a list, two queues", .kind = OBJD_DICT, .build = build_kinds, .fill = 20,
          .fill_value = 50, .new_value = 60, .prepare = prepare_kinds, .run = run_commit },
};

const struct op_table batch_ops = OP_TABLE(tests);
