/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * caller.h -- one connection of the control socket: what is said on it, and what is given
 */

#include <sys/socket.h>

#include "control.h"

struct caller {
        struct loop_source source;
        struct control *control;
        struct caller *next;
        struct caller **link; /* what points to this one */
        struct ucred peer;
        enum policy_access allowed;
        const struct rights *rights; /* through the daemon */
        enum control_access access;  /* what it has got; 0 before its hello */
        objd_status refusal;         /* OBJD_OK: welcome */
        bool is_paused;              /* has asked too much in this tick */
        uint32_t n_requests;         /* in this tick */
        struct helped helped;
        uint64_t rings;      /* of a client with CONTROL_RINGS */
        int64_t deadline_ns; /* for its hello */
        char sentence[CONTROL_SENTENCE_MAX];
};

/* Puts it first into a list of its control's. */
void caller_list_add(struct caller **head, struct caller *caller);

/* Hangs up, takes it out of its list and frees it. */
void caller_end(struct caller *caller);

/* caller_end() for one that is not as it should be; nobody else notices. */
void caller_drop(struct caller *caller, const char *why);

/* What one has asked too much is forgotten: it is heard again. To be called once a tick. */
void caller_resume(struct caller *caller);

/* A loop_source's fn, with the caller as context. */
void caller_on_event(void *context, uint32_t events);
