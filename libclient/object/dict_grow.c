/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dict_grow.c -- room in a dict: segments built again aside, split, made into shards
 *
 * A new segment is filled where nobody can reach it, and takes the old one's place by a store into the directory, which
 * is noted like any other.
 */

#include "object/dict_grow.h"

#include "mem/pool.h"
#include "object/dict_hash.h"

#define GROUP_SIZE (DICT_GROUP * 8)
#define SEGMENT_SMALL 8192u /* chunks up to this hold slots and entries of a segment together */
#define EXTENT_SIZE 16384u  /* chunks that entries of larger segments are appended to */
#define EXTENT_START (CHUNK_HEAD + 8)
#define FIRST_BYTES 80u /* what a first segment has room for: with it the chunk has 256 bytes */
#define SPLIT_BYTES \
        (128u << 10) /* a segment with more bytes than this is split, however few entries they are */
/* A directory with so many more words than there are entries has been split in vain: their hashes are all the same. */
#define DIRECTORY_SLACK 256u

/* ---- Building segments aside -------------------------------------------------------------------------- */

static uint64_t table_word(const struct arena *arena, const struct chunk_shm *chunk, uint32_t groups,
                           uint32_t depth)
{
        return (uint64_t)groups << 48 | arena_off(arena, chunk) | depth;
}

static struct chunk_shm *segment_chunk(struct segment_shm *segment)
{
        return (struct chunk_shm *)((uint8_t *)segment - CHUNK_HEAD);
}

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

objd_status dict_append_place(struct lane *lane, struct object_shm *object, struct segment_numbers *n,
                              uint64_t extent, uint64_t size, struct chunk_shm **ret_extent,
                              struct entry_shm **ret_entry)
{
        struct chunk_shm *chunk = arena_at(lane->arena, extent, CHUNK_HEAD);

        if (!chunk || n->tail_used > n->tail_size || (n->tail_used & 7) || n->tail_used < EXTENT_START ||
            n->tail_size > chunk_size(chunk) + CHUNK_HEAD || chunk->owner != arena_off(lane->arena, object) ||
            !arena_has(lane->arena, extent, n->tail_size))
                return dict_damaged("an extent lies outside the arena");
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
        uint64_t *slot = dict_free_slot(b->segment, b->n.groups, hash);
        objd_status r;

        if (!slot)
                return dict_damaged("a segment has more entries than it says");
        r = dict_append_place(b->lane, b->object, &b->n, b->segment->extent, size, &extent, &copy);
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
        word_set(&b->segment->shape, segment_pack_shape(&b->n));
        word_set(&b->segment->fill, segment_pack_pair(b->n.tail_used, b->n.tail_size));
        word_set(&b->segment->bytes, segment_pack_pair(b->n.live_bytes, b->n.dead_bytes));
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
                entry = dict_entry_at(lane->arena, segment->slots[i]);
                if (!entry)
                        return dict_damaged("an entry lies outside the arena");
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
                        return dict_damaged("an extent lies outside the arena");
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

objd_status dict_rebuild(struct lane *lane, struct object_shm *object, struct segment_shm *segment,
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

objd_status dict_first_segment(struct lane *lane, struct object_shm *object, uint64_t *place, uint64_t size,
                               uint32_t global_depth)
{
        struct builder b = { .lane = lane, .object = object };
        objd_status r = builder_begin(&b, 1, size > FIRST_BYTES ? size : FIRST_BYTES, global_depth);

        if (r == OBJD_OK)
                txn_set(lane, place, builder_end(&b));
        return r;
}

bool dict_wants_room(const struct segment_numbers *n, uint64_t size)
{
        return n->tail_size - n->tail_used < size &&
               (n->dead_bytes > n->live_bytes / 4 + size || n->live_bytes > SPLIT_BYTES ||
                (n->groups < DICT_GROUPS_MAX && n->tail_size < SEGMENT_SMALL));
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

/* A dict whose hash is known by now to somebody, or one beyond all size. */
objd_status dict_too_deep(const struct object_shm *object)
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

        if (depth >= DICT_DEPTH_MAX ||
            (1ULL << depth > line->root[1] + DIRECTORY_SLACK && !(object->line.config & OBJECT_KEYED)))
                return dict_too_deep(object);
        old = depth ? arena_at(lane->arena, table_off(root) + CHUNK_HEAD, 8ULL << depth) : &root;
        if (!old)
                return dict_damaged("its directory lies outside the arena");
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

static void fill_shards(struct sharding *s, struct line_shm *lines)
{
        for (uint32_t i = 0; i < DICT_SHARDS; i++) {
                word_set(&lines[i].root[0], s->entries[i] ? builder_end(&s->b[i]) : 0);
                word_set(&lines[i].root[1], s->entries[i]);
                word_set(&lines[i].config, s->object->line.config);
                word_set(&lines[i].serial, s->object->line.serial);
        }
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
        fill_shards(&s, lines);
        txn_set(lane, &object->line.root[0], DICT_SHARDED | arena_off(lane->arena, lines));
        txn_set(lane, &object->line.root[1], 0);
        return dict_free_segment(lane, segment);
}

objd_status dict_make_room(struct lane *lane, struct object_shm *object, struct line_shm *line, uint64_t hash,
                           struct segment_shm *segment, uint64_t need)
{
        struct segment_numbers n = segment_numbers(segment);
        bool is_full = n.live > segment_slots_max(DICT_GROUPS_MAX) * 2 / 3 ||
                       (n.live_bytes > SPLIT_BYTES && n.live > 1);
        uint32_t global_depth = table_depth(line->root[0]);
        uint64_t *first;

        if (is_full && line == &object->line)
                return shard(lane, object, segment);
        if (n.depth > global_depth)
                return dict_damaged("a segment is deeper than its directory");
        if (is_full && n.depth == global_depth) {
                objd_status r = double_directory(lane, object, line);

                if (r)
                        return r;
                global_depth++;
        }
        first = dict_table_place(lane->arena, line, hash & ~(UINT64_MAX >> 6 >> n.depth));
        if (!first)
                return dict_damaged("its directory lies outside the arena");
        return is_full ? split(lane, object, segment, need, global_depth, first)
                       : dict_rebuild(lane, object, segment, need, global_depth, first);
}
