/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair_damages.c -- damages of a store, one for each structure
 */

#include <string.h>

#include "mem/pool.h"
#include "object/dict.h"
#include "object/directory.h"
#include "object/repair.h"
#include "repair_places.h"
#include "repair_store.h"
#include "support/child.h"

/* ---- The damages ---------------------------------------------------------------------------------------- */

static void slab_count(void)
{
        find_block(BLOCK_SLAB)->n_used++;
}

static void slab_free_list(void)
{
        struct block_shm *block = find_block(BLOCK_SLAB);

        block->free = block->carved + 5;
}

static void slab_class(void)
{
        block_around(chunk_of("small"))->size_class = 200;
}

static void slab_other_class(void)
{
        block_around(chunk_of("small"))->size_class ^= 1;
}

static void slab_state(void)
{
        block_around(chunk_of("small"))->state = 77;
}

static void slab_as_free(void)
{
        block_around(chunk_of("tree"))->state = BLOCK_FREE_IN;
}

static void slots_state(void)
{
        block_around(slot_of("small"))->state = 77;
}

static void slots_as_slab(void)
{
        block_around(slot_of("small"))->state = BLOCK_SLAB;
}

static void groups_state(void)
{
        find_block(BLOCK_GROUPS)->state = 99;
}

static void free_run(void)
{
        find_block(BLOCK_FREE)->run += 3;
}

static void bins(void)
{
        memset(store->arena->header->pool.bins, 0, sizeof(store->arena->header->pool.bins));
}

static void list_of_slabs(void)
{
        store->arena->header->pool.slabs[0] = UINT32_MAX;
}

static void used_bytes(void)
{
        store->arena->header->pool.used += 256;
}

static void n_objects(void)
{
        store->arena->header->pool.n_objects += 3;
}

static void pool_lock(void)
{
        store->arena->header->pool.line.word |= 3000ULL << LOCK_LANE_SHIFT | LOCK_WRITING;
}

static void bitmap_more(void)
{
        slots_around("small")->used[7] |= 1ULL << 63;
}

static void bitmap_none(void)
{
        slots_around("small")->used[0] = 1;
}

static void chunk_head(void)
{
        chunk_of("small")->info ^= 1ULL << 50;
}

static void chunk_class(void)
{
        chunk_of("small")->info ^= 2ULL << 32;
}

static void chunk_owner(void)
{
        chunk_of("small")->owner += SLOT_SIZE;
}

static void chunk_links(void)
{
        chunk_of("large")->next = arena_off(store->arena, chunk_of("large"));
}

static void chunk_list(void)
{
        slot_of("small")->chunks = 0;
}

static void object_memory(void)
{
        slot_of("small")->memory += 64;
}

static void object_kind_99(void)
{
        slot_of("small")->line.config = (slot_of("small")->line.config & ~0xffULL) | 99;
}

static void object_value_type_77(void)
{
        slot_of("small")->line.config |= 77 << 16;
}

static void object_poison(void)
{
        slot_of("small")->line.config |= LINE_POISONED;
}

static void object_serial(void)
{
        slot_of("small")->line.serial += 1000000;
}

static void object_lock(void)
{
        slot_of("small")->line.word |= 3000ULL << LOCK_LANE_SHIFT | LOCK_WRITING;
}

static void name_text(void)
{
        slot_of("small")->name[0] = 'S';
}

static void name_size(void)
{
        slot_of("small")->name_size = 999;
}

static void name_chunk(void)
{
        slot_of(LONG_NAME)->name[1] ^= 0x40;
}

static void names_root(void)
{
        names_slot()->line.root[0] ^= 1ULL << 20;
}

static void names_count(void)
{
        names_slot()->line.root[1]++;
}

static void names_entry(void)
{
        *used_slot(segment_in(names_slot()->line.root[0])) ^= 1ULL << 50;
}

/* A name that no key could be: whoever looks for the object by it is refused. */
static void names_text(void)
{
        struct entry_shm *entry = at(slot_off_of(*used_slot(segment_in(names_slot()->line.root[0]))));

        memset(entry->data, 0xff, 1);
}

static void names_ref(void)
{
        struct entry_shm *entry = at(slot_off_of(*used_slot(segment_in(names_slot()->line.root[0]))));

        entry_value(entry, entry->head)[1] += 5;
}

/* A place that no file has room for: it is not even made a pointer of. */
static void names_place(void)
{
        struct entry_shm *entry = at(slot_off_of(*used_slot(segment_in(names_slot()->line.root[0]))));

        entry_value(entry, entry->head)[0] = UINT64_MAX - SLOT_SIZE + 1;
}

/* A name for what has a serial and is no object: the line that a queue has for its tail. */
static void names_line(void)
{
        struct entry_shm *entry = at(slot_off_of(*used_slot(segment_in(names_slot()->line.root[0]))));
        const uint64_t place = books_of("fifo")->tail, serial = tail_of("fifo")->serial;

        entry_value(entry, entry->head)[0] = place; /* from here on "fifo" may not open: it may be its name */
        entry_value(entry, entry->head)[1] = serial;
}

/* An entry that is sound, and no name: another dict's, of a time when one memory was given out twice. */
static void names_mixed(void)
{
        objd_value key = objd_int(1), value = objd_int(2);
        struct objd_object handle;
        uint64_t config;

        child_ok(directory_names(store, &handle));
        config = handle.config;
        handle.config = handle.shm->line.config = OBJD_DICT;
        child_ok(objd_dict_set(&handle, &key, &value));
        handle.shm->line.config = config;
}

static void names_kind(void)
{
        names_slot()->line.config = OBJD_LIST;
}

static void dict_root(void)
{
        *root_of("small", 0) ^= 1ULL << 20;
}

static void dict_count_1(void)
{
        ++*root_of("small", 1);
}

static void dict_shape(void)
{
        segment_in(*root_of("small", 0))->shape += 3;
}

/* The entries are all found, and a walk through them would end after a part. */
static void dict_depth(void)
{
        segment_in(*root_of("small", 0))->shape += 5ULL << 16;
}

static void dict_slot(void)
{
        *used_slot(segment_in(*root_of("small", 0))) ^= 1ULL << 40;
}

static void dict_entry(void)
{
        entry_in("small")->head = UINT64_MAX;
}

static void dict_value_chunk(void)
{
        struct entry_shm *entry = entry_in("values");

        entry_value(entry, entry->head)[0] += 64;
}

static void dict_group(void)
{
        *root_of("large", 0) += 64;
}

static void dict_shard_serial(void)
{
        shard_of("large", 5)->serial++;
}

static void dict_shard_root(void)
{
        shard_of("large", 7)->root[0] = 12345;
}

static void list_len(void)
{
        ++*root_of("list", LIST_LEN);
}

static void list_tree(void)
{
        *root_of("tree", LIST_TREE) += 64;
}

static void list_height(void)
{
        ++*root_of("tree", LIST_HEIGHT);
}

static void list_last(void)
{
        *root_of("tree", LIST_LAST) = *root_of("tree", LIST_TREE);
}

static void list_leaf(void)
{
        first_leaf("tree")->state ^= 1ULL << 60;
}

void break_item_of(const char *name)
{
        struct list_leaf_shm *leaf = first_leaf(name);

        leaf->table[leaf->state >> 11 & 0x7ff] ^= 0xff00ULL << 8;
}

static void list_item(void)
{
        break_item_of("list");
}

static void list_child(void)
{
        top_node("tree")->entry[1].child = 1;
}

static void list_start(void)
{
        top_node("tree")->entry[1].start += 5;
}

static void list_big(void)
{
        struct list_leaf_shm *leaf = first_leaf("blobs");
        uint64_t item = leaf->table[leaf->state >> 11 & 0x7ff];

        ((uint64_t *)(void *)leaf)[item >> 8 & 0xffff] += 64;
}

static void queue_pos(void)
{
        head_of("chain")->pos += 8192;
}

static void queue_popped(void)
{
        head_of("chain")->popped += 100000;
}

static void queue_pushed(void)
{
        tail_of("fifo")->pushed += 7;
}

static void queue_ctl(void)
{
        head_of("fifo")->ctl ^= 1ULL << 30;
}

static void queue_ctl_of_tail(void)
{
        tail_of("fifo")->ctl ^= 1ULL << 30;
}

static void queue_tail_serial(void)
{
        tail_of("fifo")->serial += 77;
}

/* It was said to be a chunk's owner while an operation was undone. */
static void queue_tail_memory(void)
{
        struct object_shm *part = at(books_of("fifo")->tail);

        part->chunks = slot_of("small")->chunks;
        part->memory = 256;
}

static void queue_tail_place(void)
{
        books_of("chain")->tail += SLOT_SIZE;
}

static void queue_bound(void)
{
        books_of("lifo")->bound = 5;
}

static void queue_record(void)
{
        *(uint64_t *)at(head_of("chain")->pos) = UINT64_MAX;
}

static void queue_leases(void)
{
        books_of("fifo")->n_leases = 9;
}

static void queue_free_lease(void)
{
        books_of("fifo")->free_lease = 0;
}

static void queue_items(void)
{
        books_of("lifo")->items.n += 100000;
}

static void queue_dir(void)
{
        books_of("priority")->items.dir ^= 1ULL << 20;
}

static void queue_heap(void)
{
        item_of("priority", 3)->priority = -1000;
}

static void queue_item_head(void)
{
        item_of("lifo", 3)->head = 0x1234567;
}

static void queue_cell(void)
{
        for (uint32_t i = 0; i < QUEUE_CELL_SIZES; i++)
                if (books_of("lifo")->cells[i])
                        ((struct queue_cells_shm *)at(books_of("lifo")->cells[i] + CHUNK_HEAD))->free = 999;
}

static void lock_state(void)
{
        lock_shm_of("lock")->state ^= 1ULL << 63;
}

static void lock_owner(void)
{
        lock_shm_of("lock")->state |= 2000ULL << 3 | 1;
}

static void client_owner(void)
{
        anonymous()->owner = id_make(4000, 17);
}

static void client_claimed(void)
{
        struct client_shm *client = arena_client(store->arena, 2);

        client->claimed = 1;
        client->generation = 3;
        word_set(&store->arena->header->clients_high, 3);
        anonymous()->owner = id_make(2, 3);
        anonymous()->line.word |= 3000ULL << LOCK_LANE_SHIFT | LOCK_WRITING;
}

static void lane_idle(void)
{
        half_set(&arena_lane(store->arena, 2)->n_locks, 1);
        word_set(&store->arena->header->lanes_high, 3);
}

static void frontier(void)
{
        store->arena->header->pool.frontier = 2;
}

/* Constants, which a fresh attachment would not have accepted: they are put back from the copy, and not sealed as they are. */
static void n_blocks(void)
{
        store->arena->header->pool.n_blocks += 8192;
}

static void tables_off(void)
{
        store->arena->header->clients_off += 2;
        store->arena->header->lanes_off += 4;
}

const struct damage damages[] = {
        { "slab count", slab_count, "(blocks)", NULL, NOTHING },
        { "slab free list", slab_free_list, "(blocks)", NULL, NOTHING },
        { "slab class", slab_class, "(blocks)", NULL, NOTHING },
        { "slab other class", slab_other_class, "(blocks)", NULL, NOTHING },
        { "slab state", slab_state, "(blocks)", NULL, NOTHING },
        { "slab as free", slab_as_free, "(blocks)", NULL, NOTHING },
        { "slots state", slots_state, "(blocks)", NULL, NOTHING },
        { "slots as slab", slots_as_slab, "(blocks)", NULL, NOTHING },
        { "groups state", groups_state, "(blocks)", NULL, NOTHING },
        { "free run", free_run, "(blocks)", NULL, NOTHING },
        { "bins", bins, "(blocks)", NULL, NOTHING },
        { "list of slabs", list_of_slabs, "(blocks)", NULL, NOTHING },
        { "used bytes", used_bytes, "(blocks)", NULL, NOTHING },
        { "objects counted", n_objects, "(blocks)", NULL, NOTHING },
        { "pool lock", pool_lock, NULL, NULL, NOTHING },
        { "bitmap more", bitmap_more, "(blocks)", NULL, NOTHING },
        { "bitmap none", bitmap_none, "(blocks)", NULL, NOTHING },
        { "frontier", frontier, NULL, NULL, NOTHING },
        { "number of blocks", n_blocks, NULL, NULL, NOTHING },
        { "tables elsewhere", tables_off, NULL, NULL, NOTHING },
        { "chunk head", chunk_head, "small", NULL, NOTHING },
        { "chunk class", chunk_class, "small", NULL, NOTHING },
        { "chunk owner", chunk_owner, "small", NULL, NOTHING },
        { "chunk links", chunk_links, "large", NULL, NOTHING },
        { "chunk list", chunk_list, "small", NULL, NOTHING },
        { "object memory", object_memory, "small", NULL, NOTHING },
        { "object kind", object_kind_99, "small", NULL, NOTHING },
        { "object value type", object_value_type_77, "small", NULL, NOTHING },
        { "object poison", object_poison, "small", NULL, NOTHING },
        { "object serial", object_serial, "(names)", NULL, NOTHING },
        { "object lock", object_lock, "#", NULL, NOTHING },
        { "name text", name_text, "Small", NULL, NOTHING },
        { "name size", name_size, "#", NULL, NOTHING },
        { "name chunk", name_chunk, "#", NULL, NOTHING },
        { "names root", names_root, "(names)", NULL, NOTHING },
        { "names count", names_count, "(names)", NULL, NOTHING },
        { "names entry", names_entry, "(names)", NULL, NOTHING },
        { "names text", names_text, "(names)", NULL, NOTHING },
        { "names mixed", names_mixed, "(names)", NULL, NOTHING },
        { "names ref", names_ref, "(names)", NULL, NOTHING },
        { "names place", names_place, "(names)", NULL, NOTHING },
        { "names line", names_line, "(names)", NULL, NOTHING },
        { "names kind", names_kind, "(names)", NULL, NOTHING },
        { "dict root", dict_root, "small", NULL, NOTHING },
        { "dict count", dict_count_1, "small", NULL, NOTHING },
        { "dict shape", dict_shape, "small", NULL, NOTHING },
        { "dict depth", dict_depth, "small", NULL, NOTHING },
        { "dict slot", dict_slot, "small", "small", A_PART },
        { "dict entry", dict_entry, "small", "small", A_PART },
        { "dict value chunk", dict_value_chunk, "values", "values", A_PART },
        { "dict group", dict_group, "large", NULL, NOTHING },
        { "dict shard serial", dict_shard_serial, "large", NULL, NOTHING },
        { "dict shard root", dict_shard_root, "large", NULL, NOTHING },
        { "list len", list_len, "list", NULL, NOTHING },
        { "list tree", list_tree, "tree", NULL, NOTHING },
        { "list height", list_height, "tree", NULL, NOTHING },
        { "list last", list_last, "tree", NULL, NOTHING },
        { "list leaf", list_leaf, "tree", "tree", A_PART },
        { "list item", list_item, "list", "list", A_PART },
        { "list child", list_child, "tree", "tree", A_PART },
        { "list start", list_start, "tree", NULL, NOTHING },
        { "list big", list_big, "blobs", "blobs", A_PART },
        { "queue position", queue_pos, "chain", NULL, NOTHING },
        { "queue popped", queue_popped, "chain", NULL, NOTHING },
        { "queue pushed", queue_pushed, "fifo", "fifo", A_PART },
        { "queue books", queue_ctl, "fifo", NULL, NOTHING },
        { "queue books of tail", queue_ctl_of_tail, "fifo", NULL, NOTHING },
        { "queue tail serial", queue_tail_serial, "fifo", "fifo", A_PART },
        { "queue tail memory", queue_tail_memory, "(blocks)", NULL, NOTHING },
        { "queue tail place", queue_tail_place, "chain", NULL, NOTHING },
        { "queue bound", queue_bound, "lifo", NULL, NOTHING },
        { "queue record", queue_record, "chain", "chain", A_PART },
        { "queue leases", queue_leases, "fifo", NULL, NOTHING },
        { "queue free lease", queue_free_lease, "fifo", NULL, NOTHING },
        { "queue items", queue_items, "lifo", "lifo", A_PART },
        { "queue directory", queue_dir, "priority", "priority", ALL },
        { "queue heap", queue_heap, "priority", "priority", A_PART },
        { "queue item", queue_item_head, "lifo", "lifo", A_PART },
        { "queue cell", queue_cell, "lifo", NULL, NOTHING },
        { "lock state", lock_state, "lock", "lock", A_PART },
        { "lock owner", lock_owner, "lock", "lock", A_PART },
        { "client of an object", client_owner, "#", NULL, NOTHING },
        { "client that is dead", client_claimed, NULL, NULL, NOTHING },
        { "lane", lane_idle, "(lane 2)", NULL, NOTHING },
};

const size_t n_damages = sizeof(damages) / sizeof(damages[0]);

const struct damage *damage_of(const char *name)
{
        for (size_t i = 0; i < n_damages; i++)
                if (strcmp(damages[i].name, name) == 0)
                        return &damages[i];
        return NULL;
}
