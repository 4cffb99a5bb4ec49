/* SPDX-License-Identifier: Apache-2.0 */

/*
 * kill_lock.c -- a lock is taken, by a process that is killed at any instruction
 *
 * The swap of one word decides; what the owner writes behind it says more exactly who it is and how often it has the lock. Whoever
 * goes on in its place (another daemon, for a session) reads that. The last owner of this lock died with three takes: where the
 * next one's name stood before its count did, it was taken to have the lock three times.
 */

#include <stdio.h>
#include <stdlib.h>

#include "crash/step.h"
#include "object/lockobj.h"
#include "support/image.h"
#include "txn/lane.h"

#define N_TAKES 3

static void ok(objd_status r)
{
        if (r && r != OBJD_E_OWNER_DIED) {
                fprintf(stderr, "%s\n", objd_last_error());
                exit(1);
        }
}

struct sweep {
        objd_object *lock; /* the victim's */
        uint64_t place;
        bool slowly;
        uint64_t n_looks, n_between, n_bad;
};

static objd_status open_lock(struct objd_conn *conn, void *context)
{
        struct sweep *sweep = context;

        return objd_open(conn, "lock", OBJD_LOCK, &sweep->lock);
}

static objd_status take(struct objd_conn *conn, void *context)
{
        struct sweep *sweep = context;
        objd_status r;

        (void)conn;
        r = objd_lock_take(sweep->lock, OBJD_NOWAIT, NULL);
        return r == OBJD_E_OWNER_DIED ? OBJD_OK : r;
}

/* A lock that its last owner, who is dead, has taken so often; given back, if the next one is to find it free. */
static void build(struct image *ret_start, struct sweep *sweep)
{
        objd_config config = OBJD_CONFIG_INIT;
        struct objd_conn conn;
        objd_object *lock;

        config.lock_flags = OBJD_LOCK_RECURSIVE;
        bare_create(&conn, 4 << 20);
        ok(objd_create(&conn, "lock", OBJD_LOCK, &config, &lock));
        sweep->place = objd_ref_of(lock).place;
        for (int i = 0; i < N_TAKES; i++)
                ok(objd_lock_take(lock, OBJD_NOWAIT, NULL));
        if (!sweep->slowly)
                word_set(&lock_of(lock)->state, lock_free_state(word_get(&lock_of(lock)->state)));
        objd_release(lock);
        lane_release_own(conn.arena);
        image_take(conn.arena, ret_start);
        bare_leave(&conn);
}

static const struct lock_shm *lock_in(const struct image *image, uint64_t off)
{
        for (size_t i = 0; i < image->n; i++)
                if (off >= image->pieces[i].off && off < image->pieces[i].off + image->pieces[i].size)
                        return (const struct lock_shm *)(const void *)(image->pieces[i].bytes +
                                                                       (off - image->pieces[i].off));
        return NULL;
}

static bool look(void *context, uint64_t step, const struct image *state)
{
        struct sweep *sweep = context;
        const struct lock_shm *lock = lock_in(state, sweep->place);
        uint64_t token = lock->state >> LOCK_TOKEN_SHIFT & LOCK_TOKEN_MASK;
        bool says_so = (lock->state & LOCK_OWNER_BITS) == lock_owner_of(lock->owner);

        sweep->n_looks++;
        if (!(lock->state & LOCK_STATE_TAKEN) || token < 2)
                return true;
        sweep->n_between += !says_so;
        if (says_so && lock->n_takes != 1) {
                sweep->n_bad++;
                fprintf(stderr, "killed before instruction %llu: its owner has it %llu times\n",
                        (unsigned long long)step, (unsigned long long)lock->n_takes);
        }
        return true;
}

static uint64_t sweep_take(bool slowly)
{
        struct sweep sweep = { .slowly = slowly };
        struct image start;
        struct step_plan plan = {
                .start = &start, .prepare = open_lock, .fn = take, .context = &sweep, .stride = 1
        };
        uint64_t steps;

        build(&start, &sweep);
        steps = step_through(&plan, look, &sweep);
        printf("%s: %llu instructions, %llu states, %llu of them between the swap and the owner's name, %llu bad\n",
               slowly ? "from the dead" : "a free one", (unsigned long long)steps,
               (unsigned long long)sweep.n_looks, (unsigned long long)sweep.n_between,
               (unsigned long long)sweep.n_bad);
        image_free(&start);
        return sweep.n_bad + !sweep.n_between;
}

int main(void)
{
        uint64_t n_bad = sweep_take(false);

        n_bad += sweep_take(true);
        return n_bad > 0;
}
