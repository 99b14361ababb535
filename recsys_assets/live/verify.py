"""Re-read what is published and say what is missing, corrupt or orphaned."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from recsys_assets.config import Surface
from recsys_assets.errors import CorruptBlobError, StorageError
from recsys_assets.storage import layout
from recsys_assets.storage.publications import Live, Publication, history, read_live
from recsys_assets.storage.registry import StagedRef, verify_blob, version_of
from recsys_assets.storage.store import READERS, Store, Stored

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, where, and what to do."""

    problem: Literal["missing", "corrupt", "orphaned"]
    uri: str
    detail: str


@dataclass
class Verified:
    """What was looked at for a surface, and what was found."""

    surface: Surface
    blobs: int = 0
    publications: int = 0
    findings: list[Finding] = field(default_factory=list)
    # Versions that these publications name and an erasure took: gone for good, and no finding.
    erased: list[str] = field(default_factory=list)


def verify_surface(
    store: Store, surface: Surface, *, last: int, grace: timedelta, now: datetime
) -> Verified:
    """Recompute the version of every blob that current and the last publications name.

    What retention has deleted since is left out, and what an erasure has is told apart.

    Args:
        store: where everything is.
        surface: whose.
        last: how many publications with different versions to go back, the live one included.
        grace: how old a blob that nothing names must be to be reported: a run in progress writes
            its blobs before anything names them.
        now: the time to compare with.

    Raises:
        StoreUnavailableError: the object store does not answer.
    """
    verified = Verified(surface)
    try:
        live = read_live(store, surface.place)
    except StorageError as error:
        uri = store.uri(layout.manifest(surface.place))
        verified.findings.append(Finding("corrupt", uri, str(error)))
        return verified
    if live is None and any(store.list(layout.of_place("registry/publications", surface.place))):
        uri = store.uri(layout.manifest(surface.place))
        detail = (
            "there are publication records, and no manifest names one. Unless this is the moment "
            f"of the first publish, `recsys-assets repair {surface.name} --dry-run` says what can "
            "be mended"
        )
        verified.findings.append(Finding("missing", uri, detail))
    chain, broken = _chain(store, live)
    verified.findings += broken
    wanted = dict.fromkeys(live.current.values()) if live else {}
    retired, by_erasure = set[str](), set[str]()
    for publication in newest_different(chain, last):
        verified.publications += 1
        retired |= set(publication.retiring)
        if publication.action == "erase":
            by_erasure |= set(publication.retiring)
        gone = [uri for uri in publication.current.values() if uri in by_erasure - {*wanted}]
        verified.erased += [uri for uri in gone if uri not in verified.erased]
        wanted |= dict.fromkeys(u for u in publication.current.values() if u not in retired)
    verified.blobs = len(wanted)
    for number, uri in enumerate(wanted):
        verified.findings += _check(store, uri)
        _LOG.info("%s: %d of %d blobs verified", surface.name, number + 1, len(wanted))
    if broken:  # what the lost part of the history names is unknown
        return verified
    named = {uri for publication in chain for uri in publication.current.values()} | set(wanted)
    refs, damaged = staged_refs(store, surface)
    verified.findings += damaged
    named |= {ref.uri for _, ref in refs}
    for stored in store.list(layout.of_place("objectstore", surface.place)):
        uri = store.uri(stored.key)
        if uri not in named and stored.modified < now - grace:
            detail = "no publication and no staged reference names it; retention removes it"
            verified.findings.append(Finding("orphaned", uri, detail))
    return verified


def verify_each(
    store: Store,
    surfaces: Iterable[Surface],
    *,
    last: int,
    grace_hours: int,
    watch: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> Iterator[Verified]:
    """Verify surface by surface, as `verify_surface` does, now.

    Args:
        store: where everything is.
        surfaces: whose.
        last: publications to go back.
        grace_hours: how old a blob that nothing names must be to be reported.
        watch: a context for the work on a surface, given its name.
    """
    now, grace = datetime.now(UTC), timedelta(hours=grace_hours)
    for surface in surfaces:
        with watch(surface.name):
            verified = verify_surface(store, surface, last=last, grace=grace, now=now)
        yield verified


def newest_different(chain: list[Publication], count: int) -> Iterator[Publication]:
    """Yield the newest publications, where those with the same versions in a row count as one."""
    current = None
    for publication in chain:
        if publication.current != current:
            count, current = count - 1, publication.current
        if count < 0:
            return
        yield publication


def staged_refs(
    store: Store, surface: Surface
) -> tuple[list[tuple[Stored, StagedRef]], list[Finding]]:
    """Return the staged references of a surface, of every segment, and those that are damaged."""

    def read(stored: Stored) -> StagedRef | Finding | None:
        found = store.read(stored.key)
        try:
            return StagedRef.from_bytes(found.data) if found else None
        except StorageError as error:
            return Finding("corrupt", store.uri(stored.key), f"{error}; materialize the day again")

    listed = list(store.list(layout.of_place("staged", surface.place)))
    with ThreadPoolExecutor(READERS) as pool:
        found = list(zip(listed, pool.map(read, listed), strict=True))
    return (
        [(stored, ref) for stored, ref in found if isinstance(ref, StagedRef)],
        [finding for _, finding in found if isinstance(finding, Finding)],
    )


def _chain(store: Store, live: Live | None) -> tuple[list[Publication], list[Finding]]:
    """Return the history as far as it can be read, and what stands in the way of the rest."""
    chain: list[Publication] = []
    try:
        for publication in history(store, live) if live else ():
            chain.append(publication)
    except StorageError as error:
        last = chain[-1]
        key = layout.publication(last.place, last.generation - 1, last.parent or "unknown")
        detail = f"{error} What is live is not affected; older versions cannot be rolled back to"
        return chain, [Finding("missing", store.uri(key), detail)]
    return chain, []


def _check(store: Store, uri: str) -> list[Finding]:
    try:
        verify_blob(store, store.key(uri), version_of(uri))
    except (CorruptBlobError, OSError) as error:  # OSError: a bad disk
        return [Finding("corrupt", uri, str(error))]
    except StorageError as error:
        return [Finding("missing", uri, str(error))]
    return []
