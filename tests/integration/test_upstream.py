#!/usr/bin/env python3
"""Groups of origins: limits that are the process's, and the queue in front of them."""
import json
import signal
import socket
import threading
import time

from harness import main, read_all, read_response, same, true, wait_for
from origin import Closed, Origin, reset

CONFIG = """
[server]
workers = {workers}
access_log = {dir}/access.log
control = {dir}/ctl
[listener a]
listen = 127.0.0.1:{port}
[upstream u]
server = 127.0.0.1:{origin} {option}
{upstream}
[route all]
handler = forward
upstream = u
"""


def start(gate, upstream="", option="", workers=1):
    o = Origin()
    return gate(CONFIG, origin=o.port, upstream=upstream, option=option, workers=workers), o


def log(g):
    g.stop()
    return [json.loads(l) for l in g.read("access.log").splitlines()]


def at_once(n, work):
    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def asks(g, path):
    s = g.connect()
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return s


def until_waiting(g, n):
    """So many are in the queue, as the control socket says."""
    def waiting():
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(g.dir + "/ctl")
            s.sendall(b"json upstream u\n")
            return json.loads(read_all(s).split(b"\n", 1)[1])["upstreams"][0]["waiting"]
    true(wait_for(lambda: waiting() == n), f"{waiting()} wait, not {n}")


def test_no_more_is_in_flight_than_may_be_on_all_workers(gate):
    for workers in (1, 4):
        for upstream, option, most in (("max_in_flight = 3", "", 3), ("", "max_in_flight=1", 1),
                                       ("max_in_flight = 2", "max_in_flight=5", 2)):
            g, o = start(gate, f"queue = 256 timeout=20s\n{upstream}", option, workers)
            statuses = []
            at_once(24, lambda i: statuses.append(g.get("/hold/20")[0]))
            same(statuses, [200] * 24)
            same(o.most, most, f"{workers} workers, {upstream} {option}")
            g.stop()
            o.end()


def test_the_queue_is_first_come_first_served(gate):
    for workers in (1, 4):
        g, o = start(gate, "max_in_flight = 1\nqueue = 256 timeout=20s", workers=workers)
        sockets = [asks(g, "/hold/1600")]
        wait_for(lambda: o.requests == 1)
        for i in range(12):
            sockets.append(asks(g, f"/hold/1?{i}"))
            until_waiting(g, i + 1)
        for s in sockets:
            same(read_response(s)[0], 200)
            s.close()
        same([t for _, t in o.seen[1:]], [f"/hold/1?{i}" for i in range(12)], f"{workers} workers")
        g.stop()
        o.end()


def test_a_full_queue_and_a_long_wait_are_named(gate):
    g, o = start(gate, "max_in_flight = 1\nqueue = 1 timeout=1s")
    first = asks(g, "/hold/4000")
    wait_for(lambda: o.requests == 1)
    began = time.time()
    second = asks(g, "/late")
    until_waiting(g, 1)
    status, fields, _ = g.get("/full")
    same(status, 503)
    true("queue_full" in fields["proxy-status"], fields)
    status, fields, _, _ = read_response(second)
    same(status, 504)
    true("queue_timeout" in fields["proxy-status"], fields)
    true(0.9 < time.time() - began < 3.5, "as long as it says")
    same(read_response(first)[0], 200)
    first.close()
    second.close()
    same([r.get("cause") for r in log(g)], ["queue_full", "queue_timeout", None])
    same(o.requests, 1, "neither came to the origin")
    o.end()


def test_the_time_in_the_queue_is_told_apart(gate):
    """Of who got a place, of who did not, and over several tries, whose own time is not in it."""
    g, o = start(gate, "max_in_flight = 1\nqueue = 4 timeout=2s")
    first = asks(g, "/hold/600")
    wait_for(lambda: o.requests == 1)
    same(g.get("/placed")[0], 200)
    same(read_response(first)[0], 200)
    first.close()
    first = asks(g, "/hold/4000")
    wait_for(lambda: o.requests == 3)
    same(g.get("/late")[0], 504)
    read_response(first)
    first.close()
    records = {r["target"]: r for r in log(g)}
    placed, late = records["/placed"], records["/late"]
    true(200_000 < placed["us_queue"] < 2_000_000 and placed["us_connect"] < 200_000, placed)
    true(late["us_queue"] > 1_900_000 and "us_connect" not in late, late)
    same(records["/hold/600"]["us_queue"], 0)
    o.end()
    two = Origin()

    def slow(h):  # the first try's answer comes late, and is not good enough
        time.sleep(0.5)
        h.say(503, b"ill")
        return True
    one = Origin()
    one.ill = slow
    g = gate(CONFIG, origin=one.port, option="", workers=1, upstream=f"server = 127.0.0.1:{two.port} backup\n"
             "tries = 2\nretry_on = 503")
    same(g.get("/x")[0], 200)
    (again,) = log(g)
    same((again["tries"], again["us_queue"]), (2, 0))
    true(again["us_connect"] < 400_000, again)
    one.end()
    two.end()


def test_without_a_queue_nobody_waits(gate):
    g, o = start(gate, "max_in_flight = 1\nqueue = off")
    first = asks(g, "/hold/2000")
    wait_for(lambda: o.requests == 1)
    same(g.get("/x")[0], 503)
    same(read_response(first)[0], 200)
    same(g.get("/x")[0], 200)
    first.close()
    o.end()


def test_who_leaves_the_queue_leaves_its_place(gate):
    g, o = start(gate, "max_in_flight = 1\nqueue = 1 timeout=20s")
    first = asks(g, "/hold/3000")
    wait_for(lambda: o.requests == 1)
    leaves = asks(g, "/leaves")
    until_waiting(g, 1)
    reset(leaves)
    until_waiting(g, 0)
    stays = asks(g, "/stays")
    same(read_response(stays)[0], 200)
    same([t for _, t in o.seen], ["/hold/3000", "/stays"])
    first.close()
    stays.close()
    o.end()


def test_calls_to_those_who_have_left_are_passed_on(gate):
    """Whoever stays is served although others leave, also just when it is their turn."""
    for workers in (1, 4):
        g, o = start(gate, "max_in_flight = 1\nqueue = 256 timeout=15s", workers=workers)
        statuses = []

        def come(i):
            with asks(g, f"/hold/{i % 3}") as s:
                if i % 2:
                    time.sleep(i % 13 / 400)
                    reset(s)
                else:
                    statuses.append(read_response(s)[0])
        for _ in range(5):
            at_once(40, come)
        same(statuses, [200] * 100, f"{workers} workers")
        g.stop()
        o.end()


def test_who_sends_many_at_once_does_not_overtake_who_waits(gate):
    for workers in (1, 4):
        g, o = start(gate, "max_in_flight = 1\nqueue = 256 timeout=20s", workers=workers)
        with g.connect(seconds=20) as many:
            many.sendall(b"GET /hold/100 HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
            wait_for(lambda: o.requests > 2)
            before = o.requests
            with asks(g, "/waits") as waits:
                same(read_response(waits)[0], 200)
            true(o.requests - before < 10, f"{o.requests - before} went before, {workers} workers")
        g.stop()
        o.end()


def test_a_raised_limit_is_used_although_others_wait(gate):
    for workers in (1, 4):
        g, o = start(gate, "max_in_flight = 1\nqueue = 256 timeout=20s", workers=workers)
        before = [asks(g, "/hold/700") for _ in range(6)]
        wait_for(lambda: o.requests == 1)
        g.names["upstream"] = "max_in_flight = 9\nqueue = 256 timeout=20s"
        g.write(CONFIG)
        g.signal(signal.SIGHUP)
        wait_for(lambda: "reloaded" in g.said())
        after = [asks(g, "/hold/700") for _ in range(12)]
        for s in before + after:
            same(read_response(s)[0], 200)
            s.close()
        true(o.most > 6, f"{o.most} at a time, {workers} workers")
        g.stop()
        o.end()


def test_who_waits_has_the_limit_of_now(gate):
    for workers, before, after in ((1, "max_in_flight = 1", "max_in_flight = 9"),
                                   (4, "max_in_flight = 1", "max_in_flight = off"),
                                   (4, "max_connections = 1", "max_connections = 9")):
        g, o = start(gate, before + "\nqueue = 256 timeout=20s", workers=workers)
        began = time.monotonic()
        sockets = [asks(g, "/hold/1000") for _ in range(7)]
        wait_for(lambda: o.requests == 1)
        time.sleep(0.1)
        g.names["upstream"] = after + "\nqueue = 256 timeout=20s"
        g.write(CONFIG)
        g.signal(signal.SIGHUP)
        for s in sockets:
            same(read_response(s)[0], 200)
            s.close()
        true(time.monotonic() - began < 5, f"{before}: {time.monotonic() - began:.1f} s")
        g.stop()
        o.end()


# --- connections ------------------------------------------------------------------------------


class Connections:
    """The most that stood at a time, as the kernel says, until it is asked.

    It says so one by one: one that ends and one that begins meanwhile may both be in what is
    read.  Those in two readings stood all the time between."""

    def __init__(self, *ports):
        self.ends, self.most, self.over = [f":{p:04X}" for p in ports], 0, False
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        before = set()
        while not self.over:
            with open("/proc/net/tcp") as f:
                rows = [l.split()[1:4] for l in f.readlines()[1:]]
            now = {ours for ours, at, state in rows if state == "01" and at[8:] in self.ends}
            self.most, before = max(self.most, len(now & before)), now
            time.sleep(0.002)

    def seen(self):
        self.over = True
        self.thread.join()
        return self.most


def test_no_more_connections_than_may_be_on_all_workers(gate):
    for workers in (1, 4):
        for upstream, option, most in (("max_connections = 3", "", 3), ("", "max_connections=1", 1),
                                       ("max_connections = 2", "max_connections=5", 2)):
            g, o = start(gate, f"queue = 256 timeout=20s\n{upstream}", option, workers)
            connections, statuses = Connections(o.port), []
            at_once(24, lambda i: statuses.append(g.get("/hold/20")[0]))
            same(statuses, [200] * 24)
            true(connections.seen() <= most, f"{workers} workers, {upstream} {option}: {connections.most}")
            same(o.most, most)
            g.stop()
            o.end()


def test_an_idle_connection_is_in_nobodys_way(gate):
    """Each of many clients comes once in a while: whichever worker has it is served at once."""
    for workers, settings in ((4, "max_connections = 1"), (1, "max_connections = 1"),
                              (4, "max_connections = 2")):
        o, other = Origin(), Origin()
        g = gate(CONFIG, origin=o.port, option="max_connections=1", workers=workers,
                 upstream=f"server = 127.0.0.1:{other.port} max_connections=1\n{settings}\n"
                          "balance = round_robin\nqueue = 256 timeout=10s")
        connections, took = Connections(o.port, other.port), []
        sockets = [g.connect() for _ in range(12)]
        for n in range(60):
            began = time.monotonic()
            sockets[n * 5 % 12].sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            same(read_response(sockets[n * 5 % 12])[0], 200)
            took.append(time.monotonic() - began)
        for s in sockets:
            s.close()
        true(sorted(took)[len(took) // 2] < 0.2, took)
        true(max(took) < 3, took)
        true(connections.seen() <= (1 if settings.endswith("1") else 2), connections.most)
        g.stop()
        o.end()
        other.end()


def test_connections_are_counted_across_a_reload(gate):
    g, o = start(gate, "queue = off\n")
    first = asks(g, "/hold/4000")
    wait_for(lambda: o.requests == 1)
    g.names["upstream"] = "queue = off\nmax_connections = 1"
    g.write(CONFIG)
    g.signal(signal.SIGHUP)
    wait_for(lambda: "generation 2" in g.said())
    status, fields, _ = g.get("/x")
    same(status, 503, "the one of before the limit counts")
    true("queue_full" in fields["proxy-status"], fields)
    same(read_response(first)[0], 200)
    same(g.get("/x")[0], 200)
    first.close()
    o.end()


# --- health -----------------------------------------------------------------------------------


def resets(handler):
    reset(handler.request)
    raise Closed


def unavailable(handler):
    handler.say(503, b"ill")
    return True


def pair(gate, settings="", workers=1, more=""):
    """Two origins in turn; the first is ill."""
    ill, well = Origin(), Origin()
    ill.ill = resets
    g = gate(CONFIG, origin=ill.port, option="", workers=workers,
             upstream=f"server = 127.0.0.1:{well.port}\n{more}balance = round_robin\n"
                      f"retry_budget = off\nslow_start = off\n{settings}")
    return g, ill, well


def test_failures_in_a_row_eject_a_server_and_a_probe_lets_it_back(gate):
    for workers in (1, 4):
        g, ill, well = pair(gate, "eject_time = 2s\neject_error_rate = off", workers)
        same([g.get("/")[0] for _ in range(30)], [200] * 30)
        same(ill.requests, 5, "then it is left alone")
        time.sleep(2.2)
        same([g.get("/")[0] for _ in range(10)], [200] * 10)
        same(ill.requests, 6, "but for one probe")
        ill.ill = None
        time.sleep(2.2)
        same([g.get("/")[0] for _ in range(10)], [200] * 10)
        same(ill.requests, 6, "the second time is longer")
        time.sleep(2.2)
        same([g.get("/")[0] for _ in range(40)], [200] * 40)
        true(ill.requests >= 6 + (40 - workers) / 2, "and it has its share again, of each worker")
        true("is ejected for 2000 ms" in g.said() and "is back" in g.said(), g.said())
        g.stop()
        ill.end()
        well.end()


def test_one_success_breaks_the_row(gate):
    g, ill, well = pair(gate, "eject_error_rate = off\neject_failures = 3")
    ill.ill = lambda handler: ill.requests % 3 and unavailable(handler)
    for _ in range(60):
        g.get("/")
    same(ill.requests, 30)
    g.stop()
    ill.end()
    well.end()


def test_an_error_rate_ejects_a_server(gate):
    for limit, ejected in (("50%", True), ("60%", False), ("off", False)):
        g, ill, well = pair(gate, f"eject_error_rate = {limit}\neject_failures = off")
        ill.ill = lambda handler, ill=ill: ill.requests % 2 and unavailable(handler)
        for _ in range(80):
            g.get("/")
        same(ill.requests, 21 if ejected else 40, limit)
        g.stop()
        ill.end()
        well.end()


def test_a_lone_server_and_the_last_of_two_stay(gate):
    g, ill, well = pair(gate, "eject_time = 10m\ntries = 1")
    well.ill = resets
    for _ in range(40):
        same(g.get("/")[0], 502)
    same(sorted((ill.requests, well.requests))[0], 5)
    same(ill.requests + well.requests, 40)
    g.stop()
    g = gate(CONFIG, origin=ill.port, option="", workers=1, upstream="tries = 1")
    ill.requests = 0
    for _ in range(20):
        same(g.get("/")[0], 502)
    same(ill.requests, 20)
    g.stop()
    g = gate(CONFIG, origin=ill.port, option="", workers=1,
             upstream=f"server = 127.0.0.1:{well.port}\nmax_ejected = 100%\ntries = 1")
    for _ in range(40):
        g.get("/")
    same(g.get("/")[0], 503)
    g.stop()
    ill.end()
    well.end()


def test_ejections_survive_a_reload(gate):
    g, ill, well = pair(gate, "eject_time = 10m")
    for _ in range(20):
        same(g.get("/")[0], 200)
    g.signal(1)
    wait_for(lambda: "generation 2" in g.said())
    for _ in range(20):
        same(g.get("/")[0], 200)
    same(ill.requests, 5)
    g.stop()
    ill.end()
    well.end()


def test_retries_have_a_budget(gate):
    for budget, least, most in (("off", 100, 100), ("10%", 9, 11), ("0% min=10/s", 10, 20)):
        g, o = start(gate, f"retry_budget = {budget}")
        o.ill = resets
        began = time.monotonic()
        for _ in range(100):
            same(g.get("/")[0], 502)
        if "/s" in budget:
            most += 10 * (time.monotonic() - began)
        true(least <= o.requests - 100 <= most, f"{budget}: {o.requests - 100} retries")
        g.stop()
        o.end()


def unavailable_slowly(handler):
    """The head at once, the content later, and the request's content never."""
    handler.request.sendall(b"HTTP/1.1 503 X\r\nContent-Length: 3\r\n"
                            b"Connection: close\r\n\r\ni")
    time.sleep(0.05)
    handler.request.sendall(b"ll")
    raise Closed


def test_statuses_are_tried_on_another_server(gate):
    """Or the answer passes on as it came: when that is not safe, or there is nobody else."""
    for workers, ail in ((1, unavailable), (4, unavailable), (1, unavailable_slowly)):
        g, ill, well = pair(gate, "retry_on = 429, 502-504\neject_failures = off\n"
                                  "eject_error_rate = off", workers)
        ill.ill = ail
        same([g.get("/x")[0] for _ in range(10)], [200] * 10)
        true(ill.requests > 0, "it was asked first")
        for _ in range(4):  # the content that was sent is sent again
            status, _, content = g.get("/x", method="PUT", body=b"y" * 9000)
            same(status, 200)
            true(b"content 9000 " in content, content)
        answers = [g.get("/x", method="POST", body=b"y") for _ in range(8)]
        same({a[0] for a in answers}, {200, 503}, "a POST is not")
        same({a[2] for a in answers if a[0] == 503}, {b"ill"})
        ill.ill = lambda handler: handler.say(500, b"broken") or True
        same({g.get("/x")[0] for _ in range(8)}, {200, 500}, "others pass on")
        before = well.requests
        ill.ill = well.ill = ail
        same({g.get("/x")[0::2] for _ in range(8)}, {(503, b"ill")}, "the last answer passes on")
        same(well.requests - before, 8, "each was asked")
        g.stop()
        ill.end()
        well.end()


def test_a_status_is_not_tried_again_where_nobody_else_is(gate):
    for settings, more, option in (("", "", "backup"), ("tries = 1", "", ""),
                                   ("retry_budget = 0%", "", ""), ("retry_on = off", "", "")):
        ill, well = Origin(), Origin()
        ill.ill = unavailable
        second = "" if option else f"server = 127.0.0.1:{well.port}\n"
        g = gate(CONFIG, origin=ill.port, option="", workers=1,
                 upstream=f"{second}balance = round_robin\neject_failures = off\n"
                          f"eject_error_rate = off\n" +
                          (settings if "retry_on" in settings else f"retry_on = 503\n{settings}"))
        answers = [g.get("/x")[0::2] for _ in range(8)]
        same(answers.count((503, b"ill")), 4 if second else 8, settings)
        same(ill.requests, 4 if second else 8, settings)
        g.stop()
        ill.end()
        well.end()


def test_who_truncates_all_answers_fails_in_a_row(gate):
    g, ill, well = pair(gate, "eject_error_rate = off\neject_time = 10m")

    def truncates(handler):
        handler.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
        raise Closed
    ill.ill = truncates
    for _ in range(30):
        g.get("/")
    same(ill.requests, 5)
    g.stop()
    ill.end()
    well.end()


def test_limits_survive_a_reload(gate):
    g, o = start(gate, "max_in_flight = 1\nqueue = off")
    first = asks(g, "/hold/4000")
    wait_for(lambda: o.requests == 1)
    g.signal(1)
    wait_for(lambda: "generation 2" in g.said())
    same(g.get("/x")[0], 503, "the one of before is still in flight")
    same(read_response(first)[0], 200)
    same(g.get("/x")[0], 200)
    first.close()
    o.end()


if __name__ == "__main__":
    main([f for n, f in list(globals().items()) if n.startswith("test_")])
