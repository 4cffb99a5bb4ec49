/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * objects.h -- the objects of a store, also those without a name
 */

#include <stddef.h>

#include <objd.h>

/*
 * The refs of all objects that there are at about this moment, in the order of their places; freed with
 * free(). Any of them may be gone when it is looked at. @return OBJD_OK, OBJD_E_NOMEM, what lane_enter()
 * answers
 */
objd_status objects_list(objd_conn *conn, objd_ref **ret_refs, size_t *ret_len);

/*
 * A handle for a name, or for "#place.serial", as a dump shows objects that have none. kind may be
 * OBJD_KIND_ANY. @return what objd_open() and objd_open_ref() answer
 */
objd_status objects_open(objd_conn *conn, const char *name, objd_kind kind, objd_object **ret_object);
