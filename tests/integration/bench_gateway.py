#!/usr/bin/env python3
"""headgate-bench and headgate: a tenth of the challenge, exact in every way it can be taken."""
import json
import subprocess

from go_pattern import go_pattern
from harness import BENCH, HEADGATE, Skip, main, same, true

EVENTS = 100000

CONFIG = """
[server]
workers = 2
access_log = off
[listener a]
listen = 127.0.0.1:{port}
backlog = 4096
[module 1mrc]
enabled = yes
[route hello]
path = /hello
handler = respond
body = hello
"""


def counting(gate):
    said = subprocess.run([HEADGATE, "-V"], capture_output=True, text=True, check=False).stdout
    if "module   1mrc" not in said:
        raise Skip("this build has no 1mrc module")
    return gate(CONFIG)


def bench(g, scenario, path, *args):
    """Exit code, and the report."""
    done = subprocess.run([BENCH, scenario, f"http://127.0.0.1:{g.port}{path}", "--json", "-q",
                           "--engine", g.engine, *args],
                          capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def exact(g, *args):
    code, report = bench(g, "1mrc", "", "-n", str(EVENTS), *args)
    same(code, 0, report)
    same(report["errors"], {})
    verdict = report["verdict"]
    same([verdict[k]["found"] for k in ("total", "users", "sum", "avg")],
         [EVENTS, 75000, EVENTS * 500, 500], report)
    return report


def test_a_thousand_connections_are_counted_exactly(gate):
    report = exact(counting(gate))
    true(report["verdict"]["from_zero"], report)
    same(report["reconnects"], 0)


def test_a_second_run_pipelined_is_counted_exactly(gate):
    g = counting(gate)
    exact(g, "-c", "100", "--pipeline", "16")
    report = exact(g, "-c", "100", "--pipeline", "16")
    true(not report["verdict"]["from_zero"], report)


def test_four_clients_are_counted_exactly(gate):
    exact(counting(gate), "--clients", "4", "-c", "400")


def test_the_go_clients_pattern_loses_nothing(gate):
    g = counting(gate)
    outcome = go_pattern(f"http://127.0.0.1:{g.port}", events=EVENTS // 2, seconds=60)
    true(outcome["ok"], outcome)


def test_connections_that_end_now_and_then_lose_nothing(gate):
    said = CONFIG.replace("backlog =", "keepalive_requests = 100\nbacklog =")
    counting(gate).stop()
    report = exact(gate(said), "-c", "50", "--pipeline", "16")
    true(report["reconnects"] >= EVENTS // 100 - 50, report)


def test_a_rate_is_kept(gate):
    g = gate(CONFIG.replace("[module 1mrc]\nenabled = yes\n", ""))
    code, report = bench(g, "load", "/hello", "--rate", "2000", "-d", "2s", "--slo", "p50<100ms")
    same(code, 0, report)
    same(report["good"], 4000)


main([test_a_thousand_connections_are_counted_exactly,
      test_a_second_run_pipelined_is_counted_exactly, test_four_clients_are_counted_exactly,
      test_the_go_clients_pattern_loses_nothing,
      test_connections_that_end_now_and_then_lose_nothing, test_a_rate_is_kept])
