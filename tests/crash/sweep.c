/* SPDX-License-Identifier: Apache-2.0 */

/*
 * sweep.c -- one operation, its process killed between any two of its instructions, and those who come next as well
 *
 * The victim runs instruction by instruction. Each time that the arena has changed, it is looked at as it would be found if
 * the victim died there (step.h), by all who may come next (aftermath.c). The store holds what it held
 * before the operation or what it holds after it; and once it was the latter, it is never again the former.
 *
 * Some of the deaths are real ones (SIGKILL), which find the same.
 */

#include "crash/sweep.h"

#include <stdio.h>
#include <string.h>

#include "crash/aftermath.h"
#include "support/child.h"
#include "txn/lane.h"

/* In a sample. */
#define REAL_KILLS 1
#define RANDOM_KILLS 6
#define RANDOM_TRIES 200
#define RANDOM_PATIENCE_NS 120000000000LL

/* With --all. */
#define RECOVERY_INSTRUCTIONS 150000
#define REAL_KILLS_OF_ALL 10
#define REAL_KILLS_OF_LARGE 3

struct sweep_options sweep_options = { .seed = 1, .stride = 12, .recovery = true };

enum outcome { OLD, NEW, N_OUTCOMES };

struct sweep {
        struct op_test *test;
        struct victim victim;
        struct aftermath after;
};

/* ---- The sweep ------------------------------------------------------------------------------------------ */

/* In a sample, recovery is killed from somewhere in the middle of every third operation. */
static bool is_place_to_recover(const struct sweep *sweep)
{
        return sweep_options.all || ((strlen(sweep->test->name) + sweep_options.seed) % 3 == 0 &&
                                     sweep->after.states >= 1 + sweep_options.seed % 4);
}

static void allow_both(struct sweep *sweep)
{
        sweep->after.allowed = 1 << OLD | 1 << NEW;
}

static bool on_state(void *context, uint64_t step, const struct image *state)
{
        struct sweep *sweep = context;
        struct aftermath *after = &sweep->after;

        after->step = step;
        after->states++;
        aftermath_check_first(after, image_make_file(state));
        aftermath_write_first(after, state);
        if (is_place_to_recover(sweep))
                aftermath_kill_the_next(after, state);
        aftermath_enter(after, TO_STEP, "stepping");
        return after->faults < FAULTS_MAX;
}

/* Real deaths, over the whole operation. */
static void kill_really(struct sweep *sweep, struct step_plan *plan, uint64_t n_steps, uint64_t n_kills)
{
        struct aftermath *after = &sweep->after;

        for (uint64_t i = 0; i < n_kills && after->faults < FAULTS_MAX; i++) {
                uint64_t at = (n_steps * i + (sweep_options.seed + i) % 7 * n_steps / 7) / n_kills;
                int fd;

                after->step = at;
                allow_both(sweep);
                aftermath_enter(after, TO_STEP, "stepping");
                fd = step_and_kill(plan, at);
                if (fd >= 0)
                        aftermath_of_kill(after, fd, i % 2);
        }
}

/* On a busy machine hardly any comes at the right moment: then one will do. */
static bool needs_kills(uint64_t n_tries, uint64_t n_kills, int64_t since_ns)
{
        if (n_tries < RANDOM_TRIES)
                return n_kills < RANDOM_KILLS;
        return n_kills == 0 && test_now_ns() - since_ns < RANDOM_PATIENCE_NS;
}

/* An operation that is too large for a sample to step through: deaths at moments that nobody has chosen. */
static void kill_at_random(struct sweep *sweep, struct step_plan *plan)
{
        struct aftermath *after = &sweep->after;
        int64_t duration_ns = 0, start_ns = test_now_ns();
        uint64_t n = 0;

        for (uint64_t i = 0; needs_kills(i, n, start_ns) && after->faults < FAULTS_MAX; i++) {
                int fd;

                aftermath_enter(after, TO_STEP, "running");
                fd = run_and_kill(plan, (sweep_options.seed + i) * 0x9e3779b97f4a7c15ULL >> 20, &duration_ns);
                if (fd < 0)
                        continue;
                after->step = i;
                allow_both(sweep);
                n++;
                aftermath_of_kill(after, fd, i % 2);
        }
        if (!n)
                aftermath_complain(after, "it was never killed inside the operation");
}

void sweep_build(struct op_test *test, struct image *ret_image)
{
        struct objd_conn conn;

        bare_create(&conn, test->size ? test->size : 2 * MIB);
        build_store(&conn, test);
        /* Its lane goes back before the image is made; the connection ends after it. */
        lane_release_own(conn.arena);
        image_take(conn.arena, ret_image);
        bare_leave(&conn);
}

static void learn_both(struct sweep *sweep, const struct step_plan *plan)
{
        struct aftermath *after = &sweep->after;

        aftermath_enter(after, TO_STEP, "whole");
        aftermath_learn(after, step_and_kill(plan, 0), step_and_kill(plan, 0), OLD);
        aftermath_learn(after, run_to_end(plan), run_to_end(plan), NEW);
        if ((after->content[OLD].store == after->content[NEW].store) != sweep->test->silent)
                aftermath_complain(after, sweep->test->silent ? "it shows though it should not"
                                                              : "it shows nothing");
}

static void look_everywhere(struct sweep *sweep, struct step_plan *plan)
{
        struct aftermath *after = &sweep->after;
        uint64_t n_steps;

        plan->stride = sweep_options.all ? 1 : sweep_options.stride;
        plan->first = sweep_options.from;
        n_steps = step_through(plan, on_state, sweep);
        after->sums->instructions += n_steps;
        after->sums->states += after->states;
        if (!after->faults && !after->states)
                aftermath_complain(after, "it was never killed inside the operation");
        kill_really(sweep, plan, n_steps,
                    !sweep_options.all   ? REAL_KILLS
                    : sweep->test->large ? REAL_KILLS_OF_LARGE
                                         : REAL_KILLS_OF_ALL);
}

int sweep_operation(void *context)
{
        struct sweep_job *job = context;
        struct op_test *test = job->test;
        struct sweep_sums before = *job->sums;
        struct sweep sweep = { .test = test,
                               .victim = { .test = test },
                               .after = { .test = test,
                                          .sums = job->sums,
                                          .name = test->name,
                                          .n_outcomes = N_OUTCOMES,
                                          .recovery_instructions = RECOVERY_INSTRUCTIONS,
                                          .follows = { 1 << OLD | 1 << NEW, 1 << NEW } } };
        struct step_plan plan = { .victim = test->victim,
                                  .prepare = test->victim == STEP_BARE ? NULL : prepare_victim,
                                  .fn = run_victim,
                                  .context = &sweep.victim,
                                  .stride = 1 };
        struct image start;
        int64_t start_ns = test_now_ns();

        aftermath_begin(&sweep.after);
        sweep_build(test, &start);
        plan.start = &start;
        learn_both(&sweep, &plan);
        allow_both(&sweep);
        if (test->large && !sweep_options.all && !sweep_options.large)
                kill_at_random(&sweep, &plan);
        else
                look_everywhere(&sweep, &plan);
        image_free(&start);
        job->sums->operations++;
        job->sums->faults += sweep.after.faults;
        printf("%-52s %7llu instructions, %6llu states, %5llu logs, %8llu of recovery, %6llu states, %5.1f s: %s\n",
               test->name, (unsigned long long)(job->sums->instructions - before.instructions),
               (unsigned long long)sweep.after.states, (unsigned long long)(job->sums->logs - before.logs),
               (unsigned long long)(job->sums->recovery_instructions - before.recovery_instructions),
               (unsigned long long)(job->sums->recovery_states - before.recovery_states),
               (double)(test_now_ns() - start_ns) / 1e9, sweep.after.faults ? "FAULTS" : "clean");
        return sweep.after.faults ? 1 : 0;
}
