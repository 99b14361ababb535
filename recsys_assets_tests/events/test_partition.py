"""A day of raw files to one staged Parquet file: nothing lost, nothing twice, same bytes again."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_assets.config import Surface
from recsys_assets.contracts import CANONICAL_DTYPES, canonical_event
from recsys_assets.errors import RawEventsError
from recsys_assets.events import partition, sources
from recsys_assets.events.partition import (
    CANONICAL_FORMAT,
    FOOTER_KEY,
    Provenance,
    RawFileSeen,
    StagedPartition,
    read_provenance,
    stage_partition,
)
from recsys_assets.storage.local import LocalStore

DAY = date(2026, 1, 2)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def line(**members: Any) -> str:
    """Write a valid event of acme/home at noon, with members replaced or added."""
    event = {
        "v": 1,
        "ts": "2026-01-02T12:00:00Z",
        "tenant": "acme",
        "surface": "home",
        "session_id": "s1",
        "item_id": "i1",
    }
    return json.dumps(event | members)


class Folder:
    """A directory with the raw files of acme/home, and room to stage a day again and again."""

    def __init__(self, base: Path) -> None:
        self.raw = base / "raw"
        self.raw.mkdir()
        self._scratch = base / "scratch"
        self._staged = 0

    def write(self, lines: Sequence[str] | bytes, name: str = "exposure.2026-01-02.jsonl") -> None:
        """Write a raw file: lines that end in a newline each, or its bytes."""
        data = lines if isinstance(lines, bytes) else "".join(f"{x}\n" for x in lines).encode()
        (self.raw / name).write_bytes(data)

    def surface(self, *, tenant: str = "acme", surface: str = "home") -> Surface:
        """Return a surface whose pattern names neither tenant nor surface."""
        return Surface.model_validate(
            {
                "tenant": tenant,
                "surface": surface,
                "start_date": date(2026, 1, 1),
                "source": {"path": str(self.raw), "pattern": "exposure.{day}*"},
                "artifacts": {"popularity": {}},
            }
        )

    def stage(self, *, day: date = DAY, tenant: str = "acme") -> StagedPartition:
        """Stage the day in a scratch directory of its own."""
        self._staged += 1
        scratch = self._scratch / str(self._staged)
        scratch.mkdir(parents=True)
        return stage_partition(self.surface(tenant=tenant), day, scratch=scratch)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def places(staged: StagedPartition) -> list[tuple[int, int]]:
    return staged.frame.select("file", "line").collect().rows()


def events(staged: StagedPartition) -> list[tuple[Any, ...]]:
    columns = ("ts", "user_id", "session_id", "request_id", "item_id", "rank", "file", "line")
    return staged.frame.select(columns).collect().rows()


def accounted(staged: StagedPartition) -> int:
    return (
        staged.events
        + staged.redelivered
        + staged.outside_window
        + staged.other_surface
        + staged.refused.total()
    )


def rejected(staged: StagedPartition) -> list[dict[str, Any]]:
    assert staged.rejected_path is not None
    with pa.input_stream(str(staged.rejected_path), compression="zstd") as stream:
        text = stream.read().decode("ascii")
    return [json.loads(entry) for entry in text.splitlines()]


def footer(staged: StagedPartition) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(pq.read_metadata(staged.path).metadata[FOOTER_KEY])
    return value


def provenance(staged: StagedPartition) -> Provenance:
    return read_provenance(LocalStore(staged.path.parent), staged.path.name)


def mixed_lines(count: int) -> list[str]:
    """Make lines of every fate; lines 10, 20 and so on repeat the line five before them."""
    lines: list[str] = []
    for number in range(count):
        if number % 10 == 9:
            lines.append(lines[number - 5])
        elif number % 10 == 7:
            lines.append("" if number % 20 == 7 else "broken")
        elif number % 10 == 6:
            lines.append(line(tenant="other"))
        else:
            lines.append(line(session_id=f"s{number % 3}", item_id=f"ü{number}", request_id="r"))
    return lines


# What is kept, and where it came from


def test_events_of_all_files_are_in_source_order(folder: Folder) -> None:
    folder.write([line(item_id="c", rank=3)], "exposure.2026-01-02-b.jsonl")
    folder.write(["", line(item_id="a", user_id="u"), "x", line()], "exposure.2026-01-02-a.jsonl")
    folder.write(gzip.compress(line(request_id="r").encode()), "exposure.2026-01-02-c.jsonl.gz")

    staged = folder.stage()

    assert events(staged) == [
        (NOON, "u", "s1", None, "a", None, 0, 2),
        (NOON, None, "s1", None, "i1", None, 0, 4),
        (NOON, None, "s1", None, "c", 3, 1, 1),
        (NOON, None, "s1", "r", "i1", None, 2, 1),
    ]
    assert [file.name for file in staged.files] == [
        "exposure.2026-01-02-a.jsonl",
        "exposure.2026-01-02-b.jsonl",
        "exposure.2026-01-02-c.jsonl.gz",
    ]
    assert (staged.day, staged.lines, staged.events) == (DAY, 5, 4)
    assert staged.refused == {"invalid_json": 1}


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
    staged = folder.stage()

    assert (staged.lines, staged.events, staged.redelivered) == (9, 1, 1)
    assert (staged.outside_window, staged.other_surface) == (2, 1)
    assert staged.refused == {"wrong_version": 1, "invalid_json": 2, "wrong_type": 1}
    assert staged.rejected_share == pytest.approx(4 / 9)
    assert accounted(staged) == 9


def test_the_staged_frame_holds_the_contract_of_its_day(folder: Folder) -> None:
    folder.write(mixed_lines(100), "exposure.2026-01-02-a.jsonl")
    folder.write([line(user_id=" u ", rank=0), line(ts="2026-01-02T23:59:59.999999999Z")])

    frame = folder.stage().frame.collect()

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

    staged = folder.stage()

    assert staged.frame.collect().height == 0
    assert staged.frame.collect_schema() == dict(CANONICAL_DTYPES)
    canonical_event(DAY).validate(staged.frame.collect(), lazy=True)
    assert [group for group in staged.groups() if group.height] == []
    assert (staged.events, staged.lines, staged.refused.total()) == (0, lines, refused)
    assert staged.rejected_share == (1.0 if refused else 0.0)
    assert (staged.rejected_path is None) == (refused == 0)
    assert len(staged.files) == (0 if content is None else 1)
    assert len(provenance(staged).files) == len(staged.files)
    assert provenance(staged).fingerprint == staged.fingerprint


def test_nothing_but_the_results_is_left_in_the_scratch_directory(folder: Folder) -> None:
    folder.write(mixed_lines(100))

    staged = folder.stage()

    assert staged.redelivered > 0
    assert sorted(path.name for path in staged.path.parent.iterdir()) == [
        "2026-01-02.parquet",
        "2026-01-02.rejected.jsonl.zst",
    ]


def test_a_damaged_file_fails_the_day_and_is_named(folder: Folder) -> None:
    folder.write([line()], "exposure.2026-01-02-a.jsonl")
    folder.write(gzip.compress(line().encode())[:-4], "exposure.2026-01-02-b.jsonl.gz")

    with pytest.raises(RawEventsError, match=r"exposure\.2026-01-02-b\.jsonl\.gz"):
        folder.stage()


# The same day again


def test_the_same_input_gives_the_same_bytes(folder: Folder) -> None:
    folder.write(mixed_lines(500), "exposure.2026-01-02-a.jsonl")
    folder.write([*mixed_lines(30), "broken"])

    first, second = folder.stage(), folder.stage()

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
    monkeypatch.setattr(partition, "_ROW_GROUP_ROWS", 10_000)
    whole = folder.stage()
    for size in (100_003, 12_345):
        monkeypatch.setattr(sources, "CHUNK_BYTES", size)
        staged = folder.stage()

        assert staged.path.read_bytes() == whole.path.read_bytes(), size
        assert staged.fingerprint == whole.fingerprint
    assert whole.redelivered == (10 if with_redeliveries else 0)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_events_refusals_and_counts_do_not_depend_on_the_chunks(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    folder.write(mixed_lines(60), "exposure.2026-01-02-a.jsonl")
    folder.write(gzip.compress("\n".join(mixed_lines(40)).encode()), "exposure.2026-01-02.gz")
    whole = folder.stage()
    monkeypatch.setattr(sources, "CHUNK_BYTES", size)

    staged = folder.stage()

    assert_frame_equal(staged.frame.collect(), whole.frame.collect())
    assert rejected(staged) == rejected(whole)
    assert staged.fingerprint == whole.fingerprint
    assert (staged.lines, staged.events, staged.redelivered, staged.other_surface) == (
        whole.lines,
        whole.events,
        whole.redelivered,
        whole.other_surface,
    )
    assert whole.events > 40


# Redeliveries


def test_a_redelivery_is_dropped_and_the_first_in_source_order_stays(folder: Folder) -> None:
    event = line(request_id="r", user_id="u", rank=1)
    folder.write([line(), event, event], "exposure.2026-01-02-b.jsonl")
    folder.write(["", event, line(request_id="q")], "exposure.2026-01-02-a.jsonl")
    folder.write([event, line(request_id="q")], "exposure.2026-01-02-c.jsonl")

    staged = folder.stage()

    assert places(staged) == [(0, 2), (0, 3), (1, 1)]
    assert (staged.events, staged.redelivered, staged.lines) == (3, 4, 7)


def test_the_same_file_delivered_twice_adds_nothing(folder: Folder) -> None:
    lines = [line(request_id=f"r{number}", item_id=f"i{number}") for number in range(100)]
    folder.write(lines, "exposure.2026-01-02-a.jsonl")
    folder.write(lines, "exposure.2026-01-02-b.jsonl")

    staged = folder.stage()

    assert places(staged) == [(0, number) for number in range(1, 101)]
    assert staged.redelivered == 100


def test_an_event_is_the_same_however_it_was_written(folder: Folder) -> None:
    folder.write(
        [
            line(request_id="r", user_id="é"),
            line(request_id=" r ", user_id="é\u3000"),
            json.dumps(json.loads(line(request_id="r", user_id="é")), ensure_ascii=False),
            line(request_id="r", user_id="é", ts="2026-01-02T14:00:00.000+02:00"),
            line(request_id="r", user_id="é", other="field"),
        ]
    )
    staged = folder.stage()

    assert (places(staged), staged.redelivered) == ([(0, 1)], 4)


def test_events_without_a_request_are_never_redeliveries(folder: Folder) -> None:
    folder.write([line(), line(), line(request_id=None), line(request_id=" ")])

    staged = folder.stage()

    assert (staged.events, staged.redelivered) == (4, 0)


def test_events_that_differ_in_one_field_are_no_redeliveries(folder: Folder) -> None:
    whole = {"request_id": "r", "user_id": "u", "rank": 1}
    folder.write(
        [
            line(**whole),
            line(**whole | {"request_id": "R"}),
            line(**whole | {"user_id": "U"}),
            line(**whole | {"user_id": None}),
            line(**whole | {"rank": 2}),
            line(**whole | {"rank": None}),
            line(**whole | {"rank": 0}),
            line(**whole, session_id="s2"),
            line(**whole, item_id="i2"),
            line(**whole, ts="2026-01-02T12:00:00.000000001Z"),
        ]
    )
    staged = folder.stage()

    assert (staged.events, staged.redelivered) == (10, 0)


@pytest.mark.parametrize("null", ["user_id", "rank"])
def test_two_nulls_are_equal_when_redeliveries_are_told(folder: Folder, null: str) -> None:
    event = line(**{"request_id": "r", "user_id": "u", "rank": 1, null: None})
    folder.write([event, event])

    assert folder.stage().redelivered == 1


def _colliding_hash() -> pl.Expr:
    return (pl.col("line") * 0).cast(pl.UInt64).alias("hash")


def test_a_hash_collision_drops_no_event(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "_hash", _colliding_hash)
    lines = [line(request_id=f"r{number % 50}") for number in range(60)]
    folder.write([*lines, line(), line()])

    staged = folder.stage()

    assert places(staged) == [(0, number) for number in [*range(1, 51), 61, 62]]
    assert staged.redelivered == 10


def test_a_collision_without_a_repeat_leaves_the_partition_as_it_was(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write([line(request_id=f"r{number}") for number in range(20)])
    expected = folder.stage().path.read_bytes()
    monkeypatch.setattr(partition, "_hash", _colliding_hash)

    staged = folder.stage()

    assert staged.redelivered == 0
    assert staged.path.read_bytes() == expected


def test_redeliveries_are_found_in_every_bucket(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line(request_id=f"r{number}") for number in range(40)]
    folder.write(lines + lines[::-1] + [line(request_id="once")] + lines)
    whole = folder.stage()
    monkeypatch.setattr(partition, "_REDELIVERY_BUCKET_ROWS", 1)
    monkeypatch.setattr(partition, "_ROW_GROUP_ROWS", 7)

    staged = folder.stage()

    assert places(staged) == [(0, number) for number in [*range(1, 41), 81]]
    assert (staged.redelivered, staged.events) == (80, 41)
    assert_frame_equal(staged.frame.collect(), whole.frame.collect())
    assert footer(staged) == footer(whole)


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


@given(files=st.lists(_LINES, max_size=3), small=st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_line_is_accounted_for_and_the_events_are_those_found_by_hand(
    files: list[list[str]], *, small: bool
) -> None:
    with tempfile.TemporaryDirectory() as base, pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(sources, "CHUNK_BYTES", 300)
            patch.setattr(partition, "_ROW_GROUP_ROWS", 4)
            patch.setattr(partition, "_REDELIVERY_BUCKET_ROWS", 1)
        folder = Folder(Path(base))
        for number, lines in enumerate(files):
            folder.write(lines, f"exposure.2026-01-02-{number}.jsonl")

        staged = folder.stage()

        kept, fates = _by_hand(files)
        assert events(staged) == kept
        assert fates == Counter(
            refused=staged.refused.total(),
            other_surface=staged.other_surface,
            outside_window=staged.outside_window,
            redelivered=staged.redelivered,
        )
        assert staged.events == len(kept)
        assert staged.lines == accounted(staged) == sum(1 for x in files for text in x if text)
        assert (staged.rejected_path is not None) == bool(fates["refused"])
        canonical_event(DAY).validate(staged.frame.collect(), lazy=True)


# Row groups


def row_groups(path: Path) -> list[int]:
    metadata = pq.read_metadata(path)
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


@pytest.mark.parametrize("rows", [1, 7, 60, 61, 1000])
def test_events_do_not_depend_on_the_size_of_the_row_groups(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    folder.write([line(item_id=f"i{number}", rank=number) for number in range(60)])
    expected = folder.stage().frame.collect()
    monkeypatch.setattr(partition, "_ROW_GROUP_ROWS", rows)

    staged = folder.stage()
    groups = list(staged.groups())

    assert_frame_equal(staged.frame.collect(), expected)
    assert_frame_equal(pl.concat(groups), expected)
    full, rest = divmod(60, rows)
    assert [group.height for group in groups] == [rows] * full + [rest] * (rest > 0)
    assert row_groups(staged.path) == [group.height for group in groups]


def test_row_groups_are_full_across_chunks_and_files(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in "abc":
        folder.write([line(item_id=f"{part}{n}") for n in range(11)], f"exposure.2026-01-02-{part}")
    monkeypatch.setattr(partition, "_ROW_GROUP_ROWS", 10)
    monkeypatch.setattr(sources, "CHUNK_BYTES", 500)

    assert row_groups(folder.stage().path) == [10, 10, 10, 3]


# Refused lines


def test_refused_lines_are_kept_with_their_place_reason_and_very_bytes(folder: Folder) -> None:
    invalid, text = b'{"v":1,"\xff\x00\xfe"}', '{"é\u2028":"\U0001f600\x7f"'
    folder.write(f"{line()}\n\n{text}\n".encode() + invalid + b"\n[]", "exposure.2026-01-02-a")
    folder.write([line(v=2)], "exposure.2026-01-02-b")

    first, second, third, fourth = rejected(folder.stage())

    assert (first["file"], first["line"], first["reason"], first["raw"]) == (
        "exposure.2026-01-02-a",
        3,
        "invalid_json",
        text,
    )
    assert (second["file"], second["line"], second["reason"]) == (
        "exposure.2026-01-02-a",
        4,
        "invalid_utf8",
    )
    assert base64.b64decode(second["raw_base64"]) == invalid
    assert third == {
        "file": "exposure.2026-01-02-a",
        "line": 5,
        "reason": "wrong_type",
        "detail": "the line is an array, not an object",
        "raw": "[]",
    }
    assert fourth == {
        "file": "exposure.2026-01-02-b",
        "line": 1,
        "reason": "wrong_version",
        "detail": "v is 2, this project reads v 1",
        "raw": line(v=2),
    }
    for entry in (first, second):
        assert set(entry) - {"raw", "raw_base64"} == {"file", "line", "reason", "detail"}
        assert ("raw" in entry) != ("raw_base64" in entry)


def test_a_line_that_is_too_long_is_kept_up_to_the_limit(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 200)
    folder.write(b"a" * 300 + b"\n" + line().encode() + b"\n" + b"a" + b"\xc3\xa9" * 150)

    staged = folder.stage()
    first, second = rejected(staged)

    assert (first["line"], first["reason"], first["raw"]) == (1, "line_too_long", "a" * 200)
    assert (second["line"], second["reason"]) == (3, "line_too_long")
    assert base64.b64decode(second["raw_base64"]) == b"a" + b"\xc3\xa9" * 99 + b"\xc3"
    assert (staged.lines, staged.events, staged.refused) == (3, 1, {"line_too_long": 2})


def test_the_first_ten_refused_lines_are_at_hand_and_short(folder: Folder) -> None:
    folder.write(["x" * 1000] * 6, "exposure.2026-01-02-a")
    folder.write(b"\xff\n" + b"[]\n" * 10, "exposure.2026-01-02-b")

    staged = folder.stage()

    assert [(entry["file"][-1], entry["line"]) for entry in staged.first_refused] == [
        *(("a", number) for number in range(1, 7)),
        *(("b", number) for number in range(1, 5)),
    ]
    assert staged.first_refused[0]["raw"] == "x" * 200
    assert staged.first_refused[6]["raw"] == "\\xff"
    assert staged.first_refused[9] == {
        "file": "exposure.2026-01-02-b",
        "line": 4,
        "reason": "wrong_type",
        "detail": "the line is an array, not an object",
        "raw": "[]",
    }
    assert len(rejected(staged)) == 17


# Footer and fingerprint


@pytest.mark.parametrize("redelivered", [False, True])
def test_the_footer_names_the_sources_with_size_and_hash(
    folder: Folder, *, redelivered: bool
) -> None:
    plain = f"{line(request_id='r')}\n".encode() * (2 if redelivered else 1)
    packed = gzip.compress(line().encode())
    folder.write(plain, "exposure.2026-01-02-a.jsonl")
    folder.write(packed, "exposure.2026-01-02-b.jsonl.gz")

    staged = folder.stage()

    assert staged.redelivered == redelivered
    assert footer(staged) == {
        "format": CANONICAL_FORMAT,
        "tenant": "acme",
        "surface": "home",
        "day": "2026-01-02",
        "fingerprint": staged.fingerprint,
        "files": [
            {
                "name": "exposure.2026-01-02-a.jsonl",
                "size_bytes": len(plain),
                "sha256": hashlib.sha256(plain).hexdigest(),
            },
            {
                "name": "exposure.2026-01-02-b.jsonl.gz",
                "size_bytes": len(packed),
                "sha256": hashlib.sha256(packed).hexdigest(),
            },
        ],
    }
    assert provenance(staged) == Provenance(
        staged.fingerprint,
        [
            RawFileSeen(
                "exposure.2026-01-02-a.jsonl", len(plain), hashlib.sha256(plain).hexdigest()
            ),
            RawFileSeen(
                "exposure.2026-01-02-b.jsonl.gz", len(packed), hashlib.sha256(packed).hexdigest()
            ),
        ],
    )
    assert len(staged.fingerprint) == 64


def test_the_fingerprint_changes_with_everything_the_events_depend_on(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [folder.stage().fingerprint, folder.stage(day=date(2026, 1, 3)).fingerprint]
    folder.write([line()], "exposure.2026-01-02-a")
    found.append(folder.stage().fingerprint)
    found.append(folder.stage(tenant="other").fingerprint)
    folder.write([line(other=1)], "exposure.2026-01-02-a")
    found.append(folder.stage().fingerprint)
    folder.write([line(other=2)], "exposure.2026-01-02-a")
    found.append(folder.stage().fingerprint)
    (folder.raw / "exposure.2026-01-02-a").rename(folder.raw / "exposure.2026-01-02-b")
    found.append(folder.stage().fingerprint)
    folder.write(b"", "exposure.2026-01-02-c")
    found.append(folder.stage().fingerprint)
    monkeypatch.setattr(partition, "CANONICAL_FORMAT", CANONICAL_FORMAT + 1)
    found.append(folder.stage().fingerprint)

    assert len(set(found)) == len(found) == 9


def test_the_fingerprint_depends_on_nothing_else(tmp_path: Path, folder: Folder) -> None:
    folder.write([line()])
    before = folder.stage()
    folder.raw = folder.raw.rename(tmp_path / "moved")

    after = folder.stage()

    assert after.fingerprint == before.fingerprint
    assert after.path.read_bytes() == before.path.read_bytes()


# Size


def test_a_session_of_a_hundred_thousand_items_is_kept_whole(folder: Folder) -> None:
    event = line(request_id="r", item_id="%")
    folder.write([event.replace("%", str(number)) for number in range(100_000)])

    staged = folder.stage()

    assert (staged.events, staged.redelivered) == (100_000, 0)
    last = staged.frame.select("item_id", "line").last().collect().row(0)
    assert last == ("99999", 100_000)
