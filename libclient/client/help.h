/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * help.h -- what a read-only client asks of the daemon
 *
 * Nothing can be stored in an arena that is mapped read-only: no lock, no pin, no word that says that somebody waits. Where a call
 * needs that, the daemon does it, over a connection that the thread opens when it first needs one and keeps in its lane.
 * Without a daemon such a call fails; what gets along without help goes on.
 */

#include "client/url.h"
#include "object/object.h"

/* Gives a read-only arena its helper, unless it has one. Under the lock of client/store.c. @return OBJD_OK, OBJD_E_NOMEM */
objd_status help_init(struct arena *arena, const char *text, const struct url *url);

/* With the lane entered. @return OBJD_OK, OBJD_E_NODAEMON, OBJD_E_BUSY, OBJD_E_LIMIT */
objd_status help_pin(struct lane *lane, uint32_t place, uint64_t chunk);
void help_unpin(struct lane *lane, uint32_t place);

/* Waits until the queue has no unfinished task. @return OBJD_OK, OBJD_E_TIMEOUT, OBJD_E_NODAEMON, OBJD_E_GONE, OBJD_E_POISONED */
objd_status help_join(struct lane *lane, objd_object *queue, int64_t timeout_ns);
