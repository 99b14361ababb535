"""`deploy/proxy/`: nginx lets nobody to the UI without the password, and hides it from the UI."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Final

import pytest

from recsys_assets_tests.needed import skip_unless_required
from recsys_assets_tests.ports import free_port

CONFIGURATION: Final = Path(__file__).parents[1] / "deploy/proxy/nginx.conf"
PASSWORD: Final = "a password"  # noqa: S105


class _Ui(BaseHTTPRequestHandler):
    """Stands for the UI: it answers with the headers that it was asked with."""

    def do_GET(self) -> None:
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@dataclass(frozen=True)
class Proxy:
    """nginx before the UI."""

    port: int

    def ask(self, **headers: str) -> tuple[int, dict[str, str]]:
        """Return the status, and the headers that the UI saw."""
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}/runs", headers=headers)
        try:
            with urllib.request.urlopen(request, context=trusting, timeout=60) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, {}


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """Run nginx with the configuration as it is, but for where it listens and its files lie."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if nginx is None:
        skip_unless_required("nginx", "nginx is not installed (Debian: nginx-light)")
    ui = HTTPServer(("127.0.0.1", 0), _Ui)
    threading.Thread(target=ui.serve_forever, daemon=True).start()
    port, text = free_port(), CONFIGURATION.read_text(encoding="utf-8")
    for there, here in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/nginx/", f"{tmp_path}/"),
        ("http://127.0.0.1:3000", f"http://127.0.0.1:{ui.server_port}"),
    ):
        assert there in text
        text = text.replace(there, here)
    (tmp_path / "site.conf").write_text(text)
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/error.log; user {getpass.getuser()};\n"
        f"events {{}} http {{ access_log off; include {tmp_path}/site.conf; }}\n"
    )
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    key, certificate = str(tmp_path / "recsys.key"), str(tmp_path / "recsys.crt")
    subprocess.run([*new, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    made = subprocess.run(
        ["openssl", "passwd", "-apr1", PASSWORD], check=True, capture_output=True, text=True
    ).stdout
    (tmp_path / "recsys.htpasswd").write_text(f"ann:{made}")
    command = [nginx, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-g", "daemon off;"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            until = time.monotonic() + 120
            while not listening(port):
                assert process.poll() is None, process.stderr and process.stderr.read()
                assert time.monotonic() < until
                time.sleep(0.02)
            yield Proxy(port)
        finally:
            process.terminate()
            process.communicate()
            ui.shutdown()
            ui.server_close()


def listening(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def basic(name: str, password: str) -> str:
    return f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"


def test_who_has_the_password_reaches_the_ui_and_nobody_else_does(proxy: Proxy) -> None:
    """The UI is not told the password, and its web sockets come through."""
    assert proxy.ask() == (401, {})
    assert proxy.ask(Authorization=basic("ann", "another")) == (401, {})
    status, seen = proxy.ask(
        Authorization=basic("ann", PASSWORD),
        Host="recsys.example.com",
        Upgrade="websocket",
        Connection="Upgrade",
    )

    assert status == 200
    assert seen["host"] == "recsys.example.com"
    assert "authorization" not in seen
    assert seen["upgrade"] == "websocket"
    assert seen["connection"] == "upgrade"
