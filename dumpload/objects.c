/* SPDX-License-Identifier: Apache-2.0 */

/*
 * objects.c -- the objects of a store, also those without a name
 *
 * The block table says which blocks hold objects, and each such block which of its slots are in use. Both
 * are read without a lock, inside an epoch, so that the blocks' memory stays; what is read may be out of
 * date, and so may be what is found.
 */

#include "dumpload/objects.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/utf8.h"
#include "object/object.h"

struct refs {
        objd_kind kind; /* of which objects */
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

/* A slot of no kind is no object, but holds further lines of one. */
static bool is_wanted(const struct refs *list, objd_kind kind)
{
        return kind && (list->kind == OBJD_KIND_ANY || list->kind == kind);
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

                /* Free, being made or deleted, or the dict of names. */
                if (!(word_get(&head->used[i / 64]) >> i % 64 & 1) || !ref.serial ||
                    place == arena->header->names)
                        continue;
                if (!is_wanted(list, object_kind(word_get(&object->line.config))))
                        continue;
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

objd_status objects_list(objd_conn *conn, objd_kind kind, objd_ref **ret_refs, size_t *ret_len)
{
        struct refs list = { .kind = kind };
        struct lane *lane;
        objd_status r;

        r = lane_enter_to_read(conn->arena, conn->timeout_ns, &lane);
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

/* The name as it stands there, without a lock. False if there is none, or it cannot be one. */
static bool peek_name(const struct arena *arena, const struct object_shm *object,
                      char ret_name[OBJD_NAME_MAX + 1])
{
        uint64_t words[4], chunk[(OBJD_NAME_MAX + 1) / 8];
        const void *from = words + 1;
        size_t size;

        static_assert(offsetof(struct object_shm, name) == offsetof(struct object_shm, name_size) + 8,
                      "they are read together");
        words_out(words, &object->name_size, sizeof(words));
        size = (uint16_t)words[0];
        if (!size || size > OBJD_NAME_MAX)
                return false;
        if (size > sizeof(object->name)) {
                from = arena_at(arena, words[1] + CHUNK_HEAD, sizeof(chunk));
                if (!from)
                        return false;
                words_out(chunk, from, size);
                from = chunk;
        }
        memcpy(ret_name, from, size);
        ret_name[size] = '\0';
        return utf8_is_valid(ret_name, size);
}

void objects_label(objd_conn *conn, objd_ref ref, char ret_label[OBJD_NAME_MAX + 1])
{
        struct object_shm *object;
        struct lane *lane;
        bool named = false;

        if (lane_enter_to_read(conn->arena, conn->timeout_ns, &lane) == OBJD_OK) {
                if (object_find(conn->arena, ref, &object) == OBJD_OK)
                        named = peek_name(conn->arena, object, ret_label);
                lane_leave(lane);
        }
        if (!named)
                snprintf(ret_label, OBJD_NAME_MAX + 1, "#%" PRIu64 ".%" PRIu64, ref.place, ref.serial);
}

objd_status objects_open(objd_conn *conn, const char *name, objd_kind kind, objd_object **ret_object)
{
        objd_ref ref;
        int end = 0;

        if (sscanf(name, "#%" SCNu64 ".%" SCNu64 "%n", &ref.place, &ref.serial, &end) == 2 && !name[end])
                return objd_open_ref(conn, ref, kind, ret_object);
        return objd_open(conn, name, kind, ret_object);
}
