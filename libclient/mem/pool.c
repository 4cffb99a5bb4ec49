/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.c -- chunks: the memory of objects
 *
 * Small chunks come from slabs, a block of 64 KiB each that is cut into chunks of one size; large ones are runs of
 * blocks. Freeing needs no memory: a free chunk holds its own link. It is the pool's own log, and not the operation's,
 * that covers the link, so a chunk that is reused before the operation commits cannot spoil a rollback.
 */

#include "mem/pool.h"

#include "base/crash.h"
#include "base/status.h"
#include "mem/blocks.h"
#include "txn/txn.h"

/* Multiples of 64, so that a value's data is aligned; as many to a block as fit. */
const uint32_t pool_class_size[N_CLASSES] = { 256,  384,  512,  768,   1024,  1536,  2048,  3072,
                                              4096, 6144, 8192, 10880, 13056, 16384, 21824, 32768 };

#define RUN_MAX ((uint32_t)(ARENA_SIZE_MAX >> BLOCK_SHIFT))

/* How many blocks one step of freeing looks at, at most, for memory that is kept elsewhere. */
#define SHED_LOOKS 4096u

#define INFO_LIST_SHIFT 40
#define INFO_PINNABLE (1ULL << 47)
#define INFO_FRESH \
        (1ULL << 46) /* doomed by the same operation that took it: no object's, however that ends */

static enum chunk_list info_list(uint64_t info)
{
        return (enum chunk_list)(info >> INFO_LIST_SHIFT & 0x3f);
}

static uint32_t info_class(uint64_t info)
{
        return (uint32_t)(info >> 32 & 0xff);
}

static uint32_t info_run(uint64_t info)
{
        return (uint32_t)info;
}

static uint64_t with_list(uint64_t info, enum chunk_list list)
{
        return (info & ~(0x3fULL << INFO_LIST_SHIFT)) | (uint64_t)list << INFO_LIST_SHIFT;
}

/* Bytes from the chunk's head to its end; 0 if the head is damaged. */
static uint64_t whole_size(uint64_t info)
{
        uint32_t size_class = info_class(info);

        if (info >> 48 != CHUNK_MAGIC)
                return 0;
        if (size_class == CHUNK_CLASS_RUN)
                return info_run(info) <= RUN_MAX ? (uint64_t)info_run(info) << BLOCK_SHIFT : 0;
        return size_class < N_CLASSES ? pool_class_size[size_class] : 0;
}

uint64_t chunk_size(const struct chunk_shm *chunk)
{
        uint64_t size = whole_size(word_get(&chunk->info));

        return size ? size - CHUNK_HEAD : 0;
}

void chunk_make_pinnable(struct chunk_shm *chunk)
{
        word_set(&chunk->info, chunk->info | INFO_PINNABLE);
}

static uint32_t class_for(uint64_t size)
{
        uint32_t size_class = 0;

        while (size_class < N_CLASSES && pool_class_size[size_class] < size)
                size_class++;
        return size_class;
}

static uint64_t run_for(uint64_t size)
{
        return (size + BLOCK_SIZE - 1) >> BLOCK_SHIFT;
}

uint64_t pool_round(uint64_t size)
{
        uint32_t size_class = class_for(size + CHUNK_HEAD);

        return (size_class < N_CLASSES ? pool_class_size[size_class]
                                       : run_for(size + CHUNK_HEAD) << BLOCK_SHIFT) -
               CHUNK_HEAD;
}

objd_status pool_begin(struct lane *lane)
{
        struct log_shm *log = &lane->shm->pool_log;
        objd_status r = lock_take(lane, &pool_of(lane)->line);

        if (r)
                return r;
        /* Said anew each time: whoever scribbles in the arena must not lead our notes out of it. */
        log->off = arena_off(lane->arena, lane->shm->pool_log_bytes);
        log->capacity = LANE_POOL_LOG;
        log->used = 0;
        order_for_death();
        word_set(&log->state, TXN_ACTIVE);
        order_for_death();
        return OBJD_OK;
}

static void pool_unlock(struct lane *lane)
{
        order_for_death();
        lock_release(lane->arena, &pool_of(lane)->line, lane->number);
        order_for_death();
        half_set(&lane->shm->n_locks, lane->shm->n_locks - 1);
}

objd_status pool_end(struct lane *lane, objd_status r)
{
        struct log_shm *log = &lane->shm->pool_log;

        CRASH_POINT("pool.before"); /* the pool's books are changed and noted: they are undone */
        if (r)
                log_roll_back(lane->arena, log);
        order_for_death();
        word_set(&log->state, TXN_IDLE);
        CRASH_POINT("pool.idle"); /* the pool's transaction is whole; its lock is held */
        pool_unlock(lane);
        CRASH_POINT("pool.done"); /* the chunk stands in the lane's list */
        return r;
}

void pool_checkpoint(struct lane *lane)
{
        struct log_shm *log = &lane->shm->pool_log;

        order_for_death();
        word_set(&log->state, TXN_IDLE);
        order_for_death();
        log->used = 0;
        order_for_death();
        word_set(&log->state, TXN_ACTIVE);
        order_for_death();
}

/* The intent for the pool's lock is the last one, if there is one: the pool is only entered with all others held. */
void pool_recover(struct lane *lane)
{
        struct lane_shm *shm = lane->shm;
        uint64_t line = arena_off(lane->arena, &pool_of(lane)->line);
        uint64_t own = arena_off(lane->arena, shm->pool_log_bytes);

        /* This log never moves; if it says otherwise, the lane is damaged, and the log is of no use. */
        if (shm->pool_log.off != own || shm->pool_log.capacity != LANE_POOL_LOG)
                shm->pool_log = (struct log_shm){ .state = shm->pool_log.state,
                                                  .off = own,
                                                  .capacity = LANE_POOL_LOG };

        if (shm->pool_log.state == TXN_ACTIVE) {
                log_roll_back(lane->arena, &shm->pool_log);
                word_set(&shm->pool_log.state, TXN_IDLE);
                order_for_death();
        }
        if (shm->n_locks && shm->n_locks <= LANE_LOCKS && shm->locks[shm->n_locks - 1] == line)
                pool_unlock(lane);
}

/* ---- Lists of chunks ---------------------------------------------------------------------------------- */

static struct chunk_shm *chunk_at(struct lane *lane, uint64_t off)
{
        return arena_at(lane->arena, off, CHUNK_HEAD);
}

/* Where the list that a chunk stands in begins; NULL if its head is damaged. */
static uint64_t *list_head(struct lane *lane, enum chunk_list list, const struct chunk_shm *chunk)
{
        struct object_shm *object;

        switch (list) {
        case CHUNK_OF_OBJECT:
                object = arena_at(lane->arena, chunk->owner, SLOT_SIZE);
                return object ? &object->chunks : NULL;
        case CHUNK_TAKEN:
                return &lane->shm->taken;
        case CHUNK_DOOMED:
                return &lane->shm->doomed;
        case CHUNK_OF_LOG:
                return &lane->shm->log_chunk;
        case CHUNK_IN_LIMBO:
                return &pool_of(lane)->limbo;
        default:
                return NULL;
        }
}

static objd_status damaged(struct lane *lane, const struct chunk_shm *chunk)
{
        return fail(OBJD_E_CORRUPT, "the chunk at %#llx is damaged",
                    (unsigned long long)arena_off(lane->arena, chunk));
}

static objd_status list_remove(struct lane *lane, struct chunk_shm *chunk)
{
        enum chunk_list list = info_list(chunk->info);
        uint64_t *head = list_head(lane, list, chunk), size = whole_size(chunk->info);
        struct chunk_shm *next = chunk->next ? chunk_at(lane, chunk->next) : NULL;
        struct chunk_shm *prev = chunk->prev ? chunk_at(lane, chunk->prev) : NULL;

        if (!head || !size || (chunk->next && !next) || (chunk->prev && !prev))
                return damaged(lane, chunk);
        if (next && next->prev != arena_off(lane->arena, chunk))
                return damaged(lane, chunk);
        if (prev ? prev->next != arena_off(lane->arena, chunk) : *head != arena_off(lane->arena, chunk))
                return damaged(lane, chunk);
        if (prev)
                pool_set(lane, &prev->next, chunk->next);
        else
                pool_set(lane, head, chunk->next);
        if (next)
                pool_set(lane, &next->prev, chunk->prev);
        if (list == CHUNK_OF_OBJECT) {
                struct object_shm *object = arena_at(lane->arena, chunk->owner, SLOT_SIZE);

                pool_add(lane, &object->memory, (uint64_t)0 - size);
        }
        return OBJD_OK;
}

static objd_status list_insert(struct lane *lane, struct chunk_shm *chunk, enum chunk_list list)
{
        uint64_t *head = list_head(lane, list, chunk), off = arena_off(lane->arena, chunk);
        struct chunk_shm *first;

        if (!head)
                return damaged(lane, chunk);
        first = *head ? chunk_at(lane, *head) : NULL;
        if (*head && !first)
                return damaged(lane, chunk);
        pool_set(lane, &chunk->next, *head);
        pool_set(lane, &chunk->prev, 0);
        pool_set(lane, &chunk->info, with_list(chunk->info, list));
        if (first)
                pool_set(lane, &first->prev, off);
        pool_set(lane, head, off);
        if (list == CHUNK_OF_OBJECT) {
                struct object_shm *object = arena_at(lane->arena, chunk->owner, SLOT_SIZE);

                pool_add(lane, &object->memory, whole_size(chunk->info));
        }
        return OBJD_OK;
}

/* ---- Slabs -------------------------------------------------------------------------------------------- */

static uint32_t slab_room(uint32_t size_class)
{
        return BLOCK_SIZE / pool_class_size[size_class];
}

static struct chunk_shm *slab_chunk(struct lane *lane, uint32_t number, uint32_t i)
{
        return (struct chunk_shm *)(block_data(lane, number) +
                                    (size_t)i * pool_class_size[block_at(lane, number)->size_class]);
}

static objd_status make_slab(struct lane *lane, uint32_t size_class, uint32_t *ret_number)
{
        struct block_shm *block;
        uint32_t number;
        objd_status r = run_take(lane, 1, &number);

        if (r)
                return r;
        r = run_commit(lane, number, 1);
        if (r)
                return r;
        block = block_at(lane, number);
        pool_set8(lane, &block->state, BLOCK_SLAB);
        pool_set8(lane, &block->size_class, (uint8_t)size_class);
        pool_set32(lane, &block->n_used, 0);
        pool_set32(lane, &block->carved, 0);
        pool_set32(lane, &block->free, 0);
        *ret_number = number;
        return block_link(lane, &pool_of(lane)->slabs[size_class], number);
}

static objd_status slab_take(struct lane *lane, uint32_t size_class, struct chunk_shm **ret_chunk)
{
        uint32_t *head = &pool_of(lane)->slabs[size_class], number = *head - 1;
        struct block_shm *block;
        struct chunk_shm *chunk;
        objd_status r = *head ? OBJD_OK : make_slab(lane, size_class, &number);

        if (r)
                return r;
        block = block_at(lane, number);
        if (number >= arena_frontier(lane->arena) || block->state != BLOCK_SLAB ||
            block->size_class != size_class || block->free > slab_room(size_class) ||
            (!block->free && block->carved >= slab_room(size_class)))
                return block_damaged(number);
        if (block->free) {
                chunk = slab_chunk(lane, number, block->free - 1);
                if (chunk->info != chunk_info(CHUNK_FREE, size_class, 0)) /* somebody has it */
                        return block_damaged(number);
                pool_set32(lane, &block->free, (uint32_t)chunk->next);
        } else {
                chunk = slab_chunk(lane, number, block->carved);
                pool_set32(lane, &block->carved, block->carved + 1);
        }
        pool_set32(lane, &block->n_used, block->n_used + 1);
        if (block->n_used == slab_room(size_class))
                r = block_unlink(lane, head, number);
        pool_set(lane, &chunk->info, chunk_info(CHUNK_FREE, size_class, 0));
        *ret_chunk = chunk;
        return r;
}

static objd_status slab_give(struct lane *lane, struct chunk_shm *chunk, uint32_t size_class)
{
        uint32_t *head = &pool_of(lane)->slabs[size_class], number = block_of(lane->arena, chunk);
        struct block_shm *block = block_at(lane, number);
        uint32_t i = (uint32_t)((uint8_t *)chunk - block_data(lane, number)) / pool_class_size[size_class];
        objd_status r = OBJD_OK;

        if (block->state != BLOCK_SLAB || block->size_class != size_class || !block->n_used ||
            slab_chunk(lane, number, i) != chunk)
                return damaged(lane, chunk);
        if (block->n_used == slab_room(size_class))
                r = block_link(lane, head, number);
        if (r)
                return r;
        pool_set(lane, &chunk->next, block->free);
        pool_set(lane, &chunk->info, chunk_info(CHUNK_FREE, size_class, 0));
        pool_set32(lane, &block->free, i + 1);
        pool_set32(lane, &block->n_used, block->n_used - 1);
        if (block->n_used)
                return OBJD_OK;
        r = block_unlink(lane, head, number);
        return r ? r : run_give(lane, number, 1);
}

/* ---- Taking ------------------------------------------------------------------------------------------- */

static objd_status take_any(struct lane *lane, uint64_t size, struct chunk_shm **ret_chunk)
{
        uint32_t size_class = class_for(size + CHUNK_HEAD), number, n;
        objd_status r;

        if (size_class < N_CLASSES)
                return slab_take(lane, size_class, ret_chunk);
        if (run_for(size + CHUNK_HEAD) > lane->arena->n_blocks)
                return fail(OBJD_E_NOMEM, "%llu bytes are more than the whole arena has",
                            (unsigned long long)size);
        n = (uint32_t)run_for(size + CHUNK_HEAD);
        r = run_take(lane, n, &number);
        if (r == OBJD_OK)
                r = run_commit(lane, number,
                               1); /* its head is about to be written; the rest follows without the lock */
        if (r)
                return r;
        *ret_chunk = (struct chunk_shm *)block_data(lane, number);
        pool_set(lane, &(*ret_chunk)->info, chunk_info(CHUNK_FREE, CHUNK_CLASS_RUN, n));
        return OBJD_OK;
}

static objd_status take_once(struct lane *lane, struct object_shm *object, uint64_t size,
                             struct chunk_shm **ret_chunk)
{
        struct chunk_shm *chunk = NULL;
        objd_status r = pool_begin(lane);

        if (r)
                return r;
        r = take_any(lane, size, &chunk);
        if (r == OBJD_OK) {
                pool_set(lane, &chunk->owner, object ? arena_off(lane->arena, object) : 0);
                pool_add(lane, &pool_of(lane)->used, whole_size(chunk->info));
                r = list_insert(lane, chunk, object ? CHUNK_TAKEN : CHUNK_OF_LOG);
        }
        r = pool_end(lane, r);
        if (r == OBJD_OK)
                *ret_chunk = chunk;
        return r;
}

/* The system is only asked for a large chunk's memory once the chunk is ours and nobody waits for the lock. */
static objd_status commit_run(struct lane *lane, struct chunk_shm *chunk)
{
        objd_status r, r2;

        if (info_class(chunk->info) != CHUNK_CLASS_RUN)
                return OBJD_OK;
        r = run_commit(lane, block_of(lane->arena, chunk), info_run(chunk->info));
        if (r == OBJD_OK)
                return OBJD_OK;
        r2 = pool_give(lane, chunk);
        return r2 ? r2 : r;
}

objd_status pool_take(struct lane *lane, struct object_shm *object, uint64_t size,
                      struct chunk_shm **ret_chunk)
{
        for (int attempt = 0;; attempt++) {
                objd_status r = take_once(lane, object, size, ret_chunk);

                if (r == OBJD_OK)
                        r = commit_run(lane, *ret_chunk);
                if (r != OBJD_E_NOMEM || attempt)
                        return r;
                pool_trim(
                        lane); /* what free blocks and retired ones still keep may be just what is missing */
        }
}

/* ---- Giving ------------------------------------------------------------------------------------------- */

static objd_status move(struct lane *lane, struct chunk_shm *chunk, enum chunk_list to)
{
        bool fresh = info_list(chunk->info) == CHUNK_TAKEN && to == CHUNK_DOOMED;
        objd_status r = list_remove(lane, chunk);

        if (r == OBJD_OK)
                r = list_insert(lane, chunk, to);
        if (r == OBJD_OK && fresh)
                word_set(&chunk->info, chunk->info | INFO_FRESH); /* noted by list_insert() */
        return r;
}

objd_status pool_move(struct lane *lane, struct chunk_shm *chunk, enum chunk_list to)
{
        objd_status r;

        if (!arena_at(lane->arena, arena_off(lane->arena, chunk), CHUNK_HEAD))
                return damaged(lane, chunk);
        if (to == CHUNK_OF_OBJECT && (chunk->info & INFO_FRESH))
                return pool_give(lane, chunk);
        r = pool_begin(lane);
        return r ? r : pool_end(lane, move(lane, chunk, to));
}

/*
 * Whether some lane has pinned the chunk. The pinner counts, writes its pin, passes a full fence and looks at the
 * version again; here the version has been raised (or its lock taken) before the fence: one of the two sees the other. Whoever
 * sees that a pin is gone may write where it was: what was read under it has been read (release there, acquire here).
 */
static bool is_pinned(struct lane *lane, const struct chunk_shm *chunk)
{
        struct arena *arena = lane->arena;
        uint64_t off = arena_off(arena, chunk);
        uint32_t high = arena_lanes_high(arena);

        if (!(chunk->info & INFO_PINNABLE))
                return false;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (!word_get_acquire(&arena->header->n_pins))
                return false;
        for (uint32_t i = 1; i <= high; i++) {
                const struct lane_shm *shm = arena_lane(arena, i < high ? i : RESERVE_LANE);

                for (uint32_t pin = 0; pin < LANE_PINS; pin++)
                        if (word_get_acquire(&shm->pins[pin]) == off)
                                return true;
        }
        return false;
}

/*
 * After blocks have become free: their memory goes to the system if enough is kept already. That they are free is
 * committed first, since what is punched cannot be rolled back; the lock is kept, so that nobody takes them meanwhile.
 */
static void shed(struct lane *lane, uint32_t number, uint32_t n)
{
        if (!blocks_keep_too_many(lane) || !blocks_grace(lane))
                return;
        pool_checkpoint(lane);
        (void)blocks_punch(lane, number, n);
        /* What was little enough to be kept may be too much now that less is in use. */
        if (blocks_keep_too_many(lane) && blocks_find_kept(lane, SHED_LOOKS, &number, &n))
                (void)blocks_punch(lane, number, n);
}

/* Cuts up to PUNCH_BLOCKS from the end of a large chunk: giving memory back is done in steps, each one short. */
static objd_status give_tail(struct lane *lane, struct chunk_shm *chunk, uint32_t n)
{
        uint32_t number = block_of(lane->arena, chunk), run = info_run(chunk->info), left = run - n;
        objd_status r;

        if (block_at(lane, number)->state != BLOCK_RUN || block_at(lane, number)->run != run)
                return damaged(lane, chunk);
        if (left) {
                pool_set32(lane, &block_at(lane, number)->run, left);
                if (left > 1)
                        pool_set8(lane, &block_at(lane, number + left - 1)->state, BLOCK_RUN_IN);
                pool_set(lane, &chunk->info, chunk->info - n);
        }
        pool_add(lane, &pool_of(lane)->used, (uint64_t)0 - ((uint64_t)n << BLOCK_SHIFT));
        r = run_give(lane, number + left, n);
        if (r == OBJD_OK)
                shed(lane, number + left, n);
        return r;
}

static objd_status give_run(struct lane *lane, struct chunk_shm *chunk, bool *ret_done)
{
        uint32_t run = info_run(chunk->info), n = run > PUNCH_BLOCKS ? PUNCH_BLOCKS : run;
        objd_status r;

        *ret_done = n == run;
        if (!*ret_done) {
                if (info_list(chunk->info) == CHUNK_OF_OBJECT) {
                        struct object_shm *object = arena_at(lane->arena, chunk->owner, SLOT_SIZE);

                        if (!object)
                                return damaged(lane, chunk);
                        pool_add(lane, &object->memory, (uint64_t)0 - ((uint64_t)n << BLOCK_SHIFT));
                }
                return give_tail(lane, chunk, n);
        }
        r = list_remove(lane, chunk);
        return r ? r : give_tail(lane, chunk, n);
}

static objd_status give_small(struct lane *lane, struct chunk_shm *chunk, uint32_t size_class)
{
        uint32_t number = block_of(lane->arena, chunk);
        objd_status r = list_remove(lane, chunk);

        if (r)
                return r;
        pool_add(lane, &pool_of(lane)->used, (uint64_t)0 - pool_class_size[size_class]);
        r = slab_give(lane, chunk, size_class);
        if (r == OBJD_OK && block_at(lane, number)->state != BLOCK_SLAB)
                shed(lane, number, 1);
        return r;
}

/* One step of freeing a chunk, under the pool's lock. */
static objd_status give_step(struct lane *lane, struct chunk_shm *chunk, bool *ret_done)
{
        uint32_t size_class = info_class(chunk->info);
        objd_status r;

        *ret_done = true;
        if (!whole_size(chunk->info))
                return damaged(lane, chunk);
        if (is_pinned(lane, chunk)) {
                r = list_remove(lane, chunk);
                return r ? r : list_insert(lane, chunk, CHUNK_IN_LIMBO);
        }
        return size_class == CHUNK_CLASS_RUN ? give_run(lane, chunk, ret_done)
                                             : give_small(lane, chunk, size_class);
}

objd_status pool_give(struct lane *lane, struct chunk_shm *chunk)
{
        bool done = false;
        objd_status r = OBJD_OK;

        if (!arena_at(lane->arena, arena_off(lane->arena, chunk), CHUNK_HEAD))
                return damaged(lane, chunk);
        while (!done && r == OBJD_OK) {
                r = pool_begin(lane);
                if (r == OBJD_OK)
                        r = pool_end(lane, give_step(lane, chunk, &done));
        }
        return r;
}
