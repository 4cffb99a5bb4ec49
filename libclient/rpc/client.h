/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * client.h -- the client's side of a session: batches go out, replies come back, whatever becomes of the connection
 *
 * Any number of threads may have a batch under way. There is no thread that receives: whoever waits for a reply does,
 * for all. A batch that is not answered is sent again, as often as it takes; the daemon sees to it that it is run once.
 * A thread of the session's own, the keeper, says from time to time that it is still there, and sends again what is submitted and
 * nobody waits for.
 */

#include <objd.h>

#include "rpc/call.h"
#include "rpc/space.h"
#include "rpc/token.h"

struct rpc_client;

/* What has come back. It holds the memory of all that the answers point to. */
struct rpc_reply {
        struct rpc_client *client; /* which has use for the memory afterwards; or NULL */
        struct call_reply reply;
        struct space space;
        void *bytes; /* the message, malloc()'s: who takes it puts other such memory here, or NULL; NULL: it is in few[] */
        size_t room;                       /* and its size here */
        _Alignas(16) uint8_t few[512];     /* a small one, */
        _Alignas(16) uint8_t answers[512]; /* and what is made of it. So a reply must stay where it is */
};

/*
 * What a hello is to show of the right to say it, if anything: *ret_size 0. Asked before each.
 * @return OBJD_OK, OBJD_E_ACCESS (there is none for us), OBJD_E_NODAEMON (asked again later), OBJD_E_NOMEM, OBJD_E_SYS
 */
typedef objd_status (*rpc_token_fn)(const char *url, uint8_t ret_token[TOKEN_SIZE_MAX], size_t *ret_size);

/*
 * A session at this address ("ipc:///PATH"), begun within patience_ns.
 * @return OBJD_OK, OBJD_E_NODAEMON, OBJD_E_INVAL (no such address), OBJD_E_PROTO, OBJD_E_LIMIT, OBJD_E_ACCESS, OBJD_E_NOMEM, OBJD_E_SYS
 */
objd_status rpc_open(const char *url, rpc_token_fn token_fn, int64_t patience_ns,
                     struct rpc_client **ret_client);

/* Ends the session; waits a moment for the daemon to say that it knows. In a child of the process only what is its own goes. */
void rpc_close(struct rpc_client *client);

bool rpc_is_read_only(const struct rpc_client *client);

/* The number of the calling thread, by which its locks are known. */
uint32_t rpc_thread(void);

/* This thread may hold locks: the daemon is told when it ends. */
void rpc_remember_thread(struct rpc_client *client);

/*
 * Sends the batch (whose seq and acked are set here) and waits for its reply: patience_ns without a sign of the daemon, or
 * OBJD_FOREVER, and for as long as the calls themselves may wait. reply is to be freed with rpc_reply_free() after OBJD_OK, which
 * says that there is one, not what it says.
 * @return OBJD_OK, OBJD_E_NODAEMON (whether a change was made is not known), OBJD_E_LIMIT (for so long there have been as many under
 *         way as there can be), OBJD_E_TOOBIG, OBJD_E_NOMEM, OBJD_E_PROTO, OBJD_E_REENTERED
 */
objd_status rpc_send(struct rpc_client *client, struct call_batch *batch, int64_t patience_ns,
                     struct rpc_reply *ret_reply);
void rpc_reply_free(struct rpc_reply *reply);

/* ---- Batches that are submitted ---------------------------------------------------------------------------- */

/* One, until rpc_ticket_free(). What its calls point to must live until it is answered. */
struct rpc_ticket;

/*
 * Sends the batch and waits for nothing. @return OBJD_OK, OBJD_E_LIMIT (OBJD_SUBMITTED_MAX are not collected), OBJD_E_TOOBIG, OBJD_E_NOMEM,
 * and what rpc_send() says where there is no session
 */
objd_status rpc_submit(struct rpc_client *client, struct call_batch *batch, int64_t patience_ns,
                       void *context, struct rpc_ticket **ret_ticket);

/*
 * One that has been answered, or will not be; what rpc_send() would have said of it says rpc_ticket_reply(), once.
 * @return OBJD_OK, OBJD_E_NOTFOUND (none is under way), OBJD_E_EMPTY (OBJD_NOWAIT), OBJD_E_TIMEOUT
 */
objd_status rpc_collect(struct rpc_client *client, int64_t timeout_ns, struct rpc_ticket **ret_ticket);
void *rpc_ticket_context(const struct rpc_ticket *ticket);
objd_status rpc_ticket_reply(struct rpc_ticket *ticket, struct rpc_reply *ret_reply);
void rpc_ticket_free(struct rpc_ticket *ticket);

/* Readable while there may be something to collect; the client's. @return OBJD_OK, OBJD_E_SYS, and as rpc_submit() */
objd_status rpc_collect_fd(struct rpc_client *client, int *ret_fd);

/* Its calls are to wait no more. */
void rpc_cancel(struct rpc_client *client, struct rpc_ticket *ticket);

/* The same, and nobody will collect it: when it has ended, it is freed, and its context with free_fn. */
void rpc_give_up(struct rpc_client *client, struct rpc_ticket *ticket, void (*free_fn)(void *context));
