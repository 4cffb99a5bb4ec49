/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dict_hash.h -- the hash of a key, inline: it is a tenth of a get
 */

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "arena/arena.h"

static inline uint64_t key_hash(const struct arena *arena, uint32_t type, const void *data, size_t size)
{
        return XXH3_64bits_withSeed(data, size, arena->header->hash_key[0] + type);
}
