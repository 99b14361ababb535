"""A day of canonical events: parse it, and find out whether it may be accepted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import polars as pl

from recsys_assets import contracts, pages
from recsys_assets.audit.audited import Audited
from recsys_assets.audit.checks import EventFacts, checks_of
from recsys_assets.audit.contract import check_pieces, one_ahead
from recsys_assets.audit.gates import DayGates
from recsys_assets.audit.shared import Shared
from recsys_assets.compute.bots import oversized_sessions
from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.config import Surface
from recsys_assets.events.accepted import refuse_erased_since
from recsys_assets.events.days import ParsedDay, parse_day
from recsys_assets.events.erased import erased_of
from recsys_assets.pages import Json, Link, Shown
from recsys_assets.storage import layout
from recsys_assets.storage.store import Store
from recsys_assets.verdicts import judge


def audit_events(
    store: Store,
    surface: Surface,
    day: date,
    scratch: Path,
    shared: Shared,
    gates: DayGates | None = None,
) -> Audited[ParsedDay]:
    """Parse a day of canonical events; refused lines are kept whatever the verdicts.

    Args:
        store: where everything is.
        surface: whose events.
        day: UTC.
        scratch: where the parsed day is put.
        shared: what is parsed and counted already.
        gates: judge the day by the days before it; None does not.

    Raises:
        RawEventsError: an input cannot be read.
        EraseKeyError: persons were erased, and the key that they are recognised by is not there.
    """
    parsed = parse_day(surface, day, scratch=scratch, erased=erased_of(store, surface))
    rejected = layout.rejected(surface.place, day)
    if parsed.rejected_path:
        refuse_erased_since(store, surface.place, parsed)
        # Kept whether or not the day passes: it is what one needs to see when it does not.
        store.replace(rejected, parsed.rejected_path)
    elif store.stat(rejected):  # most days have none, and who may not delete must not be asked to
        store.delete(rejected)
    counts = _counts(surface, parsed, shared)
    shared_sessions = counts.sessions_of_several_users()
    # Gates ask for the sizes of users, which find the users on the way.
    users = counts.user_sizes["user_id"] if gates else counts.users
    ids = (counts.sessions, counts.item_ids, users)
    distinct = {of_one.name: of_one.len() for of_one in ids}
    limits = surface.guardrails
    oversized = (
        oversized_sessions(counts, limits.max_items_per_session).len()
        if surface.bots.beyond_cooc
        else None
    )
    by_hour = [0] * 24
    contract = check_pieces(
        contracts.canonical_event(day, surface.source.further_columns),
        _counted_by_hour(one_ahead(parsed.groups()), by_hour),
    )
    shown: dict[str, Shown] = {
        **pages.show_events(by_hour),
        "dagster/row_count": parsed.events,
        "dagster/uri": store.uri(layout.canonical(surface.place, day)),
        "sessions": distinct["session_id"],
        **({"built_sessions": parsed.built_sessions} if surface.source.sessions else {}),
        "users": distinct["user_id"],
        "items": distinct["item_id"],
        "sessions_of_several_users": shared_sessions,
        **({} if oversized is None else {"oversized_sessions": oversized}),
        "refused": parsed.refused.total(),
        "refused_by_reason": Json(dict(sorted(parsed.refused.items()))),
        "refused_bytes": parsed.refused_bytes,
        "redelivered": parsed.redelivered,
        "outside_window": parsed.outside_window,
        "other_surface": parsed.other_surface,
        "left_out": parsed.left_out,
        "raw_files": Json([file.name for file in parsed.files]),
        "raw_bytes": sum(file.size_bytes for file in parsed.files),
        "size_bytes": parsed.path.stat().st_size,
        "seconds": round(parsed.seconds, 3),
        "fingerprint": parsed.fingerprint,
    }
    if surface.source.days_around:
        shown["from_days_around"] = parsed.from_days_around
        shown["of_days_around"] = parsed.of_days_around
    if parsed.list_tag is not None:
        shown["erased"] = parsed.erased
    if parsed.rejected_path:
        shown["rejected"] = Link(store.uri(rejected))
    if parsed.not_kept:
        shown["refused_not_kept"] = Json(
            {file: asdict(lines) for file, lines in parsed.not_kept.items()}
        )
    facts = EventFacts(surface, parsed, contract, distinct, oversized, shared_sessions)
    verdicts = judge(checks_of(surface, "canonical_events"), facts)
    audited = Audited(verdicts, parsed, parsed.fingerprint, shown)
    if gates is None:
        return audited
    if audited.failures:
        return replace(audited, verdicts={**verdicts, **gates.not_asked()})
    return replace(audited, later=gates.begin(day, parsed.fingerprint, counts, by_hour))


def _counts(surface: Surface, parsed: ParsedDay, shared: Shared) -> DayCounts:
    """Return the counts of a day.

    The artifacts that this process makes of the day find them counted. Those of a longer window
    look for what is kept, and nothing is kept of a day that is not accepted yet.
    """
    keep = shared.counts.of(parsed.fingerprint) if surface.longest_window == 1 else None
    return DayCounts(parsed.frame, keep, rows=parsed.events)


def _counted_by_hour(pieces: Iterable[pl.DataFrame], by_hour: list[int]) -> Iterator[pl.DataFrame]:
    """Add the events of each piece to the hours of the day as it passes."""
    for piece in pieces:
        for hour, events in piece["ts"].dt.hour().value_counts().iter_rows():
            by_hour[hour] += events
        yield piece
