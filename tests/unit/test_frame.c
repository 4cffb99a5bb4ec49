/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_frame.c -- rpc/frame.c: heads of frames, messages cut into pieces and put together
 */

#include "support/test.h"

#include <stdlib.h>
#include <string.h>

#include "rpc/frame.h"
#include "support/random.h"

#define MAX_PIECE 65536u
#define MAX_MESSAGE (1u << 20)

static const char *program;
static const uint8_t session[WIRE_SESSION_SIZE] = "0123456789abcde";
static const uint8_t other_session[WIRE_SESSION_SIZE] = "another session";

/* ---- Helpers ------------------------------------------------------------------------------------------- */

static struct frame_head head_of(uint8_t type, uint8_t flags, uint32_t piece, uint32_t message, uint32_t body)
{
        struct frame_head head = {
                .type = type, .flags = flags, .piece = piece, .message = message, .body = body
        };

        memcpy(head.session, session, WIRE_SESSION_SIZE);
        return head;
}

static objd_status decode(struct frame_head head)
{
        uint8_t bytes[FRAME_HEAD];

        frame_encode(&head, bytes);
        return frame_decode(bytes, sizeof(bytes), MAX_PIECE, MAX_MESSAGE, &head);
}

/* A message with a bulk, whose bytes are what they are. */
static void make_message(struct wire_out *out, objd_value *value, size_t size)
{
        static uint8_t data[300000];
        struct call call = { .code = CALL_LIST_APPEND, .values = value, .n_values = 1 };
        struct call_batch batch = { .seq = 5, .calls = &call, .n_calls = 1 };

        assert_true(size <= sizeof(data));
        for (size_t i = 0; i < size; i++)
                data[i] = (uint8_t)(i * 7 + i / 256);
        *value = objd_bytes(data, size);
        assert_ok(wire_pack_batch(out, &batch, 0));
}

/* Memory that counts, and can come to an end. */
struct counted {
        size_t now, most, left;
};

static void *counted_resize(void *context, void *old, size_t old_size, size_t new_size)
{
        struct counted *counted = context;

        if (new_size > old_size && new_size - old_size > counted->left)
                return NULL;
        counted->left -= new_size - old_size;
        counted->now += new_size - old_size;
        if (counted->now > counted->most)
                counted->most = counted->now;
        if (new_size)
                return realloc(old, new_size);
        free(old);
        return NULL;
}

/* ---- Heads --------------------------------------------------------------------------------------------- */

static void a_head_has_its_32_bytes_in_this_order(void **state)
{
        static const uint8_t expected[FRAME_HEAD] = { 0x6f, 1,    3,   2,   4,   3,   2,   1,   8,   7,   6,
                                                      5,    0x0c, 0xb, 0xa, 9,   '0', '1', '2', '3', '4', '5',
                                                      '6',  '7',  '8', '9', 'a', 'b', 'c', 'd', 'e', 0 };
        struct frame_head head = head_of(FRAME_BATCH, FRAME_LAST, 0x01020304, 0x05060708, 0x090a0b0c);
        uint8_t bytes[FRAME_HEAD];

        (void)state;
        frame_encode(&head, bytes);
        assert_memory_equal(bytes, expected, FRAME_HEAD);
}

static void sound_heads_are_taken_as_they_are(void **state)
{
        const struct frame_head heads[] = {
                head_of(FRAME_HELLO, FRAME_FIRST | FRAME_LAST, 10, 10, 10),
                head_of(FRAME_BATCH, FRAME_FIRST, 100, 1000, 990),
                head_of(FRAME_BATCH, 0, MAX_PIECE, MAX_MESSAGE, 5),
                head_of(FRAME_REPLY, FRAME_LAST, 1, 16, 3),
                head_of(FRAME_PING, 0, 0, 0, 0),
                head_of(FRAME_BYE, 0, 0, 0, 0),
                head_of(FRAME_SEAL_FIRST, FRAME_FIRST | FRAME_LAST, 96, 96, 0),
                head_of(FRAME_SEAL_LAST, FRAME_FIRST | FRAME_LAST, 1, 1, 0),
        };

        (void)state;
        for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
                struct frame_head got;
                uint8_t bytes[FRAME_HEAD], again[FRAME_HEAD];

                frame_encode(&heads[i], bytes);
                assert_ok(frame_decode(bytes, FRAME_HEAD, MAX_PIECE, MAX_MESSAGE, &got));
                frame_encode(&got, again);
                assert_memory_equal(bytes, again, FRAME_HEAD);
        }
}

static void each_head_that_makes_no_sense_has_its_sentence(void **state)
{
        const struct {
                struct frame_head head;
                objd_status status;
                const char *part;
        } cases[] = {
                { head_of(0, 0, 0, 0, 0), OBJD_E_PROTO, "type 0" },
                { head_of(9, 0, 0, 0, 0), OBJD_E_PROTO, "type 9" },
                { head_of(32, 3, 1, 1, 1), OBJD_E_PROTO, "type 32" },
                { head_of(FRAME_BATCH, 7, 1, 1, 1), OBJD_E_PROTO, "flags 7" },
                { head_of(FRAME_PING, 3, 0, 0, 0), OBJD_E_PROTO, "should have none" },
                { head_of(FRAME_BYE, 0, 1, 0, 0), OBJD_E_PROTO, "should have none" },
                { head_of(FRAME_SEAL_FIRST, 3, 5, 5, 5), OBJD_E_PROTO, "one whole message" },
                { head_of(FRAME_SEAL_FIRST, 1, 5, 6, 0), OBJD_E_PROTO, "one whole message" },
                { head_of(FRAME_BATCH, 3, 10, 10, 0), OBJD_E_PROTO, "a body of 0" },
                { head_of(FRAME_BATCH, 3, 10, 10, 11), OBJD_E_PROTO, "a body of 11" },
                { head_of(FRAME_BATCH, 3, 10, 10, 5), OBJD_E_PROTO, "multiple of 8" },
                { head_of(FRAME_BATCH, 3, 16, 16, 9), OBJD_E_PROTO, "multiple of 8" },
                { head_of(FRAME_BATCH, 3, 9, 10, 10), OBJD_E_PROTO, "9 of 10 bytes" },
                { head_of(FRAME_BATCH, 1, 10, 10, 10), OBJD_E_PROTO, "10 of 10 bytes" },
                { head_of(FRAME_BATCH, 0, 11, 10, 10), OBJD_E_PROTO, "11 of 10 bytes" },
                { head_of(FRAME_BATCH, 0, 0, 10, 10), OBJD_E_PROTO, "0 of 10 bytes" },
                { head_of(FRAME_BATCH, 1, MAX_PIECE + 1, MAX_MESSAGE, 8), OBJD_E_TOOBIG, "a piece of 65537" },
                { head_of(FRAME_BATCH, 1, 8, MAX_MESSAGE + 8, 8), OBJD_E_TOOBIG, "a message has 1048584" },
        };
        uint8_t bytes[FRAME_HEAD];
        struct frame_head head = cases[4].head;

        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                assert_status(decode(cases[i].head), cases[i].status);
                assert_contains(objd_last_error(), cases[i].part);
        }
        head.flags = 0;
        frame_encode(&head, bytes);
        assert_ok(frame_decode(bytes, sizeof(bytes), 1, 1, &head));
        for (size_t size = 0; size < FRAME_HEAD; size++)
                assert_status(frame_decode(bytes, size, 1, 1, &head), OBJD_E_PROTO);
        bytes[1] = 2;
        assert_sentence(frame_decode(bytes, sizeof(bytes), 1, 1, &head), OBJD_E_PROTO,
                        "a frame has version 2, known here is 1");
        bytes[0] = 'G';
        assert_sentence(frame_decode(bytes, sizeof(bytes), 1, 1, &head), OBJD_E_PROTO,
                        "a frame begins with 0x47, not with 0x6f");
}

/* ---- Messages in pieces -------------------------------------------------------------------------------- */

static void a_message_in_one_frame_is_not_copied(void **state)
{
        _Alignas(8) uint8_t frame[FRAME_HEAD + 4096];
        struct frame_cutter cutter;
        struct frame_joiner joiner;
        struct frame_head head;
        struct wire_out out;
        struct wire_in in;
        objd_value value;
        bool whole;

        (void)state;
        wire_out_init(&out, 1024);
        make_message(&out, &value, 3000);
        frame_cut(&cutter, FRAME_BATCH, session, &out, sizeof(frame));
        assert_int_equal(frame_cut_size(&cutter), FRAME_HEAD + out.size);
        frame_cut_next(&cutter, frame);
        assert_int_equal(frame_cut_size(&cutter), 0);

        frame_joiner_init(&joiner, NULL, 0);
        assert_ok(frame_decode(frame, sizeof(frame), MAX_PIECE, MAX_MESSAGE, &head));
        assert_memory_equal(head.session, session, WIRE_SESSION_SIZE);
        assert_ok(frame_join(&joiner, &head, frame + FRAME_HEAD, &whole, &in));
        assert_true(whole);
        assert_ptr_equal(in.data, frame + FRAME_HEAD);
        assert_null(joiner.data);

        /* Where it does not lie aligned it has to be. */
        memmove(frame + 1, frame, FRAME_HEAD + out.size);
        assert_ok(frame_join(&joiner, &head, frame + 1 + FRAME_HEAD, &whole, &in));
        assert_true(whole);
        assert_int_equal((uintptr_t)in.data % 8, 0);
        assert_memory_equal(in.data, frame + 1 + FRAME_HEAD, out.size);
        frame_joiner_deinit(&joiner);
        wire_out_deinit(&out);
}

/* Sends a message in frames of this size, and checks what arrives. */
static void send_in_frames(struct wire_out *out, struct frame_joiner *joiner, uint32_t max_frame)
{
        uint8_t *frame = malloc(max_frame), *message = malloc(out->size);
        struct frame_cutter cutter;
        size_t size, at = 0;
        bool whole = false;

        assert_non_null(frame);
        assert_non_null(message);
        wire_out_copy(out, 0, message, out->size);
        frame_cut(&cutter, FRAME_REPLY, session, out, max_frame);
        while ((size = frame_cut_size(&cutter))) {
                struct frame_head head;
                struct wire_in in;

                assert_false(whole);
                assert_true(size <= max_frame);
                frame_cut_next(&cutter, frame);
                assert_ok(frame_decode(frame, size, MAX_PIECE, MAX_MESSAGE, &head));
                assert_int_equal(head.piece, size - FRAME_HEAD);
                assert_memory_equal(frame + FRAME_HEAD, message + at, head.piece);
                at += head.piece;
                assert_ok(frame_join(joiner, &head, frame + FRAME_HEAD, &whole, &in));
                if (!whole)
                        continue;
                assert_int_equal(in.size, out->size);
                assert_int_equal(in.body_size, out->body_size);
                assert_memory_equal(in.data, message, in.size);
        }
        assert_true(whole);
        assert_int_equal(at, out->size);
        free(frame);
        free(message);
}

static void messages_come_through_frames_of_any_size(void **state)
{
        static const uint32_t sizes[] = { FRAME_HEAD + 1, FRAME_HEAD + 7, 100, 1000, 65536 };
        struct counted counted = { .left = 1 << 30 };
        struct memory memory = { counted_resize, &counted };
        struct frame_joiner joiner;
        struct wire_out out;
        objd_value value;

        (void)state;
        frame_joiner_init(&joiner, &memory, 100000);
        wire_out_init(&out, 1024);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                make_message(&out, &value, 0);
                send_in_frames(&out, &joiner, sizes[i]);
                make_message(&out, &value, 3000);
                send_in_frames(&out, &joiner, sizes[i]);
                make_message(&out, &value, i < 2 ? 20000 : 300000);
                send_in_frames(&out, &joiner, sizes[i]);
        }
        /* A large message's memory is given back at the next one, a small one's is kept. */
        assert_true(counted.now >= 300000);
        make_message(&out, &value, 3000);
        send_in_frames(&out, &joiner, 100);
        assert_true(counted.now <= 100000);
        frame_joiner_deinit(&joiner);
        assert_int_equal(counted.now, 0);
        wire_out_deinit(&out);
}

static void memory_grows_with_what_has_come(void **state)
{
        static uint8_t piece[1000];
        struct counted counted = { .left = 1 << 30 };
        struct memory memory = { counted_resize, &counted };
        struct frame_head head = head_of(FRAME_BATCH, FRAME_FIRST, 1000, 1 << 30, 1 << 29);
        struct frame_joiner joiner;
        struct wire_in in;
        bool whole;

        (void)state;
        frame_joiner_init(&joiner, &memory, 0);
        for (size_t n = 1; n <= 2000; n++) {
                assert_ok(frame_join(&joiner, &head, piece, &whole, &in));
                assert_false(whole);
                assert_true(counted.most <= 2 * n * 1000 + 65536);
                head.flags = 0;
        }
        frame_joiner_drop(&joiner);
        assert_int_equal(counted.now, 0);

        /* When there is no more, the message is forgotten, and what still comes of it is refused. */
        counted.left = 100000;
        head.flags = FRAME_FIRST;
        objd_status r = OBJD_OK;
        for (size_t n = 0; !r && n < 200; n++) {
                r = frame_join(&joiner, &head, piece, &whole, &in);
                head.flags = 0;
        }
        assert_int_equal(r, OBJD_E_NOMEM);
        assert_int_equal(counted.now, 0);
        assert_status(frame_join(&joiner, &head, piece, &whole, &in), OBJD_E_PROTO);
        frame_joiner_deinit(&joiner);
}

static void each_piece_that_does_not_fit_has_its_sentence(void **state)
{
        static uint8_t bytes[1000];
        const struct {
                struct frame_head head;
                const char *part;
        } cases[] = {
                { head_of(FRAME_BATCH, FRAME_FIRST, 100, 1000, 1000), "begins where 900 bytes" },
                { head_of(FRAME_BATCH, FRAME_FIRST | FRAME_LAST, 100, 100, 100), "begins where 900 bytes" },
                { head_of(FRAME_REPLY, 0, 100, 1000, 1000), "another message" },
                { head_of(FRAME_BATCH, 0, 100, 1001, 1001), "another message" },
                { head_of(FRAME_BATCH, 0, 100, 1000, 992), "another message" },
                { head_of(FRAME_BATCH, FRAME_LAST, 100, 1000, 1000), "where 900 bytes are missing" },
                { head_of(FRAME_BATCH, 0, 900, 1000, 1000), "where 900 bytes are missing" },
                { head_of(FRAME_BATCH, 0, 901, 1000, 1000), "where 900 bytes are missing" },
        };
        struct frame_head first = head_of(FRAME_BATCH, FRAME_FIRST, 100, 1000, 1000), next = first;
        struct frame_joiner joiner;
        struct wire_in in;
        bool whole;

        (void)state;
        frame_joiner_init(&joiner, NULL, 0);
        next.flags = 0;
        assert_sentence(frame_join(&joiner, &next, bytes, &whole, &in), OBJD_E_PROTO,
                        "a piece of a message comes without the first one");
        memcpy(next.session, other_session, WIRE_SESSION_SIZE);
        for (size_t i = 0; i <= sizeof(cases) / sizeof(cases[0]); i++) {
                bool last = i == sizeof(cases) / sizeof(cases[0]);

                assert_ok(frame_join(&joiner, &first, bytes, &whole, &in));
                assert_false(whole);
                assert_status(frame_join(&joiner, last ? &next : &cases[i].head, bytes, &whole, &in),
                              OBJD_E_PROTO);
                assert_contains(objd_last_error(), last ? "another message" : cases[i].part);
        }
        frame_joiner_deinit(&joiner);
}

static void no_row_of_frames_makes_a_message_of_another_size(void **state)
{
        struct random random = random_begin(program);
        struct frame_joiner joiner;
        uint8_t bytes[64] = { 0 };
        size_t n_whole = 0, n_refused = 0;

        (void)state;
        frame_joiner_init(&joiner, NULL, 100);
        for (size_t i = 0; i < 200000; i++) {
                uint32_t message = (uint32_t)(1 + random_below(&random, 3)) * 8;
                struct frame_head head =
                        head_of(FRAME_BATCH, (uint8_t)random_below(&random, 4),
                                (uint32_t)random_below(&random, message + 1), message, message);
                struct wire_in in = { 0 };
                bool whole = false;

                if (decode(head))
                        continue;
                if (frame_join(&joiner, &head, bytes + random_below(&random, 2), &whole, &in))
                        n_refused++;
                if (whole)
                        assert_int_equal(in.size, message);
                n_whole += whole;
        }
        assert_true(n_whole > 1000 && n_refused > 1000);
        frame_joiner_deinit(&joiner);
}

/* What one message was put together in, the next one is. */
static void a_joiner_takes_memory_back_if_it_has_none_and_may_keep_it(void **state)
{
        struct frame_joiner joiner;
        size_t room = 0;
        uint8_t *memory;

        (void)state;
        frame_joiner_init(&joiner, NULL, 1000);
        memory = malloc(1001);
        assert_non_null(memory);
        assert_false(frame_joiner_give(&joiner, memory, 1001)); /* it would not keep so much */
        assert_true(frame_joiner_give(&joiner, memory, 1000));
        assert_false(frame_joiner_give(&joiner, memory, 1000)); /* it has some */
        frame_joiner_drop(&joiner);
        assert_ptr_equal(frame_joiner_take(&joiner, memory, &room), memory);
        assert_int_equal(room, 1000);
        assert_null(frame_joiner_take(&joiner, memory, &room));
        free(memory);
        frame_joiner_deinit(&joiner);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_head_has_its_32_bytes_in_this_order),
                cmocka_unit_test(sound_heads_are_taken_as_they_are),
                cmocka_unit_test(each_head_that_makes_no_sense_has_its_sentence),
                cmocka_unit_test(a_message_in_one_frame_is_not_copied),
                cmocka_unit_test(messages_come_through_frames_of_any_size),
                cmocka_unit_test(memory_grows_with_what_has_come),
                cmocka_unit_test(each_piece_that_does_not_fit_has_its_sentence),
                cmocka_unit_test(no_row_of_frames_makes_a_message_of_another_size),
                cmocka_unit_test(a_joiner_takes_memory_back_if_it_has_none_and_may_keep_it),
        };

        (void)argc;
        program = argv[0];
        return cmocka_run_group_tests(tests, NULL, NULL);
}
