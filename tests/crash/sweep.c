/* SPDX-License-Identifier: Apache-2.0 */

/*
 * sweep.c -- one operation, its process killed between any two of its instructions, and those who come next as well
 *
 * The victim runs instruction by instruction. Each time that the arena has changed, it is looked at as it would be found if
 * the victim died there (step.h):
 *
 *   check first   whoever comes next runs the checker, which recovers, and finds nothing wrong; the store holds what it held
 *                 before the operation or what it holds after it; and once it was the latter, it is never again
 *                 the former; nothing of the dead is left
 *   write first   whoever comes next writes to the same object before anybody has recovered, and has done so within 100 ms
 *   killed twice  whoever comes next only recovers, and is a victim itself: it dies at each of its instructions, and so does
 *                 the one after it. This begins at one of all places at which the lanes say the same.
 *
 * Some of the deaths are real ones (SIGKILL), which find the same.
 */

#include "crash/sweep.h"

#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem/pool.h"
#include "support/child.h"
#include "support/test.h"
#include "txn/lane.h"
#include "txn/recover.h"

/* Seconds; stepping through an operation may take a while on a machine with other things to do. */
#define TO_STEP 600
#define TO_RECOVER 60

#define FAULTS_MAX 5
#define WRITE_NS 100000000LL /* what is promised */
#define WRITE_TRIES 8        /* whoever comes next may have to wait for the processor */

/* In a sample. */
#define RECOVERIES 1 /* states of the log from which recovery is killed, with one, and with two before it */
#define RECOVERY_STRIDE 10 /* which of its states are looked at */
#define REAL_KILLS 1
#define RANDOM_KILLS 6
#define RANDOM_TRIES 200

/*
 * With --all: recovery is killed from every state of the log, until so many of its instructions have been counted; of the states
 * beyond that, from ever fewer.
 */
#define RECOVERY_INSTRUCTIONS 150000
#define REAL_KILLS_OF_ALL 10
#define REAL_KILLS_OF_LARGE 3

struct sweep_options sweep_options = { .seed = 1, .stride = 12 };

enum look { OLD, NEW, WRONG };

/* What a store holds. */
struct content {
        uint64_t store, used;
};

/* Digests that have been met. */
struct seen {
        uint64_t *slots, n, room;
};

struct sweep {
        struct op_test *test;
        struct victim victim;
        struct sweep_sums *sums;
        const char *mode;
        uint64_t step, recovery_step;
        uint64_t faults, states;
        bool new_seen, real;
        struct content content[2];      /* old, new */
        struct content after_write[2];  /* the same, after who comes next has written */
        int depth;                      /* how many recoverers there are */
        struct seen logs[2], recovered; /* by depth */
        uint64_t n_recovered[2];        /* likewise: instructions of recovery so far */
};

/* ---- Saying what is wrong ------------------------------------------------------------------------------- */

static const char *where(const struct sweep *sweep)
{
        static char text[240];

        snprintf(text, sizeof(text), "%s, %s, instruction %llu/%llu", sweep->test->name, sweep->mode,
                 (unsigned long long)sweep->step, (unsigned long long)sweep->recovery_step);
        return text;
}

static void complain(struct sweep *sweep, const char *what)
{
        sweep->faults++;
        fprintf(stderr, "%s: %s (%s)\n", where(sweep), what, objd_last_error());
}

/* If something hangs, the operation and the instruction are worth knowing. */
static struct sweep *running;

static void say_where(int signal_number)
{
        const char *text = where(running), *what = signal_number == SIGALRM ? ": hangs\n" : ": crashes\n";
        void *frames[32];

        if (write(2, text, strlen(text)) > 0 && write(2, what, strlen(what)) > 0)
                backtrace_symbols_fd(frames, backtrace(frames, 32), 2);
        _exit(1);
}

static void give(unsigned seconds, struct sweep *sweep, const char *mode)
{
        sweep->mode = mode;
        alarm(seconds);
}

static void begin(struct sweep *sweep)
{
        running = sweep;
        signal(SIGALRM, say_where);
        signal(SIGSEGV, say_where);
        signal(SIGBUS, say_where);
        setvbuf(stdout, NULL, _IOLBF, 0); /* what is printed is not lost with _exit() */
        give(TO_STEP, sweep, "building");
}

/* ---- Digests that have been met ------------------------------------------------------------------------- */

static bool seen_add(struct seen *seen, uint64_t digest)
{
        uint64_t i;

        if (seen->n * 2 >= seen->room) {
                struct seen old = *seen;

                seen->room = old.room ? old.room * 2 : 1024;
                seen->n = 0;
                seen->slots = calloc(seen->room, sizeof(uint64_t));
                if (!seen->slots)
                        exit(1);
                for (i = 0; i < old.room; i++)
                        if (old.slots[i])
                                (void)seen_add(seen, old.slots[i]);
                free(old.slots);
        }
        digest += !digest;
        for (i = digest % seen->room; seen->slots[i]; i = (i + 1) % seen->room)
                if (seen->slots[i] == digest)
                        return false;
        seen->slots[i] = digest;
        seen->n++;
        return true;
}

/* ---- Those who come next -------------------------------------------------------------------------------- */

static bool has_pins(const struct lane_shm *lane)
{
        for (uint32_t i = 0; i < LANE_PINS; i++)
                if (lane->pins[i])
                        return true;
        return false;
}

/* Nobody but this process has anything in the arena. */
static void expect_nothing_left(struct sweep *sweep, struct objd_conn *conn)
{
        struct arena *arena = conn->arena;
        uint64_t own = word_get(&arena->client);

        for (uint32_t i = 1; i < arena_lanes_high(arena); i++) {
                if (arena_lane(arena, i)->claimed && word_get(&arena_lane(arena, i)->client) != own)
                        complain(sweep, "a lane is left");
                if (has_pins(arena_lane(arena, i)))
                        complain(sweep, "a pin is left");
        }
        if (arena_lane(arena, RESERVE_LANE)->claimed)
                complain(sweep, "the reserve lane is left");
        for (uint32_t i = 1; i < word_get(&arena->header->clients_high); i++)
                if (arena_client(arena, i)->claimed && i != id_number(own))
                        complain(sweep, "a client is left");
}

/* Nobody is dead any more, and nothing is wrong. */
static void expect_clean(struct sweep *sweep, struct objd_conn *conn)
{
        sweep->faults += bare_check(conn, where(sweep));
        expect_nothing_left(sweep, conn);
}

/* What was pinned when it was freed waits until somebody needs memory. */
static void empty_limbo(struct objd_conn *conn)
{
        struct lane *lane;

        if (!word_get(&conn->arena->header->pool.limbo))
                return;
        must(lane_enter(conn->arena, OBJD_FOREVER, &lane), "a lane");
        pool_trim(lane);
        lane_leave(lane);
}

static struct content content_of(const struct sweep *sweep, struct objd_conn *conn)
{
        empty_limbo(conn);
        return (struct content){ .store = digest_store(conn, sweep->test->any_order),
                                 .used = digest_used(conn) };
}

static enum look compare(const struct content *found, const struct content known[2])
{
        for (int i = 1; i >= 0; i--)
                if (found->store == known[i].store && found->used == known[i].used)
                        return i ? NEW : OLD;
        return WRONG;
}

static void expect_known(struct sweep *sweep, struct objd_conn *conn, const struct content *found,
                         const struct content known[2])
{
        if (compare(found, known) != WRONG)
                return;
        complain(sweep, found->store == known[0].store || found->store == known[1].store
                                ? "the store has more or less memory than it needs"
                                : "what it left is neither old nor new");
        print_store(conn);
}

static void check_first(struct sweep *sweep, int fd)
{
        struct objd_conn conn;
        struct content found;
        enum look look;

        give(TO_RECOVER, sweep, sweep->real ? "killed, check first" : "check first");
        bare_attach(&conn, fd);
        expect_clean(sweep, &conn);
        found = content_of(sweep, &conn);
        expect_known(sweep, &conn, &found, sweep->content);
        look = compare(&found, sweep->content);
        if (look == OLD && sweep->new_seen && !sweep->test->silent)
                complain(sweep, "it had been committed, and is undone");
        sweep->new_seen |= look == NEW;
        bare_leave(&conn);
}

/* Gives how long the write took. */
static int64_t write_once(struct sweep *sweep, int fd)
{
        struct objd_conn conn;
        struct content found;
        int64_t start, took;
        objd_status r;

        give(TO_RECOVER, sweep, sweep->real ? "killed, write first" : "write first");
        bare_attach(&conn, fd);
        start = test_now_ns();
        r = write_next(&conn, sweep->test);
        took = test_now_ns() - start;
        if (r)
                complain(sweep, objd_strerror(r));
        expect_clean(sweep, &conn);
        found = content_of(sweep, &conn);
        expect_known(sweep, &conn, &found, sweep->after_write);
        bare_leave(&conn);
        return took;
}

static void expect_soon(struct sweep *sweep, int64_t took)
{
        if (took > WRITE_NS)
                complain(sweep, "the next writer waited for more than 100 ms");
        if ((uint64_t)took > sweep->sums->longest_ns)
                sweep->sums->longest_ns = (uint64_t)took;
}

static void write_first(struct sweep *sweep, const struct image *state)
{
        int64_t took = write_once(sweep, image_make_file(state));

        for (int i = 1; took > WRITE_NS && i < WRITE_TRIES && sweep->faults < FAULTS_MAX; i++)
                took = write_once(sweep, image_make_file(state));
        expect_soon(sweep, took);
}

/* ---- Killed twice, and three times ---------------------------------------------------------------------- */

static objd_status claim_a_lane(struct objd_conn *conn, void *context)
{
        struct lane *lane;
        objd_status r = lane_enter(conn->arena, OBJD_FOREVER, &lane);

        (void)context;
        if (r == OBJD_OK)
                lane_leave(lane);
        return r;
}

static objd_status recover_only(struct objd_conn *conn, void *context)
{
        struct lane *lane;
        objd_status r = lane_enter(conn->arena, OBJD_FOREVER, &lane);

        (void)context;
        if (r)
                return r;
        (void)recover_all(conn->arena, lane);
        lane_leave(lane);
        return OBJD_OK;
}

static void kill_the_next(struct sweep *sweep, const struct image *state);

static bool after_second_death(void *context, uint64_t step, const struct image *state)
{
        struct sweep *sweep = context;
        bool seen_new = sweep->new_seen;

        sweep->recovery_step = step;
        if (!seen_add(&sweep->recovered, image_digest(state)))
                return true;
        sweep->sums->recovery_states++;
        if (sweep->recovered.n % 2) {
                sweep->new_seen = false;
                check_first(sweep, image_make_file(state));
                sweep->new_seen = seen_new;
        } else {
                write_first(sweep, state);
        }
        give(TO_STEP, sweep, "stepping through recovery");
        if (sweep->depth < 2)
                kill_the_next(sweep, state);
        return sweep->faults < FAULTS_MAX;
}

/* Whether recovery is killed from this state of the log, too: of very many, an ever smaller part is taken. */
static bool is_log_wanted(struct sweep *sweep, uint64_t digest)
{
        uint64_t n = sweep->n_recovered[sweep->depth] / RECOVERY_INSTRUCTIONS;

        if (!sweep_options.all)
                return !sweep->n_recovered[sweep->depth];
        return digest >> 32 < (1ULL << 32) >> (n < 32 ? n : 32);
}

static void kill_the_next(struct sweep *sweep, const struct image *state)
{
        struct step_plan plan = { .start = state,
                                  .prepare = claim_a_lane,
                                  .fn = recover_only,
                                  .context = sweep,
                                  .stride = sweep_options.all ? 1 : RECOVERY_STRIDE };
        uint64_t digest = image_log_digest(state), n_steps;

        if (!seen_add(&sweep->logs[sweep->depth], digest))
                return;
        sweep->sums->logs++;
        if (!is_log_wanted(sweep, digest))
                return;
        sweep->sums->logs_recovered++;
        sweep->depth++;
        give(TO_STEP, sweep, "stepping through recovery");
        n_steps = step_through(&plan, after_second_death, sweep);
        sweep->depth--;
        sweep->n_recovered[sweep->depth] += n_steps;
        sweep->sums->recovery_instructions += n_steps;
        sweep->recovery_step = 0;
}

/* ---- The sweep ------------------------------------------------------------------------------------------ */

/* In a sample, recovery is killed from somewhere in the middle of every third operation. */
static bool is_place_to_recover(const struct sweep *sweep)
{
        return sweep_options.all || ((strlen(sweep->test->name) + sweep_options.seed) % 3 == 0 &&
                                     sweep->states >= 1 + sweep_options.seed % 4);
}

static bool on_state(void *context, uint64_t step, const struct image *state)
{
        struct sweep *sweep = context;

        sweep->step = step;
        sweep->states++;
        check_first(sweep, image_make_file(state));
        write_first(sweep, state);
        if (is_place_to_recover(sweep))
                kill_the_next(sweep, state);
        give(TO_STEP, sweep, "stepping");
        return sweep->faults < FAULTS_MAX;
}

static void count_kill(struct sweep *sweep, int fd, uint64_t i)
{
        struct image state;
        struct objd_conn conn;

        sweep->sums->kills++;
        if (i % 2) {
                check_first(sweep, fd);
                return;
        }
        bare_attach(&conn, fd);
        image_take(conn.arena, &state); /* should it have to be tried again */
        fd = fcntl(conn.arena->fd, F_DUPFD_CLOEXEC, 3);
        bare_leave(&conn);
        if (write_once(sweep, fd) > WRITE_NS)
                write_first(sweep, &state);
        image_free(&state);
}

/* Real deaths, over the whole operation. */
static void kill_really(struct sweep *sweep, struct step_plan *plan, uint64_t n_steps, uint64_t n_kills)
{
        sweep->new_seen = false;
        sweep->real = true;
        for (uint64_t i = 0; i < n_kills && sweep->faults < FAULTS_MAX; i++) {
                uint64_t at = (n_steps * i + (sweep_options.seed + i) % 7 * n_steps / 7) / n_kills;
                int fd;

                sweep->step = at;
                give(TO_STEP, sweep, "stepping");
                fd = step_and_kill(plan, at);
                if (fd >= 0)
                        count_kill(sweep, fd, i);
        }
        sweep->real = false;
}

/* An operation that is too large for a sample to step through: deaths at moments that nobody has chosen. */
static void kill_at_random(struct sweep *sweep, struct step_plan *plan)
{
        int64_t duration_ns = 0;
        uint64_t n = 0;

        sweep->real = true;
        for (uint64_t i = 0; i < RANDOM_TRIES && n < RANDOM_KILLS && sweep->faults < FAULTS_MAX; i++) {
                int fd;

                give(TO_STEP, sweep, "running");
                fd = run_and_kill(plan, (sweep_options.seed + i) * 0x9e3779b97f4a7c15ULL >> 20, &duration_ns);
                if (fd < 0)
                        continue;
                sweep->step = i;
                sweep->new_seen = false;
                n++;
                count_kill(sweep, fd, i);
        }
        if (!n)
                complain(sweep, "it was never killed inside the operation");
}

static void build(struct op_test *test, struct image *ret_image)
{
        struct objd_conn conn;

        bare_create(&conn, test->size ? test->size : 2 * MIB);
        build_store(&conn, test);
        /* Its lane goes back before the image is made; the connection ends after it. */
        lane_release_own(conn.arena);
        image_take(conn.arena, ret_image);
        bare_leave(&conn);
}

/* What the store holds if the victim dies there, now and after who comes next has written. */
static void learn(struct sweep *sweep, const struct step_plan *plan, bool after)
{
        struct objd_conn conn;
        int fd;

        bare_attach(&conn, after ? run_to_end(plan) : step_and_kill(plan, 0));
        expect_clean(sweep, &conn);
        sweep->content[after] = content_of(sweep, &conn);
        bare_leave(&conn);

        fd = after ? run_to_end(plan) : step_and_kill(plan, 0);
        bare_attach(&conn, fd);
        must(write_next(&conn, sweep->test), "writing before or after the operation");
        expect_clean(sweep, &conn);
        sweep->after_write[after] = content_of(sweep, &conn);
        if (sweep_options.show)
                print_store(&conn);
        bare_leave(&conn);
}

static void learn_both(struct sweep *sweep, const struct step_plan *plan)
{
        give(TO_STEP, sweep, "whole");
        learn(sweep, plan, false);
        learn(sweep, plan, true);
        if ((sweep->content[0].store == sweep->content[1].store) != sweep->test->silent)
                complain(sweep, sweep->test->silent ? "it shows though it should not" : "it shows nothing");
}

static void look_everywhere(struct sweep *sweep, struct step_plan *plan)
{
        uint64_t n_steps;

        plan->stride = sweep_options.all ? 1 : sweep_options.stride;
        plan->first = sweep_options.from;
        n_steps = step_through(plan, on_state, sweep);
        sweep->sums->instructions += n_steps;
        sweep->sums->states += sweep->states;
        if (!sweep->faults && !sweep->states)
                complain(sweep, "it was never killed inside the operation");
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
        struct sweep sweep = { .test = test, .victim = { .test = test }, .sums = job->sums };
        struct step_plan plan = { .victim = test->victim,
                                  .prepare = test->victim == STEP_BARE ? NULL : prepare_victim,
                                  .fn = run_victim,
                                  .context = &sweep.victim,
                                  .stride = 1 };
        struct image start;
        int64_t start_ns = test_now_ns();

        begin(&sweep);
        build(test, &start);
        plan.start = &start;
        learn_both(&sweep, &plan);
        if (test->large && !sweep_options.all && !sweep_options.large)
                kill_at_random(&sweep, &plan);
        else
                look_everywhere(&sweep, &plan);
        image_free(&start);
        job->sums->operations++;
        job->sums->faults += sweep.faults;
        printf("%-52s %7llu instructions, %6llu states, %5llu logs, %8llu of recovery, %6llu states, %5.1f s: %s\n",
               test->name, (unsigned long long)(job->sums->instructions - before.instructions),
               (unsigned long long)sweep.states, (unsigned long long)(job->sums->logs - before.logs),
               (unsigned long long)(job->sums->recovery_instructions - before.recovery_instructions),
               (unsigned long long)(job->sums->recovery_states - before.recovery_states),
               (double)(test_now_ns() - start_ns) / 1e9, sweep.faults ? "FAULTS" : "clean");
        return sweep.faults ? 1 : 0;
}
