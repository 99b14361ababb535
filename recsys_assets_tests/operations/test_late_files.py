"""What is reported where a day is read from the files of the days around it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recsys_assets.operations import landing
from recsys_assets_tests.operations.test_landing import Watch, Watching, days, watching
from recsys_assets_tests.project import DAY, Project, day, event
from recsys_assets_tests.shop import make_day

__all__ = ["watching"]  # a fixture

AROUND: dict[str, Any] = {
    "source": {"path": "raw", "days_around": 1},
    "guardrails": {"min_events": 0},
}


def land(project: Project, number: int, *of: int, part: str = "") -> None:
    """Land a file of a day, with an event of each of some days, the day itself by default."""
    events = [event(f"i{n}{part}", of=day(n)) for n in of or (number,)]
    project.land(day(number), events, part=part)


def told(watch: Watch) -> list[int]:
    """Look until nothing moves; return the days that were reported, and make them."""
    found = [*days(watch.look().raw_events), *days(watch.look().raw_events)]
    for of in found:
        make_day(watch.store, watch.surface, of)
    return [(of - DAY).days for of in found]


def landed(project: Project, watch: Watch, numbers: Iterable[int]) -> None:
    for number in numbers:
        land(project, number)
    told(watch)


def test_a_day_is_made_when_its_files_land_and_again_when_those_around_it_do(
    project: Project, watching: Watching
) -> None:
    watch = watching(**AROUND)
    found = []
    for number in range(4):
        land(project, number)
        found.append(told(watch))

    assert found == [[0], [0, 1], [1, 2], [2, 3]]
    assert told(watch) == []


def test_a_changed_file_remakes_the_days_that_read_it_and_no_other(
    project: Project, watching: Watching
) -> None:
    watch = watching(**AROUND)
    landed(project, watch, range(7))

    land(project, 3, 3, part="-late")
    assert told(watch) == [2, 3, 4]
    land(project, 0, 0, 0)
    assert told(watch) == [0, 1]


def test_the_same_content_again_remakes_nothing(project: Project, watching: Watching) -> None:
    watch = watching(**AROUND)
    landed(project, watch, range(4))

    land(project, 2)

    assert told(watch) == []


def test_without_a_cursor_nothing_is_told_anew(project: Project, watching: Watching) -> None:
    watch = watching(**AROUND)
    landed(project, watch, range(4))

    watch.cursor = None

    assert told(watch) == []


def test_the_newest_day_waits_for_files_of_its_own(project: Project, watching: Watching) -> None:
    watch = watching(**AROUND)
    land(project, 0, 0, 1)

    assert told(watch) == [0]
    land(project, 1)
    assert told(watch) == [0, 1]


def test_a_day_without_files_is_made_once_later_ones_have_landed(
    project: Project, watching: Watching
) -> None:
    """On the days 2 and 5 nothing landed; a file of the day before has events of both."""
    watch = watching(**AROUND)
    landed(project, watch, [0])
    land(project, 1, 1, 2)
    assert told(watch) == [0, 1]
    land(project, 4, 4, 5)
    found = told(watch)

    assert found == [2, 3, 4]
    land(project, 9)
    assert told(watch) == [5, 8, 9]
    assert told(watch) == []


def test_a_day_without_files_waits_while_others_are_being_copied(
    project: Project, watching: Watching
) -> None:
    watch = watching(**AROUND)
    land(project, 3, 3)
    watch.look()
    land(project, 0, 0, 1)
    assert days(watch.look().raw_events) == [day(3)]
    land(project, 1)

    assert told(watch) == [0, 1, 2]


def test_a_marked_day_without_files_is_made(project: Project, watching: Watching) -> None:
    landing_keys = {"success_marker": "{day}.done"}
    watch = watching(**AROUND | {"source": {**AROUND["source"], "landing": landing_keys}})
    marks = project.folder / "raw"
    land(project, 0, 0, 1)
    land(project, 2)
    for number in (0, 2):
        (marks / f"{day(number)}.done").touch()

    assert told(watch) == [0, 2]
    (marks / f"{day(1)}.done").touch()
    assert told(watch) == [1]


def test_a_neighbour_that_is_not_marked_holds_nothing_up(
    project: Project, watching: Watching
) -> None:
    landing_keys = {"success_marker": "{day}.done"}
    watch = watching(**AROUND | {"source": {**AROUND["source"], "landing": landing_keys}})
    marks = project.folder / "raw"
    for number in range(2):
        land(project, number)
    (marks / f"{DAY}.done").touch()

    assert told(watch) == [0]
    (marks / f"{day(1)}.done").touch()
    assert told(watch) == [0, 1]


def test_a_neighbour_that_moves_is_waited_for(project: Project, watching: Watching) -> None:
    watch = watching(**AROUND)
    landed(project, watch, range(3))
    land(project, 0, 0, part="-late")
    watch.look()
    land(project, 1, 1, part="-late")  # while the other one comes to rest

    found = watch.look()

    assert (days(found.raw_events), found.waiting) == ([], [day(1), DAY])
    assert told(watch) == [0, 1, 2]


@pytest.mark.parametrize("gone", [[0], [0, 1], [0, 1, 2]])
def test_raw_files_that_are_deleted_remake_nothing(
    project: Project, watching: Watching, gone: list[int]
) -> None:
    """Not even after the cursor is lost: what is made again of fewer files lacks their events."""
    watch = watching(**AROUND)
    landed(project, watch, range(5))
    for number in gone:
        (project.folder / f"raw/demo/home/exposure.{day(number)}.jsonl").unlink()

    assert told(watch) == []
    watch.cursor = None
    assert told(watch) == []


def test_a_part_that_is_deleted_remakes_the_days_that_read_it(
    project: Project, watching: Watching
) -> None:
    watch = watching(**AROUND)
    land(project, 2, 2, 3, part="-b")
    landed(project, watch, range(5))
    (project.folder / f"raw/demo/home/exposure.{day(2)}-b.jsonl").unlink()

    assert told(watch) == [1, 2, 3]


def test_a_day_that_is_not_over_remakes_the_one_before_it_once_it_is(
    project: Project, watching: Watching
) -> None:
    """Its files land all day long, and each of them would."""
    watch = watching(**AROUND)
    watch.now = datetime(2026, 1, 4, 1, tzinfo=UTC)
    landed(project, watch, range(3))
    for hour in range(3):
        land(project, 3, 3, part=f"-{hour}")
        assert told(watch) == []
    watch.now += timedelta(days=1)

    assert told(watch) == [2, 3]


def test_the_day_after_the_last_one_remakes_that(project: Project, watching: Watching) -> None:
    watch = watching(**AROUND, end_date=day(3))
    landed(project, watch, range(3))

    land(project, 3, 2, 3)

    assert told(watch) == [2]
    land(project, 4)
    assert told(watch) == []


def test_what_does_not_fit_into_a_tick_is_not_forgotten(
    project: Project, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watching(**AROUND)
    landed(project, watch, range(5))
    land(project, 2, 2, part="-late")
    monkeypatch.setattr(landing, "_MOST_DAYS", 1)

    assert [told(watch) for _ in range(3)] == [[3], [2, 1], []]
