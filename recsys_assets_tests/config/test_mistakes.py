"""A surface whose entry has a mistake: what becomes of the others, and how it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys_assets.config import Broken, Config
from recsys_assets.errors import ConfigError
from recsys_assets.places import Place
from recsys_assets_tests.config.files import SURFACE, UNTOLD, load, problems

CART = {**SURFACE, "surface": "cart"}
WRONG = {**CART, "window_dys": 7, "max_run_minutes": 0}
OF_WRONG = (
    "surface demo/cart: max_run_minutes: Input should be greater than or equal to 1, got 0",
    "surface demo/cart: window_dys: unknown key (did you mean 'window_days'?)",
)


def names(config: Config) -> list[str]:
    return [surface.name for surface in config.surfaces]


@pytest.mark.parametrize("top", [{}, {"on_mistake": "skip"}])
def test_the_others_are_there_and_it_stands_beside_them(file: Path, top: dict[str, Any]) -> None:
    attic = {**SURFACE, "surface": "attic"}

    config = load(file, SURFACE, WRONG, attic, **top)

    assert names(config) == ["demo/home", "demo/attic"]
    assert config.broken == (Broken("demo/cart", Place("demo", "cart"), OF_WRONG),)
    assert config.surfaces[1].source.path == str(file.parent / "raw")


def test_where_nothing_is_wrong_nothing_is_broken(file: Path) -> None:
    config = load(file, SURFACE, CART)

    assert (names(config), config.broken) == (["demo/home", "demo/cart"], ())


def test_refuse_does_nothing_for_any_surface(file: Path) -> None:
    assert problems(file, SURFACE, WRONG, on_mistake="refuse") == list(OF_WRONG)


@pytest.mark.parametrize("value", ["ignore", True, None])
def test_another_way_to_meet_a_mistake_is_refused(file: Path, value: Any) -> None:
    (problem,) = problems(file, SURFACE, on_mistake=value)

    assert problem.startswith("on_mistake: Input should be 'skip' or 'refuse', got ")


def test_a_mistake_outside_of_the_entries_refuses_everything_and_all_are_told(file: Path) -> None:
    found = problems(file, SURFACE, WRONG, alerts={"timeout_seconds": 0})

    assert found[0].startswith("alerts.timeout_seconds: ")
    assert found[1:] == list(OF_WRONG)


def test_when_every_entry_has_a_mistake_there_is_nothing_to_do(file: Path) -> None:
    assert problems(file, WRONG, {**SURFACE, "window_days": 0}) == [
        *OF_WRONG,
        "surface demo/home: window_days: Input should be greater than or equal to 1, got 0",
    ]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"surface": "cart"}, "surface demo/cart is listed twice"),
        ({"surface": "cart", "window_days": 0}, "surface demo/cart is listed twice"),
        ({"surface": "c rt"}, "surfaces demo/c-rt and demo/c rt look the same in Dagster"),
    ],
)
def test_of_entries_that_clash_none_is_taken(file: Path, other: dict[str, Any], told: str) -> None:
    """Nobody knows which of them is meant, also when one has another mistake."""
    first = CART if other["surface"] == "cart" else {**SURFACE, "surface": "c-rt"}

    config = load(file, first, SURFACE, {**SURFACE, **other})

    assert names(config) == ["demo/home"]
    assert [each.name for each in config.broken] == [
        f"demo/{first['surface']}",
        f"demo/{other['surface']}",
    ]
    assert all(each.problems[-1].startswith(told) for each in config.broken)


@pytest.mark.parametrize(
    "entry",
    [
        7,
        {**WRONG, "tenant": f"AccountKey={UNTOLD}"},
        {key: value for key, value in WRONG.items() if key != "surface"},
    ],
    ids=["no mapping", "no plain name", "no name"],
)
def test_one_that_cannot_be_named_is_told_by_its_number(file: Path, entry: Any) -> None:
    config = load(file, SURFACE, entry)

    (broken,) = config.broken
    assert (broken.name, broken.place) == ("number 2", None)
    assert all(line.startswith("surface number 2") for line in broken.problems)
    assert UNTOLD not in config.told(config.broken)


def test_who_names_it_is_told_its_mistake_and_who_names_none_gets_the_others(file: Path) -> None:
    config = load(file, SURFACE, WRONG)
    told = "\n  ".join([f"{file}:", *OF_WRONG])

    for ask in (config.surface, config.selected):
        with pytest.raises(ConfigError) as error:
            ask("demo/cart")
        assert str(error.value) == told
    assert [surface.name for surface in config.selected(None)] == ["demo/home"]
    assert config.skipped(None) == config.broken
    assert config.skipped("demo/home") == ()
    with pytest.raises(ConfigError, match="no surface 'demo/attic'"):
        config.surface("demo/attic")


def test_all_of_them_are_told_at_once(file: Path) -> None:
    config = load(file, SURFACE, WRONG, 7)  # type: ignore[arg-type]

    with pytest.raises(ConfigError) as error:
        config.refuse_mistakes()

    first, *rest = str(error.value).splitlines()
    assert first == f"{file}:"
    assert [line.strip() for line in rest[:2]] == list(OF_WRONG)
    assert rest[2].startswith("  surface number 3: ")


def test_a_mistake_that_is_found_later_counts_as_one_in_the_file(file: Path) -> None:
    late = Broken("demo/cart", Place("demo", "cart"), ("surface demo/cart: no good",))

    config = load(file, SURFACE, CART, {**WRONG, "surface": "attic"}).without([late])

    assert names(config) == ["demo/home"]
    assert [each.name for each in config.broken] == ["demo/attic", "demo/cart"]
    for refusing in (load(file, SURFACE, CART, on_mistake="refuse"), load(file, CART)):
        with pytest.raises(ConfigError, match="surface demo/cart: no good"):
            refusing.without([late])
