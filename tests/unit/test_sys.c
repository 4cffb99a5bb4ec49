/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_sys.c -- base/sys.c: the real entries of the table, and the clocks
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <objd.h>

#include "base/sys.h"

#define SECOND_NS 1000000000LL
#define FILE_SIZE (64 * 1024)

/* A file in memory of FILE_SIZE bytes, all of them a hole. */
static int make_file(void)
{
        int fd = memfd_create("test-sys", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, FILE_SIZE), 0);
        return fd;
}

static void fresh_memory_is_zeroed(void **state)
{
        uint8_t *p;

        (void)state;
        for (size_t size = 1; size < 5000; size += 777) {
                p = sys.alloc(size);
                assert_non_null(p);
                for (size_t i = 0; i < size; i++)
                        assert_int_equal(p[i], 0);
                memset(p, 0xff, size);
                free(p);
        }
}

static void resizing_keeps_what_is_there(void **state)
{
        char *p = sys.resize(NULL, 8);

        (void)state;
        assert_non_null(p);
        memcpy(p, "1234567", 8);
        p = sys.resize(p, 100000);
        assert_non_null(p);
        assert_string_equal(p, "1234567");
        free(p);
}

static void two_mappings_of_a_file_are_the_same_memory(void **state)
{
        int fd = make_file();
        char *a = sys.map(fd, FILE_SIZE, true), *b = sys.map(fd, FILE_SIZE, false);

        (void)state;
        assert_non_null(a);
        assert_non_null(b);
        a[FILE_SIZE - 1] = 7;
        assert_int_equal(b[FILE_SIZE - 1], 7);
        assert_int_equal(munmap(a, FILE_SIZE), 0);
        assert_int_equal(munmap(b, FILE_SIZE), 0);
        close(fd);
}

static void mapping_what_cannot_be_mapped_gives_null_and_errno(void **state)
{
        (void)state;
        errno = 0;
        assert_null(sys.map(-1, FILE_SIZE, true));
        assert_int_equal(errno, EBADF);
}

static void a_readable_mapping_is_not_writable(void **state)
{
        int fd = make_file(), status;
        volatile char *p = sys.map(fd, FILE_SIZE, false);
        pid_t pid;

        (void)state;
        assert_non_null(p);
        pid = fork();
        if (pid == 0) {
                signal(SIGSEGV, SIG_DFL);
                *p = 1;
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(munmap((void *)(uintptr_t)p, FILE_SIZE), 0);
        close(fd);
}

static void fallocate_takes_memory_and_gives_it_back(void **state)
{
        int fd = make_file();
        struct stat st;

        (void)state;
        assert_int_equal(sys.fallocate(fd, 0, 0, FILE_SIZE), 0);
        assert_int_equal(fstat(fd, &st), 0);
        assert_true(st.st_blocks * 512 >= FILE_SIZE);
        assert_int_equal(sys.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, FILE_SIZE), 0);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_blocks, 0);
        assert_int_equal(sys.fallocate(-1, 0, 0, 1), -1);
        assert_int_equal(errno, EBADF);
        close(fd);
}

static void waiting_on_another_value_returns_at_once(void **state)
{
        uint32_t word = 5;

        (void)state;
        assert_int_equal(sys.futex(&word, FUTEX_WAIT, 4, NULL), -1);
        assert_int_equal(errno, EAGAIN);
}

static void a_wait_ends_at_its_timeout_and_not_before(void **state)
{
        int64_t timeout_ns = 20000000, start_ns = now_ns();
        uint32_t word = 5;

        (void)state;
        while (sys.futex(&word, FUTEX_WAIT, 5, &timeout_ns) == 0)
                continue; /* a wake for no reason is allowed */
        assert_int_equal(errno, ETIMEDOUT);
        assert_true(now_ns() - start_ns >= timeout_ns);
}

static void a_timeout_in_the_past_is_no_wait(void **state)
{
        int64_t timeout_ns = -SECOND_NS;
        uint32_t word = 5;

        (void)state;
        assert_int_equal(sys.futex(&word, FUTEX_WAIT, 5, &timeout_ns), -1);
        assert_int_equal(errno, ETIMEDOUT);
}

/* The child sleeps at another address than the one that is woken: private futexes would miss each other. */
static void a_wake_reaches_another_process_at_another_address(void **state)
{
        int fd = make_file(), status;
        uint32_t *ours = sys.map(fd, FILE_SIZE, true), *theirs = sys.map(fd, FILE_SIZE, true);
        pid_t pid;

        (void)state;
        assert_non_null(ours);
        assert_non_null(theirs);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                int64_t timeout_ns = 20 * SECOND_NS;

                _exit(sys.futex(theirs, FUTEX_WAIT, 0, &timeout_ns) == 0 ? 0 : 1);
        }
        /* The wake says how many it has woken; until the child sleeps that is none. */
        while (sys.futex(ours, FUTEX_WAKE, 1, NULL) == 0 && waitpid(pid, &status, WNOHANG) == 0)
                sched_yield();
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_int_equal(munmap(ours, FILE_SIZE), 0);
        assert_int_equal(munmap(theirs, FILE_SIZE), 0);
        close(fd);
}

static void the_clocks_go_forward(void **state)
{
        int64_t mono = now_ns(), wall = wall_ns();

        (void)state;
        assert_true(mono > 0);
        assert_true(now_ns() >= mono);
        assert_true(wall > 1600000000LL * SECOND_NS);
}

static void a_deadline_lies_its_timeout_ahead(void **state)
{
        int64_t before = now_ns(), deadline_ns = deadline_after(3 * SECOND_NS), after = now_ns();

        (void)state;
        assert_true(deadline_ns >= before + 3 * SECOND_NS);
        assert_true(deadline_ns <= after + 3 * SECOND_NS);
        assert_true(deadline_after(OBJD_NOWAIT) <= now_ns());
}

static void a_deadline_beyond_all_time_is_never(void **state)
{
        (void)state;
        assert_true(deadline_after(OBJD_FOREVER) == INT64_MAX);
        assert_true(deadline_after(INT64_MAX) == INT64_MAX);
        assert_true(deadline_after(INT64_MAX - 1) == INT64_MAX);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(fresh_memory_is_zeroed),
                cmocka_unit_test(resizing_keeps_what_is_there),
                cmocka_unit_test(two_mappings_of_a_file_are_the_same_memory),
                cmocka_unit_test(mapping_what_cannot_be_mapped_gives_null_and_errno),
                cmocka_unit_test(a_readable_mapping_is_not_writable),
                cmocka_unit_test(fallocate_takes_memory_and_gives_it_back),
                cmocka_unit_test(waiting_on_another_value_returns_at_once),
                cmocka_unit_test(a_wait_ends_at_its_timeout_and_not_before),
                cmocka_unit_test(a_timeout_in_the_past_is_no_wait),
                cmocka_unit_test(a_wake_reaches_another_process_at_another_address),
                cmocka_unit_test(the_clocks_go_forward),
                cmocka_unit_test(a_deadline_lies_its_timeout_ahead),
                cmocka_unit_test(a_deadline_beyond_all_time_is_never),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
