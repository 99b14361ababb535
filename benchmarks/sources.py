"""Time, CPU and peak memory of canonical events from each source, of the same generated events.

Each reading is a process of its own, which includes about a second of imports: that is measured
too, on a day without events. The sources take turns, so that a busy machine is busy for all.

The table of Postgres has the day before and the day after too, each with as many rows; its server
is not counted. Nor is the broker, from which the raw lines are landed as messages.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import inputs
import kafka
import measure
import polars as pl
import yaml

sys.path.insert(1, str(Path(__file__).parents[1]))  # for the servers of the tests
from recsys_assets_tests import postgres
from recsys_assets_tests.operations.kafka import noida

DAY = date(2026, 1, 1)
DSN = "BENCHMARK_DSN"
TABLE = f"raw/demo/home/exposure.{DAY}"
FURTHER = '"event":"view_item","device":{"os":"ios","v":17},"price":12.5'
ESCAPED = rf'{FURTHER},"title":"caf\u00e9 \"au lait\""'
MAPPED = {
    "columns": {
        "ts": "shown_at",
        "user_id": ["login", "visitor"],
        "session_id": "visit.id",
        "request_id": "query",
        "item_id": "product.sku",
        "rank": "product.position",
    },
    "where": {"event": ["view"]},
}
NAMES = ["ts", "user_id", "session_id", "request_id", "item_id", "rank"]
BY_USER = {name: name for name in NAMES if name != "session_id"}


def with_fields(raw: Path, path: Path, fields: str) -> None:
    """Write the raw lines with further fields in each."""
    text = raw.read_bytes().replace(b"}\n", b"," + fields.encode() + b"}\n")
    path.write_bytes(text)


def otherwise(raw: Path, path: Path) -> None:
    """Write the events as lines of JSON with other, nested, fields."""
    frame = pl.read_ndjson(raw).select(
        pl.lit("view").alias("event"),
        pl.col("ts").alias("shown_at"),
        pl.lit(None, pl.String).alias("login"),
        pl.col("user_id").alias("visitor"),
        pl.struct(pl.col("session_id").alias("id"), pl.lit("ios").alias("os")).alias("visit"),
        pl.col("request_id").alias("query"),
        pl.struct(pl.col("item_id").alias("sku"), pl.col("rank").alias("position")).alias(
            "product"
        ),
    )
    frame.write_ndjson(path)


def typed(raw: Path) -> pl.DataFrame:
    """Return the events with times that are times."""
    frame = pl.read_ndjson(raw)
    return frame.select(pl.col("ts").str.to_datetime(time_zone="UTC"), *NAMES[1:])


def to_postgres(raw: Path, _: Path) -> None:
    """Write the events of the day, and of the days beside it, into an empty table of a server."""
    frame = typed(raw)
    server = postgres.Database(int(os.environ[DSN].rsplit(":")[-1].partition("/")[0]))
    for days in (-1, 0, 1):
        server.fill("events", frame.with_columns(pl.col("ts").dt.offset_by(f"{days}d")))
    server.run(
        "alter table events add column id bigserial primary key",
        "create index on events (ts)",
        "analyze events",
    )


def to_delta(raw: Path, path: Path) -> None:
    """Write the events to a Delta table."""
    from recsys_assets_tests import lake  # not above: reading would take the time of the import

    lake.to_delta(typed(raw), path)


def to_iceberg(raw: Path, path: Path) -> None:
    """Write the events to an Iceberg table."""
    from recsys_assets_tests import lake

    lake.to_iceberg(typed(raw), path)


# How the events are written, and the keys of the source that read them.
SOURCES: Mapping[str, tuple[str, dict[str, Any], Callable[[Path, Path], None]]] = {
    "JSON lines, raw events v1": ("jsonl", {}, lambda raw, path: path.hardlink_to(raw)),
    "the same, three more fields": ("jsonl", {}, lambda raw, path: with_fields(raw, path, FURTHER)),
    "the same, and an escape": ("jsonl", {}, lambda raw, path: with_fields(raw, path, ESCAPED)),
    "JSON lines, mapped and nested": ("jsonl", MAPPED, otherwise),
    "CSV": (
        "csv",
        {"type": "csv"},
        lambda raw, path: pl.read_ndjson(raw).select(NAMES).write_csv(path),
    ),
    "the same, sessions are built": (
        "csv",
        {"type": "csv", "columns": BY_USER, "sessions": {"gap_minutes": 30}},
        lambda raw, path: pl.read_ndjson(raw).select(NAMES).write_csv(path),
    ),
    "Parquet": (
        "parquet",
        {"type": "parquet"},
        lambda raw, path: typed(raw).write_parquet(path),
    ),
    "Delta": (
        "delta",
        {"type": "delta", "path": f"{TABLE}.delta"},
        to_delta,
    ),
    "Delta, order_by": (
        "delta",
        {"type": "delta", "path": f"{TABLE}.delta", "order_by": ["ts", "request_id", "rank"]},
        to_delta,
    ),
    "Iceberg": (
        "iceberg",
        {"type": "iceberg", "path": f"{TABLE}.iceberg"},
        to_iceberg,
    ),
    "Postgres, a day of three": (
        "",
        {
            "type": "postgres",
            "dsn_env": DSN,
            "table": "events",
            "time_column": "ts",
            "order_by": ["id"],
        },
        to_postgres,
    ),
}


def read(folder: Path) -> None:
    """Read the day in this process, and say what became of it."""
    from recsys_assets.audit.events import audit_events
    from recsys_assets.audit.shared import Shared
    from recsys_assets.config import load_config
    from recsys_assets.storage import open_store

    (surface,) = load_config(folder / "surfaces.yaml").surfaces
    store = open_store(str(folder / "var"))
    with store.scratch() as scratch:
        found = audit_events(store, surface, DAY, scratch, Shared())
    print(json.dumps([found.shown["dagster/row_count"], sorted(found.failures)]))


def write(folder: Path, ending: str, keys: Mapping[str, Any]) -> Path:
    """Write the configuration of a source; return where its raw file goes."""
    surface = {
        "tenant": "demo",
        "surface": "home",
        "start_date": DAY,
        "source": {**keys} if "dsn_env" in keys else {"path": "raw", **keys},
        "artifacts": {"popularity": {}},
        "guardrails": {"min_events": 0},
    }
    raw = folder / f"{TABLE}.{ending}"
    raw.parent.mkdir(parents=True)
    (folder / "surfaces.yaml").write_text(yaml.safe_dump({"root": "var", "surfaces": [surface]}))
    return raw


def main() -> None:
    """Read the command line, write the inputs, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    inputs.add_input(parser)
    parser.add_argument("--runs", type=int, default=5, help="the medians are shown")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(options.read)
        return
    if options.write:
        name, *paths = options.write
        SOURCES[name][2](*map(Path, paths))
        return
    programs = postgres.programs()
    if programs is None:
        sys.exit("PostgreSQL is not installed (Debian: postgresql)")
    with ExitStack() as open_, tempfile.TemporaryDirectory() as made:
        os.environ[DSN] = open_.enter_context(postgres.running(programs)).url
        (Path(made) / "broker").mkdir()
        broker = open_.enter_context(noida(Path(made) / "broker"))
        raw = Path(made) / "events.jsonl"
        what = inputs.prepare(options, raw)
        print(f"machine: {measure.environment()}")
        print(f"input: {what}; medians of {options.runs} runs, the sources in turns\n")
        folders = {"no events": Path(made) / "nothing"}
        write(folders["no events"], "jsonl", {}).touch()
        for number, (name, (ending, keys, _)) in enumerate(SOURCES.items()):
            folders[name] = Path(made) / str(number)
            path = write(folders[name], ending, keys)
            # Not in this process: what it takes would count as the peak of its children.
            command = [sys.executable, __file__, "--write", name, str(raw), str(path)]
            measure.run(command, log=folders[name] / "log")
        with raw.open("rb") as lines:
            kafka.fill(broker, (line.rstrip(b"\n") for line in lines))
        messages = raw.read_bytes().count(b"\n")
        landings = []
        costs: dict[str, list[measure.Cost]] = {name: [] for name in folders}
        for run in range(options.runs):
            landings.append(kafka.land(broker, Path(made) / f"landed{run}", messages))
            for name, folder in folders.items():
                command = [sys.executable, __file__, "--read", str(folder)]
                costs[name].append(measure.run(command, log=folder / "log"))
        imports = measure.median(costs["no events"]).cpu_s
        plain = measure.median(costs[next(iter(SOURCES))]).cpu_s - imports
        for name, each in costs.items():
            cost = measure.median(each)
            ratio = (cost.cpu_s - imports) / plain
            print(f"{name:32}{cost}  CPU beyond imports: {ratio:5.2f}  {each[-1].output.strip()}")
        print(f"{'Kafka, landed as raw files':32}{measure.median(landings)}")


if __name__ == "__main__":
    main()
