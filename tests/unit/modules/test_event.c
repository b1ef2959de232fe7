#include "modules/1mrc/event.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USER_MAX = 256 };

static size_t from_hex(const char *hex, char *bytes)
{
    size_t n = 0;

    for (; hex[0] && hex[0] != '-' && hex[1]; hex += 2) {
        const char two[3] = {hex[0], hex[1], 0};
        bytes[n++] = (char)strtol(two, NULL, 16);
    }
    return n;
}

/* "refused" or "USER:VALUE" as in events.txt.  The content is copied to its
 * exact size, so that a sanitizer sees a read beyond it. */
static void outcome(struct span content, char *text, size_t size)
{
    char scratch[USER_MAX], *copy = malloc(content.len ? content.len : 1);
    struct event e;
    uint64_t bits;
    size_t n = 0;

    ck_assert(copy != NULL);
    if (content.len)
        memcpy(copy, content.ptr, content.len);
    const char *why = event_read((struct span){copy, content.len}, scratch, USER_MAX, &e);
    if (why) {
        ck_assert_uint_gt(strlen(why), 0);
        ck_assert(!strchr(why, '\n'));
        snprintf(text, size, "refused");
    } else {
        for (size_t i = 0; i < e.user.len; i++, n += 2)
            snprintf(text + n, size - n, "%02x", (unsigned char)e.user.ptr[i]);
        memcpy(&bits, &e.value, sizeof bits);
        snprintf(text + n, size - n, ":%016llx", (unsigned long long)bits);
    }
    free(copy);
}

/* HG_EVENTS names another file, made by tests/data/json/make.py SEED COUNT FILE. */
START_TEST(events_are_read_as_python_reads_them)
{
    static char line[20000], content[10000], got[1200];
    const char *other = getenv("HG_EVENTS");
    char path[4096];
    int count = 0;

    snprintf(path, sizeof path, "%s/json/events.txt", DATA_DIR);
    FILE *file = fopen(other ? other : path, "r");
    ck_assert_msg(file != NULL, "%s is missing", path);
    while (fgets(line, sizeof line, file)) {
        const char *hex = strtok(line, " \n"), *want = strtok(NULL, " \n");
        count++;
        ck_assert(hex && want);
        struct span c = {content, from_hex(hex, content)};
        outcome(c, got, sizeof got);
        ck_assert_msg(strcmp(got, want) == 0, "events.txt:%d: %.*s\n  is %s, not %s", count,
                      SPAN_ARG(c), got, want);
    }
    fclose(file);
    ck_assert_int_gt(count, 1000);
}
END_TEST

static const char *why(const char *content)
{
    char scratch[16];
    struct event e;
    const char *reason = event_read(span_of(content), scratch, sizeof scratch, &e);

    return reason ? reason : "";
}

START_TEST(the_reason_says_what_is_wrong)
{
    ck_assert_str_eq(why("{\"userId\":\"a\"}"), "value is missing");
    ck_assert_str_eq(why("{\"value\":1}"), "userId is missing");
    ck_assert_str_eq(why("{}"), "userId is missing");
    ck_assert_str_eq(why(""), "the content ends early");
    ck_assert_str_eq(why("{"), "the content ends early");
    ck_assert_str_eq(why("{\"userId\":"), "the content ends early");
    ck_assert_str_eq(why("{\"x\":{"), "the content ends early");
    ck_assert_str_eq(why("[]"), "the content is not a JSON object");
    ck_assert_str_eq(why("{\"userId\":\"\",\"value\":1}"), "userId is empty");
    ck_assert_str_eq(why("{\"userId\":1,\"value\":1}"), "userId is not a string");
    ck_assert_str_eq(why("{\"userId\":\"a\",\"value\":\"1\"}"), "value is not a number");
    ck_assert_str_eq(why("{\"userId\":\"a\",\"value\":1e999}"),
                     "value is beyond the range of a double");
    ck_assert_str_eq(why("{\"userId\":\"a\",\"userId\":\"a\",\"value\":1}"),
                     "userId is there twice");
    ck_assert_str_eq(why("{\"userId\":\"0123456789abcdef0\",\"value\":1}"), "userId is too long");
    ck_assert_str_eq(why("{\"userId\":\"a\",\"value\":1}x"), "something follows the JSON object");
}
END_TEST

START_TEST(an_id_without_escapes_is_not_copied)
{
    const struct span content = SPAN("{\"userId\":\"\xc3\xa9t\xc3\xa9\",\"value\":1}");
    struct event e;

    ck_assert_ptr_null(event_read(content, NULL, 100, &e));
    ck_assert_ptr_eq(e.user.ptr, content.ptr + 11);
    ck_assert_uint_eq(e.user.len, 5);
}
END_TEST

Suite *event_suite(void);
Suite *event_suite(void)
{
    Suite *s = suite_create("event");
    TCase *t = tcase_create("event");

    tcase_add_test(t, events_are_read_as_python_reads_them);
    tcase_add_test(t, the_reason_says_what_is_wrong);
    tcase_add_test(t, an_id_without_escapes_is_not_copied);
    tcase_set_timeout(t, 60);
    suite_add_tcase(s, t);
    return s;
}
