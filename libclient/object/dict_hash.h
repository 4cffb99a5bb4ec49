/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dict_hash.h -- the hash of a key
 *
 * XXH3 with a seed of the arena's is fast, but a seed is no key: there are keys that collide for every seed, and whoever
 * knows the seed makes as many as he likes. A dict that meets more of them than chance would make changes to a hash of
 * its own, for good: SipHash-2-4 under a random key, which stands in its line (OBJECT_KEYED; dict_rehash()). (J.-P. Aumasson,
 * D. J. Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012.)
 */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "arena/arena.h"
#include "object/op.h"

static inline uint64_t key_hash(const struct arena *arena, uint32_t type, const void *data, size_t size)
{
        /* Said once more with the size as a constant, so that the compiler leaves over what such keys need: no call. */
        if (size == 16)
                return XXH3_64bits_withSeed(data, 16, arena->header->hash_key[0] + type);
        return XXH3_64bits_withSeed(data, size, arena->header->hash_key[0] + type);
}

/* The words of the object's line that are the key of its hash. */
#define DICT_HASH_KEY 2

uint64_t key_hash_keyed(const uint64_t key[2], uint32_t type, const void *data, size_t size);

/* By the hash that the dict has now; its line is locked, or what is read of it is looked at again. */
static inline uint64_t dict_hash(const struct arena *arena, const struct object_shm *dict, uint32_t type,
                                 const void *data, size_t size)
{
        if (__builtin_expect(word_get(&dict->line.config) & OBJECT_KEYED, 0)) {
                uint64_t key[2] = { word_get(&dict->line.root[DICT_HASH_KEY]),
                                    word_get(&dict->line.root[DICT_HASH_KEY + 1]) };

                return key_hash_keyed(key, type, data, size);
        }
        return key_hash(arena, type, data, size);
}

/* Hashes the key anew if the dict has got a hash of its own since. */
static inline void dict_hash_key(const struct arena *arena, const struct object_shm *dict, struct key *key)
{
        bool keyed = word_get(&dict->line.config) & OBJECT_KEYED;

        if (__builtin_expect(keyed != key->keyed, 0)) {
                key->keyed = keyed;
                key->hash = dict_hash(arena, dict, key->type, key->data, key->size);
        }
}
