/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_protocol.c -- docs/protocol.md: its exchange byte by byte is what the code says, and its table has every code
 */

#include "support/test.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/frame.h"
#include "rpc/wire.h"
#include "support/document.h"

#define FRAME_BYTES 1024 /* more than any frame of the document has */

static const uint8_t session[WIRE_SESSION_SIZE] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                                    0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
static const uint8_t no_session[WIRE_SESSION_SIZE];

/* ---- Helpers ------------------------------------------------------------------------------------------- */

/* The message of a frame of the document; `bytes` must stay. */
static struct wire_in open_frame(const char *name, uint8_t type, const uint8_t *of, uint8_t *bytes)
{
        size_t size = document_frame(name, bytes, FRAME_BYTES);
        struct frame_joiner joiner;
        struct frame_head head;
        struct wire_in in;
        bool whole = false;

        frame_joiner_init(&joiner, NULL, 0);
        assert_ok(frame_decode(bytes, size, 4096, 4096, &head));
        assert_int_equal(head.type, type);
        assert_memory_equal(head.session, of, WIRE_SESSION_SIZE);
        assert_int_equal(size, FRAME_HEAD + head.piece);
        assert_ok(frame_join(&joiner, &head, bytes + FRAME_HEAD, &whole, &in));
        assert_true(whole);
        return in;
}

/* That a message that has been packed is, in a frame, what the document has. */
static void check_frame(struct wire_out *out, enum frame_type type, const uint8_t *of,
                        const uint8_t *expected)
{
        uint8_t bytes[FRAME_BYTES];
        struct frame_cutter cutter;
        size_t size;

        frame_cut(&cutter, type, of, out, sizeof(bytes));
        size = frame_cut_size(&cutter);
        frame_cut_next(&cutter, bytes);
        assert_memory_equal(bytes, expected, size);
        assert_int_equal(frame_cut_size(&cutter), 0);
}

/* ---- The exchange -------------------------------------------------------------------------------------- */

static void the_hello_is_what_it_says(void **state)
{
        _Alignas(8) uint8_t bytes[FRAME_BYTES];
        struct wire_in in = open_frame("hello", FRAME_HELLO, no_session, bytes);
        struct wire_hello hello;
        struct wire_out out;
        struct space space;

        (void)state;
        space_init(&space, NULL, 0);
        wire_out_init(&out, 0);
        assert_ok(wire_unpack_hello(&in, &space, &hello));
        assert_int_equal(hello.version_from, 1);
        assert_int_equal(hello.version_to, 1);
        assert_string_equal(hello.name, "worker");
        assert_int_equal(hello.pid, 4242);
        assert_false(hello.has_session);
        assert_ok(wire_pack_hello(&out, &hello));
        check_frame(&out, FRAME_HELLO, no_session, bytes);
        wire_out_deinit(&out);
        space_deinit(&space);
}

static void the_welcome_is_what_it_says(void **state)
{
        _Alignas(8) uint8_t bytes[FRAME_BYTES];
        struct wire_in in = open_frame("welcome", FRAME_WELCOME, no_session, bytes);
        struct wire_welcome welcome;
        struct wire_out out;
        struct space space;

        (void)state;
        space_init(&space, NULL, 0);
        wire_out_init(&out, 0);
        assert_ok(wire_unpack_welcome(&in, &space, &welcome));
        assert_memory_equal(welcome.session, session, WIRE_SESSION_SIZE);
        assert_int_equal(welcome.heartbeat_ns, 5000000000);
        assert_int_equal(welcome.expiry_ns, 30000000000);
        assert_int_equal(welcome.max_frame, 65536);
        assert_int_equal(welcome.max_message, WIRE_MESSAGE_MAX);
        assert_int_equal(welcome.max_requests, WIRE_CALLS_MAX);
        assert_int_equal(welcome.window, 64);
        assert_int_equal(welcome.epoch, 3);
        assert_int_equal(welcome.pid, 4000);
        assert_string_equal(welcome.store, "default");
        assert_ok(wire_pack_welcome(&out, &welcome));
        check_frame(&out, FRAME_WELCOME, no_session, bytes);
        wire_out_deinit(&out);
        space_deinit(&space);
}

static void the_batch_is_what_it_says(void **state)
{
        _Alignas(8) uint8_t bytes[FRAME_BYTES];
        struct wire_in in = open_frame("batch", FRAME_BATCH, session, bytes);
        objd_value key = objd_cstr("answer"), value = objd_int(42);
        struct call_batch batch;
        struct wire_out out;
        struct space space;

        (void)state;
        space_init(&space, NULL, 0);
        wire_out_init(&out, 0);
        assert_ok(wire_unpack_batch(&in, NULL, &space, &batch));
        assert_int_equal(batch.seq, 1);
        assert_int_equal(batch.timeout_ns, 5000000000);
        assert_int_equal(batch.n_calls, 2);
        assert_int_equal(batch.calls[0].code, CALL_DICT_SET);
        assert_int_equal(batch.calls[1].code, CALL_DICT_GET);
        for (size_t i = 0; i < 2; i++) {
                assert_int_equal(batch.calls[i].thread, 1);
                assert_int_equal(batch.calls[i].object.place, 4456576);
                assert_int_equal(batch.calls[i].object.serial, 7);
                assert_true(objd_value_equal(&batch.calls[i].keys[0], &key));
        }
        assert_true(objd_value_equal(&batch.calls[0].values[0], &value));
        assert_ok(wire_pack_batch(&out, &batch, 0));
        check_frame(&out, FRAME_BATCH, session, bytes);
        wire_out_deinit(&out);
        space_deinit(&space);
}

static void the_reply_is_what_it_says(void **state)
{
        _Alignas(8) uint8_t bytes[FRAME_BYTES];
        struct wire_in in = open_frame("reply", FRAME_REPLY, session, bytes);
        objd_value value = objd_int(42);
        struct answer answers[2];
        struct call_reply reply;
        struct wire_out out;
        struct space space;

        (void)state;
        space_init(&space, NULL, 0);
        wire_out_init(&out, 0);
        assert_ok(wire_unpack_reply(&in, NULL, &space, &reply));
        assert_int_equal(reply.seq, 1);
        assert_int_equal(reply.status, OBJD_OK);
        assert_int_equal(reply.n_answers, 2);
        assert_int_equal(reply.answers[0].status, OBJD_OK);
        assert_int_equal(reply.answers[0].value.type, OBJD_ANY);
        assert_true(objd_value_equal(&reply.answers[1].value, &value));

        answers[0] = reply.answers[0];
        answers[0].code = CALL_DICT_SET;
        answers[1] = reply.answers[1];
        answers[1].code = CALL_DICT_GET;
        reply.answers = answers;
        assert_ok(wire_pack_reply(&out, &reply, 0));
        check_frame(&out, FRAME_REPLY, session, bytes);
        wire_out_deinit(&out);
        space_deinit(&space);
}

/* ---- The table ----------------------------------------------------------------------------------------- */

/* Whether a column of a line of the table has this word. */
static bool has_word(const char *column, char word)
{
        for (const char *p = column + 1; *p != '|'; p++)
                if (*p == word && p[-1] == ' ' && (p[1] == ' '))
                        return true;
        return false;
}

static void the_table_of_requests_has_every_code(void **state)
{
        (void)state;
        for (uint32_t code = 0; code < CALL_CODES; code++) {
                const struct call_properties *is = call_properties(code);
                char begin[80], name[64];
                const char *line, *column;
                size_t n = 0;

                if (!is->name)
                        continue;
                for (const char *p = is->name; *p; p++)
                        name[n++] = *p == ' ' ? '_' : (char)toupper((unsigned char)*p);
                name[n] = 0;
                n = (size_t)snprintf(begin, sizeof(begin), "\n| %u %s |", code, name);
                line = strstr(document_text(), begin);
                if (!line)
                        fail_msg("docs/protocol.md has no line for %s", begin + 1);
                column = line + n - 1;
                assert_int_equal(has_word(column, 'a'), !!(is->flags & CALL_IN_ATOMIC));
                assert_int_equal(has_word(column, 'm'), !!(is->flags & CALL_MUTATES));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_hello_is_what_it_says),
                cmocka_unit_test(the_welcome_is_what_it_says),
                cmocka_unit_test(the_batch_is_what_it_says),
                cmocka_unit_test(the_reply_is_what_it_says),
                cmocka_unit_test(the_table_of_requests_has_every_code),
        };

        return cmocka_run_group_tests(tests, document_read, document_forget);
}
