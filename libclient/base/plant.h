/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * plant.h -- known mistakes, one of which a test may switch on, to see that the tests notice it
 *
 * In a build with -Dplanted_faults=true, OBJD_PLANT=name in the environment makes the one mistake. In every other
 * build there is none of this. tests/crash/planted.sh runs them all.
 */

#ifdef OBJD_PLANTED_FAULTS

/* Each with its name in the environment: plant.c. */
enum plant {
        PLANT_NONE,
        NOTE_SKIPPED,         /* a word is changed without a note, unless it is the operation's first */
        PUBLISH_BEFORE_FILL,  /* the log's count covers a record before that is there */
        WAKE_FORGOTTEN,       /* nobody who sleeps is woken after a commit */
        LANE_NOT_ROLLED_BACK, /* a dead lane's locks are given, and its changes left as they are */
        LIVING_ROBBED,        /* a living holder is taken for dead */
        UNLOCK_BEFORE_COMMIT, /* the locks are given, and then it is decided */
        INTENT_AFTER_LOCK,    /* a lock is held for a moment, and stands in no lane */
        DOOMED_GIVEN_TWICE,   /* a chunk goes to the pool, and once more */
        COUNT_CLEARED_FIRST,  /* who rolls back empties the log before the words are back */
        LOCKS_BEFORE_WORDS,   /* who rolls back gives the locks first */
        PIN_KEPT,             /* a dead lane's pins stay */
        CLIENT_KEPT,          /* a dead client's entry stays */
        SLOT_KEPT,            /* the slot of an object that came to nothing stays */
        DEBTS_FORGOTTEN,      /* an operation that owes memory ends like one that owes nothing */
        N_PLANTS
};

extern enum plant plant_active;
#define PLANTED(plant) __builtin_expect(plant_active == (plant), 0)

#else
#define PLANTED(plant) 0
#endif
