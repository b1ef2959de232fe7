#!/usr/bin/env python3
"""Resumption: tickets of 1.2 and 1.3, their keys, and where they end."""
import os
import re
import signal
import socket
import ssl
import time

from harness import same, true, wait_for
from tls import (HELLO, TLS, TWO, V12, V13, ask, begin, connect, context, path, resume, run,
                 s_client, tls_gate)


def test_sessions_are_resumed_on_any_worker(gate):
    g = tls_gate(gate)
    for version in ("-tls1_2", "-tls1_3"):
        file = f"{gate.engine}{version}.sess"
        begin(g, "one.test", file, version, "-ign_eof")
        for _ in range(8):  # some on each worker
            true(resume(g, "one.test", file, version), version)


def test_sessions_survive_a_reload_and_not_another_section(gate):
    g = tls_gate(gate, TWO)
    for version in ("-tls1_2", "-tls1_3"):
        file = f"{gate.engine}{version}.reload.sess"
        begin(g, "one.test", file, version, "-ign_eof")
        g.signal(signal.SIGHUP)
        true(wait_for(lambda: g.said().count("reloaded") > 0), g.said())
        true(resume(g, "one.test", file, version), version)
        true(not resume(g, "two.test", file, version), "resumed in another section " + version)
        true(resume(g, "one.test", file, version), version)


def pause(g, c):
    """A handshake of which the client has said hello, and heard the answer."""
    s = socket.create_connection(("127.0.0.1", g.port), 10)
    s.settimeout(10)
    come, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = c.wrap_bio(come, goes, server_hostname="one.test")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        s.sendall(goes.read())
    come.write(s.recv(65536))
    return s, tls, come, goes


def finish(paused):
    """Its session, when the request that follows is answered."""
    s, tls, come, goes = paused
    done, said = False, b""
    while b"version=" not in said:
        try:
            if not done:
                tls.do_handshake()
                done = True
                tls.write(HELLO)
            said += tls.read(65536)
        except ssl.SSLWantReadError:
            if goes.pending:
                s.sendall(goes.read())
            come.write(s.recv(65536))
    s.close()
    return tls.session


def test_a_handshake_that_began_before_a_reload_gets_a_ticket_that_counts(gate):
    for version in (V12, V13):
        # Nobody has a ticket before, so that this is where its key is derived.
        g = tls_gate(gate)
        c = context(most=version, least=version)
        paused = [pause(g, c) for _ in range(2)]
        g.signal(signal.SIGHUP)
        true(wait_for(lambda: "generation 1 has ended" in g.said()), g.said())
        for session in [finish(p) for p in paused]:
            for _ in range(8):  # some on each worker
                with connect(g, c=c, session=session) as s:
                    true(b"version=" in ask(s)[2], version)
                    true(s.session_reused, version)


def test_tickets_can_be_left_out(gate):
    g = tls_gate(gate, TLS.replace("watch = off", "watch = off\ntickets = no"))
    for version in ("-tls1_2", "-tls1_3"):
        file = path(f"{gate.engine}{version}.none.sess")
        said = s_client(g, "-servername", "one.test", version, "-sess_out", file, "-ign_eof", say=HELLO)
        true("TLS session ticket:" not in said, said)
        if os.path.exists(file):
            true(not resume(g, "one.test", file, version), version)


def test_ticket_keys_age(gate):
    g = tls_gate(gate, TLS.replace("watch = off", "watch = off\nticket_rotation = 3s"))
    for version in ("-tls1_2", "-tls1_3"):
        file = f"{gate.engine}{version}.age.sess"
        time.sleep(3 - time.time() % 3)  # a period begins with a multiple of its length
        end = time.time() // 3 * 3
        begin(g, "one.test", file, version, "-ign_eof")
        true(resume(g, "one.test", file, version))
        time.sleep(max(0, end + 3.2 - time.time()))
        true(resume(g, "one.test", file, version) or time.time() > end + 6, "a key of the last period")
        time.sleep(max(0, end + 6.2 - time.time()))
        true(not resume(g, "one.test", file, version), "a key of two periods ago")


def lifetime(g, name, version):
    """What is said of a ticket, in seconds."""
    said = s_client(g, "-servername", name, version, "-ign_eof", say=HELLO)
    return int((re.search(r"ticket lifetime hint: (\d+)", said) or [0, 0])[1])


def test_tickets_are_as_their_own_section_says(gate):
    """Whatever is said in the listener's first, which a connection begins with."""
    for first in ("tickets = no", "ticket_rotation = 1s"):
        g = tls_gate(gate, TWO.replace("[tls one]\n", f"[tls one]\n{first}\n"))
        for version in ("-tls1_2", "-tls1_3"):
            file = f"{gate.engine}{version}.own.sess"
            same(lifetime(g, "one.test", version), 0 if "no" in first else 2, first)
            same(lifetime(g, "two.test", version), 24 * 3600, first)
            begin(g, "two.test", file, version, "-ign_eof")
            before = g.said().count("reloaded")
            g.signal(signal.SIGHUP)
            true(wait_for(lambda: g.said().count("reloaded") > before), g.said())
            time.sleep(2.2 if "1s" in first else 0)
            true(resume(g, "two.test", file, version), f"{first} {version}")


def test_sections_with_the_same_ticket_keys_keep_their_sessions_apart(gate):
    key = path(f"{gate.engine}.same.ticket")
    with open(key, "wb") as f:
        f.write(os.urandom(80))
    os.chmod(key, 0o600)
    g = tls_gate(gate, TWO.replace("watch = off", f"watch = off\nticket_keys = {key}"))
    for version in ("-tls1_2", "-tls1_3"):
        file = f"{gate.engine}{version}.apart.sess"
        begin(g, "one.test", file, version, "-ign_eof")
        true(resume(g, "one.test", file, version), version)
        true(not resume(g, "two.test", file, version), version)


def test_ticket_keys_of_a_fleet_are_shared(gate):
    for n in range(2):
        with open(path(f"{gate.engine}.{n}.ticket"), "wb") as f:
            f.write(os.urandom(80))
        os.chmod(path(f"{gate.engine}.{n}.ticket"), 0o600)
    text = TLS.replace("watch = off", f"watch = off\nticket_keys = {{pki}}/{gate.engine}.%s")
    a = tls_gate(gate, text % f"0.ticket, {{pki}}/{gate.engine}.1.ticket")
    b = tls_gate(gate, text % f"1.ticket, {{pki}}/{gate.engine}.0.ticket")
    c = tls_gate(gate, text % "1.ticket")
    for version in ("-tls1_2", "-tls1_3"):
        file = f"{gate.engine}.fleet{version}.sess"
        begin(a, "one.test", file, version, "-ign_eof")
        true(resume(b, "one.test", file, version))
        true(not resume(c, "one.test", file, version))


if __name__ == "__main__":
    run(globals(), "one", "two", "three")
