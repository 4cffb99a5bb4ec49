/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dict_whole.c -- a dict as a whole, as it is at one moment: its length, a copy, each entry in the order in which keys were first set
 */

#include "object/dict_view.h"

#include <stdlib.h>

#include "base/status.h"
#include "object/ranking.h"

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
        return r == READ_AGAIN ? dict_lines_do_not_fit(dict) : r;
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
        objd_status r = dict_add_entries(view, NULL, word, NULL, c->items);

        for (uint32_t i = 0; r == OBJD_OK && i < table_groups(word) * DICT_GROUP; i++) {
                uint64_t slot = word_get(&segment->slots[i]), head;
                const struct entry_shm *entry;

                if (slot <= SLOT_GONE)
                        continue;
                if (n >= c->room || n >= c->items->len)
                        return view_again_or(view, "it has more entries than it counts");
                entry = view_entry(view, slot, &head);
                if (!entry)
                        return view_again_or(view, "an entry lies outside the arena");
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

                r = view_table_word(view, hash, &word, &depth);
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
                entry = view_entry(view, slot, &head);
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
        struct entry_shm *entry = view_entry(&view, off >> 3, &head);
        struct visit visit = { .key_type = (objd_type)entry_key_type(head),
                               .key_size = entry_key_size(head),
                               .type = entry_value_type(head),
                               .size = entry_value_size(head) };
        objd_status r;

        if (!entry)
                return fail(OBJD_E_CORRUPT, "the dict is damaged: an entry lies outside the arena");
        visit.key = entry->data;
        r = view_value(&view, entry, head, &visit.bytes);
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
