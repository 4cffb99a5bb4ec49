/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * recover.h -- finishing or undoing what the dead left
 */

#include "txn/lane.h"

/*
 * Recovers one lane if it is dead and nobody living is at it already. Anyone may call it, at any time but
 * inside the pool. Waits for no one. Returns whether the lane is free of its dead owner now.
 */
bool recover_lane(struct arena *arena, uint32_t number, uint64_t by_lane_id);

/*
 * Looks at every lane and recovers what is dead, unless somebody has just done so. From inside a call, with its lane.
 * (In object/reap.c, as the next one.) Returns how many.
 */
uint32_t recover_all(struct arena *arena, struct lane *lane);

/* The same, however little time has passed. */
uint32_t recover_lanes(struct arena *arena, struct lane *lane);

/*
 * The same for clients whose process is gone: deletes their anonymous objects, and frees their entries. Not from inside a
 * call, since it makes calls itself.
 */
uint32_t recover_clients(struct arena *arena);
uint32_t recover_clients_now(struct arena *arena);
