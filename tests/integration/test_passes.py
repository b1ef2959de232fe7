#!/usr/bin/env python3
"""What a forward route does on the way: which group, how long, what is told, what is gathered."""
import importlib.util
import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time

from harness import (HEADGATE, Skip, free_port, listening, main, needs, parse_response, read_all,
                     read_response, same, true, wait_for)
from h2client import Client, data, get, headers, post
from origin import Origin, reset
from origins import die_with_us, installed
from test_causes import full_port

CONFIG = """
[server]
workers = {workers}
access_log = {dir}/access.log
{server}
[listener a]
listen = 127.0.0.1:{port}
trusted = {trusted}
{listener}
[upstream api]
server = 127.0.0.1:{origin}
{upstream}
[upstream api-canary]
server = 127.0.0.1:{second}
{canary}
[upstream full]
server = 127.0.0.1:{full}
connect_timeout = 300ms
[upstream one]
server = 127.0.0.1:{origin} max_in_flight=1
queue = 8 timeout={queue}
[route all]
handler = forward
upstream = {of}
max_body = 64m
{route}
{more}
"""


def start(gate, **names):
    first, second = Origin(), Origin()
    empty = dict.fromkeys(("server", "listener", "upstream", "canary", "route", "more"), "")
    defaults = {"workers": 1, "trusted": "192.0.2.1", "of": "api", "full": 9, "queue": "300ms"}
    g = gate(CONFIG, origin=first.port, second=second.port, **{**empty, **defaults, **names})
    return g, first, second


def log(g):
    g.stop()
    return [json.loads(l) for l in g.read("access.log").splitlines()]


def needs_hpack():
    needs("http/2")
    if importlib.util.find_spec("hpack") is None:
        raise Skip("python3-hpack is not installed")


def heard(content):
    """The fields of the request that an origin has echoed, names in lower case."""
    pairs = (l.partition(": ")[::2] for l in content.decode().split("\n")[1:-1])
    fields = {}
    for name, value in pairs:
        fields.setdefault(name.lower(), []).append(value)
    return fields


def checked(text):
    """What headgate -t says."""
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as f:
        f.write("[listener a]\nlisten = 127.0.0.1:80\n[upstream api]\nserver = 127.0.0.1:1\n"
                "[upstream api-canary]\nserver = 127.0.0.1:2\n"
                "[route all]\nhandler = forward\n" + text)
        f.flush()
        done = subprocess.run([HEADGATE, "-t", "-c", f.name], capture_output=True, text=True)
        return done.returncode, (done.stdout + done.stderr).replace(f.name, "ini")


def says(text, want):
    code, said = checked(text)
    true(code != 0 and want in said, f"{want!r} is not in {said!r}")


# --- splits -----------------------------------------------------------------------------------

def test_requests_are_shared_out_by_weight(gate):
    """10.83 is what one degree of freedom exceeds once in a thousand; it is drawn anew each time,
    so twice that is allowed."""
    g, a, b = start(gate, of="api 80, api-canary 20", workers=2)
    n = 600
    for _ in range(6):
        with g.connect() as s:
            for _ in range(n // 6):
                s.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
                read_response(s)
    same(a.requests + b.requests, n)
    off = a.requests - n * 0.8
    true(off * off / (n * 0.8) + off * off / (n * 0.2) < 21.7, f"{a.requests} and {b.requests}")


def test_a_visitor_does_not_flip(gate):
    g, a, b = start(gate, of="api 50, api-canary 50", route="split_by = cookie who", workers=2)

    def side(who):
        before = a.requests
        g.get("/x", fields=f"Cookie: x=1; who={who}\r\n")
        return a.requests > before
    first = [side(i) for i in range(30)]
    same([side(i) for i in range(30)], first)
    true(0 < sum(first) < 30, first)
    g.stop()
    g.start()
    same([side(i) for i in range(30)], first, "after a restart")
    before = a.requests, b.requests
    for _ in range(40):
        g.get("/x", fields="Cookie: other=1\r\n")
    true(a.requests > before[0] and b.requests > before[1], "without the cookie it is by request")


def test_a_client_stays_with_its_address_or_its_field(gate):
    g, a, b = start(gate, of="api, api-canary", trusted="127.0.0.0/8", route="split_by = client_ip",
                    more="[route named]\npath = /named\nhandler = forward\nsplit_by = header X-User\n"
                         "upstream = api, api-canary\n")
    for path, field in (("/x", "X-Forwarded-For: 192.0.2.%d"), ("/named", "X-User: u%d")):
        sides = set()
        for i in range(24):
            got = set()
            for _ in range(3):
                before = a.requests
                g.get(path, fields=field % i + "\r\n")
                got.add(a.requests > before)
            same(len(got), 1, field % i)
            sides |= got
        same(sides, {True, False}, path)


def test_a_weight_of_0_gets_nothing_and_a_retry_stays_in_its_group(gate):
    g, a, b = start(gate, of="api 1, api-canary 0", upstream="retry_budget = off")
    for _ in range(20):
        g.get("/reset")
    same((a.requests, b.requests), (40, 0))
    same({(r["upstream"], r["tries"]) for r in log(g)}, {("api", 2)})


def test_a_split_is_checked_and_foreseen(gate):
    same(checked("upstream = api 95, api-canary 5\nsplit_by = cookie sid\n")[0], 0)
    says("upstream = api 95, api-canary 10001\n", 'ini:9:31: error: upstream: "10001": a weight is at most')
    says("upstream = api 95, api-canary x\n", 'ini:9:31: error: upstream: "x"')
    says("upstream = api 1 2\n", 'ini:9:18: error: upstream: "2"')
    says("upstream = api 1, api 2\n", 'ini:9:19: error: upstream: "api": it stands there twice')
    says("upstream = api 0, api-canary 0\n", "all weights are 0")
    says("upstream = api, api-canry\n", 'there is no [upstream api-canry]; did you mean "api-canary"?')
    for by, where in (("visitor", "12"), ("cookie", "12"), ("header", "12"), ("client_ip x", "22"),
                      ("cookie a b", "21"), ("header a:b", "19")):
        says(f"upstream = api\nsplit_by = {by}\n", f"ini:10:{where}: error: split_by: ")
    foreseen = "upstream = api 95, api-canary 5\n[test a]\nrequest = GET http://a/\nexpect_upstream = "
    same(checked(foreseen + "api-canary, api\n")[0], 0)
    says(foreseen + "api\n", 'expected "api", it is "api, api-canary"')
    same(checked(foreseen.replace(" 5", " 0") + "api\n")[0], 0)


def test_edits_know_the_group(gate):
    g, a, b = start(gate, of="api 0, api-canary", route="request_header = set X-Group ${upstream}\n"
                                                        "response_header = set X-Group ${upstream}")
    _, fields, content = g.get("/x")
    same((heard(content)["x-group"], fields["x-group"]), (["api-canary"], "api-canary"))


def test_what_was_set_is_read_back(gate):
    route = {"split_by": "cookie sid", "timeout": "1500ms", "deadline_header": "X-Left",
             "traceparent": "start", "buffer_request": "1m", "buffer_response": "64k"}
    text = "upstream = api 95, api-canary 5\n" + "".join(f"{k} = {v}\n" for k, v in route.items())
    with tempfile.TemporaryDirectory() as d:
        first, again = os.path.join(d, "a.ini"), os.path.join(d, "b.ini")
        with open(first, "w") as f:
            f.write("[listener a]\nlisten = 127.0.0.1:80\n[upstream api]\nserver = 127.0.0.1:1\n"
                    "[upstream api-canary]\nserver = 127.0.0.1:2\n[route all]\nhandler = forward\n" + text)
        said = subprocess.run([HEADGATE, "-T", "-c", first], capture_output=True, text=True).stdout
        for line in text.splitlines():
            true(line in said, f"{line} is not in {said}")
        with open(again, "w") as f:
            f.write(said)
        twice = subprocess.run([HEADGATE, "-T", "-c", again], capture_output=True, text=True).stdout
        plain = [[l for l in t.splitlines() if not l.startswith("#")] for t in (said, twice)]
        same(plain[0], plain[1])


# --- timeouts ---------------------------------------------------------------------------------

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


def test_a_rewrite_that_is_no_path_is_said(gate):
    for what in ("", "files/${uri}", "http://a/", "?a=b"):
        says(f'upstream = api\nrewrite = {what or chr(34) * 2}\n',
             "ini:10:11: error: rewrite: a path begins with /")
    for what in ("/", "/files${uri}", "${path}", "${header.x-path:-/none}"):
        same(checked(f"upstream = api\nrewrite = {what}\n")[0], 0, what)


# --- traces -----------------------------------------------------------------------------------

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
BAD = TRACE.replace("-00", "-0")


def test_traces_go_on_if_they_are_valid(gate):
    g, a, b = start(gate)
    for said, told in (([TRACE], [TRACE]), (["01" + TRACE[2:] + "-x"], ["01" + TRACE[2:] + "-x"]),
                       ([], None), ([BAD], None), ([TRACE.upper()], None), ([TRACE, TRACE], None)):
        fields = "".join(f"Traceparent: {t}\r\n" for t in said)
        got = heard(g.get("/x", fields=fields + "tracestate: a=1\r\nTraceState: b=2\r\n")[2])
        same((got.get("traceparent"), got.get("tracestate")),
             (told, ["a=1", "b=2"] if told else None), str(said))


def test_traces_are_begun_where_there_is_none(gate):
    g, a, b = start(gate, route="traceparent = start")
    seen = set()
    for fields in ("", f"traceparent: {BAD}\r\n", f"traceparent: {TRACE}\r\n" * 2, ""):
        got = heard(g.get("/x", fields=fields + "tracestate: a=1\r\n")[2])
        true(re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", got["traceparent"][0]), got)
        same((len(got["traceparent"]), got.get("tracestate")), (1, None))
        seen |= set(got["traceparent"])
    same(len(seen), 4)
    same(heard(g.get("/x", fields=f"traceparent: {TRACE}\r\n")[2])["traceparent"], [TRACE])


def test_traces_can_be_taken_away(gate):
    g, a, b = start(gate, route="traceparent = off")
    got = heard(g.get("/x", fields=f"traceparent: {TRACE}\r\ntracestate: a=1\r\n")[2])
    true("traceparent" not in got and "tracestate" not in got, got)


# --- requests that are gathered -----------------------------------------------------------------

def slow_upload(s, path, body, pieces, chunked=False, fields=""):
    """Yields before each piece."""
    size = (len(body) + pieces - 1) // pieces
    frame = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    s.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\n{fields}{frame}\r\n\r\n".encode())
    for i in range(0, len(body), size):
        yield i
        piece = body[i:i + size]
        s.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
    yield len(body)
    if chunked:
        s.sendall(b"0\r\n\r\n")


def content_line(body):
    import hashlib
    return f"content {len(body)} {hashlib.sha256(body).hexdigest()}".encode()


def test_a_slow_upload_is_all_there_before_an_origin_is_asked(gate):
    g, a, b = start(gate, route="buffer_request = 1m")
    for chunked in (False, True):
        body = os.urandom(700_000)
        before = a.connections, a.requests
        with g.connect() as s:
            for _ in slow_upload(s, "/x", body, 7, chunked):
                time.sleep(0.03)
                if _ < len(body):
                    same((a.connections, a.requests), before, f"asked at {_} bytes")
            true(read_response(s)[2].endswith(content_line(body)))
    same(g.get("/x", method="POST", body=b"short")[0], 200)


def test_more_than_is_gathered_streams(gate):
    g, a, b = start(gate, route="buffer_request = 64k")
    body = os.urandom(3_000_000)
    with g.connect() as s:
        for sent in slow_upload(s, "/x", body, 10, True):
            if sent >= 600_000:
                true(wait_for(lambda: a.requests == 1, 3), f"nobody is asked after {sent} bytes")
            elif sent == 0:
                same(a.connections, 0)
        true(read_response(s)[2].endswith(content_line(body)))


def test_who_waits_to_be_told_is_told_before_an_origin_is_asked(gate):
    g, a, b = start(gate, route="buffer_request = 64k")
    with g.connect() as s:
        s.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        same(s.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.05)
        same(a.connections, 0)
        s.sendall(b"hello")
        true(read_response(s)[2].endswith(content_line(b"hello")))


def test_what_is_gathered_has_its_limits_all_the_same(gate):
    """max_body, timeout, a client that ends too soon: no origin hears of it."""
    g, a, b = start(gate, route="buffer_request = 1m\ntimeout = 500ms",
                    more="[route small]\npath = /small\nhandler = forward\nupstream = api\n"
                         "buffer_request = 1m\nmax_body = 1k\n")
    answer = g.say(b"POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
                   b"800\r\n" + bytes(0x800) + b"\r\n0\r\n\r\n")
    same(parse_response(answer)[0], 413)
    with g.connect() as s:
        s.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        same(read_response(s)[0], 504)
    with g.connect() as s:
        s.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        s.shutdown(socket.SHUT_WR)
        same(read_response(s)[0], 400)
    same(a.connections, 0)
    same([r["cause"] for r in log(g)], ["content_too_large", "upstream_timeout", "client_truncated"])


def test_grpc_is_not_gathered(gate):
    g, a, b = start(gate, route="buffer_request = 1m")
    with g.connect() as s:
        s.sendall(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc+proto\r\n"
                  b"Content-Length: 1000\r\n\r\n" + b"x" * 10)
        same(read_response(s)[2], b"early")


def test_what_was_gathered_can_be_sent_again(gate):
    g, a, b = start(gate, upstream="retry_buffer = 2m", route="buffer_request = 1m")
    body = os.urandom(900_000)
    same(g.get("/reset-once/x", method="PUT", body=body)[2], content_line(body))


def test_a_stream_of_http2_is_gathered_beyond_its_window(gate):
    """While others of the connection go on."""
    needs_hpack()
    g, a, b = start(gate, route="buffer_request = 3m")
    body = os.urandom(2_500_000)
    with Client(g.port) as c:
        c.send(headers(1, post("/x", content_length=str(len(body))), end=False))
        sent, window = 0, {0: 65535, 1: 65535}
        asked = False
        while sent < len(body):
            n = min(16384, len(body) - sent, window[0], window[1])
            if n > 0:
                c.send(data(1, body[sent:sent + n], sent + n == len(body)))
                sent += n
                window[0] -= n
                window[1] -= n
                continue
            if not asked and sent > 1_500_000:
                asked = True
                same(a.requests, 0)
                c.send(headers(3, get("/chunked")))
            kind, _, stream, payload = c.next()
            if kind == 4 and not _ & 1: # SETTINGS
                for i in range(0, len(payload), 6):
                    if payload[i:i + 2] == b"\0\4":
                        window[1] += int.from_bytes(payload[i + 2:i + 6], "big") - 65535
            elif kind == 8 and stream in window:
                window[stream] += int.from_bytes(payload, "big")
        c.wait(1, 3)
        same((c.status[1], c.content[3]), (200, b"piece0piece1piece2piece3piece4"))
        true(c.content[1].endswith(content_line(body)))


def test_without_plenty_of_memory_nothing_is_gathered(gate):
    g, a, b = start(gate, route="buffer_request = 64m\nbuffer_response = 64m",
                    server="buffer_memory = 8m")
    body = os.urandom(12_000_000)
    with g.connect(seconds=20) as s:
        for sent in slow_upload(s, "/x", body, 24):
            if sent >= 9_000_000:
                true(wait_for(lambda: a.requests == 1, 5), "nobody is asked")
        true(read_response(s)[2].endswith(content_line(body)))
    n = 16_000_000
    with g.connect(seconds=20) as s:
        s.sendall(f"GET /large/{n} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        time.sleep(0.3)
        same(g.get("/x")[0], 200, "others are served meanwhile")
        same(len(read_all(s).partition(b"\r\n\r\n")[2]), n)


# --- responses that are gathered ----------------------------------------------------------------

def test_a_slow_client_does_not_hold_the_origin(gate):
    """Its connection is free for the next: else a second would be opened."""
    n = 12_000_000
    g, a, b = start(gate, route="buffer_response = 16m")
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        s.settimeout(20)
        s.connect(("127.0.0.1", g.port))
        s.sendall(f"GET /large/{n} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        true(wait_for(lambda: a.answered == 1, 60))
        time.sleep(0.7)  # and what is still in the system
        same((g.get("/x")[0], a.connections), (200, 1))
        content = read_all(s).partition(b"\r\n\r\n")[2]
    want = (bytes(range(256)) * (n // 256 + 1))[:n]
    true(content == want, f"{len(content)} of {n} bytes, or others")


def test_a_slow_stream_of_http2_does_not_hold_the_origin(gate):
    needs_hpack()
    n = 2_000_000
    g, a, b = start(gate, route="buffer_response = 4m")
    with Client(g.port) as c:
        c.automatic = False
        c.send(headers(1, get(f"/large/{n}")))
        true(wait_for(lambda: a.answered == 1, 60))
        time.sleep(0.5)
        same(g.get("/x")[0], 200)
        same(a.connections, 1)


def test_a_slow_client_keeps_no_place_at_an_origin_of_http2(gate):
    """That serves one stream at a time."""
    needs("http/2")
    n = 12_000_000
    nghttpd, port = installed("nghttpd"), free_port()
    with tempfile.TemporaryDirectory() as d:
        with open(os.path.join(d, "large"), "wb") as f:
            f.write((bytes(range(256)) * (n // 256 + 1))[:n])
        with open(os.path.join(d, "small"), "wb") as f:
            f.write(b"small")
        o = subprocess.Popen([nghttpd, "--no-tls", "-d", d, str(port)], preexec_fn=die_with_us,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        true(wait_for(lambda: listening(port)))
        g, a, b = start(gate, of="h2", route="buffer_response = 16m",
                        more=f"[upstream h2]\nserver = h2c://127.0.0.1:{port} max_in_flight=1\n"
                             "queue = 8 timeout=5s\n")
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
            s.settimeout(20)
            s.connect(("127.0.0.1", g.port))
            s.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            time.sleep(0.5)
            same(g.get("/small")[::2], (200, b"small"))
            content = read_all(s).partition(b"\r\n\r\n")[2]
        true(content == (bytes(range(256)) * (n // 256 + 1))[:n], f"{len(content)} bytes, or others")
        o.kill()
        o.wait()


def head_of_origin(gate, head, cause):
    g, a, b = start(gate, upstream="tries = 1")

    def says(h):
        h.request.sendall(head)
        h.request.shutdown(socket.SHUT_WR)
        h.request.recv(1)
        return True
    a.ill = says
    status, fields, _ = g.get("/x")
    same((status, cause in fields.get("proxy-status", "")), (502, True), f"{head[:60]}: {fields}")
    g.stop()


def test_heads_of_origins_that_are_wrong_have_names(gate):
    fine = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
    for head, cause in (
            (fine.replace(b"1.1", b"3.1") + b"\r\n", "upstream_bad_head"),
            (fine.replace(b"200", b"20") + b"\r\n", "upstream_bad_head"),
            (fine.replace(b"h: 0", b"h: -1") + b"\r\n", "upstream_bad_head"),
            (fine + b"Content-Length: 1\r\n\r\n", "upstream_bad_head"),
            (fine + b"no colon\r\n\r\n", "upstream_bad_head"),
            (fine + b"A : b\r\n\r\n", "upstream_bad_head"),
            (fine + b"A: b\r\n folded\r\n\r\n", "upstream_bad_head"),
            (fine + b"A: b\0c\r\n\r\n", "upstream_bad_head"),
            (fine + b"A: b\rc\r\n\r\n", "upstream_bad_head"),
            (fine + b"Transfer-Encoding: gzip\r\n\r\n", "upstream_bad_head"),
            (fine[:-5], "upstream_bad_head"),
            (fine + b"A: b\r\n" * 101 + b"\r\n", "upstream_head_too_large"),
            (fine + b"A: " + b"b" * 40000 + b"\r\n\r\n", "upstream_head_too_large")):
        head_of_origin(gate, head, cause)


def test_events_come_as_they_are_sent_with_buffers_too(gate):
    for route in ("", "buffer_request = 1m\nbuffer_response = 1m"):
        g, a, b = start(gate, route=route)
        events_come(g, a)
        long_poll(g, a)


def events_come(g, origin):
    """Byte for byte, as soon as they are said."""
    step = threading.Semaphore(0)

    def events(h):
        if not h.target.startswith("/events"):
            return False
        h.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                          b"Transfer-Encoding: chunked\r\n\r\n")
        for i in range(4):
            step.acquire(timeout=5)
            h.request.sendall(b"%x\r\ndata: %d\n\n\r\n" % (9, i))
        step.acquire(timeout=5)
        h.request.sendall(b"0\r\n\r\n")
        return True
    origin.ill = events
    with g.connect() as s:
        s.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got:
            got += s.recv(1000)
        for i in range(4):
            step.release()
            got = b""
            while not got.endswith(b"\r\n"):
                got += s.recv(1000)
                if got == b"9\r\n" or len(got) < 14:
                    continue
            same(got, b"9\r\ndata: %d\n\n\r\n" % i)
        step.release()
        same(s.recv(100), b"0\r\n\r\n")
    origin.ill = None


def long_poll(g, origin):
    """A byte at a time, of a length that is known: none waits for another."""
    step = threading.Semaphore(0)

    def poll(h):
        if not h.target.startswith("/poll"):
            return False
        h.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        for byte in b"hello":
            step.acquire(timeout=5)
            h.request.sendall(bytes([byte]))
        return True
    origin.ill = poll
    with g.connect() as s:
        s.sendall(b"GET /poll HTTP/1.1\r\nHost: a\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got:
            got += s.recv(1000)
        for byte in b"hello":
            step.release()
            same(s.recv(10), bytes([byte]))
    origin.ill = None


# --- who is told what --------------------------------------------------------------------------

def test_scheme_and_host_are_what_a_trusted_peer_says(gate):
    edits = ("request_header = set X-Seen ${scheme}://${host}\n"
             "response_header = set X-Seen ${scheme}://${host}")
    said = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: WWW.example.com:8443\r\n"
    for trusted, want in (("127.0.0.0/8", "https://www.example.com"), ("192.0.2.1", "http://localhost")):
        g, a, b = start(gate, trusted=trusted, route=edits)
        _, fields, content = g.get("/x", fields=said)
        same((fields["x-seen"], heard(content)["x-seen"]), (want, [want]), trusted)
    g, a, b = start(gate, trusted="127.0.0.0/8", route=edits,
                    listener="client_ip_from = forwarded")
    for fields, want in (
            ('Forwarded: for=1.1.1.1;proto=http;host=b, for=2.2.2.2;Proto=https;HOST="c:81"\r\n',
             "https://c"),
            ("Forwarded: for=1.1.1.1\r\n" + said, "http://localhost"),
            ("Forwarded: proto=ftp;host=a@b\r\n", "http://localhost")):
        same(g.get("/x", fields=fields)[1]["x-seen"], want, fields)
    g, a, b = start(gate, trusted="127.0.0.0/8", route=edits)
    for fields, want in (("X-Forwarded-Proto: http, https\r\n", "https://localhost"),
                         ("X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a b\r\n", "http://localhost"),
                         ("X-Forwarded-Host: b\r\nX-Forwarded-Host: c\r\n", "http://c")):
        same(g.get("/x", fields=fields)[1]["x-seen"], want, fields)


def test_a_test_section_sees_what_a_trusted_peer_says(gate):
    text = ("upstream = api\n[listener b]\nlisten = 127.0.0.1:81\ntrusted = 10.0.0.0/8\n"
            "[route to]\npath = /to\nhandler = redirect\nto = ${scheme}://${host}/\n"
            "[test a]\nrequest = GET http://a/to\nlistener = b\nclient = 10.1.1.1\n"
            "header = X-Forwarded-Proto: https\nexpect_header = Location: https://a/\n")
    same(checked(text), (0, checked(text)[1]))
    says(text.replace("10.1.1.1", "11.1.1.1"), "http://a/")


def test_an_origin_without_a_name_gets_none(gate):
    """Server is of our own responses: an origin's is left alone, and so is that it has none."""
    g, a, b = start(gate, more="[route dead]\npath = /dead\nhandler = forward\nupstream = full\n")

    def named(h):
        if h.target == "/named":
            h.say(200, b"x", "Server: own\r\n")
            return True
        return False
    a.ill = named
    want = {"/x": None, "/chunked": None, "/named": "own", "/dead": "headgate", "/reset": "headgate"}
    for path, server in want.items():
        fields = g.get(path)[1]
        same(fields.get("server"), server, path)
        true("date" in fields, path)
    needs_hpack()
    with Client(g.port) as c:
        for i, (path, server) in enumerate(want.items()):
            c.ask(2 * i + 1, get(path))
            same(c.fields[2 * i + 1].get("server"), server, "HTTP/2 " + path)


def test_request_ids_are_kept_from_trusted_peers_only(gate):
    for trusted, mode, kept in (("127.0.0.0/8", "trust", True), ("192.0.2.1", "trust", False),
                                ("127.0.0.0/8", "new", False), ("127.0.0.0/8", "off", None)):
        g, a, b = start(gate, trusted=trusted, route=f"request_id = {mode}")
        got = heard(g.get("/x", fields="X-Request-Id: mine\r\n")[2]).get("x-request-id")
        if kept is None:
            same(got, None)
        else:
            same(len(got), 1)
            same(got == ["mine"], kept, f"{trusted} {mode}")


def test_hops_are_believed_from_right_to_left(gate):
    """To the first that is not trusted; one that is no address ends it."""
    g, a, b = start(gate, trusted="127.0.0.0/8, 10.0.0.0/8", route="request_header = set X-C ${client_ip}\n"
                                                                    "request_header = set X-P ${client_port:-none}")
    for said, want in (("1.1.1.1, 2.2.2.2, 10.0.0.1", "2.2.2.2"), ("10.0.0.7, 10.0.0.1", "10.0.0.7"),
                       ("2.2.2.2\r\nX-Forwarded-For: 10.0.0.1", "2.2.2.2"),
                       ("3.3.3.3, unknown, 10.0.0.1", "10.0.0.1"), ("junk", "127.0.0.1"),
                       ("[2001:db8::1]:99", "2001:db8::1")):
        got = heard(g.get("/x", fields=f"X-Forwarded-For: {said}\r\n")[2])
        same(got["x-c"], [want], said)
        if said != "junk": # the peer itself
            same(got["x-p"], ["99" if ":99" in said else "none"], f"{said}: a port nobody knows is none")
    g, a, b = start(gate, trusted="127.0.0.0/8, 10.0.0.0/8", listener="client_ip_from = forwarded",
                    route="request_header = set X-C ${client_ip}\nforwarded = rfc7239")
    for said, want in (('for=1.1.1.1, for="[2001:db8::1]:4711", for=10.0.0.1', "2001:db8::1"),
                       ("for=2.2.2.2;proto=https", "2.2.2.2"), ("for=_hidden", "127.0.0.1")):
        got = heard(g.get("/x", fields=f"Forwarded: {said}\r\n")[2])
        same(got["x-c"], [want], said)
        same(got["forwarded"], [said + ', for=127.0.0.1;proto=http;host="localhost"'])


def test_edits_know_every_variable(gate):
    names = ("client_ip client_port request_id method scheme host path query uri route listener "
             "upstream tls_version tls_cipher tls_sni client_cert_subject client_cert_sha256 "
             "client_cert_verified query.q header.x-team cookie.sid path.rest").split()
    edits = "".join(f"request_header = set X-V{i} ${{{n}:-none}}\n" for i, n in enumerate(names))
    g, a, b = start(gate, route="path = /in/{rest*}\nhost = www.example.com\n" + edits)
    with g.connect() as s:
        port = s.getsockname()[1]
        s.sendall(b"GET /in/a%41/b?q=1%202&z HTTP/1.1\r\nHost: WWW.example.com:99\r\nX-Team: blue\r\n"
                  b"Cookie: sid=abc\r\nConnection: close\r\n\r\n")
        got = heard(parse_response(read_all(s))[2])
    seen = {n: got[f"x-v{i}"][0] for i, n in enumerate(names)}
    true(re.fullmatch("[0-9a-f]{32}", seen.pop("request_id")), got)
    want = {"client_ip": "127.0.0.1", "client_port": str(port), "method": "GET", "scheme": "http",
            "host": "www.example.com", "path": "/in/aA/b", "query": "q=1%202&z",
            "uri": "/in/a%41/b?q=1%202&z", "route": "all", "listener": "a", "upstream": "api",
            "query.q": "1 2", "header.x-team": "blue", "cookie.sid": "abc", "path.rest": "aA/b"}
    same(seen, {**dict.fromkeys(seen, "none"), **want})


# --- what passes through as it is ----------------------------------------------------------------

def test_ranges_and_codings_are_the_origins_affair(gate):
    g, a, b = start(gate)
    coded = b"\x1f\x8b\x08not really gzip"

    def partly(h):
        h.say(206, coded, "Content-Range: bytes 3-21/99\r\nContent-Encoding: gzip\r\nETag: \"e\"\r\n"
                          "Vary: Accept-Encoding\r\n" + f"X-Range: {h.fields.get('range')}\r\n"
                          f"X-Accept: {h.fields.get('accept-encoding')}\r\n")
        return True
    a.ill = partly
    status, fields, content = g.get("/x", fields="Range: bytes=3-21\r\nAccept-Encoding: gzip, br\r\n")
    same((status, content), (206, coded))
    for name, value in (("content-range", "bytes 3-21/99"), ("content-encoding", "gzip"),
                        ("etag", '"e"'), ("x-range", "bytes=3-21"), ("x-accept", "gzip, br"),
                        ("content-length", str(len(coded)))):
        same(fields.get(name), value, name)


def test_a_client_that_has_said_all_gets_its_answer(gate):
    """Half-closed, at either side."""
    g, a, b = start(gate)
    with g.connect() as s:
        s.sendall(b"GET /hold/300 HTTP/1.1\r\nHost: a\r\n\r\n")
        s.shutdown(socket.SHUT_WR)
        same(parse_response(read_all(s))[2], b"held")

    def half(h):
        h.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nha")
        time.sleep(0.1)
        h.request.sendall(b"lf")
        h.request.shutdown(socket.SHUT_WR)
        h.request.recv(10)
        return True
    a.ill = half
    same(g.get("/x")[2], b"half")


def test_a_half_closed_tunnel_carries_the_rest(gate):
    g, a, b = start(gate)

    def count(h):
        h.request.sendall(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        got = h.data
        while piece := h.request.recv(1 << 16):
            got += piece
        h.request.sendall(b"%d bytes" % len(got))
        h.request.shutdown(socket.SHUT_WR)
        return True
    a.ill = count
    with g.connect() as s:
        s.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        head = s.recv(1000)
        true(head.startswith(b"HTTP/1.1 101"), head)
        s.sendall(b"x" * 100_000)
        s.shutdown(socket.SHUT_WR)
        same(read_all(s), b"100000 bytes")


if __name__ == "__main__":
    main([t for n, t in list(globals().items()) if n.startswith("test_")], at_once=4)
