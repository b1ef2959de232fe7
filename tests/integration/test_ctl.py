#!/usr/bin/env python3
"""The control socket and its client: what is shown, what is ordered, who is refused."""
import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time

from harness import HEADGATE, Skip, free_port, main, needs, read_all, read_response, same, true, wait_for
from origin import Origin

CONFIG = """
[server]
workers = {workers}
control = ctl.sock
access_log = {dir}/access.log
[listener a]
listen = 127.0.0.1:{port}
[upstream api]
server = 127.0.0.1:{one}
server = 127.0.0.1:{two}
{upstream}
[upstream other]
server = 127.0.0.1:{one} weight=3 max_connections=8
server = 127.0.0.1:{two} down
[route all]
handler = forward
upstream = api
"""


class Pair:
    """A gateway before two origins."""

    def __init__(self, gate, workers=1, upstream="", config=CONFIG):
        self.origins = [Origin(), Origin()]
        self.names = [f"127.0.0.1:{o.port}" for o in self.origins]
        self.gate = gate(config, one=self.origins[0].port, two=self.origins[1].port,
                         workers=workers, upstream=upstream)
        self.socket = os.path.join(self.gate.dir, "ctl.sock")

    def ctl(self, *words, code=0):
        return run(self.gate, *words, code=code)

    def json(self, *words):
        return json.loads(self.ctl("--json", *words))

    def server(self, i, group="api"):
        shown = self.json("upstream", group)["upstreams"][0]["servers"]
        return next(s for s in shown if s["server"] == self.names[i])

    def order(self, i, order):
        return self.ctl("upstream", "api", self.names[i], order)

    def got(self, n=40):
        """How many of n requests, on connections of their own, each origin gets."""
        before = [o.requests for o in self.origins]
        for _ in range(n):
            same(self.gate.get("/x")[0], 200)
        return [o.requests - b for o, b in zip(self.origins, before)]

    def end(self):
        for o in self.origins:
            o.end()


def run(g, *words, code=0, socket_path=None, env=None):
    where = ["-s", socket_path] if socket_path else ["-c", g.ini]
    done = subprocess.run([HEADGATE, "ctl", *where, *words], capture_output=True, text=True,
                          timeout=60, cwd=g.dir, env=env)
    same(done.returncode, code, f"{words}: {done.stdout}{done.stderr}")
    return done.stdout if code == 0 else done.stdout + done.stderr


def say(path, data, seconds=8):
    """Raw bytes, and all that is answered."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(seconds)
        s.connect(path)
        try:
            s.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        while piece := s.recv(65536):
            answer += piece
        return answer


# --- what is shown ----------------------------------------------------------------------


def test_servers_are_shown_with_what_is_known(gate):
    for workers in (1, 4):
        p = Pair(gate, workers, "max_in_flight = 50\nmax_connections = 60")
        held = [p.gate.connect() for _ in range(6)]
        for s in held:
            s.sendall(b"GET /hold/3000 HTTP/1.1\r\nHost: a\r\n\r\n")
        true(wait_for(lambda: sum(o.held for o in p.origins) == 6), "all are under way")
        shown = p.json("upstream")["upstreams"]
        same([u["name"] for u in shown], ["api", "other"])
        api, other = shown
        same((api["max_in_flight"], api["max_connections"]), (50, 60))
        same((other["max_connections"], other["servers"][0]["max_connections"],
              other["servers"][0]["ends_idle_after_ms"]), (None, 8, None))
        same([s["in_flight"] for s in api["servers"]], [o.held for o in p.origins])
        same(sum(s["connections_busy"] for s in api["servers"]), 6)
        same([s["state"] for s in api["servers"]], ["up", "up"])
        same([(s["state"], s["weight"], s["down_configured"]) for s in other["servers"]],
             [("up", 3, False), ("down", 1, True)])
        same([s["in_flight"] for s in other["servers"]], [0, 0])
        for s in held:
            same(read_response(s)[0], 200)
        table = [l.split() for l in p.ctl("upstream").splitlines()]
        same(table[0][:4], ["GROUP", "SERVER", "STATE", "WEIGHT"])
        same([row[:4] for row in table[1:]],
             [["api", n, "up", "1"] for n in p.names] +
             [["other", p.names[0], "up", "3"], ["other", p.names[1], "down", "1"]])
        again = p.json("upstream", "api")["upstreams"]
        same([u["name"] for u in again], ["api"])
        same(sum(s["in_flight"] for s in again[0]["servers"]), 0)
        same(sum(s["connections_idle"] for s in again[0]["servers"]), 6)
        true(all(s["latency_us"] > 1000000 for s in again[0]["servers"] if s["connections_idle"]),
             again)
        for s in held:
            s.close()
        p.end()


def test_the_last_failure_is_kept_with_its_cause(gate):
    p = Pair(gate, upstream="retry_on = off")
    same(p.server(0)["last_failure"], None)
    p.order(1, "down")
    same(p.gate.get("/reset")[0], 502)
    f = p.server(0)["last_failure"]
    same((f["cause"], f["status"]), ("upstream_reset_before_head", None))
    true(f["at"].endswith("Z") and time.strftime("%Y-%m-%dT", time.gmtime()) in f["at"], f)
    same(p.gate.get("/status/503")[0], 503)
    f = p.server(0)["last_failure"]
    same((f["cause"], f["status"]), (None, 503))
    same(p.gate.get("/status/404")[0], 404)
    same(p.server(0)["last_failure"]["status"], 503, "404 is an answer")
    true("status 503" in p.ctl("upstream", "api"), "the table says so, too")
    p.end()


def test_an_ejected_server_is_up_again_at_once(gate):
    p = Pair(gate, upstream="eject_failures = 2\neject_time = 5m\nretry_on = off\n"
                            "balance = round_robin")
    p.origins[0].ill = lambda h: (h.say(503, b"ill"), True)[1]
    statuses = [p.gate.get("/x")[0] for _ in range(8)]
    same(statuses.count(503), 2)
    shown = p.server(0)
    same(shown["state"], "ejected")
    true(200000 < shown["ejected_for_ms"] <= 300000, shown)
    p.origins[0].ill = None
    same(p.got(10)[0], 0)
    p.order(0, "up")
    same(p.server(0)["state"], "up")
    same(p.got(10), [5, 5], "without a slow start")
    p.end()


def test_stats_are_those_of_the_signal(gate):
    p = Pair(gate, 2)
    p.got(10)
    same(p.gate.get("/garbage")[0], 502)
    counted, stats = p.gate.counted(), p.json("stats")
    same(stats["gate"]["requests"], 11)
    same(stats["causes"], {"upstream_bad_head": 1})
    for name in ("connections", "requests", "2xx", "5xx"):
        same(stats["gate"][name], counted[name], name)
    true(stats["engine"]["accepts"] >= 11, stats)
    table = dict(l.split()[1:] for l in p.ctl("stats").splitlines())
    same((table["COUNTER"], table["requests"], table["upstream_bad_head"]), ("VALUE", "11", "1"))
    p.end()


# --- what is ordered --------------------------------------------------------------------


def test_orders_hold_at_once_on_all_workers(gate):
    for workers in (1, 4):
        p = Pair(gate, workers, "balance = random")
        true(min(p.got()) > 0, "both serve")
        true(f"by hand of uid {os.geteuid()}" in (p.order(0, "up"), p.gate.said())[1], "logged")
        for order, state in (("drain", "draining"), ("down", "down"), ("weight=0", "up")):
            shown = p.order(0, order)
            true(state in shown and p.names[0] in shown and p.names[1] not in shown, shown)
            same(p.got(), [0, 40], order)
            same(p.server(0)["state"], state)
            p.order(0, "up")
            same(p.server(0)["weight"], 1)
            true(p.got()[0] > 0, f"up after {order}")
        p.order(0, "down")
        p.order(1, "drain")
        status, fields, _ = p.gate.get("/x")
        same(status, 503)
        true("upstream_none_healthy" in fields["proxy-status"], fields)
        p.end()


def test_what_is_under_way_is_finished(gate):
    for order in ("drain", "down"):
        p = Pair(gate, 2)
        p.order(1, "down")
        s = p.gate.connect()
        s.sendall(b"GET /hold/3000 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: p.origins[0].held == 1)
        p.order(1, "up")
        p.order(0, order)
        same(p.server(0)["in_flight"], 1)
        same(p.got(10), [0, 10])
        same(read_response(s)[0], 200)
        same(p.server(0)["in_flight"], 0)
        s.close()
        p.end()


def wait_with_answers(*answers):
    """What ctl --wait makes of these, behind that its order was carried out."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as control:
        path = f"{folder}/control"
        control.bind(path)
        control.listen()

        def answer():
            for said in (b"ok\n", *answers):
                s, _ = control.accept()
                with s:
                    s.recv(1024)
                    s.sendall(said)
        teller = threading.Thread(target=answer)
        teller.start()
        done = subprocess.run([HEADGATE, "ctl", "-s", path, "upstream", "api", "a:1", "drain",
                               "--wait", "5s"], capture_output=True, text=True, timeout=20)
        teller.join()
    return done.returncode, done.stderr


def test_who_is_told_nothing_does_not_take_it_for_nothing_in_flight(gate):
    code, said = wait_with_answers(b"refused\na worker does not answer\n")
    same(code, 1)
    true("a worker does not answer" in said, said)


def test_a_server_that_is_not_shown_is_not_done(gate):
    head = b"ok\nGROUP\tSERVER\tIN FLIGHT\n"
    for rows in (b"", b"api\ta:10\t0\n"):
        code, said = wait_with_answers(head + rows)
        same(code, 1)
        true("a:1 is not in the answer" in said, said)
    same(wait_with_answers(head + b"api\ta:1 (192.0.2.1:1)\t1\n", head + b"api\ta:1\t-\n",
                           head + b"api\ta:1\t0\n"), (0, ""))


def test_it_waits_until_nothing_is_in_flight(gate):
    for order in ("drain", "down"):
        p = Pair(gate, 2)
        p.order(1, "down")
        s = p.gate.connect()
        s.sendall(b"GET /hold/3000 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: p.origins[0].held == 1)
        began = time.monotonic()
        said = p.ctl("upstream", "api", p.names[0], order, "--wait", "300ms", code=1)
        true("still has requests in flight" in said, said)
        true(time.monotonic() - began < 2.5, "no longer than it is told")
        p.ctl("upstream", "api", p.names[0], order, "--wait", "10s")
        same(p.server(0)["in_flight"], 0)
        true(2 < time.monotonic() - began < 8, "and no longer than need be")
        same(read_response(s)[0], 200)
        s.close()
        p.end()
    p = Pair(gate)
    for words in (("upstream", "--wait", "1s"), ("upstream", "api", p.names[0], "up", "--wait", "1s"),
                  ("upstream", "api", p.names[0], "drain", "--wait", "1")):
        p.ctl(*words, code=2)
    same(p.server(0)["state"], "up")
    p.end()


def test_a_check_is_nothing_in_flight(gate):
    """One that hangs is under way most of the time, on a server that is to be taken out."""
    p = Pair(gate, 2, "check = GET /hold/60000 interval=10ms timeout=1m")
    true(wait_for(lambda: all(o.held for o in p.origins)), "both are being checked")
    for order in ("drain", "down"):
        p.ctl("upstream", "api", p.names[0], order, "--wait", "2s")
    shown = p.server(0)
    same((shown["in_flight"], shown["connections_busy"]), (0, 0))
    p.end()


def test_down_closes_what_is_idle_and_drain_does_not(gate):
    for workers in (1, 4):
        p = Pair(gate, workers)
        held = [p.gate.connect() for _ in range(8)]
        for s in held:
            s.sendall(b"GET /hold/300 HTTP/1.1\r\nHost: a\r\n\r\n")
        for s in held:
            same(read_response(s)[0], 200)
        true(p.server(0)["connections_idle"] > 0 and p.server(1)["connections_idle"] > 0, "both")
        p.order(0, "drain")
        true(p.server(0)["connections_idle"] > 0, "drained ones are kept")
        p.order(0, "down")
        same(p.server(0)["connections_idle"], 0)
        true(p.server(1)["connections_idle"] > 0, "the other's are kept")
        # One in use meanwhile is closed as soon as it is idle.
        p.order(0, "up")
        p.order(1, "down")
        s = p.gate.connect()
        s.sendall(b"GET /hold/2000 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: p.origins[0].held == 1)
        p.order(0, "down")
        same(p.server(0)["connections_busy"], 1)
        same(read_response(s)[0], 200)
        true(wait_for(lambda: p.server(0)["connections_busy"] == 0), "closed")
        same(p.server(0)["connections_idle"], 0)
        for each in (s, *held):
            each.close()
        p.end()


def test_a_weight_by_hand_is_kept_exactly(gate):
    p = Pair(gate, 1, "balance = round_robin")
    p.order(0, "weight=3")
    same(p.got(40), [30, 10])
    true("3 (1)" in p.ctl("upstream", "api"), "the configured one is shown, too")
    p.order(0, "drain")
    same(p.server(0)["weight"], 3)
    p.order(0, "up")
    same(p.got(40), [20, 20])
    p.end()


def test_orders_survive_a_reload_and_no_restart(gate):
    p = Pair(gate, 2)
    p.order(0, "drain")
    p.order(1, "weight=7")
    p.ctl("reload")
    same((p.server(0)["state"], p.server(1)["weight"]), ("draining", 7))
    same(p.got(20), [0, 20])
    same(p.server(0, "other")["state"], "up", "another group's is another's")
    p.gate.stop()
    p.gate.start()
    same((p.server(0)["state"], p.server(1)["weight"]), ("up", 1))
    p.end()


def test_who_waits_hears_of_it(gate):
    """Requests in the queue go to a server that is put back, or are refused when there is none."""
    p = Pair(gate, 1, "max_in_flight = 1\nqueue = 10 timeout=30s")
    first = p.gate.connect(seconds=20)
    first.sendall(b"GET /hold/5000 HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: sum(o.held for o in p.origins) == 1)
    waiting = p.gate.connect(seconds=10)
    waiting.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    true(wait_for(lambda: p.json("upstream", "api")["upstreams"][0]["waiting"] == 1), "it waits")
    true("1 waiting for a place" in p.ctl("upstream", "api"), "the table says so")
    p.order(0, "down")
    p.order(1, "down")
    same(read_response(waiting)[0], 503)
    same(sum(o.held for o in p.origins), 1, "not only after the first is over")
    same(read_response(first)[0], 200)
    first.close()
    waiting.close()
    p.end()


# --- reload ----------------------------------------------------------------------------


def test_a_reload_says_what_came_of_it(gate):
    p = Pair(gate, 2)
    p.gate.write(CONFIG.replace("max_ejected", "").replace("workers = 2", "workers = 3"))
    true("generation 2" in p.ctl("reload"), "done")
    p.gate.write(CONFIG.replace("workers = {workers}", "workers = 4\npid_file = {dir}/pid"))
    said = p.ctl("reload")
    true("generation 3" in said and "needs a restart to change: workers, pid_file" in said, said)
    p.gate.write(CONFIG.replace("handler = forward", "handler = forwrad\nmax_bdy = 1m"))
    said = p.ctl("reload", code=1)
    lines = [l for l in said.splitlines() if p.gate.ini in l]
    true(len(lines) >= 2 and all(l.split(":")[1].isdigit() and "error:" in l for l in lines), said)
    true("the old one stays in use" in said, said)
    same(p.got(4) != [0, 0], True)
    refused = json.loads(run(p.gate, "--json", "reload", code=1))
    same((refused["reloaded"], refused["generation"]), (False, 3))
    true(len(refused["messages"]) >= 2, refused)
    p.gate.write(CONFIG)
    p.gate.signal(signal.SIGHUP)
    true(wait_for(lambda: "generation 4" in p.gate.said()), "the signal stays")
    same(p.json("reload")["generation"], 5)
    p.end()


def test_when_a_reload_is_answered_it_is_in_effect(gate):
    p = Pair(gate, 4)
    for i in range(10):
        p.gate.write(CONFIG.replace("handler = forward\nupstream = api",
                                    f"handler = respond\nbody = {i}"))
        p.ctl("reload")
        same({p.gate.get("/")[2] for _ in range(8)}, {str(i).encode()})
    p.end()


# --- who is refused -----------------------------------------------------------------------


def test_mistakes_say_what_was_meant(gate):
    p = Pair(gate)
    name = p.names[0]
    for words, code, text in (
            (["upstrem"], 2, 'did you mean "upstream"?'),
            (["upstream", "apj"], 1, 'did you mean "api"?'),
            (["upstream", "api", name + "9", "up"], 1, f'did you mean "{name}"?'),
            (["upstream", "api", name, "drian"], 2, "none of drain, down, up and weight=N"),
            (["upstream", "api", name, "weight=10001"], 2, "weight=N (0 to 10000)"),
            (["upstream", "api", name, "weight=-1"], 2, "weight=N"),
            (["upstream", "api", name, "weight="], 2, "weight=N"),
            (["upstream", "api", "drain"], 2, "GROUP stand SERVER"),
            (["stats", "now"], 2, "nothing stands behind stats"),
            ([], 2, "usage: headgate ctl"),
            (["--jsn", "stats"], 2, "usage: headgate ctl"),
            (["upstream", "x" * 2000], 2, "too long"),
            (["upstream", "a\nb"], 2, "")):
        true(text in p.ctl(*words, code=code), f"{words}: {p.ctl(*words, code=code)}")
    same(json.loads(run(p.gate, "--json", "upstream", "zzz", code=1)),
         {"error": "there is no [upstream zzz]"})
    same(p.server(0)["state"], "up", "nothing came of all that")
    p.end()


def test_who_is_not_there_is_named(gate):
    p = Pair(gate)
    g = p.gate
    g.write(CONFIG.replace("control = ctl.sock\n", ""))
    true("names no control socket" in run(g, "stats", code=1), "no setting")
    g.write(CONFIG.replace("control = ctl.sock\n", "control = ${NOT_THERE}\n"))
    true("NOT_THERE" in run(g, "stats", code=1), "what is wrong with the setting is said")
    true("is not there" in run(g, "stats", socket_path="nowhere", code=1), "no socket")
    true("at most 107 bytes" in run(g, "stats", socket_path="/" + "x" * 120, code=1), "too long")
    g.write(CONFIG)
    same(g.stop(), 0)
    true(not os.path.exists(p.socket), "it is removed at exit")
    true("is not there: headgate is not running" in run(g, "stats", code=1), "not running")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(p.socket)
    stale.close()
    true("nobody answers" in run(g, "stats", code=1), "a stale one")
    g.start()
    true("requests" in run(g, "stats"), "a stale one is replaced")
    # What is wrong elsewhere in the file is no matter.
    g.write(CONFIG + "[nonsense\nno line\n[route x]\nhandler = nobody\n")
    true("requests" in run(g, "stats"), "it is found all the same")
    p.end()


def test_a_live_socket_is_an_error_and_stays(gate):
    p = Pair(gate)
    other = os.path.join(p.gate.dir, "other.ini")
    with open(p.gate.ini) as f:
        text = f.read().replace(f"127.0.0.1:{p.gate.port}", f"127.0.0.1:{free_port()}")
    with open(other, "w") as f:
        f.write(text)
    done = subprocess.run([HEADGATE, "-c", other], capture_output=True, text=True, timeout=20)
    same(done.returncode, 1)
    true("ctl.sock: already in use" in done.stderr, done.stderr)
    true("requests" in p.ctl("stats"), "the first one still has it")
    p.end()


def test_only_who_we_are_may_open_it(gate):
    p = Pair(gate)
    same(stat.S_IMODE(os.stat(p.socket).st_mode), 0o600)
    p.end()
    if os.geteuid() != 0:
        raise Skip("not root")
    away = tempfile.mkdtemp(prefix="headgate.")
    try:
        os.chmod(away, 0o777)
        path = f"{away}/ctl"
        g = gate(CONFIG.replace("control = ctl.sock", f"control = {path}\nuser = nobody")
                 .replace("{dir}", away), one=1, two=2, workers=1, upstream="")
        nobody = os.stat("/proc/%d" % g.process.pid).st_uid
        true(nobody != 0, "it has become somebody")
        same((os.stat(path).st_uid, stat.S_IMODE(os.stat(path).st_mode)), (nobody, 0o600))
        true("requests" in run(g, "stats", socket_path=path), "root may, too")
        done = subprocess.run([HEADGATE, "ctl", "-s", path, "stats"], capture_output=True,
                              text=True, user=1, group=1, extra_groups=[])
        same(done.returncode, 1)
        true("permission denied" in done.stderr, done.stderr)
        same(g.stop(), 0)
        true(not os.path.exists(path), "removed by who we have become")
    finally:
        shutil.rmtree(away)


# --- hostile clients ------------------------------------------------------------------------


def test_bad_clients_hold_up_nobody(gate):
    p = Pair(gate, 2)
    true("requests" in p.ctl("stats"), "it answers")
    before, silent = p.gate.descriptors(), []
    for i in range(100):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(10)
        s.connect(p.socket)
        if i % 2:
            s.sendall(b"upstream ap")  # half a line
        silent.append(s)
    true("requests" in p.ctl("stats"), "it answers")
    true(not select.select(silent[-1:], [], [], 0)[0], "before they have been given up")
    p.gate.signal(signal.SIGHUP)
    true(wait_for(lambda: "generation 2" in p.gate.said()), "and hears signals")
    for s in silent:
        s.close()
    answer = say(p.socket, b"x" * (1 << 20) + b"\n")
    true(answer.startswith(b"usage\n") and b"at most 1024 bytes" in answer, answer)
    for line in (b"\n", b"\0\0\0\n", b"json\n", b"upstream \xff\xfe\n", b"GET / HTTP/1.1\r\n\r\n",
                 b"upstream api " + b"y" * 900 + b" up\n", b"%s%n%p\n", b"reload reload\n"):
        true(say(p.socket, line).split(b"\n")[0] in (b"usage", b"refused"), line)
    answer = json.loads(say(p.socket, b'json "\\\x01\n').split(b"\n")[1])
    true('""\\?' in answer["error"] or '"\\' in answer["error"], answer)
    true(say(p.socket, b"stats\nreload\n").startswith(b"ok\n"), "what comes behind a line is nothing")
    same(p.gate.said().count("reloaded"), 1)
    # Nobody takes the answer; the next is served all the same.
    deaf = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    for s in deaf:
        s.connect(p.socket)
        s.sendall(b"json upstream\n")
    true("requests" in p.ctl("stats"), "who does not listen holds up nobody")
    for s in deaf:
        s.close()
    true(wait_for(lambda: p.gate.descriptors() <= before), "nothing is left open")
    p.end()


def test_who_does_not_read_gives_way(gate):
    """Eight with answers that are larger than a socket holds; a ninth does not wait for them."""
    many = "".join(f"server = 127.0.0.1:{port}\n" for port in range(10000, 11500))
    p = Pair(gate, upstream=many)
    deaf = []
    for _ in range(8):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(10)
        s.connect(p.socket)
        s.sendall(b"json upstream\n")
        true(select.select([s], [], [], 10)[0], "it answers")
        deaf.append(s)
    began = time.monotonic()
    true("requests" in p.ctl("stats"), "it answers")
    true(time.monotonic() - began < 3, f"{time.monotonic() - began} s for the ninth")
    answers = [read_all(s) for s in deaf]
    same([a.endswith(b"]}\n") for a in answers], [False] + [True] * 7, [len(a) for a in answers])
    for s in deaf:
        s.close()
    p.end()


def test_what_is_no_command_needs_no_configuration(gate):
    """Exit code 2, whatever else there is; one message for what is not there."""
    def ctl(*words):
        done = subprocess.run([HEADGATE, "ctl", *words], capture_output=True, timeout=20)
        return done.returncode, done.stdout.decode(), done.stderr.decode()  # all of it is UTF-8
    nowhere = ("-c", "/nowhere/headgate.ini")
    for words, want in ((("stats", "x"), "nothing stands behind stats\n"), (("stat",), "did you mean"),
                        (("upstream", "api", "a:1"), "behind GROUP stand SERVER"),
                        (("upstream", "api", "a:1", "dorn"), "is none of drain"),
                        (("upstream", "api", "a:1", "weight=99999"), "is none of drain"),
                        (("upstream", "a\nb"), "headgate ctl: a command is one line"),
                        (("upstream", "x" * 1100), "headgate ctl: the command is too long")):
        code, said, why = ctl(*nowhere, *words)
        same((code, said, want in why, why.count("\n")), (2, "", True, 1), (words, why))
    code, said, why = ctl(*nowhere, "--json", b"st\xffts")
    same((code, json.loads(said)["error"].startswith('"st\xffts" is none'), why), (2, True, ""), said)
    code, said, why = ctl(*nowhere, "stats")
    same((code, said, why.count("\n"), "/nowhere/headgate.ini" in why), (1, "", 1, True), why)
    p = Pair(gate)
    code, said, why = ctl("-s", p.socket, "--json", "upstream", b"\xff\xc3\xa4\xc3")
    same((code, "[upstream \xff\xe4\xc3]" in json.loads(said)["error"]), (1, True), said)
    code, said, why = ctl("-s", p.socket, "upstream", b"\xff\xc3\xa4\xc3")
    same((code, "[upstream ?\xe4?]" in why), (1, True), why)
    p.end()


def test_a_silent_client_is_closed(gate):
    p = Pair(gate)
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(p.socket)
        s.sendall(b"sta")
        began = time.monotonic()
        same(s.recv(1), b"")
        true(4 < time.monotonic() - began < 8, "after 5 seconds")
    p.end()


def test_many_ask_at_once(gate):
    p = Pair(gate, 4, "balance = random")
    answers = []

    def ask(i):
        order = ("drain", "up", "weight=2", "down")[i % 4]
        for _ in range(5):
            answers.append(p.order(i % 2, order))
            answers.append(p.ctl("upstream"))
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    same(len(answers), 80)
    for i in range(2):
        p.order(i, "up")
    true(min(p.got()) > 0, "and all is as before")
    p.end()


def test_it_answers_while_it_drains(gate):
    p = Pair(gate)
    s = p.gate.connect()
    s.sendall(b"GET /hold/3000 HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_for(lambda: sum(o.held for o in p.origins) == 1)
    p.gate.signal(signal.SIGTERM)
    true(wait_for(lambda: "draining" in p.gate.said()), "it drains")
    same(sum(x["in_flight"] for x in p.json("upstream", "api")["upstreams"][0]["servers"]), 1)
    true("headgate is ending" in p.ctl("reload", code=1), "no reload any more")
    same(read_response(s)[0], 200)
    s.close()
    same(p.gate.process.wait(10), 0)
    p.end()


def test_requests_of_h2_links_are_counted(gate):
    needs("http/2")
    from h2origin import H2Origin
    o = H2Origin()
    g = gate(CONFIG.replace("server = 127.0.0.1:{two}\n{upstream}", "").replace(
        "server = 127.0.0.1:{one}\n", f"server = h2c://127.0.0.1:{o.port}\n", 1),
        one=1, two=2, workers=1)
    same(g.get("/x")[0] in (200, 404), True)
    server = json.loads(run(g, "--json", "upstream", "api"))["upstreams"][0]["servers"][0]
    same((server["in_flight"], server["connections_busy"] + server["connections_idle"]), (0, 1))
    run(g, "upstream", "api", server["server"], "down")
    server = json.loads(run(g, "--json", "upstream", "api"))["upstreams"][0]["servers"][0]
    same(server["connections_busy"] + server["connections_idle"], 0)


if __name__ == "__main__":
    main([f for n, f in list(globals().items()) if n.startswith("test_")], at_once=6)
