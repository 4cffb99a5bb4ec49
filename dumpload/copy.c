/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy.c -- the entries of one object, copied as they lie while it stands still
 *
 * An entry is its head, its key and its value, each at a multiple of eight.
 */

#include "dumpload/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/status.h"
#include "dumpload/spool.h"

#define BUFFER_SIZE (512u << 10)

struct entry_head {
        uint64_t key_size, size;
        int64_t priority;
        uint8_t key_type, type;
        bool has_priority, leased;
        uint8_t pad[4];
};

objd_status copy_init(struct copy *copy)
{
        *copy = (struct copy){ .fd = -1, .buffer = malloc(BUFFER_SIZE) };
        return copy->buffer ? OBJD_OK : fail(OBJD_E_NOMEM, "no memory for a dump");
}

static void unmap(struct copy *copy)
{
        if (copy->mapping)
                (void)munmap(copy->mapping, copy->written);
        copy->mapping = NULL;
}

void copy_deinit(struct copy *copy)
{
        unmap(copy);
        if (copy->fd >= 0)
                (void)close(copy->fd); /* nothing in it is wanted any more */
        free(copy->buffer);
}

void copy_begin(struct copy *copy)
{
        unmap(copy);
        if (copy->written && ftruncate(copy->fd, 0) < 0)
                copy->failed = true;
        copy->written = 0;
        copy->used = 0;
}

static objd_status no_room(struct copy *copy)
{
        copy->failed = true;
        return fail_errno("cannot copy an object to a file in $TMPDIR");
}

static objd_status write_out(struct copy *copy, const void *bytes, size_t size)
{
        const uint8_t *from = bytes;

        if (copy->fd < 0)
                copy->fd = spool_open();
        if (copy->fd < 0)
                return no_room(copy);
        while (size) {
                ssize_t n = pwrite(copy->fd, from, size, (off_t)copy->written);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return no_room(copy);
                from += n;
                size -= (size_t)n;
                copy->written += (uint64_t)n;
        }
        return OBJD_OK;
}

static objd_status empty_buffer(struct copy *copy)
{
        objd_status r = write_out(copy, copy->buffer, copy->used);

        copy->used = 0;
        return r;
}

/* What is larger than the buffer goes from the arena to the file. */
static objd_status add(struct copy *copy, const void *bytes, uint64_t size)
{
        objd_status r = OBJD_OK;

        if (copy->used + round8(size) > BUFFER_SIZE || size > BUFFER_SIZE)
                r = empty_buffer(copy);
        if (r == OBJD_OK && size > BUFFER_SIZE - 8) {
                static const uint8_t zeros[8];

                r = write_out(copy, bytes, size);
                return r ? r : write_out(copy, zeros, round8(size) - size);
        }
        if (r || !size)
                return r;
        words_out(copy->buffer + copy->used, bytes, size);
        copy->used += round8(size);
        return OBJD_OK;
}

objd_status copy_entry(void *context, const struct visit *visit)
{
        const struct entry_head head = { .key_size = visit->key_type == OBJD_ANY ? 0 : visit->key_size,
                                         .size = visit->size,
                                         .priority = visit->priority,
                                         .key_type = (uint8_t)visit->key_type,
                                         .type = (uint8_t)visit->type,
                                         .has_priority = visit->has_priority,
                                         .leased = visit->leased };
        struct copy *copy = context;
        objd_status r = copy->failed ? OBJD_E_SYS : add(copy, &head, sizeof(head));

        if (r == OBJD_OK)
                r = add(copy, visit->key, head.key_size);
        return r ? r : add(copy, visit->bytes, visit->size);
}

objd_status copy_end(struct copy *copy)
{
        objd_status r;
        void *mapping;

        if (!copy->written)
                return OBJD_OK;
        r = empty_buffer(copy);
        if (r)
                return r;
        mapping = mmap(NULL, copy->written, PROT_READ, MAP_SHARED, copy->fd, 0);
        if (mapping == MAP_FAILED)
                return no_room(copy);
        copy->mapping = mapping;
        return OBJD_OK;
}

objd_status copy_visit(const struct copy *copy, visit_fn fn, void *context)
{
        const uint8_t *at = copy->mapping ? copy->mapping : copy->buffer;
        const uint8_t *end = at + (copy->mapping ? copy->written : copy->used);
        objd_status r = OBJD_OK;

        while (at < end && r == OBJD_OK) {
                struct entry_head head;
                struct visit visit;

                memcpy(&head, at, sizeof(head));
                at += sizeof(head);
                visit = (struct visit){ .key_type = head.key_type,
                                        .key = at,
                                        .key_size = head.key_size,
                                        .has_priority = head.has_priority,
                                        .priority = head.priority,
                                        .leased = head.leased,
                                        .type = head.type,
                                        .bytes = at + round8(head.key_size),
                                        .size = head.size };
                at += round8(head.key_size) + round8(head.size);
                r = fn(context, &visit);
        }
        return r;
}
