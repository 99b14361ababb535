"""The artifact kinds, one row each: everything that tells one kind from another.

A kind is a model of its options (`config/options.py`), a contract (`contracts.py`), a function
(`compute/`), and a row here. The assets, their checks, the documents, the commands and the pages
follow from the row. docs/add-an-artifact-kind.md adds one, step by step.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from recsys_assets import pages
from recsys_assets.compute.coded import Coded, Streamed
from recsys_assets.compute.content_sim import normalise_tags, repeated_items
from recsys_assets.compute.cooc import count_cooccurrence
from recsys_assets.compute.day_counts import as_count
from recsys_assets.compute.implicit import count_user_exposures
from recsys_assets.compute.popularity import count_exposures, weigh_days
from recsys_assets.compute.session_seq import count_next_items
from recsys_assets.config import Surface
from recsys_assets.config.options import (
    ContentSim,
    Cooc,
    Implicit,
    Popularity,
    SessionSeq,
)
from recsys_assets.documents import ListLayout
from recsys_assets.engines import rules
from recsys_assets.engines.engine import SqlEvents
from recsys_assets.kind import ArtifactFacts, Computed, Example, Kind, WindowEvents
from recsys_assets.verdicts import Check, Verdict, failed, guardrail, passed, surely_at_most


def _popularity(events: WindowEvents, options: Popularity, surface: Surface) -> Computed:
    days, half_life = list(events.days), options.half_life_days
    weights = weigh_days(days, half_life_days=half_life) if half_life else None
    counts = list(events.days.values())
    rows = count_exposures(
        counts,
        top_n=options.top_n,
        weights=weights,
        weighted=surface.source.weight is not None,
        listed=events.listed_ids,
    )
    return Computed(rows, unit=_exposures(half_life))


def _popularity_in_sql(events: SqlEvents, options: Popularity, surface: Surface) -> Computed:
    half_life = options.half_life_days
    weights = weigh_days(events.days, half_life_days=half_life) if half_life else None
    rows = events.rows(
        rules.POPULARITY,
        top_n=options.top_n,
        of_day=events.of_day(weights) if weights else 1,
        weight=_weight(surface),
    )
    return Computed(Streamed(rows), unit=_exposures(half_life))


def _exposures(half_life: float | None) -> str:
    return "thousandths of an exposure" if half_life else "exposures"


def _weight(surface: Surface) -> str:
    """Return what an event counts in SQL, where it may have a weight."""
    return "weight" if surface.source.weight is not None else "1"


def _cooc(events: WindowEvents, options: Cooc, surface: Surface) -> Computed:
    found = count_cooccurrence(
        events.counts,
        max_neighbours=options.max_neighbours,
        min_support=options.min_support,
        max_items=options.max_items,
        max_items_per_session=surface.guardrails.max_items_per_session,
        listed=events.listed,
    )
    return _neighbours(found.neighbours, found.sessions, found.oversized_sessions)


def _cooc_in_sql(events: SqlEvents, options: Cooc, surface: Surface) -> Computed:
    limits = {
        **options.model_dump(),
        "max_items_per_session": surface.guardrails.max_items_per_session,
    }
    found = events.numbers(rules.SESSIONS, **limits)
    pairs = rules.TURNED if found["items"] <= options.max_items else rules.NOT_TURNED
    rows = Streamed(events.rows(rules.COOC, **limits, **pairs))
    return _neighbours(rows, found["sessions"], found["oversized"])


def _neighbours(rows: Coded | Streamed, sessions: int, oversized: int) -> Computed:
    return Computed(
        rows,
        unit="sessions",
        shown={"oversized_sessions": oversized},
        found={"oversized": oversized, "sessions": sessions},
    )


def _few_oversized(facts: ArtifactFacts) -> Verdict:
    found, limits = facts.found, facts.surface.guardrails
    return surely_at_most(
        limits, "max_oversized_session_share", found["oversized"], found["sessions"]
    )


def _implicit(events: WindowEvents, options: Implicit, surface: Surface) -> Computed:
    weighted = surface.source.weight is not None
    rows = count_user_exposures(
        events.counts, top_n=options.top_n, weighted=weighted, listed=events.listed
    )
    return Computed(rows, unit="exposures")


def _implicit_in_sql(events: SqlEvents, options: Implicit, surface: Surface) -> Computed:
    def checked(frame: pl.DataFrame) -> pl.DataFrame:
        as_count(frame["score"])  # which Polars counts in
        return frame

    weight = _weight(surface)
    rows = events.rows(rules.IMPLICIT, top_n=options.top_n, weight=weight)
    return Computed(Streamed(map(checked, rows)), unit="exposures")


def _session_seq(events: WindowEvents, options: SessionSeq, _: Surface) -> Computed:
    rows = count_next_items(events.counts, top_n=options.top_n, listed=events.listed)
    return Computed(rows, unit="times next")


def _session_seq_in_sql(events: SqlEvents, options: SessionSeq, _: Surface) -> Computed:
    rows = events.rows(rules.SESSION_SEQ, top_n=options.top_n)
    return Computed(Streamed(rows), unit="times next")


def _content_sim(catalog: pl.DataFrame, options: ContentSim, surface: Surface) -> Computed:
    namespace = surface.events_of.surface
    tags = normalise_tags(catalog.lazy(), surface=namespace, max_items=options.max_items)
    repeated = repeated_items(catalog.lazy(), surface=namespace)
    return Computed(tags, shown={"catalog_rows": catalog.height}, found={"repeated": repeated})


def _no_item_is_repeated(facts: ArtifactFacts) -> Verdict:
    repeated = facts.found["repeated"]
    if repeated.is_empty():
        return passed()
    rows = repeated.head(_MOST_NAMED).to_dicts()
    named = ", ".join(f"{row['item_id']} ({row['rows']} rows)" for row in rows)
    more = f" and {repeated.height - len(rows):,} more" if repeated.height > len(rows) else ""
    return failed(
        f"{named}{more}: items with several rows in the catalog are published as often, each time "
        "with other tags. Keep one row of each, and materialize content_sim again",
        failures=repeated.height,
        rows=rows,
    )


# Items that a check names.
_MOST_NAMED: Final = 10
# What the examples are made of: three users, a session each.
_VISITS: Final = (
    ("ann", "s1", "tea"),
    ("ann", "s1", "cup"),
    ("bob", "s2", "tea"),
    ("bob", "s2", "cup"),
    ("bob", "s2", "tea"),
    ("eve", "s3", "jar"),
)

_ROWS: Final = (
    Kind(
        "popularity",
        options=Popularity,
        layout=ListLayout("items", "item_id", "count"),
        compute=_popularity,
        sql=_popularity_in_sql,
        text='Most exposed items of the window, by count; serves "popular now" shelves.',
        rule=(
            "exposures per item, the first `top_n`; with `half_life_days`, older days count less"
        ),
        guarantee="counts of at least 1, by count then id, an item once",
        order="count descending, then item_id",
        draw=pages.draw_ranking,
        example=Example(events=_VISITS, rows=[("tea", 3), ("cup", 2), ("jar", 1)]),
    ),
    Kind(
        "cooc",
        options=Cooc,
        layout=ListLayout("neighbors", "item_id", "count", entry="neighbour_id"),
        compute=_cooc,
        sql=_cooc_in_sql,
        text='Neighbours of each item by shared sessions; serves "seen together" shelves.',
        rule=(
            "sessions that hold both items, at least `min_support`; per item the first "
            "`max_neighbours`"
        ),
        guarantee=(
            "no item is its own neighbour, a neighbour once, bots left out and their share bounded"
        ),
        order="item_id; within, count descending, then item_id",
        draw=pages.draw_list_sizes,
        checks=(
            guardrail(
                "max_oversized_session_share",
                ["artifact"],
                _few_oversized,
                knobs=["max_items_per_session"],
                where=lambda surface, _: bool(surface.variant_of or not surface.bots.beyond_cooc),
                where_text=", when `bots.leave_out_of` names no other kind, and of a variant",
            ),
        ),
        example=Example(events=_VISITS, rows=[("cup", "tea", 2), ("tea", "cup", 2)]),
    ),
    Kind(
        "implicit",
        options=Implicit,
        layout=ListLayout("users", "user_id", "score", entry="item_id"),
        compute=_implicit,
        sql=_implicit_in_sql,
        text="How often each user was shown each item: implicit feedback.",
        rule="exposures of the item to the user, per user the first `top_n`",
        guarantee="by score then id, an item once per user",
        order="user_id; within, score descending, then item_id",
        draw=pages.draw_scores,
        example=Example(
            events=_VISITS,
            rows=[
                ("ann", "cup", 1.0),
                ("ann", "tea", 1.0),
                ("bob", "tea", 2.0),
                ("bob", "cup", 1.0),
                ("eve", "jar", 1.0),
            ],
        ),
    ),
    Kind(
        "session_seq",
        options=SessionSeq,
        layout=ListLayout("users", "user_id", "score", entry="item_id"),
        compute=_session_seq,
        sql=_session_seq_in_sql,
        text="Which items came next in each user's sequence of events.",
        rule="how often the item came next in the user's events in time order",
        guarantee="the same; a user with one event keeps an empty list",
        order="user_id; within, score descending, then item_id",
        draw=pages.draw_scores,
        example=Example(
            events=_VISITS,
            rows=[
                ("ann", "cup", 1.0),
                ("bob", "cup", 1.0),
                ("bob", "tea", 1.0),
                ("eve", None, None),
            ],
        ),
    ),
    Kind(
        "content_sim",
        options=ContentSim,
        layout=ListLayout("items", "item_id", "tags"),
        compute=_content_sim,
        text="The tags of each catalog item; serves similarity by content.",
        rule="the tags of the catalog's items",
        guarantee="trimmed, lower-cased, distinct, never empty",
        order="item_id; tags as in the catalog",
        draw=pages.draw_tags,
        checks=(
            Check(
                "no_item_is_repeated",
                ["artifact"],
                "No item has several rows in the catalog. If one has, each row is published.",
                "validation-failed",
                _no_item_is_repeated,
                blocks=False,
            ),
        ),
        example=Example(
            catalog=[
                ("tea", ["Hot | green"], ""),
                ("cup", ["hot, Blue", "hot"], ""),
                ("jar", [], ""),
            ],
            rows=[("cup", ["hot", "blue"]), ("tea", ["hot", "green"])],
        ),
    ),
)

KINDS: Final = {row.name: row for row in _ROWS}
# Those whose documents hold ids of users.
OF_USERS: Final = tuple(row.name for row in _ROWS if row.layout.owner == "user_id")
