/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_poison.c -- what a death leaves half done, and damage keeps from being undone, spoils one object, by name
 *
 * A child dies in the middle of an operation, and its undo log is damaged: what it has changed cannot be put back. Each part
 * runs in a child, on a store of its own.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "object/repair.h"
#include "support/child.h"
#include "support/test.h"
#include "txn/txn.h"

static objd_conn *store;

static objd_object *make(const char *name, objd_kind kind, objd_order order)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *object;

        config.order = order;
        child_ok(objd_create(store, name, kind, &config, &object));
        return object;
}

static objd_object *open_named(const char *name)
{
        objd_object *object;

        child_ok(objd_open(store, name, OBJD_KIND_ANY, &object));
        return object;
}

/* ---- Operations by kind --------------------------------------------------------------------------------- */

static objd_value key, item;

static void op_for(struct op *op, objd_object *object)
{
        objd_kind kind = object_kind(object->config);

        key = objd_int(3);
        item = objd_cstr("an item that is not there yet");
        op_init(op,
                kind == OBJD_DICT   ? OP_DICT_SET
                : kind == OBJD_LIST ? OP_LIST_PREPEND
                                    : OP_QUEUE_PUT,
                object);
        op->key = &key;
        op->value = &item;
        op->n = 1;
}

static objd_status put(objd_object *object, int i)
{
        objd_value number = objd_int(i);

        switch (object_kind(object->config)) {
        case OBJD_DICT:
                return objd_dict_set(object, &number, &number);
        case OBJD_LIST:
                return objd_list_append(object, &number);
        default:
                return objd_queue_put(object, &number, OBJD_NOWAIT);
        }
}

static objd_status look(objd_object *object)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value, one = objd_int(1);
        objd_status r;

        switch (object_kind(object->config)) {
        case OBJD_DICT:
                r = objd_dict_get(object, &one, &value, &buf);
                break;
        case OBJD_LIST:
                r = objd_list_get(object, 1, &value, &buf);
                break;
        default:
                r = objd_queue_peek(object, &value, &buf);
        }
        objd_buf_free(&buf);
        return r;
}

/* ---- Dying ---------------------------------------------------------------------------------------------- */

struct death {
        const char *names[2]; /* of one or two objects, in one step */
};

/* All of an operation but its commit; then what it has noted last leads nowhere. */
static int die_with_damaged_log(void *context)
{
        const struct death *death = context;
        struct plan plan = { .n = 0 }, again = { .n = 0 };
        struct op ops[2];
        struct lane *lane;
        size_t n = 0;

        for (; n < 2 && death->names[n]; n++)
                op_for(&ops[n], open_named(death->names[n]));
        child_ok(lane_enter(store->arena, OBJD_NOWAIT, &lane));
        for (size_t i = 0; i < n; i++)
                child_ok(kind_of(object_kind(ops[i].object->config))->plan(lane, &ops[i], &plan));
        txn_begin(lane, ops[0].code);
        child_ok(plan_lock(lane, &plan));
        for (size_t i = 0; i < n; i++)
                child_ok(kind_of(object_kind(ops[i].object->config))->plan(lane, &ops[i], &again));
        for (size_t i = 0; i < n; i++)
                child_ok(kind_of(object_kind(ops[i].object->config))->apply(lane, &ops[i]));
        child_check(lane->shm->log.used >= 16);
        *(uint64_t *)(void *)(store->arena->base + lane->shm->log.off + lane->shm->log.used - 8) = UINT64_MAX;
        _exit(0);
}

/* ---- What becomes of it --------------------------------------------------------------------------------- */

static const struct {
        const char *name;
        objd_kind kind;
        objd_order order;
} objects[] = { { "a dict", OBJD_DICT, OBJD_FIFO },
                { "a list", OBJD_LIST, OBJD_FIFO },
                { "a fifo queue", OBJD_QUEUE, OBJD_FIFO },
                { "a lifo queue", OBJD_QUEUE, OBJD_LIFO },
                { "a priority queue", OBJD_QUEUE, OBJD_PRIORITY } };

#define N_OBJECTS (sizeof(objects) / sizeof(objects[0]))

static void make_store(void)
{
        child_ok(objd_connect("embedded:16M", &store));
        for (size_t i = 0; i < N_OBJECTS; i++) {
                objd_object *object = make(objects[i].name, objects[i].kind, objects[i].order);

                for (int k = 0; k < 20; k++)
                        child_ok(put(object, k));
                objd_release(object);
        }
}

static bool is_among(const struct death *death, const char *name)
{
        return strcmp(death->names[0], name) == 0 || (death->names[1] && strcmp(death->names[1], name) == 0);
}

/* Every call on the spoilt ones says so, with the name; the others go on. */
static void expect_spoilt(const struct death *death)
{
        for (size_t i = 0; i < N_OBJECTS; i++) {
                objd_object *object = open_named(objects[i].name);

                if (is_among(death, objects[i].name)) {
                        /* Who writes waits for the dead one's lock, and finds it out; a peek at a queue's other end may not. */
                        child_check(put(object, 30) == OBJD_E_CORRUPT);
                        child_check(strstr(objd_last_error(), objects[i].name));
                        child_check(look(object) == OBJD_E_CORRUPT);
                        child_check(strstr(objd_last_error(), objects[i].name));
                } else {
                        child_ok(look(object));
                        child_ok(put(object, 30));
                }
                objd_release(object);
        }
}

struct faults {
        const struct death *death;
        uint64_t n, n_others;
};

static void note_fault(void *context, const char *object, const char *sentence)
{
        struct faults *faults = context;

        faults->n += is_among(faults->death, object);
        faults->n_others += !is_among(faults->death, object);
        if (!is_among(faults->death, object))
                fprintf(stderr, "%s: %s\n", object, sentence);
}

/* The checker names them, and nothing else. */
static void expect_faults(const struct death *death)
{
        struct faults faults = { .death = death };
        uint64_t n = 0;

        child_ok(check_arena(store, note_fault, &faults, &n));
        child_check(faults.n >= (death->names[1] ? 2 : 1) && !faults.n_others);
}

static void expect_sound(void)
{
        static const struct death nobody = { { "" } };
        struct faults faults = { .death = &nobody };
        uint64_t n = 1;

        child_ok(check_arena(store, note_fault, &faults, &n));
        child_check(n == 0);
}

static void note_deed(void *context, enum repair_deed deed, const char *object, const char *sentence)
{
        (void)context;
        if (deed != REPAIR_MENDED && deed != REPAIR_SALVAGED) {
                fprintf(stderr, "%s: %s: %s\n", repair_deed_name(deed), object, sentence);
                abort();
        }
}

static void spoil(struct death *death)
{
        make_store();
        child_expect_success(child_start(die_with_damaged_log, death));
        expect_spoilt(death);
        expect_faults(death);
}

/* A spoilt object can be deleted, and its name and its memory are free again. */
static int spoil_and_delete(void *context)
{
        struct death *death = context;

        spoil(death);
        for (size_t i = 0; i < 2 && death->names[i]; i++) {
                objd_object *object;

                child_ok(objd_delete(store, death->names[i]));
                child_check(objd_open(store, death->names[i], OBJD_KIND_ANY, &object) == OBJD_E_NOTFOUND);
                objd_release(make(death->names[i], OBJD_DICT, OBJD_FIFO));
        }
        expect_sound();
        return 0;
}

/* Or repaired: it is the same object, with what can be read of it. */
static int spoil_and_repair(void *context)
{
        struct death *death = context;
        struct repair_result result;
        objd_ref before[2];

        spoil(death);
        for (size_t i = 0; i < 2 && death->names[i]; i++)
                before[i] = objd_ref_of(open_named(death->names[i]));
        child_ok(repair_arena(store, note_deed, death, &result));
        child_check(!result.n_left);
        for (size_t i = 0; i < 2 && death->names[i]; i++) {
                objd_object *object = open_named(death->names[i]);

                child_check(objd_ref_of(object).serial == before[i].serial &&
                            objd_ref_of(object).place == before[i].place);
                child_ok(look(object));
                child_ok(put(object, 31));
        }
        expect_sound();
        return 0;
}

static void one_object_is_spoilt_and_can_be_deleted(void **state)
{
        (void)state;
        for (size_t i = 0; i < N_OBJECTS; i++) {
                struct death death = { { objects[i].name } };

                child_expect_success(child_start(spoil_and_delete, &death));
        }
}

static void one_object_is_spoilt_and_can_be_repaired(void **state)
{
        (void)state;
        for (size_t i = 0; i < N_OBJECTS; i++) {
                struct death death = { { objects[i].name } };

                child_expect_success(child_start(spoil_and_repair, &death));
        }
}

static void all_objects_of_one_step_are_spoilt(void **state)
{
        struct death death = { { "a dict", "a list" } };

        (void)state;
        child_expect_success(child_start(spoil_and_delete, &death));
        child_expect_success(child_start(spoil_and_repair, &death));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_object_is_spoilt_and_can_be_deleted),
                cmocka_unit_test(one_object_is_spoilt_and_can_be_repaired),
                cmocka_unit_test(all_objects_of_one_step_are_spoilt),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
