/* HTTP/2 connections: every case of RFC 9113, 5, 6 and 8 as a line of a table,
 * read whole, by the byte and in odd pieces, with the same outcome. */
#include "tests/unit/http/h2_script.h"
#include "tests/unit/suites.h"

#include <stdio.h>

START_TEST(a_connection_begins_with_the_preface_and_settings)
{
    static const struct play_row rows[] = {
        {"usual", "hello", "SETTINGS; WINDOW 0 196609; ACK"},
        {"something else", "raw 474554202f20485454502f312e310d0a",
         "SETTINGS; WINDOW 0 196609; failed PROTOCOL_ERROR h2_protocol_error; "
         "GOAWAY 0 PROTOCOL_ERROR"},
        {"preface, then PING", "raw 505249202a20485454502f322e300d0a0d0a534d0d0a0d0a; ping hello",
         "SETTINGS; WINDOW 0 196609; failed PROTOCOL_ERROR h2_protocol_error; "
         "GOAWAY 0 PROTOCOL_ERROR"},
        {"preface, then an acknowledgement",
         "raw 505249202a20485454502f322e300d0a0d0a534d0d0a0d0a; ack",
         "SETTINGS; WINDOW 0 196609; failed PROTOCOL_ERROR h2_protocol_error; "
         "GOAWAY 0 PROTOCOL_ERROR"},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct play *p = malloc(sizeof *p);
        ck_assert_ptr_nonnull(p);
        *p = (struct play){.piece = i % 2, .now = 1};
        ck_assert_int_eq(h2_init(&p->session, &play_limits), 0);
        ck_assert_int_eq(hpack_init(&p->peer), 0);
        play(p, "!credit 0 0");
        play(p, rows[i].script);
        ck_assert_str_eq(p->text, rows[i].want);
        play_end(p);
        free(p);
    }
}
END_TEST

START_TEST(frames_are_bounded_and_unknown_ones_ignored)
{
    static const struct play_row rows[] = {
        {"4.1 unknown type", "frame 22 0 0 0011223344; ping 12345678", "PONG 12345678"},
        {"4.1 unknown flags", "frame 6 22 0 3132333435363738", "PONG 12345678"},
        {"4.1 reserved bit", "raw 0000080600800000003132333435363738", "PONG 12345678"},
        {"4.2 largest", "headers 1; data 1 16384 end", "head 1; content 1 16384; end 1"},
        {"4.2 too large DATA", "headers 1; data 1 16385", "head 1; " SIZE("1")},
        {"4.2 too large HEADERS", "raw 00400101050000000100", SIZE("0")},
        {"4.2 too large unknown", "raw 00400122050000000100", SIZE("0")},
        {"4.3 broken section", "frame 1 5 1 40ff",
         "failed COMPRESSION_ERROR h2_compression_error; GOAWAY 1 COMPRESSION_ERROR"},
        {"4.3 section ends in a field", "frame 1 5 1 4003",
         "failed COMPRESSION_ERROR h2_compression_error; GOAWAY 1 COMPRESSION_ERROR"},
        {"5.5 unknown frame in a section", "headers 1 open; frame 22 0 1 00", PROTOCOL("1")},
        {"HPACK 2.3.3 bad index", "frame 1 5 1 ff80ff01",
         "failed COMPRESSION_ERROR h2_compression_error; GOAWAY 1 COMPRESSION_ERROR"},
        {"HPACK 6.1 index 0", "frame 1 5 1 80",
         "failed COMPRESSION_ERROR h2_compression_error; GOAWAY 1 COMPRESSION_ERROR"},
        {"HPACK 4.2 table size at the end", "frame 1 5 1 828684418aa0e41d139d09b8f01e0720",
         "failed COMPRESSION_ERROR h2_compression_error; GOAWAY 1 COMPRESSION_ERROR"},
        {"HPACK 6.3 table size above the limit", "frame 1 5 1 3fe2ff03828684",
         "failed COMPRESSION_ERROR h2_compression_error; GOAWAY 1 COMPRESSION_ERROR"},
        {"HPACK 5.2 EOS in a string", "frame 1 5 1 8286844184ffffffff",
         "failed COMPRESSION_ERROR h2_compression_error; GOAWAY 1 COMPRESSION_ERROR"},
    };

    play_rows(rows, COUNT_OF(rows));
}
END_TEST

START_TEST(streams_go_through_their_states)
{
    static const struct play_row rows[] = {
        {"5.1 idle: DATA", "data 1 1", PROTOCOL("0")},
        {"5.1 idle: RST_STREAM", "rst 1 8", PROTOCOL("0")},
        {"5.1 idle: WINDOW_UPDATE", "window 1 100", PROTOCOL("0")},
        {"5.1 idle: CONTINUATION", "more 1", PROTOCOL("0")},
        {"5.1 idle: PRIORITY", "priority 1 3; ping 12345678", "PONG 12345678"},
        {"5.1 half closed: DATA", "headers 1 end; data 1 1",
         "head 1 end; " RESETS("1", "STREAM_CLOSED", "h2_malformed")},
        {"5.1 half closed: HEADERS", "headers 1 end; headers 1 end",
         "head 1 end; " RESETS("1", "STREAM_CLOSED", "h2_malformed")},
        {"5.1 half closed: CONTINUATION", "headers 1 end; more 1", "head 1 end; " PROTOCOL("1")},
        {"5.1 half closed: WINDOW_UPDATE", "headers 1 end; window 1 100; ping 12345678",
         "head 1 end; PONG 12345678"},
        {"5.1 half closed: RST_STREAM", "headers 1 end; rst 1 8",
         "head 1 end; reset 1 CANCEL client_gone by peer"},
        {"5.1 reset by the peer: DATA", "headers 1; rst 1 8; data 1 1",
         "head 1; reset 1 CANCEL client_gone by peer; "
         "reset 1 STREAM_CLOSED h2_malformed; RST 1 STREAM_CLOSED"},
        {"5.1 reset by the peer: HEADERS", "headers 1; rst 1 8; headers 1 end",
         "head 1; reset 1 CANCEL client_gone by peer; "
         "reset 1 STREAM_CLOSED h2_malformed; RST 1 STREAM_CLOSED"},
        {"5.1 reset by the peer: CONTINUATION", "headers 1; rst 1 8; more 1",
         "head 1; reset 1 CANCEL client_gone by peer; " PROTOCOL("1")},
        {"5.1 reset by the peer: late frames",
         "headers 1; rst 1 8; window 1 100; rst 1 8; priority 1 0; ping 12345678",
         "head 1; reset 1 CANCEL client_gone by peer; PONG 12345678"},
        {"5.1 ended: DATA", "headers 1 end; !respond 1 200 end; data 1 1",
         "head 1 end; HEADERS 1 :status=200 END; " CLOSED("1")},
        {"5.1 ended: HEADERS", "headers 1 end; !respond 1 200 end; headers 1 end",
         "head 1 end; HEADERS 1 :status=200 END; " CLOSED("1")},
        {"5.1 ended: CONTINUATION", "headers 1 end; !respond 1 200 end; more 1",
         "head 1 end; HEADERS 1 :status=200 END; " PROTOCOL("1")},
        {"5.1 ended: WINDOW_UPDATE, RST_STREAM",
         "headers 1 end; !respond 1 200 end; window 1 100; rst 1 0; ping 12345678",
         "head 1 end; HEADERS 1 :status=200 END; PONG 12345678"},
        {"5.1 cut by us: late frames are ignored",
         "headers 1; !reset 1 8; data 1 100; window 1 1000; headers 1 end; rst 1 8; ping 12345678",
         "head 1; RST 1 CANCEL; PONG 12345678"},
        {"5.1 half closed by us: content still comes",
         "headers 1; !respond 1 200 end; data 1 10; data 1 10 end; data 1 1",
         "head 1; HEADERS 1 :status=200 END; content 1 10; content 1 10; end 1; " CLOSED("1")},
        {"5.1.1 even", "headers 2 end", PROTOCOL("0")},
        {"5.1.1 smaller, never used", "headers 5 end; headers 3 end", "head 5 end; " PROTOCOL("5")},
        {"5.1.1 smaller, DATA", "headers 5 end; data 3 1", "head 5 end; " PROTOCOL("5")},
        {"5.1.1 far apart", "headers 1 end; headers 2000001 end; headers 1999999 end",
         "head 1 end; head 2000001 end; " PROTOCOL("2000001")},
        {"5.1.2 too many",
         "headers 1; headers 3; headers 5; headers 7; headers 9 end; headers 11 end x=_y",
         "head 1; head 3; head 5; head 7; " RESETS("9", "REFUSED_STREAM", "h2_refused") "; " RESETS(
             "11", "REFUSED_STREAM", "h2_refused")},
        {"5.1.2 content of one refused", "!refuse; headers 1; data 1 100 end; ping 12345678",
         "head 1; RST 1 REFUSED_STREAM; PONG 12345678"},
        {"5.3.1 HEADERS depends on itself", "headers 1 end prio=1", MALFORMED("1")},
        {"5.3.1 PRIORITY depends on itself", "headers 1; priority 1 1", "head 1; " MALFORMED("1")},
        {"5.3.1 PRIORITY depends on itself, idle", "priority 1 1", PROTOCOL("0")},
        {"5.3.1 HEADERS with a priority", "headers 1 end prio=3", "head 1 end"},
    };

    play_rows(rows, COUNT_OF(rows));
}
END_TEST

START_TEST(each_frame_keeps_its_own_rules)
{
    static const struct play_row rows[] = {
        {"6.1 on stream 0", "data 0 1", PROTOCOL("0")},
        {"6.1 padding", "headers 1; data 1 5 pad=7; data 1 0 pad=3 end",
         "head 1; content 1 5; end 1"},
        {"6.1 padding only", "headers 1; frame 0 9 1 00", "head 1; end 1"},
        {"6.1 padding too long", "headers 1; frame 0 9 1 0500000000", "head 1; " PROTOCOL("1")},
        {"6.1 no room for the padding's length", "headers 1; frame 0 9 1", "head 1; " SIZE("1")},
        {"6.2 on stream 0", "headers 0 end", PROTOCOL("0")},
        {"6.2 padding", "headers 1 end pad=20", "head 1 end"},
        {"6.2 padding and priority", "headers 1 end pad=20 prio=0", "head 1 end"},
        {"6.2 padding too long", "frame 1 13 1 0282", PROTOCOL("1")},
        {"6.2 no room for a priority", "frame 1 37 1 8286", PROTOCOL("1")},
        {"6.2 PRIORITY in a section", "headers 1 open end; priority 1 3", PROTOCOL("1")},
        {"6.2 another stream's HEADERS in a section", "headers 1 open end; headers 3 end",
         PROTOCOL("1")},
        {"6.3 on stream 0", "priority 0 1", PROTOCOL("0")},
        {"6.3 length", "headers 1; frame 2 0 1 00000000",
         "head 1; " RESETS("1", "FRAME_SIZE_ERROR", "h2_malformed")},
        {"6.3 length, closed", "headers 1 end; !respond 1 200 end; frame 2 0 1 00000000",
         "head 1 end; HEADERS 1 :status=200 END; " SIZE("1")},
        {"6.4 on stream 0", "rst 0 1", PROTOCOL("0")},
        {"6.4 length", "headers 1; frame 3 0 1 000000", "head 1; " SIZE("1")},
        {"6.5 acknowledgement with a payload", "frame 4 1 0 000000000000", SIZE("0")},
        {"6.5 on a stream", "frame 4 0 1 000300000064", PROTOCOL("0")},
        {"6.5 length", "frame 4 0 0 000300", SIZE("0")},
        {"6.5.2 push 2", "settings 2=2", PROTOCOL("0")},
        {"6.5.2 push 0 and 1", "settings 2=0; settings 2=1", "ACK; ACK"},
        {"6.5.2 window too large", "settings 4=2147483648",
         "failed FLOW_CONTROL_ERROR h2_window_exceeded; GOAWAY 0 FLOW_CONTROL_ERROR"},
        {"6.5.2 frames too small", "settings 5=16383", PROTOCOL("0")},
        {"6.5.2 frames too large", "settings 5=16777216", PROTOCOL("0")},
        {"6.5.2 unknown", "settings 255=1", "ACK"},
        {"6.5.2 extended CONNECT 2", "settings 8=2", PROTOCOL("0")},
        {"6.5.3 in order",
         "settings 4=100 4=1; headers 1 end; !respond 1 200; !send 1 10; window 1 9; !send 1 9 end",
         "ACK; head 1 end; HEADERS 1 :status=200; DATA 1 1; DATA 1 9 END"},
        {"6.6 PUSH_PROMISE", "headers 1; frame 5 4 1 0000000282", "head 1; " PROTOCOL("1")},
        {"6.7 PING", "ping 12345678; pong 12345678", "PONG 12345678"},
        {"6.7 on a stream", "frame 6 0 1 0000000000000000", PROTOCOL("0")},
        {"6.7 length", "frame 6 0 0 000000000000", SIZE("0")},
        {"6.8 GOAWAY", "goaway 0 0; headers 1 end", "going 0 NO_ERROR; head 1 end"},
        {"6.8 with words", "frame 7 0 0 000000000000000b68656c6c6f; ping 12345678",
         "going 0 ENHANCE_YOUR_CALM; PONG 12345678"},
        {"6.8 on a stream", "frame 7 0 1 0000000000000000", PROTOCOL("0")},
        {"6.8 length", "frame 7 0 0 00000000", SIZE("0")},
        {"6.9 by nothing", "window 0 0", PROTOCOL("0")},
        {"6.9 by nothing, on a stream", "headers 1; window 1 0", "head 1; " MALFORMED("1")},
        {"6.9 length", "frame 8 0 0 000000", SIZE("0")},
        {"6.9.1 connection's overflow", "window 0 2147483647",
         "failed FLOW_CONTROL_ERROR h2_window_exceeded; GOAWAY 0 FLOW_CONTROL_ERROR"},
        {"6.9.1 stream's overflow", "headers 1; window 1 2147483647",
         "head 1; " RESETS("1", "FLOW_CONTROL_ERROR", "h2_window_exceeded")},
        {"6.9.2 a window that was used becomes negative",
         "headers 1 end; !respond 1 200; !send 1 100; settings 4=50; !send 1 10; window 1 60; "
         "!send 1 20 end",
         "head 1 end; HEADERS 1 :status=200; DATA 1 100; ACK; DATA 1 10"},
        {"6.9.2 all windows overflow", "headers 1 end; window 1 2147418112; settings 4=65536",
         "head 1 end; failed FLOW_CONTROL_ERROR h2_window_exceeded; "
         "GOAWAY 1 FLOW_CONTROL_ERROR"},
        {"6.10 in pieces",
         "headers 1 end open :method=GET; more 1 open :scheme=http :path=/; "
         "more 1 open; more 1 :authority=a x=y",
         "head 1 end"},
        {"6.10 on stream 0", "headers 1 open end; more 0", PROTOCOL("1")},
        {"6.10 on another stream", "headers 1 open end; more 3", PROTOCOL("1")},
        {"6.10 behind a section's end", "headers 1 end; more 1", "head 1 end; " PROTOCOL("1")},
        {"6.10 behind DATA", "headers 1 open; data 1 1; more 1", PROTOCOL("1")},
        {"RFC 9218, 7.1", "headers 1; update 1 u=1,i; update 1 i=?0,_u=7",
         "head 1; priority 1 u=1 i; priority 1 u=3"},
        {"RFC 9218, 7.1 early",
         "update 1 u=6; headers 1 end +get= priority=u=2; update 3 u=0; "
         "headers 3 end; update 1 i",
         "head 1 end; head 3 end; priority 1 u=3 i"},
        {"RFC 9218, 7.1 on a stream", "frame 16 0 1 00000001", PROTOCOL("0")},
        {"RFC 9218, 7.1 of stream 0", "update 0 u=1", PROTOCOL("0")},
        {"RFC 9218, 7.1 length", "frame 16 0 0 0000", SIZE("0")},
    };

    play_rows(rows, COUNT_OF(rows));
}
END_TEST

START_TEST(windows_are_kept)
{
    static const struct play_row rows[] = {
        {"all of a window, and not a byte more",
         "headers 1; data 1 16384; data 1 16384; data 1 16384; data 1 16384; data 1 1",
         "head 1; content 1 16384; content 1 16384; content 1 16384; content 1 16384; "
         "reset 1 FLOW_CONTROL_ERROR h2_window_exceeded; RST 1 FLOW_CONTROL_ERROR"},
        {"credited at half", "headers 1; data 1 16384; data 1 16384; !credit 1 32767; !credit 1 1",
         "head 1; content 1 16384; content 1 16384; WINDOW 1 32768"},
        {"of padding too",
         "!auto; headers 1; data 1 10000 pad=255; data 1 10000 pad=255; "
         "data 1 10000 pad=255; data 1 2000",
         "head 1; content 1 10000; content 1 10000; content 1 10000; content 1 2000; "
         "WINDOW 1 32768"},
        {"not after the end",
         "headers 1; data 1 16384; data 1 16384; data 1 16384 end; "
         "!credit 1 49152",
         "head 1; content 1 16384; content 1 16384; content 1 16384; end 1"},
        {"the connection's, for what nobody takes",
         "headers 1; !reset 1 8; data 1 16384; data 1 16384; data 1 16384; data 1 16384; "
         "data 1 16384; data 1 16384; data 1 16384; data 1 16384",
         "head 1; RST 1 CANCEL; WINDOW 0 131072"},
        {"the connection's is everybody's",
         "headers 1 end; headers 3 end; !respond 1 200; !respond 3 200; !send 1 65535; "
         "!send 3 1; window 0 10; !send 3 20",
         "head 1 end; head 3 end; HEADERS 1 :status=200; HEADERS 3 :status=200; "
         "DATA 1 16384; DATA 1 16384; DATA 1 16384; DATA 1 16383; DATA 3 10"},
        {"nothing needs no window", "settings 4=0; headers 1 end; !respond 1 200; !send 1 0 end",
         "ACK; head 1 end; HEADERS 1 :status=200; DATA 1 0 END"},
        {"trailers neither", "settings 4=0; headers 1 end; !respond 1 200; !trail 1",
         "ACK; head 1 end; HEADERS 1 :status=200; HEADERS 1 x-sum=1 END"},
    };

    play_rows(rows, COUNT_OF(rows));
}
END_TEST

/* What the peer says next. */
static enum h2_kind news(struct play *p, const char *script)
{
    char bytes[100];
    struct h2_event ev;
    size_t used, len = script_bytes(script, bytes, sizeof bytes);

    h2_read(&p->session, (struct span){bytes, len}, p->now, &used, &ev);
    ck_assert_uint_eq(used, len);
    return ev.kind;
}

/* Or whoever sends many of them has us look at all streams for each. */
START_TEST(more_of_a_window_that_is_open_is_no_news)
{
    struct play *p = malloc(sizeof *p);

    ck_assert_ptr_nonnull(p);
    play_begin(p, &play_limits, 0);
    play(p, "hello; headers 1 end; !respond 1 200");
    ck_assert_int_eq(news(p, "window 0 100"), H2_NOTHING);
    ck_assert_int_eq(news(p, "window 1 100"), H2_NOTHING);
    play(p, "!send 1 65635");
    ck_assert_int_eq(news(p, "window 1 100"), H2_WINDOW);
    ck_assert_int_eq(news(p, "window 1 100"), H2_NOTHING);
    ck_assert_int_eq(news(p, "window 0 100"), H2_WINDOW);
    ck_assert_int_eq(news(p, "window 0 100"), H2_NOTHING);
    play_end(p);
    free(p);
}
END_TEST

START_TEST(the_connections_window_is_kept)
{
    struct h2_limits limits = play_limits;
    struct play *p = malloc(sizeof *p);

    ck_assert_ptr_nonnull(p);
    limits.streams_max = 10;
    play_begin(p, &limits, 0);
    play(p, "hello");
    for (int id = 1; id < 9; id += 2) {
        char script[200];
        snprintf(script, sizeof script,
                 "headers %d; data %d 16384; data %d 16384; data %d 16384; data %d 16384", id, id,
                 id, id, id);
        play(p, script);
    }
    p->text_len = 0;
    play(p, "headers 9; data 9 1");
    ck_assert_str_eq(p->text, "head 9; failed FLOW_CONTROL_ERROR h2_window_exceeded; "
                              "GOAWAY 9 FLOW_CONTROL_ERROR");
    play_end(p);
    free(p);
}
END_TEST

/* --- floods ------------------------------------------------------------------------- */

static void flood(const char *begin, const char *again, unsigned times, bool ids, const char *want)
{
    struct play *p = malloc(sizeof *p);
    char script[400];

    ck_assert_ptr_nonnull(p);
    play_begin(p, &play_limits, 0);
    play(p, begin);
    for (unsigned i = 0; i < times && !p->session.failed; i++) {
        p->text_len = 0;
        p->text[0] = '\0';
        if (ids) {
            p->stream_count = 0;
            snprintf(script, sizeof script, again, 2 * i + 1, 2 * i + 1, 2 * i + 1);
            play(p, script);
        } else {
            play(p, again);
        }
    }
    if (p->session.failed != (want != NULL) || (want && !strstr(p->text, want)))
        ck_abort_msg("%s, %s: got %s", begin, again, p->text);
    play_end(p);
    free(p);
}

START_TEST(floods_end_the_connection)
{
    const char *reset = "failed ENHANCE_YOUR_CALM h2_reset_flood";
    const char *control = "failed ENHANCE_YOUR_CALM h2_control_flood";
    const char *header = "failed ENHANCE_YOUR_CALM h2_header_flood";

    flood("hello", "headers %d end; rst %d 8", 20, true, NULL);
    flood("hello", "headers %d end; rst %d 8", 21, true, reset);
    flood("hello", "headers %d end; window %d 0", 21, true, reset);
    flood("hello", "headers %d end; window %d 2147483647", 21, true, reset);
    flood("hello", "headers %d end; data %d 1", 21, true, reset);
    flood("hello", "headers %d end; priority %d %d", 21, true, reset);
    flood("hello", "headers %d end X=y", 21, true, reset);
    flood("!refuse; hello", "headers %d end", 1000, true, NULL);
    flood("hello; headers 1; headers 3; headers 5; headers 7; headers 9; headers 11; headers 13",
          "headers 100001; headers 100001", 50, false, NULL);
    flood("hello", "ping 12345678", 99, false, NULL);
    flood("hello", "ping 12345678", 101, false, control);
    flood("hello", "settings 3=1", 101, false, control);
    flood("hello", "ack", 101, false, control);
    flood("hello", "priority 1 3", 101, false, control);
    flood("hello", "update 1 u=1", 101, false, control);
    flood("hello; headers 1", "data 1 0", 101, false, control);
    flood("hello; headers 1", "data 1 0 pad=5", 101, false, control);
    flood("hello; headers 1", "window 1 1", 101, false, control);
    flood("hello; headers 1", "window 0 1", 101, false, control);
    flood("hello; headers 1", "window 0 64", 1000, false, NULL);
    flood("hello", "frame 99 0 0 00", 101, false, control);
    flood("hello; headers 1; rst 1 8", "rst 1 8", 101, false, control);
    flood("hello; headers 1; !reset 1 8", "headers 1 end", 101, false, control);
    flood("hello; headers 1 open", "more 1 open none", 100, false, header);
    flood("hello; headers 1 open",
          "more 1 open x=12345678901234567890123456789012345678901234567890", 1000, false, header);
}
END_TEST

START_TEST(floods_in_time_are_no_floods)
{
    struct play *p = malloc(sizeof *p);

    ck_assert_ptr_nonnull(p);
    play_begin(p, &play_limits, 0);
    play(p, "hello");
    for (int i = 0; i < 1000; i++) {
        p->now += 200;
        p->text_len = 0;
        play(p, "ping 12345678");
    }
    ck_assert(!p->session.failed);
    play_end(p);
    free(p);
}
END_TEST

/* --- the end, and writing --------------------------------------------------------------- */

START_TEST(a_connection_is_drained_in_two_steps)
{
    static const struct play_row rows[] = {
        {"answered",
         "headers 1 end; !drain; headers 3 end; pong draining; headers 5 end; "
         "!respond 1 200 end; !respond 3 200 end",
         "head 1 end; GOAWAY 2147483647 NO_ERROR; PING draining; head 3 end; "
         "GOAWAY 3 NO_ERROR; " RESETS(
             "5", "REFUSED_STREAM",
             "h2_refused") "; "
                           "HEADERS 1 :status=200 END; HEADERS 3 :status=200 END"},
        {"not answered", "!drain; !drain; !drain",
         "GOAWAY 2147483647 NO_ERROR; PING draining; GOAWAY 0 NO_ERROR"},
    };

    play_rows(rows, COUNT_OF(rows));
}
END_TEST

/* What HTTP/1 says by 101 an origin cannot say here (RFC 9113, 8.6). */
START_TEST(an_origin_switches_no_protocol)
{
    static const struct {
        struct span status;
        bool malformed;
    } rows[] = {
        {SPAN_INIT("100"), false}, {SPAN_INIT("101"), true}, {SPAN_INIT("102"), false},
        {SPAN_INIT("599"), false}, {SPAN_INIT("600"), true}, {SPAN_INIT("99"), true},
    };
    struct h2_head h = {.size_max = 1000, .fields_max = 10};

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        h2_head_begin(&h, H2_SECTION_RESPONSE);
        ck_assert_int_eq(h2_head_add(&h, SPAN(":status"), rows[i].status), 0);
        ck_assert_int_eq(h2_head_end(&h, false), 0);
        ck_assert_msg(h.malformed == rows[i].malformed, "%.*s", SPAN_ARG(rows[i].status));
    }
    h2_head_free(&h);
}
END_TEST

/* The peer learns from the acknowledgement when its settings count: nothing that goes out before
 * may know of them, even where half of the frame has come. */
START_TEST(settings_count_when_all_of_them_have_come)
{
    struct play *p = malloc(sizeof *p);
    char bytes[100];

    ck_assert_ptr_nonnull(p);
    play_begin(p, &play_limits, 0);
    play(p, "hello; settings 4=10; headers 1 end");
    p->text_len = 0;
    size_t n = script_bytes("settings 4=30 1=0 1=4096 3=7 4=20", bytes, sizeof bytes);
    for (size_t i = 0; i < n; i++) {
        ck_assert_uint_eq(h2_take(&p->session, p->streams, 100), 10);
        ck_assert_uint_eq(p->session.peer_streams_max, UINT32_MAX);
        play_bytes(p, (struct span){bytes + i, 1});
    }
    ck_assert_uint_eq(h2_take(&p->session, p->streams, 100), 20);
    ck_assert_uint_eq(p->session.peer_streams_max, 7);
    ck_assert_str_eq(p->text, "ACK");
    play_end(p);
    free(p);
}
END_TEST

START_TEST(extended_connect_is_taken_where_it_is_offered)
{
    struct h2_limits limits = play_limits;
    static const struct play_row rows[] = {
        {"websocket",
         "headers 1 :method=CONNECT :protocol=websocket :scheme=http :path=/chat "
         ":authority=a",
         "head 1"},
        {"GET", "headers 1 +get= :protocol=websocket", MALFORMED("1")},
        {"no path", "headers 1 :method=CONNECT :protocol=websocket :scheme=http :authority=a",
         MALFORMED("1")},
    };

    limits.connects = true;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        play_row(&rows[i], &limits, false);
}
END_TEST

START_TEST(streams_are_found_however_many_there_are)
{
    struct h2_limits limits = play_limits;
    struct play *p = malloc(sizeof *p);

    ck_assert_ptr_nonnull(p);
    limits.streams_max = PLAY_STREAMS;
    play_begin(p, &limits, 0);
    play(p, "hello");
    for (int i = 0; i < PLAY_STREAMS; i++) {
        char script[64];
        snprintf(script, sizeof script, "headers %d", 100 * i + 1);
        play(p, script);
    }
    for (int i = PLAY_STREAMS; i-- > 0;) {
        char script[64], want[64];
        p->text_len = 0;
        snprintf(script, sizeof script, "data %d 3 end", 100 * i + 1);
        snprintf(want, sizeof want, "content %d 3; end %d", 100 * i + 1, 100 * i + 1);
        play(p, script);
        ck_assert_str_eq(p->text, want);
        snprintf(script, sizeof script, "!reset %d 0", 100 * i + 1);
        play(p, script);
    }
    ck_assert_uint_eq(p->session.streams, 0);
    play_end(p);
    free(p);
}
END_TEST

Suite *h2_suite(void)
{
    Suite *s = suite_create("h2");
    TCase *t = tcase_create("server");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_connection_begins_with_the_preface_and_settings);
    tcase_add_test(t, frames_are_bounded_and_unknown_ones_ignored);
    tcase_add_test(t, streams_go_through_their_states);
    tcase_add_test(t, each_frame_keeps_its_own_rules);
    tcase_add_test(t, windows_are_kept);
    tcase_add_test(t, more_of_a_window_that_is_open_is_no_news);
    tcase_add_test(t, the_connections_window_is_kept);
    tcase_add_test(t, floods_end_the_connection);
    tcase_add_test(t, floods_in_time_are_no_floods);
    tcase_add_test(t, a_connection_is_drained_in_two_steps);
    tcase_add_test(t, an_origin_switches_no_protocol);
    tcase_add_test(t, settings_count_when_all_of_them_have_come);
    tcase_add_test(t, extended_connect_is_taken_where_it_is_offered);
    tcase_add_test(t, streams_are_found_however_many_there_are);
    suite_add_tcase(s, t);
    return s;
}
