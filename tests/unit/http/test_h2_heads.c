/* HTTP/2 requests as their field sections say them (RFC 9113, 8): what is refused, what is too
 * much, what is put together. */
#include "tests/unit/http/h2_script.h"
#include "tests/unit/suites.h"

#include <stdio.h>

#define REQUEST(fields) "headers 1 end " fields

START_TEST(requests_that_would_be_ambiguous_are_refused)
{
    static const struct play_row rows[] = {
        {"8.1 second HEADERS", "headers 1; headers 1", "head 1; " MALFORMED("1")},
        {"8.1 trailers", "headers 1; data 1 5; headers 1 end x-sum=1 y=2",
         "head 1; content 1 5; trailers 1 2"},
        {"8.1 trailers, none", "headers 1; headers 1 end none", "head 1; trailers 1 0"},
        {"8.1 trailers that may not be", "headers 1; headers 1 end content-length=3 host=a x=y",
         "head 1; trailers 1 1"},
        {"8.1 pseudo-field in trailers", "headers 1; headers 1 end :path=/",
         "head 1; " MALFORMED("1")},
        {"8.2.1 upper case", REQUEST("+get= X=y"), MALFORMED("1")},
        {"8.2.1 tab in a name", REQUEST("+get= x\ty=z"), MALFORMED("1")},
        {"8.2.1 space in a name",
         "frame 1 5 1 8286840003782079"
         "0161",
         MALFORMED("1")},
        {"8.2.1 empty name", REQUEST("+get= =z"), MALFORMED("1")},
        {"8.2.1 control in a name", REQUEST("+get= x\001=z"), MALFORMED("1")},
        {"8.2.1 colon in a name", REQUEST("+get= x:y=z"), MALFORMED("1")},
        {"8.2.1 LF in a value", "frame 1 5 1 82868400016103610a62", MALFORMED("1")},
        {"8.2.1 CR in a value", "frame 1 5 1 82868400016103610d62", MALFORMED("1")},
        {"8.2.1 NUL in a value",
         "frame 1 5 1 828684000161036100"
         "62",
         MALFORMED("1")},
        {"8.2.1 CR LF in a path", "frame 1 5 1 828604032f0d0a", MALFORMED("1")},
        {"8.2.1 DEL in a value", "frame 1 5 1 82868400016103617f62", MALFORMED("1")},
        {"8.2.1 leading space", REQUEST("+get= x=_y"), MALFORMED("1")},
        {"8.2.1 trailing space", REQUEST("+get= x=y_"), MALFORMED("1")},
        {"8.2.1 space within", REQUEST("+get= x=y_z"), "head 1 end"},
        {"8.2.1 trailing tab",
         "frame 1 5 1 82868400016102"
         "6109",
         MALFORMED("1")},
        {"8.2.2 connection", REQUEST("+get= connection=close"), MALFORMED("1")},
        {"8.2.2 keep-alive", REQUEST("+get= keep-alive=1"), MALFORMED("1")},
        {"8.2.2 proxy-connection", REQUEST("+get= proxy-connection=close"), MALFORMED("1")},
        {"8.2.2 transfer-encoding", REQUEST("+get= transfer-encoding=chunked"), MALFORMED("1")},
        {"8.2.2 upgrade", REQUEST("+get= upgrade=h2c"), MALFORMED("1")},
        {"8.2.2 te", REQUEST("+get= te=gzip"), MALFORMED("1")},
        {"8.2.2 te: trailers, gzip", REQUEST("+get= te=trailers,gzip"), MALFORMED("1")},
        {"8.2.2 te: trailers", REQUEST("+get= te=trailers"), "head 1 end"},
        {"8.3 unknown pseudo-field", REQUEST("+get= :test=x"), MALFORMED("1")},
        {"8.3 a response's", REQUEST("+get= :status=200"), MALFORMED("1")},
        {"8.3 behind a field", REQUEST(":method=GET :scheme=http x=y :path=/"), MALFORMED("1")},
        {"8.3 only pseudo-fields in the wrong order",
         REQUEST(":path=/ :authority=a :scheme=http "
                 ":method=GET"),
         "head 1 end"},
        {"8.3.1 no method", REQUEST(":scheme=http :path=/ :authority=a"), MALFORMED("1")},
        {"8.3.1 no scheme", REQUEST(":method=GET :path=/ :authority=a"), MALFORMED("1")},
        {"8.3.1 no path", REQUEST(":method=GET :scheme=http :authority=a"), MALFORMED("1")},
        {"8.3.1 empty path", REQUEST(":method=GET :scheme=http :authority=a :path="),
         MALFORMED("1")},
        {"8.3.1 two methods", REQUEST("+get= :method=GET"), MALFORMED("1")},
        {"8.3.1 two schemes", REQUEST("+get= :scheme=http"), MALFORMED("1")},
        {"8.3.1 two paths", REQUEST("+get= :path=/"), MALFORMED("1")},
        {"8.3.1 an empty path, first", REQUEST(":path= :method=GET :scheme=http :authority=a"),
         MALFORMED("1")},
        {"8.3.1 two authorities", REQUEST("+get= :authority=a"), MALFORMED("1")},
        {"8.3.1 a method that is no token", REQUEST(":method=G_T :scheme=http :path=/"),
         MALFORMED("1")},
        {"8.3.1 no authority, but Host", REQUEST(":method=GET :scheme=http :path=/ host=a"),
         "head 1 end"},
        {"8.3.1 neither", REQUEST(":method=GET :scheme=http :path=/"), "head 1 end bad_host"},
        {"8.3.1 both, equal", REQUEST("+get= host=A"), "head 1 end"},
        {"8.3.1 both, different", REQUEST("+get= host=b"), "head 1 end bad_host"},
        {"8.3.1 two Hosts", REQUEST("+get= host=a host=a"), MALFORMED("1")},
        {"8.3.1 userinfo", REQUEST(":method=GET :scheme=http :path=/ :authority=u@a"),
         "head 1 end bad_host"},
        {"8.3.1 a path without its slash", REQUEST(":method=GET :scheme=http :path=x :authority=a"),
         "head 1 end bad_target"},
        {"8.3.1 an absolute path", REQUEST(":method=GET :scheme=http :path=http://b/ :authority=a"),
         "head 1 end bad_target"},
        {"8.3.1 a space in the path",
         REQUEST(":method=GET :scheme=http :path=/a_HTTP/1.1 :authority=a"),
         "head 1 end bad_target"},
        {"8.3.1 a fragment", REQUEST(":method=GET :scheme=http :path=/#x :authority=a"),
         "head 1 end bad_target"},
        {"8.3.1 the asterisk", REQUEST(":method=OPTIONS :scheme=http :path=* :authority=a"),
         "head 1 end"},
        {"8.3.1 the asterisk, GET", REQUEST(":method=GET :scheme=http :path=* :authority=a"),
         "head 1 end bad_target"},
        {"8.3.1 another scheme", REQUEST(":method=GET :scheme=ftp :path=/ :authority=a"),
         "head 1 end bad_target"},
        {"8.5 CONNECT", REQUEST(":method=CONNECT :authority=a:1"), "head 1 end"},
        {"8.5 CONNECT with a path", REQUEST(":method=CONNECT :authority=a:1 :path=/"),
         MALFORMED("1")},
        {"RFC 8441, not offered",
         REQUEST(":method=CONNECT :protocol=websocket :scheme=http :path=/ :authority=a"),
         MALFORMED("1")},
        {"8.1.1 length", "headers 1 +get= content-length=5; data 1 3; data 1 2 end",
         "head 1; content 1 3; content 1 2; end 1"},
        {"8.1.1 too much", "headers 1 +get= content-length=5; data 1 6 end",
         "head 1; " MALFORMED("1")},
        {"8.1.1 too much, and there may be more",
         "headers 1 +get= content-length=5; data 1 3; data 1 3",
         "head 1; content 1 3; " MALFORMED("1")},
        {"8.1.1 too little", "headers 1 +get= content-length=5; data 1 4 end",
         "head 1; " MALFORMED("1")},
        {"8.1.1 too little, in pieces", "headers 1 +get= content-length=5; data 1 3; data 1 1 end",
         "head 1; content 1 3; " MALFORMED("1")},
        {"8.1.1 too little, trailers",
         "headers 1 +get= content-length=5; data 1 3; "
         "headers 1 end x=y",
         "head 1; content 1 3; " MALFORMED("1")},
        {"8.1.1 none", "headers 1 end +get= content-length=5", MALFORMED("1")},
        {"8.1.1 none, zero", "headers 1 end +get= content-length=0", "head 1 end"},
        {"8.1.1 two lengths", REQUEST("+get= content-length=0 content-length=0"), MALFORMED("1")},
        {"8.1.1 no number", REQUEST("+get= content-length=+0"), MALFORMED("1")},
        {"8.1.1 answered, then wrong",
         "headers 1 +get= content-length=1; !respond 1 200 end; data 1 2 end",
         "head 1; HEADERS 1 :status=200 END; " MALFORMED("1")},
        {"path of more than max_request_line",
         REQUEST(":method=GET :scheme=http :authority=a :path=/"
                 "123456789012345678901234567890123456789012345678901234567890"
                 "1234567890123456789012345678901234567890"),
         "head 1 end request_line_too_long"},
        {"expect", REQUEST("+get= expect=something"), "head 1 end expectation_failed"},
    };

    play_rows(rows, COUNT_OF(rows));
}
END_TEST

START_TEST(heads_beyond_the_limits_are_answered)
{
    struct h2_limits limits = play_limits;
    static const struct play_row large = {
        "large",
        "headers 1 end +get= x=1234567890123456789012345678901234567890 "
        "y=1234567890123456789012345678901234567890",
        "head 1 end header_too_large"};
    static const struct play_row many = {"many", "headers 1 end +get= a=1 b=2 c=3 d=4",
                                    "head 1 end too_many_fields"};
    static const struct play_row fits = {"fits", "headers 1 end +get= a=1 b=2 c=3", "head 1 end"};
    static const struct play_row trailers = {"trailers", "headers 1; headers 1 end a=1 b=2 c=3 d=4",
                                        "head 1; reset 1 PROTOCOL_ERROR too_many_fields; "
                                        "RST 1 PROTOCOL_ERROR"};

    limits.fields_max = 3;
    play_row(&many, &limits, false);
    play_row(&fits, &limits, false);
    play_row(&trailers, &limits, false);
    limits.fields_max = 20;
    limits.header_max = 256;
    play_row(&large, &limits, false);
}
END_TEST

START_TEST(cookies_become_one_field)
{
    struct play *p = malloc(sizeof *p);
    const struct field *cookie;

    ck_assert_ptr_nonnull(p);
    play_begin(p, &play_limits, 1);
    play(p, "hello; headers 1 end +get= cookie=a=1 x=y cookie=b=2 cookie=c=3 z=w");
    const struct fields *f = &p->session.head.fields;
    ck_assert_uint_eq(f->count, 3);
    cookie = fields_get(f, FIELD_COOKIE);
    ck_assert(cookie && span_equal(cookie->value, SPAN("a=1; b=2; c=3")));
    ck_assert(span_equal(f->list[2].value, SPAN("w")));
    play_end(p);
    free(p);
}
END_TEST

/* One byte each refers to a field of 4000 bytes. */
START_TEST(a_field_section_that_unfolds_is_cut_short)
{
    struct play *p = malloc(sizeof *p);
    static char block[16000];
    size_t len = 0;
    char head[H2_FRAME_HEAD];

    ck_assert_ptr_nonnull(p);
    play_begin(p, &play_limits, 0);
    play(p, "hello");
    p->text_len = 0;
    memcpy(block,
           "\x40\x01"
           "a"
           "\x7f\x81\x1e",
           6); /* 127 + 1 + 30 * 128 = 3968 */
    memset(block + 6, 'b', 3968);
    len = 6 + 3968;
    memset(block + len, 0xbe, sizeof block - len);
    h2_frame_write(head, (struct h2_frame){sizeof block, 1, H2_HEADERS, 5});
    play_bytes(p, (struct span){head, sizeof head});
    play_bytes(p, (struct span){block, sizeof block});
    ck_assert_str_eq(p->text, "failed ENHANCE_YOUR_CALM h2_header_flood; "
                              "GOAWAY 1 ENHANCE_YOUR_CALM");
    ck_assert_uint_lt(p->session.head.room, 20000);
    play_end(p);
    free(p);
}
END_TEST

START_TEST(a_large_head_goes_on_in_continuations)
{
    struct play *p = malloc(sizeof *p);
    static char value[40000];
    struct field list[] = {{.name = SPAN_INIT("X-Large"), .value = {value, sizeof value}}};
    struct fields fields = {.list = list, .count = 1};

    ck_assert_ptr_nonnull(p);
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (char)('!' + i % 90);
    play_begin(p, &play_limits, 0);
    play(p, "hello; headers 1 end");
    h2_respond(&p->session, p->streams, 200, NULL, &fields, false);

    struct span out = h2_out(&p->session), name, got;
    char block[48000];
    size_t len = 0;
    unsigned frames = 0;
    while (out.len > 0) {
        struct h2_frame f = h2_frame_read(out.ptr);
        ck_assert_int_eq(f.type, frames ? H2_CONTINUATION : H2_HEADERS);
        ck_assert_uint_le(f.len, H2_FRAME_MAX);
        memcpy(block + len, out.ptr + H2_FRAME_HEAD, f.len);
        len += f.len;
        frames++;
        ck_assert_int_eq(f.flags, out.len == H2_FRAME_HEAD + f.len ? H2_FLAG_END_HEADERS : 0);
        out = span_after(out, H2_FRAME_HEAD + f.len);
    }
    ck_assert_uint_eq(frames, 3);
    struct span in = {block, len};
    ck_assert_int_eq(hpack_inflate(&p->peer, &in, true, &name, &got), HPACK_FIELD);
    ck_assert_int_eq(hpack_inflate(&p->peer, &in, true, &name, &got), HPACK_FIELD);
    ck_assert(span_equal(name, SPAN("x-large")));
    ck_assert(span_equal(got, (struct span){value, sizeof value}));
    play_end(p);
    free(p);
}
END_TEST

Suite *h2_heads_suite(void)
{
    Suite *s = suite_create("h2_heads");
    TCase *t = tcase_create("heads");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, requests_that_would_be_ambiguous_are_refused);
    tcase_add_test(t, heads_beyond_the_limits_are_answered);
    tcase_add_test(t, cookies_become_one_field);
    tcase_add_test(t, a_field_section_that_unfolds_is_cut_short);
    tcase_add_test(t, a_large_head_goes_on_in_continuations);
    suite_add_tcase(s, t);
    return s;
}
