"""A base and its variants: what retention keeps of each, and what of a variant is its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.config import Config, Retention, Surface
from recsys_assets.live.verify import verify_surface
from recsys_assets.operations.repair import plan_repair, repair
from recsys_assets.operations.retention import plan_retention, retain
from recsys_assets.operations.topics import landings_of
from recsys_assets.storage import layout
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import WHY, make_day

LAB: dict[str, Any] = {"surface": "lab", "variant_of": "demo/home"}
STRICT = Retention(publications=1, days=1, grace_hours=1)
# Everything is old by then.
LATER = datetime.now(UTC) + timedelta(days=9)


@pytest.fixture
def config(project: Project, fast: None) -> Config:
    """Publish four days of a base and of a variant that looks back on three."""
    config = project.configure({}, {**LAB, "window_days": 3})
    for number in range(4):
        of = day(number)
        project.land(of, [event(item, of=of) for item in ("a", "b", f"c{number}")])
        for surface in config.surfaces:
            make_day(project.store, surface, of)
    return config


def counted(project: Project, surface: str = "home") -> list[str]:
    folder = project.folder / "var/counts/demo" / surface
    return sorted({path.parents[1].name for path in folder.rglob("*.parquet")})


def kept(since: date) -> Retention:
    """Return what keeps the days since one, as of `LATER`."""
    return Retention(publications=1, days=(LATER.date() - since).days, grace_hours=1)


@pytest.mark.parametrize(("window_days", "first"), [(3, 0), (2, 1), (1, 2)])
def test_counts_of_the_base_stay_as_long_as_a_window_of_a_variant_holds_their_day(
    project: Project, config: Config, window_days: int, first: int
) -> None:
    home = project.configure({}, {**LAB, "window_days": window_days}).surfaces[0]

    retain(project.store, home, kept(day(3)), WHY, clock=lambda: LATER)

    assert counted(project) == [str(day(number)) for number in range(first, 4)]
    assert counted(project, "lab") == []


def test_retention_of_a_variant_deletes_what_is_its_own_and_nothing_else(
    project: Project, config: Config
) -> None:
    lab = config.surfaces[1]

    def files(*surfaces: str) -> dict[str, bytes]:
        root = project.folder / "var"
        found = (path for of in surfaces for path in sorted(root.glob(f"*/demo/{of}/**/*")))
        return {str(path): path.read_bytes() for path in found if path.is_file()}

    before = files("home")
    plan = retain(project.store, lab, STRICT, WHY, clock=lambda: LATER)

    assert files("home") == before
    assert plan.blobs
    assert {each.key.split("/")[2] for each in plan.going} == {"lab"}
    assert {each.key.split("/")[0] for each in plan.going} == {"objectstore", "outlines", "staged"}


def test_retention_of_the_base_leaves_the_blobs_of_its_variants(
    project: Project, config: Config
) -> None:
    home, lab = config.surfaces

    plan = plan_retention(project.store, home, STRICT, now=LATER)

    assert plan.blobs
    assert {each.key.split("/")[2] for each in plan.going} == {"home"}
    assert retained(project, home, lab) == [0, 0]


def retained(project: Project, *surfaces: Surface) -> Sequence[int]:
    """Retain each; return how many findings there are of each afterwards."""
    for surface in surfaces:
        retain(project.store, surface, STRICT, WHY, clock=lambda: LATER)
    checked = (
        verify_surface(project.store, surface, last=9, grace=timedelta(), now=LATER)
        for surface in surfaces
    )
    return [len(each.findings) for each in checked]


def test_a_variant_whose_manifest_is_gone_is_repaired_by_itself(
    project: Project, config: Config
) -> None:
    home, lab = config.surfaces
    store = project.store
    Path(store.location(layout.manifest(lab.place))).unlink()

    assert plan_repair(store, home) is None
    plan = plan_repair(store, lab)
    assert plan is not None
    repair(store, plan, WHY)

    live = project.live(config, surface=1)
    assert live is not None
    assert live.window is not None
    assert live.window.last_day == day(3)


def test_a_topic_is_landed_for_the_base_alone(project: Project) -> None:
    kafka = {"brokers_env": "BROKERS", "topic": "events"}
    config = project.configure({"source": {"path": "raw", "landing": {"kafka": kafka}}}, LAB)

    (landing,) = landings_of(config.surfaces)

    assert [surface.name for surface in landing.surfaces] == ["demo/home"]
