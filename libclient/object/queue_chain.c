/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_chain.c -- the items of a FIFO queue: records in a chain of chunks
 *
 * A record is a head (type, place, size) and the encoded value, or the offset of the chunk that it is in. A chunk
 * ends with a link to the next one. The tail says where the next record goes, the head where the next one is; how
 * many records lie between them is the difference of two counters, so nothing behind the last of them is ever
 * looked at. That is why a put needs to note two words only: what it writes into the chain is out of everybody's
 * sight until the counter is raised, and again after an undo.
 */

#include "object/queue.h"

#include "mem/pool.h"
#include "object/value.h"

#define CHAIN_CHUNK 8160u

/* Where a put has come to; becomes the tail's words at its end. */
struct cursor {
        uint64_t pos, end;
};

/* Ends this chunk with a link to a new one, which has room for `need` bytes and more than this one had. */
static objd_status next_chunk(struct queue *queue, struct cursor *cursor, uint64_t need)
{
        const struct chunk_shm *old = arena_at(queue->arena, word_get(&queue->shm->chunk), CHUNK_HEAD);
        uint64_t size = old ? 4 * (chunk_size(old) + CHUNK_HEAD) - CHUNK_HEAD : 0;
        uint64_t *link = arena_at(queue->arena, cursor->pos, CHAIN_LINK), off;
        struct chunk_shm *chunk;
        objd_status r;

        if (!old || !link)
                return queue_corrupt(queue, "its end");
        if (size > CHAIN_CHUNK)
                size = CHAIN_CHUNK;
        if (size < need + CHAIN_LINK)
                size = need + CHAIN_LINK;
        r = txn_take(queue->lane, queue->object, size, &chunk);
        if (r == OBJD_OK)
                r = txn_reserve(queue->lane, 64, 8);
        if (r)
                return r;
        off = arena_off(queue->arena, chunk);
        word_set(&link[0], item_head(0, QUEUE_LINK, 0));
        word_set(&link[1], off);
        word_set(&link[2], word_get(&queue->shm->chunk));
        txn_set(queue->lane, &queue->shm->chunk, off);
        cursor->pos = off + CHUNK_HEAD;
        cursor->end = off + CHUNK_HEAD + chunk_size(chunk) - CHAIN_LINK;
        return OBJD_OK;
}

static objd_status put_record(struct queue *queue, struct cursor *cursor, const objd_value *value)
{
        uint64_t size = value_encoded_size(value), need = 8 + (size > VALUE_INLINE_MAX ? 8 : round8(size)),
                 *to;
        struct chunk_shm *chunk;
        objd_status r;

        if (cursor->pos + need > cursor->end) {
                r = next_chunk(queue, cursor, need);
                if (r)
                        return r;
        }
        to = arena_at(queue->arena, cursor->pos, need);
        if (__builtin_expect(!to, 0))
                return queue_corrupt(queue, "its end");
        if (__builtin_expect(size > VALUE_INLINE_MAX, 0)) {
                r = value_chunk(queue, value, size, &chunk);
                if (r)
                        return r;
                word_set(&to[0], item_head(value->type, QUEUE_CHUNK, size));
                word_set(&to[1], arena_off(queue->arena, chunk));
        } else {
                word_set(&to[0], item_head(value->type, QUEUE_HERE, size));
                value_encode_shared(value, &to[1]);
        }
        cursor->pos += need;
        return OBJD_OK;
}

objd_status chain_put(struct queue *queue, const objd_value *values, size_t n)
{
        struct queue_tail_shm *tail = queue->tail;
        struct cursor cursor = { word_get(&tail->pos), word_get(&tail->end) };
        uint64_t words[2];

        for (size_t i = 0; i < n; i++) {
                objd_status r = put_record(queue, &cursor, &values[i]);

                if (r)
                        return r;
        }
        words[0] = word_get(&tail->pushed) + n;
        words[1] = cursor.pos;
        txn_write(queue->lane, &tail->pushed, words, sizeof(words));
        if (cursor.end != word_get(&tail->end))
                txn_set(queue->lane, &tail->end, cursor.end);
        return OBJD_OK;
}

bool chain_record(const struct arena *arena, uint64_t pos, struct record *ret_record)
{
        const uint64_t *record = arena_at(arena, pos, 16);
        uint64_t head, size;

        /* An empty record at the very end of the arena's used blocks cannot be: there is always room for a link behind it. */
        if (!record)
                return false;
        head = word_get(&record[0]);
        size = item_size(head);
        *ret_record = (struct record){ .head = head };
        switch (item_place(head)) {
        case QUEUE_HERE:
                ret_record->bytes = &record[1];
                ret_record->next = pos + 8 + round8(size);
                return size <= VALUE_INLINE_MAX && arena_has(arena, pos, 8 + round8(size));
        case QUEUE_CHUNK:
                ret_record->chunk = word_get(&record[1]);
                ret_record->next = pos + 16;
                ret_record->bytes = arena_at(arena, ret_record->chunk + VALUE_CHUNK_DATA,
                                             size <= VALUE_ENCODED_MAX ? round8(size) : UINT64_MAX);
                return ret_record->bytes;
        case QUEUE_LINK:
                if (!arena_has(arena, pos, CHAIN_LINK))
                        return false;
                ret_record->next = word_get(&record[1]) + CHUNK_HEAD;
                ret_record->chunk = word_get(&record[2]);
                return true;
        default:
                return false;
        }
}

objd_status chain_next(struct queue *queue, uint64_t pos, struct record *ret_record)
{
        struct chunk_shm *old;
        objd_status r;

        if (__builtin_expect(!chain_record(queue->arena, pos, ret_record), 0))
                return queue_corrupt(queue, "an item");
        if (__builtin_expect(item_place(ret_record->head) != QUEUE_LINK, 1))
                return OBJD_OK;
        old = arena_at(queue->arena, ret_record->chunk, CHUNK_HEAD);
        r = old ? txn_free(queue->lane, old) : OBJD_E_CORRUPT;
        if (r == OBJD_E_BUSY)
                return r;
        if (r || !chain_record(queue->arena, ret_record->next, ret_record) ||
            item_place(ret_record->head) == QUEUE_LINK)
                return queue_corrupt(queue, "a link between its chunks");
        return OBJD_OK;
}
