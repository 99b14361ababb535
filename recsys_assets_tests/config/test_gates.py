"""How days are judged by those before them: what may be configured, what is said of mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys_assets_tests.config.files import SURFACE, load, problems


def test_days_are_judged_by_default_and_nothing_is_refused(file: Path) -> None:
    found = load(file, SURFACE).surfaces[0].gates

    assert found.mode == "warn"
    assert found.are_on
    assert not load(file, {**SURFACE, "gates": {"mode": "off"}}).surfaces[0].gates.are_on


def test_a_margin_is_another_or_none(file: Path) -> None:
    gates = {"margins": {"rows": 1, "top_user": None}}
    found = load(file, {**SURFACE, "gates": gates}).surfaces[0].gates.margins

    assert (found.rows, found.top_user, found.sessions) == (1.0, None, 0.45)


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ({"mode": "stop"}, "gates.mode: Input should be 'warn', 'block' or 'off'"),
        ({"spreads": 0}, "gates.spreads: Input should be greater than 0"),
        ({"margins": {"rows": -1}}, "gates.margins.rows: Input should be greater than 0"),
        ({"margins": {"row": 1}}, "gates.margins.row: unknown key (did you mean 'rows'?)"),
        ({"warm_up": 3}, "gates.warm_up: unknown key (did you mean 'warm_up_days'?)"),
        (
            {"reference_days": 57},
            "gates: reference_days: 57 days do not fit into history_days, 56: make it smaller, or "
            "history_days larger",
        ),
        ({"spreads": None}, "gates.spreads: Input should be a valid number"),
        ({"release": {"trusted_days": 0}}, "gates.release.trusted_days: Input should be greater"),
        (
            {"catalog": {"min_coherence": 1.5}},
            "gates.catalog: min_coherence is 1.5 and max_coherence 1.25: tags that are as alike",
        ),
        ({"history_days": 14, "reference_days": 14, "warm_up_days": 20}, "warm_up_days: 20 days"),
    ],
)
def test_mistakes_are_told_with_the_key(file: Path, gates: dict[str, Any], said: str) -> None:
    (found,) = problems(file, {**SURFACE, "gates": gates})

    assert said in found
    assert found.startswith("surface demo/home: gates")
