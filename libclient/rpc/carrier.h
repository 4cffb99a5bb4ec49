/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * carrier.h -- what the client's side of a session sees of the way that its frames go
 *
 * A carrier takes whole frames and gives whole frames, in order, as long as its link lasts; what is lost with a link, the
 * session sends again. Nothing of it waits but carrier_wait(). All calls are made under the session's lock, except
 * carrier_wait(): one thread at a time is in it while others may be in the other calls.
 *
 * Of a carrier that was made in a parent process nothing is used but carrier_close().
 */

#include <objd.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct carrier;
struct frame_head;

/* One or more whole frames that have come; they are the carrier's until carrier_release(). */
struct carrier_frames {
        void *data;
        size_t size;

        /* Or one of which the carrier has read the head, and checked it: its piece may change, and is read once. NULL: it is as above. */
        const struct frame_head *head;
        const void *piece;
};

struct carrier_kind {
        void (*close)(struct carrier *carrier);
        objd_status (*prepare)(struct carrier *carrier, int64_t *ret_again_ns);
        objd_status (*reserve)(struct carrier *carrier, size_t size, void **ret_data);
        objd_status (*send)(struct carrier *carrier, void *data, size_t size);
        objd_status (*receive)(struct carrier *carrier, struct carrier_frames *ret_frames);
        void (*release)(struct carrier *carrier, struct carrier_frames *frames);
        int64_t (*wait)(struct carrier *carrier, int64_t until_ns);
};

struct carrier {
        const struct carrier_kind *kind;
        uint64_t link;      /* counts the links: a session says hello again on each */
        uint32_t max_frame; /* bytes of the largest frame that comes or goes, its head included */
        int readable; /* a descriptor, the same for as long as the carrier lives: readable when something has come */
        bool watched; /* somebody polls `readable` without carrier_wait(): after a receive that has found nothing it is to tell, too */
        bool owes_answer; /* the peer counts on a frame soon, whichever: it is told by it how much has come */
};

/* The carrier for such a url. Nothing is connected yet. @return OBJD_OK, OBJD_E_INVAL, OBJD_E_NOMEM, OBJD_E_SYS */
objd_status carrier_open(const char *url, struct carrier **ret_carrier);

static inline void carrier_close(struct carrier *carrier)
{
        if (carrier)
                carrier->kind->close(carrier);
}

/*
 * Does what a link needs before frames can go along it: connects (again), goes on with a handshake. To be called until it says OBJD_OK,
 * when something has come and at *ret_again_ns, and again whenever a frame is to be sent.
 * @return OBJD_OK, OBJD_E_BUSY (not yet; no sentence), others: it will not come to be, the sentence says why
 */
static inline objd_status carrier_prepare(struct carrier *carrier, int64_t *ret_again_ns)
{
        return carrier->kind->prepare(carrier, ret_again_ns);
}

/* Room for a frame of that size, to be written and then sent, before anything else. @return OBJD_OK, OBJD_E_BUSY (no sentence), OBJD_E_NOMEM */
static inline objd_status carrier_reserve(struct carrier *carrier, size_t size, void **ret_data)
{
        return carrier->kind->reserve(carrier, size, ret_data);
}

/* Sends what was reserved, and gives it back in any case. @return OBJD_OK, OBJD_E_BUSY (nobody takes it now; no sentence), OBJD_E_SYS */
static inline objd_status carrier_send(struct carrier *carrier, void *data, size_t size)
{
        return carrier->kind->send(carrier, data, size);
}

/* @return OBJD_OK, OBJD_E_EMPTY (no sentence), OBJD_E_SYS */
static inline objd_status carrier_receive(struct carrier *carrier, struct carrier_frames *ret_frames)
{
        return carrier->kind->receive(carrier, ret_frames);
}

static inline void carrier_release(struct carrier *carrier, struct carrier_frames *frames)
{
        carrier->kind->release(carrier, frames);
}

/* Until something may have come, or until then. Gives the time afterwards, or what it was a moment before. */
static inline int64_t carrier_wait(struct carrier *carrier, int64_t until_ns)
{
        return carrier->kind->wait(carrier, until_ns);
}

/* The kinds. @return as carrier_open() */
objd_status carrier_sp_open(const char *url, struct carrier **ret_carrier);
objd_status carrier_tcp_open(const char *url, struct carrier **ret_carrier);
objd_status carrier_local_open(const char *url, struct carrier **ret_carrier); /* client/carrier_local.c */
