#!/usr/bin/env python3
"""A small server of the One Million Request Challenge with faults to order.

It tests the generator, so it counts with Python's own exact arithmetic and
misbehaves only as told:

    bench_server.py [FAULT[=N]]...

    close_after=N    every N-th answer of a connection says Connection: close
    drop_after=N     closes instead of giving the N-th answer of a connection
    reset_after=N    the same with a reset
    chunked          answers /stats chunked, in pieces
    pieces           sends every answer a byte at a time
    interim          sends 103 before each answer
    lose=N           does not count every N-th event, but answers 200
    double=N         counts every N-th event twice
    forget_users     counts only every other user
    ulp              says the next double above the sum
    status=N         answers events with this status
    garbage          answers events with something that is not HTTP
    mute_after=N     answers nothing any more after N answers of a connection
    stall=MS         once, after 100 answers in all, does nothing for so long
    until_close      answers without a length and closes

Prints its port on the first line, and ends when stdin does.
"""
import asyncio
import json
import math
import socket
import struct
import sys
import time
from fractions import Fraction


class Counts:
    def __init__(self):
        self.total = 0
        self.users = set()
        self.sum = Fraction(0)


def number(value):
    return int(value) if value == int(value) and abs(value) < 2**53 else value


class Server:
    def __init__(self, faults):
        self.faults = faults
        self.counts = Counts()
        self.answers = 0
        self.stalled = False

    def fault(self, name):
        return self.faults.get(name)

    def count(self, event):
        c = self.counts
        self.seen = getattr(self, "seen", 0) + 1
        times = 1
        if self.fault("lose") and self.seen % self.fault("lose") == 0:
            times = 0
        if self.fault("double") and self.seen % self.fault("double") == 0:
            times = 2
        user = event["userId"]
        if not (self.fault("forget_users") and int(user.split("_")[-1]) % 2):
            c.users.add(user)
        for _ in range(times):
            c.total += 1
            c.sum += Fraction(event["value"])

    def stats(self):
        c = self.counts
        total = float(c.sum)
        if self.fault("ulp") and c.total:
            total = math.nextafter(total, math.inf)
        return json.dumps({
            "totalRequests": c.total, "uniqueUsers": len(c.users), "sum": number(total),
            "avg": number(total / c.total) if c.total else 0}).encode()

    def answer(self, method, path, body, close):
        status, content = 200, b""
        if path.endswith("/stats"):
            content = self.stats()
        elif path.endswith("/event") and method == "POST":
            self.count(json.loads(body))
            status = self.fault("status") or 200
            if self.fault("garbage"):
                return b"HTTP/1.1 two hundred\r\n\r\n"
        elif path.endswith("/health"):
            content = b"ok"
        else:
            status = 404
        head = b"HTTP/1.1 %d Whatever\r\n" % status
        if close:
            head += b"Connection: close\r\n"
        if self.fault("interim"):
            head = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + head
        if method == "HEAD":
            return head + b"Content-Length: 1000\r\n\r\n"
        if self.fault("until_close"):
            return head + b"\r\n" + content
        if self.fault("chunked") and content:
            pieces = [content[i:i + 7] for i in range(0, len(content), 7)]
            return (head + b"Transfer-Encoding: chunked\r\n\r\n" +
                    b"".join(b"%x;a=b\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\nX: y\r\n\r\n")
        return head + b"Content-Length: %d\r\n\r\n" % len(content) + content

    async def connection(self, reader, writer):
        try:
            await self.serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def serve(self, reader, writer):
        given = 0
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
            except asyncio.IncompleteReadError:
                return
            lines = head.split("\r\n")
            method, path, _ = lines[0].split(" ")
            fields = {k.lower(): v.strip() for k, v in (l.split(":", 1) for l in lines[1:] if l)}
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            is_stats = path.endswith("/stats")
            given += 1
            if not is_stats:
                if given == self.fault("drop_after"):
                    return
                if given == self.fault("reset_after"):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
                    return
                if self.fault("mute_after") and given > self.fault("mute_after"):
                    await asyncio.sleep(3600)
                if self.fault("stall") and self.answers == 100 and not self.stalled:
                    self.stalled = True
                    time.sleep(self.fault("stall") / 1000)
            self.answers += 1
            close = given == self.fault("close_after") or "close" in fields.get("connection", "")
            out = self.answer(method, path, body, close)
            if self.fault("pieces"):
                for i in range(len(out)):
                    writer.write(out[i:i + 1])
                    if i % 16 == 0:
                        await asyncio.sleep(0)
            else:
                writer.write(out)
            await writer.drain()
            if close or self.fault("until_close"):
                return


async def main():
    faults = {}
    for word in sys.argv[1:]:
        name, _, value = word.partition("=")
        faults[name] = int(value) if value else 1
    server = await asyncio.start_server(Server(faults).connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
