"""The commands that read: what is live and was, how it came about, and whether it is whole."""

from __future__ import annotations

import csv
import io
import json
import socket
from datetime import UTC, date
from pathlib import Path

import dagster as dg
import pytest
from click.testing import Result

from recsys_assets.cli.reading import _moment
from recsys_assets.errors import ConfigError
from recsys_assets.kinds import KINDS
from recsys_assets.live.history import publications
from recsys_assets.operations.pointer import pin
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets.windows import Window
from recsys_assets_tests.cli.conftest import (
    NAME,
    SMALL,
    Run,
    configure,
    done,
    land,
    refused,
    rows,
    run,
)
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import WHY, Shop, make_day, on


class TestStatus:
    """`recsys-assets status`."""

    def test_before_the_first_publish_nothing_is_live(self, project: Project) -> None:
        project.configure(SMALL, {**SMALL, "surface": "checkout"})

        table, machine = run("status"), run("status", "--json")

        assert table.exit_code == machine.exit_code == 1
        assert table.stdout.count("nothing is live yet") == 2
        because = "nothing is live, though 2026-01-01, its first day, is over"
        assert f"demo/home is stale: {because}\ndemo/checkout is stale: {because}\n" in table.stdout
        told = json.loads(machine.stdout)["surfaces"]
        assert [(of["live"], of["stale"], of["stale_because"]) for of in told] == [
            (False, True, because)
        ] * 2
        assert table.stderr == machine.stderr == ""

    def test_it_needs_no_dagster(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        project.configure(SMALL | {"start_date": date(9000, 1, 1), "end_date": None})
        monkeypatch.delenv("DAGSTER_HOME")

        result = run("status")

        assert result.exit_code == 0
        assert "fresh │ nothing is live yet" in result.stdout

    def test_it_shows_window_generation_and_each_kind(self, project: Project) -> None:
        config = project.configure(
            {**SMALL, "window_days": 3, "freshness": {"max_days_behind": 28}}
        )
        land(project, 0, 1, 2)
        project.materialize(config, [day(n) for n in range(3)])
        live = project.live(config)
        assert live is not None
        store = project.store
        store.delete(store.key(live.current["cooc"]))

        table, machine = run("status"), run("status", "--json", "--surface", "demo/home")

        assert table.exit_code == 0
        popularity, cooc = [line for line in table.stdout.splitlines() if "│" in line]
        cells = [cell.strip() for cell in popularity.strip("│").split("│")]
        size = Path(live.current["popularity"].removeprefix("file://")).stat().st_size
        version = live.current["popularity"].rpartition("/")[2][:12]
        assert cells == [
            "demo/home", "fresh", "2026-01-01 to 2026-01-03", "28 d", "0 min ago", "3",
            "popularity", version, f"{size:,}",
        ]  # fmt: skip
        assert "missing" in cooc
        (status,) = json.loads(machine.stdout)["surfaces"]
        assert status["window"]["end"] == "2026-01-04T00:00:00Z"
        assert status["kinds"]["cooc"]["size_bytes"] is None

    def test_a_damaged_manifest_hides_no_other_surface(self, project: Project) -> None:
        ended = {"end_date": day(1)}
        config = project.configure({**SMALL, "surface": "broken"}, SMALL | ended)
        land(project, 0)
        project.materialize(config, [day(0)], surface=1)
        key = layout.manifest(Place("demo", "broken"))
        project.store.replace(key, b"{")

        table, machine = run("status"), run("status", "--json")

        assert table.exit_code == machine.exit_code == 1
        for result in (table, machine):
            (line,) = result.stderr.splitlines()
            where = project.store.uri(key)
            assert line.startswith(f"Error: demo/broken: {where} is not a manifest: ")
        rows = [line.split("│") for line in table.stdout.splitlines() if "│" in line]
        assert [[cell.strip() for cell in row[1:3]] for row in rows] == [
            ["demo/broken", "cannot be read"],
            ["demo/home", "fresh"],
            ["", ""],
        ]
        broken, home = json.loads(machine.stdout)["surfaces"]
        assert (broken["live"], broken["stale"], broken["kinds"]) == (None, True, {})
        assert f"Error: demo/broken: {broken['error']}\n" == machine.stderr
        assert (home["live"], home["error"], len(home["kinds"])) == (True, None, 2)
        assert run("status", "--surface", "demo/home").exit_code == 0

    def test_a_stale_surface_is_told_with_its_reason_and_exit_code_1(
        self, project: Project
    ) -> None:
        ended = {"end_date": day(2), "freshness": {"max_days_behind": 0}}
        config = project.configure(SMALL | ended)
        land(project, 0, 1)
        project.materialize(config, [day(0)])

        behind = run("status")
        machine = json.loads(run("status", "--json").stdout)["surfaces"][0]
        project.materialize(config, [day(1)])
        caught_up = run("status")

        because = "freshness.max_days_behind is 0, found 1: 2026-01-01 is live, 2026-01-02 could be"
        assert behind.exit_code == 1
        assert "│ stale │ 2026-01-01 " in behind.stdout
        assert behind.stdout.endswith(f"\ndemo/home is stale: {because}\n")
        assert (machine["stale"], machine["stale_because"]) == (True, because)
        assert caught_up.exit_code == 0, caught_up.stdout
        assert "│ fresh │ 2026-01-02 " in caught_up.stdout
        assert "stale" not in caught_up.stdout

    def test_show_of_a_damaged_manifest_is_one_line_and_exit_code_1(self, project: Project) -> None:
        project.configure(SMALL)
        project.store.replace(layout.manifest(Place("demo", "home")), b"{")

        result = run("show", "demo/home", "cooc")

        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.count("\n") == 1
        assert "manifest.json is not a manifest" in result.stderr

    def test_what_the_system_refuses_is_told_of_its_surface(self, project: Project) -> None:
        project.configure(SMALL)
        manifest = project.folder / "var" / layout.manifest(Place("demo", "home"))
        manifest.mkdir(parents=True)

        result = run("status")

        assert result.exit_code == 1
        assert "cannot be read" in result.stdout
        assert result.stderr == f"Error: demo/home: [Errno 21] Is a directory: '{manifest}'\n"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Publish every kind once; `a` and `b` are in the catalog, the odd ones are not."""
    with dg.DagsterInstance.ephemeral() as instance:
        project = Project(tmp_path_factory.mktemp("published"), instance)
        config = project.configure()
        odd = ["[bold]x[/bold]", ":apple:", "esc\x1b[31m\x07", "rtl\u202e", "1"]
        events = [event("a", user_id="a"), event("b", user_id="a"), event("a")]
        project.land(day(0), [*events, *[event(item) for item in odd]])
        assert project.materialize(config, [day(0)]).succeeded
    return project


class TestShow:
    """`recsys-assets show`."""

    @pytest.fixture
    def show(self, published: Project, monkeypatch: pytest.MonkeyPatch) -> Run:
        monkeypatch.setenv("RECSYS_CONFIG", str(published.config_file))
        return lambda *arguments: run("show", "demo/home", *arguments)

    def rows(self, result: Result) -> list[list[str]]:
        assert result.exit_code == 0, result.output
        lines = [line for line in result.stdout.splitlines() if "│" in line]
        return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]

    @pytest.mark.parametrize(
        ("arguments", "row"),
        [
            (["popularity"], ["a", "2", "Apple"]),
            (["popularity", "b"], ["b", "1", "Banana"]),
            (["cooc"], ["a", "6", "1", "Apple"]),
            (["cooc", "a"], ["b", "1", "Banana"]),
            (["implicit"], ["a", "2", "a", "Apple"]),
            (["implicit", "a"], ["b", "1", "Banana"]),
            (["session_seq"], ["a", "1", "b", "Banana"]),
            (["session_seq", "a"], ["b", "1", "Banana"]),
            (["content_sim"], ["a", "red, round", "Apple"]),
            (["content_sim", "b"], ["b", "yellow", "Banana"]),
        ],
        ids=" ".join,
    )
    def test_each_kind_is_a_table_with_titles(
        self, show: Run, arguments: list[str], row: list[str]
    ) -> None:
        result = show(*arguments)

        assert row in self.rows(result)
        of = f" of {arguments[1]}" if len(arguments) > 1 else ""
        assert result.stdout.startswith(f"demo/home {arguments[0]}{of}, 2026-01-01")

    def test_a_user_called_like_an_item_does_not_get_its_title(self, show: Run) -> None:
        rows = {row[0]: row for row in self.rows(show("session_seq"))}

        assert rows["a"][-1] == "Banana"

    def test_the_limit_is_told_when_there_is_more(self, show: Run) -> None:
        result = show("popularity", "--limit", "2")

        assert len(self.rows(result)) == 2
        assert result.stdout.endswith("2 of 7 rows; --limit shows more\n")
        assert "--limit" not in show("popularity", "--limit", "7").stdout

    def test_control_characters_in_ids_never_reach_the_terminal(self, show: Run) -> None:
        result = show("popularity")

        assert "esc\\x1b[31m\\x07" in result.stdout
        assert "rtl\\u202e" in result.stdout
        assert not {"\x1b", "\x07", "\u202e"} & set(result.stdout)

    def test_a_control_character_in_the_title_of_the_table_is_escaped_too(self, show: Run) -> None:
        result = show("cooc", "esc\x1b[31m\x07")

        assert result.exit_code == 0
        assert "cooc of esc\\x1b[31m\\x07, " in result.stdout
        assert "\x1b" not in result.stdout

    def test_brackets_and_colons_in_ids_are_printed_as_they_are(self, show: Run) -> None:
        result = show("popularity")

        assert "[bold]x[/bold]" in result.stdout
        assert " :apple: " in result.stdout
        assert "cooc of [bold]x[/bold]," in show("cooc", "[bold]x[/bold]").stdout

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["popular"],
                f"no 'popular' is live for demo/home; there are: {', '.join(sorted(KINDS))}",
            ),
            (["cooc", "zzz"], "no item_id 'zzz' in the live cooc; without an ID, all are listed"),
            (["implicit", "b"], "no user_id 'b' in the live implicit"),
            (["cooc", "\x1b[31m"], "no item_id '\\x1b[31m' in the live cooc"),
        ],
        ids=["kind", "item", "user", "control"],
    )
    def test_what_is_not_there_is_one_line_and_exit_code_1(
        self, show: Run, arguments: list[str], message: str
    ) -> None:
        result = show(*arguments)

        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"Error: {message}")
        assert result.stderr.count("\n") == 1

    def test_json_and_csv_have_all_rows_and_ids_as_they_are(self, show: Run) -> None:
        machine = json.loads(done(show("popularity", "--json")).stdout)
        values = done(show("popularity", "--csv")).stdout

        head = {"tenant": "demo", "surface": "home", "kind": "popularity", "id": None, "total": 7}
        assert {name: machine[name] for name in head} == head
        assert machine["day"] == "2026-01-01"
        assert machine["window"]["end"] == "2026-01-02T00:00:00Z"
        assert machine["rows"][0] == {"item_id": "a", "count": 2, "title": "Apple"}
        with io.StringIO(values) as file:
            table = list(csv.DictReader(file))
        assert [(row["item_id"], int(row["count"])) for row in table] == [
            (row["item_id"], row["count"]) for row in machine["rows"]
        ]
        assert "esc\x1b[31m\x07" in {row["item_id"] for row in table}
        assert values.startswith("item_id,count,title\na,2,Apple\n")

    def test_machines_may_be_limited_too(self, show: Run) -> None:
        assert len(done(show("cooc", "--csv", "--limit", "2")).stdout.splitlines()) == 3
        assert len(json.loads(done(show("cooc", "--json", "--limit", "2")).stdout)["rows"]) == 2

    def test_one_format_at_a_time(self, show: Run) -> None:
        message = refused(show("cooc", "--csv", "--json"), code=2)

        assert "--json and --csv exclude each other" in message

    def test_a_day_is_shown_as_it_was_live_last(self, shop: Shop) -> None:
        then = done(run("show", NAME, "popularity", "--day", str(on(2))))
        now = done(run("show", NAME, "popularity"))

        assert [rows(then), rows(now)] == [[["a", "2"]], [["a", "3"]]]
        assert refused(run("show", NAME, "popularity", "--day", str(on(5))), code=1) == (
            "Error: 2020-01-12 was never live for demo/home; the days that were: 2020-01-10, "
            "2020-01-09, 2020-01-08\n"
        )
        assert refused(run("show", NAME, "implicit", "--day", str(on(2))), code=1) == (
            "Error: no 'implicit' was live for demo/home on 2020-01-09; there are: cooc, "
            "popularity\n"
        )

    def test_before_the_first_publish_it_says_what_to_do(self, project: Project) -> None:
        project.configure()

        result = run("show", "demo/home", "cooc")

        assert result.exit_code == 1
        assert result.stderr == (
            "Error: nothing is live for demo/home yet: materialize a day first\n"
        )

    def test_a_broken_catalog_costs_the_titles_only(self, published: Project, show: Run) -> None:
        catalog = published.folder / "catalog.csv"
        text = catalog.read_text()
        catalog.write_text('"broken')
        try:
            rows = self.rows(show("popularity"))
        finally:
            catalog.write_text(text)

        assert ["a", "2"] in rows


class TestMetrics:
    """`recsys-assets metrics`."""

    def test_it_prints_the_figures_and_a_stale_surface_is_no_failure(
        self, project: Project
    ) -> None:
        project.configure(SMALL)

        result = run("metrics")

        assert result.exit_code == 0
        assert 'recsys_surface_stale{surface="home",tenant="demo"} 1.0\n' in result.stdout
        assert result.stderr == ""

    def test_it_writes_a_file_instead(self, project: Project, tmp_path: Path) -> None:
        project.configure(SMALL)
        file = tmp_path / "recsys.prom"

        result = run("metrics", "--output", str(file))

        assert (result.exit_code, result.output) == (0, "")
        assert 'recsys_surface_stale{surface="home",tenant="demo"} 1.0\n' in file.read_text()

    def test_a_file_that_cannot_be_written_is_one_line_and_exit_code_1(
        self, project: Project, tmp_path: Path
    ) -> None:
        project.configure(SMALL)

        result = run("metrics", "--output", str(tmp_path / "none/recsys.prom"))

        assert result.exit_code == 1
        assert result.stderr.startswith("Error: [Errno 2] No such file or directory: ")
        assert result.stderr.count("\n") == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--output", "x.prom", "--port", "9200"], "--output and --port exclude each other"),
            (["--interval", "60"], "--interval and --host are about --port"),
            (["--output", "x.prom", "--host", "::1"], "--interval and --host are about"),
            (["--port", "0"], "0 is not in the range"),
        ],
    )
    def test_what_does_not_go_together_is_refused(
        self, project: Project, arguments: list[str], message: str
    ) -> None:
        project.configure(SMALL)

        result = run("metrics", *arguments)

        assert result.exit_code == 2
        assert message in result.stderr

    def test_a_port_in_use_is_one_line_and_exit_code_1(self, project: Project) -> None:
        project.configure(SMALL)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()

            result = run("metrics", "--port", str(taken.getsockname()[1]))

        assert result.exit_code == 1
        assert result.stderr == "Error: [Errno 98] Address already in use\n"


class TestHistory:
    """`history`."""

    def test_the_newest_flip_comes_first_with_who_and_why(self, shop: Shop) -> None:
        pin(shop.store, shop.surface, WHY)

        found = rows(done(run("history", NAME)))

        assert [row[:3] for row in found] == [
            ["4", "pin (pinned)", "2020-01-10"],
            ["3", "publish", "2020-01-10"],
            ["2", "publish", "2020-01-09"],
            ["1", "publish", "2020-01-08"],
        ]
        assert found[1][3:] == ["2020-01-10T05:00:00Z", "somebody", "an incident", "run-1"]

    def test_the_limit_cuts_it(self, shop: Shop) -> None:
        assert [row[0] for row in rows(done(run("history", NAME, "--limit", "2")))] == ["3", "2"]

    def test_json_holds_the_whole_records(self, shop: Shop) -> None:
        found = json.loads(done(run("history", NAME, "--json")).stdout)["publications"]

        assert found == [
            publication.to_json() for publication in publications(shop.store, shop.surface, limit=9)
        ]

    def test_before_the_first_publish_it_is_empty(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure(shop, shop.root.parent, monkeypatch, "checkout")

        assert done(run("history", "demo/checkout")).stdout == (
            "nothing of demo/checkout was published here yet\n"
        )
        assert json.loads(done(run("history", "demo/checkout", "--json")).stdout) == {
            "publications": [],
            "overrides": [],
        }

    def test_control_characters_in_a_reason_never_reach_the_terminal(self, shop: Shop) -> None:
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
    def test_it_tells_what_was_live(self, shop: Shop, time: str, generation: str) -> None:
        flip, *kinds = rows(done(run("at", NAME, "--time", time)))

        found = json.loads(done(run("at", NAME, "--time", time, "--json")).stdout)
        assert (flip[0], str(found["generation"])) == (generation, generation)
        # A long URI is folded: its rest is in the next row.
        told = "".join(cell for row in kinds for cell in row)
        assert told == "".join(kind + uri for kind, uri in found["current"].items())

    def test_before_the_first_publish_it_is_told(self, shop: Shop) -> None:
        assert refused(run("at", NAME, "--time", "2020-01-10T02:59"), code=1) == (
            "Error: nothing of demo/home was live at 2020-01-10T02:59:00Z; the first publication "
            "is of 2020-01-10T03:00:00.000000Z\n"
        )

    @pytest.mark.parametrize("time", ["yesterday", "", "2020-13-01", "0001-01-01T00:00+05:00"])
    def test_what_is_no_time_is_refused(self, shop: Shop, time: str) -> None:
        assert refused(run("at", NAME, "--time", time), code=2).startswith(
            f"Error: --time {time!r} is no ISO 8601 time"
        )

    def test_a_time_without_an_offset_is_utc(self) -> None:
        assert _moment("2026-01-05T12:00").tzinfo == UTC
        assert _moment("2026-01-05T12:00+02:00") == _moment("2026-01-05T10:00Z")
        with pytest.raises(ConfigError):
            _moment("noon")


class TestStaged:
    """`show --staged` and `diff ... staged`: what a release would publish."""

    @pytest.fixture
    def pinned(self, shop: Shop) -> Shop:
        """Pin a surface, and stage the next day, 7 in it."""
        pin(shop.store, shop.surface, WHY)
        shop.stage(on(4), 7)
        return shop

    def test_one_can_look_before_it_is_live(self, pinned: Shop) -> None:
        shown = json.loads(done(run("show", NAME, "popularity", "--staged", "--json")).stdout)
        live = json.loads(done(run("show", NAME, "popularity", "--json")).stdout)

        assert (shown["rows"], shown["window"]) == (
            [{"item_id": "a", "count": 7}],
            Window.ending_with(on(4), days=1).to_json(),
        )
        assert live["rows"] == [{"item_id": "a", "count": 3}]

    def test_it_is_compared_with_what_is_live(self, pinned: Shop) -> None:
        result = done(run("diff", NAME, "live", "staged"))

        assert result.stdout.startswith("demo/home, generation 4 to staged 2020-01-11\n")
        assert {row[0] for row in rows(result)} == {"popularity", "cooc"}
        found = json.loads(done(run("diff", NAME, "staged", "2", "--json")).stdout)
        assert found["before"]["staged"] == "2020-01-11"
        assert found["after"]["generation"] == 2

    @pytest.mark.parametrize(
        "arguments", [("diff", NAME, "live", "staged"), ("show", NAME, "cooc", "--staged")]
    )
    def test_where_nothing_is_held_back_it_is_told(
        self, shop: Shop, arguments: tuple[str, ...]
    ) -> None:
        assert refused(run(*arguments), code=1) == (
            "Error: nothing of demo/home is staged that is not live, or older than what is live\n"
        )

    def test_a_day_and_what_is_staged_exclude_each_other(self, pinned: Shop) -> None:
        message = refused(run("show", NAME, "cooc", "--staged", "--day", "2020-01-08"), code=2)
        assert "--day and --staged exclude each other" in message


class TestDiff:
    """`diff`."""

    def test_it_compares_with_what_is_live(self, once: Project) -> None:
        result = done(run("diff", NAME, "previous"))

        assert result.stdout.startswith("demo/home, generation 1 to 2\n")
        known = {"popularity", "cooc", "implicit", "session_seq", "content_sim"}
        assert [row for row in rows(result) if row[0] in known] == [
            ["popularity", "items", "2", "4", "3", "1", "1", "25%", "25%"],
            ["cooc", "items", "2", "4", "3", "1", "1", "0%", "0%"],
            ["implicit", "users", "1", "1", "0", "0", "1", "25%", "25%"],
            ["implicit", "items", "2", "4", "3", "1", "", "", ""],
            ["session_seq", "users", "1", "1", "0", "0", "1", "0%", "0%"],
            ["session_seq", "items", "1", "3", "3", "1", "", "", ""],
            ["content_sim", "items", "2", "2", "0", "0", "0", "", ""],
        ]

    def test_json_has_both_records_and_examples(self, once: Project) -> None:
        found = json.loads(done(run("diff", NAME, "1", "2026-01-02", "--json")).stdout)

        assert (found["before"]["generation"], found["after"]["generation"]) == (1, 2)
        popularity = next(of for of in found["differences"] if of["kind"] == "popularity")
        assert popularity["examples"] == {
            "added": ["c", "esc\x1b[31m\x07", "rtl\u202e"],
            "removed": ["a"],
            "moved": ["b"],
        }

    def test_two_ways_round_and_against_itself(self, once: Project) -> None:
        back = rows(done(run("diff", NAME, "live", "1")))

        assert back[0] == ["popularity", "items", "4", "2", "1", "3", "1", "25%", "25%"]
        assert done(run("diff", NAME, "live")).stdout == (
            "demo/home, generation 2 to 2: nothing differs: the same versions are named\n"
        )

    def test_what_is_not_there_is_told(self, once: Project) -> None:
        assert refused(run("diff", NAME, "7"), code=1) == (
            "Error: demo/home has no generation 7; there are 1 to 2\n"
        )
        assert "Missing argument 'A'" in refused(run("diff", NAME), code=2)


class TestTrace:
    """`trace`."""

    def test_it_leads_back_to_the_raw_files(self, once: Project) -> None:
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
        uri = once.store.uri(layout.canonical(Place("demo", "home"), day(1)))
        assert f"{day(1)}: {uri}, fingerprint " in result.stdout

    def test_json_has_it_all(self, once: Project) -> None:
        found = json.loads(done(run("trace", NAME, "popularity", "--json")).stdout)

        assert (found["kind"], found["owner"], found["is_current"]) == ("popularity", None, True)
        assert found["days"][0]["day"] == "2026-01-02"
        assert found["publication"]["generation"] == 2
        assert found["record"]["uri"] == found["uri"]

    def test_control_characters_in_an_id_never_reach_the_terminal(self, once: Project) -> None:
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
        project.store.delete(layout.canonical(Place("demo", "home"), day(0)))
        (project.folder / "catalog.csv").write_text("id,tags\na,other\n")
        monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))

        counted = done(run("trace", NAME, "popularity"))
        tagged = done(run("trace", NAME, "content_sim", "a"))

        assert "fingerprint none: it is not there\n" in counted.stdout
        for result in (counted, tagged):
            assert ["inputs", "changed since it was built"] in rows(result)
