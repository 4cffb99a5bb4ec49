/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * token.h -- rights that the daemon gives out on its control socket, and recognises when they come back over
 * ipc://
 *
 * nanomsg does not say who a peer is, the control socket does. So a client asks there, where the kernel names
 * its uid, and gets a token: uid, rights and an end, with a MAC under a key that only this daemon process
 * has. Whoever has the token has the rights until the end; it is worth what the socket's mode protects, and
 * need only live as long as a client takes to connect.
 */

#include <sys/types.h>

#include "rpc/rights.h"

#define TOKEN_SIZE_MAX (48 + RIGHTS_NAMES_MAX)
#define TOKEN_KEY_SIZE 32

/* Behind the path of a socket that takes tokens: a link to the control socket that gives them. */
#define TOKEN_POINTER ".control"

/* Random, made when the daemon starts. */
struct token_key {
        uint8_t bytes[TOKEN_KEY_SIZE];
};

/* @return OBJD_OK, OBJD_E_SYS */
objd_status token_key_make(struct token_key *ret);

/* Times are of one clock of the caller's. Gives the token's size. */
size_t token_issue(const struct token_key *key, uid_t uid, const struct rights *rights, int64_t expires_ns,
                   uint8_t ret_token[TOKEN_SIZE_MAX]);

/*
 * Whether the token is of this daemon, and good at now_ns. Nothing in it is looked at before its MAC is
 * right.
 *
 * @return OBJD_OK, OBJD_E_ACCESS (not of this daemon, changed, or too old; the sentence says which)
 */
objd_status token_check(const struct token_key *key, int64_t now_ns, const void *token, size_t size,
                        uid_t *ret_uid, struct rights *ret_rights);
