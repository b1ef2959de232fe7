#!/usr/bin/env python3
"""New certificates: by reload, by watching the files, as another user."""
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from harness import HEADGATE, Skip, listening, needs_its_own_memory, same, true, wait_for
from tls import DIR, TLS, ask, certificate, connect, path, run, serial, tls_gate


RENEWED = TLS.replace("{pki}/one", "{dir}/live/one").replace("watch = off", "watch = 200ms")


def renewal(g, number):
    """A certificate of its own in a folder of its own, as certbot keeps them."""
    folder = os.path.join(g, f"archive{number}")
    os.makedirs(folder, exist_ok=True)
    name = f"{os.path.basename(g)}.{number}"
    certificate(name, ["one.test"], "root", more=("-addext", "basicConstraints=CA:FALSE"))
    for end in ("pem", "key"):
        shutil.copy(path(f"{name}.{end}"), os.path.join(folder, f"one.{end}"))
    return folder


def turn_link(folder, target):
    """As an atomic swap."""
    os.symlink(target, folder + "/live.new")
    os.rename(folder + "/live.new", folder + "/live")


def renewed_gate(gate, text=RENEWED):
    """A gateway whose certificate is behind a link."""
    folder = tempfile.mkdtemp(prefix="live.", dir=DIR)
    turn_link(folder, renewal(folder, 1))
    return tls_gate(gate, text.replace("{dir}/live", folder + "/live")), folder


def now_served(g):
    with connect(g) as s:
        return serial(s)


def pem(folder, number):
    with open(os.path.join(folder, f"archive{number}", "one.pem")) as f:
        return re.search("-----BEGIN.*?-----END CERTIFICATE-----\n", f.read(), re.S)[0]


def test_a_turned_link_brings_the_new_certificate(gate):
    g, folder = renewed_gate(gate)
    with connect(g) as old:
        same(serial(old), pem(folder, 1))
        same(ask(old)[0], 200)
        turn_link(folder, renewal(folder, 2))
        true(wait_for(lambda: now_served(g) == pem(folder, 2)), g.said())
        same(ask(old)[0], 200, "the old connection was touched")
        same(serial(old), pem(folder, 1))
    true("have changed and are in use" in g.said(), g.said())


def test_a_certificate_before_its_key_waits_for_it(gate):
    g, folder = renewed_gate(gate)
    live, new = os.path.join(folder, "archive1"), renewal(folder, 2)
    before, after = pem(folder, 1), pem(folder, 2)
    shutil.copy(new + "/one.pem", live + "/one.pem")
    end = time.monotonic() + 3
    while time.monotonic() < end:
        same(now_served(g), before, "it serves half of a pair")
        time.sleep(0.3)
    same(g.said().count("stay in use until it fits"), 1, g.said())
    shutil.copy(new + "/one.key", live + "/one.key")
    true(wait_for(lambda: now_served(g) == after), g.said())


def put(folder, name, text, size, rename, when=None):
    """A file of this size, in the place of another or written over it, and as old as is said."""
    to = os.path.join(folder, name)
    text += "\n" * (size - len(text))
    with open(to + ".new" if rename else to, "w") as f:
        os.fchmod(f.fileno(), 0o600)
        f.write(text)
        f.flush()
        if when:
            os.utime(f.fileno(), ns=(when, when))
    if rename:
        os.rename(to + ".new", to)


def test_any_difference_of_a_file_is_a_change(gate):
    """Another inode alone, another size, another time."""
    g, folder = renewed_gate(gate)
    live, old, sizes = os.path.join(folder, "archive1"), 10 ** 18, [5000]
    for n, (rename, resize, age) in enumerate(((True, True, False), (True, False, False), (False, True, False),
                                               (False, False, True)), 2):
        new = renewal(folder, n)
        sizes[0] += resize
        old += age
        for end in ("key", "pem"):
            with open(f"{new}/one.{end}") as f:
                put(live, "one." + end, f.read(), sizes[0], rename, old)
        true(wait_for(lambda: now_served(g) == pem(folder, n), 5), (rename, resize, age, g.said()))


def test_a_key_that_others_may_read_is_not_taken(gate):
    g, folder = renewed_gate(gate)
    live, new = os.path.join(folder, "archive1"), renewal(folder, 2)
    os.chmod(new + "/one.key", 0o644)
    for end in ("key", "pem"):
        os.rename(f"{new}/one.{end}", f"{live}/one.{end}")
    true(wait_for(lambda: "key: readable by others; the old files stay" in g.said()), g.said())
    time.sleep(1)
    same(g.said().count("readable by others"), 1, g.said())
    os.chmod(live + "/one.key", 0o600)
    true(wait_for(lambda: now_served(g) == pem(folder, 1)), g.said())


def memory_has(pid, text):
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            at, end = (int(n, 16) for n in line.split()[0].split("-"))
            if line.split()[1][:2] != "rw":
                continue
            memory.seek(at)
            if text in memory.read(end - at):
                return True
    return False


def key_line(folder, number):
    with open(os.path.join(folder, f"archive{number}", "one.key"), "rb") as f:
        return f.read().splitlines()[1]


def test_files_of_keys_do_not_stay_in_memory(gate):
    """What is read of them, however they are read."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    needs_its_own_memory()
    g, folder = renewed_gate(gate)
    true(memory_has(g.process.pid, b"serving"), "what is there is found")
    true(not memory_has(g.process.pid, key_line(folder, 1)), "at start")
    turn_link(folder, renewal(folder, 2))
    true(wait_for(lambda: now_served(g) == pem(folder, 2)), g.said())
    true(not memory_has(g.process.pid, key_line(folder, 2)), "when it has changed")
    g.signal(signal.SIGHUP)
    true(wait_for(lambda: "reloaded" in g.said()), g.said())
    true(not memory_has(g.process.pid, key_line(folder, 2)), "at a reload")


def test_a_reload_brings_the_new_certificate(gate):
    g, folder = renewed_gate(gate, RENEWED.replace("watch = 200ms", "watch = off"))
    turn_link(folder, renewal(folder, 2))
    time.sleep(0.5)
    same(now_served(g), pem(folder, 1))
    g.signal(signal.SIGHUP)
    true(wait_for(lambda: now_served(g) == pem(folder, 2)), g.said())
    # One that does not fit changes nothing.
    shutil.copy(path("two.key"), folder + "/live/one.key")
    g.signal(signal.SIGHUP)
    true(wait_for(lambda: "not reloaded" in g.said()), g.said())
    same(now_served(g), pem(folder, 2))


def test_who_serves_as_nobody_reads_new_keys_and_binds_low_ports(gate):
    if os.geteuid() != 0:
        raise Skip("needs root")
    low = next((p for p in range(600, 1000) if not in_use(p)), None)
    folder = tempfile.mkdtemp(prefix="hg-tls.", dir="/tmp")
    os.chmod(folder, 0o755)
    try:
        for name in ("one", "two"):
            for end in ("pem", "key"):
                shutil.copy(path(f"{name}.{end}"), folder)
                os.chmod(f"{folder}/{name}.{end}", 0o644 if end == "pem" else 0o640)
                shutil.chown(f"{folder}/{name}.{end}", "root", "nogroup")
        text = (TLS.replace("[server]\n", "[server]\nuser = nobody\ngroup = nogroup\n")
                .replace("{pki}", folder).replace("access_log = {dir}/access.log\n", "")
                .replace("root = {dir}", "root = /"))
        with open(folder + "/headgate.ini", "w") as f:
            f.write("")
        g = tls_gate(gate, text)
        shutil.copy(g.ini, folder + "/headgate.ini")
        g.end_now()
        g.ini = folder + "/headgate.ini"
        g.start()
        p = subprocess.run([HEADGATE, "-t", "-c", g.ini], capture_output=True, text=True)
        true("read by root at start and by nobody at reload" in p.stdout, p.stdout)
        first = now_served(g)
        for end in ("pem", "key"):
            with open(f"{folder}/two.{end}") as f, open(f"{folder}/one.{end}", "w") as to:
                to.write(f.read())
        with open(g.ini, "w") as f:
            f.write(open_text(g, text).replace(f"listen = 127.0.0.1:{g.port}",
                                                f"listen = 127.0.0.1:{g.port}, 127.0.0.1:{low}"))
        g.signal(signal.SIGHUP)
        true(wait_for(lambda: "reloaded" in g.said()), g.said())
        for port in (g.port, low):
            with connect(g, "two.test", port=port) as s:
                true(serial(s) != first, "the old certificate")
                same(ask(s)[0], 200)
        with open(f"/proc/{g.process.pid}/limits") as f:
            true(re.search(r"Max core file size +0 +0", f.read()), "it would dump its keys")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_key_may_be_for_a_group_that_the_user_is_in(gate):
    """Which is not the user's own, as with ssl-cert on Debian."""
    member = next(((p.pw_name, g.gr_name) for g in grp.getgrall() for m in g.gr_mem for p in pwd.getpwall()
                   if p.pw_name == m and p.pw_uid != 0 and g.gr_gid not in (0, p.pw_gid)), None)
    if os.geteuid() != 0 or not member:
        raise Skip("needs root, and a user who is in a second group")
    user, group = member
    folder = tempfile.mkdtemp(prefix="hg-tls.", dir="/tmp")
    os.chmod(folder, 0o755)
    try:
        for name in ("one.pem", "one.key", "two.pem", "two.key"):
            shutil.copy(path(name), folder)
        for name in ("one.key", "two.key"):
            shutil.chown(f"{folder}/{name}", "root", group)
            os.chmod(f"{folder}/{name}", 0o640)
        g = tls_gate(gate, TLS.replace("[server]\n", f"[server]\nuser = {user}\n").replace("watch = off", "watch = 200ms")
                     .replace("{pki}", folder)
                     .replace("access_log = {dir}/access.log\n", "").replace("root = {dir}", "root = /"))
        now_served(g)
        p = subprocess.run([HEADGATE, "-t", "-c", g.ini], capture_output=True, text=True)
        true(f"read by root at start and by {user} at reload\n" in p.stdout, p.stdout + p.stderr)
        for end in ("pem", "key"):
            with open(f"{folder}/two.{end}") as f, open(f"{folder}/one.{end}", "w") as to:
                to.write(f.read())
        true(wait_for(lambda: "are in use" in g.said()), g.said())
        with connect(g, "two.test") as s:
            same(ask(s)[0], 200)
        shutil.chown(f"{folder}/one.key", "root", "daemon" if group != "daemon" else "bin")
        p = subprocess.run([HEADGATE, "-t", "-c", g.ini], capture_output=True, text=True)
        true(p.returncode == 1 and "readable by others" in p.stderr, p.stdout + p.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_nobody_looks_into_its_memory(gate):
    """Where a program takes the dumps the limit of their size is not asked: so says core(5)."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    needs_its_own_memory()
    folder = tempfile.mkdtemp(prefix="hg-tls.", dir="/tmp")
    try:
        os.chmod(folder, 0o755)
        for file in (HEADGATE, path("one.pem"), path("one.key")):
            shutil.copy(file, folder)
            shutil.chown(os.path.join(folder, os.path.basename(file)), "nobody")
        g = tls_gate(gate)
        g.end_now()
        pair = f"certificate = {folder}/one.pem\n{{}}key = {folder}/one.key\n"
        for secrets, uid in ("", pwd.getpwnam("nobody").pw_uid), (f"[tls one]\n{pair.format('')}", 0), (
                f"[upstream u]\nserver = https://127.0.0.1:1\ntls_verify = no\ntls_{pair.format('tls_')}", 0):
            with open(folder + "/headgate.ini", "w") as f:
                f.write(f"[server]\nengine = {g.engine}\n[listener a]\nlisten = 127.0.0.1:{g.port}\n"
                        f"[route r]\nhandler = respond\n{secrets}")
            same(owner_of_memory(g, folder), uid, secrets)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def owner_of_memory(g, folder):
    """That of a gateway of nobody's: root's only where nobody may read or dump it."""
    p = subprocess.Popen([folder + "/headgate", "-c", folder + "/headgate.ini"], cwd="/",
                         user="nobody", group="nogroup", extra_groups=[],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        true(wait_for(lambda: listening(g.port)), "it serves")
        return os.stat(f"/proc/{p.pid}/mem").st_uid
    finally:
        p.terminate()
        said = p.communicate(timeout=10)[1]
        true(p.returncode == 0, said)


def open_text(g, text):
    for name, value in dict(g.names, pki=DIR).items():
        text = text.replace("{" + name + "}", str(value))
    return text.replace("[server]\n", f"[server]\nengine = {g.engine}\n", 1)


def in_use(port):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
            return False
        except OSError:
            return True


if __name__ == "__main__":
    run(globals(), "one", "two")
