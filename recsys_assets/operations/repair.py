"""Mend a history of which a record, or the manifest itself, is missing or damaged.

Every operation reads what is live together with its record, so without that record a surface can be
neither shown, published, rolled back nor pinned. A repair puts a substitute in the place of each
lost record, and makes the last whole publication live, by one more flip: who did it and why is on
record. What is live stays when the manifest can be read and every blob it names is whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from recsys_assets.config import Surface
from recsys_assets.errors import InputError, StorageError
from recsys_assets.live.denied import denied_reason
from recsys_assets.operations.pointer import allowed, problem_of, require_reason
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.flips import Outcome, flip, refuse_moved, write_manifest
from recsys_assets.storage.publications import (
    Change,
    Live,
    Manifest,
    Publication,
    Why,
    read_manifest,
    read_publication,
    window_of_blobs,
)
from recsys_assets.storage.registry import to_bytes
from recsys_assets.storage.store import Store

_NEVER_KNOWN = "lost"  # the publish_id of a record of which not even the name is left


@dataclass(frozen=True)
class Repair:
    """What a repair would do, verified.

    Attributes:
        surface: whose history.
        problems: what is missing or damaged, and where.
        substitutes: for each lost record, oldest first.
        tag: of the manifest, None when there is none.
        manifest: None when it is missing or damaged.
        newest: the record of the newest flip, or its substitute.
        target: the publication whose versions will be live.
        denied: why it is done only if it is forced: it goes back to versions with denied items.
    """

    surface: Surface
    problems: Sequence[str]
    substitutes: Sequence[Publication]
    tag: str | None
    manifest: Manifest | None
    newest: Publication
    target: Publication
    denied: str | None = None

    @property
    def goes_back(self) -> bool:
        """Whether other versions become live than the newest flip made live."""
        return self.target.generation != self.newest.generation


def plan_repair(store: Store, surface: Surface) -> Repair | None:
    """Find what is lost of a surface's history and what to go back to. Nothing is changed.

    Returns:
        What to do; None when manifest and history are whole, or nothing was ever published here.

    Raises:
        InputError: another producer's manifest is live; or no publication is whole any more.
    """
    place = surface.place
    found = store.read(layout.manifest(place))
    known = _known(store, place)
    if found is None and not known:
        return None
    problems, manifest = list[str](), None
    try:
        if found is None:
            raise StorageError(f"{store.uri(layout.manifest(place))} is missing")
        manifest = read_manifest(store, place, found.data)
    except StorageError as error:
        problems.append(error.problem)
    if manifest and manifest.record is None:
        raise InputError(
            f"what is live for {surface.name} was published by another producer and has no history "
            "to repair"
        )
    chain = _chain(store, place, known, manifest.record if manifest else None, problems)
    if not problems:
        return None
    whole = [publication for publication in chain if isinstance(publication, Publication)]
    if not whole:
        raise InputError(
            f"no publication record of {surface.name} can be read, so there is nothing to go back "
            f"to. Move {store.uri(layout.manifest(place))} away and materialize the newest day: "
            "the history begins anew"
        )
    substitutes = _substitutes(chain)
    mended = [each if isinstance(each, Publication) else substitutes[each] for each in chain]
    if manifest and not isinstance(chain[0], Publication):
        # Its record is lost, but what it made live is known, so it need not go when it is whole.
        window = window_of_blobs(store, manifest.current)
        if window:
            mended[0] = replace(
                mended[0],
                window=window,
                current=manifest.current,
                published_at=manifest.updated_at,
            )
            whole.insert(0, mended[0])
    for target in whole:
        if not any(problem_of(store, uri) for uri in target.current.values()):
            lost = [
                new
                for new, old in zip(mended, chain, strict=True)
                if not isinstance(old, Publication)
            ]
            tag = found.tag if found else None
            plan = Repair(surface, problems, lost[::-1], tag, manifest, mended[0], target)
            if plan.goes_back:
                return replace(plan, denied=denied_reason(store, surface, target.current))
            return plan
    raise InputError(
        f"no publication of {surface.name} is whole: of each a blob is missing or damaged. Nothing "
        "was changed; materialize the artifacts of the newest day again, then repair"
    )


def repair(store: Store, plan: Repair, why: Why, *, force: bool = False) -> tuple[Outcome, Live]:
    """Do what a plan says. Doing it again finishes what was begun.

    What is replaced is kept beside it, as `<name>.damaged`.

    Args:
        store: where everything is.
        plan: what to do.
        why: who asks for it, and for what reason.
        force: whether denied items may come back; the history says which then.

    Raises:
        InputError: no reason was given, or it goes back to denied items and is not forced.
        ManifestConflictError: somebody flipped since the plan was made. Look at a new plan.
    """
    require_reason(why)
    place = plan.surface.place
    why = allowed(why, f"repair {plan.surface.name}", plan.denied, force=force)
    for lost in plan.substitutes:
        signed = replace(
            lost,
            run_id=why.run_id,
            who=why.who,
            reason=f"its record was lost; put here by a repair: {why.reason}",
        )
        key = layout.publication(place, lost.generation, lost.publish_id)
        _keep_damaged(store, key)
        store.replace(key, to_bytes(signed.to_json()))
    if plan.manifest is None:
        _keep_damaged(store, layout.manifest(place))
        write_manifest(store, plan.newest, expected=plan.tag)
    target = plan.target
    change = Change(
        "repair",
        target.window,
        target.current,
        pinned=plan.newest.pinned,
        retiring=plan.newest.retiring,
        restored=dict.fromkeys(target.current, target.generation) if plan.goes_back else {},
    )

    def decide(live: Live | None) -> Change | Outcome:
        refuse_moved(store, place, live, seen=plan.newest.generation)
        return change

    return flip(store, place, decide=decide, why=why)


@dataclass(frozen=True)
class _Lost:
    """A record that is missing or damaged: the name it has, or has to get."""

    generation: int
    publish_id: str
    parent: str | None


def _known(store: Store, place: Place) -> Mapping[int, Sequence[str]]:
    """Return the publish_ids of the records that are there, whole or not, by generation."""
    known = defaultdict[int, list[str]](list)
    for stored in store.list(layout.of_place("registry/publications", place)):
        if named := layout.publication_named(place, stored.key):
            known[named[0]].append(named[1])
    return known


def _chain(
    store: Store,
    place: Place,
    known: Mapping[int, Sequence[str]],
    newest: str | None,
    problems: list[str],
) -> list[Publication | _Lost]:
    """Follow the history, across what is lost of it, from the newest flip; add to `problems`."""
    last = max(known, default=0)
    named = layout.publication_named(place, newest) if newest else None
    publish_id: str | None
    generation, publish_id = named or (last, _likeliest(store, place, known, last))
    chain = list[Publication | _Lost]()
    while publish_id is not None:
        key = layout.publication(place, generation, publish_id)
        parent: str | None
        try:
            publication = read_publication(store, place, key)
        except StorageError as error:
            problems.append(error.problem)
            parent = _likeliest(store, place, known, generation - 1)
            chain.append(_Lost(generation, publish_id, parent))
        else:
            parent = publication.parent
            chain.append(publication)
        generation, publish_id = generation - 1, parent
    return chain


def _likeliest(
    store: Store, place: Place, known: Mapping[int, Sequence[str]], generation: int
) -> str | None:
    """Return the publish_id of the flip that was live as this generation.

    A flip that lost a race leaves a record too. The winner is named by a later record as its
    parent; the loser, as a rule, comes again in a later generation. None when no record as old as
    this one is there any more: the history begins after it.
    """
    if not any(1 <= each <= generation for each in known):
        return None
    parents = {each.parent for each in _readable(store, place, known, generation + 1)}
    came_again = {each for number, ids in known.items() if number > generation for each in ids}
    best = max(
        _readable(store, place, known, generation),
        key=lambda one: (
            one.publish_id in parents,
            one.publish_id not in came_again,
            one.published_at,
        ),
        default=None,
    )
    if best:
        return best.publish_id
    names = [*filter(None, parents), *known.get(generation, ()), _NEVER_KNOWN]
    return names[0]


def _readable(
    store: Store, place: Place, known: Mapping[int, Sequence[str]], generation: int
) -> list[Publication]:
    """Return the records of a generation that can be read."""
    found = []
    for publish_id in known.get(generation, ()):
        key = layout.publication(place, generation, publish_id)
        try:
            found.append(read_publication(store, place, key))
        except StorageError:
            continue
    return found


def _substitutes(chain: Sequence[Publication | _Lost]) -> dict[_Lost, Publication]:
    """Return a record for each that is lost: it says what the last whole one before it said."""
    substitutes: dict[_Lost, Publication] = {}
    whole = next(each for each in reversed(chain) if isinstance(each, Publication))
    for each in reversed(chain):
        if isinstance(each, Publication):
            whole = each
            continue
        substitutes[each] = replace(
            whole,
            action="repair",
            generation=each.generation,
            publish_id=each.publish_id,
            parent=each.parent,
            restored={},
            promoted_from=None,
        )
    return substitutes


def _keep_damaged(store: Store, key: str) -> None:
    found = store.read(key)
    if found is not None:
        store.put_new(layout.damaged(key), found.data)
