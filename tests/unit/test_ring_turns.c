/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_ring_turns.c -- whose ring is read, and whose is left for now, while somebody is waited for
 */

#include <stdlib.h>

#include "support/inside.h"
#include "support/served.h"
#include "support/test.h"

#define FOR_EVER_NS 3600000000000

enum client { QUIET, HOG };

struct scene {
        objd_object *dict;
        struct served served;
};

static void end(struct scene *s)
{
        served_end(&s->served);
        objd_release(s->dict);
        free(s);
}

static void ask(struct scene *s, enum client client)
{
        const struct call call = { .code = CALL_DICT_LEN, .object = objd_ref_of(s->dict) };

        served_ask(&s->served, client, &call, 1, false);
}

static size_t count_answers(struct scene *s, enum client client)
{
        static struct served_message message;
        size_t n = 0;

        while (served_take(&s->served, client, &message))
                n++;
        return n;
}

static struct scene *begin(objd_conn *conn)
{
        struct scene *s = calloc(1, sizeof(*s));

        s->dict = inside_dict(conn, "dict");
        served_begin(&s->served, conn, 2);
        for (enum client client = QUIET; client <= HOG; client++) {
                (void)served_enter(&s->served, client, false);
                ask(s, client); /* whose a ring is, is known by its first batch */
                while (!count_answers(s, client))
                        served_round(&s->served);
        }
        s->served.rings->link.is_near = true; /* however many processors there are */
        return s;
}

static struct pace_of *pace_of(struct scene *s, enum client client)
{
        return &session_by_id(&s->served.server.sessions, s->served.clients[client].session.id)->pace;
}

/* As if somebody quick had just asked, and a moment were very long. */
static void begin_moment(struct scene *s)
{
        struct pace *pace = &s->served.server.turns.pace;

        pace->quick_ns = pace_clock(pace, s->served.server.sessions.now_ns);
        pace->gap_ns = FOR_EVER_NS;
}

/* Both ask; the hog has nothing left of its share, and is not heard until the moment is over. */
static void who_has_used_his_share_up_is_not_read_from(void **state)
{
        struct scene *s = begin(*state);

        begin_moment(s);
        pace_of(s, HOG)->used_ns = FOR_EVER_NS;
        pace_of(s, HOG)->used_at_ns = s->served.server.sessions.now_ns;
        ask(s, QUIET);
        ask(s, HOG);
        served_round(&s->served);
        assert_int_equal(count_answers(s, QUIET), 1);
        assert_int_equal(count_answers(s, HOG), 0);

        s->served.server.turns.pace.gap_ns = 0;
        ask(s, QUIET);
        while (!count_answers(s, HOG))
                served_round(&s->served);
        end(s);
}

/* It sends more than is read at once. */
static void what_is_read_beside_a_quick_one_is_counted(void **state)
{
        struct scene *s = begin(*state);

        begin_moment(s);
        ask(s, QUIET);
        for (int i = 0; i < 20; i++)
                ask(s, HOG);
        assert_int_equal(pace_of(s, HOG)->used_ns, 0);
        served_round(&s->served);
        assert_true(pace_of(s, HOG)->used_ns > 0);
        assert_false(pace_of(s, HOG)->is_quick);
        for (size_t n = 0; n < 20; n += count_answers(s, HOG))
                served_round(&s->served);
        end(s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(who_has_used_his_share_up_is_not_read_from),
                INSIDE_TEST(what_is_read_beside_a_quick_one_is_counted),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
