"""The same versions as the reference system, through the whole of the project.

golden/ holds the cases that may be copied here. The others are read from the folder `shared`
beside the project, which a clone does not have: their tests are then skipped and say so, or
fail where they are required.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.demo.complete_journey import write_raw_events
from recsys_assets_tests.needed import skip_unless_required
from recsys_assets_tests.project import Project, expected_versions, golden_surface

GOLDEN = Path(__file__).with_name("golden")
SHARED = Path(__file__).parents[2] / "shared"


def load_case(folder: Path, name: str) -> dict[str, Any]:
    cases: list[dict[str, Any]] = json.loads((folder / "cases.json").read_text())
    (case,) = [case for case in cases if case["name"] == name]
    return case


@pytest.fixture
def shared() -> Path:
    if not (SHARED / "conformance" / "cases.json").is_file():
        skip_unless_required(
            "shared",
            f"{SHARED}/conformance is absent: it holds the reference system's own fixtures, which "
            "may not be copied into this project, and the generator of the million events",
        )
    return SHARED


def check_case(
    project: Project, case: dict[str, Any], raw: Path, folder: Path, **members: Any
) -> None:
    catalog = folder / case["catalog"] if case["catalog"] else None
    config = project.configure(golden_surface(case, raw, catalog) | members)
    expected = expected_versions(case)
    days = sorted({day for day, _ in expected})

    report = project.materialize(config, days)

    assert report.failures == []
    actual = {
        (day, kind): report.metadata[day][kind]["version"]
        for day in days
        for kind in case["artifacts"]
        if (day, kind) in expected
    }
    assert actual == expected
    for day, kind in expected:
        path = folder / case["name"] / "expected" / str(day) / f"{kind}.json"
        if path.exists():
            check_document(path, report.metadata[day][kind]["dagster/uri"])


def check_document(expected_file: Path, uri: str) -> None:
    expected = json.loads(expected_file.read_text())
    actual = json.loads(Path(uri.removeprefix("file://")).read_bytes())
    assert list(actual) == list(expected)
    assert actual.pop("build")["version"] == expected.pop("build")["version"]
    assert actual == expected


@pytest.mark.parametrize("name", ["exotic", "exotic_support2", "synth20k"])
def test_the_cases_of_this_project_give_the_reference_versions(project: Project, name: str) -> None:
    case = load_case(GOLDEN, name)
    check_case(project, case, GOLDEN / case["raw"], GOLDEN)


@pytest.mark.long
def test_ninety_days_of_real_baskets_give_the_reference_versions(project: Project) -> None:
    case = load_case(GOLDEN, "complete_journey")
    raw = project.folder / "raw"
    write_raw_events(raw, [date.fromisoformat(day) for day in case["expected"]])

    check_case(project, case, raw, GOLDEN)


@pytest.mark.shared
def test_the_cases_of_this_project_are_those_of_the_reference(shared: Path) -> None:
    """Copies go stale: versions, limits and catalogs here are compared with where they are from."""
    for case in json.loads((GOLDEN / "cases.json").read_text()):
        assert case == load_case(shared / "conformance", case["name"])
        if case["catalog"]:
            original = shared / "conformance" / case["catalog"]
            assert (GOLDEN / case["catalog"]).read_bytes() == original.read_bytes()


@pytest.mark.shared
@pytest.mark.parametrize("name", ["tiny", "ecommerce_mini"])
def test_the_fixtures_of_the_reference_give_the_reference_versions(
    project: Project, shared: Path, name: str
) -> None:
    folder = shared / "conformance"
    case = load_case(folder, name)
    check_case(project, case, folder / case["raw"], folder)


@pytest.mark.shared
@pytest.mark.long
def test_a_million_generated_events_give_the_reference_versions(
    project: Project, shared: Path
) -> None:
    case = load_case(shared / "conformance", "synth1m")
    raw = project.folder / "raw"
    (day,) = case["expected"]
    script, _, *arguments = case["generate"].split()
    out = raw / f"demo/home/exposure.{day}.jsonl"
    subprocess.run([sys.executable, str(shared / script), str(out), *arguments], check=True)

    check_case(project, case, raw, shared / "conformance")
