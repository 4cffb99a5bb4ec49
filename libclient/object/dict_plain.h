/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dict_plain.h -- the short way of a get, a set and a delete
 *
 * What is plain: nobody writes to the line that guards the key, the value is small and stands in its entry; a set finds
 * an entry whose value takes the same room, or room for a new entry in the segment; a delete leaves a segment that is
 * still worth its memory. See plain.h. The rules for what may be followed without a lock are those of dict_view.h.
 */

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

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
        uint8_t *base; /* the arena's; kept, since the compiler may not assume that stores leave it alone */
        struct line_shm *line;
        uint64_t
                version; /* the line's whole word, with nobody there: who waits and who freezes is not plain */
        bool locked;     /* a constant to the compiler */
};

PLAIN bool plain_holds(const struct line_shm *line, uint64_t version)
{
        fence_acquire();
        return __builtin_expect(word_get(&line->word) == version, 1);
}

PLAIN bool plain_valid(const struct plain_view *view)
{
        return view->locked || plain_holds(view->line, view->version);
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
 * The shards of a large dict stay where they are until its own line is written to, which happens when it is cleared.
 * So a handle remembers where they were, and under which version of that line. cache[0] is both in one word, the 29 bits
 * of the place and the last 35 of the version: two words could be left by two threads of which one was late. 0 stands
 * for a dict without shards. What is remembered is used only if, once the shard's own version has been loaded, or the
 * shard has been locked, the object's line still has that version, and nobody is there.
 */
#define SHARDS_VERSION_BITS 35

static_assert(ARENA_SIZE_MAX * 2 / (DICT_SHARDS * LINE_SIZE) <= 1ULL << (64 - SHARDS_VERSION_BITS),
              "the places fit");

static __attribute__((noinline)) void plain_remember_shards(const struct arena *arena,
                                                            struct objd_object *dict)
{
        struct line_shm *line = &dict->shm->line;
        uint64_t word = word_get_acquire(&line->word), root = word_get(&line->root[0]),
                 off = root & ~DICT_SHARDED, cache = 0;

        if ((word & ~LOCK_VERSION_MASK) || word_get(&line->serial) != dict->serial ||
            word_get(&line->config) != dict->config || !plain_holds(line, word))
                return;
        if (off != root && plain_inside(arena, off) && off % (DICT_SHARDS * LINE_SIZE) == 0)
                cache = off / (DICT_SHARDS * LINE_SIZE) << SHARDS_VERSION_BITS |
                        (word >> LOCK_VERSION_SHIFT & ((1ULL << SHARDS_VERSION_BITS) - 1));
        if (word_get(&dict->cache[0]) != cache)
                word_set(&dict->cache[0], cache);
}

/* The line that guards the hash, by what the handle remembers; for certain once plain_is_guard() has said so. */
PLAIN struct line_shm *plain_guard(const struct plain_view *view, struct objd_object *dict, uint64_t hash,
                                   uint64_t *ret_cache)
{
        *ret_cache = word_get(&dict->cache[0]);
        if (__builtin_expect(!*ret_cache, 0))
                return &dict->shm->line;
        return (struct line_shm *)(void *)(view->base +
                                           (*ret_cache >> SHARDS_VERSION_BITS) * (DICT_SHARDS * LINE_SIZE)) +
               hash_shard(hash);
}

/* Whether the line, whose version has been loaded or whose lock is held, is the one that guards the dict's hashes. */
PLAIN bool plain_is_guard(const struct objd_object *dict, uint64_t cache)
{
        const struct line_shm *line = &dict->shm->line;

        if (__builtin_expect(cache != 0, 1)) {
                fence_acquire();
                return __builtin_expect(word_get(&line->word)
                                                        << (64 - SHARDS_VERSION_BITS - LOCK_VERSION_SHIFT) ==
                                                cache << (64 - SHARDS_VERSION_BITS),
                                        1);
        }
        return word_get(&line->serial) == dict->serial && word_get(&line->config) == dict->config &&
               !(word_get(&line->root[0]) & DICT_SHARDED);
}

PLAIN struct segment_shm *plain_segment(const struct plain_view *view, uint64_t hash, uint32_t *ret_groups)
{
        uint64_t word = word_get(&view->line->root[0]), off;
        uint32_t depth = table_depth(word);

        if (depth) {
                off = table_off(word) + CHUNK_HEAD + hash_index(hash, depth) * 8;
                if (!plain_inside(view->arena, off) || !plain_valid(view))
                        return NULL;
                word = word_get((const uint64_t *)(void *)(view->base + off));
        }
        off = table_off(word) + CHUNK_HEAD;
        *ret_groups = table_groups(word);
        if (__builtin_expect(*ret_groups - 1 >= DICT_GROUPS_MAX, 0) || !plain_inside(view->arena, off) ||
            !plain_valid(view))
                return NULL;
        return (struct segment_shm *)(void *)(view->base + off);
}

/* What a search has found: the key's slot and its entry; or that there is none; or neither, and it is not plain. */
struct plain_place {
        uint64_t *slot; /* the key's; if it is absent, the first of its group */
        struct entry_shm *entry;
        uint64_t *value; /* by the key's size: the processor need not wait for the head to fetch it */
        uint64_t head;
        bool absent; /* the key is not there */
};

static __attribute__((noinline, unused)) bool plain_rest_matches(const uint64_t *words, const uint8_t *data,
                                                                 size_t size)
{
        for (; size >= 8; size -= 8, data += 8)
                if (word_get(words++) != plain_word(data))
                        return false;
        return !size || word_get(words) == plain_last(data, size);
}

PLAIN bool plain_key_matches(const uint64_t *words, const struct key *key)
{
        const uint8_t *data = key->data;

        if (__builtin_expect(key->size != 16, 0))
                return plain_rest_matches(words, data, key->size);
        return !((word_get(words) ^ plain_word(data)) | (word_get(words + 1) ^ plain_word(data + 8)));
}

/* Whether a slot with the key's tag is the key's; if something is odd, it is not. */
PLAIN bool plain_is_key(const struct plain_view *view, const struct key *key, uint64_t slot,
                        struct plain_place *place)
{
        uint64_t off = slot_off_of(slot);
        struct entry_shm *entry = (struct entry_shm *)(void *)(view->base + off);

        if (__builtin_expect(slot <= SLOT_GONE, 0) || !plain_inside(view->arena, off) || !plain_valid(view))
                return false;
        place->head = word_get(&entry->head);
        place->entry = entry;
        place->value = entry->data + round8(key->size) / 8;
        return (place->head & 0xffff) == (key->type | key->size << 4) && plain_key_matches(entry->data, key);
}

/*
 * The slots of a group that have the tag: bit 2i is slot i. All eight are looked at without a branch, since which of
 * them it is nobody can foretell, and a branch that is foretold wrongly waits for the slots to come from memory. x86
 * compares two at a time, loaded as in pair_copy_out(). An empty slot may be among them, if the tag is 0.
 */
PLAIN uint32_t plain_tag_mask(const uint64_t *slots, uint64_t tag)
{
#if defined(__SSE2__) && !defined(UNDER_THREAD_SANITIZER)
        const volatile __m128i_u *pairs = (const volatile __m128i_u *)(const void *)slots;
        const __m128i tags = _mm_set1_epi32((int)tag);
        __m128i a = _mm_cmpeq_epi32(_mm_srli_epi64(pairs[0], 37), tags);
        __m128i b = _mm_cmpeq_epi32(_mm_srli_epi64(pairs[1], 37), tags);
        __m128i c = _mm_cmpeq_epi32(_mm_srli_epi64(pairs[2], 37), tags);
        __m128i d = _mm_cmpeq_epi32(_mm_srli_epi64(pairs[3], 37), tags);

        return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d))) &
               0x5555;
#else
        uint32_t mask = 0;

        for (uint32_t i = 0; i < DICT_GROUP; i++)
                mask |= (uint32_t)(word_get(&slots[i]) >> 37 == tag) << 2 * i;
        return mask;
#endif
}

PLAIN bool plain_has_empty(const uint64_t *slots)
{
        bool empty = false;

        for (uint32_t i = 0; i < DICT_GROUP; i++)
                empty |= !word_get(&slots[i]);
        return empty;
}

/*
 * Looks in the one group where nearly all keys are, and there at the first slot with the key's tag: that another one has
 * the same happens once in millions. Whether it has found the key; if not, place tells whether it is absent for
 * certain, and its slot is the group's first.
 */
PLAIN bool plain_find(const struct plain_view *view, struct segment_shm *segment, uint32_t groups,
                      const struct key *key, struct plain_place *place)
{
        uint64_t *slots = &segment->slots[(size_t)hash_group(key->hash, groups) * DICT_GROUP];
        uint32_t mask = plain_tag_mask(slots, hash_tag(key->hash));

        place->slot = slots;
        if (__builtin_expect(!mask, 0)) {
                place->absent = plain_has_empty(slots);
                return false;
        }
        place->slot += (uint32_t)__builtin_ctz(mask) / 2;
        place->absent = false;
        return __builtin_expect(plain_is_key(view, key, word_get(place->slot), place), 1);
}

/* ---- Get ---------------------------------------------------------------------------------------------- */

/* The lane has been entered. Copies the value to buf; false: not plain (also if the key is not there). */
PLAIN bool dict_get_plain(struct lane *lane, struct objd_object *dict, const struct key *key, objd_buf *buf,
                          uint64_t *ret_head)
{
        struct plain_view view = { .arena = lane->arena, .base = lane->arena->base };
        struct plain_place place;
        struct segment_shm *segment;
        uint64_t cache, size;
        uint32_t groups;

        view.line = plain_guard(&view, dict, key->hash, &cache);
        view.version = word_get_acquire(&view.line->word);
        if (__builtin_expect((view.version & ~LOCK_VERSION_MASK) || !plain_is_guard(dict, cache), 0))
                return false;
        segment = plain_segment(&view, key->hash, &groups);
        if (!segment || !plain_find(&view, segment, groups, key, &place))
                return false;
        size = entry_value_size(place.head);
        if (__builtin_expect(entry_is_big(place.head) || !plain_may_copy(view.arena, place.value, size, buf),
                             0))
                return false;
        plain_copy_out(buf->data, place.value, size);
        if (!plain_valid(&view))
                return false;
        word_add_own_release(&lane->shm->n_reads, 1);
        *ret_head = place.head;
        return true;
}

/* ---- Set, delete --------------------------------------------------------------------------------------- */

/* Locks the line that guards the key and finds the key's segment. @return NULL: not plain, and nothing is locked */
PLAIN struct segment_shm *plain_lock(struct lane *lane, struct objd_object *dict, uint64_t hash,
                                     struct plain_view *ret_view, uint32_t *ret_groups)
{
        struct segment_shm *segment = NULL;
        uint64_t cache;

        *ret_view = (struct plain_view){ .arena = lane->arena, .base = lane->arena->base, .locked = true };
        ret_view->line = plain_guard(ret_view, dict, hash, &cache);
        if (__builtin_expect(!txn_lock_one(lane, ret_view->line), 0))
                return NULL;
        if (__builtin_expect(plain_is_guard(dict, cache), 1))
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
        struct entry_shm *entry = arena_at(lane->arena, off, size);

        if ((uint16_t)(shape >> 32) >= segment_slots_max((uint16_t)shape) ||
            (uint32_t)fill + size > fill >> 32 || !entry)
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
        head = key->type | (uint64_t)key->size << 4 | (uint64_t)value->type << 16 | size << 24;
        if (plain_find(&view, segment, groups, key, &place))
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
        bool empty, found;

        segment = plain_lock(lane, dict, key->hash, &view, &groups);
        if (!segment)
                return NOT_PLAIN;
        found = plain_find(&view, segment, groups, key, &place);
        shape = segment->shape;
        size = found ? entry_size(place.head) : 0;
        bytes = segment->bytes - size + (size << 32);
        if (__builtin_expect(!found || entry_is_big(place.head) || shape >> 48 <= 1 ||
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
