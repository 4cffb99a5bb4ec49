/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * saved.h -- a store that comes from a dump, and goes into one
 */

#include "arena/arena.h"
#include "options.h"

/*
 * --load: fills an arena that nobody else can see yet. A file that is not there is an empty store if --save-on-exit is to
 * write it. @return OBJD_OK, and what load_read() says
 */
objd_status saved_load(const struct options *options, struct arena *arena);

/*
 * --save-on-exit: all objects as of one moment. The file is written under another name and renamed when it is whole and
 * on its disk. @return OBJD_OK, OBJD_E_BUSY (a living writer), OBJD_E_SYS, OBJD_E_NOMEM
 */
objd_status saved_write(const struct options *options, struct arena *arena);
