/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * loop.h -- one thread waiting for descriptors, a tick and signals
 */

#include <sys/epoll.h>

#include <objd.h>

/* A descriptor in the loop. Belongs to whoever added it, and stays where it is until it is removed. */
struct loop_source {
        int fd;
        void (*fn)(void *context, uint32_t events);
        void *context;
};

struct loop {
        int epoll;
        struct loop_source timer;
        struct loop_source signals;
        void (*tick_fn)(void *context);
        void *tick_context;
        bool ticking;
        char end[96];                  /* why the loop is to end; empty while it goes on */
        struct epoll_event events[64]; /* what epoll has just told; see loop_remove() */
        int n_events;
        int next_event;
};

/* Takes SIGTERM and SIGINT over: they end loop_run(). SIGHUP and SIGPIPE are ignored. @return OBJD_OK, OBJD_E_SYS */
objd_status loop_init(struct loop *loop);
void loop_deinit(struct loop *loop);

/* Tells about level-triggered events. @return OBJD_OK, OBJD_E_SYS */
objd_status loop_add(struct loop *loop, struct loop_source *source, uint32_t events);

/* After this the source is never called again, not even for what epoll has told already; its fd is still open. */
void loop_remove(struct loop *loop, struct loop_source *source);

/* The one tick: fn is called every interval while it is on. */
#define LOOP_TICK_NS 100000000
void loop_set_tick_fn(struct loop *loop, void (*fn)(void *context), void *context);
void loop_set_ticking(struct loop *loop, bool on);

/* Ends loop_run(); why is for the log. */
void loop_end(struct loop *loop, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Until a signal or loop_end() ends it. @return OBJD_OK, OBJD_E_SYS */
objd_status loop_run(struct loop *loop);
