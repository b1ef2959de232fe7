#!/usr/bin/env python3
"""The floors answer and pass on what they say, on each engine that runs here."""
import os
import socket
import subprocess
import sys
import threading

BUILD = os.environ.get("HG_BUILDDIR", ".")
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
count = 0


def result(ok, name, detail=""):
    global count
    count += 1
    print(f"{'ok' if ok else 'not ok'} {count} - {name}", flush=True)
    if not ok and detail:
        print("# " + repr(detail)[:500], flush=True)


class Bare:
    def __init__(self, program, engine, *args):
        path = os.path.join(BUILD, "tests/bench", program)
        self.process = subprocess.Popen([path, "-e", engine, *args], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.port = int((self.process.stdout.readline().strip().rpartition(":")[2]) or 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 10)


def read(s, n):
    out = b""
    while len(out) < n:
        more = s.recv(1 << 20)
        if not more:
            break
        out += more
    return out


def answer(body, extra=b""):
    text = (b"Hello, World!" * (body // 13 + 1))[:body]
    return (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n%s\r\n%s" %
            (body, extra, text))


def loop(engine):
    with Bare("bare_loop", engine, "127.0.0.1:0") as bare, bare.connect() as s:
        s.sendall(REQUEST)
        result(read(s, len(answer(13))) == answer(13), f"{engine}: a request is answered")
        s.sendall(REQUEST * 16)
        result(read(s, 16 * len(answer(13))) == 16 * answer(13),
               f"{engine}: sixteen that come together are answered together")
        s.sendall(REQUEST * 3000 + REQUEST[:7])
        s.sendall(REQUEST[7:])
        want = 3001 * answer(13)
        result(read(s, len(want)) == want, f"{engine}: requests may come in pieces, and many")
    with Bare("bare_loop", engine, "-b", "102400", "127.0.0.1:0") as bare, bare.connect() as s:
        s.sendall(REQUEST * 3)
        want = 3 * answer(102400)
        result(read(s, len(want)) == want, f"{engine}: an answer of 100 KiB arrives whole")
    with Bare("bare_loop", engine, "-c", "127.0.0.1:0") as bare:
        got = []
        for _ in range(3):
            with bare.connect() as s:
                s.sendall(REQUEST)
                got.append(read(s, 1 << 20))
        result(got == 3 * [answer(13, b"Connection: close\r\n")],
               f"{engine}: a connection ends after its answer when told to", got)


def echo(origin):
    try:
        while True:
            s = origin.accept()[0]
            while more := s.recv(1 << 16):
                s.sendall(more)
            s.close()
    except OSError:
        pass


def relay(engine):
    with socket.create_server(("127.0.0.1", 0)) as origin:
        thread = threading.Thread(target=echo, args=(origin,), daemon=True)
        thread.start()
        at = f"127.0.0.1:{origin.getsockname()[1]}"
        with Bare("bare_relay", engine, "127.0.0.1:0", at) as bare:
            for name, sent in (("a little", b"x" * 40), ("a mebibyte", os.urandom(1 << 20))):
                with bare.connect() as s:
                    sender = threading.Thread(target=s.sendall, args=(sent,))
                    sender.start()
                    got = read(s, len(sent))
                    sender.join()
                result(got == sent, f"{engine}: {name} is passed on and back", len(got))
        origin.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    with Bare("bare_relay", engine, "127.0.0.1:0", at) as bare, bare.connect() as s:
        try:
            s.sendall(REQUEST)
            got = read(s, 1)
        except ConnectionError:
            got = b""
        result(got == b"", f"{engine}: without an origin the client's connection ends", got)


def runs_here(engine):
    with Bare("bare_loop", engine, "127.0.0.1:0") as bare:
        return bare.port > 0


for name in ("uring", "epoll"):
    if runs_here(name):
        loop(name)
        relay(name)
    else:
        count += 1
        print(f"ok {count} - {name} # SKIP it does not run here")
print(f"1..{count}")
sys.exit(0)
