/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * plain.h -- what the short ways of dicts and queues share
 *
 * Most operations meet nothing out of the ordinary: the lock is free, the value is small and stands in its container, nobody
 * sleeps, no memory is taken or freed. Such a way is a header of its own (dict_plain.h, queue_plain.h), inline and in
 * one piece, because calls and the saving of registers would be half of its time. Whatever else it finds, it has
 * changed nothing by then, and the operation's general form does it.
 */

#include <string.h>

#include "arena/arena.h"
#include "object/object.h"
#include "object/value.h"
#include "txn/txn.h"

/* Nothing has been done; go the long way. */
#define NOT_PLAIN ((objd_status)-3)

#define PLAIN static inline __attribute__((always_inline))

/*
 * Notes `n` words that stand side by side as the log's next record, `at` bytes from its start; @return where that ends. The
 * log is in the lane itself: it moves to a chunk only during an operation of the general form.
 */
PLAIN uint64_t plain_note(struct lane_shm *shm, uint8_t *base, uint64_t at, const uint64_t *p, uint64_t n)
{
        uint64_t *to = (uint64_t *)(void *)(shm->log_bytes + at), i = 0;

        /* A wider load waits for narrower stores that are under way; few words may just have been written. */
        for (; n >= 8 && i + 4 <= n; i += 4) {
                pair_copy_out(&to[i], &p[i]);
                pair_copy_out(&to[i + 2], &p[i + 2]);
        }
        for (; i < n; i++)
                to[i] = word_get(&p[i]);
        to[n] = (uint64_t)((const uint8_t *)p - base) << 16 | n;
        order_for_death();
        shm->log.used = at + (n + 1) * 8;
        order_for_death();
        return at + (n + 1) * 8;
}

PLAIN uint64_t plain_word(const uint8_t *from)
{
        uint64_t word;

        memcpy(&word, from, 8);
        return word;
}

/* The last bytes, fewer than eight, filled up with zeros. */
PLAIN uint64_t plain_last(const uint8_t *from, size_t size)
{
        uint64_t word = 0;

        memcpy(&word, from, size);
        return word;
}

/*
 * Bytes of any alignment, the last word filled up with zeros. Word by word on the reading side, too: callers have often
 * just written what they put, and a wider load would have to wait for narrower stores.
 */
PLAIN void plain_bytes_in(uint64_t *to, const uint8_t *from, size_t size)
{
        for (; size >= 32; size -= 32, from += 32, to += 4) {
                word_set(to, plain_word(from));
                word_set(to + 1, plain_word(from + 8));
                word_set(to + 2, plain_word(from + 16));
                word_set(to + 3, plain_word(from + 24));
        }
        for (; size >= 8; size -= 8, from += 8)
                word_set(to++, plain_word(from));
        if (size)
                word_set(to, plain_last(from, size));
}

/*
 * A value is copied out in steps of BUF_STEP, with no thought for where exactly it ends: the branches for an exact end would
 * cost as much as the copy. What is read behind it must not be in another block, which may have no memory; buffers have
 * room for it (buf_grow()).
 */
PLAIN bool plain_may_copy(const struct arena *arena, const uint64_t *from, uint64_t size, const objd_buf *buf)
{
        uint64_t last = size | (BUF_STEP - 1);

        return last < buf->size && buf->data && arena_off(arena, from) % BLOCK_SIZE + last < BLOCK_SIZE;
}

PLAIN void plain_copy_out(uint64_t *to, const uint64_t *from, uint64_t size)
{
        const uint64_t *end = from + (size | (BUF_STEP - 1)) / 8;

        do {
                pair_copy_out(to, from);
                pair_copy_out(to + 2, from + 2);
                pair_copy_out(to + 4, from + 4);
                pair_copy_out(to + 6, from + 6);
                from += BUF_STEP / 8;
                to += BUF_STEP / 8;
        } while (from < end);
}

/* What value_decode() does, for the two types that need no look at the bytes. */
PLAIN objd_status plain_decode(objd_type type, const void *bytes, uint64_t size, objd_value *ret_value)
{
        if (__builtin_expect(type != OBJD_BYTES && type != OBJD_STR, 0))
                return value_decode(type, bytes, size, ret_value);
        ret_value->type = type;
        ret_value->data = bytes;
        ret_value->size = size;
        return OBJD_OK;
}

/* Enters the thread's lane for an object whose slot is still a slot; NULL: not plain. */
PLAIN struct lane *plain_enter(const struct objd_object *object)
{
        struct lane *lane = lane_enter_plain(object->conn->arena);

        if (__builtin_expect(lane && !object_is_known(object), 0)) {
                lane_leave_plain(lane);
                return NULL;
        }
        return lane;
}

/* Whether the value is one that the container takes and that needs no look at its bytes, or only this one. */
PLAIN bool plain_is_good(const objd_value *value, objd_type declared)
{
        if (declared != OBJD_ANY && declared != value->type)
                return false;
        if (value->size > VALUE_INLINE_MAX)
                return false;
        if (value->type == OBJD_BYTES)
                return value->data || !value->size;
        return value_check(value) == OBJD_OK;
}
