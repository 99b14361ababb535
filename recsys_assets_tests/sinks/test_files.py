"""Files of a sink: what the pointer says, and what is removed when."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from recsys_assets.config import FilesSink
from recsys_assets.errors import SinkError
from recsys_assets.sinks import files
from recsys_assets.sinks.files import write_table
from recsys_assets.storage import open_store
from recsys_assets_tests.shop import Shop, on
from recsys_assets_tests.sinks.conftest import Tried, in_files
from recsys_assets_tests.storage.conftest import new_prefix, use
from recsys_assets_tests.storage.servers import Server

HOUR: Final = 3600


@pytest.fixture
def tried(shop: Shop) -> Tried:
    return in_files(shop, "parquet")


def folder(tried: Tried) -> Path:
    return tried.shop.root / "exports/demo/home"


def pointer(tried: Tried) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder(tried) / "current.parquet.json").read_bytes())
    return found


def generations(tried: Tried, kind: str = "cooc") -> list[int]:
    return sorted(int(path.name.partition("-")[0]) for path in (folder(tried) / kind).iterdir())


def later(monkeypatch: pytest.MonkeyPatch, **much: float) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(**much)

    monkeypatch.setattr(files, "datetime", Later)


def test_a_file_that_has_left_stays_for_the_grace_and_is_never_named_again(
    tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in (1, 2):
        tried.publish(day, day)
        tried.deliver()
    assert generations(tried) == [1, 2]
    later(monkeypatch, minutes=61)

    tried.shop.rollback("1")
    tried.deliver()

    assert pointer(tried)["files"]["cooc"].split("/")[-1].startswith("3-")
    assert generations(tried) == [2, 3], "the 2nd leaves now"
    later(monkeypatch, minutes=122)
    tried.deliver()
    assert generations(tried) == [3]
    assert tried.number == 1


def test_what_a_killed_deliverer_wrote_is_removed_and_what_one_is_writing_is_not(
    tried: Tried,
) -> None:
    tried.publish(1, 1)
    tried.deliver()
    cooc, version = folder(tried) / "cooc", "e" * 64
    long_ago = datetime.now(UTC).timestamp() - 2 * HOUR
    for name in (f"1-{version}.parquet", f"2-{version}.parquet", "mine.parquet"):
        (cooc / name).write_bytes(b"")
        os.utime(cooc / name, (long_ago, long_ago))
    (cooc / f"0-{version}.parquet").write_bytes(b"")  # a moment ago

    tried.deliver()

    left = {path.name for path in cooc.iterdir()}
    assert f"1-{version}.parquet" not in left
    assert {f"2-{version}.parquet", "mine.parquet", f"0-{version}.parquet"} <= left


def test_an_unchanged_kind_keeps_its_file(tried: Tried) -> None:
    tried.publish(1, 1)
    tried.deliver()
    current = {**tried.shop.live.current, "popularity": tried.shop.stage(on(1), 2)["popularity"]}
    tried.shop.publish(on(1), current)

    assert tried.deliver().rows == {"popularity": 1}
    names = {kind: uri.split("/")[-1][:2] for kind, uri in pointer(tried)["files"].items()}
    assert names == {"popularity": "2-", "cooc": "1-"}


def test_a_damaged_pointer_is_told_and_nothing_is_written(tried: Tried) -> None:
    tried.publish(1, 1)
    tried.deliver()
    (folder(tried) / "current.parquet.json").write_bytes(b"{")
    before = tried.shop.files("exports")

    with pytest.raises(SinkError, match=r"is no pointer of a sink: .* Move it away"):
        tried.deliver()

    assert tried.shop.files("exports") == before


def test_two_formats_lie_side_by_side_elsewhere(shop: Shop, tmp_path: Path) -> None:
    for form in ("parquet", "csv"):
        tried = in_files(shop, form)
        keys = {**tried.config.model_dump(), "path": str(tmp_path / "out")}
        tried.config = FilesSink.model_validate(keys)
        if form == "parquet":
            tried.publish(1, 1)
        tried.deliver()

    names = {path.name for path in (tmp_path / "out/demo/home").iterdir()}
    assert names >= {"current.parquet.json", "current.csv.json", "cooc", "popularity"}


def test_lists_are_json_in_csv(tmp_path: Path) -> None:
    rows = pl.DataFrame({"item_id": ["a", "b"], "tags": [['x"y', "ü, z"], ["w"]]})
    write_table(rows, tmp_path / "tags.csv", "csv")

    read = pl.read_csv(tmp_path / "tags.csv").rows()
    assert [(item, json.loads(tags)) for item, tags in read] == rows.rows()


def test_an_object_store_holds_them_too(
    tried: Tried, s3_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(s3_server, monkeypatch)
    url = s3_server.url(new_prefix())
    tried.config = FilesSink.model_validate({**tried.config.model_dump(), "path": url})
    for day in (1, 2):
        tried.publish(day, day)
        tried.deliver()
    tried.shop.rollback("previous")
    later(monkeypatch, minutes=61)

    assert tried.deliver().outcome == "delivered"
    assert tried.deliver().outcome == "unchanged"

    held, store = tried.held, open_store(url)
    assert held
    assert held.generation == 3
    found = store.read("demo/home/current.parquet.json")
    assert found
    (uri,) = [uri for kind, uri in json.loads(found.data)["files"].items() if kind == "cooc"]
    file, _ = store.open(store.key(uri))
    with file:
        assert pl.read_parquet(file).rows() == [("a", "b", 1)]
