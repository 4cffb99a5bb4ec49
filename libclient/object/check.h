/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * check.h -- walking every structure of an arena, trusting nothing
 */

#include <objd.h>

#include "object/kind.h"

typedef void (*check_report_fn)(void *context, const char *object, const char *sentence);

struct check {
        struct lane *lane;
        struct arena *arena;
        struct object_shm *object;
        char label[OBJD_NAME_MAX + 1];
        uint64_t n_chunks;    /* of this object: met while walking its structure */
        uint64_t n_errors;
        uint8_t *seen;        /* a bit for every 64 bytes of the arena: chunk heads that a structure refers to */
        check_report_fn report;
        void *context;
};

/* Says what is wrong with the object that is being checked. */
void check_fail(struct check *check, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * A kind calls this for each chunk that its structure refers to. False (and a report) if there is no chunk of this object
 * with that many bytes behind its head at this offset, or if it was met before.
 */
bool check_chunk(struct check *check, uint64_t off, uint64_t min_size);

/*
 * Checks the whole arena: blocks and bins, slabs, slots, lanes, names, each object by its kind; every chunk must belong to
 * one structure, once. Recovers the dead first. Objects are locked one at a time. @return OBJD_OK, with the
 * number of faults in *ret_errors; OBJD_E_BUSY, OBJD_E_NOMEM
 */
objd_status check_arena(struct objd_conn *conn, check_report_fn report, void *context, uint64_t *ret_errors);
