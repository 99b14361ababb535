"""How long a day takes from landing to live: counted once each, kept, and told as a histogram."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from recsys_assets.config import Config
from recsys_assets.live import latency, metrics
from recsys_assets.live.latency import BOUNDS_S, METRIC, Latencies, count_flip, read_latencies
from recsys_assets.storage import layout
from recsys_assets.storage.publications import read_live
from recsys_assets_tests.project import DAY, Project, day, event
from recsys_assets_tests.shop import make_day

RUN = "run-1"  # of `make_day`
EVENTS_ONLY: dict[str, Any] = {"artifacts": {"popularity": {}}, "catalog": None}


def landed(project: Project, of: date, *items: str, ago_s: float) -> Path:
    """Land a day whose file was written so many seconds ago."""
    path = project.land(of, [event(item, of=of) for item in items])
    at = datetime.now(UTC).timestamp() - ago_s
    os.utime(path, (at, at))
    return path


def made(project: Project, config: Config, of: date) -> Latencies:
    """Make a day alone, and return what is counted then."""
    (surface, *_) = config.surfaces
    make_day(project.store, surface, of)
    count_flip(project.store, surface, of, RUN)
    return read_latencies(project.store, surface.place)


def told(config: Config) -> dict[str, Any]:
    """Return the samples of the histogram."""
    text = metrics.text(config, clock=lambda: datetime(2026, 1, 9, tzinfo=UTC))
    return {
        sample.name.removeprefix(METRIC) + sample.labels.get("le", ""): sample.value
        for family in text_string_to_metric_families(text)
        if family.name == METRIC
        for sample in family.samples
    }


@pytest.mark.usefixtures("fast")
class TestCounted:
    """Each landing once, when the day becomes live."""

    def test_a_day_is_counted_from_its_newest_file(self, project: Project) -> None:
        config = project.configure(EVENTS_ONLY)
        landed(project, DAY, "a", ago_s=5000)
        newest = project.land(DAY, [event("b")], part=".2")
        at = datetime.now(UTC).timestamp() - 70
        os.utime(newest, (at, at))

        found = made(project, config, DAY)

        assert sum(found.counts) == found.counts[BOUNDS_S.index(75)] == 1
        assert 70 <= found.sum_s < 75

    def test_a_marker_that_comes_last_is_when_the_day_landed(self, project: Project) -> None:
        source = {"path": "raw", "landing": {"success_marker": "{tenant}/{day}/_SUCCESS"}}
        config = project.configure({**EVENTS_ONLY, "source": source})
        landed(project, DAY, "a", ago_s=5000)
        marker = project.folder / f"raw/demo/{DAY}/_SUCCESS"
        marker.parent.mkdir()
        marker.touch()

        assert made(project, config, DAY).sum_s < 60

    def test_what_is_made_again_of_the_same_files_is_not_counted_again(
        self, project: Project
    ) -> None:
        config = project.configure({**EVENTS_ONLY, "items": {"deny": "denied.txt"}})
        (project.folder / "denied.txt").write_text("z\n")
        landed(project, DAY, "a", "b", ago_s=70)
        before = made(project, config, DAY)
        (project.folder / "denied.txt").write_text("a\n")

        assert made(project, config, DAY) == before
        live = read_live(project.store, config.surfaces[0].place)
        assert live is not None
        assert live.publication is not None
        assert live.publication.generation == 2  # it has become live, as made anew

    def test_a_late_file_of_the_live_day_is_counted_too(self, project: Project) -> None:
        config = project.configure(EVENTS_ONLY)
        landed(project, DAY, "a", ago_s=5000)
        made(project, config, DAY)
        landed(project, DAY, "a", "b", ago_s=20)

        assert sum(made(project, config, DAY).counts) == 2

    def test_a_day_that_does_not_become_live_is_not_counted(self, project: Project) -> None:
        config = project.configure(EVENTS_ONLY)
        landed(project, day(1), "a", ago_s=70)
        before = made(project, config, day(1))
        landed(project, DAY, "a", ago_s=20)

        assert made(project, config, DAY) == before

    @pytest.mark.parametrize(
        "gone", [lambda path: path.unlink(), lambda path: os.utime(path, (2**32, 2**32))]
    )
    def test_a_file_that_is_not_there_as_it_was_says_nothing(
        self, project: Project, gone: Callable[[Path], None]
    ) -> None:
        config = project.configure(EVENTS_ONLY)
        path = landed(project, DAY, "a", ago_s=70)
        make_day(project.store, config.surfaces[0], DAY)
        gone(path)

        count_flip(project.store, config.surfaces[0], DAY, RUN)

        assert read_latencies(project.store, config.surfaces[0].place) == Latencies()

    def test_what_cannot_be_kept_fails_no_publish(
        self, project: Project, caplog: pytest.LogCaptureFixture
    ) -> None:
        config = project.configure(EVENTS_ONLY)
        landed(project, DAY, "a", ago_s=70)
        (project.folder / "var/latencies").mkdir(parents=True)
        (project.folder / "var/latencies/demo").touch()  # where a directory is to be

        make_day(project.store, config.surfaces[0], DAY)

        count_flip(project.store, config.surfaces[0], DAY, RUN)

        assert "how long it took is not counted" in caplog.text


def test_a_run_of_one_day_is_counted_and_a_backfill_is_not(project: Project) -> None:
    config = project.configure(EVENTS_ONLY)
    for number in range(3):
        landed(project, day(number), "a", ago_s=100)
    project.materialize(config, [DAY, day(1)])
    assert read_latencies(project.store, config.surfaces[0].place) == Latencies()

    project.materialize(config, [day(2)])

    assert sum(read_latencies(project.store, config.surfaces[0].place).counts) == 1


class TestTold:
    """As Prometheus wants a histogram: cumulative, and never less than before."""

    def test_counts_grow_from_nothing_and_outlive_whoever_asks(self, project: Project) -> None:
        config = project.configure(EVENTS_ONLY)
        (surface,) = config.surfaces
        assert set(told(config).values()) == {0}

        known = Latencies()
        for seconds in (10, 75, 75.5, 1e6):
            known = known.with_another(seconds, datetime.now(UTC) + timedelta(seconds=seconds))
        latency._write(project.store, surface.place, known)

        found = told(config)
        assert found["_bucket15.0"] == found["_bucket60.0"] == 1
        assert found["_bucket75.0"] == 2
        assert found["_bucket90.0"] == found["_bucket86400.0"] == 3
        assert found["_bucket+Inf"] == found["_count"] == 4
        assert found["_sum"] == 1_000_160.5

    @pytest.mark.parametrize(
        "kept",
        [
            "{",
            json.dumps([]),
            json.dumps({"v": 1, "bounds_s": [1], "counts": [7, 7], "sum_s": 1, "landed_at": ""}),
            json.dumps(
                {"v": 1, "bounds_s": BOUNDS_S, "counts": [7, 7], "sum_s": 1, "landed_at": ""}
            ),
        ],
    )
    def test_what_is_damaged_or_of_other_bounds_begins_anew(
        self, project: Project, kept: str
    ) -> None:
        config = project.configure(EVENTS_ONLY)
        key = layout.latencies(config.surfaces[0].place)
        project.store.replace(key, kept.encode())

        assert set(told(config).values()) == {0}
