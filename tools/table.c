/* SPDX-License-Identifier: Apache-2.0 */

/*
 * table.c -- lines of aligned columns
 */

#include "table.h"

#include <stdarg.h>
#include <stdlib.h>

static bool grow(struct table *table)
{
        size_t room = table->room ? table->room * 2 : 64;
        char **cells;

        if (table->n_cells < table->room)
                return true;
        cells = realloc(table->cells, room * sizeof(*cells));
        if (!cells)
                return false;
        table->cells = cells;
        table->room = room;
        return true;
}

void table_cell(struct table *table, const char *format, ...)
{
        va_list args;
        char *cell;

        va_start(args, format);
        if (!table->failed && grow(table) && vasprintf(&cell, format, args) >= 0)
                table->cells[table->n_cells++] = cell;
        else
                table->failed = true;
        va_end(args);
}

/* How many columns of a terminal a text takes, near enough: its characters. */
static size_t text_width(const char *text)
{
        size_t width = 0;

        for (; *text; text++)
                width += ((uint8_t)*text & 0xc0) != 0x80;
        return width;
}

/* Blanks wait until something follows them, so that no line ends with some. */
static void print_cell(FILE *f, const char *cell, size_t width, bool right, size_t *blanks)
{
        size_t pad = width - text_width(cell);

        if (right)
                *blanks += pad;
        if (*cell) {
                fprintf(f, "%*s%s", (int)*blanks, "", cell);
                *blanks = 0;
        }
        *blanks += (right ? 0 : pad) + 2;
}

static void print_lines(const struct table *table, FILE *f, size_t *widths)
{
        size_t n = table->n_columns, n_cells = table->n_cells / n * n, blanks = 0;

        for (size_t i = 0; i < n_cells; i++) {
                size_t width = text_width(table->cells[i]);

                if (width > widths[i % n])
                        widths[i % n] = width;
        }
        for (size_t i = 0; i < n_cells; i++) {
                print_cell(f, table->cells[i], widths[i % n], table->right[i % n] == 'r', &blanks);
                if (i % n + 1 == n) {
                        fputc('\n', f);
                        blanks = 0;
                }
        }
}

int table_print(struct table *table, FILE *f)
{
        size_t *widths = calloc(table->n_columns, sizeof(*widths));

        if (widths)
                print_lines(table, f, widths);
        if (!widths || table->failed)
                complain("there is not enough memory for the table");
        for (size_t i = 0; i < table->n_cells; i++)
                free(table->cells[i]);
        free(table->cells);
        free(widths);
        return widths && !table->failed ? EXIT_OK : EXIT_NO;
}
