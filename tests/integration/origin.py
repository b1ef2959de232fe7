"""An origin that misbehaves on command: the path says how.  One thread a connection."""
import base64
import hashlib
import socket
import socketserver
import struct
import threading
import time


def websocket_accept(key):
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return base64.b64encode(digest).decode()


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


class Closed(Exception):
    pass


class Handler(socketserver.BaseRequestHandler):
    def setup(self):
        self.data = b""
        if self.request.family == socket.AF_INET:
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def more(self):
        piece = self.request.recv(1 << 16)
        if not piece:
            raise Closed
        self.data += piece

    def line(self):
        while b"\r\n" not in self.data:
            self.more()
        line, _, self.data = self.data.partition(b"\r\n")
        return line

    def take(self, n):
        while len(self.data) < n:
            self.more()
        piece, self.data = self.data[:n], self.data[n:]
        return piece

    def content(self):
        """Length and digest of the request's content, and its trailers."""
        digest, length = hashlib.sha256(), 0
        if "content-length" in self.fields:
            left = int(self.fields["content-length"])
            while left:
                if not self.data:
                    self.more()
                piece, self.data = self.data[:left], self.data[left:]
                digest.update(piece)
                length += len(piece)
                left -= len(piece)
        elif self.fields.get("transfer-encoding") == "chunked":
            while n := int(self.line(), 16):
                piece = self.take(n)
                self.take(2)
                digest.update(piece)
                length += n
            self.trailers = []
            while line := self.line().decode("latin-1"):
                self.trailers.append(line)
        return length, digest.hexdigest()

    def say(self, status, content=b"", fields=""):
        self.request.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n"
                             f"{fields}\r\n".encode() + content)

    def handle(self):
        self.server.connections += 1
        try:
            while True:
                self.one()
                self.server.answered += 1
        except (Closed, ConnectionError, ValueError):
            pass

    def one(self):
        self.method, self.target, _ = self.line().decode("latin-1").split(" ")
        self.head, self.fields = [], {}
        while line := self.line().decode("latin-1"):
            name, _, value = line.partition(":")
            self.head.append(line)
            self.fields[name.lower()] = value.strip()
        self.server.requests += 1
        self.server.seen.append((self.method, self.target))
        if self.server.ill and self.server.ill(self):
            return
        name = self.target.split("?")[0].strip("/").split("/")[0].replace("-", "_") or "echo"
        getattr(self, "do_" + name, self.do_echo)()

    def do_echo(self):
        self.trailers = []
        length, digest = self.content()
        self.say(200, "\n".join([f"{self.method} {self.target}", *self.head,
                                 *("trailer " + t for t in self.trailers),
                                 f"content {length} {digest}"]).encode())

    def do_reset(self):
        reset(self.request)
        raise Closed

    def do_reset_once(self):
        """Hears all of it, and the first time says nothing to it."""
        self.trailers = []
        length, digest = self.content()
        if sum(target == self.target for _, target in self.server.seen) == 1:
            reset(self.request)
            raise Closed
        self.say(200, "\n".join([f"content {length} {digest}",
                                 *("trailer " + t for t in self.trailers)]).encode())

    def do_close(self):
        raise Closed

    def do_silent(self):
        self.request.settimeout(30)
        if not self.request.recv(1):
            self.server.gone += 1
        raise Closed

    def do_hold(self):
        """Answers after so many ms; how many do so at a time is counted."""
        s = self.server
        with s.lock:
            s.held += 1
            s.most = max(s.most, s.held)
        time.sleep(int(self.target.split("?")[0].split("/")[2]) / 1000)
        with s.lock:
            s.held -= 1
        self.say(200, b"held")

    def do_garbage(self):
        self.request.sendall(b"SSH-2.0-hello\r\n\r\n")
        raise Closed

    def do_big_head(self):
        self.say(200, b"x", "A: " + "y" * 40000 + "\r\n")

    def do_truncate(self):
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
        raise Closed

    def do_truncate_chunks(self):
        self.request.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        raise Closed

    def do_bad_chunk(self):
        self.request.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        time.sleep(0.1)
        self.request.sendall(b"zz\r\nhello\r\n")
        raise Closed

    def do_bad_chunk_at_once(self):
        """Together with its head, and what was well."""
        self.request.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                             b"5\r\nhello\r\nzz\r\n")
        raise Closed

    def do_both(self):
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
                             b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")

    def do_stall(self):
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
        time.sleep(30)

    def do_chunked(self):
        self.request.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(5):
            self.request.sendall(b"6\r\npiece" + str(i).encode() + b"\r\n")
            time.sleep(0.02)
        self.request.sendall(b"0\r\n\r\n")

    def do_late(self):
        """All of its content at once; that it is all, a while later."""
        self.request.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        time.sleep(0.3)
        self.request.sendall(b"0\r\n\r\n")

    def do_trailers(self):
        self.request.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")
        for byte in b"X-Sum: 1 2\r\nContent-Length: 9\r\nX-Empty:\r\n\r\n":
            self.request.sendall(bytes([byte]))
            time.sleep(0.001)

    def do_until_close(self):
        self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        raise Closed

    def do_early(self):
        """Answers before the content has come, then reads it."""
        self.say(200, b"early")
        self.content()

    def do_hints(self):
        self.request.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        self.say(200, b"after the hints")

    def do_continue(self):
        self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.do_echo()

    def do_status(self):
        status = int(self.target.split("/")[2])
        if status in (204, 304):
            self.request.sendall(f"HTTP/1.1 {status} X\r\nETag: \"a\"\r\n\r\n".encode())
        else:
            self.say(status, b"status")

    def do_head(self):
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")

    def do_large(self):
        n = int(self.target.split("/")[2])
        self.request.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n".encode())
        piece = bytes(range(256)) * 256
        while n:
            self.request.sendall(piece[:n])
            n -= min(n, len(piece))

    def do_switch(self):
        """Switches to the asked protocol and echoes."""
        token = self.target.split("/")[2]
        key = self.fields.get("sec-websocket-key")
        answer = f"Sec-WebSocket-Accept: {websocket_accept(key)}\r\n" if key else ""
        if self.target.endswith("/wrong"):
            answer = "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"
        self.request.sendall(f"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: {token}\r\n{answer}\r\n"
                             .encode())
        while True:
            if not self.data:
                self.more()
            self.request.sendall(self.data)
            self.data = b""

    def do_hop(self):
        self.say(200, b"hop", "Connection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=1\r\n"
                              "X-Kept: 2\r\nVia: 1.1 origin\r\n")

    def do_once(self):
        """Serves one request a connection without saying so."""
        self.say(200, b"once")
        raise Closed


class Origin(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 1024

    def __init__(self, port=0, path=None):
        self.requests = self.connections = self.answered = self.gone = 0
        self.held = self.most = 0
        self.ill = None # a function of the handler: True when it has answered
        self.lock = threading.Lock()
        self.seen = []
        if path:
            self.address_family = socket.AF_UNIX
        super().__init__(path or ("127.0.0.1", port), Handler)
        self.port = None if path else self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, *_):
        pass

    def end(self):
        self.shutdown()
        self.server_close()
