"""The profile of a day in the store: what later days are judged by, without reading it again.

It stands under the fingerprint of the events that it is of, so a profile of events that were not
accepted is never taken for another's. Whoever deletes one loses time only: it is made again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from threading import Lock
from typing import Final

from recsys_assets.compute.profiles import Profile
from recsys_assets.compute.samples import Sample
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.derived import read_derived
from recsys_assets.storage.frames import from_bytes_beside, to_bytes_beside
from recsys_assets.storage.store import Store, Stored

# Part of where profiles are kept: raise it when the same events would give others.
PROFILE_FORMAT: Final = 1
_MOST_KNOWN: Final = 64  # of 240 kB at most: the days of a history, and some


class KnownProfiles:
    """The profiles of one root that a process read or wrote last: steps ask for the same days."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str, Profile]] = OrderedDict()
        self._lock = Lock()

    def get(self, stored: Stored) -> Profile | None:
        """Return what is stored, if it is known and the same still."""
        with self._lock:
            tag, profile = self._known.get(stored.key, ("", None))
        if profile is None or tag != stored.tag:
            return None
        # Its own sample: the keys of that are made for whoever asks, and are larger.
        return replace(profile, sample=Sample(profile.sample.events, profile.sample.thinned))

    def put(self, stored: Stored, profile: Profile) -> None:
        """Remember what is stored."""
        with self._lock:
            self._known[stored.key] = stored.tag, profile
            self._known.move_to_end(stored.key)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)


def write_profile(
    store: Store,
    place: Place,
    fingerprint: str,
    profile: Profile,
    known: KnownProfiles | None = None,
) -> None:
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
    key = _key(place, profile.day, fingerprint)
    store.write_derived(key, data)
    if known and (stored := store.stat(key)):
        known.put(stored, profile)


def read_profile(
    store: Store, place: Place, day: date, fingerprint: str, known: KnownProfiles | None = None
) -> Profile | None:
    """Return the profile of the events with this fingerprint; None without a readable one.

    Args:
        store: where it is.
        place: whose.
        day: UTC.
        fingerprint: of the events.
        known: what need not be read again.

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
    stored = store.stat(key) if known else None
    if known and stored and (profile := known.get(stored)):
        return profile
    found = read_derived(store, key, parse, then="is made again")
    if known and stored and found:
        known.put(stored, found)
    return found


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
