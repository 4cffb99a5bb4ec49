/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_fork.c -- base/fork.c
 *
 * Each test runs in a child of its own, for a process can ask for the first time only once.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fork.h"

#define N_THREADS 8
#define N_ROUNDS 50

/* In a child: what does not hold ends it with a message; cmocka's own checks are for the parent. */
#define require(condition)                                                              \
        do {                                                                            \
                if (!(condition)) {                                                     \
                        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
                        _exit(1);                                                       \
                }                                                                       \
        } while (0)

static bool ended_well(pid_t pid)
{
        int status;

        return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Runs fn in a child, which must end by itself and well. */
static bool in_child(void (*fn)(void))
{
        pid_t pid = fork();

        if (pid == 0) {
                fn();
                _exit(0);
        }
        return ended_well(pid);
}

static void ask_twice(void)
{
        uint64_t generation = fork_generation();

        require(generation != 0);
        require(fork_generation() == generation);
}

static void a_process_keeps_its_generation(void **state)
{
        (void)state;
        assert_true(in_child(ask_twice));
}

static uint64_t parents;

static void ask_after_parent(void)
{
        uint64_t mine = fork_generation();

        require(mine > parents);
        require(fork_generation() == mine);
}

static void ask_then_fork(void)
{
        parents = fork_generation();
        require(in_child(ask_after_parent));
        require(in_child(ask_after_parent));
        require(fork_generation() == parents);
}

static void a_child_has_a_greater_generation_than_its_parent(void **state)
{
        (void)state;
        assert_true(in_child(ask_then_fork));
}

static void skip_one_generation(void)
{
        require(in_child(ask_after_parent));
}

static void ask_then_fork_twice(void)
{
        parents = fork_generation();
        require(in_child(skip_one_generation));
}

static void a_grandchild_differs_though_its_parent_never_asked(void **state)
{
        (void)state;
        assert_true(in_child(ask_then_fork_twice));
}

static void go_down(unsigned depth)
{
        uint64_t mine = fork_generation();
        pid_t pid;

        require(mine > parents);
        parents = mine;
        if (depth == 0)
                return;
        pid = fork();
        if (pid == 0) {
                go_down(depth - 1);
                _exit(0);
        }
        require(ended_well(pid));
        require(fork_generation() == mine);
}

static void ten_generations(void)
{
        go_down(10);
}

static void generations_grow_all_the_way_down(void **state)
{
        (void)state;
        assert_true(in_child(ten_generations));
}

/* clone() without glibc: no handler of pthread_atfork() runs. */
static void ask_then_clone(void)
{
        long pid;

        parents = fork_generation();
        pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
        if (pid == 0) {
                ask_after_parent();
                _exit(0);
        }
        require(ended_well((pid_t)pid));
}

static void a_raw_clone_is_noticed(void **state)
{
        (void)state;
        assert_true(in_child(ask_then_clone));
}

static pthread_barrier_t barrier;
static uint64_t seen[N_THREADS];

static void *ask_together(void *place)
{
        (void)pthread_barrier_wait(&barrier);
        *(uint64_t *)place = fork_generation();
        return NULL;
}

static void first_asked_by_many(void)
{
        pthread_t threads[N_THREADS];

        require(pthread_barrier_init(&barrier, NULL, N_THREADS) == 0);
        for (size_t i = 0; i < N_THREADS; i++)
                require(pthread_create(&threads[i], NULL, ask_together, &seen[i]) == 0);
        for (size_t i = 0; i < N_THREADS; i++)
                require(pthread_join(threads[i], NULL) == 0);
        for (size_t i = 0; i < N_THREADS; i++) {
                require(seen[i] == fork_generation());
                require(seen[i] > parents);
        }
}

static void threads_that_ask_first_at_once_agree(void **state)
{
        (void)state;
        for (int i = 0; i < N_ROUNDS; i++)
                assert_true(in_child(first_asked_by_many));
}

static void ask_then_let_many_ask(void)
{
        parents = fork_generation();
        require(in_child(first_asked_by_many));
}

static void threads_of_a_child_agree_too(void **state)
{
        (void)state;
        for (int i = 0; i < N_ROUNDS; i++)
                assert_true(in_child(ask_then_let_many_ask));
}

static bool stop;

static void *ask_all_the_time(void *place)
{
        while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
                __atomic_store_n((uint64_t *)place, fork_generation(), __ATOMIC_RELAXED);
        return NULL;
}

/* Whatever the parent's memory names at the moment of the fork is another generation than the child's. */
static void compare_with_what_was_seen(void)
{
        for (size_t i = 0; i < N_THREADS; i++)
                require(fork_generation() > __atomic_load_n(&seen[i], __ATOMIC_RELAXED));
}

static void fork_while_others_ask_first(void)
{
        pthread_t threads[N_THREADS];

        for (size_t i = 0; i < N_THREADS; i++)
                require(pthread_create(&threads[i], NULL, ask_all_the_time, &seen[i]) == 0);
        for (int i = 0; i < 5; i++)
                require(in_child(compare_with_what_was_seen));
        __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
        for (size_t i = 0; i < N_THREADS; i++)
                require(pthread_join(threads[i], NULL) == 0);
}

static void a_fork_while_other_threads_ask_first_is_noticed(void **state)
{
        (void)state;
        for (int i = 0; i < N_ROUNDS / 5; i++)
                assert_true(in_child(fork_while_others_ask_first));
}

/* The page cannot be had: address space is at its limit. */
static void ask_without_a_page(void)
{
        struct rlimit none = { 0, 0 };

        require(setrlimit(RLIMIT_AS, &none) == 0);
        ask_twice();
        ask_then_fork_twice();
        parents = 0;
        go_down(3);
}

static void without_the_page_the_pid_tells(void **state)
{
        (void)state;
        assert_true(in_child(ask_without_a_page));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_process_keeps_its_generation),
                cmocka_unit_test(a_child_has_a_greater_generation_than_its_parent),
                cmocka_unit_test(a_grandchild_differs_though_its_parent_never_asked),
                cmocka_unit_test(generations_grow_all_the_way_down),
                cmocka_unit_test(a_raw_clone_is_noticed),
                cmocka_unit_test(threads_that_ask_first_at_once_agree),
                cmocka_unit_test(threads_of_a_child_agree_too),
                cmocka_unit_test(a_fork_while_other_threads_ask_first_is_noticed),
                cmocka_unit_test(without_the_page_the_pid_tells),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
