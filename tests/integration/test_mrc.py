#!/usr/bin/env python3
"""The One Million Request Challenge: answers, exactness, and what outlives a process."""
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from fractions import Fraction

import golang
from harness import main, parse_response, same, true, wait_for

CONFIG = """
[server]
workers = {workers}
access_log = off
[listener a]
listen = 127.0.0.1:{port}
[module 1mrc]
enabled = yes
reset = yes
"""
KEPT = CONFIG + "state_file = {dir}/1mrc.state\nstate_interval = 200ms\n"


def event(g, content):
    if not isinstance(content, bytes):
        content = json.dumps(content, ensure_ascii=False).encode()
    return g.get("/event", method="POST", body=content)


def count(g, user, value):
    answer = event(g, {"userId": user, "value": value})
    same((answer[0], answer[2]), (200, b""))


def stats(g):
    answer = g.get("/stats")
    same(answer[0], 200)
    same(answer[1]["content-type"], "application/json")
    return json.loads(answer[2])


def pipelined(g, events, most=200):
    """Many events on a few connections, every answer checked."""
    for at in range(0, len(events), most):
        some = events[at:at + most]
        with g.connect() as s:
            for user, value in some:
                body = json.dumps({"userId": user, "value": value}).encode()
                s.sendall(b"POST /event HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s"
                          % (len(body), body))
            s.shutdown(socket.SHUT_WR)
            data = b""
            while piece := s.recv(1 << 16):
                data += piece
        same(data.count(b"HTTP/1.1 200 OK\r\n"), len(some))


def test_the_four_paths_answer(gate):
    g = gate(CONFIG, workers=2)
    same(stats(g), {"totalRequests": 0, "uniqueUsers": 0, "sum": 0, "avg": 0})
    status, fields, content = event(g, {"userId": "u1", "value": 3.5})
    same((status, fields["content-length"], content), (200, "0", b""))
    same(g.get("/stats")[2], b'{"totalRequests":1,"uniqueUsers":1,"sum":3.5,"avg":3.5}')
    same(g.get("/health")[0:3:2], (200, b'{"status":"ok"}'))
    same(g.get("/event")[0], 405)
    same(g.get("/event")[1]["allow"], "POST")
    same(g.get("/stats", method="POST")[0], 405)
    same(g.get("/reset", method="POST")[0], 200)
    same(stats(g)["totalRequests"], 0)
    same(g.get("/event/x", method="POST")[0], 404)


def test_what_is_no_event_is_refused_with_a_reason_and_not_counted(gate):
    g = gate(CONFIG, workers=2)
    for content, reason in (
            (b"", b"the content ends early"), (b"{}", b"userId is missing"),
            (b'{"userId":"a"}', b"value is missing"), (b'{"userId":"","value":1}', b"empty"),
            (b'{"userId":"a","value":1e999}', b"beyond"),
            (b'{"userId":"a","value":NaN}', b"not a number"),
            (b'{"userId":"a","userId":"b","value":1}', b"twice"),
            (b'{"userId":"\xff","value":1}', b"UTF-8"),
            (b'{"userId":"' + b"a" * 257 + b'","value":1}', b"too long")):
        status, fields, answer = event(g, content)
        same(status, 400, content)
        true(fields["content-type"].startswith("text/plain"))
        true(reason in answer and answer.count(b"\n") == 1, answer)
    same(event(g, b'{"userId":"a","value":1,"x":"' + b"x" * 5000 + b'"}')[0], 413)
    same(stats(g)["totalRequests"], 0)


def test_an_id_is_the_same_however_it_is_written(gate):
    g = gate(CONFIG, workers=3)
    for text in (b'"\xc3\xa9\xf0\x9f\x98\x80"', b'"\\u00e9\\ud83d\\ude00"', b'"\\u00E9\xf0\x9f\x98\x80"'):
        same(event(g, b'{"userId":' + text + b',"value":1}')[0], 200)
    same(stats(g), {"totalRequests": 3, "uniqueUsers": 1, "sum": 3, "avg": 1})


def test_content_in_pieces_and_chunks_counts(gate):
    g = gate(CONFIG, workers=1)
    body = b'{"userId":"u","value":2}'
    with g.connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"POST /event HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body:
            s.send(bytes([byte]))
        true(s.recv(1000).startswith(b"HTTP/1.1 200"))
        s.sendall(b"POST /event HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(0, len(body), 5):
            piece = body[i:i + 5]
            s.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        s.sendall(b"0\r\n\r\n")
        true(s.recv(1000).startswith(b"HTTP/1.1 200"))
    same(stats(g)["totalRequests"], 2)


def test_an_event_whose_content_does_not_come_costs_nothing(gate):
    g = gate(CONFIG, workers=1)
    with g.connect() as s, g.connect() as t:
        s.sendall(b"POST /event HTTP/1.1\r\nHost: a\r\nContent-Length: 26\r\n\r\n{")
        t.sendall(b"POST /event HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
        time.sleep(0.2)
        before = g.counted()["turns"]
        time.sleep(0.5)
        true(g.counted()["turns"] - before < 50, g.counted())


def test_the_sum_is_the_correctly_rounded_true_sum(gate):
    g = gate(CONFIG, workers=3)
    r = random.Random(7)
    values = [r.choice([1e300, -1e300, 1e16, -1e16, 0.1, 1e-300, 3.0]) * r.random() for _ in range(2000)]
    pipelined(g, [("u%d" % (i % 97), v) for i, v in enumerate(values)])
    got = stats(g)
    want = float(sum(map(Fraction, values), Fraction(0)))
    same(got["sum"], want)
    same(got["avg"], want / 2000)
    same(got["uniqueUsers"], 97)


def test_a_sum_beyond_doubles_is_null(gate):
    g = gate(CONFIG, workers=2)
    count(g, "a", 1.7e308)
    count(g, "b", 1.7e308)
    same(stats(g), {"totalRequests": 2, "uniqueUsers": 2, "sum": None, "avg": None,
                    "sumOverflow": True})
    count(g, "c", -1.7e308)
    same(stats(g)["sum"], 1.7e308)


def test_more_users_than_users_max_are_estimated_until_a_reset(gate):
    g = gate(CONFIG + "users_max = 1000\n", workers=3)
    pipelined(g, [("u%d" % i, 1) for i in range(1000)])
    same(stats(g), {"totalRequests": 1000, "uniqueUsers": 1000, "sum": 1000, "avg": 1})
    pipelined(g, [("u%d" % i, 1) for i in range(3000)])
    got = stats(g)
    same((got["totalRequests"], got["uniqueUsersExact"]), (4000, False))
    true(2850 <= got["uniqueUsers"] <= 3150, got)
    g.get("/reset", method="POST")
    count(g, "a", 1)
    same(stats(g), {"totalRequests": 1, "uniqueUsers": 1, "sum": 1, "avg": 1})


def test_no_answer_ever_misses_what_was_answered_before(gate):
    g = gate(CONFIG, workers=3)
    answered, wrong, stop = [0], [], threading.Event()

    def ask():
        while not stop.is_set():
            before = answered[0]
            got = stats(g)
            if got["totalRequests"] < before or got["uniqueUsers"] != got["totalRequests"]:
                wrong.append((before, got))

    asker = threading.Thread(target=ask)
    asker.start()
    for i in range(800):
        count(g, "u%d" % i, 1)
        answered[0] = i + 1
    stop.set()
    asker.join()
    same(wrong, [])
    same(stats(g)["uniqueUsers"], 800)


def test_counters_survive_a_reload(gate):
    g = gate(CONFIG, workers=2)
    pipelined(g, [("u%d" % i, 0.5) for i in range(500)])
    g.write(CONFIG + "users_max = 700\nstats_path = /told\n")
    g.signal(signal.SIGHUP)
    true(wait_for(lambda: g.get("/told")[0] == 200))
    got = json.loads(g.get("/told")[2])
    same(got, {"totalRequests": 500, "uniqueUsers": 500, "sum": 250, "avg": 0.5})
    pipelined(g, [("v%d" % i, 0.5) for i in range(300)])
    same(json.loads(g.get("/told")[2])["uniqueUsersExact"], False)


def test_the_state_file_brings_all_back_into_any_number_of_workers(gate):
    g = gate(KEPT, workers=3)
    pipelined(g, [("u%d" % i, 0.1) for i in range(3000)])
    before = stats(g)
    for workers in (1, 4, 2):
        same(g.stop(), 0)
        g.names["workers"] = workers
        g.write(KEPT)
        g.start()
        same(stats(g), before)
        pipelined(g, [("u%d" % i, 0.1) for i in range(1000)])
        before = stats(g)
        same(before["uniqueUsers"], 3000)
    same(before["sum"], float(6000 * Fraction(0.1)))


def test_an_estimate_survives_a_restart(gate):
    g = gate(KEPT + "users_max = 10\n", workers=2)
    pipelined(g, [("u%d" % i, 1) for i in range(2000)])
    before = stats(g)
    same(before["uniqueUsersExact"], False)
    same(g.stop(), 0)
    g.names["workers"] = 3
    g.write(KEPT + "users_max = 10\n")
    g.start()
    same(stats(g), before)


def test_kill_9_loses_at_most_what_came_since_the_last_write(gate):
    g = gate(KEPT, workers=2)
    path = os.path.join(g.dir, "1mrc.state")
    pipelined(g, [("u%d" % i, 1) for i in range(500)])
    size = 48 + 4 * 68 + 8 + 8 + 16 * 500
    true(wait_for(lambda: os.path.exists(path) and os.path.getsize(path) == size))
    g.process.kill()
    g.process.wait()
    g.start()
    # A dying ring may hold the old socket a little longer, and connects.
    true(wait_for(lambda: g.said().count("notice: serving") == 2), g.said())
    same(stats(g)["uniqueUsers"], 500)


def counted_once(gate):
    """A gateway that has ended; the file of its count, and what is in it."""
    g = gate(KEPT, workers=2)
    count(g, "a", 1)
    same(g.stop(), 0)
    path = os.path.join(g.dir, "1mrc.state")
    with open(path, "rb") as f:
        whole = f.read()
    return g, path, whole


def test_a_torn_state_file_is_refused_and_stays(gate):
    g, path, whole = counted_once(gate)
    for torn, why in ((whole[:-1], "is cut off"), (whole[:-1] + b"x", "is damaged"), (b"", "is no state")):
        with open(path, "wb") as f:
            f.write(torn)
        g.start(wait=False)
        same(g.process.wait(10), 1)
        true(why in g.said() and path in g.said(), g.said())
        with open(path, "rb") as f:
            same(f.read(), torn)


def reload(g, config, outcome):
    """What SIGHUP led to, which this word tells."""
    before = len(g.said())
    g.write(config)
    g.signal(signal.SIGHUP)
    true(wait_for(lambda: outcome in g.said()[before:]), g.said()[before:])
    return g.said()[before:]


def test_the_state_file_of_a_module_that_is_off_is_left_alone(gate):
    g, path, whole = counted_once(gate)
    off = KEPT.replace("enabled = yes", "enabled = no")
    for content, why in ((whole[:-1], "is cut off; move it away to begin anew"),
                         (whole, "holds another count; a restart goes on from it, or move it away")):
        with open(path, "wb") as f:
            f.write(content)
        g.write(off)
        g.start()
        true(f"error: state_file: {path}: {why}" in reload(g, KEPT, "was not reloaded"), g.said())
        same(g.get("/stats")[0], 404)
        same(g.stop(), 0)
        with open(path, "rb") as f:
            same(f.read(), content, "a reload does not write over it")
    g.start()
    same(stats(g)["totalRequests"], 1)
    count(g, "b", 1)
    reload(g, off, "reloaded")
    true(wait_for(lambda: g.get("/stats")[0] == 404))
    same(g.stop(), 0)
    g.write(KEPT)
    g.start()
    same(stats(g)["totalRequests"], 2, "what was counted before it was switched off is kept")


def test_a_reload_spares_the_file_of_another_count(gate):
    """It may name no file, a new one, and again one that it has written itself."""
    g, path, _ = counted_once(gate)
    other, fresh = path + ".other", path + ".fresh"
    os.rename(path, other)
    with open(other, "rb") as f:
        precious = f.read()
    g.start()
    count(g, "b", 1)
    true(wait_for(lambda: os.path.exists(path)))
    said = reload(g, KEPT.replace("1mrc.state", "1mrc.state.other"), "was not reloaded")
    true(f"error: state_file: {other}: holds another count" in said, said)
    said = reload(g, KEPT.replace("1mrc.state", "none/state"), "was not reloaded")
    true("none/state: its folder: not found" in said, said)
    count(g, "b", 1)
    reload(g, KEPT.replace("1mrc.state", "1mrc.state.fresh"), "notice: reloaded")
    true(wait_for(lambda: os.path.exists(fresh)))
    reload(g, KEPT.replace("state_file", "#state_file"), "notice: reloaded")
    count(g, "b", 1)
    reload(g, KEPT, "notice: reloaded")
    same(g.stop(), 0)
    with open(other, "rb") as f:
        same(f.read(), precious)
    g.start()
    same(stats(g)["totalRequests"], 3)


def test_a_state_file_is_a_file(gate):
    g = gate(KEPT, workers=2)
    same(g.stop(), 0)
    path = os.path.join(g.dir, "1mrc.state")
    for n, make in enumerate((os.mkfifo, os.mkdir), 1):
        if os.path.isfile(path):
            os.unlink(path)
        make(path)
        g.start(wait=False)
        same(g.process.wait(5), 1)
        same(g.said().count(f"{path}: not a regular file"), n)
        os.rename(path, f"{path}.{n}")


def test_a_state_file_that_cannot_be_written_is_said_once(gate):
    g = gate(CONFIG + "state_file = {dir}/none/1mrc.state\nstate_interval = 100ms\n", workers=2,
             wait=False)
    same(g.process.wait(10), 1)
    true("none/1mrc.state: its folder: not found" in g.said(), g.said())
    os.mkdir(os.path.join(g.dir, "none"))
    g.start()
    os.rename(os.path.join(g.dir, "none"), os.path.join(g.dir, "gone"))
    count(g, "a", 1)
    true(wait_for(lambda: "cannot be written" in g.said()))
    time.sleep(0.5)
    same(g.said().count("cannot be written"), 1)
    os.rename(os.path.join(g.dir, "gone"), os.path.join(g.dir, "none"))
    true(wait_for(lambda: "is written again" in g.said()))
    same(stats(g)["totalRequests"], 1)


def test_a_state_that_cannot_be_written_at_the_end_is_a_failure(gate):
    g = gate(KEPT.replace("200ms", "1h"), workers=2)
    path = os.path.join(g.dir, "1mrc.state")
    count(g, "a", 1)
    same(g.stop(), 0)
    g.start()
    count(g, "a", 1)
    os.symlink("/dev/full", path + ".new")
    same(g.stop(), 1)
    true(f"error: 1mrc: state_file {path} cannot be written: no space left" in g.said(), g.said())
    true(not os.path.lexists(path + ".new"), "what was begun is removed")
    g.start()
    same(stats(g)["totalRequests"], 1, "the old file has stayed")


def test_stats_are_answered_while_draining(gate):
    g = gate(CONFIG, workers=4)
    count(g, "a", 1)
    with g.connect() as s:
        s.sendall(b"GET /stats HTTP/1.1\r\nHost: a\r\n")
        time.sleep(0.2)
        g.signal(signal.SIGTERM)
        time.sleep(0.5)
        s.sendall(b"\r\n")
        answer = parse_response(s.recv(10000))
    same((answer[0], json.loads(answer[2])["totalRequests"]), (200, 1))
    same(g.process.wait(10), 0)


def test_gos_own_client_keeps_its_connections(gate):
    program = golang.program("events")
    g = gate(CONFIG, workers=2)
    n, connections = (500000, 1000) if "HG_LONG" in os.environ else (10000, 200)
    done = subprocess.run([program, f"http://127.0.0.1:{g.port}", str(n), str(connections)],
                          capture_output=True, timeout=120, check=True)
    said = json.loads(done.stdout)
    same((said["answered"], said["failed"]), (n, 0))
    # A connection whose writer Go has not scheduled 50 ms after the answer it gives up itself, on busy
    # processors not seldom; where an answer promises more than its head, it gives up every one.
    true(said["dialled"] <= connections + n // 20, f"{said['dialled']} connections")
    counted = stats(g)
    same((counted["totalRequests"], counted["uniqueUsers"], counted["sum"]),
         (n, min(n, 75000), sum(i % 1000 + 0.5 for i in range(n))))


if __name__ == "__main__":
    main([f for n, f in list(globals().items()) if n.startswith("test_")])
