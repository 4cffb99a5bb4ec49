/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threads.c -- which threads may hold locks through a session
 */

#include "rpc/threads.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/forklock.h"
#include "base/sys.h"
#include "rpc/client.h"

/* Guards the list of all and the tags of each. Taken by threads that end, and by those that take their first lock. */
static struct forklock list_lock;
static struct rpc_threads *list;

static uint32_t next_tag;
static _Thread_local uint32_t own_tag;
static _Thread_local uint64_t own_generation;
static pthread_key_t end_key;
static pthread_once_t end_once = PTHREAD_ONCE_INIT;

#define GONE_PATIENCE_NS 200000000LL

uint32_t rpc_thread(void)
{
        /* In a child the one thread that there is keeps its number: the session is another one. */
        if (!own_tag)
                own_tag = __atomic_add_fetch(&next_tag, 1, __ATOMIC_RELAXED);
        return own_tag;
}

static bool take_tag(struct rpc_threads *threads, uint32_t tag)
{
        for (size_t i = 0; i < threads->n; i++)
                if (threads->tags[i] == tag) {
                        threads->tags[i] = threads->tags[--threads->n];
                        return true;
                }
        return false;
}

static void tell(struct rpc_client *client, uint32_t tag)
{
        struct call call = { .code = CALL_SESSION_THREAD_GONE, .thread = tag };
        struct call_batch batch = { .calls = &call, .n_calls = 1 };
        struct rpc_reply reply;

        if (rpc_send(client, &batch, GONE_PATIENCE_NS, &reply) == OBJD_OK)
                rpc_reply_free(&reply);
}

/* One session at a time, without the lock; rpc_threads_delist() waits for us. */
static void end_of_thread(void *unused)
{
        struct rpc_threads *found;

        (void)unused;
        do {
                found = NULL;
                forklock_take(&list_lock);
                for (struct rpc_threads *t = list; t && !found; t = t->next)
                        if (own_generation == fork_generation() && take_tag(t, own_tag))
                                found = t;
                if (found)
                        found->n_telling++;
                forklock_give(&list_lock);
                if (found) {
                        tell(found->client, own_tag);
                        __atomic_fetch_sub(&found->n_telling, 1, __ATOMIC_RELEASE);
                }
        } while (found);
}

static void make_end_key(void)
{
        (void)pthread_key_create(&end_key, end_of_thread);
}

void rpc_threads_init(struct rpc_threads *threads)
{
        threads->fork_generation = fork_generation();
        threads->n = 0;
        threads->n_telling = 0;
}

void rpc_threads_deinit(struct rpc_threads *threads)
{
        free(threads->tags);
        threads->tags = NULL;
        threads->n = threads->room = 0;
}

void rpc_threads_enlist(struct rpc_threads *threads, struct rpc_client *client)
{
        forklock_take(&list_lock);
        threads->client = client;
        threads->next = list;
        threads->link = &list;
        if (list)
                list->link = &threads->next;
        list = threads;
        forklock_give(&list_lock);
}

void rpc_threads_delist(struct rpc_threads *threads)
{
        if (!threads->link)
                return;
        forklock_take(&list_lock);
        *threads->link = threads->next;
        if (threads->next)
                threads->next->link = threads->link;
        threads->link = NULL;
        forklock_give(&list_lock);
        while (threads->fork_generation == fork_generation() &&
               __atomic_load_n(&threads->n_telling, __ATOMIC_ACQUIRE))
                nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
}

static bool has_tag(const struct rpc_threads *threads, uint32_t tag)
{
        for (size_t i = 0; i < threads->n; i++)
                if (threads->tags[i] == tag)
                        return true;
        return false;
}

void rpc_threads_add(struct rpc_threads *threads, uint32_t tag)
{
        (void)pthread_once(&end_once, make_end_key);
        (void)pthread_setspecific(end_key, threads);
        own_generation = fork_generation();
        forklock_take(&list_lock);
        if (!has_tag(threads, tag)) {
                if (threads->n == threads->room) {
                        size_t room = threads->room ? 2 * threads->room : 8;
                        uint32_t *tags = sys.resize(threads->tags, room * sizeof(*tags));

                        if (tags) {
                                threads->tags = tags;
                                threads->room = room;
                        }
                }
                if (threads->n < threads->room)
                        threads->tags[threads->n++] = tag;
        }
        forklock_give(&list_lock);
}
