"""One set of events gives one result, whatever it is read from: each source is a row of a table."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from recsys_assets.config import Surface
from recsys_assets.events import processes
from recsys_assets.events.days import ParsedDay, parse_day
from recsys_assets.events.erased import Erased
from recsys_assets.events.sources import open_source
from recsys_assets.kinds import KINDS
from recsys_assets.operations.topics import land, landings_of
from recsys_assets.storage.erasures import EraseKey
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import read_live
from recsys_assets.storage.registry import version_of
from recsys_assets_tests.events.conftest import accounted
from recsys_assets_tests.lake import to_delta, to_iceberg
from recsys_assets_tests.shop import make_day

DAY: Final = date(2026, 1, 1)
NEXT: Final = DAY + timedelta(days=1)
COLUMNS: Final[Mapping[str, Any]] = {
    "ts": {"from": "at", "unit": "ms"},
    "tenant": "shop",
    "user_id": "who",
    "session_id": "visit",
    "request_id": "order",
    "item_id": "thing",
    "rank": "place",
}
MAPPED: Final = {
    "columns": COLUMNS,
    "where": {"kind": ["view"]},
    "rank_from": 0,
    "weight": {"column": "kind", "values": {"view": 2}},
}
# The same of a row that lies within another one.
NESTED: Final = {
    **MAPPED,
    "columns": {
        name: {**of, "from": f"e.of.{of['from']}"} if isinstance(of, dict) else f"e.of.{of}"
        for name, of in COLUMNS.items()
    },
    "where": {"e.of.kind": ["view"]},
    "weight": {"column": "e.of.kind", "values": {"view": 2}},
}


def written(number: int) -> dict[str, Any]:
    """Make a row: some of another day, another tenant, another kind, or to be refused.

    Two rows each are of one moment and one user, so that their order tells.
    """
    moment = datetime(2026, 1, 1, 23, 55, tzinfo=UTC) + timedelta(seconds=number // 2)
    return {
        "shop": "other" if number % 31 == 0 else "acme",
        "kind": "buy" if number % 13 == 0 else "view",
        "at": int(moment.timestamp() * 1000),
        "who": None if number % 5 == 0 else f"u{number // 2 % 17}",
        "visit": f" v{number // 9} ",
        "order": f"r{number // 3}",
        "thing": "" if number % 41 == 0 else f"ü{number % 23}",
        "place": number % 8,
    }


# The first of them come again.
ROWS: Final = pl.DataFrame([written(number) for number in [*range(1000), *range(30)]])


def nested(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(e=pl.struct(of=pl.struct(rows.columns)))


@dataclass(frozen=True)
class Fixtures:
    """What a source may need besides a folder; servers are only started when they are asked for."""

    folder: Path
    request: pytest.FixtureRequest
    patch: pytest.MonkeyPatch

    def of_database(self, **keys: Any) -> dict[str, Any]:
        self.patch.setenv("SHOP_DSN", self.request.getfixturevalue("database").url)
        of_table = {"table": "events", "time_column": "at", "order_by": ["number"]}
        return {"type": "postgres", "dsn_env": "SHOP_DSN", **of_table, **keys}

    def files(self, ending: str, write: Callable[[Path], object], **keys: Any) -> dict[str, Any]:
        write(self.folder / f"2026-01-01.{ending}")
        place = {"path": str(self.folder), "pattern": f"{{day}}.{ending}"}
        return {"type": ending, **place, **MAPPED, **keys}


def lines(of: Fixtures) -> dict[str, Any]:
    return of.files("jsonl", ROWS.write_ndjson)


def lines_one_by_one(of: Fixtures) -> dict[str, Any]:
    of.patch.setattr("recsys_assets.events.rows._read_alike", lambda *_, **__: None)
    return lines(of)


def nested_lines(of: Fixtures) -> dict[str, Any]:
    return of.files("jsonl", nested(ROWS).write_ndjson, **NESTED)


def csv(of: Fixtures) -> dict[str, Any]:
    return of.files("csv", ROWS.write_csv)


def parquet(of: Fixtures) -> dict[str, Any]:
    def write(path: Path) -> None:
        nested(ROWS).write_parquet(path, row_group_size=100)

    return of.files("parquet", write, **NESTED)


def delta(of: Fixtures) -> dict[str, Any]:
    to_delta(ROWS, of.folder / "table")
    return {"type": "delta", "path": str(of.folder / "table"), **MAPPED}


def iceberg(of: Fixtures) -> dict[str, Any]:
    to_iceberg(ROWS, of.folder / "table")
    return {"type": "iceberg", "path": str(of.folder / "table"), **MAPPED}


def postgres(of: Fixtures) -> dict[str, Any]:
    of.request.getfixturevalue("database").fill("events", ROWS.with_row_index("number"))
    return of.of_database(**MAPPED)


def documents_in_postgres(of: Fixtures) -> dict[str, Any]:
    database = of.request.getfixturevalue("database")
    texts = ROWS.select("at", text=pl.struct(ROWS.columns).struct.json_encode())
    database.fill("texts", texts.with_row_index("number"))
    database.run(
        "create table events as select number, at, jsonb_build_object('of', text::jsonb) as e "
        "from texts"
    )
    return of.of_database(**NESTED)


def landed_from_kafka(of: Fixtures) -> dict[str, Any]:
    broker = of.request.getfixturevalue("broker")
    of.patch.setenv("TEST_BROKERS", broker.address)
    broker.make("agreeing")
    values = [json.dumps(row).encode() for row in ROWS.iter_rows(named=True)]
    of_day = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp() * 1000)
    broker.send("agreeing", values, at_ms=of_day)
    kafka = {"brokers_env": "TEST_BROKERS", "topic": "agreeing"}
    source = {"path": str(of.folder), "landing": {"kafka": kafka}, **MAPPED}
    (landing,) = landings_of([surface(of.folder, source)])
    assert land(landing, now=datetime(2026, 1, 4, tzinfo=UTC)).lines.total() == ROWS.height
    return source


# Of each source, how its rows of one day are numbered: as lines of a file are, that many further on
# for a header; or by itself.
SOURCES: Final[Mapping[Callable[[Fixtures], dict[str, Any]], int | None]] = {
    lines_one_by_one: 0,
    nested_lines: 0,
    csv: 1,
    parquet: 0,
    delta: 0,
    iceberg: 0,
    postgres: None,
    documents_in_postgres: None,
    landed_from_kafka: None,
}


def surface(folder: Path, source: Mapping[str, Any]) -> Surface:
    catalog = folder / "catalog.jsonl"
    tags = [{"item_id": f"ü{n}", "tags": [f"t{n % 3}", f"t{n % 5}"]} for n in range(23)]
    pl.DataFrame(tags).write_ndjson(catalog)
    return Surface.model_validate(
        {
            "tenant": "acme",
            "surface": "home",
            "start_date": DAY,
            "source": {**source},
            "catalog": {"path": str(catalog)},
            "artifacts": {kind: {} for kind in KINDS},
            "guardrails": {
                "max_outside_window_share": 1.0,
                "max_rejected_share": 1.0,
                "max_rejected_bytes_share": 1.0,
            },
        }
    )


@dataclass(frozen=True)
class Result:
    """What a source gives of the two days."""

    days: tuple[ParsedDay, ParsedDay]
    versions: Mapping[str, str]
    without: ParsedDay  # the first day, once u3 was erased; parsed as another process does

    @property
    def events(self) -> pl.DataFrame:
        return self.days[0].frame.drop("line").collect()

    @property
    def numbers(self) -> pl.Series:
        return self.days[0].frame.select("line").collect()["line"]

    @property
    def counts(self) -> dict[str, int | Counter[str]]:
        """What became of the rows; some sources give a day the rows of that day alone."""
        first, second = self.days
        found: dict[str, int | Counter[str]] = {
            name: getattr(first, name) + getattr(second, name)
            for name in ("lines", "refused", "left_out", "other_surface")
        }
        of_next = second.events + second.redelivered
        return found | {
            "kept": first.events,
            "redelivered": first.redelivered,
            "of the next day": first.outside_window + of_next,
        }


def sent(value: Any) -> Any:
    """Return what another process would get."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


class Apart:
    """Parses as a process would, which has nothing but what it is sent."""

    def __init__(self, surface: Surface) -> None:
        self._source = open_source(sent(surface))

    def ask(self, question: Any) -> Any:
        piece, day = sent(question)
        return sent(self._source.parse(piece, day))

    def end(self) -> None:
        pass


def result(
    folder: Path,
    fill: Callable[[Fixtures], dict[str, Any]],
    request: pytest.FixtureRequest,
    patch: pytest.MonkeyPatch,
) -> Result:
    for name in ("raw", "scratch"):
        (folder / name).mkdir()
    of = surface(folder / "raw", fill(Fixtures(folder / "raw", request, patch)))
    store = LocalStore(folder / "var")
    make_day(store, of, DAY)
    live = read_live(store, of.place)
    assert live is not None
    first, second = (parse_day(of, day, scratch=folder / "scratch") for day in (DAY, NEXT))
    versions = {kind: version_of(uri) for kind, uri in live.current.items()}
    key = EraseKey(of.place, b"a key of the tests")
    (folder / "without").mkdir()
    patch.setattr(processes, "_Process", Apart)
    by_processes = of.model_copy(update={"source": of.source.model_copy(update={"processes": 1})})
    erased = Erased(key, [key.entry("u3")])
    without = parse_day(by_processes, DAY, scratch=folder / "without", erased=erased)
    return Result((first, second), versions, without)


@pytest.fixture(scope="module")
def of_lines(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Result:
    """What lines of JSON give, which the other sources are held to."""
    with pytest.MonkeyPatch.context() as patch:
        return result(tmp_path_factory.mktemp("lines"), lines, request, patch)


def test_what_can_become_of_a_row_becomes_of_some_and_every_kind_is_made(of_lines: Result) -> None:
    assert {*of_lines.versions} == {*KINDS}
    assert all(of_lines.counts.values())
    assert of_lines.counts["kept"] == of_lines.events.height > 400


@pytest.mark.parametrize("fill", SOURCES, ids=lambda fill: fill.__name__)
def test_the_same_events_become_the_same_versions(
    of_lines: Result,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    fill: Callable[[Fixtures], dict[str, Any]],
) -> None:
    found = result(tmp_path, fill, request, monkeypatch)

    assert found.versions == of_lines.versions
    assert found.events.equals(of_lines.events)
    assert found.counts == of_lines.counts
    for parsed in (*found.days, found.without):
        assert accounted(parsed) + parsed.left_out + parsed.erased == parsed.lines
    stay = found.days[0].frame.filter(pl.col("user_id").ne_missing("u3")).collect()
    assert 0 < found.without.erased == found.days[0].events - stay.height
    assert found.without.frame.collect().equals(stay)
    if (further := SOURCES[fill]) is not None:
        assert found.numbers.equals(of_lines.numbers + further)
    else:
        assert found.numbers.is_sorted()
