"""headgate and its peers, one after the other, again and again; see compare.sh."""
import argparse
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import loads
import report
import secure
import servers
from process import Process, Trouble, cores, free_port

EXIT_TROUBLE, EXIT_USAGE = 1, 2


def arguments():
    p = argparse.ArgumentParser(
        prog="compare.sh", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""Compares headgate with nginx, HAProxy, h2o and lighttpd on this machine.

One is asked at a time, and has one thread on one core; the load, and the origin
behind those that forward, run on other cores where there are any.  Rounds are
interleaved (A B C, A B C), and what counts is the CPU time that the server
needs for a request, since a load generator is often slower than the server.
On a busy machine many short rounds say more than few long ones.
TLS is 1.3 with the same certificate, cipher and group for all.
Beside them run bare_loop and bare_relay, which receive and send over the same
engines and read nothing: nobody can be faster.""",
        epilog="scenarios:\n" + "\n".join(f"  {s.name:<16}{s.title}" for s in loads.SCENARIOS) +
        "\n\nWrites table.txt, results.jsonl and chart.svg into a folder, which it names at the end.")
    p.add_argument("--rounds", type=int, default=5, metavar="N", help="default %(default)s")
    p.add_argument("--duration", type=float, default=2, metavar="S",
                   help="seconds of load in each round (default %(default)g)")
    p.add_argument("--only", metavar="LIST", help="scenarios, comma-separated")
    p.add_argument("--peers", metavar="LIST", default="nginx,haproxy,h2o,lighttpd",
                   help="whom to compare with; 'none' for nobody (default %(default)s)")
    p.add_argument("--engine", metavar="LIST", default="uring,epoll",
                   help="headgate's (default %(default)s)")
    p.add_argument("--load", choices=("headgate-bench", "wrk"), default="headgate-bench",
                   help="who asks; events of the challenge always come from headgate-bench, "
                   "TLS from h2load and a program of its own")
    p.add_argument("--also", metavar="NAME=PROGRAM", action="append", default=[],
                   help="another build of headgate, to compare with this one")
    p.add_argument("--build", metavar="DIR", default=os.environ.get("HG_BUILDDIR", "."),
                   help="where headgate is built, 'make bench-programs' (default: here)")
    p.add_argument("--out", metavar="DIR", help="default: compare-DATE-TIME here")
    p.add_argument("--table", metavar="FILE", help="prints the table of a results.jsonl")
    p.add_argument("--no-install", action="store_true",
                   help="leaves out who is missing instead of installing it")
    p.add_argument("--check", action="store_true", help=argparse.SUPPRESS)  # of compare.sh: only the arguments
    return p.parse_args()


def wrong(text):
    print(f"compare.sh: {text}", file=sys.stderr)
    sys.exit(EXIT_USAGE)


def chosen(listed, known, what):
    names = [n for n in listed.split(",") if n and n != "none"]
    for name in names:
        if name not in known:
            wrong(f"there is no {what} {name}; there are: {', '.join(known)}")
    return names


def check(options):
    if options.rounds < 1 or options.duration <= 0:
        wrong("--rounds and --duration must be more than 0")
    chosen(options.only or "", [s.name for s in loads.SCENARIOS], "scenario")
    chosen(options.engine, servers.ENGINES, "engine")
    chosen(options.peers, [p.name for p in servers.peers()], "peer")


def only_one():
    """An abstract socket: it goes when we go, however that happens."""
    lock = socket.socket(socket.AF_UNIX)
    try:
        lock.bind("\0" + os.environ.get("HEADGATE_COMPARE_LOCK", "headgate-compare"))
    except OSError:
        wrong("it runs already, and two would measure each other")
    return lock


class Progress:
    """A bar on a terminal, plain lines elsewhere."""

    def __init__(self, total):
        self.total, self.done, self.begin = total, 0, time.monotonic()
        self.bar = sys.stderr.isatty()

    def show(self, text):
        if not self.bar:
            return
        spent = time.monotonic() - self.begin
        left = spent / self.done * (self.total - self.done) if self.done else 0
        filled = 30 * self.done // self.total
        eta = f"ETA {left / 60:.0f}:{left % 60:02.0f}" if self.done else ""
        print(f"\r[{'#' * filled}{'.' * (30 - filled)}] {self.done}/{self.total} {eta:<10} {text}\x1b[K",
              end="", file=sys.stderr, flush=True)

    def step(self, text):
        self.done += 1
        if self.bar:
            self.show(text)
        else:
            print(f"{self.done}/{self.total} {text}", file=sys.stderr, flush=True)

    def end(self):
        if self.bar:
            print("\r\x1b[K", end="", file=sys.stderr)


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder, self.running = options, folder, []
        self.www = os.path.join(folder, "www")
        loads.files_make(self.www)
        self.core, self.load_core, self.origin_core = cores()
        self.headgate = os.path.join(os.path.abspath(options.build), "headgate")
        self.load = loads.Load(folder, self.load_core, self.headgate + "-bench",
                               options.load == "wrk")

    def setup(self):
        folder = tempfile.mkdtemp(dir=self.folder)
        os.chmod(folder, 0o755)
        return servers.Setup(folder, self.www, free_port(), free_port(), free_port())

    def start_origin(self):
        setup = self.setup()
        port, path = free_port(), os.path.join(setup.dir, "origin.sock")
        ini = servers.origin_ini(setup, path, port)
        p = self.started(Process([self.headgate, "-c", ini], self.origin_core,
                                 os.path.join(setup.dir, "log")))
        p.wait_listening(port)
        return port, path

    def started(self, process):
        self.running.append(process)
        return process

    def start(self, scenario, server, origin):
        """The server, for one scenario, and the port to ask."""
        setup = self.setup()
        if scenario.forward:
            setup.origin = origin[1 if scenario.unix else 0]
        if scenario.tls:
            setup.pem = secure.certificate(self.folder)
        argv, env = server.command(setup, scenario)
        p = self.started(Process(argv, self.core, os.path.join(setup.dir, "log"), env))
        port = setup.secure if scenario.tls else setup.forward if scenario.forward else setup.plain
        p.wait_listening(port)
        return p, port

    def end_all(self):
        while self.running:
            self.running.pop().end()

    def prepare(self, some):
        """All of a scenario's contenders, each warm; they wait, at no cost, while others are
        asked.  A place for each: a process and a port, or what went wrong."""
        places = {}
        forwards = any(what.forward for _, what, _ in some)
        origin = self.start_origin() if forwards else None
        for name, what, server in some:
            try:
                places[name] = self.start(what, server, origin)
                loads.warm(self.load, what, places[name][0], self.core, places[name][1],
                           self.options.duration)
            except (Trouble, OSError) as e:
                places[name] = str(e)
        return places

    def run(self, scenario, server, place):
        """One round of one contender."""
        if scenario.kind == "idle":  # memory wants a process that has seen nothing yet
            try:
                p, port = self.start(scenario, server, None)
                return loads.measure_idle(scenario, p, port, self.options.duration)
            finally:
                self.end_all()
        if isinstance(place, str):
            raise Trouble(place)
        p, port = place
        return loads.measure(self.load, scenario, p, self.core, port, self.options.duration)


def contenders(scenario, all_servers):
    """(name, scenario to run, server); headgate twice where it is compared with itself."""
    for server in all_servers:
        if scenario.name in server.does:
            yield server.name, scenario, server
    beside = next((s for s in loads.SCENARIOS if s.name == scenario.beside), None)
    for server in all_servers:
        if beside and server.own:
            yield f"{server.name}, {beside.name}", beside, server


def plan(options):
    scenarios = loads.SCENARIOS
    if options.only:
        names = chosen(options.only, [s.name for s in scenarios], "scenario")
        scenarios = [s for s in scenarios if s.name in names]
    for program, package, need in (("openssl", "openssl", [s for s in scenarios if s.tls]),
                                   ("h2load", "nghttp2-client",
                                    [s for s in scenarios if s.kind == "h2load"])):
        if need and not shutil.which(program):
            print(f"compare.sh: left out: {', '.join(s.name for s in need)}: {program} is missing: "
                  f"apt install {package}", file=sys.stderr)
            scenarios = [s for s in scenarios if s not in need]
    engines = chosen(options.engine, servers.ENGINES, "engine")
    folder = os.path.abspath(options.build)
    for program in ("headgate", "headgate-bench", "tests/bench/bare_loop", "tests/bench/bare_relay"):
        if not os.access(os.path.join(folder, program), os.X_OK):
            wrong(f"{folder} has no {program}: 'make bench-programs' there, or say --build DIR")
    if options.load == "wrk" and not shutil.which("wrk"):
        wrong("wrk is missing: apt install wrk")
    who = [servers.bare(os.path.join(folder, "tests/bench"), e) for e in engines]
    builds = [("headgate", os.path.join(folder, "headgate"))]
    for also in options.also:
        name, found, program = also.partition("=")
        if not found or not os.access(program, os.X_OK):
            wrong(f"--also {also}: NAME=PROGRAM, one that can be run")
        builds.append((name, os.path.abspath(program)))
    who += [servers.own(name, program, e) for name, program in builds for e in engines]
    names = chosen(options.peers, [p.name for p in servers.peers()], "peer")
    for peer in servers.peers():
        if peer.name in names and servers.find(peer):
            who.append(peer)
        elif peer.name in names:
            print(f"compare.sh: {peer.name} is not here and is left out", file=sys.stderr)
    return [(s, list(contenders(s, who))) for s in scenarios]


def versions(jobs):
    said = {}
    for _, some in jobs:
        for _, _, server in some:
            flag = {"nginx": "-v", "haproxy": "-v", "h2o": "-v", "lighttpd": "-v"}.get(server.name)
            if server.own:
                flag = "-V"
            if flag and server.argv[0] not in said:
                done = subprocess.run([server.argv[0], flag], capture_output=True, text=True,
                                      check=False)
                lines = (done.stdout + done.stderr).strip().splitlines()
                said[server.argv[0]] = lines[0][:60] if lines else server.name
    return list(said.values())


def processor():
    try:
        with open("/proc/cpuinfo") as f:
            return next(l.partition(":")[2].strip() for l in f if l.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def heading(options, jobs):
    return [f"headgate and its peers, {time.strftime('%Y-%m-%d %H:%M')}, {options.rounds} rounds of "
            f"{options.duration:g} s, {loads.CONNECTIONS} connections, load by {options.load}",
            f"{processor()}, {os.cpu_count()} cores, Linux {platform.release()}",
            "; ".join(versions(jobs)),
            *([f"TLS: {secure.version()}, ECDSA P-256, {secure.GROUP}, {secure.CIPHER}"]
              if any(scenario.tls for scenario, _ in jobs) else [])]


def kind_of(server):
    return "own" if server.own else "floor" if server.floor else "peer"


def one_round(bench, scenario, contender, place):
    name, what, server = contender
    record = {"scenario": scenario.name, "server": name, "kind": kind_of(server),
              "at": int(time.time())}
    try:
        record.update(bench.run(what, server, place))
    except (Trouble, OSError) as e:
        record["failed"] = str(e)
    return record


def rounds(bench, jobs, out):
    records = []
    progress = Progress(bench.options.rounds * sum(len(some) for _, some in jobs))
    for scenario, some in jobs:
        progress.show(f"{scenario.name}: starting")
        places = bench.prepare(some) if scenario.kind != "idle" else {}
        for number in range(bench.options.rounds):
            for contender in some:
                name = contender[0]
                progress.show(f"{scenario.name}: {name}")
                record = one_round(bench, scenario, contender, places.get(name))
                record["round"] = number
                records.append(record)
                out.write(json.dumps(record) + "\n")
                out.flush()
                said = record.get("failed") or (
                    f"{record['bytes']:.0f} B" if "bytes" in record else f"{record['us']:.2f} µs")
                progress.step(f"{scenario.name}, round {number + 1}: {name}: {said}")
        bench.end_all()
    progress.end()
    return records


def main():
    options = arguments()
    if options.table:
        with open(options.table) as f:
            records = [json.loads(l) for l in f]
        print(report.table(report.Results(records, loads.SCENARIOS), [options.table]))
        return 0
    check(options)
    if options.check:
        return 0
    jobs = plan(options)
    lock = only_one()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TROUBLE))  # so that what was started ends
    out = options.out or time.strftime("compare-%Y%m%d-%H%M%S")
    os.makedirs(out, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="headgate-compare.")
    os.chmod(folder, 0o755)
    top = heading(options, jobs)
    bench = Bench(options, folder)
    try:
        with open(os.path.join(out, "results.jsonl"), "w") as f:
            records = rounds(bench, jobs, f)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return EXIT_TROUBLE
    finally:
        bench.end_all()
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()
    results = report.Results(records, loads.SCENARIOS)
    text = report.table(results, top)
    with open(os.path.join(out, "table.txt"), "w") as f:
        f.write(text)
    with open(os.path.join(out, "chart.svg"), "w") as f:
        f.write(report.chart(results, [*top[0].split(", load", 1)[:1], top[1]]))
    print(text)
    print(f"table.txt, results.jsonl and chart.svg are in {os.path.abspath(out)}")
    return EXIT_TROUBLE if results.failed else 0


sys.exit(main())
