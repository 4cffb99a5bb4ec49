/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * header.h -- mending an arena's header
 *
 * Most of the header never changes once the arena is made. A copy of that, with a sum, is in the second half of the header's
 * page. The rest are numbers that can be counted again. Only for an arena that no living process uses.
 */

#include <objd.h>

#include "arena/arena.h"

/* Gets a sentence for each thing that was wrong, and what became of it. */
typedef void (*header_report_fn)(void *context, const char *sentence);

/* Writes the copy. */
void header_seal(struct header_shm *header);
bool header_is_sealed(const struct header_shm *header);

/*
 * Before arena_attach(): puts the constants right, from the copy, or, without one, as far as the file's size tells them.
 * @return OBJD_OK, OBJD_E_BUSY (a process uses the arena), OBJD_E_FORMAT (beyond repair), OBJD_E_SYS
 */
objd_status header_restore(int fd, header_report_fn report, void *context);

/* After it: counts again what can be counted, before anybody uses a lane. */
void header_recount(struct arena *arena, header_report_fn report, void *context);
