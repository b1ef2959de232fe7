/* Every type of value: what it takes, what it refuses, and where it says so. */
#include "tests/unit/conf/fake.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const colours[] = {"red", "green", "blue", NULL};
static const char *const not_yet[] = {"violet", NULL};
static const char *const no_files[] = {"stdout", NULL};

struct all {
    bool yes;
    uint64_t count, octal, duration, size, share, limit, workers;
    struct rate rate;
    struct ranges ranges;
    int word;
    uint64_t words;
    struct spans order, names, tokens, hosts, paths, files;
    struct span name, token, host, path, file, text;
    struct addresses addresses;
    struct nets nets;
    struct template *template;
    struct line line, options;
    struct lines list, lines, edits, rest;
};

#define ROW(n, t, m, ...)                                                                          \
    {                                                                                              \
        .name = #n, .type = t, .offset = offsetof(struct all, m), __VA_ARGS__                      \
    }

static const struct setting table[] = {
    ROW(yes, SETTING_BOOL, yes, .flags = 0),
    ROW(count, SETTING_COUNT, count, .min = 1, .max = 100),
    ROW(octal, SETTING_OCTAL, octal, .flags = 0),
    ROW(duration, SETTING_DURATION, duration, .flags = SETTING_OFF, .min = 1000000,
        .max = UINT64_C(3600000000000)),
    ROW(size, SETTING_SIZE, size, .flags = SETTING_OFF, .max = 1 << 30),
    ROW(share, SETTING_PERCENT, share, .flags = 0),
    ROW(limit, SETTING_COUNT, limit, .flags = SETTING_OFF),
    ROW(workers, SETTING_COUNT, workers, .flags = SETTING_AUTO),
    ROW(rate, SETTING_RATE, rate, .flags = SETTING_OFF),
    ROW(ranges, SETTING_RANGE, ranges, .flags = 0),
    ROW(word, SETTING_WORD, word, .words = colours, .later = not_yet),
    ROW(words, SETTING_WORDS, words, .words = colours, .flags = SETTING_OFF),
    ROW(order, SETTING_WORD_ORDER, order, .words = colours),
    ROW(name, SETTING_NAME, name, .flags = 0),
    ROW(names, SETTING_NAMES, names, .flags = 0),
    ROW(token, SETTING_TOKEN, token, .flags = 0),
    ROW(tokens, SETTING_TOKENS, tokens, .flags = SETTING_OFF),
    ROW(host, SETTING_HOST, host, .flags = 0),
    ROW(hosts, SETTING_HOSTS, hosts, .flags = 0),
    ROW(path, SETTING_PATH, path, .flags = 0),
    ROW(paths, SETTING_PATHS, paths, .flags = 0),
    ROW(addresses, SETTING_ADDRESSES, addresses, .flags = 0),
    ROW(nets, SETTING_NETS, nets, .flags = 0),
    ROW(file, SETTING_FILE, file, .flags = SETTING_OFF),
    ROW(files, SETTING_FILES, files, .flags = 0),
    ROW(text, SETTING_TEXT, text, .flags = SETTING_OFF),
    ROW(template, SETTING_TEMPLATE, template, .flags = 0),
    ROW(line, SETTING_LINE, line, .flags = SETTING_OFF | SETTING_FILE_FIRST, .words = no_files),
    ROW(options, SETTING_LINE, options, .flags = SETTING_OPTIONS),
    ROW(list, SETTING_LIST, list, .flags = 0),
    ROW(lines, SETTING_LINES, lines, .flags = SETTING_FILE_SECOND | SETTING_UNIX_FIRST),
    ROW(edits, SETTING_LINES, edits, .flags = SETTING_REST_THIRD),
    ROW(rest, SETTING_LINES, rest, .flags = SETTING_REST_FIRST),
    {.name = "later", .flags = SETTING_LATER},
    {0},
};
static const struct setting *const tables[] = {table, NULL};

static struct fake fake;
static struct all all;
static char *file_text;

static void setup(void)
{
    fake_init(&fake);
    all = (struct all){0};
    file_text = NULL;
}

static void teardown(void)
{
    fake_free(&fake);
    free(file_text);
}

/* Reads "[test x]" and lines, and fills `all`. */
static const char *fill(const char *lines)
{
    size_t len = strlen(lines);

    file_text = malloc(len + 20);
    memcpy(file_text, "[test x]\n", 9);
    memcpy(file_text + 9, lines, len);
    fake_file(&fake, "a.ini", (struct span){file_text, len + 9});
    fake_read(&fake);
    if (fake.conf.sections) {
        conf_fill(&fake.conf, fake.conf.sections, NULL, table, &all, &fake.d);
        conf_unknown(fake.conf.sections, tables, &fake.d);
    }
    return fake_said(&fake);
}

struct refused {
    const char *line, *said; /* without "a.ini:2:" */
};

static const struct refused refusals[] = {
    {"yes = true", "7: error: yes: \"true\": write yes or no"},
    {"yes = yes no", "11: error: yes: one value only; quote one with blanks in it"},
    {"count = 0", "9: error: count: \"0\": at least 1"},
    {"count = 101", "9: error: count: \"101\": at most 100"},
    {"count = +1", "9: error: count: \"+1\": a count is digits only: no unit, no sign"},
    {"count = 1k", "9: error: count: \"1k\": a count is digits only: no unit, no sign"},
    {"count = 99999999999999999999",
     "9: error: count: \"99999999999999999999\": a count is digits only: no unit, no sign"},
    {"count = off", "9: error: count: \"off\": a count is digits only: no unit, no sign"},
    {"octal = 0668", "9: error: octal: \"0668\": a mode is octal, up to 0777"},
    {"octal = 1777", "9: error: octal: \"1777\": a mode is octal, up to 0777"},
    {"duration = 10", "12: error: duration: \"10\": a duration needs a unit: us, ms, s, m, h or d"},
    {"duration = 10x",
     "12: error: duration: \"10x\": a duration needs a unit: us, ms, s, m, h or d"},
    {"duration = s",
     "12: error: duration: \"s\": a duration is a number and a unit: 500ms, 10s, 1m30s"},
    {"duration = 30s1m",
     "12: error: duration: \"30s1m\": the units of a duration go from large to small: 1m30s"},
    {"duration = 1s1s",
     "12: error: duration: \"1s1s\": the units of a duration go from large to small: 1m30s"},
    {"duration = 0s", "12: error: duration: \"0s\": never 0: for none the word is off"},
    {"duration = 999us", "12: error: duration: \"999us\": at least 1ms"},
    {"duration = 1h1us", "12: error: duration: \"1h1us\": at most 1h"},
    {"duration = 99999999999d", "12: error: duration: \"99999999999d\": too large"},
    {"duration = 1.5s",
     "12: error: duration: \"1.5s\": a duration needs a unit: us, ms, s, m, h or d"},
    {"size = 64", "8: error: size: \"64\": a size needs a unit: b, k, m or g"},
    {"size = 64K", "8: error: size: \"64K\": a size needs a unit: b, k, m or g"},
    {"size = 64kb", "8: error: size: \"64kb\": a size needs a unit: b, k, m or g"},
    {"size = 1k1", "8: error: size: \"1k1\": a size is a number and a unit: 64k"},
    {"size = 0k", "8: error: size: \"0k\": never 0: for none the word is off"},
    {"size = 2g", "8: error: size: \"2g\": at most 1g"},
    {"share = 20", "9: error: share: \"20\": a share is written 20% or 0.5%"},
    {"share = 100.001%", "9: error: share: \"100.001%\": more than 100%"},
    {"share = 1.%", "9: error: share: \"1.%\": a share has one to three digits after the point"},
    {"share = 0.1234%",
     "9: error: share: \"0.1234%\": a share has one to three digits after the point"},
    {"rate = 128", "8: error: rate: \"128\": a rate is written 128b/s or 500/10s"},
    {"rate = 128b/x", "8: error: rate: \"128b/x\": a rate ends in a time: 128b/s or 500/10s"},
    {"rate = 128b/0s", "8: error: rate: \"128b/0s\": a rate ends in a time: 128b/s or 500/10s"},
    {"ranges = 200-", "10: error: ranges: \"200-\": a range is written 200 or 200-299"},
    {"ranges = 200, 299-200",
     "15: error: ranges: \"299-200\": a range goes from the smaller to the larger"},
    {"word = gren",
     "8: error: word: \"gren\" is none of red, green, blue; did you mean \"green\"?"},
    {"word = zzzzz", "8: error: word: \"zzzzz\" is none of red, green, blue"},
    {"word = violet", "8: error: word: \"violet\": not supported by this build"},
    {"words = red,blu", "13: error: words: \"blu\" is none of red, green, blue, off; did you mean "
                        "\"blue\"?"},
    {"name = -x", "8: error: name: \"-x\": a name is at most 40 letters, digits, \".\", \"_\" and "
                  "\"-\", and begins with a letter or digit"},
    {"names = a b", "11: error: names: items are separated by commas; quote one with blanks in it"},
    {"names = a,,b", "11: error: names: an item is missing before this comma"},
    {"names = ,a", "9: error: names: an item is missing before this comma"},
    {"names = a, ", "10: error: names: an item is missing after this comma"},
    {"names = a,", "10: error: names: an item is missing after this comma"},
    {"token = a:b", "9: error: token: \"a:b\": not a token (letters, digits and !#$%&'*+-.^_`|~)"},
    {"host = *.example.com", "8: error: host: \"*.example.com\": no wildcard here"},
    {"hosts = *", "9: error: hosts: \"*\": any host is what a route without host has"},
    {"hosts = a, *.*.com", "12: error: hosts: \"*.*.com\": not a host: www.example.com or "
                           "*.example.com"},
    {"hosts = example.com:80",
     "9: error: hosts: \"example.com:80\": a host has no port; listeners have"},
    {"hosts = a..b", "9: error: hosts: \"a..b\": not a host: www.example.com or *.example.com"},
    {"hosts = -a", "9: error: hosts: \"-a\": not a host: www.example.com or *.example.com"},
    {"hosts = b\xc3\xbc"
     "cher.example",
     "9: error: hosts: \"b\xc3\xbc"
     "cher.example\": not ASCII: write the A-label (xn--...)"},
    {"path = v1", "8: error: path: \"v1\": a path begins with /"},
    {"path = /a?b", "8: error: path: \"/a?b\": a path ends before ? and #"},
    {"path = /a*", "8: error: path: \"/a*\": a literal * in a path is written %2A"},
    {"path = /{a}", "8: error: path: \"/{a}\": in a path this byte is written %7B"},
    {"path = \"/a b\"", "8: error: path: \"/a b\": in a path this byte is written %20"},
    {"path = /%41", "8: error: path: \"/%41\": never matches: paths are compared with %41 decoded "
                    "to A"},
    {"path = /%4", "8: error: path: \"/%4\": % begins an escape of two hexadecimal digits; itself "
                   "it is %25"},
    {"path = /%00", "8: error: path: \"/%00\": %00 is refused in every request"},
    {"path = /a//b", "8: error: path: \"/a//b\": never matches: paths are compared with runs of / "
                     "merged"},
    {"path = /a/../b", "8: error: path: \"/a/../b\": never matches: paths are compared without dot "
                       "segments"},
    {"paths = /a/*/b", "9: error: paths: \"/a/*/b\": * stands only at the end: /api/*; in between "
                       "it is {name}"},
    {"paths = /a*", "9: error: paths: \"/a*\": * is a whole last segment; a literal * is written "
                    "%2A"},
    {"paths = /a{b}", "9: error: paths: \"/a{b}\": {name} is a whole segment; literal braces are "
                      "written %7B and %7D"},
    {"paths = /{}", "9: error: paths: \"/{}\": the name in {} is letters, digits, \"_\" and \"-\""},
    {"paths = /{a}/{a}", "9: error: paths: \"/{a}/{a}\": a {name} stands twice"},
    {"paths = /{a*}/b", "9: error: paths: \"/{a*}/b\": {name*} stands only at the end"},
    {"paths = /{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}",
     "9: error: paths: \"/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}\": more than 8 {names}"},
    {"addresses = 80", "13: error: addresses: \"80\": an address is :80, 10.0.0.1:80, [::1]:80, "
                       "unix:/path or unix:@name"},
    {"addresses = :80, 10.0.0.1", "18: error: addresses: \"10.0.0.1\": an address is :80, "
                                  "10.0.0.1:80, [::1]:80, unix:/path or unix:@name"},
    {"addresses = ::1:80", "13: error: addresses: \"::1:80\": after the : stands a port up to "
                           "65535"},
    {"addresses = :65536", "13: error: addresses: \":65536\": after the : stands a port up to "
                           "65535"},
    {"addresses = :0", "13: error: addresses: \":0\": port 0"},
    {"nets = 10.1.2.3/8", "8: error: nets: \"10.1.2.3/8\": the network is 10.0.0.0/8"},
    {"nets = private, 2001:db8::1/32",
     "17: error: nets: \"2001:db8::1/32\": the network is 2001:db8::/32"},
    {"nets = 10.0.0.0/33", "8: error: nets: \"10.0.0.0/33\": after the / stands a number up to 32"},
    {"nets = here", "8: error: nets: \"here\": a network is 10.0.0.0/8, 2001:db8::/32, 192.0.2.7, "
                    "private or unix"},
    {"file = \"\"", "8: error: file: \"\": empty"},
    {"text = a # b", "10: error: text: no comment after a value: put the comment on its own line, "
                     "or quote the value"},
    {"text = a\t; b", "10: error: text: no comment after a value: put the comment on its own line, "
                      "or quote the value"},
    {"text = # b", "8: error: text: no comment after a value: put the comment on its own line, or "
                   "quote the value"},
    {"text = \"a\" # b", "12: error: text: no comment after a value: put the comment on its own "
                         "line, or quote the value"},
    {"count = 5 ; five", "11: error: count: no comment after a value: put the comment on its own "
                         "line, or quote the value"},
    {"names = a, b # c", "14: error: names: no comment after a value: put the comment on its own "
                         "line, or quote the value"},
    {"text = \"a\" b", "12: error: text: something stands after the closing quote"},
    {"text = \"a", "8: error: text: the quote is not closed"},
    {"text = \"a\\x\"", "10: error: text: in quotes a backslash is \\\" \\\\ \\n \\r or \\t"},
    {"text = a ${host} b", "10: error: text: a request variable stands only in a template; a "
                           "literal ${ is $${"},
    {"names = \"a\"b", "12: error: names: a quoted word ends in the middle of a word"},
    {"template = a ${hots} b", "14: error: template: there is no variable ${hots}; did you mean "
                               "\"${host}\"?"},
    {"template = \"a ${zzzzzzzzzzzz}\"",
     "15: error: template: there is no variable ${zzzzzzzzzzzz}"},
    {"template = ${header.}", "12: error: template: there is no variable ${header.}"},
    {"template = ${header.a b}", "21: error: template: not a field name"},
    {"template = x${host", "13: error: template: there is no } after this ${"},
    {"later = x", "1: error: later is not supported by this build"},
    {"cuont = 1", "1: error: [test] has no key cuont; did you mean \"count\"?"},
    {"quite_another = 1", "1: error: [test] has no key quite_another"},
};

START_TEST(what_is_wrong_is_said_where_it_stands)
{
    const struct refused *r = &refusals[_i];
    char expected[512];

    snprintf(expected, sizeof expected, "a.ini:2:%s\n", r->said);
    ck_assert_str_eq(fill(r->line), expected);
}
END_TEST

#define ck_assert_span_eq(got, want)                                                               \
    do {                                                                                           \
        struct span s_ = (got);                                                                    \
        ck_assert_msg(span_equal(s_, span_of(want)), "\"%.*s\" is not \"%s\"", SPAN_ARG(s_),       \
                      want);                                                                       \
    } while (0)

START_TEST(numbers_have_their_units)
{
    ck_assert_str_eq(fill("yes = yes\ncount = 100\noctal = 0640\nduration = 1m30s\nsize = 64k\n"
                          "share = 0.5%\nrate = 500/10s\nranges = 200-299, 304\n"
                          "workers = auto\nlimit = off\n"),
                     "");
    ck_assert(all.yes);
    ck_assert_uint_eq(all.count, 100);
    ck_assert_uint_eq(all.octal, 0640);
    ck_assert_uint_eq(all.duration, 90 * UINT64_C(1000000000));
    ck_assert_uint_eq(all.size, 65536);
    ck_assert_uint_eq(all.share, 500);
    ck_assert_uint_eq(all.rate.amount, 500);
    ck_assert_uint_eq(all.rate.per_ns, 10 * UINT64_C(1000000000));
    ck_assert_uint_eq(all.ranges.count, 2);
    ck_assert_uint_eq(all.ranges.list[0].to, 299);
    ck_assert_uint_eq(all.ranges.list[1].from, 304);
    ck_assert_uint_eq(all.workers, VALUE_AUTO);
    ck_assert_uint_eq(all.limit, VALUE_OFF);
}
END_TEST

START_TEST(off_is_no_number)
{
    ck_assert_str_eq(fill("duration = off\nsize = off\nrate = off\nwords = off\ntokens = off\n"
                          "file = off\ntext = off\nline = off\n"),
                     "");
    ck_assert_uint_eq(all.duration, VALUE_OFF);
    ck_assert_uint_eq(all.size, VALUE_OFF);
    ck_assert_uint_eq(all.rate.amount, 0);
    ck_assert_uint_eq(all.words, 0);
    ck_assert_uint_eq(all.tokens.count, 0);
    ck_assert_uint_eq(all.file.len, 0);
    ck_assert_uint_eq(all.text.len, 0);
    ck_assert_uint_eq(all.line.words.count, 0);
}
END_TEST

START_TEST(a_quoted_off_is_a_text)
{
    ck_assert_str_eq(fill("text = \"off\"\n"), "");
    ck_assert_span_eq(all.text, "off");
}
END_TEST

START_TEST(words_are_numbers_bits_or_in_order)
{
    ck_assert_str_eq(fill("word = blue\nwords = blue, red\norder = blue, red\norder = green\n"),
                     "");
    ck_assert_int_eq(all.word, 2);
    ck_assert_uint_eq(all.words, 5);
    ck_assert_uint_eq(all.order.count, 3);
    ck_assert_span_eq(all.order.list[0], "blue");
    ck_assert_span_eq(all.order.list[2], "green");
}
END_TEST

START_TEST(hosts_are_lower_case_without_a_trailing_dot)
{
    ck_assert_str_eq(fill("hosts = WWW.Example.COM., *.Example.org, [::1], 10.0.0.1, a_b\n"), "");
    ck_assert_span_eq(all.hosts.list[0], "www.example.com");
    ck_assert_span_eq(all.hosts.list[1], "*.example.org");
    ck_assert_span_eq(all.hosts.list[2], "[::1]");
    ck_assert_span_eq(all.hosts.list[3], "10.0.0.1");
    ck_assert_span_eq(all.hosts.list[4], "a_b");
}
END_TEST

START_TEST(paths_of_all_kinds)
{
    ck_assert_str_eq(fill("paths = /, /*, /hello, /api/*, /users/{id}/orders, /f/{rest*}, /a/\n"
                          "paths = /.well-known/%2A, \"/a,b\"\n"),
                     "");
    ck_assert_uint_eq(all.paths.count, 9);
    ck_assert_span_eq(all.paths.list[8], "/a,b");
}
END_TEST

START_TEST(addresses_and_networks)
{
    ck_assert_str_eq(fill("addresses = :80, 10.0.0.1:80, [::1]:81, unix:run/x.sock, unix:@abs\n"
                          "addresses = localhost:82\n"
                          "nets = 10.0.0.0/8, 2001:db8::/32, 192.0.2.7, unix, private\n"),
                     "");
    ck_assert(all.addresses.list[0].any);
    ck_assert_uint_eq(all.addresses.list[0].address.port, 80);
    ck_assert_uint_eq(all.addresses.list[2].address.family, ADDRESS_IPV6);
    ck_assert_span_eq(all.addresses.list[3].text, "unix:run/x.sock");
    ck_assert_int_eq(all.addresses.list[4].address.path[0], 0);
    ck_assert_uint_eq(all.addresses.list[5].address.family, ADDRESS_NONE);
    ck_assert_uint_eq(all.addresses.list[5].address.port, 82);
    ck_assert_uint_eq(all.nets.count, 4 + 8);
    ck_assert_uint_eq(all.nets.list[2].bits, 32);
    static const char *const inside[] = {"127.1.2.3",   "10.1.1.1", "172.31.0.1", "192.168.5.5",
                                         "169.254.1.1", "::1",      "fe80::1",    "fd00::1"};
    for (size_t i = 0; i < COUNT_OF(inside); i++) {
        struct address a;
        bool found = false;
        ck_assert_int_eq(address_parse_ip(&a, span_of(inside[i])), 0);
        for (unsigned n = 4; n < all.nets.count; n++)
            found = found || net_contains(&all.nets.list[n], &a);
        ck_assert_msg(found, "%s is not private", inside[i]);
    }
}
END_TEST

static struct span here(void *data, struct arena *arena)
{
    (void)data;
    (void)arena;
    return SPAN("/here");
}

START_TEST(files_begin_from_the_folder_they_are_written_in)
{
    fake.source.folder = here;
    fake_file(&fake, "d/b.ini",
              SPAN("[route y]\nfile = x/../y.pem\nfiles = ./a, /b//c\n"
                   "lines = 503 page.html\nline = log format=json\n"
                   "addresses = unix:s.sock\n"));
    fill("file = y.pem\nline = stdout x\nlines = unix:s.sock\n[server]\ninclude = d/*.ini\n");
    ck_assert_span_eq(all.file, "/here/y.pem");
    ck_assert_span_eq(all.line.words.list[0], "stdout");
    ck_assert_span_eq(all.lines.list[0].words.list[0], "unix:/here/s.sock");
    struct conf_section *s = fake.conf.sections;
    while (!span_equal(s->type, SPAN("route")))
        s = s->next;
    all = (struct all){0};
    conf_fill(&fake.conf, s, NULL, table, &all, &fake.d);
    ck_assert_span_eq(all.file, "/here/d/x/../y.pem");
    ck_assert_span_eq(all.files.list[0], "/here/d/a");
    ck_assert_span_eq(all.files.list[1], "/b//c");
    ck_assert_span_eq(all.lines.list[0].words.list[1], "/here/d/page.html");
    ck_assert_span_eq(all.line.words.list[0], "/here/d/log");
    ck_assert_span_eq(all.addresses.list[0].text, "unix:/here/d/s.sock");
}
END_TEST

START_TEST(quotes_and_escapes)
{
    ck_assert_str_eq(fill("text = \"a\\n\\\"b\\\"\\t\\\\ # ; $${X}\"\n"
                          "template = {\"ok\": \"yes\"}\n"
                          "lines = one \"two words\" x=\"y\nlines = \"\" C:\\dir\n"
                          "list = a \"b, c\", d\n"),
                     "");
    ck_assert_span_eq(all.text, "a\n\"b\"\t\\ # ; ${X}");
    ck_assert_span_eq(all.template->parts[0].text, "{\"ok\": \"yes\"}");
    ck_assert(all.template->constant);
    ck_assert_uint_eq(all.lines.count, 2);
    ck_assert_span_eq(all.lines.list[0].words.list[2], "x=\"y");
    ck_assert_uint_eq(all.lines.list[1].words.list[0].len, 0);
    ck_assert_uint_eq(all.list.count, 2);
    ck_assert_span_eq(all.list.list[0].words.list[1], "b, c");
    ck_assert_span_eq(all.list.list[1].words.list[0], "d");
}
END_TEST

START_TEST(edits_end_in_a_template_and_lines_know_their_places)
{
    ck_assert_str_eq(fill("edits = set Content-Security-Policy \"default-src 'self' ; img-src *\"\n"
                          "edits = add X-A {\"a\": \"${host}\"}\nedits = remove X-*\n"
                          "rest = X-Team: red, blue\n"),
                     "");
    ck_assert_span_eq(all.edits.list[0].words.list[2], "default-src 'self' ; img-src *");
    ck_assert_span_eq(all.edits.list[1].words.list[2], "{\"a\": \"${host}\"}");
    ck_assert_uint_eq(all.edits.list[1].places[2].column, 17);
    ck_assert_uint_eq(all.edits.list[1].places[2].line, 3);
    ck_assert_uint_eq(all.edits.list[2].words.count, 2);
    ck_assert_span_eq(all.rest.list[0].words.list[0], "X-Team: red, blue");
}
END_TEST

START_TEST(an_option_is_written_once)
{
    ck_assert_str_eq(fill("line = a x=1 x=2 b b\n"
                          "options = bare x=1 bare y=2 x=3 bare \\\n  x\n"),
                     "a.ini:3:29: error: options: \"x=3\": this option is there twice; "
                     "the first is \"x=1\" at a.ini:3:16\n"
                     "a.ini:3:33: error: options: \"bare\": this option is there twice; "
                     "the first is \"bare\" at a.ini:3:20\n"
                     "a.ini:4:3: error: options: \"x\": this option is there twice; "
                     "the first is \"x=1\" at a.ini:3:16\n");
    ck_assert_uint_eq(all.options.words.count, 7); /* what else is wrong is found as well */
}
END_TEST

START_TEST(the_first_word_is_an_option_if_it_has_a_value)
{
    ck_assert_str_eq(fill("options = min=1s max=2s min=3s\n"),
                     "a.ini:2:25: error: options: \"min=3s\": this option is there twice; "
                     "the first is \"min=1s\" at a.ini:2:11\n");
}
END_TEST

START_TEST(a_template_is_literals_and_variables)
{
    ck_assert_str_eq(
        fill("template = $5 $${host} ${host}${uri}/${header.X-Team:-no ne}?${path.id}&$\n"), "");
    const struct template *t = all.template;
    ck_assert_uint_eq(t->count, 8);
    ck_assert(!t->constant);
    ck_assert_span_eq(t->parts[0].text, "$5 ${host} ");
    ck_assert_int_eq(t->parts[1].variable, VARIABLE_host);
    ck_assert_int_eq(t->parts[2].variable, VARIABLE_uri);
    ck_assert_span_eq(t->parts[3].text, "/");
    ck_assert_int_eq(t->parts[4].variable, VARIABLE_header_name);
    ck_assert_span_eq(t->parts[4].text, "X-Team");
    ck_assert_span_eq(t->parts[4].fallback, "no ne");
    ck_assert_int_eq(t->parts[6].variable, VARIABLE_path_name);
    ck_assert_span_eq(t->parts[6].text, "id");
    ck_assert_span_eq(t->parts[7].text, "&$");
}
END_TEST

START_TEST(what_the_environment_holds_is_literal)
{
    fake_variable(&fake, "A", "a\" ; # \\");
    fake_variable(&fake, "B", "${host}, b");
    ck_assert_str_eq(fill("text = ${A}\ntemplate = \"x ${A}\"\nlist = ${B} c\nrest = \"${B}\"\n"),
                     "");
    ck_assert_span_eq(all.text, "a\" ; # \\");
    ck_assert_span_eq(all.template->parts[0].text, "x a\" ; # \\");
    ck_assert_uint_eq(all.list.count, 2);
    ck_assert_span_eq(all.list.list[0].words.list[0], "${host}");
    ck_assert_span_eq(all.list.list[1].words.list[1], "c");
    ck_assert_span_eq(all.rest.list[0].words.list[0], "${host}, b");
}
END_TEST

START_TEST(a_scalar_is_set_once)
{
    ck_assert_str_eq(fill("count = 1\ntext = a\ncount = 2\n"),
                     "a.ini:4:9: error: count is set twice; the first is at a.ini:2\n");
}
END_TEST

START_TEST(each_value_of_a_scalar_set_twice_is_checked)
{
    ck_assert_str_eq(fill("count = x\ncount = 2\ncount = 101\n"),
                     "a.ini:2:9: error: count: \"x\": a count is digits only: no unit, no sign\n"
                     "a.ini:3:9: error: count is set twice; the first is at a.ini:2\n"
                     "a.ini:4:9: error: count: \"101\": at most 100\n");
}
END_TEST

START_TEST(all_mistakes_of_a_list_are_said)
{
    ck_assert_str_eq(fill("nets = 10.0.0.1/8, \\\n  x, 192.0.2.0/24\nnets = y\n"),
                     "a.ini:2:8: error: nets: \"10.0.0.1/8\": the network is 10.0.0.0/8\n"
                     "a.ini:3:3: error: nets: \"x\": a network is 10.0.0.0/8, 2001:db8::/32, "
                     "192.0.2.7, private or unix\n"
                     "a.ini:4:8: error: nets: \"y\": a network is 10.0.0.0/8, 2001:db8::/32, "
                     "192.0.2.7, private or unix\n");
}
END_TEST

START_TEST(suggestions_are_close_or_none)
{
    static const char *const words[] = {"listen", "listener", "keepalive_timeout", "h2c"};

    ck_assert_str_eq(suggest(SPAN("lisen"), words, 4), "listen");
    ck_assert_str_eq(suggest(SPAN("lsiten"), words, 4), "listen");
    ck_assert_str_eq(suggest(SPAN("Listen"), words, 4), "listen");
    ck_assert_str_eq(suggest(SPAN("keep_alive_timeout"), words, 4), "keepalive_timeout");
    ck_assert_ptr_null(suggest(SPAN("backlog"), words, 4));
    ck_assert_ptr_null(suggest(SPAN("x"), words, 4));
}
END_TEST

/* --- printing ---------------------------------------------------------------------- */

static const char everything[] =
    "yes = yes\ncount = 7\noctal = 0640\nduration = 1m30s\nsize = 64k\nshare = 0.5%\n"
    "rate = 500/10s\nranges = 200-299, 304\nword = blue\nwords = red, blue\norder = blue, red\n"
    "name = a.b\nnames = a, b\ntoken = X-A\nhosts = *.Example.com\npath = /a\n"
    "paths = /x/{id}, \"/a,b\"\naddresses = :80, unix:s.sock\nnets = private, 10.0.0.0/8\n"
    "file = \"a b.pem\"\nfiles = a, \"b,c\"\ntext = ${TEXT}\ntemplate = ${host} ${TEXT} $${x}\n"
    "line = \"${FILE}\" format=json\nlist = a \"b, c\", d e\nlines = unix:s.sock \"x y\" z\n"
    "lines = ${TEXT}\nedits = set A \"x ; y\"\nedits = set B ${TEXT}\nedits = remove C*\n"
    "rest = a: b, c\nrest = \"off\"\n";

/* Prints, reads what was printed, prints again. */
START_TEST(what_is_printed_reads_back_the_same)
{
    struct printed first = {&fake.said, SPAN("")}, second = first;
    struct fake again;

    fake.source.folder = here;
    fake_variable(&fake, "TEXT", "a\" # ${host} b\\");
    fake_variable(&fake, "FILE", "the log");
    ck_assert_str_eq(fill(everything), "");
    conf_print(&fake.conf, fake.conf.sections, NULL, tables, printed_line, &first);
    ck_assert_ptr_nonnull(strstr(first.text.ptr, "\n# a.ini:23\ntext = "));
    ck_assert_ptr_nonnull(strstr(first.text.ptr, "file = \"/here/a b.pem\"\n"));
    ck_assert_ptr_nonnull(strstr(first.text.ptr, "line = \"/here/the log\" format=json\n"));

    fake_init(&again);
    fake_file(&again, "a.ini", first.text);
    fake_read(&again);
    struct all other = {0};
    conf_fill(&again.conf, again.conf.sections, NULL, table, &other, &again.d);
    ck_assert_str_eq(fake_said(&again), "");
    ck_assert(span_equal(other.text, all.text));
    ck_assert_uint_eq(other.template->count, all.template->count);
    for (unsigned i = 0; i < all.template->count; i++)
        ck_assert(span_equal(other.template->parts[i].text, all.template->parts[i].text));
    ck_assert(span_equal(other.edits.list[1].words.list[2], all.edits.list[1].words.list[2]));
    ck_assert_uint_eq(other.lines.list[1].words.count, all.lines.list[1].words.count);
    ck_assert(span_equal(other.rest.list[1].words.list[0], all.rest.list[1].words.list[0]));
    conf_print(&again.conf, again.conf.sections, NULL, tables, printed_line, &second);
    /* The same but for where it stands. */
    struct span a = first.text, b = second.text;
    while (a.len > 0 && b.len > 0) {
        struct span x = span_first(a, span_find(a, '\n')), y = span_first(b, span_find(b, '\n'));
        if (x.len == 0 || x.ptr[0] != '#')
            ck_assert_msg(span_equal(x, y), "%.*s\n%.*s", SPAN_ARG(x), SPAN_ARG(y));
        a = span_after(a, x.len + 1);
        b = span_after(b, y.len + 1);
    }
    ck_assert_uint_eq(a.len, b.len);
    fake_free(&again);
}
END_TEST

START_TEST(defaults_are_printed_as_such)
{
    static const struct setting some[] = {
        {.name = "count", .type = SETTING_COUNT, .fallback = "5", .help = "How many."},
        {.name = "later", .flags = SETTING_LATER},
        {.name = "inherited", .type = SETTING_COUNT, .flags = SETTING_INHERIT, .fallback = "6"},
        {0}};
    const struct setting *const of[] = {some, NULL};
    struct printed p = {&fake.said, SPAN("")};

    fake_file(&fake, "a.ini", SPAN("[server]\ninherited = 7\n[route x]\n"));
    fake_read(&fake);
    struct conf_section *server = fake.conf.sections;
    conf_print(&fake.conf, server->next, server, of, printed_line, &p);
    ck_assert_str_eq(p.text.ptr, "[route x]\n# default\ncount = 5\n# a.ini:2\ninherited = 7\n");
    p.text = SPAN("");
    setting_help("[route NAME]", some, printed_line, &p);
    ck_assert_str_eq(p.text.ptr, "[route NAME]\n  count (count) = 5\n      How many.\n"
                                 "  inherited (count) = 6  also in [server]\n      \n");
}
END_TEST

Suite *value_suite(void)
{
    Suite *suite = suite_create("value");
    TCase *test = tcase_create("value");

    tcase_add_checked_fixture(test, setup, teardown);
    tcase_add_loop_test(test, what_is_wrong_is_said_where_it_stands, 0, COUNT_OF(refusals));
    tcase_add_test(test, numbers_have_their_units);
    tcase_add_test(test, off_is_no_number);
    tcase_add_test(test, a_quoted_off_is_a_text);
    tcase_add_test(test, words_are_numbers_bits_or_in_order);
    tcase_add_test(test, hosts_are_lower_case_without_a_trailing_dot);
    tcase_add_test(test, paths_of_all_kinds);
    tcase_add_test(test, addresses_and_networks);
    tcase_add_test(test, files_begin_from_the_folder_they_are_written_in);
    tcase_add_test(test, quotes_and_escapes);
    tcase_add_test(test, edits_end_in_a_template_and_lines_know_their_places);
    tcase_add_test(test, an_option_is_written_once);
    tcase_add_test(test, the_first_word_is_an_option_if_it_has_a_value);
    tcase_add_test(test, a_template_is_literals_and_variables);
    tcase_add_test(test, what_the_environment_holds_is_literal);
    tcase_add_test(test, a_scalar_is_set_once);
    tcase_add_test(test, each_value_of_a_scalar_set_twice_is_checked);
    tcase_add_test(test, all_mistakes_of_a_list_are_said);
    tcase_add_test(test, suggestions_are_close_or_none);
    tcase_add_test(test, what_is_printed_reads_back_the_same);
    tcase_add_test(test, defaults_are_printed_as_such);
    suite_add_tcase(suite, test);
    return suite;
}
