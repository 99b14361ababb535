"""Events of other days in a day's files: told above one in a hundred, refused above the limit."""

from __future__ import annotations

import pytest

from recsys_assets.audit.events import audit_events
from recsys_assets.audit.shared import Shared
from recsys_assets.verdicts import Verdict
from recsys_assets_tests.defs.looking import failed
from recsys_assets_tests.project import DAY, Project, day, event, golden_surface
from recsys_assets_tests.test_golden import GOLDEN, load_case


def verdict(project: Project, *, inside: int, outside: int, most: float | None = None) -> Verdict:
    limits = {} if most is None else {"max_outside_window_share": most}
    (surface,) = project.configure({"guardrails": {"min_events": 0, **limits}}).surfaces
    events = [event(f"i{n}", of=day(0)) for n in range(inside)]
    later = [event(f"i{n}", of=day(1)) for n in range(outside)]
    others = [event("x", of=day(1), surface="cart")]
    project.land(DAY, [*events, *later, *others, "{not json"])
    with project.store.scratch() as scratch:
        found = audit_events(project.store, surface, DAY, scratch, Shared())
    return found.verdicts["max_outside_window_share"]


@pytest.mark.parametrize(
    ("inside", "outside", "most", "outcome"),
    [
        (99, 1, None, "passed"),
        (98, 2, None, "warned"),
        (8, 2, None, "warned"),
        (7, 2, None, "failed"),
        (0, 1, None, "failed"),
        (0, 0, None, "passed"),
        (1, 1, 0.5, "warned"),
        (0, 1, 1, "warned"),
        (199, 1, 0, "failed"),
        (9, 1, 0.09, "failed"),
    ],
)
def test_lines_of_other_days_warn_and_above_the_limit_fail(
    project: Project, inside: int, outside: int, most: float | None, outcome: str
) -> None:
    """Lines of other surfaces do not count, nor do refused ones: a folder may be shared."""
    assert verdict(project, inside=inside, outside=outside, most=most).outcome == outcome


def test_how_many_there_are_and_what_to_do_is_told(project: Project) -> None:
    found = verdict(project, inside=4, outside=4)

    assert found.description == (
        "guardrails.max_outside_window_share is 0.2, found 0.5: 4 of 8 events in the day's files "
        "are not of 2026-01-01, UTC, and are left out. Cut the files at midnight UTC, or mend the "
        "producer's clock, or raise source.days_around from 0, and materialize the day again"
    )
    assert (found.numbers, found.failures) == ({"value": 0.5, "limit": 0.2}, 1)


def test_redelivered_lines_count_among_those_of_the_day(project: Project) -> None:
    (surface,) = project.configure().surfaces
    repeated = event("a", request_id="r")
    project.land(DAY, [repeated] * 5 + [event("b", of=day(1))])
    with project.store.scratch() as scratch:
        found = audit_events(project.store, surface, DAY, scratch, Shared())

    assert found.verdicts["max_outside_window_share"].numbers["value"] == 1 / 6


def test_files_that_are_cut_at_midnight_of_another_zone_are_refused(project: Project) -> None:
    config = project.configure()
    for number, late in ((0, 4), (1, 4)):
        events = [event(f"i{n}", of=day(number + (n < late))) for n in range(8)]
        project.land(day(number), events)

    report = project.materialize(config, [day(0), day(1)])

    assert failed(report) == {
        (number, "canonical_events", "max_outside_window_share") for number in (0, 1)
    }


def test_a_day_with_a_few_late_lines_is_told_and_published(project: Project) -> None:
    case = load_case(GOLDEN, "exotic")
    config = project.configure(golden_surface(case, GOLDEN / case["raw"], GOLDEN / case["catalog"]))
    (surface,) = config.surfaces

    report = project.materialize(config, [surface.start_date])
    with project.store.scratch() as scratch:
        found = audit_events(project.store, surface, surface.start_date, scratch, Shared())

    assert report.published == [surface.start_date]
    assert found.value is not None
    assert (found.value.lines, found.value.outside_window) == (43, 3)
    assert found.verdicts["max_outside_window_share"].outcome == "warned"
