#!/usr/bin/env python3
"""compare.sh runs, says what the records say, and leaves nothing behind."""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

BUILD = os.path.abspath(os.environ.get("HG_BUILDDIR", "."))
HERE = os.path.join(os.path.abspath(os.environ.get("HG_SRCDIR", ".")), "tests/bench")
COMPARE = os.path.join(HERE, "compare.sh")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "compare"))
import loads  # noqa: E402
import report  # noqa: E402

count = 0


def result(ok, name, detail=""):
    global count
    count += 1
    print(f"{'ok' if ok else 'not ok'} {count} - {name}", flush=True)
    if not ok:
        print("# " + str(detail).replace("\n", "\n# "), flush=True)


def compare(folder, *args, lock="headgate-compare-test"):
    env = dict(os.environ, HEADGATE_COMPARE_LOCK=f"{lock}-{os.getpid()}", HG_BUILDDIR=BUILD,
               PYTHON=sys.executable)
    return subprocess.run(["sh", COMPARE, "--no-install", *args], cwd=folder, env=env, text=True,
                          capture_output=True, timeout=300, check=False)


def record(server, number, us, kind, scenario="static"):
    return {"scenario": scenario, "server": server, "kind": kind, "round": number, "us": us,
            "requests": 100000, "seconds": 2.0, "core": 0.9, "load_us": 5.0, "foreign": 0.01,
            "errors": 0}


def what_the_table_says():
    # The machine is half as fast in the second round: ratios do not mind.
    records = [record(server, number, us * slow, kind)
               for number, slow in ((0, 1), (1, 2), (2, 1.1))
               for server, us, kind in (("bare uring", 4.0, "floor"), ("headgate uring", 4.2, "own"),
                                        ("nginx", 6.0, "peer"), ("h2o", 7.0, "peer"))]
    records.append({"scenario": "static", "server": "haproxy", "kind": "peer", "round": 0,
                    "failed": "it is not in the mood"})
    results = report.Results(records, loads.SCENARIOS)
    static = results.scenarios[0]
    text = report.table(results, ["a heading"])
    result(results.ratio(static, "headgate uring", "nginx") == 4.2 / 6.0 and
           results.best(static) == "nginx", "a ratio is taken round by round", text)
    result("0.70 of nginx: within 0.92" in text and "1.05 of bare uring: within 1.1" in text,
           "the bars are judged", text)
    result("2 of 2 bars are reached." in text, "and counted", text)
    result("failed: it is not in the mood" in text, "who failed is said", text)
    slower = [dict(r, us=r["us"] * 1.5) if r["kind"] == "own" else r for r in records]
    text = report.table(report.Results(slower, loads.SCENARIOS), [])
    result("1.05 of nginx: MISSES 0.92" in text and "0 of 2 bars" in text and
           "static, headgate uring: 1.05 of nginx, at most 0.92" in text, "a bar that is missed is said to be", text)
    chart = report.chart(results, ["a <heading> & more", "and a line"])
    tree = xml.etree.ElementTree.fromstring(chart)
    bars = [e for e in tree.iter() if e.tag.endswith("rect") and float(e.get("x", 0)) and
            float(e.get("height")) > 12]
    result(len(bars) == 4 and "prefers-color-scheme: dark" in chart,
           "the chart is SVG with a bar for each, for light and dark", chart)


def wrong_words(folder):
    for args, said in ((("--only", "nonsense"), "no scenario nonsense"),
                       (("--peers", "iis"), "no peer iis"), (("--engine", "select"), "no engine"),
                       (("--build", "/nowhere"), "make bench-programs"),
                       (("--also", "old"), "NAME=PROGRAM"), (("--rounds", "0"), "more than 0")):
        done = compare(folder, *args)
        result(done.returncode == 2 and said in done.stderr, f"{' '.join(args)} is refused",
               done.stderr)
    done = compare(folder, "--help")
    result(done.returncode == 0 and all(s.name in done.stdout for s in loads.SCENARIOS),
           "--help names every scenario", done.stdout)


def nothing_is_installed_for_wrong_words(folder):
    bin = os.path.join(folder, "bin")
    os.mkdir(bin)
    for name in ("sh", "dirname", "id", "tr", "chmod", "rm"):
        os.symlink(shutil.which(name), os.path.join(bin, name))
    with open(os.path.join(bin, "apt-get"), "w") as f:
        f.write(f"#!/bin/sh\n: >{folder}/installed\nexit 1\n")
    os.chmod(f.name, 0o755)
    for args, said in ((["--bogus"], "--bogus"), (["--only", "nonsense"], "no scenario nonsense")):
        done = subprocess.run(["sh", COMPARE, *args], cwd=folder, text=True, capture_output=True,
                              env=dict(os.environ, PATH=bin, PYTHON=sys.executable, HG_BUILDDIR=BUILD),
                              timeout=60, check=False)
        result(done.returncode == 2 and said in done.stderr and
               not os.path.exists(os.path.join(folder, "installed")),
               f"nothing is installed for {' '.join(args)}", done.stderr)


def a_run(folder):
    done = compare(folder, "--rounds", "1", "--duration", "0.3", "--only", "static,forward",
                   "--peers", "none", "--engine", "epoll", "--out", "out")
    lines = [l for l in done.stderr.splitlines() if l]
    result(done.returncode == 0 and len(lines) == 4 and "\r" not in done.stderr,
           "away from a terminal progress is plain lines", done.stderr + done.stdout)
    with open(os.path.join(folder, "out/results.jsonl")) as f:
        records = [json.loads(l) for l in f]
    result([(r["scenario"], r["server"]) for r in records] ==
           [("static", "bare epoll"), ("static", "headgate epoll"), ("forward", "bare epoll"),
            ("forward", "headgate epoll")] and
           all(0.5 < r["us"] < 1000 and r["requests"] > 20 and not r["errors"] for r in records),
           "headgate and the floors are measured", records)
    with open(os.path.join(folder, "out/table.txt")) as f:
        result(f.read().strip() in done.stdout and os.path.realpath(folder) in done.stdout,
               "the table is printed, and where it is", done.stdout)
    again = compare(folder, "--table", "out/results.jsonl")
    result(again.returncode == 0 and "headgate epoll" in again.stdout, "a table can be had again",
           again.stderr)
    mine = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ") as f:
                if f"headgate-compare-test-{os.getpid()}" in f.read():
                    mine.append(pid)
        except (OSError, UnicodeDecodeError):
            pass
    result(not mine, "nothing is left running", mine)


def over_tls(folder):
    said = subprocess.run([os.path.join(BUILD, "headgate"), "-V"], capture_output=True, text=True,
                          check=False).stdout
    if "feature  tls" not in said or not shutil.which("openssl"):
        result(True, "handshakes are measured # SKIP no TLS")
        return
    done = compare(folder, "--rounds", "1", "--duration", "0.2", "--only", "tls_full,tls_resumed,tls_idle",
                   "--peers", "none", "--engine", "epoll", "--out", "tls")
    with open(os.path.join(folder, "tls/results.jsonl")) as f:
        full, resumed, idle = map(json.loads, f)
    result(done.returncode == 0 and "TLS: OpenSSL" in done.stdout and
           all(r["requests"] > 5 and not r["errors"] and r["us"] > 50 for r in (full, resumed)),
           "handshakes are measured, and resumed where they should be", done.stdout + done.stderr)
    result(idle["connections"] > 500 and not idle["errors"] and idle["bytes"] > 1000,
           "and what an idle TLS connection takes", idle)


def not_twice(folder):
    with socket.socket(socket.AF_UNIX) as lock:
        lock.bind(f"\0headgate-compare-twice-{os.getpid()}")
        done = compare(folder, "--only", "static", "--peers", "none",
                       lock="headgate-compare-twice")
    result(done.returncode == 2 and "it runs already" in done.stderr,
           "two at once are refused", done.stderr)


with tempfile.TemporaryDirectory(dir=BUILD) as where:
    what_the_table_says()
    wrong_words(where)
    nothing_is_installed_for_wrong_words(where)
    not_twice(where)
    a_run(where)
    over_tls(where)
print(f"1..{count}")
