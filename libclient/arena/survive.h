/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * survive.h -- going on when somebody cuts the arena's file short
 *
 * A file in a tmpfs can be truncated by whoever may write it, and touching what is gone is a SIGBUS. The daemon and the tools
 * survive it: zeros are mapped where the file has ended, every structure there then is damaged as any other could be, and the
 * process can say so and end. Applications have their own signal handlers; the library leaves them alone.
 */

#include "arena/arena.h"

/* From now on this arena's missing pages are zeros. For one arena of the process, and for its whole life. */
void survive_truncation(const struct arena *arena);

/* Whether pages have been missing; also looks at the file's size. */
bool survive_was_cut(const struct arena *arena);
