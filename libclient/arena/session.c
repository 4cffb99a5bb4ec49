/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c -- clients that are no processes of this machine
 */

#include "arena/session.h"

#include <string.h>

#include "arena/life.h"
#include "base/status.h"
#include "base/sys.h"

static bool is_session(const struct client_shm *client)
{
        return half_get_acquire(&client->claimed) && (word_get(&client->flags) & CLIENT_IS_SESSION);
}

bool session_is_alive(struct arena *arena, struct client_shm *client)
{
        uint64_t expires = word_get(&client->expires_ns);

        while (expires != SESSION_OVER && (uint64_t)now_ns() >= expires) {
                if (arena->read_only)
                        return false; /* only to be shown: a reader reaps nobody */
                if (__atomic_compare_exchange_n(&client->expires_ns, &expires, SESSION_OVER, false,
                                                __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
                        expires = SESSION_OVER;
        }
        return expires != SESSION_OVER;
}

static void enter(struct client_shm *client, const uint8_t id[SESSION_ID_SIZE],
                  const struct session_name *name, int64_t expires_ns)
{
        client->generation++;
        client->uid = name->uid;
        client->pid = name->pid;
        client->since_ns = wall_ns();
        memcpy(client->comm, name->comm, sizeof(client->comm));
        client->comm[sizeof(client->comm) - 1] = 0;
        word_set(&client->n_anonymous, 0);
        word_set(&client->flags, CLIENT_IS_SESSION);
        word_set(&client->records, 0);
        word_set(&client->records_serial, 0);
        word_set(&client->memory, 0);
        word_set(&client->memory_most, 0);
        word_set(&client->n_waiting, 0);
        memcpy(client->session_id, id, SESSION_ID_SIZE);
        word_set(&client->expires_ns, (uint64_t)expires_ns);
        order_for_death();
        __atomic_store_n(&client->claimed, 1, __ATOMIC_RELEASE);
}

/* Inside the gate: an entry that is free, or has never been used. */
static objd_status find_free(struct arena *arena, uint32_t *ret_number)
{
        uint64_t high = word_get(&arena->header->clients_high);

        for (*ret_number = 1; *ret_number < high; ++*ret_number)
                if (!half_get(&arena_client(arena, *ret_number)->claimed))
                        return OBJD_OK;
        return high < N_CLIENTS ? OBJD_OK
                                : fail(OBJD_E_LIMIT, "the arena has %u clients, which is all it can have",
                                       N_CLIENTS - 1);
}

objd_status session_claim(struct arena *arena, const uint8_t id[SESSION_ID_SIZE],
                          const struct session_name *name, int64_t expires_ns, int64_t deadline_ns,
                          uint64_t *ret_client)
{
        struct client_shm *client = NULL;
        uint32_t number;
        objd_status r = gate_enter(arena, deadline_ns);

        if (r)
                return r;
        r = find_free(arena, &number);
        if (r == OBJD_OK) {
                client = arena_client(arena, number);
                r = arena_commit(arena, arena_off(arena, client), CLIENT_SIZE);
        }
        if (r == OBJD_OK) {
                enter(client, id, name, expires_ns);
                if (number >= word_get(&arena->header->clients_high))
                        word_set(&arena->header->clients_high, number + 1);
                *ret_client = id_make(number, client->generation);
        }
        gate_leave(arena);
        return r;
}

bool session_renew(struct arena *arena, uint64_t id, int64_t expires_ns)
{
        struct client_shm *client = arena_client(arena, id_number(id));
        uint64_t expires = word_get(&client->expires_ns);

        do {
                if (!is_session(client) || client->generation != id_generation(id) ||
                    !session_is_alive(arena, client))
                        return false;
        } while (expires == SESSION_OVER ||
                 !__atomic_compare_exchange_n(&client->expires_ns, &expires, (uint64_t)expires_ns, false,
                                              __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
        return true;
}

bool session_lives(struct arena *arena, uint64_t id)
{
        struct client_shm *client = arena_client(arena, id_number(id));

        return is_session(client) && client->generation == id_generation(id) &&
               session_is_alive(arena, client);
}

void session_end(struct arena *arena, uint64_t id)
{
        struct client_shm *client = arena_client(arena, id_number(id));

        if (is_session(client) && client->generation == id_generation(id))
                __atomic_store_n(&client->expires_ns, SESSION_OVER, __ATOMIC_RELEASE);
}

bool session_find(struct arena *arena, const uint8_t id[SESSION_ID_SIZE], uint64_t *ret_client)
{
        uint64_t high = word_get(&arena->header->clients_high);

        for (uint32_t i = 1; i < high && i < N_CLIENTS; i++) {
                struct client_shm *client = arena_client(arena, i);

                if (is_session(client) && memcmp(client->session_id, id, SESSION_ID_SIZE) == 0 &&
                    session_is_alive(arena, client)) {
                        *ret_client = id_make(i, client->generation);
                        return true;
                }
        }
        return false;
}

uint32_t session_uid(const struct arena *arena, uint64_t id)
{
        return half_get(&arena_client(arena, id_number(id))->uid);
}

void session_set_records(struct arena *arena, uint64_t id, objd_ref records)
{
        struct client_shm *client = arena_client(arena, id_number(id));

        word_set(&client->records_serial, records.serial);
        word_set_release(&client->records, records.place);
}

objd_ref session_records(const struct arena *arena, uint64_t id)
{
        const struct client_shm *client = arena_client(arena, id_number(id));

        return (objd_ref){ word_get_acquire(&client->records), word_get(&client->records_serial) };
}

void session_show_memory(struct arena *arena, uint64_t id, uint64_t memory, uint64_t most)
{
        struct client_shm *client = arena_client(arena, id_number(id));

        word_set(&client->memory, memory);
        word_set(&client->memory_most, most);
}

void session_show_waiting(struct arena *arena, uint64_t id, uint64_t n_batches)
{
        word_set(&arena_client(arena, id_number(id))->n_waiting, n_batches);
}

bool session_has_records(const struct arena *arena, objd_ref ref)
{
        uint64_t high = word_get(&arena->header->clients_high);

        for (uint32_t i = 1; i < high && i < N_CLIENTS; i++) {
                const struct client_shm *client = arena_client(arena, i);

                if (half_get(&client->claimed) && word_get(&client->records) == ref.place &&
                    word_get(&client->records_serial) == ref.serial)
                        return true;
        }
        return false;
}
