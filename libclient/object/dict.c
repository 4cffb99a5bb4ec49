/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dict.c -- changing a dict
 *
 * Extendible hashing (R. Fagin et al., "Extendible hashing: a fast access method for dynamic files", TODS 1979) with
 * segments that hold both the slots and the entries of their part of the hashes. Entries are appended; deleting
 * leaves a gap. A segment that is full, or mostly gaps, is built again aside, and replaced by a store into the
 * directory: once as large, larger, or as two. So the work of one operation is bounded by one segment (about 110 KiB
 * of entries), at any size of the dict, and the copy closes all gaps.
 */

#include "object/dict.h"

#include <sodium.h>
#include <string.h>

#include "base/status.h"
#include "mem/pool.h"
#include "object/dict_grow.h"
#include "object/dict_hash.h"
#include "object/value.h"

#define DICT_SAME_MAX \
        8u /* keys with the same 27 bits of hash, in one segment: chance does not make as many */

objd_status key_check_type(const objd_value *value, objd_type declared)
{
        if (value->type != OBJD_INT && value->type != OBJD_STR && value->type != OBJD_BYTES)
                return fail(OBJD_E_TYPE, "a key is an int, a str or bytes, not a %s",
                            value_type_name(value->type));
        return value_check_type(value, declared, "key");
}

objd_status key_make(const struct arena *arena, uint64_t config, const objd_value *value, struct key *ret_key)
{
        objd_type declared = object_key_type(config);
        bool is_int = value->type == OBJD_INT;
        size_t size = is_int ? 8 : value->size;
        const void *data = is_int ? &value->u.integer : value->data;
        objd_status r = OBJD_OK;

        if (value->type != declared)
                r = key_check_type(value, declared);
        if (r == OBJD_OK && size > OBJD_KEY_MAX)
                return fail(OBJD_E_TOOBIG, "the key has %zu bytes; a key has at most %u", size, OBJD_KEY_MAX);
        if (r == OBJD_OK && (value->type == OBJD_STR || !data))
                r = value_check(value);
        if (r)
                return r;
        *ret_key = (struct key){ data, (uint32_t)size, value->type, key_hash(arena, value->type, data, size),
                                 false };
        return OBJD_OK;
}

uint64_t key_hash_keyed(const uint64_t key[2], uint32_t type, const void *data, size_t size)
{
        uint64_t typed[2] = { key[0] ^ type, key[1] }, hash;

        static_assert(crypto_shorthash_KEYBYTES == sizeof(typed) && crypto_shorthash_BYTES == sizeof(hash),
                      "SipHash has a key of 16 bytes and gives 8");
        crypto_shorthash((unsigned char *)&hash, data, size, (const unsigned char *)typed);
        return hash;
}

struct segment_numbers segment_numbers(const struct segment_shm *segment)
{
        uint64_t shape = word_get(&segment->shape), fill = word_get(&segment->fill),
                 bytes = word_get(&segment->bytes);

        return (struct segment_numbers){
                .groups = (uint16_t)shape,
                .depth = (uint16_t)(shape >> 16),
                .used = (uint16_t)(shape >> 32),
                .live = (uint16_t)(shape >> 48),
                .tail_used = (uint32_t)fill,
                .tail_size = (uint32_t)(fill >> 32),
                .live_bytes = (uint32_t)bytes,
                .dead_bytes = (uint32_t)(bytes >> 32),
        };
}

static void set_numbers(struct lane *lane, struct segment_shm *segment, const struct segment_numbers *n)
{
        uint64_t shape = segment_pack_shape(n), fill = segment_pack_pair(n->tail_used, n->tail_size);
        uint64_t bytes = segment_pack_pair(n->live_bytes, n->dead_bytes);

        if (segment->shape != shape)
                txn_set(lane, &segment->shape, shape);
        if (segment->fill != fill)
                txn_set(lane, &segment->fill, fill);
        if (segment->bytes != bytes)
                txn_set(lane, &segment->bytes, bytes);
}

struct line_shm *dict_guard(const struct arena *arena, struct object_shm *object, uint64_t hash)
{
        struct line_shm *shards = dict_shards(arena, object);

        return shards ? &shards[hash_shard(hash)] : &object->line;
}

bool dict_owns_shards(const struct arena *arena, const struct object_shm *object)
{
        const struct line_shm *shards = dict_shards(arena, object);

        for (uint32_t i = 0; shards && i < DICT_SHARDS; i++)
                if (word_get(&shards[i].serial) != word_get(&object->line.serial))
                        return false;
        return shards || !(word_get(&object->line.root[0]) & DICT_SHARDED);
}

/* The slot with this key; NULL if there is none, or if something on the way is damaged. */
static uint64_t *find_slot(const struct arena *arena, struct segment_shm *segment, uint32_t groups,
                           const struct key *key)
{
        uint32_t group = hash_group(key->hash, groups);
        uint64_t tag = hash_tag(key->hash);

        for (uint32_t turn = 0; turn < groups; turn++) {
                uint64_t *slots = &segment->slots[(size_t)group * DICT_GROUP];
                bool empty = false;

                for (uint32_t i = 0; i < DICT_GROUP; i++) {
                        struct entry_shm *entry;

                        empty |= !slots[i];
                        if (slots[i] >> 37 != tag || slots[i] <= SLOT_GONE)
                                continue;
                        entry = dict_entry_at(arena, slots[i]);
                        if (entry && (entry->head & 0xffff) == (key->type | key->size << 4) &&
                            key_matches(entry, key))
                                return &slots[i];
                }
                if (empty)
                        return NULL;
                group = group + 1 == groups ? 0 : group + 1;
        }
        return NULL;
}

static objd_status find(struct lane *lane, struct line_shm *line, const struct key *key, uint64_t **ret_place,
                        struct segment_shm **ret_segment, uint64_t **ret_slot)
{
        uint64_t *place = dict_table_place(lane->arena, line, key->hash);

        *ret_segment = NULL;
        *ret_slot = NULL;
        if (!place)
                return dict_damaged("its directory lies outside the arena");
        *ret_place = place;
        if (!*place)
                return OBJD_OK;
        *ret_segment = segment_at(lane->arena, *place);
        if (!*ret_segment)
                return dict_damaged("a segment lies outside the arena");
        if ((uint16_t)word_get(&(*ret_segment)->shape) != table_groups(*place))
                return dict_damaged("a segment is of another size than its directory says");
        *ret_slot = find_slot(lane->arena, *ret_segment, table_groups(*place), key);
        return OBJD_OK;
}

objd_status dict_find(struct lane *lane, struct line_shm *line, const struct key *key,
                      struct entry_shm **ret_entry)
{
        struct segment_shm *segment;
        uint64_t *place, *slot;
        objd_status r = find(lane, line, key, &place, &segment, &slot);

        if (r == OBJD_OK)
                *ret_entry = slot ? dict_entry_at(lane->arena, *slot) : NULL;
        return r;
}

objd_status dict_some(struct lane *lane, struct line_shm *line, struct entry_shm **ret_entry)
{
        uint64_t root = line->root[0];
        uint32_t depth = table_depth(root);
        uint64_t *words = depth ? dict_table_place(lane->arena, line, 0) : &root;

        for (uint64_t i = 0; words && i < 1ULL << depth; i++) {
                struct segment_shm *segment = words[i] ? segment_at(lane->arena, words[i]) : NULL;

                for (uint32_t slot = 0; segment && slot < table_groups(words[i]) * DICT_GROUP; slot++)
                        if (segment->slots[slot] > SLOT_GONE) {
                                *ret_entry = dict_entry_at(lane->arena, segment->slots[slot]);
                                if (*ret_entry)
                                        return OBJD_OK;
                        }
        }
        return dict_damaged("it counts entries that it does not have");
}

/* ---- Values ------------------------------------------------------------------------------------------- */

/* Where a value that is to be stored stands: in the entry, or in a chunk that is filled already. */
struct stored {
        const objd_value *value;
        uint64_t size;
        uint64_t chunk; /* 0: inline */
        bool again;     /* an entry that the dict has had before; it keeps its sequence */
        uint64_t sequence;
};

static objd_status store_value(struct lane *lane, struct object_shm *object, const objd_value *value,
                               struct stored *ret)
{
        struct chunk_shm *chunk;
        objd_status r;

        *ret = (struct stored){ .value = value, .size = value_encoded_size(value) };
        if (ret->size <= VALUE_INLINE_MAX)
                return OBJD_OK;
        r = txn_take(lane, object, VALUE_CHUNK_DATA - CHUNK_HEAD + round8(ret->size), &chunk);
        if (r)
                return r;
        chunk_make_pinnable(chunk);
        value_encode_shared(value, (uint8_t *)chunk + VALUE_CHUNK_DATA);
        ret->chunk = arena_off(lane->arena, chunk);
        return OBJD_OK;
}

static uint64_t make_head(const struct key *key, const struct stored *stored)
{
        return (uint64_t)key->type | (uint64_t)key->size << 4 | (uint64_t)stored->value->type << 16 |
               (uint64_t)(stored->chunk != 0) << 20 | stored->size << 24;
}

/* Frees the chunk of an entry's big value, if it has one, when the operation commits. */
static objd_status free_value(struct lane *lane, struct entry_shm *entry)
{
        struct chunk_shm *chunk;

        if (!entry_is_big(entry->head))
                return OBJD_OK;
        chunk = arena_at(lane->arena, *entry_value(entry, entry->head), CHUNK_HEAD);
        return chunk ? txn_free(lane, chunk) : dict_damaged("a big value lies outside the arena");
}

objd_status dict_value_out(struct lane *lane, struct entry_shm *entry, size_t at, objd_value *ret_value,
                           objd_buf *buf)
{
        uint64_t head = entry->head, size = entry_value_size(head);
        const void *from = entry_value(entry, head);
        objd_status r = buf_grow(buf, at + size);

        if (r)
                return r;
        if (entry_is_big(head)) {
                from = arena_at(lane->arena, *entry_value(entry, head) + VALUE_CHUNK_DATA, round8(size));
                if (!from)
                        return dict_damaged("a big value lies outside the arena");
        }
        words_out((uint8_t *)buf->data + at, from, size);
        return value_decode(entry_value_type(head), (uint8_t *)buf->data + at, size, ret_value);
}

/* ---- The operations ----------------------------------------------------------------------------------- */

/* Overwrites in place if the new value takes the same room. Returns whether it did. */
static bool replace_in_place(struct lane *lane, struct entry_shm *entry, const struct key *key,
                             const struct stored *stored)
{
        uint64_t head = make_head(key, stored), size = entry_inline_size(head);

        if (entry_is_big(head) || entry_is_big(entry->head) || size != entry_inline_size(entry->head))
                return false;
        txn_note(lane, entry_value(entry, head), size);
        if (!lane->starved)
                value_encode_shared(stored->value, entry_value(entry, head));
        if (entry->head != head)
                txn_set(lane, &entry->head, head);
        return true;
}

/* Keys in the dict whose hash looks the same as the one of this key, which is not there; as far as a search for it gets. */
static uint32_t count_same(const struct segment_shm *segment, uint32_t groups, uint64_t hash)
{
        uint32_t group = hash_group(hash, groups), n = 0;

        for (uint32_t turn = 0; turn < groups; turn++) {
                const uint64_t *slots = &segment->slots[(size_t)group * DICT_GROUP];
                bool empty = false;

                for (uint32_t i = 0; i < DICT_GROUP; i++) {
                        empty |= !slots[i];
                        n += slots[i] >> 37 == hash_tag(hash) && slots[i] > SLOT_GONE;
                }
                if (empty)
                        break;
                group = group + 1 == groups ? 0 : group + 1;
        }
        return n;
}

/* Writes a new entry where nobody looks yet; the caller stores the slot. */
static void fill_entry(struct lane *lane, struct entry_shm *entry, const struct key *key,
                       const struct stored *stored, uint64_t sequence)
{
        uint64_t head = make_head(key, stored);

        (void)lane;
        word_set(&entry->head, head);
        word_set(&entry->sequence, sequence);
        for (uint32_t at = 0; at < key->size; at += 8)
                word_set(&entry->data[at / 8], key_word(key, at));
        if (stored->chunk)
                word_set(entry_value(entry, head), stored->chunk);
        else
                value_encode_shared(stored->value, entry_value(entry, head));
}

/* The old entry becomes a gap. */
static objd_status leave_gap(struct lane *lane, struct entry_shm *old, struct segment_numbers *n)
{
        uint64_t size = entry_size(old->head);

        n->live--;
        n->live_bytes -= (uint32_t)size;
        n->dead_bytes += (uint32_t)size;
        return free_value(lane, old);
}

/* Counts one more entry, and gives it its number in the order of inserts. */
static uint64_t count_in(struct lane *lane, struct object_shm *object, struct line_shm *line,
                         const struct stored *stored)
{
        txn_set(lane, &line->root[1], line->root[1] + 1);
        return stored->again ? stored->sequence : __atomic_fetch_add(&object->sequence, 1, __ATOMIC_RELAXED);
}

/* Appends an entry, for which there is room, and sets the slot: the old entry's, which then is a gap, or a free one. */
static objd_status append_here(struct lane *lane, struct object_shm *object, struct line_shm *line,
                               const struct key *key, const struct stored *stored,
                               struct segment_shm *segment, uint64_t *slot)
{
        struct segment_numbers n = segment_numbers(segment);
        struct entry_shm *entry, *old = slot ? dict_entry_at(lane->arena, *slot) : NULL;
        struct chunk_shm *extent;
        uint64_t sequence;
        objd_status r = dict_append_place(lane, object, &n, segment->extent,
                                          entry_size(make_head(key, stored)), &extent, &entry);

        if (r)
                return r;
        if (old) {
                sequence = old->sequence;
                r = leave_gap(lane, old, &n);
                if (r)
                        return r;
        } else {
                slot = dict_free_slot(segment, n.groups, key->hash);
                if (!slot)
                        return dict_damaged("a segment has more entries than it says");
                n.used += !*slot;
                sequence = count_in(lane, object, line, stored);
        }
        fill_entry(lane, entry, key, stored, sequence);
        if (segment->extent != arena_off(lane->arena, extent))
                txn_set(lane, &segment->extent, arena_off(lane->arena, extent));
        set_numbers(lane, segment, &n);
        txn_set(lane, slot, slot_make(key->hash, arena_off(lane->arena, entry)));
        return OBJD_OK;
}

/* Stores an entry in the key's segment. ret_done is false if there was no room; room has been made then. */
static objd_status append(struct lane *lane, struct object_shm *object, const struct key *key,
                          const struct stored *stored, bool *ret_done)
{
        struct line_shm *line = dict_guard(lane->arena, object, key->hash);
        uint64_t size = entry_size(make_head(key, stored)), *place, *slot;
        struct segment_shm *segment;
        struct segment_numbers n;
        objd_status r = find(lane, line, key, &place, &segment, &slot);

        *ret_done = false;
        if (r)
                return r;
        if (!segment)
                return dict_first_segment(lane, object, place, size, table_depth(line->root[0]));
        n = segment_numbers(segment);
        if (!slot && !key->keyed && count_same(segment, n.groups, key->hash) > DICT_SAME_MAX)
                return OP_REHASH;
        if ((!slot && n.used >= segment_slots_max(n.groups)) || dict_wants_room(&n, size))
                return dict_make_room(lane, object, line, key->hash, segment, size);
        *ret_done = true;
        return append_here(lane, object, line, key, stored, segment, slot);
}

/* Each turn but the last makes room: a first segment, a directory, a split that may be uneven. */
static objd_status append_somehow(struct lane *lane, struct object_shm *object, const struct key *key,
                                  const struct stored *stored)
{
        bool done = false;
        objd_status r = OBJD_OK;

        for (uint32_t turn = 0; !done && r == OBJD_OK; turn++) {
                if (turn > DICT_DEPTH_MAX + 8)
                        return dict_too_deep(object);
                r = txn_reserve(lane, 256, 24);
                if (r == OBJD_OK)
                        r = append(lane, object, key, stored, &done);
        }
        return r;
}

objd_status dict_put(struct lane *lane, struct object_shm *object, const struct key *key,
                     const objd_value *value)
{
        struct line_shm *line = dict_guard(lane->arena, object, key->hash);
        struct entry_shm *entry;
        struct stored stored;
        objd_status r = txn_reserve(lane, VALUE_INLINE_MAX + 128, 24);

        if (r == OBJD_OK)
                r = store_value(lane, object, value, &stored);
        if (r == OBJD_OK)
                r = dict_find(lane, line, key, &entry);
        if (r)
                return r;
        if (entry && replace_in_place(lane, entry, key, &stored))
                return OBJD_OK;
        return append_somehow(lane, object, key, &stored);
}

objd_status dict_put_again(struct lane *lane, struct object_shm *object, const struct entry_shm *entry)
{
        uint64_t head = entry->head, *value = entry_value((struct entry_shm *)entry, head);
        struct key key = { .data = (const uint8_t *)entry->data,
                           .size = entry_key_size(head),
                           .type = entry_key_type(head) };
        objd_value decoded = { .type = entry_value_type(head) };
        struct stored stored = { .value = &decoded,
                                 .size = entry_value_size(head),
                                 .chunk = entry_is_big(head) ? *value : 0,
                                 .again = true,
                                 .sequence = entry->sequence };
        objd_status r = OBJD_OK;

        if (!stored.chunk)
                r = value_decode(decoded.type, value, stored.size, &decoded);
        if (r)
                return r;
        key.hash = key_hash(lane->arena, key.type, key.data, key.size);
        dict_hash_key(lane->arena, object, &key);
        return append_somehow(lane, object, &key, &stored);
}

/* Replaces an empty segment by none, or one that is mostly gaps by a smaller one. */
static objd_status shrink_segment(struct lane *lane, struct object_shm *object, struct line_shm *line,
                                  const struct key *key, struct segment_shm *segment)
{
        struct segment_numbers n = segment_numbers(segment);
        uint32_t global_depth = table_depth(line->root[0]);
        uint64_t words, *first;
        objd_status r;

        if (n.depth > global_depth)
                return dict_damaged("a segment is deeper than its directory");
        words = 1ULL << (global_depth - n.depth);
        first = dict_table_place(lane->arena, line, key->hash & ~(UINT64_MAX >> 6 >> n.depth));
        if (!first)
                return dict_damaged("its directory lies outside the arena");
        if (n.live)
                return dict_rebuild(lane, object, segment, 0, global_depth, first);
        r = txn_reserve(lane, words * 8, words);
        if (r)
                return r;
        for (uint64_t i = 0; i < words; i++)
                txn_set(lane, &first[i], 0);
        return dict_free_segment(lane, segment);
}

/* The last segment of a line is gone: its directory goes too. */
static objd_status drop_directory(struct lane *lane, struct line_shm *line)
{
        uint64_t root = line->root[0], *words;
        uint32_t depth = table_depth(root);

        if (line->root[1] || !depth)
                return OBJD_OK;
        words = depth <= DICT_DEPTH_MAX ? arena_at(lane->arena, table_off(root) + CHUNK_HEAD, 8ULL << depth)
                                        : NULL;
        if (!words)
                return dict_damaged("its directory lies outside the arena");
        for (uint64_t i = 0; i < 1ULL << depth; i++)
                if (words[i])
                        return OBJD_OK;
        txn_set(lane, &line->root[0], 0);
        return txn_free(lane, (struct chunk_shm *)((uint8_t *)words - CHUNK_HEAD));
}

/* Gives the memory of gaps back. A full arena is no reason to fail: the deletion itself needs no memory. */
static objd_status shrink(struct lane *lane, struct object_shm *object, struct line_shm *line,
                          const struct key *key, struct segment_shm *segment)
{
        struct segment_numbers n = segment_numbers(segment);
        objd_status r = OBJD_OK;

        if (!n.live || segment_wants_shrinking(n.live_bytes, n.dead_bytes))
                r = shrink_segment(lane, object, line, key, segment);
        if (r == OBJD_OK)
                r = drop_directory(lane, line);
        return r == OBJD_E_NOMEM ? OBJD_OK : r;
}

objd_status dict_remove(struct lane *lane, struct object_shm *object, const struct key *key)
{
        struct line_shm *line = dict_guard(lane->arena, object, key->hash);
        struct segment_shm *segment;
        struct segment_numbers n;
        struct entry_shm *entry;
        uint64_t *place, *slot, size;
        bool empty;
        objd_status r = txn_reserve(lane, 128, 16);

        if (r == OBJD_OK)
                r = find(lane, line, key, &place, &segment, &slot);
        if (r)
                return r;
        entry = slot ? dict_entry_at(lane->arena, *slot) : NULL;
        if (!entry)
                return OBJD_E_NOTFOUND;
        r = free_value(lane, entry);
        if (r)
                return r;
        n = segment_numbers(segment);
        size = entry_size(entry->head);
        /* Nobody looks behind a group with an empty slot for another key. */
        empty = segment_group_has_empty(segment, slot);
        n.used -= empty;
        n.live--;
        n.live_bytes -= (uint32_t)size;
        n.dead_bytes += (uint32_t)size;
        set_numbers(lane, segment, &n);
        txn_set(lane, slot, empty ? 0 : (uint64_t)SLOT_GONE);
        txn_set(lane, &line->root[1], line->root[1] - 1);
        return shrink(lane, object, line, key, segment);
}

/* Frees the chunks of a list that are the object's, but for its name. */
static objd_status free_list(struct lane *lane, const struct object_shm *object, uint64_t off)
{
        uint64_t name = object_name_chunk(object), n_left = arena_limit(lane->arena) / pool_class_size[0];
        objd_status r = OBJD_OK;

        for (; off && r == OBJD_OK; n_left--) {
                struct chunk_shm *chunk = arena_at(lane->arena, off, CHUNK_HEAD);

                if (!chunk || !n_left)
                        return dict_damaged("its list of chunks leads astray");
                off = chunk->next;
                if (chunk->owner == arena_off(lane->arena, object) && arena_off(lane->arena, chunk) != name)
                        r = txn_free(lane, chunk);
        }
        return r;
}

objd_status dict_drop_shards(struct lane *lane, struct line_shm *shards)
{
        objd_status r = txn_reserve(lane, DICT_SHARDS * 8, DICT_SHARDS);

        if (r)
                return r;
        for (uint32_t i = 0; i < DICT_SHARDS; i++)
                txn_set(lane, &shards[i].serial, 0);
        return txn_free_group(lane, shards);
}

/* Everything that the object has is the dict's, also what this very operation has taken for it so far. */
objd_status dict_clear_all(struct lane *lane, struct object_shm *object)
{
        struct line_shm *shards = dict_shards(lane->arena, object);
        objd_status r = txn_reserve(lane, 2 * 8, 2);

        if (r == OBJD_OK && !dict_owns_shards(lane->arena, object))
                r = dict_damaged("its shards are not where it says");
        if (r == OBJD_OK)
                r = free_list(lane, object, object->chunks);
        if (r == OBJD_OK)
                r = free_list(lane, object, lane->shm->taken);
        if (r)
                return r;
        txn_set(lane, &object->line.root[0], 0);
        txn_set(lane, &object->line.root[1], 0);
        return shards ? dict_drop_shards(lane, shards) : OBJD_OK;
}
