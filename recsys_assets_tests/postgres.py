"""A server of PostgreSQL for the tests, and what is in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from recsys_assets_tests.ports import free_port


@dataclass(frozen=True)
class Database:
    """A schema on a server that listens on loopback and lets everybody in."""

    port: int
    schema: str = "public"
    user: str = "dagster"
    password: str = ""

    @property
    def url(self) -> str:
        """Its address."""
        secret = f":{self.password}" if self.password else ""
        options = "" if self.schema == "public" else f"?options=-csearch_path%3D{self.schema}"
        return f"postgresql://{self.user}{secret}@127.0.0.1:{self.port}/postgres{options}"

    def run(self, *statements: str) -> None:
        """Execute statements, each in a transaction of its own."""
        with self._cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def one(self, statement: str) -> Any:
        """Return the first column of the first row of a query."""
        with self._cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()[0][0]

    def fill(self, table: str, frame: pl.DataFrame) -> None:
        """Make a table of a frame, or append it to one that is there."""
        with self._cursor() as cursor:
            cursor.adbc_ingest(table, frame.to_arrow(), mode="create_append")

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        import adbc_driver_postgresql.dbapi as driver

        with driver.connect(self.url, autocommit=True) as connection, connection.cursor() as cursor:
            yield cursor


def programs() -> Path | None:
    """Return where PostgreSQL has its programs, the newest one if there are several."""
    packaged = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(packaged, key=lambda path: int(path.parts[4]), default=None)
    program = newest or shutil.which("initdb")
    return Path(program).parent if program else None


@contextmanager
def running(found: Path, *settings: str) -> Iterator[Database]:
    """Run a server of its own, of the programs that were found; it keeps nothing, unless told."""
    # Not below tmp_path: as root, PostgreSQL has to run as somebody else, who cannot look there.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    somebody: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
        somebody |= {"user": "nobody", "extra_groups": []}
    port = free_port()
    data = folder / "data"
    try:
        make: list[str | Path] = [found / "initdb", "-D", data, "-U", "dagster", "-A", "trust"]
        subprocess.run([*make, "--no-sync"], check=True, capture_output=True, **somebody)
        options: list[str | Path] = ["-k", folder, "-p", str(port)]
        for setting in ("fsync=off", *settings):
            options += ["-c", setting]
        server = subprocess.Popen(
            [found / "postgres", "-D", data, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **somebody,
        )
        try:
            _wait_for(found, port)
            yield Database(port)
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing is to be kept
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(30)
            server.kill()
    finally:
        shutil.rmtree(folder)


def _wait_for(found: Path, port: int) -> None:
    end = time.monotonic() + 120
    ready: list[str | Path] = [found / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready, check=False).returncode:
        assert time.monotonic() < end, "PostgreSQL does not start"
        time.sleep(0.1)
