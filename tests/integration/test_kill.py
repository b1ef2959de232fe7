#!/usr/bin/env python3
"""Two origins under load, one or the other killed and started again every second: no request
that may be tried again fails."""
import json
import os
import subprocess
import threading
import time

from harness import BENCH, listening, main, same, true, wait_for
from origins import Nginx

LONG = bool(os.environ.get("HG_LONG"))
SECONDS, RATE = (60, 5000) if LONG else (4, 1000)

CONFIG = """
[server]
workers = 2
access_log = off
[listener a]
listen = 127.0.0.1:{port}
[upstream u]
server = 127.0.0.1:{a}
server = 127.0.0.1:{b}
[route all]
handler = forward
upstream = u
"""


def kill_in_turn(origins, over):
    """SIGKILL, a while without anybody there, and the same again."""
    kills = 0
    while not over.wait(1 if LONG else 0.4):
        origins[kills % 2].again()
        kills += 1
    return kills


class Victim(Nginx):
    def again(self):
        self.process.kill()
        self.process.wait()
        time.sleep(0.1)
        command = self.process.args
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: listening(self.port))  # or both are dead for a moment


def test_no_request_fails_while_origins_are_killed_in_turn(gate):
    a, b = Victim(), Victim()
    for o in (a, b):
        o.put("x", b"hello")
    g = gate(CONFIG, a=a.port, b=b.port)
    same(g.get("/x")[0::2], (200, b"hello"))
    over, kills = threading.Event(), []
    killer = threading.Thread(target=lambda: kills.append(kill_in_turn((a, b), over)))
    killer.start()
    done = subprocess.run([BENCH, "load", f"http://127.0.0.1:{g.port}/x", "--rate", str(RATE),
                           "-d", f"{SECONDS}s", "-c", "64", "--json"], capture_output=True, text=True)
    over.set()
    killer.join()
    counted = g.counted()
    g.stop()
    for o in (a, b):
        o.end()
    result = json.loads(done.stdout)
    print(f"# {RATE}/s for {SECONDS} s, {kills[0]} kills: {result}", flush=True)
    print(f"# {({n: c for n, c in counted.items() if n.startswith('upstream_') and c})}", flush=True)
    true(kills[0] >= 3, kills)
    same(result["errors"], {}, result)
    same(result["good"], RATE * SECONDS, result)
    same(counted["5xx"], 0, "nor was one that the client tried again")


test_no_request_fails_while_origins_are_killed_in_turn.alone = True

if __name__ == "__main__":
    main([f for n, f in list(globals().items()) if n.startswith("test_")])
