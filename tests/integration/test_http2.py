#!/usr/bin/env python3
"""HTTP/2 for clients: content both ways, where an answer is made here and where it is an
origin's; other people's clients; the end.  What RFC 9113 asks frame by frame is in
test_h2_conformance.py, floods in test_h2_limits.py."""
import hashlib
import json
import os
import random
import re
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading

import h2client as h2
from h2client import (GET, GOAWAY, HEADERS, NO_ERROR, PING, SETTINGS, WINDOW, Client, data, ends, frame,
                      get, headers, number, post, rst, settings, window)
from harness import BUILD, HEADGATE, Skip, main, same, true, wait_for
from origin import Origin

CONFIG = """
[server]
workers = 1
access_log = {dir}/access.log format=json
{more}
[listener a]
listen = 127.0.0.1:{port}
{listener}
[upstream u]
server = 127.0.0.1:{origin}
[route hello]
path = /hello
handler = respond
body = hi
[route large]
path = /files/*
handler = static
root = {files}
strip_prefix = /files
[route all]
handler = {handler}
max_body = off
body_min_rate = off
"""

FILES = tempfile.mkdtemp(prefix="files.", dir=BUILD)
HANDLERS = {"static": "static\nroot = {files}", "forward": "forward\nupstream = u"}


def start(gate, handler="forward", listener="", more="", **names):
    try:
        import hpack  # noqa: F401
    except ImportError:
        raise Skip("python3-hpack is not there") from None
    if "feature  http/2" not in subprocess.run([HEADGATE, "-V"], capture_output=True, text=True).stdout:
        raise Skip("built without HTTP/2")
    origin = Origin()
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    config = CONFIG.replace("{handler}", HANDLERS[handler]).replace("{listener}", listener)
    g = gate(config.replace("{more}", more), origin=origin.port, files=FILES, **names)
    g.origin = origin
    g.wrap = None
    return g


def start_tls(gate, handler="forward", **more):
    if not shutil.which("openssl"):
        raise Skip("openssl is not there")
    if "OpenSSL" not in subprocess.run([HEADGATE, "-V"], capture_output=True, text=True).stdout:
        raise Skip("built without TLS")
    pem = os.path.join(FILES, "pem", "one.pem")
    g = start(gate, handler, listener="tls = one", more="""
[tls one]
certificate = %s
watch = off
loose_keys = yes""" % pem, **more)
    context = ssl.create_default_context(cafile=pem)
    context.set_alpn_protocols(["h2"])
    g.wrap = lambda s: context.wrap_socket(s, server_hostname="localhost")
    g.pem = pem
    return g


def large():
    return random.Random(7).randbytes(1_000_000)


def write_files():
    os.chmod(FILES, 0o755)
    with open(os.path.join(FILES, "index.html"), "w") as f:
        f.write("the root")
    with open(os.path.join(FILES, "large"), "wb") as f:
        f.write(large())
    os.mkdir(os.path.join(FILES, "pem"))
    pem = os.path.join(FILES, "pem", "one.pem")
    if shutil.which("openssl"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                        "-days", "2", "-keyout", pem + ".key", "-out", pem], check=True,
                       capture_output=True)
        with open(pem, "a") as f, open(pem + ".key") as key:
            f.write(key.read())


# --- the beginning --------------------------------------------------------------------------


def test_something_else_is_still_http1(gate):
    g = start(gate, "static")
    same(g.get("/hello")[0], 200, "HTTP/1")
    same(g.say(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")[:12], b"HTTP/1.1 505", "nearly the preface")
    same(g.say(b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n")[:12], b"HTTP/1.1 400", "only OPTIONS has it")
    for line in (b"GARBAGE", b"GET / FOO/1.1", b"what is this", b"NO / PREFACE", b"A B HTTP", b"A B C D"):
        said = g.say(line + b"\r\n\r\n")
        same(said[:12], b"" if line == b"what is this" else b"HTTP/1.1 400", line)
    same(g.counted()["h2_protocol_error"], 1, "what is like nothing in HTTP/1 is a preface gone wrong")
    g2 = start(gate, "static", listener="h2c = no")
    same(g2.say(h2.PREFACE)[:12], b"HTTP/1.1 505", "not there")
    same(g2.say(b"what is this\r\n\r\n")[:12], b"HTTP/1.1 400", "then it is HTTP/1 all the same")


# --- content ------------------------------------------------------------------------------


def test_content_goes_both_ways(gate):
    g = start(gate)
    content = large()
    digest = hashlib.sha256(content).hexdigest().encode()
    with Client(g.port) as c:
        c.until(SETTINGS)
        sent = {}
        streams = range(1, 17, 2)
        c.send(*[headers(s, post("/echo", te="trailers"), False) for s in streams])
        credit = {s: 262144 for s in streams}
        credit[0] = 65535
        left = {s: content for s in streams}

        def note(kind, flags, stream, payload):
            if kind == WINDOW:
                credit[stream] += int.from_bytes(payload, "big")

        while any(s not in c.ended for s in streams):
            for s in streams:
                n = min(random.randrange(1, 16385), credit[s], credit[0], len(left[s]))
                if n and left[s]:
                    c.send(data(s, left[s][:n], n == len(left[s])))
                    left[s] = left[s][n:]
                    credit[s] -= n
                    credit[0] -= n
            if all(not left[s] or not min(credit[s], credit[0]) for s in streams):
                note(*c.next())
        for s in streams:
            same(c.status[s], 200, s)
            true(digest in c.content[s], c.content[s][-100:])
            true(b"Via: 2.0 headgate" in c.content[s] and b"Host: a\r" not in c.content[s], "as it came")
            sent[s] = True


def test_what_comes_behind_an_origins_content_is_passed_on(gate):
    g = start(gate)
    with Client(g.port) as c:
        c.send(*[headers(s, get("/trailers")) for s in (1, 3)])
        c.wait(1, 3)
        for s in (1, 3):
            same(c.content[s], b"abc")
            same(dict(c.trailers[s]), {"x-sum": "1 2", "x-empty": ""})


def test_nothing_ends_in_a_window_below_nothing(gate):
    g = start(gate)
    for size, more in ((3, 0), (2, 1)):  # the window is used up then; it is less than nothing
        with Client(g.port, first=settings((4, 3))) as c:
            c.automatic = False
            c.send(headers(1, get("/late")))
            while c.content.get(1) != b"abc":
                c.next()
            c.send(settings((4, size)))
            c.s.settimeout(0.6)
            try:
                c.wait(1)
                true(more == 0, "RFC 9113, 6.9.2: no frame of content, not even an empty one")
            except TimeoutError:
                true(more > 0, "RFC 9113, 6.9.1: an empty one needs no window")
                c.send(window(1, more))
                c.wait(1)
            same((c.content[1], c.resets), (b"abc", {}))


def test_large_answers_come_whole_side_by_side(gate):
    g = start(gate)
    content = large()
    with Client(g.port) as c:
        c.send(*[headers(s, get("/files/large" if s % 4 == 1 else "/large/500000"))
                 for s in range(1, 33, 2)])
        c.wait(*range(1, 33, 2))
        for s in range(1, 33, 2):
            want = content if s % 4 == 1 else (bytes(range(256)) * 2000)[:500000]
            true(c.content[s] == want, f"stream {s}: {len(c.content[s])} bytes")


def test_heads_without_content(gate):
    g = start(gate)
    with Client(g.port) as c:
        head = [(":method", "HEAD")] + GET[1:]
        for stream, fields, status, length in (
                (1, [f if f[0] != ":path" else (":path", "/head") for f in head], 200, "12345"),
                (3, [f if f[0] != ":path" else (":path", "/files/large") for f in head], 200, "1000000"),
                (5, get("/status/204"), 204, None), (7, get("/status/304"), 304, None)):
            same(c.ask(stream, fields), (status, b""), stream)
            same(c.fields[stream].get("content-length"), length, stream)


def test_interim_responses_and_expectations(gate):
    g = start(gate)
    with Client(g.port) as c:
        same(c.ask(1, get("/hints")), (200, b"after the hints"), "103")
        same(c.interim[1][0].get("link"), "</a.css>; rel=preload", "103")
        c.send(headers(3, post("/echo", expect="100-continue"), False))
        while 3 not in c.interim:
            c.next()
        same(c.interim[3][0][":status"], "100", "100")
        c.send(data(3, b"content", True))
        c.wait(3)
        true(b"content 7 " in c.content[3], c.content[3])


def test_early_answers_end_quietly(gate):
    g = start(gate, "static")
    with Client(g.port) as c:
        c.send(headers(1, post("/hello"), False))
        c.send(data(1, b"x" * 1000))
        while 1 not in c.ended:
            c.next()
        c.send(data(1, b"y" * 1000, True))
        same(c.ask(3, get("/hello")), (200, b"hi"), "the connection goes on")
        same(c.resets, {}, "and nothing was reset")
        c.send(headers(5, post("/hello"), False))
        while 5 not in c.resets:
            c.next()
        same((c.status[5], c.resets[5]), (200, NO_ERROR), "who does not end is told so")


def test_too_much_content_is_refused(gate):
    g = start(gate, more="max_body = 100k")
    with open(g.ini) as f:
        config = f.read()
    g.write(config.replace("max_body = off\n", ""))
    g.stop()
    g.start()
    with Client(g.port) as c:
        c.send(headers(1, post("/echo", content_length="200000"), False))
        while 1 not in c.status:
            c.next()
        same(c.status[1], 413, "announced")
        for stream, path in ((7, "/echo"), (9, "/hello"), (11, "/echo")):
            c.send(headers(stream, post(path, content_length="110000"), False),
                   *[data(stream, b"x" * 10000) for _ in range(4)])
            while stream not in c.status and stream not in c.resets:
                c.next()
            same(c.status.get(stream), 413, "announced, and sent at once")
        c.send(headers(13, post("/echo"), False), *[data(13, b"x" * 16000) for _ in range(8)])
        while 13 not in c.status:
            c.next()
        same(c.status[13], 413, "not announced")
        same(c.ask(15, get("/hello")), (200, b"hi"), "the connection goes on")


def test_a_reset_reaches_the_origin(gate):
    g = start(gate)
    with Client(g.port) as c:
        c.send(headers(1, get("/silent")))
        true(wait_for(lambda: g.origin.requests == 1), "asked")
        c.send(rst(1))
        true(wait_for(lambda: g.origin.gone == 1), "and gone")
        same(c.ask(3, get("/hello")), (200, b"hi"), "the connection goes on")


def test_a_cut_answer_is_reset(gate):
    g = start(gate)
    with Client(g.port) as c:
        c.send(headers(1, get("/truncate")), headers(3, get("/bad_chunk")), headers(5, get("/garbage")))
        c.wait(1, 3, 5)
        same(c.resets, {1: h2.INTERNAL, 3: h2.INTERNAL}, "cut off")
        same(c.status[5], 502, "before it began")


def test_heads_that_are_too_large(gate):
    g = start(gate, "static", listener="max_header = 4k\nmax_request_line = 2k\nmax_fields = 20")
    with Client(g.port) as c:
        same(c.ask(1, get("/hello", x="y" * 5000))[0], 431, "a large field")
        same(c.ask(3, get("/hello") + [(f"x{i}", "y") for i in range(21)])[0], 431, "many fields")
        same(c.ask(5, get("/hello")), (200, b"hi"), "the connection goes on")
        same(c.ask(7, get("/" + "a" * 3000))[0], 414, "a long path")


def without(name):
    return [f for f in GET if f[0] != name]


def test_hosts_and_paths_are_one_thing(gate):
    g = start(gate)
    with Client(g.port) as c:
        for stream, fields, status in (
                (1, get("/x", host="b"), 400), (3, without(":authority"), 400),
                (5, without(":authority") + [("host", "b")], 200), (7, get("/../x"), 400),
                (9, get("/a/%2e%2e/%2e%2e/x"), 400), (11, get("http://b/"), 400),
                (13, get("*"), 400), (15, get("/a b"), 400), (17, get("/x", host="A"), 200)):
            same(c.ask(stream, fields)[0], status, fields)


def test_the_log_knows_the_protocol(gate):
    g = start(gate)
    with Client(g.port) as c:
        c.ask(1, post("/echo?a=b"), b"12345")
    line = wait_for(lambda: [l for l in g.read("access.log").splitlines() if "echo" in l])
    record = json.loads(line[0])
    same((record["protocol"], record["method"], record["target"], record["status"], record["bytes_in"]),
         ("HTTP/2.0", "POST", "/echo?a=b", 200, 5), "the record")
    true(record["bytes_out"] > 50 and record["host"] == "a", record)


def test_the_urgent_come_first(gate):
    g = start(gate, "static")
    with Client(g.port, first=settings((4, 1 << 20))) as c:
        c.automatic = False
        c.until(SETTINGS)
        c.send(headers(1, get("/files/large", priority="u=6")), headers(3, get("/files/large", priority="u=1")),
               headers(5, get("/files/large", priority="u=3")))
        while c.content.get(1) is None or len(c.content.get(5, b"")) + len(c.content.get(3, b"")) < 1:
            c.next()
            if sum(map(len, c.content.values())) >= 65535:
                break
        same(len(c.content.get(3, b"")), 65535, "all of the connection's window")
        c.send(frame(h2.PRIORITY_UPDATE, 0, 0, number(1) + b"u=0"), window(0, 30000))
        while sum(map(len, c.content.values())) < 95535:
            c.next()
        same(len(c.content.get(1, b"")), 30000, "reprioritised")


def test_a_priority_may_come_before_its_stream(gate):
    g = start(gate, "static")
    with Client(g.port, first=settings((4, 1 << 20))) as c:
        c.automatic = False
        c.until(SETTINGS)
        c.send(frame(h2.PRIORITY_UPDATE, 0, 0, number(3) + b"u=0"),
               headers(1, get("/files/large", priority="u=1")), headers(3, get("/files/large")))
        while sum(map(len, c.content.values())) < 65535:
            c.next()
        # The first may have begun before the other was there.
        true(len(c.content.get(3, b"")) >= 65535 - 16384, {s: len(t) for s, t in c.content.items()})


def test_equals_come_one_after_the_other_or_side_by_side(gate):
    """As they say (RFC 9218, 4.2): the first alone, or each a piece in turn."""
    g = start(gate, "static")
    for how, least in (("u=3", 0), ("u=3, i", 3 * 16384)):
        with Client(g.port, first=settings((4, 1 << 20))) as c:
            c.automatic = False
            c.until(SETTINGS)
            c.send(*[headers(s, get("/files/large", priority=how)) for s in (1, 3, 5, 7)])
            c.send(window(0, 4 * 65536 - 65535))
            while sum(map(len, c.content.values())) < 4 * 65536:
                c.next()
            got = [len(c.content.get(s, b"")) for s in (1, 3, 5, 7)]
            if least:
                true(min(got) >= least, f"side by side: {got}")
            else:
                same(got, [4 * 65536, 0, 0, 0], "the first alone")


def connect(path="/switch/websocket", protocol="websocket"):
    return [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", path),
            (":authority", "a"), ("sec-websocket-version", "13")]


def test_a_websocket_is_a_stream(gate):
    g = start(gate)
    with Client(g.port) as c:
        c.until(SETTINGS)
        c.send(headers(1, connect(), False))
        while 1 not in c.status:
            c.next()
        same(c.status[1], 200, "RFC 8441, 5")
        true("upgrade" not in c.fields[1], c.fields[1])
        sent = b""
        for i in range(20):
            piece = bytes([i]) * (1 + 700 * i)
            sent += piece
            c.send(data(1, piece))
            while len(c.content.get(1, b"")) < len(sent):
                c.next()
            same(c.ask(3 + 2 * i, get("/hello")), (200, b"hi"), "and others beside it")
        true(c.content[1] == sent, "echoed")
        c.send(data(1, b"", True))
        c.wait(1)
        true(1 in c.ended, "it ends as it should")
        for stream, fields, status in ((101, connect("/hello"), 405), (103, connect("/echo"), 502),
                                       (105, connect("/echo", "h3"), 501)):
            c.send(headers(stream, fields))
            c.wait(stream)
            same(c.status[stream], status, fields)


# --- other people's clients -----------------------------------------------------------------


def tool(name):
    path = shutil.which(name)
    if not path:
        raise Skip(f"{name} is not there")
    return path


def said(*command, stdin=None):
    return subprocess.run(command, capture_output=True, timeout=30, input=stdin).stdout


def test_curl_talks_with_it(gate):
    g = start(gate)
    curl = (tool("curl"), "-s", "--max-time", "20", "--http2-prior-knowledge")
    url = f"http://127.0.0.1:{g.port}"
    same(said(*curl, "-w", " %{http_version} %{http_code}", url + "/hello"), b"hi 2 200", "curl")
    same(said(*curl, url + "/files/large"), large(), "a large file")
    same(len(said(*curl, url + "/large/700000")), 700000, "a large answer of an origin")
    answer = said(*curl, "--data-binary", "@-", url + "/echo", stdin=large())
    true(hashlib.sha256(large()).hexdigest().encode() in answer, answer[-300:])
    true(b"HTTP/2 200" in said(*curl, "-I", url + "/hello"), "HEAD")
    same(said(*curl, "-w", "%{http_code}", "-o", "/dev/null", "-d", "x" * 5000, url + "/hello"), b"200",
         "content nobody wants")


def test_over_tls_it_is_the_same(gate):
    g = start_tls(gate)
    curl = (tool("curl"), "-s", "--max-time", "20", "--cacert", g.pem, "--resolve",
            f"localhost:{g.port}:127.0.0.1")
    url = f"https://localhost:{g.port}"
    same(said(*curl, "-w", " %{http_version}", url + "/hello"), b"hi 2", "ALPN chooses HTTP/2")
    same(said(*curl, "--http1.1", "-w", " %{http_version}", url + "/hello"), b"hi 1.1", "or HTTP/1.1")
    same(said(*curl, url + "/files/large"), large(), "a large file")
    same(len(said(*curl, url + "/large/700000")), 700000, "a large answer of an origin")
    answer = said(*curl, "--data-binary", "@-", url + "/echo", stdin=large())
    true(hashlib.sha256(large()).hexdigest().encode() in answer, answer[-300:])
    true(b"X-Forwarded-Proto: https" in answer, answer)
    if shutil.which("h2load"):
        out = said("h2load", "-n", "400", "-c", "5", "-m", "20", f"https://127.0.0.1:{g.port}/files/large")
        true(b"400 succeeded, 0 failed" in out, out)
    with Client(g.port, wrap=g.wrap) as c:
        c.send(*[headers(s, get("/files/large" if s % 4 == 1 else "/large/500000"))
                 for s in range(1, 33, 2)])
        c.wait(*range(1, 33, 2))
        for s in range(1, 33, 2):
            want = large() if s % 4 == 1 else (bytes(range(256)) * 2000)[:500000]
            true(c.content[s] == want, f"stream {s}: {len(c.content[s])} bytes")


def test_nghttp_talks_with_it(gate):
    g = start(gate)
    url = f"http://127.0.0.1:{g.port}"
    out = said(tool("nghttp"), "-nvs", "-m", "20", url + "/hello", url + "/files/large").decode()
    same(len(re.findall(r" 200 +\S+ /(?:hello|files/large)\n", out)), 40, out[-3000:])
    out = said(tool("h2load"), "-n", "2000", "-c", "5", "-m", "20", url + "/hello").decode()
    true("2000 succeeded, 0 failed" in out, out)
    out = said(tool("h2load"), "-n", "200", "-c", "5", "-m", "20", "-w", "16", url + "/large/100000").decode()
    true("200 succeeded, 0 failed" in out, out)


def test_httpx_talks_with_it(gate):
    g = start(gate)
    try:
        import h2 as _  # noqa: F401
        import httpx
    except ImportError:
        raise Skip("python3-httpx is not there") from None
    url = f"http://127.0.0.1:{g.port}"
    with httpx.Client(http1=False, http2=True, timeout=20) as client:
        answer = client.get(url + "/hello")
        same((answer.http_version, answer.status_code, answer.text), ("HTTP/2", 200, "hi"), "httpx")
        same(client.get(url + "/files/large").content, large(), "a large file")
        answer = client.post(url + "/echo", content=large())
        true(hashlib.sha256(large()).hexdigest() in answer.text, answer.text)
        cookies = [("cookie", "a=1"), ("cookie", "b=2")]
        true("cookie: a=1; b=2" in client.get(url + "/echo", headers=cookies).text.lower(), "crumbs")


# --- the end ------------------------------------------------------------------------------------


def test_a_connection_is_told_twice_that_it_ends(gate):
    g = start(gate)
    with Client(g.port) as c:
        c.send(headers(1, get("/chunked")))
        c.until(HEADERS)
        g.signal(signal.SIGTERM)
        c.until(GOAWAY)
        same(c.goaways[-1], (0x7fffffff, NO_ERROR), "the notice")
        c.send(headers(3, get("/hello")))
        c.until(PING)
        c.until(GOAWAY)
        same(c.goaways[-1], (3, NO_ERROR), "the end")
        c.wait(1, 3)
        same((c.status[1], c.status[3], c.content[3]), (200, 200, b"hi"), "both were answered")
        same(ends(c), NO_ERROR, "and then closed")
    g.process.wait(5)
    same(g.process.returncode, 0, "ended")


def test_a_reload_keeps_connections(gate):
    g = start(gate)
    with Client(g.port) as c:
        same(c.ask(1, get("/hello")), (200, b"hi"), "before")
        with open(g.ini) as f:
            config = f.read()
        g.write(config.replace("body = hi", "body = ho"))
        g.signal(signal.SIGHUP)
        stream = [1]

        def changed():
            stream[0] += 2
            return c.ask(stream[0], get("/hello"))[1] == b"ho"
        true(wait_for(changed), "after")


def test_requests_are_counted_against_keepalive_requests(gate):
    g = start(gate, "static", listener="keepalive_requests = 3")
    with Client(g.port) as c:
        for s in (1, 3, 5):
            same(c.ask(s, get("/hello")), (200, b"hi"), s)
        same(ends(c), NO_ERROR, "then it ends")


write_files()
main([t for n, t in list(globals().items()) if n.startswith("test_")], at_once=4,
     after=lambda: shutil.rmtree(FILES, ignore_errors=True))
