"""Where things lie: each place is known to those that look at all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import date
from typing import Any, Final

import pytest

from recsys_assets.places import Place
from recsys_assets.storage import layout

PLACE: Final = Place("demo", "home")
# What keys are made of besides texts, by the names of the parameters.
PARTS: Final = {"place": PLACE, "day": date(2026, 1, 1), "form": 1, "generation": 1}
KEYS: Final[list[Callable[..., Any]]] = [
    function
    for _, function in inspect.getmembers(layout, inspect.isfunction)
    if function.__module__ == layout.__name__
    and not function.__name__.startswith("_")
    and "place" in inspect.signature(function).parameters
    and not {"key", "layer"} & inspect.signature(function).parameters.keys()
]


def layer_of(key_of: Callable[..., str]) -> str:
    names = inspect.signature(key_of).parameters
    return key_of(*(PARTS.get(name, name) for name in names)).partition(f"/{PLACE.name}")[0]


@pytest.mark.parametrize("key_of", KEYS, ids=lambda function: function.__name__)
def test_every_key_lies_in_a_layer_that_says_whether_it_is_promoted(
    key_of: Callable[..., str],
) -> None:
    layer = layer_of(key_of)

    assert layer in layout.LAYERS, f"add {layer!r} to layout.LAYERS, and say what a promotion takes"


def test_every_layer_has_a_key() -> None:
    assert set(map(layer_of, KEYS)) == layout.LAYERS.keys()
