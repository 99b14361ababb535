"""Where everything lies below the root: each key is spelled here and nowhere else.

docs/output-layout.md describes the same to people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Final, Literal

from recsys_assets.places import Place

Promoted = Literal["versions", "days", "whole", "list", "not"]

# Every prefix below which a surface has objects, and what a promotion to another root takes of it:
# of the versions that are live, of the days that later ones look back to, all of it, the list of
# who was erased, which may only grow, or nothing, since it is made there, or made again.
LAYERS: Final[Mapping[str, Promoted]] = {
    "canonical": "days",
    "comparisons": "not",
    "counts": "not",
    "deliveries": "not",
    "details": "whole",
    "exports": "not",
    "gates": "not",
    "latencies": "not",
    "objectstore": "versions",
    "outlines": "not",
    "profiles": "not",
    "registry/current": "not",
    "registry/erased": "list",
    "registry/overrides": "whole",
    "registry/publications": "not",
    "registry/records": "versions",
    "rejected": "not",
    "staged": "versions",
}


def of_place(layer: str, place: Place) -> str:
    """Return the prefix of a surface's objects in a layer such as `staged` or `objectstore`."""
    return f"{layer}/{place.name}"


def canonical(place: Place, day: date) -> str:
    """Return the key of a day's canonical events; replaced whole."""
    return f"canonical/{place.name}/exposures/{day}.parquet"


def canonical_day(place: Place, key: str) -> date | None:
    """Return the day in a key that `canonical` gives; None of any other."""
    return _day_named(key, ".parquet", lambda day: canonical(place, day))


def counts(place: Place, day: date, fingerprint: str, table: str) -> str:
    """Return the key of a table of a day's counts; a function of the events it is named after."""
    return f"counts/{place.name}/{day}/{fingerprint}/{table}.parquet"


def profile(place: Place, day: date, fingerprint: str, form: int) -> str:
    """Return the key of what is kept of a day's events, of that fingerprint, to judge others by."""
    return f"{profiles_of_day(place, day)}/{fingerprint}-{form}.arrow"


def profiles_of_day(place: Place, day: date) -> str:
    """Return the prefix of the profiles of all events that a day has had."""
    return f"{of_place('profiles', place)}/{day}"


def profile_named(place: Place, day: date, key: str, form: int) -> str | None:
    """Return the fingerprint in a key that `profile` gives; None of any other."""
    found = re.search(r"/([^/-]+)-\d+\.arrow$", key)
    return found[1] if found and profile(place, day, found[1], form) == key else None


def override(place: Place, name: str) -> str:
    """Return the key of the record of an override of gates; write-once."""
    return f"registry/overrides/{place.name}/{name}.json"


# The layers below which ids of users stand, as they are or as hashes without a key; no other has
# any. Whoever adds one adds how it is looked through, in operations/find_user.py.
HOLD_IDS: Final[Mapping[str, Literal["ids", "hashes"]]] = {
    "canonical": "ids",
    "rejected": "ids",
    "objectstore": "ids",
    "counts": "ids",
    "exports": "ids",
    "profiles": "hashes",
    "outlines": "hashes",
}


def erased(place: Place) -> str:
    """Return the key of the list of who was erased, as keyed hashes; never deleted."""
    return f"registry/erased/{place.name}/list.json"


def rejected(place: Place, day: date) -> str:
    """Return the key of a day's refused lines; replaced whole, absent when there are none."""
    return f"rejected/{place.name}/{day}.jsonl.zst"


def staged(place: Place, segment: str, kind: str, day: date) -> str:
    """Return the key of the reference to the version that belongs to a day; replaced whole."""
    return f"staged/{place.name}/{segment}/{kind}/{day}.json"


def blob(place: Place, kind: str, version: str) -> str:
    """Return the key of an artifact document; immutable."""
    return f"objectstore/{place.name}/{kind}/{version}.json"


def outline(place: Place, kind: str, version: str, form: int) -> str:
    """Return the key of what is kept of a version to compare it by; immutable."""
    return f"outlines/{place.name}/{kind}/{version}-{form}.arrow"


def brief_outline(place: Place, kind: str, version: str, form: int) -> str:
    """Return the key of what is kept of a version whose lists are not likely to be asked for."""
    return f"outlines/{place.name}/{kind}/{version}-{form}.json"


def outlined(key: str) -> str:
    """Return the version in a key that `outline`, or `brief_outline`, gives."""
    return key.rpartition("/")[2].partition("-")[0]


def details(place: Place, fingerprint: str) -> str:
    """Return the key of what a catalog, of that fingerprint, says of items besides their tags."""
    return f"{of_place('details', place)}/{fingerprint}.arrow"


def comparison(place: Place, day: date) -> str:
    """Return the key of how a day's artifacts compared with what was live; replaced whole."""
    return f"comparisons/{place.name}/{day}.json"


def found(place: Place, of: str) -> str:
    """Return the key of what gates of a day, or of a release, found last; replaced whole."""
    return f"{of_place('gates', place)}/{of}.json"


def refused_days(place: Place) -> str:
    """Return the prefix of what says which days gates refuse."""
    return f"{of_place('gates', place)}/refused"


def refused(place: Place, day: date) -> str:
    """Return the key of what says that gates refuse a day; absent once they do not."""
    return f"{refused_days(place)}/{day}.json"


def refused_day(place: Place, key: str) -> date | None:
    """Return the day in a key that `refused` gives; None of any other."""
    return _day_named(key, ".json", lambda day: refused(place, day))


def latencies(place: Place) -> str:
    """Return the key of how long it took from landing to live, counted; replaced whole."""
    return f"{of_place('latencies', place)}/landing_to_live.json"


def record(place: Place, kind: str, version: str) -> str:
    """Return the key of a version's registry record; write-once."""
    return f"registry/records/{place.name}/{kind}/{version}.json"


def publication(place: Place, generation: int, publish_id: str) -> str:
    """Return the key of a publication record; write-once. Keys sort by generation."""
    return f"registry/publications/{place.name}/{generation:010d}-{publish_id}.json"


def publication_named(place: Place, key: str) -> tuple[int, str] | None:
    """Return generation and publish_id of a key that `publication` gives; None of any other."""
    found = re.search(r"/(\d+)-([^/]+)\.json$", key)
    if found and publication(place, int(found[1]), found[2]) == key:
        return int(found[1]), found[2]
    return None


def publication_of(place: Place, uri: str) -> str:
    """Return the key of the publication record that a URI names, whatever root it is below."""
    return f"{of_place('registry/publications', place)}/{uri.rpartition('/')[2]}"


def delivery(place: Place, sink: str) -> str:
    """Return the key of what is known of deliveries to a sink; replaced whole."""
    return f"{of_place('deliveries', place)}/{sink}.json"


def acknowledged(place: Place, sink: str) -> str:
    """Return the key of what a webhook has acknowledged last; replaced by compare-and-swap."""
    return f"{of_place('deliveries', place)}/{sink}.acknowledged.json"


def export_folder(place: Place) -> str:
    """Return the prefix of the files of a sink that has no place of its own."""
    return of_place("exports", place)


def damaged(key: str) -> str:
    """Return the key under which a repair keeps the bytes that it replaced."""
    return f"{key}.damaged"


def manifest(place: Place) -> str:
    """Return the key of the live pointer, the only object that is ever changed."""
    return f"registry/current/{place.name}/manifest.json"


def _day_named(key: str, ending: str, spelled: Callable[[date], str]) -> date | None:
    try:
        day = date.fromisoformat(key.rpartition("/")[2].removesuffix(ending))
    except ValueError:
        return None
    return day if spelled(day) == key else None
