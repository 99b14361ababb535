"""Trailing windows that are put together from kept counts are the window counted at once."""

from __future__ import annotations

import gc
import hashlib
import weakref
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_assets.audit.drafts import CheckedList, counts_of_day, drafts
from recsys_assets.audit.shared import Shared
from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.config import Config
from recsys_assets.demo.complete_journey import SURFACE, TENANT, write_raw_events
from recsys_assets.documents import DocumentHead
from recsys_assets.events.accepted import accepted_days
from recsys_assets.kind import WindowEvents
from recsys_assets.kinds import KINDS
from recsys_assets.places import Place
from recsys_assets.storage.registry import read_staged
from recsys_assets_tests.project import Project, day, event

FIRST = date(2017, 1, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(9)]
LATE = DAYS[4]
PLACE = Place(TENANT, SURFACE)


def counted_at_once(project: Project, config: Config, day: date, kind: str) -> str:
    """Return the version of a day whose window is one set of events, counted in one go."""
    (surface,) = config.surfaces
    window = accepted_days(project.store, PLACE, surface.days_of_window(day))
    counts = DayCounts(pl.concat([accepted.frame for accepted in window.values()]))
    computed = KINDS[kind].compute(
        WindowEvents({day: counts}, counts), surface.artifacts.options(kind), surface
    )
    text = b"".join(CheckedList(KINDS[kind], computed.rows).text())
    head = DocumentHead.of_day(surface, kind, day).to_bytes()
    return hashlib.sha256(head + text + b',"build":{"built_at":"","version":""}}').hexdigest()


def staged(project: Project, config: Config, days: Iterable[date]) -> dict[tuple[date, str], str]:
    """Return the versions that belong to the days."""
    (surface,) = config.surfaces
    where = (project.store, PLACE, surface.segment)
    return {
        (day, kind): read_staged(*where, kind, day).version
        for day in days
        for kind in surface.artifacts.kinds
    }


def kept(project: Project) -> dict[Path, int]:
    """Return when each kept table was written."""
    folder = Path(project.store.location("counts"))
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


@pytest.mark.long
def test_windows_of_real_baskets_with_late_events_are_the_window_counted_at_once(
    project: Project,
) -> None:
    raw = project.folder / "raw"
    write_raw_events(raw, DAYS)
    file = raw / TENANT / SURFACE / f"exposure.{LATE}.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[::2]))
    config = project.configure(
        {
            "tenant": TENANT,
            "surface": SURFACE,
            "start_date": FIRST,
            "end_date": DAYS[-1] + timedelta(days=1),
            "window_days": 5,
            "artifacts": {kind: {} for kind, row in KINDS.items() if row.reads == "events"}
            | {"session_seq": {"top_n": 9}},
            "guardrails": {"max_oversized_session_share": 1, "max_artifact_bytes": 10**9},
        }
    )

    assert project.materialize(config, DAYS).failures == []
    before, tables = staged(project, config, DAYS), kept(project)
    assert before == {key: counted_at_once(project, config, *key) for key in before}

    file.write_text("".join(lines))
    assert project.materialize(config, [LATE]).failures == []

    after = staged(project, config, DAYS)
    assert after == {key: counted_at_once(project, config, *key) for key in after}
    changed = {day for day, kind in after if before[day, kind] != after[day, kind]}
    assert changed == set(DAYS[4:])  # each window that holds the late day
    # Only the day with the late events was counted again.
    again = kept(project)
    assert tables.items() <= again.items()
    assert {path.parts[-3] for path in again.keys() - tables.keys()} == {str(LATE)}


def test_counts_of_events_that_are_replaced_meanwhile_are_kept_under_no_name(
    project: Project,
) -> None:
    """A late file is accepted between the fingerprint of a day and its scan."""
    config = project.configure({"window_days": 2, "artifacts": {"popularity": {}}})
    project.land(day(0), [event("a")])
    assert project.materialize(config, [day(0)]).failures == []
    first = kept(project)
    accepted = accepted_days(project.store, Place("demo", "home"), [day(0)])
    project.land(day(0), [event("a"), event("b")])
    assert project.materialize(config, [day(0)]).failures == []
    for path in kept(project):
        path.unlink()

    (surface,) = config.surfaces
    draft = drafts(project.store, surface, KINDS["popularity"], accepted, Shared())(day(0))
    assert b'"b"' in b"".join(draft.text)  # of what is accepted now

    assert first
    assert not kept(project)


@pytest.mark.parametrize("window_days", [1, 2])
def test_what_canonical_events_counted_is_shared_and_a_window_is_kept_all_the_same(
    project: Project, window_days: int
) -> None:
    config = project.configure({"window_days": window_days})
    project.land(day(0), [event("a"), event("b")])
    assert project.materialize(config, [day(0)]).failures == []

    tables = {"items", "users", "sessions", "first_items", "user_items", "baskets"}
    assert {path.stem for path in kept(project)} == (tables if window_days > 1 else set())


def test_days_of_a_window_are_held_until_the_last_day_of_the_run(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = project.configure({"window_days": 2, "artifacts": {"implicit": {}}})
    days = [day(0), day(1)]
    for each in days:
        project.land(each, [event("a", of=each, user_id="u")])
    assert project.materialize(config, days).failures == []
    counted = list[weakref.ref[DayCounts]]()

    def noted(*of: Any) -> DayCounts:
        made = counts_of_day(*of)
        counted.append(weakref.ref(made))
        return made

    monkeypatch.setattr("recsys_assets.audit.drafts.counts_of_day", noted)
    (surface,) = config.surfaces
    accepted = accepted_days(project.store, Place("demo", "home"), days)
    drafted = drafts(project.store, surface, KINDS["implicit"], accepted, Shared(), last=days[-1])

    drafts_of_days = [drafted(days[0])]
    gc.collect()
    assert [each() is not None for each in counted] == [True]
    drafts_of_days.append(drafted(days[1]))
    gc.collect()
    assert [each() for each in counted] == [None, None]
    assert all(b'"a"' in b"".join(draft.text) for draft in drafts_of_days)
