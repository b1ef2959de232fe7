#!/usr/bin/env python3
"""HTTP/1.1 at the edge, byte by byte: framing, limits, timeouts, the end of connections."""
import json
import os
import select
import signal
import socket
import subprocess
import time

from harness import HEADGATE, main, parse_response, read_all, read_response, same, true, wait_for

CONFIG = """
[server]
workers = 1
access_log = {dir}/access.log
[listener a]
listen = 127.0.0.1:{port}
header_timeout = 1s
keepalive_timeout = 1s
[route hello]
path = /hello
handler = respond
body = hello
max_body = 100k
[route only-get]
path = /get
method = GET
handler = respond
body = got
[route purge]
path = /get
method = PURGE, POLL
match_query = purge
handler = respond
[route echo]
path = /query/{name}
handler = respond
body = ${path.name} ${query.q:-none} ${header.x-a:-none} ${host}
"""

GET = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"


def refused(gate, data, status, cause):
    g = gate(CONFIG)
    answer = parse_response(g.say(data))
    same(answer[0], status, data)
    true(cause.encode() in answer[2], f"{cause} is not named in {answer[2]!r}")
    same(answer[1].get("connection"), "close")
    g.stop()
    true(f'"cause":"{cause}"' in g.read("access.log"), "the cause is not in the log")


def test_pipelined_requests_are_answered_in_order(gate):
    g = gate(CONFIG)
    with g.connect() as s:
        s.sendall(b"".join(b"GET /query/%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(500)))
        data = b""
        while data.count(b"\r\n\r\n") < 500 or not data.endswith(b"499 none none a"):
            data += s.recv(1 << 16)
    same([int(r.split()[0]) for r in data.split(b"\r\n\r\n")[1:]], list(range(500)))


def test_a_request_byte_by_byte_is_answered(gate):
    g = gate(CONFIG)
    with g.connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in GET:
            s.send(bytes([byte]))
        same(read_response(s)[2], b"hello")


def test_head_has_the_length_and_no_content(gate):
    g = gate(CONFIG)
    status, fields, content = g.get("/hello", method="HEAD")
    same((status, fields["content-length"], content), (200, "5", b""))


PREPARED = """
[listener web]
listen = 127.0.0.1:{port}
[route plain]
path = /plain
handler = respond
body = hello
[route edited]
path = /edited
handler = respond
body = hello
response_header = set Content-Type text/html
response_header = add X-One 1
[route empty]
path = /empty
handler = respond
status = 204
[route moved]
path = /moved
handler = respond
status = 404
type = text/html
body = <p>gone
"""


def test_a_status_without_content_has_no_body(gate):
    """What would be dropped in silence is refused where it is written (RFC 9110, 6.4.1)."""
    g = gate(PREPARED)
    for status, key in ((204, "body"), (205, "body"), (304, "body_file")):
        text = PREPARED.replace("status = 204", f"status = {status}\n{key} = headgate.ini")
        g.write(text)
        p = subprocess.run([HEADGATE, "-t", "-c", g.ini], capture_output=True, text=True)
        line = open(g.ini).read().split("\n").index(f"{key} = headgate.ini") + 1
        true(f"headgate.ini:{line}:" in p.stderr and
             f"an answer with status {status} has no content (RFC 9110" in p.stderr, p.stderr)
        same(p.returncode, 1)


def test_an_answer_prepared_with_the_configuration_is_said_once_and_edited(gate):
    g = gate(PREPARED)
    for path in (b"/plain", b"/edited"):
        raw = g.say(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path).lower()
        for name in (b"content-type:", b"content-length:", b"date:", b"server:", b"connection: close"):
            same((path, name, raw.count(name)), (path, name, 1))
    status, fields, content = g.get("/plain")
    same((status, fields["content-type"], content), (200, "text/plain; charset=utf-8", b"hello"))
    status, fields, content = g.get("/edited")
    same((status, fields["content-type"], fields["x-one"], content), (200, "text/html", "1", b"hello"))
    status, fields, content = g.get("/moved")
    same((status, fields["content-type"], content), (404, "text/html", b"<p>gone"))
    status, fields, _ = g.get("/empty")
    same((status, "content-length" in fields, "content-type" in fields), (204, False, False))


def test_http_1_0_closes_unless_asked_to_keep_alive(gate):
    g = gate(CONFIG)
    same(parse_response(g.say(b"GET /hello HTTP/1.0\r\n\r\n"))[2], b"hello")
    with g.connect() as s:
        for _ in range(3):
            s.sendall(b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            status, fields, content, _ = read_response(s)
            same((status, fields["connection"], content), (200, "keep-alive", b"hello"))


def test_both_lengths_are_refused(gate):
    refused(gate, b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_framing")


def test_a_bare_line_feed_is_refused(gate):
    refused(gate, b"GET /hello HTTP/1.1\nHost: a\n\n", 400, "bad_request_line")


def test_a_long_request_line_is_414(gate):
    refused(gate, b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414,
            "request_line_too_long")


def test_a_large_head_is_431(gate):
    refused(gate, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: " + b"x" * 33000 + b"\r\n\r\n", 431,
            "header_too_large")


def test_too_many_fields_are_431(gate):
    refused(gate, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 100 + b"\r\n", 431,
            "too_many_fields")


def test_too_much_content_is_413(gate):
    g = gate(CONFIG)
    head = b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n"
    with g.connect() as s:
        s.sendall(head + b"x" * 200000)
        same(read_response(s)[0], 413)
        s.sendall(GET) # what little there was has been thrown away
        same(read_response(s)[2], b"hello")
    with g.connect() as s:
        s.sendall(b"POST /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(4):
            s.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        same(read_response(s)[0], 200) # nobody asked for it


def test_an_answer_survives_content_nobody_reads(gate):
    """The client is still sending when the answer and the end come: no reset may destroy them."""
    g = gate(CONFIG)
    with g.connect() as s:
        s.sendall(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        try:
            for _ in range(20):
                s.sendall(b"x" * 5000)
                time.sleep(0.01)
        except OSError:
            pass
        same(parse_response(read_all(s))[0], 413)


def test_small_unread_content_keeps_the_connection(gate):
    g = gate(CONFIG)
    with g.connect() as s:
        for _ in range(3):
            s.sendall(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" +
                      b"x" * 5000)
            same(read_response(s)[2], b"hello")


def test_a_slow_head_is_408_and_silence_is_closed_silently(gate):
    g = gate(CONFIG)
    with g.connect() as s:
        s.sendall(b"GET /hello HT")
        same(parse_response(read_all(s))[0], 408)
    with g.connect() as s:
        same(read_all(s), b"")


def test_an_idle_connection_is_closed(gate):
    g = gate(CONFIG)
    with g.connect() as s:
        s.sendall(GET)
        same(read_response(s)[0], 200)
        began = time.monotonic()
        same(read_all(s), b"")
        took = time.monotonic() - began
        true(0.8 < took < 5, f"after {took}")


def test_a_method_without_route_is_405_with_allow(gate):
    g = gate(CONFIG)
    status, fields, _ = g.get("/get", method="POST")
    same((status, fields["allow"]), (405, "GET, HEAD"))
    same(g.get("/nothing")[0], 404)


def test_options_of_the_server_is_answered(gate):
    g = gate(CONFIG)
    same(g.get("*", method="OPTIONS")[0], 204)


def test_allow_names_all_that_would_do(gate):
    g = gate(CONFIG)
    for method, path, allow in (("POST", "/get?purge", "GET, HEAD, PURGE, POLL"),
                                ("BREW", "/get?purge", "GET, HEAD, PURGE, POLL"),
                                ("TRACE", "/get?purge", "GET, HEAD, PURGE, POLL"),
                                ("TRACE", "/hello", "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"),
                                ("TRACE", "/none", "")):
        status, fields, _ = g.get(path, method=method)
        same((status, fields["allow"]), (405, allow), (method, path))


def test_connect_and_trace_are_405(gate):
    g = gate(CONFIG)
    same(g.get("/hello", method="TRACE")[0], 405)
    same(parse_response(g.say(b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"))[0], 405)
    with g.connect() as s:
        for method, path, allow in ((b"POST", b"/get", "GET, HEAD"), (b"TRACE", b"/get", "GET, HEAD")):
            s.sendall(method + b" " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = read_response(s)
            same((answer[0], answer[1].get("allow")), (405, allow))


def test_an_absolute_target_names_the_host(gate):
    g = gate(CONFIG)
    answer = g.say(b"GET http://example.com/query/x HTTP/1.1\r\nHost: other\r\n"
                   b"Connection: close\r\n\r\n")
    same(parse_response(answer)[2], b"x none none example.com")


FULL = """
[server]
workers = {workers}
max_connections = {most}
[listener a]
listen = 127.0.0.1:{port}
[route hello]
handler = respond
body = hello
"""


def test_connections_beyond_the_limit_wait_for_room(gate):
    g = gate(FULL, workers=1, most=10)
    time.sleep(0.2)
    clients = [g.connect() for _ in range(15)]
    for c in clients:
        c.sendall(GET)
    for c in clients[:10]:
        same(read_response(c)[0], 200)
    time.sleep(0.5)
    same(select.select(clients[10:], [], [], 0)[0], [], "they wait")
    for c in clients[:10]:
        c.close()
    for c in clients[10:]:
        same(read_response(c)[0], 200)


def test_no_worker_is_left_full(gate):
    g = gate(FULL, workers=2, most=2)
    time.sleep(0.2)
    clients = [g.connect() for _ in range(12)]
    time.sleep(0.2)
    for c in clients:
        c.close()
        time.sleep(0.03)
    for _ in range(20):
        same(g.get("/")[2], b"hello")


def test_an_ipv4_client_of_a_dual_stack_listener_is_an_ipv4_client(gate):
    g = gate("""
[server]
access_log = {dir}/access.log
[listener a]
listen = :{port}
trusted = 127.0.0.1
[route h]
handler = respond
body = ${client_ip}
""")
    same(g.get("/")[2], b"127.0.0.1")
    same(g.get("/", fields="X-Forwarded-For: ::ffff:192.0.2.9\r\n")[2], b"192.0.2.9")
    g.stop()
    true('"client_ip":"127.0.0.1"' in g.read("access.log"), "the log says something else")


def test_every_request_has_an_id_in_the_log(gate):
    g = gate("""
[server]
access_log = {dir}/access.log
[listener a]
listen = 127.0.0.1:{port}
trusted = 127.0.0.1
[route h]
handler = respond
[route off]
path = /off
handler = respond
request_id = off
""")
    g.get("/")
    g.get("/", fields="X-Request-Id: theirs\r\n")
    g.get("/off", fields="X-Request-Id: theirs\r\n")
    g.stop()
    ids = [json.loads(l).get("id", "") for l in g.read("access.log").splitlines()]
    same(sorted((len(i), i == "theirs") for i in ids), [(0, False), (6, True), (32, False)])


def test_an_address_in_use_is_said_plainly(gate):
    g = gate(CONFIG)
    second = subprocess.run([HEADGATE, "-c", g.ini], capture_output=True, text=True, timeout=20)
    same(second.returncode, 1)
    true(f" error: listen 127.0.0.1:{g.port}: already in use\n" in second.stderr, second.stderr)
    true("error: error" not in second.stderr, second.stderr)
    # Whoever started it sees why it ended, also when errors go to a file.
    log = os.path.join(g.dir, "second.log")
    with open(os.path.join(g.dir, "second.ini"), "w", encoding="utf-8") as f:
        f.write(f"[server]\nerror_log = {log}\n[listener a]\nlisten = 127.0.0.1:{g.port}\n"
                "[route r]\nhandler = respond\n")
    second = subprocess.run([HEADGATE, "-c", f.name], capture_output=True, text=True, timeout=20)
    same(second.returncode, 1)
    true(f" error: listen 127.0.0.1:{g.port}: already in use\n" in second.stderr, second.stderr)
    same(g.read("second.log"), second.stderr)


def test_errors_go_to_the_error_log_alone_once_it_serves(gate):
    g = gate(CONFIG.replace("[server]", "[server]\nerror_log = {dir}/first.log"))
    true(wait_for(lambda: "serving" in g.read("first.log")))
    g.write("nonsense\n")
    g.signal(signal.SIGHUP)
    true(wait_for(lambda: "the old one stays in use" in g.read("first.log")))
    same(g.said(), "")



def test_a_half_closed_client_gets_its_answer(gate):
    g = gate(CONFIG)
    with g.connect() as s:
        s.sendall(GET * 3)
        s.shutdown(socket.SHUT_WR)
        same(read_all(s).count(b"hello"), 3)


def test_paths_that_climb_are_400(gate):
    g = gate(CONFIG)
    for path in ("/../x", "/a/../../x", "/%2e%2e/x", "/a/..;x/b", "/a%00b", "/a\\b"):
        same(g.get(path)[0], 400, path)


def test_a_connection_serves_while_another_is_slow(gate):
    g = gate(CONFIG)
    with g.connect() as slow:
        slow.sendall(b"GET /hello")
        same(g.get("/hello")[2], b"hello")


def test_ten_thousand_requests_leave_nothing_behind(gate):
    g = gate(CONFIG)
    with g.connect() as s:
        for _ in range(100):
            s.sendall(GET * 100)
            data = b""
            while data.count(b"hello") < 100:
                data += s.recv(1 << 16)
    before = g.descriptors()
    true(wait_for(lambda: g.descriptors() <= before), "descriptors")


if __name__ == "__main__":
    main([f for n, f in list(globals().items()) if n.startswith("test_")])
