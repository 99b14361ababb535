"""Compressed raw files: what is read is read whole, and what is not is refused by name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow as pa
import pytest

from recsys_assets.errors import RawEventsError
from recsys_assets.events.chunks import Chunk
from recsys_assets.events.sources.compression import CODECS, without_ending
from recsys_assets_tests.events.test_files import drained, file_of, gzip_of, zstd

TEXT: Final = b"one\n\ntwo\r\n"
WRAPS: Final[dict[str, Callable[[bytes], bytes]]] = {
    ".gz": gzip_of,
    ".zst": zstd,
    ".zstd": zstd,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
LIKE_XZ_AND_BZ2: Final = [(ending, WRAPS[ending]) for ending in (".xz", ".bz2")]


def test_every_compression_that_is_read_is_tried_here() -> None:
    assert set(WRAPS) == set(CODECS)


@pytest.mark.parametrize("ending", WRAPS)
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_the_ending_says_how_a_file_is_compressed_whatever_its_case(
    tmp_path: Path, ending: str, case: Callable[[str], str]
) -> None:
    name = f"a.jsonl{case(ending)}"

    assert drained(file_of(tmp_path, name, WRAPS[ending](TEXT)), name) == [Chunk(1, TEXT)]
    assert without_ending(name) == "a.jsonl"


@pytest.mark.parametrize("ending", WRAPS)
def test_several_streams_are_one_file(tmp_path: Path, ending: str) -> None:
    """As parallel compressors and `cat` make them; the first stream may be of nothing."""
    wrap = WRAPS[ending]
    stored = wrap(b"") + wrap(b"one\n\ntw") + wrap(b"o\r\n")

    chunks = drained(file_of(tmp_path, f"a{ending}", stored), f"a{ending}")

    assert b"".join(chunk.data for chunk in chunks) == TEXT


def test_an_xz_file_may_be_padded_between_and_behind_its_streams(tmp_path: Path) -> None:
    stream, padding = lzma.compress(b"one\n"), b"\0" * 2**19

    stored = stream + padding + stream + padding
    chunks = drained(file_of(tmp_path, "a.xz", stored), "a.xz")

    assert b"".join(chunk.data for chunk in chunks) == b"one\none\n"


def test_an_xz_file_is_read_in_pieces(tmp_path: Path) -> None:
    text = b"".join(b"%d\n" % number for number in range(2_000_000))

    chunks = drained(file_of(tmp_path, "a.xz", lzma.compress(text, preset=0)), "a.xz")

    assert len(chunks) > 1
    assert b"".join(chunk.data for chunk in chunks) == text


@pytest.mark.parametrize(("ending", "wrap"), LIKE_XZ_AND_BZ2)
def test_a_damaged_stream_is_an_error_that_names_the_file(
    tmp_path: Path, ending: str, wrap: Callable[[bytes], bytes]
) -> None:
    """Of gzip and Zstandard, test_files.py has the same."""
    whole = wrap(b'{"v":1,"item_id":"a"}\n' * 1000)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    damaged = [
        b"", whole[:-1], whole[: len(whole) // 2], whole[:5], whole + whole[:-1], bytes(flipped),
        whole + b"garbage", b'{"v":1}\n',
    ]  # fmt: skip
    for stored in damaged:
        source = file_of(tmp_path, f"a{ending}", stored)
        with pytest.raises(RawEventsError, match="cannot be read to its end") as raised:
            drained(source, f"a{ending}")

        assert source.label(f"a{ending}") in str(raised.value)


# What is not read


@pytest.mark.parametrize(
    "ending",
    [".lz4", ".br", ".snappy", ".Z", ".7z", ".zip", ".ZIP", ".tar", ".tgz", ".rar", ".lzma"],
)
def test_an_ending_that_is_not_read_is_an_error_that_says_what_is(
    tmp_path: Path, ending: str
) -> None:
    source = file_of(tmp_path, f"a.jsonl{ending}", b'{"v":1}\n')

    with pytest.raises(RawEventsError) as raised:
        drained(source, f"a.jsonl{ending}")

    assert str(raised.value) == (
        f"{tmp_path}/a.jsonl{ending}: {ending.lower()} is no compression that is read. Nothing of "
        "the day was kept; land it plain, or compressed once as .gz, .zst, .zstd, .bz2, .xz, and "
        "materialize the day."
    )


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.jsonl", "{}\n")
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.jsonl"), io.BytesIO())
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "stored", "what"),
    [
        ("a.jsonl", gzip_of(TEXT), "compressed by gzip"),
        ("a.jsonl", zstd(TEXT), "compressed by Zstandard"),
        ("a.jsonl", lzma.compress(TEXT), "compressed by xz"),
        ("a.jsonl", bz2.compress(TEXT), "compressed by bzip2"),
        ("a.jsonl", bz2.compress(b""), "compressed by bzip2"),
        ("a.jsonl", pa.compress(TEXT, codec="lz4", asbytes=True), "compressed by LZ4"),
        ("a.jsonl", b"\xff\x06\0\0sNaPpY\1", "compressed by Snappy"),
        ("a.jsonl", b"\x1f\x9d\x90", "compressed by compress"),
        ("a.jsonl", zipped(), "a zip archive"),
        ("a.jsonl", b"7z\xbc\xaf\x27\x1c\0\4", "a 7-Zip archive"),
        ("a.jsonl", tarred(), "a tar archive"),
        ("a.jsonl", b"PAR1\x15", "Parquet"),
        ("a.jsonl", b"Obj\x01\x04", "Avro"),
        ("a.jsonl", '{"v":1}\n'.encode("utf-16"), "UTF-16"),
        ("a.jsonl.gz", gzip_of(gzip_of(TEXT)), "compressed by gzip"),
        ("a.tar.gz", gzip_of(tarred()), "a tar archive"),
        ("a.jsonl.zst", zstd(lzma.compress(TEXT)), "compressed by xz"),
    ],
)
def test_a_file_that_holds_no_text_is_an_error_whatever_its_name(
    tmp_path: Path, name: str, stored: bytes, what: str
) -> None:
    """One such line in ten thousand good ones would pass every limit on shares of lines."""
    source = file_of(tmp_path, name, stored)

    with pytest.raises(RawEventsError) as raised:
        drained(source, name)

    assert str(raised.value).startswith(
        f"{tmp_path}/{name}: what it holds is {what}, and no lines of text. Nothing of the day"
    )


# What takes more than it should


@pytest.mark.parametrize("ending", WRAPS)
def test_a_file_that_expands_beyond_measure_is_an_error(tmp_path: Path, ending: str) -> None:
    name = f"a{ending}"
    stored = WRAPS[ending](b"x\n" * 2**23)
    assert len(stored) < 2**24 / 200

    source = file_of(tmp_path, name, stored)
    with pytest.raises(RawEventsError) as raised:
        drained(source, name)

    assert str(raised.value) == (
        f"{tmp_path}/{name}: its {len(stored):,} bytes expand to more than 200 times as many, as "
        "events hardly do. Nothing of the day was kept; if they are right, land the file "
        "decompressed and materialize the day."
    )


@pytest.mark.parametrize("ending", WRAPS)
def test_a_small_file_may_expand_as_it_likes(tmp_path: Path, ending: str) -> None:
    """Eight MiB are what is held of any file."""
    text = b"x\n" * 2**22

    chunks = drained(file_of(tmp_path, f"a{ending}", WRAPS[ending](text)), f"a{ending}")

    assert b"".join(chunk.data for chunk in chunks) == text


def zstd_of_window(log: int) -> bytes:
    """Write a frame that asks for a window of 2^log bytes, and holds a thousand times `x`."""
    block = 1 | 1 << 1 | 1000 << 3  # the last one, of one byte that is repeated
    return b"\x28\xb5\x2f\xfd\0" + bytes([(log - 10) << 3]) + block.to_bytes(3, "little") + b"x"


def test_a_window_of_zstd_is_bounded(tmp_path: Path) -> None:
    for log in (20, 27):
        source = file_of(tmp_path, "a.zst", zstd_of_window(log))
        assert drained(source, "a.zst") == [Chunk(1, b"x" * 1000)]
    for log in (28, 31):
        source = file_of(tmp_path, "a.zst", zstd_of_window(log))
        with pytest.raises(RawEventsError, match=r"128 MiB are enough .* \(zstd --long=27\)"):
            drained(source, "a.zst")


def test_the_dictionary_of_xz_is_bounded(tmp_path: Path) -> None:
    def stored(dictionary_bytes: int) -> bytes:
        filters = [{"id": lzma.FILTER_LZMA2, "dict_size": dictionary_bytes, "preset": 0}]
        return lzma.compress(TEXT, filters=filters)

    assert drained(file_of(tmp_path, "a.xz", stored(2**26)), "a.xz") == [Chunk(1, TEXT)]
    with pytest.raises(RawEventsError, match="128 MiB are enough to decompress it"):
        drained(file_of(tmp_path, "a.xz", stored(2**28)), "a.xz")


def test_gzip_of_real_size_is_no_bomb(tmp_path: Path) -> None:
    """Events of few sessions and items, as a small surface has them."""
    text = b"".join(
        b'{"v":1,"ts":"2026-01-02T12:00:%02dZ","tenant":"acme","surface":"home",'
        b'"session_id":"s%d","item_id":"i%d"}\n' % (n % 60, n % 977, n * n % 89)
        for n in range(100_000)
    )

    chunks = drained(file_of(tmp_path, "a.gz", gzip.compress(text)), "a.gz")

    assert sum(len(chunk.data) for chunk in chunks) == len(text)
