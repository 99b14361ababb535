from __future__ import annotations

import hashlib
import io
import json
import tempfile
import time
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets import documents
from recsys_assets.compute.coded import Piece
from recsys_assets.contracts import ARTIFACTS, dtypes
from recsys_assets.documents import (
    DocumentHead,
    RenderedDocument,
    list_text,
    read_window,
    render,
    stored_version,
)
from recsys_assets.errors import StorageError
from recsys_assets.kinds import KINDS
from recsys_assets.places import Place
from recsys_assets.windows import Window
from recsys_assets_tests import strategies

WINDOW = Window(date(2026, 1, 1), date(2026, 1, 2))
BUILT_AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
UNBUILT = '"build":{"built_at":"","version":""}}'

# Of any kind, what its example gives; of some, more.
FRAMES: dict[str, list[tuple[Any, ...]]] = {
    **{kind: list(row.example.rows) for kind, row in KINDS.items()},
    "popularity": [("A", 4), ("B", 2), ("C", 2), ("D", 2)],
    "cooc": [
        ("A", "D", 2),
        ("A", "B", 1),
        ("B", None, None),
        ("C", None, None),
        ("D", "A", 2),
    ],
    "implicit": [("u", "A", 3.0), ("u", "B", 1.0), ("v", "A", 1.0)],
    "session_seq": [("t", None, None), ("u", "A", 2.0), ("u", "B", 1.0), ("v", None, None)],
    "content_sim": [("A", ["red", "sale"]), ("A", ["red"]), ("B", ["x y"])],
}
LISTS = {
    "popularity": (
        '"items":[{"item_id":"A","count":4},{"item_id":"B","count":2},'
        '{"item_id":"C","count":2},{"item_id":"D","count":2}]'
    ),
    "cooc": (
        '"neighbors":[{"item_id":"A","items":[{"item_id":"D","count":2},{"item_id":"B","count":1}]}'
        ',{"item_id":"B","items":[]},{"item_id":"C","items":[]},'
        '{"item_id":"D","items":[{"item_id":"A","count":2}]}]'
    ),
    "implicit": (
        '"users":[{"user_id":"u","items":[{"item_id":"A","score":3},{"item_id":"B","score":1}]},'
        '{"user_id":"v","items":[{"item_id":"A","score":1}]}]'
    ),
    "session_seq": (
        '"users":[{"user_id":"t","items":[]},'
        '{"user_id":"u","items":[{"item_id":"A","score":2},{"item_id":"B","score":1}]},'
        '{"user_id":"v","items":[]}]'
    ),
    "content_sim": (
        '"items":[{"item_id":"A","tags":["red","sale"]},{"item_id":"A","tags":["red"]},'
        '{"item_id":"B","tags":["x y"]}]'
    ),
}
EMPTY_LISTS = {
    **{kind: f'"{row.layout.key}":[]' for kind, row in KINDS.items()},
    "popularity": '"items":[]',
    "cooc": '"neighbors":[]',
    "implicit": '"users":[]',
    "session_seq": '"users":[]',
    "content_sim": '"items":[]',
}
# What Go's encoding/json writes for each; anything else stands for itself.
ESCAPES = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
    '"': '\\"',
    "\\": "\\\\",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\b": "\\b",
    "\f": "\\f",
    "\x00": "\\u0000",
    "\x0b": "\\u000b",
    "\x1f": "\\u001f",
}
UNTOUCHED = ["/", "'", "\x7f", "\x85", "é", "日", "\ufeff", "\u2027", "\u202a", "😀", "\uffff", "+"]


def head(kind: str) -> DocumentHead:
    return DocumentHead(kind, Place("demo", "home"), "default", WINDOW)


def frame_of(kind: str, rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dtypes(ARTIFACTS[kind]), orient="row")


def render_in(
    folder: Path,
    frame: pl.DataFrame,
    about: DocumentHead,
    *,
    source_hash: str = "cafe",
    built_at: datetime = BUILT_AT,
) -> tuple[RenderedDocument, str]:
    path = folder / f"{len(list(folder.iterdir()))}.json"
    text = list_text([Piece(frame)], KINDS[about.kind].layout)
    document = render(text, about, path, source_hash=source_hash, built_at=built_at)
    return document, path.read_bytes().decode()


def body(kind: str, listed: str) -> str:
    return (
        f'{{"v":1,"artifact_type":"{kind}","tenant":"demo","surface":"home","segment":"default",'
        '"window":{"start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"},' + listed + ","
    )


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def recomputed(data: bytes) -> str:
    return stored_version(io.BytesIO(data), len(data))


@pytest.mark.parametrize("kind", LISTS)
def test_a_document_is_compact_json_with_its_keys_in_order(kind: str, tmp_path: Path) -> None:
    document, text = render_in(tmp_path, frame_of(kind, FRAMES[kind]), head(kind))

    version = sha256(body(kind, LISTS[kind]) + UNBUILT)
    assert text == body(kind, LISTS[kind]) + (
        f'"build":{{"built_at":"2026-01-02T03:04:05Z","version":"{version}","source_hash":"cafe"}}}}'
    )
    assert document == RenderedDocument(
        head(kind), tmp_path / "0.json", version, "cafe", len(text.encode()), BUILT_AT
    )


@pytest.mark.parametrize("kind", EMPTY_LISTS)
def test_an_empty_frame_gives_an_empty_list(kind: str, tmp_path: Path) -> None:
    document, text = render_in(tmp_path, frame_of(kind, []), head(kind))

    assert text.startswith(body(kind, EMPTY_LISTS[kind]) + '"build":{')
    assert document.version == sha256(body(kind, EMPTY_LISTS[kind]) + UNBUILT)


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("popularity", "f390c24e6d60a5c9879877080b6fb53dadae410cb09b7dc01ac7c73a662148ba"),
        ("cooc", "50fb9e43e98a990df8299f8d55768564c0c76ced408921c85ff16498a4812add"),
    ],
)
def test_the_version_is_the_one_of_the_go_system(kind: str, version: str, tmp_path: Path) -> None:
    """The frames and the versions are those of its golden case `tiny`."""
    rows: dict[str, list[tuple[Any, ...]]] = {
        "popularity": [("A", 4), ("B", 2), ("C", 2), ("D", 2)],
        "cooc": [
            *[("A", "D", 2), ("A", "B", 1), ("A", "C", 1)],
            *[("B", "A", 1), ("B", "C", 1), ("C", "A", 1), ("C", "B", 1), ("D", "A", 2)],
        ],
    }
    document, _ = render_in(tmp_path, frame_of(kind, rows[kind]), head(kind))

    assert document.version == version


def test_neither_the_time_nor_the_source_changes_the_version(tmp_path: Path) -> None:
    frame = frame_of("popularity", FRAMES["popularity"])

    first, _ = render_in(tmp_path, frame, head("popularity"))
    second, text = render_in(
        tmp_path,
        frame,
        head("popularity"),
        source_hash="beef",
        built_at=datetime(2027, 5, 6, tzinfo=UTC),
    )

    assert first.version == second.version
    assert '"built_at":"2027-05-06T00:00:00Z"' in text
    assert '"source_hash":"beef"' in text


@pytest.mark.parametrize(
    "other",
    [
        DocumentHead("popularity", Place("other", "home"), "default", WINDOW),
        DocumentHead("popularity", Place("demo", "other"), "default", WINDOW),
        DocumentHead("popularity", Place("demo", "home"), "other", WINDOW),
        DocumentHead(
            "popularity", Place("demo", "home"), "default", Window(WINDOW.start, date.max)
        ),
        DocumentHead("popularity", Place("demo", "home"), "default", Window(date.min, WINDOW.end)),
    ],
)
def test_every_member_of_the_head_changes_the_version(other: DocumentHead, tmp_path: Path) -> None:
    frame = frame_of("popularity", FRAMES["popularity"])

    first, _ = render_in(tmp_path, frame, head("popularity"))
    second, _ = render_in(tmp_path, frame, other)

    assert first.version != second.version


def test_the_time_is_written_in_utc(tmp_path: Path) -> None:
    elsewhere = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))

    _, text = render_in(
        tmp_path, frame_of("popularity", []), head("popularity"), built_at=elsewhere
    )

    assert '"built_at":"2025-12-31T23:00:00Z"' in text


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "there.json"
    path.write_text("precious")

    with pytest.raises(FileExistsError):
        render(
            list_text([Piece(frame_of("popularity", []))], KINDS["popularity"].layout),
            head("popularity"),
            path,
            source_hash="",
            built_at=BUILT_AT,
        )

    assert path.read_text() == "precious"


@pytest.mark.parametrize(("character", "escaped"), ESCAPES.items(), ids=map(ascii, ESCAPES))
def test_a_character_is_escaped_everywhere_as_go_does(
    character: str, escaped: str, tmp_path: Path
) -> None:
    text, expected = f"x{character}{character}y", f"x{escaped}{escaped}y"

    cases: list[tuple[str, list[tuple[Any, ...]], str]] = [
        ("popularity", [(text, 1)], f'"items":[{{"item_id":"{expected}","count":1}}]'),
        (
            "cooc",
            [(text, text, 1)],
            f'"neighbors":[{{"item_id":"{expected}","items":'
            f'[{{"item_id":"{expected}","count":1}}]}}]',
        ),
        (
            "implicit",
            [(text, text, 1.0)],
            f'"users":[{{"user_id":"{expected}","items":[{{"item_id":"{expected}","score":1}}]}}]',
        ),
        (
            "content_sim",
            [(text, [text, text])],
            f'"items":[{{"item_id":"{expected}","tags":["{expected}","{expected}"]}}]',
        ),
    ]
    for kind, rows, listed in cases:
        _, written = render_in(tmp_path, frame_of(kind, rows), head(kind))
        assert written.startswith(body(kind, listed)), kind


@pytest.mark.parametrize(("character", "escaped"), ESCAPES.items(), ids=map(ascii, ESCAPES))
def test_a_character_of_the_head_is_escaped_as_go_does(
    character: str, escaped: str, tmp_path: Path
) -> None:
    about = DocumentHead("popularity", Place("demo", "home"), f"a{character}b", WINDOW)

    _, written = render_in(tmp_path, frame_of("popularity", []), about)

    assert f'"segment":"a{escaped}b",' in written


@pytest.mark.parametrize("character", UNTOUCHED, ids=map(ascii, UNTOUCHED))
def test_any_other_character_stands_for_itself(character: str, tmp_path: Path) -> None:
    about = DocumentHead("popularity", Place("demo", "home"), character, WINDOW)

    _, written = render_in(tmp_path, frame_of("popularity", [(character, 1)]), about)

    assert f'"segment":"{character}",' in written
    assert f'"items":[{{"item_id":"{character}","count":1}}]' in written


def test_a_text_that_looks_like_an_escape_is_escaped_once(tmp_path: Path) -> None:
    _, written = render_in(tmp_path, frame_of("popularity", [("\\u003c<", 1)]), head("popularity"))

    assert '"item_id":"\\\\u003c\\u003c"' in written


@pytest.mark.parametrize("slice_rows", [1, 2, 3])
@pytest.mark.parametrize("kind", LISTS)
def test_slices_of_any_size_give_the_same_bytes(
    kind: str, slice_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "_SLICE_ROWS", slice_rows)

    document, text = render_in(tmp_path, frame_of(kind, FRAMES[kind]), head(kind))

    assert text.startswith(body(kind, LISTS[kind]) + '"build":{')
    assert document.version == sha256(body(kind, LISTS[kind]) + UNBUILT)


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (3.0, "3"),
        (0.1, "0.1"),
        (2.5, "2.5"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.5e-7, "1.5e-7"),
        (123456789.25, "123456789.25"),
        (1e15, "1000000000000000"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
    ],
)
@pytest.mark.parametrize("other", [None, 1.0, 0.5])
def test_a_score_is_the_shortest_number_as_go_writes_it(
    score: float, text: str, other: float | None, tmp_path: Path
) -> None:
    """Whatever scores stand beside it, for whole numbers are written another way than others."""
    rows = [("u", "A", score)] if other is None else [("u", "A", score), ("u", "B", other)]

    _, written = render_in(tmp_path, frame_of("implicit", rows), head("implicit"))

    assert f'"users":[{{"user_id":"u","items":[{{"item_id":"A","score":{text}}}' in written


def test_a_count_is_an_integer_literal_of_any_size(tmp_path: Path) -> None:
    rows = [("A", 2**63 - 1), ("B", 2**53 + 1), ("C", 1)]

    _, written = render_in(tmp_path, frame_of("popularity", rows), head("popularity"))

    assert '"count":9223372036854775807}' in written
    assert '"count":9007199254740993}' in written
    assert '"count":1}' in written


@pytest.mark.parametrize("kind", KINDS)
def test_the_version_is_recomputed_from_the_stored_bytes(kind: str, tmp_path: Path) -> None:
    document, text = render_in(tmp_path, frame_of(kind, FRAMES[kind]), head(kind))

    assert recomputed(text.encode()) == document.version


def test_the_version_of_a_document_of_many_blocks_is_recomputed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "_BLOCK_BYTES", 1000)
    rows = [(f"item-{number:04}", 1) for number in range(500)]

    document, text = render_in(tmp_path, frame_of("popularity", rows), head("popularity"))

    assert len(text) > 4096 + 1000
    assert recomputed(text.encode()) == document.version


def test_an_id_that_looks_like_the_build_member_does_not_confuse_the_version(
    tmp_path: Path,
) -> None:
    rows = [('"build":{"built_at":"","version":""}}', 1)]

    document, text = render_in(tmp_path, frame_of("popularity", rows), head("popularity"))

    assert recomputed(text.encode()) == document.version


def test_every_altered_byte_before_the_build_member_is_detected(tmp_path: Path) -> None:
    document, text = render_in(tmp_path, frame_of("cooc", FRAMES["cooc"]), head("cooc"))
    data = text.encode()

    for at in range(data.index(b'"build":')):
        altered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(StorageError, match=f"names version {document.version}"):
            recomputed(altered)


def test_every_removed_byte_before_the_build_member_is_detected(tmp_path: Path) -> None:
    document, text = render_in(tmp_path, frame_of("cooc", FRAMES["cooc"]), head("cooc"))
    data = text.encode()

    for at in range(data.index(b'"build":')):
        with pytest.raises(StorageError, match=f"names version {document.version}"):
            recomputed(data[:at] + data[at + 1 :])


def test_a_document_cut_short_anywhere_is_refused(tmp_path: Path) -> None:
    _, text = render_in(tmp_path, frame_of("cooc", FRAMES["cooc"]), head("cooc"))
    data = text.encode()

    for length in range(len(data)):
        with pytest.raises(StorageError, match="cut short"):
            recomputed(data[:length])


@pytest.mark.parametrize("rest", [b"}", b"{}", b"x", b'{"v":1}'])
def test_bytes_after_the_document_are_refused(rest: bytes, tmp_path: Path) -> None:
    _, text = render_in(tmp_path, frame_of("cooc", FRAMES["cooc"]), head("cooc"))

    with pytest.raises(StorageError, match="damaged"):
        recomputed(text.encode() + rest)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"v":1}', b"\xff" * 9000])
def test_what_is_no_artifact_document_is_refused(data: bytes) -> None:
    with pytest.raises(StorageError, match="not an artifact document"):
        recomputed(data)


@pytest.mark.parametrize("build", ['{"built_at":""}', "[]", "null", '"text"', "3"])
def test_a_build_member_without_version_is_refused(build: str) -> None:
    with pytest.raises(StorageError, match="names no version"):
        recomputed(f'{{"v":1,"items":[],"build":{build}}}'.encode())


def window_of(text: str) -> Window | None:
    return read_window(io.BytesIO(text.encode()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_window_is_read_from_the_head_of_a_document(kind: str, tmp_path: Path) -> None:
    _, text = render_in(tmp_path, frame_of(kind, FRAMES[kind]), head(kind))

    assert window_of(text) == WINDOW
    assert window_of(json.dumps(json.loads(text), indent=2)) == WINDOW


def test_a_name_that_looks_like_the_window_does_not_confuse_it(tmp_path: Path) -> None:
    name = '"window":{"start":"2030-01-01T00:00:00Z","end":"2030-01-02T00:00:00Z"},'
    other = DocumentHead("popularity", Place(name, name), name, WINDOW)

    _, text = render_in(tmp_path, frame_of("popularity", []), other)

    assert window_of(text) == WINDOW


def test_the_window_of_a_long_document_is_read_from_64_kib(tmp_path: Path) -> None:
    rows = [(f"日本-{number:06}", 1) for number in range(9000)]
    _, text = render_in(tmp_path, frame_of("popularity", rows), head("popularity"))
    file = io.BytesIO(text.encode())

    assert read_window(file) == WINDOW
    assert file.tell() == 65_536 < len(text)


def test_a_window_behind_64_kib_is_not_looked_for() -> None:
    window = json.dumps(WINDOW.to_json())

    assert window_of(f'{{"items":["{"x" * 60_000}"],"window":{window}}}') == WINDOW
    assert window_of(f'{{"items":["{"x" * 66_000}"],"window":{window}}}') is None


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-01-05T06:00:00Z", "2026-01-06T06:00:00Z", (date(2026, 1, 5), date(2026, 1, 7))),
        ("2026-01-05T00:00:00Z", "2026-01-05T23:59:59Z", (date(2026, 1, 5), date(2026, 1, 6))),
        (
            "2026-01-05T00:00:00+02:00",
            "2026-01-06T00:00:00+02:00",
            (date(2026, 1, 4), date(2026, 1, 6)),
        ),
        ("2026-01-05", "2026-01-06", (date(2026, 1, 5), date(2026, 1, 6))),
    ],
)
def test_a_window_that_is_not_whole_days_is_widened_to_them(
    start: str, end: str, expected: tuple[date, date]
) -> None:
    window = json.dumps({"start": start, "end": end})

    assert window_of(f'{{"v":1,"window":{window},"items":[]}}') == Window(*expected)


def test_a_window_without_zone_is_utc_wherever_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    window = {"start": "2026-01-05T00:00:00", "end": "2026-01-06T00:00:00"}
    try:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", "Asia/Tokyo")
            time.tzset()
            found = window_of(json.dumps({"window": window}))
    finally:
        time.tzset()

    assert found == Window(date(2026, 1, 5), date(2026, 1, 6))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"v":1',
        '{"v":1}',
        '{"v":1,"items":[],"build":{}}',
        '{"window"',
        '{"window":{"start":"2026-01-05T00:00:00Z"',
        '{"window":3}',
        '{"window":null}',
        '{"window":{}}',
        '{"window":{"start":3,"end":4}}',
        '{"window":{"start":"soon","end":"later"}}',
        '{"window":{"start":"0001-01-01T00:00:00Z","end":"0001-01-01T00:00:00Z"}}',
        '{"window":{"start":"0001-01-01T00:00:00+02:00","end":"2026-01-01T00:00:00Z"}}',
        '{"window":{"start":"1970-01-01T00:00:00Z","end":"1970-01-01T00:00:00Z"}}',
        '{"window":{"start":"2026-01-01T00:00:00Z","end":"9999-12-31T12:00:00Z"}}',
        '{"window":' + "[" * 60_000,
        "\x00",
    ],
)
def test_no_window_is_read_from_what_names_none(text: str) -> None:
    assert window_of(text) is None


def test_no_window_is_read_from_bytes_that_are_no_text() -> None:
    assert read_window(io.BytesIO(b"\xff" * 70_000)) is None


ids = strategies.texts
owners = st.lists(
    st.tuples(ids, st.lists(st.tuples(ids, st.integers(1, 2**53)), max_size=3)),
    max_size=5,
    unique_by=lambda owner: owner[0],
)


@given(owners, st.integers(1, 4))
def test_any_ids_survive_the_round_trip_through_json(
    lists: list[tuple[str, list[tuple[str, int]]]], slice_rows: int
) -> None:
    rows: list[tuple[Any, ...]] = []
    for owner, entries in lists:
        rows += [(owner, item, count) for item, count in entries] or [(owner, None, None)]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "_SLICE_ROWS", slice_rows)
        document, text = render_in(Path(folder), frame_of("cooc", rows), head("cooc"))

    assert json.loads(text)["neighbors"] == [
        {"item_id": owner, "items": [{"item_id": item, "count": n} for item, n in entries]}
        for owner, entries in lists
    ]
    assert recomputed(text.encode()) == document.version


@given(st.lists(st.tuples(ids, st.lists(ids, min_size=1, max_size=3)), max_size=5))
def test_any_tags_survive_the_round_trip_through_json(rows: list[tuple[str, list[str]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        document, text = render_in(Path(folder), frame_of("content_sim", rows), head("content_sim"))

    assert json.loads(text)["items"] == [{"item_id": item, "tags": tags} for item, tags in rows]
    assert recomputed(text.encode()) == document.version


@given(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=4))
def test_any_score_survives_the_round_trip_through_json(scores: list[float]) -> None:
    rows = [("u", f"i{number}", score) for number, score in enumerate(scores)]
    with tempfile.TemporaryDirectory() as folder:
        _, text = render_in(Path(folder), frame_of("implicit", rows), head("implicit"))

    stored = json.loads(text, parse_int=float)["users"][0]["items"]
    assert [entry["score"] for entry in stored] == scores
