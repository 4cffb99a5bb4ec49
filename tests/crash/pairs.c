/* SPDX-License-Identifier: Apache-2.0 */

/*
 * pairs.c -- two operations on one object, and both of their processes killed
 *
 * The first victim is left at one of its instructions, stopped there or killed there; the second goes on with its own
 * operation, instruction by instruction, and wherever the arena has changed it is looked at as it would be found if both
 * were dead (aftermath.c). What the second one does depends on nothing of the first but what that holds and owes, so the first is
 * left once in each state of its lane and of the locks in it (image_lock_digest()).
 *
 * Each of the two operations has happened or it has not. The first one's is decided by where it is left, and nothing that
 * the second does may change that; once the second one's has happened it is never undone, and it has happened if its call has
 * returned with success. Where the first is stopped with a lock that the second needs, that waits for it, which is one more
 * state to die in, and gives up at its time-out.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash/aftermath.h"
#include "crash/sweep.h"
#include "support/child.h"

/* How long the second waits for a first that is stopped: one sleep and a part of another. */
#define SECOND_WAITS_NS 30000000LL

/* In a sample: places where the first is left, and at every how many of the second one's states both die. */
#define PLACES 1
#define STRIDE 16

/* With --all: of operations with very many states, so many places of the first, and looks at the second in all. */
#define PLACES_OF_ALL 24
#define LOOKS_OF_ALL 2000
#define RECOVERY_INSTRUCTIONS 30000

#define REAL_KILLS_OF_ALL 4

/* Outcomes: the first one's in the higher bit. */
#define FIRST 2u
#define SECOND 1u
#define ALL_OUTCOMES 15u
#define WITHOUT_SECOND (1u << 0 | 1u << FIRST)
#define WITH_FIRST (1u << FIRST | 1u << (FIRST | SECOND))
#define WITH_SECOND (1u << SECOND | 1u << (FIRST | SECOND))

struct pair_sweep {
        struct aftermath after;
        struct op_test store, tests[2];
        struct victim victims[2];
        struct step_plan plans[2];
        struct step_pair pair;
        uint64_t *places; /* where the first is left: instructions */
        uint64_t n_places, room;
        struct seen firsts, both;
        struct step_end end;
        bool first_new;   /* at an earlier place it had happened */
        bool begun;       /* the second has left where it begins */
        uint64_t n_steps; /* of the second, at most */
};

/* ---- The places of the first ---------------------------------------------------------------------------- */

static bool add_place(void *context, uint64_t step, const struct image *state)
{
        struct pair_sweep *sweep = context;

        if (!seen_add(&sweep->firsts, image_lock_digest(state)))
                return true;
        if (sweep->n_places == sweep->room) {
                sweep->room = sweep->room * 2 + 64;
                sweep->places = realloc(sweep->places, sweep->room * sizeof(sweep->places[0]));
                if (!sweep->places)
                        exit(1);
        }
        sweep->places[sweep->n_places++] = step;
        return true;
}

/* Which of the places the i-th one of n is. A sample takes others with another seed. */
static uint64_t place_of(const struct pair_sweep *sweep, uint64_t i, uint64_t n)
{
        uint64_t shift = sweep_options.all ? 0
                                           : (sweep_options.seed * 7 + strlen(sweep->after.name)) %
                                                     (sweep->n_places / n);

        return i * sweep->n_places / n + shift;
}

static uint64_t places_wanted(const struct pair_sweep *sweep)
{
        uint64_t max = sweep_options.all ? PLACES_OF_ALL : PLACES;

        return sweep->n_places < max ? sweep->n_places : max;
}

/* ---- Both dead ------------------------------------------------------------------------------------------ */

/* What may be found at the places of the second, once it is known how the first has come out. */
static void decide_first(struct pair_sweep *sweep)
{
        struct aftermath *after = &sweep->after;

        after->allowed = 0;
        for (unsigned i = 0; i < after->n_outcomes; i++)
                after->allowed |= after->found >> i & 1 ? after->follows[i] : 0;
        sweep->first_new |= !(after->found & ~WITH_FIRST);
        sweep->begun = true;
}

static bool is_place_to_recover(const struct pair_sweep *sweep)
{
        return sweep_options.all || (strlen(sweep->after.name) + sweep_options.seed) % 5 == 0;
}

static bool on_state(void *context, uint64_t step, const struct image *state)
{
        struct pair_sweep *sweep = context;
        struct aftermath *after = &sweep->after;
        bool is_new = seen_add(&sweep->both, image_digest(state));

        after->step = step;
        if (sweep->end.through && !sweep->end.status)
                after->allowed &= WITH_SECOND;
        if (is_new || !sweep->begun || sweep->end.through) {
                after->states++;
                aftermath_check_first(after, image_make_file(state));
                aftermath_write_first(after, state);
        }
        if (!sweep->begun)
                decide_first(sweep);
        else if (is_new && is_place_to_recover(sweep))
                aftermath_kill_the_next(after, state);
        aftermath_enter(after, TO_STEP, "stepping");
        return after->faults < FAULTS_MAX;
}

static void leave_first_at(struct pair_sweep *sweep, uint64_t place)
{
        struct aftermath *after = &sweep->after;
        uint64_t n_steps;

        sweep->pair.steps = after->before = place;
        sweep->begun = false;
        after->allowed = WITHOUT_SECOND & (sweep->first_new ? WITH_FIRST : ALL_OUTCOMES);
        aftermath_enter(after, TO_STEP, "stepping");
        n_steps = step_second(&sweep->pair, on_state, sweep, &sweep->end);
        sweep->n_steps = n_steps > sweep->n_steps ? n_steps : sweep->n_steps;
        after->sums->pair_places += n_steps;
        after->sums->pair_looked++;
        after->sums->pair_waits += sweep->end.waits;
        if (sweep->end.robbed)
                aftermath_complain(after, "the second has robbed the first, which is alive");
        sweep->end = (struct step_end){ 0 };
}

/* Real deaths. */
static void kill_really(struct pair_sweep *sweep, uint64_t n_kills)
{
        struct aftermath *after = &sweep->after;

        for (uint64_t i = 0; i < n_kills && after->faults < FAULTS_MAX; i++) {
                uint64_t random = (sweep_options.seed + i) * 0x9e3779b97f4a7c15ULL;

                sweep->pair.steps = after->before = sweep->places[(random >> 33) % sweep->n_places];
                after->step = (random >> 13) % (sweep->n_steps + 1);
                after->allowed = ALL_OUTCOMES;
                aftermath_enter(after, TO_STEP, "stepping");
                aftermath_of_kill(after, step_and_kill_both(&sweep->pair, after->step), i % 2);
        }
}

/* ---- The sweep ------------------------------------------------------------------------------------------ */

static void learn_outcomes(struct pair_sweep *sweep)
{
        struct aftermath *after = &sweep->after;

        for (unsigned i = 0; i < OUTCOMES_MAX; i++) {
                uint64_t steps = i & SECOND ? UINT64_MAX : 0;

                sweep->pair.steps = i & FIRST ? UINT64_MAX : 0;
                aftermath_enter(after, TO_STEP, "whole");
                aftermath_learn(after, step_and_kill_both(&sweep->pair, steps),
                                step_and_kill_both(&sweep->pair, steps), i);
        }
}

static bool count_state(void *context, uint64_t step, const struct image *state)
{
        (void)step, (void)state;
        ++*(uint64_t *)context;
        return true;
}

/* At how many of the second one's states, of so many places of the first, each is looked at. */
static uint64_t stride_of_second(struct pair_sweep *sweep, uint64_t n_places)
{
        struct step_end end;
        uint64_t n = 0;

        if (!sweep_options.all)
                return STRIDE;
        sweep->pair.steps = 0;
        (void)step_second(&sweep->pair, count_state, &n, &end);
        return n * n_places / LOOKS_OF_ALL + 1;
}

static void look_everywhere(struct pair_sweep *sweep)
{
        struct aftermath *after = &sweep->after;
        uint64_t n;

        sweep->pair.steps = 0;
        sweep->first_new = false;
        sweep->n_places = 0;
        seen_empty(&sweep->firsts);
        (void)add_place(sweep, 0, sweep->plans[0].start);
        (void)step_first(&sweep->pair, add_place, sweep);
        n = places_wanted(sweep);
        sweep->plans[1].stride = stride_of_second(sweep, n);
        after->sums->pair_first += sweep->n_places;
        for (uint64_t i = 0; i < n && after->faults < FAULTS_MAX; i++)
                leave_first_at(sweep, sweep->places[place_of(sweep, i, n)]);
        kill_really(sweep, sweep_options.all ? REAL_KILLS_OF_ALL : 1);
}

/* Both of them as they are, but on the keys that the pair names. */
static void make_tests(struct pair_sweep *sweep, const struct pair_test *pair, struct image *ret_start)
{
        struct objd_conn conn;

        sweep->store = *find_operation(pair->store);
        sweep_build(&sweep->store, ret_start);
        bare_attach(&conn, image_make_file(ret_start));
        for (int i = 0; i < 2; i++) {
                int64_t key = i ? pair->other_key : pair->key, target = sweep->store.key;

                sweep->tests[i] = *find_operation(i ? pair->other : pair->operation);
                sweep->tests[i].key = key == KEY_NEAR  ? key_beside(&conn, target, true)
                                      : key == KEY_FAR ? key_beside(&conn, target, false)
                                      : key > 0        ? key
                                                       : target;
                sweep->store.silent = sweep->tests[0].silent && sweep->tests[1].silent;
        }
        bare_leave(&conn);
}

static void make_plans(struct pair_sweep *sweep, const struct image *start, bool turned)
{
        for (int i = 0; i < 2; i++) {
                sweep->victims[i] = (struct victim){ .test = &sweep->tests[i ^ turned] };
                sweep->plans[i] = (struct step_plan){ .start = start,
                                                      .prepare = prepare_victim,
                                                      .fn = run_victim,
                                                      .context = &sweep->victims[i],
                                                      .stride = 1,
                                                      .timeout_ns = SECOND_WAITS_NS };
        }
        sweep->pair = (struct step_pair){ .first = &sweep->plans[0], .second = &sweep->plans[1] };
}

static void sweep_in_order(struct pair_sweep *sweep, const struct image *start, bool turned, bool killed)
{
        struct aftermath *after = &sweep->after;

        make_plans(sweep, start, turned);
        sweep->pair.killed = killed;
        after->sums->pairs++;
        learn_outcomes(sweep);
        if (!sweep->store.silent && after->content[0].store == after->content[FIRST].store &&
            after->content[0].store == after->content[SECOND].store)
                aftermath_complain(after, "they show nothing");
        look_everywhere(sweep);
}

/*
 * Which is the first, and whether it is stopped or killed before the second goes on: all four, or in a sample one of them, with
 * another seed another one.
 */
static void sweep_in_all_orders(struct pair_sweep *sweep, const struct image *start)
{
        unsigned chosen = (unsigned)((strlen(sweep->after.name) + sweep_options.seed) % 4);

        for (unsigned i = 0; i < 4 && sweep->after.faults < FAULTS_MAX; i++)
                if (sweep_options.all || i == chosen)
                        sweep_in_order(sweep, start, i & 1, i & 2);
}

static bool is_large(const struct pair_sweep *sweep)
{
        return sweep->tests[0].large || sweep->tests[1].large;
}

int sweep_pair(void *context)
{
        struct sweep_job *job = context;
        struct sweep_sums before = *job->sums;
        struct pair_sweep sweep = { .after = { .test = &sweep.store,
                                               .sums = job->sums,
                                               .two = true,
                                               .recovery_instructions = RECOVERY_INSTRUCTIONS,
                                               .n_outcomes = OUTCOMES_MAX,
                                               .follows = { 1 << 0 | 1 << 1, 1 << 1, 1 << 2 | 1 << 3,
                                                            1 << 3 } } };
        struct aftermath *after = &sweep.after;
        int64_t start_ns = test_now_ns();
        struct image start;
        char name[160];

        snprintf(name, sizeof(name), "two: %s | %s", job->pair->operation, job->pair->other);
        after->name = name;
        aftermath_begin(after);
        make_tests(&sweep, job->pair, &start);
        if (sweep_options.all || sweep_options.large || !is_large(&sweep))
                sweep_in_all_orders(&sweep, &start);
        image_free(&start);
        free(sweep.places);
        job->sums->pair_states += after->states;
        job->sums->faults += after->faults;
        printf("%-80s %4llu of %4llu places of the first, %8llu of the second, %6llu states, %4llu waits, %5.1f s: %s\n",
               name, (unsigned long long)(job->sums->pair_looked - before.pair_looked),
               (unsigned long long)(job->sums->pair_first - before.pair_first),
               (unsigned long long)(job->sums->pair_places - before.pair_places),
               (unsigned long long)after->states,
               (unsigned long long)(job->sums->pair_waits - before.pair_waits),
               (double)(test_now_ns() - start_ns) / 1e9, after->faults ? "FAULTS" : "clean");
        return after->faults ? 1 : 0;
}
