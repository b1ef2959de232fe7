#!/usr/bin/env python3
"""The limits of HTTP/2, by frames written by hand: what is announced, and when it is enough."""
import struct

from harness import main, same, true

CONFIG = """
[server]
workers = 1
{server}
[listener a]
listen = 127.0.0.1:{port}
{listener}
[route all]
handler = respond
body = fine
"""
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
MAX_STREAMS, WINDOW = 3, 4
ENHANCE_YOUR_CALM = 11
GET = b"\x82\x86\x84\x41\x01a"  # GET http / a


def frame(kind, flags=0, stream=0, content=b""):
    return struct.pack("!I", len(content))[1:] + struct.pack("!BBI", kind, flags, stream) + content


class Peer:
    def __init__(self, g):
        self.s = g.connect()
        self.data = b""
        self.s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS))

    def frames(self):
        """Each as (kind, stream, content), until the end of the connection."""
        while True:
            while len(self.data) >= 9:
                n = int.from_bytes(self.data[:3], "big")
                if len(self.data) < 9 + n:
                    break
                kind, _, stream = struct.unpack("!BBI", self.data[3:9])
                content, self.data = self.data[9:9 + n], self.data[9 + n:]
                yield kind, stream, content
            try:
                piece = self.s.recv(1 << 16)
            except OSError:
                return
            if not piece:
                return
            self.data += piece

    def settings(self):
        content = next(c for k, _, c in self.frames() if k == SETTINGS and c)
        return dict(struct.unpack("!HI", content[i:i + 6]) for i in range(0, len(content), 6))

    def ends_with(self):
        """The reason that the other side gives for ending."""
        return next((struct.unpack("!I", c[4:8])[0] for k, _, c in self.frames() if k == GOAWAY), None)


def test_what_is_announced(gate):
    for more, streams, window in (("", 128, 256 << 10), ("h2_max_streams = 7\nh2_window = 64k", 7,
                                                        64 << 10)):
        for place in ("server", "listener"):
            g = gate(CONFIG, **{"server": "", "listener": "", place: more})
            told = Peer(g).settings()
            same((told.get(MAX_STREAMS), told.get(WINDOW, 65535)), (streams, window), more)
            g.end_now()


def test_h2c_can_be_refused(gate):
    g = gate(CONFIG, server="", listener="h2c = no")
    with g.connect() as s:
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS))
        true(s.recv(100).startswith(b"HTTP/1.1 505"), "it speaks HTTP/1 only")


def flood(gate, setting, frames):
    """Below the limit the connection stays; above it, it is told to calm down."""
    g = gate(CONFIG, server="", listener=setting)
    p = Peer(g)
    p.s.sendall(b"".join(frames(range(5))))
    p.s.sendall(frame(PING, content=b"still up"))
    same(next(c for k, _, c in p.frames() if k == PING and c == b"still up"), b"still up")
    p.s.sendall(b"".join(frames(range(5, 50))))
    same(p.ends_with(), ENHANCE_YOUR_CALM, setting)


def test_h2_resets(gate):
    flood(gate, "h2_resets = 10/10s", lambda numbers: (
        frame(HEADERS, 4, 2 * i + 1, GET) + frame(RST_STREAM, 0, 2 * i + 1, b"\0\0\0\x08")
        for i in numbers))


def test_h2_control(gate):
    flood(gate, "h2_control = 20/10s", lambda numbers: (frame(PING, content=b"%08d" % i)
                                                        for i in numbers))


if __name__ == "__main__":
    main([t for n, t in sorted(globals().items()) if n.startswith("test_")])
