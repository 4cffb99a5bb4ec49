/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * sp_link.h -- an address that the daemon listens on with nanomsg
 *
 * nanomsg drops a reply for which its peer's socket has no room, and does not say so. So this side sends no more than
 * SP_UNDER_WAY bytes, or one large frame, that the peer has not told to have received: each message has a number, and whatever the peer sends says the
 * last one that it got. What does not fit waits, a bounded amount of it for each peer; what is lost all the same (a
 * connection that breaks) is asked for again.
 */

#include "proxy/guard.h"
#include "proxy/sp_flow.h"
#include "rpc/sp.h"

#define SP_UNDER_WAY (192u << 10)

/*
 * Of a reply that is not sealed: two are under way. nanomsg takes nothing for a connection on which it has not sent all of the last message, and does not
 * say so; what is under way must fit the kernel's buffer for the socket, which takes it at once (212992 bytes, which the kernel counts double).
 * A long one goes in large frames, which do not fit there: each when the peer has told of all that went before, so that nanomsg has sent it.
 */
#define SP_FRAME ((96u << 10) - 64)
#define SP_LARGE_FRAME PROXY_MAX_FRAME
#define SP_SEALED_UNDER_WAY (160u << 10) /* two large frames; over TCP each end has more room for them */
#define SP_PEERS_MAX 4096u               /* more than there are sessions */

/*
 * So many may be connected over TCP. nanomsg does not say whose a connection is, and closes none: if there are more they are all closed,
 * and who has a key comes back. Looked at each second.
 */
#define SP_CONNECTIONS_MAX 2048u
#define SP_PEER_BUCKETS 1024u

struct sp_peer;
struct proxy_server;

struct sp_link {
        struct proxy_link link; /* first */
        struct sp sp;
        struct proxy_server *server;
        char *url;
        struct sp_peer *peers[SP_PEER_BUCKETS]; /* by key */
        uint32_t n_peers;
        struct guard *guard; /* NULL: what comes is not sealed */
        int timer;           /* over TCP, when to look how many are connected; else -1 */
        bool is_deaf;        /* it is to listen again */
        bool bound;          /* there is a socket file of ours */
        int64_t forgot_ns;   /* when peers were last forgotten of which nothing is heard */
        uint64_t n_dropped;  /* replies for which there was no room */
};

/*
 * Listens, for ipc:// with a socket file that only the daemon's user may use. With keys, which the caller has and keeps, everything is
 * sealed. @return OBJD_OK, OBJD_E_INVAL, OBJD_E_SYS, OBJD_E_NOMEM
 */
objd_status sp_link_open(struct proxy_server *server, const char *url, const struct keyring *keys,
                         struct sp_link **ret_link);
void sp_link_close(struct sp_link *link);
