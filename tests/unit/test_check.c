/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_check.c -- object/check*.c: a sound arena has no faults, each damage is found, and none makes the
 * checker crash or hang
 *
 * Damage is done in a child to an arena of its own. The random part prints its seed; run it again with
 * "test-check SEED"; "test-check SEED alone" does only this one, and in the process itself.
 */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mem/pool.h"
#include "object/check.h"
#include "object/dict.h"
#include "object/object.h"
#include "support/child.h"
#include "support/test.h"
#include "txn/txn.h"

#define N_ENTRIES 3000 /* a dict with shards */
#define N_RANDOM 300   /* damaged arenas */
#define N_LIVE 30      /* checks of an arena in use */
#define N_WORDS 4      /* damaged words of one, at most */

static uint64_t seed;

/* ---- An arena with something of everything ------------------------------------------------------------ */

static void fill_dict(objd_object *dict, int n)
{
        char text[6000];

        memset(text, 'x', sizeof(text));
        for (int i = 0; i < n; i++) {
                objd_value key = objd_int(i),
                           value = objd_str(text, i % 100 ? (size_t)(i % 50) : sizeof(text));

                child_ok(objd_dict_set(dict, &key, &value));
        }
        for (int i = 0; i < n; i += 3) {
                objd_value key = objd_int(i);
                objd_status r = objd_dict_del(dict, &key);

                child_check(r == OBJD_OK || r == OBJD_E_NOTFOUND); /* two may be at the same dict */
        }
}

static void fill_list(objd_object *list)
{
        for (int i = 0; i < 2000; i++) {
                objd_value value = objd_int(i);

                child_ok(i % 2 ? objd_list_append(list, &value) : objd_list_insert(list, i / 3, &value));
        }
}

static void fill_queue(objd_object *queue, bool priority)
{
        objd_value value = objd_cstr("an item of a queue");
        objd_buf buf = OBJD_BUF_INIT;
        uint64_t lease;

        for (int i = 0; i < 500; i++)
                child_ok(priority ? objd_queue_put_priority(queue, &value, i * 37 % 11, OBJD_NOWAIT)
                                  : objd_queue_put(queue, &value, OBJD_NOWAIT));
        for (int i = 0; i < 100; i++)
                child_ok(objd_queue_get(queue, &value, &buf, OBJD_NOWAIT));
        child_ok(objd_queue_get_lease(queue, OBJD_FOREVER, &value, &buf, &lease, OBJD_NOWAIT));
        objd_buf_free(&buf);
}

static objd_object *make(objd_conn *conn, const char *name, objd_kind kind, objd_order order)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *object;

        config.order = order;
        child_ok(objd_create(conn, name, kind, &config, &object));
        return object;
}

/* A hundred objects come and go, so that there are free slots and free blocks as well. */
static void make_gaps(objd_conn *conn)
{
        char name[100];

        for (int i = 0; i < 100; i++) {
                snprintf(name, sizeof(name), "an object with a name that is too long for its slot %d", i);
                objd_object *dict = make(conn, name, OBJD_DICT, OBJD_FIFO);

                fill_dict(dict, i % 10 ? 10 : 1000);
                if (i % 2)
                        child_ok(objd_destroy(dict));
                objd_release(dict);
        }
}

/* Blocks that are free for sure, wherever the random hash has put everything else. */
static void make_free_run(objd_conn *conn)
{
        static char large[200000];
        objd_object *list = make(conn, "large value", OBJD_LIST, OBJD_FIFO);
        objd_value value = objd_bytes(large, sizeof(large));

        child_ok(objd_list_append(list, &value));
        child_ok(objd_destroy(list));
        objd_release(list);
}

static objd_conn *make_arena(void)
{
        objd_conn *conn;
        uint64_t token;

        child_ok(objd_connect("embedded:64M", &conn));
        fill_dict(make(conn, "small", OBJD_DICT, OBJD_FIFO), 20);
        fill_dict(make(conn, "large", OBJD_DICT, OBJD_FIFO), N_ENTRIES);
        fill_dict(make(conn, NULL, OBJD_DICT, OBJD_FIFO), 5);
        fill_list(make(conn, "list", OBJD_LIST, OBJD_FIFO));
        fill_queue(make(conn, "fifo", OBJD_QUEUE, OBJD_FIFO), false);
        fill_queue(make(conn, "lifo", OBJD_QUEUE, OBJD_LIFO), false);
        fill_queue(make(conn, "priority", OBJD_QUEUE, OBJD_PRIORITY), true);
        child_ok(objd_lock_take(make(conn, "lock", OBJD_LOCK, OBJD_FIFO), OBJD_NOWAIT, &token));
        make_gaps(conn);
        make_free_run(conn);
        child_ok(objd_set_timeout(conn, 1000000)); /* a damaged lock is not worth waiting for */
        return conn;
}

/* ---- What the checker says ---------------------------------------------------------------------------- */

struct faults {
        uint64_t n;
        char first[512];
        bool print;
};

static void note_fault(void *context, const char *object, const char *sentence)
{
        struct faults *faults = context;

        if (!faults->n++)
                snprintf(faults->first, sizeof(faults->first), "%s: %s", object, sentence);
        if (faults->print)
                fprintf(stderr, "%s: %s\n", object, sentence);
}

static struct objd_object *open_named(objd_conn *conn, const char *name)
{
        objd_object *object;

        child_ok(objd_open(conn, name, OBJD_KIND_ANY, &object));
        return object;
}

/* ---- A sound arena ------------------------------------------------------------------------------------ */

static int check_sound_arena(void *context)
{
        objd_conn *conn = make_arena();
        struct faults faults = { .print = true };
        uint64_t n = 1;

        (void)context;
        child_ok(check_arena(conn, note_fault, &faults, &n));
        child_check(n == 0 && faults.n == 0);
        objd_close(conn);
        return 0;
}

static void sound_arena_has_no_faults(void **state)
{
        (void)state;
        child_expect_success(child_start(check_sound_arena, NULL));
}

static int check_empty_arena(void *context)
{
        struct faults faults = { .print = true };
        objd_conn *conn;
        uint64_t n = 1;

        (void)context;
        child_ok(objd_connect("embedded:1M", &conn));
        child_ok(check_arena(conn, note_fault, &faults, &n));
        child_check(n == 0);
        objd_close(conn);
        return 0;
}

static void empty_arena_has_no_faults(void **state)
{
        (void)state;
        child_expect_success(child_start(check_empty_arena, NULL));
}

/* ---- An arena in use --------------------------------------------------------------------------------- */

struct holder {
        objd_conn *conn;
        const char *name;
        struct gate ready;
};

static int hold_line(void *context)
{
        struct holder *holder = context;
        struct objd_object *dict = open_named(holder->conn, holder->name);
        struct lane *lane;

        child_ok(lane_enter(holder->conn->arena, OBJD_NOWAIT, &lane));
        child_ok(lock_take(lane, &dict->shm->line));
        gate_open(&holder->ready, 1);
        pause();
        return 0;
}

/* Gives the process that holds it. */
static pid_t hold(objd_conn *conn, const char *name)
{
        struct holder holder = { .conn = conn, .name = name };
        pid_t pid;

        gate_init(&holder.ready);
        pid = child_start(hold_line, &holder);
        gate_wait(&holder.ready);
        return pid;
}

/* The checker cannot look at an object that somebody holds, but at all others. */
static int check_held_object(void *context)
{
        objd_conn *conn = make_arena();
        pid_t pid = hold(conn, "small");
        struct faults faults = { .print = true };
        char expect[40];
        uint64_t n = 1;

        (void)context;
        open_named(conn, "large")->shm->line.root[1]++;
        child_check(check_arena(conn, note_fault, &faults, &n) == OBJD_E_BUSY);
        snprintf(expect, sizeof(expect), "process %d ", (int)pid);
        child_check(strstr(objd_last_error(), expect));
        open_named(conn, "large")->shm->line.root[1]--;

        /* Once the holder is dead, its lock is given by whoever comes next, and everything is as it should be. */
        child_kill(pid);
        faults.n = 0;
        child_ok(check_arena(conn, note_fault, &faults, &n));
        child_check(n == 0);
        return 0;
}

static void held_object_is_named_and_the_rest_is_checked(void **state)
{
        (void)state;
        child_expect_success(child_start(check_held_object, NULL));
}

/* Its lines are just being given to it, or taken from it: by whoever holds it. */
static int check_changing_object(void *context)
{
        objd_conn *conn = make_arena();
        struct line_shm *shards = dict_shards(conn->arena, open_named(conn, "large")->shm);
        pid_t pid = hold(conn, "large");
        struct faults faults = { .print = true };
        uint64_t n = 0;

        (void)context;
        child_check(shards != NULL);
        shards[DICT_SHARDS - 1].serial++;
        child_check(check_arena(conn, note_fault, &faults, &n) == OBJD_E_BUSY);
        child_check(faults.n == 0);
        child_kill(pid);
        return 0;
}

static void changing_object_is_not_damaged(void **state)
{
        (void)state;
        child_expect_success(child_start(check_changing_object, NULL));
}

/* Others change objects, make and delete them all the time; none of it may look like a fault. */
static int keep_changing(void *context)
{
        objd_conn *conn = context;
        char name[40];

        for (int i = 0;; i++) {
                objd_object *dict;

                snprintf(name, sizeof(name), "%d of %d, and a name that needs memory", i % 7, (int)getpid());
                dict = make(conn, i % 3 ? name : NULL, OBJD_DICT, OBJD_FIFO);
                fill_dict(dict, i % 5 ? 30 : 1500);
                fill_dict(open_named(conn, "large"), 50);
                child_ok(objd_destroy(dict));
        }
        return 0;
}

static int check_while_others_change(void *context)
{
        objd_conn *conn = make_arena();
        struct faults faults = { .print = true };
        pid_t pids[3];

        (void)context;
        child_ok(objd_set_timeout(conn, 20000000000LL));
        for (int i = 0; i < 3; i++)
                pids[i] = child_start(keep_changing, conn);
        for (int i = 0; i < N_LIVE; i++) {
                uint64_t n = 1;

                child_ok(check_arena(conn, note_fault, &faults, &n));
                child_check(n == 0);
        }
        for (int i = 0; i < 3; i++) {
                kill(pids[i], SIGKILL);
                waitpid(pids[i], NULL, 0);
        }
        return 0;
}

static void arena_in_use_has_no_faults(void **state)
{
        (void)state;
        child_expect_success(child_start(check_while_others_change, NULL));
}

/* ---- Damage of each kind ------------------------------------------------------------------------------ */

static struct block_shm *find_block(const struct arena *arena, uint8_t block_state)
{
        for (uint64_t i = 0; i < arena->header->pool.frontier; i++)
                if (arena->blocks[i].state == block_state)
                        return &arena->blocks[i];
        child_fail("there is no such block", __FILE__, __LINE__);
}

static struct chunk_shm *first_chunk(objd_conn *conn, const char *name)
{
        struct objd_object *object = open_named(conn, name);

        child_check(object->shm->chunks);
        return (struct chunk_shm *)(conn->arena->base + object->shm->chunks);
}

static void damage_slab_count(objd_conn *conn)
{
        find_block(conn->arena, BLOCK_SLAB)->n_used++;
}

static void damage_slab_free_list(objd_conn *conn)
{
        struct block_shm *block = find_block(conn->arena, BLOCK_SLAB);

        block->free = block->carved + 5;
}

static void damage_slab_class(objd_conn *conn)
{
        find_block(conn->arena, BLOCK_SLAB)->size_class = 200;
}

static void damage_block_state(objd_conn *conn)
{
        find_block(conn->arena, BLOCK_SLAB)->state = 77;
}

static void damage_free_run(objd_conn *conn)
{
        find_block(conn->arena, BLOCK_FREE)->run += 3;
}

static void damage_bin(objd_conn *conn)
{
        memset(conn->arena->header->pool.bins, 0, sizeof(conn->arena->header->pool.bins));
}

static void damage_list_of_slabs(objd_conn *conn)
{
        conn->arena->header->pool.slabs[0] = UINT32_MAX;
}

static void damage_used(objd_conn *conn)
{
        conn->arena->header->pool.used += 256;
}

static void damage_slot_bitmap(objd_conn *conn)
{
        uint64_t block = (uint64_t)(find_block(conn->arena, BLOCK_SLOTS) - conn->arena->blocks);
        struct slot_block_shm *head = (struct slot_block_shm *)(conn->arena->data + (block << BLOCK_SHIFT));

        head->used[7] |= 1ULL << 63;
}

static void damage_chunk_head(objd_conn *conn)
{
        first_chunk(conn, "small")->info ^= 1ULL << 50;
}

static void damage_chunk_owner(objd_conn *conn)
{
        first_chunk(conn, "small")->owner += SLOT_SIZE;
}

static void damage_chunk_links(objd_conn *conn)
{
        struct chunk_shm *chunk = first_chunk(conn, "large");

        chunk->next = arena_off(conn->arena, chunk);
}

static void damage_memory(objd_conn *conn)
{
        open_named(conn, "small")->shm->memory += 64;
}

/* The object forgets its chunks: they are given out, and in no list. */
static void damage_chunk_list(objd_conn *conn)
{
        open_named(conn, "small")->shm->chunks = 0;
}

static void damage_kind(objd_conn *conn)
{
        open_named(conn, "small")->shm->line.config = 99;
}

static void damage_name(objd_conn *conn)
{
        open_named(conn, "small")->shm->name[0] = 'S';
}

static void damage_name_entry(objd_conn *conn)
{
        open_named(conn, "small")->shm->line.serial += 1000000;
}

static void damage_dict_root(objd_conn *conn)
{
        open_named(conn, "small")->shm->line.root[0] ^= 1ULL << 20;
}

static void damage_dict_count(objd_conn *conn)
{
        open_named(conn, "small")->shm->line.root[1]++;
}

/* A lock that names a lane which nobody has. */
static void damage_lock(objd_conn *conn)
{
        open_named(conn, "small")->shm->line.word |= 3000ULL << LOCK_LANE_SHIFT | LOCK_WRITING;
}

static void damage_idle_lane(objd_conn *conn)
{
        struct lane_shm *lane = arena_lane(conn->arena, 2);

        half_set(&lane->n_locks, 1);
        word_set(&conn->arena->header->lanes_high, 3);
}

struct damage {
        const char *name;
        void (*fn)(objd_conn *conn);
};

static const struct damage damages[] = {
        { "slab count", damage_slab_count },
        { "slab free list", damage_slab_free_list },
        { "slab class", damage_slab_class },
        { "block state", damage_block_state },
        { "free run", damage_free_run },
        { "bin", damage_bin },
        { "list of slabs", damage_list_of_slabs },
        { "bytes in use", damage_used },
        { "slot bitmap", damage_slot_bitmap },
        { "chunk head", damage_chunk_head },
        { "chunk owner", damage_chunk_owner },
        { "chunk links", damage_chunk_links },
        { "object memory", damage_memory },
        { "object's list of chunks", damage_chunk_list },
        { "kind", damage_kind },
        { "name", damage_name },
        { "entry of a name", damage_name_entry },
        { "root of a dict", damage_dict_root },
        { "count of a dict", damage_dict_count },
        { "lock of nobody", damage_lock },
        { "leftover in a lane", damage_idle_lane },
};

static int check_damage(void *context)
{
        const struct damage *damage = context;
        objd_conn *conn = make_arena();
        struct faults faults = { 0 };
        objd_status r;
        uint64_t n;

        alarm(PATIENCE_S);
        damage->fn(conn);
        r = check_arena(conn, note_fault, &faults, &n);
        if (!faults.n) {
                fprintf(stderr, "damage \"%s\": %s, and no fault was found\n", damage->name,
                        objd_strerror(r));
                return 1;
        }
        printf("%s -> %s\n", damage->name, faults.first);
        fflush(stdout);
        return 0; /* closing the damaged arena is another matter */
}

static void each_damage_is_found(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
                struct damage damage = damages[i];

                child_expect_success(child_start(check_damage, &damage));
        }
}

/* ---- Damage at random --------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
        *state += 0x9e3779b97f4a7c15ULL; /* splitmix64 */
        uint64_t z = *state;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
        return z ^ z >> 31;
}

/*
 * A word somewhere in the books, the objects or their memory. Constants of the header are what attaching
 * looks at.
 */
static uint64_t *some_word(const struct arena *arena, uint64_t *random)
{
        uint64_t n_blocks = arena->header->pool.frontier, n;

        switch (next_random(random) % 4) {
        case 0:
                n = n_blocks * sizeof(struct block_shm) / 8;
                return (uint64_t *)arena->blocks + next_random(random) % n;
        case 1:
                n = sizeof(struct pool_shm) / 8 - 8;
                return (uint64_t *)&arena->header->pool + 8 + next_random(random) % n;
        default:
                for (;;) {
                        uint64_t block = next_random(random) % n_blocks;
                        uint8_t block_state = arena->blocks[block].state;

                        /* Free blocks may have no memory, and none is taken for nothing. */
                        if (block_state == BLOCK_SLAB || block_state == BLOCK_SLOTS ||
                            block_state == BLOCK_GROUPS)
                                return (uint64_t *)(arena->data + (block << BLOCK_SHIFT)) +
                                       next_random(random) % (BLOCK_SIZE / 8);
                }
        }
}

static uint64_t some_value(uint64_t old, uint64_t *random)
{
        switch (next_random(random) % 4) {
        case 0:
                return old ^ 1ULL << next_random(random) % 64;
        case 1:
                return old + next_random(random) % 512 - 256;
        case 2:
                return next_random(random) % (64 << 20) & ~63ULL; /* an offset, perhaps */
        default:
                return next_random(random);
        }
}

static objd_status ignore_entry(void *context, const objd_value *key, const objd_value *value)
{
        (void)context;
        (void)key;
        (void)value;
        return OBJD_OK;
}

/* What the tools do. Any answer will do, but there must be one. */
static void look_at_everything(objd_conn *conn)
{
        objd_info *infos, info;
        objd_object *object;
        size_t len;

        if (objd_list(conn, NULL, &infos, &len))
                return;
        for (size_t i = 0; i < len; i++) {
                if (objd_open_ref(conn, infos[i].ref, OBJD_KIND_ANY, &object))
                        continue;
                (void)objd_info_get(object, &info);
                (void)kind_of(object_kind(object->config))->walk(object, 1000, ignore_entry, NULL);
                objd_release(object);
        }
        objd_infos_free(infos);
}

static int check_random_damage(void *context)
{
        uint64_t random = *(uint64_t *)context;
        objd_conn *conn = make_arena();
        uint64_t n_words = next_random(&random) % N_WORDS + 1, *words[N_WORDS], n;
        struct faults faults = { 0 };

        signal(SIGSEGV, SIG_DFL); /* cmocka has its own idea of it, which a child is better without */
        alarm(PATIENCE_S);
        for (uint64_t i = 0; i < n_words; i++)
                words[i] = some_word(conn->arena, &random);
        for (uint64_t i = 0; i < n_words; i++)
                word_set(words[i], some_value(word_get(words[i]), &random));
        (void)check_arena(conn, note_fault, &faults, &n);
        look_at_everything(conn);
        return 0;
}

static void random_damage_never_crashes_who_looks(void **state)
{
        (void)state;
        print_message("seed %" PRIu64 "\n", seed);
        for (uint64_t i = 0; i < N_RANDOM; i++) {
                uint64_t own = seed + i;
                int status = child_wait(child_start(check_random_damage, &own));

                if (status)
                        fail_msg("the checker ended with wait status %#x; again with: test-check %" PRIu64,
                                 status, own);
        }
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(empty_arena_has_no_faults),
                cmocka_unit_test(sound_arena_has_no_faults),
                cmocka_unit_test(held_object_is_named_and_the_rest_is_checked),
                cmocka_unit_test(changing_object_is_not_damaged),
                cmocka_unit_test(arena_in_use_has_no_faults),
                cmocka_unit_test(each_damage_is_found),
                cmocka_unit_test(random_damage_never_crashes_who_looks),
        };

        seed = argc > 1 ? strtoull(argv[1], NULL, 10) : (uint64_t)time(NULL);
        if (argc > 2)
                return check_random_damage(&seed);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
