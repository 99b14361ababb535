"""Lines that repeat word by word warn, and so does a request that is not of one event."""

from __future__ import annotations

from typing import Any

import pytest

from recsys_assets.audit.events import audit_events
from recsys_assets.audit.shared import Shared
from recsys_assets.verdicts import Verdict
from recsys_assets_tests.project import DAY, Project, event


def verdict(project: Project, *events: dict[str, Any], **source: Any) -> Verdict:
    (surface,) = project.configure({"source": {"path": "raw", **source}}).surfaces
    project.land(DAY, events)
    with project.store.scratch() as scratch:
        found = audit_events(project.store, surface, DAY, scratch, Shared())
    return found.verdicts["events_are_told_apart"]


def test_lines_that_came_twice_warn_and_are_told(project: Project) -> None:
    found = verdict(project, event("a"), event("b"), event("a"))

    assert (found.outcome, found.failures) == ("warned", 1)
    assert found.description == (
        "1 of 3 events without a request_id are equal to another one in every column: if their "
        "lines were delivered twice, they count twice. Give request_id an id that each event has "
        "to itself, and set source.deduplicate_by"
    )


@pytest.mark.parametrize(("repeated", "outcome"), [(1, "passed"), (2, "warned")])
def test_one_of_a_thousand_is_what_people_do(project: Project, repeated: int, outcome: str) -> None:
    events = [event(f"i{n}") for n in range(1500)]

    assert verdict(project, *events, *events[:repeated]).outcome == outcome


def test_lines_with_a_request_are_told_apart(project: Project) -> None:
    events = [event("a", request_id="r"), event("a", request_id="q"), event("a", request_id="r")]

    found = verdict(project, *events)

    assert (found.outcome, found.numbers) == ("passed", {"repeated": 0})


def test_a_request_of_several_items_tells_no_events_apart(project: Project) -> None:
    events = [event(item, request_id="r", rank=n) for n, item in enumerate("abc")]

    assert verdict(project, *events).outcome == "passed"
    found = verdict(project, *events, deduplicate_by="request_id")

    assert (found.outcome, found.failures) == ("warned", 2)
    assert found.description == (
        "2 of 2 events that were left out are of another item than the one with their request_id "
        "that stays: it is not of one event alone. Take source.deduplicate_by away, or map "
        "request_id to what each event has to itself"
    )
