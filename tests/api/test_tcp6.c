/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_tcp6.c -- a daemon at an address of IPv6
 */

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <objd.h>

#include "rpc/keyfile.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/test.h"

/* A port of [::1] that is free now, or 0: this machine has no such address. */
static unsigned free_port(void)
{
        struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
        socklen_t size = sizeof(address);
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool bound = fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 &&
                     getsockname(fd, (struct sockaddr *)&address, &size) == 0;

        if (fd >= 0)
                close(fd);
        return bound ? ntohs(address.sin6_port) : 0;
}

/* Somebody else may take the port before the daemon does; then it is another one. */
static bool start_daemon(struct fixture *f, const char *keys, char url[64])
{
        const char *const options[] = { "--rpc", url, "--keys", keys, NULL };

        for (int i = 0; i < 20; i++) {
                int status;

                snprintf(url, 64, "tcp://[::1]:%u", free_port());
                if (fixture_try_start(f, options, &status))
                        return true;
        }
        return false;
}

static void an_address_of_ipv6_is_one_too(void **state)
{
        const struct rights all = { .read_only = false };
        struct fixture *f = *state;
        char listen[64], url[192], keys[96];
        uint8_t id[KEY_ID_SIZE];
        objd_value key = objd_cstr("n");
        objd_object *dict;
        objd_conn *conn;
        int64_t sum;

        if (!free_port()) {
                print_message("this machine has no [::1]\n");
                skip();
        }
        snprintf(keys, sizeof(keys), "%s/keys", f->base);
        assert_ok(keyfile_add(keys, &all, id));
        assert_true(start_daemon(f, keys, listen));
        snprintf(url, sizeof(url), "%s?key=%s", listen, keys);
        assert_ok(objd_connect(url, &conn));
        assert_ok(objd_set_timeout(conn, PATIENCE_NS));
        assert_ok(objd_open_or_create(conn, "dict", OBJD_DICT, NULL, &dict));
        assert_ok(objd_dict_add_int(dict, &key, 5, &sum));
        assert_int_equal(sum, 5);
        objd_release(dict);
        objd_close(conn);
        (void)fixture_stop(f, SIGTERM);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(an_address_of_ipv6_is_one_too),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
