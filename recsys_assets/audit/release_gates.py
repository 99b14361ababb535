"""The gates of a release: what is to become live is compared with what is.

They are asked in the order of days, when the days before are published or refused. A rollback, a
pin or a repair is never asked: what becomes live by them has been live.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import polars as pl

from recsys_assets.audit.audited import Later
from recsys_assets.audit.lost import lost_examples
from recsys_assets.audit.release_checks import RELEASE_CHECKS, unexplained
from recsys_assets.audit.release_facts import Pair, ReleaseFacts, Scored
from recsys_assets.audit.trusted_days import TrustedDays
from recsys_assets.compute.outlines import Outline
from recsys_assets.compute.samples import hashes
from recsys_assets.compute.scores import Asked, compare_scores
from recsys_assets.config import Surface
from recsys_assets.errors import StorageError
from recsys_assets.events.listed import read_denied
from recsys_assets.kinds import KINDS
from recsys_assets.live.erased import erased_since
from recsys_assets.live.outlines import outline_of, sizes_of
from recsys_assets.pages import Shown
from recsys_assets.storage.comparisons import Comparison, read_comparison, write_comparison
from recsys_assets.storage.found import Figures, Found, keep_found
from recsys_assets.storage.profiles import KnownProfiles
from recsys_assets.storage.publications import Live, read_live
from recsys_assets.storage.store import Store, read_each
from recsys_assets.verdicts import judge
from recsys_assets.windows import Window


class ReleaseGates:
    """Compares what is to become live in one run with what is, in the order of days."""

    def __init__(
        self,
        store: Store,
        surface: Surface,
        last: date,
        *,
        dry_run: bool = False,
        known: KnownProfiles | None = None,
    ) -> None:
        """Begin.

        Args:
            store: the root.
            surface: whose releases.
            last: day of the run. Days before `Gates.scored_from` are scored until one of them
                replaces what was live before the run.
            dry_run: whether nothing is kept; it finds what a release would find, pinned or not.
            known: profiles that the process has read already.
        """
        self._scored_from = surface.gates.scored_from(last)
        self._found_live: str | None = None  # tag of what was live when the run began
        self._store = store
        self._surface = surface
        self._dry_run = dry_run
        self._trusted = TrustedDays(store, surface, keeps=not dry_run, known=known)
        self._outlines: dict[str, Outline] = {}  # of what is live, by URI
        self._past: dict[date, Comparison | None] = {}

    def judge(self, day: date, window: Window, current: Mapping[str, str]) -> Later:
        """Compare what would be live of a day with what is live now.

        Raises:
            StorageError: what is live is damaged.
        """
        live = read_live(self._store, self._surface.place)
        why_not = _why_not(live, window, current, released=self._dry_run)
        if why_not or live is None or live.window is None:
            return _judged(ReleaseFacts(self._surface, why_not))
        erased = erased_since(self._store, self._surface, live, window)
        self._found_live = self._found_live or live.tag
        is_passing = day < self._scored_from and live.tag != self._found_live
        read = sizes_of if is_passing else outline_of
        pairs, unread = self._pairs(live.current, current, read, erased)
        withdrawn = None
        if any(pair.changed_list for pair in pairs):
            withdrawn = self._withdrawn()
            pairs, unread = self._pairs(live.current, current, outline_of, erased)
        facts = ReleaseFacts(self._surface, "", pairs, unread, withdrawn, is_passing=is_passing)
        if not is_passing and not facts.is_quiet:  # nor does a quiet day say what is usual
            trusted, asked = self._trusted.before(min(window.start, live.window.start))
            scored = self._scored(day, pairs, asked, withdrawn) if asked else []
            worse = [each for each in scored if each.change.failed]
            examples = lost_examples(self._store, live.current, worse, asked) if asked else []
            facts = replace(facts, trusted=trusted, scored=scored, examples=examples)
        found = _judged(facts)
        if not self._dry_run:
            self._keep(day, live.window.last_day, facts, found)
        return found

    def _pairs(
        self,
        before: Mapping[str, str],
        after: Mapping[str, str],
        read: Callable[..., Outline],
        erased: Sequence[str],
    ) -> tuple[list[Pair], dict[str, str]]:
        pairs, unread, known = list[Pair](), dict[str, str](), dict[str, Outline]()
        for kind in [kind for kind in after if kind in before]:
            try:
                for uri in (before[kind], after[kind]):
                    found = self._outlines.get(uri)
                    if found is None or (found.is_brief and read is outline_of):
                        keeps = not self._dry_run
                        found = read(self._store, self._surface.place, kind, uri, keeps=keeps)
                    known[uri] = found
                why = erased if KINDS[kind].reads == "events" else ()
                pairs.append(Pair(kind, known[before[kind]], known[after[kind]], why))
            except StorageError as error:
                unread[kind] = str(error)
        self._outlines = known  # what is live next is among them
        return pairs, unread

    def _scored(
        self, day: date, pairs: Sequence[Pair], asked: Asked, withdrawn: pl.Series | None
    ) -> list[Scored]:
        gates, past = self._surface.gates, self._changes_before(day)
        found = []
        for pair in pairs:
            if not pair.before.entries:  # as after a quiet day: nothing is worse than nothing
                continue
            for cut, (after, before) in pair.scores(asked).items():
                earlier = [of[name] for of in past if (name := f"{pair.kind}_{cut}") in of]
                scored = Scored(pair, cut, compare_scores(after, before, earlier, gates))
                if scored.change.failed:
                    scored = self._explained(scored, asked, earlier, withdrawn)
                found.append(scored)
        return found

    def _explained(
        self, scored: Scored, asked: Asked, earlier: Sequence[float], withdrawn: pl.Series | None
    ) -> Scored:
        """Return the same with what explains that it is worse."""
        pair = scored.pair
        if pair.changed:
            return replace(scored, because=pair.changed)
        if not pair.changed_list or withdrawn is None:
            return scored
        after, before = pair.scores(asked, without=withdrawn)[scored.cut]
        change = compare_scores(after, before, earlier, self._surface.gates)
        return scored if change.failed else replace(scored, because=pair.changed_list)

    def _withdrawn(self) -> pl.Series | None:
        """Return the items that are withdrawn now, as hashes; None where there is no list."""
        denied = read_denied(self._surface)
        return hashes(pl.Series(sorted(denied.items), dtype=pl.String)) if denied else None

    def _changes_before(self, day: date) -> list[Mapping[str, float]]:
        span = self._surface.gates.history_days
        days = [day - timedelta(days=back) for back in range(span, 0, -1)]
        unread = [each for each in days if each not in self._past]
        read = partial(read_comparison, self._store, self._surface.place)
        self._past |= zip(unread, read_each(read, unread), strict=True)
        self._past = {each: self._past[each] for each in days}
        return [of.changes for of in self._past.values() if of]

    def _keep(self, day: date, live_day: date, facts: ReleaseFacts, found: Later) -> None:
        """Keep what was found, and what says what is usual.

        The latter not of a day that is refused, nor what is explained.
        """
        place, scored = self._surface.place, facts.scored
        refused = any(verdict.outcome == "failed" for verdict in found.verdicts.values())
        numbers = {each.name: _figures(each) for each in scored}
        told = Found.now(day, unexplained(facts), numbers, refused=refused)
        keep_found(self._store, place, "release", told)
        if not scored:
            return
        changes = {
            each.name: each.change.logarithm for each in scored if not refused and not each.because
        }
        comparison = Comparison(day, live_day, changes)
        write_comparison(self._store, place, comparison)
        self._past[day] = comparison


def _figures(scored: Scored) -> Figures:
    change = scored.change
    used = None if change.floor is None else change.used
    return Figures(scored.pair.kind, change.share, change.live, used)


def _judged(facts: ReleaseFacts) -> Later:
    shown: dict[str, Shown] = {}
    for each in facts.scored:
        name, change = f"gate/{each.name}", each.change
        shown |= {name: change.share, f"{name}/live": change.live}
        if change.floor is not None:
            shown |= {f"{name}/least": change.floor, f"{name}/margin_used": change.used}
    return Later(judge(RELEASE_CHECKS, facts), shown)


def _why_not(
    live: Live | None, window: Window, current: Mapping[str, str], *, released: bool
) -> str:
    """Say why what would be live is not compared with what is; empty where it is."""
    if live is None:
        return "nothing is live yet"
    if live.window is None or live.window.end > window.end:
        return "it does not become live: what is live is later"
    if live.window == window and live.current == current:
        return "it is live already"
    if live.publication and live.publication.pinned and not released:
        return "it does not become live: what is live is pinned; a release compares it"
    return ""
