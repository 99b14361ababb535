"""Artifact documents in memory: their bytes, and where each list begins.

A document is kept as it was read and nothing is decoded before it is asked for. So memory is its
size and four bytes for each owner of a list (eight above 4 GiB). Compact JSON makes this simple: a
quote within a string is escaped, so a piece of text such as `]},{"user_id":"` stands between two
owners and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from recsys_assets_reader.errors import DocumentError

FORMAT: Final = 1
_BUILD: Final = b',"build":'
# The version is that of the document with this in the place of `build`.
_UNBUILT: Final = b'"build":{"built_at":"","version":""}}'
_NEXT_ITEM: Final = b'},{"item_id":"'
_NEAR_BYTES: Final = 2**14
_USUAL_BYTES: Final = 100
_DECODE: Final = json.JSONDecoder().raw_decode


@dataclass(frozen=True)
class Layout:
    """How the list of a kind is laid out.

    Attributes:
        key: the member of the document that holds the list.
        owner: what names an entry of it.
        of_owner: the member of an entry that holds a list of its own; None where it has a number.
    """

    key: str
    owner: str
    of_owner: str | None = None


LAYOUTS: Final[Mapping[str, Layout]] = MappingProxyType(
    {
        "popularity": Layout("items", "item_id"),
        "cooc": Layout("neighbors", "item_id", "items"),
        "implicit": Layout("users", "user_id", "items"),
        "session_seq": Layout("users", "user_id", "items"),
        "content_sim": Layout("items", "item_id", "tags"),
    }
)


class Document:
    """One verified document. It never changes, so threads share it without a lock.

    Attributes:
        kind: whose it is.
        version: the SHA-256 that its bytes hash to.
        window: first and last moment of its events as the document has them, the last exclusive.
        size_bytes: of the document.
    """

    def __init__(self, data: bytes, *, kind: str, version: str, place: tuple[str, str]) -> None:
        """Verify a document and find its lists.

        Args:
            data: the document as it is stored.
            kind: one of `LAYOUTS`.
            version: what it must hash to.
            place: tenant and surface that it must be of.

        Raises:
            DocumentError: it hashes to another version, or is no document of this kind and place.
        """
        layout = LAYOUTS[kind]
        self.kind, self.version, self.size_bytes = kind, version, len(data)
        self._data = data
        _verify(data, version)
        opens = f'"{layout.key}":['.encode()
        head = data.find(opens)
        self._at, self._end = head + len(opens), data.rfind(_BUILD) - 1
        if head < 0 or data[self._end : self._end + 1] != b"]":
            raise DocumentError(f"it has no list {layout.key!r}")
        self.window = _window(data[:head], kind, place)
        self._opening = f'{{"{layout.owner}":"'.encode()
        if self._at < self._end and not data.startswith(self._opening, self._at):
            raise DocumentError(f"the entries of {layout.key!r} do not begin with {layout.owner!r}")
        self._after_id = f'","{layout.of_owner}":['.encode()
        self._starts = array("I" if len(data) < 2**32 else "Q")
        if layout.of_owner:
            self._index(repeats=layout.of_owner == "tags")

    def first(self, k: int) -> list[dict[str, Any]]:
        """Return the first entries of the document's own list, in its order."""
        return self._entries(self._at, self._end, k)

    def of(self, owner: str, k: int) -> list[dict[str, Any]]:
        """Return the first entries of an owner's list, none where there is no such owner."""
        for start, end in self._lists(owner):
            return self._entries(start, end, k)
        return []

    def texts_of(self, owner: str) -> list[str]:
        """Return the texts of an owner, of all its entries where it is repeated, each once."""
        found: dict[str, None] = {}
        for start, end in self._lists(owner):
            found |= dict.fromkeys(json.loads(f"[{self._data[start:end].decode()}]"))
        return list(found)

    def _entries(self, start: int, end: int, k: int) -> list[dict[str, Any]]:
        # Of a long list, first as much as holds the wanted ones where ids are usual.
        near = min(end, start + k * _USUAL_BYTES)
        pieces = self._data[start:near].split(_NEXT_ITEM, k)
        if len(pieces) <= k and near < end:
            pieces = self._data[start:end].split(_NEXT_ITEM, k)
        text = _NEXT_ITEM.join(pieces[:k]) + (b"}" if len(pieces) > k else b"")
        decoded: list[dict[str, Any]] = _DECODE(f"[{text.decode()}]")[0]
        return decoded

    def _lists(self, owner: str) -> list[tuple[int, int]]:
        """Return where the lists of an owner begin and end: one, of a repeated owner several."""
        starts, wanted = self._starts, owner.encode("utf-8", "surrogatepass")
        number = bisect_left(starts, wanted, key=self._id)
        found = []
        while number < len(starts) and self._id(starts[number]) == wanted:
            opens = self._id_ends(starts[number]) + len(self._after_id)
            last = number + 1 == len(starts)
            # Between two: `]},{"user_id":"`.
            ends = self._end if last else starts[number + 1] - len(self._opening) - 1
            found.append((opens, ends - len("]}")))
            number += 1
        return found

    def _index(self, *, repeats: bool) -> None:
        """Note where the id of each owner begins.

        Raises:
            DocumentError: owners are not in the order of their bytes, so that none can be found.
        """
        data, starts, opening = self._data, self._starts, self._opening
        between, at = b"]}," + opening, self._at
        before: bytes | None = None
        try:
            while at < self._end:
                starts.append(at + len(opening))
                here = self._id(starts[-1])
                if before is not None and not (before < here or (repeats and before == here)):
                    raise DocumentError(f"{here.decode(errors='replace')!r} is not in order")
                before = here
                found = _find(data, between, starts[-1], self._end)
                at = found + len(b"]},") if found >= 0 else self._end
        except ValueError:
            raise DocumentError(
                f"an entry at byte {at} is not laid out as of {self.kind}"
            ) from None

    def _id_ends(self, start: int) -> int:
        found = _find(self._data, self._after_id, start, self._end)
        if found < 0:
            raise ValueError(f"the id at byte {start} does not end")
        return found

    def _id(self, start: int) -> bytes:
        data = self._data
        # As `_id_ends`, without a call: a look-up comes here some twenty times.
        ends = data.find(self._after_id, start, start + _NEAR_BYTES)
        raw = data[start : ends if ends >= 0 else self._id_ends(start)]
        if b"\\" not in raw:
            return raw
        text: str = json.loads(b'"%b"' % raw)
        return text.encode("utf-8", "surrogatepass")


def _find(data: bytes, text: bytes, start: int, end: int) -> int:
    """Find as `bytes.find` does, which prepares itself for a microsecond before a long way."""
    found = data.find(text, start, min(start + _NEAR_BYTES, end))
    return found if found >= 0 else data.find(text, start, end)


def _verify(data: bytes, version: str) -> None:
    found = data.rfind(_BUILD)
    if found < 0:
        raise DocumentError("it has no build at its end: it is no document, or cut short")
    try:
        named = json.loads(b"{" + data[found + 1 :])["build"]["version"]
    except (ValueError, KeyError, TypeError):
        raise DocumentError("its build is damaged, or it is cut short") from None
    digest = hashlib.sha256(memoryview(data)[: found + 1])
    digest.update(_UNBUILT)
    if digest.hexdigest() != version or named != version:
        raise DocumentError(f"it hashes to {digest.hexdigest()} and names {named!r}")


def _window(head: bytes, kind: str, place: tuple[str, str]) -> tuple[str, str]:
    """Read what stands before the list, and return the window."""
    try:
        members = json.loads(head.rstrip(b",") + b"}")
        said = (members["v"], members["artifact_type"], members["tenant"], members["surface"])
        window = str(members["window"]["start"]), str(members["window"]["end"])
    except (ValueError, KeyError, TypeError) as error:
        raise DocumentError(f"what stands before its list cannot be read: {error!r}") from None
    if said != (FORMAT, kind, *place):
        raise DocumentError(f"it says that it is {said}, not {(FORMAT, kind, *place)}")
    return window
