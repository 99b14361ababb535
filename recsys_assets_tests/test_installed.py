"""The project as people install it: a wheel, among other packages, without the repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest
import yaml

import recsys_assets
from recsys_assets_tests.needed import skip_unless_required
from recsys_assets_tests.reader.published import EXAMPLES, Published

ROOT: Final = Path(__file__).parents[1]
READER: Final = "recsys_assets_reader"
PROJECT: Final = ("LICENSE", "pyproject.toml")
COMMITTED: Final = datetime(2026, 11, 26, 12, tzinfo=UTC)
PIP: Final = (sys.executable, "-m", "pip", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a Python that has what makes a release."""
    folder = tmp_path_factory.mktemp("tools")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin/python"
    requirements = ("--quiet", "--no-compile", "pip", "-r", ROOT / ".ci/release-tools.txt")
    got = subprocess.run(
        [*PIP, "--python", python, "install", *requirements],
        capture_output=True,
        text=True,
        check=False,
    )
    if got.returncode:
        skip_unless_required("wheel", f"what builds wheels cannot be had: {got.stderr[-300:]}")
    return python


@dataclass(frozen=True)
class Release:
    """A clone of the project, and what `make dist` does there."""

    folder: Path
    tools: Path

    def commit(self) -> None:
        by = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
        for command in (("init", "-q"), ("add", "-A"), (*by, "commit", "-q", "-m", "A release")):
            subprocess.run(["git", *command], cwd=self.folder, env=self.environment(), check=True)

    def environment(self, **more: str) -> dict[str, str]:
        outside = {name: of for name, of in os.environ.items() if not name.startswith("GIT_")}
        at = COMMITTED.isoformat()
        return outside | {"GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at} | more

    def make(self, script: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / ".ci" / script, self.tools],
            env=self.environment(**more),
            capture_output=True,
            text=True,
            check=False,
        )

    def replace(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new, 1))
        self.commit()


def committed_copy(folder: Path, tools: Path) -> Release:
    """Copy what is built, as it is here, and commit it."""
    for package in ("recsys_assets", READER):
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__py*", "build")
        )
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    release = Release(folder, tools)
    release.commit()
    return release


@pytest.fixture(scope="module")
def release(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return committed_copy(tmp_path_factory.mktemp("release") / "project", tools)


@pytest.fixture(scope="module")
def wheels(release: Release) -> Path:
    """Build both projects as a release does; return the folder of what is uploaded."""
    done = release.make("dist")
    assert done.returncode == 0, done.stderr
    return release.folder / "dist"


def install(wheels: Path, package: str) -> Path:
    (wheel,) = wheels.glob(f"{package}-*.whl")
    target = wheels.parent.with_name(f"installed-{package}")
    subprocess.run(
        [*PIP, "install", "--no-deps", "--no-index", "--target", target, wheel],
        capture_output=True,
        check=True,
    )
    return target


@pytest.fixture(scope="module")
def installed(wheels: Path) -> Path:
    """Install the project's own wheel into a folder."""
    return install(wheels, "recsys_assets")


def start(installed: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: of for name, of in os.environ.items() if not name.startswith("RECSYS_")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(installed), "DAGSTER_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_without_a_configuration_it_says_how_to_make_one(installed: Path, tmp_path: Path) -> None:
    """Never the demo, whose root would be a folder among the installed packages."""
    before = sorted(installed.parent.rglob("*.yaml"))

    status = start(installed, tmp_path, "-m", "recsys_assets.cli", "status")
    code = "from recsys_assets.definitions import defs; defs()"
    loaded = start(installed, tmp_path, "-c", code)

    assert (status.returncode, status.stdout) == (2, "")
    assert status.stderr.startswith(
        "Error: there is no configuration: $RECSYS_CONFIG is not set. Write a file surfaces.yaml"
    )
    assert loaded.returncode == 1
    assert "DagsterInvalidDefinitionError: there is no configuration" in loaded.stderr
    assert sorted(installed.parent.rglob("*.yaml")) == before
    example = yaml.safe_load(status.stderr.partition("\n\n")[2])
    example |= {"root": "var", "surfaces": [example["surfaces"][0] | {"source": {"path": "raw"}}]}
    (tmp_path / "surfaces.yaml").write_text(yaml.safe_dump(example))
    named = start(
        installed, tmp_path, "-m", "recsys_assets.cli", "--config", "surfaces.yaml", "status"
    )
    assert named.returncode == 1, named.stderr  # nothing is live
    assert "shop/home" in named.stdout


@pytest.mark.slow
def test_each_wheel_has_its_own_package_and_nothing_of_the_other(wheels: Path) -> None:
    for package in ("recsys_assets", READER):
        (wheel,) = wheels.glob(f"{package}-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()

        tops = {name.partition("/")[0] for name in names}
        assert tops == {package, wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"}
        assert any(name.endswith("licenses/LICENSE") for name in names)
        # All that is committed, but for what makes the reader a project.
        written = committed(package) - {f"{READER}/{name}" for name in ("README.md", *PROJECT)}
        assert {name for name in names if name.startswith(f"{package}/")} == written


def committed(package: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", package],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(listed.stdout.split())


@pytest.mark.slow
def test_an_sdist_has_what_its_wheel_has_and_what_makes_a_project(wheels: Path) -> None:
    for package in ("recsys_assets", READER):
        (sdist,) = wheels.glob(f"{package}-*.tar.gz")
        with tarfile.open(sdist) as archive:
            members = archive.getmembers()

        names = {member.name.partition("/")[2] for member in members if member.isfile()}
        prefix = f"{package}/" if package == READER else ""
        made = {"PKG-INFO", "setup.cfg"} | {
            name for name in names if name.startswith(f"{package}.egg-info/")
        }
        wanted = {name.removeprefix(prefix) for name in committed(package)}
        assert names - made == wanted | {"README.md", *PROJECT}
        assert {(member.uid, member.mtime) for member in members} == {(0, COMMITTED.timestamp())}
        assert {oct(member.mode) for member in members if member.isfile()} <= {"0o644", "0o755"}


@pytest.mark.long
def test_the_same_commit_gives_the_same_bytes(
    release: Release, wheels: Path, tmp_path: Path
) -> None:
    """Whenever it is built, by whom, with what rights, and what lies beside it."""
    clone = Release(tmp_path / "clone", release.tools)
    before = os.umask(0o077)
    try:
        subprocess.run(["git", "clone", "-q", release.folder, clone.folder], check=True)
    finally:
        os.umask(before)
    (clone.folder / "recsys_assets/left_over.py").touch()

    done = clone.make("dist")

    assert done.returncode == 0, done.stderr
    assert "Not committed, so not in it:\n?? recsys_assets/left_over.py" in done.stderr
    first, second = (
        {path.name: path.read_bytes() for path in folder.iterdir()}
        for folder in (wheels, clone.folder / "dist")
    )
    assert {name for name in first if first[name] != second.get(name)} == set()
    assert len(first) == len(second) == 5


@pytest.mark.slow
def test_what_does_not_fit_together_is_no_release(tools: Path, tmp_path: Path) -> None:
    """Told before anything is built."""
    release = committed_copy(tmp_path / "project", tools)
    number = recsys_assets.__version__

    def refused(**more: str) -> str:
        done = release.make("dist", **more)
        assert done.returncode == 1, done.stdout
        assert not (release.folder / "dist").exists()
        return done.stderr.removeprefix("Error: ")

    release.replace("CHANGELOG.md", "## [Unreleased]\n", "## [Unreleased]\n\n- Something.\n")
    assert refused(TAG="v9.9.9").startswith("the tag is v9.9.9, and recsys_assets/__init__.py says")
    assert refused(TAG=f"v{number}").startswith("CHANGELOG.md has changes below [Unreleased]")
    release.replace("recsys_assets/__init__.py", f'"{number}"', '"9.9.9"')
    assert refused().startswith(f"recsys_assets is 9.9.9, recsys_assets_reader {number}: one rel")
    release.replace(f"{READER}/__init__.py", f'"{number}"', '"9.9.9"')
    assert refused().startswith("CHANGELOG.md says nothing below a heading ## [9.9.9]")


@pytest.mark.slow
def test_a_wheel_is_listed_with_what_it_is_installed_with_and_all_is_summed(
    release: Release, wheels: Path
) -> None:
    """That of the reader alone: the other installs ninety packages."""
    aside = wheels.with_name("aside")
    aside.mkdir()
    for path in wheels.glob("recsys_assets-*"):
        path.rename(aside / path.name)
    try:
        done = release.make("sbom")
        made = {path.name: path.read_bytes() for path in wheels.iterdir()}
    finally:
        for path in aside.iterdir():
            path.rename(wheels / path.name)

    assert done.returncode == 0, done.stderr
    listed = json.loads(made[f"{READER}-{recsys_assets.__version__}.cdx.json"])
    assert listed["bomFormat"] == "CycloneDX"
    pins = dict(line.split("==") for line in listed_pins())
    found = {each["name"]: each["version"] for each in listed["components"]}
    assert found.pop("recsys-assets-reader") == recsys_assets.__version__
    assert found["obstore"] == pins["obstore"]
    assert found.items() <= pins.items()
    sums = dict(line.split("  ")[::-1] for line in made.pop("SHA256SUMS").decode().splitlines())
    del made["NOTES.md"]
    assert sums == {name: sha256(content).hexdigest() for name, content in made.items()}


def listed_pins() -> list[str]:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.slow
def test_the_workflows_are_what_their_schema_allows(tools: Path) -> None:
    done = subprocess.run(
        [
            tools.with_name("check-jsonschema"),
            *("--builtin-schema", "vendor.github-workflows"),
            *(ROOT / ".github/workflows").glob("*.yml"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_reader_works_where_nothing_else_is_installed(wheels: Path, tmp_path: Path) -> None:
    target = install(wheels, READER)
    published = Published(str(tmp_path / "root"))
    published.day(1, EXAMPLES)
    code = f"""
import sys
for name in ("recsys_assets", "dagster", "polars", "numpy", "pyarrow", "obstore"):
    sys.modules[name] = None  # as if it were absent
import recsys_assets_reader
assert recsys_assets_reader.__file__.startswith({str(target)!r})
with recsys_assets_reader.open({published.root!r}, "shop/home") as reader:
    print(reader.neighbours("tea"))
"""

    done = start(target, tmp_path, "-c", code)

    assert done.stdout == "[Scored(item_id='cup', score=2)]\n", done.stderr
