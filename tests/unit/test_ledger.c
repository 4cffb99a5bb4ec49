/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_ledger.c -- the records of a session take bounded memory, and what may still be asked for is among them
 */

#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "support/inside.h"
#include "support/peer.h"
#include "support/test.h"

#define LARGE ((size_t)256 << 10)

static struct ledger *ledger_of(struct bench *b)
{
        return &b->server.sessions.list->ledger;
}

static uint64_t n_records(struct bench *b)
{
        uint64_t len;

        assert_ok(objd_dict_len(&b->server.sessions.list->records, &len));
        return len - 1; /* the spare */
}

static uint64_t records_memory(struct bench *b)
{
        return inside_memory(&b->server.sessions.list->records);
}

static struct call add_one(const objd_object *dict, const objd_value *key)
{
        return (struct call){
                .code = CALL_DICT_ADD_INT, .object = objd_ref_of(dict), .keys = key, .n_keys = 1, .integer = 1
        };
}

static struct call get(const objd_object *queue)
{
        return (struct call){ .code = CALL_QUEUE_GET, .object = objd_ref_of(queue) };
}

static void last_went_well(const struct peer *peer)
{
        assert_ok(peer->statuses[peer->n_replies - 1]);
}

static objd_object *full_queue(objd_conn *conn, int n)
{
        char *bytes = calloc(1, LARGE);
        objd_value value = objd_bytes(bytes, LARGE);
        objd_object *queue;

        assert_ok(objd_open_or_create(conn, "queue", OBJD_QUEUE, NULL, &queue));
        for (int i = 0; i < n; i++)
                assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
        free(bytes);
        return queue;
}

/* A batch, and whatever can be done about it. */
static uint64_t send_all(struct peer *peer, const struct call *calls, size_t n)
{
        uint64_t seq = peer_send(peer, calls, n, 0);

        bench_run(peer->bench);
        return seq;
}

/* The number in the dict, which a call of ours raises, too. */
static int64_t number(objd_object *dict)
{
        objd_value key = objd_cstr("n");
        int64_t sum;

        assert_ok(objd_dict_add_int(dict, &key, 0, &sum));
        return sum;
}

/* ---- Memory ----------------------------------------------------------------------------------------------- */

/* Also where each batch has several changes, or the answers are large. */
static void who_waits_for_replies_has_one_row(void **state)
{
        enum { N = 300, CALLS = 5, GETS = 40 };
        struct bench *b = calloc(1, sizeof(*b));
        objd_object *dict = inside_dict(*state, "dict"), *queue = full_queue(*state, GETS);
        objd_value key = objd_cstr("n");
        struct call calls[CALLS], take = get(queue);
        struct peer *peer;

        for (int i = 0; i < CALLS; i++)
                calls[i] = add_one(dict, &key);
        bench_begin(b, *state);
        peer = peer_begin(b, 0);
        for (int i = 0; i < N; i++)
                peer->acked = send_all(peer, calls, CALLS);
        assert_int_equal(peer->n_replies, N);
        assert_int_equal(number(dict), N * CALLS);
        assert_int_equal(n_records(b), CALLS);
        for (int i = 0; i < GETS; i++) {
                peer->acked = send_all(peer, &take, 1);
                last_went_well(peer);
                assert_true(records_memory(b) < 2 * LARGE);
        }
        assert_int_equal(n_records(b), CALLS);
        bench_end(b);
        objd_release(queue);
        objd_release(dict);
        free(b);
}

/* Many answers that the client did not have yet take what they take; once it has them, that is over. */
static void what_is_done_with_is_dropped(void **state)
{
        enum { N = 40 };
        struct bench *b = calloc(1, sizeof(*b));
        objd_object *queue = full_queue(*state, N);
        const struct call take = get(queue), look = { .code = CALL_QUEUE_LEN, .object = objd_ref_of(queue) };
        struct peer *peer;

        bench_begin(b, *state);
        peer = peer_begin(b, 0);
        for (int i = 0; i < N; i++)
                (void)send_all(peer, &take, 1);
        assert_int_equal(n_records(b), N);
        assert_true(records_memory(b) >= N * LARGE);
        assert_true(ledger_of(b)->bytes >= N * LARGE);
        peer->acked = peer->next_seq - 1; /* all but the last */
        (void)send_all(peer, &look, 1);
        last_went_well(peer);
        assert_int_equal(n_records(b), 1);
        assert_true(records_memory(b) < 2 * LARGE);
        assert_true(ledger_of(b)->bytes < 2 * LARGE);
        bench_end(b);
        objd_release(queue);
        free(b);
}

/* What is little is left where it is, to be written over. */
static void what_is_little_is_kept(void **state)
{
        struct bench *b = calloc(1, sizeof(*b));
        objd_object *dict = inside_dict(*state, "dict");
        objd_value key = objd_cstr("n");
        struct call call = add_one(dict, &key);
        struct peer *peer;

        bench_begin(b, *state);
        peer = peer_begin(b, 0);
        for (uint64_t i = 0; i < 3 * RECORD_WINDOW; i++) {
                (void)send_all(peer, &call, 1);
                last_went_well(peer);
        }
        assert_int_equal(n_records(b), RECORD_WINDOW);
        assert_int_equal(ledger_of(b)->n_rows, RECORD_WINDOW);
        peer->acked = peer->next_seq;
        for (uint64_t i = 0; i < 10; i++)
                (void)send_all(peer, &call, 1);
        assert_int_equal(n_records(b), RECORD_WINDOW);
        bench_end(b);
        objd_release(dict);
        free(b);
}

/* ---- Beside what waits for long ---------------------------------------------------------------------------- */

static objd_object *empty_queue(objd_conn *conn)
{
        objd_object *queue;

        assert_ok(objd_create(conn, "empty", OBJD_QUEUE, NULL, &queue));
        return queue;
}

/* A get that nobody puts for keeps `acked` where it is. */
static void wait_for_nothing(struct peer *peer, const objd_object *queue)
{
        struct call wait = get(queue);

        wait.timeout_ns = OBJD_FOREVER;
        (void)send_all(peer, &wait, 1);
        assert_int_equal(peer->n_replies, 0);
}

/* What the client does not take is bounded in bytes, too; what goes beyond it is refused, and has changed nothing. */
static void answers_that_nobody_takes_have_a_limit(void **state)
{
        enum { N = 10, FIT = 4 };
        struct bench *b = calloc(1, sizeof(*b));
        objd_object *empty = empty_queue(*state), *queue = full_queue(*state, N);
        const struct call take = get(queue);
        const uint64_t unanswered[] = { 1 };
        struct peer *peer;
        uint64_t len;

        bench_begin(b, *state);
        peer = peer_begin(b, 0);
        ledger_of(b)->limit = FIT * LARGE + LARGE / 2;
        wait_for_nothing(peer, empty);
        for (int i = 0; i < FIT; i++) {
                (void)send_all(peer, &take, 1);
                last_went_well(peer);
        }
        (void)send_all(peer, &take, 1);
        assert_status(peer->statuses[peer->n_replies - 1], OBJD_E_LIMIT);
        assert_contains(peer->sentence, "has not said to have got");
        assert_ok(objd_queue_len(queue, &len));
        assert_int_equal(len, N - FIT);

        /* Told that only the first has not come, the daemon has room again, and does not run what comes late. */
        peer->unanswered = unanswered;
        peer->n_unanswered = 1;
        for (int i = 0; i < N - FIT; i++) {
                (void)send_all(peer, &take, 1);
                last_went_well(peer);
        }
        assert_true(ledger_unanswered(ledger_of(b)) < 2 * LARGE);
        assert_true(records_memory(b) <= ledger_of(b)->limit + 2 * LARGE);
        peer->next_seq = 2;
        (void)send_all(peer, &take, 1);
        assert_int_equal(peer->n_replies, N + 1);
        assert_ok(objd_queue_len(queue, &len));
        assert_int_equal(len, 0);
        bench_end(b);
        objd_release(queue);
        objd_release(empty);
        free(b);
}

/* One answer may be over the limit by itself. */
static void one_answer_is_never_too_much(void **state)
{
        enum { N = 3 };
        struct bench *b = calloc(1, sizeof(*b));
        objd_object *queue = full_queue(*state, N);
        const struct call take = get(queue);
        struct peer *peer;

        bench_begin(b, *state);
        peer = peer_begin(b, 0);
        ledger_of(b)->limit = LARGE / 2;
        for (int i = 0; i < N; i++) {
                peer->acked = send_all(peer, &take, 1);
                last_went_well(peer);
        }
        bench_end(b);
        objd_release(queue);
        free(b);
}

/* ---- What may be asked for -------------------------------------------------------------------------------- */

/* The next daemon has all that is not answered, and uses no row of those for something else. */
static void the_next_daemon_finds_all(void **state)
{
        enum { FIRST = 20, MORE = 150 };
        struct bench *b = calloc(1, sizeof(*b)), *next = calloc(1, sizeof(*next));
        objd_object *dict = inside_dict(*state, "dict");
        objd_value key = objd_cstr("n");
        struct call call = add_one(dict, &key);
        struct peer *peer;

        bench_begin(b, *state);
        peer = peer_begin(b, 0);
        for (int i = 0; i < FIRST; i++)
                peer->acked = send_all(peer, &call, 1);
        for (int i = 0; i < MORE; i++)
                (void)send_all(peer, &call, 1);
        bench_die(b);
        bench_begin(next, *state);
        peer = peer_go_on(next, peer);
        assert_int_equal(n_records(next), MORE);
        (void)send_all(peer, &call, 1); /* before the others are asked for again */
        assert_int_equal(peer->integer, FIRST + MORE + 1);
        peer->next_seq = FIRST;
        for (int i = 0; i < MORE; i++) {
                (void)send_all(peer, &call, 1);
                last_went_well(peer);
                assert_int_equal(peer->integer, FIRST + i + 1);
        }
        assert_int_equal(number(dict), FIRST + MORE + 1);
        bench_end(next);
        objd_release(dict);
        free(next);
        free(b);
}

/* A copy of a batch that comes after the client has said that it has the reply. */
static void a_late_copy_is_not_run(void **state)
{
        struct bench *b = calloc(1, sizeof(*b));
        objd_object *dict = inside_dict(*state, "dict");
        objd_value key = objd_cstr("n");
        struct call call = add_one(dict, &key);
        struct peer *peer;

        bench_begin(b, *state);
        peer = peer_begin(b, 0);
        for (int i = 0; i < 3; i++)
                peer->acked = send_all(peer, &call, 1);
        assert_int_equal(peer->n_replies, 3);
        peer->next_seq = 1;
        (void)send_all(peer, &call, 1);
        assert_int_equal(peer->n_replies, 3);
        peer->next_seq = 2; /* this one may be asked for: nobody has said that its answer has come */
        (void)send_all(peer, &call, 1);
        assert_int_equal(peer->n_replies, 4);
        assert_int_equal(peer->integer, 3);
        assert_int_equal(number(dict), 3);
        bench_end(b);
        objd_release(dict);
        free(b);
}

/* A client that says that it has a reply before there is one cannot have two batches write to one row. */
static void what_is_under_way_keeps_its_row(void **state)
{
        struct bench *b = calloc(1, sizeof(*b));
        objd_object *dict = inside_dict(*state, "dict"), *queue = full_queue(*state, 0);
        objd_value key = objd_cstr("n"), item = objd_int(1);
        struct call call = add_one(dict, &key), take = get(queue);
        struct peer *peer;

        take.timeout_ns = OBJD_FOREVER;
        bench_begin(b, *state);
        peer = peer_begin(b, 0);
        peer->acked = send_all(peer, &take, 1);
        (void)send_all(peer, &call, 1); /* the first row is not free */
        assert_true(ledger_of(b)->rows[0].busy);
        assert_int_equal(ledger_of(b)->n_rows, 2);
        assert_ok(objd_queue_put(queue, &item, OBJD_NOWAIT));
        for (int64_t end = now_ns() + 60000000000LL; peer->n_replies < 2 && now_ns() < end;)
                (void)parked_look(&b->server.parked);
        assert_int_equal(peer->n_replies, 2);
        assert_false(ledger_of(b)->rows[0].busy);
        peer->next_seq = 1;
        (void)send_all(peer, &call, 1); /* again */
        assert_int_equal(peer->integer, 1);
        assert_int_equal(number(dict), 1);
        bench_end(b);
        objd_release(queue);
        objd_release(dict);
        free(b);
}

/* More batches without a reply than there can be; whoever does that is told, and does no harm. */
static void there_are_rows_for_a_window(void **state)
{
        struct ledger ledger = { .acked = 0 };
        uint32_t row;

        (void)state;
        for (uint64_t seq = 1; seq <= RECORD_WINDOW; seq++) {
                ledger.seen[seq % RECORD_WINDOW] = seq;
                assert_ok(ledger_row(&ledger, seq, false, &row));
                assert_int_equal(row, seq - 1);
        }
        assert_status(ledger_row(&ledger, RECORD_WINDOW + 1, false, &row), OBJD_E_LIMIT);
        ledger_rest(&ledger, 7);
        assert_status(ledger_row(&ledger, RECORD_WINDOW + 1, false, &row), OBJD_E_LIMIT);
        ledger_ack(&ledger, RECORD_WINDOW + 1, 8);
        assert_ok(ledger_row(&ledger, RECORD_WINDOW + 1, false, &row));
        assert_int_equal(row, 7);
        assert_ok(ledger_row(&ledger, 20, true, &row));
        assert_int_equal(row, 19);
        ledger_ack(&ledger, 30, 1000); /* more than can be: up to the one before */
        assert_int_equal(ledger.acked, 29);
        ledger_free(&ledger);
}

/* ---- The spare -------------------------------------------------------------------------------------------- */

/* What is in it is found until it is answered, and makes room then. */
static void the_spare_takes_several(void **state)
{
        enum { SIZE = 100, FIT = LEDGER_SPARE / (SIZE + 16) };
        objd_object *records = inside_dict(*state, "records");
        objd_value slot = objd_int(LEDGER_SPARE_SLOT), value, found;
        struct ledger ledger = { .acked = 0 };
        uint8_t spare[LEDGER_SPARE], record[SIZE] = { 0 };
        objd_buf buf = OBJD_BUF_INIT;
        size_t used;

        assert_ok(ledger_make_spare(records));
        for (uint64_t seq = 1; seq <= FIT + 5; seq++) {
                ledger.acked = seq > FIT ? 10 : 0;
                record[0] = (uint8_t)seq;
                assert_ok(ledger_spare_read(&ledger, records, seq, 3, spare, &used));
                assert_ok(ledger_spare_add(spare, used, seq, 3, record, sizeof(record)));
                value = objd_bytes(spare, sizeof(spare));
                assert_ok(objd_dict_set(records, &slot, &value));
        }
        for (uint64_t seq = 11; seq <= FIT + 5; seq++) {
                assert_ok(ledger_spare_find(records, seq, 3, &buf, &found));
                assert_int_equal(found.size, sizeof(record));
                assert_int_equal(((const uint8_t *)found.data)[0], seq);
        }
        assert_status(ledger_spare_find(records, 10, 3, &buf, &found), OBJD_E_NOTFOUND);
        assert_status(ledger_spare_find(records, 11, 2, &buf, &found), OBJD_E_NOTFOUND);
        ledger.acked = 0;
        assert_ok(ledger_spare_read(&ledger, records, 99, 0, spare, &used));
        assert_status(ledger_spare_add(spare, used, 99, 0, spare, LEDGER_SPARE - used), OBJD_E_NOMEM);
        objd_buf_free(&buf);
        objd_release(records);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(who_waits_for_replies_has_one_row),
                INSIDE_TEST(what_is_done_with_is_dropped),
                INSIDE_TEST(answers_that_nobody_takes_have_a_limit),
                INSIDE_TEST(one_answer_is_never_too_much),
                INSIDE_TEST(what_is_little_is_kept),
                INSIDE_TEST(the_next_daemon_finds_all),
                INSIDE_TEST(a_late_copy_is_not_run),
                INSIDE_TEST(what_is_under_way_keeps_its_row),
                cmocka_unit_test(there_are_rows_for_a_window),
                INSIDE_TEST(the_spare_takes_several),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
