/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_txn.c -- operations: what is undone, what is completed, by their owners and by others; logs that grow; damaged lanes
 */

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem/pool.h"
#include "object/object.h"
#include "support/child.h"
#include "support/image.h"
#include "support/inside.h"
#include "support/random.h"
#include "support/test.h"
#include "txn/recover.h"
#include "txn/txn.h"

/* An operation under way on an object of its own. */
struct bench {
        objd_conn *conn;
        objd_object *dict;
        struct lane *lane;
        struct object_shm *object;
        uint64_t used;
};

static void bench_begin(struct bench *b, objd_conn *conn)
{
        b->conn = conn;
        b->dict = inside_dict(conn, "dict");
        b->object = b->dict->shm;
        b->used = conn->arena->header->pool.used;
        child_ok(lane_enter(conn->arena, OBJD_FOREVER, &b->lane));
        txn_begin(b->lane, 1);
        child_ok(lock_take(b->lane, &b->object->line));
}

static void bench_end(struct bench *b)
{
        lane_leave(b->lane);
        objd_release(b->dict);
}

static void expect_idle(const struct bench *b)
{
        const struct lane_shm *shm = b->lane->shm;

        assert_int_equal(shm->log.state, TXN_IDLE);
        assert_int_equal(shm->taken, 0);
        assert_int_equal(shm->doomed, 0);
        assert_int_equal(shm->log_chunk, 0);
        assert_int_equal(shm->n_locks, 0);
        assert_int_equal(shm->n_new_slots, 0);
        assert_int_equal(shm->n_dead_slots, 0);
        assert_false(lock_is_held(b->lane, &b->object->line));
}

/* ---- Undoing and completing -------------------------------------------------------------------------------- */

static void an_aborted_operation_puts_every_word_back(void **state)
{
        uint64_t before[5];
        struct bench b;

        bench_begin(&b, *state);
        memcpy(before, b.object->line.root, sizeof(before));
        assert_ok(txn_reserve(b.lane, 1000, 100));
        for (uint64_t i = 0; i < 50; i++)
                txn_set(b.lane, &b.object->line.root[i % 5], i * 1000);
        txn_write(b.lane, b.object->line.root, (uint64_t[]){ 1, 2, 3 }, 24);
        txn_abort(b.lane);

        assert_memory_equal(before, b.object->line.root, sizeof(before));
        expect_idle(&b);
        bench_end(&b);
}

static void chunks_go_back_with_an_abort_and_stay_with_a_commit(void **state)
{
        struct chunk_shm *chunk;
        struct bench b;

        bench_begin(&b, *state);
        assert_ok(txn_take(b.lane, b.object, 1000, &chunk));
        assert_ok(txn_take(b.lane, b.object, 100000, &chunk));
        assert_int_equal(b.object->memory, 0);
        txn_abort(b.lane);
        assert_int_equal(b.conn->arena->header->pool.used, b.used);
        expect_idle(&b);

        txn_begin(b.lane, 1);
        assert_ok(lock_take(b.lane, &b.object->line));
        assert_ok(txn_take(b.lane, b.object, 1000, &chunk));
        assert_ok(txn_commit(b.lane));
        assert_int_equal(b.object->memory, chunk_size(chunk) + CHUNK_HEAD);
        assert_int_equal(chunk_list_of(chunk), CHUNK_OF_OBJECT);
        expect_idle(&b);

        txn_begin(b.lane, 1);
        assert_ok(lock_take(b.lane, &b.object->line));
        assert_ok(txn_free(b.lane, chunk));
        assert_int_equal(b.object->memory, 0);
        txn_abort(b.lane);
        assert_int_equal(b.object->memory, chunk_size(chunk) + CHUNK_HEAD);

        txn_begin(b.lane, 1);
        assert_ok(lock_take(b.lane, &b.object->line));
        assert_ok(txn_free(b.lane, chunk));
        assert_ok(txn_commit(b.lane));
        assert_int_equal(b.conn->arena->header->pool.used, b.used);
        expect_idle(&b);
        bench_end(&b);
}

static void what_one_operation_takes_and_frees_is_gone_either_way(void **state)
{
        struct chunk_shm *chunk;
        struct bench b;

        bench_begin(&b, *state);
        for (int commit = 0; commit < 2; commit++) {
                assert_ok(txn_take(b.lane, b.object, 1000, &chunk));
                assert_ok(txn_free(b.lane, chunk));
                if (commit)
                        assert_ok(txn_commit(b.lane));
                else
                        txn_abort(b.lane);
                assert_int_equal(b.object->chunks, 0);
                assert_int_equal(b.conn->arena->header->pool.used, b.used);
                txn_begin(b.lane, 1);
                assert_ok(lock_take(b.lane, &b.object->line));
        }
        txn_abort(b.lane);
        bench_end(&b);
}

static void slots_and_groups_go_back_with_an_abort(void **state)
{
        uint64_t n_objects;
        struct object_shm *slot;
        struct line_shm *lines;
        struct bench b;

        bench_begin(&b, *state);
        n_objects = b.conn->arena->header->pool.n_objects;
        for (int i = 0; i < 20; i++) {
                assert_ok(txn_take_slot(b.lane, &slot));
                assert_ok(txn_take_group(b.lane, &lines));
        }
        txn_abort(b.lane);

        assert_int_equal(b.conn->arena->header->pool.n_objects, n_objects);
        assert_int_equal(b.conn->arena->header->pool.used, b.used);
        expect_idle(&b);
        bench_end(&b);
}

static void one_operation_makes_only_as_many_objects_as_its_lane_can_name(void **state)
{
        struct object_shm *slot;
        struct bench b;

        bench_begin(&b, *state);
        for (uint32_t i = 0; i < LANE_SLOTS; i++)
                assert_ok(txn_take_slot(b.lane, &slot));
        assert_status(txn_take_slot(b.lane, &slot), OBJD_E_LIMIT);
        txn_abort(b.lane);
        expect_idle(&b);
        bench_end(&b);
}

/* ---- Logs --------------------------------------------------------------------------------------------------- */

static void a_log_grows_as_often_as_it_must(void **state)
{
        struct chunk_shm *chunk;
        uint64_t *words;
        struct bench b;

        bench_begin(&b, *state);
        assert_ok(txn_take(b.lane, b.object, 400000, &chunk));
        words = chunk_data(chunk);
        for (uint64_t i = 0; i < 50000; i++)
                words[i] = i;
        assert_ok(txn_commit(b.lane));
        for (int commit = 0; commit < 2; commit++) {
                txn_begin(b.lane, 1);
                assert_ok(lock_take(b.lane, &b.object->line));
                for (uint64_t i = 0; i < 50000; i++) {
                        assert_ok(txn_reserve(b.lane, 8, 1));
                        txn_set(b.lane, &words[i], UINT64_MAX);
                }
                if (commit)
                        assert_ok(txn_commit(b.lane));
                else
                        txn_abort(b.lane);
                expect_idle(&b);
                assert_int_equal(b.lane->shm->log.capacity, LANE_LOG);
                for (uint64_t i = 0; i < 50000; i++)
                        assert_int_equal(words[i], commit ? UINT64_MAX : i);
        }
        txn_begin(b.lane, 1);
        assert_ok(lock_take(b.lane, &b.object->line));
        assert_ok(txn_free(b.lane, chunk));
        assert_ok(txn_commit(b.lane));
        assert_int_equal(b.conn->arena->header->pool.used, b.used);
        bench_end(&b);
}

static void an_operation_that_did_not_make_room_changes_nothing(void **state)
{
        uint64_t before;
        struct bench b;

        bench_begin(&b, *state);
        before = b.object->line.root[1];
        for (uint64_t i = 0; i < 2000; i++)
                txn_set(b.lane, &b.object->line.root[1], i);
        assert_status(txn_commit(b.lane), OBJD_E_NOMEM);

        assert_int_equal(b.object->line.root[1], before);
        expect_idle(&b);
        bench_end(&b);
}

/* ---- Others finish it ---------------------------------------------------------------------------------------- */

struct death {
        struct bench bench;
        uint64_t state; /* of the transaction when it dies */
};

/* Changes, takes, frees, makes and deletes; and dies. */
static int die(void *context)
{
        struct death *death = context;
        struct bench *b = &death->bench;
        struct object_shm *slot;
        struct chunk_shm *chunk;

        child_ok(lane_enter(b->conn->arena, OBJD_FOREVER, &b->lane));
        txn_begin(b->lane, 1);
        child_ok(lock_take(b->lane, &b->object->line));
        child_ok(txn_free(b->lane, (struct chunk_shm *)(b->conn->arena->base + b->object->chunks)));
        child_ok(txn_take(b->lane, b->object, 70000, &chunk));
        child_ok(txn_take(b->lane, b->object, 500, &chunk));
        child_ok(txn_reserve(b->lane, 20000, 100));
        child_ok(txn_take_slot(b->lane, &slot));
        txn_set(b->lane, &b->object->line.root[4], 1);
        child_ok(txn_wake(b->lane, (const uint32_t *)&b->object->line.word));
        word_set(&b->lane->shm->log.state, death->state);
        return 0;
}

/* A dict with one chunk that nothing refers to, until bench_end_dead() takes it away. */
static void begin_dead(struct death *death, objd_conn *conn, uint64_t state)
{
        struct bench *b = &death->bench;
        struct chunk_shm *chunk;

        bench_begin(b, conn);
        assert_ok(txn_take(b->lane, b->object, 3000, &chunk));
        assert_ok(txn_commit(b->lane));
        lane_leave(b->lane);
        death->state = state;
        child_expect_success(child_start(die, death));
}

static void an_operation_that_was_not_committed_is_undone_by_others(void **state)
{
        objd_conn *conn = *state;
        struct death death;
        uint64_t n_objects = conn->arena->header->pool.n_objects;

        begin_dead(&death, conn, TXN_ACTIVE);
        assert_ok(lane_enter(conn->arena, OBJD_FOREVER, &death.bench.lane));
        assert_int_equal(recover_all(conn->arena, death.bench.lane), 1);
        lane_leave(death.bench.lane);

        assert_int_equal(death.bench.object->line.root[4], 0);
        assert_int_equal(death.bench.object->memory, 3072);
        assert_int_equal(conn->arena->header->pool.n_objects, n_objects + 1);
        assert_ok(objd_destroy(death.bench.dict));
        objd_release(death.bench.dict);
}

static void an_operation_that_was_committed_is_completed_by_others(void **state)
{
        objd_conn *conn = *state;
        struct death death;
        uint64_t n_objects = conn->arena->header->pool.n_objects;

        begin_dead(&death, conn, TXN_COMMITTED);
        assert_ok(lane_enter(conn->arena, OBJD_FOREVER, &death.bench.lane));
        assert_int_equal(recover_all(conn->arena, death.bench.lane), 1);

        assert_int_equal(death.bench.object->line.root[4], 1);
        assert_int_equal(death.bench.object->memory, 2 * BLOCK_SIZE + 768);
        assert_int_equal(conn->arena->header->pool.n_objects, n_objects + 2);
        assert_int_equal(conn->arena->header->pool.used,
                         death.bench.used + death.bench.object->memory + SLOT_SIZE);

        /* The slot that was made holds nothing; it goes, so that the checker has nothing to say. */
        txn_begin(death.bench.lane, 1);
        assert_ok(txn_free_slot(death.bench.lane, death.bench.object + 1));
        assert_ok(txn_commit(death.bench.lane));
        lane_leave(death.bench.lane);
        assert_ok(objd_destroy(death.bench.dict));
        objd_release(death.bench.dict);
}

/* ---- Damaged lanes --------------------------------------------------------------------------------------------- */

/* What a stray pointer may write: anything, or something that looks like an offset. */
static uint64_t nonsense(struct random *random, const struct arena *arena)
{
        switch (random_below(random, 5)) {
        case 0:
                return random_next(random);
        case 1:
                return random_below(random, 300);
        case 2:
                return random_below(random, arena->mapped) & ~7ULL;
        case 3:
                return arena->data_off + (random_below(random, arena_limit(arena)) & ~63ULL);
        default:
                return UINT64_MAX - random_below(random, 300);
        }
}

static void scribble(struct random *random, const struct arena *arena, struct lane_shm *lane)
{
        uint64_t *places[] = {
                &lane->log.state,
                &lane->log.used,
                &lane->log.off,
                &lane->log.capacity,
                &lane->pool_log.state,
                &lane->pool_log.used,
                &lane->pool_log.off,
                &lane->pool_log.capacity,
                &lane->taken,
                &lane->doomed,
                &lane->log_chunk,
                &lane->locks[0],
                &lane->locks[1],
                &lane->wakes[0],
                &lane->new_slots[0],
                &lane->dead_slots[0],
                (uint64_t *)&lane->log_bytes[random_below(random, 100) * 8],
        };
        uint32_t *halves[] = { &lane->n_locks, &lane->n_wakes, &lane->n_new_slots, &lane->n_dead_slots };

        for (uint64_t n = 1 + random_below(random, 4); n; n--)
                if (random_below(random, 4))
                        *places[random_below(random, sizeof(places) / sizeof(places[0]))] =
                                nonsense(random, arena);
                else
                        *halves[random_below(random, 4)] = (uint32_t)nonsense(random, arena);
        if (random_below(random, 2))
                lane->log.state = 1 + random_below(random, 2);
}

static int recover_nonsense(void *context)
{
        struct random random = random_begin("test-txn");
        struct image *image = context;

        for (int i = 0; i < 1500; i++) {
                struct objd_conn conn;
                struct lane *lane;

                alarm(PATIENCE_S);
                bare_attach(&conn, image_make_file(image));
                for (uint32_t number = 1; number < conn.arena->header->lanes_high; number++)
                        if (arena_lane(conn.arena, number)->claimed)
                                scribble(&random, conn.arena, arena_lane(conn.arena, number));
                child_ok(lane_enter(conn.arena, OBJD_FOREVER, &lane));
                (void)recover_all(conn.arena, lane);
                lane_leave(lane);
                lane_release_own(conn.arena);
                arena_unref(conn.arena);
        }
        return 0;
}

/* Whoever recovers, the daemon among them, has not written what it finds in a lane. */
static void a_damaged_lane_does_its_recoverer_no_harm(void **state)
{
        struct objd_conn conn;
        struct death death;
        struct image image;
        objd_conn *p = &conn;

        (void)state;
        bare_create(p, 4 << 20);
        begin_dead(&death, p, TXN_ACTIVE);
        lane_release_own(conn.arena);
        image_take(conn.arena, &image);
        child_expect_success(child_start(recover_nonsense, &image));

        image_free(&image);
        objd_release(death.bench.dict);
        bare_leave(p);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(an_aborted_operation_puts_every_word_back),
                INSIDE_TEST(chunks_go_back_with_an_abort_and_stay_with_a_commit),
                INSIDE_TEST(what_one_operation_takes_and_frees_is_gone_either_way),
                INSIDE_TEST(slots_and_groups_go_back_with_an_abort),
                INSIDE_TEST(one_operation_makes_only_as_many_objects_as_its_lane_can_name),
                INSIDE_TEST(a_log_grows_as_often_as_it_must),
                INSIDE_TEST(an_operation_that_did_not_make_room_changes_nothing),
                INSIDE_TEST(an_operation_that_was_not_committed_is_undone_by_others),
                INSIDE_TEST(an_operation_that_was_committed_is_completed_by_others),
                cmocka_unit_test(a_damaged_lane_does_its_recoverer_no_harm),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
