#!/usr/bin/env python3
"""Files: conditions, ranges, siblings, links, and that nothing outside the root is served."""
import gzip
import json
import os
import socket

from harness import main, same, true, wait_for

CONFIG = """
[server]
workers = 1
access_log = {dir}/access.log
write_timeout = 1s
[listener a]
listen = 127.0.0.1:{port}
[route files]
handler = static
root = .
mime = weird text/x-weird
[route app]
path = /app/*
handler = static
root = app
strip_prefix = /app
fallback = /index.html
[route anywhere]
path = /anywhere/*
handler = static
root = .
strip_prefix = /anywhere
links = any
hidden = yes
precompressed = off
[route nolinks]
path = /nolinks/*
handler = static
root = .
strip_prefix = /nolinks
links = none
"""
PAGE = b"<p>A page that is here.</p>\n"
BIG = bytes(range(256)) * 1024


def site(gate):
    """A gateway whose root is its own directory's "root", beside which lies a secret."""
    g = gate(CONFIG.replace("root = .", "root = {dir}/root").replace("root = app", "root = {dir}/root/app"),
             wait=False)
    root = os.path.join(g.dir, "root")
    files = {"index.html": PAGE, "app/index.html": b"app", "app/a.js": b"js", "sub/index.html": b"sub",
             "big.bin": BIG, ".hidden": b"hidden", ".well-known/x": b"known", "a.weird": b"w",
             "../secret": b"secret"}
    for name, content in files.items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(content)
    with open(os.path.join(root, "index.html.gz"), "wb") as f:
        f.write(gzip.compress(PAGE))
    os.makedirs(os.path.join(root, "empty"))
    os.mkfifo(os.path.join(root, "fifo"))
    os.symlink("../secret", os.path.join(root, "out"))
    os.symlink("index.html", os.path.join(root, "in.html"))
    true(wait_for(lambda: up(g)), g.said())
    return g


def up(g):
    try:
        return g.get("/")[0] == 200
    except OSError:
        return False


def test_files_have_types_and_directories_an_index(gate):
    g = site(gate)
    status, fields, content = g.get("/")
    same((status, content, fields["content-type"]), (200, PAGE, "text/html; charset=utf-8"))
    same(g.get("/a.weird")[1]["content-type"], "text/x-weird")
    same(g.get("/sub/")[2], b"sub")
    same([g.get("/sub")[i] for i in (0,)] + [g.get("/sub?q=1")[1]["location"]], [308, "/sub/?q=1"])
    same(g.get("/empty/")[0], 404)
    same(g.get("/nothing")[0], 404)
    same(g.get("/big.bin")[2] == BIG, True)
    status, fields, content = g.get("/big.bin", method="HEAD")
    same((status, fields["content-length"], content), (200, str(len(BIG)), b""))
    status, fields, _ = g.get("/", method="POST", body=b"x")
    same((status, fields["allow"]), (405, "GET, HEAD"))


def test_ranges(gate):
    g = site(gate)
    for spec, start, end in (("0-3", 0, 3), ("-5", len(BIG) - 5, len(BIG) - 1),
                             ("100000-", 100000, len(BIG) - 1), ("5-99999999", 5, len(BIG) - 1)):
        status, fields, content = g.get("/big.bin", fields=f"Range: bytes={spec}\r\n")
        same((status, fields["content-range"]), (206, f"bytes {start}-{end}/{len(BIG)}"))
        same(content == BIG[start:end + 1], True, spec)
    status, fields, _ = g.get("/big.bin", fields="Range: bytes=99999999-\r\n")
    same((status, fields["content-range"]), (416, f"bytes */{len(BIG)}"))
    same(g.get("/big.bin", fields="Range: lines=1-2\r\n")[0], 200)
    same(g.get("/big.bin", fields='Range: bytes=0-3\r\nIf-Range: "other"\r\n')[0], 200)


def test_conditions(gate):
    g = site(gate)
    fields = g.get("/")[1]
    tag, date = fields["etag"], fields["last-modified"]
    for condition, status in ((f"If-None-Match: {tag}", 304), ('If-None-Match: "x"', 200),
                              (f'If-None-Match: "x", W/{tag}', 304), ("If-None-Match: *", 304),
                              (f"If-Match: {tag}", 200), ('If-Match: "x"', 412),
                              (f"If-Modified-Since: {date}", 304),
                              ("If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT", 200),
                              ("If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT", 412)):
        answer = g.get("/", fields=condition + "\r\n")
        same(answer[0], status, condition)
        same(answer[1].get("etag", tag), tag, condition)
    same(g.get("/big.bin", fields=f"Range: bytes=0-3\r\nIf-Range: {g.get('/big.bin')[1]['etag']}\r\n")[0], 206)


def test_a_compressed_sibling_is_served_to_who_takes_it(gate):
    g = site(gate)
    status, fields, content = g.get("/", fields="Accept-Encoding: br;q=0, gzip\r\n")
    same((status, fields["content-encoding"], fields["vary"]), (200, "gzip", "Accept-Encoding"))
    same(gzip.decompress(content), PAGE)
    true(fields["etag"] != g.get("/")[1]["etag"], "two contents have one tag")
    same(g.get("/", fields="Accept-Encoding: gzip;q=0\r\n")[2], PAGE)
    same(g.get("/anywhere/index.html", fields="Accept-Encoding: gzip\r\n")[2], PAGE)


def test_nothing_outside_the_root_is_served(gate):
    g = site(gate)
    for path in ("/../secret", "/%2e%2e/secret", "/sub/../../secret", "/..%2fsecret", "/..;/secret",
                 "/%00", "/sub%2findex.html", "/\\..\\secret"):
        same(g.get(path)[0], 400, path)
    for path in ("/out", "/nolinks/out", "/nolinks/in.html", "/fifo"):
        same(g.get(path)[0], 403, path)
    for path in ("/.hidden", "/index.html/", "/index.html/x"):
        same(g.get(path)[0], 404, path)
    for path, content in (("/in.html", PAGE), ("/.well-known/x", b"known"), ("/anywhere/out", b"secret"),
                          ("/anywhere/.hidden", b"hidden"), ("/sub/./../in.html", PAGE)):
        same(g.get(path)[2], content, path)


def test_a_fallback_answers_pages_and_not_files(gate):
    g = site(gate)
    same([g.get(p)[i] for p in ("/app/some/page",) for i in (0, 2)], [200, b"app"])
    same(g.get("/app/a.js")[2], b"js")
    same(g.get("/app/b.js")[0], 404)


def test_a_changed_file_is_noticed(gate):
    g = site(gate)
    with open(os.path.join(g.dir, "root", "sub", "new"), "wb") as f:
        f.write(b"changed")
    os.rename(os.path.join(g.dir, "root", "sub", "new"), os.path.join(g.dir, "root", "sub", "index.html"))
    true(wait_for(lambda: g.get("/sub/")[2] == b"changed"), "the old file is still served")


def test_what_a_client_did_not_take_is_not_in_the_log(gate):
    g = site(gate)
    with open(os.path.join(g.dir, "root", "huge"), "wb") as f:
        f.truncate(1 << 30)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        s.connect(("127.0.0.1", g.port))
        s.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
        true(wait_for(lambda: "/huge" in g.read("access.log")), "it is never given up")
    line = next(json.loads(l) for l in g.read("access.log").splitlines() if "/huge" in l)
    same(line["cause"], "write_timeout")
    true(0 < line["bytes_out"] < 64 << 20, line)
    same(g.rss_kib() < 100 << 10, True)


def test_files_keep_the_connection(gate):
    g = site(gate)
    with g.connect() as s:
        for _ in range(50):
            s.sendall(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\nGET /sub/ HTTP/1.1\r\nHost: a\r\n\r\n")
            data = b""
            while not data.endswith(b"\r\n\r\nsub"):
                piece = s.recv(1 << 20)
                true(piece, "the connection ended")
                data += piece
            true(BIG in data, "the file came through changed")
    same(g.descriptors() < 100, True)


if __name__ == "__main__":
    main([f for n, f in list(globals().items()) if n.startswith("test_")])
