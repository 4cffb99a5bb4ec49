/* SPDX-License-Identifier: Apache-2.0 */

/*
 * step.c -- a process whose instructions are counted
 */

#include "crash/step.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "txn/lane.h"

/* A victim that has slept more often than this waits for somebody who does not move. */
#define SLEEPS_MAX 3u

/* What victim and tracer share beside the arena. */
enum phase { PHASE_BEFORE, PHASE_INSIDE, PHASE_DONE };

/* Where a victim stops by itself, for the tracer: before its operation, and after it. */
enum stops { STOPS_NEVER, STOPS_BEFORE, STOPS_TWICE };

struct shared {
        volatile int phase;
        volatile objd_status status;
        volatile int64_t start_ns, end_ns;
        char sentence[256];
};

struct victim {
        pid_t pid;
        struct shared *shared;
        struct objd_conn conn; /* the tracer's own view of the victim's arena */
        uint64_t steps;
};

static void die(const char *what)
{
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(1);
}

/* What the victim knows of the arena when it begins. */
static void give_connection(const struct step_plan *plan, const struct objd_conn *parents, int fd,
                            struct objd_conn *ret_conn)
{
        if (plan->victim == STEP_FORKED)
                *ret_conn = *parents;
        else if (plan->victim == STEP_BARE)
                *ret_conn = (struct objd_conn){ .control = fd };
        else
                bare_attach(ret_conn, fd);
}

static void be_victim(const struct step_plan *plan, struct shared *shared, const struct objd_conn *parents,
                      int fd, enum stops stops)
{
        struct objd_conn conn;
        objd_status r;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        give_connection(plan, parents, fd, &conn);
        r = plan->prepare ? plan->prepare(&conn, plan->context) : OBJD_OK;
        if (r) {
                fprintf(stderr, "the victim's preparations: %s\n", objd_last_error());
                _exit(1);
        }
        if (plan->timeout_ns)
                conn.timeout_ns = plan->timeout_ns;
        if (stops != STOPS_NEVER) {
                ptrace(PTRACE_TRACEME, 0, NULL, NULL);
                raise(SIGSTOP);
        }
        shared->start_ns = test_now_ns();
        shared->phase = PHASE_INSIDE;
        shared->status = plan->fn(&conn, plan->context);
        shared->end_ns = test_now_ns();
        shared->phase = PHASE_DONE;
        if (stops == STOPS_TWICE)
                raise(SIGSTOP);
        strncpy(shared->sentence, objd_last_error(), sizeof(shared->sentence) - 1);
        _exit(0);
}

static cpu_set_t all_processors;
static bool on_one_processor;

/* Who is to be killed at a random moment has to run while we do. */
static void go_to_any_processor(void)
{
        if (on_one_processor)
                (void)sched_setaffinity(0, sizeof(all_processors), &all_processors);
        on_one_processor = false;
}

void step_on_one_processor(void)
{
        cpu_set_t set;
        int cpu = sched_getcpu();

        if (on_one_processor || sched_getaffinity(0, sizeof(all_processors), &all_processors) < 0)
                return;
        on_one_processor = true;
        CPU_ZERO(&set);
        CPU_SET((size_t)(cpu < 0 ? 0 : cpu), &set);
        (void)sched_setaffinity(0, sizeof(set), &set);
        /* Each instruction is two turns at the processor; who is root does not wait for them behind everybody else. */
        (void)setpriority(PRIO_PROCESS, 0, -15);
}

static bool step(struct victim *victim)
{
        int status = 0;

        if (ptrace(PTRACE_SINGLESTEP, victim->pid, NULL, NULL) < 0 || waitpid(victim->pid, &status, 0) < 0)
                die("a single step");
        if (WIFSIGNALED(status)) {
                fprintf(stderr, "the victim died of signal %d\n", WTERMSIG(status));
                exit(1);
        }
        if (WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP) {
                fprintf(stderr, "the victim got signal %d at instruction %llu\n", WSTOPSIG(status),
                        (unsigned long long)victim->steps);
                exit(1);
        }
        return WIFSTOPPED(status);
}

/* The tracer itself is the parent of a victim that is one by its fork. */
static void be_parent(struct objd_conn *conn)
{
        struct lane *lane;

        if (lane_enter(conn->arena, OBJD_FOREVER, &lane))
                die("a lane for the parent");
        lane_leave(lane);
}

static void share(struct victim *victim)
{
        victim->steps = 0;
        victim->shared = mmap(NULL, sizeof(*victim->shared), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (victim->shared == MAP_FAILED)
                die("shared memory");
}

static void let_go(const struct step_plan *plan, struct victim *v, int fd, enum stops stops)
{
        fflush(NULL);
        v->pid = fork();
        if (v->pid < 0)
                die("fork");
        if (v->pid == 0)
                be_victim(plan, v->shared, &v->conn, fd, stops);
}

static void start(const struct step_plan *plan, struct victim *ret_victim, bool traced)
{
        int fd = plan->beside ? image_make_living(plan->start) : image_make_file(plan->start);
        int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        struct victim *v = ret_victim;

        if (own < 0)
                die("a descriptor");
        share(v);
        if (plan->victim == STEP_FORKED) {
                close(fd); /* later, it would drop the parent's record locks */
                bare_attach(&v->conn, own);
                be_parent(&v->conn);
        }
        let_go(plan, v, fd, traced ? STOPS_BEFORE : STOPS_NEVER);
        if (plan->victim == STEP_FORKED)
                return;
        close(fd);
        bare_attach(&v->conn, own);
}

/* Its preparations are done, and it has stopped. */
static void await(struct victim *victim)
{
        int status;

        if (waitpid(victim->pid, &status, 0) < 0 || !WIFSTOPPED(status))
                die("the victim did not stop");
}

static void step_to_operation(struct victim *victim)
{
        while (victim->shared->phase == PHASE_BEFORE)
                if (!step(victim))
                        die("the victim ended before its operation");
}

/* Starts a victim and brings it to the first instruction of its operation. */
static void start_stepping(const struct step_plan *plan, struct victim *ret_victim)
{
        step_on_one_processor();
        start(plan, ret_victim, true);
        await(ret_victim);
        step_to_operation(ret_victim);
}

static void end(struct victim *victim)
{
        munmap(victim->shared, sizeof(*victim->shared));
        bare_leave(&victim->conn);
}

static void run_to_its_end(struct victim *victim)
{
        int status;

        (void)ptrace(PTRACE_DETACH, victim->pid, NULL, NULL); /* it may not be traced, or be through */
        (void)waitpid(victim->pid, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) || victim->shared->status) {
                fprintf(stderr, "the operation itself failed: %s: %s\n",
                        objd_strerror(victim->shared->status), victim->shared->sentence);
                exit(1);
        }
}

static void kill_now(struct victim *victim)
{
        int status;

        kill(victim->pid, SIGKILL);
        if (waitpid(victim->pid, &status, 0) != victim->pid || !WIFSIGNALED(status) ||
            WTERMSIG(status) != SIGKILL)
                die("the victim was not killed");
}

/* Whether it sleeps on a lock: how often it has begun to is counted. */
struct sleeps {
        const struct lane_shm *lane; /* the victim's; NULL: nobody is interested */
        bool now;
        unsigned n;
};

static void look_for_sleep(struct sleeps *sleeps)
{
        bool now = sleeps->lane && word_get(&sleeps->lane->waits_for);

        sleeps->n += now && !sleeps->now;
        sleeps->now = now;
}

static bool is_to_compare(const struct victim *v, const struct step_plan *plan)
{
        return v->steps >= plan->first && (!plan->compare || v->steps % plan->compare == 0);
}

/*
 * The victim's way from here to the end of its operation, or until somebody has enough, which is told by false; or until it has
 * slept too often.
 */
static bool walk(struct victim *v, const struct objd_conn *conn, const struct step_plan *plan,
                 struct sleeps *sleeps, step_state_fn on_state, void *context)
{
        struct image last;
        bool go_on = true;
        uint64_t n = 0;

        image_take(conn->arena, &last);
        while (v->shared->phase == PHASE_INSIDE && go_on && sleeps->n <= SLEEPS_MAX) {
                if (is_to_compare(v, plan) && !image_is_same(conn->arena, &last)) {
                        image_free(&last);
                        image_take(conn->arena, &last);
                        look_for_sleep(sleeps);
                        if (++n == 1 || n % plan->stride == plan->stride / 2)
                                go_on = on_state(context, v->steps, &last);
                }
                if (!step(v))
                        break;
                v->steps++;
        }
        image_free(&last);
        return go_on;
}

uint64_t step_through(const struct step_plan *plan, step_state_fn on_state, void *context)
{
        struct sleeps sleeps = { 0 };
        uint64_t steps;
        struct victim v;

        start_stepping(plan, &v);
        if (walk(&v, &v.conn, plan, &sleeps, on_state, context))
                run_to_its_end(&v);
        else
                kill_now(&v);
        steps = v.steps;
        end(&v);
        return steps;
}

int step_and_kill(const struct step_plan *plan, uint64_t steps)
{
        struct victim v;
        bool done;
        int fd;

        start_stepping(plan, &v);
        while (v.steps < steps && v.shared->phase == PHASE_INSIDE) {
                if (!step(&v))
                        die("the victim ended inside its operation");
                v.steps++;
        }
        done = v.shared->phase != PHASE_INSIDE;
        kill_now(&v);
        fd = fcntl(v.conn.arena->fd, F_DUPFD_CLOEXEC, 3);
        end(&v);
        if (done)
                close(fd);
        return done ? -1 : fd;
}

/* ---- Two of them ---------------------------------------------------------------------------------------- */

struct two {
        struct victim first, second;
        struct objd_conn conn; /* the tracer's own view of the arena of both */
};

static void step_on(struct victim *victim, uint64_t steps)
{
        if (steps == UINT64_MAX) {
                if (ptrace(PTRACE_CONT, victim->pid, NULL, NULL) < 0)
                        die("a victim that goes on");
                await(victim);
                return;
        }
        while (victim->steps < steps && victim->shared->phase == PHASE_INSIDE) {
                if (!step(victim))
                        die("the victim ended inside its operation");
                victim->steps++;
        }
}

/* One after the other, so that they have the same lanes each time. */
static void start_two(const struct step_pair *pair, struct two *ret_two)
{
        struct two *two = ret_two;
        int fd = image_make_file(pair->first->start);

        step_on_one_processor();
        share(&two->first);
        share(&two->second);
        let_go(pair->first, &two->first, fd, STOPS_TWICE);
        await(&two->first);
        let_go(pair->second, &two->second, fd, STOPS_TWICE);
        await(&two->second);
        bare_attach(&two->conn, fd);
        step_to_operation(&two->first);
        step_to_operation(&two->second);
}

static void bring_first(const struct step_pair *pair, struct two *two)
{
        step_on(&two->first, pair->steps);
        if (pair->killed)
                kill_now(&two->first);
}

static void end_two(const struct step_pair *pair, struct two *two)
{
        if (!pair->killed)
                kill_now(&two->first);
        kill_now(&two->second);
        munmap(two->first.shared, sizeof(*two->first.shared));
        munmap(two->second.shared, sizeof(*two->second.shared));
}

uint64_t step_first(const struct step_pair *pair, step_state_fn on_state, void *context)
{
        struct step_pair alive = *pair;
        struct sleeps sleeps = { 0 };
        struct two two;

        alive.killed = false;
        start_two(pair, &two);
        (void)walk(&two.first, &two.conn, pair->first, &sleeps, on_state, context);
        end_two(&alive, &two);
        bare_leave(&two.conn);
        return two.first.steps;
}

/* The lane of a victim that has one. */
static const struct lane_shm *lane_of(const struct objd_conn *conn, const struct victim *victim)
{
        for (uint32_t i = 1; i < arena_lanes_high(conn->arena); i++)
                if (arena_lane(conn->arena, i)->claimed && arena_lane(conn->arena, i)->pid == victim->pid)
                        return arena_lane(conn->arena, i);
        return NULL;
}

static bool show(const struct objd_conn *conn, uint64_t step, step_state_fn on_state, void *context)
{
        struct image image;
        bool go_on;

        image_take(conn->arena, &image);
        go_on = on_state(context, step, &image);
        image_free(&image);
        return go_on;
}

uint64_t step_second(const struct step_pair *pair, step_state_fn on_state, void *context,
                     struct step_end *ret_end)
{
        struct sleeps sleeps = { 0 };
        const struct lane_shm *firsts;
        struct lane_shm before;
        struct two two;

        *ret_end = (struct step_end){ 0 };
        start_two(pair, &two);
        bring_first(pair, &two);
        sleeps.lane = lane_of(&two.conn, &two.second);
        firsts = pair->killed ? NULL : lane_of(&two.conn, &two.first);
        if (firsts)
                before = *firsts;
        if (show(&two.conn, 0, on_state, context) &&
            walk(&two.second, &two.conn, pair->second, &sleeps, on_state, context)) {
                ret_end->waits = sleeps.n > 0;
                ret_end->robbed = firsts && memcmp(firsts, &before, sizeof(before));
                ret_end->through = two.second.shared->phase == PHASE_DONE;
                ret_end->status = two.second.shared->status;
                (void)show(&two.conn, two.second.steps, on_state, context);
        }
        end_two(pair, &two);
        bare_leave(&two.conn);
        return two.second.steps;
}

int step_and_kill_both(const struct step_pair *pair, uint64_t steps)
{
        struct two two;
        int fd;

        start_two(pair, &two);
        bring_first(pair, &two);
        step_on(&two.second, steps);
        end_two(pair, &two);
        fd = fcntl(two.conn.arena->fd, F_DUPFD_CLOEXEC, 3);
        bare_leave(&two.conn);
        return fd;
}

int run_to_end(const struct step_plan *plan)
{
        struct victim v;
        int fd;

        start(plan, &v, false);
        run_to_its_end(&v);
        fd = fcntl(v.conn.arena->fd, F_DUPFD_CLOEXEC, 3);
        end(&v);
        return fd;
}

static int64_t shorter(int64_t known_ns, int64_t found_ns)
{
        return known_ns && known_ns < found_ns ? known_ns : found_ns;
}

int run_and_kill(const struct step_plan *plan, uint64_t entropy, int64_t *duration_ns)
{
        struct victim v;
        int fd = -1;

        go_to_any_processor();
        start(plan, &v, false);
        if (*duration_ns) {
                while (v.shared->phase == PHASE_BEFORE)
                        continue;
                for (int64_t until = v.shared->start_ns + (int64_t)(entropy % (uint64_t)*duration_ns);
                     test_now_ns() < until;)
                        continue;
                kill(v.pid, SIGKILL);
                (void)waitpid(v.pid, NULL, 0);
                if (v.shared->phase == PHASE_INSIDE)
                        fd = fcntl(v.conn.arena->fd, F_DUPFD_CLOEXEC, 3);
        } else {
                run_to_its_end(&v);
        }
        /* A victim that had to wait for a processor says too much: it is the shortest that counts. */
        if (v.shared->phase == PHASE_DONE)
                *duration_ns = shorter(*duration_ns, v.shared->end_ns - v.shared->start_ns);
        end(&v);
        return fd;
}
