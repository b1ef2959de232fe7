"""Who is compared, and the configuration each is given: tuned as its own
documentation advises, one thread, no access log, connections that last.

A setup says where to listen (plain, forward and secure: ports of 127.0.0.1),
where the origin is (a port or the path of a socket), the folder of files (www),
the certificate and its key where TLS is spoken (pem) and a folder for the
server itself (dir).
"""
import os
import shutil
import subprocess
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
PLAIN = {"static", "pipeline", "file1k", "close", "idle"}
FILES = PLAIN | {"file100k"}
FORWARD = {"forward", "post", "forward10k", "forward1m", "unix"}
TLS = {"tls", "tls_full", "tls_resumed", "h2", "tls_idle"}
ENGINES = ("uring", "epoll")


@dataclass
class Setup:
    dir: str
    www: str
    plain: int
    forward: int
    secure: int
    origin: object = None  # a port, or a path
    pem: str = ""


@dataclass
class Server:
    name: str
    does: set
    argv: list = field(default_factory=list)
    engine: str = ""
    own: bool = False    # headgate
    floor: bool = False  # reads nothing

    def command(self, setup, scenario):
        """The argv and the environment that start it, its configuration written."""
        raise NotImplementedError


def write(setup, name, text):
    path = os.path.join(setup.dir, name)
    with open(path, "w") as f:
        f.write(text)
    return path


def at(origin, unix="unix:"):
    return f"127.0.0.1:{origin}" if isinstance(origin, int) else unix + str(origin)


class Headgate(Server):
    def command(self, setup, scenario):
        ini = os.path.join(os.path.dirname(HERE), "peers.ini")
        env = {"CONNECTIONS": "12000", "ENGINE": self.engine, "WWW": setup.www, "PLAIN": f"127.0.0.1:{setup.plain}",
               "FORWARD": f"127.0.0.1:{setup.forward}"}
        if setup.origin is not None:
            env["ORIGIN"] = at(setup.origin)
        if setup.pem:
            env.update(SECURE=f"127.0.0.1:{setup.secure}", CERTIFICATE=setup.pem)
        else:
            env["TLS"] = "no*.ini"
        return self.argv + ["-c", ini], env


class Bare(Server):
    """bare_loop, and bare_relay where it is about forwarding."""

    def command(self, setup, scenario):
        folder = self.argv[0]
        if scenario.name in FORWARD:
            return [f"{folder}/bare_relay", "-e", self.engine, f"127.0.0.1:{setup.forward}",
                    at(setup.origin)], {}
        extra = ["-b", str(scenario.length)] + (["-c"] if scenario.name == "close" else [])
        return [f"{folder}/bare_loop", "-e", self.engine, *extra, f"127.0.0.1:{setup.plain}"], {}


class Nginx(Server):
    def command(self, setup, scenario):
        user = "user root;" if os.geteuid() == 0 else ""
        temp = "".join(f"{what}_temp_path {setup.dir}/{what};\n"
                       for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        origin = at(setup.origin) if setup.origin is not None else "127.0.0.1:9"
        secure = "" if not setup.pem else f"""
  server {{
    listen 127.0.0.1:{setup.secure} ssl http2 backlog=4096;
    ssl_certificate {setup.pem}; ssl_certificate_key {setup.pem};
    ssl_protocols TLSv1.3; ssl_session_cache shared:TLS:20m; ssl_session_timeout 1h;
    http2_max_concurrent_streams 256;
    location / {{ return 200 "Hello, World!"; }}
  }}
"""
        return self.argv + ["-p", setup.dir, "-c", write(setup, "nginx.conf", f"""
daemon off; {user} worker_processes 1; worker_rlimit_nofile 20000; pcre_jit on;
error_log {setup.dir}/nginx.log crit; pid {setup.dir}/nginx.pid;
events {{ use epoll; worker_connections 15000; multi_accept on; accept_mutex off; }}
http {{
  access_log off; server_tokens off; default_type text/plain;
  sendfile on; tcp_nopush on; tcp_nodelay on;
  keepalive_timeout 3600s; keepalive_requests 1000000000; keepalive_time 24h;
  client_header_timeout 3600s; reset_timedout_connection on;
  open_file_cache max=1000 inactive=600s; open_file_cache_valid 600s; open_file_cache_min_uses 1;
  {temp}
  upstream origin {{
    server {origin};
    keepalive 256; keepalive_requests 1000000000; keepalive_timeout 3600s; keepalive_time 24h;
  }}
  server {{
    listen 127.0.0.1:{setup.plain} backlog=4096;
    root {setup.www};
    location = / {{ return 200 "Hello, World!"; }}
    location / {{ }}
  }}
  server {{
    listen 127.0.0.1:{setup.forward} backlog=4096;
    client_body_buffer_size 64k;
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_buffer_size 16k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;
      proxy_max_temp_file_size 0;
    }}
  }}
{secure}}}
""")], {}


class Haproxy(Server):
    def command(self, setup, scenario):
        origin = at(setup.origin, "unix@") if setup.origin is not None else "127.0.0.1:9"
        secure = "" if not setup.pem else f"""
frontend secure
  bind 127.0.0.1:{setup.secure} ssl crt {setup.pem} alpn h2,http/1.1 backlog 4096
  http-request return status 200 content-type text/plain string "Hello, World!"
"""
        return self.argv + ["-db", "-f", write(setup, "haproxy.cfg", f"""
global
  nbthread 1
  no strict-limits
  maxconn 15000
  ssl-default-bind-options ssl-min-ver TLSv1.3
  tune.ssl.cachesize 100000
  tune.ssl.lifetime 3600
  tune.h2.max-concurrent-streams 256
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-request 1h
  timeout http-keep-alive 1h
  option http-keep-alive
  option splice-auto
  http-reuse always
frontend plain
  bind 127.0.0.1:{setup.plain} backlog 4096
  http-request return status 200 content-type text/plain file {setup.www}/f1k if {{ path /f1k }}
  http-request return status 200 content-type text/plain string "Hello, World!"
frontend forward
  bind 127.0.0.1:{setup.forward} backlog 4096
  default_backend origin
backend origin
  server one {origin} pool-max-conn -1 pool-purge-delay 1h
{secure}""")], {}


class H2o(Server):
    def command(self, setup, scenario):
        user = "user: root\n" if os.geteuid() == 0 else ""
        origin = at(setup.origin) if isinstance(setup.origin, int) else f"[unix:{setup.origin}]"
        forward = "" if setup.origin is None else f"""
  "forward":
    listen: {{ host: 127.0.0.1, port: {setup.forward} }}
    paths:
      "/":
        proxy.reverse.url: "http://{origin}/"
        proxy.preserve-host: ON
        proxy.timeout.keepalive: 3600000
        proxy.timeout.io: 3600000
"""
        secure = "" if not setup.pem else f"""
  "secure":
    listen:
      host: 127.0.0.1
      port: {setup.secure}
      ssl: {{ certificate-file: {setup.pem}, key-file: {setup.pem}, minimum-version: TLSv1.3, ocsp-update-interval: 0 }}
    paths: {{ "/": {{ file.dir: {setup.www} }} }}
"""
        return self.argv + ["-m", "worker", "-c", write(setup, "h2o.conf", f"""{user}
num-threads: 1
max-connections: 15000
http1-request-timeout: 3600
http2-idle-timeout: 3600
http2-max-concurrent-requests-per-connection: 256
error-log: /dev/null
file.send-compressed: OFF
hosts:
  "plain":
    listen: {{ host: 127.0.0.1, port: {setup.plain} }}
    paths: {{ "/": {{ file.dir: {setup.www} }} }}
{forward}{secure}""")], {}


class Lighttpd(Server):
    def command(self, setup, scenario):
        return self.argv + ["-D", "-f", write(setup, "lighttpd.conf", f"""
server.document-root = "{setup.www}"
server.bind = "127.0.0.1"
server.port = {setup.plain}
server.event-handler = "linux-sysepoll"
server.network-backend = "sendfile"
server.max-fds = 20000
server.max-connections = 15000
server.max-keep-alive-requests = 65535
server.max-keep-alive-idle = 3600
server.max-read-idle = 3600
server.max-write-idle = 3600
server.listen-backlog = 4096
index-file.names = ("index.html")
mimetype.assign = ("" => "text/plain")
""")], {}


def peers():
    """The others.  HAProxy holds small answers in memory and serves no files;
    lighttpd keeps no connection to an origin, so it is not asked to forward."""
    return [
        Nginx("nginx", FILES | FORWARD | TLS, ["nginx"]),
        Haproxy("haproxy", PLAIN | FORWARD | TLS, ["haproxy"]),
        H2o("h2o", FILES | FORWARD | TLS, ["h2o"]),
        Lighttpd("lighttpd", FILES, ["lighttpd"]),
    ]


def find(server):
    """Makes its program's path absolute; false when there is none."""
    path = shutil.which(server.argv[0], path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if path:
        server.argv[0] = path
    return bool(path)


def own(name, program, engine):
    does = FILES | FORWARD | {"event", "event_pipeline"}
    return Headgate(f"{name} {engine}", does | secure_features(program), [program], engine, own=True)


def secure_features(program):
    """What of TLS this build can do."""
    said = subprocess.run([program, "-V"], capture_output=True, text=True, check=False).stdout
    able = {line.split(",")[0].split()[1] for line in said.splitlines() if line.startswith("feature ")}
    if "tls" not in able:
        return set()
    return TLS if "http/2" in able else TLS - {"h2"}


def bare(folder, engine):
    return Bare(f"bare {engine}", FILES - {"idle"} | FORWARD, [folder], engine, floor=True)


def origin_ini(setup, socket_path, port):
    """headgate once more, behind whoever forwards: the same one for all."""
    return write(setup, "origin.ini", f"""
[server]
workers = 1
keepalive_timeout = 1h
[listener origin]
listen = 127.0.0.1:{port}, unix:{socket_path}
socket_mode = 0666
[route hello]
path = /
handler = respond
type = text/plain
body = Hello, World!
[route files]
path = /f10k, /f1m
handler = static
root = {setup.www}
""")
