/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ops_object.c -- objects as such, made, named, opened, deleted: what a killed process may have been doing to the store
 */

#include <stdio.h>
#include <string.h>

#include "crash/sweep.h"
#include "object/object.h"

#define LONG_NAME "a name that is too long for the slot, so that it has a chunk of its own"

static void make(struct objd_conn *conn, const char *name, objd_kind kind, objd_order order)
{
        objd_config config = OBJD_CONFIG_INIT;

        config.order = order;
        objd_release(open_it(conn, name, kind, &config));
}

static void build_nothing(struct objd_conn *conn, const struct op_test *test)
{
        (void)test;
        make(conn, "another", OBJD_DICT, OBJD_FIFO);
}

/* `fill` objects with short names. */
static void build_many(struct objd_conn *conn, const struct op_test *test)
{
        char name[32];

        for (int64_t i = 0; i < test->fill; i++) {
                snprintf(name, sizeof(name), "n%lld", (long long)i);
                make(conn, name, OBJD_DICT, OBJD_FIFO);
        }
}

/* The target is the last object, and alone in its block of slots. */
static void build_lone(struct objd_conn *conn, const struct op_test *test)
{
        build_many(conn, test);
        make(conn, target_of(test), test->kind, test->order);
}

static void fill_object(objd_object *object, const struct op_test *test)
{
        for (int64_t i = 0; i < test->fill; i++) {
                objd_value key = objd_int(i), value = value_of(test->fill_value);

                if (test->kind == OBJD_DICT)
                        must(objd_dict_set(object, &key, &value), "building");
                else if (test->kind == OBJD_LIST)
                        must(objd_list_append(object, &value), "building");
                else if (test->kind == OBJD_QUEUE)
                        must(objd_queue_put(object, &value, OBJD_NOWAIT), "building");
        }
}

static void build_object(struct objd_conn *conn, const struct op_test *test)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *object;

        config.order = test->order;
        object = open_it(conn, target_of(test), test->kind, &config);
        fill_object(object, test);
        objd_release(object);
        make(conn, "other", OBJD_DICT, OBJD_FIFO);
}

static objd_status create(struct objd_conn *conn, struct victim *v, const char *name)
{
        objd_config config = OBJD_CONFIG_INIT;

        config.order = v->test->order;
        return objd_create(conn, name, v->test->kind, &config, &v->it);
}

static objd_status run_create(struct objd_conn *conn, struct victim *v)
{
        return create(conn, v, target_of(v->test));
}

static objd_status run_create_anonymous(struct objd_conn *conn, struct victim *v)
{
        return create(conn, v, NULL);
}

static objd_status run_open_or_create(struct objd_conn *conn, struct victim *v)
{
        return objd_open_or_create(conn, target_of(v->test), v->test->kind, NULL, &v->it);
}

static objd_status run_open(struct objd_conn *conn, struct victim *v)
{
        return objd_open(conn, target_of(v->test), v->test->kind, &v->it);
}

static objd_status run_delete(struct objd_conn *conn, struct victim *v)
{
        return objd_delete(conn, target_of(v->test));
}

static objd_status run_destroy(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_destroy(v->it);
}

static objd_status run_rename(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_set_name(v->it, "renamed");
}

static objd_status run_rename_long(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_set_name(v->it, LONG_NAME);
}

/* What the victim has made for itself. */
static objd_status prepare_anonymous(struct objd_conn *conn, struct victim *v)
{
        objd_status r = create(conn, v, NULL);

        if (r == OBJD_OK)
                fill_object(v->it, v->test);
        return r;
}

/* One object for each name, so that the dict of names grows. */
static objd_status run_create_numbered(struct objd_conn *conn, struct victim *v)
{
        static char name[32];
        objd_object *object;
        objd_status r;

        snprintf(name, sizeof(name), "m%lld", (long long)v->key.u.integer);
        r = objd_create(conn, name, OBJD_LOCK, NULL, &object);
        if (r == OBJD_OK)
                objd_release(object);
        return r;
}

/* The names' own dict is what is looked at for an edge. */
static objd_status open_names(struct objd_conn *conn, struct victim *v)
{
        objd_release(v->it);
        return objd_open_ref(conn, (objd_ref){ conn->arena->header->names, 1 }, OBJD_DICT, &v->it);
}

#define A_DICT .kind = OBJD_DICT
#define A_LIST .kind = OBJD_LIST
#define A_QUEUE .kind = OBJD_QUEUE
#define A_LOCK .kind = OBJD_LOCK

static struct op_test tests[] = {
        { "create: a dict", A_DICT, .build = build_nothing, .run = run_create },
        { "create: a list", A_LIST, .build = build_nothing, .run = run_create },
        { "create: a FIFO queue", A_QUEUE, .order = OBJD_FIFO, .build = build_nothing, .run = run_create },
        { "create: a LIFO queue", A_QUEUE, .order = OBJD_LIFO, .build = build_nothing, .run = run_create },
        { "create: a PRIORITY queue", A_QUEUE, .order = OBJD_PRIORITY, .build = build_nothing,
          .run = run_create },
        { "create: a lock", A_LOCK, .build = build_nothing, .run = run_create },
        { "create: with a long name", A_DICT, .target = LONG_NAME, .build = build_nothing,
          .run = run_create },
        { "create: anonymous", A_DICT, .build = build_nothing, .run = run_create_anonymous, .silent = true },
        { "create: in a new block of slots", A_LOCK, .fill = SLOTS_PER_BLOCK - 2, .build = build_many,
          .run = run_create, .size = 4 * MIB, .large = true },
        { "create: that makes the dict of names larger", A_DICT, .build = build_nothing,
          .prepare = open_names, .run = run_create_numbered, .edge = EDGE_TAKES, .fill = 4 },
        { "open: of what is there", A_DICT, .fill = 3, .fill_value = 50, .build = build_object,
          .run = run_open, .silent = true },
        { "open_or_create: of what is there", A_DICT, .fill = 3, .fill_value = 50, .build = build_object,
          .run = run_open_or_create, .silent = true },
        { "open_or_create: of what is not", A_LIST, .build = build_nothing, .run = run_open_or_create },
        { "delete: a dict", A_DICT, .fill = 100, .fill_value = 100, .build = build_object,
          .run = run_delete },
        { "delete: a dict in shards", A_DICT, .fill = 800, .fill_value = 8, .build = build_object,
          .run = run_delete, .size = 4 * MIB, .large = true },
        { "delete: a list", A_LIST, .fill = 300, .fill_value = 100, .build = build_object,
          .run = run_delete },
        { "delete: a FIFO queue", A_QUEUE, .order = OBJD_FIFO, .fill = 100, .fill_value = 100,
          .build = build_object, .run = run_delete },
        { "delete: a LIFO queue", A_QUEUE, .order = OBJD_LIFO, .fill = 100, .fill_value = 100,
          .build = build_object, .run = run_delete },
        { "delete: a PRIORITY queue", A_QUEUE, .order = OBJD_PRIORITY, .fill = 100, .fill_value = 100,
          .build = build_object, .run = run_delete },
        { "delete: a lock", A_LOCK, .build = build_object, .run = run_delete },
        { "delete: by handle", A_DICT, .fill = 3, .fill_value = 9000, .build = build_object,
          .run = run_destroy },
        { "delete: with a long name", A_DICT, .target = LONG_NAME, .fill = 3, .fill_value = 100,
          .build = build_object, .run = run_delete },
        { "delete: anonymous", A_LIST, .fill = 3, .fill_value = 9000, .build = build_nothing,
          .prepare = prepare_anonymous, .run = run_destroy, .silent = true },
        { "delete: the last object of a block", A_LOCK, .fill = SLOTS_PER_BLOCK - 2, .build = build_lone,
          .run = run_delete, .size = 4 * MIB },
        { "rename", A_DICT, .fill = 3, .fill_value = 50, .build = build_object, .run = run_rename },
        { "rename: to a long name", A_DICT, .fill = 3, .fill_value = 50, .build = build_object,
          .run = run_rename_long },
        { "rename: of what was anonymous", A_DICT, .fill = 3, .fill_value = 50, .build = build_nothing,
          .prepare = prepare_anonymous, .run = run_rename },
};

const struct op_table object_ops = OP_TABLE(tests);
