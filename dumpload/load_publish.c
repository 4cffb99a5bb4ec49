/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_publish.c -- the objects that a load has made get their names, when all of the file was right
 */

#include "dumpload/load_object.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "client/proxy.h"
#include "dumpload/load_store.h"
#include "object/bundle.h"

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Two objects of the file with one name: the second would replace the first. */
static objd_status check_names(const struct load *load)
{
        const char **names = calloc(load->len + 1, sizeof(*names));
        objd_status r = OBJD_OK;
        size_t n = 0;

        if (!names)
                return fail(OBJD_E_NOMEM, "no memory for the names of %zu objects", load->len);
        for (size_t i = 0; i < load->len; i++)
                if (load->objects[i].state == LOADED_WHOLE && load->objects[i].name)
                        names[n++] = load->objects[i].name;
        if (n)
                qsort(names, n, sizeof(*names), compare_names);
        for (size_t i = 1; i < n && r == OBJD_OK; i++)
                if (strcmp(names[i], names[i - 1]) == 0)
                        r = lines_fail(load->lines, OBJD_E_INVAL, "two objects have the name \"%s\"",
                                       names[i]);
        free(names);
        return r;
}

/* Names that somebody else has given since the file was looked through for them. */
static objd_status check_free(const struct load *load)
{
        for (size_t i = 0; i < load->len && load->existing != LOAD_REPLACE; i++) {
                const struct loaded *loaded = &load->objects[i];
                objd_ref ref;
                objd_status r;

                if (loaded->state != LOADED_WHOLE || !loaded->name)
                        continue;
                r = load_store_lookup(load->conn, loaded->name, &ref);
                if (r == OBJD_OK)
                        return fail(OBJD_E_EXISTS, "there is an object named \"%s\" by now", loaded->name);
                if (r != OBJD_E_NOTFOUND)
                        return r;
        }
        return OBJD_OK;
}

static objd_status list_all(const struct load *load, struct bundle *bundle)
{
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < load->len && r == OBJD_OK; i++)
                if (load->objects[i].state == LOADED_WHOLE)
                        r = bundle_add(bundle, load->objects[i].ref, load->objects[i].name);
        return r;
}

/* All of them or none, whoever dies from here on. */
static objd_status publish_together(struct load *load)
{
        struct bundle_report report;
        struct bundle bundle;
        objd_status r = bundle_begin(load->conn, &bundle);

        if (r)
                return r;
        r = list_all(load, &bundle);
        if (r) {
                bundle_drop(&bundle);
                return r;
        }
        load->is_decided = true;
        r = bundle_publish(&bundle, load->existing == LOAD_REPLACE, &report);
        load->report->n_loaded = report.n_done;
        return r || !report.status ? r : fail(report.status, "%s", report.why);
}

/* ---- Through the daemon, which has the bundle (docs/protocol.md) ----------------------------------------------------- */

/* The list, in pieces. */
struct names {
        objd_object *list;
        objd_value keys[LOAD_AT_ONCE], refs[LOAD_AT_ONCE];
        size_t n;
        int64_t n_nameless;
};

static objd_status send_names(struct names *names)
{
        objd_status r =
                names->n ? objd_dict_set_many(names->list, names->keys, names->refs, names->n) : OBJD_OK;

        names->n = 0;
        return r;
}

static objd_status send_list(const struct load *load, objd_object *list)
{
        struct names names = { .list = list };
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < load->len && r == OBJD_OK; i++) {
                const struct loaded *loaded = &load->objects[i];

                if (loaded->state != LOADED_WHOLE)
                        continue;
                names.keys[names.n] = loaded->name ? objd_cstr(loaded->name) : objd_int(names.n_nameless++);
                names.refs[names.n++] = objd_refer(loaded->ref);
                if (names.n == LOAD_AT_ONCE)
                        r = send_names(&names);
        }
        return r ? r : send_names(&names);
}

/* The daemon has died on it: what was decided has been done by the next one, and of what was not, nothing is left. */
static bool is_there(const struct load *load)
{
        for (size_t i = 0; i < load->len; i++) {
                objd_object *object;
                objd_status r = OBJD_E_GONE;

                if (load->objects[i].state == LOADED_WHOLE)
                        r = objd_open_ref(load->conn, load->objects[i].ref, OBJD_KIND_ANY, &object);
                if (r == OBJD_OK)
                        objd_release(object);
                if (r == OBJD_OK || r == OBJD_E_ACCESS)
                        return true;
        }
        return false;
}

static objd_status publish_list(struct load *load, objd_object *list)
{
        objd_status r = send_list(load, list);

        if (r)
                return r;
        /* Whatever is answered: what is not to stay is still the session's, and goes with it. */
        load->is_decided = true;
        r = proxy_publish(list, load->existing == LOAD_REPLACE);
        if (r == OBJD_E_GONE && is_there(load))
                r = OBJD_OK;
        else if (r == OBJD_E_GONE)
                r = fail(r, "the daemon has died, and nothing is loaded: load it again");
        for (size_t i = 0; i < load->len && r == OBJD_OK; i++)
                load->report->n_loaded += load->objects[i].state == LOADED_WHOLE;
        return r;
}

static objd_status publish_proxied(struct load *load)
{
        objd_object *list;
        objd_status r = objd_create(load->conn, NULL, OBJD_DICT, NULL, &list);

        if (r)
                return r;
        r = publish_list(load, list);
        objd_release(list);
        return r;
}

objd_status load_publish(struct load *load)
{
        objd_status r = check_names(load);

        if (r == OBJD_OK && load->conn->rpc)
                return load_here(load, publish_proxied(load));
        if (r == OBJD_OK)
                r = check_free(load);
        if (r == OBJD_OK)
                r = publish_together(load);
        return load_here(load, r);
}
