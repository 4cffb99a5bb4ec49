/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * lockobj.h -- locks as objects: taken and given by threads
 */

#include "object/object.h"

/* How `state` is made up; see lockobj.c. */
#define LOCK_LANE_BITS_SHIFT 3
#define LOCK_LANE_BITS (0xfffULL << LOCK_LANE_BITS_SHIFT)
#define LOCK_GENERATION_SHIFT 15
#define LOCK_GENERATION_MASK 0x1ffffULL
#define LOCK_OWNER_BITS (LOCK_LANE_BITS | LOCK_GENERATION_MASK << LOCK_GENERATION_SHIFT)
#define LOCK_TOKEN_SHIFT 32
#define LOCK_TOKEN_MASK 0xffffffULL
#define LOCK_TAG_SHIFT 56

static inline struct lock_shm *lock_of(const struct objd_object *object)
{
        return (struct lock_shm *)(void *)object->shm;
}

static inline uint64_t lock_tag(uint64_t serial)
{
        return 0x80 | (serial & 0x7f);
}

static inline uint64_t lock_owner_of(uint64_t lane_id)
{
        return (uint64_t)id_number(lane_id) << LOCK_LANE_BITS_SHIFT |
               (id_generation(lane_id) & LOCK_GENERATION_MASK) << LOCK_GENERATION_SHIFT;
}

static inline uint64_t lock_free_state(uint64_t state)
{
        return state & ~(LOCK_OWNER_BITS | LOCK_STATE_TAKEN | LOCK_STATE_WAITERS);
}

/* The same state with the next token. */
static inline uint64_t lock_next_token(uint64_t state)
{
        return (state & ~(LOCK_TOKEN_MASK << LOCK_TOKEN_SHIFT)) |
               (((state >> LOCK_TOKEN_SHIFT) + 1) & LOCK_TOKEN_MASK) << LOCK_TOKEN_SHIFT;
}

/* The whole token that goes with a state, from one that is not newer. */
static inline uint64_t lock_whole_token(uint64_t state, uint64_t older)
{
        return older + (((state >> LOCK_TOKEN_SHIFT) - older) & LOCK_TOKEN_MASK);
}

static inline bool lock_has_no_owner(const struct objd_object *object)
{
        return object_lock_flags(object->config) & OBJD_LOCK_OWNERLESS;
}

/*
 * What an owner writes when the swap has been made; token is of that take. Its name comes last: where that stands, so does how often it
 * has the lock, which is whoever goes on in a dead daemon's place to tell.
 */
static inline void lock_note_take(struct lock_shm *lock, uint64_t owner, uint64_t token)
{
        word_set(&lock->n_takes, 1);
        word_set(&lock->token, token);
        order_for_death();
        word_set(&lock->owner, owner);
}

/*
 * The short way, without a wait and without a sentence: a free lock is taken, one that is this thread's for the only time and
 * that nobody waits for is given. False: nothing has been done, take the long way.
 */
static inline bool lock_take_plain(struct lane *lane, struct objd_object *object, uint64_t *ret_token)
{
        struct lock_shm *lock = lock_of(object);
        uint64_t state = word_get(&lock->state), next;

        if (__builtin_expect((state & LOCK_STATE_TAKEN) ||
                                     state >> LOCK_TAG_SHIFT != lock_tag(object->serial) ||
                                     (state >> LOCK_TOKEN_SHIFT & LOCK_TOKEN_MASK) == LOCK_TOKEN_MASK ||
                                     word_get(&lock->serial) != object->serial || lock_has_no_owner(object),
                             0))
                return false;
        /* A free lock has no owner's bits, and the token does not run over: one addition, since the swap waits for it. */
        next = state + ((1ULL << LOCK_TOKEN_SHIFT) + lock_owner_of(lane->owner) + LOCK_STATE_TAKEN);
        if (__builtin_expect(!__atomic_compare_exchange_n(&lock->state, &state, next, false, __ATOMIC_ACQUIRE,
                                                          __ATOMIC_RELAXED),
                             0))
                return false;
        if (__builtin_expect(word_get(&lock->serial) != object->serial, 0)) {
                /* It has been deleted in between, and may be another lock by now: as if we had not been here. */
                (void)__atomic_compare_exchange_n(&lock->state, &next, lock_free_state(next), false,
                                                  __ATOMIC_RELEASE, __ATOMIC_RELAXED);
                return false;
        }
        *ret_token = lock_whole_token(next, word_get(&lock->token));
        lock_note_take(lock, lane->owner, *ret_token);
        return true;
}

static inline bool lock_give_plain(struct lane *lane, struct objd_object *object)
{
        struct lock_shm *lock = lock_of(object);
        uint64_t state = word_get(&lock->state);

        if (__builtin_expect((state & (LOCK_OWNER_BITS | LOCK_STATE_TAKEN | LOCK_STATE_WAITERS)) !=
                                             (lock_owner_of(lane->owner) | LOCK_STATE_TAKEN) ||
                                     word_get(&lock->owner) != lane->owner ||
                                     word_get(&lock->serial) != object->serial ||
                                     word_get(&lock->n_takes) != 1 || lock_has_no_owner(object),
                             0))
                return false;
        return __atomic_compare_exchange_n(&lock->state, &state, lock_free_state(state), false,
                                           __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

/* How often the one in whose name this lane acts has yet to give it; 0: it has it not. */
uint64_t lock_takes(struct lane *lane, struct objd_object *object);

/*
 * Takes the lock if it can be had at once. slept: the caller has slept for it, and there may be other sleepers.
 * @return OBJD_OK, OBJD_E_OWNER_DIED (taken as well), OBJD_E_BUSY (no sentence), OBJD_E_INVAL (taken by this
 * thread already), OBJD_E_GONE, OBJD_E_CORRUPT
 */
objd_status lock_try(struct lane *lane, struct objd_object *object, bool slept, uint64_t *ret_token);

/*
 * Waits until the lock may be had: spins, or sleeps for a slice. The lane has been entered.
 * @return OBJD_OK (try again), OBJD_E_TIMEOUT (no sentence), OBJD_E_GONE
 */
objd_status lock_wait(struct lane *lane, struct objd_object *object, int64_t deadline_ns, bool *ret_slept);

/*
 * For who sleeps on many words at once: says that there is a waiter. *ret_half is the word that changes when the lock is given,
 * *ret_seen what it is as long as it is not. False: the lock may be had, or is no longer there.
 */
bool lock_arm(struct objd_object *object, const uint32_t **ret_half, uint32_t *ret_seen);

/* @return OBJD_OK, OBJD_E_NOTOWNER, OBJD_E_GONE, OBJD_E_CORRUPT */
objd_status lock_give(struct lane *lane, struct objd_object *object);

/* Who has it. pid 0: nobody, or a lock without owners. */
struct lock_holder {
        bool taken;
        int64_t pid, tid;
        char comm[16];
        uint64_t token;
};
objd_status lock_holder(struct lane *lane, struct objd_object *object, struct lock_holder *ret_holder);
