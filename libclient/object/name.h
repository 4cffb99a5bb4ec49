/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * name.h -- an object's name: its entry in the dict of names, whose value is the ref, and its copy in the object's slot
 *
 * For operations that are under way: they plan and lock the entry's line beside their own.
 */

#include <objd.h>

#include "object/dict.h"
#include "txn/txn.h"

/* The name's key in the dict of names, and the line that guards it. */
struct name {
        struct objd_object names;
        struct key key;
        struct line_shm *line;
};

/* @return OBJD_OK, OBJD_E_CORRUPT */
objd_status name_begin(struct objd_conn *conn, const char *text, struct name *ret_name);
objd_status name_plan(struct lane *lane, struct name *name, struct plan *plan);

/* With the line locked: whether it is still the one, or OP_PLAN_AGAIN. */
objd_status name_verify(struct lane *lane, struct name *name);

/* The ref that stands under the name, with its line locked; serial 0 if there is none. */
objd_status name_find(struct lane *lane, struct name *name, objd_ref *ret_ref);
objd_status name_put(struct lane *lane, struct name *name, objd_ref ref);

/* Writes the name into the slot, or into a chunk of its own. "" takes it away. The object's line is locked. */
objd_status name_store(struct lane *lane, struct object_shm *object, const char *name);
