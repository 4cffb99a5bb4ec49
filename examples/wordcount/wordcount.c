/* SPDX-License-Identifier: Apache-2.0 */

/*
 * wordcount.c -- counts the words of all text below some folders, in several processes at once
 *
 * The parent lists the files, puts them into a queue, starts workers and watches: a worker that dies is
 * replaced. The counts are right all the same, since a file's counts and its end are one batch (worker.c).
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "files.h"
#include "report.h"
#include "store.h"
#include "worker.h"

#define WORKERS_MAX 256
#define TICK_NS 100000000LL

/* A worker that ends badly by itself is started again so many times, all together. */
#define FAILURES_MAX 8

struct options {
        const char *url;
        const char *list;   /* where to write which files were counted */
        const char *counts; /* where to write all words with their counts */
        int n_workers;
        int64_t kill_every_ns; /* 0: never */
        unsigned seed;
};

struct crew {
        struct store *store;
        pid_t pids[WORKERS_MAX]; /* 0: nobody */
        int n;
        int n_killed; /* and started again */
        int n_failures;
};

static int64_t clock_ns(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static int say_last_error(void)
{
        fprintf(stderr, "wordcount: %s\n", objd_last_error());
        return 1;
}

/* ---- Workers ------------------------------------------------------------------------------------------ */

/* In the child: it goes on with the parent's connection and handles, as a client of its own. */
static void be_worker(struct store *store, pid_t parent)
{
        int status = 0;

        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
                _exit(1);
        if (worker_run(store))
                status = say_last_error();
        store_close(store);
        _exit(status);
}

static bool start_worker(struct crew *crew, int i)
{
        pid_t parent = getpid(), pid;

        fflush(NULL);
        pid = fork();
        if (pid == 0)
                be_worker(crew->store, parent);
        if (pid < 0) {
                fprintf(stderr, "wordcount: cannot fork: %s\n", strerror(errno));
                return false;
        }
        crew->pids[i] = pid;
        return true;
}

static int find_worker(const struct crew *crew, pid_t pid)
{
        for (int i = 0; i < crew->n; i++)
                if (crew->pids[i] == pid)
                        return i;
        return -1;
}

static int count_workers(const struct crew *crew)
{
        int n = 0;

        for (int i = 0; i < crew->n; i++)
                n += crew->pids[i] != 0;
        return n;
}

/*
 * Looks at who has ended; whoever did so before his time is replaced. False if that makes no sense any
 * more.
 */
static bool replace_the_dead(struct crew *crew)
{
        pid_t pid;
        int status;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
                int i = find_worker(crew, pid);
                bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

                if (i < 0)
                        continue;
                crew->pids[i] = 0;
                if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                        continue;
                crew->n_killed += killed;
                if (!killed && ++crew->n_failures > FAILURES_MAX) {
                        fprintf(stderr, "wordcount: workers keep failing\n");
                        return false;
                }
                if (!start_worker(crew, i))
                        return false;
        }
        return true;
}

static void kill_one(struct crew *crew)
{
        int i = (int)(random() % crew->n);

        if (crew->pids[i])
                (void)kill(crew->pids[i], SIGKILL); /* it may have ended already */
}

static void kill_all(struct crew *crew)
{
        for (int i = 0; i < crew->n; i++)
                if (crew->pids[i]) {
                        (void)kill(crew->pids[i], SIGKILL); /* it may have ended already */
                        (void)waitpid(crew->pids[i], NULL, 0);
                }
}

/* ---- Watching ----------------------------------------------------------------------------------------- */

/* Sleeps until a worker ends, but no longer than a tick, or until the next kill is due. */
static void sleep_a_tick(int64_t until_ns)
{
        int64_t ns = until_ns - clock_ns();
        struct timespec timeout;
        sigset_t set;

        if (ns > TICK_NS)
                ns = TICK_NS;
        if (ns < 0)
                ns = 0;
        timeout = (struct timespec){ .tv_nsec = ns };
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        (void)sigtimedwait(&set, NULL, &timeout); /* how it ended makes no difference: the caller looks */
}

/* Until every file has been counted. Returns an exit status. */
static int watch(struct crew *crew, const struct options *options, struct progress *progress)
{
        int64_t next_kill_ns = options->kill_every_ns ? clock_ns() + options->kill_every_ns : INT64_MAX;
        int64_t n_files = 0, n_words = 0, n_files_at_kill = -1;

        for (;;) {
                sleep_a_tick(next_kill_ns);
                if (clock_ns() >= next_kill_ns) {
                        /* On a slow machine nobody would get anywhere, were another killed before a file has been counted. */
                        if (n_files > n_files_at_kill)
                                kill_one(crew);
                        n_files_at_kill = n_files;
                        next_kill_ns = clock_ns() + options->kill_every_ns;
                }
                if (!replace_the_dead(crew))
                        return 1;
                if (store_total(crew->store, "files", &n_files) ||
                    store_total(crew->store, "words", &n_words))
                        return say_last_error();
                progress_show(progress, n_files, n_words);
                if (n_files == progress->n_files && count_workers(crew) == 0)
                        return 0;
                /* The last file's worker may die after all others have found the queue empty. */
                if (count_workers(crew) == 0 && !start_worker(crew, 0))
                        return 1;
        }
}

static int run_workers(struct crew *crew, const struct options *options, struct progress *progress)
{
        int status = 0;

        for (int i = 0; i < crew->n && !status; i++)
                status = !start_worker(crew, i);
        if (!status)
                status = watch(crew, options, progress);
        progress_end(progress);
        kill_all(crew);
        return status;
}

static int count(const struct options *options, const struct files *files, struct store *store)
{
        struct crew crew = { .store = store, .n = options->n_workers };
        struct progress progress = { .n_files = (int64_t)files->len };
        int status;

        if (store_open(store, options->url) || store_put_files(store, files))
                return say_last_error();
        progress_start(&progress);
        status = run_workers(&crew, options, &progress);
        if (status)
                return status;
        if (crew.n_killed)
                printf("%d workers were killed and replaced\n", crew.n_killed);
        return report(store, &progress, options->counts);
}

/* ---- Options ------------------------------------------------------------------------------------------ */

static void print_help(void)
{
        printf("usage: wordcount [OPTION]... FOLDER...\n"
               "\n"
               "Counts the words of all text files below the folders, in several processes that share a\n"
               "store of objd. A word is a maximal run of ASCII letters; case does not matter.\n"
               "\n"
               "  --workers N       how many processes (default: as many as there are processors)\n"
               "  --url URL         which store (default: $OBJD_URL, else shm:default)\n"
               "  --list FILE       write the paths of the files there, each ended by a NUL byte\n"
               "  --counts FILE     write every word and its count there\n"
               "  --kill-every MS   kill a worker at random so often\n"
               "  --seed N          of what is random\n"
               "  --help            this text\n");
}

static bool parse_number(const char *text, long min, long max, long *ret)
{
        char *end;
        long n;

        errno = 0;
        n = strtol(text, &end, 10);
        if (errno || end == text || *end || n < min || n > max) {
                fprintf(stderr, "wordcount: \"%s\" is no number from %ld to %ld\n", text, min, max);
                return false;
        }
        *ret = n;
        return true;
}

static int processors(void)
{
        long n = sysconf(_SC_NPROCESSORS_ONLN);

        return n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : (int)n;
}

static bool take_option(int letter, struct options *options)
{
        long n;

        switch (letter) {
        case 'u':
                options->url = optarg;
                return true;
        case 'l':
                options->list = optarg;
                return true;
        case 'c':
                options->counts = optarg;
                return true;
        case 'w':
                if (!parse_number(optarg, 1, WORKERS_MAX, &n))
                        return false;
                options->n_workers = (int)n;
                return true;
        case 'k':
                if (!parse_number(optarg, 1, 1000000, &n))
                        return false;
                options->kill_every_ns = n * 1000000;
                return true;
        case 's':
                if (!parse_number(optarg, 0, INT32_MAX, &n))
                        return false;
                options->seed = (unsigned)n;
                return true;
        default:
                return false;
        }
}

/* Returns -1 if there is work to do, else an exit status. */
static int parse_options(int argc, char **argv, struct options *options)
{
        static const struct option long_options[] = {
                { "workers", required_argument, NULL, 'w' },
                { "url", required_argument, NULL, 'u' },
                { "list", required_argument, NULL, 'l' },
                { "counts", required_argument, NULL, 'c' },
                { "kill-every", required_argument, NULL, 'k' },
                { "seed", required_argument, NULL, 's' },
                { "help", no_argument, NULL, 'h' },
                { 0 },
        };
        int letter;

        while ((letter = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
                if (letter == 'h') {
                        print_help();
                        return 0;
                }
                if (!take_option(letter, options))
                        return 2;
        }
        if (optind == argc) {
                fprintf(stderr, "wordcount: which folders? See wordcount --help\n");
                return 2;
        }
        return -1;
}

static bool find_files(char **folders, struct files *files)
{
        for (; *folders; folders++)
                if (!files_add_folder(files, *folders)) {
                        fprintf(stderr, "wordcount: cannot read %s: %s\n", *folders, strerror(errno));
                        return false;
                }
        return true;
}

int main(int argc, char **argv)
{
        struct options options = { .n_workers = processors(), .seed = (unsigned)time(NULL) };
        struct files files = { 0 };
        struct store store = { 0 };
        sigset_t set;
        int status;

        status = parse_options(argc, argv, &options);
        if (status >= 0)
                return status;
        if (options.kill_every_ns)
                printf("killing workers; again with --seed %u\n", options.seed);
        srandom(options.seed);
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, NULL);

        if (!find_files(argv + optind, &files))
                return 1;
        if (options.list && !files_write_list(&files, options.list)) {
                fprintf(stderr, "wordcount: cannot write %s: %s\n", options.list, strerror(errno));
                return 1;
        }
        printf("%zu files, %d workers\n", files.len, options.n_workers);
        status = count(&options, &files, &store);
        store_close(&store);
        files_free(&files);
        return status;
}
