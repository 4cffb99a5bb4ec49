/* SPDX-License-Identifier: Apache-2.0 */
/*
 * directory.c -- objects as such: made, found by name, renamed, deleted
 */

#include "object/directory.h"

#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "base/utf8.h"
#include "mem/pool.h"
#include "object/bundle.h"
#include "object/dict.h"
#include "object/header.h"
#include "object/kind.h"
#include "object/rider.h"
#include "object/queue.h"
#include "object/value.h"
#include "txn/txn.h"

#define DIRECTORY_TIMEOUT_NS 5000000000LL

static uint64_t pack_config(objd_kind kind, const objd_config *config)
{
        return (uint64_t)kind | (uint64_t)config->key_type << 8 | (uint64_t)config->value_type << 16 |
               (uint64_t)config->order << 24 | (uint64_t)config->lock_flags << 32;
}

objd_status directory_check_name(const char *name)
{
        size_t size = strlen(name);

        if (!size)
                return fail(OBJD_E_INVAL, "an object's name has at least one byte");
        if (size > OBJD_NAME_MAX)
                return fail(OBJD_E_TOOBIG, "the name has %zu bytes; a name has at most %u", size,
                            OBJD_NAME_MAX);
        if (!utf8_is_valid(name, size))
                return fail(OBJD_E_INVAL, "the name is not UTF-8");
        for (size_t i = 0; i < size; i++)
                if ((unsigned char)name[i] < 32 || name[i] == 127)
                        return fail(OBJD_E_INVAL, "the name has a control character at byte %zu", i);
        return OBJD_OK;
}

objd_status directory_check_config(objd_kind number, const objd_config *config)
{
        const struct kind *kind = kind_of(number);

        if (!kind)
                return fail(OBJD_E_INVAL, "there is no kind %d of object", (int)number);
        if (config->struct_size < sizeof(*config))
                return fail(OBJD_E_INVAL, "struct_size is %zu; start from OBJD_CONFIG_INIT",
                            config->struct_size);
        if ((unsigned)config->key_type > OBJD_REF || (unsigned)config->value_type > OBJD_REF)
                return fail(OBJD_E_INVAL, "there is no such type for keys or values");
        return kind->check_config(config);
}

/* A handle to whatever is there, also if it is poisoned or of no kind. */
static objd_status find_handle(struct objd_conn *conn, objd_ref ref, struct objd_object *ret_handle)
{
        struct object_shm *object;
        struct lane *lane;
        objd_status r = lane_enter_to_read(conn->arena, conn_timeout(conn), &lane);

        if (r)
                return r;
        conn_look_for_daemon(conn);
        *ret_handle = (struct objd_object){ .conn = conn, .serial = ref.serial };
        ret_handle->retire_seen = word_get_acquire(&conn->arena->header->retire_count);
        r = object_find(conn->arena, ref, &object);
        while (r == OBJD_OK) {
                uint64_t version = lock_read_begin(&object->line);

                ret_handle->shm = object;
                ret_handle->config = word_get(&object->line.config) & ~(0xffULL << OBJECT_STATE_SHIFT);
                ret_handle->plain_key = object_plain_key(ret_handle->config);
                if (word_get(&object->line.serial) != ref.serial)
                        r = object_gone(ret_handle);
                if (lock_version_is_stable(version) && lock_read_valid(&object->line, version))
                        break;
                r = lock_wait_stable(lane, &object->line);
        }
        lane_leave(lane);
        return r;
}

objd_status directory_handle(struct objd_conn *conn, objd_ref ref, struct objd_object *ret_handle)
{
        objd_status r = find_handle(conn, ref, ret_handle);

        if (r == OBJD_OK && !kind_of(object_kind(ret_handle->config)))
                return fail(OBJD_E_CORRUPT, "%s is damaged: it is of no kind", object_label(ret_handle));
        return r;
}

objd_status directory_names(struct objd_conn *conn, struct objd_object *ret_handle)
{
        const struct header_shm *header = conn->arena->header;
        struct object_shm *names = arena_at(conn->arena, header->names, SLOT_SIZE);

        if (!names)
                return fail(OBJD_E_CORRUPT, "the arena's dict of names is damaged");
        return directory_handle(conn, (objd_ref){ header->names, word_get(&names->line.serial) }, ret_handle);
}

/* ---- Making ------------------------------------------------------------------------------------------- */

/* The name's key in the dict of names, and the line that guards it. */
struct name {
        struct objd_object names;
        struct key key;
        struct line_shm *line;
};

static objd_status name_begin(struct objd_conn *conn, const char *text, struct name *ret_name)
{
        objd_value value = objd_cstr(text);
        objd_status r = directory_names(conn, &ret_name->names);

        return r ? r : key_make(conn->arena, ret_name->names.config, &value, &ret_name->key);
}

static objd_status name_plan(struct lane *lane, struct name *name, struct plan *plan)
{
        objd_status r = dict_line_of(lane, &name->names, &name->key, &name->line);

        return r ? r : plan_add(plan, name->line);
}

/* With the line locked: whether it is still the one. */
static objd_status name_verify(struct lane *lane, struct name *name)
{
        if (name->line->serial != name->names.serial || !dict_goes_by(&name->names, &name->key) ||
            dict_guard(lane->arena, name->names.shm, name->key.hash) != name->line)
                return OP_PLAN_AGAIN;
        return OBJD_OK;
}

/* The ref that stands under the name, with its line locked; serial 0 if there is none. */
static objd_status name_find(struct lane *lane, struct name *name, objd_ref *ret_ref)
{
        struct entry_shm *entry;
        objd_status r = dict_find(lane, name->line, &name->key, &entry);

        *ret_ref = (objd_ref){ 0, 0 };
        if (r == OBJD_OK && entry && entry_value_type(entry->head) == OBJD_REF) {
                const uint64_t *words = entry_value(entry, entry->head);

                *ret_ref = (objd_ref){ words[0], words[1] };
        }
        return r;
}

static objd_status name_put(struct lane *lane, struct name *name, objd_ref ref)
{
        objd_value value = objd_refer(ref);

        return dict_put(lane, name->names.shm, &name->key, &value);
}

/* Writes the name into the slot, or into a chunk of its own. "" takes it away. The object's line is locked. */
static objd_status store_name(struct lane *lane, struct object_shm *object, const char *name)
{
        uint64_t words[32] = { 0 }, old = object_name_chunk(object);
        size_t size = strlen(name);
        objd_status r = txn_reserve(lane, 64, 4);

        if (r == OBJD_OK && old)
                r = txn_free(lane, (struct chunk_shm *)(lane->arena->base + old));
        if (r)
                return r;
        memcpy(words, name, size);
        if (size > sizeof(object->name)) {
                struct chunk_shm *chunk;

                r = txn_take(lane, object, size, &chunk);
                if (r)
                        return r;
                words_in(chunk_data(chunk), words, size);
                words[0] = arena_off(lane->arena, chunk);
        }
        txn_write(lane, object->name, words, sizeof(object->name));
        txn_set(lane, (uint64_t *)(void *)&object->name_size, size);
        return OBJD_OK;
}

/*
 * Takes the object's slot and locks all that making it needs. The slot comes first and stands in the plan, though nobody can
 * find it: somebody who has meant the object that was there before may be about to lock it, and holds other locks in
 * order.
 */
static objd_status lock_for_making(struct lane *lane, struct plan *plan, struct object_shm **ret_object)
{
        objd_status r = txn_take_slot(lane, ret_object);

        if (r == OBJD_OK)
                r = plan_add(plan, &(*ret_object)->line);
        return r ? r : plan_lock(lane, plan);
}

/* Fills a slot whose line is locked. */
static objd_status make_object(struct lane *lane, struct object_shm *object, const char *name, objd_kind kind,
                               const objd_config *config, objd_ref *ret_ref)
{
        struct arena *arena = lane->arena;
        uint64_t serial;
        objd_status r = txn_reserve(lane, 256, 24);

        if (r)
                return r;
        serial = __atomic_fetch_add(&arena->header->pool.next_serial, 1, __ATOMIC_RELAXED);
        txn_set(lane, &object->line.serial, serial);
        txn_set(lane, &object->line.config, pack_config(kind, config));
        txn_set(lane, &object->owner, name ? 0 : lane_client(lane));
        txn_set(lane, (uint64_t *)(void *)&object->name_size, 0);
        word_set(&object->sequence, 0);
        if (name)
                r = store_name(lane, object, name);
        else
                __atomic_fetch_add(&arena_client(arena, id_number(lane_client(lane)))->n_anonymous, 1,
                                   __ATOMIC_RELAXED);
        if (r == OBJD_OK)
                r = kind_of(kind)->create(lane, object, config);
        *ret_ref = (objd_ref){ arena_off(arena, object), serial };
        return r;
}

static objd_status create_attempt(struct lane *lane, const char *text, objd_kind kind,
                                  const objd_config *config, struct name *name, objd_ref *ret_ref)
{
        struct object_shm *object;
        struct plan plan;
        objd_ref ref;
        objd_status r = OBJD_OK;

        plan.n = 0;
        if (text)
                r = name_plan(lane, name, &plan);
        if (r == OBJD_OK)
                r = rider_plan(lane, &plan);
        if (r)
                return r;
        txn_begin(lane, OP_CREATE);
        r = lock_for_making(lane, &plan, &object);
        if (r == OBJD_OK)
                r = rider_verify(lane);
        if (r == OBJD_OK && text)
                r = name_verify(lane, name);
        if (r == OBJD_OK && text)
                r = name_find(lane, name, &ref);
        if (r == OBJD_OK && text && ref.serial)
                r = fail(OBJD_E_EXISTS, "there is an object named \"%s\" already", text);
        if (r == OBJD_OK)
                r = make_object(lane, object, text, kind, config, &ref);
        if (r == OBJD_OK && text)
                r = name_put(lane, name, ref);
        if (r == OBJD_OK && lane->rider)
                lane->rider->made = ref;
        if (r == OBJD_OK)
                r = rider_apply(lane);
        if (r) {
                txn_abort(lane);
                return r;
        }
        r = txn_commit(lane);
        if (r == OBJD_OK)
                *ret_ref = ref;
        return r;
}

/* Somebody may have deleted the object by now; then the handle is one to a deleted object, as any other. */
static struct objd_object handle_of_new(struct objd_conn *conn, objd_ref ref, objd_kind kind,
                                        const objd_config *config)
{
        return (struct objd_object){
                .conn = conn,
                .shm = (struct object_shm *)(conn->arena->base + ref.place),
                .serial = ref.serial,
                .config = pack_config(kind, config),
        };
}

objd_status directory_create(struct objd_conn *conn, const char *text, objd_kind kind,
                             const objd_config *config, struct objd_object *ret_handle)
{
        uint32_t n_plans = 0;
        struct name name;
        struct lane *lane;
        uint64_t retired;
        objd_ref ref;
        objd_status r = directory_check_config(kind, config);

        if (r == OBJD_OK && text)
                r = directory_check_name(text);
        if (r == OBJD_OK && text)
                r = name_begin(conn, text, &name);
        if (r == OBJD_OK)
                r = lane_enter(conn->arena, conn_timeout(conn), &lane);
        if (r)
                return r;
        retired = word_get_acquire(&conn->arena->header->retire_count);
        do
                r = create_attempt(lane, text, kind, config, &name, &ref);
        while (op_once_more(lane, &name.names, &n_plans, &r));
        lane_leave(lane);
        if (r)
                return r;
        *ret_handle = handle_of_new(conn, ref, kind, config);
        ret_handle->retire_seen = retired;
        ret_handle->plain_key = object_plain_key(ret_handle->config);
        return OBJD_OK;
}

objd_status directory_lookup(struct objd_conn *conn, const char *text, objd_ref *ret_ref)
{
        objd_value key = objd_cstr(text), value;
        objd_buf buf = OBJD_BUF_INIT;
        struct objd_object names;
        objd_status r = directory_check_name(text);

        if (r == OBJD_OK)
                r = directory_names(conn, &names);
        if (r == OBJD_OK)
                r = dict_read(&names, &key, &value, &buf);
        objd_buf_free(&buf);
        if (r == OBJD_E_NOTFOUND)
                return fail(r, "there is no object named \"%s\"", text);
        if (r == OBJD_OK && value.type != OBJD_REF)
                return fail(OBJD_E_CORRUPT, "the arena's dict of names is damaged at \"%s\"", text);
        if (r == OBJD_OK)
                *ret_ref = value.u.ref;
        return r;
}

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
                r = store_name(lane, object, new);
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
                r = find_handle(conn, ref, &handle);
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

        return r || !owner || object->shm->owner == owner ? r : object_gone(object);
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
                r = store_name(lane, object->shm, text);
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
                    (!owner || word_get(&object->shm->owner) == owner))
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
                r = store_name(lane, object->shm, name);
        if (r == OBJD_OK) {
                txn_set(lane, &object->shm->owner, 0);
                r = txn_commit(lane);
        } else {
                txn_abort(lane);
        }
        lane_leave(lane);
        return r;
}

objd_status directory_disown(struct objd_object *object, uint64_t owner)
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
                        txn_set(lane, &object->shm->owner, 0);
                if (r == OBJD_OK)
                        r = txn_commit(lane);
                else
                        txn_abort(lane);
        }
        lane_leave(lane);
        return r;
}

/* ---- All objects -------------------------------------------------------------------------------------- */

/* The refs in one block of slots, as they are at this moment. */
static size_t refs_in_block(struct objd_conn *conn, uint64_t number, objd_ref *refs, uint64_t *owners)
{
        struct arena *arena = conn->arena;
        struct lane *lane;
        size_t n = 0;

        if (lane_enter(arena, conn_timeout(conn), &lane))
                return 0;
        if (__atomic_load_n(&arena->blocks[number].state, __ATOMIC_ACQUIRE) == BLOCK_SLOTS) {
                struct object_shm *slots = (struct object_shm *)(arena->data + (number << BLOCK_SHIFT));

                for (uint32_t slot = 1; slot < SLOTS_PER_BLOCK; slot++) {
                        uint64_t serial = word_get(&slots[slot].line.serial);

                        owners[n] = word_get(&slots[slot].owner);
                        /* Kind 0: the tail of a queue, which is no object of its own. */
                        if (serial && object_kind(word_get(&slots[slot].line.config)))
                                refs[n++] = (objd_ref){ arena_off(arena, &slots[slot]), serial };
                }
        }
        lane_leave(lane);
        return n;
}

objd_status directory_each(struct objd_conn *conn, directory_fn fn, void *context)
{
        struct arena *arena = conn->arena;
        objd_ref refs[SLOTS_PER_BLOCK];
        uint64_t owners[SLOTS_PER_BLOCK];
        objd_status r = OBJD_OK;

        for (uint64_t number = 0; number < arena_frontier(arena) && r == OBJD_OK; number++) {
                size_t n = 0;

                if (__atomic_load_n(&arena->blocks[number].state, __ATOMIC_RELAXED) == BLOCK_SLOTS)
                        n = refs_in_block(conn, number, refs, owners);
                for (size_t i = 0; i < n && r == OBJD_OK; i++)
                        if (refs[i].place != arena->header->names)
                                r = fn(context, refs[i], owners[i]);
        }
        return r;
}

struct reap {
        struct objd_conn *conn;
        uint64_t client;
};

static objd_status reap_object(void *context, objd_ref ref, uint64_t owner)
{
        struct reap *reap = context;
        struct objd_object handle;
        objd_status r;

        if (owner != reap->client)
                return OBJD_OK;
        r = directory_handle(reap->conn, ref, &handle);
        if (r == OBJD_OK)
                r = directory_destroy_own(&handle, owner);
        return r == OBJD_E_GONE || r == OBJD_E_CORRUPT ? OBJD_OK : r;
}

static objd_status reap_leases(void *context, objd_ref ref, uint64_t owner)
{
        struct reap *reap = context;
        struct object_shm *object;
        struct lane *lane;
        objd_status r = lane_enter(reap->conn->arena, conn_timeout(reap->conn), &lane);

        (void)owner;
        if (r)
                return r;
        r = object_find(reap->conn->arena, ref, &object);
        if (r == OBJD_OK && object_kind(word_get(&object->line.config)) == OBJD_QUEUE)
                r = queue_reap(lane, object, reap->client);
        lane_leave(lane);
        return r == OBJD_E_GONE || r == OBJD_E_CORRUPT ? OBJD_OK : r;
}

objd_status directory_reap_client(struct arena *arena, uint64_t client, int64_t timeout_ns)
{
        struct objd_conn conn = { .arena = arena, .timeout_ns = timeout_ns, .control = -1 };
        struct reap reap = { &conn, client };
        const struct client_shm *shm = arena_client(arena, id_number(client));
        const struct next_timeout next = next_timeout; /* of a call that we are not */
        objd_status r = OBJD_OK;

        next_timeout.set = false;
        if (word_get(&shm->n_anonymous))
                r = bundle_finish(&conn, client, NULL);
        if (r == OBJD_OK && word_get(&shm->n_anonymous))
                r = directory_each(&conn, reap_object, &reap);
        if (r == OBJD_OK && (word_get(&shm->flags) & CLIENT_HAS_LEASED))
                r = directory_each(&conn, reap_leases, &reap);
        next_timeout = next;
        return r;
}

/* ---- A new arena -------------------------------------------------------------------------------------- */

static objd_status make_names(struct arena *arena)
{
        objd_config config = OBJD_CONFIG_INIT;
        struct object_shm *object;
        struct plan plan = { .n = 0 };
        struct lane *lane;
        objd_ref ref;
        objd_status r = lane_enter(arena, DIRECTORY_TIMEOUT_NS, &lane);

        if (r)
                return r;
        config.key_type = OBJD_STR;
        config.value_type = OBJD_REF;
        txn_begin(lane, OP_CREATE);
        r = lock_for_making(lane, &plan, &object);
        if (r == OBJD_OK)
                r = make_object(lane, object, "", OBJD_DICT, &config, &ref);
        if (r == OBJD_OK)
                r = txn_commit(lane);
        else
                txn_abort(lane);
        lane_leave(lane);
        if (r)
                return r;
        arena->header->names = ref.place;
        header_seal(arena->header);
        __atomic_store_n(&arena->header->state, ARENA_READY, __ATOMIC_RELEASE);
        return OBJD_OK;
}

objd_status directory_create_arena(int fd, uint64_t size, bool by_process, struct arena **ret_arena)
{
        struct arena *arena;
        objd_status r = arena_create(fd, size, &arena);

        if (r) {
                close(fd);
                return r;
        }
        arena->by_process = by_process;
        r = make_names(arena);
        if (r) {
                lane_release_own(arena);
                arena_unref(arena); /* closes fd */
                return r;
        }
        *ret_arena = arena;
        return OBJD_OK;
}
