#!/usr/bin/env python3
"""Every way an exchange can fail, provoked: the client gets the status, the log the cause's name,
and the counter of that name goes up by one."""
import contextlib
import json
import os
import socket
import time

from h2client import (COMPRESSION, END, END_HEADERS, FLOW, GOAWAY, HEADERS, INTERNAL, PROTOCOL, REFUSED, Client, frame,
                      get, headers, pack, window)
from harness import Skip, free_port, main, needs, parse_response, read_all, read_response, same, true, wait_for
from origin import Origin

CONFIG = """
[server]
workers = 1
{server}
access_log = {dir}/access.log
[listener a]
listen = 127.0.0.1:{port}
https_redirect = no
proxy_protocol = off
[upstream u]
server = 127.0.0.1:{origin}
first_byte_timeout = 2s
proxy_protocol = off
[upstream full]
server = 127.0.0.1:{full}
connect_timeout = 300ms
[upstream nowhere]
server = 224.0.0.1:80
[upstream down]
server = 127.0.0.1:{origin} down
[upstream refused]
server = 127.0.0.1:{dead}
[route f]
path = /f/*
handler = forward
upstream = u
strip_prefix = /f
[route full]
path = /full
handler = forward
upstream = full
[route nowhere]
path = /nowhere
handler = forward
upstream = nowhere
[route down]
path = /down
handler = forward
upstream = down
[route refused]
path = /refused
handler = forward
upstream = refused
[route get]
path = /get
method = GET
handler = respond
[route static]
path = /s/*
handler = static
root = {dir}
strip_prefix = /s
hidden = yes
[route link]
path = /lo/*
handler = static
root = /sys/devices/virtual/net/lo
strip_prefix = /lo
"""


@contextlib.contextmanager
def full_port():
    """An address where nobody accepts and the queue is full: a SYN there is not answered."""
    with contextlib.ExitStack() as open_ones:
        s = open_ones.enter_context(socket.socket())
        s.bind(("127.0.0.1", 0))
        s.listen(0)
        for _ in range(8):
            c = open_ones.enter_context(socket.socket())
            c.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                c.connect(s.getsockname())
        yield s.getsockname()[1]


@contextlib.contextmanager
def running(gate, limit_files=None, **names):
    o = Origin()
    with full_port() as full:
        g = gate(CONFIG, limit_files=limit_files, **{"origin": o.port, "full": full, "dead": free_port(), "server": "", **names})
        g.origin = o
        with open(os.path.join(g.dir, "file.txt"), "w") as f:
            f.write("text")
        os.symlink("/etc/passwd", os.path.join(g.dir, "out"))
        yield g
    o.end()


def raw(line, fields="Host: a\r\n", content=""):
    return f"{line} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n{content}".encode("latin-1")


CHUNKED = "Host: a\r\nTransfer-Encoding: chunked\r\n"
REQUESTS = [
    ("bad_request_line", 400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("bad_target", 400, raw("GET ftp://a/")),
    ("bad_path", 400, raw("GET /a%00")),
    ("bad_header", 400, raw("GET /get", "Host: a\r\nA : b\r\n")),
    ("bad_host", 400, raw("GET /get", "")),
    ("bad_host", 400, raw("GET /get", "Host: a\r\nHost: a\r\n")),
    ("bad_framing", 400, raw("POST /f/echo", CHUNKED + "Content-Length: 1\r\n")),
    ("bad_chunk", 400, raw("POST /f/echo", CHUNKED, "zz\r\n")),
    ("unknown_coding", 501, raw("POST /f/echo", CHUNKED.replace(" chunked", " gzip, chunked"))),
    ("unknown_version", 505, b"GET /get HTTP/3.0\r\nHost: a\r\n\r\n"),
    ("expectation_failed", 417, raw("GET /get", "Host: a\r\nExpect: much\r\n")),
    ("no_route", 404, raw("GET /no")),
    ("method_not_allowed", 405, raw("PUT /get")),
    ("not_found", 404, raw("GET /s/no")),
    ("forbidden", 403, raw("GET /s/out")),
    ("range_not_satisfiable", 416, raw("GET /s/file.txt", "Host: a\r\nRange: bytes=9-\r\n")),
    ("precondition_failed", 412, raw("GET /s/file.txt", "Host: a\r\nIf-Match: \"x\"\r\n")),
    ("loop_detected", 508, raw("GET /f/echo", "Host: a\r\n" + "Via: 1.1 headgate\r\n" * 9)),
    ("upstream_connect_refused", 502, raw("GET /refused")),
    ("upstream_connect_timeout", 504, raw("GET /full")),
    ("upstream_unreachable", 502, raw("GET /nowhere")),
    ("upstream_none_healthy", 503, raw("GET /down")),
    ("upstream_reset_before_head", 502, raw("GET /f/reset")),
    ("upstream_head_timeout", 504, raw("GET /f/silent")),
    ("upstream_bad_head", 502, raw("GET /f/garbage")),
    ("upstream_head_too_large", 502, raw("GET /f/big-head")),
    ("upstream_upgrade_refused", 502, raw("GET /f/switch/other")),
]


def test_each_failure_has_its_status_its_name_and_its_counter(gate):
    with running(gate) as g:
        for cause, status, request in REQUESTS:
            name = f"{cause} for {request!r}"
            before = g.counted().get(cause, 0)
            status_got, fields, _ = parse_response(g.say(request))
            same(status_got, status, name)
            true(wait_for(lambda: g.counted().get(cause, 0) > before),
                 f"{name} is not counted")
            same(g.counted()[cause], before + 1, cause)
            if cause.startswith("upstream"):
                true(f"details={cause}" in fields["proxy-status"].replace('"', "") or
                     cause in fields["proxy-status"], fields["proxy-status"])
        g.stop()
        log = [json.loads(l) for l in g.read("access.log").splitlines()]
        same([(a["cause"], a["status"]) for a in log], [r[:2] for r in REQUESTS])
        true(all(a.get("server") != "" for a in log), "no server is none, not one without a name")
        same([a["cause"] for a in log if "upstream" in a and "server" not in a],
             ["loop_detected", "upstream_none_healthy"])


def test_a_client_that_leaves_is_named(gate):
    with running(gate) as g:
        with g.connect() as s:
            s.sendall(b"GET /f/silent HTTP/1.1\r\nHost: a\r\n\r\n")
            true(wait_for(lambda: g.origin.requests == 1))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        true(wait_for(lambda: g.counted().get("client_gone") == 1), g.counted())


def test_content_that_ends_early_is_the_clients(gate):
    with running(gate) as g:
        with g.connect() as s:
            s.sendall(b"POST /f/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
            s.shutdown(socket.SHUT_WR)
            read_all(s)
        true(wait_for(lambda: g.counted().get("client_truncated") == 1), g.counted())


def test_a_post_on_a_kept_connection_that_ends_is_not_proven(gate):
    """The origin may have acted on it, so it is not sent again."""
    with running(gate) as g:
        same(g.get("/f/echo")[0], 200)
        answer = g.get("/f/close", method="POST", body=b"x")
        same(answer[0], 502)
        true("upstream_closed_unproven" in answer[1]["proxy-status"], answer[1])
        same(g.counted()["upstream_closed_unproven"], 1)


def test_a_put_that_is_reset_midway_on_a_kept_connection_is_not_proven(gate):
    """Too large to be said again; that the connection was idle before is no diagnosis."""
    with running(gate) as g:
        same(g.get("/f/echo")[0], 200)
        answer = g.get("/f/reset", method="PUT", body=b"x" * 900000)
        same(answer[0], 502)
        true("upstream_closed_unproven" in answer[1]["proxy-status"], answer[1])


def test_a_file_that_holds_less_than_it_says_is_an_error(gate):
    """The kernel says of its own that they have 4096 bytes, and gives a few."""
    if not os.path.exists("/sys/devices/virtual/net/lo/mtu"):
        raise Skip("no /sys")
    with running(gate) as g:
        status, _, content = g.get("/lo/mtu")
        same((status, content.split(b"\n")[0]), (500, b"500 Internal Server Error: file_error"))
        same(g.counted().get("file_error"), 1)


def test_a_file_that_is_cut_is_no_client_that_left(gate):
    """It was long when it was opened, and what was known of it then is still believed."""
    with running(gate) as g:
        name = long_file(g, "long")
        same(len(g.get("/s/long")[2]), 200_000)
        os.truncate(name, 1000)
        true(len(g.get("/s/long")[2]) < 200_000, "it made up the rest")
        true(wait_for(lambda: g.counted().get("file_error") == 1), g.counted())
        same(g.counted().get("client_gone"), None)


def test_a_file_that_is_cut_ends_its_stream_and_no_other(gate):
    """Early in its content, and where all that was announced could still be made up."""
    needs("http/2")
    with running(gate) as g:
        long_file(g, "whole")
        for lap, left in enumerate((1000, 199_990), 1):
            name = long_file(g, f"long{lap}")
            same(len(g.get(f"/s/long{lap}")[2]), 200_000)
            os.truncate(name, left)
            with Client(g.port) as c:
                c.send(headers(1, get(f"/s/long{lap}")), headers(3, get("/s/whole")))
                c.wait(1, 3)
                same((c.resets, c.ended), ({1: INTERNAL}, {3}))
                same(len(c.content[3]), 200_000)
                same(c.ask(5, get("/s/file.txt"))[0], 200, "the connection goes on")
            same(g.counted().get("file_error"), lap)
        same(g.counted().get("client_gone"), None)


def long_file(g, name):
    path = os.path.join(g.dir, name)
    with open(path, "wb") as f:
        f.truncate(200_000)
    return path


def test_without_descriptors_files_and_origins_fail_by_name(gate):
    with running(gate, limit_files=100, server="max_connections = 5000") as g, contextlib.ExitStack() as crowd:
        early = crowd.enter_context(g.connect())
        early.sendall(b"GET /get HTTP/1.1\r\nHost: a\r\n\r\n")
        same(read_response(early)[0], 200)
        for _ in range(120):
            crowd.enter_context(g.connect())
        true(wait_for(lambda: "no descriptors left" in g.said()), g.said())
        for path, cause in (("/s/file.txt", "out_of_memory"), ("/f/echo", "upstream_no_descriptors")):
            early.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            same(read_response(early)[0], 503, path)
            same(g.counted().get(cause), 1, path)


def test_what_breaks_http2_is_named(gate):
    needs("http/2")
    request = pack(get("/get"))
    for cause, said, error in (
            ("h2_compression_error", frame(HEADERS, END | END_HEADERS, 1, b"\x80"), COMPRESSION),
            ("h2_window_exceeded", window(0, 0x7fffffff), FLOW),
            ("h2_malformed", headers(1, get("/get", connection="close")), PROTOCOL),
            ("h2_protocol_error", frame(HEADERS, END | END_HEADERS, 2, request), PROTOCOL),
            ("h2_refused", b"".join(headers(1 + 2 * i, get("/f/silent")) for i in range(130)), REFUSED)):
        with running(gate) as g:
            with Client(g.port) as c:
                c.send(said)
                if cause in ("h2_malformed", "h2_refused"):
                    stream = 1 if cause == "h2_malformed" else 257
                    same(c.wait(stream), None, cause)
                    same(c.resets.get(stream), error, cause)
                else:
                    c.until(GOAWAY)
                true(wait_for(lambda: g.counted().get(cause, 0) > 0), f"{cause}: {g.counted()}")


if __name__ == "__main__":
    main([t for n, t in sorted(globals().items()) if n.startswith("test_")], at_once=4)
