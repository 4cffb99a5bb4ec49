/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ends.h -- both ends of a sealed connection in one process: their messages go from buffer to buffer, and a test is whoever stands between
 */

#include <objd.h>

#include "rpc/handshake.h"
#include "support/test.h"

#define KEY_1 "0123456789abcdef 00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0 rw\n"
#define KEY_2 "1111111111111111 1111111111111111111111111111111111111111111111111111111111111111 ro team/*\n"

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

struct ends *ends_new(const char *client_key, const char *server_keys);
void ends_free(struct ends *ends);

/* The four steps of a handshake; what they say is in the ends' own buffers. */
void ends_say_hello(struct ends *ends);
objd_status ends_answer_hello(struct ends *ends, const void *hello, size_t size);
objd_status ends_take_answer(struct ends *ends, const void *answer, size_t size);
objd_status ends_take_proof(struct ends *ends, const void *proof, size_t size);
void ends_shake_hands(struct ends *ends);

/* Ends that have shaken hands. */
struct ends *ends_connected(void);

/* The call failed for this reason, and the reason has been counted once more than before. */
void ends_check_refused(const struct seal_stats *stats, uint64_t n_before, enum seal_reason reason);

#define assert_refused(stats, call, status, reason)              \
        do {                                                     \
                uint64_t n_before_ = (stats)->n_refused[reason]; \
                                                                 \
                assert_status(call, status);                     \
                ends_check_refused(stats, n_before_, reason);    \
        } while (0)
