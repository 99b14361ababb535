"""An unkind HTTP proxy in front of an object store: it loses, refuses, delays and cuts.

The Host header goes through unchanged, so what was signed for the proxy's address stays valid.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Final
from urllib.parse import unquote, urlsplit

_HOP_BY_HOP: Final = {"connection", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True)
class Request:
    """A request as it arrived; `number` counts, from 1, the requests of its method."""

    method: str
    path: str  # of the URL, decoded; a key of a store is its end
    number: int


@dataclass(frozen=True)
class Treatment:
    """What becomes of a request. As it stands: passed on, and its answer back."""

    delay_s: float = 0
    strip: frozenset[str] = frozenset()  # lower-case names of headers
    status: int | None = None  # is the answer; the store is not asked
    body: str = ""
    reset: bool = False  # the connection is reset; the store is not asked
    lose_answer: bool = False  # the store did it, but the connection ends without an answer


KIND: Final = Treatment()
Treat = Callable[[Request], Treatment]


@dataclass
class Proxy:
    """A running proxy. What `treat` says may be changed at any time."""

    url: str
    treat: Treat = field(default=lambda _: KIND)
    requests: list[Request] = field(default_factory=list)

    def counted(self, end_of_path: str = "") -> Counter[str]:
        """Return how many requests of each method there were, of objects with such an end."""
        return Counter(
            request.method for request in self.requests if request.path.endswith(end_of_path)
        )


def every(nth: int, method: str, treatment: Treatment) -> Treat:
    """Treat every n-th request of a method."""
    return lambda request: (
        treatment if request.method == method and request.number % nth == 0 else KIND
    )


def always(treatment: Treatment, *, method: str = "", path: str = "") -> Treat:
    """Treat every request, or those of a method, or of paths that hold a text."""
    return lambda request: (
        treatment if request.method.startswith(method) and path in request.path else KIND
    )


def first(times: int, treat: Treat) -> Treat:
    """Treat only the first requests that would be treated; then be kind."""
    turns, lock = count(), threading.Lock()

    def once_more(request: Request) -> Treatment:
        treatment = treat(request)
        with lock:
            return treatment if treatment is not KIND and next(turns) < times else KIND

    return once_more


@contextlib.contextmanager
def proxy_before(endpoint: str) -> Iterator[Proxy]:
    """Run a proxy before a store."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
        server.proxy, server.upstream = proxy, urlsplit(endpoint).netloc
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
            server.end_connections()


class _Server(ThreadingHTTPServer):
    proxy: Proxy
    upstream: str
    request_queue_size = 128
    # Their sockets are shut down, then they end; closing the server waits for them.
    daemon_threads = False
    block_on_close = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._numbers: Counter[str] = Counter()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client may be killed
            super().handle_error(request, client_address)

    def seen(self, method: str, path: str) -> Request:
        with self._lock:
            self._numbers[method] += 1
            request = Request(method, path, self._numbers[method])
            self.proxy.requests.append(request)
        return request


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Without it a small answer after its headers waits for the client's delayed acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle(self) -> None:
        self._store = HTTPConnection(self.server.upstream, timeout=60)
        try:
            super().handle()
        finally:
            self._store.close()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(self.path.partition("?")[0])
        treatment = self.server.proxy.treat(self.server.seen(self.command, path))
        time.sleep(treatment.delay_s)
        if treatment.reset:
            self._end(reset=True)
        elif treatment.status is not None:
            self._answer(treatment.status, {}, treatment.body.encode())
        else:
            answer = self._ask_store(body, treatment.strip)
            data = answer.read()
            if treatment.lose_answer:
                self._end(reset=False)
                return
            kept = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in _HOP_BY_HOP
            }
            self._answer(answer.status, kept, data)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815

    def _ask_store(self, body: bytes, strip: frozenset[str]) -> HTTPResponse:
        headers = [
            (name, value)
            for name, value in self.headers.items()
            if name.lower() not in strip | _HOP_BY_HOP
        ]
        for last in (False, True):
            try:
                self._store.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in headers:
                    self._store.putheader(name, value)
                self._store.endheaders(body or None)
                return self._store.getresponse()
            except (HTTPException, ConnectionError):
                # A store may end a connection that was idle.
                self._store.close()
                if last:
                    raise
        raise AssertionError("not reached")

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        length = {"Content-Length": str(len(body))}
        given = {name.lower() for name in headers}
        for name, value in (headers | ({} if "content-length" in given else length)).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _end(self, *, reset: bool) -> None:
        self.close_connection = True
        if reset:  # what is closed with nothing left to linger for sends RST, not FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *_: Any) -> None:
        pass
