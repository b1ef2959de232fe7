/* The syntax of the file: every rule and where its breach is said to be. */
#include "tests/unit/conf/fake.h"

#include "base/mem.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct fake fake;

static void setup(void)
{
    fake_init(&fake);
}

static void teardown(void)
{
    fake_free(&fake);
}

static const struct conf_value *value_of(const char *type, const char *name, const char *key)
{
    for (const struct conf_section *s = fake.conf.sections; s; s = s->next)
        if (span_equal(s->type, span_of(type)) && span_equal(s->name, span_of(name))) {
            const struct conf_entry *e = conf_find(s, key);
            ck_assert_msg(e && e->values, "no %s in [%s %s]", key, type, name);
            return e->values;
        }
    ck_abort_msg("no [%s %s]", type, name);
}

#define ck_assert_span_eq(got, want)                                                               \
    do {                                                                                           \
        struct span s_ = (got);                                                                    \
        ck_assert_msg(span_equal(s_, span_of(want)), "\"%.*s\" is not \"%s\"", SPAN_ARG(s_),       \
                      want);                                                                       \
    } while (0)

struct mistake {
    const char *text, *said;
};

static const struct mistake mistakes[] = {
    {"[server]\nkey value\n",
     "a.ini:2:1: error: neither [section] nor key = value nor a comment: there is no =\n"},
    {"[server]\n  key: value\n",
     "a.ini:2:6: error: key and value are separated by =, never by :\n"},
    {"[server]\n \\\n  \\\n   key: value\n",
     "a.ini:4:7: error: key and value are separated by =, never by :\n"},
    {"[server]\n\\\nke\\\n y: value\n",
     "a.ini:4:3: error: key and value are separated by =, never by :\n"},
    {"[server]\nkey : a=b\n", "a.ini:2:5: error: key and value are separated by =, never by :\n"},
    {"[server]\nkey =\n", "a.ini:2:5: error: key has no value; the empty text is \"\"\n"},
    {"[server]\nkey =   \t \n", "a.ini:2:5: error: key has no value; the empty text is \"\"\n"},
    {"[server]\nKey = 1\n",
     "a.ini:2:1: error: a key is small letters, digits and \"_\", and begins "
     "with a letter\n"},
    {"[server]\nke-y = 1\n", "a.ini:2:3: error: a key is small letters, digits and \"_\", and "
                             "begins with a letter\n"},
    {"[server]\n = 1\n", "a.ini:2:2: error: a key is small letters, digits and \"_\", and begins "
                         "with a letter\n"},
    {"key = 1\n", "a.ini:1:1: error: a key before the first [section]\n"},
    {"[server\n", "a.ini:1:8: error: a section ends in ]\n"},
    {"[server] # text\n", "a.ini:1:9: error: something stands after the ] of a section\n"},
    {"[]\n", "a.ini:1:2: error: a section is [type] or [type NAME], type in small letters\n"},
    {"[Route a]\n",
     "a.ini:1:2: error: a section is [type] or [type NAME], type in small letters\n"},
    {"[route ]\n", "a.ini:1:7: error: a section is [type] or [type NAME], type in small letters\n"},
    {"[route -a]\n", "a.ini:1:8: error: a name is letters, digits, \".\", \"_\" and \"-\", and "
                     "begins with a letter or digit\n"},
    {"[route a b]\n", "a.ini:1:9: error: a name is letters, digits, \".\", \"_\" and \"-\", and "
                      "begins with a letter or digit\n"},
    {"[route a1234567890123456789012345678901234567890]\n",
     "a.ini:1:48: error: a name of 41 characters: at most 40\n"},
    {"[route a]\n\n[route b]\n[route a]\n",
     "a.ini:4:1: error: [route a] is opened twice; the first is at a.ini:1\n"},
    {"[server]\n[server]\n",
     "a.ini:2:1: error: [server] is opened twice; the first is at a.ini:1\n"},
    {"[server]\nkey = a\x01z\n", "a.ini:2:8: error: control character 0x01\n"},
    {"[server]\nkey = a\x7fz\n", "a.ini:2:8: error: control character 0x7f\n"},
    {"[server]\nkey = a\rb\n", "a.ini:2:8: error: control character 0x0d\n"},
    {"[server]\n# \xff\n", "a.ini:2:3: error: byte 0xff is not UTF-8\n"},
    {"[server]\nkey = \xc3\xa4\xc0\xaf\n", "a.ini:2:9: error: byte 0xc0 is not UTF-8\n"},
    {"[server]\nkey = \xed\xa0\x80\n", "a.ini:2:7: error: byte 0xed is not UTF-8\n"},
    {"[server]\nkey = \xe2\x82\n", "a.ini:2:7: error: byte 0xe2 is not UTF-8\n"},
    {"[server]\nkey = a \\\n# no\n\n",
     "a.ini:3:1: error: a comment cannot stand inside a joined line\n"},
    {"[server]\nkey = a \\\n  ; no\n",
     "a.ini:3:3: error: a comment cannot stand inside a joined line\n"},
    {"[server]\nkey = a \\", "a.ini:2:9: error: nothing follows the \\ that joins lines\n"},
    {"[server]\nkey = ${NONE}\n", "a.ini:2:7: error: the environment has no NONE; ${NAME:-text} "
                                  "gives a text for that case\n"},
    {"[server]\nkey = a, ${EMPTY}\n", "a.ini:2:10: error: the environment has no EMPTY; "
                                      "${NAME:-text} gives a text for that case\n"},
    {"[server]\nkey = ${SOME\n", "a.ini:2:7: error: there is no } after this ${\n"},
    {"[server]\nkey = ${SOME-x}\n", "a.ini:2:7: error: the environment is written ${NAME} or "
                                    "${NAME:-text}, NAME in capitals\n"},
    {"[server]\nkey = ${NONE:-${SOME}}\n", "a.ini:2:7: error: a $ in the text of ${NAME:-text}\n"},
    {"[server]\nkey = ${LINES}\n", "a.ini:2:7: error: LINES of the environment has a line end or "
                                   "control character in it\n"},
    {"[server]\nkey = ${NONE:-}\n", "a.ini:2:7: error: key has no value; the empty text is \"\"\n"},
    {"[server]\nkey = ${DOLLAR}{x}\n",
     "a.ini:2:7: error: DOLLAR of the environment ends in $ right "
     "before another $ or {\n"},
};

START_TEST(each_mistake_is_said_where_it_stands)
{
    const struct mistake *m = &mistakes[_i];

    fake_variable(&fake, "SOME", "thing");
    fake_variable(&fake, "EMPTY", "");
    fake_variable(&fake, "LINES", "a\n[route x]\nkey = 2");
    fake_variable(&fake, "DOLLAR", "5$");
    fake_file(&fake, "a.ini", span_of(m->text));
    fake_read(&fake);
    ck_assert_str_eq(fake_said(&fake), m->said);
    ck_assert_uint_eq(fake.d.errors, 1);
}
END_TEST

START_TEST(a_nul_is_refused_where_it_stands)
{
    fake_file(&fake, "a.ini", SPAN("[server]\nkey = a\0b\nother = 1\n"));
    fake_read(&fake);
    ck_assert_str_eq(fake_said(&fake), "a.ini:2:8: error: control character 0x00\n");
    ck_assert_span_eq(value_of("server", "", "other")->text, "1");
}
END_TEST

START_TEST(inih_never_cuts_a_value)
{
    fake_file(&fake, "a.ini",
              SPAN("[server]\n"
                   "one = x ; y # z : w = v ] u [ t\n"
                   "two =;x\n"
                   "    indented = 3\n"
                   "four = a:b=c\n"
                   "five = [s0]\n"
                   "six = #1\n"));
    fake_read(&fake);
    ck_assert_str_eq(fake_said(&fake), "");
    ck_assert_span_eq(value_of("server", "", "one")->text, "x ; y # z : w = v ] u [ t");
    ck_assert_span_eq(value_of("server", "", "two")->text, ";x");
    ck_assert_span_eq(value_of("server", "", "indented")->text, "3");
    ck_assert_span_eq(value_of("server", "", "four")->text, "a:b=c");
    ck_assert_span_eq(value_of("server", "", "five")->text, "[s0]");
    ck_assert_span_eq(value_of("server", "", "six")->text, "#1");
}
END_TEST

START_TEST(a_value_of_10000_bytes_stays_whole)
{
    static char text[10100];
    char *at = text + sprintf(text, "[server]\nbefore = 1\nkey = ");
    char *value = at;

    for (size_t i = 0; i < 10000; i++)
        *at++ = (char)('!' + i % 90);
    sprintf(at, "\nafter = 2\n");
    fake_file(&fake, "a.ini", span_of(text));
    fake_read(&fake);
    ck_assert_str_eq(fake_said(&fake), "");
    ck_assert(span_equal(value_of("server", "", "key")->text, (struct span){value, 10000}));
    ck_assert_uint_eq(value_of("server", "", "after")->at.line, 4);
}
END_TEST

START_TEST(a_joined_line_has_at_most_64_kib)
{
    enum { LINE = 64 << 10 };
    for (int more = 0; more < 2; more++) {
        struct fake f;
        size_t len = (size_t)(LINE + more);
        char *text = malloc(len + 10), *said = malloc(200);
        memcpy(text, "[server]\na=", 11);
        memset(text + 11, 'x', len - 2);
        fake_init(&f);
        fake_file(&f, "a.ini", (struct span){text, len + 9});
        fake_read(&f);
        sprintf(said, "a.ini:2:1: error: a line of %d bytes: at most %d\n", LINE + 1, LINE);
        ck_assert_str_eq(fake_said(&f), more ? said : "");
        fake_free(&f);
        free(text);
        free(said);
    }
}
END_TEST

START_TEST(a_backslash_joins_lines_with_one_space)
{
    fake_file(&fake, "a.ini",
              SPAN("[server]\r\nkey = one,\\\r\n\t  two, \\\r\nthree\\x\r\n"
                   "other = C:\\dir\r\n# comment \\\r\nlast = 1\r\n"));
    fake_read(&fake);
    ck_assert_str_eq(fake_said(&fake), "");
    const struct conf_value *v = value_of("server", "", "key");
    ck_assert_span_eq(v->text, "one, two,  three\\x");
    struct position at = conf_value_at(v, 5);
    ck_assert_uint_eq(at.line, 3);
    ck_assert_uint_eq(at.column, 4);
    at = conf_value_at(v, 11);
    ck_assert_uint_eq(at.line, 4);
    ck_assert_uint_eq(at.column, 1);
    ck_assert_span_eq(value_of("server", "", "other")->text, "C:\\dir");
    ck_assert_uint_eq(value_of("server", "", "last")->at.line, 7);
}
END_TEST

START_TEST(a_byte_order_mark_is_skipped)
{
    fake_file(&fake, "a.ini", SPAN("\xef\xbb\xbf[server]\nkey = 1\n"));
    fake_read(&fake);
    ck_assert_str_eq(fake_said(&fake), "");
    ck_assert_uint_eq(fake.conf.sections->at.column, 1);
}
END_TEST

START_TEST(an_empty_section_counts)
{
    fake_file(&fake, "a.ini", SPAN("[route a]\n[route b]\n\n[route c]"));
    fake_read(&fake);
    ck_assert_str_eq(fake_said(&fake), "");
    const struct conf_section *s = fake.conf.sections;
    ck_assert_span_eq(s->name, "a");
    ck_assert_span_eq(s->next->name, "b");
    ck_assert_span_eq(s->next->next->name, "c");
    ck_assert_uint_eq(s->next->next->at.line, 4);
}
END_TEST

START_TEST(keys_under_a_bad_header_belong_to_nobody)
{
    fake_file(&fake, "a.ini", SPAN("[route a]\nkey = 1\n[route a b]\nkey = 2\nkey = 3\n"));
    fake_read(&fake);
    ck_assert_uint_eq(fake.d.errors, 1);
    ck_assert_ptr_null(value_of("route", "a", "key")->next);
}
END_TEST

START_TEST(the_environment_is_put_in_and_adds_nothing_else)
{
    fake_variable(&fake, "PORT", "8080");
    fake_variable(&fake, "QUOTE", "a\" # b\\");
    fake_variable(&fake, "VARIABLE", "${host}");
    fake_file(&fake, "a.ini",
              SPAN("[server]\none = :${PORT:-80}\ntwo = :${NONE:-80}\nthree = $${PORT} $PORT $\n"
                   "four = ${VARIABLE}\nfive = ${host} ${PORT}, x\nsix = \"${QUOTE}\"\n"
                   "seven = a${NONE:-}b\n"));
    fake_read(&fake);
    ck_assert_str_eq(fake_said(&fake), "");
    ck_assert_span_eq(value_of("server", "", "one")->text, ":8080");
    ck_assert_span_eq(value_of("server", "", "two")->text, ":80");
    ck_assert_span_eq(value_of("server", "", "three")->text, "$${PORT} $PORT $");
    ck_assert_span_eq(value_of("server", "", "four")->text, "$${host}");
    const struct conf_value *v = value_of("server", "", "five");
    ck_assert_span_eq(v->text, "${host} 8080, x");
    ck_assert_uint_eq(conf_value_at(v, 9).column, 16);
    ck_assert_uint_eq(conf_value_at(v, 11).column, 16);
    ck_assert_uint_eq(conf_value_at(v, 14).column, 25);
    ck_assert_span_eq(value_of("server", "", "six")->text, "\"a\" # b\\\"");
    ck_assert_span_eq(value_of("server", "", "seven")->text, "ab");
}
END_TEST

/* --- include --------------------------------------------------------------- */

START_TEST(included_files_follow_in_the_order_of_their_bytes)
{
    fake_file(&fake, "a.ini", SPAN("[server]\ninclude = d/*.ini, last.ini\n[route a]\n"));
    fake_file(&fake, "d/b.ini", SPAN("[route b]\n"));
    fake_file(&fake, "last.ini", SPAN("[route z]\n[server]\nkey = 2\n"));
    fake_file(&fake, "d/B.ini", SPAN("[server]\nother = 1\ninclude = ../e/*.none, sub/x.ini\n"));
    fake_file(&fake, "d/sub/x.ini", SPAN("[route x]\n"));
    fake_read(&fake);
    ck_assert_str_eq(fake_said(&fake), "");
    static const char *const names[] = {"", "a", "x", "b", "z"};
    const struct conf_section *s = fake.conf.sections;
    for (size_t i = 0; i < COUNT_OF(names); i++, s = s->next)
        ck_assert_span_eq(s->name, names[i]);
    ck_assert_ptr_null(s);
    ck_assert_str_eq(value_of("server", "", "other")->at.file, "d/B.ini");
    ck_assert_str_eq(value_of("server", "", "key")->at.file, "last.ini");
}
END_TEST

static const struct {
    const char *a, *b, *said;
} includes[] = {
    {"[server]\ninclude = none.ini\n", "", "a.ini:2:11: error: include: none.ini: not found\n"},
    {"[server]\ninclude = b.ini\n", "[server]\ninclude = a.ini\n",
     "b.ini:2:11: error: include: a.ini includes itself\n"},
    {"[server]\ninclude = b.ini, b.ini\n", "[route b]\n",
     "a.ini:2:18: error: include: b.ini is included twice\n"},
    {"[server]\ninclude = b.ini,\n", "[route b]\n",
     "a.ini:2:16: error: include: an item is missing after the comma\n"},
    {"[server]\ninclude = , b.ini\n", "[route b]\n",
     "a.ini:2:11: error: include: an item is missing before the comma\n"},
    {"[server]\ninclude = b.ini c.ini\n", "[route b]\n",
     "a.ini:2:17: error: include: items are separated by commas\n"},
    {"[route c]\n[server]\ninclude = *.ini\n", "[route c]\n",
     "a.ini:3:11: error: include: a.ini includes itself\n"
     "b.ini:1:1: error: [route c] is opened twice; the first is at a.ini:1\n"},
};

START_TEST(a_wrong_include_is_said)
{
    fake_file(&fake, "a.ini", span_of(includes[_i].a));
    fake_file(&fake, "b.ini", span_of(includes[_i].b));
    fake_read(&fake);
    ck_assert_str_eq(fake_said(&fake), includes[_i].said);
}
END_TEST

START_TEST(eight_levels_of_include_and_no_more)
{
    static char names[10][16], texts[10][64];

    for (int i = 0; i < 10; i++) {
        sprintf(names[i], i ? "l%d.ini" : "a.ini", i);
        sprintf(texts[i], "[server]\ninclude = l%d.ini\n", i + 1);
        fake_file(&fake, names[i], span_of(texts[i]));
    }
    fake_read(&fake);
    ck_assert_str_eq(fake_said(&fake), "l8.ini:2:11: error: include: more than 8 levels\n");
}
END_TEST

START_TEST(a_file_that_is_not_there_is_said)
{
    fake_read(&fake);
    ck_assert_str_eq(fake_said(&fake), "error: a.ini: not found\n");
}
END_TEST

START_TEST(at_most_a_hundred_errors_are_kept)
{
    static char text[4096] = "[server]\n";

    for (int i = 0; i < 130; i++)
        strcat(text, "no equals sign\n");
    fake_file(&fake, "a.ini", span_of(text));
    fake_read(&fake);
    ck_assert_uint_eq(fake.d.errors, 130);
    const char *said = fake_said(&fake);
    unsigned lines = 0;
    for (const char *c = said; *c; c++)
        lines += *c == '\n';
    ck_assert_uint_eq(lines, 101);
    ck_assert_ptr_nonnull(strstr(said, "error: 30 more\n"));
}
END_TEST

START_TEST(a_section_has_at_most_five_hundred_keys)
{
    static char text[32768] = "[server]\n";
    size_t len = strlen(text);

    for (int i = 0; i < 600; i++)
        len += (size_t)sprintf(text + len, "key%d = 1\nkey0 = 2\n", i);
    sprintf(text + len, "[route r]\nkey500 = 1\n");
    fake_file(&fake, "a.ini", span_of(text));
    fake_read(&fake);
    ck_assert_str_eq(fake_said(&fake),
                     "a.ini:1002:1: error: [server] has more than 500 different keys; this one and "
                     "all others that are new are not looked at\n");
    ck_assert_ptr_nonnull(conf_find(fake.conf.sections, "key499"));
    ck_assert_ptr_null(conf_find(fake.conf.sections, "key500"));
    unsigned values = 0;
    for (struct conf_value *v = conf_find(fake.conf.sections, "key0")->values; v; v = v->next)
        values++;
    ck_assert_uint_eq(values, 601); /* those that are known go on counting */
    ck_assert_ptr_nonnull(conf_find(fake.conf.sections->next, "key500"));
}
END_TEST

Suite *syntax_suite(void)
{
    Suite *suite = suite_create("syntax");
    TCase *test = tcase_create("syntax");

    tcase_add_checked_fixture(test, setup, teardown);
    tcase_add_loop_test(test, each_mistake_is_said_where_it_stands, 0, COUNT_OF(mistakes));
    tcase_add_test(test, a_nul_is_refused_where_it_stands);
    tcase_add_test(test, inih_never_cuts_a_value);
    tcase_add_test(test, a_value_of_10000_bytes_stays_whole);
    tcase_add_test(test, a_joined_line_has_at_most_64_kib);
    tcase_add_test(test, a_backslash_joins_lines_with_one_space);
    tcase_add_test(test, a_byte_order_mark_is_skipped);
    tcase_add_test(test, an_empty_section_counts);
    tcase_add_test(test, keys_under_a_bad_header_belong_to_nobody);
    tcase_add_test(test, the_environment_is_put_in_and_adds_nothing_else);
    tcase_add_test(test, included_files_follow_in_the_order_of_their_bytes);
    tcase_add_loop_test(test, a_wrong_include_is_said, 0, COUNT_OF(includes));
    tcase_add_test(test, eight_levels_of_include_and_no_more);
    tcase_add_test(test, a_file_that_is_not_there_is_said);
    tcase_add_test(test, at_most_a_hundred_errors_are_kept);
    tcase_add_test(test, a_section_has_at_most_five_hundred_keys);
    suite_add_tcase(suite, test);
    return suite;
}
