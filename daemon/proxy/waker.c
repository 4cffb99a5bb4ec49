/* SPDX-License-Identifier: Apache-2.0 */

/*
 * waker.c -- sleeping on many words of the arena at once
 */

#include "proxy/waker.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
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

/* Marks what has changed and collects what is still to be watched. Whether there is something new to tell. */
static bool look(struct waker *waker, struct watch *watch)
{
        bool any = false;

        watch->n = 0;
        add(watch, &waker->news, half_get(&waker->news), true);
        for (uint32_t i = 0; i < WAKER_WORDS; i++) {
                struct waker_word *w = &waker->words[i];

                if (!w->word || w->changed)
                        continue;
                if (half_get_acquire(w->word) != w->seen) {
                        w->changed = true;
                        any = true;
                } else {
                        add(watch, w->word, w->seen, false);
                }
        }
        return any;
}

static void *run(void *context)
{
        struct waker *waker = context;
        struct watch watch;

        for (;;) {
                bool any;

                (void)pthread_mutex_lock(&waker->mutex);
                any = look(waker, &watch);
                if (waker->ends) {
                        (void)pthread_mutex_unlock(&waker->mutex);
                        return NULL;
                }
                (void)pthread_mutex_unlock(&waker->mutex);
                if (any)
                        (void)eventfd_write(waker->event, 1);
                /* A sandbox may not know the call: then looking now and then has to do. */
                if (syscall(SYS_futex_waitv, watch.waits, watch.n, 0, NULL, CLOCK_MONOTONIC) < 0 &&
                    errno != EAGAIN && errno != EINTR)
                        nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
        }
}

objd_status waker_start(struct waker *waker)
{
        sigset_t all, before;
        int error;

        memset(waker, 0, sizeof(*waker));
        waker->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (waker->event < 0)
                return fail_errno("cannot make an eventfd");
        (void)pthread_mutex_init(&waker->mutex, NULL); /* without attributes it cannot fail */
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        error = pthread_create(&waker->thread, NULL, run, waker);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (error) {
                (void)close(waker->event);
                waker->event = -1;
                errno = error;
                return fail_errno("cannot start a thread");
        }
        waker->started = true;
        return OBJD_OK;
}

static void tell(struct waker *waker)
{
        __atomic_fetch_add(&waker->news, 1, __ATOMIC_RELEASE);
        (void)syscall(SYS_futex, &waker->news, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void waker_stop(struct waker *waker)
{
        if (!waker->started)
                return;
        (void)pthread_mutex_lock(&waker->mutex);
        waker->ends = true;
        (void)pthread_mutex_unlock(&waker->mutex);
        tell(waker);
        (void)pthread_join(waker->thread, NULL);
        (void)pthread_mutex_destroy(&waker->mutex);
        (void)close(waker->event);
        waker->started = false;
}

int waker_watch(struct waker *waker, const uint32_t *word, uint32_t seen)
{
        int place = -1;

        (void)pthread_mutex_lock(&waker->mutex);
        for (uint32_t i = 0; i < WAKER_WORDS && place < 0; i++)
                if (!waker->words[i].word) {
                        waker->words[i] = (struct waker_word){ .word = word, .seen = seen };
                        place = (int)i;
                }
        (void)pthread_mutex_unlock(&waker->mutex);
        if (place >= 0)
                tell(waker);
        return place;
}

void waker_forget(struct waker *waker, int place)
{
        if (place < 0)
                return;
        (void)pthread_mutex_lock(&waker->mutex);
        waker->words[place].word = NULL;
        (void)pthread_mutex_unlock(&waker->mutex);
        tell(waker);
}

bool waker_take(struct waker *waker, int place)
{
        bool changed;

        if (place < 0)
                return true;
        (void)pthread_mutex_lock(&waker->mutex);
        changed = waker->words[place].changed;
        if (changed)
                waker->words[place].word = NULL;
        (void)pthread_mutex_unlock(&waker->mutex);
        return changed;
}

void waker_clear_event(struct waker *waker)
{
        eventfd_t n;

        (void)eventfd_read(waker->event, &n);
}
