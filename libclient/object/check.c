/* SPDX-License-Identifier: Apache-2.0 */

/*
 * check.c -- checking an arena: objects one by one, lanes, clients
 *
 * The arena may be in use, and it may be damaged. So the work is done in pieces, each a call of its own
 * with its own epoch and deadline; an object is kept from changing by freezing every line that its deletion
 * would need, which lets readers pass. What is found is reported between the pieces, when nothing is held.
 */

#include "object/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/status.h"
#include "base/sys.h"
#include "base/utf8.h"
#include "mem/pool.h"
#include "txn/recover.h"
#include "txn/txn.h"

/* How often an object may change under the plan for its lines before it counts as held by others. */
#define PLAN_ATTEMPTS 100

/* How often the dead are looked for before the walk; what one round finishes may let the next one go on. */
#define RECOVER_ROUNDS 25
#define RECOVER_PAUSE_NS 20000000L

/* ---- Saying what is wrong ----------------------------------------------------------------------------- */

void check_label(struct check *check, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(check->label, sizeof(check->label), format, args);
        va_end(args);
}

void check_fail(struct check *check, const char *format, ...)
{
        struct check_fault *fault;
        va_list args;

        check->n_errors++;
        if (check->n_faults++ >= CHECK_FAULTS)
                return;
        fault = &check->faults[check->n_faults - 1];
        memcpy(fault->label, check->label, sizeof(fault->label));
        va_start(args, format);
        vsnprintf(fault->sentence, sizeof(fault->sentence), format, args);
        va_end(args);
}

/* What is left for each further object, after one whose holder did not let go in time. */
#define PATIENCE_LEFT_NS 50000000

static void report_faults(struct check *check)
{
        uint32_t n = check->n_faults < CHECK_FAULTS ? check->n_faults : CHECK_FAULTS;
        char sentence[80];

        for (uint32_t i = 0; i < n; i++)
                check->report(check->context, check->faults[i].label, check->faults[i].sentence);
        if (check->n_faults > n) {
                snprintf(sentence, sizeof(sentence), "and %u more faults", check->n_faults - n);
                check->report(check->context, check->faults[n - 1].label, sentence);
        }
        check->n_faults = 0;
}

objd_status check_enter(struct check *check)
{
        if (check->is_cancelled && __atomic_load_n(check->is_cancelled, __ATOMIC_RELAXED))
                return fail(OBJD_E_CLOSED, "the check has been cancelled");
        return lane_enter(check->arena, check->patience_ns, &check->lane);
}

void check_leave(struct check *check)
{
        lane_leave(check->lane);
        check->lane = NULL;
        report_faults(check);
}

/* ---- The chunks of an object -------------------------------------------------------------------------- */

static bool is_of_object(const struct chunk_shm *chunk, uint64_t place)
{
        return (chunk->info >> 40 & 0x7f) == CHUNK_OF_OBJECT && chunk->owner == place;
}

/* The chunk at this place, if it is the object's; otherwise that is said. */
static struct chunk_shm *own_chunk(struct check *check, uint64_t off)
{
        struct chunk_shm *chunk = check->find_chunk ? check->find_chunk(check, off) : NULL;

        if (chunk)
                return chunk;
        chunk = check_chunk_at(check->arena, off);
        if (!chunk)
                check_fail(check, "it refers to a chunk at %#" PRIx64 ", where there is none", off);
        else if (!is_of_object(chunk, arena_off(check->arena, check->object)))
                check_fail(check, "it refers to the chunk at %#" PRIx64 ", which is not its own", off);
        else if (check->find_chunk)
                check_fail(check, "it refers to the chunk at %#" PRIx64 ", which another object has", off);
        else
                return chunk;
        return NULL;
}

bool check_chunk(struct check *check, uint64_t off, uint64_t min_size)
{
        struct chunk_shm *chunk = own_chunk(check, off);

        if (!chunk)
                return false;
        if (chunk_size(chunk) < min_size) {
                check_fail(check,
                           "it refers to %" PRIu64 " bytes in the chunk at %#" PRIx64 ", which has %" PRIu64,
                           min_size, off, chunk_size(chunk));
                return false;
        }
        if (check_bit_get(check->seen, check_bit(check->arena, off))) {
                check_fail(check, "it refers to the chunk at %#" PRIx64 " twice", off);
                return false;
        }
        check_bit_set(check->seen, check_bit(check->arena, off));
        check->n_chunks++;
        return true;
}

/*
 * The list of the object's chunks, after its structure has been walked: each one must have been met. Takes
 * the marks away again: the next object may get these chunks before it is looked at.
 */
static void compare_chunks(struct check *check)
{
        const struct arena *arena = check->arena;
        uint64_t place = arena_off(arena, check->object), memory = 0, n = 0, prev = 0,
                 off = check->object->chunks;
        const struct chunk_shm *chunk;

        for (; off; prev = off, off = chunk->next) {
                chunk = check_chunk_at(arena, off);
                if (!chunk || !is_of_object(chunk, place) || chunk->prev != prev) {
                        check_fail(check, "the list of its chunks is damaged at %#" PRIx64, off);
                        return;
                }
                if (check_bit_get(check->seen, check_bit(arena, off)))
                        n++;
                else
                        check_fail(check,
                                   "it has the chunk of %" PRIu64 " bytes at %#" PRIx64 ", and no use for it",
                                   chunk_size(chunk), off);
                check_bit_clear(check->seen, check_bit(arena, off));
                memory += chunk_size(chunk) + CHUNK_HEAD;
        }
        if (memory != check->object->memory)
                check_fail(check, "it says that it has %" PRIu64 " bytes, but it has %" PRIu64,
                           check->object->memory, memory);
        if (n != check->n_chunks)
                check_fail(check, "it refers to %" PRIu64 " chunks, but has %" PRIu64 " of them in its list",
                           check->n_chunks, n);
}

/* ---- Objects ------------------------------------------------------------------------------------------ */

void check_own_name(struct check *check)
{
        struct object_shm *object = check->object;
        uint64_t chunk = object_name_chunk(object);
        const char *name = object->name;

        if (arena_off(check->arena, object) == check->arena->header->names) {
                check_label(check, "(names)");
                return;
        }
        check_label(check, "#%" PRIu64 ".%" PRIu64, arena_off(check->arena, object), object->line.serial);
        if (!object->name_size) {
                if (object->owner &&
                    id_number(object->owner) >= word_get(&check->arena->header->clients_high))
                        check_fail(check, "it belongs to client %u, which there is not",
                                   id_number(object->owner));
                return;
        }
        if (object->name_size > OBJD_NAME_MAX) {
                check_fail(check, "its name has %u bytes", object->name_size);
                return;
        }
        if (chunk) {
                if (!check_chunk(check, chunk, object->name_size))
                        return;
                name = chunk_data((struct chunk_shm *)(check->arena->base + chunk));
        }
        if (!utf8_is_valid(name, object->name_size))
                check_fail(check, "its name is no UTF-8");
        else
                check_label(check, "%.*s", (int)object->name_size, name);
}

static objd_status plan_lines(struct check *check, const struct kind *kind, struct plan *plan)
{
        objd_status r;

        plan->n = 0;
        r = plan_add(plan, &check->object->line);
        if (r == OBJD_OK && kind)
                r = kind->plan_destroy(check->lane, check->object, plan);
        plan_sort(plan);
        return r;
}

static const struct kind *kind_of_slot(const struct object_shm *object)
{
        return word_get(&object->line.serial) ? kind_of(object_kind(word_get(&object->line.config))) : NULL;
}

/* A word that names a lane which nobody has will never be given back. */
static bool is_held_by_nobody(struct check *check, const struct line_shm *line)
{
        uint32_t holder = lock_lane(word_get(&line->word));
        const struct lane_shm *shm = arena_lane(check->arena, holder);

        if (arena_has_lane(check->arena, holder) && half_get(&shm->claimed))
                return false;
        check_fail(check, "a lock of it is held by lane %u, which nobody has", holder);
        return true;
}

static objd_status freeze_lines(struct check *check, const struct plan *plan)
{
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < plan->n && r == OBJD_OK; i++) {
                r = lock_freeze(check->lane, plan->lines[i]);
                if (r == OBJD_E_BUSY && is_held_by_nobody(check, plan->lines[i]))
                        r = OBJD_E_CORRUPT;
        }
        return r;
}

/* Freezes every line of the object, if there is one that can be understood. */
static objd_status freeze_object(struct check *check, struct plan *plan)
{
        for (int i = 0; i < PLAN_ATTEMPTS; i++) {
                const struct kind *kind = kind_of_slot(check->object);
                struct plan again;
                objd_status r;

                r = plan_lines(check, kind, plan);
                /* Or somebody is just changing it, which its own line tells, once it is frozen. */
                if (r == OBJD_E_CORRUPT) {
                        plan->n = 0;
                        r = plan_add(plan, &check->object->line);
                }
                if (r == OBJD_OK)
                        r = freeze_lines(check, plan);
                if (r == OBJD_OK && kind == kind_of_slot(check->object))
                        r = plan_lines(check, kind, &again);
                if (r == OBJD_OK && kind == kind_of_slot(check->object) &&
                    plan_is_held(check->lane, &again)) {
                        *plan = again; /* the first one may name lines that it no longer has */
                        return OBJD_OK;
                }
                txn_unlock(check->lane);
                if (r)
                        return r;
        }
        return fail(OBJD_E_BUSY, "the object at %#" PRIx64 " changes all the time",
                    arena_off(check->arena, check->object));
}

/* What the plan names belongs to this object; check_further_lines() asks about the rest. */
static void mark_lines(struct check *check, const struct plan *plan)
{
        for (size_t i = 0; i < plan->n; i++) {
                check_bit_set(check->lines, check_bit(check->arena, arena_off(check->arena, plan->lines[i])));
                if (plan->lines[i]->serial != check->object->line.serial)
                        check_fail(check, "a line of it says that it belongs to another object");
        }
}

static void look_at_config(struct check *check, const struct kind *kind)
{
        uint64_t word = check->object->line.config;
        objd_config config = OBJD_CONFIG_INIT;

        config.key_type = object_key_type(word);
        config.value_type = object_value_type(word);
        config.order = object_order(word);
        config.lock_flags = object_lock_flags(word);
        if ((unsigned)config.key_type > OBJD_REF || (unsigned)config.value_type > OBJD_REF ||
            kind->check_config(&config))
                check_fail(check, "it is configured as no %s can be", kind->name);
        if (word & OBJECT_POISONED)
                check_fail(check, "an operation on it could be neither finished nor undone (it is poisoned)");
}

void check_structure(struct check *check)
{
        struct object_shm *object = check->object;
        const struct kind *kind = kind_of(object_kind(object->line.config));

        if (!kind) {
                check_fail(check, "it is of kind %u, which there is not", object_kind(object->line.config));
                return;
        }
        look_at_config(check, kind);
        kind->check(check, object);
}

/* With every line frozen. */
static void look_at_object(struct check *check)
{
        uint64_t faults = check->n_errors;

        check->n_chunks = 0;
        check_own_name(check);
        check_structure(check);
        /* If its structure is damaged, not all of it has been walked, and what was not met says nothing. */
        if (check->n_errors == faults)
                compare_chunks(check);
}

static void clear_seen(struct check *check)
{
        memset(check->seen, 0, check_bits_size(check->arena));
}

static objd_status look_at_slot(struct check *check)
{
        uint64_t faults = check->n_errors;
        struct plan plan;
        objd_status r;

        r = freeze_object(check, &plan);
        if (r)
                return r;
        if (check->object->line.serial && !check_is_further_line(check->object)) {
                look_at_object(check);
                mark_lines(check, &plan);
        }
        txn_unlock(check->lane);
        if (check->n_errors != faults)
                clear_seen(check);
        return OBJD_OK;
}

/* The name of an object that cannot be frozen, if it can be read. */
static void label_unlocked(struct check *check)
{
        char name[OBJD_NAME_MAX + 1];

        if (object_name(check->arena, check->object, word_get(&check->object->line.serial), name) && *name)
                check_label(check, "%.*s", OBJD_NAME_MAX, name);
}

/*
 * One slot that was in use when its block was looked at. An object that somebody holds is left for the end.
 */
static objd_status check_slot(struct check *check, uint64_t place, objd_status *held)
{
        objd_status r = check_enter(check);

        if (r)
                return r;
        check_label(check, "#%" PRIu64, place);
        if (check_slot_is_used(check->arena, place)) {
                check->object = (struct object_shm *)(check->arena->base + place);
                r = look_at_slot(check);
                if (r == OBJD_OK && !check->object->line.serial)
                        r = check_unnamed_slot(check, place);
        }
        if (r == OBJD_E_BUSY) {
                *held = r;
                if (check->patience_ns < 0 || check->patience_ns > PATIENCE_LEFT_NS)
                        check->patience_ns = PATIENCE_LEFT_NS;
        } else if (r == OBJD_E_CORRUPT) {
                char why[256];

                (void)snprintf(why, sizeof(why), "%s", objd_last_error());
                label_unlocked(check);
                check_fail(check, "%s", why);
        }
        check_leave(check);
        return r == OBJD_E_BUSY || r == OBJD_E_CORRUPT ? OBJD_OK : r;
}

static objd_status check_slots_of(struct check *check, uint64_t number, objd_status *held)
{
        uint64_t start = check->arena->data_off + (number << BLOCK_SHIFT);
        objd_status r = OBJD_OK;

        for (uint32_t slot = 1; slot < SLOTS_PER_BLOCK && r == OBJD_OK; slot++)
                if (check_slot_is_used(check->arena, start + slot * SLOT_SIZE))
                        r = check_slot(check, start + slot * SLOT_SIZE, held);
        return r;
}

static objd_status check_objects(struct check *check, objd_status *held)
{
        objd_status r = OBJD_OK;

        for (uint64_t number = 0; r == OBJD_OK && number < check->arena->n_blocks &&
                                  number < word_get(&check->arena->header->pool.frontier);
             number++)
                if (check->arena->blocks[number].state == BLOCK_SLOTS)
                        r = check_slots_of(check, number, held);
        return r;
}

/* ---- Lanes and clients -------------------------------------------------------------------------------- */

static bool has_leftovers(const struct lane_shm *lane)
{
        return word_get(&lane->log.state) != TXN_IDLE || word_get(&lane->pool_log.state) != TXN_IDLE ||
               word_get(&lane->taken) || word_get(&lane->doomed) || word_get(&lane->log_chunk) ||
               half_get(&lane->n_locks) || half_get(&lane->n_new_slots) || half_get(&lane->n_dead_slots);
}

static void pause_between_rounds(void)
{
        nanosleep(&(struct timespec){ .tv_nsec = RECOVER_PAUSE_NS }, NULL);
}

/* Whether the lane is dead, and nobody can finish or undo what is in it; somebody may just be at it. */
static bool stays_dead(struct check *check, uint32_t number)
{
        for (int i = 0; i < RECOVER_ROUNDS; i++) {
                if (!lane_is_dead(check->arena, arena_lane(check->arena, number)) ||
                    recover_lane(check->arena, number, check->lane->self))
                        return false;
                pause_between_rounds();
        }
        return true;
}

static void look_at_lane(struct check *check, uint32_t number)
{
        const struct lane_shm *lane = arena_lane(check->arena, number);

        check_label(check, "(lane %u)", number);
        if (stays_dead(check, number)) {
                check_fail(check,
                           "process %" PRId64
                           " died in it, and what it left can be neither finished nor undone",
                           lane->pid);
                return;
        }
        /* A lane that somebody has is none of our business, and one that is claimed meanwhile says so. */
        if (half_get_acquire(&lane->claimed) || !has_leftovers(lane) || half_get_acquire(&lane->claimed))
                return;
        check_fail(check, "nobody has it, but an operation of process %" PRId64 " stands unfinished in it",
                   lane->pid);
}

static bool client_is_dead(struct arena *arena, uint32_t number)
{
        const struct client_shm *client = arena_client(arena, number);

        return half_get_acquire(&client->claimed) &&
               !client_is_alive(arena, id_make(number, word_get(&client->generation))) &&
               half_get_acquire(&client->claimed);
}

/* Outside of any call: reaping makes calls itself. */
static void look_at_client(struct check *check, uint32_t number)
{
        for (int i = 0; i < RECOVER_ROUNDS; i++) {
                if (!client_is_dead(check->arena, number))
                        return;
                (void)recover_clients(check->arena);
                pause_between_rounds();
        }
        check_label(check, "(client %u)", number);
        check_fail(check, "process %" PRId64 " is dead, and what it owned cannot be deleted",
                   arena_client(check->arena, number)->pid);
}

static objd_status check_lanes(struct check *check)
{
        objd_status r = check_enter(check);

        if (r)
                return r;
        for (uint32_t i = 1; i < N_LANES; i++)
                if (arena_has_lane(check->arena, i))
                        look_at_lane(check, i);
        check_leave(check);
        for (uint32_t i = 1; i < N_CLIENTS && i < word_get(&check->arena->header->clients_high); i++)
                look_at_client(check, i);
        return OBJD_OK;
}

static bool has_dead(struct arena *arena)
{
        for (uint32_t i = 1; i < N_LANES; i++)
                if (arena_has_lane(arena, i) && lane_is_dead(arena, arena_lane(arena, i)))
                        return true;
        for (uint32_t i = 1; i < N_CLIENTS && i < word_get(&arena->header->clients_high); i++)
                if (client_is_dead(arena, i))
                        return true;
        return false;
}

static objd_status recover_dead(struct check *check)
{
        for (int i = 0; i < RECOVER_ROUNDS; i++) {
                objd_status r = check_enter(check);

                if (r)
                        return r;
                (void)recover_all(check->arena, check->lane);
                check_leave(check);
                (void)recover_clients(check->arena);
                if (!has_dead(check->arena))
                        break;
                /* Somebody else is at it, or holds what is needed. */
                pause_between_rounds();
        }
        return OBJD_OK;
}

/* ---- All of it ---------------------------------------------------------------------------------------- */

static objd_status check_all(struct check *check)
{
        objd_status held = OBJD_OK, r;
        char sentence[512] = "";

        r = recover_dead(check);
        if (r == OBJD_OK)
                r = check_blocks(check);
        if (r == OBJD_OK)
                r = check_chunks(check);
        if (r == OBJD_OK)
                r = check_objects(check, &held);
        if (held)
                snprintf(sentence, sizeof(sentence), "%s", objd_last_error());
        if (r == OBJD_OK)
                r = check_further_lines(check);
        if (r == OBJD_OK)
                r = check_names(check);
        if (r == OBJD_OK)
                r = check_sum(check);
        if (r == OBJD_OK)
                r = check_lanes(check);
        return r || !held ? r : fail(held, "not all could be checked: %s", sentence);
}

objd_status check_arena(struct objd_conn *conn, check_report_fn report, void *context, uint64_t *ret_errors)
{
        return check_arena_until(conn, NULL, report, context, ret_errors);
}

objd_status check_arena_until(struct objd_conn *conn, const bool *is_cancelled, check_report_fn report,
                              void *context, uint64_t *ret_errors)
{
        struct arena *arena = conn->arena;
        struct check check = { .conn = conn,
                               .arena = arena,
                               .patience_ns = conn_timeout(conn),
                               .report = report,
                               .context = context,
                               .is_cancelled = is_cancelled };
        objd_status r;

        check.seen = sys.alloc(check_bits_size(arena));
        check.lines = sys.alloc(check_bits_size(arena));
        check.faults = sys.alloc(CHECK_FAULTS * sizeof(*check.faults));
        if (!check.seen || !check.lines || !check.faults)
                r = fail(OBJD_E_NOMEM, "no memory to check the arena");
        else
                r = check_all(&check);
        if (check.faults)
                report_faults(&check);
        free(check.seen);
        free(check.lines);
        free(check.faults);
        if (r == OBJD_OK)
                *ret_errors = check.n_errors;
        return r;
}
