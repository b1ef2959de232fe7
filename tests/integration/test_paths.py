#!/usr/bin/env python3
"""No path is matched as one thing and served as another: each path of the corpus goes through the
gateway to nginx, Python's http.server and aiohttp, and the part of the site that the origin serves
must be the part the route was for."""
import contextlib
import os
import posixpath
import shutil
import tempfile
import urllib.parse

from harness import BUILD, SOURCE, main, same, true
from origins import Aiohttp, Nginx, Python

PARTS = ("public", "admin", "a", "files")
NGINX = "".join(f"location /{p}/ {{ return 200 '{p}'; }} location = /{p} {{ return 200 '{p}'; }}\n"
                for p in PARTS) + "location / { return 200 'other'; }\n"
CONFIG = """
[server]
workers = 1
[listener a]
listen = 127.0.0.1:{port}
[upstream origin]
server = 127.0.0.1:{origin}
[route other]
handler = forward
upstream = origin
encoded_slash = {slash}
response_header = set X-Route other
""" + "".join(f"""[route {p}]
path = /{p}/*
handler = forward
upstream = origin
encoded_slash = {{slash}}
response_header = set X-Route {p}
""" for p in PARTS)

CLASSICS = ["/public/../admin", "/public/../admin/x", "/public/..%2fadmin", "/public/%2e%2e/admin",
            "/public/..;/admin", "/public/.;/../admin", "//admin", "/public//../admin", "/./admin",
            "/public/..%5cadmin", "/public/%2e%2e%2fadmin", "/public/%252e%252e/admin", "/admin%2f",
            "/public/..%00/admin", "/public/x/../../admin/x", "/%61dmin/x", "/admin/", "/admin",
            "/public/%2E./admin", "/public/.%2e/admin/", "/public/...//admin", "/Admin/x", "/admin.",
            "/public\\..\\admin", "/public/a%2f..%2f..%2fadmin", "/;/admin", "/admin;x/y"]


def corpus():
    with open(os.path.join(SOURCE, "tests/data/paths.tsv"), encoding="latin-1") as f:
        rows = [l.rstrip("\n").split("\t")[0] for l in f if not l.startswith("#")]
    rows = [r for r in rows if r.startswith("/") and "\\x" not in r and len(r) < 2000]
    return CLASSICS + rows + ["/public/.." + r for r in rows] + ["/admin" + r for r in rows]


# --- sites -------------------------------------------------------------------------------------
# Each answers 200 with the name of its part, for whatever path it takes for one of that part.

@contextlib.contextmanager
def nginx_site():
    nginx = Nginx(NGINX)
    try:
        yield nginx.port
    finally:
        nginx.end()


def plant(root, path):
    """A file where this path may lead, whoever reads it, that says which part it lies in."""
    for read in (path, urllib.parse.unquote(path, "latin-1"), urllib.parse.unquote(path)):
        place = posixpath.normpath("/" + read).lstrip("/")
        if not place or "\0" in place or any(len(s) > 80 for s in place.split("/")):
            continue
        first = place.split("/")[0]
        with contextlib.suppress(OSError):
            os.makedirs(os.path.join(root, os.path.dirname(place)), exist_ok=True)
            with open(os.path.join(root, place), "x") as f:
                f.write(first if first in PARTS else "other")


@contextlib.contextmanager
def tree():
    root = tempfile.mkdtemp(prefix="site.", dir=BUILD)
    try:
        for part in PARTS:
            os.mkdir(os.path.join(root, part))
        for path in sorted(corpus(), key=len, reverse=True):  # directories before files of the name
            plant(root, path)
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def site_of(kind):
    with tree() as root:
        origin = kind(root)
        try:
            yield origin.port
        finally:
            origin.end()


def part_served(content):
    """A file says it; of a directory there is a list, with a title."""
    text = content.decode("latin-1")
    for title in ("Index of /", "Directory listing for /"):
        if title in text:
            place = text.split(title, 1)[1].split("<")[0]
            first = posixpath.normpath("/" + urllib.parse.unquote(place)).split("/")[1]
            return first if first in PARTS else "other"
    return text


# --- the promise --------------------------------------------------------------------------------

def ask(gate, site, slash, paths, least):
    with site as port:
        g = gate(CONFIG, origin=port, slash=slash)
        served, wrong = 0, 0
        for path in paths:
            status, fields, content = g.get(path)
            if "x-route" not in fields or status != 200:
                continue  # refused by the gateway, or not found by the origin
            served += 1
            if fields["x-route"] != part_served(content):
                wrong += 1
                print(f"# {path}: matched as {fields['x-route']}, served as {content[:200]!r}")
        true(served > least, f"only {served} were served")
        same(wrong, 0, "paths matched as one thing and served as another")


def test_what_is_matched_is_what_nginx_serves(gate):
    ask(gate, nginx_site(), "refuse", corpus(), 50)


def test_what_is_matched_is_what_http_server_serves(gate):
    ask(gate, site_of(Python), "refuse", corpus(), 50)


def test_what_is_matched_is_what_aiohttp_serves(gate):
    ask(gate, site_of(Aiohttp), "refuse", corpus(), 50)


def test_with_encoded_slashes_passed_only_those_are_the_origins_to_read(gate):
    """An origin may decode %2F, and whoever says pass asks for that; all else still holds."""
    opaque = [p for p in corpus() if "%2f" not in p.lower() and "%5c" not in p.lower()]
    ask(gate, nginx_site(), "pass", opaque, 50)


if __name__ == "__main__":
    main([test_what_is_matched_is_what_nginx_serves,
          test_what_is_matched_is_what_http_server_serves,
          test_what_is_matched_is_what_aiohttp_serves,
          test_with_encoded_slashes_passed_only_those_are_the_origins_to_read])
