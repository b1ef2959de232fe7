"""TLS as all are asked to speak it: one certificate, one cipher, one group.

A server spends what its library spends on these, whoever it is; what differs
between servers is what they do around it.
"""
import os
import socket
import ssl
import subprocess

from process import Trouble

CIPHER, GROUP = "TLS_AES_128_GCM_SHA256", "X25519"
CLIENT = f"""
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = clients
[clients]
MinProtocol = TLSv1.3
Ciphersuites = {CIPHER}
Groups = {GROUP}
"""


def certificate(folder):
    """A file with a certificate for localhost and its key."""
    path, key = os.path.join(folder, "both.pem"), os.path.join(folder, "key.pem")
    if os.path.exists(path):
        return path
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                           "ec_paramgen_curve:P-256", "-nodes", "-days", "365", "-keyout", key,
                           "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                          capture_output=True, text=True, check=False)
    if made.returncode:
        raise Trouble(f"openssl: {made.stderr[-300:]}")
    with open(key) as f:
        text = made.stdout + f.read()
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
        f.write(text)
    return path


def version():
    done = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split()[:2])


def client_environment(folder):
    """For a generator that has no words of its own for these."""
    path = os.path.join(folder, "client.cnf")
    if not os.path.exists(path):
        with open(path, "w") as f:
            f.write(CLIENT)
    return {"OPENSSL_CONF": path}


def client():
    """Trusts everybody: what a client does costs a server nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    return context


def tcp(port, seconds):
    """Without Nagle's delay, which would hold a request back until the handshake is acknowledged."""
    s = socket.create_connection(("127.0.0.1", port), seconds)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def connect(port, seconds, context=None):
    return (context or client()).wrap_socket(tcp(port, seconds))


CONTEXT = client()


def idle_connection(port, request):
    """One that has had an answer.  Only its socket is kept, as ten thousand of OpenSSL's
    connections would not fit beside the server."""
    s = connect(port, 10, CONTEXT)
    s.sendall(request)
    if not s.recv(4096):
        raise Trouble("closes at once")
    return socket.socket(fileno=s.detach())
