"""A day of raw files to one Parquet file: nothing lost, nothing twice, same bytes again."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_assets.contracts import CANONICAL_DTYPES, canonical_event
from recsys_assets.errors import RawEventsError
from recsys_assets.events import chunks, redelivered
from recsys_assets_tests.events.conftest import (
    DAY,
    NOON,
    Folder,
    accounted,
    events,
    limit_row_groups,
    line,
    mixed_lines,
    provenance,
    rejected,
)
from recsys_assets_tests.needed import examples

# What is kept, and where it came from


def test_events_of_all_files_are_in_source_order(folder: Folder) -> None:
    folder.write([line(item_id="c", rank=3)], "exposure.2026-01-02-b.jsonl")
    folder.write(["", line(item_id="a", user_id="u"), "x", line()], "exposure.2026-01-02-a.jsonl")
    folder.write(gzip.compress(line(request_id="r").encode()), "exposure.2026-01-02-c.jsonl.gz")

    parsed = folder.parse()

    assert events(parsed) == [
        (NOON, "u", "s1", None, "a", None, 0, 2),
        (NOON, None, "s1", None, "i1", None, 0, 4),
        (NOON, None, "s1", None, "c", 3, 1, 1),
        (NOON, None, "s1", "r", "i1", None, 2, 1),
    ]
    assert [file.name for file in parsed.files] == [
        "exposure.2026-01-02-a.jsonl",
        "exposure.2026-01-02-b.jsonl",
        "exposure.2026-01-02-c.jsonl.gz",
    ]
    assert (parsed.day, parsed.lines, parsed.events) == (DAY, 5, 4)
    assert parsed.refused == {"invalid_json": 1}


def test_every_fate_of_a_line_is_counted(folder: Folder) -> None:
    folder.write(
        [
            line(request_id="r"),
            line(request_id="r"),
            "",
            line(ts="2026-01-03T00:00:00Z"),
            line(ts="2026-01-01T00:00:00Z"),
            line(surface="cart"),
            "{}",
            "{",
            "[]",
            "{",
        ]
    )
    parsed = folder.parse()

    assert (parsed.lines, parsed.events, parsed.redelivered) == (9, 1, 1)
    assert (parsed.outside_window, parsed.other_surface) == (2, 1)
    assert parsed.refused == {"wrong_version": 1, "invalid_json": 2, "wrong_type": 1}
    assert parsed.rejected_share == pytest.approx(4 / 9)
    assert accounted(parsed) == 9


def test_the_parsed_frame_holds_the_contract_of_its_day(folder: Folder) -> None:
    folder.write(mixed_lines(100), "exposure.2026-01-02-a.jsonl")
    folder.write([line(user_id=" u ", rank=0), line(ts="2026-01-02T23:59:59.999999999Z")])

    frame = folder.parse().frame.collect()

    assert frame.height > 50
    canonical_event(DAY).validate(frame, lazy=True)


@pytest.mark.parametrize(
    ("content", "lines", "refused"),
    [(None, 0, 0), (b"", 0, 0), (b"\n \r\n\t\n\n", 0, 0), (b"x\n{}\n\xff", 3, 3)],
    ids=["no file", "empty file", "only blank lines", "only refused lines"],
)
def test_a_day_without_events_is_an_empty_partition(
    folder: Folder, content: bytes | None, lines: int, refused: int
) -> None:
    if content is not None:
        folder.write(content)

    parsed = folder.parse()

    assert parsed.frame.collect().height == 0
    assert parsed.frame.collect_schema() == dict(CANONICAL_DTYPES)
    canonical_event(DAY).validate(parsed.frame.collect(), lazy=True)
    assert [group for group in parsed.groups() if group.height] == []
    assert (parsed.events, parsed.lines, parsed.refused.total()) == (0, lines, refused)
    assert parsed.rejected_share == (1.0 if refused else 0.0)
    assert (parsed.rejected_path is None) == (refused == 0)
    assert len(parsed.files) == (0 if content is None else 1)
    assert len(provenance(parsed).files) == len(parsed.files)
    assert provenance(parsed).fingerprint == parsed.fingerprint


def test_nothing_but_the_results_is_left_in_the_scratch_directory(folder: Folder) -> None:
    folder.write(mixed_lines(100))

    parsed = folder.parse()

    assert parsed.redelivered > 0
    assert sorted(path.name for path in parsed.path.parent.iterdir()) == [
        "2026-01-02.parquet",
        "2026-01-02.rejected.jsonl.zst",
    ]


def test_a_damaged_file_fails_the_day_and_is_named(folder: Folder) -> None:
    folder.write([line()], "exposure.2026-01-02-a.jsonl")
    folder.write(gzip.compress(line().encode())[:-4], "exposure.2026-01-02-b.jsonl.gz")

    with pytest.raises(RawEventsError, match=r"exposure\.2026-01-02-b\.jsonl\.gz"):
        folder.parse()


# Files that are not what they should be


PARTS: dict[str, bytes] = {
    "upper.jsonl.GZ": gzip.compress(f"{line(item_id='gz')}\n".encode()),
    "long.jsonl.zstd": pa.compress(line(item_id="zstd").encode(), codec="zstd", asbytes=True),
    "small.jsonl.xz": lzma.compress(f"{line(item_id='xz')}\n".encode()),
    "old.jsonl.bz2": bz2.compress(f"{line(item_id='bz2')}\n".encode()),
    "firehose.jsonl": (line(item_id="j1") + line(item_id="j2")).encode(),
    "array.jsonl": f"[{line(item_id='a1')},{line(item_id='a2')}]".encode(),
    "mac.jsonl": f"{line(item_id='c1')}\r{line(item_id='c2')}\r".encode(),
}


def test_no_form_that_is_read_loses_an_event(folder: Folder) -> None:
    """Beside ten thousand good lines, each was one refused line, and the day was published."""
    folder.write([line(item_id=f"i{number}") for number in range(10_000)])
    for name, data in PARTS.items():
        folder.write(data, f"exposure.2026-01-02.{name}")

    parsed = folder.parse()

    assert parsed.refused == {}
    of_parts = parsed.frame.filter(~pl.col("item_id").str.starts_with("i"))
    assert sorted(of_parts.select("item_id", "line").collect().rows()) == [
        ("a1", 1), ("a2", 2), ("bz2", 1), ("c1", 1), ("c2", 2), ("gz", 1), ("j1", 1), ("j2", 2),
        ("xz", 1), ("zstd", 1),
    ]  # fmt: skip


REFUSED_WHOLE: dict[str, bytes] = {
    "NUL bytes": b"\0" * 4096,
    "NUL bytes over the limit of a line": b"\0" * 5_000_000,
    "an array over several lines": json.dumps([json.loads(line())], indent=2).encode(),
    "UTF-16 without its mark": line().encode("utf-16-le"),
    "Brotli": b"\x1b\x03\x00\xf8\xa5[\xca\xe6\xbb\x10",
    "a message": b"<Error><Code>SlowDown</Code></Error>\n",
    "CSV": b"ts,session_id,item_id\n2026-01-02T12:00:00Z,s1,i1\n",
}


@pytest.mark.parametrize("name", REFUSED_WHOLE)
def test_a_file_of_refused_lines_only_is_named(folder: Folder, name: str) -> None:
    folder.write([line(item_id=f"i{number}") for number in range(10_000)])
    folder.write(REFUSED_WHOLE[name], "exposure.2026-01-02.other.jsonl")

    (refused,) = folder.parse().refused_files

    assert refused.location == str(folder.raw / "exposure.2026-01-02.other.jsonl")
    assert refused.lines > 0
    assert refused.first.reason in {"invalid_json", "invalid_utf8", "line_too_long"}


@pytest.mark.parametrize(
    "lines",
    [
        [line(surface="cart")],
        [line(ts="2026-01-03T00:00:00Z")],
        ["broken", line(tenant="other")],
        [""],
        [],
    ],
    ids=["another surface", "another day", "one of another tenant", "blank", "no bytes"],
)
def test_a_file_without_events_of_ours_is_no_refused_file(folder: Folder, lines: list[str]) -> None:
    """A folder may be shared between surfaces, and a file hold the end of the day before."""
    folder.write(lines)

    assert folder.parse().refused_files == []


def test_the_share_of_bytes_tells_what_the_share_of_lines_does_not(folder: Folder) -> None:
    """A line that was cut and joined with others is one of many."""
    good, bad = [line()] * 1000, "x" * 1000 * (len(line()) + 1)
    folder.write([*good, bad[1:]])

    parsed = folder.parse()

    assert parsed.rejected_share == pytest.approx(1 / 1001)
    assert parsed.rejected_bytes_share == 0.5
    assert parsed.refused_files == []


@pytest.mark.parametrize("data", [b"x", b"x\n", b"x\ny", b"\xff\n[]\n", b"x" * 5_000_000])
def test_where_all_is_refused_the_share_of_bytes_is_all(folder: Folder, data: bytes) -> None:
    folder.write(data)

    assert folder.parse().rejected_bytes_share == 1.0


def test_two_files_of_one_content_are_an_error_that_names_them(folder: Folder) -> None:
    """Without request ids, nothing else tells a copy; it may be compressed in another way."""
    text = f"{line()}\n{line(item_id='i2')}\n".encode()
    folder.write(text, "exposure.2026-01-02-a.jsonl")
    folder.write(gzip.compress(text), "exposure.2026-01-02-b.gz")

    with pytest.raises(RawEventsError) as raised:
        folder.parse()

    assert str(raised.value) == (
        f"{folder.raw}/exposure.2026-01-02-a.jsonl and {folder.raw}/exposure.2026-01-02-b.gz hold "
        "the same, and its events would count twice. Nothing of the day was kept; take one of "
        "them away and materialize the day."
    )


_TWO = [line().encode(), line(item_id="i2").encode()]


@pytest.mark.parametrize(
    "copy",
    [
        b"\r\n".join([*_TWO, b""]),
        b"\r".join([*_TWO, b""]),
        b"\n".join(_TWO),
        b"\xef\xbb\xbf" + b"\n".join(_TWO),
        b"\n\n" + b"\n".join([*_TWO, b"", b""]),
        b"".join(_TWO),
        b"[" + b",".join(_TWO) + b"]",
        b"[\n" + b",\n".join(_TWO) + b"\n]\n",
    ],
    ids=["windows", "old mac", "no newline", "mark", "blank", "joined", "array", "array of lines"],
)
def test_a_copy_whose_lines_end_or_lie_otherwise_is_a_copy(folder: Folder, copy: bytes) -> None:
    """As FTP in ASCII mode, an editor or an export leaves it."""
    folder.write(b"\n".join([*_TWO, b""]), "exposure.2026-01-02-a.jsonl")
    folder.write(copy, "exposure.2026-01-02-b.jsonl")

    with pytest.raises(RawEventsError, match="hold the same, and its events would count twice"):
        folder.parse()


@pytest.mark.parametrize("other", [_TWO[::-1], _TWO[:1], [*_TWO, b"x" * 5_000_000], [_TWO[0]] * 2])
def test_files_that_share_lines_are_no_copies(folder: Folder, other: list[bytes]) -> None:
    folder.write(b"\n".join(_TWO), "exposure.2026-01-02-a.jsonl")
    folder.write(b"\n".join(other), "exposure.2026-01-02-b.jsonl")

    assert folder.parse().events == 2 + sum(len(event) < 1000 for event in other)


def test_files_without_lines_are_no_copies(folder: Folder) -> None:
    for part in "abc":
        folder.write(b"", f"exposure.2026-01-02-{part}")
        folder.write(b"\n \n", f"exposure.2026-01-02-blank-{part}")
        folder.write(gzip.compress(b""), f"exposure.2026-01-02-{part}{part}.gz")
    folder.write([line()])

    assert folder.parse().events == 1


def test_a_copy_that_is_named_as_one_counts_once(folder: Folder) -> None:
    folder.write([line()])
    folder.write([line()], "exposure.2026-01-02.jsonl.bak")
    folder.write(b"0123  exposure.2026-01-02.jsonl\n", "exposure.2026-01-02.jsonl.sha256")

    parsed = folder.parse()

    assert (parsed.events, parsed.lines) == (1, 1)


# The same day again


def test_the_same_input_gives_the_same_bytes(folder: Folder) -> None:
    folder.write(mixed_lines(500), "exposure.2026-01-02-a.jsonl")
    folder.write([*mixed_lines(30), "broken"])

    first, second = folder.parse(), folder.parse()

    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.rejected_path is not None
    assert second.rejected_path is not None
    assert first.rejected_path.read_bytes() == second.rejected_path.read_bytes()
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize("with_redeliveries", [False, True])
def test_the_bytes_do_not_depend_on_the_chunks(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, *, with_redeliveries: bool
) -> None:
    """Thousands of distinct ids, so that a column has several pages and they could fall apart."""
    lines = [
        line(session_id=f"session {number:0200}", user_id=f"u{number % 977}", request_id="r")
        for number in range(12_000)
    ]
    folder.write(lines + lines[:10] if with_redeliveries else lines)
    limit_row_groups(monkeypatch, 10_000)
    whole = folder.parse()
    for size in (100_003, 12_345):
        monkeypatch.setattr(chunks, "CHUNK_BYTES", size)
        parsed = folder.parse()

        assert parsed.path.read_bytes() == whole.path.read_bytes(), size
        assert parsed.fingerprint == whole.fingerprint
    assert whole.redelivered == (10 if with_redeliveries else 0)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_events_refusals_and_counts_do_not_depend_on_the_chunks(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    folder.write(mixed_lines(60), "exposure.2026-01-02-a.jsonl")
    folder.write(gzip.compress("\n".join(mixed_lines(40)).encode()), "exposure.2026-01-02.gz")
    whole = folder.parse()
    monkeypatch.setattr(chunks, "CHUNK_BYTES", size)

    parsed = folder.parse()

    assert_frame_equal(parsed.frame.collect(), whole.frame.collect())
    assert rejected(parsed) == rejected(whole)
    assert parsed.fingerprint == whole.fingerprint
    assert (parsed.lines, parsed.events, parsed.redelivered, parsed.other_surface) == (
        whole.lines,
        whole.events,
        whole.redelivered,
        whole.other_surface,
    )
    assert whole.events > 40


_MEMBERS = st.fixed_dictionaries(
    {
        "session_id": st.sampled_from(["a", "b", " a", ""]),
        "item_id": st.sampled_from(["i", "j"]),
        "ts": st.sampled_from(
            ["2026-01-02T12:00:00Z", "2026-01-02T13:00:00+01:00", "2026-01-03T00:00:00Z"]
        ),
    },
    optional={
        "request_id": st.sampled_from(["r", "r ", "q", None, ""]),
        "user_id": st.sampled_from(["u", "w", None, " "]),
        "rank": st.sampled_from([0, 1, None, -1]),
        "tenant": st.sampled_from(["acme", "acme", "acme", "other"]),
    },
)
_LINES = st.lists(
    st.one_of(_MEMBERS.map(lambda members: line(**members)), st.sampled_from(["", "x", "{}"])),
    max_size=25,
)


def _by_hand(files: list[list[str]]) -> tuple[list[tuple[Any, ...]], Counter[str]]:
    """Say line by line, in plain Python, what becomes of the lines that _LINES makes."""
    kept: list[tuple[Any, ...]] = []
    fates: Counter[str] = Counter()
    seen: set[tuple[Any, ...]] = set()
    for number, lines in enumerate(files):
        for at, text in enumerate(lines, start=1):
            if not text:
                continue
            event = {} if text in {"x", "{}"} else json.loads(text)
            session = event.get("session_id", "").strip()
            user, request = (
                (event.get(name) or "").strip() or None for name in ("user_id", "request_id")
            )
            same = (
                event.get("ts"),
                user,
                session,
                request,
                event.get("item_id"),
                event.get("rank"),
            )
            if not session or event.get("rank") == -1:
                fates["refused"] += 1
            elif event["tenant"] == "other":
                fates["other_surface"] += 1
            elif event["ts"].startswith("2026-01-03"):
                fates["outside_window"] += 1
            elif request and (NOON, *same[1:]) in seen:
                fates["redelivered"] += 1
            else:
                seen.add((NOON, *same[1:]))
                kept.append((NOON, *same[1:], number, at))
    return kept, fates


@given(files=st.lists(_LINES, max_size=3, unique_by="\n".join), small=st.booleans())
@settings(max_examples=examples(40), deadline=None)
def test_every_line_is_accounted_for_and_the_events_are_those_found_by_hand(
    files: list[list[str]], *, small: bool
) -> None:
    with tempfile.TemporaryDirectory() as base, pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(chunks, "CHUNK_BYTES", 300)
            limit_row_groups(patch, 4)
            patch.setattr(redelivered, "_BUCKET_ROWS", 1)
        folder = Folder(Path(base))
        for number, lines in enumerate(files):
            folder.write(lines, f"exposure.2026-01-02-{number}.jsonl")

        parsed = folder.parse()

        kept, fates = _by_hand(files)
        assert events(parsed) == kept
        assert fates == Counter(
            refused=parsed.refused.total(),
            other_surface=parsed.other_surface,
            outside_window=parsed.outside_window,
            redelivered=parsed.redelivered,
        )
        assert parsed.events == len(kept)
        assert parsed.lines == accounted(parsed) == sum(1 for x in files for text in x if text)
        assert (parsed.rejected_path is not None) == bool(fates["refused"])
        canonical_event(DAY).validate(parsed.frame.collect(), lazy=True)


# Size


def test_a_session_of_a_hundred_thousand_items_is_kept_whole(folder: Folder) -> None:
    event = line(request_id="r", item_id="%")
    folder.write([event.replace("%", str(number)) for number in range(100_000)])

    parsed = folder.parse()

    assert (parsed.events, parsed.redelivered) == (100_000, 0)
    last = parsed.frame.select("item_id", "line").last().collect().row(0)
    assert last == ("99999", 100_000)
