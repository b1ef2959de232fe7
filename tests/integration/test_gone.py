#!/usr/bin/env python3
"""Clients that go while something is done for them: their end of the connection is closed, not reset."""
import json
import signal
import socket
import struct
import subprocess
import time

from harness import needs, read_all, true, same, wait_for
from h2client import CANCEL, PING, PREFACE, RST, SETTINGS, WINDOW, frame, get, headers
from origin import Origin
from origins import installed
from tls import run, tls_gate

CONFIG = """
[server]
workers = 2
access_log = {dir}/access.log
control = {dir}/ctl
[listener plain]
listen = 127.0.0.1:{port2}
[listener secure]
listen = 127.0.0.1:{port}
tls = one
[tls one]
certificate = {pki}/one.pem
key = {pki}/one.key
[upstream one]
server = 127.0.0.1:{origin} max_in_flight=1
queue = 10 timeout=20s
[upstream any]
server = 127.0.0.1:{origin}
[route any]
path = /silent
handler = forward
upstream = any
[route one]
handler = forward
upstream = one
"""
KINDS = ("tls", "h2", "h2c")
ALL_KINDS = ("plain", *KINDS)


def start(gate):
    installed("curl")
    needs("http/2")
    o = Origin()
    return tls_gate(gate, CONFIG, origin=o.port), o


def curl(g, kind, path, *more):
    how, at = {"plain": (["--http1.1"], f"http://127.0.0.1:{g.port2}"),
               "h2c": (["--http2-prior-knowledge"], f"http://127.0.0.1:{g.port2}"),
               "tls": (["-k", "--http1.1"], f"https://127.0.0.1:{g.port}"),
               "h2": (["-k", "--http2"], f"https://127.0.0.1:{g.port}")}[kind]
    return subprocess.Popen(["curl", "-s", "-o", "/dev/null", *how, *more, at + path])


def kill(p):
    p.send_signal(signal.SIGKILL)
    p.wait()


def waiting(g):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(g.dir + "/ctl")
        s.sendall(b"json upstream one\n")
        return json.loads(read_all(s).split(b"\n", 1)[1])["upstreams"][0]["waiting"]


def causes(g):
    return [json.loads(l).get("cause") for l in g.read("access.log").splitlines()]


def test_a_client_that_is_killed_leaves_the_queue(gate):
    g, o = start(gate)
    first = curl(g, "plain", "/hold/6000")
    true(wait_for(lambda: o.requests == 1))
    for kind in ALL_KINDS:
        for more in ((), ("-d", "x" * 2000)):
            p = curl(g, kind, "/leaves", *more)
            true(wait_for(lambda: waiting(g) == 1), f"{kind} {more}: nobody waits")
            kill(p)
            true(wait_for(lambda: waiting(g) == 0, 2), f"{kind} {more}: {waiting(g)} still wait")
    same(first.wait(), 0)
    same([t for _, t in o.seen], ["/hold/6000"])
    g.stop()
    same(causes(g), ["client_gone"] * 2 * len(ALL_KINDS) + [None])
    o.end()


def test_who_has_said_all_and_still_listens_keeps_its_place(gate):
    g, o = start(gate)
    first = curl(g, "plain", "/hold/1500")
    true(wait_for(lambda: o.requests == 1))
    for version in ("1.1", "1.0"):
        with g.connect(g.port2) as s:
            s.sendall(f"GET /hold/300 HTTP/{version}\r\nHost: a\r\n\r\n".encode())
            s.shutdown(socket.SHUT_WR)
            said = read_all(s)
        asked = b"HTTP/1.1 100 Continue\r\n\r\n" if version == "1.1" else b""
        true(said.startswith(asked + b"HTTP/1.1 200 OK\r\n") and said.endswith(b"held"), said)
        first.wait()
        first = curl(g, "plain", "/hold/1000")
        true(wait_for(lambda: o.held == 1))
    first.wait()
    g.stop()
    same(set(causes(g)), {None})
    o.end()


def test_an_origin_hears_of_a_client_that_is_killed(gate):
    g, o = start(gate)
    for n, kind in enumerate(KINDS, 1):
        p = curl(g, kind, "/silent")
        true(wait_for(lambda: o.requests == n), kind)
        kill(p)
        true(wait_for(lambda: o.gone == n, 2), f"{kind}: the origin was not told")
    g.stop()
    same(causes(g), ["client_gone"] * len(KINDS))
    o.end()


def test_who_leaves_with_more_to_say_than_was_read(gate):
    """Reading pauses while answers to PING wait for the client; behind them are resets, and the end."""
    needs("http/2")
    g = gate("[server]\nworkers = 1\naccess_log = {dir}/access.log\n[listener a]\nlisten = 127.0.0.1:{port}\n"
             "[upstream u]\nserver = 127.0.0.1:{origin}\n[route silent]\npath = /silent\nhandler = forward\n"
             "upstream = u\n[route files]\nhandler = static\nroot = {dir}\n", origin=Origin().port)
    with open(g.dir + "/large", "wb") as f:
        f.truncate(30_000_000)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(10)
        s.connect(("127.0.0.1", g.port))
        s.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2 ** 31 - 1)) +
                  frame(WINDOW, 0, 0, struct.pack(">I", 2 ** 30)) +
                  headers(1, get("/large")) + headers(3, get("/silent")) + headers(5, get("/silent")))
        time.sleep(1)
        s.sendall(frame(PING, 0, 0, bytes(8)) * 490 + b"".join(
            frame(RST, 0, stream, struct.pack(">I", CANCEL)) for stream in (3, 5)))
        time.sleep(0.3)
        s.shutdown(socket.SHUT_WR)
        time.sleep(0.3)
        read_all(s)
    same(g.get("/headgate.ini")[0], 200)
    same(g.stop(), 0)
    lines = [json.loads(l) for l in g.read("access.log").splitlines()]
    same(sorted(l.get("cause") for l in lines if l["target"] == "/silent"), ["client_gone"] * 2, lines)


if __name__ == "__main__":
    run(globals(), "one")
