"""The profile of a day in the store: what later days are judged by, without reading it again.

It stands under the fingerprint of the events that it is of, so a profile of events that were not
accepted is never taken for another's. Whoever deletes one loses time only: it is made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final

from recsys_assets.compute.profiles import Profile
from recsys_assets.compute.samples import Sample
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.derived import read_derived
from recsys_assets.storage.frames import from_bytes_beside, to_bytes_beside
from recsys_assets.storage.store import Store

# Part of where profiles are kept: raise it when the same events would give others.
PROFILE_FORMAT: Final = 1


def write_profile(store: Store, place: Place, fingerprint: str, profile: Profile) -> None:
    """Keep the profile of the events with this fingerprint."""
    footer = {
        "numbers": dict(profile.numbers),
        "by_hour": list(profile.by_hour),
        "thinned": profile.sample.thinned,
        "reference_days": profile.reference_days,
        "used": dict(profile.used),
        "failed": list(profile.failed),
    }
    data = to_bytes_beside(profile.sample.events, footer)
    store.write_derived(_key(place, profile.day, fingerprint), data)


def read_profile(store: Store, place: Place, day: date, fingerprint: str) -> Profile | None:
    """Return the profile of the events with this fingerprint; None without a readable one.

    Raises:
        StoreUnavailableError: the object store does not answer.
    """

    def parse(data: bytes) -> Profile:
        events, footer = from_bytes_beside(data)
        return Profile(
            day,
            footer["numbers"],
            footer["by_hour"],
            Sample(events, footer["thinned"]),
            footer["reference_days"],
            footer["used"],
            footer["failed"],
        )

    key = _key(place, day, fingerprint)
    return read_derived(store, key, parse, then="is made again")


def newest_profile(
    store: Store, place: Place, day: date, accepted: Mapping[str, datetime]
) -> tuple[str, Profile] | None:
    """Return what was judged last of a day, accepted or not, with its fingerprint.

    Args:
        store: where profiles are.
        place: whose.
        day: UTC.
        accepted: of the events that are accepted, the fingerprint and since when: their profile may
            have been made again since, for the sake of later days.
    """
    judged = list[tuple[datetime, str]]()
    for stored in store.list(layout.profiles_of_day(place, day)):
        fingerprint = layout.profile_named(place, day, stored.key, PROFILE_FORMAT)
        if fingerprint:
            judged.append((accepted.get(fingerprint, stored.modified), fingerprint))
    for _, fingerprint in sorted(judged, reverse=True):
        found = read_profile(store, place, day, fingerprint)
        if found:
            return fingerprint, found
    return None


def _key(place: Place, day: date, fingerprint: str) -> str:
    return layout.profile(place, day, fingerprint, PROFILE_FORMAT)
