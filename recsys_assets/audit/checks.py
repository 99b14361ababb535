"""The table of checks: every check of every asset, one row each.

A kind's own checks stand in its row (`kinds.py`). docs/add-a-check.md adds one, step by step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from recsys_assets.audit.catalog_gate import CATALOG_CHECK
from recsys_assets.audit.gates import DAY_GATE_CHECKS
from recsys_assets.audit.release_checks import RELEASE_CHECKS
from recsys_assets.config import Surface
from recsys_assets.kind import ArtifactFacts
from recsys_assets.kinds import KINDS
from recsys_assets.live.status import SurfaceStatus, stale_because
from recsys_assets.verdicts import (
    Check,
    Subject,
    Verdict,
    at_least,
    at_most,
    failed,
    guardrail,
    passed,
    skipped,
    surely_at_least,
    surely_at_most,
)

if TYPE_CHECKING:
    from recsys_assets.events.days import ParsedDay


@dataclass(frozen=True)
class EventFacts:
    """What is known of a day of canonical events when its checks look at it.

    Attributes:
        surface: whose it is.
        day: the day as it was parsed.
        contract: whether its rows keep their contract.
        distinct: number of distinct `session_id`, `item_id` and `user_id` in it.
        oversized: sessions that are left out of more kinds than cooc; None where they are not.
        shared_sessions: sessions in which several users are.
    """

    surface: Surface
    day: ParsedDay
    contract: Verdict
    distinct: Mapping[str, int]
    oversized: int | None = None
    shared_sessions: int = 0


@dataclass(frozen=True)
class CandidateFacts:
    """What is known of what is to become live when the checks of `manifest` look at it.

    Attributes:
        surface: whose it is.
        current: kind to URI, of the kinds that may be published.
        problems: of each kind that may not, why.
    """

    surface: Surface
    current: Mapping[str, str]
    problems: Mapping[str, str]


_MOST_NAMED: Final = 10  # files of a day of which no line is an event


def _inputs(facts: EventFacts | ArtifactFacts) -> Verdict:
    """Tell of a day that was made: what it lacks ends the audit before there are facts."""
    if not isinstance(facts, EventFacts):
        return passed()
    refused, files = facts.day.refused_files, len(facts.day.files)
    if not files and not facts.surface.guardrails.min_events:
        text = (
            f"no {facts.day.wanted}: taken for a day without events, as guardrails.min_events: 0 "
            "allows. Land an empty file of a quiet day, and a lost file is told from it"
        )
        return Verdict("warned", text, 1, numbers={"raw_files": 0})
    if not refused:
        return passed(raw_files=files)
    said = [
        f"{file.location}: no line is an event, {file.lines:,} refused; "
        f"line {file.first.line}: {file.first.reason}"
        + (f", {file.first.detail}" if facts.surface.shows_ids else "")
        for file in refused[:_MOST_NAMED]
    ]
    more = [f"and {len(refused) - _MOST_NAMED} more files"] if len(refused) > _MOST_NAMED else []
    return failed(
        f"{'; '.join(said + more)}. Land what it should hold in its place, or take it away",
        failures=len(refused),
        rows=facts.day.first_refused,
    )


def _enough_events(facts: EventFacts) -> Verdict:
    day = facts.day
    because = (
        f"; {day.lines:,} raw lines: {day.refused.total():,} refused, "
        f"{day.outside_window:,} outside the day, {day.other_surface:,} of other surfaces, "
        f"{day.redelivered:,} redelivered"
        + (f", {day.left_out:,} left out by `where` or without an entry" if day.left_out else "")
        + (f", {day.of_days_around:,} of the days around" if day.of_days_around else "")
        if day.own_files
        else f"; no {day.wanted}"
        + (f"; {day.from_days_around:,} events in files of the days around" if day.files else "")
    )
    return at_least(facts.surface.guardrails, "min_events", day.events, because=because)


# Above this share of lines outside the day, a file is rather cut wrong than a few events late.
_OUTSIDE_WARNS_ABOVE: Final = 0.01


def _of_the_day(facts: EventFacts) -> Verdict:
    day = facts.day
    share = day.outside_window_share
    if not facts.surface.source.is_by_day:
        return passed(outside_window=day.outside_window)
    found = at_most(facts.surface.guardrails, "max_outside_window_share", share)
    if found.passed and share <= _OUTSIDE_WARNS_ABOVE:
        return found
    around = facts.surface.source.days_around
    text = (
        f"{day.outside_window:,} of {day.own_events:,} events in the day's files are not of "
        f"{day.day}, UTC, "
        + (f"or up to {around} days before or after it, " if around else "")
        + "and are left out. Cut the files at midnight UTC, or mend the producer's clock, or raise "
        f"source.days_around from {around}, and materialize the day again"
    )
    if found.passed:  # the limit is not what is wrong
        return replace(found, outcome="warned", description=text, failures=1)
    return replace(found, description=f"{found.description}: {text}")


# Above this share of sessions with several users, ids of sessions are rather not unique.
_SHARED_WARNS_ABOVE: Final = 0.01


def _sessions_of_one_user(facts: EventFacts) -> Verdict:
    shared, sessions = facts.shared_sessions, facts.distinct["session_id"]
    if surely_at_least(shared, sessions) <= _SHARED_WARNS_ABOVE:
        return passed(sessions_of_several_users=shared)
    return failed(
        f"{shared:,} of {sessions:,} sessions have several users, more than "
        f"{_SHARED_WARNS_ABOVE:.0%}: what strangers saw counts as seen together. Make session_id "
        "unique over all users",
        failures=shared,
    )


# Above these shares, repeats are not what people do, and request_id is not of one event.
_REPEATED_WARNS_ABOVE: Final = 0.001
_OTHER_ITEMS_WARN_ABOVE: Final = 0.01


def _are_told_apart(facts: EventFacts) -> Verdict:
    day = facts.day
    if day.repeated > _REPEATED_WARNS_ABOVE * day.undistinguished:
        return failed(
            f"{day.repeated:,} of {day.undistinguished:,} events without a request_id are equal to "
            "another one in every column: if their lines were delivered twice, they count twice. "
            "Give request_id an id that each event has to itself, and set source.deduplicate_by",
            failures=day.repeated,
        )
    if day.other_items > _OTHER_ITEMS_WARN_ABOVE * day.redelivered:
        return failed(
            f"{day.other_items:,} of {day.redelivered:,} events that were left out are of another "
            "item than the one with their request_id that stays: it is not of one event alone. "
            "Take source.deduplicate_by away, or map request_id to what each event has to itself",
            failures=day.other_items,
        )
    return passed(repeated=day.repeated)


def _few_oversized(facts: EventFacts) -> Verdict:
    name, sessions = "max_oversized_session_share", facts.distinct["session_id"]
    return surely_at_most(facts.surface.guardrails, name, facts.oversized or 0, sessions)


def _few_refused(facts: EventFacts) -> Verdict:
    day = facts.day
    found = at_most(
        facts.surface.guardrails, "max_rejected_share", day.rejected_share, rows=day.first_refused
    )
    # A day that is blocked has no metadata that would count them.
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in (+day.refused).most_common())
    return replace(found, description=f"{found.description}: {reasons}") if reasons else found


def _small_enough(facts: ArtifactFacts) -> Verdict:
    if facts.size_bytes is None:
        return skipped("the contract is broken, so there is no document")
    return at_most(facts.surface.guardrails, "max_artifact_bytes", facts.size_bytes)


def _window_is_complete(facts: ArtifactFacts) -> Verdict:
    missing = [str(day) for day in facts.missing]
    if not missing:
        return passed()
    return failed(f"the window lacks {', '.join(missing)}", failures=len(missing))


def _has_window(surface: Surface, kind: str) -> bool:
    return surface.window_days > 1 and KINDS[kind].reads == "events"


def _publishable(facts: CandidateFacts) -> Verdict:
    if not facts.problems:
        return passed(kinds=len(facts.current))
    return failed(
        "; ".join(f"{kind}: {problem}" for kind, problem in facts.problems.items()),
        failures=len(facts.problems),
        rows=[{"kind": kind, "problem": problem} for kind, problem in facts.problems.items()],
    )


def _fresh(status: SurfaceStatus) -> Verdict:
    because = stale_because(status)
    hours = None if status.age is None else round(status.age.total_seconds() / 3600, 2)
    numbers = {
        "days_behind": status.days_behind,
        "hours_since_flip": hours,
        "generation": status.generation,
        "pinned": None if status.error else int(status.pin is not None),
    }
    return Verdict(
        "failed" if because else "passed",
        f"{status.surface.name}: {because or 'fresh'}",
        failures=int(because is not None),
        numbers={name: value for name, value in numbers.items() if value is not None},
    )


INPUTS: Final = "inputs"
PUBLISHABLE: Final = "publishable"
FRESH: Final = "fresh"
_EVENTS: Final[Sequence[Subject]] = ("canonical_events",)
_MADE: Final[Sequence[Subject]] = ("canonical_events", "artifact")

CHECKS: Final = (
    Check(
        INPUTS,
        _MADE,
        "Everything the day is made of is there and can be read; no raw file is all refused.",
        "validation-failed",
        _inputs,
        knobs=["guardrails.max_backfill_days"],
    ),
    Check(
        "contract",
        _MADE,
        "Every value, order and uniqueness rule of the contract in contracts.py holds.",
        "validation-failed",
        lambda facts: facts.contract,
    ),
    guardrail("min_events", _EVENTS, _enough_events),
    guardrail(
        "max_events",
        _EVENTS,
        lambda facts: at_most(facts.surface.guardrails, "max_events", facts.day.events),
    ),
    guardrail(
        "max_sessions",
        _EVENTS,
        lambda facts: at_most(
            facts.surface.guardrails, "max_sessions", facts.distinct["session_id"]
        ),
    ),
    guardrail(
        "max_distinct_items",
        _EVENTS,
        lambda facts: at_most(
            facts.surface.guardrails, "max_distinct_items", facts.distinct["item_id"]
        ),
    ),
    guardrail(
        "max_users",
        _EVENTS,
        lambda facts: at_most(facts.surface.guardrails, "max_users", facts.distinct["user_id"]),
    ),
    guardrail("max_outside_window_share", _EVENTS, _of_the_day),
    guardrail("max_rejected_share", _EVENTS, _few_refused),
    guardrail(
        "max_rejected_bytes_share",
        _EVENTS,
        lambda facts: at_most(
            facts.surface.guardrails,
            "max_rejected_bytes_share",
            facts.day.rejected_bytes_share,
            rows=facts.day.first_refused,
        ),
    ),
    guardrail(
        "max_oversized_session_share",
        _EVENTS,
        _few_oversized,
        knobs=["max_items_per_session"],
        where=lambda surface, _: surface.bots.beyond_cooc,
        where_text="canonical_events, when `bots.leave_out_of` names more than cooc",
    ),
    Check(
        "sessions_of_one_user",
        _EVENTS,
        "Hardly any session has several users. If many do, the ids of sessions are not unique.",
        "validation-failed",
        _sessions_of_one_user,
        blocks=False,
    ),
    Check(
        "events_are_told_apart",
        _EVENTS,
        "Hardly any event without a request_id is equal to another one in every column, and what "
        "`source.deduplicate_by` leaves out is of the item that stays.",
        "validation-failed",
        _are_told_apart,
        blocks=False,
        knobs=["source.deduplicate_by"],
    ),
    *DAY_GATE_CHECKS,
    guardrail("max_artifact_bytes", ["artifact"], _small_enough),
    *(check for kind in KINDS.values() for check in kind.own_checks),
    CATALOG_CHECK,
    Check(
        "window_is_complete",
        ["artifact"],
        "No older day of the trailing window is missing. A gap is tolerated.",
        "validation-failed",
        _window_is_complete,
        blocks=False,
        where=_has_window,
        where_text="event-based artifacts, when `window_days` is over 1",
    ),
    Check(
        PUBLISHABLE,
        ["manifest"],
        "Every kind is staged for the day, made of its accepted events, and unaltered.",
        "validation-failed",
        _publishable,
        knobs=["guardrails.max_backfill_days"],
    ),
    *RELEASE_CHECKS,
    Check(
        FRESH,
        ["live"],
        "What is live is as new as `freshness` of surfaces.yaml promises.",
        "stale-artifacts",
        _fresh,
        knobs=["freshness.max_days_behind", "freshness.max_hours_since_flip"],
    ),
)


def checks_of(surface: Surface, asset: str) -> list[Check]:
    """Return the checks of an asset, by its name: of an artifact, its kind."""
    subject = "artifact" if asset in KINDS else asset
    return [check for check in CHECKS if subject in check.of and check.where(surface, asset)]
