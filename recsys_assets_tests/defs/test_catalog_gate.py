"""The gate of a catalog through Dagster, on real days: blocked, accepted, published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from recsys_assets.audit.artifacts import audit_artifact
from recsys_assets.audit.drafts import drafts
from recsys_assets.audit.shared import Shared
from recsys_assets.config import Config
from recsys_assets.demo.complete_journey import SURFACE, TENANT, write_catalog, write_raw_events
from recsys_assets.errors import InputError
from recsys_assets.kinds import KINDS
from recsys_assets.operations.overrides import override_gates
from recsys_assets.storage.publications import Why
from recsys_assets.verdicts import Verdict
from recsys_assets_tests.grocer import grocer
from recsys_assets_tests.live.test_gate_figures import of_gates
from recsys_assets_tests.project import Project

DAYS: Final = [date(2017, 1, 3), date(2017, 1, 4)]
WHY: Final = Why("run-1", "ann@host", "the shop has new aisles")
Catalog = Callable[[pl.DataFrame], pl.DataFrame]


def part(share: int) -> Catalog:
    return lambda rows: rows.filter(pl.int_range(pl.len()) % 100 >= share)


def swapped(share: int) -> Catalog:
    """Deal the tags of some items anew among them."""

    def deal(rows: pl.DataFrame) -> pl.DataFrame:
        is_dealt = pl.int_range(rows.height, eager=True) % 100 < share
        places = is_dealt.arg_true()
        dealt = rows["tags"].scatter(places, rows["tags"].gather(places).shuffle(seed=1))
        return rows.with_columns(tags=dealt)

    return deal


def tags(change: pl.Expr) -> Catalog:
    return lambda rows: rows.with_columns(tags=change)


FAULTS: Final[Mapping[str, tuple[Catalog, str]]] = {
    "unchanged but for the bytes": (lambda rows: rows.reverse(), "passed"),
    "a tenth of the items lost": (part(10), "failed"),
    "half of the items lost": (part(50), "failed"),
    "a kind of tags lost": (tags(pl.col("tags").str.replace(r"category:[^|]*\|?", "")), "failed"),
    "half of the tags swapped": (swapped(50), "failed"),
    "all tags swapped": (swapped(100), "failed"),
    "one tag for all": (tags(pl.lit("all")), "failed"),
    "other ids": (lambda rows: rows.with_columns(item_id="x" + pl.col("item_id")), "failed"),
    "a tenth of the tags swapped": (swapped(10), "warned"),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a catalog with what was bought on the days, and some of the rest."""
    folder = tmp_path_factory.mktemp("catalog")
    write_raw_events(folder, DAYS)
    lines = pl.read_ndjson([*(folder / TENANT / SURFACE).iterdir()])
    path = folder / "catalog.csv"
    write_catalog(path)
    rows = pl.read_csv(path, infer_schema=False)
    is_bought = pl.col("item_id").is_in(lines["item_id"].cast(pl.String).unique().implode())
    rows.filter(is_bought | (pl.int_range(pl.len()) % 50 == 0)).write_csv(path)
    return path


def configure(project: Project, **changes: Any) -> Config:
    of_catalog: dict[str, Any] = {
        "artifacts": {"content_sim": {}},
        "catalog": {"path": "items.csv"},
    }
    return project.configure(grocer(**{**of_catalog, **changes}))


def change(project: Project, sound: Path, how: Catalog) -> None:
    rows = pl.read_csv(sound, infer_schema=False).fill_null("")
    how(rows).write_csv(project.folder / "items.csv")


def found(project: Project, config: Config, of: date) -> Verdict:
    (surface,) = config.surfaces
    with project.store.scratch() as scratch:
        drafted = drafts(project.store, surface, KINDS["content_sim"], {}, Shared())
        audited = audit_artifact(project.store, surface, "content_sim", of, scratch, drafted)
    return audited.verdicts["catalog_fits"]


def test_each_fault_of_a_catalog_is_found_and_a_change_of_its_bytes_is_none(
    project: Project, sound: Path, fast: None
) -> None:
    config = configure(project)
    write_raw_events(project.folder / "raw", DAYS)
    change(project, sound, lambda rows: rows)
    assert found(project, config, DAYS[0]).description == "nothing is live yet"
    assert project.materialize(config, [DAYS[0]]).succeeded
    assert found(project, config, DAYS[1]).description == "the catalog is the one that is live"

    for name, (how, outcome) in FAULTS.items():
        change(project, sound, how)
        assert found(project, config, DAYS[1]).outcome == outcome, name
    warned = found(project, configure(project, gates={"mode": "warn"}), DAYS[1])
    assert warned.outcome == "warned"
    change(project, sound, part(50))
    lean = configure(project, artifacts={"content_sim": {"max_items": 5_000}})
    verdict = found(project, lean, DAYS[1])
    assert verdict.outcome == "warned"
    assert "(artifacts.content_sim.max_items was 100000, is 5000)" in verdict.description


def test_a_catalog_that_does_not_fit_is_blocked_until_somebody_accepts_it(
    project: Project, sound: Path, fast: None
) -> None:
    config = configure(project)
    (surface,) = config.surfaces
    write_raw_events(project.folder / "raw", DAYS)
    change(project, sound, lambda rows: rows)
    project.materialize(config, [DAYS[0]])
    live = project.live(config)
    change(project, sound, part(50))

    refused = project.materialize(config, [DAYS[1]])

    assert {(each.asset, each.check) for each in refused.failures if each.check} == {
        ("content_sim", "catalog_fits")
    }
    assert project.live(config) == live
    told = of_gates(config, SURFACE)
    assert told["recsys_release_failed"]["catalog_fits"] == 1
    assert "" in told["recsys_release_refused_timestamp_seconds"]
    covered = told["recsys_release_share_ratio"]["content_sim/covered"]
    assert covered < told["recsys_release_live_share_ratio"]["content_sim/covered"]
    assert told["recsys_release_margin_used_ratio"]["content_sim/covered"] > 1
    change(project, sound, lambda rows: rows)
    found(project, config, DAYS[1])
    assert of_gates(config, SURFACE)["recsys_release_failed"]["catalog_fits"] == 0, "put back"
    change(project, sound, part(50))
    with pytest.raises(InputError, match="override it alone"):
        override_gates(project.store, surface, DAYS[1], ["catalog_fits", "volume"], WHY)
    override_gates(project.store, surface, DAYS[1], ["catalog_fits"], WHY)
    change(project, sound, part(90))
    assert not project.materialize(config, [DAYS[1]]).succeeded, "it is about another catalog"
    change(project, sound, part(50))

    accepted = project.materialize(config, [DAYS[1]])

    assert accepted.succeeded
    assert accepted.published == [DAYS[1]]
    assert of_gates(config, SURFACE)["recsys_release_failed"]["catalog_fits"] == 0
    (warning,) = [each for each in accepted.warnings if each.asset == "content_sim"]
    assert warning.description.startswith("accepted by ann@host, the shop has new aisles: of the")
