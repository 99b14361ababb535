"""Land messages of a Kafka topic: wall, CPU and peak memory of the lander alone.

The broker is noida-db, on loopback, and is not counted. The messages are raw exposure events v1 of
one day and its neighbour, in 4 partitions.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import measure
from confluent_kafka import Producer

sys.path.insert(1, str(Path(__file__).parents[1]))  # for the broker of the tests
from recsys_assets_tests.operations.kafka import Broker, noida

_PARTITIONS = 4
_TOPIC = "exposures"
_CONFIG = """\
root: var
surfaces:
  - tenant: demo
    surface: home
    start_date: 2026-01-01
    source: {path: raw, landing: {kafka: {brokers_env: BENCHMARK_BROKERS, topic: exposures}}}
    artifacts: {popularity: {}}
"""


def events(messages: int) -> Iterator[bytes]:
    """Yield messages of two days."""
    for number in range(messages):
        moment = number % 86_400
        yield json.dumps(
            {
                "v": 1,
                "ts": f"2026-01-0{1 + (number % 50 == 0)}T{moment // 3600:02}:"
                f"{moment // 60 % 60:02}:{moment % 60:02}.{number % 1000:03}Z",
                "tenant": "demo",
                "surface": "home",
                "session_id": f"s{number // 12}",
                "user_id": f"u{number % 70_001}",
                "item_id": f"i{number * 7919 % 20_011}",
                "request_id": f"r{number}",
                "rank": number % 12,
            }
        ).encode()


def fill(broker: Broker, values: Iterable[bytes]) -> int:
    """Write the topic; return its bytes."""
    broker.make(_TOPIC, _PARTITIONS)
    producer = Producer(
        {"bootstrap.servers": broker.address, "linger.ms": 50, "compression.type": "lz4"}
    )
    size = 0
    for number, value in enumerate(values):
        size += len(value)
        producer.produce(_TOPIC, value, partition=number % _PARTITIONS)
        if not number % 1000:
            producer.poll(0)
            while len(producer) > 50_000:
                producer.poll(0.05)
    if producer.flush(60):
        raise RuntimeError("the broker did not take all messages")
    return size


def land(broker: Broker, folder: Path, messages: int) -> measure.Cost:
    """Land the topic below a new folder, in a process of its own.

    Raises:
        RuntimeError: it did not land as many messages.
    """
    (folder / "raw").mkdir(parents=True)
    (folder / "surfaces.yaml").write_text(_CONFIG, encoding="utf-8")
    cost = measure.run(
        [sys.executable, "-m", "recsys_assets.cli", "land"],
        env={
            "RECSYS_CONFIG": str(folder / "surfaces.yaml"),
            "BENCHMARK_BROKERS": broker.address,
        },
        log=folder / "log",
    )
    if f" {messages:,} messages landed" not in cost.output:
        raise RuntimeError(cost.output)
    return cost


def main() -> None:
    """Fill a topic, and land it in a process of its own, as often as is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    print(measure.environment())
    with tempfile.TemporaryDirectory() as scratch, noida(Path(scratch)) as broker:
        size = fill(broker, events(given.messages))
        print(f"{given.messages:,} messages, {size / 2**20:.0f} MiB")
        costs = []
        for run in range(given.runs):
            costs.append(land(broker, Path(scratch, str(run)), given.messages))
            print(costs[-1])
    print(f"{measure.median(costs)}, median")


if __name__ == "__main__":
    main()
