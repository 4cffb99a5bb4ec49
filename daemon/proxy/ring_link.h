/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ring_link.h -- the daemon's side of local: urls: a pair of rings for each client, in memory of its own
 *
 * A client asks for its rings on the control socket, whose thread makes them here (ring_link_invite()) and says when the client has
 * gone. All else is done by the server's thread. While requests come, that thread looks at the rings by itself; it goes
 * on looking for a while after each client's last request, and then sleeps until a bell is rung.
 *
 * The client rings an eventfd. It is only ever waited for here, never read or written: the client has it too, and could make either of
 * them block. The daemon rings by a byte on the control socket, which it can send without waiting.
 */

#include <pthread.h>

#include "proxy/link.h"
#include "rpc/ring.h"

/*
 * As many as there can be sessions. What has never had more than small messages under way has used 128 KiB of its rings; with large ones
 * it is 2 MiB.
 */
#define RING_LINK_PEERS_MAX 2048u
#define RING_LINK_SIZE (1u << 20)
#define RING_LINK_FRAME (RING_LINK_SIZE / 4)

struct proxy_server;
struct ring_peer;

struct ring_link {
        struct proxy_link link; /* first */
        struct proxy_server *server;
        int news; /* an eventfd: somebody has left */
        bool some_have_left;
        int64_t spin_ns; /* the longest that is looked after the last request of a client; 0 with one processor */
        pthread_mutex_t mutex; /* for the table's changes, and for the sockets of its peers */
        struct ring_peer *peers[RING_LINK_PEERS_MAX];
        uint32_t n_peers;
        uint32_t generation;
        struct ring_peer *awake[RING_LINK_PEERS_MAX]; /* whose rings are looked at */
        uint32_t n_awake;
        uint64_t n_dropped; /* replies for which there was no memory */
        uint64_t copy[RING_LINK_FRAME / 8];
};

/* What a client is to get. The memory's descriptor is the caller's to close, the bell's is not. */
struct ring_offer {
        int memory;
        int bell;
        uint64_t handle;
};

/* Before the server starts. @return OBJD_OK, OBJD_E_SYS, OBJD_E_LIMIT, OBJD_E_NOMEM */
objd_status ring_link_open(struct proxy_server *server, struct ring_link **ret_link);

/* After the server has stopped. Takes NULL. */
void ring_link_close(struct ring_link *link);

/*
 * Rings for the client at the other end of this socket, which stays the caller's: until ring_link_dismiss() a byte may be sent on it
 * at any time, and it may be shut down. Any thread. @return OBJD_OK, OBJD_E_LIMIT, OBJD_E_NOMEM, OBJD_E_SYS
 */
objd_status ring_link_invite(struct ring_link *link, int socket, const struct proxy_who *who,
                             struct ring_offer *ret_offer);

/* The client has gone: its session ends, its rings go. Any thread; link may be NULL. */
void ring_link_dismiss(struct ring_link *link, uint64_t handle);
