"""What the tests of TLS share: certificates, gateways that use them, clients that speak it."""
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile

import harness
from harness import BUILD, HEADGATE, Skip, read_response, true

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


IS_CA = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext",
         "keyUsage=critical,keyCertSign,cRLSign")


def path(name):
    return os.path.join(DIR, name)


def make_pki(*wanted):
    """The certificates that a file of tests needs; those of CAs always."""
    no_ca = ("-addext", "basicConstraints=CA:FALSE")
    try:
        certificate("root", [], more=IS_CA)
        certificate("partners", [], more=IS_CA)
        certificate("others", [], more=IS_CA)
        # openssl req of 3.0 takes -CA: what it makes is a chain of two.
        ones = ["one.test", "www.one.test", "*.wild.test", "localhost"]
        for name, hosts, ca, more in (
                ("one", ones, "root", dict(bundle=True)), ("onersa", ones, "root", dict(kind="rsa")),
                ("two", ["two.test"], "root", {}), ("three", ["three.test"], "root", {}),
                ("alice", [], "partners", {}), ("bob", [], "partners", {}),
                ("mallory", [], "others", {})):
            if name in wanted:
                certificate(name, hosts, ca, more=no_ca, **more)
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
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or the second record waits for an ACK of the first
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


# Two sections on one listener.
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


def resume(g, name, file, *args, port=None):
    """With the session in a file, which s_client has saved."""
    return "Reused" in s_client(g, "-servername", name, "-sess_in", path(file), *args, port=port)


def begin(g, name, file, *args, port=None):
    said = s_client(g, "-servername", name, "-sess_out", path(file), *args, say=HELLO + b"\n",
                    port=port)
    true("New, " in said, said)


def serial(s):
    return ssl.DER_cert_to_PEM_cert(s.getpeercert(True))

def run(module, *wanted):
    """All tests of a file, with the certificates that it names."""
    make_pki(*wanted)
    harness.main([f for n, f in list(module.items()) if n.startswith("test_")], at_once=4,
                 after=lambda: shutil.rmtree(DIR, ignore_errors=True))
