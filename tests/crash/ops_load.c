/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ops_load.c -- objects that come to stay together: all of them or none, wherever their maker dies
 *
 * What a loader does when it has read its file. "old" is what one of the new objects replaces: nobody else writes to it.
 */

#include "crash/sweep.h"

#include "object/bundle.h"

static struct bundle bundle; /* of the victim, which is a process of its own */

static void build_three(struct objd_conn *conn, const struct op_test *test)
{
        objd_release(open_it(conn, "it", test->kind, NULL));
        objd_release(open_it(conn, "other", OBJD_DICT, NULL));
        objd_release(open_it(conn, "old", OBJD_QUEUE, NULL));
}

static objd_object *make(struct objd_conn *conn, objd_kind kind)
{
        objd_object *object;

        must(objd_create(conn, NULL, kind, NULL, &object), "making what is loaded");
        return object;
}

/* A dict that is to have a name refers to a list that is to have none; another list is to replace what is there. */
static objd_status prepare_load(struct objd_conn *conn, struct victim *v)
{
        objd_object *dict = make(conn, OBJD_DICT), *inside = make(conn, OBJD_LIST),
                    *instead = make(conn, OBJD_LIST);
        objd_value key = objd_int(1), ref = objd_refer(objd_ref_of(inside)), text = objd_cstr("loaded");

        must(objd_dict_set(dict, &key, &ref), "filling what is loaded");
        must(objd_list_append(inside, &text), "filling what is loaded");
        must(objd_list_append(instead, &text), "filling what is loaded");
        must(bundle_begin(conn, &bundle), "listing what is loaded");
        must(bundle_add(&bundle, objd_ref_of(dict), v->test->at ? "old" : "loaded"), "listing it");
        must(bundle_add(&bundle, objd_ref_of(inside), NULL), "listing it");
        must(bundle_add(&bundle, objd_ref_of(instead), v->test->at ? "loaded" : "loaded too"), "listing it");
        return OBJD_OK;
}

static objd_status run_load(struct objd_conn *conn, struct victim *v)
{
        struct bundle_report report;
        objd_status r = bundle_publish(&bundle, v->test->at, &report);

        (void)conn;
        return r ? r : report.status;
}

static struct op_test tests[] = {
        { "load: new objects", .kind = OBJD_DICT, .build = build_three, .prepare = prepare_load,
          .run = run_load },
        { "load: one replaces another", .kind = OBJD_DICT, .at = 1, .build = build_three,
          .prepare = prepare_load, .run = run_load },
};

const struct op_table load_ops = OP_TABLE(tests);
