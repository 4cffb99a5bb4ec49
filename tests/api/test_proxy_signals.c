/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_proxy_signals.c -- handlers of signals that interrupt a call on a connection without a mapping
 */

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <objd.h>

#include "support/child.h"
#include "support/fixture.h"
#include "support/test.h"

/* The first argument: "local", or "ipc" without any. */
static bool is_local;

static objd_object *handlers_dict;
static int handlers_status, n_handled; /* atomic */

static void call_from_a_handler(int signal_number)
{
        objd_value key = objd_cstr("handler");

        (void)signal_number;
        __atomic_store_n(&handlers_status, (int)objd_dict_add_int(handlers_dict, &key, 1, NULL),
                         __ATOMIC_RELAXED);
        __atomic_add_fetch(&n_handled, 1, __ATOMIC_RELEASE);
}

struct story {
        pthread_t caller;
        int n_sent;
        objd_object *queue; /* of another connection */
};

/* One after the other, and time in between: whoever is interrupted has to come to its call. */
static bool was_refused(void *context)
{
        struct story *story = context;

        if (__atomic_load_n(&n_handled, __ATOMIC_ACQUIRE) < story->n_sent)
                return false;
        if (story->n_sent && __atomic_load_n(&handlers_status, __ATOMIC_RELAXED) == OBJD_E_REENTERED)
                return true;
        story->n_sent++;
        return pthread_kill(story->caller, SIGUSR1) != 0;
}

/* Until a signal has come while the other thread waits in its call, which is then let go. */
static void *interrupt(void *context)
{
        struct story *story = context;
        objd_value one = objd_int(1);

        wait_until(was_refused, story, "a refusal");
        return objd_queue_put(story->queue, &one, OBJD_NOWAIT) ? story : NULL;
}

static void a_handler_that_interrupts_a_call_is_refused(void **state)
{
        struct fixture *f = *state;
        const char *options[] = { "--rpc", NULL, NULL };
        struct story story = { .caller = pthread_self() };
        objd_value key = objd_cstr("handler"), got;
        objd_buf buf = OBJD_BUF_INIT;
        objd_conn *near, *far;
        objd_object *queue;
        pthread_t thread;
        void *failed;
        sigset_t usr1;
        char url[192];
        int64_t n;

        if (is_local)
                snprintf(url, sizeof(url), "local:%s/test", f->directory);
        else
                snprintf(url, sizeof(url), "ipc://%s/rpc.sock", f->base);
        options[1] = url;
        fixture_start(f, is_local ? NULL : options);
        near = fixture_connect(f);
        assert_ok(objd_connect(url, &far));
        assert_ok(objd_set_timeout(far, PATIENCE_NS));
        assert_ok(objd_create(far, "dict", OBJD_DICT, NULL, &handlers_dict));
        assert_ok(objd_create(far, "queue", OBJD_QUEUE, NULL, &queue));
        assert_ok(objd_open(near, "queue", OBJD_QUEUE, &story.queue));

        /* Not while a thread is made, which takes memory, as the handler's call does. */
        signal(SIGUSR1, call_from_a_handler);
        sigemptyset(&usr1);
        sigaddset(&usr1, SIGUSR1);
        assert_int_equal(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
        assert_int_equal(pthread_create(&thread, NULL, interrupt, &story), 0);
        assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &usr1, NULL), 0);
        assert_ok(objd_queue_get(queue, &got, &buf, OBJD_FOREVER));
        assert_int_equal(pthread_join(thread, &failed), 0);
        assert_null(failed);
        signal(SIGUSR1, SIG_DFL);
        assert_ok(objd_dict_add_int(handlers_dict, &key, 0, &n));

        objd_buf_free(&buf);
        objd_release(story.queue);
        objd_release(queue);
        objd_release(handlers_dict);
        objd_close(far);
        objd_close(near);
        (void)fixture_stop(f, SIGTERM);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_handler_that_interrupts_a_call_is_refused),
        };

        is_local = argc > 1 && strcmp(argv[1], "local") == 0;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
