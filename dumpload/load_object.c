/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_object.c -- one object after the other being made of a dump's lines
 */

#include "dumpload/load_object.h"

#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "dumpload/format.h"
#include "dumpload/load_store.h"
#include "dumpload/names.h"
#include "object/directory.h"
#include "object/value.h"

#define BASE64 sodium_base64_VARIANT_ORIGINAL

objd_status load_here(const struct load *load, objd_status r)
{
        return load_here_at(load, load->lines->n, r);
}

objd_status load_here_at(const struct load *load, uint64_t line, objd_status r)
{
        char why[512];

        if (!r)
                return r;
        snprintf(why, sizeof(why), "%s", objd_last_error());
        return lines_fail_at(
                load->lines, line, r, "%s%s", why,
                r == OBJD_E_NOMEM ? "; delete something, or load it into a larger store (objd --size)" : "");
}

static objd_status invalid(const struct load *load, const char *why)
{
        return lines_fail(load->lines, OBJD_E_INVAL, "%s", why);
}

/* ---- Numbers ------------------------------------------------------------------------------------------ */

/* The next number's place; objects are numbered in the order in which the dump speaks of them. */
static objd_status add_object(struct load *load, const struct line *line, struct loaded **ret_loaded)
{
        if (line->number != load->len + 1)
                return lines_fail(load->lines, OBJD_E_INVAL, "object %llu comes where object %zu should",
                                  (unsigned long long)line->number, load->len + 1);
        if (load->len == load->room) {
                size_t room = load->room ? 2 * load->room : 64;
                struct loaded *objects = realloc(load->objects, room * sizeof(*objects));

                if (!objects)
                        return lines_fail(load->lines, OBJD_E_NOMEM, "no memory for %zu objects", room);
                load->objects = objects;
                load->room = room;
        }
        *ret_loaded = &load->objects[load->len];
        **ret_loaded = (struct loaded){ 0 };
        if (line->name) {
                (*ret_loaded)->name = strdup(line->name);
                if (!(*ret_loaded)->name)
                        return lines_fail(load->lines, OBJD_E_NOMEM, "no memory for a name");
        }
        load->len++;
        return OBJD_OK;
}

/* Whether the store has an object of this name, which stays: then *ret_ref is it. */
static objd_status find_existing(const struct load *load, const char *name, bool *ret_stays,
                                 objd_ref *ret_ref)
{
        objd_status r = directory_check_name(name);

        *ret_stays = false;
        if (r == OBJD_OK)
                r = load_store_lookup(load->conn, name, ret_ref);
        if (r == OBJD_E_NOTFOUND || (r == OBJD_OK && load->existing == LOAD_REPLACE))
                return OBJD_OK;
        if (r)
                return load_here(load, r);
        if (load->existing == LOAD_REFUSE)
                return lines_fail(load->lines, OBJD_E_EXISTS, "there is an object named \"%s\" already",
                                  name);
        *ret_stays = true;
        return OBJD_OK;
}

/*
 * Makes the object of a number, empty and without a name, or finds that another one stays in its place. If its entries come next, it
 * is the object under way.
 */
static objd_status make(struct load *load, const struct line *line, struct loaded *loaded)
{
        bool stays = false;
        objd_object *object;
        objd_status r = OBJD_OK;

        if (loaded->name)
                r = find_existing(load, loaded->name, &stays, &loaded->ref);
        if (r || stays) {
                loaded->state = stays ? LOADED_EXISTING : LOADED_GONE;
                return r;
        }
        loaded->state = LOADED_GONE; /* until there is something to delete */
        loaded->ref = (objd_ref){ 0, 0 };
        r = objd_create(load->conn, NULL, line->object_kind, &line->config, &object);
        if (r)
                return load_here(load, r);
        loaded->ref = objd_ref_of(object);
        loaded->state = LOADED_DECLARED;
        if (line->kind == LINE_OBJECT)
                load->object = object;
        else
                objd_release(object);
        return OBJD_OK;
}

objd_status load_declare(struct load *load, const struct line *line)
{
        struct loaded *loaded;
        objd_status r;

        if (load->parts.pending)
                return invalid(load, "an object is declared in the middle of a value");
        r = add_object(load, line, &loaded);
        return r ? r : make(load, line, loaded);
}

/* ---- Objects ------------------------------------------------------------------------------------------ */

static objd_status check_state(const struct load *load, const struct line *line)
{
        const struct object_state *state = &line->state;
        bool queue = line->object_kind == OBJD_QUEUE, lock = line->object_kind == OBJD_LOCK;

        if (line->has_len == lock)
                return invalid(load, lock ? "a lock has no len" : "the object's len is missing");
        if (!queue && (state->closed || state->poisoned || state->unfinished != state->len))
                return invalid(load, "only a queue is closed or poisoned, or has unfinished tasks");
        if (!lock && (state->taken || state->token))
                return invalid(load, "only a lock is taken, or has a token");
        return OBJD_OK;
}

/* An object that was declared comes as what it was declared to be. */
static objd_status check_declared(const struct load *load, const struct line *line)
{
        const struct loaded *loaded = &load->objects[line->number - 1];
        objd_info info;

        if (loaded->state != LOADED_DECLARED && loaded->state != LOADED_EXISTING)
                return lines_fail(load->lines, OBJD_E_INVAL, "object %llu comes for the second time",
                                  (unsigned long long)line->number);
        if (loaded->state == LOADED_EXISTING)
                return OBJD_OK;
        if (objd_info_get(load->object, &info))
                return invalid(load, "the object has been deleted by somebody else");
        if (info.kind != line->object_kind || info.config.key_type != line->config.key_type ||
            info.config.value_type != line->config.value_type || info.config.order != line->config.order ||
            info.config.bound != line->config.bound || info.config.lock_flags != line->config.lock_flags)
                return lines_fail(load->lines, OBJD_E_INVAL, "object %llu was declared as something else",
                                  (unsigned long long)line->number);
        return OBJD_OK;
}

/* It may have been given a name, or another one, since it was declared. */
static objd_status take_name(struct load *load, const struct line *line, struct loaded *loaded)
{
        objd_ref ref;
        bool stays;
        objd_status r;

        if (loaded->name && line->name && strcmp(loaded->name, line->name) == 0)
                return OBJD_OK;
        if (loaded->state == LOADED_EXISTING)
                return invalid(load, "the object was declared with another name, under which one stays");
        free(loaded->name);
        loaded->name = line->name ? strdup(line->name) : NULL;
        if (!line->name)
                return OBJD_OK;
        if (!loaded->name)
                return lines_fail(load->lines, OBJD_E_NOMEM, "no memory for a name");
        r = find_existing(load, line->name, &stays, &ref);
        if (r == OBJD_OK && stays)
                return invalid(load, "the object was declared without the name under which one stays");
        return r;
}

/* What the object is beyond its entries, as far as it must be known before them. */
static objd_status open_object(struct load *load, const struct line *line)
{
        struct loaded *loaded = &load->objects[line->number - 1];
        bool is_new = load->object != NULL;
        objd_status r = OBJD_OK;

        if (loaded->state == LOADED_DECLARED && !is_new)
                r = load_here(load, objd_open_ref(load->conn, loaded->ref, OBJD_KIND_ANY, &load->object));
        if (r == OBJD_OK && !is_new)
                r = check_declared(load, line);
        if (r == OBJD_OK)
                r = take_name(load, line, loaded);
        if (r)
                return r;
        load->number = (uint32_t)line->number;
        load->kind = line->object_kind;
        load->config = line->config;
        load->state = line->state;
        load->n_entries = 0;
        if (!load->object)
                return OBJD_OK;
        loaded->state = LOADED_OPEN;
        return load_here(load, load_store_begin(load->object, load->kind, &load->state));
}

objd_status load_begin(struct load *load, const struct line *line)
{
        objd_status r;

        if (load->number)
                return lines_fail(load->lines, OBJD_E_INVAL, "object %u has not come to its end",
                                  load->number);
        if (!line->number || line->number > load->len + 1)
                return lines_fail(load->lines, OBJD_E_INVAL, "object %llu comes where object %zu should",
                                  (unsigned long long)line->number, load->len + 1);
        r = check_state(load, line);
        if (r == OBJD_OK && line->number == load->len + 1)
                r = load_declare(load, line);
        return r ? r : open_object(load, line);
}

static void close_object(struct load *load)
{
        load_forget_pending(load);
        objd_release(load->object);
        load->object = NULL;
        load->number = 0;
        given_free(&load->parts.key);
        free(load->parts.memory);
        free(load->parts.name);
        load->parts = (struct parts){ 0 };
}

static objd_status finish_object(struct load *load)
{
        objd_status r = load_flush(load);

        if (r)
                return r;
        r = load_store_end(load->object, load->kind, &load->state);
        if (r == OBJD_OK && load->state.closed)
                r = objd_queue_close(load->object);
        if (r == OBJD_OK && load->state.poisoned)
                r = objd_queue_poison(load->object);
        return load_here(load, r);
}

/* It was damaged when the dump was made: what has come of it goes. */
static objd_status drop(struct load *load, struct loaded *loaded)
{
        objd_object *object;
        objd_status r;

        load->report->n_damaged++;
        if (loaded->state != LOADED_OPEN && loaded->state != LOADED_DECLARED)
                return OBJD_OK;
        r = objd_open_ref(load->conn, loaded->ref, OBJD_KIND_ANY, &object);
        if (r == OBJD_OK) {
                r = objd_destroy(object);
                objd_release(object);
        }
        loaded->state = LOADED_GONE;
        loaded->ref = (objd_ref){ 0, 0 };
        return load_here(load, r);
}

objd_status load_end(struct load *load, const struct line *line)
{
        struct loaded *loaded;
        objd_status r = OBJD_OK;

        if (!load->number || line->number != load->number)
                return invalid(load, "this is the end of an object that has not begun");
        loaded = &load->objects[load->number - 1];
        if (line->damaged) {
                close_object(load);
                return drop(load, loaded);
        }
        if (load->parts.pending)
                return invalid(load, "the object ends in the middle of a value");
        if (load->kind != OBJD_LOCK && load->n_entries != load->state.len)
                return lines_fail(load->lines, OBJD_E_INVAL,
                                  "the object should have %llu entries and has %llu",
                                  (unsigned long long)load->state.len, (unsigned long long)load->n_entries);
        if (load->object)
                r = finish_object(load);
        if (load->object)
                loaded->state = LOADED_WHOLE;
        else
                load->report->n_skipped++;
        close_object(load);
        return r;
}

objd_status load_gone(struct load *load, const struct line *line)
{
        struct loaded *loaded;
        objd_status r;

        if (load->number)
                return lines_fail(load->lines, OBJD_E_INVAL, "object %u has not come to its end",
                                  load->number);
        if (line->number && line->number <= load->len) {
                loaded = &load->objects[line->number - 1];
                if (loaded->state != LOADED_DECLARED && loaded->state != LOADED_EXISTING)
                        return invalid(load, "the object has come already");
        } else {
                r = add_object(load, line, &loaded);
                if (r)
                        return r;
                loaded->state = LOADED_GONE;
        }
        r = drop(load, loaded);
        if (!line->damaged)
                load->report->n_damaged--;
        return r;
}

/* ---- Entries ------------------------------------------------------------------------------------------ */

static objd_status put(struct load *load, const objd_value *key, int64_t priority, const objd_value *value)
{
        load->n_entries++;
        if (load->n_entries > load->state.len)
                return lines_fail(load->lines, OBJD_E_INVAL,
                                  "the object should have %llu entries and has more",
                                  (unsigned long long)load->state.len);
        return load->object ? load_put(load, key, priority, value) : OBJD_OK;
}

/* {"ref":5}, {"ref":null}: false if it is none of them. */
static bool is_ref(struct json_object *json, struct json_object **ret_inside)
{
        return json_object_is_type(json, json_type_object) && json_object_object_length(json) == 1 &&
               json_object_object_get_ex(json, "ref", ret_inside);
}

static objd_status read_ref(const struct load *load, struct json_object *json, objd_value *ret_value)
{
        uint64_t number;

        *ret_value = objd_refer((objd_ref){ 0, 0 });
        if (!json)
                return OBJD_OK;
        if (!json_object_is_type(json, json_type_int))
                return invalid(load, "a ref in a dump is the number of an object, or null");
        number = json_object_get_uint64(json);
        if (!number || number > load->len)
                return lines_fail(load->lines, OBJD_E_INVAL, "object %llu has not been declared",
                                  (unsigned long long)number);
        ret_value->u.ref = load->objects[number - 1].ref;
        return OBJD_OK;
}

static objd_status read_value(const struct load *load, struct json_object *json, struct given *ret_given)
{
        struct json_object *inside;
        const char *why;

        if (is_ref(json, &inside))
                return read_ref(load, inside, &ret_given->value);
        if (!json_value_of(json, ret_given, &why))
                return lines_fail(load->lines, OBJD_E_INVAL, "a value makes no sense: %s", why);
        return OBJD_OK;
}

/* ---- Large values ------------------------------------------------------------------------------------- */

static bool get_text(struct json_object *json, const char *name, const char **ret)
{
        struct json_object *field;

        if (!json_object_object_get_ex(json, name, &field) || !json_object_is_type(field, json_type_string))
                return false;
        *ret = json_object_get_string(field);
        return true;
}

static bool read_shape(struct json_object *json, objd_value *value)
{
        struct json_object *shape;
        const char *dtype;

        if (!get_text(json, "dtype", &dtype) || !dtype_by_name(dtype, &value->dtype) ||
            !json_object_object_get_ex(json, "shape", &shape) ||
            !json_object_is_type(shape, json_type_array) || json_object_array_length(shape) > OBJD_NDIM_MAX)
                return false;
        value->ndim = (uint32_t)json_object_array_length(shape);
        for (uint32_t i = 0; i < value->ndim; i++) {
                struct json_object *n = json_object_array_get_idx(shape, i);

                if (!json_object_is_type(n, json_type_int) || json_object_get_int64(n) < 0)
                        return false;
                value->shape[i] = json_object_get_uint64(n);
        }
        return true;
}

static bool read_message_name(struct json_object *json, struct parts *parts)
{
        struct json_object *name;
        size_t size;

        if (!json_object_object_get_ex(json, "name", &name) || !json_object_is_type(name, json_type_string))
                return false;
        size = (size_t)json_object_get_string_len(name);
        parts->name = malloc(size + 1);
        if (!parts->name)
                return false;
        memcpy(parts->name, json_object_get_string(name), size);
        parts->value.name = parts->name;
        parts->value.name_size = (uint32_t)size;
        return true;
}

static bool read_parts_head(struct json_object *json, struct parts *parts)
{
        struct json_object *size;
        const char *type;

        if (!get_text(json, "type", &type) || !type_by_name(type, &parts->value.type) ||
            !json_object_object_get_ex(json, "size", &size) || !json_object_is_type(size, json_type_int) ||
            json_object_get_int64(size) < 0 || json_object_get_uint64(size) > OBJD_VALUE_MAX)
                return false;
        parts->size = (size_t)json_object_get_uint64(size);
        switch (parts->value.type) {
        case OBJD_STR:
        case OBJD_BYTES:
                return true;
        case OBJD_ARRAY:
                return read_shape(json, &parts->value);
        case OBJD_MESSAGE:
                return read_message_name(json, parts);
        default:
                return false;
        }
}

/* Memory as the parts come, and not as their first line says: a number is written quickly. */
static objd_status reserve(struct load *load, size_t more)
{
        struct parts *parts = &load->parts;
        size_t room = parts->room;
        uint8_t *memory;

        if (more > parts->size - parts->have)
                return invalid(load, "the value has more bytes than its size says");
        while (room < parts->have + more)
                room = room ? 2 * room : 2 * FORMAT_PART;
        if (room == parts->room)
                return OBJD_OK;
        if (room > parts->size)
                room = parts->size;
        memory = realloc(parts->memory, room);
        if (!memory)
                return lines_fail(load->lines, OBJD_E_NOMEM, "no memory for a value of %zu bytes",
                                  parts->size);
        parts->memory = memory;
        parts->room = room;
        return OBJD_OK;
}

static objd_status end_parts(struct load *load)
{
        struct parts parts = load->parts;
        objd_status r;

        if (parts.have < parts.size)
                return OBJD_OK;
        load->parts = (struct parts){ 0 };
        parts.value.data = parts.memory ? (const void *)parts.memory : "";
        parts.value.size = parts.size;
        r = put(load, &parts.key.value, parts.priority, &parts.value);
        given_free(&parts.key);
        free(parts.memory);
        free(parts.name);
        return r;
}

objd_status load_part(struct load *load, const struct line *line)
{
        struct parts *parts = &load->parts;
        const char *text = json_object_get_string(line->json), *end;
        size_t size = (size_t)json_object_get_string_len(line->json), n = size;
        objd_status r;

        if (!parts->pending)
                return invalid(load, "a part of a value stands where there is none");
        if (!size)
                return invalid(load, "a part of a value is empty");
        if (parts->value.type != OBJD_STR)
                n = size / 4 * 3 - (text[size - 1] == '=') - (size > 1 && text[size - 2] == '=');
        r = size % 4 && parts->value.type != OBJD_STR ? invalid(load, "a part is no base64")
                                                      : reserve(load, n);
        if (r)
                return r;
        if (parts->value.type == OBJD_STR)
                memcpy(parts->memory + parts->have, text, n);
        else if (sodium_base642bin(parts->memory + parts->have, n, text, size, NULL, &n, &end, BASE64) ||
                 end != text + size)
                return invalid(load, "a part is no base64");
        parts->have += n;
        return end_parts(load);
}

/* ---- Lines of entries --------------------------------------------------------------------------------- */

/* What stands before the value: a key, a priority, or nothing. */
static objd_status read_front(const struct load *load, struct json_object *json, struct given *ret_key,
                              int64_t *ret_priority)
{
        const char *why;

        if (load->kind == OBJD_DICT) {
                if (!json_value_of(json, ret_key, &why))
                        return lines_fail(load->lines, OBJD_E_INVAL, "a key makes no sense: %s", why);
                return OBJD_OK;
        }
        if (!json_object_is_type(json, json_type_int) ||
            (json_object_get_int64(json) == INT64_MAX && json_object_get_uint64(json) != INT64_MAX))
                return invalid(load, "a priority is no integer of 64 bits");
        *ret_priority = json_object_get_int64(json);
        return OBJD_OK;
}

/* The key becomes the parts', which put it in at their end. */
static objd_status begin_parts(struct load *load, struct json_object *json, struct given *key,
                               int64_t priority)
{
        struct parts parts = { .pending = true, .priority = priority };

        if (!json_object_is_type(json, json_type_object) || !read_parts_head(json, &parts)) {
                free(parts.name);
                return invalid(load, "the head of a value in parts makes no sense");
        }
        parts.key = *key;
        *key = (struct given){ 0 };
        load->parts = parts;
        return end_parts(load);
}

objd_status load_entry(struct load *load, const struct line *line)
{
        size_t n = json_object_array_length(line->json),
               front = load->kind == OBJD_DICT ||
                       (load->kind == OBJD_QUEUE && load->config.order == OBJD_PRIORITY);
        struct json_object *json = json_object_array_get_idx(line->json, front), *inside;
        AUTO_GIVEN key = { 0 };
        AUTO_GIVEN value = { 0 };
        int64_t priority = 0;
        objd_status r = OBJD_OK;

        if (!load->number || load->kind == OBJD_LOCK || load->parts.pending)
                return invalid(load, "an entry stands where there can be none");
        if (load->kind == OBJD_QUEUE && n == front + 2) {
                const char *word = json_object_get_string(json_object_array_get_idx(line->json, n - 1));

                n -= word && strcmp(word, "leased") == 0;
        }
        if (n != front + 1)
                return lines_fail(load->lines, OBJD_E_INVAL, "an entry of this object has %zu parts",
                                  front + 1);
        if (front)
                r = read_front(load, json_object_array_get_idx(line->json, 0), &key, &priority);
        if (r)
                return r;
        if (json_object_is_type(json, json_type_object) && json_object_object_get_ex(json, "parts", &inside))
                return begin_parts(load, inside, &key, priority);
        r = read_value(load, json, &value);
        return r ? r : put(load, &key.value, priority, &value.value);
}

/* ---- The end ------------------------------------------------------------------------------------------ */

void load_deinit(struct load *load)
{
        close_object(load);
        load_put_deinit(load);
        for (size_t i = 0; i < load->len; i++) {
                struct loaded *loaded = &load->objects[i];
                objd_object *object;

                free(loaded->name);
                if (load->is_decided) /* nobody but the bundle deletes it */
                        continue;
                if (loaded->state != LOADED_DECLARED && loaded->state != LOADED_OPEN &&
                    loaded->state != LOADED_WHOLE)
                        continue;
                if (objd_open_ref(load->conn, loaded->ref, OBJD_KIND_ANY, &object))
                        continue;
                (void)objd_destroy(object); /* what stays goes with this client */
                objd_release(object);
        }
        free(load->objects);
}
