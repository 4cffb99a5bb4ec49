/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * link.h -- what the server sees of a carrier: frames come in with a route, and go out along one
 */

#include "rpc/frame.h"
#include "rpc/keyring.h"

/* Where an answer goes. Only its link knows what the bytes mean; a route whose peer has left leads nowhere. */
struct proxy_route {
        uint8_t size;
        uint8_t bytes[31];
};

/* Who speaks along a route, and what it may do. */
struct proxy_who {
        bool has_key;
        uint8_t key[KEY_ID_SIZE]; /* that it has proven */
        bool has_uid;             /* the kernel says that it is another user than the daemon's own: */
        uint32_t uid;
        struct rights rights;
};

struct proxy_link {
        const char *url; /* where it listens, for people */
        uint32_t max_frame;
        bool needs_token; /* anybody of this machine can send there: a hello has to say who it is */
        bool is_near; /* its clients may be back at once: the daemon looks for them, and they have other processors */
        struct account
                *account; /* during send(): who pays for what has to wait; NULL: nobody, so that is little */

        /*
         * Sends a message, now or when its peer takes it, or never: who asked asks again. Keeps nothing that it is given. out is NULL for
         * a frame without a message.
         */
        void (*send)(struct proxy_link *link, const struct proxy_route *route, enum frame_type type,
                     const uint8_t session[WIRE_SESSION_SIZE], struct wire_out *out);

        /* Who speaks there; NULL: everybody is the daemon's own user, and may do all. */
        const struct proxy_who *(*who)(struct proxy_link *link, const struct proxy_route *route);
};
