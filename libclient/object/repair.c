/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair.c -- giving a damaged arena back a sound state: in which order
 */

#include "object/repair.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/life.h"
#include "base/status.h"
#include "base/sys.h"
#include "object/header.h"
#include "object/salvage.h"
#include "txn/lane.h"
#include "txn/recover.h"

/* Nobody is there to be waited for. */
#define PATIENCE_NS 20000000LL

/* Copying a broken object leaves what it had to be swept up; no more rounds are needed, unless memory is short. */
#define ROUNDS 3

/* How often all of it is done, as long as the checker is not content. */
#define TURNS 3

/* ---- Saying what is done -------------------------------------------------------------------------------- */

const char *repair_deed_name(enum repair_deed deed)
{
        static const char *const names[] = { "mended", "salvaged", "dropped", "left" };

        return names[deed];
}

static void report(struct repair *repair, enum repair_deed deed, const char *object, const char *sentence)
{
        repair->result.n_mended += deed == REPAIR_MENDED;
        repair->result.n_lost += deed == REPAIR_SALVAGED || deed == REPAIR_DROPPED;
        repair->report(repair->context, deed, object, sentence);
}

void repair_say(struct repair *repair, enum repair_deed deed, const char *format, ...)
{
        char sentence[512];
        va_list args;

        va_start(args, format);
        (void)vsnprintf(sentence, sizeof(sentence), format, args);
        va_end(args);
        report(repair, deed, repair->check.label, sentence);
}

void *repair_grow(struct repair *repair, void *array, size_t n, size_t *room, size_t size)
{
        size_t more = *room ? 2 * *room : 64;
        void *grown;

        if (n < *room)
                return array;
        grown = sys.resize(array, more * size);
        if (grown)
                *room = more;
        else
                repair->no_memory = true;
        return grown;
}

static void say_of_header(void *context, const char *sentence)
{
        report(context, REPAIR_MENDED, "(header)", sentence);
}

/* Faults of objects are said when it is known what becomes of them; all else is made anew in any case. */
static void say_of_books(void *context, const char *object, const char *sentence)
{
        if (*object == '(' && strcmp(object, "(names)") != 0 && strncmp(object, "(lane", 5) != 0 &&
            strncmp(object, "(client", 7) != 0)
                report(context, REPAIR_MENDED, object, sentence);
}

static void say_left(void *context, const char *object, const char *sentence)
{
        report(context, REPAIR_LEFT, object, sentence);
}

/* It will be tried once more. */
static void say_nothing(void *context, const char *object, const char *sentence)
{
        (void)context;
        (void)object;
        (void)sentence;
}

/* ---- Broken objects ------------------------------------------------------------------------------------- */

static void label(struct repair *repair, uint64_t place)
{
        repair->check.object = repair_object_at(repair->arena, place);
        repair->check.n_faults = 0;
        repair->check.lane = NULL;
        check_own_name(&repair->check);
        repair->check.n_faults = 0;
        repair_forget_chunks(repair);
}

static void drop(struct repair *repair, const struct repair_case *c)
{
        repair_say(repair, REPAIR_DROPPED, "%s", c->why);
        repair_drop(repair, c->place);
}

static objd_status deal_with(struct repair *repair, const struct repair_case *c)
{
        const struct object_shm *object = repair_object_at(repair->arena, c->place);
        const struct kind *kind = kind_of(object_kind(object->line.config));
        struct salvaged salvaged = { 0 };
        objd_status r;

        label(repair, c->place);
        if (!kind || !kind->salvage) {
                drop(repair, c);
                return OBJD_OK;
        }
        r = salvage_object(repair->conn, c->place, &salvaged);
        repair->result.n_no_room += r == OBJD_E_NOMEM;
        if (r == OBJD_E_NOMEM || r == OBJD_E_SYS)
                return r;
        if (r || salvaged.is_lost)
                drop(repair, c);
        else
                repair_say(repair, salvaged.n_kept < salvaged.n_said ? REPAIR_SALVAGED : REPAIR_MENDED,
                           "%s; it has %llu of the %llu entries that it counted", c->why,
                           (unsigned long long)salvaged.n_kept, (unsigned long long)salvaged.n_said);
        return OBJD_OK;
}

static objd_status deal_with_all(struct repair *repair, bool *ret_again)
{
        objd_status r = OBJD_OK;

        *ret_again = false;
        for (size_t i = 0; i < repair->n_cases; i++) {
                objd_status r2 = repair->cases[i].is_broken ? deal_with(repair, &repair->cases[i]) : OBJD_OK;

                *ret_again |= repair->cases[i].is_broken && !r2;
                r = r2 ? r2 : r;
        }
        return r;
}

/* Marks and sweeps until nothing is broken. If there is no memory for a copy, there may be after the next sweep. */
static objd_status mend_structures(struct repair *repair)
{
        objd_status r = OBJD_OK, r2;
        bool again = true;

        for (int round = 0; round < ROUNDS && again; round++) {
                repair->result.n_no_room = 0;
                repair_forget(repair);
                r = repair_mark(repair);
                if (r == OBJD_OK)
                        r = repair_sweep(repair);
                if (r)
                        return r;
                r2 = deal_with_all(repair, &again);
                if (r2 && !again)
                        return OBJD_OK; /* the checker will say what is left */
        }
        return r;
}

/* ---- All of it ------------------------------------------------------------------------------------------ */

static objd_status recover(struct repair *repair)
{
        objd_status r = lane_enter(repair->arena, PATIENCE_NS, &repair->check.lane);

        if (r)
                return r;
        (void)recover_all(repair->arena, repair->check.lane);
        repair_lanes(repair);
        repair_locks(repair);
        lane_leave(repair->check.lane);
        return OBJD_OK;
}

static objd_status repair_once(struct repair *repair)
{
        objd_status r = recover(repair);

        if (r)
                return r;
        header_recount(repair->arena, say_of_header,
                       repair); /* what could not be counted in the middle of a change */
        r = mend_structures(repair);
        if (r)
                return r;
        repair_clients(repair);
        r = repair_names(repair);
        (void)__atomic_fetch_add(&repair->arena->header->retire_count, 1, __ATOMIC_RELEASE);
        return r;
}

static void say_no_room(struct repair *repair)
{
        if (!repair->result.n_no_room)
                return;
        check_label(&repair->check, "(store)");
        repair_say(
                repair, REPAIR_LEFT,
                "%llu objects are as they were, for want of memory for what can be read of them: delete something, "
                "and repair again",
                (unsigned long long)repair->result.n_no_room);
}

/*
 * A chunk whose head lies about its size can be taken for free, and given out, before it is known whose it is. What that has
 * spoilt is a damage like any other, for the next turn.
 */
static objd_status repair_all(struct repair *repair)
{
        uint64_t n = 0;
        bool is_sound;
        objd_status r;

        header_recount(repair->arena, say_of_header, repair);
        repair_frontier(repair);
        is_sound = check_arena(repair->conn, say_of_books, repair, &n) == OBJD_OK && !n;
        for (int turn = 1; !is_sound; turn++) {
                r = repair_once(repair);
                if (r)
                        return r;
                n = 0;
                r = check_arena(repair->conn, turn < TURNS ? say_nothing : say_left, repair, &n);
                is_sound = r == OBJD_OK && !n;
                repair->result.n_left = n;
                if (turn == TURNS) {
                        say_no_room(repair);
                        return r;
                }
        }
        return OBJD_OK;
}

static objd_status begin(struct repair *repair)
{
        struct arena *arena = repair->arena;

        repair->check = (struct check){ .conn = repair->conn,
                                        .arena = arena,
                                        .patience_ns = PATIENCE_NS,
                                        .find_chunk = repair_find_chunk,
                                        .seen = sys.alloc(check_bits_size(arena)),
                                        .lines = sys.alloc(check_bits_size(arena)),
                                        .faults = sys.alloc(CHECK_FAULTS * sizeof(struct check_fault)) };
        repair->taken = sys.alloc(check_bits_size(arena));
        repair->held = sys.alloc(arena->n_blocks);
        return repair->check.seen && repair->check.lines && repair->check.faults && repair->taken &&
                               repair->held
                       ? OBJD_OK
                       : fail(OBJD_E_NOMEM, "no memory to repair the store");
}

static void end(struct repair *repair)
{
        for (size_t i = 0; i < repair->n_names; i++)
                free(repair->names[i].name);
        free(repair->names);
        free(repair->cases);
        free(repair->offs);
        free(repair->taken);
        free(repair->held);
        free(repair->check.seen);
        free(repair->check.lines);
        free(repair->check.faults);
}

static objd_status in_use(objd_status r)
{
        char why[256];

        if (r != OBJD_E_BUSY)
                return r;
        (void)snprintf(why, sizeof(why), "%s", objd_last_error());
        return fail(r,
                    "%s; a store is repaired while nobody else has it: stop its daemon and its clients first",
                    why);
}

objd_status repair_arena(struct objd_conn *conn, repair_report_fn report_fn, void *context,
                         struct repair_result *ret_result)
{
        struct repair repair = {
                .conn = conn, .arena = conn->arena, .report = report_fn, .context = context
        };
        int64_t timeout_ns = (int64_t)word_get((const uint64_t *)&conn->timeout_ns);
        objd_status r = life_begin_alone(conn->arena);

        if (r)
                return in_use(r);
        word_set((uint64_t *)&conn->timeout_ns, (uint64_t)PATIENCE_NS);
        r = begin(&repair);
        if (r == OBJD_OK)
                r = repair_all(&repair);
        word_set((uint64_t *)&conn->timeout_ns, (uint64_t)timeout_ns);
        life_end_alone(conn->arena);
        end(&repair);
        *ret_result = repair.result;
        return r;
}
