/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * turns.h -- who is served next
 *
 * All sessions have turns, one after the other, and in a turn a session gets calls that cost TURNS_COST together. What it asks for
 * beyond that waits for its next turn, in order, while others have theirs. So who sends a batch of
 * 65,536 calls, or thousands of batches, delays another's call by one such turn, and not by all that.
 */

#include "proxy/job.h"

/*
 * In calls; some calls cost more (job_step()), and one that does is not cut. Beside a session that has just asked for something, and had
 * nothing waiting, others get less: it asks for one thing at a time, mostly, and while it has an answer in hand there is time for one call.
 */
#define TURNS_COST 4u
#define TURNS_COST_BESIDE 1u
#define TURNS_BESIDE_NS 20000

struct turns {
        struct proxy_sessions *sessions;
        struct proxy_session *first, **last; /* those that have something ready */
        uint64_t turn;
        uint64_t n_put_off;                /* so often was a batch told to wait for the next turn */
        const struct proxy_session *asker; /* who last asked for little, with nothing waiting; may be gone */
        int64_t asked_ns;                  /* by the clock of the pace */
        struct pace pace;

        /* A batch is done or has to wait for something: takes it. */
        void (*take_fn)(void *context, struct job *job);
        void *take_context;
};

void turns_init(struct turns *turns, struct proxy_sessions *sessions,
                void (*take_fn)(void *context, struct job *job), void *take_context);

/* A batch that has come. */
void turns_ask(struct turns *turns, struct job *job);

/* A batch that could go on: now, if its session's turn is not over, or else later. */
void turns_add(struct turns *turns, struct job *job);

/* One turn for each session that has something ready. */
void turns_run(struct turns *turns);
bool turns_has_any(const struct turns *turns);

/* Whether the session is waited for, and whether anything is to be done for it now (pace.h). Turns see to that themselves. */
bool turns_is_quick(const struct turns *turns, const struct proxy_session *session);
bool turns_may_begin(const struct turns *turns, const struct proxy_session *session);

/* What has been done for it since then is counted. sessions->now_ns goes on by as much. */
void turns_count(struct turns *turns, struct proxy_session *session, int64_t begun_ns);

/* None of the session's batches is ready any more. */
void turns_remove(struct turns *turns, struct proxy_session *session);
