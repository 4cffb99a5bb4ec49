/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * reach.h -- a connection to a store, also to one whose daemon is dead
 */

#include <objd.h>

#include "object/header.h"

/*
 * Connects to the store that url names (NULL: $OBJD_URL, else shm:default): through its daemon, or, if none
 * answers, by the arena's file, which must belong to the caller. Such a connection locks no mutex in the
 * arena. A url that leads to a daemon's proxy ("ipc:///PATH") is what objd_connect() makes of it: a connection without
 * an arena. Ends with objd_close(). @return what objd_connect() answers; OBJD_E_NODAEMON if there is no such
 * file either
 */
objd_status reach(const char *url, objd_conn **ret_conn);

/*
 * The same for whom nobody else may be there: by the file only, whose header is mended first if it is damaged.
 * @return OBJD_E_BUSY (somebody uses it), OBJD_E_FORMAT (beyond repair), OBJD_E_NOTFOUND (no file), OBJD_E_ACCESS, OBJD_E_SYS
 */
objd_status reach_alone(const char *url, header_report_fn report, void *context, objd_conn **ret_conn);
