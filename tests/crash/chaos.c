/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chaos.c -- two stores, in which workers, daemons and tools are killed at random, twenty a second
 *
 * One of the stores is nearly full. Each worker keeps, in memory that is no store's, what it is about to do and what has
 * been acknowledged; whenever one is killed, what it wrote is compared with that at once, and its work goes on from what is
 * there. So an acknowledged write that is lost, or half of one that is left, shows by the next death of its writer.
 * At the end everything is counted, checked and deleted, and the stores must hold what they held when they were empty.
 *
 * How long calls wait, and for what, is measured by waits.c. No call may wait for more than 100 ms because of deaths: a run
 * of over a minute fails if one does; a short one, which may be one of many tests that run at once, reports it.
 *
 * usage: test-chaos [--seconds N] [--rate N] [--no-wait-limit] [--local]     (OBJD_TEST_SEED=N repeats a run's choices)
 *
 * Workers without a mapping come by ipc:, or with --local by rings.
 */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <objd.h>

#include "crash/chaos.h"
#include "object/object.h"
#include "support/child.h"
#include "support/test.h"

#define N_STORES 2
#define PROGRESS_EVERY_NS 300000000000LL

static struct {
        int seconds;
        int rate;
        bool limit_waits;
        bool far_is_local;
} options = { .seconds = 12, .rate = 20 };

static struct {
        uint64_t n_workers, n_far, n_daemons, n_tools, n_tools_done, n_checks;
        bool is_over;
} total;

/* ---- Workers ------------------------------------------------------------------------------------------- */

static void start_worker(struct side *side, int place, struct random *random)
{
        uint64_t seed = random_next(random);
        pid_t pid;

        fflush(NULL);
        pid = fork();
        assert_true(pid >= 0);
        if (!pid)
                chaos_work(side, place, seed);
        __atomic_store_n(&side->workers[place], pid, __ATOMIC_RELAXED); /* the looker reads it */
}

static void kill_worker(struct side *side, int place)
{
        int status;

        kill(side->workers[place], SIGKILL);
        status = child_wait(side->workers[place]);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
                fail_msg("%s: worker %d had ended by itself, with wait status %#x", side->label, place,
                         (unsigned)status);
        total.n_workers++;
        /* Every other one is left to the other workers, or to the daemon, to be found. */
        if (!total.is_over && total.n_workers % 2)
                usleep(25000);
        side_probe(side);
        side_settle(side, place);
}

/* What it asked for last may be on its way yet: it is settled, and its place taken, when its session has ended. */
static void kill_far_worker(struct side *side, int place)
{
        int status;

        if (side->dying[place])
                return;
        kill(side->workers[place], SIGKILL);
        status = child_wait(side->workers[place]);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
                fail_msg("%s: worker %d had ended by itself, with wait status %#x", side->label, place,
                         (unsigned)status);
        total.n_far++;
        side->dying[place] = true;
        side_probe(side);
}

static bool settle_far_worker(struct side *side, int place)
{
        if (!side_has_ended_session(side, place))
                return false;
        side_settle(side, place);
        side->dying[place] = false;
        return true;
}

static void replace_far_workers(struct side *side, struct random *random)
{
        for (int place = N_WORKERS; place < N_PLACES; place++)
                if (side->dying[place] && settle_far_worker(side, place))
                        start_worker(side, place, random);
}

/* ---- Daemons and tools --------------------------------------------------------------------------------- */

static void kill_daemon(struct side *side, struct random *random)
{
        if (side->restart_ns)
                return;
        fixture_stop(side->f, SIGKILL);
        total.n_daemons++;
        side_probe(side);
        side->restart_ns = test_now_ns() + (int64_t)random_below(random, 300) * 1000000;
}

static void start_daemon_if_due(struct side *side)
{
        if (!side->restart_ns || test_now_ns() < side->restart_ns)
                return;
        fixture_start(side->f, side->daemon_options);
        side->restart_ns = 0;
}

struct tool {
        pid_t pid;
        struct side *side;
        bool is_check;
};

/* Where meson says, or else beside the test in the build folder. */
static const char *tool_program(void)
{
        static char beside[512];
        const char *path = getenv("OBJD_TEST_BIN_OBJCTL");
        ssize_t n;

        if (path)
                return path;
        n = readlink("/proc/self/exe", beside, sizeof(beside) - sizeof("../tools/objctl"));
        while (n > 0 && beside[n - 1] != '/')
                n--;
        strcpy(beside + (n > 0 ? n : 0), "../tools/objctl");
        return beside;
}

static void start_tool(struct tool *tool, struct side *side, struct random *random)
{
        static const char *const verbs[][3] = {
                { "check" }, { "ls" },   { "stats" },          { "clients" },
                { "locks" }, { "dump" }, { "dump", "--json" }, { "dump", "--json", "--atomic" },
        };
        const char *const *verb = verbs[random_below(random, sizeof(verbs) / sizeof(*verbs))];

        *tool = (struct tool){ .side = side, .is_check = strcmp(verb[0], "check") == 0 };
        fflush(NULL);
        tool->pid = fork();
        assert_true(tool->pid >= 0);
        if (tool->pid == 0) {
                int null = open("/dev/null", O_WRONLY);

                prctl(PR_SET_PDEATHSIG, SIGKILL);
                dup2(null, STDOUT_FILENO);
                dup2(null, STDERR_FILENO);
                setenv("OBJD_URL", side->f->url, 1);
                execl(tool_program(), "objctl", verb[0], verb[1], verb[2], (char *)NULL);
                _exit(127);
        }
}

/* 0 done, 1 what was asked for is not so, 3 and such: the daemon may have died under its hands. */
static void end_tool(struct tool *tool)
{
        int status;

        kill(tool->pid, SIGKILL);
        status = child_wait(tool->pid);
        if (WIFSIGNALED(status)) {
                if (WTERMSIG(status) != SIGKILL)
                        fail_msg("objctl died of signal %d", WTERMSIG(status));
                total.n_tools++;
                side_probe(tool->side);
        } else {
                total.n_tools_done++;
                total.n_checks += tool->is_check && WEXITSTATUS(status) == 0;
                if (WEXITSTATUS(status) == 127 || (tool->is_check && WEXITSTATUS(status) == 1))
                        fail_msg("%s: objctl %s ended with status %d", tool->side->label,
                                 tool->is_check ? "check" : "", WEXITSTATUS(status));
        }
}

/* ---- The run ------------------------------------------------------------------------------------------- */

static void one_death(struct side *sides, struct random *random)
{
        struct side *side = &sides[random_below(random, N_STORES)];
        int place = (int)random_below(random, N_WORKERS);
        struct tool tool;

        switch (random_below(random, 10)) {
        case 0:
                kill_daemon(side, random);
                break;
        case 1:
        case 2:
                start_tool(&tool, side, random);
                usleep((useconds_t)random_below(random, 12000));
                end_tool(&tool);
                break;
        case 3:
                kill_far_worker(side, N_WORKERS + (int)random_below(random, N_FAR));
                break;
        default:
                kill_worker(side, place);
                start_worker(side, place, random);
        }
}

static void print_deaths(int64_t ns)
{
        printf("%" PRIu64 " workers, %" PRIu64 " without a mapping, %" PRIu64 " daemons and %" PRIu64
               " tools killed in %d s; %" PRIu64 " tools came to their end, %" PRIu64
               " of them a check without a fault\n",
               total.n_workers, total.n_far, total.n_daemons, total.n_tools, (int)(ns / 1000000000),
               total.n_tools_done, total.n_checks);
        fflush(stdout);
}

/* Sleeps until the next death is due. What a machine that is too slow for the rate is late with is left out. */
static void wait_for_turn(int64_t *next_ns, struct random *random)
{
        int64_t pause_ns = *next_ns - test_now_ns();

        if (pause_ns > 0)
                usleep((useconds_t)(pause_ns / 1000 + (int64_t)random_below(random, 3000)));
        else if (pause_ns < -1000000000)
                *next_ns = test_now_ns();
        *next_ns += 1000000000LL / options.rate;
}

static void run(struct side *sides, struct random *random)
{
        int64_t start_ns = test_now_ns(), next_ns = start_ns, progress_ns = start_ns + PROGRESS_EVERY_NS;

        while (test_now_ns() < start_ns + options.seconds * 1000000000LL) {
                wait_for_turn(&next_ns, random);
                for (int i = 0; i < N_STORES; i++) {
                        start_daemon_if_due(&sides[i]);
                        replace_far_workers(&sides[i], random);
                }
                one_death(sides, random);
                if (test_now_ns() > progress_ns) {
                        print_deaths(test_now_ns() - start_ns);
                        progress_ns += PROGRESS_EVERY_NS;
                }
        }
        print_deaths(test_now_ns() - start_ns);
}

static void take_longer(struct longest *longest, const struct longest *other)
{
        longest->n_over += other->n_over;
        if (other->ns > longest->ns) {
                longest->ns = other->ns;
                longest->name = other->name;
        }
}

/* By the callers' own clocks, whatever the reason; waits_report() says what for. */
static void report(const struct side *sides)
{
        struct longest work = { .name = "-" }, far = { .name = "-" }, probe = { .name = "-" };

        for (int i = 0; i < N_STORES; i++) {
                uint64_t n = 0, full = 0;

                for (int j = 0; j < N_PLACES; j++) {
                        n += sides[i].accounts[j].n_steps;
                        full += sides[i].tallies[j].n_full;
                        take_longer(j < N_WORKERS ? &work : &far, &sides[i].accounts[j].longest);
                }
                take_longer(&probe, &sides[i].longest);
                printf("%s: %" PRIu64 " steps, %" PRIu64 " of them found it full\n", sides[i].label, n, full);
        }
        printf("longest step of a worker: %.1f ms (%s), %" PRIu64
               " over 100 ms; right after a death: %.1f ms (%s), "
               "%" PRIu64 " over\n",
               (double)work.ns / 1e6, work.name, work.n_over, (double)probe.ns / 1e6, probe.name,
               probe.n_over);
}

static void watch_all(struct side *sides)
{
        for (int i = 0; i < N_STORES; i++) {
                struct arena *arena = sides[i].store.conn->arena;

                waits_watch(arena, sides[i].label, &sides[i].parent, &sides[i].call);
                for (int place = 0; place < N_WORKERS; place++)
                        waits_watch(arena, sides[i].label, &sides[i].workers[place],
                                    &sides[i].accounts[place].call);
        }
        waits_start();
}

static bool has_settled(void *context)
{
        struct side *side = context;
        bool all = true;

        for (int place = N_WORKERS; place < N_PLACES; place++)
                if (side->dying[place] && !settle_far_worker(side, place))
                        all = false;
        return all;
}

static void end(struct side *sides)
{
        for (int i = 0; i < N_STORES; i++) {
                for (int place = 0; place < N_PLACES; place++)
                        (place_is_far(place) ? kill_far_worker : kill_worker)(&sides[i], place);
                if (sides[i].restart_ns)
                        fixture_start(sides[i].f, sides[i].daemon_options);
        }
        for (int i = 0; i < N_STORES; i++) {
                wait_until(has_settled, &sides[i], "the sessions of the dead end");
                side_end(&sides[i]);
        }
        for (int i = N_STORES; i-- > 0;) /* each looks for descriptors that came after it */
                fixture_free(sides[i].f);
}

static void whoever_is_killed_the_stores_lose_nothing(void **state)
{
        struct random random = random_begin("test-chaos");
        struct side sides[N_STORES];
        struct call none = { 0 };
        int64_t by_death_ns;

        (void)state;
        /* Opens a file for good, before anybody looks for descriptors that stay. */
        call_begin(&none, "nothing");
        side_start(&sides[0], "roomy", "64M", false, options.far_is_local);
        side_start(&sides[1], "nearly full", "4M", true, options.far_is_local);
        for (int i = 0; i < N_STORES; i++)
                for (int place = 0; place < N_PLACES; place++)
                        start_worker(&sides[i], place, &random);
        watch_all(sides);
        run(sides, &random);
        total.is_over = true;
        waits_stop();
        report(sides);
        by_death_ns = waits_report();
        fflush(stdout);
        end(sides);
        if (options.limit_waits)
                assert_true(by_death_ns <= WAIT_LIMIT_NS);
}

static void parse(int argc, char **argv)
{
        static const struct option known[] = { { "seconds", required_argument, NULL, 's' },
                                               { "rate", required_argument, NULL, 'r' },
                                               { "no-wait-limit", no_argument, NULL, 'n' },
                                               { "local", no_argument, NULL, 'l' },
                                               { NULL, 0, NULL, 0 } };
        bool no_limit = false;
        int code;

        while ((code = getopt_long(argc, argv, "", known, NULL)) != -1) {
                if (code == 's')
                        options.seconds = atoi(optarg);
                else if (code == 'r')
                        options.rate = atoi(optarg);
                else if (code == 'n')
                        no_limit = true;
                else if (code == 'l')
                        options.far_is_local = true;
                else
                        exit(2);
        }
        if (options.seconds < 1 || options.rate < 1)
                exit(2);
        options.limit_waits = options.seconds > 60 && !no_limit;
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(whoever_is_killed_the_stores_lose_nothing) };

        parse(argc, argv);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
