from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.kinds import KINDS
from recsys_assets_reader.documents import LAYOUTS, Document
from recsys_assets_reader.errors import DocumentError
from recsys_assets_tests.reader.published import EXAMPLES, NAMES, PLACE, rendered

OURS = (PLACE.tenant, PLACE.surface)
# Ids that look like what stands between two lists, and what JSON and Go escape.
PARTS = ["a", "b", "é", "\U0001f600", '"', "\\", "\n", "<", "\u2028", "{", "}", "]", ",", "},{"]
PARTS += ['"items":[', ']},{"user_id":"', '","items":[', '"build":', '},{"item_id":"']
IDS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("".join)
IDS = IDS.filter(lambda text: text == text.strip())


def loaded(kind: str, rows: Sequence[tuple[Any, ...]], folder: Path) -> tuple[Document, Any]:
    """Return a document as the reader has it, and decoded."""
    path = folder / "document"
    path.unlink(missing_ok=True)
    version = rendered(kind, rows, path).version
    data = path.read_bytes()
    return Document(data, kind=kind, version=version, place=OURS), json.loads(data)


def test_the_layouts_are_those_of_the_producer() -> None:
    for kind, layout in LAYOUTS.items():
        theirs = KINDS[kind].layout
        nested = "items" if theirs.entry else "tags" if theirs.value == "tags" else None
        assert (layout.key, layout.owner, layout.of_owner) == (theirs.key, theirs.owner, nested)
    assert set(NAMES) == set(LAYOUTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


@given(st.dictionaries(IDS, st.lists(IDS, unique=True, max_size=4), max_size=6), IDS)
def test_each_list_is_that_of_the_decoded_document(
    folder: Path, lists: dict[str, list[str]], other: str
) -> None:
    """Whatever ids hold: the oracle is Python's own JSON."""
    nobody: list[str | None] = [None]
    for kind in ("cooc", "session_seq"):
        rows = [
            (owner, item, item and 2)
            for owner in sorted(lists, key=str.encode)
            for item in lists[owner] or nobody
        ]
        document, decoded = loaded(kind, rows, folder)
        layout = LAYOUTS[kind]
        expected = {entry[layout.owner]: entry["items"] for entry in decoded[layout.key]}

        assert len(expected) == len(lists)
        for owner in {*expected, other}:
            for k in (1, 2, 9):
                assert document.of(owner, k) == expected.get(owner, [])[:k]


@given(st.lists(st.tuples(IDS, st.lists(IDS, min_size=1, unique=True, max_size=3)), max_size=6))
def test_tags_are_those_of_all_rows_of_an_item(
    folder: Path, rows: list[tuple[str, list[str]]]
) -> None:
    rows.sort(key=lambda row: row[0].encode())
    document, _ = loaded("content_sim", rows, folder)

    for item in {item for item, _ in rows} | {"absent"}:
        tags = dict.fromkeys(tag for owner, some in rows if owner == item for tag in some)
        assert document.texts_of(item) == list(tags)


@given(st.lists(IDS, unique=True, max_size=6))
def test_the_first_entries_are_those_of_the_decoded_document(folder: Path, ids: list[str]) -> None:
    document, decoded = loaded("popularity", [(item, 3) for item in ids], folder)

    for k in (1, 2, 9):
        assert document.first(k) == decoded["items"][:k]


@pytest.mark.parametrize("length", [1, 90, 3000])
def test_long_lists_and_long_ids_are_cut_where_they_should_be(tmp_path: Path, length: int) -> None:
    ids = [f"{number:03}{'é' * length}" for number in range(200)]
    rows = [(owner, item, 1) for owner in ("a" * length, "b" * 20_000) for item in ids]
    document, decoded = loaded("cooc", rows, tmp_path)

    for owner, entry in zip(("a" * length, "b" * 20_000), decoded["neighbors"], strict=True):
        for k in (1, 7, 199, 200, 201, 1000):
            assert document.of(owner, k) == entry["items"][:k]
    assert document.of("a" * 20_000, 1) == []


def test_ids_that_are_no_text_of_a_document_are_not_found(tmp_path: Path) -> None:
    document, _ = loaded("implicit", EXAMPLES["implicit"], tmp_path)

    assert [document.of(owner, 1) for owner in ("", "\ud800", "an", "anne", "zoe")] == [[]] * 5


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


@pytest.mark.parametrize("kind", NAMES)
def test_a_document_that_was_altered_is_refused(tmp_path: Path, kind: str) -> None:
    version = rendered(kind, EXAMPLES[kind], tmp_path / "document").version
    data = (tmp_path / "document").read_bytes()
    wrong = {
        changed(data, b'"tea"', b'"toa"'): "it hashes to ",
        changed(data, b"2026-01-02", b"2026-01-03"): "it hashes to ",
        changed(data, version.encode(), b"0" * 64): "it hashes to ",
        data[: len(data) // 2]: "it has no build at its end",
        data[:-3]: "its build is damaged",
        b"": "it has no build at its end",
    }

    assert Document(data, kind=kind, version=version, place=OURS).version == version
    for damaged, said in wrong.items():
        with pytest.raises(DocumentError, match=said):
            Document(damaged, kind=kind, version=version, place=OURS)
    with pytest.raises(DocumentError, match="it hashes to "):
        Document(data, kind=kind, version="0" * 64, place=OURS)


def test_a_document_of_another_kind_or_place_is_refused(tmp_path: Path) -> None:
    version = rendered("implicit", EXAMPLES["implicit"], tmp_path / "document").version
    data = (tmp_path / "document").read_bytes()

    for kind, place in (("session_seq", OURS), ("implicit", ("shop", "search"))):
        with pytest.raises(DocumentError, match="it says that it is "):
            Document(data, kind=kind, version=version, place=place)
    with pytest.raises(DocumentError, match="it has no list 'neighbors'"):
        Document(data, kind="cooc", version=version, place=OURS)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("b", "x", 1), ("a", "x", 1)], "'a' is not in order"),
        ([("a", "x", 1), ("b", "x", 1), ("a", "y", 1)], "'a' is not in order"),
    ],
)
def test_owners_that_could_not_be_found_are_refused(
    tmp_path: Path, rows: list[tuple[Any, ...]], said: str
) -> None:
    with pytest.raises(DocumentError, match=said):
        loaded("cooc", rows, tmp_path)


def test_memory_is_the_document_and_four_bytes_for_each_owner(tmp_path: Path) -> None:
    rows = [(f"user-{number:06}", f"item-{number}", 1.0) for number in range(4_000)]
    version = rendered("implicit", rows, tmp_path / "document").version
    data = (tmp_path / "document").read_bytes()
    tracemalloc.start()

    document = Document(data, kind="implicit", version=version, place=OURS)

    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert document.of("user-003999", 1) == [{"item_id": "item-3999", "score": 1}]
    # An array grows ahead by an eighth.
    assert held < 4 * len(rows) * 9 / 8 + 10_000
