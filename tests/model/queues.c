/* SPDX-License-Identifier: Apache-2.0 */

#include "model/queues.h"

#include <string.h>

#include "object/check.h"
#include "support/test.h"

static void print_fault(void *context, const char *object, const char *sentence)
{
        (void)context;
        print_error("%s: %s\n", object, sentence);
}

void assert_sound(objd_conn *conn)
{
        uint64_t n_errors = 0;

        assert_ok(check_arena(conn, print_fault, NULL, &n_errors));
        assert_int_equal(n_errors, 0);
}

objd_object *make_queue(objd_conn *conn, objd_order order, uint64_t bound)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *queue = NULL;

        config.order = order;
        config.bound = bound;
        assert_ok(objd_create(conn, NULL, OBJD_QUEUE, &config, &queue));
        return queue;
}

objd_value value_of(uint64_t id, uint64_t *words)
{
        size_t size = id * 2654435761u % 64 ? 8 + id * 40503 % 260 : 8 + id * 40503 % 9000;

        for (size_t i = 0; i < (size + 7) / 8; i++)
                words[i] = id + i;
        return objd_bytes(words, size);
}

uint64_t id_of(const objd_value *value)
{
        uint64_t words[VALUE_WORDS], id;
        objd_value expected;

        assert_true(value->type == OBJD_BYTES && value->size >= 8);
        memcpy(&id, value->data, 8);
        expected = value_of(id, words);
        assert_true(objd_value_equal(value, &expected));
        return id;
}
