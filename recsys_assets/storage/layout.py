"""Where everything lies below the root: each key is spelled here and nowhere else.

docs/output-layout.md describes the same to people.
"""

from __future__ import annotations

from datetime import date


def of_surface(layer: str, tenant: str, surface: str) -> str:
    """Return the prefix of a surface's objects in a layer such as `staged` or `objectstore`."""
    return f"{layer}/{tenant}/{surface}"


def canonical(tenant: str, surface: str, day: date) -> str:
    """Return the key of a day's canonical events; replaced whole."""
    return f"canonical/{tenant}/{surface}/exposures/{day}.parquet"


def counts(tenant: str, surface: str, day: date, fingerprint: str, table: str) -> str:
    """Return the key of a table of a day's counts; a function of the events it is named after."""
    return f"counts/{tenant}/{surface}/{day}/{fingerprint}/{table}.parquet"


def rejected(tenant: str, surface: str, day: date) -> str:
    """Return the key of a day's refused lines; replaced whole, absent when there are none."""
    return f"rejected/{tenant}/{surface}/{day}.jsonl.zst"


def staged(tenant: str, surface: str, segment: str, kind: str, day: date) -> str:
    """Return the key of the reference to the version that belongs to a day; replaced whole."""
    return f"staged/{tenant}/{surface}/{segment}/{kind}/{day}.json"


def blob(tenant: str, surface: str, kind: str, version: str) -> str:
    """Return the key of an artifact document; immutable."""
    return f"objectstore/{tenant}/{surface}/{kind}/{version}.json"


def record(tenant: str, surface: str, kind: str, version: str) -> str:
    """Return the key of a version's registry record; write-once."""
    return f"registry/records/{tenant}/{surface}/{kind}/{version}.json"


def publication(tenant: str, surface: str, generation: int, publish_id: str) -> str:
    """Return the key of a publication record; write-once. Keys sort by generation."""
    return f"registry/publications/{tenant}/{surface}/{generation:010d}-{publish_id}.json"


def manifest(tenant: str, surface: str) -> str:
    """Return the key of the live pointer, the only object that is ever changed."""
    return f"registry/current/{tenant}/{surface}/manifest.json"
