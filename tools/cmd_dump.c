/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_dump.c -- objctl dump: what is in the store
 *
 * For people, entries are printed as the kind's walk hands them over, so a dump holds no more of an object than one
 * entry; a dump of everything first shows the objects that have names, by name, then the others. With --json it is
 * a dump that can be loaded: see dumpload/.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "describe.h"
#include "dumpload/dump.h"
#include "object/kind.h"
#include "objects.h"
#include "text.h"

/* How much of a value is shown to people. */
#define SHOWN_BYTES 200

struct dump {
        uint64_t limit;
        objd_kind kind; /* of the object under way */
        uint64_t n;     /* its entries so far */
};

/* A reader that has gone away ends the walk; flush_output() says what there is to say. */
static objd_status unless_output_failed(void)
{
        return ferror(stdout) ? fail(OBJD_E_SYS, "cannot write the answer") : OBJD_OK;
}

static objd_status print_text_entry(void *context, const objd_value *key, const objd_value *value)
{
        struct dump *dump = context;

        fputs("  ", stdout);
        if (key)
                text_write_value(stdout, key, SHOWN_BYTES);
        else
                printf("%" PRIu64, dump->n);
        fputs(": ", stdout);
        text_write_value(stdout, value, SHOWN_BYTES);
        fputc('\n', stdout);
        dump->n++;
        return unless_output_failed();
}

static const char *entries(const objd_info *info)
{
        if (info->kind == OBJD_DICT)
                return info->len == 1 ? "entry" : "entries";
        return info->len == 1 ? "item" : "items";
}

static void print_text_head(const objd_info *info)
{
        char size[TEXT_SHORT], ref[TEXT_SHORT + 16];

        if (*info->name)
                text_write_escaped(stdout, info->name, strlen(info->name));
        else
                fputs("(no name)", stdout);
        printf("  %s", describe_kind(info));
        if (info->kind == OBJD_LOCK)
                fputs(info->len ? "  taken" : "  free", stdout);
        else
                printf("  %" PRIu64 " %s", info->len, entries(info));
        printf("  %s  %s\n", text_size(size, info->memory), text_ref(ref, info->ref));
}

/* The entries of an object that can be looked at; a poisoned one has only its head. */
static objd_status walk(struct dump *dump, objd_object *object, const objd_info *info)
{
        const struct kind *kind = kind_of(info->kind);

        dump->kind = info->kind;
        dump->n = 0;
        if (!kind || !kind->walk || info->poisoned)
                return OBJD_OK;
        return kind->walk(object, dump->limit, print_text_entry, dump);
}

static int dump_text(struct dump *dump, objd_object *object, const objd_info *info)
{
        objd_status r;

        print_text_head(info);
        r = walk(dump, object, info);
        if (!r && info->kind != OBJD_LOCK && dump->n >= dump->limit && info->len > dump->n)
                printf("  ... and %" PRIu64 " more\n", info->len - dump->n);
        return r && !ferror(stdout) ? answer(r) : EXIT_OK;
}

static int dump_object(struct dump *dump, objd_object *object)
{
        objd_info info;
        objd_status r = objd_info_get(object, &info);

        if (r)
                return answer(r);
        return dump_text(dump, object, &info);
}

/* One whose holder does not let go has been waited for; were it the same for all, it would take hours. */
#define PATIENCE_LEFT_NS 50000000

static int answer_held(objd_conn *conn, objd_status r)
{
        if (r == OBJD_E_BUSY)
                (void)objd_set_timeout(conn, PATIENCE_LEFT_NS); /* it is a good time-out */
        return answer(r);
}

/* An object that has gone since it was listed is no reason to complain. */
static int dump_ref(struct dump *dump, objd_conn *conn, objd_ref ref, bool anonymous_only)
{
        AUTO_HANDLE *object = NULL;
        objd_status r = objd_open_ref(conn, ref, OBJD_KIND_ANY, &object);
        objd_info info;

        if (!r && anonymous_only) {
                r = objd_info_get(object, &info);
                if (!r && *info.name)
                        return EXIT_OK;
        }
        if (r == OBJD_E_GONE || r == OBJD_E_NOTFOUND)
                return EXIT_OK;
        return r ? answer_held(conn, r) : dump_object(dump, object);
}

static int dump_named(struct dump *dump, objd_conn *conn)
{
        objd_info *infos;
        int code = EXIT_OK;
        objd_status r;
        size_t len;

        r = objd_list(conn, NULL, &infos, &len);
        if (r)
                return answer(r);
        for (size_t i = 0; i < len && !ferror(stdout); i++)
                code |= dump_ref(dump, conn, infos[i].ref, false);
        objd_infos_free(infos);
        return code;
}

static int dump_anonymous(struct dump *dump, objd_conn *conn)
{
        int code = EXIT_OK;
        objd_ref *refs;
        objd_status r;
        size_t len;

        r = objects_list(conn, OBJD_KIND_ANY, &refs, &len);
        if (r)
                return answer(r);
        for (size_t i = 0; i < len && !ferror(stdout); i++)
                code |= dump_ref(dump, conn, refs[i], true);
        free(refs);
        return code;
}

static int dump_one(struct dump *dump, objd_conn *conn, const char *name)
{
        AUTO_HANDLE *object = NULL;
        objd_status r = objects_open(conn, name, OBJD_KIND_ANY, &object);

        return r ? answer(r) : dump_object(dump, object);
}

/* What of the dump is not for its reader: on stderr. */
static int report(const struct request *request, const struct dump_report *report)
{
        if (request->atomic)
                complain("all objects stood still for %.1f ms while they were copied",
                         (double)report->pause_ns / 1e6);
        if (!report->n_damaged)
                return EXIT_OK;
        complain("%" PRIu64 " damaged objects are not in the dump; of the first: %s", report->n_damaged,
                 report->why);
        return EXIT_NO;
}

static int dump_json(const struct request *request, objd_conn *conn)
{
        struct dump_options options = { .atomic = request->atomic };
        struct dump_report done;
        AUTO_HANDLE *root = NULL;
        objd_status r = OBJD_OK;
        objd_ref ref;

        if (request->limit != UINT64_MAX)
                return bad_usage(request, "--limit is for a dump that people read");
        if (request->n_args) {
                r = objects_open(conn, request->args[0], OBJD_KIND_ANY, &root);
                if (r)
                        return answer(r);
                ref = objd_ref_of(root);
                options.root = &ref;
        }
        r = dump_write(conn, stdout, &options, &done);
        if (r && ferror(stdout))
                return EXIT_NO; /* objctl.c says why */
        return r ? answer(r) : report(request, &done);
}

static int run(const struct request *request, objd_conn *conn)
{
        struct dump dump = { .limit = request->limit };
        int code;

        if (request->json)
                return dump_json(request, conn);
        if (request->atomic)
                return bad_usage(request, "--atomic is for a dump in JSON");
        if (request->n_args)
                return dump_one(&dump, conn, request->args[0]);
        code = dump_named(&dump, conn);
        return code | dump_anonymous(&dump, conn);
}

const struct verb verb_dump = {
        .name = "dump",
        .args = "[NAME]",
        .summary = "what is in the store, or in one object",
        .help = "Prints an object, or all of them, with its entries. NAME may be #PLACE.SERIAL, as a\n"
                "dump shows it, for an object that has no name. \n"
                "With --json, everything that \"objctl load\" needs to make the same objects again,\n"
                "exactly: all that have names and what they refer to, or NAME and what it refers to.\n"
                "Each object is as of one moment; with --atomic all of them are as of the same one.\n"
                "Writers wait meanwhile, and readers go on; how long is said on stderr.\n",
        .example = "  $ objctl dump wordcount.counts --limit 2\n"
                   "  wordcount.counts  dict  197334 entries  24.4 MiB  #4259904.3\n"
                   "    \"the\": 1304433\n"
                   "    \"license\": 20713\n"
                   "    ... and 197332 more\n",
        .options = "lA",
        .min_args = 0,
        .max_args = 1,
        .run = run,
};
