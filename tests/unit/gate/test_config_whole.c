/* Whole configurations: printed and read back, weighed, broken at random, and
 * read without memory. */
#include "tests/unit/gate/configs.h"

#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>

/* --- whole files ------------------------------------------------------------------- */

static const char *data(const char *name)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s/%s", CONF_DATA, name);
    return path;
}

/* The lines without the folder before the files' names. */
static void short_line(void *to, struct span text)
{
    static const char folder[] = CONF_DATA "/";
    static char line[4096];
    size_t len = 0;

    while (text.len > 0 && len < sizeof line) {
        if (span_starts(text, SPAN(folder)))
            text = span_after(text, sizeof folder - 1);
        line[len++] = text.ptr[0];
        text = span_after(text, 1);
    }
    printed_line(to, (struct span){line, len});
}

START_TEST(twelve_mistakes_are_twelve_messages)
{
    struct printed p = {&fake.said, SPAN("")};

    ck_assert_ptr_null(config_load(data("twelve.ini"), &source_disk, modules, &fake.d));
    diagnostics_print(&fake.d, short_line, &p);
    ck_assert_str_eq(
        p.text.ptr,
        "twelve.ini:3:11: error: workers: \"many\": a count is digits only: no unit, no sign\n"
        "twelve.ini:4:1: error: [server] has no key drain_timout; did you mean "
        "\"drain_timeout\"?\n"
        "twelve.ini:7:10: error: listen: \"10.0.0.1\": an address is :80, 10.0.0.1:80, "
        "[::1]:80, unix:/path or unix:@name\n"
        "twelve.ini:8:11: error: trusted: \"10.1.2.3/8\": the network is 10.0.0.0/8\n"
        "twelve.ini:11:25: error: server: there is no option \"wieght=3\"; did you mean "
        "\"weight=\"?\n"
        "twelve.ini:12:11: error: balance: \"p2\" is none of round_robin, least_conn, p2c, random, "
        "hash; did you mean \"p2c\"?\n"
        "twelve.ini:15:8: error: path: \"api/*\": a path begins with /\n"
        "twelve.ini:17:12: error: there is no [upstream apl]; did you mean \"api\"?\n"
        "twelve.ini:20:1: error: neither [section] nor key = value nor a comment: there is no "
        "=\n"
        "twelve.ini:21:11: error: handler: there is no handler plian; did you mean \"plain\"?\n"
        "twelve.ini:23:1: error: [route hello] is opened twice; the first is at twelve.ini"
        ":19\n"
        "twelve.ini:26:1: error: there is no section type tsl; did you mean \"tls\"?\n");
}
END_TEST

/* The lines of -T that are no comments. */
static void plain_line(void *to, struct span text)
{
    if (text.len == 0 || text.ptr[0] != '#')
        printed_line(to, text);
}

static int fake_or_disk(void *of, struct arena *arena, const char *path, struct span *text)
{
    const struct fake *f = of;

    if (strcmp(path, "a.ini") != 0)
        return source_disk.read(NULL, arena, path, text);
    *text = f->files[0].text;
    return 0;
}

START_TEST(a_complete_file_reads_back_as_it_was_printed)
{
    struct printed whole = {&fake.said, SPAN("")}, first = whole, second = whole;
    struct config *config = config_load(data("complete.ini"), &source_disk, modules, &fake.d);

    ck_assert_str_eq(fake_said(&fake), "");
    config_run_tests(config, &fake.d);
    ck_assert_str_eq(fake_said(&fake), "");
    ck_assert_uint_gt(config_worst_case_bytes(config), 1 << 20);
    config_print(config, printed_line, &whole);
    config_print(config, plain_line, &first);
    config_free(config);

    struct fake again;
    fake_init(&again);
    again.source.read = fake_or_disk;
    fake_file(&again, "a.ini", whole.text);
    config = config_load("a.ini", &again.source, modules, &again.d);
    ck_assert_str_eq(fake_said(&again), "");
    config_run_tests(config, &again.d);
    ck_assert_str_eq(fake_said(&again), "");
    config_print(config, plain_line, &second);
    ck_assert_str_eq(second.text.ptr, first.text.ptr);
    config_free(config);
    fake_free(&again);
}
END_TEST

START_TEST(a_worst_case_grows_with_the_limits)
{
    struct config *small =
        load_fine("[server]\nmax_connections = 10\nbuffer_memory = 1m\n" LISTENER);
    uint64_t bytes = config_worst_case_bytes(small);

    config_free(small);
    fake.files[0].path = NULL;
    struct config *large = load_fine("[server]\nmax_connections = 20\nbuffer_memory = 1m\n" LISTENER
                                     "max_header = 64k\n");
    ck_assert_uint_gt(config_worst_case_bytes(large), bytes + 20 * 32 * 1024);
    config_free(large);
}
END_TEST

/* --- hostile input and no memory ---------------------------------------------------- */

static char *complete(size_t *len)
{
    FILE *file = fopen(data("complete.ini"), "r");
    char *text = malloc(65536);

    ck_assert_ptr_nonnull(file);
    *len = fread(text, 1, 65536, file);
    fclose(file);
    return text;
}

START_TEST(bytes_changed_at_random_never_crash)
{
    struct random random = {.state = (uint64_t)_i};
    size_t len;
    char *good = complete(&len), *bad = malloc(len);
    static const char likely[] = "[]=\"\\\n\r\t #;:,${}*/%.0k\xff";

    for (int round = 0; round < 60; round++) {
        memcpy(bad, good, len);
        for (uint64_t n = 1 + random_below(&random, 20); n > 0; n--)
            bad[random_below(&random, len)] = random_below(&random, 2)
                                                  ? likely[random_below(&random, sizeof likely)]
                                                  : (char)random_below(&random, 256);
        fake_init(&fake);
        fake_file(&fake, "a.ini", (struct span){bad, len - random_below(&random, 100)});
        fake_file(&fake, "sorry.html", SPAN("sorry"));
        struct config *config = config_load("a.ini", &fake.source, modules, &fake.d);
        ck_assert((config == NULL) == (fake.d.errors > 0));
        if (config)
            config_run_tests(config, &fake.d);
        config_free(config);
        fake_said(&fake);
        fake_free(&fake);
    }
    fake_init(&fake);
    free(good);
    free(bad);
}
END_TEST

START_TEST(without_memory_nothing_crashes_and_nothing_is_believed)
{
    size_t len;
    char *text = complete(&len);
    bool failed = true;

    for (uint64_t n = 1; failed; n++) {
        ck_assert_uint_lt(n, 100000);
        fake_init(&fake);
        fake_file(&fake, "a.ini", (struct span){text, len});
        fake_file(&fake, "sorry.html", SPAN("sorry"));
        uint64_t before = mem_count();
        mem_fail_at(n, 0);
        struct config *config = config_load("a.ini", &fake.source, modules, &fake.d);
        failed = mem_count() - before >= n;
        ck_assert_msg(!failed || !config, "allocation %llu", (unsigned long long)n);
        ck_assert(config || fake.d.memory);
        if (config)
            config_run_tests(config, &fake.d);
        mem_fail_at(0, 0);
        config_free(config);
        fake_free(&fake);
    }
    fake_init(&fake);
    free(text);
}
END_TEST

Suite *config_whole_suite(void)
{
    Suite *suite = suite_create("config_whole");
    TCase *test = tcase_create("config_whole");

    tcase_add_checked_fixture(test, configs_setup, configs_teardown);
    tcase_add_test(test, twelve_mistakes_are_twelve_messages);
    tcase_add_test(test, a_complete_file_reads_back_as_it_was_printed);
    tcase_add_test(test, a_worst_case_grows_with_the_limits);
    tcase_add_loop_test(test, bytes_changed_at_random_never_crash, 0, 10);
    tcase_add_test(test, without_memory_nothing_crashes_and_nothing_is_believed);
    suite_add_tcase(suite, test);
    return suite;
}
