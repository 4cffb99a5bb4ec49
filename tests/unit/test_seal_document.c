/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_seal_document.c -- that docs/protocol.md has a handshake and sealed frames byte by byte, and the names of all refusals
 */

#include "support/ends.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/frame.h"
#include "support/document.h"

#define MESSAGE_MAX 4096

/* ---- The example of docs/protocol.md ------------------------------------------------------------------- */

#define KEY_OF_EXAMPLE \
        "0123456789abcdef 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f rw\n"

/* Random bytes that are not: 0x11 32 times, then 0x22, 0x33 and 0x44. */
static uint8_t next_byte;

static const char *example_name(void)
{
        return "example";
}

static uint32_t example_number(void)
{
        return 0;
}

static void example_bytes(void *const dst, const size_t size)
{
        memset(dst, next_byte, size);
        next_byte = (uint8_t)(next_byte + 0x11);
}

static struct randombytes_implementation example_source = {
        .implementation_name = example_name,
        .random = example_number,
        .buf = example_bytes,
};

/* That the document has this message in a frame of this type. */
static void check_message(const char *name, uint8_t type, const void *message, uint32_t size)
{
        struct frame_head head = {
                .type = type, .flags = FRAME_FIRST | FRAME_LAST, .piece = size, .message = size
        };
        uint8_t expected[MESSAGE_MAX], bytes[FRAME_HEAD];

        assert_int_equal(document_frame(name, expected, sizeof(expected)), FRAME_HEAD + size);
        frame_encode(&head, bytes);
        assert_memory_equal(expected, bytes, FRAME_HEAD);
        assert_memory_equal(expected + FRAME_HEAD, message, size);
        assert_ok(frame_decode(expected, sizeof(expected), SEAL_HANDSHAKE_SIZE_MAX, SEAL_HANDSHAKE_SIZE_MAX,
                               &head));
}

/* That the document has this frame sealed so by one end, and that the other end opens it. */
static void check_sealed(const char *name, struct seal *from, struct seal *to, const uint8_t *frame,
                         size_t size)
{
        uint8_t expected[MESSAGE_MAX], sealed[MESSAGE_MAX];
        size_t payload = size - FRAME_HEAD;

        assert_int_equal(document_frame(name, expected, sizeof(expected)), size + SEAL_OVERHEAD);
        assert_memory_equal(expected, frame, FRAME_HEAD);
        assert_ok(seal_frame(from, frame, FRAME_HEAD, frame + FRAME_HEAD, payload, sealed));
        assert_memory_equal(sealed, expected + FRAME_HEAD, payload + SEAL_OVERHEAD);
        assert_ok(
                seal_open(to, expected, FRAME_HEAD, expected + FRAME_HEAD, payload + SEAL_OVERHEAD, sealed));
        assert_memory_equal(sealed, frame + FRAME_HEAD, payload);
}

static void the_document_has_it_byte_by_byte(void **state)
{
        struct frame_head ping_head = { .type = FRAME_PING };
        struct ends *ends = ends_new(KEY_OF_EXAMPLE, KEY_OF_EXAMPLE);
        uint8_t hello[MESSAGE_MAX], ping[FRAME_HEAD];

        (void)state;
        next_byte = 0x11;
        assert_int_equal(randombytes_set_implementation(&example_source), 0);
        ends_shake_hands(ends);
        assert_int_equal(randombytes_set_implementation(&randombytes_sysrandom_implementation), 0);

        check_message("seal-hello", SEAL_TYPE_HELLO, ends->hello, SEAL_HELLO_SIZE);
        check_message("seal-challenge", SEAL_TYPE_CHALLENGE, ends->challenge, SEAL_CHALLENGE_SIZE);
        check_message("seal-proof", SEAL_TYPE_PROOF, ends->proof, SEAL_PROOF_SIZE);
        seal_server_refuse(&ends->server, SEAL_TOLD_NO, ends->refusal);
        check_message("seal-refusal", SEAL_TYPE_REFUSAL, ends->refusal, SEAL_REFUSAL_SIZE);
        check_sealed("sealed-hello", &ends->client_seal, &ends->server_seal, hello,
                     document_frame("hello", hello, sizeof(hello)));
        frame_encode(&ping_head, ping);
        check_sealed("sealed-ping", &ends->server_seal, &ends->client_seal, ping, sizeof(ping));
        ends_free(ends);
}

/* The document lists the reasons by their names. */
static void the_document_has_all_reasons(void **state)
{
        char line[64];

        (void)state;
        for (int i = 0; i < SEAL_N_REASONS; i++) {
                snprintf(line, sizeof(line), "\n| `%s` |", seal_reason_name((enum seal_reason)i));
                assert_contains(document_text(), line);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_document_has_it_byte_by_byte),
                cmocka_unit_test(the_document_has_all_reasons),
        };

        return cmocka_run_group_tests(tests, document_read, document_forget);
}
