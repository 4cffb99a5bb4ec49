/* SPDX-License-Identifier: Apache-2.0 */

/*
 * kill_step.c -- every operation, its process killed between any two of its instructions
 *
 * What is done with an operation is in sweep.c, what with two of them in pairs.c; the operations are in ops_*.c, a file for each
 * kind of object; a daemon that takes a store up is in adopt.c, one that serves in serve.c. Without options it takes a sample: every
 * twelfth place of each operation where memory has changed.
 *
 *   --all          every place, and real deaths besides; recovery from every state of the log
 *   --no-recovery  kills no recovery, which takes most of the time
 *   --stride N     every N-th place
 *   --large        in a sample, steps through large operations as well
 *   --only TEXT    operations with this text in their names; pairs of them if it begins with "two:", and requests to a daemon if it
 *                  begins with "serve:"
 *   --seed N       other hashes and places
 *   --from N       begins at that instruction
 *   --jobs N       so many operations at once
 *   --show         prints what stores hold before and after
 *   --list         names the operations
 */

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash/serve.h"
#include "crash/sweep.h"
#include "support/child.h"
#include "support/test.h"

#define JOBS_MAX 64

/* In a sample. */
#define PAIRS_STRIDE 4
#define REQUESTS_STRIDE 7

static struct {
        const char *only;
        unsigned long jobs;
        bool list;
} options = { .jobs = 1 };

static struct sweep_sums total;

/* ---- Several at once ------------------------------------------------------------------------------------ */

/* A place for a process that looks at one operation. */
struct place {
        pid_t pid;
        char name[160];
        struct sweep_sums *sums; /* shared with it */
};

static struct place places[JOBS_MAX];
static int n_failed;

/* Said once more at the end, where they are found in a long log. */
#define FAILED_MAX 8
static char failed[FAILED_MAX][160];
static int n_failed_in_all;

static void make_places(void)
{
        struct sweep_sums *sums = mmap(NULL, sizeof(*sums) * options.jobs, PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (sums == MAP_FAILED)
                fail_msg("no memory for the sums");
        for (unsigned long i = 0; i < options.jobs; i++)
                places[i] = (struct place){ .sums = sums + i };
}

static void add_up(struct sweep_sums *sums)
{
        uint64_t longest_ns = sums->longest_ns > total.longest_ns ? sums->longest_ns : total.longest_ns;

        total.operations += sums->operations;
        total.instructions += sums->instructions;
        total.states += sums->states;
        total.kills += sums->kills;
        total.logs += sums->logs;
        total.logs_recovered += sums->logs_recovered;
        total.recovery_instructions += sums->recovery_instructions;
        total.recovery_states += sums->recovery_states;
        total.pairs += sums->pairs;
        total.pair_places += sums->pair_places;
        total.pair_first += sums->pair_first;
        total.pair_looked += sums->pair_looked;
        total.pair_states += sums->pair_states;
        total.pair_waits += sums->pair_waits;
        total.faults += sums->faults;
        total.longest_ns = longest_ns;
}

static void remember_failed(const char *name)
{
        if (n_failed_in_all < FAILED_MAX)
                memcpy(failed[n_failed_in_all], name, sizeof(failed[0]));
        n_failed++;
        n_failed_in_all++;
}

/* Sweeps take as long as they take: what hangs ends itself. */
static void wait_for_one(void)
{
        int status;
        pid_t pid = wait(&status);

        for (unsigned long i = 0; i < options.jobs; i++) {
                if (places[i].pid != pid)
                        continue;
                if (!WIFEXITED(status) || WEXITSTATUS(status))
                        remember_failed(places[i].name);
                add_up(places[i].sums);
                places[i].pid = 0;
        }
}

static struct place *free_place(void)
{
        for (unsigned long i = 0; i < options.jobs; i++)
                if (!places[i].pid)
                        return &places[i];
        wait_for_one();
        return free_place();
}

static void wait_for_all(void)
{
        for (unsigned long i = 0; i < options.jobs; i++)
                while (places[i].pid)
                        wait_for_one();
}

static bool is_wanted(const char *name)
{
        bool wanted = !options.only || strstr(name, options.only);

        if (options.list && wanted)
                printf("%s\n", name);
        return !options.list && wanted;
}

static void start_job(const char *name, struct sweep_job *job, int (*fn)(void *job))
{
        struct place *place = free_place();

        snprintf(place->name, sizeof(place->name), "%s", name);
        memset(place->sums, 0, sizeof(*place->sums));
        job->sums = place->sums;
        place->pid = child_start(fn, job);
}

/* ---- The tests ------------------------------------------------------------------------------------------ */

static const struct op_table *const tables[] = { &dict_ops,  &list_ops, &queue_ops,   &lock_ops, &object_ops,
                                                 &batch_ops, &life_ops, &session_ops, &load_ops };

static void an_operation_is_whole_or_nothing_wherever_its_process_dies(void **state)
{
        (void)state;
        n_failed = 0;
        for (size_t table = 0; table < sizeof(tables) / sizeof(tables[0]); table++)
                for (size_t i = 0; i < tables[table]->n; i++) {
                        struct sweep_job job = { .test = &tables[table]->tests[i] };

                        if (is_wanted(job.test->name))
                                start_job(job.test->name, &job, sweep_operation);
                }
        wait_for_all();
        assert_int_equal(n_failed, 0);
}

const struct op_test *find_operation(const char *name)
{
        for (size_t table = 0; table < sizeof(tables) / sizeof(tables[0]); table++)
                for (size_t i = 0; i < tables[table]->n; i++)
                        if (!strcmp(tables[table]->tests[i].name, name))
                                return &tables[table]->tests[i];
        fprintf(stderr, "there is no operation of this name: %s\n", name);
        exit(1);
}

/* A sample has every so many of the pairs, or requests, and with another seed others. */
static bool is_in_sample(uint64_t i, const char *sort, uint64_t every)
{
        if (options.only)
                return strncmp(options.only, sort, strlen(sort)) == 0;
        return sweep_options.all || options.list || (i + sweep_options.seed) % every == 1;
}

static void two_operations_are_each_whole_or_nothing_wherever_both_processes_die(void **state)
{
        char name[160];

        (void)state;
        n_failed = 0;
        for (size_t i = 0; i < n_pair_tests; i++) {
                struct sweep_job job = { .pair = &pair_tests[i] };

                snprintf(name, sizeof(name), "two: %s | %s", job.pair->operation, job.pair->other);
                if (is_in_sample(i, "two:", PAIRS_STRIDE) && is_wanted(name))
                        start_job(name, &job, sweep_pair);
        }
        wait_for_all();
        assert_int_equal(n_failed, 0);
}

static void a_store_is_whole_wherever_a_daemon_dies_that_takes_it_up(void **state)
{
        struct sweep_job job = { 0 };

        (void)state;
        n_failed = 0;
        if (is_wanted(ADOPTION_NAME))
                start_job(ADOPTION_NAME, &job, sweep_adoption);
        wait_for_all();
        assert_int_equal(n_failed, 0);
}

static void a_request_is_served_once_wherever_the_daemon_dies_that_has_it(void **state)
{
        (void)state;
        n_failed = 0;
        for (size_t i = 0; i < n_serve_tests; i++) {
                struct serve_job job = { .test = &serve_tests[i] };

                if (is_in_sample(i, "serve:", REQUESTS_STRIDE) && is_wanted(job.test->op.name))
                        start_job(job.test->op.name, &job.job, sweep_serving);
        }
        wait_for_all();
        assert_int_equal(n_failed, 0);
}

static void print_total(void)
{
        printf("in all: %llu operations; %llu places where they were killed (%llu different memories, %llu real "
               "kills); %llu places where recovery was (%llu different memories, from %llu of %llu states of logs); "
               "%llu faults; the longest wait of who came next: %.1f ms\n",
               (unsigned long long)total.operations, (unsigned long long)total.instructions,
               (unsigned long long)total.states, (unsigned long long)total.kills,
               (unsigned long long)total.recovery_instructions, (unsigned long long)total.recovery_states,
               (unsigned long long)total.logs_recovered, (unsigned long long)total.logs,
               (unsigned long long)total.faults, (double)total.longest_ns / 1e6);
}

static void print_pairs(void)
{
        printf("with two victims: %llu pairs of operations; the first one left at %llu of %llu different memories; %llu "
               "places of the second beside it, or behind it (%llu different memories of both); %llu times it came to "
               "wait for the first\n",
               (unsigned long long)total.pairs, (unsigned long long)total.pair_looked,
               (unsigned long long)total.pair_first, (unsigned long long)total.pair_places,
               (unsigned long long)total.pair_states, (unsigned long long)total.pair_waits);
}

static void print_failed(void)
{
        for (int i = 0; i < n_failed_in_all && i < FAILED_MAX; i++)
                printf("failed: %s\n", failed[i]);
}

static unsigned long number(const char *text, unsigned long min, unsigned long max)
{
        unsigned long n = strtoul(text, NULL, 0);

        return n < min ? min : n > max ? max : n;
}

static void read_options(int argc, char **argv)
{
        static const struct option names[] = {
                { "all", no_argument, NULL, 'a' },
                { "stride", required_argument, NULL, 's' },
                { "seed", required_argument, NULL, 'r' },
                { "only", required_argument, NULL, 'o' },
                { "from", required_argument, NULL, 'f' },
                { "large", no_argument, NULL, 'l' },
                { "jobs", required_argument, NULL, 'j' },
                { "list", no_argument, NULL, 'n' },
                { "show", no_argument, NULL, 'w' },
                { "no-recovery", no_argument, NULL, 'x' },
                { NULL, 0, NULL, 0 },
        };
        int c;

        while ((c = getopt_long(argc, argv, "", names, NULL)) >= 0)
                switch (c) {
                case 'a':
                        sweep_options.all = true;
                        break;
                case 'l':
                        sweep_options.large = true;
                        break;
                case 's':
                        sweep_options.stride = number(optarg, 1, ULONG_MAX);
                        break;
                case 'r':
                        sweep_options.seed = number(optarg, 0, ULONG_MAX);
                        break;
                case 'o':
                        options.only = optarg;
                        break;
                case 'f':
                        sweep_options.from = number(optarg, 0, ULONG_MAX);
                        break;
                case 'j':
                        options.jobs = number(optarg, 1, JOBS_MAX);
                        break;
                case 'x':
                        sweep_options.recovery = false;
                        break;
                case 'w':
                        sweep_options.show = true;
                        break;
                case 'n':
                        options.list = true;
                        break;
                default:
                        fprintf(stderr,
                                "usage: %s [--all] [--stride N] [--large] [--seed N] [--only TEXT] [--from N] "
                                "[--jobs N] [--no-recovery] [--show] [--list]\n",
                                argv[0]);
                        exit(2);
                }
}

static void say_bounds(void)
{
        printf("seed %llu", (unsigned long long)sweep_options.seed);
        if (!sweep_options.all)
                printf("; a sample: every %lluth change of memory, every %dth pair, every %dth request to a daemon",
                       (unsigned long long)sweep_options.stride, PAIRS_STRIDE, REQUESTS_STRIDE);
        printf("\n");
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_operation_is_whole_or_nothing_wherever_its_process_dies),
                cmocka_unit_test(a_store_is_whole_wherever_a_daemon_dies_that_takes_it_up),
                cmocka_unit_test(a_request_is_served_once_wherever_the_daemon_dies_that_has_it),
                cmocka_unit_test(two_operations_are_each_whole_or_nothing_wherever_both_processes_die),
        };
        int status;

        read_options(argc, argv);
        say_bounds();
        make_places();
        status = cmocka_run_group_tests(tests, NULL, NULL);
        print_pairs();
        print_total();
        print_failed();
        return status;
}
