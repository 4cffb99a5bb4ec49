/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * bundle.h -- objects that come to stay together, whoever dies meanwhile
 *
 * A client has made objects without names, which are its own and go with it. All of them are to stay, some with a name: more
 * than one transaction can hold. So it writes down which name each is to have, in one more object of its own, the list, and
 * then says so in its entry in the table of clients, in one word. Before that store, its death takes everything away; after it,
 * who finds it dead goes on where it was. A session, which has no process, has no bundle.
 */

#include <objd.h>

#include "object/object.h"

struct bundle {
        struct objd_object list; /* name -> ref, or a number -> ref for what gets none */
        uint64_t client;
        int64_t n_nameless;
};

/* What has become of it. */
struct bundle_report {
        uint64_t n_done;
        objd_status status; /* why one did not get its name, and was deleted; the first of them */
        char why[256];
};

/* An empty list, which goes with this client. @return OBJD_OK, and what making an object may say */
objd_status bundle_begin(struct objd_conn *conn, struct bundle *ret_bundle);
objd_status bundle_add(struct bundle *bundle, objd_ref ref, const char *name); /* NULL: none */
void bundle_drop(struct bundle *bundle);                                       /* nothing comes of it */

/*
 * The objects get their names, one after the other. With replace, an object that has one of them is deleted; without it,
 * the new one is, and so it is if there is no memory for its name.
 * @return OBJD_OK; else some are not done yet, but will be when this client ends: OBJD_E_BUSY (a living holder), OBJD_E_SYS
 */
objd_status bundle_publish(struct bundle *bundle, bool replace, struct bundle_report *ret_report);

/*
 * Goes on with what this client had said was to be. report may be NULL.
 * @return OBJD_OK, also if there is nothing to be done; OBJD_E_BUSY, OBJD_E_SYS: once more, later
 */
objd_status bundle_finish(struct objd_conn *conn, uint64_t client, struct bundle_report *report);
