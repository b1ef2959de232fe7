#include "base/fail.h"
#include "http/cause.h"
#include "http/field.h"
#include "http/message.h"
#include "http/method.h"
#include "http/status.h"

#include <check.h>
#include <stdio.h>

START_TEST(every_known_name_is_found_in_any_case)
{
    for (int id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        struct span name = field_name((enum field_id)id);
        char upper[64], lower[64];

        for (size_t i = 0; i < name.len; i++) {
            lower[i] = ascii_lower(name.ptr[i]);
            upper[i] = lower[i] >= 'a' && lower[i] <= 'z' ? (char)(lower[i] - 32) : lower[i];
        }
        ck_assert_msg(field_find(name) == (enum field_id)id,
                      "%.*s is not found: give it its slot in field.c", SPAN_ARG(name));
        ck_assert_int_eq(field_find((struct span){upper, name.len}), id);
        ck_assert_int_eq(field_find((struct span){lower, name.len}), id);
    }
}
END_TEST

/* One byte changed, added or taken away makes it another name. */
START_TEST(a_name_that_differs_in_one_byte_is_another)
{
    for (int id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        struct span name = field_name((enum field_id)id);
        char changed[64];

        memcpy(changed, name.ptr, name.len);
        changed[name.len] = 'x';
        ck_assert_int_ne(field_find((struct span){changed, name.len + 1}), id);
        ck_assert_int_ne(field_find((struct span){changed, name.len - 1}), id);
        unsigned wrong = 0;
        for (size_t i = 0; i < name.len; i++)
            for (int c = 0; c < 256; c++) {
                memcpy(changed, name.ptr, name.len);
                changed[i] = (char)c;
                bool same = ascii_lower((char)c) == ascii_lower(name.ptr[i]);
                bool found = field_find((struct span){changed, name.len}) == (enum field_id)id;
                wrong += found != same;
            }
        ck_assert_uint_eq(wrong, 0);
    }
}
END_TEST

START_TEST(an_empty_name_and_a_name_with_spaces_are_no_tokens)
{
    ck_assert_int_eq(field_find(SPAN("")), FIELD_OTHER);
    ck_assert_int_eq(field_find(SPAN("Host ")), FIELD_OTHER);
    ck_assert(!span_is_token(SPAN("")));
    ck_assert(!span_is_token(SPAN("a b")));
    ck_assert(!span_is_token(SPAN("a:")));
    ck_assert(!span_is_token(SPAN("\xc3\xa4")));
    ck_assert(span_is_token(SPAN("!#$%&'*+-.^_`|~09azAZ")));
}
END_TEST

START_TEST(values_hold_anything_but_controls)
{
    ck_assert(span_is_field_value(SPAN("")));
    ck_assert(span_is_field_value(SPAN("a\tb \x80\xff")));
    unsigned wrong = 0;
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        bool control = (c < 32 && c != '\t') || c == 127;
        ck_assert_int_eq(span_is_field_value((struct span){&byte, 1}), !control);
        for (size_t at = 0; at < 19; at++) { /* in a long one too, wherever */
            char longer[19];
            memset(longer, at & 1 ? ' ' : 0xff, sizeof longer);
            longer[at] = byte;
            wrong += span_is_field_value((struct span){longer, sizeof longer}) == control;
        }
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(fields_are_kept_in_order_and_found_without_case)
{
    struct field list[4];
    struct fields f = {.list = list, .max = COUNT_OF(list)};

    ck_assert(!fields_get(&f, FIELD_HOST));
    ck_assert_int_eq(fields_add(&f, FIELD_HOST, SPAN("host"), SPAN("a")), 0);
    ck_assert_int_eq(fields_add(&f, FIELD_OTHER, SPAN("X-A"), SPAN("1")), 0);
    ck_assert_int_eq(fields_add(&f, FIELD_VIA, SPAN("Via"), SPAN("b, c")), 0);
    ck_assert_int_eq(fields_add(&f, FIELD_VIA, SPAN("VIA"), SPAN("\"d,e\", f")), 0);
    ck_assert_int_eq(fields_add(&f, FIELD_OTHER, SPAN("X"), SPAN("")), FAIL_FULL);
    ck_assert_ptr_eq(fields_get(&f, FIELD_HOST), &list[0]);
    ck_assert_ptr_eq(fields_find(&f, SPAN("x-a")), &list[1]);
    ck_assert_ptr_eq(fields_find(&f, SPAN("HOST")), &list[0]);
    ck_assert_ptr_null(fields_find(&f, SPAN("x-b")));
    ck_assert_ptr_null(fields_find(&f, SPAN("date")));
    ck_assert_uint_eq(fields_number(&f, FIELD_VIA), 2);
    ck_assert_uint_eq(fields_number(&f, FIELD_DATE), 0);
    ck_assert(fields_has_item(&f, FIELD_VIA, SPAN("C")));
    ck_assert(fields_has_item(&f, FIELD_VIA, SPAN("f")));
    ck_assert(!fields_has_item(&f, FIELD_VIA, SPAN("e\"")));
    ck_assert(!fields_has_item(&f, FIELD_DATE, SPAN("")));
}
END_TEST

/* RFC 9110, 5.6.1: empty members count for nothing. */
START_TEST(list_members_are_split_at_commas_outside_quotes)
{
    struct span rest = SPAN(" , a ,,b c,\t\"x,\\\"y\" ;q=1 , "), item;
    static const char *const wanted[] = {"a", "b c", "\"x,\\\"y\" ;q=1"};

    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        ck_assert(field_item(&rest, &item));
        ck_assert(span_equal(item, span_of(wanted[i])));
    }
    ck_assert(!field_item(&rest, &item));
    rest = SPAN("\"open, \\");
    ck_assert(field_item(&rest, &item));
    ck_assert(span_equal(item, SPAN("\"open, \\")));
    ck_assert(!field_item(&rest, &item));
}
END_TEST

static const struct {
    enum field_id id;
    const char *value, *hops;
} hops_rows[] = {
    {FIELD_FORWARDED, "for=1.1.1.1, for=\"[::1]:4\";by=\"a\\\"b\" , for=_x",
     "for=1.1.1.1, for=\"[::1]:4\";by=\"a\\\"b\" , for=_x"},
    {FIELD_FORWARDED, "for=\"\"", "for=\"\""},
    {FIELD_FORWARDED, "for=1.1.1.1, for=\"2.2.2.2", ""},
    {FIELD_FORWARDED, "for=\"2.2.2.2, for=1.1.1.1", ""},
    {FIELD_FORWARDED, "for=\"2.2.2.2\\\"", ""},
    {FIELD_FORWARDED, "for=\"2.2.2.2\\", ""},
    {FIELD_FORWARDED, "for=a\", for=1.1.1.1, for=b\"", ""},
    {FIELD_FORWARDED, "for=\"a\"b\", for=1.1.1.1", ""},
    {FIELD_FORWARDED, "\"for=a\"", ""},
    {FIELD_X_FORWARDED_FOR, "1.1.1.1,\"[::1]:4\", \"2.2.2.2\"", "1.1.1.1,\"[::1]:4\", \"2.2.2.2\""},
    {FIELD_X_FORWARDED_FOR, "1.1.1.1, \"2.2.2.2, 3.3.3.3", "3.3.3.3"},
    {FIELD_X_FORWARDED_FOR, "\"1.1.1.1, 2.2.2.2\"", ""},
    {FIELD_X_FORWARDED_FOR, "\"a\"b\", 3.3.3.3,4.4.4.4", "3.3.3.3,4.4.4.4"},
    {FIELD_X_FORWARDED_FOR, "1.1.1.1, \"", ""},
    {FIELD_X_FORWARDED_FOR, "", ""},
};

/* What is left is well-formed, and whatever is appended is an element of its own. */
START_TEST(malformed_hops_are_left_out_with_what_is_before_them)
{
    struct field f = {.id = (uint16_t)hops_rows[_i].id, .value = span_of(hops_rows[_i].value)};
    struct span hops = field_hops(&f);

    ck_assert_msg(span_equal(hops, span_of(hops_rows[_i].hops)), "\"%s\": \"%.*s\"",
                  hops_rows[_i].value, SPAN_ARG(hops));
}
END_TEST

START_TEST(methods_are_found_with_their_case_only)
{
    for (int m = METHOD_OTHER + 1; m < METHOD_COUNT; m++)
        ck_assert_int_eq(method_find(method_name((enum method)m)), m);
    ck_assert_int_eq(method_find(SPAN("get")), METHOD_OTHER);
    ck_assert_int_eq(method_find(SPAN("")), METHOD_OTHER);
    ck_assert_int_eq(method_find(SPAN("GETS")), METHOD_OTHER);
    ck_assert_int_eq(method_find(SPAN("PROPFIND")), METHOD_OTHER);
    ck_assert_uint_eq(method_name(METHOD_OTHER).len, 0);
    ck_assert(method_safe(METHOD_GET) && method_idempotent(METHOD_GET));
    ck_assert(!method_safe(METHOD_PUT) && method_idempotent(METHOD_PUT));
    ck_assert(!method_idempotent(METHOD_POST) && !method_idempotent(METHOD_PATCH));
    ck_assert(!method_safe(METHOD_OTHER) && !method_idempotent(METHOD_OTHER));
}
END_TEST

START_TEST(status_lines_carry_their_phrases)
{
    ck_assert(span_equal(status_line(200), SPAN("HTTP/1.1 200 OK\r\n")));
    ck_assert(span_equal(status_phrase(431), SPAN("Request Header Fields Too Large")));
    ck_assert(span_equal(status_phrase(299), SPAN("Unknown")));
    ck_assert_uint_eq(status_line(299).len, 0);
    for (int status = -1; status < 1100; status++) {
        struct span line = status_line(status);
        char wanted[80];
        if (line.len == 0)
            continue;
        int n = snprintf(wanted, sizeof wanted, "HTTP/1.1 %d %.*s\r\n", status,
                         SPAN_ARG(status_phrase(status)));
        ck_assert(span_equal(line, (struct span){wanted, (size_t)n}));
    }
}
END_TEST

/* A cause with a status that has no line could not be answered. */
START_TEST(every_cause_has_a_status_that_can_be_sent)
{
    for (int c = CAUSE_NONE + 1; c < CAUSE_COUNT; c++) {
        const struct cause_row *row = cause_row((enum cause)c);
        ck_assert(row->name.len > 0 && row->meaning[0] && row->advice[0]);
        ck_assert(row->status == 0 || row->status == 499 || status_line(row->status).len > 0);
    }
    ck_assert(span_equal(cause_row(CAUSE_bad_framing)->name, SPAN("bad_framing")));
    ck_assert_int_eq(cause_row(CAUSE_bad_framing)->status, 400);
    ck_assert_int_eq(cause_row(CAUSE_NONE)->status, 0);
}
END_TEST

START_TEST(a_head_can_move_and_leaves_foreign_spans_alone)
{
    static const char was[] = "GET /x host:a", is[] = "GET /x host:a";
    struct field list[2];
    struct request r = {
        .fields = {.list = list, .max = 2}, .method_name = {was, 3}, .target = {.path = SPAN("/")}};
    struct span elsewhere = SPAN("elsewhere");

    r.host = (struct span){was + sizeof was - 1, 0}; /* empty, at the very end */
    ck_assert_int_eq(fields_add(&r.fields, FIELD_HOST, (struct span){was + 7, 4}, elsewhere), 0);
    request_rebase(&r, was, sizeof was - 1, is);
    ck_assert_ptr_eq(r.method_name.ptr, is);
    ck_assert_ptr_eq(r.host.ptr, is + sizeof is - 1);
    ck_assert_ptr_eq(list[0].name.ptr, is + 7);
    ck_assert_ptr_eq(list[0].value.ptr, elsewhere.ptr);
    ck_assert(span_equal(r.target.path, SPAN("/")));
    ck_assert_ptr_null(r.target.query.ptr);
}
END_TEST

Suite *field_suite(void)
{
    Suite *s = suite_create("field");
    TCase *t = tcase_create("field");

    tcase_add_test(t, every_known_name_is_found_in_any_case);
    tcase_add_test(t, a_name_that_differs_in_one_byte_is_another);
    tcase_add_test(t, an_empty_name_and_a_name_with_spaces_are_no_tokens);
    tcase_add_test(t, values_hold_anything_but_controls);
    tcase_add_test(t, fields_are_kept_in_order_and_found_without_case);
    tcase_add_test(t, list_members_are_split_at_commas_outside_quotes);
    tcase_add_loop_test(t, malformed_hops_are_left_out_with_what_is_before_them, 0,
                        COUNT_OF(hops_rows));
    tcase_add_test(t, methods_are_found_with_their_case_only);
    tcase_add_test(t, status_lines_carry_their_phrases);
    tcase_add_test(t, every_cause_has_a_status_that_can_be_sent);
    tcase_add_test(t, a_head_can_move_and_leaves_foreign_spans_alone);
    suite_add_tcase(s, t);
    return s;
}
