"""What an erasure made again, as Dagster is told of it, and what conditions make of that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import dagster as dg
import pytest

from recsys_assets.defs.erased_days import remade_days
from recsys_assets.operations.erase import Erasure, erase
from recsys_assets.storage.erasures import KEY_VARIABLE, erase_key
from recsys_assets.storage.publications import Why
from recsys_assets_tests.defs.looking import HOME, shown
from recsys_assets_tests.defs.test_sensors import AT_ONCE, Factory
from recsys_assets_tests.project import Project, day, event

ANN = "ann-the-user"
# The second day looks back on the first.
SURFACE: dict[str, Any] = {
    **AT_ONCE,
    "window_days": 2,
    "artifacts": {"popularity": {}, "implicit": {}},
    "catalog": None,
}
VARIANT = {"surface": "other", "variant_of": "demo/home", "artifacts": {"implicit": {"top_n": 1}}}


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "a secret that nobody knows")


@pytest.fixture
def shop(project: Project, fast: None) -> Factory:
    """Make two days; ann is in the first alone."""
    shop = Factory(project, project.configure(SURFACE, VARIANT))
    days = [day(0), day(1)]
    for of in days:
        users = ["bob", *([ANN] if of == day(0) else [])]
        seen = [(user, item) for user in users for item in "ab"]
        project.land(of, [event(item, of=of, user_id=user, session_id=user) for user, item in seen])
    for number in range(2):
        assert project.materialize(shop.config, days, surface=number).succeeded
    assert shop.requested() == {}
    return shop


def erased(shop: Factory) -> Erasure:
    key = erase_key(HOME)
    store, surfaces = shop.project.store, shop.config.surfaces
    why = Why("run", "who", "ticket 7")
    done = erase(store, surfaces, key, [key.entry(ANN)], why, reader_seconds=0)
    assert not done.held
    return done


def report(shop: Factory, events: Iterable[dg.AssetMaterialization]) -> list[tuple[str, int]]:
    found = []
    for each in events:
        shop.project.instance.report_runless_asset_event(each)
        of = (int(str(each.partition)[-2:]) - 1) if each.partition else -1
        found.append(("/".join(each.asset_key.path[1:]), of))
    return found


def test_conditions_ask_for_nothing_that_was_made_again(shop: Factory) -> None:
    instance, store = shop.project.instance, shop.project.store
    before = shown(shop.project, "canonical_events")
    done = erased(shop)

    told = report(shop, remade_days(instance, store, done))

    assert told == [
        ("home/canonical_events", 0),
        ("home/popularity", 0),
        ("home/popularity", 1),
        ("home/implicit", 0),
        ("home/implicit", 1),
        ("home/manifest", 0),
        ("home/manifest", 1),
        ("other/implicit", 0),
        ("other/manifest", 0),
    ]
    assert shop.requested() == {}
    assert shop.tick() == []
    assert [*remade_days(instance, store, done)] == []  # the same erasure done again
    # Materialized again, it is what was told: the data versions are those of what is stored.
    assert shop.project.materialize(shop.config, [day(0)]).succeeded
    assert [*remade_days(instance, store, done)] == []
    after = shown(shop.project, "canonical_events")
    assert [each["users"].value for each in (before, after)] == [2, 1]


def test_the_numbers_of_a_day_are_those_of_what_is_left(shop: Factory) -> None:
    before = {of: shown(shop.project, of) for of in ("canonical_events", "implicit", "manifest")}
    done = erased(shop)
    report(shop, remade_days(shop.project.instance, shop.project.store, done))
    after = {of: shown(shop.project, of) for of in before}

    events = after["canonical_events"]
    names = ("dagster/row_count", "sessions", "users", "items")
    assert [events[name].value for name in names] == [2, 1, 1, 2]
    of_a_flip = {"outcome", "flipped", "generation", "compared", "changes"}
    for asset, metadata in before.items():  # so that plots have no gap
        assert metadata.keys() - of_a_flip <= after[asset].keys()
    assert not of_a_flip & after["manifest"].keys()
    assert after["implicit"]["users"].value == 1
    assert ANN not in str(after)
    uri = after["implicit"]["dagster/uri"].value
    assert shop.project.store.stat(shop.project.store.key(uri))
    assert uri in str(after["manifest"]["current"].value)


def test_without_what_was_made_of_it_conditions_would_make_it_once_more(shop: Factory) -> None:
    done = erased(shop)
    events = [*remade_days(shop.project.instance, shop.project.store, done)]

    report(shop, [each for each in events if each.asset_key.path[-1] == "canonical_events"])

    assert shop.requested()["implicit"] == [day(0), day(1)]


def test_a_day_that_failed_stays_failed_and_one_that_is_unknown_stays_so(shop: Factory) -> None:
    project = shop.project
    project.land(day(0), ["no event"])
    assert not project.materialize(shop.config, [day(0)]).succeeded
    done = erased(shop)

    told = report(shop, remade_days(project.instance, project.store, done))

    assert ("home/canonical_events", 0) not in told
    with dg.DagsterInstance.ephemeral() as other:
        assert [*remade_days(other, project.store, done)] == []
