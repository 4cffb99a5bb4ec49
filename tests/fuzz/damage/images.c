/* SPDX-License-Identifier: Apache-2.0 */
/*
 * images.c -- small arenas with something of everything, and putting them back to what they were
 */

#include "damage.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/sys.h"
#include "client/leave.h"
#include "mem/blocks.h"
#include "mem/pool.h"
#include "object/directory.h"
#include "object/kind.h"
#include "txn/txn.h"

#define ARENA_BYTES (16ULL << BLOCK_SHIFT)
#define TIMEOUT_NS 30000000LL

/* Whoever leaves the mapping by less than this is caught. */
#define GUARD (1ULL << 30)

static struct subject *all_subjects;

static void must(bool condition, const char *what)
{
        if (condition)
                return;
        fprintf(stderr, "an arena to be damaged cannot be made: %s: %s\n", what, objd_last_error());
        exit(3);
}

static void went(objd_status r, const char *what)
{
        must(r == OBJD_OK, what);
}

/* ---- Mappings between guards --------------------------------------------------------------------------- */

static void *map_guarded(int fd, uint64_t size, bool writable)
{
        uint8_t *p =
                mmap(NULL, size + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (p == MAP_FAILED)
                return NULL;
        p = mmap(p + GUARD, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED | MAP_FIXED, fd, 0);
        return p == MAP_FAILED ? NULL : p;
}

/*
 * The kernel's giving and taking of pages would be most of the time. The file keeps its memory; what is to be a hole is
 * zeros.
 */
static int keep_memory(int fd, int mode, int64_t off, int64_t size)
{
        for (size_t i = 0; (mode & FALLOC_FL_PUNCH_HOLE) && i < N_SUBJECTS; i++)
                if (all_subjects[i].conn.arena->fd == fd)
                        memset(all_subjects[i].arena_before.base + off, 0, (size_t)size);
        return 0;
}

/* ---- Filling ------------------------------------------------------------------------------------------- */

static objd_object *make(struct subject *s, const char *name, objd_kind kind, const objd_config *config)
{
        struct held *held = &s->handles[s->n_handles++];

        must(s->n_handles <= MAX_HANDLES, "too many handles");
        went(objd_create(&s->conn, name, kind, config, &held->object), name ? name : "anonymous");
        return held->object;
}

static objd_object *make_queue(struct subject *s, const char *name, objd_order order, uint64_t bound)
{
        objd_config config = OBJD_CONFIG_INIT;

        config.order = order;
        config.bound = bound;
        return make(s, name, OBJD_QUEUE, &config);
}

static char text[67000];

/* One value is larger than a block; where all is copied often, larger than what stands in a segment is enough. */
static size_t large_size = 9000;

static objd_value some_value(int i)
{
        static const size_t sizes[] = { 3, 30, 100, 300, 0, 4500, 20 };

        if (i % 3 == 0)
                return objd_int(i);
        if (i == 13)
                return objd_bytes(text, large_size);
        return objd_str(text, sizes[i % 7]);
}

static void fill_dict(objd_object *dict, int n, bool plain)
{
        for (int i = 0; i < n; i++) {
                objd_value key = i % 4 ? objd_int(i) : objd_str(text, (size_t)(i % 40) + 1),
                           value = plain ? objd_int(i) : some_value(i);

                went(objd_dict_set(dict, &key, &value), "dict set");
        }
        for (int i = 3; i < n; i += 5) {
                objd_value key = objd_int(i);

                (void)objd_dict_del(dict, &key);
        }
}

static void fill_list(objd_object *list, int n, bool plain)
{
        for (int i = 0; i < n; i++) {
                objd_value value = plain ? objd_int(i) : some_value(i);

                went(i % 3   ? objd_list_append(list, &value)
                     : i % 2 ? objd_list_prepend(list, &value)
                             : objd_list_insert(list, i / 2, &value),
                     "list insert");
        }
}

static void fill_queue(objd_object *queue, int n, bool priority)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;

        for (int i = 0; i < n; i++) {
                value = some_value(i);
                went(priority ? objd_queue_put_priority(queue, &value, i * 7 % 5, OBJD_NOWAIT)
                              : objd_queue_put(queue, &value, OBJD_NOWAIT),
                     "queue put");
        }
        for (int i = 0; i < n / 4; i++)
                went(objd_queue_get(queue, &value, &buf, OBJD_NOWAIT), "queue get");
        objd_buf_free(&buf);
}

/* One item under a lease that stays, one that came back, one whose lease is over soon. */
static uint64_t lease_some(objd_object *queue)
{
        objd_buf buf = OBJD_BUF_INIT;
        uint64_t lease = 0, back = 0, over = 0;
        objd_value value;

        went(objd_queue_get_lease(queue, OBJD_FOREVER, &value, &buf, &lease, OBJD_NOWAIT), "lease");
        went(objd_queue_get_lease(queue, OBJD_FOREVER, &value, &buf, &back, OBJD_NOWAIT), "lease");
        went(objd_queue_get_lease(queue, 1000, &value, &buf, &over, OBJD_NOWAIT), "lease");
        went(objd_queue_give_back(queue, back), "give back");
        objd_buf_free(&buf);
        return lease;
}

/*
 * Everything is done with every object of an arena, so an arena has few and small ones; those that show the larger structures
 * have their own.
 */
static void fill_small(struct subject *s)
{
        objd_object *lock;
        uint64_t token;

        fill_dict(make(s, "dict", OBJD_DICT, NULL), 6, false);
        fill_list(make(s, "list", OBJD_LIST, NULL), 5, false);
        fill_queue(make_queue(s, "fifo", OBJD_FIFO, 0), 4, false);
        lock = make(s, "a lock whose name is too long to stand in its slot", OBJD_LOCK, NULL);
        went(objd_lock_take(lock, OBJD_NOWAIT, &token), "lock");
}

static void fill_dicts(struct subject *s)
{
        large_size = 66000;
        fill_dict(make(s, "values", OBJD_DICT, NULL), 14, false);
        large_size = 9000;
        fill_dict(make(s, NULL, OBJD_DICT, NULL), 4, true);
        (void)make(s, "empty", OBJD_DICT, NULL);
}

static void fill_segment(struct subject *s)
{
        fill_dict(make(s, "one segment", OBJD_DICT, NULL), 150, true);
}

static void fill_shards(struct subject *s)
{
        fill_dict(make(s, "shards", OBJD_DICT, NULL), 900, true);
}

static void fill_lists(struct subject *s)
{
        fill_list(make(s, "values", OBJD_LIST, NULL), 16, false);
        (void)make(s, "empty", OBJD_LIST, NULL);
}

static void fill_tree(struct subject *s)
{
        fill_list(make(s, "numbers", OBJD_LIST, NULL), 1100, true);
}

static void fill_leased(struct subject *s)
{
        objd_object *leased = make_queue(s, "leased", OBJD_FIFO, 0);

        fill_queue(leased, 18, false);
        s->lease = lease_some(leased);
}

static void fill_heap(struct subject *s)
{
        objd_object *heap = make_queue(s, "heap", OBJD_PRIORITY, 0);

        fill_queue(heap, 14, true);
        s->lease = lease_some(heap);
        fill_queue(make_queue(s, "stack", OBJD_LIFO, 0), 8, false);
}

static void fill_chain(struct subject *s)
{
        objd_object *closed = make_queue(s, "closed", OBJD_FIFO, 0);

        fill_queue(make_queue(s, "chain", OBJD_FIFO, 0), 60, false);
        fill_queue(make_queue(s, "bounded", OBJD_FIFO, 6), 6, false);
        fill_queue(closed, 4, false);
        went(objd_queue_close(closed), "close");
}

static void fill_for_the_dead(struct subject *s)
{
        fill_dict(make(s, "dict", OBJD_DICT, NULL), 4, true);
        fill_list(make(s, "list", OBJD_LIST, NULL), 3, true);
        fill_queue(make_queue(s, "fifo", OBJD_FIFO, 0), 3, false);
        fill_queue(make_queue(s, "priority", OBJD_PRIORITY, 0), 3, true);
        fill_dict(make(s, "other", OBJD_DICT, NULL), 4, true);
}

/* ---- The dead ------------------------------------------------------------------------------------------ */

typedef void (*die_fn)(struct subject *s);

static void die_in(struct subject *s, die_fn fn, bool by_process)
{
        int status;
        pid_t pid = fork();

        must(pid >= 0, "fork");
        if (pid == 0) {
                s->conn.fork_generation = fork_generation();
                s->conn.arena->by_process = by_process;
                fn(s);
                _exit(0);
        }
        must(waitpid(pid, &status, 0) == pid && status == 0, "a process that was to die by itself");
}

/* The first half of op_run(): everything is done but the commit. */
static struct lane *do_without_commit(struct op *ops, size_t n)
{
        struct objd_conn *conn = ops[0].object->conn;
        struct plan plan = { .n = 0 }, again = { .n = 0 };
        struct lane *lane;

        went(lane_enter(conn->arena, TIMEOUT_NS, &lane), "enter");
        for (size_t i = 0; i < n; i++)
                went(kind_of(object_kind(ops[i].object->config))->plan(lane, &ops[i], &plan), "plan");
        txn_begin(lane, ops[0].code);
        went(plan_lock(lane, &plan), "lock");
        for (size_t i = 0; i < n; i++)
                went(kind_of(object_kind(ops[i].object->config))->plan(lane, &ops[i], &again), "plan again");
        for (size_t i = 0; i < n; i++)
                went(kind_of(object_kind(ops[i].object->config))->apply(lane, &ops[i]), "apply");
        return lane;
}

static objd_object *named(struct subject *s, const char *name)
{
        objd_object *object;

        went(objd_open(&s->conn, name, OBJD_KIND_ANY, &object), name);
        return object;
}

static struct lane *change_much(struct subject *s)
{
        static objd_value key, value, item;
        struct op ops[3];

        key = objd_int(5);
        value = objd_str(text, 9000);
        item = objd_str(text, 600);
        op_init(&ops[0], OP_DICT_SET, named(s, "dict"));
        ops[0].key = &key;
        ops[0].value = &value;
        op_init(&ops[1], OP_LIST_APPEND, named(s, "list"));
        ops[1].value = &item;
        ops[1].n = 1;
        op_init(&ops[2], OP_QUEUE_PUT, named(s, "fifo"));
        ops[2].value = &item;
        ops[2].n = 1;
        return do_without_commit(ops, 3);
}

static void die_changing(struct subject *s)
{
        (void)change_much(s);
}

static void die_having_decided(struct subject *s)
{
        static objd_value key, value;
        struct lane *lane;
        struct op op;

        key = objd_int(1);
        value = objd_str(text, 5);
        op_init(&op, OP_DICT_SET, named(s, "other"));
        op.key = &key;
        op.value = &value;
        lane = do_without_commit(&op, 1);
        word_set(&lane->shm->log.state, TXN_COMMITTED);
}

/* In the pool, with the books half written; and a lease, and an anonymous object, that nobody needs any more. */
static void die_in_pool(struct subject *s)
{
        objd_buf buf = OBJD_BUF_INIT;
        struct chunk_shm *chunk;
        struct lane *lane;
        objd_object *object;
        objd_value value;
        uint64_t lease;

        went(objd_queue_get_lease(named(s, "priority"), OBJD_FOREVER, &value, &buf, &lease, OBJD_NOWAIT),
             "lease");
        went(objd_create(&s->conn, NULL, OBJD_LIST, NULL, &object), "anonymous");
        went(lane_enter(s->conn.arena, TIMEOUT_NS, &lane), "enter");
        txn_begin(lane, OP_DICT_SET);
        went(pool_take(lane, object->shm, 1000, &chunk), "take");
        went(pool_take(lane, NULL, 20000, &chunk), "take a log");
        went(pool_begin(lane), "the pool");
        pool_add(lane, &pool_of(lane)->used, 12345);
        pool_add(lane, &pool_of(lane)->n_objects, 3);
}

/* Nothing is retired for good while the epoch of a lane is odd, and nothing that is pinned is freed. */
static void die_reading(struct subject *s)
{
        objd_value key = objd_int(0), value = objd_bytes(text, 20000), found;
        objd_object *dict = named(s, "other");
        struct lane *lane;
        objd_pin *pin;

        went(objd_dict_set(dict, &key, &value), "set");
        went(objd_dict_pin(dict, &key, &found, &pin), "pin");
        went(lane_enter(s->conn.arena, TIMEOUT_NS, &lane), "enter");
}

/* Each of them leaves another thing to be put right. */
static void fill_dead(struct subject *s)
{
        fill_for_the_dead(s);
        die_in(s, die_having_decided, true);
        die_in(s, die_changing, false);
        die_in(s, die_in_pool, true);
}

static void fill_retired(struct subject *s)
{
        objd_value key = objd_int(0), value = objd_int(0);
        objd_object *shards;

        fill_for_the_dead(s);
        went(objd_create(&s->conn, "gone", OBJD_DICT, NULL, &shards), "shards");
        fill_dict(shards, 900, true);
        die_in(s, die_reading, false);
        went(objd_dict_set(s->handles[4].object, &key, &value),
             "set what was pinned");           /* its chunk goes to limbo */
        went(objd_destroy(shards), "destroy"); /* its block of lines is retired */
        objd_release(shards);
}

/* ---- Looking at pages ---------------------------------------------------------------------------------- */

/* Nothing of this is what is tested, and the sanitizers' look at each word would take most of the time. */
#define UNWATCHED __attribute__((no_sanitize("address", "undefined")))

static UNWATCHED bool is_blank(const uint8_t *page)
{
        const uint64_t *words = (const uint64_t *)page;
        uint64_t used = 0;

        for (size_t i = 0; i < PAGE_SIZE / 8; i++)
                used |= words[i];
        return !used;
}

static UNWATCHED void zero_page(uint8_t *page)
{
        uint64_t *words = (uint64_t *)page;

        if (!is_blank(page))
                for (size_t i = 0; i < PAGE_SIZE / 8; i++)
                        words[i] = 0;
}

/* ---- Making -------------------------------------------------------------------------------------------- */

static void add_piece(struct subject *s, uint64_t off, uint64_t size)
{
        struct piece *piece = &s->pieces[s->n_pieces++];

        *piece = (struct piece){ .off = off, .size = (size + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1) };
        piece->bytes = aligned_alloc(PAGE_SIZE, piece->size);
        must(piece->bytes != NULL, "memory");
        memcpy(piece->bytes, s->conn.arena->base + off, piece->size);
        piece->blank = calloc(piece->size / PAGE_SIZE, sizeof(*piece->blank));
        must(piece->blank != NULL, "memory");
        for (uint64_t i = 0; i < piece->size / PAGE_SIZE; i++)
                piece->blank[i] = is_blank(piece->bytes + i * PAGE_SIZE);
}

static void take_picture(struct subject *s)
{
        const struct header_shm *header = s->conn.arena->header;

        add_piece(s, 0, PAGE_SIZE);
        add_piece(s, header->clients_off, (header->clients_high + 1) * CLIENT_SIZE);
        add_piece(s, header->lanes_off, (header->lanes_high + 1) * LANE_SIZE);
        add_piece(s, header->lanes_off + (uint64_t)RESERVE_LANE * LANE_SIZE, LANE_SIZE);
        add_piece(s, header->table_off, s->conn.arena->n_blocks * sizeof(struct block_shm));
        add_piece(s, header->blocks_off, header->pool.frontier << BLOCK_SHIFT);
        for (size_t i = 0; i < s->n_handles; i++)
                s->handles[i].before = *s->handles[i].object;
        s->arena_before = *s->conn.arena;
        s->lane_before = *lane_own;
}

static void subject_make(struct subject *s, const char *name, void (*fill)(struct subject *s))
{
        struct arena *arena;
        struct lane *lane;

        *s = (struct subject){ .name = name };
        went(directory_create_arena(memfd_create("objd-damage", MFD_CLOEXEC), ARENA_BYTES, true, &arena),
             name);
        s->conn = (struct objd_conn){
                .arena = arena,
                .timeout_ns = TIMEOUT_NS,
                .control = -1,
                .fork_generation = fork_generation(),
        };
        fill(s);
        went(lane_enter(arena, TIMEOUT_NS, &lane), "enter"); /* the thread's first lane is this arena's now */
        lane_leave(lane);
        take_picture(s);
        strike_prepare(s);
}

/* The number of a case says which arena is damaged; the larger ones take longer, and come less often. */
#define CASES_IN_A_ROW 50 /* in one arena, which the processor's caches then have */

static const struct {
        const char *name;
        void (*fill)(struct subject *s);
        uint32_t weight;
} kinds_of_subject[N_SUBJECTS] = {
        { "small", fill_small, 5 },   { "dicts", fill_dicts, 3 },     { "segment", fill_segment, 2 },
        { "shards", fill_shards, 1 }, { "lists", fill_lists, 3 },     { "tree", fill_tree, 1 },
        { "leased", fill_leased, 3 }, { "heap", fill_heap, 3 },       { "chain", fill_chain, 2 },
        { "dead", fill_dead, 5 },     { "retired", fill_retired, 2 },
};

struct subject *subject_of(struct subject subjects[N_SUBJECTS], uint64_t number)
{
        uint64_t sum = 0;

        for (size_t i = 0; i < N_SUBJECTS; i++)
                sum += kinds_of_subject[i].weight;
        number = number / CASES_IN_A_ROW % sum;
        for (size_t i = 0; i < N_SUBJECTS; i++) {
                if (number < kinds_of_subject[i].weight)
                        return &subjects[i];
                number -= kinds_of_subject[i].weight;
        }
        return subjects;
}

void subjects_make(struct subject subjects[N_SUBJECTS])
{
        memset(text, 'x', sizeof(text));
        sys.map = map_guarded;
        for (size_t i = 0; i < N_SUBJECTS; i++)
                subject_make(&subjects[i], kinds_of_subject[i].name, kinds_of_subject[i].fill);
        all_subjects = subjects;
        sys.fallocate = keep_memory;
}

void subjects_free(struct subject subjects[N_SUBJECTS])
{
        for (size_t i = 0; i < N_SUBJECTS; i++) {
                struct subject *s = &subjects[i];

                subject_restore(s);
                strike_free(s);
                for (size_t k = 0; k < s->n_pieces; k++) {
                        free(s->pieces[k].bytes);
                        free(s->pieces[k].blank);
                }
                for (size_t k = 0; k < s->n_handles; k++)
                        free(s->handles[k].object);
                leave_arena(s->conn.arena, TIMEOUT_NS);
                arena_unref(s->conn.arena);
        }
}

/* ---- Restoring ----------------------------------------------------------------------------------------- */

/* Whole pages that differ are copied; looking is much cheaper than copying. Blank ones need half of a look. */
static UNWATCHED void restore_pages(uint8_t *base, const struct piece *piece, uint64_t first, uint64_t end,
                                    bool blank_too)
{
        for (uint64_t page = first; page < end; page++) {
                uint64_t *now = (uint64_t *)(base + piece->off + page * PAGE_SIZE), differs = 0;
                const uint64_t *then = (const uint64_t *)(piece->bytes + page * PAGE_SIZE);

                if (piece->blank[page]) {
                        if (blank_too)
                                zero_page((uint8_t *)now);
                        continue;
                }
                for (size_t i = 0; i < PAGE_SIZE / 8; i++)
                        differs |= now[i] ^ then[i];
                if (differs)
                        for (size_t i = 0; i < PAGE_SIZE / 8; i++)
                                now[i] = then[i];
        }
}

static void restore_piece(uint8_t *base, const struct piece *piece)
{
        restore_pages(base, piece, 0, piece->size / PAGE_SIZE, true);
}

static void zero_range(uint8_t *base, uint64_t start, uint64_t end)
{
        for (uint64_t off = start; off < end; off += PAGE_SIZE)
                zero_page(base + off);
}

/*
 * If nothing but an object's own words have been changed, the pool still knows what it gives out: where its table says what it
 * said before, what was blank is blank. A slab that was emptied and filled again to the same count can deceive this, which then
 * ends with the next case that looks everywhere.
 */
static bool may_have_changed(const struct subject *s, uint64_t number)
{
        const struct piece *table = &s->pieces[4];
        const struct block_shm *now = &s->arena_before.blocks[number],
                               *then = (const struct block_shm *)table->bytes + number;

        return s->struck_common || then->state == BLOCK_FREE || then->state == BLOCK_FREE_IN ||
               memcmp(now, then, sizeof(*now)) != 0;
}

/* Blocks, as the table says which need a look; so before the table is put back. */
static void restore_blocks(const struct subject *s)
{
        const struct arena *arena = &s->arena_before;
        const struct piece *blocks = &s->pieces[5];
        uint64_t n_pages = BLOCK_SIZE / PAGE_SIZE, n_before = blocks->size / BLOCK_SIZE;

        for (uint64_t i = 0; i < arena->n_blocks; i++) {
                uint64_t off = blocks->off + i * BLOCK_SIZE;

                if (i < n_before)
                        restore_pages(arena->base, blocks, i * n_pages, (i + 1) * n_pages,
                                      may_have_changed(s, i));
                else if (may_have_changed(s, i))
                        zero_range(arena->base, off, off + BLOCK_SIZE);
        }
}

/* Clients and lanes that have been used for the first time since the picture was taken. */
static void drop_new_memory(struct subject *s)
{
        const struct arena *arena = &s->arena_before;
        const struct piece *clients = &s->pieces[1], *lanes = &s->pieces[2];
        const struct header_shm *header = (const struct header_shm *)(arena->base),
                                *before = (const struct header_shm *)s->pieces[0].bytes;

        if (header->clients_high != before->clients_high)
                zero_range(arena->base, clients->off + clients->size, before->lanes_off);
        if (header->lanes_high != before->lanes_high) /* nobody claims more than a few */
                zero_range(arena->base, lanes->off + lanes->size, lanes->off + lanes->size + 16 * LANE_SIZE);
}

/* The thread may have given its lane up and claimed others; it has the first one again, and no other. */
static void renew_lane(struct subject *s)
{
        struct lane **p = &lane_own, *lane = malloc(sizeof(*lane));

        must(lane != NULL, "memory");
        while (*p) {
                struct lane *old = *p;

                if (old->arena == s->conn.arena) {
                        *p = old->next;
                        free(old);
                } else {
                        p = &old->next;
                }
        }
        *lane = s->lane_before;
        lane->next = lane_own;
        lane_own = lane;
}

void subject_restore(struct subject *s)
{
        renew_lane(s);
        *s->conn.arena = s->arena_before;
        drop_new_memory(s);
        restore_blocks(s);
        for (size_t i = 0; i < s->n_pieces - 1; i++) /* all but the blocks */
                restore_piece(s->arena_before.base, &s->pieces[i]);
        for (size_t i = 0; i < s->n_handles; i++)
                *s->handles[i].object = s->handles[i].before;
}
