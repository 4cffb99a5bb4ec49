/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * control.h -- the control socket: who calls, may they, here is the arena
 */

#include "help.h"
#include "loop.h"
#include "policy.h"
#include "storefile.h"
#include "rpc/token.h"

struct caller;
struct ring_link;

struct control_stats {
        uint64_t n_welcomed;
        uint64_t n_refused;
        uint64_t n_dropped; /* for saying nonsense, or nothing */
};

struct control {
        struct loop *loop;
        const struct store *store;
        const struct policy *policy;
        struct loop_source listener;
        struct caller *clients; /* have the arena */
        struct caller *waiting; /* have not said hello yet; newest first */
        uint32_t n_clients;     /* both, but for those that will be refused */
        uint32_t n_strangers;   /* in `waiting`: will be refused as soon as they say hello */
        uint32_t n_readers;     /* clients that may only read */
        uint32_t max_clients;
        uint32_t max_per_uid;
        bool is_paused;                    /* nobody is accepted until the next tick */
        void (*hang_up_fn)(void *context); /* a client that had the arena is gone */
        void *hang_up_context;
        struct help help;
        struct ring_link *rings;        /* where clients of local: urls are served; NULL: nowhere */
        const struct token_key *tokens; /* NULL: there is no proxy that would take any */
        struct control_stats stats;
};

/* Listens. @return OBJD_OK, OBJD_E_SYS */
objd_status control_init(struct control *control, struct loop *loop, const struct store *store,
                         uint32_t max_clients, void (*hang_up_fn)(void *context), void *hang_up_context);

/* Hangs up on everybody and removes the socket; the clients go on without. */
void control_deinit(struct control *control);

/* Drops whoever has been silent for too long. To be called for as long as control_is_busy(). */
void control_tick(struct control *control);

/* Whether anybody is connected, or waits to be. */
bool control_is_busy(const struct control *control);
