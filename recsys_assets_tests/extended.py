"""What is tried in a copy of the project that a page of docs/ has extended.

Not collected by itself: `test_extending.py` makes the copy, with the example of `run-locally.md` in
it, and runs one of these tests there.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_assets import kinds
from recsys_assets.compute.day_counts import DayCounts
from recsys_assets.events import provenance
from recsys_assets.events.accepted import accepted_days
from recsys_assets.places import Place
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.project import day, event
from recsys_assets_tests.test_docs import Shop, example, steps


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    shop = Shop(Path.cwd())
    shop.enter(monkeypatch)
    return shop


def refused(shop: Shop, number: int) -> str:
    """Materialize a day that must not be published, and return what is said of it."""
    live = (shop.folder / "var/registry/current/shop/home/manifest.json").read_bytes()
    result = shop.run("materialize", "--from", str(day(number)), "--to", str(day(number)))
    assert result.exit_code == 1, result.output
    assert (shop.folder / "var/registry/current/shop/home/manifest.json").read_bytes() == live
    return result.stderr


def test_reach_is_built_shown_traced_compared_and_held_to_its_contract(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in steps("add-an-artifact-kind.md", "run: kind"):
        shop.follow(step)
    traced = shop.run("trace", "shop/home", "reach", "tea")
    assert traced.exit_code == 0, traced.output
    shop.land(day(1), ["tea", "jar"])
    shop.do("materialize", "--from", str(day(1)), "--to", str(day(1)))
    compared = shop.run("diff", "shop/home", "previous", "live")
    assert "│ reach       │ items │ 2      │ 2     │ 1     │ 1       │" in compared.stdout

    def ranked_upside_down(days: Sequence[DayCounts], **_: Any) -> pl.LazyFrame:
        ones = days[0].events.select("item_id", users=pl.lit(1, pl.Int64))
        return ones.sort("item_id", descending=True)

    monkeypatch.setattr(kinds, "count_users", ranked_upside_down)
    shop.land(day(2), ["tea", "jar"])
    assert "shop/home/reach: check contract: 1 cases break contract 'reach': " in refused(shop, 2)


def test_a_day_with_a_device_is_built_beside_one_of_the_older_format(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    tea = event("tea", of=day(1), request_id="r1")
    tv, phone = {**tea, "device": " tv"}, {**tea, "device": "phone"}
    land(shop, 1, tv, phone, tv, event("cup", of=day(1)))
    for step in steps("add-an-event-field.md", "run: field"):
        shop.follow(step)
    code = example("add-an-event-field.md", "runnable: field")
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(code.replace("/tmp/shop", str(shop.folder)), {})  # noqa: S102, S108
    assert printed.getvalue() == example("add-an-event-field.md", "printed: field")
    stored = LocalStore(shop.folder / "var")
    window = accepted_days(stored, Place("shop", "home"), [day(0), day(1)])
    events = pl.concat([of.frame for of in window.values()]).collect()
    assert events["item_id", "device"].rows() == [
        ("tea", None),
        ("cup", None),
        ("tea", "tv"),
        ("tea", "phone"),
        ("cup", None),
    ]

    monkeypatch.setattr(provenance, "OLDEST_READABLE_FORMAT", 2)
    said = refused(shop, 1).replace(str(shop.folder), "/tmp/shop")  # noqa: S108
    assert example("add-an-event-field.md", "printed: refused").strip() in said
    shop.do("materialize", "--from", str(day(0)), "--to", str(day(1)))


def test_a_day_whose_known_users_are_few_is_published_with_a_warning(shop: Shop) -> None:
    land(shop, 1, event("tea", of=day(1)), event("cup", of=day(1), user_id=None))
    shop.do("materialize", "--from", str(day(1)), "--to", str(day(1)))
    few = (event("cup", of=day(2), user_id=None, rank=rank) for rank in range(3))
    land(shop, 2, event("tea", of=day(2)), *few)
    result = shop.run("materialize", "--from", str(day(2)), "--to", str(day(2)))
    assert result.exit_code == 0
    assert f"warning: {day(2)} canonical_events users_are_known: 25% of 4 events" in result.stderr


def test_a_day_that_one_item_has_most_of_is_refused(shop: Shop) -> None:
    shop.do("materialize", "--from", str(day(0)), "--to", str(day(0)))
    land(shop, 1, *(event("tea", of=day(1), rank=rank) for rank in range(3)))
    file = shop.folder / "surfaces.yaml"
    limit = "guardrails: {max_item_share: 0.9}\n    source:"
    file.write_text(file.read_text().replace("source:", limit))

    said = refused(shop, 1)

    assert "check max_item_share: guardrails.max_item_share is 0.9, found 1" in said


def test_a_day_of_a_log_is_published_and_traced_to_its_lines(shop: Shop) -> None:
    shutil.rmtree(shop.folder / "var", ignore_errors=True)  # where others of these tests publish
    for step in steps("add-a-source.md", "run: source"):
        shop.follow(step)
    traced = shop.run("trace", "shop/home", "popularity", "tea", "--json")
    (file,) = json.loads(traced.stdout)["days"][0]["files"]

    assert (file["file"]["name"], file["events"]) == ("access.2026-01-02.log", 2)
    assert (file["now"], file["first_line"]) == ("there", 1)


def land(shop: Shop, number: int, *events: dict[str, Any]) -> None:
    """Write a raw file of `shop/home`."""
    lines = "".join(json.dumps({**each, "tenant": "shop"}) + "\n" for each in events)
    path = shop.folder / f"raw/shop/home/exposure.{day(number)}.jsonl"
    path.write_text(lines, encoding="utf-8")
