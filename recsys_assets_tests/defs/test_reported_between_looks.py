"""What is reported between the end of a run and the next look of the conditions is made too."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from recsys_assets_tests.defs.test_sensors import (
    FEW,
    Factory,
    everything,
    factory,
    of_events,
)
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


@pytest.mark.parametrize("surface", [WITH_LIST, {"window_days": 3}])
def test_late_files_of_several_days(project: Project, surface: dict[str, Any]) -> None:
    shop = begin(project, **surface)
    for number in (0, 1):
        shop.land(number, "a", "b", "late")

    assert len({each.partition for each in shop.tick()}) == 2
    assert shop.requested() == of_events([DAY, day(1)], [DAY, day(1)])
    assert shop.requested() == {}  # once
    shop.make(0, 1)
    assert (shop.tick(), shop.asked(), shop.requested()) == ([], {}, {})


def test_another_catalog(project: Project) -> None:
    shop = begin(project)
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


def test_what_fails_in_the_run_that_was_asked_for_is_tried_once(project: Project) -> None:
    """The events of its day came after the request, and are no news."""
    shop = factory(project, guardrails={"max_artifact_bytes": 10})
    for number in (0, 1):
        shop.land(number, "a", "b")
    shop.tick()
    assert shop.requested() == everything(DAY, day(1))

    assert not project.materialize(shop.config, [DAY, day(1)]).done

    assert shop.requested() == {}
    assert shop.requested() == {}


def test_a_file_that_was_reported_after_it_was_read_is_reported_once_more(
    project: Project,
) -> None:
    """The end of the run that read the day before counts as the answer to the first report."""
    shop = begin(project)
    shutil.copytree(project.folder / "raw", project.folder / "as_read")
    for number in (0, 1):
        shop.land(number, "a", "b", "late")
    shop.tick()
    (surface,) = shop.config.surfaces
    source = surface.source.model_copy(update={"path": str(project.folder / "as_read")})
    run = shop.config.model_copy(
        update={"surfaces": [surface.model_copy(update={"source": source})]}
    )
    assert project.materialize(run, [DAY, day(1)]).done
    assert shop.requested() == {}

    shop.tick()

    assert shop.requested() == of_events([DAY, day(1)], [DAY, day(1)])
    shop.make(0, 1)
    assert (shop.tick(), shop.asked(), shop.requested()) == ([], {}, {})
