/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dump.h -- a store, or an object and what can be reached from it, as lines of JSON
 *
 * Each object is as of one moment: it is frozen while its entries are copied (copy.h), so that writers wait and readers go on. A
 * dump of all objects as of one moment is written from a copy of the arena, and only the copy is waited for (snapshot.h). Nothing is
 * held in memory but what is in hand: half a megabyte of entries, of a value 48 KiB, of a dict or a priority queue the order of two million entries
 * (48 MiB; more of them are gone through again), 32 bytes an object, and the names of all objects.
 */

#include <stdio.h>

#include <objd.h>

struct dump_options {
        const objd_ref
                *root; /* only this object and what can be reached from it; NULL: all that have names, too */
        bool atomic;   /* all objects as of one moment */
};

struct dump_report {
        uint64_t n_objects; /* that are in the dump */
        uint64_t n_damaged; /* that are not, since they are damaged */
        char why[512];      /* of the first of these */
        int64_t pause_ns; /* how long all objects stood still, or, if not atomic, the one that did so longest */
};

/*
 * Writes the dump; the caller flushes and closes f. A damaged object is no failure: the report counts it.
 * @return OBJD_OK, OBJD_E_BUSY (a living writer), OBJD_E_SYS (writing), OBJD_E_NOMEM, OBJD_E_GONE (root), OBJD_E_CORRUPT
 */
objd_status dump_write(struct objd_conn *conn, FILE *f, const struct dump_options *options,
                       struct dump_report *ret_report);
