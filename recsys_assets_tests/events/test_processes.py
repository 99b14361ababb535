"""A day that several processes parse: the same as by threads, and what fails is told."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from recsys_assets.config import Surface
from recsys_assets.errors import ParsingError
from recsys_assets.events import chunks, processes
from recsys_assets.events.days import ParsedDay, parse_day
from recsys_assets_tests.events.conftest import Folder, line, mixed_lines
from recsys_assets_tests.test_golden import GOLDEN

# A process that does what a test wants with a piece that has a word in it.
_WITH: Final = """
import os, signal, sys
from recsys_assets.events import processes
from recsys_assets.events.sources import jsonl
parse = jsonl.JsonLines.parse
def parse_or(self, piece, day):
    if b"the word" in piece.data:
        {}
    return parse(self, piece, day)
jsonl.JsonLines.parse = parse_or
processes.serve()
"""


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Return the processes that were begun."""
    found: list[subprocess.Popen[bytes]] = []

    class Seen(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            found.append(self)

    monkeypatch.setattr(subprocess, "Popen", Seen)
    return found


def begin_with(monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """Have processes do something with a piece that has the word."""
    command = [sys.executable, "-P", "-c", _WITH.format(does)]
    monkeypatch.setattr(processes, "_BEGIN", command)


def counts(parsed: ParsedDay) -> dict[str, Any]:
    left_out = {"path", "rejected_path", "seconds"}
    return {name: value for name, value in asdict(parsed).items() if name not in left_out}


def check_same(one: ParsedDay, other: ParsedDay) -> None:
    assert one.path.read_bytes() == other.path.read_bytes()
    assert counts(one) == counts(other)
    assert (one.rejected_path is None) == (other.rejected_path is None)
    if one.rejected_path and other.rejected_path:
        assert one.rejected_path.read_bytes() == other.rejected_path.read_bytes()


# The same day


def many_files(folder: Folder) -> dict[str, Any]:
    """Files of lines of every fate, one compressed, and one of the day after."""
    for number in range(4):
        lines = [line(session_id=f"f{number}"), *mixed_lines(60 + number)]
        folder.write(lines, f"exposure.2026-01-02-{number}.jsonl")
    folder.write(gzip.compress(b"{\n" + line().encode()), "exposure.2026-01-02-9.jsonl.gz")
    folder.write([line(), line(ts="2026-01-03T00:00:00Z")], "exposure.2026-01-03.jsonl")
    return {"days_around": 1}


def one_file(folder: Folder) -> dict[str, Any]:
    """One file of many pieces, a line of which is too long."""
    lines = mixed_lines(1500)
    folder.write([*lines, "x" * (chunks.MAX_LINE_BYTES + 1), *lines[:50], '"\\ud800', "{}"])
    return {}


def parquet(folder: Folder) -> dict[str, Any]:
    """Rows, whose pieces are no lines."""
    rows = [json.loads(line(item_id=str(number), user_id="u")) for number in range(40)]
    pl.DataFrame([*rows, {**rows[0], "item_id": ""}]).write_parquet(
        folder.raw / "exposure.2026-01-02.parquet"
    )
    return {"type": "parquet", "deduplicate_by": "request_id", "sessions": {"gap_minutes": 30}}


@pytest.mark.parametrize("fill", [many_files, one_file, parquet], ids=lambda fill: fill.__name__)
def test_a_day_is_the_same_by_processes(
    folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
    begun: list[subprocess.Popen[bytes]],
    fill: Callable[[Folder], dict[str, Any]],
) -> None:
    source = fill(folder)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 20_000)
    by_threads = folder.parse(**source)

    by_processes = folder.parse(**source, processes=2)

    check_same(by_processes, by_threads)
    assert by_threads.events >= 40
    assert by_threads.refused
    assert 1 <= len(begun) <= 2
    assert all(process.returncode == 0 for process in begun)


@pytest.mark.parametrize("name", ["exotic", "synth20k"])
def test_golden_events_are_the_same_by_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    case = next(of for of in json.loads((GOLDEN / "cases.json").read_text()) if of["name"] == name)
    day = date.fromisoformat(min(case["expected"]))
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 200_000)

    def parse(**of_source: int) -> ParsedDay:
        (scratch := tmp_path / str(len(of_source))).mkdir()
        surface = Surface.model_validate(
            {
                "tenant": case["tenant"],
                "surface": case["surface"],
                "start_date": day,
                "source": {"path": str(GOLDEN / case["raw"]), **of_source},
                "artifacts": {"popularity": {}},
            }
        )
        return parse_day(surface, day, scratch=scratch)

    by_threads = parse()

    assert by_threads.events
    check_same(parse(processes=2), by_threads)


# What fails


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", r"ended by SIGKILL, as where memory runs out\."),
        ("sys.exit(3)", r"ended with code 3: the output of the step has what it said\."),
    ],
)
def test_a_process_that_ends_is_told_and_a_rerun_finishes(
    folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
    begun: list[subprocess.Popen[bytes]],
    does: str,
    told: str,
) -> None:
    folder.write([*mixed_lines(200), line(item_id="the word"), *mixed_lines(50)])
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 2000)
    with monkeypatch.context() as patch:
        begin_with(patch, does)

        with pytest.raises(ParsingError, match=rf"^acme/home: process \d+, .* {told}") as error:
            folder.parse(processes=2)

    assert "Nothing of the day was kept. Give the step more memory, or" in str(error.value)
    assert all(process.returncode is not None for process in begun)
    check_same(folder.parse(processes=1), folder.parse())


def test_an_error_in_a_process_has_its_own_text(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, begun: list[subprocess.Popen[bytes]]
) -> None:
    folder.write([line(), line(item_id="the word")])
    begin_with(monkeypatch, "raise type('Odd', (Exception,), {})('ä reason')")

    with pytest.raises(RuntimeError, match=r"(?s)in parse_or.*Odd: ä reason"):
        folder.parse(processes=1)
    assert [process.returncode for process in begun] == [0]


def test_an_error_of_ours_stays_what_it_is(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write([line(item_id="the word")])
    begin_with(
        monkeypatch,
        "from recsys_assets import errors; raise errors.ParsingError('so', advice='do')",
    )

    with pytest.raises(ParsingError, match=r"^so\. do$") as error:
        folder.parse(processes=1)
    assert error.value.problem == "so"


def test_a_process_that_cannot_begin_is_told(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write([line()])
    monkeypatch.setattr(processes, "_BEGIN", [str(folder.raw / "not there")])

    with pytest.raises(ParsingError, match=r"can begin \(.*not there'\)\. Nothing of the day"):
        folder.parse(processes=1)


# As the step does: a piece is parsed, then it is ended while it has a process.
_STEP: Final = """
import sys, time
from recsys_assets.config import Surface
from recsys_assets.events.chunks import Chunk
from recsys_assets.events.processes import Processes
surface = Surface.model_validate_json(sys.argv[1])
with Processes(surface) as by:
    print(by.parse(Chunk(1, sys.argv[2].encode()), None).events.height, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_process_is_left_by_a_step_that_is_ended(folder: Folder, number: signal.Signals) -> None:
    step = subprocess.Popen(
        [sys.executable, "-c", _STEP, folder.surface().model_dump_json(by_alias=True), line()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert step.stdout is not None
    assert step.stdout.readline() == "1\n"

    os.killpg(step.pid, number)  # as a terminal does: to all of its group

    # Its outputs end when nobody has them any more, the process that it began included.
    _, said = step.communicate(timeout=60)
    assert step.returncode == -number
    assert "in serve" not in said
