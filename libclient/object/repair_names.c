/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair_names.c -- the dict of names, and what an object's slot says of its name
 *
 * Each name is written down twice: in the dict of names, where its hash vouches for it, and in the object's slot. So the dict
 * can be made anew from the slots, and a slot's name can be had from the dict.
 */

#include "object/repair.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/life.h"
#include "base/status.h"
#include "base/utf8.h"
#include "object/dict.h"
#include "object/directory.h"
#include "object/salvage.h"
#include "object/value.h"

#define NAMES_CONFIG (OBJD_DICT | OBJD_STR << 8 | OBJD_REF << 16)
#define NAMES_SERIAL 1u /* it is the first object of every arena */

/* ---- The dict itself ------------------------------------------------------------------------------------ */

static int compare_places(const void *a, const void *b)
{
        const struct repair_name *x = a, *y = b;

        return x->ref.place < y->ref.place ? -1 : x->ref.place > y->ref.place;
}

const struct repair_name *repair_name_of(const struct repair *repair, uint64_t place)
{
        const struct repair_name key = { .ref = { place, 0 } };

        return repair->n_names ? bsearch(&key, repair->names, repair->n_names, sizeof(key), compare_places)
                               : NULL;
}

/* A name that objects may have, in the encoding that names have. */
static bool is_name(const struct visit *visit)
{
        return visit->key_type == OBJD_STR && visit->key_size && visit->key_size <= OBJD_NAME_MAX &&
               utf8_is_valid(visit->key, visit->key_size) && visit->type == OBJD_REF && visit->size == 16;
}

static objd_status note_name(void *context, const struct visit *visit)
{
        struct repair *repair = context;
        struct repair_name *names, *name;
        char *text;

        if (!is_name(visit)) {
                repair->names_are_mixed = true;
                return OBJD_OK;
        }
        if (repair->names_are_noted)
                return OBJD_OK;
        names = repair_grow(repair, repair->names, repair->n_names, &repair->room_names, sizeof(*names));
        text = names ? strndup(visit->key, visit->key_size) : NULL;
        if (names)
                repair->names = names;
        if (!text) {
                repair->no_memory = true;
                return OBJD_E_NOMEM;
        }
        name = &names[repair->n_names++];
        *name = (struct repair_name){ .name = text };
        memcpy(&name->ref, visit->bytes, sizeof(name->ref));
        return OBJD_OK;
}

/* What the dict says, sound or not; once, since later it says what we have written. */
static objd_status note_names(struct repair *repair, uint64_t place)
{
        objd_status r;

        repair->names_are_mixed = false;
        r = salvage_visit(repair->arena, repair->check.lane, place, note_name, repair);
        if (repair->n_names && !repair->names_are_noted)
                qsort(repair->names, repair->n_names, sizeof(*repair->names), compare_places);
        repair->names_are_noted |= repair->n_names != 0;
        return r;
}

/* What the line says is known. */
static void mend_line(struct repair *repair, struct object_shm *names)
{
        struct line_shm *line = &names->line;
        uint64_t config = (line->config & OBJECT_KEYED) | NAMES_CONFIG;

        if (line->config == config && line->serial == NAMES_SERIAL && !names->name_size && !names->owner)
                return;
        repair_say(repair, REPAIR_MENDED, "its line said that it is something else");
        word_set(&line->config, config);
        word_set(&line->serial, NAMES_SERIAL);
        names->name_size = 0;
        word_set(&names->owner, 0);
}

static void make_empty(struct repair *repair, struct object_shm *names)
{
        repair_say(repair, REPAIR_MENDED, "it is made anew, of the names that objects say they have");
        for (int i = 0; i < 5; i++)
                word_set(&names->line.root[i], 0);
        word_set(&names->line.config, NAMES_CONFIG);
}

objd_status repair_names_first(struct repair *repair)
{
        struct arena *arena = repair->arena;
        uint64_t place = arena->header->names, number = repair_block_of(arena, place);
        struct object_shm *names = arena_at(arena, place, SLOT_SIZE);
        objd_status r;
        bool is_sound;

        if (!names || place % SLOT_SIZE || place - repair_block_off(arena, number) < SLOT_SIZE)
                return fail(OBJD_E_CORRUPT, "the header does not say where the names are");
        check_label(&repair->check, "(names)");
        arena->blocks[number].state = BLOCK_SLOTS;
        mend_line(repair, names);
        is_sound = repair_object(repair, place);
        r = note_names(repair, place);
        if (is_sound && !repair->names_are_mixed)
                return r;
        if (is_sound)
                repair_forget(repair); /* what was marked is only what it has */
        check_label(&repair->check, "(names)");
        make_empty(repair, names);
        return r || repair_object(repair, place)
                       ? r
                       : fail(OBJD_E_CORRUPT, "the dict of names cannot be made anew");
}

/* ---- Names and objects ---------------------------------------------------------------------------------- */

static objd_status run_on_names(struct repair *repair, enum op_code code, const char *name,
                                const objd_ref *ref)
{
        objd_value key = objd_cstr(name), value = ref ? objd_refer(*ref) : objd_nil();
        struct objd_object names;
        struct op op;
        objd_status r = directory_names(repair->conn, &names);

        if (r)
                return r;
        op_init(&op, code, &names);
        op.key = &key;
        op.value = ref ? &value : NULL;
        return op_run_one(&op);
}

/* The name that the object's slot says; false: none. */
static bool own_name(const struct repair *repair, objd_ref ref, char ret_name[OBJD_NAME_MAX + 1])
{
        return object_name(repair->arena, repair_object_at(repair->arena, ref.place), ref.serial, ret_name) &&
               *ret_name;
}

/* A further line of an object has a serial as well, and is nothing that could have a name. */
static bool is_there(const struct repair *repair, objd_ref ref)
{
        const struct object_shm *object;

        if (!ref.serial || !check_slot_is_used(repair->arena, ref.place))
                return false;
        object = repair_object_at(repair->arena, ref.place);
        return object->line.serial == ref.serial && !check_is_further_line(object);
}

/* An entry of the dict as it was found. The object that it names gets the name, unless it has one that is as good. */
static objd_status settle_name(struct repair *repair, const struct repair_name *name)
{
        char own[OBJD_NAME_MAX + 1] = "";
        struct objd_object handle;
        objd_ref now;
        objd_status r = directory_lookup(repair->conn, name->name, &now);
        bool stands = r == OBJD_OK && now.serial == name->ref.serial && now.place == name->ref.place;

        if (!is_there(repair, name->ref))
                return OBJD_OK; /* somebody else may have this name */
        check_label(&repair->check, "%s", name->name);
        (void)own_name(repair, name->ref, own);
        if (strcmp(own, name->name) == 0)
                return OBJD_OK;
        if (*own && directory_lookup(repair->conn, own, &now) == OBJD_OK && now.serial == name->ref.serial) {
                repair_say(repair, REPAIR_MENDED, "the object of this name is called \"%s\"", own);
                return stands ? run_on_names(repair, OP_DICT_DEL, name->name, NULL) : OBJD_OK;
        }
        r = directory_handle(repair->conn, name->ref, &handle);
        if (r == OBJD_OK)
                r = directory_restore_name(&handle, name->name);
        if (r == OBJD_OK)
                repair_say(repair, REPAIR_MENDED, "it has its name again, which the dict of names knew");
        return r;
}

/* What is left of the names of objects that are not there. */
static objd_status drop_name(struct repair *repair, const struct repair_name *name)
{
        objd_ref now;

        if (is_there(repair, name->ref) || directory_lookup(repair->conn, name->name, &now) ||
            now.serial != name->ref.serial || now.place != name->ref.place)
                return OBJD_OK;
        check_label(&repair->check, "%s", name->name);
        repair_say(repair, REPAIR_DROPPED, "there is no object of this name any more");
        return run_on_names(repair, OP_DICT_DEL, name->name, NULL);
}

/* Nobody could find it, or name it: it gets a name by which it can be seen and deleted. */
static objd_status name_lost(struct repair *repair, objd_ref ref, const char *why)
{
        struct objd_object handle;
        char name[64];
        objd_status r = directory_handle(repair->conn, ref, &handle);

        (void)snprintf(name, sizeof(name), "lost.%" PRIu64 ".%" PRIu64, ref.place, ref.serial);
        if (r == OBJD_OK)
                r = directory_restore_name(&handle, name);
        check_label(&repair->check, "%s", name);
        if (r == OBJD_OK)
                repair_say(repair, REPAIR_MENDED, "%s, and it is called so now", why);
        return r;
}

/* An anonymous object of a client that is gone goes as well, if there has been such a client. */
static objd_status settle_anonymous(struct repair *repair, objd_ref ref, uint64_t owner)
{
        struct arena *arena = repair->arena;
        const struct client_shm *client = arena_client(arena, id_number(owner));
        struct objd_object handle;
        objd_status r;

        if (!owner || client_is_alive(arena, owner))
                return OBJD_OK;
        if (!id_number(owner) || id_number(owner) >= word_get(&arena->header->clients_high) ||
            !id_generation(owner) || id_generation(owner) > client->generation)
                return name_lost(repair, ref, "it was a client's that there has never been");
        r = directory_handle(repair->conn, ref, &handle);
        check_label(&repair->check, "#%" PRIu64 ".%" PRIu64, ref.place, ref.serial);
        if (r == OBJD_OK)
                r = directory_destroy(&handle);
        if (r == OBJD_OK)
                repair_say(repair, REPAIR_MENDED, "its client is gone, and so is it");
        return r;
}

/* An object as it was found. */
static objd_status settle_object(void *context, objd_ref ref, uint64_t owner)
{
        struct repair *repair = context;
        const struct repair_name *was = repair_name_of(repair, ref.place);
        char own[OBJD_NAME_MAX + 1];
        objd_ref now;
        objd_status r;

        if (!own_name(repair, ref, own))
                return was && was->ref.serial == ref.serial ? OBJD_OK : settle_anonymous(repair, ref, owner);
        r = directory_lookup(repair->conn, own, &now);
        if (r == OBJD_OK && now.serial == ref.serial && now.place == ref.place)
                return OBJD_OK;
        check_label(&repair->check, "%s", own);
        if (r == OBJD_OK && is_there(repair, now))
                return name_lost(repair, ref, "another object has its name");
        r = run_on_names(repair, OP_DICT_SET, own, &ref);
        if (r == OBJD_OK)
                repair_say(repair, REPAIR_MENDED, "it can be found by its name again");
        return r;
}

objd_status repair_names(struct repair *repair)
{
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < repair->n_names && r == OBJD_OK; i++)
                r = settle_name(repair, &repair->names[i]);
        if (r == OBJD_OK)
                r = directory_each(repair->conn, settle_object, repair);
        for (size_t i = 0; i < repair->n_names && r == OBJD_OK; i++)
                r = drop_name(repair, &repair->names[i]);
        return r;
}
