/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chaos.c -- two stores, in which workers, daemons and tools are killed at random, twenty a second
 *
 * One of the stores is nearly full. Each worker keeps, in memory that is no store's, what it is about to do and what has
 * been acknowledged; whenever one is killed, what it wrote is compared with that at once, and its work goes on from what is
 * there. So an acknowledged write that is lost, or half of one that is left, shows by the next death of its writer.
 * At the end everything is counted, checked and deleted, and the stores must hold what they held when they were empty.
 *
 * How long calls wait is measured in three ways. The workers and, right after each death, the parent measure their own calls,
 * with the time left out in which the system gave them no processor; on a busy machine that is mostly waiting for a living
 * holder who has none. So a thread of the parent looks, every few milliseconds, who sleeps for a lock whose holder is
 * dead: that is a wait that a death has caused, and it must not last for more than 100 ms.
 *
 * usage: test-chaos [--seconds N] [--rate N] [--no-wait-limit]     (OBJD_TEST_SEED=N repeats a run's choices)
 *
 * A run of over a minute fails on such a wait; a short one, which may be one of many tests that run at once, reports it.
 */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <objd.h>

#include "object/object.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/inside.h"
#include "support/random.h"
#include "support/test.h"

#define N_STORES 2
#define N_WORKERS 4 /* in each store, at any time */
#define N_KEYS 64
#define WAIT_MAX_NS 100000000LL
#define VALUE_MAX 9000u

static struct {
        int seconds;
        int rate;
        bool limit_waits;
} options = { .seconds = 12, .rate = 20 };

/* ---- What outlives a worker ---------------------------------------------------------------------------- */

struct tally {
        uint64_t begun, done;
};

/* The state of a key is a number that grows with each write; every fifth is a deletion, and 0 is no entry. */
struct key_state {
        uint64_t acked, tried;
};

struct waits {
        int64_t max_ns;
        uint64_t n_over;
        const char *op;
};

/* Of one of the places that workers take in turn. Written by its worker; by the parent while there is none. */
struct account {
        struct key_state keys[N_KEYS];
        struct tally add, put, append, pop, guarded;
        struct waits waits;
        uint64_t n_steps, n_full;
};

struct handles {
        objd_object *counters, *keys, *queue, *list, *lock, *probe;
};

struct side {
        struct fixture *f;
        const char *label;
        objd_conn *conn;
        struct handles h;
        struct account *accounts;
        pid_t workers[N_WORKERS];
        uint64_t used_empty, n_objects_empty;
        int64_t restart_ns; /* when the daemon is to be started again; 0: it runs */
        const char *const *daemon_options;
};

static struct {
        uint64_t n_workers, n_daemons, n_tools, n_tools_done, n_checks;
        struct waits probes;
        uint64_t n_dead_holders;
        int64_t dead_max_ns;
        int is_over;
} total;

/* ---- Time ---------------------------------------------------------------------------------------------- */

/* How long this thread has been ready to run without a processor, as the kernel counts it. */
static int64_t run_delay_ns(void)
{
        static int fd = -1;
        static pid_t of;
        char text[96] = "";
        long long on, waiting = 0;

        if (of != getpid()) {
                fd = open("/proc/self/schedstat", O_RDONLY | O_CLOEXEC);
                of = getpid();
        }
        if (fd < 0 || pread(fd, text, sizeof(text) - 1, 0) <= 0 ||
            sscanf(text, "%lld %lld", &on, &waiting) != 2)
                return 0;
        return waiting;
}

struct watch {
        int64_t start_ns, delay_ns;
};

/* Since when somebody sleeps for a lock of this lane, whose thread is dead; 0: nobody does. */
static int64_t dead_since_ns[N_STORES][N_LANES];

static bool is_waited_for(struct arena *arena, bool ret_holders[N_LANES])
{
        bool any = false;

        memset(ret_holders, 0, N_LANES);
        for (uint32_t i = 1; i < arena_lanes_high(arena); i++) {
                uint64_t off = word_get(&arena_lane(arena, i)->waits_for);
                const struct line_shm *line = off == arena_off(arena, &arena->header->pool.line)
                                                      ? &arena->header->pool.line
                                                      : arena_at(arena, off, LINE_SIZE);
                uint32_t holder = off && line ? lock_lane(word_get(&line->word)) : 0;

                if (holder && lane_is_dead(arena, arena_lane(arena, holder)))
                        any = ret_holders[holder] = true;
        }
        return any;
}

static void look_for_dead_holders(struct arena *arena, int store)
{
        static bool were_any[N_STORES];
        bool holders[N_LANES], any = is_waited_for(arena, holders);
        int64_t now = test_now_ns(), *since = dead_since_ns[store];

        if (!any && !were_any[store])
                return;
        were_any[store] = any;
        for (int i = 0; i < (int)N_LANES; i++) {
                if (since[i] && now - since[i] > total.dead_max_ns)
                        total.dead_max_ns = now - since[i];
                total.n_dead_holders += holders[i] && !since[i];
                since[i] = !holders[i] ? 0 : since[i] ? since[i] : now;
        }
}

static struct watch watch_start(void)
{
        return (struct watch){ test_now_ns(), run_delay_ns() };
}

static void watch_stop(const struct watch *watch, struct waits *waits, const char *op)
{
        int64_t ns = test_now_ns() - watch->start_ns - (run_delay_ns() - watch->delay_ns);

        waits->n_over += ns > WAIT_MAX_NS;
        if (ns > waits->max_ns) {
                waits->max_ns = ns;
                waits->op = op;
        }
}

/* ---- The worker's steps -------------------------------------------------------------------------------- */

struct worker {
        objd_conn *conn;
        struct handles h;
        struct account *a;
        int place;
        struct random random;
        objd_buf buf;
};

static char filler[VALUE_MAX];

static void set_word(uint64_t *word, uint64_t value)
{
        __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Whether the store is just full; the step has then changed nothing. */
static bool is_full(struct worker *w, objd_status r)
{
        if (r != OBJD_E_NOMEM)
                return false;
        w->a->n_full++;
        return true;
}

static bool is_deletion(uint64_t state)
{
        return state % 5 == 0;
}

static size_t size_of_state(uint64_t state)
{
        uint64_t mixed = state * 0x9e3779b97f4a7c15ULL >> 40;

        return 8 + (mixed % 16 ? mixed % 300 : mixed % (VALUE_MAX - 8));
}

static objd_value key_of(int place, unsigned key)
{
        return objd_int((int64_t)place * 1000 + key);
}

static void step_key(struct worker *w)
{
        unsigned number = (unsigned)random_below(&w->random, N_KEYS);
        struct key_state *state = &w->a->keys[number];
        objd_value key = key_of(w->place, number), value;
        uint64_t next = state->acked + 1;
        objd_status r;

        memcpy(filler, &next, sizeof(next));
        value = objd_bytes(filler, size_of_state(next));
        set_word(&state->tried, next);
        if (is_deletion(next))
                r = objd_dict_del(w->h.keys, &key);
        else
                r = objd_dict_set(w->h.keys, &key, &value);
        if (is_full(w, r)) {
                set_word(&state->tried, state->acked);
                return;
        }
        child_check(r == OBJD_OK || (is_deletion(next) && is_deletion(state->acked) && r == OBJD_E_NOTFOUND));
        set_word(&state->acked, next);
}

/* The place's own counter and the common one go up together. */
static void step_add(struct worker *w)
{
        objd_value own = objd_int(w->place), all = objd_cstr("all");
        objd_batch *batch;
        objd_status r;

        child_ok(objd_batch_new(w->conn, &batch));
        child_ok(objd_batch_dict_add_int(batch, w->h.counters, &own, 1));
        child_ok(objd_batch_dict_add_int(batch, w->h.counters, &all, 1));
        set_word(&w->a->add.begun, w->a->add.done + 1);
        r = objd_batch_commit(batch, NULL);
        if (is_full(w, r)) {
                set_word(&w->a->add.begun, w->a->add.done);
        } else {
                child_ok(r);
                set_word(&w->a->add.done, w->a->add.begun);
        }
        objd_batch_free(batch);
}

static void begin(struct tally *tally)
{
        set_word(&tally->begun, tally->begun + 1);
}

static void end(struct worker *w, struct tally *tally, objd_status r)
{
        if (is_full(w, r) || r == OBJD_E_RANGE) {
                set_word(&tally->begun, tally->begun - 1);
                return;
        }
        child_ok(r);
        set_word(&tally->done, tally->done + 1);
}

static void step_put(struct worker *w)
{
        objd_value value = objd_bytes(filler, random_below(&w->random, 400));
        uint64_t len;

        child_ok(objd_queue_len(w->h.queue, &len));
        if (len > 500)
                return;
        begin(&w->a->put);
        end(w, &w->a->put, objd_queue_put(w->h.queue, &value, OBJD_NOWAIT));
}

/* An item is taken under a lease; that it goes and that it has been counted is one step. */
static void step_get(struct worker *w)
{
        objd_value value, consumed = objd_cstr("consumed");
        objd_batch *batch;
        uint64_t lease;
        objd_status r = objd_queue_get_lease(w->h.queue, OBJD_FOREVER, &value, &w->buf, &lease, OBJD_NOWAIT);

        if (r == OBJD_E_EMPTY || is_full(w, r))
                return;
        child_ok(r);
        child_ok(objd_batch_new(w->conn, &batch));
        child_ok(objd_batch_queue_ack(batch, w->h.queue, lease));
        child_ok(objd_batch_dict_add_int(batch, w->h.counters, &consumed, 1));
        r = objd_batch_commit(batch, NULL);
        objd_batch_free(batch);
        if (is_full(w, r))
                child_ok(objd_queue_give_back(w->h.queue, lease));
        else
                child_ok(r);
}

static void step_list(struct worker *w)
{
        objd_value value = objd_bytes(filler, random_below(&w->random, 300));
        uint64_t len;

        child_ok(objd_list_len(w->h.list, &len));
        if (len > 500 || random_below(&w->random, 2)) {
                begin(&w->a->pop);
                end(w, &w->a->pop,
                    objd_list_pop(w->h.list, random_below(&w->random, 2) ? 0 : -1, &value, &w->buf));
        } else {
                begin(&w->a->append);
                end(w, &w->a->append,
                    random_below(&w->random, 2) ? objd_list_append(w->h.list, &value)
                                                : objd_list_prepend(w->h.list, &value));
        }
}

/* Read, add one, write: what the lock is for. */
static void step_guarded(struct worker *w)
{
        objd_value key = objd_cstr("guarded"), value;
        objd_status r = objd_lock_take(w->h.lock, OBJD_FOREVER, NULL);

        child_check(r == OBJD_OK || r == OBJD_E_OWNER_DIED);
        r = objd_dict_get(w->h.counters, &key, &value, &w->buf);
        child_check(r == OBJD_OK || r == OBJD_E_NOTFOUND);
        value = objd_int(r ? 1 : value.u.integer + 1);
        begin(&w->a->guarded);
        end(w, &w->a->guarded, objd_dict_set(w->h.counters, &key, &value));
        child_ok(objd_lock_give(w->h.lock));
}

/* Objects that come and go: with names that others use as well, and without. */
static void step_objects(struct worker *w)
{
        static const objd_kind kinds[] = { OBJD_DICT, OBJD_LIST, OBJD_QUEUE, OBJD_LOCK };
        objd_value key = objd_int(1), value = objd_bytes(filler, random_below(&w->random, 3000));
        bool named = random_below(&w->random, 2);
        objd_object *object;
        char name[300];
        objd_status r;

        snprintf(name, sizeof(name), "%d-%0*d", (int)random_below(&w->random, 8),
                 random_below(&w->random, 2) ? 1 : 200, 0);
        r = objd_create(w->conn, named ? name : NULL, kinds[random_below(&w->random, 4)], NULL, &object);
        if (r == OBJD_OK) {
                r = objd_dict_set(object, &key, &value);
                child_check(r == OBJD_OK || r == OBJD_E_KIND || r == OBJD_E_GONE || is_full(w, r));
                if (!named && random_below(&w->random, 2))
                        child_ok(objd_destroy(object));
                objd_release(object);
                return;
        }
        child_check(r == OBJD_E_EXISTS || is_full(w, r));
        r = objd_delete(w->conn, name);
        child_check(r == OBJD_OK || r == OBJD_E_NOTFOUND || is_full(w, r));
}

static void step_pin(struct worker *w)
{
        objd_value key = key_of((int)random_below(&w->random, N_WORKERS),
                                (unsigned)random_below(&w->random, N_KEYS)),
                   value;
        objd_pin *pin;
        uint64_t state;
        objd_status r = objd_dict_pin(w->h.keys, &key, &value, &pin);

        if (r == OBJD_E_NOTFOUND)
                return;
        child_ok(r);
        memcpy(&state, value.data, sizeof(state));
        usleep((useconds_t)random_below(&w->random, 500));
        child_check(memcmp(&state, value.data, sizeof(state)) == 0 && value.size == size_of_state(state));
        objd_unpin(pin);
}

static const struct {
        const char *name;
        void (*fn)(struct worker *w);
        uint64_t weight;
} steps[] = {
        { "key", step_key, 8 },         { "add", step_add, 4 },   { "put", step_put, 4 },
        { "get", step_get, 4 },         { "list", step_list, 4 }, { "guarded", step_guarded, 3 },
        { "objects", step_objects, 2 }, { "pin", step_pin, 1 },
};

#define N_STEPS (sizeof(steps) / sizeof(*steps))

static size_t choose_step(struct random *random)
{
        uint64_t sum = 0, at;
        size_t i = 0;

        for (size_t j = 0; j < N_STEPS; j++)
                sum += steps[j].weight;
        at = random_below(random, sum);
        while (at >= steps[i].weight)
                at -= steps[i++].weight;
        return i;
}

/* There may be no daemon just now. */
static void connect_worker(struct worker *w, const char *url)
{
        int64_t end_ns = test_now_ns() + PATIENCE_NS;
        objd_status r;

        while ((r = objd_connect(url, &w->conn)) == OBJD_E_NODAEMON && test_now_ns() < end_ns)
                usleep(2000);
        child_ok(r);
        child_ok(objd_open(w->conn, "counters", OBJD_DICT, &w->h.counters));
        child_ok(objd_open(w->conn, "keys", OBJD_DICT, &w->h.keys));
        child_ok(objd_open(w->conn, "queue", OBJD_QUEUE, &w->h.queue));
        child_ok(objd_open(w->conn, "list", OBJD_LIST, &w->h.list));
        child_ok(objd_open(w->conn, "lock", OBJD_LOCK, &w->h.lock));
}

static _Noreturn void work(const struct side *side, int place, uint64_t seed)
{
        struct worker w = { .a = &side->accounts[place], .place = place, .random = { seed } };

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        connect_worker(&w, side->f->url);
        for (;;) {
                size_t i = choose_step(&w.random);
                struct watch watch = watch_start();

                steps[i].fn(&w);
                watch_stop(&watch, &w.a->waits, steps[i].name);
                /* Others have work to do as well on this machine. */
                if (++w.a->n_steps % 32 == 0)
                        usleep((useconds_t)random_below(&w.random, 1000));
        }
}

/* ---- The stores ---------------------------------------------------------------------------------------- */

static objd_object *make(objd_conn *conn, const char *name, objd_kind kind)
{
        objd_object *object;

        assert_ok(objd_create(conn, name, kind, NULL, &object));
        return object;
}

static void make_objects(struct side *side)
{
        side->h.counters = make(side->conn, "counters", OBJD_DICT);
        side->h.keys = make(side->conn, "keys", OBJD_DICT);
        side->h.queue = make(side->conn, "queue", OBJD_QUEUE);
        side->h.list = make(side->conn, "list", OBJD_LIST);
        side->h.lock = make(side->conn, "lock", OBJD_LOCK);
        side->h.probe = make(side->conn, "probe", OBJD_DICT);
}

static void delete_everything(struct side *side)
{
        objd_object *objects[] = { side->h.counters, side->h.keys, side->h.queue,
                                   side->h.list,     side->h.lock, side->h.probe };
        objd_info *infos;
        size_t n;

        for (size_t i = 0; i < sizeof(objects) / sizeof(*objects); i++)
                objd_release(objects[i]);
        assert_ok(objd_list(side->conn, NULL, &infos, &n));
        for (size_t i = 0; i < n; i++)
                assert_ok(objd_delete(side->conn, infos[i].name));
        objd_infos_free(infos);
}

/* The dict of names grows to what it needs before the store counts as empty. */
static void make_names(struct side *side)
{
        char name[300];

        for (int i = 0; i < 16; i++) {
                snprintf(name, sizeof(name), "%d-%0*d", i / 2, i % 2 ? 1 : 200, 0);
                objd_release(make(side->conn, name, OBJD_LOCK));
        }
}

/* Fills the store, and leaves a twentieth of it. */
static void fill(struct side *side)
{
        objd_object *ballast = make(side->conn, "ballast", OBJD_LIST);
        objd_value value = objd_bytes(filler, 4000);
        uint64_t n = 0;

        while (objd_list_append(ballast, &value) == OBJD_OK)
                n++;
        assert_ok(objd_list_slice_del(ballast, 0, (int64_t)(n / 20)));
        objd_release(ballast);
}

static void start_side(struct side *side, const char *label, const char *const *daemon_options, bool full)
{
        objd_stats stats;

        side->label = label;
        side->daemon_options = daemon_options;
        side->f = fixture_new();
        fixture_start(side->f, daemon_options);
        side->conn = fixture_connect(side->f);
        make_objects(side);
        make_names(side);
        delete_everything(side);
        assert_ok(objd_stats_get(side->conn, &stats));
        side->used_empty = stats.arena_used;
        side->n_objects_empty = stats.n_objects;
        make_objects(side);
        if (full)
                fill(side);
        side->accounts = mmap(NULL, sizeof(struct account) * N_WORKERS, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(side->accounts, MAP_FAILED);
}

/* ---- After each death ---------------------------------------------------------------------------------- */

static int64_t number_in(objd_object *dict, objd_value key)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        objd_status r = objd_dict_get(dict, &key, &value, &buf);
        int64_t n = r ? 0 : value.u.integer;

        assert_true(r == OBJD_OK || r == OBJD_E_NOTFOUND);
        objd_buf_free(&buf);
        return n;
}

/* The lock and lines of every object that the dead may have held are to be had. */
static void probe(struct side *side)
{
        objd_value key = objd_int(0), value;
        objd_buf buf = OBJD_BUF_INIT;
        struct watch watch = watch_start();
        objd_status r;

        r = objd_dict_add_int(side->h.probe, &key, 1, NULL);
        assert_true(r == OBJD_OK || r == OBJD_E_NOMEM);
        key = objd_int(-1);
        assert_status(objd_dict_del(side->h.counters, &key), OBJD_E_NOTFOUND);
        assert_status(objd_dict_del(side->h.keys, &key), OBJD_E_NOTFOUND);
        assert_status(objd_list_set(side->h.list, 1000000, &key), OBJD_E_RANGE);
        r = objd_queue_peek(side->h.queue, &value, &buf);
        assert_true(r == OBJD_OK || r == OBJD_E_EMPTY);
        watch_stop(&watch, &total.probes, "objects");
        objd_buf_free(&buf);

        /* A lock that the dead one owned; the living owner's turn is short. */
        watch = watch_start();
        r = objd_lock_take(side->h.lock, OBJD_FOREVER, NULL);
        assert_true(r == OBJD_OK || r == OBJD_E_OWNER_DIED);
        assert_ok(objd_lock_give(side->h.lock));
        watch_stop(&watch, &total.probes, "lock");
}

/* The state that the entry is in; the right one of the two that read as no entry. */
static uint64_t state_in_store(struct side *side, int place, unsigned number, const struct key_state *known)
{
        objd_value key = key_of(place, number), value;
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r = objd_dict_get(side->h.keys, &key, &value, &buf);
        uint64_t state = is_deletion(known->tried) ? known->tried : known->acked;

        assert_true(r == OBJD_OK || r == OBJD_E_NOTFOUND);
        if (r == OBJD_OK) {
                memcpy(&state, value.data, sizeof(state));
                if (value.size != size_of_state(state))
                        fail_msg("%s: place %d, key %u: state %" PRIu64 " with %zu bytes", side->label, place,
                                 number, state, value.size);
        } else if (!is_deletion(state)) {
                state = UINT64_MAX;
        }
        objd_buf_free(&buf);
        return state;
}

/* What the dead worker wrote is what was acknowledged to it, but for the one call that it died in. */
static void settle(struct side *side, int place)
{
        struct account *a = &side->accounts[place];
        uint64_t n = (uint64_t)number_in(side->h.counters, objd_int(place));

        if (n != a->add.done && n != a->add.begun)
                fail_msg("%s: place %d has added %" PRIu64 " times, of which %" PRIu64 " are there",
                         side->label, place, a->add.done, n);
        a->add.begun = a->add.done = n;
        for (unsigned i = 0; i < N_KEYS; i++) {
                struct key_state *known = &a->keys[i];
                uint64_t state = state_in_store(side, place, i, known);

                if (state != known->acked && state != known->tried)
                        fail_msg("%s: place %d, key %u: state %" PRIu64 " was acknowledged, %" PRIu64
                                 " tried, %" PRIu64 " is there",
                                 side->label, place, i, known->acked, known->tried, state);
                known->acked = known->tried = state;
        }
}

static void start_worker(struct side *side, int place, struct random *random)
{
        uint64_t seed = random_next(random);

        fflush(NULL);
        side->workers[place] = fork();
        assert_true(side->workers[place] >= 0);
        if (!side->workers[place])
                work(side, place, seed);
}

/* A thread of the parent, which looks all the time, also while the parent waits itself. */
static void *look_all_the_time(void *context)
{
        struct side *sides = context;

        while (!__atomic_load_n(&total.is_over, __ATOMIC_ACQUIRE)) {
                for (int i = 0; i < N_STORES; i++)
                        look_for_dead_holders(sides[i].conn->arena, i);
                usleep(2000);
        }
        return NULL;
}

static void kill_worker(struct side *side, int place)
{
        int status;

        kill(side->workers[place], SIGKILL);
        status = child_wait(side->workers[place]);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
                fail_msg("%s: worker %d had ended by itself, with wait status %#x", side->label, place,
                         (unsigned)status);
        side->workers[place] = 0;
        total.n_workers++;
        /* Every other one is left to the other workers, or to the daemon, to be found. */
        if (!__atomic_load_n(&total.is_over, __ATOMIC_RELAXED) && total.n_workers % 2)
                usleep(25000);
        probe(side);
        settle(side, place);
}

/* ---- Daemons and tools --------------------------------------------------------------------------------- */

static void kill_daemon(struct side *side, struct random *random)
{
        if (side->restart_ns)
                return;
        fixture_stop(side->f, SIGKILL);
        total.n_daemons++;
        probe(side);
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
        static const char *const verbs[] = { "check", "ls", "stats", "dump", "clients", "locks" };
        const char *verb = verbs[random_below(random, sizeof(verbs) / sizeof(*verbs))];

        *tool = (struct tool){ .side = side, .is_check = strcmp(verb, "check") == 0 };
        fflush(NULL);
        tool->pid = fork();
        assert_true(tool->pid >= 0);
        if (tool->pid == 0) {
                int null = open("/dev/null", O_WRONLY);

                prctl(PR_SET_PDEATHSIG, SIGKILL);
                dup2(null, STDOUT_FILENO);
                dup2(null, STDERR_FILENO);
                setenv("OBJD_URL", side->f->url, 1);
                execl(tool_program(), "objctl", verb, (char *)NULL);
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
                probe(tool->side);
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
        default:
                kill_worker(side, place);
                start_worker(side, place, random);
        }
}

static void run(struct side *sides, struct random *random)
{
        const int64_t interval_ns = 1000000000LL / options.rate;
        int64_t next_ns = test_now_ns(), end_ns = next_ns + options.seconds * 1000000000LL;

        while (test_now_ns() < end_ns) {
                int64_t pause_ns = next_ns - test_now_ns();

                if (pause_ns > 0)
                        usleep((useconds_t)(pause_ns / 1000 + (int64_t)random_below(random, 3000)));
                else if (pause_ns < -1000000000)
                        next_ns =
                                test_now_ns(); /* the machine is too slow for the rate: what is late is left out */
                next_ns += interval_ns;
                for (int i = 0; i < N_STORES; i++)
                        start_daemon_if_due(&sides[i]);
                one_death(sides, random);
        }
}

/* A count may be below zero: of what was taken, some may have been put by calls that died. */
/* What must be left at least; nothing, if what has been begun could have taken all of it. */
static uint64_t at_least(uint64_t in, uint64_t out)
{
        return in > out ? in - out : 0;
}

static void assert_between(const struct side *side, uint64_t least, uint64_t n, uint64_t most,
                           const char *what)
{
        if ((int64_t)n < (int64_t)least || (int64_t)n > (int64_t)most)
                fail_msg("%s: %s: %" PRIi64 " is not between %" PRIi64 " and %" PRIi64, side->label, what,
                         (int64_t)n, (int64_t)least, (int64_t)most);
}

static uint64_t drain(struct side *side)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        uint64_t n = 0;
        objd_status r;

        while ((r = objd_queue_get(side->h.queue, &value, &buf, OBJD_NOWAIT)) == OBJD_OK)
                n++;
        assert_int_equal(r, OBJD_E_EMPTY);
        objd_buf_free(&buf);
        return n;
}

/* Leases of the dead come back by themselves as soon as somebody looks; the daemon does. */
static void check_totals(struct side *side)
{
        struct account sum = { 0 };
        int64_t all = 0;
        uint64_t len;

        for (int i = 0; i < N_WORKERS; i++) {
                const struct account *a = &side->accounts[i];

                all += (int64_t)a->add.done;
                sum.put.begun += a->put.begun;
                sum.put.done += a->put.done;
                sum.append.begun += a->append.begun;
                sum.append.done += a->append.done;
                sum.pop.begun += a->pop.begun;
                sum.pop.done += a->pop.done;
                sum.guarded.begun += a->guarded.begun;
                sum.guarded.done += a->guarded.done;
        }
        assert_int_equal(number_in(side->h.counters, objd_cstr("all")), all);
        assert_between(side, sum.guarded.done, (uint64_t)number_in(side->h.counters, objd_cstr("guarded")),
                       sum.guarded.begun, "increments under the lock");
        assert_ok(objd_list_len(side->h.list, &len));
        assert_between(side, at_least(sum.append.done, sum.pop.begun), len, sum.append.begun - sum.pop.done,
                       "items in the list");
        len = (uint64_t)number_in(side->h.counters, objd_cstr("consumed")) + drain(side);
        assert_between(side, sum.put.done, len, sum.put.begun, "items through the queue");
}

static void report(const struct side *side, struct waits *waits)
{
        uint64_t n = 0, full = 0;

        for (int i = 0; i < N_WORKERS; i++) {
                const struct account *a = &side->accounts[i];

                n += a->n_steps;
                full += a->n_full;
                waits->n_over += a->waits.n_over;
                if (a->waits.max_ns > waits->max_ns) {
                        waits->max_ns = a->waits.max_ns;
                        waits->op = a->waits.op;
                }
        }
        printf("%s store: %" PRIu64 " steps, %" PRIu64 " of them found it full\n", side->label, n, full);
}

static bool is_alone(void *context)
{
        const struct side *side = context;
        objd_stats stats;

        return objd_stats_get(side->conn, &stats) == OBJD_OK && stats.n_clients == 2;
}

static void end_side(struct side *side)
{
        objd_stats stats;

        for (int i = 0; i < N_WORKERS; i++)
                kill_worker(side, i);
        side->restart_ns = side->restart_ns ? 1 : 0;
        start_daemon_if_due(side);
        wait_until(is_alone, side, "the dead are gone");
        inside_check(side->conn);
        check_totals(side);
        delete_everything(side);
        inside_check(side->conn);
        assert_ok(objd_stats_get(side->conn, &stats));
        printf("%s store: %" PRIu64 " bytes in use when empty, %" PRIu64 " at the end\n", side->label,
               side->used_empty, stats.arena_used);
        assert_int_equal(stats.n_objects, side->n_objects_empty);
        assert_int_equal(stats.arena_used, side->used_empty);
        objd_close(side->conn);
        assert_int_equal(fixture_stop(side->f, SIGTERM), 0);
        munmap(side->accounts, sizeof(struct account) * N_WORKERS);
}

static void whoever_is_killed_the_stores_lose_nothing(void **state)
{
        static const char *const roomy[] = { "--size", "64M", NULL }, *const narrow[] = { "--size", "4M",
                                                                                          NULL };
        struct random random = random_begin("test-chaos");
        struct side sides[N_STORES] = { 0 };
        struct waits waits = { .op = "-" };
        pthread_t looker;

        (void)state;
        (void)run_delay_ns(); /* opens a file for good */
        start_side(&sides[0], "roomy", roomy, false);
        start_side(&sides[1], "nearly full", narrow, true);
        for (int i = 0; i < N_STORES; i++)
                for (int place = 0; place < N_WORKERS; place++)
                        start_worker(&sides[i], place, &random);
        assert_int_equal(pthread_create(&looker, NULL, look_all_the_time, sides), 0);
        run(sides, &random);
        __atomic_store_n(&total.is_over, 1, __ATOMIC_RELEASE);
        pthread_join(looker, NULL);
        for (int i = 0; i < N_STORES; i++)
                report(&sides[i], &waits);
        printf("%" PRIu64 " workers, %" PRIu64 " daemons and %" PRIu64 " tools killed in %d s; %" PRIu64
               " tools came to their end, %" PRIu64 " of them a check without a fault\n",
               total.n_workers, total.n_daemons, total.n_tools, options.seconds, total.n_tools_done,
               total.n_checks);
        printf("longest wait of a worker: %.1f ms (%s), %" PRIu64
               " over 100 ms; right after a death: %.1f ms (%s), "
               "%" PRIu64 " over\n",
               (double)waits.max_ns / 1e6, waits.op, waits.n_over, (double)total.probes.max_ns / 1e6,
               total.probes.op ? total.probes.op : "-", total.probes.n_over);
        printf("%" PRIu64 " times somebody slept for a lock of the dead, for %.1f ms at most\n",
               total.n_dead_holders, (double)total.dead_max_ns / 1e6);
        fflush(stdout);
        for (int i = 0; i < N_STORES; i++)
                end_side(&sides[i]);
        for (int i = N_STORES; i-- > 0;) /* each looks for descriptors that came after it */
                fixture_free(sides[i].f);
        if (options.limit_waits)
                assert_true(total.dead_max_ns <= WAIT_MAX_NS);
}

static void parse(int argc, char **argv)
{
        static const struct option known[] = { { "seconds", required_argument, NULL, 's' },
                                               { "rate", required_argument, NULL, 'r' },
                                               { "no-wait-limit", no_argument, NULL, 'n' },
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
