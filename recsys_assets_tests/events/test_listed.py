"""The list of withdrawn items: how it is written, and what is said of one that is wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.config import Surface
from recsys_assets.errors import DeniedItemsError
from recsys_assets.events.catalog import CatalogCache
from recsys_assets.events.listed import DeniedItems, ListedItems, known_items, read_denied
from recsys_assets.texts import WHITE_SPACE
from recsys_assets_tests.audit.test_checks import surface
from recsys_assets_tests.project import Project


def naming(path: Path) -> Surface:
    of = surface()
    return of.model_copy(update={"items": of.items.model_copy(update={"deny": str(path)})})


def read(path: Path, data: bytes) -> DeniedItems:
    path.write_bytes(data)
    denied = read_denied(naming(path))
    assert denied is not None
    return denied


def problem(path: Path) -> str:
    with pytest.raises(DeniedItemsError) as error:
        read_denied(naming(path))
    return str(error.value).replace(str(path), "PATH")


@pytest.mark.parametrize(
    ("data", "items"),
    [
        (b"", set()),
        (b"\n \n\t\r\n", set()),
        (b"# recalled\n  # too\na\n", {"a"}),
        (b"a\nb\na", {"a", "b"}),
        (b"a\r\nb\r\n", {"a", "b"}),
        (b"\xef\xbb\xbfa\nb\n", {"a", "b"}),
        ("\u3000é \n".encode(), {"é"}),
        (b"a b, c;d\n", {"a b, c;d"}),
        (b"a#1\n", {"a#1"}),
        (b"\x1ca\x1c\n", {"\x1ca\x1c"}),
        ("a\u2028b\n".encode(), {"a\u2028b"}),
    ],
)
def test_it_has_an_id_a_line(tmp_path: Path, data: bytes, items: set[str]) -> None:
    found = read(tmp_path / "denied.txt", data)

    assert found.items == items
    assert found.fingerprint == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a\nb # why\n", "line 2: has a # behind an id. Put the comment on a line of its own"),
        (b"a\t#why\n", "line 1: has a # behind an id. Put the comment on a line of its own"),
        (b"a\n\xff\n", "line 2: is not UTF-8 (invalid start byte): write plain text"),
    ],
)
def test_a_line_that_would_deny_nothing_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "denied.txt"
    path.write_bytes(data)

    assert problem(path) == f"items.deny: PATH, {said}"


def test_a_list_that_is_not_there_or_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "denied.txt"
    assert problem(path).startswith(
        "items.deny: PATH is not there. Put the list there, or an empty"
    )
    path.write_bytes(b"aaaa")
    monkeypatch.setattr("recsys_assets.events.listed._MOST_BYTES", 3)
    assert problem(path) == "items.deny: PATH is larger than 3 bytes. It is to hold an id a line"


def test_without_a_list_nothing_is_read() -> None:
    assert read_denied(surface()) is None


IDS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="#\n"), min_size=1, max_size=6
).filter(lambda text: text == text.strip(WHITE_SPACE) and text)


@given(st.sets(IDS, max_size=6), st.sets(IDS, max_size=6), st.sets(IDS, max_size=6) | st.none())
def test_what_may_be_listed_is_neither_denied_nor_unknown(
    items: set[str], denied: set[str], known: set[str] | None
) -> None:
    catalog = None if known is None else pl.Series([*known], dtype=pl.String)
    lists = ListedItems(DeniedItems(frozenset(denied), "f"), catalog)
    ids = pl.Series("item_id", [*items], dtype=pl.String)

    listed, counts = lists.judge(ids)

    assert listed is not None
    assert set(ids.filter(listed)) == items - denied - (
        items - known if known is not None else set()
    )
    assert counts["denied_items"] == len(items & denied)
    assert counts.get("not_in_catalog") == (None if known is None else len(items - known))


def test_a_variant_knows_the_items_of_its_base(project: Project) -> None:
    variant = {"surface": "lab", "variant_of": "demo/home", "artifacts": {"content_sim": {}}}
    config = project.configure({}, variant)
    (project.folder / "catalog.csv").write_text("item_id,tags,namespace\na,x,home\nb,y,lab\n")

    known = [known_items(each, CatalogCache()) for each in config.surfaces]

    assert [of.to_list() for of in known if of is not None] == [["a"], ["a"]]
