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
# What the keys are made of, by the names of the parameters.
PARTS: Final = {
    "place": PLACE,
    "day": date(2026, 1, 1),
    "fingerprint": "f" * 64,
    "table": "items",
    "form": 1,
    "name": "one",
    "segment": "default",
    "kind": "cooc",
    "version": "0" * 64,
    "of": "day",
    "generation": 1,
    "publish_id": "p1",
    "uri": "s3://elsewhere/1-p1.json",
}
KEYS: Final[list[Callable[..., Any]]] = [
    function
    for _, function in inspect.getmembers(layout, inspect.isfunction)
    if function.__module__ == layout.__name__
    and not function.__name__.startswith("_")
    and "place" in inspect.signature(function).parameters
    and not {"key", "layer"} & inspect.signature(function).parameters.keys()
]


@pytest.mark.parametrize("key_of", KEYS, ids=lambda function: function.__name__)
def test_every_key_lies_in_a_layer_that_says_whether_it_is_promoted(
    key_of: Callable[..., str],
) -> None:
    names = inspect.signature(key_of).parameters
    key = key_of(*(PARTS[name] for name in names))

    layer, _, _ = key.partition(f"/{PLACE.name}/")
    assert layer in layout.LAYERS, f"add {layer!r} to layout.LAYERS, and say what a promotion takes"


def test_every_layer_has_a_key() -> None:
    keys = [
        key_of(*(PARTS[name] for name in inspect.signature(key_of).parameters)) for key_of in KEYS
    ]

    assert {key.partition(f"/{PLACE.name}/")[0] for key in keys} == layout.LAYERS.keys()
