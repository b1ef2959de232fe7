"""TLS handshakes, one after the other on each of 16 places, with a request each.

    handshakes.py PORT SECONDS full|resumed

Says "begin" and "end" when what counts does, then a line of JSON.  Nothing is
under way at either moment, so that what a server used in between belongs to
these handshakes.
"""
import json
import select
import ssl
import sys
import time

import secure

PLACES = 16
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Place:
    def __init__(self, context, port, resumes):
        self.context, self.port, self.resumes = context, port, resumes
        self.session = None

    def life(self):
        """One connection: yields what it waits for, returns whether all was right."""
        plain = secure.tcp(self.port, 10)
        plain.setblocking(False)
        self.socket = self.context.wrap_socket(plain, do_handshake_on_connect=False,
                                               session=self.session)
        with self.socket as s:
            yield from waited(s.do_handshake)
            resumed = s.session_reused
            s.send(REQUEST)
            text = b""
            while more := (yield from waited(lambda: s.recv(4096))):
                text += more
            right = text.startswith(b"HTTP/1.1 200") and text.endswith(b"Hello, World!")
            right = right and resumed == (self.session is not None)
            if self.resumes:
                self.session = s.session
        return right


def waited(what):
    while True:
        try:
            return what()
        except ssl.SSLWantReadError:
            yield select.EPOLLIN
        except ssl.SSLWantWriteError:
            yield select.EPOLLOUT


class Crowd:
    def __init__(self, places):
        self.places, self.epoll = places, select.epoll()
        self.lives = {}  # file descriptor: (place, life, what it waits for)
        self.count = self.errors = 0

    def advance(self, place, life, fd=None, events=0):
        """Goes on with one until it waits.  True when it is over, which may be at once: on a
        busy core every answer can be there before it is asked for."""
        try:
            wants = next(life)
        except StopIteration as e:
            right = e.value
        except OSError:
            right = False
        else:
            if fd is None:
                fd = place.socket.fileno()
                self.epoll.register(fd, wants)
            elif wants != events:
                self.epoll.modify(fd, wants)
            self.lives[fd] = place, life, wants
            return False
        self.count, self.errors = self.count + 1, self.errors + (not right)
        self.lives.pop(fd, None)
        return True

    def go(self, goes_on):
        """All begin again and again until they shall not; ends with the last."""
        free = list(self.places)
        while free or self.lives:
            while free:
                place = free.pop()
                if self.advance(place, place.life()) and goes_on():
                    free.append(place)
            for fd, _ in self.epoll.poll(10) if self.lives else ():
                place, life, events = self.lives[fd]
                if self.advance(place, life, fd, events) and goes_on():
                    free.append(place)


def main():
    port, seconds, how = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    context = secure.client()
    places = [Place(context, port, how == "resumed") for _ in range(PLACES)]
    Crowd(places).go(lambda: False)
    print("begin", flush=True)
    begin = time.monotonic()
    crowd = Crowd(places)
    crowd.go(lambda: time.monotonic() < begin + seconds)
    took = time.monotonic() - begin
    print("end", flush=True)
    print(json.dumps({"requests": crowd.count, "seconds": took, "errors": crowd.errors}))


main()
