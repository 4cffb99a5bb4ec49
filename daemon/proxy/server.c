/* SPDX-License-Identifier: Apache-2.0 */

/*
 * server.c -- the thread that serves those who have no mapping of the store: what it waits for, and what it does in turns
 */

#include "proxy/server.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/status.h"
#include "base/sys.h"
#include "proxy/answer.h"

#define TICK_MS 100

/* In the time after which a silent session is over. */
#define SWEEPS 32

/* How often memory goes back to the system that has not been used since. */
#define REST_NS 1000000000LL

/* ---- The thread ------------------------------------------------------------------------------------------- */

/* How often sessions are looked for that are over: not so often that who only waits for them costs anything. */
static int64_t sweep_ns(const struct proxy_server *server)
{
        int64_t part_ns = server->sessions.expiry_ns / SWEEPS;

        return part_ns < TICK_MS * 1000000LL ? TICK_MS * 1000000LL : part_ns;
}

/* What a session has published that has ended before it was done. */
static void end_publication(struct publication *publication, struct arena *arena)
{
        if (publication->session && !publication->is_done && !session_lives(arena, publication->session))
                (void)run_end_publication(publication); /* or another time */
}

/* Those that have been told to end, and from time to time those that have not been heard of. */
static void end_sessions(struct proxy_server *server)
{
        struct proxy_session *next;
        int64_t now = server->sessions.now_ns;
        bool any = false;

        if (!server->n_ending && now - server->swept_ns < sweep_ns(server))
                return;
        server->n_ending = 0;
        server->swept_ns = now;
        if (now - server->rested_ns >= REST_NS) {
                server->rested_ns = now;
                accounts_rest(&server->sessions.accounts);
        }
        for (struct proxy_session *session = server->sessions.list; session; session = next) {
                next = session->next;
                session_show_memory(server->conn.arena, session->client, session->account->used,
                                    session->account->most);
                if (!session->ends && !session_is_over(&server->sessions, session))
                        continue;
                answer_drop_jobs(server, session);
                session_close(&server->sessions, session);
                any = true;
        }
        if (any)
                sessions_recover(&server->sessions);
        end_publication(&server->sessions.publication, server->conn.arena);
}

static int wait_ms(struct proxy_server *server)
{
        int64_t wait_ns = parked_look(&server->parked);

        if (turns_has_any(&server->turns))
                return 0;
        if ((server->sessions.list || accounts_want_rest(&server->sessions.accounts)) &&
            (wait_ns < 0 || wait_ns > sweep_ns(server)))
                wait_ns = sweep_ns(server);
        return wait_ns < 0 ? -1 : (int)((wait_ns + 999999) / 1000000);
}

bool proxy_round(struct proxy_server *server, bool busy)
{
        struct epoll_event events[PROXY_LINKS_MAX + 3];
        int ms = wait_ms(server);
        int n = epoll_wait(server->epoll, events, PROXY_LINKS_MAX + 3, busy ? 0 : ms);

        server->sessions.now_ns = now_ns();
        for (int i = 0; i < n && !server->ends; i++) {
                const struct proxy_source *source = events[i].data.ptr;

                source->fn(source->context);
        }
        turns_run(&server->turns);
        busy = server->look_fn && server->look_fn(server->look_context);
        end_sessions(server);
        return busy;
}

static void *run(void *context)
{
        struct proxy_server *server = context;
        bool busy = false;

        while (!server->ends)
                busy = proxy_round(server, busy);
        return NULL;
}

static void on_stop(void *context)
{
        struct proxy_server *server = context;

        server->ends = true;
}

static void on_wake(void *context)
{
        struct proxy_server *server = context;

        parked_wake(&server->parked);
}

objd_status proxy_watch_changes(struct proxy_server *server, struct proxy_source *source)
{
        struct epoll_event event = { .events = EPOLLIN | (uint32_t)EPOLLET, .data.ptr = source };

        if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, source->fd, &event) < 0)
                return fail_errno("cannot watch a descriptor");
        return OBJD_OK;
}

void proxy_forget_source(struct proxy_server *server, struct proxy_source *source)
{
        (void)epoll_ctl(server->epoll, EPOLL_CTL_DEL, source->fd, NULL); /* it is there */
}

void proxy_set_look(struct proxy_server *server, bool (*fn)(void *context), void *context)
{
        server->look_fn = fn;
        server->look_context = context;
}

objd_status proxy_add_source(struct proxy_server *server, int fd, void (*fn)(void *context), void *context)
{
        struct proxy_source *source = &server->sources[server->n_sources];
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = source };

        if (server->n_sources == sizeof(server->sources) / sizeof(*server->sources))
                return fail(OBJD_E_LIMIT, "no more than %d addresses can be listened on", PROXY_LINKS_MAX);
        *source = (struct proxy_source){ fd, fn, context };
        if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
                return fail_errno("cannot watch a descriptor");
        server->n_sources++;
        return OBJD_OK;
}

static objd_status make(struct proxy_server *server)
{
        objd_status r;

        server->epoll = epoll_create1(EPOLL_CLOEXEC);
        server->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (server->epoll < 0 || server->stop < 0)
                return fail_errno("cannot make a descriptor to wait with");
        r = waker_start(&server->waker);
        if (r == OBJD_OK)
                r = proxy_add_source(server, server->stop, on_stop, server);
        if (r == OBJD_OK)
                r = proxy_add_source(server, server->waker.event, on_wake, server);
        return r;
}

objd_status proxy_init(struct proxy_server *server, struct arena *arena, const char *store, const char *url,
                       int64_t expiry_ns)
{
        objd_status r;

        memset(server, 0, sizeof(*server));
        server->epoll = server->stop = -1;
        server->conn = (struct objd_conn){ .arena = arena, .timeout_ns = PROXY_PATIENCE_NS, .control = -1 };
        server->sessions = (struct proxy_sessions){ .conn = &server->conn, .expiry_ns = expiry_ns };
        parked_init(&server->parked, &server->sessions, &server->waker, answer_take_job, server);
        turns_init(&server->turns, &server->sessions, answer_take_job, server);
        server->store = store;
        report_makers_init(&server->sessions.reports, arena, url);
        space_init(&server->space, NULL, 0);
        r = make(server);
        if (r)
                proxy_stop(server);
        return r;
}

void proxy_set_memory(struct proxy_server *server, size_t client, size_t all)
{
        accounts_init(&server->sessions.accounts, client, all);
}

objd_status proxy_start(struct proxy_server *server)
{
        sigset_t all, before;
        int error;

        /* Signals are the main thread's business. */
        (void)sigfillset(&all);
        (void)sigdelset(&all, SIGBUS);
        (void)sigdelset(&all, SIGSEGV);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        error = pthread_create(&server->thread, NULL, run, server);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (error) {
                errno = error;
                return fail_errno("cannot start a thread");
        }
        server->started = true;
        return OBJD_OK;
}

void proxy_stop(struct proxy_server *server)
{
        if (server->started) {
                (void)eventfd_write(server->stop, 1);
                (void)pthread_join(server->thread, NULL);
        }
        server->started = false;
        while (server->sessions.list) {
                answer_drop_jobs(server, server->sessions.list);
                session_forget(&server->sessions, server->sessions.list);
        }
        parked_deinit(&server->parked);
        report_makers_deinit(&server->sessions.reports);
        outcome_spares_free(&server->sessions.spares);
        accounts_deinit(&server->sessions.accounts);
        waker_stop(&server->waker);
        if (server->stop >= 0)
                (void)close(server->stop);
        if (server->epoll >= 0)
                (void)close(server->epoll);
        space_deinit(&server->space);
}
