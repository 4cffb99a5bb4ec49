/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * space.h -- memory that a message is built in, and given back at once
 *
 * Small pieces come off a chunk, large ones have a chunk of their own. space_reset() keeps the first chunk, so that a
 * stream of small messages asks nobody for memory. A space has a limit: who asks for more gets NULL.
 */

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

/* Where chunks come from. `resize` is realloc() that is told the old size too; with new_size 0 it frees, and gives NULL. */
struct memory {
        void *(*resize)(void *context, void *old, size_t old_size, size_t new_size);
        void *context;
};

/* malloc() */
extern const struct memory memory_plain;

struct space_chunk;

struct space {
        ProtobufCAllocator allocator; /* allocates from this space; its free gives back large pieces only */
        struct memory memory;
        struct space_chunk *chunks; /* the newest one first; the last is kept by space_reset() */
        struct space_chunk *large;  /* of one piece each, the newest first */
        uint8_t *at, *end;          /* what is free of the chunk that small pieces come off */
        uint8_t *lent, *lent_end;   /* memory of somebody else's that is used up first; NULL: none */
        size_t taken;               /* from memory */
        size_t limit;               /* of that */
};

/* Takes no memory yet. `memory` NULL is memory_plain; limit 0 is none. The space must stay where it is. */
void space_init(struct space *space, const struct memory *memory, size_t limit);
void space_deinit(struct space *space);

/* Before anything is taken: memory, aligned to 16, that lives as long as the space and is used up first. */
void space_lend(struct space *space, void *memory, size_t size);

/* Forgets all that came from it. */
void space_reset(struct space *space);

/* Aligned to 16; NULL if there is no more. Nothing in it is cleared. */
void *space_take(struct space *space, size_t size);

/* The same for n pieces of some size; NULL also if that is more than a size can say. */
void *space_take_array(struct space *space, size_t n, size_t size);
