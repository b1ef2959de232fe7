#!/usr/bin/env python3
"""Other people's clients, through forward, at other people's origins."""
import asyncio
import contextlib
import hashlib
import os
import re
import subprocess
import tempfile

from harness import BUILD, Skip, main, same, true
from origins import Aiohttp, Nginx, Python, installed

CONFIG = """
[server]
workers = 2
access_log = {dir}/access.log
[listener a]
listen = 127.0.0.1:{port}
[upstream nginx]
server = 127.0.0.1:{nginx}
[upstream python]
server = 127.0.0.1:{python}
[upstream aio]
server = 127.0.0.1:{aio}
[route nginx]
path = /nginx/*
handler = forward
upstream = nginx
strip_prefix = /nginx
[route python]
path = /python/*
handler = forward
upstream = python
strip_prefix = /python
max_body = 100m
[route aio]
path = /aio/*
handler = forward
upstream = aio
strip_prefix = /aio
max_body = 100m
"""

BIG = os.urandom(1 << 20) * 8
TEXT = b"a line of text that is worth compressing\n" * 2000


class Origins:
    """Started once, by the main thread; a test that needs one that is missing is skipped."""

    def __init__(self):
        self.by_name = {}
        for name, make in (("nginx", Nginx), ("python", Python), ("aio", Aiohttp)):
            try:
                self.by_name[name] = make()
            except Skip as why:
                self.by_name[name] = why
        if isinstance(self.by_name["nginx"], Nginx):
            for name, content in (("hello.txt", b"hello"), ("big.bin", BIG), ("text.txt", TEXT),
                                  ("d/index.html", b'<a href="one.html">1</a>'),
                                  ("d/one.html", b'<a href="two.html">2</a>'),
                                  ("d/two.html", b"the end")):
                self.by_name["nginx"].put(name, content)

    def port(self, name):
        return 9 if isinstance(self.by_name[name], Skip) else self.by_name[name].port

    def gate(self, gate, *needed):
        for name in needed:
            if isinstance(self.by_name[name], Skip):
                raise self.by_name[name]
        return gate(CONFIG, **{name: self.port(name) for name in self.by_name})

    def end(self):
        for origin in self.by_name.values():
            if not isinstance(origin, Skip):
                origin.end()


def run(*args, code=0, **more):
    done = subprocess.run([installed(args[0]), *args[1:]], capture_output=True, timeout=60,
                          check=False, **more)
    same(done.returncode, code, f"{args}: {done.stdout[-500:]} {done.stderr[-500:]}")
    return done.stdout


@contextlib.contextmanager
def scratch():
    with tempfile.TemporaryDirectory(prefix="client.", dir=BUILD) as d:
        yield d


def digest_line(content):
    return f"content {len(content)} {hashlib.sha256(content).hexdigest()}".encode()


def url(g, path):
    return f"http://127.0.0.1:{g.port}{path}"


# --- curl -----------------------------------------------------------------------------


def test_curl_downloads(gate):
    g = origins.gate(gate, "nginx")
    same(run("curl", "-sS", url(g, "/nginx/hello.txt")), b"hello")
    same(run("curl", "-sS", "-0", url(g, "/nginx/hello.txt")), b"hello")
    same(run("curl", "-sS", url(g, "/nginx/big.bin")) == BIG, True)
    same(run("curl", "-sS", "-r", "1000-1999", url(g, "/nginx/big.bin")), BIG[1000:2000])
    same(run("curl", "-sS", "--compressed", url(g, "/nginx/text.txt")) == TEXT, True)
    true(b"Content-Encoding: gzip" in run("curl", "-sSI", "--compressed", url(g, "/nginx/text.txt")))
    head = run("curl", "-sSI", url(g, "/nginx/hello.txt"))
    true(b"Content-Length: 5\r\n" in head and b"Server: nginx" in head, head)
    same(run("curl", "-sS", *[url(g, "/nginx/hello.txt")] * 20, "-w", "%{num_connects}"),
         b"hello1" + b"hello0" * 19)
    same(run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", url(g, "/nginx/none")), b"404")
    same(run("curl", "-sS", "-L", url(g, "/nginx/d/index.html"))[:2], b"<a")


def test_curl_uploads(gate):
    g = origins.gate(gate, "python", "aio")
    with scratch() as d:
        with open(d + "/big", "wb") as f:
            f.write(BIG)
        for origin in ("python", "aio"): # curl waits for 100 (Continue) before these
            true(run("curl", "-sS", "--data-binary", f"@{d}/big", url(g, f"/{origin}/up"))
                 .endswith(digest_line(BIG)), origin)
            true(run("curl", "-sS", "-T", f"{d}/big", url(g, f"/{origin}/up"))
                 .startswith(b"PUT /up"), origin)
        with open(d + "/big", "rb") as f:
            true(run("curl", "-sS", "-T", "-", url(g, "/aio/up"), stdin=f)
                 .endswith(digest_line(BIG)), "in chunks")
    true(run("curl", "-sS", "-d", "a=b", url(g, "/aio/form?q=1")).endswith(digest_line(b"a=b")))
    true(run("curl", "-sS", "-X", "DELETE", url(g, "/python/x")).startswith(b"DELETE /x\n"))
    true(run("curl", "-sS", "-F", "a=b", url(g, "/aio/form")).startswith(b"POST /form\n"))


def test_curl_reads_what_ends_with_the_connection(gate):
    g = origins.gate(gate, "python")
    for version in ("--http1.1", "--http1.0"):
        true(run("curl", "-sS", version, url(g, "/python/until-close")).endswith(digest_line(b"")))


# --- wget, ab, wrk ------------------------------------------------------------------------


def test_wget_downloads_continues_and_follows(gate):
    g = origins.gate(gate, "nginx")
    with scratch() as d:
        run("wget", "-q", "-O", d + "/big", url(g, "/nginx/big.bin"))
        with open(d + "/big", "r+b") as f:
            same(f.read() == BIG, True)
            f.truncate(3_000_000)
        run("wget", "-q", "-c", "-O", d + "/big", url(g, "/nginx/big.bin"))
        with open(d + "/big", "rb") as f:
            same(f.read() == BIG, True, "continued")
        run("wget", "-q", "-r", "-np", "-nH", "-P", d + "/tree", url(g, "/nginx/d/index.html"))
        same(sorted(os.listdir(d + "/tree/nginx/d")), ["index.html", "one.html", "two.html"])
        run("wget", "-q", "-O", "-", url(g, "/nginx/none"), code=8)


def test_ab_finds_no_failure(gate):
    g = origins.gate(gate, "nginx")
    for more in ((), ("-k",)):
        said = run("ab", "-q", "-n", "2000", "-c", "20", *more, url(g, "/nginx/hello.txt")).decode()
        for name, want in (("Complete requests", 2000), ("Failed requests", 0)):
            same(int(re.search(name + r": +(\d+)", said).group(1)), want, said)
        same("Non-2xx" in said, False, said)
        if more:
            same(int(re.search(r"Keep-Alive requests: +(\d+)", said).group(1)), 2000, said)
    with scratch() as d:
        with open(d + "/post", "wb") as f:
            f.write(b"x" * 1000)
        g = origins.gate(gate, "aio")
        said = run("ab", "-q", "-n", "200", "-c", "5", "-k", "-p", d + "/post", "-T", "text/plain",
                   "-l", url(g, "/aio/post")).decode()
        same(int(re.search(r"Failed requests: +(\d+)", said).group(1)), 0, said)


def test_wrk_finds_no_failure(gate):
    g = origins.gate(gate, "nginx")
    said = run("wrk", "-t", "1", "-c", "50", "-d", "2s", url(g, "/nginx/hello.txt")).decode()
    true("Socket errors" not in said and "Non-2xx" not in said, said)
    true(int(re.search(r"(\d+) requests in", said).group(1)) > 100, said)


# --- Python ---------------------------------------------------------------------------------


def test_requests(gate):
    try:
        import requests
    except ImportError:
        raise Skip("python3-requests is not installed") from None
    g = origins.gate(gate, "nginx", "python", "aio")
    with requests.Session() as s:
        s.trust_env = False
        for _ in range(20):
            same(s.get(url(g, "/nginx/hello.txt")).text, "hello")
        same(s.get(url(g, "/nginx/text.txt")).content == TEXT, True, "gzip")
        same(s.get(url(g, "/aio/pieces/1000")).text.count("piece"), 1000)
        for origin in ("python", "aio"):
            answer = s.post(url(g, f"/{origin}/p?a=b&c=%20"), data=BIG, headers={"X-Mine": "1"})
            true(answer.content.endswith(digest_line(BIG)), origin)
            true("x-mine: 1" in answer.text and answer.text.startswith("POST /p?a=b&c=%20"))
        pieces = [b"piece %d" % i for i in range(1000)]
        true(s.post(url(g, "/aio/p"), data=iter(pieces)).content
             .endswith(digest_line(b"".join(pieces))), "in chunks")
        same(s.get(url(g, "/python/cookies")).cookies.get_dict(), {"a": "1", "b": "2"})
        true("cookie: a=1; b=2" in s.get(url(g, "/python/x")).text, "cookies come back")
        first = s.get(url(g, "/nginx/hello.txt"))
        same(s.get(url(g, "/nginx/hello.txt"),
                   headers={"If-None-Match": first.headers["etag"]}).status_code, 304)
        same(s.head(url(g, "/nginx/big.bin")).headers["content-length"], str(len(BIG)))
        same(s.options(url(g, "/python/x")).status_code, 200)
        with s.get(url(g, "/nginx/big.bin"), stream=True) as answer:
            answer.raw.read(1000) # and leaves in the middle
        same(s.get(url(g, "/nginx/hello.txt")).text, "hello")


def test_aiohttp(gate):
    g = origins.gate(gate, "nginx", "aio")
    import aiohttp

    async def talk():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as s:
            async def one(i):
                async with s.post(url(g, f"/aio/{i}"), data=b"%d" % i * 1000) as answer:
                    true((await answer.read()).endswith(digest_line(b"%d" % i * 1000)), i)
            await asyncio.gather(*(one(i) for i in range(200)))

            async def pieces():
                for i in range(50):
                    yield BIG[i * 1000:i * 1000 + 1000]
            async with s.put(url(g, "/aio/up"), data=pieces()) as answer:
                true((await answer.read()).endswith(digest_line(BIG[:50000])))
            async with s.get(url(g, "/nginx/big.bin")) as answer:
                same(await answer.read() == BIG, True)
            async with s.ws_connect(url(g, "/aio/ws"), protocols=("echo",), max_msg_size=1 << 24) as ws:
                same(ws.protocol, "echo")
                for i in range(100):
                    await ws.send_str(f"message {i}")
                same([(await ws.receive()).data for _ in range(100)],
                     [f"message {i}" for i in range(100)])
                await ws.send_bytes(BIG)
                same((await ws.receive()).data == BIG, True)
                await ws.ping()
                await ws.send_str("close")
                m = await ws.receive()
                same((m.type, m.data), (aiohttp.WSMsgType.CLOSE, 4001))
            async with s.ws_connect(url(g, "/aio/ws")) as ws: # the client closes
                await ws.send_str("hello")
                same((await ws.receive()).data, "hello")
                await ws.close(code=1000)
                same(ws.close_code, 1000)
    asyncio.run(talk())


# --- Node -----------------------------------------------------------------------------------


NODE = """
const base = process.argv[2], assert = require("assert"), { createHash } = require("crypto");
const line = b => `content ${b.length} ${createHash("sha256").update(b).digest("hex")}`;
const big = require("crypto").randomBytes(1 << 20);
async function fetches() {
    assert.equal(await (await fetch(base + "/nginx/hello.txt")).text(), "hello");
    const all = await Promise.all([...Array(100).keys()].map(async i =>
        (await fetch(base + "/aio/" + i, { method: "POST", body: "x" + i })).text()));
    all.forEach((text, i) => assert(text.endsWith(line(Buffer.from("x" + i))), text));
    let r = await fetch(base + "/aio/up", { method: "PUT", body: big });
    assert((await r.text()).endsWith(line(big)));
    const stream = new ReadableStream({
        n: 0,
        pull(c) { this.n++ < 100 ? c.enqueue(new Uint8Array(1000).fill(this.n)) : c.close(); }
    });
    r = await fetch(base + "/aio/up", { method: "POST", body: stream, duplex: "half" });
    assert(/content 100000 /.test(await r.text()));
    let count = 0;
    for await (const piece of (await fetch(base + "/aio/pieces/1000")).body) count += piece.length;
    assert.equal(count, [...Array(1000).keys()].reduce((n, i) => n + `piece ${i}\\n`.length, 0));
    assert.equal((await fetch(base + "/nginx/none")).status, 404);
    assert.equal((await fetch(base + "/nginx/text.txt")).headers.get("content-encoding"), "gzip");
    const ended = new AbortController();
    const body = (await fetch(base + "/nginx/big.bin", { signal: ended.signal })).body.getReader();
    await body.read();
    ended.abort();
}
fetches().then(() => console.log("fetched"), e => { console.error(e); process.exit(1); });
"""

WEBSOCKET = """
const url = process.argv[2].replace("http", "ws") + "/aio/ws", assert = require("assert");
const WebSocket = require("ws"), big = require("crypto").randomBytes(3 << 20);
const ws = new WebSocket(url, "echo");
let n = 0;
ws.on("open", () => { for (let i = 0; i < 100; i++) ws.send("message " + i); ws.ping("p"); });
ws.on("pong", p => assert.equal(String(p), "p"));
ws.on("message", (data, binary) => {
    if (binary) {
        assert(big.equals(data));
        ws.send("close");
    } else {
        assert.equal(String(data), "message " + n++);
        if (n == 100) ws.send(big);
    }
});
ws.on("close", (code, reason) => {
    assert.deepEqual([code, String(reason), n], [4001, "as asked", 100]);
    const second = new WebSocket(url);
    second.on("open", () => second.close(1000));
    second.on("close", code => { assert.equal(code, 1000); console.log("closed"); });
});
ws.on("error", e => { console.error(e); process.exit(1); });
"""


def node(g, script):
    with scratch() as d:
        with open(d + "/script.js", "w") as f:
            f.write(script)
        return run("node", d + "/script.js", url(g, ""), env=dict(
            os.environ, NODE_PATH=os.environ.get("NODE_PATH", "") + ":/usr/share/nodejs"))


def test_node_fetch(gate):
    g = origins.gate(gate, "nginx", "aio")
    if int(run("node", "-p", "process.versions.node.split('.')[0]")) < 18:
        raise Skip("this node has no fetch")
    same(node(g, NODE), b"fetched\n")


def test_node_websocket(gate):
    g = origins.gate(gate, "aio")
    if b"no" in node(g, "try { require('ws') } catch { console.log('no') }"):
        raise Skip("node-ws is not installed")
    same(node(g, WEBSOCKET), b"closed\n")


if __name__ == "__main__":
    origins = Origins()
    main([f for n, f in list(globals().items()) if n.startswith("test_")], at_once=2,
         after=origins.end)
