/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * pace.h -- whom the daemon waits for, before it begins something else
 *
 * A session that asks for one thing after the other, each of them small, is quick. What is done for others meanwhile cannot be cut, and
 * so holds its next call up: by a microsecond if it is a call, by some hundred if it is a large value. So what is long, and what is done
 * for a session that has more waiting, is of a share, where it is beside a quick one: one part in PACE_SHARE of the time for each
 * session, and up to PACE_BURST_NS at once. Who has used his share up waits, while the daemon does nothing but look whether the quick
 * one is back; but never for so long that the session could be taken for dead. The daemon looks for PACE_QUICK_NS, or for a little
 * longer if the quick one was let wait and may sleep; then it is quick no more, and there are no shares.
 *
 * Who asks for something short, a batch of a thousand calls as well, and waits for the answer before he asks again, has no need of a share.
 *
 * To wait for who will be back is of Iyer and Druschel, "Anticipatory scheduling: a disk scheduling framework to overcome deceptive
 * idleness in synchronous I/O", SOSP 2001. The share is a token bucket, of time.
 */

#include <stdbool.h>
#include <stdint.h>

#define PACE_QUICK_NS 4000
#define PACE_LATE_NS 50000
#define PACE_SHARE 32
#define PACE_BURST_NS 4000000
#define PACE_LONG_NS 20000
#define PACE_WAIT_MAX_NS 250000000
#define PACE_USED_MAX_NS (PACE_BURST_NS + PACE_WAIT_MAX_NS / PACE_SHARE)

/* The daemon's. Its clock stands still while something is counted that was done for who is not quick. */
struct pace {
        int64_t others_ns; /* so long has it stood still */
        int64_t quick_ns;  /* when a quick one last asked, by that clock, */
        int64_t gap_ns;    /* and how long it is waited for; 0: there has been none */
};

/* A session's; all 0 at first. */
struct pace_of {
        bool is_quick;               /* or was, when it last asked */
        bool has_more;               /* since then there was something of it that had to wait */
        int64_t asked_ns;            /* when that was, by the daemon's clock; 0: never; */
        int64_t others_ns;           /* how long that had stood still then, */
        int64_t took_ns;             /* how long for this session since, */
        int64_t late_ns;             /* and for others between that time and the one before */
        int64_t used_ns, used_at_ns; /* so much of its share was used then, */
        int64_t short_ns;            /* and so much, in short pieces, since it last asked */
};

/* The daemon's clock. now_ns is CLOCK_MONOTONIC, here and below. */
int64_t pace_clock(const struct pace *pace, int64_t now_ns);

/*
 * The session asks for something, and nothing that it asked for before is left to do. may_be_quick: its client could be back at once.
 */
void pace_asked(struct pace *pace, struct pace_of *session, int64_t now_ns, bool may_be_quick);

/* It did not wait for its answer: there is more of it already. */
void pace_has_more(struct pace_of *session);

/* Whether it has just asked, and is waited for. */
bool pace_is_quick(const struct pace *pace, const struct pace_of *session, int64_t now_ns);

/* Whether what is done for the session now is beside a quick one. */
bool pace_is_beside(const struct pace *pace, const struct pace_of *session, int64_t now_ns);

/* Whether there is anything left of the share, or none is needed. */
bool pace_may_begin(const struct pace *pace, const struct pace_of *session, int64_t now_ns);

/* Something that took so long until now was done for a session that is not quick. */
void pace_count(struct pace *pace, struct pace_of *session, int64_t now_ns, int64_t took_ns);
