/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_seal.c -- rpc/handshake.c and rpc/seal.c: what two honest ends agree on, and what everybody else gets
 *
 * Messages and frames go from buffer to buffer, and the tests are whoever stands between: they cut, change,
 * repeat, hold back and turn round what passes.
 */

#include "support/test.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rpc/frame.h"
#include "rpc/handshake.h"
#include "support/document.h"

#define HEADER_SIZE 32
#define MESSAGE_MAX 4096

#define KEY_1 "0123456789abcdef 00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0 rw\n"
#define KEY_2 "1111111111111111 1111111111111111111111111111111111111111111111111111111111111111 ro team/*\n"
#define KEY_1_OTHER "0123456789abcdef 00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f1 rw\n"
#define KEY_STRANGE "2222222222222222 00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0 rw\n"

/* Both ends of a connection, and what has passed between them. */
struct ends {
        struct keyring *client_keys, *server_keys;
        struct seal_client client;
        struct seal_server server;
        struct seal_pending pending;
        struct seal_stats client_stats;
        struct seal client_seal, server_seal;
        const struct seal_key *proven;
        uint8_t hello[SEAL_HELLO_SIZE], challenge[SEAL_CHALLENGE_SIZE], proof[SEAL_PROOF_SIZE];
        uint8_t refusal[SEAL_REFUSAL_SIZE];
};

static struct keyring *make_keyring(const char *text)
{
        struct keyring *keyring;

        assert_ok(keyring_parse("keys", text, strlen(text), &keyring));
        return keyring;
}

static struct ends *ends_new(const char *client_key, const char *server_keys)
{
        struct ends *ends = calloc(1, sizeof(*ends));

        assert_non_null(ends);
        ends->client_keys = make_keyring(client_key);
        ends->server_keys = make_keyring(server_keys);
        assert_ok(seal_server_init(&ends->server, ends->server_keys));
        return ends;
}

static void ends_free(struct ends *ends)
{
        keyring_free(ends->client_keys);
        keyring_free(ends->server_keys);
        free(ends);
}

static void say_hello(struct ends *ends)
{
        assert_ok(seal_client_begin(&ends->client, ends->client_keys->keys, NULL, &ends->client_stats,
                                    ends->hello));
}

static objd_status answer_hello(struct ends *ends, const void *hello, size_t size)
{
        return seal_server_answer(&ends->server, hello, size, &ends->pending, ends->challenge, ends->refusal);
}

static objd_status take_answer(struct ends *ends, const void *answer, size_t size)
{
        return seal_client_finish(&ends->client, answer, size, ends->proof, &ends->client_seal);
}

static objd_status take_proof(struct ends *ends, const void *proof, size_t size)
{
        return seal_server_finish(&ends->server, &ends->pending, proof, size, &ends->server_seal,
                                  &ends->proven, ends->refusal);
}

static void shake_hands(struct ends *ends)
{
        say_hello(ends);
        assert_ok(answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        assert_ok(take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE));
        assert_ok(take_proof(ends, ends->proof, SEAL_PROOF_SIZE));
}

static struct ends *connected(void)
{
        struct ends *ends = ends_new(KEY_1, KEY_2 KEY_1);

        shake_hands(ends);
        return ends;
}

/* The call failed for this reason, and the reason has been counted once more than before. */
static void check_refused(const struct seal_stats *stats, uint64_t n_before, enum seal_reason reason)
{
        assert_string_equal(seal_reason_name(seal_last_reason()), seal_reason_name(reason));
        assert_int_equal(stats->n_refused[reason], n_before + 1);
}

#define assert_refused(stats, call, status, reason)              \
        do {                                                     \
                uint64_t n_before_ = (stats)->n_refused[reason]; \
                                                                 \
                assert_status(call, status);                     \
                check_refused(stats, n_before_, reason);         \
        } while (0)

/* ---- The handshake, between honest ends ---------------------------------------------------------------- */

static void both_ends_agree(void **state)
{
        struct ends *ends = connected();
        struct seal *client = &ends->client_seal, *server = &ends->server_seal;

        (void)state;
        assert_memory_equal(&client->send, &server->receive, sizeof(client->send));
        assert_memory_equal(&client->receive, &server->send, sizeof(client->send));
        assert_memory_not_equal(client->send.key, client->receive.key, SEAL_KEY_SIZE);
        assert_memory_equal(client->id, server->id, SEAL_ID_SIZE);
        assert_memory_equal(client->key_id, server->key_id, KEY_ID_SIZE);
        assert_int_equal(client->version, SEAL_VERSION);
        assert_int_equal(server->version, SEAL_VERSION);
        assert_ptr_equal(ends->proven, &ends->server_keys->keys[1]);
        assert_int_equal(ends->client_stats.n_channels, 1);
        assert_int_equal(ends->server.stats.n_channels, 1);
        for (int i = 0; i < SEAL_N_REASONS; i++) {
                assert_int_equal(ends->client_stats.n_refused[i], 0);
                assert_int_equal(ends->server.stats.n_refused[i], 0);
        }
        ends_free(ends);
}

static void two_handshakes_have_nothing_in_common(void **state)
{
        struct ends *a = connected(), *b = connected();

        (void)state;
        assert_memory_not_equal(a->client_seal.send.key, b->client_seal.send.key, SEAL_KEY_SIZE);
        assert_memory_not_equal(a->client_seal.receive.key, b->client_seal.receive.key, SEAL_KEY_SIZE);
        assert_memory_not_equal(a->client_seal.id, b->client_seal.id, SEAL_ID_SIZE);
        assert_memory_not_equal(a->hello + 24, b->hello + 24, 32);
        assert_memory_not_equal(a->hello + 56, b->hello + 56, 32);
        assert_memory_not_equal(a->challenge + 24, b->challenge + 24, 32);
        assert_memory_not_equal(a->challenge + 56, b->challenge + 56, 32);
        ends_free(a);
        ends_free(b);
}

static void what_is_used_up_is_wiped(void **state)
{
        struct ends *ends = connected();

        (void)state;
        assert_true(sodium_is_zero((const uint8_t *)&ends->client, sizeof(ends->client)));
        assert_true(sodium_is_zero((const uint8_t *)&ends->pending, sizeof(ends->pending)));
        seal_end(&ends->client_seal);
        assert_true(sodium_is_zero(ends->client_seal.send.key, SEAL_KEY_SIZE));
        assert_true(sodium_is_zero(ends->client_seal.receive.key, SEAL_KEY_SIZE));

        say_hello(ends);
        seal_client_forget(&ends->client);
        assert_true(sodium_is_zero((const uint8_t *)&ends->client, sizeof(ends->client)));
        ends_free(ends);
}

/* ---- The handshake, with others between or at an end --------------------------------------------------- */

static void check_told(struct ends *ends, objd_status status, const char *sentence)
{
        say_hello(ends);
        assert_refused(&ends->client_stats, take_answer(ends, ends->refusal, SEAL_REFUSAL_SIZE), status,
                       SEAL_TURNED_AWAY);
        assert_contains(objd_last_error(), sentence);
}

static void wrong_and_unknown_keys_are_refused_alike(void **state)
{
        struct ends *wrong = ends_new(KEY_1_OTHER, KEY_1 KEY_2);
        struct ends *unknown = ends_new(KEY_STRANGE, KEY_1 KEY_2);

        (void)state;
        say_hello(wrong);
        assert_refused(&wrong->server.stats, answer_hello(wrong, wrong->hello, SEAL_HELLO_SIZE),
                       OBJD_E_ACCESS, SEAL_WRONG_KEY);
        assert_contains(objd_last_error(), "key 0123456789abcdef: ");
        say_hello(unknown);
        assert_refused(&unknown->server.stats, answer_hello(unknown, unknown->hello, SEAL_HELLO_SIZE),
                       OBJD_E_ACCESS, SEAL_UNKNOWN_KEY);
        assert_contains(objd_last_error(), "key 2222222222222222: ");

        assert_memory_equal(wrong->refusal, unknown->refusal, SEAL_REFUSAL_SIZE);
        check_told(wrong, OBJD_E_ACCESS, "does not accept key 0123456789abcdef");
        check_told(unknown, OBJD_E_ACCESS, "does not accept key 2222222222222222");
        ends_free(wrong);
        ends_free(unknown);
}

static void a_server_without_keys_refuses_everybody(void **state)
{
        struct ends *ends = ends_new(KEY_1, "# none\n");

        (void)state;
        say_hello(ends);
        assert_refused(&ends->server.stats, answer_hello(ends, ends->hello, SEAL_HELLO_SIZE), OBJD_E_ACCESS,
                       SEAL_UNKNOWN_KEY);
        ends_free(ends);
}

/* Who has no key cannot answer a client: neither with a key of his own, nor with the client's own bytes. */
static void a_server_without_the_key_is_refused(void **state)
{
        struct ends *ends = ends_new(KEY_1, KEY_1);
        struct ends *other = ends_new(KEY_1_OTHER, KEY_1_OTHER);

        (void)state;
        say_hello(other);
        assert_ok(answer_hello(other, other->hello, SEAL_HELLO_SIZE));
        say_hello(ends);
        assert_refused(&ends->client_stats, take_answer(ends, other->challenge, SEAL_CHALLENGE_SIZE),
                       OBJD_E_ACCESS, SEAL_WRONG_PROOF);
        assert_contains(objd_last_error(), "key 0123456789abcdef: who answers has not proven to have it");
        ends_free(ends);
        ends_free(other);
}

/*
 * One after the other, each length that is not the right one. The buffers are no longer, for the address
 * sanitizer.
 */
static void check_lengths(struct ends *ends, const void *message, size_t size, const struct seal_stats *stats,
                          objd_status (*take)(struct ends *, const void *, size_t))
{
        struct ends before = *ends;

        for (size_t n = 0; n <= size + 8; n++) {
                uint8_t *part = calloc(1, n + !n);

                if (n == size) {
                        free(part);
                        continue;
                }
                assert_non_null(part);
                memcpy(part, message, n < size ? n : size);
                ends->client = before.client;
                ends->pending = before.pending;
                assert_refused(stats, take(ends, part, n), OBJD_E_PROTO, SEAL_SIZE);
                free(part);
        }
        ends->client = before.client;
        ends->pending = before.pending;
}

static void each_message_is_refused_at_any_other_length(void **state)
{
        struct ends *ends = ends_new(KEY_1, KEY_1);

        (void)state;
        say_hello(ends);
        check_lengths(ends, ends->hello, SEAL_HELLO_SIZE, &ends->server.stats, answer_hello);
        assert_ok(answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        check_lengths(ends, ends->challenge, SEAL_CHALLENGE_SIZE, &ends->client_stats, take_answer);
        assert_ok(take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE));
        check_lengths(ends, ends->proof, SEAL_PROOF_SIZE, &ends->server.stats, take_proof);
        assert_ok(take_proof(ends, ends->proof, SEAL_PROOF_SIZE));
        ends_free(ends);
}

static uint64_t sum_refused(const struct seal_stats *stats)
{
        uint64_t n = 0;

        for (int i = 0; i < SEAL_N_REASONS; i++)
                n += stats->n_refused[i];
        return n;
}

static void check_flips(struct ends *ends, const void *message, size_t size, const struct seal_stats *stats,
                        objd_status (*take)(struct ends *, const void *, size_t))
{
        struct ends before = *ends;
        uint8_t changed[SEAL_HANDSHAKE_SIZE_MAX];

        for (size_t bit = 0; bit < 8 * size; bit++) {
                uint64_t n_before = sum_refused(stats);

                memcpy(changed, message, size);
                changed[bit / 8] ^= (uint8_t)(1 << bit % 8);
                ends->client = before.client;
                ends->pending = before.pending;
                assert_int_not_equal(take(ends, changed, size), OBJD_OK);
                assert_int_equal(sum_refused(stats), n_before + 1);
        }
        ends->client = before.client;
        ends->pending = before.pending;
}

static void each_message_is_refused_with_any_bit_changed(void **state)
{
        struct ends *ends = ends_new(KEY_1, KEY_1 KEY_2);

        (void)state;
        say_hello(ends);
        check_flips(ends, ends->hello, SEAL_HELLO_SIZE, &ends->server.stats, answer_hello);
        assert_ok(answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        check_flips(ends, ends->challenge, SEAL_CHALLENGE_SIZE, &ends->client_stats, take_answer);
        assert_ok(take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE));
        check_flips(ends, ends->proof, SEAL_PROOF_SIZE, &ends->server.stats, take_proof);
        assert_ok(take_proof(ends, ends->proof, SEAL_PROOF_SIZE));
        ends_free(ends);
}

/* One bit and the MAC's answer: what was changed is named for what it is where that can be known. */
static void what_was_changed_has_its_reason(void **state)
{
        struct ends *ends = ends_new(KEY_1, KEY_1);
        uint8_t changed[SEAL_HELLO_SIZE];

        (void)state;
        say_hello(ends);
        memcpy(changed, ends->hello, sizeof(changed));
        changed[0] ^= 1; /* the magic */
        assert_refused(&ends->server.stats, answer_hello(ends, changed, sizeof(changed)), OBJD_E_PROTO,
                       SEAL_MALFORMED);
        memcpy(changed, ends->hello, sizeof(changed));
        changed[15] = 1; /* one of the zeros */
        assert_refused(&ends->server.stats, answer_hello(ends, changed, sizeof(changed)), OBJD_E_PROTO,
                       SEAL_MALFORMED);
        memcpy(changed, ends->hello, sizeof(changed));
        changed[56] ^= 1; /* the ephemeral key */
        assert_refused(&ends->server.stats, answer_hello(ends, changed, sizeof(changed)), OBJD_E_ACCESS,
                       SEAL_WRONG_KEY);
        ends_free(ends);
}

static void a_repeated_hello_is_refused(void **state)
{
        struct ends *ends = connected();

        (void)state;
        assert_refused(&ends->server.stats, answer_hello(ends, ends->hello, SEAL_HELLO_SIZE), OBJD_E_ACCESS,
                       SEAL_SEEN_BEFORE);
        assert_contains(objd_last_error(), "key 0123456789abcdef: a hello was sent a second time");
        ends_free(ends);
}

/* A hello that the daemon has forgotten, say because it is another one now, gives a challenge and no more. */
static void a_hello_from_long_ago_leads_nowhere(void **state)
{
        struct ends *ends = connected();
        uint8_t old_challenge[SEAL_CHALLENGE_SIZE];

        (void)state;
        memcpy(old_challenge, ends->challenge, sizeof(old_challenge));
        assert_ok(seal_server_init(&ends->server, ends->server_keys));
        assert_ok(answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        assert_memory_not_equal(ends->challenge, old_challenge, SEAL_CHALLENGE_SIZE);
        assert_refused(&ends->server.stats, take_proof(ends, ends->proof, SEAL_PROOF_SIZE), OBJD_E_ACCESS,
                       SEAL_WRONG_PROOF);
        assert_contains(objd_last_error(), "key 0123456789abcdef: the client has not proven to have it");
        ends_free(ends);
}

static void the_last_hellos_are_remembered_and_no_more(void **state)
{
        struct ends *ends = connected();
        uint8_t first[SEAL_HELLO_SIZE];

        (void)state;
        memcpy(first, ends->hello, sizeof(first));
        for (int i = 1; i < SEAL_SEEN_MAX; i++) {
                say_hello(ends);
                assert_ok(answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        }
        assert_refused(&ends->server.stats, answer_hello(ends, first, sizeof(first)), OBJD_E_ACCESS,
                       SEAL_SEEN_BEFORE);
        say_hello(ends);
        assert_ok(answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        assert_ok(answer_hello(ends, first, sizeof(first)));
        ends_free(ends);
}

static void a_repeated_challenge_is_refused(void **state)
{
        struct ends *ends = connected();

        (void)state;
        say_hello(ends);
        assert_refused(&ends->client_stats, take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE),
                       OBJD_E_ACCESS, SEAL_WRONG_PROOF);
        ends_free(ends);
}

static void a_repeated_proof_is_refused(void **state)
{
        struct ends *ends = connected();
        uint8_t old[SEAL_PROOF_SIZE];

        (void)state;
        assert_refused(&ends->server.stats, take_proof(ends, ends->proof, SEAL_PROOF_SIZE), OBJD_E_ACCESS,
                       SEAL_WRONG_PROOF);
        assert_contains(objd_last_error(), "key 0123456789abcdef: a proof that nobody waits for");

        memcpy(old, ends->proof, sizeof(old));
        say_hello(ends);
        assert_ok(answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        assert_refused(&ends->server.stats, take_proof(ends, old, sizeof(old)), OBJD_E_ACCESS,
                       SEAL_WRONG_PROOF);
        ends_free(ends);
}

/* After a wrong proof the right one is too late: each challenge has one answer. */
static void a_proof_has_one_attempt(void **state)
{
        struct ends *ends = ends_new(KEY_1, KEY_1);

        (void)state;
        say_hello(ends);
        assert_ok(answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        assert_ok(take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE));
        ends->proof[SEAL_PROOF_SIZE - 1] ^= 1;
        assert_refused(&ends->server.stats, take_proof(ends, ends->proof, SEAL_PROOF_SIZE), OBJD_E_ACCESS,
                       SEAL_WRONG_PROOF);
        ends->proof[SEAL_PROOF_SIZE - 1] ^= 1;
        assert_refused(&ends->server.stats, take_proof(ends, ends->proof, SEAL_PROOF_SIZE), OBJD_E_ACCESS,
                       SEAL_WRONG_PROOF);
        ends_free(ends);
}

static void messages_that_are_turned_round_are_refused(void **state)
{
        struct ends *ends = ends_new(KEY_1, KEY_1);
        struct seal_client client;
        uint8_t turned[SEAL_PROOF_SIZE];

        (void)state;
        say_hello(ends);
        client = ends->client;
        assert_refused(&ends->client_stats, take_answer(ends, ends->hello, SEAL_HELLO_SIZE), OBJD_E_PROTO,
                       SEAL_REFLECTED);
        ends->client = client;
        assert_ok(answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        assert_refused(&ends->server.stats, answer_hello(ends, ends->challenge, SEAL_CHALLENGE_SIZE),
                       OBJD_E_PROTO, SEAL_REFLECTED);

        /* With its step written over, a message is right in form, and wrong all the same. */
        ends->client = client;
        memcpy(turned, ends->hello, sizeof(turned));
        ends->hello[8] = 2;
        ends->hello[10] = 0;
        assert_refused(&ends->client_stats, take_answer(ends, ends->hello, SEAL_HELLO_SIZE), OBJD_E_ACCESS,
                       SEAL_WRONG_PROOF);
        ends_free(ends);
}

/* A proof as hello, a hello as proof, each at its place but of the wrong step. */
static void messages_out_of_turn_are_refused(void **state)
{
        struct ends *ends = connected();
        uint8_t message[SEAL_HELLO_SIZE];

        (void)state;
        memcpy(message, ends->hello, sizeof(message));
        message[8] = 3;
        assert_refused(&ends->server.stats, answer_hello(ends, message, SEAL_HELLO_SIZE), OBJD_E_PROTO,
                       SEAL_MALFORMED);
        memcpy(message, ends->proof, SEAL_PROOF_SIZE);
        message[8] = 1;
        assert_refused(&ends->server.stats, take_proof(ends, message, SEAL_PROOF_SIZE), OBJD_E_PROTO,
                       SEAL_MALFORMED);
        message[8] = 2;
        assert_refused(&ends->server.stats, take_proof(ends, message, SEAL_PROOF_SIZE), OBJD_E_PROTO,
                       SEAL_REFLECTED);
        ends_free(ends);
}

/* Says hello with these versions to a server of those, and goes on to the end. */
static void check_versions(uint8_t from, uint8_t to, uint8_t server_from, uint8_t server_to, uint8_t expected)
{
        struct ends *ends = ends_new(KEY_1, KEY_1);
        struct seal_versions versions = { from, to };

        ends->server.versions = (struct seal_versions){ server_from, server_to };
        assert_ok(seal_client_begin(&ends->client, ends->client_keys->keys, &versions, &ends->client_stats,
                                    ends->hello));
        assert_ok(answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        assert_ok(take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE));
        assert_ok(take_proof(ends, ends->proof, SEAL_PROOF_SIZE));
        assert_int_equal(ends->client_seal.version, expected);
        assert_int_equal(ends->server_seal.version, expected);
        ends_free(ends);
}

static void the_highest_common_version_is_taken(void **state)
{
        (void)state;
        check_versions(1, 1, 1, 1, 1);
        check_versions(1, 2, 1, 1, 1);
        check_versions(1, 1, 1, 2, 1);
        check_versions(1, 3, 2, 9, 3);
        check_versions(2, 9, 1, 3, 3);
}

static void no_common_version_is_said_in_words(void **state)
{
        struct ends *ends = ends_new(KEY_1, KEY_1);
        const struct seal_versions newer = { 2, 3 }, none = { 2, 1 };

        (void)state;
        assert_ok(seal_client_begin(&ends->client, ends->client_keys->keys, &newer, &ends->client_stats,
                                    ends->hello));
        assert_refused(&ends->server.stats, answer_hello(ends, ends->hello, SEAL_HELLO_SIZE), OBJD_E_PROTO,
                       SEAL_NO_VERSION);
        assert_string_equal(objd_last_error(),
                            "a client speaks versions 2 to 3 of the sealing, this daemon 1 to 1");
        assert_refused(&ends->client_stats, take_answer(ends, ends->refusal, SEAL_REFUSAL_SIZE), OBJD_E_PROTO,
                       SEAL_TURNED_AWAY);
        assert_string_equal(objd_last_error(),
                            "the daemon speaks versions 1 to 1 of the sealing, this library 2 to 3");

        assert_ok(seal_client_begin(&ends->client, ends->client_keys->keys, &none, &ends->client_stats,
                                    ends->hello));
        assert_refused(&ends->server.stats, answer_hello(ends, ends->hello, SEAL_HELLO_SIZE), OBJD_E_PROTO,
                       SEAL_NO_VERSION);

        /* The other way round: the daemon is the newer one. */
        ends->server.versions = newer;
        say_hello(ends);
        assert_refused(&ends->server.stats, answer_hello(ends, ends->hello, SEAL_HELLO_SIZE), OBJD_E_PROTO,
                       SEAL_NO_VERSION);
        assert_refused(&ends->client_stats, take_answer(ends, ends->refusal, SEAL_REFUSAL_SIZE), OBJD_E_PROTO,
                       SEAL_TURNED_AWAY);
        assert_string_equal(objd_last_error(),
                            "the daemon speaks versions 2 to 3 of the sealing, this library 1 to 1");
        ends_free(ends);
}

static void a_downgrade_is_refused(void **state)
{
        struct ends *ends = ends_new(KEY_1, KEY_1);
        const struct seal_versions versions = { 2, 3 };
        struct seal_client client;
        uint8_t changed[SEAL_HELLO_SIZE];

        (void)state;
        ends->server.versions = (struct seal_versions){ 1, 3 };
        assert_ok(seal_client_begin(&ends->client, ends->client_keys->keys, &versions, &ends->client_stats,
                                    ends->hello));
        client = ends->client;

        /* The offer is made smaller on its way. */
        memcpy(changed, ends->hello, sizeof(changed));
        changed[10] = 2;
        assert_refused(&ends->server.stats, answer_hello(ends, changed, sizeof(changed)), OBJD_E_ACCESS,
                       SEAL_WRONG_KEY);

        /* The choice is: to one that was offered, and to one that was not. */
        assert_ok(answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        memcpy(changed, ends->challenge, sizeof(changed));
        changed[9] = 2;
        assert_refused(&ends->client_stats, take_answer(ends, changed, sizeof(changed)), OBJD_E_ACCESS,
                       SEAL_WRONG_PROOF);
        ends->client = client;
        changed[9] = 1;
        assert_refused(&ends->client_stats, take_answer(ends, changed, sizeof(changed)), OBJD_E_PROTO,
                       SEAL_DOWNGRADED);
        ends_free(ends);
}

/* The MAC of a hello, computed once more from its description. */
static void sign_hello(const struct seal_key *key, uint8_t hello[SEAL_HELLO_SIZE])
{
        uint8_t mac_key[32];

        crypto_kdf_derive_from_key(mac_key, sizeof(mac_key), 1, "objdseal", key->secret);
        crypto_generichash(hello + 88, 32, hello, 88, mac_key, sizeof(mac_key));
}

static void points_of_small_order_are_refused(void **state)
{
        static const uint8_t one[32] = { 1 }, zero[32];
        struct ends *ends = ends_new(KEY_1, KEY_1);

        (void)state;
        for (int i = 0; i < 2; i++) {
                say_hello(ends);
                memcpy(ends->hello + 56, i ? one : zero, 32);
                sign_hello(ends->client_keys->keys, ends->hello);
                assert_refused(&ends->server.stats, answer_hello(ends, ends->hello, SEAL_HELLO_SIZE),
                               OBJD_E_ACCESS, SEAL_WEAK_POINT);
                say_hello(ends);
                assert_ok(answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
                memcpy(ends->challenge + 56, i ? one : zero, 32);
                assert_refused(&ends->client_stats, take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE),
                               OBJD_E_ACCESS, SEAL_WEAK_POINT);
        }
        ends_free(ends);
}

static void a_busy_daemon_says_so(void **state)
{
        struct ends *ends = ends_new(KEY_1, KEY_1);

        (void)state;
        seal_server_refuse(&ends->server, SEAL_TOLD_BUSY, ends->refusal);
        check_told(ends, OBJD_E_LIMIT, "too many clients");
        ends_free(ends);
}

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
        struct ends *ends = connected();
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
        struct ends *ends = connected();
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
        struct ends *ends = connected();
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
        struct ends *ends = connected();
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
        struct ends *ends = connected();
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
        struct ends *ends = connected();
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
        struct ends *ends = connected();
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
        struct ends *ends = connected();
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
        struct ends *ends = connected(), *other = connected();
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
        struct ends *ends = connected();
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
        struct ends *ends = connected();
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
        struct ends *ends = connected();
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
        struct ends *ends = connected();
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
        struct ends *ends = connected();
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
        struct ends *ends = connected();
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
        struct ends *ends = connected();
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
        struct ends *ends = connected();
        struct frame a, b;

        (void)state;
        seal_text(&ends->client_seal, "the same text, the same text", &a);
        seal_text(&ends->client_seal, "the same text, the same text", &b);
        assert_memory_not_equal(a.sealed + SEAL_OVERHEAD, b.sealed + SEAL_OVERHEAD, 16);
        ends_free(ends);
}

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
        shake_hands(ends);
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

static void each_reason_has_a_name_of_its_own(void **state)
{
        (void)state;
        for (int i = 0; i < SEAL_N_REASONS; i++)
                for (int j = 0; j < i; j++)
                        assert_string_not_equal(seal_reason_name((enum seal_reason)i),
                                                seal_reason_name((enum seal_reason)j));
        assert_string_equal(seal_reason_name(SEAL_N_REASONS), "unknown");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(both_ends_agree),
                cmocka_unit_test(two_handshakes_have_nothing_in_common),
                cmocka_unit_test(what_is_used_up_is_wiped),
                cmocka_unit_test(wrong_and_unknown_keys_are_refused_alike),
                cmocka_unit_test(a_server_without_keys_refuses_everybody),
                cmocka_unit_test(a_server_without_the_key_is_refused),
                cmocka_unit_test(each_message_is_refused_at_any_other_length),
                cmocka_unit_test(each_message_is_refused_with_any_bit_changed),
                cmocka_unit_test(what_was_changed_has_its_reason),
                cmocka_unit_test(a_repeated_hello_is_refused),
                cmocka_unit_test(a_hello_from_long_ago_leads_nowhere),
                cmocka_unit_test(the_last_hellos_are_remembered_and_no_more),
                cmocka_unit_test(a_repeated_challenge_is_refused),
                cmocka_unit_test(a_repeated_proof_is_refused),
                cmocka_unit_test(a_proof_has_one_attempt),
                cmocka_unit_test(messages_that_are_turned_round_are_refused),
                cmocka_unit_test(messages_out_of_turn_are_refused),
                cmocka_unit_test(the_highest_common_version_is_taken),
                cmocka_unit_test(no_common_version_is_said_in_words),
                cmocka_unit_test(a_downgrade_is_refused),
                cmocka_unit_test(points_of_small_order_are_refused),
                cmocka_unit_test(a_busy_daemon_says_so),
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
                cmocka_unit_test(the_document_has_it_byte_by_byte),
                cmocka_unit_test(the_document_has_all_reasons),
                cmocka_unit_test(each_reason_has_a_name_of_its_own),
        };

        return cmocka_run_group_tests(tests, document_read, document_forget);
}
