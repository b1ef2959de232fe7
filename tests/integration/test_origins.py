#!/usr/bin/env python3
"""Origins as others write them, in processes of their own: uvicorn, http.server, node's ws.
They are killed, stopped, slow, cut off and replaced by noise, and each of that has its name."""
import base64
import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from harness import (BUILD, Skip, free_port, listening, main, parse_response, read_all, read_response,
                     same, true, wait_for)
from origins import die_with_us, installed

PYTHON = "/usr/bin/python3"  # the system's, which has the system's packages
MEDIUM, LARGE = 8 << 20, 64 << 20  # large: more than all buffers on the way
LONG = bool(os.environ.get("HG_LONG"))

CONFIG = """
[server]
workers = 1
access_log = {dir}/access.log
[listener a]
listen = 127.0.0.1:{port}
[upstream u]
server = 127.0.0.1:{origin}
tries = 1
connect_timeout = 1s
first_byte_timeout = {patience}
idle_timeout = {patience}
[route all]
handler = forward
upstream = u
max_body = 64m
"""

ASGI = '''
import asyncio, hashlib
async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (m := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": m.get("text")})
        return
    if scope["type"] != "http":
        return
    async def head(status=200, fields=()):
        await send({"type": "http.response.start", "status": status, "headers": list(fields)})
    async def say(text, more=False):
        await send({"type": "http.response.body", "body": text, "more_body": more})
    path = scope["path"]
    if path == "/events":
        await head(fields=[(b"content-type", b"text/event-stream")])
        for i in range(5):
            await say(b"data: %d\\n\\n" % i, True)
            await asyncio.sleep(0.05)
        await say(b"")
    elif path in ("/slow", "/slower"):
        await head(fields=[(b"content-length", b"4")])
        for byte in b"slow":
            await say(bytes([byte]), True)
            await asyncio.sleep(0.2 if path == "/slow" else 4)
        await say(b"")
    elif path == "/never":
        await asyncio.sleep(60)
    elif path == "/raise":
        await head(fields=[(b"content-length", b"1000")])
        await say(b"part", True)
        raise RuntimeError("in the middle")
    else:
        digest, n = hashlib.sha256(), 0
        while True:
            m = await receive()
            digest.update(m.get("body", b""))
            n += len(m.get("body", b""))
            if not m.get("more_body"):
                break
        await head(fields=[(b"content-type", b"text/plain")])
        await say(b"%s %s %d %s" % (scope["method"].encode(), scope["raw_path"], n,
                                    digest.hexdigest().encode()))
'''

NODE = """
const { WebSocketServer } = require('ws');
const server = new WebSocketServer({ host: '127.0.0.1', port: +process.argv[2], backlog: 4096 });
server.on('connection', (ws) => ws.on('message', (m, binary) => ws.send(m, { binary })));
"""


class Process:
    """A server that somebody else wrote."""

    def __init__(self, command, files=(), env=None):
        self.dir = tempfile.mkdtemp(prefix="origin.", dir=BUILD)
        self.port = free_port()
        for name, text in files:
            with open(os.path.join(self.dir, name), "w") as f:
                f.write(text)
        self.command = [str(w).replace("{port}", str(self.port)) for w in command]
        self.env = dict(os.environ, **(env or {}))
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, cwd=self.dir, env=self.env, preexec_fn=die_with_us,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=open(os.path.join(self.dir, "stderr"), "a"))
        if not wait_for(lambda: listening(self.port) or self.process.poll() is not None, 20):
            raise AssertionError("it does not listen: " + self.said())
        if self.process.poll() is not None:
            raise AssertionError("it does not start: " + self.said())

    def said(self):
        with open(os.path.join(self.dir, "stderr")) as f:
            return f.read()[-1000:]

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


def uvicorn():
    if not os.path.isdir("/usr/lib/python3/dist-packages/uvicorn"):
        raise Skip("python3-uvicorn is not installed")
    return Process([PYTHON, "-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--log-level",
                    "error", "app:app"], [("app.py", ASGI)])


def http_server():
    p = Process([PYTHON, "-m", "http.server", "--bind", "127.0.0.1", "{port}"], [("a.txt", "hello\n")])
    for name, size in (("medium", MEDIUM), ("large", LARGE)):
        with open(os.path.join(p.dir, name), "wb") as f:
            f.truncate(size)
    return p


def node_ws():
    if not os.path.isdir("/usr/share/nodejs/ws"):
        raise Skip("node-ws is not installed")
    return Process([installed("node"), "server.js", "{port}"], [("server.js", NODE)],
                   {"NODE_PATH": "/usr/share/nodejs"})


def start(gate, origin, patience="10s", **more):
    return gate(CONFIG, origin=origin.port, patience=patience, **more)


def causes(g):
    g.stop()
    return [json.loads(l).get("cause") for l in g.read("access.log").splitlines()]


def fails(g, path, status, cause, **more):
    answer = g.get(path, **more)
    same((answer[0], cause in answer[1].get("proxy-status", "")), (status, True), f"{path}: {answer[1]}")


# --- as they are ------------------------------------------------------------------------------

def test_uvicorn_answers_in_every_way(gate):
    o = uvicorn()
    g = start(gate, o)
    body = os.urandom(3_000_000)
    want = f"POST /x 3000000 {hashlib.sha256(body).hexdigest()}".encode()
    same(g.get("/x", method="POST", body=body)[2], want)
    same(g.get("/events")[2], b"".join(b"data: %d\n\n" % i for i in range(5)))
    same(g.get("/slow")[2], b"slow")
    same(g.get("/x", method="HEAD")[0], 200)
    with websocket(g, "/ws") as s:
        for text in (b"hello", b"x" * 100):
            ws_send(s, text)
            same(ws_receive(s), text)
    o.end()


def test_http_server_serves_files_and_ranges_of_connections(gate):
    """It speaks HTTP/1.0: a connection for each."""
    o = http_server()
    g = start(gate, o)
    with g.connect() as s:
        for _ in range(20):
            s.sendall(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
            same(read_response(s)[2], b"hello\n")
    same(g.get("/no")[0], 404)
    same(len(g.get("/medium")[2]), MEDIUM)
    o.end()


# --- as they should not be ----------------------------------------------------------------------

def cut_with(g, path, act):
    """Reads the beginning, acts, and has the rest."""
    with g.connect(seconds=20) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        got = s.recv(10_000)
        true(got.startswith(b"HTTP/1.1 200"), got[:100])
        act()
        return got + read_all(s)


def test_an_origin_that_is_killed(gate):
    """In an answer, before one, and gone; and back again."""
    o = http_server()
    g = start(gate, o)
    true(len(cut_with(g, "/large", o.kill)) < LARGE)
    fails(g, "/a.txt", 502, "upstream_connect_refused")
    o.start()
    same(g.get("/a.txt")[0], 200)
    u = uvicorn()
    g2 = start(gate, u, patience="10s")
    threading.Timer(0.3, u.kill).start()
    fails(g2, "/never", 502, "upstream_reset_before_head")
    same(causes(g), ["upstream_truncated_body", "upstream_connect_refused", None])
    o.end()
    u.end()


def test_an_origin_that_is_stopped(gate):
    """The kernel still takes connections for it, and nobody answers; then it goes on."""
    o = http_server()
    g = start(gate, o, patience="3s")
    got = cut_with(g, "/large", lambda: o.signal(signal.SIGSTOP))
    true(len(got) < LARGE)
    fails(g, "/a.txt", 504, "upstream_head_timeout")
    o.signal(signal.SIGCONT)
    same(g.get("/a.txt")[0], 200)
    same(causes(g), ["upstream_idle_timeout", "upstream_head_timeout", None])
    o.end()


def test_an_origin_that_is_slow(gate):
    o = uvicorn()
    g = start(gate, o, patience="2s")
    fails(g, "/never", 504, "upstream_head_timeout")
    with g.connect() as s:
        s.sendall(b"GET /slower HTTP/1.1\r\nHost: a\r\n\r\n")
        true(len(parse_response(read_all(s))[2]) < 4)
    same(causes(g), ["upstream_head_timeout", "upstream_idle_timeout"])
    o.end()


def test_an_origin_that_breaks_off(gate):
    o = uvicorn()
    g = start(gate, o)
    with g.connect() as s:
        s.sendall(b"GET /raise HTTP/1.1\r\nHost: a\r\n\r\n")
        same(parse_response(read_all(s))[2], b"part")
    same(g.get("/x")[0], 200)
    same(causes(g), ["upstream_truncated_body", None])
    o.end()


def test_an_origin_that_makes_noise(gate):
    """What listens there is no HTTP server at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def noise():
            while True:
                try:
                    s, _ = server.accept()
                except OSError:
                    return
                s.sendall(b"\x16\x03\x01" + os.urandom(4000))
                s.close()
        threading.Thread(target=noise, daemon=True).start()
        g = gate(CONFIG, origin=server.getsockname()[1], patience="1s")
        for _ in range(5):
            status, fields, _ = g.get("/x")
            same(status, 502)
            true("upstream_bad_head" in fields["proxy-status"], fields)
        true("upstream_bad_head" in causes(g))


# --- tunnels --------------------------------------------------------------------------------------

TUNNEL_BYTES_MAX = 24 << 10  # of the gateway's memory


def websocket(g, path="/"):
    s = g.connect()
    key = base64.b64encode(os.urandom(16)).decode()
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
              f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = s.recv(1)
        true(piece, f"no more than {head}")
        head += piece
    true(head.startswith(b"HTTP/1.1 101"), head)
    return s


def ws_send(s, text):
    """One frame, masked with zeros."""
    true(len(text) < 126)
    s.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)


def ws_receive(s):
    data = b""
    while len(data) < 2 or len(data) < 2 + data[1]:
        piece = s.recv(1000)
        true(piece, data)
        data += piece
    return data[2:]


def test_idle_tunnels_are_many(gate):
    """And each of them is alive afterwards."""
    n = 8000 if LONG else 500
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 2 * n + 1000:
        raise Skip(f"{hard} descriptors are too few")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    o = node_ws()
    g = start(gate, o)
    for _ in range(50):  # what is needed once
        with websocket(g) as s:
            ws_send(s, b"warm")
            same(ws_receive(s), b"warm")
    time.sleep(0.2)
    before = g.rss_kib()
    tunnels = []
    try:
        for _ in range(n):
            tunnels.append(websocket(g))
        time.sleep(1)
        grown = (g.rss_kib() - before) * 1024
        with_us = g.descriptors()
        true(with_us >= 2 * n, f"{with_us} descriptors")
        for i, s in enumerate(tunnels):
            if i % (n // 250) == 0:
                ws_send(s, b"%d" % i)
                same(ws_receive(s), b"%d" % i)
        print(f"# {n} idle tunnels ({gate.engine}): {grown // n} bytes each, "
              f"{o.process.pid and rss(o.process.pid) // n} of node's", flush=True)
        true(grown / n < TUNNEL_BYTES_MAX, f"{grown / n:.0f} bytes a tunnel")
    finally:
        for s in tunnels:
            s.close()
    true(wait_for(lambda: g.descriptors() < 200, 20), f"{g.descriptors()} descriptors are left")
    o.end()


def rss(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(next(l for l in f if l.startswith("VmRSS")).split()[1]) * 1024


test_idle_tunnels_are_many.alone = True

if __name__ == "__main__":
    main([t for n, t in list(globals().items()) if n.startswith("test_")], at_once=4)
