/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * waker.h -- sleeping on many words of the arena at once, beside a loop that waits for descriptors
 *
 * Threads of its own sleep in futex_waitv(), each on as many words as the call takes; they are started when they are needed. What
 * has changed is told to the loop through a descriptor. A word that has changed is not looked at again until the loop has taken
 * note, so whoever scribbles on one for ever sets the loop's pace and no more.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <objd.h>

/* A thread's words: one place of the call's is for the thread's own news. */
#define WAKER_WORDS 127u

/* Together they watch what 2,032 clients wait for, each for something else. Who finds no room looks by itself from time to time. */
#define WAKER_THREADS 16u
#define WAKER_PLACES (WAKER_WORDS * WAKER_THREADS)

struct waker_word {
        const uint32_t *word; /* NULL: nothing to watch */
        uint32_t seen;
        void *owner;  /* NULL: free, or changed and then forgotten */
        bool changed; /* its place stands in the waker's `changed` */
};

struct waker_thread {
        struct waker *waker;
        pthread_t thread;
        uint32_t news; /* a futex: there are other words to watch, or the end has come */
        uint32_t n;    /* places that are taken */
        struct waker_word words[WAKER_WORDS];
};

struct waker {
        int event; /* an eventfd: something has changed */
        bool started;
        bool ends;
        pthread_mutex_t mutex; /* of all that follows */
        uint32_t n_threads;
        uint32_t n_changed;
        uint16_t changed[WAKER_PLACES];
        struct waker_thread *threads[WAKER_THREADS];
};

/* @return OBJD_OK, OBJD_E_SYS, OBJD_E_NOMEM */
objd_status waker_start(struct waker *waker);
void waker_stop(struct waker *waker);

/* Watches a word until it is no longer what was seen. Gives its place, -1 if there is none. */
int waker_watch(struct waker *waker, const uint32_t *word, uint32_t seen, void *owner);
void waker_forget(struct waker *waker, int place);

/* After the descriptor was readable: the owner of a word that has changed, whose place is free then. NULL: there is no further one. */
void *waker_next(struct waker *waker);
void waker_clear_event(struct waker *waker);
