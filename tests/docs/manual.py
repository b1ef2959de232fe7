#!/usr/bin/env python3
"""The manual says what is, and all of it.

Every setting has its entry and every entry its setting, with the same default;
causes, variables, command lines and kinds of errors likewise.  What it shows
as an example is taken out of the page and used: configurations load, the
tutorial's module compiles, is linked in, and answers as the page says.
"""
import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request

SRC = os.path.abspath(os.environ.get("HG_SRCDIR", "."))
BUILD = os.path.abspath(os.environ.get("HG_BUILDDIR", "."))
SCRATCH = os.path.join(BUILD, "tests/docs/manual.tmp")
HEADGATE = os.path.join(BUILD, "headgate")
BENCH = os.path.join(BUILD, "headgate-bench")
MAN = os.path.join(SRC, "man")
count = 0


def result(ok, name, detail=""):
    global count
    count += 1
    print(f"{'ok' if ok else 'not ok'} {count} - {name}", flush=True)
    if not ok and detail:
        print("# " + str(detail).replace("\n", "\n# "), flush=True)


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False,
                          **options)


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as f:
        return f.read()


def page(name):
    return read(MAN, name)


def plain(text):
    """What a literal display of a page shows."""
    for escape, char in (("\\e", "\\"), ("\\(dq", '"'), ("\\&", "")):
        text = text.replace(escape, char)
    return text


def examples(name, kind):
    """{FILE: text} of what stands between KIND BEGIN FILE and KIND END."""
    found = re.findall(rf'^\.\\" {kind} BEGIN (.*)\n((?:.*\n)*?)\.\\" {kind} END$', page(name), re.M)
    return {file: plain(text) for file, text in found}


def differences(name, have, documented):
    """One result: two sets are equal."""
    missing = [f"not in the page: {x}" for x in sorted(have - documented)]
    extra = [f"only in the page: {x}" for x in sorted(documented - have)]
    result(have and not missing and not extra, name, "\n".join(missing + extra) or "nothing found")


# --- form ---------------------------------------------------------------------------


def pages_are_well_formed():
    pages = sorted(glob.glob(os.path.join(MAN, "*.[1-8]")))
    result(len(pages) == 5, "there are five pages", pages)
    if not shutil.which("mandoc"):
        print("# mandoc is missing: apt install mandoc", flush=True)
        return
    for file in pages:
        lint = run("mandoc", "-Tlint", os.path.basename(file), cwd=MAN)
        result(lint.returncode == 0 and not lint.stdout,
               f"{os.path.basename(file)} has nothing for mandoc to say about", lint.stdout)


def tables_fit():
    """Cells no wider than their columns say: groff breaks such a row to pieces."""
    for file in sorted(glob.glob(os.path.join(MAN, "*.[1-8]"))):
        wide = []
        for head, rows in re.findall(r"^\.Bl -column (.*)\n((?:.*\n)*?)\.El", read(file), re.M):
            widths = [len(w) for w in re.findall(r'"([^"]*)"', head)]
            for row in re.findall(r"^\.It (.*)$", rows, re.M):
                cells = [re.sub(r"\b(Li|Sy|No|Ql) ", "", c).replace(" ,", ",").strip()
                         for c in row.split(" Ta ")]
                wide += [c for c, w in zip(cells, widths) if len(c) > w]
        result(not wide, f"the tables of {os.path.basename(file)} fit", wide)


# --- settings -----------------------------------------------------------------------


def built_in(section, modules):
    """Is it a section of this build?  The page has those of all modules."""
    module = re.match(r"\[module (\S+)\]|.* with handler = (\S+)", section)
    return not module or (module[1] or module[2]) in modules


def settings(kind, file):
    awk = run("awk", "-v", f"from={kind}", "-f", os.path.join(SRC, "tests/docs/settings.awk"), file)
    return set(awk.stdout.splitlines())


def settings_have_entries():
    help_file = os.path.join(SCRATCH, "settings")
    told = run(HEADGATE, "--help-settings").stdout
    with open(help_file, "w", encoding="utf-8") as f:
        f.write(told)
    modules = set(re.findall(r"^module +(\S+):", run(HEADGATE, "-V").stdout, re.M))
    have = settings("help", help_file)
    documented = {line for line in settings("man", os.path.join(MAN, "headgate.ini.5"))
                  if built_in(line.split(" | ")[0], modules)}
    differences("every setting has its entry, every entry its setting, with the same default",
                have, documented)
    result(len(have) > 90, "and there are as many as one would think", len(have))
    words_are_named(told)


def entries():
    """{(SECTION, KEY): all of its text}; entries that share a text share it."""
    found, section, waiting = {}, "", []
    for line in page("headgate.ini.5").splitlines():
        head = re.match(r"\.S[hs] (.*)", line)
        if head:
            section = head[1].replace("\\(lB", "[").replace("\\(rB", "]")
        item = re.match(r"\.It Ic (\S+)(.*)", line)
        if item and section.startswith("["):
            waiting = [k for k in waiting if len(found[k]) == 1]
            waiting.append((section, item[1]))
            found[waiting[-1]] = [item[2]]
        elif line == ".El":
            waiting = []
        else:
            for key in waiting:
                found[key].append(line)
    return {key: plain("\n".join(lines)) for key, lines in found.items()}


def words_are_named(told):
    texts, missing, section = entries(), [], ""
    for line in told.splitlines():
        if line.startswith("["):
            section = line
        # "  engine ( auto uring epoll) = auto": words, not the name of a type
        item = re.match(r"  (\w+) \((?:list of)?((?: [\w/.-]+)+)[,)]", line)
        for word in item[2].split() if item else []:
            if word in ("tokens", "names", "hosts", "paths", "files", "nets", "addresses", "ranges"):
                continue
            if not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", texts.get((section, item[1]), "")):
                missing.append(f"{section} {item[1]}: {word}")
    result(not missing, "every word that a setting takes is named", "\n".join(missing))


# --- other lists --------------------------------------------------------------------


def causes_are_listed():
    awk = run("awk", "-f", os.path.join(SRC, "tests/docs/causes.awk"),
              os.path.join(SRC, "src/http/cause.h"))
    shown = re.search(r'\.\\" CAUSES BEGIN.*\n((?:.*\n)*?)\.\\" CAUSES END', page("headgate.ini.5"))
    rows = len(re.findall(r"^    ROW\(", read(SRC, "src/http/cause.h"), re.M))
    result(awk.stdout.count(".It Li ") == rows > 0 and shown[1] == awk.stdout,
           "the causes are those of src/http/cause.h", "run tests/docs/causes.awk")


def variables_are_listed():
    table = re.search(r"#define VARIABLE_LIST.*\n((?:.*\\\n)*.*)\n", read(SRC, "src/conf/template.h"))
    have = set(re.findall(r"ROW\((\w+)\)", table[1]))
    section = re.search(r"^\.Sh Variables\n((?:.*\n)*?)\.Sh ", page("headgate.ini.5"), re.M)[1]
    documented = {w for line in re.findall(r"^\.It Li (.*)", section, re.M)
                  for w in re.split(r"[ ,]+|Li ", line) if re.fullmatch(r"[a-z_0-9]+", w)}
    differences("every variable is listed, and no other", have, documented)


def log_members_are_listed():
    have = set(re.findall(r'\\"([a-z_]+)\\":', read(SRC, "src/gate/access_log.c")))
    section = re.search(r"^\.Sh THE ACCESS LOG\n((?:.*\n)*?)\.Sh ", page("headgate.ini.5"), re.M)[1]
    documented = {w for line in re.findall(r"^\.It Li (.*)", section, re.M)
                  for w in line.split(" , ")}
    differences("every member of the access log is listed, and no other", have, documented)


def flags_of(usage):
    return set(re.findall(r"(?<![\w-])(--?[A-Za-z][\w-]*)", usage))


def flags_in(name):
    """The options that have an entry."""
    found = set()
    for line in re.findall(r"^\.It Fl (.*)", page(name), re.M):
        for flag in re.split(r" , Fl ", line):
            found.add("-" + flag.split()[0])
    return found


def command_lines_are_described():
    usage = run(BENCH, "-h").stdout
    documented = flags_in("headgate-bench.1")
    long_names = {"--requests", "--connections", "--threads", "--duration", "--method", "--header",
                  "--quiet", "--help", "--version"}
    differences("every option of headgate-bench is described, and no other",
                flags_of(usage) | long_names, documented)
    usage = run(HEADGATE, "-h").stdout
    differences("every option of headgate is described, and no other",
                flags_of(usage) | {"--config", "--test", "--print", "--version", "--help"},
                flags_in("headgate.8"))
    usage = run(HEADGATE, "ctl", "-h").stdout
    differences("every option of headgate ctl is described, and no other",
                flags_of(usage) | {"--config", "--socket", "--help"}, flags_in("headgate-ctl.1"))


def kinds_of_errors_are_listed():
    have = set(re.findall(r'ROW\([A-Z0-9_]+, "(\w+)"', read(SRC, "src/bench/tally.h")))
    part = re.search(r'\.\\" KINDS BEGIN\n((?:.*\n)*?)\.\\" KINDS END', page("headgate-bench.1"))[1]
    documented = {w for line in re.findall(r"^\.It Li (.*)", part, re.M) for w in line.split(" , ")}
    differences("every kind of error of headgate-bench is listed, and no other", have, documented)


# --- examples -----------------------------------------------------------------------


def examples_load():
    found = examples("headgate.ini.5", "EXAMPLE")
    result(len(found) >= 2, "headgate.ini(5) has examples", found.keys())
    with open(os.path.join(SCRATCH, "sorry.html"), "w", encoding="utf-8") as f:
        f.write("Sorry.\n")
    modules = run(HEADGATE, "-V").stdout
    for file, text in found.items():
        path = os.path.join(SCRATCH, file)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        if "[module 1mrc]" in text and "module   1mrc" not in modules:
            continue
        check = run(HEADGATE, "-t", "-c", path)
        result(check.returncode == 0, f"the example {file} loads and passes its tests",
               check.stderr + check.stdout)


# --- the tutorial -------------------------------------------------------------------


def make_variables(*names):
    """What make says of this build."""
    path = os.path.join(SCRATCH, "print.mk")
    with open(path, "w", encoding="utf-8") as f:
        f.write("include Makefile\n" +
                "".join(f"print-{n}:\n\t@echo '$({n})'\n" for n in names))
    environment = {**os.environ, "MAKEFLAGS": ""}
    return {n: run("make", "-s", "-f", path, f"print-{n}", cwd=BUILD, env=environment)
               .stdout.strip() for n in names}


def write(file, text):
    with open(os.path.join(SCRATCH, file), "w", encoding="utf-8") as f:
        f.write(text)
    return os.path.join(SCRATCH, file)


MORE = """
static const struct handler count_handler = {
    .name = "count", .settings = greet_settings, .conf_size = sizeof(struct greet_conf),
    .load = greet_load, .answer = count_answer};
static const struct handler echo_handler = {.name = "echo", .answer = echo_answer};
extern const struct module parts_module;
const struct module parts_module = {
    .name = "parts", .summary = "the page's other functions",
    .handlers = (const struct handler *const[]){&count_handler, &echo_handler, NULL},
};
"""


def build_with(code):
    """headgate with the page's modules; None, said, when it does not build."""
    v = make_variables("CC", "CPPFLAGS", "CFLAGS", "HG_CFLAGS", "HG_SAN", "HG_LDFLAGS", "LIBS",
                       "headgate_OBJECTS", "headgate_LDADD", "AWK")
    whole = code["greet.c"]
    parts = whole.replace("const struct module greet_module", "static const struct module greet_module")
    parts = "#pragma GCC diagnostic ignored \"-Wunused-variable\"\n" \
        "#pragma GCC diagnostic ignored \"-Wunused-const-variable\"\n" + parts + \
        "".join(code[f] for f in code if f.endswith(" part")) + MORE
    table = run(v["AWK"], "-v", "out=table", "-f", os.path.join(SRC, "modules/select.awk"),
                write("modules.list", code["modules.list"] + "parts parts_module parts.c\n"))
    sources = [write("greet.c", whole), write("parts.c", parts), write("table.c", table.stdout)]
    objects = []
    for source in sources:
        objects.append(source[:-2] + ".o")
        done = run(*v["CC"].split(), *v["CPPFLAGS"].split(), *v["CFLAGS"].split(),
                   *v["HG_CFLAGS"].split(), *v["HG_SAN"].split(), "-Werror", "-D_GNU_SOURCE",
                   "-I" + os.path.join(SRC, "src"), "-I" + SRC, "-I" + BUILD, "-c", "-o",
                   objects[-1], source)
        result(done.returncode == 0, f"{os.path.basename(source)} compiles without a warning",
               done.stderr)
    program = os.path.join(SCRATCH, "headgate")
    done = run(*v["CC"].split(), *v["HG_SAN"].split(), *v["HG_LDFLAGS"].split(), "-o", program,
               *v["headgate_OBJECTS"].split(), *objects, *v["headgate_LDADD"].split(),
               *v["LIBS"].split(), cwd=BUILD)
    result(done.returncode == 0, "headgate links with it", done.stderr)
    return program if done.returncode == 0 else None


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def fetch(port, path, content=None):
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data=content,
                                        timeout=10) as answer:
                return answer.read()
        except urllib.error.URLError as e:
            if not isinstance(e.reason, ConnectionRefusedError):
                return repr(e)
            time.sleep(0.05)
    return "nobody listens"


def tutorial_works():
    code = examples("headgate-module.7", "CODE")
    result({"greet.c", "modules.list", "greet.ini"} <= code.keys(), "the tutorial has its files",
           code.keys())
    lines = code["greet.c"].count("\n")
    result(lines < 50, "its module has fewer than 50 lines", lines)
    program = build_with(code)
    if not program:
        return
    result("module   greet: says hello" in run(program, "-V").stdout and
           "  greeting (template) = Hello, ${client_ip}" in run(program, "--help-settings").stdout,
           "headgate lists it and its setting", run(program, "-V").stdout)
    more = "\n[route count]\npath = /count\nhandler = count\n[route echo]\npath = /echo\n" \
        "handler = echo\nmax_body = off\n"
    port = free_port()
    environment = {**os.environ, "HTTP_PORT": str(port)}
    check = run(program, "-t", "-c", write("greet.ini", code["greet.ini"]), env=environment)
    result(check.returncode == 0, "its configuration loads", check.stderr)
    served = subprocess.Popen([program, "-c", write("more.ini", code["greet.ini"] + more)],
                              env=environment, stderr=subprocess.PIPE, text=True)
    try:
        shown = re.search(r'CODE BEGIN output\n(.*\n)', page("headgate-module.7"))[1]
        said = fetch(port, "/hello/world")
        result(said == shown.encode(), "it answers as the page says", said)
        result(fetch(port, "/hello/world").endswith(b" 2.\n"), "and counts")
        result(fetch(port, "/count", b"x" * 1234) == b"1234 bytes\n",
               "content is gathered as the page says")
        content = os.urandom(300000)
        result(fetch(port, "/echo", content) == content, "content streams as the page says")
    finally:
        served.terminate()
        _, said = served.communicate(timeout=60)
    result(served.returncode == 0, "and it ends in order", said)


shutil.rmtree(SCRATCH, ignore_errors=True)
os.makedirs(SCRATCH)
for test in (pages_are_well_formed, tables_fit, settings_have_entries, causes_are_listed,
             variables_are_listed, log_members_are_listed,
             command_lines_are_described, kinds_of_errors_are_listed, examples_load, tutorial_works):
    try:
        test()
    except Exception as e:  # pylint: disable=broad-except
        result(False, test.__name__, traceback.format_exc())
shutil.rmtree(SCRATCH, ignore_errors=True)
print(f"1..{count}")
sys.exit(0)
