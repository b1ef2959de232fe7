#!/usr/bin/env python3
"""Trailers of requests: from HTTP/1 and HTTP/2 clients to HTTP/1 and HTTP/2 origins."""
import hashlib

from harness import Skip, main, needs, parse_response, same, true
from h2client import PROTOCOL, Client, data, headers, post
from origin import Origin

try:
    from h2origin import H2Origin
except ImportError:
    H2Origin = None

CONFIG = """
[server]
workers = 1
access_log = {dir}/access.log
[listener a]
listen = 127.0.0.1:{port}
max_header = 2k
max_request_line = 1k
[upstream one]
server = 127.0.0.1:{one}
[upstream two]
server = {two}
[route one]
path = /one/*
strip_prefix = /one
handler = forward
upstream = one
[route two]
path = /two/*
strip_prefix = /two
handler = forward
upstream = two
[route here]
path = /here
handler = respond
"""

# What may go on, and what may not (RFC 9110, 6.5.1, and 7.6.1 for what Connection names).
GOOD = [("x-sum", "abc"), ("grpc-status", "0")]
BAD = [("authorization", "Basic eA=="), ("host", "b"), ("content-length", "3"), ("set-cookie", "a=b"),
       ("x-forwarded-for", "192.0.2.66"), ("x_forwarded_for", "192.0.2.66"), ("x-request-id", "mine"),
       ("cache-control", "no-cache"), ("x-named", "1")]


def start(gate):
    one = Origin()
    two = None
    try:
        needs("http/2")
        two = H2Origin and H2Origin()
    except Skip:
        pass
    g = gate(CONFIG, one=one.port, two=f"h2c://127.0.0.1:{two.port}" if two else f"127.0.0.1:{one.port}")
    return g, [to for to, o in (("one", one), ("two", two)) if o]


def told(content):
    """The trailers the origin tells of."""
    return [tuple(l[8:].lower().split(": ", 1)) for l in content.decode().splitlines()
            if l.startswith("trailer ")]


def by_h1(g, to, trailers, content=b"x" * 5000, head="", path="/a", method="POST"):
    text = "".join(f"{n}: {v}\r\n" for n, v in trailers)
    return parse_response(g.say(
        f"{method} /{to}{path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{head}"
        "Connection: close\r\n\r\n".encode() +
        b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(content), content, text.encode())))


def by_h2(g, to, trailers, content=b"x" * 5000, path="/a", **fields):
    with Client(g.port) as c:
        c.send(headers(1, post(f"/{to}{path}", **fields), end=False), data(1, content),
               headers(1, trailers))
        c.wait(1)
        return c.status.get(1), c.resets.get(1), c.content.get(1, b"")


def test_they_reach_the_origin_behind_the_content(gate):
    g, origins = start(gate)
    digest = hashlib.sha256(b"x" * 5000).hexdigest().encode()
    for to in origins:
        status, _, content = by_h1(g, to, GOOD + [t for t in BAD if t[0] != "x-named"])
        same((status, told(content)), (200, GOOD), to)
        true(digest in content or b"content 5000" in content, content)
        status, _, content = by_h1(g, to, GOOD + BAD, head="Connection: x-named\r\n")
        same((status, told(content)), (200, GOOD), to)
        status, _, content = by_h1(g, to, [])
        same((status, told(content)), (200, []), to)
        same(g.get(f"/{to}/a", method="POST", body=b"abc")[0], 200)


def test_they_come_from_http2_too(gate):
    needs("http/2")
    g, origins = start(gate)
    allowed = [t for t in BAD if t[0] not in ("host", "x-named")]
    for to in origins:
        for content in (b"", b"x" * 5000):
            status, reset, said = by_h2(g, to, GOOD + allowed, content)
            same((status, reset, told(said)), (200, None, GOOD), to)
        # Of a known length: HTTP/2 can say both, HTTP/1 has no place for them.
        status, reset, said = by_h2(g, to, GOOD, content_length="5000")
        same((status, told(said)), (200, GOOD if to == "two" else []), to)


def test_they_are_held_to_the_limits_of_heads(gate):
    g, origins = start(gate)
    long = [("x-long", "y" * 3000)]
    for to in origins:
        for trailers, want in ((long, 431), ([(f"x-{i}", "1") for i in range(101)], 431),
                               ([("x y", "1")], 400), ([("x", "1\x01")], 400), ([("x", "1\r\n 2")], 400)):
            same(by_h1(g, to, trailers)[0], want, (to, trailers[0]))
        same(g.get(f"/{to}/a")[0], 200)


def test_over_http2_too(gate):
    needs("http/2")
    g, origins = start(gate)
    for to in origins:
        for trailers in ([("x-long", "y" * 3000)], [(":path", "/")], [("X-Upper", "1")],
                         [("connection", "x")], [("transfer-encoding", "chunked")], [("te", "gzip")]):
            status, reset, _ = by_h2(g, to, trailers)
            same((status, reset), (None, PROTOCOL), (to, trailers))


def test_te_says_who_may_get_some_back(gate):
    g, origins = start(gate)
    for to in origins:
        _, _, content = g.get(f"/{to}/a", fields="TE: trailers\r\nConnection: TE\r\n")
        true(b"te: trailers" in content.lower(), content)
        _, _, content = g.get(f"/{to}/a", fields="TE: gzip;q=0.5, trailers\r\n")
        true(b"te: trailers" in content.lower() and b"gzip" not in content, content)
        _, _, content = g.get(f"/{to}/a")
        true(b"trailers" not in content, content)
    _, _, content = g.get("/one/a", fields="TE: trailers\r\n")
    true(b"Connection: TE\n" in content, content)


def test_a_try_that_failed_takes_them_along(gate):
    g, origins = start(gate)
    status, _, content = by_h1(g, "one", GOOD, path="/reset-once/x", method="PUT")
    same((status, told(content)), (200, GOOD))
    if "two" in origins:
        status, _, content = by_h1(g, "two", GOOD, path="/refuse-once/x")
        same((status, content), (200, b"at last"))


if __name__ == "__main__":
    main([t for name, t in sorted(globals().items()) if name.startswith("test_")], at_once=4)
