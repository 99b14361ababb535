"""`deliver` and `export`, and what `status` tells of sinks."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from recsys_assets.config import load_config
from recsys_assets.live import metrics
from recsys_assets_tests.cli.conftest import NAME, done, refused, run
from recsys_assets_tests.shop import Shop, on, time_of

TABLE = {"name": "table", "type": "files", "path": "out"}
DATABASE = {"name": "db", "type": "postgres", "dsn_env": "NOBODY_SETS_THIS"}


@pytest.fixture
def out(shop: Shop) -> Path:
    """Give the surface, of which three days are live, two sinks; one of them has no address."""
    file = shop.root.parent / "surfaces.yaml"
    config = yaml.safe_load(file.read_text())
    config["surfaces"][0] |= {"sinks": [TABLE, DATABASE], "freshness": {"max_days_behind": 100_000}}
    file.write_text(yaml.safe_dump(config))
    return file.parent / "out"


def test_each_sink_is_delivered_to_and_one_that_fails_holds_back_no_other(out: Path) -> None:
    result = run("deliver", NAME)

    assert result.exit_code == 2
    assert result.stdout == "sink table: delivered, holds generation 3; rows written: 2\n"
    assert "Error: sink db: $NOBODY_SETS_THIS is not set: the database in" in result.stderr
    again = done(run("deliver", NAME, "--sink", "table"))
    assert again.stdout == "sink table: unchanged, holds generation 3\n"
    assert (out / "demo/home/current.parquet.json").exists()


def test_a_sink_that_is_not_there_is_refused_and_those_that_are_named(out: Path) -> None:
    said = refused(run("deliver", NAME, "--sink", "other"), code=2)

    assert said == "Error: surface demo/home has no sink 'other'; there are: table, db\n"


def test_status_tells_what_each_holds_and_what_has_failed(out: Path, shop: Shop) -> None:
    run("deliver", NAME)
    result = run("status", "--json")
    (surface,) = json.loads(result.stdout)["surfaces"]
    table, database = surface["sinks"]

    assert (table["behind"], table["generation"], table["failed"]) == (False, 3, None)
    assert (database["behind"], database["late"], database["generation"]) == (True, True, None)
    assert database["failed"]["tries"] == 1
    assert result.exit_code == 1, "one is late"
    text = run("status").stdout
    assert "holds what is live" in text
    assert "behind since" in text
    assert "NOBODY_SETS_THIS" in text


def test_a_dead_letter_is_told_until_it_is_delivered(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = out.parent / "surfaces.yaml"
    config = yaml.safe_load(file.read_text())
    hook = {"name": "hook", "type": "webhook", "url_env": "HOOK", "secret_env": "HOOK_SECRET"}
    config["surfaces"][0]["sinks"] = [hook | {"max_tries": 2}]
    file.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("HOOK", "http://127.0.0.1:1/")
    monkeypatch.setenv("HOOK_SECRET", "x")
    run("deliver", NAME)
    assert "dead letter" not in run("status").stdout
    run("deliver", NAME)

    assert "dead letter: generation 3" in " ".join(run("status").stdout.replace("│", " ").split())
    (surface,) = json.loads(run("status", "--json").stdout)["surfaces"]
    assert surface["sinks"][0]["failed"]["dead"] == 3


def test_prometheus_is_told_the_same(out: Path, shop: Shop) -> None:
    run("deliver", NAME)
    config = load_config(out.parent / "surfaces.yaml")
    text = metrics.text(config, clock=shop.time)

    of = 'sink="{}",surface="home",tenant="demo",type="{}"'
    assert f"recsys_sink_behind{{{of.format('table', 'files')}}} 0.0" in text
    assert f"recsys_sink_behind{{{of.format('db', 'postgres')}}} 1.0" in text
    assert f"recsys_sink_failures{{{of.format('db', 'postgres')}}} 1.0" in text
    assert f"recsys_sink_generation{{{of.format('table', 'files')}}} 3.0" in text
    assert f"recsys_sink_max_behind_seconds{{{of.format('db', 'postgres')}}} 900.0" in text


def test_behind_counts_from_the_first_flip_that_is_missing(out: Path, shop: Shop) -> None:
    run("deliver", NAME)
    with time_of(shop.time):
        shop.time.passes(minutes=10)
        shop.day(on(4), 4)
        shop.time.passes(minutes=4)
        shop.day(on(5), 5)
        shop.time.passes(minutes=2)
    config = load_config(out.parent / "surfaces.yaml")

    text = metrics.text(config, clock=shop.time)

    (seconds,) = [
        float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith('recsys_sink_behind_seconds{sink="table"')
    ]
    assert seconds == 6 * 60


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_any_generation_is_exported_without_a_sink(shop: Shop, tmp_path: Path, form: str) -> None:
    read = pl.read_parquet if form == "parquet" else pl.read_csv
    to = ("--to", str(tmp_path / "here"), "--format", form)

    printed = done(run("export", NAME, *to)).stdout
    assert f"popularity.{form}: 1 rows of generation 3" in printed
    assert read(tmp_path / f"here/popularity.{form}").rows() == [("a", 3)]
    done(run("export", NAME, *to, "--generation", "1"))
    assert read(tmp_path / f"here/cooc.{form}").rows() == [("a", "b", 1)]
    assert len([*(tmp_path / "here").iterdir()]) == 2

    assert "has no generation 9" in refused(run("export", NAME, *to, "--generation", "9"), code=1)

    before = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    for blob in (shop.root / "objectstore/demo/home/cooc").iterdir():
        blob.unlink()
    assert "is missing" in refused(run("export", NAME, *to), code=1)
    after = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir()}
    assert after == before, "of one generation still"
