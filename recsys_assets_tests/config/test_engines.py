"""`engine` of a surface: what is taken, and what each mistake is told as."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from recsys_assets.config import Popularity
from recsys_assets.kinds import KINDS
from recsys_assets_tests.config.files import SURFACE, UNTOLD, load, problems

SPARK: Final = {"type": "spark", "remote_env": "SPARK_ADDRESS"}


def test_polars_is_the_default_and_a_directory_is_relative_to_the_file(file: Path) -> None:
    spilling = {"type": "duckdb", "memory_limit": "3GB", "spill": "big", "spill_limit": "9GB"}
    plain, other = load(file, SURFACE, {**SURFACE, "surface": "b", "engine": spilling}).surfaces

    assert plain.engine.type == "polars"
    assert other.engine.spill == str(file.parent / "big")


def test_a_variant_has_the_engine_of_its_base_or_its_own(file: Path) -> None:
    variant = {"tenant": "demo", "artifacts": {"popularity": {}}, "variant_of": "demo/home"}
    config = load(
        file,
        {**SURFACE, "engine": {"type": "duckdb"}},
        {**variant, "surface": "same"},
        {**variant, "surface": "own", "engine": SPARK},
    )

    assert [of.engine.type for of in config.surfaces] == ["duckdb", "duckdb", "spark"]


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        ({"type": "daft"}, "engine.type: Input should be 'polars', 'duckdb' or 'spark', got text"),
        ({"memory_limit": "3GB"}, "engine: memory_limit: goes with `type: duckdb`, this is polars"),
        ({"type": "duckdb", "memory_limit": "3"}, "engine.memory_limit: must be an amount with its "
         "unit, such as 3GB"),
        ({"type": "duckdb", "spill_limit": "40"}, "engine.spill_limit: must be an amount with its "
         "unit, such as 3GB"),
        ({"type": "duckdb", "spill": "s3://b"}, "engine.spill: must be a directory of this "
         "machine"),
        ({"type": "spark"}, "engine: remote_env: is required with `type: spark`: the name of an "
         "environment variable"),
        ({"type": "spark", "remote_env": f"sc://h/;token={UNTOLD}"}, "engine.remote_env: must be "
         "the name of an environment variable: the URL is a secret and stays out of this file"),
        (SPARK | {"root": f"s3a://u:{UNTOLD}@b"}, "engine.root: must be a path, or a URL without "
         "credentials and parameters"),
        (SPARK | {"spill": "x"}, "engine: spill: goes with `type: duckdb`, this is spark"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_key_and_without_secrets(
    file: Path, engine: dict[str, Any], told: str
) -> None:
    (problem,) = problems(file, {**SURFACE, "engine": engine})

    assert problem == f"surface demo/home: {told}"


def test_the_files_of_a_cluster_may_lie_in_a_container_of_azure(file: Path) -> None:
    root = "abfss://container@account.dfs.core.windows.net/recsys/"
    config = load(file, {**SURFACE, "engine": SPARK | {"root": root}})

    assert config.surfaces[0].engine.root == root.rstrip("/")


@pytest.mark.parametrize("engine", [{"type": "duckdb"}, SPARK])
def test_a_kind_without_sql_is_refused_with_another_engine_than_polars(
    file: Path, engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Popularity, "in_sql", False)

    assert problems(file, {**SURFACE, "engine": engine}) == [
        "surface demo/home: artifacts.popularity has no rule in SQL, so only "
        f"`engine: {{type: polars}}` computes it, this is {engine['type']}"
    ]
    assert load(file, SURFACE).surfaces


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_options_of_a_kind_say_whether_its_row_has_sql(kind: Any) -> None:
    assert kind.options.in_sql == (kind.sql is not None)
