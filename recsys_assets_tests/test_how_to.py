"""Pages that change the configuration of the shop first, followed literally."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from recsys_assets_tests.operations.kafka import noida
from recsys_assets_tests.test_docs import EXAMPLE, Shop, example_project, page, shop, steps
from recsys_assets_tests.test_extending import change

__all__ = ["example_project", "shop"]  # fixtures


def follow(shop: Shop, name: str) -> None:
    """Make the changes of a page, and run its commands."""
    assert "run-locally.md#the-shop-with-three-days" in page(name).partition("```diff")[0]
    change(shop.folder, name)
    for step in steps(name, f"run: {Path(name).stem}"):
        shop.follow(step)


def test_items_are_withdrawn_as_the_page_says(shop: Shop) -> None:
    follow(shop, "withdraw-items.md")


def test_a_topic_is_landed_as_the_page_says(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = sorted((EXAMPLE / "raw/shop/home").iterdir())
    lines = [line for path in raw for line in path.read_bytes().splitlines()]
    with noida(tmp_path) as broker:
        monkeypatch.setenv("KAFKA_BROKERS", broker.address)
        broker.make("exposures")
        broker.send("exposures", lines, at_ms=int(time.time() * 1000))

        follow(shop, "land-from-kafka.md")
