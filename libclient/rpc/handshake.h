/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * handshake.h -- proving a common key to each other, and agreeing on fresh keys for the frames that follow
 *
 * Three messages of fixed sizes, which are what frames of four types carry; docs/protocol.md has
 * them byte by byte, and says why each attack fails:
 *
 *     client -> server   HELLO      versions, key id, nonce, ephemeral key; a MAC under the key
 *     server -> client   CHALLENGE  version, key id, nonce, ephemeral key; a MAC under a key of both
 *     client -> server   PROOF      a MAC under another key of both
 *     server -> client   REFUSAL    in place of the second, or after the third
 *
 * The first sealed frame may follow the proof at once. Pure functions over bytes: what carries them is none
 * of their business. One thread at a time per struct; different ones are independent, and a server's counters
 * may be read at any time.
 */

#include "rpc/seal.h"

/* Types of the frames that carry them (enum frame_type). */
enum seal_frame_type {
        SEAL_TYPE_HELLO = 16,
        SEAL_TYPE_CHALLENGE = 17,
        SEAL_TYPE_PROOF = 18,
        SEAL_TYPE_REFUSAL = 19
};

/* Where a hello, a challenge and a proof say which key they are about. */
#define SEAL_KEY_ID_AT 16

#define SEAL_HELLO_SIZE 120
#define SEAL_CHALLENGE_SIZE 120
#define SEAL_PROOF_SIZE 56
#define SEAL_REFUSAL_SIZE 16
#define SEAL_HANDSHAKE_SIZE_MAX 120 /* whatever is longer is none, and need not be looked at */

#define SEAL_VERSION 1 /* of handshake and sealing */

struct seal_versions {
        uint8_t from, to;
};

/* A client between its hello and the answer. */
struct seal_client {
        const struct seal_key *key;
        struct seal_versions versions;
        struct seal_stats *stats;
        uint8_t ephemeral[32]; /* secret */
        uint8_t hello[SEAL_HELLO_SIZE];
};

/*
 * Writes the first message. key must stay until the handshake is over; versions and stats may be NULL.
 *
 * @return OBJD_OK, OBJD_E_SYS
 */
objd_status seal_client_begin(struct seal_client *client, const struct seal_key *key,
                              const struct seal_versions *versions, struct seal_stats *stats,
                              uint8_t ret_hello[SEAL_HELLO_SIZE]);

/*
 * Takes the server's answer, and makes the last message and the channel. Whatever it answers, the client's
 * ephemeral secret is wiped: a handshake that failed is begun anew.
 *
 * @return OBJD_OK, OBJD_E_ACCESS (wrong proof; refused by the server), OBJD_E_PROTO (malformed; no common
 *         version)
 */
objd_status seal_client_finish(struct seal_client *client, const void *answer, size_t size,
                               uint8_t ret_proof[SEAL_PROOF_SIZE], struct seal *ret_seal);

/* Wipes what seal_client_finish() has not. */
void seal_client_forget(struct seal_client *client);

/* What a stranger is told when it is refused: no more than this. */
enum seal_told {
        SEAL_TOLD_NOTHING = 0,
        SEAL_TOLD_NO = 1,         /* nonsense, an unknown key, a wrong one, a wrong proof: all the same */
        SEAL_TOLD_NO_VERSION = 2, /* and which ones there are */
        SEAL_TOLD_BUSY = 3,       /* too many handshakes are open: later */
        SEAL_TOLD_NO_CHANNEL =
                4 /* a sealed frame came for which there is no channel: a new handshake is needed */
};

#define SEAL_SEEN_MAX 1024

/*
 * What a daemon has once. A hello with a wrong MAC costs it a look at each key's id and two short hashes, and
 * leaves nothing behind. One with a right MAC, which only holders of the key can make and others can only
 * repeat, costs two multiplications on the curve (some 100 us) and one struct seal_pending, as long as the
 * caller keeps it. A hello that was seen among the last SEAL_SEEN_MAX right ones is refused before that.
 */
struct seal_server {
        const struct keyring *keyring;
        struct seal_versions versions;
        struct seal_stats stats;
        uint64_t seen[SEAL_SEEN_MAX]; /* fingerprints of hellos, a ring */
        unsigned next_seen;
};

/* A handshake that waits for the client's proof. Has no pointers, except to the key. */
struct seal_pending {
        const struct seal_key *key;        /* whose rights the client will have; not yet proven */
        uint8_t expected[SEAL_PROOF_SIZE]; /* the only proof that is right */
        struct seal seal;
};

/* The keyring is the caller's, and stays. @return OBJD_OK, OBJD_E_SYS */
objd_status seal_server_init(struct seal_server *server, const struct keyring *keyring);

/*
 * Answers a client's first message. On failure ret_refusal is what to tell it, which is the same for an
 * unknown key, a wrong one and nonsense; the sentence, for the log, has the key's id and the true reason.
 *
 * @return OBJD_OK, OBJD_E_ACCESS (unknown or wrong key, replay), OBJD_E_PROTO (malformed, no common version)
 */
objd_status seal_server_answer(struct seal_server *server, const void *hello, size_t size,
                               struct seal_pending *ret_pending, uint8_t ret_challenge[SEAL_CHALLENGE_SIZE],
                               uint8_t ret_refusal[SEAL_REFUSAL_SIZE]);

/*
 * Takes the proof. Whatever it answers, pending is wiped; its key is taken out before.
 *
 * @return OBJD_OK, OBJD_E_ACCESS (wrong proof), OBJD_E_PROTO
 */
objd_status seal_server_finish(struct seal_server *server, struct seal_pending *pending, const void *proof,
                               size_t size, struct seal *ret_seal, const struct seal_key **ret_key,
                               uint8_t ret_refusal[SEAL_REFUSAL_SIZE]);

/* The same refusals for a caller who has a reason of its own, as SEAL_TOLD_BUSY. */
void seal_server_refuse(const struct seal_server *server, enum seal_told told,
                        uint8_t ret_refusal[SEAL_REFUSAL_SIZE]);

void seal_pending_forget(struct seal_pending *pending);

/*
 * What a refusal tells; SEAL_TOLD_NOTHING if these bytes are none. That there is no channel is no answer to a hello: it is about frames that were sent
 * before it.
 */
enum seal_told seal_refusal_told(const void *message, size_t size);
