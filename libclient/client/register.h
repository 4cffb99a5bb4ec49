/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * register.h -- a client of a dead daemon makes itself known to the next one
 */

#include "object/object.h"

/* conn->new_daemon_fn: connects to the daemon that has taken the arena up. Never waits, and never fails the call it is in. */
void register_again(struct objd_conn *conn);
