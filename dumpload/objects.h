/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * objects.h -- the objects of a store, also those without a name
 */

#include <stddef.h>

#include <objd.h>

/*
 * The refs of all objects of a kind (or of any) that there are at about this moment, in the order of their places;
 * freed with free(). Any of them may be gone when it is looked at. @return OBJD_OK, OBJD_E_NOMEM, what
 * lane_enter() answers
 */
objd_status objects_list(objd_conn *conn, objd_kind kind, objd_ref **ret_refs, size_t *ret_len);

/*
 * What the object is called, also while somebody holds its line: its name, or "#place.serial" if it has none. For people
 * only: it may be a mixture of two names.
 */
void objects_label(objd_conn *conn, objd_ref ref, char ret_label[OBJD_NAME_MAX + 1]);

/*
 * A handle for a name, or for "#place.serial", as a dump shows objects that have none. kind may be
 * OBJD_KIND_ANY. @return what objd_open() and objd_open_ref() answer
 */
objd_status objects_open(objd_conn *conn, const char *name, objd_kind kind, objd_object **ret_object);
