/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * near.h -- submitted batches of a connection that has the store mapped
 *
 * What need not wait is run by the one who submits. A batch whose next operation has to wait goes to a thread of the
 * connection's own, which is started with the first batch that may come to that. It sleeps on the words of all objects that are waited
 * for at once, so that one batch holds no other up, and tries a batch again when its word has changed.
 *
 * All of it is guarded by one mutex, which that thread gives up only to sleep; what it does in between are tries that wait for
 * nobody for longer than NEAR_PATIENCE_NS.
 */

#include <pthread.h>

#include "client/batch.h"
#include "object/queue.h"

/* How long the thread waits for a living process in the middle of a change before it does something else. */
#define NEAR_PATIENCE_NS 500000

/* How often a group is tried whose word is not watched; and one whose word is, for leases that are over and owners that died. */
#define NEAR_POLL_NS 2000000LL
#define NEAR_LOOK_NS 20000000LL

/* Batches in the order in which they came. */
struct batch_list {
        objd_batch *first, **last;
};

/* Those that wait for the same. */
struct near_group {
        struct near_group *next;
        struct objd_object object; /* a handle of the group's own */
        enum near_waits waits;
        struct batch_list batches;
        struct queue_sleeper sleeper;
        const uint32_t *word; /* NULL: not watched */
        uint32_t seen;
        int64_t look_ns;
};

struct near {
        pthread_mutex_t mutex;
        pthread_cond_t done; /* for those who collect */
        uint64_t fork_generation;
        objd_conn *conn;
        struct batch_list finished;
        uint32_t n_submitted; /* not collected yet */
        int event; /* an eventfd, readable while something is finished; -1: nobody has asked for it */

        /* The thread that waits. */
        struct near_group *groups;
        uint32_t news; /* changes when it is to look at all; it sleeps on this as well */
        bool runs, ends;
        pthread_t thread;
};

/* The exported functions, which look at the arguments. */
objd_status near_submit(objd_batch *batch);
objd_status near_collect(objd_conn *conn, int64_t timeout_ns, objd_batch **ret_batch);
objd_status near_fd(objd_conn *conn, int *ret_fd);
void near_cancel(objd_batch *batch);
void near_give_up(objd_batch *batch);

/* Before the connection ends. */
void near_close(objd_conn *conn);

/* ---- Parts ------------------------------------------------------------------------------------------------- */

void batch_list_add(struct batch_list *list, objd_batch *batch);
void batch_list_remove(struct batch_list *list, objd_batch *batch);

/* near_run.c: goes on with a batch until it is done (true), or its next operation waits (batch->waits says for what). */
bool near_run(objd_batch *batch, int64_t patience_ns);

/* When it is too late for the operation that waits. */
int64_t near_deadline(const objd_batch *batch);

/* near_wait.c, with the mutex held, but for near_stop(). */
objd_status near_start(struct near *near);
void near_wait_for(struct near *near, objd_batch *batch);
void near_tell(struct near *near);
void near_stop(struct near *near);

/* near.c, with the mutex held: a batch is done. */
void near_finish(struct near *near, objd_batch *batch);
