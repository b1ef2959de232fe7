"""A name server that says what a test wants it to: for what dnsmasq cannot be made to do at once,
such as failing, being silent, or changing its mind without a restart."""
import ipaddress
import socket
import struct
import threading

A, CNAME, SOA, AAAA, SRV = 1, 5, 6, 28, 33
NUMBERS = {"SERVFAIL": 2, "NXDOMAIN": 3, "REFUSED": 5}


def packed(name):
    return b"".join(bytes([len(l)]) + l.encode() for l in name.rstrip(".").split(".") if l) + b"\0"


def unpacked(data, at):
    labels = []
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode().lower())
        at += 1 + data[at]
    return ".".join(labels), at + 1


class FakeDNS:
    """says[name] is a list of addresses and (priority, weight, port, target), the name of a
    failure, "silence", or missing: NXDOMAIN.  A family that is not in the list has no records."""

    def __init__(self, ttl=1):
        self.ttl = ttl
        self.says = {}
        self.asked = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.failing = {}  # (name, type) that fails although the rest does not
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                data, peer = self.socket.recvfrom(4096)
                answer = self.answer(data)
                if answer:
                    self.socket.sendto(answer, peer)
            except OSError:  # it was ended
                return

    def answer(self, data):
        name, at = unpacked(data, 12)
        kind = struct.unpack(">H", data[at:at + 2])[0]
        self.asked.append((name, kind))
        said = self.failing.get((name, kind), self.says.get(name, "NXDOMAIN"))
        if said == "silence":
            return None
        records = [] if isinstance(said, str) else [r for r in map(record, said) if r[0] == kind]
        code = NUMBERS[said] if isinstance(said, str) else 0
        head = data[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(records), 0, 0)
        return head + data[12:at + 4] + b"".join(
            packed(name) + struct.pack(">HHIH", k, 1, self.ttl, len(d)) + d for k, d in records)

    def end(self):
        self.socket.close()


def record(said):
    if isinstance(said, tuple):
        priority, weight, port, target = said
        return SRV, struct.pack(">HHH", priority, weight, port) + packed(target)
    ip = ipaddress.ip_address(said)
    return (A if ip.version == 4 else AAAA), ip.packed
