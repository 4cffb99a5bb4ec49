/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dict_read.c -- reading a dict without locks
 *
 * Everything that is loaded here may be changing. Two rules keep that harmless: an offset is followed only if the version
 * is still what it was when the offset was loaded, so that it leads to memory that was the dict's a moment ago and
 * has not been given back to the system (see the epoch in lane.h); and what was copied counts only if the
 * version is still the same after the copy.
 */

#include "object/dict.h"
#include "object/dict_hash.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "object/ranking.h"
#include "object/value.h"
#include "mem/pool.h"

/* A get is a hundred nanoseconds, of which calls and the saving of registers would be a third. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Inside this file: the version has changed; read again. */
#define READ_AGAIN ((objd_status)-2)

/* A read in progress: what it hangs on to. */
struct view {
        struct lane *lane;
        struct line_shm *line;
        uint64_t version;
        uint64_t outer; /* of a shard: the version of the object's line under which it was found */
        uint64_t
                limit; /* arena_limit(), loaded after the version: what that version leads to lies below it */
        bool locked;   /* the line is held by the lane: nothing changes */
};

ALWAYS_INLINE bool still_valid(const struct view *view)
{
        return view->locked || lock_read_valid(view->line, view->version);
}

/* What is wrong: a writer was faster, or, if the version has not changed, the arena is damaged. */
ALWAYS_INLINE objd_status again_or(const struct view *view, const char *what)
{
        return still_valid(view) ? fail(OBJD_E_CORRUPT, "the dict is damaged: %s", what) : READ_AGAIN;
}

/* As arena_at(). */
ALWAYS_INLINE void *view_at(const struct view *view, uint64_t off, uint64_t size)
{
        const struct arena *arena = view->lane->arena;

        return arena_has_below(arena, view->limit, off, size) && !(off & 7) ? arena->base + off : NULL;
}

/* As segment_at(). */
ALWAYS_INLINE struct segment_shm *view_segment(const struct view *view, uint64_t word)
{
        uint64_t groups = table_groups(word);

        return groups - 1 < DICT_GROUPS_MAX ? view_at(view, table_off(word) + CHUNK_HEAD,
                                                      sizeof(struct segment_shm) + groups * DICT_GROUP * 8)
                                            : NULL;
}

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

/* The table word for this hash, 0 if nothing is there; the depth is that of the directory. */
ALWAYS_INLINE objd_status load_table_word(const struct view *view, uint64_t hash, uint64_t *ret_word,
                                          uint32_t *ret_depth)
{
        uint64_t root = word_get(&view->line->root[0]);
        uint32_t depth = table_depth(root);
        const uint64_t *words;

        *ret_word = root;
        *ret_depth = depth;
        if (!depth)
                return still_valid(view) ? OBJD_OK : READ_AGAIN;
        words = depth < 48 ? view_at(view, table_off(root) + CHUNK_HEAD, 8ULL << depth) : NULL;
        if (!words || !still_valid(view))
                return again_or(view, "its directory lies outside the arena");
        *ret_word = word_get(&words[hash_index(hash, depth)]);
        return still_valid(view) ? OBJD_OK : READ_AGAIN;
}

/* The entry in this slot and its head, if it lies in the arena. The version is checked before the head is loaded. */
ALWAYS_INLINE struct entry_shm *load_entry(const struct view *view, uint64_t slot, uint64_t *ret_head)
{
        struct entry_shm *entry = view_at(view, slot_off_of(slot), sizeof(*entry));

        if (!entry || !still_valid(view))
                return NULL;
        *ret_head = word_get(&entry->head);
        if (!still_valid(view) ||
            !arena_has_below(view->lane->arena, view->limit, slot_off_of(slot), entry_size(*ret_head)))
                return NULL;
        return entry;
}

/* The key's entry; OBJD_E_NOTFOUND without a sentence if there is none (the caller validates and speaks). */
ALWAYS_INLINE objd_status find(const struct view *view, const struct key *key, struct entry_shm **ret_entry,
                               uint64_t *ret_head)
{
        uint64_t word, tag = hash_tag(key->hash);
        uint32_t depth, groups, group;
        const struct segment_shm *segment;
        objd_status r = load_table_word(view, key->hash, &word, &depth);

        if (r)
                return r;
        if (!word)
                return OBJD_E_NOTFOUND;
        segment = view_segment(view, word);
        if (!segment)
                return again_or(view, "a segment lies outside the arena");
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
                        *ret_entry = load_entry(view, slot, ret_head);
                        if (!*ret_entry)
                                return again_or(view, "an entry lies outside the arena");
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

/* Where an entry's value is: in the entry, or in a chunk of its own. */
ALWAYS_INLINE objd_status load_value(const struct view *view, struct entry_shm *entry, uint64_t head,
                                     const void **ret_from)
{
        uint64_t *value = entry_value(entry, head);

        *ret_from = value;
        if (!entry_is_big(head))
                return OBJD_OK;
        *ret_from = view_at(view, word_get(value) + VALUE_CHUNK_DATA, round8(entry_value_size(head)));
        return *ret_from && still_valid(view) ? OBJD_OK
                                              : again_or(view, "a big value lies outside the arena");
}

ALWAYS_INLINE objd_status copy_value(const struct view *view, struct entry_shm *entry, uint64_t head,
                                     objd_buf *buf)
{
        const void *from;
        objd_status r = load_value(view, entry, head, &from);

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

/*
 * Under the lock a read has to be done again only if the dict has just got shards, or been deleted: a matter of twice. Where it
 * goes on like that, the lines say different things for ever.
 */
#define READ_ATTEMPTS 1000

static __attribute__((noinline)) objd_status lines_do_not_fit(const struct objd_object *dict)
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
                if (!still_valid(&view))
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
        return still_valid(&view) ? r : READ_AGAIN;
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
                        r = lines_do_not_fit(dict);
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
        return still_valid(view) && word_get(&dict->shm->line.serial) != dict->serial ? object_gone(dict)
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
        r = load_value(view, entry, get->head, &get->pinned);
        if (r)
                return r;
        word_set_release(&get->pin_lane->pins[get->pin],
                         arena_off(view->lane->arena, get->pinned) - VALUE_CHUNK_DATA);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        return still_valid(view) ? OBJD_OK : READ_AGAIN;
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

/* Adds a segment's entries to the items, those from the position on, if one is given. */
static objd_status add_entries(const struct view *view, const struct objd_object *dict, uint64_t word,
                               const struct dict_position *position, struct items_builder *items)
{
        const struct segment_shm *segment = segment_at(view->lane->arena, word);

        if (!segment)
                return again_or(view, "a segment lies outside the arena");
        for (uint32_t i = 0; i < table_groups(word) * DICT_GROUP; i++) {
                uint64_t slot = word_get(&segment->slots[i]), head;
                struct entry_shm *entry;
                const void *value;
                objd_status r;

                if (slot <= SLOT_GONE)
                        continue;
                entry = load_entry(view, slot, &head);
                if (!entry)
                        return again_or(view, "an entry lies outside the arena");
                r = load_value(view, entry, head, &value);
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
                r = load_table_word(view, from, &word, &depth);
        if (r)
                return r;
        step->keyed = word_get(&step->dict->shm->line.config) & OBJECT_KEYED;
        if (word) {
                const struct segment_shm *segment = segment_at(view->lane->arena, word);

                if (!segment)
                        return again_or(view, "a segment lies outside the arena");
                most = depth;
                depth = segment_numbers(segment).depth;
                if (!still_valid(view) || depth > most)
                        return again_or(view, "a segment is too deep");
        }
        step->width = bits + depth ? 1ULL << (64 - bits - depth) : 0;
        step->first = step->width ? from & ~(step->width - 1) : 0;
        return word ? add_entries(view, step->dict, word, step->position, step->items) : OBJD_OK;
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

/* ---- Counting ----------------------------------------------------------------------------------------- */

/*
 * The counts of all shards, and then their versions again: if none has changed in between, the sum was true at the moment
 * between the two.
 */
static objd_status count_once(struct lane *lane, struct objd_object *dict, uint64_t *ret_len)
{
        struct line_shm *first;
        uint64_t versions[DICT_SHARDS], sum = 0;
        uint32_t n;
        objd_status r = dict_line(lane, dict, 0, &first);

        if (r)
                return r;
        n = first == &dict->shm->line ? 1 : DICT_SHARDS;
        for (uint32_t i = 0; i < n; i++) {
                versions[i] = lock_read_begin(&first[i]);
                if (!lock_version_is_stable(versions[i])) {
                        r = lock_wait_stable(lane, &first[i]);
                        return r ? r : READ_AGAIN;
                }
                if (word_get(&first[i].serial) != dict->serial ||
                    (word_get(&first[i].root[0]) & DICT_SHARDED))
                        return READ_AGAIN;
                sum += word_get(&first[i].root[1]);
        }
        if (n > 1 && !dict_has_shard(dict, first))
                return READ_AGAIN;
        for (uint32_t i = 0; i < n; i++)
                if (!lock_read_valid(&first[i], versions[i]))
                        return READ_AGAIN;
        *ret_len = sum;
        return OBJD_OK;
}

/*
 * Runs fn with all lines of the dict frozen: writers wait, readers go on. The lines are taken in the order that all
 * others take them in, so the shards are looked up before and compared after.
 */
typedef objd_status (*frozen_fn)(struct lane *lane, struct objd_object *dict, void *context);

/* Whether nobody has written, or is writing. Versions only grow, so their sum is the same only if all of them are. */
static bool are_still(const struct plan *plan, uint64_t versions)
{
        bool stable = true;

        fence_acquire();
        for (size_t i = 0; i < plan->n; i++) {
                uint64_t version = lock_read_begin(plan->lines[i]);

                stable &= lock_version_is_stable(version);
                versions -= version;
        }
        return stable && !versions;
}

/* A read-only lane tries without before it asks the daemon: the versions are its last word in any case. */
static objd_status freeze_once(struct lane *lane, struct objd_object *dict, int tries, frozen_fn fn,
                               void *context)
{
        struct line_shm *first, *line = &dict->shm->line;
        struct plan plan;
        uint64_t versions;
        objd_status r = dict_line(lane, dict, 0, &first);

        plan.n = 0;
        if (r == OBJD_OK)
                r = plan_add(&plan, line);
        for (uint32_t i = 0; r == OBJD_OK && first != line && i < DICT_SHARDS; i++)
                r = plan_add(&plan, &first[i]);
        if (r)
                return r;
        txn_begin(lane, OP_NONE);
        if (!lane->read_only || tries >= LOCK_READ_RETRIES)
                r = plan_freeze(lane, &plan);
        versions = 0;
        for (size_t i = 0; i < plan.n; i++)
                versions += lock_read_begin(plan.lines[i]);
        if (r == OBJD_OK)
                r = object_verify(dict);
        if (r == OBJD_OK)
                r = dict_guard(lane->arena, dict->shm, 0) == first ? fn(lane, dict, context) : READ_AGAIN;
        if (lane->read_only && !are_still(&plan, versions))
                r = READ_AGAIN;
        lane_end_read(lane);
        return r;
}

static objd_status with_frozen(struct lane *lane, struct objd_object *dict, frozen_fn fn, void *context)
{
        objd_status r = READ_AGAIN;

        for (int tries = 0; tries < READ_ATTEMPTS && r == READ_AGAIN; tries++)
                r = freeze_once(lane, dict, tries, fn, context);
        return r == READ_AGAIN ? lines_do_not_fit(dict) : r;
}

static uint64_t count_frozen(struct lane *lane, const struct object_shm *object)
{
        const struct line_shm *shards = dict_shards(lane->arena, object);
        uint64_t sum = object->line.root[1];

        for (uint32_t i = 0; shards && i < DICT_SHARDS; i++)
                sum += shards[i].root[1];
        return sum;
}

static objd_status count_fn(struct lane *lane, struct objd_object *dict, void *ret_len)
{
        *(uint64_t *)ret_len = count_frozen(lane, dict->shm);
        return OBJD_OK;
}

objd_status dict_count(struct lane *lane, struct objd_object *dict, uint64_t *ret_len)
{
        objd_status r = READ_AGAIN;

        for (int i = 0; i < LOCK_READ_RETRIES && r == READ_AGAIN; i++)
                r = count_once(lane, dict, ret_len);
        return r == READ_AGAIN ? with_frozen(lane, dict, count_fn, ret_len) : r;
}

/* ---- The whole dict at one moment --------------------------------------------------------------------- */

struct sequenced {
        uint64_t sequence;
        objd_item item;
};

static int compare_sequence(const void *a, const void *b)
{
        const struct sequenced *x = a, *y = b;

        return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

struct collector {
        struct items_builder *items;
        uint64_t *sequences;
        size_t room;
};

static objd_status collect_segment(struct view *view, uint64_t word, void *context)
{
        struct collector *c = context;
        const struct segment_shm *segment = segment_at(view->lane->arena, word);
        size_t n = c->items->len;
        objd_status r = add_entries(view, NULL, word, NULL, c->items);

        for (uint32_t i = 0; r == OBJD_OK && i < table_groups(word) * DICT_GROUP; i++) {
                uint64_t slot = word_get(&segment->slots[i]), head;
                const struct entry_shm *entry;

                if (slot <= SLOT_GONE)
                        continue;
                if (n >= c->room || n >= c->items->len)
                        return again_or(view, "it has more entries than it counts");
                entry = load_entry(view, slot, &head);
                if (!entry)
                        return again_or(view, "an entry lies outside the arena");
                c->sequences[n++] = word_get(&entry->sequence);
        }
        return r;
}

/* Calls fn for the table word of each segment that hangs from the view's line. */
typedef objd_status (*segment_fn)(struct view *view, uint64_t word, void *context);

static objd_status each_segment(struct view *view, segment_fn fn, void *context)
{
        uint64_t root = view->line->root[0], hash = 0, width = 1ULL << (58 - (table_depth(root) & 31));
        objd_status r = OBJD_OK;

        if (!table_depth(root))
                return root ? fn(view, root, context) : OBJD_OK;
        for (uint64_t i = 0; i < 1ULL << table_depth(root) && r == OBJD_OK;) {
                uint64_t word, n = 1;
                uint32_t depth;

                r = load_table_word(view, hash, &word, &depth);
                if (r == OBJD_OK && word) {
                        const struct segment_shm *segment = segment_at(view->lane->arena, word);
                        uint32_t local = segment ? segment_numbers(segment).depth : depth;

                        if (!segment || local > depth)
                                return fail(OBJD_E_CORRUPT,
                                            "the dict is damaged: a segment lies outside the arena");
                        n = 1ULL << (depth - local);
                        r = fn(view, word, context);
                }
                i += n;
                hash += n * width;
        }
        return r;
}

/* All lines that have entries, with the dict frozen or locked. */
static objd_status each_segment_of(struct lane *lane, struct object_shm *object, segment_fn fn, void *context)
{
        struct view view = { .lane = lane, .limit = arena_limit(lane->arena), .locked = !lane->read_only };
        struct line_shm *shards = dict_shards(lane->arena, object);
        objd_status r = OBJD_OK;

        if (!shards && (word_get(&object->line.root[0]) & DICT_SHARDED))
                return fail(OBJD_E_CORRUPT, "the dict is damaged: its shards lie outside the arena");
        for (uint32_t i = 0; r == OBJD_OK && i < (shards ? DICT_SHARDS : 1); i++) {
                view.line = shards ? &shards[i] : &object->line;
                view.version = lock_read_begin(view.line);
                r = each_segment(&view, fn, context);
        }
        return r;
}

/* Puts the items into the order of their sequence numbers. */
static objd_status sort_items(struct collector *c)
{
        size_t n = c->items->len;
        struct sequenced *sorted = n ? calloc(n, sizeof(*sorted)) : NULL;

        if (n && !sorted)
                return fail(OBJD_E_NOMEM, "no memory to sort the copy of a dict");
        for (size_t i = 0; i < n; i++)
                sorted[i] = (struct sequenced){ c->sequences[i], c->items->item[i] };
        if (n)
                qsort(sorted, n, sizeof(*sorted), compare_sequence);
        for (size_t i = 0; i < n; i++)
                c->items->item[i] = sorted[i].item;
        free(sorted);
        return OBJD_OK;
}

static objd_status collect(struct lane *lane, struct objd_object *dict, void *context)
{
        struct items_builder *items = context;
        struct object_shm *object = dict->shm;
        struct collector c = { .items = items, .room = count_frozen(lane, object) };
        objd_status r;

        items_cut(items, 0);
        if (c.room > lane->arena->mapped / sizeof(struct entry_shm))
                return fail(OBJD_E_CORRUPT,
                            "the dict is damaged: it counts more entries than the arena can hold");
        c.sequences = calloc(c.room + 1, sizeof(*c.sequences));
        if (!c.sequences)
                return fail(OBJD_E_NOMEM, "no memory for the copy of a dict");
        r = each_segment_of(lane, object, collect_segment, &c);
        if (r == OBJD_OK)
                r = sort_items(&c);
        free(c.sequences);
        return r;
}

objd_status dict_collect(struct objd_object *dict, struct items_builder *items)
{
        struct lane *lane;
        objd_status r = lane_enter_to_read(dict->conn->arena, conn_timeout(dict->conn), &lane);

        if (r)
                return r;
        r = object_touch(dict);
        if (r == OBJD_OK)
                r = with_frozen(lane, dict, collect, items);
        lane_leave(lane);
        return r;
}

/* ---- Frozen ------------------------------------------------------------------------------------------- */

struct offers {
        struct ranking *ranking;
        uint64_t left; /* a damaged directory may lead in circles; there are never more entries than words */
};

static objd_status offer_segment(struct view *view, uint64_t word, void *context)
{
        const struct segment_shm *segment = segment_at(view->lane->arena, word);
        struct offers *offers = context;

        for (uint32_t i = 0; segment && i < table_groups(word) * DICT_GROUP; i++) {
                uint64_t slot = word_get(&segment->slots[i]), head;
                const struct entry_shm *entry;

                if (slot <= SLOT_GONE)
                        continue;
                entry = load_entry(view, slot, &head);
                if (!entry || !offers->left--)
                        return fail(OBJD_E_CORRUPT, "the dict is damaged: an entry lies outside the arena");
                ranking_offer(offers->ranking, (struct rank){ .minor = word_get(&entry->sequence),
                                                              .place = slot_off_of(slot) });
        }
        return OBJD_OK;
}

static objd_status visit_entry(struct lane *lane, uint64_t off, visit_fn fn, void *context)
{
        struct view view = { .lane = lane, .limit = arena_limit(lane->arena), .locked = true };
        uint64_t head = 0;
        struct entry_shm *entry = load_entry(&view, off >> 3, &head);
        struct visit visit = { .key_type = (objd_type)entry_key_type(head),
                               .key_size = entry_key_size(head),
                               .type = entry_value_type(head),
                               .size = entry_value_size(head) };
        objd_status r;

        if (!entry)
                return fail(OBJD_E_CORRUPT, "the dict is damaged: an entry lies outside the arena");
        visit.key = entry->data;
        r = load_value(&view, entry, head, &visit.bytes);
        return r ? r : fn(context, &visit);
}

objd_status dict_get_state(struct lane *lane, struct objd_object *dict, struct object_state *ret_state)
{
        *ret_state = (struct object_state){ .len = count_frozen(lane, dict->shm) };
        return OBJD_OK;
}

/* In the order in which the keys were first set, without holding more than the order itself. */
objd_status dict_visit(struct lane *lane, struct objd_object *dict, visit_fn fn, void *context)
{
        struct ranking ranking;
        struct offers offers = { .ranking = &ranking };
        objd_status r = ranking_init(&ranking, count_frozen(lane, dict->shm), RANKING_ROOM);

        if (r)
                return r;
        do {
                ranking_begin_turn(&ranking);
                offers.left = arena_limit(lane->arena) / 8;
                r = each_segment_of(lane, dict->shm, offer_segment, &offers);
                ranking_end_turn(&ranking);
                for (size_t i = 0; i < ranking.len && r == OBJD_OK; i++)
                        r = visit_entry(lane, ranking.ranks[i].place, fn, context);
        } while (r == OBJD_OK && ranking.more);
        ranking_deinit(&ranking);
        return r;
}
