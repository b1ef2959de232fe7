"""What is asked of a server, by whom, and what came of it."""
import contextlib
import json
import os
import re
import resource
import select
import socket
import sys
import time
from dataclasses import dataclass, field

import secure
from process import Trouble, core_busy_us, cpu_us, rss_bytes, run, tree

CONNECTIONS = 64
H2_CONNECTIONS, H2_STREAMS = 16, 32
IDLE, IDLE_TLS = 10000, 2000
SECURE_PEERS = "best of h2o haproxy nginx"
WRK = """
local n = %d
%s
function done(s, latency)
  local e = s.errors
  io.write(string.format('\\nJSON {"requests":%%d,"seconds":%%.4f,"p50_us":%%d,"p99_us":%%d,' ..
    '"errors":%%d}\\n', s.requests, s.duration / 1e6, latency:percentile(50),
    latency:percentile(99), e.status + e.connect + e.read + e.write + e.timeout))
end
"""
PIPELINE = """
local all
function init() all = string.rep(wrk.format("GET"), n) end
function request() return all end
"""


@dataclass
class Scenario:
    name: str
    title: str
    path: str
    length: int
    kind: str = "get"
    forward: bool = False
    unix: bool = False
    tls: bool = False
    beside: str = ""  # the scenario in which headgate is asked too, to compare itself with
    bars: list = field(default_factory=list)  # (against whom, at most)


SCENARIOS = [
    Scenario("static", "13 B", "/", 13, bars=[("floor", 1.10), ("nginx", 0.92)]),
    Scenario("pipeline", "13 B, 16 requests at a time", "/", 13, "pipeline",
             bars=[("µs", 0.50)]),  # or a tenth of nginx's
    Scenario("file1k", "file of 1 KiB", "/f1k", 1024,
             bars=[("best of h2o lighttpd nginx", 0.92)]),
    Scenario("file100k", "file of 100 KiB", "/f100k", 102400,
             bars=[("best of h2o lighttpd nginx", 1.0)]),
    Scenario("event", "an event of the 1MRC", "/event", None, "event", beside="static",
             bars=[("own static", 1.10)]),
    Scenario("event_pipeline", "events of the 1MRC, 16 at a time", "/event", None,
             "event_pipeline", beside="pipeline", bars=[("µs", 0.70)]),
    Scenario("forward", "forward 13 B", "/", 13, forward=True,
             bars=[("floor", 1.15), ("best of haproxy nginx", 0.80)]),
    Scenario("post", "forward a POST of 1 KiB", "/", 13, "post", forward=True,
             bars=[("floor", 1.15), ("best of haproxy nginx", 0.80)]),
    Scenario("forward10k", "forward 10 KiB", "/f10k", 10240, forward=True,
             bars=[("floor", 1.15), ("best of haproxy nginx", 0.80)]),
    Scenario("forward1m", "forward 1 MiB", "/f1m", 1 << 20, forward=True,
             bars=[("haproxy", 1.0)]),
    Scenario("unix", "forward 13 B to a unix socket", "/", 13, forward=True, unix=True,
             beside="forward", bars=[("own forward", 0.80)]),
    Scenario("close", "a connection for each request", "/", 13, "close", bars=[("nginx", 0.85)]),
    Scenario("idle", "idle connections", "/", 13, "idle", bars=[("B", 300)]),
    Scenario("tls", "TLS 1.3, 13 B", "/", 13, "h2load", tls=True, bars=[(SECURE_PEERS, 0.95)]),
    Scenario("tls_full", "full TLS handshakes", "/", 13, "full", tls=True,
             bars=[(SECURE_PEERS, 1.0)]),
    Scenario("tls_resumed", "resumed TLS handshakes", "/", 13, "resumed", tls=True,
             bars=[(SECURE_PEERS, 1.0)]),
    Scenario("h2", "HTTP/2 over TLS, 16 x 32", "/", 13, "h2load", tls=True, bars=[("h2o", 1.0)]),
    Scenario("tls_idle", "idle TLS connections", "/", 13, "idle", tls=True,
             bars=[(SECURE_PEERS, 1.0)]),
]
FILES = {"index.html": 13, "f1k": 1024, "f10k": 10240, "f100k": 102400, "f1m": 1 << 20}


def files_make(folder):
    os.mkdir(folder)
    for name, size in FILES.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write((b"Hello, World!" * (size // 13 + 1))[:size])


def ask(port, path, method="GET", tls=False):
    """The status and the content's length, on a connection of its own."""
    with secure.connect(port, 5) if tls else socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        text = b""
        while True:
            head, end, content = text.partition(b"\r\n\r\n")
            length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
            if end and length and len(content) >= int(length[1]):
                return int(head.split()[1]), len(content)
            more = s.recv(1 << 20)
            if not more:
                raise Trouble("the answer ends early")
            text += more


class Meter:
    """What the server and its core use between two moments."""

    def __init__(self, pids, core):
        self.pids, self.core = pids, core
        self.begin()

    def read(self):
        return cpu_us(self.pids), core_busy_us(self.core)

    def begin(self):
        self.before, self.after = self.read(), None

    def end(self):
        self.after = self.after or self.read()

    def used(self):
        self.end()
        return [after - before for before, after in zip(self.before, self.after)]


class Load:
    """A generator on its core, and the files it needs."""

    def __init__(self, folder, core, bench, wrk):
        self.folder, self.core, self.program = folder, core, bench
        self.requests = self.wrk if wrk else self.bench

    def wrk(self, scenario, port, seconds):
        extra = ""
        n = 16
        if scenario.kind == "pipeline":
            extra = PIPELINE
        elif scenario.kind == "post":
            extra = 'wrk.method, wrk.body = "POST", string.rep("x", 1024)'
        elif scenario.kind == "close":
            extra = 'wrk.headers["Connection"] = "close"'
        script = os.path.join(self.folder, "wrk.lua")
        with open(script, "w") as f:
            f.write(WRK % (n, 'wrk.headers["Host"] = "localhost"\n' + extra))
        argv = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--timeout",
                "10s", "-s", script, f"http://127.0.0.1:{port}{scenario.path}"]
        code, out, used = run(argv, self.core, seconds * 4 + 30)
        found = re.search(r"JSON (\{.*\})", out)
        if code != 0 or not found:
            raise Trouble(f"wrk: {out[-300:]}")
        return dict(json.loads(found[1]), load_cpu_us=used)

    def bench(self, scenario, port, seconds):
        more = {"pipeline": ["--pipeline", "16"], "close": ["--close"],
                "post": ["-X", "POST", "--body", "x" * 1024]}
        return self.report(["load", f"http://127.0.0.1:{port}{scenario.path}", "--rate", "max",
                            "-d", f"{seconds * 1000:.0f}ms", *more.get(scenario.kind, [])])

    def events(self, scenario, port, seconds):
        pipelined = scenario.kind == "event_pipeline"
        count = int(seconds * (500000 if pipelined else 75000))
        return self.report(["1mrc", f"http://127.0.0.1:{port}", "-n", str(count),
                            *(["--pipeline", "16"] if pipelined else [])])

    def report(self, words):
        argv = [self.program, *words, "-c", str(CONNECTIONS), "--json", "-q"]
        code, out, used = run(argv, self.core, 240)
        if code not in (0, 1) or "{" not in out:
            raise Trouble(f"headgate-bench: {out[-300:]}")
        report = json.loads(out[out.index("{"):])
        return {"requests": report["answered"], "seconds": report["seconds"],
                "p50_us": report["latency_us"]["p50"], "p99_us": report["latency_us"]["p99"],
                "errors": report["error_count"] + (not report["ok"]), "load_cpu_us": used}

    def marked(self, argv, seconds, meter, begin, end):
        """A generator that says when what counts begins and ends: connecting does not."""
        def line(text):
            if begin in text:
                meter.begin()
            elif end in text:
                meter.end()
        code, out, used = run(argv, self.core, seconds * 4 + 60, each_line=line,
                              env=secure.client_environment(self.folder))
        if code != 0:
            raise Trouble(f"{os.path.basename(argv[0])}: {out[-300:]}")
        return out, used

    def h2load(self, scenario, port, seconds, meter):
        """HTTP/2, or HTTP/1.1 over TLS."""
        how = ["-c", str(CONNECTIONS), "--h1"]
        if scenario.name == "h2":
            how = ["-c", str(H2_CONNECTIONS), "-m", str(H2_STREAMS)]
        out, used = self.marked(
            ["h2load", "-t1", *how, "-D", f"{seconds * 1000:.0f}ms", "--warm-up-time=300ms",
             f"--tls13-ciphers={secure.CIPHER}", f"--groups={secure.GROUP}",
             f"https://127.0.0.1:{port}{scenario.path}"], seconds, meter,
            "Main benchmark duration is started", "Main benchmark duration is over")
        took = re.search(r"finished in ([\d.]+)(m?s)", out)
        found = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", out)
        if not took or not found:
            raise Trouble(f"h2load: {out[-300:]}")
        return {"requests": int(found[2]), "errors": int(found[3]),
                "seconds": float(took[1]) / (1000 if took[2] == "ms" else 1), "load_cpu_us": used}

    def handshakes(self, scenario, port, seconds, meter):
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "handshakes.py")
        out, used = self.marked([sys.executable, "-B", program, str(port), f"{seconds:g}", scenario.kind],
                                seconds, meter, "begin", "end")
        return dict(json.loads(out[out.index("{"):]), load_cpu_us=used)

    def put(self, scenario, port, seconds, meter):
        if scenario.kind == "h2load":
            return self.h2load(scenario, port, seconds, meter)
        if scenario.kind in ("full", "resumed"):
            return self.handshakes(scenario, port, seconds, meter)
        put = self.events if "event" in scenario.kind else self.requests
        return put(scenario, port, seconds)


def warm(load, scenario, server, core, port, seconds):
    """Is the answer right?  Then asks for a while."""
    if scenario.length is not None:
        status, length = ask(port, scenario.path, tls=scenario.tls)
        if status != 200 or length != scenario.length:
            raise Trouble(f"answers {status} with {length} bytes")
    load.put(scenario, port, min(seconds, 1), Meter(tree(server.pid), core))


def measure(load, scenario, server, core, port, seconds):
    """CPU of the server, per request."""
    pids = tree(server.pid)
    meter = Meter(pids, core)
    result = load.put(scenario, port, seconds, meter)
    used, all_used = meter.used()
    if server.process.poll() is not None:
        raise Trouble(f"ended under the load: {server.said()}")
    n = max(1, result["requests"])
    return dict(result, us=used / n, core=used / result["seconds"] / 1e6,
                foreign=max(0, all_used - used) / result["seconds"] / 1e6,
                load_us=result["load_cpu_us"] / n, rss=rss_bytes(pids))


def connections_open(port, count, tls=False):
    """Each has had an answer.  Returns those that stand."""
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    done = []
    while tls and len(done) < count:
        done.append(secure.idle_connection(port, request))
    while len(done) < count:
        batch = []
        for _ in range(min(100, count - len(done))):
            s = socket.create_connection(("127.0.0.1", port), 10)
            s.sendall(request)
            batch.append(s)
        for s in batch:
            s.settimeout(10)
            if not s.recv(4096):
                raise Trouble(f"closes after {len(done)} connections")
        done += batch
    return done


def measure_idle(scenario, server, port, seconds):
    """Memory of a connection that waits, and what waiting costs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    count = min(IDLE_TLS if scenario.tls else IDLE, soft - 200)
    for s in connections_open(port, 200, scenario.tls):
        s.close()
    # The first ones warm up what there is for all: buffers, rings, the program itself.
    standing = connections_open(port, count // 5, scenario.tls)
    time.sleep(0.3)
    before, more = rss_bytes(tree(server.pid)), count - len(standing)
    standing += connections_open(port, more, scenario.tls)
    try:
        time.sleep(1)
        pids = tree(server.pid)
        after, cpu, begin = rss_bytes(pids), cpu_us(pids), time.monotonic()
        time.sleep(seconds)
        used, took = cpu_us(pids) - cpu, time.monotonic() - begin
        gone = len([s for s in standing if readable(s)])
    finally:
        for s in standing:
            s.close()
    return {"bytes": (after - before) / more, "connections": count, "errors": gone,
            "idle_cpu": used / took / 1e6}


def readable(s):
    poll = select.poll()
    poll.register(s, select.POLLIN)
    return bool(poll.poll(0))
