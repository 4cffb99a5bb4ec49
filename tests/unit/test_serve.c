/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_serve.c -- what the daemon does for one client while another one asks for too much: by counts
 */

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "dumpload/report.h"
#include "support/child.h"
#include "support/inside.h"
#include "support/peer.h"
#include "support/test.h"

static struct call append(const objd_object *list, const objd_value *value)
{
        return (struct call){
                .code = CALL_LIST_APPEND, .object = objd_ref_of(list), .values = value, .n_values = 1
        };
}

static objd_object *make_list(objd_conn *conn, const char *name)
{
        objd_object *list;

        assert_ok(objd_open_or_create(conn, name, OBJD_LIST, NULL, &list));
        return list;
}

static uint64_t length(objd_object *list)
{
        uint64_t len;

        assert_ok(objd_list_len(list, &len));
        return len;
}

/* ---- Turns ------------------------------------------------------------------------------------------------ */

/* One client has sent 60,000 calls in a batch. The other one's call is run after a turn of it. */
static void a_large_batch_holds_nobody_up(void **state)
{
        enum { N = 60000 };
        struct bench *b = calloc(1, sizeof(*b));
        objd_object *list = make_list(*state, "list"), *other = make_list(*state, "other");
        struct call *calls = calloc(N, sizeof(*calls));
        objd_value one = objd_int(1);
        struct call call;
        struct peer *hog, *peer;

        bench_begin(b, *state);
        hog = peer_begin(b, 0);
        peer = peer_begin(b, 1);
        for (size_t i = 0; i < N; i++)
                calls[i] = append(list, &one);
        peer_send(hog, calls, N, 0);
        assert_in_range(length(list), 1, TURNS_COST);
        call = append(other, &one);
        for (uint64_t i = 1; i <= 100; i++) {
                turns_run(&b->server.turns);
                peer_send(peer, &call, 1, 0);
                assert_int_equal(peer->n_replies, i);
                assert_true(length(list) <= (i + 1) * TURNS_COST);
        }
        assert_int_equal(hog->n_replies, 0);
        bench_run(b);
        assert_int_equal(hog->n_replies, 1);
        assert_ok(hog->statuses[0]);
        assert_int_equal(length(list), N);
        bench_end(b);
        objd_release(list);
        objd_release(other);
        free(calls);
        free(b);
}

/* Many batches of one client are as one: they wait, in order, while others have their turns. */
static void many_batches_hold_nobody_up(void **state)
{
        enum { N = 200 };
        struct bench *b = calloc(1, sizeof(*b));
        objd_object *list = make_list(*state, "list");
        objd_value one = objd_int(1);
        struct call call = append(list, &one);
        struct peer *hog, *peers[3];

        bench_begin(b, *state);
        hog = peer_begin(b, 0);
        for (uint32_t i = 0; i < 3; i++)
                peers[i] = peer_begin(b, 1 + i);
        for (int i = 0; i < N; i++)
                peer_send(hog, &call, 1, 0);
        assert_int_equal(hog->n_replies, TURNS_COST);
        for (uint32_t i = 0; i < 3; i++) {
                peer_send(peers[i], &call, 1, 0);
                assert_int_equal(peers[i]->n_replies, 1);
        }
        /* While the others ask for one thing after the other its turns are short, and then as long as before. */
        turns_run(&b->server.turns);
        assert_int_equal(hog->n_replies, TURNS_COST + TURNS_COST_BESIDE);
        turns_run(&b->server.turns);
        assert_int_equal(hog->n_replies, TURNS_COST + 2 * TURNS_COST_BESIDE);
        b->server.sessions.now_ns += TURNS_BESIDE_NS;
        turns_run(&b->server.turns);
        assert_int_equal(hog->n_replies, 2 * TURNS_COST + 2 * TURNS_COST_BESIDE);
        bench_run(b);
        assert_int_equal(hog->n_replies, N);
        assert_int_equal(length(list), N + 3);
        bench_end(b);
        objd_release(list);
        free(b);
}

/* Calls with large values are few in a turn. */
static void large_values_fill_a_turn(void **state)
{
        enum { N = 8, SIZE = 1 << 20 };
        struct bench *b = calloc(1, sizeof(*b));
        objd_object *list = make_list(*state, "list");
        char *bytes = calloc(1, SIZE);
        objd_value value = objd_bytes(bytes, SIZE);
        struct call calls[N];
        struct peer *hog;

        bench_begin(b, *state);
        hog = peer_begin(b, 0);
        for (size_t i = 0; i < N; i++)
                calls[i] = append(list, &value);
        peer_send(hog, calls, N, 0);
        assert_int_equal(length(list), 1);
        turns_run(&b->server.turns);
        assert_int_equal(length(list), 2);
        bench_run(b);
        assert_int_equal(hog->n_replies, 1);
        assert_int_equal(length(list), N);
        bench_end(b);
        objd_release(list);
        free(bytes);
        free(b);
}

static struct proxy_session *session_of(struct bench *b, const struct peer *peer)
{
        return session_by_id(&b->server.sessions, peer->session);
}

/* Who has used up his share waits while there is somebody quick, and is the first when there is not. */
static void a_quick_one_is_waited_for(void **state)
{
        enum { N = 100 };
        struct bench *b = calloc(1, sizeof(*b));
        objd_object *list = make_list(*state, "list");
        objd_value one = objd_int(1);
        struct call call = append(list, &one);
        struct peer *hogs[2], *peer;
        int64_t *now = &b->server.sessions.now_ns;

        bench_begin(b, *state);
        b->link.is_near = true;
        peer = peer_begin(b, 2);
        for (uint32_t i = 0; i < 2; i++) {
                hogs[i] = peer_begin(b, i);
                for (int j = 0; j < N; j++)
                        peer_send(hogs[i], &call, 1, 0);
        }
        for (int i = 0; i < 2; i++) {
                *now += 1000;
                peer_send(peer, &call, 1, 0);
        }
        session_of(b, hogs[0])->pace.used_ns = PACE_BURST_NS;
        session_of(b, hogs[0])->pace.used_at_ns = *now;
        turns_run(&b->server.turns);
        assert_int_equal(hogs[0]->n_replies, TURNS_COST);
        assert_int_equal(hogs[1]->n_replies, TURNS_COST + TURNS_COST_BESIDE);
        assert_true(session_of(b, hogs[1])->pace.used_ns > 0);

        *now += PACE_LATE_NS + PACE_QUICK_NS;
        turns_run(&b->server.turns);
        assert_in_range(hogs[0]->n_replies, TURNS_COST + TURNS_COST_BESIDE, 2 * TURNS_COST);
        assert_true(hogs[0]->order[TURNS_COST] < hogs[1]->order[TURNS_COST + TURNS_COST_BESIDE]);
        *now += TURNS_BESIDE_NS;
        bench_run(b);
        assert_int_equal(length(list), 2 * N + 2);
        bench_end(b);
        objd_release(list);
        free(b);
}

/* ---- What is parked --------------------------------------------------------------------------------------- */

/* However many wait, to look after them takes as many tries as there are places in a round. */
static void many_that_wait_cost_little(void **state)
{
        enum { N = 255, QUEUES = 600 };
        struct bench *b = calloc(1, sizeof(*b));
        objd_object *queues[QUEUES];
        struct peer *peers[3];
        uint64_t tries;

        bench_begin(b, *state);
        for (uint32_t i = 0; i < 3; i++)
                peers[i] = peer_begin(b, i);
        for (int i = 0; i < QUEUES; i++) {
                struct call call = { .code = CALL_QUEUE_GET, .timeout_ns = OBJD_FOREVER };

                assert_ok(objd_create(*state, NULL, OBJD_QUEUE, NULL, &queues[i]));
                call.object = objd_ref_of(queues[i]);
                peer_send(peers[i / N], &call, 1, 0);
                turns_run(&b->server.turns);
        }
        assert_int_equal(b->server.parked.n_jobs, QUEUES);
        assert_int_equal(b->server.parked.n_groups, QUEUES);
        assert_int_equal(b->server.waker.n_threads, (QUEUES + WAKER_WORDS - 1) / WAKER_WORDS);
        tries = b->server.parked.n_tries;
        for (int i = 0; i < 10; i++) {
                (void)parked_look(&b->server.parked);
                assert_true(b->server.parked.n_tries - tries <= (uint64_t)(i + 1) * 2 * PARKED_TRIES);
        }
        for (int i = 0; i < QUEUES; i++) {
                objd_value item = objd_int(i);

                assert_ok(objd_queue_put(queues[i], &item, OBJD_NOWAIT));
        }
        while (b->server.parked.n_jobs) /* the waker's threads say when */
                parked_wake(&b->server.parked);
        assert_int_equal(peers[0]->n_replies + peers[1]->n_replies + peers[2]->n_replies, QUEUES);
        assert_int_equal(b->server.parked.n_groups, 0);
        for (int i = 0; i < QUEUES; i++)
                objd_release(queues[i]);
        bench_end(b);
        free(b);
}

/* Those that end in their own time, in whatever order they came. */
static void deadlines_come_in_order(void **state)
{
        enum { N = 100 };
        struct bench *b = calloc(1, sizeof(*b));
        objd_object *queue;
        struct peer *peer;
        int64_t begin = now_ns();

        bench_begin(b, *state);
        peer = peer_begin(b, 0);
        assert_ok(objd_create(*state, NULL, OBJD_QUEUE, NULL, &queue));
        for (int i = 0; i < N; i++) {
                struct call call = { .code = CALL_QUEUE_GET,
                                     .object = objd_ref_of(queue),
                                     .timeout_ns = 1000000LL * ((i * 37) % N + 1) };

                peer_send(peer, &call, 1, 0);
                turns_run(&b->server.turns);
        }
        while (peer->n_replies < N) {
                (void)parked_look(&b->server.parked);
                assert_true(now_ns() - begin < PATIENCE_NS);
        }
        for (int i = 0; i < N; i++)
                assert_status(peer->statuses[i], OBJD_E_TIMEOUT);
        assert_int_equal(b->server.parked.n_heap, 0);
        assert_int_equal(b->server.parked.n_jobs, 0);
        objd_release(queue);
        bench_end(b);
        free(b);
}

/* ---- Beginnings ------------------------------------------------------------------------------------------- */

static void a_hello_is_small(void **state)
{
        struct bench *b = calloc(1, sizeof(*b));
        uint8_t *frame = calloc(1, FRAME_HELLO_MAX + 1);
        struct frame_head head = { .type = FRAME_HELLO, .flags = FRAME_FIRST | FRAME_LAST };
        struct peer *peer;

        bench_begin(b, *state);
        peer = peer_begin(b, 0);
        head.piece = head.message = head.body = FRAME_HELLO_MAX + 1 - FRAME_HEAD;
        frame_encode(&head, frame);
        peer_send_bytes(peer, frame, FRAME_HELLO_MAX + 1);
        assert_int_equal(peer->n_refused, 1);
        assert_status(peer->refused, OBJD_E_TOOBIG);
        assert_non_null(strstr(peer->sentence, "4097"));
        assert_int_equal(b->server.sessions.n, 1);
        bench_end(b);
        free(frame);
        free(b);
}

/* Bytes that begin with no sound head belong to nobody: who sent them is told, and its session goes on. */
static void what_has_no_head_is_refused(void **state)
{
        struct bench *b = calloc(1, sizeof(*b));
        objd_object *list = make_list(*state, "list");
        objd_value one = objd_int(1);
        struct call call = append(list, &one);
        uint8_t bytes[2 * FRAME_HEAD];
        struct peer *peer;

        memset(bytes, 0xff, sizeof(bytes));
        bench_begin(b, *state);
        peer = peer_begin(b, 0);
        for (uint32_t i = 1; i <= sizeof(bytes); i++) {
                peer_send_bytes(peer, bytes, i);
                assert_int_equal(peer->n_refused, i);
                assert_status(peer->refused, OBJD_E_PROTO);
                assert_int_equal(peer->refused_seq, 0);
        }
        peer_send(peer, &call, 1, 0);
        assert_int_equal(peer->n_replies, 1);
        assert_int_equal(length(list), 1);
        bench_end(b);
        objd_release(list);
        free(b);
}

/* A user other than the daemon's own, as the kernel tells of it. */
static const struct proxy_who *somebody(struct proxy_link *link, const struct proxy_route *route)
{
        static const struct proxy_who who = { .has_key = true, .has_uid = true, .uid = 12345 };

        (void)link;
        (void)route;
        return &who;
}

static void expect_no_session(struct bench *b, const uint8_t session[WIRE_SESSION_SIZE])
{
        struct peer *peer = &b->peers[PEERS_MAX - 1];

        *peer = (struct peer){ .bench = b, .number = PEERS_MAX - 1 };
        memcpy(peer->session, session, WIRE_SESSION_SIZE);
        peer_say_hello(peer);
        assert_int_equal(peer->n_welcomes, 0);
        assert_status(peer->refused, OBJD_E_LIMIT);
}

/* Also of who says to go on with a session that there is not; who goes on with its own is let in. */
static void a_user_has_so_many_sessions(void **state)
{
        enum { N = 3 };
        static const uint8_t none[WIRE_SESSION_SIZE], made_up[WIRE_SESSION_SIZE] = { 1, 2, 3 };
        struct bench *b = calloc(1, sizeof(*b));
        struct peer *peers[N];

        bench_begin(b, *state);
        b->server.max_per_uid = N;
        b->link.who = somebody;
        for (uint32_t i = 0; i < N; i++)
                peers[i] = peer_begin(b, i);
        expect_no_session(b, none);
        expect_no_session(b, made_up);
        (void)peer_go_on(b, peers[0]);
        assert_int_equal(b->server.stats.n_resumed, 1);
        b->link.who = NULL; /* the daemon's own user */
        (void)peer_begin(b, N);
        assert_int_equal(b->server.sessions.n, N + 1);
        bench_end(b);
        free(b);
}

/* Says hello with this nonce (0: none), as who has no session yet, from this route. Whether it got that session. */
static bool hello_again(struct bench *b, uint32_t number, char nonce, uint8_t session[WIRE_SESSION_SIZE])
{
        struct peer *peer = &b->peers[number];
        bool is_same;

        *peer = (struct peer){ .bench = b, .number = number, .has_nonce = nonce };
        memset(peer->nonce, nonce, sizeof(peer->nonce));
        peer_say_hello(peer);
        assert_int_equal(peer->n_welcomes, 1);
        is_same = memcmp(peer->session, session, WIRE_SESSION_SIZE) == 0;
        memcpy(session, peer->session, WIRE_SESSION_SIZE);
        return is_same;
}

/* Also over another link, and by the next daemon. Nobody else gets that session. */
static void a_hello_that_is_said_again_begins_no_other_session(void **state)
{
        struct bench *b = calloc(1, sizeof(*b)), *next = calloc(1, sizeof(*next));
        uint8_t first[WIRE_SESSION_SIZE] = { 0 }, other[WIRE_SESSION_SIZE];

        bench_begin(b, *state);
        assert_false(hello_again(b, 0, 'a', first));
        memcpy(other, first, sizeof(other));
        assert_true(hello_again(b, 0, 'a', first));
        assert_true(hello_again(b, 1, 'a', first));
        assert_int_equal(b->server.sessions.n, 1);
        assert_int_equal(b->server.stats.n_resumed, 0); /* nobody had asked for it */
        assert_false(hello_again(b, 0, 'b', other));
        assert_false(hello_again(b, 0, 0, other));
        assert_false(hello_again(b, 0, 0, other));
        assert_int_equal(b->server.sessions.n, 4);
        b->server.max_per_uid = 1;
        b->link.who = somebody;
        memcpy(other, first, sizeof(other));
        assert_false(hello_again(b, 0, 'a', other));
        assert_true(hello_again(b, 1, 'a', other)); /* which is not one too many */
        assert_int_equal(b->server.sessions.n, 5);
        bench_die(b);

        bench_begin(next, *state);
        assert_true(hello_again(next, 0, 'a', first));
        assert_true(hello_again(next, 0, 'a', first));
        assert_int_equal(next->server.sessions.n, 1);
        assert_int_equal(inside_sessions(*state, 0, false), 5);
        next->server.sessions.list->ends = true;
        assert_false(hello_again(next, 0, 'a', first));
        assert_int_equal(inside_sessions(*state, 0, true), 6);
        bench_end(next);
        free(next);
        free(b);
}

/* A client whose link has broken gets its session back, however many there are. */
static void a_session_goes_on_where_there_is_room_for_no_other(void **state)
{
        static const uint8_t none[WIRE_SESSION_SIZE];
        struct bench *b = calloc(1, sizeof(*b));
        struct peer *peer;

        bench_begin(b, *state);
        peer = peer_begin(b, 0);
        b->server.sessions.n += SESSIONS_MAX - 1; /* as if there were */
        expect_no_session(b, none);
        peer = peer_go_on(b, peer);
        assert_int_equal(b->server.stats.n_resumed, 1);
        b->server.sessions.n -= SESSIONS_MAX - 1;
        bench_end(b);
        free(b);
}

/* ---- Reports ---------------------------------------------------------------------------------------------- */

static unsigned count_descriptors(void)
{
        DIR *dir = opendir("/proc/self/fd");
        unsigned n = 0;

        assert_non_null(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

static bool reports_are_over(void *context)
{
        struct report_makers *makers = context;
        uint32_t n;

        (void)pthread_mutex_lock(&makers->lock);
        n = makers->n;
        (void)pthread_mutex_unlock(&makers->lock);
        return !n;
}

static bool has_replied(void *context)
{
        struct peer *peer = context;

        bench_run(peer->bench);
        (void)parked_look(&peer->bench->server.parked);
        return peer->n_replies > 0;
}

/* Piece by piece: its last line may have come before it is known to be the last. */
static void read_report(struct peer *peer)
{
        struct call_report asked = { .number = 1, .what = REPORT_STATS };
        const struct call call = { .code = CALL_STORE_REPORT, .report = &asked, .timeout_ns = OBJD_FOREVER };

        do {
                peer->n_replies = 0;
                peer_send(peer, &call, 1, 0);
                wait_until(has_replied, peer, "a piece of a report");
                assert_ok(peer->statuses[0]);
                asked.position += peer->value_size;
        } while (!peer->truth);
}

/* One that has been read to its end costs its session a piece of memory, and nobody a descriptor. */
static void who_has_read_a_report_costs_no_descriptor(void **state)
{
        enum { N = REPORTS_MAX + 4 };
        struct bench *b = calloc(1, sizeof(*b));
        unsigned n_descriptors = 0;

        bench_begin(b, *state);
        for (int i = 0; i < N; i++) {
                struct peer *peer = peer_begin(b, 0);

                read_report(peer);
                wait_until(reports_are_over, &b->server.sessions.reports, "the end of a report");
                if (!i)
                        n_descriptors = count_descriptors();
                assert_true(session_by_id(&b->server.sessions, peer->session)->account->used >= REPORT_PIECE);
        }
        assert_int_equal(count_descriptors(), n_descriptors);
        bench_end(b);
        free(b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(a_large_batch_holds_nobody_up),
                INSIDE_TEST(many_batches_hold_nobody_up),
                INSIDE_TEST(large_values_fill_a_turn),
                INSIDE_TEST(a_quick_one_is_waited_for),
                INSIDE_TEST(many_that_wait_cost_little),
                INSIDE_TEST(deadlines_come_in_order),
                INSIDE_TEST(a_hello_is_small),
                INSIDE_TEST(what_has_no_head_is_refused),
                INSIDE_TEST(a_user_has_so_many_sessions),
                INSIDE_TEST(a_hello_that_is_said_again_begins_no_other_session),
                INSIDE_TEST(who_has_read_a_report_costs_no_descriptor),
                INSIDE_TEST(a_session_goes_on_where_there_is_room_for_no_other),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
