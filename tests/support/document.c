/* SPDX-License-Identifier: Apache-2.0 */

/*
 * document.c -- docs/protocol.md, and the bytes of the frames that are written out in it
 */

#include "support/document.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test.h"

static char *document;

int document_read(void **state)
{
        char path[4096];
        long size;
        FILE *file;

        (void)state;
        snprintf(path, sizeof(path), "%s/docs/protocol.md", getenv("OBJD_TEST_SOURCE_ROOT"));
        file = fopen(path, "r");
        if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0)
                return -1;
        rewind(file);
        document = calloc(1, (size_t)size + 1);
        if (!document || fread(document, 1, (size_t)size, file) != (size_t)size)
                return -1;
        return fclose(file);
}

int document_forget(void **state)
{
        (void)state;
        free(document);
        return 0;
}

const char *document_text(void)
{
        return document;
}

/*
 * The bytes at the beginning of a line: pairs of hexadecimal digits with a space between them, up to two
 * spaces.
 */
static size_t read_line(const char *line, uint8_t *bytes, size_t max)
{
        size_t n = 0;

        while (*line == ' ')
                line++;
        while (isxdigit((unsigned char)line[0]) && isxdigit((unsigned char)line[1]) &&
               (line[2] == ' ' || line[2] == '\n')) {
                if (n == max)
                        fail_msg("a frame of docs/protocol.md is longer than there is room for");
                bytes[n++] = (uint8_t)strtoul((char[]){ line[0], line[1], 0 }, NULL, 16);
                line += line[2] == ' ' && line[3] != ' ' ? 3 : 2;
        }
        return n;
}

size_t document_frame(const char *name, uint8_t *bytes, size_t max)
{
        char begin[64];
        const char *line;
        size_t n = 0;

        snprintf(begin, sizeof(begin), "```frame %s\n", name);
        line = strstr(document, begin);
        if (!line)
                fail_msg("docs/protocol.md has no frame %s", name);
        for (line = strchr(line, '\n') + 1; strncmp(line, "```", 3); line = strchr(line, '\n') + 1)
                n += read_line(line, bytes + n, max - n);
        return n;
}
