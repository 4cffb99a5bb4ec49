/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dict_grow.h -- between dict.c, which changes entries, and dict_grow.c, which makes room for them
 *
 * All of it is part of an operation that has locked the line in question.
 */

#include "base/status.h"
#include "object/dict.h"
#include "object/value.h"

#define DICT_DEPTH_MAX 40u

/* The sentence for what must not be: `what` is the end of it. */
static inline objd_status dict_damaged(const char *what)
{
        return fail(OBJD_E_CORRUPT, "the dict is damaged: %s", what);
}

/* The word of the root or of the directory that leads to this hash's segment. */
static inline uint64_t *dict_table_place(const struct arena *arena, struct line_shm *line, uint64_t hash)
{
        uint64_t root = line->root[0];
        uint32_t depth = table_depth(root);
        uint64_t *words;

        if (!depth)
                return &line->root[0];
        words = depth <= DICT_DEPTH_MAX ? arena_at(arena, table_off(root) + CHUNK_HEAD, 8ULL << depth) : NULL;
        return words ? &words[hash_index(hash, depth)] : NULL;
}

/* An entry by its slot, if all of it lies in the arena. */
static inline struct entry_shm *dict_entry_at(const struct arena *arena, uint64_t slot)
{
        struct entry_shm *entry = arena_at(arena, slot_off_of(slot), sizeof(*entry));
        uint64_t head = entry ? word_get(&entry->head) : 0;

        return entry && entry_key_size(head) <= OBJD_KEY_MAX &&
                               (entry_is_big(head) || entry_value_size(head) <= VALUE_INLINE_MAX) &&
                               arena_has(arena, slot_off_of(slot), entry_size(head))
                       ? entry
                       : NULL;
}

/* Where a new entry with this hash goes; NULL if the segment says less than it has. */
static inline uint64_t *dict_free_slot(struct segment_shm *segment, uint32_t groups, uint64_t hash)
{
        uint32_t group = hash_group(hash, groups), first = hash_first(hash);

        for (uint32_t turn = 0; turn < groups; turn++) {
                uint64_t *slots = &segment->slots[(size_t)group * DICT_GROUP];

                for (uint32_t i = 0; i < DICT_GROUP; i++)
                        if (slots[(first + i) % DICT_GROUP] <= SLOT_GONE)
                                return &slots[(first + i) % DICT_GROUP];
                group = group + 1 == groups ? 0 : group + 1;
        }
        return NULL;
}

static inline uint64_t segment_pack_shape(const struct segment_numbers *n)
{
        return (uint64_t)n->groups | (uint64_t)n->depth << 16 | (uint64_t)n->used << 32 |
               (uint64_t)n->live << 48;
}

static inline uint64_t segment_pack_pair(uint32_t low, uint32_t high)
{
        return (uint64_t)high << 32 | low;
}

/*
 * Makes room for an entry at the end of the last extent, or in a new one, and gives its place; n says so then, and is not
 * stored yet.
 */
objd_status dict_append_place(struct lane *lane, struct object_shm *object, struct segment_numbers *n,
                              uint64_t extent, uint64_t size, struct chunk_shm **ret_extent,
                              struct entry_shm **ret_entry);

/* The first segment for a place of the directory that has none, with room for an entry of `size` bytes. */
objd_status dict_first_segment(struct lane *lane, struct object_shm *object, uint64_t *place, uint64_t size,
                               uint32_t global_depth);

/*
 * The same entries in a new segment: larger or smaller as they need, and without gaps. first is the first of the
 * directory's places that lead to it.
 */
objd_status dict_rebuild(struct lane *lane, struct object_shm *object, struct segment_shm *segment,
                         uint64_t need, uint32_t global_depth, uint64_t *first);

/* Gives a segment that has no room for an entry of `need` bytes more room; the caller looks everything up again. */
objd_status dict_make_room(struct lane *lane, struct object_shm *object, struct line_shm *line, uint64_t hash,
                           struct segment_shm *segment, uint64_t need);

/* Whether a segment without room for `size` more bytes is to be built again, rather than to get one more extent. */
bool dict_wants_room(const struct segment_numbers *n, uint64_t size);

/* Splitting does not help any more. @return OP_REHASH, OBJD_E_NOMEM */
objd_status dict_too_deep(const struct object_shm *object);
