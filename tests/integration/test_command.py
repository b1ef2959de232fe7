#!/usr/bin/env python3
"""The command line: what -t and -T say, and how long they take to say it."""
import os
import resource
import subprocess
import tempfile

from harness import BUILD, HEADGATE, main, needs, same, true

PLAIN = """[server]
[listener a]
listen = 127.0.0.1:8080
[route all]
handler = respond
body = fine
"""


def run(flag, config):
    with tempfile.TemporaryDirectory(dir=BUILD) as where:
        path = os.path.join(where, "headgate.ini")
        with open(path, "w") as f:
            f.write(config)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = subprocess.run([HEADGATE, flag, "-c", path], capture_output=True, text=True,
                              timeout=100, check=False)
        took = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        return done.returncode, done.stdout, done.stderr.replace(where + "/", ""), took


def test_one_of_a_thing_is_one(gate):
    del gate
    code, said, _, _ = run("-t", PLAIN)
    same(code, 0)
    true("fine: 1 listener, 1 route, 0 upstreams, 0 tests passed" in said, said)
    said = run("-t", PLAIN + "[listener b]\nlisten = 127.0.0.1:8081\n")[1]
    true("fine: 2 listeners, 1 route," in said, said)


def test_the_version_names_what_is_spoken(gate):
    g = gate("[server]\n[listener a]\nlisten = 127.0.0.1:{port}\n[route r]\nhandler = respond\n")
    said = subprocess.run([HEADGATE, "-V"], capture_output=True, text=True, check=True).stdout
    true(said.startswith("headgate ") and "\nengine   epoll\n" in said
         and "\nmodule   respond: " in said and "\nfeature  http/1.1\n" in said, said)
    with g.connect() as s:
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        same("\nfeature  http/2, " in said, not s.recv(5).startswith(b"H"))


FAILING = PLAIN + "[test t]\nrequest = GET http://a/\nexpect_status = 500\n"


def test_what_is_in_effect_is_printed_whatever_the_tests_expect(gate):
    del gate
    code, said, errors, _ = run("-T", FAILING)
    same((code, errors), (0, ""))
    true("expect_status = 500" in said and "body = fine" in said, said)
    code, _, errors, _ = run("-t", FAILING)
    same(code, 1)
    true("[test t] expect_status" in errors, errors)


def worst(config, listener="h2c = no\n"):
    config = config.replace("[listener a]\n", "[listener a]\n" + listener)
    code, said, errors, _ = run("-t", "[server]\nmax_connections = 100\nworkers = 4\n"
                                "buffer_memory = 16m\n" + config.replace("[server]\n", ""))
    same(code, 0, errors)
    number = said.split("worst case: ")[1].split()[0]
    return float(number[:-1]) * {"k": 2 ** 10, "m": 2 ** 20, "g": 2 ** 30}[number[-1]]


def test_the_worst_case_has_what_modules_keep(gate):
    """Users that were counted: 16 bytes and at least a slot of 8, on their owner and on each worker
    that saw them; and the files in memory, of the route that wants most."""
    del gate
    static = "[route s{n}]\npath = /s{n}/*\nhandler = static\nroot = .\ncache_size = {size}\n"
    plain, files = worst(PLAIN), worst(PLAIN + static.format(n=1, size="512m")
                                       + static.format(n=2, size="1m"))
    true(abs(files - plain - 512 * 2 ** 20) < 2 ** 20, f"{plain} {files}")
    users = worst(PLAIN + "[module 1mrc]\nenabled = yes\nusers_max = 1000000\n")
    true(4e6 * 24 < users - plain < 4e6 * 64, f"{plain} {users}")
    same(worst(PLAIN + "[module 1mrc]\nenabled = no\nusers_max = 1000000\n"), plain, "not enabled")


def test_the_worst_case_has_all_streams(gate):
    """Each stream may be an exchange with the longest head; 100 connections, or as many as the
    listener may have."""
    del gate
    needs("http/2")
    one, some, large, few = (
        worst(PLAIN, "h2c = yes\n" + more) for more in
        ("h2_max_streams = 1\n", "h2_max_streams = 100\n", "h2_max_streams = 100\nmax_header = 64k\n",
         "h2_max_streams = 100\nmax_connections = 10\n"))
    plain = worst(PLAIN)
    true(plain < one < 2.5 * plain, f"{plain} {one}")
    true(some - one > 100 * 99 * 32 * 1024, f"{one} {some}")
    true(large - some > 100 * 100 * 30 * 1024, f"{some} {large}")
    true(few < some / 6, f"{few} {some}")


def test_reading_a_key_that_repeats_is_linear(gate):
    """A million lines are no reason to wait: four times the lines, about four times the work."""
    del gate
    least, most = (min(run("-t", PLAIN + "response_header = add A b\n" * n)[3] for _ in range(2))
                   for n in (25000, 100000))
    true(most < 8 * least + 0.2, f"25,000 lines took {least:.2f} s, 100,000 took {most:.2f} s")


def test_reading_keys_that_are_all_different_ends(gate):
    """So many that looking each up among all before would take minutes: what is too much is said."""
    del gate
    status, _, said, took = run("-t", PLAIN + "".join(f"z{n} = 1\n" for n in range(100000)))
    same(status, 1)
    same(said.count("more than 500 different keys"), 1, said)
    true(took < 5, f"{took:.1f} s")


if __name__ == "__main__":
    tests = [t for n, t in sorted(globals().items()) if n.startswith("test_")]
    for each in tests:
        each.once = True
    main(tests)
