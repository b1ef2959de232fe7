#!/usr/bin/env python3
"""What requests cost the engine: system calls, requests in them and sends, by its own counters.

Times depend on the machine, these do not: one more send for a response, or one
more turn for a request, is seen here at once."""
import contextlib
import http.client
import random
import signal
import socket
import threading

from harness import main, read_response, same, true, wait_for
from origin import Origin

CONFIG = """
[server]
workers = 1
access_log = off
{server}
[listener a]
listen = 127.0.0.1:{port}
keepalive_requests = off
[route hello]
path = /hello
handler = respond
body = hello
"""
HELLO = b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
REQUESTS = 1008 # 63 times 16


def counted(g):
    """The engine's counters, which SIGUSR2 makes it say."""
    before = g.said().count("counted: turns=")
    g.signal(signal.SIGUSR2)
    true(wait_for(lambda: g.said().count("counted: turns=") > before), g.said()[-500:])
    last = [l for l in g.said().splitlines() if "counted: turns=" in l][-1]
    return {k: int(v) for k, v in (w.split("=") for w in last.split("counted: ")[1].split())}


def cost(gate, together, server=""):
    """What 1,000 requests on one connection cost, so many sent at a time."""
    g = gate(CONFIG, server=server)
    with g.connect() as s:
        s.sendall(HELLO)
        length = len(s.recv(65536))
        true(length > 0)
        before = counted(g)
        for _ in range(REQUESTS // together):
            s.sendall(HELLO * together)
            got = 0
            while got < length * together:
                got += len(s.recv(65536))
            same(got, length * together)
        after = counted(g)
    each = {k: (after[k] - before[k]) * 1000 / REQUESTS for k in after}
    print(f"# {gate.engine}, {together} at a time, for 1,000 requests: " + ", ".join(
        f"{each[k]:.0f} {k}" for k in ("submissions", "sqes", "sends", "receives", "turns", "waits",
                                       "armed_multishot", "armed_once")), flush=True)
    return each


def at_most(each, **bounds):
    for name, most in bounds.items():
        true(each[name] <= most, f"{each[name]:.1f} {name} for 1,000 requests instead of {most}")


def test_requests_one_by_one_cost_a_send_each_and_no_receive(gate):
    """In io_uring: the request ends a wait, the send that was submitted another.
    In epoll: a call to receive and one to send, and one to wait."""
    each = cost(gate, 1)
    at_most(each, sends=1010, receives=1010, turns=2050, wakes=2050, submissions=2050, copied=0,
            short_sends=0)
    if gate.engine == "uring":
        at_most(each, sqes=1010, armed_multishot=5, armed_once=0, waits=2050)
    else:
        at_most(each, waits=1050)


def test_requests_that_come_together_are_answered_together(gate):
    """A sixteenth of the above; a few batches may come in two pieces."""
    each = cost(gate, 16)
    at_most(each, sends=70, receives=70, turns=145, wakes=145, submissions=145, short_sends=0)
    if gate.engine == "uring":
        at_most(each, sqes=75, armed_multishot=5, armed_once=0)


def test_parts_left_out_are_seen_in_the_counters(gate):
    """Without multishot each receive is a request of its own; without buffers, two."""
    if gate.engine != "uring":
        return
    each = cost(gate, 1, "engine_disable = multishot_receive")
    at_most(each, sends=1010, sqes=2020, armed_multishot=0)
    true(each["armed_once"] >= 990, each)
    each = cost(gate, 1, "engine_disable = provided_buffers")
    at_most(each, sends=1010, armed_multishot=0, armed_once=0)
    true(each["armed_poll"] >= 990, each)


# --- content by pipe --------------------------------------------------------------------------

FORWARDED = """
[server]
workers = 1
log_level = info
{server}
[listener a]
listen = 127.0.0.1:{port}
[upstream o]
server = 127.0.0.1:{origin}
[route all]
handler = forward
upstream = o
"""
BIG = random.Random(1).randbytes(4 << 20)
OTHER = BIG[:100000] # too little for a second pipe of its own


def chunks(*parts):
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\nX-End: yes\r\n\r\n"


ANSWERS = { # what the origin says, then whether it closes
    "/length": (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG, False),
    "/close": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BIG, True),
    "/chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                + chunks(BIG, b"x", OTHER, b"y" * 20), False),
    "/cut": (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG[:1 << 20], True),
}


class PassingOrigin:
    """Answers whatever is asked, a thread for each connection."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        with s, contextlib.suppress(OSError): # the gateway was asked by somebody who has left
            asked = b""
            while True:
                while b"\r\n\r\n" not in asked:
                    more = s.recv(65536)
                    if not more:
                        return
                    asked += more
                head, asked = asked.split(b"\r\n\r\n", 1)
                answer, closes = ANSWERS[head.split(b" ")[1].decode()]
                s.sendall(answer)
                if closes:
                    return


def get(g, path):
    c = http.client.HTTPConnection("127.0.0.1", g.port, timeout=20)
    c.request("GET", path)
    r = c.getresponse()
    try:
        return r.status, r.read()
    except http.client.IncompleteRead as e:
        return "cut", e.partial
    except ConnectionResetError: # which may take what came before with it
        return "cut", b""
    finally:
        c.close()


def passes(gate, server, by_pipe):
    origin = PassingOrigin()
    g = gate(FORWARDED, server=server, origin=origin.port)
    for path, content in (("/length", BIG), ("/close", BIG),
                          ("/chunks", BIG + b"x" + OTHER + b"y" * 20), ("/length", BIG)):
        before = counted(g)["piped"]
        status, got = get(g, path)
        same(status, 200)
        true(got == content, f"{path}: {len(got)} bytes of {len(content)}, or others")
        same(counted(g)["piped"] > before, by_pipe)
    status, got = get(g, "/cut")
    same(status, "cut")
    true(BIG.startswith(got), "other bytes came before the end")
    counted(g)
    true(wait_for(lambda: "upstream_truncated_body" in g.said()), g.said()[-500:])
    # Who leaves in the middle leaves nothing in a pipe for the next.
    for _ in range(5):
        with g.connect() as s:
            s.sendall(b"GET /length HTTP/1.1\r\nHost: a\r\n\r\n")
            s.recv(100000)
        same(get(g, "/length"), (200, BIG))
    origin.listener.close()


def test_much_content_passes_by_pipe(gate):
    passes(gate, "", True)


def test_without_splice_it_passes_through_memory(gate):
    passes(gate, "engine_disable = splice", False)


def test_an_upload_comes_in_large_pieces(gate):
    """A receive waits for room for half of what the flow holds, and then takes it at once: 32 KB
    or more, where a receive ahead of room would bring 16."""
    origin = Origin()
    g = gate(FORWARDED + "max_body = off\n", server="", origin=origin.port)
    before = counted(g)["receives"]
    with g.connect(seconds=20) as s:
        s.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (4 * len(BIG)))
        for _ in range(4):
            s.sendall(BIG)
        status, _, content, _ = read_response(s)
    same(status, 200)
    true(b"content %d " % (4 * len(BIG)) in content, content)
    receives = counted(g)["receives"] - before
    true(receives <= 4 * len(BIG) / 24576, f"{receives} receives for {4 * len(BIG)} bytes")
    origin.end()


if __name__ == "__main__":
    main([f for n, f in list(globals().items()) if n.startswith("test_")])
