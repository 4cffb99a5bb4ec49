/* SPDX-License-Identifier: Apache-2.0 */
/*
 * near.c -- submitted batches of a connection that has the store mapped: in and out
 */

#include "client/near.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/forklock.h"
#include "base/status.h"
#include "base/sys.h"

/* Guards conn->near of every connection. */
static struct forklock near_lock;

void batch_list_add(struct batch_list *list, objd_batch *batch)
{
        if (!list->first)
                list->last = &list->first;
        batch->next = NULL;
        *list->last = batch;
        list->last = &batch->next;
}

void batch_list_remove(struct batch_list *list, objd_batch *batch)
{
        objd_batch **p = &list->first;

        while (*p && *p != batch)
                p = &(*p)->next;
        if (!*p)
                return;
        *p = batch->next;
        if (!*p)
                list->last = p;
}

/* ---- What a connection has of it --------------------------------------------------------------------------- */

static struct near *near_new(objd_conn *conn)
{
        struct near *near = sys.alloc(sizeof(*near));
        pthread_condattr_t attributes;

        if (!near)
                return NULL;
        (void)pthread_mutex_init(&near->mutex, NULL);
        (void)pthread_condattr_init(&attributes);
        (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        (void)pthread_cond_init(&near->done, &attributes);
        (void)pthread_condattr_destroy(&attributes);
        near->fork_generation = fork_generation();
        near->conn = conn;
        near->event = -1;
        return near;
}

/* What a child finds is its parent's: only the descriptor is to be closed, nobody knows who holds the mutex. */
static void drop_parents(struct near *near)
{
        if (near->event >= 0)
                (void)close(near->event);
        free(near);
}

/* @return OBJD_OK, OBJD_E_NOMEM */
static objd_status near_of(objd_conn *conn, struct near **ret_near)
{
        forklock_take(&near_lock);
        if (conn->near && conn->near->fork_generation != fork_generation()) {
                drop_parents(conn->near);
                conn->near = NULL;
        }
        if (!conn->near)
                conn->near = near_new(conn);
        *ret_near = conn->near;
        forklock_give(&near_lock);
        return *ret_near ? OBJD_OK : fail(OBJD_E_NOMEM, "no memory for batches that are submitted");
}

void near_close(objd_conn *conn)
{
        struct near *near = conn->near;

        conn->near = NULL;
        if (!near)
                return;
        if (near->fork_generation != fork_generation()) {
                drop_parents(near);
                return;
        }
        near_stop(near);
        if (near->event >= 0)
                (void)close(near->event);
        (void)pthread_cond_destroy(&near->done);
        (void)pthread_mutex_destroy(&near->mutex);
        free(near);
}

/* ---- In ---------------------------------------------------------------------------------------------------- */

/* A place for one more, and, if it may have to wait, the thread that waits for it. */
static objd_status make_room(struct near *near, const objd_batch *batch)
{
        objd_status r = OBJD_OK;

        (void)pthread_mutex_lock(&near->mutex);
        if (near->n_submitted >= OBJD_SUBMITTED_MAX)
                r = fail(OBJD_E_LIMIT,
                         "%d batches are submitted, which is all there can be; collect some first",
                         OBJD_SUBMITTED_MAX);
        if (r == OBJD_OK && batch->n_waiting && !near->runs)
                r = near_start(near);
        near->n_submitted += r == OBJD_OK;
        (void)pthread_mutex_unlock(&near->mutex);
        return r;
}

void near_finish(struct near *near, objd_batch *batch)
{
        if (!near->finished.first && near->event >= 0)
                (void)eventfd_write(near->event, 1);
        batch_list_add(&near->finished, batch);
        (void)pthread_cond_signal(&near->done);
}

/* In whose name the batch takes locks: a thread's claim of a lane, which dies with it. */
static objd_status find_owner(objd_batch *batch)
{
        struct lane *lane;
        objd_status r = lane_enter(batch->conn->arena, batch->holder_ns, &lane);

        if (r)
                return r;
        batch->owner = lane->owner;
        lane_leave(lane);
        return OBJD_OK;
}

objd_status near_submit(objd_batch *batch)
{
        struct near *near;
        objd_status r = near_of(batch->conn, &near);
        bool done;

        if (r == OBJD_OK && batch->n_waiting && !batch->conn->arena->read_only)
                r = find_owner(batch);
        if (r == OBJD_OK)
                r = make_room(near, batch);
        if (r)
                return r;
        batch->state = BATCH_SUBMITTED;
        done = near_run(batch, batch->holder_ns);
        (void)pthread_mutex_lock(&near->mutex);
        if (done)
                near_finish(near, batch);
        else
                near_wait_for(near, batch);
        (void)pthread_mutex_unlock(&near->mutex);
        return OBJD_OK;
}

/* ---- Out --------------------------------------------------------------------------------------------------- */

static bool take_finished(struct near *near, objd_batch **ret_batch)
{
        eventfd_t n;

        if (!near->finished.first)
                return false;
        *ret_batch = near->finished.first;
        batch_list_remove(&near->finished, *ret_batch);
        near->n_submitted--;
        if (!near->finished.first && near->event >= 0)
                (void)eventfd_read(near->event, &n);
        return true;
}

static objd_status wait_finished(struct near *near, int64_t timeout_ns, int64_t deadline_ns)
{
        struct timespec time = { .tv_sec = deadline_ns / 1000000000, .tv_nsec = deadline_ns % 1000000000 };

        if (!near->n_submitted)
                return fail(OBJD_E_NOTFOUND, "there is nothing to collect: no batch is submitted");
        if (timeout_ns == OBJD_NOWAIT)
                return fail(OBJD_E_EMPTY, "none of %u batches is done", near->n_submitted);
        if (now_ns() >= deadline_ns)
                return fail(OBJD_E_TIMEOUT, "none of %u batches has been done for %lld ms", near->n_submitted,
                            (long long)(timeout_ns / 1000000));
        if (deadline_ns == INT64_MAX)
                (void)pthread_cond_wait(&near->done, &near->mutex);
        else
                (void)pthread_cond_clockwait(&near->done, &near->mutex, CLOCK_MONOTONIC, &time);
        return OBJD_OK;
}

objd_status near_collect(objd_conn *conn, int64_t timeout_ns, objd_batch **ret_batch)
{
        int64_t deadline_ns = timeout_ns == OBJD_NOWAIT ? 0 : deadline_after(timeout_ns);
        struct near *near;
        objd_status r = near_of(conn, &near);

        if (r)
                return r;
        (void)pthread_mutex_lock(&near->mutex);
        while (r == OBJD_OK && !take_finished(near, ret_batch))
                r = wait_finished(near, timeout_ns, deadline_ns);
        /* Others who wait for the last one would wait for nothing. */
        if (r == OBJD_OK && !near->n_submitted)
                (void)pthread_cond_broadcast(&near->done);
        (void)pthread_mutex_unlock(&near->mutex);
        return r;
}

objd_status near_fd(objd_conn *conn, int *ret_fd)
{
        struct near *near;
        objd_status r = near_of(conn, &near);

        if (r)
                return r;
        (void)pthread_mutex_lock(&near->mutex);
        if (near->event < 0)
                near->event = eventfd(near->finished.first ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (near->event < 0)
                r = fail_errno("cannot make an eventfd");
        else
                *ret_fd = near->event;
        (void)pthread_mutex_unlock(&near->mutex);
        return r;
}

/* ---- Giving up --------------------------------------------------------------------------------------------- */

void near_cancel(objd_batch *batch)
{
        struct near *near = batch->conn->near;

        (void)pthread_mutex_lock(&near->mutex);
        batch->cancelled = true;
        if (batch->group)
                near_tell(near);
        (void)pthread_mutex_unlock(&near->mutex);
}

void near_give_up(objd_batch *batch)
{
        struct near *near = batch->conn->near;
        eventfd_t n;

        (void)pthread_mutex_lock(&near->mutex);
        if (batch->group) {
                batch_list_remove(&batch->group->batches, batch);
                near_tell(near); /* nobody may be left in the group */
        } else {
                batch_list_remove(&near->finished, batch);
                if (!near->finished.first && near->event >= 0)
                        (void)eventfd_read(near->event, &n);
        }
        if (!--near->n_submitted)
                (void)pthread_cond_broadcast(&near->done);
        (void)pthread_mutex_unlock(&near->mutex);
        batch_destroy(batch);
}
