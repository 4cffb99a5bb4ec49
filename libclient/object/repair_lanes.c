/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair_lanes.c -- lanes, locks and clients of a store in which nobody is alive but this process
 */

#include "object/repair.h"

#include <inttypes.h>
#include <stdio.h>

#include "arena/life.h"
#include "mem/pool.h"
#include "sync/lock.h"
#include "txn/lane.h"
#include "txn/recover.h"

/* ---- Lanes ---------------------------------------------------------------------------------------------- */

static bool has_debts(const struct lane_shm *lane)
{
        return lane->log.state != TXN_IDLE || lane->pool_log.state != TXN_IDLE || lane->taken ||
               lane->doomed || lane->log_chunk || lane->n_locks || lane->n_new_slots || lane->n_dead_slots;
}

/* Its generation stays: what names an earlier claim must not name a later one. */
static void clear_lane(struct lane_shm *lane)
{
        lane->log.state = TXN_IDLE;
        lane->log.used = 0;
        lane->pool_log.state = TXN_IDLE;
        lane->pool_log.used = 0;
        lane->taken = 0;
        lane->doomed = 0;
        lane->log_chunk = 0;
        lane->n_locks = 0;
        lane->n_wakes = 0;
        lane->n_new_slots = 0;
        lane->n_dead_slots = 0;
        lane->anywhere = 0;
        lane->recoverer = 0;
        lane->waits_for = 0;
        lane->epoch = (lane->epoch + 1) & ~1ULL;
        for (uint32_t i = 0; i < LANE_PINS; i++)
                lane->pins[i] = 0;
        half_set(&lane->claimed, 0);
}

static bool is_own(const struct repair *repair, uint32_t number)
{
        return repair->check.lane && repair->check.lane->number == number;
}

void repair_lanes(struct repair *repair)
{
        struct arena *arena = repair->arena;

        for (uint32_t i = 1; i < N_LANES; i++) {
                struct lane_shm *lane = arena_lane(arena, i);

                if (!arena_has_lane(arena, i) || is_own(repair, i))
                        continue;
                if (has_debts(lane)) {
                        check_label(&repair->check, "(lane %u)", i);
                        repair_say(repair, REPAIR_MENDED,
                                   "an operation of process %" PRId64
                                   " stood in it, which could be neither finished nor undone",
                                   lane->pid);
                }
                clear_lane(lane);
        }
        word_set(&arena->header->n_pins, 0);
}

/* ---- Locks ---------------------------------------------------------------------------------------------- */

/* As if whoever had it had given it back. A version that is out of reach is damaged, and begins anew. */
static bool free_line(struct line_shm *line)
{
        uint64_t word = line->word, version = word & LOCK_VERSION_MASK;

        if (word == version && version >> LOCK_VERSION_SHIFT < 1ULL << 47)
                return false;
        word_set(&line->word,
                 version >> LOCK_VERSION_SHIFT < 1ULL << 47 ? version + LOCK_VERSION_ONE : LOCK_VERSION_ONE);
        return true;
}

void repair_free_line(struct repair *repair, struct line_shm *line)
{
        uint32_t lane = lock_lane(line->word);
        char before[OBJD_NAME_MAX + 1];

        if (!free_line(line))
                return;
        (void)snprintf(before, sizeof(before), "%s", repair->check.label);
        check_label(&repair->check, "#%" PRIu64, arena_off(repair->arena, line));
        repair_say(repair, REPAIR_MENDED, "a lock was held by lane %u, which nobody has", lane);
        check_label(&repair->check, "%s", before);
}

static void free_block(struct repair *repair, uint64_t number)
{
        const struct arena *arena = repair->arena;
        struct line_shm *lines = (struct line_shm *)(arena->base + repair_block_off(arena, number));
        uint32_t step = arena->blocks[number].state == BLOCK_SLOTS ? 2 : 1;

        for (uint32_t i = SLOT_SIZE / LINE_SIZE; i < BLOCK_SIZE / LINE_SIZE; i += step)
                repair_free_line(repair, &lines[i]);
}

void repair_locks(struct repair *repair)
{
        struct arena *arena = repair->arena;

        if (free_line(&arena->header->pool.line)) {
                check_label(&repair->check, "(blocks)");
                repair_say(repair, REPAIR_MENDED, "the pool's lock was held by nobody");
        }
        for (uint64_t number = 0; number < arena_frontier(arena); number++)
                if (arena->blocks[number].state == BLOCK_SLOTS || arena->blocks[number].state == BLOCK_GROUPS)
                        free_block(repair, number);
}

/* ---- Clients -------------------------------------------------------------------------------------------- */

void repair_clients(struct repair *repair)
{
        struct arena *arena = repair->arena;
        uint64_t high = word_get(&arena->header->clients_high);

        for (uint32_t i = 1; i < N_CLIENTS && i < high; i++) {
                struct client_shm *client = arena_client(arena, i);

                if (client->claimed > 1) {
                        check_label(&repair->check, "(client %u)", i);
                        repair_say(repair, REPAIR_MENDED,
                                   "it said neither that it is taken nor that it is free");
                        half_set(&client->claimed, 1);
                }
                /* What these say spares a look; after damage all is looked at. */
                word_set(&client->n_anonymous, word_get(&client->n_anonymous) | 1);
                word_set(&client->flags, word_get(&client->flags) | CLIENT_HAS_LEASED);
        }
        (void)recover_clients(arena);
}
