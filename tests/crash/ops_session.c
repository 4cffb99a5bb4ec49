/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ops_session.c -- changes that a session's answer rides along with: both or neither, wherever the daemon dies
 *
 * "it" is what is changed, "other" the records. The answer is the operation's result, or its name.
 */

#include "crash/sweep.h"

#include "object/directory.h"
#include "object/rider.h"

/* Where a record goes; and where it goes if the store is full, as part of so many bytes that are there already. */
#define SLOT 7
#define SPARE_SLOT (-1)
#define SPARE 2048

static void build_records(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *it = open_it(conn, "it", test->kind, NULL),
                    *other = open_it(conn, "other", OBJD_DICT, NULL);
        objd_value value = value_of(test->fill_value);

        for (int64_t i = 0; i < test->fill; i++) {
                objd_value key = objd_int(i), old = objd_cstr("an older answer");

                must(test->kind == OBJD_DICT ? objd_dict_set(it, &key, &value)
                                             : objd_queue_put(it, &value, OBJD_NOWAIT),
                     "building");
                must(objd_dict_set(other, &key, &old), "building the records");
        }
        objd_release(it);
        objd_release(other);
}

/* A daemon whose session has had an answer of so many bytes (test->at) where the next one goes. */
static void build_answered(struct objd_conn *conn, const struct op_test *test)
{
        objd_value slot = objd_int(test->at == SPARE ? SPARE_SLOT : SLOT), old = value_of((size_t)test->at);
        objd_object *other;

        build_records(conn, test);
        other = open_it(conn, "other", OBJD_DICT, NULL);
        must(objd_dict_set(other, &slot, &old), "building the last answer");
        objd_release(other);
}

struct answering {
        struct rider rider;
        const struct op *op;
};

static objd_status answer(struct rider *rider, objd_value *ret_bytes)
{
        const struct op *op = ((struct answering *)rider)->op;

        *ret_bytes = op && op->result.data ? objd_bytes(op->result.data, op->result.size) : objd_cstr("done");
        return OBJD_OK;
}

/* Hangs the rider into the lane of the thread, to be taken out by the end of the process or of the call. */
static struct lane *begin(struct objd_conn *conn, struct victim *v, struct answering *a, const struct op *op)
{
        struct lane *lane;

        must(lane_act_as(conn->arena, 0, 0, &lane), "acting");
        *a = (struct answering){ .rider = { .records = v->other, .slot = SLOT, .answer = answer }, .op = op };
        rider_begin(lane, &a->rider);
        return lane;
}

static objd_status run_op(struct objd_conn *conn, struct victim *v, struct op *op)
{
        struct answering a;
        struct lane *lane;
        objd_status r;

        op->object = v->it;
        op->buf = &v->buf;
        lane = begin(conn, v, &a, op);
        r = op_run(conn, op, 1, NULL);
        rider_end(lane);
        return r;
}

static objd_status run_set(struct objd_conn *conn, struct victim *v)
{
        return run_op(conn, v, &(struct op){ .code = OP_DICT_SET, .key = &v->key, .value = &v->value });
}

static objd_status run_pop(struct objd_conn *conn, struct victim *v)
{
        objd_value key = objd_int(3);

        return run_op(conn, v, &(struct op){ .code = OP_DICT_POP, .key = &key });
}

static objd_status answer_in_spare(struct rider *rider, objd_value *ret_bytes)
{
        static const char spare[SPARE] = "done, and answered where there is room";

        (void)rider;
        *ret_bytes = objd_bytes(spare, sizeof(spare));
        return OBJD_OK;
}

static objd_status run_del_in_spare(struct objd_conn *conn, struct victim *v)
{
        objd_value key = objd_int(3);
        struct op op = { .code = OP_DICT_DEL, .object = v->it, .key = &key };
        struct rider rider = { .records = v->other, .slot = SPARE_SLOT, .answer = answer_in_spare };
        struct lane *lane;
        objd_status r;

        must(lane_act_as(conn->arena, 0, 0, &lane), "acting");
        rider_begin(lane, &rider);
        r = op_run(conn, &op, 1, NULL);
        rider_end(lane);
        return r;
}

static objd_status run_get(struct objd_conn *conn, struct victim *v)
{
        return run_op(conn, v, &(struct op){ .code = OP_QUEUE_GET, .n = 1 });
}

static objd_status run_create(struct objd_conn *conn, struct victim *v)
{
        objd_config config = OBJD_CONFIG_INIT;
        struct objd_object made;
        struct answering a;
        struct lane *lane = begin(conn, v, &a, NULL);
        objd_status r = directory_create(conn, "new", OBJD_LIST, &config, &made);

        rider_end(lane);
        return r;
}

static objd_status run_rename(struct objd_conn *conn, struct victim *v)
{
        struct answering a;
        struct lane *lane = begin(conn, v, &a, NULL);
        objd_status r = directory_rename(v->it, "new");

        rider_end(lane);
        return r;
}

static objd_status run_delete(struct objd_conn *conn, struct victim *v)
{
        struct answering a;
        struct lane *lane = begin(conn, v, &a, NULL);
        objd_status r = directory_delete(conn, "it");

        rider_end(lane);
        return r;
}

/* The records are what is written to next where "it" is gone, or has another name. */
static objd_status write_other(struct objd_conn *conn, const struct op_test *test)
{
        objd_value key = objd_int(1), value = objd_cstr("the next answer");
        objd_object *other;
        objd_status r = objd_open(conn, "other", OBJD_DICT, &other);

        (void)test;
        if (r)
                return r;
        r = objd_dict_set(other, &key, &value);
        objd_release(other);
        return r;
}

#define SESSION .build = build_records, .fill = 12, .fill_value = 60

static struct op_test tests[] = {
        { "session: dict set", SESSION, .kind = OBJD_DICT, .new_value = 100, .run = run_set },
        { "session: dict pop", SESSION, .kind = OBJD_DICT, .run = run_pop },
        { "session: dict pop of a big value", .build = build_records, .fill = 12, .fill_value = 5000,
          .kind = OBJD_DICT, .run = run_pop },
        { "session: queue get", SESSION, .kind = OBJD_QUEUE, .run = run_get },
        { "session: dict pop, over an answer as long", .build = build_answered, .fill = 12, .fill_value = 60,
          .at = 60, .kind = OBJD_DICT, .run = run_pop },
        { "session: queue get, over a large answer", .build = build_answered, .fill = 12, .fill_value = 60,
          .at = 5000, .kind = OBJD_QUEUE, .run = run_get },
        { "session: dict delete, answered in the spare", .build = build_answered, .fill = 12,
          .fill_value = 60, .at = SPARE, .kind = OBJD_DICT, .run = run_del_in_spare },
        { "session: create", SESSION, .kind = OBJD_DICT, .run = run_create },
        { "session: rename", SESSION, .kind = OBJD_DICT, .run = run_rename, .write = write_other },
        { "session: delete", SESSION, .kind = OBJD_DICT, .run = run_delete, .write = write_other },
};

const struct op_table session_ops = OP_TABLE(tests);
