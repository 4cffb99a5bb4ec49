/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chaos_worker.c -- what a worker does in the chaos, besides the steps that it has in common with others
 */

#include "crash/chaos.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "support/child.h"

#define VALUE_MAX 9000u

/* A worker, with what it only has in the chaos. The worker is the first member: steps take either. */
struct actor {
        struct worker w;
        objd_object *keys;
        struct account *a;
};

static char filler[VALUE_MAX];

bool chaos_is_deletion(uint64_t state)
{
        return state % 5 == 0;
}

size_t chaos_size_of(uint64_t state)
{
        uint64_t mixed = state * 0x9e3779b97f4a7c15ULL >> 40;

        return 8 + (mixed % 16 ? mixed % 300 : mixed % (VALUE_MAX - 8));
}

objd_value chaos_key(int place, unsigned number)
{
        return objd_int((int64_t)place * 1000 + number);
}

static struct actor *actor_of(struct worker *w)
{
        return (struct actor *)(void *)w;
}

static void step_key(struct worker *w)
{
        struct actor *actor = actor_of(w);
        unsigned number = (unsigned)random_below(&w->random, N_KEYS);
        struct key_state *state = &actor->a->keys[number];
        objd_value key = chaos_key(w->number, number), value;
        uint64_t next = state->acked + 1;
        bool is_deletion = chaos_is_deletion(next);
        objd_status r;

        memcpy(filler, &next, sizeof(next));
        value = objd_bytes(filler, chaos_size_of(next));
        worker_set(&state->tried, next);
        if (is_deletion)
                r = objd_dict_del(actor->keys, &key);
        else
                r = objd_dict_set(actor->keys, &key, &value);
        if (worker_is_full(w, r)) {
                worker_set(&state->tried, state->acked);
                return;
        }
        child_check(r == OBJD_OK || (is_deletion && chaos_is_deletion(state->acked) && r == OBJD_E_NOTFOUND));
        worker_set(&state->acked, next);
}

/* An item is taken under a lease; that it goes and that it has been counted is one step. */
static void step_lease(struct worker *w)
{
        objd_value value, consumed = objd_cstr("consumed");
        objd_batch *batch;
        uint64_t lease;
        objd_status r =
                objd_queue_get_lease(w->store.queue, OBJD_FOREVER, &value, &w->buf, &lease, OBJD_NOWAIT);

        if (r == OBJD_E_EMPTY || worker_is_full(w, r))
                return;
        child_ok(r);
        child_ok(objd_batch_new(w->store.conn, &batch));
        child_ok(objd_batch_queue_ack(batch, w->store.queue, lease));
        child_ok(objd_batch_dict_add_int(batch, w->store.counters, &consumed, 1));
        r = objd_batch_commit(batch, NULL);
        objd_batch_free(batch);
        if (!worker_is_full(w, r)) {
                child_ok(r);
                return;
        }
        r = objd_queue_give_back(w->store.queue, lease);
        child_check(r == OBJD_OK || (w->is_far && worker_is_full(w, r)));
}

static void step_pin(struct worker *w)
{
        objd_value key = chaos_key((int)random_below(&w->random, N_PLACES),
                                   (unsigned)random_below(&w->random, N_KEYS)),
                   value;
        objd_pin *pin;
        uint64_t state;
        objd_status r = objd_dict_pin(actor_of(w)->keys, &key, &value, &pin);

        if (r == OBJD_E_NOTFOUND)
                return;
        child_ok(r);
        memcpy(&state, value.data, sizeof(state));
        usleep((useconds_t)random_below(&w->random, 500));
        child_check(memcmp(&state, value.data, sizeof(state)) == 0 && value.size == chaos_size_of(state));
        objd_unpin(pin);
}

/* The last one is not for those without a mapping: a lock of theirs is free when their session ends, seconds after their death. */
static const struct {
        const char *name;
        void (*fn)(struct worker *w);
        uint64_t weight;
} steps[] = {
        { "key", step_key, 8 },     { "add", worker_add, 4 },         { "put", worker_put, 4 },
        { "lease", step_lease, 4 }, { "list", worker_list, 4 },       { "objects", worker_objects, 2 },
        { "pin", step_pin, 1 },     { "guarded", worker_guarded, 3 },
};

#define N_STEPS (sizeof(steps) / sizeof(*steps))

static size_t choose_step(struct random *random, size_t n_steps)
{
        uint64_t sum = 0, at;
        size_t i = 0;

        for (size_t j = 0; j < n_steps; j++)
                sum += steps[j].weight;
        at = random_below(random, sum);
        while (at >= steps[i].weight)
                at -= steps[i++].weight;
        return i;
}

/* There may be no daemon just now; and a session takes memory, of which a full store may have none. */
static void connect_actor(struct actor *actor, const char *url)
{
        int64_t end_ns = test_now_ns() + PATIENCE_NS;
        objd_conn *conn;
        objd_status r;

        while (((r = objd_connect(url, &conn)) == OBJD_E_NODAEMON || r == OBJD_E_NOMEM) &&
               test_now_ns() < end_ns)
                usleep(2000);
        child_ok(r);
        child_ok(objd_set_timeout(conn, OBJD_FOREVER));
        common_open(&actor->w.store, conn);
        child_ok(objd_open(conn, "keys", OBJD_DICT, &actor->keys));
}

_Noreturn void chaos_work(const struct side *side, int place, uint64_t seed)
{
        struct account *a = &side->accounts[place];
        struct actor actor = {
                .w = { .tallies = &side->tallies[place],
                       .number = place,
                       .may_be_full = true,
                       .is_far = place_is_far(place),
                       .random = { seed } },
                .a = a,
        };

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        connect_actor(&actor, !place_is_far(place) ? side->f->url
                              : side->far_is_local ? side->local_url
                                                   : side->far_url);
        for (;;) {
                size_t i = choose_step(&actor.w.random, place_is_far(place) ? N_STEPS - 1 : N_STEPS);

                call_begin(&a->call, steps[i].name);
                steps[i].fn(&actor.w);
                call_end(&a->call, &a->longest);
                /* Others have work to do as well on this machine. */
                if (++a->n_steps % 32 == 0)
                        usleep((useconds_t)random_below(&actor.w.random, 1000));
        }
}
