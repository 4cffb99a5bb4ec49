/* SPDX-License-Identifier: Apache-2.0 */

/*
 * loop.c -- one thread waiting for descriptors, a tick and signals
 */

#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/status.h"

static void on_timer(void *context, uint32_t events)
{
        struct loop *loop = context;
        uint64_t n_ticks;

        (void)events;
        /* Ticks that were missed are not made up for. */
        if (read(loop->timer.fd, &n_ticks, sizeof(n_ticks)) == sizeof(n_ticks) && loop->tick_fn)
                loop->tick_fn(loop->tick_context);
}

static void on_signal(void *context, uint32_t events)
{
        struct loop *loop = context;
        struct signalfd_siginfo info;

        (void)events;
        if (read(loop->signals.fd, &info, sizeof(info)) != sizeof(info))
                return;
        loop_end(loop, "%s from pid %d", strsignal((int)info.ssi_signo), (int)info.ssi_pid);
}

/* The caller's mask and ignored signals are replaced: nohup and the like must not make us deaf to SIGTERM. */
static objd_status take_signals(int *ret_fd)
{
        sigset_t ours;
        int fd;

        sigemptyset(&ours);
        sigaddset(&ours, SIGTERM);
        sigaddset(&ours, SIGINT);
        if (sigprocmask(SIG_SETMASK, &ours, NULL) < 0)
                return fail_errno("cannot block signals");
        /* Blocked, so that the default action never runs; an ignored signal would not be queued. */
        (void)signal(SIGTERM, SIG_DFL);
        (void)signal(SIGINT, SIG_DFL);
        (void)signal(SIGHUP, SIG_IGN);
        (void)signal(SIGPIPE, SIG_IGN);
        fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd < 0)
                return fail_errno("cannot make a signalfd");
        *ret_fd = fd;
        return OBJD_OK;
}

static objd_status make(struct loop *loop)
{
        objd_status r;

        loop->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (loop->epoll < 0)
                return fail_errno("cannot make an epoll descriptor");
        loop->timer.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (loop->timer.fd < 0)
                return fail_errno("cannot make a timer");
        r = take_signals(&loop->signals.fd);
        if (r)
                return r;
        r = loop_add(loop, &loop->timer, EPOLLIN);
        if (r)
                return r;
        return loop_add(loop, &loop->signals, EPOLLIN);
}

objd_status loop_init(struct loop *loop)
{
        objd_status r;

        *loop = (struct loop){
                .epoll = -1,
                .timer = { .fd = -1, .fn = on_timer, .context = loop },
                .signals = { .fd = -1, .fn = on_signal, .context = loop },
        };
        r = make(loop);
        if (r)
                loop_deinit(loop);
        return r;
}

static void close_if_open(int *fd)
{
        if (*fd >= 0)
                (void)close(*fd); /* nothing is written to these */
        *fd = -1;
}

void loop_deinit(struct loop *loop)
{
        close_if_open(&loop->signals.fd);
        close_if_open(&loop->timer.fd);
        close_if_open(&loop->epoll);
}

objd_status loop_add(struct loop *loop, struct loop_source *source, uint32_t events)
{
        struct epoll_event event = { .events = events, .data.ptr = source };

        if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, source->fd, &event) < 0)
                return fail_errno("cannot watch a descriptor");
        return OBJD_OK;
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
        (void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, source->fd, NULL); /* it is there: loop_add() said so */
        for (int i = loop->next_event; i < loop->n_events; i++)
                if (loop->events[i].data.ptr == source)
                        loop->events[i].data.ptr = NULL;
}

void loop_set_tick_fn(struct loop *loop, void (*fn)(void *context), void *context)
{
        loop->tick_fn = fn;
        loop->tick_context = context;
}

void loop_set_ticking(struct loop *loop, bool on)
{
        const struct timespec interval = { .tv_nsec = on ? LOOP_TICK_NS : 0 };
        const struct itimerspec spec = { .it_interval = interval, .it_value = interval };

        if (on == loop->ticking)
                return;
        (void)timerfd_settime(loop->timer.fd, 0, &spec, NULL); /* it fails only for a bad fd or a bad time */
        loop->ticking = on;
}

static void dispatch(struct loop *loop)
{
        loop->next_event = 0;
        while (loop->next_event < loop->n_events) {
                const struct epoll_event *event = &loop->events[loop->next_event++];
                const struct loop_source *source = event->data.ptr;

                if (source)
                        source->fn(source->context, event->events);
        }
        loop->n_events = 0;
}

void loop_end(struct loop *loop, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        (void)vsnprintf(loop->end, sizeof(loop->end), format, args);
        va_end(args);
}

objd_status loop_run(struct loop *loop)
{
        while (!loop->end[0]) {
                int n = epoll_wait(loop->epoll, loop->events, sizeof(loop->events) / sizeof(loop->events[0]),
                                   -1);

                if (n < 0 && errno != EINTR)
                        return fail_errno("cannot wait for events");
                loop->n_events = n < 0 ? 0 : n;
                dispatch(loop);
        }
        return OBJD_OK;
}
