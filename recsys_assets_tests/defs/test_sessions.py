"""Built sessions, from lines without one to what is live, through Dagster."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from recsys_assets.config import Config
from recsys_assets.storage.registry import read_staged
from recsys_assets_tests.defs.test_left_out import documents
from recsys_assets_tests.project import DAY, Project, day, event


def source(gap: int = 30) -> dict[str, Any]:
    return {"source": {"path": "raw", "sessions": {"gap_minutes": gap}}}


def configure(project: Project, *, gap: int = 30, **keys: Any) -> Config:
    artifacts: dict[str, Any] = {"popularity": {}, "cooc": {"min_support": 1}, "implicit": {}}
    artifacts |= {"session_seq": {}}
    return project.configure({**source(gap), "artifacts": artifacts, **keys})


def at(number: int, time: str, item: str, **members: Any) -> dict[str, Any]:
    """Return a line without a session."""
    line = event(item, ts=f"{day(number)}T{time}Z", **members)
    return {name: value for name, value in line.items() if name != "session_id"}


def land(project: Project) -> None:
    """Land two days: a visit over midnight, its lines in no order, and one of somebody else."""
    project.land(day(0), [at(0, "23:50:00", "b"), at(0, "23:40:00", "a"), at(0, "09:00:00", "z")])
    project.land(day(1), [at(1, "00:05:00", "c"), at(1, "00:05:00", "q", user_id="u2")])


def pairs(project: Project, config: Config, of: date) -> set[str]:
    """Return the pairs of `cooc`, each once."""
    return {
        "".join(sorted((each["item_id"], neighbour["item_id"])))
        for each in json.loads(documents(project, config, of)["cooc"])
        for neighbour in each["items"]
    }


@pytest.mark.parametrize(("window_days", "joined"), [(1, set()), (2, {"ab", "ac", "bc"})])
def test_a_session_goes_on_after_midnight_within_a_window(
    project: Project, window_days: int, joined: set[str]
) -> None:
    config = configure(project, window_days=window_days)
    land(project)

    report = project.materialize(config, [day(0), day(1)])

    assert report.published == [day(0), day(1)]
    assert pairs(project, config, day(0)) == {"ab"}
    assert pairs(project, config, day(1)) == joined
    shown = [report.metadata[day(number)]["canonical_events"] for number in (0, 1)]
    assert [(each["sessions"], each["built_sessions"]) for each in shown] == [(2, 2), (2, 2)]
    # Kinds that have no sessions are what they are with ids.
    made = documents(project, config, day(1))
    ids = configure(project, window_days=window_days, source={"path": "raw"})
    for number in (0, 1):
        path = project.folder / f"raw/demo/home/exposure.{day(number)}.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        project.land(day(number), [{"session_id": "s", **line} for line in lines])
    assert project.materialize(ids, [day(0), day(1)]).done
    again = documents(project, ids, day(1))
    assert {kind for kind in made if made[kind] != again[kind]} == {"cooc"}


def test_days_made_one_by_one_from_kept_counts_are_joined_alike(project: Project) -> None:
    config = configure(project, window_days=2)
    land(project)
    assert project.materialize(config, [day(0), day(1)]).published
    at_once = documents(project, config, day(1))

    for number in (0, 1, 1):
        assert project.materialize(config, [day(number)]).done

    assert documents(project, config, day(1)) == at_once


def test_a_session_over_the_limit_is_told_of_where_it_is_joined(project: Project) -> None:
    """What a check counts is what the artifact leaves out."""
    limits = {"max_items_per_session": 2, "max_oversized_session_share": 0.2}
    config = configure(project, window_days=2, guardrails=limits)
    project.land(day(0), [at(0, "23:50:00", "a"), at(0, "23:55:00", "b")])
    project.land(day(1), [at(1, "00:05:00", "c")])

    report = project.materialize(config, [day(0), day(1)])

    failed = [each for each in report.failures if each.check == "max_oversized_session_share"]
    assert [(each.asset, each.day) for each in failed] == [("cooc", day(1))]
    assert "1 of 1" in failed[0].description


def test_a_bot_of_one_day_is_left_out_of_that_day(project: Project) -> None:
    limits = {"max_items_per_session": 2, "max_oversized_session_share": 1}
    config = configure(project, window_days=2, guardrails=limits, bots={"leave_out_of": "all"})
    project.land(day(0), [at(0, f"23:50:0{number}", item) for number, item in enumerate("abc")])
    project.land(day(1), [at(1, "00:05:00", "d"), at(1, "09:00:00", "e"), at(1, "09:01:00", "f")])

    report = project.materialize(config, [day(0), day(1)])

    shown = [report.metadata[day(number)]["canonical_events"] for number in (0, 1)]
    assert [each["oversized_sessions"] for each in shown] == [1, 0]
    made = documents(project, config, day(1))
    assert not [item for item in "abc" if f'"{item}"' in made["popularity"]]
    assert '"d"' in made["popularity"]
    assert pairs(project, config, day(1)) == {"ef"}  # the session of d holds four items


def test_another_gap_counts_for_the_days_that_are_made_with_it(project: Project) -> None:
    """So an artifact is a function of the accepted days, whatever the configuration says now."""
    pause = [[at(0, "23:45:00", "a")], [at(1, "00:30:00", "b")]]
    for number, lines in enumerate(pause):
        project.land(day(number), lines)
    config = configure(project, window_days=2)
    assert project.materialize(config, [day(0), day(1)]).published

    def made() -> tuple[str, set[str]]:
        where = (project.store, config.surfaces[0].place, config.surfaces[0].segment)
        return read_staged(*where, "cooc", day(1)).source_hash, pairs(project, config, day(1))

    first = made()
    config = configure(project, window_days=2, gap=60)
    assert project.materialize(config, [day(1)]).done
    second = made()
    assert project.materialize(config, [DAY, day(1)]).done
    third = made()

    assert [each for _, each in (first, second, third)] == [set(), set(), {"ab"}]
    assert len({source_hash for source_hash, _ in (first, second, third)}) == 3
