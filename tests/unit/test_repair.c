/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_repair.c -- object/repair*.c, object/salvage.c: one damage for each structure of a store
 *
 * For each: the checker finds it, and names the object; a repair says what it did, after which the checker finds nothing;
 * objects that it does not concern are what they were, by their dumps, and so is the one that it does, unless the table
 * says that something of it is lost. Each damage is done in a child, to an arena of its own.
 *
 *   test-repair             all of them
 *   test-repair NAME        one, and what it said
 *   test-repair --kill N    all of them; repairs are killed at N moments and after each of N deeds (3)
 */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arena/life.h"
#include "dumpload/dump.h"
#include "mem/pool.h"
#include "object/dict.h"
#include "object/directory.h"
#include "object/repair.h"
#include "support/child.h"
#include "support/image.h"
#include "support/test.h"
#include "txn/txn.h"

#define LONG_NAME "a dict whose name is too long for its slot"
#define HANG_SECONDS 240

/* ---- A store with something of everything --------------------------------------------------------------- */

static const char *const names[] = { "small", LONG_NAME, "large", "values", "list",     "tree",
                                     "blobs", "fifo",    "chain", "lifo",   "priority", "lock" };

#define N_NAMES (sizeof(names) / sizeof(names[0]))

static char text[200000];

static objd_object *make(objd_conn *conn, const char *name, objd_kind kind, objd_order order)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *object;

        config.order = order;
        child_ok(objd_create(conn, name, kind, &config, &object));
        return object;
}

static void fill_dict(objd_object *dict, int n, size_t size)
{
        for (int i = 0; i < n; i++) {
                objd_value key = objd_int(i), value = objd_str(text, size ? size : (size_t)(i % 50));

                child_ok(objd_dict_set(dict, &key, &value));
        }
        for (int i = 0; i < n; i += 7) {
                objd_value key = objd_int(i);

                child_ok(objd_dict_del(dict, &key));
        }
}

static void fill_list(objd_object *list, int n, size_t size)
{
        for (int i = 0; i < n; i++) {
                objd_value value = size ? objd_str(text, size) : objd_int(i);

                child_ok(i % 2 ? objd_list_append(list, &value) : objd_list_insert(list, i / 3, &value));
        }
}

static void fill_queue(objd_object *queue, int n, bool priority)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        uint64_t lease, back;

        for (int i = 0; i < n; i++) {
                value = i % 3 ? objd_str(text, (size_t)(i * 37 % 300)) : objd_int(i);
                child_ok(priority ? objd_queue_put_priority(queue, &value, i * 37 % 11, OBJD_NOWAIT)
                                  : objd_queue_put(queue, &value, OBJD_NOWAIT));
        }
        for (int i = 0; i < n / 10; i++)
                child_ok(objd_queue_get(queue, &value, &buf, OBJD_NOWAIT));
        child_ok(objd_queue_get_lease(queue, OBJD_FOREVER, &value, &buf, &lease, OBJD_NOWAIT));
        child_ok(objd_queue_get_lease(queue, OBJD_FOREVER, &value, &buf, &back, OBJD_NOWAIT));
        child_ok(objd_queue_give_back(queue, back));
        child_ok(
                objd_queue_give_back(queue, lease)); /* a lease of ours would still be one after the repair */
        objd_buf_free(&buf);
}

static objd_conn *make_store(void)
{
        objd_conn *conn;
        objd_object *lock, *gone;
        objd_value value;
        uint64_t token;

        memset(text, 'x', sizeof(text));
        child_ok(objd_connect("embedded:64M", &conn));
        gone = make(conn, "gone", OBJD_DICT, OBJD_FIFO);
        fill_dict(gone, 3, sizeof(text));
        fill_dict(make(conn, "small", OBJD_DICT, OBJD_FIFO), 20, 0);
        fill_dict(make(conn, LONG_NAME, OBJD_DICT, OBJD_FIFO), 5, 0);
        fill_dict(make(conn, "large", OBJD_DICT, OBJD_FIFO), 2000, 0);
        fill_dict(make(conn, "values", OBJD_DICT, OBJD_FIFO), 9, 6000);
        fill_list(make(conn, "list", OBJD_LIST, OBJD_FIFO), 30, 0);
        fill_list(make(conn, "tree", OBJD_LIST, OBJD_FIFO), 1200, 0);
        fill_list(make(conn, "blobs", OBJD_LIST, OBJD_FIFO), 6, 4000);
        fill_queue(make(conn, "fifo", OBJD_QUEUE, OBJD_FIFO), 30, false);
        fill_queue(make(conn, "chain", OBJD_QUEUE, OBJD_FIFO), 900, false);
        fill_queue(make(conn, "lifo", OBJD_QUEUE, OBJD_LIFO), 60, false);
        fill_queue(make(conn, "priority", OBJD_QUEUE, OBJD_PRIORITY), 60, true);
        lock = make(conn, "lock", OBJD_LOCK, OBJD_FIFO);
        child_ok(objd_lock_take(lock, OBJD_NOWAIT, &token));
        child_ok(objd_lock_give(lock));
        value = objd_int(1);
        child_ok(objd_list_append(make(conn, NULL, OBJD_LIST, OBJD_FIFO), &value));
        child_ok(objd_destroy(gone));
        child_ok(objd_set_timeout(conn, 1000000));
        return conn;
}

/* ---- What is where -------------------------------------------------------------------------------------- */

static objd_conn *store; /* of this child */

static struct object_shm *slot_of(const char *name)
{
        objd_object *object;

        child_ok(objd_open(store, name, OBJD_KIND_ANY, &object));
        return object->shm;
}

static void *at(uint64_t off)
{
        child_check(arena_at(store->arena, off, 8));
        return store->arena->base + off;
}

static struct block_shm *find_block(uint8_t state)
{
        for (uint64_t i = 0; i < store->arena->header->pool.frontier; i++)
                if (store->arena->blocks[i].state == state)
                        return &store->arena->blocks[i];
        child_fail("there is no such block", __FILE__, __LINE__);
}

static struct block_shm *block_around(const void *p)
{
        return &store->arena->blocks[repair_block_of(store->arena, arena_off(store->arena, p))];
}

static uint64_t *root_of(const char *name, int i)
{
        return &slot_of(name)->line.root[i];
}

static struct chunk_shm *chunk_of(const char *name)
{
        return at(slot_of(name)->chunks);
}

static struct object_shm *names_slot(void)
{
        return at(store->arena->header->names);
}

static struct segment_shm *segment_in(uint64_t word)
{
        return at(table_off(word) + CHUNK_HEAD);
}

static uint64_t *used_slot(struct segment_shm *segment)
{
        uint64_t *slot = segment->slots;

        while (*slot <= SLOT_GONE)
                slot++;
        return slot;
}

static struct entry_shm *entry_in(const char *name)
{
        return at(slot_off_of(*used_slot(segment_in(*root_of(name, 0)))));
}

static struct line_shm *shard_of(const char *name, int i)
{
        return (struct line_shm *)at(*root_of(name, 0) & ~DICT_SHARDED) + i;
}

static struct list_leaf_shm *first_leaf(const char *name)
{
        uint64_t off = *root_of(name, LIST_TREE);

        for (uint64_t height = *root_of(name, LIST_HEIGHT); height; height--)
                off = ((struct list_node_shm *)at(off))->entry[0].child;
        return at(off);
}

static struct list_node_shm *top_node(const char *name)
{
        return at(*root_of(name, LIST_TREE));
}

static struct queue_head_shm *head_of(const char *name)
{
        return (struct queue_head_shm *)(void *)slot_of(name);
}

static struct queue_shm *books_of(const char *name)
{
        return at((head_of(name)->ctl & ~QUEUE_FLAGS) + CHUNK_HEAD);
}

static struct queue_tail_shm *tail_of(const char *name)
{
        return at(books_of(name)->tail);
}

static struct queue_item_shm *item_of(const char *name, uint32_t i)
{
        return (struct queue_item_shm *)at(*(uint64_t *)at(books_of(name)->items.dir + CHUNK_HEAD) +
                                           CHUNK_HEAD) +
               i;
}

static struct lock_shm *lock_shm_of(const char *name)
{
        return (struct lock_shm *)(void *)slot_of(name);
}

/* The head of the block that an object's slot is in. */
static struct slot_block_shm *slots_around(const char *name)
{
        uint64_t place = arena_off(store->arena, slot_of(name));

        return at(repair_block_off(store->arena, repair_block_of(store->arena, place)));
}

static struct object_shm *anonymous(void)
{
        struct object_shm *slots = (struct object_shm *)(void *)slots_around("small");

        for (uint32_t i = 1; i < SLOTS_PER_BLOCK; i++)
                if (slots[i].line.serial && !slots[i].name_size && slots[i].owner)
                        return &slots[i];
        child_fail("there is no anonymous object", __FILE__, __LINE__);
}

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

static void break_item_of(const char *name)
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

enum loss { NOTHING, A_PART, ALL };

static const struct damage {
        const char *name;
        void (*fn)(void);
        const char
                *found; /* begins what the checker calls it; NULL: it does not matter, "(" may be anything */
        const char *concern; /* the object that may have lost something */
        enum loss loss;
} damages[] = {
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

#define N_DAMAGES (sizeof(damages) / sizeof(damages[0]))

/* ---- What is said, and what is there -------------------------------------------------------------------- */

static bool print;

struct said {
        uint64_t n;
        char all[65536];
        size_t len;
};

static void note(struct said *said, const char *what, const char *object, const char *sentence)
{
        said->n++;
        if (print)
                printf("%s%s: %s\n", what, object, sentence);
        if (said->len < sizeof(said->all) - 1024)
                said->len += (size_t)snprintf(said->all + said->len, 1024, "\n%s: %s", object, sentence);
}

static void note_fault(void *context, const char *object, const char *sentence)
{
        note(context, "fault: ", object, sentence);
}

static void note_deed(void *context, enum repair_deed deed, const char *object, const char *sentence)
{
        char what[32];

        snprintf(what, sizeof(what), "%s: ", repair_deed_name(deed));
        note(context, what, object, sentence);
}

/* Its dump, without what it refers to, as text; NULL if there is no such object, or it cannot be dumped. */
static char *dump_of(const char *name)
{
        struct dump_options options = { 0 };
        struct dump_report report;
        objd_object *object;
        objd_ref ref;
        FILE *f = tmpfile();
        char *all = NULL;
        long size;

        if (objd_open(store, name, OBJD_KIND_ANY, &object))
                return NULL;
        ref = objd_ref_of(object);
        options.root = &ref;
        child_ok(dump_write(store, f, &options, &report));
        if (!report.n_damaged) {
                size = ftell(f);
                all = calloc(1, (size_t)size + 1);
                rewind(f);
                child_check(fread(all, 1, (size_t)size, f) == (size_t)size);
        }
        fclose(f);
        objd_release(object);
        return all;
}

static int fail_case(const struct damage *damage, const char *what, const char *more)
{
        fprintf(stderr, "\"%s\": %s%s%s\n", damage->name, what, more ? ": " : "", more ? more : "");
        return 1;
}

static bool is_concerned(const struct damage *damage, const char *name)
{
        return damage->concern && strcmp(damage->concern, name) == 0;
}

static int compare_dumps(const struct damage *damage, char *const before[N_NAMES])
{
        for (size_t i = 0; i < N_NAMES; i++) {
                char *after = dump_of(names[i]);
                bool same = after && strcmp(before[i], after) == 0;

                if (is_concerned(damage, names[i]) ? damage->loss == ALL ? after != NULL : !after : !same)
                        return fail_case(damage, "is not as it should be", names[i]);
                free(after);
        }
        return 0;
}

static int run_damage(void *context)
{
        const struct damage *damage = context;
        static struct said faults, deeds, left;
        struct repair_result result = { 0 };
        char *before[N_NAMES], sought[64];
        uint64_t n = 0;

        store = make_store();
        for (size_t i = 0; i < N_NAMES; i++)
                before[i] = dump_of(names[i]);
        alarm(HANG_SECONDS);
        damage->fn();
        (void)check_arena(store, note_fault, &faults, &n);
        snprintf(sought, sizeof(sought), "\n%s", damage->found ? damage->found : "");
        if (damage->found && !strstr(faults.all, sought))
                return fail_case(damage, "the checker does not find it", faults.all);
        if (repair_arena(store, note_deed, &deeds, &result))
                return fail_case(damage, "cannot be repaired", objd_last_error());
        if (!deeds.n)
                return fail_case(damage, "the repair does not say what it did", NULL);
        child_ok(check_arena(store, note_fault, &left, &n));
        if (n || result.n_left)
                return fail_case(damage, "the checker finds after the repair", left.all);
        if ((damage->loss != NOTHING && !is_concerned(damage, "lock")) != (result.n_lost != 0) &&
            damage->loss == NOTHING)
                printf("\"%s\": counts a loss that is none: %s\n", damage->name, deeds.all);
        return compare_dumps(damage, before);
}

static void each_damage_is_found_and_repaired(void **state)
{
        (void)state;
        for (size_t i = 0; i < N_DAMAGES; i++) {
                struct damage damage = damages[i];

                child_expect_success(child_start(run_damage, &damage));
        }
}

/* ---- Repairs that are killed ---------------------------------------------------------------------------- */

/* What a killed repair had to deal with: something of everything. */
static const char *const to_kill[] = { "slab state",  "slots as slab",      "groups state",
                                       "bitmap none", "object serial",      "names root",
                                       "names ref",   "dict root",          "dict shard root",
                                       "list tree",   "queue books",        "queue position",
                                       "chunk head",  "client of an object" };

#define N_TO_KILL (sizeof(to_kill) / sizeof(to_kill[0]))

static int n_moments = 3; /* for each damage, at which a repair is killed; "test-repair --kill N" for more */

struct killed {
        const struct image *image;
        int fd;
        uint64_t die_at; /* the deed after which it kills itself; 0: it does not */
        uint64_t n_deeds;
};

static void count_deed(void *context, enum repair_deed deed, const char *object, const char *sentence)
{
        struct killed *killed = context;

        (void)deed;
        (void)object;
        (void)sentence;
        if (++killed->n_deeds == killed->die_at)
                (void)raise(SIGKILL);
}

static void attach(int fd)
{
        static struct objd_conn conn;

        bare_attach(&conn, dup(fd));
        conn.arena->by_process = true;
        store = &conn;
}

static int repair_until(void *context)
{
        struct repair_result result;

        attach(((struct killed *)context)->fd);
        return repair_arena(store, count_deed, context, &result) != OBJD_OK;
}

struct survivor {
        const struct damage *damage;
        char *const *before;
        int fd;
};

static int repair_after(void *context)
{
        const struct survivor *survivor = context;
        static struct said left;
        struct repair_result result;
        uint64_t n = 1;

        attach(survivor->fd);
        child_ok(repair_arena(store, note_deed, &left, &result));
        child_ok(check_arena(store, note_fault, &left, &n));
        if (n || result.n_left)
                return fail_case(survivor->damage, "the checker finds after a killed repair", left.all);
        return compare_dumps(survivor->damage, (char *const *)survivor->before);
}

/* Killed by itself after a deed, or by us at any moment; then the next one finishes it. */
static int kill_one(const struct damage *damage, char *const before[N_NAMES], const struct image *image,
                    uint64_t die_at, int64_t die_ns)
{
        struct killed killed = { .fd = image_make_file(image), .die_at = die_at };
        struct survivor survivor = { damage, before, killed.fd };
        pid_t pid = child_start(repair_until, &killed);
        int status;

        if (!die_at) {
                nanosleep(&(struct timespec){ .tv_nsec = die_ns }, NULL);
                kill(pid, SIGKILL);
        }
        (void)waitpid(pid, &status, 0); /* it may have been faster: then there is nothing left to do */
        status = child_wait(child_start(repair_after, &survivor));
        close(killed.fd);
        return status;
}

static const struct damage *damage_of(const char *name)
{
        for (size_t i = 0; i < N_DAMAGES; i++)
                if (strcmp(damages[i].name, name) == 0)
                        return &damages[i];
        return NULL;
}

static int kill_repairs_of(void *context)
{
        const struct damage *damage = context;
        struct image image;
        char *before[N_NAMES];
        int status = 0;

        store = make_store();
        for (size_t i = 0; i < N_NAMES; i++)
                before[i] = dump_of(names[i]);
        damage->fn();
        image_take(store->arena, &image);
        for (uint64_t i = 1; i <= (uint64_t)n_moments && !status; i++)
                status = kill_one(damage, before, &image, i, 0);
        for (int i = 0; i < n_moments && !status; i++)
                status = kill_one(damage, before, &image, 0, (i * 7919 % 97) * 100000LL);
        image_free(&image);
        return status != 0;
}

static void a_repair_that_is_killed_is_finished_by_the_next(void **state)
{
        (void)state;
        for (size_t i = 0; i < N_TO_KILL; i++) {
                struct damage damage = *damage_of(to_kill[i]);

                child_expect_success(child_start(kill_repairs_of, &damage));
        }
}

/* ---- Who may repair ------------------------------------------------------------------------------------- */

struct other {
        int fd;
        struct gate ready;
};

static int use_store(void *context)
{
        struct other *other = context;
        objd_object *dict;
        objd_value key = objd_int(1), value = objd_int(1);

        attach(other->fd);
        child_ok(objd_open(store, "small", OBJD_KIND_ANY, &dict));
        child_ok(objd_dict_set(dict, &key, &value));
        gate_open(&other->ready, 1);
        pause();
        return 0;
}

static int repair_in_use(void *context)
{
        static struct said deeds;
        struct repair_result result;
        struct other other;
        struct image image;
        char expect[64];
        pid_t pid;

        (void)context;
        store = make_store();
        image_take(store->arena, &image);
        other.fd = image_make_file(&image);
        gate_init(&other.ready);
        pid = child_start(use_store, &other);
        gate_wait(&other.ready);
        attach(other.fd);
        child_check(repair_arena(store, note_deed, &deeds, &result) == OBJD_E_BUSY);
        snprintf(expect, sizeof(expect), "process %d uses the arena; ", (int)pid);
        child_check(strstr(objd_last_error(), expect) && strstr(objd_last_error(), "stop its daemon"));
        kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        child_ok(repair_arena(store, note_deed, &deeds, &result));
        child_check(!result.n_left && !result.n_lost);
        return 0;
}

static void a_store_that_somebody_uses_is_not_repaired(void **state)
{
        (void)state;
        child_expect_success(child_start(repair_in_use, NULL));
}

/* ---- Without memory ------------------------------------------------------------------------------------- */

/* More than a third of the store in one list, and nothing beside it is free. */
static void fill_store(void)
{
        objd_object *bulk = make(store, "bulk", OBJD_LIST, OBJD_FIFO),
                    *filler = make(store, "filler", OBJD_LIST, OBJD_FIFO);
        objd_value value = objd_str(text, sizeof(text));
        objd_status r = OBJD_OK;

        for (int i = 0; i < 100; i++)
                child_ok(objd_list_append(bulk, &value));
        while (r == OBJD_OK)
                r = objd_list_append(filler, &value);
        child_check(r == OBJD_E_NOMEM);
        objd_release(bulk);
        objd_release(filler);
}

/* A copy of what can be read of an object needs memory. Without it nothing of it is touched; with it, it is done. */
static int repair_full_store(void *context)
{
        const struct damage damage = { .name = "full store", .loss = NOTHING };
        static struct said deeds, later, left;
        struct repair_result result = { 0 };
        char *before[N_NAMES];
        uint64_t n = 0;

        (void)context;
        store = make_store();
        for (size_t i = 0; i < N_NAMES; i++)
                before[i] = dump_of(names[i]);
        fill_store();
        alarm(HANG_SECONDS);
        break_item_of("bulk");
        child_ok(repair_arena(store, note_deed, &deeds, &result));
        child_check(result.n_left && !result.n_lost && strstr(deeds.all, "\nbulk: "));
        child_ok(objd_delete(store, "filler"));
        child_ok(repair_arena(store, note_deed, &later, &result));
        child_check(!result.n_left && result.n_lost == 1 && strstr(later.all, "\nbulk: "));
        child_ok(check_arena(store, note_fault, &left, &n));
        child_check(!n);
        return compare_dumps(&damage, before);
}

static void without_memory_an_object_is_left_as_it_is_and_said(void **state)
{
        (void)state;
        child_expect_success(child_start(repair_full_store, NULL));
}

/* ---- Alone ---------------------------------------------------------------------------------------------- */

/* While we have it alone, whoever comes is told so, and does not wait for ever. */
static int come_while_alone(void *context)
{
        objd_object *dict;

        attach(((struct other *)context)->fd);
        child_ok(objd_set_timeout(store, 1000000));
        child_check(objd_open(store, "small", OBJD_KIND_ANY, &dict) == OBJD_E_BUSY);
        child_check(strstr(objd_last_error(), "repairs the arena"));
        return 0;
}

static int be_alone(void *context)
{
        struct other other;
        struct image image;
        objd_object *dict;

        (void)context;
        store = make_store();
        image_take(store->arena, &image);
        other.fd = image_make_file(&image);
        attach(other.fd);
        child_ok(life_begin_alone(store->arena));
        child_expect_success(child_start(come_while_alone, &other));
        child_ok(objd_open(store, "small", OBJD_KIND_ANY, &dict));
        child_expect_success(child_start(come_while_alone, &other));
        life_end_alone(store->arena);
        child_check(client_is_alive(store->arena, store->arena->client));
        return 0;
}

static void nobody_comes_while_a_store_is_repaired(void **state)
{
        (void)state;
        child_expect_success(child_start(be_alone, NULL));
}

/* ---- A store without damage ----------------------------------------------------------------------------- */

static int repair_sound(void *context)
{
        static struct said deeds;
        struct repair_result result;

        (void)context;
        store = make_store();
        child_ok(repair_arena(store, note_deed, &deeds, &result));
        child_check(!deeds.n && !result.n_mended && !result.n_lost && !result.n_left);
        return 0;
}

static void a_sound_store_is_left_alone(void **state)
{
        (void)state;
        child_expect_success(child_start(repair_sound, NULL));
}

static int show(const char *name)
{
        struct damage damage;

        if (!damage_of(name)) {
                fprintf(stderr, "there is no damage \"%s\"\n", name);
                return 2;
        }
        damage = *damage_of(name);
        print = true;
        return run_damage(&damage);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_sound_store_is_left_alone),
                cmocka_unit_test(each_damage_is_found_and_repaired),
                cmocka_unit_test(a_repair_that_is_killed_is_finished_by_the_next),
                cmocka_unit_test(a_store_that_somebody_uses_is_not_repaired),
                cmocka_unit_test(without_memory_an_object_is_left_as_it_is_and_said),
                cmocka_unit_test(nobody_comes_while_a_store_is_repaired),
        };

        if (argc > 2 && strcmp(argv[1], "--kill") == 0) {
                n_moments = atoi(argv[2]);
                argc = 1;
        }
        return argc > 1 ? show(argv[1]) : cmocka_run_group_tests(tests, NULL, NULL);
}
