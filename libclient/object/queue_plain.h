/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * queue_plain.h -- the short way of a put and a get
 *
 * Most puts and gets of a FIFO queue meet nothing out of the ordinary: the lock is free, there is room in the last
 * chunk, the next item is a small one in this chunk, no putter sleeps, nothing is under a lease. What happens then is
 * here, inline and in one piece. Whatever else is found, nothing has been changed by then, and queue_run() does it.
 */

#include "object/plain.h"
#include "object/queue.h"

/* The tail that the handle remembers, if no line of the arena has become anything else since; see queue_find(). */
static inline struct queue_tail_shm *plain_queue_tail(const struct arena *arena,
                                                      const struct objd_object *object)
{
        uint64_t retired = word_get_acquire(&arena->header->retire_count);
        uint64_t tail = word_get(&object->cache[0]);

        if (__builtin_expect(word_get_acquire(&object->cache[1]) != retired + 1 || !tail, 0))
                return NULL;
        return (struct queue_tail_shm *)(void *)(arena->base + tail);
}

/* What arena_at() asks. */
PLAIN bool plain_has(const struct arena *arena, uint64_t pos, uint64_t size)
{
        return arena_has(arena, pos, size) && !(pos & 7);
}

static_assert(offsetof(struct queue_tail_shm, pos) == offsetof(struct queue_tail_shm, pushed) + 8,
              "noted at once");
static_assert(offsetof(struct queue_head_shm, pos) == offsetof(struct queue_head_shm, popped) + 8 &&
                      offsetof(struct queue_head_shm, pushed) == offsetof(struct queue_head_shm, popped) + 16,
              "noted at once");

/* ---- Put ---------------------------------------------------------------------------------------------- */

/* Whether a bounded queue has room for one more, as far as this end has heard. */
static inline bool plain_room(const struct arena *arena, const struct queue_tail_shm *tail)
{
        uint64_t ctl = word_get(&tail->ctl);
        const struct queue_shm *shm;

        if (!(ctl & QUEUE_BOUNDED))
                return true;
        shm = arena_at(arena, (ctl & ~QUEUE_FLAGS) + CHUNK_HEAD, sizeof(*shm));
        return shm && word_get(&tail->pushed) - word_get(&shm->removed) < word_get(&shm->bound);
}

/* Somebody sleeps: the wake is owed before the commit, as everywhere. */
static __attribute__((noinline)) objd_status plain_commit_with_wake(struct lane *lane,
                                                                    struct queue_tail_shm *tail)
{
        uint64_t word = word_get(&tail->getters);

        txn_set(lane, &tail->getters, wake_word(wake_sleepers(word) - 1, wake_seq(word) + 1));
        (void)txn_wake_one(lane, (const uint32_t *)(const void *)&tail->getters);
        return txn_commit(lane);
}

/*
 * Puts a value that has been checked. The lane has been entered, and no lock is held.
 * @return OBJD_OK, NOT_PLAIN
 */
static inline objd_status queue_put_plain(struct lane *lane, struct objd_object *object,
                                          const objd_value *value)
{
        const struct arena *arena = lane->arena;
        struct queue_tail_shm *tail = plain_queue_tail(arena, object);
        struct line_shm *line = (struct line_shm *)(void *)tail;
        bool is_bytes = value->type == OBJD_BYTES || value->type == OBJD_STR;
        uint64_t size = is_bytes ? value->size : value_encoded_size(value), need = 8 + round8(size), pos, *to;

        if (__builtin_expect(!tail || size > VALUE_INLINE_MAX || !txn_lock_one(lane, line), 0))
                return NOT_PLAIN;
        pos = word_get(&tail->pos);
        if (__builtin_expect(word_get(&tail->serial) != object->serial || word_get(&tail->config) ||
                                     pos + need > word_get(&tail->end) || !plain_has(arena, pos, need) ||
                                     !plain_room(arena, tail),
                             0)) {
                txn_unlock_one(lane, line);
                return NOT_PLAIN;
        }
        to = (uint64_t *)(void *)(arena->base + pos);
        txn_begin(lane, OP_QUEUE_PUT);
        word_set(to, item_head(value->type, QUEUE_HERE, size));
        if (is_bytes)
                plain_bytes_in(to + 1, value->data, size);
        else
                value_encode_shared(value, to + 1);
        plain_note(lane->shm, arena->base, 0, &tail->pushed, 2);
        word_set(&tail->pushed, word_get(&tail->pushed) + 1);
        word_set(&tail->pos, pos + need);
        if (__builtin_expect(wake_sleepers(word_get(&tail->getters)) != 0, 0))
                return plain_commit_with_wake(lane, tail);
        txn_commit_one(lane, line);
        return OBJD_OK;
}

/* ---- Get ---------------------------------------------------------------------------------------------- */

/* Whether there is an item in the chain, with the head locked; what is heard of the tail is not written down. */
static inline bool plain_item(const struct queue_head_shm *head, const struct queue_tail_shm *tail,
                              uint64_t *ret_pushed)
{
        const struct line_shm *line = (const struct line_shm *)(const void *)tail;
        uint64_t popped = word_get(&head->popped), pushed = word_get(&head->pushed), version;

        *ret_pushed = pushed;
        if (popped != pushed)
                return true;
        version = lock_read_begin(line);
        pushed = word_get(&tail->pushed);
        *ret_pushed = pushed;
        return lock_version_is_stable(version) && lock_read_valid(line, version) && popped != pushed;
}

/* Gets the next item. The lane has been entered, and no lock is held. @return OBJD_OK, NOT_PLAIN */
static inline __attribute__((always_inline)) objd_status queue_get_plain(struct lane *lane,
                                                                         struct objd_object *object,
                                                                         objd_value *ret_value, objd_buf *buf)
{
        const struct arena *arena = lane->arena;
        const struct queue_tail_shm *tail = plain_queue_tail(arena, object);
        struct queue_head_shm *head = queue_head_of(object->shm);
        struct line_shm *line = &object->shm->line;
        uint64_t pos, item, size, pushed;
        const uint64_t *from;

        if (__builtin_expect(!tail || !txn_lock_one(lane, line), 0))
                return NOT_PLAIN;
        if (__builtin_expect(word_get(&head->serial) != object->serial ||
                                     word_get(&head->config) >> OBJECT_STATE_SHIFT ||
                                     (word_get(&head->ctl) & QUEUE_FLAGS) ||
                                     wake_sleepers(word_get(&head->putters)) ||
                                     !plain_item(head, tail, &pushed),
                             0))
                goto not_plain;
        pos = word_get(&head->pos);
        if (__builtin_expect(!plain_has(arena, pos, 8), 0))
                goto not_plain;
        from = (const uint64_t *)(const void *)(arena->base + pos);
        item = word_get(from);
        size = item_size(item);
        if (__builtin_expect(item_place(item) != QUEUE_HERE || !plain_may_copy(arena, from + 1, size, buf) ||
                                     !plain_has(arena, pos, 8 + round8(size)),
                             0))
                goto not_plain;
        plain_copy_out(buf->data, from + 1, size);
        if (__builtin_expect(plain_decode(item_type(item), buf->data, size, ret_value) != OBJD_OK, 0))
                goto not_plain;
        txn_begin(lane, OP_QUEUE_GET);
        plain_note(lane->shm, arena->base, 0, &head->popped, 3);
        word_set(&head->popped, word_get(&head->popped) + 1);
        word_set(&head->pos, pos + 8 + round8(size));
        word_set(&head->pushed, pushed);
        txn_commit_one(lane, line);
        return OBJD_OK;

not_plain:
        txn_unlock_one(lane, line);
        return NOT_PLAIN;
}
