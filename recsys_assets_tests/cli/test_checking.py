"""The commands that check: what would be read, and whether what was published is whole."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from recsys_assets import definitions
from recsys_assets.config import Config
from recsys_assets_tests.cli.conftest import (
    NAME,
    SMALL,
    done,
    land,
    refused,
    rows,
    run,
    wrong,
)
from recsys_assets_tests.project import CATALOG, Project, day, event
from recsys_assets_tests.shop import Shop, on
from recsys_assets_tests.storage.conftest import use
from recsys_assets_tests.storage.servers import Server

ENDED = {"end_date": day(2)}


@pytest.mark.usefixtures("nothing_is_started")
class TestCheck:
    """`check`; it writes nothing."""

    def test_it_says_what_each_surface_would_read_for_its_newest_day(
        self, project: Project
    ) -> None:
        config = project.configure(ENDED, SMALL | ENDED | {"surface": "void", "catalog": None})
        paths = [
            project.land(day(1), [event("a", of=day(1))]),
            project.land(day(1), [event("b", of=day(1))] * 3, part=".2"),
        ]
        land(project, 0)

        result = done(run("check"))

        size = sum(path.stat().st_size for path in paths)
        items = CATALOG.count("\n") - 1
        assert rows(result) == [
            ["demo/home", "ready", "2026-01-02", "2", f"{size:,}", str(items)],
            ["demo/void", "no files", "2026-01-02", "0", "0", ""],
        ]
        assert f"configuration: {project.config_file}\n" in result.stdout
        assert f"\nroot: {project.folder}/var\n" in result.stdout
        graph = definitions.build_definitions(config).resolve_asset_graph()
        assert f"\ndefinitions: {len(graph.get_all_asset_keys())} assets, " in result.stdout
        assert result.stderr == ""
        assert result.stdout.endswith(
            "demo/void: no raw file matches 'demo/void/exposure.2026-01-02*.jsonl*' below "
            f"{project.folder}/raw; the newest day with files is: none\n"
        )

    def test_the_newest_day_that_has_landed_is_told(self, project: Project) -> None:
        project.configure(ENDED)
        land(project, 0)

        result = done(run("check", "--surface", NAME))

        assert "; the newest day with files is: 2026-01-01\n" in result.stdout

    def test_a_session_that_is_yet_to_be_built_is_empty(self, project: Project) -> None:
        project.configure({**ENDED, "source": {"path": "raw", "sessions": {"gap_minutes": 30}}})
        without = {name: of for name, of in event("a").items() if name != "session_id"}
        project.land(day(0), [without, event("b")])

        shown = done(run("check", "--surface", NAME)).stdout.partition("first rows")[2]

        assert re.findall(r"(s1|) *│ ([ab]) ", shown) == [("", "a"), ("s1", "b")]

    def test_before_the_first_day_is_over_nothing_is_missing(self, project: Project) -> None:
        start = datetime.now(UTC).date() + timedelta(days=2)
        project.configure(SMALL | {"start_date": start, "end_date": None})

        result = done(run("check"))

        assert rows(result)[0][:4] == ["demo/home", "no day is over yet", "", "0"]

    def test_json_has_it_all(self, project: Project) -> None:
        project.configure(ENDED, {**ENDED, "surface": "gone", "source": {"path": "nowhere"}})
        land(project, 0)

        result = run("check", "--json")

        found = json.loads(result.stdout)
        assert result.exit_code == 1
        assert found["configuration"] == str(project.config_file)
        assert {"assets", "checks", "jobs", "sensors", "schedules"} == found["definitions"].keys()
        assert min(found["definitions"].values()) > 0
        home, gone = found["surfaces"]
        assert home.pop("sample")["events"] == 3
        assert home == {
            "tenant": "demo", "surface": "home", "variant_of": None,
            "day": "2026-01-02", "files": 0, "size_bytes": 0,
            "newest_landed": "2026-01-01", "catalog_items": 2, "denied_items": None, "problems": [],
        }  # fmt: skip
        assert f"Error: demo/gone: {gone['problems'][0]}\n" == result.stderr

    def test_everything_that_cannot_be_read_is_told_at_once(self, project: Project) -> None:
        project.configure(ENDED, {**ENDED, "surface": "gone", "source": {"path": "nowhere"}})
        land(project, 1)
        project.land(day(1), [], part=".2").unlink()
        (project.folder / f"raw/demo/home/exposure.{day(1)}.2.jsonl").symlink_to("/nowhere")
        (project.folder / "catalog.csv").write_text("sku,colour\n")
        (project.folder / "var").write_text("a file")

        result = run("check")

        (project.folder / "var").unlink()
        assert result.exit_code == 1
        assert [row[1] for row in rows(result)] == ["cannot be read"] * 2
        told = result.stderr.splitlines()
        assert any("exposure.2026-01-02.2.jsonl is a link to /nowhere" in line for line in told)
        assert any(f"source.path {project.folder}/nowhere is not a dir" in line for line in told)
        assert sum("catalog.csv" in line for line in told) == 2
        assert sum(f"{project.folder}/var" in line for line in told) == 2
        assert all(line.startswith("Error: demo/") for line in told)

    def test_a_root_that_may_not_be_written_is_told(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("os.access", lambda path, mode: Path(path) != project.folder)

        result = run("check")

        assert result.exit_code == 1
        assert (
            f"Error: demo/home: root {project.folder}/var: {project.folder} may not be written\n"
            in result.stderr
        )

    def test_a_bucket_that_is_not_there_is_told(
        self, s3_server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use(s3_server, monkeypatch)
        monkeypatch.setenv("RECSYS_ROOT", "s3://not-a-bucket/var")

        result = run("check")

        assert result.exit_code == 1
        assert "Error: demo/home: s3://not-a-bucket" in result.stderr
        assert "Traceback" not in result.stderr

    def test_a_mistake_in_the_file_is_told_as_by_the_other_commands(self, project: Project) -> None:
        project.config_file.write_text("root: [")

        assert wrong(run("check")) == wrong(run("status"))

    def test_definitions_that_do_not_load_exit_with_2(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        build = definitions._build

        def with_a_clash(*configs: Config) -> dg.Definitions:
            twice = [dg.job(name="rollback")(lambda: None), dg.job(name="rollback")(lambda: None)]
            return dg.Definitions.merge(build(*configs), dg.Definitions(jobs=twice))

        monkeypatch.setattr(definitions, "_build", with_a_clash)

        assert wrong(run("check")).startswith("Error: the definitions do not load: ")


class TestVerify:
    """`verify`."""

    def test_when_all_is_well_it_says_what_it_looked_at(self, shop: Shop) -> None:
        assert done(run("verify")).stdout == (
            "demo/home: 6 blobs of 3 publications verified, 0 findings\n"
        )
        assert done(run("verify", "--last", "2", "--surface", NAME)).stdout == (
            "demo/home: 4 blobs of 2 publications verified, 0 findings\n"
        )

    def test_findings_go_to_standard_error_and_exit_with_1(self, shop: Shop) -> None:
        uri = shop.live.current["cooc"]
        Path(uri.removeprefix("file://")).unlink()
        shop.stage(on(3), 7)
        orphan = shop.stage(on(3), 8)
        shop.stage(on(3), 9)

        text, machine = run("verify", "--grace-hours", "1"), run("verify", "--json")

        assert text.exit_code == machine.exit_code == 1
        assert text.stdout.endswith(", 5 findings\n")
        assert f"missing: {uri}: {uri} is missing" in text.stderr
        assert f"orphaned: {orphan['cooc']}: no publication and no staged" in text.stderr
        (surface,) = json.loads(machine.stdout)["surfaces"]
        assert {name: surface[name] for name in ("tenant", "surface", "blobs", "publications")} == {
            "tenant": "demo", "surface": "home", "blobs": 6, "publications": 3,
        }  # fmt: skip
        problems = [finding["problem"] for finding in surface["findings"]]
        assert sorted(problems) == ["missing", *["orphaned"] * 4]

    @pytest.mark.parametrize("hours", [-1, 876_001])
    def test_a_grace_that_time_does_not_have_is_refused(self, shop: Shop, hours: int) -> None:
        message = refused(run("verify", "--grace-hours", str(hours)), code=2)

        assert f"{hours} is not in the range 0<=x<=876000" in " ".join(message.split())
        assert ", 0 findings" in done(run("verify", "--grace-hours", "876000")).stdout
