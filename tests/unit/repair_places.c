/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair_places.c -- where the structures of the store are that is to be damaged
 */

#include "repair_places.h"

#include "mem/pool.h"
#include "object/dict.h"
#include "object/repair.h"
#include "repair_store.h"
#include "support/child.h"

struct object_shm *slot_of(const char *name)
{
        objd_object *object;

        child_ok(objd_open(store, name, OBJD_KIND_ANY, &object));
        return object->shm;
}

void *at(uint64_t off)
{
        child_check(arena_at(store->arena, off, 8));
        return store->arena->base + off;
}

struct block_shm *find_block(uint8_t state)
{
        for (uint64_t i = 0; i < store->arena->header->pool.frontier; i++)
                if (store->arena->blocks[i].state == state)
                        return &store->arena->blocks[i];
        child_fail("there is no such block", __FILE__, __LINE__);
}

struct block_shm *block_around(const void *p)
{
        return &store->arena->blocks[repair_block_of(store->arena, arena_off(store->arena, p))];
}

uint64_t *root_of(const char *name, int i)
{
        return &slot_of(name)->line.root[i];
}

struct chunk_shm *chunk_of(const char *name)
{
        return at(slot_of(name)->chunks);
}

struct object_shm *names_slot(void)
{
        return at(store->arena->header->names);
}

struct segment_shm *segment_in(uint64_t word)
{
        return at(table_off(word) + CHUNK_HEAD);
}

uint64_t *used_slot(struct segment_shm *segment)
{
        uint64_t *slot = segment->slots;

        while (*slot <= SLOT_GONE)
                slot++;
        return slot;
}

struct entry_shm *entry_in(const char *name)
{
        return at(slot_off_of(*used_slot(segment_in(*root_of(name, 0)))));
}

struct line_shm *shard_of(const char *name, int i)
{
        return (struct line_shm *)at(*root_of(name, 0) & ~DICT_SHARDED) + i;
}

struct list_leaf_shm *first_leaf(const char *name)
{
        uint64_t off = *root_of(name, LIST_TREE);

        for (uint64_t height = *root_of(name, LIST_HEIGHT); height; height--)
                off = ((struct list_node_shm *)at(off))->entry[0].child;
        return at(off);
}

struct list_node_shm *top_node(const char *name)
{
        return at(*root_of(name, LIST_TREE));
}

struct queue_head_shm *head_of(const char *name)
{
        return (struct queue_head_shm *)(void *)slot_of(name);
}

struct queue_shm *books_of(const char *name)
{
        return at((head_of(name)->ctl & ~QUEUE_FLAGS) + CHUNK_HEAD);
}

struct queue_tail_shm *tail_of(const char *name)
{
        return at(books_of(name)->tail);
}

struct queue_item_shm *item_of(const char *name, uint32_t i)
{
        return (struct queue_item_shm *)at(*(uint64_t *)at(books_of(name)->items.dir + CHUNK_HEAD) +
                                           CHUNK_HEAD) +
               i;
}

struct lock_shm *lock_shm_of(const char *name)
{
        return (struct lock_shm *)(void *)slot_of(name);
}

/* The head of the block that an object's slot is in. */
struct slot_block_shm *slots_around(const char *name)
{
        uint64_t place = arena_off(store->arena, slot_of(name));

        return at(repair_block_off(store->arena, repair_block_of(store->arena, place)));
}

struct object_shm *anonymous(void)
{
        struct object_shm *slots = (struct object_shm *)(void *)slots_around("small");

        for (uint32_t i = 1; i < SLOTS_PER_BLOCK; i++)
                if (slots[i].line.serial && !slots[i].name_size && slots[i].owner)
                        return &slots[i];
        child_fail("there is no anonymous object", __FILE__, __LINE__);
}
