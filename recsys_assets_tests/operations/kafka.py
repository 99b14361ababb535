"""A Kafka broker on loopback for tests: noida-db, a program of a package."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import noida_db  # type: ignore[import-untyped]
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from recsys_assets_tests.ports import free_port

_DEADLINE_S: Final = 20
# The kernel ends the broker when the process that started it is gone.
_ENDS_WITH_US: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True)
class Broker:
    """A running broker."""

    address: str

    @property
    def admin(self) -> AdminClient:
        """What makes and removes topics."""
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def make(self, topic: str, partitions: int = 1) -> None:
        """Make a topic that keeps records of any age."""
        new = NewTopic(topic, partitions, 1, config={"retention.ms": "-1"})
        admin = self.admin  # which is kept until it has answered
        admin.create_topics([new])[topic].result(_DEADLINE_S)

    def remove(self, topic: str) -> None:
        """Remove a topic."""
        admin = self.admin
        admin.delete_topics([topic])[topic].result(_DEADLINE_S)

    def expire(self, topic: str, partition: int, before: int) -> None:
        """Remove the messages before an offset, as retention does."""
        at = TopicPartition(topic, partition, before)
        admin = self.admin
        admin.delete_records([at])[at].result(_DEADLINE_S)

    def send(
        self,
        topic: str,
        values: Sequence[bytes | None],
        *,
        partition: int = 0,
        at_ms: int,
    ) -> None:
        """Write records, all of one time."""
        producer = Producer({"bootstrap.servers": self.address, "log_level": 0})
        for value in values:
            producer.produce(topic, value, key=b"k", partition=partition, timestamp=at_ms)
            producer.poll(0)
        assert producer.flush(_DEADLINE_S) == 0


@contextlib.contextmanager
def noida(directory: Path) -> Iterator[Broker]:
    """Run a broker with its data in a directory."""
    port = free_port()
    # Not the command: that starts this program and leaves it behind when it is killed.
    program = Path(noida_db.__file__).parent / "noida-db"
    command: list[Any] = [program, "start", "--only", "kafka"]
    command += ["--kafka-port", str(port), "--data-dir", directory / "data"]
    if sys.platform == "linux":
        command = [sys.executable, "-c", _ENDS_WITH_US, *command]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    broker = Broker(f"127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            try:
                broker.admin.list_topics(timeout=1)
            except KafkaException:
                assert process.poll() is None, (directory / "log").read_text(errors="replace")
                assert time.monotonic() < deadline
            else:
                break
        yield broker
    finally:
        process.kill()
        process.wait()
