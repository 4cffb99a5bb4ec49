/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_seal.c -- rpc/seal.c: sealed frames, to whoever cuts, changes, repeats, holds back and turns round what passes, or only listens
 */

#include "support/ends.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEADER_SIZE 32
#define MESSAGE_MAX 4096

/* ---- Frames ------------------------------------------------------------------------------------------- */

struct frame {
        uint8_t header[HEADER_SIZE];
        size_t size;
        uint8_t sealed[MESSAGE_MAX + SEAL_OVERHEAD];
};

static void seal_text(struct seal *seal, const char *text, struct frame *ret)
{
        memset(ret, 0, sizeof(*ret));
        memset(ret->header, 'h', HEADER_SIZE);
        ret->size = strlen(text) + SEAL_OVERHEAD;
        assert_ok(seal_frame(seal, ret->header, HEADER_SIZE, text, strlen(text), ret->sealed));
}

static objd_status open_frame(struct seal *seal, const struct frame *frame, uint8_t *ret)
{
        return seal_open(seal, frame->header, HEADER_SIZE, frame->sealed, frame->size, ret);
}

static void check_opens(struct seal *seal, const struct frame *frame, const char *text)
{
        uint8_t plain[MESSAGE_MAX];

        assert_int_equal(frame->size, strlen(text) + SEAL_OVERHEAD);
        assert_ok(open_frame(seal, frame, plain));
        assert_memory_equal(plain, text, strlen(text));
}

/* Refused for this reason, and no byte of a plaintext comes out. */
static void check_not_opens(struct seal *seal, const struct frame *frame, enum seal_reason reason)
{
        uint8_t *plain = calloc(1, frame->size + 1);

        assert_non_null(plain);
        assert_refused(seal->stats, open_frame(seal, frame, plain), OBJD_E_PROTO, reason);
        assert_true(sodium_is_zero(plain, frame->size + 1));
        free(plain);
}

static void frames_go_both_ways(void **state)
{
        struct ends *ends = ends_connected();
        struct frame frame;

        (void)state;
        for (int i = 0; i < 100; i++) {
                seal_text(&ends->client_seal, "set ages.alice 42", &frame);
                check_opens(&ends->server_seal, &frame, "set ages.alice 42");
                if (i % 3 == 0) {
                        seal_text(&ends->server_seal, "done", &frame);
                        check_opens(&ends->client_seal, &frame, "done");
                }
        }
        ends_free(ends);
}

static void frames_of_all_sizes_are_sealed_in_place(void **state)
{
        static const size_t sizes[] = { 0, 1, 15, 16, 17, 63, 64, 65, 1000, 1 << 20 };
        struct ends *ends = ends_connected();
        uint8_t *buffer = malloc((1 << 20) + SEAL_OVERHEAD), header[HEADER_SIZE] = { 1 };

        (void)state;
        assert_non_null(buffer);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                uint8_t *payload = buffer + SEAL_OVERHEAD;

                memset(payload, (int)('a' + i), sizes[i]);
                assert_ok(seal_frame(&ends->client_seal, header, HEADER_SIZE, payload, sizes[i], buffer));
                assert_ok(seal_open(&ends->server_seal, header, HEADER_SIZE, buffer, sizes[i] + SEAL_OVERHEAD,
                                    payload));
                for (size_t j = 0; j < sizes[i]; j++)
                        assert_int_equal(payload[j], 'a' + i);
        }
        free(buffer);
        ends_free(ends);
}

static void a_frame_with_any_bit_changed_is_refused(void **state)
{
        struct ends *ends = ends_connected();
        struct frame frame;
        size_t size;

        (void)state;
        seal_text(&ends->client_seal, "a secret name and a secret value", &frame);
        size = frame.size;
        for (size_t bit = 0; bit < 8 * HEADER_SIZE; bit++) {
                frame.header[bit / 8] ^= (uint8_t)(1 << bit % 8);
                check_not_opens(&ends->server_seal, &frame, SEAL_TAMPERED);
                frame.header[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t bit = 0; bit < 8 * size; bit++) {
                frame.sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
                check_not_opens(&ends->server_seal, &frame,
                                bit == 63  ? SEAL_REFLECTED
                                : bit < 63 ? SEAL_MISSING
                                           : SEAL_TAMPERED);
                frame.sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        check_opens(&ends->server_seal, &frame, "a secret name and a secret value");
        ends_free(ends);
}

static void a_frame_of_any_other_length_is_refused(void **state)
{
        struct ends *ends = ends_connected();
        struct frame frame;
        size_t size;

        (void)state;
        seal_text(&ends->client_seal, "some more bytes", &frame);
        size = frame.size;
        for (size_t n = 0; n < size + 20; n++) {
                frame.size = n;
                if (n != size)
                        check_not_opens(&ends->server_seal, &frame,
                                        n < SEAL_OVERHEAD ? SEAL_SIZE : SEAL_TAMPERED);
        }
        frame.size = size;
        assert_refused(&ends->server.stats,
                       seal_open(&ends->server_seal, frame.header, HEADER_SIZE - 1, frame.sealed, size,
                                 frame.sealed),
                       OBJD_E_PROTO, SEAL_TAMPERED);
        ends_free(ends);
}

static void repeated_frames_are_refused(void **state)
{
        enum { N = 20 };
        struct ends *ends = ends_connected();
        struct frame frames[N];

        (void)state;
        for (int i = 0; i < N; i++) {
                seal_text(&ends->client_seal, "again", &frames[i]);
                check_opens(&ends->server_seal, &frames[i], "again");
                for (int j = 0; j <= i; j++)
                        check_not_opens(&ends->server_seal, &frames[j], SEAL_REPEATED);
        }
        ends_free(ends);
}

/* A number that is written over does not help a frame that was there before. */
static void a_frame_with_another_number_is_refused(void **state)
{
        struct ends *ends = ends_connected();
        struct frame frame;

        (void)state;
        seal_text(&ends->client_seal, "again", &frame);
        check_opens(&ends->server_seal, &frame, "again");
        frame.sealed[0] = 1;
        check_not_opens(&ends->server_seal, &frame, SEAL_TAMPERED);
        ends_free(ends);
}

static void frames_that_come_too_early_are_refused_and_may_come_again(void **state)
{
        struct ends *ends = ends_connected();
        struct frame first, second, third;

        (void)state;
        seal_text(&ends->client_seal, "first", &first);
        seal_text(&ends->client_seal, "second", &second);
        seal_text(&ends->client_seal, "third", &third);
        check_not_opens(&ends->server_seal, &second, SEAL_MISSING);
        check_not_opens(&ends->server_seal, &third, SEAL_MISSING);
        assert_contains(objd_last_error(), "frame 2 comes too early");
        check_opens(&ends->server_seal, &first, "first");
        check_not_opens(&ends->server_seal, &third, SEAL_MISSING);
        check_opens(&ends->server_seal, &second, "second");
        check_opens(&ends->server_seal, &third, "third");
        ends_free(ends);
}

static void frames_that_are_turned_round_are_refused(void **state)
{
        struct ends *ends = ends_connected();
        struct frame frame;

        (void)state;
        seal_text(&ends->client_seal, "to the server", &frame);
        check_not_opens(&ends->client_seal, &frame, SEAL_REFLECTED);
        frame.sealed[7] ^= 0x80;
        check_not_opens(&ends->client_seal, &frame, SEAL_TAMPERED);
        frame.sealed[7] ^= 0x80;
        check_opens(&ends->server_seal, &frame, "to the server");
        seal_text(&ends->server_seal, "to the client", &frame);
        check_not_opens(&ends->server_seal, &frame, SEAL_REFLECTED);
        ends_free(ends);
}

static void frames_of_another_channel_are_refused(void **state)
{
        struct ends *ends = ends_connected(), *other = ends_connected();
        struct frame frame;

        (void)state;
        seal_text(&other->client_seal, "hello", &frame);
        check_not_opens(&ends->server_seal, &frame, SEAL_TAMPERED);
        assert_contains(objd_last_error(), "key 0123456789abcdef, channel ");
        ends_free(ends);
        ends_free(other);
}

static void a_forger_has_so_many_tries_and_no_more(void **state)
{
        struct ends *ends = ends_connected();
        struct frame good, bad = { .size = SEAL_OVERHEAD };
        uint8_t plain[MESSAGE_MAX];

        (void)state;
        seal_text(&ends->client_seal, "good", &good);
        for (int i = 1; i < SEAL_REFUSALS_MAX; i++)
                assert_status(open_frame(&ends->server_seal, &bad, plain), OBJD_E_PROTO);
        check_opens(&ends->server_seal, &good, "good");
        assert_status(open_frame(&ends->server_seal, &bad, plain), OBJD_E_PROTO);

        seal_text(&ends->client_seal, "good", &good);
        assert_refused(&ends->server.stats, open_frame(&ends->server_seal, &good, plain), OBJD_E_ACCESS,
                       SEAL_OVER);
        assert_refused(&ends->server.stats,
                       seal_frame(&ends->server_seal, good.header, HEADER_SIZE, "x", 1, good.sealed),
                       OBJD_E_ACCESS, SEAL_OVER);
        assert_contains(objd_last_error(), "is over");
        assert_true(sodium_is_zero(ends->server_seal.receive.key, SEAL_KEY_SIZE));
        ends_free(ends);
}

static void keys_are_replaced_from_time_to_time(void **state)
{
        struct ends *ends = ends_connected();
        uint8_t before[SEAL_KEY_SIZE];
        struct frame last, next, old;

        (void)state;
        memcpy(before, ends->client_seal.send.key, SEAL_KEY_SIZE);
        ends->client_seal.send.next = ends->server_seal.receive.next = SEAL_REKEY_FRAMES - 2;
        seal_text(&ends->client_seal, "old key", &old);
        assert_memory_equal(ends->client_seal.send.key, before, SEAL_KEY_SIZE);
        seal_text(&ends->client_seal, "still the old key", &last);
        assert_memory_not_equal(ends->client_seal.send.key, before, SEAL_KEY_SIZE);
        seal_text(&ends->client_seal, "new key", &next);

        check_opens(&ends->server_seal, &old, "old key");
        check_opens(&ends->server_seal, &last, "still the old key");
        check_opens(&ends->server_seal, &next, "new key");
        assert_memory_equal(&ends->client_seal.send, &ends->server_seal.receive, sizeof(struct seal_way));
        ends_free(ends);
}

static void numbers_are_used_up_and_never_used_again(void **state)
{
        struct ends *ends = ends_connected();
        struct frame frame;
        uint8_t plain[MESSAGE_MAX];

        (void)state;
        ends->client_seal.send.next = ends->server_seal.receive.next = SEAL_SERVER_BIT - 2;
        seal_text(&ends->client_seal, "the last one", &frame);
        check_opens(&ends->server_seal, &frame, "the last one");
        assert_refused(&ends->client_stats,
                       seal_frame(&ends->client_seal, frame.header, HEADER_SIZE, "x", 1, frame.sealed),
                       OBJD_E_ACCESS, SEAL_OVER);
        assert_contains(objd_last_error(), "its numbers are used up");
        assert_refused(&ends->server.stats, open_frame(&ends->server_seal, &frame, plain), OBJD_E_ACCESS,
                       SEAL_OVER);
        ends_free(ends);
}

static void a_forked_child_may_not_use_its_parents_channel(void **state)
{
        struct ends *ends = ends_connected();
        struct frame frame;
        int status;
        pid_t pid;

        (void)state;
        memset(&frame, 0, sizeof(frame));
        pid = fork();
        if (pid == 0)
                _exit(seal_frame(&ends->client_seal, frame.header, HEADER_SIZE, "x", 1, frame.sealed) ==
                                              OBJD_E_ACCESS &&
                                      sodium_is_zero(frame.sealed, sizeof(frame.sealed))
                              ? 0
                              : 1);
        assert_true(pid > 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        seal_text(&ends->client_seal, "the parent goes on", &frame);
        check_opens(&ends->server_seal, &frame, "the parent goes on");
        ends_free(ends);
}

enum { N_ROUNDS = 2000 };

static void *send_many(void *arg)
{
        struct ends *ends = arg;
        struct frame frame;

        for (int i = 0; i < N_ROUNDS; i++)
                seal_text(&ends->client_seal, "from the client", &frame);
        return NULL;
}

/* The thread sanitizer looks on. */
static void two_threads_send_and_receive(void **state)
{
        struct ends *ends = ends_connected();
        struct frame frame;
        pthread_t thread;

        (void)state;
        assert_int_equal(pthread_create(&thread, NULL, send_many, ends), 0);
        for (int i = 0; i < N_ROUNDS; i++) {
                seal_text(&ends->server_seal, "from the server", &frame);
                check_opens(&ends->client_seal, &frame, "from the server");
                check_not_opens(&ends->client_seal, &frame, SEAL_REPEATED);
        }
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(ends->client_seal.send.next, N_ROUNDS);
        ends_free(ends);
}

static void a_frame_that_is_too_big_is_not_sealed(void **state)
{
        struct ends *ends = ends_connected();
        struct frame frame;

        (void)state;
        assert_refused(&ends->client_stats,
                       seal_frame(&ends->client_seal, frame.header, HEADER_SIZE, frame.sealed,
                                  SEAL_PAYLOAD_MAX + 1, frame.sealed),
                       OBJD_E_TOOBIG, SEAL_SIZE);
        ends_free(ends);
}

/* ---- What somebody sees who only listens --------------------------------------------------------------- */

struct capture {
        size_t size;
        uint8_t bytes[64 * 1024];
};

static void capture_add(struct capture *capture, const void *bytes, size_t size)
{
        assert_true(size <= sizeof(capture->bytes) - capture->size);
        memcpy(capture->bytes + capture->size, bytes, size);
        capture->size += size;
}

/* No eight bytes in a row of what is secret, or all of it if it is shorter. */
static void check_not_in(const struct capture *capture, const void *secret, size_t size)
{
        size_t part = size < 8 ? size : 8;

        for (size_t i = 0; i + part <= size; i++)
                assert_null(memmem(capture->bytes, capture->size, (const uint8_t *)secret + i, part));
}

static void a_listener_sees_no_key_and_no_plaintext(void **state)
{
        static const char request[] = "set accounts.alice \"a very private value\"",
                          reply[] = "nobody else's business";
        static struct capture capture;
        struct ends *ends = ends_connected();
        struct frame frame;

        (void)state;
        capture_add(&capture, ends->hello, SEAL_HELLO_SIZE);
        capture_add(&capture, ends->challenge, SEAL_CHALLENGE_SIZE);
        capture_add(&capture, ends->proof, SEAL_PROOF_SIZE);
        for (int i = 0; i < 50; i++) {
                seal_text(&ends->client_seal, request, &frame);
                capture_add(&capture, frame.header, HEADER_SIZE);
                capture_add(&capture, frame.sealed, frame.size);
                seal_text(&ends->server_seal, reply, &frame);
                capture_add(&capture, frame.header, HEADER_SIZE);
                capture_add(&capture, frame.sealed, frame.size);
        }

        check_not_in(&capture, request, sizeof(request) - 1);
        check_not_in(&capture, reply, sizeof(reply) - 1);
        check_not_in(&capture, ends->client_keys->keys->secret, KEY_SECRET_SIZE);
        check_not_in(&capture, ends->client_seal.send.key, SEAL_KEY_SIZE);
        check_not_in(&capture, ends->client_seal.receive.key, SEAL_KEY_SIZE);
        ends_free(ends);
}

/* The same text twice is two different frames. */
static void equal_payloads_look_different(void **state)
{
        struct ends *ends = ends_connected();
        struct frame a, b;

        (void)state;
        seal_text(&ends->client_seal, "the same text, the same text", &a);
        seal_text(&ends->client_seal, "the same text, the same text", &b);
        assert_memory_not_equal(a.sealed + SEAL_OVERHEAD, b.sealed + SEAL_OVERHEAD, 16);
        ends_free(ends);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(frames_go_both_ways),
                cmocka_unit_test(frames_of_all_sizes_are_sealed_in_place),
                cmocka_unit_test(a_frame_with_any_bit_changed_is_refused),
                cmocka_unit_test(a_frame_of_any_other_length_is_refused),
                cmocka_unit_test(repeated_frames_are_refused),
                cmocka_unit_test(a_frame_with_another_number_is_refused),
                cmocka_unit_test(frames_that_come_too_early_are_refused_and_may_come_again),
                cmocka_unit_test(frames_that_are_turned_round_are_refused),
                cmocka_unit_test(frames_of_another_channel_are_refused),
                cmocka_unit_test(a_forger_has_so_many_tries_and_no_more),
                cmocka_unit_test(keys_are_replaced_from_time_to_time),
                cmocka_unit_test(numbers_are_used_up_and_never_used_again),
                cmocka_unit_test(a_forked_child_may_not_use_its_parents_channel),
                cmocka_unit_test(two_threads_send_and_receive),
                cmocka_unit_test(a_frame_that_is_too_big_is_not_sealed),
                cmocka_unit_test(a_listener_sees_no_key_and_no_plaintext),
                cmocka_unit_test(equal_payloads_look_different),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
