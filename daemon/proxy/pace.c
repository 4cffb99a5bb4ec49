/* SPDX-License-Identifier: Apache-2.0 */

/*
 * pace.c -- whom the daemon waits for, before it begins something else
 */

#include "proxy/pace.h"

static int64_t min(int64_t a, int64_t b)
{
        return a < b ? a : b;
}

void pace_asked(struct pace *pace, struct pace_of *session, int64_t now_ns)
{
        int64_t now = now_ns - pace->others_ns;
        int64_t gap_ns = PACE_QUICK_NS + session->late_ns;

        session->is_quick =
                session->asked_ns && now - session->asked_ns < gap_ns && session->took_ns < PACE_QUICK_NS;
        session->late_ns = min(pace->others_ns - session->others_ns - session->took_ns, PACE_LATE_NS);
        session->asked_ns = now;
        session->others_ns = pace->others_ns;
        session->took_ns = 0;
        session->used_ns -= min(session->used_ns, session->short_ns); /* it has waited for the answer */
        session->short_ns = 0;
        if (session->is_quick) {
                pace->quick_ns = now;
                pace->gap_ns = PACE_QUICK_NS + session->late_ns;
        }
}

bool pace_is_beside(const struct pace *pace, const struct pace_of *session, int64_t now_ns)
{
        return !session->is_quick && now_ns - pace->others_ns - pace->quick_ns < pace->gap_ns;
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

void pace_count(struct pace *pace, struct pace_of *session, int64_t now_ns, int64_t took_ns, bool had_more)
{
        bool is_beside = pace_is_beside(pace, session, now_ns - took_ns), is_long = took_ns >= PACE_LONG_NS;

        pace->others_ns += took_ns;
        session->took_ns += took_ns;
        if (!is_beside || (!is_long && !had_more))
                return;
        if (!is_long)
                session->short_ns += took_ns;
        session->used_ns = min(used_by(session, now_ns) + took_ns, PACE_USED_MAX_NS);
        session->used_at_ns = now_ns;
}
