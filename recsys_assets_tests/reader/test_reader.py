from __future__ import annotations

import json
import os
import tarfile
import threading
import time
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import recsys_assets_reader as reading
from recsys_assets_reader import reader as module
from recsys_assets_reader.stores import Found, Stores
from recsys_assets_tests.reader.published import EXAMPLES, NAMES, Published
from recsys_assets_tests.shop import unsynced
from recsys_assets_tests.test_stored import STORED


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Published]:
    with unsynced():
        yield Published(str(tmp_path / "root"))


def opened(published: Published, **options: object) -> reading.Reader:
    """Open what is published, and look at it when told."""
    return reading.open(published.root, "shop/home", **({"every_s": None} | options))  # type: ignore[arg-type]


def numbered(number: int) -> dict[str, list[tuple[str | int, ...]]]:
    """Return documents that all say the same number."""
    return {
        "popularity": [("tea", number)],
        "cooc": [("tea", "cup", number)],
        "implicit": [("ann", "cup", number)],
    }


class Watched(Stores):
    """Stores that note what is read, and call back first."""

    def __init__(self, before: Callable[[str], None] = lambda _: None) -> None:
        super().__init__()
        self.before = before
        self.uris: list[str] = []

    def read(self, uri: str, *, unless: str | None = None, most: int | None = None) -> Found | None:
        self.before(uri)
        found = super().read(uri, unless=unless, most=most)
        if found:
            self.uris.append(uri)
        return found


def watched(published: Published, stores: Stores) -> reading.Reader:
    return reading.Reader(
        str(published.file), stores, kinds=reading.KINDS, max_bytes=module.MAX_BYTES
    )


def test_look_ups_give_what_is_published(published: Published) -> None:
    published.day(1, EXAMPLES)

    with opened(published) as reader:
        assert reader.popular() == [("tea", 3), ("cup", 2), ("jar", 1)]
        assert reader.popular(1) == [("tea", 3)]
        assert reader.neighbours("tea") == [("cup", 2)]
        assert reader.items_of("bob") == [("tea", 2), ("cup", 1)]
        assert reader.items_of("bob", 1)[0].item_id == "tea"
        assert reader.next_items("bob") == [("cup", 1), ("tea", 1)]
        assert reader.next_items("eve") == []  # one event, so nothing came next
        assert reader.tags("cup") == ["hot", "blue"]
        assert [reader.neighbours("absent"), reader.items_of("absent"), reader.tags("absent")] == [
            []
        ] * 3
    status = reader.status()
    assert (status.tenant, status.surface, status.generation) == ("shop", "home", 1)
    assert set(status.versions) == set(NAMES)
    assert status.windows["cooc"] == ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    assert (status.missing, status.error) == ((), None)


def test_the_uri_may_be_that_of_the_manifest(published: Published) -> None:
    published.day(1, EXAMPLES)

    for uri in (str(published.file), f"file://{published.file}"):
        assert reading.open(uri, every_s=None).popular(1) == [("tea", 3)]
    root = f"file://{published.root}"
    assert reading.open(root, "shop/home", every_s=None).popular(1) == [("tea", 3)]


def test_a_relative_path_is_the_same_wherever_the_process_goes(
    published: Published, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    published.day(1, numbered(1))
    monkeypatch.chdir(tmp_path)
    reader = reading.open("root", "shop/home", every_s=None)
    monkeypatch.chdir("/")

    published.day(2, numbered(2))

    assert reader.refresh()


def test_a_root_of_an_earlier_version_is_read_where_it_was_moved_to(tmp_path: Path) -> None:
    with tarfile.open(STORED / "0.1.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    (manifest,) = (tmp_path / "var/registry/current").rglob("manifest.json")
    place = "/".join(manifest.parts[-3:-1])
    named = json.loads(manifest.read_bytes())["current"]

    reader = reading.open(
        str(tmp_path / "var"), place, every_s=None, mounts={"file:///tmp/stored/": f"{tmp_path}/"}
    )

    assert set(reader.status().versions) == set(named) - {"publication"}
    assert reader.popular()


def test_a_flip_and_a_rollback_are_followed_and_only_what_changed_is_read(
    published: Published,
) -> None:
    first = published.day(1, numbered(1))
    stores = Watched()
    reader = watched(published, stores)
    stores.uris.clear()
    assert not reader.refresh()
    assert stores.uris == []  # not even the manifest: its tag is the same
    before = reader.snapshot
    second = published.day(2, numbered(2) | {"cooc": [("tea", "cup", 1)]})
    mixed = second | {"implicit": first["implicit"]}
    published.flip(3, mixed)
    stores.uris.clear()

    assert reader.refresh()

    assert stores.uris == [str(published.file), mixed["popularity"], mixed["cooc"]]
    assert reader.snapshot.documents["implicit"] is before.documents["implicit"]
    assert (reader.snapshot.generation, before.generation) == (3, 1)
    assert (reader.popular(), before.popular()) == ([("tea", 2)], [("tea", 1)])
    published.flip(4, first)
    assert reader.refresh()
    assert reader.popular() == [("tea", 1)]


def test_no_look_up_sees_a_part_of_two_generations(published: Published) -> None:
    """Threads look up while flips are followed as fast as they come."""
    published.day(1, numbered(1))
    torn: list[object] = []
    seen: set[float] = set()
    done = threading.Event()

    def look_up(reader: reading.Reader) -> None:
        while not done.wait(0.0002):  # so that flips get their turn
            shown = reader.snapshot
            numbers = {
                shown.popular(1)[0].score,
                shown.neighbours("tea", 1)[0].score,
                shown.items_of("ann", 1)[0].score,
                shown.generation,
            }
            seen.update(shown.popular(1)[0][1:])
            if len(numbers) != 1:
                torn.append(numbers)

    with opened(published, every_s=0.001) as reader:
        threads = [threading.Thread(target=look_up, args=(reader,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(2, 10):
            published.day(number, numbered(number))
        until = time.monotonic() + 120
        while reader.popular(1)[0].score != 9 and time.monotonic() < until:
            time.sleep(0.001)
        done.set()
        for thread in threads:
            thread.join()

    assert reader.popular(1) == [("tea", 9)]
    assert torn == []
    assert len(seen) > 1


def test_documents_that_go_away_while_they_are_read_are_those_of_the_next_manifest(
    published: Published,
) -> None:
    published.day(1, numbered(1))
    second = published.day(2, numbered(2))
    calls = 0

    def erase(uri: str) -> None:
        nonlocal calls
        if uri == second["cooc"] and not calls:
            calls += 1
            published.day(3, numbered(3))
            for gone in second.values():
                Path(gone.removeprefix("file://")).unlink()

    reader = watched(published, Watched(erase))

    assert calls == 1
    assert reader.popular() == [("tea", 3)]
    assert reader.neighbours("tea") == [("cup", 3)]


def test_a_document_that_is_missing_is_told_and_what_was_live_before_stays(
    published: Published,
) -> None:
    published.day(1, numbered(1))
    reader = opened(published)
    second = published.day(2, numbered(2))
    lost = Path(second["cooc"].removeprefix("file://"))
    data = lost.read_bytes()
    lost.unlink()

    for _ in range(2):  # the second time, too
        with pytest.raises(reading.DocumentError, match=f"{second['cooc']} is not there, though"):
            reader.refresh()
        assert reader.popular() == [("tea", 1)]
        assert "is not there" in str(reader.status().error)
    with pytest.raises(reading.DocumentError, match="though the manifest names it"):
        opened(published)
    lost.write_bytes(data)
    assert reader.refresh()
    assert reader.status().error is None


def test_a_document_that_was_altered_is_not_shown(published: Published) -> None:
    published.day(1, numbered(1))
    reader = opened(published)
    altered = Path(published.day(2, numbered(2))["cooc"].removeprefix("file://"))
    altered.write_bytes(altered.read_bytes().replace(b"cup", b"cap"))

    with pytest.raises(reading.DocumentError, match=f"{altered} cannot be used: it hashes to "):
        reader.refresh()

    assert reader.neighbours("tea") == [("cup", 1)]


def test_a_surface_that_is_flipped_again_and_again_while_it_is_read_is_told(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ATTEMPTS", 3)
    current = published.day(1, numbered(1))
    number = 1

    def flip(uri: str) -> None:
        nonlocal number
        if "/popularity/" in uri:
            number += 1
            published.flip(number, current)
            Path(uri.removeprefix("file://")).unlink(missing_ok=True)

    with pytest.raises(reading.StoreError, match="was flipped 3 times while it was read"):
        watched(published, Watched(flip))


def test_kinds_that_are_not_known_are_passed_over_and_missing_ones_are_empty(
    published: Published,
) -> None:
    current = published.day(1, {"popularity": EXAMPLES["popularity"]})
    published.write(current | {"closeness": "file:///nowhere/0.json"})

    reader = opened(published)

    assert reader.popular(1) == [("tea", 3)]
    assert [reader.neighbours("tea"), reader.next_items("ann"), reader.tags("tea")] == [[]] * 3
    assert reader.status().missing == ("cooc", "implicit", "session_seq", "content_sim")
    assert reader.status().generation is None  # the manifest names no record


def test_a_kind_that_left_the_manifest_is_gone_from_memory(published: Published) -> None:
    published.day(1, numbered(1))
    reader = opened(published)
    rest = published.day(2, {"popularity": [("tea", 2)], "cooc": [("tea", "cup", 2)]})
    published.flip(3, rest)

    assert reader.refresh()

    assert reader.items_of("ann") == []
    assert "implicit" in reader.status().missing
    assert "implicit" not in reader.snapshot.documents


def test_only_the_kinds_that_are_asked_for_are_read(published: Published) -> None:
    published.day(1, EXAMPLES)

    reader = opened(published, kinds=["cooc"])

    assert reader.neighbours("tea") == [("cup", 2)]
    with pytest.raises(reading.KindNotReadError, match="popularity is not read: open with kinds="):
        reader.popular()
    assert reader.status().missing == ()
    with pytest.raises(ValueError, match=r"unknown kinds \['coocs'\]; there are: popularity, "):
        opened(published, kinds=["coocs"])


def test_options_out_of_range_are_refused(published: Published) -> None:
    published.day(1, EXAMPLES)

    with pytest.raises(ValueError, match="need at least 1: k=0"):
        opened(published).popular(0)
    with pytest.raises(ValueError, match="need more than 0: every_s=0"):
        opened(published, every_s=0)


def test_a_generation_that_is_too_large_is_not_loaded(published: Published) -> None:
    published.day(1, numbered(1))
    size = opened(published).status().size_bytes
    reader = opened(published, max_bytes=size)
    published.day(2, numbered(1000))

    with pytest.raises(reading.DocumentError, match=r"are left of `max_bytes`: raise it, or read"):
        reader.refresh()

    assert reader.popular() == [("tea", 1)]
    assert reader.status().size_bytes == size


def test_nothing_that_is_published_is_told(published: Published) -> None:
    with pytest.raises(reading.NotPublishedError, match=r"there is no manifest at .*/shop/home/"):
        opened(published)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"v": 2}, "has format 2, this reader reads 1"),
        ({"current": []}, "is no manifest: "),
        ({"current": {"cooc": 1}}, "a member has another type"),
        ({"updated_at": None}, "a member has another type"),
        ({"current": {"cooc": "file:///tmp/cooc.json"}}, "the URI of cooc names no version"),
    ],
)
def test_a_manifest_that_is_none_is_refused_and_what_was_live_stays(
    published: Published, members: dict[str, object], said: str
) -> None:
    current = published.day(1, numbered(1))
    reader = opened(published)
    published.write(current, **members)

    with pytest.raises(reading.ManifestError, match=said):
        reader.refresh()

    assert reader.popular() == [("tea", 1)]


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("ftp://host/{}", "is of no store that is read"),
        ("file:///tmp/\0{}", "cannot read "),
        ("file:///proc/{}", "is not there, though"),
        ("{}", "is not there, though"),
    ],
)
def test_uris_that_lead_nowhere_are_told(published: Published, uri: str, said: str) -> None:
    published.write({"cooc": uri.format(f"/{'0' * 64}.json")})

    with pytest.raises(reading.ReaderError, match=said):
        opened(published)


def test_what_is_no_file_is_refused_and_not_waited_for(
    published: Published, tmp_path: Path
) -> None:
    pipe = tmp_path / f"{'0' * 64}.json"
    os.mkfifo(pipe)
    published.write({"cooc": f"file://{pipe}"})

    with pytest.raises(reading.StoreError, match="is no file"):
        opened(published)


def test_while_the_store_is_silent_the_old_is_shown_with_its_age(
    published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    silent = threading.Event()

    def answer(_: str) -> None:
        if silent.is_set():
            raise reading.StoreError("no answer")

    published.day(1, numbered(1))
    reader = watched(published, Watched(answer))
    published.day(2, numbered(2))
    silent.set()
    with reader:
        reader.follow(0.001)
        wait_until(lambda: reader.status().error == "no answer")
        time.sleep(0.02)

        assert reader.popular() == [("tea", 1)]
        age = reader.status().age_s
        assert age >= 0.02
        silent.clear()
        wait_until(lambda: reader.status().error is None)
        wait_until(lambda: reader.status().age_s < age)
        assert reader.popular() == [("tea", 2)]
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert said == ["what was live before is shown still: no answer"]  # once


def test_following_ends_with_close(published: Published) -> None:
    published.day(1, numbered(1))
    before = threading.active_count()
    reader = opened(published, every_s=0.001)
    assert threading.active_count() == before + 1

    reader.close()

    wait_until(lambda: threading.active_count() == before)
    assert reader.popular() == [("tea", 1)]


def wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_a_look_up_takes_little_more_than_decoding_what_it_gives(published: Published) -> None:
    """The best of many attempts, since others compute at the same time, on machines of any speed.

    It is some three times as long. Of all 4,000 lists it would be thousands of times.
    """
    owners = [f"{number:05}" for number in range(4_000)]
    rows = [(owner, f"item-{rank}", 25 - rank) for owner in owners for rank in range(25)]
    published.day(1, {"cooc": rows, "popularity": [(item, 1) for item in owners]})
    reader = opened(published)
    look_ups: list[Callable[[], object]] = [
        lambda: reader.neighbours("03456", 20),
        lambda: reader.popular(20),
        lambda: reader.neighbours("absent", 20),
    ]

    entries = json.dumps([{"item_id": item, "count": count} for _, item, count in rows[:25]])

    for look_up in look_ups:
        took, decoding = zip(
            *((cpu_of(look_up), cpu_of(lambda: json.loads(entries))) for _ in range(20)),
            strict=True,
        )
        assert min(took) < 8 * min(decoding)


def cpu_of(work: Callable[[], object]) -> float:
    """Return the seconds of 100 times."""
    return timeit.timeit(work, timer=time.thread_time, number=100)
