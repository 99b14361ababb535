"""Flip the live pointer of a surface, exactly once per decision.

A flip is two writes: the publication record, write-once, then `manifest.json` by compare-and-swap
against the manifest that was read. A reader sees the old manifest or the new one, and every URI in
either exists. What a crash leaves at each step is in docs/publishing.md.
"""

from __future__ import annotations

import getpass
import json
import os
import random
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import PurePosixPath
from typing import Final, Literal

from recsys_assets.errors import (
    CandidateOvertakenError,
    ManifestConflictError,
    PublishOutcomeUnknownError,
    StorageError,
    StoreUnavailableError,
)
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.publications import (
    BRINGS,
    PUBLICATION,
    Change,
    Live,
    Publication,
    Why,
    generation_of,
    history,
    read_live,
)
from recsys_assets.storage.registry import utc_text, write_once
from recsys_assets.storage.store import Store
from recsys_assets.windows import Window

MANIFEST_FORMAT: Final = 1
_ATTEMPTS: Final = 100
_UNKNOWN_OUTCOMES: Final = 3  # each after the store's own retries
_LONGEST_PAUSE_S: Final = 0.2
_UNKNOWN_WINDOW: Final = (
    "the manifest {uri} was written by another producer, and the window of what it names cannot be "
    "read, so it is unknown whether this would move it back. Nothing was changed. To adopt this "
    "surface, move that manifest away first."
)

_LOST: Final = (
    "{uri} is missing, though there are records of flips that it had. Nothing was changed: a new "
    "history would begin, and might go back in time. `recsys-assets repair {name} --dry-run` says "
    "what can be mended."
)

Outcome = Literal["published", "unchanged", "superseded", "pinned"]

# Says, of what is live, what to make of it: a change to flip to, or why nothing is to be done.
Decide = Callable[[Live | None], Change | Outcome]


def actor() -> str:
    """Return who this process runs as, `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def publish(
    store: Store,
    place: Place,
    *,
    window: Window,
    current: Mapping[str, str],
    why: Why,
    seen: int | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    publish_id: str | None = None,
) -> tuple[Outcome, Live]:
    """Make `current` live, unless a later window is, or the surface is pinned.

    Every URI in `current` must have been verified: from here on nothing is looked at again.

    Args:
        store: where the blobs are, and the manifest.
        place: whose manifest.
        window: what `current` was computed from.
        current: kind to URI.
        why: for the record.
        seen: the generation that was live before `current` was gathered and verified. When
            somebody has published the same window since, or rolled back, or retention has been
            deleting what is in `current`, it is not known to be right any more. None leaves that
            out.
        clock: gives the time of each flip.
        publish_id: the name of this publish, unique; one is made up when it is not given.

    Returns:
        What happened, and what is live afterwards: `published`; `unchanged`, it was live already;
        `superseded`, the live window ends later, so it stays; `pinned`, what is live stays until
        a release. Nothing was written but for `published`.

    Raises:
        CandidateOvertakenError: what `seen` is about. Nothing was changed.
        StorageError: the live manifest is damaged, lost, or another producer's whose window is
            unknown. Nothing was changed.
        ManifestConflictError, PublishOutcomeUnknownError: as `flip` does.
    """

    def decide(live: Live | None) -> Change | Outcome:
        if live and not live.window:
            uri = store.uri(layout.manifest(place))
            raise StorageError(_UNKNOWN_WINDOW.format(uri=uri))
        if live and live.window and live.window.end > window.end:
            return "superseded"
        if live and live.publication and live.window == window and live.current == current:
            return "unchanged"
        if live and live.publication and live.publication.pinned:
            return "pinned"
        retiring = live.publication.retiring if live and live.publication else ()
        change = Change("publish", window, current, retiring=retiring)
        if live and seen is not None:
            _refuse_overtaken(store, live, change, seen)
        return change

    return flip(
        store,
        place,
        decide=decide,
        why=why,
        clock=clock,
        publish_id=publish_id,
    )


def flip(
    store: Store,
    place: Place,
    *,
    decide: Decide,
    why: Why,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    publish_id: str | None = None,
) -> tuple[Outcome, Live]:
    """Flip a manifest to what `decide` makes of it, exactly once.

    A lost race starts over from a fresh read. A lost answer is told from a lost race by looking for
    our own publish_id along the history.

    Args:
        store: where the manifest is.
        place: whose manifest.
        decide: called with what is live before each attempt; what it raises ends the flip, and
            nothing was changed.
        why: for the record.
        clock: gives the time of each attempt.
        publish_id: the name of this flip, unique; one is made up when it is not given.

    Returns:
        `published`, or the outcome that `decide` gave, and what is live afterwards.

    Raises:
        CandidateOvertakenError: retention is deleting what is to become live. Nothing was changed.
        StorageError: the manifest is damaged, or lost. Nothing was changed.
        ManifestConflictError: others kept flipping first; the old or their manifest is live.
            Retry.
        PublishOutcomeUnknownError: it may be live. Doing it again settles it.
    """
    publish_id = publish_id or uuid.uuid4().hex
    attempt = first_generation = unknown = 0
    publication: Publication | None = None
    while True:
        try:
            live = read_live_or_refuse(store, place) if not attempt else read_live(store, place)
            done = attempt and _is_in_history(store, live, publish_id, since=first_generation)
            change = "published" if done else decide(live)
        except StoreUnavailableError as error:
            if not attempt:
                raise
            raise _unsettled(error, place, first_generation) from None
        if not isinstance(change, Change):
            # Nothing is live only before the first flip, when nothing speaks against it.
            assert live is not None  # noqa: S101
            if change in {"published", "unchanged"}:
                # Who flipped it may have been killed, or refused by the disk, before it was
                # durable.
                store.settle(layout.manifest(place))
            return change, live
        _refuse_retiring(live, change)
        generation = generation_of(live) + 1
        first_generation = first_generation or generation
        # The record is write-once: going on from the same manifest, it is the one written before.
        if publication is None or publication.generation != generation:
            publication = Publication(
                **vars(change),
                **asdict(why),
                generation=generation,
                publish_id=publish_id,
                parent=live.publication.publish_id if live and live.publication else None,
                **asdict(place),
                published_at=utc_text(clock()),
            )
        attempt += 1
        try:
            return "published", _flip(store, live, publication)
        except ManifestConflictError:
            if attempt >= _ATTEMPTS:
                raise
        except PublishOutcomeUnknownError:
            unknown += 1
            if unknown >= _UNKNOWN_OUTCOMES:
                raise
        except StoreUnavailableError as error:
            if attempt == 1:
                raise
            raise _unsettled(error, place, first_generation) from None
        # The jitter keeps publishers that met once from meeting again at each attempt.
        time.sleep(random.uniform(0, min(_LONGEST_PAUSE_S, 0.001 * 2**attempt)))  # noqa: S311


def read_live_or_refuse(store: Store, place: Place) -> Live | None:
    """Return what is live; None only where no flip ever had a manifest to go on from.

    Raises:
        StorageError: the manifest is damaged, or lost.
    """
    live = read_live(store, place)
    if live:
        return live
    names = (
        PurePosixPath(stored.key).name
        for stored in store.list(layout.of_place("registry/publications", place))
    )
    # The first record may be of a flip that is being made, or was cut off before its manifest.
    if any(name.partition("-")[0].lstrip("0") not in {"", "1"} for name in names):
        live = read_live(store, place)  # others may have flipped between the two looks
        if not live:
            raise StorageError(_LOST.format(uri=store.uri(layout.manifest(place)), name=place.name))
    return live


def _unsettled(
    error: StoreUnavailableError, place: Place, generation: int
) -> PublishOutcomeUnknownError:
    """Say of a store that fails after an attempt whose outcome was not seen."""
    return PublishOutcomeUnknownError(
        f"{error} Whether generation {generation} or a later one of {place.name} is ours is "
        "unknown; doing it again settles it."
    )


def refuse_moved(store: Store, place: Place, live: Live | None, *, seen: int) -> None:
    """Raise ManifestConflictError unless what is live is still of the generation `seen`."""
    if (found := generation_of(live)) != seen:
        raise ManifestConflictError(
            store.uri(layout.manifest(place)),
            expected=f"generation {seen}",
            found=f"generation {found}",
        )


def _refuse_overtaken(store: Store, live: Live, change: Change, seen: int) -> None:
    """Refuse a candidate that was gathered at generation `seen` and may be out of date by now."""
    wanted = set(change.current.values())
    for publication in history(store, live):
        newer = publication.generation > seen and (
            publication.action in {"rollback", "repair", "erase"}
            or (publication.action in BRINGS and publication.window == change.window)
        )
        # What retention was deleting when we looked, or since, may have been gone under our eyes.
        if newer or wanted & set(publication.retiring):
            raise CandidateOvertakenError(
                f"{publication.place.name}: generation {publication.generation} "
                f"({publication.action}, {publication.who}) came in while this candidate was being "
                "verified. Nothing was changed; materialize manifest of the day again."
            )
        if publication.generation <= seen:  # not `<`: what came before need not be read
            return


def _refuse_retiring(live: Live | None, change: Change) -> None:
    retiring = live.publication.retiring if live and live.publication else ()
    for uri in set(retiring) & set(change.current.values()):
        raise CandidateOvertakenError(
            f"retention is deleting {uri}, or an erasure is, and it is to become live again. "
            "Nothing was changed; wait until that is done (if it was killed, run it again), then "
            "materialize the day again."
        )


def _is_in_history(store: Store, live: Live | None, publish_id: str, *, since: int) -> bool:
    """Tell whether a publication, of generation `since` at the earliest, led to what is live."""
    past = history(store, live) if live else iter(())
    recent = takewhile(lambda publication: publication.generation >= since, past)
    return any(publication.publish_id == publish_id for publication in recent)


def _flip(store: Store, live: Live | None, publication: Publication) -> Live:
    key = layout.publication(publication.place, publication.generation, publication.publish_id)
    write_once(store, key, publication.to_json())
    write_manifest(store, publication, expected=live.tag if live else None)
    return Live("", publication.current, publication.published_at, publication, publication.window)


def write_manifest(store: Store, publication: Publication, *, expected: str | None) -> None:
    """Make a publication live whose record is there, if the manifest's tag is still `expected`.

    Raises:
        ManifestConflictError, PublishOutcomeUnknownError: as `Store.compare_and_swap` does.
    """
    record = layout.publication(publication.place, publication.generation, publication.publish_id)
    manifest = {
        "v": MANIFEST_FORMAT,
        "tenant": publication.tenant,
        "surface": publication.surface,
        "current": {**publication.current, PUBLICATION: store.uri(record)},
        "updated_at": publication.published_at,
    }
    data = json.dumps(manifest, ensure_ascii=False, separators=(",", ":")).encode()
    store.compare_and_swap(layout.manifest(publication.place), data, expected=expected)
