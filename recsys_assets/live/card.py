"""The card of a surface: what is live now, how it came to be, and the flips before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from recsys_assets.config import Surface
from recsys_assets.live.history import recent
from recsys_assets.live.status import live_kinds
from recsys_assets.pages import Shown, table
from recsys_assets.storage.publications import Live, Publication, generation_of, read_live
from recsys_assets.storage.store import Store

_VERSION_DIGITS = 12  # as `status` shows them
MOST_FLIPS = 50  # shown of a surface that nobody has looked at for long


@dataclass(frozen=True)
class Flip:
    """A flip, and what the page of what is live shows of it."""

    generation: int
    title: str
    shown: Mapping[str, Shown] = field(default_factory=dict)


def flips_since(store: Store, surface: Surface, generation: int) -> list[Flip]:
    """Return the flips after a generation, the oldest first; the newest has the whole card.

    A generation that is above what is live is of another root: all flips count. At most
    `MOST_FLIPS` are returned, the newest ones.

    Raises:
        StorageError: what is live is damaged.
    """
    live = read_live(store, surface.place)
    if live is None:
        return []
    if live.publication is None:
        return [_unrecorded(store, live)]
    chain = list(recent(store, live, MOST_FLIPS))
    since = generation if generation <= generation_of(live) else 0
    newer = list(takewhile(lambda publication: publication.generation > since, chain))
    if not newer:
        return []
    newest, *older = (Flip(one.generation, _title(one), _facts(one)) for one in newer)
    card = Flip(
        newest.generation,
        newest.title,
        {**newest.shown, **_documents(store, live), "history": table([*map(_row, chain)])},
    )
    return [*reversed(older), card]


def _title(publication: Publication) -> str:
    return f"{publication.action} by {publication.who}: {publication.reason}"


def _facts(publication: Publication) -> dict[str, Shown]:
    window = publication.window
    return {
        "day": str(window.last_day),
        "first_day": str(window.start),
        "generation": publication.generation,
        "action": publication.action,
        "pinned": "yes: publishes wait for a release" if publication.pinned else "no",
        "flipped_at": publication.published_at,
        "who": publication.who,
        "reason": publication.reason,
        "run": publication.run_id,
    }


def _documents(store: Store, live: Live) -> dict[str, Shown]:
    kinds = live_kinds(store, live)
    sizes: Sequence[int | None] = [of.size_bytes for of in kinds.values()]
    return {
        "size_bytes": sum(size or 0 for size in sizes),
        "documents": table(
            [
                {
                    "kind": kind,
                    "version": of.version[:_VERSION_DIGITS],
                    "bytes": "missing" if of.size_bytes is None else f"{of.size_bytes:,}",
                }
                for kind, of in kinds.items()
            ]
        ),
    }


def _row(publication: Publication) -> dict[str, str]:
    return {
        "generation": str(publication.generation),
        "action": publication.action + (", pinned" if publication.pinned else ""),
        "day": str(publication.window.last_day),
        "flipped_at": publication.published_at[:19] + "Z",
        "who": publication.who,
        "reason": publication.reason,
    }


def _unrecorded(store: Store, live: Live) -> Flip:
    day = str(live.window.last_day) if live.window else "unknown"
    return Flip(
        0,
        "published by another producer",
        {"day": day, "flipped_at": live.updated_at, **_documents(store, live)},
    )
