"""The pages on extending the project are followed: their changes are made in a copy and tried."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import dagster as dg
import pytest

from recsys_assets.audits import audit_release, window_days
from recsys_assets.config import load_config
from recsys_assets.definitions import build_definitions
from recsys_assets.io_managers import read_partitions
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.project import DAY, day
from recsys_assets_tests.test_docs import (
    ROOT,
    Shop,
    assert_printed,
    example,
    page,
    section,
    steps,
)


def change(folder: Path, name: str) -> None:
    """Make every change and every new file of a page below a folder."""
    text = page(name)
    changes = re.findall(r"^```diff\n--- (\S+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    files = re.findall(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert changes, f"{name} changes nothing: this test would pass by default"
    for path, hunks in changes:
        file = folder / path
        whole = file.read_text(encoding="utf-8")
        for hunk in hunks.split("@@\n"):
            whole = changed(whole, hunk, where=f"{name}, {path}")
        file.write_text(whole, encoding="utf-8")
    for path, whole in files:
        assert f"New file `{path}`" in text, f"{name} does not say where {path} goes"
        assert not (folder / path).exists(), f"{name}: {path} is there already"
        (folder / path).write_text(whole, encoding="utf-8")


def changed(whole: str, hunk: str, *, where: str) -> str:
    """Return a text with a hunk applied: its context must be there exactly once."""
    lines = hunk.splitlines(keepends=True)
    assert all(line[0] in " +-\n" for line in lines), f"{where}: {hunk}"
    before, after = (
        "".join(line[1:] or "\n" for line in lines if line[0] != left_out)
        for left_out in ("+", "-")
    )
    assert before, f"{where}: where does this go?\n{hunk}"
    # Whole lines: one that merely ends like the context is another one.
    found = [match.start() for match in re.finditer(rf"(?m)^{re.escape(before)}", whole)]
    assert len(found) == 1, f"{where}: this is there {len(found)} times:\n{before}"
    return whole[: found[0]] + after + whole[found[0] + len(before) :]


def extended(folder: Path, name: str) -> Path:
    """Copy the project and the example of `run-locally.md`, and extend them as a page says."""
    for package in ("recsys_assets", "recsys_assets_tests"):
        ignored = shutil.ignore_patterns("__pycache__", "golden")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for read_only in ("docs", "README.md"):
        (folder / read_only).symlink_to(ROOT / read_only)
    write_example(folder)
    change(folder, name)
    return folder


def write_example(folder: Path) -> None:
    """Write the project of `run-locally.md`, with its single day of raw events."""
    raw = "raw/shop/home/exposure.2026-01-01.jsonl"
    (folder / raw).parent.mkdir(parents=True)
    for file, marker in (
        ("surfaces.yaml", "surfaces.yaml"),
        ("catalog.csv", "catalog.csv"),
        (raw, "raw lines"),
    ):
        text = example("run-locally.md", f"example: {marker}")
        (folder / file).write_text(text, encoding="utf-8")


def run_tests(copy: Path, selected: str, *files: str) -> None:
    """Run tests of a copy, those of `extended.py` among them."""
    chosen = [f"recsys_assets_tests/{file}" for file in ("extended.py", *files)]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", selected, *chosen],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.slow
def test_an_artifact_kind_can_be_added_as_the_page_says(tmp_path: Path) -> None:
    copy = extended(tmp_path, "add-an-artifact-kind.md")

    run_tests(
        copy,
        "reach or every_kind",
        *("compute/test_reach.py", "test_contracts.py", "test_documents.py", "test_config.py"),
    )


@pytest.mark.slow
def test_an_event_field_can_be_added_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day is stored before, by the project as it is, and is in the window of the next one."""
    copy = extended(tmp_path, "add-an-event-field.md")
    file = tmp_path / "surfaces.yaml"
    text = file.read_text(encoding="utf-8").replace("source:", "window_days: 2\n    source:")
    file.write_text(text, encoding="utf-8")
    before = Shop(tmp_path)
    before.enter(monkeypatch)
    before.do("materialize", "--from", str(DAY), "--to", str(DAY))

    run_tests(
        copy,
        "device or canonical or hundreds_of_lines or brute_force",
        *("compute/test_popularity.py", "test_contracts.py", "events/test_parse.py"),
    )


RAW_LINE: Final = json.loads(example("add-a-surface.md", "example: raw line of search"))


def land_search(folder: Path, number: int, *, surface: str = "search", named: str = "") -> None:
    """Write a raw file of one session in the folder of a surface; its lines may name another."""
    raw = folder / f"raw/shop/{surface}/exposure.{day(number)}.jsonl"
    raw.parent.mkdir(parents=True, exist_ok=True)
    lines = (
        {**RAW_LINE, "item_id": item, "surface": named or surface, "ts": f"{day(number)}T10:00:00Z"}
        for item in ("tea", "cup")
    )
    raw.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The example project with the surface that the page adds, three days of it landed."""
    write_example(tmp_path)
    change(tmp_path, "add-a-surface.md")
    for number in range(3):
        land_search(tmp_path, number)
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    shop = Shop(tmp_path)
    shop.enter(monkeypatch)
    return shop


def edit(shop: Shop, old: str, new: str) -> None:
    """Change the entry of `shop/search`, the last one."""
    file = shop.folder / "surfaces.yaml"
    before, found, after = file.read_text(encoding="utf-8").rpartition(old)
    assert found, old
    file.write_text(before + new + after, encoding="utf-8")


def problems(shop: Shop, number: int) -> dict[str, str]:
    """Return what `publishable` says of a day of `shop/search`, by kind."""
    config = load_config()
    surface, store = config.surface("shop/search"), LocalStore(shop.folder / "var")
    accepted = read_partitions(store, "shop", "search", window_days(surface, day(number)))
    (verdict,) = audit_release(store, surface, day(number), accepted).verdicts
    return {row["kind"]: row["problem"].partition(":")[0] for row in verdict.rows}


@pytest.mark.slow
def test_a_surface_can_be_added_as_the_page_says(search: Shop) -> None:
    for step in steps("add-a-surface.md", "run: add a surface"):
        name, *arguments = step.command.split()
        if name == "dg":
            command = [str(Path(sys.executable).with_name(name)), *arguments]
            printed = subprocess.check_output(command, cwd=ROOT, text=True)
            assert_printed(step, printed)
        elif arguments[0] == "status":  # its state depends on the day it is today
            assert "shop/search" in search.run(*arguments).stdout
        else:
            search.follow(step)
    live = search.folder / "var/registry/current/shop/search/manifest.json"
    assert f"`{live.relative_to(search.folder / 'var')}`" in page("add-a-surface.md")
    assert live.exists()


def test_the_automation_of_a_surface_is_called_and_stopped_as_the_page_says(search: Shop) -> None:
    repository = build_definitions(load_config()).get_repository_def()
    for name in ("shop__search_materialize", "shop__search_landing"):
        assert f"`{name}`" in page("add-a-surface.md")
        sensor = repository.get_sensor_def(name)
        assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
    assert "`shop__search_daily`" in page("add-a-surface.md")
    schedule = repository.get_schedule_def("shop__search_daily")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED


def test_what_a_changed_entry_makes_of_older_days_is_as_the_page_says(search: Shop) -> None:
    """Each row of the table that names a message, and what is said to cure it."""
    days = ["--from", str(day(0)), "--to", str(day(2))]
    search.do("materialize", "--surface", "shop/search", *days)
    no_version, events, head = (
        "no version is staged",
        "made of other events than are accepted now",
        "made with another segment or window than is configured now",
    )
    both = ("popularity", "cooc")
    assert problems(search, 2) == {}

    edit(search, "surface: search", "surface: search\n    segment: b")
    assert problems(search, 2) == dict.fromkeys(both, no_version)
    edit(search, "    segment: b\n", "    window_days: 2\n")
    assert problems(search, 0) == dict.fromkeys(both, head)
    assert problems(search, 2) == dict.fromkeys(both, events)
    edit(search, "{min_support: 1}", "{min_support: 1}\n      implicit: {}")
    assert problems(search, 2) == {**dict.fromkeys(both, events), "implicit": no_version}
    search.do("materialize", "--surface", "shop/search", *days)
    assert problems(search, 2) == {}
    edit(search, "      implicit: {}\n", "")
    assert problems(search, 2) == {}
    edit(search, "popularity: {}", "popularity: {top_n: 1}")
    assert problems(search, 2) == {}

    land_search(search.folder, -1)
    edit(search, "start_date: 2026-01-01", "start_date: 2025-12-31")
    assert problems(search, 0) == {}
    search.do(
        "materialize", "--surface", "shop/search", "--from", "2025-12-31", "--to", "2025-12-31"
    )
    assert problems(search, 0) == dict.fromkeys(both, events)
    assert problems(search, 1) == {}
    edit(search, "start_date: 2025-12-31", "start_date: 2026-01-02")
    assert problems(search, 1) == dict.fromkeys(both, events)
    assert problems(search, 2) == {}

    table = section("add-a-surface.md", "Change it later")
    assert all(f"`{said}`" in table for said in (no_version, events, head))


def test_a_surface_that_is_removed_leaves_what_the_page_says(search: Shop) -> None:
    days = ["--from", str(day(0)), "--to", str(day(0))]
    raw = search.folder / f"raw/shop/search/exposure.{day(0)}.jsonl"
    raw.write_text(raw.read_text() * 100 + "nonsense\n")  # 1 of 201 lines is refused
    search.do("materialize", "--surface", "shop/search", *days)
    root = search.folder / "var"
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    entry = (search.folder / "surfaces.yaml").read_text()
    edit(search, entry[entry.index("  - tenant: shop\n    surface: search") :], "")

    assert "shop/search" not in search.run("status").stdout
    assert search.run("show", "shop/search", "popularity").exit_code == 2

    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    found = sorted(str(path.relative_to(root)) for path in root.rglob("shop/search"))
    assert found == re.findall(r"^\w+\S*/shop/search$", page("add-a-surface.md"), re.MULTILINE)
    (search.folder / "surfaces.yaml").write_text(entry)
    assert search.run("show", "shop/search", "popularity").exit_code == 0


def test_a_renamed_surface_passes_over_lines_of_the_old_name(search: Shop) -> None:
    edit(search, "surface: search", "surface: find")
    land_search(search.folder, 0, surface="find", named="search")

    result = search.run(
        "materialize", "--surface", "shop/find", "--from", str(day(0)), "--to", str(day(0))
    )

    assert result.exit_code == 1
    assert example("add-a-surface.md", "printed: renamed").strip() in result.stderr
