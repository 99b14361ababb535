"""Windows of made-up days, with options of all kinds: what every engine is held to Polars by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
from hypothesis import strategies as st

from recsys_assets.audit.drafts import drafts
from recsys_assets.audit.shared import Shared
from recsys_assets.config import Surface
from recsys_assets.contracts import canonical_dtypes
from recsys_assets.events.accepted import AcceptedDay
from recsys_assets.events.sessions import give_sessions
from recsys_assets.events.writers import EventsWriter
from recsys_assets.kinds import KINDS
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.project import SMALL, Project

DAY: Final = date(2026, 1, 1)
# Ids that sort differently by UTF-16, by locale and by case than by UTF-8 bytes, and odd ones.
_ITEMS: Final = ["a", "b", "c", "Z", "é", "\uffee", "😀", "it's"]
_USERS: Final = [None, "u1", "u2", "U3", "ü"]
_SESSIONS: Final = [None, None, "s1", "s2", "S4", "ß"]
# Nanoseconds since midnight: close to each other, and on both sides of midnight.
_MINUTE: Final = 60_000_000_000
_MOMENTS: Final = [0, 1, 2, 10 * _MINUTE, 20 * _MINUTE + 1, 720 * _MINUTE, 1430 * _MINUTE]


@dataclass(frozen=True)
class Window:
    """A window: the events of its days, and how its surface is configured.

    Attributes:
        days: rows of ts (since midnight), user, session, item, file, part, weight; by the number of
            the day. Those that are missing are not accepted.
        gap_minutes: of the sessions that are built.
        further: columns that the days have, each some.
        surface: keys of its entry.
        denied: withdrawn items.
        known: items of the catalog.
    """

    days: Mapping[int, Sequence[tuple[Any, ...]]]
    gap_minutes: int
    further: Mapping[int, list[str]]
    surface: Mapping[str, Any]
    denied: Sequence[str] | None
    known: Sequence[str] | None


# At night, a few users go on after midnight.
_by_night = st.tuples(
    st.sampled_from([0, _MINUTE, 720 * _MINUTE, 1439 * _MINUTE]),
    st.sampled_from(["u1", "ü"]),
    st.none(),
    st.sampled_from("abc"),
    st.integers(0, 1),
    st.integers(0, 2),
    st.none(),
)
_rows = st.tuples(
    st.sampled_from(_MOMENTS),
    st.sampled_from(_USERS),
    st.sampled_from(_SESSIONS),
    st.sampled_from(_ITEMS),
    st.integers(0, 1),
    st.integers(0, 2),
    st.sampled_from([None, 1, 2, 1000]),
)
_small = st.integers(1, 3)


@st.composite
def windows(draw: Any) -> Window:
    """Draw a window of one to four days."""
    length, rows = draw(st.integers(1, 4)), draw(st.sampled_from([_rows, _by_night]))
    numbers = draw(st.sets(st.integers(0, length - 1))) | {length - 1}
    some = st.lists(st.sampled_from(["part", "weight"]), unique=True).map(sorted)
    return Window(
        days={at: draw(st.lists(rows, max_size=20)) for at in sorted(numbers)},
        gap_minutes=draw(st.sampled_from([1, 30, 1440])),
        further={at: draw(some) for at in numbers},
        surface={
            "window_days": length,
            "artifacts": {
                "popularity": {
                    "top_n": draw(_small),
                    "half_life_days": draw(st.sampled_from([None, 0.1, 1.5])),
                },
                "cooc": {name: draw(_small) for name in ("max_neighbours", "min_support")}
                | {"max_items": draw(st.integers(1, 6))},
                "implicit": {"top_n": draw(_small)},
                "session_seq": {"top_n": draw(_small)},
            },
            "bots": {
                "leave_out_of": draw(st.sampled_from(["all", ["cooc"], ["cooc", "implicit"]])),
                "max_items_per_user": draw(st.one_of(st.none(), _small)),
            },
            "guardrails": {"max_items_per_session": draw(st.integers(1, 5))},
            **draw(
                st.sampled_from(
                    [{}, {"source": {"path": "raw", "weight": {"column": "k", "values": {"x": 2}}}}]
                )
            ),
        },
        denied=draw(st.one_of(st.none(), st.lists(st.sampled_from(_ITEMS)))),
        known=draw(st.one_of(st.none(), st.lists(st.sampled_from(_ITEMS)))),
    )


def accepted(window: Window, folder: Path) -> dict[date, AcceptedDay]:
    """Write the days of a window below a folder."""
    found = {}
    for number, rows in window.days.items():
        day = DAY + timedelta(days=number)
        further = window.further[number]
        dtypes = canonical_dtypes(further)
        path = folder / layout.canonical(Place("demo", "home"), day)
        path.parent.mkdir(parents=True, exist_ok=True)
        ordered = sorted(enumerate(rows, start=1), key=lambda row: (row[1][4], row[0]))
        midnight = (day - date(1970, 1, 1)).days * 1440 * _MINUTE
        columns: dict[str, list[Any]] = {
            "ts": [midnight + row[0] for _, row in ordered],
            "user_id": [row[1] for _, row in ordered],
            "session_id": [row[2] for _, row in ordered],
            "request_id": [None] * len(rows),
            "item_id": [row[3] for _, row in ordered],
            "rank": [None] * len(rows),
            "file": [row[4] for _, row in ordered],
            # With parts, an event shares its line with another one.
            "line": [line // 2 + 1 if "part" in further else line for line, _ in ordered],
            "part": [line % 2 for line, _ in ordered],
            "weight": [row[6] for _, row in ordered],
        }
        frame = pl.DataFrame({name: columns[name] for name in dtypes}, strict=False)
        frame = frame.with_columns(pl.col("ts").cast(pl.Int64)).cast(pl.Schema(dtypes))
        with EventsWriter(path, dtypes) as writer:
            writer.write(frame)
            writer.footer = json.dumps({}).encode()
        gap = timedelta(minutes=window.gap_minutes)
        if frame["session_id"].null_count():
            give_sessions(path, dtypes, day=day, gap=gap)
        found[day] = AcceptedDay(str(path), f"f{number}", gap, len(rows), frozenset(dtypes))
    return found


def surface_of(window: Window, folder: Path, engine: Mapping[str, Any]) -> Surface:
    """Return the surface of a window, and write the lists of items that it names."""
    entry: dict[str, Any] = {
        "tenant": "demo",
        "surface": "home",
        "start_date": DAY,
        "source": {"path": "raw"},
        **window.surface,
        "engine": engine,
    }
    items: dict[str, Any] = {}
    if window.denied is not None:
        (folder / "denied").write_text("\n".join(window.denied))
        items["deny"] = str(folder / "denied")
    if window.known is not None:
        lines = [f'"{item}",red' for item in window.known]
        (folder / "catalog.csv").write_text("\n".join(["item_id,tags", *lines]) + "\n")
        entry["catalog"] = {"path": str(folder / "catalog.csv")}
        items["only_in_catalog"] = True
    return Surface.model_validate(entry | {"items": items})


def made(
    window: Window, days: Mapping[date, AcceptedDay], folder: Path, engine: Mapping[str, Any]
) -> dict[str, Any]:
    """Return of each kind all that an engine decides: the list, and what checks and pages see."""
    surface, last, found = surface_of(window, folder, engine), max(days), {}
    for name in surface.artifacts.of("events"):
        draft = drafts(LocalStore(folder / "var"), surface, KINDS[name], days, Shared())(last)
        text = b"".join(draft.text)
        assert draft.list.verdict.passed, draft.list.verdict
        found[name] = (text.decode(), dict(draft.found), dict(draft.shown), draft.list.numbers)
    return found


def is_what_polars_makes(project: Project, of: date) -> None:
    """Hold the versions that are live to those of Polars, which makes the same day again."""
    config = project.configure(SMALL)
    live = project.live(config)

    assert live
    assert project.materialize(config, [of]).failures == []
    after = project.live(config)
    assert after
    assert after.current == live.current
