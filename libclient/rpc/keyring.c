/* SPDX-License-Identifier: Apache-2.0 */

/*
 * keyring.c -- the keys that a client and a daemon have in common
 *
 * The text is gone through twice: the lines that may be keys are counted, so that all secrets go into one
 * piece of guarded memory, and then each is read.
 */

#include "rpc/keyring.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/sys.h"

_Static_assert(KEY_ID_SIZE == sizeof(uint64_t), "ids are compared as numbers");

/* The next line, without its end; NULL at the end of the text. */
static const char *next_line(const char **p, const char *end, size_t *ret_size)
{
        const char *line = *p, *newline;

        if (line == end)
                return NULL;
        newline = memchr(line, '\n', (size_t)(end - line));
        *ret_size = (size_t)((newline ? newline : end) - line);
        *p = newline ? newline + 1 : end;
        return line;
}

static size_t count_blanks(const char *text, size_t size)
{
        size_t n = 0;

        while (n < size && (text[n] == ' ' || text[n] == '\t'))
                n++;
        return n;
}

static bool is_key(const char *line, size_t size)
{
        size_t n = count_blanks(line, size);

        return n < size && line[n] != '#';
}

static size_t count_keys(const char *text, size_t size)
{
        const char *p = text, *end = text + size, *line;
        size_t n = 0;

        while ((line = next_line(&p, end, &size)))
                n += is_key(line, size);
        return n;
}

/* Takes n bytes in hex, and the blanks behind them, off the line. Does not branch on what they are. */
static bool take_hex(const char **line, size_t *size, uint8_t *ret, size_t n)
{
        size_t n_read, n_blanks;

        if (*size < 2 * n || sodium_hex2bin(ret, n, *line, 2 * n, NULL, &n_read, NULL) < 0 || n_read != n)
                return false;
        n_blanks = count_blanks(*line + 2 * n, *size - 2 * n);
        *line += 2 * n + n_blanks;
        *size -= 2 * n + n_blanks;
        return n_blanks || !*size;
}

static objd_status read_key(const char *path, const char *line, size_t size, struct seal_key *key,
                            uint8_t *secret)
{
        size_t n_blanks = count_blanks(line, size);
        objd_status r;

        line += n_blanks;
        size -= n_blanks;
        if (!take_hex(&line, &size, key->id, KEY_ID_SIZE))
                return fail(OBJD_E_INVAL, "%s: line %u: does not begin with a key's id, %d hex digits", path,
                            key->line, 2 * KEY_ID_SIZE);
        if (!take_hex(&line, &size, secret, KEY_SECRET_SIZE))
                return fail(OBJD_E_INVAL, "%s: line %u: behind the id there is no secret, %d hex digits",
                            path, key->line, 2 * KEY_SECRET_SIZE);
        key->secret = secret;
        r = rights_parse(line, size, &key->rights);
        if (r)
                return fail(r, "%s: line %u: %s", path, key->line, objd_last_error());
        return OBJD_OK;
}

static objd_status check_new(const char *path, const struct keyring *keyring, const struct seal_key *key)
{
        for (size_t i = 0; i < keyring->n_keys; i++)
                if (memcmp(keyring->keys[i].id, key->id, KEY_ID_SIZE) == 0)
                        return fail(OBJD_E_INVAL, "%s: line %u: the key has the id of that in line %u", path,
                                    key->line, keyring->keys[i].line);
        return OBJD_OK;
}

static objd_status read_keys(const char *path, const char *text, size_t size, struct keyring *keyring)
{
        const char *p = text, *end = text + size, *line;
        unsigned number = 0;

        while ((line = next_line(&p, end, &size))) {
                struct seal_key *key = keyring->keys + keyring->n_keys;
                objd_status r;

                number++;
                if (!is_key(line, size))
                        continue;
                key->line = number;
                r = read_key(path, line, size, key, keyring->secrets + keyring->n_keys * KEY_SECRET_SIZE);
                if (r == OBJD_OK)
                        r = check_new(path, keyring, key);
                if (r)
                        return r;
                memcpy(&keyring->ids[keyring->n_keys], key->id, KEY_ID_SIZE);
                keyring->n_keys++;
        }
        return OBJD_OK;
}

/* Room for n keys, and nobody's secret behind theirs. */
static struct keyring *keyring_new(size_t n)
{
        struct keyring *keyring = sys.alloc(sizeof(*keyring));

        if (!keyring)
                return NULL;
        keyring->keys = sys.alloc((n + 1) * sizeof(*keyring->keys));
        keyring->ids = sys.alloc((n + 1) * sizeof(*keyring->ids));
        keyring->secrets = sodium_malloc((n + 1) * KEY_SECRET_SIZE);
        if (!keyring->keys || !keyring->ids || !keyring->secrets)
                return keyring_free(keyring);
        randombytes_buf(keyring->secrets + n * KEY_SECRET_SIZE, KEY_SECRET_SIZE);
        keyring->nobody.secret = keyring->secrets + n * KEY_SECRET_SIZE;
        return keyring;
}

struct keyring *keyring_free(struct keyring *keyring)
{
        if (keyring) {
                sodium_free(keyring->secrets); /* wipes them */
                free(keyring->keys);
                free(keyring->ids);
                free(keyring);
        }
        return NULL;
}

objd_status keyring_parse(const char *path, const char *text, size_t size, struct keyring **ret)
{
        struct keyring *keyring;
        size_t n = count_keys(text, size);
        objd_status r;

        if (n > KEYS_MAX)
                return fail(OBJD_E_LIMIT, "%s: has %zu keys, and %d are the most", path, n, KEYS_MAX);
        if (sodium_init() < 0)
                return fail(OBJD_E_SYS, "there is no source of random numbers");
        keyring = keyring_new(n);
        if (!keyring)
                return fail(OBJD_E_NOMEM, "%s: no memory for %zu key%s", path, n, n == 1 ? "" : "s");
        r = read_keys(path, text, size, keyring);
        if (r) {
                keyring_free(keyring);
                return r;
        }
        /* If it cannot be protected it can be used all the same. */
        (void)sodium_mprotect_readonly(keyring->secrets);
        *ret = keyring;
        return OBJD_OK;
}

/* 1 if they are the same, else 0; without a branch. */
static uint64_t is_same(uint64_t a, uint64_t b)
{
        uint64_t difference = a ^ b;

        return 1 ^ (difference | (0 - difference)) >> 63;
}

const struct seal_key *keyring_find(const struct keyring *keyring, const uint8_t id[KEY_ID_SIZE])
{
        uint64_t wanted, found = keyring->n_keys;

        memcpy(&wanted, id, sizeof(wanted));
        for (size_t i = 0; i < keyring->n_keys; i++) {
                uint64_t mask = 0 - is_same(keyring->ids[i], wanted);

                found = (i & mask) | (found & ~mask);
        }
        return found == keyring->n_keys ? &keyring->nobody : keyring->keys + found;
}

objd_status keyring_only(const struct keyring *keyring, const char *path, const struct seal_key **ret)
{
        if (keyring->n_keys != 1)
                return fail(
                        OBJD_E_INVAL,
                        "%s has %zu keys, and a client's file has one: put the line of the client's key into "
                        "a file of its own",
                        path, keyring->n_keys);
        *ret = keyring->keys;
        return OBJD_OK;
}

const char *key_id_text(const uint8_t id[KEY_ID_SIZE], char text[KEY_ID_TEXT_SIZE])
{
        return sodium_bin2hex(text, KEY_ID_TEXT_SIZE, id, KEY_ID_SIZE);
}
