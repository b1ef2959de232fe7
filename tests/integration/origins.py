"""Real origins for the tests: nginx, Python's http.server and aiohttp, on free ports."""
import asyncio
import ctypes
import functools
import hashlib
import http.server
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import threading

from harness import BUILD, Skip, free_port, listening, wait_for

NGINX = """
daemon off;
master_process off;
error_log {dir}/error.log warn;
pid {dir}/nginx.pid;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    client_max_body_size 0;
    keepalive_requests 1000;
    types { text/html html; text/plain txt; application/octet-stream bin; }
    gzip on;
    gzip_proxied any;
    gzip_min_length 100;
    gzip_types text/plain;
    server {
        listen 127.0.0.1:{port};
        root {dir}/www;
        {more}
    }
}
"""


def installed(tool):
    """Its path; a test that cannot have it says so."""
    path = shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Skip(f"{tool} is not installed")
    return path


def die_with_us():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Nginx:
    """Serves the files that put() gives it."""

    def __init__(self, more=""):
        nginx = installed("nginx")
        self.dir = tempfile.mkdtemp(prefix="nginx.", dir=BUILD)
        self.port = free_port()
        os.mkdir(self.dir + "/www")
        with open(self.dir + "/nginx.conf", "w") as f:
            f.write(NGINX.replace("{dir}", self.dir).replace("{port}", str(self.port))
                    .replace("{more}", more))
        self.process = subprocess.Popen([nginx, "-p", self.dir, "-c", self.dir + "/nginx.conf",
                                         "-e", self.dir + "/error.log"],
                                        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=die_with_us)
        if not wait_for(lambda: listening(self.port)):
            raise AssertionError("nginx does not start: " + self.said())

    def said(self):
        with open(self.dir + "/error.log") as f:
            return f.read()

    def put(self, name, content):
        path = os.path.join(self.dir, "www", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(content)

    def end(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def described(method, path, fields, content):
    return "\n".join([f"{method} {path}", *(f"{n.lower()}: {v}" for n, v in fields),
                      f"content {len(content)} {hashlib.sha256(content).hexdigest()}"]).encode()


class PythonHandler(http.server.BaseHTTPRequestHandler):
    """Echoes what it got.  Speaks HTTP/1.0, as http.server does unless told otherwise."""

    def do_GET(self):
        n = int(self.headers.get("content-length", 0))
        said = described(self.command, self.path, self.headers.items(), self.rfile.read(n))
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        if self.path.startswith("/cookies"):
            self.send_header("Set-Cookie", "a=1; Path=/")
            self.send_header("Set-Cookie", "b=2; Path=/")
        if not self.path.startswith("/until-close"):
            self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_GET

    def log_message(self, *_):
        pass


class PythonFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Python:
    """Echoes; or serves the files of a directory, as python3 -m http.server does."""

    def __init__(self, root=None):
        handler = functools.partial(PythonFiles, directory=root) if root else PythonHandler
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()


class Aiohttp:
    """Echoes, in pieces and over WebSockets, too; or serves the files of a directory."""

    def __init__(self, root=None):
        self.root = root
        try:
            from aiohttp import web
        except ImportError:
            raise Skip("python3-aiohttp is not installed") from None
        self.web = web
        logging.getLogger("aiohttp.server").disabled = True  # clients that leave are not worth a word
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self.serve(), self.loop).result(10)

    async def serve(self):
        app = self.web.Application(client_max_size=1 << 30)
        if self.root:
            app.router.add_static("/", self.root, show_index=True)
        else:
            app.router.add_get("/ws", self.ws)
            app.router.add_get("/pieces/{n}", self.pieces)
            app.router.add_route("*", "/{rest:.*}", self.echo)
        self.runner = self.web.AppRunner(app)
        await self.runner.setup()
        site = self.web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = self.runner.addresses[0][1]

    async def echo(self, request):
        content = await request.read()
        return self.web.Response(body=described(request.method, request.raw_path,
                                                request.headers.items(), content))

    async def pieces(self, request):
        answer = self.web.StreamResponse()
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        for i in range(int(request.match_info["n"])):
            await answer.write(b"piece %d\n" % i)
        return answer

    async def ws(self, request):
        ws = self.web.WebSocketResponse(max_msg_size=1 << 24, protocols=("echo",))
        await ws.prepare(request)
        async for m in ws:
            if m.data == "close":
                await ws.close(code=4001, message=b"as asked")
            elif m.type.name == "TEXT":
                await ws.send_str(m.data)
            else:
                await ws.send_bytes(m.data)
        return ws

    def end(self):
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(10)
