/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * waker.h -- sleeping on many words of the arena at once, beside a loop that waits for descriptors
 *
 * A thread of its own sleeps in futex_waitv(); what has changed is told to the loop through a descriptor. A word that has changed is not looked at again
 * until the loop has taken note, so whoever scribbles on one for ever sets the loop's pace and no more.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <objd.h>

/* One place of the call's is for the thread's own news. Who finds no room looks by itself from time to time. */
#define WAKER_WORDS 127u

struct waker {
        pthread_t thread;
        bool started;
        int event; /* an eventfd: something has changed */
        pthread_mutex_t mutex;
        uint32_t news; /* a futex: there are other words to watch, or the end has come */
        bool ends;
        struct waker_word {
                const uint32_t *word; /* NULL: free */
                uint32_t seen;
                bool changed;
        } words[WAKER_WORDS];
};

/* @return OBJD_OK, OBJD_E_SYS */
objd_status waker_start(struct waker *waker);
void waker_stop(struct waker *waker);

/* Watches a word until it is no longer what was seen. Gives its place, -1 if there is none free. */
int waker_watch(struct waker *waker, const uint32_t *word, uint32_t seen);
void waker_forget(struct waker *waker, int place);

/* After the descriptor was readable: whether this word has changed. Its place is free then. */
bool waker_take(struct waker *waker, int place);
void waker_clear_event(struct waker *waker);
