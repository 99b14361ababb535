"""What Dagster keeps of persons: with `pages.show_ids: false`, nothing in any of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pandera.polars as pa
import polars as pl
import pytest
import yaml

from recsys_assets import contracts
from recsys_assets.audit import events as audited_events
from recsys_assets.config import Config, load_config
from recsys_assets.errors import RawEventsError
from recsys_assets.events.days import parse_day
from recsys_assets.pages import PREVIEW
from recsys_assets_tests.defs.looking import failed
from recsys_assets_tests.defs.test_event_log import SETTINGS
from recsys_assets_tests.project import Project, day
from recsys_assets_tests.town import SOON, usual

# Begins of ids; items of the town are i0 to i59.
USER, SESSION, REQUEST = "person-known-as-", "visit-known-as-", "request-known-as-"
GOOD: Final = [day(number) for number in range(5)]
BOT, ALL_REFUSED, REFUSED, BROKEN, QUOTED, UNFORESEEN = (day(number) for number in range(5, 11))
Lines = list[dict[str, Any]]


def lines_of(of: date, users: Iterable[int] = range(12)) -> Lines:
    return [
        line
        | {
            "user_id": f"{USER}{line['user_id']}",
            "session_id": f"{SESSION}{line['session_id']}",
            "request_id": f"{REQUEST}{number}",
        }
        for number, line in enumerate(usual(of, users))
    ]


def with_a_bot(lines: Lines) -> Lines:
    seen = [
        line | {"item_id": f"i{n % 60}", "request_id": f"{REQUEST}bot {n}"}
        for n, line in enumerate(lines[:1] * 200)
    ]
    return [*lines, *seen]


def refused(lines: Lines) -> Lines:
    """Return lines that are refused for reasons that quote what they hold."""
    wrong: list[dict[str, Any]] = [{"ts": lines[0]["user_id"]}, {"v": USER}, {"rank": -1}]
    return [line | wrong[n % len(wrong)] for n, line in enumerate(lines)]


BAD: Final[dict[date, Callable[[Lines], Lines]]] = {
    BOT: with_a_bot,
    ALL_REFUSED: refused,
    REFUSED: lambda lines: [*lines, *refused(lines)],
}
# What refuses each day; None is a step that broke.
CHECKS: Final = {
    BOT: {"volume", "shape"},
    ALL_REFUSED: {"inputs", "min_events", "max_rejected_share", "max_rejected_bytes_share"},
    REFUSED: {"max_rejected_share", "max_rejected_bytes_share"},
    BROKEN: {"contract"},
    QUOTED: {"inputs"},
    UNFORESEEN: {None},
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(SETTINGS)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    return home


@pytest.fixture
def project(tmp_path: Path, home: Path) -> Iterator[Project]:
    with dg.DagsterInstance.get() as instance:
        yield Project(tmp_path, instance)


def configured(project: Project, *, show_ids: bool | None) -> Config:
    sink = {"name": "table", "type": "files", "path": "out"}
    project.configure({"gates": {**SOON, "min_sessions": 5}, "sinks": [sink]})
    if show_ids is not None:
        file = yaml.safe_load(project.config_file.read_text())
        file["pages"] = {"show_ids": show_ids}
        project.config_file.write_text(yaml.safe_dump(file))
    return load_config(project.config_file)


def go_on(project: Project, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Materialize good days and bad ones, each as it is made most of the time."""
    for of in [*GOOD, *CHECKS]:
        project.land(of, BAD.get(of, list)(lines_of(of)))
    contract = contracts.canonical_event

    def broken(of: date, further: Any = ()) -> pa.DataFrameSchema:
        schema = contract(of, further)
        if of == BROKEN:
            nobody = pa.Check(lambda data: data.lazyframe.select(pl.col(data.key) == ""))
            for column in ("user_id", "session_id", "request_id"):
                schema.columns[column].checks = [nobody]
        return schema

    def parsed(surface: Any, of: date, **rest: Any) -> Any:
        if of == QUOTED:
            raise RawEventsError(f"the day's table says: it's no number: '{USER}\\'1'. Mend it")
        if of == UNFORESEEN:
            try:
                raise KeyError(f"{SESSION}1")
            except KeyError:
                raise ValueError(f"cannot cast {USER}1") from KeyError(f"{REQUEST}1")
        return parse_day(surface, of, **rest)

    monkeypatch.setattr(contracts, "canonical_event", broken)
    monkeypatch.setattr(audited_events, "parse_day", parsed)
    assert project.materialize(config, GOOD[:-1]).published == GOOD[:-1]
    assert project.materialize(config, GOOD[-1:]).published == GOOD[-1:]
    for of, checks in CHECKS.items():
        found = {check for _, _, check in failed(project.materialize(config, [of]))}
        assert found == checks, of


def held(home: Path) -> dict[str, set[str]]:
    """Return which ids, by how they begin, stand in which files of Dagster."""
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in files)
    return {
        path.name: found
        for path in files
        if (found := {of for of in (USER, SESSION, REQUEST) if of.encode() in path.read_bytes()})
    }


def sample_of(project: Project, asset: str, check: str) -> list[dict[str, Any]]:
    key = dg.AssetCheckKey(dg.AssetKey(["demo", "home", asset]), check)
    for record in project.instance.event_log_storage.get_asset_check_execution_history(key, 20):
        event = record.event and record.event.dagster_event
        if event is None or event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            continue
        found = event.asset_check_evaluation_data.metadata.get("sample")
        if isinstance(found, dg.TableMetadataValue):
            return [dict(row.data) for row in found.records]
    raise AssertionError(f"{check} has no sample")


def preview_of(project: Project, kind: str) -> list[dict[str, Any]]:
    event = project.instance.get_latest_materialization_event(dg.AssetKey(["demo", "home", kind]))
    assert event
    assert event.asset_materialization
    found = event.asset_materialization.metadata[PREVIEW]
    assert isinstance(found, dg.TableMetadataValue)
    return [dict(row.data) for row in found.records]


@pytest.mark.long
def test_no_file_of_dagster_holds_an_id_of_a_person_where_none_is_to_be_shown(
    project: Project, home: Path, monkeypatch: pytest.MonkeyPatch, fast: None
) -> None:
    go_on(project, configured(project, show_ids=False), monkeypatch)

    assert held(home) == {}
    # What is of nobody is still there.
    row = preview_of(project, "implicit")[0]
    assert row["user_id"] == "(not shown)"
    assert row["item_id"].startswith("i")
    assert preview_of(project, "cooc")[0]["item_id"].startswith("i")
    events = "canonical_events"
    row = next(row for row in sample_of(project, events, "shape") if row["session"])
    assert (row["events"], row["item"], row["session"]) == ("204", "", "(not shown)")
    row = sample_of(project, events, "max_rejected_share")[0]
    assert (row["line"], row["reason"], row["raw"]) == ("49", "bad_timestamp", "(not shown)")
    assert sample_of(project, events, "contract")[0]["failure_case"] == "(not shown)"


@pytest.mark.long
def test_they_are_shown_unless_the_file_says_otherwise(
    project: Project, home: Path, monkeypatch: pytest.MonkeyPatch, fast: None
) -> None:
    go_on(project, configured(project, show_ids=None), monkeypatch)

    found = held(home)
    assert found["index.db"] | found.get("index.db-wal", set()) == {USER, SESSION, REQUEST}
    assert preview_of(project, "implicit")[0]["user_id"].startswith(USER)
    rows = sample_of(project, "canonical_events", "shape")
    assert any(row["session"].startswith(SESSION) for row in rows)
