/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * past.h -- how changes have failed that may be asked for again
 *
 * What a change has done stands in the records (record.h). That it has failed stands nowhere in the store, since nothing has been changed. But a
 * batch may come again when its reply has gone out, because the two met on the way. Run again, what has failed could succeed
 * now, and the client, who has been told otherwise, would never know: an item that its get has timed out for would be gone. So
 * the daemon remembers, for as long as the batch may come again. An earlier daemon's batches do not: whoever sends to
 * this one has said hello to it after it had all answers of the last one's.
 */

#include <objd.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/record.h"

/* What it takes of memory at most, for each session; beyond that the oldest are forgotten. */
#define PAST_BYTES_MAX (1u << 20)

struct past_batch;

struct past {
        struct past_batch *batches[RECORD_WINDOW]; /* by place in the window */
        size_t bytes;
};

struct job;

/* The batch is done. */
void past_keep(struct past *past, const struct job *job);

/*
 * Whether this call of a batch is known to have failed; *ret_failed is of an atomic one, whose status is asked for with place 0: 1 + the
 * place of the call that failed, or 0.
 */
bool past_find(const struct past *past, uint64_t seq, size_t place, objd_status *ret_status,
               uint32_t *ret_failed);

void past_free(struct past *past);
