#!/usr/bin/env python3
"""Certificates of clients, and that nothing gets around them."""
import os
import signal
import ssl
import time

import h2client
from harness import needs, same, true, wait_for
from tls import (TLS, TWO, V12, V13, ask, begin, connect, context, openssl, path, resume,
                 run, tls_gate)


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


DEEP = (CLIENTS.replace("[tls two]\n", "[tls two]\nnames = two.test, *.two.test\n")
        .replace("[route who]\n", "[route who]\nhost = two.test, *.two.test, deep.x.two.test, *.three.test\n"))


def test_what_lies_under_a_wildcard_is_the_sections(gate):
    """A route's wildcard covers many labels, that of a handshake one: nobody gets in between them."""
    g = tls_gate(gate, DEEP)
    inside = ("two.test", "a.two.test", "a.b.two.test", "DEEP.x.two.test.:443", "a.b.c.two.test")
    for name in ("one.test", "a.b.two.test"):  # the second is not covered: the first section answers
        c = context()
        c.check_hostname = False
        with connect(g, name, c) as s:
            for host in inside:
                same(ask(s, "/who", host)[0], 421, f"{name} {host}")
            for host in ("nottwo.test", "[::1]", "127.0.0.1", "a.b.unknown.test"):
                same(ask(s, "/hello", host)[0], 200, host)
    with connect(g, "two.test", context(certificate_of="alice")) as s:
        for host in inside:
            same(ask(s, "/who", host)[0], 200, host)
        same(ask(s, "/hello", "a.b.unknown.test")[0], 421)


def test_hosts_that_no_section_names_are_warned_of(gate):
    g = tls_gate(gate, DEEP)
    for host, what in (("two.test", None), ("*.two.test", None), ("*.three.test", "without a certificate"),
                       ("deep.x.two.test", "it belongs to [tls two]")):
        found = [line for line in g.said().splitlines() if f"host: {host}: " in line]
        true(what in found[0] if what and len(found) == 1 else not found and not what, f"{host}: {g.said()}")


test_hosts_that_no_section_names_are_warned_of.once = True


def test_another_sections_host_is_misdirected_over_http2_too(gate):
    """As browsers use one connection for every name that the certificate covers (RFC 9113, 9.1.1)."""
    needs("http/2")
    g = tls_gate(gate, CLIENTS)

    def at(host, path="/hello"):
        return [(n, host if n == ":authority" else v) for n, v in h2client.get(path)]

    def speak(name, **more):
        return h2client.Client(g.port, wrap=lambda s: context(alpn=["h2"], **more).wrap_socket(
            s, server_hostname=name))

    with speak("one.test") as c:
        for stream, host, want in ((1, "one.test", 200), (3, "two.test", 421), (5, "unknown.test", 200),
                                   (7, "TWO.test:443", 421), (9, "www.one.test", 200)):
            same(c.ask(stream, at(host))[0], want, host)
        fields = [f for f in h2client.get("/hello", host="two.test") if f[0] != ":authority"]
        same(c.ask(11, fields)[0], 421, "named by Host")
    with speak("two.test", certificate_of="alice") as c:
        for stream, host, want in ((1, "two.test", 200), (3, "one.test", 421), (5, "three.test", 200)):
            same(c.ask(stream, at(host))[0], want, host)
        true(c.ask(7, at("two.test", "/who"))[1].startswith(b"yes O=Test,CN=alice"))
    same(g.counted()["misdirected"], 4)


def test_a_file_that_is_cut_ends_its_stream_and_no_other(gate):
    """As in clear text, where the system reads the file."""
    needs("http/2")
    g = tls_gate(gate, TLS)

    def file(name):
        return [(n, "one.test" if n == ":authority" else v) for n, v in h2client.get("/files/" + name)]

    for name in ("whole", "a", "b"):
        with open(os.path.join(g.dir, name), "wb") as f:
            f.truncate(200_000)
    for cut, left in (("a", 1000), ("b", 199_990)):
        with h2client.Client(g.port, wrap=lambda s: context(alpn=["h2"]).wrap_socket(
                s, server_hostname="one.test")) as c:
            same(len(c.ask(1, file(cut))[1]), 200_000)
            os.truncate(os.path.join(g.dir, cut), left)
            c.send(h2client.headers(3, file(cut)), h2client.headers(5, file("whole")))
            c.wait(3, 5)
            same((c.resets, c.ended), ({3: h2client.INTERNAL}, {1, 5}), left)
            same(len(c.content[5]), 200_000)
            same(c.ask(7, file("whole"))[0], 200, "the connection goes on")
    same(g.counted().get("file_error"), 2)


def test_a_certificate_that_has_expired_is_not_resumed_with(gate):
    for version in ("-tls1_2", "-tls1_3"):
        name = f"{gate.engine}{version}.short"
        end = short_lived(name)
        g = tls_gate(gate, CLIENTS)
        me = ("-ign_eof", "-cert", f"{name}.pem", "-key", f"{name}.key")
        begin(g, "two.test", name + ".sess", version, *me)
        true(resume(g, "two.test", name + ".sess", version) or time.time() > end, version)
        time.sleep(max(0, end + 1.2 - time.time()))
        true(not resume(g, "two.test", name + ".sess", version), version)


def short_lived(name):
    """A client of the partners, who is one for some seconds; until when."""
    end = int(time.time()) + 6
    base = path(name + ".ca")
    os.makedirs(base)
    with open(base + "/cnf", "w") as f:
        f.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={base}/index\nserial={base}/serial\n"
                f"new_certs_dir={base}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")
    for what, text in (("index", ""), ("serial", "77\n")):
        with open(f"{base}/{what}", "w") as f:
            f.write(text)
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
            f"{name}.key", "-out", base + "/request", "-subj", "/CN=short")
    openssl("ca", "-batch", "-config", base + "/cnf", "-cert", "partners.pem", "-keyfile", "partners.key",
            "-in", base + "/request", "-out", f"{name}.pem", "-notext", "-startdate", "20200101000000Z",
            "-enddate", time.strftime("%Y%m%d%H%M%SZ", time.gmtime(end)))
    return end


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


def revocations(base, *names):
    """A list of them by the partners' CA."""
    os.makedirs(base, exist_ok=True)
    with open(base + "/cnf", "w") as f:
        f.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={base}/index\ncrlnumber={base}/number\n"
                "default_md=sha256\ndefault_crl_days=30\n")
    for name, text in (("index", ""), ("number", "01\n")):
        with open(f"{base}/{name}", "w") as f:
            f.write(text)
    ca = ["-config", base + "/cnf", "-cert", "partners.pem", "-keyfile", "partners.key"]
    for name in names:
        openssl("ca", *ca, "-revoke", name + ".pem")
    openssl("ca", *ca, "-gencrl", "-out", base + "/list.pem")
    return base + "/list.pem"


def refused(g, c, session=None):
    try:
        with connect(g, "two.test", c, session=session) as s:
            ask(s, "/who", "two.test")
        return False
    except (ssl.SSLError, ConnectionError, IndexError):
        return True


def test_revoked_certificates_are_refused(gate):
    crl = revocations(path(f"{gate.engine}.crl"), "bob")
    g = tls_gate(gate, CLIENTS.replace("client_verify", f"client_crl = {crl}\nclient_verify"))
    with connect(g, "two.test", context(certificate_of="alice")) as s:
        same(ask(s, "/who", "two.test")[0], 200)
    true(refused(g, context(certificate_of="bob")), "bob came in")


def test_who_is_revoked_meanwhile_is_refused(gate):
    """The list is watched as certificates are; what was begun before brings nothing."""
    for version in (V12, V13):
        crl = revocations(path(f"{gate.engine}.{version}.live"))
        g = tls_gate(gate, CLIENTS.replace("client_verify", f"client_crl = {crl}\nclient_verify")
                     .replace("watch = off", "watch = 200ms"))
        c = context(version, version, certificate_of="bob")
        with connect(g, "two.test", c) as old:
            same(ask(old, "/who", "two.test")[0], 200)
            session = old.session
            true(not refused(g, c, session), "not yet")
            revocations(os.path.dirname(crl), "bob")
            true(wait_for(lambda: "tls two: its files have changed and are in use" in g.said()), g.said())
            true(wait_for(lambda: refused(g, c)), "bob came in")
            true(refused(g, c, session), "with a session")
            status, fields, *_ = ask(old, "/who", "two.test")
            same((status, fields.get("connection")), (421, "close"), "on the connection that he had")
            same(old.recv(1), b"", "which is over")


def test_a_connection_from_before_another_client_ca_ends(gate):
    """Whoever keeps it would be refused again and again."""
    needs("http/2")
    g = tls_gate(gate, CLIENTS)

    def begun(name):
        c = h2client.Client(g.port, wrap=lambda s: context(alpn=["h2"]).wrap_socket(s, server_hostname=name))
        return c, [(n, name if n == ":authority" else v) for n, v in h2client.get("/hello")]

    for change in ({"partners": "others"}, {"client_ca = {pki}/partners.pem\nclient_verify = optional": ""}):
        (two, at_two), (one, at_one) = begun("two.test"), begun("one.test")
        same((two.ask(1, at_two)[0], one.ask(1, at_one)[0], one.ask(3, at_two)[0]), (200, 200, 421))
        with connect(g, "two.test") as old:
            same(ask(old, "/hello", "two.test")[0], 200)
            text = CLIENTS
            for a, b in change.items():
                text = text.replace(a, b)
            reload(g, text)
            status, fields, *_ = ask(old, "/hello", "two.test")
            same((status, fields.get("connection")), (421, "close"))
        same(two.ask(3, at_two)[0], 421)
        try:
            while True:
                two.next()
        except h2client.Ended:
            pass
        same([code for _, code in two.goaways], [0, 0])
        same((one.ask(5, at_one)[0], one.goaways), (200, []), "another section's stays")
        reload(g, CLIENTS)


def reload(g, text):
    before = g.said().count("reloaded")
    g.write(text)
    g.signal(signal.SIGHUP)
    true(wait_for(lambda: g.said().count("reloaded") > before), g.said())


if __name__ == "__main__":
    run(globals(), "one", "two", "three", "alice", "bob", "mallory")
