#!/usr/bin/env python3
"""HTTP/2 between two halves of somebody else's: python3-h2 asks our server half, and our client half
asks python3-h2.  What it produces we have to accept, and it accepts what we produce or says why
not; all that was said arrives, in pieces of any size.  (nghttp2's client session and ours are put together in
tests/unit/http/test_h2_peers.c.)"""
import hashlib
import random
import socket
import threading
import time

from harness import Skip, main, needs, same, true

try:
    import h2.config
    import h2.connection
    import h2.errors
    import h2.events
    import h2.exceptions
    import h2.settings
except ImportError:
    h2 = None

CONFIG = """
[server]
workers = 1
[listener a]
listen = 127.0.0.1:{port}
[upstream u]
server = h2c://127.0.0.1:{origin}
[route all]
handler = forward
upstream = u
max_body = off
body_min_rate = off
"""
AT_ONCE = 8


def stuff(n, seed):
    return random.Random(seed).randbytes(n)


def digest(content):
    return hashlib.sha256(content).hexdigest()


class Half:
    """One side of a connection: python3-h2's state, a socket, and how much is sent at a time."""

    def __init__(self, s, client, piece):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.settimeout(20)
        self.s, self.piece = s, piece
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client,
                                                                       header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.pending = {}  # stream: [content that is still to be sent, trailers]
        self.agreed, self.narrow = False, False
        self.flush()

    def flush(self):
        said = self.h2.data_to_send()
        for i in range(0, len(said), self.piece or len(said) or 1):
            self.s.sendall(said[i:i + self.piece] if self.piece else said)

    def say(self, stream, content, trailers=None):
        self.pending[stream] = [content, trailers]
        self.go_on()

    def go_on(self):
        """As much content as the windows allow, here and there with padding."""
        for stream, (content, trailers) in list(self.pending.items()):
            while True:
                most = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
                padding = random.choice((None, None, 0, 7, 255))
                n = min(len(content), most - (padding + 1 if padding is not None else 0))
                if n < 0 or (n == 0 and content):
                    break
                last = n == len(content)
                self.h2.send_data(stream, content[:n], last and not trailers, pad_length=padding)
                content = content[n:]
                if last:
                    if trailers:
                        self.h2.send_headers(stream, trailers, end_stream=True)
                    del self.pending[stream]
                    break
            if stream in self.pending:
                self.pending[stream][0] = content
        self.flush()

    def events(self):
        """What has come; None: the end."""
        data = self.s.recv(1 << 16)
        if not data:
            return None
        events = self.h2.receive_data(data)
        for e in events:
            if isinstance(e, h2.events.DataReceived):
                self.h2.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            elif isinstance(e, h2.events.StreamReset):
                self.pending.pop(e.stream_id, None)
            self.agreed |= isinstance(e, h2.events.SettingsAcknowledged)
        return events

    def disagree(self, rng):
        """Other settings in the middle of it all; behind narrow windows wide ones.  One at a time:
        python3-h2 takes an acknowledgement for that of all it has said."""
        if not self.agreed or not (self.narrow or rng.randrange(4) == 0):
            return
        codes = h2.settings.SettingCodes
        size = 65535 if self.narrow else rng.choice((0, 1, 1000, 65535))
        self.h2.update_settings({codes.INITIAL_WINDOW_SIZE: size,
                                 codes.HEADER_TABLE_SIZE: rng.choice((0, 50, 4096)),
                                 codes.MAX_FRAME_SIZE: rng.choice((16384, 20000, 1 << 20))})
        self.h2.ping(b"%08d" % rng.randrange(10 ** 8))
        self.narrow, self.agreed = size < 65535, False


class Origin:
    """Answers as the path says: /SIZE/SEED/TRAILERS/HINTS/RESET."""

    def __init__(self, piece):
        self.piece, self.wrong = piece, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            s, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        try:
            half, asked = Half(s, False, self.piece), {}
            while (events := half.events()) is not None:
                complete = []
                for e in events:
                    self.event(asked, complete, e)
                for stream in complete:
                    if stream in asked:  # and not reset since
                        self.answer(half, stream, *asked.pop(stream))
                half.disagree(random)
                half.go_on()
        except h2.exceptions.ProtocolError as e:
            self.wrong.append(repr(e))
        except OSError:
            pass
        s.close()

    def event(self, asked, complete, e):
        if isinstance(e, h2.events.RequestReceived):
            asked[e.stream_id] = [dict(e.headers), b""]
        elif isinstance(e, h2.events.DataReceived):
            asked[e.stream_id][1] += e.data
        elif isinstance(e, h2.events.StreamReset):
            asked.pop(e.stream_id, None)
        elif isinstance(e, h2.events.StreamEnded):
            complete.append(e.stream_id)

    def answer(self, half, stream, fields, content):
        size, seed, trailers, hints, reset = map(int, fields[":path"].strip("/").split("/"))
        if reset == 1:
            half.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
            return
        if hints:
            half.h2.send_headers(stream, [(":status", "103"), ("link", f"</{seed}>")])
        half.h2.send_headers(stream, [(":status", "200"), ("x-got", digest(content)),
                                      ("x-cookie", fields.get("cookie", "")), ("x-long", "y" * (seed % 9 * 999))])
        half.say(stream, stuff(size, seed), [("x-sum", str(seed))] if trailers else None)


class Ask:
    def __init__(self, rng, seed, most):
        self.seed, self.size = seed, rng.choice((0, 1, 100, most))
        self.reset = rng.choice((0, 0, 0, 0, 1, 2))  # 1: by the origin, 2: by us
        # python3-h2 cannot bear hints for what it has reset.
        self.trailers, self.hints = rng.randrange(2), rng.randrange(2) if self.reset != 2 else 0
        self.content = stuff(rng.choice((0, 1, 5000, most)), -seed) if rng.randrange(2) else None
        self.got, self.fields, self.sum, self.links, self.ended, self.was_reset = b"", {}, None, [], False, None

    def begin(self, half, stream):
        path = f"/{self.size}/{self.seed}/{self.trailers}/{self.hints}/{self.reset}"
        fields = [(":method", "GET" if self.content is None else "POST"), (":scheme", "http"),
                  (":authority", "a"), (":path", path), ("cookie", f"a={self.seed}"), ("cookie", "b=c"),
                  ("x-once", str(self.seed)), ("x-again", "the same each time")]
        more = {"priority_weight": 1 + self.seed % 256, "priority_exclusive": bool(self.seed % 2)} \
            if self.seed % 3 == 0 else {}
        half.h2.send_headers(stream, fields, end_stream=self.content is None, **more)
        if self.seed % 4 == 0:
            half.h2.prioritize(stream + 2, weight=7, depends_on=stream)
        if self.content is not None:
            half.say(stream, self.content, [("x-trailer", "1")] if self.seed % 5 == 0 else None)

    def check(self):
        what = vars(self)
        if self.reset == 2:
            return
        if self.reset == 1:
            true(self.was_reset is not None or self.fields.get(":status") in ("502", "503"), what)
            return
        same((self.fields[":status"], self.fields["x-got"]), ("200", digest(self.content or b"")))
        same(self.fields["x-cookie"], f"a={self.seed}; b=c")
        same(self.fields.get("x-long", ""), "y" * (self.seed % 9 * 999))
        true(self.got == stuff(self.size, self.seed), f"{self.seed}: {len(self.got)} of {self.size}")
        same(self.sum, str(self.seed) if self.trailers else None)
        same(self.links, [f"</{self.seed}>"] if self.hints else [])


def note(ask, e):
    if isinstance(e, h2.events.InformationalResponseReceived):
        ask.links += [v for n, v in e.headers if n == "link"]
    elif isinstance(e, h2.events.ResponseReceived):
        ask.fields = dict(e.headers)
    elif isinstance(e, h2.events.DataReceived):
        ask.got += e.data
    elif isinstance(e, h2.events.TrailersReceived):
        ask.sum = dict(e.headers).get("x-sum")
    elif isinstance(e, h2.events.StreamReset):
        ask.was_reset, ask.ended = e.error_code, True
    elif isinstance(e, h2.events.StreamEnded):
        ask.ended = True


def converse(g, seed, piece, most, count):
    rng = random.Random(seed)
    random.seed(seed)
    half = Half(socket.create_connection(("127.0.0.1", g.port)), True, piece)
    waiting = [Ask(rng, i, most) for i in range(1, count + 1)]
    open_ones, done = {}, []
    deadline = time.monotonic() + 30
    while waiting or open_ones:
        true(time.monotonic() < deadline, f"seed {seed}: still open: {[vars(a) for a in open_ones.values()]}")
        while waiting and len(open_ones) < AT_ONCE:
            stream = half.h2.get_next_available_stream_id()
            open_ones[stream] = waiting.pop(0)
            open_ones[stream].begin(half, stream)
        half.disagree(rng)
        half.go_on()
        events = half.events()
        true(events is not None, f"seed {seed}: it has closed")
        for e in events:
            if isinstance(e, h2.events.ConnectionTerminated):
                raise AssertionError(f"seed {seed}: GOAWAY {e.error_code}")
            ask = open_ones.get(getattr(e, "stream_id", None))
            if ask:
                note(ask, e)
        for stream, ask in list(open_ones.items()):
            if ask.reset == 2 and not ask.ended and (ask.fields or rng.randrange(2)):
                half.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
                half.pending.pop(stream, None)
                ask.ended = True
            if ask.ended:
                done.append(open_ones.pop(stream))
        half.flush()
    half.s.close()
    for ask in done:
        ask.check()
    same(len(done), count)


def differential(gate, pieces, most, count, seeds):
    if h2 is None:
        raise Skip("python3-h2 is not there")
    needs("http/2")
    for ours, theirs in pieces:
        origin = Origin(theirs)
        g = gate(CONFIG, origin=origin.port)
        try:
            for seed in seeds:
                converse(g, seed, ours, most, count)
        finally:
            same(origin.wrong, [], "what the origin found wrong")
        g.end_now()


def test_whole(gate):
    differential(gate, [(0, 0)], 100000, 40, range(3))


def test_byte_by_byte(gate):
    differential(gate, [(1, 0), (0, 1)], 2000, 20, range(2))


def test_in_pieces(gate):
    differential(gate, [(7, 1000), (1000, 13)], 20000, 30, range(2))


if __name__ == "__main__":
    main([t for n, t in list(globals().items()) if n.startswith("test_")], at_once=3)
