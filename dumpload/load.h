/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * load.h -- the objects of a dump, into a store
 *
 * Every object is made without a name, for this client alone, and filled. Only when the whole file has been read and
 * everything in it was right do the objects get their names, each in one operation. So after a failure nothing is there,
 * and after the death of the loader, at any moment, whole objects only.
 *
 * Held in memory: the longest line, the largest value, 32 bytes an object, and the names.
 */

#include <stdio.h>

#include <objd.h>

/* What becomes of an object of the file if there is one of its name. */
enum load_existing {
        LOAD_REFUSE,  /* nothing is loaded */
        LOAD_REPLACE, /* the one that is there is deleted */
        LOAD_SKIP     /* the one that is there stays, and refs to the file's lead to it */
};

struct load_report {
        uint64_t n_loaded;
        uint64_t n_skipped;
        uint64_t n_damaged; /* were damaged when the dump was made, and are not in it */
};

/*
 * f is read to its end; file is its name for sentences, which have the line's number behind it.
 * @return OBJD_OK, OBJD_E_INVAL (the file), OBJD_E_EXISTS (LOAD_REFUSE), OBJD_E_NOMEM (the arena is full), OBJD_E_SYS,
 *         and what making and filling objects may say
 */
objd_status load_read(struct objd_conn *conn, FILE *f, const char *file, enum load_existing existing,
                      struct load_report *ret_report);
