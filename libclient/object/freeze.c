/* SPDX-License-Identifier: Apache-2.0 */
/*
 * freeze.c -- one object, or all of them, standing still while somebody looks
 *
 * All objects: there may be more lines than a lane has room for intents. So the lane says with one word that it may hold lines
 * anywhere, and whoever gives its locks back (itself, or a recoverer) goes through all of them (txn.c). They are
 * frozen in ascending order, as all locks are taken; then the pool, so that no object is made or deleted any more; then it is
 * looked at once more whether anything has been made meanwhile in places that had been passed. What is not frozen by then
 * is tried only: its holder may be waiting for the pool.
 *
 * A writer that holds lines may take new ones in any order, since nobody else can know them; only that we do. If it waits for
 * such a line that is frozen already, it and we wait for each other. That is why we wait only ATTEMPT_NS, give everything
 * back and begin again.
 */

#include "object/freeze.h"

#include <time.h>

#include "base/status.h"
#include "base/sys.h"
#include "mem/pool.h"
#include "txn/txn.h"

#define ATTEMPT_NS 100000000LL
#define PAUSE_NS 2000000L

/* ---- Handles ------------------------------------------------------------------------------------------ */

static objd_status handle_at(struct objd_conn *conn, objd_ref ref, struct object_shm *object,
                             struct objd_object *ret_handle)
{
        *ret_handle = (struct objd_object){
                .conn = conn,
                .shm = object,
                .serial = ref.serial,
                .config = word_get(&object->line.config) & ~(0xffULL << OBJECT_STATE_SHIFT),
        };
        ret_handle->retire_seen = word_get_acquire(&conn->arena->header->retire_count);
        if (word_get(&object->line.serial) != ref.serial)
                return object_gone(ret_handle);
        if (!kind_of(object_kind(ret_handle->config)))
                return fail(OBJD_E_CORRUPT, "%s is damaged: it is of no kind", object_label(ret_handle));
        return OBJD_OK;
}

objd_status frozen_find(struct objd_conn *conn, objd_ref ref, struct objd_object *ret_handle)
{
        struct object_shm *object;
        objd_status r = object_find(conn->arena, ref, &object);

        return r ? r : handle_at(conn, ref, object, ret_handle);
}

objd_status frozen_names(struct objd_conn *conn, struct objd_object *ret_handle)
{
        const struct header_shm *header = conn->arena->header;
        struct object_shm *names = arena_at(conn->arena, word_get(&header->names), SLOT_SIZE);
        objd_ref ref = { word_get(&header->names), names ? word_get(&names->line.serial) : 0 };
        objd_status r = OBJD_E_CORRUPT;

        if (names)
                r = frozen_find(conn, ref, ret_handle);
        if (r || object_kind(ret_handle->config) != OBJD_DICT)
                return fail(OBJD_E_CORRUPT, "the arena's dict of names is damaged");
        return OBJD_OK;
}

/* ---- One object --------------------------------------------------------------------------------------- */

/* Its line, and the kind's further lines as they are now. */
static objd_status plan_lines(struct lane *lane, struct objd_object *object, struct plan *plan)
{
        plan->n = 0;
        return plan_add(plan, &object->shm->line) ||
                               kind_of(object_kind(object->config))->plan_destroy(lane, object->shm, plan)
                       ? OBJD_E_CORRUPT
                       : OBJD_OK;
}

/* The lines as of one version of the object's own. */
static objd_status find_lines(struct lane *lane, struct objd_conn *conn, objd_ref ref,
                              struct objd_object *object, struct plan *plan)
{
        for (;;) {
                struct line_shm *line;
                struct object_shm *shm;
                uint64_t version;
                objd_status r = object_find(conn->arena, ref, &shm);

                if (r)
                        return r;
                line = &shm->line;
                version = lock_read_begin(line);
                if (lock_version_is_stable(version)) {
                        r = handle_at(conn, ref, shm, object);
                        if (r == OBJD_OK)
                                r = plan_lines(lane, object, plan);
                        if (lock_read_valid(line, version))
                                return r;
                }
                r = lock_wait_stable(lane, line);
                if (r)
                        return r;
        }
}

/* With everything frozen: whether it is still the same. */
static objd_status verify(struct lane *lane, struct objd_object *object)
{
        struct plan again;
        objd_status r = object_verify(object);

        if (r == OBJD_OK)
                r = plan_lines(lane, object, &again);
        return r == OBJD_OK && !plan_is_held(lane, &again) ? OP_PLAN_AGAIN : r;
}

static objd_status freeze_once(struct lane *lane, struct objd_conn *conn, objd_ref ref, freeze_fn fn,
                               void *context)
{
        struct objd_object object;
        struct plan plan;
        objd_status r = find_lines(lane, conn, ref, &object, &plan);

        if (r)
                return r;
        txn_begin(lane, OP_DUMP);
        r = plan_freeze(lane, &plan);
        if (r == OBJD_OK)
                r = verify(lane, &object);
        if (r == OBJD_OK)
                r = fn(lane, &object, context);
        txn_abort(lane);
        return r;
}

/* Who may only read freezes by the daemon's hand, and only for milliseconds: too short for what this is for. */
static objd_status enter(struct objd_conn *conn, struct lane **ret_lane)
{
        if (conn->arena->read_only)
                return fail(OBJD_E_ACCESS, "to make objects stand still takes a connection that may write");
        return lane_enter(conn->arena, conn_timeout(conn), ret_lane);
}

objd_status freeze_one(struct objd_conn *conn, objd_ref ref, freeze_fn fn, void *context)
{
        struct lane *lane;
        objd_status r = enter(conn, &lane);

        if (r)
                return r;
        r = OP_PLAN_AGAIN;
        for (uint32_t turn = 0; turn < OP_PLANS_MAX && r == OP_PLAN_AGAIN; turn++)
                r = freeze_once(lane, conn, ref, fn, context);
        lane_leave(lane);
        return r == OP_PLAN_AGAIN ? fail(OBJD_E_CORRUPT, "the object #%llu.%llu contradicts itself",
                                         (unsigned long long)ref.place, (unsigned long long)ref.serial)
                                  : r;
}

/* ---- All objects -------------------------------------------------------------------------------------- */

/* Freezes the lines that are given out; with `try`, only those that nobody holds. */
static objd_status freeze_line(struct lane *lane, struct line_shm *line, bool try)
{
        if (lock_is_held(lane, line))
                return OBJD_OK;
        if (!try)
                return lock_freeze_unlisted(lane, line);
        return lock_try_freeze_unlisted(lane, line)
                       ? OBJD_OK
                       : fail(OBJD_E_BUSY, "objects are made and deleted all the time");
}

static objd_status freeze_block(struct lane *lane, uint64_t number, bool try)
{
        struct arena *arena = lane->arena;
        uint8_t state = __atomic_load_n(&arena->blocks[number].state, __ATOMIC_ACQUIRE);
        struct slot_block_shm *head =
                (struct slot_block_shm *)(arena->base + arena->data_off + (number << BLOCK_SHIFT));
        struct object_shm *slots = (struct object_shm *)head;
        uint32_t first = state == BLOCK_GROUPS ? GROUP_SLOTS : 1;
        objd_status r = OBJD_OK;

        if (state != BLOCK_SLOTS && state != BLOCK_GROUPS)
                return OBJD_OK;
        for (uint32_t slot = first; slot < SLOTS_PER_BLOCK && r == OBJD_OK; slot++) {
                if (!(word_get(&head->used[slot / 64]) >> slot % 64 & 1))
                        continue;
                r = freeze_line(lane, &slots[slot].line, try);
                /* The other half of a group's slot is a line as well; an object's is its account. */
                if (r == OBJD_OK && state == BLOCK_GROUPS)
                        r = freeze_line(lane, &slots[slot].line + 1, try);
        }
        return r;
}

static objd_status freeze_blocks(struct lane *lane, bool try)
{
        struct arena *arena = lane->arena;
        objd_status r = OBJD_OK;

        for (uint64_t number = 0; number < arena_limit(arena) >> BLOCK_SHIFT && r == OBJD_OK; number++)
                r = freeze_block(lane, number, try);
        return r;
}

static objd_status freeze_everything(struct lane *lane)
{
        objd_status r;

        txn_begin(lane, OP_DUMP);
        txn_hold_anything(lane);
        r = freeze_blocks(lane, false);
        if (r == OBJD_OK)
                r = lock_freeze(lane, &lane->arena->header->pool.line);
        if (r == OBJD_OK)
                r = freeze_blocks(lane, true);
        if (r)
                txn_abort(lane);
        return r;
}

/* Attempts of ATTEMPT_NS each until the call's own deadline. */
static objd_status attempt_all(struct lane *lane)
{
        const struct timespec pause = { .tv_nsec = PAUSE_NS };
        int64_t deadline_ns = lane_deadline(lane);
        objd_status r;

        for (;;) {
                int64_t now = now_ns();

                lane->deadline_ns = deadline_ns - now < ATTEMPT_NS ? deadline_ns : now + ATTEMPT_NS;
                r = freeze_everything(lane);
                lane->deadline_ns = deadline_ns;
                if (r != OBJD_E_BUSY || now_ns() >= deadline_ns)
                        return r;
                (void)nanosleep(&pause, NULL); /* let them through */
        }
}

objd_status freeze_all(struct objd_conn *conn, freeze_fn fn, void *context)
{
        struct objd_object names;
        struct lane *lane;
        objd_status r = enter(conn, &lane);

        if (r)
                return r;
        r = attempt_all(lane);
        if (r == OBJD_OK) {
                r = frozen_names(conn, &names);
                if (r == OBJD_OK)
                        r = fn(lane, &names, context);
                txn_abort(lane);
        }
        lane_leave(lane);
        return r;
}
