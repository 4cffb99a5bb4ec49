/* SPDX-License-Identifier: Apache-2.0 */

/*
 * check_names.c -- checking that names and objects belong to one another
 *
 * An object and its entry in the dict of names change in one step, but they are read in two. So whatever
 * does not fit is looked at again, and is a fault only if neither has changed in between.
 */

#include "object/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/sys.h"
#include "base/utf8.h"
#include "object/dict.h"
#include "object/directory.h"
#include "txn/txn.h"

/* A pair that does not fit is looked at this often. */
#define ATTEMPTS 20

/* ---- From names to objects ---------------------------------------------------------------------------- */

/* What the dict of names has under a name: a ref, or serial 0. */
static objd_status look_up(struct check *check, const char *name, size_t size, objd_ref *ret_ref)
{
        objd_value key = objd_str(name, size), value;
        objd_buf buf = OBJD_BUF_INIT;
        struct objd_object names;
        objd_status r;

        *ret_ref = (objd_ref){ 0, 0 };
        if (!utf8_is_valid(name, size))
                return OBJD_OK; /* no key is like this */
        r = directory_names(check->conn, &names);
        if (r == OBJD_OK)
                r = dict_read(&names, &key, &value, &buf);
        objd_buf_free(&buf);
        if (r == OBJD_OK && value.type == OBJD_REF)
                *ret_ref = value.u.ref;
        return r == OBJD_E_NOTFOUND ? OBJD_OK : r;
}

/*
 * Whether the object that ref names is there and has this name. Its line is frozen meanwhile: it may just be given its
 * name, or be deleted. If somebody does not let go of it, there is nothing to be said.
 */
static objd_status has_name(struct check *check, objd_ref ref, const char *name, size_t size, bool *ret_yes)
{
        char own[OBJD_NAME_MAX + 1] = "";
        struct object_shm *object;
        objd_status r = check_enter(check);

        if (r)
                return r;
        *ret_yes = false;
        if (object_find(check->arena, ref, &object) == OBJD_OK) {
                r = lock_freeze(check->lane, &object->line);
                *ret_yes = r || (object_name(check->arena, object, ref.serial, own) && strlen(own) == size &&
                                 memcmp(own, name, size) == 0);
                txn_unlock(check->lane);
        }
        check_leave(check);
        return r == OBJD_E_BUSY ? OBJD_OK : r;
}

static objd_status check_name(void *context, const objd_value *key, const objd_value *value)
{
        struct check *check = context;
        objd_ref ref = value->u.ref, now = ref;
        objd_status r = OBJD_OK;
        bool yes = false;

        if (!key || key->type != OBJD_STR || value->type != OBJD_REF ||
            !utf8_is_valid(key->data, key->size)) {
                check_label(check, "(names)");
                check_fail(check, "an entry is no name with a ref");
                return OBJD_OK;
        }
        for (int i = 0; i < ATTEMPTS && now.serial == ref.serial && !yes && r == OBJD_OK; i++) {
                r = has_name(check, ref, key->data, key->size, &yes);
                if (r == OBJD_OK && !yes)
                        r = look_up(check, key->data, key->size, &now);
        }
        check_label(check, "(names)");
        if (r == OBJD_OK && !yes && now.serial == ref.serial)
                check_fail(check,
                           "\"%.*s\" stands for #%" PRIu64 ".%" PRIu64
                           ", but there is no object of that name",
                           (int)(key->size < 100 ? key->size : 100), (const char *)key->data, ref.place,
                           ref.serial);
        return r;
}

/* ---- From objects to names ---------------------------------------------------------------------------- */

/* Whether the object still has this name, and the dict of names still says otherwise. */
static objd_status check_entry(struct check *check, objd_ref ref, const char *name)
{
        bool yes = true, found = false;
        objd_status r = OBJD_OK;
        objd_ref now;

        for (int i = 0; i < ATTEMPTS && yes && !found && r == OBJD_OK; i++) {
                r = look_up(check, name, strlen(name), &now);
                found = now.serial == ref.serial && now.place == ref.place;
                if (r == OBJD_OK && !found)
                        r = has_name(check, ref, name, strlen(name), &yes);
        }
        check_label(check, "%.*s", OBJD_NAME_MAX, name);
        if (r == OBJD_OK && yes && !found)
                check_fail(check, "it cannot be found by its name");
        return r;
}

static objd_status check_slot_name(struct check *check, uint64_t place)
{
        char name[OBJD_NAME_MAX + 1] = "";
        struct object_shm *object;
        objd_ref ref = { .place = place };
        objd_status r = check_enter(check);

        if (r)
                return r;
        if (check_slot_is_used(check->arena, place)) {
                object = (struct object_shm *)(check->arena->base + place);
                ref.serial = word_get(&object->line.serial);
                if (ref.serial && !object_name(check->arena, object, ref.serial, name))
                        *name = 0;
        }
        check_leave(check);
        return *name ? check_entry(check, ref, name) : OBJD_OK;
}

static objd_status check_slot_names(struct check *check)
{
        const struct arena *arena = check->arena;
        objd_status r = OBJD_OK;

        for (uint64_t number = 0;
             number < arena->n_blocks && number < word_get(&arena->header->pool.frontier); number++)
                for (uint32_t slot = 1; slot < SLOTS_PER_BLOCK && arena->blocks[number].state == BLOCK_SLOTS;
                     slot++) {
                        r = check_slot_name(check,
                                            arena->data_off + (number << BLOCK_SHIFT) + slot * SLOT_SIZE);
                        if (r)
                                return r;
                }
        return r;
}

objd_status check_names(struct check *check)
{
        struct objd_object names;
        objd_status r;

        r = directory_names(check->conn, &names);
        if (r == OBJD_OK)
                r = dict_kind.walk(&names, UINT64_MAX, check_name, check);
        if (r == OBJD_OK)
                r = check_slot_names(check);
        if (r != OBJD_E_CORRUPT && r != OBJD_E_GONE)
                return r;
        /* The checks of the dict itself have said more; without it there is nothing to compare with. */
        check_label(check, "(names)");
        check_fail(check, "%s", objd_last_error());
        return OBJD_OK;
}
