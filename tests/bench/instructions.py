#!/usr/bin/env python3
"""Instructions per request: counted, compared with what they were, accepted.

    instructions.py check    fails when a script takes 2 % more than it did
    instructions.py accept   what it takes now is what it may take
    instructions.py profile [SCANNER [SCRIPT]]   which functions take how much of it

valgrind plays tests/sim/instructions and counts what the gateway itself executes
between counting_begins() and counting_ends(): functions from src/ and modules/
without the simulator, so neither the C library nor the scripts.  The count is the
same each time, whatever else the machine does, but another with another compiler:
instructions.tsv has figures for each, found by compiler, flags and architecture.

The environment: HG_SRCDIR, HG_BUILDDIR, HG_CC (a command), HG_FLAGS, HG_ARCH.
HG_INSTRUCTIONS=required makes a failure of what would be a skip.
"""
import collections
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

GROWTH = 0.02
SRC = os.environ.get("HG_SRCDIR", ".")
PROGRAM = os.path.join(os.environ.get("HG_BUILDDIR", "."), "tests/sim/instructions")
TABLE = os.path.join(SRC, "tests/bench/instructions.tsv")
OURS = re.compile(r"^(?:.*/)?(?:src/(?:base|io|net|http|conf|gate)|modules)/[^/]+(?:/[^/]+)?\.[ch]$")
NOT_OURS = re.compile(r"(^|/)src/io/sim[^/]*$")


def skip(why):
    if os.environ.get("HG_INSTRUCTIONS") == "required":
        sys.exit(f"FAILED: {why}, and here that must not be")
    print(f"SKIPPED: {why}")
    sys.exit(77)


# --- what the figures depend on -----------------------------------------------------------


def compiler():
    command = shlex.split(os.environ.get("HG_CC", "cc"))

    def said(*options):
        return subprocess.run([*command, *options], capture_output=True, text=True).stdout

    name = "clang" if "clang" in said("--version") else "gcc"
    return f"{name} {(said('-dumpfullversion') or said('-dumpversion')).strip()}"


def key():
    """Warnings and debugging information change no instruction."""
    flags = [f for f in os.environ.get("HG_FLAGS", "").split() if not re.match(r"-(W(?!l)|g)", f)]
    return compiler(), " ".join(flags), os.environ.get("HG_ARCH", os.uname().machine)


# --- counting -------------------------------------------------------------------------------


def own_costs(profile):
    """Of callgrind's format: {function of ours: its cost, without what it calls}."""
    costs, binary, function, ours, called = collections.Counter(), "", None, False, False
    with open(profile) as lines:
        for line in lines:
            if line.startswith("ob="):
                binary = line[3:].strip()
            elif line.startswith("fl="):
                path = line[3:].strip()
                ours = bool(OURS.match(path)) and not NOT_OURS.search(path)
            elif line.startswith("fn="):
                name = line[3:].strip()
                if path == "???" and name != "(below main)" and os.path.samefile(binary, PROGRAM):
                    sys.exit(f"FAILED: nobody knows where {name} is from: build with -g")
                function = f"{os.path.basename(path)}: {name}"
            elif line.startswith("calls="):
                called = True
            elif line[0] in "0123456789+-*":
                if ours and not called:
                    costs[function] += int(line.split()[1])
                called = False
    return costs


def count():
    """{(scanner, script): {function: instructions per request}}, in the order they were played."""
    with tempfile.TemporaryDirectory() as scratch:
        out = os.path.join(scratch, "profile")
        # Nothing from outside: the environment lies on the stack, and the C library
        # chooses by the CPU.
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C",
                       "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-ERMS"}
        run = subprocess.run(
            ["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={out}",
             "--compress-strings=no", "--compress-pos=no", "--zero-before=counting_begins",
             "--dump-before=counting_ends", PROGRAM],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if run.returncode != 0:
            sys.exit(f"FAILED: {PROGRAM} under valgrind:\n{run.stdout}{run.stderr}")
        counts = {}
        for number, line in enumerate(run.stdout.splitlines(), 1):
            scanner, script, requests = line.split()
            counts[scanner, script] = {function: cost / int(requests) for function, cost
                                       in own_costs(f"{out}.{number}").items()}
        return counts


def sums(counts):
    return {what: sum(costs.values()) for what, costs in counts.items()}


# --- the table --------------------------------------------------------------------------------


def table_read():
    """Its comments, and {key: {(scanner, script): instructions}}."""
    comments, rows = [], {}
    with open(TABLE) as lines:
        for line in lines:
            if line.startswith("#"):
                comments.append(line)
            elif line.strip():
                *where, scanner, script, cost = line.rstrip("\n").split("\t")
                rows.setdefault(tuple(where), {})[scanner, script] = float(cost)
    return comments, rows


def table_write(comments, rows):
    with open(TABLE, "w") as out:
        out.writelines(comments)
        for where in sorted(rows):
            for what, cost in rows[where].items():
                out.write("\t".join((*where, *what, f"{cost:.1f}")) + "\n")


# --- the commands ---------------------------------------------------------------------------------


def verdict(now, was):
    if was is None:
        return "NOT IN THE TABLE"
    if now is None:
        return "was not played"
    if now > was * (1 + GROWTH):
        return "GROWN"
    return "fallen: accept it" if now < was * (1 - GROWTH) else ""


def show(counts, before):
    """Prints all, returns the verdicts."""
    verdicts = []
    print(f"{'':8}{'instructions per request':24}{'now':>9}{'were':>9}")
    for what in dict.fromkeys([*counts, *before]):
        now, was = counts.get(what), before.get(what)
        verdicts.append(verdict(now, was))
        change = f"{(now / was - 1) * 100:+.1f} %" if now and was else ""
        numbers = "".join(f"{n:9.1f}" if n is not None else f"{'-':>9}" for n in (now, was))
        print(f"{what[0]:8}{what[1]:24}{numbers} {change:>8}  {verdicts[-1]}".rstrip())
    return verdicts


def check():
    where = key()
    if not shutil.which("valgrind"):
        skip("there is no valgrind")
    _, rows = table_read()
    if where not in rows:
        skip(f"instructions.tsv has no figures for {', '.join(where)} (make accept-instructions)")
    counts = sums(count())
    if not any(scanner == "avx2" for scanner, _ in counts):
        print("SKIPPED in part: this CPU has no AVX2")
    verdicts = show(counts, rows[where])
    bad = sum(v in ("GROWN", "NOT IN THE TABLE") for v in verdicts)
    missing = sum(v == "was not played" for v in verdicts)
    if missing and os.environ.get("HG_INSTRUCTIONS") == "required":
        bad += missing
    if any(v.startswith("fallen") for v in verdicts):
        print("Some are smaller than they were: `make accept-instructions` holds what was gained.")
    if bad:
        print(f"FAILED: {bad} of {len(verdicts)}. Where that is justified: make accept-instructions")
    return 1 if bad else 0


def accept():
    comments, rows = table_read()
    counts, where = sums(count()), key()
    show(counts, rows.get(where, {}))
    rows[where] = counts
    table_write(comments, rows)
    print(f"{TABLE} has these now")
    return 0


def profile(*chosen):
    for what, costs in count().items():
        if what[:len(chosen)] != chosen:
            continue
        print(f"{sum(costs.values()):9.1f}  {' '.join(what)}")
        for function, cost in sorted(costs.items(), key=lambda item: -item[1]):
            if cost >= 1:
                print(f"{cost:9.1f}    {function}")
    return 0


if __name__ == "__main__":
    commands = {"check": check, "accept": accept, "profile": profile}
    if len(sys.argv) < 2 or sys.argv[1] not in commands or len(sys.argv) > 2 and sys.argv[1] != "profile":
        sys.exit(f"usage: {sys.argv[0]} check | accept | profile [SCANNER [SCRIPT]]")
    sys.exit(commands[sys.argv[1]](*sys.argv[2:]))
