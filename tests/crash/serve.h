/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * serve.h -- a request that a daemon has in hand, and what must hold wherever it dies of it
 */

#include "support/served.h"
#include "crash/sweep.h"

/* What a victim's clients know when it begins to serve: in memory that it shares with those who come after it. */
struct serve_known {
        pid_t pid;
        int memory[SERVED_CLIENTS];    /* its descriptors of their rings */
        uint64_t sent[SERVED_CLIENTS]; /* it had sent so much before */
        struct served_session sessions[SERVED_CLIENTS];
        objd_ref it, other;
        uint64_t lease;
        objd_ref list; /* of names that objects are to have */
};

struct serving {
        const struct serve_test *test;
        struct serve_known *known;
        unsigned part; /* only so much of the request is made: how the outcomes in between are learnt */
        uint64_t sent[SERVED_CLIENTS]; /* to each client, before the request */
        struct served served;
};

struct serve_test {
        struct op_test op;  /* the store, who comes next, and how contents are compared */
        uint32_t n_clients; /* 0: 1 */
        unsigned n_parts;   /* that may each have been done when the daemon dies, in order; 0: 1 */
        bool no_session;    /* the client has none before */
        bool ends;          /* and none afterwards */
        bool new_ref;       /* the answer names an object that is another one if it is made a second time */
        bool goes_on; /* whoever finds the dead daemon goes on, or undoes it; who asks again is told so */

        /* Brings the sessions to where the request can be made. */
        void (*prepare)(struct serving *serving);

        /* Makes the request; that is, puts it into the rings. */
        void (*ask)(struct serving *serving);

        /* Whether it has been served; NULL: every client has been sent a message. */
        bool (*is_done)(const struct serving *serving);
};

extern struct serve_test serve_tests[];
extern const size_t n_serve_tests;

/* What may be of interest of a call's answer. */
struct serve_answer {
        uint64_t number;
        objd_ref made;
};

/* A batch of calls that must all go well; gives the first one's answer, if ret_answer is not NULL. */
void serve_now(struct serving *serving, const struct call *calls, size_t n, struct serve_answer *ret_answer);

/* Looks at one request. In a process of its own, which is its parameter's. */
struct serve_job {
        struct sweep_job job; /* first */
        const struct serve_test *test;
};
int sweep_serving(void *job);
