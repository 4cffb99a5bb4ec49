/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * outcome.h -- an answer, with the memory of what it points to
 */

#include "object/op.h"
#include "rpc/call.h"

struct outcome {
        struct answer answer;
        objd_buf buf;
        objd_items *items;
        objd_info *infos;
        objd_info info;
        objd_stats stats;
        uint64_t position[3];
        char *sentence;
        size_t charged; /* to the session's account: job.c's */
};

void outcome_init(struct outcome *outcome, enum call_code code);
void outcome_free(struct outcome *outcome);

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
