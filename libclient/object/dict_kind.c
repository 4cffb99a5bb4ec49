/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dict_kind.c -- the dict's entry in the table of kinds: its operations, len, walk, check
 */

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "mem/pool.h"
#include "object/check.h"
#include "object/dict.h"
#include "object/dict_grow.h"
#include "object/dict_hash.h"
#include "object/value.h"

static objd_status check_config(const objd_config *config)
{
        if (config->key_type != OBJD_ANY && config->key_type != OBJD_INT && config->key_type != OBJD_STR &&
            config->key_type != OBJD_BYTES)
                return fail(OBJD_E_INVAL, "a dict's keys are int, str, bytes or any");
        if (config->order || config->bound || config->lock_flags)
                return fail(OBJD_E_INVAL, "a dict has no order, bound or flags");
        return OBJD_OK;
}

static objd_status create(struct lane *lane, struct object_shm *object, const objd_config *config)
{
        (void)config;
        for (int i = 0; i < 5; i++)
                txn_set(lane, &object->line.root[i], 0);
        return OBJD_OK;
}

static objd_status add_shards(const struct arena *arena, struct object_shm *object, struct plan *plan)
{
        struct line_shm *shards = dict_shards(arena, object);
        objd_status r = OBJD_OK;

        if (!dict_owns_shards(arena, object))
                return fail(OBJD_E_CORRUPT, "a dict is damaged: its shards are not where it says");
        for (uint32_t i = 0; shards && i < DICT_SHARDS && r == OBJD_OK; i++)
                r = plan_add(plan, &shards[i]);
        return r;
}

static objd_status plan_destroy(struct lane *lane, struct object_shm *object, struct plan *plan)
{
        return add_shards(lane->arena, object, plan);
}

/* The memory goes with the slot; what is left is the group of the shards, whose lines must lose their owner. */
static objd_status destroy(struct lane *lane, struct object_shm *object)
{
        struct line_shm *shards = dict_shards(lane->arena, object);

        if (!dict_owns_shards(lane->arena, object))
                return fail(OBJD_E_CORRUPT, "a dict is damaged: its shards are not where it says");
        return shards ? dict_drop_shards(lane, shards) : OBJD_OK;
}

/* ---- Planning ----------------------------------------------------------------------------------------- */

/* Whether the line that was planned, now locked, still guards the operation's hash. */
static objd_status plan_again(struct op *op, struct plan *plan)
{
        const struct object_shm *object = op->object->shm;

        if (op->line->serial != op->object->serial)
                return OP_PLAN_AGAIN;
        if (op->line == &object->line ? (object->line.root[0] & DICT_SHARDED) != 0
                                      : !dict_has_shard(op->object, op->line))
                return OP_PLAN_AGAIN;
        return plan_add(plan, op->line);
}

/* What can be refused before anything is locked. */
static objd_status check_op(const struct op *op)
{
        objd_status r = OBJD_OK;

        if (op->expected)
                r = value_check(op->expected);
        if (r == OBJD_OK && op->value)
                r = value_check_type(op->value, object_value_type(op->object->config), "value");
        if (r == OBJD_OK && op->value)
                r = value_check(op->value);
        if (r == OBJD_OK && op->code == OP_DICT_ADD_INT)
                r = value_check_type(&(objd_value){ .type = OBJD_INT }, object_value_type(op->object->config),
                                     "sum");
        if (r == OBJD_OK && op->code == OP_DICT_ADD_FLOAT)
                r = value_check_type(&(objd_value){ .type = OBJD_FLOAT },
                                     object_value_type(op->object->config), "sum");
        return r;
}

static objd_status plan_key(struct lane *lane, struct op *op, struct plan *plan)
{
        objd_status r;

        if (op->line && lock_is_held(lane, op->line))
                return dict_goes_by(op->object, &op->made) ? plan_again(op, plan) : OP_PLAN_AGAIN;
        r = check_op(op);
        if (r == OBJD_OK)
                r = key_make(lane->arena, op->object->config, op->key, &op->made);
        if (r)
                return r;
        r = dict_line_of(lane, op->object, &op->made, &op->line);
        return r ? r : plan_add(plan, op->line);
}

/* The object's line and all shards; with the object's line locked, they are what they are. */
static objd_status plan_all(struct lane *lane, struct op *op, struct plan *plan)
{
        struct line_shm *line = &op->object->shm->line, *first;
        objd_status r = dict_line(lane, op->object, 0, &first);

        if (r == OBJD_OK)
                r = plan_add(plan, line);
        for (uint32_t i = 0; r == OBJD_OK && first != line && i < DICT_SHARDS; i++)
                r = plan_add(plan, &first[i]);
        return r;
}

/* Some line with entries; none only if a count of all of them at one moment says so. */
static objd_status plan_any(struct lane *lane, struct op *op, struct plan *plan)
{
        objd_status r;

        if (op->line && lock_is_held(lane, op->line))
                return op->line->root[1] ? plan_again(op, plan) : OP_PLAN_AGAIN;
        for (uint32_t turn = 0; turn < OP_PLANS_MAX; turn++) {
                uint64_t start = (uint64_t)lane->number + lane->shm->n_writes, len;

                for (uint64_t i = 0; i < DICT_SHARDS; i++) {
                        r = dict_line(lane, op->object, (start + i) << 58, &op->line);
                        if (r)
                                return r;
                        if (word_get(&op->line->root[1]))
                                return plan_add(plan, op->line);
                }
                r = dict_count(lane, op->object, &len);
                if (r || !len)
                        return r ? r : fail(OBJD_E_EMPTY, "%s is empty", object_label(op->object));
        }
        return OP_PLAN_AGAIN;
}

static objd_status plan(struct lane *lane, struct op *op, struct plan *plan)
{
        switch (op->code) {
        case OP_DICT_CLEAR:
        case OP_DICT_REHASH:
                return plan_all(lane, op, plan);
        case OP_DICT_POP_ANY:
                return plan_any(lane, op, plan);
        default:
                return plan_key(lane, op, plan);
        }
}

/* ---- Fetching ------------------------------------------------------------------------------------------ */

#define CACHE_LINE 64u

/* The entry in the first slot with the tag; in a full group, the key may stand in another one. */
static void fetch_entry(const struct arena *arena, const uint64_t *slots, uint64_t tag)
{
        for (uint32_t i = 0; i < DICT_GROUP; i++)
                if (slots[i] >> 37 == tag && slots[i] > SLOT_GONE) {
                        const uint8_t *entry = arena_at(arena, slot_off_of(slots[i]), 3 * CACHE_LINE);

                        for (uint32_t at = 0; entry && at < 3 * CACHE_LINE; at += CACHE_LINE)
                                __builtin_prefetch(entry + at, 1);
                        return;
                }
}

/* First the key's slots, with the numbers of their segment; then, by what stands in them, its entry. */
static void fetch(struct lane *lane, const struct op *op, unsigned step)
{
        const struct arena *arena = lane->arena;
        const struct segment_shm *segment;
        const uint64_t *place, *slots;

        if (!op->key || !op->line)
                return;
        place = dict_table_place(arena, op->line, op->made.hash);
        segment = place && *place ? segment_at(arena, *place) : NULL;
        if (!segment)
                return;
        slots = &segment->slots[(size_t)hash_group(op->made.hash, table_groups(*place)) * DICT_GROUP];
        if (step) {
                fetch_entry(arena, slots, hash_tag(op->made.hash));
                return;
        }
        __builtin_prefetch(slots, 1);
        __builtin_prefetch(segment, 1);
}

/* ---- Applying ----------------------------------------------------------------------------------------- */

static objd_status no_key(const struct op *op)
{
        return fail(OBJD_E_NOTFOUND, "%s has no such key", object_label(op->object));
}

static objd_status read_current(struct lane *lane, struct entry_shm *entry, objd_buf *buf,
                                objd_value *ret_value)
{
        return dict_value_out(lane, entry, 0, ret_value, buf);
}

static objd_status apply_cas(struct lane *lane, struct op *op, const struct key *key, struct entry_shm *entry)
{
        struct object_shm *object = op->object->shm;
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r = OBJD_OK;
        objd_value current;
        bool same = !entry && !op->expected;

        if (entry && op->expected) {
                r = read_current(lane, entry, &buf, &current);
                same = r == OBJD_OK && objd_value_equal(&current, op->expected);
                objd_buf_free(&buf);
        }
        if (r)
                return r;
        if (!same)
                return fail(OBJD_E_MISMATCH, "%s has another value for this key", object_label(op->object));
        if (op->value)
                return dict_put(lane, object, key, op->value);
        return entry ? dict_remove(lane, object, key) : OBJD_OK;
}

static objd_status apply_add_int(struct lane *lane, struct op *op, const struct key *key,
                                 struct entry_shm *entry)
{
        int64_t sum = op->u.integer, old = 0;

        if (entry && entry_value_type(entry->head) != OBJD_INT)
                return fail(OBJD_E_TYPE, "%s: the value to add to is no int", object_label(op->object));
        if (entry)
                old = (int64_t)*entry_value(entry, entry->head);
        if (__builtin_add_overflow(old, op->u.integer, &sum))
                return fail(OBJD_E_RANGE, "%s: the sum does not fit 64 bits", object_label(op->object));
        op->result = objd_int(sum);
        return dict_put(lane, op->object->shm, key, &op->result);
}

static objd_status apply_add_float(struct lane *lane, struct op *op, const struct key *key,
                                   struct entry_shm *entry)
{
        double old = 0;

        if (entry && entry_value_type(entry->head) != OBJD_FLOAT)
                return fail(OBJD_E_TYPE, "%s: the value to add to is no float", object_label(op->object));
        if (entry)
                memcpy(&old, entry_value(entry, entry->head), sizeof(old));
        op->result = objd_float(old + op->u.real);
        return dict_put(lane, op->object->shm, key, &op->result);
}

static objd_status apply_key(struct lane *lane, struct op *op)
{
        struct object_shm *object = op->object->shm;
        const struct key *key = &op->made;
        struct entry_shm *entry;
        objd_status r;

        if (op->code == OP_DICT_SET)
                return dict_put(lane, object, key, op->value);
        if (op->code == OP_DICT_DEL) {
                r = dict_remove(lane, object, key);
                return r == OBJD_E_NOTFOUND ? no_key(op) : r;
        }
        r = dict_find(lane, dict_guard(lane->arena, object, key->hash), key, &entry);
        if (r)
                return r;
        switch (op->code) {
        case OP_DICT_SET_NEW:
                if (entry)
                        return fail(OBJD_E_EXISTS, "%s has this key already", object_label(op->object));
                return dict_put(lane, object, key, op->value);
        case OP_DICT_CAS:
                return apply_cas(lane, op, key, entry);
        case OP_DICT_ADD_INT:
                return apply_add_int(lane, op, key, entry);
        case OP_DICT_ADD_FLOAT:
                return apply_add_float(lane, op, key, entry);
        case OP_DICT_GET:
        case OP_DICT_POP:
                if (!entry)
                        return no_key(op);
                r = read_current(lane, entry, op->buf, &op->result);
                return r || op->code == OP_DICT_GET ? r : dict_remove(lane, object, key);
        default:
                return fail(OBJD_E_INVAL, "no operation of a dict");
        }
}

/* Key and value of some entry go to the caller's buffer, one behind the other. */
static objd_status apply_pop_any(struct lane *lane, struct op *op)
{
        struct entry_shm *entry;
        struct key key;
        objd_status r = dict_some(lane, op->line, &entry);

        if (r)
                return r;
        key.type = entry_key_type(entry->head);
        key.size = entry_key_size(entry->head);
        if (key.size > OBJD_KEY_MAX)
                return fail(OBJD_E_CORRUPT, "%s is damaged: a key is too long", object_label(op->object));
        r = dict_value_out(lane, entry, round8(key.size), &op->result, op->buf);
        if (r)
                return r;
        words_out(op->buf->data, entry->data, key.size);
        key.data = op->buf->data;
        key.hash = dict_hash(lane->arena, op->object->shm, key.type, key.data, key.size);
        key.keyed = word_get(&op->object->shm->line.config) & OBJECT_KEYED;
        r = value_decode((objd_type)key.type, op->buf->data, key.size, &op->result_key);
        return r ? r : dict_remove(lane, op->object->shm, &key);
}

static objd_status apply(struct lane *lane, struct op *op)
{
        switch (op->code) {
        case OP_DICT_CLEAR:
                return dict_clear_all(lane, op->object->shm);
        case OP_DICT_REHASH:
                return dict_rehash(lane, op->object->shm);
        case OP_DICT_POP_ANY:
                return apply_pop_any(lane, op);
        default:
                return apply_key(lane, op);
        }
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

static objd_status len(struct objd_object *dict, uint64_t *ret_len)
{
        struct lane *lane;
        objd_status r = lane_enter_to_read(dict->conn->arena, conn_timeout(dict->conn), &lane);

        if (r)
                return r;
        r = object_touch(dict);
        if (r == OBJD_OK)
                r = dict_count(lane, dict, ret_len);
        lane_leave(lane);
        return r;
}

static void get_config(const struct object_shm *object, objd_config *ret_config)
{
        (void)object;
        (void)ret_config;
}

/* Segment by segment, so that a dict of any size is walked in the memory of one. */
static objd_status walk(struct objd_object *dict, uint64_t limit, walk_fn fn, void *context)
{
        struct dict_position position = { 0 };
        objd_status r = OBJD_OK;

        while (r == OBJD_OK && limit && !position.end) {
                struct items_builder builder = { 0 };
                objd_items *items = NULL;

                r = dict_step(dict, &position, &builder);
                if (r == OBJD_OK)
                        r = items_finish(&builder, &items);
                items_discard(&builder);
                for (size_t i = 0; r == OBJD_OK && i < items->len && limit; i++, limit--)
                        r = fn(context, &items->item[i].key, &items->item[i].value);
                objd_items_free(items);
        }
        return r;
}

/* ---- Checking ----------------------------------------------------------------------------------------- */

struct dict_check {
        struct check *check;
        const struct object_shm *object;
        struct line_shm *line;
        uint32_t shard; /* DICT_SHARDS: the dict has none */
        uint64_t entries;
};

static void check_entry(struct dict_check *c, const struct segment_shm *segment, uint64_t slot,
                        struct segment_numbers *met)
{
        struct arena *arena = c->check->arena;
        struct entry_shm *entry = arena_at(arena, slot_off_of(slot), sizeof(*entry));
        uint64_t hash;

        (void)segment;
        if (!entry || !arena_has(arena, slot_off_of(slot), entry_size(entry->head)) ||
            entry_key_size(entry->head) > OBJD_KEY_MAX) {
                check_fail(c->check, "an entry lies outside the arena");
                return;
        }
        if (!check_chunk_around(arena, arena_off(arena, c->object), slot_off_of(slot),
                                entry_size(entry->head)))
                check_fail(c->check, "an entry lies in no chunk of it");
        hash = dict_hash(arena, c->object, entry_key_type(entry->head), entry->data,
                         entry_key_size(entry->head));
        if (slot >> 37 != hash_tag(hash))
                check_fail(c->check, "an entry's hash is not that of its key");
        if (c->shard < DICT_SHARDS && hash_shard(hash) != c->shard)
                check_fail(c->check, "an entry is in another shard than its hash says");
        if (entry_is_big(entry->head))
                (void)check_chunk(c->check, *entry_value(entry, entry->head),
                                  VALUE_CHUNK_DATA - CHUNK_HEAD + entry_value_size(entry->head));
        met->live++;
        met->live_bytes += (uint32_t)entry_size(entry->head);
}

static void check_extents(struct dict_check *c, const struct segment_shm *segment)
{
        struct arena *arena = c->check->arena;
        uint64_t own = arena_off(arena, segment) - CHUNK_HEAD, extent = segment->extent;

        for (uint32_t i = 0; extent != own; i++) {
                if (i > UINT16_MAX || !check_chunk(c->check, extent, 8)) {
                        check_fail(c->check, "a segment's extents are damaged");
                        return;
                }
                extent = *(uint64_t *)(arena->base + extent + CHUNK_HEAD);
        }
}

/* depth: of what it hangs from, a directory or nothing. */
static void check_segment(struct dict_check *c, uint64_t word, uint32_t depth)
{
        struct segment_shm *segment = segment_at(c->check->arena, word);
        struct segment_numbers n, met = { 0 };

        if (!segment || !check_chunk(c->check, table_off(word),
                                     sizeof(*segment) + table_groups(word) * DICT_GROUP * 8ULL)) {
                check_fail(c->check, "a segment lies outside the arena");
                return;
        }
        n = segment_numbers(segment);
        if (n.groups != table_groups(word))
                check_fail(c->check, "a segment has %u groups and its directory says %u", n.groups,
                           table_groups(word));
        if (n.depth > depth)
                check_fail(c->check, "a segment is of depth %u, and what it hangs from of depth %u", n.depth,
                           depth);
        check_extents(c, segment);
        for (uint32_t i = 0; i < table_groups(word) * DICT_GROUP; i++) {
                met.used += segment->slots[i] != 0;
                if (segment->slots[i] > SLOT_GONE)
                        check_entry(c, segment, segment->slots[i], &met);
        }
        if (met.used != n.used || met.live != n.live || met.live_bytes != n.live_bytes)
                check_fail(c->check, "a segment says %u slots, %u entries, %u bytes and has %u, %u, %u",
                           n.used, n.live, n.live_bytes, met.used, met.live, met.live_bytes);
        if (n.tail_used > n.tail_size)
                check_fail(c->check, "a segment's last extent is over full");
        c->entries += met.live;
}

static void check_directory(struct dict_check *c)
{
        struct arena *arena = c->check->arena;
        uint64_t root = c->line->root[0], *words;
        uint32_t depth = table_depth(root);

        if (!check_chunk(c->check, table_off(root), depth < 40 ? 8ULL << depth : UINT64_MAX >> 1)) {
                check_fail(c->check, "a directory lies outside the arena");
                return;
        }
        words = (uint64_t *)(arena->base + table_off(root) + CHUNK_HEAD);
        for (uint64_t i = 0; i < 1ULL << depth;) {
                struct segment_shm *segment = words[i] ? segment_at(arena, words[i]) : NULL;
                uint32_t local = segment ? segment_numbers(segment).depth : depth;
                uint64_t n = local <= depth ? 1ULL << (depth - local) : 1;

                if (words[i])
                        check_segment(c, words[i], depth);
                if (i % n)
                        check_fail(c->check, "a directory's words are out of step");
                for (uint64_t k = 1; k < n && i + k < 1ULL << depth; k++)
                        if (words[i + k] != words[i])
                                check_fail(c->check, "a segment is not where its depth says");
                i += n;
        }
}

static void check_line(struct check *check, const struct object_shm *object, struct line_shm *line,
                       uint32_t shard)
{
        struct dict_check c = { .check = check, .object = object, .line = line, .shard = shard };

        if (table_depth(line->root[0]))
                check_directory(&c);
        else if (line->root[0])
                check_segment(&c, line->root[0], 0);
        if (c.entries != line->root[1])
                check_fail(check, "it counts %llu entries and has %llu", (unsigned long long)line->root[1],
                           (unsigned long long)c.entries);
}

static void check(struct check *check, struct object_shm *object)
{
        struct line_shm *shards = dict_shards(check->arena, object);

        if (!(object->line.root[0] & DICT_SHARDED)) {
                check_line(check, object, &object->line, DICT_SHARDS);
                return;
        }
        if (!shards) {
                check_fail(check, "its shards lie outside the arena");
                return;
        }
        for (uint32_t i = 0; i < DICT_SHARDS; i++) {
                if (shards[i].serial != object->line.serial)
                        check_fail(check, "shard %u belongs to another object", i);
                check_line(check, object, &shards[i], i);
        }
}

const struct kind dict_kind = {
        .kind = OBJD_DICT,
        .name = "dict",
        .check_config = check_config,
        .create = create,
        .plan_destroy = plan_destroy,
        .destroy = destroy,
        .plan = plan,
        .fetch = fetch,
        .apply = apply,
        .len = len,
        .get_config = get_config,
        .walk = walk,
        .get_state = dict_get_state,
        .visit = dict_visit,
        .check = check,
        .salvage = dict_salvage,
};
