#!/usr/bin/env python3
"""The command line: what -t and -T say, and how long they take to say it."""
import os
import pwd
import resource
import select
import socket
import subprocess
import tempfile

from harness import BUILD, HEADGATE, Skip, main, needs, same, true

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


def version():
    return subprocess.run([HEADGATE, "-V"], capture_output=True, text=True, check=True).stdout


def test_one_of_a_thing_is_one(gate):
    del gate
    code, said, _, _ = run("-t", PLAIN)
    same(code, 0)
    true("fine: 1 listener, 1 route, 0 upstreams, 0 tests passed" in said, said)
    said = run("-t", PLAIN + "[listener b]\nlisten = 127.0.0.1:8081\n")[1]
    true("fine: 2 listeners, 1 route," in said, said)


def test_the_version_names_what_is_spoken(gate):
    g = gate("[server]\n[listener a]\nlisten = 127.0.0.1:{port}\n[route r]\nhandler = respond\n")
    said = version()
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


def test_output_that_cannot_be_written_is_a_failure(gate):
    g = gate(PLAIN.replace("8080", "{port}") + "[module 1mrc]\nenabled = yes\n")
    bench = HEADGATE + "-bench"
    for command in ([HEADGATE, "-t", "-c", g.ini], [HEADGATE, "-T", "-c", g.ini], [HEADGATE, "-V"],
                    [HEADGATE, "-h"], [HEADGATE, "--help-settings"], [HEADGATE, "ctl", "-h"], [bench, "-V"],
                    [bench, "-h"], [bench, "load", "--json", "--rate", "max", "-d", "100ms",
                     f"http://127.0.0.1:{g.port}/"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
                                  check=False)
        same(done.returncode, 1, command)
        true("could not be written" in done.stderr, (command, done.stderr))


# --- what a start would refuse -----------------------------------------------------------------

class Place:
    """A folder to check configurations in, whose name is {dir} in them."""
    def __init__(self, where):
        self.dir = where

    def path(self, name):
        return os.path.join(self.dir, name)

    def check(self, config, flag="-t"):
        with open(self.path("headgate.ini"), "w") as f:
            f.write(config.replace("{dir}", self.dir))
        before = sorted(os.listdir(self.dir))
        done = subprocess.run([HEADGATE, flag, "-c", self.path("headgate.ini")], capture_output=True,
                              text=True, timeout=20, check=False)
        same(sorted(os.listdir(self.dir)), before, "no trace is left")
        return done.returncode, done.stderr.replace(self.dir, "{dir}")

    def refuses(self, at, text, config):
        same(self.check(config), (1, f"{{dir}}/headgate.ini:{at}: error: {text}\n"), config)

    def takes(self, config, warning=""):
        warning = warning and "{dir}/headgate.ini:" + warning + "\n"
        same(self.check(config), (0, warning), config)


def place(test):
    def with_place(gate):
        del gate
        with tempfile.TemporaryDirectory(dir="/tmp") as where: # short enough for a socket
            os.chmod(where, 0o755)
            test(Place(where))
    with_place.__name__ = test.__name__
    return with_place


def server(*lines):
    return PLAIN.replace("[server]", "\n".join(("[server]",) + lines))


@place
def test_a_log_that_cannot_be_opened_is_an_error_at_its_place(p):
    os.mkdir(p.path("folder"))
    for log in ("access_log", "error_log"):
        at = f"2:{len(log) + 4}"
        for name, why in (("none/log", "not found"), ("folder", "is a directory"),
                          ("headgate.ini/log", "not a directory")):
            p.refuses(at, f"{log}: {{dir}}/{name}: {why}", server(f"{log} = {{dir}}/{name}"))
        for name in ("log", "headgate.ini", "folder/log"):
            p.takes(server(f"{log} = {{dir}}/{name}"))
        p.takes(server(f"{log} = stderr"))


@place
def test_a_link_for_a_log_is_where_it_leads(p):
    os.mkdir(p.path("folder"))
    for link, to in (("absolute", p.path("folder/log")), ("relative", "folder/log"),
                     ("twice", "relative"), ("astray", "none/log"), ("itself", "itself")):
        os.symlink(to, p.path(link))
    for link in ("absolute", "relative", "twice"):
        p.takes(server(f"access_log = {{dir}}/{link}"))
    for link, why in (("astray", "not found"), ("itself", "too many or forbidden links")):
        p.refuses("2:14", f"access_log: {{dir}}/{link}: {why}",
                  server(f"access_log = {{dir}}/{link}"))


@place
def test_a_pipe_for_a_log_is_not_opened(p):
    """Neither does it wait for a reader, nor is its leaving the end for one."""
    os.mkfifo(p.path("pipe"))
    p.takes(server("access_log = {dir}/pipe"))
    reader = os.open(p.path("pipe"), os.O_RDONLY | os.O_NONBLOCK)
    p.takes(server("access_log = {dir}/pipe", "error_log = {dir}/pipe"))
    ends = select.poll()
    ends.register(reader, select.POLLIN | select.POLLHUP)
    same(ends.poll(0), [])
    os.close(reader)


@place
def test_a_socket_that_cannot_be_made_is_an_error_at_its_place(p):
    p.refuses("2:11", "control: {dir}/none/s: not found", server("control = {dir}/none/s"))
    p.refuses("2:11", "control: {dir}/headgate.ini: already in use",
              server("control = {dir}/headgate.ini"))
    more = PLAIN.replace("127.0.0.1:8080", "127.0.0.1:8080, unix:{dir}/%s")
    p.refuses("3:26", "listen unix:{dir}/none/s: not found", more % "none/s")
    p.refuses("3:26", "listen unix:{dir}/headgate.ini: already in use", more % "headgate.ini")
    p.takes(server("control = {dir}/s"))
    with socket.socket(socket.AF_UNIX) as s: # perhaps that of one that runs
        s.bind(p.path("s"))
        s.listen()
        p.takes(server("control = {dir}/s"))
        p.takes(more % "s")


@place
def test_an_address_of_another_machine_is_an_error_at_its_place(p):
    p.refuses("4:10", "listen 192.0.2.1:80: no address of this machine",
              PLAIN.replace("127.0.0.1:8080", "127.0.0.1:8080\nlisten = 192.0.2.1:80"))
    with socket.socket() as s: # a port that is taken may be that of one that runs
        s.bind(("127.0.0.1", 0))
        s.listen()
        p.takes(PLAIN.replace("8080", str(s.getsockname()[1])))


@place
def test_a_pid_file_that_cannot_be_written_is_a_warning(p):
    p.takes(server("pid_file = {dir}/none/pid"), "2:12: warning: pid_file: {dir}/none/pid: not found")
    p.takes(server("pid_file = {dir}/pid"))
    config = server("pid_file = {dir}/pid")
    for there, warning in (("1\n", ""), ("", ""), ("no number\n", "holds no process number")):
        with open(p.path("pid"), "w") as f:
            f.write(there)
        p.takes(config, warning and f"2:12: warning: pid_file: {{dir}}/pid: what is there {warning}")
    os.unlink(p.path("pid"))
    os.mkdir(p.path("pid"))
    p.takes(config, "2:12: warning: pid_file: {dir}/pid: what is there holds no process number")


@place
def test_a_user_that_is_not_there_is_an_error_at_its_place(p):
    p.refuses("2:8", "user: headgate-none: there is no such user", server("user = headgate-none"))
    if os.getuid() == 0:
        p.refuses("3:9", "group: headgate-none: there is no such group",
                  server("user = nobody", "group = headgate-none"))


@place
def test_logs_are_tried_as_the_user_who_will_open_them(p):
    """The error log by who starts, the access log by who serves."""
    if os.getuid() != 0:
        raise Skip("only root can become somebody else")
    nobody = pwd.getpwnam("nobody")
    os.mkdir(p.path("roots"), 0o700)
    os.mkdir(p.path("nobodys"), 0o700)
    os.chown(p.path("nobodys"), nobody.pw_uid, nobody.pw_gid)
    for log in ("roots/log", "headgate.ini"):
        p.refuses("3:14", f"access_log: {{dir}}/{log}: permission denied",
                  server("user = nobody", f"access_log = {{dir}}/{log}"))
    p.takes(server("user = nobody", "access_log = {dir}/nobodys/log", "error_log = {dir}/roots/log",
                   "control = {dir}/roots/s"))
    os.symlink("nobodys/log", p.path("link"))
    p.takes(server("user = nobody", "access_log = {dir}/link"))
    p.takes(server("access_log = {dir}/roots/log"))


@place
def test_who_is_not_root_is_told_what_was_not_tried(p):
    if os.getuid() != 0:
        raise Skip("only root can become somebody else")
    with open(p.path("headgate.ini"), "w") as f:
        f.write(server("user = daemon", f"access_log = {p.dir}/log", f"control = {p.dir}/s",
                       f"pid_file = {p.dir}/pid"))
    def become_nobody():
        os.setgid(pwd.getpwnam("nobody").pw_gid)
        os.setuid(pwd.getpwnam("nobody").pw_uid)
    done = subprocess.run([HEADGATE, "-t", "-c", p.path("headgate.ini")], capture_output=True,
                          text=True, timeout=20, check=False, preexec_fn=become_nobody)
    same((done.returncode, done.stderr.partition(": ")[2]),
         (0, "warning: user: daemon: only root may become another user; what it may open was not "
             "tried\n"))


@place
def test_an_engine_that_cannot_run_is_an_error_at_its_place(p):
    """Here for want of descriptors, if it was built in."""
    with open(p.path("headgate.ini"), "w") as f:
        f.write(server("engine = uring"))
    done = subprocess.run([HEADGATE, "-t", "-c", p.path("headgate.ini")], capture_output=True,
                          text=True, timeout=20, check=False,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6)))
    true(done.returncode == 1 and ":2:10: error: engine: uring cannot run here: " in done.stderr,
         done.stderr)


@place
def test_a_state_that_is_damaged_is_an_error_at_its_place(p):
    if "module   1mrc:" not in version():
        raise Skip("built without 1mrc")
    config = PLAIN + "[module 1mrc]\nenabled = yes\nstate_file = {dir}/state\n"
    p.takes(config)
    with open(p.path("state"), "w") as f:
        f.write("no state")
    p.refuses("9:14", "state_file: {dir}/state: is no state of 1mrc; move it away to begin anew",
              config)
    p.takes(config.replace("enabled = yes", "enabled = no"))


@place
def test_a_state_that_cannot_be_written_is_an_error_at_its_place(p):
    if "module   1mrc:" not in version():
        raise Skip("built without 1mrc")
    config = PLAIN + "[module 1mrc]\nenabled = yes\nstate_file = {dir}/none/state\n"
    p.refuses("9:14", "state_file: {dir}/none/state: its folder: not found", config)
    p.takes(config.replace("enabled = yes", "enabled = no"))
    os.mkdir(p.path("none"), 0o755)
    p.takes(config)
    if os.getuid() == 0:
        p.refuses("10:14", "state_file: {dir}/none/state: its folder: permission denied",
                  config.replace("[server]", "[server]\nuser = nobody"))


@place
def test_a_root_that_is_missing_is_a_warning_at_its_place(p):
    config = PLAIN + "[route files]\npath = /f/*\nhandler = static\nroot = {dir}/%s\n"
    p.takes(config % "none", "10:8: warning: root: {dir}/none: not found")
    p.takes(config % "headgate.ini", "10:8: warning: root: {dir}/headgate.ini: not a directory")
    os.mkdir(p.path("none"))
    p.takes(config % "none")


@place
def test_a_relative_root_is_in_the_files_folder(p):
    """However the file was named, also the folder itself."""
    config = PLAIN + "[route files]\npath = /f/*\nhandler = static\nroot = %s\n"
    os.mkdir(p.path("in"))
    for root, want in ((".", ""), ("./", ""), ("././/.", ""), ("..", ".."), ("../", "../"), ("in/.", "in/"),
                       ("./in", "in")):
        for name, where in (("rd.ini", p.dir), ("./rd.ini", p.dir), ("in/../rd.ini", p.dir),
                            ("../rd.ini", p.path("in")), (p.path("rd.ini"), "/")):
            with open(p.path("rd.ini"), "w") as f:
                f.write(config % root)
            done = subprocess.run([HEADGATE, "-T", "-c", name], capture_output=True, text=True, timeout=20,
                                  check=False, cwd=where)
            same((done.returncode, done.stderr), (0, ""), (root, name))
            said = [l.partition(" = ")[2] for l in done.stdout.splitlines() if l.startswith("root = ")]
            same([os.path.realpath(l) for l in said], [os.path.realpath(p.path(want))], (root, name))
            true(said[0].startswith("/"), said)


@place
def test_what_will_stay_behind_is_said(p):
    """A pid file and a control socket where the user may not remove them."""
    if os.getuid() != 0:
        raise Skip("only root can become somebody else")
    os.mkdir(p.path("own"))
    os.chown(p.path("own"), pwd.getpwnam("nobody").pw_uid, -1)
    for folder, stays in (("", True), ("own/", False)):
        pid, control = p.path(folder + "pid"), p.path(folder + "s")
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        with open(p.path("headgate.ini"), "w") as f:
            f.write(server("user = nobody", f"pid_file = {pid}", f"control = {control}")
                    .replace("8080", str(port)))
        running = subprocess.Popen([HEADGATE, "-c", f.name], stderr=subprocess.PIPE, text=True)
        said = ""
        while "serving\n" not in said:
            line = running.stderr.readline()
            true(line, said)
            said += line
        running.terminate()
        running.communicate(timeout=20)
        for key, path in (("pid_file", pid), ("control", control)):
            same(f"{key} {path} will stay when we end: its folder is not the user's" in said, stays, said)
            same(os.path.exists(path), stays, path)


@place
def test_messages_go_to_stdout_and_a_starts_errors_to_stderr_too(p):
    with socket.create_server(("127.0.0.1", 0)) as s, open(p.path("headgate.ini"), "w") as f:
        f.write(server("error_log = stdout").replace("8080", str(s.getsockname()[1])))
        f.flush()
        done = subprocess.run([HEADGATE, "-c", f.name], capture_output=True, text=True, timeout=20,
                              check=False, cwd=p.dir)
    same(done.returncode, 1)
    true("already in use" in done.stdout and "already in use" in done.stderr, str(done))
    same(os.listdir(p.dir), ["headgate.ini"], "it is no file's name")


if __name__ == "__main__":
    tests = [t for n, t in sorted(globals().items()) if n.startswith("test_")]
    for each in tests:
        each.once = True
    main(tests)
