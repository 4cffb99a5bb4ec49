/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_pool.c -- chunks of all sizes, runs of blocks and how they join, a full arena, memory that goes back to the system
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "mem/blocks.h"
#include "mem/pool.h"
#include "object/object.h"
#include "support/child.h"
#include "support/inside.h"
#include "support/random.h"
#include "support/test.h"
#include "txn/txn.h"

#define BLOCK_BYTES(n) ((uint64_t)(n)*BLOCK_SIZE - CHUNK_HEAD)

/* An operation under way on an object of its own, whose chunks come and go. */
struct bench {
        objd_conn *conn;
        objd_object *dict;
        struct lane *lane;
        struct object_shm *object;
};

static void bench_begin(struct bench *b, objd_conn *conn)
{
        b->conn = conn;
        b->dict = inside_dict(conn, "dict");
        b->object = b->dict->shm;
        assert_ok(lane_enter(conn->arena, OBJD_FOREVER, &b->lane));
        txn_begin(b->lane, 1);
        assert_ok(lock_take(b->lane, &b->object->line));
}

/* The chunks that were taken go back; a dict without entries has none. */
static void bench_end(struct bench *b)
{
        txn_abort(b->lane);
        lane_leave(b->lane);
        objd_release(b->dict);
}

static struct pool_shm *pool(const struct bench *b)
{
        return &b->conn->arena->header->pool;
}

static struct chunk_shm *take(struct bench *b, uint64_t size)
{
        struct chunk_shm *chunk = NULL;

        assert_ok(txn_take(b->lane, b->object, size, &chunk));
        return chunk;
}

static void give(struct bench *b, struct chunk_shm *chunk)
{
        assert_ok(pool_give(b->lane, chunk));
}

static uint64_t n_free_blocks(struct bench *b)
{
        return pool(b)->frontier - pool(b)->n_used_blocks;
}

static int small_arena(void **state)
{
        objd_conn *conn = NULL;

        assert_ok(objd_connect("embedded:8M", &conn));
        *state = conn;
        return 0;
}

#define SMALL_TEST(name) cmocka_unit_test_setup_teardown(name, small_arena, inside_teardown)

/* ---- Sizes ---------------------------------------------------------------------------------------------- */

static void a_chunk_has_what_was_asked_for_and_what_was_promised(void **state)
{
        struct bench b;

        bench_begin(&b, *state);
        for (uint64_t size = 1; size < 300000; size += 1 + size / 50) {
                struct chunk_shm *chunk = take(&b, size);

                assert_true(chunk_size(chunk) >= size);
                assert_int_equal(chunk_size(chunk), pool_round(size));
                assert_int_equal(arena_off(b.conn->arena, chunk) % 64, 0);
                memset(chunk_data(chunk), 0xff, chunk_size(chunk));
                give(&b, chunk);
        }
        bench_end(&b);
}

static void chunks_of_one_class_do_not_overlap(void **state)
{
        struct bench b;

        bench_begin(&b, *state);
        for (uint32_t size_class = 0; size_class < N_CLASSES; size_class++) {
                uint64_t size = pool_class_size[size_class] - CHUNK_HEAD;
                uint32_t n = 2 * BLOCK_SIZE / pool_class_size[size_class] + 1;
                struct chunk_shm **chunks = calloc(n, sizeof(struct chunk_shm *));

                for (uint32_t i = 0; i < n; i++) {
                        chunks[i] = take(&b, size);
                        memset(chunk_data(chunks[i]), (int)i & 0xff, size);
                }
                for (uint32_t i = 0; i < n; i++) {
                        assert_int_equal(*(uint8_t *)chunk_data(chunks[i]), i & 0xff);
                        assert_int_equal(((uint8_t *)chunk_data(chunks[i]))[size - 1], i & 0xff);
                        give(&b, chunks[i]);
                }
                free(chunks);
        }
        bench_end(&b);
}

static void a_size_over_the_whole_arena_is_refused(void **state)
{
        struct chunk_shm *chunk;
        struct bench b;

        bench_begin(&b, *state);
        assert_status(txn_take(b.lane, b.object, 1ULL << 40, &chunk), OBJD_E_NOMEM);
        assert_status(txn_take(b.lane, b.object, 9 << 20, &chunk), OBJD_E_NOMEM);
        bench_end(&b);
}

/* ---- Runs ------------------------------------------------------------------------------------------------ */

static void free_runs_join_in_whatever_order_they_come_back(void **state)
{
        static const int orders[][4] = {
                { 0, 1, 2, 3 }, { 3, 2, 1, 0 }, { 0, 2, 1, 3 }, { 1, 3, 0, 2 }, { 2, 0, 3, 1 }
        };
        struct bench b;

        bench_begin(&b, *state);
        for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
                struct chunk_shm *chunks[4], *all;
                uint64_t frontier;

                for (int k = 0; k < 4; k++)
                        chunks[k] = take(&b, BLOCK_BYTES(3 + k));
                frontier = pool(&b)->frontier;
                for (int k = 0; k < 4; k++)
                        give(&b, chunks[orders[i][k]]);
                all = take(&b, BLOCK_BYTES(3 + 4 + 5 + 6));
                assert_ptr_equal(all, chunks[0]);
                assert_int_equal(pool(&b)->frontier, frontier);
                give(&b, all);
        }
        bench_end(&b);
}

static void random_runs_leave_nothing_behind(void **state)
{
        struct random random = random_begin("test-pool");
        struct chunk_shm *chunks[40] = { NULL };
        uint64_t used, blocks;
        struct bench b;

        bench_begin(&b, *state);
        used = pool(&b)->used;
        blocks = pool(&b)->n_used_blocks;
        for (int i = 0; i < 20000; i++) {
                struct chunk_shm **chunk = &chunks[random_below(&random, 40)];

                if (*chunk) {
                        give(&b, *chunk);
                        *chunk = NULL;
                } else {
                        uint64_t size = 1ULL << random_below(&random, 20);

                        (void)txn_take(b.lane, b.object, size + random_below(&random, size), chunk);
                }
        }
        for (int i = 0; i < 40; i++)
                if (chunks[i])
                        give(&b, chunks[i]);
        assert_int_equal(pool(&b)->used, used);
        assert_int_equal(pool(&b)->n_used_blocks, blocks);
        bench_end(&b);
}

static void the_frontier_takes_the_free_run_before_it_along(void **state)
{
        struct chunk_shm *first, *larger;
        struct bench b;

        bench_begin(&b, *state);
        first = take(&b, BLOCK_BYTES(10));
        give(&b, first);
        larger = take(&b, BLOCK_BYTES(20));
        assert_ptr_equal(larger, first);
        give(&b, larger);
        bench_end(&b);
}

/* ---- A full arena ----------------------------------------------------------------------------------------- */

static void fill(struct bench *b, uint64_t size, struct chunk_shm **chunks, size_t *n)
{
        struct chunk_shm *chunk;

        while (txn_take(b->lane, b->object, size, &chunk) == OBJD_OK)
                chunks[(*n)++] = chunk;
}

static void a_full_arena_says_so_and_can_be_emptied(void **state)
{
        struct chunk_shm *chunks[1000], *chunk;
        uint64_t used;
        struct bench b;
        size_t n = 0;

        bench_begin(&b, *state);
        used = pool(&b)->used;
        fill(&b, BLOCK_BYTES(5), chunks, &n);
        fill(&b, BLOCK_BYTES(1), chunks, &n);
        assert_status(txn_take(b.lane, b.object, 60000, &chunk), OBJD_E_NOMEM);
        assert_int_equal(pool(&b)->n_used_blocks, pool(&b)->n_blocks);
        while (n)
                give(&b, chunks[--n]);
        assert_int_equal(pool(&b)->used, used);
        bench_end(&b);
}

/*
 * Looking for a run, only the first few of a bin are tried, since others can be had from behind the frontier. In a full arena
 * they cannot, and the run that would do was said not to be there.
 */
static void the_only_run_that_is_long_enough_is_found(void **state)
{
        struct chunk_shm *holes[40], *walls[80], *large, *chunk;
        struct bench b;
        size_t n = 0;

        bench_begin(&b, *state);
        large = take(&b, BLOCK_BYTES(3));
        for (int i = 0; i < 30; i++) {
                walls[n++] = take(&b, BLOCK_BYTES(1));
                holes[i] = take(&b, BLOCK_BYTES(2));
        }
        fill(&b, BLOCK_BYTES(1), walls, &n);
        give(&b, large);
        for (int i = 0; i < 30; i++)
                give(&b, holes[i]);
        assert_int_equal(n_free_blocks(&b), 63);

        chunk = take(&b, BLOCK_BYTES(3));
        assert_ptr_equal(chunk, large);
        give(&b, chunk);
        while (n)
                give(&b, walls[--n]);
        bench_end(&b);
}

/* ---- The system's memory ----------------------------------------------------------------------------------- */

static void deleting_a_large_dict_gives_its_memory_back(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, "dict");
        uint64_t before, full, after;
        objd_stats stats;

        assert_ok(objd_stats_get(conn, &stats));
        before = stats.arena_resident;
        for (int64_t i = 0; i < 200000; i++) {
                objd_value key = objd_int(i), value = objd_bytes("a value that is long enough to matter", 37);

                assert_ok(objd_dict_set(dict, &key, &value));
        }
        assert_ok(objd_stats_get(conn, &stats));
        full = stats.arena_resident;
        assert_ok(objd_destroy(dict));
        objd_release(dict);
        assert_ok(objd_stats_get(conn, &stats));
        after = stats.arena_resident;

        assert_true(full > before + (10 << 20));
        assert_true(after <= before + (1 << 20));
}

/* Blocks of the file that have memory, whatever the books say. */
static uint64_t n_resident_blocks(const struct bench *b)
{
        uint64_t off = b->conn->arena->header->blocks_off, n = 0;

        for (uint32_t i = 0; i < pool(b)->n_blocks; i++, off += BLOCK_SIZE) {
                off_t data = lseek(b->conn->arena->fd, (off_t)off, SEEK_DATA);

                n += data >= 0 && data < (off_t)(off + BLOCK_SIZE);
        }
        return n;
}

/* What taking a chunk does, up to where it would commit. */
static int die_with_a_new_block(void *context)
{
        struct bench *b = context;
        uint32_t number;

        child_ok(lane_enter(b->conn->arena, OBJD_FOREVER, &b->lane));
        child_ok(pool_begin(b->lane));
        child_ok(run_take(b->lane, 1, &number));
        child_ok(run_commit(b->lane, number, 1));
        return 0;
}

/*
 * The block's entry is rolled back, and the memory that it has been given stays. The books must not say that it has none: it would
 * never be given back.
 */
static void a_death_loses_no_memory_of_the_system(void **state)
{
        objd_conn *conn = *state;
        struct bench b = { .conn = conn };

        child_expect_success(child_start(die_with_a_new_block, &b));
        inside_check(conn);
        assert_ok(lane_enter(conn->arena, OBJD_FOREVER, &b.lane));
        pool_trim(b.lane);
        lane_leave(b.lane);
        assert_true(n_resident_blocks(&b) <= pool(&b)->n_used_blocks);
}

/* ---- Who is still looking ------------------------------------------------------------------------------- */

/* Somebody in the middle of a call: what it has found it may still look at. */
struct looker {
        objd_conn *conn;
        struct gate inside, go;
};

static int look_for_a_while(void *context)
{
        struct looker *looker = context;
        struct lane *lane;

        child_ok(lane_enter(looker->conn->arena, OBJD_FOREVER, &lane));
        gate_open(&looker->inside, 1);
        gate_wait(&looker->go);
        lane_leave(lane);
        /* Still alive, with a lane: but what it found before is nothing to it any more. */
        gate_open(&looker->inside, 1);
        gate_wait(&looker->go);
        return 0;
}

static pid_t looker_start(struct looker *looker, objd_conn *conn)
{
        pid_t pid;

        looker->conn = conn;
        gate_init(&looker->inside);
        gate_init(&looker->go);
        pid = child_start(look_for_a_while, looker);
        gate_wait(&looker->inside);
        return pid;
}

static void looker_end(struct looker *looker)
{
        gate_deinit(&looker->inside);
        gate_deinit(&looker->go);
}

static void trim(struct bench *b)
{
        assert_ok(lane_enter(b->conn->arena, OBJD_FOREVER, &b->lane));
        pool_trim(b->lane);
        lane_leave(b->lane);
}

/* So large that it has a run of blocks to itself. */
static void set_big(objd_object *dict)
{
        static char bytes[20 * BLOCK_SIZE];
        objd_value key = objd_int(1), value = objd_bytes(bytes, sizeof(bytes));

        assert_ok(objd_dict_set(dict, &key, &value));
}

static void del_big(objd_object *dict)
{
        objd_value key = objd_int(1);

        assert_ok(objd_dict_del(dict, &key));
}

/* Somebody inside a call delays that free memory goes back to the system, for as long as the call takes; it is used again meanwhile. */
static void who_is_still_looking_delays_punching_and_never_reuse(void **state)
{
        struct bench b = { .conn = *state };
        objd_object *dict = inside_dict(b.conn, "dict");
        struct looker looker;
        uint64_t kept, frontier;
        pid_t pid;

        set_big(dict);
        frontier = pool(&b)->frontier;
        pid = looker_start(&looker, b.conn);
        del_big(dict);
        kept = n_resident_blocks(&b);
        assert_true(kept >= pool(&b)->n_used_blocks + 20);
        for (int i = 0; i < 5; i++) {
                trim(&b);
                assert_int_equal(n_resident_blocks(&b), kept);
                set_big(dict);
                assert_int_equal(pool(&b)->frontier, frontier);
                assert_int_equal(n_resident_blocks(&b), kept);
                del_big(dict);
        }
        trim(&b);
        assert_int_equal(n_resident_blocks(&b), kept);

        gate_open(&looker.go, 1);
        gate_wait(&looker.inside);
        trim(&b);
        assert_true(n_resident_blocks(&b) <= pool(&b)->n_used_blocks);
        gate_open(&looker.go, 1);
        child_expect_success(pid);
        looker_end(&looker);
        objd_release(dict);
}

/* Who dies inside a call looks at nothing any more, as soon as somebody has noticed. */
static void who_has_died_while_looking_delays_punching_no_longer(void **state)
{
        struct bench b = { .conn = *state };
        objd_object *dict = inside_dict(b.conn, "dict");
        struct looker looker;

        set_big(dict);
        child_kill(looker_start(&looker, b.conn));
        del_big(dict);
        inside_check(b.conn); /* which recovers first */
        trim(&b);
        assert_true(n_resident_blocks(&b) <= pool(&b)->n_used_blocks);
        looker_end(&looker);
        objd_release(dict);
}

/* A block of lines that nobody can find any more becomes ordinary memory once nobody may have found it before. */
static void a_block_of_lines_is_lines_for_as_long_as_somebody_is_looking(void **state)
{
        struct bench b = { .conn = *state };
        objd_object *objects[2 * SLOTS_PER_BLOCK];
        uint64_t retired = word_get(&b.conn->arena->header->retire_count);
        struct looker looker;
        pid_t pid;

        for (uint32_t i = 0; i < 2 * SLOTS_PER_BLOCK; i++)
                assert_ok(objd_create(b.conn, NULL, OBJD_LOCK, NULL, &objects[i]));
        pid = looker_start(&looker, b.conn);
        for (uint32_t i = 0; i < 2 * SLOTS_PER_BLOCK; i++) {
                assert_ok(objd_destroy(objects[i]));
                objd_release(objects[i]);
        }
        assert_true(word_get(&b.conn->arena->header->retire_count) > retired);
        trim(&b);
        assert_true(pool(&b)->retired);

        gate_open(&looker.go, 1);
        gate_wait(&looker.inside);
        trim(&b);
        assert_false(pool(&b)->retired);
        gate_open(&looker.go, 1);
        child_expect_success(pid);
        looker_end(&looker);
}

/* ---- A file system without room -------------------------------------------------------------------------- */

static int (*real_fallocate)(int fd, int mode, int64_t off, int64_t size);
static int64_t room; /* bytes that the file system has left; below 0: none at all */

static int fallocate_with_limit(int fd, int mode, int64_t off, int64_t size)
{
        if (!mode && (room -= size) < 0) {
                errno = ENOSPC;
                return -1;
        }
        return real_fallocate(fd, mode, off, size);
}

static void a_full_file_system_is_no_memory_and_changes_nothing(void **state)
{
        struct chunk_shm *chunk;
        uint64_t used, blocks;
        struct bench b;

        bench_begin(&b, *state);
        used = pool(&b)->used;
        blocks = pool(&b)->n_used_blocks;
        real_fallocate = sys.fallocate;
        sys.fallocate = fallocate_with_limit;
        for (int64_t limit = 0; limit < 4 << 20; limit += BLOCK_SIZE / 2) {
                for (uint64_t size = 100; size < 3 << 20; size *= 3) {
                        room = limit;
                        if (txn_take(b.lane, b.object, size, &chunk) == OBJD_OK)
                                give(&b, chunk);
                        assert_int_equal(pool(&b)->used, used);
                        assert_int_equal(pool(&b)->n_used_blocks, blocks);
                        pool_trim(b.lane);
                }
        }
        sys.fallocate = real_fallocate;
        bench_end(&b);
}

/* ---- What free blocks keep ------------------------------------------------------------------------------- */

static uint32_t n_asked; /* how often the system has been asked to give memory or take it */

static int fallocate_counted(int fd, int mode, int64_t off, int64_t size)
{
        n_asked++;
        return real_fallocate(fd, mode, off, size);
}

/* The new value comes to lie where the one before the last was, whose memory is there. What is deleted goes back. */
static void a_value_that_is_replaced_finds_memory_and_a_deleted_one_keeps_none(void **state)
{
        struct bench b = { .conn = *state };
        objd_object *dict = inside_dict(b.conn, "dict");

        real_fallocate = sys.fallocate;
        sys.fallocate = fallocate_counted;
        for (int i = 0; i < 3; i++)
                set_big(dict);
        n_asked = 0;
        for (int i = 0; i < 100; i++)
                set_big(dict);
        assert_int_equal(n_asked, 0);
        assert_true(n_resident_blocks(&b) <= 2 * pool(&b)->n_used_blocks);

        del_big(dict);
        assert_true(pool(&b)->n_used_blocks < 20);
        assert_true(n_resident_blocks(&b) <= 2 * pool(&b)->n_used_blocks + KEEP_BLOCKS);
        sys.fallocate = real_fallocate;
        objd_release(dict);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(a_chunk_has_what_was_asked_for_and_what_was_promised),
                INSIDE_TEST(chunks_of_one_class_do_not_overlap),
                SMALL_TEST(a_size_over_the_whole_arena_is_refused),
                INSIDE_TEST(free_runs_join_in_whatever_order_they_come_back),
                SMALL_TEST(random_runs_leave_nothing_behind),
                INSIDE_TEST(the_frontier_takes_the_free_run_before_it_along),
                SMALL_TEST(a_full_arena_says_so_and_can_be_emptied),
                SMALL_TEST(the_only_run_that_is_long_enough_is_found),
                INSIDE_TEST(deleting_a_large_dict_gives_its_memory_back),
                INSIDE_TEST(a_death_loses_no_memory_of_the_system),
                INSIDE_TEST(who_is_still_looking_delays_punching_and_never_reuse),
                INSIDE_TEST(who_has_died_while_looking_delays_punching_no_longer),
                INSIDE_TEST(a_block_of_lines_is_lines_for_as_long_as_somebody_is_looking),
                INSIDE_TEST(a_full_file_system_is_no_memory_and_changes_nothing),
                INSIDE_TEST(a_value_that_is_replaced_finds_memory_and_a_deleted_one_keeps_none),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
