/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chaos_side.c -- one store of the chaos: made, filled, compared with what was acknowledged, and emptied
 */

#include "crash/chaos.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arena/arena.h"
#include "object/object.h"
#include "support/child.h"
#include "support/inside.h"
#include "support/test.h"

/* ---- Making -------------------------------------------------------------------------------------------- */

static void make_objects(struct side *side)
{
        common_make(&side->store, side->store.conn);
        side->keys = inside_dict(side->store.conn, "keys");
        side->probe = inside_dict(side->store.conn, "probe");
}

static void delete_everything(struct side *side)
{
        objd_object *objects[] = { side->store.counters, side->store.queue, side->store.list,
                                   side->store.lock,     side->keys,        side->probe };

        for (size_t i = 0; i < sizeof(objects) / sizeof(*objects); i++)
                objd_release(objects[i]);
        delete_all_names(side->store.conn);
}

/* The dict of names grows to what it needs before the store counts as empty: with all that worker_objects() uses. */
static void make_names(struct side *side)
{
        char name[300];

        for (int i = 0; i < 16; i++) {
                snprintf(name, sizeof(name), "%d-%0*d", i / 2, i % 2 ? 1 : 200, 0);
                objd_release(inside_dict(side->store.conn, name));
        }
}

/* Fills the store, and leaves a sixth of it. */
static void fill(struct side *side)
{
        static const char bytes[4000];
        objd_value value = objd_bytes(bytes, sizeof(bytes));
        objd_object *ballast;
        uint64_t n = 0;

        assert_ok(objd_create(side->store.conn, "ballast", OBJD_LIST, NULL, &ballast));
        while (objd_list_append(ballast, &value) == OBJD_OK)
                n++;
        assert_ok(objd_list_slice_del(ballast, 0, (int64_t)(n / 6)));
        objd_release(ballast);
}

static void *shared_memory(size_t size)
{
        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        assert_ptr_not_equal(memory, MAP_FAILED);
        return memory;
}

void side_start(struct side *side, const char *label, const char *size, bool full, bool far_is_local)
{
        objd_stats stats;

        *side = (struct side){ .label = label, .parent = getpid(), .far_is_local = far_is_local };
        side->f = fixture_new();
        snprintf(side->far_url, sizeof(side->far_url), "ipc://%s/far", side->f->base);
        snprintf(side->local_url, sizeof(side->local_url), "local:%s/test", side->f->directory);
        memcpy(side->daemon_options,
               (const char *[]){ "--size", size, "--rpc", side->far_url, "--session-expiry", "30", NULL },
               7 * sizeof(char *));
        fixture_start(side->f, side->daemon_options);
        side->store.conn = fixture_connect(side->f);
        make_objects(side);
        make_names(side);
        delete_everything(side);
        assert_ok(objd_stats_get(side->store.conn, &stats));
        side->used_empty = stats.arena_used;
        side->n_objects_empty = stats.n_objects;
        make_objects(side);
        if (full)
                fill(side);
        side->accounts = shared_memory(sizeof(struct account) * N_PLACES);
        side->tallies = shared_memory(sizeof(struct tallies) * N_PLACES);
}

/* ---- After each death ---------------------------------------------------------------------------------- */

void side_probe(struct side *side)
{
        objd_value key = objd_int(0), value;
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r;

        call_begin(&side->call, "probe of the objects");
        r = objd_dict_add_int(side->probe, &key, 1, NULL);
        assert_true(r == OBJD_OK || r == OBJD_E_NOMEM);
        key = objd_int(-1);
        assert_status(objd_dict_del(side->store.counters, &key), OBJD_E_NOTFOUND);
        assert_status(objd_dict_del(side->keys, &key), OBJD_E_NOTFOUND);
        assert_status(objd_list_set(side->store.list, 1000000, &key), OBJD_E_RANGE);
        r = objd_queue_peek(side->store.queue, &value, &buf);
        assert_true(r == OBJD_OK || r == OBJD_E_EMPTY);
        call_end(&side->call, &side->longest);
        objd_buf_free(&buf);

        /* A lock that the dead one owned; the living owner's turn is short. */
        call_begin(&side->call, "probe of the lock");
        r = objd_lock_take(side->store.lock, OBJD_FOREVER, NULL);
        assert_true(r == OBJD_OK || r == OBJD_E_OWNER_DIED);
        assert_ok(objd_lock_give(side->store.lock));
        call_end(&side->call, &side->longest);
}

/* The state that the entry is in; the right one of the two that read as no entry. */
static uint64_t state_in_store(struct side *side, int place, unsigned number, const struct key_state *known)
{
        objd_value key = chaos_key(place, number), value;
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r = objd_dict_get(side->keys, &key, &value, &buf);
        uint64_t state = chaos_is_deletion(known->tried) ? known->tried : known->acked;

        assert_true(r == OBJD_OK || r == OBJD_E_NOTFOUND);
        if (r == OBJD_OK) {
                memcpy(&state, value.data, sizeof(state));
                if (value.size != chaos_size_of(state))
                        fail_msg("%s: place %d, key %u: state %" PRIu64 " with %zu bytes", side->label, place,
                                 number, state, value.size);
        } else if (!chaos_is_deletion(state)) {
                state = UINT64_MAX;
        }
        objd_buf_free(&buf);
        return state;
}

void side_settle(struct side *side, int place)
{
        struct account *a = &side->accounts[place];
        struct tally *add = &side->tallies[place].add;
        uint64_t n = (uint64_t)number_in(side->store.counters, objd_int(place));

        call_forget(&a->call);
        if (n != add->done && n != add->begun)
                fail_msg("%s: place %d has added %" PRIu64 " times, of which %" PRIu64 " are there",
                         side->label, place, add->done, n);
        add->begun = add->done = n;
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

bool side_has_ended_session(const struct side *side, int place)
{
        struct arena *arena = side->store.conn->arena;

        for (uint32_t i = 0; i < word_get(&arena->header->clients_high); i++) {
                const struct client_shm *client = arena_client(arena, i);

                if (word_get(&client->flags) & CLIENT_IS_SESSION && half_get_acquire(&client->claimed) &&
                    (pid_t)client->pid == side->workers[place])
                        return false;
        }
        return true;
}

/* ---- The end ------------------------------------------------------------------------------------------- */

static uint64_t drain(struct side *side)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        uint64_t n = 0;
        objd_status r;

        while ((r = objd_queue_get(side->store.queue, &value, &buf, OBJD_NOWAIT)) == OBJD_OK)
                n++;
        assert_int_equal(r, OBJD_E_EMPTY);
        objd_buf_free(&buf);
        return n;
}

/* Leases of the dead come back by themselves as soon as somebody looks; the daemon does. */

static bool is_alone(void *context)
{
        const struct side *side = context;
        objd_stats stats;

        return objd_stats_get(side->store.conn, &stats) == OBJD_OK && stats.n_clients == 2;
}

void side_end(struct side *side)
{
        objd_stats stats;

        wait_until(is_alone, side, "the dead are gone");
        inside_check(side->store.conn);
        check_tallies(side->label, &side->store, side->tallies, N_PLACES);
        check_queue(side->label, side->tallies, N_PLACES,
                    (uint64_t)number_in(side->store.counters, objd_cstr("consumed")) + drain(side));
        delete_everything(side);
        inside_check(side->store.conn);
        assert_ok(objd_stats_get(side->store.conn, &stats));
        printf("%s: %" PRIu64 " bytes in use when empty, %" PRIu64 " at the end\n", side->label,
               side->used_empty, stats.arena_used);
        assert_int_equal(stats.n_objects, side->n_objects_empty);
        assert_int_equal(stats.arena_used, side->used_empty);
        objd_close(side->store.conn);
        assert_int_equal(fixture_stop(side->f, SIGTERM), 0);
        munmap(side->accounts, sizeof(struct account) * N_PLACES);
        munmap(side->tallies, sizeof(struct tallies) * N_PLACES);
}
