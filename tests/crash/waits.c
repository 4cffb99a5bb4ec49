/* SPDX-License-Identifier: Apache-2.0 */
/*
 * waits.c -- who waits for whom, looked at from outside
 *
 * The lanes say what their threads wait for, the lock words say who has it, the kernel marks the dead, and /proc tells who runs, who
 * is ready to run and who sleeps. All of that is read while it changes; of a single look any part may be out of date, so
 * that a look is an estimate, and what lasts for 100 ms has been seen fifty times.
 *
 * The looker asks for a real-time priority, so that it looks on a busy machine as well; a second thread, of the same
 * priority as everybody's, only sleeps for a millisecond at a time and measures how late it is: what this machine
 * does to somebody who waits for nobody.
 */

#include "crash/waits.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "object/lockobj.h"
#include "support/child.h"
#include "support/test.h"

#define LOOK_EVERY_US 2000
#define WATCHED_MAX 16
#define HOPS_MAX 16
#define LINES_MAX 100

/* Calls shorter than that are only looked at for deaths: who runs and who does not is asked of /proc. */
#define SHORT_NS 4000000LL

/* ---- In the caller ------------------------------------------------------------------------------------- */

/* How long this thread has been ready to run without a processor, as the kernel counts it. */
static int64_t run_delay_ns(void)
{
        static _Thread_local int fd = -1;
        static _Thread_local pid_t of;
        char text[96] = "";
        long long on, waiting = 0;

        if (of != getpid()) {
                fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
                of = getpid();
        }
        if (fd < 0 || pread(fd, text, sizeof(text) - 1, 0) <= 0 ||
            sscanf(text, "%lld %lld", &on, &waiting) != 2)
                return 0;
        return waiting;
}

void call_begin(struct call *call, const char *name)
{
        __atomic_store_n(&call->name, name, __ATOMIC_RELAXED);
        call->delay_ns = run_delay_ns();
        __atomic_store_n(&call->start_ns, test_now_ns(), __ATOMIC_RELEASE);
}

void call_end(struct call *call, struct longest *longest)
{
        int64_t ns = test_now_ns() - call->start_ns - (run_delay_ns() - call->delay_ns);

        call_forget(call);
        longest->n_over += ns > WAIT_LIMIT_NS;
        if (ns > longest->ns) {
                longest->ns = ns;
                longest->name = call->name;
        }
}

void call_forget(struct call *call)
{
        __atomic_store_n(&call->start_ns, 0, __ATOMIC_RELEASE);
}

/* ---- What a look finds --------------------------------------------------------------------------------- */

enum share {
        BY_DEATH,        /* for somebody dead, or who cleans up after one; somebody sleeps or works */
        BY_DEATH_QUEUED, /* the same, while who has to do something gets no processor */
        NO_WAKE,         /* asleep for a lock that is free: whoever gave it may have died before the wake */
        OTHER_QUEUED,    /* for a living one, who is ready to run and gets none */
        OTHER_RUNS,
        OTHER_SLEEPS,
        SELF_QUEUED, /* for nobody: it has no processor itself */
        SELF_RUNS,
        SELF_SLEEPS, /* in the kernel, for memory or for the file */
        N_SHARES
};

static const char *const share_names[N_SHARES] = {
        "for the dead", "for the dead, no processor",
        "not woken",    "holder without a processor",
        "holder runs",  "holder sleeps",
        "no processor", "runs",
        "sleeps",
};

/* What the kernel says of a thread. */
struct thread {
        int64_t tid, ran_ns;
        bool is_ready;
};

struct watched {
        struct arena *arena;
        const char *label;
        const pid_t *pid;
        const struct call *call;

        /* of the call that it was in at the last look */
        int64_t start_ns, looked_ns;
        int64_t shares[N_SHARES];
        const char *name;
        bool was_by_death;
        int64_t dead_ns;    /* when the last call began that its caller died in */
        struct thread last; /* of the one who ended the chain */
};

static struct watched watched[WATCHED_MAX];
static size_t n_watched;
static pthread_t looker, witness;
static int is_over;

static struct {
        uint64_t n_looks, n_over, n_for_dead;
        uint64_t n_mostly[N_SHARES]; /* of those over: by their largest share */
        int64_t most[N_SHARES];      /* of any call */
        int64_t most_by_death;       /* with time in which somebody sleeps on */
        int64_t most_for_dead;       /* with time in which somebody gets no processor */
        int64_t gap_ns;              /* between two looks */
        int64_t late_ns;             /* the witness */
        uint64_t n_late;
        bool is_realtime;
} seen;

/* ---- The chain ----------------------------------------------------------------------------------------- */

struct chain {
        uint32_t end; /* the lane of the one who could do something */
        bool by_death, is_free;
        uint64_t off; /* what the last one waits for */
};

static struct lane_shm *lane_of(struct arena *arena, pid_t pid, uint32_t *ret_number)
{
        for (uint32_t i = 1; i < arena_lanes_high(arena); i++) {
                struct lane_shm *lane = arena_lane(arena, i);

                if (half_get_acquire(&lane->claimed) &&
                    word_get((const uint64_t *)&lane->pid) == (uint64_t)pid) {
                        *ret_number = i;
                        return lane;
                }
        }
        return NULL;
}

static bool cleans_up(struct arena *arena, uint32_t number)
{
        uint64_t id = id_make(number, word_get(&arena_lane(arena, number)->generation));

        for (uint32_t i = 1; i < arena_lanes_high(arena); i++)
                if (word_get(&arena_lane(arena, i)->recoverer) == id &&
                    lane_is_dead(arena, arena_lane(arena, i)))
                        return true;
        return false;
}

/* Who has the line, or the lock that is an object in this place; 0 is nobody. */
static uint32_t holder_of(const struct line_shm *line, uint64_t *ret_generation)
{
        const struct lock_shm *lock = (const struct lock_shm *)(const void *)line;
        uint64_t state = word_get(&lock->state);
        uint32_t holder = lock_lane(word_get(&line->word));

        *ret_generation = 0;
        if (holder || state >> LOCK_TAG_SHIFT != lock_tag(word_get(&lock->serial)) ||
            !(state & LOCK_STATE_TAKEN))
                return holder;
        *ret_generation = state >> LOCK_GENERATION_SHIFT & LOCK_GENERATION_MASK;
        return (uint32_t)((state & LOCK_LANE_BITS) >> LOCK_LANE_BITS_SHIFT);
}

/* A lock object's owner may be dead and its lane another's by now. */
static bool is_dead_holder(struct arena *arena, uint32_t holder, uint64_t generation)
{
        const struct lane_shm *lane = arena_lane(arena, holder);

        return lane_is_dead(arena, lane) ||
               (generation && (!half_get(&lane->claimed) ||
                               (word_get(&lane->generation) & LOCK_GENERATION_MASK) != generation));
}

/* The living one who cleans up after it; 0 if nobody does yet. */
static uint32_t recoverer_of(struct arena *arena, uint32_t dead)
{
        uint64_t id = word_get(&arena_lane(arena, dead)->recoverer);

        return id && lane_id_is_alive(arena, id) ? id_number(id) : 0;
}

/* From one lane of the chain to the next; 0: it ends here. */
static uint32_t next_of(struct arena *arena, struct chain *chain)
{
        uint64_t generation, off = chain->off = word_get(&arena_lane(arena, chain->end)->waits_for);
        const struct line_shm *line = off == arena_off(arena, &arena->header->pool.line)
                                              ? &arena->header->pool.line
                                              : arena_at(arena, off, LINE_SIZE);
        uint32_t holder;

        if (!off || !line)
                return 0;
        holder = holder_of(line, &generation);
        chain->is_free = !holder;
        if (!holder || holder >= arena_lanes_high(arena))
                return 0;
        if (!is_dead_holder(arena, holder, generation))
                return holder;
        chain->by_death = true;
        return recoverer_of(arena, holder);
}

static struct chain follow(struct arena *arena, uint32_t number)
{
        struct chain chain = { .end = number };

        for (int hops = 0; hops < HOPS_MAX; hops++) {
                uint32_t next;

                chain.by_death |= cleans_up(arena, chain.end);
                next = next_of(arena, &chain);
                if (!next || next == chain.end)
                        break;
                chain.end = next;
        }
        return chain;
}

/* ---- Who runs ------------------------------------------------------------------------------------------ */

static void read_file(int64_t tid, const char *name, char text[512])
{
        char path[64];
        ssize_t n = -1;
        int fd;

        snprintf(path, sizeof(path), "/proc/%" PRIi64 "/%s", tid, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
                n = read(fd, text, 511);
                close(fd);
        }
        text[n > 0 ? n : 0] = 0;
}

static struct thread ask_for(int64_t tid)
{
        struct thread thread = { .tid = tid };
        char text[512];
        const char *state;
        long long ran = 0;

        read_file(tid, "schedstat", text);
        if (sscanf(text, "%lld", &ran) == 1)
                thread.ran_ns = ran;
        read_file(tid, "stat", text);
        state = strrchr(text, ')');
        thread.is_ready = state && state[1] && state[2] == 'R';
        return thread;
}

/* The lock is free, and one of its sleepers has been woken: of these, one who is ready to run, if there is one. */
static struct thread ask_for_woken(struct arena *arena, const struct chain *chain)
{
        struct thread thread = ask_for(arena_lane(arena, chain->end)->tid);

        for (uint32_t i = 1; i < arena_lanes_high(arena) && !thread.is_ready; i++) {
                const struct lane_shm *lane = arena_lane(arena, i);
                struct thread other;

                if (word_get(&lane->waits_for) != chain->off || lane_is_dead(arena, lane))
                        continue;
                other = ask_for(lane->tid);
                if (other.is_ready)
                        thread = other;
        }
        return thread;
}

/*
 * Divides the time since the last look: what the one at the end of the chain has run is told by the kernel, to within a tick of
 * its clock; of the rest it has waited for a processor if it is ready to run. Of one that was not looked at before only
 * its state is known, and all of the time counts as what makes the wait longer, not as the machine's.
 */
static void divide(struct watched *w, const struct chain *chain, bool is_self, int64_t ns)
{
        struct thread now = chain->is_free ? ask_for_woken(w->arena, chain)
                                           : ask_for(arena_lane(w->arena, chain->end)->tid);
        int64_t ran = now.tid == w->last.tid ? now.ran_ns - w->last.ran_ns : ns, queued;
        enum share runs = chain->by_death ? BY_DEATH : is_self ? SELF_RUNS : OTHER_RUNS;
        enum share sleeps = chain->by_death  ? BY_DEATH
                            : chain->is_free ? NO_WAKE
                            : is_self        ? SELF_SLEEPS
                                             : OTHER_SLEEPS;
        enum share waits = chain->by_death ? BY_DEATH_QUEUED : is_self ? SELF_QUEUED : OTHER_QUEUED;

        if (!now.is_ready && now.tid != w->last.tid)
                ran = 0;
        if (ran > ns)
                ran = ns;
        queued = now.is_ready ? ns - ran : 0;
        w->shares[runs] += ran;
        w->shares[waits] += queued;
        w->shares[sleeps] += ns - ran - queued;
        w->last = now;
}

/* ---- Looking ------------------------------------------------------------------------------------------- */

static pid_t pid_of(const struct watched *w)
{
        return __atomic_load_n(w->pid, __ATOMIC_RELAXED);
}

static void print_call(const struct watched *w, int64_t ns)
{
        printf("wait: %s, process %d, %s: %.0f ms:", w->label, (int)pid_of(w), w->name, (double)ns / 1e6);
        for (int i = 0; i < N_SHARES; i++)
                if (w->shares[i] >= 500000)
                        printf(" %s %.0f,", share_names[i], (double)w->shares[i] / 1e6);
        printf(" all in ms\n");
}

/* The call has come to its end since the last look, or its caller to its own. */
static void finish(struct watched *w, int64_t now)
{
        int64_t ns = w->looked_ns - w->start_ns;
        int largest = 0;

        if (!w->start_ns)
                return;
        if (w->was_by_death) /* it had it at some time since */
                w->shares[BY_DEATH] += now - w->looked_ns;
        for (int i = 0; i < N_SHARES; i++) {
                if (w->shares[i] > seen.most[i])
                        seen.most[i] = w->shares[i];
                if (w->shares[i] > w->shares[largest])
                        largest = i;
        }
        if (w->shares[BY_DEATH] + w->shares[BY_DEATH_QUEUED] > seen.most_for_dead)
                seen.most_for_dead = w->shares[BY_DEATH] + w->shares[BY_DEATH_QUEUED];
        if (w->shares[BY_DEATH] + w->shares[NO_WAKE] > seen.most_by_death)
                seen.most_by_death = w->shares[BY_DEATH] + w->shares[NO_WAKE];
        seen.n_for_dead += w->shares[BY_DEATH] + w->shares[BY_DEATH_QUEUED] > 0;
        if (ns > WAIT_LIMIT_NS) {
                seen.n_mostly[largest]++;
                if (seen.n_over++ < LINES_MAX || w->shares[BY_DEATH] + w->shares[NO_WAKE] > WAIT_LIMIT_NS)
                        print_call(w, ns);
        }
        w->start_ns = 0;
}

static void start(struct watched *w, int64_t start_ns)
{
        memset(w->shares, 0, sizeof(w->shares));
        w->start_ns = w->looked_ns = start_ns;
        w->name = __atomic_load_n(&w->call->name, __ATOMIC_RELAXED);
        w->was_by_death = false;
        w->last = (struct thread){ 0 };
}

static void look_at(struct watched *w, int64_t now)
{
        int64_t start_ns = __atomic_load_n(&w->call->start_ns, __ATOMIC_ACQUIRE);
        const struct lane_shm *lane;
        struct chain chain;
        uint32_t number;

        if (start_ns && start_ns == w->dead_ns)
                return;
        if (start_ns != w->start_ns) {
                finish(w, now);
                if (start_ns)
                        start(w, start_ns);
        }
        lane = start_ns ? lane_of(w->arena, pid_of(w), &number) : NULL;
        if (lane && lane_is_dead(w->arena, lane)) {
                w->dead_ns = start_ns;
                finish(w, now);
        }
        if (!w->start_ns || !lane)
                return;
        chain = follow(w->arena, number);
        if ((chain.by_death || now - start_ns > SHORT_NS) && now > w->looked_ns)
                divide(w, &chain, chain.end == number, now - w->looked_ns);
        w->was_by_death = chain.by_death;
        w->looked_ns = now;
}

static void *look_all_the_time(void *unused)
{
        int64_t last = test_now_ns();

        (void)unused;
        seen.is_realtime = pthread_setschedparam(pthread_self(), SCHED_FIFO,
                                                 &(struct sched_param){ .sched_priority = 1 }) == 0;
        while (!__atomic_load_n(&is_over, __ATOMIC_ACQUIRE)) {
                int64_t now = test_now_ns();

                if (now - last > seen.gap_ns)
                        seen.gap_ns = now - last;
                last = now;
                for (size_t i = 0; i < n_watched; i++)
                        look_at(&watched[i], now);
                seen.n_looks++;
                usleep(LOOK_EVERY_US);
        }
        return NULL;
}

static void *sleep_all_the_time(void *unused)
{
        (void)unused;
        while (!__atomic_load_n(&is_over, __ATOMIC_ACQUIRE)) {
                int64_t before = test_now_ns(), late;

                usleep(1000);
                late = test_now_ns() - before - 1000000;
                seen.n_late += late > WAIT_LIMIT_NS;
                if (late > seen.late_ns)
                        seen.late_ns = late;
        }
        return NULL;
}

void waits_watch(struct arena *arena, const char *label, const pid_t *pid, const struct call *call)
{
        assert_true(n_watched < WATCHED_MAX);
        watched[n_watched++] = (struct watched){ .arena = arena, .label = label, .pid = pid, .call = call };
}

void waits_start(void)
{
        assert_int_equal(pthread_create(&looker, NULL, look_all_the_time, NULL), 0);
        assert_int_equal(pthread_create(&witness, NULL, sleep_all_the_time, NULL), 0);
}

void waits_stop(void)
{
        __atomic_store_n(&is_over, 1, __ATOMIC_RELEASE);
        pthread_join(looker, NULL);
        pthread_join(witness, NULL);
}

int64_t waits_report(void)
{
        printf("waits: %" PRIu64
               " looks%s, %.1f ms apart at most; a thread that only sleeps was up to %.1f ms late, "
               "%" PRIu64 " times by more than 100 ms\n",
               seen.n_looks, seen.is_realtime ? " at real-time priority" : "", (double)seen.gap_ns / 1e6,
               (double)seen.late_ns / 1e6, seen.n_late);
        printf("waits: %" PRIu64 " calls took longer than 100 ms", seen.n_over);
        for (int i = 0; i < N_SHARES; i++)
                if (seen.n_mostly[i])
                        printf("; %" PRIu64 " mostly: %s", seen.n_mostly[i], share_names[i]);
        printf("\nwaits: the most of any call, in ms:");
        for (int i = 0; i < N_SHARES; i++)
                printf("%s %s %.1f", i ? ";" : "", share_names[i], (double)seen.most[i] / 1e6);
        printf("\nwaits: %" PRIu64
               " calls were seen to wait because of deaths: for %.1f ms at most, %.1f ms with the time "
               "without a processor\n",
               seen.n_for_dead, (double)seen.most_by_death / 1e6, (double)seen.most_for_dead / 1e6);
        return seen.most_by_death;
}
