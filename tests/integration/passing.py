"""A gateway with a forward route between two origins, and what is heard of it."""
import importlib.util
import json
import subprocess
import tempfile

from harness import HEADGATE, Skip, needs, true
from origin import Origin

CONFIG = """
[server]
workers = {workers}
access_log = {dir}/access.log
{server}
[listener a]
listen = 127.0.0.1:{port}
trusted = {trusted}
{listener}
[upstream api]
server = 127.0.0.1:{origin}
{upstream}
[upstream api-canary]
server = 127.0.0.1:{second}
{canary}
[upstream full]
server = 127.0.0.1:{full}
connect_timeout = 300ms
[upstream one]
server = 127.0.0.1:{origin} max_in_flight=1
queue = 8 timeout={queue}
[route all]
handler = forward
upstream = {of}
max_body = 64m
{route}
{more}
"""


def start(gate, **names):
    first, second = Origin(), Origin()
    empty = dict.fromkeys(("server", "listener", "upstream", "canary", "route", "more"), "")
    defaults = {"workers": 1, "trusted": "192.0.2.1", "of": "api", "full": 9, "queue": "300ms"}
    g = gate(CONFIG, origin=first.port, second=second.port, **{**empty, **defaults, **names})
    return g, first, second


def log(g):
    g.stop()
    return [json.loads(l) for l in g.read("access.log").splitlines()]


def needs_hpack():
    needs("http/2")
    if importlib.util.find_spec("hpack") is None:
        raise Skip("python3-hpack is not installed")


def heard(content):
    """The fields of the request that an origin has echoed, names in lower case."""
    pairs = (l.partition(": ")[::2] for l in content.decode().split("\n")[1:-1])
    fields = {}
    for name, value in pairs:
        fields.setdefault(name.lower(), []).append(value)
    return fields


def checked(text):
    """What headgate -t says."""
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as f:
        f.write("[listener a]\nlisten = 127.0.0.1:80\n[upstream api]\nserver = 127.0.0.1:1\n"
                "[upstream api-canary]\nserver = 127.0.0.1:2\n"
                "[route all]\nhandler = forward\n" + text)
        f.flush()
        done = subprocess.run([HEADGATE, "-t", "-c", f.name], capture_output=True, text=True)
        return done.returncode, (done.stdout + done.stderr).replace(f.name, "ini")


def says(text, want):
    code, said = checked(text)
    true(code != 0 and want in said, f"{want!r} is not in {said!r}")
