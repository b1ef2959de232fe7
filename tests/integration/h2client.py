"""HTTP/2 by hand: frames as bytes, and a client that can do what no client should.

HPACK is python3-hpack's, where it is there; requests are written without it.
"""
import socket
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, MORE = range(10)
PRIORITY_UPDATE = 16
END, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32
NO_ERROR, PROTOCOL, INTERNAL, FLOW, _, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION, _, CALM = range(12)
GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def number(n):
    return struct.pack(">I", n)


def length(n, prefix=127):
    if n < prefix:
        return bytes([n])
    out, n = bytes([prefix]), n - prefix
    while n >= 128:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def pack(fields):
    """Literals without indexing: no state, and anything can be said."""
    out = b""
    for name, value in fields:
        name, value = (x.encode("latin-1") for x in (name, value))
        out += b"\0" + length(len(name)) + name + length(len(value)) + value
    return out


def get(path="/", **more):
    fields = dict(GET)
    fields[":path"] = path
    return list(fields.items()) + [(k.replace("_", "-"), v) for k, v in more.items()]


def post(path="/", **more):
    return [(":method", "POST")] + get(path, **more)[1:]


def headers(stream, fields=GET, end=True, more=False, flags=0, before=b""):
    return frame(HEADERS, (END if end else 0) | (0 if more else END_HEADERS) | flags, stream,
                 before + pack(fields))


def data(stream, content=b"", end=False, flags=0):
    return frame(DATA, (END if end else 0) | flags, stream, content)


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *p) for p in pairs))


def window(stream, n):
    return frame(WINDOW, 0, stream, number(n))


def more(stream, fragment):
    """A CONTINUATION, and the last one."""
    return frame(MORE, END_HEADERS, stream, fragment)


def priority(stream, on=0, weight=255, exclusive=False):
    return frame(PRIORITY, 0, stream, number(on | exclusive << 31) + bytes([weight]))


def goaway(last=0, error=NO_ERROR, text=b""):
    return frame(GOAWAY, 0, 0, number(last) + number(error) + text)


def rst(stream, error=CANCEL):
    return frame(RST, 0, stream, number(error))


def ping(text=b"12345678", ack=False):
    return frame(PING, ACK if ack else 0, 0, text)


class Ended(Exception):
    pass


class Client:
    """One connection.  Frames come one by one from next(); answers are gathered by stream."""

    def __init__(self, port, hello=True, seconds=5, wrap=None, first=b""):
        self.s = socket.create_connection(("127.0.0.1", port), seconds)
        if wrap:
            self.s = wrap(self.s)
        else:
            self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.s.settimeout(seconds)
        self.buffer = b""
        self.content, self.status, self.fields, self.ended, self.resets = {}, {}, {}, set(), {}
        self.goaways, self.trailers, self.interim, self.settings = [], {}, {}, {}
        self.automatic = True  # windows are given back
        self.acknowledges = True  # SETTINGS
        try:
            import hpack
            self.decoder = hpack.Decoder()
            self.decoder.max_header_list_size = 1 << 20
        except ImportError:
            self.decoder = None
        if hello:
            self.send(PREFACE + (first or settings()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()

    def send(self, *pieces):
        self.s.sendall(b"".join(pieces))

    def next(self):
        """The next frame: (type, flags, stream, payload)."""
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            try:
                piece = self.s.recv(1 << 18)
            except ConnectionResetError:
                raise Ended(f"reset, {self.goaways}, {self.status}") from None
            if not piece:
                raise Ended(f"closed, {self.goaways}")
            self.buffer += piece
        n = int.from_bytes(self.buffer[:3], "big")
        kind, flags = self.buffer[3], self.buffer[4]
        stream = int.from_bytes(self.buffer[5:9], "big")
        payload, self.buffer = self.buffer[9:9 + n], self.buffer[9 + n:]
        self.note(kind, flags, stream, payload)
        return kind, flags, stream, payload

    def note(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            self.settings.update(struct.iter_unpack(">HI", payload))
            if self.acknowledges:
                self.send(frame(SETTINGS, ACK))
        elif kind == PING and not flags & ACK:
            self.send(ping(payload, True))
        elif kind == HEADERS:
            self.note_head(flags, stream, payload)
        elif kind == DATA:
            self.content[stream] = self.content.get(stream, b"") + payload
            if self.automatic and payload:
                self.send(window(0, len(payload)))
                if not flags & END:
                    self.send(window(stream, len(payload)))
        elif kind == RST:
            self.resets[stream] = int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            self.goaways.append(struct.unpack(">II", payload[:8]))
        if kind in (DATA, HEADERS) and flags & END:
            self.ended.add(stream)

    def note_head(self, flags, stream, payload):
        fields = dict(self.decoder.decode(payload)) if self.decoder else {":status": "200"}
        status = int(fields.get(":status", 0))
        if 100 <= status < 200:
            self.interim.setdefault(stream, []).append(fields)
        elif stream in self.status:
            self.trailers[stream] = fields
        else:
            self.status[stream], self.fields[stream] = status, fields

    def wait(self, *streams):
        """Until these have ended, or are reset."""
        while not all(s in self.ended or s in self.resets for s in streams):
            self.next()

    def until(self, wanted):
        """Frames until one of this type, which is returned."""
        while True:
            got = self.next()
            if got[0] == wanted:
                return got

    def ask(self, stream, fields=GET, content=b""):
        self.send(headers(stream, fields, end=not content))
        if content:
            self.send(*[data(stream, content[i:i + 16384], i + 16384 >= len(content))
                        for i in range(0, len(content), 16384)])
        self.wait(stream)
        return self.status.get(stream), self.content.get(stream, b"")

    def outcome(self, seconds=2):
        """What a mistake has led to: ("goaway", code), ("rst", code), "closed", "pong", "nothing"."""
        self.s.settimeout(seconds)
        found = []
        try:
            while True:
                kind, flags, stream, payload = self.next()
                if kind == GOAWAY:
                    found.append(("goaway", self.goaways[-1][1]))
                elif kind == RST:
                    found.append(("rst", self.resets[stream]))
                elif kind == PING and flags & ACK:
                    found.append("pong")
                    return found
        except Ended:
            found.append("closed")
        except (socket.timeout, TimeoutError):
            found.append("nothing")
        return found


def ends(c, seconds=5):
    """The code of the GOAWAY with which the connection ends; None: there was none."""
    c.s.settimeout(seconds)
    try:
        while True:
            c.next()
    except Ended:
        return c.goaways[-1][1] if c.goaways else None


def accompany(port, path):
    """Asks all the while; at each line of input says how long it waited and what went wrong."""
    import json
    import select
    import sys
    times, failed, stream = [], [], 1
    try:
        with Client(port) as c:
            print("ready", flush=True)
            while True:
                if select.select([sys.stdin], [], [], 0.002)[0]:
                    if not sys.stdin.readline():
                        return
                    print(json.dumps([times, failed]), flush=True)
                    times, failed = [], []
                began = time.monotonic()
                status, _ = c.ask(stream, get(path))
                times.append(time.monotonic() - began)
                if status != 200:
                    failed.append(status)
                stream += 2
    except Exception as e:
        failed.append(repr(e))
    sys.stdin.readline()
    print(json.dumps([times, failed]), flush=True)


class Companion:
    """A well-behaved client, in a process of its own, that asks all the while."""

    def __init__(self, port, path="/hello"):
        import subprocess
        import sys
        self.process = subprocess.Popen([sys.executable, __file__, str(port), path],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def lap(self):
        """Since the last one: p99 in seconds, of how many, and what went wrong."""
        import json
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        times, failed = json.loads(self.process.stdout.readline())
        times = sorted(times) or [99]
        return times[min(len(times) - 1, int(len(times) * 0.99))], len(times), failed

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


if __name__ == "__main__":
    import sys
    accompany(int(sys.argv[1]), sys.argv[2])
