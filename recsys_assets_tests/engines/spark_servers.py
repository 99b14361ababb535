"""Servers of Spark Connect for the tests: Sail, which needs no Java, and Spark itself."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from recsys_assets_tests import needed

HOST: Final = "127.0.0.1"
# Starting may take long where much else is done.
_SECONDS: Final = 120


def needs_client() -> None:
    """Skip the test where Spark's client is not installed."""
    if importlib.util.find_spec("pyspark") is None:
        needed.skip_unless_required("sail", "pysail and pyspark are not installed: `make sail`")


# A server of tests ends before what Java's second compiler makes of it is worth its time.
_BRIEF: Final = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


def command(group: needed.Group, port: int, *, java: str = _BRIEF) -> list[str]:
    """Return what starts a server; skip the test where it is not installed.

    Args:
        group: which server.
        port: where it listens.
        java: options of the Java of Spark.
    """
    found = importlib.util.find_spec("pyspark")
    if group == "sail":
        program = shutil.which("sail", path=str(Path(sys.executable).parent))
        if found is None or program is None:
            needed.skip_unless_required("sail", "pysail and pyspark are not installed: `make sail`")
        return [program, "spark", "server", "--ip", HOST, "--port", str(port)]
    home = Path(found.origin or "").parent if found else Path()
    if found is None or not (home / "jars").is_dir() or shutil.which("java") is None:
        needed.skip_unless_required(
            "spark", "pyspark with its server, or Java 17, is not installed: `make spark`"
        )
    settings = {
        "spark.connect.grpc.binding.address": HOST,
        "spark.connect.grpc.binding.port": str(port),
        "spark.ui.enabled": "false",
        "spark.driver.extraJavaOptions": java,
        "spark.sql.shuffle.partitions": "2",
    }
    server = "org.apache.spark.sql.connect.service.SparkConnectServer"
    of_settings = [each for item in settings.items() for each in ("--conf", "=".join(item))]
    submit = str(home / "bin" / "spark-submit")
    return [submit, "--class", server, "--master", "local[2]", *of_settings, "spark-internal"]


@contextmanager
def running(program: Sequence[str], port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in a folder until it answers, and longer."""
    variables = {**os.environ, "SPARK_LOCAL_IP": HOST}
    with (folder / f"server-{port}.log").open("ab") as log:
        server = subprocess.Popen(
            program, cwd=folder, env=variables, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_for(port, server)
        yield server
    finally:
        kill(server)


def kill(server: subprocess.Popen[bytes]) -> None:
    """End a server, and what it has started, at once."""
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _SECONDS
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            assert server.poll() is None, "the server has ended"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.1)
        else:
            return
