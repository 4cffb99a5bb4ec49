/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blocks.c -- free runs of blocks: first fit by size class, joined with their neighbours at once
 *
 * A run's first and last blocks say what it is (boundary tags, after Knuth); what lies between is never looked at. The state
 * of an inner block is one of the inner states, never one that a lone block has.
 *
 * Whether a block has memory of the system is a matter of its own (block_shm.memory): it is written without a note,
 * "unknown" before the system is asked to give or take, and the truth only after, so that a death leaves "unknown".
 */

#include "mem/blocks.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/status.h"
#include "base/sys.h"

/* How many runs of the right bin are tried before the next larger bin is, and the frontier; in a full arena, all are. */
#define TRY_RUNS 16

/* How long a puncher waits for readers: a read takes well under a microsecond, unless its thread is not running. */
#define GRACE_TURNS 2000

objd_status block_damaged(uint32_t number)
{
        return fail(OBJD_E_CORRUPT, "the block table is damaged at block %u", number);
}

/* The block that a link (its number + 1) leads to; NULL if it leads beyond those that have been used. */
static struct block_shm *linked(struct lane *lane, uint32_t link)
{
        return link && link <= arena_frontier(lane->arena) ? block_at(lane, link - 1) : NULL;
}

objd_status block_link(struct lane *lane, uint32_t *head, uint32_t number)
{
        struct block_shm *block = block_at(lane, number), *first = linked(lane, *head);

        if (*head && !first)
                return block_damaged(number);
        pool_note(lane, &block->next);
        half_set(&block->next, *head);
        pool_set32(lane, &block->prev, 0);
        if (first)
                pool_set32(lane, &first->prev, number + 1);
        pool_set32(lane, head, number + 1);
        return OBJD_OK;
}

/* Only if its neighbours, or the head of the list, agree that it stands there. */
objd_status block_unlink(struct lane *lane, uint32_t *head, uint32_t number)
{
        struct block_shm *block = block_at(lane, number), *next = linked(lane, block->next),
                         *prev = linked(lane, block->prev);

        if ((block->next && (!next || next->prev != number + 1)) || (block->prev && !prev) ||
            (prev ? prev->next : *head) != number + 1)
                return block_damaged(number);
        if (prev)
                pool_set32(lane, &prev->next, block->next);
        else
                pool_set32(lane, head, block->next);
        if (next)
                pool_set32(lane, &next->prev, block->prev);
        return OBJD_OK;
}

static uint32_t bin_of(uint32_t n)
{
        return 31 - (uint32_t)__builtin_clz(n);
}

/* Makes [number, number + n) a free run in its bin. */
static objd_status insert_run(struct lane *lane, uint32_t number, uint32_t n)
{
        struct block_shm *first = block_at(lane, number), *last = block_at(lane, number + n - 1);

        pool_set8(lane, &first->state, BLOCK_FREE);
        pool_set32(lane, &first->run, n);
        if (n > 1) {
                pool_set8(lane, &last->state, BLOCK_FREE_IN);
                pool_set32(lane, &last->run, n);
        }
        return block_link(lane, &pool_of(lane)->bins[bin_of(n)], number);
}

/* Whether a free run begins here, as far as its first and last block tell. */
static bool is_free_run(struct lane *lane, uint32_t number)
{
        uint64_t end = arena_frontier(lane->arena);
        const struct block_shm *first = block_at(lane, number), *last;

        if (number >= end || first->state != BLOCK_FREE || !first->run || first->run > end - number)
                return false;
        last = block_at(lane, number + first->run - 1);
        return last == first || (last->state == BLOCK_FREE_IN && last->run == first->run);
}

static objd_status remove_run(struct lane *lane, uint32_t number)
{
        struct block_shm *first = block_at(lane, number);
        objd_status r;

        if (!is_free_run(lane, number))
                return block_damaged(number);
        r = block_unlink(lane, &pool_of(lane)->bins[bin_of(first->run)], number);
        pool_set8(lane, &first->state, BLOCK_FREE_IN);
        return r;
}

/* A free run of at least n blocks; of its own bin, in which runs may be too short, only so many are tried. */
static uint32_t find_run(struct lane *lane, uint32_t n, uint32_t n_tries)
{
        struct pool_shm *pool = pool_of(lane);
        uint32_t bin = bin_of(n), next = pool->bins[bin];

        for (uint32_t i = 0; next && i < n_tries; i++, next = block_at(lane, next - 1)->next)
                if (block_at(lane, next - 1)->run >= n)
                        return next;
        for (bin++; bin < N_BINS; bin++)
                if (pool->bins[bin])
                        return pool->bins[bin];
        return 0;
}

/* Makes the frontier's next blocks a free run, together with the free run that ends at it. */
static objd_status extend(struct lane *lane, uint32_t n, uint32_t *ret_number)
{
        struct pool_shm *pool = pool_of(lane);
        uint32_t frontier = (uint32_t)pool->frontier, start = frontier, need;
        uint64_t entries;
        objd_status r;

        if (pool->frontier > lane->arena->n_blocks || pool->table_ready < frontier ||
            pool->table_ready > lane->arena->n_blocks)
                return fail(OBJD_E_CORRUPT, "the pool's books are damaged");
        if (frontier) {
                struct block_shm *last = block_at(lane, frontier - 1);

                if ((last->state == BLOCK_FREE || last->state == BLOCK_FREE_IN) && last->run <= frontier)
                        start = frontier - last->run;
        }
        if (n <= frontier - start) /* it would have been found, if it were in its bin */
                return block_damaged(start);
        need = n - (frontier - start);
        if (need > lane->arena->n_blocks - frontier)
                return fail(OBJD_E_NOMEM,
                            "the arena is full: %llu MiB in all, none of it free in one piece of %u KiB",
                            (unsigned long long)(lane->arena->n_blocks * BLOCK_SIZE >> 20),
                            n * (BLOCK_SIZE >> 10));
        entries = frontier + need;
        if (entries > pool->table_ready) {
                uint64_t ready = (entries + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;

                if (ready > lane->arena->n_blocks)
                        ready = lane->arena->n_blocks;
                r = arena_commit(lane->arena,
                                 arena_off(lane->arena, block_at(lane, (uint32_t)pool->table_ready)),
                                 (ready - pool->table_ready) * sizeof(struct block_shm));
                if (r)
                        return r;
                pool_set(lane, &pool->table_ready, ready);
        }
        r = start < frontier ? remove_run(lane, start) : OBJD_OK;
        if (r)
                return r;
        pool_set(lane, &pool->frontier, entries);
        *ret_number = start;
        return insert_run(lane, start, n);
}

static uint32_t count_kept(struct lane *lane, uint32_t number, uint32_t n)
{
        uint32_t kept = 0;

        for (uint32_t i = 0; i < n; i++)
                kept += block_at(lane, number + i)->memory != MEMORY_NONE;
        return kept;
}

/* n_kept is a hint that a death may leave wrong; it must not wrap. */
static void add_kept(struct lane *lane, uint32_t n)
{
        pool_set(lane, &pool_of(lane)->n_kept, pool_of(lane)->n_kept + n);
}

static void sub_kept(struct lane *lane, uint32_t n)
{
        uint64_t kept = pool_of(lane)->n_kept;

        pool_set(lane, &pool_of(lane)->n_kept, kept > n ? kept - n : 0);
}

/*
 * A free run of at least n blocks, where there is one. What the frontier gives is committed at once: it is a free run like any
 * other, and notes of its entries would hold what is known of its memory now.
 */
static objd_status have_run(struct lane *lane, uint32_t n, uint32_t *ret_number)
{
        uint32_t found = find_run(lane, n, TRY_RUNS);
        objd_status r;

        if (!found) {
                r = extend(lane, n, ret_number);
                if (r == OBJD_OK)
                        pool_checkpoint(lane);
                if (r != OBJD_E_NOMEM)
                        return r;
                found = find_run(lane, n, (uint32_t)arena_frontier(lane->arena)); /* all there can be */
                if (!found)
                        return r;
        }
        *ret_number = found - 1;
        return OBJD_OK;
}

/* Before an entry is noted: if it is rolled back, its block may have got memory meanwhile. */
static void doubt_memory(struct lane *lane, uint32_t number)
{
        if (block_at(lane, number)->memory == MEMORY_NONE)
                __atomic_store_n(&block_at(lane, number)->memory, MEMORY_UNKNOWN, __ATOMIC_RELAXED);
        order_for_death();
}

objd_status run_take(struct lane *lane, uint32_t n, uint32_t *ret_number)
{
        uint32_t number = 0, run, kept;
        objd_status r = have_run(lane, n, &number);

        if (r)
                return r;
        run = block_at(lane, number)->run;
        if (!is_free_run(lane, number) || run < n)
                return block_damaged(number);
        kept = count_kept(lane, number, n);
        doubt_memory(lane, number);
        doubt_memory(lane, number + n - 1);
        r = remove_run(lane, number);
        if (r == OBJD_OK && run > n)
                r = insert_run(lane, number + n, run - n);
        if (r)
                return r;
        sub_kept(lane, kept);
        pool_set8(lane, &block_at(lane, number)->state, BLOCK_RUN);
        pool_set32(lane, &block_at(lane, number)->run, n);
        if (n > 1)
                pool_set8(lane, &block_at(lane, number + n - 1)->state, BLOCK_RUN_IN);
        pool_add(lane, &pool_of(lane)->n_used_blocks, n);
        *ret_number = number;
        return OBJD_OK;
}

objd_status run_give(struct lane *lane, uint32_t number, uint32_t n)
{
        struct pool_shm *pool = pool_of(lane);
        uint32_t start = number, end = number + n;
        objd_status r;

        if (!n || number >= arena_frontier(lane->arena) || n > arena_frontier(lane->arena) - number)
                return block_damaged(number);
        add_kept(lane, count_kept(lane, number, n));
        pool_add(lane, &pool->n_used_blocks, (uint64_t)0 - n);
        if (number) {
                struct block_shm *before = block_at(lane, number - 1);

                if (before->state == BLOCK_FREE || before->state == BLOCK_FREE_IN) {
                        if (!before->run || before->run > number)
                                return block_damaged(number - 1);
                        start = number - before->run;
                        r = remove_run(lane, start);
                        if (r)
                                return r;
                        if (block_at(lane, start)->run != number - start)
                                return block_damaged(start);
                }
        }
        if (end < pool->frontier && block_at(lane, end)->state == BLOCK_FREE) {
                uint32_t run = block_at(lane, end)->run;

                r = remove_run(lane, end);
                if (r)
                        return r;
                end += run;
        }
        pool_set8(lane, &block_at(lane, number)->state, BLOCK_FREE_IN);
        return insert_run(lane, start, end - start);
}

objd_status run_commit(struct lane *lane, uint32_t number, uint32_t n)
{
        uint64_t off = arena_off(lane->arena, block_data(lane, number));
        bool all = true;
        objd_status r;

        for (uint32_t i = 0; i < n; i++)
                all &= block_at(lane, number + i)->memory == MEMORY_ALL;
        if (all)
                return OBJD_OK;
        for (uint32_t i = 0; i < n; i++)
                if (block_at(lane, number + i)->memory == MEMORY_NONE)
                        __atomic_store_n(&block_at(lane, number + i)->memory, MEMORY_UNKNOWN,
                                         __ATOMIC_RELAXED);
        order_for_death();
        r = arena_commit(lane->arena, off, (uint64_t)n << BLOCK_SHIFT);
        if (r)
                return r;
        arena_populate(lane->arena, off, (uint64_t)n << BLOCK_SHIFT);
        for (uint32_t i = 0; i < n; i++)
                __atomic_store_n(&block_at(lane, number + i)->memory, MEMORY_ALL, __ATOMIC_RELAXED);
        return OBJD_OK;
}

bool blocks_grace(struct lane *lane)
{
        struct arena *arena = lane->arena;
        uint32_t high;

        if (lane_is_stand_in(lane))
                return false;
        if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) < 0)
                return false;
        /* Who maps the arena read-only has no lane, and nobody can know what it looks at. Those who come later find nothing. */
        if (readers_are_there(arena))
                return false;
        high = arena_lanes_high(arena); /* only now: who claims a lane later finds nothing any more */
        for (uint32_t i = 1; i <= high; i++) {
                const struct lane_shm *shm = arena_lane(arena, i < high ? i : RESERVE_LANE);
                uint64_t epoch;

                if (shm == lane->shm || !half_get(&shm->claimed))
                        continue;
                epoch = word_get_acquire(&shm->epoch);
                for (int turns = 0; (epoch & 1) && word_get_acquire(&shm->epoch) == epoch; turns++)
                        if (turns > GRACE_TURNS)
                                return false;
        }
        return true;
}

bool blocks_keep_too_many(struct lane *lane)
{
        const struct pool_shm *pool = pool_of(lane);
        uint64_t most = pool->n_used_blocks;

        if (most < KEEP_BLOCKS)
                most = KEEP_BLOCKS;
        if (most > KEEP_BLOCKS_MAX)
                most = KEEP_BLOCKS_MAX;
        return pool->n_kept > most;
}

/* Up to PUNCH_BLOCKS blocks in a row of the run that begins at this block that have memory. */
static bool find_kept_in(struct lane *lane, uint64_t number, uint64_t *n_looks, uint32_t *ret_first,
                         uint32_t *ret_n)
{
        uint64_t limit = arena_frontier(lane->arena), end = number + block_at(lane, (uint32_t)number)->run;
        uint32_t first = (uint32_t)number, n = 0;

        if (number >= limit || end > limit || block_at(lane, first)->state != BLOCK_FREE)
                return false;
        for (; first < end && *n_looks && block_at(lane, first)->memory == MEMORY_NONE; first++)
                --*n_looks;
        while (first + n < end && n < PUNCH_BLOCKS && block_at(lane, first + n)->memory != MEMORY_NONE)
                n++;
        *ret_first = first;
        *ret_n = n;
        return n;
}

bool blocks_find_kept(struct lane *lane, uint64_t n_looks, uint32_t *ret_first, uint32_t *ret_n)
{
        uint64_t n_left = arena_frontier(lane->arena); /* no list is longer, unless it goes round */

        for (uint32_t bin = 0; bin < N_BINS; bin++)
                for (uint32_t next = pool_of(lane)->bins[bin]; next && n_left && n_looks;
                     next = block_at(lane, next - 1)->next, n_left--, n_looks--)
                        if (find_kept_in(lane, next - 1, &n_looks, ret_first, ret_n))
                                return true;
        return false;
}

bool blocks_punch(struct lane *lane, uint32_t first, uint32_t n)
{
        uint32_t kept = count_kept(lane, first, n);

        for (uint32_t i = 0; i < n; i++)
                if (block_at(lane, first + i)->memory != MEMORY_NONE)
                        __atomic_store_n(&block_at(lane, first + i)->memory, MEMORY_UNKNOWN,
                                         __ATOMIC_RELAXED);
        order_for_death();
        if (arena_punch(lane->arena, arena_off(lane->arena, block_data(lane, first)),
                        (uint64_t)n << BLOCK_SHIFT))
                return false;
        for (uint32_t i = 0; i < n; i++)
                __atomic_store_n(&block_at(lane, first + i)->memory, MEMORY_NONE, __ATOMIC_RELAXED);
        sub_kept(lane, kept);
        return true;
}
