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

/* This claim recovers no lane any more: longjmp() has left the recovery, or its thread ends inside it. */
void recover_forget(struct arena *arena, uint64_t by_lane_id);

/*
 * Looks at every lane and recovers what is dead. From inside a call, with its lane. Returns how many. recover_in_turn()
 * is for those who wait: it does so only if nobody in the whole arena has for some milliseconds.
 */
uint32_t recover_all(struct arena *arena, struct lane *lane);
uint32_t recover_in_turn(struct arena *arena, struct lane *lane);

/* Whether what was last done at *last (CLOCK_MONOTONIC) is due again, and it is we who do it. */
bool recover_is_our_turn(uint64_t *last, int64_t every_ns);

/*
 * The same for clients whose process is gone: deletes their anonymous objects, and frees their entries. Not from inside a
 * call, since it makes calls itself. (In object/reap.c, since it knows what clients own.)
 */
uint32_t recover_clients(struct arena *arena);
uint32_t recover_clients_in_turn(struct arena *arena);

/*
 * The same in turn from inside a call that waits and holds nothing. Pointers to lines and chunks are void after it, as
 * after a sleep.
 */
void recover_clients_inside(struct lane *lane);

/* For whoever comes to an arena, or makes objects in it: lanes and clients, in turn. Not from inside a call. */
void recover_on_arrival(struct arena *arena);
