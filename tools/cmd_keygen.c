/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cmd_keygen.c -- objctl keygen: makes a key for a client of a daemon on another machine
 */

#include <stdio.h>
#include <string.h>

#include "dumpload/json.h"
#include "rpc/keyfile.h"
#include "dumpload/text.h"
#include "objctl.h"

static int run(const struct request *request, objd_conn *conn)
{
        const char *path = request->args[0];
        char text[KEY_ID_TEXT_SIZE];
        uint8_t id[KEY_ID_SIZE];
        objd_status r;

        (void)conn; /* none: it works on a file */
        r = keyfile_add(path, &request->rights, id);
        if (r)
                return answer(r);
        if (request->json) {
                printf("{\"key\":\"%s\",\"file\":", key_id_text(id, text));
                json_write_text(stdout, path);
                printf("}\n");
                return EXIT_OK;
        }
        printf("key %s is in ", key_id_text(id, text));
        text_write_escaped(stdout, path, strlen(path));
        printf("\n");
        return EXIT_OK;
}

const struct verb verb_keygen = {
        .name = "keygen",
        .args = "FILE",
        .summary = "makes a key for clients over TCP",
        .help = "Adds a new key to FILE, a line of text, and says its id. If there is no such file it is\n"
                "made, with mode 0600; a file that others may read or write is refused. The daemon has a\n"
                "file with the keys of all its clients, whose lines say what each may do; a client has a\n"
                "file with one line, its own. A pattern with a star at its end stands for all names that\n"
                "begin with what is before the star.\n",
        .example = "  $ objctl keygen objd.keys\n"
                   "  $ objctl keygen --read-only --prefix 'team/*' --prefix jobs objd.keys\n",
        .options = "LN",
        .min_args = 1,
        .max_args = 1,
        .without_store = true,
        .run = run,
};
