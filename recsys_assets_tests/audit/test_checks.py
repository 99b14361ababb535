"""The table of checks, and what its rows say of a day."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.audit.checks import CHECKS, EventFacts, checks_of
from recsys_assets.config import Surface
from recsys_assets.events.days import ParsedDay
from recsys_assets.events.provenance import Provenance
from recsys_assets.events.sources import InputSeen, open_source
from recsys_assets.kinds import KINDS
from recsys_assets.verdicts import Verdict, judge, passed
from recsys_assets_tests.frames import DAY

EVENT_LIMITS = {
    "min_events": 10,
    "max_events": 20,
    "max_sessions": 5,
    "max_distinct_items": 6,
    "max_users": 7,
    "max_rejected_share": 0.25,
    "max_rejected_bytes_share": 0.125,
}
DISTINCT = {"session_id": 5, "item_id": 6, "user_id": 7}


def surface(**limits: Any) -> Surface:
    return Surface.model_validate(
        {
            "tenant": "demo",
            "surface": "home",
            "start_date": DAY,
            "source": {"path": "/data/raw"},
            "artifacts": {"popularity": {}},
            "guardrails": {**EVENT_LIMITS, **limits},
        }
    )


def staged(
    *, events: int = 15, lines: int = 20, refused: int = 0, refused_bytes: int = 0, files: int = 1
) -> ParsedDay:
    seen = [InputSeen(f"{number}.jsonl", 0, "") for number in range(files)]
    return ParsedDay(
        day=DAY,
        path=Path("/staged.parquet"),
        rejected_path=None,
        provenance=Provenance("f", seen, {}),
        wanted=open_source(surface()).wanted(DAY),
        lines=lines,
        events=events,
        size_bytes=100 * lines,
        refused=Counter({"bad JSON": refused}),
        refused_bytes=refused_bytes,
        refused_files=[],
        not_kept={},
        first_refused=[{"line": 3, "reason": "bad JSON"}],
        redelivered=4,
        outside_window=2,
        other_surface=1,
        left_out=0,
        built_sessions=0,
        seconds=0.0,
        own_files=files,
    )


def judged(of: Surface, day: ParsedDay, distinct: dict[str, int]) -> dict[str, Verdict]:
    """Return the verdicts of the guardrails of canonical events."""
    facts = EventFacts(of, day, passed(), distinct)
    checks = checks_of(of, "canonical_events")
    return judge([check for check in checks if check.name in EVENT_LIMITS], facts)


def test_a_day_within_its_limits_passes_every_guardrail_in_their_order() -> None:
    verdicts = judged(surface(), staged(), {"session_id": 1, "item_id": 1, "user_id": 0})

    assert list(verdicts) == list(EVENT_LIMITS)
    assert all(verdict.passed for verdict in verdicts.values())


def test_a_day_that_hits_every_upper_limit_exactly_passes() -> None:
    assert all(
        verdict.passed
        for verdict in judged(
            surface(), staged(events=20, lines=20, refused=5, refused_bytes=250), DISTINCT
        ).values()
    )


def test_a_day_of_exactly_the_fewest_events_passes() -> None:
    assert all(
        verdict.passed for verdict in judged(surface(), staged(events=10), DISTINCT).values()
    )


@pytest.mark.parametrize(
    ("name", "day", "distinct", "limit", "value"),
    [
        ("min_events", staged(events=9), DISTINCT, "10", "9"),
        ("max_events", staged(events=21), DISTINCT, "20", "21"),
        ("max_sessions", staged(), {**DISTINCT, "session_id": 6}, "5", "6"),
        ("max_distinct_items", staged(), {**DISTINCT, "item_id": 7}, "6", "7"),
        ("max_users", staged(), {**DISTINCT, "user_id": 8}, "7", "8"),
        ("max_rejected_share", staged(refused=6), DISTINCT, "0.25", "0.3"),
        ("max_rejected_bytes_share", staged(refused_bytes=300), DISTINCT, "0.125", "0.15"),
    ],
)
def test_one_more_fails_only_its_own_guardrail_which_names_knob_limit_and_value(
    name: str, day: ParsedDay, distinct: dict[str, int], limit: str, value: str
) -> None:
    verdicts = judged(surface(), day, distinct)

    assert [each for each, verdict in verdicts.items() if not verdict.passed] == [name]
    verdict = verdicts[name]
    assert verdict.description.startswith(f"guardrails.{name} is {limit}, found {value}")
    assert verdict.numbers == {"value": float(value), "limit": float(limit)}
    assert verdict.failures == 1


def test_an_empty_day_passes_when_no_event_is_needed() -> None:
    day = staged(events=0, lines=0, files=0)

    verdicts = judged(surface(min_events=0), day, dict.fromkeys(DISTINCT, 0))

    assert all(verdict.passed for verdict in verdicts.values())


def test_too_few_events_without_a_file_say_where_files_were_looked_for() -> None:
    verdict = judged(surface(), staged(events=0, lines=0, files=0), DISTINCT)["min_events"]

    assert verdict.description == (
        "guardrails.min_events is 10, found 0; no raw file matches "
        "'demo/home/exposure.2026-01-01*.jsonl*' below /data/raw"
    )


def test_too_few_events_of_other_days_files_say_how_many_they_hold() -> None:
    day = replace(staged(events=3, lines=3), own_files=0, from_days_around=3)

    assert judged(surface(), day, DISTINCT)["min_events"].description == (
        "guardrails.min_events is 10, found 3; no raw file matches "
        "'demo/home/exposure.2026-01-01*.jsonl*' below /data/raw; 3 events in files of the "
        "days around"
    )


def test_too_few_events_of_some_files_say_what_became_of_the_lines() -> None:
    verdict = judged(surface(), staged(events=0, lines=1012, refused=5), DISTINCT)["min_events"]

    assert verdict.description == (
        "guardrails.min_events is 10, found 0; 1,012 raw lines: 5 refused, 2 outside the day, "
        "1 of other surfaces, 4 redelivered"
    )


def test_few_lines_of_many_bytes_are_too_much_and_shown() -> None:
    bad = judged(surface(), staged(refused=1, refused_bytes=300), DISTINCT)

    assert [name for name, verdict in bad.items() if not verdict.passed] == [
        "max_rejected_bytes_share"
    ]
    assert bad["max_rejected_bytes_share"].rows == [{"line": 3, "reason": "bad JSON"}]


def test_too_many_refused_lines_show_the_first_of_them_and_few_do_not() -> None:
    bad = judged(surface(), staged(refused=6), DISTINCT)["max_rejected_share"]
    good = judged(surface(), staged(refused=5), DISTINCT)["max_rejected_share"]

    assert bad.rows == [{"line": 3, "reason": "bad JSON"}]
    assert bad.description.endswith("found 0.3: bad JSON (6)")
    assert good.rows == ()


def names(of: Surface, asset: str) -> list[str]:
    return [check.name for check in checks_of(of, asset)]


def test_each_asset_has_the_checks_of_its_subject_and_a_kind_its_own() -> None:
    events = names(surface(), "canonical_events")

    known = ["inputs", "contract", *EVENT_LIMITS]
    assert [name for name in events if name in known] == known
    for kind in KINDS.values():
        own = [check.name for check in kind.checks]
        own += ["catalog_fits"] if kind.layout.value == "tags" else []
        assert names(surface(), kind.name) == ["inputs", "contract", "max_artifact_bytes", *own]
    assert "max_oversized_session_share" in names(surface(), "cooc")
    assert names(surface(), "manifest") == ["publishable", "nothing_emptied", "no_worse_than_live"]
    assert names(surface(), "live") == ["fresh"]


def test_only_where_there_is_a_window_it_can_be_incomplete() -> None:
    of = surface().model_copy(update={"window_days": 2})

    for asset in ("canonical_events", *KINDS, "manifest", "live"):
        has_window = asset in KINDS and KINDS[asset].reads == "events"
        assert ("window_is_complete" in names(of, asset)) == has_window, asset


def test_every_check_blocks_but_that_of_an_incomplete_window() -> None:
    known = {"inputs", "contract", *EVENT_LIMITS, "max_artifact_bytes", "window_is_complete"}
    known |= {"max_oversized_session_share", "publishable", "fresh"}
    warning = [check.name for check in CHECKS if check.name in known and not check.blocks]
    assert warning == ["window_is_complete"]
    blocking = {check.name for check in CHECKS if check.blocks}
    assert blocking >= {
        "contract",
        "inputs",
        "publishable",
        "max_artifact_bytes",
        "max_oversized_session_share",
        *EVENT_LIMITS,
    }


@pytest.mark.parametrize(
    ("shared", "sessions", "outcome"),
    [(0, 0, "passed"), (0, 9, "passed"), (1, 98, "passed"), (3, 98, "warned"), (2, 3, "warned")],
)
def test_many_sessions_of_several_users_are_warned_of(
    shared: int, sessions: int, outcome: str
) -> None:
    distinct = {"session_id": sessions, "item_id": 1, "user_id": 2}
    facts = EventFacts(surface(), staged(), passed(), distinct, shared_sessions=shared)
    checks = checks_of(surface(), "canonical_events")

    (found,) = judge([c for c in checks if c.name == "sessions_of_one_user"], facts).values()

    assert found.outcome == outcome
    if outcome == "warned":
        said = f"{shared} of {sessions} sessions have several users, more than 1%: "
        assert found.description.startswith(said)


@pytest.mark.parametrize("beyond", [False, True])
def test_the_share_of_oversized_sessions_is_told_of_where_they_are_left_out(beyond: bool) -> None:
    of = surface()
    kinds = "all" if beyond else ["cooc"]
    of = of.model_copy(update={"bots": of.bots.model_copy(update={"leave_out_of": kinds})})

    name = "max_oversized_session_share"
    assert (name in names(of, "canonical_events")) == beyond
    assert (name in names(of, "cooc")) != beyond
