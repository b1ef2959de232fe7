#!/usr/bin/env python3
"""The command line: what -t and -T say, and how long they take to say it."""
import os
import resource
import subprocess
import tempfile

from harness import BUILD, HEADGATE, main, same, true

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


FAILING = PLAIN + "[test t]\nrequest = GET http://a/\nexpect_status = 500\n"


def test_what_is_in_effect_is_printed_whatever_the_tests_expect(gate):
    del gate
    code, said, errors, _ = run("-T", FAILING)
    same((code, errors), (0, ""))
    true("expect_status = 500" in said and "body = fine" in said, said)
    code, _, errors, _ = run("-t", FAILING)
    same(code, 1)
    true("[test t] expect_status" in errors, errors)


def test_reading_a_key_that_repeats_is_linear(gate):
    """A million lines are no reason to wait: four times the lines, about four times the work."""
    del gate
    least, most = (min(run("-t", PLAIN + "response_header = add A b\n" * n)[3] for _ in range(2))
                   for n in (25000, 100000))
    true(most < 8 * least + 0.2, f"25,000 lines took {least:.2f} s, 100,000 took {most:.2f} s")


if __name__ == "__main__":
    tests = [t for n, t in sorted(globals().items()) if n.startswith("test_")]
    for each in tests:
        each.once = True
    main(tests)
