"""The item catalog, as CSV or JSON lines; a mistake in it is told with its line."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.config import Surface
from recsys_assets.config.catalogs import Catalog
from recsys_assets.errors import CatalogError, ConfigError, RecsysAssetsError, StoreUnavailableError
from recsys_assets.events import catalog
from recsys_assets.events.catalog import (
    CatalogCache,
    CatalogSnapshot,
)
from recsys_assets.events.labels import item_labels, item_titles
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.store import Versioned
from recsys_assets_tests.needed import examples
from recsys_assets_tests.project import Project

Row = tuple[str, list[str], str, str]


def of(path: Path | str, **keys: Any) -> Catalog:
    return Catalog.model_validate({"path": str(path), **keys})


def read_catalog(path: Path | str, **keys: Any) -> CatalogSnapshot:
    return catalog.read_catalog(of(path, **keys))


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(folder: Path, name: str, content: str | bytes) -> list[Row]:
    """Return item_id, tags, namespace and title of each row."""
    frame = read_catalog(str(write(folder, name, content))).frame
    return [(row[0], row[1], row[2], row[3]) for row in frame.rows()]


def refusal(folder: Path, name: str, content: str | bytes) -> str:
    """Return what the error says after the name of the file, which every error must have."""
    path = write(folder, name, content)
    with pytest.raises(CatalogError) as raised:
        read_catalog(str(path))
    return str(raised.value).removeprefix(f"catalog {path}")


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("catalogs")


# Both formats


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", "item_id,tags,namespace,title\nb,x|y,home,T\na,,,\nb,z,cart,\n"),
        (
            "c.jsonl",
            '{"item_id":"b","tags":["x|y"],"namespace":"home","title":"T"}\n'
            '{"item_id":"a","tags":[""]}\n'
            '{"item_id":"b","tags":["z"],"namespace":"cart"}\n',
        ),
    ],
)
def test_rows_are_in_file_order_and_nothing_is_normalised(
    tmp_path: Path, name: str, content: str
) -> None:
    snapshot = read_catalog(str(write(tmp_path, name, content)))

    assert snapshot.frame.schema == {
        "item_id": pl.String,
        "tags": pl.List(pl.String),
        "namespace": pl.String,
        "title": pl.String,
    }
    assert snapshot.frame.rows() == [
        ("b", ["x|y"], "home", "T"),
        ("a", [""], "", ""),
        ("b", ["z"], "cart", ""),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", b"item_id,tags\na,x\n"),
        ("c.csv", b"\xef\xbb\xbfitem_id,tags\r\na,x\r\n"),
        ("c.jsonl", b'{"item_id":"a"}\n\n'),
        ("c.jsonl", b""),
    ],
)
def test_the_fingerprint_is_the_hash_of_the_bytes(
    tmp_path: Path, name: str, content: bytes
) -> None:
    snapshot = read_catalog(str(write(tmp_path, name, content)))

    assert snapshot.fingerprint == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("name", "content"),
    [("c.csv", "item_id,tags\na,x\n"), ("c.jsonl", '{"item_id":"a","tags":["x"]}\n')],
)
def test_a_byte_order_mark_is_dropped(tmp_path: Path, name: str, content: str) -> None:
    assert rows(tmp_path, name, "\ufeff" + content) == [("a", ["x"], "", "")]


@pytest.mark.parametrize("name", ["c.csv", "c.jsonl"])
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(CatalogError, match="cannot be read: it is not there") as raised:
        read_catalog(str(tmp_path / name))
    assert str(tmp_path / name) in str(raised.value)

    (tmp_path / name).mkdir()
    with pytest.raises(CatalogError, match="Is a directory"):
        read_catalog(str(tmp_path / name))


@pytest.mark.parametrize("name", ["c.csv", "c.jsonl"])
@pytest.mark.parametrize(
    ("content", "line"),
    [(b"\xff", 1), (b"item_id,tags\na,x\nb,caf\xe9\n", 3), (b"{}\r\n{}\r\n\r\n\xc3", 4)],
)
def test_text_that_is_not_utf_8_is_refused_with_its_line(
    tmp_path: Path, name: str, content: bytes, line: int
) -> None:
    assert refusal(tmp_path, name, content).startswith(f", line {line}: is not UTF-8")


def test_a_catalog_named_alone_is_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "c.csv", "item_id,tags\na,x\n")
    monkeypatch.chdir(tmp_path)

    assert read_catalog("c.csv").frame["item_id"].to_list() == ["a"]


def test_a_catalog_at_the_top_of_the_filesystem_is_not_that_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "recsys-absent.csv", "item_id,tags\nwrong,x\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(CatalogError, match=r"catalog /recsys-absent\.csv cannot be read"):
        read_catalog("/recsys-absent.csv")


def test_a_catalog_in_an_object_store_is_read_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "C.CSV", "item_id,tags\na,x\n")
    stores = {"s3://bucket/some/folder": LocalStore(tmp_path)}
    monkeypatch.setattr(catalog, "open_store", stores.__getitem__)

    snapshot = read_catalog("s3://bucket/some/folder/C.CSV")

    assert snapshot.frame["item_id"].to_list() == ["a"]
    with pytest.raises(
        CatalogError, match=r"catalog s3://bucket/some/folder/d\.csv cannot be read"
    ):
        read_catalog("s3://bucket/some/folder/d.csv")


@pytest.mark.parametrize("name", ["c.csv.gz", "C.CSV.GZ", "c.jsonl.gz"])
def test_a_compressed_catalog_is_told_by_its_bytes_as_they_are_stored(
    tmp_path: Path, name: str
) -> None:
    plain = {"csv": b"item_id,tags\na,x\n", "jsonl": b'{"item_id":"a","tags":["x"]}\n'}
    data = gzip.compress(plain[name.lower().split(".")[1]])

    snapshot = read_catalog(str(write(tmp_path, name, data)))

    assert snapshot.frame.rows() == [("a", ["x"], "", "")]
    assert snapshot.fingerprint == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "data",
    [b"item_id,tags\n", b"", gzip.compress(b"item_id,tags\na,x\n")[:-9], b"\x1f\x8b\x08" * 9],
    ids=["plain", "empty", "cut short", "not gzip"],  # gzip writes the time
)
def test_a_damaged_compressed_catalog_is_refused(tmp_path: Path, data: bytes) -> None:
    said = refusal(tmp_path, "c.csv.gz", data)

    assert said.startswith((" cannot be decompressed: ", ": no column for item_id"))


def test_a_catalog_that_becomes_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "_MOST_BYTES", 20)

    assert rows(tmp_path, "c.csv.gz", gzip.compress(b"item_id,tags\naaa,xxx")) != []
    assert refusal(tmp_path, "c.csv.gz", gzip.compress(b"item_id,tags\naaaa,xxx")) == (
        " is larger than 20 bytes, decompressed"
    )


def test_a_catalog_that_becomes_far_larger_than_it_was_is_refused(tmp_path: Path) -> None:
    """As rows, 150 MB of them take more than 6 GB."""
    data = gzip.compress(b"item_id,tags\n" + b"a,x\n" * 2_200_000)

    assert refusal(tmp_path, "c.csv.gz", data) == " is larger than 8,388,608 bytes, decompressed"


def test_a_store_that_does_not_answer_is_no_mistake_of_the_catalog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Editing the catalog would not help."""

    class Silent(LocalStore):
        def read(self, key: str) -> Versioned | None:
            raise StoreUnavailableError(f"cannot read {key}: no answer came in time.")

    monkeypatch.setattr(catalog, "open_store", Silent)

    with pytest.raises(StoreUnavailableError, match=r"cannot read c\.jsonl"):
        read_catalog("s3://bucket/c.jsonl")


# CSV


@pytest.mark.parametrize(
    "item_id", ["item_id", "itemid", "id", "ITEM_ID", "ItemId", " Id\t", '" id "']
)
@pytest.mark.parametrize("tags", ["tags", "tag_list", "Tags", " TAG_LIST "])
def test_columns_are_found_by_any_of_their_names(tmp_path: Path, item_id: str, tags: str) -> None:
    content = f"price,{tags},{item_id}\n9,x,a\n"

    assert rows(tmp_path, "c.csv", content) == [("a", ["x"], "", "")]


@pytest.mark.parametrize("namespace", ["namespace", "surface", "Surface", " NAMESPACE "])
def test_namespace_and_title_are_optional(tmp_path: Path, namespace: str) -> None:
    content = f"{namespace},id,Title,tags\nhome,a,A thing,x\n"

    assert rows(tmp_path, "c.csv", content) == [("a", ["x"], "home", "A thing")]
    assert rows(tmp_path, "c.csv", "id,tags\na,x\n") == [("a", ["x"], "", "")]


def test_of_several_names_for_a_column_the_first_known_one_wins(tmp_path: Path) -> None:
    """The order of the names decides, not the order of the columns."""
    content = (
        "id,itemid,item_id,tag_list,tags,surface,namespace\n"
        "from id,from itemid,from item_id,from tag_list,from tags,from surface,from namespace\n"
    )
    assert rows(tmp_path, "c.csv", content) == [
        ("from item_id", ["from tags"], "from namespace", "")
    ]
    assert rows(tmp_path, "c.csv", "id,itemid,tags\n1,2,x\n") == [("2", ["x"], "", "")]


def test_of_two_columns_with_the_same_name_the_first_wins(tmp_path: Path) -> None:
    assert rows(tmp_path, "c.csv", "id,tags,ID\n1,x,2\n") == [("1", ["x"], "", "")]


@pytest.mark.parametrize(
    ("content", "missing", "found"),
    [
        ("code,tags\na,x\n", "item_id", "code, tags"),
        ("Item_ID,labels\na,x\n", "tags", "item_id, labels"),
        ("a,x\n", "item_id", "a, x"),
        ("", "item_id", "an empty file"),
        ("\ufeff", "item_id", "an empty file"),
    ],
)
def test_without_a_needed_column_the_error_names_those_found(
    tmp_path: Path, content: str, missing: str, found: str
) -> None:
    expected = {"item_id": "item_id, itemid, id", "tags": "tags, tag_list"}[missing]

    assert refusal(tmp_path, "c.csv", content) == (
        f": no column for {missing}; expected one of {expected}, found {found}"
    )


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (
            "movieId,title,genres\n1,Toy Story (1995),Adventure|Comedy\n",
            "Say catalog.columns: {item_id: movieid, tags: genres}",
        ),
        ("sku,tags\na,x\n", "Say catalog.columns: {item_id: sku}"),
        ("id,category\na,x\n", "Say catalog.columns: {tags: category}"),
        (
            "item_id;tags\na;x\n",
            'separated by semicolons: say catalog.delimiter: ";"',
        ),
        (
            "item_id\ttitle\ttags, all\n",
            'separated by tabs: say catalog.delimiter: "\\t"',
        ),
        ("1::Toy Story (1995)::Comedy\n", "Its columns are separated by double colons: separate"),
        (
            '"item_id";"tags"\n"a";"x"\n',
            'separated by semicolons: say catalog.delimiter: ";"',
        ),
    ],
)
def test_a_header_that_others_write_gets_a_hint(tmp_path: Path, content: str, hint: str) -> None:
    assert hint in refusal(tmp_path, "c.csv", content).partition(". ")[2]


def test_quoted_fields_may_hold_commas_quotes_and_newlines(tmp_path: Path) -> None:
    content = 'id,tags,title\r\n"a,b","x,y","say ""hi"""\r\n"c\nd","x\r\n\r\ny",\r\ne,z,t\r\n'

    assert rows(tmp_path, "c.csv", content) == [
        ("a,b", ["x,y"], "", 'say "hi"'),
        ("c\nd", ["x\r\n\r\ny"], "", ""),
        ("e", ["z"], "", "t"),
    ]


def test_empty_lines_and_a_missing_last_newline_are_fine(tmp_path: Path) -> None:
    content = "id,tags\n\na,x\r\n\r\n\n\nb,y"

    assert rows(tmp_path, "c.csv", content) == [("a", ["x"], "", ""), ("b", ["y"], "", "")]
    assert rows(tmp_path, "c.csv", "id,tags\n") == []
    assert rows(tmp_path, "c.csv", "id,tags") == []
    assert rows(tmp_path, "c.csv", "id,tags\n" + "\n" * 1200 + "a,x") == [("a", ["x"], "", "")]


def test_each_of_many_rows_is_read_once(tmp_path: Path) -> None:
    ids = [str(number) for number in range(1201)]

    found = rows(tmp_path, "c.csv", "id,tags\n" + "".join(f"{each},x\n" for each in ids))

    assert sorted(item for item, *_ in found) == sorted(ids)


@pytest.mark.parametrize(
    ("content", "line", "fields"),
    [
        ("id,tags\na,x\nb\n", 3, 1),
        ("id,tags\na,x,y\n", 2, 3),
        ("id,tags\n\n\na,x,\n", 4, 3),
        ('id,tags\n"a\nb\nc",x\nd\n', 5, 1),
        ("id,tags,\na,x\n", 2, 2),
        ("id,tags\n \n", 2, 1),
        ('id,tags\na\nb,"y"z\n', 2, 1),  # the first of two mistakes
        ("id,tags\n" + "a,x\n" * 1200 + "b\n", 1202, 1),
        ("id,tags\n" + "\n" * 1200 + "b\n", 1202, 1),
    ],
)
def test_a_row_of_another_length_is_refused_with_its_line(
    tmp_path: Path, content: str, line: int, fields: int
) -> None:
    header = content.split("\n")[0].count(",") + 1

    assert refusal(tmp_path, "c.csv", content) == (
        f", line {line}: {fields} fields, the header has {header}"
    )


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('id,tags\na,"x\nb,y\n', 3),
        ('id,tags\na,"x', 2),
        ('id,tags\na,x\nb,"y"z\n', 3),
        ('id,tags\n"a" ,x\n', 2),
        ('"id,tags\na,x\n', 2),
        ('"id"x,tags\na,x\n', 1),
        ('id,tags\na,"y"z\nb\n', 2),  # the first of two mistakes
    ],
)
def test_broken_quotes_are_refused_with_their_line(tmp_path: Path, content: str, line: int) -> None:
    """Read on, an open quote would swallow the rest of the catalog as one field."""
    assert refusal(tmp_path, "c.csv", content).startswith(f", line {line}: ")


def test_a_field_may_be_long(tmp_path: Path) -> None:
    """The csv module's own limit is 131,072 characters."""
    tags = "tag|" * 100_000

    assert rows(tmp_path, "c.csv", f"id,tags\na,{tags}\n") == [("a", [tags], "", "")]


def test_the_suffix_counts_in_any_case(tmp_path: Path) -> None:
    assert rows(tmp_path, "c.CSV", "id,tags\na,x\n") == [("a", ["x"], "", "")]


_CELLS = st.text(st.sampled_from('a,"\n\r |;ü\u2028'), max_size=5)


@given(cells=st.lists(st.tuples(_CELLS, _CELLS, _CELLS), max_size=5))
@settings(max_examples=examples(50), deadline=None)
def test_whatever_a_csv_writer_wrote_is_read_back(
    module_folder: Path, cells: list[tuple[str, str, str]]
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("id", "tags", "title"), *cells])

    assert rows(module_folder, "c.csv", text.getvalue()) == [
        (item, [tags], "", title) for item, tags, title in cells
    ]


# JSON lines


def test_absent_and_null_fields_are_empty(tmp_path: Path) -> None:
    content = (
        '{"item_id":"a"}\n'
        '{"item_id":null,"tags":null,"namespace":null,"title":null}\n'
        '{"item_id":"","tags":[],"namespace":"","title":""}\n'
    )
    assert rows(tmp_path, "c.jsonl", content) == [
        ("a", [], "", ""),
        ("", [], "", ""),
        ("", [], "", ""),
    ]


def test_unknown_fields_are_ignored_and_a_title_may_be_a_number(tmp_path: Path) -> None:
    content = '{"item_id":"a","tags":["x","y","x"],"title":7,"id":"b","price":{"eur":[1.5]}}'

    assert rows(tmp_path, "c.jsonl", content) == [("a", ["x", "y", "x"], "", "7")]


def test_blank_lines_count_in_the_numbers_and_nowhere_else(tmp_path: Path) -> None:
    content = '\n{"item_id":"a"}\r\n \t\r\n\n{"item_id":"b"}'

    assert [row[0] for row in rows(tmp_path, "c.jsonl", content)] == ["a", "b"]
    assert rows(tmp_path, "c.jsonl", "\n\n") == []
    assert refusal(tmp_path, "c.jsonl", content + "\n\nx").startswith(", line 7: ")


def test_only_a_newline_ends_a_line(tmp_path: Path) -> None:
    """str.splitlines would also end it at U+2028 and U+0085, which JSON allows inside a string."""
    content = '{"item_id":"a\u2028b\x85c"}\n{"item_id":"\\ud83d\\ude00"}\n'

    assert [row[0] for row in rows(tmp_path, "c.jsonl", content)] == [
        "a\u2028b\x85c",
        "\U0001f600",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "is not an object"),
        ("null", "is not an object"),
        ('"a"', "is not an object"),
        ("7", "is not an object"),
        ("{}", "has no item_id"),
        ('{"id":"a"}', "has no item_id"),
        ('{"item_id":7}', "item_id is not a string"),
        ('{"item_id":["a"]}', "item_id is not a string"),
        ('{"item_id":"a","namespace":false}', "namespace is not a string"),
        ('{"item_id":"a","tags":"x,y"}', "tags is not an array of strings"),
        ('{"item_id":"a","tags":{}}', "tags is not an array of strings"),
        ('{"item_id":"a","tags":0}', "tags is not an array of strings"),
        ('{"item_id":"a","tags":["x",7]}', "tags is not an array of strings"),
        ('{"item_id":"a","tags":["x",null]}', "tags is not an array of strings"),
        ('{"item_id":"\\ud83d"}', "holds half of a surrogate pair"),
        ('{"item_id":"a","tags":["\\udc00"]}', "holds half of a surrogate pair"),
        ('{"item_id":"a","title":"\\udc00"}', "holds half of a surrogate pair"),
    ],
)
def test_a_line_of_another_shape_is_refused_with_its_number(
    tmp_path: Path, text: str, problem: str
) -> None:
    content = f'{{"item_id":"a"}}\n\n{text}\n{{"item_id":"b"}}\n'

    assert refusal(tmp_path, "c.jsonl", content) == f", line 3: {problem}"


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "{",
        '{"item_id":"a"',
        '{"item_id":"a"},',
        '{"item_id":"a"}{"item_id":"b"}',
        "{'item_id':'a'}",
        '{"item_id":"a\tb"}',
        "[" * 100_000,
        '{"item_id":"a","x":' + '{"x":' * 100_000,
    ],
)
def test_a_line_that_is_not_json_is_refused_with_its_number(tmp_path: Path, text: str) -> None:
    content = f'{{"item_id":"a"}}\n{text}\n'

    assert refusal(tmp_path, "c.jsonl", content).startswith(", line 2: ")


def test_nesting_of_any_depth_is_read_or_refused_and_does_not_crash(tmp_path: Path) -> None:
    """Python's recursion limit is met at a depth that depends on who calls."""
    depths = {}
    for depth in [10, *range(800, 1000), 100_000]:
        path = write(tmp_path, "c.jsonl", f'{{"item_id":"a","x":{"[" * depth}{"]" * depth}}}')
        try:
            depths[depth] = read_catalog(str(path)).frame.height
        except CatalogError:
            depths[depth] = 0

    assert (depths[10], depths[100_000]) == (1, 0)


@given(
    objects=st.lists(
        st.fixed_dictionaries(
            {"item_id": st.text(max_size=5), "tags": st.lists(st.text(max_size=3), max_size=3)}
        ),
        max_size=5,
    ),
    escaped=st.booleans(),
)
@settings(max_examples=examples(50), deadline=None)
def test_whatever_a_json_writer_wrote_is_read_back(
    module_folder: Path, objects: list[dict[str, Any]], *, escaped: bool
) -> None:
    content = "".join(json.dumps(item, ensure_ascii=escaped) + "\n" for item in objects)

    found = rows(module_folder, "c.jsonl", content)

    assert found == [(item["item_id"], item["tags"], "", "") for item in objects]


@pytest.fixture
def surface(project: Project) -> Surface:
    return project.configure().surfaces[0]


class TestTitles:
    """Titles are a courtesy."""

    def test_items_without_a_title_are_left_out(self, project: Project, surface: Surface) -> None:
        (project.folder / "catalog.csv").write_text("id,tags,title\na,x,Apple\nb,y,\n")

        assert item_titles(surface) == {"a": "Apple"}

    @pytest.mark.parametrize("content", [b"sku\n1\n", b'id,tags\n"a', b"\xff\xfe", b""])
    def test_a_broken_catalog_gives_none(
        self, project: Project, surface: Surface, content: bytes
    ) -> None:
        (project.folder / "catalog.csv").write_bytes(content)

        assert item_titles(surface) == {}
        assert item_labels(surface, CatalogCache())(["a"]) == {}

    def test_a_missing_catalog_gives_none(self, surface: Surface) -> None:
        assert surface.catalog is not None
        Path(surface.catalog.path).unlink()

        assert item_titles(surface) == {}
        assert item_labels(surface, CatalogCache())(["a"]) == {}

    @pytest.mark.parametrize("error", [StoreUnavailableError, ConfigError])
    def test_a_store_that_does_not_answer_gives_none(
        self,
        surface: Surface,
        monkeypatch: pytest.MonkeyPatch,
        error: type[RecsysAssetsError],
    ) -> None:
        class Silent(LocalStore):
            def read(self, key: str) -> Versioned | None:
                raise error(f"cannot read {key}")

        monkeypatch.setattr(catalog, "open_store", Silent)

        assert item_titles(surface) == {}
        assert item_labels(surface, CatalogCache())(["a"]) == {}

    def test_a_surface_without_catalog_has_none(self, project: Project) -> None:
        config = project.configure({"catalog": None, "artifacts": {"popularity": {}}})

        assert item_titles(config.surfaces[0]) == {}
        assert item_labels(config.surfaces[0], CatalogCache())(["a"]) == {}


class TestLabels:
    """What people call an item, for as many days as one likes."""

    def test_an_item_is_called_by_its_title_or_else_by_its_tags(
        self, project: Project, surface: Surface
    ) -> None:
        text = "id,tags,title\na,x,Apple\nb,y|z,\nc,,\nd,x,Date\n"
        (project.folder / "catalog.csv").write_text(text)

        labels = item_labels(surface, CatalogCache())

        assert labels(["a", "b", "c", "absent"]) == {"a": "Apple", "b": "y|z"}
        assert labels([]) == {}

    def test_the_catalog_is_read_once_and_only_when_something_is_looked_up(
        self, surface: Surface
    ) -> None:
        assert surface.catalog is not None
        labels = item_labels(surface, CatalogCache())

        assert labels(["a"]) == {"a": "Apple"}
        Path(surface.catalog.path).unlink()
        assert labels(["b"]) == {"b": "Banana"}
        assert item_labels(surface, CatalogCache())(["b"]) == {}


class TestWhatIsKept:
    """The assets of a run read the same catalog; parsing it takes most of the time."""

    def test_the_same_bytes_are_parsed_once(self, tmp_path: Path) -> None:
        path = write(tmp_path, "c.csv", "id,tags\na,x\n")

        catalogs = CatalogCache()

        assert catalogs.read(of(path)).frame is catalogs.read(of(path)).frame

    def test_other_bytes_of_the_same_size_and_time_are_parsed_again(self, tmp_path: Path) -> None:
        path, catalogs = write(tmp_path, "c.csv", "id,tags\na,x\n"), CatalogCache()
        catalogs.read(of(path))
        before = path.stat()
        write(tmp_path, "c.csv", "id,tags\nb,x\n")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        assert catalogs.read(of(path)).frame["item_id"].to_list() == ["b"]

    def test_the_same_bytes_under_another_name_are_read_as_what_that_name_says(
        self, tmp_path: Path
    ) -> None:
        content, catalogs = '{"item_id":"a","tags":["x"]}\n', CatalogCache()
        catalogs.read(of(write(tmp_path, "c.jsonl", content)))

        with pytest.raises(CatalogError, match=r"c\.csv, line 1: "):
            catalogs.read(of(write(tmp_path, "c.csv", content)))

    def test_one_catalog_is_kept_and_no_large_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = write(tmp_path, "a.csv", "id,tags\na,x\n")
        large = write(tmp_path, "b.csv", "id,tags\n" + "a,x\n" * 100)
        monkeypatch.setattr(catalog, "_MAX_KEPT_BYTES", 100)

        catalogs = CatalogCache()
        kept = catalogs.read(of(first))
        large_one = catalogs.read(of(large))

        assert catalogs.read(of(large)).frame is not large_one.frame
        assert catalogs.read(of(first)).frame is not kept.frame
