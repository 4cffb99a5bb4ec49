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
#include "rpc/token.h"
#include "proxy/turns.h"

#define PROXY_LINKS_MAX 16

/* How long a call waits for a living holder before it is parked. */
#define PROXY_PATIENCE_NS 500000

#define PROXY_MAX_FRAME (1u << 20)
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
        const struct token_key
                *tokens;      /* users other than the daemon's own may come, with tokens; NULL: they cannot */
        const char *control;  /* the path of the control socket, where they get them */
        uint32_t max_per_uid; /* sessions of such a user */
        int epoll;
        int stop; /* an eventfd */
        bool ends;
        uint32_t n_ending; /* sessions that have been told to end */
        int64_t rested_ns;
        int64_t swept_ns; /* when those were last looked for of which nothing is heard */
        pthread_t thread;
        bool started;
        struct proxy_source sources[2 * PROXY_LINKS_MAX + 3]; /* and our own */
        uint32_t n_sources;
        bool (*look_fn)(void *context);
        void *look_context;
};

struct arena;

/*
 * store is its name, url that by which clients with a mapping reach it; both stay. After this links can be added; nothing runs
 * yet. @return OBJD_OK, OBJD_E_SYS
 */
objd_status proxy_init(struct proxy_server *server, struct arena *arena, const char *store, const char *url,
                       int64_t expiry_ns);

/* Before it starts: how much memory one client may take, and all together beyond 1 MiB each. Without this there is no bound. */
void proxy_set_memory(struct proxy_server *server, size_t client, size_t all);

/* fn is called, by the server's thread, whenever the descriptor is readable. @return OBJD_OK, OBJD_E_LIMIT, OBJD_E_SYS */
objd_status proxy_add_source(struct proxy_server *server, int fd, void (*fn)(void *context), void *context);

/*
 * The same for a source that is the caller's, and stays where it is until it is forgotten, which only the server's thread does, and not
 * while events are told (but from look_fn). It is told of each change, and not for as long as it is readable.
 * Any thread. @return OBJD_OK, OBJD_E_SYS
 */
objd_status proxy_watch_changes(struct proxy_server *server, struct proxy_source *source);
void proxy_forget_source(struct proxy_server *server, struct proxy_source *source);

/* fn is called after events have been told, and says whether it is to be called again soon, whether there are events or not. */
void proxy_set_look(struct proxy_server *server, bool (*fn)(void *context), void *context);

/* @return OBJD_OK, OBJD_E_SYS */
objd_status proxy_start(struct proxy_server *server);

/*
 * What its thread does again and again, for who has none: waits for something to do, unless it is busy, and does it. Gives whether it is
 * busy now.
 */
bool proxy_round(struct proxy_server *server, bool busy);

/* Sessions stay in the arena, for the next daemon. */
void proxy_stop(struct proxy_server *server);

/*
 * What a link has received from that route: one or more whole frames. Anything may be in them. A link that has received this often
 * goes back to the server, so that others have their turn.
 */
#define PROXY_RECEIVES 8u
void proxy_receive(struct proxy_server *server, struct proxy_link *link, const struct proxy_route *route,
                   const void *bytes, size_t size);

/*
 * The same for one frame whose head has been decoded, and checked against the link's limits. A piece that is not all of its message is
 * read once, and may be changed by its sender meanwhile.
 */
void proxy_receive_frame(struct proxy_server *server, struct proxy_link *link,
                         const struct proxy_route *route, const struct frame_head *head, const void *piece);

/* Whoever came that way is dead: sessions that were last heard there end. */
void proxy_end_sessions_of(struct proxy_server *server, const struct proxy_link *link,
                           const struct proxy_route *route);
