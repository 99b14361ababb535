"""What a surface would read: counted as its source lists it, and nothing is written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from recsys_assets.events.sources.files import Files
from recsys_assets.live.inputs import inputs_of, problem_of_root
from recsys_assets_tests.project import Project, day, event

NOW = datetime(2026, 1, 3, 5, tzinfo=UTC)  # the day before is the second of the project


def test_files_and_bytes_are_those_that_the_source_gives(project: Project) -> None:
    surface = project.configure().surfaces[0]
    paths = [project.land(day(1), [event("a", of=day(1))], part=part) for part in ("", ".2")]
    project.land(day(1), ["half"], part=".3").rename(paths[0].with_suffix(".tmp"))

    found = inputs_of(surface, now=NOW)

    assert (found.day, found.files) == (day(1), 2)
    assert found.size_bytes == sum(path.stat().st_size for path in paths)
    assert found.catalog_items == 2
    assert (found.hint, found.problems) == (None, [])


def test_a_file_that_cannot_be_opened_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    surface = project.configure().surfaces[0]
    path = project.land(day(1), [event("a", of=day(1))])
    monkeypatch.setattr(Files, "size_bytes", lambda *_: None)

    found = inputs_of(surface, now=NOW)

    assert found.files == 0
    assert found.problems == [f"{path} cannot be opened"]
    assert found.hint is None  # it is there


def test_a_surface_without_a_catalog_reads_none(project: Project) -> None:
    surface = project.configure({"catalog": None, "artifacts": {"popularity": {}}}).surfaces[0]

    found = inputs_of(surface, now=NOW)

    assert (found.catalog_items, found.problems) == (None, [])
    assert found.hint is not None
    assert found.hint.endswith("; the newest day with files is: none")


def test_a_root_is_no_problem_where_it_could_be_made(project: Project, tmp_path: Path) -> None:
    surface = project.configure().surfaces[0]
    (tmp_path / "file").write_text("")

    assert problem_of_root(str(tmp_path / "new/below/it"), surface) is None
    assert not (tmp_path / "new").exists()
    problem = problem_of_root(str(tmp_path / "file/below"), surface)
    assert problem is not None
    assert "Not a directory" in problem
