/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * load_put.h -- the entries of an object that is loaded go in many at once
 *
 * One at a time, each would be a message to the daemon and back where there is no mapping. So they are gathered in a batch, and
 * what the store says of one of them is said with the line that it stands in.
 */

#include <stddef.h>
#include <stdint.h>

#include <objd.h>

/* What goes in at once: so many entries, and so many bytes of keys and values. Others wait for that. */
#define LOAD_AT_ONCE 256u
#define LOAD_BYTES (128u << 10)

struct load;

struct pending {
        objd_batch *batch; /* NULL: there has been none yet */
        size_t n, bytes;
        uint64_t lines[LOAD_AT_ONCE]; /* of each entry */
};

/* Of the object under way. The entry is in it when load_flush() has said so. */
objd_status load_put(struct load *load, const objd_value *key, int64_t priority, const objd_value *value);
objd_status load_flush(struct load *load);

/* What has not gone in does not. */
void load_forget_pending(struct load *load);
void load_put_deinit(struct load *load);
