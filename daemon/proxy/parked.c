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
        struct group *next, **link;             /* in its bucket */
        struct group *round_next, **round_link; /* in its round */
        struct parked_round *round;
        struct group *empty_next;
        bool is_empty; /* it stands in parked->empty */
        objd_ref object;
        enum job_waits waits;
        struct job *first, **last;
        struct queue_sleeper sleeper;
        int place; /* the waker's, -1: none */
        int64_t look_ns;
};

/* ---- Deadlines -------------------------------------------------------------------------------------------- */

/* heap[0] is the earliest; those that hang from place i are at 2i + 1 and 2i + 2. A job knows 1 + its place. */
static void heap_put(struct parked *parked, uint32_t at, struct job *job)
{
        parked->heap[at] = job;
        job->heap_place = at + 1;
}

static void heap_up(struct parked *parked, uint32_t at, struct job *job)
{
        while (at > 0 && parked->heap[(at - 1) / 2]->deadline_ns > job->deadline_ns) {
                heap_put(parked, at, parked->heap[(at - 1) / 2]);
                at = (at - 1) / 2;
        }
        heap_put(parked, at, job);
}

static void heap_down(struct parked *parked, uint32_t at, struct job *job)
{
        for (;;) {
                uint32_t child = 2 * at + 1;

                if (child + 1 < parked->n_heap &&
                    parked->heap[child + 1]->deadline_ns < parked->heap[child]->deadline_ns)
                        child++;
                if (child >= parked->n_heap || parked->heap[child]->deadline_ns >= job->deadline_ns)
                        break;
                heap_put(parked, at, parked->heap[child]);
                at = child;
        }
        heap_put(parked, at, job);
}

static bool heap_add(struct parked *parked, struct job *job)
{
        if (job->deadline_ns == INT64_MAX)
                return true;
        if (parked->n_heap == parked->heap_room) {
                uint32_t room = parked->heap_room ? 2 * parked->heap_room : 64;
                struct job **heap = sys.resize(parked->heap, room * sizeof(struct job *));

                if (!heap)
                        return false;
                parked->heap = heap;
                parked->heap_room = room;
        }
        heap_up(parked, parked->n_heap++, job);
        return true;
}

static void heap_remove(struct parked *parked, struct job *job)
{
        uint32_t at = job->heap_place - 1;
        struct job *last;

        if (!job->heap_place)
                return;
        job->heap_place = 0;
        last = parked->heap[--parked->n_heap];
        if (last == job)
                return;
        if (at > 0 && parked->heap[(at - 1) / 2]->deadline_ns > last->deadline_ns)
                heap_up(parked, at, last);
        else
                heap_down(parked, at, last);
}

/* ---- Rounds ----------------------------------------------------------------------------------------------- */

static void round_init(struct parked_round *round)
{
        *round = (struct parked_round){ .last = &round->first };
}

static void round_leave(struct group *group)
{
        if (!group->round)
                return;
        *group->round_link = group->round_next;
        if (group->round_next)
                group->round_next->round_link = group->round_link;
        else
                group->round->last = group->round_link;
        group->round = NULL;
}

/* Those of one round wait equally long, so the end is the place for who has just been looked at. */
static void round_enter(struct parked *parked, struct group *group, int64_t now)
{
        struct parked_round *round = group->place >= 0 ? &parked->looked : &parked->polled;

        round_leave(group);
        group->round = round;
        group->look_ns = now + (group->place >= 0 ? PARKED_LOOK_NS : PARKED_POLL_NS);
        group->round_next = NULL;
        group->round_link = round->last;
        *round->last = group;
        round->last = &group->round_next;
}

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

        if (group->waits == JOB_WAITS_HOLDER || group->waits == JOB_WAITS_REPORT ||
            directory_handle(conn, group->object, &object) ||
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

static struct group **bucket_of(struct parked *parked, objd_ref object, enum job_waits waits)
{
        uint64_t hash = (object.place ^ object.serial * 8 ^ (uint64_t)waits) * 0x9e3779b97f4a7c15ULL;

        return &parked->buckets[hash >> 32 & (PARKED_BUCKETS - 1)];
}

static struct group *make_group(struct parked *parked, struct group **bucket, const struct job *job)
{
        struct group *group = sys.alloc(sizeof(*group));

        if (!group)
                return NULL;
        group->object = job_object(job);
        group->waits = job->waits;
        group->last = &group->first;
        group->place = -1;
        group->next = *bucket;
        group->link = bucket;
        if (group->next)
                group->next->link = &group->next;
        *bucket = group;
        parked->n_groups++;
        round_enter(parked, group, now_ns());
        return group;
}

static struct group *find_group(struct parked *parked, const struct job *job)
{
        objd_ref object = job_object(job);
        struct group **bucket = bucket_of(parked, object, job->waits);

        for (struct group *group = *bucket; group; group = group->next)
                if (group->object.place == object.place && group->object.serial == object.serial &&
                    group->waits == job->waits)
                        return group;
        return make_group(parked, bucket, job);
}

static void free_group(struct parked *parked, struct group *group)
{
        disarm(parked, group);
        round_leave(group);
        *group->link = group->next;
        if (group->next)
                group->next->link = group->link;
        parked->n_groups--;
        free(group);
}

/* Groups go nowhere but here, so that whoever is at work on one need not fear for it. */
static void sweep(struct parked *parked)
{
        while (parked->empty) {
                struct group *group = parked->empty;

                parked->empty = group->empty_next;
                group->is_empty = false;
                if (!group->first)
                        free_group(parked, group);
        }
}

/* For all to see who looks at the store's clients. */
static void count(struct parked *parked, const struct job *job, int n)
{
        struct proxy_session *session = job->session;

        parked->n_jobs += (uint32_t)n;
        session->n_parked += (uint32_t)n;
        session_show_waiting(parked->sessions->conn->arena, session->client, session->n_parked);
}

static bool enter(struct parked *parked, struct group *group, struct job *job)
{
        job->deadline_ns = job_deadline(job);
        if (!heap_add(parked, job))
                return false;
        job->group = group;
        job->group_next = NULL;
        job->group_link = group->last;
        *group->last = job;
        group->last = &job->group_next;
        count(parked, job, 1);
        return true;
}

static void may_be_empty(struct parked *parked, struct group *group)
{
        if (group->first || group->is_empty)
                return;
        group->is_empty = true;
        group->empty_next = parked->empty;
        parked->empty = group;
}

static void leave(struct parked *parked, struct job *job)
{
        struct group *group = job->group;

        heap_remove(parked, job);
        *job->group_link = job->group_next;
        if (job->group_next)
                job->group_next->group_link = job->group_link;
        else
                group->last = job->group_link;
        job->group = NULL;
        count(parked, job, -1);
        may_be_empty(parked, group);
}

void parked_remove(struct parked *parked, struct job *job)
{
        if (job->group)
                leave(parked, job);
}

/* ---- Trying ----------------------------------------------------------------------------------------------- */

/* A step of a parked job. False: it still waits for the same. */
static bool try_job(struct parked *parked, struct group *group, struct job *job)
{
        size_t n_done = job->n_done;
        uint32_t left = PARKED_TURN;

        parked->n_tries++;
        job_step(parked->sessions, job, &left);
        if (job->waits == group->waits && job->n_done == n_done)
                return false;
        leave(parked, job);
        if (job->waits == JOB_DONE || job->waits == JOB_RUNS)
                parked->take_fn(parked->take_context, job);
        else
                parked_add(parked, job);
        return true;
}

void parked_try(struct parked *parked, struct job *job)
{
        if (job->group)
                (void)try_job(parked, job->group, job);
}

/* In order, until one goes on waiting; the others would, too. */
static void try_group(struct parked *parked, struct group *group)
{
        while (group->first && try_job(parked, group, group->first))
                ;
}

/* Ends those whose time is over, wherever they stand. */
static void end_late(struct parked *parked, int64_t now)
{
        while (parked->n_heap && parked->heap[0]->deadline_ns <= now)
                if (!try_job(parked, parked->heap[0]->group, parked->heap[0]))
                        return;
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
                group->place = waker_watch(parked->waker, word, seen, group);
}

/* Looks at those whose turn has come. Gives when the next one has its turn. */
static int64_t look_around(struct parked *parked, struct parked_round *round, int64_t pause_ns, int64_t now)
{
        for (uint32_t i = 0; round->first && round->first->look_ns <= now && round->next_ns <= now; i++) {
                struct group *group = round->first;

                if (i == PARKED_TRIES) {
                        round->next_ns = now + pause_ns;
                        break;
                }
                try_group(parked, group);
                watch(parked, group);
                round_enter(parked, group, now);
        }
        if (!round->first)
                return INT64_MAX;
        return round->first->look_ns > round->next_ns ? round->first->look_ns : round->next_ns;
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
        if (!enter(parked, group, job)) {
                may_be_empty(parked, group);
                job_free(job);
                return;
        }
        if (is_first) {
                watch(parked, group);
                round_enter(parked, group, now_ns());
        }
}

void parked_wake(struct parked *parked)
{
        struct group *group;

        waker_clear_event(parked->waker);
        while ((group = waker_next(parked->waker)) != NULL) {
                group->place = -1;
                group->sleeper.armed = false; /* the wake that came took us off the count */
                try_group(parked, group);
                watch(parked, group);
                round_enter(parked, group, now_ns());
        }
        sweep(parked);
}

int64_t parked_look(struct parked *parked)
{
        int64_t now, polled, looked, next;

        if (!parked->n_jobs) {
                sweep(parked);
                return -1;
        }
        now = now_ns();
        end_late(parked, now);
        polled = look_around(parked, &parked->polled, PARKED_PAUSE_POLL_NS, now);
        looked = look_around(parked, &parked->looked, PARKED_PAUSE_LOOK_NS, now);
        sweep(parked);
        next = polled < looked ? polled : looked;
        if (parked->n_heap && parked->heap[0]->deadline_ns < next)
                next = parked->heap[0]->deadline_ns;
        if (!parked->n_jobs)
                return -1;
        return next > now ? next - now : 0;
}

/* ---- Beginning and ending ---------------------------------------------------------------------------------- */

void parked_init(struct parked *parked, struct proxy_sessions *sessions, struct waker *waker,
                 void (*take_fn)(void *context, struct job *job), void *take_context)
{
        *parked = (struct parked){
                .sessions = sessions, .waker = waker, .take_fn = take_fn, .take_context = take_context
        };
        round_init(&parked->polled);
        round_init(&parked->looked);
}

void parked_deinit(struct parked *parked)
{
        sweep(parked);
        free(parked->heap);
        parked->heap = NULL;
        parked->heap_room = 0;
}
