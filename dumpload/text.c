/* SPDX-License-Identifier: Apache-2.0 */

/*
 * text.c -- what is printed for people
 */

#include "dumpload/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"
#include "dumpload/names.h"

/* ---- Text --------------------------------------------------------------------------------------------- */

/* Length of the whole UTF-8 character at text; 0 if there is none. */
static size_t character_size(const char *text, size_t size)
{
        for (size_t n = 1; n <= 4 && n <= size; n++)
                if (utf8_is_valid(text, n))
                        return n;
        return 0;
}

/* Control characters: C0, DEL, and C1, which UTF-8 writes as 0xc2 0x80 to 0xc2 0x9f. */
static bool is_control(const char *text, size_t size)
{
        uint8_t first = (uint8_t)text[0];

        return first < 0x20 || first == 0x7f || (size == 2 && first == 0xc2 && (uint8_t)text[1] < 0xa0);
}

static void write_escape(FILE *f, uint8_t byte)
{
        switch (byte) {
        case '\n':
                fputs("\\n", f);
                return;
        case '\t':
                fputs("\\t", f);
                return;
        case '\r':
                fputs("\\r", f);
                return;
        default:
                fprintf(f, "\\x%02x", byte);
        }
}

static void write_escaped(FILE *f, const char *text, size_t size, bool quoted)
{
        while (size) {
                size_t n = character_size(text, size);

                if (n && !is_control(text, n)) {
                        if (quoted && (*text == '"' || *text == '\\'))
                                fputc('\\', f);
                        fwrite(text, 1, n, f);
                } else {
                        n = n ? n : 1;
                        for (size_t i = 0; i < n; i++)
                                write_escape(f, (uint8_t)text[i]);
                }
                text += n;
                size -= n;
        }
}

void text_write_escaped(FILE *f, const char *text, size_t size)
{
        write_escaped(f, text, size, false);
}

/* ---- Values ------------------------------------------------------------------------------------------- */

/* The shortest text that reads back as the same number. */
static void write_float(FILE *f, double real)
{
        char text[40];

        if (!isfinite(real)) {
                fputs(isnan(real) ? "nan" : real > 0 ? "inf" : "-inf", f);
                return;
        }
        for (int digits = 15; digits <= 17; digits++) {
                snprintf(text, sizeof(text), "%.*g", digits, real);
                if (strtod(text, NULL) == real)
                        break;
        }
        fprintf(f, "%s%s", text, strpbrk(text, ".e") ? "" : ".0");
}

/* Where to cut a text so that no character is split. */
static size_t cut(const char *text, size_t size, size_t max)
{
        size_t n = size < max ? size : max;

        while (n && n < size && ((uint8_t)text[n] & 0xc0) == 0x80)
                n--;
        return n;
}

static void write_str(FILE *f, const objd_value *value, size_t max)
{
        size_t n = cut(value->data, value->size, max);

        fputc('"', f);
        write_escaped(f, value->data, n, true);
        if (n < value->size)
                fprintf(f, "\"... (%zu bytes)", value->size);
        else
                fputc('"', f);
}

static void write_hex(FILE *f, const objd_value *value, size_t max)
{
        const uint8_t *p = value->data;
        size_t n = value->size < max / 2 ? value->size : max / 2;

        fputs("0x", f);
        for (size_t i = 0; i < n; i++)
                fprintf(f, "%02x", p[i]);
        if (n < value->size)
                fprintf(f, "... (%zu bytes)", value->size);
}

static void write_number(FILE *f, objd_dtype dtype, const uint8_t *p)
{
        union {
                int8_t i8;
                int16_t i16;
                int32_t i32;
                int64_t i64;
                uint8_t u8;
                uint16_t u16;
                uint32_t u32;
                uint64_t u64;
                float f32;
                double f64;
        } n;

        memcpy(&n, p, dtype_width(dtype));
        switch (dtype) {
        case OBJD_I8:
                fprintf(f, "%" PRId8, n.i8);
                return;
        case OBJD_U8:
                fprintf(f, "%" PRIu8, n.u8);
                return;
        case OBJD_I16:
                fprintf(f, "%" PRId16, n.i16);
                return;
        case OBJD_U16:
                fprintf(f, "%" PRIu16, n.u16);
                return;
        case OBJD_I32:
                fprintf(f, "%" PRId32, n.i32);
                return;
        case OBJD_U32:
                fprintf(f, "%" PRIu32, n.u32);
                return;
        case OBJD_I64:
                fprintf(f, "%" PRId64, n.i64);
                return;
        case OBJD_U64:
                fprintf(f, "%" PRIu64, n.u64);
                return;
        case OBJD_F32:
                fprintf(f, "%.9g", (double)n.f32);
                return;
        case OBJD_F64:
                write_float(f, n.f64);
                return;
        }
}

/* "f64[2x3] 1.0 2.0 ..." */
static void write_array(FILE *f, const objd_value *value, size_t max)
{
        unsigned width = dtype_width(value->dtype);
        size_t n = width ? value->size / width : 0;
        size_t n_shown = max / 8 < n ? max / 8 : n;

        fprintf(f, "%s[", dtype_name(value->dtype));
        for (uint32_t i = 0; i < value->ndim && i < OBJD_NDIM_MAX; i++)
                fprintf(f, "%s%" PRIu64, i ? "x" : "", value->shape[i]);
        fputc(']', f);
        for (size_t i = 0; i < n_shown; i++) {
                fputc(' ', f);
                write_number(f, value->dtype, (const uint8_t *)value->data + i * width);
        }
        if (n_shown < n)
                fputs(" ...", f);
}

void text_write_value(FILE *f, const objd_value *value, size_t max)
{
        char ref[TEXT_SHORT + 16];

        switch (value->type) {
        case OBJD_NIL:
        case OBJD_ANY:
                fputs("null", f);
                return;
        case OBJD_BOOL:
                fputs(value->u.boolean ? "true" : "false", f);
                return;
        case OBJD_INT:
                fprintf(f, "%" PRId64, value->u.integer);
                return;
        case OBJD_FLOAT:
                write_float(f, value->u.real);
                return;
        case OBJD_STR:
                write_str(f, value, max);
                return;
        case OBJD_BYTES:
                write_hex(f, value, max);
                return;
        case OBJD_ARRAY:
                write_array(f, value, max);
                return;
        case OBJD_MESSAGE:
                write_escaped(f, value->name, value->name_size, false);
                fputc(' ', f);
                write_hex(f, value, max);
                return;
        case OBJD_REF:
                fprintf(f, "-> %s", text_ref(ref, value->u.ref));
                return;
        }
        fputc('?', f);
}

void text_write_plain(FILE *f, const objd_value *value)
{
        if (value->type != OBJD_STR)
                text_write_value(f, value, SIZE_MAX);
        else if (isatty(fileno(f)))
                write_escaped(f, value->data, value->size, false);
        else
                fwrite(value->data, 1, value->size, f);
}

/* ---- Sizes and times ---------------------------------------------------------------------------------- */

const char *text_size(char buf[TEXT_SHORT], uint64_t bytes)
{
        static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
        double size = (double)bytes;
        size_t unit = 0;

        if (bytes < 1024) {
                snprintf(buf, TEXT_SHORT, "%" PRIu64 " B", bytes);
                return buf;
        }
        /* What would be printed as 1024.0 is one of the next unit. */
        for (size /= 1024; size >= 1023.95 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
                size /= 1024;
        snprintf(buf, TEXT_SHORT, "%.1f %s", size, units[unit]);
        return buf;
}

const char *text_time(char buf[TEXT_SHORT], int64_t wall_ns)
{
        time_t seconds = (time_t)(wall_ns / 1000000000);
        struct tm tm;

        if (!localtime_r(&seconds, &tm) || !strftime(buf, TEXT_SHORT, "%Y-%m-%d %H:%M:%S", &tm))
                snprintf(buf, TEXT_SHORT, "?");
        return buf;
}

const char *text_duration(char buf[TEXT_SHORT], int64_t ns)
{
        int64_t s = ns > 0 ? ns / 1000000000 : 0;

        if (s < 60)
                snprintf(buf, TEXT_SHORT, "%" PRId64 " s", s);
        else if (s < 3600)
                snprintf(buf, TEXT_SHORT, "%" PRId64 " min", s / 60);
        else if (s < 86400)
                snprintf(buf, TEXT_SHORT, "%" PRId64 " h %" PRId64 " min", s / 3600, s / 60 % 60);
        else
                snprintf(buf, TEXT_SHORT, "%" PRId64 " d %" PRId64 " h", s / 86400, s / 3600 % 24);
        return buf;
}

const char *text_ref(char buf[TEXT_SHORT + 16], objd_ref ref)
{
        snprintf(buf, TEXT_SHORT + 16, "#%" PRIu64 ".%" PRIu64, ref.place, ref.serial);
        return buf;
}
