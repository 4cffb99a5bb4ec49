/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mend.c -- a damaged arena is repaired, and then the checker must find nothing
 *
 * But for objects of which what can be read finds no room in an arena that is full, as the smallest ones here soon are: those are
 * left as they were, and that is said.
 *
 * The repair is a process's that comes after the damage, as "objctl check --repair" is: the lane and the client that this one
 * had until then are those of somebody dead.
 */

#include "damage.h"

#include <stdlib.h>
#include <string.h>

#include "object/header.h"
#include "object/repair.h"

struct said {
        bool print;
        uint64_t n_left;
        char first[512];
};

static void say(const struct said *said, const char *what, const char *object, const char *sentence)
{
        if (said->print)
                printf("%s: %s: %s\n", what, object, sentence);
}

static void say_header(void *context, const char *sentence)
{
        say(context, "mended", "(header)", sentence);
}

static void say_deed(void *context, enum repair_deed deed, const char *object, const char *sentence)
{
        struct said *said = context;

        say(said, repair_deed_name(deed), object, sentence);
        if (deed == REPAIR_LEFT && !said->n_left++)
                snprintf(said->first, sizeof(said->first), "%s: %s", object, sentence);
}

/* The thread's lane and the process's client are nobody's any more. */
static void come_anew(struct subject *subject)
{
        struct lane **p = &lane_own;

        while (*p)
                if ((*p)->arena == subject->conn.arena) {
                        struct lane *old = *p;

                        *p = old->next;
                        free(old);
                } else {
                        p = &(*p)->next;
                }
        subject->conn.arena->client = 0;
}

void mend(struct subject *subject, bool print)
{
        struct said said = { .print = print };
        struct repair_result result = { 0 };
        objd_status r;

        come_anew(subject);
        subject->struck_common = true; /* all of it has to be put back */
        r = header_restore(subject->conn.arena->fd, say_header, &said);
        if (r == OBJD_OK)
                r = repair_arena(&subject->conn, say_deed, &said, &result);
        if (r == OBJD_OK && ((!said.n_left && !result.n_left) || result.n_no_room))
                return;
        fprintf(stderr, "the store \"%s\" is not sound after its repair: %s\n", subject->name,
                r ? objd_last_error() : said.first);
        abort();
}
