"""Whole lines of a stream of bytes: the same ones, whatever the chunks they come in."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recsys_assets.events import chunks
from recsys_assets.events.chunks import Chunk, OversizedLine, count_byte, whole_lines
from recsys_assets_tests.events.conftest import expected_lines, lines_of
from recsys_assets_tests.needed import examples

LIMIT = 9
TEXTS = st.one_of(
    st.binary(max_size=2 * LIMIT),
    st.integers(0, 5 * LIMIT).map(lambda size: b"x" * size),
    st.integers(LIMIT - 1, LIMIT + 2).map(lambda size: b"y" * size),
    st.sampled_from([b"", b"\r", b"\n", b"z" * 200]),
)
# Whole files, but those that begin with a byte order mark.
DATA = st.lists(TEXTS, max_size=12).map(b"\n".join).filter(lambda data: data[:1] != b"\xef")


class Trickle(io.BytesIO):
    """Gives less than it is asked for, as a decompressor may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(max(1, (size or 0) // 3))


@pytest.mark.parametrize("stream_of", [io.BytesIO, Trickle])
@given(DATA)
@example(b"x" * LIMIT)
@example(b"x" * (LIMIT + 1))
@example(b"x" * (LIMIT + 1) + b"\n")
@example(b"\n" + b"x" * 64 + b"\n" + b"x" * 64)
@settings(max_examples=examples(100), deadline=None)
def test_lines_and_their_numbers_do_not_depend_on_the_chunks(
    stream_of: type[io.BytesIO], data: bytes
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "MAX_LINE_BYTES", LIMIT)
        for size in (1, 2, 7, 10, 64, 10_000):
            patch.setattr(chunks, "CHUNK_BYTES", size)

            found = list(whole_lines(stream_of(data)))

            assert lines_of(found) == expected_lines(data, LIMIT), size
            assert all(len(chunk.data) <= size + max(size, LIMIT + 1) for chunk in found), size


def test_only_a_leading_byte_order_mark_is_dropped() -> None:
    mark = b"\xef\xbb\xbf"
    stream = io.BytesIO(mark + mark + b"one\n" + mark + b"two\n")

    assert list(whole_lines(stream)) == [Chunk(1, mark + b"one\n" + mark + b"two\n")]


@given(st.lists(st.sampled_from([b'"', b"\n", b"\x00", b"ab", b"\xe2\x80\x9d"])).map(b"".join))
@example(b"")
@example(b'"' * 300_000)
def test_a_byte_is_counted_as_python_counts_it(data: bytes) -> None:
    for byte in (b'"', b"\n", b"\xe2"):
        assert count_byte(data, byte) == data.count(byte)


@pytest.mark.parametrize("size", [3, 7, 64])
def test_a_byte_order_mark_is_dropped_whatever_the_chunks(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", size)
    stream = io.BytesIO(b"\xef\xbb\xbfone\ntwo\n")

    assert lines_of(list(whole_lines(stream))) == ({1: b"one", 2: b"two"}, [])


@given(DATA, st.integers(1, 5))
@settings(max_examples=examples(100), deadline=None)
def test_a_chunk_has_few_lines_however_short_they_are(data: bytes, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "MAX_LINE_BYTES", LIMIT)
        patch.setattr(chunks, "MAX_CHUNK_LINES", most)

        found = list(whole_lines(io.BytesIO(data)))

        assert lines_of(found) == expected_lines(data, LIMIT)
        assert all(chunk.data.count(b"\n") <= most for chunk in found)
        oversized = [(n, long.line) for n, chunk in enumerate(found) for long in chunk.oversized]
        assert oversized == sorted(oversized)
        assert all(found[n].first_line <= line for n, line in oversized)


def test_a_chunk_knows_the_size_of_its_lines_with_their_newlines() -> None:
    assert Chunk(1, b"one\n\ntwo\n").size_bytes == 9
    assert Chunk(1, b"one\ntwo").size_bytes == 8
    assert Chunk(1, b"\ntwo\n", [OversizedLine(1, 100, b"x")]).size_bytes == 105
    assert Chunk(1, b"", [OversizedLine(1, 100, b"x")]).size_bytes == 101


@pytest.mark.parametrize("mebibytes", [5, 20])
@pytest.mark.parametrize("ending", [b"\nlast\n", b""])
def test_a_line_of_mebibytes_is_cut_at_four_and_its_neighbours_are_whole(
    mebibytes: int, ending: bytes
) -> None:
    size = mebibytes * 2**20
    stream = io.BytesIO(b"first\n" + b"x" * size + ending)

    lines, oversized = lines_of(list(whole_lines(stream)))

    assert lines == ({1: b"first", 3: b"last"} if ending else {1: b"first"})
    assert oversized == [OversizedLine(2, size, b"x" * 4_194_304)]


def test_a_line_of_exactly_four_mebibytes_is_whole() -> None:
    stream = io.BytesIO(b"x" * 4_194_304 + b"\n" + b"y" * 4_194_305)

    lines, oversized = lines_of(list(whole_lines(stream)))

    assert lines == {1: b"x" * 4_194_304}
    assert oversized == [OversizedLine(2, 4_194_305, b"y" * 4_194_304)]


def test_a_line_without_end_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 10_000)
    monkeypatch.setattr(chunks, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.truncate(5_000_000)
    tracemalloc.start()
    try:
        with path.open("rb") as stream:
            lines, oversized = lines_of(list(whole_lines(stream)))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (lines, oversized) == ({}, [OversizedLine(1, 5_000_000, b"\0" * 1000)])
    assert peak_bytes < 500_000
