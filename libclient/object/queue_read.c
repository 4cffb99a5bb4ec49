/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_read.c -- reading a queue without locks
 *
 * An attempt reads under the version of the head. What it finds may be a mixture, so it follows an offset only after the
 * version has been looked at again, says nothing about what it found, and is made again if the version has changed
 * at its end. The tail is read under its own version in between: its number of items only grows, and as long as the
 * head stays what it is, so does every item behind it. After some collisions both lines are frozen.
 */

#include "object/queue.h"

#include "base/status.h"
#include "object/value.h"

/* Nothing that was read may be used; try again. */
#define AGAIN ((objd_status)-1)

struct reader {
        struct queue queue; /* shm is only set by reader_books() */
        struct line_shm *line;
        uint64_t version;
};

typedef objd_status (*look_fn)(struct reader *reader, void *context);

static bool holds(const struct reader *reader)
{
        return lock_read_valid(reader->line, reader->version);
}

/* The queue's books: from here on they may be read. */
static objd_status reader_books(struct reader *reader)
{
        uint64_t ctl = word_get(&reader->queue.head->ctl) & ~QUEUE_FLAGS;

        if (!holds(reader))
                return AGAIN;
        reader->queue.shm = arena_at(reader->queue.arena, ctl + CHUNK_HEAD, sizeof(struct queue_shm));
        return reader->queue.shm ? OBJD_OK : OBJD_E_CORRUPT;
}

/* How many items were put, as of a moment at which nobody was putting. */
static objd_status reader_pushed(const struct reader *reader, uint64_t *ret_pushed)
{
        struct line_shm *line = queue_tail_line(&reader->queue);
        uint64_t version;

        if (!reader->queue.tail) {
                *ret_pushed = word_get(&reader->queue.head->pushed);
                return OBJD_OK;
        }
        version = lock_read_begin(line);
        *ret_pushed = word_get(&reader->queue.tail->pushed);
        return lock_version_is_stable(version) && lock_read_valid(line, version) ? OBJD_OK : AGAIN;
}

/* Begins an attempt: with the lines frozen if there have been too many. */
static objd_status reader_begin(struct reader *reader, struct lane *lane, struct objd_object *object,
                                bool freeze)
{
        objd_status r = queue_find(lane, object, &reader->queue);

        if (r)
                return r;
        reader->line = queue_head_line(&reader->queue);
        if (freeze) {
                txn_begin(lane, OP_NONE);
                r = queue_freeze(&reader->queue);
        } else if (!lock_version_is_stable(lock_read_begin(reader->line))) {
                r = lock_wait_stable(lane, reader->line);
        }
        reader->version = lock_read_begin(reader->line);
        if (r == OBJD_OK && !lock_version_is_stable(reader->version))
                return AGAIN;
        if (r == OBJD_OK && word_get(&reader->line->serial) != object->serial)
                r = holds(reader) ? object_gone(object) : AGAIN;
        if (r && freeze)
                lane_end_read(lane);
        return r;
}

/* The tail may be what changes all the time. */
static objd_status wait_for_tail(const struct reader *reader)
{
        return reader->queue.tail ? lock_wait_stable(reader->queue.lane, queue_tail_line(&reader->queue))
                                  : OBJD_OK;
}

static objd_status say_damaged(const struct reader *reader, struct objd_object *object)
{
        objd_status r = object_verify(object);

        return r ? r : queue_corrupt(&reader->queue, "something in it");
}

/* With the lane entered. What fn returns at the end goes to the caller; only statuses, no sentences. */
static objd_status read_queue(struct lane *lane, struct objd_object *object, look_fn fn, void *context)
{
        struct reader reader;

        for (int tries = 0;; tries++) {
                bool freeze = tries >= LOCK_READ_RETRIES, valid;
                objd_status r = reader_begin(&reader, lane, object, freeze);

                if (r == AGAIN)
                        continue;
                if (r)
                        return r;
                r = word_get(&reader.line->config) & OBJECT_POISONED ? OBJD_E_CORRUPT : fn(&reader, context);
                valid = holds(&reader);
                if (freeze)
                        lane_end_read(lane);
                if (r == AGAIN && valid && !freeze)
                        r = wait_for_tail(&reader) ? OBJD_E_BUSY : AGAIN;
                if (r != AGAIN && valid)
                        return r == OBJD_E_CORRUPT ? say_damaged(&reader, object) : r;
        }
}

/* Around a whole call. */
static objd_status read_call(struct objd_object *object, look_fn fn, void *context)
{
        struct lane *lane;
        objd_status r = lane_enter_to_read(object->conn->arena, conn_timeout(object->conn), &lane);

        if (r)
                return r;
        r = read_queue(lane, object, fn, context);
        word_set(&lane->shm->n_reads, lane->shm->n_reads + 1);
        lane_leave(lane);
        return r;
}

/* ---- Peek --------------------------------------------------------------------------------------------- */

struct peek {
        objd_buf *buf;
        objd_type type;
        uint64_t size;
};

static objd_status copy_bytes(struct peek *peek, uint64_t head, const void *bytes)
{
        objd_status r;

        if (!bytes)
                return OBJD_E_CORRUPT;
        peek->type = item_type(head);
        peek->size = item_size(head);
        r = buf_grow(peek->buf, peek->size);
        if (r == OBJD_OK)
                words_out(peek->buf->data, bytes, peek->size);
        return r;
}

/* The item that comes next from the table of items. */
static objd_status peek_table(struct reader *reader, struct peek *peek)
{
        const struct arena *arena = reader->queue.arena;
        const struct queue_table_shm *items = &reader->queue.shm->items;
        uint64_t n = word_get(&items->n), i = reader->queue.order == OBJD_LIFO ? n - 1 : 0;
        uint64_t per_page = QUEUE_PAGE / sizeof(struct queue_item_shm), dir = word_get(&items->dir), page;
        struct queue_item_shm item;
        const void *from;
        const uint64_t *entry;

        if (!n)
                return OBJD_E_EMPTY;
        entry = holds(reader) ? arena_at(arena, dir + CHUNK_HEAD + i / per_page * 8, 8) : NULL;
        if (!entry)
                return OBJD_E_CORRUPT;
        page = word_get(entry);
        from = holds(reader) ? arena_at(arena, page + CHUNK_HEAD + i % per_page * sizeof(item), sizeof(item))
                             : NULL;
        if (!from)
                return OBJD_E_CORRUPT;
        words_out(&item, from, sizeof(item));
        return holds(reader) ? copy_bytes(peek, item.head, item_bytes(arena, &item)) : AGAIN;
}

static objd_status peek_chain(struct reader *reader, struct peek *peek)
{
        uint64_t popped = word_get(&reader->queue.head->popped),
                 pushed = word_get(&reader->queue.head->pushed);
        uint64_t pos = word_get(&reader->queue.head->pos);
        struct record record;
        objd_status r;

        if (popped == pushed) {
                r = reader_pushed(reader, &pushed);
                if (r)
                        return r;
        }
        if (!holds(reader))
                return AGAIN;
        if (popped == pushed)
                return OBJD_E_EMPTY;
        for (int chunk = 0; chunk < 2; chunk++) {
                bool ok = chain_record(reader->queue.arena, pos, &record);

                if (!holds(reader))
                        return AGAIN;
                if (!ok)
                        return OBJD_E_CORRUPT;
                if (item_place(record.head) != QUEUE_LINK)
                        return copy_bytes(peek, record.head, record.bytes);
                pos = record.next;
        }
        return OBJD_E_CORRUPT;
}

static objd_status look_peek(struct reader *reader, void *context)
{
        struct queue_head_shm *head = reader->queue.head;
        objd_status r;

        if (word_get(&head->config) & QUEUE_POISONED)
                return OBJD_E_POISONED;
        if (reader->queue.tail && !(word_get(&head->ctl) & QUEUE_RETURNED))
                return peek_chain(reader, context);
        r = reader_books(reader);
        return r ? r : peek_table(reader, context);
}

objd_status queue_peek(struct objd_object *object, objd_value *ret_value, objd_buf *buf)
{
        struct peek peek = { .buf = buf };
        objd_status r = read_call(object, look_peek, &peek);

        if (r == OBJD_E_EMPTY)
                return fail(r, "queue %s is empty", object_label(object));
        if (r == OBJD_E_POISONED)
                return fail(r, "queue %s is poisoned", object_label(object));
        return r ? r : value_decode(peek.type, buf->data, peek.size, ret_value);
}

/* ---- Numbers ------------------------------------------------------------------------------------------ */

static objd_status look_len(struct reader *reader, void *context)
{
        struct queue_head_shm *head = reader->queue.head;
        uint64_t *ret_len = context, popped = word_get(&head->popped), items = 0, pushed = 0;
        objd_status r = OBJD_OK;

        if (!reader->queue.tail || (word_get(&head->ctl) & QUEUE_RETURNED)) {
                r = reader_books(reader);
                if (r == OBJD_OK)
                        items = word_get(&reader->queue.shm->items.n);
        }
        if (r == OBJD_OK && reader->queue.tail)
                r = reader_pushed(reader, &pushed);
        *ret_len = reader->queue.tail ? pushed - popped + items : items;
        return r;
}

objd_status queue_len(struct objd_object *object, uint64_t *ret_len)
{
        uint64_t len;
        objd_status r = read_call(object, look_len, &len);

        if (r == OBJD_OK)
                *ret_len = len;
        return r;
}

/*
 * The number of tasks that are done never exceeds that of the items put, and both only grow. So if the first equals the
 * second although it was read earlier, then at that earlier moment nothing was unfinished.
 */
static objd_status look_done(struct reader *reader, void *context)
{
        uint64_t done, pushed;
        objd_status r;

        if (word_get(&reader->queue.head->config) & QUEUE_POISONED)
                return OBJD_E_POISONED;
        r = reader_books(reader);
        if (r)
                return r;
        done = word_get(&reader->queue.shm->done);
        r = reader_pushed(reader, &pushed);
        *(bool *)context = done == pushed;
        return r;
}

objd_status queue_is_done(struct lane *lane, struct objd_object *object, bool *ret_done)
{
        objd_status r = read_queue(lane, object, look_done, ret_done);

        return r == OBJD_E_POISONED ? fail(r, "queue %s is poisoned", object_label(object)) : r;
}
