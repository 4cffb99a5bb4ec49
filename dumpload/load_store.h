/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * load_store.h -- what a load asks of the store beyond the calls that everybody uses: with a mapping, or through the daemon
 */

#include "object/kind.h"

/* @return OBJD_OK, OBJD_E_NOTFOUND, OBJD_E_BUSY, OBJD_E_ACCESS */
objd_status load_store_lookup(objd_conn *conn, const char *name, objd_ref *ret_ref);

/* Around the entries of a new object: what it has beyond them. */
objd_status load_store_begin(objd_object *object, objd_kind kind, const struct object_state *state);
objd_status load_store_end(objd_object *object, objd_kind kind, const struct object_state *state);

/*
 * Through the daemon, for what is named together where there is a mapping (object/bundle.h). From here on it stays: under this name, or, with NULL, for those who refer to it. replaces: an object of that name is deleted in the
 * same step; else it is OBJD_E_EXISTS.
 */
objd_status load_store_publish(objd_object *object, const char *name, bool replaces);
