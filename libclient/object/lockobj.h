/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * lockobj.h -- locks as objects: taken and given by threads
 */

#include "object/object.h"

/*
 * Takes the lock if it can be had at once. slept: the caller has slept for it, and there may be other sleepers.
 * @return OBJD_OK, OBJD_E_OWNER_DIED (taken as well), OBJD_E_BUSY (no sentence), OBJD_E_INVAL (taken by this
 * thread already), OBJD_E_GONE, OBJD_E_CORRUPT
 */
objd_status lock_try(struct lane *lane, struct objd_object *object, bool slept, uint64_t *ret_token);

/*
 * Waits until the lock may be had: spins, or sleeps for a slice. The lane has been entered.
 * @return OBJD_OK (try again), OBJD_E_TIMEOUT (no sentence), OBJD_E_GONE
 */
objd_status lock_wait(struct lane *lane, struct objd_object *object, int64_t deadline_ns, bool *ret_slept);

/* @return OBJD_OK, OBJD_E_NOTOWNER, OBJD_E_GONE, OBJD_E_CORRUPT */
objd_status lock_give(struct lane *lane, struct objd_object *object);

/* Who has it. pid 0: nobody, or a lock without owners. */
struct lock_holder {
        bool taken;
        int64_t pid, tid;
        char comm[16];
        uint64_t token;
};
objd_status lock_holder(struct lane *lane, struct objd_object *object, struct lock_holder *ret_holder);
