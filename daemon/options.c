/* SPDX-License-Identifier: Apache-2.0 */

/*
 * options.c -- the command line
 */

#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arena/layout.h"
#include "base/status.h"

#define MAX_CLIENTS_DEFAULT 4000u
#define SESSION_EXPIRY_DEFAULT 30

/* Enough to take a value of 1 GiB out of the store: it, and the record of it. */
#define CLIENT_MEMORY_DEFAULT (2304ULL << 20)
#define PROXY_MEMORY_DEFAULT (4ULL << 30)
#define SESSION_EXPIRY_MAX 86400
#define MAX_PER_UID_DEFAULT 1000u
#define IDLE_EXIT_MAX 1000000000u
#define MAX_CLIENTS_MAX (N_CLIENTS - 1) /* client 0 is nobody */

static const char help[] =
        "usage: objd [OPTION]...\n"
        "\n"
        "Makes a store of shared objects, or takes up the one that is there, and hands it to the\n"
        "processes that connect with libobjd. Runs until SIGTERM or SIGINT.\n"
        "\n"
        "  --name NAME        the store's name: [A-Za-z0-9._-], 1 to 64 bytes; default \"default\"\n"
        "  --dir DIR          where the store lies; only its owner may be able to write there.\n"
        "                     Clients then connect to \"shm:DIR/NAME\". Default: /dev/shm/objd-UID,\n"
        "                     and clients connect to \"shm:NAME\"\n"
        "  --size SIZE        of a new store: bytes, or with a suffix K, M, G or T; default 1G.\n"
        "                     It takes memory only for what is in it\n"
        "  --memfd            keep the store in anonymous memory, which ends with its last user,\n"
        "                     instead of a file, which stays\n"
        "  --remove-on-exit   delete the store's file at the end\n"
        "  --load FILE        fill a new store from a dump; a store that is taken up keeps what is in it\n"
        "  --save-on-exit FILE  at the end write a dump of the store, all objects as of one moment. If\n"
        "                     --load names the same file, it need not be there the first time\n"
        "  --max-clients N    how many may be connected at once; default 4000\n"
        "  --max-per-uid N    how many connections a user other than the daemon's own may have at\n"
        "                     once; default 1000\n"
        "  --log-level LEVEL  error, warning, info (the default) or debug\n"
        "  --foreground       stay in the foreground, as the child of whoever started it: the default\n"
        "  --background       return when clients can connect, and go on in the background. With status 1\n"
        "                     if it could not start, for example since the store's daemon runs already\n"
        "  --idle-exit SEC    end when nobody has used the store for so many seconds; the store stays,\n"
        "                     and the next daemon takes it up\n"
        "  --die-with-parent[=PID]\n"
        "                     end when the process that started it does. PID is the parent's, in case it\n"
        "                     dies before objd has looked\n"
        "  --recover          mend a damaged store that nobody uses, and say what was lost\n"
        "  --log-file FILE    append log lines to FILE instead of stderr\n"
        "  --rpc URL          also serve processes that have no mapping of the store, through this daemon:\n"
        "                     they connect to the same URL, \"ipc:///PATH\" for a socket of this machine,\n"
        "                     \"tcp://ADDRESS:PORT\" for others. May be given several times\n"
        "  --keys FILE        the keys of the clients over TCP, as \"objctl keygen FILE\" makes them\n"
        "  --insecure         listen on TCP without keys: whoever can reach the port may do everything\n"
        "  --session-expiry SEC  what such a process holds is released when nothing has been heard of it for so\n"
        "                     long; default 30\n"
        "  --client-memory SIZE  how much of the daemon's memory such a process may take; default 2304M,\n"
        "                     which is enough for values of 1 GiB. What goes beyond it is refused\n"
        "  --proxy-memory SIZE  how much all of them together may take, beyond 1 MiB each; default 4G,\n"
        "                     and no more than half of the machine's memory\n"
        "  --help             this text\n"
        "  --version          the version\n"
        "\n"
        "Who may do what; each may be given several times. Only the daemon's own user may do anything\n"
        "if none is given. A rule for a user outweighs those for groups; a group that is denied outweighs\n"
        "other groups; among those the most is granted.\n"
        "\n"
        "  --allow-uid UID, --allow-gid GID          handles that read and write\n"
        "  --read-only-uid UID, --read-only-gid GID  handles that only read\n"
        "  --proxy-uid UID, --proxy-gid GID          no handles: only through the daemon, local:DIR/NAME and --rpc\n"
        "  --proxy-uid UID:RIGHTS, --proxy-gid GID:RIGHTS   the same, but only so much there: \"ro\" or \"rw\", and\n"
        "                     behind it which names if not all: \"1003:rw jobs team/*\"\n"
        "  --deny-uid UID, --deny-gid GID            nothing\n"
        "\n"
        "Log lines go to stderr. Exit status: 0 after SIGTERM or SIGINT, 1 if it could not start or\n"
        "go on, 2 if the command line makes no sense.\n";

#define TEXT_OF(number) #number
#define VERSION_TEXT(major, minor, patch) "objd " TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch) "\n"

static const char version[] = VERSION_TEXT(OBJD_VERSION_MAJOR, OBJD_VERSION_MINOR, OBJD_VERSION_PATCH);

enum option_code {
        OPTION_NAME = 256,
        OPTION_DIR,
        OPTION_SIZE,
        OPTION_MEMFD,
        OPTION_REMOVE_ON_EXIT,
        OPTION_LOAD,
        OPTION_SAVE_ON_EXIT,
        OPTION_MAX_CLIENTS,
        OPTION_MAX_PER_UID,
        OPTION_ALLOW_UID,
        OPTION_ALLOW_GID,
        OPTION_READ_ONLY_UID,
        OPTION_READ_ONLY_GID,
        OPTION_PROXY_UID,
        OPTION_PROXY_GID,
        OPTION_DENY_UID,
        OPTION_DENY_GID,
        OPTION_LOG_LEVEL,
        OPTION_FOREGROUND,
        OPTION_RECOVER,
        OPTION_BACKGROUND,
        OPTION_IDLE_EXIT,
        OPTION_DIE_WITH_PARENT,
        OPTION_LOG_FILE,
        OPTION_RPC,
        OPTION_KEYS,
        OPTION_INSECURE,
        OPTION_SESSION_EXPIRY,
        OPTION_CLIENT_MEMORY,
        OPTION_PROXY_MEMORY,
        OPTION_HELP,
        OPTION_VERSION
};

static const struct option long_options[] = {
        { "name", required_argument, NULL, OPTION_NAME },
        { "dir", required_argument, NULL, OPTION_DIR },
        { "size", required_argument, NULL, OPTION_SIZE },
        { "memfd", no_argument, NULL, OPTION_MEMFD },
        { "remove-on-exit", no_argument, NULL, OPTION_REMOVE_ON_EXIT },
        { "load", required_argument, NULL, OPTION_LOAD },
        { "save-on-exit", required_argument, NULL, OPTION_SAVE_ON_EXIT },
        { "max-clients", required_argument, NULL, OPTION_MAX_CLIENTS },
        { "max-per-uid", required_argument, NULL, OPTION_MAX_PER_UID },
        { "allow-uid", required_argument, NULL, OPTION_ALLOW_UID },
        { "allow-gid", required_argument, NULL, OPTION_ALLOW_GID },
        { "read-only-uid", required_argument, NULL, OPTION_READ_ONLY_UID },
        { "read-only-gid", required_argument, NULL, OPTION_READ_ONLY_GID },
        { "proxy-uid", required_argument, NULL, OPTION_PROXY_UID },
        { "proxy-gid", required_argument, NULL, OPTION_PROXY_GID },
        { "deny-uid", required_argument, NULL, OPTION_DENY_UID },
        { "deny-gid", required_argument, NULL, OPTION_DENY_GID },
        { "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
        { "foreground", no_argument, NULL, OPTION_FOREGROUND },
        { "recover", no_argument, NULL, OPTION_RECOVER },
        { "background", no_argument, NULL, OPTION_BACKGROUND },
        { "idle-exit", required_argument, NULL, OPTION_IDLE_EXIT },
        { "die-with-parent", optional_argument, NULL, OPTION_DIE_WITH_PARENT },
        { "log-file", required_argument, NULL, OPTION_LOG_FILE },
        { "rpc", required_argument, NULL, OPTION_RPC },
        { "keys", required_argument, NULL, OPTION_KEYS },
        { "insecure", no_argument, NULL, OPTION_INSECURE },
        { "session-expiry", required_argument, NULL, OPTION_SESSION_EXPIRY },
        { "client-memory", required_argument, NULL, OPTION_CLIENT_MEMORY },
        { "proxy-memory", required_argument, NULL, OPTION_PROXY_MEMORY },
        { "help", no_argument, NULL, OPTION_HELP },
        { "version", no_argument, NULL, OPTION_VERSION },
        { NULL, 0, NULL, 0 },
};

static objd_status parse_number(const char *what, const char *text, uint32_t min, uint32_t max,
                                uint32_t *ret_number)
{
        unsigned long long n;
        char *end;

        errno = 0;
        n = strtoull(text, &end, 10);
        if (*text < '0' || *text > '9' || *end || errno || n < min || n > max)
                return fail(OBJD_E_INVAL, "%s: \"%s\" is no number from %u to %u", what, text, min, max);
        *ret_number = (uint32_t)n;
        return OBJD_OK;
}

static objd_status parse_directory(const char *text, struct options *options)
{
        size_t size = strlen(text);

        if (*text != '/')
                return fail(OBJD_E_INVAL, "--dir: \"%s\" does not begin with a /", text);
        if (size >= sizeof(options->directory))
                return fail(OBJD_E_INVAL, "--dir: the path has %zu bytes, at most %zu are allowed", size,
                            sizeof(options->directory) - 1);
        strcpy(options->directory, text);
        while (size > 1 && options->directory[size - 1] == '/')
                options->directory[--size] = '\0';
        options->own_directory = false;
        return OBJD_OK;
}

static const struct rule_option {
        int code;
        const char *name;
        bool is_group;
        enum policy_access access;
} rule_options[] = {
        { OPTION_ALLOW_UID, "--allow-uid", false, POLICY_READ_WRITE },
        { OPTION_ALLOW_GID, "--allow-gid", true, POLICY_READ_WRITE },
        { OPTION_READ_ONLY_UID, "--read-only-uid", false, POLICY_READ_ONLY },
        { OPTION_READ_ONLY_GID, "--read-only-gid", true, POLICY_READ_ONLY },
        { OPTION_PROXY_UID, "--proxy-uid", false, POLICY_PROXIED },
        { OPTION_PROXY_GID, "--proxy-gid", true, POLICY_PROXIED },
        { OPTION_DENY_UID, "--deny-uid", false, POLICY_NOTHING },
        { OPTION_DENY_GID, "--deny-gid", true, POLICY_NOTHING },
};

/* Behind a colon, for those who work through the daemon: what they may do there, as in a file of keys. */
static objd_status parse_rights(const struct rule_option *option, const char *text, struct rights *ret_rights)
{
        objd_status r;

        if (option->access != POLICY_PROXIED)
                return fail(OBJD_E_INVAL,
                            "%s: only --proxy-uid and --proxy-gid take rights: a handle sees all",
                            option->name);
        r = rights_parse(text, strlen(text), ret_rights);
        return r ? fail(r, "%s: \"%s\": %s", option->name, text, objd_last_error()) : OBJD_OK;
}

/* (uid_t)-1 is nobody's. */
static objd_status parse_rule(const struct rule_option *option, const char *text, struct policy *policy)
{
        const char *colon = strchr(text, ':');
        struct rights rights = { .read_only = false };
        char number[12] = ""; /* what is longer is none */
        uint32_t id = 0;
        objd_status r;

        if (colon && (size_t)(colon - text) < sizeof(number))
                memcpy(number, text, (size_t)(colon - text));
        r = parse_number(option->name, *number ? number : text, 0, UINT32_MAX - 1, &id);
        if (r == OBJD_OK && colon)
                r = parse_rights(option, colon + 1, &rights);
        return r ? r : policy_add(policy, option->name, option->is_group, id, option->access, &rights);
}

static const struct rule_option *find_rule_option(int code)
{
        for (size_t i = 0; i < sizeof(rule_options) / sizeof(*rule_options); i++)
                if (rule_options[i].code == code)
                        return &rule_options[i];
        return NULL;
}

static objd_status parse_level(const char *text, struct options *options)
{
        int level = log_level_by_name(text);

        if (level < 0)
                return fail(OBJD_E_INVAL, "--log-level: \"%s\" is none of error, warning, info, debug", text);
        options->log_level = (enum log_level)level;
        return OBJD_OK;
}

static bool is_tcp(const char *url)
{
        return strncmp(url, "tcp://", 6) == 0;
}

static objd_status parse_rpc(const char *url)
{
        if ((strncmp(url, "ipc://", 6) == 0 && url[6] == '/') || (is_tcp(url) && strchr(url + 6, ':')))
                return OBJD_OK;
        return fail(OBJD_E_INVAL, "--rpc: \"%s\" is no \"ipc:///PATH\" and no \"tcp://ADDRESS:PORT\"", url);
}

/* Over TCP anybody could come. */
static objd_status check_keys(const struct options *options)
{
        if (options->keys && options->insecure)
                return fail(OBJD_E_INVAL, "--keys and --insecure do not go together");
        for (uint32_t i = 0; i < options->n_rpc; i++)
                if (is_tcp(options->rpc[i]) && !options->keys && !options->insecure)
                        return fail(
                                OBJD_E_INVAL,
                                "--rpc %s needs the keys of those who may connect: make one with \"objctl "
                                "keygen FILE\", say --keys FILE here, and give its line to the client",
                                options->rpc[i]);
        return OBJD_OK;
}

static uint64_t default_proxy_memory(void)
{
        uint64_t half = (uint64_t)sysconf(_SC_PHYS_PAGES) / 2 * (uint64_t)sysconf(_SC_PAGESIZE);

        return half < PROXY_MEMORY_DEFAULT ? half : PROXY_MEMORY_DEFAULT;
}

static objd_status parse_option(int code, const char *value, struct options *options)
{
        switch (code) {
        case OPTION_NAME:
                options->name = value;
                return url_check_name("--name", value);
        case OPTION_DIR:
                return parse_directory(value, options);
        case OPTION_SIZE:
                return url_parse_size("--size", value, &options->size);
        case OPTION_MEMFD:
                options->memfd = true;
                return OBJD_OK;
        case OPTION_REMOVE_ON_EXIT:
                options->remove_on_exit = true;
                return OBJD_OK;
        case OPTION_LOAD:
                options->load = value;
                return OBJD_OK;
        case OPTION_SAVE_ON_EXIT:
                options->save = value;
                return OBJD_OK;
        case OPTION_MAX_CLIENTS:
                return parse_number("--max-clients", value, 1, MAX_CLIENTS_MAX, &options->max_clients);
        case OPTION_MAX_PER_UID:
                return parse_number("--max-per-uid", value, 1, MAX_CLIENTS_MAX, &options->max_per_uid);
        case OPTION_LOG_LEVEL:
                return parse_level(value, options);
        case OPTION_FOREGROUND:
                options->background = false;
                return OBJD_OK;
        case OPTION_RECOVER:
                options->recover = true;
                return OBJD_OK;
        case OPTION_BACKGROUND:
                options->background = true;
                return OBJD_OK;
        case OPTION_IDLE_EXIT:
                return parse_number("--idle-exit", value, 1, IDLE_EXIT_MAX, &options->idle_exit);
        case OPTION_DIE_WITH_PARENT:
                options->die_with_parent = true;
                return value ? parse_number("--die-with-parent", value, 1, INT32_MAX, &options->parent)
                             : OBJD_OK;
        case OPTION_LOG_FILE:
                options->log_file = value;
                return OBJD_OK;
        case OPTION_RPC:
                if (options->n_rpc == RPC_URLS_MAX)
                        return fail(OBJD_E_LIMIT, "--rpc: no more than %d addresses", RPC_URLS_MAX);
                options->rpc[options->n_rpc++] = value;
                return parse_rpc(value);
        case OPTION_KEYS:
                options->keys = value;
                return OBJD_OK;
        case OPTION_INSECURE:
                options->insecure = true;
                return OBJD_OK;
        case OPTION_SESSION_EXPIRY:
                return parse_number("--session-expiry", value, 1, SESSION_EXPIRY_MAX,
                                    &options->session_expiry);
        case OPTION_CLIENT_MEMORY:
                return url_parse_size("--client-memory", value, &options->client_memory);
        case OPTION_PROXY_MEMORY:
                return url_parse_size("--proxy-memory", value, &options->proxy_memory);
        case OPTION_HELP:
                options->answer = help;
                return OBJD_OK;
        case OPTION_VERSION:
                options->answer = version;
                return OBJD_OK;
        default:
                return parse_rule(find_rule_option(code), value, &options->policy);
        }
}

objd_status options_parse(int argc, char **argv, struct options *ret_options)
{
        struct options *options = ret_options;
        objd_status r;
        int code;

        *options = (struct options){
                .name = STORE_NAME_DEFAULT,
                .own_directory = true,
                .size = STORE_SIZE_DEFAULT,
                .max_clients = MAX_CLIENTS_DEFAULT,
                .session_expiry = SESSION_EXPIRY_DEFAULT,
                .client_memory = CLIENT_MEMORY_DEFAULT,
                .proxy_memory = default_proxy_memory(),
                .max_per_uid = MAX_PER_UID_DEFAULT,
                .log_level = LOG_LEVEL_INFO,
                .policy.own = geteuid(),
        };
        url_default_directory(geteuid(), options->directory);

        opterr = 0; /* log.c is the one that prints */
        while ((code = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
                if (code == '?')
                        return fail(OBJD_E_INVAL,
                                    "there is no option \"%s\", or it takes no value; try --help",
                                    argv[optind - 1]);
                if (code == ':')
                        return fail(OBJD_E_INVAL, "option \"%s\" needs a value; try --help",
                                    argv[optind - 1]);
                r = parse_option(code, optarg, options);
                if (r || options->answer)
                        return r;
        }
        if (optind < argc)
                return fail(OBJD_E_INVAL, "\"%s\" is no option; try --help", argv[optind]);
        if (options->background && options->die_with_parent)
                return fail(OBJD_E_INVAL, "--background and --die-with-parent do not go together: the parent "
                                          "of a daemon in the background has left");
        return check_keys(options);
}
