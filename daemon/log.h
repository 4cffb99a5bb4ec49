/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * log.h -- all that the daemon says to people
 *
 * A line is "date time level message" on stderr, written with one call, so that lines do not mix. Nothing is ever
 * waited for or retried: a log that nobody reads must not stop the daemon.
 */

enum log_level { LOG_LEVEL_ERROR = 0, LOG_LEVEL_WARNING = 1, LOG_LEVEL_INFO = 2, LOG_LEVEL_DEBUG = 3 };

/* Lines above this level are left out. */
void log_set_level(enum log_level level);

/* "error", "warning", "info", "debug"; returns -1 if it is none of them. */
int log_level_by_name(const char *name);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * A warning that a stranger can cause as often as it likes: so many of them are written within a second, and then how
 * many were not.
 */
#define LOG_LIMIT_PER_SECOND 20
void log_limited(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Text for whoever asked for it (--help, --version): stdout, as it is. */
void log_answer(const char *text);
