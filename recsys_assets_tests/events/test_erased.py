"""Who was erased is recognised by keyed hashes, and left out of a day; nobody else is."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.events import writers
from recsys_assets.events.days import ParsedDay, parse_day
from recsys_assets.events.erased import ERASED_TEXT, Erased
from recsys_assets.places import Place
from recsys_assets.storage.erasures import Entry, EraseKey, shape_of
from recsys_assets_tests.events.conftest import DAY, Folder, accounted, footer, line, rejected

KEY = EraseKey(Place("acme", "home"), b"a key of the tests")


def of(*ids: str) -> Erased:
    return Erased(KEY, [KEY.entry(each) for each in ids])


@pytest.mark.parametrize(
    ("user", "text", "is_made"),
    [
        ("ann", "ann", True),
        ("ann", "ann-7", True),
        ("ann", "7_ann", True),
        ("ann", "web:ann/7", True),
        ("ann", "anna-7", False),
        ("ann", "joann", False),
        ("ann", "ANN-7", False),
        ("17.4", "s17.4|2", False),
        ("17.4", "1|17.4|2", True),
        ("17.4", "1|17.41", False),
        ("ann", "an", False),
        ("é1", "x é1", True),
        ("é1", "xé1", False),
        ("-", "a-b", True),
        ("a b", "q a b", True),
        ("", "a-b", False),
    ],
)
def test_an_id_is_made_of_another_where_no_letter_or_digit_touches_it(
    user: str, text: str, is_made: bool
) -> None:
    erased = of(user) if user else Erased(KEY, [])
    assert bool(erased.within(text)) is is_made
    assert (erased.without(text) != text) is is_made
    assert bool(erased.whole(text)) is (text == user)


NO_IDS = dict.fromkeys(("user_id", "session_id", "request_id"), pl.String)
TEXTS = st.text(st.sampled_from("ab1-_é ."), max_size=9)


@given(user=TEXTS.filter(bool), text=TEXTS)
def test_it_is_so_for_all_texts(user: str, text: str) -> None:
    """The rule in one regular expression, for one id that is known."""
    left = r"(?<![^\W_])" if user[0].isalnum() else ""
    right = r"(?![^\W_])" if user[-1].isalnum() else ""
    pattern = f"{left}{re.escape(user)}{right}"
    is_made = bool(re.search(pattern, text))
    assert bool(of(user).within(text)) is is_made
    frame = pl.DataFrame({"user_id": [None], "session_id": [text], "request_id": [None]}, NO_IDS)
    assert of(user).in_events(frame)[0].to_list() == [is_made]


@pytest.mark.parametrize(
    ("user", "session", "is_hers"),
    [
        ("ann", "s1", True),
        (None, "ann-7", True),
        ("bob", "ann-7", True),
        ("ann-marie", "ann-marie-7", False),
        ("ann-marie", "ann-marie-7-ann", True),
        ("bob", "s1", False),
        (None, None, False),
    ],
)
@pytest.mark.parametrize("column", ["session_id", "request_id"])
def test_an_event_is_hers_by_its_user_its_session_or_its_request(
    user: str | None, session: str | None, is_hers: bool, column: str
) -> None:
    ids = {"user_id": user, "session_id": "s", "request_id": None, column: session}
    others = {"user_id": "eve", "session_id": "s2", "request_id": "r2"}
    frame = pl.DataFrame(
        [others, ids, others],
        schema=dict.fromkeys(("user_id", "session_id", "request_id"), pl.String),
    )
    mask, matched = of("ann", "nobody").in_events(frame)
    assert mask.to_list() == [False, is_hers, False]
    assert matched == ({KEY.hash("ann")} if is_hers else set())


def lines() -> list[str]:
    """Of every reader of lines: plain ones, further fields, escapes, and slow ones."""
    return [
        line(user_id="bob", item_id="a"),
        line(user_id="ann", item_id="a"),
        line(user_id=" ann ", item_id="b", more={"x": 1}),
        line(user_id="ann", item_id="b").replace("ann", "\\u0061nn"),
        line(user_id="ann", item_id="c", ts="2026-01-02T23:00:00.5+05:00"),
        line(user_id=None, session_id="ann|3"),
        line(user_id="bob", item_id="z"),
    ]


def parse(folder: Folder, tmp_path: Path, *ids: str, **source: Any) -> ParsedDay:
    scratch = tmp_path / f"without {len([*tmp_path.iterdir()])}"
    scratch.mkdir()
    return parse_day(folder.surface(**source), DAY, scratch=scratch, erased=of(*ids))


@pytest.mark.parametrize("rows", [2, writers.ROW_GROUP_ROWS])
def test_every_reader_of_lines_leaves_her_out(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(writers, "ROW_GROUP_ROWS", rows)
    folder.write(lines())

    found = parse(folder, tmp_path, "ann")

    kept = found.frame.select("user_id", "item_id", "line").collect().rows()
    assert kept == [("bob", "a", 1), ("bob", "z", 7)]
    assert (found.events, found.erased) == (2, 5)
    assert accounted(found) + found.erased == found.lines
    assert footer(found)["source"] == {"erased": [KEY.hash("ann")]}


def test_a_day_without_any_of_them_is_the_same_bytes(folder: Folder, tmp_path: Path) -> None:
    folder.write(lines())
    before, found = folder.parse(), parse(folder, tmp_path, "nobody", "xyz", "item-1")
    assert found.path.read_bytes() == before.path.read_bytes()
    assert (found.fingerprint, found.erased) == (before.fingerprint, 0)


def test_the_fingerprint_holds_only_who_was_found_there(folder: Folder, tmp_path: Path) -> None:
    folder.write(lines())
    one, more = (
        parse(folder, tmp_path, "ann"),
        parse(folder, tmp_path, "nobody", "ann", "xyz"),
    )
    assert one.fingerprint == more.fingerprint != folder.parse().fingerprint
    assert parse(folder, tmp_path, "ann", "bob").fingerprint != one.fingerprint


def test_sessions_that_are_built_of_her_id_go_with_her(folder: Folder, tmp_path: Path) -> None:
    folder.write([line(user_id=user, session_id=None) for user in ("ann", "bob", "ann", None)])
    columns = {name: name for name in ("ts", "user_id", "session_id", "item_id")}
    keys = {"columns": columns, "sessions": {"gap_minutes": 30}}

    found = parse(folder, tmp_path, "ann", **keys)

    assert found.erased == 2
    sessions = found.frame.select("session_id").collect()["session_id"].to_list()
    assert sessions == ["gap 2026-01-02T12:00:00Z bob", "none 2026-01-02 0 4"]


def test_refused_lines_stay_counted_and_say_nothing_of_her(folder: Folder, tmp_path: Path) -> None:
    raw = [
        line(user_id="ann", v=2),
        line(user_id="bob", v=3),
        line(user_id="ann", v=4).replace("ann", "\\u0061nn"),
        "not json, of ann",
        line(user_id={"id": "ann"}),
    ]
    data = "".join(f"{each}\n" for each in raw).encode() + b'{"user_id":"ann","x":"\xff"}\n'
    folder.write(data)

    before, found = folder.parse(), parse(folder, tmp_path, "ann")

    assert found.refused == before.refused
    assert found.refused_bytes == before.refused_bytes
    entries = rejected(found)
    assert [(each["line"], each["raw"] == "") for each in entries] == [
        (1, True), (2, False), (3, True), (4, True), (5, True), (6, True)
    ]  # fmt: skip
    texts = [json.dumps(entries), str(found.first_refused), str(found.refused_files)]
    assert not any("ann" in text or "\\u0061nn" in text for text in texts)
    assert all(each["detail"] == ERASED_TEXT for each in found.first_refused if each["raw"] == "")
    whole = rejected(before)[5]
    assert b"ann" in base64.b64decode(whole["raw_base64"])


@pytest.mark.parametrize(
    ("text", "shape"), [("ann", "xxx"), ("a1-B_é", "xx-x_x"), ("", ""), ("7:x", "x:x")]
)
def test_a_shape_says_where_letters_and_digits_are(text: str, shape: str) -> None:
    assert shape_of(text) == shape
    assert shape_of(shape) == shape


def test_what_a_job_is_told_is_read_back() -> None:
    entry = KEY.entry("ann:marie 7")
    assert Entry.from_token(entry.token) == entry
