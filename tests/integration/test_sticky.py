#!/usr/bin/env python3
"""Sticky sessions: a cookie keeps a visitor at a server, for as long as that may serve."""
import http.cookiejar
import json
import re
import signal
import socket
import subprocess
import urllib.request

from harness import HEADGATE, Skip, main, parse_response, same, true, wait_for
from origin import Closed, Origin, reset

CONFIG = """
[server]
workers = {workers}
control = ctl.sock
[listener a]
listen = 127.0.0.1:{port}
[upstream u]
server = 127.0.0.1:{one}
server = 127.0.0.1:{two}
server = 127.0.0.1:{three}
balance = random
{upstream}
[route all]
handler = forward
upstream = u
[route own]
path = /own
handler = respond
body = own
"""


class Three:
    def __init__(self, gate, sticky, workers=1, config=CONFIG):
        self.origins = [Origin() for _ in range(3)]
        names = dict(zip(("one", "two", "three"), (o.port for o in self.origins)))
        self.gate = gate(config, upstream=f"sticky = {sticky}", workers=workers, **names)

    def ask(self, cookie=None, path="/x"):
        """Which server answers, and the cookie that it sets."""
        before = [o.requests for o in self.origins]
        status, fields, content = self.gate.get(path, fields=f"Cookie: {cookie}\r\n" if cookie else "")
        same(status, 200, content)
        now = [o.requests - b for o, b in zip(self.origins, before)]
        self.content = content.decode()
        return now.index(1), fields.get("set-cookie")

    def order(self, i, order):
        subprocess.run([HEADGATE, "ctl", "-c", self.gate.ini, "upstream", "u",
                        f"127.0.0.1:{self.origins[i].port}", order], check=True,
                       capture_output=True, cwd=self.gate.dir)

    def end(self):
        for o in self.origins:
            o.end()


def pair(cookie):
    return cookie.split(";")[0]


def test_a_visitor_stays_where_he_began(gate):
    for workers in (1, 4):
        t = Three(gate, "session", workers)
        cookies = {}
        while len(cookies) < 3:
            i, cookie = t.ask()
            true(re.fullmatch("session=[0-9a-f]{16}; Path=/; HttpOnly; SameSite=Lax; Secure", cookie),
                 cookie)
            same(cookies.setdefault(i, cookie), cookie, "the same for the same server")
        same(len(set(cookies.values())), 3)
        for i, cookie in cookies.items():
            for _ in range(10):
                same(t.ask(pair(cookie)), (i, None), "no cookie is set that is there already")
                same(t.ask(f"a=b; {pair(cookie)}; c=d"), (i, None))
        t.gate.signal(signal.SIGHUP)
        wait_for(lambda: "generation 2" in t.gate.said())
        same({t.ask(pair(c)) for c in cookies.values()}, {(i, None) for i in range(3)})
        t.gate.stop()
        t.gate.start()
        for i, cookie in cookies.items():
            same(t.ask(pair(cookie)), (i, None), "and over a restart")
        t.end()


def test_the_origin_sees_all_cookies_as_they_are(gate):
    t = Three(gate, "s")
    i, cookie = t.ask()
    sent = f'a="1 2"; {pair(cookie)};b=2;; s=other'
    same(t.ask(sent), (i, None))
    true(f"Cookie: {sent}" in t.content.splitlines(), t.content)
    # The origin's own cookies pass, one of the same name too.
    t.origins[i].ill = lambda h: (h.say(200, b"x", "Set-Cookie: a=1\r\nSet-Cookie: s=9\r\n"), True)[1]
    answer = t.gate.say(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: " +
                        pair(cookie).encode() + b"\r\n\r\n").decode()
    same(re.findall("(?i)set-cookie: (.*)\r\n", answer), ["a=1", "s=9"])
    t.end()


def test_what_a_cookie_says_of_itself(gate):
    for sticky, want in (("s insecure", "Path=/; HttpOnly; SameSite=Lax"),
                         ("s max_age=1h30m", "Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=5400"),
                         ("__Host-s max_age=7d",
                          "Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=604800"),
                         ("s insecure max_age=1s", "Path=/; HttpOnly; SameSite=Lax; Max-Age=1")):
        t = Three(gate, sticky)
        same(t.ask()[1].split("; ", 1)[1], want, sticky)
        t.gate.stop()
        t.end()
    t = Three(gate, "off")
    same([t.ask()[1] for _ in range(5)], [None] * 5)
    t.end()


def test_only_that_upstreams_answers_set_it(gate):
    t = Three(gate, "s")
    true("set-cookie" not in t.gate.get("/own")[1], "not our own answers")
    for o in t.origins:
        o.end()
    status, fields, _ = t.gate.get("/x")
    same((status, "set-cookie" in fields), (502, False))


def test_a_bad_cookie_is_none(gate):
    t = Three(gate, "s")
    i, cookie = t.ask()
    value = pair(cookie)[2:]
    for bad in (f"s={value.upper()}" if value.upper() != value else "s=x", f"s={value}0", f"S={value}",
                f's="{value}"', "s=", "s", "s=0000000000000000", "s=../../etc", "s=" + "f" * 4000,
                f"xs={value}", "; ;=;;", "s=%00"):
        got, fresh = t.ask(bad)
        true(fresh and fresh.startswith("s="), f"{bad}: it is set anew")
        same(t.ask(pair(fresh)), (got, None))
    t.end()


def test_drained_servers_keep_theirs_and_down_ones_do_not(gate):
    for workers in (1, 4):
        t = Three(gate, "s", workers)
        i, cookie = t.ask()
        for order in ("drain", "weight=0"):
            t.order(i, order)
            for _ in range(10):
                same(t.ask(pair(cookie)), (i, None), "who began there stays")
                true(t.ask()[0] != i, "nobody else comes")
            t.order(i, "up")
        t.order(i, "down")
        for _ in range(5):
            other, fresh = t.ask(pair(cookie))
            true(other != i and pair(fresh) != pair(cookie), "he is moved, and told so")
            same(t.ask(pair(fresh)), (other, None))
        t.order(i, "up")
        same(t.ask(pair(cookie)), (i, None), "an old cookie is as good as ever")
        t.end()


def test_a_server_that_dies_gives_its_visitors_to_another(gate):
    t = Three(gate, "s")
    i, cookie = t.ask()

    def dies(h):
        reset(h.request)
        raise Closed
    t.origins[i].ill = dies
    status, fields, _ = t.gate.get("/x", fields=f"Cookie: {pair(cookie)}\r\n")
    same(status, 200, "another is tried")
    fresh = fields["set-cookie"]
    true(pair(fresh) != pair(cookie), fresh)
    status, fields, _ = t.gate.get("/x", fields=f"Cookie: {pair(fresh)}\r\n")
    same((status, fields.get("set-cookie")), (200, None))


class Origin6(Origin):
    address_family = socket.AF_INET6

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.bind(("::1", self.server_address[1]))


def test_of_a_name_the_cookie_means_one_address(gate):
    four = Origin()
    try:
        six = Origin6(four.port)
    except OSError:
        four.end()
        raise Skip("no IPv6 here, or the port is taken")
    origins = [four, six]
    g = gate(CONFIG.replace("server = 127.0.0.1:{two}\nserver = 127.0.0.1:{three}\n", "").replace(
        "127.0.0.1:{one}", f"a.localhost:{four.port}"), upstream="sticky = s", workers=2)

    def ask(cookie=None):
        before = [o.requests for o in origins]
        fields = f"Cookie: {cookie}\r\n" if cookie else ""
        status, fields, _ = g.get("/x", fields=fields)
        same(status, 200)
        return [o.requests - b for o, b in zip(origins, before)].index(1), fields.get("set-cookie")
    cookies = {}
    for _ in range(200):
        i, cookie = ask()
        cookies[i] = pair(cookie)
        if len(cookies) == 2:
            break
    same(len(cookies), 2, "both addresses serve")
    for i, cookie in cookies.items():
        same({ask(cookie) for _ in range(10)}, {(i, None)})
    shown = json.loads(subprocess.run(
        [HEADGATE, "ctl", "-c", g.ini, "--json", "upstream", "u", f"a.localhost:{four.port}", "drain"],
        check=True, capture_output=True, cwd=g.dir).stdout)["upstreams"][0]["servers"]
    same(sorted((s["address"], s["state"]) for s in shown),
         [(f"127.0.0.1:{four.port}", "draining"), (f"[::1]:{four.port}", "draining")])
    same(g.get("/x")[0], 503, "nobody new comes to either")
    for i, cookie in cookies.items():
        same(ask(cookie), (i, None), "who was there stays at his")
    for o in origins:
        o.end()


def test_a_browsers_jar(gate):
    t = Three(gate, "s insecure max_age=1h")
    jars = [http.cookiejar.CookieJar() for _ in range(8)]
    homes = {}
    for _ in range(5):
        for n, jar in enumerate(jars):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                                 urllib.request.HTTPCookieProcessor(jar))
            before = [o.requests for o in t.origins]
            opener.open(f"http://127.0.0.1:{t.gate.port}/x", timeout=10).read()
            home = [o.requests - b for o, b in zip(t.origins, before)].index(1)
            same(homes.setdefault(n, home), home)
    t.end()


def test_a_tunnel_is_sticky_too(gate):
    t = Three(gate, "s")
    s = t.gate.connect()
    s.sendall(b"GET /switch/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
              b"Upgrade: websocket\r\n\r\n")
    data = b""
    while b"\r\n\r\n" not in data:
        data += s.recv(4096)
    status, fields, _ = parse_response(data, True)
    same(status, 101)
    true(fields["set-cookie"].startswith("s="), fields)
    s.close()
    t.end()


if __name__ == "__main__":
    main([f for n, f in list(globals().items()) if n.startswith("test_")], at_once=6)
