/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * copy.h -- the entries of one object, copied as they lie while it stands still, and formatted when it does not any more
 *
 * They are copied into a buffer; of an object that is larger than that, all of them go to a file without a name in $TMPDIR,
 * which is mapped to be read.
 */

#include "object/kind.h"

struct copy {
        uint8_t *buffer;
        size_t used; /* of the buffer */
        int fd;      /* -1: there is no file yet */
        uint64_t written;
        bool failed; /* there is no room for a copy */
        uint8_t *mapping;
};

/* @return OBJD_OK, OBJD_E_NOMEM */
objd_status copy_init(struct copy *copy);
void copy_deinit(struct copy *copy);

/* Forgets what has been copied. */
void copy_begin(struct copy *copy);

/* A visitor, whose context is the copy. OBJD_E_SYS, and copy->failed, if there is no room. */
objd_status copy_entry(void *context, const struct visit *visit);

/* Nothing comes any more: what has been copied can be read. @return OBJD_OK, OBJD_E_SYS (and copy->failed) */
objd_status copy_end(struct copy *copy);

/* Each entry, where it lies in the copy. @return what fn says */
objd_status copy_visit(const struct copy *copy, visit_fn fn, void *context);
