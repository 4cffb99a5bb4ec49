/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_value.c -- object/value.c: what is a value, and its bytes
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <objd.h>

#include "arena/word.h"
#include "object/value.h"
#include "support/values.h"

#define ROOM 4096 /* bytes for one encoded value */
#define GUARD 0xa5

static const char *program;

/* A private copy of exactly these bytes, so that the sanitizers see whoever leaves them. */
static void *exact_copy(const void *src, size_t size)
{
        void *copy = malloc(size ? size : 1);

        assert_non_null(copy);
        memcpy(copy, src, size);
        return copy;
}

static void assert_points_inside(const objd_value *value, const void *src, uint64_t size)
{
        const uint8_t *start = src, *data = value->data;
        const uint8_t *name = (const uint8_t *)value->name;

        if (data)
                assert_true(data >= start && value->size <= size &&
                            (size_t)(data - start) <= size - value->size);
        if (name)
                assert_true(name >= start && value->name_size <= size &&
                            (size_t)(name - start) <= size - value->name_size);
}

/* Encodes, looks at the padding and at what lies behind it, decodes, compares. */
static void round_trip(const objd_value *value)
{
        _Alignas(8) uint8_t private[ROOM], shared[ROOM];
        uint64_t size = value_encoded_size(value);
        objd_value back;
        void *copy;

        assert_in_range(size, 0, ROOM - 8);
        memset(private, GUARD, sizeof(private));
        memset(shared, GUARD, sizeof(shared));
        value_encode(value, private);
        value_encode_shared(value, shared);
        assert_memory_equal(private, shared, sizeof(private));
        for (size_t i = size; i < round8(size); i++)
                assert_int_equal(private[i], 0);
        for (size_t i = round8(size); i < sizeof(private); i++)
                assert_int_equal(private[i], GUARD);

        copy = exact_copy(private, size);
        assert_int_equal(value_decode(value->type, copy, size, &back), OBJD_OK);
        assert_true(objd_value_equal(value, &back));
        assert_int_equal(value_compare(value, &back), 0);
        assert_points_inside(&back, copy, size);
        assert_int_equal(value_check(&back), OBJD_OK);
        free(copy);
}

/* ---- Constructors and checks --------------------------------------------------------------------------- */

static void constructors_fill_what_belongs_to_their_type(void **state)
{
        static const uint64_t shape[] = { 2, 3 };
        static const int16_t items[6] = { 1, 2, 3, 4, 5, 6 };
        objd_value v;

        (void)state;
        v = objd_nil();
        assert_int_equal(v.type, OBJD_NIL);
        assert_null(v.data);
        v = objd_bool(true);
        assert_true(v.type == OBJD_BOOL && v.u.boolean);
        v = objd_int(INT64_MIN);
        assert_true(v.type == OBJD_INT && v.u.integer == INT64_MIN);
        v = objd_float(0.5);
        assert_true(v.type == OBJD_FLOAT && v.u.real == 0.5);
        v = objd_str("a\0b", 3);
        assert_true(v.type == OBJD_STR && v.size == 3);
        v = objd_cstr("abc");
        assert_true(v.type == OBJD_STR && v.size == 3);
        v = objd_bytes("\xff", 1);
        assert_true(v.type == OBJD_BYTES && v.size == 1);
        v = objd_array(OBJD_I16, 2, shape, items);
        assert_true(v.type == OBJD_ARRAY && v.dtype == OBJD_I16 && v.ndim == 2 && v.size == 12);
        assert_true(v.shape[0] == 2 && v.shape[1] == 3 && v.shape[2] == 0);
        v = objd_message("a.B", "xy", 2);
        assert_true(v.type == OBJD_MESSAGE && v.name_size == 3 && v.size == 2);
        v = objd_refer((objd_ref){ 4096, 7 });
        assert_true(v.type == OBJD_REF && v.u.ref.place == 4096 && v.u.ref.serial == 7);
}

static void every_type_passes_the_check(void **state)
{
        static const uint64_t shape[] = { 2 };
        objd_value values[] = {
                objd_nil(),
                objd_bool(false),
                objd_int(-1),
                objd_float(NAN),
                objd_cstr(""),
                objd_str(NULL, 0),
                objd_str("a\0b", 3),
                objd_bytes(NULL, 0),
                objd_bytes("\xff\xfe", 2),
                objd_array(OBJD_U8, 1, shape, "ab"),
                objd_message("a.B", NULL, 0),
                objd_refer((objd_ref){ 1, 2 }),
        };

        (void)state;
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
                assert_int_equal(value_check(&values[i]), OBJD_OK);
}

static void what_is_no_value_is_refused(void **state)
{
        objd_value any = { .type = OBJD_ANY }, beyond = { .type = (objd_type)10 },
                   negative = { .type = (objd_type)-1 };
        objd_value null_text = objd_cstr(NULL), null_bytes = objd_bytes(NULL, 1);

        (void)state;
        assert_int_equal(value_check(NULL), OBJD_E_INVAL);
        assert_int_equal(value_check(&any), OBJD_E_INVAL);
        assert_int_equal(value_check(&beyond), OBJD_E_INVAL);
        assert_int_equal(value_check(&negative), OBJD_E_INVAL);
        assert_int_equal(value_check(&null_text), OBJD_E_INVAL);
        assert_int_equal(value_check(&null_bytes), OBJD_E_INVAL);
}

static void text_that_is_not_utf8_is_refused(void **state)
{
        objd_value bad = objd_cstr("abc\xff"), cut = objd_str("\xe2\x82\xac", 2),
                   whole = objd_str("\xe2\x82\xac", 3);

        (void)state;
        assert_int_equal(value_check(&bad), OBJD_E_INVAL);
        assert_string_equal(objd_last_error(), "a value of type str is not UTF-8");
        assert_int_equal(value_check(&cut), OBJD_E_INVAL);
        assert_int_equal(value_check(&whole), OBJD_OK);
}

/* Nothing is read beyond the first byte: the size is judged before the bytes are. */
static void a_value_over_the_limit_is_refused_and_one_at_it_is_not(void **state)
{
        objd_value text = objd_str("x", OBJD_VALUE_MAX + 1), bytes = objd_bytes("x", OBJD_VALUE_MAX + 1);
        objd_value most = objd_bytes("x", OBJD_VALUE_MAX);
        objd_value message = objd_message("a.B", "x", OBJD_VALUE_MAX - 2),
                   less = objd_message("a.B", "x", OBJD_VALUE_MAX - 3);
        objd_value endless = objd_bytes("x", SIZE_MAX);

        (void)state;
        assert_int_equal(value_check(&text), OBJD_E_TOOBIG);
        assert_int_equal(value_check(&bytes), OBJD_E_TOOBIG);
        assert_int_equal(value_check(&endless), OBJD_E_TOOBIG);
        assert_int_equal(value_check(&most), OBJD_OK);
        assert_int_equal(value_check(&message), OBJD_E_TOOBIG);
        assert_int_equal(value_check(&less), OBJD_OK);
        assert_true(value_encoded_size(&most) <= VALUE_ENCODED_MAX);
        assert_true(value_encoded_size(&less) <= VALUE_ENCODED_MAX);
}

static void an_array_whose_parts_disagree_is_refused(void **state)
{
        static const uint64_t shape[OBJD_NDIM_MAX + 1] = { 2, 2, 1, 1, 1, 1, 1, 1, 1 };
        objd_value good = objd_array(OBJD_I32, 2, shape, "0123456789abcdef"), v;

        (void)state;
        assert_int_equal(value_check(&good), OBJD_OK);
        v = good;
        v.size--;
        assert_int_equal(value_check(&v), OBJD_E_INVAL);
        v = good;
        v.shape[0]++;
        assert_int_equal(value_check(&v), OBJD_E_INVAL);
        v = good;
        v.dtype = (objd_dtype)0;
        assert_int_equal(value_check(&v), OBJD_E_INVAL);
        v = good;
        v.dtype = (objd_dtype)11;
        assert_int_equal(value_check(&v), OBJD_E_INVAL);
        v = good;
        v.data = NULL;
        assert_int_equal(value_check(&v), OBJD_E_INVAL);
        v = objd_array(OBJD_I32, OBJD_NDIM_MAX, shape, "0123456789abcdef");
        assert_int_equal(value_check(&v), OBJD_OK);
        v = objd_array(OBJD_I32, OBJD_NDIM_MAX + 1, shape, "0123456789abcdef");
        assert_int_equal(value_check(&v), OBJD_E_INVAL);
        v = objd_array((objd_dtype)99, 1, shape, "01");
        assert_int_equal(value_check(&v), OBJD_E_INVAL);
        v = objd_array(OBJD_I32, 1, NULL, "0123");
        assert_int_equal(value_check(&v), OBJD_OK); /* no shape given is an empty one */
        assert_int_equal(v.size, 0);
}

static void a_shape_whose_product_overflows_is_too_big(void **state)
{
        static const uint64_t huge[] = { 1ULL << 32, 1ULL << 32 }, wide[] = { 1ULL << 61 },
                              over[] = { OBJD_VALUE_MAX / 8 + 1 };
        objd_value a = objd_array(OBJD_U8, 2, huge, "x"), b = objd_array(OBJD_I64, 1, wide, "x");
        objd_value c = objd_array(OBJD_F64, 1, over, "x");

        (void)state;
        assert_int_equal(value_check(&a), OBJD_E_TOOBIG);
        assert_int_equal(value_check(&b), OBJD_E_TOOBIG);
        assert_int_equal(value_check(&c), OBJD_E_TOOBIG);
}

static void an_array_without_dimensions_is_one_item_and_one_with_a_zero_none(void **state)
{
        static const uint64_t none[] = { 1ULL << 40, 0, 1ULL << 40 };
        objd_value one = objd_array(OBJD_F32, 0, NULL, "abcd"), empty = objd_array(OBJD_F64, 3, none, NULL);

        (void)state;
        assert_int_equal(one.size, 4);
        assert_int_equal(value_check(&one), OBJD_OK);
        assert_int_equal(empty.size, 0);
        assert_int_equal(value_check(&empty), OBJD_OK);
        round_trip(&one);
        round_trip(&empty);
}

static void a_message_needs_a_name(void **state)
{
        objd_value null_name = objd_message(NULL, "x", 1), no_name = objd_message("", "x", 1);
        objd_value bad_name = objd_message("a\xff", "x", 1);

        (void)state;
        assert_int_equal(value_check(&null_name), OBJD_E_INVAL);
        assert_int_equal(value_check(&no_name), OBJD_E_INVAL);
        assert_int_equal(value_check(&bad_name), OBJD_E_INVAL);
}

static void a_declared_type_takes_itself_and_any_takes_all(void **state)
{
        objd_value v = objd_int(1);

        (void)state;
        assert_int_equal(value_check_type(&v, OBJD_INT, "the key"), OBJD_OK);
        assert_int_equal(value_check_type(&v, OBJD_ANY, "the key"), OBJD_OK);
        for (int type = OBJD_NIL; type <= OBJD_REF; type++)
                if (type != OBJD_INT)
                        assert_int_equal(value_check_type(&v, (objd_type)type, "the key"), OBJD_E_TYPE);
        (void)value_check_type(&v, OBJD_STR, "dict \"jobs\": the key");
        assert_string_equal(objd_last_error(), "dict \"jobs\": the key is int, declared is str");
}

static void types_and_dtypes_that_do_not_exist_have_a_name_and_no_width(void **state)
{
        (void)state;
        assert_string_equal(value_type_name(OBJD_ANY), "any");
        assert_string_equal(value_type_name(OBJD_REF), "ref");
        assert_string_equal(value_type_name((objd_type)10), "of no known type");
        assert_string_equal(value_type_name((objd_type)-1), "of no known type");
        assert_int_equal(value_dtype_width((objd_dtype)0), 0);
        assert_int_equal(value_dtype_width((objd_dtype)11), 0);
        assert_int_equal(value_dtype_width((objd_dtype)-1), 0);
        assert_int_equal(value_dtype_width(OBJD_U8), 1);
        assert_int_equal(value_dtype_width(OBJD_F64), 8);
}

/* ---- Bytes -------------------------------------------------------------------------------------------- */

/* What is in the arena, byte for byte: a change here is a change of the format. */
static void the_encoded_form_is_the_documented_one(void **state)
{
        static const uint64_t shape[] = { 1, 3 };
        _Alignas(8) uint8_t bytes[64];
        objd_value v;

        (void)state;
        v = objd_nil();
        assert_int_equal(value_encoded_size(&v), 0);
        v = objd_bool(true);
        value_encode(&v, bytes);
        assert_memory_equal(bytes, "\1\0\0\0\0\0\0\0", 8);
        v = objd_int(-2);
        value_encode(&v, bytes);
        assert_memory_equal(bytes, "\xfe\xff\xff\xff\xff\xff\xff\xff", 8);
        v = objd_float(1.0);
        value_encode(&v, bytes);
        assert_memory_equal(bytes, "\0\0\0\0\0\0\xf0\x3f", 8);
        v = objd_refer((objd_ref){ 1, 2 });
        value_encode(&v, bytes);
        assert_int_equal(value_encoded_size(&v), 16);
        assert_memory_equal(bytes, "\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", 16);
        v = objd_cstr("abc");
        value_encode(&v, bytes);
        assert_int_equal(value_encoded_size(&v), 3);
        assert_memory_equal(bytes, "abc\0\0\0\0\0", 8);
        v = objd_array(OBJD_U8, 2, shape, "xyz");
        value_encode(&v, bytes);
        assert_int_equal(value_encoded_size(&v), 27);
        assert_memory_equal(bytes, "\2\2\0\0\0\0\0\0\1\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0xyz\0\0\0\0\0", 32);
        v = objd_message("a.B", "pq", 2);
        value_encode(&v, bytes);
        assert_int_equal(value_encoded_size(&v), 18);
        assert_memory_equal(bytes, "\3\0\0\0\0\0\0\0a.B\0\0\0\0\0pq\0\0\0\0\0\0", 24);
}

static void random_values_come_back_as_they_went(void **state)
{
        struct random random = random_begin(program);
        unsigned n_of[10] = { 0 };
        struct made made;

        (void)state;
        for (int i = 0; i < 50000; i++) {
                make_value(&random, &made);
                assert_int_equal(value_check(&made.value), OBJD_OK);
                round_trip(&made.value);
                n_of[made.value.type]++;
        }
        for (int type = OBJD_NIL; type <= OBJD_REF; type++)
                assert_true(n_of[type] > 100);
}

static void data_at_any_alignment_is_encoded(void **state)
{
        uint8_t bytes[64];

        (void)state;
        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (uint8_t)i;
        for (size_t start = 0; start < 8; start++)
                for (size_t size = 0; size < 40; size++) {
                        objd_value v = objd_bytes(bytes + start, size);

                        round_trip(&v);
                }
}

static void floats_keep_every_bit(void **state)
{
        static const uint64_t patterns[] = { 0x8000000000000000, 0x7ff8000000000001, 0xfff0000000000123,
                                             0x0000000000000001 };

        (void)state;
        for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
                objd_value v = objd_float(0), back;
                uint64_t bits;

                memcpy(&v.u.real, &patterns[i], 8);
                value_encode(&v, &bits);
                assert_true(bits == patterns[i]);
                assert_int_equal(value_decode(OBJD_FLOAT, &bits, 8, &back), OBJD_OK);
                assert_memory_equal(&back.u.real, &patterns[i], 8);
        }
}

static void a_size_that_does_not_fit_the_type_is_corrupt(void **state)
{
        static const uint64_t sizes[] = { 0, 1, 7, 8, 9, 15, 16, 17, 24 };
        uint64_t zeros[3] = { 0 };
        objd_value v;

        (void)state;
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                uint64_t n = sizes[i];

                assert_int_equal(value_decode(OBJD_NIL, zeros, n, &v), n == 0 ? OBJD_OK : OBJD_E_CORRUPT);
                assert_int_equal(value_decode(OBJD_BOOL, zeros, n, &v), n == 8 ? OBJD_OK : OBJD_E_CORRUPT);
                assert_int_equal(value_decode(OBJD_INT, zeros, n, &v), n == 8 ? OBJD_OK : OBJD_E_CORRUPT);
                assert_int_equal(value_decode(OBJD_FLOAT, zeros, n, &v), n == 8 ? OBJD_OK : OBJD_E_CORRUPT);
                assert_int_equal(value_decode(OBJD_REF, zeros, n, &v), n == 16 ? OBJD_OK : OBJD_E_CORRUPT);
                assert_int_equal(value_decode(OBJD_ARRAY, zeros, n, &v), OBJD_E_CORRUPT);
                assert_int_equal(value_decode(OBJD_MESSAGE, zeros, n, &v), OBJD_E_CORRUPT);
                assert_int_equal(value_decode(OBJD_ANY, zeros, n, &v), OBJD_E_CORRUPT);
                assert_int_equal(value_decode((objd_type)77, zeros, n, &v), OBJD_E_CORRUPT);
        }
        assert_int_equal(value_decode(OBJD_BYTES, zeros, UINT64_MAX, &v), OBJD_E_CORRUPT);
        assert_int_equal(value_decode(OBJD_BYTES, zeros, VALUE_ENCODED_MAX + 1, &v), OBJD_E_CORRUPT);
}

static void a_boolean_that_is_neither_is_corrupt(void **state)
{
        uint64_t two = 2, high = 1ULL << 63 | 1;
        objd_value v;

        (void)state;
        assert_int_equal(value_decode(OBJD_BOOL, &two, 8, &v), OBJD_E_CORRUPT);
        assert_int_equal(value_decode(OBJD_BOOL, &high, 8, &v), OBJD_E_CORRUPT);
}

static void a_failed_decode_leaves_the_value_alone(void **state)
{
        objd_value v, before;
        uint64_t junk[4] = { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX };

        (void)state;
        memset(&v, GUARD, sizeof(v));
        before = v;
        assert_int_equal(value_decode(OBJD_ARRAY, junk, sizeof(junk), &v), OBJD_E_CORRUPT);
        assert_int_equal(value_decode(OBJD_MESSAGE, junk, sizeof(junk), &v), OBJD_E_CORRUPT);
        assert_int_equal(value_decode(OBJD_BOOL, junk, 8, &v), OBJD_E_CORRUPT);
        assert_memory_equal(&v, &before, sizeof(v));
        assert_non_null(strstr(objd_last_error(), "bool"));
}

/* Numbers chosen so that sums and products of them overflow. */
static void shapes_and_name_sizes_that_overflow_are_corrupt(void **state)
{
        uint64_t array[4] = { OBJD_I64 | 2 << 8, 1ULL << 32, 1ULL << 29, 0 };
        uint64_t around[4] = { OBJD_I64 | 2 << 8, 1ULL << 61, 8, 0 }; /* 8 * 2^61 * 8 is 0 */
        uint64_t message[4] = { UINT64_MAX - 6, 0, 0, 0 };            /* rounded up to 8 it is 0 */
        objd_value v;

        (void)state;
        assert_int_equal(value_decode(OBJD_ARRAY, array, 24, &v), OBJD_E_CORRUPT);
        assert_int_equal(value_decode(OBJD_ARRAY, around, 24, &v), OBJD_E_CORRUPT);
        assert_int_equal(value_decode(OBJD_MESSAGE, message, 32, &v), OBJD_E_CORRUPT);
        message[0] = 25;
        assert_int_equal(value_decode(OBJD_MESSAGE, message, 32, &v), OBJD_E_CORRUPT);
        message[0] = 24;
        assert_int_equal(value_decode(OBJD_MESSAGE, message, 32, &v), OBJD_OK);
        assert_int_equal(v.size, 0);
        message[0] = 17; /* padded to 24 it just fits, and no byte of the padding is in the name */
        assert_int_equal(value_decode(OBJD_MESSAGE, message, 32, &v), OBJD_OK);
        assert_int_equal(v.name_size, 17);
        assert_int_equal(v.size, 0);
        assert_int_equal(value_decode(OBJD_MESSAGE, message, 31, &v), OBJD_E_CORRUPT);
}

/* Damaged as by a stray write: bits flipped, cut, taken for another type. Whatever is accepted is a value. */
static void damaged_bytes_are_corrupt_or_a_value_that_lies_within_them(void **state)
{
        struct random random = random_begin(program);
        unsigned n_corrupt = 0, n_ok = 0;
        struct made made;

        (void)state;
        for (int i = 0; i < 100000; i++) {
                _Alignas(8) uint8_t bytes[ROOM];
                uint64_t size;
                objd_type type;
                objd_value back;
                void *copy;

                make_value(&random, &made);
                value_encode(&made.value, bytes);
                size = value_encoded_size(&made.value);
                type = random_below(&random, 2) ? made.value.type : (objd_type)random_below(&random, 12);
                for (uint64_t n = random_below(&random, 4); n && size; n--)
                        bytes[random_below(&random, random_below(&random, 2) ? size
                                                    : size < 16              ? size
                                                                             : 16)] ^=
                                (uint8_t)(1u << random_below(&random, 8));
                if (size && random_below(&random, 4) == 0)
                        size = random_below(&random, size);

                copy = exact_copy(bytes, size);
                if (value_decode(type, copy, size, &back) == OBJD_OK) {
                        assert_points_inside(&back, copy, size);
                        if (type != OBJD_STR && type != OBJD_MESSAGE) /* text is checked on the way in only */
                                assert_int_equal(value_check(&back), OBJD_OK);
                        assert_int_equal(value_compare(&back, &back), 0);
                        n_ok++;
                } else {
                        n_corrupt++;
                }
                free(copy);
        }
        assert_true(n_ok > 1000 && n_corrupt > 1000);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(constructors_fill_what_belongs_to_their_type),
                cmocka_unit_test(every_type_passes_the_check),
                cmocka_unit_test(what_is_no_value_is_refused),
                cmocka_unit_test(text_that_is_not_utf8_is_refused),
                cmocka_unit_test(a_value_over_the_limit_is_refused_and_one_at_it_is_not),
                cmocka_unit_test(an_array_whose_parts_disagree_is_refused),
                cmocka_unit_test(a_shape_whose_product_overflows_is_too_big),
                cmocka_unit_test(an_array_without_dimensions_is_one_item_and_one_with_a_zero_none),
                cmocka_unit_test(a_message_needs_a_name),
                cmocka_unit_test(a_declared_type_takes_itself_and_any_takes_all),
                cmocka_unit_test(types_and_dtypes_that_do_not_exist_have_a_name_and_no_width),
                cmocka_unit_test(the_encoded_form_is_the_documented_one),
                cmocka_unit_test(random_values_come_back_as_they_went),
                cmocka_unit_test(data_at_any_alignment_is_encoded),
                cmocka_unit_test(floats_keep_every_bit),
                cmocka_unit_test(a_size_that_does_not_fit_the_type_is_corrupt),
                cmocka_unit_test(a_boolean_that_is_neither_is_corrupt),
                cmocka_unit_test(a_failed_decode_leaves_the_value_alone),
                cmocka_unit_test(shapes_and_name_sizes_that_overflow_are_corrupt),
                cmocka_unit_test(damaged_bytes_are_corrupt_or_a_value_that_lies_within_them),
        };

        program = argc ? argv[0] : "test-value";
        return cmocka_run_group_tests(tests, NULL, NULL);
}
