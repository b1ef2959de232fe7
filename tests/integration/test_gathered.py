#!/usr/bin/env python3
"""Requests and responses that are gathered before they go on."""
import os
import socket
import subprocess
import tempfile
import time

from harness import (free_port, listening, main, needs, parse_response, read_all, read_response,
                     same, true, wait_for)
from h2client import Client, data, get, headers, post
from origins import die_with_us, installed
from passing import log, needs_hpack, start


def slow_upload(s, path, body, pieces, chunked=False, fields=""):
    """Yields before each piece."""
    size = (len(body) + pieces - 1) // pieces
    frame = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    s.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\n{fields}{frame}\r\n\r\n".encode())
    for i in range(0, len(body), size):
        yield i
        piece = body[i:i + size]
        s.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
    yield len(body)
    if chunked:
        s.sendall(b"0\r\n\r\n")


def content_line(body):
    import hashlib
    return f"content {len(body)} {hashlib.sha256(body).hexdigest()}".encode()


def test_a_slow_upload_is_all_there_before_an_origin_is_asked(gate):
    g, a, b = start(gate, route="buffer_request = 1m")
    for chunked in (False, True):
        body = os.urandom(700_000)
        before = a.connections, a.requests
        with g.connect() as s:
            for _ in slow_upload(s, "/x", body, 7, chunked):
                time.sleep(0.03)
                if _ < len(body):
                    same((a.connections, a.requests), before, f"asked at {_} bytes")
            true(read_response(s)[2].endswith(content_line(body)))
    same(g.get("/x", method="POST", body=b"short")[0], 200)


def test_more_than_is_gathered_streams(gate):
    g, a, b = start(gate, route="buffer_request = 64k")
    body = os.urandom(3_000_000)
    with g.connect() as s:
        for sent in slow_upload(s, "/x", body, 10, True):
            if sent >= 600_000:
                true(wait_for(lambda: a.requests == 1, 3), f"nobody is asked after {sent} bytes")
            elif sent == 0:
                same(a.connections, 0)
        true(read_response(s)[2].endswith(content_line(body)))


def test_who_waits_to_be_told_is_told_before_an_origin_is_asked(gate):
    g, a, b = start(gate, route="buffer_request = 64k")
    with g.connect() as s:
        s.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        same(s.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.05)
        same(a.connections, 0)
        s.sendall(b"hello")
        true(read_response(s)[2].endswith(content_line(b"hello")))


def test_what_is_gathered_has_its_limits_all_the_same(gate):
    """max_body, timeout, a client that ends too soon: no origin hears of it."""
    g, a, b = start(gate, route="buffer_request = 1m\ntimeout = 500ms",
                    more="[route small]\npath = /small\nhandler = forward\nupstream = api\n"
                         "buffer_request = 1m\nmax_body = 1k\n")
    answer = g.say(b"POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
                   b"800\r\n" + bytes(0x800) + b"\r\n0\r\n\r\n")
    same(parse_response(answer)[0], 413)
    with g.connect() as s:
        s.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        same(read_response(s)[0], 504)
    with g.connect() as s:
        s.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        s.shutdown(socket.SHUT_WR)
        same(read_response(s)[0], 400)
    same(a.connections, 0)
    same([r["cause"] for r in log(g)], ["content_too_large", "upstream_timeout", "client_truncated"])


def test_grpc_is_not_gathered(gate):
    g, a, b = start(gate, route="buffer_request = 1m")
    with g.connect() as s:
        s.sendall(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc+proto\r\n"
                  b"Content-Length: 1000\r\n\r\n" + b"x" * 10)
        same(read_response(s)[2], b"early")


def test_what_was_gathered_can_be_sent_again(gate):
    g, a, b = start(gate, upstream="retry_buffer = 2m", route="buffer_request = 1m")
    body = os.urandom(900_000)
    same(g.get("/reset-once/x", method="PUT", body=body)[2], content_line(body))


def test_a_stream_of_http2_is_gathered_beyond_its_window(gate):
    """While others of the connection go on."""
    needs_hpack()
    g, a, b = start(gate, route="buffer_request = 3m")
    body = os.urandom(2_500_000)
    with Client(g.port) as c:
        c.send(headers(1, post("/x", content_length=str(len(body))), end=False))
        sent, window = 0, {0: 65535, 1: 65535}
        asked = False
        while sent < len(body):
            n = min(16384, len(body) - sent, window[0], window[1])
            if n > 0:
                c.send(data(1, body[sent:sent + n], sent + n == len(body)))
                sent += n
                window[0] -= n
                window[1] -= n
                continue
            if not asked and sent > 1_500_000:
                asked = True
                same(a.requests, 0)
                c.send(headers(3, get("/chunked")))
            kind, _, stream, payload = c.next()
            if kind == 4 and not _ & 1: # SETTINGS
                for i in range(0, len(payload), 6):
                    if payload[i:i + 2] == b"\0\4":
                        window[1] += int.from_bytes(payload[i + 2:i + 6], "big") - 65535
            elif kind == 8 and stream in window:
                window[stream] += int.from_bytes(payload, "big")
        c.wait(1, 3)
        same((c.status[1], c.content[3]), (200, b"piece0piece1piece2piece3piece4"))
        true(c.content[1].endswith(content_line(body)))


def test_without_plenty_of_memory_nothing_is_gathered(gate):
    g, a, b = start(gate, route="buffer_request = 64m\nbuffer_response = 64m",
                    server="buffer_memory = 8m")
    body = os.urandom(12_000_000)
    with g.connect(seconds=20) as s:
        for sent in slow_upload(s, "/x", body, 24):
            if sent >= 9_000_000:
                true(wait_for(lambda: a.requests == 1, 5), "nobody is asked")
        true(read_response(s)[2].endswith(content_line(body)))
    n = 16_000_000
    with g.connect(seconds=20) as s:
        s.sendall(f"GET /large/{n} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        time.sleep(0.3)
        same(g.get("/x")[0], 200, "others are served meanwhile")
        same(len(read_all(s).partition(b"\r\n\r\n")[2]), n)


# --- responses that are gathered ----------------------------------------------------------------

def test_a_slow_client_does_not_hold_the_origin(gate):
    """Its connection is free for the next: else a second would be opened."""
    n = 12_000_000
    g, a, b = start(gate, route="buffer_response = 16m")
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        s.settimeout(20)
        s.connect(("127.0.0.1", g.port))
        s.sendall(f"GET /large/{n} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        true(wait_for(lambda: a.answered == 1, 60))
        time.sleep(0.7)  # and what is still in the system
        same((g.get("/x")[0], a.connections), (200, 1))
        content = read_all(s).partition(b"\r\n\r\n")[2]
    want = (bytes(range(256)) * (n // 256 + 1))[:n]
    true(content == want, f"{len(content)} of {n} bytes, or others")


def test_a_slow_stream_of_http2_does_not_hold_the_origin(gate):
    needs_hpack()
    n = 2_000_000
    g, a, b = start(gate, route="buffer_response = 4m")
    with Client(g.port) as c:
        c.automatic = False
        c.send(headers(1, get(f"/large/{n}")))
        true(wait_for(lambda: a.answered == 1, 60))
        time.sleep(0.5)
        same(g.get("/x")[0], 200)
        same(a.connections, 1)


def test_a_slow_client_keeps_no_place_at_an_origin_of_http2(gate):
    """That serves one stream at a time."""
    needs("http/2")
    n = 12_000_000
    nghttpd, port = installed("nghttpd"), free_port()
    with tempfile.TemporaryDirectory() as d:
        with open(os.path.join(d, "large"), "wb") as f:
            f.write((bytes(range(256)) * (n // 256 + 1))[:n])
        with open(os.path.join(d, "small"), "wb") as f:
            f.write(b"small")
        o = subprocess.Popen([nghttpd, "--no-tls", "-d", d, str(port)], preexec_fn=die_with_us,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        true(wait_for(lambda: listening(port)))
        g, a, b = start(gate, of="h2", route="buffer_response = 16m",
                        more=f"[upstream h2]\nserver = h2c://127.0.0.1:{port} max_in_flight=1\n"
                             "queue = 8 timeout=5s\n")
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
            s.settimeout(20)
            s.connect(("127.0.0.1", g.port))
            s.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            time.sleep(0.5)
            same(g.get("/small")[::2], (200, b"small"))
            content = read_all(s).partition(b"\r\n\r\n")[2]
        true(content == (bytes(range(256)) * (n // 256 + 1))[:n], f"{len(content)} bytes, or others")
        o.kill()
        o.wait()


if __name__ == "__main__":
    main([t for n, t in list(globals().items()) if n.startswith("test_")], at_once=4)
