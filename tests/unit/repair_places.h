/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * repair_places.h -- where the structures of the store are that is to be damaged
 */

#include <stdint.h>

#include "arena/layout.h"

void *at(uint64_t off);

/* The pool's: the first block in that state, the one that something lies in. */
struct block_shm *find_block(uint8_t state);
struct block_shm *block_around(const void *p);

/* Objects, by their names: slot, words of the line, first chunk, head of the slot's block; the dict of names; one without a name. */
struct object_shm *slot_of(const char *name);
uint64_t *root_of(const char *name, int i);
struct chunk_shm *chunk_of(const char *name);
struct slot_block_shm *slots_around(const char *name);
struct object_shm *names_slot(void);
struct object_shm *anonymous(void);

/* Dicts: a segment from the word that leads to it, its first slot in use, the first entry, a shard. */
struct segment_shm *segment_in(uint64_t word);
uint64_t *used_slot(struct segment_shm *segment);
struct entry_shm *entry_in(const char *name);
struct line_shm *shard_of(const char *name, int i);

/* Lists: the first leaf, the tree's top. */
struct list_leaf_shm *first_leaf(const char *name);
struct list_node_shm *top_node(const char *name);

/* Queues: both lines, what they have in common, an item of those that are no chain. */
struct queue_head_shm *head_of(const char *name);
struct queue_tail_shm *tail_of(const char *name);
struct queue_shm *books_of(const char *name);
struct queue_item_shm *item_of(const char *name, uint32_t i);

struct lock_shm *lock_shm_of(const char *name);
