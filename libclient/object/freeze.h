/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * freeze.h -- one object, or all of them, standing still while somebody looks
 *
 * Writers wait, as for any other lock, and get OBJD_E_BUSY if it takes longer than their time-out; readers go on. If the
 * process dies meanwhile, whoever waits sees that its lane is dead and gives the lines back.
 *
 * What fn gets is a lane in the middle of a call: it must not call anything that enters a lane in the same arena, which
 * would be refused.
 */

#include "object/kind.h"

/* The object stands still, and so does its name. */
typedef objd_status (*freeze_fn)(struct lane *lane, struct objd_object *object, void *context);

/*
 * @return OBJD_OK, OBJD_E_GONE, OBJD_E_BUSY (a living writer), OBJD_E_CORRUPT, OBJD_E_POISONED, OBJD_E_ACCESS (read-only),
 * what fn says
 */
objd_status freeze_one(struct objd_conn *conn, objd_ref ref, freeze_fn fn, void *context);

/*
 * All objects at once, and the names. fn gets the dict of names; what else it wants to see, it finds with frozen_find().
 * A lock's state is none of what stands still: it belongs to the thread that takes it.
 */
objd_status freeze_all(struct objd_conn *conn, freeze_fn fn, void *context);

/* A handle to an object of a frozen arena. @return OBJD_OK, OBJD_E_GONE, OBJD_E_CORRUPT */
objd_status frozen_find(struct objd_conn *conn, objd_ref ref, struct objd_object *ret_handle);

/* A handle to the dict of names, inside or outside. @return OBJD_OK, OBJD_E_CORRUPT */
objd_status frozen_names(struct objd_conn *conn, struct objd_object *ret_handle);
