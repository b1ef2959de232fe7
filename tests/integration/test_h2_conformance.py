#!/usr/bin/env python3
"""What RFC 9113 and RFC 7541 ask of a server, case by case, where an answer is made here, over
TLS, and where it is an origin's.

The first table has the 147 cases of the public conformance suite, in its order and under its
numbers, each said again in our own words under the section of the RFC in force; the suite runs one
of them, http2/5.4.1/2, only when told to be strict.  We ask more of an answer than the suite does:
an error has its code, and a connection ends with GOAWAY and in order, never by a reset that may
overtake what was said before it.
"""
import concurrent.futures
import functools
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
import time

from h2client import (ACK, CLOSED, COMPRESSION, DATA, END, END_HEADERS, FLOW, GET, GOAWAY,
                      HEADERS, MORE, NO_ERROR, PADDED, PING, PREFACE, PRIORITY, PROTOCOL, PUSH, REFUSED,
                      RST, SETTINGS, SIZE, WINDOW, WITH_PRIORITY, Client, Ended, data, frame, get, goaway,
                      headers, more, number, pack, ping, post, priority, rst, settings, window)
from harness import BUILD, Skip, main, needs, same, true
from origin import Origin

CONFIG = """
[server]
workers = 1
{tls}
[listener a]
listen = 127.0.0.1:{port}
{listener}
[upstream u]
server = 127.0.0.1:{origin}
[route all]
handler = {handler}
"""
FILES = tempfile.mkdtemp(prefix="files.", dir=BUILD)
PEM = os.path.join(FILES, "one.pem")
SECONDS = 2  # until an answer that has not come will not
AT_ONCE = 24

FRAMES, WHOLE, BYTES = "frame by frame", "whole", "byte by byte"


# --- what may come of a case --------------------------------------------------------------


def heard(c, wanted):
    """Frames until wanted(frame) says so; what else there was is in the complaint."""
    seen = []
    try:
        while True:
            got = c.next()
            seen.append((got[0], got[2], got[3][:12]))
            if wanted(*got):
                return got
            if got[0] == GOAWAY:
                raise AssertionError(f"the connection was ended: {c.goaways}")
    except (Ended, OSError) as e:
        raise AssertionError(f"{e!r} behind {seen}") from None


def ends_in_order(c):
    """The other side closes, and not by a reset, which would have taken with it what it had said."""
    try:
        while True:
            c.next()
    except Ended as e:
        true(str(e).startswith("closed"), f"not in order: {e}")
    except OSError as e:
        raise AssertionError(f"it does not close: {e!r}") from None


def ends(*codes):
    """A connection error: GOAWAY, then the end."""
    def judge(c):
        heard(c, lambda kind, *_: kind == GOAWAY)
        true(c.goaways[-1][1] in codes, f"GOAWAY {c.goaways}, wanted {codes}")
        ends_in_order(c)
    return judge


def resets(*codes):
    """A stream error: RST_STREAM, or no less than the connection."""
    def judge(c):
        kind, *_ = heard(c, lambda kind, *_: kind in (RST, GOAWAY))
        code = c.goaways[-1][1] if kind == GOAWAY else list(c.resets.values())[-1]
        true(code in codes, f"{'GOAWAY' if kind == GOAWAY else 'RST_STREAM'} {code}, wanted {codes}")
        if kind == GOAWAY:
            ends_in_order(c)
    return judge


def closes(c):
    ends_in_order(c)


def answers(c):
    """A response has begun on stream 1."""
    heard(c, lambda kind, flags, stream, _: kind == HEADERS and stream == 1)
    true(c.status[1] in (200, 405), c.status)


def is_clean(c):
    true(not c.resets and not c.goaways, f"{c.resets} {c.goaways}")


def pongs(c, text=b"are you?"):
    """Nothing was wrong, and the connection goes on."""
    *_, payload = heard(c, lambda kind, flags, *_: kind == PING and flags & ACK)
    same(payload, text, "what comes back")
    is_clean(c)


def settles(c):
    heard(c, lambda kind, flags, *_: kind == SETTINGS and flags & ACK)


def greets(c):
    """The very first frame is SETTINGS, and no acknowledgement."""
    kind, flags, stream, _ = c.next()
    same((kind, flags & ACK, stream), (SETTINGS, 0, 0), "the first frame")


def sends(n):
    def judge(c):
        *_, payload = heard(c, lambda kind, *_: kind == DATA)
        same(len(payload), n, "bytes of content")
    return judge


def refuses_the_last(c):
    heard(c, lambda kind, flags, stream, _: kind == RST)
    most = c.settings[3]
    same(c.resets, {2 * most + 1: REFUSED}, "one too many")


# --- what a case may wait for, in the middle ----------------------------------------------


def answered(c):
    """Stream 1 is over on both sides."""
    heard(c, lambda *_: 1 in c.ended)


def settled(c):
    settles(c)


def content_begun(c):
    heard(c, lambda kind, *_: kind == DATA)


def one_stream_too_many(c):
    c.send(*[headers(1 + 2 * i) for i in range(c.settings[3] + 1)])


ARE_YOU = ping(b"are you?")
GETS = headers(1)
OPENS = headers(1, end=False)
POSTS = headers(1, post(), False)
FOUR = b"test"
LONG = ("x-dummy0", "x" * 4000)
BLOCK = pack(GET)
BEGINS = headers(1, end=False, more=True)  # a field section that has not ended
LARGE = get(**{f"x-dummy{i}": "x" * 4000 for i in range(5)})


def block(fragment, before=b""):
    """GET, and a piece of HPACK behind or before its fields."""
    return frame(HEADERS, END | END_HEADERS, 1, before + BLOCK + fragment)


def literal(first, name, value, huffman=False):
    flag = 0x80 if huffman else 0
    out = bytes([first])
    for text in (name, value):
        out += bytes([flag | len(text)]) + text
    return out


# In Huffman's code (RFC 7541, B): user-agent, x-test, h2spec, and test without its last, half octet.
AGENT, X_TEST, WORD = bytes.fromhex("b505b161cc5a93"), bytes.fromhex("f2b24a84ff"), bytes.fromhex("9c48aca4")

# The suite's number; what is sent; what is to come of it.  First what a well-behaved client may do.
SUITE = [
    ("generic/1/1", "3.4: a preface", [PREFACE, settings((4, 65535))], greets),
    ("generic/2/1", "5.1: PRIORITY on an idle stream", [priority(1), ARE_YOU], pongs),
    ("generic/2/2", "5.1: WINDOW_UPDATE, half-closed (remote)",
     [settings((4, 0)), GETS, window(1, 1)], sends(1)),
    ("generic/2/3", "5.1: PRIORITY, half-closed (remote)",
     [settings((4, 0)), GETS, priority(1), window(1, 1)], sends(1)),
    ("generic/2/4", "5.1: RST_STREAM, half-closed (remote)", [GETS, rst(1), ARE_YOU], pongs),
    ("generic/2/5", "5.1: PRIORITY, closed", [GETS, answered, priority(1), ARE_YOU], pongs),
    ("generic/3.1/1", "6.1: DATA", [POSTS, data(1, FOUR, True)], answers),
    ("generic/3.1/2", "6.1: DATA twice", [POSTS, data(1, FOUR), data(1, FOUR, True)], answers),
    ("generic/3.1/3", "6.1: DATA with padding",
     [POSTS, data(1, b"\6" + FOUR + bytes(6), True, PADDED)], answers),
    ("generic/3.2/1", "6.2: HEADERS", [GETS], answers),
    ("generic/3.2/2", "6.2: HEADERS with padding",
     [frame(HEADERS, END | END_HEADERS | PADDED, 1, b"\10" + BLOCK + bytes(8))], answers),
    ("generic/3.2/3", "6.2: HEADERS with a priority",
     [headers(1, flags=WITH_PRIORITY, before=number(0) + b"\xff")], answers),
    ("generic/3.3/1", "6.3: PRIORITY, weight 1", [priority(1, weight=0), GETS], answers),
    ("generic/3.3/2", "6.3: PRIORITY, weight 256", [priority(1, weight=255), GETS], answers),
    ("generic/3.3/3", "6.3: PRIORITY on another", [priority(3, on=1, weight=0), GETS], answers),
    ("generic/3.3/4", "6.3: PRIORITY, exclusive", [priority(1, weight=0, exclusive=True), GETS], answers),
    ("generic/3.3/5", "6.3: PRIORITY of a later stream begins none", [priority(3), GETS], answers),
    ("generic/3.4/1", "6.4: RST_STREAM", [OPENS, rst(1), ARE_YOU], pongs),
    ("generic/3.5/1", "6.5: SETTINGS, all there are",
     [settings((1, 4096), (2, 1), (3, 100), (4, 65535), (5, 16384), (6, 100))], settles),
    ("generic/3.7/1", "6.7: PING", [ARE_YOU], pongs),
    ("generic/3.8/1", "6.8: GOAWAY", [goaway(0, NO_ERROR, b"bye")], closes),
    ("generic/3.9/1", "6.9: WINDOW_UPDATE", [window(0, 1), ARE_YOU], pongs),
    ("generic/3.9/2", "6.9: WINDOW_UPDATE of a stream", [GETS, window(1, 1)], answers),
    ("generic/3.10/1", "6.10: CONTINUATION",
     [frame(HEADERS, END, 1, BLOCK[:5]), frame(MORE, END_HEADERS, 1, BLOCK[5:])], answers),
    ("generic/3.10/2", "6.10: CONTINUATION twice",
     [frame(HEADERS, END, 1, BLOCK[:5]), frame(MORE, 0, 1, BLOCK[5:10]),
      frame(MORE, END_HEADERS, 1, BLOCK[10:])], answers),
    ("generic/4/1", "8.1: GET", [GETS], answers),
    ("generic/4/2", "8.1: HEAD", [headers(1, [(":method", "HEAD")] + GET[1:])], answers),
    ("generic/4/3", "8.1: POST", [POSTS, data(1, FOUR, True)], answers),
    ("generic/4/4", "8.1: POST with trailers",
     [headers(1, post(trailer="x-test"), False), data(1, FOUR), headers(1, [("x-test", "ok")])], answers),
    ("generic/5/1", "RFC 7541, 6.1: indexed", [block(b"\xba")], answers),
    ("generic/5/2", "RFC 7541, 6.2.1: indexing, a known name",
     [block(literal(0x40, AGENT, WORD, True))], answers),
    ("generic/5/3", "RFC 7541, 6.2.1: indexing, a known name in full",
     [block(literal(0x40, b"user-agent", b"h2spec"))], answers),
    ("generic/5/4", "RFC 7541, 6.2.1: indexing, a new name",
     [block(literal(0x40, b"x-test", b"h2spec"))], answers),
    ("generic/5/5", "RFC 7541, 6.2.1: indexing, a new name, Huffman",
     [block(literal(0x40, X_TEST, WORD, True))], answers),
    ("generic/5/6", "RFC 7541, 6.2.2: not indexing, a known name",
     [block(literal(0, b"user-agent", b"h2spec"))], answers),
    ("generic/5/7", "RFC 7541, 6.2.2: not indexing, a known name, Huffman",
     [block(literal(0, AGENT, WORD, True))], answers),
    ("generic/5/8", "RFC 7541, 6.2.2: not indexing, a new name",
     [block(literal(0, b"x-test", b"h2spec"))], answers),
    ("generic/5/9", "RFC 7541, 6.2.2: not indexing, a new name, Huffman",
     [block(literal(0, X_TEST, WORD, True))], answers),
    ("generic/5/10", "RFC 7541, 6.2.3: never indexing, a known name",
     [block(literal(0x10, b"user-agent", b"h2spec"))], answers),
    ("generic/5/11", "RFC 7541, 6.2.3: never indexing, a known name, Huffman",
     [block(literal(0x10, AGENT, WORD, True))], answers),
    ("generic/5/12", "RFC 7541, 6.2.3: never indexing, a new name",
     [block(literal(0x10, b"x-test", b"h2spec"))], answers),
    ("generic/5/13", "RFC 7541, 6.2.3: never indexing, a new name, Huffman",
     [block(literal(0x10, X_TEST, WORD, True))], answers),
    ("generic/5/14", "RFC 7541, 6.3: a table of another size", [block(b"", b"\x20")], answers),
    ("generic/5/15", "RFC 7541, 4.2: twice another size", [block(b"", b"\x20\x3f\xe1\x1f")], answers),

    ("http2/3.5/1", "3.4: a preface", [PREFACE, settings((4, 65535))], greets),
    ("http2/3.5/2", "3.4: no preface", [b"INVALID CONNECTION PREFACE\r\n\r\n"], closes),
    ("http2/4.1/1", "4.1: a type nobody knows", [frame(0x16, 0, 0, bytes(8)), ARE_YOU], pongs),
    ("http2/4.1/2", "4.1: flags nobody knows", [frame(PING, 0x16, 0, b"are you?")], pongs),
    ("http2/4.1/3", "4.1: the reserved bit", [frame(PING, 0x16, 1 << 31, b"are you?")], pongs),
    ("http2/4.2/1", "4.2: DATA of 2^14", [POSTS, data(1, b"x" * 16384, True)], answers),
    ("http2/4.2/2", "4.2: DATA of more", [POSTS, data(1, b"x" * 16385, True)], resets(SIZE)),
    ("http2/4.2/3", "4.2: HEADERS of more", [headers(1, LARGE)], ends(SIZE)),
    ("http2/4.3/1", "4.3: half a field", [frame(HEADERS, END | END_HEADERS, 1, b"\x40")], ends(COMPRESSION)),
    ("http2/4.3/2", "4.3: PRIORITY in a field section",
     [BEGINS, priority(1), more(1, pack([LONG]))], ends(PROTOCOL)),
    ("http2/4.3/3", "4.3: HEADERS in another's field section",
     [BEGINS, headers(3), more(1, pack([LONG]))], ends(PROTOCOL)),
    ("http2/5.1/1", "5.1: idle: DATA", [data(1, FOUR, True)], ends(PROTOCOL)),
    ("http2/5.1/2", "5.1: idle: RST_STREAM", [rst(1)], ends(PROTOCOL)),
    ("http2/5.1/3", "5.1: idle: WINDOW_UPDATE", [window(1, 100)], ends(PROTOCOL)),
    ("http2/5.1/4", "5.1: idle: CONTINUATION", [more(1, BLOCK)], ends(PROTOCOL)),
    ("http2/5.1/5", "5.1: half-closed: DATA", [GETS, data(1, FOUR, True)], resets(CLOSED)),
    ("http2/5.1/6", "5.1: half-closed: HEADERS", [GETS, GETS], resets(CLOSED)),
    ("http2/5.1/7", "5.1: half-closed: CONTINUATION", [GETS, more(1, BLOCK)], resets(CLOSED, PROTOCOL)),
    ("http2/5.1/8", "5.1: reset: DATA", [OPENS, rst(1), data(1, FOUR, True)], resets(CLOSED)),
    ("http2/5.1/9", "5.1: reset: HEADERS", [OPENS, rst(1), GETS], resets(CLOSED)),
    ("http2/5.1/10", "5.1: reset: CONTINUATION",
     [OPENS, rst(1), more(1, pack([LONG]))], resets(CLOSED, PROTOCOL)),
    ("http2/5.1/11", "5.1: closed: DATA", [GETS, answered, data(1, FOUR, True)], resets(CLOSED)),
    ("http2/5.1/12", "5.1: closed: HEADERS", [GETS, answered, GETS], ends(CLOSED)),
    ("http2/5.1/13", "5.1: closed: CONTINUATION",
     [GETS, answered, more(1, pack([LONG]))], ends(CLOSED, PROTOCOL)),
    ("http2/5.1.1/1", "5.1.1: an even number", [headers(2)], ends(PROTOCOL)),
    ("http2/5.1.1/2", "5.1.1: a smaller number", [headers(5), headers(3)], ends(PROTOCOL)),
    ("http2/5.1.2/1", "5.1.2: one stream too many",
     [settings((4, 0)), one_stream_too_many], refuses_the_last),
    ("http2/5.3.1/1", "RFC 7540, 5.3.1: HEADERS that depend on themselves",
     [headers(1, flags=WITH_PRIORITY, before=number(1) + b"\xff")], resets(PROTOCOL)),
    ("http2/5.3.1/2", "RFC 7540, 5.3.1: PRIORITY on itself", [priority(1, on=1)], resets(PROTOCOL)),
    ("http2/5.4.1/1", "5.4.1: a connection error ends the connection",
     [frame(PING, 0, 3, bytes(8))], closes),
    ("http2/5.4.1/2", "5.4.1: and GOAWAY says so", [frame(PING, 0, 3, bytes(8))], ends(PROTOCOL)),
    ("http2/5.5/1", "5.5: an extension nobody knows", [frame(0x16, 0, 0, bytes(8)), ARE_YOU], pongs),
    ("http2/5.5/2", "5.5: one in a field section",
     [headers(1, more=True), frame(0x16, 0, 0, bytes(8))], ends(PROTOCOL)),
    ("http2/6.1/1", "6.1: DATA on stream 0", [data(0, FOUR, True)], ends(PROTOCOL)),
    ("http2/6.1/2", "6.1: DATA behind the end",
     [headers(1, post()), data(1, FOUR, True)], resets(CLOSED)),
    ("http2/6.1/3", "6.1: more padding than there is",
     [headers(1, post(content_length="4"), False), frame(DATA, END | PADDED, 1, b"\6" + FOUR)],
     ends(PROTOCOL)),
    ("http2/6.2/1", "6.2: PRIORITY in a field section",
     [BEGINS, priority(1), more(1, pack([LONG]))], ends(PROTOCOL)),
    ("http2/6.2/2", "6.2: HEADERS in another's field section",
     [BEGINS, headers(3), more(1, pack([LONG]))], ends(PROTOCOL)),
    ("http2/6.2/3", "6.2: HEADERS on stream 0", [headers(0)], ends(PROTOCOL)),
    ("http2/6.2/4", "6.2: more padding than there is",
     [frame(HEADERS, END | END_HEADERS | PADDED, 1, bytes([len(BLOCK) + 2]) + BLOCK)], ends(PROTOCOL)),
    ("http2/6.3/1", "6.3: PRIORITY on stream 0", [priority(0)], ends(PROTOCOL)),
    ("http2/6.3/2", "6.3: PRIORITY of 4 octets", [GETS, frame(PRIORITY, 0, 1, number(1 << 31 | 1))],
     resets(SIZE)),
    ("http2/6.4/1", "6.4: RST_STREAM on stream 0", [rst(0)], ends(PROTOCOL)),
    ("http2/6.4/2", "6.4: RST_STREAM on an idle stream", [rst(1)], ends(PROTOCOL)),
    ("http2/6.4/3", "6.4: RST_STREAM of 3 octets", [GETS, frame(RST, 0, 1, bytes(3))], ends(SIZE)),
    ("http2/6.5/1", "6.5: an acknowledgement with a payload", [frame(SETTINGS, ACK, 0, b"\0")], ends(SIZE)),
    ("http2/6.5/2", "6.5: SETTINGS on stream 1", [frame(SETTINGS, 0, 1, b"\0\3\0\0\0\x64")], ends(PROTOCOL)),
    ("http2/6.5/3", "6.5: SETTINGS of 3 octets", [frame(SETTINGS, 0, 0, b"\0\3\0")], ends(SIZE)),
    ("http2/6.5.2/1", "6.5.2: ENABLE_PUSH = 2", [settings((2, 2))], ends(PROTOCOL)),
    ("http2/6.5.2/2", "6.5.2: INITIAL_WINDOW_SIZE = 2^31", [settings((4, 1 << 31))], ends(FLOW)),
    ("http2/6.5.2/3", "6.5.2: MAX_FRAME_SIZE = 2^14 - 1", [settings((5, 16383))], ends(PROTOCOL)),
    ("http2/6.5.2/4", "6.5.2: MAX_FRAME_SIZE = 2^24", [settings((5, 1 << 24))], ends(PROTOCOL)),
    ("http2/6.5.2/5", "6.5.2: a setting nobody knows", [settings((0xff, 1)), ARE_YOU], pongs),
    ("http2/6.5.3/1", "6.5.3: the last of two windows counts",
     [settings((4, 100), (4, 1)), settled, GETS], sends(1)),
    ("http2/6.5.3/2", "6.5.3: SETTINGS are acknowledged", [settings((2, 0))], settles),
    ("http2/6.7/1", "6.7: PING comes back", [ping(b"abcdef\0\0")],
     functools.partial(pongs, text=b"abcdef\0\0")),
    ("http2/6.7/2", "6.7: an acknowledgement does not", [ping(b"invalid\0", True), ARE_YOU], pongs),
    ("http2/6.7/3", "6.7: PING on stream 1", [frame(PING, 0, 1, bytes(8))], ends(PROTOCOL)),
    ("http2/6.7/4", "6.7: PING of 6 octets", [frame(PING, 0, 0, bytes(6))], ends(SIZE)),
    ("http2/6.8/1", "6.8: GOAWAY on stream 1", [frame(GOAWAY, 0, 1, bytes(8))], ends(PROTOCOL)),
    ("http2/6.9/1", "6.9: WINDOW_UPDATE by 0", [window(0, 0)], ends(PROTOCOL)),
    ("http2/6.9/2", "6.9: WINDOW_UPDATE of a stream by 0", [OPENS, window(1, 0)], resets(PROTOCOL)),
    ("http2/6.9/3", "6.9: WINDOW_UPDATE of 3 octets", [frame(WINDOW, 0, 0, b"\0\0\1")], ends(SIZE)),
    ("http2/6.9.1/1", "6.9.1: a window of 1", [settings((4, 1)), settled, GETS], sends(1)),
    ("http2/6.9.1/2", "6.9.1: a window beyond 2^31 - 1", [window(0, (1 << 31) - 1)] * 2, ends(FLOW)),
    ("http2/6.9.1/3", "6.9.1: a stream's window beyond 2^31 - 1",
     [OPENS, window(1, (1 << 31) - 1), window(1, (1 << 31) - 1)], resets(FLOW)),
    ("http2/6.9.2/1", "6.9.2: a wider window for streams that are open",
     [settings((4, 0)), settled, GETS, settings((4, 1))], sends(1)),
    ("http2/6.9.2/2", "6.9.2: a window below 0",
     [settings((4, 3)), settled, GETS, content_begun, settings((4, 2)), settled, window(1, 2)], sends(1)),
    ("http2/6.9.2/3", "6.9.2: INITIAL_WINDOW_SIZE = 2^31", [settings((4, 1 << 31))], ends(FLOW)),
    ("http2/6.10/1", "6.10: CONTINUATION, twice, the second from the table",
     [headers(1, more=True), frame(MORE, 0, 1, b"\x40" + pack([LONG])[1:]), more(1, b"\xbe")], answers),
    ("http2/6.10/2", "6.10: DATA in a field section",
     [headers(1, post(), False, True), frame(MORE, 0, 1, pack([LONG])), data(1, FOUR, True)],
     ends(PROTOCOL)),
    ("http2/6.10/3", "6.10: CONTINUATION on stream 0",
     [headers(1, more=True), more(0, pack([LONG]))], ends(PROTOCOL)),
    ("http2/6.10/4", "6.10: CONTINUATION of what has ended", [GETS, more(1, pack([LONG]))], ends(PROTOCOL)),
    ("http2/6.10/5", "6.10: CONTINUATION of what has ended with one",
     [headers(1, more=True), more(1, pack([LONG])), more(1, pack([LONG]))], ends(PROTOCOL)),
    ("http2/6.10/6", "6.10: CONTINUATION behind DATA",
     [headers(1, post(), False, True), data(1, FOUR, True), frame(MORE, 0, 1, pack([LONG])),
      more(0, pack([LONG]))], ends(PROTOCOL)),
    ("http2/7/1", "7: GOAWAY with a code nobody knows", [goaway(0, 0xff)], closes),
    ("http2/7/2", "7: RST_STREAM with a code nobody knows", [POSTS, rst(1, 0xff), ARE_YOU], pongs),
    ("http2/8.1/1", "8.1: trailers that end nothing",
     [POSTS, data(1, FOUR), headers(1, [("x-test", "ok")], False)], resets(PROTOCOL)),
    ("http2/8.1.2/1", "8.2: a name in upper case", [headers(1, GET + [("X-TEST", "ok")])], resets(PROTOCOL)),
    ("http2/8.1.2.1/1", "8.3: a pseudo-field nobody knows",
     [headers(1, GET + [(":test", "ok")])], resets(PROTOCOL)),
    ("http2/8.1.2.1/2", "8.3: a response's pseudo-field",
     [headers(1, GET + [(":status", "200")])], resets(PROTOCOL)),
    ("http2/8.1.2.1/3", "8.3: a pseudo-field in trailers",
     [POSTS, data(1, FOUR), headers(1, [(":method", "POST")], False)], resets(PROTOCOL)),
    ("http2/8.1.2.1/4", "8.3: a pseudo-field behind a field",
     [headers(1, [("x-test", "ok")] + GET)], resets(PROTOCOL)),
    ("http2/8.1.2.2/1", "8.2.2: a field of the connection",
     [headers(1, get(connection="keep-alive"))], resets(PROTOCOL)),
    ("http2/8.1.2.2/2", "8.2.2: te other than trailers",
     [headers(1, get(trailers="test", te="trailers, deflate"))], resets(PROTOCOL)),
    ("http2/8.1.2.3/1", "8.3.1: an empty path", [headers(1, get(""))], resets(PROTOCOL)),
    ("http2/8.1.2.3/2", "8.3.1: no method", [headers(1, GET[2:])], resets(PROTOCOL)),
    ("http2/8.1.2.3/3", "8.3.1: no scheme", [headers(1, GET[:1] + GET[2:])], resets(PROTOCOL)),
    ("http2/8.1.2.3/4", "8.3.1: no path", [headers(1, GET[:2] + GET[3:])], resets(PROTOCOL)),
    ("http2/8.1.2.3/5", "8.3.1: two methods", [headers(1, GET + [(":method", "GET")])], resets(PROTOCOL)),
    ("http2/8.1.2.3/6", "8.3.1: two schemes", [headers(1, GET + [(":scheme", "http")])], resets(PROTOCOL)),
    ("http2/8.1.2.3/7", "8.3.1: two paths", [headers(1, GET + [(":path", "/")])], resets(PROTOCOL)),
    ("http2/8.1.2.6/1", "8.1.1: content of another length",
     [headers(1, post(content_length="1"), False), data(1, FOUR, True)], resets(PROTOCOL)),
    ("http2/8.1.2.6/2", "8.1.1: content of another length, in two",
     [headers(1, post(content_length="1"), False), data(1, FOUR), data(1, FOUR, True)], resets(PROTOCOL)),
    ("http2/8.2/1", "8.4: PUSH_PROMISE", [frame(PUSH, END_HEADERS, 1, number(3) + BLOCK)], ends(PROTOCOL)),

    ("hpack/2.3.3/1", "RFC 7541, 2.3.3: no such entry", [block(b"\xfe")], ends(COMPRESSION)),
    ("hpack/2.3.3/2", "RFC 7541, 2.3.3: a name of no such entry", [block(b"\x7f\x80\x01\x01y")],
     ends(COMPRESSION)),
    ("hpack/4.2/1", "RFC 7541, 4.2: another size behind a field", [block(b"\x21")], ends(COMPRESSION)),
    ("hpack/5.2/1", "RFC 7541, 5.2: more than 7 bits of padding",
     [block(literal(0, X_TEST, bytes.fromhex("49509fff"), True))], ends(COMPRESSION)),
    ("hpack/5.2/2", "RFC 7541, 5.2: padding of zeros",
     [block(literal(0, X_TEST, bytes.fromhex("495090"), True))], ends(COMPRESSION)),
    ("hpack/5.2/3", "RFC 7541, 5.2: the end of the string within",
     [block(literal(0, X_TEST, bytes.fromhex("fffffffd25427f"), True))], ends(COMPRESSION)),
    ("hpack/6.1/1", "RFC 7541, 6.1: entry 0", [block(b"\x80")], ends(COMPRESSION)),
    ("hpack/6.3/1", "RFC 7541, 6.3: a table of more than was agreed",
     [block(b"", b"\x3f\xe2\x1f")], ends(COMPRESSION)),
]
same(len(SUITE), 147, "cases of the suite")


def bad(fields):
    return [headers(1, fields)]


# What the suite does not ask.
BEYOND = [
    ("3.4", "no SETTINGS behind the preface", [PREFACE, ping()], ends(PROTOCOL)),
    ("4.3", "a table of many times more", [block(b"", b"\x3f\xe1\xff\x03")], ends(COMPRESSION)),
    ("4.3", "an entry of a very large number", [frame(HEADERS, 5, 1, b"\xff\xff\xff\x7f")],
     ends(COMPRESSION)),
    ("5.1.1", "HEADERS again, half-closed", [headers(5), headers(5)], resets(CLOSED)),
    ("6.8", "GOAWAY, and then a PING", [goaway(0, NO_ERROR), ARE_YOU], closes),
    ("6.3", "PRIORITY of 4 octets, closed", [GETS, answered, frame(PRIORITY, 0, 1, bytes(4))], ends(SIZE)),
    ("6.8", "GOAWAY lets what has begun go on", [settings((4, 0)), GETS, goaway(0, NO_ERROR),
                                                 settings((4, 100))], answers),
    ("6.9", "WINDOW_UPDATE by 0, closed", [GETS, answered, window(1, 0)], ends(PROTOCOL)),
    ("6.9", "WINDOW_UPDATE, closed", [GETS, answered, window(1, 1), ARE_YOU], pongs),
    ("6.9.2", "a window beyond 2^31 - 1 by SETTINGS",
     [settings((4, 0)), POSTS, window(1, (1 << 31) - 1), settings((4, 1 << 16))], ends(FLOW)),
    ("6.10", "empty CONTINUATIONs", [headers(1, more=True), frame(MORE, 0, 1), more(1, b"")], answers),
    ("8.1", "trailers in the middle", [POSTS, headers(1, [("x", "y")], False)], resets(PROTOCOL)),
    ("8.1.1", "no content of that length", [headers(1, get(content_length="1"))], resets(PROTOCOL)),
    ("8.1.1", "too little content", [headers(1, post(content_length="5"), False), data(1, FOUR, True)],
     resets(PROTOCOL)),
    ("8.2.1", "CR LF in a value", bad(get(x="a\r\nTransfer-Encoding: chunked")), resets(PROTOCOL)),
    ("8.2.1", "NUL in a value", bad(get(x="a\0b")), resets(PROTOCOL)),
    ("8.2.1", "CR LF in a name", bad(GET + [("x: y\r\nz", "1")]), resets(PROTOCOL)),
    ("8.2.1", "a blank before a value", bad(get(content_length=" 0")), resets(PROTOCOL)),
    ("8.2.2", "transfer-encoding", bad(get(transfer_encoding="chunked")), resets(PROTOCOL)),
    ("8.2.2", "te: trailers", bad(get(te="trailers")), answers),
    ("8.3.1", "a request line in the path", bad(get("/a HTTP/1.1\r\nx: y")), resets(PROTOCOL)),
    ("8.3.1", "a request line in the method", bad([(":method", "GET / HTTP/1.1\r\nx")] + GET[1:]),
     resets(PROTOCOL)),
    ("8.3.1", "two authorities", bad(GET + [(":authority", "b")]), resets(PROTOCOL)),
]


# --- playing them ---------------------------------------------------------------------------


def pieces(script, how):
    """What is sent at once, and what is waited for."""
    out = []
    for step in script:
        if callable(step) or how == FRAMES:
            out.append(step)
        elif how == BYTES:
            out += [step[i:i + 1] for i in range(len(step))]
        elif out and not callable(out[-1]):
            out[-1] += step
        else:
            out.append(step)
    return out


def play(g, script, verdict, how):
    fresh = script[0].startswith((PREFACE, b"INVALID"))
    with Client(g.port, hello=not fresh, seconds=SECONDS, wrap=g.wrap, first=settings((4, 65535))) as c:
        c.automatic = False
        if not fresh:
            settles(c)
        for step in pieces(script, how):
            if callable(step):
                step(c)
                continue
            try:
                c.send(step)
            except OSError:
                pass  # it has ended, and that is for the verdict
            if how == FRAMES:
                time.sleep(0.001)
        verdict(c)


def case(g, row, how):
    name, what, script, verdict = row
    size = sum(len(s) for s in script if not callable(s))
    if how == BYTES and size > 2000:
        return None
    try:
        play(g, script, verdict, how)
    except Exception as e:
        return f"{name}, {what}, {how}: {e}"
    return None


def conformance(g, *manners):
    wrong = []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for how in manners:
            wrong += filter(None, pool.map(lambda row: case(g, row, how), SUITE + BEYOND))
    true(not wrong, "\n".join([f"{len(wrong)} are wrong"] + wrong))
    with Client(g.port, wrap=g.wrap) as c:
        same(c.ask(1)[0], 200, "and it still answers")


def start(gate, handler, listener="", tls="", **names):
    try:
        import hpack  # noqa: F401
    except ImportError:
        raise Skip("python3-hpack is not there") from None
    needs("http/2")
    config = CONFIG.replace("{handler}", handler).replace("{listener}", listener).replace("{tls}", tls)
    g = gate(config, files=FILES, **dict(dict(origin=1), **names))
    g.wrap = None
    return g


def start_tls(gate, handler, **names):
    needs("tls")
    g = start(gate, handler, "tls = one", f"[tls one]\ncertificate = {PEM}\nwatch = off\nloose_keys = yes",
              **names)
    context = ssl.create_default_context(cafile=PEM)
    context.set_alpn_protocols(["h2"])
    g.wrap = lambda s: context.wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False)
    return g


def origin():
    o = Origin()
    threading.Thread(target=o.serve_forever, daemon=True).start()
    return o.port


STATIC, FORWARD = "static\nroot = {files}", "forward\nupstream = u"


def test_in_clear_text(gate):
    conformance(start(gate, STATIC), WHOLE, FRAMES, BYTES)


def test_over_tls(gate):
    conformance(start_tls(gate, STATIC), FRAMES)


def test_forwarded(gate):
    conformance(start(gate, FORWARD, origin=origin()), WHOLE, FRAMES)


def test_forwarded_over_tls(gate):
    conformance(start_tls(gate, FORWARD, origin=origin()), WHOLE)


def write_files():
    os.chmod(FILES, 0o755)
    with open(os.path.join(FILES, "index.html"), "w") as f:
        f.write("the root, and a few words more\n")
    if shutil.which("openssl"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                        "-days", "2", "-keyout", PEM + ".key", "-out", PEM], check=True, capture_output=True)
        with open(PEM, "a") as f, open(PEM + ".key") as key:
            f.write(key.read())


if __name__ == "__main__":
    write_files()
    main([t for n, t in list(globals().items()) if n.startswith("test_")], at_once=2,
         after=lambda: shutil.rmtree(FILES, ignore_errors=True))
