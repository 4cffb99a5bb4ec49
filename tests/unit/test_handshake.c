/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_handshake.c -- rpc/handshake.c: what two honest ends agree on, and what everybody else gets
 *
 * The test stands between the ends: it cuts, changes, repeats, holds back and turns round their messages.
 */

#include "support/ends.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define KEY_1_OTHER "0123456789abcdef 00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f1 rw\n"
#define KEY_STRANGE "2222222222222222 00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0 rw\n"

/* ---- The handshake, between honest ends ---------------------------------------------------------------- */

static void both_ends_agree(void **state)
{
        struct ends *ends = ends_connected();
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
        struct ends *a = ends_connected(), *b = ends_connected();

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
        struct ends *ends = ends_connected();

        (void)state;
        assert_true(sodium_is_zero((const uint8_t *)&ends->client, sizeof(ends->client)));
        assert_true(sodium_is_zero((const uint8_t *)&ends->pending, sizeof(ends->pending)));
        seal_end(&ends->client_seal);
        assert_true(sodium_is_zero(ends->client_seal.send.key, SEAL_KEY_SIZE));
        assert_true(sodium_is_zero(ends->client_seal.receive.key, SEAL_KEY_SIZE));

        ends_say_hello(ends);
        seal_client_forget(&ends->client);
        assert_true(sodium_is_zero((const uint8_t *)&ends->client, sizeof(ends->client)));
        ends_free(ends);
}

/* ---- The handshake, with others between or at an end --------------------------------------------------- */

static void check_told(struct ends *ends, objd_status status, const char *sentence)
{
        ends_say_hello(ends);
        assert_refused(&ends->client_stats, ends_take_answer(ends, ends->refusal, SEAL_REFUSAL_SIZE), status,
                       SEAL_TURNED_AWAY);
        assert_contains(objd_last_error(), sentence);
}

static void wrong_and_unknown_keys_are_refused_alike(void **state)
{
        struct ends *wrong = ends_new(KEY_1_OTHER, KEY_1 KEY_2);
        struct ends *unknown = ends_new(KEY_STRANGE, KEY_1 KEY_2);

        (void)state;
        ends_say_hello(wrong);
        assert_refused(&wrong->server.stats, ends_answer_hello(wrong, wrong->hello, SEAL_HELLO_SIZE),
                       OBJD_E_ACCESS, SEAL_WRONG_KEY);
        assert_contains(objd_last_error(), "key 0123456789abcdef: ");
        ends_say_hello(unknown);
        assert_refused(&unknown->server.stats, ends_answer_hello(unknown, unknown->hello, SEAL_HELLO_SIZE),
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
        ends_say_hello(ends);
        assert_refused(&ends->server.stats, ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE),
                       OBJD_E_ACCESS, SEAL_UNKNOWN_KEY);
        ends_free(ends);
}

/* Who has no key cannot answer a client: neither with a key of his own, nor with the client's own bytes. */
static void a_server_without_the_key_is_refused(void **state)
{
        struct ends *ends = ends_new(KEY_1, KEY_1);
        struct ends *other = ends_new(KEY_1_OTHER, KEY_1_OTHER);

        (void)state;
        ends_say_hello(other);
        assert_ok(ends_answer_hello(other, other->hello, SEAL_HELLO_SIZE));
        ends_say_hello(ends);
        assert_refused(&ends->client_stats, ends_take_answer(ends, other->challenge, SEAL_CHALLENGE_SIZE),
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
        ends_say_hello(ends);
        check_lengths(ends, ends->hello, SEAL_HELLO_SIZE, &ends->server.stats, ends_answer_hello);
        assert_ok(ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        check_lengths(ends, ends->challenge, SEAL_CHALLENGE_SIZE, &ends->client_stats, ends_take_answer);
        assert_ok(ends_take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE));
        check_lengths(ends, ends->proof, SEAL_PROOF_SIZE, &ends->server.stats, ends_take_proof);
        assert_ok(ends_take_proof(ends, ends->proof, SEAL_PROOF_SIZE));
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
        ends_say_hello(ends);
        check_flips(ends, ends->hello, SEAL_HELLO_SIZE, &ends->server.stats, ends_answer_hello);
        assert_ok(ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        check_flips(ends, ends->challenge, SEAL_CHALLENGE_SIZE, &ends->client_stats, ends_take_answer);
        assert_ok(ends_take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE));
        check_flips(ends, ends->proof, SEAL_PROOF_SIZE, &ends->server.stats, ends_take_proof);
        assert_ok(ends_take_proof(ends, ends->proof, SEAL_PROOF_SIZE));
        ends_free(ends);
}

/* One bit and the MAC's answer: what was changed is named for what it is where that can be known. */
static void what_was_changed_has_its_reason(void **state)
{
        struct ends *ends = ends_new(KEY_1, KEY_1);
        uint8_t changed[SEAL_HELLO_SIZE];

        (void)state;
        ends_say_hello(ends);
        memcpy(changed, ends->hello, sizeof(changed));
        changed[0] ^= 1; /* the magic */
        assert_refused(&ends->server.stats, ends_answer_hello(ends, changed, sizeof(changed)), OBJD_E_PROTO,
                       SEAL_MALFORMED);
        memcpy(changed, ends->hello, sizeof(changed));
        changed[15] = 1; /* one of the zeros */
        assert_refused(&ends->server.stats, ends_answer_hello(ends, changed, sizeof(changed)), OBJD_E_PROTO,
                       SEAL_MALFORMED);
        memcpy(changed, ends->hello, sizeof(changed));
        changed[56] ^= 1; /* the ephemeral key */
        assert_refused(&ends->server.stats, ends_answer_hello(ends, changed, sizeof(changed)), OBJD_E_ACCESS,
                       SEAL_WRONG_KEY);
        ends_free(ends);
}

static void a_repeated_hello_is_refused(void **state)
{
        struct ends *ends = ends_connected();

        (void)state;
        assert_refused(&ends->server.stats, ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE),
                       OBJD_E_ACCESS, SEAL_SEEN_BEFORE);
        assert_contains(objd_last_error(), "key 0123456789abcdef: a hello was sent a second time");
        ends_free(ends);
}

/* A hello that the daemon has forgotten, say because it is another one now, gives a challenge and no more. */
static void a_hello_from_long_ago_leads_nowhere(void **state)
{
        struct ends *ends = ends_connected();
        uint8_t old_challenge[SEAL_CHALLENGE_SIZE];

        (void)state;
        memcpy(old_challenge, ends->challenge, sizeof(old_challenge));
        assert_ok(seal_server_init(&ends->server, ends->server_keys));
        assert_ok(ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        assert_memory_not_equal(ends->challenge, old_challenge, SEAL_CHALLENGE_SIZE);
        assert_refused(&ends->server.stats, ends_take_proof(ends, ends->proof, SEAL_PROOF_SIZE),
                       OBJD_E_ACCESS, SEAL_WRONG_PROOF);
        assert_contains(objd_last_error(), "key 0123456789abcdef: the client has not proven to have it");
        ends_free(ends);
}

static void the_last_hellos_are_remembered_and_no_more(void **state)
{
        struct ends *ends = ends_connected();
        uint8_t first[SEAL_HELLO_SIZE];

        (void)state;
        memcpy(first, ends->hello, sizeof(first));
        for (int i = 1; i < SEAL_SEEN_MAX; i++) {
                ends_say_hello(ends);
                assert_ok(ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        }
        assert_refused(&ends->server.stats, ends_answer_hello(ends, first, sizeof(first)), OBJD_E_ACCESS,
                       SEAL_SEEN_BEFORE);
        ends_say_hello(ends);
        assert_ok(ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        assert_ok(ends_answer_hello(ends, first, sizeof(first)));
        ends_free(ends);
}

static void a_repeated_challenge_is_refused(void **state)
{
        struct ends *ends = ends_connected();

        (void)state;
        ends_say_hello(ends);
        assert_refused(&ends->client_stats, ends_take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE),
                       OBJD_E_ACCESS, SEAL_WRONG_PROOF);
        ends_free(ends);
}

static void a_repeated_proof_is_refused(void **state)
{
        struct ends *ends = ends_connected();
        uint8_t old[SEAL_PROOF_SIZE];

        (void)state;
        assert_refused(&ends->server.stats, ends_take_proof(ends, ends->proof, SEAL_PROOF_SIZE),
                       OBJD_E_ACCESS, SEAL_WRONG_PROOF);
        assert_contains(objd_last_error(), "key 0123456789abcdef: a proof that nobody waits for");

        memcpy(old, ends->proof, sizeof(old));
        ends_say_hello(ends);
        assert_ok(ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        assert_refused(&ends->server.stats, ends_take_proof(ends, old, sizeof(old)), OBJD_E_ACCESS,
                       SEAL_WRONG_PROOF);
        ends_free(ends);
}

/* After a wrong proof the right one is too late: each challenge has one answer. */
static void a_proof_has_one_attempt(void **state)
{
        struct ends *ends = ends_new(KEY_1, KEY_1);

        (void)state;
        ends_say_hello(ends);
        assert_ok(ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        assert_ok(ends_take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE));
        ends->proof[SEAL_PROOF_SIZE - 1] ^= 1;
        assert_refused(&ends->server.stats, ends_take_proof(ends, ends->proof, SEAL_PROOF_SIZE),
                       OBJD_E_ACCESS, SEAL_WRONG_PROOF);
        ends->proof[SEAL_PROOF_SIZE - 1] ^= 1;
        assert_refused(&ends->server.stats, ends_take_proof(ends, ends->proof, SEAL_PROOF_SIZE),
                       OBJD_E_ACCESS, SEAL_WRONG_PROOF);
        ends_free(ends);
}

static void messages_that_are_turned_round_are_refused(void **state)
{
        struct ends *ends = ends_new(KEY_1, KEY_1);
        struct seal_client client;
        uint8_t turned[SEAL_PROOF_SIZE];

        (void)state;
        ends_say_hello(ends);
        client = ends->client;
        assert_refused(&ends->client_stats, ends_take_answer(ends, ends->hello, SEAL_HELLO_SIZE),
                       OBJD_E_PROTO, SEAL_REFLECTED);
        ends->client = client;
        assert_ok(ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        assert_refused(&ends->server.stats, ends_answer_hello(ends, ends->challenge, SEAL_CHALLENGE_SIZE),
                       OBJD_E_PROTO, SEAL_REFLECTED);

        /* With its step written over, a message is right in form, and wrong all the same. */
        ends->client = client;
        memcpy(turned, ends->hello, sizeof(turned));
        ends->hello[8] = 2;
        ends->hello[10] = 0;
        assert_refused(&ends->client_stats, ends_take_answer(ends, ends->hello, SEAL_HELLO_SIZE),
                       OBJD_E_ACCESS, SEAL_WRONG_PROOF);
        ends_free(ends);
}

/* A proof as hello, a hello as proof, each at its place but of the wrong step. */
static void messages_out_of_turn_are_refused(void **state)
{
        struct ends *ends = ends_connected();
        uint8_t message[SEAL_HELLO_SIZE];

        (void)state;
        memcpy(message, ends->hello, sizeof(message));
        message[8] = 3;
        assert_refused(&ends->server.stats, ends_answer_hello(ends, message, SEAL_HELLO_SIZE), OBJD_E_PROTO,
                       SEAL_MALFORMED);
        memcpy(message, ends->proof, SEAL_PROOF_SIZE);
        message[8] = 1;
        assert_refused(&ends->server.stats, ends_take_proof(ends, message, SEAL_PROOF_SIZE), OBJD_E_PROTO,
                       SEAL_MALFORMED);
        message[8] = 2;
        assert_refused(&ends->server.stats, ends_take_proof(ends, message, SEAL_PROOF_SIZE), OBJD_E_PROTO,
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
        assert_ok(ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        assert_ok(ends_take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE));
        assert_ok(ends_take_proof(ends, ends->proof, SEAL_PROOF_SIZE));
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
        assert_refused(&ends->server.stats, ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE),
                       OBJD_E_PROTO, SEAL_NO_VERSION);
        assert_string_equal(objd_last_error(),
                            "a client speaks versions 2 to 3 of the sealing, this daemon 1 to 1");
        assert_refused(&ends->client_stats, ends_take_answer(ends, ends->refusal, SEAL_REFUSAL_SIZE),
                       OBJD_E_PROTO, SEAL_TURNED_AWAY);
        assert_string_equal(objd_last_error(),
                            "the daemon speaks versions 1 to 1 of the sealing, this library 2 to 3");

        assert_ok(seal_client_begin(&ends->client, ends->client_keys->keys, &none, &ends->client_stats,
                                    ends->hello));
        assert_refused(&ends->server.stats, ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE),
                       OBJD_E_PROTO, SEAL_NO_VERSION);

        /* The other way round: the daemon is the newer one. */
        ends->server.versions = newer;
        ends_say_hello(ends);
        assert_refused(&ends->server.stats, ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE),
                       OBJD_E_PROTO, SEAL_NO_VERSION);
        assert_refused(&ends->client_stats, ends_take_answer(ends, ends->refusal, SEAL_REFUSAL_SIZE),
                       OBJD_E_PROTO, SEAL_TURNED_AWAY);
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
        assert_refused(&ends->server.stats, ends_answer_hello(ends, changed, sizeof(changed)), OBJD_E_ACCESS,
                       SEAL_WRONG_KEY);

        /* The choice is: to one that was offered, and to one that was not. */
        assert_ok(ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        memcpy(changed, ends->challenge, sizeof(changed));
        changed[9] = 2;
        assert_refused(&ends->client_stats, ends_take_answer(ends, changed, sizeof(changed)), OBJD_E_ACCESS,
                       SEAL_WRONG_PROOF);
        ends->client = client;
        changed[9] = 1;
        assert_refused(&ends->client_stats, ends_take_answer(ends, changed, sizeof(changed)), OBJD_E_PROTO,
                       SEAL_DOWNGRADED);

        /* What the client agrees to is. */
        ends->client = client;
        assert_ok(ends_take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE));
        assert_int_equal(ends->proof[9], 3);
        ends->proof[9] = 2;
        assert_refused(&ends->server.stats, ends_take_proof(ends, ends->proof, SEAL_PROOF_SIZE), OBJD_E_PROTO,
                       SEAL_DOWNGRADED);
        assert_contains(objd_last_error(), "key 0123456789abcdef: the proof has another version");
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
                ends_say_hello(ends);
                memcpy(ends->hello + 56, i ? one : zero, 32);
                sign_hello(ends->client_keys->keys, ends->hello);
                assert_refused(&ends->server.stats, ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE),
                               OBJD_E_ACCESS, SEAL_WEAK_POINT);
                ends_say_hello(ends);
                assert_ok(ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
                memcpy(ends->challenge + 56, i ? one : zero, 32);
                assert_refused(&ends->client_stats,
                               ends_take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE), OBJD_E_ACCESS,
                               SEAL_WEAK_POINT);
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
                cmocka_unit_test(each_reason_has_a_name_of_its_own),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
