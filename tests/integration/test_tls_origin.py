#!/usr/bin/env python3
"""TLS to origins: whom we believe, who we are, what is agreed."""
import concurrent.futures
import os
import socket
import ssl
import threading

import origin
from harness import Skip, needs, parse_response, read_response, same, true, wait_for
from tls import DIR, path, run, tls_gate

try:
    import h2origin
except ImportError:
    h2origin = None


class SecureOrigin:
    """An origin that speaks TLS: tells what it saw; /cut ends without close_notify."""

    def __init__(self, name, client_ca=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(path(f"{name}.pem"), path(f"{name}.key"))
        if client_ca:
            self.context.load_verify_locations(path(f"{client_ca}.pem"))
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.names, self.reused, self.protocols = [], [], []
        self.context.sni_callback = lambda s, name, c: self.names.append(name)
        self.context.set_alpn_protocols(["http/1.1"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            s, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, raw):
        try:
            s = self.context.wrap_socket(raw, server_side=True)
            self.reused.append(s.session_reused)
            self.protocols.append(s.selected_alpn_protocol())
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    piece = s.recv(1 << 16)
                    if not piece:
                        return
                    data += piece
                head, _, data = data.partition(b"\r\n\r\n")
                if b"/cut" in head or b"/end" in head:
                    if b"/end-at-once" in head:  # in one piece with the goodbye
                        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                    s.sendall(b"HTTP/1.1 200 OK\r\n\r\nall of it?")
                    if b"/end" in head:
                        s.unwrap()
                    raw = socket.socket(fileno=os.dup(s.fileno()))
                    s.detach()
                    raw.shutdown(socket.SHUT_RDWR)
                    return
                who = (s.getpeercert() or {}).get("subject", ())
                text = b"x" * 100_000 if b"/large" in head else repr(who).encode()
                s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
        except (OSError, ssl.SSLError):
            pass


FORWARD = """
[server]
workers = 1
access_log = {dir}/access.log
log_level = info
[listener a]
listen = 127.0.0.1:{port}
[upstream u]
server = https://127.0.0.1:{origin}
{more}
[route all]
handler = forward
upstream = u
"""


def forwarded(gate, o, *more):
    return tls_gate(gate, FORWARD, origin=o.port, more="\n".join(more).replace("{pki}", DIR))


def test_origins_are_verified(gate):
    o = SecureOrigin("one")
    ca, name = f"tls_ca = {DIR}/root.pem", "tls_name = one.test"
    for more, want in (((), 502), ((ca,), 502), ((name,), 502), ((ca, name), 200),
                       ((ca, "tls_name = two.test"), 502), (("tls_verify = no",), 200),
                       ((f"tls_ca = {DIR}/others.pem", name), 502)):
        g = forwarded(gate, o, *more)
        status, fields, _ = g.get("/")
        same(status, want, more)
        if want == 502:
            true("upstream_tls_failed" in fields["proxy-status"], fields)
            true("upstream_tls_failed: " in g.said(), g.said())
    true("one.test" in o.names and "two.test" in o.names, o.names)


def test_content_comes_from_secure_origins_and_sessions_are_resumed(gate):
    o = SecureOrigin("one")
    g = forwarded(gate, o, f"tls_ca = {DIR}/root.pem", "tls_name = one.test", "keepalive = off")
    for _ in range(4):
        status, _, content = g.get("/large")
        same((status, len(content)), (200, 100_000))
    same(o.reused, [False, True, True, True])
    same(set(o.protocols), {"http/1.1"})
    g = forwarded(gate, o, f"tls_ca = {DIR}/root.pem", "tls_name = one.test")
    before = len(o.reused)
    for _ in range(4):
        same(g.get("/large")[0], 200)
    same(len(o.reused), before + 1, "kept connections")


def test_origins_that_ask_get_our_certificate(gate):
    o = SecureOrigin("one", "partners")
    base = (f"tls_ca = {DIR}/root.pem", "tls_name = one.test")
    g = forwarded(gate, o, *base, f"tls_certificate = {DIR}/alice.pem", f"tls_key = {DIR}/alice.key")
    status, _, content = g.get("/")
    true(status == 200 and b"alice" in content, content)
    same(forwarded(gate, o, *base).get("/")[0], 502)


def test_an_origin_that_refuses_us_late_says_why(gate):
    """By TLS 1.3 we are done before it has looked at our certificate."""
    base = ("tls_verify = no", "tries = 1")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for protocol in ("http/1.1", "h2"):
            o = SecureOrigin("one", "partners")
            o.context.maximum_version = version
            o.context.set_alpn_protocols([protocol])
            if protocol == "h2":
                needs("http/2")
            for own, why in (((), ("certificate required", "handshake failure")),
                             ((f"tls_certificate = {DIR}/mallory.pem", f"tls_key = {DIR}/mallory.key"),
                              ("unknown ca",))):
                g = forwarded(gate, o, *base, *own, f"protocols = {protocol}")
                status, fields, _ = g.get("/")
                same(status, 502)
                true("upstream_tls_failed" in fields["proxy-status"], f"{version} {protocol}: {fields}")
                said = [line for line in g.said().splitlines() if "upstream_tls_failed: " in line]
                true(len(said) == 1 and any(w in said[0] for w in why), f"{version} {protocol}: {g.said()}")


def test_what_an_origin_refused_to_hear_goes_elsewhere(gate):
    """Whatever the method: it has not read the request."""
    bad, good = SecureOrigin("one", "partners"), SecureOrigin("one")
    g = forwarded(gate, good, f"server = https://127.0.0.1:{bad.port}", "tls_verify = no", "tries = 2",
                  "retry_on = connect", "eject_failures = off")
    for _ in range(6):
        same(g.get("/", method="POST")[0], 200)
    true(wait_for(lambda: '"tries":2' in g.read("access.log")), g.read("access.log"))


def test_content_is_all_there_only_if_the_origin_says_so(gate):
    o = SecureOrigin("one")
    g = forwarded(gate, o, f"tls_ca = {DIR}/root.pem", "tls_name = one.test")
    for path in (b"/end", b"/end-at-once"):
        answer = g.say(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path)
        true(answer.endswith(b"all of it?\r\n0\r\n\r\n"), f"{path}: {answer}")
    same(g.read("access.log").count("upstream_truncated_body"), 0)
    answer = g.say(b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n", seconds=2)
    true(not answer.endswith(b"0\r\n\r\n"), answer)
    true(wait_for(lambda: "upstream_truncated_body" in g.read("access.log")), g.read("access.log"))


# --- the request's host as the name ------------------------------------------------------------


def ask_for(g, host, target="/"):
    return parse_response(g.say(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                                .encode()))[0]


class TwoNames(SecureOrigin):
    """Has a certificate for each name, and knows who came for which."""

    def __init__(self):
        super().__init__("one")
        other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        other.load_cert_chain(path("two.pem"), path("two.key"))

        def choose(s, name, _):
            self.names.append(name)
            if name == "two.test":
                s.context = other
        self.context.sni_callback = choose


def test_the_requests_host_can_be_the_name(gate):
    o = TwoNames()
    g = forwarded(gate, o, f"tls_ca = {DIR}/root.pem", "tls_name = ${host}", "tries = 1")
    for host in ("one.test", "two.test", "ONE.test:444", "two.test.", "www.one.test"):
        same(ask_for(g, host), 200, host)
    same(o.names, ["one.test", "two.test", "www.one.test"], "kept for their names")
    same(ask_for(g, "three.test"), 502, "nobody has its certificate")
    same(ask_for(g, "127.0.0.1"), 502)
    same(ask_for(g, "one.test"), 200)
    same(o.names[3:], ["three.test", None])


def test_sessions_are_for_one_name(gate):
    o = TwoNames()
    g = forwarded(gate, o, f"tls_ca = {DIR}/root.pem", "tls_name = ${host}", "keepalive = off")
    for host in ("one.test", "one.test", "two.test", "one.test", "one.test"):
        same(ask_for(g, host, "/large"), 200, host)
    same(o.names, ["one.test", "one.test", "two.test", "one.test", "one.test"])
    same(o.reused, [False, True, False, False, True])


def test_the_oldest_of_too_many_is_given_up(gate):
    o = TwoNames()
    g = forwarded(gate, o, f"tls_ca = {DIR}/root.pem", "tls_name = ${host}", "keepalive = 2")
    for host in ("one.test", "two.test", "www.one.test", "two.test", "www.one.test"):
        same(ask_for(g, host), 200, host)
    same(o.names, ["one.test", "two.test", "www.one.test"])
    same(ask_for(g, "one.test"), 200)
    same(o.names[3:], ["one.test"])


# --- HTTP/2 or HTTP/1, as the origin likes --------------------------------------------------------


class EitherOrigin(SecureOrigin):
    """Takes what is said first in `likes`."""

    def __init__(self, *likes):
        super().__init__("one")
        self.likes(*likes)
        self.h2 = h2origin.H2Origin() if h2origin else None

    def likes(self, *likes):
        self.context.set_alpn_protocols(list(likes))

    def serve(self, raw):
        try:
            s = self.context.wrap_socket(raw, server_side=True)
        except (OSError, ssl.SSLError):
            return
        self.protocols.append(s.selected_alpn_protocol())
        if self.protocols[-1] == "h2":
            h2origin.Connection(self.h2, s).run()
            return
        handler = origin.Handler.__new__(origin.Handler)
        handler.request, handler.server, handler.data = s, self.h1, b""
        try:
            while True:
                handler.one()
        except (origin.Closed, OSError, ValueError, ssl.SSLError):
            pass

    class h1:
        requests, seen, ill, held, most, lock = 0, [], None, 0, 0, threading.Lock()


EITHER = ("protocols = h2, http/1.1", "tls_verify = no")


def either(gate, *likes):
    needs("http/2")
    if not h2origin:
        raise Skip("python3-hpack is not installed")
    o = EitherOrigin(*likes)
    return forwarded(gate, o, *EITHER), o


def at_once(g, n, target="/hold/1500"):
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return [a[0] for a in pool.map(g.get, [target] * n)]


def test_an_origin_may_choose_http2(gate):
    g, o = either(gate, "h2", "http/1.1")
    same(at_once(g, 20), [200] * 20)
    same(o.protocols, ["h2"])
    same(g.get("/echo", method="POST", body=b"x" * 100_000)[0], 200)
    same(o.protocols, ["h2"])


def test_an_origin_may_choose_http1(gate):
    for likes in (["http/1.1"], []):
        g, o = either(gate, *likes)
        same(at_once(g, 20), [200] * 20)
        same(len(o.protocols), 20, "one request at a time on each")
        same(set(o.protocols), {"http/1.1"} if likes else {None})
        same(at_once(g, 20), [200] * 20)
        true(len(o.protocols) < 30, "they are kept")
        same(g.get("/echo", method="POST", body=b"x" * 100_000)[0], 200)


def test_an_origin_may_change_its_mind(gate):
    g, o = either(gate, "http/1.1")
    same(g.get("/hello")[0], 200)
    o.likes("h2")
    same(at_once(g, 4), [200] * 4)
    true("h2" in o.protocols, o.protocols)
    same(at_once(g, 20), [200] * 20)
    true(o.protocols.count("h2") <= 5, o.protocols)
    o.likes("http/1.1")
    g.get("/close")  # it closes what it is asked on
    same(at_once(g, 8), [200] * 8)
    same(g.get("/hello")[0], 200)


def test_a_client_that_leaves_while_it_is_agreed_harms_nobody(gate):
    g, o = either(gate, "http/1.1")
    for _ in range(20):
        s = [g.connect() for _ in range(4)]
        for each in s:
            each.sendall(b"GET /hold/50 HTTP/1.1\r\nHost: a\r\n\r\n")
        for each in s[:3]:
            origin.reset(each)
        same(read_response(s[3])[0], 200)
        s[3].close()
    same(g.get("/hello")[0], 200)


if __name__ == "__main__":
    run(globals(), "one", "two", "alice", "mallory")
