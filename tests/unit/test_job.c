/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_job.c -- batches in the daemon: what has been run before is answered, and what nobody can tell of is not run
 */

#include <string.h>

#include "arena/life.h"
#include "base/sys.h"
#include "proxy/job.h"
#include "support/inside.h"
#include "support/test.h"

struct bench {
        objd_conn *conn;
        struct proxy_sessions sessions;
        struct proxy_session *session;
        objd_object *dict;
};

static void begin(struct bench *b, objd_conn *conn)
{
        const struct proxy_hello hello = { .name.pid = 1 };
        bool resumed;

        *b = (struct bench){ .conn = conn, .sessions = { .conn = conn, .expiry_ns = 3600000000000LL } };
        b->dict = inside_dict(conn, "dict");
        assert_ok(session_open(&b->sessions, &hello, &resumed, &b->session));
        assert_false(resumed);
}

static void end(struct bench *b)
{
        session_close(&b->sessions, b->session);
        sessions_recover(&b->sessions);
        outcome_spares_free(&b->sessions.spares);
        accounts_deinit(&b->sessions.accounts);
        objd_release(b->dict);
}

/* A batch, as the client sends it. */
static struct job *make_job(struct bench *b, const struct call_batch *batch, bool again)
{
        uint64_t bytes[64];
        struct wire_out out;
        struct job *job;

        wire_out_init(&out, 0);
        assert_ok(wire_pack_batch(&out, batch, 0));
        assert_true(out.size <= sizeof(bytes));
        wire_out_copy(&out, 0, bytes, out.size);
        assert_ok(job_new(b->session, &(struct wire_in){ (uint8_t *)bytes, out.size, out.body_size },
                          &(struct wire_limits){ 0 }, &job));
        wire_out_deinit(&out);
        job->asks_records = again;
        return job;
}

/* One of one call. Gives the status, and the sum if there is one. */
static objd_status run_batch(struct bench *b, const struct call_batch *batch, bool again, int64_t *ret_sum)
{
        struct job *job = make_job(b, batch, again);
        uint32_t left = 1;
        objd_status r;

        job_step(&b->sessions, job, &left);
        assert_int_equal(job->waits, JOB_DONE);
        r = batch->atomic ? job->status : job->answers[0].status;
        *ret_sum = batch->calls->code == CALL_DICT_GET ? job->answers[0].value.u.integer
                                                       : job->answers[0].integer;
        job_free(job);
        return r;
}

/* Adds 1 to a number. */
static objd_status add_one(struct bench *b, uint64_t seq, bool again, int64_t *ret_sum)
{
        objd_value key = objd_cstr("n");
        const struct call call = { .code = CALL_DICT_ADD_INT,
                                   .object = objd_ref_of(b->dict),
                                   .keys = &key,
                                   .n_keys = 1,
                                   .integer = 1 };
        const struct call_batch batch = { .seq = seq, .calls = &call, .n_calls = 1 };

        return run_batch(b, &batch, again, ret_sum);
}

/* Sets a number that is to be new. */
static objd_status set_new(struct bench *b, uint64_t seq, bool atomic, bool again)
{
        objd_value key = objd_cstr("n"), value = objd_int(1);
        const struct call call = { .code = CALL_DICT_SET_NEW,
                                   .object = objd_ref_of(b->dict),
                                   .keys = &key,
                                   .n_keys = 1,
                                   .values = &value,
                                   .n_values = 1 };
        const struct call_batch batch = { .seq = seq, .atomic = atomic, .calls = &call, .n_calls = 1 };
        int64_t unused;

        return run_batch(b, &batch, again, &unused);
}

static int64_t number(struct bench *b)
{
        objd_value key = objd_cstr("n");
        int64_t sum;

        assert_ok(objd_dict_add_int(b->dict, &key, 0, &sum));
        return sum;
}

static void what_was_run_is_answered(void **state)
{
        struct bench b;
        int64_t sum;

        begin(&b, *state);
        assert_ok(add_one(&b, 1, false, &sum));
        assert_int_equal(sum, 1);
        assert_ok(add_one(&b, 2, false, &sum));
        assert_int_equal(sum, 2);
        assert_ok(add_one(&b, 1, true, &sum));
        assert_int_equal(sum, 1);
        assert_ok(add_one(&b, 3, true, &sum));
        assert_int_equal(sum, 3);
        assert_int_equal(number(&b), 3);
        end(&b);
}

/* Also an atomic batch: there is nothing in it that must not be done twice, so nothing is written down. */
static void what_only_reads_is_run_again(void **state)
{
        objd_value key = objd_cstr("n");
        struct call call = { .code = CALL_DICT_GET, .keys = &key, .n_keys = 1 };
        const struct call_batch batch = { .seq = 2, .atomic = true, .calls = &call, .n_calls = 1 };
        struct bench b;
        int64_t sum;

        begin(&b, *state);
        call.object = objd_ref_of(b.dict);
        assert_ok(add_one(&b, 1, false, &sum));
        assert_ok(run_batch(&b, &batch, false, &sum));
        assert_int_equal(sum, 1);
        assert_ok(add_one(&b, 3, false, &sum));
        assert_ok(run_batch(&b, &batch, true, &sum));
        assert_int_equal(sum, 2);
        end(&b);
}

static void step_to_end(struct bench *b, struct job *job)
{
        uint32_t left = 1;

        job_step(&b->sessions, job, &left);
        assert_int_equal(job->waits, JOB_DONE);
        assert_ok(job->answers[0].status);
        assert_int_equal(job->answers[0].value.u.integer, 7);
        job_free(job);
}

/* That a get had to wait first is no part of what is written down of it: the item is gone, and its client is to have it. */
static void what_has_waited_is_answered(void **state)
{
        struct call call = { .code = CALL_QUEUE_GET, .timeout_ns = OBJD_FOREVER };
        const struct call_batch batch = { .seq = 1, .calls = &call, .n_calls = 1 };
        objd_value item = objd_int(7);
        objd_object *queue;
        uint32_t left = 1;
        struct bench b;
        struct job *job;

        begin(&b, *state);
        assert_ok(objd_open_or_create(*state, "queue", OBJD_QUEUE, NULL, &queue));
        call.object = objd_ref_of(queue);
        job = make_job(&b, &batch, false);
        job_step(&b.sessions, job, &left);
        assert_int_equal(job->waits, JOB_WAITS_ITEM);
        assert_ok(objd_queue_put(queue, &item, OBJD_NOWAIT));
        step_to_end(&b, job);
        step_to_end(&b, make_job(&b, &batch, true));
        objd_release(queue);
        end(&b);
}

static void what_nobody_can_tell_of_is_not_run(void **state)
{
        objd_value place = objd_int(ledger_slot(0, 0)), damaged = objd_bytes("short", 5);
        struct bench b;
        int64_t sum;

        begin(&b, *state);
        assert_ok(add_one(&b, 5, false, &sum));
        assert_ok(objd_dict_set(&b.session->records, &place, &damaged));
        assert_status(add_one(&b, 5, true, &sum), OBJD_E_CORRUPT);
        assert_int_equal(number(&b), 1);
        end(&b);
}

/* Each daemon that takes it up gives it all of its time, also if that daemon does not live to hear from it again. */
static void a_session_that_goes_on_is_put_off(void **state)
{
        struct proxy_hello hello = { .name.pid = 1 };
        struct proxy_session *again;
        struct proxy_sessions next;
        struct client_shm *client;
        struct bench b;
        bool resumed;

        begin(&b, *state);
        client = arena_client(b.conn->arena, id_number(b.session->client));
        word_set(&client->expires_ns, (uint64_t)(now_ns() + b.sessions.expiry_ns / 2));
        hello.resume = b.session->id;
        next = (struct proxy_sessions){ .conn = b.conn, .expiry_ns = b.sessions.expiry_ns };
        assert_ok(session_open(&next, &hello, &resumed, &again));
        assert_true(resumed);
        assert_true((int64_t)word_get(&client->expires_ns) - now_ns() > b.sessions.expiry_ns * 3 / 4);
        session_forget(&next, again);
        end(&b);
}

/* A batch and the reply to it have met on the way: what the client has been told is not to become wrong. */
static void what_failed_is_not_run_again(void **state)
{
        objd_value key = objd_cstr("n");
        struct bench b;
        uint64_t len;

        begin(&b, *state);
        for (uint64_t seq = 1; seq <= 3; seq += 2) {
                bool atomic = seq == 3;

                assert_ok(set_new(&b, seq, atomic, false));
                assert_status(set_new(&b, seq + 1, atomic, false), OBJD_E_EXISTS);
                assert_ok(objd_dict_del(b.dict, &key));
                assert_status(set_new(&b, seq + 1, atomic, true), OBJD_E_EXISTS);
                assert_ok(set_new(&b, seq, atomic, true));
                assert_ok(objd_dict_len(b.dict, &len));
                assert_int_equal(len, 0);
        }
        /* The place in the window is another batch's by now. */
        assert_ok(set_new(&b, 2 + RECORD_WINDOW, false, false));
        end(&b);
}

/* However much fails, it is remembered in bounded memory. */
static void the_oldest_failures_are_forgotten(void **state)
{
        static struct answer answers[WIRE_CALLS_MAX];
        static struct call calls[WIRE_CALLS_MAX];
        struct job job = { .answers = answers, .batch = { .calls = calls, .n_calls = WIRE_CALLS_MAX } };
        struct past past = { .bytes = 0 };
        objd_status status;
        uint32_t failed;

        (void)state;
        for (size_t i = 0; i < WIRE_CALLS_MAX; i++) {
                calls[i].code = CALL_DICT_DEL;
                answers[i].status = OBJD_E_NOTFOUND;
        }
        for (job.batch.seq = 1; job.batch.seq <= 100; job.batch.seq++) {
                past_keep(&past, &job);
                assert_true(past.bytes <= PAST_BYTES_MAX);
        }
        assert_true(past_find(&past, 100, WIRE_CALLS_MAX - 1, &status, &failed));
        assert_int_equal(status, OBJD_E_NOTFOUND);
        assert_false(past_find(&past, 1, 0, &status, &failed));
        past_free(&past);
        assert_int_equal(past.bytes, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(what_was_run_is_answered),
                INSIDE_TEST(what_only_reads_is_run_again),
                INSIDE_TEST(what_has_waited_is_answered),
                INSIDE_TEST(what_nobody_can_tell_of_is_not_run),
                INSIDE_TEST(a_session_that_goes_on_is_put_off),
                INSIDE_TEST(what_failed_is_not_run_again),
                cmocka_unit_test(the_oldest_failures_are_forgotten),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
