/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * help.h -- what the daemon does for clients that may only read
 *
 * They map the arena read-only, so they can neither lock nor pin nor say that they wait. Each of their threads that needs that has a
 * connection of its own, and asks. Nothing that they ask for changes an object, and what it costs others is bounded.
 */

#include "arena/arena.h"
#include "client/control_proto.h"
#include "loop.h"

/* How long one freeze lasts at most, and all of them together within a window. */
#define HELP_FREEZE_NS 5000000LL
#define HELP_WINDOW_NS 100000000LL
#define HELP_WINDOW_FREEZE_NS 10000000LL

/* Connections that have pins: each takes a lane. */
#define HELP_PINNERS_MAX 256u

/* The helped side of a connection. All zeros to begin with, but for fd. */
struct helped {
        int fd;
        struct lane *pins; /* a lane for its pins; NULL until the first */
        bool joins;        /* waits for a queue's tasks; it stands in help.joiners then */
        objd_ref ref;
        int64_t deadline_ns;
        struct helped *next;
        struct helped **link;
};

struct help {
        struct arena *arena;
        struct loop *loop;
        struct loop_source timer; /* ticks while somebody joins */
        struct helped *joiners;
        uint32_t n_joiners;
        uint32_t n_pinners;
        int64_t window_ns; /* since when frozen_ns is counted */
        int64_t frozen_ns;
};

/* @return OBJD_OK, OBJD_E_SYS */
objd_status help_start(struct help *help, struct loop *loop, struct arena *arena);
void help_stop(struct help *help);

/*
 * Does what the request, which has come in whole, says, and answers it. may_pin says whether this user may have one more connection
 * with pins. Blocks for HELP_FREEZE_NS at most. @return NULL, or why this connection is to be dropped
 */
const char *help_serve(struct help *help, struct helped *helped, const struct control_request *request,
                       bool may_pin);

/* The connection ends. */
void help_forget(struct help *help, struct helped *helped);
