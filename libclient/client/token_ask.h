/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * token_ask.h -- a token for the daemon's proxy, from its control socket
 */

#include <stddef.h>
#include <stdint.h>

#include <objd.h>

#include "rpc/token.h"

/*
 * For an address that takes tokens (beside its socket there is a link to the control socket). *ret_size is 0 if it takes none.
 * @return OBJD_OK, OBJD_E_ACCESS (the daemon refuses, or nobody who may be believed listens there), OBJD_E_NODAEMON
 */
objd_status token_ask(const char *url, uint8_t ret_token[TOKEN_SIZE_MAX], size_t *ret_size);
