"""Who was erased: a list of keyed hashes for each surface, which parsing honours.

No id is kept. An entry is the HMAC-SHA-256 of an id under a key that only the environment has, and
the shape of the id, by which parsing knows what is worth hashing. The list says which key it was
made with by a check value, so that a lost or another key is refused and never lets anybody back in.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from recsys_assets.errors import EraseKeyError, ManifestConflictError, StorageError
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.registry import to_bytes
from recsys_assets.storage.store import Store

KEY_VARIABLE: Final = "RECSYS_ERASE_KEY"
_SHORTEST_KEY: Final = 16
_ATTEMPTS: Final = 5
IN_WORD: Final = "x"
_ASCII: Final = {code: IN_WORD for code in range(128) if chr(code).isalnum()}


def shape_of(text: str) -> str:
    """Return a text with an x for each letter and digit: `a7-b` is `xx-x`."""
    if text.isascii():
        return text.translate(_ASCII)
    return "".join(IN_WORD if each.isalnum() else each for each in text)


@dataclass(frozen=True)
class Entry:
    """A person on the list: the keyed hash and the shape of the id; who had it erased, and why."""

    hash: str
    shape: str
    at: str = ""
    run_id: str = ""
    who: str = ""
    reason: str = ""

    @property
    def token(self) -> str:
        """What a job is told in the place of an id."""
        return f"{self.hash}:{self.shape}"

    @classmethod
    def from_token(cls, token: str) -> Entry:
        """Read what `token` gives; ValueError says what else it is, without quoting it."""
        found, colon, shape = token.partition(":")
        if not colon or not shape or len(found) != 64 or set(found) - set("0123456789abcdef"):
            raise ValueError("not what `recsys-assets erase --print-hash` prints")
        if shape_of(shape) != shape:
            raise ValueError("has letters where a shape has an x for each: is it an id?")
        return cls(found, shape)


@dataclass(frozen=True)
class EraseKey:
    """The key of a surface's list. It is no part of any text."""

    place: Place
    key: bytes = field(repr=False)

    @property
    def check(self) -> str:
        """What tells this key from another one."""
        return hmac.digest(self.key, f"check\n{self.place.name}".encode(), "sha256").hex()

    def hash(self, user_id: str) -> str:
        """Return the keyed hash of an id; that of another surface is another one."""
        text = f"{self.place.name}\n{user_id}".encode("utf-8", "surrogatepass")
        return hmac.digest(self.key, text, "sha256").hex()

    def entry(self, user_id: str) -> Entry:
        """Return what stands on the list for an id."""
        return Entry(self.hash(user_id), shape_of(user_id))


@dataclass(frozen=True)
class ErasedList:
    """The list of a surface as it was read; `tag` is another one whenever it is."""

    check: str
    entries: tuple[Entry, ...]
    tag: str


def erase_key(place: Place) -> EraseKey:
    """Return the key that the environment has.

    Raises:
        EraseKeyError: there is none, or it is short enough to be guessed.
    """
    text = os.environ.get(KEY_VARIABLE, "")
    if not text:
        raise EraseKeyError(
            f"${KEY_VARIABLE} is not set, and persons were erased from {place.name}, or are to be: "
            "without the key nobody can tell them. Set it to the secret that the list was made "
            "with; for a first list, make one with `openssl rand -hex 32`, and keep it"
        )
    if len(text) < _SHORTEST_KEY:
        raise EraseKeyError(
            f"${KEY_VARIABLE} is shorter than {_SHORTEST_KEY} characters, so ids could be guessed "
            "from the list. Make a key with `openssl rand -hex 32`, and keep it"
        )
    return EraseKey(place, text.encode())


def read_erased(store: Store, place: Place) -> ErasedList | None:
    """Return the list of a surface; None where nobody was erased.

    Raises:
        StorageError: it is damaged: who was erased is unknown.
    """
    found = store.read(layout.erased(place))
    if found is None:
        return None
    try:
        members: dict[str, Any] = json.loads(found.data)
        entries = tuple(Entry(**each) for each in members["entries"])
        return ErasedList(str(members["check"]), entries, found.tag)
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{store.uri(layout.erased(place))} is no list of erased persons: {error!r}",
            advice="Put it back from a copy: without it, erased persons would come back.",
        ) from None


def refuse_other_key(found: ErasedList | None, key: EraseKey) -> None:
    """Raise EraseKeyError unless the list was made with this key."""
    if found is not None and found.check != key.check:
        raise EraseKeyError(
            f"${KEY_VARIABLE} is not the key that the list of {key.place.name} was made with, so "
            "nobody on it would be recognised. Set it to that key; nothing was changed"
        )


def add_erased(store: Store, key: EraseKey, entries: Collection[Entry]) -> ErasedList:
    """Put persons on the list, those who are not there; from then on parsing leaves them out.

    Raises:
        EraseKeyError: the list was made with another key.
        ManifestConflictError: others kept writing it first.
    """
    place = key.place
    for attempt in range(_ATTEMPTS):
        found = read_erased(store, place)
        refuse_other_key(found, key)
        known = found.entries if found else ()
        listed = {each.hash for each in known}
        new = {each.hash: each for each in entries if each.hash not in listed}
        if found and not new:
            return found
        all_entries = [*known, *new.values()]
        data = to_bytes({"v": 1, "check": key.check, "entries": [*map(asdict, all_entries)]})
        try:
            tag = found.tag if found else None
            store.compare_and_swap(layout.erased(place), data, expected=tag)
        except ManifestConflictError:
            if attempt + 1 == _ATTEMPTS:
                raise
            continue
    written = read_erased(store, place)
    assert written is not None  # noqa: S101 (it was written, and nothing deletes it)
    return written


def erased_here_only(source: Store, target: Store, place: Place) -> int:
    """Return how many persons are on the list of the target and not on that of the source.

    Raises:
        StorageError: a list is damaged.
    """
    here, there = read_erased(target, place), read_erased(source, place)
    if here is None:
        return 0
    if there is None or there.check != here.check:  # another key: nobody of one is in the other
        return len(here.entries)
    return len({each.hash for each in here.entries} - {each.hash for each in there.entries})


def copy_erased(source: Store, target: Store, place: Place) -> None:
    """Give the target the list of the source, which has whoever the target's has.

    Raises:
        ManifestConflictError: somebody was erased in the target meanwhile.
        StorageError: a list is damaged.
    """
    there, here = source.read(layout.erased(place)), target.read(layout.erased(place))
    if there is None or (here and here.data == there.data):
        return
    tag = here.tag if here and not erased_here_only(source, target, place) else None
    target.compare_and_swap(layout.erased(place), there.data, expected=tag)
