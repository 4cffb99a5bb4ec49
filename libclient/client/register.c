/* SPDX-License-Identifier: Apache-2.0 */

/*
 * register.c -- a client of a dead daemon makes itself known to the next one
 *
 * No call needs the daemon, so nobody notices that it is gone. One that takes an arena up raises daemon_epoch, and with
 * it retire_count, which every call compares; so each handle's next call comes here once. What is done here takes some
 * microseconds and waits for nobody: the daemon listens before it raises the epoch, and a connection to a Unix socket is made
 * without its help. All that it brings is an earlier look for the dead when we hang up, so a failure is nobody's concern.
 *
 * Before fork, a child's connection is its parent's; the child closes its own copy of the socket and gets one of its own.
 */

#include "client/register.h"

#include <pthread.h>
#include <unistd.h>

#include "base/sys.h"
#include "client/attach.h"

/* Between two attempts; one that fails mostly means that the new daemon is dead too. */
#define RETRY_NS 20000000

/* Whether this thread is the one that tries now; after a success, whoever hears of the next daemon is. */
static bool is_our_turn(struct objd_conn *conn)
{
        uint64_t now = (uint64_t)now_ns(), next = word_get(&conn->retry_ns);

        return now >= next && __atomic_compare_exchange_n(&conn->retry_ns, &next, now + RETRY_NS, false,
                                                          __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void connect_again(struct objd_conn *conn)
{
        uint64_t epoch = word_get(&conn->arena->header->daemon_epoch);
        int control;

        if (attach_again(conn->name, conn->url,
                         conn->arena->read_only ? CONTROL_READ_ONLY : CONTROL_READ_WRITE, &control))
                return;
        control = __atomic_exchange_n(&conn->control, control, __ATOMIC_ACQ_REL);
        if (control >= 0)
                (void)close(control); /* its other end is gone */
        word_set(&conn->daemon_epoch, epoch);
        word_set_release(&conn->retry_ns, 0);
}

void register_again(struct objd_conn *conn)
{
        int cancel_state;

        if (!is_our_turn(conn))
                return;
        /* A cancelled thread would leave a descriptor behind that nobody knows. */
        (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
        connect_again(conn);
        (void)pthread_setcancelstate(cancel_state, NULL);
}
