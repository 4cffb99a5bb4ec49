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

/* What victim and tracer share beside the arena. */
enum phase { PHASE_BEFORE, PHASE_INSIDE, PHASE_DONE };

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
                      int fd, bool traced)
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
        if (traced) {
                ptrace(PTRACE_TRACEME, 0, NULL, NULL);
                raise(SIGSTOP);
        }
        shared->start_ns = test_now_ns();
        shared->phase = PHASE_INSIDE;
        r = plan->fn(&conn, plan->context);
        shared->phase = PHASE_DONE;
        shared->end_ns = test_now_ns();
        shared->status = r;
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

/* Tracer and victim run in turn, which is fastest if they do so on the same processor. */
static void stay_on_one_processor(void)
{
        cpu_set_t set;
        int cpu = sched_getcpu();

        if (on_one_processor || sched_getaffinity(0, sizeof(all_processors), &all_processors) < 0)
                return;
        on_one_processor = true;
        CPU_ZERO(&set);
        CPU_SET((size_t)(cpu < 0 ? 0 : cpu), &set);
        (void)sched_setaffinity(0, sizeof(set), &set);
        /*
         * Each instruction is two turns at the processor; who is root does not wait for them behind everybody else, unless
         * it was started to be nice.
         */
        if (getpriority(PRIO_PROCESS, 0) <= 0)
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

static void start(const struct step_plan *plan, struct victim *ret_victim, bool traced)
{
        int fd = plan->beside ? image_make_living(plan->start) : image_make_file(plan->start);
        int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        struct victim *v = ret_victim;

        v->steps = 0;
        v->shared = mmap(NULL, sizeof(*v->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (own < 0 || v->shared == MAP_FAILED)
                die("shared memory");
        if (plan->victim == STEP_FORKED) {
                close(fd); /* later, it would drop the parent's record locks */
                bare_attach(&v->conn, own);
                be_parent(&v->conn);
        }
        fflush(NULL);
        v->pid = fork();
        if (v->pid < 0)
                die("fork");
        if (v->pid == 0)
                be_victim(plan, v->shared, &v->conn, fd, traced);
        if (plan->victim == STEP_FORKED)
                return;
        close(fd);
        bare_attach(&v->conn, own);
}

/* Starts a victim and brings it to the first instruction of its operation. */
static void start_stepping(const struct step_plan *plan, struct victim *ret_victim)
{
        struct victim *v = ret_victim;
        int status;

        stay_on_one_processor();
        start(plan, v, true);
        if (waitpid(v->pid, &status, 0) < 0 || !WIFSTOPPED(status))
                die("the victim did not stop");
        while (v->shared->phase == PHASE_BEFORE)
                if (!step(v))
                        die("the victim ended before its operation");
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

uint64_t step_through(const struct step_plan *plan, step_state_fn on_state, void *context)
{
        uint64_t n = 0, steps;
        struct image last;
        struct victim v;
        bool go_on = true;

        start_stepping(plan, &v);
        image_take(v.conn.arena, &last);
        while (v.shared->phase == PHASE_INSIDE && go_on) {
                if (v.steps >= plan->first && !image_is_same(v.conn.arena, &last)) {
                        image_free(&last);
                        image_take(v.conn.arena, &last);
                        if (++n == 1 || n % plan->stride == plan->stride / 2)
                                go_on = on_state(context, v.steps, &last);
                }
                if (!step(&v))
                        break;
                v.steps++;
        }
        if (go_on)
                run_to_its_end(&v);
        else
                kill_now(&v);
        steps = v.steps;
        image_free(&last);
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

int run_and_kill(const struct step_plan *plan, uint64_t entropy, int64_t *duration_ns)
{
        struct victim v;
        int fd = -1;

        go_to_any_processor();
        start(plan, &v, false);
        if (!*duration_ns) {
                run_to_its_end(&v);
                *duration_ns = v.shared->end_ns - v.shared->start_ns;
                end(&v);
                return -1;
        }
        while (v.shared->phase == PHASE_BEFORE)
                continue;
        for (int64_t until = v.shared->start_ns + (int64_t)(entropy % (uint64_t)*duration_ns);
             test_now_ns() < until;)
                continue;
        kill(v.pid, SIGKILL);
        (void)waitpid(v.pid, NULL, 0);
        if (v.shared->phase == PHASE_INSIDE)
                fd = fcntl(v.conn.arena->fd, F_DUPFD_CLOEXEC, 3);
        end(&v);
        return fd;
}
