/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * keyfile.h -- files of keys: a file that others could read or have put there is refused
 */

#include "rpc/keyring.h"

#define KEYFILE_SIZE_MAX (8u << 20) /* bytes */

/*
 * Reads a file with at least one key. It must be a regular file of ours, not a link, with mode 0600 or 0400.
 *
 * @return OBJD_OK, OBJD_E_NOTFOUND (no such file), OBJD_E_ACCESS (owner, mode, a link), OBJD_E_TOOBIG,
 *         OBJD_E_INVAL (no key), OBJD_E_NOMEM, OBJD_E_SYS, and what keyring_parse() says
 */
objd_status keyfile_load(const char *path, struct keyring **ret);

/*
 * Makes a new key, and a file for it with mode 0600. If the file is there already, and in order, the key is
 * added to it. Whatever fails, a file that was there is as it was.
 *
 * @return as keyfile_load()
 */
objd_status keyfile_add(const char *path, const struct rights *rights, uint8_t ret_id[KEY_ID_SIZE]);
