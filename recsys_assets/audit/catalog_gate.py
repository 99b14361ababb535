"""The gate of a catalog: one that changed is held against the one that is live, on real events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Final

import polars as pl

from recsys_assets.audit.baseline import Baseline
from recsys_assets.audit.settings import changed_list, changed_settings, settings_of
from recsys_assets.compute.catalog_fit import Fit, changed_items, fit_of
from recsys_assets.compute.samples import Keys, hashes
from recsys_assets.config import Surface
from recsys_assets.config.release_gates import CatalogGate
from recsys_assets.documents import RenderedDocument
from recsys_assets.errors import StorageError
from recsys_assets.kinds import KINDS
from recsys_assets.live.outlines import sizes_of
from recsys_assets.live.tables import parse_document, read_document
from recsys_assets.storage.found import Figures, Found, keep_found, read_found
from recsys_assets.storage.overrides import Override, read_overrides
from recsys_assets.storage.publications import read_live
from recsys_assets.storage.registry import source_hash_of
from recsys_assets.storage.store import Store
from recsys_assets.verdicts import Check, Verdict, passed, skipped
from recsys_assets.windows import SourceHash

CATALOG_FITS: Final = "catalog_fits"
_DAYS_BACK: Final = 7  # the newest accepted day among so many is asked
_SHOWN: Final = 5  # items that are named
_IS_LIVE: Final = "the catalog is the one that is live"


@dataclass(frozen=True)
class CatalogFacts:
    """What is known of a catalog when its gate looks at it.

    Attributes:
        surface: whose it is.
        why_not: why nothing is compared; empty where something is.
        day: of the events.
        live: how what is live fits them.
        new: how what would be live does.
        changed: share of events whose item has other tags.
        examples: items that have other tags.
        because: what was changed, and so explains a difference.
        overrides: that are about this catalog.
    """

    surface: Surface
    why_not: str = ""
    day: date | None = None
    live: Fit = field(default_factory=lambda: Fit(0, None))
    new: Fit = field(default_factory=lambda: Fit(0, None))
    changed: float = 0
    examples: Sequence[Mapping[str, Any]] = ()
    because: Sequence[str] = ()
    overrides: Sequence[Override] = ()


def catalog_facts(
    store: Store, surface: Surface, kind: str, day: date, document: RenderedDocument
) -> CatalogFacts:
    """Compare a document made of the catalog with the one that is live.

    The events are those of the day, if it is accepted already, or of the newest accepted day in the
    week before.
    """
    live = read_live(store, surface.place)
    if live is None or kind not in live.current:
        return CatalogFacts(surface, "nothing is live yet")
    if live.window is None or live.window.last_day > day:
        return CatalogFacts(surface, "it does not become live: what is live is later")
    uri = live.current[kind]
    if source_hash_of(store, surface.place, kind, uri) == document.source_hash:
        return CatalogFacts(surface, _IS_LIVE)
    days = [day - timedelta(days=back) for back in range(_DAYS_BACK, -1, -1)]
    overrides = read_overrides(store, surface.place)
    known = Baseline(store, surface, read_overrides(store, surface.events_of)).of(days)
    judged_on = [of for of in known.values() if not of.is_empty]
    if not judged_on:
        return CatalogFacts(surface, "no day with events is accepted")
    try:
        before = _tags(kind, read_document(store, uri, kind))
        after = _tags(kind, parse_document(document.path.read_bytes(), kind, str(document.path)))
        made_with = sizes_of(store, surface.place, kind, uri).settings
    except StorageError as error:
        return CatalogFacts(surface, str(error))
    newest = judged_on[-1]
    asked = newest.sample.keys(newest.sample.thinned)
    settings = settings_of(surface, kind, document.source_hash)
    source = SourceHash.from_text(document.source_hash).data
    return _compared(
        CatalogFacts(
            surface,
            day=newest.day,
            because=[*changed_settings(made_with, settings), *changed_list(made_with, settings)],
            overrides=[o for o in overrides if CATALOG_FITS in o.checks and o.is_of(day, source)],
        ),
        before,
        after,
        asked,
    )


def keep_catalog(store: Store, kind: str, day: date, facts: CatalogFacts, verdict: Verdict) -> None:
    """Keep what the gate found, for whoever watches many surfaces."""
    place = facts.surface.place
    if not facts.why_not:
        refused = verdict.outcome == "failed"
        told = Found.now(
            day, {CATALOG_FITS: _is_fault(facts)}, _figures(kind, facts), refused=refused
        )
        keep_found(store, place, "catalog", told)
    elif facts.why_not == _IS_LIVE:  # then whatever was found of another one is over
        known = read_found(store, place, "catalog")
        if known and known.failed[CATALOG_FITS]:
            told = Found.now(day, {CATALOG_FITS: False}, {}, refused=False)
            keep_found(store, place, "catalog", told)


def _figures(kind: str, facts: CatalogFacts) -> dict[str, Figures]:
    new, live, most = facts.new.covered, facts.live.covered, facts.surface.gates.catalog
    used = (live - new) / most.max_uncovered if most.max_uncovered else None
    figures = {"covered": Figures(kind, new, live, used)}
    ratio = _ratio(facts)
    if ratio is not None:
        figures["coherence_ratio"] = Figures(kind, ratio, 1, None)
    return figures


def _compared(
    facts: CatalogFacts, before: pl.DataFrame, after: pl.DataFrame, asked: Keys
) -> CatalogFacts:
    old, new = (each.select("item", "tags") for each in (before, after))
    changed = changed_items(old, new, asked)
    shown = changed.head(_SHOWN).join(before.select("item", "id"), on="item", maintain_order="left")
    return replace(
        facts,
        live=fit_of(old, asked),
        new=fit_of(new, asked),
        changed=int(changed["events"].sum()) / max(asked.rows, 1),
        examples=[
            {
                "item": row["id"],
                "events": row["events"],
                "tags": ", ".join(row["tags"]),
                "would be": ", ".join(row["tags_now"] or ["none"]),
            }
            for row in shown.iter_rows(named=True)
        ],
    )


def _tags(kind: str, document: Mapping[str, Any]) -> pl.DataFrame:
    """Return `item` (hash), `id` and `tags` of a document, an item once."""
    layout = KINDS[kind].layout
    try:
        entries = document[layout.key]
        ids = pl.Series("id", [entry[layout.owner] for entry in entries], dtype=pl.String)
        tags = pl.Series("tags", [entry["tags"] for entry in entries], dtype=pl.List(pl.String))
    except (KeyError, TypeError) as error:
        raise StorageError(f"the {kind} document is none: {error!r}") from None
    return pl.DataFrame([hashes(ids).alias("item"), ids, tags]).unique("item", keep="first")


def _fits(facts: Any) -> Verdict | None:
    """Look for a catalog that covers less, or whose tags fit sessions otherwise."""
    if not isinstance(facts, CatalogFacts):
        return None
    if facts.why_not:
        return skipped(facts.why_not)
    gates, said, ratio = facts.surface.gates, _wrong(facts), _ratio(facts)
    numbers = {"covered": facts.new.covered, "covered/live": facts.live.covered}
    numbers |= {"changed": facts.changed} | ({} if ratio is None else {"coherence_ratio": ratio})
    is_wrong = bool(said)
    if facts.changed > gates.catalog.warn_changed:
        said.append(f"{facts.changed:.2%} have an item with other tags, or none any more")
    if not said:
        return passed(**numbers)
    text = f"of the events of {facts.day}: {'; '.join(said)}"
    if facts.because:
        text += f" ({'; '.join(facts.because)})"
    refuses = is_wrong and gates.mode == "block" and not facts.because
    if is_wrong and facts.overrides:
        by, refuses = facts.overrides[-1], False
        text = f"accepted by {by.who}, {by.reason}: {text}"
    outcome = Verdict("warned", text, len(said), facts.examples, numbers)
    return replace(outcome, outcome="failed") if refuses else outcome


def _wrong(facts: CatalogFacts) -> list[str]:
    """Say what is beyond a limit."""
    limits, ratio, said = facts.surface.gates.catalog, _ratio(facts), list[str]()
    if facts.live.covered - facts.new.covered > limits.max_uncovered:
        said.append(
            f"{facts.new.covered:.2%} have an item with tags, live {facts.live.covered:.2%}"
        )
    if ratio is not None and not limits.min_coherence <= ratio <= limits.max_coherence:
        said.append(
            f"tags of consecutive items are {ratio:.2f} times as alike as those that are live"
        )
    return said


def _is_fault(facts: CatalogFacts) -> bool:
    """Tell whether it is worse than what is live, and no change explains that, and nobody did."""
    return bool(_wrong(facts)) and not facts.because and not facts.overrides


def _ratio(facts: CatalogFacts) -> float | None:
    if not facts.live.coherence or facts.new.coherence is None:
        return None
    return facts.new.coherence / facts.live.coherence


def _is_of_catalog(surface: Surface, kind: str) -> bool:
    return surface.gates.are_on and KINDS[kind].layout.value == "tags"


CATALOG_CHECK: Final = Check(
    CATALOG_FITS,
    ["artifact"],
    "Gate: a catalog that changed covers as many events as what is live, and its tags fit sessions "
    "as well.",
    "worse-than-live",
    _fits,
    knobs=[
        "gates.mode",
        *(f"gates.catalog.{name}" for name in CatalogGate.model_fields),
    ],
    where=_is_of_catalog,
    where_text="content_sim, unless `gates.mode` is off",
)
