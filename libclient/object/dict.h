/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dict.h -- what the parts of the dict share: keys, hashes, table words, segments
 *
 * dict.c changes a dict (find, insert, remove), dict_grow.c makes room in it, dict_read.c reads it without locks,
 * dict_whole.c all of it at one moment, dict_kind.c makes a kind of it.
 */

#include <objd.h>

#include <string.h>

#include "mem/pool.h"
#include "object/kind.h"
#include "object/object.h"
#include "txn/txn.h"

#define DICT_GROUP 8u        /* slots in a group */
#define DICT_GROUPS_MAX 126u /* of a segment: with them it fits a chunk of 8 KiB */
#define DICT_SHARDS 64u
#define SLOT_GONE 1ULL

/* Whether a value of this type may be a key of a dict with this declared type. @return OBJD_OK, OBJD_E_TYPE */
objd_status key_check_type(const objd_value *value, objd_type declared);

/* @return OBJD_OK, OBJD_E_TYPE, OBJD_E_TOOBIG, OBJD_E_INVAL; the key points into the value. */
objd_status key_make(const struct arena *arena, uint64_t config, const objd_value *value,
                     struct key *ret_key);

/* The key's bytes from `at` on as they stand in an entry: eight of them, or what is left and zeros. */
static inline uint64_t key_word(const struct key *key, uint32_t at)
{
        uint64_t word = 0;

        if (key->size - at >= 8)
                memcpy(&word, key->data + at, 8);
        else
                memcpy(&word, key->data + at, key->size - at);
        return word;
}

/* Whether an entry, whose key has the same type and size, has this key. */
static inline bool key_matches(const struct entry_shm *entry, const struct key *key)
{
        for (uint32_t at = 0; at < key->size; at += 8)
                if (word_get(&entry->data[at / 8]) != key_word(key, at))
                        return false;
        return true;
}

static inline uint32_t hash_shard(uint64_t hash)
{
        return (uint32_t)(hash >> 58);
}

/* The index into a directory of this depth: the bits after the shard's, so that order of hash is order of place. */
static inline uint64_t hash_index(uint64_t hash, uint32_t depth)
{
        return depth ? hash << 6 >> (64 - depth) : 0;
}

static inline uint64_t hash_tag(uint64_t hash)
{
        return hash & 0x7ffffff;
}

static inline uint32_t hash_group(uint64_t hash, uint32_t n_groups)
{
        return (uint32_t)((hash & 0xffffffff) * n_groups >> 32);
}

/* Where in its group an entry would like to stand, and a search begins; it may stand in any slot of the group. */
static inline uint32_t hash_first(uint64_t hash)
{
        return (uint32_t)(hash >> 32) % DICT_GROUP;
}

static inline uint64_t table_off(uint64_t word)
{
        return word & 0xffffffffffc0ULL;
}

static inline uint32_t table_depth(uint64_t word)
{
        return (uint32_t)(word & 63);
}

static inline uint32_t table_groups(uint64_t word)
{
        return (uint32_t)(word >> 48);
}

static inline uint64_t slot_make(uint64_t hash, uint64_t entry_off)
{
        return hash_tag(hash) << 37 | entry_off >> 3;
}

static inline uint64_t slot_off_of(uint64_t slot)
{
        return (slot & ((1ULL << 37) - 1)) << 3;
}

static inline uint32_t entry_key_type(uint64_t head)
{
        return (uint32_t)(head & 15);
}

static inline uint32_t entry_key_size(uint64_t head)
{
        return (uint32_t)(head >> 4 & 0xfff);
}

static inline objd_type entry_value_type(uint64_t head)
{
        return (objd_type)(head >> 16 & 15);
}

static inline bool entry_is_big(uint64_t head)
{
        return head >> 20 & 1;
}

static inline uint64_t entry_value_size(uint64_t head)
{
        return head >> 24;
}

/* Bytes of the value in the entry itself, padded. */
static inline uint64_t entry_inline_size(uint64_t head)
{
        return entry_is_big(head) ? 8 : round8(entry_value_size(head));
}

static inline uint64_t entry_size(uint64_t head)
{
        return sizeof(struct entry_shm) + round8(entry_key_size(head)) + entry_inline_size(head);
}

static inline uint64_t *entry_value(struct entry_shm *entry, uint64_t head)
{
        return entry->data + round8(entry_key_size(head)) / 8;
}

/* The numbers of a segment, unpacked. */
struct segment_numbers {
        uint32_t groups, depth, used, live; /* shape */
        uint32_t tail_used, tail_size;      /* fill */
        uint32_t live_bytes, dead_bytes;    /* bytes */
};

struct segment_numbers segment_numbers(const struct segment_shm *segment);

#define SEGMENT_ONE_USED (1ULL << 32) /* in its shape */
#define SEGMENT_ONE_LIVE (1ULL << 48)

/* Slots that may be in use before probes get long: seven eighths. */
static inline uint32_t segment_slots_max(uint32_t groups)
{
        return groups * 7;
}

#define SHRINK_BYTES 4096u /* gaps below this are not worth a copy */

static inline bool segment_wants_shrinking(uint32_t live_bytes, uint32_t dead_bytes)
{
        return dead_bytes >= SHRINK_BYTES && dead_bytes >= live_bytes;
}

/* Whether the slot's group has a slot that was never used: a probe that came as far ends there. */
static inline bool segment_group_has_empty(const struct segment_shm *segment, const uint64_t *slot)
{
        size_t first = (size_t)(slot - segment->slots) / DICT_GROUP * DICT_GROUP;

        for (size_t i = first; i < first + DICT_GROUP; i++)
                if (!segment->slots[i])
                        return true;
        return false;
}

/* Where a table word's segment is, checked against the arena's bounds; NULL if it cannot be one. */
static inline struct segment_shm *segment_at(const struct arena *arena, uint64_t word)
{
        uint32_t groups = table_groups(word);

        if (!groups || groups > DICT_GROUPS_MAX)
                return NULL;
        return arena_at(arena, table_off(word) + CHUNK_HEAD,
                        sizeof(struct segment_shm) + (uint64_t)groups * DICT_GROUP * 8);
}

/*
 * The line that guards this hash: the object's own, or a shard. Reads the object's line under its version; to be
 * asked again once the line is locked. @return OBJD_OK, OBJD_E_GONE, OBJD_E_BUSY, OBJD_E_CORRUPT
 */
objd_status dict_line(struct lane *lane, struct objd_object *dict, uint64_t hash, struct line_shm **ret_line);

/* The same for a key, which is hashed anew if the dict has got another hash since. */
objd_status dict_line_of(struct lane *lane, struct objd_object *dict, struct key *key,
                         struct line_shm **ret_line);

/* With the key's line locked: whether the key still has the hash that the dict goes by. */
static inline bool dict_goes_by(const struct objd_object *dict, const struct key *key)
{
        return !(word_get(&dict->shm->line.config) & OBJECT_KEYED) == !key->keyed;
}

/*
 * Whether a shard that was found before belongs to the dict now. A group that a clear has freed may be the same dict's
 * shards again a moment later, with nothing committed yet: serial and version alone would not tell. To be asked after the
 * shard's version has been loaded, or the shard locked: a dict that is cleared takes all locks of its shards.
 */
bool dict_has_shard(const struct objd_object *dict, const struct line_shm *shard);

/* The shards of an object whose line is locked or frozen; NULL if it has none, or if they cannot be where it says. */
static inline struct line_shm *dict_shards(const struct arena *arena, const struct object_shm *object)
{
        uint64_t root = word_get(&object->line.root[0]), off = root & ~DICT_SHARDED;

        return root & DICT_SHARDED && !(off % (DICT_SHARDS * LINE_SIZE))
                       ? arena_at(arena, off, DICT_SHARDS * LINE_SIZE)
                       : NULL;
}

/* Whether a sharded dict's shards, when all is locked, are its own; what is not must be left alone. */
bool dict_owns_shards(const struct arena *arena, const struct object_shm *object);

/* The line that guards a hash, when that is locked already. */
struct line_shm *dict_guard(const struct arena *arena, struct object_shm *object, uint64_t hash);

/* The number of entries at one moment; waits for writers as reads do. */
objd_status dict_count(struct lane *lane, struct objd_object *dict, uint64_t *ret_len);

/* Calls that change a dict; the line that guards the key is locked. They are parts of an operation: see txn.h. */

/* The key's entry, NULL if there is none. */
objd_status dict_find(struct lane *lane, struct line_shm *line, const struct key *key,
                      struct entry_shm **ret_entry);
objd_status dict_put(struct lane *lane, struct object_shm *object, const struct key *key,
                     const objd_value *value);
objd_status dict_remove(struct lane *lane, struct object_shm *object, const struct key *key);
/* Some entry of a line that has one. */
objd_status dict_some(struct lane *lane, struct line_shm *line, struct entry_shm **ret_entry);
objd_status dict_clear_all(struct lane *lane, struct object_shm *object);

/* Frees the group; its lines lose their owner, so that whoever comes late to one of them sees that. */
objd_status dict_drop_shards(struct lane *lane, struct line_shm *shards);

/*
 * Gives a dict a hash of its own (dict_hash.h) and builds it again under it; the object's line and all shards are locked.
 * Takes as long, and as much memory, as all entries need. @return OBJD_OK (also if it has one), OBJD_E_NOMEM,
 * OBJD_E_CORRUPT, OBJD_E_SYS
 */
objd_status dict_rehash(struct lane *lane, struct object_shm *object);

/* The parts of it: stores an entry of the dict anew, under the hash that the dict has now; its big value's chunk stays. */
objd_status dict_put_again(struct lane *lane, struct object_shm *object, const struct entry_shm *entry);

/* Calls fn for each entry of a segment, with its hash. */
typedef objd_status (*dict_entry_fn)(void *context, const struct entry_shm *entry, uint64_t hash);
objd_status dict_each_entry(struct lane *lane, const struct object_shm *object, struct segment_shm *segment,
                            uint32_t groups, dict_entry_fn fn, void *context);

/* Frees a segment and its extents (not the chunks of big values) when the operation commits. */
objd_status dict_free_segment(struct lane *lane, struct segment_shm *segment);

/* Copies an entry's value out; the entry's line is locked or frozen. */
objd_status dict_value_out(struct lane *lane, struct entry_shm *entry, size_t at, objd_value *ret_value,
                           objd_buf *buf);

/* Without locks. @return OBJD_E_NOTFOUND; ret_value NULL only asks whether the key is there. */
objd_status dict_read(struct objd_object *dict, const objd_value *key, objd_value *ret_value, objd_buf *buf);

/*
 * The same for a pin: a big value is pinned in lane->pins[pin], and ret_value points to it; a small one is copied to buf, and
 * the pin is 0.
 */
objd_status dict_pin(struct objd_object *dict, const objd_value *key, struct lane_shm *lane, uint32_t pin,
                     objd_value *ret_value, objd_buf *buf);

/*
 * A cursor's step: adds the entries of the next segment that has some to the items. In the order of hashes, which
 * growing and shrinking do not change. At the end, position->end is set and nothing is added.
 * @return OBJD_OK, OBJD_E_GONE, OBJD_E_BUSY, OBJD_E_NOMEM, OBJD_E_CORRUPT
 */
struct dict_position {
        uint64_t hash; /* everything below has been seen */
        bool end;
        bool keyed;      /* that hash is the dict's own; */
        uint64_t before; /* while it was not, all keys below this had been seen */
};
objd_status dict_step(struct objd_object *dict, struct dict_position *position, struct items_builder *items);

/* As kind.h has them: with the dict frozen by the lane. */
objd_status dict_get_state(struct lane *lane, struct objd_object *dict, struct object_state *ret_state);
objd_status dict_visit(struct lane *lane, struct objd_object *dict, visit_fn fn, void *context);

/* All entries as of one moment, in the order in which their keys were first set. Writers wait meanwhile. */
objd_status dict_collect(struct objd_object *dict, struct items_builder *items);

/* As kind.h has it (dict_salvage.c). */
objd_status dict_salvage(struct salvage *salvage);
