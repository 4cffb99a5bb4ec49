/* SPDX-License-Identifier: Apache-2.0 */
/*
 * near_wait.c -- the thread that waits for what submitted batches wait for
 */

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/status.h"
#include "base/sys.h"
#include "client/near.h"
#include "object/lockobj.h"
#include "txn/recover.h"

/* How many words one sleep takes: the system's limit, less one for `news`. Groups beyond it are polled. */
#define WORDS_MAX 127

/* ---- Groups ------------------------------------------------------------------------------------------------ */

static struct near_group *find_group(struct near *near, const objd_batch *batch)
{
        const struct objd_object *object = batch->ops[batch->at].object;

        for (struct near_group *group = near->groups; group; group = group->next)
                if (group->object.shm == object->shm && group->object.serial == object->serial &&
                    group->waits == batch->waits)
                        return group;
        return NULL;
}

static struct near_group *add_group(struct near *near, const objd_batch *batch)
{
        const struct objd_object *object = batch->ops[batch->at].object;
        struct near_group *group = sys.alloc(sizeof(*group));

        if (!group)
                return NULL;
        group->object = (struct objd_object){
                .conn = near->conn, .shm = object->shm, .serial = object->serial, .config = object->config
        };
        group->waits = batch->waits;
        group->look_ns = now_ns() + NEAR_POLL_NS;
        group->next = near->groups;
        near->groups = group;
        return group;
}

void near_wait_for(struct near *near, objd_batch *batch)
{
        struct near_group *group = find_group(near, batch);

        if (!group)
                group = add_group(near, batch);
        if (!group) {
                (void)fail(OBJD_E_NOMEM, "no memory to wait for %s", op_name[batch->ops[batch->at].code]);
                for (; batch->at < batch->len; batch->at++)
                        batch_end_turn(batch, batch->at, OBJD_E_NOMEM);
                batch_end(batch, OBJD_OK, 0);
                near_finish(near, batch);
                return;
        }
        batch->group = group;
        batch_list_add(&group->batches, batch);
        near_tell(near);
}

static bool is_of_queue(enum near_waits waits)
{
        return waits == NEAR_WAITS_ITEM || waits == NEAR_WAITS_ROOM;
}

/* Says in the arena that somebody waits, and finds the word to sleep on. */
static void arm(struct near *near, struct near_group *group)
{
        const uint32_t *word = NULL;
        struct lane *lane;

        if (group->waits == NEAR_WAITS_HOLDER || lane_enter(near->conn->arena, NEAR_PATIENCE_NS, &lane))
                return;
        if (object_touch(&group->object) == OBJD_OK) {
                group->sleeper.waiter = group->waits == NEAR_WAITS_ITEM ? QUEUE_GETTER : QUEUE_PUTTER;
                if (!is_of_queue(group->waits)) {
                        if (!lock_arm(&group->object, &word, &group->seen))
                                word = NULL;
                } else if (queue_arm(lane, &group->object, &group->sleeper) == OBJD_OK &&
                           queue_wake_half(lane, &group->object, group->sleeper.waiter, &word) == OBJD_OK) {
                        group->seen = group->sleeper.seen;
                }
        }
        lane_leave(lane);
        group->word = word;
}

static void disarm(struct near *near, struct near_group *group)
{
        struct lane *lane;

        if (!group->sleeper.armed || lane_enter(near->conn->arena, NEAR_PATIENCE_NS, &lane))
                return;
        if (object_touch(&group->object) == OBJD_OK)
                queue_disarm(lane, &group->object, &group->sleeper);
        lane_leave(lane);
}

/* Whether the word says that it is time to try again, or is no longer there. */
static bool has_news(struct near *near, struct near_group *group)
{
        struct lane *lane;
        bool news;

        if (!group->word || lane_enter_to_read(near->conn->arena, NEAR_PATIENCE_NS, &lane))
                return false;
        news = object_touch(&group->object) != OBJD_OK || half_get_acquire(group->word) != group->seen;
        lane_leave(lane);
        if (news) {
                group->word = NULL;
                group->sleeper.armed = false; /* the wake that came took us off the count */
        }
        return news;
}

static void free_groups(struct near *near, bool all)
{
        struct near_group **p = &near->groups;

        while (*p) {
                struct near_group *group = *p;

                if (group->batches.first && !all) {
                        p = &group->next;
                        continue;
                }
                disarm(near, group);
                *p = group->next;
                free(group);
        }
}

/* ---- Trying ------------------------------------------------------------------------------------------------ */

/* False: it goes on waiting for the same. */
static bool try_batch(struct near *near, struct near_group *group, objd_batch *batch)
{
        size_t at = batch->at;
        bool done = near_run(batch, NEAR_PATIENCE_NS);

        if (!done && batch->at == at && batch->waits == group->waits)
                return false;
        batch_list_remove(&group->batches, batch);
        batch->group = NULL;
        if (done)
                near_finish(near, batch);
        else
                near_wait_for(near, batch);
        return true;
}

/* In order, until one goes on waiting; the others would, too. */
static void try_group(struct near *near, struct near_group *group)
{
        while (group->batches.first && try_batch(near, group, group->batches.first))
                ;
}

/* Those whose time is over, wherever they stand. */
static void end_late(struct near *near, struct near_group *group, int64_t now)
{
        objd_batch *next;

        for (objd_batch *batch = group->batches.first; batch; batch = next) {
                next = batch->next;
                if (now >= near_deadline(batch))
                        (void)try_batch(near, group, batch);
        }
}

static void look_at(struct near *near, struct near_group *group, int64_t now)
{
        bool due = now >= group->look_ns;

        if (has_news(near, group) || due)
                try_group(near, group);
        end_late(near, group, now);
        if (!group->word && group->batches.first) {
                arm(near, group);
                if (group->word) /* what came before that is found, what comes after it is told */
                        try_group(near, group);
        }
        if (due)
                group->look_ns = now + (group->word ? NEAR_LOOK_NS : NEAR_POLL_NS);
}

static int64_t earlier(int64_t a, int64_t b)
{
        return a < b ? a : b;
}

/* Does all there is to do now, and gives the moment at which there may be something again. */
static int64_t look(struct near *near)
{
        int64_t now = now_ns(), until = INT64_MAX;

        for (struct near_group *group = near->groups; group; group = group->next)
                look_at(near, group, now);
        free_groups(near, false);
        for (struct near_group *group = near->groups; group; group = group->next) {
                until = earlier(until, group->look_ns);
                for (objd_batch *batch = group->batches.first; batch; batch = batch->next)
                        until = earlier(until, near_deadline(batch));
        }
        return until;
}

/* ---- Sleeping ---------------------------------------------------------------------------------------------- */

struct sleep {
        struct futex_waitv waits[WORDS_MAX + 1];
        uint32_t n;
        int64_t until_ns;
};

static void add_word(struct sleep *sleep, const uint32_t *word, uint32_t seen, uint32_t flags)
{
        sleep->waits[sleep->n++] = (struct futex_waitv){
                .uaddr = (uintptr_t)word,
                .val = seen,
                .flags = FUTEX_32 | flags,
        };
}

/* A group that finds no place is looked at more often instead. */
static void add_groups(struct sleep *sleep, struct near *near)
{
        for (struct near_group *group = near->groups; group; group = group->next)
                if (group->word && sleep->n <= WORDS_MAX)
                        add_word(sleep, group->word, group->seen, 0);
                else if (group->word)
                        sleep->until_ns = earlier(sleep->until_ns, now_ns() + NEAR_POLL_NS);
}

static void sleep_on(struct sleep *sleep)
{
        struct timespec until = { .tv_sec = sleep->until_ns / 1000000000,
                                  .tv_nsec = sleep->until_ns % 1000000000 };

        /* A sandbox may not know the call: then looking now and then has to do. */
        if (syscall(SYS_futex_waitv, sleep->waits, sleep->n, 0, sleep->until_ns == INT64_MAX ? NULL : &until,
                    CLOCK_MONOTONIC) < 0 &&
            errno != EAGAIN && errno != EINTR && errno != ETIMEDOUT)
                (void)nanosleep(&(struct timespec){ .tv_nsec = NEAR_POLL_NS }, NULL);
}

/* As all who wait do: what the dead have left is given back by somebody. */
static void look_for_dead(struct near *near)
{
        struct lane *lane;

        if (lane_enter(near->conn->arena, NEAR_PATIENCE_NS, &lane))
                return;
        recover_clients_inside(lane);
        lane_leave(lane);
}

static void *run(void *context)
{
        struct near *near = context;
        struct sleep sleep;

        look_for_dead(near); /* in its lane, whose mutex it holds from here on: taken before all others */
        (void)pthread_mutex_lock(&near->mutex);
        while (!near->ends) {
                sleep.n = 0;
                add_word(&sleep, &near->news, near->news, FUTEX_PRIVATE_FLAG);
                sleep.until_ns = look(near);
                add_groups(&sleep, near);
                (void)pthread_mutex_unlock(&near->mutex);
                sleep_on(&sleep);
                look_for_dead(near);
                (void)pthread_mutex_lock(&near->mutex);
        }
        free_groups(near, true);
        (void)pthread_mutex_unlock(&near->mutex);
        return NULL;
}

/* ---- The thread's beginning and end ------------------------------------------------------------------------- */

void near_tell(struct near *near)
{
        __atomic_fetch_add(&near->news, 1, __ATOMIC_RELEASE);
        (void)syscall(SYS_futex, &near->news, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

objd_status near_start(struct near *near)
{
        sigset_t all, before;
        int error;

        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        error = pthread_create(&near->thread, NULL, run, near);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (error) {
                errno = error;
                return fail_errno("cannot start the thread that waits for submitted batches");
        }
        near->runs = true;
        return OBJD_OK;
}

void near_stop(struct near *near)
{
        if (!near->runs)
                return;
        (void)pthread_mutex_lock(&near->mutex);
        near->ends = true;
        near_tell(near);
        (void)pthread_mutex_unlock(&near->mutex);
        (void)pthread_join(near->thread, NULL);
        near->runs = false;
}
