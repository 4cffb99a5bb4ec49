/* SPDX-License-Identifier: Apache-2.0 */

/*
 * child.c -- forked children of a test
 */

#include "support/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/test.h"

int64_t test_now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000000000LL + now.tv_nsec;
}

void child_fail(const char *what, const char *file, int line)
{
        fprintf(stderr, "child %d: %s:%d: %s (%s)\n", (int)getpid(), file, line, what, objd_last_error());
        _exit(99);
}

/* cmocka's handlers would go on with the parent's tests: a child dies of what it does. */
static void forget_handlers(void)
{
        static const int numbers[] = { SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS };

        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
                signal(numbers[i], SIG_DFL);
}

pid_t child_start(int (*fn)(void *context), void *context)
{
        pid_t parent = getpid(), pid;

        fflush(NULL);
        pid = fork();
        if (pid < 0)
                fail_msg("fork: %s", strerror(errno));
        if (pid > 0)
                return pid;
        forget_handlers();
        /* A test that fails must not leave us behind. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(98);
        _exit(fn(context));
}

int child_wait(pid_t pid)
{
        struct pollfd pollfd = { .events = POLLIN };
        int status, r;

        pollfd.fd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (pollfd.fd < 0)
                fail_msg("pidfd_open(%d): %s", (int)pid, strerror(errno));
        do {
                r = poll(&pollfd, 1, (int)(PATIENCE_NS / 1000000));
        } while (r < 0 && errno == EINTR);
        close(pollfd.fd);
        if (r == 0) {
                kill(pid, SIGKILL);
                waitpid(pid, &status, 0);
                fail_msg("process %d did not end, and was killed", (int)pid);
        }
        if (waitpid(pid, &status, 0) != pid)
                fail_msg("waitpid(%d): %s", (int)pid, strerror(errno));
        return status;
}

void child_expect_success(pid_t pid)
{
        int status = child_wait(pid);

        if (WIFSIGNALED(status))
                fail_msg("child %d died of signal %d", (int)pid, WTERMSIG(status));
        if (WEXITSTATUS(status))
                fail_msg("child %d ended with status %d", (int)pid, WEXITSTATUS(status));
}

void child_kill(pid_t pid)
{
        kill(pid, SIGKILL);
        child_wait(pid);
}

void gate_init(struct gate *gate)
{
        if (pipe2(gate->fds, O_CLOEXEC) < 0)
                fail_msg("pipe: %s", strerror(errno));
}

void gate_deinit(struct gate *gate)
{
        close(gate->fds[0]);
        close(gate->fds[1]);
}

void gate_open(const struct gate *gate, size_t n)
{
        for (; n; n--)
                if (write(gate->fds[1], "", 1) != 1)
                        child_fail("gate_open", __FILE__, __LINE__);
}

void gate_wait(const struct gate *gate)
{
        struct pollfd pollfd = { .fd = gate->fds[0], .events = POLLIN };
        char c;

        /* Several may wait: who is too late for the byte waits for another. */
        if (poll(&pollfd, 1, (int)(PATIENCE_NS / 1000000)) != 1 || read(gate->fds[0], &c, 1) != 1)
                child_fail("gate_wait: nobody opened", __FILE__, __LINE__);
}

void wait_until(bool (*fn)(void *context), void *context, const char *what)
{
        int64_t end_ns = test_now_ns() + PATIENCE_NS;

        while (!fn(context)) {
                if (test_now_ns() > end_ns)
                        fail_msg("it never happened: %s", what);
                poll(NULL, 0, 2);
        }
}
