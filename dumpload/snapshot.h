/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * snapshot.h -- an arena that stands still, as it is, in a file of one's own
 *
 * To copy memory takes a tenth of the time that it takes to write it as JSON; so what writers wait for is the copy, and the
 * dump is written from it afterwards. The copy goes to a file without a name in $TMPDIR, and so is as large as what the
 * arena has in use, and in nobody's memory if that is needed.
 */

#include "object/object.h"

struct snapshot {
        struct arena arena; /* seen as the original's, but for those who connect and wait */
        struct objd_conn conn;
        struct lane lane; /* a stand-in for whoever has frozen the arena */
};

/*
 * Copies the arena of the lane, which must have frozen it. @return OBJD_OK, OBJD_E_SYS (no file, no room in it; nothing is left)
 */
objd_status snapshot_take(struct lane *lane, const struct objd_conn *conn, struct snapshot *ret_snapshot);
void snapshot_free(struct snapshot *snapshot);
