/* SPDX-License-Identifier: Apache-2.0 */

/*
 * url.c -- which arena a url means
 */

#include "client/url.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arena/layout.h"
#include "base/status.h"

void url_default_directory(uid_t uid, char ret_directory[PATH_MAX])
{
        snprintf(ret_directory, PATH_MAX, "/dev/shm/objd-%u", (unsigned)uid);
}

objd_status url_check_name(const char *what, const char *name)
{
        static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
        size_t size = strlen(name), good = strspn(name, allowed);

        if (size == 0)
                return fail(OBJD_E_INVAL, "%s: the store's name is empty", what);
        if (size > STORE_NAME_MAX)
                return fail(OBJD_E_INVAL, "%s: the store's name has %zu bytes, at most %d are allowed", what,
                            size, STORE_NAME_MAX);
        if (good < size)
                return fail(OBJD_E_INVAL, "%s: byte %zu of the store's name is none of A-Z a-z 0-9 . _ -",
                            what, good + 1);
        return OBJD_OK;
}

/* How far a suffix shifts; -1 if it is none. */
static int suffix_shift(const char *suffix)
{
        static const char letters[] = "KMGT";
        const char *found;

        if (*suffix == '\0')
                return 0;
        found = strchr(letters, *suffix);
        if (!found || suffix[1] != '\0')
                return -1;
        return (int)(found - letters + 1) * 10;
}

objd_status url_parse_size(const char *what, const char *text, uint64_t *ret_size)
{
        uint64_t size = 0;
        const char *p = text;
        int shift;

        for (; *p >= '0' && *p <= '9'; p++)
                if (__builtin_mul_overflow(size, 10u, &size) ||
                    __builtin_add_overflow(size, (uint64_t)(*p - '0'), &size))
                        return fail(OBJD_E_INVAL, "%s: the size \"%s\" does not fit into 64 bits", what,
                                    text);

        shift = suffix_shift(p);
        if (p == text || shift < 0)
                return fail(OBJD_E_INVAL, "%s: \"%s\" is no size: digits, and perhaps K, M, G or T", what,
                            text);
        if (size > UINT64_MAX >> shift)
                return fail(OBJD_E_INVAL, "%s: the size \"%s\" does not fit into 64 bits", what, text);

        size <<= shift;
        if (size < ARENA_SIZE_MIN || size > ARENA_SIZE_MAX)
                return fail(OBJD_E_INVAL, "%s: the size is %" PRIu64 " bytes, it may be from 1M to 1T", what,
                            size);
        *ret_size = size;
        return OBJD_OK;
}

/* "NAME" or "/DIR/NAME". */
static objd_status parse_place(const char *text, const char *place, struct url *url)
{
        const char *slash = strrchr(place, '/');
        const char *name = slash ? slash + 1 : place;
        size_t size = slash ? (size_t)(slash - place) : 0;
        objd_status r;

        if (slash && *place != '/')
                return fail(OBJD_E_INVAL, "url \"%s\": the directory must begin with a /", text);
        if (size >= sizeof(url->directory))
                return fail(OBJD_E_INVAL, "url: the directory has %zu bytes, at most %zu are allowed", size,
                            sizeof(url->directory) - 1);
        r = url_check_name("url", name);
        if (r)
                return r;

        strcpy(url->name, name);
        url->own_directory = !slash;
        if (!slash) {
                url_default_directory(geteuid(), url->directory);
        } else {
                memcpy(url->directory, place, size);
                strcpy(url->directory + size, size ? "" : "/");
        }
        return OBJD_OK;
}

static const char *behind(const char *text, const char *prefix)
{
        size_t size = strlen(prefix);

        return strncmp(text, prefix, size) == 0 ? text + size : NULL;
}

/* Cuts "?read-only" off. */
static objd_status parse_place_and_access(const char *text, const char *place, struct url *url)
{
        static const char suffix[] = "?read-only";
        size_t size = strlen(place), n = sizeof(suffix) - 1;
        char cut[sizeof(url->directory) + STORE_NAME_MAX + 2];

        if (size < n || strcmp(place + size - n, suffix) != 0)
                return parse_place(text, place, url);
        if (size - n >= sizeof(cut))
                return fail(OBJD_E_INVAL, "url: it has %zu bytes, which is too long", size);
        memcpy(cut, place, size - n);
        cut[size - n] = '\0';
        url->read_only = true;
        return parse_place(text, cut, url);
}

objd_status url_parse(const char *text, struct url *ret_url)
{
        const char *place = behind(text, "shm:"), *size = behind(text, "embedded:"),
                   *start = behind(text, "start:");

        memset(ret_url, 0, sizeof(*ret_url));
        ret_url->start = start;
        if (place || start)
                return parse_place_and_access(text, place ? place : start, ret_url);
        if (!size)
                return fail(
                        OBJD_E_INVAL,
                        "url \"%.80s\": begins with none of \"shm:\", \"start:\", \"local:\", \"ipc://\", \"tcp://\" and \"embedded:\"",
                        text);

        ret_url->embedded = true;
        ret_url->size = STORE_SIZE_DEFAULT;
        return *size ? url_parse_size("url", size, &ret_url->size) : OBJD_OK;
}

objd_status url_parse_local(const char *text, struct url *ret_url)
{
        const char *place = behind(text, "local:");

        memset(ret_url, 0, sizeof(*ret_url));
        if (!place)
                return fail(OBJD_E_INVAL, "url \"%.80s\": does not begin with \"local:\"", text);
        return parse_place(text, place, ret_url);
}
