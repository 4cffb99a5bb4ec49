/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * permit.h -- what somebody with rights of its own may call (rpc/rights.h)
 *
 * Who may use only some names may use the objects that have them now, and the anonymous objects of its own session; whichever way it
 * comes to a ref. It may not put a ref to anything else into the store either, where somebody with more rights could follow it. What is about the
 * store as a whole is refused, but for its figures, and for the list, which has only what it may use.
 */

#include "proxy/run.h"

/* @return OBJD_OK, OBJD_E_ACCESS, OBJD_E_BUSY (the object's name is being changed) */
objd_status permit_call(const struct caller *caller, const struct call *call);

/* One more name that a call is about. @return OBJD_OK, OBJD_E_ACCESS */
objd_status permit_name(const struct caller *caller, const char *name);

/* Takes out of a list what the caller may not use. */
void permit_infos(const struct caller *caller, objd_info *infos, size_t *n);
