#!/usr/bin/env python3
"""HTTP/2 to origins: many requests on few connections, and what can go wrong on them."""
import concurrent.futures
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time

import harness
from harness import Skip, free_port, listening, main, needs, same, true, wait_for
from origin import reset
from origins import installed
from h2client import CANCEL, Client, data, get, headers, post, rst

try:
    from h2origin import H2Origin
except ImportError:
    H2Origin = None

MAX_STREAMS, INITIAL_WINDOW = 3, 4

CONFIG = """
[server]
workers = {workers}
access_log = {dir}/access.log
[listener a]
listen = 127.0.0.1:{port}
[upstream u]
server = h2c://127.0.0.1:{origin}
{upstream}
[route all]
max_body = off
handler = forward
upstream = u
"""


def start(gate, *settings, upstream="", workers=1):
    needs("http/2")
    if not H2Origin:
        raise Skip("python3-hpack is not installed")
    o = H2Origin(*settings)
    return gate(CONFIG, origin=o.port, upstream=upstream, workers=workers), o


def log(g):
    g.stop()
    return [json.loads(l) for l in g.read("access.log").splitlines()]


def finish(c, stream):
    """Its status, once it has ended or was reset."""
    c.wait(stream)
    return c.status.get(stream)


def at_once(g, paths):
    with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
        return list(pool.map(g.get, paths))


def test_a_connection_counts_as_one_whatever_it_carries(gate):
    """max_connections, on one worker and on four: no request has to wait for a worker's sake."""
    for workers in (1, 4):
        g, o = start(gate, upstream="max_connections = 1\nqueue = 256 timeout=20s", workers=workers)
        for _ in range(3):
            same([a[0] for a in at_once(g, ["/hold/30"] * 24)], [200] * 24)
        true(o.most > 1, "they share it")
        if workers == 1:
            same(o.connections, 1)
        g.stop()


def test_many_requests_share_one_connection(gate):
    g, o = start(gate)
    same(g.get("/")[0], 200)
    answers = at_once(g, ["/hold/1200"] * 40)
    same([a[0] for a in answers], [200] * 40)
    same(o.connections, 1)
    true(o.most >= 20, o.most)
    with Client(g.port) as c:
        for i in range(50):
            c.send(headers(1 + 2 * i, get("/hold/100")))
        for i in range(50):
            same(finish(c, 1 + 2 * i), 200)
    same(o.connections, 1)


def test_the_request_is_as_http2_wants_it(gate):
    g, o = start(gate)
    g.get("/a?b=c", method="POST", body=b"abc", fields="X-Mixed-Case: Y\r\nTE: trailers\r\nKeep-Alive: 1\r\n"
          "Upgrade: websocket\r\nProxy-Connection: x\r\n")
    fields = o.seen[0].fields
    same(fields[:4], [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"),
                      (":path", "/a?b=c")])
    fields = dict(fields)
    same((fields["content-length"], fields["te"], fields["x-mixed-case"]), ("3", "trailers", "Y"))
    for name in ("host", "connection", "keep-alive", "upgrade", "proxy-connection", "transfer-encoding"):
        true(name not in fields, name)
    same(o.seen[0].content, b"abc")
    g.get("/plain")
    true("te" not in dict(o.seen[1].fields), "te")


def test_no_more_streams_than_the_origin_takes(gate):
    g, o = start(gate, (MAX_STREAMS, 2))
    same(g.get("/")[0], 200)
    same([a[0] for a in at_once(g, ["/hold/600"] * 10)], [200] * 10)
    true(o.connections >= 4, o.connections)
    true(o.most <= 2 * o.connections, (o.most, o.connections))


def test_an_origin_that_takes_no_streams_is_named(gate):
    g, o = start(gate, (MAX_STREAMS, 0), upstream="tries = 1\nfirst_byte_timeout = 1s")
    status, fields, _ = g.get("/silent")
    true(status in (503, 504), status)
    true(o.connections < 10, o.connections)


def test_a_refused_stream_is_tried_again_whatever_the_method(gate):
    g, o = start(gate)
    same(g.get("/refuse-once/a")[::2], (200, b"at last"))
    same(g.get("/refuse-once/b", method="POST", body=b"x" * 1000)[::2], (200, b"at last"))
    same(o.seen[-1].content, b"x" * 1000)
    status, _, content = g.get("/refuse", method="POST", body=b"x")
    same((status, content.split(b"\n")[0]), (503, b"503 Service Unavailable: upstream_unprocessed"))
    same([l["tries"] for l in log(g)], [2, 2, 2])


def test_goaway_loses_nothing(gate):
    g, o = start(gate)
    g.get("/")
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        before = [pool.submit(g.get, "/hold/600") for _ in range(10)]
        true(wait_for(lambda: o.open == 10))
        same(g.get("/going", method="POST", body=b"once")[::2], (200, b"elsewhere"))
        same(g.get("/after")[0], 200)
        same([f.result()[0] for f in before], [200] * 10)
    same(o.connections, 2)
    true(wait_for(lambda: o.closed == 1), "the old connection stays")
    same(g.get("/served-going")[::2], (200, b"the last"))
    same(g.get("/")[0], 200)
    same(o.connections, 3)


def test_a_lost_connection_is_the_end_of_all_on_it_and_no_more(gate):
    g, o = start(gate, upstream="retry_on = off")
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        held = [pool.submit(g.get, "/hold/5000") for _ in range(4)]
        true(wait_for(lambda: o.open == 4))
        same(g.get("/close")[0], 502)
        same([f.result()[0] for f in held], [502] * 4)
    same(g.get("/")[0], 200)


def test_resets_are_named(gate):
    g, o = start(gate, upstream="retry_on = off")
    same(g.get("/reset")[0], 502)
    with Client(g.port) as c:
        c.send(headers(1, get("/cut")))
        finish(c, 1)
        true(1 in c.resets and c.content.get(1) == b"some", (c.resets, c.content))
    same([l["cause"] for l in log(g)], ["upstream_reset_before_head", "upstream_truncated_body"])


def test_malformed_responses_are_never_passed(gate):
    g, o = start(gate, upstream="retry_on = off")
    same(g.get("/upper")[0], 502)
    same(g.get("/")[0], 200)
    with Client(g.port) as c:
        for stream, path in ((1, "/short"), (3, "/long")):
            c.send(headers(stream, get(path)))
            finish(c, stream)
            # What comes in one piece is known to be bad before its head has gone on.
            true(stream in c.resets or c.status.get(stream) == 502, path)
    same(o.connections, 1)
    same(g.get("/garbage")[0], 502)
    same(g.get("/")[0], 200)
    causes = {l["target"]: l.get("cause") for l in log(g)}
    same((causes["/upper"], causes["/garbage"]), ("upstream_h2_error", "upstream_h2_error"))


def test_a_large_head_is_named(gate):
    g, o = start(gate, upstream="max_response_header = 8k")
    same(g.get("/big-head")[0], 502)
    same(g.get("/")[0], 200)
    same([l.get("cause") for l in log(g)], ["upstream_head_too_large", None])


def test_interim_trailers_and_heads_alone_come_through(gate):
    g, o = start(gate)
    with Client(g.port) as c:
        c.send(headers(1, get("/hints")))
        same(finish(c, 1), 200)
        true(any("103" in str(i) for i in c.interim.get(1, [])), c.interim)
        c.send(headers(3, get("/trailers", te="trailers")))
        same(finish(c, 3), 200)
        same(dict(c.trailers[3]), {"x-sum": "1", "grpc-status": "0"})
        c.send(headers(5, get("/only-head")))
        same(finish(c, 5), 200)
        same(dict(c.fields[5])["grpc-status"], "5")
    said = g.say(b"GET /trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n")
    true(b"\r\n0\r\nx-sum: 1\r\n" in said, said)


def test_a_client_that_leaves_resets_its_stream_only(gate):
    g, o = start(gate)
    with Client(g.port) as c:
        c.send(headers(1, get("/silent")), headers(3, get("/hold/500")))
        true(wait_for(lambda: o.requests == 2))
        c.send(rst(1))
        true(wait_for(lambda: o.resets), "no RST_STREAM")
        same(o.resets, [("/silent", CANCEL)])
        same(finish(c, 3), 200)
    s = g.connect()
    s.sendall(b"GET /silent HTTP/1.1\r\nHost: a\r\n\r\n")
    true(wait_for(lambda: o.requests == 3))
    reset(s)
    true(wait_for(lambda: len(o.resets) == 2))
    same(o.connections, 1)


def test_an_answer_before_the_content_is_passed(gate):
    g, o = start(gate)
    with Client(g.port) as c:
        c.send(headers(1, post("/early"), end=False), data(1, b"x" * 100))
        same(finish(c, 1), 200)
        same(c.content[1], b"early")
    same(g.get("/")[0], 200)
    same(o.connections, 1)


def test_timeouts_reset_the_stream(gate):
    g, o = start(gate, upstream="first_byte_timeout = 1500ms\nretry_on = off")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        late = [pool.submit(g.get, "/silent") for _ in range(3)]
        same(g.get("/hold/200")[0], 200)
        same([f.result()[0] for f in late], [504] * 3)
    true(wait_for(lambda: len(o.resets) == 3))
    same(g.get("/")[0], 200)
    same(o.connections, 1)
    same([l.get("cause") for l in log(g)].count("upstream_head_timeout"), 3)


def test_a_closed_window_waits_for_the_origin(gate):
    g, o = start(gate, (INITIAL_WINDOW, 1000), upstream="idle_timeout = 1500ms\nretry_on = off")
    same(g.get("/")[0], 200)
    began = time.monotonic()
    status, _, _ = g.get("/closed-window", method="POST", body=b"x" * 100000)
    same(status, 504)
    true(time.monotonic() - began > 1.4)
    same(g.get("/", method="POST", body=b"y" * 100000)[0], 200)
    same(o.seen[-1].content, b"y" * 100000)
    same(o.connections, 1)


def test_an_idle_connection_answers_pings_and_is_used_again(gate):
    g, o = start(gate, upstream="keepalive_time = 3s")
    for _ in range(3):
        same(g.get("/ping")[0], 200)
    same(o.connections, 1)
    time.sleep(0.7)
    same(g.get("/")[0], 200)
    same(o.connections, 1)
    true(wait_for(lambda: o.closed == 1), "it is kept for ever")
    same(g.get("/")[0], 200)
    same(o.connections, 2)


def test_all_workers_and_a_reload(gate):
    g, o = start(gate, workers=4)
    same([a[0] for a in at_once(g, ["/hold/100"] * 60)], [200] * 60)
    true(o.connections <= 4, o.connections)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        held = [pool.submit(g.get, "/hold/500") for _ in range(8)]
        true(wait_for(lambda: o.requests == 68))
        g.signal(1)
        same([f.result()[0] for f in held], [200] * 8)
    same(g.get("/")[0], 200)
    same(g.stop(), 0)


class Nghttpd:
    def __init__(self, root, *tls, options=()):
        path = shutil.which("nghttpd", path=os.environ["PATH"] + ":/usr/sbin")
        if not path:
            raise Skip("nghttp2-server is not installed")
        self.port = free_port()
        self.process = subprocess.Popen([path, "-d", root, "--echo-upload", *options,
                                         *([] if tls else ["--no-tls"]), str(self.port), *tls],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: listening(self.port))

    def end(self):
        self.process.terminate()
        self.process.wait()


def test_nghttpd_serves_and_echoes_through_us(gate):
    needs("http/2")
    with tempfile.TemporaryDirectory(dir=harness.BUILD) as root:
        content = os.urandom(3 << 20)
        with open(os.path.join(root, "big"), "wb") as f:
            f.write(content)
        n = Nghttpd(root)
        try:
            g = gate(CONFIG, origin=n.port, upstream="", workers=1)
            status, _, got = g.get("/big")
            true(status == 200 and got == content, (status, len(got)))
            for _ in range(3):
                connection = http.client.HTTPConnection("127.0.0.1", g.port, timeout=20)
                connection.request("POST", "/echo", body=content)
                true(connection.getresponse().read() == content, "not what was sent")
            # A reader that takes nothing holds up nobody else.
            slow = [g.connect() for _ in range(12)]
            for s in slow:
                s.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.3)
            status, _, got = g.get("/big")
            true(status == 200 and got == content, (status, len(got)))
            for s in slow:
                s.close()
        finally:
            n.end()


def test_an_origin_that_takes_few_streams_has_none_to_refuse(gate):
    """Nobody knows its limit at first, and each worker finds it out with many requests at hand."""
    needs("http/2")
    h2load = installed("h2load")
    with tempfile.TemporaryDirectory(dir=harness.BUILD) as root:
        with open(os.path.join(root, "x"), "w") as f:
            f.write("x")
        for most in (1, 10):
            n = Nghttpd(root, options=("-m", str(most)))
            try:
                g = gate(CONFIG, origin=n.port, upstream="", workers=4)
                said = subprocess.run([h2load, "-n", "3000", "-c", "8", "-m", "60", f"http://127.0.0.1:{g.port}/x"],
                                      capture_output=True, text=True).stdout
                true("status codes: 3000 2xx" in said, said)
                same({l["tries"] for l in log(g)}, {1}, f"{most} streams")
            finally:
                n.end()


TLS_CONFIG = CONFIG.replace("h2c://127.0.0.1:{origin}", "https://127.0.0.1:{origin}\nprotocols = h2")
TLS_CONFIG = TLS_CONFIG.replace("[server]\n", "[server]\nlog_level = info\n")


def test_over_tls_it_is_agreed(gate):
    needs("tls")
    needs("http/2")
    with tempfile.TemporaryDirectory(dir=harness.BUILD) as root:
        key, pem = os.path.join(root, "a.key"), os.path.join(root, "a.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-keyout", key, "-out", pem, "-days", "9", "-subj", "/CN=one.test",
                        "-addext", "subjectAltName=DNS:one.test"], check=True, capture_output=True)
        content = os.urandom(1 << 20)
        with open(os.path.join(root, "big"), "wb") as f:
            f.write(content)
        n = Nghttpd(root, key, pem)
        try:
            g = gate(TLS_CONFIG, origin=n.port, workers=1, upstream=f"tls_ca = {pem}\ntls_name = one.test")
            for status, _, got in at_once(g, ["/big"] * 20):
                true(status == 200 and got == content, (status, len(got)))
            g = gate(TLS_CONFIG, origin=n.port, workers=1, upstream="")
            same(g.get("/big")[0], 502)
        finally:
            n.end()
        # One to whom ALPN means nothing.
        port = free_port()
        other = subprocess.Popen(["openssl", "s_server", "-accept", str(port), "-cert", pem, "-key", key, "-www"],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: listening(port))
            g = gate(TLS_CONFIG, origin=port, workers=1, upstream="tls_verify = no")
            same(g.get("/")[0], 502)
            true("it does not speak h2" in g.said(), g.said())
        finally:
            other.terminate()
            other.wait()


if __name__ == "__main__":
    main([t for name, t in sorted(globals().items()) if name.startswith("test_")], at_once=4)
