"""What is reported between the end of a run and the next look of the conditions is made too."""

from __future__ import annotations

from typing import Any

import pytest

from recsys_assets_tests.defs.test_sensors import FEW, Factory, Requested, everything, factory
from recsys_assets_tests.project import DAY, Project, day

WITH_LIST: dict[str, Any] = {"items": {"deny": "denied.txt"}}


def begin(project: Project, **surface: Any) -> Factory:
    """Land two days that are reported, asked for and made; no look comes after the run."""
    (project.folder / "denied.txt").write_text("z\n")
    shop = factory(project, **surface)
    for number in (0, 1):
        shop.land(number, "a", "b")
    shop.tick()
    assert shop.requested() == everything(DAY, day(1))
    assert project.materialize(shop.config, [DAY, day(1)]).done
    return shop


def kinds_of(asked: Requested) -> set[str]:
    return {*asked} - {"canonical_events", "manifest"}


@pytest.mark.parametrize("surface", [{}, {"window_days": 3}, WITH_LIST])
def test_late_files_of_several_days(project: Project, surface: dict[str, Any]) -> None:
    shop = begin(project, **surface)
    for number in (0, 1):
        shop.land(number, "a", "b", "late")

    assert len({each.partition for each in shop.tick()}) == 2
    asked = shop.requested()

    assert asked["canonical_events"] == asked["manifest"] == [DAY, day(1)]
    assert kinds_of(asked) <= {*FEW}
    assert shop.requested() == {}  # once
    shop.make(0, 1)
    assert (shop.tick(), shop.asked(), shop.requested()) == ([], {}, {})


@pytest.mark.parametrize("surface", [{}, WITH_LIST])
def test_another_catalog(project: Project, surface: dict[str, Any]) -> None:
    shop = begin(project, **surface)
    (project.folder / "catalog.csv").write_text("item_id,tags\na,blue\n")

    shop.tick()

    assert shop.requested() == {name: [day(1)] for name in ("content_sim", "manifest")}
    assert shop.requested() == {}
    shop.make(1)


def test_another_list_of_denied_items(project: Project) -> None:
    shop = begin(project, **WITH_LIST)
    (project.folder / "denied.txt").write_text("a\n")

    shop.tick()

    assert shop.requested() == {name: [day(1)] for name in (*FEW, "manifest")}
    assert shop.requested() == {}
    shop.make(1)


def test_what_was_reported_before_the_run_ended_is_answered_by_it(project: Project) -> None:
    shop = begin(project)
    for number in (0, 1):
        shop.land(number, "a", "b", "late")
    shop.tick()

    shop.make(0, 1)
