/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * chaos.h -- two stores with their daemons and workers, of which any may be killed at any time
 */

#include <objd.h>

#include "crash/waits.h"
#include "crash/workers.h"
#include "support/fixture.h"

#define N_WORKERS 4 /* in each store, at any time */
#define N_FAR 2     /* besides, workers that have no mapping and go through the daemon */
#define N_PLACES (N_WORKERS + N_FAR)
#define N_KEYS 64

/* The state of a key is a number that grows with each write; every fifth is a deletion, and 0 is no entry. */
struct key_state {
        uint64_t acked, tried;
};

bool chaos_is_deletion(uint64_t state);
size_t chaos_size_of(uint64_t state);
objd_value chaos_key(int place, unsigned number);

/* Of one of the places that workers take in turn. Written by its worker; by the parent while there is none. */
struct account {
        struct key_state keys[N_KEYS];
        struct call call;
        struct longest longest;
        uint64_t n_steps;
};

/* One store. */
struct side {
        struct fixture *f;
        const char *label;
        const char *daemon_options[8];
        char far_url[128], local_url[128];
        bool far_is_local;  /* those without a mapping come by local: */
        int64_t restart_ns; /* when the daemon is to be started again; 0: it runs */
        struct common store;
        objd_object *keys, *probe;
        uint64_t used_empty, n_objects_empty;

        /* what outlives a worker */
        struct account *accounts;
        struct tallies *tallies;
        pid_t workers[N_PLACES];
        bool dying
                [N_PLACES]; /* killed, but what it had asked for last may still be done: its session is there */

        /* the parent's own calls, right after a death */
        pid_t parent;
        struct call call;
        struct longest longest;
};

/* In a child, until it is killed. */
_Noreturn void chaos_work(const struct side *side, int place, uint64_t seed);

/* A store of that size with its objects, nearly full if it is to be. */
void side_start(struct side *side, const char *label, const char *size, bool full, bool far_is_local);

static inline bool place_is_far(int place)
{
        return place >= N_WORKERS;
}

/* Whether the session of the far worker that was killed is over, so that nothing comes from it any more. */
bool side_has_ended_session(const struct side *side, int place);

/* Takes and gives everything that somebody dead may have held. */
void side_probe(struct side *side);

/* What the dead worker wrote is what was acknowledged to it, but for the one call that it died in. */
void side_settle(struct side *side, int place);

/* With all workers dead and the daemon running: everything is counted, checked and deleted, and nothing is left. */
void side_end(struct side *side);
