#!/usr/bin/env python3
"""Names of origins, followed in DNS: with dnsmasq, and with a name server that fails as it is told."""
import collections
import concurrent.futures
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from dnsfake import FakeDNS
from harness import BUILD, Skip, free_port, main, needs, same, true, wait_for
from origins import die_with_us, installed

CONFIG = """
[server]
workers = {workers}
access_log = {dir}/access.log
resolver = 127.0.0.1:{dns}
resolver_timeout = {timeout}
resolver_ttl = min=100ms max=1h
[listener a]
listen = 127.0.0.1:{port}
[upstream u]
{servers}
retry_on = off
balance = round_robin
{upstream}
[route all]
handler = forward
upstream = u
"""


class Origin:
    """Says who it is: its address and port.  All have one port, as the addresses of a name do."""

    def __init__(self, ip, port):
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        self.ip, self.port, self.requests, self.connections = ip, port, 0, set()
        self.done = threading.Event()
        self.socket = socket.socket(family)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.socket.bind((ip, port))
        except OSError as why:
            raise Skip(f"{ip} is not here: {why}")
        self.socket.listen(64)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                s = self.socket.accept()[0]
            except OSError:
                return
            self.connections.add(s)
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        data = b""
        try:
            while piece := s.recv(65536):
                data += piece
                while b"\r\n\r\n" in data:
                    head, _, data = data.partition(b"\r\n\r\n")
                    self.requests += 1
                    if b"/slow" in head:
                        self.done.wait(2.5)
                    if b"/wait" in head:
                        self.done.wait()
                    body = self.ip.encode()
                    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except OSError:
            pass
        self.connections.discard(s)
        s.close()

    def end(self):
        self.socket.close()

    def die(self):
        """And nobody who is connected hears more."""
        for s in [self.socket, *self.connections]:
            s.shutdown(socket.SHUT_RDWR)


def shared_port(*ips):
    """Origins at these addresses with one port that is free at all of them."""
    for _ in range(20):
        port, made = free_port(), []
        try:
            for ip in ips:
                made.append(Origin(ip, port))
            return made
        except Skip:
            for o in made:
                o.end()
    raise Skip(f"no port is free at {ips}")


class Dnsmasq:
    """A real name server; hosts are read anew at SIGHUP, records need a restart."""

    def __init__(self, ttl=1):
        self.program = installed("dnsmasq")
        self.dir = tempfile.mkdtemp(prefix="dnsmasq.", dir=BUILD)
        os.chmod(self.dir, 0o755)
        self.port, self.ttl, self.process = free_port(), ttl, None

    def start(self, hosts=(), records=()):
        self.say(hosts)
        self.process = subprocess.Popen(
            [self.program, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
             "--no-hosts", f"--addn-hosts={self.dir}/hosts", f"--port={self.port}",
             "--listen-address=127.0.0.1", "--bind-interfaces", "--no-daemon", "--no-poll",
             "--local=/test/", "--user=", "--group=", f"--local-ttl={self.ttl}",
             f"--neg-ttl={self.ttl}", f"--auth-ttl={self.ttl}", "--pid-file=",
             *[f"--srv-host={r}" for r in records]],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(self.dir + "/log", "a"), preexec_fn=die_with_us)
        if not wait_for(self.answers):
            raise AssertionError("dnsmasq does not answer: " + open(self.dir + "/log").read())

    def answers(self):
        query = b"\1\2\1\0\0\1\0\0\0\0\0\0\1x\4test\0\0\1\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            s.sendto(query, ("127.0.0.1", self.port))
            try:
                return len(s.recv(512)) > 0
            except OSError:
                return False

    def say(self, hosts):
        with open(self.dir + "/hosts", "w") as f:
            f.writelines(f"{ip} {name}\n" for name, ip in hosts)
        if self.process:
            self.process.send_signal(signal.SIGHUP)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def end(self):
        if self.process:
            self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


def start(gate, dns, servers, workers=1, upstream="", timeout="3s"):
    needs("names followed in DNS")
    if isinstance(servers, str):
        servers = [servers]
    return gate(CONFIG, dns=dns.port, servers="\n".join("server = " + s for s in servers),
                workers=workers, upstream=upstream, timeout=timeout)


def served(g, n=12):
    """Who answers, and how often; of others than 200 the status."""
    counts = collections.Counter()
    for _ in range(n):
        status, _, body = g.get("/")
        counts[body.decode() if status == 200 else status] += 1
    return dict(counts)


def by(g, *who):
    """Waits until exactly these serve."""
    if not wait_for(lambda: set(served(g, 8)) == set(who), 15):
        raise AssertionError(f"served by {served(g)}, not by {who}: {g.said()[-600:]}")


def together(what, *cases):
    """They mostly wait."""
    with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
        list(pool.map(what, cases))


def log(g):
    g.stop()
    return [json.loads(l) for l in g.read("access.log").splitlines()]


def test_a_real_name_server_is_followed(gate):
    """dnsmasq: all addresses are used, a change moves traffic without reload, no answer drains."""
    one, two, three = shared_port("127.0.0.1", "127.0.0.2", "127.0.0.3")
    dns = Dnsmasq()
    dns.start([("app.test", "127.0.0.1"), ("app.test", "127.0.0.2")])
    for workers in (1, 4):
        dns.say([("app.test", "127.0.0.1"), ("app.test", "127.0.0.2")])
        g = start(gate, dns, f"app.test:{one.port}", workers)
        same(set(served(g, 8)) <= {one.ip, two.ip}, True)  # also the very first request
        by(g, one.ip, two.ip)
        dns.say([("app.test", "127.0.0.3")])
        by(g, three.ip)
        before = one.requests, two.requests
        same(served(g, 20), {three.ip: 20})
        same((one.requests, two.requests), before)
        dns.say([])
        by(g, 503)
        dns.say([("app.test", "127.0.0.2")])
        by(g, two.ip)
        records = log(g)
        causes = {r["cause"] for r in records if r["status"] == 503}
        same(causes, {"upstream_unresolved"})
        same({r["server"] for r in records if r["status"] == 200} >=
             {f"app.test:{one.port} (127.0.0.2:{one.port})"}, True)
    dns.end()


def test_dns_may_come_later(gate):
    """It starts and serves without DNS: 503, with a cause; then the addresses are there."""
    (one,) = shared_port("127.0.0.1")
    dns = Dnsmasq()
    began = time.monotonic()
    g = start(gate, dns, f"app.test:{one.port}", upstream="tries = 2")
    true(time.monotonic() - began < 8, "it does not wait for ever")
    same(served(g, 3), {503: 3})
    true("name app.test cannot be resolved" in g.said(), g.said())
    dns.start([("app.test", "127.0.0.1")])
    by(g, one.ip)
    true("is resolved again" in g.said(), g.said())
    same({r["cause"] for r in log(g) if r["status"] == 503}, {"upstream_unresolved"})
    dns.end()


def test_a_service_has_priorities_weights_and_ports(gate):
    one, two = Origin("127.0.0.1", free_port()), Origin("127.0.0.2", free_port())
    three = Origin("127.0.0.3", free_port())
    dns = Dnsmasq()
    hosts = [(f"{n}.test", ip) for n, ip in (("one", one.ip), ("two", two.ip), ("three", three.ip))]
    service = "_http._tcp.app.test"
    dns.start(hosts, [f"{service},one.test,{one.port},1,30", f"{service},two.test,{two.port},1,10",
                      f"{service},three.test,{three.port},2,10"])
    g = start(gate, dns, f"srv:{service}")
    by(g, one.ip, two.ip)
    same(served(g, 40), {one.ip: 30, two.ip: 10})
    same(three.requests, 0)
    dns.stop()
    dns.start(hosts, [f"{service},three.test,{three.port},5,0", f"{service},one.test,{one.port},9,1"])
    by(g, three.ip)
    dns.stop()
    dns.start(hosts, [f"{service},two.test,{two.port},1,1", f"{service},one.test,{one.port},2,1",
                      f"{service},three.test,{three.port},3,1"])
    by(g, two.ip)
    g.stop()
    g = start(gate, dns, f"srv:{service}", upstream="eject_failures = 1\neject_time = 1h\nmax_ejected = 100%")
    by(g, two.ip)
    for ill, well in ((two, one), (one, three)):  # one priority after the other
        before = three.requests
        ill.die()
        by(g, well.ip)
        same(served(g, 20), {well.ip: 20})
        same(three.requests == before, well is one)
        true(f"server srv:{service} ({ill.ip}:{ill.port}) is ejected" in g.said(), g.said())
    dns.stop()
    dns.start(hosts)
    by(g, 503)
    dns.end()


def test_of_many_services_the_first_priorities_are_asked_for(gate):
    """However late in the answer they stand; and that not all are used is said."""
    (best,) = shared_port("127.0.0.1")
    dns = FakeDNS()
    service, unused = "_http._tcp.many.test", free_port()
    dns.says[service] = [(10, 1, unused, f"h{i}.test") for i in range(20)] + [(0, 1, best.port, "best.test")]
    for i in range(20):
        dns.says[f"h{i}.test"] = [f"127.0.2.{i + 1}"]
    dns.says["best.test"] = [best.ip]
    g = start(gate, dns, f"srv:{service}")
    by(g, best.ip)
    same(served(g, 8), {best.ip: 8})
    true(f"server srv:{service} has 5 addresses more than are used (16)" in g.said(), g.said())
    targets = {name for name, _ in dns.asked if name != service}
    same(len(targets), 16)
    for _ in range(3):  # the order of an answer is nothing: the same are asked for
        dns.says[service] = dns.says[service][7:] + dns.says[service][:7]
        n = len(dns.asked)
        true(wait_for(lambda: len(dns.asked) > n + 40, 10), dns.asked[n:])
    same({name for name, _ in dns.asked if name != service}, targets)
    dns.end()


def test_who_fails_to_answer_changes_nothing(gate):
    """SERVFAIL, REFUSED and silence keep the last answer; they are asked again, less and less."""
    one, two = shared_port("127.0.0.1", "127.0.0.2")
    def fails(failure):
        dns = FakeDNS()
        dns.says["app.test"] = [one.ip]
        g = start(gate, dns, f"app.test:{one.port}", timeout="1s")
        same(served(g, 2), {one.ip: 2})
        dns.says["app.test"] = failure
        true(wait_for(lambda: "cannot be resolved" in g.said()), failure)
        asked = len(dns.asked)
        time.sleep(2)
        true(wait_for(lambda: len(dns.asked) > asked), f"{failure}: it is asked again")
        same(served(g, 4), {one.ip: 4}, failure)
        dns.says["app.test"] = [two.ip]
        by(g, two.ip)
        dns.end()
    together(fails, "SERVFAIL", "REFUSED", "silence")


def test_that_there_is_nothing_drains(gate):
    """NXDOMAIN, and a name without addresses."""
    (one,) = shared_port("127.0.0.1")
    for nothing in ("NXDOMAIN", []):
        dns = FakeDNS()
        dns.says["app.test"] = [one.ip]
        g = start(gate, dns, f"app.test:{one.port}")
        by(g, one.ip)
        dns.says["app.test"] = nothing
        by(g, 503)
        dns.says["app.test"] = [one.ip]
        by(g, one.ip)
        g.stop()
        dns.end()


def test_who_vanishes_finishes_what_is_under_way(gate):
    """The request is answered, its connection closed, and the idle ones at once."""
    one, two = shared_port("127.0.0.1", "127.0.0.2")
    dns = FakeDNS()
    dns.says["app.test"] = [one.ip]
    g = start(gate, dns, f"app.test:{one.port}")
    answers = []
    slow = threading.Thread(target=lambda: answers.append(g.get("/slow")))
    slow.start()
    true(wait_for(lambda: one.requests == 1))
    same(served(g, 4), {one.ip: 4})
    same(len(one.connections), 2)
    dns.says["app.test"] = [two.ip]
    by(g, two.ip)
    true(wait_for(lambda: len(one.connections) <= 1), "the idle connection is closed")
    slow.join()
    same([(a[0], a[2]) for a in answers], [(200, one.ip.encode())])
    true(wait_for(lambda: not one.connections), "and then the last")
    dns.end()


def test_a_ttl_is_honoured(gate):
    """A name is asked for again when its time is over, not before, within the bounds."""
    (one,) = shared_port("127.0.0.1")
    def holds(case):
        ttl, bounds, least, most = case
        dns = FakeDNS(ttl)
        dns.says["app.test"] = [one.ip]
        needs("names followed in DNS")
        text = CONFIG.replace("min=100ms max=1h", bounds)
        g = gate(text, dns=dns.port, servers=f"server = app.test:{one.port}", workers=1,
                 upstream="family = ipv4", timeout="3s")
        before, began = len(dns.asked), time.monotonic()
        time.sleep(4)
        asked, most = len(dns.asked) - before, most * (time.monotonic() - began) / 4
        true(least <= asked <= most, f"ttl {ttl}, {bounds}: asked {asked} times in 4 s")
        dns.end()
    together(holds, (2, "min=100ms max=1h", 1, 3), (0, "min=500ms max=1h", 4, 9),
             (3600, "min=100ms max=1s", 2, 5), (60, "min=1s max=1h", 0, 0))


def test_a_family_is_chosen(gate):
    """any: both; ipv4 and ipv6: only those; half an answer takes nobody away."""
    four, six = shared_port("127.0.0.1", "::1")
    dns = FakeDNS()
    dns.says["app.test"] = ["127.0.0.1", "::1"]
    for family, who in (("any", (four.ip, six.ip)), ("ipv4", (four.ip,)), ("ipv6", (six.ip,))):
        g = start(gate, dns, f"app.test:{four.port}", upstream=f"family = {family}")
        by(g, *who)
        if family == "any":
            dns.failing[("app.test", 28)] = "SERVFAIL"
            true(wait_for(lambda: "app.test cannot be resolved in full: " in g.said()), g.said())
            true("; the last answer stays in use" in g.said(), g.said())
            same(set(served(g, 8)), {four.ip, six.ip})
            dns.failing.clear()
        g.stop()
    dns.end()


def test_half_a_first_answer_is_not_called_the_last(gate):
    (one,) = shared_port("127.0.0.1")
    dns = FakeDNS()
    dns.says["app.test"] = [one.ip]
    dns.failing[("app.test", 28)] = "SERVFAIL"
    g = start(gate, dns, f"app.test:{one.port}")
    by(g, one.ip)
    said = [l for l in g.said().splitlines() if "cannot be resolved" in l]
    same(len(said), 1, said)
    true("app.test cannot be resolved in full: " in said[0] and said[0].endswith("; what came is used"), said)
    dns.failing.clear()
    true(wait_for(lambda: "app.test is resolved again" in g.said()), g.said())
    g.stop()
    dns.end()


def test_hosts_of_this_machine_are_known(gate):
    """/etc/hosts is asked before DNS, and localhost is known without either."""
    (one,) = shared_port("127.0.0.1")
    dns = FakeDNS()
    with open("/etc/hosts") as f:
        words = [l.split("#")[0].split() for l in f]
    here = [name for w in words if w and w[0] == "127.0.0.1" for name in w[1:]]
    for name in ["localhost", "a.localhost", *here[:3]]:
        g = start(gate, dns, f"{name}:{one.port}", upstream="family = ipv4")
        same(served(g, 2), {one.ip: 2}, name)
        same([q for q in dns.asked if q[0] == name], [])
        g.stop()
    dns.end()


def test_who_is_in_the_hosts_file_by_another_family_is_asked_for(gate):
    (six,) = shared_port("::1")
    with open("/etc/hosts") as f:
        lines = [l.split("#")[0].split() for l in f]
    ips = collections.defaultdict(set)
    for ip, *names in filter(None, lines):
        for name in names:
            ips[name.lower()].add(":" in ip)
    four = [n for n, where in ips.items() if where == {False} and not n.endswith("localhost")]
    if not four:
        raise Skip("/etc/hosts has no name with IPv4 addresses alone")
    dns = FakeDNS()
    dns.says[four[0]] = [six.ip]
    g = start(gate, dns, f"{four[0]}:{six.port}", upstream="family = ipv6")
    same(served(g, 2), {six.ip: 2})
    g.stop()
    dns.end()


def test_a_reload_keeps_what_is_known_and_asks_for_what_is_new(gate):
    one, two = shared_port("127.0.0.1", "127.0.0.2")
    dns = FakeDNS(ttl=60)
    dns.says.update({"app.test": [one.ip], "new.test": [two.ip]})
    for workers in (1, 4):
        g = start(gate, dns, f"app.test:{one.port}", workers)
        same(served(g, 8), {one.ip: 8})
        dns.asked.clear()
        held = set(one.connections)
        g.signal(signal.SIGHUP)
        true(wait_for(lambda: "reloaded" in g.said()))
        same(served(g, 8), {one.ip: 8})
        same(dns.asked, [], "what is known needs no question")
        true(held & one.connections, "and its connections are kept")
        g.names["servers"] = f"server = new.test:{one.port}"
        g.write(CONFIG)
        g.signal(signal.SIGHUP)
        true(wait_for(lambda: g.said().count("reloaded") == 2))
        same(served(g, 8), {two.ip: 8})  # from the first request on
        g.stop()
    dns.end()


def test_a_reload_that_waits_for_names_holds_up_nothing_else(gate):
    needs("names followed in DNS")
    one, = shared_port("127.0.0.1")
    dns = FakeDNS(ttl=60)
    dns.says.update({"app.test": [one.ip], "new.test": "silence"})
    text = CONFIG.replace("[server]\n", "[server]\ncontrol = {dir}/ctl\nerror_log = {dir}/errors\n")
    g = gate(text, dns=dns.port, workers=1, servers=f"server = app.test:{one.port}", upstream="",
             timeout="5s")

    def ctl(*words):
        return subprocess.run([os.path.join(BUILD, "headgate"), "ctl", "-s", g.dir + "/ctl", *words],
                              capture_output=True, text=True)

    def said():
        with open(g.dir + "/errors") as f:
            return f.read()
    g.names["servers"] = f"server = new.test:{one.port}"
    g.write(text)
    began = time.monotonic()
    g.signal(signal.SIGHUP)
    true(wait_for(lambda: ("new.test", 1) in dns.asked), "it asks")
    same(ctl("upstream").returncode, 0)
    os.rename(g.dir + "/errors", g.dir + "/moved")
    g.signal(signal.SIGUSR1)
    true(wait_for(lambda: os.path.exists(g.dir + "/errors"), 3), "logs are opened anew")
    same(served(g, 2), {one.ip: 2})
    true("reloaded" not in said() and time.monotonic() - began < 4.8, "while it waits")
    other = ctl("reload")  # behind the first
    same((other.returncode, said().count("reloaded")), (0, 2))
    true(time.monotonic() - began > 4.8, "it was waited for")
    dns.says["more.test"] = "silence"
    g.names["servers"] = f"server = more.test:{one.port}"
    g.write(text)
    asks = threading.Thread(target=lambda: answers.append(ctl("reload")))
    answers = []
    asks.start()
    true(wait_for(lambda: ("more.test", 1) in dns.asked), "it asks")
    same(g.stop(), 0)
    asks.join()
    same(answers[0].returncode, 1)
    dns.end()


def test_the_control_socket_shows_addresses(gate):
    needs("names followed in DNS")
    one, two = shared_port("127.0.0.1", "127.0.0.2")
    dns = FakeDNS()
    dns.says["app.test"] = [one.ip, two.ip]
    g = gate(CONFIG.replace("[server]\n", "[server]\ncontrol = {dir}/ctl\n"), dns=dns.port, workers=2,
             servers=f"server = app.test:{one.port}\nserver = no.test:1", upstream="", timeout="1s")

    def ctl(*words):
        return subprocess.run([os.path.join(BUILD, "headgate"), "ctl", "-s", g.dir + "/ctl", "--json",
                               *words], capture_output=True, text=True)
    rows = json.loads(ctl("upstream").stdout)["upstreams"][0]["servers"]
    same([(r["server"], r["address"], r["state"]) for r in rows],
         [(f"app.test:{one.port}", f"127.0.0.1:{one.port}", "up"),
          (f"app.test:{one.port}", f"127.0.0.2:{one.port}", "up"), ("no.test:1", None, "unresolved")])
    ctl("upstream", "u", f"app.test:{one.port}", "drain")
    same(served(g, 4), {503: 4})
    ctl("upstream", "u", f"app.test:{one.port}", "up")
    by(g, one.ip, two.ip)
    dns.end()


def test_what_is_under_way_to_an_address_that_is_gone_is_shown_and_waited_for(gate):
    needs("names followed in DNS")
    one, two = shared_port("127.0.0.1", "127.0.0.2")
    dns = FakeDNS()
    dns.says["app.test"] = [one.ip, two.ip]
    name = f"app.test:{one.port}"
    g = gate(CONFIG.replace("[server]\n", "[server]\ncontrol = {dir}/ctl\n"), dns=dns.port, workers=1,
             servers=f"server = {name}", upstream="", timeout="1s")

    def ctl(*words):
        return subprocess.run([os.path.join(BUILD, "headgate"), "ctl", "-s", g.dir + "/ctl", *words],
                              capture_output=True, text=True)
    slow = [threading.Thread(target=lambda: g.get("/wait")) for _ in range(2)]  # one each
    for s in slow:
        s.start()
    true(wait_for(lambda: one.requests == two.requests == 1))
    dns.says["app.test"] = [two.ip]
    by(g, two.ip)
    rows = json.loads(ctl("--json", "upstream").stdout)["upstreams"][0]["servers"]
    same(sorted((r["state"], r["in_flight"]) for r in rows), [("unresolved", 1), ("up", 1)])
    same(ctl("--wait", "1ms", "upstream", "u", name, "drain").returncode, 1)
    waits = subprocess.Popen([os.path.join(BUILD, "headgate"), "ctl", "-s", g.dir + "/ctl", "--wait", "20s",
                              "upstream", "u", name, "drain"], stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    same(waits.poll(), None, "it waits")
    for o in (one, two):
        o.done.set()
    same(waits.wait(30), 0)
    for s in slow:
        s.join()
    dns.end()


if __name__ == "__main__":
    main([t for n, t in sorted(globals().items()) if n.startswith("test_")], 6)
