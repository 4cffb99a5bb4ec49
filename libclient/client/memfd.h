/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * memfd.h -- an arena in anonymous memory: it ends with its last user
 */

#include "arena/arena.h"

/*
 * Makes one, sealed in its size; only this user, and who has been given a descriptor, can open it. label is for people who
 * look at /proc/PID/maps; by_process as in directory_create_arena().
 * @return OBJD_OK, OBJD_E_INVAL (size), OBJD_E_NOMEM, OBJD_E_SYS
 */
objd_status memfd_create_arena(const char *label, uint64_t size, bool by_process, struct arena **ret_arena);
