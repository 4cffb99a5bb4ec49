/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_keys.c -- any text as a file of keys, and any bytes as a token
 *
 * What is refused has a sentence. The rights of a key that was read are written and read again, and are the
 * same.
 */

#include <stdlib.h>
#include <string.h>

#include "rpc/keyring.h"
#include "rpc/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
        if (!condition)
                abort();
}

static void check_rights(const struct rights *rights)
{
        struct rights again;
        char text[RIGHTS_TEXT_MAX];

        (void)rights_write(rights, text);
        must(rights_parse(text, strlen(text), &again) == OBJD_OK);
        must(again.read_only == rights->read_only && again.names_size == rights->names_size);
        must(memcmp(again.names, rights->names, rights->names_size) == 0);
        must(rights_allow_name(rights, rights->names_size ? rights->names : "any"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const struct token_key token_key;
        struct keyring *keyring;
        struct rights rights;
        uid_t uid;

        if (keyring_parse("keys", (const char *)data, size, &keyring) == OBJD_OK) {
                for (size_t i = 0; i < keyring->n_keys; i++) {
                        must(keyring_find(keyring, keyring->keys[i].id) == &keyring->keys[i]);
                        check_rights(&keyring->keys[i].rights);
                }
                keyring_free(keyring);
        } else {
                must(*objd_last_error());
        }
        must(token_check(&token_key, 0, data, size, &uid, &rights) == OBJD_E_ACCESS);
        return 0;
}
