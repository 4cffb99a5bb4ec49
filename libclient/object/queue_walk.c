/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_walk.c -- all items of a queue, in the order in which they would be taken
 *
 * The items of a chain are copied some at a time, with both ends frozen meanwhile; between two times the walk stands at
 * a number, and goes on from there, or from the head if getters have come further. A heap or a stack is copied as
 * of one moment, since its items move when it changes. The caller's function runs with nothing held.
 */

#include "object/queue.h"

#include <stdlib.h>

#include "base/status.h"
#include "base/sys.h"
#include "object/value.h"

#define WALK_RECORDS 512u
#define HEAP_WAYS 4u

struct walk {
        struct lane *lane;
        struct objd_object *object;
        uint64_t left; /* items that are still wanted */
        bool begun;
        uint64_t index, pos; /* of the next record */
        bool end;
        struct items_builder items;
};

/* The key of an item of a priority queue is its priority. */
static objd_status add(struct walk *walk, const struct queue *queue, const int64_t *priority, uint64_t head,
                       const void *bytes)
{
        const objd_type key_type = queue->order == OBJD_PRIORITY ? OBJD_INT : OBJD_ANY;
        objd_status r;

        if (!bytes)
                return queue_corrupt(queue, "an item");
        r = items_add(&walk->items, key_type, priority, key_type == OBJD_INT ? 8 : 0, item_type(head), bytes,
                      item_size(head));
        if (r == OBJD_OK)
                walk->left--;
        return r;
}

static objd_status add_item(struct walk *walk, const struct queue *queue, uint64_t i)
{
        const struct queue_item_shm *from = table_at(queue->arena, &queue->shm->items, i, sizeof(*from));
        struct queue_item_shm item;

        if (!from)
                return queue_corrupt(queue, "the table of items");
        words_out(&item, from, sizeof(item));
        return add(walk, queue, &item.priority, item.head, item_bytes(queue->arena, &item));
}

static objd_status walk_stack(struct walk *walk, const struct queue *queue)
{
        objd_status r = OBJD_OK;

        for (uint64_t i = word_get(&queue->shm->items.n); i-- && walk->left && r == OBJD_OK;)
                r = add_item(walk, queue, i);
        return r;
}

/* ---- A heap in order: its top, and then always the first among the children of what has been seen -------- */

struct candidate {
        int64_t priority;
        uint64_t sequence, i;
};

/* A private heap of candidates. */
struct frontier {
        struct candidate *candidates;
        size_t len, room;
};

static bool comes_before(const struct candidate *a, const struct candidate *b)
{
        return a->priority != b->priority ? a->priority < b->priority : a->sequence < b->sequence;
}

static objd_status frontier_add(struct frontier *frontier, const struct queue *queue, uint64_t i)
{
        const struct queue_item_shm *item = table_at(queue->arena, &queue->shm->items, i, sizeof(*item));
        struct candidate *c = frontier->candidates, new;
        size_t at = frontier->len, room = frontier->room ? 2 * frontier->room : 64;

        if (!item)
                return queue_corrupt(queue, "the table of items");
        if (frontier->len == frontier->room) {
                c = sys.resize(c, room * sizeof(*c));
                if (!c)
                        return fail(OBJD_E_NOMEM, "no memory for a walk through a queue");
                frontier->candidates = c;
                frontier->room = room;
        }
        new = (struct candidate){ (int64_t)word_get((const uint64_t *)&item->priority),
                                  word_get(&item->sequence), i };
        for (; at && comes_before(&new, &c[(at - 1) / 2]); at = (at - 1) / 2)
                c[at] = c[(at - 1) / 2];
        c[at] = new;
        frontier->len++;
        return OBJD_OK;
}

static uint64_t frontier_take(struct frontier *frontier)
{
        struct candidate *c = frontier->candidates, last = c[--frontier->len];
        uint64_t first = c[0].i;
        size_t at = 0, child;

        while ((child = 2 * at + 1) < frontier->len) {
                if (child + 1 < frontier->len && comes_before(&c[child + 1], &c[child]))
                        child++;
                if (!comes_before(&c[child], &last))
                        break;
                c[at] = c[child];
                at = child;
        }
        c[at] = last;
        return first;
}

static objd_status walk_heap(struct walk *walk, const struct queue *queue)
{
        uint64_t n = word_get(&queue->shm->items.n);
        struct frontier frontier = { 0 };
        objd_status r = n ? frontier_add(&frontier, queue, 0) : OBJD_OK;

        while (r == OBJD_OK && frontier.len && walk->left) {
                uint64_t i = frontier_take(&frontier);

                r = add_item(walk, queue, i);
                for (uint64_t c = HEAP_WAYS * i + 1; c <= HEAP_WAYS * i + HEAP_WAYS && c < n && r == OBJD_OK;
                     c++)
                        r = frontier_add(&frontier, queue, c);
        }
        free(frontier.candidates);
        return r;
}

/* ---- The chain ---------------------------------------------------------------------------------------- */

static objd_status walk_chain(struct walk *walk, const struct queue *queue)
{
        uint64_t popped = word_get(&queue->head->popped), pushed = word_get(&queue->tail->pushed);
        uint64_t before;
        struct record record;

        if (popped > pushed)
                return queue_corrupt(queue, "the number of its items");
        if (!walk->begun || popped > walk->index) {
                walk->index = popped;
                walk->pos = word_get(&queue->head->pos);
        }
        before = walk->index;
        for (uint32_t n = 0; n < WALK_RECORDS && walk->left && walk->index != pushed; n++) {
                objd_status r = OBJD_OK;

                if (!chain_record(queue->arena, walk->pos, &record))
                        return queue_corrupt(queue, "an item");
                if (item_place(record.head) != QUEUE_LINK) {
                        r = add(walk, queue, NULL, record.head, record.bytes);
                        walk->index++;
                }
                if (r)
                        return r;
                walk->pos = record.next;
        }
        walk->end = walk->index == pushed || !walk->left;
        return walk->end || walk->index != before ? OBJD_OK
                                                  : queue_corrupt(queue, "a link between its chunks");
}

static objd_status collect(struct walk *walk, const struct queue *queue)
{
        objd_status r = OBJD_OK;

        if (!queue->tail) {
                walk->end = true;
                return queue->order == OBJD_LIFO ? walk_stack(walk, queue) : walk_heap(walk, queue);
        }
        if (!walk->begun)
                r = walk_heap(walk, queue);
        if (r == OBJD_OK)
                r = walk_chain(walk, queue);
        walk->begun = true;
        return r;
}

/*
 * A step with the queue frozen. A read-only lane tries without first; then it is the daemon that freezes, and may thaw too early. So
 * there the version of the head tells whether the step has to be made again. (The tail only adds items behind those that
 * are counted.)
 */
static objd_status step_frozen(struct walk *walk, int tries, bool *ret_again)
{
        struct lane *lane = walk->lane;
        struct walk before = *walk;
        struct line_shm *line;
        struct queue queue;
        uint64_t version;
        objd_status r = queue_find(lane, walk->object, &queue);

        *ret_again = false;
        if (r)
                return r;
        line = queue_head_line(&queue);
        txn_begin(lane, OP_NONE);
        if (!lane->read_only || tries >= LOCK_READ_RETRIES)
                r = queue_freeze(&queue);
        version = lock_read_begin(line);
        if (r == OBJD_OK && word_get(&line->serial) != walk->object->serial)
                r = object_gone(walk->object);
        if (r == OBJD_OK)
                r = queue_open(lane, walk->object->shm, &queue);
        queue.handle = walk->object;
        if (r == OBJD_OK) {
                r = collect(walk, &queue);
                *ret_again = lane->read_only &&
                             (!lock_version_is_stable(version) || !lock_read_valid(line, version));
        }
        lane_end_read(lane);
        if (*ret_again) {
                before.items = walk->items;
                *walk = before;
                items_cut(&walk->items, 0);
        }
        return r;
}

/* Copies the next items out. */
static objd_status next_items(struct walk *walk)
{
        int tries = 0;
        bool again;
        objd_status r =
                lane_enter_to_read(walk->object->conn->arena, conn_timeout(walk->object->conn), &walk->lane);

        if (r)
                return r;
        do
                r = step_frozen(walk, tries++, &again);
        while (again);
        lane_leave(walk->lane);
        return r;
}

static objd_status hand_out(struct walk *walk, walk_fn fn, void *context)
{
        const bool has_keys = object_order(walk->object->config) == OBJD_PRIORITY;
        objd_items *items;
        objd_status r = items_finish(&walk->items, &items);

        if (r)
                return r;
        for (size_t i = 0; i < items->len && r == OBJD_OK; i++)
                r = fn(context, has_keys ? &items->item[i].key : NULL, &items->item[i].value);
        objd_items_free(items);
        return r;
}

objd_status queue_walk(struct objd_object *object, uint64_t limit, walk_fn fn, void *context)
{
        struct walk walk = { .object = object, .left = limit };
        objd_status r = OBJD_OK;

        while (r == OBJD_OK && !walk.end) {
                r = next_items(&walk);
                if (r == OBJD_OK)
                        r = hand_out(&walk, fn, context);
        }
        items_discard(&walk.items);
        return r;
}
