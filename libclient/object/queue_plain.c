/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_plain.c -- the short way of a put and a get
 *
 * Most puts and gets of a FIFO queue meet nothing out of the ordinary: the lock is free, there is room in the last chunk,
 * the next item is a small one in this chunk, no putter sleeps, nothing is under a lease. Then all that happens is some
 * fifty instructions, which are here in one piece. Whatever else is found, nothing has been changed by then, and
 * queue_run() does it.
 */

#include <string.h>

#include "base/status.h"
#include "object/queue.h"
#include "object/value.h"
#include "txn/txn.h"

/* The tail that the handle remembers, if no line of the arena has become anything else since; see queue_find(). */
static inline struct queue_tail_shm *known_tail(const struct lane *lane, const struct objd_object *object)
{
        uint64_t retired = word_get_acquire(&lane->arena->header->retire_count);
        uint64_t tail = word_get(&object->cache[0]);

        return word_get_acquire(&object->cache[1]) == retired + 1 && tail
                       ? (struct queue_tail_shm *)(void *)(lane->arena->base + tail)
                       : NULL;
}

/* What arena_has() asks, for two questions in a row: the blocks that have been in use. */
struct range {
        uint64_t start, end;
};

static inline struct range used_range(const struct arena *arena)
{
        uint64_t start = arena->data_off;

        return (struct range){ start, start + (word_get(&arena->header->pool.frontier) << BLOCK_SHIFT) };
}

static inline bool is_inside(struct range range, uint64_t pos, uint64_t size)
{
        return pos >= range.start && pos <= range.end && size <= range.end - pos && !(pos & 7);
}

/* Notes n words that stand side by side; the log is empty, and has room. */
static inline void note_first(struct lane *lane, const uint64_t *p, uint64_t n)
{
        struct log_shm *log = &lane->shm->log;
        uint64_t *to = (uint64_t *)(void *)(lane->arena->base + log->off);

        for (uint64_t i = 0; i < n; i++)
                to[i] = word_get(p + i);
        to[n] = arena_off(lane->arena, p) << 16 | n;
        order_for_death();
        log->used = (n + 1) * 8;
        order_for_death();
}

static_assert(offsetof(struct queue_tail_shm, pos) == offsetof(struct queue_tail_shm, pushed) + 8,
              "noted at once");
static_assert(offsetof(struct queue_head_shm, pos) == offsetof(struct queue_head_shm, popped) + 8 &&
                      offsetof(struct queue_head_shm, pushed) == offsetof(struct queue_head_shm, popped) + 16,
              "noted at once");

/* ---- Put ---------------------------------------------------------------------------------------------- */

/* Whether a bounded queue has room for one more, as far as this end has heard. */
static inline bool has_room(const struct lane *lane, const struct queue_tail_shm *tail)
{
        const struct queue_shm *shm =
                arena_at(lane->arena, (word_get(&tail->ctl) & ~QUEUE_FLAGS) + CHUNK_HEAD, sizeof(*shm));

        return shm && word_get(&tail->pushed) - word_get(&shm->removed) < word_get(&shm->bound);
}

/* Somebody sleeps: the wake is owed before the commit, as everywhere. */
static __attribute__((noinline)) objd_status commit_with_wake(struct lane *lane, struct queue_tail_shm *tail)
{
        uint64_t word = word_get(&tail->getters);

        txn_set(lane, &tail->getters, wake_word(wake_sleepers(word) - 1, wake_seq(word) + 1));
        (void)txn_wake_one(lane, (const uint32_t *)(const void *)&tail->getters);
        return txn_commit(lane);
}

/* Bytes of any alignment, the last word filled up with zeros. */
static inline void bytes_in(uint64_t *to, const uint8_t *from, size_t size)
{
        uint64_t word, words[4];

        for (; size >= 32; size -= 32, from += 32, to += 4) {
                memcpy(words, from, 32);
                word_set(to, words[0]);
                word_set(to + 1, words[1]);
                word_set(to + 2, words[2]);
                word_set(to + 3, words[3]);
        }
        for (; size >= 8; size -= 8, from += 8) {
                memcpy(&word, from, 8);
                word_set(to++, word);
        }
        if (size) {
                word = 0;
                memcpy(&word, from, size);
                word_set(to, word);
        }
}

objd_status queue_put_plain(struct lane *lane, struct objd_object *object, const objd_value *value)
{
        struct queue_tail_shm *tail = known_tail(lane, object);
        struct line_shm *line = (struct line_shm *)(void *)tail;
        bool is_bytes = value->type == OBJD_BYTES || value->type == OBJD_STR;
        uint64_t size, pos, *to;

        if (__builtin_expect(!tail || !txn_lock_one(lane, line), 0))
                return QUEUE_NOT_PLAIN;
        size = is_bytes ? value->size : value_encoded_size(value);
        pos = word_get(&tail->pos);
        if (__builtin_expect(word_get(&tail->serial) != object->serial || word_get(&tail->config) ||
                                     size > VALUE_INLINE_MAX ||
                                     pos + 8 + round8(size) > word_get(&tail->end) ||
                                     !is_inside(used_range(lane->arena), pos, 8 + round8(size)) ||
                                     ((word_get(&tail->ctl) & QUEUE_BOUNDED) && !has_room(lane, tail)),
                             0)) {
                txn_unlock_one(lane, line);
                return QUEUE_NOT_PLAIN;
        }
        to = (uint64_t *)(void *)(lane->arena->base + pos);
        txn_begin(lane, OP_QUEUE_PUT);
        word_set(to, item_head(value->type, QUEUE_HERE, size));
        if (is_bytes)
                bytes_in(to + 1, value->data, size);
        else
                value_encode_shared(value, to + 1);
        note_first(lane, &tail->pushed, 2);
        word_set(&tail->pushed, word_get(&tail->pushed) + 1);
        word_set(&tail->pos, pos + 8 + round8(size));
        if (__builtin_expect(wake_sleepers(word_get(&tail->getters)) != 0, 0))
                return commit_with_wake(lane, tail);
        txn_commit_one(lane, line);
        return OBJD_OK;
}

/* ---- Get ---------------------------------------------------------------------------------------------- */

/* What value_decode() does, for the two types that need no look at the bytes. */
static inline objd_status decode(objd_type type, const void *bytes, uint64_t size, objd_value *ret_value)
{
        if (type != OBJD_BYTES && type != OBJD_STR)
                return value_decode(type, bytes, size, ret_value);
        ret_value->type = type;
        ret_value->dtype = 0;
        ret_value->ndim = 0;
        ret_value->name_size = 0;
        ret_value->u.ref = (objd_ref){ 0, 0 };
        ret_value->data = bytes;
        ret_value->size = size;
        ret_value->name = NULL;
        return OBJD_OK;
}

/* Whether there is an item in the chain, with the head locked; what is heard of the tail is not written down. */
static inline bool is_item(const struct queue_head_shm *head, const struct queue_tail_shm *tail,
                           uint64_t *ret_pushed)
{
        const struct line_shm *line = (const struct line_shm *)(const void *)tail;
        uint64_t popped = word_get(&head->popped), pushed = word_get(&head->pushed), version;

        *ret_pushed = pushed;
        if (__builtin_expect(popped != pushed, 1))
                return true;
        version = lock_read_begin(line);
        pushed = word_get(&tail->pushed);
        *ret_pushed = pushed;
        return lock_version_is_stable(version) && lock_read_valid(line, version) && popped != pushed;
}

objd_status queue_get_plain(struct lane *lane, struct objd_object *object, objd_value *ret_value,
                            objd_buf *buf)
{
        const struct queue_tail_shm *tail = known_tail(lane, object);
        struct queue_head_shm *head = queue_head_of(object->shm);
        struct line_shm *line = &object->shm->line;
        struct range range = used_range(lane->arena);
        uint64_t pos, item, size, pushed;
        const uint64_t *from;
        objd_status r;

        if (__builtin_expect(!tail || !txn_lock_one(lane, line), 0))
                return QUEUE_NOT_PLAIN;
        if (__builtin_expect(word_get(&head->serial) != object->serial ||
                                     word_get(&head->config) >> OBJECT_STATE_SHIFT ||
                                     (word_get(&head->ctl) & QUEUE_FLAGS) ||
                                     wake_sleepers(word_get(&head->putters)) || !is_item(head, tail, &pushed),
                             0))
                goto not_plain;
        pos = word_get(&head->pos);
        if (__builtin_expect(!is_inside(range, pos, 8), 0))
                goto not_plain;
        from = (const uint64_t *)(const void *)(lane->arena->base + pos);
        item = word_get(from);
        size = item_size(item);
        if (__builtin_expect(item_place(item) != QUEUE_HERE || size > VALUE_INLINE_MAX ||
                                     round8(size) > buf->size || !buf->data ||
                                     !is_inside(range, pos, 8 + round8(size)),
                             0))
                goto not_plain;
        words_out(buf->data, from + 1, size);
        r = decode(item_type(item), buf->data, size, ret_value);
        if (__builtin_expect(r != OBJD_OK, 0))
                goto not_plain;
        txn_begin(lane, OP_QUEUE_GET);
        note_first(lane, &head->popped, 3);
        word_set(&head->popped, word_get(&head->popped) + 1);
        word_set(&head->pos, pos + 8 + round8(size));
        word_set(&head->pushed, pushed);
        txn_commit_one(lane, line);
        return OBJD_OK;

not_plain:
        txn_unlock_one(lane, line);
        return QUEUE_NOT_PLAIN;
}
