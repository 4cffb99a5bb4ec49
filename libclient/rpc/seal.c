/* SPDX-License-Identifier: Apache-2.0 */

/*
 * seal.c -- sealed frames
 *
 * The number of a frame is its nonce, so no nonce comes twice under one key: numbers only grow, the
 * directions have a key each, and a forked child is turned away. The cipher with the short nonce is enough
 * for that; the one with the long nonce is for random ones, and costs a third of a microsecond more per
 * frame.
 */

#include "rpc/seal.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/fork.h"
#include "base/status.h"

#define NUMBER_SIZE 8
#define TAG_SIZE crypto_aead_chacha20poly1305_IETF_ABYTES
#define NUMBER_MASK (SEAL_SERVER_BIT - 1)

_Static_assert(SEAL_OVERHEAD == NUMBER_SIZE + TAG_SIZE, "what stands before the payload");
_Static_assert(SEAL_KEY_SIZE == crypto_aead_chacha20poly1305_IETF_KEYBYTES, "of the cipher");
_Static_assert(SEAL_KEY_SIZE == crypto_kdf_KEYBYTES, "a key is derived from the one before");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they are in memory");

static const char *const reason_names[SEAL_N_REASONS] = {
        [SEAL_SIZE] = "size",
        [SEAL_MALFORMED] = "malformed",
        [SEAL_REFLECTED] = "reflected",
        [SEAL_NO_VERSION] = "no-version",
        [SEAL_DOWNGRADED] = "downgraded",
        [SEAL_UNKNOWN_KEY] = "unknown-key",
        [SEAL_WRONG_KEY] = "wrong-key",
        [SEAL_SEEN_BEFORE] = "seen-before",
        [SEAL_WEAK_POINT] = "weak-point",
        [SEAL_WRONG_PROOF] = "wrong-proof",
        [SEAL_TURNED_AWAY] = "turned-away",
        [SEAL_REPEATED] = "repeated",
        [SEAL_MISSING] = "missing",
        [SEAL_TAMPERED] = "tampered",
        [SEAL_OVER] = "over",
};

static _Thread_local enum seal_reason last_reason;

const char *seal_reason_name(enum seal_reason reason)
{
        return (size_t)reason < SEAL_N_REASONS ? reason_names[reason] : "unknown";
}

enum seal_reason seal_last_reason(void)
{
        return last_reason;
}

objd_status seal_refused(struct seal_stats *stats, enum seal_reason reason, objd_status status)
{
        last_reason = reason;
        if (stats)
                (void)__atomic_fetch_add(&stats->n_refused[reason], 1, __ATOMIC_RELAXED);
        return status;
}

/* ---- Channels that are over --------------------------------------------------------------------------- */

void seal_end(struct seal *seal)
{
        __atomic_store_n(&seal->is_over, true, __ATOMIC_RELAXED);
        sodium_memzero(seal->send.key, SEAL_KEY_SIZE);
        sodium_memzero(seal->receive.key, SEAL_KEY_SIZE);
}

/* Who it is about. Begins each sentence; both ids are no secrets. */
#define WHO_SIZE (KEY_ID_TEXT_SIZE + 2 * SEAL_ID_SIZE + 32)

static const char *who(const struct seal *seal, char text[WHO_SIZE])
{
        char key[KEY_ID_TEXT_SIZE], channel[2 * SEAL_ID_SIZE + 1];

        snprintf(text, WHO_SIZE, "key %s, channel %s", key_id_text(seal->key_id, key),
                 sodium_bin2hex(channel, sizeof(channel), seal->id, SEAL_ID_SIZE));
        return text;
}

static objd_status check_usable(struct seal *seal, const struct seal_way *way)
{
        char text[WHO_SIZE];

        if (seal->fork_generation != fork_generation())
                return seal_refused(seal->stats, SEAL_OVER,
                                    fail(OBJD_E_ACCESS, "%s: is of this process's parent", who(seal, text)));
        if (__atomic_load_n(&seal->is_over, __ATOMIC_RELAXED))
                return seal_refused(seal->stats, SEAL_OVER,
                                    fail(OBJD_E_ACCESS, "%s: is over", who(seal, text)));
        if ((way->next & NUMBER_MASK) == NUMBER_MASK)
                return seal_refused(seal->stats, SEAL_OVER,
                                    fail(OBJD_E_ACCESS, "%s: its numbers are used up", who(seal, text)));
        return OBJD_OK;
}

/* Each attempt of a forger has its tiny chance; so attempts are counted, and end at some time. */
static objd_status refuse_frame(struct seal *seal, enum seal_reason reason, const char *what, uint64_t number)
{
        char text[WHO_SIZE];

        if (++seal->n_refusals >= SEAL_REFUSALS_MAX)
                seal_end(seal);
        return seal_refused(seal->stats, reason,
                            fail(OBJD_E_PROTO, "%s: frame %" PRIu64 " %s", who(seal, text), number, what));
}

/* ---- Frames ------------------------------------------------------------------------------------------- */

static void make_nonce(uint64_t number, uint8_t ret[crypto_aead_chacha20poly1305_IETF_NPUBBYTES])
{
        memset(ret, 0, 4);
        memcpy(ret + 4, &number, NUMBER_SIZE);
}

/*
 * A frame has gone through. From time to time the key goes, so that who learns it later cannot read what was
 * before.
 */
static void advance(struct seal_way *way)
{
        uint8_t key[SEAL_KEY_SIZE];
        uint64_t number = ++way->next & NUMBER_MASK;

        if (number % SEAL_REKEY_FRAMES)
                return;
        (void)crypto_kdf_derive_from_key(key, sizeof(key), number / SEAL_REKEY_FRAMES, "objdnext", way->key);
        memcpy(way->key, key, sizeof(key));
        sodium_memzero(key, sizeof(key));
}

objd_status seal_frame(struct seal *seal, const void *header, size_t header_size, const void *payload,
                       size_t size, void *ret_sealed)
{
        uint8_t nonce[crypto_aead_chacha20poly1305_IETF_NPUBBYTES];
        uint8_t *sealed = ret_sealed;
        objd_status r = check_usable(seal, &seal->send);

        if (r)
                return r;
        if (size > SEAL_PAYLOAD_MAX)
                return seal_refused(seal->stats, SEAL_SIZE,
                                    fail(OBJD_E_TOOBIG, "a frame of %zu bytes cannot be sealed", size));
        make_nonce(seal->send.next, nonce);
        (void)crypto_aead_chacha20poly1305_ietf_encrypt_detached(sealed + SEAL_OVERHEAD, sealed + NUMBER_SIZE,
                                                                 NULL, payload, size, header, header_size,
                                                                 NULL, nonce, seal->send.key);
        memcpy(sealed, &seal->send.next, NUMBER_SIZE);
        advance(&seal->send);
        return OBJD_OK;
}

/* What its number alone says about a frame, before anything is computed. */
static objd_status check_number(struct seal *seal, uint64_t number)
{
        uint64_t due = seal->receive.next;

        if ((number ^ due) & SEAL_SERVER_BIT)
                return refuse_frame(seal, SEAL_REFLECTED, "comes from our own side", number & NUMBER_MASK);
        number &= NUMBER_MASK;
        due &= NUMBER_MASK;
        if (number < due)
                return refuse_frame(seal, SEAL_REPEATED, "was there before", number);
        if (number > due)
                return refuse_frame(seal, SEAL_MISSING, "comes too early: one before it is missing", number);
        return OBJD_OK;
}

objd_status seal_open(struct seal *seal, const void *header, size_t header_size, const void *sealed,
                      size_t size, void *ret_payload)
{
        uint8_t nonce[crypto_aead_chacha20poly1305_IETF_NPUBBYTES];
        const uint8_t *bytes = sealed;
        uint64_t number;
        objd_status r = check_usable(seal, &seal->receive);

        if (r)
                return r;
        if (size < SEAL_OVERHEAD || size - SEAL_OVERHEAD > SEAL_PAYLOAD_MAX)
                return refuse_frame(seal, SEAL_SIZE, "does not have the size of a sealed one",
                                    seal->receive.next & NUMBER_MASK);
        memcpy(&number, bytes, NUMBER_SIZE);
        r = check_number(seal, number);
        if (r)
                return r;
        make_nonce(number, nonce);
        if (crypto_aead_chacha20poly1305_ietf_decrypt_detached(
                    ret_payload, NULL, bytes + SEAL_OVERHEAD, size - SEAL_OVERHEAD, bytes + NUMBER_SIZE,
                    header, header_size, nonce, seal->receive.key) < 0)
                return refuse_frame(seal, SEAL_TAMPERED, "was changed, or is not of this channel",
                                    number & NUMBER_MASK);
        advance(&seal->receive);
        return OBJD_OK;
}
