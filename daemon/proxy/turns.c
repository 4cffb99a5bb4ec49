/* SPDX-License-Identifier: Apache-2.0 */

/*
 * turns.c -- who is served next
 */

#include "proxy/turns.h"

#include "base/sys.h"

void turns_init(struct turns *turns, struct proxy_sessions *sessions,
                void (*take_fn)(void *context, struct job *job), void *take_context)
{
        *turns = (struct turns){
                .sessions = sessions, .turn = 1, .take_fn = take_fn, .take_context = take_context
        };
        turns->last = &turns->first;
}

bool turns_has_any(const struct turns *turns)
{
        return turns->first;
}

static void enlist(struct turns *turns, struct proxy_session *session)
{
        session->turn_next = NULL;
        session->turn_link = turns->last;
        *turns->last = session;
        turns->last = &session->turn_next;
}

static void delist(struct turns *turns, struct proxy_session *session)
{
        *session->turn_link = session->turn_next;
        if (session->turn_next)
                session->turn_next->turn_link = session->turn_link;
        else
                turns->last = session->turn_link;
        session->turn_link = NULL;
}

void turns_remove(struct turns *turns, struct proxy_session *session)
{
        if (!session->ready)
                return;
        session->ready = NULL;
        session->ready_last = &session->ready;
        delist(turns, session);
}

/* At the end of the session's own, which is enlisted if this is its first. */
static void put_off(struct turns *turns, struct job *job)
{
        struct proxy_session *session = job->session;

        if (!session->ready)
                enlist(turns, session);
        job->ready_next = NULL;
        *session->ready_last = job;
        session->ready_last = &job->ready_next;
        turns->n_put_off++;
}

static uint32_t *left_of(struct turns *turns, struct proxy_session *session)
{
        if (session->turn != turns->turn) {
                session->turn = turns->turn;
                session->left = TURNS_COST;
        }
        return &session->left;
}

static int64_t clock_of(const struct turns *turns)
{
        return pace_clock(&turns->pace, turns->sessions->now_ns);
}

void turns_add(struct turns *turns, struct job *job)
{
        uint32_t *left = left_of(turns, job->session);

        if (job->session->ready || !*left) {
                put_off(turns, job);
                return;
        }
        job_step(turns->sessions, job, left);
        if (job->waits == JOB_RUNS) {
                put_off(turns, job);
                return;
        }
        turns->asker = job->session;
        turns->asked_ns = clock_of(turns);
        turns->take_fn(turns->take_context, job);
}

void turns_ask(struct turns *turns, struct job *job)
{
        struct proxy_session *session = job->session;

        if (session->ready)
                pace_has_more(&session->pace);
        else
                pace_asked(&turns->pace, &session->pace, turns->sessions->now_ns, session->link->is_near);
        turns_add(turns, job);
}

/* Takes the first of them. The session is delisted with its last. */
static struct job *pull(struct turns *turns, struct proxy_session *session)
{
        struct job *job = session->ready;

        session->ready = job->ready_next;
        if (!session->ready) {
                session->ready_last = &session->ready;
                delist(turns, session);
        }
        return job;
}

static bool is_beside_asker(const struct turns *turns, const struct proxy_session *session)
{
        return turns->asker && turns->asker != session && clock_of(turns) - turns->asked_ns < TURNS_BESIDE_NS;
}

bool turns_is_quick(const struct turns *turns, const struct proxy_session *session)
{
        return pace_is_quick(&turns->pace, &session->pace, turns->sessions->now_ns);
}

bool turns_may_begin(const struct turns *turns, const struct proxy_session *session)
{
        return pace_may_begin(&turns->pace, &session->pace, turns->sessions->now_ns);
}

void turns_count(struct turns *turns, struct proxy_session *session, int64_t begun_ns)
{
        int64_t took_ns = now_ns() - begun_ns;

        turns->sessions->now_ns += took_ns;
        pace_count(&turns->pace, &session->pace, turns->sessions->now_ns, took_ns);
}

static void run_ready(struct turns *turns, struct proxy_session *session, uint32_t *left)
{
        while (session->ready && *left) {
                struct job *job = session->ready;

                job_step(turns->sessions, job, left);
                if (job->waits == JOB_RUNS)
                        break;
                (void)pull(turns, session);
                turns->take_fn(turns->take_context, job);
        }
}

/*
 * The one that is cut stays the first of its session's: what was sent after it begins after it. Who may not begin stays in front of those
 * that have had their turns.
 */
static void have_turn(struct turns *turns, struct proxy_session *session)
{
        uint32_t *left = left_of(turns, session);
        bool is_beside = is_beside_asker(turns, session);
        bool counts = is_beside || pace_is_beside(&turns->pace, &session->pace, turns->sessions->now_ns);
        int64_t begun_ns;

        if (!turns_may_begin(turns, session))
                return;
        begun_ns = counts ? now_ns() : 0;
        if (is_beside && *left > TURNS_COST_BESIDE)
                *left = TURNS_COST_BESIDE;
        run_ready(turns, session, left);
        if (counts)
                turns_count(turns, session, begun_ns);
        if (session->ready) {
                delist(turns, session);
                enlist(turns, session);
        }
}

void turns_run(struct turns *turns)
{
        struct proxy_session *session = turns->first, *next;
        struct proxy_session **end = turns->last;

        turns->turn++;
        while (session) {
                bool is_last = &session->turn_next == end;

                next = session->turn_next;
                have_turn(turns, session);
                session = is_last ? NULL : next;
        }
}
