#!/usr/bin/env python3
"""TLS as clients meet it: choice by name, staples, strange bytes, mistakes."""
import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from harness import (HEADGATE, Skip, needs_its_own_memory, parse_response, read_all, read_response, same, true,
                     typed, wait_for)
from origin import Origin
from tls import (DIR, HELLO, IS_CA, TLS, TWO, V12, V13, ask, certificate, connect, context, openssl, path,
                 run, s_client, serial, served, tls_gate)


def test_both_versions_are_spoken_and_no_other(gate):
    g = tls_gate(gate)
    for version, name in ((V12, "TLSv1.2"), (V13, "TLSv1.3")):
        with connect(g, c=context(version, version)) as s:
            for _ in range(3):
                status, _, content, _ = ask(s)
                same(status, 200)
                true(content.startswith(f"version={name} cipher=".encode()), content)
                true(content.endswith(b"sni=one.test scheme=https"), content)
    old = context(ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    try:
        connect(g, c=old)
        raise AssertionError("TLS 1.1 was spoken")
    except ssl.SSLError:
        pass
    # And the handshake that failed is counted.
    g.signal(signal.SIGTERM)
    same(g.process.wait(10), 0)
    true("tls_failed=1\n" in g.said(), g.said())


def test_curl_speaks_and_verifies(gate):
    g = tls_gate(gate)
    for flags in (["--tls-max", "1.2"], ["--tlsv1.3"], ["--http1.0"], ["--http1.1"], ["--http2"]):
        p = subprocess.run(["curl", "-sS", "--cacert", path("root.pem"), "--resolve",
                            f"one.test:{g.port}:127.0.0.1", *flags,
                            f"https://one.test:{g.port}/hello"], capture_output=True, timeout=20)
        true(p.stdout.startswith(b"version=TLSv1."), (flags, p.stdout, p.stderr))


def test_large_content_goes_both_ways_unchanged(gate):
    g = tls_gate(gate, TLS.replace("[server]\n", "[server]\nmax_body = 20m\n") + "[route up]\npath = "
                 "/up\nhandler = respond\nbody = got\n")
    want = os.urandom(3_000_000)
    for size in (1, 16383, 16384, 16385, 65536, 100_000, 3_000_000):
        with open(os.path.join(g.dir, f"f{size}"), "wb") as f:
            f.write(want[:size])
    with connect(g) as s:
        for size in (1, 16383, 16384, 16385, 65536, 100_000, 3_000_000):
            status, _, content, _ = ask(s, f"/files/f{size}")
            same(status, 200)
            true(content == want[:size], f"{size} bytes are others")
    # Upwards: in records of every size.
    with connect(g) as s:
        s.sendall(b"POST /up HTTP/1.1\r\nHost: one.test\r\nContent-Length: 100000\r\n\r\n")
        left = 100_000
        while left:
            n = min(left, 1 + left % 7919)
            s.sendall(want[:n])
            left -= n
        same(read_response(s)[0], 200)
        same(ask(s)[0], 200)


def record_sizes(g, target):
    """Of the records that carry the answer, as they come: of TLS 1.2, where no ticket follows."""
    incoming, outgoing, sizes, raw = ssl.MemoryBIO(), ssl.MemoryBIO(), [], b""
    tls = context(V12, V12).wrap_bio(incoming, outgoing, server_hostname="one.test")
    with g.connect() as s:
        def step(what):
            while True:
                try:
                    return what()
                except ssl.SSLWantReadError:
                    s.sendall(outgoing.read())
                    incoming.write(s.recv(1 << 16))
        step(tls.do_handshake)
        tls.write(f"GET {target} HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n".encode())
        s.sendall(outgoing.read())
        raw = read_all(s)
    while len(raw) >= 5:
        n = int.from_bytes(raw[3:5], "big")
        sizes.append(n)
        raw = raw[5 + n:]
    return sizes


def test_records_are_filled_before_they_are_encrypted(gate):
    g = tls_gate(gate)
    with open(os.path.join(g.dir, "big"), "wb") as f:
        f.write(os.urandom(1 << 20))
    sizes = record_sizes(g, "/files/big")
    true(len(sizes) < (1 << 20) / 16384 * 1.3, (len(sizes), sizes[:20]))
    true(sum(n >= 16384 for n in sizes) > 48, sizes)
    same(len([n for n in record_sizes(g, "/hello") if n > 64]), 1, "head and content in one")


def test_pipelined_requests_are_answered_in_order(gate):
    g = tls_gate(gate)
    with connect(g) as s:
        s.sendall(b"".join(f"GET /hello HTTP/1.1\r\nHost: h{i}.wild.test\r\n\r\n".encode()
                           for i in range(200)))
        rest = b""
        for i in range(200):
            while b"https" not in rest:
                rest += s.recv(1 << 16)
            head, _, rest = rest.partition(b"scheme=https")
            true(b"200 OK" in head, head)


def test_the_end_is_said_on_both_sides(gate):
    g = tls_gate(gate)
    with connect(g) as s:
        s.sendall(HELLO)
        data = b""
        while piece := s.recv(1 << 16):  # an end without close_notify would raise
            data += piece
        same(parse_response(data)[0], 200)
        s.unwrap()


def test_content_that_ends_with_the_connection_is_cut_off(gate):
    origin = Origin()
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    g = tls_gate(gate, TLS + f"[upstream u]\nserver = 127.0.0.1:{origin.port}\n[route up]\npath = /up\n"
                 "handler = forward\nupstream = u\n")
    s = connect(g)
    s.sendall(b"POST /up HTTP/1.1\r\nHost: one.test\r\nContent-Length: 100\r\n\r\nonly this")
    s.shutdown(socket.SHUT_RDWR)  # without close_notify
    s.close()
    true(wait_for(lambda: '"cause":"client_truncated"' in g.read("access.log")), g.read("access.log"))
    g.signal(signal.SIGTERM)
    same(g.process.wait(10), 0)


# --- the choice ----------------------------------------------------------------------------


def test_the_name_decides_the_certificate(gate):
    g = tls_gate(gate, TWO)
    for name, want in (("one.test", "one"), ("WWW.one.TEST", "one"), ("a.wild.test", "one"),
                       ("two.test", "two"), ("three.test", "three"), ("unknown.test", "one"),
                       ("a.b.wild.test", "one"), (None, "one")):
        for version in ("-tls1_2", "-tls1_3"):
            same(served(g, name, version), want, f"{name} {version}")


def test_the_names_that_are_written_decide(gate):
    """Instead of the certificate's, over all sections of a listener: exact, wildcard, the first."""
    g = tls_gate(gate, TWO.replace("tls = one, two\n", "tls = two, one\n")
                 .replace("[tls one]\n", "[tls one]\nnames = other.test, *.one.test\n")
                 .replace("[tls two]\n", "[tls two]\nnames = two.test, www.one.test, *.sub.one.test\n"))
    for name, want in (("other.test", "one"), ("a.one.test", "one"), ("www.one.test", "two"),
                       ("x.sub.one.test", "two"), ("one.test", "two"), ("x.y.one.test", "two")):
        same(served(g, name), want, name)


def test_a_reload_may_turn_a_port_to_tls_and_back(gate):
    """Connections stay what they began as."""
    plain = TLS.replace("tls = one\n", "", 1)
    g = tls_gate(gate, plain)

    def reload(text):
        before = g.said().count("reloaded")
        g.write(text)
        g.signal(signal.SIGHUP)
        true(wait_for(lambda: g.said().count("reloaded") > before), g.said())

    with g.connect() as was_plain:
        true(b"scheme=http" in ask(was_plain)[2])
        reload(TLS)
        with connect(g) as s:
            true(b"scheme=https" in ask(s)[2])
            true(ask(was_plain)[2].endswith(b"scheme=http"))
            reload(plain)
            true(b"scheme=https" in ask(s)[2])
            true(g.get("/hello")[2].endswith(b"scheme=http"))


def test_unknown_names_can_be_refused(gate):
    g = tls_gate(gate, TWO.replace("tls = one, two\n", "tls = one, two\nunknown_sni = refuse\n"))
    same(served(g, "two.test"), "two")
    same(served(g, "unknown.test"), "alert")
    same(served(g, "a.b.wild.test"), "alert")
    same(served(g, None), "one")


def test_rsa_stands_beside_ecdsa(gate):
    g = tls_gate(gate, TLS.replace("{pki}/one.pem", "{pki}/onersa.pem, {pki}/one.pem")
                 .replace("{pki}/one.key", "{pki}/one.key, {pki}/onersa.key"))
    same(served(g, "one.test"), "one")
    same(served(g, "one.test", "-sigalgs", "RSA-PSS+SHA256"), "onersa")
    same(served(g, "one.test", "-sigalgs", "RSA-PSS+SHA256", "-tls1_2"), "onersa")
    same(served(g, "one.test", "-sigalgs", "ECDSA+SHA256", "-tls1_2"), "one")


def test_profiles_ciphers_and_groups_are_obeyed(gate):
    g = tls_gate(gate, TLS.replace("watch = off", "watch = off\nprofile = modern\n"
                                   "ciphers = TLS_CHACHA20_POLY1305_SHA256\ngroups = P-384"))
    said = s_client(g, "-servername", "one.test")
    true("TLS_CHACHA20_POLY1305_SHA256" in said and "TLSv1.3" in said, said)
    true("secp384r1" in said or "P-384" in said, said)
    said = s_client(g, "-servername", "one.test", "-tls1_2")
    true("alert protocol version" in said, said)


def test_the_server_chooses_the_cipher(gate):
    g = tls_gate(gate)
    fast, strong = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"
    said = s_client(g, "-servername", "one.test", "-tls1_2", "-cipher", f"{strong}:{fast}")
    true(fast in said, said)
    said = s_client(g, "-servername", "one.test", "-ciphersuites", "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256")
    true("TLS_AES_128_GCM_SHA256" in said, said)


def test_protocols_are_agreed_or_refused(gate):
    g = tls_gate(gate)
    with connect(g, c=context(alpn=["http/1.1"])) as s:
        same(s.selected_alpn_protocol(), "http/1.1")
        same(ask(s)[0], 200)
    with connect(g) as s:
        same(s.selected_alpn_protocol(), None)
        same(ask(s)[0], 200)
    with connect(g, c=context(alpn=["http/1.0"])) as s:
        same(s.selected_alpn_protocol(), "http/1.0")
    if "HTTP/2" in subprocess.run(["curl", "-V"], capture_output=True, text=True).stdout:
        with connect(g, c=context(alpn=["http/1.1", "h2"])) as s:
            same(s.selected_alpn_protocol(), "h2")
        p = subprocess.run(["curl", "-sS", "--http2", "--cacert", path("root.pem"), "--resolve",
                            f"one.test:{g.port}:127.0.0.1", "-w", "%{http_version}",
                            f"https://one.test:{g.port}/hello"], capture_output=True, timeout=20)
        true(p.stdout.endswith(b"scheme=https2"), p)
    said = s_client(g, "-alpn", "spdy/1")
    true("no application protocol" in said, said)


# --- plain listeners ------------------------------------------------------------------------------

REDIRECT = TLS + """
[listener plain]
listen = 127.0.0.1:{port2}
https_redirect = yes
https_port = {port}
[route acme]
listener = plain
path = /.well-known/acme-challenge/*
handler = respond
body = token
"""


def test_plain_requests_go_to_https(gate):
    g = tls_gate(gate, REDIRECT)
    status, fields, _ = g.get("/a%20b?c=d&e", port=g.port2)
    same((status, fields["location"]), (308, f"https://localhost:{g.port}/a%20b?c=d&e"))
    same(g.get("/.well-known/acme-challenge/x", port=g.port2)[2], b"token")
    status, fields, _ = g.get("/hello", port=g.port2, method="POST", body=b"x")
    same((status, fields["location"]), (308, f"https://localhost:{g.port}/hello"))
    same(parse_response(g.say(b"GET / HTTP/1.0\r\n\r\n", g.port2))[0], 404)
    g = tls_gate(gate, REDIRECT.replace("[route hello]", "[route hello]\nhost = one.test")
                 .replace("[route files]", "[route files]\nhost = *.one.test")
                 .replace("[route echo]", "[route echo]\nlistener = plain"))
    for host, want in (("one.test", 308), ("www.one.test", 308), ("two.test", 404), ("test", 404)):
        answer = g.say(f"GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode(), g.port2)
        same(parse_response(answer)[0], want, host)


def test_plain_http_where_tls_is_spoken_is_told_so(gate):
    g = tls_gate(gate)
    for said in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /x HTTP/1.0\r\nContent-Length: 9\r\n\r\nabcdefghi",
                 b"OPTIONS * HTTP/1.1\r\n", b"PUT /a", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000):
        status, fields, content = parse_response(g.say(said))
        same((status, content), (400, b"400 Bad Request: plain_on_tls\nplain HTTP was spoken where TLS is\n"), said[:40])
        same(fields["connection"], "close")
        true("strict-transport-security" not in fields, fields)
    for said in (b"SSH-2.0-x\r\n", b"get / HTTP/1.1\r\n\r\n", b"GET\0", b"\x16\x03\x01"):
        with g.connect() as s:
            s.sendall(said)
            s.shutdown(socket.SHUT_WR)
            true(not read_all(s).startswith(b"HTTP"), said)
    with connect(g) as s:
        same(ask(s)[0], 200)
    same(g.counted()["plain_on_tls"], 6)
    true(wait_for(lambda: g.read("access.log").count('"cause":"plain_on_tls"') == 6), g.read("access.log"))


# --- staples ------------------------------------------------------------------------------------------


def staple(name, days=3, seconds=None):
    """An OCSP response about a certificate of root, good for so long."""
    index, out = path(f"{name}.{days}.{seconds}.index"), f"{name}.{days}.{seconds}.ocsp"
    serial = openssl("x509", "-in", f"{name}.pem", "-noout", "-serial").decode().split("=")[1].strip()
    with open(index, "w") as f:
        f.write(f"V\t360101000000Z\t\t{serial}\tunknown\t/CN={name}/O=Test\n")
    ask = ["ocsp", "-index", index, "-CA", "root.pem", "-rsigner", "root.pem", "-rkey", "root.key",
           "-issuer", "root.pem", "-cert", f"{name}.pem", "-respout", out]
    openssl(*ask, "-ndays", str(days))
    if seconds:
        soon(path(out), seconds)
    return path(out)


def soon(file, seconds):
    """Signed by nobody who saw it like this, which only a client would find out."""
    with open(file, "rb") as f:
        der = f.read()
    times = sorted(set(re.findall(rb"\x18\x0f(\d{14}Z)", der)))
    when = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds)).encode()
    with open(file, "wb") as f:
        f.write(der.replace(times[-1], when))


def stapled(g, version):
    said = s_client(g, "-servername", "one.test", "-status", version)
    true("OCSP response:" in said, said)
    return "OCSP Response Status: successful" in said and "Cert Status: good" in said


def test_a_staple_is_sent_while_it_is_good(gate):
    file = staple("one", seconds=5)
    end = time.time() + 5 # or up to a second earlier, and what it took to write that
    g = tls_gate(gate, TLS.replace("watch = off", f"watch = off\nocsp = {file}"))
    for version in ("-tls1_2", "-tls1_3"):
        true(stapled(g, version) or time.time() > end - 2, version)
    time.sleep(max(0, end + 1 - time.time()))
    for version in ("-tls1_2", "-tls1_3"):
        true(not stapled(g, version), f"an old staple {version}")
    p = subprocess.run([HEADGATE, "-t", "-c", g.ini], capture_output=True, text=True)
    true(p.returncode == 0 and "it has expired and is not sent" in p.stderr, p.stderr)


def test_a_staple_is_sent_with_its_certificate(gate):
    files = ", ".join((staple("one"), staple("two")))
    g = tls_gate(gate, TLS.replace("watch = off", f"watch = off\nocsp = {staple('one', 3)}"))
    for version in ("-tls1_2", "-tls1_3"):
        said = s_client(g, "-servername", "one.test", "-status", version)
        true("OCSP Response Status: successful" in said and "Cert Status: good" in said, said)
    # One about no certificate of ours is a mistake.
    with open(g.ini) as f:
        text = f.read().replace(staple("one"), files)
    with open(g.ini, "w") as f:
        f.write(text)
    p = subprocess.run([HEADGATE, "-t", "-c", g.ini], capture_output=True, text=True)
    true(p.returncode == 1 and "about none of the certificates" in p.stderr, p.stderr)


# --- strange bytes ---------------------------------------------------------------------------------------


def test_a_handshake_byte_by_byte_is_a_handshake(gate):
    g = tls_gate(gate)
    c = context()
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = c.wrap_bio(inward, outward, server_hostname="one.test")
    with g.connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def exchange(action):
            while True:
                try:
                    result = action()
                except ssl.SSLWantReadError:
                    result = None
                out = outward.read()
                for i in range(len(out)):
                    s.sendall(out[i:i + 1])
                    if i % 16 == 0:
                        time.sleep(0.0005)
                if result is not None:
                    return result
                if out and action == tls.do_handshake:
                    pass
                inward.write(s.recv(1 << 14))

        exchange(lambda: tls.do_handshake() or True)
        exchange(lambda: tls.write(HELLO))
        data = b""
        while b"scheme=https" not in data:
            data += exchange(lambda: tls.read(1 << 14))
        true(data.startswith(b"HTTP/1.1 200"), data)


def test_garbage_and_early_ends_harm_nobody(gate):
    g = tls_gate(gate)
    hello = capture_hello()
    pieces = [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 100, b"\x16\x03\x01\0\0",
              os.urandom(4000), b"\x15\x03\x03\0\2\2\50", hello[:-1], hello[:1], hello[:40],
              hello + os.urandom(500), hello + hello, b"\x80\x2e\x01\0\2"]
    for i in range(60):
        bad = bytearray(hello)
        bad[i * len(hello) // 60] ^= 1 << (i % 8)
        pieces.append(bytes(bad))
    for piece in pieces:
        with g.connect(seconds=0.2) as s:
            s.sendall(piece)
            if len(piece) % 2:
                s.shutdown(socket.SHUT_WR)
            read_all(s)
    # And behind a handshake that succeeded.
    for junk in (b"\x17\x03\x03\0\x20" + os.urandom(32), os.urandom(100), b"\x17\x03\x03\xff\xff"):
        s = connect(g)
        same(ask(s)[0], 200)
        raw = socket.socket(fileno=os.dup(s.fileno()))
        raw.sendall(junk)
        raw.settimeout(5)
        read_all(raw)
        raw.close()
        s.close()
    with connect(g) as s:
        same(ask(s)[0], 200)
    true(g.alive())


def capture_hello():
    outward = ssl.MemoryBIO()
    tls = context().wrap_bio(ssl.MemoryBIO(), outward, server_hostname="one.test")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outward.read()


def test_renegotiation_is_refused(gate):
    g = tls_gate(gate)
    p = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{g.port}", "-tls1_2",
                          "-servername", "one.test"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, cwd=DIR)
    said = typed(p, (b"Verify return code", b"R\n"), (b"RENEGOTIATING", HELLO))
    true("RENEGOTIATING" in said, said)
    true("no renegotiation" in said and "HTTP/1.1" not in said, said)
    true(g.alive())


def test_who_does_not_shake_hands_is_not_waited_for(gate):
    g = tls_gate(gate, TLS.replace("[server]\n", "[server]\nhandshake_timeout = 500ms\n"))
    hello = capture_hello()
    for piece in (b"", hello[:50]):
        began = time.monotonic()
        with g.connect() as s:
            s.sendall(piece)
            same(s.recv(100), b"")
        took = time.monotonic() - began
        true(0.3 < took < 4, took)
    g.signal(signal.SIGTERM)
    same(g.process.wait(10), 0)
    true("handshake_timeout=" in g.said(), g.said())


def test_many_handshakes_at_once_all_succeed(gate):
    g = tls_gate(gate)
    good = []

    def client():
        for _ in range(5):
            with connect(g) as s:
                good.append(ask(s)[0] == 200)

    threads = [threading.Thread(target=client) for _ in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    same((len(good), all(good)), (150, True))


def test_a_crowd_of_handshakes_is_spread_over_turns(gate):
    """So that it does not hold up those who are there: at most a few full ones in each."""
    many, few = 48, 4
    g = tls_gate(gate, TLS.replace("workers = 2", "workers = 1"))
    with connect(g) as s:
        same(ask(s)[0], 200)
        before = g.counted()
        g.signal(signal.SIGSTOP)
        crowd = []
        for _ in range(many):
            raw = g.connect(seconds=20)
            come, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context().wrap_bio(come, goes, server_hostname="one.test")
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            raw.sendall(goes.read())
            crowd.append(raw)
        g.signal(signal.SIGCONT)
        for raw in crowd:
            true(raw.recv(1 << 16).startswith(b"\x16\x03"), "its turn comes")
            raw.close()
        after = g.counted()
        same(ask(s)[0], 200)
    # Who has to wait for the next turn is counted each time.
    deferred, turns = (after[n] - before[n] for n in ("deferred", "turns"))
    true(deferred >= many and turns >= many / (2 * few), (deferred, turns))


def memory_of_idle(g, many):
    def rounds(n):
        held = []
        for _ in range(n):
            s = connect(g)
            # Full records both ways, so that memory is touched where there is any.
            same(ask(s, "/echo", method="POST", body=b"x" * 16384)[0], 200)
            same(len(ask(s, "/files/full")[2]), 16384)
            held.append(s)
        return held
    with open(os.path.join(g.dir, "full"), "wb") as f:
        f.write(b"x" * 16384)
    with connect(g) as s:  # what the engine has for all of them has been touched before, too
        for _ in range(500):
            same(ask(s, "/echo", method="POST", body=b"x" * 16384)[0], 200)
    few, before = rounds(30), g.rss_kib()
    held = rounds(many)
    grown = g.rss_kib() - before
    for s in few + held:
        s.close()
    return grown / many


def test_idle_connections_hold_no_buffers(gate):
    """Of what OpenSSL needs for one two thirds are its buffers for records."""
    needs_its_own_memory()
    g = tls_gate(gate, TLS.replace("workers = 2", "workers = 1"))
    each = memory_of_idle(g, 150)
    print(f"# an idle connection over TLS: {each:.1f} KiB")
    version = subprocess.run([HEADGATE, "-V"], capture_output=True, text=True).stdout
    most = 25 if "OpenSSL 3.0" in version else 40  # later ones need more for themselves
    true(each < most, f"{each:.1f} KiB each")


test_idle_connections_hold_no_buffers.alone = True


# --- mistakes in the configuration -------------------------------------------------------------------------


def check(text):
    ini = tempfile.NamedTemporaryFile("w", suffix=".ini", dir=DIR, delete=False)
    with ini:
        ini.write(text.replace("{pki}", DIR).replace("{dir}", DIR).replace("{port}", "18443"))
    p = subprocess.run([HEADGATE, "-t", "-c", ini.name], capture_output=True, text=True, timeout=20)
    return p.returncode, p.stderr + p.stdout


CLIENT = "[upstream ours]\nserver = https://127.0.0.1:1\ntls_certificate = {pki}/%s.pem\ntls_key = {pki}/%s.key\n"


def test_mistakes_are_said_before_anything_starts(_):
    if "feature  tls" not in subprocess.run([HEADGATE, "-V"], capture_output=True, text=True).stdout:
        raise Skip("built without TLS")
    with open(path("one.pem")) as f:
        leaf, root = re.findall(r"-----BEGIN.*?END CERTIFICATE-----\n", f.read(), re.S)
    with open(path("wrong.pem"), "w") as f:
        f.write(root + leaf)
    with open(path("order.pem"), "w") as f, open(path("partners.pem")) as g:
        f.write(leaf + g.read())
    with open(path("empty.pem"), "w") as f:
        f.write("nothing\n")
    os.chmod(path("empty.pem"), 0o600)
    shutil.copy(path("one.key"), path("loose.key"))
    os.chmod(path("loose.key"), 0o644)
    for name, mode in (("strict.ticket", 0o600), ("loose.ticket", 0o644)):
        with open(path(name), "wb") as f:
            f.write(os.urandom(80))
        os.chmod(path(name), mode)
    openssl("ec", "-in", "one.key", "-aes128", "-passout", "pass:x", "-out", "secret.key")
    os.chmod(path("secret.key"), 0o600)
    for name, days in (("soon", 20), ("later", 23)):
        certificate(name, [name + ".test"], days=days)
    certificate("middle", [], days=20, more=IS_CA)
    certificate("end", ["end.test"], "middle", days=90, bundle=True)
    for change, code, want in (
            ({}, 0, "fine"),
            ({"one.key": "two.key"}, 1, "no key fits it"),
            ({"one.pem": "two.pem"}, 1, "no certificate fits it"),
            ({"{pki}/one.key": "{pki}/one.key, {pki}/two.key"}, 1, "two.key: no certificate fits it"),
            ({"one.pem": "wrong.pem"}, 1, "the server's own certificate comes first"),
            ({"one.pem": "order.pem"}, 1, "wrong order"),
            ({"one.pem": "empty.pem"}, 1, "there is no certificate in it"),
            ({"one.key": "empty.pem"}, 1, "there is no private key in it"),
            ({"one.key": "secret.key"}, 1, "passphrase"),
            ({"one.pem": "missing.pem"}, 1, "missing.pem: not found"),
            ({"one.key": "loose.key"}, 1, "readable by others"),
            ({"one.key": "loose.key", "watch = off": "watch = off\nloose_keys = yes"}, 0, "fine"),
            ({"one.": "soon."}, 0, "CN=soon/O=Test expires in"),
            ({"one.": "end."}, 0, "CN=middle/O=Test expires in"),
            ({"watch = off": "watch = off\nnames = other.test"}, 0, "no certificate is for other.test"),
            ({"watch = off": "watch = off\nciphers = NONSENSE"}, 1, "NONSENSE"),
            ({"watch = off": "watch = off\ngroups = NONSENSE"}, 1, "NONSENSE"),
            ({"watch = off": "watch = off\nticket_keys = {pki}/empty.pem"}, 1, "8 bytes; a key has 80"),
            ({"watch = off": "watch = off\nticket_keys = {pki}/strict.ticket"}, 0, "strict.ticket: mode 0600, read by"),
            ({"watch = off": "watch = off\nticket_keys = {pki}/strict.ticket, {pki}/loose.ticket"}, 1,
             "error: ticket_keys: " + path("loose.ticket") + ": mode 0644: a key readable by others"),
            ({"watch = off": "watch = off\nloose_keys = yes\nticket_keys = {pki}/loose.ticket"}, 0, "fine"),
            ({"[route hello]": CLIENT % ("alice", "alice") + "[route hello]"}, 0, "alice.key: mode 0600, read by"),
            ({"[route hello]": CLIENT % ("one", "loose") + "[route hello]"}, 0,
             "warning: tls_key: " + path("loose.key") + ": mode 0644: a key readable by others"),
            ({"watch = off": "watch = off\nocsp = {pki}/empty.pem"}, 1, "no OCSP response"),
            ({"watch = off": "watch = off\nclient_verify = optional"}, 1, "there is no client_ca"),
            ({"watch = off": "watch = off\nclient_ca = {pki}/empty.pem"}, 1, "no certificate in it"),
            ({"tls = one": "tls = onne"}, 1, 'did you mean "one"')):
        text = TLS
        for a, b in change.items():
            text = text.replace(a, b)
        got, said = check(text)
        true(got == code and want in said, f"{change}: {got}: {said}")
    got, said = check(TLS.replace("one.", "later."))
    true(got == 0 and "expires" not in said, f"{got}: {said}")


test_mistakes_are_said_before_anything_starts.once = True


if __name__ == "__main__":
    run(globals(), "one", "onersa", "two", "three", "alice", "partners")
