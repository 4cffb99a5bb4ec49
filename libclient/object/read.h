/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * read.h -- a read of an object under the version of one line: enter, try, look again, leave
 *
 * The attempt loads relaxed words and may find any mixture of old and new; it says nothing about what it found (no
 * sentences), and follows an offset only after read_holds() has said that the version still stands. What it returns is
 * thrown away, and the attempt made again, if the version has changed at its end.
 */

#include "base/status.h"
#include "object/object.h"
#include "txn/txn.h"

struct read {
        struct lane *lane;
        struct arena *arena;
        struct objd_object *object;
        struct line_shm *line;
        uint64_t version;
        uint32_t n_tries;
        uint32_t max_tries; /* collisions before the line is frozen */
        bool frozen;
};

typedef objd_status (*read_fn)(struct read *read, void *context);

/* Whether everything that was loaded so far belongs to the version that the attempt began with. */
static inline bool read_holds(const struct read *read)
{
        return lock_read_valid(read->line, read->version);
}

/* Keeps writers out for the rest of the read; nobody can starve it any more. */
static inline objd_status read_freeze(struct read *read, uint32_t operation)
{
        objd_status r;

        txn_begin(read->lane, operation);
        r = lock_freeze(read->lane, read->line);
        if (r) {
                lane_end_read(read->lane);
                return r;
        }
        read->frozen = true;
        read->version = lock_read_begin(read->line);
        return OBJD_OK;
}

/* The start of an attempt on a line that somebody is writing, or that has changed under the reader too often. */
static __attribute__((noinline, unused)) objd_status read_wait(struct read *read, uint32_t operation)
{
        objd_status r;

        if (read->n_tries >= read->max_tries)
                return read_freeze(read, operation);
        do {
                r = lock_wait_stable(read->lane, read->line);
                if (r)
                        return r;
                read->version = lock_read_begin(read->line);
        } while (!lock_version_is_stable(read->version));
        return OBJD_OK;
}

/* Takes the line's version, and sees that the line still belongs to the object. */
static inline objd_status read_begin(struct read *read, uint32_t operation)
{
        objd_status r;

        for (;;) {
                if (!read->frozen) {
                        read->version = lock_read_begin(read->line);
                        if (__builtin_expect(!lock_version_is_stable(read->version) ||
                                                     read->n_tries >= read->max_tries,
                                             0)) {
                                r = read_wait(read, operation);
                                if (r)
                                        return r;
                        }
                }
                if (__builtin_expect(word_get(&read->line->serial) == read->object->serial &&
                                             !(word_get(&read->line->config) & OBJECT_POISONED),
                                     1))
                        return OBJD_OK;
                r = object_verify(read->object);
                if (r && read_holds(read))
                        return r;
                read->n_tries++;
        }
}

/*
 * Reads the object under the version of its own line. attempt is inlined where it is known; operation (an OP_* code) is
 * what others are told that this lane does if it has to freeze the line.
 */
static inline __attribute__((always_inline)) objd_status read_object(struct objd_object *object,
                                                                     uint32_t operation, uint32_t max_tries,
                                                                     read_fn attempt, void *context)
{
        struct read read = { .arena = object->conn->arena,
                             .object = object,
                             .line = &object->shm->line,
                             .max_tries = max_tries };
        objd_status r = lane_enter_to_read(read.arena, conn_timeout(object->conn), &read.lane);

        if (__builtin_expect(r != OBJD_OK, 0))
                return r;
        r = object_touch(object);
        while (r == OBJD_OK) {
                r = read_begin(&read, operation);
                if (r)
                        break;
                r = attempt(&read, context);
                if (__builtin_expect(read_holds(&read), 1))
                        break;
                read.n_tries++;
                r = OBJD_OK;
        }
        if (__builtin_expect(read.frozen, 0))
                lane_end_read(read.lane);
        word_set(&read.lane->shm->n_reads, read.lane->shm->n_reads + 1);
        lane_leave(read.lane);
        return r;
}
