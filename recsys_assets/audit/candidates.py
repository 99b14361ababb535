"""What is to become live for a day: gather its staged versions, and find out whether it may."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache, partial

from recsys_assets.audit.audited import Audited
from recsys_assets.audit.checks import CandidateFacts, checks_of
from recsys_assets.audit.release_checks import not_compared
from recsys_assets.audit.release_gates import ReleaseGates
from recsys_assets.config import Surface
from recsys_assets.documents import DocumentHead
from recsys_assets.errors import MissingPartitionError, RecsysAssetsError
from recsys_assets.events.accepted import AcceptedDays
from recsys_assets.events.listed import read_denied
from recsys_assets.kinds import KINDS
from recsys_assets.live.denied import denied_in
from recsys_assets.pages import Json
from recsys_assets.storage import layout
from recsys_assets.storage.publications import generation_of, read_live
from recsys_assets.storage.registry import StagedRef, read_staged, verify_blob
from recsys_assets.storage.store import Store
from recsys_assets.verdicts import at_most, judge
from recsys_assets.windows import SourceHash, Window, source_hash


@dataclass(frozen=True)
class Candidate:
    """What is to become live for a day: the staged and verified version of every enabled kind."""

    day: date
    window: Window
    current: Mapping[str, str]  # kind: URI
    seen: int  # the generation that was live before the versions were gathered


def audit_candidate(
    store: Store,
    surface: Surface,
    day: date,
    accepted: AcceptedDays,
    gates: ReleaseGates | None = None,
) -> Audited[Candidate]:
    """Gather the day's staged versions and find out whether they may be published.

    Args:
        store: where everything is.
        surface: whose.
        day: UTC.
        accepted: the accepted days of its window.
        gates: compare them with what is live when the days before are published; None does not.
    """
    # Before anything is gathered: what is flipped in from here on has overtaken the candidate.
    live = read_live(store, surface.place)
    seen = generation_of(live)
    # An older day does not become live, whatever it lists.
    is_newest = live is None or live.window is None or day >= live.window.last_day
    denied = cache(lambda: read_denied(surface) if is_newest else None)
    refs: dict[str, StagedRef] = {}
    problems: dict[str, str] = {}
    there = [each for each in surface.days_of_window(day) if each in accepted]
    events = source_hash({each: accepted[each].fingerprint for each in there})
    for kind in surface.artifacts.kinds:
        try:
            ref = read_staged(store, surface.place, surface.segment, kind, day)
            problem = _problem(store, surface, ref, events if day in there else None)
            if (
                not problem
                and (names := denied())
                and (lists := denied_in(store, ref.uri, kind, names))
            ):
                problem = f"{lists}, denied by {surface.items.deny}: materialize {kind} of the day"
        except MissingPartitionError:
            problem = f"no version is staged: materialize {kind} of the day"
        except RecsysAssetsError as error:
            problem = str(error)
        if problem:
            problems[kind] = problem
        else:
            refs[kind] = ref
    current = {kind: ref.uri for kind, ref in refs.items()}
    verdicts = judge(checks_of(surface, "manifest"), CandidateFacts(surface, current, problems))
    if problems:
        return Audited(verdicts | not_compared() if gates else verdicts)
    window = surface.window(day)
    return Audited(
        verdicts,
        Candidate(day, window, current, seen),
        release_version(current),
        {
            "dagster/uri": store.uri(layout.manifest(surface.place)),
            "size_bytes": sum(ref.size_bytes for ref in refs.values()),
            "current": Json(current),
        },
        later=partial(gates.judge, day, window, current) if gates else None,
    )


def release_version(current: Mapping[str, str]) -> str:
    """Return the data version of what a day publishes: of other documents, another one."""
    return hashlib.sha256("\n".join(sorted(current.values())).encode()).hexdigest()


def _problem(store: Store, surface: Surface, ref: StagedRef, events: str | None) -> str | None:
    """Return why a staged version may not be published, or None.

    Raises:
        StorageError: its blob is missing, altered, or in another root.
    """
    kind = ref.kind
    if KINDS[kind].reads == "events" and SourceHash.from_text(ref.source_hash).data != events:
        return f"made of other events than are accepted now: materialize {kind} of the day"
    size = at_most(surface.guardrails, "max_artifact_bytes", ref.size_bytes)
    if not size.passed:
        return size.description
    head = verify_blob(store, store.key(ref.uri), ref.version)
    if not head.startswith(DocumentHead.of_day(surface, kind, ref.day).to_bytes()):
        return (
            "made with another segment or window than is configured now: materialize "
            f"{kind} of the day"
        )
    return None
