"""What changed between two publications: items and users that came, went and moved."""

from __future__ import annotations

import gc
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from recsys_assets.documents import ListLayout
from recsys_assets.errors import StorageError
from recsys_assets.kinds import KINDS
from recsys_assets.live.tables import read_document
from recsys_assets.storage.store import Store

OVERLAPS: Final = (10, 50)
_EXAMPLES: Final = 5


@dataclass(frozen=True)
class Difference:
    """How the items, or the users, of one kind differ.

    Attributes:
        kind: the artifact kind.
        of: `items` or `users`.
        before: how many there were.
        after: how many there are.
        added: how many came.
        removed: how many went.
        moved: of those in both: items of a ranking with another rank, others with another list;
            None for the items in the lists of users, which have no place of their own.
        overlap: share of the first 10 and 50 entries that both have; for lists, the mean over
            those in both; None where there is no order.
        examples: some that came, went and moved.
    """

    kind: str
    of: str
    before: int
    after: int
    added: int
    removed: int
    moved: int | None
    overlap: Mapping[int, float | None]
    examples: Mapping[str, Sequence[str]]

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.added or self.removed or self.moved)

    def to_json(self) -> dict[str, Any]:
        """Return the members for machines."""
        return asdict(self)


def compare(store: Store, before: Mapping[str, str], after: Mapping[str, str]) -> list[Difference]:
    """Compare two `current`, kind by kind; a kind with the same URI in both is left out.

    Raises:
        StorageError: a blob is missing or is no artifact document.
    """
    differences: list[Difference] = []
    for kind in {**after, **before}:
        if before.get(kind) == after.get(kind):
            continue
        old, new = (
            read_document(store, uris[kind], kind) if kind in uris else None
            for uris in (before, after)
        )
        try:
            differences += _compare_kind(kind, old, new)
        except (KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"the {kind} documents cannot be compared: {error!r}") from None
    return differences


def compare_up_to(
    store: Store, before: Mapping[str, str], after: Mapping[str, str], *, max_bytes: int
) -> tuple[list[Difference], dict[str, str]]:
    """Compare two `current` where nothing may fail for it: what cannot be compared is left out.

    Args:
        store: where the documents are.
        before: kind to URI.
        after: kind to URI.
        max_bytes: size of the largest document that is read; one takes about ten times as much
            memory.

    Returns:
        The differences, and for each kind that is missing in them the reason.
    """
    differences: list[Difference] = []
    left_out: dict[str, str] = {}
    for kind in {**after, **before}:
        pair = [{kind: uris[kind]} if kind in uris else {} for uris in (before, after)]
        if pair[0] == pair[1]:
            continue
        try:
            largest = max(_size(store, uri) for uris in pair for uri in uris.values())
            if largest > max_bytes:
                left_out[kind] = f"{largest:,} bytes, compared are at most {max_bytes:,}"
            else:
                with _no_collector():
                    differences += compare(store, *pair)
        except Exception as error:  # a damaged document may break anywhere
            left_out[kind] = str(error) or repr(error)
    return differences, left_out


@contextmanager
def _no_collector() -> Iterator[None]:
    """Hold Python's collector: it would look at every object of a document again and again.

    There are no cycles among them for it to find. It took two thirds of the time of parsing.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _size(store: Store, uri: str) -> int:
    found = store.stat(store.key(uri))
    return found.size_bytes if found else 0  # `compare` says that it is missing


def _compare_kind(
    kind: str, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> list[Difference]:
    layout = KINDS[kind].layout
    of = layout.owners
    old, new = (_by_owner(layout, document) for document in (before, after))
    if layout.value == "tags":
        return [_difference(kind, of, old, new, dict.fromkeys(OVERLAPS))]
    if layout.entry is None:
        overlap = _share_of_first([*old], [*new])
        return [_difference(kind, of, _ranks(old), _ranks(new), overlap)]
    found = [_difference(kind, of, old, new, _mean_overlap(old, new))]
    if of == "users":
        no_order: dict[int, float | None] = dict.fromkeys(OVERLAPS)
        items = _difference(kind, "items", _items_of(old), _items_of(new), no_order)
        found.append(replace(items, moved=None))
    return found


def _by_owner(layout: ListLayout, document: dict[str, Any] | None) -> dict[str, tuple[str, ...]]:
    """Return the owners in published order, each with its items or tags, if it has any."""
    entries = document[layout.key] if document else []
    if layout.entry is not None:
        return {
            entry[layout.owner]: tuple(item["item_id"] for item in entry["items"])
            for entry in entries
        }
    of_tags = layout.value == "tags"
    return {entry[layout.owner]: tuple(entry[layout.value]) if of_tags else () for entry in entries}


def _ranks(owners: Iterable[str]) -> dict[str, int]:
    return {owner: rank for rank, owner in enumerate(owners)}


def _items_of(lists: Mapping[str, Sequence[str]]) -> dict[str, None]:
    return dict.fromkeys(item for items in lists.values() for item in items)


def _difference(
    kind: str,
    of: str,
    before: Mapping[str, Hashable],
    after: Mapping[str, Hashable],
    overlap: Mapping[int, float | None],
) -> Difference:
    added = [name for name in after if name not in before]
    removed = [name for name in before if name not in after]
    moved = [name for name in after if name in before and before[name] != after[name]]
    examples = {"added": added, "removed": removed, "moved": moved}
    return Difference(
        kind,
        of,
        len(before),
        len(after),
        len(added),
        len(removed),
        len(moved),
        overlap,
        {name: found[:_EXAMPLES] for name, found in examples.items()},
    )


def _share_of_first(before: Sequence[str], after: Sequence[str]) -> dict[int, float | None]:
    shares: dict[int, float | None] = {}
    for first in OVERLAPS:
        longest = max(len(before[:first]), len(after[:first]))
        both = len({*before[:first]} & {*after[:first]})
        shares[first] = both / longest if longest else None
    return shares


def _mean_overlap(
    before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]
) -> dict[int, float | None]:
    shares = [_share_of_first(before[name], after[name]) for name in after if name in before]
    means: dict[int, float | None] = {}
    for first in OVERLAPS:
        known = [share for each in shares if (share := each[first]) is not None]
        means[first] = sum(known) / len(known) if known else None
    return means


def as_rows(differences: Sequence[Difference]) -> list[Mapping[str, str]]:
    """Lay out differences as rows of text: for a terminal, and for a table in the UI."""
    return [
        {
            "kind": found.kind,
            "of": found.of,
            "before": f"{found.before:,}",
            "after": f"{found.after:,}",
            "added": f"{found.added:,}",
            "removed": f"{found.removed:,}",
            "moved": "" if found.moved is None else f"{found.moved:,}",
            **{
                f"overlap at {first}": "" if share is None else f"{share:.0%}"
                for first, share in found.overlap.items()
            },
        }
        for found in differences
    ]
