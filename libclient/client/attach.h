/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * attach.h -- asking a daemon for its arena
 */

#include "client/control_proto.h"
#include "client/url.h"

struct arena;

/* What a daemon gave. All of it belongs to the caller. */
struct attachment {
        int control;          /* the socket, to be kept open for as long as the arena is in use */
        int fd;               /* the arena's; -1 if help was asked for, or if it is mapped */
        struct arena *mapped; /* a reference to the arena that this process has mapped already; or NULL */
        int64_t daemon_pid;
        uint64_t daemon_epoch;
        uint64_t arena_id[2]; /* header.id of the arena that it serves */
};

/* How long a daemon may take for its answer. It answers from a loop that never waits, so this is generous. */
#define ATTACH_TIMEOUT_NS 5000000000LL

/*
 * Asks the daemon that the url names for this access; READ_WRITE may be answered with a descriptor that is only open for
 * reading. text is the url as the user wrote it, for sentences.
 * @return OBJD_OK, OBJD_E_NODAEMON, OBJD_E_ACCESS, OBJD_E_LIMIT, OBJD_E_PROTO, OBJD_E_NOMEM, OBJD_E_SYS
 */
objd_status attach_to_daemon(const char *text, const struct url *url, enum control_access access,
                             struct attachment *ret_attachment);

/*
 * Tells the daemon that the url names that this process has its arena already, from an earlier one. Waits for nothing, not
 * even an answer. Gives the socket. @return OBJD_OK, OBJD_E_NODAEMON, OBJD_E_ACCESS, OBJD_E_SYS
 */
objd_status attach_again(const char *text, const struct url *url, enum control_access access,
                         int *ret_control);

/* What a client of local: gets. */
struct attached_rings {
        int memory; /* of a pair of rings; checked by ring_map() */
        int bell;   /* an eventfd: the daemon's */
        uint32_t size;
        uint32_t max_frame;
};

/* Whether somebody listens there at all. @return as attach_again() */
objd_status attach_knock(const char *text, const struct url *url);

/* Asks the daemon that the url names for rings; waits for nothing. Gives the socket. @return as attach_again() */
objd_status attach_rings_begin(const char *text, const struct url *url, int *ret_control);

/* Takes its answer. @return OBJD_OK, OBJD_E_BUSY (not yet; no sentence), and what attach_to_daemon() gives; then the socket is of no use */
objd_status attach_rings_end(const char *text, const struct url *url, int control,
                             struct attached_rings *ret_rings);
