/* SPDX-License-Identifier: Apache-2.0 */

#include "support/ends.h"

#include <stdlib.h>
#include <string.h>

static struct keyring *make_keyring(const char *text)
{
        struct keyring *keyring;

        assert_ok(keyring_parse("keys", text, strlen(text), &keyring));
        return keyring;
}

struct ends *ends_new(const char *client_key, const char *server_keys)
{
        struct ends *ends = calloc(1, sizeof(*ends));

        assert_non_null(ends);
        ends->client_keys = make_keyring(client_key);
        ends->server_keys = make_keyring(server_keys);
        assert_ok(seal_server_init(&ends->server, ends->server_keys));
        return ends;
}

void ends_free(struct ends *ends)
{
        keyring_free(ends->client_keys);
        keyring_free(ends->server_keys);
        free(ends);
}

void ends_say_hello(struct ends *ends)
{
        assert_ok(seal_client_begin(&ends->client, ends->client_keys->keys, NULL, &ends->client_stats,
                                    ends->hello));
}

objd_status ends_answer_hello(struct ends *ends, const void *hello, size_t size)
{
        return seal_server_answer(&ends->server, hello, size, &ends->pending, ends->challenge, ends->refusal);
}

objd_status ends_take_answer(struct ends *ends, const void *answer, size_t size)
{
        return seal_client_finish(&ends->client, answer, size, ends->proof, &ends->client_seal);
}

objd_status ends_take_proof(struct ends *ends, const void *proof, size_t size)
{
        return seal_server_finish(&ends->server, &ends->pending, proof, size, &ends->server_seal,
                                  &ends->proven, ends->refusal);
}

void ends_shake_hands(struct ends *ends)
{
        ends_say_hello(ends);
        assert_ok(ends_answer_hello(ends, ends->hello, SEAL_HELLO_SIZE));
        assert_ok(ends_take_answer(ends, ends->challenge, SEAL_CHALLENGE_SIZE));
        assert_ok(ends_take_proof(ends, ends->proof, SEAL_PROOF_SIZE));
}

struct ends *ends_connected(void)
{
        struct ends *ends = ends_new(KEY_1, KEY_2 KEY_1);

        ends_shake_hands(ends);
        return ends;
}

void ends_check_refused(const struct seal_stats *stats, uint64_t n_before, enum seal_reason reason)
{
        assert_string_equal(seal_reason_name(seal_last_reason()), seal_reason_name(reason));
        assert_int_equal(stats->n_refused[reason], n_before + 1);
}
