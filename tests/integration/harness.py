"""What the integration tests share: a gateway on free ports, raw HTTP, TAP.

A test is a function test_what_it_promises(gate_of_engine).  Every test runs on
each engine that can run here; HG_ENGINES names others.
"""
import concurrent.futures
import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

BUILD = os.path.abspath(os.environ.get("HG_BUILDDIR", "."))
SOURCE = os.path.abspath(os.environ.get("HG_SRCDIR", "."))
HEADGATE = os.path.join(BUILD, "headgate")
BENCH = os.path.join(BUILD, "headgate-bench")


def needs_its_own_memory():
    """Sanitizers keep what is freed, map terabytes, and want to be looked into."""
    with open(HEADGATE, "rb") as f:
        text = f.read()
    if b"__asan_init" in text or b"__tsan_init" in text:
        raise Skip("built with sanitizers")


RANGE = 200


def own_ports():
    """Ports that no other process of tests has, in turn: whoever holds the first of a range has it.
    Below those that the kernel gives to clients: one of them could take it before us."""
    firsts = list(range(15000, 32000, RANGE))
    random.shuffle(firsts)
    for first in firsts:
        with socket.socket() as holder:
            try:
                holder.bind(("127.0.0.1", first))
            except OSError:
                continue
            while True:
                yield from range(first + 1, first + RANGE)


ports, choosing = own_ports(), threading.Lock()


def free_port():
    """Nobody listens there, and nobody else is told of it soon."""
    with choosing:
        for port in ports:
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    s.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    pass
    raise AssertionError("all ranges of ports are taken")


def wait_for(what, seconds=10.0, step=0.02):
    """Calls what() until it is true; returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value or time.monotonic() > end:
            return value
        time.sleep(step)


def listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Gateway:
    """A headgate process.  Its configuration may say {port}, {port2}, {dir} and
    whatever else is passed by name."""

    def __init__(self, config, engine="auto", env=None, limit_files=None, wait=True, **names):
        self.dir = tempfile.mkdtemp(prefix="gate.", dir=BUILD)
        self.port, self.port2 = free_port(), free_port()
        self.engine = engine
        self.names = dict(names, port=self.port, port2=self.port2, dir=self.dir, engine=engine)
        self.ini = os.path.join(self.dir, "headgate.ini")
        self.error_log = os.path.join(self.dir, "error.log")
        self.write(config)
        self.env = dict(os.environ, **(env or {}))
        self.limit_files = limit_files
        self.process = None
        self.start(wait)

    def write(self, config):
        text = config
        for name, value in self.names.items():
            text = text.replace("{" + name + "}", str(value))
        if "engine =" not in text:
            text = text.replace("[server]\n", f"[server]\nengine = {self.engine}\n", 1)
        with open(self.ini, "w") as f:
            f.write(text)

    def start(self, wait=True):
        def lower():
            import resource
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.limit_files, self.limit_files))
        before = self.serving()
        self.process = subprocess.Popen([HEADGATE, "-c", self.ini], env=self.env, cwd=self.dir,
                                        stdin=subprocess.DEVNULL,
                                        stdout=open(os.path.join(self.dir, "stdout"), "a"),
                                        stderr=open(self.error_log, "a"),
                                        preexec_fn=lower if self.limit_files else None)
        if wait and not wait_for(lambda: self.process.poll() is not None or self.serves(before)):
            raise AssertionError("it does not serve: " + self.said())
        if wait and self.process.poll() is not None:
            raise AssertionError(f"it ended with {self.process.returncode}: " + self.said())

    def serving(self):
        """How often it has said so, where it says things."""
        with open(self.ini) as f:
            there = re.search(r"^error_log = (\S+)", f.read(), re.M)
        there = os.path.join(self.dir, there[1]) if there else self.error_log
        with contextlib.suppress(OSError), open(there) as f:
            return len(re.findall(r"[ \"]serving[\"\n]", f.read()))
        return 0

    def serves(self, before):
        """It listens before all is ready; and so does, for a moment, who was killed.  Where it says
        nothing that we can read, all listeners are there."""
        with open(self.ini) as f:
            text = f.read()
        silent = re.search(r"^log_level = (warning|error)|^error_log = std", text, re.M)
        listens = " ".join(re.findall(r"^listen = (.*)", text, re.M)) if silent else ""
        return (silent or self.serving() > before) and all(
            map(listening, {self.port, *map(int, re.findall(r"127\.0\.0\.1:(\d+)", listens))}))

    def said(self):
        with open(self.error_log) as f:
            return f.read()

    def read(self, name):
        with open(os.path.join(self.dir, name)) as f:
            return f.read()

    def signal(self, number):
        self.process.send_signal(number)

    def counted(self):
        """What it says at SIGUSR2: each counter over all workers, by name."""
        before = self.said().count("counted: turns=")
        self.signal(signal.SIGUSR2)
        if not wait_for(lambda: any("\n" in last for last in self.said().split("counted: turns=")[before + 1:])):
            raise AssertionError("it does not say what it counted: " + self.said()[-500:])
        last = self.said().split("counted: turns=")[before:before + 2]
        lines = [l for l in last[0].splitlines() if "counted: " in l]
        lines.append("counted: turns=" + last[1].splitlines()[0])
        return {name: int(n) for l in lines
                for name, n in (word.split("=") for word in l.split("counted: ")[1].split())}

    def rss_kib(self):
        """As the kernel finds it; what it keeps count of lags behind by 100 KiB and more a CPU."""
        try:
            with open(f"/proc/{self.process.pid}/smaps_rollup") as f:
                return int(next(l for l in f if l.startswith("Rss")).split()[1])
        except PermissionError:  # its memory is nobody's business
            with open(f"/proc/{self.process.pid}/status") as f:
                return int(next(l for l in f if l.startswith("VmRSS")).split()[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def alive(self):
        return self.process.poll() is None

    def stop(self, seconds=10):
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                return "killed: it did not drain"
        return self.process.returncode

    def end_now(self):
        """Two SIGTERMs, so that nothing is waited for but everything taken down:
        None, or what went wrong."""
        for wait in (0.3, 15):
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(wait)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            return "it did not end"
        code = self.process.returncode
        return f"it ended with {code}" if code not in (0, 1) else None

    def close(self):
        self.end_now()
        shutil.rmtree(self.dir, ignore_errors=True)

    # --- raw HTTP ------------------------------------------------------------

    def connect(self, port=None, seconds=20):
        s = socket.create_connection(("127.0.0.1", port or self.port), seconds)
        s.settimeout(seconds)
        return s

    def say(self, data, port=None, seconds=20):
        """Sends bytes, as many as are taken, reads to the end of the stream."""
        with self.connect(port, seconds) as s:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                s.sendall(data)
            return read_all(s)

    def get(self, path, port=None, method="GET", fields="", body=b"", version="1.1"):
        """One request on its own connection: (status, fields, content)."""
        head = f"{method} {path} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n{fields}"
        if body:
            head += f"Content-Length: {len(body)}\r\n"
        answer = self.say(head.encode() + b"\r\n" + body, port)
        return parse_response(answer, method == "HEAD")


def read_all(s):
    data = b""
    try:
        while piece := s.recv(1 << 16):
            data += piece
    except (ConnectionResetError, socket.timeout):
        pass
    return data


def parse_response(data, head_only=False):
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/"):
        return 0, {}, data
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip()
    if fields.get("transfer-encoding") == "chunked" and not head_only:
        content = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            n = int(size.split(b";")[0], 16)
            if n == 0:
                break
            content, rest = content + rest[:n], rest[n + 2:]
        rest = content
    return int(lines[0].split()[1]), fields, rest


def read_response(s, head_only=False):
    """One response from a connection that stays open."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = s.recv(1 << 16)
        if not piece:
            return parse_response(data) + (b"",)
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    status, fields, _ = parse_response(head + b"\r\n\r\n", True)
    length = 0 if head_only or status in (204, 304) else int(fields.get("content-length", 0))
    while len(rest) < length:
        piece = s.recv(1 << 16)
        if not piece:
            break
        rest += piece
    return status, fields, rest[:length], rest[length:]


def typed(process, *lines):
    """All that a program says to whom types each line once it has said, since the last, what stands
    before that.  openssl s_client takes a letter for a command only where it begins what it reads."""
    said = b""
    for sign, line in lines:
        before = len(said)
        while sign not in said[before:] and (piece := os.read(process.stdout.fileno(), 65536)):
            said += piece
        with contextlib.suppress(BrokenPipeError):  # it has given up
            process.stdin.write(line)
            process.stdin.flush()
    return (said + process.communicate(timeout=20)[0]).decode("latin-1")


def same(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, wanted {want!r}")


def true(value, what=""):
    if not value:
        raise AssertionError(what or "not so")


def engines():
    if os.environ.get("HG_ENGINES"):
        return os.environ["HG_ENGINES"].split()
    said = subprocess.run([HEADGATE, "-V"], capture_output=True, text=True).stdout
    return [l.split()[1] for l in said.splitlines() if l.startswith("engine") and ":" not in l]


class Skip(Exception):
    pass


def needs(feature):
    """Skips the test if the program was built without it."""
    if "feature  " + feature not in subprocess.run([HEADGATE, "-V"], capture_output=True, text=True).stdout:
        raise Skip("built without " + feature)


saying = threading.Lock()
numbers = itertools.count(1)


def say(verdict, name, before, after):
    """One test's lines of TAP, together although others run; numbered as they come."""
    with saying:
        print("\n".join([*before, f"{verdict} {next(numbers)} - {name}", *after]), flush=True)


def play(test, engine):
    """One test on one engine: its verdict, its name, and the lines before and after."""
    name = test.__name__.removeprefix("test_") + ("" if engine == "auto" else f" ({engine})")
    began = time.monotonic()
    gates, lines = [], []

    def gate(config, **more):
        g = Gateway(config, **dict(dict(engine=engine), **more))
        gates.append(g)
        return g

    gate.engine = engine
    verdict, note = "ok", ""
    try:
        test(gate)
    except Skip as why:
        note = f" # SKIP {why}"
    except Exception:
        verdict = "not ok"
        lines += ["# " + l for l in traceback.format_exc().splitlines()[-12:]]
        for g in gates:
            lines += ["# gateway: " + l for l in g.said().splitlines()[-8:]]
    for g in gates:
        wrong = g.end_now()
        if wrong:
            verdict = "not ok"
            lines.append(f"# the gateway: {wrong}")
            lines += ["# gateway: " + l for l in g.said().splitlines()[-30:]]
        g.close()
    took = time.monotonic() - began
    return verdict, name + note, lines, [f"# {name}: {took:.1f} s"] if took > 5 else []


def run(test, engine):
    """One test on one engine, said; True when it went well."""
    verdict, *what = play(test, engine)
    say(verdict, *what)
    return verdict == "ok"


def main(tests, at_once=1, after=None):
    """Runs every test on every engine and writes TAP.  Those with `alone` go
    first, one by one; of the others, which mostly wait, so many at once.

    HG_SECOND_TRIES=N plays up to N that failed again, each alone, and says so:
    chance on a busy machine fails once, a bug twice."""
    plan = [(t, e) for t in tests for e in (engines() if not getattr(t, "once", False) else ["auto"])]
    plan.sort(key=lambda p: not getattr(p[0], "alone", False))
    print(f"1..{len(plan)}", flush=True)
    alone = [p for p in plan if getattr(p[0], "alone", False)]
    tries = itertools.count(int(os.environ.get("HG_SECOND_TRIES", 0)), -1)
    again = []

    def attempt(each):
        verdict, name, before, after = play(*each)
        if verdict != "ok" and next(tries) > 0:
            again.append(each)
            with saying:
                print("\n".join([f"# second try: {name}", *before]), flush=True)
            return True
        say(verdict, name, before, after)
        return verdict == "ok"

    good = [attempt(each) for each in alone]
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        good += pool.map(attempt, plan[len(alone):])
    good += [run(*each) for each in again]
    if after:
        after()
    sys.stdout.flush()
    os._exit(0 if all(good) else 1)  # whatever thread a failed test has left behind
