"""The gates of a day: it is judged by the accepted days before it, and accepted or not.

A day by itself is looked at while others are audited. It is judged in the order of days, when those
before it are accepted or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cache, partial
from typing import Any, Final

from recsys_assets.audit.audited import Later
from recsys_assets.audit.baseline import Baseline
from recsys_assets.audit.shared import Shared
from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.judging import DAY_GATES, NUMBERS, DayGate, Judged, Judgement, judge_day
from recsys_assets.compute.profiles import Profile, profile_of
from recsys_assets.compute.replays import usual_events
from recsys_assets.compute.samples import hashes
from recsys_assets.config import Surface
from recsys_assets.events.listed import known_items
from recsys_assets.pages import Shown
from recsys_assets.storage.found import Figures, Found, keep_day
from recsys_assets.storage.overrides import Override, read_overrides
from recsys_assets.storage.store import Store
from recsys_assets.verdicts import Check, Verdict, judge, passed, skipped

_SHOWN: Final = 3  # items, users or sessions that a failed gate names
_OF_ITEMS: Final = frozenset(
    {
        "top_item",
        "new_items",
        "uncatalogued",
        "replay_popularity",
        "risen_items",
        "replay_cooc",
        "rows",
    }
)
_MOST_ASKED: Final = 1000  # strongest items of the day that may have risen


@dataclass(frozen=True)
class GateFacts:
    """What is known of a day when its gates look at it.

    Attributes:
        surface: whose it is.
        judged: the day in the light of those before it.
        counts: of its events.
        overrides: that are about these events.
    """

    surface: Surface
    judged: Judged
    counts: DayCounts
    overrides: Sequence[Override]


class DayGates:
    """Judges the days of one run, in their order."""

    def __init__(self, store: Store, surface: Surface, shared: Shared) -> None:
        self._known_items = cache(lambda: known_items(surface, shared.catalogs))
        self._store = store
        self._surface = surface
        self._overrides = read_overrides(store, surface.place)
        self._baseline = Baseline(store, surface, self._overrides, known=shared.profiles)

    def begin(
        self, day: date, fingerprint: str, counts: DayCounts, by_hour: Sequence[int]
    ) -> Callable[[], Later]:
        """Look at a day by itself; return what judges it, once the days before it are stored."""
        most = self._surface.gates.sample_events
        profile = profile_of(day, counts, by_hour, most=most, known=self._known_items())
        return partial(self._judge, profile, fingerprint, counts)

    def not_asked(self) -> dict[str, Verdict]:
        """Return the verdicts on a day that is refused anyhow."""
        return dict.fromkeys(DAY_GATES, skipped("the day is refused already"))

    def _judge(self, profile: Profile, fingerprint: str, counts: DayCounts) -> Later:
        day = profile.day
        history = self._baseline.before(day)
        starts = self._baseline.starts(day)
        judged = judge_day(profile, history, self._surface.gates, starts)
        # Kept before the day is accepted, and if it is not: the fingerprint says what it is of.
        self._baseline.judged(fingerprint, judged.profile)
        overrides = [each for each in self._overrides if each.is_of(day, fingerprint)]
        facts = GateFacts(self._surface, judged, counts, overrides)
        verdicts = judge(DAY_GATE_CHECKS, facts)
        keep_day(self._store, self._surface.place, _found(facts, verdicts))
        return Later(verdicts, _shown(judged))


def _found(facts: GateFacts, verdicts: Mapping[str, Verdict]) -> Found:
    """Return what is kept of it for whoever watches many surfaces."""
    judged, found = facts.judged, facts.judged.found
    accepted = {check for each in facts.overrides for check in each.checks}
    gates: list[str] = [*dict.fromkeys(NUMBERS[name].gate for name in found)]
    failed = {gate: gate in judged.profile.failed and gate not in accepted for gate in gates}
    return Found.now(
        judged.profile.day,
        failed,
        {
            name: Figures(NUMBERS[name].gate, each.value, each.level, each.used)
            for name, each in found.items()
        },
        refused=any(verdict.outcome == "failed" for verdict in verdicts.values()),
        drifting=[
            gate
            for gate in gates
            if gate not in judged.profile.failed
            and any(each.stays for name, each in found.items() if NUMBERS[name].gate == gate)
        ],
    )


def _shown(judged: Judged) -> dict[str, Shown]:
    """Return the numbers as the asset page plots them."""
    shown: dict[str, Shown] = {}
    for name, value in judged.profile.numbers.items():
        figures = judged.found[name].figures if name in judged.found else {name: value}
        shown |= {f"gate/{of}": figure for of, figure in figures.items()}
    return shown


def _verdict(gate: DayGate, facts: Any) -> Verdict | None:
    """Return what a gate finds; of facts from before the day is judged, nothing yet."""
    if not isinstance(facts, GateFacts):
        return None
    judged, gates = facts.judged, facts.surface.gates
    found = [each for name, each in judged.found.items() if NUMBERS[name].gate == gate]
    if not found:
        return skipped(_why_not(gate, facts))
    numbers = {name: figure for each in found for name, figure in each.figures.items()}
    wrong = [each for each in found if each.failed]
    if not wrong:
        weak = [each for each in found if each.stays]
        if not weak:
            return passed(**numbers)
        said = f"off to one side for three days, now within the margin: {_said(weak)}"
        return Verdict("warned", said, len(weak), numbers=numbers)
    outcome = Verdict("failed", _said(wrong), len(wrong), _examples(wrong, facts), numbers)
    overrides = [each for each in facts.overrides if gate in each.checks]
    if overrides:
        by = overrides[-1]
        said = f"accepted by {by.who}, {by.reason}: {outcome.description}"
        return replace(outcome, outcome="warned", description=said)
    return outcome if gates.mode == "block" else replace(outcome, outcome="warned")


def _why_not(gate: DayGate, facts: GateFacts) -> str:
    gates, profile = facts.surface.gates, facts.judged.profile
    if profile.is_empty:
        return "the day has no events"
    sessions = int(profile.numbers["sessions"])
    if sessions < gates.min_sessions and gate != "volume":
        return f"gates.min_sessions is {gates.min_sessions:,}, found {sessions:,}: too few to tell"
    learned = facts.judged.learned[gate]
    if learned < gates.warm_up_days:
        return f"learning what is usual: {learned} of {gates.warm_up_days} days"
    return (
        f"of the {gates.reference_days} days before, {len(facts.judged.before)} are accepted, and "
        "half of them are needed; or no number of it has a margin"
    )


def _said(found: Sequence[Judgement]) -> str:
    return "; ".join(map(in_words, found))


def in_words(found: Judgement) -> str:
    """Say how far a number is off, as people read it."""
    number = NUMBERS[found.name]
    value, level, high = (format(of, number.form) for of in (found.value, found.level, found.high))
    least = "up to" if found.low is None else f"{format(found.low, number.form)} to"
    return f"{number.said}: {value}, usually {level}; {least} {high} is sound ({found.name})"


def _examples(wrong: Sequence[Judgement], facts: GateFacts) -> list[dict[str, Any]]:
    """Name the items, users and sessions that a failure is likely about."""
    names, counts, rows = {each.name for each in wrong}, facts.counts, list[dict[str, Any]]()
    before = [each for each in facts.judged.before if not each.is_empty]
    if before and names & _OF_ITEMS:
        rows += _risen_items(facts)
    if names & {"top_user", "new_users", "replay_users", "rows"}:
        users = counts.user_sizes.top_k(_SHOWN, by="events")
        rows += [{"user": user, "events": events} for user, events in users.iter_rows()]
    if names & {"top_session", "length", "repeats"}:
        sessions = counts.session_sizes.select("session_id", "events").top_k(_SHOWN, by="events")
        rows += [{"session": each, "events": events} for each, events in sessions.iter_rows()]
    return rows


def _risen_items(facts: GateFacts) -> list[dict[str, Any]]:
    """Return the items that have most events above what is usual for a day of as many."""
    strongest = facts.counts.items.top_k(_MOST_ASKED, by="count")
    usual = usual_events(
        hashes(strongest["item_id"]), int(facts.judged.profile.numbers["rows"]), facts.judged.before
    )
    found = zip(strongest["item_id"], strongest["count"], usual, strict=True)
    first = sorted(found, key=lambda of: (of[2] - of[1], of[0]))[:_SHOWN]
    return [
        {"item": item, "events": events, "usually": round(of_usual, 1)}
        for item, events, of_usual in first
    ]


def _is_on(surface: Surface, _: str) -> bool:
    return surface.gates.are_on


def _gate(name: DayGate, text: str) -> Check:
    return Check(
        name,
        ["canonical_events"],
        f"Gate: {text} The days before it say what is usual.",
        "unsound-day",
        partial(_verdict, name),
        knobs=[
            "gates.mode",
            *(f"gates.margins.{n}" for n, of in NUMBERS.items() if of.gate == name),
        ],
        where=_is_on,
        where_text="canonical_events, unless `gates.mode` is off",
    )


DAY_GATE_CHECKS: Final[Sequence[Check]] = (
    _gate("volume", "the day has about as many events and sessions as it usually has."),
    _gate("shape", "sessions, hours and the strongest items and users are as they usually are."),
    _gate("identity", "about as many items, users and sessions are new as usually are."),
    _gate("replay", "the days before foretell as much of the day as they usually do."),
)
