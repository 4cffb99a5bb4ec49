/* SPDX-License-Identifier: Apache-2.0 */
/*
 * object.c -- handles: are they still good, and what to call them
 */

#include "object/object.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fork.h"
#include "base/status.h"
#include "mem/pool.h"

void objd_next_timeout(int64_t timeout_ns)
{
        next_timeout = (struct next_timeout){ .set = true, .timeout_ns = timeout_ns };
}

/* A holder whose frame lies below ours has been left by longjmp(): stacks grow downwards, and its steps are called from it. */
static bool is_left(const void *frame)
{
        return (uintptr_t)next_timeout.holder < (uintptr_t)frame;
}

int64_t next_timeout_use(int64_t otherwise_ns)
{
        int64_t timeout_ns = next_timeout.timeout_ns;

        if (!next_timeout.holder) {
                next_timeout.set = false;
                return timeout_ns;
        }
        if (!is_left(__builtin_frame_address(0)))
                return timeout_ns;
        next_timeout.set = false;
        return otherwise_ns;
}

const void *next_timeout_hold(const void *frame)
{
        if (!next_timeout.set)
                return NULL;
        if (next_timeout.holder) {
                next_timeout.set = !is_left(frame);
                return NULL;
        }
        next_timeout.holder = frame;
        return frame;
}

void next_timeout_end(const void **held)
{
        if (*held && next_timeout.holder == *held)
                next_timeout = (struct next_timeout){ .set = false };
}

/* Whether the place is a slot of a block of objects, now. */
static bool is_slot(const struct arena *arena, uint64_t off)
{
        uint64_t start = arena->data_off;
        uint64_t number = (off - start) >> BLOCK_SHIFT;

        return arena_has(arena, off, SLOT_SIZE) && (off - start) % BLOCK_SIZE >= SLOT_SIZE &&
               off % SLOT_SIZE == 0 &&
               __atomic_load_n(&arena->blocks[number].state, __ATOMIC_ACQUIRE) == BLOCK_SLOTS;
}

objd_status object_touch_again(struct objd_object *object, uint64_t retired)
{
        struct arena *arena = object->conn->arena;

        conn_look_for_daemon(object->conn);
        if (!is_slot(arena, arena_off(arena, object->shm)))
                return object_gone(object);
        word_set(&object->retire_seen, retired);
        return OBJD_OK;
}

objd_status object_find(struct arena *arena, objd_ref ref, struct object_shm **ret_object)
{
        if (!ref.serial || !is_slot(arena, ref.place))
                return fail(OBJD_E_GONE, "there is no object #%" PRIu64 ".%" PRIu64, ref.place, ref.serial);
        *ret_object = (struct object_shm *)(arena->base + ref.place);
        return OBJD_OK;
}

objd_status object_gone(const struct objd_object *object)
{
        return fail(OBJD_E_GONE, "the object #%" PRIu64 ".%" PRIu64 " has been deleted",
                    arena_off(object->conn->arena, object->shm), object->serial);
}

objd_status object_verify(const struct objd_object *object)
{
        if (word_get(&object->shm->line.serial) != object->serial)
                return object_gone(object);
        if (word_get(&object->shm->line.config) & OBJECT_POISONED)
                return fail(OBJD_E_CORRUPT, "%s is damaged beyond repair; delete it", object_label(object));
        return OBJD_OK;
}

uint64_t object_name_chunk(const struct object_shm *object)
{
        uint64_t off = 0;

        if (object->name_size > sizeof(object->name))
                memcpy(&off, object->name, sizeof(off));
        return off;
}

/* Whether the call that this thread is in has the line locked itself: it is then that most sentences are made. */
static bool is_locked_by_us(const struct arena *arena, const struct line_shm *line)
{
        for (const struct lane *lane = lane_own; lane; lane = lane->next)
                if (lane->arena == arena && lane->depth && lane->fork_generation == fork_generation())
                        return lock_is_held(lane, line);
        return false;
}

/* The words that hold the name come out under the line's version, and its bytes, if elsewhere, as well. */
bool object_name(const struct arena *arena, struct object_shm *object, uint64_t serial,
                 char ret_name[OBJD_NAME_MAX + 1])
{
        uint64_t words[5], buffer[32], version = lock_read_begin(&object->line), size;
        const void *from = words + 1;

        if (!lock_version_is_stable(version) && !is_locked_by_us(arena, &object->line))
                return false;
        words_out(words, (const uint64_t *)object + 12, 4 * 8);
        words[4] = word_get(&object->line.serial);
        if (!lock_read_valid(&object->line, version) || words[4] != serial)
                return false;
        size = (uint16_t)words[0];
        if (size > OBJD_NAME_MAX)
                return false;
        if (size > sizeof(object->name)) {
                const void *chunk = arena_at(arena, words[1] + CHUNK_HEAD, round8(size));

                if (!chunk)
                        return false;
                words_out(buffer, chunk, size);
                from = buffer;
        }
        memcpy(ret_name, from, size);
        ret_name[size] = 0;
        return lock_read_valid(&object->line, version);
}

const char *object_label(const struct objd_object *object)
{
        static _Thread_local char label[OBJD_NAME_MAX + 32];
        char name[OBJD_NAME_MAX + 1];

        if (object_name(object->conn->arena, object->shm, object->serial, name) && *name)
                snprintf(label, sizeof(label), "\"%s\"", name);
        else
                snprintf(label, sizeof(label), "the object #%" PRIu64 ".%" PRIu64,
                         arena_off(object->conn->arena, object->shm), object->serial);
        return label;
}
