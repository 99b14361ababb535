from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys_assets.config import ContentSim, Cooc, Implicit, Popularity, SessionSeq
from recsys_assets_tests.config.files import ALL_KINDS, SURFACE, load, problems, with_knob

HALF_LIFE = ("artifacts", "popularity", "half_life_days")


def test_every_kind_gets_the_defaults_of_the_design(file: Path) -> None:
    config = load(file, {**SURFACE, "catalog": {"path": "c.csv"}, "artifacts": ALL_KINDS})

    found = config.surfaces[0].artifacts.model_dump()
    of_the_design = {
        "popularity": {"top_n": 1000, "half_life_days": None},
        "cooc": {"max_neighbours": 50, "min_support": 2, "max_items": 1000},
        "implicit": {"top_n": 500},
        "session_seq": {"top_n": 500},
        "content_sim": {"max_items": 100_000},
    }
    assert {kind: found[kind] for kind in of_the_design} == of_the_design


def test_kinds_are_those_enabled_whatever_their_order_in_the_file(file: Path) -> None:
    config = load(file, {**SURFACE, "artifacts": {"implicit": {}, "popularity": {}, "cooc": None}})

    assert config.surfaces[0].artifacts.kinds == ("popularity", "implicit")


def test_what_an_enabled_kind_reads_is_told_by_its_options(file: Path) -> None:
    kinds: dict[str, Any] = {"content_sim": {}, "cooc": {}, "popularity": {}, "implicit": None}
    config = load(file, {**SURFACE, "catalog": {"path": "c.csv"}, "artifacts": kinds})
    artifacts = config.surfaces[0].artifacts

    assert artifacts.of("events") == ("popularity", "cooc")
    assert artifacts.of("catalog") == ("content_sim",)
    assert load(file, SURFACE).surfaces[0].artifacts.of("catalog") == ()


def test_what_a_kind_reads_is_no_key_of_the_file(file: Path) -> None:
    (problem,) = problems(file, with_knob(("artifacts", "popularity", "reads"), "catalog"))

    assert problem.startswith("surface demo/home: artifacts.popularity.reads: unknown key")


def test_the_options_of_a_kind_are_those_of_the_file(file: Path) -> None:
    artifacts = load(file, with_knob(("artifacts", "cooc", "min_support"), 7)).surfaces[0].artifacts

    assert artifacts.options("cooc") == Cooc.model_validate({"min_support": 7})
    assert [type(artifacts.options(kind)) for kind in artifacts.kinds] == [
        Popularity, Cooc, Implicit, SessionSeq, ContentSim,
    ]  # fmt: skip


@pytest.mark.parametrize("value", [None, 7, 0.5, 1e-9, 1e9])
def test_a_half_life_is_a_number_above_0_or_null(value: float | None, file: Path) -> None:
    surface = load(file, with_knob(HALF_LIFE, value)).surfaces[0]

    assert surface.artifacts.popularity
    assert surface.artifacts.popularity.half_life_days == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "greater than 0"),
        (-7.0, "greater than 0"),
        (float("inf"), "a finite number"),
        (float("nan"), "a finite number"),
        ("7", "a valid number"),
        (True, "a valid number"),
    ],
)
def test_a_half_life_that_is_no_number_above_0_is_refused(
    value: Any, message: str, file: Path
) -> None:
    assert problems(file, with_knob(HALF_LIFE, value)) == [
        f"surface demo/home: {'.'.join(HALF_LIFE)}: Input should be {message}, got {value!r}"
    ]


@pytest.mark.parametrize("artifacts", [{}, {"popularity": None}])
def test_a_surface_that_builds_nothing_is_refused(artifacts: dict[str, Any], file: Path) -> None:
    (problem,) = problems(file, {**SURFACE, "artifacts": artifacts})

    assert problem.startswith("surface demo/home: artifacts: enable at least one kind")
