"""What the tests of a day share: a folder of raw files, and what its days are made into."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_assets.config import Surface
from recsys_assets.events import days, redelivered, writers
from recsys_assets.events.chunks import Chunk, OversizedLine
from recsys_assets.events.days import ParsedDay, parse_day
from recsys_assets.events.provenance import FOOTER_KEY, Provenance, read_provenance
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.storage.conftest import backend, store

__all__ = ["backend", "store"]  # fixtures of what is read from any store

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
    """A directory with the raw files of acme/home, and room to parse a day again and again."""

    def __init__(self, base: Path) -> None:
        self.raw = base / "raw"
        self.raw.mkdir()
        self._scratch = base / "scratch"
        self._parsed = 0

    def write(self, lines: Sequence[str] | bytes, name: str = "exposure.2026-01-02.jsonl") -> None:
        """Write a raw file: lines that end in a newline each, or its bytes."""
        data = lines if isinstance(lines, bytes) else "".join(f"{x}\n" for x in lines).encode()
        (self.raw / name).write_bytes(data)

    def surface(self, *, tenant: str = "acme", surface: str = "home", **source: Any) -> Surface:
        """Return a surface whose pattern names neither tenant nor surface."""
        return Surface.model_validate(
            {
                "tenant": tenant,
                "surface": surface,
                "start_date": date(2026, 1, 1),
                "source": {"path": str(self.raw), "pattern": "exposure.{day}*"} | source,
                "artifacts": {"popularity": {}},
            }
        )

    def parse(self, *, day: date = DAY, tenant: str = "acme", **source: Any) -> ParsedDay:
        """Parse the day in a scratch directory of its own."""
        self._parsed += 1
        scratch = self._scratch / str(self._parsed)
        scratch.mkdir(parents=True)
        return parse_day(self.surface(tenant=tenant, **source), day, scratch=scratch)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def places(parsed: ParsedDay) -> list[tuple[int, int]]:
    return parsed.frame.select("file", "line").collect().rows()


def events(parsed: ParsedDay) -> list[tuple[Any, ...]]:
    columns = ("ts", "user_id", "session_id", "request_id", "item_id", "rank", "file", "line")
    return parsed.frame.select(columns).collect().rows()


def accounted(parsed: ParsedDay) -> int:
    return (
        parsed.events
        + parsed.redelivered
        + parsed.outside_window
        + parsed.other_surface
        + parsed.refused.total()
    )


def rejected(parsed: ParsedDay) -> list[dict[str, Any]]:
    assert parsed.rejected_path is not None
    with pa.input_stream(str(parsed.rejected_path), compression="zstd") as stream:
        text = stream.read().decode("ascii")
    return [json.loads(entry) for entry in text.splitlines()]


def footer(parsed: ParsedDay) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(pq.read_metadata(parsed.path).metadata[FOOTER_KEY])
    return value


def provenance(parsed: ParsedDay) -> Provenance:
    return read_provenance(LocalStore(parsed.path.parent), parsed.path.name)


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


def limit_row_groups(patch: pytest.MonkeyPatch, rows: int) -> None:
    """Let a row group hold so many rows, as it is written and as it is read."""
    for module in (writers, days):
        patch.setattr(module, "ROW_GROUP_ROWS", rows)


def collide(patch: pytest.MonkeyPatch) -> None:
    """Give all events the same hash."""

    def event_hash(_: object) -> pl.Expr:
        return (pl.col("line") * 0).cast(pl.UInt64).alias("hash")

    patch.setattr(redelivered, "event_hash", event_hash)


def lines_of(chunks: list[Chunk]) -> tuple[dict[int, bytes], list[OversizedLine]]:
    """Return the lines by their number, oversized ones apart; no number may come twice."""
    lines: dict[int, bytes] = {}
    oversized: list[OversizedLine] = []
    for chunk in chunks:
        oversized += chunk.oversized
        texts = chunk.data.split(b"\n")
        if not texts[-1]:
            texts.pop()
        for number, text in enumerate(texts, start=chunk.first_line):
            assert number not in lines
            lines[number] = text
    for long in oversized:
        assert lines.pop(long.line, b"") == b""
    return lines, oversized


def expected_lines(data: bytes, limit: int) -> tuple[dict[int, bytes], list[OversizedLine]]:
    """State in plain words what whole_lines promises, for a stream that fits in memory."""
    texts = data.split(b"\n")
    if not texts[-1]:
        texts.pop()
    numbered = dict(enumerate(texts, start=1))
    oversized = [
        OversizedLine(number, len(text), text[:limit])
        for number, text in numbered.items()
        if len(text) > limit
    ]
    return {n: text for n, text in numbered.items() if len(text) <= limit}, oversized
