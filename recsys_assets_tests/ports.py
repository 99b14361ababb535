"""A port for a server of a test."""

from __future__ import annotations

import atexit
import random
import socket
from collections.abc import Iterable
from typing import Final

# Below those that the kernel gives to connections. A port from there is free when it is looked for,
# and may be the near end of somebody's connection when the server binds it.
_PORTS: Final = range(20_000, 32_768)


def free_port() -> int:
    """Return a port that nobody listens on, and that no other process of the tests gets meanwhile.

    It is held by a UDP socket of the same number until this process ends.
    """
    return _first_free(random.sample(_PORTS, len(_PORTS)))


def _first_free(ports: Iterable[int]) -> int:
    for port in ports:
        held = socket.socket(type=socket.SOCK_DGRAM)
        try:
            held.bind(("127.0.0.1", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            held.close()
            continue
        atexit.register(held.close)
        return port
    raise OSError("every port of the tests is taken")
