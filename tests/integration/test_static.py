#!/usr/bin/env python3
"""Files from disk: which one is served, which part of it, and which never."""
import contextlib
import hashlib
import json
import os
import pwd
import shutil
import socket
import tempfile
import time
from email.utils import formatdate

from harness import BUILD, main, parse_response, read_response, same, true, wait_for

CONFIG = """
[server]
workers = 2
max_connections = 1000
{server}
[listener a]
listen = 127.0.0.1:{port}
[route files]
path = {path}
handler = static
root = {root}
{more}
"""


@contextlib.contextmanager
def site(gate, more="", files=None, path="/*", server=""):
    """A gateway and the directory it serves, which holds `files`."""
    # Who serves as nobody may find the build directory closed.
    above = tempfile.mkdtemp(prefix="site.", dir=None if "user = nobody" in server else BUILD)
    root = os.path.join(above, "root")
    try:
        os.mkdir(root)
        put(above, "secret.txt", b"secret")
        for name, content in (files or {}).items():
            put(root, name, content)
        if os.getuid() == 0: # for those who serve as nobody
            os.chown(above, pwd.getpwnam("nobody").pw_uid, -1)
        yield gate(CONFIG.replace("{server}", server), root=root, more=more, path=path), root
    finally:
        shutil.rmtree(above, ignore_errors=True)


def put(root, name, content, age=0.0):
    """A file, in one step, `age` seconds old."""
    where = os.path.join(root, name)
    os.makedirs(os.path.dirname(where), exist_ok=True)
    with open(where + "~", "wb") as f:
        f.write(content)
    if age:
        os.utime(where + "~", (time.time() - age, time.time() - age))
    os.rename(where + "~", where)
    return where


def status(g, path, **more):
    return g.get(path, **more)[0]


def becomes(what, seconds=10):
    true(wait_for(what, seconds), "it did not come to that")


# --- which file ---------------------------------------------------------------------


def test_a_file_has_its_type_and_its_validators(gate):
    files = {"a.html": b"<p>", "b.JSON": b"{}", "c": b"c", "d.tar.gz": b"d", "e.custom": b"e",
             "f.unknown": b"f", ".x/..y": b"", "v1.2/readme": b"g", "empty.css": b""}
    with site(gate, "mime = custom text/x-mine\nmime = html text/plain", files) as (g, root):
        for path, kind in (("/a.html", "text/plain"), ("/b.JSON", "application/json"),
                           ("/c", "application/octet-stream"), ("/d.tar.gz", "application/gzip"),
                           ("/e.custom", "text/x-mine"), ("/f.unknown", "application/octet-stream"),
                           ("/v1.2/readme", "application/octet-stream"),
                           ("/empty.css", "text/css; charset=utf-8")):
            code, fields, content = g.get(path)
            same((code, fields["content-type"], content), (200, kind, files[path[1:]]), path)
            same(fields["accept-ranges"], "bytes")
            same(fields["last-modified"],
                 formatdate(int(os.stat(root + path).st_mtime), usegmt=True))
            true(fields["etag"].startswith('"'), fields)


def test_head_says_what_get_says(gate):
    with site(gate, files={"a.txt": b"hello", "b.txt": b"x" * 200000}) as (g, root):
        for path in ("/a.txt", "/b.txt"):
            _, get, content = g.get(path)
            code, head, nothing = g.get(path, method="HEAD")
            same((code, nothing), (200, b""))
            for ignored in (get, head):
                ignored.pop("date")
            same(head, get)
            same(int(head["content-length"]), len(content))


def test_a_directory_is_its_index(gate):
    files = {"index.html": b"top", "dir/index.html": b"dir", "bare/x": b"", "second/b.txt": b"b"}
    with site(gate, "index = index.html, b.txt", files) as (g, root):
        same(g.get("/")[2], b"top")
        same(g.get("/dir/")[2], b"dir")
        same(g.get("/second/")[2], b"b")
        same(g.get("/second/")[1]["content-type"], "text/plain; charset=utf-8")
        same(status(g, "/bare/"), 404)
        same(status(g, "/index.html/"), 404)


def test_a_directory_without_its_slash_is_redirected(gate):
    files = {"dir/index.html": b"", "a b/c/index.html": b"", "evil.example/x": b""}
    with site(gate, files=files) as (g, root):
        for path, to in (("/dir", "/dir/"), ("/dir?a=b&c", "/dir/?a=b&c"), ("//dir", "/dir/"),
                         ('/dir?a=|"', "/dir/?a=%7C%22"), ("/a%20b/c", "/a%20b/c/"),
                         ("//evil.example", "/evil.example/")):
            code, fields, _ = g.get(path)
            same((code, fields["location"]), (308, to), path)


def test_names_are_decoded_once(gate):
    files = {"a b.txt": b"blank", "ü.txt": b"umlaut", "100%.txt": b"percent", "%41.txt": b"escape",
             "a+b.txt": b"plus", "q?.txt": b"mark", "a;b": b"semicolon", "~x": b"tilde",
             "x" * 250: b"long"}
    with site(gate, files=files) as (g, root):
        for path, want in (("/a%20b.txt", b"blank"), ("/%C3%BC.txt", b"umlaut"),
                           ("/100%25.txt", b"percent"), ("/%2541.txt", b"escape"),
                           ("/a+b.txt", b"plus"), ("/q%3F.txt", b"mark"), ("/a;b", b"semicolon"),
                           ("/%7ex", b"tilde"), ("/" + "x" * 250, b"long"),
                           ("/%61%20b.txt", b"blank")):
            same(g.get(path)[2], want, path)
        for path in ("/A%20b.txt", "/A.txt", "/" + "x" * 256, "/" + "x/" * 2500):
            same(status(g, path), 404, path)


def test_fallback_is_for_pages_not_for_files(gate):
    files = {"app.html": b"app", "real.txt": b"real", "dir/x.js": b""}
    with site(gate, "fallback = /app.html", files) as (g, root):
        for path in ("/", "/users/1", "/users/", "/dir/", "/v1.0/users"):
            code, fields, content = g.get(path)
            same((code, content), (200, b"app"), path)
            same(fields["content-type"], "text/html; charset=utf-8")
        same(g.get("/real.txt")[2], b"real")
        for path in ("/missing.js", "/users/a.png", "/.hidden.html"):
            same(status(g, path), 404, path)
        same(status(g, "/users/1", method="POST"), 405)
        os.unlink(os.path.join(root, "app.html"))
        becomes(lambda: status(g, "/users/1") == 404)


def test_strip_prefix_takes_whole_segments(gate):
    files = {"index.html": b"top", "a.txt": b"a", "files/a.txt": b"inner"}
    with site(gate, "strip_prefix = /files", files, "/files/*") as (g, root):
        same(g.get("/files/a.txt")[2], b"a")
        same(g.get("/files/files/a.txt")[2], b"inner")
        same(g.get("/files/")[2], b"top")
        same(g.get("/files")[1]["location"], "/files/")
        same(status(g, "/filesa.txt"), 404)


def test_other_methods_are_405(gate):
    with site(gate, files={"a.txt": b"a"}) as (g, root):
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"):
            code, fields, _ = g.get("/a.txt", method=method)
            same((code, fields.get("allow")), (405, "GET, HEAD"), method)


# --- which never ---------------------------------------------------------------------


def test_no_path_leads_out_of_the_root(gate):
    with site(gate, files={"a/b.txt": b"b"}) as (g, root):
        for path, code in (("/../secret.txt", 400), ("/a/../../secret.txt", 400),
                           ("/%2e%2e/secret.txt", 400), ("/..%2fsecret.txt", 400),
                           ("/..%5csecret.txt", 400), ("/a/..;/..;/secret.txt", 400),
                           ("/a%00.txt", 400), ("/a\\..\\..\\secret.txt", 400),
                           ("/a%2fb.txt", 400), ("/%2e%2e%2fsecret.txt", 400),
                           ("/..%252fsecret.txt", 404), ("/%252e%252e/secret.txt", 404),
                           ("/...", 404), ("/etc/passwd", 404)):
            same(status(g, path), code, path)
        same(g.get("/a/../a/./b.txt")[2], b"b")
        same(g.get("//a///b.txt")[2], b"b")
    with site(gate, "encoded_slash = pass", {"a/b.txt": b"b"}) as (g, root):
        same(status(g, "/a%2fb.txt"), 404)
        for path in ("/..%2fsecret.txt", "/a%2F..%2F..%2Fsecret.txt", "/..%5csecret.txt"):
            true(status(g, path) in (400, 404), path)


def test_hidden_names_are_not_there(gate):
    files = {".git/config": b"no", "dir/.env": b"no", ".well-known/acme/x": b"yes",
             ".well-known/.secret": b"no", ".well-knownx": b"no", "a.txt": b"yes"}
    with site(gate, files=files) as (g, root):
        for path, content in files.items():
            same(status(g, "/" + path), 200 if content == b"yes" else 404, path)
        same(status(g, "/%2egit/config"), 404)
        same(status(g, "/dir/%2Eenv"), 404)
    with site(gate, "hidden = yes", files) as (g, root):
        for path in files:
            same(status(g, "/" + path), 200, path)


def make_links(root):
    os.makedirs(root + "/dir")
    put(root, "a.txt", b"a")
    put(root, "dir/b.txt", b"b")
    os.symlink("a.txt", root + "/near")
    os.symlink("../a.txt", root + "/dir/up")
    os.symlink("dir", root + "/linked")
    os.symlink("../secret.txt", root + "/out")
    os.symlink(os.path.dirname(root), root + "/outdir")
    os.symlink("/etc", root + "/etc")
    os.symlink("self", root + "/self")
    os.symlink("nothing", root + "/dangling")


LINKS = ("/near", "/dir/up", "/linked/b.txt", "/out", "/outdir/secret.txt", "/etc/passwd", "/self",
         "/dangling")


def links(gate, setting, codes):
    with site(gate, setting) as (g, root):
        make_links(root)
        same(status(g, "/dir/b.txt"), 200)
        same([(p, status(g, p)) for p in LINKS], list(zip(LINKS, codes)))


def test_links_stay_inside(gate):
    links(gate, "", (200, 200, 200, 403, 403, 403, 403, 404))


def test_links_may_lead_anywhere(gate):
    links(gate, "links = any", (200, 200, 200, 200, 200, 200, 403, 404))


def test_links_are_refused(gate):
    links(gate, "links = none", (403, 403, 403, 403, 403, 403, 403, 403))


def test_a_directory_that_becomes_a_link_leads_nowhere(gate):
    """What was a directory when it was looked up is a way out a moment later."""
    with site(gate, "cache_time = off") as (g, root):
        put(root, "dir/secret.txt", b"mine")
        same(g.get("/dir/secret.txt")[2], b"mine")
        os.rename(root + "/dir", root + "/was")
        os.symlink("..", root + "/dir")
        same(status(g, "/dir/secret.txt"), 403)


def test_what_is_not_a_file_is_refused_and_holds_up_nobody(gate):
    with site(gate, files={"a.txt": b"a"}) as (g, root):
        os.mkfifo(root + "/fifo")
        s = socket.socket(socket.AF_UNIX)
        s.bind(root + "/sock")
        os.symlink("/dev/zero", root + "/zero")
        for _ in range(8): # more than there are helper threads
            same(status(g, "/fifo"), 403)
        same(status(g, "/sock"), 403)
        same(status(g, "/zero"), 403)
        same(status(g, "/a.txt"), 200)
        s.close()


def test_what_may_not_be_read_is_403(gate):
    server = "user = nobody" if os.getuid() == 0 else ""
    server += "\naccess_log = {root}/../access.log"
    with site(gate, files={"a.txt": b"a", "closed.txt": b"", "dir/x": b""}, server=server) as (g, root):
        os.chmod(root + "/closed.txt", 0)
        os.chmod(root + "/dir", 0)
        same(status(g, "/a.txt"), 200)
        same((status(g, "/closed.txt"), status(g, "/dir/x"), status(g, "/none")), (403, 403, 404))
        os.chmod(root + "/dir", 0o755)
        g.stop()
        with open(os.path.dirname(root) + "/access.log") as f:
            log = f.read()
        true('"cause":"forbidden"' in log and '"cause":"not_found"' in log, log)


# --- which part ----------------------------------------------------------------------


def test_ranges(gate):
    small = bytes(range(100))
    large = os.urandom(300000)
    with site(gate, files={"s.bin": small, "l.bin": large, "e.bin": b""}) as (g, root):
        for path, data in (("/s.bin", small), ("/l.bin", large)):
            n = len(data)
            for spec, first, last in (("0-0", 0, 0), ("10-19", 10, 19), ("90-", 90, n - 1),
                                      ("-7", n - 7, n - 1), (f"-{n * 2}", 0, n - 1),
                                      (f"5-{n * 2}", 5, n - 1), (f"{n - 1}-", n - 1, n - 1)):
                code, fields, content = g.get(path, fields=f"Range: bytes={spec}\r\n")
                same((code, fields.get("content-range")), (206, f"bytes {first}-{last}/{n}"), spec)
                same(content, data[first:last + 1], spec)
            for spec in (f"{n}-", f"{n + 5}-{n + 9}", "-0"):
                code, fields, _ = g.get(path, fields=f"Range: bytes={spec}\r\n")
                same((code, fields.get("content-range")), (416, f"bytes */{n}"), spec)
            # Malformed ones, other units and several at once are as if they were not there.
            for spec in ("bytes=5-2", "bytes=a-b", "bytes=", "bytes=-", "lines=1-2", "bytes=1-2,5-6",
                         "bytes=99999999999999999999-"):
                code, _, content = g.get(path, fields=f"Range: {spec}\r\n")
                same((code, content == data), (200, True), spec)
            code, fields, content = g.get(path, method="HEAD", fields="Range: bytes=0-4\r\n")
            same((code, fields["content-length"]), (200, str(n)))
        same(status(g, "/e.bin", fields="Range: bytes=0-0\r\n"), 416)
        same(status(g, "/e.bin"), 200)


def test_if_range_asks_for_the_same_file(gate):
    with site(gate, files={"a.txt": b"0123456789"}) as (g, root):
        _, fields, _ = g.get("/a.txt")
        for value, code in ((fields["etag"], 206), (fields["last-modified"], 206), ('"other"', 200),
                            ("W/" + fields["etag"], 200),
                            (formatdate(time.time() - 86400, usegmt=True), 200)):
            same(status(g, "/a.txt", fields=f"Range: bytes=0-1\r\nIf-Range: {value}\r\n"), code, value)


def test_conditions(gate):
    with site(gate, files={"a.txt": b"hello"}) as (g, root):
        _, fields, _ = g.get("/a.txt")
        etag, when = fields["etag"], fields["last-modified"]
        before = formatdate(time.time() - 86400, usegmt=True)
        after = formatdate(time.time() + 5, usegmt=True)
        for asked, code in (
                (f"If-None-Match: {etag}", 304), (f"If-None-Match: W/{etag}", 304),
                ("If-None-Match: *", 304), (f'If-None-Match: "a", {etag}, "b"', 304),
                ('If-None-Match: "a"', 200), (f"If-Modified-Since: {when}", 304),
                (f"If-Modified-Since: {before}", 200), ("If-Modified-Since: yesterday", 200),
                (f'If-None-Match: "a"\r\nIf-Modified-Since: {when}', 200),
                (f"If-None-Match: {etag}\r\nIf-Modified-Since: {before}", 304),
                (f"If-Match: {etag}", 200), ("If-Match: *", 200), ('If-Match: "a"', 412),
                (f"If-Match: W/{etag}", 412), (f"If-Unmodified-Since: {before}", 412),
                (f"If-Unmodified-Since: {after}", 200),
                (f"If-Match: {etag}\r\nIf-Unmodified-Since: {before}", 200),
                (f"If-None-Match: {etag}\r\nRange: bytes=0-1", 304),
                (f'If-Match: "a"\r\nRange: bytes=9-', 412)):
            got, answered, content = g.get("/a.txt", fields=asked + "\r\n")
            same(got, code, asked)
            if code == 304:
                same((content, answered.get("etag")), (b"", etag), asked)
                true("content-length" not in answered or answered["content-length"] == "5")
        with g.connect() as s: # nothing follows a 304
            for _ in range(3):
                s.sendall(f"GET /a.txt HTTP/1.1\r\nHost: a\r\nIf-None-Match: {etag}\r\n\r\n".encode())
                same(read_response(s)[0], 304)


# --- precompressed ----------------------------------------------------------------------


def test_precompressed_siblings_are_chosen(gate):
    files = {"a.css": b"plain", "a.css.br": b"BR", "a.css.gz": b"GZIP", "only.js": b"js",
             "d/index.html": b"top", "d/index.html.gz": b"TOP"}
    with site(gate, files=files) as (g, root):
        now = time.time()
        for name in files: # the same age for all: fit to use
            os.utime(os.path.join(root, name), (now, now))
        tags = set()
        for accept, coding, content in (
                (None, None, b"plain"), ("gzip", "gzip", b"GZIP"), ("br", "br", b"BR"),
                ("gzip, br", "br", b"BR"), ("gzip, br;q=0", "gzip", b"GZIP"),
                ("*", "br", b"BR"), ("*, br;q=0", "gzip", b"GZIP"), ("identity", None, b"plain"),
                ("gzip;q=0, br;q=0.000", None, b"plain"), ("deflate", None, b"plain"),
                ("GZIP", "gzip", b"GZIP"), ("zstd", None, b"plain")):
            asked = f"Accept-Encoding: {accept}\r\n" if accept else ""
            code, fields, got = g.get("/a.css", fields=asked)
            same((code, fields.get("content-encoding"), got), (200, coding, content), accept)
            same((fields["vary"], fields["content-type"]),
                 ("Accept-Encoding", "text/css; charset=utf-8"))
            tags.add((coding, fields["etag"]))
            same(status(g, "/a.css", fields=asked + f"If-None-Match: {fields['etag']}\r\n"), 304)
        same(len({tag for _, tag in tags}), 3, f"a validator for each: {tags}")
        same(len(tags), 3)
        both = "Accept-Encoding: gzip\r\n"
        same(g.get("/only.js", fields=both)[1].get("content-encoding"), None)
        same(g.get("/only.js")[1]["vary"], "Accept-Encoding")
        same(g.get("/d/", fields=both)[2], b"TOP")
        same(g.get("/d/", fields=both)[1]["content-type"], "text/html; charset=utf-8")
        same(g.get("/a.css", fields=both + "Range: bytes=1-2\r\n")[2], b"ZI")
        same(g.get("/a.css.gz")[1]["content-type"], "application/gzip")
        same(g.get("/a.css.gz")[1].get("content-encoding"), None)


def test_an_older_sibling_is_not_used(gate):
    with site(gate) as (g, root):
        put(root, "a.css", b"new")
        put(root, "a.css.gz", b"OLD", age=60)
        same(g.get("/a.css", fields="Accept-Encoding: gzip\r\n")[2], b"new")


def test_precompressed_off_and_zstd(gate):
    files = {"a.css": b"plain", "a.css.gz": b"GZIP", "a.css.zst": b"ZSTD"}
    with site(gate, "precompressed = off", files) as (g, root):
        _, fields, content = g.get("/a.css", fields="Accept-Encoding: gzip, zstd\r\n")
        same((content, fields.get("vary")), (b"plain", None))
    with site(gate, "precompressed = zstd, gzip", files) as (g, root):
        for name in files:
            os.utime(os.path.join(root, name), (1e9, 1e9))
        _, fields, content = g.get("/a.css", fields="Accept-Encoding: gzip, zstd\r\n")
        same((content, fields["content-encoding"]), (b"ZSTD", "zstd"))


# --- large files, changing files ----------------------------------------------------------


LARGE = 100_000_000


def large_file(root):
    digest, piece = hashlib.sha256(), os.urandom(1_000_000)
    with open(root + "/large.bin", "wb") as f:
        for i in range(LARGE // len(piece)):
            part = i.to_bytes(8, "big") + piece[8:]
            digest.update(part)
            f.write(part)
    return digest.digest()


def test_a_large_file_arrives_intact_in_constant_memory(gate):
    with site(gate, files={"a.txt": b"a"}) as (g, root):
        want = large_file(root)
        g.get("/a.txt")
        before = g.rss_kib()
        digest, got = hashlib.sha256(), 0
        with g.connect(seconds=30) as s:
            s.sendall(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
            data = b""
            while b"\r\n\r\n" not in data:
                data += s.recv(1 << 16)
            head, _, data = data.partition(b"\r\n\r\n")
            same(parse_response(head + b"\r\n\r\n", True)[1]["content-length"], str(LARGE))
            time.sleep(0.5) # a reader that is late
            same(status(g, "/a.txt"), 200)
            while True:
                digest.update(data)
                got += len(data)
                if got >= LARGE:
                    break
                data = s.recv(1 << 20)
                true(data, f"it ended after {got}")
            same((got, digest.digest() == want), (LARGE, True))
            s.sendall(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
            same(read_response(s)[2], b"a")
        true(g.rss_kib() < before + 10_000, f"RSS went from {before} to {g.rss_kib()} KiB")


def test_a_file_cut_while_it_is_sent_cuts_the_answer(gate):
    with site(gate, files={"a.txt": b"a"}) as (g, root):
        with open(root + "/large.bin", "wb") as f:
            f.truncate(LARGE)
        with g.connect() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            s.sendall(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
            got = len(s.recv(1 << 16))
            os.truncate(root + "/large.bin", LARGE // 2)
            while piece := recv(s):
                got += len(piece)
            true(got < LARGE, "it made up the rest")
        same(status(g, "/a.txt"), 200)
        same(g.counted().get("file_error"), 1)


def recv(s):
    try:
        return s.recv(1 << 20)
    except ConnectionResetError:
        return b""


def test_a_change_is_noticed(gate):
    with site(gate, "cache_time = 300ms") as (g, root):
        for size in (5, 200_000): # from memory, and by descriptor
            put(root, "a.txt", b"1" * size, age=60)
            becomes(lambda: g.get("/a.txt")[2] == b"1" * size)
            tag = g.get("/a.txt")[1]["etag"]
            put(root, "a.txt", b"2" * size)
            becomes(lambda: g.get("/a.txt")[2] == b"2" * size)
            becomes(lambda: status(g, "/a.txt", fields=f"If-None-Match: {tag}\r\n") == 200)
            with open(root + "/a.txt", "r+b") as f: # in its place
                f.write(b"3" * size)
            os.utime(root + "/a.txt", (1e9, 1e9))
            becomes(lambda: g.get("/a.txt")[2] == b"3" * size)
        same(status(g, "/b.txt"), 404)
        put(root, "b.txt", b"b")
        becomes(lambda: status(g, "/b.txt") == 200)
        os.unlink(root + "/b.txt")
        becomes(lambda: status(g, "/b.txt") == 404)


def test_the_least_recently_used_make_room(gate):
    """A file in memory holds no descriptor.  One route's small cache is not another's."""
    files = {f"{n}.txt": b"%d" % n * 20_000 for n in range(10, 90)}
    small = ("cache_size = 1m\ncache_time = 60s\n[route small]\npath = /small/*\nstrip_prefix = /small\n"
             "handler = static\ncache_size = 1k\nroot = ")
    with site(gate, "", files) as (g, root):
        g.names["more"] = small + root
        g.write(CONFIG.replace("workers = 2", "workers = 1").replace("{server}", ""))
        g.stop()
        g.start()
        for n in [*range(10, 90), *range(60, 90)]:
            same(g.get("/small/10.txt")[0], 200)
            same(len(g.get(f"/{n}.txt")[2]), 40_000)
        base = g.descriptors()
        for n in range(70, 90):
            same(len(g.get(f"/{n}.txt")[2]), 40_000)
        held = [l for l in (os.readlink(f"/proc/{g.process.pid}/fd/{d}")
                            for d in os.listdir(f"/proc/{g.process.pid}/fd")) if l.startswith(root)]
        true(len(held) <= 1, f"{len(held)} files are held open, {base} descriptors: {held[:5]}")


def test_without_cache_time_a_change_shows_at_once(gate):
    with site(gate, "cache_time = off") as (g, root):
        for i in range(10):
            put(root, "a.txt", b"%d" % i)
            same(g.get("/a.txt")[2], b"%d" % i)


def test_a_root_that_is_swapped_is_followed(gate):
    """Deployment by renaming a link, as most do it."""
    with site(gate, "cache_time = 200ms") as (g, root):
        above = os.path.dirname(root)
        put(above, "one/a.txt", b"one")
        put(above, "two/a.txt", b"two")
        os.rmdir(root)
        for name in ("one", "two", "one"):
            os.symlink(name, root + "~")
            os.rename(root + "~", root)
            becomes(lambda: g.get("/a.txt")[2] == name.encode())
        os.unlink(root)
        becomes(lambda: status(g, "/a.txt") == 404)


def test_many_files_leave_memory_and_descriptors_bounded(gate):
    with site(gate, "cache_size = 2m\ncache_time = 60s") as (g, root):
        for i in range(1500):
            with open(f"{root}/{i}", "wb") as f:
                f.write(b"%05d" % i * 4000)
        def fetch(numbers):
            with g.connect() as s:
                for i in numbers:
                    s.sendall(f"GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                    same(read_response(s)[2], b"%05d" % i * 4000, i)
        fetch(range(200))
        before = g.rss_kib()
        fetch(range(1500))
        true(g.rss_kib() < before + 12_000, f"RSS went from {before} to {g.rss_kib()} KiB")
        true(g.descriptors() < 320, f"{g.descriptors()} descriptors") # at most 256 are kept


def test_many_at_once_get_a_file_that_was_not_there_yet(gate):
    """All wait for one look at the disk; each gets all of it."""
    with site(gate, files={"a.txt": b"a" * 50000, "b.txt": b"b" * 500000}) as (g, root):
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(g.connect()) for _ in range(100)]
            for path, n in (("a", 50000), ("b", 500000)):
                for s in socks:
                    s.sendall(f"GET /{path}.txt HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                for s in socks:
                    same(read_response(s)[2], path.encode() * n)


def test_a_client_that_leaves_while_the_disk_is_asked_harms_nobody(gate):
    with site(gate, "cache_time = off", {"a.txt": b"a" * 1000, "b.bin": b"b" * 900_000}) as (g, root):
        for i in range(300):
            s = g.connect()
            s.sendall(b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"a.txt", b"b.bin", b"none")[i % 3])
            if i % 2:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            s.close()
        same(g.get("/a.txt")[2], b"a" * 1000)
        base = g.descriptors()
        true(wait_for(lambda: g.descriptors() <= max(base - 5, 60)), f"{g.descriptors()} descriptors")


def test_what_a_client_did_not_take_is_not_in_the_log(gate):
    server = "write_timeout = 1s\naccess_log = {root}/../access.log"
    with site(gate, server=server) as (g, root):
        with open(root + "/huge", "wb") as f:
            f.truncate(1 << 30)
        log = os.path.dirname(root) + "/access.log"

        def line(): # the address is bound before the log is opened
            with open(log) if os.path.exists(log) else open(os.devnull) as f:
                return f.readline()
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            s.connect(("127.0.0.1", g.port))
            s.sendall(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n")
            true(wait_for(line), "it is never given up")
        said = json.loads(line())
        same(said["cause"], "write_timeout")
        true(0 < said["bytes_out"] < 64 << 20, said)


def test_pipelined_files_keep_the_connection(gate):
    big = bytes(range(256)) * 1024
    with site(gate, files={"big.bin": big, "a.txt": b"sub"}) as (g, root):
        with g.connect() as s:
            for _ in range(30):
                s.sendall(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n"
                          b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
                data = b""
                while not data.endswith(b"\r\n\r\nsub"):
                    piece = s.recv(1 << 20)
                    true(piece, "the connection ended")
                    data += piece
                true(big in data, "the file came through changed")


if __name__ == "__main__":
    main([f for n, f in list(globals().items()) if n.startswith("test_")], at_once=3)
