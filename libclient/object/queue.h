/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * queue.h -- what the parts of the queue kind have in common; queue.c has the overview
 */

#include <objd.h>

#include "object/kind.h"
#include "sync/lock.h"
#include "txn/txn.h"

/* Bits of line.config, beside OBJECT_POISONED; in both lines. */
#define QUEUE_CLOSED (OBJECT_POISONED << 1)
#define QUEUE_POISONED (OBJECT_POISONED << 2)

/* What only queue_run() sees: nothing has been changed; come back with both lines locked, or with the leases looked at. */
#define QUEUE_NEEDS_BOTH ((objd_status)-1)
#define QUEUE_NEEDS_LOOK ((objd_status)-2)

/*
 * A queue inside one operation. The pointers were checked against the bounds of the arena when they were made, and are
 * good until the locks are given.
 */
struct queue {
        struct lane *lane;
        struct arena *arena;
        struct object_shm *object;
        const struct objd_object *handle; /* for sentences; NULL in a recovery */
        struct queue_head_shm *head;
        struct queue_tail_shm *tail; /* NULL if not FIFO */
        struct queue_shm *shm;
        objd_order order;
        bool alone; /* the only operation, so that it may ask for more lines, and look at leases */
};

/* The words of an object's line as those of a queue's head; all access goes through word.h. */
static inline struct queue_head_shm *queue_head_of(struct object_shm *object)
{
        return (struct queue_head_shm *)(void *)object;
}

static inline struct line_shm *queue_head_line(const struct queue *queue)
{
        return (struct line_shm *)queue->head;
}

static inline struct line_shm *queue_tail_line(const struct queue *queue)
{
        return (struct line_shm *)queue->tail;
}

/* The sentence for something in the arena that cannot be. */
objd_status queue_corrupt(const struct queue *queue, const char *what);

/* Its name, for sentences. */
const char *queue_label(const struct queue *queue);

/* ---- Wake words -------------------------------------------------------------------------------------- */

static inline uint32_t wake_seq(uint64_t word)
{
        return (uint32_t)word;
}

static inline uint32_t wake_sleepers(uint64_t word)
{
        return (uint32_t)(word >> 32);
}

static inline uint64_t wake_word(uint32_t sleepers, uint32_t seq)
{
        return (uint64_t)sleepers << 32 | seq;
}

/*
 * Owes a wake to n of those who sleep on a wake word whose line is locked; costs a look if there are none. Too many
 * owed wakes for one batch are no failure: sleepers look for themselves every WAIT_SLICE_NS.
 */
void queue_wake_some(struct queue *queue, uint64_t *word, uint64_t n);

static inline void queue_wake(struct queue *queue, uint64_t *word, uint64_t n)
{
        if (__builtin_expect(wake_sleepers(word_get(word)) != 0, 0))
                queue_wake_some(queue, word, n);
}

static inline uint64_t *queue_getters(const struct queue *queue)
{
        return queue->tail ? &queue->tail->getters : &queue->head->getters;
}

/* ---- Tables (queue_table.c) -------------------------------------------------------------------------- */

/* The entry at this index, which the caller knows to be below n; NULL if the table is damaged. */
static inline void *table_at(const struct arena *arena, const struct queue_table_shm *table, uint64_t i,
                             uint64_t size)
{
        uint64_t per_page = QUEUE_PAGE / size, page = i / per_page;
        const uint64_t *dir = arena_at(arena, word_get(&table->dir) + CHUNK_HEAD, (page + 1) * 8);

        if (page >= word_get(&table->pages) || !dir)
                return NULL;
        return arena_at(arena, word_get(dir + page) + CHUNK_HEAD + i % per_page * size, size);
}

/* Makes room for one more entry, at index n. @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_BUSY, OBJD_E_CORRUPT */
objd_status table_reserve(struct queue *queue, struct queue_table_shm *table, uint64_t size);

/* Gives a page back if the last two are not needed any more. */
objd_status table_trim(struct queue *queue, struct queue_table_shm *table, uint64_t size);

/* Room in the log for what one item costs that is not in a chain; before its first change. @return OBJD_OK, OBJD_E_NOMEM */
objd_status queue_reserve(struct queue *queue);

/*
 * The queue's own items that are not in a chain, as the order says: LIFO takes what was given last, PRIORITY the smallest
 * priority and then sequence, FIFO the smallest sequence.
 */
objd_status items_push(struct queue *queue, const struct queue_item_shm *item);
objd_status items_pop(struct queue *queue, struct queue_item_shm *ret_item);

/* Whether a comes out before b. */
static inline bool item_is_before(const struct queue_item_shm *a, const struct queue_item_shm *b)
{
        return a->priority != b->priority ? a->priority < b->priority : a->sequence < b->sequence;
}

/* ---- Where an item's bytes are (queue_cells.c) ------------------------------------------------------- */

static inline uint64_t item_head(objd_type type, enum queue_place place, uint64_t size)
{
        return (uint64_t)type | (uint64_t)place << 8 | size << 16;
}

static inline objd_type item_type(uint64_t head)
{
        return (objd_type)(head & 0xff);
}

static inline enum queue_place item_place(uint64_t head)
{
        return (enum queue_place)(head >> 8 & 0xff);
}

static inline uint64_t item_size(uint64_t head)
{
        return head >> 16;
}

/* Values up to this size share pages; larger ones have a chunk each. */
#define QUEUE_CELL_MAX 192u
#define QUEUE_CELL_PAGE 4064u
extern const uint32_t queue_cell_size[QUEUE_CELL_SIZES];

/* Stores a value, or the encoded bytes of a record of the chain; fills head and place of the item. */
objd_status item_store(struct queue *queue, const objd_value *value, struct queue_item_shm *ret_item);
objd_status item_store_bytes(struct queue *queue, objd_type type, const void *shared, uint64_t size,
                             struct queue_item_shm *ret_item);

/* Its bytes, in the arena or in *item; NULL if that cannot be. */
const void *item_bytes(const struct arena *arena, const struct queue_item_shm *item);

/* Frees them, with the operation. */
objd_status item_drop(struct queue *queue, const struct queue_item_shm *item);

/* A chunk with the encoded value VALUE_CHUNK_DATA behind its start. */
objd_status value_chunk(struct queue *queue, const objd_value *value, uint64_t size,
                        struct chunk_shm **ret_chunk);

/* ---- The chain of a FIFO queue (queue_chain.c) --------------------------------------------------------- */

/* Room that is kept at the end of each chunk for the link to the next one. */
#define CHAIN_LINK 24u
#define CHAIN_FIRST 224u

/* A record of the chain, as the getter sees it. bytes points into the arena. */
struct record {
        uint64_t head;
        const uint64_t *bytes;
        uint64_t chunk; /* QUEUE_CHUNK: its offset; QUEUE_LINK: of the chunk that ends here */
        uint64_t next;  /* position behind it; QUEUE_LINK: of the first record of the next chunk */
};

/* Appends n values; the tail is locked. */
objd_status chain_put(struct queue *queue, const objd_value *values, size_t n);

/* Reads the record at pos. False if there cannot be one. */
bool chain_record(const struct arena *arena, uint64_t pos, struct record *ret_record);

/* Reads the head's next record, over a link if there is one, whose chunk is freed. Changes nothing else. */
objd_status chain_next(struct queue *queue, uint64_t pos, struct record *ret_record);

/* ---- Taking and giving (queue_take.c) ----------------------------------------------------------------- */

/*
 * Items that were put, as far as can be known with the head locked: also looks at the tail, under its version, or
 * straight if the lane holds it. @return OBJD_OK, QUEUE_NEEDS_BOTH (somebody is putting all the time)
 */
objd_status queue_hear_pushed(struct queue *queue, uint64_t *ret_pushed);

objd_status queue_put(struct queue *queue, struct op *op);
objd_status queue_get(struct queue *queue, struct op *op);
objd_status queue_task_done(struct queue *queue);

/* The same as get for one item, which moves to *ret_item instead of being handed out. */
objd_status queue_take_item(struct queue *queue, struct op *op, struct queue_item_shm *ret_item);

/* Gives encoded bytes to the caller of an operation. */
objd_status queue_deliver(struct op *op, uint64_t head, const void *bytes);

/* An item is back at the head. */
objd_status queue_put_back(struct queue *queue, const struct queue_item_shm *item);

/* A task is done: counts, wakes joiners at the last one. */
void queue_count_done(struct queue *queue);

/* An item has left the queue for good: wakes who waits for room. */
static inline void queue_made_room(struct queue *queue, uint64_t n)
{
        queue_wake(queue, &queue->head->putters, n);
}

/* ---- Leases (queue_lease.c) --------------------------------------------------------------------------- */

objd_status lease_take(struct queue *queue, struct op *op);
objd_status lease_ack(struct queue *queue, uint64_t id);
objd_status lease_give_back(struct queue *queue, uint64_t id);

/* Whether getters that find items should look at the leases first. The head is locked. */
bool lease_look_is_due(const struct queue *queue);

/*
 * Returns what the dead and the late have under lease, in transactions of its own; inside an epoch, with no lock held.
 * `empty`: there is nothing else to give, so look now, if nobody has just done so.
 */
objd_status lease_look(struct lane *lane, struct objd_object *object, bool empty);

/* The same where getters that find items should look first; asked without the lock. */
objd_status lease_look_if_due(struct lane *lane, struct objd_object *object);

/* For the reaper of a dead client: everything that it has under lease goes back. In transactions of its own. */
objd_status queue_reap(struct lane *lane, struct object_shm *object, uint64_t dead_client);

/* ---- Without an operation ----------------------------------------------------------------------------- */

/*
 * Inside an epoch: the lines of the queue that the handle means, without having locked them. Compare serials once
 * they are. @return OBJD_OK, OBJD_E_GONE, OBJD_E_BUSY, OBJD_E_CORRUPT
 */
objd_status queue_find(struct lane *lane, struct objd_object *object, struct queue *ret_queue);

/* With the head locked or frozen: fills in what hangs from it. @return OBJD_OK, OBJD_E_CORRUPT */
objd_status queue_open(struct lane *lane, struct object_shm *object, struct queue *ret_queue);

/* The same without a lock. @return also OBJD_E_GONE, without a sentence */
objd_status queue_open_unlocked(struct lane *lane, struct object_shm *object, uint64_t serial,
                                struct queue *ret_queue);

/* Locks or freezes the head, and the tail if there is one, in their order. */
objd_status queue_lock(struct queue *queue);
objd_status queue_freeze(struct queue *queue);

/*
 * Runs one operation on one queue; the lane has been entered and no lock is held. OBJD_E_EMPTY and OBJD_E_FULL come
 * without a sentence, and op->hash is what queue_spin() then waits to see change.
 */
objd_status queue_run(struct lane *lane, struct op *op);

/* Reads (queue_read.c). */
objd_status queue_peek(struct objd_object *object, objd_value *ret_value, objd_buf *buf);
objd_status queue_len(struct objd_object *object, uint64_t *ret_len);
objd_status queue_walk(struct objd_object *object, uint64_t limit, walk_fn fn, void *context);

/* Whether no task is unfinished, as of one moment. @return OBJD_OK, OBJD_E_POISONED, OBJD_E_GONE, OBJD_E_BUSY, OBJD_E_CORRUPT */
objd_status queue_is_done(struct lane *lane, struct objd_object *object, bool *ret_done);

/* As kind.h has them (queue_dump.c). */
objd_status queue_get_state(struct lane *lane, struct objd_object *object, struct object_state *ret_state);
objd_status queue_set_state(struct lane *lane, struct objd_object *object, const struct object_state *state);
objd_status queue_visit(struct lane *lane, struct objd_object *object, visit_fn fn, void *context);

/* queue_check.c */
void queue_check(struct check *check, struct object_shm *object);

/* ---- Sleeping (queue_sleep.c) --------------------------------------------------------------------------- */

enum queue_waiter { QUEUE_GETTER, QUEUE_PUTTER, QUEUE_JOINER };

struct queue_sleeper {
        enum queue_waiter waiter;
        bool armed;    /* counted among the sleepers of the wake word */
        uint32_t seen; /* its sequence when we last looked */
};

/*
 * A waiter calls arm, tries once more, and then sleeps: whatever changes after arm wakes it. The lane has been entered;
 * pointers into the arena are void after a sleep.
 */
objd_status queue_arm(struct lane *lane, struct objd_object *object, struct queue_sleeper *sleeper);
objd_status queue_sleep(struct lane *lane, struct objd_object *object, struct queue_sleeper *sleeper,
                        int64_t deadline_ns);

/* The word that changes when a waiter that has armed itself is to look again; to sleep on, by who sleeps on many at once. */
objd_status queue_wake_half(struct lane *lane, struct objd_object *object, enum queue_waiter waiter,
                            const uint32_t **ret_half);

/* The waiter goes, woken or not. */
void queue_disarm(struct lane *lane, struct objd_object *object, struct queue_sleeper *sleeper);

/* Spins, if that has been worth it, until something was put or taken since `seen`. */
bool queue_spin(struct lane *lane, struct objd_object *object, enum queue_waiter waiter, uint64_t seen,
                int64_t deadline_ns);

/* As kind.h has it (queue_salvage.c). */
objd_status queue_salvage(struct salvage *salvage);
