/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * keyfile.h -- the keys that a client and a daemon have in common, and the files they stand in
 *
 * A line of text is a key; docs/protocol.md describes it:
 *
 *     0123456789abcdef  <64 hex digits>  rw  team-*
 *
 * The first word is the key's id, which anybody may see and logs name; the second the secret; then come the
 * rights, which count in the daemon's file only. Secrets are kept in pages of their own that are locked,
 * read-only, not dumped and wiped at the end (sodium_malloc). What is in a file is never part of a sentence,
 * only the place where it is wrong.
 */

#include <stddef.h>
#include <stdint.h>

#include "rpc/rights.h"

#define KEY_ID_SIZE 8
#define KEY_SECRET_SIZE 32
#define KEYS_MAX 4096               /* in one file: each costs a refused stranger's handshake a look at it */
#define KEYFILE_SIZE_MAX (4u << 20) /* bytes */
#define KEY_ID_TEXT_SIZE (2 * KEY_ID_SIZE + 1)

struct key {
        uint8_t id[KEY_ID_SIZE];
        unsigned line;         /* of the file */
        const uint8_t *secret; /* KEY_SECRET_SIZE bytes, in the keyring's pages */
        struct rights rights;
};

/* Made by keyfile_load(), and not changed from then on: threads may share it. */
struct keyring {
        struct key *keys;
        size_t n_keys;
        uint8_t *secrets; /* of sodium_malloc */
        /*
         * Stands in for an id that is not there, with a random secret, so that a stranger's handshake with it
         * goes the way and takes the time of one with a wrong secret.
         */
        struct key nobody;
};

/*
 * Reads a file of one key or more. It must be a regular file of ours, not a link, with mode 0600 or 0400.
 *
 * @return OBJD_OK, OBJD_E_NOTFOUND (no such file), OBJD_E_ACCESS (owner, mode, link), OBJD_E_INVAL (a line,
 *         which the sentence names; no key; two keys of one id), OBJD_E_TOOBIG, OBJD_E_LIMIT, OBJD_E_NOMEM, OBJD_E_SYS
 */
objd_status keyfile_load(const char *path, struct keyring **ret);

/* NULL is fine. Gives NULL. */
struct keyring *keyring_free(struct keyring *keyring);

/*
 * The key of this id, or keyring->nobody. All ids are looked at in full, whether one fits or not.
 */
const struct key *keyring_find(const struct keyring *keyring, const uint8_t id[KEY_ID_SIZE]);

/* The key of a client's file, which has just one. @return OBJD_OK, OBJD_E_INVAL (there are several) */
objd_status keyring_only(const struct keyring *keyring, const char *path, const struct key **ret);

/*
 * Makes a new key, and the file for it with mode 0600; if it is there already, and is in order, the key is
 * added to it.
 *
 * @return as keyfile_load()
 */
objd_status keyfile_add(const char *path, const struct rights *rights, uint8_t ret_id[KEY_ID_SIZE]);

/* The id in hex, for sentences. Gives text back. */
const char *key_id_text(const uint8_t id[KEY_ID_SIZE], char text[KEY_ID_TEXT_SIZE]);

/* The same function over bytes, and what the fuzzer feeds. path is for sentences. */
objd_status keyfile_parse(const char *path, const char *text, size_t size, struct keyring **ret);
