#!/usr/bin/env python3
"""Other people's clients over TLS, with HTTP/2 where they speak it: a browser, Node, Go,
Python, curl, wget and openssl, at files of ours and at an origin behind us."""
import asyncio
import base64
import contextlib
import hashlib
import http.server
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import threading

import golang
from harness import BUILD, HEADGATE, Skip, main, same, true, typed, wait_for
from origins import Aiohttp, described, installed

try:  # all of it now: two threads that import the same at a time see half of it
    import anyio._backends._asyncio  # noqa: F401
    import h2 as _  # noqa: F401
    import httpx
except ImportError:
    httpx = None

CONFIG = """
[server]
workers = 2
access_log = {dir}/access.log format=json
[listener a]
listen = 127.0.0.1:{port}
tls = one
[tls one]
certificate = {pki}/one.pem
key = {pki}/one.key
watch = off
[upstream aio]
server = 127.0.0.1:{aio}
[upstream report]
server = 127.0.0.1:{report}
[route hello]
path = /hello
handler = respond
body = "${tls_version} ${tls_sni}"
[route files]
path = /files/*
handler = static
root = {pki}/www
strip_prefix = /files
[route aio]
path = /aio/*
handler = forward
upstream = aio
strip_prefix = /aio
max_body = 100m
[route report]
path = /report/*
handler = forward
upstream = report
strip_prefix = /report
"""

DIR = tempfile.mkdtemp(prefix="peers.", dir=BUILD)
BIG = os.urandom(3_000_000)


def path(name):
    return os.path.join(DIR, name)


def make_files():
    """A certificate by a CA of ours, and a page with a hundred things to load."""
    if shutil.which("openssl"):
        base = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-days", "90", "-addext"]
        for more in (["basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign,cRLSign",
                      "-subj", "/CN=peers", "-keyout", "ca.key", "-out", "ca.pem"],
                     ["subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE", "-subj",
                      "/CN=localhost", "-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "one.key",
                      "-out", "one.pem"]):
            subprocess.run(base + more, check=True, capture_output=True, cwd=DIR)
    os.makedirs(path("www"))
    with open(path("www/big"), "wb") as f:
        f.write(BIG)
    parts = []
    for i in range(25):
        for name, text in ((f"s{i}.js", f"scripts.push({i});\n" + "// more\n" * 100 * i),
                           (f"c{i}.css", f"#c{i} {{ width: {i + 1}px }}\n" + "/* more */\n" * 100 * i),
                           (f"i{i}.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="1">'
                            '<!-- %s --></svg>' % (i + 1, "more " * 200 * i))):
            with open(path("www/" + name), "w") as f:
                f.write(text)
        parts += [f'<script src="s{i}.js"></script><link rel="stylesheet" href="c{i}.css">',
                  f'<img src="i{i}.svg"><img src="/report/i{i}.svg"><p id="c{i}"></p>']
    with open(path("www/page.html"), "w") as f:
        f.write(PAGE.replace("PARTS", "\n".join(parts)))


def tls_gate(gate, **names):
    features = subprocess.run([HEADGATE, "-V"], capture_output=True, text=True).stdout
    for feature in ("tls", "http/2"):
        if "feature  " + feature not in features:
            raise Skip("built without " + feature)
    installed("openssl")
    if isinstance(origin, Skip):
        raise origin
    g = gate(CONFIG, pki=DIR, aio=origin.port, **dict({"report": 9}, **names))
    g.url = f"https://localhost:{g.port}"
    return g


def run(*args, code=0, **more):
    done = subprocess.run([installed(args[0]), *args[1:]], capture_output=True, timeout=60,
                          check=False, **more)
    same(done.returncode, code, f"{args}: {done.stdout[-500:]} {done.stderr[-800:]}")
    return done.stdout


def digest_line(content):
    return f"content {len(content)} {hashlib.sha256(content).hexdigest()}".encode()


# --- the command line ---------------------------------------------------------------------


def test_curl_speaks_each_version_of_each(gate):
    g = tls_gate(gate)
    curl = ("curl", "-sS", "-4", "--cacert", path("ca.pem"))
    if b"HTTP2" not in run("curl", "-V"):
        raise Skip("this curl has no HTTP/2")
    for tls, name in ((("--tls-max", "1.2"), "TLSv1.2"), (("--tlsv1.3",), "TLSv1.3")):
        for version, said in (("--http1.0", "1.1"), ("--http1.1", "1.1"), ("--http2", "2")):
            what = f"{name} {said}"
            asks = (*curl, *tls, version)
            same(run(*asks, "-w", " %{http_version}", g.url + "/hello"),
                 f"{name} localhost {said}".encode(), what)
            true(run(*asks, g.url + "/files/big") == BIG, what)
            true(run(*asks, "--data-binary", "@" + path("www/big"), g.url + "/aio/up")
                 .endswith(digest_line(BIG)), what)
    many = run(*curl, "--http2", "-Z", "--parallel-max", "50", *[g.url + "/hello"] * 100)
    same(many, b"TLSv1.3 localhost" * 100)
    run("curl", "-sS", "-4", g.url + "/hello", code=60)  # who does not know the CA goes


def test_wget_speaks_both_versions(gate):
    g = tls_gate(gate)
    for secure, name in (("TLSv1_2", "TLSv1.2"), ("TLSv1_3", "TLSv1.3")):
        wget = ("wget", "-q", "-4", "-O", "-", "--ca-certificate", path("ca.pem"),
                "--secure-protocol=" + secure)
        said = run(*wget, g.url + "/hello").decode()
        true(said.startswith("TLSv1.") and (secure == "TLSv1_2" or name in said), said)
        true(run(*wget, g.url + "/files/big") == BIG, name)
        true(run(*wget, "--post-file", path("www/big"), g.url + "/aio/up").endswith(digest_line(BIG)))


def s_client(g, *args, lines=()):
    """What openssl s_client says when these lines are typed, each at its sign."""
    p = subprocess.Popen([installed("openssl"), "s_client", "-connect", f"127.0.0.1:{g.port}",
                          "-servername", "localhost", "-CAfile", path("ca.pem"),
                          "-verify_return_error", "-crlf", *args], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return typed(p, *lines)


READY = b"Verify return code"
ASK = b"GET /hello HTTP/1.1\nHost: localhost\nConnection: close\n\n"


def test_openssl_finds_what_was_agreed(gate):
    g = tls_gate(gate)
    for version in ("-tls1_2", "-tls1_3"):
        said = s_client(g, version, "-alpn", "h2,http/1.1")
        true("ALPN protocol: h2" in said and "Verify return code: 0 (ok)" in said, said)
        said = s_client(g, version, "-alpn", "http/1.1", "-ign_eof", lines=((READY, ASK),))
        true("ALPN protocol: http/1.1" in said and "\nTLSv1." in said, said)
    # New keys may be asked for; a new handshake may not.
    said = s_client(g, "-tls1_3", lines=((READY, b"K\n"), (b"KEYUPDATE", b"k\n"), (b"KEYUPDATE", ASK), (b"TLSv1.3 localhost", b"")))
    true("KEYUPDATE" in said and "TLSv1.3 localhost" in said, said)
    said = s_client(g, "-tls1_2", lines=((READY, b"R\n"), (b"RENEGOTIATING", b"")))
    true("RENEGOTIATING" in said and "no renegotiation" in said, said)
    true(g.alive(), g.said())


# --- Python -----------------------------------------------------------------------------------


def test_httpx_speaks_http2(gate):
    g = tls_gate(gate)
    if not httpx:
        raise Skip("python3-httpx and python3-h2 are not installed")

    async def talk():
        context = ssl.create_default_context(cafile=path("ca.pem"))
        async with httpx.AsyncClient(http2=True, verify=context, timeout=30, trust_env=False) as c:
            answer = await c.get(g.url + "/hello")
            same((answer.http_version, answer.text), ("HTTP/2", "TLSv1.3 localhost"))

            async def one(i):
                content = b"%d" % i * 1000
                answer = await c.post(g.url + f"/aio/{i}", content=content)
                true(answer.content.endswith(digest_line(content)), i)
            await asyncio.gather(*(one(i) for i in range(50)))
            same((await c.get(g.url + "/files/big")).content == BIG, True)
            same((await c.get(g.url + "/aio/pieces/1000")).text.count("piece"), 1000)
            async with c.stream("GET", g.url + "/files/big") as answer:
                await answer.aiter_bytes().__anext__()  # and leaves in the middle
            same((await c.get(g.url + "/hello")).status_code, 200)
    asyncio.run(talk())


def test_aiohttp_speaks_tls(gate):
    g = tls_gate(gate)
    import aiohttp
    context = ssl.create_default_context(cafile=path("ca.pem"))

    async def talk():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30),
                                         connector=aiohttp.TCPConnector(ssl=context)) as s:
            async def one(i):
                async with s.post(g.url + f"/aio/{i}", data=b"%d" % i * 1000) as answer:
                    true((await answer.read()).endswith(digest_line(b"%d" % i * 1000)), i)
            await asyncio.gather(*(one(i) for i in range(50)))
            async with s.get(g.url + "/files/big") as answer:
                same(await answer.read() == BIG, True)
            async with s.ws_connect(g.url + "/aio/ws", protocols=("echo",), max_msg_size=1 << 24) as ws:
                for i in range(100):
                    await ws.send_str(f"message {i}")
                same([(await ws.receive()).data for _ in range(100)],
                     [f"message {i}" for i in range(100)])
                await ws.send_bytes(BIG)
                same((await ws.receive()).data == BIG, True)
                await ws.send_str("close")
                m = await ws.receive()
                same((m.type, m.data), (aiohttp.WSMsgType.CLOSE, 4001))
    asyncio.run(talk())


# --- Node -------------------------------------------------------------------------------------

NODE = """
const base = process.argv[2], assert = require("assert"), { createHash } = require("crypto");
const http2 = require("http2"), https = require("https");
const line = b => `content ${b.length} ${createHash("sha256").update(b).digest("hex")}`;
const big = require("crypto").randomBytes(1 << 20);
const name = "localhost";
function ask(session, fields, content) {
    return new Promise((good, bad) => {
        const s = session.request(fields, { endStream: content === undefined });
        const pieces = [];
        let status;
        s.on("response", head => { status = head[":status"]; });
        s.on("data", piece => pieces.push(piece));
        s.on("end", () => good([status, Buffer.concat(pieces)]));
        s.on("error", bad);
        if (content !== undefined) s.end(content);
    });
}
async function speakHttp2(options) {
    const session = http2.connect(base, options);
    session.on("error", e => { console.error(e); process.exit(1); });
    let [status, text] = await ask(session, { ":path": "/hello" });
    assert.equal(session.alpnProtocol, "h2");
    assert.equal(String(text), options.maxVersion + " " + name);
    const all = await Promise.all([...Array(90).keys()].map(i =>
        ask(session, { ":path": "/aio/" + i, ":method": "POST" }, "x" + i)));
    all.forEach(([status, text], i) => assert(String(text).endsWith(line(Buffer.from("x" + i))), text));
    [status, text] = await ask(session, { ":path": "/aio/up", ":method": "PUT" }, big);
    assert(String(text).endsWith(line(big)));
    const three = await Promise.all([1, 2, 3].map(() => ask(session, { ":path": "/files/big" })));
    three.forEach(([status, content]) => assert.deepEqual([status, content.length], [200, 3000000]));
    [status] = await ask(session, { ":path": "/files/none" });
    assert.equal(status, 404);
    await new Promise((good, bad) => session.ping((e, ms, text) => e ? bad(e) : good()));
    const left = session.request({ ":path": "/files/big" });
    await new Promise(good => left.once("data", good));
    left.close(http2.constants.NGHTTP2_CANCEL);
    [status] = await ask(session, { ":path": "/hello" });
    assert.equal(status, 200);
    await new Promise(good => session.close(good));
}
function get(path, agent, more) {
    return new Promise((good, bad) => https.get(base + path, { agent, ...more }, answer => {
        const pieces = [];
        answer.on("data", piece => pieces.push(piece));
        answer.on("end", () => good(Buffer.concat(pieces)));
    }).on("error", bad));
}
async function all() {
    for (const v of ["TLSv1.2", "TLSv1.3"]) {
        const versions = { minVersion: v, maxVersion: v };
        await speakHttp2(versions);
        const agent = new https.Agent({ keepAlive: true, maxSockets: 4, ...versions });
        const texts = await Promise.all([...Array(40)].map(() => get("/hello", agent)));
        texts.forEach(text => assert.equal(String(text), v + " " + name));
        assert.equal((await get("/files/big", agent)).length, 3000000);
        agent.destroy();
    }
    const r = await fetch(base + "/aio/up", { method: "PUT", body: big });
    assert((await r.text()).endsWith(line(big)));
    assert.equal(await (await fetch(base + "/hello")).text(), "TLSv1.3 " + name);
}
all().then(() => { console.log("all"); process.exit(0); }, e => { console.error(e); process.exit(1); });
"""

WEBSOCKET = """
const url = process.argv[2].replace("https", "wss") + "/aio/ws", assert = require("assert");
const WebSocket = require("ws"), big = require("crypto").randomBytes(3 << 20);
const ws = new WebSocket(url, "echo");
let n = 0;
ws.on("open", () => { for (let i = 0; i < 100; i++) ws.send("message " + i); ws.ping("p"); });
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
    console.log("closed");
});
ws.on("error", e => { console.error(e); process.exit(1); });
"""


def node(g, script):
    with tempfile.NamedTemporaryFile("w", suffix=".js", dir=DIR) as f:
        f.write(script)
        f.flush()
        return run("node", "--dns-result-order=ipv4first", f.name, g.url, env=dict(
            os.environ, NODE_EXTRA_CA_CERTS=path("ca.pem"),
            NODE_PATH=os.environ.get("NODE_PATH", "") + ":/usr/share/nodejs"))


def test_node_speaks_http2_https_and_fetch(gate):
    g = tls_gate(gate)
    if int(run("node", "-p", "process.versions.node.split('.')[0]")) < 18:
        raise Skip("this node has no fetch")
    same(node(g, NODE), b"all\n")


def test_node_websocket_goes_through_tls(gate):
    g = tls_gate(gate)
    if b"no" in node(g, "try { require('ws') } catch { console.log('no') }"):
        raise Skip("node-ws is not installed")
    same(node(g, WEBSOCKET), b"closed\n")


# --- Go ---------------------------------------------------------------------------------------


def test_go_speaks_http2_and_http1(gate):
    program = golang.program("client")
    g = tls_gate(gate)
    same(run(program, path("ca.pem"), g.url), b"all\n")


# --- a browser ----------------------------------------------------------------------------------

PAGE = """<!DOCTYPE html>
<script>
const scripts = [];
let ws = "nothing";
const socket = new WebSocket("wss://" + location.host + "/aio/ws");
const echoed = new Promise(good => {
    socket.onopen = () => socket.send("from the page");
    socket.onmessage = m => { ws = m.data; socket.close(); };
    socket.onclose = socket.onerror = good;
});
const got = fetch("/aio/posted", { method: "POST", body: "x".repeat(300000) }).then(r => r.text());
addEventListener("load", async () => {
    const text = await got.catch(String);
    await echoed;
    const seen = performance.getEntriesByType("resource").filter(e => !/posted/.test(e.name));
    fetch("/report/result", { method: "POST", body: JSON.stringify({
        scripts: new Set(scripts).size,
        images: [...document.images].filter(i => i.complete && i.naturalWidth > 0).length,
        styles: [...Array(25).keys()].filter(i =>
            document.getElementById("c" + i).offsetWidth == i + 1).length,
        entries: seen.length,
        http2: seen.filter(e => e.nextHopProtocol == "h2").length,
        posted: text.includes("content 300000 "),
        ws }) });
});
</script>
PARTS
"""


class Reporter:
    """An origin of images, which is told how it went."""

    def __init__(self):
        self.said = None
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, kind, content):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_GET(self):
                with open(path("www/" + os.path.basename(self.path)), "rb") as f:
                    self.answer("image/svg+xml", f.read())

            def do_POST(self):
                content = self.rfile.read(int(self.headers["content-length"]))
                self.answer("text/plain", described("POST", self.path, [], content))
                outer.said = json.loads(content)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


def key_hash():
    """Of the one key that the browser shall accept although it does not know the CA."""
    key = run("openssl", "x509", "-in", path("one.pem"), "-noout", "-pubkey")
    der = run("openssl", "pkey", "-pubin", "-outform", "der", input=key)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


@contextlib.contextmanager
def browser(url):
    chromium = installed("chromium")
    profile = tempfile.mkdtemp(prefix="chromium.", dir=BUILD)
    p = subprocess.Popen([chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                          "--disable-dev-shm-usage", "--disable-background-networking",
                          "--user-data-dir=" + profile, "--remote-debugging-port=0",
                          "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
                          "--ignore-certificate-errors-spki-list=" + key_hash(), url],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    try:
        yield p
    finally:
        p.terminate()
        try:
            p.wait(5)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
        shutil.rmtree(profile, ignore_errors=True)


def test_a_browser_loads_a_page_and_its_hundred_parts(gate):
    installed("chromium")
    report = Reporter()
    g = tls_gate(gate, report=report.port)
    with browser(g.url + "/files/page.html"):
        true(wait_for(lambda: report.said, 40), f"the page does not report: {g.read('access.log')[-2000:]}")
    same(report.said, {"scripts": 25, "images": 50, "styles": 25, "entries": 100, "http2": 100,
                       "posted": True, "ws": "from the page"})
    report.server.shutdown()
    # All of it, and the WebSocket (RFC 8441), with one protocol.
    said = [json.loads(line) for line in g.read("access.log").splitlines()]
    same([(r["target"], r["protocol"]) for r in said if r["protocol"] != "HTTP/2.0"], [])


if __name__ == "__main__":
    make_files()
    try:
        origin = Aiohttp()
    except Skip as why:
        origin = why
    main([f for n, f in list(globals().items()) if n.startswith("test_")], at_once=4,
         after=lambda: shutil.rmtree(DIR, ignore_errors=True))
