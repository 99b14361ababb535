"""The commands on what is published: output, exit codes, and a whole story of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, date
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pytest
import yaml
from click.testing import CliRunner, Result

from recsys_assets import cli
from recsys_assets.cli_publications import COMMANDS, _moment
from recsys_assets.config import Config, load_config
from recsys_assets.errors import ConfigError
from recsys_assets.operations.history import publications
from recsys_assets.operations.pointer import pin
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.publications import Publication, actor, read_live
from recsys_assets_tests.operations.conftest import (
    WHY,
    Shop,
    make_day,
    on,
    time_of,
    unsynced,
    verified,
)
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.storage.conftest import new_prefix, use
from recsys_assets_tests.storage.servers import Server

Run = Callable[..., Result]
NAME = "demo/home"
REASON = ("--reason", "incident 7")


def run_command(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, arguments)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Publish three days, long ago, of a surface that the command line finds."""
    shop = Shop(tmp_path / "root")
    with time_of(shop.time):
        for number in (1, 2, 3):
            shop.time.passes(hours=1)
            shop.day(on(number), number)
    configure(shop, tmp_path, monkeypatch)
    return shop


def configure(shop: Shop, folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    surfaces = [
        {
            "tenant": "demo",
            "surface": name,
            "start_date": date(2020, 1, 1),
            "source": {"path": "raw"},
            "artifacts": {"popularity": {}, "cooc": {}},
        }
        for name in (*names, "home")
    ]
    file = folder / "surfaces.yaml"
    file.write_text(yaml.safe_dump({"root": str(shop.root), "surfaces": surfaces}))
    monkeypatch.setenv("RECSYS_CONFIG", str(file))
    monkeypatch.delenv("RECSYS_ROOT", raising=False)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Publish two days of raw lines, with ids that a terminal must not see, for reading only."""
    with dg.DagsterInstance.ephemeral() as instance, unsynced():
        project = Project(tmp_path_factory.mktemp("once"), instance)
        surface = project.configure().surfaces[0]
        for number, items in enumerate((["a", "b"], ["b", "c", "esc\x1b[31m\x07", "rtl\u202e"])):
            of = day(number)
            project.land(of, [event(item, of=of) for item in items])
            make_day(project.store, surface, of)
        yield project


@pytest.fixture
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give the command line; on the project `once` when there is one."""
    if "once" in request.fixturenames:
        project: Project = request.getfixturevalue("once")
        monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))
        monkeypatch.delenv("RECSYS_ROOT", raising=False)
    return run_command


def rows(result: Result) -> list[list[str]]:
    """Return the cells of every row that was printed."""
    lines = [line for line in result.stdout.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def done(result: Result) -> Result:
    assert result.exit_code == 0, result.output
    return result


def refused(result: Result, *, code: int) -> str:
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert "Traceback" not in result.stderr
    return result.stderr


class TestHistory:
    """`history`."""

    def test_the_newest_flip_comes_first_with_who_and_why(self, shop: Shop, run: Run) -> None:
        pin(shop.store, shop.surface, WHY)

        found = rows(done(run("history", NAME)))

        assert [row[:3] for row in found] == [
            ["4", "pin (pinned)", "2020-01-10"],
            ["3", "publish", "2020-01-10"],
            ["2", "publish", "2020-01-09"],
            ["1", "publish", "2020-01-08"],
        ]
        assert found[1][3:] == ["2020-01-10T05:00:00Z", "somebody", "an incident", "run-1"]

    def test_the_limit_cuts_it(self, shop: Shop, run: Run) -> None:
        assert [row[0] for row in rows(done(run("history", NAME, "--limit", "2")))] == ["3", "2"]

    def test_json_holds_the_whole_records(self, shop: Shop, run: Run) -> None:
        found = json.loads(done(run("history", NAME, "--json")).stdout)["publications"]

        assert found == [
            publication.to_json() for publication in publications(shop.store, shop.surface, limit=9)
        ]

    def test_before_the_first_publish_it_is_empty(
        self, shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure(shop, shop.root.parent, monkeypatch, "checkout")

        assert done(run("history", "demo/checkout")).stdout == (
            "nothing of demo/checkout was published here yet\n"
        )
        assert json.loads(done(run("history", "demo/checkout", "--json")).stdout) == {
            "publications": []
        }

    def test_control_characters_in_a_reason_never_reach_the_terminal(
        self, shop: Shop, run: Run
    ) -> None:
        reason = "red \x1b[31m, bell \x07, rtl \u202e, [bold]x"
        done(run("pin", NAME, "--reason", reason))

        result = done(run("history", NAME))

        assert not {"\x1b", "\x07", "\u202e"} & set(result.stdout)
        assert "red \\x1b[31m, bell \\x07, rtl \\u202e, [bold]x" in result.stdout
        machine = json.loads(run("history", NAME, "--json").stdout)
        assert machine["publications"][0]["reason"] == reason


class TestAt:
    """`at`."""

    @pytest.mark.parametrize(
        ("time", "generation"),
        [
            ("2020-01-10T03:00", "1"),
            ("2020-01-10T04:59:59Z", "2"),
            ("2020-01-10T06:30:00+01:00", "3"),
            ("2020-01-11", "3"),
            ("9999-12-31T23:59", "3"),
        ],
    )
    def test_it_tells_what_was_live(self, shop: Shop, run: Run, time: str, generation: str) -> None:
        flip, *kinds = rows(done(run("at", NAME, "--time", time)))

        found = json.loads(done(run("at", NAME, "--time", time, "--json")).stdout)
        assert (flip[0], str(found["generation"])) == (generation, generation)
        # A long URI is folded: its rest is in the next row.
        told = "".join(cell for row in kinds for cell in row)
        assert told == "".join(kind + uri for kind, uri in found["current"].items())

    def test_before_the_first_publish_it_is_told(self, shop: Shop, run: Run) -> None:
        assert refused(run("at", NAME, "--time", "2020-01-10T02:59"), code=1) == (
            "Error: nothing of demo/home was live at 2020-01-10T02:59:00Z; the first publication "
            "is of 2020-01-10T03:00:00.000000Z\n"
        )

    @pytest.mark.parametrize("time", ["yesterday", "", "2020-13-01", "0001-01-01T00:00+05:00"])
    def test_what_is_no_time_is_refused(self, shop: Shop, run: Run, time: str) -> None:
        assert refused(run("at", NAME, "--time", time), code=2).startswith(
            f"Error: --time {time!r} is no ISO 8601 time"
        )

    def test_a_time_without_an_offset_is_utc(self) -> None:
        assert _moment("2026-01-05T12:00").tzinfo == UTC
        assert _moment("2026-01-05T12:00+02:00") == _moment("2026-01-05T10:00Z")
        with pytest.raises(ConfigError):
            _moment("noon")


class TestDiff:
    """`diff`."""

    def test_it_compares_with_what_is_live(self, once: Project, run: Run) -> None:
        result = done(run("diff", NAME, "previous"))

        assert result.stdout.startswith("demo/home, generation 1 to 2\n")
        assert rows(result) == [
            ["popularity", "items", "2", "4", "3", "1", "1", "25%", "25%"],
            ["cooc", "items", "2", "4", "3", "1", "1", "0%", "0%"],
            ["implicit", "users", "1", "1", "0", "0", "1", "25%", "25%"],
            ["implicit", "items", "2", "4", "3", "1", "", "", ""],
            ["session_seq", "users", "1", "1", "0", "0", "1", "0%", "0%"],
            ["session_seq", "items", "1", "3", "3", "1", "", "", ""],
            ["content_sim", "items", "2", "2", "0", "0", "0", "", ""],
        ]

    def test_json_has_both_records_and_examples(self, once: Project, run: Run) -> None:
        found = json.loads(done(run("diff", NAME, "1", "2026-01-02", "--json")).stdout)

        assert (found["before"]["generation"], found["after"]["generation"]) == (1, 2)
        popularity = found["differences"][0]
        assert popularity["examples"] == {
            "added": ["c", "esc\x1b[31m\x07", "rtl\u202e"],
            "removed": ["a"],
            "moved": ["b"],
        }

    def test_two_ways_round_and_against_itself(self, once: Project, run: Run) -> None:
        back = rows(done(run("diff", NAME, "live", "1")))

        assert back[0] == ["popularity", "items", "4", "2", "1", "3", "1", "25%", "25%"]
        assert done(run("diff", NAME, "live")).stdout == (
            "demo/home, generation 2 to 2: nothing differs: the same versions are named\n"
        )

    def test_what_is_not_there_is_told(self, once: Project, run: Run) -> None:
        assert refused(run("diff", NAME, "7"), code=1) == (
            "Error: demo/home has no generation 7; there are 1 to 2\n"
        )
        assert "Missing argument 'A'" in refused(run("diff", NAME), code=2)


class TestTrace:
    """`trace`."""

    def test_it_leads_back_to_the_raw_files(self, once: Project, run: Run) -> None:
        result = done(run("trace", NAME, "cooc", "b"))

        raw = once.folder / f"raw/demo/home/exposure.{day(1)}.jsonl"
        assert result.stdout.startswith("demo/home cooc of b\n")
        found = {row[0]: row[1:] for row in rows(result)}
        assert found["inputs"] == ["as they were"]
        assert found["published by"][0].startswith("generation 2, publish, run run-1")
        name = f"demo/home/exposure.{day(1)}.jsonl"
        size, sha256, now, events, line = found[name]
        assert (size, now, events, line) == (f"{raw.stat().st_size:,}", "there", "1", "1")
        assert len(sha256) == 64
        uri = once.store.uri(layout.canonical("demo", "home", day(1)))
        assert f"{day(1)}: {uri}, fingerprint " in result.stdout

    def test_json_has_it_all(self, once: Project, run: Run) -> None:
        found = json.loads(done(run("trace", NAME, "popularity", "--json")).stdout)

        assert (found["kind"], found["owner"], found["is_current"]) == ("popularity", None, True)
        assert found["days"][0]["day"] == "2026-01-02"
        assert found["publication"]["generation"] == 2
        assert found["record"]["uri"] == found["uri"]

    def test_control_characters_in_an_id_never_reach_the_terminal(
        self, once: Project, run: Run
    ) -> None:
        result = done(run("trace", NAME, "popularity", "esc\x1b[31m\x07"))

        assert result.stdout.startswith("demo/home popularity of esc\\x1b[31m\\x07\n")
        assert not {"\x1b", "\x07"} & set(result.stdout)
        message = refused(run("trace", NAME, "popularity", "\x1b[2J\u202e"), code=1)
        assert message == "Error: no item_id '\\x1b[2J\\u202e' in the live popularity\n"

    def test_a_missing_day_and_a_changed_catalog_are_told(
        self, tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = project.configure({"window_days": 2})
        for number in (0, 1):
            project.land(day(number), [event("a", of=day(number))])
            make_day(project.store, config.surfaces[0], day(number))
        project.store.delete(layout.canonical("demo", "home", day(0)))
        (project.folder / "catalog.csv").write_text("id,tags\na,other\n")
        monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))

        counted = done(run_command("trace", NAME, "popularity"))
        tagged = done(run_command("trace", NAME, "content_sim", "a"))

        assert "fingerprint none: it is not there\n" in counted.stdout
        for result in (counted, tagged):
            assert ["inputs", "changed since it was built"] in rows(result)


class TestRollback:
    """`rollback`, `pin` and `release`."""

    def test_it_shows_what_changes_and_what_comes_next(self, shop: Shop, run: Run) -> None:
        result = done(run("rollback", NAME, *REASON))

        assert result.stdout.startswith("demo/home, to all of generation 2, 2020-01-09\n")
        assert [row[0] for row in rows(result)] == ["popularity", "cooc"]
        assert result.stdout.endswith(
            "all of generation 2, 2020-01-09, is live; not pinned: the next publish moves it "
            "forward\n"
        )
        newest = shop.newest
        assert (newest.generation, newest.reason, newest.who) == (4, "incident 7", actor())
        assert newest.run_id.startswith("command-")
        assert verified(shop.store, shop.live.current)

    def test_one_kind_with_a_pin(self, shop: Shop, run: Run) -> None:
        arguments = ("--to", "1", "--kind", "cooc", "--pin")

        result = done(run("rollback", NAME, *arguments, *REASON))

        assert result.stdout.endswith(
            "cooc of generation 1, 2020-01-08, is live; pinned: publishes wait for "
            "`recsys-assets release demo/home`\n"
        )
        assert (shop.newest.pinned, shop.newest.restored) == (True, {"cooc": 1})

    @pytest.mark.parametrize("pinned", [[], ["--pin"]])
    def test_a_dry_run_changes_nothing(self, shop: Shop, run: Run, pinned: list[str]) -> None:
        before = shop.files()

        result = done(run("rollback", NAME, "--to", "1", "--dry-run", *pinned, *REASON))

        assert result.stdout.endswith("dry run: nothing was changed\n")
        assert len(rows(result)) == 2
        assert shop.files() == before

    def test_what_is_live_already_is_told(self, shop: Shop, run: Run) -> None:
        result = done(run("rollback", NAME, "--to", "3", *REASON))

        assert "nothing differs: the same versions are named" in result.stdout
        assert "all of generation 3, 2020-01-10, was live already;" in result.stdout
        assert shop.generation == 3

    def test_a_missing_blob_is_named_and_what_is_live_stays(self, shop: Shop, run: Run) -> None:
        uri = publications(shop.store, shop.surface, limit=3)[2].current["cooc"]
        Path(uri.removeprefix("file://")).unlink()
        before = shop.files()

        message = refused(run("rollback", NAME, "--to", "1", *REASON), code=1)

        assert message.startswith(
            f"Error: cannot roll demo/home back to generation 1: {uri} is missing"
        )
        assert "recsys-assets history demo/home" in message
        assert shop.files() == before

    @pytest.mark.parametrize(
        "command", [["rollback"], ["rollback", "--dry-run"], ["pin"], ["release"]]
    )
    def test_without_a_reason_it_is_refused(self, shop: Shop, run: Run, command: list[str]) -> None:
        before = shop.files()

        assert "Missing option '--reason'" in refused(run(*command, NAME), code=2)
        if "--dry-run" not in command:
            result = run(*command, NAME, "--reason", " ")
            assert (result.exit_code, shop.files()) == (1, before)
            assert result.stderr.startswith("Error: a reason is required")

    def test_a_pin_is_told_and_a_second_one_too(self, shop: Shop, run: Run) -> None:
        first, second = (done(run("pin", NAME, *REASON)).stdout for _ in range(2))

        assert (first, second) == ("demo/home is pinned\n", "demo/home was pinned already\n")
        assert shop.generation == 4

    def test_a_release_with_nothing_held_back(self, shop: Shop, run: Run) -> None:
        run("pin", NAME, *REASON)

        before = done(run("release", NAME, "--dry-run", *REASON)).stdout
        first, second = (done(run("release", NAME, *REASON)).stdout for _ in range(2))

        assert before == "demo/home is pinned; the day to publish: none. Nothing was changed\n"
        assert first == "demo/home is released; no day was held back\n"
        assert second == "demo/home was not pinned; no day was held back\n"
        assert shop.generation == 5

    def test_a_release_of_a_day_that_cannot_be_published_exits_with_1(
        self, shop: Shop, run: Run
    ) -> None:
        run("pin", NAME, *REASON)
        shop.stage(on(4), 4)

        dry = done(run("release", NAME, "--dry-run", *REASON)).stdout
        result = run("release", NAME, *REASON)

        assert dry == "demo/home is pinned; the day to publish: 2020-01-11. Nothing was changed\n"
        assert result.exit_code == 1
        assert result.stdout.startswith(
            "demo/home is released; 2020-01-11: popularity: made of other events"
        )
        assert not shop.newest.pinned


class TestVerify:
    """`verify`."""

    def test_when_all_is_well_it_says_what_it_looked_at(self, shop: Shop, run: Run) -> None:
        assert done(run("verify")).stdout == (
            "demo/home: 6 blobs of 3 publications verified, 0 findings\n"
        )
        assert done(run("verify", "--last", "1", "--surface", NAME)).stdout.startswith(
            "demo/home: 2 blobs"
        )

    def test_findings_go_to_standard_error_and_exit_with_1(self, shop: Shop, run: Run) -> None:
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
    def test_a_grace_that_time_does_not_have_is_refused(
        self, shop: Shop, run: Run, hours: int
    ) -> None:
        message = refused(run("verify", "--grace-hours", str(hours)), code=2)

        assert f"{hours} is not in the range 0<=x<=876000" in " ".join(message.split())
        assert ", 0 findings" in done(run("verify", "--grace-hours", "876000")).stdout


class TestRetention:
    """`retention`."""

    KEEP = ("--publications", "1", "--days", "1", "--grace-hours", "1")

    def test_the_settings_of_the_configuration_hold(self, shop: Shop, run: Run) -> None:
        assert done(run("retention")).stdout == (
            "demo/home: 0 blobs, 0 staged references, 0 files of refused lines, 0 of counts, "
            "0 bytes deleted; 6 blobs stay\n0 temporary files deleted\n"
        )

    def test_it_deletes_and_what_is_live_stays(self, shop: Shop, run: Run) -> None:
        before = shop.files()

        dry = done(run("retention", *self.KEEP, "--dry-run"))
        assert shop.files() == before
        real = done(run("retention", *self.KEEP))

        gone = before.keys() - shop.files().keys()
        size = sum(len(before[key]) for key in gone)
        counted = (
            f"4 blobs, 4 staged references, 0 files of refused lines, 0 of counts, {size:,} bytes"
        )
        *listed, told, _ = dry.stdout.splitlines()
        assert {line.split("  ")[0] for line in listed} == {shop.store.uri(key) for key in gone}
        assert told == f"demo/home: {counted} would go; 2 blobs stay"
        assert real.stdout.splitlines()[0] == f"demo/home: {counted} deleted; 2 blobs stay"
        assert verified(shop.store, shop.live.current)
        assert done(run("verify")).stdout == (
            "demo/home: 2 blobs of 5 publications verified, 0 findings\n"
        )

    def test_what_a_killed_run_left_behind_goes_too(self, shop: Shop, run: Run) -> None:
        left = shop.root / ".scratch/left"
        left.write_bytes(b"half")
        os.utime(left, (0, 0))

        assert done(run("retention", "--dry-run")).stdout.endswith("1 temporary files would go\n")
        assert left.exists()
        assert done(run("retention")).stdout.endswith("1 temporary files deleted\n")
        assert not left.exists()

    def test_a_surface_that_cannot_be_judged_holds_back_no_other(
        self, shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure(shop, shop.root.parent, monkeypatch, "broken")
        key = layout.staged("demo", "broken", "default", "cooc", on(1))
        shop.store.replace(key, b"{")

        result = run("retention", *self.KEEP)

        assert result.exit_code == 1
        assert f"Error: demo/broken: {shop.store.uri(key)} is damaged" in result.stderr
        assert result.stdout.startswith("demo/home: 4 blobs, ")
        assert len(shop.files("objectstore")) == 2

    @pytest.mark.parametrize(
        ("option", "value", "limits"),
        [
            ("--publications", 0, "x>=1"),
            ("--days", 0, "1<=x<=36500"),
            ("--days", 36_501, "1<=x<=36500"),
            ("--grace-hours", 0, "1<=x<=876000"),
            ("--grace-hours", 876_001, "1<=x<=876000"),
        ],
    )
    def test_keeping_nothing_or_for_longer_than_time_has_is_refused(
        self, shop: Shop, run: Run, option: str, value: int, limits: str
    ) -> None:
        message = refused(run("retention", option, str(value)), code=2)

        assert f"{value} is not in the range {limits}" in " ".join(message.split())

    @pytest.mark.parametrize("option", [("--days", "36500"), ("--grace-hours", "876000")])
    def test_a_hundred_years_are_kept(self, shop: Shop, run: Run, option: tuple[str, str]) -> None:
        assert done(run("retention", *self.KEEP, *option)).stdout.startswith("demo/home: 0 blobs")
        assert len(shop.files("objectstore")) == 6


# What each command needs besides a surface.
ARGUMENTS = {
    "history": [],
    "at": ["--time", "2020-01-10"],
    "diff": ["previous"],
    "trace": ["cooc"],
    "rollback": [*REASON],
    "pin": [*REASON],
    "release": [*REASON],
    "verify": [],
    "retention": [],
}


class TestEveryCommand:
    """What all of them have in common."""

    def arguments(self, command: str, name: str) -> list[str]:
        where = ["--surface", name] if command in {"verify", "retention"} else [name]
        return [command, *where, *ARGUMENTS[command]]

    def test_all_are_looked_at_here(self) -> None:
        assert {command.name for command in COMMANDS} == ARGUMENTS.keys()
        assert set(COMMANDS) <= set(cli.main.commands.values())

    @pytest.mark.parametrize("command", ARGUMENTS)
    def test_an_unknown_surface_is_refused(self, shop: Shop, run: Run, command: str) -> None:
        assert refused(run(*self.arguments(command, "demo/attic")), code=2) == (
            "Error: no surface 'demo/attic' in the configuration; there are: demo/home\n"
        )

    @pytest.mark.parametrize("command", ["at", "diff", "trace", "rollback", "pin", "release"])
    def test_where_nothing_is_live_or_not_ours_it_is_told(
        self, shop: Shop, run: Run, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        configure(shop, shop.root.parent, monkeypatch, "empty", "foreign")
        foreign = Shop(shop.root, shop.time, name="foreign")
        current = foreign.stage(on(1), 1)
        manifest = {"v": 1, "current": current, "updated_at": "2020-01-09T00:00:00Z"}
        shop.store.replace(layout.manifest("demo", "foreign"), json.dumps(manifest).encode())

        message = refused(run(*self.arguments(command, "demo/empty")), code=1)

        assert message.startswith("Error: nothing is live for demo/empty yet")
        message = refused(run(*self.arguments(command, "demo/foreign")), code=1)
        assert "was published by another producer and has no history" in message

    @pytest.mark.parametrize("command", ARGUMENTS)
    def test_a_damaged_manifest_is_told_without_a_stack(
        self, shop: Shop, run: Run, command: str
    ) -> None:
        key = layout.manifest("demo", "home")
        shop.store.replace(key, b"{")

        result = run(*self.arguments(command, NAME))

        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        assert f"{shop.store.uri(key)} is not a manifest" in result.stderr

    @pytest.mark.parametrize("command", ARGUMENTS)
    def test_help_says_what_it_does_and_what_its_options_are(self, run: Run, command: str) -> None:
        result = done(run(command, "--help"))

        text = " ".join(result.stdout.split())
        assert f"Usage: main {command} [OPTIONS]" in text
        (found,) = [each for each in COMMANDS if each.name == command]
        assert found.help
        assert len(found.get_short_help_str(200)) > 20
        for parameter in found.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{parameter.name} of {command}"

    def test_the_list_of_commands_names_them(self, run: Run) -> None:
        text = done(run("--help")).stdout

        assert all(f"\n  {command} " in text for command in ARGUMENTS)


@pytest.fixture(params=["local", "s3"])
def somewhere(
    request: pytest.FixtureRequest,
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Config:
    """Give a project whose root is a directory, or in a bucket."""
    # What Dagster records is in memory: on a disk it takes most of the time.
    monkeypatch.setattr(dg.DagsterInstance, "get", dg.DagsterInstance.ephemeral)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))
    monkeypatch.delenv("RECSYS_ROOT", raising=False)
    project.configure(
        {"artifacts": {"popularity": {}, "cooc": {"min_support": 1}}, "end_date": day(4)}
    )
    if request.param == "local":
        return load_config()
    server: Server = request.getfixturevalue("s3_server")
    use(server, monkeypatch)
    monkeypatch.setenv("RECSYS_ROOT", server.url(new_prefix()))
    return load_config()


def test_a_bad_day_from_the_rollback_to_the_release(
    project: Project, somewhere: Config, run: Run
) -> None:
    """The third day is bad: it is rolled back and held, corrected, and released with the fourth."""
    store = open_store(somewhere.root)

    def land(number: int, items: str) -> None:
        project.land(day(number), [event(item, of=day(number)) for item in items])

    def materialize(first: int, last: int) -> list[str]:
        span = ("--from", str(day(first)), "--to", str(day(last)))
        result = done(run("materialize", *span, "--json"))
        (surface,) = json.loads(result.stdout)["surfaces"]
        return [of["outcome"] for of in surface["days"]]

    def newest() -> Publication:
        live = read_live(store, "demo", "home")
        assert live is not None
        assert live.publication is not None
        assert verified(store, live.current)
        return live.publication

    for number, items in enumerate(("ab", "abc", "zzz")):
        land(number, items)
    assert materialize(0, 2) == ["published"] * 3

    done(run("rollback", NAME, "--pin", "--reason", "day 3 shows only z"))
    assert (newest().generation, newest().window.start, newest().pinned) == (4, day(1), True)

    land(2, "abcd")
    land(3, "abcde")
    assert materialize(2, 3) == ["pinned", "pinned"]
    assert newest().window.start == day(1)
    stale = run("status", "--json")
    (status,) = json.loads(stale.stdout)["surfaces"]
    assert (stale.exit_code, status["pinned"], status["generation"]) == (1, True, 4)
    assert status["days_behind"] == 2
    assert status["stale_because"].endswith(": day 3 shows only z")

    released = done(run("release", NAME, "--reason", "day 3 is corrected"))
    assert released.stdout == f"demo/home is released; {day(3)}: published\n"
    assert (newest().window.start, newest().pinned) == (day(3), False)
    done(run("status"))

    checked = json.loads(done(run("verify", "--json")).stdout)["surfaces"][0]
    assert (checked["blobs"], checked["findings"]) == (8, [])
    kept = done(run("retention", "--publications", "1", "--days", "1", "--grace-hours", "1"))
    assert kept.stdout.startswith("demo/home: 0 blobs, 0 staged references, ")

    told = json.loads(done(run("history", NAME, "--json")).stdout)["publications"]
    assert [(each["action"], each["pinned"], each["window"]["start"][:10]) for each in told] == [
        ("publish", False, str(day(3))),
        ("release", False, str(day(1))),
        ("rollback", True, str(day(1))),
        ("publish", False, str(day(2))),
        ("publish", False, str(day(1))),
        ("publish", False, str(day(0))),
    ]
    assert [each["reason"] for each in told[1:3]] == ["day 3 is corrected", "day 3 shows only z"]
    assert told[2]["current"] == told[4]["current"]

    found = json.loads(done(run("trace", NAME, "popularity", "e", "--json")).stdout)
    assert [(of["file"]["name"], of["now"], of["events"]) for of in found["days"][0]["files"]] == [
        (f"demo/home/exposure.{day(3)}.jsonl", "there", 1)
    ]
    moved: dict[str, Any] = json.loads(done(run("diff", NAME, "3", "--json")).stdout)
    assert moved["differences"][0]["examples"]["removed"] == ["z"]
    assert found["is_current"]
