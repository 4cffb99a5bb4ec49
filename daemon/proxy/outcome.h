/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * outcome.h -- an answer, with the memory of what it points to
 *
 * The answers of a batch stand side by side, as the reply and the record take them. What only a few calls have stands apart, so that a
 * hundred plain ones stay in the first caches.
 */

#include "object/op.h"
#include "rpc/call.h"

/* What calls on names, on the whole store, and cursors find out. */
struct outcome_more {
        objd_info info;
        objd_stats stats;
        uint64_t position[3];
};

struct outcome {
        struct answer *answer;
        struct outcome_more *more; /* NULL: outcome_has_more() */
        objd_buf buf;
        objd_pin *pin; /* the value is read where it lies */
        objd_items *items;
        objd_info *infos;
        char *sentence;
        size_t charged; /* to the session's account: job.c's */
};

/* Buffers that small values are read into, from one batch to the next. */
#define OUTCOME_SPARES 128u
#define OUTCOME_SPARE_BYTES 1024u

struct outcome_spares {
        objd_buf bufs[OUTCOME_SPARES];
        size_t n;
};

/* Whether calls with this code need an outcome_more. */
bool outcome_has_more(enum call_code code);

void outcome_init(struct outcome *outcome, enum call_code code, struct answer *answer,
                  struct outcome_more *more);

/* A buffer for a call that may read a value; what it takes of memory beyond that is its own. */
void outcome_lend(struct outcome *outcome, struct outcome_spares *spares);

/* Forgets what it has found out. */
void outcome_reset(struct outcome *outcome);

/* spares NULL: none are kept. */
void outcome_free(struct outcome *outcome, struct outcome_spares *spares);
void outcome_spares_free(struct outcome_spares *spares);

/* As before the call was run; what has been charged for it stays charged. */
void outcome_reset(struct outcome *outcome);

/* Bytes of memory that it has of its own. */
size_t outcome_cost(const struct outcome *outcome);

/* How the call has ended; keeps the sentence of this thread's last failure if it has not ended well. Gives status. */
objd_status outcome_end(struct outcome *outcome, objd_status status);

/* What the operations of a call have given, once they are applied: n of them, all of the same code. */
void outcome_from_ops(struct outcome *outcome, const struct op *ops);

/* What there is to say of a handle: its ref, kind and configuration. name may be NULL. */
void outcome_of_handle(struct outcome *outcome, const struct objd_object *handle, const char *name);

/* The same for an object that is being made. */
void outcome_of_new(struct outcome *outcome, objd_ref ref, const struct call *call);

/* Takes the items over. */
void outcome_items(struct outcome *outcome, objd_items *items);
