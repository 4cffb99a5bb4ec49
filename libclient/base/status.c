/* SPDX-License-Identifier: Apache-2.0 */

/*
 * status.c -- names of statuses, and the sentence of each thread's last failure
 *
 * The sentence lives in the thread's static TLS block, so a failure never needs memory. That block is shared
 * with every other library that comes by dlopen(), which is why the buffer is no larger than the longest
 * sentence about an object with a name of full length.
 */

#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/next_timeout.h"

#define SENTENCE_SIZE 400u

static __thread char sentence[SENTENCE_SIZE];

static const char *const names[] = {
        [OBJD_OK] = "OBJD_OK",
        [OBJD_E_INVAL] = "OBJD_E_INVAL",
        [OBJD_E_TYPE] = "OBJD_E_TYPE",
        [OBJD_E_KIND] = "OBJD_E_KIND",
        [OBJD_E_NOTFOUND] = "OBJD_E_NOTFOUND",
        [OBJD_E_EXISTS] = "OBJD_E_EXISTS",
        [OBJD_E_GONE] = "OBJD_E_GONE",
        [OBJD_E_NOMEM] = "OBJD_E_NOMEM",
        [OBJD_E_BUSY] = "OBJD_E_BUSY",
        [OBJD_E_TIMEOUT] = "OBJD_E_TIMEOUT",
        [OBJD_E_EMPTY] = "OBJD_E_EMPTY",
        [OBJD_E_FULL] = "OBJD_E_FULL",
        [OBJD_E_CLOSED] = "OBJD_E_CLOSED",
        [OBJD_E_POISONED] = "OBJD_E_POISONED",
        [OBJD_E_RANGE] = "OBJD_E_RANGE",
        [OBJD_E_TOOBIG] = "OBJD_E_TOOBIG",
        [OBJD_E_LIMIT] = "OBJD_E_LIMIT",
        [OBJD_E_NOTOWNER] = "OBJD_E_NOTOWNER",
        [OBJD_E_OWNER_DIED] = "OBJD_E_OWNER_DIED",
        [OBJD_E_MISMATCH] = "OBJD_E_MISMATCH",
        [OBJD_E_CORRUPT] = "OBJD_E_CORRUPT",
        [OBJD_E_FORMAT] = "OBJD_E_FORMAT",
        [OBJD_E_NODAEMON] = "OBJD_E_NODAEMON",
        [OBJD_E_ACCESS] = "OBJD_E_ACCESS",
        [OBJD_E_REENTERED] = "OBJD_E_REENTERED",
        [OBJD_E_SYS] = "OBJD_E_SYS",
        [OBJD_E_PROTO] = "OBJD_E_PROTO",
        [OBJD_E_NOTSUP] = "OBJD_E_NOTSUP",
};

const char *objd_strerror(objd_status status)
{
        size_t i = (size_t)status;

        return i < sizeof(names) / sizeof(names[0]) ? names[i] : "unknown status";
}

const char *objd_last_error(void)
{
        return sentence[0] ? sentence : "no call of this thread has failed";
}

#define TEXT(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

const char *objd_version(void)
{
        return VERSION_TEXT(OBJD_VERSION_MAJOR, OBJD_VERSION_MINOR, OBJD_VERSION_PATCH);
}

/* A sentence that was cut must not end in half a character. */
static void trim_character(void)
{
        size_t end = strlen(sentence), start = end;

        while (start && ((unsigned char)sentence[start - 1] & 0xc0) == 0x80)
                start--;
        if (start && ((unsigned char)sentence[start - 1] & 0xc0) == 0xc0)
                sentence[start - 1] = 0;
}

/* Formats into a buffer of its own first: an argument may be the last sentence. */
static void remember(const char *format, va_list args, const char *tail)
{
        char text[SENTENCE_SIZE];
        int n = vsnprintf(text, sizeof(text), format, args);

        if (n < 0) /* only a wide character that cannot be converted; we use none */
                n = text[0] = 0;
        if (tail && (size_t)n < sizeof(text))
                n += snprintf(text + n, sizeof(text) - (size_t)n, ": %s", tail);
        memcpy(sentence, text, strlen(text) + 1);
        if ((size_t)n >= sizeof(text))
                trim_character();
}

_Thread_local struct next_timeout next_timeout;

/* A call that fails before it has come to waiting was the next call all the same. */
static void end_next_timeout(void)
{
        if (!next_timeout.holder)
                next_timeout.set = false;
}

objd_status fail(objd_status status, const char *format, ...)
{
        va_list args;
        int saved = errno;

        end_next_timeout();
        va_start(args, format);
        remember(format, args, NULL);
        va_end(args);
        errno = saved;
        return status;
}

static objd_status status_of(int error)
{
        switch (error) {
        case ENOMEM:
        case ENOSPC:
                return OBJD_E_NOMEM;
        case EACCES:
        case EPERM:
                return OBJD_E_ACCESS;
        default:
                return OBJD_E_SYS;
        }
}

objd_status fail_errno(const char *format, ...)
{
        va_list args;
        int error = errno;
        char buffer[128];

        end_next_timeout();
        va_start(args, format);
        remember(format, args, strerror_r(error, buffer, sizeof(buffer)));
        va_end(args);
        errno = error;
        return status_of(error);
}
