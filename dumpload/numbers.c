/* SPDX-License-Identifier: Apache-2.0 */
/*
 * numbers.c -- the numbers that objects have in a dump: a table with open addressing
 */

#include "dumpload/numbers.h"

#include <stdlib.h>

#include "base/status.h"

#define FIRST_ROOM 64u
#define ROOM_MAX (1u << 30)

void numbers_deinit(struct numbers *numbers)
{
        free(numbers->objects);
        free(numbers->table);
        *numbers = (struct numbers){ 0 };
}

/* Serials are counted up, so they spread by themselves. */
static uint32_t first_place(const struct numbers *numbers, objd_ref ref)
{
        return (uint32_t)((ref.serial * 0x9e3779b97f4a7c15ULL) >> 32) & (2 * numbers->room - 1);
}

/* The table's word for this object, or the free one where it belongs. */
static uint32_t *look(const struct numbers *numbers, objd_ref ref)
{
        uint32_t at = first_place(numbers, ref);

        for (;; at = (at + 1) & (2 * numbers->room - 1)) {
                uint32_t number = numbers->table[at];

                if (!number || (numbers->objects[number - 1].ref.serial == ref.serial &&
                                numbers->objects[number - 1].ref.place == ref.place))
                        return &numbers->table[at];
        }
}

uint32_t numbers_find(const struct numbers *numbers, objd_ref ref)
{
        return numbers->room ? *look(numbers, ref) : 0;
}

static objd_status grow(struct numbers *numbers)
{
        uint32_t room = numbers->room ? 2 * numbers->room : FIRST_ROOM;
        struct numbered *objects;
        uint32_t *table;

        if (room > ROOM_MAX)
                return fail(OBJD_E_LIMIT, "there are more objects than a dump can have");
        table = calloc(2 * (size_t)room, sizeof(*table));
        objects = table ? realloc(numbers->objects, room * sizeof(*objects)) : NULL;
        if (!objects) {
                free(table);
                return fail(OBJD_E_NOMEM, "no memory for the numbers of %u objects", room);
        }
        free(numbers->table);
        numbers->objects = objects;
        numbers->table = table;
        numbers->room = room;
        for (uint32_t i = 0; i < numbers->len; i++)
                *look(numbers, objects[i].ref) = i + 1;
        return OBJD_OK;
}

objd_status numbers_add(struct numbers *numbers, objd_ref ref, uint32_t *ret_number)
{
        if (numbers->len == numbers->room) {
                objd_status r = grow(numbers);

                if (r)
                        return r;
        }
        *look(numbers, ref) = numbers->len + 1;
        numbers->objects[numbers->len++] = (struct numbered){ .ref = ref };
        *ret_number = numbers->len;
        return OBJD_OK;
}
