/* SPDX-License-Identifier: Apache-2.0 */

/*
 * objects.c -- the objects of a store, also those without a name
 *
 * The block table says which blocks hold objects, and each such block which of its slots are in use. Both
 * are read without a lock, inside an epoch, so that the blocks' memory stays; what is read may be out of
 * date, and so may be what is found.
 */

#include "objects.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/status.h"
#include "object/object.h"

struct refs {
        objd_ref *refs;
        size_t len, room;
};

static objd_status add_ref(struct refs *list, objd_ref ref)
{
        if (list->len == list->room) {
                size_t room = list->room ? list->room * 2 : 256;
                objd_ref *refs = realloc(list->refs, room * sizeof(*refs));

                if (!refs)
                        return fail(OBJD_E_NOMEM, "no memory for the list of all objects");
                list->refs = refs;
                list->room = room;
        }
        list->refs[list->len++] = ref;
        return OBJD_OK;
}

static objd_status add_block(const struct arena *arena, uint64_t block, struct refs *list)
{
        const uint64_t start = arena->data_off + (block << BLOCK_SHIFT);
        const struct slot_block_shm *head = arena_at(arena, start, BLOCK_SIZE);

        for (uint32_t i = 1; head && i < SLOTS_PER_BLOCK; i++) {
                const uint64_t place = start + i * SLOT_SIZE;
                const struct object_shm *object = (const struct object_shm *)(arena->base + place);
                objd_ref ref = { .place = place, .serial = word_get(&object->line.serial) };
                objd_status r;

                if (!(word_get(&head->used[i / 64]) >> i % 64 & 1) || !ref.serial ||
                    place == arena->header->names || !object_kind(word_get(&object->line.config)))
                        continue; /* free, being made or deleted, the dict of names, or no object of its own */
                r = add_ref(list, ref);
                if (r)
                        return r;
        }
        return OBJD_OK;
}

static objd_status add_blocks(const struct arena *arena, struct refs *list)
{
        uint64_t n = word_get(&arena->header->pool.frontier);

        if (n > arena->n_blocks)
                n = arena->n_blocks;
        for (uint64_t block = 0; block < n; block++) {
                objd_status r;

                if (__atomic_load_n(&arena->blocks[block].state, __ATOMIC_RELAXED) != BLOCK_SLOTS)
                        continue;
                r = add_block(arena, block, list);
                if (r)
                        return r;
        }
        return OBJD_OK;
}

objd_status objects_list(objd_conn *conn, objd_ref **ret_refs, size_t *ret_len)
{
        struct refs list = { 0 };
        struct lane *lane;
        objd_status r;

        r = lane_enter(conn->arena, conn->timeout_ns, &lane);
        if (r)
                return r;
        r = add_blocks(conn->arena, &list);
        lane_leave(lane);
        if (r) {
                free(list.refs);
                return r;
        }
        *ret_refs = list.refs;
        *ret_len = list.len;
        return OBJD_OK;
}

objd_status objects_open(objd_conn *conn, const char *name, objd_kind kind, objd_object **ret_object)
{
        objd_ref ref;
        int end = 0;

        if (sscanf(name, "#%" SCNu64 ".%" SCNu64 "%n", &ref.place, &ref.serial, &end) == 2 && !name[end])
                return objd_open_ref(conn, ref, kind, ret_object);
        return objd_open(conn, name, kind, ret_object);
}
