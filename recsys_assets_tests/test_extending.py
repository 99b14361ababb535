"""The pages on extending the project are followed: their changes are made in a copy and tried.

With `extended` in $RECSYS_REQUIRE, as in CI, the whole suite runs in a copy in which every page was
followed.
"""

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

from recsys_assets.audit.candidates import audit_candidate
from recsys_assets.config import load_config
from recsys_assets.definitions import build_definitions
from recsys_assets.events.accepted import accepted_days
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.project import DAY, day
from recsys_assets_tests.test_docs import (
    DOCS,
    EXAMPLE,
    ROOT,
    Shop,
    example,
    page,
    section,
    steps,
)
from recsys_assets_tests.test_followed import write_example

GUIDES: Final = Path(__file__).with_name("guides")
KIND, CHECK, SOURCE, FIELD, SINK = (
    "add-an-artifact-kind.md",
    "add-a-check.md",
    "add-a-source.md",
    "add-an-event-field.md",
    "add-a-sink.md",
)
# A kind that is added before the one of the page; it is no part of the documentation.
FURTHER_KIND: Final = "closeness.md"
# What a copy is made without: what is made anew, and what takes long and has nothing to do with it.
# What Python and pytest have compiled is taken along, for the files that are not changed.
_LEFT_OUT: Final = shutil.ignore_patterns(
    ".*cache",
    "*.pyc.*",  # which is being written
    ".venv",
    ".git",
    ".dagster",
    ".site",
    "var",
    "*.egg-info",
    ".hypothesis",
)


def guide(name: str) -> str:
    """Return a page of docs/, or one that is there for these tests alone."""
    file = GUIDES / name
    return file.read_text(encoding="utf-8") if file.exists() else page(name)


def parts(text: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the changed and the new files of a page, each with its path."""
    flags = re.DOTALL | re.MULTILINE
    changes = re.findall(r"^```diff\n--- (\S+)\n(.*?)^```", text, flags)
    return changes, re.findall(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```", text, flags)


def change(folder: Path, name: str) -> None:
    """Make every change and every new file of a page below a folder."""
    text = guide(name)
    changes, files = parts(text)
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


def extended(folder: Path, *names: str) -> Path:
    """Copy the project and the example of `run-locally.md`, and extend them as pages say."""
    shutil.copytree(ROOT, folder, ignore=_LEFT_OUT, dirs_exist_ok=True)
    write_example(folder)
    for name in names:
        change(folder, name)
    write_tables(folder)
    return folder


def write_tables(folder: Path) -> None:
    """Write the tables of the documentation anew, as each page says in the end."""
    run(folder, "-m", "recsys_assets_tests.test_docs")


def run(copy: Path, *arguments: str, timeout_s: float = 600) -> str:
    """Run Python in a copy, with the modules of the copy, and return what it printed."""
    left_out = {"RECSYS_REQUIRE", "RECSYS_CONFIG", "RECSYS_ROOT", "DAGSTER_HOME"}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    found = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**kept, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def run_tests(copy: Path, *selected: str, timeout_s: float = 600) -> None:
    """Run tests of a copy."""
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *selected)
    run(copy, *arguments, timeout_s=timeout_s)


def below(*files: str) -> list[str]:
    return [f"recsys_assets_tests/{file}" for file in files]


# What shows within seconds that an extended copy hangs together; the whole suite runs in CI.
OWED: Final = below("defs/test_definitions.py", "test_layers.py")
# What is tried of the pages in a copy, besides their own tests.
TRIED: Final = (
    "test_reach_is_built_shown_traced_compared_and_held_to_its_contract",
    "test_a_day_whose_known_users_are_few_is_published_with_a_warning",
    "test_a_day_that_one_item_has_most_of_is_refused",
    "test_a_day_of_a_log_is_published_and_traced_to_its_lines",
)
# What none of them could turn red, and takes minutes: these name the kinds and the source that they
# try, and are about something else. Whatever goes by a table of kinds, checks or sources runs, and
# where that is some of a file, they are below.
APART: Final = below(
    "test_cloud.py",
    "test_delivered_story.py",
    "test_deploy.py",
    "test_deploy_pages.py",
    "test_extending.py",
    "test_followed.py",
    "test_golden.py",
    "test_hostile.py",
    "test_how_to.py",
    "test_installed.py",
    "test_instances.py",
    "test_kubernetes.py",
    "test_machines.py",
    "test_monitoring.py",
    "test_needed.py",
    "test_online_service.py",
    "test_order.py",
    "test_proxy.py",
    "test_site.py",
    "test_stored.py",
    "test_tooling.py",
    "audit/test_calibration.py",
    "audit/test_gates.py",
    "audit/test_release_gates.py",
    "audit/test_trusted_days.py",
    "cli/test_changing.py",
    "cli/test_days.py",
    "cli/test_demo.py",
    "cli/test_erasing.py",
    "cli/test_experiment.py",
    "cli/test_main.py",
    "cli/test_postgres.py",
    "cli/test_promoting.py",
    "cli/test_stopping.py",
    "cli/test_variants.py",
    "compute/test_day_counts.py",
    "compute/test_faults.py",
    "compute/test_left_out.py",
    "config/test_strict_yaml.py",
    "defs/test_batches.py",
    "defs/test_catalog_gate.py",
    "defs/test_days_around.py",
    "defs/test_erase.py",
    "defs/test_erased_days.py",
    "defs/test_event_log.py",
    "defs/test_failures.py",
    "defs/test_foreign_text.py",
    "defs/test_forked_runs.py",
    "defs/test_freshness.py",
    "defs/test_gates.py",
    "defs/test_instance.py",
    "defs/test_internals.py",
    "defs/test_jobs.py",
    "defs/test_jobs_on_s3.py",
    "defs/test_left_out.py",
    "defs/test_live.py",
    "defs/test_lost_retries.py",
    "defs/test_materialize.py",
    "defs/test_postgres.py",
    "defs/test_release_gates.py",
    "defs/test_reported_between_looks.py",
    "defs/test_sensors.py",
    "defs/test_sensors_of_variants.py",
    "defs/test_sessions.py",
    "defs/test_shown_ids.py",
    "defs/test_side_by_side.py",
    "defs/test_stopping.py",
    "defs/test_variants.py",
    "defs/test_write_audit_publish.py",
    "demo",
    "engines/test_duckdb.py",
    "engines/test_duckdb_fails.py",
    "events/test_around.py",
    "events/test_catalog.py",
    "events/test_compression.py",
    "events/test_days.py",
    "events/test_files.py",
    "events/test_mapping.py",
    "events/test_parse.py",
    "events/test_postgres.py",
    "events/test_processes.py",
    "events/test_provenance.py",
    "events/test_redelivered.py",
    "events/test_rows.py",
    "events/test_sessions.py",
    "events/test_sources_agree.py",
    "events/test_tables.py",
    "experiments",
    "live/test_gate_figures.py",
    "live/test_latency.py",
    "live/test_verify.py",
    "operations",
    "reader/test_serve.py",
    "reader/test_stores.py",
    "sinks",
    "storage",
    "ui",
)
OF_TABLES: Final = below(
    "audit/test_release_gates.py::TestOutlines::test_one_that_is_missing_or_damaged_is_made_again",
    "defs/test_left_out.py::TestArtifacts",
    "defs/test_sensors.py::TestArrival::test_landed_days_are_made_whole_and_once",
    "defs/test_sensors_of_variants.py"
    "::test_landed_days_are_asked_for_once_the_base_has_their_events",
    "defs/test_side_by_side.py::test_the_kinds_of_a_day_are_computed_side_by_side",
    "defs/test_variants.py::TestGraph",
    "defs/test_variants.py::TestDays"
    "::test_a_window_of_a_variant_counts_what_one_of_a_surface_counts",
    "defs/test_write_audit_publish.py::TestForgottenChecks",
    "defs/test_write_audit_publish.py"
    "::test_a_step_that_cannot_succeed_is_skipped_and_nothing_is_tried_again",
    "operations/test_erase.py::test_going_back_across_it_is_refused_and_names_it",
    "operations/test_publish.py::TestChanges::test_the_first_day_has_nothing_to_be_compared_with",
)
OF_DOCS: Final = "generated or checks or asset_pages or link or runbook or refusal or model"


@pytest.mark.extended
def test_an_artifact_kind_can_be_added_where_none_was(tmp_path: Path) -> None:
    copy = extended(tmp_path, KIND)

    tests = below("test_kinds.py", "compute/test_reach.py", "extended.py")
    run_tests(copy, "-k", "kind or reach", *tests)


@pytest.mark.long
def test_a_kind_a_check_a_source_and_a_sink_can_be_added_where_others_were(tmp_path: Path) -> None:
    copy = extended(tmp_path, FURTHER_KIND, KIND, CHECK)
    *of_lines, of_log = (f"recsys_assets_tests/extended.py::{name}" for name in TRIED)
    run_tests(copy, *of_lines)

    change(copy, SINK)
    change(copy, SOURCE)  # whose example reads no JSON lines any more
    write_tables(copy)
    new = below("compute/test_reach.py", "audit/test_known_users.py", "events/test_log.py")
    run_tests(copy, *OWED, *new, of_log)
    run_tests(copy, "-k", "sqlite", *below("sinks/test_sinks.py"))
    run_tests(copy, "-k", OF_DOCS, *below("test_docs.py"))


@pytest.mark.long
def test_an_event_field_can_be_added_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day is stored before, by the project as it is, and is in the window of the next one."""
    copy = extended(tmp_path, FIELD)
    file = tmp_path / "surfaces.yaml"
    text = file.read_text(encoding="utf-8").replace("source:", "window_days: 2\n    source:")
    file.write_text(text, encoding="utf-8")
    before = Shop(tmp_path)
    before.enter(monkeypatch)
    before.do("materialize", "--from", str(DAY), "--to", str(DAY))

    run_tests(copy, "-k", "device", *below("extended.py"))
    of_events = below("test_contracts.py", "events/test_parse.py", "test_kinds.py")
    run_tests(copy, "-k", "device or canonical or a_few_lines or kind", *of_events)


@pytest.mark.extended
def test_the_whole_suite_is_green_when_every_page_was_followed(tmp_path: Path) -> None:
    """But for what stands apart, it takes about as long as a sixth of the suite.

    In one process: what runs beside it waits for a browser, and not for ever.
    """
    copy = extended(tmp_path, FURTHER_KIND, KIND, CHECK, SOURCE, SINK)
    tests = [str(file.relative_to(copy)) for file in copy.rglob("recsys_assets_tests/**/test_*.py")]
    together = [file for file in tests if not file.startswith(tuple(APART))]

    run_tests(copy, *sorted(together), *OF_TABLES, timeout_s=2400)


def touched(name: str) -> dict[str, int]:
    """Return the files of the product that a page changes or adds, with their added lines."""
    changes, files = parts(guide(name))
    found = {path: len(re.findall(r"^\+", hunks, re.MULTILINE)) for path, hunks in changes}
    found |= {path: len(whole.splitlines()) for path, whole in files}
    return {path: lines for path, lines in found.items() if path.startswith("recsys_assets/")}


@pytest.mark.parametrize(
    ("name", "files"),
    [
        (KIND, ["config/options.py", "compute/reach.py", "contracts.py", "kinds.py"]),
        (CHECK, ["audit/checks.py", "config/surface.py"]),
        (SOURCE, ["config/sources.py", "events/sources/log.py"]),
        (SINK, ["config/sinks.py", "sinks/sqlite.py"]),
    ],
)
def test_what_extending_touches_is_counted_in_the_decisions(name: str, files: list[str]) -> None:
    counted = (DOCS / "decisions/rooms-for-growth.md").read_text(encoding="utf-8")

    assert set(touched(name)) == {f"recsys_assets/{file}" for file in files}
    for path, lines in touched(name).items():
        assert f"`{path}`, {_lines(lines)}" in counted, f"{name}: {path} adds {lines}"


def _lines(number: int) -> str:
    return "1 line" if number == 1 else f"{number} lines"


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
    accepted = accepted_days(store, surface.place, surface.days_of_window(day(number)))
    verdict = audit_candidate(store, surface, day(number), accepted).verdicts["publishable"]
    return {row["kind"]: row["problem"].partition(":")[0] for row in verdict.rows}


@pytest.mark.slow
def test_a_surface_can_be_added_as_the_page_says(search: Shop) -> None:
    shutil.rmtree(search.folder / "raw/shop/search")  # the page lands it
    shutil.copytree(EXAMPLE / "landed_search", search.folder / "landed_search")
    for step in steps("add-a-surface.md", "run: add a surface"):
        _, *arguments = step.command.split()
        if arguments[0] == "status":  # its state depends on the day it is today
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
    assert problems(search, 0) == problems(search, 1) == {}
    edit(search, "start_date: 2025-12-31", "start_date: 2026-01-02")
    assert problems(search, 1) == dict.fromkeys(both, events)
    assert problems(search, 2) == {}

    table = section("add-a-surface.md", "Change it later")
    assert all(f"`{said}`" in table for said in (no_version, events, head))


def test_a_surface_that_is_removed_leaves_what_the_page_says(search: Shop) -> None:
    days = ["--from", str(day(0)), "--to", str(day(0))]
    raw = search.folder / f"raw/shop/search/exposure.{day(0)}.jsonl"
    raw.write_text(raw.read_text() * 100 + "nonsense\n")  # 1 of 201 lines is refused
    edit(search, "surface: search", "surface: search\n    window_days: 2")
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


@pytest.mark.slow
def test_a_variant_can_be_tried_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(shutil.copytree(EXAMPLE, tmp_path / "shop"))
    shop.enter(monkeypatch)
    shop.do("materialize", "--from", str(day(0)), "--to", str(day(2)))
    change(shop.folder, "variants.md")

    for step in steps("variants.md", "run: variants"):
        shop.follow(step)

    left = {path.parents[1].name for path in (shop.folder / "var").rglob("shop/home_3days")}
    assert left.isdisjoint({"canonical", "counts", "rejected"})
    repository = build_definitions(load_config()).get_repository_def()
    for name in ("shop__home_3days_materialize", "shop__home_landing"):
        assert f"`{name}`" in page("variants.md")
        assert repository.has_sensor_def(name)
    assert "`shop__home_daily`" in page("variants.md")
    assert not repository.has_schedule_def("shop__home_3days_daily")
