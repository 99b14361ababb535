"""The commands that change what is live or stored, and a whole story of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from recsys_assets.config import Config, load_config
from recsys_assets.live.history import publications
from recsys_assets.places import Place
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.flips import actor
from recsys_assets.storage.publications import Publication, read_live
from recsys_assets_tests.cli.conftest import (
    NAME,
    REASON,
    configure,
    done,
    refused,
    rows,
    run,
    use_config,
)
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import Shop, on, verified
from recsys_assets_tests.storage.conftest import new_prefix, use
from recsys_assets_tests.storage.servers import Server


class TestRepair:
    """`repair`."""

    def lose(self, shop: Shop) -> str:
        (path,) = (shop.root / "registry/publications/demo/home").glob("0000000003-*")
        path.unlink()
        return f"file://{path} is missing, though the manifest's history names it\n"

    def test_it_says_what_is_lost_and_what_it_made_of_it(self, shop: Shop) -> None:
        live, problem = shop.live.current, self.lose(shop)

        result = done(run("repair", NAME, *REASON))

        assert result.stdout == problem + (
            "generation 3, 2020-01-10, was whole and stays live; recorded as generation 4\n"
        )
        assert shop.live.current == live
        assert (shop.newest.action, shop.newest.reason) == ("repair", "incident 7")
        assert done(run("repair", NAME, *REASON)).stdout == (
            "demo/home: manifest and history are whole; nothing to repair\n"
        )

    def test_a_dry_run_changes_nothing(self, shop: Shop) -> None:
        live, problem = shop.live, self.lose(shop)
        shop.store.delete(shop.store.key(live.current["cooc"]))
        files = shop.files()

        result = done(run("repair", NAME, *REASON, "--dry-run"))

        assert result.stdout == problem + (
            "generation 2, 2020-01-09, would become live. Nothing was changed\n"
        )
        assert shop.files() == files
        result = done(run("repair", NAME, *REASON))
        assert result.stdout.endswith("is live again; recorded as generation 4\n")


class TestRollback:
    """`rollback`, `pin` and `release`."""

    def test_it_shows_what_changes_and_what_comes_next(self, shop: Shop) -> None:
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

    def test_one_kind_with_a_pin(self, shop: Shop) -> None:
        arguments = ("--to", "1", "--kind", "cooc", "--pin")

        result = done(run("rollback", NAME, *arguments, *REASON))

        assert result.stdout.endswith(
            "cooc of generation 1, 2020-01-08, is live; pinned: publishes wait for "
            "`recsys-assets release demo/home`\n"
        )
        assert (shop.newest.pinned, shop.newest.restored) == (True, {"cooc": 1})

    @pytest.mark.parametrize("pinned", [[], ["--pin"]])
    def test_a_dry_run_changes_nothing(self, shop: Shop, pinned: list[str]) -> None:
        before = shop.files()

        result = done(run("rollback", NAME, "--to", "1", "--dry-run", *pinned, *REASON))

        assert result.stdout.endswith("dry run: nothing was changed\n")
        assert len(rows(result)) == 2
        assert shop.files() == before

    def test_what_is_live_already_is_told(self, shop: Shop) -> None:
        result = done(run("rollback", NAME, "--to", "3", *REASON))

        assert "nothing differs: the same versions are named" in result.stdout
        assert "all of generation 3, 2020-01-10, was live already;" in result.stdout
        assert shop.generation == 3

    def test_a_missing_blob_is_named_and_what_is_live_stays(self, shop: Shop) -> None:
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
    def test_without_a_reason_it_is_refused(self, shop: Shop, command: list[str]) -> None:
        before = shop.files()

        assert "Missing option '--reason'" in refused(run(*command, NAME), code=2)
        if "--dry-run" not in command:
            result = run(*command, NAME, "--reason", " ")
            assert (result.exit_code, shop.files()) == (1, before)
            assert result.stderr.startswith("Error: a reason is required")

    def test_a_pin_is_told_and_a_second_one_too(self, shop: Shop) -> None:
        first, second = (done(run("pin", NAME, *REASON)).stdout for _ in range(2))

        assert (first, second) == ("demo/home is pinned\n", "demo/home was pinned already\n")
        assert shop.generation == 4

    def test_a_release_with_nothing_held_back(self, shop: Shop) -> None:
        run("pin", NAME, *REASON)

        before = done(run("release", NAME, "--dry-run", *REASON)).stdout
        first, second = (done(run("release", NAME, *REASON)).stdout for _ in range(2))

        assert before == "demo/home is pinned; the day to publish: none. Nothing was changed\n"
        assert first == "demo/home is released; no day was held back\n"
        assert second == "demo/home was not pinned; no day was held back\n"
        assert shop.generation == 5

    def test_a_release_of_a_day_that_cannot_be_published_exits_with_1(self, shop: Shop) -> None:
        run("pin", NAME, *REASON)
        shop.stage(on(4), 4)

        dry = done(run("release", NAME, "--dry-run", *REASON)).stdout
        result = run("release", NAME, *REASON)

        first, *checks, last = dry.splitlines()
        assert first == "demo/home is pinned; the day to publish: 2020-01-11. Nothing was changed"
        assert checks[0].startswith("publishable: failed: popularity: made of other events")
        assert checks[1] == "nothing_emptied: skipped: there is nothing to publish"
        assert last == "2020-01-11 would be refused"
        assert result.exit_code == 1
        assert result.stdout.startswith(
            "demo/home is released; 2020-01-11: popularity: made of other events"
        )
        assert not shop.newest.pinned


class TestRetention:
    """`retention`."""

    KEEP = ("--publications", "1", "--days", "1", "--grace-hours", "1")

    def test_the_settings_of_the_configuration_hold(self, shop: Shop) -> None:
        assert done(run("retention")).stdout == (
            "demo/home: 0 blobs, 0 staged references, 0 files of refused lines, 0 of counts, "
            "0 of profiles, 0 of comparisons, 0 bytes deleted; 6 blobs stay\n"
            "0 temporary files deleted\n"
        )

    def test_it_deletes_and_what_is_live_stays(self, shop: Shop) -> None:
        before = shop.files()

        dry = done(run("retention", *self.KEEP, "--dry-run"))
        assert shop.files() == before
        real = done(run("retention", *self.KEEP))

        gone = before.keys() - shop.files().keys()
        size = sum(len(before[key]) for key in gone)
        counted = (
            "4 blobs, 4 staged references, 0 files of refused lines, 0 of counts, 0 of profiles, "
            f"0 of comparisons, {size:,} bytes"
        )
        *listed, told, _ = dry.stdout.splitlines()
        assert {line.split("  ")[0] for line in listed} == {shop.store.uri(key) for key in gone}
        assert told == f"demo/home: {counted} would go; 2 blobs stay"
        assert real.stdout.splitlines()[0] == f"demo/home: {counted} deleted; 2 blobs stay"
        assert verified(shop.store, shop.live.current)
        assert done(run("verify")).stdout == (
            "demo/home: 2 blobs of 5 publications verified, 0 findings\n"
        )

    def test_what_a_killed_run_left_behind_goes_too(self, shop: Shop) -> None:
        left = shop.root / ".scratch/left"
        left.write_bytes(b"half")
        os.utime(left, (0, 0))

        assert done(run("retention", "--dry-run")).stdout.endswith("1 temporary files would go\n")
        assert left.exists()
        assert done(run("retention")).stdout.endswith("1 temporary files deleted\n")
        assert not left.exists()

    def test_a_surface_that_cannot_be_judged_holds_back_no_other(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure(shop, shop.root.parent, monkeypatch, "broken")
        key = layout.staged(Place("demo", "broken"), "default", "cooc", on(1))
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
        self, shop: Shop, option: str, value: int, limits: str
    ) -> None:
        message = refused(run("retention", option, str(value)), code=2)

        assert f"{value} is not in the range {limits}" in " ".join(message.split())

    @pytest.mark.parametrize("option", [("--days", "36500"), ("--grace-hours", "876000")])
    def test_a_hundred_years_are_kept(self, shop: Shop, option: tuple[str, str]) -> None:
        assert done(run("retention", *self.KEEP, *option)).stdout.startswith("demo/home: 0 blobs")
        assert len(shop.files("objectstore")) == 6


@pytest.fixture(params=["local", "s3", "azure", "gcs"])
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
    server: Server = request.getfixturevalue(f"{request.param}_server")
    use(server, monkeypatch)
    monkeypatch.setenv("RECSYS_ROOT", server.url(new_prefix()))
    return load_config()


def test_a_bad_day_from_the_rollback_to_the_release(project: Project, somewhere: Config) -> None:
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
        live = read_live(store, Place("demo", "home"))
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


class TestDryReleases:
    """`release --dry-run` says what the release would find."""

    @pytest.fixture
    def lost(self, project: Project, monkeypatch: pytest.MonkeyPatch, fast: None) -> Project:
        """A pinned surface of which a day waits that has lost its users."""
        config = project.configure({"artifacts": {"popularity": {}, "implicit": {}}})
        use_config(project.config_file, monkeypatch)
        project.land(day(0), [event("a", user_id=f"u{n}") for n in range(30)])
        project.land(day(1), [event("a", of=day(1), user_id=None)])
        project.materialize(config, [day(0)])
        done(run("pin", NAME, *REASON))
        assert project.materialize(config, [day(1)]).outcome(day(1)) == "pinned"
        return project

    def test_it_is_what_the_release_finds_and_nothing_is_kept_of_it(self, lost: Project) -> None:
        for outline in (lost.folder / "var/outlines").rglob("*.arrow"):
            outline.unlink()  # a release makes them again
        before = files(lost)

        dry = done(run("release", NAME, *REASON, "--dry-run")).stdout.splitlines()
        forced = done(run("release", NAME, *REASON, "--dry-run", "--force")).stdout
        assert files(lost) == before
        released = run("release", NAME, *REASON)

        said = "implicit: 30 users are live, 0 would be"
        assert dry[1:] == [
            "publishable: passed",
            f"nothing_emptied: failed: {said}",
            "no_worse_than_live: skipped: gates.release.trusted_days is 14, and before both "
            "windows there are 0: half of them are needed",
            "2026-01-02 would be refused; --force accepts it",
        ]
        assert forced.endswith("2026-01-02 would be published\n")
        assert released.exit_code == 1
        assert said in released.stdout

    def test_a_sound_day_would_be_published(self, lost: Project) -> None:
        lost.land(day(1), [event("a", of=day(1), user_id=f"u{n}") for n in range(30)])
        lost.materialize(load_config(), [day(1)])

        dry = done(run("release", NAME, *REASON, "--dry-run")).stdout
        released = done(run("release", NAME, *REASON)).stdout

        assert "nothing_emptied: passed\n" in dry
        assert dry.endswith("2026-01-02 would be published\n")
        assert released == "demo/home is released; 2026-01-02: published\n"


def files(project: Project) -> dict[Path, bytes]:
    root = project.folder / "var"
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


class TestDenied:
    """Denied items do not come back unforced."""

    @pytest.fixture
    def denied(self, shop: Shop) -> Path:
        file = Path(os.environ["RECSYS_CONFIG"])
        settings = yaml.safe_load(file.read_text())
        settings["surfaces"][0]["items"] = {"deny": "denied.txt"}
        file.write_text(yaml.safe_dump(settings))
        path = file.parent / "denied.txt"
        path.write_text("b\n")
        return path

    def test_a_rollback_is_refused_unless_forced(self, shop: Shop, denied: Path) -> None:
        said = f"cooc lists b: denied by {denied}"
        before = shop.live

        assert (
            f"needs --force: {said}\n" in done(run("rollback", NAME, *REASON, "--dry-run")).stdout
        )
        result = run("rollback", NAME, *REASON)
        assert result.exit_code == 1
        assert said in result.stderr
        assert said in refused(run("pin", NAME, *REASON), code=1)
        assert shop.live == before
        done(run("rollback", NAME, *REASON, "--force", "--pin"))
        assert shop.newest.reason == f"incident 7 (forced: {said})"

    def test_check_reads_the_list(self, shop: Shop, denied: Path) -> None:
        (shop.root.parent / "raw").mkdir(exist_ok=True)

        result = run("check")

        assert f"demo/home: denied items: 1, listed in {denied}\n" in result.stdout
        denied.write_text("b # why\n")
        broken = run("check")
        assert broken.exit_code == 1
        assert "denied.txt, line 1: has a # behind an id" in broken.stderr
