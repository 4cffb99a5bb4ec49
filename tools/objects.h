/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * objects.h -- all objects of a store, also those without a name
 */

#include <stddef.h>

#include <objd.h>

/*
 * The refs of all objects that there are at about this moment, in the order of their places; freed with free(). Any of them may
 * be gone when it is looked at. @return OBJD_OK, OBJD_E_NOMEM, what lane_enter() answers
 */
objd_status objects_list(objd_conn *conn, objd_ref **ret_refs, size_t *ret_len);
