#!/usr/bin/env python3
"""What a hostile client or origin tries, and does not get."""
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import (HEADGATE, Skip, listening, main, read_all, read_response, same, true,
                     wait_for)
from origin import Handler, Origin
from passing import heard

CONFIG = """
[server]
workers = 1
access_log = {dir}/access.log
[listener a]
listen = 127.0.0.1:{port}
[upstream u]
server = 127.0.0.1:{origin}
first_byte_timeout = 3s
idle_timeout = 3s
[route hello]
path = /hello
handler = respond
body = hi
[route all]
handler = forward
upstream = u
max_body = off
[route host]
path = /host/*
handler = forward
upstream = u
host_header = ${query.h:-fallback}
[route rewritten]
path = /rewritten/*
handler = forward
upstream = u
rewrite = /all${uri}
[route requeried]
path = /requeried/*
handler = forward
upstream = u
rewrite = /q?n=${query.name}
[route rewrite]
path = /rewrite/*
handler = forward
upstream = u
rewrite = /files/${query.name}
[route edited]
path = /edited
handler = forward
upstream = u
request_header = set X-User ${client_ip}
request_header = remove X-Admin
request_header = remove Ho*
[route away]
path = /away
handler = redirect
to = ${query.to}
"""


class Scripted(Handler):
    """Answers every request with the bytes it was given."""

    def one(self):
        while line := self.line():
            self.server.seen.append(line)
        self.server.requests += 1
        for piece in self.server.script:
            self.request.sendall(piece)
            time.sleep(0.05)


def start(gate, script=None, config=CONFIG):
    o = Origin()
    if script is not None:
        o.RequestHandlerClass = Scripted
        o.script = script
    return gate(config, origin=o.port), o


def log(g):
    g.stop()
    return [json.loads(l) for l in g.read("access.log").splitlines()]


def test_a_template_cannot_take_the_other_fields_away(gate):
    g, o = start(gate)
    for host in ("a%0d%0aX-Evil:%20b", "a%20b", "a/b", "u@h"):
        same(g.get(f"/host/x?h={host}")[0], 400, host)
    same(o.requests, 0)
    true(b"Host: ok.example:80" in g.get("/host/x?h=ok.example:80")[2], "host_header")
    o.end()


def test_a_redirect_that_leads_nowhere_is_the_requests_fault(gate):
    g, o = start(gate)
    same(g.get("/away")[0], 400)
    same(g.get("/away?to=")[0], 400)
    same(g.get("/away?to=/there")[0], 308)
    same([l.get("cause") for l in log(g)][:2], ["bad_target", "bad_target"])
    o.end()


def test_a_rewritten_path_has_no_dot_segments(gate):
    g, o = start(gate)
    for name in ("../admin", "a/../../admin", "..%2fadmin", "%252e%252e/admin", "a%252fb",
                 "..%5cadmin", "..;/admin", "%25zz"):
        same(g.get(f"/rewrite/x?name={name}")[0], 400, name)
    same(o.requests, 0)
    same(g.get("/rewrite/x?name=a%20b/c.d")[2].split(b"\n")[0], b"GET /files/a%20b/c.d?name=a%20b/c.d")
    o.end()


def test_a_variable_of_a_rewrite_begins_no_query(gate):
    """Or a client would choose the origin's parameters, and take away those that were checked."""
    g, o = start(gate)
    for path, want in (("/rewrite/x?name=a%3fadmin=1%3fb", b"GET /files/a%3Fadmin=1%3Fb?name=a%3fadmin=1%3fb"),
                       ("/rewrite/x?name=%3f", b"GET /files/%3F?name=%3f"),
                       ("/rewritten/x?a=b", b"GET /all/rewritten/x?a=b"),
                       ("/rewritten/x", b"GET /all/rewritten/x"),
                       ("/requeried/x?name=b%3fc", b"GET /q?n=b?c")):
        same(g.get(path)[2].split(b"\n")[0], want, path)
    o.end()


def test_underscores_disguise_no_field(gate):
    g, o = start(gate)
    _, _, content = g.get("/edited", fields="X_User: root\r\nX_ADMIN: 1\r\nX_Forwarded_For: 6.6.6.6\r\n"
                          "X_Request-Id: mine\r\nContent_Length: 5\r\nMy_Own: 1\r\n")
    head = content.decode().lower()
    for never in ("x_user", "x_admin", "x_forwarded", "x_request", "content_length"):
        true(never not in head, f"{never} in {head}")
    true("my_own: 1" in head and "x-user: 127.0.0.1" in head and "host: localhost" in head, head)
    o.end()


TRUSTING = """
[server]
workers = 1
[listener a]
listen = 127.0.0.1:{port}
trusted = 127.0.0.0/8, 10.0.0.0/8
client_ip_from = {source}
[upstream u]
server = 127.0.0.1:{origin}
[route all]
handler = forward
upstream = u
forwarded = {mode}
request_header = set X-Client ${client_ip}|${scheme}
"""


def test_a_malformed_hop_does_not_swallow_ours(gate):
    """A client's open quote hides nobody, and lets no forged hop stand beside a true one."""
    o = Origin()
    for source, mode, ours, rows in (
            ("x-forwarded-for", "x-forwarded", "127.0.0.1",
             (('9.9.9.9, "x, 2.2.2.2', "2.2.2.2, ", "2.2.2.2"), ('9.9.9.9, "x', "", "127.0.0.1"),
              ('9.9.9.9, "x, 10.0.0.1', "10.0.0.1, ", "10.0.0.1"),
              ('9.9.9.9\r\n{name}: "x\r\n{name}: 2.2.2.2', "2.2.2.2, ", "2.2.2.2"))),
            ("forwarded", "rfc7239", 'for=127.0.0.1;proto=http;host="localhost"',
             (('for=9.9.9.9, for="x, for=2.2.2.2', "", "127.0.0.1"),
              ('for=9.9.9.9, for=x"', "", "127.0.0.1"),
              ('for=9.9.9.9;proto=https\r\n{name}: for="x', "", "127.0.0.1"),
              ('by="a;for=9.9.9.9;b";for=2.2.2.2', 'by="a;for=9.9.9.9;b";for=2.2.2.2, ', "2.2.2.2"),
              ('for=9.9.9.9\r\n{name}: for="x\r\n{name}: for=2.2.2.2', "for=2.2.2.2, ", "2.2.2.2")))):
        g = gate(TRUSTING, origin=o.port, source=source, mode=mode)
        for said, kept, client in rows:
            got = heard(g.get("/x", fields=f"{source}: {said}\r\n".replace("{name}", source))[2])
            same(got[source], [kept + ours], said)
            same(got["x-client"], [client + "|http"], said)
    o.end()


def test_a_redirect_stays_on_its_host(gate):
    g, o = start(gate)
    for to in ("//evil.example", "/%5cevil.example", "/%09/evil.example", "///%5c/evil.example"):
        same(g.get(f"/away?to={to}")[1].get("location"), "/evil.example", to)
    status, fields, _ = g.get("/away?to=/%0d%0aSet-Cookie:%20a")
    same((status, "set-cookie" in fields), (308, False))
    o.end()


def test_line_breaks_in_a_redirect_are_not_ours(gate):
    """What a client brings into Location is encoded, as any URI is."""
    g = start_redirect(gate)
    for query, want in (("a%0d%0aSet-Cookie:%20b", "/a%0D%0ASet-Cookie:%20b"), ("a+b%c3%a9", "/a%20b%C3%A9"),
                        ("%5c%5cevil", "/evil"), ("%22%3e%00", "/%22%3E%00"), ("x%2fy%3fz", "/x/y?z")):
        status, fields, _ = g.get("/to?to=" + query)
        same((status, fields.get("location")), (308, want), query)
        true("set-cookie" not in fields, fields)


def start_redirect(gate):
    return gate("""[server]
workers = 1
[listener a]
listen = 127.0.0.1:{port}
[route to]
handler = redirect
to = /${query.to}
""")


def test_a_full_disk_is_said_once_and_its_lines_are_counted(gate):
    g = gate("""[server]
workers = 1
log_level = info
access_log = /dev/full
[listener a]
listen = 127.0.0.1:{port}
[route all]
handler = respond
""")
    requests, began = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 200, time.monotonic()
    for _ in range(12):
        with g.connect() as s:
            s.sendall(requests)
            s.shutdown(socket.SHUT_WR)
            same(read_all(s).count(b" 200 OK"), 200)
        time.sleep(0.25)
    true(wait_for(lambda: "lines lost: " in g.said(), 3), g.said())
    said = g.said().count("lines lost: ")
    true(said <= 1 + (time.monotonic() - began) // 10, f"it is said {said} times, not once in ten seconds")
    same(g.stop(), 0)
    lost = sum(int(l.split()[-1]) for l in g.said().splitlines()
               if "lines lost: " in l)
    same(lost, 2400)
    true("log_dropped=2400" in g.said(), g.said())


def test_half_a_head_is_not_in_the_log(gate):
    g, o = start(gate)
    with g.connect() as s:
        for piece in (b"GET /hel", b"lo HTTP/1.1\r\nHo", b"st: a\r\n", b"\r\n"):
            s.sendall(piece)
            time.sleep(0.05)
        same(read_response(s)[0], 200)
    with g.connect() as s:
        s.sendall(b"GET /never HTTP/1.1\r\nHost: a\r\n")
        time.sleep(0.05)
    same(g.say(b"nonsense\r\n\r\n")[:12], b"HTTP/1.1 400")
    same(g.say(b"GET /bad HTTP/1.1\r\nA B: c\r\n\r\n")[:12], b"HTTP/1.1 400")
    lines = log(g)
    same([(l["target"], l["status"]) for l in lines], [("/hello", 200), ("", 400), ("/bad", 400)])
    same([l.get("cause") for l in lines], [None, "bad_request_line", "bad_header"])
    o.end()


def test_content_that_never_comes_holds_no_connection(gate):
    """Answered before the content came: there is an end to waiting for it."""
    g, o = start(gate)
    began = time.monotonic()
    with g.connect(seconds=20) as s:
        s.sendall(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nxx")
        true(read_all(s).endswith(b"hi"), "the answer")
    true(8 < time.monotonic() - began < 15, time.monotonic() - began)
    o.end()


def test_an_interim_response_does_not_speak_for_our_connection(gate):
    g, o = start(gate, [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 3\r\n"
                        b"Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 9\r\n\r\n"
                        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
    with g.connect() as s:
        s.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        data = b""
        while not data.endswith(b"ok"):
            data += s.recv(4096)
    interim = data.partition(b"\r\n\r\n")[0]
    same(interim, b"HTTP/1.1 103 Early Hints\r\nLink: </a>")
    o.end()


def test_a_flood_of_interim_responses_is_not_kept(gate):
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </" + b"a" * 8000 + b">\r\n\r\n"
    g, o = start(gate, [hint * 200] * 30 + [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
    with g.connect(seconds=10) as s:
        s.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        before = g.rss_kib()
        wait_for(lambda: o.requests and False, 4)
        true(g.rss_kib() - before < 20000, f"{before} KiB, then {g.rss_kib()}")
        data = read_all(s)
    true(data.endswith(b"\r\n\r\nok"), data[-200:])
    o.end()


def test_what_an_idle_origin_says_answers_nobody(gate):
    """408 and the like, said unasked on a kept connection."""
    g, o = start(gate, [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nevil"])
    for i in range(4):
        answer = g.get(f"/x{i}")
        same((answer[0], answer[2]), (200, b"ok"), i)
        true(wait_for(lambda: o.answered == i + 1))
        time.sleep(0.2)
    same(o.connections, 4)
    o.end()


PLAIN = """
[server]
workers = 2
access_log = {log}
error_log = {dir}/error
drain_timeout = 1s
[listener a]
listen = 127.0.0.1:{port}
[route hello]
handler = respond
body = hi
"""


def test_no_socket_becomes_a_log(gate):
    """Started without standard descriptors: what is opened next is not stdout."""
    g = gate(PLAIN, log="stdout")
    g.stop()
    g.process = subprocess.Popen(["sh", "-c", f"exec {HEADGATE} -c {g.ini} <&- >&- 2>&-"])
    true(wait_for(lambda: listening(g.port)), "it listens")
    for fd in "012":
        same(os.readlink(f"/proc/{g.process.pid}/fd/{fd}"), "/dev/null", fd)
    same(g.get("/")[0], 200)
    same(g.stop(), 0)
    true("client_ip" not in g.read("error"), g.read("error"))


def test_a_log_that_nobody_reads_does_not_keep_it_alive(gate):
    g = gate(PLAIN + "[module 1mrc]\nenabled = yes\nstate_file = {dir}/state\n"
             "state_interval = 1h\n", log="stdout")
    g.stop()
    nobody, stdout = os.pipe()
    g.process = subprocess.Popen([HEADGATE, "-c", g.ini], stdout=stdout, stdin=subprocess.DEVNULL)
    true(wait_for(lambda: listening(g.port)), "it listens")
    with g.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 999 +
                  b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        same(read_all(s).count(b"200 OK"), 1000)
    time.sleep(1.2)
    same(g.get("/")[0], 200)
    same(g.get("/event", method="POST", body=b'{"userId":"a","value":7}')[0], 200)
    true(g.stop(15) in (0, 1), "it ends")
    os.close(nobody)
    os.close(stdout)
    g.start()
    same(json.loads(g.get("/stats")[2])["sum"], 7, "what was counted is kept all the same")


def test_a_pipe_without_a_reader_is_no_log(gate):
    """Opening one would wait for somebody who reads it, with a whole worker."""
    g = gate(PLAIN, log="{dir}/log")
    g.get("/")
    os.rename(os.path.join(g.dir, "log"), os.path.join(g.dir, "old"))
    os.mkfifo(os.path.join(g.dir, "log"))
    g.signal(signal.SIGUSR1)
    why = "a pipe that nobody reads"
    true(wait_for(lambda: f"{why}, the old file stays in use" in g.read("error")), g.read("error"))
    same(g.get("/after")[0], 200)
    true(wait_for(lambda: "/after" in g.read("old")), "the old one")
    reader = os.open(os.path.join(g.dir, "log"), os.O_RDONLY | os.O_NONBLOCK)
    g.signal(signal.SIGUSR1)
    same(g.get("/read")[0], 200)
    true(wait_for(lambda: g.get("/read")[0] == 200 and select.select([reader], [], [], 0)[0]))
    true(b"/read" in os.read(reader, 1 << 16), "who reads gets it")
    same(g.stop(), 0)
    os.close(reader)
    g.start(wait=False)
    same(g.process.wait(5), 1)
    true(f"{g.dir}/log: {why}\n" in g.read("error"), g.read("error"))


def test_an_identity_can_reopen_its_log_and_owns_nothing_else(gate):
    """A pid file that leads to another's file does not give that file away."""
    if os.geteuid() != 0:
        raise Skip("not root")
    away = tempfile.mkdtemp(prefix="headgate.")  # the build directory may be closed to others
    try:
        os.chmod(away, 0o777)
        with open(f"{away}/precious", "w") as f:
            f.write("keep")
        os.symlink("precious", f"{away}/pid")
        g = gate(PLAIN.replace("{dir}", away).replace(
            "[server]", "[server]\nuser = nobody\npid_file = " + away + "/pid"), log="off")
        os.rename(f"{away}/error", f"{away}/error.1")
        g.signal(signal.SIGUSR1)
        true(wait_for(lambda: os.path.exists(f"{away}/error"), 3), "the log was not reopened")
        with open(f"{away}/pid") as f:
            same(int(f.read()), g.process.pid)
        same(g.stop(), 0)
        with open(f"{away}/precious") as f:
            same(f.read(), "keep")
        same(os.stat(f"{away}/precious").st_uid, 0)
    finally:
        shutil.rmtree(away)


def test_a_pipe_is_not_waited_for_without_end(gate):
    g = gate(PLAIN, log="off")
    os.mkfifo(f"{g.dir}/pipe")
    g.write(PLAIN.replace("body = hi", "body_file = pipe"))
    g.signal(signal.SIGHUP)
    true(wait_for(lambda: "not reloaded" in g.read("error")), "the reload waits")
    same(g.get("/")[2], b"hi")
    same(g.stop(), 0)
    said = subprocess.run(f"cat {g.ini} | sed s/body_file.*/body=x/ | {HEADGATE} -t -c /dev/stdin",
                          shell=True, capture_output=True)
    same(said.returncode, 0, said.stderr)


def test_clients_cannot_fill_the_log_with_pauses(gate):
    g = gate(PLAIN.replace("workers = 2", "workers = 1\nmax_connections = 10"), log="off")
    began = time.monotonic()
    for _ in range(20):
        held = [g.connect() for _ in range(40)]
        for s in held:
            s.close()
        time.sleep(0.02)
    same(g.get("/")[0], 200)
    lines = g.read("error").count("accepting pauses")
    true(1 <= lines <= 2 + time.monotonic() - began, f"{lines} lines\n" + g.read("error")[-500:])


if __name__ == "__main__":
    main([f for name, f in sorted(globals().items()) if name.startswith("test_")])
