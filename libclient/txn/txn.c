/* SPDX-License-Identifier: Apache-2.0 */
/*
 * txn.c -- the one write path: begin, note, change, commit or undo
 */

#include "txn/txn.h"

#include <limits.h>
#include <string.h>

#include "base/crash.h"
#include "base/plant.h"
#include "base/status.h"
#include "base/sys.h"
#include "mem/pool.h"
#include "sync/wait.h"
#include "txn/log.h"

/*
 * Moves the log to a chunk. Everything is copied before the offset changes, in one store, and the capacity is only
 * raised after it. Chunks that held the log before stay in the lane's list until the end of the operation.
 */
static objd_status grow_log(struct lane *lane, uint64_t need)
{
        struct lane_shm *shm = lane->shm;
        struct chunk_shm *chunk;
        objd_status r = pool_take(lane, NULL, need * 2, &chunk);

        if (r)
                return r;
        words_in(chunk_data(chunk), lane->arena->base + shm->log.off, shm->log.used);
        order_for_death();
        shm->log.off = arena_off(lane->arena, chunk_data(chunk));
        order_for_death();
        shm->log.capacity = chunk_size(chunk);
        return OBJD_OK;
}

objd_status txn_reserve(struct lane *lane, size_t size, size_t n)
{
        uint64_t need = round8(size) + n * 16; /* a header, and rounding, for each */

        if (log_has_room(&lane->shm->log, need, 0))
                return OBJD_OK;
        return grow_log(lane, lane->shm->log.used + need);
}

void txn_write(struct lane *lane, void *dst, const void *src, size_t size)
{
        txn_note(lane, dst, size);
        if (!lane->starved)
                words_in(dst, src, size);
}

objd_status txn_take(struct lane *lane, struct object_shm *object, uint64_t size,
                     struct chunk_shm **ret_chunk)
{
        return pool_take(lane, object, size, ret_chunk);
}

objd_status txn_free(struct lane *lane, struct chunk_shm *chunk)
{
        return pool_move(lane, chunk, CHUNK_DOOMED);
}

/* A new slot stands in the lane from inside the pool's own transaction on: see pool_take_slots(). */
static objd_status take_slot(struct lane *lane, uint64_t flags, struct object_shm **ret_object)
{
        uint64_t off;
        objd_status r = pool_take_slots(lane, flags, &off);

        if (r == OBJD_OK)
                *ret_object = (struct object_shm *)(lane->arena->base + off);
        return r;
}

objd_status txn_take_slot(struct lane *lane, struct object_shm **ret_object)
{
        return take_slot(lane, 0, ret_object);
}

objd_status txn_take_part(struct lane *lane, struct object_shm **ret_part)
{
        return take_slot(lane, SLOT_IS_PART, ret_part);
}

objd_status txn_take_group(struct lane *lane, struct line_shm **ret_lines)
{
        uint64_t off;
        objd_status r = pool_take_slots(lane, SLOT_IS_GROUP, &off);

        if (r == OBJD_OK)
                *ret_lines = (struct line_shm *)(lane->arena->base + off);
        return r;
}

static objd_status doom_slot(struct lane *lane, uint64_t entry)
{
        struct lane_shm *shm = lane->shm;

        if (shm->n_dead_slots >= LANE_SLOTS)
                return fail(OBJD_E_LIMIT, "one operation cannot delete more than %u objects", LANE_SLOTS);
        shm->dead_slots[shm->n_dead_slots] = entry;
        order_for_death();
        half_set(&shm->n_dead_slots, shm->n_dead_slots + 1);
        return OBJD_OK;
}

objd_status txn_free_slot(struct lane *lane, struct object_shm *object)
{
        return doom_slot(lane, arena_off(lane->arena, object));
}

objd_status txn_free_part(struct lane *lane, struct object_shm *part)
{
        return doom_slot(lane, arena_off(lane->arena, part) | SLOT_IS_PART);
}

objd_status txn_free_group(struct lane *lane, struct line_shm *lines)
{
        return doom_slot(lane, arena_off(lane->arena, lines) | SLOT_IS_GROUP);
}

/* What stands in a lane has been written by others; who stands in for one of them may find anything there. */
static uint32_t at_most(uint32_t n, uint32_t max)
{
        return n < max ? n : max;
}

/* An entry of lane.wakes is the futex's offset, a multiple of 4, and one of these. */
#define WAKE_ALL 0ULL
#define WAKE_ONE 1ULL

static objd_status owe_wake(struct lane *lane, const uint32_t *futex, uint64_t how_many)
{
        struct lane_shm *shm = lane->shm;
        uint64_t off = arena_off(lane->arena, futex);

        for (uint32_t i = 0; i < at_most(shm->n_wakes, LANE_WAKES); i++)
                if ((shm->wakes[i] & ~WAKE_ONE) == off) {
                        word_set(&shm->wakes[i], off | WAKE_ALL);
                        return OBJD_OK;
                }
        if (shm->n_wakes >= LANE_WAKES)
                return fail(OBJD_E_LIMIT, "one operation cannot wake the sleepers of more than %u objects",
                            LANE_WAKES);
        shm->wakes[shm->n_wakes] = off | how_many;
        order_for_death();
        half_set(&shm->n_wakes, shm->n_wakes + 1);
        return OBJD_OK;
}

objd_status txn_wake(struct lane *lane, const uint32_t *futex)
{
        return owe_wake(lane, futex, WAKE_ALL);
}

objd_status txn_wake_one(struct lane *lane, const uint32_t *futex)
{
        return owe_wake(lane, futex, WAKE_ONE);
}

void txn_wake_waiter(struct lane *lane, struct line_shm *line)
{
        wait_wake(lane->arena, (const uint32_t *)&line->word, 1);
}

static struct line_shm *line_at(const struct arena *arena, uint64_t off)
{
        struct line_shm *pool = &arena->header->pool.line;

        return off == arena_off(arena, pool) ? pool : arena_at(arena, off, LINE_SIZE);
}

/* The chunk that a list of that kind begins with. */
static struct chunk_shm *first_of(const struct arena *arena, uint64_t off, enum chunk_list list)
{
        struct chunk_shm *chunk = arena_at(arena, off, CHUNK_HEAD);

        return chunk && chunk_list_of(chunk) == list ? chunk : NULL;
}

/* Gives back what the lane has frozen in a block of lines, if it is one. */
static void thaw_block(const struct lane *lane, uint64_t number)
{
        struct arena *arena = lane->arena;
        uint8_t state = __atomic_load_n(&arena->blocks[number].state, __ATOMIC_ACQUIRE);
        struct line_shm *lines = (struct line_shm *)(arena->base + arena->data_off + (number << BLOCK_SHIFT));
        uint32_t step = state == BLOCK_SLOTS ? SLOT_SIZE / LINE_SIZE : 1;

        if (state != BLOCK_SLOTS && state != BLOCK_GROUPS)
                return;
        for (uint32_t i = SLOT_SIZE / LINE_SIZE; i < BLOCK_SIZE / LINE_SIZE; i += step)
                if (lock_lane(word_get(&lines[i].word)) == lane->number)
                        lock_release(arena, &lines[i], lane->number);
}

/* A block with a frozen line has a slot in use, so it has not been retired. Repeatable, as all of this. */
static void thaw_anything(struct lane *lane)
{
        for (uint64_t number = 0; number < arena_limit(lane->arena) >> BLOCK_SHIFT; number++)
                thaw_block(lane, number);
        CRASH_POINT(
                "txn.thawed"); /* all is given back, though the lane still says that it may hold anything */
        order_for_death();
        half_set(&lane->shm->anywhere, 0);
}

/* Gives every lock back, last taken first. Repeatable: a word that no longer names the lane is left alone. */
void txn_unlock(struct lane *lane)
{
        struct lane_shm *shm = lane->shm;

        for (uint32_t n = at_most(shm->n_locks, LANE_LOCKS); n--;) {
                struct line_shm *line = line_at(lane->arena, shm->locks[n]);

                order_for_death();
                if (line)
                        lock_release(lane->arena, line, lane->number);
                CRASH_POINT(
                        "txn.unlocked"); /* given, though the intent still stands: the word names another, or nobody */
                order_for_death();
                half_set(&shm->n_locks, n);
        }
        if (__builtin_expect(half_get(&shm->anywhere), 0))
                thaw_anything(lane);
}

/*
 * Empties a list of chunks, each of which leaves it in a pool transaction of its own. What hangs from a chunk that is damaged is
 * given up: nobody has it, until a repair gives it back to the pool.
 */
static objd_status empty_list(struct lane *lane, uint64_t *list, enum chunk_list from, enum chunk_list to)
{
        objd_status r = OBJD_OK;

        while (*list && r == OBJD_OK) {
                uint64_t off = word_get(list);
                struct chunk_shm *chunk = first_of(lane->arena, off, from);

                if (chunk)
                        r = to == CHUNK_FREE ? pool_give(lane, chunk) : pool_move(lane, chunk, to);
                if (PLANTED(DOOMED_GIVEN_TWICE) && chunk && from == CHUNK_DOOMED)
                        (void)pool_give(lane, chunk);
                if (!chunk || r == OBJD_E_CORRUPT) {
                        word_set(list, 0);
                        r = OBJD_OK;
                }
        }
        return r;
}

/* Slots go back after the locks: a line must be free when its slot is. One that cannot be given is given up. */
static objd_status give_slots(struct lane *lane, uint64_t *slots, uint32_t *n_slots)
{
        objd_status r = OBJD_OK;

        if (*n_slots > LANE_SLOTS)
                half_set(n_slots, 0);
        while (*n_slots && r == OBJD_OK) {
                uint32_t n = *n_slots - 1;
                uint64_t entry = word_get(&slots[n % LANE_SLOTS]);
                struct object_shm *object = arena_at(lane->arena, entry & ~SLOT_FLAGS, SLOT_SIZE);

                if (object && !(entry & SLOT_IS_GROUP))
                        r = empty_list(lane, &object->chunks, CHUNK_OF_OBJECT, CHUNK_FREE);
                if (r == OBJD_OK)
                        r = object ? pool_give_slots(lane, entry, n_slots) : OBJD_E_CORRUPT;
                if (r == OBJD_E_CORRUPT) {
                        half_set(n_slots, n);
                        r = OBJD_OK;
                }
        }
        return r;
}

/* ---- Objects that cannot be put back to what they were -------------------------------------------------- */

static void poison_in_block(struct arena *arena, uint64_t number, uint64_t serial)
{
        struct object_shm *slots = (struct object_shm *)(arena->data + (number << BLOCK_SHIFT));

        /* A further line of the object, as a queue's tail, has its serial as well, and may be all that an operation looks at. */
        for (uint32_t i = 1; i < SLOTS_PER_BLOCK; i++)
                if (word_get(&slots[i].line.serial) == serial)
                        __atomic_fetch_or(&slots[i].line.config, LINE_POISONED, __ATOMIC_RELAXED);
}

/* The object that a line belongs to may be another one than the line; a search is fast enough for what never happens. */
static void poison_object(struct arena *arena, uint64_t serial)
{
        for (uint64_t number = 0; serial && number < arena_frontier(arena); number++)
                if (__atomic_load_n(&arena->blocks[number].state, __ATOMIC_RELAXED) == BLOCK_SLOTS)
                        poison_in_block(arena, number, serial);
}

/*
 * The lane's notes are damaged, so what it has locked may be half changed. Everything else is as good as before. The locks are still
 * held.
 */
static void poison_locked(struct lane *lane)
{
        struct lane_shm *shm = lane->shm;
        struct arena *arena = lane->arena;

        for (uint32_t i = 0; i < at_most(shm->n_locks, LANE_LOCKS); i++) {
                const struct line_shm *line = line_at(arena, word_get(&shm->locks[i]));

                if (line && line != &arena->header->pool.line &&
                    lock_lane(word_get(&line->word)) == lane->number)
                        poison_object(arena, word_get(&line->serial));
        }
}

/* The log is the lane's own again before the chunks that it grew into go back. */
static objd_status end(struct lane *lane)
{
        struct lane_shm *shm = lane->shm;
        objd_status r;

        shm->log.used = 0;
        order_for_death();
        if (shm->log_chunk) {
                shm->log.capacity = LANE_LOG;
                order_for_death();
                shm->log.off = arena_off(lane->arena, shm->log_bytes);
                order_for_death();
        }
        r = empty_list(lane, &shm->log_chunk, CHUNK_OF_LOG, CHUNK_FREE);
        if (r)
                return r;
        half_set(&shm->n_wakes, 0);
        order_for_death();
        word_set(&shm->log.state, TXN_IDLE);
        order_for_death();
        return OBJD_OK;
}

/* The pool's lock is one more than those that stand in the lane; a damaged lane may say that there is no place for it. */
static void leave_room_for_pool(struct lane_shm *shm)
{
        if (shm->n_locks >= LANE_LOCKS)
                half_set(&shm->n_locks, LANE_LOCKS - 1);
}

objd_status txn_undo(struct lane *lane)
{
        struct lane_shm *shm = lane->shm;
        objd_status r;

        if (PLANTED(LOCKS_BEFORE_WORDS))
                txn_unlock(lane);
        if (PLANTED(SLOT_KEPT))
                half_set(&shm->n_new_slots, 0);
        leave_room_for_pool(shm);
        if (!log_roll_back(lane->arena, &shm->log))
                poison_locked(lane);
        CRASH_POINT("undo.words"); /* all words are old again; the next one finds an empty log */
        half_set(&shm->n_dead_slots, 0);
        half_set(&shm->n_wakes, 0);
        r = empty_list(lane, &shm->taken, CHUNK_TAKEN, CHUNK_FREE);
        if (r == OBJD_OK)
                r = empty_list(lane, &shm->doomed, CHUNK_DOOMED, CHUNK_OF_OBJECT);
        if (r)
                return r;
        CRASH_POINT("undo.chunks"); /* memory is back where it was; the locks are still held */
        txn_unlock(lane);
        CRASH_POINT("undo.unlocked"); /* only new slots are left to be given back */
        r = give_slots(lane, shm->new_slots, &shm->n_new_slots);
        return r ? r : end(lane);
}

static void give_wakes(struct lane *lane)
{
        const struct lane_shm *shm = lane->shm;

        for (uint32_t i = 0; i < at_most(shm->n_wakes, LANE_WAKES); i++) {
                uint64_t wake = word_get(&shm->wakes[i]), off = wake & ~WAKE_ONE;

                if (arena_has(lane->arena, off, sizeof(uint32_t)) && !(off & 3))
                        wait_wake(lane->arena, (const uint32_t *)(lane->arena->base + off),
                                  wake & WAKE_ONE ? 1 : INT_MAX);
        }
}

objd_status txn_complete(struct lane *lane)
{
        struct lane_shm *shm = lane->shm;
        objd_status r;

        leave_room_for_pool(shm);
        half_set(&shm->n_new_slots, 0);
        r = empty_list(lane, &shm->taken, CHUNK_TAKEN, CHUNK_OF_OBJECT);
        if (r == OBJD_OK)
                r = empty_list(lane, &shm->doomed, CHUNK_DOOMED, CHUNK_FREE);
        if (r)
                return r;
        CRASH_POINT("complete.chunks"); /* memory is settled; the locks are still held */
        txn_unlock(lane);
        CRASH_POINT("complete.unlocked"); /* wakes and slots are still owed */
        if (!PLANTED(WAKE_FORGOTTEN))
                give_wakes(lane);
        r = give_slots(lane, shm->dead_slots, &shm->n_dead_slots);
        return r ? r : end(lane);
}

/* How long the daemon and the tools wait for the pool's holder before they leave the rest of an operation to others. */
#define PATIENCE_NS 100000000LL

/*
 * The decision has been made; what is left cannot be refused any more, so it waits for the pool however long the pool's
 * holder takes (a few microseconds, unless somebody has stopped it). Only who must not be stopped by anybody hands the lane
 * over as that of a dead client, and goes on with another one.
 */
static void finish(struct lane *lane, objd_status (*how)(struct lane *lane))
{
        int64_t timeout_ns = lane->timeout_ns, deadline_ns = lane->deadline_ns;

        lane->deadline_ns = lane->arena->by_process ? deadline_after(PATIENCE_NS) : INT64_MAX;
        if (how(lane) && lane->arena->by_process)
                lane_abandon(lane);
        lane->timeout_ns = timeout_ns;
        lane->deadline_ns = deadline_ns;
}

objd_status txn_commit(struct lane *lane)
{
        struct lane_shm *shm = lane->shm;

        if (lane->starved) {
                txn_abort(lane);
                return fail(OBJD_E_NOMEM, "the operation's undo log is full");
        }
        word_set(&shm->n_writes, shm->n_writes + 1);
        CRASH_POINT("commit.before"); /* everything is changed and noted: all of it is undone */
        order_for_death();
        if (PLANTED(UNLOCK_BEFORE_COMMIT))
                txn_unlock(lane);
        if (PLANTED(DEBTS_FORGOTTEN) || (!shm->taken && !shm->doomed && !shm->n_wakes && !shm->n_new_slots &&
                                         !shm->n_dead_slots && !shm->log_chunk)) {
                /* Nothing is owed but the locks, and they are given by anyone who finds them: IDLE is the commit. */
                word_set(&shm->log.state, TXN_IDLE);
                order_for_death();
                CRASH_POINT("commit.idle"); /* done; only the locks are held */
                txn_unlock(lane);
                return OBJD_OK;
        }
        word_set(&shm->log.state, TXN_COMMITTED);
        order_for_death();
        CRASH_POINT("commit.owed"); /* decided: what is owed is done by whoever finds the lane */
        finish(lane, txn_complete);
        return OBJD_OK;
}

void txn_abort(struct lane *lane)
{
        pool_recover(lane); /* a call that longjmp() has left may have been in the pool */
        if (lane->shm->log.state == TXN_IDLE)
                txn_unlock(lane);
        else if (lane->shm->log.state == TXN_ACTIVE)
                finish(lane, txn_undo);
        else
                finish(lane, txn_complete);
}
