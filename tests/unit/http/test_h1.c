/* Plays the messages of tests/data/http: each whole, byte by byte, cut in two
 * at every place, and with every scanner; always with the same answer. */
#include "http/h1_write.h"
#include "http/status.h"
#include "tests/unit/http/corpus.h"
#include "tests/unit/http/feed.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

struct message {
    struct span name, wanted; /* the words after the name */
    struct span bytes;
};

static const char *const scanners[] = {"scalar", "sse4.2", "avx2"};

/* Is this word one of the line's? */
static bool has_word(const char *line, struct span word)
{
    struct span rest = span_of(line);

    while (rest.len > 0)
        if (span_equal(corpus_cut(&rest, ' '), word))
            return true;
    return false;
}

static uint32_t number_after(struct span word, const char *name, uint32_t otherwise)
{
    uint64_t number;

    if (!span_starts(word, span_of(name)))
        return otherwise;
    ck_assert(span_number(span_after(word, strlen(name)), &number));
    return (uint32_t)number;
}

/* "!name=" words are settings, the others are promises. */
static bool set(struct feed *f, struct span word)
{
    if (word.ptr[0] != '!')
        return false;
    f->limits.request_line_max = number_after(word, "!line_max=", f->limits.request_line_max);
    f->limits.head_max = number_after(word, "!head_max=", f->limits.head_max);
    f->limits.fields_max = number_after(word, "!fields_max=", f->limits.fields_max);
    f->no_fields |= span_equal(word, SPAN("!no_fields"));
    if (span_starts(word, SPAN("!method=")))
        f->method = method_find(span_after(word, 8));
    return true;
}

static void assert_same(const struct feed *f, const struct message *m, const char *wanted)
{
    char got[FEED_TEXT_MAX];

    feed_run(f, m->bytes, got);
    ck_assert_msg(strcmp(got, wanted) == 0, "%.*s, in pieces:\n got %s\n not %s", SPAN_ARG(m->name),
                  got, wanted);
}

static void feed_every_way(struct feed f, const struct message *m, const char *wanted)
{
    f.piece = feed_bytewise;
    assert_same(&f, m, wanted);
    f.piece = feed_split;
    for (size_t at = 1; at < m->bytes.len && m->bytes.len < 2000; at++) {
        f.context = &at;
        assert_same(&f, m, wanted);
    }
}

static void play(enum feed_kind kind, const struct message *m)
{
    struct feed f = feed_default(kind);
    struct span rest = m->wanted, word;
    char line[FEED_TEXT_MAX], longer[FEED_TEXT_MAX];

    while (rest.len > 0 && (word = corpus_cut(&rest, ' ')).len > 0)
        set(&f, word);
    h1_scanner_use(SPAN("scalar"));
    feed_run(&f, m->bytes, line);
    rest = m->wanted;
    while (rest.len > 0 && (word = corpus_cut(&rest, ' ')).len > 0)
        if (!set(&f, word))
            ck_assert_msg(has_word(line, word), "%.*s: no \"%.*s\" in\n %s", SPAN_ARG(m->name),
                          SPAN_ARG(word), line);
    for (size_t i = 0; i < COUNT_OF(scanners); i++)
        if (h1_scanner_use(span_of(scanners[i])))
            feed_every_way(f, m, line);

    /* What follows a message has no say in it. */
    if (strncmp(line, "more", 4) != 0) {
        struct message more = *m;
        char *bytes = malloc(m->bytes.len + 100);
        memcpy(bytes, m->bytes.ptr, m->bytes.len);
        memset(bytes + m->bytes.len, '\r', 100);
        more.bytes = (struct span){bytes, m->bytes.len + 100};
        feed_run(&f, more.bytes, longer);
        free(bytes);
        ck_assert_msg(strcmp(line, longer) == 0, "%.*s, with more behind it:\n got %s\n not %s",
                      SPAN_ARG(m->name), longer, line);
    }
}

/* "= name : words", then lines with escapes until the next "=" line; "*N text"
 * stands for N times the text, '#' begins a comment. */
static int play_file(const char *file_name, enum feed_kind kind)
{
    struct span file = corpus_read(file_name), rest = file, line;
    struct message m = {0};
    char *bytes = malloc(1 << 20);
    int played = 0;

    while (rest.len > 0 || m.name.len > 0) {
        bool there = corpus_line(&rest, &line);
        if (there && (line.len == 0 || line.ptr[0] == '#'))
            continue;
        if (!there || line.ptr[0] == '=') {
            if (m.name.len > 0) {
                play(kind, &m);
                played++;
            }
            m = (struct message){.bytes = {bytes, 0}};
            if (!there)
                break;
            line = span_after(line, 1);
            m.name = span_trim(corpus_cut(&line, ':'));
            m.wanted = span_trim(line);
            continue;
        }
        uint64_t times = 1;
        if (line.ptr[0] == '*') {
            line = span_after(line, 1);
            ck_assert(span_number(corpus_cut(&line, ' '), &times));
        }
        while (times-- > 0)
            m.bytes.len += corpus_unescape(bytes + m.bytes.len, line);
        ck_assert_uint_lt(m.bytes.len, 1 << 19);
    }
    free(bytes);
    corpus_free(file);
    return played;
}

START_TEST(requests_are_answered_alike_in_any_pieces)
{
    ck_assert_int_gt(play_file("http/requests.txt", FEED_REQUEST), 80);
}
END_TEST

START_TEST(responses_are_answered_alike_in_any_pieces)
{
    ck_assert_int_gt(play_file("http/responses.txt", FEED_RESPONSE), 40);
}
END_TEST

START_TEST(chunks_are_answered_alike_in_any_pieces)
{
    ck_assert_int_gt(play_file("http/chunks.txt", FEED_CHUNKED), 40);
}
END_TEST

START_TEST(trailers_are_answered_alike_in_any_pieces)
{
    ck_assert_int_gt(play_file("http/trailers.txt", FEED_TRAILERS), 8);
}
END_TEST

/* Every byte, at every place of a head: refused or not, the same in all ways. */
START_TEST(any_byte_at_any_place_gives_one_answer)
{
    static const char head[] = "POST /a?b HTTP/1.1\r\nHost: a.example\r\n"
                               "Content-Length: 3\r\nX-Some-Longer-Name: and a value, too\r\n\r\n";
    struct feed f = feed_default(FEED_REQUEST);
    char bytes[sizeof head - 1], line[FEED_TEXT_MAX];

    for (size_t at = 0; at < sizeof bytes; at++)
        for (int c = 0; c < 256; c++) {
            struct message m = {.name = SPAN("changed"), .bytes = {bytes, sizeof bytes}};
            memcpy(bytes, head, sizeof bytes);
            bytes[at] = (char)c;
            f.piece = feed_whole;
            h1_scanner_use(SPAN("scalar"));
            feed_run(&f, m.bytes, line);
            for (size_t i = 0; i < COUNT_OF(scanners); i++) {
                if (!h1_scanner_use(span_of(scanners[i])))
                    continue;
                f.piece = feed_whole;
                assert_same(&f, &m, line);
                f.piece = feed_bytewise;
                assert_same(&f, &m, line);
            }
        }
}
END_TEST

/* A head in n pieces may not cost n times the whole: a megabyte byte by byte
 * would then take minutes. */
START_TEST(a_head_in_many_pieces_is_searched_once)
{
    enum { SIZE = 1 << 20 };
    struct h1_limits limits = {.request_line_max = SIZE, .head_max = 4 * SIZE, .fields_max = 10};
    struct field list[10];
    struct request r = {.fields = {.list = list, .max = 10}};
    char *bytes = malloc(SIZE);
    struct h1_parser p;
    size_t early = 0;

    memset(bytes, 'a', SIZE);
    memcpy(bytes, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 28);
    h1_parser_init(&p, &limits);
    for (size_t n = 1; n <= SIZE; n++)
        early += h1_parse_request(&p, (struct span){bytes, n}, &r) != PARSE_MORE;
    memset(bytes, 'a', SIZE);
    h1_parser_init(&p, &limits);
    for (size_t n = 1; n <= SIZE; n++)
        early += h1_parse_request(&p, (struct span){bytes, n}, &r) != PARSE_MORE;
    ck_assert_uint_eq(early, 0);
    free(bytes);
}
END_TEST

static enum parse next(struct h1_content *c, const char *text, struct h1_piece *piece)
{
    enum cause cause;

    return h1_content_next(c, span_of(text), piece, &cause);
}

START_TEST(content_with_a_length_ends_there_and_leaves_the_rest)
{
    static const struct h1_limits limits = {8192, 32768, 100};
    struct h1_content c;
    struct h1_piece piece;

    h1_content_init(&c, FRAMING_LENGTH, 5, &limits, NULL);
    ck_assert(!h1_content_ended(&c));
    ck_assert_int_eq(next(&c, "abc", &piece), PARSE_MORE);
    ck_assert(piece.skip == 0 && piece.content == 3);
    h1_content_took(&c, 2);
    ck_assert_int_eq(next(&c, "", &piece), PARSE_MORE);
    ck_assert(piece.skip == 0 && piece.content == 0);
    ck_assert_int_eq(next(&c, "cdeGET /", &piece), PARSE_MORE);
    ck_assert(piece.skip == 0 && piece.content == 3);
    ck_assert(!h1_content_ended(&c) && !h1_content_complete(&c));
    h1_content_took(&c, 3);
    ck_assert(h1_content_ended(&c) && h1_content_complete(&c));
    ck_assert_int_eq(next(&c, "GET /", &piece), PARSE_DONE);
    ck_assert(piece.skip == 0 && piece.content == 0);
    ck_assert_int_eq(next(&c, "", &piece), PARSE_DONE);

    h1_content_init(&c, FRAMING_LENGTH, 0, &limits, NULL);
    ck_assert(h1_content_ended(&c));
    h1_content_init(&c, FRAMING_NONE, 7, &limits, NULL);
    ck_assert(h1_content_ended(&c));
    ck_assert_int_eq(next(&c, "x", &piece), PARSE_DONE);
}
END_TEST

START_TEST(content_until_close_is_all_there_is)
{
    static const struct h1_limits limits = {8192, 32768, 100};
    struct h1_content c;
    struct h1_piece piece;

    h1_content_init(&c, FRAMING_CLOSE, 0, &limits, NULL);
    ck_assert_int_eq(next(&c, "abc", &piece), PARSE_MORE);
    ck_assert(piece.skip == 0 && piece.content == 3);
    h1_content_took(&c, 3);
    ck_assert(h1_content_ended(&c) && !h1_content_complete(&c));
    h1_content_init(&c, FRAMING_CHUNKED, 0, &limits, NULL);
    ck_assert(!h1_content_ended(&c));
}
END_TEST

START_TEST(chunk_heads_are_the_shortest_hexadecimal_numbers)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {{0, "0\r\n"},   {9, "9\r\n"},       {15, "f\r\n"},
                {16, "10\r\n"}, {8000, "1f40\r\n"}, {UINT64_MAX, "ffffffffffffffff\r\n"}};
    char out[H1_CHUNK_HEAD_MAX];

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        ck_assert(span_equal((struct span){out, h1_chunk_head(out, rows[i].bytes)},
                             span_of(rows[i].text)));
}
END_TEST

START_TEST(what_is_written_reads_back)
{
    struct field list[] = {{.name = SPAN("Host"), .value = SPAN("a"), .id = FIELD_HOST},
                           {.name = SPAN("X-Empty"), .value = SPAN("")},
                           {.name = SPAN("X-Text"), .value = SPAN("a\tb \xff")}};
    struct fields f = {.list = list, .count = 3, .max = 3};
    char out[256] = "BREW /pot?a HTTP/1.1\r\n";
    size_t n = strlen(out);

    n += h1_write_fields(out + n, sizeof out - n, &f);
    n += h1_write_field(out + n, sizeof out - n, SPAN("Via"), SPAN("1.1 b"));
    n += h1_write_length(out + n, sizeof out - n, UINT64_MAX / 2);
    ck_assert(
        span_equal((struct span){out, n},
                   SPAN("BREW /pot?a HTTP/1.1\r\nHost: a\r\nX-Empty: \r\nX-Text: a\tb \xff\r\n"
                        "Via: 1.1 b\r\nContent-Length: 9223372036854775807\r\n")));
    memcpy(out + n, "\r\n", 2);

    struct feed feed = feed_default(FEED_REQUEST);
    char line[FEED_TEXT_MAX];
    feed_run(&feed, (struct span){out, n + 2}, line);
    ck_assert(has_word(line, SPAN("done")) && has_word(line, SPAN("method=BREW")));
    ck_assert(has_word(line, SPAN("length=9223372036854775807")));
}
END_TEST

START_TEST(status_lines_are_written_for_any_three_digits)
{
    char out[64];

    ck_assert(span_equal((struct span){out, h1_write_status(out, sizeof out, 404)},
                         SPAN("HTTP/1.1 404 Not Found\r\n")));
    ck_assert(span_equal((struct span){out, h1_write_status(out, sizeof out, 299)},
                         SPAN("HTTP/1.1 299 Unknown\r\n")));
    ck_assert_uint_eq(h1_write_status(out, sizeof out, 99), 0);
    ck_assert_uint_eq(h1_write_status(out, sizeof out, 1000), 0);
    ck_assert_uint_eq(h1_write_status(out, 23, 404), 0);
    ck_assert_uint_eq(h1_write_status(out, 24, 404), 24);
}
END_TEST

/* Lines are copied as they stand, several at once, but never with what is between those that
 * stay, nor with other blanks than ours. */
START_TEST(lines_of_a_head_are_written_as_any_other)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nA: one\r\nLong-Name: two three\r\nTight:four\r\n"
                               "Tab:\tfive\r\nTwice:  six\r\nBehind: seven \r\nEmpty: \r\nNone:\r\n"
                               "Content-Length: 0\r\nZ: end\r\n\r\n";
    struct field parsed[16], chosen[16], plain[16];
    struct response r = {.fields = {.list = parsed, .max = COUNT_OF(parsed)}};
    struct h1_limits limits = {.request_line_max = 8192, .head_max = 32768, .fields_max = 100};
    struct h1_parser p;

    h1_parser_init(&p, &limits);
    ck_assert_int_eq(h1_parse_response(&p, span_of(head), METHOD_GET, &r), PARSE_DONE);
    ck_assert_uint_eq(r.fields.count, 10);
    for (unsigned some = 0; some < 1u << 10; some++) { /* every subset */
        struct fields lines = {.list = chosen, .max = COUNT_OF(chosen)};
        struct fields others = {.list = plain, .max = COUNT_OF(plain)};
        char out[256], wanted[256];
        for (unsigned i = 0; i < 10; i++) {
            const struct field *f = &parsed[i];
            if (!(some >> i & 1))
                continue;
            ck_assert_int_eq(fields_pass(&lines, f), 0);
            ck_assert_int_eq(fields_add(&others, (enum field_id)f->id, f->name, f->value), 0);
        }
        size_t n = h1_write_fields(out, sizeof out, &lines);
        ck_assert_uint_eq(n, h1_fields_bytes(&others));
        ck_assert_uint_eq(h1_write_fields(wanted, sizeof wanted, &others), n);
        ck_assert(memcmp(out, wanted, n) == 0);
        ck_assert(n == 0 || h1_write_fields(out, n - 1, &lines) == 0);
    }
}
END_TEST

START_TEST(what_could_split_a_message_is_not_written)
{
    struct field list[] = {{.name = SPAN("A"), .value = SPAN("b")},
                           {.name = SPAN("C"), .value = SPAN("d\r\nE: f")}};
    struct fields f = {.list = list, .count = 2, .max = 2};
    char out[256] = "untouched";

    ck_assert_uint_eq(h1_write_fields(out, sizeof out, &f), 0);
    ck_assert_uint_eq(h1_write_field(out, sizeof out, SPAN("a b"), SPAN("c")), 0);
    ck_assert_uint_eq(h1_write_field(out, sizeof out, SPAN(""), SPAN("c")), 0);
    ck_assert_uint_eq(h1_write_field(out, sizeof out, SPAN("a:"), SPAN("c")), 0);
    ck_assert_uint_eq(h1_write_field(out, sizeof out, SPAN("a"), SPAN("c\n")), 0);
    ck_assert_uint_eq(h1_write_field(out, sizeof out, SPAN("a"), (struct span){"c\0d", 3}), 0);
    ck_assert_str_eq(out, "untouched");
}
END_TEST

START_TEST(nothing_is_written_beyond_the_room)
{
    char out[64];

    ck_assert_uint_eq(h1_write_field(out, 5, SPAN("a"), SPAN("b")), 0);
    ck_assert_uint_eq(h1_write_field(out, 6, SPAN("a"), SPAN("b")), 6);
    ck_assert_uint_eq(h1_write_length(out, 18, 1), 0);
    ck_assert_uint_eq(h1_write_length(out, 19, 1), 19);
}
END_TEST

START_TEST(what_is_like_nothing_in_http_is_told_apart)
{
    static const struct {
        struct span bytes;
        bool foreign;
    } rows[] = {
        {SPAN_INIT("INVALID CONNECTION PREFACE\r\n\r\n"), true},
        {SPAN_INIT("what is this\r\n"), true},
        {SPAN_INIT("GET CONNECTION PREFACE\r\n"), false},
        {SPAN_INIT("INVALID / PREFACE\r\n"), false},
        {SPAN_INIT("INVALID * PREFACE\r\n"), false},
        {SPAN_INIT("INVALID a:443 PREFACE\r\n"), false},
        {SPAN_INIT("INVALID CONNECTION http/1.1\r\n"), false},
        {SPAN_INIT("INVALID CONNECTION HTTP\r\n"), false},
        {SPAN_INIT("INVALID CONNECTION PREFACE AND MORE\r\n"), false},
        {SPAN_INIT("INVALID CONNECTION \r\n"), false},
        {SPAN_INIT("INVALID CONNECTION\r\n"), false},
        {SPAN_INIT("INVALID  PREFACE\r\n"), false},
        {SPAN_INIT("INVALID\r\n"), false},
        {SPAN_INIT("\x16\x03\x01 is TLS\r\n"), false},
        {SPAN_INIT("\r\n"), false},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++)
        ck_assert_msg(h1_is_foreign(rows[i].bytes) == rows[i].foreign, "%.*s",
                      SPAN_ARG(rows[i].bytes));
}
END_TEST

Suite *h1_suite(void)
{
    Suite *s = suite_create("h1");
    TCase *t = tcase_create("h1");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, requests_are_answered_alike_in_any_pieces);
    tcase_add_test(t, responses_are_answered_alike_in_any_pieces);
    tcase_add_test(t, chunks_are_answered_alike_in_any_pieces);
    tcase_add_test(t, trailers_are_answered_alike_in_any_pieces);
    tcase_add_test(t, any_byte_at_any_place_gives_one_answer);
    tcase_add_test(t, a_head_in_many_pieces_is_searched_once);
    tcase_add_test(t, content_with_a_length_ends_there_and_leaves_the_rest);
    tcase_add_test(t, content_until_close_is_all_there_is);
    tcase_add_test(t, chunk_heads_are_the_shortest_hexadecimal_numbers);
    tcase_add_test(t, what_is_written_reads_back);
    tcase_add_test(t, status_lines_are_written_for_any_three_digits);
    tcase_add_test(t, lines_of_a_head_are_written_as_any_other);
    tcase_add_test(t, what_could_split_a_message_is_not_written);
    tcase_add_test(t, nothing_is_written_beyond_the_room);
    tcase_add_test(t, what_is_like_nothing_in_http_is_told_apart);
    suite_add_tcase(s, t);
    return s;
}
