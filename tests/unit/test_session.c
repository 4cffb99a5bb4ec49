/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_session.c -- clients that are no processes: what is done in their name, their end, and answers written with the change
 */

#include <string.h>

#include "arena/session.h"
#include "base/sys.h"
#include "object/directory.h"
#include "object/rider.h"
#include "support/inside.h"
#include "support/test.h"
#include "txn/recover.h"

#define LONG_NS 3600000000000LL

static const uint8_t session_id[SESSION_ID_SIZE] = "a session's id";

static uint64_t begin_session(objd_conn *conn, int64_t lasts_ns)
{
        const struct session_name name = { .uid = 7, .pid = 4711, .comm = "far" };
        uint64_t client;

        assert_ok(session_claim(conn->arena, session_id, &name, now_ns() + lasts_ns, now_ns() + LONG_NS,
                                &client));
        return client;
}

/* Ends it as time would, and has somebody reap it. */
static void end_session(objd_conn *conn, uint64_t client)
{
        struct lane *lane;

        session_end(conn->arena, client);
        assert_false(client_is_alive(conn->arena, client));
        assert_ok(lane_enter(conn->arena, OBJD_FOREVER, &lane));
        (void)recover_all(conn->arena, lane);
        lane_leave(lane);
        assert_int_equal(recover_clients(conn->arena), 1);
        assert_int_equal(arena_client(conn->arena, id_number(client))->claimed, 0);
}

static struct lane *act(objd_conn *conn, uint64_t client, uint64_t owner)
{
        struct lane *lane;

        assert_ok(lane_act_as(conn->arena, client, owner, &lane));
        return lane;
}

/* ---- Life ---------------------------------------------------------------------------------------------- */

static void a_session_is_found_by_its_id(void **state)
{
        objd_conn *conn = *state;
        uint64_t found, client;

        assert_false(session_find(conn->arena, session_id, &found));
        client = begin_session(conn, LONG_NS);
        assert_true(client_is_alive(conn->arena, client));
        assert_true(session_find(conn->arena, session_id, &found));
        assert_int_equal(found, client);
        assert_false(session_find(conn->arena, (const uint8_t[SESSION_ID_SIZE]){ 1 }, &found));
        end_session(conn, client);
        assert_false(session_find(conn->arena, session_id, &found));
}

static void a_session_ends_when_nobody_puts_its_end_off(void **state)
{
        objd_conn *conn = *state;
        uint64_t client = begin_session(conn, LONG_NS), found;

        assert_true(session_renew(conn->arena, client, now_ns() + 2 * LONG_NS));
        assert_true(session_renew(conn->arena, client, now_ns() - 1));
        /* Nobody has looked yet, but the end has come: it is too late. */
        assert_false(session_renew(conn->arena, client, now_ns() + LONG_NS));
        assert_false(client_is_alive(conn->arena, client));
        assert_false(session_find(conn->arena, session_id, &found));
        end_session(conn, client);
        assert_false(session_renew(conn->arena, client, now_ns() + LONG_NS));
}

static void an_entry_that_is_used_again_is_another_session(void **state)
{
        objd_conn *conn = *state;
        uint64_t first = begin_session(conn, LONG_NS), second;

        end_session(conn, first);
        second = begin_session(conn, LONG_NS);
        assert_int_equal(id_number(second), id_number(first));
        assert_false(session_renew(conn->arena, first, now_ns() + LONG_NS));
        session_end(conn->arena, first);
        assert_true(client_is_alive(conn->arena, second));
        end_session(conn, second);
}

/* ---- What it owns -------------------------------------------------------------------------------------- */

static void its_anonymous_objects_go_with_it(void **state)
{
        objd_conn *conn = *state;
        uint64_t client = begin_session(conn, LONG_NS);
        struct lane *lane = act(conn, client, 0);
        objd_object *theirs, *ours;

        assert_ok(objd_create(conn, NULL, OBJD_DICT, NULL, &theirs));
        lane_act_as_self(lane);
        assert_ok(objd_create(conn, NULL, OBJD_DICT, NULL, &ours));
        end_session(conn, client);
        assert_status(objd_dict_clear(theirs), OBJD_E_GONE);
        assert_ok(objd_dict_clear(ours));
        objd_release(theirs);
        objd_release(ours);
}

static void its_leases_are_its_own_and_go_back(void **state)
{
        objd_conn *conn = *state;
        uint64_t client = begin_session(conn, LONG_NS), lease, len;
        objd_value one = objd_int(1), got;
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *queue;
        struct lane *lane;

        assert_ok(objd_create(conn, "queue", OBJD_QUEUE, NULL, &queue));
        assert_ok(objd_queue_put(queue, &one, OBJD_NOWAIT));
        lane = act(conn, client, 0);
        assert_ok(objd_queue_get_lease(queue, OBJD_FOREVER, &got, &buf, &lease, OBJD_NOWAIT));
        lane_act_as_self(lane);
        assert_status(objd_queue_ack(queue, lease), OBJD_E_NOTOWNER);
        assert_status(objd_queue_get(queue, &got, &buf, OBJD_NOWAIT), OBJD_E_EMPTY);
        end_session(conn, client);
        assert_ok(objd_queue_len(queue, &len));
        assert_int_equal(len, 1);
        objd_buf_free(&buf);
        objd_release(queue);
}

static void its_threads_own_locks(void **state)
{
        objd_conn *conn = *state;
        uint64_t client = begin_session(conn, LONG_NS), first, second, same, token;
        struct lane *lane;
        objd_object *lock;

        assert_ok(objd_create(conn, "lock", OBJD_LOCK, NULL, &lock));
        assert_ok(lane_claim_for(conn->arena, client, 1, now_ns() + LONG_NS, &first));
        assert_ok(lane_claim_for(conn->arena, client, 2, now_ns() + LONG_NS, &second));
        assert_ok(lane_claim_for(conn->arena, client, 1, now_ns() + LONG_NS, &same));
        assert_int_equal(first, same);
        assert_int_not_equal(first, second);

        lane = act(conn, client, first);
        assert_ok(objd_lock_take(lock, OBJD_NOWAIT, &token));
        lane = act(conn, client, second);
        assert_status(objd_lock_take(lock, OBJD_NOWAIT, &token), OBJD_E_BUSY);
        assert_status(objd_lock_give(lock), OBJD_E_NOTOWNER);
        lane_act_as_self(lane);
        assert_status(objd_lock_give(lock), OBJD_E_NOTOWNER);
        lane = act(conn, client, first);
        assert_ok(objd_lock_give(lock));
        assert_ok(objd_lock_take(lock, OBJD_NOWAIT, &token));
        lane_act_as_self(lane);

        lane_release_for(conn->arena, client, 1);
        assert_status(objd_lock_take(lock, OBJD_NOWAIT, &token), OBJD_E_OWNER_DIED);
        assert_ok(objd_lock_give(lock));
        lane = act(conn, client, second);
        assert_ok(objd_lock_take(lock, OBJD_NOWAIT, &token));
        lane_act_as_self(lane);
        end_session(conn, client);
        assert_status(objd_lock_take(lock, OBJD_NOWAIT, &token), OBJD_E_OWNER_DIED);
        assert_ok(objd_lock_give(lock));
        objd_release(lock);
}

/* ---- Answers that ride along ---------------------------------------------------------------------------- */

struct answering {
        struct rider rider;
        const struct op *op; /* its result is the answer; NULL: a text */
        objd_status refuses;
        int n_asked;
};

static objd_status answer(struct rider *rider, objd_value *ret_bytes)
{
        struct answering *a = (struct answering *)rider;

        a->n_asked++;
        *ret_bytes = a->op ? objd_bytes(a->op->result.data, a->op->result.size) : objd_bytes("done", 4);
        return a->refuses;
}

static void ride(struct lane *lane, struct answering *a, objd_object *records, int64_t slot)
{
        *a = (struct answering){ .rider = { .records = records, .slot = slot, .answer = answer } };
        rider_begin(lane, &a->rider);
}

static void expect_record(objd_object *records, int64_t slot, const char *text)
{
        objd_value key = objd_int(slot), value;
        objd_buf buf = OBJD_BUF_INIT;

        if (text) {
                assert_ok(objd_dict_get(records, &key, &value, &buf));
                assert_int_equal(value.size, strlen(text));
                assert_memory_equal(value.data, text, value.size);
        } else {
                assert_status(objd_dict_get(records, &key, &value, &buf), OBJD_E_NOTFOUND);
        }
        objd_buf_free(&buf);
}

static void a_result_is_recorded_with_the_change(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, "dict"), *records = inside_dict(conn, NULL);
        struct lane *lane = act(conn, 0, 0);
        objd_value key = objd_cstr("key"), value = objd_cstr("value");
        objd_buf buf = OBJD_BUF_INIT;
        struct answering a;
        struct op op;

        assert_ok(objd_dict_set(dict, &key, &value));
        op_init(&op, OP_DICT_POP, dict);
        op.key = &key;
        op.buf = &buf;
        ride(lane, &a, records, 5);
        a.op = &op;
        assert_ok(op_run(conn, &op, 1, NULL));
        rider_end(lane);
        assert_int_equal(a.n_asked, 1);
        expect_record(records, 5, "value");

        /* What is refused leaves the last answer as it is. */
        ride(lane, &a, records, 5);
        assert_status(op_run(conn, &op, 1, NULL), OBJD_E_NOTFOUND);
        rider_end(lane);
        assert_int_equal(a.n_asked, 0);
        expect_record(records, 5, "value");
        objd_buf_free(&buf);
        objd_release(dict);
        objd_release(records);
}

static void an_answer_that_cannot_be_kept_undoes_the_change(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, "dict"), *records = inside_dict(conn, NULL), *made;
        struct lane *lane = act(conn, 0, 0);
        objd_value key = objd_cstr("key"), value = objd_cstr("value");
        struct answering a;
        struct op op;
        uint64_t len;

        op_init(&op, OP_DICT_SET, dict);
        op.key = &key;
        op.value = &value;
        ride(lane, &a, records, 1);
        a.refuses = OBJD_E_TOOBIG;
        assert_status(op_run(conn, &op, 1, NULL), OBJD_E_TOOBIG);
        assert_status(objd_create(conn, "new", OBJD_LIST, NULL, &made), OBJD_E_TOOBIG);
        assert_status(objd_delete(conn, "dict"), OBJD_E_TOOBIG);
        assert_status(objd_set_name(dict, "other"), OBJD_E_TOOBIG);
        rider_end(lane);
        assert_ok(objd_dict_len(dict, &len));
        assert_int_equal(len, 0);
        assert_status(objd_open(conn, "new", OBJD_KIND_ANY, &made), OBJD_E_NOTFOUND);
        assert_status(objd_open(conn, "other", OBJD_KIND_ANY, &made), OBJD_E_NOTFOUND);
        expect_record(records, 1, NULL);

        /* So does a session that has no records any more. */
        assert_ok(objd_destroy(records));
        ride(lane, &a, records, 1);
        assert_status(op_run(conn, &op, 1, NULL), OBJD_E_GONE);
        assert_status(objd_create(conn, "new", OBJD_LIST, NULL, &made), OBJD_E_GONE);
        rider_end(lane);
        assert_ok(objd_dict_len(dict, &len));
        assert_int_equal(len, 0);
        objd_release(dict);
        objd_release(records);
}

static void names_are_given_and_taken_with_a_record(void **state)
{
        objd_conn *conn = *state;
        objd_object *records = inside_dict(conn, NULL), *made, *opened;
        struct lane *lane = act(conn, 0, 0);
        struct answering a;

        ride(lane, &a, records, 1);
        assert_ok(objd_create(conn, "new", OBJD_QUEUE, NULL, &made));
        rider_end(lane);
        assert_int_equal(a.rider.made.serial, objd_ref_of(made).serial);
        expect_record(records, 1, "done");
        ride(lane, &a, records, 2);
        assert_ok(objd_set_name(made, "other"));
        rider_end(lane);
        expect_record(records, 2, "done");
        ride(lane, &a, records, 3);
        assert_ok(objd_delete(conn, "other"));
        rider_end(lane);
        expect_record(records, 3, "done");
        assert_status(objd_open(conn, "other", OBJD_KIND_ANY, &opened), OBJD_E_NOTFOUND);
        objd_release(made);
        objd_release(records);
}

/* The dict that grows asks for a transaction of its own in between, which must not take the record with it. */
static void a_change_that_needs_several_attempts_is_recorded_once(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, "dict"), *records = inside_dict(conn, NULL);
        struct lane *lane = act(conn, 0, 0);
        objd_value value = objd_cstr("value");
        struct answering a;
        struct op op;
        uint64_t len;

        for (int64_t i = 0; i < 5000; i++) {
                objd_value key = objd_int(i);

                op_init(&op, OP_DICT_SET, dict);
                op.key = &key;
                op.value = &value;
                ride(lane, &a, records, i % 64);
                assert_ok(op_run(conn, &op, 1, NULL));
                rider_end(lane);
        }
        assert_ok(objd_dict_len(dict, &len));
        assert_int_equal(len, 5000);
        assert_ok(objd_dict_len(records, &len));
        assert_int_equal(len, 64);
        objd_release(dict);
        objd_release(records);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(a_session_is_found_by_its_id),
                INSIDE_TEST(a_session_ends_when_nobody_puts_its_end_off),
                INSIDE_TEST(an_entry_that_is_used_again_is_another_session),
                INSIDE_TEST(its_anonymous_objects_go_with_it),
                INSIDE_TEST(its_leases_are_its_own_and_go_back),
                INSIDE_TEST(its_threads_own_locks),
                INSIDE_TEST(a_result_is_recorded_with_the_change),
                INSIDE_TEST(an_answer_that_cannot_be_kept_undoes_the_change),
                INSIDE_TEST(names_are_given_and_taken_with_a_record),
                INSIDE_TEST(a_change_that_needs_several_attempts_is_recorded_once),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
