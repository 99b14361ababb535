"""Sessions of the events that have none."""

from __future__ import annotations

import csv
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.compute.bots import BotLimits, without_bots
from recsys_assets.compute.cooc import count_cooccurrence
from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.window_counts import WindowCounts
from recsys_assets.config import Surface
from recsys_assets.contracts import canonical_event
from recsys_assets.errors import RawEventsError
from recsys_assets.events import sessions
from recsys_assets.events.accepted import AcceptedDay, accept_day, accepted_days
from recsys_assets.events.days import ParsedDay, parse_day
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.sessionizer import DAY_SECONDS, Seen, seen_events, sessions_of

DAY = date(2026, 1, 1)
MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
GAPS = st.sampled_from([1, 15, 30, 60, 1440])
COLUMNS = {"ts": "t", "user_id": "u", "session_id": "s", "item_id": "i"}


def surface(folder: Path, *, gap: int | None = 30, **source: Any) -> Surface:
    (folder / "raw").mkdir(exist_ok=True)
    source = {"type": "csv", "path": str(folder / "raw"), "pattern": "{day}*", **source}
    return Surface.model_validate(
        {
            "tenant": "acme",
            "surface": "home",
            "start_date": DAY,
            "source": {
                "columns": COLUMNS,
                "sessions": None if gap is None else {"gap_minutes": gap},
                **source,
            },
            "artifacts": {"popularity": {}},
        }
    )


def day(number: int) -> date:
    return DAY + timedelta(days=number)


def write(folder: Path, events: Iterable[Seen], *, days: int = 1) -> None:
    """Write each event to the file of its day; its rank is its place among all."""
    numbered = list(enumerate(events))
    for number in range(days):
        with (folder / f"raw/{day(number)}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["t", "u", "s", "i", "rank"])
            for at, (second, *rest) in numbered:
                if second // DAY_SECONDS == number:
                    moment = MIDNIGHT + timedelta(seconds=second)
                    rows.writerow([moment.isoformat(), *("" if x is None else x for x in rest), at])


def parsed(folder: Path, events: Sequence[Seen], of: Surface, *, days: int = 1) -> list[ParsedDay]:
    write(folder, events, days=days)
    return [parse_day(of, day(number), scratch=folder) for number in range(days)]


RANKED = {"columns": {**COLUMNS, "rank": "rank"}}


@given(seen_events(days=1), GAPS)
def test_a_day_has_the_sessions_that_are_built_by_hand(events: list[Seen], gap: int) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (of_day,) = parsed(folder, events, surface(folder, gap=gap, **RANKED))
        frame = of_day.frame.collect()

    canonical_event(DAY).validate(frame)
    assert frame["rank"].to_list() == list(range(len(events)))  # in source order, as they came
    by_session = frame.group_by("session_id").agg("rank")["rank"].to_list()
    expected = sessions_of(events, gap)
    assert sorted(map(frozenset, by_session), key=min) == expected
    of_users = [at for at, event in enumerate(events) if not event.session and event.user]
    assert of_day.built_sessions == sum(1 for session in expected if min(session) in of_users)


@given(seen_events(days=4), GAPS, st.integers(1, 3))
def test_a_window_has_the_sessions_that_are_built_by_hand_over_midnight(
    events: list[Seen], gap: int, most: int
) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        of_days = parsed(folder, events, surface(folder, gap=gap), days=4)
        counts = WindowCounts([DayCounts(each.frame, gap=each.provenance.gap) for each in of_days])
        found = count_cooccurrence(
            counts, max_neighbours=9, min_support=1, max_items=9, max_items_per_session=most
        )
        rows = found.neighbours.collect().drop_nulls("count").rows()

    baskets = [{events[at].item for at in session} for session in sessions_of(events, gap)]
    assert found.sessions == len(baskets)
    assert found.oversized_sessions == sum(1 for basket in baskets if len(basket) > most)
    expected: dict[tuple[str, str], int] = {}
    for basket in baskets:
        for pair in ((a, b) for a in basket for b in basket if a != b and len(basket) <= most):
            expected[pair] = expected.get(pair, 0) + 1
    assert {(a, b): number for a, b, number in rows} == expected


@given(seen_events(days=3), GAPS, st.integers(1, 2))
def test_bots_of_a_day_are_left_out_of_it_and_the_others_are_joined(
    events: list[Seen], gap: int, most: int
) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        of_days = parsed(folder, events, surface(folder, gap=gap), days=3)
        everything = [DayCounts(each.frame, gap=each.provenance.gap) for each in of_days]
        limits = BotLimits(items_per_session=most)
        people = [
            DayCounts(each.events, None, without_bots(each, limits), gap=each.gap)
            for each in everything
        ]
        baskets = WindowCounts(people).baskets
        found = Counter((baskets // 2**32).to_list())

    left: list[Seen] = []
    for number in range(3):
        of_day = [event for event in events if event.second // DAY_SECONDS == number]
        for session in sessions_of(of_day, gap):
            if len({of_day[at].item for at in session}) <= most:
                left += [of_day[at] for at in session]
    expected = [len({left[at].item for at in session}) for session in sessions_of(left, gap)]
    assert sorted(found.values()) == sorted(expected)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([43_200, 43_200 + DAY_SECONDS, 43_200 + 2 * DAY_SECONDS], 1),  # a day has one event only
        ([43_200, 43_201 + DAY_SECONDS, 43_201 + 2 * DAY_SECONDS], 2),
        ([0, DAY_SECONDS, 2 * DAY_SECONDS], 1),
        ([43_200, 2 * DAY_SECONDS], 2),  # a day without the user
    ],
)
def test_a_session_goes_on_for_days_until_a_pause_is_too_long(
    seconds: list[int], expected: int, tmp_path: Path
) -> None:
    events = [Seen(second, "ann", None, "a") for second in seconds]

    of_days = parsed(tmp_path, events, surface(tmp_path, gap=1440), days=3)

    counts = WindowCounts([DayCounts(each.frame, gap=each.provenance.gap) for each in of_days])
    assert counts.baskets.len() == expected


def ids(of: ParsedDay | AcceptedDay) -> list[str]:
    return of.frame.select("session_id").collect().to_series().to_list()


def test_a_built_session_is_known_by_its_user_and_its_first_event(tmp_path: Path) -> None:
    events = [
        Seen(36_000 + 1800, "ann", None, "b"),
        Seen(36_000, "ann", None, "a"),
        Seen(36_000 + 3601, "ann", None, "c"),
        Seen(36_000, "bob", None, "a"),
        Seen(36_000, "ann", "s1", "a"),
        Seen(36_000, None, None, "a"),
    ]

    (of_day,) = parsed(tmp_path, events, surface(tmp_path))

    assert ids(of_day) == [
        "gap 2026-01-01T10:00:00Z ann",
        "gap 2026-01-01T10:00:00Z ann",
        "gap 2026-01-01T11:00:01Z ann",
        "gap 2026-01-01T10:00:00Z bob",
        "s1",
        "none 2026-01-01 0 7",
    ]
    assert of_day.built_sessions == 3


def test_an_event_that_has_an_id_neither_joins_nor_parts_others(tmp_path: Path) -> None:
    seconds = [(0, None), (1200, "s1"), (2400, None)]
    events = [Seen(second, "ann", session, "a") for second, session in seconds]

    (of_day,) = parsed(tmp_path, events, surface(tmp_path))

    assert len(set(ids(of_day))) == 3


@pytest.mark.parametrize("gap", [None, 30])
def test_an_event_without_a_session_that_comes_again_counts_once(
    tmp_path: Path, gap: int | None
) -> None:
    """What tells it is what was sent; the session that it is given is told by its line."""
    of = surface(tmp_path, gap=gap, no_session=["-1"], columns={**COLUMNS, "request_id": "r"})
    row = f"{DAY}T10:00:00Z,ann,-1,a,r1\n"
    (tmp_path / f"raw/{DAY}.csv").write_text(f"t,u,s,i,r\n{row}{row}")

    of_day = parse_day(of, DAY, scratch=tmp_path)

    assert (of_day.events, of_day.redelivered) == (1, 1)
    assert ids(of_day) == ["gap 2026-01-01T10:00:00Z ann" if gap else "none 2026-01-01 0 2"]


def test_a_day_whose_events_all_have_sessions_is_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "rewrite", None)

    (of_day,) = parsed(tmp_path, [Seen(0, "ann", "s1", "a")], surface(tmp_path))

    assert (ids(of_day), of_day.built_sessions) == (["s1"], 0)


def test_users_are_looked_at_in_buckets_and_the_sessions_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [Seen(at * 977 % 86_400, f"u{at % 7}", None, "a") for at in range(500)]
    (at_once,) = parsed(tmp_path, events, surface(tmp_path))
    expected = (ids(at_once), at_once.built_sessions)
    monkeypatch.setattr(sessions, "_BUCKET_ROWS", 60)

    (in_buckets,) = parsed(tmp_path, events, surface(tmp_path))

    assert (ids(in_buckets), in_buckets.built_sessions) == expected
    assert in_buckets.built_sessions > 100


def test_the_gap_is_part_of_the_fingerprint_and_known_of_the_accepted_day(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "var")
    fingerprints = set()
    for gap in (None, 30, 60):
        of = surface(tmp_path, gap=gap)
        with store.scratch() as scratch:
            write(tmp_path, [Seen(0, "ann", "s1", "a")])
            of_day = parse_day(of, DAY, scratch=scratch)
            accept_day(store, of.place, of_day)
        fingerprints.add(of_day.fingerprint)
        accepted = accepted_days(store, of.place, [DAY])[DAY]
        assert accepted.gap == timedelta(minutes=gap or 0)
    assert len(fingerprints) == 3


@pytest.mark.parametrize(("gap", "joined"), [((30, 60), False), ((60, 60), True), ((60, 0), False)])
def test_days_of_another_gap_are_joined_within_the_shorter_one(
    tmp_path: Path, gap: tuple[int, int], joined: bool
) -> None:
    """The configuration may have changed between two days: each is what it was made with."""
    pause = [Seen(DAY_SECONDS - 1800, "ann", None, "a"), Seen(DAY_SECONDS + 600, "ann", None, "b")]
    of_days = parsed(tmp_path, pause, surface(tmp_path), days=2)

    counts = WindowCounts(
        [
            DayCounts(each.frame, gap=timedelta(minutes=minutes))
            for each, minutes in zip(of_days, gap, strict=True)
        ]
    )

    found = count_cooccurrence(
        counts, max_neighbours=9, min_support=1, max_items=9, max_items_per_session=9
    )
    assert (found.sessions, found.neighbours.collect().height) == ((1, 2) if joined else (2, 0))


@pytest.mark.parametrize("gap", [None, 30])
def test_lines_of_raw_events_may_lack_a_session_where_they_are_built(
    tmp_path: Path, gap: int | None
) -> None:
    of = surface(tmp_path, gap=gap, type="jsonl", columns=None)
    members = f'"v":1,"ts":"{DAY}T10:00:00Z","tenant":"acme","surface":"home","item_id":"a"'
    lines = [f'{{{members},"user_id":"ann"{more}}}\n' for more in ("", ',"session_id":" "')]
    (tmp_path / f"raw/{DAY}.jsonl").write_text("".join(lines))

    of_day = parse_day(of, DAY, scratch=tmp_path)

    assert (of_day.events, dict(of_day.refused)) == ((2, {}) if gap else (0, {"missing_id": 2}))


@pytest.mark.parametrize(
    ("header", "missing"), [("ts,user_id,item_id", None), ("ts,item_id", "user_id")]
)
def test_a_file_without_names_needs_users_in_place_of_sessions(
    tmp_path: Path, header: str, missing: str | None
) -> None:
    of = surface(tmp_path, columns=None)
    (tmp_path / f"raw/{DAY}.csv").write_text(
        f"{header}\n{DAY}T10:00:00Z{',a' * header.count(',')}\n"
    )

    if missing is None:
        assert parse_day(of, DAY, scratch=tmp_path).built_sessions == 1
        return
    with pytest.raises(RawEventsError, match=f"no field '{missing}'"):
        parse_day(of, DAY, scratch=tmp_path)
