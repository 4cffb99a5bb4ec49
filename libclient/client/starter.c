/* SPDX-License-Identifier: Apache-2.0 */

/*
 * starter.c -- the first client that needs a daemon starts it
 *
 * "objd --background" returns when its clients can connect, or fails at once if the store's daemon runs already: the lock on
 * NAME.lock decides between any number of starters. So all of them do the same: try to connect, start a daemon,
 * and whatever came of that, try again, for as long as a daemon may take to answer.
 *
 * We run inside somebody's program. The child that becomes objd is made without an exit signal, so that the program's SIGCHLD
 * handler and its wait() do not hear of it; it makes no call that could wait for a lock that another thread held at the
 * fork; and it holds none of the program's descriptors, pipes least of all.
 */

#include "client/starter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/close_range.h>

#include "base/status.h"
#include "base/sys.h"

/* How long the daemon stays when its last client has left. */
#define IDLE_EXIT "10"

/* What a child that cannot become objd ends with; objd itself never does. */
#define EXIT_NO_PROGRAM 127

/* Also for children without an exit signal. */
#define WAIT_ALL ((int)__WALL)

#define PAUSE_MIN_NS 2000000
#define PAUSE_MAX_NS 50000000

/* $OBJD_DAEMON is for programs that are installed elsewhere, and for tests. */
static const char *program(void)
{
        const char *path = secure_getenv("OBJD_DAEMON");

        return path && *path ? path : OBJD_PROGRAM;
}

/* In the child, whose memory is a copy of a process that may have had other threads: system calls only. */
static _Noreturn void become_daemon(const char *const *argv)
{
        int null = open("/dev/null", O_RDWR);

        for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
                (void)dup2(null, fd);
        (void)close_range(STDERR_FILENO + 1, ~0U, 0);
        (void)execv(argv[0], (char *const *)argv);
        _exit(EXIT_NO_PROGRAM);
}

/* fork(), but with no exit signal, and without what others have asked to be done at a fork. */
static pid_t clone_silently(void)
{
        return (pid_t)syscall(SYS_clone, 0UL, NULL, NULL, NULL, 0UL);
}

/*
 * A process that runs another program gets its exit signal back, so one between it and us waits for it. A handler that
 * the caller has installed is not to run in a copy of the caller.
 */
static _Noreturn void run_daemon(const char *const *argv)
{
        int status = -1;
        pid_t pid;

        (void)signal(SIGCHLD, SIG_DFL);
        pid = clone_silently();
        if (pid == 0)
                become_daemon(argv);
        while (pid > 0 && waitpid(pid, &status, WAIT_ALL) < 0 && errno == EINTR)
                continue;
        _exit(pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* Gives the wait status; -1 if it is not to be had, or if it has not come to its end in time. */
static int wait_for(pid_t pid, int64_t deadline_ns)
{
        int status = -1;
        pid_t done;

        while ((done = waitpid(pid, &status, WAIT_ALL | WNOHANG)) == 0 || (done < 0 && errno == EINTR)) {
                if (now_ns() > deadline_ns) {
                        (void)kill(pid, SIGKILL);
                        (void)waitpid(pid, &status, WAIT_ALL);
                        return -1;
                }
                (void)nanosleep(&(struct timespec){ .tv_nsec = PAUSE_MIN_NS }, NULL);
        }
        return done == pid ? status : -1;
}

/* Runs "objd --background" until it is ready, or has failed, which may well be since another one is ready. */
static objd_status start_once(const char *text, const struct url *url, int64_t deadline_ns)
{
        const char *const argv[] = { program(),
                                     "--background",
                                     "--idle-exit",
                                     IDLE_EXIT,
                                     "--name",
                                     url->name,
                                     url->own_directory ? NULL : "--dir",
                                     url->directory,
                                     NULL };
        pid_t pid;
        int status;

        pid = clone_silently();
        if (pid == 0)
                run_daemon(argv);
        if (pid < 0)
                return fail_errno("cannot connect to \"%s\": cannot start a daemon", text);
        status = wait_for(pid, deadline_ns);
        if (status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NO_PROGRAM)
                return fail(OBJD_E_NODAEMON,
                            "cannot connect to \"%s\": no daemon answers, and %s cannot be run", text,
                            argv[0]);
        return OBJD_OK;
}

objd_status starter_attach(const char *text, const struct url *url, enum control_access access,
                           struct attachment *ret_attachment)
{
        int64_t deadline_ns = now_ns() + ATTACH_TIMEOUT_NS;
        long pause_ns = PAUSE_MIN_NS;
        objd_status r, started;

        for (;;) {
                r = attach_to_daemon(text, url, access, ret_attachment);
                if (r != OBJD_E_NODAEMON || now_ns() > deadline_ns)
                        return r;
                started = start_once(text, url, deadline_ns);
                if (started)
                        return started;
                r = attach_to_daemon(text, url, access, ret_attachment);
                if (r != OBJD_E_NODAEMON)
                        return r;
                (void)nanosleep(&(struct timespec){ .tv_nsec = pause_ns }, NULL);
                if (pause_ns < PAUSE_MAX_NS)
                        pause_ns *= 2;
        }
}
