/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * lane.h -- a thread's lane: enter and leave around every call, claim and release at the edges
 */

#include <objd.h>

#include "arena/arena.h"
#include "arena/life.h"

/* The thread's side of a lane. Lives in a list of the thread; never shared, never moved. */
struct lane {
        struct lane_shm *shm;
        struct arena *arena; /* counted */
        struct lane *next;
        uint32_t number;
        uint32_t depth;        /* 1 while a call is under way */
        uint64_t fork_generation; /* fork.h: in which process this lane was claimed */
        const void *frame;     /* stack address of the call under way */
        uint64_t self;         /* id of the claim that this thread really has; differs when it stands in for a dead lane */
        int64_t timeout_ns;    /* of the call under way: how long it may wait for living holders */
        int64_t deadline_ns;   /* the same as a moment; 0 until lane_deadline() is asked */
        uint32_t spin;         /* adaptive: how long waiting by spinning has been worth it */
        bool starved;          /* a note found no room: the commit will refuse */
};

/*
 * The thread's lane in this arena, claimed if it has none, and its epoch raised to odd: from here to lane_leave()
 * no block of lines is retired and no memory is punched. timeout_ns is for waiting on living holders.
 * A call that this thread never finished (longjmp) is rolled back first.
 * @return OBJD_OK, OBJD_E_REENTERED, OBJD_E_LIMIT (no lane free), OBJD_E_NOMEM, OBJD_E_BUSY
 */
objd_status lane_enter(struct arena *arena, int64_t timeout_ns, struct lane **ret_lane);
void lane_leave(struct lane *lane);

/* The moment (monotonic) from which the call under way waits no more for living holders. */
int64_t lane_deadline(struct lane *lane);

/* Whether this is a stand-in for a dead lane, made by lane_impersonate(). */
static inline bool lane_is_stand_in(const struct lane *lane) {
        return lane->self != id_make(lane->number, lane->shm->generation);
}

/* Around a sleep: let the epoch go, take it up again. Pointers to lines and chunks are void after it. */
void lane_rest(struct lane *lane);
void lane_resume(struct lane *lane);

/* The id of the lane's claim: dead as soon as its thread has died or given the lane back. */
static inline uint64_t lane_id(const struct lane *lane) {
        return id_make(lane->number, lane->shm->generation);
}

/* Whether the claim with this id still stands and its thread lives. */
bool lane_id_is_alive(struct arena *arena, uint64_t lane_id);

/* Gives all lanes of this thread in this arena back; for the end of a connection. */
void lane_release_own(struct arena *arena);

/* A private stand-in for somebody's lane, to finish or undo what its dead owner left (recover.c). */
void lane_impersonate(struct lane *lane, struct arena *arena, uint32_t number, uint64_t by_lane_id);
