/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_account.c -- what a client costs the daemon: what it asks for, what it reads, and what it does not finish are bounded
 */

#include <stdlib.h>
#include <string.h>

#include "proxy/kept.h"
#include "support/inside.h"
#include "support/peer.h"
#include "support/test.h"

#define MIB ((size_t)1 << 20)

/* What is not counted to the byte: the room that a call must find, and what stands around a message. */
#define SLACK (MIB / 2)

struct shop {
        struct bench bench;
        struct accounts *all;
        struct peer *peer;
        struct account *account; /* the peer's */
        objd_object *dict;
        char *bytes; /* 8 MiB */
};

static struct account *account_of(struct shop *s, const struct peer *peer)
{
        struct proxy_session *session = session_by_id(&s->bench.server.sessions, peer->session);

        assert_non_null(session);
        return session->account;
}

static struct shop *begin(objd_conn *conn, size_t limit, size_t reserve)
{
        struct shop *s = calloc(1, sizeof(*s));

        assert_non_null(s);
        bench_begin(&s->bench, conn);
        proxy_set_memory(&s->bench.server, limit, reserve);
        s->all = &s->bench.server.sessions.accounts;
        s->peer = peer_begin(&s->bench, 0);
        s->account = account_of(s, s->peer);
        s->dict = inside_dict(conn, "dict");
        s->bytes = calloc(8, MIB);
        assert_non_null(s->bytes);
        return s;
}

/* Nothing is charged for what is over. */
static void end(struct shop *s)
{
        assert_int_equal(s->account->used, 0);
        assert_int_equal(s->account->in_arena, 0);
        bench_end(&s->bench);
        assert_int_equal(s->all->used, 0);
        assert_int_equal(s->all->reserve_used, 0);
        assert_int_equal(s->all->n_arenas, 0);
        objd_release(s->dict);
        free(s->bytes);
        free(s);
}

static struct call call_of(struct shop *s, enum call_code code, const objd_value *key,
                           const objd_value *value)
{
        return (struct call){ .code = code,
                              .object = objd_ref_of(s->dict),
                              .keys = key,
                              .n_keys = 1,
                              .values = value,
                              .n_values = value ? 1 : 0 };
}

/* Sends a batch of one call, in frames of that size, and gives how it has ended, replied or refused. */
static objd_status ask(struct shop *s, struct peer *peer, struct call call, uint32_t max_frame)
{
        uint32_t n_replies = peer->n_replies, n_refused = peer->n_refused;

        peer_send(peer, &call, 1, max_frame);
        bench_run(&s->bench);
        if (peer->n_replies > n_replies)
                return peer->statuses[n_replies];
        assert_int_equal(peer->n_refused, n_refused + 1);
        return peer->refused;
}

static void set_directly(struct shop *s, const char *key, size_t size)
{
        objd_value k = objd_cstr(key), v = objd_bytes(s->bytes, size);

        assert_ok(objd_dict_set(s->dict, &k, &v));
}

/* ---- Arenas ----------------------------------------------------------------------------------------------- */

static void small_requests_need_no_arena(void **state)
{
        struct shop *s = begin(*state, 8 * MIB, 0);
        objd_value key = objd_cstr("key"), value = objd_int(1);

        for (int i = 0; i < 100; i++) {
                assert_ok(ask(s, s->peer, call_of(s, CALL_DICT_SET, &key, &value), 0));
                assert_ok(ask(s, s->peer, call_of(s, CALL_DICT_GET, &key, NULL), 0));
                assert_int_equal(s->account->used, 0);
        }
        assert_int_equal(s->all->n_arenas, 0);
        assert_true(s->account->most < 2 * ACCOUNT_HAND);
        end(s);
}

/* Where there is jemalloc; other builds have no arenas. */
static void an_arena_is_reset_after_each_reply(void **state)
{
        struct shop *s = begin(*state, 8 * MIB, 0);
        objd_value key = objd_cstr("key"), value = objd_bytes(s->bytes, 100000);

        for (uint64_t i = 1; i <= 10; i++) {
                assert_ok(ask(s, s->peer, call_of(s, CALL_DICT_SET, &key, &value), 0));
                assert_int_equal(s->account->in_arena, 0);
                assert_int_equal(s->all->n_resets, s->account->has_arena ? i : 0);
        }
        assert_true(s->account->most > 100000 && s->account->most < 300000);
        accounts_rest(s->all);
        end(s);
}

/* ---- The spare -------------------------------------------------------------------------------------------- */

/* What was put together in the first piece is put together there again, also by another client, and it goes when nobody wants it. */
static void a_large_piece_is_kept_for_the_next_one_for_a_while(void **state)
{
        struct shop *s = begin(*state, 16 * MIB, 0);
        struct peer *other = peer_begin(&s->bench, 0);
        objd_value key = objd_cstr("key"), value = objd_bytes(s->bytes, 3 * MIB);
        const void *memory;

        assert_ok(ask(s, s->peer, call_of(s, CALL_DICT_SET, &key, &value), 65536));
        memory = s->all->spare.memory;
        assert_non_null(memory);
        assert_true(s->all->spare.size >= 3 * MIB && s->all->spare.size <= 4 * MIB);
        assert_int_equal(s->account->used, 0);
        assert_ok(ask(s, other, call_of(s, CALL_DICT_SET, &key, &value), 65536));
        assert_ptr_equal(s->all->spare.memory, memory);
        accounts_rest(s->all);
        assert_ptr_equal(s->all->spare.memory, memory);
        accounts_rest(s->all);
        assert_null(s->all->spare.memory);
        assert_false(accounts_want_rest(s->all));
        end(s);
}

/* Two messages are coming in at once: one has the spare, which grows, and the other does without. */
static void who_finds_the_spare_taken_does_without(void **state)
{
        struct shop *s = begin(*state, 0, 0);
        struct account *one = account_new(s->all), *two = account_new(s->all);
        uint8_t *first = account_resize(one, NULL, 0, MIB), *second;

        assert_null(account_resize(one, first, MIB, 0));
        assert_non_null(s->all->spare.memory);
        first = account_resize(one, NULL, 0, MIB);
        second = account_resize(two, NULL, 0, MIB);
        assert_ptr_equal(first, s->all->spare.memory);
        assert_ptr_not_equal(second, first);
        memset(first, 1, MIB);
        memset(second, 2, MIB);
        first = account_resize(one, first, MIB, 5 * MIB);
        second = account_resize(two, second, MIB, 5 * MIB);
        assert_ptr_equal(first, s->all->spare.memory);
        assert_int_equal(s->all->spare.size, 5 * MIB);
        assert_int_equal(first[MIB - 1], 1);
        assert_int_equal(second[MIB - 1], 2);
        assert_null(account_resize(two, second, 5 * MIB, 0));
        assert_null(account_resize(one, first, 5 * MIB, 0));
        account_unref(one);
        account_unref(two);
        end(s);
}

/* The limit says how much is kept. */
static void what_is_very_large_is_not_kept(void **state)
{
        struct shop *s = begin(*state, 0, 0);
        struct account *account = account_new(s->all);
        uint8_t *piece = account_resize(account, NULL, 0, 33 * MIB);

        assert_null(account_resize(account, piece, 33 * MIB, 0));
        assert_null(s->all->spare.memory);
        account_unref(account);
        end(s);
}

/* ---- Kept replies ----------------------------------------------------------------------------------------- */

/* A reply with one value of so many bytes, which are its own. */
static void make_reply(struct wire_out *out, size_t size)
{
        uint8_t *bytes = malloc(size);
        struct answer answer;
        struct call_reply reply = { .seq = 1, .answers = &answer, .n_answers = 1 };

        assert_non_null(bytes);
        for (size_t i = 0; i < size; i++)
                bytes[i] = (uint8_t)(i % 251);
        answer_init(&answer);
        answer.code = CALL_DICT_GET;
        answer.value = objd_bytes(bytes, size);
        wire_out_init(out, WIRE_BULK_FROM);
        assert_ok(wire_pack_reply(out, &reply, 0));
        out->kept = bytes;
        out->free_kept = free;
        out->kept_size = size;
}

/* Cuts the next frame, and gives it to the joiner, who says when the message is whole. */
static bool pass_on(struct frame_cutter *cutter, struct frame_joiner *joiner, struct wire_in *in)
{
        static uint8_t frame[65536];
        size_t size = frame_cut_size(cutter);
        struct frame_head head;
        bool whole = false;

        assert_in_range(size, FRAME_HEAD + 1, sizeof(frame));
        frame_cut_next(cutter, frame);
        assert_ok(frame_decode(frame, size, sizeof(frame), 4 * MIB, &head));
        assert_ok(frame_join(joiner, &head, frame + FRAME_HEAD, &whole, in));
        return whole;
}

static void a_kept_reply_goes_on_where_it_was_and_is_paid_for_until_it_has_gone(void **state)
{
        static const uint8_t session[WIRE_SESSION_SIZE] = { 1 };
        struct shop *s = begin(*state, 4 * MIB, 0);
        struct account *account = account_new(s->all);
        struct frame_cutter cutter;
        struct frame_joiner joiner;
        struct kept_message *kept;
        struct wire_out out;
        struct wire_in in;
        size_t left = 0;

        frame_joiner_init(&joiner, NULL, 0);
        make_reply(&out, 3 * MIB);
        frame_cut(&cutter, FRAME_REPLY, session, &out, 65536);
        assert_false(pass_on(&cutter, &joiner, &in));
        kept = kept_new(account, &cutter);
        assert_non_null(kept);
        assert_null(out.kept);
        wire_out_deinit(&out);
        assert_true(account->used >= 3 * MIB);

        left = kept_size(kept);
        do {
                assert_true(left >= frame_cut_size(&kept->cutter));
                left -= frame_cut_size(&kept->cutter);
        } while (!pass_on(&kept->cutter, &joiner, &in));
        assert_int_equal(left, 0);
        for (size_t i = 0; i < 3 * MIB; i++)
                assert_int_equal(in.data[in.size - 3 * MIB + i], i % 251);
        kept_free(kept);
        assert_int_equal(account->used, 0);

        make_reply(&out, 5 * MIB); /* over the limit */
        frame_cut(&cutter, FRAME_REPLY, session, &out, 65536);
        assert_null(kept_new(account, &cutter));
        assert_true(account->refused);
        assert_non_null(out.kept);
        wire_out_deinit(&out);
        assert_int_equal(account->used, 0);
        frame_joiner_deinit(&joiner);
        account_unref(account);
        end(s);
}

/* ---- Limits ----------------------------------------------------------------------------------------------- */

static void too_large_a_message_is_refused_with_its_first_piece(void **state)
{
        struct shop *s = begin(*state, 2 * MIB, 0);
        objd_value key = objd_cstr("key"), value = objd_bytes(s->bytes, 3 * MIB), one = objd_int(1);

        assert_status(ask(s, s->peer, call_of(s, CALL_DICT_SET, &key, &value), 65536), OBJD_E_LIMIT);
        assert_contains(s->peer->sentence, "--client-memory");
        assert_int_equal(s->peer->n_refused, 1);
        assert_true(s->account->most < SLACK);
        assert_int_equal(s->all->n_refused, 1);

        /* The connection lives on. */
        assert_ok(ask(s, s->peer, call_of(s, CALL_DICT_SET, &key, &one), 65536));
        value.size = MIB;
        assert_ok(ask(s, s->peer, call_of(s, CALL_DICT_SET, &key, &value), 65536));
        assert_true(s->account->most <= 2 * MIB + SLACK);
        end(s);
}

/* A client that sends all it can, and whose batches all have to wait. */
static void batches_that_wait_are_bounded(void **state)
{
        enum { N = 200 };
        struct shop *s = begin(*state, 4 * MIB, 0);
        objd_config config = OBJD_CONFIG_INIT;
        objd_value value = objd_bytes(s->bytes, 100000), key = objd_cstr("key"), one = objd_int(1), got;
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *queue;
        struct call put = {
                .code = CALL_QUEUE_PUT, .values = &value, .n_values = 1, .timeout_ns = OBJD_FOREVER
        };

        config.bound = 1;
        assert_ok(objd_create(*state, NULL, OBJD_QUEUE, &config, &queue));
        put.object = objd_ref_of(queue);
        for (int i = 0; i < N; i++) {
                peer_send(s->peer, &put, 1, 0);
                bench_run(&s->bench);
        }
        assert_true(s->bench.server.parked.n_jobs > 20 && s->bench.server.parked.n_jobs < 42);
        assert_true(s->account->most <= 4 * MIB);
        assert_int_equal(s->peer->n_replies + s->peer->n_refused + s->bench.server.parked.n_jobs, N);
        assert_status(s->peer->n_replies ? s->peer->statuses[s->peer->n_replies - 1] : s->peer->refused,
                      OBJD_E_LIMIT);

        /* What waits goes on when there is room; the waker's threads say when, or it is looked for. */
        while (s->bench.server.parked.n_jobs) {
                (void)objd_queue_get(queue, &got, &buf, OBJD_NOWAIT);
                parked_wake(&s->bench.server.parked);
                (void)parked_look(&s->bench.server.parked);
        }
        assert_ok(ask(s, s->peer, call_of(s, CALL_DICT_SET, &key, &one), 0));
        objd_buf_free(&buf);
        objd_release(queue);
        end(s);
}

static void what_calls_read_is_bounded(void **state)
{
        enum { N = 100 };
        struct shop *s = begin(*state, 3 * MIB, 0);
        objd_value large = objd_cstr("large"), medium = objd_cstr("medium");
        struct call calls[N], copy = { .code = CALL_DICT_COPY };

        set_directly(s, "large", 4 * MIB);
        set_directly(s, "medium", 60000);
        assert_status(ask(s, s->peer, call_of(s, CALL_DICT_GET, &large, NULL), 0), OBJD_E_LIMIT);
        copy.object = objd_ref_of(s->dict);
        assert_status(ask(s, s->peer, copy, 0), OBJD_E_LIMIT);
        assert_true(s->account->most <= SLACK);

        /* The first of them are answered, the others are told why not. */
        for (size_t i = 0; i < N; i++)
                calls[i] = call_of(s, CALL_DICT_GET, &medium, NULL);
        peer_send(s->peer, calls, N, 0);
        bench_run(&s->bench);
        assert_ok(s->peer->statuses[s->peer->n_replies - 1]);
        assert_true(s->peer->largest > 10 * 60000 && s->peer->largest < 3 * MIB);
        assert_true(s->account->most <= 3 * MIB + SLACK);
        assert_ok(ask(s, s->peer, call_of(s, CALL_DICT_GET, &medium, NULL), 0));
        end(s);
}

/* Its record would not fit: the change is not made. */
static void a_change_without_room_for_its_record_is_undone(void **state)
{
        struct shop *s = begin(*state, 6 * MIB, 0);
        objd_value large = objd_cstr("large");
        bool found;

        set_directly(s, "large", 4 * MIB);
        assert_status(ask(s, s->peer, call_of(s, CALL_DICT_POP, &large, NULL), 0), OBJD_E_LIMIT);
        assert_ok(objd_dict_contains(s->dict, &large, &found));
        assert_true(found);
        set_directly(s, "large", 2 * MIB);
        assert_ok(ask(s, s->peer, call_of(s, CALL_DICT_POP, &large, NULL), 0));
        assert_ok(objd_dict_contains(s->dict, &large, &found));
        assert_false(found);
        end(s);
}

static void (*usual_send)(struct proxy_link *link, const struct proxy_route *route, enum frame_type type,
                          const uint8_t session[WIRE_SESSION_SIZE], struct wire_out *out);
static unsigned n_without_room;

/* A link that has no room for some replies, as when its peer does not take them. */
static void send_if_room(struct proxy_link *link, const struct proxy_route *route, enum frame_type type,
                         const uint8_t session[WIRE_SESSION_SIZE], struct wire_out *out)
{
        if (type == FRAME_REPLY && n_without_room) {
                n_without_room--;
                link->account->refused = true;
                return;
        }
        usual_send(link, route, type, session, out);
}

/* Nobody is told that nothing has happened where something has: the reply comes when it is asked for again. */
static void a_reply_without_room_waits_if_something_was_changed(void **state)
{
        struct shop *s = begin(*state, 6 * MIB, 0);
        objd_value key = objd_cstr("key"), other = objd_cstr("other");
        struct call pop = call_of(s, CALL_DICT_POP, &key, NULL),
                    get = call_of(s, CALL_DICT_GET, &other, NULL);
        uint64_t len;

        set_directly(s, "key", 100);
        set_directly(s, "other", 100);
        usual_send = s->bench.link.send;
        s->bench.link.send = send_if_room;
        n_without_room = 2;
        for (int i = 0; i < 3; i++) {
                assert_int_equal(s->peer->n_replies, 0);
                s->peer->next_seq = 0;
                peer_send(s->peer, &pop, 1, 0);
                bench_run(&s->bench);
                assert_int_equal(s->peer->n_refused, 0);
        }
        assert_int_equal(s->peer->n_replies, 1);
        assert_ok(s->peer->statuses[0]);
        assert_ok(objd_dict_len(s->dict, &len));
        assert_int_equal(len, 1);

        /* What has only been read is refused. */
        n_without_room = 1;
        peer_send(s->peer, &get, 1, 0);
        bench_run(&s->bench);
        assert_int_equal(s->peer->n_replies, 1);
        assert_int_equal(s->peer->n_refused, 1);
        assert_status(s->peer->refused, OBJD_E_LIMIT);
        end(s);
}

/* A message that says its number, and then nothing that makes sense, in pieces of a MiB. */
static void send_nonsense(struct peer *peer, uint8_t seq, uint32_t n_pieces)
{
        struct frame_head head = { .type = FRAME_BATCH, .flags = FRAME_FIRST, .piece = MIB - FRAME_HEAD };
        uint8_t *frame = calloc(1, MIB);

        assert_non_null(frame);
        head.message = head.body = n_pieces * head.piece;
        memcpy(head.session, peer->session, sizeof(head.session));
        memcpy(frame + FRAME_HEAD, (const uint8_t[]){ 8, seq }, 2);
        for (uint32_t i = 0; i < n_pieces; i++) {
                if (i == n_pieces - 1)
                        head.flags |= FRAME_LAST;
                frame_encode(&head, frame);
                peer_send_bytes(peer, frame, MIB);
                head.flags = 0;
                memset(frame + FRAME_HEAD, 0, 2);
        }
        free(frame);
}

/* It is unpacked where it was put together, and that memory has gone when the refusal says which one it was. */
static void a_very_large_message_that_is_not_sound_is_refused_by_its_number(void **state)
{
        enum { N = 40 }; /* MiB: more than is kept for the next one */
        struct shop *s = begin(*state, 0, 0);

        send_nonsense(s->peer, 77, N);
        assert_int_equal(s->peer->n_refused, 1);
        assert_status(s->peer->refused, OBJD_E_PROTO);
        assert_int_equal(s->peer->refused_seq, 77);
        assert_null(s->all->spare.memory);
        end(s);
}

/* ---- All together ------------------------------------------------------------------------------------------- */

/* Sends the first pieces of a batch with 4 MiB, and no more. */
static void begin_large(struct shop *s, struct peer *peer, uint32_t n_pieces)
{
        objd_value key = objd_cstr("key"), value = objd_bytes(s->bytes, 4 * MIB);
        struct call call = call_of(s, CALL_DICT_SET, &key, &value);
        const struct call_batch batch = { .seq = 1, .calls = &call, .n_calls = 1 };
        uint8_t *frame = malloc(MIB);
        struct frame_cutter cutter;
        struct wire_out out;

        assert_non_null(frame);
        wire_out_init(&out, WIRE_BULK_FROM);
        assert_ok(wire_pack_batch(&out, &batch, 0));
        frame_cut(&cutter, FRAME_BATCH, peer->session, &out, MIB);
        for (uint32_t i = 0; i < n_pieces; i++) {
                size_t size = frame_cut_size(&cutter);

                frame_cut_next(&cutter, frame);
                peer_send_bytes(peer, frame, size);
        }
        wire_out_deinit(&out);
        free(frame);
}

/* Several begin large messages and never finish them. Who comes later gets no such thing, but is served. */
static void the_reserve_is_shared(void **state)
{
        struct shop *s = begin(*state, 16 * MIB, 9 * MIB);
        objd_value key = objd_cstr("key"), one = objd_int(1), large = objd_bytes(s->bytes, 5 * MIB);

        for (uint32_t i = 1; i <= 5; i++) {
                begin_large(s, peer_begin(&s->bench, i), 4);
                assert_true(s->all->reserve_used <= 9 * MIB);
                assert_true(s->all->used <= 9 * MIB + i * ACCOUNT_FREE);
        }
        assert_true(s->all->used > 8 * MIB);
        assert_ok(ask(s, s->peer, call_of(s, CALL_DICT_SET, &key, &one), 0));
        assert_status(ask(s, s->peer, call_of(s, CALL_DICT_SET, &key, &large), 0), OBJD_E_LIMIT);
        assert_contains(s->peer->sentence, "--proxy-memory");
        assert_ok(ask(s, s->peer, call_of(s, CALL_DICT_GET, &key, NULL), 0));
        end(s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(small_requests_need_no_arena),
                INSIDE_TEST(an_arena_is_reset_after_each_reply),
                INSIDE_TEST(a_large_piece_is_kept_for_the_next_one_for_a_while),
                INSIDE_TEST(who_finds_the_spare_taken_does_without),
                INSIDE_TEST(what_is_very_large_is_not_kept),
                INSIDE_TEST(a_kept_reply_goes_on_where_it_was_and_is_paid_for_until_it_has_gone),
                INSIDE_TEST(too_large_a_message_is_refused_with_its_first_piece),
                INSIDE_TEST(batches_that_wait_are_bounded),
                INSIDE_TEST(what_calls_read_is_bounded),
                INSIDE_TEST(a_change_without_room_for_its_record_is_undone),
                INSIDE_TEST(a_reply_without_room_waits_if_something_was_changed),
                INSIDE_TEST(a_very_large_message_that_is_not_sound_is_refused_by_its_number),
                INSIDE_TEST(the_reserve_is_shared),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
