"""The files around the code agree with each other: versions, changelog, CI, hooks."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

import recsys_assets
import recsys_assets_reader
from recsys_assets.demo.complete_journey import REQUIREMENT

ROOT: Final = Path(__file__).parents[1]
PYPROJECT: Final[dict[str, Any]] = tomllib.loads(
    (ROOT / "pyproject.toml").read_text(encoding="utf-8")
)


def text(name: str) -> str:
    """Return a file of the project."""
    return (ROOT / name).read_text(encoding="utf-8")


def released() -> list[tuple[str, date]]:
    """Return every version that the changelog has, and its day, in the order of the page."""
    found = re.findall(r"^## \[(\d[^\]]*)\] - (\S+)$", text("CHANGELOG.md"), re.MULTILINE)
    return [(version, date.fromisoformat(day)) for version, day in found]


def test_the_newest_entry_of_the_changelog_is_the_version_of_both_packages() -> None:
    assert released()[0][0] == recsys_assets.__version__ == recsys_assets_reader.__version__


def test_the_changelog_is_in_order_and_its_headings_are_versions() -> None:
    versions = [tuple(map(int, version.split("."))) for version, _ in released()]
    days = [day for _, day in released()]
    headings = re.findall(r"^## (.*)$", text("CHANGELOG.md"), re.MULTILINE)

    assert versions == sorted(set(versions), reverse=True)
    assert days == sorted(days, reverse=True)
    assert headings[0] == "[Unreleased]"
    assert len(headings) == len(versions) + 1


def test_the_version_stands_in_one_place() -> None:
    project = PYPROJECT["project"]
    assert project["dynamic"] == ["version"]
    assert "version" not in project
    assert PYPROJECT["tool"]["setuptools"]["dynamic"] == {
        "version": {"attr": "recsys_assets.__version__"}
    }
    written = [
        path
        for path in (ROOT / "recsys_assets").rglob("*.py")
        if f'"{recsys_assets.__version__}"' in path.read_text(encoding="utf-8")
    ]
    assert [path.name for path in written] == ["__init__.py"]


def test_the_package_imports_nothing_that_takes_time() -> None:
    """It is imported before everything else, and to read the version when it is built."""
    source = text("recsys_assets/__init__.py")
    assert re.findall(r"^\s*(?:import|from) (\S+)", source, re.MULTILINE) == ["os"]


def test_ci_runs_the_same_commands_everywhere() -> None:
    workflow = yaml.safe_load(text(".github/workflows/ci.yml"))
    steps = workflow["jobs"]["test"]["steps"]
    commands = re.findall(r"^make [a-z]+", text(".ci/run"), re.MULTILINE)

    assert commands == ["make lint", "make docs", "make test", "make sail"]
    assert [step["run"] for step in steps if "run" in step] == commands
    assert "env" not in workflow["jobs"]["test"]


def test_a_release_is_tried_as_a_commit_is_and_built_by_make_dist() -> None:
    """What cannot be run outside of the forge is only what uploads."""
    ci = yaml.safe_load(text(".github/workflows/ci.yml"))
    release = yaml.safe_load(text(".github/workflows/release.yml"))
    jobs = release["jobs"]
    needs = {name: job.get("needs") for name, job in jobs.items()}
    rights = {name: job["permissions"] for name, job in jobs.items() if "permissions" in job}

    assert "workflow_call" in ci[True]  # `on`, to YAML 1.1
    assert release[True] == {"push": {"tags": ["v*"]}}
    assert jobs["test"] == {"uses": "./.github/workflows/ci.yml"}
    assert needs == {"test": None, "build": "test", "publish": "build", "release": "publish"}
    runs = [step for step in jobs["build"]["steps"] if "run" in step]
    assert runs == [{"run": "make dist", "env": {"TAG": "${{ github.ref_name }}"}}]
    assert [step.keys() & {"run"} for step in jobs["publish"]["steps"]] == [set(), set()]
    assert (release["permissions"], rights) == (
        {"contents": "read"},
        {"publish": {"id-token": "write"}, "release": {"contents": "write"}},
    )
    assert "secrets." not in text(".github/workflows/release.yml")


def test_what_others_wrote_is_used_at_a_version_that_is_named() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        used = re.findall(r"uses: (?!\./)(\S+)", path.read_text(encoding="utf-8"))
        assert used
        assert [each for each in used if not re.search(r"@v\d+(\.\d+)*$", each)] == []


def test_what_makes_a_release_is_pinned() -> None:
    lines = [line for line in text(".ci/release-tools.txt").splitlines() if line[0] != "#"]
    names = {line.split("==")[0] for line in lines}

    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert names >= {"build", "check-jsonschema", "cyclonedx-bom", "setuptools", "twine"}


def test_the_data_of_the_demo_is_one_version_everywhere() -> None:
    assert PYPROJECT["project"]["optional-dependencies"]["demo"] == [REQUIREMENT]
    assert f"--no-deps {REQUIREMENT}\n" in text("Makefile")


def test_every_python_that_is_supported_is_tried() -> None:
    workflow = yaml.safe_load(text(".github/workflows/ci.yml"))
    tried = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    classifiers = " ".join(PYPROJECT["project"]["classifiers"])

    assert re.findall(r"Python :: (3\.\d+)", classifiers) == tried
    assert PYPROJECT["project"]["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info < (3, 14)" in text("Makefile")
    assert tried == ["3.11", "3.12", "3.13"]


def test_the_hooks_run_what_lint_runs_with_the_same_tools_and_download_nothing() -> None:
    (repository,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    hooks = repository["hooks"]
    lint = text("Makefile").split("\nlint:")[1].split("\n\n")[0]
    tools = re.findall(r"^\t\$\(BIN\)/(\w+(?: (?:format|check))?)", lint, re.MULTILINE)

    assert repository["repo"] == "local"
    assert {hook["language"] for hook in hooks} == {"system"}
    assert tools == ["ruff format", "ruff check", "mypy"]
    assert [
        hook["entry"].removeprefix(".venv/bin/").removesuffix(" --force-exclude") for hook in hooks
    ] == tools


def test_the_pins_say_when_they_were_taken() -> None:
    header = text("constraints.txt").split("\n", 1)[0]
    (day,) = re.findall(r"taken on (\d{4}-\d\d-\d\d)", header)
    assert date.fromisoformat(day) <= date.today()


@pytest.mark.parametrize(
    "requirement",
    [
        *PYPROJECT["project"]["dependencies"],
        *PYPROJECT["project"]["optional-dependencies"]["dev"],
        *PYPROJECT["project"]["optional-dependencies"]["docs"],
        *PYPROJECT["project"]["optional-dependencies"]["postgres"],
        *PYPROJECT["project"]["optional-dependencies"]["postgres-source"],
        *PYPROJECT["project"]["optional-dependencies"]["postgres-sink"],
        *PYPROJECT["project"]["optional-dependencies"]["redis-sink"],
        *PYPROJECT["project"]["optional-dependencies"]["kubernetes"],
    ],
)
def test_every_dependency_is_pinned(requirement: str) -> None:
    name = re.split(r"[<>=\[]", requirement)[0].lower().replace("-", "_")
    pinned = {
        line.split("==")[0].lower().replace("-", "_")
        for line in text("constraints.txt").split("\n")
    }
    assert name in pinned


def test_a_benchmark_that_needs_the_servers_of_the_tests_finds_them() -> None:
    """They are in no distribution: the script itself says where they are."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("benchmarks/*.py")}
    needing = {name for name, text in texts.items() if "recsys_assets_tests" in text}

    assert needing
    assert {name for name in needing if "Path(__file__).parents[1]" not in texts[name]} == set()
