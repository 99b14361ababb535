"""Google's XML API, which clients speak, before fake-gcs-server, which is only read by it.

What writes becomes an upload by the JSON API, with its condition; everything else goes through as
it is. So how a condition is named and refused is this module's idea of Google's, not Google's own.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

_HOP_BY_HOP: Final = {"host", "connection", "content-length", "transfer-encoding", "date"}
_BOUNDARY: Final = "=the parts of an upload="
_CONDITION: Final = "x-goog-if-generation-match"


@contextlib.contextmanager
def front_before(address: str) -> Iterator[str]:
    """Run the front before an emulator at `host:port`; give its own URL."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.emulator = address
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    emulator: str
    request_queue_size = 128
    daemon_threads = True  # a client that keeps its connection must not keep the tests

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.uploads: dict[str, dict[int, bytes]] = {}  # the parts that came, by number
        self.ids = count(1)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client may be killed."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # Without it a small answer after its headers waits for the client's delayed acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1

    def handle(self) -> None:
        self._emulator = HTTPConnection(self.server.emulator, timeout=60)
        try:
            super().handle()
        finally:
            self._emulator.close()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        asked = dict(parse_qsl(url.query, keep_blank_values=True))
        bucket, _, name = unquote(url.path).removeprefix("/").partition("/")
        uploads, upload = self.server.uploads, asked.get("uploadId", "")
        match self.command:
            case "POST" if "uploads" in asked:
                upload = str(next(self.server.ids))
                uploads[upload] = {}
                self._answer_xml("InitiateMultipartUploadResult", "UploadId", upload)
            case "PUT" if upload:
                uploads[upload][int(asked["partNumber"])] = body
                self._answer(HTTPStatus.OK, {"ETag": f'"{asked["partNumber"]}"'})
            case "DELETE" if upload:
                uploads.pop(upload, None)
                self._answer(HTTPStatus.NO_CONTENT)
            case "POST" if upload:
                parts = uploads.pop(upload)
                whole = b"".join(parts[number] for number in sorted(parts))
                self._write(bucket, name, whole, in_parts=True)
            case "PUT" if name:
                self._write(bucket, name, body, in_parts=False)
            case _:
                self._pass_on(body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815

    def _write(self, bucket: str, name: str, content: bytes, *, in_parts: bool) -> None:
        # The emulator heeds a condition in this kind of upload alone.
        where = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart"
        if generation := self.headers.get(_CONDITION):
            where += f"&ifGenerationMatch={generation}"
        body = b"\r\n".join(
            (
                f"--{_BOUNDARY}\r\nContent-Type: application/json\r\n".encode(),
                json.dumps({"name": name}).encode(),
                f"--{_BOUNDARY}\r\nContent-Type: application/octet-stream\r\n".encode(),
                content,
                f"--{_BOUNDARY}--\r\n".encode(),
            )
        )
        kind = {"Content-Type": f'multipart/related; boundary="{_BOUNDARY}"'}
        status, _, answer = self._ask("POST", where, body, kind)
        if status != HTTPStatus.OK:
            self._answer(status, {}, answer)
            return
        made = json.loads(answer)
        tag = '"{}"'.format(made["etag"].strip('"'))
        headers = {"ETag": tag, "x-goog-generation": str(made["generation"])}
        if in_parts:
            self._answer_xml("CompleteMultipartUploadResult", "ETag", tag, headers)
        else:
            self._answer(HTTPStatus.OK, headers)

    def _pass_on(self, body: bytes) -> None:
        headers = {n: v for n, v in self.headers.items() if n.lower() not in _HOP_BY_HOP}
        status, given, answer = self._ask(self.command, self.path, body, headers)
        kept = {n: v for n, v in given.items() if n.lower() not in _HOP_BY_HOP}
        if self.command == "HEAD":  # whose length is that of what is not sent
            kept["Content-Length"] = given.get("Content-Length", "0")
        self._answer(status, kept, answer)

    def _ask(
        self, method: str, where: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        self._emulator.request(method, where, body or None, dict(headers))
        answer = self._emulator.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()

    def _answer_xml(
        self, root: str, member: str, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        body = f"<{root}><{member}>{text}</{member}></{root}>".encode()
        self._answer(HTTPStatus.OK, headers, body)

    def _answer(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        self.send_response_only(status)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass
