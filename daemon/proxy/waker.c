/* SPDX-License-Identifier: Apache-2.0 */

/*
 * waker.c -- sleeping on many words of the arena at once
 */

#include "proxy/waker.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arena/word.h"
#include "base/status.h"
#include "base/sys.h"

#define LOOK_NS 2000000

struct watch {
        struct futex_waitv waits[WAKER_WORDS + 1];
        uint32_t n;
};

static void add(struct watch *watch, const uint32_t *word, uint32_t seen, bool private)
{
        watch->waits[watch->n++] = (struct futex_waitv){
                .uaddr = (uintptr_t)word,
                .val = seen,
                .flags = FUTEX_32 | (private ? FUTEX_PRIVATE_FLAG : 0),
        };
}

/* ---- A thread --------------------------------------------------------------------------------------------- */

static uint32_t place_of(const struct waker_thread *thread, uint32_t i)
{
        uint32_t number = 0;

        while (thread->waker->threads[number] != thread)
                number++;
        return number * WAKER_WORDS + i;
}

/* Marks what has changed and collects what is still to be watched. Whether there is something new to tell. */
static bool look(struct waker_thread *thread, struct watch *watch)
{
        struct waker *waker = thread->waker;
        bool any = false;

        watch->n = 0;
        add(watch, &thread->news, half_get(&thread->news), true);
        for (uint32_t i = 0; i < WAKER_WORDS; i++) {
                struct waker_word *w = &thread->words[i];

                if (!w->word || w->changed)
                        continue;
                if (half_get_acquire(w->word) != w->seen) {
                        w->changed = true;
                        waker->changed[waker->n_changed++] = (uint16_t)place_of(thread, i);
                        any = true;
                } else {
                        add(watch, w->word, w->seen, false);
                }
        }
        return any;
}

static void *run(void *context)
{
        struct waker_thread *thread = context;
        struct waker *waker = thread->waker;
        struct watch watch;

        for (;;) {
                bool any, ends;

                (void)pthread_mutex_lock(&waker->mutex);
                any = look(thread, &watch);
                ends = waker->ends;
                (void)pthread_mutex_unlock(&waker->mutex);
                if (ends)
                        return NULL;
                if (any)
                        (void)eventfd_write(waker->event, 1);
                /* A sandbox may not know the call: then looking now and then has to do. */
                if (syscall(SYS_futex_waitv, watch.waits, watch.n, 0, NULL, CLOCK_MONOTONIC) < 0 &&
                    errno != EAGAIN && errno != EINTR)
                        nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
        }
}

static void tell(struct waker_thread *thread)
{
        __atomic_fetch_add(&thread->news, 1, __ATOMIC_RELEASE);
        (void)syscall(SYS_futex, &thread->news, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* With the mutex held. */
static objd_status add_thread(struct waker *waker)
{
        struct waker_thread *thread = sys.alloc(sizeof(*thread));
        sigset_t all, before;
        int error;

        if (!thread)
                return fail(OBJD_E_NOMEM, "no memory for a thread that watches");
        thread->waker = waker;
        waker->threads[waker->n_threads] = thread;
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        error = pthread_create(&thread->thread, NULL, run, thread);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (error) {
                waker->threads[waker->n_threads] = NULL;
                free(thread);
                errno = error;
                return fail_errno("cannot start a thread");
        }
        waker->n_threads++;
        return OBJD_OK;
}

/* ---- Beginning and ending ---------------------------------------------------------------------------------- */

objd_status waker_start(struct waker *waker)
{
        objd_status r;

        memset(waker, 0, sizeof(*waker));
        waker->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (waker->event < 0)
                return fail_errno("cannot make an eventfd");
        (void)pthread_mutex_init(&waker->mutex, NULL); /* without attributes it cannot fail */
        waker->started = true;
        (void)pthread_mutex_lock(&waker->mutex);
        r = add_thread(waker);
        (void)pthread_mutex_unlock(&waker->mutex);
        if (r)
                waker_stop(waker);
        return r;
}

void waker_stop(struct waker *waker)
{
        if (!waker->started)
                return;
        (void)pthread_mutex_lock(&waker->mutex);
        waker->ends = true;
        (void)pthread_mutex_unlock(&waker->mutex);
        for (uint32_t i = 0; i < waker->n_threads; i++)
                tell(waker->threads[i]);
        for (uint32_t i = 0; i < waker->n_threads; i++) {
                (void)pthread_join(waker->threads[i]->thread, NULL);
                free(waker->threads[i]);
        }
        (void)pthread_mutex_destroy(&waker->mutex);
        (void)close(waker->event);
        waker->started = false;
}

/* ---- Words ------------------------------------------------------------------------------------------------- */

/* A thread with a place that is free; another one is started if all are full, and there may be one more. */
static struct waker_thread *find_thread(struct waker *waker, uint32_t *ret_number)
{
        for (*ret_number = 0; *ret_number < waker->n_threads; ++*ret_number)
                if (waker->threads[*ret_number]->n < WAKER_WORDS)
                        return waker->threads[*ret_number];
        if (waker->n_threads == WAKER_THREADS || add_thread(waker))
                return NULL;
        return waker->threads[*ret_number];
}

int waker_watch(struct waker *waker, const uint32_t *word, uint32_t seen, void *owner)
{
        struct waker_thread *thread;
        uint32_t number, i = 0;

        (void)pthread_mutex_lock(&waker->mutex);
        thread = find_thread(waker, &number);
        if (thread) {
                while (thread->words[i].owner || thread->words[i].changed)
                        i++;
                thread->words[i] = (struct waker_word){ .word = word, .seen = seen, .owner = owner };
                thread->n++;
        }
        (void)pthread_mutex_unlock(&waker->mutex);
        if (!thread)
                return -1;
        tell(thread);
        return (int)(number * WAKER_WORDS + i);
}

static void free_place(struct waker_thread *thread, struct waker_word *w)
{
        *w = (struct waker_word){ .word = NULL };
        thread->n--;
}

/* The thread goes on sleeping on the word until it wakes for another reason. One that has changed keeps its place until that is read. */
void waker_forget(struct waker *waker, int place)
{
        struct waker_thread *thread;
        struct waker_word *w;

        if (place < 0)
                return;
        (void)pthread_mutex_lock(&waker->mutex);
        thread = waker->threads[(uint32_t)place / WAKER_WORDS];
        w = &thread->words[(uint32_t)place % WAKER_WORDS];
        w->word = NULL;
        w->owner = NULL;
        if (!w->changed)
                free_place(thread, w);
        (void)pthread_mutex_unlock(&waker->mutex);
        tell(thread);
}

void *waker_next(struct waker *waker)
{
        void *owner = NULL;

        (void)pthread_mutex_lock(&waker->mutex);
        while (!owner && waker->n_changed) {
                uint32_t place = waker->changed[--waker->n_changed];
                struct waker_thread *thread = waker->threads[place / WAKER_WORDS];
                struct waker_word *w = &thread->words[place % WAKER_WORDS];

                owner = w->owner;
                free_place(thread, w);
        }
        (void)pthread_mutex_unlock(&waker->mutex);
        return owner;
}

void waker_clear_event(struct waker *waker)
{
        eventfd_t n;

        (void)eventfd_read(waker->event, &n);
}
