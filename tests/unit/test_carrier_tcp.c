/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_carrier_tcp.c -- the client's side of a sealed link, against a peer that only listens
 */

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "rpc/carrier.h"
#include "rpc/keyfile.h"
#include "rpc/sp.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/relay.h"
#include "support/test.h"

struct listener {
        struct sp sp;
        struct carrier *carrier;
        char keys[96];
        objd_status said; /* by the carrier, last */
        unsigned n_came;
        unsigned awaited; /* so many are to come */
};

static void begin(struct listener *l, struct fixture *f)
{
        const struct rights all = { 0 };
        uint8_t id[KEY_ID_SIZE];
        char address[64], url[192];

        snprintf(l->keys, sizeof(l->keys), "%s/keys", f->base);
        assert_ok(keyfile_add(l->keys, &all, id));
        relay_make_url(0, address);
        assert_ok(sp_open(SP_SERVER, 65536, &l->sp));
        assert_ok(sp_bind(&l->sp, address));
        snprintf(url, sizeof(url), "%s?key=%s", address, l->keys);
        assert_ok(carrier_open(url, &l->carrier));
}

static void end(struct listener *l)
{
        carrier_close(l->carrier);
        sp_close(&l->sp);
        assert_int_equal(unlink(l->keys), 0);
}

/* What comes is taken, and not answered. */
static void look(struct listener *l)
{
        struct sp_message message;
        int64_t again_ns;

        l->said = carrier_prepare(l->carrier, &again_ns);
        while (sp_receive(&l->sp, &message) == OBJD_OK) {
                sp_free(&l->sp, message.data);
                l->n_came++;
        }
}

static bool have_come(void *context)
{
        struct listener *l = context;

        look(l);
        return l->n_came >= l->awaited;
}

static bool has_failed(void *context)
{
        struct listener *l = context;

        look(l);
        return l->said == OBJD_E_SYS;
}

/* No new connection can be made for want of descriptors: that is said, and when there are some again it goes on. */
static void a_connection_that_could_not_be_made_is_tried_again(void **state)
{
        struct listener l = { 0 };
        struct rlimit limit, none;

        begin(&l, *state);
        l.awaited = 2; /* the next one would go over a new connection */
        wait_until(have_come, &l, "a second hello");
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none = limit;
        none.rlim_cur = STDERR_FILENO + 1;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        wait_until(has_failed, &l, "a failure");
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        l.awaited = l.n_came + 1;
        wait_until(have_come, &l, "another hello");
        assert_true(l.said == OBJD_OK || l.said == OBJD_E_BUSY);
        end(&l);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_connection_that_could_not_be_made_is_tried_again),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
