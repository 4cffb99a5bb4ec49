/* SPDX-License-Identifier: Apache-2.0 */

/*
 * rights.c -- what somebody may do through the daemon
 */

#include "rpc/rights.h"

#include <string.h>

#include "base/status.h"
#include "base/utf8.h"

static bool has_control_character(const char *text, size_t size)
{
        for (size_t i = 0; i < size; i++)
                if ((uint8_t)text[i] < 0x20 || text[i] == 0x7f)
                        return true;
        return false;
}

objd_status rights_add_name(struct rights *rights, const char *pattern, size_t size)
{
        const char *star = size ? memchr(pattern, '*', size) : NULL;

        if (!size)
                return fail(OBJD_E_INVAL, "an empty text is no pattern for names");
        if (star && star != pattern + size - 1)
                return fail(OBJD_E_INVAL, "in a pattern for names a star can only be the last character");
        if (size - (star ? 1 : 0) > OBJD_NAME_MAX)
                return fail(OBJD_E_TOOBIG,
                            "a pattern for names is longer than any name, which has at most %d bytes",
                            OBJD_NAME_MAX);
        if (!utf8_is_valid(pattern, size) || has_control_character(pattern, size))
                return fail(OBJD_E_INVAL, "a pattern for names is no UTF-8, or has a control character");
        if (size + 1 > (size_t)RIGHTS_NAMES_MAX - rights->names_size)
                return fail(OBJD_E_LIMIT, "the patterns for names have more than %d bytes together",
                            RIGHTS_NAMES_MAX);
        memcpy(rights->names + rights->names_size, pattern, size);
        rights->names[rights->names_size + size] = 0;
        rights->names_size = (uint16_t)(rights->names_size + size + 1);
        return OBJD_OK;
}

bool rights_are_equal(const struct rights *a, const struct rights *b)
{
        return a->read_only == b->read_only && a->names_size == b->names_size &&
               memcmp(a->names, b->names, a->names_size) == 0;
}

static bool fits(const char *pattern, size_t size, const char *name)
{
        if (size && pattern[size - 1] == '*')
                return strncmp(pattern, name, size - 1) == 0;
        return strcmp(pattern, name) == 0;
}

bool rights_allow_name(const struct rights *rights, const char *name)
{
        const char *end = rights->names + rights->names_size;

        if (rights_allow_all_names(rights))
                return true;
        if (!name)
                return false;
        for (const char *p = rights->names; p < end;) {
                size_t size = strnlen(p, (size_t)(end - p));

                if (fits(p, size, name))
                        return true;
                p += size + 1;
        }
        return false;
}

/* ---- As text ------------------------------------------------------------------------------------------ */

static bool is_blank(char c)
{
        return c == ' ' || c == '\t';
}

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

/* The pattern behind its text: %HH is a byte. */
static objd_status add_text(struct rights *rights, const char *text, size_t size)
{
        char pattern[OBJD_NAME_MAX +
                     2]; /* a byte more than a pattern may have, which rights_add_name() refuses */
        size_t n = 0;

        for (size_t i = 0; i < size && n < sizeof(pattern); i++) {
                int high, low;

                if (text[i] != '%') {
                        pattern[n++] = text[i];
                        continue;
                }
                high = i + 2 < size ? hex_digit(text[i + 1]) : -1;
                low = i + 2 < size ? hex_digit(text[i + 2]) : -1;
                if (high < 0 || low < 0)
                        return fail(OBJD_E_INVAL,
                                    "in a pattern for names a %% is not followed by two hex digits");
                pattern[n++] = (char)(high << 4 | low);
                i += 2;
        }
        return rights_add_name(rights, pattern, n);
}

/* The next word at *p; its size is 0 at the end. */
static const char *next_word(const char **p, const char *end, size_t *ret_size)
{
        const char *word;

        while (*p < end && is_blank(**p))
                (*p)++;
        word = *p;
        while (*p < end && !is_blank(**p))
                (*p)++;
        *ret_size = (size_t)(*p - word);
        return word;
}

static bool is_word(const char *word, size_t size, const char *expected)
{
        return size == strlen(expected) && memcmp(word, expected, size) == 0;
}

objd_status rights_parse(const char *text, size_t size, struct rights *ret)
{
        struct rights rights = { .read_only = false };
        const char *p = text, *end = text + size;
        const char *word = next_word(&p, end, &size);
        objd_status r;

        if (is_word(word, size, "ro"))
                rights.read_only = true;
        else if (!is_word(word, size, "rw"))
                return fail(OBJD_E_INVAL, "the rights do not begin with \"rw\" or \"ro\"");
        for (;;) {
                word = next_word(&p, end, &size);
                if (!size)
                        break;
                r = add_text(&rights, word, size);
                if (r)
                        return r;
        }
        *ret = rights;
        return OBJD_OK;
}

static char *write_byte(char *p, uint8_t byte)
{
        static const char digits[] = "0123456789abcdef";

        if (byte > 0x20 && byte != 0x7f && byte != '%') {
                *p = (char)byte;
                return p + 1;
        }
        p[0] = '%';
        p[1] = digits[byte >> 4];
        p[2] = digits[byte & 15];
        return p + 3;
}

const char *rights_write(const struct rights *rights, char text[RIGHTS_TEXT_MAX])
{
        bool begins = true;
        char *p = text;

        *p++ = 'r';
        *p++ = rights->read_only ? 'o' : 'w';
        for (size_t i = 0; i < rights->names_size; i++) {
                if (!rights->names[i]) {
                        begins = true;
                        continue;
                }
                if (begins)
                        *p++ = ' ';
                begins = false;
                p = write_byte(p, (uint8_t)rights->names[i]);
        }
        *p = 0;
        return text;
}
