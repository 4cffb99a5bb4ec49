/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lane.c -- the lanes of this thread
 *
 * A thread claims a lane in an arena with its first call and keeps it until it ends or closes its last
 * connection. The list of its lanes is private to it, so that nothing here is locked.
 */

#include "txn/lane.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

#include "base/fork.h"
#include "base/status.h"
#include "base/sys.h"
#include "txn/recover.h"
#include "txn/txn.h"

_Thread_local struct lane *lane_own;

/* Those in arenas that are mapped read-only. They are kept apart so that the short way through a change never meets one. */
static _Thread_local struct lane *lane_readers;

static _Thread_local struct robust_list_head
        *robust_head; /* of this thread, as the kernel knew it in the parent */

static pthread_key_t end_key;
static pthread_once_t end_once = PTHREAD_ONCE_INIT;

static void release(struct lane *lane)
{
        struct lane_shm *shm = lane->shm;

        if (lane->depth) {
                recover_forget(lane->arena, lane->self);
                txn_abort(lane);
        }
        for (uint32_t i = 0; i < LANE_PINS; i++)
                if (shm->pins[i])
                        lane_unpin(lane->arena, shm, i);
        word_set(&shm->epoch, (shm->epoch + 1) & ~1ULL);
        order_for_death();
        __atomic_store_n(&shm->claimed, 0, __ATOMIC_RELEASE);
        life_end(shm);
}

/* Drops a lane from the thread's list; one of a parent process is the parent's and is left alone. */
static void drop(struct lane **p)
{
        struct lane *lane = *p;

        *p = lane->next;
        if (lane->read_only) {
                lane->arena->help->forget(lane);
                free(lane->shm);
        } else if (lane->fork_generation == fork_generation()) {
                release(lane);
        } else if (lane->abandoned_in == fork_generation()) {
                word_set_release(&lane->shm->client, 0);
        }
        arena_unref(lane->arena);
        free(lane);
}

static void end_of_thread(void *unused)
{
        (void)unused;
        while (lane_own)
                drop(&lane_own);
        while (lane_readers)
                drop(&lane_readers);
}

static void make_end_key(void)
{
        (void)pthread_key_create(&end_key, end_of_thread);
}

void lane_release_own(struct arena *arena)
{
        struct lane **p = arena->read_only ? &lane_readers : &lane_own;

        while (*p)
                if ((*p)->arena == arena)
                        drop(p);
                else
                        p = &(*p)->next;
}

/*
 * In a child that was made by a raw clone(), the kernel knows no list of robust mutexes and would not tell anybody
 * of this thread's death. glibc's list head is where it was in the parent; it must be empty and registered.
 */
static void register_robust_list(void)
{
        struct robust_list_head *head = NULL;
        size_t size;

        if (syscall(SYS_get_robust_list, 0, &head, &size) < 0)
                return;
        if (head) {
                robust_head = head;
        } else if (robust_head) {
                robust_head->list.next = &robust_head->list;
                robust_head->list_op_pending = NULL;
                (void)syscall(SYS_set_robust_list, robust_head, sizeof(*robust_head));
        }
}

/* This process's client in the arena, made if there is none yet. Inside the gate. */
static objd_status ensure_client(struct arena *arena)
{
        uint64_t client;
        objd_status r;

        if (word_get(&arena->client) && word_get(&arena->client_fork) == fork_generation())
                return OBJD_OK;
        r = client_claim(arena, &client);
        if (r)
                return r;
        word_set(&arena->client_fork, fork_generation());
        word_set_release(&arena->client, client);
        return OBJD_OK;
}

static bool is_free(const struct lane_shm *shm)
{
        uint32_t word = half_get_acquire(&shm->life.word);

        return !half_get(&shm->claimed) && (!word || (word & FUTEX_OWNER_DIED));
}

/* Whose lane it is to be. */
struct claimant {
        uint64_t client;
        bool by_process; /* it lives and dies with the client, not with a thread */
        int64_t pid, tid;
};

/*
 * A lane that nobody has owes nothing. Should it say otherwise, its bytes are damaged: it would have no place for a lock, or
 * free what is somebody else's.
 */
static void owe_nothing(struct lane_shm *shm)
{
        half_set(&shm->n_locks, 0);
        half_set(&shm->n_wakes, 0);
        half_set(&shm->n_new_slots, 0);
        half_set(&shm->n_dead_slots, 0);
        half_set(&shm->anywhere, 0);
        word_set(&shm->taken, 0);
        word_set(&shm->doomed, 0);
        word_set(&shm->log_chunk, 0);
        word_set(&shm->epoch, shm->epoch & ~1ULL);
}

static objd_status take_lane_for(struct lane *lane, uint32_t number, const struct claimant *claimant)
{
        struct arena *arena = lane->arena;
        struct lane_shm *shm = arena_lane(arena, number);
        objd_status r = arena_commit(arena, arena_off(arena, shm), LANE_SIZE);

        if (r)
                return r;
        half_set(&shm->by_process, claimant->by_process);
        r = life_begin(arena, shm);
        if (r)
                return r;
        word_set(&shm->generation, shm->generation + 1);
        word_set(&shm->client, claimant->client);
        shm->pid = claimant->pid;
        shm->tid = claimant->tid;
        owe_nothing(shm);
        /* recoverer stays: one who came too late may have won the lane just now, and will look again before it acts. */
        shm->log = (struct log_shm){ .off = arena_off(arena, shm->log_bytes), .capacity = LANE_LOG };
        shm->pool_log =
                (struct log_shm){ .off = arena_off(arena, shm->pool_log_bytes), .capacity = LANE_POOL_LOG };
        order_for_death();
        __atomic_store_n(&shm->claimed, 1, __ATOMIC_RELEASE);
        if (number != RESERVE_LANE && number >= arena->header->lanes_high)
                word_set_release(&arena->header->lanes_high, number + 1);
        lane->shm = shm;
        lane->number = number;
        lane->self = lane_id(lane);
        lane->owner = lane->self;
        return OBJD_OK;
}

static objd_status take_lane(struct lane *lane, uint32_t number)
{
        const struct arena *arena = lane->arena;

        return take_lane_for(lane, number,
                             &(struct claimant){ arena->client, arena->by_process, getpid(), gettid() });
}

/* The number of a lane that is free, or has never been claimed. Inside the gate. */
static objd_status find_free(struct arena *arena, uint32_t *ret_number)
{
        uint32_t high = arena_lanes_high(arena);

        for (*ret_number = 1; *ret_number < high; ++*ret_number)
                if (is_free(arena_lane(arena, *ret_number)))
                        return OBJD_OK;
        return high < RESERVE_LANE
                       ? OBJD_OK
                       : fail(OBJD_E_LIMIT,
                              "the arena has %u lanes, one for each thread that uses it, and all are taken",
                              RESERVE_LANE - 1);
}

static objd_status find_lane(struct lane *lane)
{
        uint32_t number;
        objd_status r = ensure_client(lane->arena);

        if (r == OBJD_OK)
                r = find_free(lane->arena, &number);
        return r ? r : take_lane(lane, number);
}

/* All lanes are taken, some perhaps by the dead, and only somebody with a lane can recover them. */
static objd_status recover_with_reserve(struct lane *lane)
{
        objd_status r;

        if (!is_free(arena_lane(lane->arena, RESERVE_LANE)))
                return OBJD_E_LIMIT;
        r = take_lane(lane, RESERVE_LANE);
        if (r)
                return r;
        lane->timeout_ns = 0;
        (void)recover_all(lane->arena, lane);
        release(lane);
        return find_lane(lane);
}

/* How long whoever must not be stopped waits for somebody in the gate. */
#define GATE_PATIENCE_NS 100000000LL

/*
 * A lane that is nobody's is soon recovered, and soon after that somebody else's. Whoever abandons it is in the middle of a call, and
 * would still begin transactions in it and, at the end, say in it that nobody looks at the arena. So the call goes on in another
 * lane, which says that somebody does before the first one is let go. Should there be none to be had, the thread keeps
 * this one to the end of the call, and lets it go when it begins its next one, or ends.
 */
void lane_abandon(struct lane *lane)
{
        struct lane_shm *left = lane->shm;
        objd_status r = gate_enter(lane->arena, deadline_after(GATE_PATIENCE_NS));

        if (r == OBJD_OK) {
                r = find_lane(lane);
                gate_leave(lane->arena);
        }
        if (r) {
                lane->abandoned_in = lane->fork_generation;
                lane->fork_generation = UINT64_MAX; /* so that it is dropped as a parent's would be */
                return;
        }
        lane_resume(lane);
        word_set_release(&left->client, 0);
}

/* Still inside the gate: no signal handler comes between a lane that is claimed and a thread that knows of it. */
static void keep(struct lane *lane)
{
        lane->fork_generation = fork_generation();
        lane->fork_now = __atomic_load_n(&fork_word, __ATOMIC_ACQUIRE);
        arena_ref(lane->arena);
        lane->next = lane_own;
        lane_own = lane;
}

/*
 * A lane that nobody else sees, with all its places for locks taken: whoever wants one comes to lock.c's slow end, which knows
 * whom to ask.
 */
static objd_status claim_private(struct arena *arena, struct lane **ret_lane)
{
        struct lane *lane = sys.alloc(sizeof(*lane));
        struct lane_shm *shm = sys.alloc(sizeof(*shm));

        if (!lane || !shm) {
                free(lane);
                free(shm);
                return fail(OBJD_E_NOMEM, "no memory for a lane's description");
        }
        (void)pthread_once(&end_once, make_end_key);
        (void)pthread_setspecific(end_key, &lane_own);
        shm->n_locks = LANE_LOCKS;
        *lane = (struct lane){ .shm = shm,
                               .arena = arena_ref(arena),
                               .next = lane_readers,
                               .fork_generation = fork_generation(),
                               .read_only = true };
        lane_readers = lane;
        *ret_lane = lane;
        return OBJD_OK;
}

static objd_status claim(struct arena *arena, int64_t deadline_ns, struct lane **ret_lane)
{
        struct lane *lane = sys.alloc(sizeof(*lane));
        objd_status r;

        if (!lane)
                return fail(OBJD_E_NOMEM, "no memory for a lane's description");
        (void)pthread_once(&end_once, make_end_key);
        (void)pthread_setspecific(end_key, &lane_own);
        register_robust_list();
        lane->arena = arena;
        r = gate_enter(arena, deadline_ns);
        if (r == OBJD_OK) {
                r = find_lane(lane);
                if (r == OBJD_E_LIMIT)
                        r = recover_with_reserve(lane);
                if (r == OBJD_OK)
                        keep(lane);
                gate_leave(arena);
        }
        if (r)
                free(lane);
        else
                *ret_lane = lane;
        return r;
}

objd_status lane_claim_apart(struct arena *arena, int64_t deadline_ns, struct lane **ret_lane)
{
        struct lane *lane = sys.alloc(sizeof(*lane));
        objd_status r;

        if (!lane)
                return fail(OBJD_E_NOMEM, "no memory for a lane's description");
        lane->arena = arena;
        r = gate_enter(arena, deadline_ns);
        if (r == OBJD_OK) {
                r = find_lane(lane);
                gate_leave(arena);
        }
        if (r)
                free(lane);
        else
                *ret_lane = lane;
        return r;
}

void lane_release_apart(struct lane *lane)
{
        release(lane);
        free(lane);
}

static uint32_t find_lane_of(struct arena *arena, uint64_t client, uint32_t thread)
{
        uint32_t high = arena_lanes_high(arena);

        for (uint32_t i = 1; i < high; i++) {
                const struct lane_shm *shm = arena_lane(arena, i);

                if (half_get_acquire(&shm->claimed) && word_get(&shm->client) == client &&
                    shm->tid == (int64_t)thread)
                        return i;
        }
        return 0;
}

objd_status lane_claim_for(struct arena *arena, uint64_t client, uint32_t thread, int64_t deadline_ns,
                           uint64_t *ret_owner)
{
        const struct claimant claimant = { client, true, arena_client(arena, id_number(client))->pid,
                                           thread };
        struct lane lane = { .arena = arena };
        uint32_t number = find_lane_of(arena, client, thread);
        objd_status r;

        if (number) {
                *ret_owner = id_make(number, word_get(&arena_lane(arena, number)->generation));
                return OBJD_OK;
        }
        r = gate_enter(arena, deadline_ns);
        if (r)
                return r;
        r = find_free(arena, &number);
        if (r == OBJD_OK)
                r = take_lane_for(&lane, number, &claimant);
        gate_leave(arena);
        if (r == OBJD_OK)
                *ret_owner = lane.self;
        return r;
}

void lane_release_for(struct arena *arena, uint64_t client, uint32_t thread)
{
        uint32_t number = find_lane_of(arena, client, thread);

        if (number)
                __atomic_store_n(&arena_lane(arena, number)->claimed, 0, __ATOMIC_RELEASE);
}

objd_status lane_act_as(struct arena *arena, uint64_t client, uint64_t owner, struct lane **ret_lane)
{
        objd_status r = lane_enter(arena, OBJD_NOWAIT, ret_lane);

        if (r)
                return r;
        lane_leave(*ret_lane);
        (*ret_lane)->as_client = client;
        (*ret_lane)->owner = owner ? owner : (*ret_lane)->self;
        return OBJD_OK;
}

void lane_act_as_self(struct lane *lane)
{
        lane->as_client = 0;
        lane->owner = lane->self;
}

/* The thread's lane in this arena, without those that are a parent process's. */
static objd_status find_own(struct arena *arena, int64_t timeout_ns, struct lane **ret_lane)
{
        struct lane **list = arena->read_only ? &lane_readers : &lane_own, **p = list;

        while (*p)
                if ((*p)->fork_generation != fork_generation())
                        drop(p);
                else if ((*p)->arena == arena)
                        break;
                else
                        p = &(*p)->next;
        if (!*p)
                return arena->read_only ? claim_private(arena, ret_lane)
                                        : claim(arena, deadline_after(timeout_ns), ret_lane);
        *ret_lane = *p;
        *p = (*ret_lane)->next;
        (*ret_lane)->next = *list;
        *list = *ret_lane;
        return OBJD_OK;
}

/* A frame is never larger than this: the library has no larger arrays on the stack, and forbids variable ones. */
#define FRAME_MAX 65536

struct frame_search {
        const struct lane *lane;
        bool found;
};

static _Unwind_Reason_Code look_at_frame(struct _Unwind_Context *context, void *data)
{
        struct frame_search *search = data;
        uintptr_t cfa = _Unwind_GetCFA(context), frame = (uintptr_t)search->lane->frame;

        if (cfa > frame + FRAME_MAX)
                return _URC_END_OF_STACK;
        search->found |= cfa >= frame && _Unwind_GetIP(context) == (uintptr_t)search->lane->caller;
        return search->found ? _URC_END_OF_STACK : _URC_NO_REASON;
}

/*
 * The lane is in the middle of a call. If that call is still on the stack below us, a signal handler has interrupted it;
 * otherwise longjmp() has left it. A handler's frames lie further down the stack than those that it interrupts (or on
 * a stack of their own), and the interrupted call's return address is still among the callers.
 */
static objd_status leave_unfinished(struct lane *lane, const void *frame)
{
        struct frame_search search = { .lane = lane };
        stack_t stack;
        bool other_stack = sigaltstack(NULL, &stack) == 0 && (stack.ss_flags & SS_ONSTACK);

        if (frame < lane->frame && !other_stack)
                (void)_Unwind_Backtrace(look_at_frame, &search);
        if (search.found || other_stack)
                return fail(OBJD_E_REENTERED,
                            "called from a signal handler that interrupted another call of this thread");
        if (lane->read_only) {
                lane_end_read(lane);
        } else {
                recover_forget(lane->arena, lane->self);
                txn_abort(lane);
        }
        lane_leave(lane);
        return OBJD_OK;
}

static objd_status enter(struct arena *arena, int64_t timeout_ns, const void *frame, const void *caller,
                         struct lane **ret_lane)
{
        struct lane *lane = NULL;
        objd_status r = find_own(arena, timeout_ns, &lane);

        if (r == OBJD_OK && lane->depth)
                r = leave_unfinished(lane, frame);
        if (r)
                return r;
        lane_begin_call(lane, timeout_ns, frame, caller);
        *ret_lane = lane;
        return OBJD_OK;
}

objd_status lane_may_write(const struct arena *arena)
{
        return arena->read_only
                       ? fail(OBJD_E_ACCESS, "this connection only reads: that is all that the daemon "
                                             "allows this user, or all that was asked for")
                       : OBJD_OK;
}

objd_status lane_enter_slowly(struct arena *arena, int64_t timeout_ns, const void *frame, const void *caller,
                              struct lane **ret_lane)
{
        objd_status r = lane_may_write(arena);

        return r ? r : enter(arena, timeout_ns, frame, caller, ret_lane);
}

objd_status lane_enter_to_read_slowly(struct arena *arena, int64_t timeout_ns, const void *frame,
                                      const void *caller, struct lane **ret_lane)
{
        return enter(arena, timeout_ns, frame, caller, ret_lane);
}

void lane_end_read(struct lane *lane)
{
        if (!lane->read_only) {
                txn_abort(lane);
        } else if (lane->frozen) {
                lane->frozen = false;
                lane->arena->help->thaw(lane);
        }
}

int64_t lane_deadline(struct lane *lane)
{
        if (!lane->deadline_ns)
                lane->deadline_ns = deadline_after(lane->timeout_ns);
        return lane->deadline_ns;
}

bool lane_id_is_alive(struct arena *arena, uint64_t id)
{
        const struct lane_shm *shm = arena_lane(arena, id_number(id));

        return arena_has_lane(arena, id_number(id)) && half_get_acquire(&shm->claimed) &&
               word_get(&shm->generation) == id_generation(id) && !lane_is_dead(arena, shm);
}

void lane_impersonate(struct lane *lane, struct arena *arena, uint32_t number, uint64_t by_lane_id)
{
        *lane = (struct lane){
                .arena = arena,
                .shm = arena_lane(arena, number),
                .number = number,
                .depth = 1,
                .self = by_lane_id,
        };
}
