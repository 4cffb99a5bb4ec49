/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dict_read.c -- reading a dict without locks: a key's value, and from one segment to the next
 */

#include "object/dict_view.h"

#include "base/status.h"
#include "object/dict_hash.h"
#include "object/value.h"

/* The line for the hash `hash`, or that of the key, which is hashed as the dict does at that moment. */
static objd_status find_line(struct lane *lane, struct objd_object *dict, uint64_t hash, struct key *key,
                             struct line_shm **ret_line)
{
        struct line_shm *line = &dict->shm->line;

        for (;;) {
                uint64_t version = lock_read_begin(line), serial = word_get(&line->serial);
                struct line_shm *shards = dict_shards(lane->arena, dict->shm);
                bool sharded = word_get(&line->root[0]) & DICT_SHARDED;
                bool own = !shards || word_get(&shards[hash_shard(hash)].serial) == serial;
                objd_status r;

                if (key) {
                        dict_hash_key(lane->arena, dict->shm, key);
                        hash = key->hash;
                }
                if ((lock_version_is_stable(version) && lock_read_valid(line, version)) ||
                    lock_is_held(lane, line)) {
                        if (serial != dict->serial)
                                return object_gone(dict);
                        if (sharded && (!shards || !own))
                                return fail(OBJD_E_CORRUPT, "%s is damaged: its shards are not where it says",
                                            object_label(dict));
                        *ret_line = shards ? &shards[hash_shard(hash)] : line;
                        return OBJD_OK;
                }
                r = lock_wait_stable(lane, line);
                if (r)
                        return r;
        }
}

objd_status dict_line(struct lane *lane, struct objd_object *dict, uint64_t hash, struct line_shm **ret_line)
{
        return find_line(lane, dict, hash, NULL, ret_line);
}

objd_status dict_line_of(struct lane *lane, struct objd_object *dict, struct key *key,
                         struct line_shm **ret_line)
{
        return find_line(lane, dict, 0, key, ret_line);
}

bool dict_has_shard(const struct objd_object *dict, const struct line_shm *shard)
{
        const struct line_shm *line = &dict->shm->line;
        uint64_t version = lock_read_begin(line);
        const struct line_shm *shards = dict_shards(dict->conn->arena, dict->shm);

        return lock_version_is_stable(version) && shards && shard >= shards && shard < shards + DICT_SHARDS &&
               lock_read_valid(line, version);
}

/* The key's entry; OBJD_E_NOTFOUND without a sentence if there is none (the caller validates and speaks). */
ALWAYS_INLINE objd_status find(const struct view *view, const struct key *key, struct entry_shm **ret_entry,
                               uint64_t *ret_head)
{
        uint64_t word, tag = hash_tag(key->hash);
        uint32_t depth, groups, group;
        const struct segment_shm *segment;
        objd_status r = view_table_word(view, key->hash, &word, &depth);

        if (r)
                return r;
        if (!word)
                return OBJD_E_NOTFOUND;
        segment = view_segment(view, word);
        if (!segment)
                return view_again_or(view, "a segment lies outside the arena");
        groups = table_groups(word);
        group = hash_group(key->hash, groups);
        for (uint32_t turn = 0; turn < groups; turn++) {
                const uint64_t *slots = &segment->slots[(size_t)group * DICT_GROUP];
                bool empty = false;

                for (uint32_t i = 0; i < DICT_GROUP; i++) {
                        uint64_t slot = word_get(&slots[i]);

                        empty |= !slot;
                        if (slot >> 37 != tag || slot <= SLOT_GONE)
                                continue;
                        *ret_entry = view_entry(view, slot, ret_head);
                        if (!*ret_entry)
                                return view_again_or(view, "an entry lies outside the arena");
                        if ((*ret_head & 0xffff) == (key->type | key->size << 4) &&
                            key_matches(*ret_entry, key))
                                return OBJD_OK;
                }
                if (empty)
                        return OBJD_E_NOTFOUND;
                group = group + 1 == groups ? 0 : group + 1;
        }
        return OBJD_E_NOTFOUND;
}

ALWAYS_INLINE objd_status copy_value(const struct view *view, struct entry_shm *entry, uint64_t head,
                                     objd_buf *buf)
{
        const void *from;
        objd_status r = view_value(view, entry, head, &from);

        if (r)
                return r;
        if (__builtin_expect(buf->size <= entry_value_size(head), 0)) {
                r = buf_grow(buf, entry_value_size(head));
                if (r)
                        return r;
        }
        words_out(buf->data, from, entry_value_size(head));
        return OBJD_OK;
}

__attribute__((noinline)) objd_status dict_lines_do_not_fit(const struct objd_object *dict)
{
        return fail(OBJD_E_CORRUPT, "%s is damaged: its lines do not fit together", object_label(dict));
}

/*
 * A read under one version of the line that guards the hash, however often it takes; after some collisions with
 * writers, under the lock. fn may be called many times, and its result counts when the version was still the same.
 */
typedef objd_status (*read_fn)(const struct view *view, void *context);

static objd_status read_locked(struct view view, read_fn fn, void *context)
{
        struct lane *lane = view.lane;
        objd_status r;

        txn_begin(lane, OP_NONE);
        r = lock_freeze(lane, view.line);
        view.limit = arena_limit(lane->arena);
        /* What the daemon froze for a read-only lane it may have thawed again: there the version has the last word. */
        view.version = lock_read_begin(view.line);
        view.locked = !lane->read_only;
        if (r == OBJD_OK) {
                r = fn(&view, context);
                if (!view_is_valid(&view))
                        r = READ_AGAIN;
        }
        lane_end_read(lane);
        return r;
}

/* The line that guards the hash: the object's own, whose version the caller looks at, or a shard, with the object's version. */
ALWAYS_INLINE objd_status locate(struct lane *lane, struct objd_object *dict, uint64_t hash, struct key *key,
                                 struct view *view)
{
        struct line_shm *line = &dict->shm->line, *shards;
        uint64_t root;
        objd_status r;

        view->outer = lock_read_begin(line);
        view->limit = arena_limit(lane->arena);
        root = word_get(&line->root[0]);
        view->line = line;
        if (key) {
                dict_hash_key(lane->arena, dict->shm, key);
                hash = key->hash;
        }
        if (!(root & DICT_SHARDED))
                return OBJD_OK;
        shards = view_at(view, root & ~DICT_SHARDED, DICT_SHARDS * LINE_SIZE);
        if (__builtin_expect(!lock_version_is_stable(view->outer) || !lock_read_valid(line, view->outer),
                             0)) {
                r = lock_wait_stable(lane, line);
                return r ? r : READ_AGAIN;
        }
        if (__builtin_expect(!shards, 0))
                return word_get(&line->serial) == dict->serial
                               ? fail(OBJD_E_CORRUPT, "%s is damaged: its shards lie outside the arena",
                                      object_label(dict))
                               : object_gone(dict);
        view->line = &shards[hash_shard(hash)];
        return OBJD_OK;
}

ALWAYS_INLINE objd_status read_once(struct lane *lane, struct objd_object *dict, uint64_t hash,
                                    struct key *key, int collisions, read_fn fn, void *context)
{
        struct view view = { .lane = lane };
        objd_status r = locate(lane, dict, hash, key, &view);

        if (r)
                return r;
        if (__builtin_expect(collisions >= LOCK_READ_RETRIES, 0))
                return read_locked(view, fn, context);
        view.version = lock_read_begin(view.line);
        view.limit = arena_limit(lane->arena);
        if (!lock_version_is_stable(view.version)) {
                r = lock_wait_stable(lane, view.line);
                return r ? r : READ_AGAIN;
        }
        r = fn(&view, context);
        return view_is_valid(&view) ? r : READ_AGAIN;
}

/* Of the line of the key, which is hashed as the dict does, or of the one that guards the hash. */
ALWAYS_INLINE objd_status read_line(struct objd_object *dict, uint64_t hash, struct key *key, read_fn fn,
                                    void *context)
{
        struct lane *lane;
        objd_status r = lane_enter_to_read(dict->conn->arena, conn_timeout(dict->conn), &lane);

        if (r)
                return r;
        r = object_touch(dict);
        if (r == OBJD_OK) {
                int collisions = 0;

                do
                        r = read_once(lane, dict, hash, key, collisions++, fn, context);
                while (r == READ_AGAIN && collisions < READ_ATTEMPTS);
                if (r == READ_AGAIN)
                        r = dict_lines_do_not_fit(dict);
                word_set(&lane->shm->n_reads, lane->shm->n_reads + 1);
        }
        lane_leave(lane);
        return r;
}

/* Whether the line is the object's; the shards of a deleted dict have lost their serial, or have another. */
ALWAYS_INLINE objd_status check_owner(const struct view *view, const struct objd_object *dict)
{
        if (__builtin_expect(word_get(&view->line->serial) == dict->serial, 1)) {
                if (__builtin_expect((word_get(&view->line->root[0]) & DICT_SHARDED) != 0, 0))
                        return READ_AGAIN; /* it has been given shards since it was looked up */
                if (view->line != &dict->shm->line && !lock_read_valid(&dict->shm->line, view->outer))
                        return READ_AGAIN;
                return word_get(&view->line->config) & OBJECT_POISONED ? object_verify(dict) : OBJD_OK;
        }
        /* The object itself may be there still, with other shards or none: then its line says so next time. */
        return view_is_valid(view) && word_get(&dict->shm->line.serial) != dict->serial ? object_gone(dict)
                                                                                        : READ_AGAIN;
}

struct get_request {
        const struct objd_object *dict;
        const struct key *key;
        objd_value *value; /* NULL: only whether it is there */
        objd_buf *buf;
        uint64_t head;
        struct lane_shm *pin_lane; /* for a pin: the lane, and which of its places */
        uint32_t pin;
        const void *pinned;
};

ALWAYS_INLINE objd_status get_step(const struct view *view, void *context)
{
        struct get_request *get = context;
        struct entry_shm *entry;
        objd_status r = check_owner(view, get->dict);

        if (r == OBJD_OK && !dict_goes_by(get->dict, get->key))
                r = READ_AGAIN;
        if (r == OBJD_OK)
                r = find(view, get->key, &entry, &get->head);
        if (r == OBJD_OK && get->value)
                r = copy_value(view, entry, get->head, get->buf);
        return r;
}

static objd_status no_key(const struct objd_object *dict, const objd_value *key)
{
        if (key->type == OBJD_INT)
                return fail(OBJD_E_NOTFOUND, "%s has no key %lld", object_label(dict),
                            (long long)key->u.integer);
        return fail(OBJD_E_NOTFOUND, "%s has no key \"%.*s\"", object_label(dict),
                    key->type == OBJD_STR ? (int)(key->size < 64 ? key->size : 64) : 0,
                    (const char *)key->data);
}

objd_status dict_read(struct objd_object *dict, const objd_value *key_value, objd_value *ret_value,
                      objd_buf *buf)
{
        struct get_request get = { .dict = dict, .value = ret_value, .buf = buf };
        struct key key;
        objd_status r = key_make(dict->conn->arena, dict->config, key_value, &key);

        if (r)
                return r;
        get.key = &key;
        r = read_line(dict, 0, &key, get_step, &get);
        if (r == OBJD_E_NOTFOUND)
                return ret_value ? no_key(dict, key_value) : r;
        if (r || !ret_value)
                return r;
        return value_decode(entry_value_type(get.head), buf->data, entry_value_size(get.head), ret_value);
}

/*
 * The pin is written before the version is looked at again, with a full fence between; whoever frees the chunk raises the
 * version (takes the lock) before it looks at the pins, with a full fence between: see is_pinned() in pool.c.
 */
static objd_status pin_step(const struct view *view, void *context)
{
        struct get_request *get = context;
        struct entry_shm *entry;
        objd_status r = check_owner(view, get->dict);

        get->pinned = NULL;
        word_set_release(&get->pin_lane->pins[get->pin], 0);
        if (r == OBJD_OK && !dict_goes_by(get->dict, get->key))
                r = READ_AGAIN;
        if (r == OBJD_OK)
                r = find(view, get->key, &entry, &get->head);
        if (r)
                return r;
        if (!entry_is_big(get->head))
                return copy_value(view, entry, get->head, get->buf);
        r = view_value(view, entry, get->head, &get->pinned);
        if (r)
                return r;
        word_set_release(&get->pin_lane->pins[get->pin],
                         arena_off(view->lane->arena, get->pinned) - VALUE_CHUNK_DATA);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        return view_is_valid(view) ? OBJD_OK : READ_AGAIN;
}

objd_status dict_pin(struct objd_object *dict, const objd_value *key_value, struct lane_shm *lane,
                     uint32_t pin, objd_value *ret_value, objd_buf *buf)
{
        struct get_request get = { .dict = dict, .buf = buf, .pin_lane = lane, .pin = pin };
        struct key key;
        objd_status r = key_make(dict->conn->arena, dict->config, key_value, &key);

        if (r)
                return r;
        get.key = &key;
        r = read_line(dict, 0, &key, pin_step, &get);
        if (r == OBJD_E_NOTFOUND)
                return no_key(dict, key_value);
        if (r)
                return r;
        return value_decode(entry_value_type(get.head), get.pinned ? get.pinned : buf->data,
                            entry_value_size(get.head), ret_value);
}

/* ---- Walking ------------------------------------------------------------------------------------------ */

/* Whether the position is behind the entry that has just been added, by the hash of its key, or by the one that the dict had. */
static bool is_behind(const struct view *view, const struct objd_object *dict, const struct dict_position *at,
                      const struct items_builder *items, uint64_t head)
{
        const objd_value *added = &items->item[items->len - 1].key; /* its data is an offset still */
        const uint8_t *key = items->bytes + (uintptr_t)added->data;
        uint32_t type = entry_key_type(head);
        size_t size = added->size;
        const struct arena *arena = view->lane->arena;

        return (at->hash && dict_hash(arena, dict->shm, type, key, size) < at->hash) ||
               (at->before && key_hash(arena, type, key, size) < at->before);
}

objd_status dict_add_entries(const struct view *view, const struct objd_object *dict, uint64_t word,
                             const struct dict_position *position, struct items_builder *items)
{
        const struct segment_shm *segment = segment_at(view->lane->arena, word);

        if (!segment)
                return view_again_or(view, "a segment lies outside the arena");
        for (uint32_t i = 0; i < table_groups(word) * DICT_GROUP; i++) {
                uint64_t slot = word_get(&segment->slots[i]), head;
                struct entry_shm *entry;
                const void *value;
                objd_status r;

                if (slot <= SLOT_GONE)
                        continue;
                entry = view_entry(view, slot, &head);
                if (!entry)
                        return view_again_or(view, "an entry lies outside the arena");
                r = view_value(view, entry, head, &value);
                if (r == OBJD_OK)
                        r = items_add(items, (objd_type)entry_key_type(head), entry->data,
                                      entry_key_size(head), entry_value_type(head), value,
                                      entry_value_size(head));
                if (r)
                        return r;
                if (position && is_behind(view, dict, position, items, head))
                        items_cut(items, items->len - 1);
        }
        return OBJD_OK;
}

struct step_request {
        const struct objd_object *dict;
        const struct dict_position *position;
        bool keyed;     /* set: the dict has a hash of its own */
        uint64_t width; /* set: how many hashes the segment covers; 0 is all of them */
        uint64_t first; /* set: the first of them */
        struct items_builder *items;
        size_t len; /* of the items before this step */
};

static objd_status walk_step(const struct view *view, void *context)
{
        struct step_request *step = context;
        uint32_t most, depth, bits = view->line == &step->dict->shm->line ? 0 : 6;
        uint64_t from = step->position->hash, word;
        objd_status r = check_owner(view, step->dict);

        items_cut(step->items, step->len);
        if (r == OBJD_OK)
                r = view_table_word(view, from, &word, &depth);
        if (r)
                return r;
        step->keyed = word_get(&step->dict->shm->line.config) & OBJECT_KEYED;
        if (word) {
                const struct segment_shm *segment = segment_at(view->lane->arena, word);

                if (!segment)
                        return view_again_or(view, "a segment lies outside the arena");
                most = depth;
                depth = segment_numbers(segment).depth;
                if (!view_is_valid(view) || depth > most)
                        return view_again_or(view, "a segment is too deep");
        }
        step->width = bits + depth ? 1ULL << (64 - bits - depth) : 0;
        step->first = step->width ? from & ~(step->width - 1) : 0;
        return word ? dict_add_entries(view, step->dict, word, step->position, step->items) : OBJD_OK;
}

objd_status dict_step(struct objd_object *dict, struct dict_position *position, struct items_builder *items)
{
        size_t len = items->len;
        objd_status r = OBJD_OK;

        while (r == OBJD_OK && !position->end && items->len == len) {
                struct step_request step = { .dict = dict, .position = position, .items = items, .len = len };

                r = read_line(dict, position->hash, NULL, walk_step, &step);
                if (r)
                        break;
                if (step.keyed && !position->keyed) {
                        /* From here on in another order: from its start, without what has been seen in the old one. */
                        items_cut(items, len);
                        *position = (struct dict_position){ .keyed = true, .before = position->hash };
                        continue;
                }
                position->hash = step.first + step.width;
                position->end = !position->hash;
        }
        return r;
}
