/* SPDX-License-Identifier: Apache-2.0 */

/*
 * story.c -- what a client without a mapping does while calls fail
 */

#include "story.h"

#include <stdio.h>
#include <string.h>

#include "support/child.h"
#include "support/inside.h"

#define BIG (1u << 20)

/* What a call waits for at first: until the link has recovered, or, where it cannot, not for long. */
#define PATIENCE_FOR_RECOVERY_NS 2000000000
#define PATIENCE_WITHOUT_NS 500000000

enum key { KEY_PLAIN = 1, KEY_SUM, KEY_PAIR, KEY_OTHER_OF_PAIR, KEY_BIG };

static char big[BIG];

/* ---- What is said ------------------------------------------------------------------------------------------ */

static void refuse(struct story *s, objd_status r)
{
        s->n_refused++;
        s->is_slow |= r == OBJD_E_NODAEMON || r == OBJD_E_TIMEOUT || r == OBJD_E_BUSY;
        s->is_over |= r == OBJD_E_NODAEMON;
        if (r != OBJD_E_NODAEMON && r != OBJD_E_NOMEM && r != OBJD_E_SYS && r != OBJD_E_TIMEOUT &&
            r != OBJD_E_BUSY && r != OBJD_E_GONE)
                fail_msg("%s: %s: %s (call %u, %s)", s->url, objd_strerror(r), objd_last_error(), faults->nth,
                         faults->first);
}

static bool went(struct story *s, objd_status r)
{
        if (r)
                refuse(s, r);
        return r == OBJD_OK;
}

/* The number at this place becomes another one, by a call that gave r. */
static bool changes(struct story *s, struct range *range, int64_t low, int64_t high, objd_status r)
{
        bool is_known = r != OBJD_E_NODAEMON && r != OBJD_E_NOMEM && r != OBJD_E_SYS;

        if (r == OBJD_OK || (!is_known && low < range->low))
                range->low = low;
        if (r == OBJD_OK || (!is_known && high > range->high))
                range->high = high;
        return went(s, r);
}

static bool adds(struct story *s, struct range *range, int64_t n, objd_status r)
{
        return changes(s, range, range->low + n, range->high + n, r);
}

/* ---- Chapters ---------------------------------------------------------------------------------------------- */

static bool open_all(struct story *s)
{
        return went(s, objd_open(s->conn, "dict", OBJD_DICT, &s->dict)) &&
               went(s, objd_open(s->conn, "queue", OBJD_QUEUE, &s->queue)) &&
               went(s, objd_open(s->conn, "lock", OBJD_LOCK, &s->lock));
}

static void small_calls(struct story *s)
{
        objd_value key = objd_int(KEY_PLAIN), value = objd_int(s->chapter), found;
        objd_buf buf = OBJD_BUF_INIT;
        int64_t sum;

        if (went(s, objd_dict_set(s->dict, &key, &value)) && !s->is_over &&
            went(s, objd_dict_get(s->dict, &key, &found, &buf)))
                assert_int_equal(found.u.integer, s->chapter);
        key = objd_int(KEY_SUM);
        if (!s->is_over)
                (void)adds(s, &s->sum, 1, objd_dict_add_int(s->dict, &key, 1, &sum));
        objd_buf_free(&buf);
}

/* Two entries that always have the same number. */
static void atomic_batch(struct story *s)
{
        const objd_value keys[] = { objd_int(KEY_PAIR), objd_int(KEY_OTHER_OF_PAIR) },
                         value = objd_int(s->chapter);
        objd_batch *batch;

        if (!went(s, objd_batch_new(s->conn, &batch)))
                return;
        if (went(s, objd_batch_dict_set(batch, s->dict, &keys[0], &value)) &&
            went(s, objd_batch_dict_set(batch, s->dict, &keys[1], &value)))
                (void)changes(s, &s->pair, s->chapter, s->chapter, objd_batch_commit(batch, NULL));
        objd_batch_free(batch);
}

/* In pieces, there and back. */
static void large_value(struct story *s)
{
        objd_value key = objd_int(KEY_BIG), value = objd_bytes(big, BIG), found;
        objd_buf buf = OBJD_BUF_INIT;

        memset(big, (int)(s->chapter & 0x7f), BIG);
        if (changes(s, &s->big, s->chapter & 0x7f, s->chapter & 0x7f, objd_dict_set(s->dict, &key, &value)) &&
            went(s, objd_dict_get(s->dict, &key, &found, &buf))) {
                assert_int_equal(found.size, BIG);
                assert_memory_equal(found.data, big, BIG);
        }
        objd_buf_free(&buf);
}

/* A getter that waits at the daemon, and is woken by a put. What it got is gone from the queue, whoever learns of it. */
static void parked_get(struct story *s)
{
        objd_value item = objd_int(s->chapter), got;
        objd_batch *batch, *done;
        objd_status r;
        int fd;

        if (!went(s, objd_batch_new(s->conn, &batch)))
                return;
        (void)went(s, objd_collect_fd(s->conn, &fd));
        if (!went(s, objd_batch_queue_get_wait(batch, s->queue, OBJD_FOREVER)) ||
            !went(s, objd_submit(batch, OBJD_IN_TURN, NULL))) {
                objd_batch_free(batch);
                return;
        }
        (void)adds(s, &s->len, 1, objd_queue_put(s->queue, &item, OBJD_NOWAIT));
        r = objd_collect(s->conn, s->patience_ns, &done, NULL);
        if (r == OBJD_OK)
                r = objd_batch_outcome(done, NULL);
        if (r == OBJD_OK)
                r = objd_batch_result(done, 0, &got);
        if (r == OBJD_OK)
                s->len.low--, s->len.high--;
        else
                s->len.low--; /* it may have it, and nobody collects it */
        (void)went(s, r);
        objd_batch_free(batch);
}

/* One that is given up. Nothing comes, so it takes nothing. */
static void cancelled_get(struct story *s)
{
        objd_batch *batch, *done;
        objd_object *empty;

        if (!went(s, objd_create(s->conn, NULL, OBJD_QUEUE, NULL, &empty)))
                return;
        if (went(s, objd_batch_new(s->conn, &batch))) {
                if (went(s, objd_batch_queue_get_wait(batch, empty, OBJD_FOREVER)) &&
                    went(s, objd_submit(batch, OBJD_IN_TURN, NULL)) && went(s, objd_cancel(batch)))
                        (void)went(s, objd_collect(s->conn, s->patience_ns, &done, NULL));
                objd_batch_free(batch);
        }
        objd_release(empty);
}

static void take_and_give(struct story *s)
{
        uint64_t token;
        objd_status r = objd_lock_take(s->lock, s->patience_ns, &token);

        /* An earlier story may have ended before it could give it. */
        if (r == OBJD_E_OWNER_DIED || went(s, r))
                (void)went(s, objd_lock_give(s->lock));
}

/* ---- A whole one ------------------------------------------------------------------------------------------- */

static void tell(struct story *s)
{
        static void (*const chapters[])(struct story *) = { small_calls, atomic_batch,  large_value,
                                                            parked_get,  cancelled_get, take_and_give };

        if (!went(s, objd_set_timeout(s->conn, s->patience_ns)) || !open_all(s))
                return;
        for (size_t i = 0; i < sizeof(chapters) / sizeof(*chapters) && !s->is_over; i++)
                chapters[i](s);
}

void story_tell(struct story *s, const char *url)
{
        s->url = url;
        s->chapter++;
        s->is_over = s->is_slow = false;
        s->n_refused = 0;
        s->conn = NULL;
        s->dict = s->queue = s->lock = NULL;
        if (went(s, objd_connect(url, &s->conn)))
                tell(s);
        objd_release(s->dict);
        objd_release(s->queue);
        objd_release(s->lock);
        objd_close(s->conn);
}

/* ---- What there is ----------------------------------------------------------------------------------------- */

static int64_t number_at(struct story *s, enum key key, objd_buf *buf)
{
        objd_value k = objd_int(key), value;

        assert_ok(objd_dict_get(s->near_dict, &k, &value, buf));
        if (value.type == OBJD_INT)
                return value.u.integer;
        assert_int_equal(value.size, BIG);
        for (size_t i = 1; i < BIG; i++) /* of one piece */
                assert_int_equal(((const char *)value.data)[i], ((const char *)value.data)[0]);
        return ((const char *)value.data)[0];
}

/* It is one of the two that it may be; from now on it is known which. */
static void expect_within(struct range *range, int64_t now, const char *what)
{
        if (now < range->low || now > range->high)
                fail_msg("%s: %lld, which is not between %lld and %lld (call %u, %s)", what, (long long)now,
                         (long long)range->low, (long long)range->high, faults->nth, faults->first);
        range->low = range->high = now;
}

static void expect_either(struct range *range, int64_t now, const char *what)
{
        if (now != range->low && now != range->high)
                fail_msg("%s: %lld, which is neither %lld nor %lld (call %u, %s)", what, (long long)now,
                         (long long)range->low, (long long)range->high, faults->nth, faults->first);
        range->low = range->high = now;
}

/* Without the sessions' own: the names, and the three that are the story's. */
static bool is_alone(void *context)
{
        const struct story *s = context;
        objd_stats stats;

        if (inside_sessions(s->near, 0, true))
                return false;
        assert_ok(objd_stats_get(s->near, &stats));
        return stats.n_objects == 4;
}

void story_compare(struct story *s)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value item;
        bool taken = true;
        uint64_t n = 0;

        wait_until(is_alone, s, "all that was the session's has gone");
        expect_within(&s->sum, number_at(s, KEY_SUM, &buf), "the sum");
        expect_either(&s->pair, number_at(s, KEY_PAIR, &buf), "the pair");
        assert_int_equal(number_at(s, KEY_OTHER_OF_PAIR, &buf), s->pair.low);
        expect_either(&s->big, number_at(s, KEY_BIG, &buf), "the large value");
        while (objd_queue_get(s->near_queue, &item, &buf, OBJD_NOWAIT) == OBJD_OK)
                n++;
        expect_within(&s->len, (int64_t)n, "the queue");
        s->len.low = s->len.high = 0;
        assert_ok(objd_lock_owner(s->near_lock, &taken, NULL, NULL));
        assert_false(taken);
        objd_buf_free(&buf);
        inside_check(s->near);
}

void story_init(struct story *s, objd_conn *near)
{
        const objd_value zero = objd_int(0);

        *s = (struct story){ .near = near, .patience_ns = PATIENCE_FOR_RECOVERY_NS };
        assert_ok(objd_create(near, "dict", OBJD_DICT, NULL, &s->near_dict));
        assert_ok(objd_create(near, "queue", OBJD_QUEUE, NULL, &s->near_queue));
        assert_ok(objd_create(near, "lock", OBJD_LOCK, NULL, &s->near_lock));
        for (enum key key = KEY_PLAIN; key <= KEY_BIG; key++) {
                objd_value k = objd_int(key), blank = objd_bytes(big, BIG);

                assert_ok(objd_dict_set(s->near_dict, &k, key == KEY_BIG ? &blank : &zero));
        }
}

void story_deinit(struct story *s)
{
        objd_release(s->near_dict);
        objd_release(s->near_queue);
        objd_release(s->near_lock);
}

/* ---- Calls that fail in turn ------------------------------------------------------------------------------- */

const char *const story_mode_name[] = { "once", "from then on", "interrupted", "killed" };

/*
 * Whether a call failed. Who was only too slow gets more time, for this story alone: in one whose calls fail from then on, most calls wait
 * for all the time that there is.
 */
static bool tell_in_time(struct story *s, const char *url, story_fn tell_with, unsigned nth,
                         enum fault_mode mode)
{
        const int64_t patience_ns = s->patience_ns;
        unsigned n_failed;

        while (!(n_failed = tell_with(s, url, nth, mode)) && s->n_refused) {
                if (!s->is_slow || s->patience_ns > PATIENCE_NS)
                        fail_msg("%s: refused, and no call had failed: %s", url, objd_last_error());
                s->patience_ns *= 2;
                printf("no call failed, but %u had not enough time; now each has %lld ms\n", s->n_refused,
                       (long long)(s->patience_ns / 1000000));
        }
        s->patience_ns = patience_ns;
        return n_failed > 0;
}

/* How many calls of a kind a story has depends a little on who is faster: so some more are told, if all are wanted. */
#define UNTOUCHED_OF_ALL 4

static void fail_each(struct story *s, const char *url, const struct story_sweep *sweep, enum fault_mode mode)
{
        s->patience_ns = mode == FAULT_FROM_THEN_ON ? PATIENCE_WITHOUT_NS : PATIENCE_FOR_RECOVERY_NS;
        for (size_t i = 0; i < sweep->n_kinds; i++) {
                unsigned n = 0, n_untouched = 0, nth = 1;

                faults_only(sweep->kinds[i]);
                while (n_untouched < (sweep->all ? UNTOUCHED_OF_ALL : 1)) {
                        if (tell_in_time(s, url, sweep->tell, nth, mode)) {
                                n++;
                                n_untouched = 0;
                        } else {
                                n_untouched++;
                        }
                        nth = sweep->all || nth < 2 ? nth + 1 : 4 * nth + 1;
                }
                if (n)
                        printf("%u calls of %s failed, %s\n", n, sweep->kinds[i], story_mode_name[mode]);
        }
        faults_only(NULL);
}

void story_sweep(void **state, size_t way, const struct story_sweep *sweep)
{
        const char *url = way_all()->urls[way];
        struct story story;

        story_init(&story, *state);
        story_tell(&story, url); /* what is done once in a process is done */
        story_compare(&story);
        assert_int_equal(story.n_refused, 0);
        for (enum fault_mode mode = FAULT_ONCE; mode <= FAULT_INTERRUPT; mode++)
                if (sweep->modes & 1u << mode)
                        fail_each(&story, url, sweep, mode);
        story_deinit(&story);
}

int story_teardown(void **state)
{
        (void)faults_end();
        faults_only(NULL);
        return way_teardown(state);
}
