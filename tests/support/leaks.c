/* SPDX-License-Identifier: Apache-2.0 */

/*
 * leaks.c -- what a test must not leave behind in its process
 */

#include "support/leaks.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/test.h"

/* Calls fn for each descriptor of the process but the one that this takes itself. */
static size_t for_each_fd(int pid, void (*fn)(int fd, void *context), void *context)
{
        char path[64];
        struct dirent *entry;
        size_t n = 0;
        DIR *dir;

        snprintf(path, sizeof(path), "/proc/%d/fd", pid);
        dir = opendir(path);
        if (!dir)
                fail_msg("cannot open %s: %s", path, strerror(errno));
        while ((entry = readdir(dir))) {
                int fd = atoi(entry->d_name);

                if (entry->d_name[0] == '.' || (pid == getpid() && fd == dirfd(dir)))
                        continue;
                n++;
                if (fn)
                        fn(fd, context);
        }
        closedir(dir);
        return n;
}

static void mark(int fd, void *context)
{
        struct leaks *leaks = context;

        if (fd < LEAKS_FD_MAX)
                leaks->open[fd] = 1;
}

void leaks_begin(struct leaks *leaks)
{
        memset(leaks, 0, sizeof(*leaks));
        for_each_fd(getpid(), mark, leaks);
}

static void complain(int fd, void *context)
{
        const struct leaks *leaks = context;
        char path[64], target[256] = "?";
        ssize_t n;

        if (fd < LEAKS_FD_MAX && leaks->open[fd])
                return;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        n = readlink(path, target, sizeof(target) - 1);
        if (n >= 0)
                target[n] = '\0';
        fail_msg("descriptor %d was left open: %s", fd, target);
}

/* Kills what still runs, so that the next test starts without it. Returns how many children there were. */
static size_t end_children(void)
{
        FILE *file = fopen("/proc/thread-self/children", "re");
        size_t n = 0;
        int pid;

        while (file && fscanf(file, "%d", &pid) == 1)
                kill(pid, SIGKILL);
        if (file)
                fclose(file);
        while (waitpid(-1, NULL, 0) > 0)
                n++;
        return n;
}

void leaks_end(const struct leaks *leaks)
{
        size_t n_children = end_children();

        for_each_fd(getpid(), complain, (void *)leaks);
        if (n_children)
                fail_msg("%zu children were left behind", n_children);
}

size_t leaks_count_fds(int pid)
{
        return for_each_fd(pid, NULL, NULL);
}
