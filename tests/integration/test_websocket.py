#!/usr/bin/env python3
"""WebSockets between HTTP/1 and HTTP/2 (RFC 6455, RFC 8441), whoever speaks which."""
import base64
import json
import os
import time

from harness import Skip, main, needs, parse_response, same, true, wait_for
from h2client import PROTOCOL, SETTINGS, Client, data, get, headers
from origin import Origin, websocket_accept

try:
    from h2origin import H2Origin
except ImportError:
    H2Origin = None

CONNECTS = (8, 1)  # SETTINGS_ENABLE_CONNECT_PROTOCOL

CONFIG = """
[server]
workers = 1
access_log = {dir}/access.log
[listener a]
listen = 127.0.0.1:{port}
[upstream one]
server = 127.0.0.1:{one}
idle_timeout = 2s
[upstream two]
server = h2c://127.0.0.1:{two}
idle_timeout = 2s
first_byte_timeout = 10s
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
upgrade = websocket, other
"""


def start(gate, *settings):
    needs("http/2")
    if not H2Origin:
        raise Skip("python3-hpack is not installed")
    two = H2Origin(*(settings or (CONNECTS,)))
    return gate(CONFIG, one=Origin().port, two=two.port), two


def upgrade(g, path, key="dGhlIHNhbXBsZSBub25jZQ==", token="websocket", more=""):
    """As HTTP/1 asks: the connection, the answer's head, what came behind it."""
    s = g.connect()
    key = f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n" if key else ""
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {token}\r\n{key}{more}"
              "\r\n".encode())
    said = b""
    while b"\r\n\r\n" not in said:
        piece = s.recv(4096)
        if not piece:
            break
        said += piece
    return s, *parse_response(said)


def echoes(s, size):
    """Piece by piece: the origin that speaks HTTP/2 looks at no window."""
    sent, got = os.urandom(size), b""
    for at in range(0, size, 20_000):
        s.sendall(sent[at:at + 20_000])
        while len(got) < min(size, at + 20_000):
            piece = s.recv(1 << 16)
            true(piece, "it ended")
            got += piece
    true(got == sent, "not what was sent")


def connect(path, protocol="websocket", **more):
    return [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", path),
            (":authority", "a"), ("sec-websocket-version", "13")] + list(more.items())


def test_from_http1(gate):
    g, two = start(gate)
    key = base64.b64encode(os.urandom(16)).decode()
    for to in ("one", "two"):
        for round in range(2):
            s, status, fields, _ = upgrade(g, f"/{to}/switch/websocket", key)
            same(status, 101, to)
            same((fields["upgrade"], fields["connection"].lower()), ("websocket", "upgrade"), to)
            same(fields["sec-websocket-accept"], websocket_accept(key), to)
            for size in (1, 1000, 200_000):
                echoes(s, size)
            if round == 0:
                time.sleep(2.3)  # longer than what is not a tunnel may be silent
                echoes(s, 10)
            s.close()
    fields = dict(two.seen[0].fields)
    same((fields[":method"], fields[":protocol"], fields[":path"], fields[":scheme"], fields[":authority"]),
         ("CONNECT", "websocket", "/switch/websocket", "http", "a"))
    for name in ("sec-websocket-key", "upgrade", "connection", "host"):
        true(name not in fields, name)
    same(fields["sec-websocket-version"], "13")
    same(two.connections, 1)
    true(wait_for(lambda: sum(t.ended for t in two.seen) + len(two.resets) == 2),
         "the origin is not told that the client left")


def test_content_of_no_length_is_none(gate):
    g, two = start(gate)
    s, status, fields, _ = upgrade(g, "/one/switch/websocket", more="Content-Length: 0\r\n")
    same(status, 101)
    echoes(s, 100)
    s.close()
    s, status, _, _ = upgrade(g, "/one/hello", more="Content-Length: 1\r\n\r\nx")
    same(status, 200, "with content it is a request like others")
    s.close()


def test_from_http2(gate):
    g, two = start(gate)
    with Client(g.port) as c:
        c.until(SETTINGS)
        for i, to in enumerate(("one", "two")):
            stream = 1 + 4 * i
            c.send(headers(stream, connect(f"/{to}/switch/websocket"), end=False))
            while stream not in c.status and stream not in c.resets:
                c.next()
            same(c.status.get(stream), 200, to)
            for name in ("upgrade", "connection", "sec-websocket-accept"):
                true(name not in dict(c.fields[stream]), (to, c.fields[stream]))
            sent = os.urandom(50_000)
            for at in range(0, len(sent), 10_000):
                c.send(data(stream, sent[at:at + 10_000]))
                while len(c.content.get(stream, b"")) < at + 10_000:
                    c.next()
            true(c.content[stream] == sent, to)
            same(c.ask(stream + 2, get(f"/{to}/hello"))[0], 200, "others beside it")
            c.send(data(stream, b"", end=True))
            c.wait(stream)
            true(stream in c.ended, (to, c.resets))
    true("sec-websocket-key" not in dict(two.seen[0].fields), two.seen[0].fields)


def test_what_is_sent_before_there_is_a_tunnel_ends_its_stream(gate):
    g, two = start(gate)
    with Client(g.port) as c:
        c.until(SETTINGS)
        for stream, to in ((1, "one"), (5, "two")):
            c.send(headers(stream, connect(f"/{to}/switch/websocket"), end=False), data(stream, b"early"))
            while stream not in c.status and stream not in c.resets:
                c.next()
            same((c.resets.get(stream), stream in c.status), (PROTOCOL, False), to)
            same(c.ask(stream + 2, get(f"/{to}/hello"))[0], 200, "others beside it")
    same(causes(g).count("h2_malformed"), 2)


def test_subprotocols_go_both_ways(gate):
    g, two = start(gate)
    s, status, fields, _ = upgrade(g, "/two/switch/websocket", more="Sec-WebSocket-Protocol: chat\r\n")
    same((status, fields.get("sec-websocket-protocol")), (101, "chat"))
    s.close()
    s, status, fields, _ = upgrade(g, "/two/switch/other", key="", token="other")
    same((status, fields["upgrade"], fields.get("sec-websocket-accept")), (101, "other", None))
    echoes(s, 100)
    s.close()


def causes(g):
    g.stop()
    return [json.loads(l).get("cause") for l in g.read("access.log").splitlines()]


def test_what_is_no_tunnel_is_never_taken_for_one(gate):
    g, two = start(gate)
    with Client(g.port) as c:
        c.until(SETTINGS)
        for stream, fields, status in (
                (1, connect("/one/hello"), 502),            # HTTP/1 answered 200, not 101
                (3, connect("/one/switch/other"), 502),     # switched to something else
                (5, connect("/one/switch/websocket/wrong"), 502),  # did not understand our key
                (7, connect("/two/hello"), 403),            # HTTP/2 refused: as it is
                (9, connect("/one/hello", "h3"), 501),      # never asked for
                (11, connect("/two/hello", "h3"), 501)):
            c.send(headers(stream, fields, end=False))
            c.wait(stream)
            same(c.status.get(stream), status, fields)
    s, status, fields, _ = upgrade(g, "/two/hello")
    same(status, 403)
    s.close()
    s, status, fields, _ = upgrade(g, "/one/hello")  # an origin may ignore it (RFC 9110, 7.8)
    same(status, 200)
    s.close()
    same(causes(g), ["upstream_upgrade_refused"] * 3 + [None] + ["upgrade_not_allowed"] * 2 + [None] * 2)


def test_an_origin_that_takes_no_connect_is_not_sent_one(gate):
    g, two = start(gate, (3, 100))
    with Client(g.port) as c:
        c.until(SETTINGS)
        c.send(headers(1, connect("/two/switch/websocket"), end=False))
        c.wait(1)
        same(c.status.get(1), 502)
    same(two.requests, 0)
    s, status, fields, _ = upgrade(g, "/two/switch/websocket")  # a GET, like any other
    same(status, 200)
    s.close()
    same([dict(t.fields)[":method"] for t in two.seen], ["GET"])
    same(set(causes(g)), {"upstream_upgrade_refused", None})  # in either order


if __name__ == "__main__":
    main([t for name, t in sorted(globals().items()) if name.startswith("test_")], at_once=4)
