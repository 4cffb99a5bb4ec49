/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockobj.c -- the lock kind
 *
 * A lock is one word, `state`, which a take and a give each change by one compare-and-swap; the line's own lock word
 * and the undo log have no part in it. That is safe without them:
 *
 * - The swap is the whole operation. Killed before it, nothing has happened. Killed after it, the word names the owner: its
 *   lane, and 17 bits of its claim's generation. What the owner writes afterwards (its full lane_id, the token, how
 *   often it has taken it) only makes this exact: the token's low 24 bits stand in the word, and `token` is at
 *   most a few takes behind, so whoever comes next can tell the whole number; and where `owner` does not fit the
 *   word, its owner died in between or is about to write it, and the generation's 17 bits tell whether it lives.
 * - A handle may be old, and its slot another object's. The word of a lock has the highest bit set and seven bits of the
 *   lock's serial behind it, which no word of another kind in this place has, so a swap that expects such a word fails on
 *   anything but a lock. That it was the right lock is asked afterwards, and if it was not it is given back. The
 *   slot is a slot for as long as the caller is inside its epoch.
 * - Deleting the lock changes its serial with the line locked. A swap before that is a take before the deletion.
 *
 * Waiting: a waiter sets the waiters bit and sleeps on the word's lower half, which is another one once the lock has been
 * given. A give that finds the bit clears it and wakes one; who has slept takes the lock with the bit set, since
 * there may be more. A giver that is killed before it wakes, and an owner that dies, are noticed by the sleepers
 * themselves, after WAIT_SLICE_NS at the latest.
 *
 * The token is the take's. A recursive owner's further takes are parts of the first one and have its token.
 */

#include "object/lockobj.h"

#include <string.h>

#include "base/status.h"
#include "object/check.h"
#include "object/kind.h"
#include "sync/wait.h"
#include "txn/txn.h"

static uint32_t state_lane(uint64_t state)
{
        return (uint32_t)((state & LOCK_LANE_BITS) >> LOCK_LANE_BITS_SHIFT);
}

static uint64_t state_generation(uint64_t state)
{
        return state >> LOCK_GENERATION_SHIFT & LOCK_GENERATION_MASK;
}

static const uint32_t *sleep_half(const struct lock_shm *lock)
{
        return (const uint32_t *)(const void *)&lock->state;
}

/* The slow answer to a serial or a tag that does not fit: a deletion may yet be undone. OBJD_OK: look again. */
static objd_status look_closer(struct lane *lane, struct objd_object *object)
{
        struct line_shm *line = &object->shm->line;

        for (;;) {
                uint64_t version = lock_read_begin(line), serial = word_get(&line->serial), state;
                objd_status r;

                if (!lock_version_is_stable(version)) {
                        r = lock_wait_stable(lane, line);
                        if (r)
                                return r;
                        continue;
                }
                state = word_get(&lock_of(object)->state);
                if (!lock_read_valid(line, version))
                        continue;
                if (serial != object->serial)
                        return object_gone(object);
                if (state >> LOCK_TAG_SHIFT != lock_tag(serial))
                        return fail(OBJD_E_CORRUPT, "lock %s is damaged", object_label(object));
                return OBJD_OK;
        }
}

/*
 * Whether this thread has the lock. If `owner` fits nobody's state, it is a take of this very lane whose call was left by
 * longjmp() between the swap and the rest.
 */
static bool is_mine(const struct lane *lane, const struct lock_shm *lock, uint64_t state)
{
        uint64_t owner = word_get(&lock->owner);

        return (state & LOCK_OWNER_BITS) == lock_owner_of(lane->owner) &&
               (owner == lane->owner || lock_owner_of(owner) != (state & LOCK_OWNER_BITS));
}

/* Whether the owner that a state names lives. */
static bool owner_lives(struct arena *arena, const struct lock_shm *lock, uint64_t state)
{
        uint64_t owner = word_get(&lock->owner);
        const struct lane_shm *shm;

        if (lock_owner_of(owner) == (state & LOCK_OWNER_BITS))
                return lane_id_is_alive(arena, owner);
        if (!arena_has_lane(arena, state_lane(state)))
                return false;
        shm = arena_lane(arena, state_lane(state));
        return (word_get(&shm->generation) & LOCK_GENERATION_MASK) == state_generation(state) &&
               lane_id_is_alive(arena, id_make(state_lane(state), word_get(&shm->generation)));
}

/* The swap has been made. Either the lock is ours, or it was another one's and goes back. */
static objd_status taken(struct lane *lane, struct objd_object *object, uint64_t state, uint64_t *ret_token)
{
        struct lock_shm *lock = lock_of(object);

        if (__builtin_expect(word_get(&lock->serial) != object->serial, 0)) {
                objd_status r = look_closer(lane, object);

                if (r) {
                        (void)__atomic_compare_exchange_n(&lock->state, &state, lock_free_state(state), false,
                                                          __ATOMIC_RELEASE, __ATOMIC_RELAXED);
                        return r;
                }
        }
        *ret_token = lock_whole_token(state, word_get(&lock->token));
        lock_note_take(lock, lock_has_no_owner(object) ? 0 : lane->owner, *ret_token);
        return OBJD_OK;
}

static objd_status take_again(const struct lane *lane, struct objd_object *object, uint64_t state,
                              uint64_t *ret_token)
{
        struct lock_shm *lock = lock_of(object);

        if (!(object_lock_flags(object->config) & OBJD_LOCK_RECURSIVE))
                return fail(OBJD_E_INVAL, "this thread has taken lock %s already, and it is not recursive",
                            object_label(object));
        if (word_get(&lock->owner) != lane->owner) /* the first take did not come to say so */
                lock_note_take(lock, lane->owner, lock_whole_token(state, word_get(&lock->token)));
        word_set(&lock->n_takes, word_get(&lock->n_takes) + 1);
        *ret_token = word_get(&lock->token);
        return OBJD_OK;
}

objd_status lock_try(struct lane *lane, struct objd_object *object, bool slept, uint64_t *ret_token)
{
        struct lock_shm *lock = lock_of(object);
        uint64_t mine = LOCK_STATE_TAKEN | (slept ? LOCK_STATE_WAITERS : 0);
        uint64_t state = word_get_acquire(&lock->state), next;
        objd_status r;

        if (!lock_has_no_owner(object))
                mine |= lock_owner_of(lane->owner);
        for (;;) {
                bool died = false;

                if (__builtin_expect(word_get(&lock->serial) != object->serial ||
                                             state >> LOCK_TAG_SHIFT != lock_tag(object->serial),
                                     0)) {
                        r = look_closer(lane, object);
                        if (r)
                                return r;
                        state = word_get_acquire(&lock->state);
                        continue;
                }
                if (state & LOCK_STATE_TAKEN) {
                        if (lock_has_no_owner(object))
                                return OBJD_E_BUSY;
                        if (is_mine(lane, lock, state))
                                return take_again(lane, object, state, ret_token);
                        if (owner_lives(lane->arena, lock, state))
                                return OBJD_E_BUSY;
                        died = true;
                }
                next = lock_next_token(lock_free_state(state)) | mine | (state & LOCK_STATE_WAITERS);
                if (!__atomic_compare_exchange_n(&lock->state, &state, next, false, __ATOMIC_ACQUIRE,
                                                 __ATOMIC_ACQUIRE))
                        continue;
                r = taken(lane, object, next, ret_token);
                if (r == OBJD_OK && died)
                        return fail(OBJD_E_OWNER_DIED, "the last owner of lock %s died with it",
                                    object_label(object));
                return r;
        }
}

/* Whether the lock is taken, as `state` says, and there is a bit in it now that says that somebody waits. */
static bool say_waiting(struct lock_shm *lock, const struct objd_object *object, uint64_t state)
{
        if (!(state & LOCK_STATE_TAKEN) || state >> LOCK_TAG_SHIFT != lock_tag(object->serial))
                return false;
        return (state & LOCK_STATE_WAITERS) ||
               __atomic_compare_exchange_n(&lock->state, &state, state | LOCK_STATE_WAITERS, false,
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

bool lock_arm(struct objd_object *object, const uint32_t **ret_half, uint32_t *ret_seen)
{
        struct lock_shm *lock = lock_of(object);
        uint64_t state = word_get(&lock->state);

        *ret_half = sleep_half(lock);
        *ret_seen = (uint32_t)(state | LOCK_STATE_WAITERS);
        if (!say_waiting(lock, object, state))
                return false;
        fence_acquire(); /* as in lock_wait() */
        return word_get(&lock->serial) == object->serial;
}

objd_status lock_wait(struct lane *lane, struct objd_object *object, int64_t deadline_ns, bool *ret_slept)
{
        struct lock_shm *lock = lock_of(object);
        uint64_t state = word_get(&lock->state);
        bool woken;
        objd_status r;

        if (!(state & LOCK_STATE_TAKEN) || state >> LOCK_TAG_SHIFT != lock_tag(object->serial))
                return OBJD_OK;
        if (wait_spin(lane, sleep_half(lock), (uint32_t)state, deadline_ns))
                return OBJD_OK;
        if (!say_waiting(lock, object, state))
                return OBJD_OK;
        /* Looked at after the bit was set: a deletion before it is seen here, one after it pokes the word. */
        fence_acquire();
        if (word_get(&lock->serial) != object->serial)
                return look_closer(lane, object);
        word_set(&lane->shm->waits_for, arena_off(lane->arena, lock));
        r = wait_sleep(lane, sleep_half(lock), (uint32_t)(state | LOCK_STATE_WAITERS), deadline_ns, &woken);
        word_set(&lane->shm->waits_for, 0);
        *ret_slept = true;
        return r ? r : object_touch(object);
}

objd_status lock_give(struct lane *lane, struct objd_object *object)
{
        struct lock_shm *lock = lock_of(object);
        uint64_t state = word_get(&lock->state);

        if (__builtin_expect(word_get(&lock->serial) != object->serial ||
                                     state >> LOCK_TAG_SHIFT != lock_tag(object->serial),
                             0)) {
                objd_status r = look_closer(lane, object);

                if (r)
                        return r;
                state = word_get(&lock->state);
        }
        if (!(state & LOCK_STATE_TAKEN))
                return fail(OBJD_E_NOTOWNER, "lock %s is not taken", object_label(object));
        if (!lock_has_no_owner(object)) {
                if (!is_mine(lane, lock, state))
                        return fail(OBJD_E_NOTOWNER, "lock %s is not this thread's", object_label(object));
                if (word_get(&lock->n_takes) > 1 && word_get(&lock->owner) == lane->owner) {
                        word_set(&lock->n_takes, word_get(&lock->n_takes) - 1);
                        return OBJD_OK;
                }
        }
        /* Of a lock with an owner, others only ever change the bits for waiters and deletion meanwhile. */
        while (!__atomic_compare_exchange_n(&lock->state, &state, lock_free_state(state), false,
                                            __ATOMIC_RELEASE, __ATOMIC_RELAXED))
                if (!(state & LOCK_STATE_TAKEN))
                        return fail(OBJD_E_NOTOWNER, "lock %s is not taken", object_label(object));
        if (__builtin_expect(state & LOCK_STATE_WAITERS, 0))
                wait_wake(lane->arena, sleep_half(lock), 1);
        return OBJD_OK;
}

uint64_t lock_takes(struct lane *lane, struct objd_object *object)
{
        const struct lock_shm *lock = lock_of(object);
        uint64_t state = word_get_acquire(&lock->state);

        if (!(state & LOCK_STATE_TAKEN) || state >> LOCK_TAG_SHIFT != lock_tag(object->serial) ||
            lock_has_no_owner(object) || !is_mine(lane, lock, state))
                return 0;
        /* Taken, but by a call that did not come to say so. */
        return word_get(&lock->owner) == lane->owner ? word_get(&lock->n_takes) : 1;
}

objd_status lock_holder(struct lane *lane, struct objd_object *object, struct lock_holder *ret_holder)
{
        const struct lock_shm *lock = lock_of(object);
        struct lock_holder holder = { 0 };
        uint64_t state, again = word_get_acquire(&lock->state);
        objd_status r;

        do {
                state = again;
                r = look_closer(lane, object);
                if (r)
                        return r;
                holder.token = lock_whole_token(state, word_get(&lock->token));
                holder.taken = state & LOCK_STATE_TAKEN;
                if (holder.taken && !lock_has_no_owner(object)) {
                        const struct lane_shm *shm = arena_lane(lane->arena, state_lane(state));

                        holder.taken = owner_lives(lane->arena, lock, state);
                        holder.pid = holder.taken ? (int64_t)word_get((const uint64_t *)&shm->pid) : 0;
                        holder.tid = holder.taken ? (int64_t)word_get((const uint64_t *)&shm->tid) : 0;
                        if (holder.taken)
                                memcpy(holder.comm,
                                       arena_client(lane->arena, id_number(word_get(&shm->client)))->comm,
                                       sizeof(holder.comm) - 1);
                }
                fence_acquire();
                again = word_get(&lock->state);
        } while ((again ^ state) & ~(LOCK_STATE_WAITERS | LOCK_STATE_POKE));
        *ret_holder = holder;
        return OBJD_OK;
}

/* ---- The kind ----------------------------------------------------------------------------------------- */

static objd_status check_config(const objd_config *config)
{
        if (config->key_type || config->value_type || config->order || config->bound)
                return fail(OBJD_E_INVAL, "a lock has flags, and no types, order or bound");
        if (config->lock_flags & ~(OBJD_LOCK_RECURSIVE | OBJD_LOCK_OWNERLESS))
                return fail(OBJD_E_INVAL, "there are no such flags of a lock: %#x", config->lock_flags);
        if (config->lock_flags == (OBJD_LOCK_RECURSIVE | OBJD_LOCK_OWNERLESS))
                return fail(OBJD_E_INVAL, "a lock without an owner cannot be recursive");
        return OBJD_OK;
}

/*
 * The state last, and with it the tag: only then can a handle find a lock here. Every word of the line is set, since a stale
 * swap on the slot's former lock may have left anything.
 */
static objd_status create(struct lane *lane, struct object_shm *object, const objd_config *config)
{
        struct lock_shm *lock = (struct lock_shm *)(void *)object;

        (void)lane;
        (void)config;
        word_set(&lock->owner, 0);
        word_set(&lock->token, 0);
        word_set(&lock->n_takes, 0);
        word_set(&lock->pad, 0);
        word_set_release(&lock->state, lock_tag(word_get(&lock->serial)) << LOCK_TAG_SHIFT);
        return OBJD_OK;
}

static objd_status plan_destroy(struct lane *lane, struct object_shm *object, struct plan *plan)
{
        (void)lane;
        (void)object;
        (void)plan;
        return OBJD_OK;
}

/*
 * Sleepers wake and find the lock gone. The word is changed without a note: if the deletion is undone, a changed poke bit does
 * nothing.
 */
static objd_status destroy(struct lane *lane, struct object_shm *object)
{
        struct lock_shm *lock = (struct lock_shm *)(void *)object;

        (void)__atomic_fetch_xor(&lock->state, LOCK_STATE_POKE, __ATOMIC_RELAXED);
        return txn_wake(lane, sleep_half(lock));
}

static objd_status refuse(struct lane *lane, const struct op *op)
{
        (void)lane;
        return fail(OBJD_E_NOTSUP, "lock %s belongs to threads, and cannot be taken or given by a batch",
                    object_label(op->object));
}

static objd_status plan(struct lane *lane, struct op *op, struct plan *plan)
{
        (void)plan;
        return refuse(lane, op);
}

static objd_status apply(struct lane *lane, struct op *op)
{
        return refuse(lane, op);
}

static objd_status len(struct objd_object *object, uint64_t *ret_len)
{
        struct lock_holder holder;
        struct lane *lane;
        objd_status r = lane_enter_to_read(object->conn->arena, conn_timeout(object->conn), &lane);

        if (r)
                return r;
        r = object_touch(object);
        if (r == OBJD_OK)
                r = lock_holder(lane, object, &holder);
        lane_leave(lane);
        if (r == OBJD_OK)
                *ret_len = holder.taken;
        return r;
}

static void get_config(const struct object_shm *object, objd_config *ret_config)
{
        (void)object;
        (void)ret_config;
}

/* Nothing is in a lock. */
static objd_status walk(struct objd_object *object, uint64_t limit, walk_fn fn, void *context)
{
        (void)object;
        (void)limit;
        (void)fn;
        (void)context;
        return OBJD_OK;
}

/* A lock's state changes without its line's lock, so this is a moment of its own. */
static objd_status get_state(struct lane *lane, struct objd_object *object, struct object_state *ret_state)
{
        const struct lock_shm *lock = lock_of(object);
        uint64_t state, again = word_get_acquire(&lock->state), token;

        (void)lane;
        do {
                state = again;
                token = word_get(&lock->token);
                fence_acquire();
                again = word_get(&lock->state);
        } while (state != again);
        *ret_state = (struct object_state){ .taken = state & LOCK_STATE_TAKEN,
                                            .token = lock_whole_token(state, token) };
        ret_state->len = ret_state->taken;
        return OBJD_OK;
}

/*
 * A taken lock belongs to nobody here, but to somebody who may have left what it protects half done: to a claim of this
 * lane's from before, which is dead for sure, so that the next taker is told so.
 */
static objd_status set_state(struct lane *lane, struct objd_object *object, const struct object_state *state)
{
        struct lock_shm *lock = lock_of(object);
        uint64_t word = lock_tag(object->serial) << LOCK_TAG_SHIFT | (state->token & LOCK_TOKEN_MASK)
                                                                             << LOCK_TOKEN_SHIFT;
        uint64_t owner = id_make(lane->number, lane->shm->generation - 1);

        if (state->taken && !lock_has_no_owner(object)) {
                word |= lock_owner_of(owner);
                word_set(&lock->owner, owner);
        }
        if (state->taken) {
                word |= LOCK_STATE_TAKEN;
                word_set(&lock->n_takes, 1);
        }
        word_set(&lock->token, state->token);
        word_set_release(&lock->state, word);
        return OBJD_OK;
}

static objd_status visit(struct lane *lane, struct objd_object *object, visit_fn fn, void *context)
{
        (void)lane;
        (void)object;
        (void)fn;
        (void)context;
        return OBJD_OK;
}

static void check(struct check *check, struct object_shm *object)
{
        const struct lock_shm *lock = (const struct lock_shm *)(const void *)object;
        uint64_t state = word_get(&lock->state);

        if (state >> LOCK_TAG_SHIFT != lock_tag(word_get(&lock->serial)))
                check_fail(check, "its state is that of another lock, or of none");
        else if (!(state & LOCK_STATE_TAKEN) && (state & LOCK_OWNER_BITS))
                check_fail(check, "it is free and has an owner, lane %u", state_lane(state));
        else if ((state & LOCK_OWNER_BITS) && !arena_has_lane(check->arena, state_lane(state)))
                check_fail(check, "its owner is lane %u, which has never been claimed", state_lane(state));
        else if (!(state & LOCK_OWNER_BITS) && (state & LOCK_STATE_TAKEN) &&
                 !(object_lock_flags(word_get(&lock->config)) & OBJD_LOCK_OWNERLESS))
                check_fail(check, "it is taken by nobody");
}

/*
 * Whoever had it is dead, and may have left what it protects half done: the next taker is told so. A lock without owners is
 * free, since nobody would have to give it. A token is never given twice: the last one may not have been written down.
 */
static void mend(struct lane *lane, struct objd_object *object)
{
        const struct object_state state = { .taken = !lock_has_no_owner(object),
                                            .token = word_get(&lock_of(object)->token) + 1 };

        (void)set_state(lane, object, &state);
}

const struct kind lock_kind = {
        .kind = OBJD_LOCK,
        .name = "lock",
        .check_config = check_config,
        .create = create,
        .plan_destroy = plan_destroy,
        .destroy = destroy,
        .plan = plan,
        .apply = apply,
        .len = len,
        .get_config = get_config,
        .walk = walk,
        .get_state = get_state,
        .set_state = set_state,
        .visit = visit,
        .check = check,
        .mend = mend,
};
