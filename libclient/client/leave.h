/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * leave.h -- a process gives back what it has in an arena
 */

#include "arena/arena.h"

/*
 * Deletes this process's anonymous objects, gives back the calling thread's lanes, and the process's entry among the clients.
 * For the end of the last connection; no other thread of the process is in a call, and none begins one.
 */
void leave_arena(struct arena *arena, int64_t timeout_ns);
