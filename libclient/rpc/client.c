/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.c -- the client's side of a session: how it begins and ends, what a child process makes anew, the thread that keeps it alive
 */

#include "rpc/client_inside.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/fork.h"
#include "base/status.h"
#include "base/sys.h"

#define CLOSE_PATIENCE_NS 300000000LL

/* How often a sign of life is given where the daemon has not said how often it wants one. */
#define BEAT_NS 300000000LL

/* ---- After a fork ----------------------------------------------------------------------------------------- */

/* All that is the parent's is left where it is: its threads, its locks, its session. */
static objd_status make_anew(struct rpc_client *client)
{
        pthread_condattr_t attributes;
        objd_status r;

        tickets_deinit(client);
        carrier_close(client->carrier); /* before another is there: it must see that it is the parent's */
        client->carrier = NULL;
        r = carrier_open(client->url, &client->carrier);
        if (r)
                return r;
        client->link = client->carrier->link;
        (void)pthread_condattr_init(&attributes);
        (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        (void)pthread_mutex_init(&client->mutex, NULL);
        (void)pthread_cond_init(&client->changed, &attributes);
        (void)pthread_cond_init(&client->ending, &attributes);
        (void)pthread_condattr_destroy(&attributes);
        frame_joiner_init(&client->joiner, NULL, CLIENT_KEEP);
        memset(&client->welcome, 0, sizeof(client->welcome));
        client->welcome.max_frame = client->carrier->max_frame;
        client->reading = client->up = client->had_session = client->keeper_runs = client->ends = false;
        client->pending = client->sender = NULL;
        tickets_init(client);
        client->next_seq = 1;
        client->untold = 0;
        randombytes_buf(client->nonce,
                        sizeof(client->nonce)); /* a child begins another session than its parent */
        client->hello_again_ns = 0;
        client->heard_ns = client->asked_ns = client->said_ns = client_clock(client);
        rpc_threads_init(&client->threads);
        __atomic_store_n(&client->fork_generation, fork_generation(), __ATOMIC_RELEASE);
        return OBJD_OK;
}

static void *keep(void *context);

static objd_status start_keeper(struct rpc_client *client)
{
        sigset_t all, before;
        int error;

        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        error = pthread_create(&client->keeper, NULL, keep, client);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (error) {
                errno = error;
                return fail_errno("cannot start the thread that keeps the session alive");
        }
        client->keeper_runs = true;
        return OBJD_OK;
}

/*
 * This thread is in a call, on whichever client. A handler of a signal that has interrupted it makes none: it would wait for a mutex,
 * or for what is to be taken in, and the one who has them is itself.
 */
static _Thread_local bool is_inside;

static void set_inside(bool inside)
{
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        is_inside = inside;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

void client_leave(struct rpc_client *client)
{
        (void)pthread_mutex_unlock(&client->mutex);
        set_inside(false);
}

objd_status client_enter(struct rpc_client *client)
{
        objd_status r = OBJD_OK;

        if (is_inside)
                return fail(OBJD_E_REENTERED,
                            "called from a signal handler that interrupted another call of this thread");
        set_inside(true);
        if (__atomic_load_n(&client->fork_generation, __ATOMIC_ACQUIRE) != fork_generation()) {
                forklock_take(&client->anew_lock);
                if (client->fork_generation != fork_generation())
                        r = make_anew(client);
                forklock_give(&client->anew_lock);
        }
        if (r) {
                set_inside(false);
                return r;
        }
        (void)pthread_mutex_lock(&client->mutex);
        if (!client->keeper_runs)
                r = start_keeper(client);
        if (r)
                client_leave(client);
        return r;
}

/* ---- The thread that keeps the session alive --------------------------------------------------------------- */

/* Says that we are still there, if it is time, and gives when it will be. */
static int64_t beat(struct rpc_client *client)
{
        int64_t every = (int64_t)client->welcome.heartbeat_ns / 2;

        if (!every)
                every = BEAT_NS;
        if (client->now_ns - client->said_ns >= every) {
                client_say(client, FRAME_PING);
                client->said_ns = client->now_ns;
        }
        return client->said_ns + every;
}

static void *keep(void *context)
{
        struct rpc_client *client = context;

        (void)pthread_mutex_lock(&client->mutex);
        while (!client->ends) {
                struct timespec time;
                int64_t next;

                (void)client_clock(client);
                next = client_come_up(client);

                if (!client->reading)
                        client_receive(client);
                if (!next)
                        next = beat(client);
                client->keeper_ns = at_most(next, tickets_push(client));
                time = as_timespec(client->keeper_ns);
                (void)pthread_cond_clockwait(&client->ending, &client->mutex, CLOCK_MONOTONIC, &time);
        }
        (void)pthread_mutex_unlock(&client->mutex);
        return NULL;
}

/* ---- Beginning and ending ---------------------------------------------------------------------------------- */

static void free_client(struct rpc_client *client)
{
        tickets_deinit(client);
        carrier_close(client->carrier);
        frame_joiner_deinit(&client->joiner);
        free(client->url);
        free(client);
}

static objd_status await_welcome(struct rpc_client *client, int64_t patience_ns)
{
        /* Nothing is sent of it: it only waits to be told that there is a session, or why not. */
        struct pending p = { .seq = UINT64_MAX, .patience_ns = OBJD_FOREVER };
        int64_t began = now_ns();
        objd_status r = OBJD_OK;

        client->pending = &p;
        while (!client->up && !p.done) {
                int64_t until = client_push(client, &p, client_clock(client));

                if (p.done || (patience_ns != OBJD_FOREVER && now_ns() - began >= patience_ns))
                        break;
                client_wait(client,
                            patience_ns == OBJD_FOREVER ? until : at_most(until, began + patience_ns));
        }
        client->pending = NULL;
        if (p.status)
                r = fail(p.status, "cannot connect to \"%s\": %s", client->url, p.sentence ? p.sentence : "");
        else if (!client->up && client->holder[0])
                r = fail(OBJD_E_BUSY, "cannot connect to \"%s\": %s", client->url, client->holder);
        else if (!client->up)
                r = fail(OBJD_E_NODAEMON, "no daemon answers at \"%s\"", client->url);
        free(p.sentence);
        return r;
}

objd_status rpc_open(const char *url, rpc_token_fn token_fn, int64_t patience_ns,
                     struct rpc_client **ret_client)
{
        struct rpc_client *client = sys.alloc(sizeof(*client));
        objd_status r;

        if (!client)
                return fail(OBJD_E_NOMEM, "no memory for a connection");
        client->event = client->epoll = -1;
        client->token_fn = token_fn;
        client->url = strdup(url);
        if (!client->url) {
                free_client(client);
                return fail(OBJD_E_NOMEM, "no memory for a connection");
        }
        r = make_anew(client);
        if (r == OBJD_OK) {
                (void)pthread_mutex_lock(&client->mutex);
                r = await_welcome(client, patience_ns);
                if (r == OBJD_OK)
                        r = start_keeper(client);
                (void)pthread_mutex_unlock(&client->mutex);
        }
        if (r) {
                free_client(client);
                return r;
        }
        rpc_threads_enlist(&client->threads, client);
        *ret_client = client;
        return OBJD_OK;
}

static void end_session(struct rpc_client *client)
{
        struct call call = { .code = CALL_SESSION_END };
        struct call_batch batch = { .calls = &call, .n_calls = 1 };
        struct rpc_reply reply;

        if (rpc_send(client, &batch, CLOSE_PATIENCE_NS, &reply) == OBJD_OK)
                rpc_reply_free(&reply);
}

void rpc_close(struct rpc_client *client)
{
        rpc_threads_delist(&client->threads);
        if (client->fork_generation == fork_generation()) {
                end_session(client);
                (void)pthread_mutex_lock(&client->mutex);
                client->ends = true;
                (void)pthread_cond_signal(&client->ending);
                (void)pthread_mutex_unlock(&client->mutex);
                if (client->keeper_runs)
                        (void)pthread_join(client->keeper, NULL);
                (void)pthread_cond_destroy(&client->changed);
                (void)pthread_cond_destroy(&client->ending);
                (void)pthread_mutex_destroy(&client->mutex);
        }
        rpc_threads_deinit(&client->threads);
        free_client(client);
}

bool rpc_is_read_only(const struct rpc_client *client)
{
        return client->read_only;
}

void rpc_remember_thread(struct rpc_client *client)
{
        rpc_threads_add(&client->threads, rpc_thread());
}
