/* SPDX-License-Identifier: Apache-2.0 */

/*
 * token.c -- rights that the daemon gives out, and recognises
 *
 *      0   1  version
 *      1   1  flags: 1 for read-only
 *      2   2  zeros
 *      4   4  uid, little-endian like all numbers
 *      8   8  when it ends
 *     16   n  the names of struct rights
 *   16+n  32  MAC of all that: BLAKE2b, keyed
 */

#include "rpc/token.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "base/status.h"
#include "rpc/wire.h"

#define TOKEN_VERSION 1
#define HEAD_SIZE 16
#define MAC_SIZE 32
#define FLAG_READ_ONLY 1

_Static_assert(HEAD_SIZE + MAC_SIZE + RIGHTS_NAMES_MAX == TOKEN_SIZE_MAX, "a token has room for all rights");
_Static_assert(TOKEN_SIZE_MAX <= WIRE_TOKEN_MAX, "a hello has room for a token");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they are in memory");

objd_status token_key_make(struct token_key *ret)
{
        if (sodium_init() < 0)
                return fail(OBJD_E_SYS, "there is no source of random numbers");
        randombytes_buf(ret->bytes, sizeof(ret->bytes));
        return OBJD_OK;
}

static void make_mac(const struct token_key *key, const uint8_t *token, size_t size, uint8_t ret[MAC_SIZE])
{
        static const char domain[] = "objd token";
        crypto_generichash_state state;

        (void)crypto_generichash_init(&state, key->bytes, sizeof(key->bytes), MAC_SIZE);
        (void)crypto_generichash_update(&state, (const uint8_t *)domain, sizeof(domain));
        (void)crypto_generichash_update(&state, token, size);
        (void)crypto_generichash_final(&state, ret, MAC_SIZE);
}

size_t token_issue(const struct token_key *key, uid_t uid, const struct rights *rights, int64_t expires_ns,
                   uint8_t ret_token[TOKEN_SIZE_MAX])
{
        size_t size = HEAD_SIZE + (size_t)rights->names_size;
        uint32_t number = uid;

        memset(ret_token, 0, HEAD_SIZE);
        ret_token[0] = TOKEN_VERSION;
        ret_token[1] = rights->read_only ? FLAG_READ_ONLY : 0;
        memcpy(ret_token + 4, &number, 4);
        memcpy(ret_token + 8, &expires_ns, 8);
        memcpy(ret_token + HEAD_SIZE, rights->names, rights->names_size);
        make_mac(key, ret_token, size, ret_token + size);
        return size + MAC_SIZE;
}

/* Ours: so what stands in it is what token_issue() has written. */
static bool is_ours(const struct token_key *key, const uint8_t *token, size_t size)
{
        uint8_t mac[MAC_SIZE];

        if (size < HEAD_SIZE + MAC_SIZE || size > TOKEN_SIZE_MAX)
                return false;
        make_mac(key, token, size - MAC_SIZE, mac);
        return sodium_memcmp(mac, token + size - MAC_SIZE, MAC_SIZE) == 0;
}

objd_status token_check(const struct token_key *key, int64_t now_ns, const void *token, size_t size,
                        uid_t *ret_uid, struct rights *ret_rights)
{
        const uint8_t *bytes = token;
        int64_t expires_ns;
        uint32_t uid;

        if (!is_ours(key, bytes, size))
                return fail(OBJD_E_ACCESS, "the token is not one of this daemon's");
        memcpy(&uid, bytes + 4, 4);
        memcpy(&expires_ns, bytes + 8, 8);
        if (now_ns >= expires_ns)
                return fail(OBJD_E_ACCESS, "the token of uid %" PRIu32 " has ended", uid);

        memset(ret_rights, 0, sizeof(*ret_rights));
        ret_rights->read_only = bytes[1] & FLAG_READ_ONLY;
        ret_rights->names_size = (uint16_t)(size - HEAD_SIZE - MAC_SIZE);
        memcpy(ret_rights->names, bytes + HEAD_SIZE, ret_rights->names_size);
        *ret_uid = (uid_t)uid;
        return OBJD_OK;
}
