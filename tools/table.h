/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * table.h -- lines of aligned columns, for people
 */

#include <stdio.h>

#include "objctl.h"

/* Lines of aligned columns. Cells are copied; a table grows until it is printed and freed. */
struct table {
        size_t n_columns;
        const char *right; /* for each column 'r' for right-aligned, else 'l' */
        char **cells;
        size_t n_cells, room;
        bool failed; /* out of memory: what is there is printed, and the failure said */
};

void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints the lines, then frees the table. Gives EXIT_OK or EXIT_NO. */
int table_print(struct table *table, FILE *f);
