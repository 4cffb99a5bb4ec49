/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dict_plain.h -- the short way of a get, a set and a delete
 *
 * What is plain: nobody writes to the line that guards the key, the value is small and stands in its entry; a set finds
 * an entry whose value takes the same room, or room for a new entry in the segment; a delete leaves a segment that is
 * still worth its memory. See plain.h. The rules for what may be followed without a lock are those of dict_read.c.
 */

#include "object/dict.h"
#include "object/dict_hash.h"
#include "object/plain.h"

/*
 * What the short way asks before it follows an offset: that what it leads to lies in the mapping. That an offset leads to
 * what it should is a matter of versions (without a lock) or of an arena that is not damaged, and then only the general
 * form, which asks for more, has to say so. Nothing that is followed here is longer than a block. Offsets are made so that
 * they are multiples of 8.
 */
PLAIN bool plain_inside(const struct arena *arena, uint64_t off)
{
        return __builtin_expect(off < arena->plain_end, 1);
}

/* The line that guards a hash, under its lock or a version of it. */
struct plain_view {
        const struct arena *arena;
        struct line_shm *line;
        uint64_t version;
        bool locked; /* a constant to the compiler */
};

PLAIN bool plain_valid(const struct plain_view *view)
{
        return view->locked || __builtin_expect(lock_read_valid(view->line, view->version), 1);
}

/* What key_make() does, for keys that need no look at their bytes; that a new one is UTF-8 is asked when it is stored. */
PLAIN bool plain_key(const struct arena *arena, uint64_t config, const objd_value *value, struct key *ret_key)
{
        objd_type declared = object_key_type(config), type = value->type;

        if (__builtin_expect(declared != type && declared != OBJD_ANY, 0))
                return false;
        if (__builtin_expect(type == OBJD_BYTES || type == OBJD_STR, 1)) {
                if (__builtin_expect(value->size > OBJD_KEY_MAX || !value->data, 0))
                        return false;
                ret_key->data = value->data;
                ret_key->size = (uint32_t)value->size;
        } else if (type == OBJD_INT) {
                ret_key->data = (const uint8_t *)&value->u.integer;
                ret_key->size = 8;
        } else {
                return false;
        }
        ret_key->type = type;
        ret_key->keyed = false;
        ret_key->hash = key_hash(arena, type, ret_key->data, ret_key->size);
        return true;
}

/*
 * The shards of a large dict stay where they are until its own line is written to, which happens when it is cleared. So a
 * handle remembers where they were under which version of that line: cache[0] is the version + 1, cache[1] the place.
 * The place is written first and read last, so that it is never older than the version that it is used with; and it is
 * used only if, once the shard's own version has been loaded, the object's line still has that version.
 */
static __attribute__((noinline)) bool plain_find_shards(const struct arena *arena, struct objd_object *dict)
{
        struct line_shm *line = &dict->shm->line;
        uint64_t version = lock_read_begin(line), root = word_get(&line->root[0]), off = root & ~DICT_SHARDED;

        if (off == root || !plain_inside(arena, off) || off % LINE_SIZE ||
            word_get(&line->serial) != dict->serial || word_get(&line->config) != dict->config ||
            !lock_version_is_stable(version) || !lock_read_valid(line, version))
                return false;
        word_set_release(&dict->cache[1], off);
        word_set_release(&dict->cache[0], version + 1);
        return true;
}

/* The line that guards the hash. It is known for certain once plain_is_guard() has said so. */
PLAIN struct line_shm *plain_guard(const struct arena *arena, struct objd_object *dict, uint64_t hash,
                                   uint64_t *ret_outer)
{
        struct line_shm *line = &dict->shm->line;

        *ret_outer = word_get_acquire(&dict->cache[0]) - 1;
        if (__builtin_expect((word_get(&line->word) & LOCK_READ_MASK) != *ret_outer, 0)) {
                if (!(word_get(&line->root[0]) & DICT_SHARDED) || !plain_find_shards(arena, dict))
                        return line;
                *ret_outer = word_get_acquire(&dict->cache[0]) - 1;
        }
        return (struct line_shm *)(void *)(arena->base + word_get_acquire(&dict->cache[1])) +
               hash_shard(hash);
}

/* Whether the line, whose version has been loaded or whose lock is held, is the one that guards the dict's hashes. */
PLAIN bool plain_is_guard(const struct objd_object *dict, const struct line_shm *guard, uint64_t outer)
{
        const struct line_shm *line = &dict->shm->line;

        if (__builtin_expect(guard != line, 1))
                return lock_read_valid(line, outer);
        return word_get(&line->serial) == dict->serial && word_get(&line->config) == dict->config &&
               !(word_get(&line->root[0]) & DICT_SHARDED);
}

PLAIN struct segment_shm *plain_segment(const struct plain_view *view, uint64_t hash, uint32_t *ret_groups)
{
        const struct arena *arena = view->arena;
        uint64_t word = word_get(&view->line->root[0]), off;
        uint32_t depth = table_depth(word);

        if (depth) {
                off = table_off(word) + CHUNK_HEAD + hash_index(hash, depth) * 8;
                if (!plain_inside(arena, off) || !plain_valid(view))
                        return NULL;
                word = word_get((const uint64_t *)(void *)(arena->base + off));
        }
        off = table_off(word) + CHUNK_HEAD;
        *ret_groups = table_groups(word);
        if (__builtin_expect(*ret_groups - 1 >= DICT_GROUPS_MAX, 0) || !plain_inside(arena, off) ||
            !plain_valid(view))
                return NULL;
        return (struct segment_shm *)(void *)(arena->base + off);
}

/* What a search has found: the key's slot and its entry; or that there is none; or neither, and it is not plain. */
struct plain_place {
        uint64_t *slot; /* of the key; of the group, if it is absent */
        struct entry_shm *entry;
        uint64_t *value; /* by the key's size: the processor need not wait for the head to fetch it */
        uint64_t head;
        bool absent; /* the key is not there */
};

PLAIN bool plain_key_matches(const uint64_t *words, const struct key *key)
{
        const uint8_t *data = key->data, *end = data + key->size;

        for (; end - data >= 16; data += 16, words += 2)
                if ((word_get(words) ^ plain_word(data)) | (word_get(words + 1) ^ plain_word(data + 8)))
                        return false;
        if (end - data >= 8) {
                if (word_get(words++) != plain_word(data))
                        return false;
                data += 8;
        }
        return data == end || word_get(words) == plain_last(data, (size_t)(end - data));
}

/* An entry with the key's tag; whether it is the key's, or something is odd (place->entry is NULL then). */
PLAIN bool plain_is_key(const struct plain_view *view, const struct key *key, uint64_t slot,
                        struct plain_place *place)
{
        uint64_t off = slot_off_of(slot);
        struct entry_shm *entry = (struct entry_shm *)(void *)(view->arena->base + off);

        place->entry = NULL;
        if (!plain_inside(view->arena, off) || !plain_valid(view))
                return true;
        place->head = word_get(&entry->head);
        if ((place->head & 0xffff) != (key->type | key->size << 4) || !plain_key_matches(entry->data, key))
                return false;
        place->entry = entry;
        place->value = entry->data + round8(key->size) / 8;
        return true;
}

/* Looks in the one group where nearly all keys are; a key that has been pushed on to the next is not plain. */
PLAIN void plain_find(const struct plain_view *view, struct segment_shm *segment, uint32_t groups,
                      const struct key *key, struct plain_place *place)
{
        uint64_t *slots = &segment->slots[(size_t)hash_group(key->hash, groups) * DICT_GROUP];
        uint32_t at = hash_first(key->hash);
        uint64_t tag = hash_tag(key->hash);
        bool empty = false;

        for (uint32_t i = 0; i < DICT_GROUP; i++, at = (at + 1) % DICT_GROUP) {
                uint64_t word = word_get(&slots[at]);

                if (word >> 37 == tag && word > SLOT_GONE && plain_is_key(view, key, word, place)) {
                        place->slot = &slots[at];
                        place->absent = false;
                        return;
                }
                empty |= !word;
        }
        place->entry = NULL;
        place->absent = empty;
        place->slot = slots;
}

/* ---- Get ---------------------------------------------------------------------------------------------- */

/* The lane has been entered. @return OBJD_OK, NOT_PLAIN (also if the key is not there), OBJD_E_CORRUPT */
PLAIN objd_status dict_get_plain(struct lane *lane, struct objd_object *dict, const struct key *key,
                                 objd_value *ret_value, objd_buf *buf)
{
        struct plain_view view = { .arena = lane->arena };
        struct plain_place place;
        struct segment_shm *segment;
        uint64_t outer, size;
        uint32_t groups;

        view.line = plain_guard(view.arena, dict, key->hash, &outer);
        view.version = lock_read_begin(view.line);
        if (__builtin_expect(!lock_version_is_stable(view.version) || !plain_is_guard(dict, view.line, outer),
                             0))
                return NOT_PLAIN;
        segment = plain_segment(&view, key->hash, &groups);
        if (!segment)
                return NOT_PLAIN;
        plain_find(&view, segment, groups, key, &place);
        if (__builtin_expect(!place.entry, 0))
                return NOT_PLAIN;
        size = entry_value_size(place.head);
        if (__builtin_expect(entry_is_big(place.head) || !plain_may_copy(view.arena, place.value, size, buf),
                             0))
                return NOT_PLAIN;
        plain_copy_out(buf->data, place.value, size);
        if (!plain_valid(&view))
                return NOT_PLAIN;
        word_set(&lane->shm->n_reads, lane->shm->n_reads + 1);
        return plain_decode(entry_value_type(place.head), buf->data, size, ret_value);
}

/* ---- Set, delete --------------------------------------------------------------------------------------- */

/* Locks the line that guards the key and finds the key's segment. @return NULL: not plain, and nothing is locked */
PLAIN struct segment_shm *plain_lock(struct lane *lane, struct objd_object *dict, uint64_t hash,
                                     struct plain_view *ret_view, uint32_t *ret_groups)
{
        const struct arena *arena = lane->arena;
        struct segment_shm *segment = NULL;
        uint64_t outer;

        *ret_view = (struct plain_view){ .arena = arena, .locked = true };
        ret_view->line = plain_guard(arena, dict, hash, &outer);
        if (__builtin_expect(!txn_lock_one(lane, ret_view->line), 0))
                return NULL;
        if (__builtin_expect(plain_is_guard(dict, ret_view->line, outer), 1))
                segment = plain_segment(ret_view, hash, ret_groups);
        if (__builtin_expect(!segment, 0))
                txn_unlock_one(lane, ret_view->line);
        return segment;
}

PLAIN void plain_store(const objd_value *value, uint64_t *to)
{
        if (value->type == OBJD_BYTES || value->type == OBJD_STR)
                plain_bytes_in(to, value->data, value->size);
        else
                value_encode_shared(value, to);
}

/* The old value's words are noted, and the new one is written over them. */
PLAIN bool plain_replace(struct lane *lane, const struct plain_place *place, uint64_t head,
                         const objd_value *value)
{
        uint64_t words = round8(entry_value_size(head)) / 8, *to = place->value, at;

        if (__builtin_expect(entry_is_big(place->head) || words != round8(entry_value_size(place->head)) / 8,
                             0))
                return false;
        txn_begin(lane, OP_DICT_SET);
        at = plain_note(lane->shm, lane->arena->base, 0, to, words);
        if (__builtin_expect(head != place->head, 0)) {
                plain_note(lane->shm, lane->arena->base, at, &place->entry->head, 1);
                word_set(&place->entry->head, head);
        }
        plain_store(value, to);
        return true;
}

/* A slot of the group for a new entry: there is one, for the group has one that was never used. */
PLAIN uint64_t *plain_free_slot(uint64_t *slots, uint64_t hash)
{
        uint32_t at = hash_first(hash);

        for (uint32_t i = 0; i < DICT_GROUP && slots[at] > SLOT_GONE; i++)
                at = (at + 1) % DICT_GROUP;
        return &slots[at];
}

/* Notes what an entry more or less changes: the segment's numbers, the slot, the line's count. */
PLAIN void plain_note_change(struct lane *lane, struct plain_view *view, struct segment_shm *segment,
                             uint64_t *slot)
{
        uint8_t *base = lane->arena->base;
        uint64_t at = plain_note(lane->shm, base, 0, &segment->shape, 4);

        at = plain_note(lane->shm, base, at, slot, 1);
        plain_note(lane->shm, base, at, &view->line->root[1], 1);
}

static_assert(offsetof(struct segment_shm, bytes) == offsetof(struct segment_shm, shape) + 24,
              "noted at once");
static_assert(VALUE_INLINE_MAX + 128 <= LANE_LOG, "the notes of a plain operation fit the lane's own log");

/* A new entry, where the last one in the segment ends, if there is room for it. */
PLAIN bool plain_insert(struct lane *lane, struct objd_object *dict, struct plain_view *view,
                        struct segment_shm *segment, uint64_t *slots, const struct key *key, uint64_t head,
                        const objd_value *value)
{
        uint64_t shape = segment->shape, fill = segment->fill, size = entry_size(head), *slot;
        uint64_t off = segment->extent + (uint32_t)fill;
        struct entry_shm *entry = (struct entry_shm *)(void *)(lane->arena->base + off);

        if ((uint16_t)(shape >> 32) >= segment_slots_max((uint16_t)shape) ||
            (uint32_t)fill + size > fill >> 32 || !arena_at(lane->arena, off, size))
                return false;
        slot = plain_free_slot(slots, key->hash);
        word_set(&entry->head, head);
        word_set(&entry->sequence, __atomic_fetch_add(&dict->shm->sequence, 1, __ATOMIC_RELAXED));
        plain_bytes_in(entry->data, key->data, key->size);
        plain_store(value, entry_value(entry, head));
        txn_begin(lane, OP_DICT_SET);
        plain_note_change(lane, view, segment, slot);
        word_set(&segment->shape, shape + SEGMENT_ONE_LIVE + (*slot ? 0 : SEGMENT_ONE_USED));
        word_set(&segment->fill, fill + size);
        word_set(&segment->bytes, segment->bytes + size);
        word_set(slot, slot_make(key->hash, off));
        word_set(&view->line->root[1], view->line->root[1] + 1);
        return true;
}

/* The lane has been entered, and holds no lock. @return OBJD_OK, NOT_PLAIN */
PLAIN objd_status dict_set_plain(struct lane *lane, struct objd_object *dict, const objd_value *key_value,
                                 const struct key *key, const objd_value *value)
{
        struct plain_view view;
        struct plain_place place;
        struct segment_shm *segment;
        uint64_t size, head;
        uint32_t groups;
        bool done = false;

        size = value->type == OBJD_BYTES ? value->size : value_encoded_size(value);
        if (size > VALUE_INLINE_MAX)
                return NOT_PLAIN;
        segment = plain_lock(lane, dict, key->hash, &view, &groups);
        if (!segment)
                return NOT_PLAIN;
        plain_find(&view, segment, groups, key, &place);
        head = key->type | (uint64_t)key->size << 4 | (uint64_t)value->type << 16 | size << 24;
        if (place.entry)
                done = plain_replace(lane, &place, head, value);
        else if (place.absent && (key->type != OBJD_STR || value_check(key_value) == OBJD_OK))
                done = plain_insert(lane, dict, &view, segment, place.slot, key, head, value);
        if (__builtin_expect(!done, 0)) {
                txn_unlock_one(lane, view.line);
                return NOT_PLAIN;
        }
        txn_commit_one(lane, view.line);
        return OBJD_OK;
}

/* The lane has been entered, and holds no lock. @return OBJD_OK, NOT_PLAIN (also if the key is not there) */
PLAIN objd_status dict_del_plain(struct lane *lane, struct objd_object *dict, const struct key *key)
{
        struct plain_view view;
        struct plain_place place;
        struct segment_shm *segment;
        uint64_t shape, bytes, size;
        uint32_t groups;
        bool empty;

        segment = plain_lock(lane, dict, key->hash, &view, &groups);
        if (!segment)
                return NOT_PLAIN;
        plain_find(&view, segment, groups, key, &place);
        shape = segment->shape;
        size = place.entry ? entry_size(place.head) : 0;
        bytes = segment->bytes - size + (size << 32);
        if (__builtin_expect(!place.entry || entry_is_big(place.head) || shape >> 48 <= 1 ||
                                     segment_wants_shrinking((uint32_t)bytes, (uint32_t)(bytes >> 32)),
                             0)) {
                txn_unlock_one(lane, view.line);
                return NOT_PLAIN;
        }
        txn_begin(lane, OP_DICT_DEL);
        plain_note_change(lane, &view, segment, place.slot);
        empty = segment_group_has_empty(segment, place.slot);
        word_set(&segment->shape, shape - SEGMENT_ONE_LIVE - (empty ? SEGMENT_ONE_USED : 0));
        word_set(&segment->bytes, bytes);
        word_set(place.slot, empty ? 0 : (uint64_t)SLOT_GONE);
        word_set(&view.line->root[1], view.line->root[1] - 1);
        txn_commit_one(lane, view.line);
        return OBJD_OK;
}
