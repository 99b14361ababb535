"""The gates on the month of the demo: the page on calibrating followed, and what the demo shows."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from recsys_assets import cli
from recsys_assets.audit.events import audit_events
from recsys_assets.audit.gates import DayGates
from recsys_assets.audit.shared import Shared
from recsys_assets.cli.demo import show_a_gate
from recsys_assets.config import Config, load_config
from recsys_assets.config.file import PACKAGED_CONFIG
from recsys_assets.demo.complete_journey import write_catalog, write_raw_events
from recsys_assets.events.accepted import accept_day
from recsys_assets.storage import open_store
from recsys_assets_tests.shop import unsynced
from recsys_assets_tests.test_docs import assert_printed, steps

JANUARY: Final = [date(2017, 1, 1) + timedelta(days=n) for n in range(31)]


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Give the configuration of the demo, and its days as the demo accepts them."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "recsys_assets").mkdir()
    config = load_config(Path(shutil.copy(PACKAGED_CONFIG, folder / "recsys_assets")))
    (surface,), store = config.surfaces, open_store(config.root)
    assert surface.catalog
    write_raw_events(Path(surface.source.path), JANUARY)
    write_catalog(Path(surface.catalog.path))
    with unsynced():
        gates = DayGates(store, surface, Shared())
        for day in JANUARY:
            with store.scratch() as scratch:
                found = audit_events(store, surface, day, scratch, Shared(), gates).settled()
                assert found.passed
                assert found.value
                accept_day(store, surface.place, found.value)
    return config


@pytest.mark.long
def test_the_page_on_turning_on_block_can_be_followed(
    month: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Path(month.root).parent / "recsys_assets/surfaces.yaml"
    monkeypatch.setenv("RECSYS_CONFIG", str(config))
    monkeypatch.delenv("RECSYS_ROOT", raising=False)

    for step in steps("gates.md", "run: gates"):
        program, *arguments = step.command.split()
        result = CliRunner().invoke(cli.main, arguments)

        assert program == "recsys-assets"
        assert result.exit_code == step.exit_code
        assert_printed(step, result.stdout)


@pytest.mark.slow
def test_the_demo_shows_what_gates_would_have_stopped(
    month: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    (surface,) = month.surfaces

    show_a_gate(month.root, surface, JANUARY[-1])

    first, *said = capsys.readouterr().out.splitlines()
    assert first == "Had a fifth of 2017-01-31 come with the item `undefined`, gates would say:"
    assert any("share of events of new items: 28.06%, usually 11.10%" in line for line in said)
    show_a_gate(month.root, surface, JANUARY[5])  # too early for gates: it has nothing to say
    assert capsys.readouterr().out == ""
