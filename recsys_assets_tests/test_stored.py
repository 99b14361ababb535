"""What an earlier version has written is read, gone on with and rolled back without a step."""

from __future__ import annotations

import json
import tarfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from recsys_assets.cli import main
from recsys_assets.config import Config, load_config
from recsys_assets.defs.keys import asset_key
from recsys_assets.events.accepted import accepted_days
from recsys_assets.events.provenance import read_provenance
from recsys_assets.operations.cursors import Cursor
from recsys_assets.operations.landing import look
from recsys_assets.storage import layout
from recsys_assets.storage.local import LocalStore

STORED: Final = Path(__file__).with_name("stored")
MADE_AT: Final = "/tmp/stored"  # noqa: S108
LAST: Final = date(2026, 1, 3)
NEXT: Final = date(2026, 1, 4)


class Stored:
    """A root and an instance of version 0.1, somewhere else than it was made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with tarfile.open(STORED / "0.1.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        for path in (folder / "var").rglob("*.json"):
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(f"{MADE_AT}/", f"{folder}/"), encoding="utf-8")

    @property
    def config(self) -> Config:
        return load_config(self.folder / "surfaces.yaml")

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.folder / "var")

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    def json(self, *arguments: str) -> Any:
        result = self.run(*arguments, "--json")
        assert result.exit_code in {0, 1}, result.output
        return json.loads(result.stdout)

    def files(self, *layers: str) -> dict[str, bytes]:
        root = self.folder / "var"
        return {
            str(path.relative_to(root)): path.read_bytes()
            for layer in layers
            for path in sorted((root / layer).rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    stored = Stored(tmp_path)
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "surfaces.yaml"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RECSYS_ROOT", raising=False)
    return stored


def test_what_is_live_and_was_is_read(stored: Stored) -> None:
    (status,) = stored.json("status")["surfaces"]
    history = stored.json("history", "demo/home")["publications"]

    assert (status["generation"], status["pinned"], status["error"]) == (4, True, None)
    assert status["window"]["end"] == "2026-01-03T00:00:00Z"
    assert all(kind["size_bytes"] for kind in status["kinds"].values())
    assert [each["action"] for each in history] == ["rollback", "publish", "publish", "publish"]
    assert stored.json("verify")["surfaces"][0]["findings"] == []
    assert stored.run("show", "demo/home", "cooc", "a").exit_code == 0
    assert stored.run("diff", "demo/home", "3", "live").exit_code == 0
    assert stored.json("trace", "demo/home", "implicit")["is_current"]


def test_the_same_raw_events_give_the_same_fingerprint_and_the_same_file(stored: Stored) -> None:
    """So nothing is made again, and no late data is seen where there is none."""
    surface, before = stored.config.surfaces[0], stored.files("canonical", "objectstore", "counts")
    assert before
    days = [LAST - timedelta(days=back) for back in range(3)]
    fingerprints = accepted_days(stored.store, surface.place, days)

    result = stored.run("materialize", "--from", "2026-01-01", "--to", "2026-01-03")

    assert result.exit_code == 0, result.output
    assert accepted_days(stored.store, surface.place, days) == fingerprints
    assert read_provenance(stored.store, layout.canonical(surface.place, LAST)).source == {}
    assert stored.files("canonical", "objectstore", "counts") == before


def test_the_landing_sensor_reports_only_what_was_not_made(stored: Stored) -> None:
    now = datetime(2026, 2, 1, tzinfo=UTC)
    surface, cursor = stored.config.surfaces[0], Cursor()

    for at in (now, now + timedelta(seconds=surface.source.landing.settle_seconds)):
        found = look(
            stored.store,
            surface,
            cursor,
            now=at,
            reported=lambda *_: None,
            tried=lambda _: "unknown",
        )

    assert [arrival.day for arrival in found.raw_events] == [NEXT]


def test_the_next_day_is_made_in_the_same_instance_and_goes_live_with_the_release(
    stored: Stored,
) -> None:
    (made,) = stored.json("materialize", "--from", str(NEXT), "--to", str(NEXT))["surfaces"]
    assert [day["outcome"] for day in made["days"]] == ["pinned"]

    assert stored.run("release", "demo/home", "--reason", "INC-7: landed again").exit_code == 0

    (status,) = stored.json("status")["surfaces"]
    assert (status["generation"], status["pinned"]) == (6, False)
    assert status["window"]["end"] == "2026-01-05T00:00:00Z"
    with dg.DagsterInstance.get() as instance:
        key = asset_key(stored.config.surfaces[0], "popularity")
        made_days = {"2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"}
        assert instance.get_materialized_partitions(key) == made_days
    assert stored.run("rollback", "demo/home", "--to", "1", "--reason", "a drill").exit_code == 0


def test_retention_finds_what_it_found(stored: Stored) -> None:
    result = stored.run("retention", "--dry-run", "--publications", "1", "--days", "1")

    assert result.exit_code == 0, result.output
    assert "would go" in result.stdout
