#!/usr/bin/env python3
"""gRPC end to end: other people's client and server, and us in between, over HTTP/2: in the clear, and with TLS on
both sides."""
import concurrent.futures
import functools
import shutil
import threading
import time

from harness import Skip, main, needs, same, true, wait_for
from tls import DIR, make_pki, path

try:
    import grpc
except ImportError:
    grpc = None

CONFIG = """
[server]
workers = 2
access_log = {dir}/access.log
[listener a]
listen = 127.0.0.1:{port}
{listener}
[upstream u]
server = {scheme}://127.0.0.1:{origin}
{upstream}
[route all]
max_body = off
handler = forward
upstream = u
"""


OVER_TLS = {"scheme": "https",
            "listener": "tls = one\n[tls one]\ncertificate = {pki}/one.pem\nkey = {pki}/one.key\nwatch = off",
            "upstream": "protocols = h2\ntls_ca = {pki}/root.pem\ntls_name = one.test\n"}


def read(name):
    with open(path(name), "rb") as f:
        return f.read()


class Service:
    """Methods by name, on bytes."""

    def __init__(self, secure):
        self.cancelled, self.calls, self.lock = threading.Event(), 0, threading.Lock()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(40))
        kinds = {"echo": grpc.unary_unary_rpc_method_handler, "fail": grpc.unary_unary_rpc_method_handler,
                 "slow": grpc.unary_unary_rpc_method_handler, "count": grpc.unary_stream_rpc_method_handler,
                 "forever": grpc.unary_stream_rpc_method_handler, "sum": grpc.stream_unary_rpc_method_handler,
                 "chat": grpc.stream_stream_rpc_method_handler, "half": grpc.unary_stream_rpc_method_handler,
                 "enough": grpc.stream_unary_rpc_method_handler}
        handlers = {name: kind(getattr(self, name)) for name, kind in kinds.items()}
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", handlers),))
        if secure:
            own = grpc.ssl_server_credentials([(read("one.key"), read("one.pem"))])
            self.port = self.server.add_secure_port("127.0.0.1:0", own)
        else:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def called(self, context):
        with self.lock:
            self.calls += 1
        self.metadata = dict(context.invocation_metadata())

    def echo(self, request, context):
        self.called(context)
        context.send_initial_metadata((("x-head", "h"),))
        context.set_trailing_metadata((("x-tail", "t"), ("x-tail-bin", b"\0\xff")))
        return request

    def fail(self, request, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing, as was said: \u00fc")

    def slow(self, request, context):
        context.add_callback(self.cancelled.set)
        time.sleep(float(request))
        return b"late"

    def count(self, request, context):
        for i in range(int(request)):
            yield b"%d" % i

    def half(self, request, context):
        yield b"one"
        context.abort(grpc.StatusCode.DATA_LOSS, "that was all")

    def forever(self, request, context):
        context.add_callback(self.cancelled.set)
        while context.is_active():
            yield request
            time.sleep(0.01)

    def sum(self, requests, context):
        return b"%d" % sum(len(r) for r in requests)

    def enough(self, requests, context):
        return next(requests)

    def chat(self, requests, context):
        for r in requests:
            yield b"heard " + r

    def end(self):
        self.server.stop(None)


def start(gate, upstream=""):
    needs("http/2")
    if not grpc:
        raise Skip("python3-grpcio is not installed")
    secure = getattr(gate, "secure", False)
    if secure:
        needs("tls")
    s = Service(secure)
    options = [("grpc.use_local_subchannel_pool", 1)]
    if not secure:
        g = gate(CONFIG, origin=s.port, upstream=upstream, scheme="h2c", listener="")
        return g, s, grpc.insecure_channel(f"127.0.0.1:{g.port}", options)
    how = {name: text.replace("{pki}", DIR) for name, text in OVER_TLS.items()}
    how["upstream"] += upstream
    g = gate(CONFIG, origin=s.port, **how)
    believed = grpc.ssl_channel_credentials(read("root.pem"))
    return g, s, grpc.secure_channel(f"localhost:{g.port}", believed, options)


def test_unary_calls_with_metadata(gate):
    g, s, channel = start(gate)
    call = channel.unary_unary("/t.T/echo")
    got, outcome = call.with_call(b"hello", metadata=(("x-asked", "1"), ("x-asked-bin", b"\0\1")), timeout=10)
    same(got, b"hello")
    same(dict(outcome.initial_metadata())["x-head"], "h")
    tail = dict(outcome.trailing_metadata())
    same((tail["x-tail"], tail["x-tail-bin"]), ("t", b"\0\xff"))
    same((s.metadata["x-asked"], s.metadata["x-asked-bin"]), ("1", b"\0\1"))
    for n in (0, 1, 100000, 3000000):
        same(call(b"x" * n, timeout=10), b"x" * n)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        same(set(pool.map(lambda i: call(b"a", timeout=10), range(400))), {b"a"})
    same(s.calls, 405)
    channel.close()
    same(g.stop(), 0)
    s.end()


def test_streams_in_each_direction(gate):
    g, s, channel = start(gate)
    same([int(r) for r in channel.unary_stream("/t.T/count")(b"5000", timeout=20)], list(range(5000)))
    pieces = [b"x" * n for n in (0, 1, 70000, 5, 1000000)] + [b"y"] * 1000
    same(int(channel.stream_unary("/t.T/sum")(iter(pieces), timeout=20)), sum(map(len, pieces)))
    same(list(channel.stream_stream("/t.T/chat")(iter([b"a", b"b", b"c"]), timeout=10)),
         [b"heard a", b"heard b", b"heard c"])
    said = []                   # each message is sent once the answer to the one before has come
    more = threading.Semaphore(1)

    def talk():
        for i in range(200):
            more.acquire()
            yield b"%d" % i
    for answer in channel.stream_stream("/t.T/chat")(talk(), timeout=20):
        said.append(answer)
        more.release()
    same(said, [b"heard %d" % i for i in range(200)])
    channel.close()
    s.end()


def test_an_error_is_the_origins_own(gate):
    g, s, channel = start(gate)
    for path, code, details in (("/t.T/fail", "NOT_FOUND", "no such thing, as was said: \u00fc"),
                                ("/t.T/none", "UNIMPLEMENTED", "Method not found!")):
        try:
            channel.unary_unary(path)(b"", timeout=10)
            true(False, "no error")
        except grpc.RpcError as e:
            same((e.code().name, e.details()), (code, details))
    answers = channel.unary_stream("/t.T/half")(b"", timeout=10)
    same(next(answers), b"one")
    try:
        next(answers)
        true(False, "no error")
    except grpc.RpcError as e:
        same((e.code().name, e.details()), ("DATA_LOSS", "that was all"))
    channel.close()
    s.end()


def test_an_answer_to_half_a_question_is_the_answer(gate):
    g, s, channel = start(gate)
    hold = threading.Event()

    def talk():
        yield b"enough"
        hold.wait(5)
    same(channel.stream_unary("/t.T/enough")(talk(), timeout=10), b"enough")
    hold.set()
    channel.close()
    s.end()


def test_a_deadline_passes_and_the_origin_learns_of_it(gate):
    g, s, channel = start(gate)
    began = time.monotonic()
    try:
        channel.unary_unary("/t.T/slow")(b"3", timeout=0.5)
        true(False, "no error")
    except grpc.RpcError as e:
        same(e.code().name, "DEADLINE_EXCEEDED")
    true(time.monotonic() - began < 2)
    true(s.cancelled.wait(2), "the origin goes on")
    channel.close()
    s.end()


def test_cancellation_reaches_the_origin(gate):
    g, s, channel = start(gate)
    answers = channel.unary_stream("/t.T/forever")(b"on and on")
    for _ in range(5):
        same(next(answers), b"on and on")
    answers.cancel()
    true(s.cancelled.wait(3), "the origin goes on")
    same(channel.unary_unary("/t.T/echo")(b"well", timeout=10), b"well")
    s.cancelled.clear()
    answers = channel.unary_stream("/t.T/forever")(b"x")
    next(answers)
    channel.close()             # all of the client, not a call only
    true(s.cancelled.wait(3), "the origin goes on")
    s.end()


def test_a_call_that_is_silent_is_not_cut(gate):
    g, s, channel = start(gate, "idle_timeout = 300ms")
    wait = threading.Event()

    def talk():
        yield b"a"
        wait.wait(1)
        yield b"b"
    same(list(channel.stream_stream("/t.T/chat")(talk(), timeout=10)), [b"heard a", b"heard b"])
    channel.close()
    s.end()


def test_an_origin_that_is_gone_is_unavailable(gate):
    g, s, channel = start(gate)
    same(channel.unary_unary("/t.T/echo")(b"a", timeout=10), b"a")
    s.server.stop(None).wait(5)
    try:
        channel.unary_unary("/t.T/echo")(b"a", timeout=10)
        true(False, "no error")
    except grpc.RpcError as e:
        same(e.code().name, "UNAVAILABLE")
    channel.close()


def over_tls(test):
    @functools.wraps(test)
    def tested(gate):
        gate.secure = True
        test(gate)
    tested.__name__ += "_over_tls"
    return tested


if __name__ == "__main__":
    make_pki("one")
    tests = [t for name, t in sorted(globals().items()) if name.startswith("test_")]
    main(tests + [over_tls(t) for t in tests], at_once=3,
         after=lambda: shutil.rmtree(DIR, ignore_errors=True))
