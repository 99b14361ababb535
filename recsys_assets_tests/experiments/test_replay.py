"""Scores of options are those of plain Python, on the same days, and nothing is written."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, cast

import dagster as dg
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.compute.profiles import hours_of, profile_of
from recsys_assets.config import Surface
from recsys_assets.errors import ConfigError, MissingPartitionError
from recsys_assets.events.accepted import accepted_days
from recsys_assets.experiments.replay import Scored, replay
from recsys_assets.experiments.results import results
from recsys_assets.experiments.tried import sets_to_try
from recsys_assets.experiments.windows import Windows
from recsys_assets.storage.counts import CountsCache, KeptCounts
from recsys_assets.storage.profiles import write_profile
from recsys_assets_tests.experiments.conftest import accept
from recsys_assets_tests.needed import examples
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import unsynced

Event = tuple[str | None, str, str]  # user, session, item
EVENT = st.tuples(
    st.sampled_from(["u1", "u2", "u3", None]), st.sampled_from(["s1", "s2"]), st.sampled_from("abc")
)
LAST = 10
DAYS = st.lists(st.lists(EVENT, max_size=8), min_size=LAST + 1, max_size=LAST + 1)
SURFACE: dict[str, Any] = {
    "catalog": None,
    "artifacts": {
        "popularity": {},
        "cooc": {"min_support": 1},
        "implicit": {},
        "session_seq": {},
    },
    "guardrails": {"min_events": 0},
    "gates": {"release": {"trusted_days": 2}},
}
TRIES = ["window_days=3", "cooc.min_support=2", "popularity.top_n=1,2", "implicit.top_n=1"]


def lists_of(kind: str, events: Sequence[Event], options: Mapping[str, int]) -> Any:
    """Return what an artifact lists: an order of items, or one for each owner."""
    counts: dict[str, Counter[str]] = {}
    if kind == "popularity":
        counts[""] = Counter(item for _, _, item in events)
    elif kind == "cooc":
        held: dict[str, set[str]] = {}
        for _, session, item in events:
            held.setdefault(session, set()).add(item)
        for items in held.values():
            for a, b in combinations(sorted(items), 2):
                counts.setdefault(a, Counter())[b] += 1
                counts.setdefault(b, Counter())[a] += 1
    else:
        of_users: dict[str, list[str]] = {}
        for user, _, item in events:
            if user:
                of_users.setdefault(user, []).append(item)
        skipped = 1 if kind == "session_seq" else 0
        counts = {user: Counter(items[skipped:]) for user, items in of_users.items()}
    least = options.get("min_support", 1)
    return {
        owner: [
            item
            for item, count in sorted(of.items(), key=lambda each: (-each[1], each[0]))
            if count >= least
        ][: options.get("top_n")]
        for owner, of in counts.items()
    }


def asked_of(kind: str, days: Iterable[Sequence[Event]]) -> list[tuple[str, str]]:
    """Return what is looked up: owner and item."""
    found = list[tuple[str, str]]()
    for events in days:
        if kind == "popularity":
            found += [("", item) for _, _, item in events]
        elif kind == "cooc":
            for session in dict.fromkeys(of for _, of, _ in events):
                # Those of a user, then those of another one: in the order in which they happened.
                seen = [item for _, of, item in events if of == session]
                found += [(a, b) for a, b in pairwise(seen) if a != b]
        else:
            found += [(user, item) for user, _, item in events if user]
    return found


def naive(days: Sequence[Sequence[Event]], tried: Mapping[str, Any], kind: str) -> dict[Any, float]:
    """Return the scores by last day and direction; the longest window of all is 3 days."""
    length = tried.get("window_days", 1)
    options = {key.split(".")[1]: of for key, of in tried.items() if key.startswith(f"{kind}.")}
    if kind == "cooc":
        options.setdefault("min_support", 1)
    found = {}
    for last in range(2, LAST):
        events = [each for of in days[last - length + 1 : last + 1] for each in of]
        listed = lists_of(kind, events, options)
        before = [days[n] for n in range(last - 3, max(-1, last - 7), -1) if days[n]][:2]
        for direction, on in (("forward", [days[last + 1]]), ("backward", before)):
            asked = asked_of(kind, on)
            if asked:
                hits = sum(item in listed.get(owner, []) for owner, item in asked)
                found[day(last), direction] = hits / len(asked)
    return found


@pytest.mark.long
@settings(max_examples=examples(8), suppress_health_check=[HealthCheck.too_slow])
@given(DAYS)
def test_scores_are_those_of_plain_python(days: list[list[Event]]) -> None:
    days = [[(u, f"{n} {s}", i) for u, s, i in of] for n, of in enumerate(days)]
    with (
        tempfile.TemporaryDirectory() as folder,
        dg.DagsterInstance.ephemeral() as instance,
        pytest.MonkeyPatch.context() as patch,
        unsynced(),
    ):
        project = Project(Path(folder), instance)
        surface = project.configure(SURFACE).surfaces[0]
        patch.setenv("RECSYS_CONFIG", str(project.config_file))
        for number, events in enumerate(days):
            of = day(number)
            rows = [
                event(item, of=of, ts=f"{of}T12:00:{at:02}Z", user_id=user, session_id=session)
                for at, (user, session, item) in enumerate(events)
            ]
            accept(project, surface, of, rows)
        tries, _ = sets_to_try(surface, TRIES, grid=False)

        scored = list(replay(project.store, surface, tries, [day(n) for n in range(LAST + 1)]))

    found: dict[Any, dict[Any, float]] = {}
    for each in scored:
        by_day = found.setdefault((each.tried, each.kind, each.first), {})
        by_day[each.day, each.direction] = each.share
    kinds = {each.kind for each in scored}
    for (number, kind, _), shares in found.items():
        tried = {} if number is None else tries[number].options
        assert shares == pytest.approx(naive(days, tried, kind))
    for kind in ("popularity", "cooc", "implicit", "session_seq"):
        assert (kind in kinds) == bool(naive(days, {}, kind))


def walk(user: int, of: int) -> list[dict[str, Any]]:
    """Return what a user sees on a day: three items, others from day to day, in a week the same."""
    return [
        event(
            f"i{(user + of % 7 + step) % 12}",
            of=day(of),
            ts=f"{day(of)}T12:00:{step:02}Z",
            user_id=f"u{user}",
            session_id=f"{of} {user}",
        )
        for step in range(3)
    ]


@pytest.fixture
def surface(project: Project, monkeypatch: pytest.MonkeyPatch, fast: None) -> Surface:
    surface = project.configure(SURFACE).surfaces[0]
    monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))
    for number in range(14):
        rows = [row for user in range(9) for row in walk(user, number)]
        accept(project, surface, day(number), rows)
    return surface


def shares(project: Project, surface: Surface, tries: list[str], first: int = 0) -> list[Scored]:
    sets, _ = sets_to_try(surface, tries, grid=False)
    return list(replay(project.store, surface, sets, [day(n) for n in range(first, 14)]))


def test_days_that_gates_found_unsound_are_not_scored_on(
    project: Project, surface: Surface
) -> None:
    of = day(9)
    accepted = accepted_days(project.store, surface.place, [of])[of]
    counts = DayCounts(accepted.frame)
    profile = profile_of(of, counts, hours_of(accepted.frame), most=1000)
    failed = type(profile)(**{**vars(profile), "failed": ["volume"]})
    write_profile(project.store, surface.place, accepted.fingerprint, failed)

    found = shares(project, surface, ["window_days=2"])

    forward = {each.day for each in found if each.direction == "forward"}
    assert day(8) not in forward
    assert {day(7), day(9)} <= forward, "it is part of windows all the same"


def test_kept_counts_are_read(project: Project, surface: Surface) -> None:
    """They are a function of the events; here they are others, so that it is seen."""
    accepted = accepted_days(project.store, surface.place, [day(5)])[day(5)]
    kept = KeptCounts(
        project.store,
        surface.place,
        day(5),
        fingerprint=accepted.fingerprint,
        is_current=lambda: True,
        cache=CountsCache(),
    )
    counts = pl.DataFrame({"item_id": ["unknown"], "count": [9]})
    kept.write("items", counts.with_columns(pl.col("count").cast(pl.UInt32)))

    found = shares(project, surface, ["popularity.top_n=1"])

    current = {of.day: of.share for of in found if of.tried is None and of.first == 20}
    assert current[day(5)] == 0
    assert all(share > 0 for of, share in current.items() if of != day(5))


def test_what_sets_have_alike_of_a_kind_is_computed_once(
    project: Project, surface: Surface, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Counter[tuple[str, date]]()
    outline = Windows.outline

    def counted(self: Windows, of: Surface, kind: str, at: date) -> Any:
        asked[kind, at] += 1
        return outline(self, of, kind, at)

    monkeypatch.setattr(Windows, "outline", counted)
    grid = ["window_days=2", "cooc.min_support=1,2", "implicit.top_n=1,2"]
    tries, _ = sets_to_try(surface, grid, grid=True)

    list(replay(project.store, surface, tries, [day(n) for n in range(13)]))

    of_kind = {"popularity": 2, "cooc": 3, "implicit": 3, "session_seq": 2}
    assert len(tries) == 4
    assert {kind: asked[kind, day(5)] for kind in of_kind} == of_kind


def test_too_few_days_are_refused_with_the_reason(project: Project, surface: Surface) -> None:
    with pytest.raises(MissingPartitionError) as refused:
        shares(project, surface, ["window_days=8"])

    said = str(refused.value)
    assert "6 of 14 days can be scored, and 7 are needed: 14 of the days are accepted" in said
    assert f"windows of 8 days are whole from {day(7)} on" in said
    with pytest.raises(MissingPartitionError, match="5 of 6 days can be scored"):
        shares(project, surface, ["cooc.min_support=2"], first=8)


def test_what_is_not_there_of_few_days_is_left_out(project: Project, surface: Surface) -> None:
    """Seven days of 13 have one sound day before windows of six."""
    tries, _ = sets_to_try(surface, ["window_days=6"], grid=False)
    scored = replay(project.store, surface, tries, [day(n) for n in range(14)])

    found = results(tries, scored)

    assert {each.direction for each in found} == {"forward", "backward"}
    assert all(each.change.days >= 7 for each in found)
    assert {each.kind for each in found} == {"popularity", "cooc", "implicit", "session_seq"}


def test_pairs_are_of_one_day(project: Project, surface: Surface) -> None:
    tries, _ = sets_to_try(surface, ["window_days=7"], grid=False)
    scored = list(replay(project.store, surface, tries, [day(n) for n in range(13)]))

    found = {(of.kind, of.first, of.direction): of for of in results(tries, scored)}

    implicit = found["implicit", 50, "forward"]
    assert implicit.verdict == "better"
    assert implicit.change.days == 7
    for at, (current, tried) in implicit.shares.items():
        key = (at, "implicit", "forward")
        pair = {of.tried: of.share for of in scored if (of.day, of.kind, of.direction) == key}
        assert pair == {None: current, 0: tried}
    assert implicit.change.mean == pytest.approx(implicit.tried_share - implicit.current_share)
    assert min(implicit.shares) == day(6)
    assert max(implicit.shares) + timedelta(days=1) == day(13)


def test_a_variant_is_tried_on_the_days_of_its_base(
    project: Project, surface: Surface, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = {
        "surface": "other",
        "variant_of": "demo/home",
        "artifacts": cast(dict[str, Any], SURFACE["artifacts"]),
    }
    other = project.configure(SURFACE, variant).surfaces[1]
    assert shares(project, other, ["cooc.min_support=2"])


def test_what_a_variant_has_of_its_base_stays_and_is_not_tried(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = {"surface": "other", "variant_of": "demo/home", "artifacts": {"cooc": {}}}
    base = {"bots": {"max_items_per_user": 5}, "artifacts": {"cooc": {}, "implicit": {}}}
    other = project.configure(base, variant).surfaces[1]
    monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))

    (tried,), _ = sets_to_try(other, ["bots.leave_out_of=all"], grid=False)

    assert tried.surface.bots.max_items_per_user == 5
    for key in ("guardrails.max_items_per_session", "items.only_in_catalog"):
        with pytest.raises(ConfigError, match=f"{key}: demo/other has that of its base: try it w"):
            sets_to_try(other, [f"{key}=1"], grid=False)
