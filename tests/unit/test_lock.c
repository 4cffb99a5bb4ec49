/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_lock.c -- the lock word of a line: who waits, who is woken, whose death is noticed, who is named
 */

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "object/directory.h"
#include "object/dict.h"
#include "object/object.h"
#include "support/child.h"
#include "support/inside.h"
#include "support/test.h"
#include "sync/lock.h"
#include "txn/txn.h"

static objd_status set(objd_object *dict, int64_t key, int64_t number)
{
        objd_value k = objd_int(key), v = objd_int(number);

        return objd_dict_set(dict, &k, &v);
}

static objd_status get(objd_object *dict, int64_t key)
{
        objd_value k = objd_int(key), v;
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r = objd_dict_get(dict, &k, &v, &buf);

        objd_buf_free(&buf);
        return r;
}

static struct lane *enter(objd_conn *conn)
{
        struct lane *lane;

        assert_ok(lane_enter(conn->arena, OBJD_FOREVER, &lane));
        return lane;
}

/* ---- The word ------------------------------------------------------------------------------------------- */

static void a_lock_that_was_written_under_has_another_version_afterwards(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, "dict");
        struct lane *lane = enter(conn);
        uint64_t before = lock_read_begin(&dict->shm->line);

        assert_ok(lock_take(lane, &dict->shm->line));
        assert_true(lock_is_held(lane, &dict->shm->line));
        assert_false(lock_read_valid(&dict->shm->line, before));
        txn_unlock(lane);

        assert_false(lock_is_held(lane, &dict->shm->line));
        assert_false(lock_read_valid(&dict->shm->line, before));
        assert_int_equal(lock_read_begin(&dict->shm->line), before + LOCK_VERSION_ONE);
        lane_leave(lane);
        objd_release(dict);
}

static void a_frozen_line_keeps_its_version(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, "dict");
        struct lane *lane = enter(conn);
        uint64_t before = lock_read_begin(&dict->shm->line);

        assert_ok(lock_freeze(lane, &dict->shm->line));
        assert_true(lock_read_valid(&dict->shm->line, before));
        txn_unlock(lane);

        assert_true(lock_read_valid(&dict->shm->line, before));
        lane_leave(lane);
        objd_release(dict);
}

static void one_operation_cannot_hold_more_locks_than_its_lane_can_name(void **state)
{
        static struct line_shm *line;
        objd_conn *conn = *state;
        struct lane *lane = enter(conn);
        struct object_shm *slot;

        txn_begin(lane, 1);
        for (uint32_t i = 0; i < 40; i++)
                assert_ok(txn_take_slot(lane, &slot));
        line = &slot->line;
        lane->shm->n_locks = LANE_LOCKS;
        assert_int_equal(lock_take(lane, line), OBJD_E_LIMIT);
        lane->shm->n_locks = 0;
        txn_abort(lane);
        lane_leave(lane);
}

/* ---- Others ---------------------------------------------------------------------------------------------- */

struct other {
        objd_object *dict;
        struct gate holds, go_on;
        bool freeze;
        objd_status status;
};

static void other_begin(struct other *other, objd_conn *conn)
{
        *other = (struct other){ .dict = inside_dict(conn, "dict") };
        assert_ok(set(other->dict, 1, 1));
        gate_init(&other->holds);
        gate_init(&other->go_on);
}

static void other_end(struct other *other)
{
        gate_deinit(&other->holds);
        gate_deinit(&other->go_on);
        objd_release(other->dict);
}

/* Holds the dict's lock, says so, and gives it when it is told to. */
static int hold(void *context)
{
        struct other *other = context;
        struct lane *lane;

        child_ok(lane_enter(other->dict->conn->arena, OBJD_FOREVER, &lane));
        child_ok((other->freeze ? lock_freeze : lock_take)(lane, &other->dict->shm->line));
        gate_open(&other->holds, 1);
        gate_wait(&other->go_on);
        txn_unlock(lane);
        lane_leave(lane);
        return 0;
}

static void *set_in_a_thread(void *context)
{
        struct other *other = context;

        other->status = set(other->dict, 2, 2);
        return NULL;
}

static bool somebody_waits(void *context)
{
        return word_get(&((struct other *)context)->dict->shm->line.word) & LOCK_WAITERS;
}

static void a_waiter_goes_on_when_the_holder_is_done(void **state)
{
        objd_conn *conn = *state;
        struct other other;
        pthread_t thread;
        pid_t pid;

        other_begin(&other, conn);
        pid = child_start(hold, &other);
        gate_wait(&other.holds);
        assert_int_equal(pthread_create(&thread, NULL, set_in_a_thread, &other), 0);
        wait_until(somebody_waits, &other, "the writer sleeps");
        gate_open(&other.go_on, 1);
        pthread_join(thread, NULL);

        assert_ok(other.status);
        child_expect_success(pid);
        assert_int_equal(word_get(&other.dict->shm->line.word) & ~LOCK_VERSION_MASK & ~LOCK_WAITERS, 0);
        other_end(&other);
}

static void a_waiter_goes_on_when_the_holder_has_died(void **state)
{
        objd_conn *conn = *state;
        struct other other;
        pthread_t thread;
        pid_t pid;

        other_begin(&other, conn);
        pid = child_start(hold, &other);
        gate_wait(&other.holds);
        assert_int_equal(pthread_create(&thread, NULL, set_in_a_thread, &other), 0);
        wait_until(somebody_waits, &other, "the writer sleeps");
        child_kill(pid);
        pthread_join(thread, NULL);

        assert_ok(other.status);
        other_end(&other);
}

/* Readers do not lock, but they wait for a writer: also for a dead one. */
static void a_reader_goes_on_when_the_writer_has_died(void **state)
{
        objd_conn *conn = *state;
        struct other other;
        pid_t pid;

        other_begin(&other, conn);
        pid = child_start(hold, &other);
        gate_wait(&other.holds);
        child_kill(pid);

        assert_ok(get(other.dict, 1));
        other_end(&other);
}

static void a_stopped_holder_is_named_when_the_time_is_over(void **state)
{
        objd_conn *conn = *state;
        char expected[64];
        struct other other;
        int64_t start_ns;
        pid_t pid;

        other_begin(&other, conn);
        pid = child_start(hold, &other);
        gate_wait(&other.holds);
        kill(pid, SIGSTOP);
        snprintf(expected, sizeof(expected), "process %d (test-lock), thread %d, holds the lock", (int)pid,
                 (int)pid);

        start_ns = test_now_ns();
        objd_next_timeout(50000000);
        assert_sentence(set(other.dict, 2, 2), OBJD_E_BUSY, expected);
        assert_true(test_now_ns() - start_ns >= 50000000);
        objd_next_timeout(OBJD_NOWAIT);
        assert_sentence(get(other.dict, 1), OBJD_E_BUSY, expected);

        kill(pid, SIGCONT);
        gate_open(&other.go_on, 1);
        assert_ok(set(other.dict, 2, 2));
        child_expect_success(pid);
        other_end(&other);
}

static void a_frozen_line_is_read_and_not_written(void **state)
{
        objd_conn *conn = *state;
        struct other other;
        pid_t pid;

        other_begin(&other, conn);
        other.freeze = true;
        pid = child_start(hold, &other);
        gate_wait(&other.holds);

        objd_next_timeout(OBJD_NOWAIT);
        assert_ok(get(other.dict, 1));
        objd_next_timeout(20000000);
        assert_status(set(other.dict, 2, 2), OBJD_E_BUSY);

        gate_open(&other.go_on, 1);
        child_expect_success(pid);
        assert_ok(set(other.dict, 2, 2));
        other_end(&other);
}

/* ---- The order ------------------------------------------------------------------------------------------- */

struct stale {
        objd_conn *conn;
        struct line_shm *slot, *name;
        struct gate holds;
};

static bool creator_waits_for_the_slot(const struct stale *stale)
{
        struct arena *arena = stale->conn->arena;

        for (uint32_t i = 1; i < arena->header->lanes_high; i++)
                if (word_get(&arena_lane(arena, i)->waits_for) == arena_off(arena, stale->slot))
                        return true;
        return false;
}

/* Somebody who has planned to delete an object that is gone by now: the lines of its slot and of its name, in their order. */
static int lock_slot_and_name(void *context)
{
        struct stale *stale = context;
        struct lane *lane;

        child_ok(lane_enter(stale->conn->arena, 2000000000, &lane));
        child_ok(lock_take(lane, stale->slot));
        gate_open(&stale->holds, 1);
        while (!creator_waits_for_the_slot(stale))
                (void)poll(NULL, 0, 1);
        child_ok(lock_take(lane, stale->name));
        txn_unlock(lane);
        lane_leave(lane);
        return 0;
}

/* The line of the dict of names that guards this name. */
static struct line_shm *line_of_name(objd_conn *conn, const char *name)
{
        objd_value value = objd_cstr(name);
        struct objd_object names;
        struct key key;

        assert_ok(directory_names(conn, &names));
        assert_ok(key_make(conn->arena, names.config, &value, &key));
        return dict_guard(conn->arena, names.shm, key.hash);
}

/*
 * Making an object waits for the lock of its slot, which somebody may hold who meant the slot's last object. It once did so with
 * the line of the name held, out of order; if that was what the other one waited for, both waited in vain.
 */
static void making_an_object_locks_its_slot_in_order(void **state)
{
        objd_conn *conn = *state;
        struct stale stale = { .conn = conn };
        objd_object *object;
        char name[16];
        pid_t pid;

        for (int i = 0; i < 1000; i++) {
                snprintf(name, sizeof(name), "n%d", i);
                objd_release(inside_dict(conn, name));
        }
        assert_ok(objd_open(conn, "n0", OBJD_DICT, &object));
        stale.slot = &object->shm->line;
        assert_ok(objd_destroy(object));
        objd_release(object);
        stale.name = line_of_name(conn, "next");
        assert_true(stale.slot < stale.name);

        gate_init(&stale.holds);
        pid = child_start(lock_slot_and_name, &stale);
        gate_wait(&stale.holds);
        object = inside_dict(conn, "next");
        assert_ptr_equal(&object->shm->line, stale.slot);
        child_expect_success(pid);
        gate_deinit(&stale.holds);
        objd_release(object);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(a_lock_that_was_written_under_has_another_version_afterwards),
                INSIDE_TEST(a_frozen_line_keeps_its_version),
                INSIDE_TEST(one_operation_cannot_hold_more_locks_than_its_lane_can_name),
                INSIDE_TEST(a_waiter_goes_on_when_the_holder_is_done),
                INSIDE_TEST(a_waiter_goes_on_when_the_holder_has_died),
                INSIDE_TEST(a_reader_goes_on_when_the_writer_has_died),
                INSIDE_TEST(a_stopped_holder_is_named_when_the_time_is_over),
                INSIDE_TEST(a_frozen_line_is_read_and_not_written),
                INSIDE_TEST(making_an_object_locks_its_slot_in_order),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
