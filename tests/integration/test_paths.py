#!/usr/bin/env python3
"""No path is matched as one thing and served as another: each path of the corpus goes through the
gateway to nginx, and the part of the site that nginx serves must be the part the route was for."""
import os
import posixpath
import urllib.parse

from harness import SOURCE, main, same, true
from origins import Nginx

PARTS = ("public", "admin", "a", "files")
NGINX = "".join(f"location /{p}/ {{ return 200 '{p}'; }} location = /{p} {{ return 200 '{p}'; }}\n"
                for p in PARTS) + "location / { return 200 'other'; }\n"
CONFIG = """
[server]
workers = 1
[listener a]
listen = 127.0.0.1:{port}
[upstream nginx]
server = 127.0.0.1:{nginx}
[route other]
handler = forward
upstream = nginx
encoded_slash = {slash}
response_header = set X-Route other
""" + "".join(f"""[route {p}]
path = /{p}/*
handler = forward
upstream = nginx
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


def ask(gate, slash):
    nginx = Nginx(NGINX)
    try:
        g = gate(CONFIG, nginx=nginx.port, slash=slash)
        served = wrong = 0
        for path in corpus():
            status, fields, content = g.get(path)
            if "x-route" not in fields or status == 400:
                continue  # refused, by the gateway or by nginx
            served += 1
            if fields["x-route"] != content.decode("latin-1"):
                wrong += 1
                print(f"# {path}: matched as {fields['x-route']}, served as {content!r}")
        true(served > 50, f"only {served} were served")
        same(wrong, 0, "paths matched as one thing and served as another")
    finally:
        nginx.end()


def test_what_is_matched_is_what_is_served(gate):
    ask(gate, "refuse")


def test_the_same_with_encoded_slashes_passed(gate):
    """nginx decodes %2F itself: whoever says pass asks for it, so only dots are looked at."""
    nginx = Nginx(NGINX)
    try:
        g = gate(CONFIG, nginx=nginx.port, slash="pass")
        for path in CLASSICS:
            if "%2f" in path.lower() and ".." in urllib.parse.unquote(path):
                _, fields, content = g.get(path)
                where = posixpath.normpath(urllib.parse.unquote(path)).split("/")[1]
                true("x-route" not in fields or fields["x-route"] == content.decode("latin-1"),
                     f"{path}: matched as {fields.get('x-route')}, served as {content!r} ({where})")
    finally:
        nginx.end()


if __name__ == "__main__":
    main([test_what_is_matched_is_what_is_served, test_the_same_with_encoded_slashes_passed])
