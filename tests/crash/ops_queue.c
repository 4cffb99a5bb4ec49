/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ops_queue.c -- queues of each order: what a killed process may have been doing to one
 */

#include "crash/sweep.h"

#include <stdlib.h>

/* Priorities in no order, and some of them equal. */
static int64_t priority_of(const struct op_test *test, int64_t i)
{
        return test->order == OBJD_PRIORITY ? i * 7 % 5 : 0;
}

static objd_status put(objd_object *queue, const struct op_test *test, int64_t i, const objd_value *value)
{
        return test->order == OBJD_PRIORITY
                       ? objd_queue_put_priority(queue, value, priority_of(test, i), OBJD_NOWAIT)
                       : objd_queue_put(queue, value, OBJD_NOWAIT);
}

static void build(struct objd_conn *conn, const struct op_test *test)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *queue;

        config.order = test->order;
        config.bound = test->bound;
        queue = open_it(conn, "it", OBJD_QUEUE, &config);
        for (int64_t i = 0; i < test->fill; i++) {
                objd_value value = test->fill_value == 8 ? objd_int(i) : value_of(test->fill_value);

                must(put(queue, test, i, &value), "building a queue");
        }
        objd_release(queue);
}

/* Items that are older than those that are there, since their leases were given back. */
static void build_returned(struct objd_conn *conn, const struct op_test *test)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *queue;
        objd_value value;
        uint64_t leases[3];

        build(conn, test);
        queue = open_it(conn, "it", OBJD_QUEUE, NULL);
        for (int i = 0; i < 3; i++)
                must(objd_queue_get_lease(queue, OBJD_FOREVER, &value, &buf, &leases[i], OBJD_NOWAIT),
                     "a lease");
        for (int i = 0; i < 3; i++)
                must(objd_queue_give_back(queue, leases[i]), "giving a lease back");
        objd_buf_free(&buf);
        objd_release(queue);
}

/* Leases that are over at once, which nobody has noticed. */
static void build_over(struct objd_conn *conn, const struct op_test *test)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *queue;
        objd_value value;
        uint64_t lease;

        build(conn, test);
        queue = open_it(conn, "it", OBJD_QUEUE, NULL);
        for (int64_t i = 0; i < test->fill; i++)
                must(objd_queue_get_lease(queue, 1, &value, &buf, &lease, OBJD_NOWAIT), "a lease");
        objd_buf_free(&buf);
        objd_release(queue);
}

/* ---- What is done --------------------------------------------------------------------------------------- */

static objd_status run_put(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return put(v->it, v->test, 3, &v->value);
}

static objd_status run_put_many(struct objd_conn *conn, struct victim *v)
{
        objd_value values[6];

        (void)conn;
        for (int i = 0; i < 6; i++)
                values[i] = v->value;
        return objd_queue_put_many(v->it, values, 6, OBJD_NOWAIT);
}

static objd_status run_get(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_queue_get(v->it, &v->value, &v->buf, OBJD_NOWAIT);
}

static objd_status run_get_many(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_queue_get_many(v->it, 6, &v->items, OBJD_NOWAIT);
}

static objd_status run_lease(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_queue_get_lease(v->it, OBJD_FOREVER, &v->value, &v->buf, &v->lease, OBJD_NOWAIT);
}

static objd_status run_ack(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_queue_ack(v->it, v->lease);
}

static objd_status run_give_back(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_queue_give_back(v->it, v->lease);
}

static objd_status run_close(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_queue_close(v->it);
}

static objd_status run_poison(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_queue_poison(v->it);
}

static objd_status run_task_done(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_queue_task_done(v->it);
}

/* The last task, so that joiners are done. */
static objd_status prepare_last_task(struct objd_conn *conn, struct victim *v)
{
        return run_get(conn, v);
}

/* A put with somebody asleep, whom the victim owes a wake: one who armed itself and died is one that nobody has told. */
static objd_status prepare_sleeper(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        (void)objd_queue_get(v->it, &v->value, &v->buf, 1000000);
        v->value = value_of(v->test->new_value);
        return OBJD_OK;
}

/*
 * A put alone: whose lease is given back before it, and whose after it, depends on when somebody looks, and a get
 * would take the one or the other.
 */
static objd_status write_put(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *queue = open_it(conn, target_of(test), OBJD_QUEUE, NULL);
        objd_value value = objd_cstr("put by whoever came next");
        objd_status r = objd_queue_put(queue, &value, OBJD_NOWAIT);

        objd_release(queue);
        return r;
}

/* ---- The operations ------------------------------------------------------------------------------------- */

#define QUEUE .kind = OBJD_QUEUE, .build = build
#define LEASE .any_order = true, .write = write_put

/* For each order; "N" is its name. */
#define OF_ORDER(N, O)                                                                                            \
        {                                                                                                         \
                N " queue: put",  QUEUE,           .order = O,    .fill = 5,                                      \
                .fill_value = 50, .new_value = 60, .run = run_put                                                 \
        },                                                                                                        \
                { N " queue: put of the first item", QUEUE, .order = O, .new_value = 60, .run = run_put },        \
                { N " queue: put of a number",                                                                    \
                  QUEUE,                                                                                          \
                  .order = O,                                                                                     \
                  .fill = 5,                                                                                      \
                  .fill_value = 8,                                                                                \
                  .new_value = 8,                                                                                 \
                  .run = run_put },                                                                               \
                { N " queue: put of a big item",                                                                  \
                  QUEUE,                                                                                          \
                  .order = O,                                                                                     \
                  .fill = 5,                                                                                      \
                  .fill_value = 50,                                                                               \
                  .new_value = 9000,                                                                              \
                  .run = run_put },                                                                               \
                { N " queue: put that needs a chunk",                                                             \
                  QUEUE,                                                                                          \
                  .order = O,                                                                                     \
                  .fill = 5,                                                                                      \
                  .fill_value = 50,                                                                               \
                  .new_value = 60,                                                                                \
                  .run = run_put,                                                                                 \
                  .edge = EDGE_TAKES },                                                                           \
                { N " queue: put into a bounded one",                                                             \
                  QUEUE,                                                                                          \
                  .order = O,                                                                                     \
                  .bound = 6,                                                                                     \
                  .fill = 5,                                                                                      \
                  .fill_value = 50,                                                                               \
                  .new_value = 60,                                                                                \
                  .run = run_put },                                                                               \
                { N " queue: put after somebody slept", QUEUE,         .order = O, .new_value = 60,               \
                  .prepare = prepare_sleeper,           .run = run_put },                                         \
                { N " queue: put of many", QUEUE,           .order = O,         .fill = 3,                        \
                  .fill_value = 50,        .new_value = 60, .run = run_put_many },                                \
                { N " queue: get", QUEUE, .order = O, .fill = 5, .fill_value = 50, .run = run_get },              \
                { N " queue: get of the last item",                                                               \
                  QUEUE,                                                                                          \
                  .order = O,                                                                                     \
                  .fill = 1,                                                                                      \
                  .fill_value = 50,                                                                               \
                  .run = run_get },                                                                               \
                { N " queue: get of a big item",                                                                  \
                  QUEUE,                                                                                          \
                  .order = O,                                                                                     \
                  .fill = 3,                                                                                      \
                  .fill_value = 9000,                                                                             \
                  .run = run_get },                                                                               \
                { N " queue: get that gives up a chunk",                                                          \
                  QUEUE,                                                                                          \
                  .order = O,                                                                                     \
                  .fill = 200,                                                                                    \
                  .fill_value = 100,                                                                              \
                  .run = run_get,                                                                                 \
                  .edge = EDGE_GIVES },                                                                           \
                { N " queue: get from a full one",                                                                \
                  QUEUE,                                                                                          \
                  .order = O,                                                                                     \
                  .bound = 5,                                                                                     \
                  .fill = 5,                                                                                      \
                  .fill_value = 50,                                                                               \
                  .run = run_get },                                                                               \
                { N " queue: get of many", QUEUE, .order = O, .fill = 8, .fill_value = 50, .run = run_get_many }, \
                { N " queue: get of what was given back",                                                         \
                  .kind = OBJD_QUEUE,                                                                             \
                  .build = build_returned,                                                                        \
                  .order = O,                                                                                     \
                  .fill = 5,                                                                                      \
                  .fill_value = 50,                                                                               \
                  .run = run_get },                                                                               \
                { N " queue: lease", QUEUE, .order = O,    .fill = 5, .fill_value = 50,                           \
                  .run = run_lease,  LEASE, .silent = true },                                                     \
                { N " queue: lease of a big item",                                                                \
                  QUEUE,                                                                                          \
                  .order = O,                                                                                     \
                  .fill = 3,                                                                                      \
                  .fill_value = 9000,                                                                             \
                  .run = run_lease,                                                                               \
                  LEASE,                                                                                          \
                  .silent = true },                                                                               \
                { N " queue: ack",      QUEUE,          .order = O, .fill = 5, .fill_value = 50,                  \
                  .prepare = run_lease, .run = run_ack, LEASE },                                                  \
                { N " queue: ack of a big item", QUEUE,          .order = O, .fill = 3, .fill_value = 9000,       \
                  .prepare = run_lease,          .run = run_ack, LEASE },                                         \
                { N " queue: give-back",                                                                          \
                  QUEUE,                                                                                          \
                  .order = O,                                                                                     \
                  .fill = 5,                                                                                      \
                  .fill_value = 50,                                                                               \
                  .prepare = run_lease,                                                                           \
                  .run = run_give_back,                                                                           \
                  LEASE,                                                                                          \
                  .silent = true },                                                                               \
                { N " queue: get after leases are over",                                                          \
                  .kind = OBJD_QUEUE,                                                                             \
                  .build = build_over,                                                                            \
                  .order = O,                                                                                     \
                  .fill = 3,                                                                                      \
                  .fill_value = 50,                                                                               \
                  .run = run_get,                                                                                 \
                  LEASE },                                                                                        \
                { N " queue: close", QUEUE, .order = O, .fill = 5, .fill_value = 50, .run = run_close },          \
                { N " queue: poison", QUEUE, .order = O, .fill = 5, .fill_value = 50, .run = run_poison },        \
        {                                                                                                         \
                N " queue: the last task is done", QUEUE, .order = O, .fill = 1, .fill_value = 50,                \
                                                          .prepare = prepare_last_task, .run = run_task_done      \
        }

static struct op_test tests[] = { OF_ORDER("FIFO", OBJD_FIFO), OF_ORDER("LIFO", OBJD_LIFO),
                                  OF_ORDER("PRIORITY", OBJD_PRIORITY) };

const struct op_table queue_ops = OP_TABLE(tests);
