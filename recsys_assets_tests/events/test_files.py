"""Raw files of a day: which they are, and their bytes to the end."""

from __future__ import annotations

import contextlib
import glob
import gzip
import hashlib
import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recsys_assets.config import Surface
from recsys_assets.errors import RawEventsError, StorageError, StoreUnavailableError
from recsys_assets.events import chunks
from recsys_assets.events.chunks import Chunk
from recsys_assets.events.forms import JsonText
from recsys_assets.events.sources import InputSeen, Reading, Source, files, open_source
from recsys_assets.events.sources.compression import refuse_what_is_no_text
from recsys_assets.events.sources.hashing import LinesHash
from recsys_assets.events.sources.jsonl import JsonLines
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.store import Stored
from recsys_assets_tests.events.conftest import expected_lines, lines_of
from recsys_assets_tests.events.test_chunks import DATA, LIMIT
from recsys_assets_tests.needed import examples

DAY = date(2026, 1, 2)


def surface_of(
    base: Path, *, pattern: str | None = None, tenant: str = "acme", surface: str = "home"
) -> Surface:
    source = {"path": str(base)} | ({"pattern": pattern} if pattern else {})
    return Surface.model_validate(
        {
            "tenant": tenant,
            "surface": surface,
            "start_date": DAY,
            "source": source,
            "artifacts": {"popularity": {}},
        }
    )


def make(base: Path, *names: str) -> None:
    for name in names:
        file = base / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x\n")


def names_of(surface: Surface) -> list[str]:
    return open_source(surface).inputs(DAY)


def file_of(folder: Path, name: str, data: bytes) -> Source:
    """Write a file, and return the source it is in."""
    (folder / name).write_bytes(data)
    return open_source(surface_of(folder))


def drained(source: Source, name: str, begun: list[Reading] | None = None) -> list[Chunk]:
    """Read a file to its end, or as far as it goes; keep the reading."""
    with source.open(name, []) as reading:
        if begun is not None:
            begun.append(reading)
        return list(reading.pieces())


def assert_unseen(reading: Reading) -> None:
    """What was not read to its end has no size and no hash."""
    with pytest.raises(RuntimeError, match="was not read to its end"):
        reading.seen()


def gzip_of(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # the same bytes in every process that collects the tests


def zstd(data: bytes) -> bytes:
    compressed: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return compressed


_WRAPS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip_of, ".zst": zstd}


# Which files belong to a day


def test_files_are_ordered_by_the_utf_8_bytes_of_their_names(tmp_path: Path) -> None:
    """Bytes: Z (5a) a (61) ｡ (ef bd a1) and the emoji (f0 9f), which UTF-16 puts before ｡."""
    parts = ["-Z", "-a", "-10", "-9", "-\uff61", "-\U0001f600", ""]
    make(tmp_path, *(f"acme/home/exposure.2026-01-02{part}.jsonl" for part in parts))

    assert names_of(surface_of(tmp_path)) == [
        f"acme/home/exposure.2026-01-02{part}.jsonl"
        for part in ["-10", "-9", "-Z", "-a", "-\uff61", "-\U0001f600", ""]
    ]


def test_a_file_name_that_is_not_utf_8_has_its_place_in_the_order(tmp_path: Path) -> None:
    """Python holds the byte ff as U+DCFF, which as text comes before U+FF61, bytes ef bd a1."""
    make(tmp_path, "acme/home/exposure.2026-01-02-\uff61", "acme/home/exposure.2026-01-02-z")
    names = [b"exposure.2026-01-02-z", b"exposure.2026-01-02-\xef\xbd\xa1"]
    stray = b"exposure.2026-01-02-\xff"
    Path(os.fsdecode(os.fsencode(tmp_path / "acme" / "home") + b"/" + stray)).write_bytes(b"{}\n")

    source = open_source(surface_of(tmp_path, pattern="acme/home/exposure.{day}*"))
    found = source.inputs(DAY)

    assert [os.fsencode(Path(name).name) for name in found] == [*names, stray]
    assert [chunk.data for chunk in drained(source, found[2])] == [b"{}\n"]


def test_only_the_files_of_the_day_tenant_and_surface_are_listed(tmp_path: Path) -> None:
    make(
        tmp_path,
        "acme/home/exposure.2026-01-02.jsonl",
        "acme/home/exposure.2026-01-02-part-2.jsonl.gz",
        "acme/home/exposure.2026-01-02-part-1.jsonl.zst",
        "acme/home/exposure.2026-01-03.jsonl",
        "acme/home/click.2026-01-02.jsonl",
        "acme/home/exposure.2026-01-02.csv",
        "acme/home/deeper/exposure.2026-01-02.jsonl",
        "acme/cart/exposure.2026-01-02.jsonl",
        "other/home/exposure.2026-01-02.jsonl",
    )

    assert names_of(surface_of(tmp_path)) == [
        "acme/home/exposure.2026-01-02-part-1.jsonl.zst",
        "acme/home/exposure.2026-01-02-part-2.jsonl.gz",
        "acme/home/exposure.2026-01-02.jsonl",
    ]


@pytest.mark.parametrize(
    ("tenant", "neighbour"),
    [
        ("a*", "ab"),
        ("a?", "ab"),
        ("[ab]", "a"),
        ("[!x]", "a"),
        ("**", "a"),
        ("{day}", "2026-01-02"),
    ],
)
def test_glob_characters_in_a_name_are_only_characters(
    tmp_path: Path, tenant: str, neighbour: str
) -> None:
    make(
        tmp_path,
        *(
            f"{owner}/{place}/exposure.2026-01-02.jsonl"
            for owner in (tenant, neighbour)
            for place in (tenant, neighbour)
        ),
    )

    assert names_of(surface_of(tmp_path, tenant=tenant, surface=tenant)) == [
        f"{tenant}/{tenant}/exposure.2026-01-02.jsonl"
    ]


def test_glob_characters_in_the_directory_are_only_characters(tmp_path: Path) -> None:
    make(tmp_path / "raw[1]*", "exposure.2026-01-02.jsonl")
    make(tmp_path / "raw1x", "exposure.2026-01-02.jsonl")

    source = open_source(surface_of(tmp_path / "raw[1]*", pattern="exposure.{day}.jsonl"))
    (name,) = source.inputs(DAY)

    assert source.label(name) == str(tmp_path / "raw[1]*" / "exposure.2026-01-02.jsonl")


@pytest.mark.parametrize(
    "suffix",
    [
        ".tmp", ".temp", ".part", ".partial", ".inprogress", ".crdownload", "._COPYING_", "~",
        ".gz.tmp", ".gz.part", ".TMP",
        ".bak", ".orig", ".BAK", ".gz.bak", ".gz~",
        ".crc", ".md5", ".sha1", ".sha256", ".sha512", ".gz.sha256",
    ],
)  # fmt: skip
def test_what_is_not_finished_a_copy_or_a_checksum_by_its_name_is_left_out(
    tmp_path: Path, suffix: str
) -> None:
    make(tmp_path, f"acme/home/exposure.2026-01-02.jsonl{suffix}")

    assert names_of(surface_of(tmp_path)) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.jsonl", "a.jsonl.gz"),
        ("a.jsonl", "a.jsonl.XZ"),
        ("a.jsonl.gz", "a.jsonl.zst"),
        ("a.jsonl.zst", "a.jsonl.zstd"),
    ],
)
def test_one_part_under_two_names_is_an_error_that_says_which(
    tmp_path: Path, one: str, other: str
) -> None:
    """`gzip -k` leaves both, and every event would count twice."""
    make(tmp_path, f"2026-01-02/{one}", f"2026-01-02/{other}", "2026-01-02/b.jsonl")

    with pytest.raises(RawEventsError) as raised:
        names_of(surface_of(tmp_path, pattern="{day}/*"))

    folder = tmp_path / "2026-01-02"
    assert str(raised.value) == (
        f"{folder / one} and {folder / other} are one part under two names, and its events would "
        "count twice: nothing was read. Take one of them away; if each has events of its own, "
        "give one another name"
    )


def test_one_object_under_two_names_is_an_error_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "dt=2026-01-02/a", "dt=2026-01-02/a.gz")

    with pytest.raises(RawEventsError, match="are one part under two names"):
        objects_of(tmp_path, monkeypatch, pattern="dt={day}/*")


def test_names_that_only_look_alike_are_parts_of_their_own(tmp_path: Path) -> None:
    names = ["2026-01-02/a.gz", "2026-01-02/a.jsonl.gz", "2026-01-02/b.gz", "2026-01-02/b.x"]
    make(tmp_path, *names)

    assert names_of(surface_of(tmp_path, pattern="{day}/*")) == names


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    make(tmp_path, *(f"dt=2026-01-02/{name}" for name in [".a.jsonl", "_SUCCESS", "_b.jsonl", "c"]))
    make(tmp_path, ".2026-01-02.jsonl", "_2026-01-02.jsonl")

    assert names_of(surface_of(tmp_path, pattern="dt={day}/*")) == ["dt=2026-01-02/c"]
    assert names_of(surface_of(tmp_path, pattern=".{day}.jsonl")) == []
    assert names_of(surface_of(tmp_path, pattern="_{day}.jsonl")) == []


@pytest.mark.parametrize("through", ["a file", "a folder"])
def test_a_link_that_leads_out_of_the_source_is_an_error_unless_it_is_allowed(
    tmp_path: Path, through: str
) -> None:
    """Who may write raw files could otherwise have any file of the machine read and shown."""
    make(tmp_path, "outside/a.jsonl", "raw/2026-01-02.b/b.jsonl")
    link, target = tmp_path / "raw/2026-01-02", tmp_path / "outside"
    if through == "a file":
        link, target = tmp_path / "raw/2026-01-02.b/a.jsonl", target / "a.jsonl"
    link.symlink_to(target)
    surface = surface_of(tmp_path / "raw", pattern="{day}*/*")
    name = "2026-01-02/a.jsonl" if through == "a folder" else "2026-01-02.b/a.jsonl"

    with pytest.raises(RawEventsError) as raised:
        names_of(surface)

    assert str(raised.value) == (
        f"{tmp_path}/raw/{name} is a link to {tmp_path}/outside/a.jsonl, outside of source.path "
        f"{tmp_path}/raw: nothing was read. Land the file itself, or set "
        "source.follow_links_outside"
    )
    allowed = surface.source.model_copy(update={"follow_links_outside": True})
    assert name in names_of(surface.model_copy(update={"source": allowed}))


def test_a_source_that_is_itself_a_link_is_read(tmp_path: Path) -> None:
    make(tmp_path, "disk/2026-01-02", "disk/real")
    (tmp_path / "disk/2026-01-02.b").symlink_to("real")
    (tmp_path / "raw").symlink_to("disk")

    surface = surface_of(tmp_path / "raw", pattern="{day}*")

    assert names_of(surface) == ["2026-01-02", "2026-01-02.b"]


def test_directories_are_left_out_and_links_to_files_are_not(tmp_path: Path) -> None:
    make(tmp_path, "dt=2026-01-02/a.jsonl", "dt=2026-01-02/b.jsonl/inside", "elsewhere/file")
    (tmp_path / "dt=2026-01-02" / "c.jsonl").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "dt=2026-01-02" / "d.jsonl").symlink_to(tmp_path / "elsewhere" / "file")

    assert names_of(surface_of(tmp_path, pattern="dt={day}/*")) == [
        "dt=2026-01-02/a.jsonl",
        "dt=2026-01-02/d.jsonl",
    ]


@pytest.mark.parametrize("target", ["nowhere", "exposure.2026-01-02.jsonl"], ids=["gone", "loop"])
@pytest.mark.parametrize("pattern", ["exposure.{day}*.jsonl", "exposure.{day}.jsonl"])
def test_a_link_to_nothing_is_an_error_that_names_it(
    tmp_path: Path, pattern: str, target: str
) -> None:
    """The file was landed and cannot be read: the day must not be published without it."""
    make(tmp_path, "exposure.2026-01-02-part.jsonl")
    link = tmp_path / "exposure.2026-01-02.jsonl"
    link.symlink_to(tmp_path / target)

    with pytest.raises(RawEventsError, match="is not there: is it mounted") as raised:
        names_of(surface_of(tmp_path, pattern=pattern))

    assert str(raised.value).startswith(f"{link} is a link to {tmp_path / target}, which")


def test_a_pipe_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Somebody means its lines to be read; the day must not be published without them."""
    make(tmp_path, "2026-01-02.a")
    os.mkfifo(tmp_path / "2026-01-02.b")
    os.mkfifo(tmp_path / "2026-01-03.tmp")

    with pytest.raises(RawEventsError, match=r"2026-01-02\.b is no file but a pipe, a socket or a"):
        names_of(surface_of(tmp_path, pattern="{day}*"))


@pytest.mark.parametrize("outside", [False, True])
def test_a_link_to_a_device_is_an_error_and_no_folder(tmp_path: Path, *, outside: bool) -> None:
    (tmp_path / "2026-01-02").symlink_to("/dev/zero")
    surface = surface_of(tmp_path, pattern="{day}*")
    source = surface.source.model_copy(update={"follow_links_outside": outside})
    surface = surface.model_copy(update={"source": source})

    with pytest.raises(RawEventsError, match="a device" if outside else "outside of source.path"):
        names_of(surface)


@pytest.mark.parametrize(
    ("pattern", "closed"),
    [
        ("dt={day}/*", "dt=2026-01-02"),
        ("*/{day}*", "host-b"),
        ("*/x/{day}*", "host-b"),
        ("host-b/{day}", "host-b"),
        ("{day}*", "."),
    ],
)
def test_a_folder_that_may_not_be_listed_is_an_error_and_no_empty_one(
    tmp_path: Path, pattern: str, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "dt=2026-01-02/a", "host-a/2026-01-02", "host-b/2026-01-02", "host-b/x/y")
    folder = tmp_path / closed
    monkeypatch.setattr(os, "access", lambda path, _: path != folder)  # root may do anything

    with pytest.raises(RawEventsError, match=f"^{re.escape(str(folder))} may not be listed"):
        names_of(surface_of(tmp_path, pattern=pattern))


def test_a_folder_that_is_not_on_the_way_may_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "dt=2026-01-02/a", "dt=2026-01-03/a", "dt=2026-01-02/b/c")
    closed = {tmp_path / "dt=2026-01-03", tmp_path / "dt=2026-01-02/b"}
    monkeypatch.setattr(os, "access", lambda path, _: path not in closed)

    assert names_of(surface_of(tmp_path, pattern="dt={day}/*")) == ["dt=2026-01-02/a"]


def test_a_link_to_nothing_that_is_no_file_of_the_day_is_left_out(tmp_path: Path) -> None:
    for name in ["2026-01-03", "2026-01-02.tmp"]:
        (tmp_path / name).symlink_to(tmp_path / "nowhere")

    assert names_of(surface_of(tmp_path, pattern="{day}*")) == []


def test_parts_may_lie_in_folders_of_the_day_and_are_ordered_over_all_of_them(
    tmp_path: Path,
) -> None:
    make(
        tmp_path,
        *(f"dt=2026-01-02/hour={hour:02}/part-{part}" for hour in range(24) for part in range(10)),
        "dt=2026-01-03/hour=00/part-0",
    )

    assert names_of(surface_of(tmp_path, pattern="dt={day}/*/*")) == [
        f"dt=2026-01-02/hour={hour:02}/part-{part}" for hour in range(24) for part in range(10)
    ]


def test_a_directory_without_files_is_an_empty_day(tmp_path: Path) -> None:
    assert names_of(surface_of(tmp_path)) == []


def test_a_source_that_is_no_directory_is_an_error_and_no_empty_day(tmp_path: Path) -> None:
    make(tmp_path, "file")
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    for name in ["absent", "file", "link"]:
        with pytest.raises(RawEventsError) as raised:
            names_of(surface_of(tmp_path / name))

        assert str(raised.value) == (
            f"source.path {tmp_path / name} is not a directory: is it mounted? nothing was read"
        )


# The same of an object store, whose listing is matched here and not by the filesystem

_NAMES = st.sampled_from(
    [
        "a", "b", "ab", "A", ".a", "..a", "_a", "a.jsonl", ".a.jsonl", "[ab]", "a*", "*", "**", "?",
        "2026-01-02", "dt=2026-01-02", "dt=2026-01-03", "2026-01-02.jsonl", "a b", "ü", "[", "]",
    ]
)  # fmt: skip
_PATTERNS = st.one_of(
    st.sampled_from(
        [
            "*", "**", "?", "a", ".a", "a*", "*a", ".*", "[.]*", "[!.]*", "[ab]", "[!a]", "[a-b]*",
            "[", "[a", "a]", "[]]", "*.jsonl", ".*.jsonl", "dt=2026-01-02", "2026-01-02*", "**a",
        ]
    ),
    _NAMES.map(glob.escape),
)  # fmt: skip


@given(
    st.lists(st.lists(_NAMES, min_size=1, max_size=4).map("/".join), max_size=12),
    st.lists(_PATTERNS, min_size=1, max_size=4).map("/".join),
)
@example([".a/b", "_a/b", "a/.b", "a/b"], "*/*")
@example([".a/b", "a/b"], "[.]*/b")
@example(["a/b", "a/b/c", "b", "a/a/b"], "**/b")
@example(["[ab]/2026-01-02", "a/2026-01-02"], f"{glob.escape('[ab]')}/2026-01-02")
@example(["dt=2026-01-02/a", "dt=2026-01-02/.a", "dt=2026-01-02/a/b"], "dt=2026-01-02/*")
@example(["a", "ab", "a.jsonl"], "a")
@settings(max_examples=examples(300))
def test_a_pattern_selects_of_a_listing_what_the_filesystem_gives_for_it(
    names: list[str], pattern: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for name in names:
            # A file where another name needs a directory, or the reverse, cannot be on a disk.
            with contextlib.suppress(OSError):
                make(base, name)
        matches = glob.glob(pattern, root_dir=base)  # noqa: PTH207 (what it gives is the point)
        on_disk = [name for name in matches if (base / name).is_file()]

        with pytest.MonkeyPatch.context() as patch:
            listed = source_in_bucket(base, patch, pattern=pattern)._matching_objects(DAY)
            assert sorted(stored.key for stored in listed) == sorted(on_disk)


def test_what_landed_is_what_each_day_lists(tmp_path: Path) -> None:
    """A name that holds two dates belongs to the day, or days, whose pattern takes it."""
    surface = surface_of(tmp_path, pattern="{tenant}/{surface}/*{day}*/*.jsonl")
    folders = [
        "2026-01-01",
        "x2026-01-012026-01-02",
        "2026-13-01",
        "2026-01-03",
        "._2026-01-04",
        "a",
    ]
    for folder in folders:
        make(tmp_path, *(f"acme/home/{folder}/{name}" for name in ("a.jsonl", "b.tmp", ".c.jsonl")))
    make(tmp_path, "acme/other/2026-01-01/a.jsonl")
    (tmp_path / "acme/home/2026-01-03/d.jsonl").mkdir()
    (tmp_path / "acme/home/2026-01-03/e.jsonl").symlink_to("nowhere")
    (tmp_path / "acme/home/2026-01-03/f.jsonl").symlink_to("f.jsonl")

    source = open_source(surface)
    landed = source.landed()

    names = {day: [file.key for file in files] for day, files in landed.items()}
    days = [date(2026, 1, number) for number in range(1, 6)]
    expected = {day: source.inputs(day) for day in days if day.day != 3}
    expected[date(2026, 1, 3)] = ["acme/home/2026-01-03/a.jsonl"]
    assert names == {day: files for day, files in expected.items() if files}
    assert sorted(names) == days[:3]
    assert len(names[date(2026, 1, 1)]) == 2


@pytest.mark.parametrize("in_bucket", [False, True])
@pytest.mark.parametrize(
    ("pattern", "taken", "left"),
    [
        ("{day:%Y/%m/%d}/*", ["2026/01/02/a", "2026/01/02/b"], ["2026/1/2/a", "2026/01/a"]),
        (
            "year={day:%Y}/month={day:%m}/day={day:%d}/*",
            ["year=2026/month=01/day=02/part-2026-01-03"],
            ["year=2026/month=01/a", "month=01/day=02/a"],
        ),
        ("x.{day:%Y%m%d}*", ["x.20260102-20260103", "x.20260102.jsonl"], ["x.2026-01-02"]),
        ("{day:%Y}/{day:%j}.*", ["2026/002.a"], ["2026/02.a", "2026/999.a"]),
    ],
)
def test_a_day_has_its_files_and_landed_them_however_its_date_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pattern: str,
    taken: list[str],
    left: list[str],
    *,
    in_bucket: bool,
) -> None:
    others = ["2026/02/01/a", "year=2026/month=02/day=01/a", "x.20260201", "2026/032.a"]
    make(tmp_path, *taken, *others, *left)
    source = (
        source_in_bucket(tmp_path, monkeypatch, pattern=pattern)
        if in_bucket
        else open_source(surface_of(tmp_path, pattern=pattern))
    )

    landed = {day: [file.key for file in files] for day, files in source.landed().items()}

    assert source.inputs(DAY) == landed[DAY] == taken
    assert landed == {day: source.inputs(day) for day in (DAY, date(2026, 2, 1))}


def test_what_landed_in_an_object_store_is_what_each_day_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [
        "exposure.2026-01-02.jsonl",
        "exposure.2026-01-02.p1.jsonl",
        "x",
        ".exposure.2026-01-02.jsonl",
    ]
    make(tmp_path, *(f"acme/home/{name}" for name in names))
    listed = objects_of(tmp_path, monkeypatch)

    landed = source_in_bucket(tmp_path, monkeypatch).landed()

    assert {day: [file.key for file in files] for day, files in landed.items()} == {DAY: listed}
    assert len(listed) == 2
    assert all(file.size_bytes == 2 and file.tag for file in landed[DAY])


def source_in_bucket(
    base: Path, patch: pytest.MonkeyPatch, *, pattern: str | None = None, tenant: str = "acme"
) -> JsonLines:
    """Return a source in a bucket that holds the files of a directory."""
    stores = {"s3://bucket/raw": LocalStore(base)}
    patch.setattr(files, "open_store", stores.__getitem__)
    surface = surface_of(Path("unused"), tenant=tenant)
    changed = {"path": "s3://bucket/raw"} | ({"pattern": pattern} if pattern else {})
    source = surface.source.model_copy(update=changed)
    return JsonLines(surface.model_copy(update={"source": source}))


def objects_of(
    base: Path, monkeypatch: pytest.MonkeyPatch, *, pattern: str | None = None, tenant: str = "acme"
) -> list[str]:
    """Return the names of the day's raw objects in a bucket that holds the files of a directory."""
    source = source_in_bucket(base, monkeypatch, pattern=pattern, tenant=tenant)
    names = source.inputs(DAY)
    assert all(source.label(name) == LocalStore(base).location(name) for name in names)
    return names


@pytest.mark.parametrize("tenant", ["acme", "[ab]", "a*", "**", "...", ".acme", "{day}"])
def test_objects_are_found_whatever_the_tenant_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tenant: str
) -> None:
    make(
        tmp_path,
        *(
            f"{owner}/home/exposure.2026-01-02.jsonl"
            for owner in {tenant, "a", "ab", "2026-01-02", ".other"}
        ),
    )

    assert objects_of(tmp_path, monkeypatch, tenant=tenant) == [
        f"{tenant}/home/exposure.2026-01-02.jsonl"
    ]


def test_unfinished_and_hidden_objects_are_left_out_and_the_others_are_in_byte_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = ["10", "9", "Z", "a.jsonl.gz", "\uff61", "\U0001f600"]
    left_out = [".a", "_SUCCESS", "a.tmp", "a.part", "a._COPYING_", "a~", "deeper/a"]
    make(tmp_path, *(f"dt=2026-01-02/{name}" for name in finished + left_out))
    make(tmp_path, "dt=2026-01-03/a", "dt=2026-01-02.jsonl", "other/dt=2026-01-02/a")

    found = objects_of(tmp_path, monkeypatch, pattern="dt={day}/*")

    assert found == [f"dt=2026-01-02/{name}" for name in finished]


def test_only_the_folder_that_the_pattern_spells_out_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket may hold years of other days; listing them all would cost a request a thousand."""
    listed: list[str] = []

    def list_nothing(_: LocalStore, prefix: str) -> Iterator[Stored]:
        listed.append(prefix)
        return iter(())

    monkeypatch.setattr(LocalStore, "list", list_nothing)

    for pattern in ["dt={day}/hour=*/*", "{tenant}/{surface}/{day}*", "{day}", "*/{day}/a"]:
        objects_of(tmp_path, monkeypatch, pattern=pattern)

    assert listed == ["dt=2026-01-02", "acme/home", "", ""]


def test_a_bucket_without_objects_of_the_day_is_an_empty_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are no directories in it, so that nothing is missing cannot be told from a mistake."""
    assert objects_of(tmp_path / "absent", monkeypatch) == []


# Their bytes


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a.jsonl", b"one\n\ntwo\r\n"),
        ("a.jsonl.gz", gzip_of(b"one\n\ntwo\r\n")),
        ("a.jsonl.gz", gzip_of(b"one\n\ntw") + gzip_of(b"o\r\n")),
        ("a.jsonl.gz", gzip_of(b"") + gzip_of(b"one\n\ntwo\r\n") + gzip_of(b"")),
        ("a.jsonl.zst", zstd(b"one\n\ntwo\r\n")),
        ("a.jsonl.zst", zstd(b"one\n\n") + zstd(b"two\r\n")),
        ("a.jsonl", b"\xef\xbb\xbfone\n\ntwo\r\n"),
        ("a.jsonl.gz", gzip_of(b"\xef\xbb\xbfone\n\ntwo\r\n")),
        ("a.jsonl.zst", zstd(b"\xef\xbb\xbfone\n\ntwo\r\n")),
    ],
)
def test_the_suffix_says_how_a_file_is_read(tmp_path: Path, name: str, stored: bytes) -> None:
    source = file_of(tmp_path, name, stored)

    assert drained(source, name) == [Chunk(1, b"one\n\ntwo\r\n")]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a.jsonl", b"one\n" * 5000),
        ("a.jsonl", b""),
        ("a.jsonl", b"\xef\xbb\xbfone\n"),
        ("a.jsonl.gz", gzip_of(b"one\n" * 5000) + gzip_of(b"two\n")),
        ("a.jsonl.gz", gzip_of(b"")),
        ("a.jsonl.zst", zstd(b"one\n" * 5000)),
    ],
)
def test_size_and_hash_are_those_of_the_bytes_on_disk(
    tmp_path: Path, name: str, stored: bytes
) -> None:
    source, begun = file_of(tmp_path, name, stored), list[Reading]()

    drained(source, name, begun)

    assert begun[0].seen() == InputSeen(name, len(stored), hashlib.sha256(stored).hexdigest())


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a.jsonl", b""),
        ("a.jsonl.gz", gzip_of(b"")),
        ("a.jsonl.zst", zstd(b"")),
        ("a.jsonl", b"\xef\xbb\xbf"),
        ("a.jsonl.gz", gzip_of(b"\xef\xbb\xbf")),
    ],
)
def test_an_empty_file_has_no_chunks(tmp_path: Path, name: str, stored: bytes) -> None:
    assert drained(file_of(tmp_path, name, stored), name) == []


@pytest.mark.parametrize(("suffix", "wrap"), [("", bytes), (".gz", gzip.compress), (".zst", zstd)])
def test_a_last_line_without_a_newline_is_a_line(
    tmp_path: Path, suffix: str, wrap: Callable[[bytes], bytes]
) -> None:
    source = file_of(tmp_path, f"a.jsonl{suffix}", wrap(b"one\ntwo"))

    assert lines_of(drained(source, f"a.jsonl{suffix}")) == ({1: b"one", 2: b"two"}, [])


def is_plain(data: bytes) -> bool:
    """Tell what is lines as it is; other forms are tried in test_forms.py."""
    with contextlib.suppress(RawEventsError):
        refuse_what_is_no_text(data, "")
        return not JsonText(io.BytesIO(data)).form
    return False


@given(DATA.filter(is_plain), st.sampled_from(sorted(_WRAPS)))
@example(b"x" * LIMIT, "")
@example(b"x" * (LIMIT + 1), "")
@example(b"x" * (LIMIT + 1) + b"\n", "")
@example(b"\n" + b"x" * 64 + b"\n" + b"x" * 64, "")
@settings(max_examples=examples(100), deadline=None)
def test_lines_and_their_numbers_do_not_depend_on_the_chunks(data: bytes, suffix: str) -> None:
    stored = _WRAPS[suffix](data)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "MAX_LINE_BYTES", LIMIT)
        name = f"a.jsonl{suffix}"
        source = file_of(Path(folder), name, stored)
        for size in (1, 2, 7, 10, 64, 10_000):
            patch.setattr(chunks, "CHUNK_BYTES", size)
            begun: list[Reading] = []
            found = drained(source, name, begun)

            assert lines_of(found) == expected_lines(data, LIMIT), size
            assert all(len(chunk.data) <= size + max(size, LIMIT + 1) for chunk in found), size
            assert begun[0].seen() == InputSeen(
                name, len(stored), hashlib.sha256(stored).hexdigest()
            )


@given(DATA)
@example(b"\n\r\n\na\r\n\n\nb\n\n")
@settings(max_examples=examples(100), deadline=None)
def test_the_hash_of_lines_does_not_depend_on_the_chunks(data: bytes) -> None:
    """A copy that is compressed comes in other chunks."""

    def hashed(size: int, more: bytes = b"") -> str:
        lines = LinesHash()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(chunks, "CHUNK_BYTES", size)
            for chunk in chunks.whole_lines(io.BytesIO(data + more)):
                lines.update(chunk)
        return lines.hexdigest()

    assert len({hashed(size) for size in (1, 3, 7, 10_000)}) == 1
    assert hashed(5, b"\n\n\n") == hashed(9, b"\n")
    assert hashed(5, b"\nx") != hashed(9, b"\n")


def test_chunks_are_read_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that stops early has read little, and then the file has no hash yet."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 8)
    source = file_of(tmp_path, "a.jsonl", b"1234567\n" * 100)

    with source.open("a.jsonl", []) as reading:
        pieces = reading.pieces()
        assert isinstance(pieces, Iterator)
        assert next(pieces) == Chunk(1, b"1234567\n")
        assert next(pieces) == Chunk(2, b"1234567\n")
        assert_unseen(reading)


@pytest.mark.parametrize("suffix", _WRAPS)
@pytest.mark.parametrize("content", [b"", b"one\n", b"one\ntwo"])
def test_what_was_not_read_to_its_end_refuses_to_say_what_was_seen(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    """Half a file has a hash too, and a day under it would never be read again."""
    name, stored = f"a.jsonl{suffix}", _WRAPS[suffix](content)
    source = file_of(tmp_path, name, stored)

    with source.open(name, []) as reading:
        assert_unseen(reading)
        pieces = reading.pieces()
        assert_unseen(reading)
        for _ in pieces:
            assert_unseen(reading)
        seen = reading.seen()

    assert seen == InputSeen(name, len(stored), hashlib.sha256(stored).hexdigest())


# Damage

_CONTENT = b'{"v":1,"item_id":"a"}\n' * 1000
_GZ, _ZST = gzip_of(_CONTENT), zstd(_CONTENT)


def _flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0xFF
    return bytes(changed)


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("cut in the trailer.gz", _GZ[:-1]),
        ("cut before the trailer.gz", _GZ[:-8]),
        ("cut in the middle.gz", _GZ[: len(_GZ) // 2]),
        ("cut in the header.gz", _GZ[:5]),
        ("second member cut.gz", _GZ + _GZ[:-1]),
        ("wrong checksum.gz", _flipped(_GZ, -8)),
        ("wrong length.gz", _flipped(_GZ, -1)),
        ("wrong byte.gz", _flipped(_GZ, len(_GZ) // 2)),
        ("trailing garbage.gz", _GZ + b"garbage"),
        ("not compressed.gz", _CONTENT),
        ("no bytes.gz", b""),
        ("no bytes.zst", b""),
        ("cut.zst", _ZST[:-1]),
        ("cut in the header.zst", _ZST[:3]),
        ("second frame cut.zst", _ZST + _ZST[:-1]),
        ("wrong byte.zst", _flipped(_ZST, 0)),
        ("trailing garbage.zst", _ZST + b"garbage"),
        ("not compressed.zst", _CONTENT),
    ],
)
def test_a_damaged_stream_is_an_error_that_names_the_file(
    tmp_path: Path, name: str, stored: bytes
) -> None:
    source, begun = file_of(tmp_path, name, stored), list[Reading]()

    with pytest.raises(RawEventsError) as raised:
        drained(source, name, begun)

    assert source.label(name) in str(raised.value)
    assert_unseen(*begun)


@pytest.mark.parametrize("suffix", _WRAPS)
def test_a_file_that_is_gone_or_cannot_be_opened_is_an_error_that_names_it(
    tmp_path: Path, suffix: str
) -> None:
    (tmp_path / f"folder{suffix}").mkdir()
    for name in (f"gone{suffix}", f"folder{suffix}"):
        with pytest.raises(RawEventsError) as raised:
            drained(open_source(surface_of(tmp_path)), name)

        assert str(tmp_path / name) in str(raised.value)
        assert isinstance(raised.value.__cause__, OSError)


class Silent(LocalStore):
    """A store that fails when it is asked for an object, or while one is read."""

    def __init__(self, root: Path, error: Exception, *, after: int = 0) -> None:
        super().__init__(root)
        self._error = error
        self._after = after

    def open(self, key: str) -> tuple[BinaryIO, int]:
        if not self._after:
            raise self._error
        file, size_bytes = super().open(key)
        with file:
            return _Breaking(file.read(self._after), self._error), size_bytes


class _Breaking(io.BytesIO):
    def __init__(self, data: bytes, error: Exception) -> None:
        super().__init__(data)
        self._error = error

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            raise self._error
        return data


@pytest.mark.parametrize("suffix", _WRAPS)
@pytest.mark.parametrize("after", [0, 10], ids=["at once", "in the middle"])
def test_a_store_that_does_not_answer_is_no_damage_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, after: int
) -> None:
    """Landing the file again would not help."""
    name = f"a.jsonl{suffix}"
    silent = Silent(tmp_path, StoreUnavailableError("no answer"), after=after)
    monkeypatch.setattr(files, "open_store", lambda _: silent)
    source, begun = file_of(tmp_path, name, _WRAPS[suffix](b"one\n" * 1000)), list[Reading]()

    with pytest.raises(StoreUnavailableError, match="no answer"):
        drained(source, name, begun)

    assert len(begun) == (1 if after else 0)
    for reading in begun:
        assert_unseen(reading)


@pytest.mark.parametrize("suffix", _WRAPS)
def test_an_object_that_is_replaced_while_it_is_read_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    name = f"a.jsonl{suffix}"
    changing = Silent(tmp_path, StorageError("replaced while it was read"), after=10)
    monkeypatch.setattr(files, "open_store", lambda _: changing)
    source, begun = file_of(tmp_path, name, _WRAPS[suffix](b"one\n" * 1000)), list[Reading]()

    with pytest.raises(RawEventsError, match="replaced while it was read") as raised:
        drained(source, name, begun)

    assert source.label(name) in str(raised.value)
    assert_unseen(*begun)
