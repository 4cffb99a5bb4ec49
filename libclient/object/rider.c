/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rider.c -- an answer that is written down in the very transaction that it tells of
 */

#include "object/rider.h"

#include "base/status.h"
#include "object/kind.h"

void rider_begin(struct lane *lane, struct rider *rider)
{
        rider->key = objd_int(rider->slot);
        rider->value = objd_bytes("", 0);
        rider->made = (objd_ref){ 0 };
        op_init(&rider->op, OP_DICT_SET, rider->records);
        rider->op.key = &rider->key;
        rider->op.value = &rider->value;
        lane->rider = rider;
}

void rider_end(struct lane *lane)
{
        lane->rider = NULL;
}

objd_status rider_plan_slowly(struct lane *lane, struct plan *plan)
{
        struct rider *rider = lane->rider;
        objd_status r = object_touch(rider->records);

        rider->op.line = NULL;
        return r ? r : dict_kind.plan(lane, &rider->op, plan);
}

objd_status rider_verify_slowly(struct lane *lane)
{
        struct rider *rider = lane->rider;
        struct plan again = { .n = 0 };
        objd_status r = object_verify(rider->records);

        if (r == OBJD_OK)
                r = dict_kind.plan(lane, &rider->op, &again);
        return r == OBJD_OK && !plan_is_held(lane, &again) ? OP_PLAN_AGAIN : r;
}

/* The slots of a session's records are few and not of anybody's choosing: they do not collide unless they are damaged. */
objd_status rider_apply_slowly(struct lane *lane)
{
        struct rider *rider = lane->rider;
        objd_status r = rider->answer(rider, &rider->value);

        if (r == OBJD_OK)
                r = dict_kind.apply(lane, &rider->op);
        return r == OP_REHASH ? fail(OBJD_E_CORRUPT, "the records of a session are damaged: %s",
                                     object_label(rider->records))
                              : r;
}
