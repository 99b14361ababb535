"""The live pointer: it moves once per publish, forward only, and no crash or race breaks it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.documents import Window
from recsys_assets.errors import (
    ManifestConflictError,
    PublishOutcomeUnknownError,
    StaleReleaseError,
    StorageError,
)
from recsys_assets.storage import layout, publications
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import Publication, history, publish, read_live
from recsys_assets.storage.store import Store, Versioned
from recsys_assets_tests.storage.conftest import (
    DAY,
    MANIFEST,
    SURFACE,
    TENANT,
    Backend,
    Clock,
    CrashError,
    Crashing,
    Passing,
    accept_rendered,
    at_once,
    lineage,
    live_now,
    publish_arguments,
)

TOMORROW = DAY + timedelta(days=1)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishers that lost a race try again at once."""
    monkeypatch.setattr(publications, "_LONGEST_PAUSE_S", 0)


def test_nothing_is_live_before_the_first_publish(store: Store) -> None:
    assert read_live(store, TENANT, SURFACE) is None


def test_the_first_publish_is_generation_one_without_parent(store: Store) -> None:
    arguments = publish_arguments(store)

    outcome, live = publish(store, **arguments, clock=Clock(), publish_id="p1")

    assert outcome == "published"
    expected = Publication(
        generation=1,
        publish_id="p1",
        parent=None,
        action="publish",
        tenant=TENANT,
        surface=SURFACE,
        window=Window(DAY, TOMORROW),
        current=arguments["current"],
        run_id="run-1",
        published_at="2026-01-06T02:00:00.000000Z",
    )
    assert live.publication == expected
    assert live_now(store).publication == expected
    assert live_now(store).current == live.current == arguments["current"]
    assert live_now(store).window == live.window == Window(DAY, TOMORROW)


def test_the_manifest_has_exactly_the_members_its_readers_know(store: Store) -> None:
    arguments = publish_arguments(store)

    publish(store, **arguments, clock=Clock(), publish_id="p1")

    record = layout.publication(TENANT, SURFACE, 1, "p1")
    manifest = json.loads(manifest_bytes(store))
    assert list(manifest) == ["v", "tenant", "surface", "current", "updated_at"]
    assert manifest == {
        "v": 1,
        "tenant": "demo",
        "surface": "home",
        "current": {**arguments["current"], "publication": store.uri(record)},
        "updated_at": "2026-01-06T02:00:00.000000Z",
    }
    assert store.read(record) is not None


def test_each_publish_is_one_generation_and_names_its_parent(store: Store) -> None:
    for number in (1, 2, 3):
        day = DAY + timedelta(days=number)
        outcome, live = publish(
            store, **publish_arguments(store, day=day, version=number), publish_id=f"p{number}"
        )
        assert outcome == "published"
        assert live.publication is not None
        assert live.publication.generation == number

    assert lineage(store) == [(3, "p3", "p2"), (2, "p2", "p1"), (1, "p1", None)]


def test_history_gives_the_newest_first_as_they_were_published(store: Store) -> None:
    published = [
        publish(store, **publish_arguments(store, version=number))[1].publication
        for number in (1, 2, 3)
    ]

    assert list(history(store, live_now(store))) == published[::-1]


def test_publish_ids_differ_when_none_is_given(store: Store) -> None:
    for number in (1, 2, 1):
        publish(store, **publish_arguments(store, version=number))

    assert len({publish_id for _, publish_id, _ in lineage(store)}) == 3


def test_the_record_is_written_before_the_manifest_that_names_it(store: Store) -> None:
    watched = Passing(store)

    publish(watched, **publish_arguments(store), publish_id="p1")

    assert watched.writes == [
        ("put_new", layout.publication(TENANT, SURFACE, 1, "p1")),
        ("compare_and_swap", MANIFEST),
    ]


def test_publishing_what_is_live_changes_nothing(backend: Backend, store: Store) -> None:
    publish(store, **publish_arguments(store), publish_id="p1")
    before, watched = backend.contents(), Passing(store)

    outcome, live = publish(watched, **publish_arguments(store), clock=Clock(), publish_id="p2")

    assert outcome == "unchanged"
    assert live == live_now(store)
    assert watched.writes == []
    assert watched.settled == [MANIFEST]
    assert backend.contents() == before


def test_an_older_window_is_never_published_over_a_later_one(
    backend: Backend, store: Store
) -> None:
    publish(store, **publish_arguments(store, day=TOMORROW, version=1))
    before, watched = backend.contents(), Passing(store)

    outcome, live = publish(watched, **publish_arguments(store, day=DAY, version=2))

    assert outcome == "superseded"
    assert live == live_now(store)
    assert watched.writes == []
    assert backend.contents() == before


def test_other_versions_of_the_same_window_are_published(store: Store) -> None:
    publish(store, **publish_arguments(store, version=1))

    outcome, _ = publish(store, **publish_arguments(store, version=2))

    assert outcome == "published"
    assert live_now(store).current == publish_arguments(store, version=2)["current"]


def test_the_same_blobs_for_another_window_with_this_end_are_published(store: Store) -> None:
    """Two days without events may have equal blobs of content_sim, and are two publications."""
    arguments = publish_arguments(store)
    publish(store, **arguments)
    longer = Window(DAY - timedelta(days=6), arguments["window"].end)

    outcome, live = publish(store, **(arguments | {"window": longer}))

    assert outcome == "published"
    assert live.window == longer


def test_a_clock_that_is_set_back_does_not_hold_a_publish_up(store: Store) -> None:
    publish(store, **publish_arguments(store, version=1), clock=Clock())
    long_ago = Clock(datetime(1999, 1, 1, tzinfo=UTC))

    outcome, live = publish(store, **publish_arguments(store, version=2), clock=long_ago)

    assert outcome == "published"
    assert live.updated_at == live_now(store).updated_at == "1999-01-01T00:00:00.000000Z"
    assert [generation for generation, _, _ in lineage(store)] == [2, 1]


def test_surfaces_do_not_see_each_other(store: Store) -> None:
    home = publish_arguments(store)
    cart = home | {"surface": "cart", "window": Window(date(2020, 1, 1), date(2020, 1, 2))}

    publish(store, **home, publish_id="p1")
    outcome, live = publish(store, **cart, publish_id="p1")

    assert outcome == "published"
    assert live.publication is not None
    assert live.publication.generation == 1
    assert live_now(store).window == home["window"]


@pytest.mark.parametrize("first", [True, False], ids=["first publish", "later publish"])
@pytest.mark.parametrize(
    ("write", "after"),
    [(0, False), (0, True), (1, False)],
    ids=["before the record", "after the record", "before the flip"],
)
def test_a_crash_before_the_flip_leaves_the_old_manifest_and_a_rerun_finishes(
    store: Store, write: int, *, after: bool, first: bool
) -> None:
    if not first:
        publish(store, **publish_arguments(store, version=1), publish_id="p1")
    old = read_live(store, TENANT, SURFACE)
    arguments = publish_arguments(store, version=2)

    with pytest.raises(CrashError):
        publish(Crashing(store, write=write, after=after), **arguments)
    assert read_live(store, TENANT, SURFACE) == old

    outcome, _ = publish(store, **arguments, publish_id="p2")
    assert outcome == "published"
    assert lineage(store) == ([(1, "p2", None)] if first else [(2, "p2", "p1"), (1, "p1", None)])


def test_a_crash_after_the_flip_is_found_done_by_the_rerun(backend: Backend, store: Store) -> None:
    publish(store, **publish_arguments(store, version=1))
    arguments = publish_arguments(store, version=2)
    with pytest.raises(CrashError):
        publish(Crashing(store, write=1, after=True), **arguments)
    assert live_now(store).current == arguments["current"]
    before = backend.contents()

    outcome, _ = publish(store, **arguments)

    assert outcome == "unchanged"
    assert backend.contents() == before


class Failing(Passing):
    """Its flip raises, after it was done or instead of it."""

    def __init__(self, inner: Store, error: Exception, *, done: bool) -> None:
        super().__init__(inner)
        self._error = error
        self._done = done

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        self.writes.append(("compare_and_swap", key))
        if self._done:
            self.inner.compare_and_swap(key, data, expected=expected)
        raise self._error


@pytest.mark.parametrize(("done", "outcome"), [(True, "unchanged"), (False, "published")])
def test_an_unknown_outcome_is_settled_by_publishing_again(
    store: Store, *, done: bool, outcome: str
) -> None:
    """It is not retried within the publish: storage that fails needs a person or a new run."""
    publish(store, **publish_arguments(store, version=1))
    arguments = publish_arguments(store, version=2)
    failing = Failing(store, PublishOutcomeUnknownError("power"), done=done)

    with pytest.raises(PublishOutcomeUnknownError):
        publish(failing, **arguments)
    assert len(failing.writes) == 2

    assert publish(store, **arguments)[0] == outcome
    assert live_now(store).current == arguments["current"]
    assert [generation for generation, _, _ in lineage(store)] == [2, 1]


class Losing(Passing):
    """Lets others act after the read, before the record or the flip, the first few times."""

    def __init__(
        self, inner: Store, *others: Callable[[], object], before: str = "compare_and_swap"
    ) -> None:
        super().__init__(inner)
        self._others = list(others)
        self._before = before

    def put_new(self, key: str, content: bytes | Path) -> bool:
        self._lose("put_new")
        return super().put_new(key, content)

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        self._lose("compare_and_swap")
        super().compare_and_swap(key, data, expected=expected)

    def _lose(self, call: str) -> None:
        if self._others and call == self._before:
            self._others.pop(0)()


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("first", [True, False], ids=["first publish", "later publish"])
@pytest.mark.parametrize("before", ["put_new", "compare_and_swap"])
@pytest.mark.parametrize("lost", [1, 2, 7])
def test_a_publisher_that_loses_races_publishes_after_the_winners(
    store: Store, lost: int, before: str, *, first: bool
) -> None:
    if not first:
        publish(store, **publish_arguments(store, version=99), publish_id="start")
    others = [another_publishes(store, number) for number in range(lost)]
    losing = Losing(store, *others, before=before)

    outcome, live = publish(losing, **publish_arguments(store, version=50), publish_id="mine")

    winners = [f"other-{number}" for number in range(lost)]
    order = [*([] if first else ["start"]), *winners, "mine"]
    assert outcome == "published"
    assert live.publication == live_now(store).publication
    assert lineage(store) == [
        (number, order[number - 1], order[number - 2] if number > 1 else None)
        for number in range(len(order), 0, -1)
    ]


@pytest.mark.usefixtures("no_pause")
def test_a_publisher_that_loses_to_a_later_window_leaves_it_live(store: Store) -> None:
    later = publish_arguments(store, day=TOMORROW, version=2)
    losing = Losing(store, lambda: publish(store, **later, publish_id="other"))

    outcome, live = publish(losing, **publish_arguments(store, day=DAY, version=1))

    assert outcome == "superseded"
    assert live.window == later["window"]
    assert lineage(store) == [(1, "other", None)]


@pytest.mark.usefixtures("no_pause")
def test_a_publisher_that_loses_to_its_own_content_has_nothing_to_do(store: Store) -> None:
    """Two runs of one day at once: the artifacts are equal, so one flip is enough."""
    arguments = publish_arguments(store)
    losing = Losing(store, lambda: publish(store, **arguments, publish_id="other"))

    outcome, _ = publish(losing, **arguments, publish_id="mine")

    assert outcome == "unchanged"
    assert lineage(store) == [(1, "other", None)]


@pytest.mark.usefixtures("no_pause")
def test_each_attempt_is_confirmed_after_the_read_and_before_its_writes(store: Store) -> None:
    """Then what is newer is seen by `confirm`, or makes the swap a conflict."""
    losing = Losing(store, *(another_publishes(store, number) for number in range(2)))
    seen: list[tuple[str | None, int]] = []

    def confirm() -> None:
        live = read_live(store, TENANT, SURFACE)
        parent = live.publication.publish_id if live and live.publication else None
        seen.append((parent, len(losing.writes)))

    outcome, _ = publish(losing, **publish_arguments(store, version=50), confirm=confirm)

    assert outcome == "published"
    assert seen == [(None, 0), ("other-0", 2), ("other-1", 4)]


@pytest.mark.usefixtures("no_pause")
def test_what_is_stale_after_a_lost_race_leaves_the_winner_live(store: Store) -> None:
    losing = Losing(store, another_publishes(store, 0))
    attempts = iter([None, StaleReleaseError("the staged versions changed")])

    def confirm() -> None:
        if stale := next(attempts):
            raise stale

    with pytest.raises(StaleReleaseError):
        publish(losing, **publish_arguments(store, version=50), confirm=confirm)

    assert lineage(store) == [(1, "other-0", None)]
    assert [call for call, _ in losing.writes].count("compare_and_swap") == 1


def test_what_is_published_between_the_confirmation_and_the_flip_stays_live(store: Store) -> None:
    """It was not staged yet when it was asked for, and it is live before the swap."""
    staged = {"version": 1}

    def newer() -> None:
        staged["version"] = 2
        publish(store, **publish_arguments(store, version=2), publish_id="newer")

    def confirm() -> None:
        if staged["version"] != 1:
            raise StaleReleaseError("the staged versions changed")

    with pytest.raises(StaleReleaseError):
        publish(Losing(store, newer), **publish_arguments(store, version=1), confirm=confirm)

    assert lineage(store) == [(1, "newer", None)]


def test_what_is_not_wanted_any_more_writes_nothing(backend: Backend, store: Store) -> None:
    publish(store, **publish_arguments(store, version=1))
    before = backend.contents()

    with pytest.raises(StaleReleaseError):
        publish(store, **publish_arguments(store, version=2), confirm=refuse)

    assert backend.contents() == before


def test_what_is_live_or_superseded_needs_no_confirmation(store: Store) -> None:
    publish(store, **publish_arguments(store, version=1))
    older = publish_arguments(store, day=DAY - timedelta(days=1), version=2)

    assert publish(store, **publish_arguments(store), confirm=refuse)[0] == "unchanged"
    assert publish(store, **older, confirm=refuse)[0] == "superseded"


def refuse() -> None:
    raise StaleReleaseError("the staged versions changed")


class Deaf(Passing):
    """Flips, but its answer is lost: the repeated request meets its own success as a conflict."""

    def __init__(self, inner: Store, *meanwhile: Callable[[], object], every: int = 1) -> None:
        super().__init__(inner)
        self._meanwhile = meanwhile
        self._every = every
        self._flips = 0

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        super().compare_and_swap(key, data, expected=expected)
        self._flips += 1
        if self._flips % self._every:
            return
        for other in self._meanwhile:
            other()
        raise ManifestConflictError(self.uri(key), expected=expected, found="one's own tag")


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("first", [True, False], ids=["first publish", "later publish"])
@pytest.mark.parametrize("on_top", [0, 1, 3])
def test_a_lost_answer_is_recognised_as_success_also_below_later_publications(
    store: Store, on_top: int, *, first: bool
) -> None:
    if not first:
        publish(store, **publish_arguments(store, version=99), publish_id="start")
    deaf = Deaf(store, *(another_publishes(store, number) for number in range(on_top)))

    outcome, live = publish(deaf, **publish_arguments(store, version=50), publish_id="mine")

    order = [*([] if first else ["start"]), "mine", *(f"other-{n}" for n in range(on_top))]
    assert outcome == "published"
    assert live == live_now(store)
    assert deaf.settled == [MANIFEST]
    assert [call for call, _ in deaf.writes].count("compare_and_swap") == 1
    assert [publish_id for _, publish_id, _ in lineage(store)] == order[::-1]
    assert [generation for generation, _, _ in lineage(store)] == [*range(len(order), 0, -1)]


@pytest.mark.usefixtures("no_pause")
def test_a_lost_answer_below_a_later_window_is_still_a_success(store: Store) -> None:
    later = publish_arguments(store, day=TOMORROW, version=2)
    deaf = Deaf(store, lambda: publish(store, **later, publish_id="other"))

    outcome, _ = publish(deaf, **publish_arguments(store, day=DAY), publish_id="mine")

    assert outcome == "published"
    assert [publish_id for _, publish_id, _ in lineage(store)] == ["other", "mine"]


@pytest.mark.usefixtures("no_pause")
def test_forty_publishes_with_every_third_answer_lost_are_forty_flips(store: Store) -> None:
    """With re-reading and trying again alone they are 78."""
    deaf = Deaf(store, every=3)

    for number in range(40):
        outcome, _ = publish(deaf, **publish_arguments(store, version=number))
        assert outcome == "published"

    assert [generation for generation, _, _ in lineage(store)] == [*range(40, 0, -1)]


@pytest.mark.usefixtures("no_pause")
def test_a_conflict_without_end_is_given_up_with_the_old_manifest_live(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publications, "_ATTEMPTS", 3)
    publish(store, **publish_arguments(store, version=1))
    old = live_now(store)
    conflict = ManifestConflictError(store.uri(MANIFEST), expected="a", found="b")
    failing = Failing(store, conflict, done=False)

    with pytest.raises(ManifestConflictError) as given_up:
        publish(failing, **publish_arguments(store, version=2))

    assert given_up.value is conflict
    assert [call for call, _ in failing.writes].count("compare_and_swap") == 3
    assert live_now(store) == old


def test_another_producer_s_manifest_is_replaced_by_generation_one(store: Store) -> None:
    """The ancestor system knows no publications; its documents name their window as ours do."""
    key = "objectstore/theirs.json"
    window = Window.ending_with(DAY, days=1).to_json()
    store.put_new(key, json.dumps({"v": 1, "window": window, "items": []}).encode())
    put_manifest(store, {"popularity": "file:///elsewhere/popularity.json", "cooc": store.uri(key)})
    live = live_now(store)
    assert live.publication is None
    assert live.window == Window.ending_with(DAY, days=1)
    assert list(history(store, live)) == []

    outcome, _ = publish(store, **publish_arguments(store), publish_id="p1")

    assert outcome == "published"
    assert lineage(store) == [(1, "p1", None)]


def test_another_producer_s_manifest_is_replaced_even_by_what_it_names(store: Store) -> None:
    """The same blobs, but no record says who published them when."""
    arguments = publish_arguments(store)
    arguments["current"] = {"popularity": accept_rendered(store).uri}
    put_manifest(store, arguments["current"])

    outcome, _ = publish(store, **arguments, publish_id="p1")

    assert outcome == "published"
    assert lineage(store) == [(1, "p1", None)]


@pytest.mark.parametrize(
    "name",
    [
        None,
        "file:///elsewhere/popularity.json",
        "s3://bucket/popularity.json",
        "objectstore/absent.json",
        "objectstore",
        "objectstore/../../outside.json",
        "objectstore/a\x00b.json",
        "objectstore/junk.json",
    ],
)
def test_another_producer_s_manifest_of_unknown_window_is_not_replaced(
    backend: Backend, store: Store, name: str | None
) -> None:
    """It may be of a later window, so only a person can say that it may go."""
    store.put_new("objectstore/junk.json", b'{"v":1,"items":[{"item_id":')
    uri = name if name is None or ":" in name else f"{store.uri('')}/{name}".replace("//o", "/o")
    put_manifest(store, {} if uri is None else {"popularity": uri})
    before = backend.contents()
    live = live_now(store)
    assert live.window is None

    with pytest.raises(StorageError, match="written by another producer") as error:
        publish(store, **publish_arguments(store))

    assert store.uri(MANIFEST) in str(error.value)
    assert "move that manifest away first" in str(error.value)
    assert backend.contents() == before
    store.delete(MANIFEST)
    assert publish(store, **publish_arguments(store))[0] == "published"


def test_another_producer_s_manifest_of_a_later_window_is_not_moved_back(
    backend: Backend, store: Store
) -> None:
    """Somebody wrote the manifest by hand, as in a rollback without this project's help."""
    ref = accept_rendered(store, day=TOMORROW)
    old = accept_rendered(store, day=DAY)
    absent = store.uri("objectstore/absent.json")
    put_manifest(
        store, {"popularity": old.uri, "cooc": ref.uri, "implicit": old.uri, "content_sim": absent}
    )
    before = backend.contents()

    outcome, live = publish(store, **publish_arguments(store, day=DAY))

    assert outcome == "superseded"
    assert live.window == Window.ending_with(TOMORROW, days=1)
    assert backend.contents() == before
    assert publish(store, **publish_arguments(store, day=TOMORROW))[0] == "published"


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"updated_at":"2026-01-06T02:00:00Z"}',
        b'{"current":{}}',
        b'{"current":null,"updated_at":""}',
        b'{"current":"text","updated_at":""}',
        b'{"current":{"popularity":3},"updated_at":""}',
        b'{"current":{"publication":null},"updated_at":""}',
    ],
)
def test_a_damaged_manifest_is_refused_and_left_as_it_is(
    backend: Backend, store: Store, damaged: bytes
) -> None:
    """Overwriting it would hide what happened, and which versions readers had."""
    store.replace(MANIFEST, damaged)
    before = backend.contents()

    with pytest.raises(StorageError, match="is not a manifest") as error:
        publish(store, **publish_arguments(store))

    assert store.uri(MANIFEST) in str(error.value)
    assert backend.contents() == before


def test_a_manifest_cut_short_is_refused(store: Store) -> None:
    publish(store, **publish_arguments(store))
    whole = manifest_bytes(store)

    for length in range(0, len(whole), 7):
        store.replace(MANIFEST, whole[:length])
        with pytest.raises(StorageError, match="is not a manifest"):
            read_live(store, TENANT, SURFACE)


def test_a_manifest_that_names_a_missing_publication_is_refused(
    backend: Backend, store: Store
) -> None:
    publish(store, **publish_arguments(store, version=1), publish_id="p1")
    record = layout.publication(TENANT, SURFACE, 1, "p1")
    store.delete(record)
    before = backend.contents()

    with pytest.raises(StorageError, match="is missing") as error:
        publish(store, **publish_arguments(store, version=2))

    assert store.uri(record) in str(error.value)
    assert backend.contents() == before


@pytest.mark.parametrize("damaged", [b"", b"{}", b"[]", b"3", b'{"v":1}', b'{"v":1,"window":3}'])
def test_a_manifest_that_names_a_damaged_publication_is_refused(
    backend: Backend, store: Store, damaged: bytes
) -> None:
    publish(store, **publish_arguments(store, version=1), publish_id="p1")
    store.replace(layout.publication(TENANT, SURFACE, 1, "p1"), damaged)
    before = backend.contents()

    with pytest.raises(StorageError, match="is not a publication record"):
        publish(store, **publish_arguments(store, version=2))

    assert backend.contents() == before


def test_a_manifest_of_another_root_is_refused(store: Store, tmp_path: Path) -> None:
    """The root was copied: its URIs still name the original, which readers would go on using."""
    original = LocalStore(tmp_path / "original")
    publish(original, **publish_arguments(original))
    store.replace(MANIFEST, manifest_bytes(original))

    with pytest.raises(StorageError, match="another root"):
        publish(store, **publish_arguments(store))


def test_a_publication_reads_back_as_it_was_written(store: Store) -> None:
    _, live = publish(store, **publish_arguments(store))

    assert live.publication is not None
    assert Publication.from_bytes(live.publication.to_bytes()) == live.publication


def test_two_publishers_at_once_lose_nothing_and_no_reader_sees_half(backend: Backend) -> None:
    context = get_context("spawn")
    done = [context.Event(), context.Event()]

    first, second, (reads, dangling) = at_once(
        publish_or_read,
        [
            ("publish", backend.open, 1, done[:1]),
            ("publish", backend.open, 2, done[1:]),
            ("read", backend.open, 0, done),
        ],
    )

    store = backend.open()
    chain = lineage(store)
    assert reads > 0
    assert dangling == []
    assert len(first) == len(second) == _PUBLISHES
    assert {publish_id for _, publish_id, _ in chain} == {*first, *second}
    assert [generation for generation, _, _ in chain] == [*range(2 * _PUBLISHES, 0, -1)]


_PUBLISHES = 25


def publish_or_read(
    role: str, open_store: Callable[[], Store], number: int, done: list[Event]
) -> Any:
    return (
        publish_many(open_store(), number, done[0])
        if role == "publish"
        else read_until(open_store(), done)
    )


def publish_many(store: Store, number: int, done: Event) -> list[str]:
    """Publish other versions of one window, blobs first; return what was acknowledged."""
    acknowledged = []
    with setting(done):
        for version in range(number * 1000, number * 1000 + _PUBLISHES):
            arguments = publish_arguments(store, version=version)
            for uri in arguments["current"].values():
                store.put_new(store.key(uri), b"%d" % version)
            outcome, _ = publish(store, **arguments, publish_id=f"p{version}")
            assert outcome == "published"
            acknowledged.append(f"p{version}")
    return acknowledged


def read_until(store: Store, done: list[Event]) -> tuple[int, list[str]]:
    """Read as the online service does; a torn manifest raises, a URI without object is returned."""
    reads, dangling = 0, []
    finished = False
    while not finished:
        finished = all(event.is_set() for event in done)  # one more read after the last publish
        found = store.read(MANIFEST)
        if found is None:
            continue
        manifest = json.loads(found.data)
        assert set(manifest["current"]) == {"popularity", "cooc", "publication"}
        dangling += [uri for uri in manifest["current"].values() if not store.read(store.key(uri))]
        reads += 1
    return reads, dangling


@contextlib.contextmanager
def setting(event: Event) -> Iterator[None]:
    try:
        yield
    finally:
        event.set()


def another_publishes(store: Store, number: int) -> Callable[[], object]:
    return lambda: publish(
        store, **publish_arguments(store, version=number), publish_id=f"other-{number}"
    )


def put_manifest(store: Store, current: dict[str, str]) -> None:
    manifest = {
        "v": 1,
        "tenant": TENANT,
        "surface": SURFACE,
        "current": current,
        "updated_at": "2026-01-06T02:00:00Z",
    }
    store.replace(MANIFEST, json.dumps(manifest).encode())


def manifest_bytes(store: Store) -> bytes:
    found: Versioned | None = store.read(MANIFEST)
    assert found is not None
    return found.data
