/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_proxy_window.c -- a connection without a mapping all of whose places are taken by calls that wait
 */

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <objd.h>

#include "support/child.h"
#include "support/fixture.h"
#include "support/test.h"

#define N_THREADS 64 /* with OBJD_SUBMITTED_MAX batches: as many as a session can have under way */

static void *get_one(void *queue)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value got;
        objd_status r = objd_queue_get(queue, &got, &buf, OBJD_FOREVER);

        objd_buf_free(&buf);
        return r ? queue : NULL;
}

static bool has_no_place(void *dict)
{
        objd_value key = objd_cstr("key");
        objd_status r;

        objd_next_timeout(OBJD_NOWAIT); /* a second, then */
        r = objd_dict_add_int(dict, &key, 1, NULL);
        return r == OBJD_E_LIMIT;
}

static void one_more_than_can_be_under_way_does_not_wait_for_ever(void **state)
{
        objd_value key = objd_cstr("key"), one = objd_int(1);
        struct fixture *f = *state;
        objd_batch *batches[OBJD_SUBMITTED_MAX], *batch;
        objd_object *queue, *dict, *near_queue;
        pthread_t threads[N_THREADS];
        objd_conn *near, *far;
        char url[192];
        void *failed;

        fixture_start(f, NULL);
        near = fixture_connect(f);
        snprintf(url, sizeof(url), "local:%s/test", f->directory);
        assert_ok(objd_connect(url, &far));
        assert_ok(objd_set_timeout(far, PATIENCE_NS));
        assert_ok(objd_create(far, "queue", OBJD_QUEUE, NULL, &queue));
        assert_ok(objd_create(far, "dict", OBJD_DICT, NULL, &dict));
        assert_ok(objd_open(near, "queue", OBJD_QUEUE, &near_queue));
        for (int i = 0; i < OBJD_SUBMITTED_MAX; i++) {
                assert_ok(objd_batch_new(far, &batches[i]));
                assert_ok(objd_batch_queue_get_wait(batches[i], queue, OBJD_FOREVER));
                assert_ok(objd_submit(batches[i], OBJD_IN_TURN, NULL));
        }
        for (int i = 0; i < N_THREADS; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, get_one, queue), 0);
        wait_until(has_no_place, dict, "a call that is refused");

        for (int i = 0; i < OBJD_SUBMITTED_MAX + N_THREADS; i++)
                assert_ok(objd_queue_put(near_queue, &one, OBJD_NOWAIT));
        for (int i = 0; i < OBJD_SUBMITTED_MAX; i++) {
                assert_ok(objd_collect(far, PATIENCE_NS, &batch, NULL));
                assert_ok(objd_batch_outcome(batch, NULL));
        }
        for (int i = 0; i < N_THREADS; i++) {
                assert_int_equal(pthread_join(threads[i], &failed), 0);
                assert_null(failed);
        }
        assert_ok(objd_dict_set(dict, &key, &one));

        for (int i = 0; i < OBJD_SUBMITTED_MAX; i++)
                objd_batch_free(batches[i]);
        objd_release(near_queue);
        objd_release(dict);
        objd_release(queue);
        objd_close(far);
        objd_close(near);
        (void)fixture_stop(f, SIGTERM);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(one_more_than_can_be_under_way_does_not_wait_for_ever),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
