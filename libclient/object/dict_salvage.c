/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dict_salvage.c -- what can be read of a damaged dict
 *
 * The way from the root to the segments is not needed: every chunk that is the dict's and looks like a segment is gone through,
 * and an entry counts if its key has the hash that its slot says. That is 27 bits, under a key that is random per arena,
 * so nothing else looks like an entry by chance.
 */

#include "object/dict.h"

#include <stdlib.h>

#include "base/status.h"
#include "base/sys.h"
#include "mem/pool.h"
#include "object/dict_hash.h"
#include "object/repair.h"
#include "object/salvage.h"
#include "object/value.h"

struct found {
        uint64_t sequence;
        uint64_t off; /* of the entry */
};

struct finder {
        struct salvage *salvage;
        struct found *found;
        size_t n, room;
        bool no_memory;
};

static void keep(struct finder *finder, uint64_t sequence, uint64_t off)
{
        if (finder->n == finder->room) {
                size_t room = finder->room ? 2 * finder->room : 256;
                struct found *found = sys.resize(finder->found, room * sizeof(*found));

                if (!found) {
                        finder->no_memory = true;
                        return;
                }
                finder->found = found;
                finder->room = room;
        }
        finder->found[finder->n++] = (struct found){ sequence, off };
}

/* The encoded value, or NULL if it is not where the entry says. */
static const void *value_of(const struct salvage *salvage, struct entry_shm *entry)
{
        const uint64_t *value = entry_value(entry, entry->head);

        return entry_is_big(entry->head) ? salvage_value(salvage, *value, entry_value_size(entry->head))
                                         : value;
}

static void look_at_slot(struct finder *finder, uint64_t slot)
{
        const struct salvage *salvage = finder->salvage;
        uint64_t off = slot_off_of(slot), hash;
        struct entry_shm *entry = arena_at(salvage->arena, off, sizeof(*entry));

        if (!entry || entry_key_size(entry->head) > OBJD_KEY_MAX ||
            !salvage_chunk_around(salvage, off, entry_size(entry->head)))
                return;
        hash = dict_hash(salvage->arena, salvage->object, entry_key_type(entry->head), entry->data,
                         entry_key_size(entry->head));
        if (slot >> 37 == hash_tag(hash) && value_of(salvage, entry))
                keep(finder, entry->sequence, off);
}

static void look_at_chunk(void *context, struct chunk_shm *chunk)
{
        struct segment_shm *segment = chunk_data(chunk);
        struct finder *finder = context;
        uint64_t size = chunk_size(chunk);
        uint32_t groups;

        if (size < sizeof(*segment))
                return;
        groups = segment_numbers(segment).groups;
        if (!groups || groups > DICT_GROUPS_MAX || size < sizeof(*segment) + groups * DICT_GROUP * 8ULL)
                return;
        for (uint32_t i = 0; i < groups * DICT_GROUP; i++)
                if (segment->slots[i] > SLOT_GONE)
                        look_at_slot(finder, segment->slots[i]);
}

/* In the order in which the keys were first set; of two that are the same, once. */
static int compare_found(const void *a, const void *b)
{
        const struct found *x = a, *y = b;

        if (x->sequence != y->sequence)
                return x->sequence < y->sequence ? -1 : 1;
        return x->off < y->off ? -1 : x->off > y->off;
}

static objd_status give(struct finder *finder)
{
        struct salvage *salvage = finder->salvage;
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < finder->n && r == OBJD_OK; i++) {
                struct entry_shm *entry = arena_at(salvage->arena, finder->found[i].off, sizeof(*entry));
                struct visit visit = { .key_type = (objd_type)entry_key_type(entry->head),
                                       .key = entry->data,
                                       .key_size = entry_key_size(entry->head),
                                       .type = entry_value_type(entry->head),
                                       .bytes = value_of(salvage, entry),
                                       .size = entry_value_size(entry->head) };

                if (!i || finder->found[i].off != finder->found[i - 1].off)
                        r = salvage->fn(salvage->context, &visit);
        }
        return r;
}

/* What the lines count, as far as that can be: an entry takes more than 32 bytes. */
static uint64_t count_said(const struct salvage *salvage)
{
        const struct line_shm *shards = dict_shards(salvage->arena, salvage->object);
        uint64_t n = 0, most = arena_limit(salvage->arena) / 32;

        for (uint32_t i = 0; shards && i < DICT_SHARDS; i++)
                if (shards[i].serial == salvage->object->line.serial && shards[i].root[1] < most)
                        n += shards[i].root[1];
        if (!shards)
                n = salvage->object->line.root[1];
        return n < most ? n : 0;
}

objd_status dict_salvage(struct salvage *salvage)
{
        struct finder finder = { .salvage = salvage };
        objd_status r = OBJD_E_NOMEM;

        repair_each_chunk(salvage->arena, arena_off(salvage->arena, salvage->object), look_at_chunk, &finder);
        salvage->n_said = count_said(salvage);
        if (finder.no_memory)
                r = fail(r, "no memory to copy a dict");
        else if (finder.n)
                qsort(finder.found, finder.n, sizeof(*finder.found), compare_found);
        if (!finder.no_memory)
                r = give(&finder);
        free(finder.found);
        return r;
}
