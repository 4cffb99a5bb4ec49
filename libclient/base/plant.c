/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plant.c -- which mistake is switched on; empty in builds without planted faults
 */

#include "base/plant.h"

#ifdef OBJD_PLANTED_FAULTS

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[N_PLANTS] = {
        [NOTE_SKIPPED] = "note-skipped",
        [PUBLISH_BEFORE_FILL] = "publish-before-fill",
        [WAKE_FORGOTTEN] = "wake-forgotten",
        [LANE_NOT_ROLLED_BACK] = "lane-not-rolled-back",
        [LIVING_ROBBED] = "living-robbed",
        [UNLOCK_BEFORE_COMMIT] = "unlock-before-commit",
        [INTENT_AFTER_LOCK] = "intent-after-lock",
        [DOOMED_GIVEN_TWICE] = "doomed-given-twice",
        [COUNT_CLEARED_FIRST] = "count-cleared-first",
        [LOCKS_BEFORE_WORDS] = "locks-before-words",
        [PIN_KEPT] = "pin-kept",
        [CLIENT_KEPT] = "client-kept",
        [SLOT_KEPT] = "slot-kept",
        [DEBTS_FORGOTTEN] = "debts-forgotten",
};

enum plant plant_active;

/* A name that is none must not pass for a fault that nobody noticed. */
static __attribute__((constructor)) void choose(void)
{
        const char *wanted = getenv("OBJD_PLANT");

        if (!wanted)
                return;
        for (int i = 1; i < N_PLANTS; i++)
                if (strcmp(names[i], wanted) == 0)
                        plant_active = (enum plant)i;
        if (plant_active == PLANT_NONE) {
                fprintf(stderr, "OBJD_PLANT: there is no fault \"%s\"\n", wanted);
                exit(2);
        }
}

#else

/* ISO C forbids an empty file. */
typedef int planted_faults_are_off;

#endif
