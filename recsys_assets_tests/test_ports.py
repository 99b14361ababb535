"""Ports that servers of tests get."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from recsys_assets_tests.ports import _PORTS, _first_free, free_port

HOLDS = """
from recsys_assets_tests.ports import free_port
print(free_port(), flush=True)
input()
"""


def test_what_another_process_of_the_tests_was_given_is_passed_over() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        taken = int(other.stdout.readline())
        spare = free_port() + 1

        assert _first_free([taken, *range(spare, _PORTS.stop)]) >= spare

        other.communicate("\n")
    assert _first_free([taken]) == taken


def test_what_somebody_listens_on_is_passed_over() -> None:
    taken = free_port()
    with socket.create_server(("127.0.0.1", taken + 1)):
        assert _first_free([taken, taken + 1, *range(taken + 2, _PORTS.stop)]) > taken + 1


def test_without_a_free_one_it_says_so() -> None:
    taken = free_port()

    with pytest.raises(OSError, match="every port of the tests is taken"):
        _first_free([taken])
