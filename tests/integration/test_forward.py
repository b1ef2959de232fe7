#!/usr/bin/env python3
"""Forwarding: what passes through, and every way an origin can fail."""
import hashlib
import json
import os
import socket
import threading
import time

from harness import free_port, main, parse_response, read_all, read_response, same, true, wait_for
from origin import Origin

CONFIG = """
[server]
workers = 1
access_log = {dir}/access.log
[listener a]
listen = 127.0.0.1:{port}
[upstream u]
server = 127.0.0.1:{origin}
connect_timeout = 1s
first_byte_timeout = 2s
idle_timeout = 2s
[upstream dead]
server = 127.0.0.1:{dead}
[upstream one-dead]
server = 127.0.0.1:{dead}
server = 127.0.0.1:{origin}
[route all]
handler = forward
upstream = u
max_body = off
[route strip]
path = /strip/*
handler = forward
upstream = u
strip_prefix = /strip
request_header = set X-Client ${client_ip}
request_header = remove User-Agent
response_header = add X-Gate yes
[route dead]
path = /dead
handler = forward
upstream = dead
[route one-dead]
path = /one-dead
handler = forward
upstream = one-dead
"""


def start(gate, config=CONFIG, **names):
    o = Origin()
    return gate(config, origin=o.port, dead=free_port(), **names), o


def log(g):
    g.stop()
    return [json.loads(l) for l in g.read("access.log").splitlines()]


def fails(gate, path, status, cause, **more):
    g, o = start(gate)
    answer = g.get(path, **more)
    same(answer[0], status, path)
    true(cause in answer[1].get("proxy-status", ""), answer[1])
    same(log(g)[-1]["cause"], cause)
    o.end()


def cut(gate, path, cause):
    """The head was passed on already: the client must be able to tell."""
    g, o = start(gate)
    answer = g.get(path)
    same(answer[0], 200)
    with g.connect() as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        data = read_all(s)
    true(not data.endswith(b"0\r\n\r\n"), data)
    same(log(g)[-1]["cause"], cause)
    o.end()


def test_fields_are_added_and_hop_by_hop_ones_removed(gate):
    g, o = start(gate)
    _, _, content = g.get("/x?a=b", fields="Connection: close, X-Mine\r\nX-Mine: 1\r\nTE: gzip\r\n"
                          "X-Forwarded-For: 9.9.9.9\r\nKeep-Alive: 3\r\nX-Yours: 2\r\n"
                          "HTTP2-Settings: AAA\r\nForwarded: for=1.1.1.1\r\n")
    head = content.decode().split("\n")
    same(head[0], "GET /x?a=b")
    for want in ("X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "Via: 1.1 headgate",
                 "X-Yours: 2", "Host: localhost", "X-Forwarded-Host: localhost"):
        true(want in head, f"{want} in {head}")
    for never in ("x-mine", "te:", "keep-alive", "http2-settings", "forwarded:", "connection"):
        true(not any(h.lower().startswith(never) for h in head), f"{never} in {head}")
    o.end()


def test_each_server_gets_its_own_name_if_asked_for(gate):
    """Also where it is written with its scheme, and on the try after another server failed."""
    dead = free_port()
    first, second = Origin(), Origin()
    names = [f"http://127.0.0.1:{first.port}", f"localhost:{second.port}"]
    g = gate("[listener a]\nlisten = 127.0.0.1:{port}\n[upstream u]\nbalance = round_robin\nfamily = ipv4\n"
             f"server = {names[0]}\nserver = {names[1]}\n"
             "[upstream dead]\nbalance = round_robin\nfamily = ipv4\n"
             f"server = 127.0.0.1:{dead}\nserver = {names[1]} backup\n"
             "[route all]\nhandler = forward\nupstream = u\nhost_header = server\n"
             "[route dead]\npath = /dead\nhandler = forward\nupstream = dead\nhost_header = server\n")

    def host(path):
        head = g.get(path)[2].decode().split("\n")
        return [line for line in head if line.startswith("Host: ")]
    same({host("/x")[0] for _ in range(4)},
         {f"Host: 127.0.0.1:{first.port}", f"Host: localhost:{second.port}"})
    same(host("/dead"), [f"Host: localhost:{second.port}"])
    first.end()
    second.end()


def test_a_host_of_which_nothing_is_left_is_the_servers(gate):
    """Also on the try after another server failed; a variable that brings what is no host is still refused."""
    o, port = Origin(), free_port()
    g = gate("[listener a]\nlisten = 127.0.0.1:{port}\n[upstream u]\nfamily = ipv4\n"
             f"server = 127.0.0.1:{port}\nserver = localhost:{o.port} backup\n"
             + "".join(f"[route {name}]\npath = /{name}\nhandler = forward\nupstream = u\nhost_header = {host}\n"
                       for name, host in (("all", "${header.x-host}"), ("port", "${header.x-host}:81"),
                                          ("under", "${header.x-host}.example.com"))))

    def hosts(path, fields=""):
        status, _, content = g.get(path, fields=fields)
        return [line for line in content.decode().split("\n") if line.startswith("Host:")] if status == 200 else status
    for path, whole in (("/all", "a.test"), ("/port", "a.test:81"), ("/under", "a.test.example.com")):
        same(hosts(path), [f"Host: localhost:{o.port}"], path)
        same(hosts(path, "X-Host:\r\n"), [f"Host: localhost:{o.port}"], path)
        same(hosts(path, "X-Host: a.test\r\n"), [f"Host: {whole}"], path)
        same(hosts(path, "X-Host: a b\r\n"), 400, path)
    o.end()


def test_a_trusted_peer_is_appended_to(gate):
    g, o = start(gate, CONFIG.replace("[upstream u]", "trusted = 127.0.0.0/8\n[upstream u]"))
    _, _, content = g.get("/x", fields="X-Forwarded-For: 9.9.9.9, 127.0.0.5\r\n"
                                       "X-Forwarded-Proto: https\r\nX-Request-Id: mine\r\n")
    head = content.decode().split("\n")
    for want in ("X-Forwarded-For: 9.9.9.9, 127.0.0.5, 127.0.0.1", "X-Forwarded-Proto: https",
                 "X-Request-Id: mine"):
        true(want in head, f"{want} in {head}")
    same(log(g)[-1]["client_ip"], "9.9.9.9")
    o.end()


def test_prefix_and_edits(gate):
    g, o = start(gate)
    _, fields, content = g.get("/strip/a//b/../c?q", fields="User-Agent: me\r\n")
    head = content.decode().split("\n")
    same(head[0], "GET /a/c?q")
    true("X-Client: 127.0.0.1" in head and not any("User-Agent" in h for h in head), head)
    same(fields.get("x-gate"), "yes")
    o.end()


def test_response_hop_by_hop_fields_stay_behind(gate):
    g, o = start(gate)
    _, fields, _ = g.get("/hop")
    true("x-secret" not in fields and "keep-alive" not in fields, fields)
    same(fields["x-kept"], "2")
    o.end()


def test_content_of_every_framing_comes_through(gate):
    g, o = start(gate)
    same(g.get("/chunked")[2], b"piece0piece1piece2piece3piece4")
    same(g.get("/until-close")[2], b"all of it")
    same(g.get("/chunked", version="1.0")[2], b"piece0piece1piece2piece3piece4")
    same(g.get("/head", method="HEAD")[1]["content-length"], "12345")
    for status in (204, 304, 404, 500):
        same(g.get(f"/status/{status}")[0], status)
    n = 5_000_000
    same(hashlib.sha256(g.get(f"/large/{n}")[2]).hexdigest(),
         hashlib.sha256((bytes(range(256)) * (n // 256 + 1))[:n]).hexdigest())
    o.end()


def test_what_comes_behind_chunked_content_is_passed_on(gate):
    g, o = start(gate)
    for _ in range(2):
        with g.connect() as s:
            s.sendall(b"GET /trailers HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            data = read_all(s)
        same(data.partition(b"\r\n\r\n")[2], b"3\r\nabc\r\n0\r\nX-Sum: 1 2\r\nX-Empty: \r\n\r\n")
    same(g.get("/trailers", version="1.0")[2], b"abc")
    same(o.connections, 1)
    o.end()


def test_uploads_of_both_framings_arrive_whole(gate):
    g, o = start(gate)
    body = os.urandom(3_000_000)
    want = f"content {len(body)} {hashlib.sha256(body).hexdigest()}"
    true(g.get("/x", method="POST", body=body)[2].decode().endswith(want))
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p)
                      for p in (body[i:i + 70000] for i in range(0, len(body), 70000)))
    answer = g.say(b"POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                   b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    true(parse_response(answer)[2].decode().endswith(want))
    o.end()


def test_continue_is_said_before_content_is_sent(gate):
    g, o = start(gate)
    with g.connect() as s:
        s.sendall(b"POST /continue HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                  b"Content-Length: 5\r\n\r\n")
        same(s.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
        s.sendall(b"hello")
        status, _, content, _ = read_response(s)
        same(status, 200)
        true(b"content 5 " in content)
        true(b"Expect" not in content)
    o.end()


def test_early_hints_are_passed_on(gate):
    g, o = start(gate)
    data = g.say(b"GET /hints HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    true(data.startswith(b"HTTP/1.1 103 Early Hints\r\nLink: "), data)
    true(data.endswith(b"after the hints"), data)
    o.end()


def test_an_early_answer_comes_while_the_upload_runs(gate):
    g, o = start(gate)
    with g.connect() as s:
        s.sendall(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + b"x" * 10)
        same(read_response(s)[2], b"early")
    o.end()


def test_connections_to_the_origin_are_kept(gate):
    g, o = start(gate)
    with g.connect() as s:
        for _ in range(50):
            s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            same(read_response(s)[0], 200)
    same((o.requests, o.connections), (50, 1))
    o.end()


def test_an_origin_that_closes_after_each_answer_costs_no_get(gate):
    g, o = start(gate, CONFIG.replace("[upstream u]\n", "[upstream u]\nretry_budget = off\n"))
    with g.connect() as s:
        for _ in range(50):
            s.sendall(b"GET /once HTTP/1.1\r\nHost: a\r\n\r\n")
            same(read_response(s)[2], b"once")
    o.end()


def test_a_dead_server_is_passed_over(gate):
    g, o = start(gate)
    for _ in range(30):  # either is the first choice by chance
        same(g.get("/one-dead", method="POST", body=b"abc")[0], 200)
    true(any(r["tries"] == 2 for r in log(g)))
    o.end()


def test_refused(gate):
    fails(gate, "/dead", 502, "upstream_connect_refused")


def test_reset_before_the_head(gate):
    fails(gate, "/reset", 502, "upstream_reset_before_head")


def test_closed_before_the_head(gate):
    fails(gate, "/close", 502, "upstream_reset_before_head", method="POST", body=b"x")


def test_silence(gate):
    fails(gate, "/silent", 504, "upstream_head_timeout")


def test_garbage(gate):
    fails(gate, "/garbage", 502, "upstream_bad_head")


def test_a_head_with_both_lengths(gate):
    fails(gate, "/both", 502, "upstream_bad_head")


def test_a_head_too_large(gate):
    fails(gate, "/big-head", 502, "upstream_head_too_large")


def test_an_upgrade_nobody_asked_for(gate):
    fails(gate, "/switch/websocket", 502, "upstream_upgrade_refused")


def test_truncated_content(gate):
    cut(gate, "/truncate", "upstream_truncated_body")


def test_truncated_chunks(gate):
    cut(gate, "/truncate-chunks", "upstream_truncated_body")


def test_a_malformed_chunk(gate):
    cut(gate, "/bad-chunk", "upstream_bad_chunk")


def test_a_malformed_chunk_that_comes_with_the_head(gate):
    """Nothing of the answer has gone to the client: it gets all of another."""
    g, o = start(gate)
    with g.connect() as s:
        for _ in range(2):
            s.sendall(b"GET /bad-chunk-at-once HTTP/1.1\r\nHost: a\r\n\r\n")
            status, _, body, rest = read_response(s)
            same((status, body.split(b"\n")[0], rest), (502, b"502 Bad Gateway: upstream_bad_chunk", b""))
    o.end()


def test_silence_in_the_middle(gate):
    cut(gate, "/stall", "upstream_idle_timeout")


def test_a_retried_reset_is_tried_twice_and_not_a_post(gate):
    g, o = start(gate)
    g.get("/reset")
    g.get("/reset", method="POST", body=b"x")
    same([m for m, _ in o.seen], ["GET", "GET", "POST"])
    o.end()


def test_what_is_sent_again_may_be_more_than_a_wire_takes_at_once(gate):
    g, o = start(gate, CONFIG.replace("connect_timeout", "retry_buffer = 4m\nconnect_timeout"))
    body = os.urandom(3_000_000)
    want = f"content {len(body)} {hashlib.sha256(body).hexdigest()}"
    same(g.get("/reset-once/a", method="PUT", body=body)[2].decode(), want)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p)
                      for p in (body[i:i + 70000] for i in range(0, len(body), 70000)))
    answer = g.say(b"PUT /reset-once/b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                   b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    same(parse_response(answer)[2].decode(), want)
    same(g.get("/reset-once/c", method="PUT", body=body + body[:2_000_000])[0], 502)
    o.end()


def test_a_loop_ends(gate):
    g = gate("""
[server]
workers = 1
[listener a]
listen = 127.0.0.1:{port}
[upstream me]
server = 127.0.0.1:{port}
[route all]
handler = forward
upstream = me
""")
    same(g.get("/")[0], 508)


def test_a_tunnel_carries_bytes_both_ways(gate):
    g, o = start(gate)
    with g.connect() as s:
        s.sendall(b"GET /switch/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                  b"Upgrade: websocket\r\n\r\n")
        head = s.recv(1000)
        true(head.startswith(b"HTTP/1.1 101") and b"Upgrade: websocket" in head, head)
        s.sendall(b"x" * 200000)
        got = b""
        while len(got) < 200000:
            got += s.recv(1 << 16)
        time.sleep(2.5)  # longer than the idle timeout, which is not a tunnel's
        s.sendall(b"still there")
        same(s.recv(100), b"still there")
    o.end()


def test_h2c_is_never_passed(gate):
    g, o = start(gate)
    _, _, content = g.get("/x", fields="Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                                       "HTTP2-Settings: AAAA\r\n")
    true(b"h2c" not in content and b"HTTP2" not in content, content)
    o.end()


def test_a_unix_socket_is_an_origin(gate):
    g, first = start(gate)
    path = os.path.join(g.dir, "o.sock")
    o = Origin(path=path)
    with open(g.ini) as f:
        text = f.read().replace(f"server = 127.0.0.1:{first.port}", f"server = unix:{path}", 1)
    g.write(text)
    g.stop()
    g.start()
    same(g.get("/hop")[2], b"hop")
    o.end()
    first.end()


def test_a_client_that_leaves_ends_the_origins_work(gate):
    g, o = start(gate)
    with g.connect() as s:
        s.sendall(b"GET /silent HTTP/1.1\r\nHost: a\r\n\r\n")
        true(wait_for(lambda: o.requests == 1))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    true(wait_for(lambda: o.gone == 1), "the origin was not told")
    same([r["cause"] for r in log(g) if r["target"] == "/silent"], ["client_gone"])
    o.end()


def test_a_slow_reader_holds_the_origin_back(gate):
    g, o = start(gate)
    n = 200_000_000
    with g.connect(seconds=20) as s:
        s.sendall(f"GET /large/{n} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        s.recv(1000)
        time.sleep(1)
        true(g.rss_kib() < 60_000, f"{g.rss_kib()} KiB are in use")
    o.end()


def sips(listener, most):
    """Takes 8 KiB every 50 ms; answers when `most` bytes have come, or falls silent then."""
    s, _ = listener.accept()
    with s:
        got = 0
        while got < most:
            got += len(s.recv(8192))
            time.sleep(0.05)
        if most >= SIPPED:
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:
            time.sleep(4.5)


SIPPED = 600_000


def test_an_origin_may_be_slow_to_take_an_upload_but_not_dead(gate):
    """Although nothing is taken from us for long, and all long before it has come."""
    for most in (SIPPED, 60_000):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            origin = threading.Thread(target=sips, args=(listener, most))
            origin.start()
            g = gate(CONFIG, origin=listener.getsockname()[1], dead=free_port())
            with g.connect(seconds=30) as s:
                s.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIPPED)
                s.sendall(b"x" * SIPPED)
                began = time.monotonic()
                status, fields, _, _ = read_response(s)
            same(status, 200 if most == SIPPED else 504, fields)
            if most < SIPPED:
                true("timeout" in fields["proxy-status"], fields)
                true(time.monotonic() - began < 4, "as soon as it is dead")
            g.stop()
            origin.join()


if __name__ == "__main__":
    main([f for n, f in list(globals().items()) if n.startswith("test_")])
