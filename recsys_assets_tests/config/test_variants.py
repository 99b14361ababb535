"""An entry that is made of the events of another one: what it has of it, and each mistake."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.config import Config
from recsys_assets.places import Place
from recsys_assets_tests.config.files import SURFACE, UNTOLD, load, problems

BASE = {
    **SURFACE,
    "end_date": date(2026, 2, 1),
    "catalog": {"path": "catalog.csv"},
    "schedule_at": "05:00",
    "bots": {"leave_out_of": "all"},
    "items": {"deny": "denied.txt"},
    "guardrails": {"max_users": 7},
    "gates": {"mode": "block"},
    "window_days": 3,
}
LAB: dict[str, Any] = {
    "tenant": "demo",
    "surface": "lab",
    "variant_of": "demo/home",
    "artifacts": {"cooc": {}},
}
OF_THE_BASE = (
    "start_date",
    "end_date",
    "source",
    "catalog",
    "schedule_at",
    "items",
    "guardrails",
)


def names(config: Config) -> list[str]:
    return [surface.name for surface in config.surfaces]


class TestWhatItHas:
    """What a variant has of its base, and what is its own."""

    @pytest.mark.parametrize("entries", [(BASE, LAB), (LAB, BASE)])
    def test_source_dates_catalog_and_limits_are_those_of_its_base(
        self, file: Path, entries: tuple[dict[str, Any], ...]
    ) -> None:
        config = load(file, *entries)

        home, lab = config.surface("demo/home"), config.surface("demo/lab")
        for key in (*OF_THE_BASE, "bots", "gates"):
            assert getattr(lab, key) == getattr(home, key), key
        assert lab.source.path == str(file.parent / "raw")
        assert names(config) == [f"{of['tenant']}/{of['surface']}" for of in entries]

    def test_everything_else_is_its_own(self, file: Path) -> None:
        lab = load(file, {**BASE, "segment": "x", "max_run_minutes": 9}, LAB).surface("demo/lab")

        assert lab.artifacts.kinds == ("cooc",)
        assert (lab.segment, lab.window_days, lab.max_run_minutes) == ("default", 1, 240)
        assert lab.freshness.max_days_behind == 1
        assert (lab.place, lab.group) == (Place("demo", "lab"), "demo__lab")

    def test_its_events_are_those_of_the_name_of_its_base(self, file: Path) -> None:
        home, lab = load(file, BASE, LAB).surfaces

        assert home.events_of == lab.events_of == Place("demo", "home")
        assert lab.of_events.raw_pattern(date(2026, 1, 1)) == home.raw_pattern(date(2026, 1, 1))
        assert home.of_events is home

    def test_bots_and_gates_may_be_its_own(self, file: Path) -> None:
        home, lab = load(file, BASE, {**LAB, "bots": {}, "gates": {}}).surfaces

        assert (home.bots.leave_out_of, lab.bots.leave_out_of) == ("all", ["cooc"])
        assert (home.gates.mode, lab.gates.mode) == ("block", "warn")

    def test_a_tenant_may_be_its_own(self, file: Path) -> None:
        config = load(file, SURFACE, {**LAB, "tenant": "lab"})

        assert [each.name for each in config.variants_of(config.surfaces[0])] == ["lab/lab"]
        assert config.variants_of(config.surfaces[1]) == []

    def test_null_is_no_variant(self, file: Path) -> None:
        assert load(file, {**SURFACE, "variant_of": None}).surfaces[0].variant_of is None

    def test_all_that_share_events_know_the_longest_window(self, file: Path) -> None:
        week = {**LAB, "surface": "week", "window_days": 7}
        other = {**SURFACE, "surface": "other", "window_days": 2}

        surfaces = load(file, BASE, LAB, week, other).surfaces

        assert [each.longest_window for each in surfaces] == [7, 7, 7, 2]
        assert [each.window_days for each in surfaces] == [3, 1, 7, 2]


class TestMistakes:
    """Each is said with surface and key, once."""

    @pytest.mark.parametrize("key", OF_THE_BASE)
    def test_what_is_that_of_the_base_is_not_set(self, file: Path, key: str) -> None:
        assert problems(file, BASE, {**LAB, key: BASE[key]}, on_mistake="refuse") == [
            f"surface demo/lab: {key}: a variant has that of its base: take it away here"
        ]

    def test_nor_is_it_looked_into(self, file: Path) -> None:
        (problem,) = problems(file, BASE, {**LAB, "guardrails": {"a": 1}}, on_mistake="refuse")

        assert problem.startswith("surface demo/lab: guardrails: a variant has that of its base")

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("demo/hom", "there is no such surface (did you mean demo/home?)"),
            ("shop/front", "there is no such surface"),
            ("demo/lab", "is the surface itself: name the one whose events it is made of"),
            ("demo/old", "demo/old is a variant itself: name its base"),
            ("home", "must be tenant/surface"),
            ("demo/home/x", "must be tenant/surface"),
            ("demo/", "must not be empty or begin or end with white space"),
            ("../home", "must be one path segment: no '/', '\\', '.', '..', control characters"),
            (7, "Input should be a valid string, got 7"),
            (f"demo/{UNTOLD}", "there is no such surface"),
        ],
    )
    def test_the_base_is_another_surface_that_is_no_variant(
        self, file: Path, name: Any, problem: str
    ) -> None:
        old = {**LAB, "surface": "old"}

        found = problems(file, BASE, old, {**LAB, "variant_of": name}, on_mistake="refuse")

        assert f"surface demo/lab: variant_of: {problem}" in found
        assert len(found) == (2 if name in {"demo/", "../home"} else 1)

    def test_its_own_mistakes_are_told_too(self, file: Path) -> None:
        wrong = {**LAB, "window_dys": 7, "variant_of": "demo/hom", "bots": {"leave_out_of": []}}

        assert problems(file, BASE, wrong, on_mistake="refuse") == [
            "surface demo/lab: bots: leave_out_of: needs cooc, which never has the sessions of "
            "bots",
            "surface demo/lab: window_dys: unknown key (did you mean 'window_days'?)",
            "surface demo/lab: variant_of: there is no such surface (did you mean demo/home?)",
        ]

    def test_content_sim_needs_the_catalog_of_its_base(self, file: Path) -> None:
        wrong = {**LAB, "artifacts": {"content_sim": {}}}

        assert problems(file, SURFACE, wrong, on_mistake="refuse") == [
            "surface demo/lab: artifacts.content_sim needs a catalog: add `catalog: {path: ...}` "
            "to demo/home, whose catalog it has"
        ]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"source": {"pth": "raw"}},
            {"end_date": date(2025, 1, 1)},
            {"guardrails": {"max_users": 0}},
            {"items": {"only_in_catalog": True}, "catalog": None},
            {"bots": {"leave_out_of": []}},
            {"artifacts": {}},
        ],
    )
    def test_a_mistake_of_the_base_is_told_once_and_takes_its_variants_along(
        self, file: Path, wrong: dict[str, Any]
    ) -> None:
        other = {**SURFACE, "surface": "other"}

        config = load(file, {**BASE, **wrong}, LAB, other)

        assert names(config) == ["demo/other"]
        home, lab = config.broken
        assert all(line.startswith("surface demo/home: ") for line in home.problems)
        assert lab.problems == ("surface demo/lab: variant_of: demo/home has a mistake",)

    def test_a_mistake_of_a_variant_does_not_harm_its_base(self, file: Path) -> None:
        config = load(file, BASE, {**LAB, "window_days": 0}, {**LAB, "surface": "old"})

        assert names(config) == ["demo/home", "demo/old"]

    def test_a_base_that_is_listed_twice_is_none(self, file: Path) -> None:
        assert problems(file, BASE, BASE, LAB) == [
            "surface demo/home is listed twice",
            "surface demo/lab: variant_of: demo/home has a mistake",
        ]

    def test_what_is_no_entry_is_no_base(self, file: Path) -> None:
        entries: Any = ["home", {**LAB, "variant_of": ["demo/home"]}]

        assert problems(file, *entries)[1:] == [
            "surface demo/lab: variant_of: Input should be a valid string, got a list"
        ]
