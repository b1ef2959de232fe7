#!/usr/bin/env python3
"""Servers are asked whether they are well, once a process; and requests are copied to a mirror."""
import itertools
import json
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from dnsfake import FakeDNS
from harness import HEADGATE, Skip, free_port, main, needs, read_response, same, true, wait_for
from origin import Origin
from origins import Nginx

try:
    from h2origin import H2Origin
except ImportError:
    H2Origin = None

CONFIG = """
[server]
workers = {workers}
log_level = info
access_log = {dir}/access.log
control = {dir}/ctl.sock
drain_timeout = 5s
[listener a]
listen = 127.0.0.1:{port}
[upstream u]
{servers}
check = {check}
{upstream}
[route all]
handler = forward
upstream = u
"""
FAST = "interval=100ms timeout=5s"
HASTY = "interval=100ms timeout=300ms"  # where no answer comes


class Well:
    """An origin that answers a check with what `status` says, or each with the next `statuses`, and
    counts everything."""

    def __init__(self, family=socket.AF_INET, at=("127.0.0.1", 0)):
        self.status, self.answer, self.checks, self.requests = "200 OK", None, [], []
        self.statuses = None
        self.bodies, self.connections, self.open, self.deaf = [], 0, 0, False
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(at)
        self.socket.listen(128)
        self.port = self.socket.getsockname()[1] if family == socket.AF_INET else 0
        threading.Thread(target=self.accepts, daemon=True).start()

    def accepts(self):
        while True:
            try:
                s, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serves, args=(s,), daemon=True).start()

    def serves(self, s):
        self.open += 1
        with s:
            try:
                data = b""
                while True:
                    while b"\r\n\r\n" not in data:
                        piece = s.recv(65536)
                        if not piece:
                            return
                        data += piece
                    head, _, data = data.partition(b"\r\n\r\n")
                    text = head.decode("latin-1")
                    length = re.search(r"\r\ncontent-length: *(\d+)", text, re.I)
                    while length and len(data) < int(length[1]):
                        data += s.recv(65536)
                    body, data = (data[:int(length[1])], data[int(length[1]):]) if length else (b"", data)
                    if "headgate-check" in text:
                        self.checks.append((time.monotonic(), text))
                        status = next(self.statuses) if self.statuses else self.status
                        if self.answer is not None:
                            s.sendall(self.answer)
                            if self.answer:
                                return
                            time.sleep(3)
                            return
                    else:
                        if " /early" in text:
                            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                            return
                        if re.search("\r\ntransfer-encoding: chunked", text, re.I):
                            while not data.endswith(b"0\r\n\r\n"):
                                data += s.recv(65536)
                            body, data = b"".join(data.split(b"\r\n")[1::2]), b""
                        self.requests.append(text)
                        self.bodies.append(body)
                        status = "200 OK"
                    s.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok".encode())
            except OSError:
                pass
            finally:
                self.open -= 1

    def end(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def start(gate, origins, check="GET /healthz " + FAST, upstream="", workers=1):
    servers = "\n".join(f"server = 127.0.0.1:{o.port}" for o in origins)
    return gate(CONFIG, servers=servers, check=check, upstream=upstream, workers=workers)


def says(g, text, seconds=10):
    true(wait_for(lambda: text in g.said(), seconds), f"it does not say {text!r}")


def test_a_server_that_is_not_well_gets_no_request(gate):
    for workers in (1, 4):
        sick, well = Well(), Well()
        sick.status = "503 Sick"
        g = start(gate, [sick, well], workers=workers)
        says(g, f"server 127.0.0.1:{sick.port} is down: status 503, expected 200-299")
        shown = subprocess.run([HEADGATE, "ctl", "-c", g.ini, "upstream", "u"], capture_output=True, text=True).stdout
        true("checked down" in shown and "status 503" in shown, shown)
        before = len(sick.requests)
        same([g.get("/")[0] for _ in range(30)], [200] * 30)
        same(len(sick.requests), before, "requests of the sick one")
        sick.status = "204 No Content"
        says(g, f"server 127.0.0.1:{sick.port} is up again")
        wait_for(lambda: g.get("/") and len(sick.requests) > before, 15)
        true(len(sick.requests) > before, "it serves again")
        same(g.said().count(" is down: "), 1, "said once")
        same(g.said().count(" is up again"), 1, "said once")
        g.stop()
        sick.end()
        well.end()


def then(first, *again):
    """Statuses of so many checks, and then these in turn."""
    return itertools.chain(first, itertools.cycle(again))


def test_the_first_check_decides_and_then_so_many_in_a_row(gate):
    o, good, bad = Well(), "200 OK", "500 No"
    g = start(gate, [o], f"GET /h fall=4 rise=3 {FAST}")
    same(g.get("/")[0], 200)
    true(wait_for(lambda: len(o.checks) > 1), "the first has decided")
    o.statuses = then([], bad, bad, bad, good)
    asked = len(o.checks)
    true(wait_for(lambda: len(o.checks) > asked + 8))
    true("is down" not in g.said(), "three in a row are not four")
    o.statuses = then([good, bad, bad, bad, bad], good, good, bad)
    says(g, "is down")
    status, fields, _ = g.get("/")
    same(status, 503)
    true("upstream_none_healthy" in fields["proxy-status"], fields)
    asked = len(o.checks)
    true(wait_for(lambda: len(o.checks) > asked + 6))
    true("is up again" not in g.said(), "two in a row are not three")
    o.statuses = then([bad, good, good, good], bad, bad)
    says(g, "is up again")
    g.stop()
    dead = Well()
    dead.statuses = then(["404 Nothing"], good, bad)
    g = start(gate, [dead], f"GET /h fall=100 rise=3 {FAST}")
    says(g, "is down: status 404")  # nothing was known before
    g.stop()
    o.end()
    dead.end()


def test_one_process_checks_once(gate):
    for workers in (1, 4):
        origins = [Well() for _ in range(4)]
        began = time.monotonic()
        g = start(gate, origins, "GET /h interval=200ms", workers=workers)
        time.sleep(3)
        most = 1 + 1.3 * (time.monotonic() - began) / 0.2
        for o in origins:
            true(7 <= len(o.checks) <= most, f"{workers} workers: {len(o.checks)} checks of {most:.0f} at most")
        times = [[round(b[0] - a[0], 3) for a, b in zip(o.checks, o.checks[1:])] for o in origins]
        true(len(set(times[0])) > 3, "they are not all alike")
        true(any(len({round(o.checks[i][0], 3) for o in origins}) > 1 for i in range(7)), "nor all at once")
        before, counted = sum(len(o.checks) for o in origins), g.counted()
        after = sum(len(o.checks) for o in origins)
        true(before - 4 <= counted["checks"] <= after + 4, (before, counted["checks"], after))
        same((counted["requests"], counted["checks_failed"], counted["2xx"]), (0, 0, 0))
        g.stop()
        same(g.read("access.log"), "", "the access log")
        for o in origins:
            o.end()


def test_a_check_says_who_asks_and_whom(gate):
    o = Well()
    g = start(gate, [o], "HEAD /well?a=b host=health.example.com:99 interval=10s")
    wait_for(lambda: o.checks)
    lines = o.checks[0][1].split("\r\n")
    same(lines[0], "HEAD /well?a=b HTTP/1.1")
    same(sorted(lines[1:]), ["Connection: close", "Host: health.example.com:99", "User-Agent: headgate-check"])
    wait_for(lambda: o.open == 0)
    same(o.open, 0, "its connection is its own")
    g.stop()
    g = start(gate, [o], "POST /w interval=10s")
    wait_for(lambda: len(o.checks) > 1)
    true("Content-Length: 0" in o.checks[1][1], o.checks[1])
    true(f"Host: 127.0.0.1:{o.port}" in o.checks[1][1], o.checks[1])
    g.stop()
    o.end()


def test_what_is_expected_may_be_several_ranges(gate):
    for status, good in (("200 OK", True), ("299 X", True), ("301 X", True), ("300 X", False), ("404 X", False)):
        o = Well()
        o.status = status
        g = start(gate, [o], f"GET /h expect=200-299,301 {FAST}")
        wait_for(lambda: len(o.checks) > 2)
        same("is down" in g.said(), not good, status)
        g.stop()
        o.end()


def test_every_failure_of_a_check_is_named(gate):
    for answer, cause in ((b"", "upstream_head_timeout"),
                          (b"220 mail\r\n\r\n", "upstream_bad_head"),
                          (b"HTTP/1.1 200 OK\r\nContent-Le", "upstream_bad_head"),
                          (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "upstream_truncated_body"),
                          (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 40000 + b"\r\n\r\n", "upstream_head_too_large"),
                          (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "upstream_bad_chunk")):
        o = Well()
        o.answer = answer
        g = start(gate, [o], f"GET /h {FAST if answer else HASTY}")
        says(g, f"is down: {cause}")
        g.stop()
        o.end()
    g = gate(CONFIG, servers=f"server = 127.0.0.1:{free_port()}", check=f"tcp {FAST}", upstream="", workers=1)
    says(g, "is down: upstream_connect_refused")


def test_a_connection_alone_is_a_check(gate):
    o = Well()
    g = start(gate, [o], "tcp interval=100ms")
    wait_for(lambda: o.connections > 3)
    true(o.connections > 3, o.connections)
    same(o.checks, [])
    same(g.get("/")[0], 200)
    port = o.port
    o.end()
    says(g, "is down: upstream_connect_refused")
    o = Well(at=("127.0.0.1", port))
    says(g, "is up again")
    same(g.get("/")[0], 200)
    g.stop()
    o.end()


def test_another_port_may_be_asked(gate):
    health, o = Well(), Well()
    g = start(gate, [o], f"GET /h port={health.port} {FAST}")
    wait_for(lambda: len(health.checks) > 2)
    same(len(o.checks), 0)
    health.status = "503 X"
    says(g, "is down: status 503")
    same(g.get("/")[0], 503)
    g.stop()
    o.end()
    health.end()


def test_unix_sockets_are_checked(gate):
    where = tempfile.mkdtemp()
    o = Well(socket.AF_UNIX, where + "/s")
    g = gate(CONFIG, servers=f"server = unix:{where}/s", check=f"GET /h {FAST}", upstream="", workers=1)
    wait_for(lambda: o.checks)
    true("Host: localhost" in o.checks[0][1], o.checks)
    o.status = "500 X"
    says(g, "is down: status 500")
    g.stop()
    o.end()
    shutil.rmtree(where)


def test_a_reload_keeps_what_is_known_and_acts_on_what_has_changed(gate):
    for workers in (1, 4):
        sick, well = Well(), Well()
        sick.status = "503 Sick"
        g = start(gate, [sick, well], f"GET /h fall=2 {FAST}", workers=workers)
        says(g, "is down")

        def reload(check):
            before = g.said().count(" has ended")
            g.names["check"] = check
            g.write(CONFIG)
            g.signal(signal.SIGHUP)
            true(wait_for(lambda: g.said().count(" has ended") > before), "the old one has ended")

        before = len(sick.requests)
        reload(f"GET /h fall=2 {FAST}")
        for _ in range(10):
            same(g.get("/")[0], 200)
        same(len(sick.requests), before, "it is still down")
        same(g.said().count("is down"), 1, "and that is no news")
        reload(f"GET /other expect=503 {FAST}")
        says(g, "is up again")  # what is expected is another thing now
        says(g, f"server 127.0.0.1:{well.port} is down: status 200, expected 503")
        true(any("GET /other" in c[1] for c in sick.checks), "the new path")
        reload("off")
        asked = len(sick.checks) + len(well.checks)
        wait_for(lambda: g.get("/")[0] and well.requests and sick.requests, 5)
        true(well.requests and sick.requests, "both serve")
        time.sleep(0.4)
        true(len(sick.checks) + len(well.checks) <= asked + 2, "nobody is asked any more")
        g.stop()
        sick.end()
        well.end()


def test_checks_stop_when_it_drains(gate):
    o = Well()
    g = start(gate, [o], f"GET /h {FAST}")
    wait_for(lambda: len(o.checks) > 1)
    s = g.connect()
    s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
    time.sleep(0.1)
    g.signal(signal.SIGTERM)
    says(g, "draining")
    time.sleep(0.3)
    asked = len(o.checks)
    time.sleep(0.7)
    true(len(o.checks) <= asked + 1, f"{len(o.checks) - asked} more")
    s.sendall(b"\r\n")
    same(read_response(s)[0], 200, "and what was known is still known")
    s.close()
    same(g.stop(), 0)
    o.end()


def test_the_connections_of_checks_are_not_lent_and_take_no_place(gate):
    o = Well()
    g = start(gate, [o], f"GET /h {HASTY}", upstream="max_in_flight = 1\nqueue = off")
    o.answer = b""  # checks hang
    for _ in range(20):
        same(g.get("/")[0] in (200, 503), True)
    says(g, "is down: upstream_head_timeout")
    o.answer = None
    says(g, "is up again")
    for _ in range(20):
        same(g.get("/")[0], 200)
        time.sleep(0.02)
    g.stop()
    o.end()


def test_nginx_is_checked_stopped_and_continued(gate):
    n = Nginx("location = /healthz { return 204; }")
    n.put("a.txt", b"from nginx")
    g = start(gate, [n], f"GET /healthz interval=100ms timeout=1s", workers=4)
    same(g.get("/a.txt")[2], b"from nginx")
    n.process.send_signal(signal.SIGSTOP)
    says(g, "is down: upstream_head_timeout")
    same(g.get("/a.txt")[0], 503)
    n.process.send_signal(signal.SIGCONT)
    says(g, "is up again")
    same(g.get("/a.txt")[2], b"from nginx")
    n.end()
    says(g, "is down: upstream_connect_refused")
    g.stop()


def has_http2():
    try:
        needs("http/2")
        return True
    except Skip:
        return False


def certificate(where):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", where + "/key.pem", "-out", where + "/cert.pem", "-days", "2",
                    "-subj", "/CN=o.test", "-addext", "subjectAltName=DNS:o.test"],
                   check=True, capture_output=True)


def test_checks_go_over_tls_and_verify(gate):
    needs("tls")
    where = tempfile.mkdtemp()
    certificate(where)
    tls = free_port()
    n = Nginx(f"listen 127.0.0.1:{tls} ssl http2; ssl_certificate {where}/cert.pem; "
              f"ssl_certificate_key {where}/key.pem; location = /h {{ return 204; }}")
    for check in (f"GET /h {FAST}", f"tcp {FAST}"):
        for more in ("", "protocols = h2"):
            if more and not has_http2():
                continue
            for name, good in (("o.test", True), ("other.test", False)):
                g = gate(CONFIG, servers=f"server = https://127.0.0.1:{tls}", check=check, workers=1,
                         upstream=f"tls_ca = {where}/cert.pem\ntls_name = {name}\n{more}")
                if good:
                    wait_for(lambda: g.counted()["checks"] > 3)
                    true("is down" not in g.said(), f"{check} {more}: {g.said()}")
                    same(g.get("/h")[0], 204)
                else:
                    says(g, "is down: upstream_tls_failed")
                g.stop()
    n.end()
    shutil.rmtree(where)


def test_checks_go_over_http2(gate):
    needs("http/2")
    if not H2Origin:
        raise Skip("python3-hpack is not installed")
    for path, down in (("/x", None), ("/silent", "upstream_head_timeout"), ("/refuse", "upstream_unprocessed")):
        o = H2Origin()
        g = gate(CONFIG, servers=f"server = h2c://127.0.0.1:{o.port}", check=f"GET {path} {HASTY if path == '/silent' else FAST}",
                 upstream="", workers=1)
        if down:
            says(g, f"is down: {down}")
        else:
            wait_for(lambda: len(o.seen) > 3)
            true("is down" not in g.said(), g.said())
            fields = dict(o.seen[0].fields)
            same((fields[":method"], fields[":path"], fields["user-agent"]), ("GET", "/x", "headgate-check"))
            true("connection" not in fields, fields)
        g.stop()


def test_every_address_of_a_name_is_checked_and_whoever_comes_to_it(gate):
    needs("names followed in DNS")
    well = Well()
    sick = Well(at=("127.0.0.2", well.port))
    late = Well(at=("127.0.0.3", well.port))
    sick.status = late.status = "503 X"
    dns = FakeDNS()
    dns.says["o.test"] = ["127.0.0.1", "127.0.0.2"]
    config = CONFIG.replace("[listener a]", f"resolver = 127.0.0.1:{dns.port}\nresolver_ttl = min=100ms max=1h\n"
                            "[listener a]", 1)
    for workers in (1, 4):
        dns.says["o.test"] = ["127.0.0.1", "127.0.0.2"]
        g = gate(config, servers=f"server = o.test:{well.port}", check=f"GET /h {FAST}", upstream="", workers=workers)
        says(g, f"(127.0.0.2:{well.port}) is down: status 503")
        before = len(sick.requests)
        same([g.get("/")[0] for _ in range(20)], [200] * 20)
        same(len(sick.requests), before)
        true(f"Host: o.test:{well.port}" in well.checks[-1][1], well.checks[-1])
        dns.says["o.test"] = ["127.0.0.1", "127.0.0.3"]  # it takes over the place, and not the past
        says(g, f"(127.0.0.3:{well.port}) is down: status 503")
        time.sleep(0.3)
        asked = len(sick.checks)
        time.sleep(0.5)
        true(len(sick.checks) <= asked + 1, "who has left is not asked any more")
        g.stop()
    for o in (well, sick, late):
        o.end()
    dns.end()


def test_a_check_tells_of_no_client(gate):
    """Behind a PROXY header: version 2, LOCAL."""
    heard = []

    def hears(s):
        with s:
            heard.append(s.recv(65536))
            s.sendall(b"HTTP/1.1 204 X\r\n\r\n")

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(16)
        g = gate(CONFIG, servers=f"server = 127.0.0.1:{s.getsockname()[1]}", check=f"GET /h {FAST}",
                 upstream="proxy_protocol = v2", workers=1)
        for _ in range(3):
            hears(s.accept()[0])
        for text in heard:
            true(text.startswith(b"\r\n\r\n\0\r\nQUIT\n\x20") and b"GET /h " in text, text)
        true("is down" not in g.said(), g.said())
        g.stop()


def test_what_is_no_check_is_refused(gate):
    good = CONFIG.replace("{servers}", "server = 127.0.0.1:1\n{more}").replace("{upstream}", "")
    for check, what in (("GET", "METHOD PATH, tcp or off"), ("get /", "METHOD PATH"), ("GET x", "begins with /"),
                        ("CONNECT /", "METHOD PATH"), ("GET / interval=0", "interval=0"),
                        ("GET / interval=1ms", "at least 10ms"), ("GET / fall=0", "from 1 to 1000"),
                        ("GET / rise=x", "rise=x"), ("GET / expect=99", "statuses are 100 to 599"),
                        ("GET / expect=200-", "expect=200-"), ("GET / port=0", "a port from 1 to 65535"),
                        ("GET / host=a/b", "not a host"), ("tcp expect=200", "nothing is asked with tcp"),
                        ("GET / intervall=2s", 'did you mean "interval="'), ("GET /#a", "begins with /")):
        g = gate(good, check=check, workers=1, more="", wait=False)
        g.process.wait(10)
        true(g.process.returncode != 0 and what in g.said(), f"{check}: {g.said()}")
    g = gate(good, check="GET / port=8", more="server = unix:/x", workers=1, wait=False)
    g.process.wait(10)
    true("a unix socket has no port" in g.said(), g.said())


# --- mirror ---------------------------------------------------------------------------------------

MIRROR = """
[server]
workers = {workers}
access_log = {dir}/access.log
drain_timeout = 5s
[listener a]
listen = 127.0.0.1:{port}
[upstream u]
server = 127.0.0.1:{origin}
{upstream}
[upstream shadow]
server = 127.0.0.1:{shadow}
{more}
[route all]
handler = forward
upstream = u
max_body = off
mirror = shadow {share}
[test t]
request = GET http://a/x
expect_route = all
expect_upstream = u
"""


def mirrored(gate, share="100%", upstream="", more="", workers=1, shadow=None):
    o, s = Well(), Well()
    return gate(MIRROR, origin=o.port, shadow=shadow or s.port, share=share, upstream=upstream, more=more,
                workers=workers), o, s


def test_requests_are_copied_with_their_content(gate):
    for workers in (1, 4):
        g, o, s = mirrored(gate, workers=workers)
        same(g.get("/a?b=c", fields="X-A: 1\r\nX-Request-Id: 12345\r\n")[0], 200)
        same(g.get("/p", method="POST", body=b"x" * 10000)[0], 200)
        with g.connect() as c:
            c.sendall(b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            time.sleep(0.2)
            c.sendall(b"4\r\ndefg\r\n0\r\n\r\n")
            same(read_response(c)[0], 200)
        wait_for(lambda: len(s.requests) == 3)
        by_line = dict(zip((r.split("\r\n")[0] for r in s.requests), zip(s.requests, s.bodies)))
        same(sorted(by_line), ["GET /a?b=c HTTP/1.1", "POST /p HTTP/1.1", "PUT /c HTTP/1.1"])
        same(by_line["GET /a?b=c HTTP/1.1"][0], o.requests[0], "the same fields, the same id")
        same(by_line["POST /p HTTP/1.1"][1], b"x" * 10000)
        same(by_line["PUT /c HTTP/1.1"][1], b"abcdefg")
        true("Via: 1.1 headgate" in by_line["PUT /c HTTP/1.1"][0], "loops end")
        counted = g.counted()
        same([counted[n] for n in ("requests", "2xx", "mirrored", "mirror_dropped", "mirror_failed")],
             [3, 3, 3, 0, 0])
        g.stop()
        same(len(g.read("access.log").splitlines()), 3)
        o.end()
        s.end()


def test_a_share_of_requests_is_copied(gate):
    g, o, s = mirrored(gate, "30%")
    with g.connect() as c:
        for _ in range(1000):
            c.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            same(read_response(c)[0], 200)
    wait_for(lambda: len(s.requests) == g.counted()["mirrored"])
    true(215 < len(s.requests) < 385, len(s.requests))  # 6 standard deviations
    g.stop()
    g, o, s = mirrored(gate, "0%")
    same(g.get("/")[0], 200)
    same(g.counted()["mirrored"], 0)


def test_what_is_too_large_is_not_copied(gate):
    g, o, s = mirrored(gate, upstream="retry_buffer = 4k")
    same(g.get("/l", method="POST", body=b"x" * 4096)[0], 200)
    same(g.get("/m", method="POST", body=b"x" * 4097)[0], 200)
    with g.connect() as c:
        c.sendall(b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
                  b"1000\r\n" + b"y" * 4096 + b"\r\n" + b"1\r\ny\r\n0\r\n\r\n")
        same(read_response(c)[0], 200)
    wait_for(lambda: len(s.requests) == 1)
    same([len(b) for b in s.bodies], [4096])
    counted = g.counted()
    same((counted["mirrored"], counted["mirror_dropped"]), (1, 2))
    with g.connect() as c:  # nor is half of a request
        c.sendall(b"PUT /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        read_response(c)
        c.sendall(b"0\r\n\r\n")
        time.sleep(0.2)
    wait_for(lambda: g.counted()["mirror_dropped"] == 3)
    counted = g.counted()
    same((counted["mirrored"], counted["mirror_dropped"], len(s.requests)), (1, 3, 1))
    g.stop()
    g, o, s = mirrored(gate, upstream="retry_buffer = off")
    same(g.get("/l", method="POST", body=b"x")[0], 200)
    same(g.get("/")[0], 200)
    same((g.counted()["mirrored"], g.counted()["mirror_dropped"]), (1, 1))


def test_a_mirror_that_is_sick_harms_nobody(gate):
    for how in ("refuses", "hangs", "answers rubbish"):
        g, o, s = mirrored(gate, workers=1, shadow=free_port() if how == "refuses" else None)
        if how == "hangs":
            hole = socket.socket()
            hole.bind(("127.0.0.1", 0))
            hole.listen(1000)
            g.names["shadow"] = hole.getsockname()[1]
        elif how != "refuses":
            g.names["shadow"] = Origin().port
        g.write(MIRROR)
        g.signal(signal.SIGHUP)
        time.sleep(0.3)
        began = time.monotonic()
        with g.connect() as c:
            for _ in range(600):
                c.sendall(b"GET /garbage HTTP/1.1\r\nHost: a\r\n\r\n")
                same(read_response(c)[0], 200)
        true(time.monotonic() - began < 5, how)
        counted = g.counted()
        same(counted["mirrored"] + counted["mirror_dropped"], 600)
        same(counted["5xx"], 0)
        if how == "hangs":
            same(counted["mirrored"], 256, "as many as may be under way")
        began = time.monotonic()
        same(g.stop(), 0)
        true(time.monotonic() - began < 4, "it does not wait for answers that nobody reads")
        same({json.loads(l)["status"] for l in g.read("access.log").splitlines()}, {200})


def test_the_limits_of_a_mirror_drop_copies(gate):
    g, o, s = mirrored(gate, more="max_in_flight = 1")
    s.answer = None
    threads = [threading.Thread(target=lambda: same(g.get("/")[0], 200)) for _ in range(50)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    counted = g.counted()
    same(counted["mirrored"], 50)
    wait_for(lambda: len(s.requests) >= counted["mirrored"] - counted["mirror_failed"])
    same(counted["mirrored"] - counted["mirror_failed"], len(s.requests))
    same(counted["5xx"], 0)


def test_a_mirror_that_points_back_ends(gate):
    g, o, s = mirrored(gate)
    g.names["shadow"] = g.port
    g.write(MIRROR)
    g.signal(signal.SIGHUP)
    time.sleep(0.3)
    same(g.get("/")[0], 200)
    time.sleep(0.5)
    counted = g.counted()
    true(counted["requests"] <= 11 and counted["loop_detected"] == 1, counted)


def test_what_is_no_mirror_is_refused(gate):
    """With the place of the very word that is wrong."""
    for mirror, what in (("shadow", ':10: error: mirror: "shadow": behind the upstream stands a percentage'),
                         ("shadow 101%", ':17: error: mirror: "101%": more than 100%'),
                         ("shadow x", ':17: error: mirror: "x": '),
                         ("shadow 1% 2%", ':20: error: mirror: "2%": '),
                         ("shadows 10%", ':10: error: there is no [upstream shadows]; did you mean "shadow"')):
        g = gate(MIRROR.replace("shadow {share}", mirror), origin=1, shadow=2, upstream="", more="", workers=1,
                 wait=False)
        g.process.wait(10)
        true(g.process.returncode != 0 and what in g.said(), f"{mirror}: {g.said()}")


if __name__ == "__main__":
    main([f for name, f in sorted(globals().items()) if name.startswith("test_")], at_once=4)
