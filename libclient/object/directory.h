/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * directory.h -- objects as such: made, found by name, renamed, deleted
 *
 * Names are the keys of a dict of the arena's own, whose values are refs. So an object and its name come and go in one
 * operation, with the locks of both.
 */

#include <objd.h>

#include "object/object.h"

/*
 * Makes a whole new arena in fd (see arena_create()): with the dict of names, ready to be attached. by_process: this
 * process is the daemon or a tool, whose lanes are no robust mutexes. Takes fd over, also when it fails.
 * @return OBJD_OK, OBJD_E_INVAL, OBJD_E_NOMEM, OBJD_E_SYS
 */
objd_status directory_create_arena(int fd, uint64_t size, bool by_process, struct arena **ret_arena);

/* @return OBJD_OK, OBJD_E_INVAL, OBJD_E_TOOBIG */
objd_status directory_check_name(const char *name);

/* Whether an object can be made so. @return OBJD_OK, OBJD_E_INVAL */
objd_status directory_check_config(objd_kind number, const objd_config *config);

/* name NULL is anonymous; gives a handle to what was made. @return OBJD_OK, OBJD_E_EXISTS, and what a dict set may say */
objd_status directory_create(struct objd_conn *conn, const char *name, objd_kind kind,
                             const objd_config *config, struct objd_object *ret_handle);
objd_status directory_lookup(struct objd_conn *conn, const char *name, objd_ref *ret_ref);

/* Deletes the object of this handle, and its name. @return OBJD_OK, OBJD_E_GONE, OBJD_E_BUSY */
objd_status directory_destroy(struct objd_object *object);
objd_status directory_delete(struct objd_conn *conn, const char *name); /* also one that cannot be opened */
objd_status directory_rename(struct objd_object *object, const char *name);

/*
 * The anonymous objects of a client, while they are that: OBJD_E_GONE if this one is not, or not any more (bundle.h).
 * replace deletes an object that has the name in the same operation; hand_over gives it none, and it belongs to another client from
 * now on, or, with 0, to nobody, and stays.
 * @return OBJD_OK, OBJD_E_GONE, OBJD_E_EXISTS (give_name), OBJD_E_BUSY, OBJD_E_NOMEM
 */
objd_status directory_give_name(struct objd_object *object, const char *name, uint64_t owner);
objd_status directory_replace(struct objd_object *object, const char *name, uint64_t owner);
objd_status directory_hand_over(struct objd_object *object, uint64_t owner, uint64_t new_owner);
objd_status directory_destroy_own(struct objd_object *object, uint64_t owner);

/*
 * Gives an object a name in its slot and in the dict of names, whatever stands in either. For a repair: nobody else is there.
 * @return OBJD_OK, OBJD_E_GONE, OBJD_E_NOMEM
 */
objd_status directory_restore_name(struct objd_object *object, const char *name);

/* A handle without a connection's count, on the stack. @return OBJD_OK, OBJD_E_GONE, OBJD_E_CORRUPT */
objd_status directory_handle(struct objd_conn *conn, objd_ref ref, struct objd_object *ret_handle);

/* The same for whatever is there, also if it is poisoned or of no kind. */
objd_status directory_find_handle(struct objd_conn *conn, objd_ref ref, struct objd_object *ret_handle);

/* The dict of names itself. */
objd_status directory_names(struct objd_conn *conn, struct objd_object *ret_handle);

/* Every slot that holds an object, named or not, as it is found; fn decides what to do with it. */
typedef objd_status (*directory_fn)(void *context, objd_ref ref, uint64_t owner);
objd_status directory_each(struct objd_conn *conn, directory_fn fn, void *context);

/*
 * Deletes all anonymous objects of a client, but for those that it had said were to stay; timeout_ns is for waiting on
 * living holders.
 * @return OBJD_OK, OBJD_E_BUSY (some may be left)
 */
objd_status directory_reap_client(struct arena *arena, uint64_t client, int64_t timeout_ns);
