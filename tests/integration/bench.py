#!/usr/bin/env python3
"""headgate-bench sends what it says, and notices what a server does wrong.

Against a small server that misbehaves to order (bench_server.py), so that
nothing else of headgate is needed.
"""
import json
import os
import signal
import socket
import subprocess
import sys
import time

SRC = os.environ.get("HG_SRCDIR", ".")
BUILD = os.environ.get("HG_BUILDDIR", ".")
BENCH = os.path.join(BUILD, "headgate-bench")
SERVER = os.path.join(SRC, "tests/integration/bench_server.py")
count = 0


def result(ok, name, detail=""):
    global count
    count += 1
    print(f"{'ok' if ok else 'not ok'} {count} - {name}", flush=True)
    if not ok and detail:
        print("# " + str(detail).replace("\n", "\n# "), flush=True)


class Server:
    def __init__(self, *faults):
        self.process = subprocess.Popen([sys.executable, SERVER, *faults], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.url = f"http://localhost:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


class Run:
    """One run of headgate-bench: exit code and the JSON it printed."""

    def __init__(self, *args):
        done = subprocess.run([BENCH, *args, "--json"], capture_output=True, text=True, timeout=120,
                              check=False)
        self.code, self.err = done.returncode, done.stderr
        self.json = json.loads(done.stdout) if done.stdout else {}
        self.errors = self.json.get("errors", {})
        self.verdict = self.json.get("verdict", {})

    def __str__(self):
        return f"exit {self.code} {json.dumps(self.json)} {self.err}"


def mrc(server, *args, n=3000, c=20):
    return Run("1mrc", server.url, "-n", str(n), "-c", str(c), "--users", "500", *args)


def exact(run, n=3000, users=500):
    v = run.verdict
    return (run.code == 0 and run.json["ok"] and not run.errors and v["ok"] and
            v["total"]["found"] == n and v["users"]["found"] == users and
            v["sum"]["found"] == n // 1000 * 500000 and run.json["latency_us"]["count"] == n)


def a_right_server():
    with Server() as server:
        run = mrc(server)
        result(exact(run) and run.verdict["from_zero"] and run.json["prefix"] == "user_",
               "a server that counts right is found exact", run)
        again = mrc(server, "--pipeline", "16")
        result(exact(again) and not again.verdict["from_zero"] and again.json["prefix"] != "user_",
               "a second run on the same server is judged by difference, pipelined too", again)
        third = mrc(server, "--clients", "4", "-t", "2")
        result(exact(third) and third.json["threads"] == 8,
               "four clients of two threads are judged once, and together send the events once",
               third)
        same = mrc(server, "--prefix", third.json["prefix"])
        result(same.code == 1 and same.verdict["users"]["found"] == 0 and
               same.verdict["total"]["ok"], "users that were known already are not new", same)
        ended = Run("1mrc", server.url + "/base/", "-n", "1000", "-c", "3", "--no-verify")
        result(ended.code == 0 and not ended.verdict and ended.json["good"] == 1000,
               "without verification all answered is enough, below a base path too", ended)


def answers_in_every_shape():
    for fault in ("chunked", "pieces", "interim", "until_close"):
        with Server(fault) as server:
            run = mrc(server, n=1000)
            result(exact(run, n=1000), f"answers are read whatever their shape: {fault}", run)


def closing_is_no_error():
    with Server("close_after=7") as server:
        run = mrc(server)
        result(exact(run) and run.json["reconnects"] >= 400,
               "Connection: close means a new connection, nothing is lost", run)
    with Server("close_after=7") as server:
        run = mrc(server, "--pipeline", "16")
        result(exact(run), "requests behind Connection: close are sent again, once", run)


def losses_are_errors():
    for fault, kind in (("drop_after=7", "closed_early"), ("reset_after=7", "reset"),
                        ("garbage", "bad_response")):
        with Server(fault) as server:
            run = mrc(server, n=700)
            lost = run.errors.get(kind, 0)
            result(run.code == 1 and lost > 0 and run.errors == {kind: lost} and
                   run.json["answered"] + lost == 700, f"{fault} is {kind}, each request once", run)
    for status, kind in ((400, "status_4xx"), (503, "status_5xx"), (302, "status_3xx"),
                         (204, "status_2xx")):
        with Server(f"status={status}") as server:
            run = mrc(server, n=100)
            result(run.code == 1 and run.errors == {kind: 100}, f"status {status} is {kind}", run)
    with Server("mute_after=5") as server:
        run = Run("1mrc", server.url, "-n", "12", "-c", "2", "--timeout", "300ms", "--no-verify")
        result(run.code == 1 and run.errors == {"timeout": 2} and run.json["answered"] == 10,
               "an answer that does not come is a timeout", run)


def wrong_counts_are_found():
    for fault, wrong in (("lose=1000", {"total", "sum"}), ("double=1000", {"total", "sum"}),
                         ("forget_users", {"users"}), ("ulp", {"sum"})):
        with Server(fault) as server:
            run = mrc(server)
            found = {k for k in ("total", "users", "sum", "avg") if not run.verdict[k]["ok"]}
            result(run.code == 1 and not run.errors and wrong <= found,
                   f"{fault} is a wrong {' and '.join(sorted(wrong))}", run)


def nobody_there():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    run = Run("1mrc", f"http://127.0.0.1:{port}", "-n", "10", "-c", "1")
    result(run.code == 1 and "refused" in run.err, "a server that is not there is said to refuse",
           run)
    run = Run("1mrc", "http://no-such-host.invalid", "-n", "10", "-c", "1")
    result(run.code == 1 and "no-such-host.invalid" in run.err, "an unknown name is named", run)
    run = Run("1mrc", "ftp://x")
    result(run.code == 2 and "usage" in run.err, "a bad command line is exit code 2", run)


def server_goes_away():
    with Server("stall=500") as server:
        bench = subprocess.Popen([BENCH, "1mrc", server.url, "-n", "100000", "-c", "10", "--json",
                                  "--no-verify"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(0.3)
        server.process.kill()
        out, _ = bench.communicate(timeout=60)
        run = json.loads(out)
        errors = run["errors"]
        result(bench.returncode == 1 and errors.get("connect_refused", 0) > 0 and
               errors.get("unsent", 0) > 0 and
               run["answered"] + errors["unsent"] + errors.get("reset", 0) +
               errors.get("closed_early", 0) == 100000,
               "a server that dies ends the run, and every event is accounted for", out)


def interrupted():
    with Server() as server:
        bench = subprocess.Popen([BENCH, "1mrc", server.url, "-n", "10000000", "-c", "10", "--json"],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)
        bench.send_signal(signal.SIGINT)
        out, _ = bench.communicate(timeout=30)
        run = json.loads(out)
        result(bench.returncode == 1 and run["interrupted"] and run["answered"] > 0 and
               not run["errors"], "SIGINT ends a run in order, with what there is so far", out)


def open_loop():
    with Server() as server:
        run = Run("load", server.url + "/health", "--rate", "200", "-d", "2s", "-c", "10",
                  "--slo", "p50<1s,max<10s")
        result(run.code == 0 and run.json["answered"] == 400 and run.json["good"] == 400 and
               1.9 < run.json["seconds"] < 4 and all(s["ok"] for s in run.json["slo"]),
               "a rate is kept for a duration", run)
        run = Run("load", server.url + "/health", "--rate", "500", "-n", "100", "--slo", "p50<1us")
        result(run.code == 1 and not run.errors and not run.json["slo"][0]["ok"],
               "a missed SLO is exit code 1", run)
        run = Run("load", server.url + "/none", "--rate", "500", "-n", "50")
        result(run.code == 1 and run.errors == {"status_4xx": 50}, "an error is exit code 1", run)
        run = Run("load", server.url + "/health", "--rate", "500", "-n", "50", "-X", "HEAD", "-t",
                  "3", "-c", "3")
        result(run.code == 0 and run.json["good"] == 50, "HEAD has no content to wait for", run)
        run = Run("load", server.url + "/event", "--rate", "500", "-n", "50", "-X", "POST",
                  "--body", '{"userId":"a_1","value":1}', "-H", "Content-Type: application/json")
        result(run.code == 0 and run.json["good"] == 50, "content is sent", run)


def closed_loop():
    with Server() as server:
        begin = time.monotonic()
        run = Run("load", server.url + "/health", "--rate", "max", "-d", "1s", "-c", "5")
        result(run.code == 0 and run.json["good"] == run.json["planned"] > 100 and
               run.json["rate"] is None and run.json["late_us"]["count"] == 0 and
               0.9 < run.json["seconds"] < 3 and time.monotonic() - begin < 10,
               "at the rate max it asks for as long as it is told", run)
        run = Run("load", server.url + "/health", "--rate", "max", "-n", "1000", "-c", "4", "-t",
                  "2", "--pipeline", "16")
        result(run.code == 0 and run.json["good"] == 1000 and run.json["planned"] == 1000,
               "or so often, pipelined too", run)
    with Server("close_after=7") as server:
        run = Run("load", server.url + "/health", "--rate", "max", "-n", "300", "-c", "3")
        result(run.code == 0 and run.json["good"] == 300 and run.json["reconnects"] >= 40,
               "connections that end are opened again", run)
        bar = subprocess.run([BENCH, "load", server.url + "/health", "--rate", "max", "-d",
                              "2500ms"], capture_output=True, text=True, timeout=60, check=False)
        lines = bar.stderr.splitlines()
        result(len(lines) >= 2 and "ETA" in lines[0] and " of " not in lines[0],
               "progress is then a matter of time", bar.stderr)
    with Server() as server:
        run = Run("load", server.url + "/health", "--rate", "max", "-n", "100", "-c", "3", "--close")
        result(run.code == 0 and run.json["good"] == 100 and run.json["connects"] >= 100,
               "a connection for each request, when told so", run)
    with Server("mute_after=5") as server:
        run = Run("load", server.url + "/health", "--rate", "max", "-d", "500ms", "-c", "2",
                  "--timeout", "300ms")
        result(run.code == 1 and run.errors.get("timeout", 0) >= 2 and
               run.json["answered"] + run.errors["timeout"] == run.json["planned"],
               "an answer that does not come is a timeout there too", run)


def no_coordinated_omission():
    # One connection, 200 requests a second, and the server sleeps 1 s once:
    # some 200 requests should have been sent meanwhile and have waited half a
    # second on average.  A closed loop would have seen one slow request.
    with Server("stall=1000") as server:
        run = Run("load", server.url + "/health", "--rate", "200", "-d", "2s", "-c", "1")
        slow = run.json["latency_us"]
        result(run.code == 0 and run.json["answered"] == 400 and slow["max"] >= 950000 and
               slow["p90"] >= 600000 and run.json["late_us"]["p90"] >= 500000,
               "latency counts from when each request should have been sent", run)


def progress_is_told():
    with Server() as server:
        done = subprocess.run([BENCH, "load", server.url + "/health", "--rate", "100", "-d", "2500ms"],
                              capture_output=True, text=True, timeout=60, check=False)
        lines = done.stderr.splitlines()
        result(len(lines) >= 2 and all("/s" in line and "\r" not in line for line in lines) and
               "ETA" in lines[0], "away from a terminal progress is plain lines", done.stderr)
        quiet = subprocess.run([BENCH, "load", server.url + "/health", "--rate", "100", "-d",
                                "1500ms", "-q"], capture_output=True, text=True, timeout=60,
                               check=False)
        result(quiet.stderr == "" and "verdict   fine" in quiet.stdout,
               "-q says nothing before the end", quiet.stderr)
        import pty
        main, terminal = pty.openpty()
        bar = subprocess.Popen([BENCH, "load", server.url + "/health", "--rate", "100", "-d",
                                "1500ms"], stdout=subprocess.PIPE, stderr=terminal)
        os.close(terminal)
        bar.communicate(timeout=60)
        shown = os.read(main, 65536).decode()
        os.close(main)
        result("\r[" in shown and "#" in shown and "ETA" in shown and "\x1b[K" in shown,
               "on a terminal progress is a bar", repr(shown))


for test in (a_right_server, answers_in_every_shape, closing_is_no_error, losses_are_errors,
             wrong_counts_are_found, nobody_there, server_goes_away, interrupted, open_loop,
             closed_loop,
             no_coordinated_omission, progress_is_told):
    try:
        test()
    except Exception as e:  # pylint: disable=broad-except
        result(False, test.__name__, repr(e))
print(f"1..{count}")
