from __future__ import annotations

import json
import logging
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from recsys_assets.cli import main
from recsys_assets.config import Config
from recsys_assets.errors import ConfigError, TopicError
from recsys_assets.events.sources import open_source
from recsys_assets.operations import messages, offsets, topics
from recsys_assets.operations.cursors import Cursor
from recsys_assets.operations.landing import look
from recsys_assets.operations.topics import Landed, land, landings_of, look_ahead
from recsys_assets_tests.operations.kafka import Broker, noida
from recsys_assets_tests.project import DAY, Project, day, event
from recsys_assets_tests.storage.conftest import new_prefix, use
from recsys_assets_tests.storage.servers import Server

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_LEAST: dict[str, Any] = {"artifacts": {"popularity": {}}, "catalog": None}
KAFKA: dict[str, Any] = {"brokers_env": "TEST_BROKERS", "grace_minutes": 60}


def test_the_broker_of_these_tests_ends_with_them(tmp_path: Path) -> None:
    with noida(tmp_path) as running:
        host, port = running.address.split(":")
        socket.create_connection((host, int(port)), timeout=5).close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


@dataclass
class Shop:
    """A surface that lands a topic of its own."""

    project: Project
    broker: Broker
    topic: str
    source: dict[str, Any] = field(default_factory=dict)
    others: list[dict[str, Any]] = field(default_factory=list)

    @property
    def config(self) -> Config:
        of_topic = {"path": "raw", "landing": {"kafka": {**KAFKA, "topic": self.topic}}}
        first = {**of_topic, **self.source}
        return self.project.configure(
            {**_LEAST, "source": first},
            *(
                {
                    **_LEAST,
                    **other,
                    "source": {**of_topic, **other.get("source", {})},
                }
                for other in self.others
            ),
        )

    def land(self, now: datetime = NOON, *, skip_lost: bool = False) -> Landed:
        (landing,) = landings_of(self.config.surfaces)
        return land(landing, now=now, skip_lost=skip_lost)

    def send(
        self, *values: bytes | dict[str, Any] | None, partition: int = 0, at: datetime = NOON
    ) -> None:
        written = [json.dumps(of).encode() if isinstance(of, dict) else of for of in values]
        self.broker.send(self.topic, written, partition=partition, at_ms=int(at.timestamp() * 1000))

    @property
    def files(self) -> dict[str, bytes]:
        """Every file below the path but the state, decompressed."""
        raw = self.project.folder / "raw"
        return {
            str(path.relative_to(raw / self.topic)): _plain(path)
            for path in sorted((raw / self.topic).rglob("*"))
            if path.is_file()
        }

    def lines(self) -> dict[str, list[bytes]]:
        """Return the lines of each day."""
        found: dict[str, list[bytes]] = {}
        for name, text in self.files.items():
            if not name.endswith("_SUCCESS"):
                found.setdefault(name[3:13], []).extend(text.split())
        return found

    @property
    def marked(self) -> list[str]:
        """The days that are marked as complete."""
        return [name[3:13] for name in self.files if name.endswith("/_SUCCESS")]


def _plain(path: Path) -> bytes:
    if path.suffix != ".zst":
        return path.read_bytes()
    with pa.input_stream(path, compression="zstd") as stream:
        return bytes(stream.read())


def a_line(number: int, of: date = DAY) -> bytes:
    return b'{"ts":"%sT10:00:00Z","n":%d}' % (str(of).encode(), number)


Opening = Callable[..., Shop]


@pytest.fixture
def shop_of(project: Project, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Opening:
    monkeypatch.setenv("TEST_BROKERS", broker.address)

    def open_shop(partitions: int = 1, **source: Any) -> Shop:
        topic = f"t-{uuid4().hex}"
        broker.make(topic, partitions)
        return Shop(project, broker, topic, source)

    return open_shop


def test_a_message_becomes_a_line_of_the_day_of_its_event(shop_of: Opening) -> None:
    shop = shop_of(partitions=2)
    shop.send(a_line(1), a_line(2, day(1)))
    shop.send(a_line(3), partition=1)

    landed = shop.land()

    assert shop.lines() == {str(DAY): [a_line(1), a_line(3)], str(day(1)): [a_line(2, day(1))]}
    assert (landed.lines, landed.files, landed.partitions) == (
        {str(DAY): 2, str(day(1)): 1},
        2,
        2,
    )
    assert shop.land().lines == {}


def test_the_time_is_read_by_the_mapping_and_else_is_that_of_the_record(shop_of: Opening) -> None:
    columns = {"ts": {"from": "at", "unit": "ms"}, "session_id": "s", "item_id": "i"}
    shop = shop_of(columns=columns)
    ms = int(datetime(2026, 1, 2, 3, tzinfo=UTC).timestamp() * 1000)
    known, unknown = b'{"at":%d}' % ms, [b'{"at":"soon"}', b"no-JSON", b"\xff\xfe", b"\x1f\x8b\x08"]
    shop.send(known, *unknown, at=NOON)

    shop.land()

    assert shop.lines() == {str(DAY): unknown, str(day(1)): [known]}


def test_tombstones_are_left_out_and_newlines_within_a_value_replaced(shop_of: Opening) -> None:
    shop = shop_of()
    shop.send(None, b'{\n"ts":\n"2026-01-01T10:00:00Z"}\n', b"", a_line(1))

    landed = shop.land()

    assert landed.tombstones == 2
    (text,) = shop.files.values()
    assert text.splitlines() == [b"", b'{ "ts": "2026-01-01T10:00:00Z"} ', a_line(1)]


def in_transactions(address: str, topic: str, *committed: bool) -> None:
    """Write three messages in each transaction, and end it."""
    settings: dict[str, Any] = {"bootstrap.servers": address, "transactional.id": topic}
    producer = Producer({**settings, "log_level": 0})
    producer.init_transactions(10)
    for number, is_committed in enumerate(committed):
        producer.begin_transaction()
        for line in range(3):
            producer.produce(topic, a_line(10 * number + line), partition=0)
        producer.flush(10)
        if is_committed:
            producer.commit_transaction(10)
        else:
            producer.abort_transaction(10)


def test_what_is_aborted_is_not_landed(shop_of: Opening) -> None:
    shop = shop_of()
    in_transactions(shop.broker.address, shop.topic, True, False, True)

    shop.land()

    assert shop.lines() == {str(DAY): [a_line(n) for n in (0, 1, 2, 20, 21, 22)]}


def test_offsets_that_are_no_messages_end_no_landing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another broker, the mock of the client."""
    mock: dict[str, Any] = {"bootstrap.servers": "-", "test.mock.num.brokers": 1, "log_level": 0}
    cluster = Producer(mock)
    (at,) = cluster.list_topics(timeout=10).brokers.values()
    address = f"{at.host}:{at.port}"
    monkeypatch.setenv("TEST_BROKERS", address)
    monkeypatch.setattr(messages.Topic, "id", lambda _: "")  # which the mock does not answer
    in_transactions(address, "gaps", True, True)
    shop = Shop(project, Broker(address), "gaps")

    shop.land()

    assert shop.lines() == {str(DAY): [a_line(n) for n in (0, 1, 2, 10, 11, 12)]}


def test_a_late_record_becomes_a_new_file_of_its_day(shop_of: Opening) -> None:
    shop = shop_of()
    shop.send(a_line(1))
    shop.land()
    before = shop.files
    shop.send(a_line(2), at=NOON + timedelta(days=3))

    shop.land(NOON + timedelta(days=3))

    assert before.items() <= shop.files.items()
    assert shop.lines() == {str(DAY): [a_line(1), a_line(2)]}
    assert len([name for name in shop.files if name.startswith(f"dt={DAY}/{shop.topic}")]) == 2


def test_a_long_topic_lands_in_parts_of_bounded_size(
    shop_of: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offsets, "MOST_MESSAGES", 3)
    shop = shop_of(partitions=2)
    shop.send(*map(a_line, range(5)))
    shop.send(*map(a_line, range(5, 9)), partition=1)

    shop.land()

    assert [text.count(b"ts") for text in shop.files.values()] == [3, 3, 3]
    assert shop.lines() == {str(DAY): [*map(a_line, range(9))]}


def test_a_day_is_complete_once_each_partition_has_a_record_behind_the_grace(
    shop_of: Opening,
) -> None:
    shop = shop_of(partitions=2)
    late = datetime(2026, 1, 2, 1, tzinfo=UTC)  # midnight and the grace
    for partition in (0, 1):
        shop.send(a_line(1), partition=partition)
    assert shop.land(late - timedelta(minutes=20)).complete == []
    shop.send(a_line(2, day(1)), at=late)
    shop.send(a_line(2, day(1)), partition=1, at=late - timedelta(seconds=1))
    assert shop.land(late + timedelta(minutes=1)).complete == []
    shop.send(a_line(2, day(1)), partition=1, at=late)

    assert shop.land(late + timedelta(minutes=2)).complete == [DAY]
    assert shop.marked == [str(DAY)]


def test_a_record_of_the_future_completes_no_day_that_is_not_over(shop_of: Opening) -> None:
    shop = shop_of()
    shop.send(a_line(1), at=NOON + timedelta(days=900))

    assert shop.land(NOON).complete == []


def test_a_partition_in_which_nothing_moves_for_the_grace_keeps_no_day_open(
    shop_of: Opening,
) -> None:
    shop = shop_of(partitions=2)
    shop.send(a_line(1))
    late = datetime(2026, 1, 2, 1, tzinfo=UTC)
    assert shop.land(late - timedelta(minutes=30)).complete == []
    assert shop.land(late + timedelta(minutes=29)).complete == []

    assert shop.land(late + timedelta(minutes=30)).complete == [DAY]


def test_messages_that_expired_are_told_and_skipped_on_demand_only(shop_of: Opening) -> None:
    shop = shop_of()
    shop.send(a_line(0))
    shop.land()
    shop.send(*map(a_line, range(1, 5)))
    shop.broker.expire(shop.topic, 0, 3)

    with pytest.raises(TopicError, match=r"/0 offsets 1 to 2.*--skip-lost"):
        shop.land()
    shop.land(skip_lost=True)

    assert shop.lines() == {str(DAY): [a_line(0), a_line(3), a_line(4)]}
    assert shop.land().lines == {}


def test_the_first_landing_begins_at_what_the_topic_still_has(shop_of: Opening) -> None:
    shop = shop_of()
    shop.send(*map(a_line, range(4)))
    shop.broker.expire(shop.topic, 0, 2)

    shop.land()

    assert shop.lines() == {str(DAY): [a_line(2), a_line(3)]}


def test_a_topic_that_was_made_anew_is_told_and_read_anew_on_demand_only(
    shop_of: Opening,
) -> None:
    shop = shop_of()
    shop.send(*map(a_line, range(3)))
    shop.land()
    shop.broker.remove(shop.topic)
    shop.broker.make(shop.topic)
    shop.send(a_line(7))

    with pytest.raises(TopicError, match=r"made anew.*--skip-lost"):
        shop.land()
    shop.land(skip_lost=True)

    assert shop.lines() == {str(DAY): [*map(a_line, (0, 1, 2, 7))]}


def test_a_topic_that_has_another_id_was_made_anew_however_long_it_is(
    shop_of: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shop_of()
    shop.send(a_line(0))
    monkeypatch.setattr(messages.Topic, "id", lambda _: "first")
    shop.land()
    monkeypatch.setattr(messages.Topic, "id", lambda _: "second")

    with pytest.raises(TopicError, match="another id"):
        shop.land()


def test_of_two_landers_one_goes_on(shop_of: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = shop_of()
    shop.send(*map(a_line, range(5)))
    read = topics._done
    with_another = [True]

    def meanwhile(*args: Any) -> offsets.State:
        if with_another.pop():
            with_another.append(False)
            shop.land()
        else:
            with_another.append(False)
        return read(*args)

    monkeypatch.setattr(topics, "_done", meanwhile)

    with pytest.raises(TopicError, match="another lander"):
        shop.land()
    assert shop.lines() == {str(DAY): [*map(a_line, range(5))]}
    assert shop.land().lines == {}


def test_a_landing_that_was_not_ended_is_not_gone_on_with_by_another_reading_of_time(
    shop_of: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shop_of()
    shop.send(a_line(1))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(topics, "_done", killed)
        with pytest.raises(KeyboardInterrupt):
            shop.land()
    shop.source = {"columns": {"ts": "n", "session_id": "n", "item_id": "n"}}
    with pytest.raises(TopicError, match="could land twice"):
        shop.land()
    shop.source = {}
    shop.land()

    assert shop.lines() == {str(DAY): [a_line(1)]}


# One that is started while others work, and begins when it is told to.
LANDER = """
import sys
import confluent_kafka.admin
from recsys_assets.config import load_config
from recsys_assets.operations.topics import land, landings_of
(landing,) = landings_of(load_config(sys.argv[1]).surfaces)
print("ready", flush=True)
sys.stdin.readline()
while True:
    land(landing)
    print("landed", flush=True)
"""


@pytest.mark.long
def test_25_kills_lose_no_message_and_land_none_twice(shop_of: Opening) -> None:
    """A lander is killed anywhere, again and again, while messages come in."""
    shop = shop_of(partitions=3)
    shop.config  # noqa: B018 (writes the file)
    sent, stop = [0], threading.Event()

    def produce() -> None:
        producer = Producer({"bootstrap.servers": shop.broker.address, "linger.ms": 5})
        while not stop.is_set():
            for number in range(sent[0], sent[0] + 200):
                line = a_line(number, day(number % 3))
                producer.produce(shop.topic, line, partition=number % 3)
            sent[0] += 200
            producer.poll(0)
            time.sleep(0.02)
        assert producer.flush(20) == 0

    def lander() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", LANDER, str(shop.project.config_file)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1, text=True
        )

    def killed(process: subprocess.Popen[str], *, after_s: float | None) -> float:
        """Let one land, kill it after so long, or a landing; return how long it was let."""
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("go\n")
        started = time.monotonic()
        if after_s is None:
            assert process.stdout.readline() == "landed\n"
        else:
            time.sleep(after_s)
        took = time.monotonic() - started
        process.kill()
        process.communicate()
        return took

    producing = threading.Thread(target=produce)
    producing.start()
    rng, waiting = random.Random(5), [lander(), lander()]  # noqa: S311
    try:
        landing_s = min(1.5, killed(waiting.pop(0), after_s=None))
        for _ in range(25):
            waiting.append(lander())  # it starts while another one works
            killed(waiting.pop(0), after_s=rng.uniform(0, 1.5 * landing_s))
    finally:
        stop.set()
        producing.join()
        for left in waiting:
            left.kill()
            left.communicate()
    shop.land()

    found = Counter(line for lines in shop.lines().values() for line in lines)
    assert found == Counter(a_line(number, day(number % 3)) for number in range(sent[0]))
    for of, lines in shop.lines().items():
        assert all(b'"%s' % of.encode() in line for line in lines)


def test_two_surfaces_of_one_topic_read_the_same_files(shop_of: Opening) -> None:
    shop = shop_of()
    shop.others = [{"surface": "side"}]
    shop.send(event("a"), event("b", surface="side", session_id="s2"), event("c", surface="side"))
    config = shop.config

    landed = shop.land()

    assert landed.lines.total() == 3
    results = [shop.project.materialize(config, [DAY], surface=number) for number in (0, 1)]
    assert [result.succeeded for result in results] == [True, True]
    assert [
        result.metadata[DAY]["canonical_events"]["dagster/row_count"] for result in results
    ] == [1, 2]


def test_surfaces_that_share_files_must_read_time_alike(shop_of: Opening) -> None:
    shop = shop_of()
    columns = {"ts": "at", "session_id": "s", "item_id": "i"}
    shop.others = [{"surface": "side", "source": {"columns": columns}}]

    with pytest.raises(ConfigError, match="demo/home and demo/side share"):
        shop.land()


def test_a_day_that_landed_is_reported_once_it_is_marked_and_is_published(
    shop_of: Opening,
) -> None:
    shop = shop_of()
    garbage = [b"\x1f\x8bno line", b"\x1f\x8bno line"]  # in two files that hold the same
    shop.send(*(event(f"i{number}", session_id=f"s{number % 50}") for number in range(400)))
    shop.land()
    for value in garbage:
        shop.send(value)
        shop.land()
    config = shop.config
    (surface,) = config.surfaces

    def reported() -> list[date]:
        found = look(
            shop.project.store,
            surface,
            Cursor(config.root),
            now=datetime(2026, 1, 10, tzinfo=UTC),
            reported=lambda *_: None,
            tried=lambda _: "unknown",
        )
        return [arrival.day for arrival in found.raw_events]

    assert reported() == []
    late = datetime(2026, 1, 2, 3, tzinfo=UTC)
    shop.send(event("x", of=day(1)), at=late)
    assert shop.land(late).complete == [DAY]
    assert reported() == [DAY]
    result = shop.project.materialize(config, [DAY])
    assert result.succeeded, result.failures
    shown = result.metadata[DAY]["canonical_events"]
    assert (shown["dagster/row_count"], shown["refused"]) == (400, 2)
    live = shop.project.live(config)
    assert live is not None
    assert live.window is not None
    assert live.window.last_day == DAY


def test_what_repeats_in_messages_does_not_make_a_file_that_is_refused(shop_of: Opening) -> None:
    shop = shop_of()
    shop.send(*[a_line(1)[:-1] + b',"x":"%s"}' % (b"x" * 100_000)] * 100)
    shop.land()
    source = open_source(shop.config.surfaces[0])

    (name,) = source.inputs(DAY)
    with source.open(name, []) as reading:
        lines = sum(piece.data.count(b"ts") for piece in reading.pieces())

    assert lines == 100


def test_the_command_lands_looks_and_says_what_is_wrong(
    shop_of: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shop_of()
    shop.send(a_line(1), None, a_line(2, day(1)))
    shop.config  # noqa: B018 (writes the file)
    monkeypatch.setenv("RECSYS_CONFIG", str(shop.project.config_file))

    looked = CliRunner().invoke(main, ["land", "--dry-run"])
    assert (looked.exit_code, shop.files) == (0, {})
    assert f"{shop.topic}/0: 3 from offset 0" in looked.stdout
    done = CliRunner().invoke(main, ["land", "--surface", "demo/home"])
    assert done.exit_code == 0
    assert done.stdout == (
        f"{shop.topic}: 2 messages landed, partitions: 1, files: 2, 2026-01-01 to 2026-01-02; "
        "tombstones left out: 1\n"
    )
    shop.broker.remove(shop.topic)
    failed = CliRunner().invoke(main, ["land"])
    assert failed.exit_code == 1
    assert "cannot be read" in failed.stderr


def test_a_topic_that_cannot_be_landed_holds_no_other_back(
    shop_of: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shop_of()
    other = {"landing": {"kafka": {"brokers_env": "TEST_UNSET", "topic": "a"}}}
    shop.others = [{"surface": "aside", "source": other}]
    shop.send(a_line(1))
    assert len(landings_of(shop.config.surfaces)) == 2
    monkeypatch.setenv("RECSYS_CONFIG", str(shop.project.config_file))

    done = CliRunner().invoke(main, ["land"])

    assert done.exit_code == 2
    assert "$TEST_UNSET is not set" in done.stderr
    assert shop.lines() == {str(DAY): [a_line(1)]}


def test_the_command_needs_a_topic(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.configure()
    monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))

    done = CliRunner().invoke(main, ["land"])

    assert done.exit_code == 2
    assert "source.landing.kafka" in done.stderr


SECRET = "hunter2secret"  # noqa: S105 (is looked for in what is told)


@pytest.mark.parametrize(
    ("brokers", "settings"),
    [
        (f"sasl_ssl://ada:{SECRET}@127.0.0.1:1", "{}"),
        (f"ada:{SECRET}@127.0.0.1:1", "{}"),
        ("127.0.0.1:1", json.dumps({"sasl.mechanism": SECRET})),
        ("127.0.0.1:1", json.dumps({SECRET: "x"})),
        ("127.0.0.1:1", f'{{"sasl.password": "{SECRET}'),
        ("127.0.0.1:1", json.dumps({"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN",
                                    "sasl.username": "ada", "sasl.password": SECRET,
                                    "ssl.ca.location": f"/{SECRET}"})),
    ],
)  # fmt: skip
def test_no_address_with_credentials_and_no_setting_is_ever_told(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    brokers: str,
    settings: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(messages, "_ANSWER_S", 1.0)
    monkeypatch.setenv("TEST_BROKERS", brokers)
    monkeypatch.setenv("TEST_CLIENT", settings)
    kafka = {**KAFKA, "topic": "t", "client_env": "TEST_CLIENT"}
    (landing,) = landings_of(
        project.configure({"source": {"path": "raw", "landing": {"kafka": kafka}}}).surfaces
    )

    with pytest.raises((TopicError, ConfigError)) as caught:
        land(landing)

    told = f"{caught.value} {capfd.readouterr()} {caplog.text}"
    assert SECRET not in told
    assert "$TEST_" in told


def test_without_brokers_or_the_client_it_says_what_to_do(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = {**KAFKA, "topic": "t"}
    (landing,) = landings_of(
        project.configure({"source": {"path": "raw", "landing": {"kafka": kafka}}}).surfaces
    )
    monkeypatch.delenv("TEST_BROKERS", raising=False)
    with pytest.raises(ConfigError, match=r"\$TEST_BROKERS is not set"):
        look_ahead(landing)
    monkeypatch.setenv("TEST_BROKERS", "127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ConfigError, match=r"recsys-assets\[kafka\]"):
        look_ahead(landing)


def test_a_state_that_was_altered_lands_nothing(shop_of: Opening) -> None:
    shop = shop_of()
    shop.send(a_line(1))
    shop.land()
    state = shop.project.folder / f"raw/_landing/{shop.topic}.json"
    state.write_text("{}x")

    with pytest.raises(TopicError, match="no state of a landing"):
        shop.land()


def test_a_state_that_is_gone_or_older_than_the_files_lands_nothing(shop_of: Opening) -> None:
    """Its numbers would be those of files that are there, and these would stay as they are."""
    shop = shop_of()
    state = shop.project.folder / f"raw/_landing/{shop.topic}.json"
    shop.send(a_line(1))
    shop.land()
    old = state.read_bytes()
    shop.send(a_line(2))
    shop.land()
    shop.send(a_line(3))
    before = shop.files

    state.write_bytes(old)
    with pytest.raises(TopicError, match="older than they are"):
        shop.land()
    state.unlink()
    with pytest.raises(TopicError, match="bring back"):
        shop.land()
    assert shop.files == before


def test_a_path_that_is_not_mounted_is_not_made(shop_of: Opening) -> None:
    shop = shop_of()
    (landing,) = landings_of(shop.config.surfaces)
    (shop.project.folder / "raw").rmdir()

    with pytest.raises(TopicError, match="is it mounted"):
        land(landing)
    assert not (shop.project.folder / "raw").exists()


def test_a_topic_lands_in_a_bucket(
    shop_of: Opening, s3_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(s3_server, monkeypatch)
    shop = shop_of(path=s3_server.url(new_prefix()))
    shop.send(a_line(1))
    shop.land()
    shop.send(a_line(2), at=NOON + timedelta(days=2))
    assert shop.land(NOON + timedelta(days=2)).complete == [DAY]
    source = open_source(shop.config.surfaces[0])

    names = source.inputs(DAY)

    assert [name.rpartition("-")[2] for name in names] == [
        "0000000001.jsonl.zst",
        "0000000002.jsonl.zst",
    ]
    assert source.is_complete(DAY)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"pattern": "{day}/*"}, "pattern: goes without landing.kafka"),
        ({"landing": {"success_marker": "{day}/DONE"}}, "success_marker: goes without"),
        ({"type": "csv"}, "with `type: jsonl`; this is csv"),
        ({"landing": {"kafka": {"topic": "a/b"}}}, "topic: must be the name of a topic"),
        ({"landing": {"kafka": {"topic": ".."}}}, "topic: must be the name of a topic"),
        ({"landing": {"kafka": {"topic": "{x}"}}}, "topic: must be the name of a topic"),
        ({"landing": {"kafka": {"brokers_env": "h:9092"}}}, "name of an environment variable"),
    ],
)
def test_what_does_not_go_with_a_topic_is_told(
    project: Project, source: dict[str, Any], said: str
) -> None:
    landing = source.get("landing", {})
    kafka = {**KAFKA, "topic": "t", **landing.get("kafka", {})}
    of = {"path": "raw", **source, "landing": {**landing, "kafka": kafka}}

    with pytest.raises(ConfigError, match=said):
        project.configure({"source": of})
