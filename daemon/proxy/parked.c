/* SPDX-License-Identifier: Apache-2.0 */

/*
 * parked.c -- batches that wait, in groups by what they wait for
 */

#include "proxy/parked.h"

#include <stdlib.h>

#include "base/status.h"
#include "base/sys.h"
#include "object/directory.h"
#include "object/lockobj.h"
#include "object/queue.h"

struct group {
        struct group *next, **link;
        objd_ref object;
        enum job_waits waits;
        struct job *first, **last;
        struct queue_sleeper sleeper;
        int place; /* the waker's, -1: none */
        int64_t look_ns;
};

static bool is_of_queue(enum job_waits waits)
{
        return waits == JOB_WAITS_ITEM || waits == JOB_WAITS_ROOM || waits == JOB_WAITS_TASKS;
}

static enum queue_waiter waiter_of(enum job_waits waits)
{
        if (waits == JOB_WAITS_ITEM)
                return QUEUE_GETTER;
        return waits == JOB_WAITS_ROOM ? QUEUE_PUTTER : QUEUE_JOINER;
}

/* ---- Arming ----------------------------------------------------------------------------------------------- */

static bool arm_queue(struct lane *lane, struct objd_object *queue, struct group *group,
                      const uint32_t **ret_word, uint32_t *ret_seen)
{
        group->sleeper.waiter = waiter_of(group->waits);
        if (queue_arm(lane, queue, &group->sleeper) ||
            queue_wake_half(lane, queue, group->sleeper.waiter, ret_word))
                return false;
        *ret_seen = group->sleeper.seen;
        return true;
}

/* Says in the arena that somebody waits, and gives the word to watch. */
static bool arm(struct parked *parked, struct group *group, const uint32_t **ret_word, uint32_t *ret_seen)
{
        struct objd_conn *conn = parked->sessions->conn;
        struct objd_object object;
        struct lane *lane;
        bool armed = false;

        if (group->waits == JOB_WAITS_HOLDER || directory_handle(conn, group->object, &object) ||
            lane_enter(conn->arena, conn->timeout_ns, &lane))
                return false;
        if (object_touch(&object) == OBJD_OK) {
                if (is_of_queue(group->waits))
                        armed = arm_queue(lane, &object, group, ret_word, ret_seen);
                else
                        armed = lock_arm(&object, ret_word, ret_seen);
        }
        lane_leave(lane);
        return armed;
}

static void disarm(struct parked *parked, struct group *group)
{
        struct objd_conn *conn = parked->sessions->conn;
        struct objd_object object;
        struct lane *lane;

        waker_forget(parked->waker, group->place);
        group->place = -1;
        if (!group->sleeper.armed || directory_handle(conn, group->object, &object) ||
            lane_enter(conn->arena, conn->timeout_ns, &lane))
                return;
        if (object_touch(&object) == OBJD_OK)
                queue_disarm(lane, &object, &group->sleeper);
        lane_leave(lane);
}

/* ---- Groups ----------------------------------------------------------------------------------------------- */

static struct group *find_group(struct parked *parked, const struct job *job)
{
        objd_ref object = job_object(job);
        struct group *group;

        for (group = parked->groups; group; group = group->next)
                if (group->object.place == object.place && group->object.serial == object.serial &&
                    group->waits == job->waits)
                        return group;
        group = sys.alloc(sizeof(*group));
        if (!group)
                return NULL;
        group->object = object;
        group->waits = job->waits;
        group->last = &group->first;
        group->place = -1;
        group->look_ns = now_ns() + PARKED_POLL_NS;
        group->next = parked->groups;
        group->link = &parked->groups;
        if (group->next)
                group->next->link = &group->next;
        parked->groups = group;
        return group;
}

static void free_group(struct parked *parked, struct group *group)
{
        disarm(parked, group);
        *group->link = group->next;
        if (group->next)
                group->next->link = group->link;
        free(group);
}

static void enter(struct parked *parked, struct group *group, struct job *job)
{
        job->group = group;
        job->group_next = NULL;
        *group->last = job;
        group->last = &job->group_next;
        parked->n_jobs++;
}

static void leave(struct parked *parked, struct job *job)
{
        struct group *group = job->group;
        struct job **p = &group->first;

        while (*p != job)
                p = &(*p)->group_next;
        *p = job->group_next;
        if (!*p)
                group->last = p;
        job->group = NULL;
        parked->n_jobs--;
}

void parked_remove(struct parked *parked, struct job *job)
{
        if (job->group)
                leave(parked, job);
}

/* Groups go nowhere but here, so that whoever goes through them need not fear for the next one. */
static void sweep(struct parked *parked)
{
        struct group *next;

        for (struct group *group = parked->groups; group; group = next) {
                next = group->next;
                if (!group->first)
                        free_group(parked, group);
        }
}

/* ---- Trying ----------------------------------------------------------------------------------------------- */

/* A step of a parked job. False: it still waits for the same. */
static bool try_job(struct parked *parked, struct group *group, struct job *job)
{
        size_t n_done = job->n_done;

        job_step(parked->sessions, job);
        if (job->waits == group->waits && job->n_done == n_done)
                return false;
        leave(parked, job);
        if (job->waits == JOB_DONE)
                parked->done_fn(parked->done_context, job);
        else
                parked_add(parked, job);
        return true;
}

/* In order, until one goes on waiting; the others would, too. */
static void try_group(struct parked *parked, struct group *group)
{
        while (group->first && try_job(parked, group, group->first))
                ;
}

/* Ends those whose time is over, wherever they stand. */
static void end_late(struct parked *parked, struct group *group, int64_t now)
{
        struct job *next;

        for (struct job *job = group->first; job; job = next) {
                next = job->group_next;
                if (now >= job_deadline(job))
                        (void)try_job(parked, group, job);
        }
}

/* Arms, and tries once more: what came before that is found, what comes after it is told. */
static void watch(struct parked *parked, struct group *group)
{
        const uint32_t *word;
        uint32_t seen;

        if (group->place >= 0 || !group->first || !arm(parked, group, &word, &seen))
                return;
        try_group(parked, group);
        if (group->first)
                group->place = waker_watch(parked->waker, word, seen);
}

static void look_at(struct parked *parked, struct group *group, int64_t now)
{
        end_late(parked, group, now);
        if (now >= group->look_ns) {
                try_group(parked, group);
                watch(parked, group);
                group->look_ns = now + (group->place >= 0 ? PARKED_LOOK_NS : PARKED_POLL_NS);
        }
}

void parked_add(struct parked *parked, struct job *job)
{
        struct group *group = find_group(parked, job);
        bool is_first;

        if (!group) { /* no memory: whoever asked asks again */
                job_free(job);
                return;
        }
        is_first = !group->first;
        enter(parked, group, job);
        if (is_first)
                watch(parked, group);
}

void parked_wake(struct parked *parked)
{
        waker_clear_event(parked->waker);
        for (struct group *group = parked->groups; group; group = group->next) {
                if (group->place < 0 || !waker_take(parked->waker, group->place))
                        continue;
                group->place = -1;
                group->sleeper.armed = false; /* the wake that came took us off the count */
                try_group(parked, group);
                watch(parked, group);
        }
        sweep(parked);
}

int64_t parked_look(struct parked *parked)
{
        int64_t now = now_ns(), wait_ns = -1;

        for (struct group *group = parked->groups; group; group = group->next)
                look_at(parked, group, now);
        sweep(parked);
        for (struct group *group = parked->groups; group; group = group->next) {
                int64_t left = group->look_ns > now ? group->look_ns - now : 0;

                for (struct job *job = group->first; job; job = job->group_next)
                        if (job_deadline(job) - now < left)
                                left = job_deadline(job) > now ? job_deadline(job) - now : 0;
                if (wait_ns < 0 || left < wait_ns)
                        wait_ns = left;
        }
        return wait_ns;
}
