/* SPDX-License-Identifier: Apache-2.0 */

/*
 * pace.c -- whom the daemon waits for, before it begins something else
 */

#include "proxy/pace.h"

static int64_t min(int64_t a, int64_t b)
{
        return a < b ? a : b;
}

int64_t pace_clock(const struct pace *pace, int64_t now_ns)
{
        return now_ns - pace->others_ns;
}

/* How soon it has to be back. Who was let wait may have gone to sleep, and takes longer. */
static int64_t gap_of(const struct pace_of *session)
{
        return PACE_QUICK_NS + session->late_ns;
}

/* What comes at the same time as the one before has not waited for its answer. */
static bool is_back_at_once(const struct pace *pace, const struct pace_of *session, int64_t now_ns)
{
        int64_t since_ns = pace_clock(pace, now_ns) - session->asked_ns;

        return session->asked_ns && !session->has_more && since_ns > 0 && since_ns < gap_of(session) &&
               session->took_ns < PACE_QUICK_NS;
}

void pace_asked(struct pace *pace, struct pace_of *session, int64_t now_ns, bool may_be_quick)
{
        session->is_quick = may_be_quick && is_back_at_once(pace, session, now_ns);
        session->late_ns = min(pace->others_ns - session->others_ns - session->took_ns, PACE_LATE_NS);
        if (!session->has_more)
                session->used_ns -= min(session->used_ns, session->short_ns);
        session->has_more = false;
        session->asked_ns = pace_clock(pace, now_ns);
        session->others_ns = pace->others_ns;
        session->took_ns = 0;
        session->short_ns = 0;
        if (session->is_quick) {
                pace->quick_ns = session->asked_ns;
                pace->gap_ns = gap_of(session);
        }
}

void pace_has_more(struct pace_of *session)
{
        session->has_more = true;
        session->is_quick = false;
}

bool pace_is_quick(const struct pace *pace, const struct pace_of *session, int64_t now_ns)
{
        return session->is_quick && pace_clock(pace, now_ns) - session->asked_ns < gap_of(session);
}

bool pace_is_beside(const struct pace *pace, const struct pace_of *session, int64_t now_ns)
{
        return pace_clock(pace, now_ns) - pace->quick_ns < pace->gap_ns &&
               !pace_is_quick(pace, session, now_ns);
}

/* What has been used, less what its part of the time since then is. */
static int64_t used_by(const struct pace_of *session, int64_t now_ns)
{
        int64_t used = session->used_ns - (now_ns - session->used_at_ns) / PACE_SHARE;

        return used > 0 ? used : 0;
}

bool pace_may_begin(const struct pace *pace, const struct pace_of *session, int64_t now_ns)
{
        return !pace_is_beside(pace, session, now_ns) || used_by(session, now_ns) < PACE_BURST_NS;
}

void pace_count(struct pace *pace, struct pace_of *session, int64_t now_ns, int64_t took_ns)
{
        bool is_beside = pace_is_beside(pace, session, now_ns - took_ns);

        pace->others_ns += took_ns;
        session->took_ns += took_ns;
        if (!is_beside)
                return;
        if (took_ns < PACE_LONG_NS)
                session->short_ns += took_ns;
        session->used_ns = min(used_by(session, now_ns) + took_ns, PACE_USED_MAX_NS);
        session->used_at_ns = now_ns;
}
