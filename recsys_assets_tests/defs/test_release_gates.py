"""The gates of a release through Dagster, on real days: blocked, accepted, published."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg
import polars as pl
import pytest

from recsys_assets.demo.complete_journey import SURFACE, TENANT, write_raw_events
from recsys_assets.kind import Computed
from recsys_assets.kinds import KINDS
from recsys_assets.operations.pointer import plan_rollback, release, roll_back
from recsys_assets.storage import layout
from recsys_assets.storage.publications import Why
from recsys_assets_tests.grocer import grocer
from recsys_assets_tests.project import Project
from recsys_assets_tests.shop import unsynced

DAYS: Final = [date(2017, 1, 1) + timedelta(days=n) for n in range(29)]
WHY: Final = Why("run-1", "ann@host", "it is as it is")
SOON: Final = {"warm_up_days": 5, "release": {"trusted_days": 8}}


def without_first(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.slice(20)


def of_others(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Deal the lists anew among their owners, each the one of the next owner."""
    frame = rows.collect()
    owner = frame.columns[0]
    owners = frame[owner].unique().sort()
    table = pl.DataFrame(
        {owner: owners, "of": owners.gather((owners.arg_sort() + 1) % owners.len())}
    )
    found = frame.join(table, on=owner, how="left", maintain_order="left")
    dealt = found.with_columns(pl.col("of").alias(owner)).drop("of")
    if "neighbour_id" in dealt.columns:  # none is its own
        dealt = dealt.filter(pl.col("neighbour_id") != pl.col(owner))
    return dealt.sort(owner, maintain_order=True).lazy()


FAULTS: Final[Mapping[str, Callable[[pl.LazyFrame], pl.LazyFrame]]] = {
    "popularity": without_first,
    "cooc": of_others,
    "implicit": of_others,
    "session_seq": of_others,
}


OF_ALL: Final = grocer(
    artifacts={kind: {} for kind in FAULTS}, window_days=7, gates={"mode": "block", **SOON}
)


def break_kind(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    kind = KINDS[name]
    sound = kind.compute

    def broken(*arguments: Any) -> Computed:
        computed = sound(*arguments)
        return replace(computed, frame=FAULTS[name](computed.rows.collect().lazy()))

    monkeypatch.setitem(vars(kind), "compute", broken)  # the assets that are built know the row


def shown(project: Project, of: date) -> Mapping[str, Any]:
    key = dg.AssetKey([TENANT, SURFACE, "manifest"])
    wanted = dg.AssetRecordsFilter(key, asset_partitions=[str(of)])
    (record,) = project.instance.fetch_materializations(wanted, limit=1).records
    assert record.asset_materialization
    return record.asset_materialization.metadata


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 25 days of all kinds, once; return the folder of their project."""
    with dg.DagsterInstance.ephemeral() as instance, unsynced():
        project = Project(tmp_path_factory.mktemp("month"), instance)
        config = project.configure(OF_ALL)
        write_raw_events(project.folder / "raw", DAYS)
        sound = project.materialize(config, DAYS[:25])
        assert sound.succeeded
        assert sound.published == DAYS[:25]
    return project.folder


@pytest.fixture
def sound(month: Path, tmp_path: Path, project: Project) -> Iterator[Project]:
    """Give the month, which is as it was once the test is over: its files name its folder."""
    shutil.copytree(month, tmp_path / "saved")
    yield replace(project, folder=month)
    shutil.rmtree(month)
    shutil.move(tmp_path / "saved", month)


@pytest.mark.long
def test_an_artifact_that_is_broken_is_held_back_until_somebody_accepts_it(
    sound: Project, fast: None
) -> None:
    """On a real month; each kind is broken once. Nothing that looks at the day alone would see."""
    project, config = sound, sound.configure(OF_ALL)
    (surface,) = config.surfaces

    for of, name in zip(DAYS[25:], FAULTS, strict=True):
        live = project.live(config)
        with pytest.MonkeyPatch.context() as patched:
            break_kind(patched, name)
            refused = project.materialize(config, [of])
        assert {(each.asset, each.check) for each in refused.failures} == {
            ("manifest", "no_worse_than_live")
        }, name
        assert name in refused.failures[0].description
        assert project.live(config) == live
        key = dg.AssetKey([TENANT, SURFACE, "manifest"])
        (record,) = project.instance.fetch_observations(key, limit=1).records
        observed = record.asset_observation
        assert observed
        assert observed.partition == str(of)
        used = [str(of.value) for n, of in observed.metadata.items() if n.endswith("margin_used")]
        assert max(map(float, used)) > 1
        if name == "popularity":
            accepted = release(project.store, surface, WHY, force=True)
            assert accepted.next_outcome == "published"
            now = project.live(config)
            assert now
            assert now.publication
            assert now.publication.reason.startswith("it is as it is (forced: on 8 days, 2017-01-")
            plan = plan_rollback(project.store, surface, to="previous")
            assert roll_back(project.store, plan, WHY)[0] == "published"
        again = project.materialize(config, [of])
        assert again.succeeded
        assert again.outcome(of) == "published"
        numbers = shown(project, of)
        assert 0 < numbers["gate/popularity_20"].value < 1
        assert numbers["gate/popularity_20/margin_used"].value < 1
        assert numbers["gate/popularity_20/least"].value < numbers["gate/popularity_20"].value


@pytest.mark.long
def test_of_a_long_run_the_days_near_its_end_are_scored_and_what_replaces_what_was_live(
    project: Project, fast: None
) -> None:
    """Others are live for a moment only, and the run's own is what they replace."""
    config = project.configure(
        grocer(
            artifacts={"popularity": {}},
            gates={"mode": "block", **SOON, "history_days": 14, "reference_days": 14},
        )
    )
    write_raw_events(project.folder / "raw", DAYS)
    assert project.materialize(config, DAYS[:10]).succeeded

    with pytest.MonkeyPatch.context() as patched:
        break_kind(patched, "popularity")
        refused = project.materialize(config, DAYS[10:])
    assert {each.check for each in refused.failures} == {"no_worse_than_live"}
    assert refused.published[0] > DAYS[14]  # once what is usual is too long ago

    shutil.rmtree(project.folder / "var")
    made = project.materialize(config, DAYS)
    assert made.published == DAYS
    assert [of for of in DAYS if "gate/popularity_20" in shown(project, of)] == DAYS[14:]
    # The first entries of the others are not looked at, nor hashed.
    kept = [of.key for of in project.store.list("outlines")]
    whole = {layout.outlined(key) for key in kept if key.endswith(".arrow")}
    versions = {of: made.metadata[of]["popularity"]["version"] for of in DAYS}
    assert [of for of in DAYS if versions[of] in whole] == [*DAYS[:2], *DAYS[13:]]
    assert {layout.outlined(key) for key in kept} == {*versions.values()}


@pytest.mark.slow
def test_what_a_changed_option_or_list_explains_is_named_and_published(
    sound: Project, fast: None
) -> None:
    project = sound
    first = project.folder / "denied.txt"
    options: dict[str, dict[str, int]] = {kind: {} for kind in FAULTS}
    options |= {"cooc": {"max_neighbours": 1}}

    changed = project.materialize(project.configure({**OF_ALL, "artifacts": options}), [DAYS[25]])

    assert changed.succeeded
    assert [each.check for each in changed.warnings] == ["no_worse_than_live"]
    assert "(artifacts.cooc.max_neighbours was 50, is 1)" in changed.warnings[0].description
    popular = pl.read_ndjson(project.folder / f"raw/{TENANT}/{SURFACE}/exposure.{DAYS[20]}.jsonl")
    strongest = popular["item_id"].value_counts(sort=True).head(20)["item_id"].to_list()
    first.write_text("\n".join(strongest))
    denied = project.configure({**OF_ALL, "artifacts": options, "items": {"deny": str(first)}})

    withdrawn = project.materialize(denied, [DAYS[26]])

    assert withdrawn.succeeded
    assert "(items.deny is another list)" in withdrawn.warnings[0].description
    with pytest.MonkeyPatch.context() as patched:
        break_kind(patched, "implicit")
        assert not project.materialize(denied, [DAYS[27]]).succeeded


@pytest.mark.slow
def test_a_release_of_a_variant_is_scored_on_the_days_of_its_base(
    project: Project, fast: None
) -> None:
    of_popularity: dict[str, Any] = {"artifacts": {"popularity": {}}}
    lab = {"tenant": TENANT, "surface": "lab", "variant_of": f"{TENANT}/{SURFACE}"}
    config = project.configure(
        grocer(gates={}),
        {**lab, **of_popularity, "gates": {"mode": "block", **SOON}},
    )
    write_raw_events(project.folder / "raw", DAYS[:12])
    assert project.materialize(config, DAYS[:12]).succeeded
    assert project.materialize(config, DAYS[:11], surface=1).succeeded
    live = project.live(config, surface=1)

    with pytest.MonkeyPatch.context() as patched:
        break_kind(patched, "popularity")
        refused = project.materialize(config, DAYS[11:12], surface=1)

    assert [each.check for each in refused.failures] == ["no_worse_than_live"]
    assert project.live(config, surface=1) == live
    assert not (project.folder / f"var/profiles/{TENANT}/lab").exists()
