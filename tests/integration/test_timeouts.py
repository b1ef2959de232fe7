#!/usr/bin/env python3
"""How long a forwarded request may take, and who is told."""
import time

from harness import main, read_all, read_response, same, true, wait_for
from h2client import Client, get, headers
from origin import reset
from test_causes import full_port
from passing import checked, heard, log, needs_hpack, says, start


def late(g, path, cause, fields="", least=0.3):
    began = time.monotonic()
    status, said, _ = g.get(path, fields=fields)
    took = time.monotonic() - began
    same(status, 504, cause)
    true(cause in said.get("proxy-status", ""), f"{cause}: {said}")
    true(least - 0.05 <= took < least + 2, f"{cause} after {took:.2f} s")


def test_every_timeout_has_its_own_name(gate):
    with full_port() as full:
        g, a, b = start(gate, full=full, upstream="first_byte_timeout = 800ms\nidle_timeout = 800ms",
                        more="[route full]\npath = /full\nhandler = forward\nupstream = full\n"
                             "[route one]\npath = /one/*\nhandler = forward\nstrip_prefix = /one\n"
                             "upstream = one\nfirst_byte_timeout = 3s\ntries = 1\n"
                             "[route whole]\npath = /whole/*\nhandler = forward\n"
                             "strip_prefix = /whole\nupstream = api\ntimeout = 300ms\n"
                             "first_byte_timeout = 2s\n")
        late(g, "/full", "upstream_connect_timeout")
        late(g, "/silent", "upstream_head_timeout", least=0.8)
        late(g, "/whole/silent", "upstream_timeout")
        same(g.get("/stall")[0], 200)
        with g.connect() as s:
            s.sendall(b"GET /one/hold/2000 HTTP/1.1\r\nHost: a\r\n\r\n")
            true(wait_for(lambda: a.held == 1))
            late(g, "/one/x", "queue_timeout")
        names = ["upstream_connect_timeout", "upstream_head_timeout", "upstream_timeout",
                 "upstream_idle_timeout", "queue_timeout"]
        counted = g.counted()
        same([counted.get(n) for n in names], [1] * 5)
        same(sorted(r["cause"] for r in log(g) if r["target"] != "/one/hold/2000"), sorted(names))


def test_the_whole_has_a_time_in_a_queue_and_while_connecting(gate):
    with full_port() as full:
        g, a, b = start(gate, of="one", full=full, route="timeout = 800ms", queue="20s",
                        more="[route hold]\npath = /hold/{ms}\nhandler = forward\nupstream = one\n"
                             "[route full]\npath = /full\nhandler = forward\nupstream = full\n"
                             "timeout = 150ms\n")
        late(g, "/full", "upstream_timeout", least=0.15)
        with g.connect() as s:
            s.sendall(b"GET /hold/3000 HTTP/1.1\r\nHost: a\r\n\r\n")
            true(wait_for(lambda: a.held == 1))
            late(g, "/x", "upstream_timeout", least=0.8)
            same(read_response(s)[0], 200)
        same(g.get("/x")[0], 200)


def test_a_response_is_cut_when_its_time_is_over(gate):
    """And one that is in time is not, however slow."""
    g, a, b = start(gate, route="timeout = 1s")
    with g.connect() as s:
        began = time.monotonic()
        s.sendall(b"GET /stall HTTP/1.1\r\nHost: a\r\n\r\n")
        got = read_all(s)
        true(got.endswith(b"only this") and 0.9 < time.monotonic() - began < 6, got)
    same(g.get("/chunked")[2], b"piece0piece1piece2piece3piece4")
    with g.connect() as s: # each has a time of its own
        for _ in range(4):
            s.sendall(b"GET /hold/400 HTTP/1.1\r\nHost: a\r\n\r\n")
            same(read_response(s)[0], 200)
    same([r.get("cause") for r in log(g)], ["upstream_timeout"] + [None] * 5)


def test_a_tunnel_outlives_the_timeout(gate):
    g, a, b = start(gate, route="timeout = 300ms")
    with g.connect() as s:
        s.sendall(b"GET /switch/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                  b"Upgrade: websocket\r\n\r\n")
        true(s.recv(1000).startswith(b"HTTP/1.1 101"))
        time.sleep(0.8)
        s.sendall(b"still there")
        same(s.recv(100), b"still there")


def test_the_whole_has_a_time_over_http2(gate):
    needs_hpack()
    g, a, b = start(gate, route="timeout = 1500ms")
    with Client(g.port) as c:
        c.send(headers(1, get("/silent")), headers(3, get("/stall")), headers(5, get("/chunked")))
        c.wait(1, 3, 5)
        same((c.status[1], c.status[3], c.status[5]), (504, 200, 200))
        true(3 in c.resets and 5 not in c.resets, c.resets)


def test_the_origin_is_told_how_much_time_is_left(gate):
    """Anew at each try; whatever the client says."""
    g, a, b = start(gate, route="timeout = 5s\ndeadline_header = X-Time-Left\n"
                                "request_header = set X-Time-Left 1")
    fields = heard(g.get("/x", fields="X-Time-Left: 99999999\r\nx_time_left: 9\r\n"
                                      "grpc-timeout: 1S\r\n")[2])
    same([len(fields.get(n, [])) for n in ("x-time-left", "x_time_left")], [1, 0])
    true(4000 < int(fields["x-time-left"][0]) <= 5000, fields)
    same(fields["grpc-timeout"], ["1S"])

    left = []

    def first_resets(h):
        left.append(int(h.fields["x-time-left"]))
        if len(left) == 1:
            time.sleep(0.3)
            reset(h.request)
            raise ConnectionError
    a.ill = first_resets
    same(g.get("/x")[0], 200)
    true(len(left) == 2 and 250 <= left[0] - left[1] < 2000, left)


def test_a_copy_is_told_as_much(gate):
    g, a, b = start(gate, route="timeout = 5s\ndeadline_header = X-Left\nmirror = api-canary 100%")
    told = []

    def hears(h):
        told.append(h.fields["x-left"])
        return False
    b.ill = hears
    same(g.get("/x")[0], 200)
    true(wait_for(lambda: told) and 4000 < int(told[0]) <= 5000, told)


def test_a_deadline_is_checked(gate):
    same(checked("upstream = api\ntimeout = 1s\ndeadline_header = X-Left\n")[0], 0)
    same(checked("upstream = api\ntimeout = off\ndeadline_header = off\n")[0], 0)
    says("upstream = api\ndeadline_header = X-Left\n", "there is no timeout to tell of")
    says("upstream = api\ntimeout = 1s\ndeadline_header = Host\n", "Host has a meaning of its own")
    says("upstream = api\ntimeout = 1s\ndeadline_header = grpc-timeout\n", "not in milliseconds")
    says("upstream = api\ntimeout = 1us\n", "at least 1ms")


if __name__ == "__main__":
    main([t for n, t in list(globals().items()) if n.startswith("test_")], at_once=4)
