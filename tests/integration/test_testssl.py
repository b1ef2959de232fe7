#!/usr/bin/env python3
"""testssl.sh finds nothing, but for what a certificate for tests cannot have.  HG_LONG=1: it takes
a minute for each profile."""
import json
import os
import shutil
import subprocess

from harness import Skip, main, same, true
from tls import DIR, TLS, certificate, make_pki, openssl, path, tls_gate

HEADERS = "response_header = set X-Content-Type-Options nosniff\nresponse_header = set X-Frame-Options DENY\n"
CONFIG = TLS.replace("watch = off\n", "watch = off\nhsts = 365d\n{profile}\n").replace(
    "{pki}/one.pem\nkey = {pki}/one.key", "{pki}/site.pem, {pki}/siter.pem\n"
    "key = {pki}/site.key, {pki}/siter.key").replace(
    "path = /hello\n", "path = /*\n" + HEADERS)

# Nobody publishes a list of revocations for it, nor who may issue it.
OF_THE_CERTIFICATE = {"cert_revocation", "DNS_CAArecord"}
# Its own OpenSSL cannot GOST, and may leave before a ticket of TLS 1.3 has come, to resume with nothing:
# what tickets do is in test_tls_resume.py.
OF_WHO_ASKS = {"engine_problem", "sessionresumption_ticket"}


def findings(g, *looked_for):
    program = shutil.which("testssl") or shutil.which("testssl.sh")
    if not program:
        raise Skip("testssl.sh is not installed")
    found = os.path.join(g.dir, "found.json")
    subprocess.run([program, "--quiet", "--color", "0", "--warnings", "off", "--ip", "one", "--add-ca",
                    path("root.pem"), "--jsonfile", found, f"https://localhost:{g.port}/"],
                   capture_output=True, cwd=g.dir, timeout=500)
    with open(found) as f:
        said = json.load(f)
    true(len(said) > 60, "it did not get far: " + repr(said[-3:]))
    by_name = {}
    for each in said:
        # It says the same of each certificate: "cert_revocation <#1>".
        by_name.setdefault(each["id"].split(" <")[0], set()).add(each["severity"])
    for name in looked_for:
        true(name in by_name, f"{name} was not looked for")
    return {name: sorted(how - {"OK", "INFO"}) for name, how in by_name.items() if how - {"OK", "INFO"}}


def start(gate, profile):
    if not os.environ.get("HG_LONG"):
        raise Skip("HG_LONG=1 runs it")
    return tls_gate(gate, CONFIG, profile=profile)


def test_testssl_finds_nothing(gate):
    found = findings(start(gate, "profile = intermediate"), "heartbleed", "CCS", "ticketbleed",
                     "secure_client_renego", "SWEET32", "LOGJAM", "ROBOT")
    same({n: s for n, s in found.items() if n not in OF_THE_CERTIFICATE | OF_WHO_ASKS}, {})


def test_testssl_finds_nothing_modern(gate):
    found = findings(start(gate, "profile = modern"), "TLS1_2", "TLS1_3", "cert_chain_of_trust")
    same({n: s for n, s in found.items() if n not in OF_THE_CERTIFICATE | OF_WHO_ASKS}, {})


def make_site():
    """As a CA makes them: with what they are for, and from when to when."""
    make_pki()
    for name, kind in (("site", "ec"), ("siter", "rsa")):
        certificate(name, ["localhost"], "root", kind, 90, bundle=True,
                    more=("-addext", "basicConstraints=CA:FALSE", "-addext", "keyUsage=digitalSignature",
                          "-addext", "extendedKeyUsage=serverAuth"))
    openssl("verify", "-CAfile", "root.pem", "site.pem")


if __name__ == "__main__":
    if os.environ.get("HG_LONG"):
        make_site()
    main([t for n, t in sorted(globals().items()) if n.startswith("test_")],
         after=lambda: shutil.rmtree(DIR, ignore_errors=True))
