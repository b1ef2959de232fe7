#!/usr/bin/env python3
"""Every setting from outside: its default holds, another value works, what is refused has its
status, its cause in the log and its counter.  What other files test at length is not said again."""
import contextlib
import grp
import json
import os
import pwd
import signal
import socket
import stat
import subprocess
import time

from h2client import PING, Client, data, headers, ping, post
from harness import HEADGATE, Skip, main, needs, parse_response, read_all, read_response, same, true, wait_for
from origin import Origin

CONFIG = """
[server]
workers = 1
access_log = {dir}/access.log
{server}
[listener a]
listen = 127.0.0.1:{port}
{listener}
[upstream u]
server = 127.0.0.1:{origin}
first_byte_timeout = 2s
idle_timeout = 1s
{upstream}
[route forward]
path = /f/*
handler = forward
upstream = u
strip_prefix = /f
max_body = off
{forward}
[route all]
handler = respond
body = fine
{route}
{more}
"""


def start(gate, **names):
    empty = dict.fromkeys(("server", "listener", "upstream", "forward", "route", "more"), "")
    config = CONFIG
    if "access_log" in names.get("server", ""):
        config = config.replace("access_log = {dir}/access.log\n", "", 1)
    return gate(config, **{"origin": 9, **empty, **names})


def refused(g, answer, status, cause, times=1):
    """The status, the cause's counter, and its line in the log."""
    same(answer[0], status, cause)
    same(g.counted().get(cause), times, cause)
    g.stop()
    log = [json.loads(l) for l in g.read("access.log").splitlines()]
    same([a["cause"] for a in log if a["status"] == status], [cause] * times)


def head_of(line=20, size=0, fields=0):
    """A request whose line, head and number of fields are what they should be."""
    head = b"GET /" + b"a" * (line - len("GET / HTTP/1.1")) + b" HTTP/1.1\r\nHost: a\r\n"
    head += b"Connection: close\r\n"
    head += b"".join(b"A%d: b\r\n" % i for i in range(max(0, fields - 2)))
    if size:
        head += b"X: " + b"y" * (size - len(head) - len("X: \r\n\r\n")) + b"\r\n"
    return head + b"\r\n"


# --- counters ---------------------------------------------------------------------------------

def test_sigusr2_says_what_was_counted_whatever_the_level(gate):
    g = start(gate, server="log_level = error")
    g.get("/a")
    g.get("/%00")
    g.get("/..")
    c = g.counted()
    same((c["requests"], c["2xx"], c["4xx"], c["bad_path"]), (3, 1, 2, 2))
    true(c["connections"] >= 3 and c["turns"] > 0, c)
    for open_now in (0, 1, 0):
        with g.connect() if open_now else contextlib.nullcontext():
            true(wait_for(lambda: g.counted()["open"] == open_now), f"{open_now} open")
    same(g.counted()["bad_path"], 2)


# --- [listener] ---------------------------------------------------------------------------------

def limit(gate, key, value, least, over, status, cause, also=""):
    """Exactly the limit passes, one more does not; by default both do."""
    g = start(gate, listener=f"{key} = {value}\n{also}")
    same(parse_response(g.say(least))[0], 200, f"{key} = {value}, reached")
    refused(g, parse_response(g.say(over)), status, cause)
    g = start(gate, server=f"{key} = {value}\n{also}")
    same(parse_response(g.say(over))[0], status, f"{key} in [server]")
    g = start(gate)
    same(parse_response(g.say(over))[0], 200, f"{key} by default")


def test_max_request_line(gate):
    limit(gate, "max_request_line", "100b", head_of(line=100), head_of(line=101), 414,
          "request_line_too_long")
    g = start(gate)
    same(parse_response(g.say(head_of(line=8192)))[0], 200, "8k")
    refused(g, parse_response(g.say(head_of(line=8193))), 414, "request_line_too_long")


def test_max_header(gate):
    limit(gate, "max_header", "512b", head_of(size=512), head_of(size=513), 431,
          "header_too_large", "max_request_line = 100b")
    g = start(gate)
    same(parse_response(g.say(head_of(size=32768)))[0], 200, "32k")
    refused(g, parse_response(g.say(head_of(size=32769))), 431, "header_too_large")


def test_max_fields(gate):
    limit(gate, "max_fields", "10", head_of(fields=10), head_of(fields=11), 431,
          "too_many_fields")
    g = start(gate)
    same(parse_response(g.say(head_of(fields=100)))[0], 200, "100")
    refused(g, parse_response(g.say(head_of(fields=101))), 431, "too_many_fields")


def test_header_timeout_is_counted(gate):
    g = start(gate, listener="header_timeout = 300ms")
    refused(g, parse_response(g.say(b"GET / HTTP/1.1\r\nHos")), 408, "header_timeout")


def test_keepalive_requests(gate):
    g = start(gate, listener="keepalive_requests = 3")
    with g.connect() as s:
        for i in range(3):
            s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            _, fields, _, _ = read_response(s)
            same(fields.get("connection"), "close" if i == 2 else None, f"request {i}")
        same(s.recv(1), b"")
    g = start(gate)
    data = g.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000
                 + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    same(data.count(b"200 OK"), 1001)


def test_keepalive_timeout_is_counted_and_closes_silently(gate):
    g = start(gate, listener="keepalive_timeout = 300ms")
    with g.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        same(read_response(s)[0], 200)
        began = time.monotonic()
        same(s.recv(1), b"")
        true(0.2 < time.monotonic() - began < 3, "closed too soon or too late")


def test_a_request_without_a_head_is_a_dash(gate):
    for form in ("common", "combined"):
        g = start(gate, server=f"access_log = {{dir}}/access.log format={form}", listener="header_timeout = 200ms")
        with g.connect() as s:
            s.sendall(b"GET / HT")
            same(read_response(s)[0], 408)
        g.stop()
        line = g.read("access.log")
        true('] "-" 408 ' in line, line)


def test_client_ip_from(gate):
    fields = ("X-Forwarded-For: 192.0.2.1\r\nForwarded: for=\"[2001:db8::2]:1\"\r\n"
              "X-Real-IP: 192.0.2.3\r\n")
    for value, want in (("", "192.0.2.1"), ("client_ip_from = x-forwarded-for", "192.0.2.1"),
                        ("client_ip_from = forwarded", "2001:db8::2"),
                        ("client_ip_from = X-Real-IP", "192.0.2.3"),
                        ("client_ip_from = off", "127.0.0.1")):
        g = start(gate, listener="trusted = 127.0.0.0/8\n" + value,
                  route="response_header = set X-Client ${client_ip}")
        same(g.get("/", fields=fields)[1]["x-client"], want, value)
        g.stop()
    g = start(gate, route="response_header = set X-Client ${client_ip}")
    same(g.get("/", fields=fields)[1]["x-client"], "127.0.0.1", "nobody is trusted")


def test_socket_mode(gate):
    g = start(gate, more="[listener u1]\nlisten = unix:{dir}/one.sock\nsocket_mode = 0600\n"
                         "[listener u2]\nlisten = unix:{dir}/two.sock")
    modes = [oct(stat.S_IMODE(os.stat(f"{g.dir}/{n}.sock").st_mode)) for n in ("one", "two")]
    same(modes, ["0o600", "0o660"])
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(f"{g.dir}/one.sock")
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        same(parse_response(read_all(s))[0], 200)


# --- [server] -----------------------------------------------------------------------------------

def test_server_header(gate):
    for value, want in (("", "headgate"), ("server_header = edge 1", "edge 1"),
                        ("server_header = off", None)):
        g = start(gate, server=value)
        answer = g.get("/")[1]
        same((answer.get("server"), "date" in answer), (want, True), value)
        g.stop()


def test_server_is_a_field_that_a_route_can_remove_and_set(gate):
    o = Origin()
    for edits, want in (("remove Server", None), ("remove Serv*", None), ("remove X-*", "headgate"),
                        ("set Server mine", "mine"), ("default Server mine", "mine"),
                        ("remove Server\nresponse_header = add Server mine", "mine")):
        edits = "response_header = " + edits
        g = start(gate, route=edits, forward=edits, origin=o.port)
        for path in ("/", "/f/echo"):
            answer = g.get(path)[1]
            if want == "headgate" and path == "/f/echo":
                want = None  # the origin has said none
            same((answer.get("server"), "date" in answer), (want, True), f"{path}: {edits}")
        g.stop()
    o.end()


def test_resolver_and_names(gate):
    """The system's, by default and by name: what /etc/hosts says is an address."""
    o = Origin()
    for value in ("", "resolver = system"):
        g = start(gate, server=value, more=f"[upstream n]\nserver = localhost:{o.port}\nfamily = ipv4\n"
                  "[route n]\npath = /n\nhandler = forward\nupstream = n")
        same(g.get("/n")[0], 200, value)
        g.stop()
    o.end()


def test_user_and_group(gate):
    """Who it is once its addresses are bound; the group is the user's unless another is named."""
    if os.getuid() != 0:
        raise Skip("only root can become somebody else")
    nobody = pwd.getpwnam("nobody")
    for value, gid in (("user = nobody", nobody.pw_gid), ("user = nobody\ngroup = daemon",
                                                         grp.getgrnam("daemon").gr_gid)):
        g = start(gate, server="access_log = off\n" + value)
        same(g.get("/")[0], 200)
        with open(f"/proc/{g.process.pid}/status") as f:
            ids = {l.split()[0]: l.split()[1:] for l in f if l.startswith(("Uid", "Gid", "Groups"))}
        same((set(ids["Uid:"]), set(ids["Gid:"])), ({str(nobody.pw_uid)}, {str(gid)}), value)
        g.stop()


def test_engine_disable(gate):
    """Each part can be left out, and all together."""
    parts = ["multishot_receive", "provided_buffers", "poll_first", "bulk_buffers", "splice"]
    for value in parts + [", ".join(parts)]:
        g = start(gate, server=f"engine_disable = {value}")
        same(g.get("/")[2], b"fine", value)
        g.stop()


def test_include(gate):
    g = start(gate)
    os.mkdir(g.dir + "/more")
    for name in ("b", "a"):
        with open(f"{g.dir}/more/{name}.ini", "w") as f:
            f.write(f"[route {name}]\npath = /{name}\nhandler = respond\nbody = from {name}\n")
    g.names["server"] = "include = more/*.ini, nothing/*.ini"
    g.write(CONFIG)
    g.signal(signal.SIGHUP)
    true(wait_for(lambda: "generation 2" in g.said()), g.said())
    same([g.get(p)[2] for p in ("/a", "/b", "/c")], [b"from a", b"from b", b"fine"])


def test_error_log_format(gate):
    g = start(gate, server="error_log = {dir}/e.log format=json\nlog_level = info")
    g.stop()
    for line in g.read("e.log").splitlines():
        same(set(json.loads(line)), {"time", "level", "message"})


def test_tests_are_required_unless_skipped(gate):
    failing = "[test t]\nrequest = GET http://a/\nexpect_route = forward"
    g = start(gate, server="tests = skip", more=failing)
    same(g.get("/")[0], 200, "it serves all the same")
    try:
        start(gate, more=failing)
    except AssertionError as why:
        true("[test t] expect_route" in str(why), why)
    else:
        true(False, "a failing test did not refuse the start")


TESTED = """
[upstream v]
server = 127.0.0.1:9
[route conditional]
path = /conditional
match_header = X-Want=it
match_query = k=v
handler = respond
response_header = set X-Who ${client_ip}
[test t]
request = GET http://a/f/x/y?q=1
client = 192.0.2.7
listener = a
expect_route = forward
expect_upstream = u
expect_path = /x/y?q=1
[test r]
request = GET http://a/z
expect_route = all
expect_status = 200
[test c]
request = GET http://a/conditional?k=v
header = X-Want: it
client = 192.0.2.8
expect_route = conditional
expect_header = X-Who: 192.0.2.8
"""


def test_each_expectation_of_a_test_section_can_fail(gate):
    g = start(gate, more=TESTED)
    g.stop()

    def check(more):
        g.names["more"] = more
        g.write(CONFIG)
        done = subprocess.run([HEADGATE, "-t", "-c", g.ini], capture_output=True, text=True,
                              timeout=20, check=False)
        return done.returncode, done.stdout + done.stderr

    same(check(TESTED)[0], 0)
    for key, other in (("expect_route = forward", "expect_route = all"),
                       ("expect_upstream = u", "expect_upstream = v"),
                       ("expect_path = /x/y?q=1", "expect_path = /x/y"),
                       ("expect_status = 200", "expect_status = 201"),
                       ("header = X-Want: it", "header = X-Want: that"),
                       ("?k=v", "?k=w"), ("X-Who: 192.0.2.8", "X-Who: 192.0.2.1"),
                       ("client = 192.0.2.8", "")):
        code, said = check(TESTED.replace(key, other))
        true(code == 1 and "[test " in said, f"{other}: {code} {said}")


# --- [route] --------------------------------------------------------------------------------------

def test_match_header_and_match_query(gate):
    routes = "".join(f"[route {n}]\npath = {p}\nhandler = respond\nbody = {n}\n{c}\n" for n, p, c in
                     (("version", "/h", "match_header = X-V=2"),
                      ("beginning", "/h", "match_header = X-V^=3."),
                      ("present", "/q", "match_query = debug"),
                      ("both", "/q", "match_query = debug\nmatch_query = a!=1\n"
                                     "match_header = !X-Not")))
    g = start(gate, more=routes)
    for path, fields, want in (("/h", "", "fine"), ("/h", "X-V: 2\r\n", "version"),
                               ("/h", "X-V: 3.1\r\n", "beginning"), ("/h", "X-V: 4\r\n", "fine"),
                               ("/q", "", "fine"), ("/q?debug&a=1", "", "present"),
                               ("/q?debug=&a=1", "", "present"), ("/q?debug&a=2", "", "both"),
                               ("/q?debug", "", "both"), ("/q?debug", "X-Not: 1\r\n", "present")):
        same(g.get(path, fields=fields)[2].decode(), want, path + " " + fields)


def test_encoded_slash(gate):
    o = Origin()
    g = start(gate, origin=o.port)
    refused(g, g.get("/f/a%2Fb"), 400, "bad_path")
    g = start(gate, origin=o.port, forward="encoded_slash = pass")
    true(b"GET /a%2Fb HTTP" in g.get("/f/a%2Fb")[2] or b"GET /a%2Fb\n" in g.get("/f/a%2Fb")[2],
         "passed as it was sent")
    same(g.get("/a%2fb")[0], 400, "another route still refuses")
    g = start(gate, origin=o.port, server="encoded_slash = pass")
    same((g.get("/f/a%5cb")[0], g.get("/a%2fb")[0]), (200, 200), "in [server]")
    o.end()


def test_error_page(gate):
    """Our own errors, of every kind; not an origin's; and in [server] those without a route."""
    o = Origin()
    pages = "".join(f"error_page = {statuses} {name}\n" for statuses, name in
                    (("400,404,405,413,417", "client.html"), ("500,501,502,503,504", "sorry.json")))

    def gateway(**names):
        g = start(gate, origin=o.port)
        for name, text in (("client.html", "<p>no"), ("sorry.json", '{"sorry":1}')):
            with open(os.path.join(g.dir, name), "w") as f:
                f.write(text)
        g.names.update(names)
        g.write(CONFIG.replace("[route all]", "[route all]\npath = /all\nmethod = GET"))
        g.signal(signal.SIGHUP)
        true(wait_for(lambda: "generation 2" in g.said()), g.said())
        return g

    html, sorry = ("text/html; charset=utf-8", b"<p>no"), ("application/json", b'{"sorry":1}')

    def page(g, path, status, want, **more):
        answer = g.get(path, **more)
        same(answer[0], status, path)
        same((answer[1].get("content-type"), answer[2]), want, path)

    g = gateway(server=pages)
    page(g, "/nowhere", 404, html)
    page(g, "/all", 405, html, method="DELETE")
    same(g.get("/all", method="DELETE")[1]["allow"].replace(" ", "").split(",")[0], "GET")
    page(g, "/all", 417, html, fields="Expect: the-unexpected\r\n")
    page(g, "/f/silent", 504, sorry)
    page(g, "/f/reset", 502, sorry)
    same(g.get("/f/status/503")[2], b"status", "an origin's own error is left alone")
    same(g.get("/nowhere", method="HEAD")[1]["content-length"], "5", "HEAD has the length alone")
    same(parse_response(g.say(b"GET /f/..%00 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))[2], b"<p>no", "400")
    g = gateway(forward=pages)
    page(g, "/f/silent", 504, sorry)
    true(g.get("/nowhere")[2] != b"<p>no", "without a route only [server]'s count")
    o.end()


def test_error_page_mistakes(gate):
    for value, why in (("200 x.html", "from 400 to 599"), ("404 nothing.html", "nothing.html"),
                       ("404, 405 x.html", "no blank after a comma"), ("404 big.html", "at most 65536")):
        g = start(gate)
        g.stop()
        with open(g.dir + "/big.html", "w") as f:
            f.write("x" * 65537)
        with open(g.dir + "/x.html", "w") as f:
            f.write("x" * 65536)
        g.names["route"] = "error_page = " + value
        g.write(CONFIG)
        done = subprocess.run([HEADGATE, "-t", "-c", g.ini], capture_output=True, text=True,
                              timeout=20, check=False)
        true(done.returncode == 1 and why in done.stderr + done.stdout, done.stderr + done.stdout)
    g.names["route"] = "error_page = 404 x.html"
    g.write(CONFIG)
    same(subprocess.run([HEADGATE, "-t", "-c", g.ini], capture_output=True, timeout=20,
                        check=False).returncode, 0, "64k is not too much")


def test_max_body(gate):
    o = Origin()
    g = start(gate, route="max_body = 10b")
    same(g.get("/", method="POST", body=b"x" * 10)[0], 200)
    refused(g, g.get("/", method="POST", body=b"x" * 11), 413, "content_too_large")
    g = start(gate)
    same(g.get("/", method="POST", body=b"x" * (1 << 20))[0], 200, "1m by default")
    same(g.get("/", method="POST", body=b"x" * ((1 << 20) + 1))[0], 413)
    g = start(gate, server="max_body = 10b", route="max_body = off", origin=o.port)
    same(g.get("/", method="POST", body=b"x" * (3 << 20))[0], 200, "off")
    o.end()


def test_max_body_of_content_that_nobody_reads(gate):
    """It is answered before its length is known; then the connection ends, and it is said why."""
    def ask(chunks):
        with g.connect() as s:
            s.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            same(read_response(s)[0], 200)
            for chunk in chunks:
                s.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                time.sleep(0.05)
            if sum(map(len, chunks)) > 10:
                same(read_all(s), b"")
            else:
                s.sendall(b"0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
                same(read_response(s)[0], 200)

    g = start(gate, route="max_body = 10b")
    ask([b"123456", b"7890"])
    same(g.counted().get("content_too_large"), None)
    ask([b"123456", b"78901"])
    same(g.counted().get("content_too_large"), 1)


def test_max_body_of_a_stream_that_nobody_reads(gate):
    needs("http/2")
    g = start(gate, route="max_body = 10b")
    with Client(g.port) as c:
        same(c.ask(1, post(), b"1234567890")[0], 200)
        same(g.counted().get("content_too_large"), None)
        c.send(headers(3, post(), end=False))
        c.wait(3)
        same((c.status[3], c.content[3]), (200, b"fine"))
        c.send(data(3, b"123456"), data(3, b"78901"))
        true(wait_for(lambda: 3 in c.resets or not c.next()), "its stream is not reset")
        same((c.resets[3], g.counted().get("content_too_large")), (0, 1))
        same(c.ask(5, post(), b"x")[0], 200, "the others go on")


def test_max_body_of_content_behind_an_error(gate):
    """Over HTTP/2 as over HTTP/1: it ends what it came on, and is no second cause."""
    needs("http/2")
    g = start(gate, more="[route p]\npath = /p\nhandler = forward\nupstream = u\nmax_body = 10b")
    with g.connect() as s:
        s.sendall(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        same(read_response(s)[0], 502)
        s.sendall(b"b\r\n12345678901\r\n")
        same(read_all(s), b"")
    with Client(g.port) as c:
        c.send(headers(1, post("/p"), end=False))
        c.wait(1)
        same(c.status[1], 502)
        c.send(data(1, b"1234567890"), ping())
        c.until(PING)
        same(c.resets, {}, "it is not over")
        c.send(data(1, b"1"), ping())
        c.until(PING)
        same(c.resets, {1: 0}, "it is, and needs no more to be so")
    counted = g.counted()
    same((counted.get("upstream_connect_refused"), counted.get("content_too_large")), (2, None))


def test_max_body_of_a_stream_that_has_heard_413(gate):
    """It may be on its way with more, and would take the reset for a failure: 64k of that are too much."""
    needs("http/2")
    g = start(gate, route="max_body = 10b")
    with Client(g.port) as c:
        c.send(headers(1, post(content_length="100000"), end=False))
        c.wait(1)
        same(c.status[1], 413)
        for sent in range(0, 65536, 16384):
            same(c.resets, {}, sent)
            c.send(data(1, b"x" * 16384), ping())
            c.until(PING)
        c.send(data(1, b"x"), ping())
        c.until(PING)
        same(c.resets, {1: 0})
    same(g.counted().get("content_too_large"), 1)


def test_body_min_rate(gate):
    o = Origin()
    g = start(gate, origin=o.port, forward="body_min_rate = 1000b/s",
              server="body_min_rate = off")
    with g.connect(seconds=30) as s:
        s.sendall(b"POST /f/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        answer = parse_response(read_all(s))
    refused(g, answer, 408, "body_too_slow")
    o.end()


# --- [upstream] -------------------------------------------------------------------------------------

def test_keepalive_to_the_origin(gate):
    for value, connections in (("", 1), ("keepalive = off", 5), ("keepalive = 1", 1),
                               ("keepalive_time = 10ms", 5)):
        o = Origin()
        g = start(gate, origin=o.port, upstream=value)
        for _ in range(5):
            same(g.get("/f/echo")[0], 200)
            time.sleep(0.1)
        same(o.connections, connections, value)
        g.stop()
        o.end()


def test_tries_and_retry_on(gate):
    """A GET whose connection is reset is tried again, unless that was not wanted."""
    for upstream, forward, requests in (("", "", 2), ("tries = 1", "", 1), ("tries = 4", "", 4),
                                        ("", "tries = 3", 3), ("tries = 5", "tries = 1", 1),
                                        ("retry_on = connect", "", 1), ("retry_on = off", "", 1),
                                        ("retry_on = reset", "", 2), ("", "retry_on = off", 1),
                                        ("retry_on = off", "retry_on = reset, timeout", 2),
                                        ("retry_on = 502", "", 1)):
        o = Origin()
        g = start(gate, origin=o.port, upstream=upstream, forward=forward)
        same(g.get("/f/reset")[0], 502)
        same(o.requests, requests, f"{upstream} {forward}")
        g.stop()
        o.end()


def test_retry_buffer(gate):
    """Content is sent again only if all of it was kept."""
    for value, size, requests in (("", 16384, 2), ("", 16385, 1), ("retry_buffer = off", 1, 1),
                                  ("retry_buffer = 1k", 1024, 2), ("retry_buffer = 1k", 1025, 1)):
        o = Origin()
        g = start(gate, origin=o.port, upstream=value)
        same(g.get("/f/reset", method="PUT", body=b"x" * size)[0], 502)
        same(o.requests, requests, f"{value}, {size} bytes")
        g.stop()
        o.end()


def test_max_response_header(gate):
    """The origin's head has 40 KB."""
    o = Origin()
    g = start(gate, origin=o.port)
    refused(g, g.get("/f/big-head"), 502, "upstream_head_too_large")
    g = start(gate, origin=o.port, upstream="max_response_header = 64k")
    same(g.get("/f/big-head")[0], 200)
    o.end()


def test_stream_timeout(gate):
    """Tunnels have it instead of idle_timeout, which is shorter here; a route may have its own."""
    o = Origin()
    for upstream, forward, lives in (("", "", True), ("stream_timeout = 500ms", "", False),
                                     ("", "stream_timeout = 500ms", False),
                                     ("stream_timeout = 500ms", "stream_timeout = off", True)):
        g = start(gate, origin=o.port, upstream=upstream, forward=forward)
        with g.connect(seconds=8) as s:
            s.sendall(b"GET /f/switch/websocket HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
                      b"Upgrade: websocket\r\n\r\n")
            true(b" 101 " in s.recv(1000), "it switches")
            time.sleep(1.6)
            data = b"gone"
            try:
                s.sendall(b"still there")
                data = s.recv(100)
            except ConnectionError:
                pass
            same(data == b"still there", lives, f"{upstream} {forward}: {data}")
        g.end_now()
    o.end()


def test_balance(gate):
    one, two = Origin(), Origin()
    for value, want in (("balance = round_robin", (10, 10)), ("", None), ("balance = least_conn", None),
                        ("balance = p2c", None), ("balance = random", None),
                        ("balance = hash client_ip", None), ("balance = hash path", None),
                        ("balance = hash header User-Agent", None),
                        ("balance = hash cookie session", None)):
        one.requests = two.requests = 0
        g = start(gate, origin=one.port, upstream=f"server = 127.0.0.1:{two.port}\n" + value)
        for _ in range(20):
            same(g.get("/f/echo")[0], 200)
        if want:
            same((one.requests, two.requests), want, value)
        same(one.requests + two.requests, 20)
        if "client_ip" in value or "path" in value:
            true(0 in (one.requests, two.requests), f"{value}: {one.requests}, {two.requests}")
        for name in ("header User-Agent", "cookie session"):
            if name in value:
                sticks(g, one, two, "User-Agent: %s\r\n" if "header" in name
                       else "Cookie: a=b; session=%s\r\n")
        g.stop()
    one.end()
    two.end()


def sticks(g, one, two, field):
    """The same key has the same server, and not all keys do."""
    homes = set()
    for key in range(30):  # for what ports the servers have is chance
        one.requests = two.requests = 0
        for _ in range(2):
            same(g.get("/f/echo", fields=field % key)[0], 200)
        true(0 in (one.requests, two.requests), f"{key}: {one.requests}, {two.requests}")
        homes.add(one.requests > 0)
    same(len(homes), 2, "all keys have one server")


def test_forwarded(gate):
    o = Origin()
    for value, x, rfc in (("", True, False), ("forwarded = rfc7239", False, True),
                          ("forwarded = both", True, True), ("forwarded = off", False, False)):
        g = start(gate, origin=o.port, forward=value)
        said = g.get("/f/echo", fields="X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n")[2]
        same((b"X-Forwarded-For: 127.0.0.1" in said, b"for=127.0.0.1" in said), (x, rfc), value)
        true(b"1.2.3.4" not in said, f"{value}: a stranger's word was passed on: {said}")
        g.stop()
    o.end()


def test_upgrade(gate):
    """Which protocols may be switched to."""
    o = Origin()

    def switches(g, token):
        head = (f"GET /f/switch/{token} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
                f"Upgrade: {token}\r\n\r\n")
        with g.connect() as s:
            s.sendall(head.encode())
            return b" 101 " in s.recv(4096)

    for value, want in (("", (True, False)), ("upgrade = other, websocket", (True, True)),
                        ("upgrade = other", (False, True)), ("upgrade = off", (False, False))):
        g = start(gate, origin=o.port, forward=value)
        same((switches(g, "websocket"), switches(g, "other")), want, value)
        g.end_now()
    o.end()


# --- [module 1mrc] ----------------------------------------------------------------------------------

def test_1mrc_paths(gate):
    g = start(gate, more="[module 1mrc]\nenabled = yes\nreset = yes\nevent_path = /1/e\n"
                         "stats_path = /1/s\nhealth_path = /1/h\nreset_path = /1/r")
    event = b'{"userId":"a","value":2}'
    same(g.get("/1/e", method="POST", body=event)[0], 200)
    same(json.loads(g.get("/1/s")[2])["totalRequests"], 1)
    same(g.get("/1/h")[0], 200)
    same(g.get("/1/r", method="POST")[0], 200)
    same(json.loads(g.get("/1/s")[2])["totalRequests"], 0)
    same(g.get("/stats")[2], b"fine", "the default path is not its any more")


def event_of(user):
    return json.dumps({"userId": user, "value": 1}).encode()


def test_user_id_max(gate):
    for value, most in (("", 256), ("user_id_max = 8b", 8)):
        g = start(gate, more="[module 1mrc]\nenabled = yes\n" + value)
        same(g.get("/event", method="POST", body=event_of("u" * most))[0], 200, value)
        answer = g.get("/event", method="POST", body=event_of("u" * (most + 1)))
        same(json.loads(g.get("/stats")[2])["totalRequests"], 1, "nothing half-counted")
        refused(g, answer, 400, "bad_event")


def test_event_max(gate):
    for value, most in (("", 4096), ("event_max = 100b", 100)):
        g = start(gate, more="[module 1mrc]\nenabled = yes\n" + value)
        body = event_of("a")
        same(g.get("/event", method="POST", body=body + b" " * (most - len(body)))[0], 200, value)
        answer = g.get("/event", method="POST", body=body + b" " * (most + 1 - len(body)))
        same(json.loads(g.get("/stats")[2])["totalRequests"], 1, "nothing half-counted")
        refused(g, answer, 413, "content_too_large")


def test_state_interval(gate):
    """What was counted is on disk that soon, whoever dies then."""
    g = start(gate, more="[module 1mrc]\nenabled = yes\nstate_file = {dir}/s\nstate_interval = 100ms")
    same(g.get("/event", method="POST", body=event_of("a"))[0], 200)
    time.sleep(1)
    g.process.kill()
    g.process.wait()
    g.start()
    same(json.loads(g.get("/stats")[2])["totalRequests"], 1)


if __name__ == "__main__":
    main([t for n, t in sorted(globals().items()) if n.startswith("test_")], at_once=6)
