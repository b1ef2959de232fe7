"""An origin that speaks HTTP/2 by hand, and misbehaves on command: the path says how."""
import socket
import threading
import time

import hpack

from h2client import (CANCEL, DATA, END, GOAWAY, HEADERS, INTERNAL, NO_ERROR, PADDED, PING, PREFACE,
                      REFUSED, RST, SETTINGS, WINDOW, WITH_PRIORITY, ACK, data, frame, headers, number,
                      rst, settings, window)


class Stream:
    def __init__(self, number, fields):
        self.number, self.fields, self.content, self.ended = number, fields, b"", False
        self.trailers, self.tunnel = [], False
        self.path = dict(fields)[":path"]


class Connection:
    def __init__(self, origin, s):
        self.origin, self.s, self.buffer, self.streams = origin, s, b"", {}
        self.lock, self.decoder, self.going = threading.Lock(), hpack.Decoder(), False

    def send(self, *pieces):
        with self.lock:
            self.s.sendall(b"".join(pieces))

    def take(self, n):
        while len(self.buffer) < n:
            piece = self.s.recv(1 << 16)
            if not piece:
                raise ConnectionError
            self.buffer += piece
        piece, self.buffer = self.buffer[:n], self.buffer[n:]
        return piece

    def run(self):
        o = self.origin
        try:
            if self.take(len(PREFACE)) != PREFACE:
                return
            self.send(settings(*o.settings))
            while True:
                self.one()
        except (ConnectionError, OSError):
            pass
        finally:
            o.closed += 1
            self.s.close()

    def one(self):
        head = self.take(9)
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big") & 0x7fffffff
        payload = self.take(int.from_bytes(head[:3], "big"))
        o = self.origin
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == RST:
            o.resets.append((self.streams[stream].path, int.from_bytes(payload, "big")))
        elif kind == HEADERS and stream not in self.streams:
            assert not flags & (PADDED | WITH_PRIORITY)
            fields = [(n, v) for n, v in self.decoder.decode(payload)]
            self.streams[stream] = t = Stream(stream, fields)
            with o.lock:
                o.requests += 1
                o.seen.append(t)
                o.open += 1
                o.most = max(o.most, o.open)
            t.ended = bool(flags & END)
            if not self.begun(t) and t.ended:
                self.answer(t)
        elif kind == HEADERS:
            t = self.streams[stream]
            t.trailers, t.ended = self.decoder.decode(payload), bool(flags & END)
            self.answer(t)
        elif kind == DATA and self.streams[stream].tunnel:
            t = self.streams[stream]
            t.ended = bool(flags & END)
            self.send(data(stream, payload, end=t.ended))
            if payload:  # an increment of nothing is an error (RFC 9113, 6.9)
                self.send(window(0, len(payload)), window(stream, len(payload)))
        elif kind == DATA:
            t = self.streams[stream]
            t.content += payload
            t.ended = bool(flags & END)
            if payload and not t.path.startswith("/closed-window"):
                self.send(window(0, len(payload)), window(stream, len(payload)))
            if t.ended:
                self.answer(t)

    def begun(self, t):
        """What is answered before the content has come; True: nothing more is said."""
        if ":protocol" in dict(t.fields):
            return self.connected(t)
        if t.path.startswith("/early"):
            self.say(t, b"early")
            self.send(rst(t.number, NO_ERROR))
            return True
        return False

    def connected(self, t):
        """Extended CONNECT (RFC 8441): from /switch/... a tunnel that echoes; else what is not one."""
        t.tunnel = t.path.startswith("/switch")
        if t.tunnel:
            protocol = dict(t.fields).get("sec-websocket-protocol")
            more = [("sec-websocket-protocol", protocol)] if protocol else []
            self.send(headers(t.number, [(":status", "200"), *more], end=False))
        else:
            self.say(t, b"no tunnel", status="403")
        return True

    def count(self, t):
        return sum(s.path == t.path for s in self.origin.seen)

    def done(self):
        with self.origin.lock:
            self.origin.open -= 1

    def say(self, t, content=b"", *fields, status="200"):
        self.send(headers(t.number, [(":status", status), ("content-length", str(len(content))), *fields],
                          end=False), data(t.number, content, end=True))
        self.done()

    def answer(self, t):
        name = t.path.split("?")[0].strip("/").split("/")[0].replace("-", "_")
        getattr(self, "do_" + name, self.do_echo)(t)

    def do_echo(self, t):
        said = "".join(f"{n}: {v}\n" for n, v in t.fields) + f"content {len(t.content)}\n"
        said += "".join(f"trailer {n}: {v}\n" for n, v in t.trailers)
        self.say(t, said.encode())

    def do_hold(self, t):
        ms = int(t.path.split("?")[0].split("/")[2])
        def later():
            try:
                self.say(t, b"held")
            except OSError:
                pass
        threading.Timer(ms / 1000, later).start()

    def do_silent(self, t):
        pass

    def do_refuse_once(self, t):
        if self.count(t) > 1:
            return self.say(t, b"at last")
        self.send(rst(t.number, REFUSED))
        self.done()

    def do_refuse(self, t):
        self.send(rst(t.number, REFUSED))
        self.done()

    def do_going(self, t):
        """The first time: this one was not processed, those before it will be."""
        if self.count(t) > 1:
            return self.say(t, b"elsewhere")
        self.send(frame(GOAWAY, 0, 0, number(t.number - 2) + number(NO_ERROR)))
        self.done()

    def do_served_going(self, t):
        self.send(frame(GOAWAY, 0, 0, number(t.number) + number(NO_ERROR)))
        self.say(t, b"the last")

    def do_reset(self, t):
        self.send(rst(t.number, INTERNAL))
        self.done()

    def do_cut(self, t):
        self.send(headers(t.number, [(":status", "200")], end=False), data(t.number, b"some"))
        time.sleep(0.1)
        self.send(rst(t.number, INTERNAL))
        self.done()

    def do_close(self, t):
        self.s.shutdown(socket.SHUT_RDWR)
        self.done()

    def do_hints(self, t):
        self.send(headers(t.number, [(":status", "103"), ("link", "</a.css>; rel=preload")], end=False))
        self.say(t, b"after the hints")

    def do_trailers(self, t):
        self.send(headers(t.number, [(":status", "200")], end=False), data(t.number, b"content"),
                  headers(t.number, [("x-sum", "1"), ("grpc-status", "0")]))
        self.done()

    def do_only_head(self, t):
        self.send(headers(t.number, [(":status", "200"), ("grpc-status", "5")]))
        self.done()

    def do_short(self, t):
        self.send(headers(t.number, [(":status", "200"), ("content-length", "10")], end=False),
                  data(t.number, b"short", end=True))
        self.done()

    def do_long(self, t):
        self.send(headers(t.number, [(":status", "200"), ("content-length", "3")], end=False),
                  data(t.number, b"too long", end=True))
        self.done()

    def do_upper(self, t):
        self.send(headers(t.number, [(":status", "200"), ("X-Upper", "1")], end=True))
        self.done()

    def do_big_head(self, t):
        self.send(headers(t.number, [(":status", "200"), ("a", "y" * 9000), ("b", "y" * 5000)], end=True))
        self.done()

    def do_garbage(self, t):
        self.send(b"SSH-2.0-hello\r\n" * 10)
        self.done()

    def do_ping(self, t):
        self.send(frame(PING, 0, 0, b"abcdefgh"))
        self.say(t, b"pinged")


class H2Origin:
    def __init__(self, *settings, port=0):
        self.settings = settings
        self.requests = self.connections = self.closed = self.open = self.most = 0
        self.resets, self.seen, self.lock = [], [], threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            threading.Thread(target=Connection(self, s).run, daemon=True).start()

    def end(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
