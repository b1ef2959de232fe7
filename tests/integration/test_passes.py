#!/usr/bin/env python3
"""What a forward route does on the way: which group, what is changed, what goes through."""
import os
import re
import socket
import subprocess
import tempfile
import threading
import time

from harness import HEADGATE, main, parse_response, read_all, read_response, same, true
from h2client import Client, get
from passing import checked, heard, log, needs_hpack, says, start

# --- splits -----------------------------------------------------------------------------------

def test_requests_are_shared_out_by_weight(gate):
    """10.83 is what one degree of freedom exceeds once in a thousand; it is drawn anew each time,
    so twice that is allowed."""
    g, a, b = start(gate, of="api 80, api-canary 20", workers=2)
    n = 600
    for _ in range(6):
        with g.connect() as s:
            for _ in range(n // 6):
                s.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
                read_response(s)
    same(a.requests + b.requests, n)
    off = a.requests - n * 0.8
    true(off * off / (n * 0.8) + off * off / (n * 0.2) < 21.7, f"{a.requests} and {b.requests}")


def test_a_visitor_does_not_flip(gate):
    g, a, b = start(gate, of="api 50, api-canary 50", route="split_by = cookie who", workers=2)

    def side(who):
        before = a.requests
        g.get("/x", fields=f"Cookie: x=1; who={who}\r\n")
        return a.requests > before
    first = [side(i) for i in range(30)]
    same([side(i) for i in range(30)], first)
    true(0 < sum(first) < 30, first)
    g.stop()
    g.start()
    same([side(i) for i in range(30)], first, "after a restart")
    before = a.requests, b.requests
    for _ in range(40):
        g.get("/x", fields="Cookie: other=1\r\n")
    true(a.requests > before[0] and b.requests > before[1], "without the cookie it is by request")


def test_a_client_stays_with_its_address_or_its_field(gate):
    g, a, b = start(gate, of="api, api-canary", trusted="127.0.0.0/8", route="split_by = client_ip",
                    more="[route named]\npath = /named\nhandler = forward\nsplit_by = header X-User\n"
                         "upstream = api, api-canary\n")
    for path, field in (("/x", "X-Forwarded-For: 192.0.2.%d"), ("/named", "X-User: u%d")):
        sides = set()
        for i in range(24):
            got = set()
            for _ in range(3):
                before = a.requests
                g.get(path, fields=field % i + "\r\n")
                got.add(a.requests > before)
            same(len(got), 1, field % i)
            sides |= got
        same(sides, {True, False}, path)


def test_a_weight_of_0_gets_nothing_and_a_retry_stays_in_its_group(gate):
    g, a, b = start(gate, of="api 1, api-canary 0", upstream="retry_budget = off")
    for _ in range(20):
        g.get("/reset")
    same((a.requests, b.requests), (40, 0))
    same({(r["upstream"], r["tries"]) for r in log(g)}, {("api", 2)})


def test_a_split_is_checked_and_foreseen(gate):
    same(checked("upstream = api 95, api-canary 5\nsplit_by = cookie sid\n")[0], 0)
    says("upstream = api 95, api-canary 10001\n", 'ini:9:31: error: upstream: "10001": a weight is at most')
    says("upstream = api 95, api-canary x\n", 'ini:9:31: error: upstream: "x"')
    says("upstream = api 1 2\n", 'ini:9:18: error: upstream: "2"')
    says("upstream = api 1, api 2\n", 'ini:9:19: error: upstream: "api": it stands there twice')
    says("upstream = api 0, api-canary 0\n", "all weights are 0")
    says("upstream = api, api-canry\n", 'there is no [upstream api-canry]; did you mean "api-canary"?')
    for by, where in (("visitor", "12"), ("cookie", "12"), ("header", "12"), ("client_ip x", "22"),
                      ("cookie a b", "21"), ("header a:b", "19")):
        says(f"upstream = api\nsplit_by = {by}\n", f"ini:10:{where}: error: split_by: ")
    foreseen = "upstream = api 95, api-canary 5\n[test a]\nrequest = GET http://a/\nexpect_upstream = "
    same(checked(foreseen + "api-canary, api\n")[0], 0)
    says(foreseen + "api\n", 'expected "api", it is "api, api-canary"')
    same(checked(foreseen.replace(" 5", " 0") + "api\n")[0], 0)


def test_edits_know_the_group(gate):
    g, a, b = start(gate, of="api 0, api-canary", route="request_header = set X-Group ${upstream}\n"
                                                        "response_header = set X-Group ${upstream}")
    _, fields, content = g.get("/x")
    same((heard(content)["x-group"], fields["x-group"]), (["api-canary"], "api-canary"))


def test_what_was_set_is_read_back(gate):
    route = {"split_by": "cookie sid", "timeout": "1500ms", "deadline_header": "X-Left",
             "traceparent": "start", "buffer_request": "1m", "buffer_response": "64k"}
    text = "upstream = api 95, api-canary 5\n" + "".join(f"{k} = {v}\n" for k, v in route.items())
    with tempfile.TemporaryDirectory() as d:
        first, again = os.path.join(d, "a.ini"), os.path.join(d, "b.ini")
        with open(first, "w") as f:
            f.write("[listener a]\nlisten = 127.0.0.1:80\n[upstream api]\nserver = 127.0.0.1:1\n"
                    "[upstream api-canary]\nserver = 127.0.0.1:2\n[route all]\nhandler = forward\n" + text)
        said = subprocess.run([HEADGATE, "-T", "-c", first], capture_output=True, text=True).stdout
        for line in text.splitlines():
            true(line in said, f"{line} is not in {said}")
        with open(again, "w") as f:
            f.write(said)
        twice = subprocess.run([HEADGATE, "-T", "-c", again], capture_output=True, text=True).stdout
        plain = [[l for l in t.splitlines() if not l.startswith("#")] for t in (said, twice)]
        same(plain[0], plain[1])


def test_a_rewrite_that_is_no_path_is_said(gate):
    for what in ("", "files/${uri}", "http://a/", "?a=b"):
        says(f'upstream = api\nrewrite = {what or chr(34) * 2}\n',
             "ini:10:11: error: rewrite: a path begins with /")
    for what in ("/", "/files${uri}", "${path}", "${header.x-path:-/none}"):
        same(checked(f"upstream = api\nrewrite = {what}\n")[0], 0, what)




# --- traces -----------------------------------------------------------------------------------

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
BAD = TRACE.replace("-00", "-0")


def test_traces_go_on_if_they_are_valid(gate):
    g, a, b = start(gate)
    for said, told in (([TRACE], [TRACE]), (["01" + TRACE[2:] + "-x"], ["01" + TRACE[2:] + "-x"]),
                       ([], None), ([BAD], None), ([TRACE.upper()], None), ([TRACE, TRACE], None)):
        fields = "".join(f"Traceparent: {t}\r\n" for t in said)
        got = heard(g.get("/x", fields=fields + "tracestate: a=1\r\nTraceState: b=2\r\n")[2])
        same((got.get("traceparent"), got.get("tracestate")),
             (told, ["a=1", "b=2"] if told else None), str(said))


def test_traces_are_begun_where_there_is_none(gate):
    g, a, b = start(gate, route="traceparent = start")
    seen = set()
    for fields in ("", f"traceparent: {BAD}\r\n", f"traceparent: {TRACE}\r\n" * 2, ""):
        got = heard(g.get("/x", fields=fields + "tracestate: a=1\r\n")[2])
        true(re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", got["traceparent"][0]), got)
        same((len(got["traceparent"]), got.get("tracestate")), (1, None))
        seen |= set(got["traceparent"])
    same(len(seen), 4)
    same(heard(g.get("/x", fields=f"traceparent: {TRACE}\r\n")[2])["traceparent"], [TRACE])


def test_traces_can_be_taken_away(gate):
    g, a, b = start(gate, route="traceparent = off")
    got = heard(g.get("/x", fields=f"traceparent: {TRACE}\r\ntracestate: a=1\r\n")[2])
    true("traceparent" not in got and "tracestate" not in got, got)


def head_of_origin(gate, head, cause):
    g, a, b = start(gate, upstream="tries = 1")

    def says(h):
        h.request.sendall(head)
        h.request.shutdown(socket.SHUT_WR)
        h.request.recv(1)
        return True
    a.ill = says
    status, fields, _ = g.get("/x", version="1.0")  # which hears no interim responses
    same((status, cause in fields.get("proxy-status", "")), (502, True), f"{head[:60]}: {fields}")
    g.stop()


def test_heads_of_origins_that_are_wrong_have_names(gate):
    fine = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
    for head, cause in (
            (fine.replace(b"1.1", b"3.1") + b"\r\n", "upstream_bad_head"),
            (fine.replace(b"200", b"20") + b"\r\n", "upstream_bad_head"),
            (fine.replace(b"h: 0", b"h: -1") + b"\r\n", "upstream_bad_head"),
            (fine + b"Content-Length: 1\r\n\r\n", "upstream_bad_head"),
            (fine + b"no colon\r\n\r\n", "upstream_bad_head"),
            (fine + b"A : b\r\n\r\n", "upstream_bad_head"),
            (fine + b"A: b\r\n folded\r\n\r\n", "upstream_bad_head"),
            (fine + b"A: b\0c\r\n\r\n", "upstream_bad_head"),
            (fine + b"A: b\rc\r\n\r\n", "upstream_bad_head"),
            (fine + b"Transfer-Encoding: gzip\r\n\r\n", "upstream_bad_head"),
            (fine[:-5], "upstream_bad_head"),
            (b"HTTP/1.1 103 Early Hints\r\n\r\n", "upstream_reset_before_head"),
            (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 ", "upstream_bad_head"),
            (fine + b"A: b\r\n" * 101 + b"\r\n", "upstream_head_too_large"),
            (fine + b"A: " + b"b" * 40000 + b"\r\n\r\n", "upstream_head_too_large")):
        head_of_origin(gate, head, cause)


def test_events_come_as_they_are_sent_with_buffers_too(gate):
    for route in ("", "buffer_request = 1m\nbuffer_response = 1m"):
        g, a, b = start(gate, route=route)
        events_come(g, a)
        long_poll(g, a)


def events_come(g, origin):
    """Byte for byte, as soon as they are said."""
    step = threading.Semaphore(0)

    def events(h):
        if not h.target.startswith("/events"):
            return False
        h.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                          b"Transfer-Encoding: chunked\r\n\r\n")
        for i in range(4):
            step.acquire(timeout=5)
            h.request.sendall(b"%x\r\ndata: %d\n\n\r\n" % (9, i))
        step.acquire(timeout=5)
        h.request.sendall(b"0\r\n\r\n")
        return True
    origin.ill = events
    with g.connect() as s:
        s.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got:
            got += s.recv(1000)
        for i in range(4):
            step.release()
            got = b""
            while not got.endswith(b"\r\n"):
                got += s.recv(1000)
                if got == b"9\r\n" or len(got) < 14:
                    continue
            same(got, b"9\r\ndata: %d\n\n\r\n" % i)
        step.release()
        same(s.recv(100), b"0\r\n\r\n")
    origin.ill = None


def long_poll(g, origin):
    """A byte at a time, of a length that is known: none waits for another."""
    step = threading.Semaphore(0)

    def poll(h):
        if not h.target.startswith("/poll"):
            return False
        h.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        for byte in b"hello":
            step.acquire(timeout=5)
            h.request.sendall(bytes([byte]))
        return True
    origin.ill = poll
    with g.connect() as s:
        s.sendall(b"GET /poll HTTP/1.1\r\nHost: a\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got:
            got += s.recv(1000)
        for byte in b"hello":
            step.release()
            same(s.recv(10), bytes([byte]))
    origin.ill = None


# --- who is told what --------------------------------------------------------------------------

def test_scheme_and_host_are_what_a_trusted_peer_says(gate):
    edits = ("request_header = set X-Seen ${scheme}://${host}\n"
             "response_header = set X-Seen ${scheme}://${host}")
    said = "X-Forwarded-Proto: https\r\nX-Forwarded-Host: WWW.example.com:8443\r\n"
    for trusted, want in (("127.0.0.0/8", "https://www.example.com"), ("192.0.2.1", "http://localhost")):
        g, a, b = start(gate, trusted=trusted, route=edits)
        _, fields, content = g.get("/x", fields=said)
        same((fields["x-seen"], heard(content)["x-seen"]), (want, [want]), trusted)
    g, a, b = start(gate, trusted="127.0.0.0/8", route=edits,
                    listener="client_ip_from = forwarded")
    for fields, want in (
            ('Forwarded: for=1.1.1.1;proto=http;host=b, for=2.2.2.2;Proto=https;HOST="c:81"\r\n',
             "https://c"),
            ("Forwarded: for=1.1.1.1\r\n" + said, "http://localhost"),
            ("Forwarded: proto=ftp;host=a@b\r\n", "http://localhost")):
        same(g.get("/x", fields=fields)[1]["x-seen"], want, fields)
    g, a, b = start(gate, trusted="127.0.0.0/8", route=edits)
    for fields, want in (("X-Forwarded-Proto: http, https\r\n", "https://localhost"),
                         ("X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a b\r\n", "http://localhost"),
                         ("X-Forwarded-Host: b\r\nX-Forwarded-Host: c\r\n", "http://c")):
        same(g.get("/x", fields=fields)[1]["x-seen"], want, fields)


def test_a_test_section_sees_what_a_trusted_peer_says(gate):
    text = ("upstream = api\n[listener b]\nlisten = 127.0.0.1:81\ntrusted = 10.0.0.0/8\n"
            "[route to]\npath = /to\nhandler = redirect\nto = ${scheme}://${host}/\n"
            "[test a]\nrequest = GET http://a/to\nlistener = b\nclient = 10.1.1.1\n"
            "header = X-Forwarded-Proto: https\nexpect_header = Location: https://a/\n")
    same(checked(text), (0, checked(text)[1]))
    says(text.replace("10.1.1.1", "11.1.1.1"), "http://a/")


def test_an_origin_without_a_name_gets_none(gate):
    """Server is of our own responses: an origin's is left alone, and so is that it has none."""
    g, a, b = start(gate, more="[route dead]\npath = /dead\nhandler = forward\nupstream = full\n")

    def named(h):
        if h.target == "/named":
            h.say(200, b"x", "Server: own\r\n")
            return True
        return False
    a.ill = named
    want = {"/x": None, "/chunked": None, "/named": "own", "/dead": "headgate", "/reset": "headgate"}
    for path, server in want.items():
        fields = g.get(path)[1]
        same(fields.get("server"), server, path)
        true("date" in fields, path)
    needs_hpack()
    with Client(g.port) as c:
        for i, (path, server) in enumerate(want.items()):
            c.ask(2 * i + 1, get(path))
            same(c.fields[2 * i + 1].get("server"), server, "HTTP/2 " + path)


def test_request_ids_are_kept_from_trusted_peers_only(gate):
    for trusted, mode, kept in (("127.0.0.0/8", "trust", True), ("192.0.2.1", "trust", False),
                                ("127.0.0.0/8", "new", False), ("127.0.0.0/8", "off", None)):
        g, a, b = start(gate, trusted=trusted, route=f"request_id = {mode}")
        got = heard(g.get("/x", fields="X-Request-Id: mine\r\n")[2]).get("x-request-id")
        if kept is None:
            same(got, None)
        else:
            same(len(got), 1)
            same(got == ["mine"], kept, f"{trusted} {mode}")


def test_hops_are_believed_from_right_to_left(gate):
    """To the first that is not trusted; one that is no address ends it."""
    g, a, b = start(gate, trusted="127.0.0.0/8, 10.0.0.0/8", route="request_header = set X-C ${client_ip}\n"
                                                                    "request_header = set X-P ${client_port:-none}")
    for said, want in (("1.1.1.1, 2.2.2.2, 10.0.0.1", "2.2.2.2"), ("10.0.0.7, 10.0.0.1", "10.0.0.7"),
                       ("2.2.2.2\r\nX-Forwarded-For: 10.0.0.1", "2.2.2.2"),
                       ("3.3.3.3, unknown, 10.0.0.1", "10.0.0.1"), ("junk", "127.0.0.1"),
                       ("[2001:db8::1]:99", "2001:db8::1")):
        got = heard(g.get("/x", fields=f"X-Forwarded-For: {said}\r\n")[2])
        same(got["x-c"], [want], said)
        if said != "junk": # the peer itself
            same(got["x-p"], ["99" if ":99" in said else "none"], f"{said}: a port nobody knows is none")
    g, a, b = start(gate, trusted="127.0.0.0/8, 10.0.0.0/8", listener="client_ip_from = X-Real-IP",
                    route="request_header = set X-C ${client_ip}")
    for said, want in (("7.7.7.7", "7.7.7.7"), ("6.6.6.6\r\nx-real-ip: 7.7.7.7", "7.7.7.7"),
                       ("6.6.6.6, 7.7.7.7", "7.7.7.7"), ("7.7.7.7, 10.0.0.1", "7.7.7.7"),
                       ("6.6.6.6, unknown, 10.0.0.1", "10.0.0.1"), ("7.7.7.7\r\nX-Real-IP: junk", "127.0.0.1"),
                       ('6.6.6.6, "', "127.0.0.1")):
        same(heard(g.get("/x", fields=f"X-Real-IP: {said}\r\n")[2])["x-c"], [want], said)
    g, a, b = start(gate, trusted="127.0.0.0/8, 10.0.0.0/8", listener="client_ip_from = forwarded",
                    route="request_header = set X-C ${client_ip}\nforwarded = rfc7239")
    for said, want in (('for=1.1.1.1, for="[2001:db8::1]:4711", for=10.0.0.1', "2001:db8::1"),
                       ("for=2.2.2.2;proto=https", "2.2.2.2"), ("for=_hidden", "127.0.0.1")):
        got = heard(g.get("/x", fields=f"Forwarded: {said}\r\n")[2])
        same(got["x-c"], [want], said)
        same(got["forwarded"], [said + ', for=127.0.0.1;proto=http;host="localhost"'])


def test_origins_are_told_whom_we_believe(gate):
    """In whichever field the peer has said it; what it says in others may be its client's word."""
    us = "127.0.0.1"
    seen = 'for=127.0.0.1;proto=http;host="localhost"'
    lies = "X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: lie\r\n"
    chain = "X-Forwarded-For: 6.6.6.6, 10.0.0.9\r\n"
    for source, fields, hops, scheme, host, elements in (
            ("forwarded", "Forwarded: for=9.9.9.9;proto=https;host=h.com:8\r\n" + lies + chain,
             "9.9.9.9, " + us, "https", "h.com:8", "for=9.9.9.9;proto=https;host=h.com:8, " + seen),
            ("forwarded", 'Forwarded: for="[2001:db8::1]:4711", for=10.0.0.3\r\n' + lies,
             "2001:db8::1, " + us, "http", "localhost", 'for="[2001:db8::1]:4711", for=10.0.0.3, ' + seen),
            ("forwarded", chain, us, "http", "localhost", seen),
            ("X-Real-IP", "X-Real-IP: 6.6.6.6, 9.9.9.9\r\nForwarded: for=6.6.6.6\r\n" + chain,
             "9.9.9.9, " + us, "http", "localhost", 'for=9.9.9.9;proto=http;host="localhost", ' + seen),
            ("x-forwarded-for", "Forwarded: for=6.6.6.6\r\nX-Forwarded-Proto: http, https\r\n"
             "X-Forwarded-Host: lie\r\nX-Forwarded-Host: h\r\nX-Forwarded-For: 2001:db8::1, 10.0.0.1\r\n",
             "2001:db8::1, 10.0.0.1, " + us, "https", "h",
             'for="[2001:db8::1]";proto=https;host="h", ' + seen),
            ("off", "X-Forwarded-For: 9.9.9.9\r\nForwarded: for=8.8.8.8\r\n", "9.9.9.9, " + us, "http",
             "localhost", "for=8.8.8.8, " + seen)):
        g, a, b = start(gate, trusted="127.0.0.0/8, 10.0.0.0/8", listener="client_ip_from = " + source,
                        route="forwarded = both")
        got = heard(g.get("/x", fields=fields)[2])
        same([got["x-forwarded-for"], got["x-forwarded-proto"], got["x-forwarded-host"], got["forwarded"]],
             [[hops], [scheme], [host], [elements]], (source, fields))


def test_edits_know_every_variable(gate):
    names = ("client_ip client_port request_id method scheme host path query uri route listener "
             "upstream tls_version tls_cipher tls_sni client_cert_subject client_cert_sha256 "
             "client_cert_verified query.q header.x-team cookie.sid path.rest").split()
    edits = "".join(f"request_header = set X-V{i} ${{{n}:-none}}\n" for i, n in enumerate(names))
    g, a, b = start(gate, route="path = /in/{rest*}\nhost = www.example.com\n" + edits)
    with g.connect() as s:
        port = s.getsockname()[1]
        s.sendall(b"GET /in/a%41/b?q=1%202&z HTTP/1.1\r\nHost: WWW.example.com:99\r\nX-Team: blue\r\n"
                  b"Cookie: sid=abc\r\nConnection: close\r\n\r\n")
        got = heard(parse_response(read_all(s))[2])
    seen = {n: got[f"x-v{i}"][0] for i, n in enumerate(names)}
    true(re.fullmatch("[0-9a-f]{32}", seen.pop("request_id")), got)
    want = {"client_ip": "127.0.0.1", "client_port": str(port), "method": "GET", "scheme": "http",
            "host": "www.example.com", "path": "/in/aA/b", "query": "q=1%202&z",
            "uri": "/in/a%41/b?q=1%202&z", "route": "all", "listener": "a", "upstream": "api",
            "query.q": "1 2", "header.x-team": "blue", "cookie.sid": "abc", "path.rest": "aA/b"}
    same(seen, {**dict.fromkeys(seen, "none"), **want})


# --- what passes through as it is ----------------------------------------------------------------

def test_ranges_and_codings_are_the_origins_affair(gate):
    g, a, b = start(gate)
    coded = b"\x1f\x8b\x08not really gzip"

    def partly(h):
        h.say(206, coded, "Content-Range: bytes 3-21/99\r\nContent-Encoding: gzip\r\nETag: \"e\"\r\n"
                          "Vary: Accept-Encoding\r\n" + f"X-Range: {h.fields.get('range')}\r\n"
                          f"X-Accept: {h.fields.get('accept-encoding')}\r\n")
        return True
    a.ill = partly
    status, fields, content = g.get("/x", fields="Range: bytes=3-21\r\nAccept-Encoding: gzip, br\r\n")
    same((status, content), (206, coded))
    for name, value in (("content-range", "bytes 3-21/99"), ("content-encoding", "gzip"),
                        ("etag", '"e"'), ("x-range", "bytes=3-21"), ("x-accept", "gzip, br"),
                        ("content-length", str(len(coded)))):
        same(fields.get(name), value, name)


def test_a_client_that_has_said_all_gets_its_answer(gate):
    """Half-closed, at either side."""
    g, a, b = start(gate)
    with g.connect() as s:
        s.sendall(b"GET /hold/300 HTTP/1.1\r\nHost: a\r\n\r\n")
        s.shutdown(socket.SHUT_WR)
        same(parse_response(read_all(s))[2], b"held")

    def half(h):
        h.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nha")
        time.sleep(0.1)
        h.request.sendall(b"lf")
        h.request.shutdown(socket.SHUT_WR)
        h.request.recv(10)
        return True
    a.ill = half
    same(g.get("/x")[2], b"half")


def test_a_half_closed_tunnel_carries_the_rest(gate):
    g, a, b = start(gate)

    def count(h):
        h.request.sendall(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        got = h.data
        while piece := h.request.recv(1 << 16):
            got += piece
        h.request.sendall(b"%d bytes" % len(got))
        h.request.shutdown(socket.SHUT_WR)
        return True
    a.ill = count
    with g.connect() as s:
        s.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        head = s.recv(1000)
        true(head.startswith(b"HTTP/1.1 101"), head)
        s.sendall(b"x" * 100_000)
        s.shutdown(socket.SHUT_WR)
        same(read_all(s), b"100000 bytes")


if __name__ == "__main__":
    main([t for n, t in list(globals().items()) if n.startswith("test_")], at_once=4)
