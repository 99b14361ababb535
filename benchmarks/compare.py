"""Time the four event artifacts of one day against DuckDB and against plain Polars.

All three read the same raw lines and end with the same four tables, sorted as they are published;
the rows and the sums of counts are compared, so that nobody wins by computing less. What only this
project does on top (refusing and keeping bad lines, checks, documents and their hashes, publishing
through Dagster) is included in its figures. Each contender is a process of its own, and they take
turns, so that a machine that is busy with other things slows down all of them.

DuckDB and Polars do what a good user of either would write. DuckDB: one table with the needed
columns, a window function for the first event of a user, a self-join on distinct
(session, item). Polars: one lazy scan, the self-join on strings.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import inputs
import measure
from day import DAY, INSTANCE, configuration

CONTENDERS = ("recsys_assets", "duckdb", "polars")
MIN_SUPPORT = 2
MAX_NEIGHBOURS = 50
MAX_ITEMS_PER_SESSION = 200


def with_duckdb(raw: Path) -> dict[str, list[int]]:
    """Compute the artifacts in SQL."""
    import duckdb

    db = duckdb.connect()
    db.execute(
        """
        CREATE TABLE events AS
        SELECT row_number() OVER () AS line, ts::TIMESTAMP AS ts, session_id, item_id,
               nullif(trim(user_id), '') AS user_id
        FROM (
            SELECT DISTINCT ON (request_id, ts, session_id, item_id, user_id, rank) *
            FROM read_json(?, format = 'newline_delimited', columns = {
                v: 'INTEGER', ts: 'VARCHAR', tenant: 'VARCHAR', surface: 'VARCHAR',
                session_id: 'VARCHAR', user_id: 'VARCHAR', request_id: 'VARCHAR',
                item_id: 'VARCHAR', rank: 'BIGINT'})
            WHERE v = 1 AND tenant = 'demo' AND surface = 'home'
        )
        """,
        [str(raw)],
    )
    db.execute(
        """
        CREATE TABLE popularity AS
        SELECT item_id, count(*) AS count FROM events GROUP BY item_id
        ORDER BY count DESC, item_id
        """
    )
    db.execute(
        f"""
        CREATE TABLE cooc AS
        WITH pairs AS (
            SELECT DISTINCT session_id, item_id FROM events
        ), kept AS (
            SELECT * FROM pairs WHERE session_id NOT IN (
                SELECT session_id FROM pairs GROUP BY session_id
                HAVING count(*) > {MAX_ITEMS_PER_SESSION})
        ), counted AS (
            SELECT a.item_id AS item_id, b.item_id AS neighbour_id, count(*) AS count
            FROM kept a JOIN kept b ON a.session_id = b.session_id AND a.item_id <> b.item_id
            GROUP BY ALL HAVING count(*) >= {MIN_SUPPORT}
        )
        SELECT * FROM counted
        QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY count DESC, neighbour_id)
            <= {MAX_NEIGHBOURS}
        ORDER BY item_id, count DESC, neighbour_id
        """  # noqa: S608 (constants of this file)
    )
    db.execute(
        """
        CREATE TABLE implicit AS
        SELECT user_id, item_id, count(*) AS count FROM events WHERE user_id IS NOT NULL
        GROUP BY ALL ORDER BY user_id, count DESC, item_id
        """
    )
    db.execute(
        """
        CREATE TABLE session_seq AS
        SELECT user_id, item_id, count(*) AS count FROM (
            SELECT user_id, item_id,
                   row_number() OVER (PARTITION BY user_id ORDER BY ts, line) AS place
            FROM events WHERE user_id IS NOT NULL
        ) WHERE place > 1 GROUP BY ALL ORDER BY user_id, count DESC, item_id
        """
    )
    found = {}
    for kind in ("popularity", "cooc", "implicit", "session_seq"):
        row = db.execute(f"SELECT count(*), sum(count) FROM {kind}").fetchone()  # noqa: S608
        assert row is not None
        found[kind] = [int(value) for value in row]
    return found


def with_polars(raw: Path) -> dict[str, list[int]]:
    """Compute the artifacts the way one writes them first."""
    import polars as pl

    columns = {
        "v": pl.Int64,
        "ts": pl.String,
        "tenant": pl.String,
        "surface": pl.String,
        "session_id": pl.String,
        "user_id": pl.String,
        "request_id": pl.String,
        "item_id": pl.String,
        "rank": pl.Int64,
    }
    events = (
        pl.scan_ndjson(raw, schema=columns)
        .with_row_index("line")
        .filter(pl.col("v") == 1, pl.col("tenant") == "demo", pl.col("surface") == "home")
        .unique(["request_id", "ts", "session_id", "item_id", "user_id", "rank"], keep="any")
        .select(
            "line",
            "session_id",
            "item_id",
            pl.col("ts").str.to_datetime(time_zone="UTC", time_unit="ns"),
            pl.col("user_id").replace("", None),
        )
        .collect(engine="streaming")
        .lazy()
    )
    known = events.filter(pl.col("user_id").is_not_null())
    pairs = events.select("session_id", "item_id").unique()
    kept = pairs.filter(pl.len().over("session_id") <= MAX_ITEMS_PER_SESSION)
    plans = {
        "popularity": events.group_by("item_id")
        .agg(count=pl.len())
        .sort("count", "item_id", descending=[True, False]),
        "cooc": kept.join(kept, on="session_id", suffix="_b")
        .filter(pl.col("item_id") != pl.col("item_id_b"))
        .group_by("item_id", pl.col("item_id_b").alias("neighbour_id"))
        .agg(count=pl.len())
        .filter(pl.col("count") >= MIN_SUPPORT)
        .sort("item_id", "count", "neighbour_id", descending=[False, True, False])
        .group_by("item_id", maintain_order=True)
        .head(MAX_NEIGHBOURS),
        "implicit": known.group_by("user_id", "item_id")
        .agg(count=pl.len())
        .sort("user_id", "count", "item_id", descending=[False, True, False]),
        "session_seq": known.sort("user_id", "ts", "line")
        .filter(pl.col("user_id") == pl.col("user_id").shift())
        .group_by("user_id", "item_id")
        .agg(count=pl.len())
        .sort("user_id", "count", "item_id", descending=[False, True, False]),
    }
    found = {}
    for kind, plan in plans.items():
        frame = plan.collect(engine="streaming")
        found[kind] = [frame.height, int(frame["count"].sum())]
    return found


def of_documents(root: Path) -> dict[str, list[int]]:
    """Count what this project has published, as the others count their tables."""
    manifest = json.loads((root / "registry/current/demo/home/manifest.json").read_bytes())
    found = {}
    for kind, uri in manifest["current"].items():
        if kind == "publication":
            continue
        document = json.loads(Path(uri.removeprefix("file://")).read_bytes())
        if kind == "popularity":
            counts = [entry["count"] for entry in document["items"]]
        elif kind == "cooc":
            counts = [i["count"] for entry in document["neighbors"] for i in entry["items"]]
        else:
            counts = [i["score"] for entry in document["users"] for i in entry["items"]]
        found[kind] = [len(counts), int(sum(counts))]
    return found


def one(
    name: str, folder: Path, raw: Path, number: int
) -> tuple[measure.Cost, dict[str, list[int]]]:
    """Run one contender in a process of its own."""
    log = folder / "log"
    if name != "recsys_assets":
        cost = measure.run(
            [sys.executable, __file__, "--contender", name, "--file", str(raw)], log=log
        )
        return cost, json.loads(cost.output)
    home, root = folder / f"dagster{number}", folder / f"var{number}"
    home.mkdir()
    shutil.copy(INSTANCE, home)
    environment = {
        "DAGSTER_HOME": str(home),
        "RECSYS_CONFIG": str(configuration(folder)),
        "RECSYS_ROOT": str(root),
    }
    days = ["--from", str(DAY), "--to", str(DAY), "--json"]
    command = [sys.executable, "-m", "recsys_assets.cli", "materialize", *days]
    cost = measure.run(command, env=environment, log=log)
    if number:
        return cost, {}
    # In a process of its own: the peak of memory of those that are measured starts at ours.
    counted = measure.run(
        [sys.executable, __file__, "--contender", "documents", "--file", str(root)], log=log
    )
    return cost, json.loads(counted.output)


def main() -> None:
    """Read the command line, generate, take turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    inputs.add_input(parser)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--without", choices=CONTENDERS, action="append", default=[])
    parser.add_argument("--folder", type=Path, help="where to write")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        run = {"duckdb": with_duckdb, "polars": with_polars, "documents": of_documents}[
            options.contender
        ]
        print(json.dumps(run(options.file)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        raw = folder / f"raw/demo/home/exposure.{DAY}.jsonl"
        print(f"input: {inputs.prepare(options, raw)}")
        print(f"machine: {measure.environment()}\n")
        compare(folder, raw, [c for c in CONTENDERS if c not in options.without], options.runs)


def compare(folder: Path, raw: Path, contenders: list[str], runs: int) -> None:
    """Let the contenders take turns; print medians, and ratios to the first."""
    costs: dict[str, list[measure.Cost]] = {name: [] for name in contenders}
    results: dict[str, dict[str, list[int]]] = {}
    for number in range(runs):
        for name in contenders:
            cost, found = one(name, folder, raw, number)
            costs[name].append(cost)
            results.setdefault(name, found)
    expected = results[contenders[0]]
    for name in contenders:
        assert results[name] == expected, f"{name} computed {results[name]}, not {expected}"
    print(f"same tables: {json.dumps(expected)} (rows, sum of counts)\n")
    medians = {name: measure.median(of) for name, of in costs.items()}
    base = medians[contenders[0]]
    for name, cost in medians.items():
        print(f"{name:16}{cost}  {contenders[0]} is {measure.ratios(base, cost)} of it")
    print(f"\nmedians of {runs} runs in turns; ratios of wall, CPU and peak")


if __name__ == "__main__":
    main()
