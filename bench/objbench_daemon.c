/* SPDX-License-Identifier: Apache-2.0 */

/* A daemon for the rows that need one, and the row of its start. */

#include "objbench.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N_STARTS 5
#define N_WORDS 16
#define START_NS UINT64_C(10000000000)

static void become_objd(const struct daemon *daemon, const char *objd, const char *const *extra)
{
        const char *words[N_WORDS] = { objd, "--dir", daemon->directory, "--name", "bench" };
        size_t n = 5;

        while (extra && *extra && n < N_WORDS - 1)
                words[n++] = *extra++;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(STDERR_FILENO, STDOUT_FILENO); /* our own stdout is for results */
        execv(objd, (char *const *)words);
        fprintf(stderr, "objbench: %s: %s\n", objd, strerror(errno));
        _exit(127);
}

void daemon_start(struct daemon *daemon, const char *objd, const char *const *extra)
{
        if (!daemon->directory[0]) {
                strcpy(daemon->directory, "/dev/shm/objbench-objd-XXXXXX");
                if (!mkdtemp(daemon->directory))
                        bench_die("no directory in /dev/shm: %s", strerror(errno));
        }
        snprintf(daemon->url, sizeof(daemon->url), "shm:%s/bench", daemon->directory);
        daemon->pid = fork();
        if (daemon->pid < 0)
                bench_die("fork: %s", strerror(errno));
        if (!daemon->pid)
                become_objd(daemon, objd, extra);
}

objd_conn *daemon_connect(const struct daemon *daemon, const char *url)
{
        const struct timespec pause = { 0, 50000 };
        uint64_t begin = bench_now();
        objd_conn *conn;

        while (bench_now() - begin < START_NS) {
                if (!objd_connect(url, &conn))
                        return conn;
                if (waitpid(daemon->pid, NULL, WNOHANG) == daemon->pid)
                        break;
                nanosleep(&pause, NULL);
        }
        bench_die("objd does not start: %s", objd_last_error());
}

void daemon_stop(struct daemon *daemon)
{
        char command[128];

        kill(daemon->pid, SIGTERM);
        waitpid(daemon->pid, NULL, 0);
        snprintf(command, sizeof(command), "rm -rf %s", daemon->directory);
        if (system(command))
                bench_die("%s failed", command);
}

static double time_start(const char *objd)
{
        objd_value key = objd_cstr("k"), value = objd_cstr("v");
        struct daemon daemon = { 0 };
        uint64_t start = bench_now();
        objd_object *dict;
        objd_conn *conn;

        daemon_start(&daemon, objd, NULL);
        conn = daemon_connect(&daemon, daemon.url);
        check(objd_create(conn, "d", OBJD_DICT, NULL, &dict), "objd_create");
        check(objd_dict_set(dict, &key, &value), "objd_dict_set");
        start = bench_now() - start;
        check(objd_delete(conn, "d"), "objd_delete");
        objd_release(dict);
        objd_close(conn);
        daemon_stop(&daemon);
        return (double)start;
}

/* A directory of its own for each start: the arena is made, not adopted. */
void run_start(int argc, char **argv)
{
        double samples[BENCH_MAX_REPS];

        (void)argc;
        for (size_t rep = 0; rep < N_STARTS; rep++)
                samples[rep] = time_start(argv[0]);
        bench_emit("start", "ns", samples, N_STARTS, "to the first set");
}
