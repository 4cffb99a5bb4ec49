/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_lane.c -- who has a lane, who has lost it, and what becomes of a call that was never finished
 */

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "mem/blocks.h"
#include "mem/pool.h"
#include "object/object.h"
#include "support/child.h"
#include "support/inside.h"
#include "support/test.h"
#include "txn/recover.h"
#include "txn/txn.h"

static uint64_t n_lanes(objd_conn *conn)
{
        objd_stats stats;

        assert_ok(objd_stats_get(conn, &stats));
        return stats.n_lanes;
}

static void set(objd_object *dict, int64_t key, int64_t number)
{
        objd_value k = objd_int(key), v = objd_int(number);

        assert_ok(objd_dict_set(dict, &k, &v));
}

/* In a child. */
static void child_set(objd_object *dict, int64_t key, int64_t number)
{
        objd_value k = objd_int(key), v = objd_int(number);

        child_ok(objd_dict_set(dict, &k, &v));
}

static int64_t get(objd_object *dict, int64_t key)
{
        objd_value k = objd_int(key), v = objd_nil();
        objd_buf buf = OBJD_BUF_INIT;

        assert_ok(objd_dict_get(dict, &k, &v, &buf));
        objd_buf_free(&buf);
        return v.u.integer;
}

/* The dict's line, locked by this thread in the middle of an operation that has changed its root. */
static struct lane *begin_to_change(objd_object *dict)
{
        struct lane *lane;

        child_ok(lane_enter(dict->conn->arena, OBJD_FOREVER, &lane));
        txn_begin(lane, 1);
        child_ok(lock_take(lane, &dict->shm->line));
        txn_set(lane, &dict->shm->line.root[1], 77);
        return lane;
}

/* ---- Threads -------------------------------------------------------------------------------------------- */

static void *set_in_a_thread(void *dict)
{
        objd_value key = objd_int(1), value = objd_int(2);

        return objd_dict_set(dict, &key, &value) ? dict : NULL;
}

static void a_thread_gives_its_lane_back_when_it_ends(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, "dict");
        pthread_t thread;
        void *failed;

        assert_int_equal(pthread_create(&thread, NULL, set_in_a_thread, dict), 0);
        pthread_join(thread, &failed);

        assert_null(failed);
        assert_int_equal(n_lanes(conn), 1);
        objd_release(dict);
}

static void *leave_a_call(void *dict)
{
        (void)begin_to_change(dict);
        return NULL;
}

static void a_thread_that_ends_inside_a_call_has_changed_nothing(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, "dict");
        pthread_t thread;
        uint64_t len = 1;

        assert_int_equal(pthread_create(&thread, NULL, leave_a_call, dict), 0);
        pthread_join(thread, NULL);

        assert_ok(objd_dict_len(dict, &len));
        assert_int_equal(len, 0);
        set(dict, 1, 1);
        objd_release(dict);
}

/* ---- Processes ------------------------------------------------------------------------------------------ */

struct in_child {
        objd_object *dict;
        struct lane_shm *parents;
        struct gate ready;
};

static int use_a_lane_of_its_own(void *context)
{
        struct in_child *c = context;
        struct lane *lane;

        child_set(c->dict, 1, 2);
        child_ok(lane_enter(c->dict->conn->arena, OBJD_FOREVER, &lane));
        child_check(lane->shm != c->parents);
        child_check(lane->shm->pid == getpid());
        lane_leave(lane);
        return 0;
}

static void a_forked_child_has_a_lane_of_its_own(void **state)
{
        objd_conn *conn = *state;
        struct in_child c = { .dict = inside_dict(conn, "dict") };
        struct lane *lane;

        assert_ok(lane_enter(conn->arena, OBJD_FOREVER, &lane));
        c.parents = lane->shm;
        lane_leave(lane);
        child_expect_success(child_start(use_a_lane_of_its_own, &c));

        assert_int_equal(get(c.dict, 1), 2);
        objd_release(c.dict);
}

static void hold_until_killed(struct in_child *c)
{
        (void)begin_to_change(c->dict);
        gate_open(&c->ready, 1);
        for (;;)
                pause();
}

/* fork() tells glibc about the child; this does not. */
static pid_t raw_clone(void)
{
        return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

/*
 * glibc believes that the child's thread has the parent's tid, and writes it into the robust mutex; the kernel then finds
 * another tid there than that of the thread that has died, and says nothing.
 */
static void the_death_of_a_child_of_a_raw_clone_is_noticed(void **state)
{
        objd_conn *conn = *state;
        struct in_child c = { .dict = inside_dict(conn, "dict") };
        pid_t pid;

        gate_init(&c.ready);
        pid = raw_clone();
        assert_true(pid >= 0);
        if (pid == 0)
                hold_until_killed(&c);
        gate_wait(&c.ready);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);

        objd_next_timeout(5000000000);
        set(c.dict, 1, 3);
        assert_int_equal(get(c.dict, 1), 3);
        gate_deinit(&c.ready);
        objd_release(c.dict);
}

/* The same where the parent's thread has never had a lane, so that nobody knows the list of robust mutexes. */
static void *clone_in_a_fresh_thread(void *context)
{
        struct in_child *c = context;
        pid_t pid = raw_clone();

        if (pid == 0)
                hold_until_killed(c);
        gate_wait(&c->ready);
        kill(pid, SIGKILL);
        return waitpid(pid, NULL, 0) == pid ? NULL : context;
}

static void the_death_of_a_child_of_a_thread_without_a_lane_is_noticed(void **state)
{
        objd_conn *conn = *state;
        struct in_child c = { .dict = inside_dict(conn, "dict") };
        pthread_t thread;
        void *failed;

        gate_init(&c.ready);
        assert_int_equal(pthread_create(&thread, NULL, clone_in_a_fresh_thread, &c), 0);
        pthread_join(thread, &failed);
        assert_null(failed);

        set(c.dict, 1, 3);
        gate_deinit(&c.ready);
        objd_release(c.dict);
}

static int end_at_once(void *context)
{
        (void)begin_to_change(((struct in_child *)context)->dict);
        return 0;
}

static void a_process_that_ends_inside_a_call_has_changed_nothing(void **state)
{
        objd_conn *conn = *state;
        struct in_child c = { .dict = inside_dict(conn, "dict") };
        uint64_t len = 1;

        child_expect_success(child_start(end_at_once, &c));

        assert_ok(objd_dict_len(c.dict, &len));
        assert_int_equal(len, 0);
        objd_release(c.dict);
}

/* ---- longjmp and signals -------------------------------------------------------------------------------- */

static jmp_buf out;

static void a_call_that_longjmp_has_left_is_rolled_back_by_the_next_one(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, "dict");
        uint64_t len = 1;

        if (!setjmp(out)) {
                (void)begin_to_change(dict);
                longjmp(out, 1);
        }

        assert_ok(objd_dict_len(dict, &len));
        assert_int_equal(len, 0);
        set(dict, 1, 5);
        assert_int_equal(get(dict, 1), 5);
        objd_release(dict);
}

static __attribute__((noinline)) void from_deep_below(objd_object *dict, int depth)
{
        volatile char room[512];

        room[0] = room[511] = (char)depth;
        if (depth)
                from_deep_below(dict, depth - 1);
        else
                set(dict, 1, room[0]);
}

static void the_next_call_may_come_from_further_down_the_stack(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, "dict");

        if (!setjmp(out)) {
                (void)begin_to_change(dict);
                longjmp(out, 1);
        }
        from_deep_below(dict, 20);

        assert_int_equal(get(dict, 1), 0);
        objd_release(dict);
}

static void longjmp_out_of_the_pool_gives_its_lock_back(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, "dict");
        volatile uint64_t used = inside_used(conn);

        if (!setjmp(out)) {
                struct lane *lane = begin_to_change(dict);
                struct chunk_shm *chunk;

                assert_ok(txn_take(lane, dict->shm, 5000, &chunk));
                assert_ok(pool_begin(lane));
                pool_add(lane, &pool_of(lane)->used, 12345);
                longjmp(out, 1);
        }

        set(dict, 1, 5);
        assert_ok(objd_dict_clear(dict));
        assert_int_equal(inside_used(conn), used);
        objd_release(dict);
}

static objd_object *handlers_dict;
static objd_status handlers_status;

static void call_from_a_handler(int signal_number)
{
        objd_value key = objd_int(signal_number), value = objd_int(1);

        objd_next_timeout(1000000000);
        handlers_status = objd_dict_set(handlers_dict, &key, &value);
}

/* What a call does, with a signal in the middle. */
static __attribute__((noinline)) void call_with_a_signal(struct arena *arena)
{
        struct lane *lane;

        assert_ok(lane_enter(arena, OBJD_FOREVER, &lane));
        raise(SIGUSR1);
        lane_leave(lane);
}

static void a_handler_that_interrupts_a_call_is_refused(void **state)
{
        objd_conn *conn = *state;

        handlers_dict = inside_dict(conn, "dict");
        signal(SIGUSR1, call_from_a_handler);
        call_with_a_signal(conn->arena);
        assert_int_equal(handlers_status, OBJD_E_REENTERED);

        raise(SIGUSR1);
        assert_int_equal(handlers_status, OBJD_OK);
        signal(SIGUSR1, SIG_DFL);
        objd_release(handlers_dict);
}

static int (*real_fallocate)(int fd, int mode, int64_t off, int64_t size);
static int n_raised;

static int fallocate_with_a_signal(int fd, int mode, int64_t off, int64_t size)
{
        if (!n_raised++)
                raise(SIGUSR1);
        return real_fallocate(fd, mode, off, size);
}

static int first_call_with_a_signal(void *context)
{
        (void)context;
        handlers_status = OBJD_E_SYS;
        signal(SIGUSR1, call_from_a_handler);
        real_fallocate = sys.fallocate;
        sys.fallocate = fallocate_with_a_signal;
        child_set(handlers_dict, 100, 1);
        child_check(n_raised > 0);
        child_check(handlers_status == OBJD_OK || handlers_status == OBJD_E_REENTERED);
        child_set(handlers_dict, 101, 1);
        return 0;
}

/* A child's first call makes its client and its lane, one process at a time; a handler that wants to do so must not wait for itself. */
static void a_handler_that_interrupts_the_first_call_does_not_wait_for_it(void **state)
{
        objd_conn *conn = *state;

        handlers_dict = inside_dict(conn, "dict");
        child_expect_success(child_start(first_call_with_a_signal, NULL));

        objd_release(handlers_dict);
}

static void jump_from_a_handler(int signal_number)
{
        (void)signal_number;
        siglongjmp(out, 1);
}

static int first_call_is_left(void *context)
{
        (void)context;
        signal(SIGUSR1, jump_from_a_handler);
        real_fallocate = sys.fallocate;
        sys.fallocate = fallocate_with_a_signal;
        if (!sigsetjmp(out, 1))
                child_set(handlers_dict, 100, 1);
        objd_next_timeout(3000000000);
        child_set(handlers_dict, 101, 1);
        return 0;
}

static void longjmp_out_of_the_first_call_keeps_nobody_out(void **state)
{
        objd_conn *conn = *state;

        handlers_dict = inside_dict(conn, "dict");
        child_expect_success(child_start(first_call_is_left, NULL));

        assert_int_equal(get(handlers_dict, 101), 1);
        objd_release(handlers_dict);
}

/* ---- When all are taken --------------------------------------------------------------------------------- */

/* Lanes from the highest one on look as if threads had them, whose lives the word tells. */
static void fill_lanes(struct arena *arena, uint32_t word)
{
        for (uint32_t i = (uint32_t)arena->header->lanes_high; i < RESERVE_LANE; i++) {
                struct lane_shm *lane = arena_lane(arena, i);

                assert_ok(arena_commit(arena, arena_off(arena, lane), LANE_SIZE));
                lane->generation = 1;
                lane->log =
                        (struct log_shm){ .off = arena_off(arena, lane->log_bytes), .capacity = LANE_LOG };
                lane->pool_log = (struct log_shm){ .off = arena_off(arena, lane->pool_log_bytes),
                                                   .capacity = LANE_POOL_LOG };
                lane->life.word = word;
                lane->claimed = 1;
        }
        arena->header->lanes_high = RESERVE_LANE;
}

static void *set_and_say(void *dict)
{
        objd_value key = objd_int(1), value = objd_int(2);

        return (void *)(uintptr_t)objd_dict_set(dict, &key, &value);
}

static objd_status set_in_a_new_thread(objd_object *dict)
{
        pthread_t thread;
        void *status;

        assert_int_equal(pthread_create(&thread, NULL, set_and_say, dict), 0);
        pthread_join(thread, &status);
        return (objd_status)(uintptr_t)status;
}

static void when_all_lanes_are_taken_the_next_thread_is_told_so(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, "dict");

        fill_lanes(conn->arena, 1);
        assert_int_equal(set_in_a_new_thread(dict), OBJD_E_LIMIT);
        set(dict, 2, 2);

        for (uint32_t i = 2; i < RESERVE_LANE; i++)
                arena_lane(conn->arena, i)->life.word = FUTEX_OWNER_DIED;
        assert_int_equal(set_in_a_new_thread(dict), OBJD_OK);
        objd_release(dict);
}

static void the_lanes_of_the_dead_are_given_to_the_living(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, "dict");

        fill_lanes(conn->arena, FUTEX_OWNER_DIED);
        assert_int_equal(set_in_a_new_thread(dict), OBJD_OK);
        assert_true(n_lanes(conn) < 10);
        objd_release(dict);
}

/* ---- Who recovers --------------------------------------------------------------------------------------- */

static void a_lane_that_has_been_recovered_is_clean(void **state)
{
        objd_conn *conn = *state;
        struct in_child c = { .dict = inside_dict(conn, "dict") };
        struct lane *lane;
        uint32_t number;

        child_expect_success(child_start(end_at_once, &c));
        assert_ok(lane_enter(conn->arena, OBJD_FOREVER, &lane));
        number = lock_lane(c.dict->shm->line.word);
        assert_true(number && number != lane->number);
        assert_true(recover_lane(conn->arena, number, lane->self));

        assert_int_equal(lock_lane(c.dict->shm->line.word), 0);
        assert_int_equal(arena_lane(conn->arena, number)->claimed, 0);
        assert_int_equal(arena_lane(conn->arena, number)->recoverer, 0);
        assert_int_equal(arena_lane(conn->arena, number)->epoch & 1, 0);
        lane_leave(lane);
        objd_release(c.dict);
}

/* Lanes that nobody has, but that say to hold, take and free all kinds of things. */
static void damage_free_lanes(struct arena *arena)
{
        for (uint32_t i = 2; i < 8; i++) {
                struct lane_shm *shm = arena_lane(arena, i);

                assert_ok(arena_commit(arena, arena_off(arena, shm), LANE_SIZE));
                half_set(&shm->n_locks, LANE_LOCKS);
                half_set(&shm->n_wakes, LANE_WAKES);
                half_set(&shm->n_new_slots, LANE_SLOTS);
                half_set(&shm->n_dead_slots, LANE_SLOTS);
                word_set(&shm->taken, 12345);
                word_set(&shm->doomed, 12345);
                word_set(&shm->epoch, 7);
        }
        word_set(&arena->header->lanes_high, 8);
}

static void debts_of_a_lane_that_nobody_has_are_not_taken_over(void **state)
{
        objd_conn *conn = *state;
        objd_object *dict = inside_dict(conn, "dict");
        pthread_t thread;
        void *failed;

        damage_free_lanes(conn->arena);
        assert_int_equal(pthread_create(&thread, NULL, set_in_a_thread, dict), 0);
        pthread_join(thread, &failed);

        assert_null(failed);
        assert_int_equal(get(dict, 1), 2);
        assert_int_equal(half_get(&arena_lane(conn->arena, 2)->n_locks), 0);
        assert_int_equal(word_get(&arena_lane(conn->arena, 2)->epoch) & 1, 0);
        for (uint32_t i = 3; i < 8; i++) /* for the checker, who sees what nobody has claimed as well */
                memset(arena_lane(conn->arena, i), 0, LANE_SIZE);
        objd_release(dict);
}

static void a_living_recoverer_is_not_disturbed(void **state)
{
        objd_conn *conn = *state;
        struct in_child c = { .dict = inside_dict(conn, "dict") };
        struct lane_shm *dead;
        struct lane *lane;
        uint32_t number;

        child_expect_success(child_start(end_at_once, &c));
        assert_ok(lane_enter(conn->arena, OBJD_FOREVER, &lane));
        number = lock_lane(c.dict->shm->line.word);
        dead = arena_lane(conn->arena, number);
        dead->recoverer = lane->self;
        assert_false(recover_lane(conn->arena, number, id_make(4000, 1)));
        assert_int_equal(dead->claimed, 1);

        recover_forget(conn->arena, lane->self);
        assert_true(recover_lane(conn->arena, number, lane->self));
        lane_leave(lane);
        objd_release(c.dict);
}

/* ---- A lane that is let go in the middle of a call ------------------------------------------------------- */

/*
 * By the daemon or a tool, which somebody keeps from completing an operation. What the call still does must not be said in a lane
 * that may have another owner by then: that one would be told, by the end of our call, to be looking at nothing.
 */
static void a_call_that_abandons_its_lane_ends_in_another_one(void **state)
{
        objd_conn *conn = *state;
        struct lane_shm *left;
        struct lane *lane;
        uint32_t number;

        lane_release_own(conn->arena);
        conn->arena->by_process = true;
        assert_ok(lane_enter(conn->arena, OBJD_FOREVER, &lane));
        left = lane->shm;
        number = lane->number;

        lane_abandon(lane);
        assert_ptr_not_equal(lane->shm, left);
        assert_ptr_equal(lane->shm, arena_lane(conn->arena, lane->number));
        assert_true(lane_id_is_alive(conn->arena, lane->self));
        assert_int_equal(lane->shm->epoch & 1, 1);

        assert_true(lane_is_dead(conn->arena, left));
        assert_true(recover_lane(conn->arena, number, lane->self));
        word_set(&left->epoch, left->epoch | 1); /* as its next owner does, who is in a call */
        lane_leave(lane);
        assert_int_equal(left->epoch & 1, 1);
        assert_int_equal(lane->shm->epoch & 1, 0);
        word_set(&left->epoch, left->epoch + 1);
}

struct shut_gate {
        struct arena *arena;
        struct gate ready, go;
};

static int keep_the_gate_shut(void *context)
{
        struct shut_gate *shut = context;

        child_ok(gate_enter(shut->arena, INT64_MAX));
        gate_open(&shut->ready, 1);
        gate_wait(&shut->go);
        gate_leave(shut->arena);
        return 0;
}

/* There is no other lane to be had: this one stays the thread's own until its next call, which has another one. */
static void a_lane_that_cannot_be_replaced_is_let_go_by_the_next_call(void **state)
{
        objd_conn *conn = *state;
        struct shut_gate shut = { .arena = conn->arena };
        struct lane *lane;
        uint64_t left;
        pid_t pid;

        lane_release_own(conn->arena);
        conn->arena->by_process = true;
        assert_ok(lane_enter(conn->arena, OBJD_FOREVER, &lane));
        left = lane->self;
        gate_init(&shut.ready);
        gate_init(&shut.go);
        pid = child_start(keep_the_gate_shut, &shut);
        gate_wait(&shut.ready);

        lane_abandon(lane);
        assert_int_equal(lane->self, left);
        assert_true(lane_id_is_alive(conn->arena, left));
        lane_leave(lane);

        gate_open(&shut.go, 1);
        child_expect_success(pid);
        assert_ok(lane_enter(conn->arena, OBJD_FOREVER, &lane));
        assert_int_not_equal(lane->self, left);
        assert_false(lane_id_is_alive(conn->arena, left));
        assert_true(recover_lane(conn->arena, id_number(left), lane->self));
        lane_leave(lane);
        gate_deinit(&shut.ready);
        gate_deinit(&shut.go);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(a_thread_gives_its_lane_back_when_it_ends),
                INSIDE_TEST(a_thread_that_ends_inside_a_call_has_changed_nothing),
                INSIDE_TEST(a_forked_child_has_a_lane_of_its_own),
                INSIDE_TEST(the_death_of_a_child_of_a_raw_clone_is_noticed),
                INSIDE_TEST(the_death_of_a_child_of_a_thread_without_a_lane_is_noticed),
                INSIDE_TEST(a_process_that_ends_inside_a_call_has_changed_nothing),
                INSIDE_TEST(a_call_that_longjmp_has_left_is_rolled_back_by_the_next_one),
                INSIDE_TEST(the_next_call_may_come_from_further_down_the_stack),
                INSIDE_TEST(longjmp_out_of_the_pool_gives_its_lock_back),
                INSIDE_TEST(a_handler_that_interrupts_a_call_is_refused),
                INSIDE_TEST(a_handler_that_interrupts_the_first_call_does_not_wait_for_it),
                INSIDE_TEST(longjmp_out_of_the_first_call_keeps_nobody_out),
                INSIDE_TEST(when_all_lanes_are_taken_the_next_thread_is_told_so),
                INSIDE_TEST(the_lanes_of_the_dead_are_given_to_the_living),
                INSIDE_TEST(a_lane_that_has_been_recovered_is_clean),
                INSIDE_TEST(debts_of_a_lane_that_nobody_has_are_not_taken_over),
                INSIDE_TEST(a_living_recoverer_is_not_disturbed),
                INSIDE_TEST(a_call_that_abandons_its_lane_ends_in_another_one),
                INSIDE_TEST(a_lane_that_cannot_be_replaced_is_let_go_by_the_next_call),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
