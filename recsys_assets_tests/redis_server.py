"""Servers of Redis for the tests."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from recsys_assets_tests.ports import free_port

PASSWORD: Final = "s3cret-of-redis"  # noqa: S105 (of a server on loopback that keeps nothing)


def url_of(port: int, password: str = PASSWORD) -> str:
    """Return the address of a server."""
    return f"redis://:{password}@127.0.0.1:{port}/0"


@contextmanager
def running(program: str, *, cluster: bool = False) -> Iterator[str]:
    """Run a server on loopback that keeps nothing; a cluster is one node that has all slots."""
    import redis

    folder = tempfile.mkdtemp(prefix="redis-")
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", ""]
    options += ["--requirepass", PASSWORD]
    if cluster:
        options += ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    server = subprocess.Popen(
        [program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        with redis.Redis.from_url(url_of(port)) as client:
            _wait_for(client.ping)
            if cluster:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
                _wait_for(lambda: _is_up(client))
        yield url_of(port)
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder)


def _is_up(client: Any) -> None:
    import redis

    state = client.execute_command("CLUSTER", "INFO")
    if "cluster_state:ok" not in (state.decode() if isinstance(state, bytes) else str(state)):
        if isinstance(state, dict) and state.get("cluster_state") == "ok":
            return
        raise redis.ConnectionError(str(state))


def _wait_for(call: Any) -> None:
    import redis

    end = time.monotonic() + 120
    while True:
        try:
            call()
        except redis.ConnectionError:
            assert time.monotonic() < end, "Redis does not start"
            time.sleep(0.05)
        else:
            return
