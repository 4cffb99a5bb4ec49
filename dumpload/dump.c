/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dump.c -- a store, or an object and what can be reached from it, as lines of JSON
 *
 * First the names, then each object that has one, in their order, then what was found to be referred to on the way. A ref is
 * written as the number of its object in the dump; an object that has not had its turn is declared before the
 * line that refers to it, so that a reader has something to put there.
 */

#include "dumpload/dump.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/sys.h"
#include "base/utf8.h"
#include "dumpload/copy.h"
#include "dumpload/dump_value.h"
#include "dumpload/format.h"
#include "dumpload/json.h"
#include "dumpload/names.h"
#include "dumpload/numbers.h"
#include "dumpload/snapshot.h"
#include "dumpload/spool.h"
#include "object/freeze.h"
#include "object/value.h"
#include "txn/lane.h"

/* An object with a name, while they are put in order. */
struct named {
        char *name;
        objd_ref ref;
};

/* What an object is, beside its entries. */
struct head {
        char name[OBJD_NAME_MAX + 1]; /* "" is none, or none that can be read */
        const struct kind *kind;
        objd_config config;
        struct object_state state;
};

struct dump {
        struct objd_conn *conn;
        const struct dump_options *options;
        struct spool spool;
        struct numbers numbers;
        struct dump_report *report;
        struct snapshot snapshot;
        bool has_snapshot;
        bool holds_all; /* everybody waits for what is written now */

        struct named *named;
        size_t n_named, room_named;

        uint32_t number;    /* of the object under way */
        bool begun;         /* its first line has been written */
        objd_status broken; /* why the dump as a whole cannot go on */
        struct dump_value key, value;

        /* of the object under way, when it does not stand still any more */
        struct head head;
        struct copy copy;
        bool is_copied;
        objd_status status; /* what ended the visit early, */
        char why[512];      /* and its sentence */
        int64_t since_ns;   /* it has stood still */
};

/* A failure that is no fault of the object's: the dump ends. */
static objd_status broken(struct dump *dump, objd_status r)
{
        if (r)
                dump->broken = r;
        return r;
}

/* ---- Names ------------------------------------------------------------------------------------------- */

static objd_status add_name(void *context, const struct visit *visit)
{
        struct dump *dump = context;
        struct named *named;
        char *name;

        if (visit->key_type != OBJD_STR || visit->type != OBJD_REF || visit->size != 16 ||
            visit->key_size > OBJD_NAME_MAX)
                return fail(OBJD_E_CORRUPT, "the arena's dict of names is damaged");
        if (dump->n_named == dump->room_named) {
                size_t room = dump->room_named ? 2 * dump->room_named : 64;

                named = realloc(dump->named, room * sizeof(*named));
                if (!named)
                        return fail(OBJD_E_NOMEM, "no memory for the names of all objects");
                dump->named = named;
                dump->room_named = room;
        }
        name = calloc(1, round8(visit->key_size) + 1);
        if (!name)
                return fail(OBJD_E_NOMEM, "no memory for the names of all objects");
        words_out(name, visit->key, visit->key_size);
        named = &dump->named[dump->n_named++];
        named->name = name;
        words_out(&named->ref, visit->bytes, 16);
        return OBJD_OK;
}

static int compare_names(const void *a, const void *b)
{
        const struct named *x = a, *y = b;

        return strcmp(x->name, y->name);
}

static objd_status list_names(struct lane *lane, struct objd_object *names, void *context)
{
        struct dump *dump = context;
        objd_status r = dict_kind.visit(lane, names, add_name, dump);

        if (dump->n_named)
                qsort(dump->named, dump->n_named, sizeof(*dump->named), compare_names);
        return r;
}

/* ---- What an object is -------------------------------------------------------------------------------- */

static void get_config(const struct objd_object *object, objd_config *ret_config)
{
        *ret_config = (objd_config){ .key_type = object_key_type(object->config),
                                     .value_type = object_value_type(object->config),
                                     .order = object_order(object->config),
                                     .lock_flags = object_lock_flags(object->config) };
        kind_of(object_kind(object->config))->get_config(object->shm, ret_config);
}

static void write_config(FILE *f, objd_kind kind, const objd_config *config)
{
        fprintf(f, ",\"kind\":\"%s\"", kind_name(kind));
        if (config->key_type)
                fprintf(f, ",\"key_type\":\"%s\"", type_name(config->key_type));
        if (config->value_type)
                fprintf(f, ",\"value_type\":\"%s\"", type_name(config->value_type));
        if (config->order)
                fprintf(f, ",\"order\":\"%s\"", order_name(config->order));
        if (config->bound)
                fprintf(f, ",\"bound\":%" PRIu64, config->bound);
        if (config->lock_flags & OBJD_LOCK_RECURSIVE)
                fputs(",\"recursive\":true", f);
        if (config->lock_flags & OBJD_LOCK_OWNERLESS)
                fputs(",\"ownerless\":true", f);
}

/* Reads it without waiting; of an object that is not frozen it may be too new, or, while it is being changed, missing. */
static void get_name(const struct dump *dump, const struct objd_object *object,
                     char ret_name[OBJD_NAME_MAX + 1])
{
        if (!object_name(dump->conn->arena, object->shm, object->serial, ret_name) ||
            !utf8_is_valid(ret_name, strlen(ret_name)))
                *ret_name = 0;
}

static void write_name(FILE *f, const char *name)
{
        if (!*name)
                return;
        fputs(",\"name\":", f);
        json_write_str(f, name, strlen(name));
}

static void write_state(FILE *f, objd_kind kind, const struct object_state *state)
{
        if (kind != OBJD_LOCK)
                fprintf(f, ",\"len\":%" PRIu64, state->len);
        if (kind == OBJD_QUEUE && state->unfinished != state->len)
                fprintf(f, ",\"unfinished\":%" PRIu64, state->unfinished);
        if (state->closed)
                fputs(",\"closed\":true", f);
        if (state->poisoned)
                fputs(",\"poisoned\":true", f);
        if (state->token)
                fprintf(f, ",\"token\":%" PRIu64, state->token);
        if (state->taken)
                fputs(",\"taken\":true", f);
}

/* The number of the object that a ref names, declared if that is news; 0 if there is no such object any more. */
static objd_status number_of(struct dump *dump, objd_ref ref, uint32_t *ret_number)
{
        char name[OBJD_NAME_MAX + 1];
        struct objd_object object;
        objd_config config;
        objd_status r;

        *ret_number = numbers_find(&dump->numbers, ref);
        if (*ret_number || ref.place == dump->conn->arena->header->names ||
            frozen_find(dump->conn, ref, &object))
                return OBJD_OK;
        /* It need not stand still, but its configuration is the same for as long as it is there. */
        get_config(&object, &config);
        fence_acquire();
        if (word_get(&object.shm->line.serial) != ref.serial)
                return OBJD_OK;
        r = numbers_add(&dump->numbers, ref, ret_number);
        if (r)
                return broken(dump, r);
        fprintf(dump->spool.f, "{\"declare\":%" PRIu32, *ret_number);
        get_name(dump, &object, name);
        write_name(dump->spool.f, name);
        write_config(dump->spool.f, object_kind(object.config), &config);
        fputs("}\n", dump->spool.f);
        return OBJD_OK;
}

/* ---- Entries ------------------------------------------------------------------------------------------ */

static objd_status write_value(struct dump *dump, const objd_value *value, bool large, uint32_t number)
{
        FILE *f = dump->spool.f;

        if (large)
                return dump_value_head(f, value);
        if (value->type != OBJD_REF)
                json_write_value(f, value);
        else if (number)
                fprintf(f, "{\"ref\":%" PRIu32 "}", number);
        else
                fputs("{\"ref\":null}", f);
        return OBJD_OK;
}

static objd_status decode_key(struct dump *dump, const struct visit *visit, objd_value *ret_key)
{
        bool large;

        if (visit->has_priority)
                *ret_key = objd_int(visit->priority);
        if (visit->key_type == OBJD_ANY)
                return OBJD_OK;
        if (visit->key_size > OBJD_KEY_MAX)
                return fail(OBJD_E_CORRUPT, "a key has more bytes than a key can have");
        return dump_value_decode(&dump->key, visit->key_type, visit->key, visit->key_size, ret_key, &large);
}

/* Everything is looked at before the first character is written: a line is whole. */
static objd_status write_entry(void *context, const struct visit *visit)
{
        struct dump *dump = context;
        FILE *f = dump->spool.f;
        objd_value key, value;
        uint32_t number = 0;
        bool large;
        objd_status r = decode_key(dump, visit, &key);

        if (r == OBJD_OK)
                r = dump_value_decode(&dump->value, visit->type, visit->bytes, visit->size, &value, &large);
        if (r == OBJD_OK && value.type == OBJD_REF)
                r = number_of(dump, value.u.ref, &number);
        if (r)
                return r;
        fputc('[', f);
        if (visit->has_priority || visit->key_type != OBJD_ANY) {
                json_write_value(f, &key);
                fputc(',', f);
        }
        r = write_value(dump, &value, large, number);
        if (r)
                return broken(dump, r);
        fputs(visit->leased ? ",\"leased\"]\n" : "]\n", f);
        if (large)
                r = dump_value_parts(f, &value);
        return r ? r : broken(dump, spool_check(&dump->spool));
}

/* ---- Objects ------------------------------------------------------------------------------------------ */

static objd_status get_head(const struct dump *dump, struct lane *lane, struct objd_object *object,
                            struct head *ret_head)
{
        *ret_head = (struct head){ .kind = kind_of(object_kind(object->config)) };
        get_config(object, &ret_head->config);
        get_name(dump, object, ret_head->name);
        return ret_head->kind->get_state(lane, object, &ret_head->state);
}

static void write_head(struct dump *dump, const struct head *head)
{
        FILE *f = dump->spool.f;

        dump->begun = true;
        fprintf(f, "{\"object\":%" PRIu32, dump->number);
        write_name(f, head->name);
        write_config(f, head->kind->kind, &head->config);
        write_state(f, head->kind->kind, &head->state);
        fputs("}\n", f);
}

static objd_status write_end(struct dump *dump)
{
        fprintf(dump->spool.f, "{\"end\":%" PRIu32 "}\n", dump->number);
        dump->report->n_objects++;
        return broken(dump, spool_check(&dump->spool));
}

static objd_status dump_frozen(struct lane *lane, struct objd_object *object, void *context)
{
        struct dump *dump = context;
        objd_status r = get_head(dump, lane, object, &dump->head);

        if (r)
                return r;
        write_head(dump, &dump->head);
        r = dump->head.kind->visit(lane, object, write_entry, dump);
        return r ? r : write_end(dump);
}

/* Writers of this object wait for the copy only; if there is no room for one, for the dump. */
static objd_status copy_frozen(struct lane *lane, struct objd_object *object, void *context)
{
        struct dump *dump = context;
        objd_status r;

        dump->since_ns = now_ns();
        r = get_head(dump, lane, object, &dump->head);
        if (r)
                return r;
        copy_begin(&dump->copy);
        dump->status = dump->head.kind->visit(lane, object, copy_entry, &dump->copy);
        if (!dump->copy.failed)
                (void)copy_end(&dump->copy);
        if (dump->copy.failed)
                return dump_frozen(lane, object, dump);
        if (dump->status) /* it is said behind the entries that could be read */
                snprintf(dump->why, sizeof(dump->why), "%s", objd_last_error());
        dump->is_copied = true;
        return OBJD_OK;
}

/* Inside a call, since what other objects are is looked at where they are. */
static objd_status write_copy(struct dump *dump)
{
        struct lane *lane;
        objd_status r = lane_enter_to_read(dump->conn->arena, conn_timeout(dump->conn), &lane);

        if (r)
                return broken(dump, r);
        write_head(dump, &dump->head);
        r = copy_visit(&dump->copy, write_entry, dump);
        if (r == OBJD_OK && dump->status)
                r = fail(dump->status, "%s", dump->why);
        if (r == OBJD_OK)
                r = write_end(dump);
        lane_leave(lane);
        return r;
}

static objd_status dump_alone(struct dump *dump, objd_ref ref)
{
        int64_t pause_ns;
        objd_status r;

        dump->is_copied = false;
        dump->since_ns = INT64_MAX;
        r = freeze_one(dump->conn, ref, copy_frozen, dump);
        pause_ns = now_ns() - dump->since_ns;
        if (pause_ns > dump->report->pause_ns)
                dump->report->pause_ns = pause_ns;
        return r == OBJD_OK && dump->is_copied ? write_copy(dump) : r;
}

/* The rest of the dump goes on without it. */
static void write_damaged(struct dump *dump)
{
        const char *why = objd_last_error();

        if (!dump->report->n_damaged++)
                snprintf(dump->report->why, sizeof(dump->report->why), "%s", why);
        fprintf(dump->spool.f, "{\"%s\":%" PRIu32 ",\"damaged\":", dump->begun ? "end" : "gone",
                dump->number);
        json_write_text(dump->spool.f, why);
        fputs("}\n", dump->spool.f);
}

static bool is_damage(const struct dump *dump, objd_status r)
{
        return !dump->broken && (r == OBJD_E_CORRUPT || r == OBJD_E_POISONED || r == OBJD_E_TOOBIG);
}

/* With the lane of a frozen arena, or of a copy, or without one: then the object is frozen by itself. */
static objd_status dump_object(struct dump *dump, struct lane *lane, uint32_t number)
{
        objd_ref ref = dump->numbers.objects[number - 1].ref;
        struct objd_object object;
        objd_status r;

        dump->numbers.objects[number - 1].dumped = true;
        dump->number = number;
        dump->begun = false;
        if (lane) {
                r = frozen_find(dump->conn, ref, &object);
                if (r == OBJD_OK)
                        r = object_verify(&object);
                if (r == OBJD_OK)
                        r = dump_frozen(lane, &object, dump);
        } else {
                r = dump_alone(dump, ref);
        }
        if (is_damage(dump, r))
                write_damaged(dump);
        else if (r == OBJD_E_GONE && !dump->begun)
                fprintf(dump->spool.f, "{\"gone\":%" PRIu32 "}\n", number);
        else if (r)
                return r;
        return dump->holds_all ? OBJD_OK : spool_flush(&dump->spool);
}

static objd_status dump_ref(struct dump *dump, struct lane *lane, objd_ref ref)
{
        uint32_t number = numbers_find(&dump->numbers, ref);
        objd_status r = OBJD_OK;

        if (!number)
                r = numbers_add(&dump->numbers, ref, &number);
        return r ? r : dump_object(dump, lane, number);
}

/* Those with names in the order of their names; then, again and again, what has been found on the way. */
static objd_status dump_all(struct dump *dump, struct lane *lane)
{
        objd_status r = OBJD_OK;

        if (dump->options->root)
                r = dump_ref(dump, lane, *dump->options->root);
        for (size_t i = 0; i < dump->n_named && r == OBJD_OK; i++)
                r = dump_ref(dump, lane, dump->named[i].ref);
        for (uint32_t i = 0; i < dump->numbers.len && r == OBJD_OK; i++)
                if (!dump->numbers.objects[i].dumped)
                        r = dump_object(dump, lane, i + 1);
        return r;
}

static objd_status dump_everything(struct dump *dump, struct lane *lane, struct objd_object *names)
{
        objd_status r = dump->options->root ? OBJD_OK : list_names(lane, names, dump);

        return r ? r : dump_all(dump, lane);
}

/*
 * Only the copy is waited for. Where there is no room for one, and for what is perhaps a few objects, the dump is written while
 * everybody waits.
 */
static objd_status copy_or_dump_frozen(struct lane *lane, struct objd_object *names, void *context)
{
        struct dump *dump = context;
        objd_status r;

        dump->has_snapshot =
                !dump->options->root && snapshot_take(lane, dump->conn, &dump->snapshot) == OBJD_OK;
        if (dump->has_snapshot)
                return OBJD_OK;
        dump->holds_all = true;
        r = dump_everything(dump, lane, names);
        dump->holds_all = false;
        return r;
}

static objd_status dump_snapshot(struct dump *dump)
{
        struct objd_conn *conn = dump->conn;
        struct objd_object names;
        objd_status r;

        dump->conn = &dump->snapshot.conn;
        r = frozen_names(dump->conn, &names);
        if (r == OBJD_OK)
                r = dump_everything(dump, &dump->snapshot.lane, &names);
        dump->conn = conn;
        snapshot_free(&dump->snapshot);
        return r;
}

static objd_status run_atomic(struct dump *dump)
{
        int64_t start = now_ns();
        objd_status r = freeze_all(dump->conn, copy_or_dump_frozen, dump);

        dump->report->pause_ns = now_ns() - start;
        if (r == OBJD_OK && dump->has_snapshot)
                r = dump_snapshot(dump);
        return r ? r : spool_flush(&dump->spool);
}

static objd_status run_one_by_one(struct dump *dump)
{
        struct objd_object names;
        objd_status r = OBJD_OK;

        if (!dump->options->root) {
                r = frozen_names(dump->conn, &names);
                if (r == OBJD_OK)
                        r = freeze_one(dump->conn, objd_ref_of(&names), list_names, dump);
        }
        return r ? r : dump_all(dump, NULL);
}

static objd_status run(struct dump *dump)
{
        FILE *f = dump->spool.f;
        objd_status r;

        fprintf(f, "{\"objd_dump\":%d}\n", FORMAT_VERSION);
        r = dump->options->atomic ? run_atomic(dump) : run_one_by_one(dump);
        if (r)
                return r;
        fprintf(f, "{\"objects\":%" PRIu32 "}\n", dump->numbers.len);
        return spool_flush(&dump->spool);
}

static void deinit(struct dump *dump)
{
        for (size_t i = 0; i < dump->n_named; i++)
                free(dump->named[i].name);
        free(dump->named);
        numbers_deinit(&dump->numbers);
        spool_deinit(&dump->spool);
        copy_deinit(&dump->copy);
        free(dump);
}

objd_status dump_write(struct objd_conn *conn, FILE *f, const struct dump_options *options,
                       struct dump_report *ret_report)
{
        struct dump *dump = calloc(1, sizeof(*dump));
        objd_status r;

        if (!dump)
                return fail(OBJD_E_NOMEM, "no memory for a dump");
        *ret_report = (struct dump_report){ 0 };
        dump->conn = conn;
        dump->options = options;
        dump->report = ret_report;
        r = copy_init(&dump->copy);
        if (r == OBJD_OK)
                r = spool_init(&dump->spool, f);
        if (r == OBJD_OK)
                r = run(dump);
        deinit(dump);
        return r;
}
