#!/usr/bin/env python3
"""The PROXY protocol: whom a connection was made for, told to us and told on."""
import json
import os
import re
import socket
import socketserver
import ssl
import struct
import subprocess
import tempfile
import threading
import time

from harness import (BUILD, HEADGATE, Skip, free_port, main, parse_response, read_all,
                     read_response, same, true, wait_for)
from origins import Nginx, installed

LISTENING = """
[server]
workers = {workers}
access_log = {dir}/access.log
[listener a]
listen = 127.0.0.1:{port}, unix:{dir}/a.sock
trusted = 127.0.0.1, unix
proxy_protocol = {versions}
handshake_timeout = 2s
header_timeout = 2s
[route who]
handler = respond
body = "client=${client_ip}:${client_port} scheme=${scheme}"
"""
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def binary(command=0x21, family=0x11, body=None):
    if body is None:
        body = socket.inet_aton("192.0.2.9") + socket.inet_aton("198.51.100.1")
        body += struct.pack(">HH", 7777, 443)
    return SIGNATURE + struct.pack(">BBH", command, family, len(body)) + body


def asked(g, *pieces, path=None, pause=0.05):
    """All that is answered to what is said in these pieces."""
    s = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    with s:
        s.settimeout(10)
        s.connect(path or ("127.0.0.1", g.port))
        try:
            for i, piece in enumerate(pieces):
                time.sleep(pause if i else 0)
                s.sendall(piece)
        except OSError:
            pass
        return read_all(s)


def content(answer):
    return parse_response(answer)[2].decode() if answer else "nothing"


def listening(gate, versions="any", text=LISTENING, workers=2, **names):
    return gate(text, versions=versions, workers=workers, **names)


def test_both_versions_say_who_the_client_is(gate):
    g = listening(gate)
    same(content(asked(g, LINE + GET)), "client=192.0.2.7:56324 scheme=http")
    same(content(asked(g, binary() + GET)), "client=192.0.2.9:7777 scheme=http")
    six = socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + struct.pack(">HH", 5, 6)
    same(content(asked(g, binary(0x21, 0x21, six) + GET)), "client=2001:db8::7:5 scheme=http")
    same(content(asked(g, binary(body=binary()[16:] + b"\x05\0\2id") + GET)),
         "client=192.0.2.9:7777 scheme=http", "what is appended does not matter")
    log = [json.loads(line) for line in g.read("access.log").splitlines()] if wait_for(
        lambda: os.path.exists(f"{g.dir}/access.log") and g.read("access.log").count("\n") >= 4,
        3) else []
    same(sorted(r["client_ip"] for r in log),
         ["192.0.2.7", "192.0.2.9", "192.0.2.9", "2001:db8::7"], "the log")


def test_a_check_of_health_is_the_peer_itself(gate):
    g = listening(gate)
    for header in (b"PROXY UNKNOWN\r\n", binary(0x20, 0, b""), binary(0x21, 0, b"")):
        true(content(asked(g, header + GET)).startswith("client=127.0.0.1:"), header)


def test_it_comes_in_pieces(gate):
    g = listening(gate)
    for header in (LINE, binary()):
        pieces = [header[i:i + 7] for i in range(0, len(header), 7)]
        true("client=192.0.2." in content(asked(g, *pieces, GET, pause=0.01)))
        half = len(header) + 9
        true("client=192.0.2." in content(asked(g, (header + GET)[:half], (header + GET)[half:])))


def test_over_a_unix_socket(gate):
    g = listening(gate)
    same(content(asked(g, LINE + GET, path=f"{g.dir}/a.sock")),
         "client=192.0.2.7:56324 scheme=http")


def test_a_missing_or_bad_header_is_closed_and_counted(gate):
    g = listening(gate, "v1")
    bad = [GET, b"PROXY TCP4 192.0.2.7\r\n" + GET, b"PROXY " + b"x" * 200, binary() + GET]
    for said in bad:
        same(asked(g, said), b"", said)
    same(g.counted()["bad_proxy_header"], len(bad))
    same(asked(g, LINE[:20]), b"", "half a header, then silence")
    same(g.counted()["handshake_timeout"], 1)
    with socket.create_connection(("127.0.0.1", g.port)):
        pass # it only looked
    same(content(asked(g, LINE + GET)), "client=192.0.2.7:56324 scheme=http")
    same(g.counted()["bad_proxy_header"], len(bad), "that was none")


def test_after_the_header_the_next_wait_begins(gate):
    g = listening(gate)
    answer = asked(g, LINE, GET[:10], pause=0.3)
    same(parse_response(answer)[0], 408, "header_timeout, from its first byte")


def test_a_peer_outside_trusted_is_closed_and_counted(gate):
    g = listening(gate, text=LISTENING.replace("trusted = 127.0.0.1, unix", "trusted = 192.0.2.0/24"))
    same(asked(g, LINE + GET), b"")

    def all_of_them(): # the harness has looked whether it listens, too
        now = g.counted()
        return now["connections"] > 1 and now["proxy_untrusted"] == now["connections"]
    true(wait_for(all_of_them), g.counted())


def test_fields_count_only_from_who_is_trusted(gate):
    """The header's source is the peer from then on: it is not believed what it says of others."""
    g = listening(gate)
    get = GET.replace(b"Host", b"X-Forwarded-For: 203.0.113.5\r\nHost")
    same(content(asked(g, LINE + get)), "client=192.0.2.7:56324 scheme=http")
    inside = LINE.replace(b"192.0.2.7", b"127.0.0.1")
    true(content(asked(g, inside + get)).startswith("client=203.0.113.5:"), "a hop that is trusted")


def test_the_setting_needs_trusted(gate):
    with tempfile.NamedTemporaryFile("w", suffix=".ini", dir=BUILD) as f:
        f.write("[listener a]\nlisten = 127.0.0.1:1\nproxy_protocol = v2\n"
                "[route r]\nhandler = respond\n")
        f.flush()
        p = subprocess.run([HEADGATE, "-t", "-c", f.name], capture_output=True, text=True)
    same(p.returncode, 1)
    true(re.search(r":3:\d+: error: proxy_protocol: this needs trusted", p.stdout + p.stderr),
         p.stdout + p.stderr)


def certified(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "9", "-keyout", "k.pem", "-out",
                    "c.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                   cwd=folder, check=True, capture_output=True)


def test_tls_begins_behind_it(gate):
    if "feature  tls" not in subprocess.run([HEADGATE, "-V"], capture_output=True, text=True).stdout:
        raise Skip("built without TLS")
    with tempfile.TemporaryDirectory(dir=BUILD) as pki:
        certified(pki)
        g = listening(gate, text=LISTENING.replace("[route", "tls = t\n[tls t]\n"
                      f"certificate = {pki}/c.pem\nkey = {pki}/k.pem\n[route"))
        c = ssl.create_default_context(cafile=f"{pki}/c.pem")
        for apart in (False, True):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = c.wrap_bio(incoming, outgoing, server_hostname="localhost")
            with socket.create_connection(("127.0.0.1", g.port), 10) as s:
                s.sendall(LINE)
                time.sleep(0.1 if apart else 0)
                for step in (tls.do_handshake, lambda: tls.write(GET), lambda: tls.read(1 << 16)):
                    while True:
                        try:
                            got = step()
                            break
                        except ssl.SSLWantReadError:
                            s.sendall(outgoing.read())
                            incoming.write(s.recv(1 << 16))
            same(content(got), "client=192.0.2.7:56324 scheme=https")
        for pieces in ((LINE + GET,), (LINE, GET)):
            same(parse_response(asked(g, *pieces))[2], b"400 Bad Request: plain_on_tls\nplain HTTP was spoken where TLS is\n",
                 "who speaks plainly is told so, however it comes")


# --- told on --------------------------------------------------------------------------------

FORWARDING = """
[server]
workers = {workers}
[listener a]
listen = 127.0.0.1:{port}
trusted = 127.0.0.1
client_ip_from = x-forwarded-for
[upstream u]
server = {scheme}127.0.0.1:{origin}
proxy_protocol = {version}
{more}
[route all]
handler = forward
upstream = u
"""


class Told(socketserver.ThreadingTCPServer):
    """An origin that wants a PROXY header and answers with what it says, and which connection
    of its own it was."""
    daemon_threads = allow_reuse_address = True

    def __init__(self):
        self.lock, self.count = threading.Lock(), 0
        super().__init__(("127.0.0.1", 0), Told.Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            with self.server.lock:
                self.server.count += 1
                number = self.server.count
            begin = self.rfile.read(6)
            if begin == SIGNATURE[:6]:
                head = begin + self.rfile.read(10)
                body = self.rfile.read(struct.unpack(">H", head[14:])[0])
                if head[12] == 0x20:
                    who = "local"
                else:
                    who = "%s %s %d %d" % (socket.inet_ntoa(body[:4]), socket.inet_ntoa(body[4:8]),
                                           *struct.unpack(">HH", body[8:]))
            else:
                line = (begin + self.rfile.readline()).decode().split()
                who = " ".join(line[2:]) if line[1] != "UNKNOWN" else "local"
            while line := self.rfile.readline():
                while line not in (b"\r\n", b""):
                    line = self.rfile.readline()
                said = f"{who} connection={number}".encode()
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
                                 % (len(said), said))


def ask(s, fields=""):
    s.sendall(f"GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode())
    return read_response(s)[2].decode()


def test_an_origin_is_told_both_ends(gate):
    told = Told()
    for version in ("v1", "v2"):
        g = gate(FORWARDING, workers=2, origin=told.server_address[1], version=version, scheme="",
                 more="")
        with g.connect() as one, g.connect() as two:
            for s in (one, two, one, two):
                name = s.getsockname()
                true(ask(s).startswith(f"127.0.0.1 127.0.0.1 {name[1]} {g.port} "), version)
            true(ask(one, "X-Forwarded-For: 203.0.113.5\r\n").startswith(
                f"203.0.113.5 127.0.0.1 0 {g.port} "), "whom we believe it is for")
    told.shutdown()


def test_two_clients_are_never_taken_for_each_other(gate):
    """Whatever connections are kept: an identity belongs to one connection to the origin."""
    told = Told()
    for workers in (1, 4):
        g = gate(FORWARDING, workers=workers, origin=told.server_address[1], version="v2",
                 scheme="", more="")
        owner = {}
        with g.connect() as one, g.connect() as two:
            for s in [one, two] * 20:
                said = ask(s)
                who, connection = said.split()[2], said.split("=")[1]
                same(int(who), s.getsockname()[1], "the client's own port")
                same(owner.setdefault(connection, who), who, "of one client only")
    told.shutdown()


def test_nginx_hears_it(gate):
    """Also in front of TLS."""
    if not installed("nginx"):
        raise Skip("nginx is missing: apt install nginx")
    with tempfile.TemporaryDirectory(dir=BUILD) as pki:
        certified(pki)
        plain, secure = free_port(), free_port()
        answer = "location / { return 200 \"$proxy_protocol_addr $proxy_protocol_port\"; }"
        nginx = Nginx("} " # of the server there is
                      f"server {{ listen 127.0.0.1:{plain} proxy_protocol; {answer} }}\n"
                      f"server {{ listen 127.0.0.1:{secure} ssl proxy_protocol; {answer}\n"
                      f"ssl_certificate {pki}/c.pem; ssl_certificate_key {pki}/k.pem;")
        tls = "feature  tls" in subprocess.run([HEADGATE, "-V"], capture_output=True,
                                               text=True).stdout
        for port, scheme, more in ((plain, "", ""),
                                   (secure, "https://", f"tls_ca = {pki}/c.pem\n"
                                    "tls_name = localhost")):
            if scheme and not tls:
                continue
            for version in ("v1", "v2"):
                g = gate(FORWARDING, workers=1, origin=port, version=version, scheme=scheme,
                         more=more)
                with g.connect() as s:
                    for _ in range(3):
                        same(ask(s), f"127.0.0.1 {s.getsockname()[1]}", scheme + version)
        nginx.end()


def test_from_nginx_through_us_to_an_origin(gate):
    """What a balancer in front of us says of its client is what the origin hears."""
    told = Told()
    text = FORWARDING.replace("trusted = 127.0.0.1\n", "trusted = 127.0.0.1\nproxy_protocol = v1\n")
    g = gate(text, workers=1, origin=told.server_address[1], version="v1", scheme="", more="")
    true(content(asked(g, LINE + GET)).startswith(f"192.0.2.7 127.0.0.1 56324 {g.port} "))
    told.shutdown()


if __name__ == "__main__":
    main([t for n, t in sorted(globals().items()) if n.startswith("test_")], at_once=4)
