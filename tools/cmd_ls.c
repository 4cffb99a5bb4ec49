/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_ls.c -- objctl ls: which objects there are
 */

#include <inttypes.h>
#include <string.h>

#include "describe.h"
#include "dumpload/text.h"

static int print_text(const objd_info *infos, size_t len)
{
        struct table table = { .n_columns = 5, .right = "llrrl" };
        char size[TEXT_SHORT];

        for (size_t i = 0; i < len; i++) {
                table_cell(&table, "%s", infos[i].name);
                table_cell(&table, "%s", describe_kind(&infos[i]));
                table_cell(&table, "%" PRIu64, infos[i].len);
                table_cell(&table, "%s", text_size(size, infos[i].memory));
                describe_config_cell(&table, &infos[i]);
        }
        return table_print(&table, stdout);
}

static int run(const struct request *request, objd_conn *conn)
{
        const char *prefix = request->n_args ? request->args[0] : "";
        objd_info *infos;
        objd_status r;
        size_t len;
        int code = EXIT_OK;

        r = objd_list(conn, prefix, &infos, &len);
        if (r)
                return answer(r);
        if (request->json)
                for (size_t i = 0; i < len; i++) {
                        describe_json(stdout, &infos[i]);
                        fputs("}\n", stdout);
                }
        else
                code = print_text(infos, len);
        objd_infos_free(infos);
        return code;
}

const struct verb verb_ls = {
        .name = "ls",
        .args = "[PREFIX]",
        .summary = "the objects that have a name",
        .help = "Lists the objects whose names begin with PREFIX: name, kind, how many entries or\n"
                "items, memory, and how it was made. With --json, one object a line.\n",
        .example = "  $ objctl ls word\n"
                   "  wordcount.counts  dict   197334  24.4 MiB\n"
                   "  wordcount.files   queue       0    256 B\n",
        .options = "",
        .min_args = 0,
        .max_args = 1,
        .run = run,
};
