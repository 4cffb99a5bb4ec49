/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log.c -- all that the daemon says to people; the only file that prints
 */

#include "log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_SIZE 1024

static enum log_level max_level = LOG_LEVEL_INFO;

static const char *const level_name[] = { "error", "warning", "info", "debug" };

void log_set_level(enum log_level level)
{
        max_level = level;
}

int log_level_by_name(const char *name)
{
        for (int i = 0; i <= LOG_LEVEL_DEBUG; i++)
                if (strcmp(name, level_name[i]) == 0)
                        return i;
        return -1;
}

static void say(int fd, const char *text, size_t size)
{
        /* Whoever reads the log may have gone; the daemon goes on. */
        ssize_t n = write(fd, text, size);

        (void)n;
}

static size_t print_prefix(char *line, enum log_level level)
{
        struct timespec now = { 0 }; /* a clock that fails is no reason to say nothing */
        struct tm tm;
        size_t n;

        clock_gettime(CLOCK_REALTIME, &now);
        localtime_r(&now.tv_sec, &tm);
        n = strftime(line, LINE_MAX_SIZE, "%Y-%m-%d %H:%M:%S", &tm);
        return n + (size_t)snprintf(line + n, LINE_MAX_SIZE - n, ".%03ld %-7s ", now.tv_nsec / 1000000,
                                    level_name[level]);
}

/* A message may quote what a stranger sent: nothing of it may start a line of its own or steer a terminal. */
static void clean(char *text)
{
        for (unsigned char *p = (unsigned char *)text; *p; p++) {
                bool is_c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0; /* U+0080 to U+009F */

                if (*p < ' ' || *p == 0x7f || is_c1)
                        *p = '?';
                if (is_c1)
                        *++p = '?';
        }
}

static void print_line(enum log_level level, const char *format, va_list args)
{
        char line[LINE_MAX_SIZE];
        size_t n;

        if (level > max_level)
                return;
        n = print_prefix(line, level);
        if (vsnprintf(line + n, sizeof(line) - n - 1, format, args) < 0)
                return;
        clean(line + n);
        n = strlen(line);
        line[n++] = '\n';
        say(STDERR_FILENO, line, n);
}

void log_line(enum log_level level, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        print_line(level, format, args);
        va_end(args);
}

/* Whether one more line of this thread fits into this second. */
static bool is_within_limit(void)
{
        static _Thread_local time_t second;
        static _Thread_local unsigned n_written, n_left_out;
        time_t now = time(NULL);

        if (now != second) {
                if (n_left_out)
                        log_warning("%u lines like the last ones were left out", n_left_out);
                second = now;
                n_written = n_left_out = 0;
        }
        if (n_written == LOG_LIMIT_PER_SECOND) {
                n_left_out++;
                return false;
        }
        n_written++;
        return true;
}

void log_limited(const char *format, ...)
{
        va_list args;

        if (!is_within_limit())
                return;
        va_start(args, format);
        print_line(LOG_LEVEL_WARNING, format, args);
        va_end(args);
}

void log_answer(const char *text)
{
        say(STDOUT_FILENO, text, strlen(text));
}
