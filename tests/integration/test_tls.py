#!/usr/bin/env python3
"""TLS as clients meet it: choice by name, resumption, client certificates, new
certificates, strange bytes."""
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from harness import (BUILD, HEADGATE, Skip, main, parse_response, read_all, read_response, same,
                     true, wait_for)

DIR = tempfile.mkdtemp(prefix="tls.", dir=BUILD)

TLS = """
[server]
workers = 2
access_log = {dir}/access.log
log_level = debug
[listener a]
listen = 127.0.0.1:{port}
tls = one
[tls one]
certificate = {pki}/one.pem
key = {pki}/one.key
watch = off
[route hello]
path = /hello
handler = respond
body = "version=${tls_version} cipher=${tls_cipher} sni=${tls_sni} scheme=${scheme}"
[route files]
path = /files/*
handler = static
root = {dir}
strip_prefix = /files
[route echo]
path = /echo
handler = respond
"""


def openssl(*args, **more):
    p = subprocess.run(["openssl", *args], capture_output=True, cwd=DIR, timeout=60, **more)
    if p.returncode:
        raise AssertionError(f"openssl {args}: {p.stderr.decode()}")
    return p.stdout


def certificate(name, hosts, ca=None, kind="ec", days=90, more=(), bundle=False):
    """NAME.pem and NAME.key; by a CA when there is one, else by itself."""
    keys = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "rsa": ["-newkey", "rsa:2048"]}[kind]
    san = ["-addext", "subjectAltName=" + ",".join("DNS:" + h for h in hosts)] if hosts else []
    issue = ["-x509", "-days", str(days)]
    if ca:
        issue += ["-CA", f"{ca}.pem", "-CAkey", f"{ca}.key"]
    openssl("req", *keys, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj",
            f"/CN={name}/O=Test", *san, *issue, *more)
    if bundle:
        with open(path(f"{name}.pem"), "a") as f, open(path(f"{ca}.pem")) as g:
            f.write(g.read())


def path(name):
    return os.path.join(DIR, name)


def make_pki():
    is_ca = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext",
             "keyUsage=critical,keyCertSign,cRLSign")
    no_ca = ("-addext", "basicConstraints=CA:FALSE")
    try:
        certificate("root", [], more=is_ca)
        certificate("partners", [], more=is_ca)
        certificate("others", [], more=is_ca)
        # openssl req of 3.0 takes -CA: what it makes is a chain of two.
        certificate("one", ["one.test", "www.one.test", "*.wild.test", "localhost"], "root",
                    more=no_ca, bundle=True)
        certificate("onersa", ["one.test", "www.one.test", "*.wild.test", "localhost"], "root",
                    kind="rsa", more=no_ca)
        certificate("two", ["two.test"], "root", more=no_ca)
        certificate("three", ["three.test"], "root", more=no_ca)
        certificate("alice", [], "partners", more=no_ca)
        certificate("bob", [], "partners", more=no_ca)
        certificate("mallory", [], "others", more=no_ca)
    except FileNotFoundError:
        print("1..0 # SKIP openssl is missing: apt install openssl")
        sys.exit(0)


def tls_gate(gate, text=TLS, **names):
    if "feature  tls" not in subprocess.run([HEADGATE, "-V"], capture_output=True, text=True).stdout:
        raise Skip("built without TLS")
    return gate(text, pki=DIR, **names)


def context(most=None, least=None, certificate_of=None, alpn=None, ca="root"):
    c = ssl.create_default_context(cafile=path(f"{ca}.pem"))
    if most:
        c.maximum_version = most
    if least:
        c.minimum_version = least
    if certificate_of:
        c.load_cert_chain(path(f"{certificate_of}.pem"), path(f"{certificate_of}.key"))
    if alpn:
        c.set_alpn_protocols(alpn)
    return c


def connect(g, name="one.test", c=None, port=None, session=None):
    s = socket.create_connection(("127.0.0.1", port or g.port), 10)
    s.settimeout(10)
    return (c or context()).wrap_socket(s, server_hostname=name, session=session)


def ask(s, target="/hello", host="one.test", method="GET", fields="", body=b""):
    if body:
        fields += f"Content-Length: {len(body)}\r\n"
    s.sendall(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode() + body)
    return read_response(s)


def s_client(g, *args, say=b"", port=None):
    """What openssl s_client prints when it says something and then is done."""
    p = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port or g.port}", *args],
                       input=say, capture_output=True, cwd=DIR, timeout=30)
    return (p.stdout + p.stderr).decode("latin-1")


HELLO = b"GET /hello HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n"
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


# --- speaking ---------------------------------------------------------------------------


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
    g = tls_gate(gate)
    s = connect(g)
    s.sendall(b"POST /up HTTP/1.1\r\nHost: one.test\r\nContent-Length: 100\r\n\r\nonly this")
    s.shutdown(socket.SHUT_RDWR)  # without close_notify
    s.close()
    g.signal(signal.SIGTERM)
    same(g.process.wait(10), 0)


# --- the choice ----------------------------------------------------------------------------

TWO = TLS.replace("tls = one\n", "tls = one, two\n") + """
[tls two]
certificate = {pki}/two.pem, {pki}/three.pem
key = {pki}/three.key, {pki}/two.key
watch = off
"""


def served(g, name, *args):
    said = s_client(g, *(["-servername", name] if name else ["-noservername"]), *args)
    found = re.search(r"subject=CN ?= ?(\w+)", said)
    return found[1] if found else "alert" if "unrecognized name" in said else said


def test_the_name_decides_the_certificate(gate):
    g = tls_gate(gate, TWO)
    for name, want in (("one.test", "one"), ("WWW.one.TEST", "one"), ("a.wild.test", "one"),
                       ("two.test", "two"), ("three.test", "three"), ("unknown.test", "one"),
                       ("a.b.wild.test", "one"), (None, "one")):
        for version in ("-tls1_2", "-tls1_3"):
            same(served(g, name, version), want, f"{name} {version}")


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


# --- resumption --------------------------------------------------------------------------------


def resume(g, name, file, *args, port=None):
    """With the session in a file, which s_client has saved."""
    return "Reused" in s_client(g, "-servername", name, "-sess_in", path(file), *args, port=port)


def begin(g, name, file, *args, port=None):
    said = s_client(g, "-servername", name, "-sess_out", path(file), *args, say=HELLO + b"\n",
                    port=port)
    true("New, " in said, said)


def test_sessions_are_resumed_on_any_worker(gate):
    g = tls_gate(gate)
    for version in ("-tls1_2", "-tls1_3"):
        file = f"{gate.engine}{version}.sess"
        begin(g, "one.test", file, version, "-ign_eof")
        for _ in range(8):  # some on each worker
            true(resume(g, "one.test", file, version), version)


def test_sessions_survive_a_reload_and_not_another_section(gate):
    g = tls_gate(gate, TWO)
    for version in ("-tls1_2", "-tls1_3"):
        file = f"{gate.engine}{version}.reload.sess"
        begin(g, "one.test", file, version, "-ign_eof")
        g.signal(signal.SIGHUP)
        true(wait_for(lambda: g.said().count("reloaded") > 0), g.said())
        true(resume(g, "one.test", file, version), version)
        true(not resume(g, "two.test", file, version), "resumed in another section " + version)
        true(resume(g, "one.test", file, version), version)


def test_tickets_can_be_left_out(gate):
    g = tls_gate(gate, TLS.replace("watch = off", "watch = off\ntickets = no"))
    for version in ("-tls1_2", "-tls1_3"):
        file = path(f"{gate.engine}{version}.none.sess")
        said = s_client(g, "-servername", "one.test", version, "-sess_out", file, "-ign_eof", say=HELLO)
        true("TLS session ticket:" not in said, said)
        if os.path.exists(file):
            true(not resume(g, "one.test", file, version), version)


def test_ticket_keys_age(gate):
    g = tls_gate(gate, TLS.replace("watch = off", "watch = off\nticket_rotation = 2s"))
    file = f"{gate.engine}.age.sess"
    begin(g, "one.test", file, "-tls1_2", "-ign_eof")
    true(resume(g, "one.test", file, "-tls1_2"))
    time.sleep(4.5)
    true(not resume(g, "one.test", file, "-tls1_2"), "a key of two periods ago")


def test_ticket_keys_of_a_fleet_are_shared(gate):
    for n in range(2):
        with open(path(f"{gate.engine}.{n}.ticket"), "wb") as f:
            f.write(os.urandom(80))
        os.chmod(path(f"{gate.engine}.{n}.ticket"), 0o600)
    text = TLS.replace("watch = off", f"watch = off\nticket_keys = {{pki}}/{gate.engine}.%s")
    a = tls_gate(gate, text % f"0.ticket, {{pki}}/{gate.engine}.1.ticket")
    b = tls_gate(gate, text % f"1.ticket, {{pki}}/{gate.engine}.0.ticket")
    c = tls_gate(gate, text % "1.ticket")
    for version in ("-tls1_2", "-tls1_3"):
        file = f"{gate.engine}.fleet{version}.sess"
        begin(a, "one.test", file, version, "-ign_eof")
        true(resume(b, "one.test", file, version))
        true(not resume(c, "one.test", file, version))


# --- clients' certificates --------------------------------------------------------------------

CLIENTS = TWO.replace("[tls two]\n", "[tls two]\nclient_ca = {pki}/partners.pem\nclient_verify = "
                      "optional\nhsts = 1d include_subdomains\n") + """
[route who]
path = /who
handler = respond
body = "${client_cert_verified} ${client_cert_subject} ${client_cert_sha256}"
"""


def test_client_certificates_are_known(gate):
    g = tls_gate(gate, CLIENTS)
    print_of = openssl("x509", "-in", "alice.pem", "-noout", "-fingerprint", "-sha256").decode()
    want = print_of.split("=")[1].strip().replace(":", "").lower()
    for version in (V12, V13):
        c = context(version, version, "alice")
        session = None
        for again in range(2):  # resumed, it is the same one
            with connect(g, "two.test", c, session=session) as s:
                status, fields, content, _ = ask(s, "/who", "two.test")
                same((status, content), (200, f"yes O=Test,CN=alice {want}".encode()), version)
                same(fields.get("strict-transport-security"), "max-age=86400; includeSubDomains")
                session = s.session
                same(s.session_reused, bool(again), f"{version}")
        with connect(g, "two.test", context(version, version)) as s:
            same(ask(s, "/who", "two.test")[2], b"no  ")
    with connect(g) as s:
        same(ask(s, "/who")[2], b"no  ")
        true("strict-transport-security" not in ask(s)[1])


def test_bad_client_certificates_are_refused(gate):
    g = tls_gate(gate, CLIENTS)
    for version in (V12, V13):
        try:
            with connect(g, "two.test", context(version, version, "mallory")) as s:
                ask(s, "/who", "two.test")
            raise AssertionError("mallory came in")
        except (ssl.SSLError, ConnectionError, IndexError):
            pass


def test_required_means_required(gate):
    g = tls_gate(gate, CLIENTS.replace("optional", "required"))
    try:
        with connect(g, "two.test") as s:
            status = ask(s, "/who", "two.test")[0]
        raise AssertionError(f"nobody came in: {status}")
    except (ssl.SSLError, ConnectionError):
        pass
    with connect(g, "two.test", context(certificate_of="alice")) as s:
        same(ask(s, "/who", "two.test")[0], 200)


def test_another_sections_host_is_misdirected(gate):
    g = tls_gate(gate, CLIENTS)
    with connect(g, "one.test") as s:
        same(ask(s, "/hello", "one.test")[0], 200)
        same(ask(s, "/hello", "unknown.test")[0], 200)
        same(ask(s, "/hello", "two.test")[0], 421)
        same(ask(s, "/hello", "TWO.test.:443")[0], 421)
        same(ask(s, "http://two.test/hello", "one.test")[0], 421)
    true(wait_for(lambda: '"cause":"misdirected"' in g.read("access.log")), "it is logged")
    with connect(g, "two.test", context(certificate_of="alice")) as s:
        same(ask(s, "/hello", "three.test")[0], 200)
        same(ask(s, "/hello", "one.test")[0], 421)
    # Without client_ca on either side it is nobody's affair.
    g = tls_gate(gate, TWO)
    with connect(g, "one.test") as s:
        same(ask(s, "/hello", "two.test")[0], 200)


def test_no_session_brings_a_certificate_to_another_section(gate):
    text = CLIENTS.replace("tls = one, two", "tls = one, two, three").replace(
        "{pki}/two.pem, {pki}/three.pem", "{pki}/two.pem").replace("{pki}/three.key, ", "") + """
[tls three]
certificate = {pki}/three.pem
key = {pki}/three.key
client_ca = {pki}/others.pem
client_verify = optional
watch = off
"""
    g = tls_gate(gate, text)
    for version in ("-tls1_2", "-tls1_3"):
        file = f"{gate.engine}{version}.client.sess"
        begin(g, "two.test", file, version, "-ign_eof", "-cert", "alice.pem", "-key", "alice.key")
        true(resume(g, "two.test", file, version), version)
        for other in ("one.test", "three.test"):
            true(not resume(g, other, file, version), f"{other} {version}")
        # Another client_ca under the same name ends it, too.
        g.write(text.replace("client_ca = {pki}/partners.pem", "client_ca = {pki}/others.pem"))
        before = g.said().count("reloaded")
        g.signal(signal.SIGHUP)
        true(wait_for(lambda: g.said().count("reloaded") > before), g.said())
        true(not resume(g, "two.test", file, version), version)
        g.write(text)
        g.signal(signal.SIGHUP)
        true(wait_for(lambda: g.said().count("reloaded") > before + 1), g.said())


def test_revoked_certificates_are_refused(gate):
    base = path(f"{gate.engine}.crl")
    os.makedirs(base, exist_ok=True)
    with open(base + "/cnf", "w") as f:
        f.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={base}/index\ncrlnumber={base}/number\n"
                "default_md=sha256\ndefault_crl_days=30\n")
    for name, text in (("index", ""), ("number", "01\n")):
        with open(f"{base}/{name}", "w") as f:
            f.write(text)
    ca = ["-config", base + "/cnf", "-cert", "partners.pem", "-keyfile", "partners.key"]
    openssl("ca", *ca, "-revoke", "bob.pem")
    openssl("ca", *ca, "-gencrl", "-out", base + "/list.pem")
    g = tls_gate(gate, CLIENTS.replace("client_verify", f"client_crl = {base}/list.pem\nclient_verify"))
    with connect(g, "two.test", context(certificate_of="alice")) as s:
        same(ask(s, "/who", "two.test")[0], 200)
    try:
        with connect(g, "two.test", context(certificate_of="bob")) as s:
            ask(s, "/who", "two.test")
        raise AssertionError("bob came in")
    except (ssl.SSLError, ConnectionError, IndexError):
        pass


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


# --- staples ------------------------------------------------------------------------------------------


def staple(name, days):
    """An OCSP response about a certificate of root, good for so many days."""
    serial = openssl("x509", "-in", f"{name}.pem", "-noout", "-serial").decode().split("=")[1].strip()
    index = path(f"{name}.{days}.index")
    with open(index, "w") as f:
        f.write(f"V\t360101000000Z\t\t{serial}\tunknown\t/CN={name}/O=Test\n")
    openssl("ocsp", "-index", index, "-CA", "root.pem", "-rsigner", "root.pem", "-rkey", "root.key",
            "-issuer", "root.pem", "-cert", f"{name}.pem", "-ndays", str(days), "-respout",
            f"{name}.{days}.ocsp")
    return path(f"{name}.{days}.ocsp")


def test_a_staple_is_sent_with_its_certificate(gate):
    files = ", ".join((staple("one", 3), staple("two", 3)))
    g = tls_gate(gate, TLS.replace("watch = off", f"watch = off\nocsp = {staple('one', 3)}"))
    for version in ("-tls1_2", "-tls1_3"):
        said = s_client(g, "-servername", "one.test", "-status", version)
        true("OCSP Response Status: successful" in said and "Cert Status: good" in said, said)
    # One about no certificate of ours is a mistake.
    with open(g.ini) as f:
        text = f.read().replace(staple("one", 3), files)
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
    said = s_client(g, "-tls1_2", say=b"R\n" + HELLO)
    true("no renegotiation" in said or "HTTP/1.1" not in said, said)
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


# --- new certificates --------------------------------------------------------------------------------------

RENEWED = TLS.replace("{pki}/one", "{dir}/live/one").replace("watch = off", "watch = 200ms")


def renewal(g, number):
    """A certificate of its own in a folder of its own, as certbot keeps them."""
    folder = os.path.join(g, f"archive{number}")
    os.makedirs(folder, exist_ok=True)
    name = f"{os.path.basename(g)}.{number}"
    certificate(name, ["one.test"], "root", more=("-addext", "basicConstraints=CA:FALSE"))
    for end in ("pem", "key"):
        shutil.copy(path(f"{name}.{end}"), os.path.join(folder, f"one.{end}"))
    return folder


def turn_link(folder, target):
    """As an atomic swap."""
    os.symlink(target, folder + "/live.new")
    os.rename(folder + "/live.new", folder + "/live")


def serial(s):
    return ssl.DER_cert_to_PEM_cert(s.getpeercert(True))


def renewed_gate(gate, text=RENEWED):
    """A gateway whose certificate is behind a link."""
    folder = tempfile.mkdtemp(prefix="live.", dir=DIR)
    turn_link(folder, renewal(folder, 1))
    return tls_gate(gate, text.replace("{dir}/live", folder + "/live")), folder


def now_served(g):
    with connect(g) as s:
        return serial(s)


def pem(folder, number):
    with open(os.path.join(folder, f"archive{number}", "one.pem")) as f:
        return re.search("-----BEGIN.*?-----END CERTIFICATE-----\n", f.read(), re.S)[0]


def test_a_turned_link_brings_the_new_certificate(gate):
    g, folder = renewed_gate(gate)
    with connect(g) as old:
        same(serial(old), pem(folder, 1))
        same(ask(old)[0], 200)
        turn_link(folder, renewal(folder, 2))
        true(wait_for(lambda: now_served(g) == pem(folder, 2)), g.said())
        same(ask(old)[0], 200, "the old connection was touched")
        same(serial(old), pem(folder, 1))
    true("have changed and are in use" in g.said(), g.said())


def test_a_certificate_before_its_key_waits_for_it(gate):
    g, folder = renewed_gate(gate)
    live, new = os.path.join(folder, "archive1"), renewal(folder, 2)
    before, after = pem(folder, 1), pem(folder, 2)
    shutil.copy(new + "/one.pem", live + "/one.pem")
    end = time.monotonic() + 3
    while time.monotonic() < end:
        same(now_served(g), before, "it serves half of a pair")
        time.sleep(0.3)
    same(g.said().count("stay in use until it fits"), 1, g.said())
    shutil.copy(new + "/one.key", live + "/one.key")
    true(wait_for(lambda: now_served(g) == after), g.said())


def test_a_reload_brings_the_new_certificate(gate):
    g, folder = renewed_gate(gate, RENEWED.replace("watch = 200ms", "watch = off"))
    turn_link(folder, renewal(folder, 2))
    time.sleep(0.5)
    same(now_served(g), pem(folder, 1))
    g.signal(signal.SIGHUP)
    true(wait_for(lambda: now_served(g) == pem(folder, 2)), g.said())
    # One that does not fit changes nothing.
    shutil.copy(path("two.key"), folder + "/live/one.key")
    g.signal(signal.SIGHUP)
    true(wait_for(lambda: "not reloaded" in g.said()), g.said())
    same(now_served(g), pem(folder, 2))


def test_who_serves_as_nobody_reads_new_keys_and_binds_low_ports(gate):
    if os.geteuid() != 0:
        raise Skip("needs root")
    low = next((p for p in range(600, 1000) if not in_use(p)), None)
    folder = tempfile.mkdtemp(prefix="hg-tls.", dir="/tmp")
    os.chmod(folder, 0o755)
    try:
        for name in ("one", "two"):
            for end in ("pem", "key"):
                shutil.copy(path(f"{name}.{end}"), folder)
                os.chmod(f"{folder}/{name}.{end}", 0o644 if end == "pem" else 0o640)
                shutil.chown(f"{folder}/{name}.{end}", "root", "nogroup")
        text = (TLS.replace("[server]\n", "[server]\nuser = nobody\ngroup = nogroup\n")
                .replace("{pki}", folder).replace("access_log = {dir}/access.log\n", "")
                .replace("root = {dir}", "root = /"))
        with open(folder + "/headgate.ini", "w") as f:
            f.write("")
        g = tls_gate(gate, text)
        shutil.copy(g.ini, folder + "/headgate.ini")
        g.end_now()
        g.ini = folder + "/headgate.ini"
        g.start()
        p = subprocess.run([HEADGATE, "-t", "-c", g.ini], capture_output=True, text=True)
        true("read by root at start and by nobody at reload" in p.stdout, p.stdout)
        first = now_served(g)
        for end in ("pem", "key"):
            with open(f"{folder}/two.{end}") as f, open(f"{folder}/one.{end}", "w") as to:
                to.write(f.read())
        with open(g.ini, "w") as f:
            f.write(open_text(g, text).replace(f"listen = 127.0.0.1:{g.port}",
                                                f"listen = 127.0.0.1:{g.port}, 127.0.0.1:{low}"))
        g.signal(signal.SIGHUP)
        true(wait_for(lambda: "reloaded" in g.said()), g.said())
        for port in (g.port, low):
            with connect(g, "two.test", port=port) as s:
                true(serial(s) != first, "the old certificate")
                same(ask(s)[0], 200)
        with open(f"/proc/{g.process.pid}/limits") as f:
            true(re.search(r"Max core file size +0 +0", f.read()), "it would dump its keys")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def open_text(g, text):
    for name, value in dict(g.names, pki=DIR).items():
        text = text.replace("{" + name + "}", str(value))
    return text.replace("[server]\n", f"[server]\nengine = {g.engine}\n", 1)


def in_use(port):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
            return False
        except OSError:
            return True


# --- origins ------------------------------------------------------------------------------------------------


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


def forwarded(gate, origin, *more):
    return tls_gate(gate, FORWARD, origin=origin.port, more="\n".join(more).replace("{pki}", DIR))


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


def test_content_is_all_there_only_if_the_origin_says_so(gate):
    o = SecureOrigin("one")
    g = forwarded(gate, o, f"tls_ca = {DIR}/root.pem", "tls_name = one.test")
    same(g.get("/end")[2], b"all of it?")
    answer = g.say(b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n", seconds=2)
    true(not answer.endswith(b"0\r\n\r\n"), answer)
    true(wait_for(lambda: "upstream_truncated_body" in g.read("access.log")), g.read("access.log"))


# --- mistakes in the configuration -------------------------------------------------------------------------


def check(text):
    ini = tempfile.NamedTemporaryFile("w", suffix=".ini", dir=DIR, delete=False)
    with ini:
        ini.write(text.replace("{pki}", DIR).replace("{dir}", DIR).replace("{port}", "18443"))
    p = subprocess.run([HEADGATE, "-t", "-c", ini.name], capture_output=True, text=True, timeout=20)
    return p.returncode, p.stderr + p.stdout


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
    openssl("ec", "-in", "one.key", "-aes128", "-passout", "pass:x", "-out", "secret.key")
    os.chmod(path("secret.key"), 0o600)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "soon.key", "-out", "soon.pem", "-days", "10", "-subj", "/CN=soon", "-addext",
            "subjectAltName=DNS:soon.test")
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
            ({"one.": "soon."}, 0, "expires in"),
            ({"watch = off": "watch = off\nnames = other.test"}, 0, "no certificate is for other.test"),
            ({"watch = off": "watch = off\nciphers = NONSENSE"}, 1, "NONSENSE"),
            ({"watch = off": "watch = off\ngroups = NONSENSE"}, 1, "NONSENSE"),
            ({"watch = off": "watch = off\nticket_keys = {pki}/empty.pem"}, 1, "8 bytes; a key has 80"),
            ({"watch = off": "watch = off\nocsp = {pki}/empty.pem"}, 1, "no OCSP response"),
            ({"watch = off": "watch = off\nclient_verify = optional"}, 1, "there is no client_ca"),
            ({"watch = off": "watch = off\nclient_ca = {pki}/empty.pem"}, 1, "no certificate in it"),
            ({"tls = one": "tls = onne"}, 1, 'did you mean "one"')):
        text = TLS
        for a, b in change.items():
            text = text.replace(a, b)
        got, said = check(text)
        true(got == code and want in said, f"{change}: {got}: {said}")


test_mistakes_are_said_before_anything_starts.once = True


if __name__ == "__main__":
    make_pki()
    main([f for n, f in list(globals().items()) if n.startswith("test_")], at_once=4,
         after=lambda: shutil.rmtree(DIR, ignore_errors=True))
