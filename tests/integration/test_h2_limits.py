#!/usr/bin/env python3
"""The limits of HTTP/2, by frames written by hand: what is announced, when it is enough, and that
whoever floods us or takes nothing is no burden to a client beside it."""
import os
import select
import threading
import time

from h2client import (CALM, CANCEL, END, END_HEADERS, HEADERS, MORE, NO_ERROR, PREFACE, PROTOCOL, REFUSED,
                      SETTINGS, WINDOW, Client, Companion, Ended, data, ends, frame, get, headers, number, pack,
                      ping, post, priority, rst, settings, window)
from harness import main, needs, same, true, wait_for
from origin import Origin

CONFIG = """
[server]
workers = 1
access_log = {dir}/access.log format=json
{server}
[listener a]
listen = 127.0.0.1:{port}
{listener}
[upstream u]
server = 127.0.0.1:{origin}
[route hello]
path = /hello
handler = respond
body = fine
[route all]
handler = forward
upstream = u
max_body = off
body_min_rate = off
"""
MAX_STREAMS, WINDOW_SIZE = 3, 4
LONG = "HG_LONG" in os.environ
BAR = 0.05  # the other client's p99, in seconds
ATTEMPTS = 8
SECONDS = 2 if LONG else 0.15  # of each flood


def start(gate, listener="", server=""):
    needs("http/2")
    origin = Origin()
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    return gate(CONFIG, origin=origin.port, listener=listener, server=server)


# --- what is announced ----------------------------------------------------------------------


def test_what_is_announced(gate):
    for more, streams, size in (("", 128, 256 << 10), ("h2_max_streams = 7\nh2_window = 64k", 7, 64 << 10)):
        for place in ("server", "listener"):
            g = start(gate, **{place: more})
            with Client(g.port) as c:
                c.until(SETTINGS)
                same((c.settings.get(MAX_STREAMS), c.settings.get(WINDOW_SIZE, 65535)), (streams, size), more)
            g.end_now()


def test_h2c_can_be_refused(gate):
    g = start(gate, "h2c = no")
    with g.connect() as s:
        s.sendall(PREFACE + settings())
        true(s.recv(100).startswith(b"HTTP/1.1 505"), "it speaks HTTP/1 only")


def test_more_streams_than_allowed_are_refused(gate):
    g = start(gate, "h2_max_streams = 5")
    with Client(g.port) as c:
        c.send(*[headers(1 + 2 * i, get("/silent")) for i in range(7)])
        c.wait(11, 13)
        same(c.resets, {11: REFUSED, 13: REFUSED}, "the last two")
        c.send(rst(1))
        same(c.ask(15, get("/hello")), (200, b"fine"), "one has made room")


def limited(gate, setting, cause, make):
    """Below the limit the connection stays; above it, it is told to calm down."""
    g = start(gate, setting)
    with Client(g.port) as c:
        c.send(*[make(i) for i in range(5)], ping(b"still up"))
        while c.next()[3] != b"still up":
            pass
        c.send(*[make(i) for i in range(5, 50)])
        same(ends(c), CALM, setting)
    true(g.counted()[cause] >= 1, cause)


def test_h2_resets(gate):
    limited(gate, "h2_resets = 10/10s", "h2_reset_flood",
            lambda i: headers(2 * i + 1, get("/silent")) + rst(2 * i + 1))


def test_h2_control(gate):
    limited(gate, "h2_control = 20/10s", "h2_control_flood", lambda i: ping(b"%08d" % i))


# --- slowness -------------------------------------------------------------------------------


def fill(c, stream):
    """Sends content for as long as the windows let us; how much."""
    left, sent = {stream: c.settings[WINDOW_SIZE], 0: 65535}, 0
    c.s.settimeout(1.5)
    try:
        while True:
            while (n := min(16384, *left.values())) > 0:
                c.send(data(stream, b"x" * n))
                left = {s: have - n for s, have in left.items()}
                sent += n
            kind, _, s, payload = c.next()
            if kind == WINDOW and s in left:
                left[s] += int.from_bytes(payload, "big")
    except TimeoutError:
        c.s.settimeout(5)
        return sent


def test_a_slow_stream_holds_up_nobody(gate):
    g = start(gate)
    with Client(g.port, first=settings((4, 1000))) as c:
        c.automatic = False
        c.until(SETTINGS)
        c.send(headers(1, post("/hold/20000"), False))  # who reads nothing meanwhile
        true(fill(c, 1) >= 256 << 10, "as much as the gateway and the system have room for")
        c.send(headers(3, get("/large/2000000")), window(0, 1 << 24))
        while len(c.content.get(3, b"")) < 1000:
            c.next()
        for s in range(5, 105, 2):
            same(c.ask(s, get("/hello")), (200, b"fine"), s)
        same(len(c.content[3]), 1000, "no more than its window")
        before = g.rss_kib()
        c.send(window(3, 1 << 24))
        c.wait(3)
        same(len(c.content[3]), 2000000, "then all of it")
        true(g.rss_kib() - before < 4096, "no memory grew")


def stalled(c):
    """What a connection says in the end that has not got beyond its preface."""
    c.s.settimeout(5)
    try:
        return c.s.recv(100)
    except OSError as e:
        return e


def test_stalled_beginnings_end(gate):
    g = start(gate, "header_timeout = 1s\nkeepalive_timeout = 1s")
    began = time.monotonic()
    with Client(g.port, hello=False) as half, Client(g.port, hello=False) as bare, \
            Client(g.port) as section, Client(g.port) as idle:
        bare.acknowledges = False  # which would be a wrong beginning, if it came in time
        half.send(PREFACE[:20])
        bare.send(PREFACE)
        section.until(SETTINGS)
        section.send(headers(1, more=True))
        true(stalled(half).startswith(b"HTTP/1.1 408"), "half a preface")
        same(ends(bare), PROTOCOL, "no SETTINGS")
        same(ends(section), CALM, "half a field section")
        same(ends(idle), NO_ERROR, "idle")
    true(0.8 < time.monotonic() - began < 6, "each after a second")
    counted = g.counted()
    same((counted["header_timeout"], counted["keepalive_timeout"]), (3, 1))


# --- and a client beside it -----------------------------------------------------------------


def waited(other, what, seconds):
    """Does what() for some time; p99 of what the other client waited meanwhile, and of how many."""
    other.lap()
    end = time.monotonic() + seconds
    what()
    while time.monotonic() < end:
        what()
    return other.lap()


def beside(other, name, what):
    """What the other client noticed of what().  Other work on the machine may hold that up too: of a
    few attempts one has to be good, or not worse by much than beside somebody who only takes time from
    the processors; and in none may a request fail."""
    bar = BAR
    for attempt in range(ATTEMPTS):
        if attempt:
            bar = max(BAR, 6 * waited(other, lambda: None, SECONDS)[0])
        p99, count, failed = waited(other, what, SECONDS * (attempt + 1))
        true(not failed, f"{name}: another client: {failed}")
        if p99 < bar and count > 10:
            break
    print(f"# {name}: the other client's p99 was {p99 * 1000:.1f} ms of {count}", flush=True)
    true(p99 < bar and count > 10, f"{name}: another client waited {p99:.3f} s, {ATTEMPTS} times, of {count}")


def take(c, before=None):
    """Whatever has come; False: the end."""
    while select.select([c.s], [], [], 0)[0]:
        c.next()
    return not c.goaways


def attack(g, make, first):
    """Sends make(i) until the connection ends; the code of the GOAWAY."""
    with Client(g.port, first=settings(*first), seconds=20) as c:
        c.automatic = False
        c.until(SETTINGS)
        try:
            for i in range(5000):
                c.send(make(i))
                if not take(c):
                    break
        except (Ended, OSError):
            pass  # it may have gone while we sent: what it said before is still to be read
        try:
            while not c.goaways:
                c.next()
        except (Ended, OSError):
            pass
        return c.goaways[-1][1] if c.goaways else None


def opened(i):
    return headers(2 * i + 1, post("/hello"), False)


def begun(i, fragment):
    """A field section's first frame, then its CONTINUATIONs."""
    return headers(1, more=True) if i == 0 else frame(MORE, 0, 1, fragment)


RESETS, CONTROL, SECTIONS = "h2_reset_flood", "h2_control_flood", "h2_header_flood"
BOMB = b"\x40\x01a\x7f\x81\x1e" + b"b" * 3968 + b"\xbe" * 12000  # one entry, many times
FLOODS = [
    ("rapid reset (CVE-2023-44487)", RESETS, lambda i: opened(i) + rst(2 * i + 1)),
    ("rapid reset, forwarded", RESETS, lambda i: headers(2 * i + 1, get("/silent")) + rst(2 * i + 1)),
    ("made you reset (CVE-2025-8671)", RESETS, lambda i: opened(i) + window(2 * i + 1, 0)),
    ("made you reset by overflow", RESETS, lambda i: opened(i) + window(2 * i + 1, 0x7fffffff)),
    ("made you reset by HEADERS", RESETS, lambda i: opened(i) + headers(2 * i + 1, end=False)),
    ("made you reset by DATA", RESETS, lambda i: headers(2 * i + 1, post("/echo")) + data(2 * i + 1, b"x")),
    ("made you reset by PRIORITY", RESETS, lambda i: opened(i) + priority(2 * i + 1, on=2 * i + 1)),
    ("malformed", RESETS, lambda i: headers(2 * i + 1, get(X="y"))),
    ("CONTINUATION (CVE-2024-27316)", SECTIONS, lambda i: begun(i, pack([("a", "b" * 50)]))),
    ("empty CONTINUATION", SECTIONS, lambda i: begun(i, b"")),
    ("empty DATA", CONTROL, lambda i: headers(1, post("/silent"), False) if i == 0 else data(1)),
    ("PING", CONTROL, lambda i: ping()),
    ("SETTINGS", CONTROL, lambda i: settings((4, 1 << 20))),
    ("SETTINGS of many", CONTROL, lambda i: settings(*[(4, 1 << 20)] * 2000)),
    ("PRIORITY", CONTROL, lambda i: priority(1, on=3)),
    ("PRIORITY_UPDATE", CONTROL, lambda i: frame(16, 0, 0, number(1) + b"u=1")),
    ("unknown frames", CONTROL, lambda i: frame(0xfa, 0, 0, b"x" * 100)),
    ("tiny WINDOW_UPDATE", CONTROL, lambda i: window(0, 1)),
    ("HPACK bomb", SECTIONS, lambda i: frame(HEADERS, END | END_HEADERS, 2 * i + 1, BOMB)),
    ("field section bomb", SECTIONS,
     lambda i: begun(i, pack([(f"x{n}", "y" * 4000) for n in range(4)]))),
]


def test_floods_end_and_others_do_not_notice(gate):
    g = start(gate)
    other = Companion(g.port)
    beside(other, "no flood", lambda: time.sleep(0.3))
    descriptors = g.descriptors()
    ended = {}
    for name, cause, make in FLOODS:
        def flood():
            same(attack(g, make, [(4, 1 << 20)]), CALM, name)
            ended[cause] = ended.get(cause, 0) + 1
        beside(other, name, flood)
    other.stop()
    true(wait_for(lambda: g.descriptors() < descriptors), "nothing is left open")
    counted = g.counted()
    for cause, times in ended.items(): # and streams that ended with it
        true(counted[cause] >= times, f"{cause} {counted[cause]}, {times} connections")


test_floods_end_and_others_do_not_notice.alone = True


def window_of_one(g):
    """Answers a byte at a time, which have to be asked for one by one: that is a flood, too."""
    with Client(g.port, first=settings((4, 1)), seconds=20) as c:
        c.automatic = False
        c.until(SETTINGS)
        c.send(*[headers(s, get("/large/1000000")) for s in range(1, 101, 2)])
        try:
            for _ in range(5000):
                c.send(*[window(s, 1) for s in range(1, 101, 2) if s in c.content])
                if not take(c):
                    break
                time.sleep(0.001)
        except (Ended, OSError):
            pass
        same(ends(c), CALM, "a window of one")


def test_who_takes_nothing_or_little_is_cut_and_others_do_not_notice(gate):
    g = start(gate, "write_timeout = 1s\nheader_timeout = 1s")
    other = Companion(g.port)

    def no_window():
        with Client(g.port, first=settings((4, 0))) as c:
            c.send(*[headers(s, get("/large/1000000")) for s in range(1, 41, 2)])
            c.wait(*range(1, 41, 2))
            same(set(c.resets.values()), {CANCEL}, "all were")
            c.send(settings((4, 65535)))
            same(c.ask(41, get("/hello")), (200, b"fine"), "the connection goes on")

    def no_preface():
        many = [Client(g.port, hello=False) for _ in range(50)]
        for i, c in enumerate(many):
            c.send(PREFACE[:i // 2])
        for i, c in enumerate(many):
            said = stalled(c)
            true(not isinstance(said, OSError), f"{i}: {said}")
            c.s.close()

    beside(other, "a window of one", lambda: window_of_one(g))
    beside(other, "no window", no_window)
    beside(other, "half a preface", no_preface)
    other.stop()
    counted = g.counted()
    silent = counted["header_timeout"] + counted.get("keepalive_timeout", 0)  # of whom no byte had come
    true(counted["write_timeout"] >= 20 and silent >= 48, counted)
    true(counted["h2_control_flood"] >= 1, counted)
    true(g.read("access.log").count('"cause":"write_timeout"') >= 20, "and logged")


test_who_takes_nothing_or_little_is_cut_and_others_do_not_notice.alone = True


if __name__ == "__main__":
    main([t for n, t in sorted(globals().items()) if n.startswith("test_")], at_once=4)
