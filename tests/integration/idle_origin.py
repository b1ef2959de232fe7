"""An origin that ends connections that idle, exactly so many ms after its answer.

idle_origin.py MS: says its port, answers every request, and tells GET /count how many
POSTs came, of how many different X-Request-Id, on how many connections, and how many of those
it ended."""
import heapq
import selectors
import socket
import sys
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Origin:
    def __init__(self, idle_s):
        self.idle_s, self.posts, self.ids, self.connections, self.ended = idle_s, 0, set(), 0, 0
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.due = []  # when, number, connection
        self.numbers = 0

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except BlockingIOError:
                return
            s.setblocking(False)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            self.selector.register(s, selectors.EVENT_READ, {"data": b"", "at": time.monotonic()})

    def close(self, s):
        self.selector.unregister(s)
        s.close()

    def read(self, s, state):
        try:
            piece = s.recv(1 << 16)
        except BlockingIOError:
            return
        except ConnectionError:
            piece = b""
        if not piece:
            self.close(s)
            return
        state["data"] += piece
        while True:
            head, end, rest = state["data"].partition(b"\r\n\r\n")
            if not end:
                return
            fields = dict(l.lower().split(b": ", 1) for l in head.split(b"\r\n")[1:])
            length = int(fields.get(b"content-length", 0))
            if len(rest) < length:
                return
            state["data"] = rest[length:]
            answer = ANSWER
            if head.startswith(b"POST"):
                self.posts += 1
                self.ids.add(fields[b"x-request-id"])
            elif head.startswith(b"GET /count"):
                text = f"{self.posts} {len(self.ids)} {self.connections} {self.ended}".encode()
                answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text
            s.send(answer)
            state["at"] = time.monotonic()
            self.numbers += 1
            heapq.heappush(self.due, (state["at"] + self.idle_s, self.numbers, s, state))

    def run(self):
        print(self.listener.getsockname()[1], flush=True)
        while True:
            wait = max(0, self.due[0][0] - time.monotonic()) if self.due else None
            for key, _ in self.selector.select(wait):
                if key.data is None:
                    self.accept()
                else:
                    self.read(key.fileobj, key.data)
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                at, _, s, state = heapq.heappop(self.due)
                if s.fileno() >= 0 and state["at"] + self.idle_s <= at:
                    self.ended += 1
                    self.close(s)


Origin(int(sys.argv[1]) / 1000).run()
