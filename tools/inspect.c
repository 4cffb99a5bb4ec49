/* SPDX-License-Identifier: Apache-2.0 */

/*
 * inspect.c -- reports on a store, by whatever way it is reached
 */

#include "inspect.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "client/proxy.h"
#include "client/url.h"
#include "dumpload/report_stream.h"
#include "object/object.h"

/* ---- Lines of JSON --------------------------------------------------------------------------------------- */

const char *inspect_text(struct json_object *line, const char *name)
{
        struct json_object *field = json_object_object_get(line, name);

        return json_object_is_type(field, json_type_string) ? json_object_get_string(field) : "";
}

/* Numbers beyond an int64_t are those of a uint64_t, with the same bits. */
int64_t inspect_number(struct json_object *line, const char *name)
{
        struct json_object *field = json_object_object_get(line, name);
        int64_t n;

        if (!json_object_is_type(field, json_type_int))
                return 0;
        n = json_object_get_int64(field);
        return n == INT64_MAX ? (int64_t)json_object_get_uint64(field) : n;
}

bool inspect_truth(struct json_object *line, const char *name)
{
        struct json_object *field = json_object_object_get(line, name);

        return json_object_is_type(field, json_type_boolean) && json_object_get_boolean(field);
}

/* ---- What comes in --------------------------------------------------------------------------------------- */

struct inspection {
        inspect_fn fn; /* NULL: lines are printed as they are */
        void *context;
        int code;
        struct report_lines lines;
};

static objd_status take_line(void *context, enum report_line_kind kind, char *text, size_t size)
{
        struct inspection *inspection = context;
        struct json_object *object;

        switch (kind) {
        case REPORT_COMPLAINT:
                complain("%s", text);
                return OBJD_OK;
        case REPORT_GOOD:
                return OBJD_OK;
        case REPORT_BAD:
                inspection->code = EXIT_NO;
                return OBJD_OK;
        case REPORT_LINE:
                break;
        }
        if (!inspection->fn) {
                fwrite(text, 1, size, stdout);
                return ferror(stdout) ? fail(OBJD_E_SYS, "cannot write the answer") : OBJD_OK;
        }
        object = json_tokener_parse(text);
        if (!json_object_is_type(object, json_type_object)) {
                json_object_put(object);
                return fail(OBJD_E_PROTO, "a line of the report makes no sense");
        }
        inspection->fn(inspection->context, object);
        json_object_put(object);
        return OBJD_OK;
}

/* ---- With a mapping -------------------------------------------------------------------------------------- */

static void say(const struct report *report, const char *sentence)
{
        (void)report;
        complain("%s", sentence);
}

static ssize_t write_lines(void *context, const char *bytes, size_t size)
{
        struct inspection *inspection = context;

        return report_lines_add(&inspection->lines, bytes, size) ? 0 : (ssize_t)size;
}

/* The url by which everybody reaches the store, whichever was given. */
static void store_url(const objd_conn *conn, char ret_url[], size_t room)
{
        struct url url;

        if (url_parse(conn->name, &url))
                snprintf(ret_url, room, "%s", conn->name);
        else
                snprintf(ret_url, room, "shm:%s%s%s", url.own_directory ? "" : url.directory,
                         url.own_directory ? "" : "/", url.name);
}

static int inspect_mapped(objd_conn *conn, struct report report, struct inspection *inspection)
{
        const cookie_io_functions_t functions = { .write = write_lines };
        char url[PATH_MAX + STORE_NAME_MAX + sizeof("shm:/")];
        FILE *f = inspection->fn ? fopencookie(inspection, "w", functions) : stdout;
        bool good;

        if (!f)
                return answer(fail(OBJD_E_NOMEM, "no memory for a report"));
        store_url(conn, url, sizeof(url));
        report.store = url;
        report.has_daemon = conn->control >= 0;
        report.f = f;
        report.complain = say;
        good = report_write(conn, &report);
        if (f != stdout && fclose(f))
                return answer(OBJD_E_PROTO);
        return good ? inspection->code : EXIT_NO;
}

/* ---- Through the daemon ---------------------------------------------------------------------------------- */

static objd_status take_bytes(void *context, const void *bytes, size_t size)
{
        struct inspection *inspection = context;

        return report_lines_add(&inspection->lines, bytes, size);
}

static int inspect_proxied(objd_conn *conn, const struct report *report, struct inspection *inspection)
{
        const struct call_report asked = {
                .what = (uint32_t)report->what,
                .limit = report->limit,
                .atomic = report->atomic,
        };
        objd_status r = proxy_report(conn, &asked, report->object, take_bytes, inspection);

        if (r && ferror(stdout))
                return EXIT_NO; /* objctl.c says why */
        if (r)
                return answer(r);
        if (!inspection->lines.is_complete)
                return answer(fail(OBJD_E_PROTO, "the report has been cut short"));
        return inspection->code;
}

/* ---- Both ------------------------------------------------------------------------------------------------ */

int inspect_each(objd_conn *conn, const struct report *report, inspect_fn fn, void *context)
{
        struct inspection inspection = { .fn = fn, .context = context, .code = EXIT_OK };
        int code;

        report_lines_init(&inspection.lines, take_line, &inspection);
        code = conn->rpc ? inspect_proxied(conn, report, &inspection)
                         : inspect_mapped(conn, *report, &inspection);
        report_lines_deinit(&inspection.lines);
        return code;
}

int inspect(objd_conn *conn, const struct report *report)
{
        return inspect_each(conn, report, NULL, NULL);
}
