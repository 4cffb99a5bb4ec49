/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * keyring.h -- the keys that a client and a daemon have in common
 *
 * As text, a key is a line; docs/protocol.md describes it:
 *
 *     0123456789abcdef  <64 hex digits>  rw  team-*
 *
 * The first word is the key's id, which anybody may see and logs name; the second the secret; then come the
 * rights, which count on the daemon's side only. Blank lines, and those that begin with '#', are passed over.
 * Secrets are kept in pages of their own that are locked, read-only, not dumped, and wiped at the end. No
 * sentence has anything of the text, only where it is wrong.
 */

#include <stddef.h>
#include <stdint.h>

#include "rpc/rights.h"

#define KEY_ID_SIZE 8
#define KEY_SECRET_SIZE 32
#define KEYS_MAX 4096 /* in one file: a stranger's handshake costs a look at each */
#define KEY_ID_TEXT_SIZE (2 * KEY_ID_SIZE + 1)

struct seal_key {
        uint8_t id[KEY_ID_SIZE];
        unsigned line;         /* of the text */
        const uint8_t *secret; /* KEY_SECRET_SIZE bytes, in the keyring's pages */
        struct rights rights;
};

/* Not changed once it is made: threads may share it. */
struct keyring {
        struct seal_key *keys;
        uint64_t *ids; /* of the same, side by side, to be looked through */
        size_t n_keys;
        uint8_t *secrets; /* of sodium_malloc() */
        /*
         * Stands in for an id that is not there, with a random secret, so that a stranger's handshake with it
         * goes the way and takes the time of one with a wrong secret.
         */
        struct seal_key nobody;
};

/*
 * Reads the text of a file; path is for sentences. A text without keys is in order.
 *
 * @return OBJD_OK, OBJD_E_INVAL (a line, which the sentence names; two keys of one id), OBJD_E_LIMIT,
 *         OBJD_E_NOMEM, OBJD_E_SYS
 */
objd_status keyring_parse(const char *path, const char *text, size_t size, struct keyring **ret);

/* NULL is fine. Gives NULL. */
struct keyring *keyring_free(struct keyring *keyring);

/* The key of this id, or keyring->nobody. All ids are looked at in full, whether one fits or not. */
const struct seal_key *keyring_find(const struct keyring *keyring, const uint8_t id[KEY_ID_SIZE]);

/* The key of a client's file, which has just one. @return OBJD_OK, OBJD_E_INVAL */
objd_status keyring_only(const struct keyring *keyring, const char *path, const struct seal_key **ret);

/* The id in hex, for sentences. Gives text back. */
const char *key_id_text(const uint8_t id[KEY_ID_SIZE], char text[KEY_ID_TEXT_SIZE]);
