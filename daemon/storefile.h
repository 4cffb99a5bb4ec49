/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * storefile.h -- a store on the file system: its directory, the lock that makes its daemon the only one, its arena
 *
 * In the directory are NAME.arena, the arena, which outlives the daemon; NAME.lock, which the running daemon holds
 * locked and which says who it is; and NAME.sock (control.h). A new one of them is made under another name, NAME.*.new,
 * and renamed when it is complete: what has its right name is whole.
 */

#include "arena/arena.h"
#include "options.h"

struct store {
        const struct options *options;
        int directory;
        int lock;
        bool has_file; /* the arena is NAME.arena, not a memfd */
        bool is_new;   /* this daemon made the arena */
        struct arena *arena;
};

/* Room for a file's name: the store's name and the longest of what comes behind it. */
#define STORE_FILE_NAME_MAX (STORE_NAME_MAX + 16)

/*
 * Locks the store and makes or adopts its arena. After a failure everything is as it was.
 * @return OBJD_OK, OBJD_E_ACCESS (directory or file is not ours alone), OBJD_E_BUSY (its daemon runs),
 * OBJD_E_EXISTS (--memfd, but there is a file), OBJD_E_FORMAT, OBJD_E_NOMEM, OBJD_E_SYS
 */
objd_status store_open(const struct options *options, struct store *ret_store);

/*
 * Says in the arena who its daemon is, and that it is a new one: to be called once clients can connect to it, since those
 * of an earlier one do so when they see this.
 */
void store_sign(struct store *store);

/*
 * Saves the store if it is to be saved, unmaps the arena and gives the store free for another daemon. With --remove-on-exit its
 * file goes, unless it should have been saved and could not be. @return OBJD_OK, and what saved_write() says
 */
objd_status store_close(struct store *store);

/* The same for a daemon that has not begun: nothing is saved. */
void store_drop(struct store *store);

/* "NAME" and what stands behind it, as ".sock". */
void store_file_name(const struct store *store, const char *suffix, char ret_name[STORE_FILE_NAME_MAX]);
