"""Make a candidate live, and say what that changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from recsys_assets.audit.candidates import Candidate
from recsys_assets.live.compare import as_rows, compare_up_to
from recsys_assets.pages import Json, Shown, table
from recsys_assets.places import Place
from recsys_assets.storage.flips import Outcome, actor, publish
from recsys_assets.storage.publications import Live, Why, generation_of, read_live
from recsys_assets.storage.store import Store

# Two such documents take some 350 MB while they are compared, and the day is published by then.
_MAX_COMPARED_BYTES: Final = 20_000_000


@dataclass(frozen=True)
class Published:
    """What became of a candidate, and what is live afterwards."""

    candidate: Candidate
    outcome: Outcome
    live: Live

    @property
    def flipped(self) -> bool:
        """Whether the pointer was moved."""
        return self.outcome == "published"

    @property
    def shown(self) -> dict[str, Shown]:
        """What the asset page of the manifest shows of it."""
        return {
            "outcome": self.outcome,
            "flipped": int(self.flipped),
            "generation": generation_of(self.live),
            **self._why_not,
        }

    @property
    def _why_not(self) -> dict[str, Shown]:
        """Say what kept the day from becoming live."""
        last = self.live.window.last_day if self.live.window else "an unknown day"
        reasons = {
            "superseded": f"{last} was live, which is later",
            "pinned": f"{last} was live and pinned",
        }
        return {"why": reasons[self.outcome]} if self.outcome in reasons else {}


def materialized(candidate: Candidate, *, run_id: str) -> Why:
    """Return who publishes a day, and why, when its manifest is materialized."""
    return Why(run_id, actor(), f"manifest of {candidate.day} was materialized")


def publish_candidate(store: Store, place: Place, candidate: Candidate, why: Why) -> Published:
    """Publish a day whose audit accepted it.

    Raises:
        CandidateOvertakenError: the surface was flipped since the audit.
    """
    outcome, live = publish(
        store,
        place,
        window=candidate.window,
        current=candidate.current,
        why=why,
        seen=candidate.seen,
    )
    return Published(candidate, outcome, live)


def publish_and_compare(
    store: Store, place: Place, candidate: Candidate, why: Why
) -> Mapping[str, Shown]:
    """Publish a day whose audit accepted it, and return what the asset page shows of that.

    Comparing never fails a publish: what cannot be compared is named with the reason.

    Raises:
        CandidateOvertakenError: the surface was flipped since the audit.
    """
    before = read_live(store, place)
    published = publish_candidate(store, place, candidate, why)
    return {**published.shown, **_changes(store, before, published)}


def _changes(store: Store, before: Live | None, published: Published) -> Mapping[str, Shown]:
    """Return what a flip changed of what was live before; nothing where there was none."""
    if not published.flipped:
        return {}
    if before is None:
        return {"compared": "nothing was live before"}
    candidate = published.candidate
    differences, left_out = compare_up_to(
        store, before.current, candidate.current, max_bytes=_MAX_COMPARED_BYTES
    )
    last = before.window.last_day if before.window else "an unknown day"
    shown: dict[str, Shown] = {
        "changes": table(as_rows(differences)),
        "compared": f"generation {generation_of(before)} ({last}) with "
        f"{generation_of(published.live)} ({candidate.day})",
    }
    return {**shown, "not_compared": Json(left_out)} if left_out else shown
