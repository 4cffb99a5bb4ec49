/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * server.h -- the store for those who have no mapping of it: a thread that takes their batches and answers them
 *
 * All of it is done by that one thread. It never waits for anybody but for events: what would have to wait is parked (parked.h), and
 * what living processes are in the middle of it waits for no longer than PROXY_PATIENCE_NS before it does
 * something else. Sessions have turns (turns.h), so that nobody can keep it to himself.
 */

#include <pthread.h>

#include "proxy/parked.h"
#include "proxy/turns.h"

#define PROXY_LINKS_MAX 16

/* How long a call waits for a living holder before it is parked. */
#define PROXY_PATIENCE_NS 500000

#define PROXY_MAX_FRAME (1u << 20)
#define PROXY_SESSIONS_MAX 2048u
#define PROXY_JOBS_MAX RECORD_WINDOW /* of a session */

struct proxy_stats {
        uint64_t n_sessions;
        uint64_t n_resumed;
        uint64_t n_batches;
        uint64_t n_again; /* batches that had come before */
        uint64_t n_refused;
        uint64_t n_others; /* frames of sessions that are somebody else's */
};

struct proxy_source {
        int fd;
        void (*fn)(void *context);
        void *context;
};

struct proxy_server {
        struct objd_conn conn;
        struct proxy_sessions sessions;
        struct parked parked;
        struct turns turns;
        struct waker waker;
        struct space space; /* for what is unpacked and done with at once */
        struct proxy_stats stats;
        const char *store;
        int epoll;
        int stop; /* an eventfd */
        bool ends;
        uint32_t n_ending; /* sessions that have been told to end */
        int64_t swept_ns;  /* when those were last looked for of which nothing is heard */
        pthread_t thread;
        bool started;
        struct proxy_source sources[PROXY_LINKS_MAX + 2];
        uint32_t n_sources;
};

struct arena;

/*
 * store is its name, url that by which clients with a mapping reach it; both stay. After this links can be added; nothing runs
 * yet. @return OBJD_OK, OBJD_E_SYS
 */
objd_status proxy_init(struct proxy_server *server, struct arena *arena, const char *store, const char *url,
                       int64_t expiry_ns);

/* fn is called, by the server's thread, whenever the descriptor is readable. @return OBJD_OK, OBJD_E_LIMIT, OBJD_E_SYS */
objd_status proxy_add_source(struct proxy_server *server, int fd, void (*fn)(void *context), void *context);

/* @return OBJD_OK, OBJD_E_SYS */
objd_status proxy_start(struct proxy_server *server);

/* Sessions stay in the arena, for the next daemon. */
void proxy_stop(struct proxy_server *server);

/*
 * What a link has received from that route: one or more whole frames. Anything may be in them. A link that has received this often
 * goes back to the server, so that others have their turn.
 */
#define PROXY_RECEIVES 32u
void proxy_receive(struct proxy_server *server, struct proxy_link *link, const struct proxy_route *route,
                   const void *bytes, size_t size);
