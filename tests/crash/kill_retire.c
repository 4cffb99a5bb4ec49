/* SPDX-License-Identifier: Apache-2.0 */

/*
 * kill_retire.c -- a block of objects is retired, by a process that is killed at any instruction
 *
 * Handles compare retire_count and look at their objects again when it has changed. It was once put back with
 * everything else when the process that retired a block was killed: a handle that had seen the higher number would then not
 * have noticed the next retirement, and used a line in memory that is something else by now.
 */

#include <stdio.h>
#include <stdlib.h>

#include "crash/step.h"
#include "object/directory.h"
#include "support/child.h"
#include "support/image.h"

#define LOOKS 100
#define LAST "the only one in its block"

static void ok(objd_status r)
{
        if (r) {
                fprintf(stderr, "%s\n", objd_last_error());
                exit(1);
        }
}

static objd_status delete_last(struct objd_conn *conn, void *context)
{
        (void)context;
        return objd_delete(conn, LAST);
}

/* Two blocks of objects, with one in the second. */
static void build(struct image *ret_start)
{
        const uint32_t room = SLOTS_PER_BLOCK - 1;
        struct objd_conn conn;
        objd_object *object;
        char name[32];

        bare_create(&conn, 4 << 20);
        for (uint32_t i = 1; i < room; i++) { /* the dict of names is one */
                snprintf(name, sizeof(name), "%u", i);
                ok(objd_create(&conn, name, OBJD_LOCK, NULL, &object));
                objd_release(object);
        }
        ok(objd_create(&conn, LAST, OBJD_LOCK, NULL, &object));
        objd_release(object);
        image_take(conn.arena, ret_start);
        bare_leave(&conn);
}

struct sweep {
        uint64_t before;
        uint64_t n_looks, n_redone, n_bad;
};

static const void *image_at(const struct image *image, uint64_t off, uint64_t size)
{
        for (size_t i = 0; i < image->n; i++)
                if (off >= image->pieces[i].off && off + size <= image->pieces[i].off + image->pieces[i].size)
                        return image->pieces[i].bytes + (off - image->pieces[i].off);
        return NULL;
}

/* The first states after the count has been raised; it is settled within some ten instructions. */
static bool look(void *context, uint64_t step, const struct image *state)
{
        struct sweep *sweep = context;
        const struct header_shm *header = image_at(state, 0, sizeof(*header));
        uint64_t seen = header ? header->retire_count : 0, after;
        struct objd_conn conn;

        if (seen <= sweep->before)
                return true;
        bare_attach(&conn, image_make_file(state));
        sweep->n_bad += bare_check(&conn, "after the death") != 0;
        after = word_get(&conn.arena->header->retire_count);
        bare_leave(&conn);
        if (after < seen) {
                sweep->n_bad++;
                fprintf(stderr, "killed before instruction %llu: retire_count was %llu and is %llu\n",
                        (unsigned long long)step, (unsigned long long)seen, (unsigned long long)after);
        }
        /* Undone, and done once more: that is another retirement, and must have a number of its own. */
        sweep->n_redone += after > seen;
        return ++sweep->n_looks < LOOKS;
}

int main(void)
{
        struct image start;
        struct step_plan plan = { .start = &start, .fn = delete_last, .stride = 1 };
        struct sweep sweep = { 0 };
        struct objd_conn conn;
        uint64_t steps;

        build(&start);
        bare_attach(&conn, image_make_file(&start));
        sweep.before = word_get(&conn.arena->header->retire_count);
        bare_leave(&conn);
        steps = step_through(&plan, look, &sweep);
        printf("%llu instructions, %llu states, %llu of them with the retirement undone and done again, %llu bad\n",
               (unsigned long long)steps, (unsigned long long)sweep.n_looks,
               (unsigned long long)sweep.n_redone, (unsigned long long)sweep.n_bad);
        image_free(&start);
        return sweep.n_bad || !sweep.n_redone;
}
