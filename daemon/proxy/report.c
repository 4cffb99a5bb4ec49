/* SPDX-License-Identifier: Apache-2.0 */

/*
 * report.c -- reports on the store for sessions
 */

#include "proxy/report.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "base/sys.h"
#include "dumpload/report_stream.h"
#include "object/object.h"
#include "object/value.h"
#include "proxy/account.h"

/* The same that a tool has with a mapping. */
#define TIMEOUT_NS 5000000000LL

/* Of the pipe, if the system grants it. */
#define PIPE_SIZE (1 << 20)

/* What makes one. */
struct report_maker {
        struct report_makers *makers;
        struct report report;
        char *object;
        int in;            /* the thread's end of the pipe */
        int out;           /* the server's end */
        bool is_cancelled; /* the thread looks at it */
        uint32_t n_users;  /* the server, the thread; under the lock */
};

/* A session's: how far it has been read. */
struct report_read {
        struct report_maker *maker; /* NULL: it has been read to its end */
        uint64_t number;

        /* The piece that was given last, in case it is asked for again. */
        uint64_t position;
        size_t size;
        bool end;
        uint8_t piece[REPORT_PIECE];
};

void report_makers_init(struct report_makers *makers, struct arena *arena, const char *store)
{
        *makers = (struct report_makers){ .arena = arena, .store = store };
        (void)pthread_mutex_init(&makers->lock, NULL); /* neither fails on Linux */
        (void)pthread_cond_init(&makers->ended, NULL);
}

void report_makers_deinit(struct report_makers *makers)
{
        (void)pthread_mutex_lock(&makers->lock);
        while (makers->n)
                (void)pthread_cond_wait(&makers->ended, &makers->lock);
        (void)pthread_mutex_unlock(&makers->lock);
        (void)pthread_cond_destroy(&makers->ended);
        (void)pthread_mutex_destroy(&makers->lock);
}

/* ---- Making ---------------------------------------------------------------------------------------------- */

static void close_end(int fd)
{
        if (fd >= 0)
                (void)close(fd); /* of a pipe */
}

/* Nothing of the server is touched after the last one has said so. */
static void unref(struct report_maker *maker)
{
        struct report_makers *makers = maker->makers;
        bool last;

        (void)pthread_mutex_lock(&makers->lock);
        last = --maker->n_users == 0;
        (void)pthread_mutex_unlock(&makers->lock);
        if (!last)
                return;
        close_end(maker->in);
        close_end(maker->out);
        free(maker->object);
        free(maker);
        (void)pthread_mutex_lock(&makers->lock);
        makers->n--;
        (void)pthread_cond_signal(&makers->ended);
        (void)pthread_mutex_unlock(&makers->lock);
}

static void make(struct report_maker *maker)
{
        struct objd_conn conn = { .arena = maker->makers->arena, .timeout_ns = TIMEOUT_NS, .control = -1 };

        maker->report.f = fdopen(maker->in, "w");
        if (!maker->report.f)
                return; /* what is missing at its end tells the client */
        maker->in = -1;
        report_stream(&conn, &maker->report);
        (void)fclose(maker->report.f); /* the reader may be gone */
}

static void *run(void *context)
{
        struct report_maker *maker = context;

        make(maker);
        close_end(maker->in);
        maker->in = -1;
        lane_release_own(maker->makers->arena);
        unref(maker);
        return NULL;
}

static bool take_place(struct report_makers *makers)
{
        bool is_free;

        (void)pthread_mutex_lock(&makers->lock);
        is_free = makers->n < REPORTS_MAX;
        makers->n += is_free;
        (void)pthread_mutex_unlock(&makers->lock);
        return is_free;
}

/* The thread may still be at it when nobody waits for it any more. */
static objd_status start_thread(struct report_maker *maker)
{
        pthread_attr_t detached;
        pthread_t thread;
        int error;

        maker->n_users = 2;
        (void)pthread_attr_init(&detached);
        (void)pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        error = pthread_create(&thread, &detached, run, maker);
        (void)pthread_attr_destroy(&detached);
        if (!error)
                return OBJD_OK;
        maker->n_users = 1;
        errno = error;
        return fail_errno("cannot start a thread for a report");
}

static objd_status open_pipe(struct report_maker *maker)
{
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return fail_errno("cannot make a pipe for a report");
        maker->out = fds[0];
        maker->in = fds[1];
        (void)fcntl(maker->in, F_SETPIPE_SZ, PIPE_SIZE); /* a smaller one will do */
        if (fcntl(maker->out, F_SETFL, O_NONBLOCK) < 0)
                return fail_errno("cannot make a pipe for a report");
        return OBJD_OK;
}

static objd_status fill_in(struct report_maker *maker, const struct call *call)
{
        const struct call_report *asked = call->report;

        maker->object = call->name ? strdup(call->name) : NULL;
        if (call->name && !maker->object)
                return fail(OBJD_E_NOMEM, "no memory for a report");
        maker->report = (struct report){
                .what = (enum report_what)asked->what,
                .object = maker->object,
                .limit = asked->limit,
                .atomic = asked->atomic,
                .store = maker->makers->store,
                .has_daemon = true,
                .is_cancelled = &maker->is_cancelled,
        };
        return OBJD_OK;
}

static objd_status start(struct report_makers *makers, const struct call *call,
                         struct report_maker **ret_maker)
{
        struct report_maker *maker = sys.alloc(sizeof(*maker));
        objd_status r;

        if (!maker)
                return fail(OBJD_E_NOMEM, "no memory for a report");
        if (!take_place(makers)) {
                free(maker);
                return fail(OBJD_E_LIMIT, "%u reports are being made, which is all there can be",
                            REPORTS_MAX);
        }
        maker->makers = makers;
        maker->in = maker->out = -1;
        maker->n_users = 1;
        r = fill_in(maker, call);
        if (r == OBJD_OK)
                r = open_pipe(maker);
        if (r == OBJD_OK)
                r = start_thread(maker);
        if (r)
                unref(maker);
        else
                *ret_maker = maker;
        return r;
}

static objd_status begin(struct report_makers *makers, struct account *account, const struct call *call,
                         struct report_read **ret_report)
{
        struct report_read *report;
        objd_status r;

        if (!report_is_one(call->report->what))
                return fail(OBJD_E_INVAL, "there is no report %u", call->report->what);
        report = account_alloc(account, sizeof(*report));
        if (!report)
                return fail(OBJD_E_NOMEM, "no memory for a report");
        memset(report, 0, offsetof(struct report_read, piece));
        report->number = call->report->number;
        r = start(makers, call, &report->maker);
        if (r) {
                account_free(report);
                return r;
        }
        *ret_report = report;
        return OBJD_OK;
}

/* Its thread, if it is still at it, ends as soon as it can: one that waits for room in the pipe is told. */
static void drop_maker(struct report_read *report)
{
        struct report_maker *maker = report->maker;

        if (!maker)
                return;
        report->maker = NULL;
        __atomic_store_n(&maker->is_cancelled, true, __ATOMIC_RELAXED);
        close_end(maker->out);
        maker->out = -1;
        unref(maker);
}

void report_drop(struct report_read **session)
{
        if (!*session)
                return;
        drop_maker(*session);
        account_free(*session);
        *session = NULL;
}

/* ---- Giving ---------------------------------------------------------------------------------------------- */

/* The report that the call asks for, begun if it is a new one. */
static objd_status find(struct report_makers *makers, struct report_read **session, struct account *account,
                        const struct call *call)
{
        const struct call_report *asked = call->report;
        const struct report_read *report = *session;
        struct report_read *begun = NULL;
        objd_status r;

        if (report && asked->number == report->number)
                return OBJD_OK;
        if (asked->position || (report && asked->number < report->number))
                return fail(OBJD_E_GONE, "there is no such report any more; ask for it again");
        r = begin(makers, account, call, &begun);
        if (r)
                return r;
        report_drop(session);
        *session = begun;
        return OBJD_OK;
}

static objd_status read_piece(struct report_read *report)
{
        size_t size = 0;

        while (size < sizeof(report->piece) && !report->end) {
                ssize_t n = read(report->maker->out, report->piece + size, sizeof(report->piece) - size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno != EAGAIN)
                        return fail_errno("cannot read a report");
                if (n < 0)
                        break;
                size += (size_t)n;
                report->end = n == 0;
        }
        if (!size && !report->end)
                return OBJD_E_EMPTY;
        report->position += report->size;
        report->size = size;
        if (report->end)
                drop_maker(report);
        return OBJD_OK;
}

objd_status report_piece(struct report_makers *makers, struct report_read **session, struct account *account,
                         const struct call *call, struct outcome *outcome)
{
        struct report_read *report;
        objd_status r = find(makers, session, account, call);

        if (r)
                return r;
        report = *session;
        if (call->report->position == report->position + report->size && !report->end) {
                r = read_piece(report);
                if (r)
                        return r;
        }
        if (call->report->position != report->position)
                return fail(OBJD_E_GONE, "that piece of the report has been given; ask for it again");
        r = buf_grow(&outcome->buf, report->size);
        if (r)
                return r;
        if (report->size)
                memcpy(outcome->buf.data, report->piece, report->size);
        outcome->answer->value = objd_bytes(outcome->buf.data, report->size);
        outcome->answer->truth = report->end;
        return OBJD_OK;
}
