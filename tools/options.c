/* SPDX-License-Identifier: Apache-2.0 */

/*
 * options.c -- objctl's command line
 *
 * Options may stand anywhere, also before the verb. A word that begins with a minus and a digit is an
 * argument and no option ("get jobs -1"): getopt_long() is told of options named by digits, and they are
 * put back together.
 */

#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct option_help {
        enum option_letter letter;
        const char *name;
        const char *meta; /* what stands for its argument; NULL if it has none */
        const char *help;
};

/* Where a line goes on. */
#define OPTION_INDENT "                          "

static const struct option_help option_table[] = {
        { OPT_URL, "url", "URL",
          "which store: shm:NAME, shm:/DIR/NAME; through its daemon\n" OPTION_INDENT
          "local:NAME, ipc:///PATH or tcp://HOST:PORT?key=FILE\n" OPTION_INDENT
          "(default: $OBJD_URL, else shm:default)" },
        { OPT_JSON, "json", NULL, "answer in JSON" },
        { OPT_HELP, "help", NULL, "this text" },
        { OPT_VERSION, "version", NULL, "which version this is" },
        { OPT_TYPE, "type", "TYPE", "how to read VALUE: nil bool int float str bytes json" },
        { OPT_KEY_TYPE, "key-type", "TYPE", "of a dict's keys: int str bytes" },
        { OPT_VALUE_TYPE, "value-type", "TYPE",
          "nil bool int float str bytes array message ref; default any" },
        { OPT_ORDER, "order", "ORDER", "of a queue: fifo (default), lifo, priority" },
        { OPT_BOUND, "bound", "N", "how many items a queue holds at most; default no bound" },
        { OPT_LIMIT, "limit", "N", "show at most N entries of an object" },
        { OPT_TIMEOUT, "timeout", "SECONDS", "how long to wait, or \"forever\"; default not at all" },
        { OPT_PRIORITY, "priority", "N", "of the item; smaller ones are taken first" },
        { OPT_FRONT, "front", NULL, "at the list's front instead of its end" },
        { OPT_RAW, "raw", NULL, "the value's bytes and nothing else" },
        { OPT_RECURSIVE, "recursive", NULL, "a lock that its owner may take again" },
        { OPT_OWNERLESS, "ownerless", NULL, "a lock that anybody may give" },
        { OPT_ATOMIC, "atomic", NULL, "all objects as of one moment" },
        { OPT_REPLACE, "replace", NULL, "delete what has the name of an object of the dump" },
        { OPT_SKIP_EXISTING, "skip-existing", NULL, "keep what has the name of an object of the dump" },
        { OPT_REPAIR, "repair", NULL, "mend what can be mended, and say what is lost" },
        { OPT_READ_ONLY, "read-only", NULL, "who has the key changes nothing" },
        { OPT_PREFIX, "prefix", "PATTERN", "only names such as \"jobs\" or \"team/*\"; may be repeated" },
};

#define N_OPTIONS (sizeof(option_table) / sizeof(option_table[0]))

/* In order, with arguments as code 1; then -u and -h; then words such as -1 and -.5. */
static const char short_options[] = "-:u:h0::1::2::3::4::5::6::7::8::9::.::";

static bool is_global(enum option_letter letter)
{
        return letter == OPT_URL || letter == OPT_JSON || letter == OPT_HELP || letter == OPT_VERSION;
}

static void print_option(const struct option_help *o)
{
        char left[40];

        snprintf(left, sizeof(left), "%s--%s%s%s",
                 o->letter == OPT_URL    ? "-u, "
                 : o->letter == OPT_HELP ? "-h, "
                                         : "    ",
                 o->name, o->meta ? " " : "", o->meta ? o->meta : "");
        printf("  %-22s  %s\n", left, o->help);
}

static void print_help(void)
{
        printf("usage: objctl [OPTION]... VERB [ARGUMENT]...\n"
               "\n"
               "Looks into a live store of objd, and edits it. Works without the daemon too.\n"
               "\n");
        for (const struct verb *const *v = verbs; *v; v++)
                printf("  %-8s %-28s %s\n", (*v)->name, (*v)->args, (*v)->summary);
        printf("\n");
        for (size_t i = 0; i < N_OPTIONS; i++)
                if (is_global(option_table[i].letter))
                        print_option(&option_table[i]);
        printf("\n"
               "\"objctl VERB --help\" says more of each. Exit status: 0 done, 1 the store's answer is\n"
               "no (not found, empty, faults found), 2 the command line makes no sense, 3 the store\n"
               "cannot be reached, 4 something of it is lost (check --repair).\n");
}

static void print_verb_help(const struct verb *verb)
{
        printf("usage: objctl %s%s%s [OPTION]...\n\n%s\n", verb->name, *verb->args ? " " : "", verb->args,
               verb->help);
        for (size_t i = 0; i < N_OPTIONS; i++)
                if (strchr(verb->options, (int)option_table[i].letter))
                        print_option(&option_table[i]);
        for (size_t i = 0; i < N_OPTIONS; i++)
                if (is_global(option_table[i].letter) && option_table[i].letter != OPT_VERSION)
                        print_option(&option_table[i]);
        printf("\nexample:\n%s", verb->example);
}

static const struct verb *find_verb(const char *name)
{
        for (const struct verb *const *v = verbs; *v; v++)
                if (strcmp((*v)->name, name) == 0)
                        return *v;
        return NULL;
}

static bool parse_unsigned(const char *text, uint64_t *ret)
{
        char *end;
        uint64_t n;

        errno = 0;
        n = strtoull(text, &end, 10);
        if (errno || end == text || *end || strchr(text, '-'))
                return false;
        *ret = n;
        return true;
}

static bool parse_signed(const char *text, int64_t *ret)
{
        char *end;
        int64_t n;

        errno = 0;
        n = strtoll(text, &end, 10);
        if (errno || end == text || *end)
                return false;
        *ret = n;
        return true;
}

static bool parse_timeout(const char *text, int64_t *ret_ns)
{
        double seconds;
        char *end;

        if (strcmp(text, "forever") == 0) {
                *ret_ns = OBJD_FOREVER;
                return true;
        }
        seconds = strtod(text, &end);
        /* Nine thousand million seconds are what 64 bits of nanoseconds hold. */
        if (end == text || *end || !(seconds >= 0 && seconds < 9e9))
                return false;
        *ret_ns = (int64_t)(seconds * 1e9);
        return true;
}

/* Whether the option's argument makes sense. */
static bool take_option(enum option_letter letter, const char *text, struct request *request)
{
        switch (letter) {
        case OPT_URL:
                request->url = text;
                return true;
        case OPT_JSON:
                return request->json = true;
        case OPT_TYPE:
                request->type = text;
                return true;
        case OPT_KEY_TYPE:
                request->key_type = text;
                return true;
        case OPT_VALUE_TYPE:
                request->value_type = text;
                return true;
        case OPT_ORDER:
                request->order = text;
                return true;
        case OPT_BOUND:
                return parse_unsigned(text, &request->bound);
        case OPT_LIMIT:
                return parse_unsigned(text, &request->limit);
        case OPT_TIMEOUT:
                return parse_timeout(text, &request->timeout_ns);
        case OPT_PRIORITY:
                request->has_priority = true;
                return parse_signed(text, &request->priority);
        case OPT_FRONT:
                return request->front = true;
        case OPT_RAW:
                return request->raw = true;
        case OPT_RECURSIVE:
                return request->recursive = true;
        case OPT_OWNERLESS:
                return request->ownerless = true;
        case OPT_ATOMIC:
                return request->atomic = true;
        case OPT_REPLACE:
                return request->replace = true;
        case OPT_SKIP_EXISTING:
                return request->skip_existing = true;
        case OPT_REPAIR:
                return request->repair = true;
        case OPT_READ_ONLY:
                return request->rights.read_only = true;
        case OPT_PREFIX:
                return rights_add_name(&request->rights, text, strlen(text)) == OBJD_OK;
        case OPT_HELP:
        case OPT_VERSION:
                return true;
        }
        return false;
}

static void make_long_options(struct option *ret)
{
        for (size_t i = 0; i < N_OPTIONS; i++)
                ret[i] = (struct option){
                        .name = option_table[i].name,
                        .has_arg = option_table[i].meta ? required_argument : no_argument,
                        .val = (int)option_table[i].letter,
                };
        ret[N_OPTIONS] = (struct option){ 0 };
}

static const struct option_help *find_option(int letter)
{
        for (size_t i = 0; i < N_OPTIONS; i++)
                if ((int)option_table[i].letter == letter)
                        return &option_table[i];
        return NULL;
}

/*
 * An argument: the verb, or one of the verb's. They are kept at the front of argv, which getopt has done
 * with.
 */
static void take_argument(struct request *request, char **argv, char *text, const char **verb_name)
{
        if (!*verb_name) {
                *verb_name = text;
                return;
        }
        argv[1 + request->n_args] = text;
        request->n_args++;
}

/* What getopt_long() did not like: an unknown word, an unknown letter, or an argument where none belongs. */
static int unknown_option(const struct request *request, char **argv)
{
        const struct option_help *o = find_option(optopt);

        if (optopt && o)
                return bad_usage(request, "--%s takes no argument", o->name);
        if (optopt)
                return bad_usage(request, "there is no option -%c", optopt);
        return bad_usage(request, "there is no option %s", argv[optind - 1]);
}

/* Fills seen with the letters of the options that were given. Returns -1 or an exit code. */
static int read_words(int argc, char **argv, struct request *request, const char **verb_name,
                      char seen[N_OPTIONS + 1])
{
        struct option long_options[N_OPTIONS + 1];
        size_t n_seen = 0;
        int c;

        make_long_options(long_options);
        opterr = 0;
        while ((c = getopt_long(argc, argv, short_options, long_options, NULL)) != -1) {
                const struct option_help *o = find_option(c);

                if (c == 1) {
                        take_argument(request, argv, optarg, verb_name);
                } else if ((c >= '0' && c <= '9') || c == '.') {
                        take_argument(request, argv, argv[optind - 1], verb_name);
                } else if (c == ':') {
                        return bad_usage(request, "%s needs an argument", argv[optind - 1]);
                } else if (!o) {
                        return unknown_option(request, argv);
                } else {
                        if (!take_option(o->letter, optarg, request))
                                return bad_usage(request, "--%s takes %s, not \"%s\"", o->name, o->meta,
                                                 optarg);
                        if (!memchr(seen, c, n_seen))
                                seen[n_seen++] = (char)c;
                }
        }
        for (; optind < argc; optind++)
                take_argument(request, argv, argv[optind], verb_name);
        return -1;
}

static int check_request(const struct request *request, const char *seen)
{
        const struct verb *verb = request->verb;

        for (const char *s = seen; *s; s++) {
                const struct option_help *o = find_option(*s);

                if (o && !is_global(o->letter) && !strchr(verb->options, *s))
                        return bad_usage(request, "%s takes no --%s", verb->name, o->name);
        }
        if (request->n_args < verb->min_args)
                return bad_usage(request, "%s needs %s", verb->name, verb->args);
        if (request->n_args > verb->max_args)
                return bad_usage(request, "%s takes no \"%s\"", verb->name, request->args[verb->max_args]);
        return -1;
}

int options_parse(int argc, char **argv, struct request *ret_request)
{
        struct request request = { .args = argv + 1, .limit = UINT64_MAX, .timeout_ns = OBJD_NOWAIT };
        char seen[N_OPTIONS + 1] = "";
        const char *verb_name = NULL;
        int code;

        code = read_words(argc, argv, &request, &verb_name, seen);
        if (code >= 0)
                return code;
        if (verb_name) {
                request.verb = find_verb(verb_name);
                if (!request.verb)
                        return bad_usage(&request, "there is no verb \"%s\"", verb_name);
        }
        if (strchr(seen, OPT_VERSION)) {
                printf("objctl %s\n", objd_version());
                return EXIT_OK;
        }
        if (strchr(seen, OPT_HELP)) {
                if (request.verb)
                        print_verb_help(request.verb);
                else
                        print_help();
                return EXIT_OK;
        }
        if (!verb_name)
                return bad_usage(&request, "a verb is missing");
        code = check_request(&request, seen);
        if (code >= 0)
                return code;
        *ret_request = request;
        return -1;
}
