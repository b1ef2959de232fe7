#!/usr/bin/env python3
"""What is reached is counted and passes: descriptors, connections, memory, time; and kill -9."""
import concurrent.futures
import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

from harness import SOURCE, free_port, main, parse_response, read_all, read_response, same, true, wait_for
from origin import Origin

LONG = os.environ.get("HG_LONG") == "1"
PIPES = 2 * 64 * 2  # descriptors that two workers keep for content that only passes through

CONFIG = """
[server]
workers = 2
log_level = info
access_log = {dir}/access.log
{server}
[listener a]
listen = 127.0.0.1:{port}
{listener}
[route hello]
path = /hello
handler = respond
body = hello
"""
FORWARD = """
[upstream u]
server = 127.0.0.1:{origin}
[route all]
handler = forward
upstream = u
max_body = off
"""
HELLO = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"


def start(gate, server="", listener="", forward=False, **more):
    config = CONFIG.replace("{server}", server).replace("{listener}", listener)
    if not forward:
        return gate(config, **more)
    o = Origin()
    g = gate(config + FORWARD, origin=o.port, **more)
    g.origin = o
    return g


def fine(g):
    same(g.get("/hello")[2], b"hello")


def rests(g):
    """The number of descriptors once nothing has changed for a while."""
    fine(g)
    before = []
    wait_for(lambda: before.append(g.descriptors()) or before[-5:] == before[-1:] * 5, step=0.05)
    return before[-1]


def accesses(g):
    try:
        return [json.loads(l) for l in g.read("access.log").splitlines()]
    except (FileNotFoundError, ValueError):
        return []


def counted(g, name):
    """A counter of all workers, from what they say at the end."""
    return sum(int(word.split("=")[1]) for line in g.said().splitlines() if "info: worker" in line
               for word in line.split() if word.startswith(name + "="))


def settled(g, base):
    """Nothing of it is left."""
    true(wait_for(lambda: g.descriptors() <= base), f"{g.descriptors()} descriptors, {base} before")


class Other:
    """A process of its own, that can be killed: an origin, or clients."""

    def __init__(self, code, *args):
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, args)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
            env=dict(os.environ, PYTHONPATH=os.path.join(SOURCE, "tests/integration")))
        true(self.hears("ready"), "it did not come up")

    def hears(self, word):
        return self.process.stdout.readline().strip() == word

    def told(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.hears(word)

    def kill(self):
        self.process.kill()
        self.process.wait()


# --- kill -9 ------------------------------------------------------------------------------


ORIGIN = """
import sys, time
from origin import Origin
Origin(int(sys.argv[1]))
print("ready", flush=True)
time.sleep(600)
"""


def test_an_origin_killed_in_the_middle_costs_its_answers_alone(gate):
    port = free_port()
    g = gate(CONFIG.replace("{server}", "").replace("{listener}", "") + FORWARD, origin=port)
    origin = Other(ORIGIN, port)
    base = rests(g)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(g.connect()) for _ in range(30)]
        for s in socks:
            s.sendall(b"GET /stall HTTP/1.1\r\nHost: a\r\n\r\n")
            while b"only this" not in s.recv(1000):
                pass
        idle = stack.enter_context(g.connect())
        idle.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        same(read_response(idle)[0], 200)
        origin.kill()
        for s in socks:
            same(read_all(s), b"", "a shortened answer must end its connection")
        same(g.get("/echo")[0], 502)
        fine(g)
        origin = Other(ORIGIN, port)
        same(g.get("/echo")[0], 200)
        idle.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        same(read_response(idle)[0], 200)
    origin.kill()
    settled(g, base)
    g.stop()
    causes = [a.get("cause") for a in accesses(g)]
    same(causes.count("upstream_truncated_body"), 30, causes)
    same(causes.count("upstream_connect_refused"), 1, causes)


UPLOADER = """
import socket, sys, time
socks = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(20)]
for i, s in enumerate(socks):
    s.sendall(b"POST /echo HTTP/1.1\\r\\nHost: a\\r\\n" + (
        b"Content-Length: 100000000\\r\\n\\r\\n" if i % 2 else b"Transfer-Encoding: chunked\\r\\n\\r\\nfffff\\r\\n"))
    s.sendall(b"x" * 100000)
print("ready", flush=True)
time.sleep(600)
"""


def test_a_client_killed_in_the_middle_of_its_upload_leaves_nothing(gate):
    g = start(gate, forward=True)
    base = rests(g)
    client = Other(UPLOADER, g.port)
    true(wait_for(lambda: g.origin.requests == 20), "the uploads do not reach the origin")
    client.kill()
    settled(g, base)
    fine(g)
    g.stop()
    causes = [a.get("cause") for a in accesses(g) if a["method"] == "POST"]
    same(len(causes), 20)
    true(set(causes) <= {"client_gone", "client_truncated"}, causes)
    g.origin.end()


# --- many connections ---------------------------------------------------------------------


CROWD = """
import socket, struct, sys
port, n = int(sys.argv[1]), int(sys.argv[2])
def ask(s):
    s.sendall(b"GET /hello HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
def hear(s):
    data = b""
    while not data.endswith(b"\\r\\n\\r\\nhello"):
        piece = s.recv(4096)
        if not piece:
            sys.exit("closed")
        data += piece
def all_ask():
    for i in range(0, n, 100):
        for s in socks[i:i + 100]:
            ask(s)
        for s in socks[i:i + 100]:
            hear(s)
socks = []
for i in range(n):
    s = socket.create_connection(("127.0.0.1", port), 60)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)) # leaves no TIME_WAIT
    socks.append(s)
all_ask()
print("ready", flush=True)
for line in sys.stdin:
    if line == "ask\\n":
        all_ask()
    if line == "leave\\n":
        for s in socks:
            s.close()
    print(line, end="", flush=True)
"""


def cpu_ns(pid):
    """What all threads of a process have used so far."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as f:
            total += int(f.read().split()[0])
    return total


def idle_cpu(g):
    """The share of a CPU that it uses while nothing happens."""
    used, seconds = cpu_ns(g.process.pid), 60 if LONG else 3
    time.sleep(seconds)
    return (cpu_ns(g.process.pid) - used) / seconds / 1e9


def test_ten_thousand_idle_connections_are_cheap(gate):
    g = start(gate, "max_connections = 12000")
    base, rss, alone = rests(g), g.rss_kib(), idle_cpu(g)
    most, after = [], []
    for _ in range(2):
        crowds = []

        def come(n):
            crowd = Other(CROWD, g.port, n)
            true(crowd, "they do not all come in")
            crowds.append(crowd)
        # The first warm up what there is for all: buffers, rings, the program itself.
        come(2000)
        some = g.rss_kib()
        come(4000)
        come(4000)
        time.sleep(0.2)
        most.append(g.rss_kib())
        true(g.descriptors() >= base + 10000, f"{g.descriptors()} descriptors, {base} before")
        each = (most[-1] - some) * 1024 / 8000
        idle = idle_cpu(g)
        true(idle < 2 * alone + 0.002, f"{idle:.3%} CPU for nothing, {alone:.3%} without anybody")
        fine(g)
        true(all(c.told("ask") for c in crowds), "not all are answered")
        true(all(c.told("leave") for c in crowds))
        settled(g, base)
        for c in crowds:
            c.kill()
        after.append(g.rss_kib())
    print(f"# {gate.engine}: {each:.0f} bytes of RSS for each of 10,000 idle connections; RSS in KiB: "
          f"{rss} before, {some} with 2,000, {most} with 10,000, {after} when they had left; "
          f"{idle:.4%} CPU, {alone:.4%} alone", flush=True)
    true(each < 300, f"{each} bytes for an idle connection")
    true(most[1] < most[0] + 500, "the second ten thousand cost more than the first")
    true(max(after) < some + 500, "what a crowd took is not given back")


test_ten_thousand_idle_connections_are_cheap.alone = True


def crowd_at_a_limit(g, n, accepted):
    """n connect and ask; `accepted` are answered, the others when those leave."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(g.connect(seconds=20)) for _ in range(n)]
        for s in socks:
            s.sendall(HELLO)

        def answered(some):
            count = 0
            for s in some:
                with contextlib.suppress(BlockingIOError):
                    s.setblocking(False)
                    count += len(s.recv(1, socket.MSG_PEEK))
            return count
        low, high = accepted
        true(wait_for(lambda: answered(socks) >= low), f"{answered(socks)} answers")
        time.sleep(0.3)
        count = answered(socks)
        true(low <= count <= high, f"{count} answers instead of {low} to {high}")
        true(g.alive(), "it died")
        true(wait_for(lambda: "accepting pauses" in g.said()), g.said())
        while socks: # who was answered leaves, so that another can come in
            for s in socks:
                s.setblocking(False)
            done = []
            true(wait_for(lambda: done or done.extend(s for s in socks if answered([s]))),
                 f"{len(socks)} are never served")
            for s in done:
                s.setblocking(True)
                same(read_response(s)[2], b"hello")
                s.close()
                socks.remove(s)
    true(wait_for(lambda: "accepting again" in g.said()), g.said())


def test_two_hundred_descriptors_are_a_limit_like_another(gate):
    g = start(gate, limit_files=200)
    base = rests(g)
    crowd_at_a_limit(g, 300, (100, 100))
    settled(g, base)
    fine(g)
    g.stop()
    true(counted(g, "accept_paused") > 0, g.said()[-1000:])
    same(len([a for a in accesses(g) if a["status"] == 200]), 302)


def test_no_descriptor_left_is_waited_out(gate):
    """The limit of connections is set too high, so that the kernel says no."""
    g = start(gate, "max_connections = 5000", limit_files=200)
    base = rests(g)
    crowd_at_a_limit(g, 300, (120, 200))
    true("no descriptors left" in g.said(), g.said())
    settled(g, base)
    fine(g)
    g.stop()
    true(counted(g, "accept_paused") > 0, g.said()[-1000:])


def test_forwarding_without_descriptors_fails_by_name(gate):
    g = start(gate, "max_connections = 5000", limit_files=100, forward=True)
    base = rests(g)
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            s = stack.enter_context(g.connect())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            s.sendall(b"GET /silent HTTP/1.1\r\nHost: a\r\n\r\n")
        true(wait_for(lambda: "no descriptors left" in g.said() or accesses(g)))
        true(g.alive())
    settled(g, base)
    true(wait_for(lambda: g.get("/echo")[0] == 200))
    g.stop()
    causes = {a.get("cause") for a in accesses(g)}
    true(causes <= {"client_gone", "upstream_no_descriptors", None}, causes)
    g.origin.end()


def test_max_connections_of_the_process(gate):
    g = start(gate, "max_connections = 50")
    crowd_at_a_limit(g, 150, (50, 50))


def test_the_last_of_few_places_is_used_again(gate):
    """Exactly so many are open, and when one leaves another comes in: a tenth of nineteen is one."""
    for n, where in ((1, "server"), (2, "listener"), (5, "server"), (10, "listener"), (19, "server")):
        g = start(gate, **{where: f"max_connections = {n}"})
        with contextlib.ExitStack() as stack:
            def answered(s, seconds):
                poll = select.poll() # select() knows a thousand descriptors only
                poll.register(s, select.POLLIN)
                return poll.poll(seconds * 1000)

            def comes():
                s = stack.enter_context(g.connect())
                s.sendall(HELLO)
                return s
            inside = [comes() for _ in range(n)]
            for s in inside:
                same(read_response(s)[2], b"hello")
            for _ in range(3):
                outside = comes()
                true(not answered(outside, 0.2), f"more than {n} are served")
                inside.pop(0).close()
                true(answered(outside, 5), f"nobody comes in after one of {n} left")
                same(read_response(outside)[2], b"hello")
                inside.append(outside)
        g.stop()


def test_who_waits_for_a_place_when_the_time_to_drain_is_over_is_turned_away(gate):
    """Many come at once where there are few places, so that some are accepted who have none."""
    o = Origin()
    g = gate(CONFIG.replace("workers = 2", "workers = 1").replace("{server}", "drain_timeout = 1s")
             .replace("{listener}", "") + FORWARD +
             "[route files]\npath = /files/*\nstrip_prefix = /files\nhandler = static\nroot = {dir}\n", origin=o.port,
             limit_files=30)
    with open(os.path.join(g.dir, "large"), "wb") as f:
        f.truncate(300_000)
    clients = []
    for i in range(600):
        s = socket.socket()
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            s.connect(("127.0.0.1", g.port))
        clients.append(s)
    time.sleep(0.3)
    for i, s in enumerate(clients):
        with contextlib.suppress(OSError):
            s.send(b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"silent", b"files/large", b"hello")[i % 3])
    time.sleep(2)
    for s in clients:
        s.close()
    time.sleep(0.5)
    same(g.stop(8), 0)


def test_max_connections_of_a_listener(gate):
    g = start(gate, listener="max_connections = 50")
    crowd_at_a_limit(g, 150, (50, 50)) # however many come to each worker


# --- slow clients --------------------------------------------------------------------------


def test_a_thousand_half_heads_hold_up_nobody(gate):
    g = start(gate, listener="header_timeout = 6s")
    base = rests(g)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(g.connect()) for _ in range(1000)]
        for s in socks:
            s.sendall(b"GET /hello HTTP/1.1\r\nX-")
        began = time.monotonic()
        slowest = 0.0
        while time.monotonic() - began < 2:
            for s in socks[:500]: # dripping buys no time
                with contextlib.suppress(OSError):
                    s.send(b"a")
            asked = time.monotonic()
            fine(g)
            slowest = max(slowest, time.monotonic() - asked)
        true(slowest < 3, f"others waited {slowest:.1f} s")
        ends = [parse_response(read_all(s))[0] for s in socks]
        true(time.monotonic() - began < 20)
        same({status: ends.count(status) for status in set(ends)}, {408: 1000})
    settled(g, base)
    g.stop()
    logged = len([a for a in accesses(g) if a.get("cause") == "header_timeout"])
    true(1000 - counted(g, "log_dropped") <= logged <= 1000, f"{logged} are logged")


def test_an_upload_slower_than_its_rate_is_408(gate):
    g = start(gate, forward=True, server="body_min_rate = 1k/1s")
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
    with g.connect(seconds=20) as slow, g.connect(seconds=20) as steady, g.connect(seconds=20) as tunnel:
        tunnel.sendall(b"GET /switch/websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                       b"Upgrade: websocket\r\n\r\n")
        true(tunnel.recv(1000).startswith(b"HTTP/1.1 101"))
        slow.sendall(head)
        steady.sendall(head)
        began, sent = time.monotonic(), 0
        slow.settimeout(0.001)
        answer = b""
        while not answer and time.monotonic() - began < 20:
            with contextlib.suppress(OSError):
                slow.send(b"x" * 100) # 500 bytes a second
            due = int((time.monotonic() - began) * 2000)
            steady.sendall(b"x" * (due - sent))
            sent = due
            time.sleep(0.2)
            with contextlib.suppress(TimeoutError):
                answer = slow.recv(1000)
        took = time.monotonic() - began
        same(parse_response(answer)[0], 408)
        true(9 < took < 18, f"after {took:.1f} s")
        steady.sendall(b"x" * (100000 - sent))
        same(read_response(steady)[0], 200)
        tunnel.sendall(b"still there") # rates are not for tunnels
        same(tunnel.recv(100), b"still there")
    g.stop()
    same([a["cause"] for a in accesses(g) if a["status"] == 408], ["body_too_slow"])
    g.origin.end()


def test_a_client_that_takes_nothing_is_cut(gate):
    g = start(gate, forward=True, listener="write_timeout = 2s")
    with g.connect() as s, g.connect() as slow:
        for each in (s, slow):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        s.sendall(b"GET /large/100000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        slow.sendall(b"GET /large/4000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        began, got = time.monotonic(), 0
        while time.monotonic() - began < 5: # a little now and then is taking
            got += len(slow.recv(65536))
            time.sleep(0.2)
        got += len(read_all(slow))
        true(got > 4000000, f"the slow one was cut after {got}")
        true(wait_for(lambda: any(a.get("cause") == "write_timeout" for a in accesses(g))),
             "it is never cut")
        same(len([a for a in accesses(g) if a.get("cause")]), 1)
    g.origin.end()


def test_a_client_that_takes_little_is_not_cut(gate):
    """What it takes comes out of the kernel, long before there is room there for more."""
    g = start(gate, forward=True, listener="write_timeout = 2s")
    with contextlib.ExitStack() as stack:
        readers = []
        for target in ("/large/100000000", "/large/100000001"):
            s = stack.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            s.settimeout(10)
            s.connect(("127.0.0.1", g.port))
            s.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            readers.append(s)
        began = time.monotonic()
        while time.monotonic() - began < 7:
            for s in readers:
                true(s.recv(10000), "it was cut")
            time.sleep(0.1)
        same([a["cause"] for a in accesses(g) if a.get("cause")], [])
    g.origin.end()


# --- memory ---------------------------------------------------------------------------------


def test_a_body_of_any_length_moves_in_constant_memory(gate):
    n = (4 << 30) + 123 if LONG else 200_000_000
    g = start(gate, forward=True)
    for _ in range(4): # each worker has its buffers
        g.get("/large/20000000")
    rss = g.rss_kib()
    most = [rss]
    done = threading.Event()

    def watch():
        while not done.wait(0.05):
            most.append(g.rss_kib())
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    room = bytearray(1 << 20)
    with g.connect(seconds=60) as s:
        s.sendall(f"GET /large/{n} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += s.recv(1)
        got = 0
        while got < n:
            piece = s.recv_into(room)
            true(piece, f"it ended after {got}")
            got += piece
        same(got, n)
        piece = bytes(range(256)) * 4096
        digest = hashlib.sha256()
        s.sendall(f"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {n}\r\n\r\n".encode())
        left = n
        while left:
            part = piece[:left]
            s.sendall(part)
            digest.update(part)
            left -= len(part)
        status, _, content, _ = read_response(s)
        same(status, 200)
        true(content.endswith(f"content {n} {digest.hexdigest()}".encode()), content[-200:])
    done.set()
    watcher.join()
    print(f"# {gate.engine}: {n} bytes each way, RSS {rss} KiB before, {max(most)} at most", flush=True)
    true(max(most) < rss + 8000, f"RSS grew from {rss} to {max(most)} KiB")
    g.origin.end()


def test_stalled_readers_share_the_buffer_memory_and_lose_nothing(gate):
    g = start(gate, "buffer_memory = 16m", forward=True)
    fine(g)
    rss = g.rss_kib()
    n = 1_000_000
    want = hashlib.sha256((bytes(range(256)) * (n // 256 + 1))[:n]).digest()
    with contextlib.ExitStack() as stack:
        socks = []
        for _ in range(80):
            s = stack.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            s.settimeout(100)
            s.connect(("127.0.0.1", g.port))
            s.sendall(f"GET /large/{n} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            socks.append(s)
        time.sleep(1)
        full = g.rss_kib()
        for _ in range(20): # there is always something left to be heard and answered with
            fine(g)
        with concurrent.futures.ThreadPoolExecutor(len(socks)) as pool: # all go on
            for content in pool.map(lambda s: parse_response(read_all(s))[2], socks):
                same((len(content), hashlib.sha256(content).digest() == want), (n, True))
    print(f"# {gate.engine}: 80 stalled readers: RSS {rss} KiB before, {full} with them, "
          f"{g.rss_kib()} after", flush=True)
    true(full < rss + 22_000, f"RSS grew from {rss} to {full} KiB")
    g.origin.end()


def test_memory_returns_after_a_burst(gate):
    """The same burst again and again costs no more than the first one.  The large buffers of
    io_uring, 2 MB for each of two workers, are there from the start and touched as they are used."""
    g = start(gate, forward=True)
    base, most = rests(g), []
    for _ in range(4):
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(g.connect(seconds=60)) for _ in range(150)]
            for i, s in enumerate(socks):
                if i % 3 == 0:
                    s.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" +
                              b"x" * 100000)
                elif i % 3 == 1:
                    s.sendall(b"GET /large/300000 HTTP/1.1\r\nHost: a\r\n\r\n")
                else:
                    s.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\nX-Long: " + b"y" * 20000)
            time.sleep(0.3)
            for s in socks[::3]:
                s.sendall(b"x" * 200000)
            for s in socks[2::3]:
                s.sendall(b"\r\n\r\n")
            for s in socks:
                same(read_response(s)[0], 200)
        settled(g, base + 150 + PIPES)  # idle links to the origin stay
        most.append(g.rss_kib())
    print(f"# {gate.engine}: RSS in KiB after each of four bursts: {most}", flush=True)
    true(most[3] < most[0] + (8096 if gate.engine == "uring" else 4000), f"RSS after each burst: {most}")
    g.origin.end()


def test_a_stopped_gateway_is_not_a_dead_one(gate):
    """SIGSTOP and SIGCONT: timeouts that passed meanwhile end connections, not the gateway."""
    g = start(gate, listener="keepalive_timeout = 1s\nheader_timeout = 1s", forward=True)
    with g.connect() as idle, g.connect() as half:
        idle.sendall(HELLO)
        same(read_response(idle)[0], 200)
        half.sendall(HELLO[:10])
        time.sleep(0.3)
        g.signal(signal.SIGSTOP)
        time.sleep(1.5)
        g.signal(signal.SIGCONT)
        fine(g)
        same(read_all(idle), b"")
        same(parse_response(read_all(half))[0], 408)
    g.origin.end()


if __name__ == "__main__":
    main([f for n, f in list(globals().items()) if n.startswith("test_")], at_once=4)
