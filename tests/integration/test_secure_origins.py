#!/usr/bin/env python3
"""nginx, h2o and nghttpd as origins: over TLS, verified, in HTTP/1 and HTTP/2, and in clear text."""
import concurrent.futures
import os
import shutil
import subprocess
import tempfile

from harness import BUILD, free_port, listening, needs, same, true, wait_for
from origins import Nginx, die_with_us, installed
from tls import DIR, path, run, tls_gate

CONFIG = """
[server]
workers = 1
access_log = {dir}/access.log
log_level = info
[listener a]
listen = 127.0.0.1:{port}
[upstream u]
server = {origin}
{more}
[route all]
handler = forward
upstream = u
"""
LARGE = os.urandom(1 << 20)
BELIEVED = f"tls_ca = {DIR}/root.pem\ntls_name = one.test\n"


class SecureNginx(Nginx):
    """Also says what it spoke and whether the session was resumed."""

    def __init__(self):
        self.secure = free_port()
        super().__init__(f"listen 127.0.0.1:{self.secure} ssl http2;\n"
                         f"ssl_certificate {path('one.pem')}; ssl_certificate_key {path('one.key')};\n"
                         "ssl_session_tickets on; ssl_session_cache shared:s:1m;\n"
                         "add_header X-Spoken \"$server_protocol $ssl_session_reused\";")
        self.put("large.bin", LARGE)


class Started:
    """A server of files, started with a command that knows its ports and its folder."""

    def __init__(self, command):
        self.secure, self.clear = free_port(), free_port()
        self.dir = tempfile.mkdtemp(prefix="origin.", dir=BUILD)
        os.chmod(self.dir, 0o755)
        with open(self.dir + "/large.bin", "wb") as f:
            f.write(LARGE)
        self.processes = [subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL, preexec_fn=die_with_us)
                          for line in command(self)]
        true(wait_for(lambda: listening(self.secure) and listening(self.clear)), "it does not start")

    def end(self):
        for p in self.processes:
            p.kill()
            p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def h2o(o):
    user = "user: root\n" if os.geteuid() == 0 else ""
    with open(o.dir + "/h2o.conf", "w") as f:
        f.write(f"""{user}num-threads: 1
error-log: /dev/null
listen: {{ host: 127.0.0.1, port: {o.clear} }}
listen:
  host: 127.0.0.1
  port: {o.secure}
  ssl: {{ certificate-file: {path("one.pem")}, key-file: {path("one.key")}, ocsp-update-interval: 0 }}
hosts:
  "default":
    paths: {{ "/": {{ file.dir: {o.dir} }} }}
""")
    return [[installed("h2o"), "-m", "worker", "-c", o.dir + "/h2o.conf"]]


def nghttpd(o):
    tool = installed("nghttpd")
    return [[tool, "-d", o.dir, str(o.secure), path("one.key"), path("one.pem")],
            [tool, "-d", o.dir, "--no-tls", str(o.clear)]]


def serves(gate, origin, more, times=8):
    """Many at once come whole; what each says of itself."""
    g = tls_gate(gate, CONFIG, origin=origin, more=more)
    with concurrent.futures.ThreadPoolExecutor(times) as pool:
        answers = list(pool.map(g.get, ["/large.bin"] * times))
    for status, fields, content in answers:
        true(status == 200 and content == LARGE, f"{origin} {more}: {status}, {len(content)} bytes, {fields}")
    same(g.get("/not-there")[0], 404)
    same(g.get("/large.bin", method="HEAD")[0], 200)
    return [fields.get("x-spoken") for _, fields, _ in answers]


def refused(gate, o):
    g = tls_gate(gate, CONFIG, origin=f"https://127.0.0.1:{o.secure}", more="tls_name = one.test")
    status, fields, _ = g.get("/large.bin")
    same(status, 502)
    true("upstream_tls_failed" in fields["proxy-status"], fields)


def test_nginx_over_tls(gate):
    needs("tls")
    o = SecureNginx()
    try:
        at = f"https://127.0.0.1:{o.secure}"
        refused(gate, o)
        spoken = serves(gate, at, BELIEVED + "keepalive = off")
        true(all(s.startswith("HTTP/1.1 ") for s in spoken), spoken)
        g = tls_gate(gate, CONFIG, origin=at, more=BELIEVED + "keepalive = off")
        same([g.get("/large.bin")[1]["x-spoken"] for _ in range(3)], ["HTTP/1.1 .", "HTTP/1.1 r", "HTTP/1.1 r"])
        needs("http/2")
        for protocols in ("h2", "h2, http/1.1"):
            spoken = serves(gate, at, BELIEVED + f"protocols = {protocols}")
            true(all(s.startswith("HTTP/2.0 ") for s in spoken), spoken)
    finally:
        o.end()


def test_h2o_over_tls_and_in_clear_text(gate):
    needs("tls")
    o = Started(h2o)
    try:
        refused(gate, o)
        serves(gate, f"https://127.0.0.1:{o.secure}", BELIEVED)
        serves(gate, f"http://127.0.0.1:{o.clear}", "")
        needs("http/2")
        serves(gate, f"https://127.0.0.1:{o.secure}", BELIEVED + "protocols = h2")
        serves(gate, f"h2c://127.0.0.1:{o.clear}", "")
    finally:
        o.end()


def test_nghttpd_over_tls_and_in_clear_text(gate):
    needs("tls")
    needs("http/2")
    o = Started(nghttpd)
    try:
        refused(gate, o)
        serves(gate, f"https://127.0.0.1:{o.secure}", BELIEVED + "protocols = h2")
        serves(gate, f"h2c://127.0.0.1:{o.clear}", "")
    finally:
        o.end()


if __name__ == "__main__":
    run(globals(), "one")
