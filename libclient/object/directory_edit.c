/* SPDX-License-Identifier: Apache-2.0 */
/*
 * directory_edit.c -- objects that are there: deleted, renamed, put in another one's place
 */

#include "object/directory.h"

#include <string.h>

#include "base/status.h"
#include "object/kind.h"
#include "object/name.h"
#include "object/op.h"
#include "object/rider.h"

/* ---- Deleting and renaming ---------------------------------------------------------------------------- */

/* What an operation on an object and its names works with. */
struct target {
        struct objd_object *object;
        char old[OBJD_NAME_MAX + 1]; /* the name it has, "" for none */
        struct name old_name;
        struct name new_name;
        bool destroy;
        uint64_t owner; /* only if it is this client's; 0 is anybody's */
};

/* The name that the object has now; it is compared again once everything is locked. */
static objd_status read_name(struct lane *lane, struct objd_object *object, char ret_name[OBJD_NAME_MAX + 1])
{
        objd_status r = OP_PLAN_AGAIN;
        uint32_t n = 0;

        for (; n < OP_PLANS_MAX && r == OP_PLAN_AGAIN; n++) {
                if (object_name(lane->arena, object->shm, object->serial, ret_name))
                        return OBJD_OK;
                r = lock_wait_stable(lane, &object->shm->line);
                if (r == OBJD_OK && word_get(&object->shm->line.serial) != object->serial)
                        r = object_gone(object);
                if (r == OBJD_OK)
                        r = OP_PLAN_AGAIN;
        }
        return r == OP_PLAN_AGAIN ? fail(OBJD_E_CORRUPT, "%s is damaged: its name", object_label(object)) : r;
}

/*
 * The kind's further lines, if they were read at one moment, and of this object: what else stands in the slot by now
 * may look like lines and be none.
 */
static objd_status plan_destroy(struct lane *lane, struct objd_object *object, struct plan *plan)
{
        struct line_shm *line = &object->shm->line;
        uint64_t version = lock_read_begin(line), serial = word_get(&line->serial);
        const struct kind *kind = kind_of(object_kind(object->config));
        size_t n = plan->n;
        objd_status r = kind ? kind->plan_destroy(lane, object->shm, plan) : OBJD_OK;

        if (r == OBJD_E_CORRUPT) { /* it has no lines but its own that anybody could find */
                plan->n = n;
                r = OBJD_OK;
        }
        if (lock_version_is_stable(version) && lock_read_valid(line, version))
                return serial == object->serial ? r : object_gone(object);
        r = lock_wait_stable(lane, line);
        return r ? r : OP_PLAN_AGAIN;
}

static objd_status target_plan(struct lane *lane, struct target *target, const char *new, struct plan *plan)
{
        objd_status r = plan_add(plan, &target->object->shm->line);

        if (r == OBJD_OK && *target->old)
                r = name_plan(lane, &target->old_name, plan);
        if (r == OBJD_OK && new)
                r = name_plan(lane, &target->new_name, plan);
        if (r == OBJD_OK && target->destroy)
                r = plan_destroy(lane, target->object, plan);
        return r;
}

/* With everything locked: the object, its name and its further lines are what they were. */
static objd_status target_verify(struct lane *lane, struct target *target, const char *new)
{
        const struct kind *kind = kind_of(object_kind(target->object->config));
        struct object_shm *object = target->object->shm;
        struct plan again;
        objd_status r = OBJD_OK;

        if (object->line.serial != target->object->serial ||
            (target->owner && object->owner != target->owner))
                return object_gone(target->object);
        if (object->name_size != strlen(target->old))
                return OP_PLAN_AGAIN;
        if (*target->old) {
                objd_ref ref;

                r = name_verify(lane, &target->old_name);
                if (r == OBJD_OK)
                        r = name_find(lane, &target->old_name, &ref);
                if (r == OBJD_OK && ref.serial != target->object->serial)
                        r = OP_PLAN_AGAIN;
        }
        if (r == OBJD_OK && new)
                r = name_verify(lane, &target->new_name);
        again.n = 0;
        if (r == OBJD_OK && target->destroy && kind) {
                r = kind->plan_destroy(lane, object, &again);
                if (r == OBJD_E_CORRUPT) {
                        again.n = 0;
                        r = OBJD_OK;
                }
        }
        return r == OBJD_OK && !plan_is_held(lane, &again) ? OP_PLAN_AGAIN : r;
}

static objd_status apply_destroy(struct lane *lane, struct target *target)
{
        struct object_shm *object = target->object->shm;
        const struct kind *kind = kind_of(object_kind(target->object->config));
        objd_status r = OBJD_OK;

        if (*target->old)
                r = dict_remove(lane, target->old_name.names.shm, &target->old_name.key);
        if (r == OBJD_OK && kind)
                r = kind->destroy(lane, object);
        if (r == OBJD_E_CORRUPT)
                r = OBJD_OK; /* what it cannot find any more is nobody's, until a repair */
        if (r == OBJD_OK)
                r = txn_reserve(lane, 64, 4);
        if (r)
                return r;
        txn_set(lane, &object->line.serial, 0);
        txn_set(lane, &object->line.config, 0);
        txn_set(lane, &object->owner, 0);
        return txn_free_slot(lane, object);
}

static objd_status apply_rename(struct lane *lane, struct target *target, const char *new)
{
        struct object_shm *object = target->object->shm;
        objd_ref taken, ref = { arena_off(lane->arena, object), target->object->serial };
        objd_status r = name_find(lane, &target->new_name, &taken);

        if (r == OBJD_OK && taken.serial == ref.serial)
                return OBJD_OK;
        if (r == OBJD_OK && taken.serial)
                return fail(OBJD_E_EXISTS, "there is an object named \"%s\" already", new);
        if (r == OBJD_OK && *target->old)
                r = dict_remove(lane, target->old_name.names.shm, &target->old_name.key);
        if (r == OBJD_OK)
                r = name_put(lane, &target->new_name, ref);
        if (r == OBJD_OK)
                r = name_store(lane, object, new);
        if (r == OBJD_OK)
                txn_set(lane, &object->owner, 0);
        return r;
}

static objd_status target_attempt(struct lane *lane, struct target *target, const char *new)
{
        struct plan plan;
        objd_status r = read_name(lane, target->object, target->old);

        plan.n = 0;
        if (r == OBJD_OK && *target->old) {
                objd_value value = objd_cstr(target->old);

                r = key_make(lane->arena, target->old_name.names.config, &value, &target->old_name.key);
        }
        if (r == OBJD_OK)
                r = target_plan(lane, target, new, &plan);
        if (r == OBJD_OK)
                r = rider_plan(lane, &plan);
        if (r)
                return r;
        txn_begin(lane, target->destroy ? OP_DESTROY : OP_RENAME);
        r = plan_lock(lane, &plan);
        if (r == OBJD_OK)
                r = target_verify(lane, target, new);
        if (r == OBJD_OK)
                r = rider_verify(lane);
        if (r == OBJD_OK)
                r = target->destroy ? apply_destroy(lane, target) : apply_rename(lane, target, new);
        if (r == OBJD_OK)
                r = rider_apply(lane);
        if (r) {
                txn_abort(lane);
                return r;
        }
        return txn_commit(lane);
}

static objd_status target_run(struct target *target, const char *new)
{
        struct objd_conn *conn = target->object->conn;
        uint32_t n_plans = 0;
        struct lane *lane;
        objd_status r = directory_names(conn, &target->old_name.names);

        if (r == OBJD_OK && new)
                r = name_begin(conn, new, &target->new_name);
        if (r == OBJD_OK)
                r = lane_enter(conn->arena, conn_timeout(conn), &lane);
        if (r)
                return r;
        r = object_touch(target->object);
        if (r == OBJD_OK && arena_off(conn->arena, target->object->shm) == conn->arena->header->names)
                r = fail(OBJD_E_INVAL, "the arena's own dict of names can be neither deleted nor renamed");
        if (r == OBJD_OK)
                do
                        r = target_attempt(lane, target, new);
                while (op_once_more(lane, &target->old_name.names, &n_plans, &r));
        lane_leave(lane);
        return r;
}

objd_status directory_destroy(struct objd_object *object)
{
        struct target target = { .object = object, .destroy = true };

        return target_run(&target, NULL);
}

objd_status directory_delete(struct objd_conn *conn, const char *name)
{
        struct objd_object handle;
        objd_ref ref;
        objd_status r = directory_lookup(conn, name, &ref);

        if (r == OBJD_OK)
                r = directory_find_handle(conn, ref, &handle);
        return r ? r : directory_destroy(&handle);
}

objd_status directory_rename(struct objd_object *object, const char *name)
{
        struct target target = { .object = object };
        objd_status r = directory_check_name(name);

        return r ? r : target_run(&target, name);
}

/* ---- For what comes to stay ----------------------------------------------------------------------------- */

objd_status directory_give_name(struct objd_object *object, const char *name, uint64_t owner)
{
        struct target target = { .object = object, .owner = owner };
        objd_status r = directory_check_name(name);

        return r ? r : target_run(&target, name);
}

objd_status directory_destroy_own(struct objd_object *object, uint64_t owner)
{
        struct target target = { .object = object, .destroy = true, .owner = owner };

        return target_run(&target, NULL);
}

/* With its line locked: it is there, and still the client's. */
static objd_status verify_own(struct objd_object *object, uint64_t owner)
{
        objd_status r = object_verify(object);

        return r || object->shm->owner == owner ? r : object_gone(object);
}

/* The victim is deleted, and its name is the new object's, at once. OP_PLAN_AGAIN: the name is somebody else's by now. */
static objd_status replace_attempt(struct lane *lane, struct target *victim, struct objd_object *object,
                                   const char *text, uint64_t owner)
{
        objd_ref ref = { arena_off(lane->arena, object->shm), object->serial };
        struct plan plan = { .n = 0 };
        objd_status r = read_name(lane, victim->object, victim->old);

        if (r == OBJD_OK && strcmp(victim->old, text) != 0)
                r = OP_PLAN_AGAIN;
        if (r == OBJD_OK)
                r = plan_add(&plan, &object->shm->line);
        if (r == OBJD_OK)
                r = target_plan(lane, victim, NULL, &plan);
        if (r == OBJD_OK)
                r = rider_plan(lane, &plan);
        if (r)
                return r;
        txn_begin(lane, OP_RENAME);
        r = plan_lock(lane, &plan);
        if (r == OBJD_OK)
                r = verify_own(object, owner);
        if (r == OBJD_OK)
                r = target_verify(lane, victim, NULL);
        if (r == OBJD_OK)
                r = rider_verify(lane);
        if (r == OBJD_OK)
                r = apply_destroy(lane, victim);
        if (r == OBJD_OK)
                r = name_put(lane, &victim->old_name, ref);
        if (r == OBJD_OK)
                r = name_store(lane, object->shm, text);
        if (r == OBJD_OK)
                r = rider_apply(lane);
        if (r) {
                txn_abort(lane);
                return r;
        }
        txn_set(lane, &object->shm->owner, 0);
        return txn_commit(lane);
}

static objd_status replace_run(struct objd_object *object, struct objd_object *victim, const char *text,
                               uint64_t owner)
{
        struct target target = { .object = victim, .destroy = true };
        struct objd_conn *conn = object->conn;
        uint32_t n_plans = 0;
        struct lane *lane;
        objd_status r = name_begin(conn, text, &target.old_name);

        if (r == OBJD_OK)
                r = lane_enter(conn->arena, conn_timeout(conn), &lane);
        if (r)
                return r;
        r = object_touch(object);
        if (r == OBJD_OK)
                r = object_touch(victim);
        if (r == OBJD_OK)
                r = replace_attempt(lane, &target, object, text, owner);
        if (r == OP_REHASH && op_once_more(lane, &target.old_name.names, &n_plans, &r))
                r = OP_PLAN_AGAIN;
        lane_leave(lane);
        return r;
}

objd_status directory_replace(struct objd_object *object, const char *name, uint64_t owner)
{
        for (uint32_t turn = 0; turn < OP_PLANS_MAX; turn++) {
                struct objd_object victim;
                objd_ref ref;
                objd_status r = directory_lookup(object->conn, name, &ref);

                if (r == OBJD_E_NOTFOUND) {
                        r = directory_give_name(object, name, owner);
                        if (r == OBJD_E_EXISTS)
                                continue;
                        return r;
                }
                if (r == OBJD_OK)
                        r = directory_handle(object->conn, ref, &victim);
                if (r == OBJD_OK)
                        r = replace_run(object, &victim, name, owner);
                /* Gone may be either of the two; if it is ours, the next turn says so as well. */
                if (r == OBJD_E_GONE && word_get(&object->shm->line.serial) == object->serial &&
                    word_get(&object->shm->owner) == owner)
                        continue;
                if (r != OP_PLAN_AGAIN)
                        return r;
        }
        return fail(OBJD_E_CORRUPT, "the name \"%s\" is damaged: it stands for no object", name);
}

objd_status directory_restore_name(struct objd_object *object, const char *name)
{
        objd_ref ref = { arena_off(object->conn->arena, object->shm), object->serial };
        struct plan plan = { .n = 0 };
        struct lane *lane;
        struct name entry;
        objd_status r = name_begin(object->conn, name, &entry);

        if (r == OBJD_OK)
                r = lane_enter(object->conn->arena, conn_timeout(object->conn), &lane);
        if (r)
                return r;
        r = plan_add(&plan, &object->shm->line);
        if (r == OBJD_OK)
                r = name_plan(lane, &entry, &plan);
        txn_begin(lane, OP_RENAME);
        if (r == OBJD_OK)
                r = plan_lock(lane, &plan);
        if (r == OBJD_OK)
                r = object_verify(object);
        if (r == OBJD_OK)
                r = name_put(lane, &entry, ref);
        if (r == OBJD_OK)
                r = name_store(lane, object->shm, name);
        if (r == OBJD_OK) {
                txn_set(lane, &object->shm->owner, 0);
                r = txn_commit(lane);
        } else {
                txn_abort(lane);
        }
        lane_leave(lane);
        return r;
}

objd_status directory_hand_over(struct objd_object *object, uint64_t owner, uint64_t new_owner)
{
        struct lane *lane;
        objd_status r = lane_enter(object->conn->arena, conn_timeout(object->conn), &lane);

        if (r)
                return r;
        r = object_touch(object);
        if (r == OBJD_OK) {
                txn_begin(lane, OP_RENAME);
                r = lock_take(lane, &object->shm->line);
                if (r == OBJD_OK)
                        r = verify_own(object, owner);
                if (r == OBJD_OK)
                        txn_set(lane, &object->shm->owner, new_owner);
                if (r == OBJD_OK)
                        r = txn_commit(lane);
                else
                        txn_abort(lane);
        }
        lane_leave(lane);
        return r;
}
