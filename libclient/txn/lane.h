/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * lane.h -- a thread's lane: enter and leave around every call, claim and release at the edges
 */

#include <objd.h>

#include "arena/arena.h"
#include "arena/life.h"
#include "base/fork.h"

/* The thread's side of a lane. Lives in a list of the thread; never shared, never moved. */
struct lane {
        struct lane_shm *shm;
        struct arena *arena; /* counted */
        struct lane *next;
        uint32_t number;
        uint32_t depth;           /* 1 while a call is under way */
        uint64_t fork_generation; /* fork.h: in which process this lane was claimed, */
        const uint64_t *fork_now; /* and where the generation stands that it is now; 0: to be asked for */
        uint64_t abandoned_in;    /* likewise abandoned, but there was no other lane; 0: not at all */
        const void *frame;        /* of the call under way: the address of its stack frame, */
        const void *caller;       /* and where it returns to */
        uint64_t
                self; /* id of the claim that this thread really has; differs when it stands in for a dead lane */
        uint64_t owner;      /* in whose name object locks are taken: self, but for a session's thread */
        uint64_t as_client;  /* in whose name all else is owned: a session, 0 for this process's own client */
        struct rider *rider; /* what the daemon writes down with the change under way; object/rider.h */
        int64_t timeout_ns;  /* of the call under way: how long it may wait for living holders */
        int64_t deadline_ns; /* the same as a moment; 0 until lane_deadline() is asked */
        uint32_t spin;       /* adaptive: how long waiting by spinning has been worth it */
        bool starved;        /* a note found no room: the commit will refuse */
        bool read_only;      /* the arena is; shm is ordinary memory of this process */
        bool frozen;         /* read-only: the daemon keeps writers away; see lane_end_read() */
        struct help_line *help; /* read-only: this thread's own line to the daemon (client/help.c) */
};

/*
 * The thread's lane in this arena, claimed if it has none, and its epoch raised to odd: from here to lane_leave()
 * no block of lines is retired and no memory is punched. timeout_ns is for waiting on living holders.
 * A call that this thread never finished (longjmp) is rolled back first.
 * @return OBJD_OK, OBJD_E_REENTERED, OBJD_E_LIMIT (no lane free), OBJD_E_NOMEM, OBJD_E_BUSY
 */
static inline objd_status lane_enter(struct arena *arena, int64_t timeout_ns, struct lane **ret_lane);
static inline void lane_leave(struct lane *lane);

/*
 * The same for a call that stores nothing in the arena. Only such a call can be made where the arena is mapped read-only: the
 * lane is then a private one, which lane_enter() refuses (OBJD_E_ACCESS). Its lock_freeze() asks the daemon.
 */
static inline objd_status lane_enter_to_read(struct arena *arena, int64_t timeout_ns, struct lane **ret_lane);

/* The end of what a read has frozen, instead of txn_abort(): for a read-only lane that is the daemon's business. */
void lane_end_read(struct lane *lane);

/* Whether this process may change the arena. @return OBJD_OK, OBJD_E_ACCESS */
objd_status lane_may_write(const struct arena *arena);

/* The moment (monotonic) from which the call under way waits no more for living holders. */
int64_t lane_deadline(struct lane *lane);

/* Whether this is a stand-in for a dead lane, made by lane_impersonate(). */
static inline bool lane_is_stand_in(const struct lane *lane)
{
        return lane->self != id_make(lane->number, lane->shm->generation);
}

/*
 * Around a sleep: let the epoch go, take it up again. Pointers to lines and chunks are void after it.
 * Only compiler order here: whoever retires or punches runs membarrier() between making the memory unfindable and looking
 * at the epochs, which stands in for the fence between this store and the loads of the call.
 */
static inline void lane_resume(struct lane *lane)
{
        word_set(&lane->shm->epoch, lane->shm->epoch | 1);
        order_for_death();
}

static inline void lane_rest(struct lane *lane)
{
        uint64_t epoch = lane->shm->epoch;

        order_for_death();
        word_set_release(&lane->shm->epoch, epoch + (epoch & 1));
}

/* The client to whom leases and anonymous objects of the call under way belong. */
static inline uint64_t lane_client(const struct lane *lane)
{
        return lane->as_client ? lane->as_client : word_get(&lane->shm->client);
}

/* The id of the lane's claim: dead as soon as its thread has died or given the lane back. */
static inline uint64_t lane_id(const struct lane *lane)
{
        return id_make(lane->number, lane->shm->generation);
}

/* Whether the claim with this id still stands and its thread lives. */
bool lane_id_is_alive(struct arena *arena, uint64_t lane_id);

/* The value is not read under this pin any more: whoever sees that may write where it was (is_pinned() in pool.c). */
static inline void lane_unpin(struct arena *arena, struct lane_shm *shm, uint32_t place)
{
        word_set_release(&shm->pins[place], 0);
        __atomic_fetch_sub(&arena->header->n_pins, 1, __ATOMIC_RELEASE);
}

/*
 * The lane of a by_process client is nobody's from now on: as that of a dead client, it is recovered by whoever looks. The call under
 * way goes on in another one.
 */
void lane_abandon(struct lane *lane);

/* Gives all lanes of this thread in this arena back; for the end of a connection. */
void lane_release_own(struct arena *arena);

/*
 * One more lane, which no call uses: a place for pins. Only where lanes live and die with their process (arena.by_process), and the
 * arena outlives it. @return as lane_enter()
 */
objd_status lane_claim_apart(struct arena *arena, int64_t deadline_ns, struct lane **ret_lane);
void lane_release_apart(struct lane *lane);

/*
 * The lane in whose name a thread of a session owns locks, claimed if it has none; lane->owner is set to it for the call. It lives
 * as long as the session, or until it is released. @return as lane_enter()
 */
objd_status lane_claim_for(struct arena *arena, uint64_t client, uint32_t thread, int64_t deadline_ns,
                           uint64_t *ret_owner);
void lane_release_for(struct arena *arena, uint64_t client, uint32_t thread);

/*
 * From here to lane_act_as_self() this thread's calls in the arena are made in the name of a session: what they come to own is
 * its own. owner is from lane_claim_for(), 0 where no lock will be taken. @return as lane_enter()
 */
objd_status lane_act_as(struct arena *arena, uint64_t client, uint64_t owner, struct lane **ret_lane);
void lane_act_as_self(struct lane *lane);

/* A private stand-in for somebody's lane, to finish or undo what its dead owner left (recover.c). */
void lane_impersonate(struct lane *lane, struct arena *arena, uint32_t number, uint64_t by_lane_id);

/* ---- Inline parts ------------------------------------------------------------------------------------- */

extern _Thread_local struct lane *lane_own; /* the thread's lanes; the last used first, mostly */

/* The thread has no lane there yet, or is another process than it was, or has not finished a call. */
objd_status lane_enter_slowly(struct arena *arena, int64_t timeout_ns, const void *frame, const void *caller,
                              struct lane **ret_lane);

/* The same for lane_enter_to_read(). */
objd_status lane_enter_to_read_slowly(struct arena *arena, int64_t timeout_ns, const void *frame,
                                      const void *caller, struct lane **ret_lane);

static inline void lane_begin_call(struct lane *lane, int64_t timeout_ns, const void *frame,
                                   const void *caller)
{
        lane->depth = 1;
        lane->frame = frame;
        lane->caller = caller;
        lane->timeout_ns = timeout_ns;
        lane->deadline_ns = 0;
        lane_resume(lane);
}

/* Whether the lane is this process's own, in that arena, and not in a call; read-only arenas' lanes are never in the list. */
static inline bool lane_is_ready(const struct lane *lane, const struct arena *arena)
{
        return __builtin_expect(lane && lane->arena == arena && lane->fork_generation == fork_generation() &&
                                        !lane->depth,
                                1);
}

static inline __attribute__((always_inline)) objd_status lane_enter(struct arena *arena, int64_t timeout_ns,
                                                                    struct lane **ret_lane)
{
        struct lane *lane = lane_own;

        if (!lane_is_ready(lane, arena))
                return lane_enter_slowly(arena, timeout_ns, __builtin_frame_address(0),
                                         __builtin_return_address(0), ret_lane);
        lane_begin_call(lane, timeout_ns, __builtin_frame_address(0), __builtin_return_address(0));
        *ret_lane = lane;
        return OBJD_OK;
}

static inline __attribute__((always_inline)) objd_status lane_enter_to_read(struct arena *arena,
                                                                            int64_t timeout_ns,
                                                                            struct lane **ret_lane)
{
        struct lane *lane = lane_own;

        if (!lane_is_ready(lane, arena))
                return lane_enter_to_read_slowly(arena, timeout_ns, __builtin_frame_address(0),
                                                 __builtin_return_address(0), ret_lane);
        lane_begin_call(lane, timeout_ns, __builtin_frame_address(0), __builtin_return_address(0));
        *ret_lane = lane;
        return OBJD_OK;
}

/*
 * The same for a call that takes no lock which it might have to wait for, if there is nothing more to it; else NULL, and
 * lane_enter() has to be asked. A caller that does so in another function, at its very end, saves fewer registers; and none for
 * a frame pointer: where the caller's frame ends says as well where the call under way is on the stack.
 */
static inline __attribute__((always_inline)) struct lane *lane_enter_plain(const struct arena *arena)
{
        struct lane *lane = lane_own;

        if (__builtin_expect(!lane || lane->arena != arena || lane->depth ||
                                     __atomic_load_n(lane->fork_now, __ATOMIC_RELAXED) !=
                                             lane->fork_generation,
                             0))
                return NULL;
        lane->depth = 1;
        lane->frame = __builtin_dwarf_cfa();
        lane->caller = __builtin_return_address(0);
        lane_resume(lane);
        return lane;
}

/* The end of what lane_enter_plain() began, where the epoch has not been let go meanwhile: it is odd. */
static inline void lane_leave_plain(struct lane *lane)
{
        word_add_own_release(&lane->shm->epoch, 1);
        lane->depth = 0;
}

static inline void lane_leave(struct lane *lane)
{
        lane_rest(lane);
        lane->depth = 0;
}
