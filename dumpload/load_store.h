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
