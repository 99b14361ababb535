"""Days of Delta and Iceberg tables: which rows, in which order, and which days a commit changes."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyiceberg.catalog
import pytest
import yaml
from deltalake import DeltaTable, WriterProperties, write_deltalake
from pyiceberg.catalog import load_catalog
from pyiceberg.transforms import IdentityTransform
from pyiceberg.utils.config import Config

from recsys_assets.config import Surface
from recsys_assets.config.sources import Source
from recsys_assets.errors import ConfigError, RawEventsError, StoreUnavailableError
from recsys_assets.events.days import ParsedDay, parse_day
from recsys_assets.events.sources import data_files, delta, open_source, tables
from recsys_assets.live.inputs import inputs_of
from recsys_assets.live.trace import trace
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.config.files import UNTOLD
from recsys_assets_tests.events.conftest import places, provenance, rejected
from recsys_assets_tests.lake import (
    catalog,
    delete_from_delta,
    delete_from_iceberg,
    hinted,
    to_delta,
    to_iceberg,
)
from recsys_assets_tests.shop import make_day
from recsys_assets_tests.storage.conftest import new_prefix, use
from recsys_assets_tests.storage.servers import Server
from recsys_assets_tests.test_docs import page as read

DAY: Final = date(2026, 1, 1)
MAPPED: Final = {"ts": "t", "session_id": "s", "item_id": "i"}


def at(day: int, hour: int = 10) -> datetime:
    """Return a time of the n-th day, from 0."""
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day, hours=hour)


def rows(*items: str, on: int | Sequence[int] = 0, **columns: Any) -> pl.DataFrame:
    days = [on] * len(items) if isinstance(on, int) else on
    times = [at(day) for day in days]
    return pl.DataFrame({"t": times, "s": ["a"] * len(items), "i": items, **columns})


@dataclass
class Lake:
    """A table of a format, and a surface that reads it."""

    folder: Path
    format: str
    name: str = "table"

    @property
    def path(self) -> Path:
        return self.folder / self.name

    def append(self, frame: pl.DataFrame, **options: Any) -> None:
        (to_delta if self.format == "delta" else to_iceberg)(frame, self.path, **options)

    def surface(self, **keys: Any) -> Surface:
        source = {"type": self.format, "path": str(self.path), "columns": MAPPED, **keys}
        return Surface.model_validate(
            {
                "tenant": "acme",
                "surface": "home",
                "start_date": DAY,
                "source": {name: of for name, of in source.items() if of is not None},
                "artifacts": {"popularity": {}},
            }
        )

    def parse(self, day: int = 0, **keys: Any) -> ParsedDay:
        scratch = self.folder / f"scratch-{len(list(self.folder.iterdir()))}"
        scratch.mkdir()
        return parse_day(self.surface(**keys), DAY + timedelta(days=day), scratch=scratch)

    def states(self, **keys: Any) -> dict[int, list[str]]:
        """Return the states of the inputs of each day."""
        landed = open_source(self.surface(**keys)).landed()
        return {(day - DAY).days: [of.tag for of in files] for day, files in landed.items()}


@pytest.fixture(params=["delta", "iceberg"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    return Lake(tmp_path, request.param)


def items(parsed: ParsedDay) -> list[str]:
    return parsed.frame.select("item_id").collect().to_series().to_list()


# Which days a commit changes


def test_the_version_is_told_and_does_not_change_a_day(lake: Lake) -> None:
    lake.append(rows("x"))
    before = lake.parse()
    lake.append(rows("y", on=1))
    after = lake.parse()

    assert provenance(before).fingerprint == provenance(after).fingerprint
    versions = [provenance(of).files[0].version for of in (before, after)]
    assert versions[0] != versions[1]
    assert versions == [provenance(of).files[0].version for of in (before, after)]
    if lake.format == "delta":
        assert versions == ["0", "1"]


def test_a_commit_changes_the_days_that_it_has_rows_of_and_no_day_between(lake: Lake) -> None:
    lake.append(rows("a", "b", "c", "d", on=[0, 1, 2, 9]))
    before = lake.states()
    lake.append(rows("late", "new", on=[1, 10]))
    after = lake.states()

    assert sorted(before) == [0, 1, 2, 9]
    assert sorted(after) == [0, 1, 2, 9, 10]
    assert {day for day in after if after[day] != before.get(day)} == {1, 10}
    assert [items(lake.parse(day)) for day in (0, 2, 5)] == [["a"], ["c"], []]
    assert sorted(items(lake.parse(1))) == ["b", "late"]


def test_a_file_is_looked_into_once_and_only_where_its_bounds_do_not_tell(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_known", {})
    looked: list[int] = []
    days_in = data_files.days_in

    def counted(*of: Any) -> set[date]:
        looked.append(1)
        return days_in(*of)

    monkeypatch.setattr(tables, "days_in", counted)
    for number in range(3):
        lake.append(rows("a", "b", on=number))
    lake.states()
    assert not looked
    lake.append(rows("a", "b", on=[0, 2]))
    for _ in range(3):
        assert {day: len(of) for day, of in lake.states().items()} == {0: 2, 1: 1, 2: 2}
    assert looked == [1]


def test_rows_of_a_day_that_are_in_row_groups_of_others_are_found_by_their_real_number(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_files, "BATCH_ROWS", 3)
    on = [number // 10 % 3 for number in range(100)]
    frame = rows(*map(str, range(100)), on=on)
    if lake.format == "delta":
        lake.append(frame, writer_properties=WriterProperties(max_row_group_size=15))
    else:
        properties = {"write.parquet.row-group-limit": "15"}
        lake.append(frame, properties=properties)

    for day in range(3):
        parsed = lake.parse(day)
        assert items(parsed) == [str(number) for number in range(100) if on[number] == day]
        assert places(parsed) == [(0, int(item) + 1) for item in items(parsed)]
        assert (parsed.outside_window, parsed.lines) == (0, parsed.events)


def test_a_version_that_is_begun_is_read_to_the_end(lake: Lake) -> None:
    lake.append(rows("x"))
    source = open_source(lake.surface())
    names = source.inputs(DAY)
    lake.append(rows("y"))

    assert source.inputs(DAY) == names
    assert len(open_source(lake.surface()).inputs(DAY)) == 2


def test_a_file_that_was_vacuumed_meanwhile_is_an_error_that_says_so(lake: Lake) -> None:
    lake.append(rows("x"))
    source = open_source(lake.surface())
    (name,) = source.inputs(DAY)
    if lake.format == "delta":
        write_deltalake(lake.path, rows("y"), mode="overwrite")
        DeltaTable(lake.path).vacuum(0, enforce_retention_duration=False, dry_run=False)
    else:
        (lake.path / name).unlink()

    with (
        pytest.raises(RawEventsError, match=r"is not there, though version .* has it") as raised,
        source.open(name, [DAY]) as reading,
    ):
        list(reading.pieces())
    assert "VACUUM" in str(raised.value)


def test_a_compacted_table_makes_its_days_again_and_they_are_the_same_by_order_by(
    tmp_path: Path,
) -> None:
    lake = Lake(tmp_path, "delta")
    for number in range(6):
        lake.append(rows(f"i{number}", f"j{number}", n=[-number, number]))
    by_file, ordered = lake.parse(), lake.parse(order_by=["n", "i"])
    DeltaTable(lake.path).optimize.compact()
    again = lake.parse(order_by=["n", "i"])

    assert len(lake.parse().files) == 1
    assert again.fingerprint != ordered.fingerprint
    assert again.frame.collect().equals(ordered.frame.collect())
    assert items(again) == [f"i{number}" for number in range(5, 0, -1)] + ["i0", "j0"] + [
        f"j{number}" for number in range(1, 6)
    ]
    assert sorted(items(by_file)) == sorted(items(ordered))
    assert places(again) == [(0, number) for number in range(1, 13)]


# Which rows


def test_deleted_rows_are_left_out_and_the_others_keep_their_numbers(lake: Lake) -> None:
    lake.append(rows("a", "b", "c", "d", "e"))
    before = lake.states()
    (name,) = open_source(lake.surface()).inputs(DAY)
    if lake.format == "delta":
        delete_from_delta(lake.path, name, [1, 3])
    else:
        table = catalog(lake.folder / "catalog").load_table("shop.events")
        delete_from_iceberg(table, f"{lake.path}/{name}", [1, 3], lake.path)

    parsed = lake.parse()
    assert items(parsed) == ["a", "c", "e"]
    assert places(parsed) == [(0, 1), (0, 3), (0, 5)]
    assert lake.states() != before


def test_refused_rows_are_kept_with_file_and_row(lake: Lake) -> None:
    lake.append(rows("a", "", "c", "d", on=[1, 0, 0, 1]))
    parsed = lake.parse()

    (name,) = open_source(lake.surface()).inputs(DAY)
    (entry,) = rejected(parsed)
    assert (entry["file"], entry["line"], entry["reason"]) == (name, 2, "missing_id")
    assert '"i": ""' in entry["raw"]
    assert not lake.parse(1).refused


def test_a_row_without_a_time_is_refused_on_the_days_of_its_file(lake: Lake) -> None:
    frame = rows("a", "b", "c").with_columns(t=pl.Series([at(0), None, at(2)]))
    lake.append(frame)

    assert [lake.parse(day).refused for day in range(3)] == [
        {"bad_timestamp": 1}, {}, {"bad_timestamp": 1},
    ]  # fmt: skip


def test_row_groups_of_other_days_are_not_read_unless_rows_of_them_tell_no_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path, "delta")
    times = [at(0), at(0), at(1), at(1), at(2), None]
    frame = rows(*"abcdef").with_columns(t=pl.Series(times))
    lake.append(frame, writer_properties=WriterProperties(max_row_group_size=2))
    lake.states()  # which looks into the file, once
    read: list[int] = []
    iter_batches = pq.ParquetFile.iter_batches

    def counted(self: pq.ParquetFile, *of: Any, row_groups: list[int], **keys: Any) -> Any:
        read.extend(row_groups)
        return iter_batches(self, *of, row_groups=row_groups, **keys)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    parsed = lake.parse(1)
    assert (items(parsed), parsed.refused, read) == (["c", "d"], {"bad_timestamp": 1}, [1, 2])


def test_files_of_a_table_may_hold_the_same_and_one_nothing_but_a_refused_row(lake: Lake) -> None:
    for _ in range(2):
        lake.append(rows("x"))
    lake.append(rows(""))
    parsed = lake.parse()
    assert (items(parsed), parsed.refused.total()) == (["x", "x"], 1)
    assert parsed.refused_files == []


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ([at(0), at(1)], {}),
        ([at(0).replace(tzinfo=None), at(1).replace(tzinfo=None)], {"time_zone": "UTC"}),
        ([int(at(day).timestamp() * 1000) for day in (0, 1)], {"unit": "ms"}),
        ([at(day).timestamp() for day in (0, 1)], {"unit": "s"}),
        (["2026-01-01T10:00:00Z", "2026-01-02T10:00:00Z"], {}),
        (
            ["10:00 01/01/2026", "09:00 02/01/2026"],
            {"format": "%H:%M %d/%m/%Y", "time_zone": "UTC"},
        ),
        ([date(2026, 1, 1), date(2026, 1, 2)], {"time_zone": "UTC"}),
    ],
)
def test_a_day_is_told_by_ts_however_it_is_written(
    lake: Lake, values: list[Any], keys: dict[str, str]
) -> None:
    lake.append(rows("x", "y").with_columns(t=pl.Series(values)))
    columns = {**MAPPED, "ts": {"from": "t", **keys}}

    assert sorted(lake.states(columns=columns)) == [0, 1]
    assert [items(lake.parse(day, columns=columns)) for day in (0, 1)] == [["x"], ["y"]]


def test_naive_times_are_of_the_utc_day_that_they_are_in_their_zone(lake: Lake) -> None:
    naive = [datetime(2026, 1, 1, 15), datetime(2026, 1, 1, 17)]  # in Los Angeles: 23 h, 1 h
    lake.append(rows("x", "y").with_columns(t=pl.Series(naive)))
    keys = {"time_zone": "America/Los_Angeles"}

    assert [items(lake.parse(day, **keys)) for day in (0, 1)] == [["x"], ["y"]]


def test_a_partition_of_texts_tells_the_day_as_ts_does(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "delta")
    frame = rows("x", "y", "z").with_columns(t=pl.Series(["2026-01-01 10", "2026-01-02 09", "?"]))
    lake.append(frame, partition_by=["t"])
    keys = {"columns": {**MAPPED, "ts": {"from": "t", "format": "%Y-%m-%d %H"}}, "time_zone": "UTC"}

    assert sorted(lake.states(**keys)) == [0, 1]
    assert [items(lake.parse(day, **keys)) for day in (0, 1)] == [["x"], ["y"]]


@pytest.mark.parametrize(
    "values", [[date(2026, 1, 1), date(2026, 1, 2)], ["2026-01-01", "2026-01-02"]]
)
def test_a_day_is_told_by_a_partition_and_what_else_it_holds_is_outside_of_it(
    lake: Lake, values: list[Any]
) -> None:
    frame = rows("x", "y", "z", on=[0, 1, 1]).with_columns(dt=pl.Series([values[0], *values]))
    if lake.format == "delta":
        lake.append(frame, partition_by=["dt"])
    else:
        lake.append(frame.clear())
        table = catalog(lake.folder / "catalog").load_table("shop.events")
        with table.update_spec() as update:
            update.add_field("dt", IdentityTransform(), "dt")
        lake.append(frame)

    parsed = lake.parse(time_column="dt")
    assert (items(parsed), parsed.outside_window) == (["x"], 1)
    assert items(lake.parse(1, time_column="dt")) == ["z"]
    assert len(lake.states(time_column="dt")) == 2


def test_files_that_are_older_than_a_column_have_none_of_it(lake: Lake) -> None:
    lake.append(rows("x"))
    more = rows("y", u=["ann"])
    if lake.format == "delta":
        lake.append(more, schema_mode="merge")
    else:
        table = catalog(lake.folder / "catalog").load_table("shop.events")
        with table.update_schema() as update:
            update.union_by_name(more.to_arrow().schema)
        lake.append(more)

    parsed = lake.parse(columns={**MAPPED, "user_id": "u"})
    found = parsed.frame.select("item_id", "user_id").collect().rows()
    assert sorted(found) == [("x", None), ("y", "ann")]


def test_columns_of_iceberg_go_by_their_id_and_not_by_their_name(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "iceberg")
    lake.append(rows("x", p=[{"a": 1}]))
    table = catalog(lake.folder / "catalog").load_table("shop.events")
    with table.update_schema() as update:
        update.rename_column("i", "sku")
        update.rename_column("s", "i")
    hinted(table, lake.path)

    columns = {"ts": "t", "session_id": "i", "item_id": "sku"}
    found = lake.parse(columns=columns).frame.select("item_id", "session_id").collect()
    assert found.rows() == [("x", "a")]

    with table.update_schema() as update:
        update.rename_column("p.a", "b")
    hinted(table, lake.path)
    assert items(lake.parse(columns=columns)) == ["x"]
    with pytest.raises(RawEventsError, match="'a' within column 'p' is called 'b' by now"):
        lake.parse(columns={**columns, "rank": "p.b"})


def test_fields_within_a_column_that_are_newer_than_a_file_are_not_there(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "delta")
    lake.append(rows("x", p=[{"a": "q"}]))
    lake.append(rows("y", p=[{"a": "q", "b": "r"}]), schema_mode="merge")

    parsed = lake.parse(columns={**MAPPED, "user_id": "p.b"})
    assert sorted(parsed.frame.select("item_id", "user_id").collect().rows()) == [
        ("x", None), ("y", "r"),
    ]  # fmt: skip


def test_entries_of_lists_and_of_maps_are_found(lake: Lake) -> None:
    entries = [[{"sku": "x", "n": 0}, {"sku": "y", "n": 1}], [], None]
    pairs = pa.array([[("visit", "v1")]] * 3, pa.map_(pa.string(), pa.string()))
    table = rows("-", "-", "-").to_arrow().append_column("p", pairs)
    table = table.append_column("items", pa.array(entries))
    if lake.format == "delta":
        write_deltalake(lake.path, table)
    else:
        found = catalog(lake.folder / "catalog")
        found.create_namespace("shop")
        made = found.create_table("shop.events", schema=table.schema, location=str(lake.path))
        made.append(table)
        hinted(made, lake.path)

    columns = {"ts": "t", "session_id": "p[visit]", "item_id": "item.sku", "rank": "item.n"}
    parsed = lake.parse(columns=columns, explode="items")
    events = parsed.frame.select("item_id", "session_id", "rank", "line", "part").collect()
    assert events.rows() == [("x", "v1", 0, 1, 0), ("y", "v1", 1, 1, 1)]
    assert parsed.left_out == 2


def test_names_of_partitions_are_decoded(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "delta")
    lake.append(rows("x", "y", k=["a b:c", "ü%x"]), partition_by=["k"])
    parsed = lake.parse(columns={**MAPPED, "user_id": "k"})
    assert sorted(parsed.frame.select("user_id").collect().to_series()) == ["a b:c", "ü%x"]


def test_of_a_file_of_many_days_those_around_are_read_and_no_others(lake: Lake) -> None:
    days = range(20)
    requests = ["r", "r", *(f"r{day}" for day in days[2:-1]), "r"]
    lake.append(rows(*(f"i{day}" for day in days), on=[*days], request=requests))
    keys = {"columns": {**MAPPED, "request_id": "request"}, "deduplicate_by": "request_id"}

    for order in ([], ["t"]):
        first, second, last = (
            lake.parse(day, **keys, days_around=1, order_by=order) for day in (0, 1, 19)
        )
        assert (items(first), items(second), items(last)) == (["i0"], [], ["i19"])
        assert second.redelivered == 1
        assert first.outside_window == second.outside_window == last.outside_window == 0


# What is published


def test_what_is_published_of_a_table_is_traced_to_its_rows(lake: Lake) -> None:
    lake.append(rows("x", "y", "x"))
    surface, store = lake.surface(), LocalStore(lake.folder / "var")
    make_day(store, surface, DAY)

    traced = trace(store, surface, "popularity", owner="x").days[0].files

    assert [(file.now, file.events, file.first_line) for file in traced] == [("there", 2, 1)]


def test_check_shows_the_first_rows_of_the_newest_day(lake: Lake) -> None:
    lake.append(rows("x", "y", "", on=[0, 1, 1]))
    found = inputs_of(lake.surface(), now=at(2))

    assert (found.problems, found.files, found.day) == ([], 1, DAY + timedelta(days=1))
    assert found.sample is not None
    assert [event["item_id"] for event in found.sample.first_events] == ["y"]
    assert found.sample.refused == {"missing_id": 1}
    later = inputs_of(lake.surface(), now=at(9))
    assert later.hint == (
        f"no row is of 2026-01-09 by 't' in {lake.path}; the newest day with files is: 2026-01-02"
    )


# Which tables


@pytest.mark.parametrize(
    ("format", "store"),
    [("delta", "s3_server"), ("delta", "azure_server"), ("iceberg", "s3_server")],
)
def test_a_table_in_a_bucket_is_read_with_what_the_environment_says(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    format: str,
    store: str,
) -> None:
    server: Server = request.getfixturevalue(store)
    use(server, monkeypatch)
    # Of a path with % in it, deltalake writes a log that it does not find again.
    url = server.url(new_prefix().replace("%20", ""))
    environment = server.environment()
    if format == "delta":
        write_deltalake(
            url,
            rows("x", "y"),
            storage_options={"AWS_S3_ALLOW_UNSAFE_RENAME": "true"},
        )
    else:
        found = load_catalog(
            "lake",
            **{
                "type": "sql",
                "uri": f"sqlite:///{tmp_path}/c.db",
                "s3.endpoint": environment["AWS_ENDPOINT_URL"],
                "s3.access-key-id": environment["AWS_ACCESS_KEY_ID"],
                "s3.secret-access-key": environment["AWS_SECRET_ACCESS_KEY"],
                "s3.region": environment["AWS_REGION"],
            },
        )
        found.create_namespace("shop")
        arrow = rows("x", "y").to_arrow()
        table = found.create_table("shop.events", schema=arrow.schema, location=url)
        table.append(arrow)
        url = table.metadata_location

    lake = Lake(tmp_path, format)
    parsed = lake.parse(path=url)
    assert items(parsed) == ["x", "y"]
    source = open_source(lake.surface(path=url))
    (name,) = source.inputs(DAY)
    assert source.size_bytes(name) == parsed.files[0].size_bytes
    elsewhere = f"{server.scheme}://nowhere/table"
    with pytest.raises(StoreUnavailableError, match="://nowhere does not exist"):
        lake.parse(path=elsewhere + "/v1.metadata.json" * (format == "iceberg"))


@pytest.mark.parametrize("name", ["with space", "ü#?+&="])
def test_a_folder_may_be_called_anything(lake: Lake, name: str) -> None:
    lake.name = name
    lake.append(rows("x"))
    assert items(lake.parse()) == ["x"]


def test_an_iceberg_table_is_named_by_its_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path, "iceberg")
    lake.append(rows("x"))
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__TYPE", "sql")
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__URI", f"sqlite:///{tmp_path}/catalog/c.db")
    monkeypatch.setenv("PYICEBERG_CATALOG__LAKE__WAREHOUSE", str(tmp_path))

    monkeypatch.setattr(pyiceberg.catalog, "_ENV_CONFIG", Config())  # which is read at its import

    by_name = lake.parse(path=None, table="lake.shop.events")
    assert items(by_name) == ["x"]
    assert by_name.fingerprint == lake.parse().fingerprint
    with pytest.raises(RawEventsError, match=r"lake\.shop\.other: the Iceberg table cannot be"):
        lake.parse(path=None, table="lake.shop.other")


@pytest.mark.parametrize(
    "settings",
    [
        {"type": "rest", "uri": f"http://u:{UNTOLD}@127.0.0.1:1/"},
        {"type": "rest", "uri": f"http://127.0.0.1:1/?token={UNTOLD}", "token": UNTOLD},
        {"type": "rest", "uri": "http://127.0.0.1:1/", "credential": f"id:{UNTOLD}"},
        {"type": "sql", "uri": f"nothing+such://u:{UNTOLD}@h/x"},
        {"type": "sql", "uri": UNTOLD},
    ],
)
def test_what_a_catalog_is_reached_with_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    for key, value in settings.items():
        monkeypatch.setenv(f"PYICEBERG_CATALOG__SHOP__{key.upper()}", value)
    monkeypatch.setattr(pyiceberg.catalog, "_ENV_CONFIG", Config())
    surface = Lake(tmp_path, "iceberg").surface(path=None, table="shop.a.events")

    with pytest.raises(RawEventsError, match=r"shop\.a\.events: the Iceberg table") as raised:
        open_source(surface).landed()

    assert UNTOLD not in "".join(traceback.format_exception(raised.value))


def test_an_iceberg_table_is_named_by_a_metadata_file(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "iceberg")
    lake.append(rows("x"))
    (newest,) = [
        path
        for path in lake.path.glob("metadata/*.metadata.json")
        if path.name == (lake.path / "metadata/version-hint.text").read_text()
    ]
    assert items(lake.parse(path=str(newest))) == ["x"]
    (lake.path / "metadata/version-hint.text").unlink()
    with pytest.raises(RawEventsError, match=r"no metadata/version-hint.text: a table of a catalo"):
        lake.parse()


def test_an_empty_table_has_empty_days(lake: Lake) -> None:
    lake.append(rows("x").clear())
    parsed = lake.parse()
    assert (parsed.lines, parsed.files, open_source(lake.surface()).landed()) == (0, [], {})
    assert parsed.wanted == f"row is of 2026-01-01 by 't' in {lake.path}"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"columns": {**MAPPED, "item_id": "sku"}}, "no field 'sku': there are i, n, s, t"),
        ({"time_column": "dt"}, "no column 'dt': there are i, n, s, t"),
        ({"time_column": "n"}, "column 'n' is Int64 and tells no day"),
        ({"columns": {**MAPPED, "ts": "n"}}, "say in `unit` of columns.ts what it counts"),
        ({"order_by": ["t", "id"]}, "no column 'id', which source.order_by names"),
        ({"time_column": "s"}, "no row tells a day by 's'"),
    ],
)
def test_keys_that_do_not_fit_the_table_are_named(
    lake: Lake, keys: dict[str, Any], says: str
) -> None:
    lake.append(rows("x", n=[1]))
    with pytest.raises(RawEventsError) as raised:
        lake.states(**keys)
    assert says in str(raised.value)
    assert str(lake.path) in str(raised.value)


def test_times_without_an_offset_need_a_zone(lake: Lake) -> None:
    lake.append(rows("x").with_columns(t=pl.lit(datetime(2026, 1, 1))))
    with pytest.raises(RawEventsError, match=r"have no offset: say in source\.time_zone"):
        lake.states()


def test_what_is_no_table_is_named(lake: Lake) -> None:
    lake.path.mkdir()
    says = "is no Delta table" if lake.format == "delta" else "has no metadata/version-hint.text"
    with pytest.raises(RawEventsError, match=says):
        lake.states()


def test_a_log_that_is_damaged_is_named_and_of_a_bucket_not_what_it_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path, "delta")
    lake.append(rows("x"))
    (lake.path / "_delta_log/00000000000000000000.json").write_text("{")
    with pytest.raises(RawEventsError, match=r"its log cannot be read \(DeltaError: "):
        lake.states()
    monkeypatch.setattr(delta, "is_object_url", lambda _: True)
    with pytest.raises(RawEventsError, match=r"its log cannot be read \(DeltaError\)"):
        lake.states()


@pytest.mark.parametrize("page", ["delta-tables.md", "iceberg-tables.md"])
def test_the_entries_of_the_pages_are_read(page: str) -> None:
    entries = re.findall(r"^<!-- entry: \w+ -->\n```yaml\n(.*?)^```", read(page), re.S | re.M)
    assert len(entries) >= 2
    for entry in entries:
        source = Source.model_validate(yaml.safe_load(entry)["source"])
        assert f"{source.type}-tables.md" == page


def test_a_table_that_asks_more_of_its_readers_is_refused(tmp_path: Path) -> None:
    lake = Lake(tmp_path, "delta")
    configuration = {"delta.columnMapping.mode": "name"}
    lake.append(rows("x"))
    log = lake.path / "_delta_log/00000000000000000000.json"
    log.write_text(
        log.read_text().replace(
            '"configuration":{}', f'"configuration":{configuration}'.replace("'", '"')
        )
    )
    with pytest.raises(RawEventsError, match="what is not done here: columnMapping"):
        lake.states()


@pytest.mark.parametrize(("format", "package"), [("delta", "deltalake"), ("iceberg", "pyiceberg")])
def test_the_extra_is_named_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, package: str
) -> None:
    lake = Lake(tmp_path, format)
    lake.append(rows("x"))
    monkeypatch.setitem(sys.modules, package, None)
    source = open_source(lake.surface())
    assert source.description.endswith("each.")
    with pytest.raises(ConfigError, match=rf"pip install 'recsys-assets\[{format}\]'"):
        source.inputs(DAY)
