/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * session.h -- clients that are no processes of this machine
 *
 * Whoever uses the store through the daemon has a session: an entry in the table of clients like any other, to which leases and
 * anonymous objects belong. No kernel says whether it lives; it does until a moment that the daemon puts off
 * whenever it hears from it. So a session outlives its connection and the daemon, which finds it in the table again, and if nobody puts
 * its end off any more, anybody reaps it as they would a dead process.
 *
 * The end is final: who finds that the moment has come says so in the entry, by a swap that a daemon which is late sees fail.
 */

#include <objd.h>

#include "arena/arena.h"

#define SESSION_ID_SIZE 16

/* Who it is, for people. */
struct session_name {
        uint32_t uid;
        int64_t pid;
        char comm[16];
};

/* Enters a session that ends at that moment (monotonic). Passes the gate. @return OBJD_OK, OBJD_E_LIMIT, OBJD_E_BUSY, OBJD_E_NOMEM */
objd_status session_claim(struct arena *arena, const uint8_t id[SESSION_ID_SIZE],
                          const struct session_name *name, int64_t expires_ns, int64_t deadline_ns,
                          uint64_t *ret_client);

/* Puts its end off. False: it is over. */
bool session_renew(struct arena *arena, uint64_t client, int64_t expires_ns);

/* Whether that very session lives. */
bool session_lives(struct arena *arena, uint64_t client);

/* Ends it now: from here on it is a dead client, to be reaped as others are. */
void session_end(struct arena *arena, uint64_t client);

/* The living session with this id; false if there is none. */
bool session_find(struct arena *arena, const uint8_t id[SESSION_ID_SIZE], uint64_t *ret_client);

/* Whether this entry, which is a session's, lives; for client_is_alive(). */
bool session_is_alive(struct arena *arena, struct client_shm *client);

/* Of which user it is. */
uint32_t session_uid(const struct arena *arena, uint64_t client);

/* Where its last replies are; all zeros for nowhere yet. */
void session_set_records(struct arena *arena, uint64_t client, objd_ref records);
objd_ref session_records(const struct arena *arena, uint64_t client);

/* What it costs the daemon, for people to see. */
void session_show_memory(struct arena *arena, uint64_t client, uint64_t memory, uint64_t most);
void session_show_waiting(struct arena *arena, uint64_t client, uint64_t n_batches);

/* Whether the object is where some session's last replies are, and so nobody's to look into. */
bool session_has_records(const struct arena *arena, objd_ref ref);
