/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_guard.c -- what strangers and those who know a key can cost at a sealed address, and what a connection's channel survives
 */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/sys.h"
#include "proxy/guard.h"
#include "rpc/refusals.h"
#include "support/test.h"

static const char text[] =
        "0123456789abcdef 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f ro team/*\n";

struct door {
        struct keyring *keyring;
        struct guard guard;
        uint64_t counts[N_REFUSALS];
};

static void open_door(struct door *door)
{
        memset(door, 0, sizeof(*door));
        assert_ok(keyring_parse("text", text, strlen(text), &door->keyring));
        assert_ok(guard_init(&door->guard, door->keyring, "tcp://test", door->counts));
}

static void close_door(struct door *door)
{
        guard_deinit(&door->guard);
        keyring_free(door->keyring);
}

/* A new client's hello; whether it was taken. */
static bool knock(struct door *door, struct seal_client *client, struct guarded *guarded,
                  struct guard_answer *ret_answer)
{
        struct seal_pending pending;
        uint8_t hello[SEAL_HELLO_SIZE];

        assert_ok(seal_client_begin(client, &door->keyring->keys[0], NULL, NULL, hello));
        if (!guard_hello(&door->guard, hello, sizeof(hello), &pending, ret_answer))
                return false;
        guard_expect(&door->guard, guarded, &pending);
        return true;
}

/* Gives the client's proof and its end of the channel. */
static void prove(struct seal_client *client, const struct guard_answer *answer,
                  uint8_t ret_proof[SEAL_PROOF_SIZE], struct seal *ret_seal)
{
        assert_ok(seal_client_finish(client, answer->bytes + FRAME_HEAD, answer->size - FRAME_HEAD, ret_proof,
                                     ret_seal));
}

/* Sends a ping through the channel; how many bytes of frames come out. */
static size_t ping(struct door *door, struct guarded *guarded, struct seal *seal)
{
        static const uint8_t nobody[WIRE_SESSION_SIZE];
        uint8_t frame[FRAME_HEAD + SEAL_OVERHEAD];
        struct guard_answer answer = { 0 };
        size_t size;

        frame_bare(FRAME_PING, nobody, frame);
        assert_ok(sealed_close(seal, frame, 0));
        guard_open(&door->guard, guarded, frame, sizeof(frame), &size, &answer);
        return size;
}

/* ---- The log ---------------------------------------------------------------------------------------------- */

/* What is written to stderr from here on goes to a file without a name. */
static int catch_log(int *ret_stderr)
{
        int fd = memfd_create("log", MFD_CLOEXEC);

        assert_true(fd >= 0);
        *ret_stderr = dup(STDERR_FILENO);
        assert_true(*ret_stderr >= 0);
        assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
        return fd;
}

static void expect_caught(int fd, int kept_stderr, const char *expected)
{
        char caught[1024] = "";
        ssize_t n = pread(fd, caught, sizeof(caught) - 1, 0);

        assert_int_equal(dup2(kept_stderr, STDERR_FILENO), STDERR_FILENO);
        close(kept_stderr);
        close(fd);
        assert_true(n > 0);
        assert_contains(caught, expected);
}

/* ---- Tests -------------------------------------------------------------------------------------------------- */

static void so_many_are_waited_for_and_no_more(void **state)
{
        struct guarded *guarded = calloc(GUARD_PENDING_MAX + 1, sizeof(*guarded));
        uint8_t proof[SEAL_PROOF_SIZE];
        struct seal_client client, first;
        struct guard_answer answer, first_answer;
        struct door door;
        struct seal seal;
        int log, kept_stderr;

        (void)state;
        assert_non_null(guarded);
        open_door(&door);
        assert_true(knock(&door, &first, &guarded[0], &first_answer));
        for (unsigned i = 1; i < GUARD_PENDING_MAX; i++)
                assert_true(knock(&door, &client, &guarded[i], &answer));
        log = catch_log(&kept_stderr);
        assert_false(knock(&door, &client, &guarded[GUARD_PENDING_MAX], &answer));
        expect_caught(log, kept_stderr,
                      "refused (busy): session none, key 0123456789abcdef: 256 clients have yet to prove");
        assert_int_equal(door.counts[REFUSAL_BUSY], 1);
        assert_int_equal(seal_refusal_told(answer.bytes + FRAME_HEAD, answer.size - FRAME_HEAD),
                         SEAL_TOLD_BUSY);

        /* One whose time is over makes room, and its proof comes too late. */
        guarded[0].since_ns -= GUARD_PATIENCE_NS;
        assert_true(knock(&door, &client, &guarded[GUARD_PENDING_MAX], &answer));
        prove(&first, &first_answer, proof, &seal);
        assert_false(guard_proof(&door.guard, &guarded[0], proof, sizeof(proof), &answer));

        for (unsigned i = 0; i <= GUARD_PENDING_MAX; i++)
                guard_forget(&door.guard, &guarded[i]);
        assert_int_equal(door.guard.n_pending, 0);
        close_door(&door);
        free(guarded);
}

static void a_channel_lives_until_another_one_is_proven(void **state)
{
        uint8_t proof[SEAL_PROOF_SIZE], wrong[SEAL_PROOF_SIZE] = { 0 };
        struct guarded guarded = { 0 };
        struct seal_client client;
        struct guard_answer answer;
        struct seal old, seal;
        struct door door;

        (void)state;
        open_door(&door);
        assert_true(knock(&door, &client, &guarded, &answer));
        prove(&client, &answer, proof, &old);
        assert_int_equal(ping(&door, &guarded, &old),
                         0); /* not yet proven, and this frame's number is used up */
        assert_true(knock(&door, &client, &guarded, &answer));
        prove(&client, &answer, proof, &old);
        assert_true(guard_proof(&door.guard, &guarded, proof, sizeof(proof), &answer));
        assert_true(guarded.who.has_key && guarded.who.rights.read_only);
        assert_false(rights_allow_name(&guarded.who.rights, "other"));
        assert_int_equal(ping(&door, &guarded, &old), FRAME_HEAD);

        /* Somebody says a hello in between, and has no proof. */
        assert_true(knock(&door, &client, &guarded, &answer));
        assert_false(guard_proof(&door.guard, &guarded, wrong, sizeof(wrong), &answer));
        assert_int_equal(ping(&door, &guarded, &old), FRAME_HEAD);

        assert_true(knock(&door, &client, &guarded, &answer));
        prove(&client, &answer, proof, &seal);
        assert_true(guard_proof(&door.guard, &guarded, proof, sizeof(proof), &answer));
        assert_int_equal(ping(&door, &guarded, &old), 0);
        assert_int_equal(ping(&door, &guarded, &seal), FRAME_HEAD);
        guard_forget(&door.guard, &guarded);
        assert_int_equal(ping(&door, &guarded, &seal), 0);
        close_door(&door);
}

static void strangers_leave_nothing_behind(void **state)
{
        uint8_t hello[SEAL_HELLO_SIZE] = "objdseal", junk[64] = { 0 };
        struct seal_pending pending;
        struct guard_answer answer;
        struct door door;
        size_t size;

        (void)state;
        open_door(&door);
        for (int i = 0; i < 1000; i++) {
                hello[119] = (uint8_t)i;
                assert_false(guard_hello(&door.guard, hello, sizeof(hello), &pending, &answer));
                assert_true(answer.size < sizeof(hello));
                guard_open(&door.guard, NULL, junk, sizeof(junk), &size, &answer);
                assert_int_equal(size, 0);
        }
        assert_int_equal(door.guard.n_pending, 0);
        assert_int_equal(door.guard.n_no_channel, 1000);
        close_door(&door);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(so_many_are_waited_for_and_no_more),
                cmocka_unit_test(a_channel_lives_until_another_one_is_proven),
                cmocka_unit_test(strangers_leave_nothing_behind),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
