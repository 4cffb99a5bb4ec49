/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * rider.h -- an answer that is written down in the very transaction that it tells of
 *
 * The daemon answers a change that it has made for a session even if it dies before the answer is sent: the next one finds the
 * answer in the session's records, a dict from slots to bytes, and does not make the change again. So the answer has to be
 * written with the change. A rider is that write; it is hung into the lane (lane->rider) for the call, and whatever
 * transaction the call makes (op_run(), a creation, a deletion, a new name) plans, locks and applies it along with its own.
 */

#include "object/op.h"

struct rider {
        struct objd_object *records;
        int64_t slot;

        /*
         * The answer's bytes, made when all else has been applied, so that results are there; they must stand until the call is over.
         * @return OBJD_OK, or why the change cannot be made after all
         */
        objd_status (*answer)(struct rider *rider, objd_value *ret_bytes);
        objd_ref made; /* by a creation: what it made */

        /* rider_begin() sets these. */
        struct op op;
        objd_value key, value;
};

/* Hangs it in; rider_end() takes it out. All but the last three fields have been set. */
void rider_begin(struct lane *lane, struct rider *rider);
void rider_end(struct lane *lane);

objd_status rider_plan_slowly(struct lane *lane, struct plan *plan);
objd_status rider_verify_slowly(struct lane *lane);
objd_status rider_apply_slowly(struct lane *lane);

/* With the plan of the change: the line of the record. */
static inline objd_status rider_plan(struct lane *lane, struct plan *plan)
{
        return __builtin_expect(lane->rider != NULL, 0) ? rider_plan_slowly(lane, plan) : OBJD_OK;
}

/* With all lines locked. @return OBJD_OK, OP_PLAN_AGAIN, OBJD_E_GONE (the records are no longer there) */
static inline objd_status rider_verify(struct lane *lane)
{
        return __builtin_expect(lane->rider != NULL, 0) ? rider_verify_slowly(lane) : OBJD_OK;
}

/* When all else has been applied, before the commit. */
static inline objd_status rider_apply(struct lane *lane)
{
        return __builtin_expect(lane->rider != NULL, 0) ? rider_apply_slowly(lane) : OBJD_OK;
}
