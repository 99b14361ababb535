"""The figures for Prometheus: which, of whom, and what a broken surface leaves of them."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from recsys_assets.config import Config
from recsys_assets.live import metrics
from recsys_assets.operations import pointer
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.storage.publications import read_live
from recsys_assets_tests.ports import free_port
from recsys_assets_tests.project import Project
from recsys_assets_tests.shop import KINDS, WHY, Shop, on

HOME = (("surface", "home"), ("tenant", "demo"))
Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def config_of(*shops: Shop) -> Config:
    surfaces = [shop.surface.model_dump() for shop in shops]
    return Config.model_validate({"root": str(shops[0].root), "surfaces": surfaces})


def parsed(text: str) -> Figures:
    """Return every sample by name and labels; those of histograms have tests of their own."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        if family.type != "histogram"
        for sample in family.samples
    }


def figures(config: Config, now: datetime) -> Figures:
    return parsed(metrics.text(config, clock=lambda: now))


def of_home(found: Figures) -> dict[str, float]:
    return {name: value for (name, labels), value in found.items() if labels == HOME}


def test_a_surface_has_these_figures(shop: Shop) -> None:
    current = shop.day(on(1), 1)
    flipped = shop.time()
    shop.time.passes(days=1)

    found = figures(config_of(shop), shop.time())

    assert of_home(found) == {
        "recsys_surface_stale": 1,
        "recsys_surface_status_error": 0,
        "recsys_surface_live": 1,
        "recsys_surface_days_behind": 2,
        "recsys_surface_max_days_behind": 1,
        "recsys_surface_flip_timestamp_seconds": flipped.timestamp(),
        "recsys_surface_generation": 1,
        "recsys_surface_pinned": 0,
        "recsys_surface_max_artifact_size_bytes": 10_000_000,
        "recsys_surface_mistake": 0,
    }
    for kind in KINDS:
        size = Path(current[kind].removeprefix("file://")).stat().st_size
        assert found["recsys_artifact_size_bytes", (("kind", kind), *HOME)] == size
    assert found["recsys_status_timestamp_seconds", ()] == shop.time().timestamp()


def test_a_pin_is_told_with_its_time_and_hours_as_seconds(shop: Shop) -> None:
    shop.day(on(1), 1)
    flipped = shop.time()
    pinned = shop.time.passes(hours=3)
    pointer.pin(shop.store, shop.surface, WHY)
    config = config_of(shop)
    limits = {"freshness": {"max_hours_since_flip": 36}}
    surface = type(config.surfaces[0]).model_validate(config.surfaces[0].model_dump() | limits)
    config = config.model_copy(update={"surfaces": [surface]})

    found = of_home(figures(config, shop.time.passes(hours=1)))

    assert found["recsys_surface_pinned"] == 1
    assert found["recsys_surface_pin_timestamp_seconds"] == pinned.timestamp()
    assert found["recsys_surface_flip_timestamp_seconds"] == flipped.timestamp()
    assert found["recsys_surface_max_flip_age_seconds"] == 36 * 3600


def test_before_the_first_publish_there_is_little_to_tell(shop: Shop) -> None:
    assert of_home(figures(config_of(shop), shop.time())) == {
        "recsys_surface_stale": 1,
        "recsys_surface_status_error": 0,
        "recsys_surface_live": 0,
        "recsys_surface_max_days_behind": 1,
        "recsys_surface_pinned": 0,
        "recsys_surface_max_artifact_size_bytes": 10_000_000,
        "recsys_surface_mistake": 0,
    }


@pytest.mark.parametrize("damage", ["manifest", "record", "folder"])
def test_a_surface_that_cannot_be_read_takes_nothing_from_the_others(
    shop: Shop, damage: str
) -> None:
    shop.day(on(1), 1)
    alone = of_home(figures(config_of(shop), shop.time()))
    broken = Shop(shop.root, shop.time, name="broken")
    manifest = shop.root / layout.manifest(Place("demo", "broken"))
    if damage == "folder":
        manifest.mkdir(parents=True)
    else:
        broken.day(on(1), 1)
        live = read_live(shop.store, Place("demo", "broken"))
        assert live is not None
        records = shop.root / "registry/publications/demo/broken"
        for path in [manifest] if damage == "manifest" else records.rglob("*.json"):
            path.write_bytes(b"{")

    found = figures(config_of(broken, shop), shop.time())

    assert of_home(found) == alone
    of_broken = {
        name: value
        for (name, labels), value in found.items()
        if labels == (("surface", "broken"), ("tenant", "demo"))
    }
    assert of_broken == {
        "recsys_surface_stale": 1,
        "recsys_surface_status_error": 1,
        "recsys_surface_max_days_behind": 1,
        "recsys_surface_max_artifact_size_bytes": 10_000_000,
        "recsys_surface_mistake": 0,
    }


def test_a_missing_document_has_no_size(shop: Shop) -> None:
    current = shop.day(on(1), 1)
    Path(current["cooc"].removeprefix("file://")).unlink()

    found = figures(config_of(shop), shop.time())

    kinds = [dict(labels)["kind"] for name, labels in found if name == "recsys_artifact_size_bytes"]
    assert kinds == ["popularity"]


def test_odd_names_are_labels_that_can_be_read_back(shop: Shop) -> None:
    odd = Shop(shop.root, shop.time, name='"home\u00e9" {x}')
    odd.day(on(1), 1)

    found = figures(config_of(odd), shop.time())

    labels = (("surface", odd.name), ("tenant", "demo"))
    assert found["recsys_surface_generation", labels] == 1


def test_names_follow_the_conventions(shop: Shop) -> None:
    """https://prometheus.io/docs/practices/naming: a prefix, base units, no _total on gauges."""
    text = metrics.text(config_of(shop), clock=shop.time)

    families = list(text_string_to_metric_families(text))
    assert len(families) == 36
    for family in families:
        assert re.fullmatch(r"recsys_[a-z_]+", family.name)
        assert not re.search(r"_(total|count|hours|minutes|milliseconds)$", family.name)
        is_histogram = family.name == "recsys_surface_landing_to_live_seconds"
        assert family.type == ("histogram" if is_histogram else "gauge")
        assert family.documentation.endswith(".")


class TestFile:
    """A file for node_exporter."""

    def test_it_is_replaced_whole(self, shop: Shop, tmp_path: Path) -> None:
        file = tmp_path / "textfile" / "recsys.prom"
        file.parent.mkdir()
        metrics.write(config_of(shop), file, clock=shop.time)
        before, opened = file.read_text(), file.open()
        with opened:
            shop.day(on(1), 1)

            metrics.write(config_of(shop), file, clock=shop.time)

            assert opened.read() == before
        assert file.read_text() == metrics.text(config_of(shop), clock=shop.time) != before
        assert list(file.parent.iterdir()) == [file]

    def test_what_cannot_be_written_leaves_the_file_as_it_was(
        self, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "textfile" / "recsys.prom"
        file.parent.mkdir()
        metrics.write(config_of(shop), file, clock=shop.time)
        before = file.read_text()
        shop.day(on(1), 1)

        def full(*_: object) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr("os.rename", full)
        with pytest.raises(OSError, match="no space"):
            metrics.write(config_of(shop), file, clock=shop.time)

        assert file.read_text() == before
        assert list(file.parent.iterdir()) == [file]


class TestCollector:
    """What is behind the endpoint."""

    @staticmethod
    def generation(collector: metrics.Figures) -> float | None:
        samples = {metric.name: metric.samples for metric in collector.collect()}
        return next((s.value for s in samples["recsys_surface_generation"]), None)

    def test_each_scrape_reads_the_state_anew(self, shop: Shop) -> None:
        collector = metrics.Figures(config_of(shop), clock=shop.time)
        assert self.generation(collector) is None

        shop.day(on(1), 1)

        assert self.generation(collector) == 1

    def test_figures_are_kept_as_long_as_asked_for(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elapsed = timedelta()
        monkeypatch.setattr(time, "monotonic", lambda: 1000 + elapsed.total_seconds())
        collector = metrics.Figures(config_of(shop), clock=shop.time, keep_s=30)
        shop.day(on(0), 1)
        assert self.generation(collector) == 1
        shop.day(on(1), 2)

        elapsed = timedelta(seconds=29)
        assert self.generation(collector) == 1
        elapsed = timedelta(seconds=30)
        assert self.generation(collector) == 2

    def test_registering_reads_nothing(self, shop: Shop) -> None:
        assert list(metrics.Figures(config_of(shop), clock=shop.time).describe()) == []


def scrape(port: int, server: subprocess.Popen[str]) -> Figures:
    """Ask until the server answers."""
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                return parsed(answer.read().decode())
        except urllib.error.URLError:
            assert server.poll() is None, server.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_the_endpoint_reads_the_state_at_every_scrape_until_it_is_stopped(
    project: Project,
) -> None:
    project.configure({"artifacts": {"popularity": {}}, "catalog": None})
    port = free_port()
    command = [sys.executable, "-m", "recsys_assets.cli", "--config", str(project.config_file)]
    server = subprocess.Popen(
        [*command, "metrics", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        started = datetime.now(UTC).timestamp()
        first = scrape(port, server)
        manifest = project.folder / "var" / layout.manifest(Place("demo", "home"))
        manifest.parent.mkdir(parents=True)
        manifest.write_bytes(b"{")
        second = scrape(port, server)
        server.terminate()
        printed = server.communicate(timeout=60)
    finally:
        server.kill()
        server.wait()

    assert first["recsys_surface_status_error", HOME] == 0
    assert second["recsys_surface_status_error", HOME] == 1
    assert second["recsys_status_timestamp_seconds", ()] >= started
    assert printed == ("", "")
