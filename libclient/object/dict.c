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
#include "object/dict_hash.h"
#include "object/value.h"

#define GROUP_SIZE (DICT_GROUP * 8)
#define SEGMENT_SMALL 8192u /* chunks up to this hold slots and entries of a segment together */
#define EXTENT_SIZE 16384u  /* chunks that entries of larger segments are appended to */
#define EXTENT_START (CHUNK_HEAD + 8)
#define FIRST_BYTES 80u /* what a first segment has room for: with it the chunk has 256 bytes */
#define SPLIT_BYTES \
        (128u << 10) /* a segment with more bytes than this is split, however few entries they are */
#define DEPTH_MAX 40u
#define DICT_SAME_MAX \
        8u /* keys with the same 27 bits of hash, in one segment: chance does not make as many */
/* A directory with so many more words than there are entries has been split in vain: their hashes are all the same. */
#define DIRECTORY_SLACK 256u

static objd_status no_key_type(const objd_value *value, objd_type declared)
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
                r = no_key_type(value, declared);
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

static uint64_t table_word(const struct arena *arena, const struct chunk_shm *chunk, uint32_t groups,
                           uint32_t depth)
{
        return (uint64_t)groups << 48 | arena_off(arena, chunk) | depth;
}

static uint64_t pack_shape(const struct segment_numbers *n)
{
        return (uint64_t)n->groups | (uint64_t)n->depth << 16 | (uint64_t)n->used << 32 |
               (uint64_t)n->live << 48;
}

static uint64_t pack_pair(uint32_t low, uint32_t high)
{
        return (uint64_t)high << 32 | low;
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
        uint64_t shape = pack_shape(n), fill = pack_pair(n->tail_used, n->tail_size);
        uint64_t bytes = pack_pair(n->live_bytes, n->dead_bytes);

        if (segment->shape != shape)
                txn_set(lane, &segment->shape, shape);
        if (segment->fill != fill)
                txn_set(lane, &segment->fill, fill);
        if (segment->bytes != bytes)
                txn_set(lane, &segment->bytes, bytes);
}

static struct chunk_shm *segment_chunk(struct segment_shm *segment)
{
        return (struct chunk_shm *)((uint8_t *)segment - CHUNK_HEAD);
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

static objd_status damaged(const char *what)
{
        return fail(OBJD_E_CORRUPT, "the dict is damaged: %s", what);
}

/* The word of the root or of the directory that leads to this hash's segment. */
static uint64_t *table_place(const struct arena *arena, struct line_shm *line, uint64_t hash)
{
        uint64_t root = line->root[0];
        uint32_t depth = table_depth(root);
        uint64_t *words;

        if (!depth)
                return &line->root[0];
        words = depth <= DEPTH_MAX ? arena_at(arena, table_off(root) + CHUNK_HEAD, 8ULL << depth) : NULL;
        return words ? &words[hash_index(hash, depth)] : NULL;
}

/* An entry by its slot, if all of it lies in the arena. */
static struct entry_shm *entry_at(const struct arena *arena, uint64_t slot)
{
        struct entry_shm *entry = arena_at(arena, slot_off_of(slot), sizeof(*entry));
        uint64_t head = entry ? word_get(&entry->head) : 0;

        return entry && entry_key_size(head) <= OBJD_KEY_MAX &&
                               (entry_is_big(head) || entry_value_size(head) <= VALUE_INLINE_MAX) &&
                               arena_has(arena, slot_off_of(slot), entry_size(head))
                       ? entry
                       : NULL;
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
                        entry = entry_at(arena, slots[i]);
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

static uint64_t *free_slot(struct segment_shm *segment, uint32_t groups, uint64_t hash)
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

static objd_status find(struct lane *lane, struct line_shm *line, const struct key *key, uint64_t **ret_place,
                        struct segment_shm **ret_segment, uint64_t **ret_slot)
{
        uint64_t *place = table_place(lane->arena, line, key->hash);

        *ret_segment = NULL;
        *ret_slot = NULL;
        if (!place)
                return damaged("its directory lies outside the arena");
        *ret_place = place;
        if (!*place)
                return OBJD_OK;
        *ret_segment = segment_at(lane->arena, *place);
        if (!*ret_segment)
                return damaged("a segment lies outside the arena");
        if (segment_numbers(*ret_segment).groups != table_groups(*place))
                return damaged("a segment is of another size than its directory says");
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
                *ret_entry = slot ? entry_at(lane->arena, *slot) : NULL;
        return r;
}

objd_status dict_some(struct lane *lane, struct line_shm *line, struct entry_shm **ret_entry)
{
        uint64_t root = line->root[0];
        uint32_t depth = table_depth(root);
        uint64_t *words = depth ? table_place(lane->arena, line, 0) : &root;

        for (uint64_t i = 0; words && i < 1ULL << depth; i++) {
                struct segment_shm *segment = words[i] ? segment_at(lane->arena, words[i]) : NULL;

                for (uint32_t slot = 0; segment && slot < table_groups(words[i]) * DICT_GROUP; slot++)
                        if (segment->slots[slot] > SLOT_GONE) {
                                *ret_entry = entry_at(lane->arena, segment->slots[slot]);
                                if (*ret_entry)
                                        return OBJD_OK;
                        }
        }
        return damaged("it counts entries that it does not have");
}

/* ---- Building segments aside -------------------------------------------------------------------------- */

/* A segment under construction; nobody else can reach it. */
struct builder {
        struct lane *lane;
        struct object_shm *object;
        struct segment_shm *segment;
        struct chunk_shm *chunk;
        struct segment_numbers n;
};

/* Room for `entries` entries of `bytes` in all, and as much again while it is small. */
static objd_status builder_begin(struct builder *b, uint32_t entries, uint64_t bytes, uint32_t depth)
{
        uint32_t groups = (entries * 5 / 3) / DICT_GROUP + 1;
        uint64_t fixed, size;
        objd_status r;

        if (groups > DICT_GROUPS_MAX / 2)
                groups = DICT_GROUPS_MAX;
        fixed = sizeof(struct segment_shm) + (uint64_t)groups * GROUP_SIZE;
        size = bytes * 3 / 2 + fixed;
        size = pool_round(size + CHUNK_HEAD > SEGMENT_SMALL ? fixed : size);
        r = txn_take(b->lane, b->object, size, &b->chunk);
        if (r)
                return r;
        b->segment = chunk_data(b->chunk);
        b->n = (struct segment_numbers){ .groups = groups, .depth = depth };
        b->n.tail_used = (uint32_t)(CHUNK_HEAD + fixed);
        b->n.tail_size = (uint32_t)(CHUNK_HEAD + chunk_size(b->chunk));
        word_set(&b->segment->extent, arena_off(b->lane->arena, b->chunk));
        for (uint32_t i = 0; i < groups * DICT_GROUP; i++)
                word_set(&b->segment->slots[i], 0);
        return OBJD_OK;
}

/* Makes room for an entry at the end of the last extent, or in a new one, and gives its place. */
static objd_status append_place(struct lane *lane, struct object_shm *object, struct segment_numbers *n,
                                uint64_t extent, uint64_t size, struct chunk_shm **ret_extent,
                                struct entry_shm **ret_entry)
{
        struct chunk_shm *chunk = arena_at(lane->arena, extent, CHUNK_HEAD);

        if (!chunk || n->tail_used > n->tail_size || (n->tail_used & 7) || n->tail_used < EXTENT_START ||
            n->tail_size > chunk_size(chunk) + CHUNK_HEAD || chunk->owner != arena_off(lane->arena, object) ||
            !arena_has(lane->arena, extent, n->tail_size))
                return damaged("an extent lies outside the arena");
        if (n->tail_size - n->tail_used < size) {
                uint64_t want = size + EXTENT_START > EXTENT_SIZE ? size + 8 : EXTENT_SIZE - CHUNK_HEAD;
                objd_status r = txn_take(lane, object, want, &chunk);

                if (r)
                        return r;
                word_set(chunk_data(chunk), extent);
                n->tail_used = EXTENT_START;
                n->tail_size = (uint32_t)(CHUNK_HEAD + chunk_size(chunk));
        }
        *ret_extent = chunk;
        *ret_entry = (struct entry_shm *)((uint8_t *)chunk + n->tail_used);
        n->tail_used += (uint32_t)size;
        n->live_bytes += (uint32_t)size;
        n->live++;
        return OBJD_OK;
}

/* Copies an entry of the same dict into the new segment. */
static objd_status builder_add(struct builder *b, const struct entry_shm *entry, uint64_t hash)
{
        uint64_t size = entry_size(entry->head);
        struct chunk_shm *extent;
        struct entry_shm *copy;
        uint64_t *slot = free_slot(b->segment, b->n.groups, hash);
        objd_status r;

        if (!slot)
                return damaged("a segment has more entries than it says");
        r = append_place(b->lane, b->object, &b->n, b->segment->extent, size, &extent, &copy);
        if (r)
                return r;
        word_set(&b->segment->extent, arena_off(b->lane->arena, extent));
        words_in(copy, entry, size);
        word_set(slot, slot_make(hash, arena_off(b->lane->arena, copy)));
        b->n.used++;
        return OBJD_OK;
}

static uint64_t builder_end(struct builder *b)
{
        word_set(&b->segment->shape, pack_shape(&b->n));
        word_set(&b->segment->fill, pack_pair(b->n.tail_used, b->n.tail_size));
        word_set(&b->segment->bytes, pack_pair(b->n.live_bytes, b->n.dead_bytes));
        return table_word(b->lane->arena, b->chunk, b->n.groups, 0);
}

objd_status dict_each_entry(struct lane *lane, const struct object_shm *object, struct segment_shm *segment,
                            uint32_t groups, dict_entry_fn fn, void *context)
{
        objd_status r = OBJD_OK;

        for (uint32_t i = 0; i < groups * DICT_GROUP && r == OBJD_OK; i++) {
                struct entry_shm *entry;

                if (segment->slots[i] <= SLOT_GONE)
                        continue;
                entry = entry_at(lane->arena, segment->slots[i]);
                if (!entry)
                        return damaged("an entry lies outside the arena");
                r = fn(context, entry,
                       dict_hash(lane->arena, object, entry_key_type(entry->head), entry->data,
                                 entry_key_size(entry->head)));
        }
        return r;
}

objd_status dict_free_segment(struct lane *lane, struct segment_shm *segment)
{
        struct chunk_shm *own = segment_chunk(segment);
        uint64_t extent = segment->extent;
        objd_status r = OBJD_OK;

        for (uint32_t i = 0; extent != arena_off(lane->arena, own) && r == OBJD_OK; i++) {
                struct chunk_shm *chunk = arena_at(lane->arena, extent, EXTENT_START);

                if (!chunk || i > UINT16_MAX)
                        return damaged("an extent lies outside the arena");
                extent = *(uint64_t *)chunk_data(chunk);
                r = txn_free(lane, chunk);
        }
        return r ? r : txn_free(lane, own);
}

/* ---- Growing ------------------------------------------------------------------------------------------ */

static objd_status add_to_builder(void *context, const struct entry_shm *entry, uint64_t hash)
{
        return builder_add(context, entry, hash);
}

/* The same entries in a new segment: larger or smaller as they need, and without gaps. */
static objd_status rebuild(struct lane *lane, struct object_shm *object, struct segment_shm *segment,
                           uint64_t need, uint32_t global_depth, uint64_t *first)
{
        struct segment_numbers n = segment_numbers(segment);
        struct builder b = { .lane = lane, .object = object };
        uint64_t word, count = 1ULL << (global_depth - n.depth);
        objd_status r = txn_reserve(lane, count * 8, count);

        if (r == OBJD_OK)
                r = builder_begin(&b, n.live + 1, n.live_bytes + need, n.depth);
        if (r == OBJD_OK)
                r = dict_each_entry(lane, object, segment, n.groups, add_to_builder, &b);
        if (r) {
                if (b.segment)
                        (void)dict_free_segment(lane, b.segment);
                return r;
        }
        word = builder_end(&b);
        for (uint64_t i = 0; i < count; i++)
                txn_set(lane, &first[i], word);
        return dict_free_segment(lane, segment);
}

struct halves {
        struct builder b[2];
        uint32_t depth; /* the new one: the halves differ in its last bit */
};

static objd_status add_to_half(void *context, const struct entry_shm *entry, uint64_t hash)
{
        struct halves *halves = context;

        return builder_add(&halves->b[hash_index(hash, halves->depth) & 1], entry, hash);
}

struct count {
        uint32_t entries[2];
        uint64_t bytes[2];
        uint32_t depth;
};

static objd_status count_half(void *context, const struct entry_shm *entry, uint64_t hash)
{
        struct count *count = context;
        uint32_t half = hash_index(hash, count->depth) & 1;

        count->entries[half]++;
        count->bytes[half] += entry_size(entry->head);
        return OBJD_OK;
}

/* Splitting does not help any more: a dict whose hash is known by now to somebody, or one beyond all size. */
static objd_status too_deep(const struct object_shm *object)
{
        return object->line.config & OBJECT_KEYED
                       ? fail(OBJD_E_NOMEM, "the dict has as many keys as one can have")
                       : OP_REHASH;
}

/* Twice as many words, each standing twice: the directory of the next depth. A root that is a segment becomes one of two. */
static objd_status double_directory(struct lane *lane, struct object_shm *object, struct line_shm *line)
{
        uint64_t root = line->root[0], *old, *new;
        uint32_t depth = table_depth(root);
        struct chunk_shm *chunk;
        objd_status r;

        if (depth >= DEPTH_MAX ||
            (1ULL << depth > line->root[1] + DIRECTORY_SLACK && !(object->line.config & OBJECT_KEYED)))
                return too_deep(object);
        old = depth ? arena_at(lane->arena, table_off(root) + CHUNK_HEAD, 8ULL << depth) : &root;
        if (!old)
                return damaged("its directory lies outside the arena");
        r = txn_take(lane, object, 16ULL << depth, &chunk);
        if (r)
                return r;
        new = chunk_data(chunk);
        for (uint64_t i = 0; i < 1ULL << depth; i++) {
                word_set(&new[2 * i], old[i]);
                word_set(&new[2 * i + 1], old[i]);
        }
        if (depth) {
                r = txn_free(lane, (struct chunk_shm *)((uint8_t *)old - CHUNK_HEAD));
                if (r)
                        return r;
        }
        txn_set(lane, &line->root[0], table_word(lane->arena, chunk, 0, depth + 1));
        return OBJD_OK;
}

static objd_status split(struct lane *lane, struct object_shm *object, struct segment_shm *segment,
                         uint64_t need, uint32_t global_depth, uint64_t *first)
{
        struct segment_numbers n = segment_numbers(segment);
        struct halves halves = { .depth = n.depth + 1 };
        struct count count = { .depth = n.depth + 1 };
        uint64_t words = 1ULL << (global_depth - n.depth);
        objd_status r = dict_each_entry(lane, object, segment, n.groups, count_half, &count);

        for (int half = 0; half < 2 && r == OBJD_OK; half++) {
                halves.b[half] = (struct builder){ .lane = lane, .object = object };
                r = builder_begin(&halves.b[half], count.entries[half] + 1, count.bytes[half] + need,
                                  n.depth + 1);
        }
        if (r == OBJD_OK)
                r = dict_each_entry(lane, object, segment, n.groups, add_to_half, &halves);
        if (r == OBJD_OK)
                r = txn_reserve(lane, words * 8, words);
        if (r)
                return r;
        for (int half = 0; half < 2; half++) {
                uint64_t word = builder_end(&halves.b[half]);

                for (uint64_t i = 0; i < words / 2; i++)
                        txn_set(lane, &first[(uint64_t)half * words / 2 + i], word);
        }
        return dict_free_segment(lane, segment);
}

struct sharding {
        struct lane *lane;
        struct object_shm *object;
        struct builder b[DICT_SHARDS];
        uint32_t entries[DICT_SHARDS];
        uint64_t bytes[DICT_SHARDS];
};

static objd_status count_shard(void *context, const struct entry_shm *entry, uint64_t hash)
{
        struct sharding *s = context;

        s->entries[hash_shard(hash)]++;
        s->bytes[hash_shard(hash)] += entry_size(entry->head);
        return OBJD_OK;
}

static objd_status add_to_shard(void *context, const struct entry_shm *entry, uint64_t hash)
{
        struct sharding *s = context;

        return builder_add(&s->b[hash_shard(hash)], entry, hash);
}

/*
 * From one segment under the object's lock to 64 shards with locks of their own. The shards need not be locked: they are
 * found through the object's line only, which is, until after the commit.
 */
static objd_status shard(struct lane *lane, struct object_shm *object, struct segment_shm *segment)
{
        struct segment_numbers n = segment_numbers(segment);
        struct sharding s = { .lane = lane, .object = object };
        struct line_shm *lines;
        objd_status r = dict_each_entry(lane, object, segment, n.groups, count_shard, &s);

        if (r == OBJD_OK)
                r = txn_reserve(lane, 64, 8);
        if (r == OBJD_OK)
                r = txn_take_group(lane, &lines);
        for (uint32_t i = 0; i < DICT_SHARDS && r == OBJD_OK; i++) {
                s.b[i] = (struct builder){ .lane = lane, .object = object };
                if (s.entries[i])
                        r = builder_begin(&s.b[i], s.entries[i], s.bytes[i], 0);
        }
        if (r == OBJD_OK)
                r = dict_each_entry(lane, object, segment, n.groups, add_to_shard, &s);
        if (r)
                return r;
        for (uint32_t i = 0; i < DICT_SHARDS; i++) {
                word_set(&lines[i].root[0], s.entries[i] ? builder_end(&s.b[i]) : 0);
                word_set(&lines[i].root[1], s.entries[i]);
                word_set(&lines[i].config, object->line.config);
                word_set(&lines[i].serial, object->line.serial);
        }
        txn_set(lane, &object->line.root[0], DICT_SHARDED | arena_off(lane->arena, lines));
        txn_set(lane, &object->line.root[1], 0);
        return dict_free_segment(lane, segment);
}

/* Gives a segment that has no room for an entry of `size` bytes more room; the caller looks everything up again. */
static objd_status make_room(struct lane *lane, struct object_shm *object, struct line_shm *line,
                             uint64_t hash, struct segment_shm *segment, uint64_t need)
{
        struct segment_numbers n = segment_numbers(segment);
        bool is_full = n.live > segment_slots_max(DICT_GROUPS_MAX) * 2 / 3 ||
                       (n.live_bytes > SPLIT_BYTES && n.live > 1);
        uint32_t global_depth = table_depth(line->root[0]);
        uint64_t *first;

        if (is_full && line == &object->line)
                return shard(lane, object, segment);
        if (n.depth > global_depth)
                return damaged("a segment is deeper than its directory");
        if (is_full && n.depth == global_depth) {
                objd_status r = double_directory(lane, object, line);

                if (r)
                        return r;
                global_depth++;
        }
        first = table_place(lane->arena, line, hash & ~(UINT64_MAX >> 6 >> n.depth));
        if (!first)
                return damaged("its directory lies outside the arena");
        return is_full ? split(lane, object, segment, need, global_depth, first)
                       : rebuild(lane, object, segment, need, global_depth, first);
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
        return chunk ? txn_free(lane, chunk) : damaged("a big value lies outside the arena");
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
                        return damaged("a big value lies outside the arena");
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

/*
 * Appends an entry to the key's segment and sets its slot: the old entry's, which then is a gap, or a free one.
 * ret_done is false if there was no room; room has been made then.
 */
static objd_status append(struct lane *lane, struct object_shm *object, const struct key *key,
                          const struct stored *stored, bool *ret_done)
{
        struct line_shm *line = dict_guard(lane->arena, object, key->hash);
        uint64_t size = entry_size(make_head(key, stored)), *place, *slot, sequence;
        struct entry_shm *entry, *old = NULL;
        struct segment_shm *segment;
        struct segment_numbers n;
        struct chunk_shm *extent;
        objd_status r = find(lane, line, key, &place, &segment, &slot);

        *ret_done = false;
        if (r)
                return r;
        if (!segment) {
                struct builder b = { .lane = lane, .object = object };

                r = builder_begin(&b, 1, size > FIRST_BYTES ? size : FIRST_BYTES, table_depth(line->root[0]));
                if (r == OBJD_OK)
                        txn_set(lane, place, builder_end(&b));
                return r;
        }
        n = segment_numbers(segment);
        if (slot)
                old = entry_at(lane->arena, *slot);
        else if (!key->keyed && count_same(segment, n.groups, key->hash) > DICT_SAME_MAX)
                return OP_REHASH;
        if ((!slot && n.used >= segment_slots_max(n.groups)) ||
            (n.tail_size - n.tail_used < size &&
             (n.dead_bytes > n.live_bytes / 4 + size || n.live_bytes > SPLIT_BYTES ||
              (n.groups < DICT_GROUPS_MAX && n.tail_size < SEGMENT_SMALL))))
                return make_room(lane, object, line, key->hash, segment, size);
        r = append_place(lane, object, &n, segment->extent, size, &extent, &entry);
        if (r)
                return r;
        if (old) {
                uint64_t old_size = entry_size(old->head);

                n.live--;
                n.live_bytes -= (uint32_t)old_size;
                n.dead_bytes += (uint32_t)old_size;
                sequence = old->sequence;
                r = free_value(lane, old);
                if (r)
                        return r;
        } else {
                slot = free_slot(segment, n.groups, key->hash);
                if (!slot)
                        return damaged("a segment has more entries than it says");
                n.used += !*slot;
                sequence = stored->sequence;
                if (!stored->again)
                        sequence = __atomic_fetch_add(&object->sequence, 1, __ATOMIC_RELAXED);
                txn_set(lane, &line->root[1], line->root[1] + 1);
        }
        fill_entry(lane, entry, key, stored, sequence);
        if (segment->extent != arena_off(lane->arena, extent))
                txn_set(lane, &segment->extent, arena_off(lane->arena, extent));
        set_numbers(lane, segment, &n);
        txn_set(lane, slot, slot_make(key->hash, arena_off(lane->arena, entry)));
        *ret_done = true;
        return OBJD_OK;
}

/* Each turn but the last makes room: a first segment, a directory, a split that may be uneven. */
static objd_status append_somehow(struct lane *lane, struct object_shm *object, const struct key *key,
                                  const struct stored *stored)
{
        bool done = false;
        objd_status r = OBJD_OK;

        for (uint32_t turn = 0; !done && r == OBJD_OK; turn++) {
                if (turn > DEPTH_MAX + 8)
                        return too_deep(object);
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
                return damaged("a segment is deeper than its directory");
        words = 1ULL << (global_depth - n.depth);
        first = table_place(lane->arena, line, key->hash & ~(UINT64_MAX >> 6 >> n.depth));
        if (!first)
                return damaged("its directory lies outside the arena");
        if (n.live)
                return rebuild(lane, object, segment, 0, global_depth, first);
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
        words = depth <= DEPTH_MAX ? arena_at(lane->arena, table_off(root) + CHUNK_HEAD, 8ULL << depth)
                                   : NULL;
        if (!words)
                return damaged("its directory lies outside the arena");
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
        entry = slot ? entry_at(lane->arena, *slot) : NULL;
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
                        return damaged("its list of chunks leads astray");
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
                r = damaged("its shards are not where it says");
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
