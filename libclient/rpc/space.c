/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space.c -- memory that a message is built in
 */

#include "rpc/space.h"

#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/sys.h"

#define ALIGN 16u
#define FIRST_CHUNK 4096u
#define CHUNK_MAX 65536u
#define LARGE 16384u /* such a piece has a chunk of its own */

/* How many of the newest large pieces a free looks at. protobuf-c frees what it has allocated a moment ago. */
#define FREE_LOOKS 8

struct space_chunk {
        struct space_chunk *next;
        size_t size; /* with this head */
};

_Static_assert(sizeof(struct space_chunk) % ALIGN == 0, "what follows it is aligned");

static void *plain_resize(void *context, void *old, size_t old_size, size_t new_size)
{
        (void)context;
        (void)old_size;
        if (new_size)
                return sys.resize(old, new_size);
        free(old);
        return NULL;
}

const struct memory memory_plain = { .resize = plain_resize };

static void *allocator_alloc(void *data, size_t size)
{
        return space_take(data, size);
}

static void give_chunk(struct space *space, struct space_chunk *chunk)
{
        space->taken -= chunk->size;
        (void)space->memory.resize(space->memory.context, chunk, chunk->size, 0);
}

static void allocator_free(void *data, void *piece)
{
        struct space *space = data;
        struct space_chunk **link = &space->large;

        for (int i = 0; *link && i < FREE_LOOKS; i++, link = &(*link)->next) {
                struct space_chunk *chunk = *link;

                if (chunk + 1 == piece) {
                        *link = chunk->next;
                        give_chunk(space, chunk);
                        return;
                }
        }
}

void space_init(struct space *space, const struct memory *memory, size_t limit)
{
        memset(space, 0, sizeof(*space));
        space->allocator.alloc = allocator_alloc;
        space->allocator.free = allocator_free;
        space->allocator.allocator_data = space;
        space->memory = memory ? *memory : memory_plain;
        space->limit = limit ? limit : SIZE_MAX;
}

static void give_list(struct space *space, struct space_chunk *chunk)
{
        while (chunk) {
                struct space_chunk *next = chunk->next;

                give_chunk(space, chunk);
                chunk = next;
        }
}

void space_deinit(struct space *space)
{
        give_list(space, space->large);
        give_list(space, space->chunks);
        space->large = space->chunks = NULL;
        space->at = space->end = NULL;
        space->lent = space->lent_end = NULL;
}

void space_lend(struct space *space, void *memory, size_t size)
{
        space->at = space->lent = memory;
        space->end = space->lent_end = space->lent + size;
}

static void begin_chunk(struct space *space, struct space_chunk *chunk)
{
        space->at = (uint8_t *)(chunk + 1);
        space->end = (uint8_t *)chunk + chunk->size;
}

void space_reset(struct space *space)
{
        struct space_chunk *chunk = space->chunks;

        if (space->large) {
                give_list(space, space->large);
                space->large = NULL;
        }
        if (!chunk) {
                space->at = space->lent;
                space->end = space->lent_end;
                return;
        }
        while (chunk->next) {
                space->chunks = chunk->next;
                give_chunk(space, chunk);
                chunk = space->chunks;
        }
        begin_chunk(space, chunk);
}

static struct space_chunk *take_chunk(struct space *space, size_t size)
{
        struct space_chunk *chunk;

        if (size > space->limit - space->taken)
                return NULL;
        chunk = space->memory.resize(space->memory.context, NULL, 0, size);
        if (!chunk)
                return NULL;
        chunk->size = size;
        space->taken += size;
        return chunk;
}

static void *take_large(struct space *space, size_t size)
{
        struct space_chunk *chunk = take_chunk(space, sizeof(*chunk) + size);

        if (!chunk)
                return NULL;
        chunk->next = space->large;
        space->large = chunk;
        return chunk + 1;
}

/* size is at most LARGE and fits any chunk but the first, which is small. What was lent counts as one. */
static bool add_chunk(struct space *space, size_t size)
{
        size_t next = FIRST_CHUNK;
        struct space_chunk *chunk;

        if (space->chunks)
                next = 2 * space->chunks->size;
        else if (space->lent)
                next = 2 * FIRST_CHUNK;
        if (next > CHUNK_MAX)
                next = CHUNK_MAX;
        while (next < sizeof(*chunk) + size)
                next *= 2;
        chunk = take_chunk(space, next);
        if (!chunk)
                return false;
        chunk->next = space->chunks;
        space->chunks = chunk;
        begin_chunk(space, chunk);
        return true;
}

void *space_take(struct space *space, size_t size)
{
        void *piece;

        if (size > SIZE_MAX / 2)
                return NULL;
        size = size ? (size + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
        if (size > (size_t)(space->end - space->at)) {
                if (size > LARGE)
                        return take_large(space, size);
                if (!add_chunk(space, size))
                        return NULL;
        }
        piece = space->at;
        space->at += size;
        return piece;
}

void *space_take_array(struct space *space, size_t n, size_t size)
{
        uint64_t bytes;

        return mul_u64(n, size, &bytes) ? space_take(space, bytes) : NULL;
}
