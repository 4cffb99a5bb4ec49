/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ops_life.c -- a process's and a thread's beginnings and ends in an arena, pins, and the cleaning up after others
 */

#include <sys/wait.h>
#include <unistd.h>

#include "client/leave.h"
#include "crash/sweep.h"
#include "mem/pool.h"
#include "object/directory.h"
#include "object/object.h"
#include "txn/lane.h"
#include "txn/recover.h"

static void build(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *dict = open_it(conn, "it", OBJD_DICT, NULL);

        for (int64_t i = 0; i < test->fill; i++) {
                objd_value key = objd_int(i), value = value_of(test->fill_value);

                must(objd_dict_set(dict, &key, &value), "building a dict");
        }
        if (test->old_value) {
                objd_value key = objd_int(TARGET), value = value_of(test->old_value);

                must(objd_dict_set(dict, &key, &value), "building a dict");
        }
        objd_release(dict);
}

/* Somebody has died who had an anonymous object. */
static objd_status prepare_dead(struct objd_conn *conn, struct victim *v)
{
        objd_object *object;
        pid_t pid = fork();

        if (pid == 0) {
                must(objd_create(conn, NULL, OBJD_LIST, NULL, &object), "an anonymous object");
                v->value = value_of(9000);
                _exit((int)objd_list_append(object, &v->value));
        }
        (void)waitpid(pid, NULL, 0);
        return OBJD_OK;
}

static objd_status enter_and_leave(struct objd_conn *conn)
{
        struct lane *lane;
        objd_status r = lane_enter(conn->arena, OBJD_FOREVER, &lane);

        if (r == OBJD_OK)
                lane_leave(lane);
        return r;
}

/* Maps the arena, claims a client's entry and a lane. */
static objd_status run_attach(struct objd_conn *conn, struct victim *v)
{
        (void)v;
        bare_attach(conn, conn->control);
        return enter_and_leave(conn);
}

static objd_status run_first_call(struct objd_conn *conn, struct victim *v)
{
        (void)v;
        return enter_and_leave(conn);
}

/* The process is a client already; this is another thread's first call. */
static objd_status prepare_without_lane(struct objd_conn *conn, struct victim *v)
{
        (void)v;
        lane_release_own(conn->arena);
        return OBJD_OK;
}

/* A thread's end. */
static objd_status run_release_lane(struct objd_conn *conn, struct victim *v)
{
        (void)v;
        lane_release_own(conn->arena);
        return OBJD_OK;
}

static objd_status prepare_anonymous(struct objd_conn *conn, struct victim *v)
{
        objd_object *object;
        objd_status r = objd_create(conn, NULL, OBJD_DICT, NULL, &object);

        v->value = value_of(9000);
        return r ? r : objd_dict_set(object, &v->key, &v->value);
}

static objd_status run_detach(struct objd_conn *conn, struct victim *v)
{
        (void)v;
        leave_arena(conn->arena, OBJD_NOWAIT);
        return OBJD_OK;
}

static objd_status run_reap(struct objd_conn *conn, struct victim *v)
{
        objd_status r = run_first_call(conn, v);
        struct lane *lane;

        if (r || lane_enter(conn->arena, OBJD_FOREVER, &lane))
                return r;
        (void)recover_all(conn->arena, lane);
        lane_leave(lane);
        (void)recover_clients(conn->arena);
        return OBJD_OK;
}

static objd_status pin(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_dict_pin(v->it, &v->key, &v->value, &v->pin);
}

static objd_status run_unpin(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        objd_unpin(v->pin);
        return OBJD_OK;
}

/* The value is freed while somebody, who dies with it, has it pinned. */
static objd_status run_delete_pinned(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_dict_del(v->it, &v->key);
}

/* Memory that is free goes back to the system. */
static objd_status prepare_free_memory(struct objd_conn *conn, struct victim *v)
{
        objd_status r = enter_and_leave(conn);

        return r ? r : objd_dict_del(v->it, &v->key);
}

static objd_status run_trim(struct objd_conn *conn, struct victim *v)
{
        struct lane *lane;
        objd_status r = lane_enter(conn->arena, OBJD_FOREVER, &lane);

        (void)v;
        if (r)
                return r;
        pool_trim(lane);
        lane_leave(lane);
        return OBJD_OK;
}

#define LIFE .kind = OBJD_DICT, .build = build, .fill = 3, .fill_value = 50, .silent = true

static struct op_test tests[] = {
        { "attach: from the file to the first call", LIFE, .victim = STEP_BARE, .run = run_attach },
        { "lane: another thread's", LIFE, .prepare = prepare_without_lane, .run = run_first_call },
        { "lane: a thread ends", LIFE, .run = run_release_lane },
        { "fork: a child's first call", LIFE, .victim = STEP_FORKED, .run = run_first_call },
        { "detach", LIFE, .run = run_detach },
        { "detach: with an anonymous object", LIFE, .prepare = prepare_anonymous, .run = run_detach },
        { "reap: a dead client with an anonymous object", LIFE, .prepare = prepare_dead, .run = run_reap },
        { "pin", LIFE, .old_value = 9000, .run = pin },
        { "unpin", LIFE, .old_value = 9000, .prepare = pin, .run = run_unpin },
        { "dict: delete of a pinned value", .kind = OBJD_DICT, .build = build, .old_value = 9000,
          .prepare = pin, .run = run_delete_pinned },
        { "trim: free memory goes back to the system", LIFE, .old_value = 200000,
          .prepare = prepare_free_memory, .run = run_trim, .size = 4 * MIB },
};

const struct op_table life_ops = OP_TABLE(tests);
