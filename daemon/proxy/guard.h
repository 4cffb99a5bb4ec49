/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * guard.h -- who may speak at a sealed address
 *
 * Whoever has not proven a key costs nothing that is kept: a message of a stranger's is looked at, answered with a few bytes at most,
 * and forgotten. Only a hello with a right MAC is remembered, GUARD_PENDING_MAX of them at most, until its proof has come or
 * GUARD_PATIENCE_NS have passed. Nothing else goes on from here than frames that a channel has opened.
 */

#include "proxy/link.h"
#include "rpc/sealed.h"

#define GUARD_PENDING_MAX 256u
#define GUARD_PATIENCE_NS 10000000000LL

struct guard {
        const char *url;  /* for the log */
        uint64_t *counts; /* of what is refused, by enum refusal */
        struct seal_server server;
        struct guarded *pending; /* the oldest one first */
        struct guarded **last_pending;
        uint32_t n_pending;
        uint64_t n_busy;       /* hellos that were refused for want of a place */
        uint64_t n_no_channel; /* messages from connections that have none */
};

/* A connection of somebody who has, or at least knows, a key. */
struct guarded {
        struct guarded *next, **link; /* among those that are pending; link is NULL if this one is not */
        int64_t since_ns;
        struct seal_pending proof; /* that is waited for */
        struct seal seal;          /* of the channel, if there is one */
        struct proxy_who who;
        bool is_open;
};

/* The keyring is the caller's, and stays, and so are the counts (rpc/refusals.h), N_REFUSALS of them. @return OBJD_OK, OBJD_E_SYS */
objd_status guard_init(struct guard *guard, const struct keyring *keyring, const char *url, uint64_t *counts);

/* Says in the log how many were refused, and why. */
void guard_deinit(struct guard *guard);

/* What is to be sent to where a message has come from; 0 bytes: nothing. */
struct guard_answer {
        size_t size;
        uint8_t bytes[SEALED_HANDSHAKE_MAX];
};

/*
 * Takes a hello: true if it is a right one. Then *ret_pending is moved to a struct guarded of the connection by guard_expect(), or
 * wiped.
 */
bool guard_hello(struct guard *guard, const void *bytes, size_t size, struct seal_pending *ret_pending,
                 struct guard_answer *ret_answer);
void guard_expect(struct guard *guard, struct guarded *guarded, struct seal_pending *pending);

/* The hello cannot be taken, as the sentence of the last failure says: who said it is told to try again later. */
void guard_turn_away(struct guard *guard, const void *bytes, size_t size, struct guard_answer *ret_answer);

/* Takes the proof that a connection owes. True: it has a channel now, a new one. */
bool guard_proof(struct guard *guard, struct guarded *guarded, const void *bytes, size_t size,
                 struct guard_answer *ret_answer);

/*
 * Opens the frames of a message in place. *ret_size bytes are plain frames of who has the channel; 0 if there are none.
 * guarded is NULL for a connection that nobody knows.
 */
void guard_open(struct guard *guard, struct guarded *guarded, uint8_t *bytes, size_t size, size_t *ret_size,
                struct guard_answer *ret_answer);

/* The connection is forgotten. */
void guard_forget(struct guard *guard, struct guarded *guarded);
