"""Text that is not one object a line, as lines: nothing of it is lost, nothing is made up."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recsys_assets.events import forms
from recsys_assets.events.forms import JsonText, Text
from recsys_assets_tests.needed import examples

OBJECT = rb'{"v":1,"n":{"a":"}{"},"s":"x\"{"}'
SIZES = (1, 2, 7, 50, 10**6)


def read(data: bytes, size: int = 10**6) -> tuple[str, bytes]:
    """Return the form of a text, and its lines as they are read in pieces of a size."""
    text = JsonText(io.BytesIO(data))
    found = b""
    while piece := text.read(size):
        found += piece
    return text.form, found


@pytest.mark.parametrize(
    ("data", "form", "lines"),
    [
        (OBJECT + OBJECT, "joined", [OBJECT, OBJECT]),
        (OBJECT + b" \t" + OBJECT, "joined", [OBJECT, b"", OBJECT]),
        (OBJECT + OBJECT + b"\n" + OBJECT, "joined", [OBJECT, OBJECT, OBJECT]),
        (OBJECT + OBJECT[:9], "joined", [OBJECT, OBJECT[:9]]),
        (OBJECT + b"junk" + OBJECT + OBJECT, "joined", [OBJECT, b"junk", OBJECT, OBJECT]),
        (b"\xef\xbb\xbf" + OBJECT + OBJECT, "joined", [b"\xef\xbb\xbf", OBJECT, OBJECT]),
        (b"[" + OBJECT + b"," + OBJECT + b"]", "array", [OBJECT, OBJECT]),
        (b"\xef\xbb\xbf \n[" + OBJECT + b", " + OBJECT + b" ]\n", "array", [b"", OBJECT, OBJECT]),
        (b"[\n" + OBJECT + b",\n" + OBJECT + b"\n]\n", "array", [b"", OBJECT, OBJECT, b""]),
        (b"[]\n" + OBJECT, "array", [b"", OBJECT]),
        (b"[1,2," + OBJECT + b",[3]]", "array", [b"[1,2,", OBJECT, b",[3]]"]),
        (OBJECT + b"\r" + OBJECT + b"\r", "cr", [OBJECT, OBJECT]),
        (OBJECT + OBJECT + b"\r" + OBJECT, "cr joined", [OBJECT, OBJECT, OBJECT]),
        (b"[" + OBJECT + b",\r" + OBJECT + b"]", "cr array", [OBJECT, OBJECT]),
    ],
)
def test_each_object_gets_a_line_of_its_own(data: bytes, form: str, lines: list[bytes]) -> None:
    expected = [line for line in lines if line]
    for size in SIZES:
        found = read(data, size)
        assert found[0] == form
        assert [line.strip(b" \t") for line in found[1].split(b"\n") if line.strip()] == expected


def test_an_object_of_an_array_keeps_its_line_where_it_has_one() -> None:
    _, lines = read(b"[\n\n" + OBJECT + b",\n" + OBJECT + b"," + OBJECT + b"]")

    assert lines == b"\n\n" + OBJECT + b"\n" + OBJECT + b"\n" + OBJECT


def test_text_that_is_no_json_has_no_objects() -> None:
    """A line of a log may begin with a bracket, and hold what looks like two of them."""
    for data in (b"[07:00] {a} {b}\n", OBJECT + OBJECT):
        text = Text(io.BytesIO(data))
        assert (text.form, text.read(1000)) == ("", data)
    text = Text(io.BytesIO(b"[07:00]\r[08:00]\r"))
    assert (text.form, text.read(1000)) == ("cr", b"[07:00]\n[08:00]\n")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n \r\n",
        OBJECT,
        OBJECT + b"\r",
        OBJECT + b"\r\n" + OBJECT,
        OBJECT + b"\n{}\r\n" + OBJECT + b"\n",
        b'{"a":"}{"}\n{"a":"} {"}\n',
        b'{"a":"[{\\"b\\":1}{"}',
        b'{"a":[{"b":1},{"c":2}]}\n',
        b"not json\n\xff\n",
        b'"}{"\n',
    ],
)
def test_lines_that_are_lines_stay_as_they_are(data: bytes) -> None:
    for size in SIZES:
        assert read(data, size) == ("", data)


def test_an_object_that_is_broken_takes_no_other_line_with_it() -> None:
    broken = b'{"a":"' + OBJECT + b"\n"

    _, lines = read(OBJECT + OBJECT + b"\n" + broken + OBJECT + OBJECT + b"\n}}]\n" + OBJECT)

    assert lines.count(OBJECT + b"\n") + lines.endswith(OBJECT) >= 5
    assert lines.replace(b"\n", b"") == (
        OBJECT + OBJECT + broken + OBJECT + OBJECT + b"}}]" + OBJECT
    ).replace(b"\n", b"")


_VALUES = st.recursive(
    st.text(st.sampled_from('{}[]",\\ ab\r\té\u2028')) | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab{"), inner),
    max_leaves=4,
)
_OBJECTS = st.lists(st.dictionaries(st.sampled_from(["a", "}{", '"', "["]), _VALUES), max_size=6)


@given(_OBJECTS, st.sampled_from([b"", b" ", b"\n", b"\r"]), st.sampled_from(SIZES))
@example([{"a": '"}{"'}, {"}{": {"a": ["{"]}}], b"", 1)
@settings(max_examples=examples(200), deadline=None)
def test_joined_objects_are_those_that_were_joined(
    objects: list[dict[str, object]], between: bytes, size: int
) -> None:
    texts = [json.dumps(each, ensure_ascii=False).encode() for each in objects]

    for data in (between.join(texts), b"[" + (b"," + between).join(texts) + b"]"):
        _, lines = read(data, size)
        assert [json.loads(line) for line in lines.split(b"\n") if line.strip()] == objects


@given(st.lists(st.sampled_from([b"{", b"}", b'"', b"\\", b"\n", b",", b"a", b"{}", b"\xff"])))
@settings(max_examples=examples(300), deadline=None)
def test_nothing_is_lost_but_blanks_whatever_the_bytes(pieces: Sequence[bytes]) -> None:
    data = b"{}{}" + b"".join(pieces)

    found = {read(data, size) for size in SIZES}

    assert len(found) == 1
    form, lines = found.pop()
    assert form == "joined"
    assert lines.replace(b"\n", b"") == data.replace(b"\n", b"")


def test_an_object_without_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given up ends with its line; the lines behind are read again."""
    monkeypatch.setattr(forms, "MAX_LINE_BYTES", 100)
    data = OBJECT * 2 + b"{" * 5000 + OBJECT + b"\n" + OBJECT * 2
    text = JsonText(io.BytesIO(data))
    longest = 0
    found = b""
    while piece := text.read(50):
        longest = max(longest, len(piece))
        found += piece

    first, second, long, *others = found.split(b"\n")
    assert [first, second, *others] == [OBJECT] * 4
    assert long == b"{" * 5000 + OBJECT
    assert longest < 300


def test_the_form_is_told_by_the_first_64_kib() -> None:
    line = OBJECT + b"\n"

    late = line * (2**16 // len(line) + 1) + OBJECT + OBJECT
    early = line * (2**16 // len(line) - 2) + OBJECT + OBJECT + b"\n" + line * 1000

    assert read(late) == ("", late)
    assert read(early)[0] == "joined"
    assert read(early)[1].count(b"\n") == early.count(b"\n") + 1
