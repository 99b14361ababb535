"""What the local store owes to the filesystem: durable order, faults, locks, scratch."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import itertools
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_assets.errors import ManifestConflictError, PublishOutcomeUnknownError, StorageError
from recsys_assets.storage.flips import publish
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.storage.conftest import (
    files_below,
    lineage,
    live_now,
    publish_arguments,
)

KEY = "registry/current/demo/home/manifest.json"
DIRECTORY = "registry/current/demo/home"
_CALLS = [(os, "open"), (os, "fsync"), (os, "link"), (os, "replace"), (os, "mkdir"), (io, "open")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture(autouse=True)
def _the_zone_of_the_machine() -> Iterator[None]:
    """Forget the zone that a test set, once its environment is restored."""
    yield
    time.tzset()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, root: Path) -> list[tuple[str, str]]:
    """Record the calls that durability rests on, by path below the root's parent."""
    made: list[tuple[str, str]] = []
    monkeypatch.setattr(os, "fsync", recording(made, os.fsync, root.parent))
    monkeypatch.setattr(os, "link", recording(made, os.link, root.parent))
    monkeypatch.setattr(os, "replace", recording(made, os.replace, root.parent))
    monkeypatch.setattr(os, "mkdir", recording(made, os.mkdir, root.parent))
    return made


def recording(
    made: list[tuple[str, str]], real: Callable[..., Any], base: Path
) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        result = real(*arguments, **options)
        paths = arguments[:2] if real.__name__ in ("link", "replace") else arguments[:1]
        if real.__name__ == "fsync":
            paths = (Path(f"/proc/self/fd/{arguments[0]}").readlink(),)
        for path in paths:
            name = str(Path(path).relative_to(base))
            made.append((real.__name__, "temporary" if is_temporary(name) else name))
        return result

    return call


def is_temporary(name: str) -> bool:
    return Path(name).parent.name == ".scratch" or Path(name).name == "content"


def warmed(root: Path, calls: list[tuple[str, str]]) -> LocalStore:
    """Return a store whose directories are made and known, and forget how."""
    store = LocalStore(root)
    store.put_new(f"{DIRECTORY}/first", b"")
    calls.clear()
    return store


def test_a_new_object_is_synced_before_its_name_and_its_directory_after(
    root: Path, calls: list[tuple[str, str]]
) -> None:
    store = warmed(root, calls)

    store.put_new(KEY, b"one")

    assert calls == [
        ("fsync", "temporary"),
        ("link", "temporary"),
        ("link", f"root/{KEY}"),
        ("fsync", f"root/{DIRECTORY}"),
    ]


def test_a_handed_over_file_is_synced_before_its_name_and_its_directory_after(
    root: Path, calls: list[tuple[str, str]]
) -> None:
    store = warmed(root, calls)
    with store.scratch() as scratch:
        calls.clear()
        (scratch / "content").write_bytes(b"one")
        store.put_new(KEY, scratch / "content")

    assert calls == [
        ("fsync", "temporary"),
        ("link", "temporary"),
        ("link", f"root/{KEY}"),
        ("fsync", f"root/{DIRECTORY}"),
    ]


def test_what_can_be_made_again_appears_whole_and_is_not_waited_for(
    root: Path, calls: list[tuple[str, str]]
) -> None:
    store = warmed(root, calls)

    store.write_derived(KEY, b"one")

    assert calls == [("replace", "temporary"), ("replace", f"root/{KEY}")]
    assert (root / KEY).read_bytes() == b"one"


@pytest.mark.parametrize("operation", ["replace", "compare_and_swap"])
def test_a_replaced_object_is_synced_before_its_name_and_its_directory_after(
    root: Path, calls: list[tuple[str, str]], operation: str
) -> None:
    store = warmed(root, calls)

    if operation == "replace":
        store.replace(KEY, b"one")
    else:
        store.compare_and_swap(KEY, b"one", expected=None)

    assert calls == [
        ("fsync", "temporary"),
        ("replace", "temporary"),
        ("replace", f"root/{KEY}"),
        ("fsync", f"root/{DIRECTORY}"),
    ]


def test_the_directory_is_synced_even_when_the_object_is_there_already(
    root: Path, calls: list[tuple[str, str]]
) -> None:
    """Its writer may be about to sync it, and may be killed before."""
    store = warmed(root, calls)
    LocalStore(root).put_new(KEY, b"one")
    calls.clear()

    store.put_new(KEY, b"two")

    assert calls == [("fsync", f"root/{DIRECTORY}")]


def test_the_directory_is_synced_when_another_writer_comes_between(
    root: Path, calls: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is free when this writer looks, and taken when it links."""
    store = warmed(root, calls)
    other = interrupted_by(
        monkeypatch, os, "fsync", lambda: LocalStore(root).put_new(KEY, b"theirs")
    )

    written = store.put_new(KEY, b"mine")

    assert other == [True]
    assert not written
    assert (root / KEY).read_bytes() == b"theirs"
    assert calls[-1] == ("fsync", f"root/{DIRECTORY}")
    assert list((root / ".scratch").iterdir()) == []


def test_a_deletion_is_synced(root: Path, calls: list[tuple[str, str]]) -> None:
    store = warmed(root, calls)
    store.put_new(KEY, b"one")
    calls.clear()

    store.delete(KEY)

    assert calls == [("fsync", f"root/{DIRECTORY}")]


@pytest.mark.parametrize("operation", ["put_new", "replace", "compare_and_swap"])
def test_each_new_directory_is_synced_into_its_parent_before_the_object_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """The root's own missing parents included: a lost parent loses all below it."""
    made: list[tuple[str, str]] = []
    for name in ("fsync", "link", "replace", "mkdir"):
        monkeypatch.setattr(os, name, recording(made, getattr(os, name), tmp_path))
    store = LocalStore(tmp_path / "new" / "parent" / "root")

    if operation == "compare_and_swap":
        store.compare_and_swap(KEY, b"one", expected=None)
    else:
        getattr(store, operation)(KEY, b"one")

    named = next(i for i, (call, _) in enumerate(made) if call in ("link", "replace"))
    kept = [name for call, name in made if call == "mkdir" and not name.endswith(".scratch")]
    assert kept[:3] == ["new", "new/parent", "new/parent/root"]
    assert kept[-1] == f"new/parent/root/{DIRECTORY}"
    for name in kept:
        parent = ("fsync", str(Path(name).parent))
        assert parent in made[made.index(("mkdir", name)) : named], f"{name} may be lost"


@pytest.mark.parametrize("gone", ["counts", "counts/demo/home/2026-01-01"])
def test_a_directory_that_was_deleted_meanwhile_is_made_again(root: Path, gone: str) -> None:
    """As whoever frees space may do with counts and profiles, beside a process that goes on."""
    store, key = LocalStore(root), "counts/demo/home/2026-01-01/f.parquet"
    store.replace(key, b"1")
    shutil.rmtree(root / gone)

    store.replace(key, b"2")

    found = store.read(key)
    assert found
    assert found.data == b"2"


def test_a_directory_that_another_process_made_is_synced_too(
    root: Path, calls: list[tuple[str, str]]
) -> None:
    """It may have been killed between making the directory and syncing it."""
    (root / DIRECTORY).mkdir(parents=True)
    calls.clear()

    LocalStore(root).put_new(KEY, b"one")

    for parent in (".", "root", "root/registry", "root/registry/current"):
        assert ("fsync", str(Path(parent))) in calls


def test_a_root_below_a_directory_that_cannot_be_read_is_used(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody made it for this user below a directory of their own, which may be 0711."""
    root.mkdir()
    unreadable(monkeypatch, root.parent)

    LocalStore(root).put_new(KEY, b"one")

    assert (root / KEY).read_bytes() == b"one"


def test_a_root_that_is_made_below_existing_directories_reads_only_its_parent(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable(monkeypatch, root.parent.parent)

    LocalStore(root).put_new(KEY, b"one")

    assert (root / KEY).read_bytes() == b"one"


def test_a_directory_below_the_root_that_cannot_be_synced_is_an_error(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / DIRECTORY).mkdir(parents=True)
    unreadable(monkeypatch, root)

    with pytest.raises(PermissionError):
        LocalStore(root).put_new(KEY, b"one")


def unreadable(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Refuse to open a directory, as for a user without the right; tests may run as root."""
    real = os.open

    def call(path: Any, *arguments: Any, **options: Any) -> int:
        if Path(path) == directory:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", call)


def test_a_root_spelled_with_dots_is_the_same_root(root: Path) -> None:
    plain, dotted = LocalStore(root), LocalStore(root / ".." / root.name)

    dotted.put_new(KEY, b"one")

    assert dotted.uri(KEY) == plain.uri(KEY) == f"file://{root}/{KEY}"
    assert plain.key(dotted.uri(KEY)) == KEY


def test_a_relative_root_is_below_the_working_directory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)

    assert LocalStore("root").uri(KEY) == f"file://{root}/{KEY}"


def test_the_tag_of_an_object_is_that_of_its_bytes_alone(root: Path) -> None:
    """So a manifest that was copied back by hand is the one that was read before."""
    store = LocalStore(root)
    tags = []
    for key, data in [("a", b"one"), ("b", b"one"), ("b", b"two"), ("b", b"one")]:
        store.replace(key, data)
        found = store.read(key)
        assert found is not None
        tags.append(found.tag)

    assert tags[0] == tags[1] == tags[3] != tags[2]


@pytest.mark.parametrize("there", [True, False])
def test_a_refused_swap_says_what_was_found(root: Path, *, there: bool) -> None:
    store = LocalStore(root)
    if there:
        store.put_new(KEY, b"one")
    found = store.read(KEY)

    with pytest.raises(ManifestConflictError) as conflict:
        store.compare_and_swap(KEY, b"two", expected="0" * 64)

    assert conflict.value.found == (found.tag if found else None)
    assert f"found {found.tag if found else 'nothing'}." in str(conflict.value)


@pytest.mark.parametrize("key", ["../outside", "a/../../outside", "a/../b", "/etc/passwd"])
@pytest.mark.parametrize(
    "method",
    [
        "uri", "read", "open", "location", "list", "put", "replace", "derived", "delete", "swap",
        "settle",
    ],
)  # fmt: skip
def test_a_key_that_leaves_the_root_is_refused(root: Path, key: str, method: str) -> None:
    (root / "a").mkdir(parents=True)
    (root.parent / "outside").write_bytes(b"theirs")
    store = LocalStore(root)
    calls: dict[str, Callable[[], object]] = {
        "uri": lambda: store.uri(key),
        "read": lambda: store.read(key),
        "open": lambda: store.open(key),
        "location": lambda: store.location(key),
        "list": lambda: list(store.list(key)),
        "put": lambda: store.put_new(key, b"one"),
        "replace": lambda: store.replace(key, b"one"),
        "derived": lambda: store.write_derived(key, b"one"),
        "delete": lambda: store.delete(key),
        "swap": lambda: store.compare_and_swap(key, b"one", expected=None),
        "settle": lambda: store.settle(key),
    }

    with pytest.raises(StorageError, match="leaves"):
        calls[method]()

    assert files_below(root) == {}
    assert (root.parent / "outside").read_bytes() == b"theirs"


def test_polars_scans_a_location_whose_name_looks_like_a_pattern(root: Path) -> None:
    store, key = LocalStore(root), "canonical/a[b]*/{c}/2026-01-05.parquet"
    with store.scratch() as scratch:
        pl.DataFrame({"item_id": ["a"]}).write_parquet(scratch / "content")
        store.put_new(key, scratch / "content")
    store.put_new("canonical/ab/{c}/2026-01-05.parquet", b"no parquet")

    location = store.location(key)

    assert location == f"{root}/{key}"
    assert pl.scan_parquet(location, glob=False).collect().to_dicts() == [{"item_id": "a"}]


def test_a_location_is_given_whether_or_not_the_object_is_there(root: Path) -> None:
    """And looking for it makes nothing: a reader may have no right to write."""
    assert LocalStore(root).location(KEY) == f"{root}/{KEY}"
    assert not root.exists()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
@pytest.mark.parametrize("kind", ["bytes", "file"])
def test_the_umask_decides_who_reads_an_object(
    root: Path, umask: int, mode: int, kind: str
) -> None:
    """The online service is another user, so a private temporary file must not become it."""
    store, before = LocalStore(root), os.umask(umask)
    try:
        with store.scratch() as scratch:
            (scratch / "content").write_bytes(b"one")
            store.put_new(KEY, b"one" if kind == "bytes" else scratch / "content")
        store.replace("replaced", b"one")
        store.compare_and_swap("swapped", b"one", expected=None)
    finally:
        os.umask(before)

    modes = {key: (root / key).stat().st_mode & 0o777 for key in (KEY, "replaced", "swapped")}
    assert set(modes.values()) == {mode}, modes


def listed(root: Path, prefix: str) -> set[str]:
    return {stored.key for stored in LocalStore(root).list(prefix)}


@pytest.mark.parametrize("target", ["elsewhere", "root/registry", "root"], ids=str)
def test_a_listing_does_not_follow_a_link_to_a_directory(root: Path, target: str) -> None:
    """What lies behind it is not the store's to delete, and a loop has no end."""
    LocalStore(root).put_new(KEY, b"one")
    (root.parent / "elsewhere").mkdir()
    (root.parent / "elsewhere" / "theirs").write_bytes(b"theirs")
    (root / DIRECTORY / "link").symlink_to(root.parent / target, target_is_directory=True)

    assert listed(root, "registry") == {KEY}


def test_a_listing_leaves_out_locks_and_what_lies_in_scratch(root: Path) -> None:
    store = LocalStore(root)
    store.compare_and_swap(KEY, b"one", expected=None)
    with store.scratch() as scratch:
        (scratch / "content").write_bytes(b"half")
        assert is_locked(root) is False, "there is no lock to leave out"

        for prefix in ("", "registry", "registry/current", DIRECTORY, DIRECTORY + "/"):
            assert listed(root, prefix) == {KEY}


@pytest.mark.parametrize("name", ["a.locked", "lock", "a.lock.json", ".json"])
def test_only_a_lock_is_taken_for_one(root: Path, name: str) -> None:
    LocalStore(root).put_new(f"objectstore/{name}", b"one")

    assert listed(root, "objectstore") == {f"objectstore/{name}"}


def test_an_object_that_vanishes_while_it_is_listed_is_left_out(root: Path) -> None:
    """Retention may run while somebody lists; the rest is listed all the same."""
    store = LocalStore(root)
    for number in range(3):
        store.put_new(f"objectstore/{number}", b"one")
    listing = store.list("objectstore")

    first = next(listing).key
    gone, kept = sorted({f"objectstore/{number}" for number in range(3)} - {first})
    (root / gone).unlink()

    assert [stored.key for stored in listing] == [kept]


def test_a_directory_that_vanishes_while_it_is_listed_is_left_out(root: Path) -> None:
    store = LocalStore(root)
    store.put_new("objectstore/first", b"one")
    store.put_new("objectstore/deeper/second", b"one")
    listing = store.list("objectstore")

    assert next(listing).key == "objectstore/first"
    shutil.rmtree(root / "objectstore" / "deeper")

    assert list(listing) == []


@pytest.mark.parametrize("unreadable", ["objectstore", "objectstore/b", ".scratch/b"])
def test_a_directory_that_cannot_be_listed_is_an_error(
    root: Path, monkeypatch: pytest.MonkeyPatch, unreadable: str
) -> None:
    """Retention would take what is in it for absent, and what it names for named by nothing."""
    store, scandir = LocalStore(root), os.scandir
    for key in ("objectstore/a/1", "objectstore/b/1", ".scratch/b/1"):
        store.put_new(key, b"one")

    def refuse(path: Any) -> Any:
        if os.fspath(path) == str(root / unreadable):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = (
        store.left_behind(before=datetime.now(UTC) + timedelta(days=1))
        if unreadable.startswith(".scratch")
        else store.list("objectstore")
    )

    with pytest.raises(PermissionError, match=unreadable):
        list(listing)


def test_a_listing_before_the_first_write_is_empty_and_makes_no_directory(root: Path) -> None:
    assert listed(root, "registry") == set()
    assert list(LocalStore(root).left_behind(before=datetime.now(UTC))) == []
    assert not root.exists()


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_what_killed_writers_left_is_named_by_its_age_and_can_be_deleted(
    root: Path, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """The clock on the wall does not decide: ages are in UTC wherever the machine is."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    store = LocalStore(root)
    store.put_new(KEY, b"one")
    with store.scratch() as scratch:
        parent = scratch.parent
    now = datetime(2026, 1, 6, 12, tzinfo=UTC)
    ages = {"file": 60, "young": 1, "directory/content": 60, "directory/deep/er": 61, "just": 59}
    for name, age_s in ages.items():
        (parent / name).parent.mkdir(parents=True, exist_ok=True)
        (parent / name).write_bytes(b"half")
        os.utime(parent / name, (now.timestamp() - age_s,) * 2)

    found = list(store.left_behind(before=now - timedelta(seconds=59)))

    assert {stored.key: (stored.size_bytes, stored.modified) for stored in found} == {
        f".scratch/{name}": (4, now - timedelta(seconds=ages[name]))
        for name in ("file", "directory/content", "directory/deep/er")
    }
    for stored in found:
        store.delete(stored.key)
    assert set(files_below(root)) == {KEY, ".scratch/young", ".scratch/just"}


def test_what_lies_outside_scratch_is_never_left_behind(root: Path) -> None:
    """However old it is: a blob is kept by what names it."""
    store = LocalStore(root)
    store.compare_and_swap(KEY, b"one", expected=None)
    for path in root.rglob("*"):
        os.utime(path, (0, 0))

    assert list(store.left_behind(before=datetime.now(UTC))) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("prepared", [True, False], ids=["in use", "new directories"])
def test_a_fault_at_any_call_of_a_flip_leaves_the_old_manifest_or_says_unknown(
    root: Path, monkeypatch: pytest.MonkeyPatch, code: int, *, prepared: bool
) -> None:
    """Every system call of a flip fails once: a full or read-only disk, a lost device."""
    for steps in itertools.count():
        below = root / str(steps)
        if prepared:
            LocalStore(below).compare_and_swap(KEY, b"old", expected=None)
        live = LocalStore(below).read(KEY)
        expected = live.tag if live else None

        flip = partial(LocalStore(below).compare_and_swap, KEY, b"new", expected=expected)
        with failing(monkeypatch, code, at=steps) as failed:
            error = error_of(flip)
        if not failed:
            break

        if isinstance(error, PublishOutcomeUnknownError):
            assert "power cut" in str(error)
            assert (below / KEY).read_bytes() == b"new"
        elif error is None:
            # Making what exists; syncing the parent of an existing root, if it is not permitted.
            assert failed == ["mkdir"] or (code == errno.EACCES and failed[0] in ("open", "fsync"))
            assert (below / KEY).read_bytes() == b"new"
        else:
            assert isinstance(error, OSError)
            assert error.errno == code
            assert LocalStore(below).read(KEY) == live
        assert set(files_below(below)) <= {KEY}, "a temporary file is left"
        settle(below, b"new")

    assert error is None
    assert steps > 5, "no call was made to fail"


@pytest.mark.parametrize("operation", ["put_new", "replace", "write_derived"])
def test_a_fault_at_any_call_of_a_write_leaves_all_of_it_or_nothing_and_can_be_repeated(
    root: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    for steps in itertools.count():
        below = root / str(steps)
        write = partial(getattr(LocalStore(below), operation), KEY, b"one")
        with failing(monkeypatch, errno.ENOSPC, at=steps) as failed:
            error = error_of(write)
        if not failed:
            break

        assert isinstance(error, OSError)
        assert error.errno == errno.ENOSPC
        left = {name: (below / name).read_bytes() for name in files_below(below)}
        assert left in ({}, {KEY: b"one"})
        getattr(LocalStore(below), operation)(KEY, b"one")
        assert (below / KEY).read_bytes() == b"one"

    assert error is None
    assert steps > 5, "no call was made to fail"


# The record's file and directory, the manifest's file, then its directory.
_SYNC_AFTER_THE_FLIP = 3


def test_a_sync_that_fails_once_after_the_flip_is_made_up_for_and_nothing_is_flipped_again(
    root: Path, monkeypatch: pytest.MonkeyPatch, calls: list[tuple[str, str]]
) -> None:
    store = LocalStore(root)
    publish(store, **publish_arguments(store, version=1))
    calls.clear()

    with failing(monkeypatch, errno.EIO, at=_SYNC_AFTER_THE_FLIP, calls=[(os, "fsync")]) as failed:
        outcome, live = publish(store, **publish_arguments(store, version=2))

    assert (failed, outcome) == (["fsync"], "published")
    assert [path for call, path in calls if call == "replace"] == ["temporary", f"root/{KEY}"]
    assert calls[-2:] == [("fsync", f"root/{KEY}"), ("fsync", f"root/{DIRECTORY}")]
    assert live == live_now(store)
    assert [generation for generation, _, _ in lineage(store)] == [2, 1]


def test_publishing_again_after_an_unknown_outcome_syncs_the_manifest_and_its_directory(
    root: Path, monkeypatch: pytest.MonkeyPatch, calls: list[tuple[str, str]]
) -> None:
    store = LocalStore(root)
    publish(store, **publish_arguments(store, version=1))
    arguments = publish_arguments(store, version=2)
    with (
        failing(
            monkeypatch,
            errno.EIO,
            at=_SYNC_AFTER_THE_FLIP,
            calls=[(os, "fsync")],
            from_then_on=True,
        ),
        pytest.raises(PublishOutcomeUnknownError, match="power cut"),
    ):
        publish(store, **arguments)
    calls.clear()

    outcome, _ = publish(LocalStore(root), **arguments)

    assert outcome == "unchanged"
    assert calls == [("fsync", f"root/{KEY}"), ("fsync", f"root/{DIRECTORY}")]


@pytest.mark.parametrize("number", [0, 1])
def test_an_object_that_cannot_be_settled_is_of_unknown_outcome(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store = LocalStore(root)
    store.compare_and_swap(KEY, b"old", expected=None)

    with (
        failing(monkeypatch, errno.EIO, at=number, calls=[(os, "fsync")]),
        pytest.raises(PublishOutcomeUnknownError, match="power cut"),
    ):
        store.settle(KEY)

    assert (root / KEY).read_bytes() == b"old"


@pytest.mark.parametrize(("number", "unknown"), [(0, False), (1, True)])
def test_only_a_sync_that_fails_after_the_flip_makes_the_outcome_unknown(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int, *, unknown: bool
) -> None:
    store = LocalStore(root)
    store.compare_and_swap(KEY, b"old", expected=None)
    live = store.read(KEY)
    assert live is not None

    with (
        failing(monkeypatch, errno.EIO, at=number, calls=[(os, "fsync")]),
        pytest.raises(PublishOutcomeUnknownError if unknown else OSError, match="Input/output"),
    ):
        store.compare_and_swap(KEY, b"new", expected=live.tag)

    assert (root / KEY).read_bytes() == (b"new" if unknown else b"old")


def test_a_disk_that_fills_up_within_a_file_leaves_the_old_manifest(root: Path) -> None:
    """A real short write: the kernel refuses to grow the file."""
    store = LocalStore(root)
    store.compare_and_swap(KEY, b"old", expected=None)
    live = store.read(KEY)
    assert live is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            store.compare_and_swap(KEY, b"x" * 2**20, expected=live.tag)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert store.read(KEY) == live
    assert set(files_below(root)) == {KEY}


@pytest.mark.parametrize("operation", ["put_new", "replace", "compare_and_swap"])
def test_a_file_where_a_directory_should_be_is_an_error_and_stays(
    root: Path, operation: str
) -> None:
    store = LocalStore(root)
    store.put_new("registry/current", b"a file")
    before = files_below(root)
    options = {"expected": None} if operation == "compare_and_swap" else {}

    with pytest.raises(OSError, match="registry/current"):
        getattr(store, operation)(KEY, b"one", **options)

    assert files_below(root) == before


@pytest.mark.parametrize("operation", ["read", "replace", "compare_and_swap"])
def test_a_directory_where_a_file_should_be_is_an_error_and_stays(
    root: Path, operation: str
) -> None:
    store = LocalStore(root)
    store.put_new(f"{KEY}/inside", b"a file")
    before = files_below(root)
    arguments = [KEY] if operation == "read" else [KEY, b"one"]
    options = {"expected": None} if operation == "compare_and_swap" else {}

    with pytest.raises(IsADirectoryError):
        getattr(store, operation)(*arguments, **options)

    assert files_below(root) == before


def test_what_was_abandoned_in_scratch_over_a_day_ago_is_swept_and_no_more(root: Path) -> None:
    store = LocalStore(root)
    with store.scratch() as scratch:
        parent = scratch.parent
    now = time.time()
    for name, age_s in [("old", 86_400 + 60), ("young", 86_400 - 60)]:
        (parent / name).mkdir()
        (parent / name / "content").write_bytes(b"half")
        (parent / f"{name} file").write_bytes(b"half")
        os.utime(parent / name, (now - age_s, now - age_s))
        os.utime(parent / f"{name} file", (now - age_s, now - age_s))

    with store.scratch() as scratch:
        left = {path.name for path in parent.iterdir()} - {scratch.name}

    assert left == {"young", "young file"}
    assert (parent / "young" / "content").read_bytes() == b"half"


def test_a_flip_replaces_the_manifest_under_the_lock(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(root)
    store.compare_and_swap(KEY, b"old", expected=None)
    live = store.read(KEY)
    assert live is not None
    held = interrupted_by(monkeypatch, os, "replace", lambda: is_locked(root))

    store.compare_and_swap(KEY, b"new", expected=live.tag)

    assert held == [True]
    assert not is_locked(root)


def test_a_flip_compares_under_the_lock(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer flips just before this one gets the lock."""
    store = LocalStore(root)
    store.compare_and_swap(KEY, b"old", expected=None)
    live = store.read(KEY)
    assert live is not None
    interrupted_by(
        monkeypatch,
        fcntl,
        "flock",
        lambda: LocalStore(root).compare_and_swap(KEY, b"theirs", expected=live.tag),
    )

    with pytest.raises(ManifestConflictError):
        store.compare_and_swap(KEY, b"mine", expected=live.tag)

    assert (root / KEY).read_bytes() == b"theirs"
    assert not is_locked(root), "a conflict must release the lock"


def test_the_lock_file_is_never_replaced(root: Path) -> None:
    """Whoever waits for the old file would otherwise not exclude who locks the new one."""
    store = LocalStore(root)
    store.compare_and_swap(KEY, b"old", expected=None)
    (lock,) = (root / DIRECTORY).glob("*.lock")
    before = lock.stat().st_ino

    live = store.read(KEY)
    assert live is not None
    store.compare_and_swap(KEY, b"new", expected=live.tag)

    assert lock.stat().st_ino == before


_HOLDER = """
import os, sys
from recsys_assets.storage.local import LocalStore

def hold(*_):
    print("held", flush=True)
    sys.stdin.read()

os.replace = hold
LocalStore(sys.argv[1]).compare_and_swap(sys.argv[2], b"never", expected=None)
"""


def test_the_lock_is_released_when_its_holder_is_killed(root: Path) -> None:
    """An existence lock would stay behind, and no one could publish again."""
    store = LocalStore(root)
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(root), KEY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == "held\n"
            assert is_locked(root)
        finally:
            holder.kill()

    assert not is_locked(root)
    assert store.read(KEY) is None
    store.compare_and_swap(KEY, b"next", expected=None)
    assert (root / KEY).read_bytes() == b"next"


def is_locked(root: Path) -> bool:
    (path,) = (root / DIRECTORY).glob("*.lock")
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def error_of(action: Callable[[], object]) -> Exception | None:
    try:
        action()
    except (OSError, PublishOutcomeUnknownError) as error:
        return error
    return None


def settle(root: Path, data: bytes) -> None:
    """Do a failed flip again, as a rerun does: on what is live now."""
    store = LocalStore(root)
    live = store.read(KEY)
    store.compare_and_swap(KEY, data, expected=live.tag if live else None)
    assert (root / KEY).read_bytes() == data


def interrupted_by(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, action: Callable[[], object]
) -> list[object]:
    """Do something just before the first call of a system function; return what it gave."""
    real = getattr(module, name)
    answers: list[object] = []
    begun = False

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal begun
        if not begun:
            begun = True
            answers.append(action())
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, call)
    return answers


@contextlib.contextmanager
def failing(
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    *,
    at: int,
    calls: list[tuple[Any, str]] | None = None,
    from_then_on: bool = False,
) -> Iterator[list[str]]:
    """Let the n-th system call fail; gives the name of the one that did.

    `from_then_on` lets all that follow fail too.
    """
    count = 0
    failed: list[str] = []

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == at + 1 or (from_then_on and count > at):
                failed.append(name)
                raise OSError(code, os.strerror(code))
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for module, name in calls or _CALLS:
            patch.setattr(module, name, wrap(name, getattr(module, name)))
        yield failed
