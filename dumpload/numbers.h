/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * numbers.h -- the numbers that objects have in a dump, from 1 on in the order in which it first speaks of them
 */

#include <objd.h>

struct numbered {
        objd_ref ref;
        bool dumped;
};

struct numbers {
        struct numbered *objects; /* objects[number - 1] */
        uint32_t len, room;
        uint32_t *table; /* of numbers, by place and serial; twice as many as there is room for objects */
};

void numbers_deinit(struct numbers *numbers);

/* 0 if it has none. */
uint32_t numbers_find(const struct numbers *numbers, objd_ref ref);

/* Gives the next number to an object that has none. @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_LIMIT */
objd_status numbers_add(struct numbers *numbers, objd_ref ref, uint32_t *ret_number);
