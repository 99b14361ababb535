"""Numbers of days and how they are judged, against the rule written out in plain Python."""

from __future__ import annotations

import math
import random
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from statistics import median
from typing import Any

import pytest

from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.judging import NUMBERS, judge_day
from recsys_assets.compute.profiles import Profile, hours_of, profile_of
from recsys_assets.compute.replays import distance, replay
from recsys_assets.config import Gates
from recsys_assets_tests.frames import Event, events_frame

FIRST = date(2026, 1, 1)
Rows = list[tuple[str | None, str, str, int]]


def on(number: int) -> date:
    return FIRST + timedelta(days=number)


def profile(number: int, rows: Rows) -> Profile:
    frame = events_frame(Event(*row) for row in rows).lazy()
    return profile_of(on(number), DayCounts(frame), hours_of(frame), most=10_000)


def random_rows(seed: int, events: int = 300) -> Rows:
    """Return events of users who like items near their own number, in sessions over the day."""
    draw = random.Random(seed)  # noqa: S311
    return [
        (
            None if session % 7 == 0 else f"u{session % 20}",
            f"{seed % 3}s{session}",
            f"i{int(draw.gauss(session, 5)) % 50}",
            draw.randrange(86_400),
        )
        for session in (draw.randrange(60) for _ in range(events))
    ]


def in_order(rows: Rows) -> dict[str, list[str]]:
    sessions: dict[str, list[str]] = {}
    for _, session, item, _ in sorted(rows, key=lambda row: row[3]):
        sessions.setdefault(session, []).append(item)
    return sessions


def steps(rows: Rows, *backs: int) -> list[tuple[str, str]]:
    return [
        (items[at - back], items[at])
        for items in in_order(rows).values()
        for back in backs
        for at in range(back, len(items))
        if items[at - back] != items[at]
    ]


def expected(day: Rows, before: Sequence[Rows], newest: Sequence[Rows]) -> dict[str, float]:
    """Return the numbers of a replay by the words of docs/gates.md."""
    old = [row for rows in before for row in rows]
    items = Counter(item for _, _, item, _ in old)
    of_steps = Counter(step for rows in before for step in steps(rows, 1, 2, 3))
    asked = steps(day, 1)

    def is_foretold(step: tuple[str, str]) -> bool:
        by_chance = of_steps.total() * items[step[0]] * items[step[1]] / len(old) ** 2
        return of_steps[step] >= max(2, 3 * by_chance)

    users, old_users = ({user for user, *_ in rows if user} for rows in (day, old))
    sessions = {session for _, session, _, _ in day}
    pairs = {(user, item) for user, _, item, _ in old if user}
    now, size = Counter(item for _, _, item, _ in day), len(day) / len(old)
    risen = [n - items[i] * size for i, n in now.items() if n >= 10 and n > 4 * items[i] * size]
    with_user = [(user, item) for user, _, item, _ in day if user]
    return {
        "new_items": sum(item not in items for _, _, item, _ in day) / len(day),
        "risen_items": sum(risen) / len(day),
        "new_users": len(users - old_users) / len(users),
        "old_sessions": len(sessions & {s for rows in newest for _, s, _, _ in rows})
        / len(sessions),
        "replay_cooc": sum(map(is_foretold, asked)) / len(asked),
        "replay_users": sum(pair in pairs for pair in with_user) / len(with_user),
        "replay_popularity": 1 - sum(item not in items for _, _, item, _ in day) / len(day),
    }


@pytest.mark.parametrize("seed", range(5))
def test_a_day_is_replayed_as_the_page_says(seed: int) -> None:
    rows = [random_rows(seed * 100 + number) for number in range(12)]
    rows[11] = [*rows[11], ("u new", "s new", "i new", 5), ("u new", "s new", "i1", 6)]
    rows[11] += [("u3", f"s {n}", item, 7) for item, n in (("up", 10), ("49", 40), ("few", 9))
                 for n in range(n)]  # fmt: skip
    before = [profile(number, rows[number]) for number in range(11)]

    found = replay(profile(11, rows[11]), before)

    for name, value in expected(rows[11], rows[:11], rows[4:11]).items():
        assert found[name] == pytest.approx(value), name


@pytest.mark.parametrize(
    ("most", "thinned", "known"),
    [
        (
            10_000,
            0,
            {
                "repeats": 0.29898989898989903,
                "hours": 0.1534399719323888,
                "quiet": 0.0,
                "new_items": 0.17474747474747473,
                "risen_items": 0.09090909090909091,
                "new_users": 0.9047619047619048,
                "old_sessions": 0.3333333333333333,
                "replay_popularity": 0.8252525252525252,
                "replay_cooc": 0.16539440203562342,
                "replay_users": 0.029239766081871343,
            },
        ),
        (
            300,
            2,
            {
                "repeats": 0.34090909090909094,
                "hours": 0.1534399719323888,
                "quiet": 0.0,
                "new_items": 0.15584415584415584,
                "risen_items": 0.0,
                "new_users": 1.0,
                "old_sessions": 0.42105263157894735,
                "replay_popularity": 0.8441558441558441,
                "replay_cooc": 0.24528301886792453,
                "replay_users": 0.0,
            },
        ),
    ],
)
def test_numbers_stay_what_they_were_to_the_last_digit(
    most: int, thinned: int, known: dict[str, float]
) -> None:
    """Those of a day are compared with those that are stored of the days before."""
    rows = [random_rows(number, events=900) for number in range(4)]
    rows[3] = [
        (
            user and f"{user}{session[-1]}",
            f"{session}x" if len(session) % 2 else session,
            f"{item}n" if session[-1] == "3" else item,
            second,
        )
        for user, session, item, second in rows[3]
    ]
    rows[3] += [("u1", f"b{number}", "up", number) for number in range(90)]
    frames = [events_frame(Event(*row) for row in of_day).lazy() for of_day in rows]
    days = [
        profile_of(on(number), DayCounts(frame), hours_of(frame), most=most)
        for number, frame in enumerate(frames)
    ]

    found = {"repeats": days[3].numbers["repeats"]} | replay(days[3], days[:3])

    assert days[3].sample.thinned == thinned
    assert found == known


def test_the_first_100_items_are_those_with_most_events_and_of_equals_the_first_hash() -> None:
    often = [(f"i{n}", 3 if n < 60 else 2) for n in range(150)]
    before = [profile(0, [(None, f"s{n}", item, 0) for item, times in often for n in range(times)])]
    day = profile(1, [(None, f"t{n}", item, 0) for n, (item, _) in enumerate(often)])

    found = replay(day, before)["replay_popularity"]

    first = sorted(often, key=lambda of: (-of[1], zlib.crc32(of[0].encode())))[:100]
    assert found == pytest.approx(100 / 150)
    only_first = profile(1, [(None, f"t{item}", item, 0) for item, _ in first])
    assert replay(only_first, before)["replay_popularity"] == 1


def test_the_hours_of_a_day_are_compared_with_the_usual_ones() -> None:
    usual = [profile(n, [("u", f"s{h}", "a", h * 3600) for h in range(24)]) for n in range(2)]
    half = profile(2, [("u", f"s{h}", "a", h * 3600) for h in range(12)])

    found = replay(half, usual)

    assert found["quiet"] == 0.5
    assert found["hours"] == pytest.approx(distance([1] * 12 + [0] * 12, [1] * 24))
    assert distance([1, 0], [0, 1]) == 1
    assert distance([2, 4], [1, 2]) == pytest.approx(0, abs=1e-6)
    assert distance([1], [0]) == 1


def test_numbers_of_a_day_by_itself_are_those_of_its_events() -> None:
    rows = [
        ("u1", "s1", "a", 1), ("u1", "s1", "a", 2), ("u2", "s1", "b", 3),
        ("u1", "s2", "a", 4), (None, "s3", "c", 5),
    ]  # fmt: skip

    assert profile(0, rows).numbers == pytest.approx(
        {
            "rows": 5,
            "sessions": 3,
            "length": 5 / 3,
            "repeats": 1 / 5,
            "no_user": 1 / 5,
            "shared_sessions": 1 / 3,
            "top_item": 3 / 5,
            "top_user": 3 / 5,
            "top_session": 3 / 5,
        }
    )
    assert profile(0, []).is_empty


def known(number: int, **numbers: float) -> Profile:
    """Return the profile of a day of which nothing but some numbers matters."""
    empty = profile(number, [])
    return replace(empty, numbers={"rows": 1000, "sessions": 500, **numbers}, by_hour=[1] * 24)


def gates(**more: Any) -> Gates:
    return Gates.model_validate({"min_sessions": 1, **more})


@pytest.mark.parametrize("days", [14, 20, 40])
def test_level_and_margin_of_volumes_are_those_of_weekdays(days: int) -> None:
    draw = random.Random(days)  # noqa: S311
    rows = [
        1000 * (0.4 if on(n).weekday() == 6 else 1) * draw.uniform(0.8, 1.25) for n in range(days)
    ]

    found = judge_day(
        known(days, rows=500), [known(n, rows=rows[n]) for n in range(days)], gates()
    ).found["rows"]

    logs = [(on(n).weekday(), math.log(rows[n])) for n in range(days)]
    every = median(value for _, value in logs)

    def level(weekday: int) -> float:
        of_it = [value for at, value in logs if at == weekday]
        return median(of_it) if len(of_it) >= 3 else every

    off = median(abs(value - level(at)) for at, value in logs)
    weeks = days / 7
    margin = max(0.45, 6.5 * 1.4826 * off * weeks / (weeks - 1))
    assert math.log(found.level) == pytest.approx(level(on(days).weekday()))
    assert found.margin == pytest.approx(margin)
    assert found.used == pytest.approx((math.log(500) - level(on(days).weekday())) / margin)


def test_level_of_other_numbers_is_that_of_the_last_28_days() -> None:
    history = [known(n, no_user=0.5 if n < 20 else 0.1) for n in range(50)]

    found = judge_day(known(50, no_user=0.16), history, gates()).found["no_user"]

    assert found.level == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx((0.1 - 0.05, 0.1 + 0.05))
    assert found.failed


def test_days_before_the_history_say_nothing() -> None:
    history = [known(n, rows=10) for n in range(20)] + [known(n) for n in range(60, 80)]

    found = judge_day(known(80), history, gates()).found["rows"]

    assert found.level == pytest.approx(1000)


@pytest.mark.parametrize(("value", "failed"), [(0.1, False), (0.0, False), (0.9, True)])
def test_a_number_of_which_only_more_is_bad_may_fall(value: float, failed: bool) -> None:
    history = [known(n, top_user=0.1) for n in range(20)]

    found = judge_day(known(20, top_user=value), history, gates()).found["top_user"]

    assert NUMBERS["top_user"].only_more
    assert found.failed is failed
    assert found.low is None


@pytest.mark.parametrize("name", ["top_item", "top_session"])
def test_what_is_strongest_may_not_fall_either(name: str) -> None:
    history = [known(n, **{name: 0.1}) for n in range(20)]

    lost = judge_day(known(20, **{name: 0.04}), history, gates()).found[name]
    weaker = judge_day(known(20, **{name: 0.08}), history, gates()).found[name]

    assert (lost.failed, weaker.failed) == (True, False)


# The day after two weeks is a Thursday; three days later it is the third Sunday.
@pytest.mark.parametrize("weeks", [2, 8])
@pytest.mark.parametrize(("name", "usual", "sundays"), [("no_user", 0, 0.3), ("rows", 1000, 200)])
def test_a_weekday_that_is_always_off_has_a_level_of_its_own(
    weeks: int, name: str, usual: float, sundays: float
) -> None:
    days = weeks * 7 + 3
    value = {
        n: sundays * (1.1 if n % 2 else 1) if on(n).weekday() == 6 else usual for n in range(days)
    }
    history = [known(n, **{name: of}) for n, of in value.items()]

    def fails(number: int, of: float) -> bool:
        return judge_day(known(number, **{name: of}), history, gates()).found[name].failed

    assert on(days).weekday() == 6
    assert not fails(days, sundays)
    assert fails(days, usual)
    assert fails(days, 3 * sundays)
    assert fails(days + 1, sundays)
    assert not fails(days + 1, usual)


def test_a_weekday_that_is_off_once_has_the_level_of_all_days() -> None:
    history = [known(n, no_user=0.3 if n == 3 else 0) for n in range(17)]

    found = judge_day(known(17, no_user=0.3), history, gates()).found["no_user"]

    assert on(3).weekday() == on(17).weekday() == 6
    assert found.level == 0
    assert found.failed


def test_a_replayed_number_is_judged_by_days_that_had_a_reference() -> None:
    history = [
        replace(known(n, new_items=0.1 if n < 14 else 0.5), reference_days=n) for n in range(40)
    ]

    early = judge_day(known(27, new_items=0.5), history[:27], gates())
    late = judge_day(known(28, new_items=0.5), history[:28], gates())

    assert "new_items" not in early.found
    assert early.learned["identity"] == 13
    assert late.found["new_items"].level == pytest.approx(0.5)


def test_a_weak_fault_stays_when_it_is_to_one_side_for_three_days() -> None:
    def third(first: float, second: float) -> bool:
        history = [known(n) for n in range(20)]
        history += [replace(known(20 + n), used={"rows": u}) for n, u in enumerate((first, second))]
        day = known(22, rows=1000 * math.exp(-0.2))
        return judge_day(day, history, gates()).found["rows"].stays

    assert third(-0.41, -0.9)
    assert not third(-0.41, 0.41)
    assert not third(-0.3, -0.9)
    assert not third(0.9, 0.9)
