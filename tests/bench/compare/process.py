"""Processes: started on a core, measured by /proc, and ended by their pid."""
import contextlib
import os
import random
import signal
import socket
import subprocess
import threading
import time


class Trouble(Exception):
    """A run that could not be made; its text is for the user."""


def cores():
    """Which core serves, which loads, which is the origin's: different ones where there are."""
    ours = sorted(os.sched_getaffinity(0))
    whole = []
    siblings = set()
    for core in ours:
        with contextlib.suppress(OSError, ValueError):
            path = f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
            with open(path) as f:
                text = f.read().strip()
            if text in siblings:
                continue
            siblings.add(text)
        whole.append(core)
    if len(whole) < 2:
        whole = ours
    load = whole[1] if len(whole) > 1 else whole[0]
    return whole[0], load, whole[2] if len(whole) > 2 else load


def free_port():
    """Below those that the kernel gives to clients."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as s:
            with contextlib.suppress(OSError):
                s.bind(("127.0.0.1", port))
                return port


def tree(pid):
    """The process and all below it."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                with open(f"/proc/{name}/stat") as f:
                    parent = int(f.read().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def cpu_us(pids):
    """CPU time of processes so far: to the nanosecond where the kernel counts so, else in ticks."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                        total += int(f.read().split()[0]) / 1e3
            except FileNotFoundError:
                with open(f"/proc/{pid}/stat") as f:
                    fields = f.read().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")
    return total


def rss_bytes(pids):
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/status") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("VmRSS")) * 1024
    return total


def core_busy_us(core):
    """What everybody used of a core so far, in ticks."""
    with open("/proc/stat") as f:
        for line in f:
            fields = line.split()
            if fields[0] == f"cpu{core}":
                busy = sum(int(n) for n in fields[1:4]) + sum(int(n) for n in fields[6:8])
                return busy * 1e6 / os.sysconf("SC_CLK_TCK")
    return 0.0


def settle(core):
    """In the child: its core, and before others if that is allowed.  The kernel weighs
    sessions against each other where it groups by them, and processes otherwise."""
    os.sched_setaffinity(0, {core})
    with contextlib.suppress(OSError):
        os.nice(-10)
    with contextlib.suppress(OSError):
        with open("/proc/self/autogroup", "w") as f:
            f.write("-10")


class Process:
    """One that is ended with everything below it, whatever happens."""

    def __init__(self, argv, core, log, env=None):
        self.argv = argv
        self.log = log
        with open(log, "ab") as out:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            env=dict(os.environ, **(env or {})),
                                            start_new_session=True,
                                            preexec_fn=lambda: settle(core))
        self.pid = self.process.pid

    def wait_listening(self, where, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Trouble(f"{self.argv[0]} ended with {self.process.returncode}: {self.said()}")
            with contextlib.suppress(OSError):
                if isinstance(where, int):
                    socket.create_connection(("127.0.0.1", where), 1).close()
                else:
                    with socket.socket(socket.AF_UNIX) as s:
                        s.connect(where)
                return
            time.sleep(0.02)
        raise Trouble(f"{self.argv[0]} does not listen: {self.said()}")

    def said(self):
        with open(self.log, errors="replace") as f:
            return f.read()[-500:].strip()

    def end(self):
        below = tree(self.pid)[1:]
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) == self.pid:
                    os.kill(pid, signal.SIGKILL)


def read_lines(child, seconds, each_line):
    """What communicate() does, and every line is shown when it comes."""
    late = threading.Timer(seconds, child.kill)
    late.start()
    text = []
    for line in child.stdout:
        each_line(line)
        text.append(line)
    child.wait()
    late.cancel()
    if child.returncode == -signal.SIGKILL:
        raise Trouble(f"{child.args[0]} took longer than {seconds:.0f} s")
    return "".join(text)


def run(argv, core, seconds, env=None, each_line=None):
    """Runs a program to its end: what it printed, and the CPU it used, in µs."""
    before = os.times()
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace",
                             env=dict(os.environ, **(env or {})), start_new_session=True,
                             preexec_fn=lambda: settle(core))
    try:
        out = (read_lines(child, seconds, each_line) if each_line
               else child.communicate(timeout=seconds)[0])
    except subprocess.TimeoutExpired as e:
        raise Trouble(f"{argv[0]} took longer than {seconds:.0f} s") from e
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return child.returncode, out, used * 1e6
