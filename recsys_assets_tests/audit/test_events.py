from __future__ import annotations

import polars as pl
import pytest

from recsys_assets.audit.events import audit_events
from recsys_assets.audit.shared import Shared
from recsys_assets.events import writers
from recsys_assets.pages import Json
from recsys_assets.storage import layout
from recsys_assets_tests.defs.looking import HOME, failed, land
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.storage.conftest import Passing


def test_refused_lines_are_kept_even_when_the_day_is_blocked(project: Project) -> None:
    config = project.configure()
    project.land(day(0), ["{not json", '{"v": 1}'])

    report = project.materialize(config, [day(0)])

    assert {check for _, _, check in failed(report)} == {
        "inputs",
        "min_events",
        "max_rejected_share",
        "max_rejected_bytes_share",
    }
    lines = pl.read_ndjson(project.store.location(layout.rejected(HOME, day(0))))
    assert lines["reason"].to_list() == ["invalid_json", "missing_id"]
    assert lines["raw"].to_list() == ["{not json", '{"v": 1}']


def test_refused_lines_of_an_earlier_delivery_do_not_stay(project: Project) -> None:
    config = project.configure()
    project.land(day(0), ["{not json"])
    project.materialize(config, [day(0)])
    land(project, 0)

    project.materialize(config, [day(0)])

    assert project.store.read(layout.rejected(HOME, day(0))) is None


@pytest.mark.parametrize("window_days", [1, 2])
def test_distinct_ids_leave_out_users_that_are_unknown(project: Project, window_days: int) -> None:
    (surface,) = project.configure({"window_days": window_days}).surfaces
    events = [
        event("a", user_id="u1"),
        event("b", user_id="u2", session_id="s2"),
        event("b", user_id="u1"),
        event("c", user_id=None),
        event("c", user_id=" "),
    ]
    project.land(day(0), events)

    memory = Shared()
    found = audit_events(project.store, surface, day(0), project.folder, memory)

    assert {name: found.shown[name] for name in ("sessions", "items", "users")} == {
        "sessions": 2,
        "items": 3,
        "users": 2,
    }
    shared = memory.counts.of(found.data_version).read("sessions")
    assert (shared is not None) == (window_days == 1)


def test_a_day_without_events_has_no_distinct_ids(project: Project) -> None:
    (surface,) = project.configure({}).surfaces
    project.land(day(0), [])

    found = audit_events(project.store, surface, day(0), project.folder, Shared())

    assert [found.shown[name] for name in ("sessions", "items", "users")] == [0, 0, 0]


def test_a_day_without_refused_lines_asks_for_no_deletion(project: Project) -> None:
    """Who runs the days need not be allowed to delete, and a store may not know how to."""

    class Undeletable(Passing):
        def delete(self, key: str) -> None:
            raise AssertionError(key)

    land(project, 0)
    (surface,) = project.configure().surfaces
    with project.store.scratch() as scratch:
        audited = audit_events(Undeletable(project.store), surface, day(0), scratch, Shared())
    assert audited.value
    assert audited.value.rejected_path is None


def test_a_file_that_is_all_refused_blocks_the_day_and_is_named(project: Project) -> None:
    """Among ten thousand good lines, its lines are no share that a guardrail sees."""
    config = project.configure({"guardrails": {"min_events": 0}})
    project.land(day(0), (event(f"i{number}") for number in range(10_000)))
    path = project.land(day(0), ["<Error/>", "x"], part="-other")

    report = project.materialize(config, [day(0)])

    assert {check for _, _, check in failed(report)} == {"inputs"}
    (failure,) = report.failures
    assert failure.description == (
        f"{path}: no line is an event, 2 refused; line 1: invalid_json, Expecting value: line 1 "
        "column 1 (char 0). Land what it should hold in its place, or take it away"
    )
    lines = pl.read_ndjson(project.store.location(layout.rejected(HOME, day(0))))
    assert lines["raw"].to_list() == ["<Error/>", "x"]


def test_what_was_refused_and_not_kept_is_shown(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "MOST_KEPT_LINES", 1)
    (surface,) = project.configure({}).surfaces
    project.land(day(0), [event("a"), "x", "yy", "zz"])

    found = audit_events(project.store, surface, day(0), project.folder, Shared())

    assert found.shown["refused"] == 3
    assert found.shown["refused_bytes"] == 8
    assert found.shown["refused_not_kept"] == Json(
        {f"demo/home/exposure.{day(0)}.jsonl": {"line": 3, "last_line": 4, "lines": 2}}
    )
