"""Accept a day against its gates: on the record, with who and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial

from recsys_assets.audit.catalog_gate import CATALOG_CHECK, CATALOG_FITS
from recsys_assets.compute.judging import DAY_GATES
from recsys_assets.config import Surface
from recsys_assets.errors import InputError, StorageError
from recsys_assets.events.accepted import accepted_days
from recsys_assets.events.catalog import read_catalog
from recsys_assets.operations.pointer import require_reason
from recsys_assets.storage import layout
from recsys_assets.storage.overrides import Override, record_override
from recsys_assets.storage.profiles import newest_profile
from recsys_assets.storage.publications import Why
from recsys_assets.storage.registry import utc_text
from recsys_assets.storage.store import Store


def override_gates(
    store: Store,
    surface: Surface,
    day: date,
    checks: Sequence[str],
    why: Why,
    *,
    ahead: bool = False,
    restart_baseline: bool = False,
) -> Override:
    """Record that a day is to be accepted whatever some gates find of it.

    It takes effect when the day is materialized again.

    Args:
        store: where the record is kept.
        surface: whose day.
        day: UTC.
        checks: the gates that are passed over.
        why: who asks for it, and for what reason.
        ahead: whether it is about events that are not there yet, whichever they will be. Otherwise
            it is about those that the gates failed last, and no others; of `catalog_fits`, about
            the catalog as it is now.
        restart_baseline: whether, for these gates, the days before it say nothing of later ones.

    Raises:
        InputError: no reason was given, there is no such gate or day, it judges the events that a
            variant has of its base, or these gates failed no events of the day.
    """
    require_reason(why)
    if day < surface.start_date or (surface.end_date and day >= surface.end_date):
        last = f" to {surface.end_date - timedelta(days=1)}" if surface.end_date else " on"
        raise InputError(
            f"{surface.name} has the days {surface.start_date}{last}, not {day}: name one of them"
        )
    gates = (*DAY_GATES, CATALOG_FITS)
    if unknown := [check for check in checks or [""] if check not in gates]:
        raise InputError(f"no gate {unknown[0]!r}; there are: {', '.join(gates)}")
    if not surface.gates.are_on:
        raise InputError(f"gates.mode of {surface.name} is off: there is nothing to override")
    of_catalog = CATALOG_FITS in checks
    if of_catalog and len({*checks}) > 1:
        raise InputError(
            f"{CATALOG_FITS} is about a catalog and not about events: override it alone"
        )
    if of_catalog and not any(map(partial(CATALOG_CHECK.where, surface), surface.artifacts.kinds)):
        raise InputError(f"{surface.name} has no artifact that {CATALOG_FITS} is a gate of")
    if of_catalog and restart_baseline:
        raise InputError(
            f"{CATALOG_FITS} compares with what is live and has no baseline: leave "
            "--restart-baseline out (`restart_baseline` in the job)"
        )
    if surface.variant_of and not of_catalog:
        raise InputError(
            f"{surface.name} is a variant of {surface.variant_of}, whose events gates judge: "
            f"override those of {surface.variant_of}"
        )
    meant = None
    if not ahead and of_catalog:
        meant = read_catalog(surface.known_catalog).fingerprint
    elif not ahead:
        meant = _failed_events(store, surface, day, checks)
    now = datetime.now(UTC)
    record = Override(
        day,
        tuple(dict.fromkeys(checks)),
        meant,
        restart_baseline,
        why.who,
        why.reason,
        why.run_id,
        utc_text(now),
    )
    record_override(store, surface.place, record, now)
    return record


def _failed_events(store: Store, surface: Surface, day: date, checks: Sequence[str]) -> str:
    """Return the fingerprint of the events that gates failed last."""
    found = newest_profile(store, surface.place, day, _accepted_since(store, surface, day))
    if found is None:
        raise InputError(
            f"no events of {surface.name} {day} were judged yet: materialize the day first, or "
            "announce the override with --ahead (`ahead` in the job)"
        )
    fingerprint, profile = found
    if passed := [check for check in checks if check not in profile.failed]:
        failed = f"failed {', '.join(profile.failed)}" if profile.failed else "failed no gate"
        raise InputError(
            f"{surface.name} {day} {failed}, and passed {', '.join(passed)}: name those that it "
            "failed"
        )
    return fingerprint


def _accepted_since(store: Store, surface: Surface, day: date) -> dict[str, datetime]:
    """Return since when the events of a day are accepted, behind their fingerprint."""
    stored = store.stat(layout.canonical(surface.place, day))
    try:
        accepted = accepted_days(store, surface.place, [day])
    except StorageError:  # damaged: made again, they are judged anew
        return {}
    return {of.fingerprint: stored.modified for of in accepted.values() if stored}
