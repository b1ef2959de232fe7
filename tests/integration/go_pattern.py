#!/usr/bin/env python3
"""A client that behaves as the One Million Request Challenge's own, in Go, does.

A thousand connections post events and look at the status only: the body of
the answer is never read.  Go's transport uses such a connection again exactly
when the head promised no content; otherwise it closes it and opens another.
Here that second case is an error, since a server that provokes it makes a
million connections out of a thousand.

    go_pattern.py URL [-n EVENTS] [-c CONNECTIONS]

Prints one JSON line and exits 0 when every event was answered with 200, each
connection was used to the end, and /stats grew by exactly what was sent.
"""
import argparse
import json
import selectors
import socket
import sys
import time
import urllib.parse
import urllib.request


class Connection:
    def __init__(self, client):
        self.client = client
        self.got = b""
        self.used = 0
        self.sock = socket.socket()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect(client.address)
        self.sock.setblocking(False)
        client.dialled += 1
        client.open += 1
        client.selector.register(self.sock, selectors.EVENT_READ, self)

    def send(self):
        """The next event; False when there is none."""
        number = self.client.next_number()
        if number is None:
            return False
        body = b'{"userId":"%s%d","value":%d.5}' % (self.client.prefix, number % 75000,
                                                    number % 1000)
        self.sock.send(b"POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Go-http-client/1.1\r\n"
                       b"Content-Length: %d\r\nContent-Type: application/json\r\n"
                       b"Accept-Encoding: gzip\r\n\r\n%s" %
                       (self.client.path, self.client.host, len(body), body))
        return True

    def readable(self):
        # As much as there is, as Go's buffered reader does; then only the head is looked at.
        try:
            more = self.sock.recv(4096)
        except ConnectionError:
            more = b""
        if not more:
            self.client.lost += 1
            self.close()
            return
        self.got += more
        end = self.got.find(b"\r\n\r\n")
        if end < 0:
            return
        head, rest = self.got[:end].lower(), self.got[end + 4:]
        self.got = b""
        self.used += 1
        self.client.answered += 1
        if not head.startswith(b"http/1.1 200 "):
            self.client.not_200 += 1
        lines = head.split(b"\r\n")[1:]
        if b"content-length: 0" not in lines or b"connection: close" in lines or rest:
            self.client.unusable += 1 # Go would close it with its body unread
            self.close()
            replacement = Connection(self.client)
            if not replacement.send():
                replacement.close()
        elif not self.send():
            self.close()

    def close(self):
        self.client.selector.unregister(self.sock)
        self.sock.close()
        self.client.open -= 1


class Client:
    def __init__(self, url, events, prefix):
        parts = urllib.parse.urlsplit(url)
        self.host = parts.netloc.encode()
        self.address = (parts.hostname, parts.port or 80)
        self.path = parts.path.rstrip("/").encode() + b"/event"
        self.prefix = prefix.encode()
        self.events, self.number = events, 0
        self.selector = selectors.DefaultSelector()
        self.dialled = self.answered = self.lost = self.not_200 = self.unusable = self.open = 0

    def next_number(self):
        if self.number == self.events:
            return None
        self.number += 1
        return self.number - 1

    def run(self, connections, seconds):
        deadline = time.monotonic() + seconds
        for _ in range(min(connections, self.events)):
            Connection(self).send()
        while self.open > 0 and time.monotonic() < deadline:
            for key, _ in self.selector.select(1):
                key.data.readable()


def stats(url):
    with urllib.request.urlopen(url.rstrip("/") + "/stats", timeout=10) as answer:
        return json.load(answer)


def go_pattern(url, events=1000000, connections=1000, seconds=600):
    before = stats(url)
    prefix = "user_" if before["totalRequests"] == 0 else f"go_{time.time_ns():x}_"
    client = Client(url, events, prefix)
    begin = time.monotonic()
    client.run(connections, seconds)
    took = time.monotonic() - begin
    after = stats(url)
    total = after["totalRequests"] - before["totalRequests"]
    users = after["uniqueUsers"] - before["uniqueUsers"]
    amount = after["sum"] - before["sum"]
    expected = sum(i % 1000 + 0.5 for i in range(events))
    return {
        "ok": (client.answered == events and total == events and users == min(events, 75000) and
               amount == expected and client.dialled == min(connections, events) and
               client.lost == client.not_200 == client.unusable == client.open == 0),
        "events": events, "answered": client.answered, "total": total, "users": users,
        "sum": amount, "expected_sum": expected, "dialled": client.dialled, "lost": client.lost,
        "not_200": client.not_200, "unusable": client.unusable, "unfinished": client.open,
        "seconds": round(took, 3),
    }


def main():
    parser = argparse.ArgumentParser(description="the challenge's Go client, imitated")
    parser.add_argument("url")
    parser.add_argument("-n", type=int, default=1000000, help="events (1000000)")
    parser.add_argument("-c", type=int, default=1000, help="connections (1000)")
    args = parser.parse_args()
    outcome = go_pattern(args.url, args.n, args.c)
    print(json.dumps(outcome))
    sys.exit(0 if outcome["ok"] else 1)


if __name__ == "__main__":
    main()
