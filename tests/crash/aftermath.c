/* SPDX-License-Identifier: Apache-2.0 */

/*
 * aftermath.c -- what those find who come after a death
 *
 *   check first   whoever comes next runs the checker, which recovers, and finds nothing wrong; the store holds what one of the
 *                 outcomes says that are still possible; nothing of the dead is left
 *   write first   whoever comes next writes to the same object before anybody has recovered, and has done so within 100 ms
 *   killed twice  whoever comes next only recovers, and is a victim itself: it dies at each of its instructions, and so does
 *                 the one after it. This begins at one of all places at which the lanes say the same.
 */

#include "crash/aftermath.h"

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

/* Seconds. */
#define TO_RECOVER 60

#define WRITE_NS 100000000LL /* what is promised */
#define WRITE_TRIES 8        /* whoever comes next may have to wait for the processor */

/* In a sample: which of the states of recovery are looked at. */
#define RECOVERY_STRIDE 10

/* ---- Saying what is wrong ------------------------------------------------------------------------------- */

static const char *where(const struct aftermath *after)
{
        static char text[240];
        char before[40] = "";

        if (after->two)
                snprintf(before, sizeof(before), "%llu and ", (unsigned long long)after->before);
        snprintf(text, sizeof(text), "%s, %s, instruction %s%llu/%llu", after->name, after->mode, before,
                 (unsigned long long)after->step, (unsigned long long)after->recovery_step);
        return text;
}

void aftermath_complain(struct aftermath *after, const char *what)
{
        after->faults++;
        fprintf(stderr, "%s: %s (%s)\n", where(after), what, objd_last_error());
}

/* If something hangs, the operation and the instruction are worth knowing. */
static struct aftermath *running;

static void say_where(int signal_number)
{
        const char *text = where(running), *what = signal_number == SIGALRM ? ": hangs\n" : ": crashes\n";
        void *frames[32];

        if (write(2, text, strlen(text)) > 0 && write(2, what, strlen(what)) > 0)
                backtrace_symbols_fd(frames, backtrace(frames, 32), 2);
        _exit(1);
}

void aftermath_enter(struct aftermath *after, unsigned seconds, const char *mode)
{
        after->mode = mode;
        alarm(seconds);
}

void aftermath_begin(struct aftermath *after)
{
        running = after;
        signal(SIGALRM, say_where);
        signal(SIGSEGV, say_where);
        signal(SIGBUS, say_where);
        setvbuf(stdout, NULL, _IOLBF, 0); /* what is printed is not lost with _exit() */
        aftermath_enter(after, TO_STEP, "building");
}

/* ---- Digests that have been met ------------------------------------------------------------------------- */

bool seen_add(struct seen *seen, uint64_t digest)
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

void seen_empty(struct seen *seen)
{
        free(seen->slots);
        *seen = (struct seen){ 0 };
}

/* ---- What is left --------------------------------------------------------------------------------------- */

static bool has_pins(const struct lane_shm *lane)
{
        for (uint32_t i = 0; i < LANE_PINS; i++)
                if (lane->pins[i])
                        return true;
        return false;
}

/* Nobody but this process has anything in the arena. */
static void expect_nothing_left(struct aftermath *after, struct objd_conn *conn)
{
        struct arena *arena = conn->arena;
        uint64_t own = word_get(&arena->client);

        for (uint32_t i = 1; i < arena_lanes_high(arena); i++) {
                if (arena_lane(arena, i)->claimed && word_get(&arena_lane(arena, i)->client) != own)
                        aftermath_complain(after, "a lane is left");
                if (has_pins(arena_lane(arena, i)))
                        aftermath_complain(after, "a pin is left");
        }
        if (arena_lane(arena, RESERVE_LANE)->claimed)
                aftermath_complain(after, "the reserve lane is left");
        for (uint32_t i = 1; i < word_get(&arena->header->clients_high); i++)
                if (arena_client(arena, i)->claimed && i != id_number(own))
                        aftermath_complain(after, "a client is left");
}

/* Nobody is dead any more, and nothing is wrong. */
static void expect_clean(struct aftermath *after, struct objd_conn *conn)
{
        after->faults += bare_check(conn, where(after));
        expect_nothing_left(after, conn);
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

struct content aftermath_content(const struct aftermath *after, struct objd_conn *conn)
{
        empty_limbo(conn);
        return (struct content){ .store = digest_store(conn, after->test->any_order),
                                 .used = digest_used(conn) };
}

static void end_living(struct aftermath *after, struct objd_conn *conn)
{
        if (after->end_fn)
                after->end_fn(after, conn);
}

void aftermath_learn(struct aftermath *after, int fd, int fd_to_write, unsigned outcome)
{
        struct objd_conn conn;

        bare_attach(&conn, fd);
        end_living(after, &conn);
        expect_clean(after, &conn);
        after->content[outcome] = aftermath_content(after, &conn);
        bare_leave(&conn);

        bare_attach(&conn, fd_to_write);
        must(write_next(&conn, after->test), "writing before or after the operation");
        end_living(after, &conn);
        expect_clean(after, &conn);
        after->after_write[outcome] = aftermath_content(after, &conn);
        if (sweep_options.show)
                print_store(&conn);
        bare_leave(&conn);
}

/* ---- Those who come next -------------------------------------------------------------------------------- */

/* The set of outcomes that look like this; several may look the same. */
static unsigned compare(const struct aftermath *after, const struct content *found,
                        const struct content *known)
{
        unsigned set = 0;

        for (unsigned i = 0; i < after->n_outcomes; i++)
                if (found->store == known[i].store && found->used == known[i].used)
                        set |= 1u << i;
        return set;
}

static bool is_known_store(const struct aftermath *after, const struct content *found,
                           const struct content *known)
{
        for (unsigned i = 0; i < after->n_outcomes; i++)
                if (found->store == known[i].store)
                        return true;
        return false;
}

/* Complains if none of the possible outcomes looks like this; gives those that do. */
static unsigned expect_allowed(struct aftermath *after, struct objd_conn *conn, const struct content *found,
                               const struct content *known)
{
        unsigned set = compare(after, found, known);

        if (set & after->allowed)
                return set & after->allowed;
        if (set)
                aftermath_complain(after,
                                   "it cannot have come out so any more: what was decided is undone, or what "
                                   "was undone is there");
        else
                aftermath_complain(after, is_known_store(after, found, known)
                                                  ? "the store has more or less memory than it needs"
                                                  : "what it left is neither old nor new");
        print_store(conn);
        return set;
}

void aftermath_check_first(struct aftermath *after, int fd)
{
        struct objd_conn conn;
        struct content found;
        unsigned follows = 0;

        aftermath_enter(after, TO_RECOVER, after->real ? "killed, check first" : "check first");
        bare_attach(&conn, fd);
        end_living(after, &conn);
        expect_clean(after, &conn);
        found = aftermath_content(after, &conn);
        after->found = expect_allowed(after, &conn, &found, after->content);
        for (unsigned i = 0; i < after->n_outcomes; i++)
                follows |= after->found >> i & 1 ? after->follows[i] : 0;
        after->allowed &= follows;
        bare_leave(&conn);
}

/* Gives how long the write took. */
static int64_t write_once(struct aftermath *after, int fd)
{
        struct objd_conn conn;
        struct content found;
        int64_t start, took;
        objd_status r;

        aftermath_enter(after, TO_RECOVER, after->real ? "killed, write first" : "write first");
        bare_attach(&conn, fd);
        start = test_now_ns();
        r = write_next(&conn, after->test);
        took = test_now_ns() - start;
        if (r)
                aftermath_complain(after, objd_strerror(r));
        end_living(after, &conn);
        expect_clean(after, &conn);
        found = aftermath_content(after, &conn);
        (void)expect_allowed(after, &conn, &found, after->after_write);
        bare_leave(&conn);
        return took;
}

static void expect_soon(struct aftermath *after, int64_t took)
{
        if (took > WRITE_NS)
                aftermath_complain(after, "the next writer waited for more than 100 ms");
        if ((uint64_t)took > after->sums->longest_ns)
                after->sums->longest_ns = (uint64_t)took;
}

void aftermath_write_first(struct aftermath *after, const struct image *state)
{
        int64_t took = write_once(after, image_make_file(state));

        for (int i = 1; took > WRITE_NS && i < WRITE_TRIES && after->faults < FAULTS_MAX; i++)
                took = write_once(after, image_make_file(state));
        expect_soon(after, took);
}

void aftermath_of_kill(struct aftermath *after, int fd, bool check)
{
        struct image state;
        struct objd_conn conn;

        after->sums->kills++;
        after->real = true;
        if (check) {
                aftermath_check_first(after, fd);
        } else {
                bare_attach(&conn, fd);
                image_take(conn.arena, &state); /* should it have to be tried again */
                fd = fcntl(conn.arena->fd, F_DUPFD_CLOEXEC, 3);
                bare_leave(&conn);
                if (write_once(after, fd) > WRITE_NS)
                        aftermath_write_first(after, &state);
                image_free(&state);
        }
        after->real = false;
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

/*
 * Recovery decides nothing: what the victim's death had left has come out as it was found there, if what was found could
 * be told from other outcomes.
 */
static bool after_second_death(void *context, uint64_t step, const struct image *state)
{
        struct aftermath *after = context;

        after->recovery_step = step;
        if (!seen_add(&after->recovered, image_digest(state)))
                return true;
        after->sums->recovery_states++;
        if (after->recovered.n % 2)
                aftermath_check_first(after, image_make_file(state));
        else
                aftermath_write_first(after, state);
        aftermath_enter(after, TO_STEP, "stepping through recovery");
        if (after->depth < 2)
                aftermath_kill_the_next(after, state);
        return after->faults < FAULTS_MAX;
}

/* Whether recovery is killed from this state of the log, too: of very many, an ever smaller part is taken. */
static bool is_log_wanted(const struct aftermath *after, uint64_t digest)
{
        uint64_t n = after->n_recovered[after->depth] / after->recovery_instructions;

        if (!sweep_options.all)
                return !after->n_recovered[after->depth];
        return digest >> 32 < (1ULL << 32) >> (n < 32 ? n : 32);
}

void aftermath_kill_the_next(struct aftermath *after, const struct image *state)
{
        struct step_plan plan = { .start = state,
                                  .prepare = claim_a_lane,
                                  .fn = recover_only,
                                  .context = after,
                                  .stride = sweep_options.all ? 1 : RECOVERY_STRIDE };
        uint64_t digest = image_log_digest(state), n_steps;
        unsigned allowed = after->allowed, found = after->found;

        if (!sweep_options.recovery || !seen_add(&after->logs[after->depth], digest))
                return;
        after->sums->logs++;
        if (!is_log_wanted(after, digest))
                return;
        after->sums->logs_recovered++;
        if (!after->depth)
                after->allowed = found;
        after->depth++;
        aftermath_enter(after, TO_STEP, "stepping through recovery");
        n_steps = step_through(&plan, after_second_death, after);
        after->depth--;
        after->n_recovered[after->depth] += n_steps;
        after->sums->recovery_instructions += n_steps;
        after->recovery_step = 0;
        after->allowed = allowed;
        after->found = found;
}
