/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kind.c -- the table of kinds
 */

#include "object/kind.h"

#include <string.h>

/* In the order of their numbers. */
static const struct kind *const kinds[] = { &dict_kind, &list_kind, &queue_kind, &lock_kind };

const struct kind *kind_of(objd_kind kind)
{
        size_t place = (size_t)kind - OBJD_DICT;

        return place < sizeof(kinds) / sizeof(*kinds) ? kinds[place] : NULL;
}

const struct kind *kind_by_name(const char *name)
{
        for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
                if (!strcmp(kinds[i]->name, name))
                        return kinds[i];
        return NULL;
}
