"""The live pointer: it moves once per decision, and no crash, race or lost answer breaks it."""

from __future__ import annotations

import contextlib
import getpass
import itertools
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from recsys_assets.errors import (
    CandidateOvertakenError,
    ManifestConflictError,
    PublishOutcomeUnknownError,
    StorageError,
    StoreUnavailableError,
)
from recsys_assets.places import Place
from recsys_assets.storage import flips, layout
from recsys_assets.storage.flips import Outcome, actor, flip, publish
from recsys_assets.storage.publications import (
    Action,
    Change,
    Live,
    Publication,
    Why,
    generation_of,
    history,
    read_live,
)
from recsys_assets.storage.store import Store, Stored, Versioned
from recsys_assets.windows import Window
from recsys_assets_tests.storage.conftest import (
    DAY,
    MANIFEST,
    PLACE,
    PROCESSES,
    SURFACE,
    TENANT,
    TOMORROW,
    Backend,
    Clock,
    CrashError,
    Crashing,
    Passing,
    at_once,
    lineage,
    live_now,
    manifest_bytes,
    on_every_backend,
    on_one_backend,
    publish_arguments,
    record,
)

WHY = Why("run-0", "somebody", "a test")


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishers that lost a race try again at once."""
    monkeypatch.setattr(flips, "_LONGEST_PAUSE_S", 0)


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
        who="somebody",
        reason="a test",
        published_at="2026-01-06T02:00:00.000000Z",
    )
    assert live.publication == expected
    assert live_now(store).publication == expected
    assert live_now(store).current == live.current == arguments["current"]
    assert live_now(store).window == live.window == Window(DAY, TOMORROW)


def test_the_manifest_has_exactly_the_members_its_readers_know(store: Store) -> None:
    arguments = publish_arguments(store)

    publish(store, **arguments, clock=Clock(), publish_id="p1")

    record = layout.publication(PLACE, 1, "p1")
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


@on_one_backend
def test_publish_ids_differ_when_none_is_given(store: Store) -> None:
    for number in (1, 2, 1):
        publish(store, **publish_arguments(store, version=number))

    assert len({publish_id for _, publish_id, _ in lineage(store)}) == 3


def test_the_record_is_written_before_the_manifest_that_names_it(store: Store) -> None:
    watched = Passing(store)

    publish(watched, **publish_arguments(store), publish_id="p1")

    assert watched.writes == [
        ("put_new", layout.publication(PLACE, 1, "p1")),
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


@on_one_backend
def test_the_same_blobs_for_another_window_with_this_end_are_published(store: Store) -> None:
    """Two days without events may have equal blobs of content_sim, and are two publications."""
    arguments = publish_arguments(store)
    publish(store, **arguments)
    longer = Window(DAY - timedelta(days=6), arguments["window"].end)

    outcome, live = publish(store, **(arguments | {"window": longer}))

    assert outcome == "published"
    assert live.window == longer


@on_one_backend
def test_a_clock_that_is_set_back_does_not_hold_a_publish_up(store: Store) -> None:
    publish(store, **publish_arguments(store, version=1), clock=Clock())
    long_ago = Clock(datetime(1999, 1, 1, tzinfo=UTC))

    outcome, live = publish(store, **publish_arguments(store, version=2), clock=long_ago)

    assert outcome == "published"
    assert live.updated_at == live_now(store).updated_at == "1999-01-01T00:00:00.000000Z"
    assert [generation for generation, _, _ in lineage(store)] == [2, 1]


def test_surfaces_do_not_see_each_other(store: Store) -> None:
    home = publish_arguments(store)
    cart = home | {
        "place": Place(TENANT, "cart"),
        "window": Window(date(2020, 1, 1), date(2020, 1, 2)),
    }

    publish(store, **home, publish_id="p1")
    outcome, live = publish(store, **cart, publish_id="p1")

    assert outcome == "published"
    assert live.publication is not None
    assert live.publication.generation == 1
    assert live_now(store).window == home["window"]


def test_where_the_manifest_is_lost_no_new_history_begins(backend: Backend, store: Store) -> None:
    """It would forget what can be rolled back to, and a pin; and an older day could go live."""
    publish(store, **publish_arguments(store, day=TOMORROW))
    publish(store, **publish_arguments(store, day=TOMORROW, version=2))
    store.delete(MANIFEST)
    before = backend.contents()

    with pytest.raises(StorageError, match="`recsys-assets repair demo/home --dry-run` says"):
        publish(store, **publish_arguments(store, day=DAY))

    assert backend.contents() == before


def test_a_record_of_a_first_flip_that_was_cut_off_holds_nothing_up(store: Store) -> None:
    publish(store, **publish_arguments(store))
    store.delete(MANIFEST)

    assert publish(store, **publish_arguments(store))[0] == "published"


def test_flips_of_others_between_two_looks_are_no_lost_manifest(store: Store) -> None:
    class Others(Passing):
        def list(self, prefix: str) -> Iterator[Stored]:
            for version in (1, 2):
                publish(store, **publish_arguments(store, version=version))
            return super().list(prefix)

    outcome, live = publish(Others(store), **publish_arguments(store, version=3))

    assert (outcome, generation_of(live)) == ("published", 3)


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
    old = read_live(store, PLACE)
    arguments = publish_arguments(store, version=2)

    with pytest.raises(CrashError):
        publish(Crashing(store, write=write, after=after), **arguments)
    assert read_live(store, PLACE) == old

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
    """Its flips raise one error after the other, and flip nothing; those that follow do."""

    def __init__(self, inner: Store, *errors: Exception) -> None:
        super().__init__(inner)
        self._errors = list(errors)

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        if not self._errors:
            super().compare_and_swap(key, data, expected=expected)
            return
        self.writes.append(("compare_and_swap", key))
        raise self._errors.pop(0)


class Unsure(Passing):
    """Does not say whether it flipped, the first few times; others may act before it answers."""

    def __init__(
        self,
        inner: Store,
        *,
        times: int = 1,
        done: bool = False,
        meanwhile: Sequence[Callable[[], object]] = (),
    ) -> None:
        super().__init__(inner)
        self._times = times
        self._done = done
        self._meanwhile = meanwhile

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        if not self._times:
            super().compare_and_swap(key, data, expected=expected)
            return
        self._times -= 1
        self.writes.append(("compare_and_swap", key))
        if self._done:
            self.inner.compare_and_swap(key, data, expected=expected)
        for other in self._meanwhile:
            other()
        raise PublishOutcomeUnknownError("the answer did not come")


@on_one_backend
@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("first", [True, False], ids=["first publish", "later publish"])
@pytest.mark.parametrize("on_top", [0, 1, 3])
def test_a_flip_of_unknown_outcome_is_found_in_the_history_also_below_later_publications(
    store: Store, on_top: int, *, first: bool
) -> None:
    if not first:
        publish(store, **publish_arguments(store, version=99), publish_id="start")
    others = [another_publishes(store, number) for number in range(on_top)]
    unsure = Unsure(store, done=True, meanwhile=others)

    outcome, live = publish(unsure, **publish_arguments(store, version=50), publish_id="mine")

    order = [*([] if first else ["start"]), "mine", *(f"other-{n}" for n in range(on_top))]
    assert outcome == "published"
    assert live == live_now(store)
    assert unsure.settled == [MANIFEST]
    assert attempts(unsure) == 1
    assert [publish_id for _, publish_id, _ in lineage(store)] == order[::-1]


@on_one_backend
@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("on_top", [0, 1, 3])
@pytest.mark.parametrize("times", [1, 2])
def test_a_flip_of_unknown_outcome_that_is_not_in_the_history_is_made_again(
    store: Store, times: int, on_top: int
) -> None:
    publish(store, **publish_arguments(store, version=99), publish_id="start")
    numbers = itertools.count()
    unsure = Unsure(
        store,
        times=times,
        meanwhile=[lambda: another_publishes(store, next(numbers))()] * on_top,
    )

    outcome, _ = publish(unsure, **publish_arguments(store, version=50), publish_id="mine")

    assert outcome == "published"
    assert attempts(unsure) == times + 1
    chain = lineage(store)
    assert chain[0][1] == "mine"
    assert [publish_id for _, publish_id, _ in chain].count("mine") == 1
    assert [generation for generation, _, _ in chain] == [*range(len(chain), 0, -1)]
    assert len(chain) == 2 + times * on_top


@on_one_backend
@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("times", [0, 1, 2])
def test_record_and_manifest_agree_also_after_a_repeated_attempt(store: Store, times: int) -> None:
    """The record is write-once: that of the first attempt is still there, and clocks go on."""
    unsure = Unsure(store, times=times)

    _, live = publish(unsure, **publish_arguments(store), clock=Clock(), publish_id="mine")

    found = live_now(store)
    assert found.publication == live.publication
    assert found.publication is not None
    assert found.updated_at == live.updated_at == found.publication.published_at


@on_one_backend
@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("first", [True, False], ids=["first publish", "later publish"])
def test_a_third_unknown_outcome_is_given_up_and_publishing_again_settles_it(
    store: Store, *, first: bool
) -> None:
    if not first:
        publish(store, **publish_arguments(store, version=1))
    old = read_live(store, PLACE)
    arguments = publish_arguments(store, version=2)
    unsure = Unsure(store, times=99)

    with pytest.raises(PublishOutcomeUnknownError, match="the answer did not come"):
        publish(unsure, **arguments)

    assert attempts(unsure) == 3
    assert read_live(store, PLACE) == old
    assert publish(store, **arguments)[0] == "published"
    assert live_now(store).current == arguments["current"]
    assert len(lineage(store)) == (1 if first else 2)


@on_one_backend
@pytest.mark.usefixtures("no_pause")
def test_conflicts_between_unknown_outcomes_do_not_count_as_such(store: Store) -> None:
    conflict = ManifestConflictError(store.uri(MANIFEST), expected="a", found="b")
    answers = [conflict, PublishOutcomeUnknownError("lost"), conflict] * 2
    failing = Failing(store, *answers)

    outcome, _ = publish(failing, **publish_arguments(store), publish_id="mine")

    assert outcome == "published"
    assert attempts(failing) == len(answers) + 1
    assert lineage(store) == [(1, "mine", None)]


class Unreachable(Passing):
    """Answers no read of one object any more once an attempt to flip has failed."""

    def __init__(self, inner: Store, key: str, error: Exception, *, done: bool) -> None:
        super().__init__(inner)
        self._key = key
        self._error = error
        self._done = done

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        self.writes.append(("compare_and_swap", key))
        if self._done:
            self.inner.compare_and_swap(key, data, expected=expected)
            another_publishes(self.inner, 7)()
        raise self._error

    def read(self, key: str) -> Versioned | None:
        if attempts(self) and key == self._key:
            raise StoreUnavailableError(f"cannot read {key}: no answer came in time.")
        return super().read(key)


@on_one_backend
@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize(
    "error",
    [
        PublishOutcomeUnknownError("the answer did not come"),
        ManifestConflictError("manifest", expected="a", found="one's own tag"),
    ],
    ids=["no answer", "perhaps our own success"],
)
@pytest.mark.parametrize(
    ("done", "key"),
    [
        (True, MANIFEST),
        (False, MANIFEST),
        (True, layout.publication(PLACE, 3, "other-7")),
        (True, layout.publication(PLACE, 2, "mine")),
    ],
    ids=["flipped", "not flipped", "record of the live one", "record further down"],
)
def test_a_store_that_is_gone_after_an_attempt_makes_the_outcome_unknown(
    store: Store, key: str, error: Exception, *, done: bool
) -> None:
    """Telling that nothing was changed would be a guess."""
    publish(store, **publish_arguments(store, version=1))
    gone = Unreachable(store, key, error, done=done)
    arguments = publish_arguments(store, version=2)

    with pytest.raises(PublishOutcomeUnknownError) as unknown:
        publish(gone, **arguments, publish_id="mine")

    assert f"cannot read {key}: no answer came in time." in str(unknown.value)
    assert "Whether generation 2 or a later one of demo/home is ours is unknown" in str(
        unknown.value
    )
    assert attempts(gone) == 1
    assert ("mine" in [publish_id for _, publish_id, _ in lineage(store)]) == done


@on_one_backend
def test_a_store_that_is_gone_before_the_first_attempt_is_told_as_it_is(
    backend: Backend, store: Store
) -> None:
    class Gone(Passing):
        def read(self, key: str) -> Versioned | None:
            raise StoreUnavailableError(f"cannot read {key}")

    gone, before = Gone(store), backend.contents()

    with pytest.raises(StoreUnavailableError, match=MANIFEST):
        publish(gone, **publish_arguments(store))

    assert gone.writes == []
    assert backend.contents() == before


@on_one_backend
def test_a_store_that_is_gone_when_the_record_is_written_leaves_the_old_manifest(
    store: Store,
) -> None:
    error = StoreUnavailableError("cannot write the record")

    class Gone(Passing):
        def put_new(self, key: str, content: bytes | Path) -> bool:
            raise error

    publish(store, **publish_arguments(store, version=1))
    old = live_now(store)

    with pytest.raises(StoreUnavailableError) as raised:
        publish(Gone(store), **publish_arguments(store, version=2))

    assert raised.value is error
    assert live_now(store) == old


class Unstored(Unsure):
    """Does not say whether it flipped the first time, and writes nothing from then on."""

    def __init__(self, inner: Store, *, fails: str) -> None:
        super().__init__(inner)
        self._fails = fails

    def put_new(self, key: str, content: bytes | Path) -> bool:
        self._fail("put_new", key)
        return super().put_new(key, content)

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        self._fail("compare_and_swap", key)
        super().compare_and_swap(key, data, expected=expected)

    def _fail(self, call: str, key: str) -> None:
        if self._fails == call and attempts(self):
            raise StoreUnavailableError(f"cannot write {key}: access was denied.", refused=True)


@on_one_backend
@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("first", [True, False], ids=["first publish", "later publish"])
@pytest.mark.parametrize("fails", ["put_new", "compare_and_swap"])
def test_a_store_that_refuses_the_second_attempt_says_nothing_of_the_first(
    store: Store, fails: str, *, first: bool
) -> None:
    """The first one's answer is still out: it may flip yet, so it is not `nothing was changed`."""
    if not first:
        publish(store, **publish_arguments(store, version=1))
    unstored, generation = Unstored(store, fails=fails), 1 if first else 2

    with pytest.raises(PublishOutcomeUnknownError) as unknown:
        publish(unstored, **publish_arguments(store, version=2))

    assert attempts(unstored) == 1
    assert "access was denied." in str(unknown.value)
    assert f"Whether generation {generation} or a later one of demo/home is ours is unknown" in (
        str(unknown.value)
    )


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


@on_one_backend
@pytest.mark.usefixtures("no_pause")
def test_each_attempt_is_decided_on_what_is_live_before_its_writes(store: Store) -> None:
    """Then what is newer is seen by `decide`, or makes the swap a conflict."""
    losing = Losing(store, *(another_publishes(store, number) for number in range(2)))
    asked: list[tuple[str | None, int]] = []

    def decide(live: Live | None) -> Change:
        asked.append((newest(live), len(losing.writes)))
        arguments = publish_arguments(store, version=50)
        return Change("publish", arguments["window"], arguments["current"])

    outcome, _ = flip(losing, PLACE, decide=decide, why=WHY)

    assert outcome == "published"
    assert asked == [(None, 0), ("other-0", 2), ("other-1", 4)]


@on_one_backend
@pytest.mark.usefixtures("no_pause")
def test_what_the_decision_raises_after_a_lost_race_leaves_the_winner_live(store: Store) -> None:
    losing = Losing(store, another_publishes(store, 0))

    def decide(live: Live | None) -> Change:
        if live:
            raise CandidateOvertakenError("not wanted any more")
        arguments = publish_arguments(store, version=50)
        return Change("publish", arguments["window"], arguments["current"])

    with pytest.raises(CandidateOvertakenError, match="not wanted any more"):
        flip(losing, PLACE, decide=decide, why=WHY)

    assert lineage(store) == [(1, "other-0", None)]
    assert attempts(losing) == 1


@on_one_backend
@pytest.mark.parametrize("outcome", ["unchanged", "superseded", "pinned"])
def test_a_decision_against_a_change_is_the_outcome_and_writes_nothing(
    backend: Backend, store: Store, outcome: Outcome
) -> None:
    publish(store, **publish_arguments(store))
    before, watched = backend.contents(), Passing(store)

    answer = flip(watched, PLACE, decide=lambda _: outcome, why=WHY)

    assert answer == (outcome, live_now(store))
    assert watched.writes == []
    assert watched.settled == ([MANIFEST] if outcome == "unchanged" else [])
    assert backend.contents() == before


ACTIONS: list[Action] = ["publish", "rollback", "pin", "release", "retention"]


@on_one_backend
@pytest.mark.parametrize("action", ACTIONS)
def test_a_flip_of_any_action_is_a_generation_and_names_its_parent(
    store: Store, action: Action
) -> None:
    publish(store, **publish_arguments(store, version=1), publish_id="p1")
    live = live_now(store)
    assert live.window is not None
    change = Change(
        action, live.window, live.current, pinned=True, retiring=("a", "b"), restored={"cooc": 1}
    )

    outcome, flipped = flip(
        store,
        PLACE,
        decide=lambda _: change,
        why=Why("run-7", "somebody else", "for a reason"),
        clock=Clock(),
        publish_id="p2",
    )

    assert outcome == "published"
    assert flipped.publication == live_now(store).publication
    assert flipped.publication == Publication(
        **vars(change),
        generation=2,
        publish_id="p2",
        parent="p1",
        tenant=TENANT,
        surface=SURFACE,
        run_id="run-7",
        who="somebody else",
        reason="for a reason",
        published_at="2026-01-06T02:00:00.000000Z",
    )
    stored = record(store, 2, "p2")
    assert (stored["action"], stored["pinned"], stored["restored"]) == (action, True, {"cooc": 1})
    assert stored["retiring"] == ["a", "b"]
    assert lineage(store) == [(2, "p2", "p1"), (1, "p1", None)]


@on_one_backend
def test_flips_of_all_actions_make_one_chain_that_publishes_go_on(store: Store) -> None:
    publish(store, **publish_arguments(store, version=1), publish_id="start")
    for action in ACTIONS[1:]:
        act(store, action, publish_id=action)

    publish(store, **publish_arguments(store, day=TOMORROW, version=2), publish_id="end")

    order = ["start", *ACTIONS[1:], "end"]
    assert lineage(store) == [
        (number, order[number - 1], order[number - 2] if number > 1 else None)
        for number in range(len(order), 0, -1)
    ]
    actions = [publication.action for publication in history(store, live_now(store))]
    assert actions == ["publish", *ACTIONS[:0:-1], "publish"]


@on_one_backend
def test_a_rollback_makes_an_older_window_live_and_a_publish_goes_forward_from_there(
    store: Store,
) -> None:
    old = publish_arguments(store, day=DAY, version=1)
    publish(store, **old)
    publish(store, **publish_arguments(store, day=TOMORROW, version=2))

    act(store, "rollback", window=old["window"], current=old["current"], restored={"cooc": 1})

    assert (live_now(store).window, live_now(store).current) == (old["window"], old["current"])
    assert publish(store, **publish_arguments(store, day=TOMORROW, version=3))[0] == "published"
    assert [generation for generation, _, _ in lineage(store)] == [4, 3, 2, 1]


@on_one_backend
@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("kind", ["conflict", "unknown"])
def test_a_flip_whose_answer_is_lost_is_not_decided_a_second_time(store: Store, kind: str) -> None:
    """Going back to the parent twice would go back by two."""
    for number in (1, 2, 3):
        publish(store, **publish_arguments(store, version=number), publish_id=f"p{number}")
    lossy = Deaf(store) if kind == "conflict" else Unsure(store, done=True)
    asked = []

    def to_the_parent(live: Live | None) -> Change:
        assert live
        asked.append(newest(live))
        _, parent, *_ = history(store, live)
        return Change(
            "rollback",
            parent.window,
            parent.current,
            restored=dict.fromkeys(parent.current, parent.generation),
        )

    outcome, live = flip(lossy, PLACE, decide=to_the_parent, why=WHY)

    assert (outcome, asked) == ("published", ["p3"])
    assert live.current == publish_arguments(store, version=2)["current"]
    assert [publication.action for publication in history(store, live_now(store))] == [
        "rollback", "publish", "publish", "publish",
    ]  # fmt: skip


class Reading(Passing):
    """Remembers what was read."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.read_keys: list[str] = []

    def read(self, key: str) -> Versioned | None:
        self.read_keys.append(key)
        return super().read(key)

    def open(self, key: str) -> tuple[BinaryIO, int]:
        self.read_keys.append(key)
        return super().open(key)


@on_one_backend
class TestSeen:
    """A release that was gathered at one generation and is to be flipped at a later one."""

    @pytest.fixture
    def seen(self, store: Store) -> int:
        """Publish the day before twice; the second is what was seen."""
        for number in (1, 2):
            publish(store, **publish_arguments(store, day=DAY - timedelta(days=1), version=number))
        return 2

    def test_it_is_published_when_nothing_came_in(self, store: Store, seen: int) -> None:
        outcome, live = publish(store, **publish_arguments(store, version=50), seen=seen)

        assert (outcome, generation_of(live)) == ("published", 3)

    def test_it_is_published_first_of_all(self, store: Store) -> None:
        assert publish(store, **publish_arguments(store), seen=0)[0] == "published"

    def test_the_same_window_makes_it_stale(
        self, backend: Backend, store: Store, seen: int
    ) -> None:
        publish(store, **publish_arguments(store, version=3))
        before = backend.contents()

        with pytest.raises(CandidateOvertakenError) as stale:
            publish(store, **publish_arguments(store, version=50), seen=seen)

        assert "demo/home: generation 3 (publish, somebody) came in" in str(stale.value)
        assert "materialize manifest of the day again" in str(stale.value)
        assert backend.contents() == before

    @pytest.mark.parametrize("on_top", ACTIONS[2:])
    def test_the_same_window_below_others_makes_it_stale(
        self, store: Store, seen: int, on_top: Action
    ) -> None:
        publish(store, **publish_arguments(store, version=3))
        for _ in range(2):
            act(store, on_top)

        with pytest.raises(CandidateOvertakenError, match=r"generation 3 \(publish"):
            publish(store, **publish_arguments(store, version=50), seen=seen)

    def test_a_window_of_this_end_and_another_length_does_not(
        self, store: Store, seen: int
    ) -> None:
        arguments = publish_arguments(store, version=3)
        longer = Window(DAY - timedelta(days=6), arguments["window"].end)
        publish(store, **(arguments | {"window": longer}))

        assert publish(store, **publish_arguments(store, version=50), seen=seen)[0] == "published"

    @pytest.mark.parametrize("others", [1, 3])
    def test_other_windows_do_not(self, store: Store, seen: int, others: int) -> None:
        """A backfill of the days before does not hold this one up."""
        for number in range(others):
            publish(
                store, **publish_arguments(store, day=DAY - timedelta(days=1), version=10 + number)
            )

        outcome, live = publish(store, **publish_arguments(store, version=50), seen=seen)

        assert (outcome, generation_of(live)) == ("published", 3 + others)

    @pytest.mark.parametrize("day", [DAY, DAY - timedelta(days=1)])
    @pytest.mark.parametrize("action", ["pin", "release", "retention"])
    def test_what_changes_no_version_does_not(
        self, store: Store, action: Action, day: date
    ) -> None:
        publish(store, **publish_arguments(store, day=day))
        act(store, action)

        assert publish(store, **publish_arguments(store, version=50), seen=1)[0] == "published"

    @pytest.mark.parametrize("on_top", [0, 2])
    def test_a_rollback_makes_it_stale_whatever_the_window(
        self, store: Store, seen: int, on_top: int
    ) -> None:
        """Somebody found what went live wrong, and this was made before they did."""
        act(store, "rollback")
        for _ in range(on_top):
            act(store, "release")

        with pytest.raises(CandidateOvertakenError, match=r"generation 3 \(rollback, somebody\)"):
            publish(store, **publish_arguments(store, version=50), seen=seen)

    @pytest.mark.parametrize("window", ["same", "other"])
    @pytest.mark.parametrize("begun", ["before", "after"])
    def test_retention_of_its_versions_makes_it_stale_also_when_it_is_done_by_now(
        self, store: Store, begun: str, window: str
    ) -> None:
        """A blob may have been verified just before it was deleted."""
        arguments = publish_arguments(store, version=50)
        day = DAY if window == "same" else DAY - timedelta(days=1)
        publish(store, **publish_arguments(store, day=day, version=1))
        seen = 2 if begun == "before" else 1
        act(store, "retention", retiring=("x", arguments["current"]["cooc"]))
        act(store, "retention", retiring=())
        act(store, "release")

        with pytest.raises(CandidateOvertakenError, match=r"generation 2 \(retention, somebody\)"):
            publish(store, **arguments, seen=seen)

        assert publish(store, **arguments, seen=3)[0] == "published"

    def test_retention_of_other_versions_does_not(self, store: Store, seen: int) -> None:
        act(store, "retention", retiring=("x", "y"))

        outcome, live = publish(store, **publish_arguments(store, version=50), seen=seen)

        assert outcome == "published"
        assert live.publication is not None
        assert live.publication.retiring == ("x", "y")

    @pytest.mark.parametrize("action", ["publish", "rollback"])
    def test_what_came_in_before_it_was_gathered_does_not(
        self, store: Store, action: Action
    ) -> None:
        publish(store, **publish_arguments(store, version=1))
        act(store, action)

        assert publish(store, **publish_arguments(store, version=50), seen=2)[0] == "published"
        with pytest.raises(CandidateOvertakenError):
            publish(store, **publish_arguments(store, version=51), seen=1)

    @pytest.mark.parametrize("others", [0, 1, 3])
    def test_no_record_older_than_it_is_read(self, store: Store, seen: int, others: int) -> None:
        """A flip of a day reads the manifest and one record, however long the history is."""
        yesterday = DAY - timedelta(days=1)
        for number in range(others):
            publish(store, **publish_arguments(store, day=yesterday, version=10 + number))
        records = [
            layout.publication(PLACE, generation, publish_id)
            for generation, publish_id, _ in lineage(store)
        ]
        reading = Reading(store)

        outcome, _ = publish(reading, **publish_arguments(store, version=50), seen=seen)

        assert outcome == "published"
        assert reading.read_keys == [MANIFEST, *records[: others + 1]]

    def test_without_it_nothing_is_asked(self, store: Store, seen: int) -> None:
        publish(store, **publish_arguments(store, version=3))
        act(store, "rollback")

        assert publish(store, **publish_arguments(store, version=50))[0] == "published"

    @pytest.mark.usefixtures("no_pause")
    @pytest.mark.parametrize("before", ["put_new", "compare_and_swap"])
    def test_what_comes_in_between_the_decision_and_the_flip_stays_live(
        self, store: Store, seen: int, before: str
    ) -> None:
        losing = Losing(store, another_publishes(store, 3), before=before)

        with pytest.raises(CandidateOvertakenError, match="generation 3"):
            publish(losing, **publish_arguments(store, version=50), seen=seen)

        assert newest(live_now(store)) == "other-3"
        assert attempts(losing) == 1

    @pytest.mark.usefixtures("no_pause")
    def test_its_own_flip_does_not_make_it_stale(self, store: Store, seen: int) -> None:
        """The answer was lost: it looks for itself before it looks for others."""
        deaf = Deaf(store)

        outcome, _ = publish(
            deaf, **publish_arguments(store, version=50), seen=seen, publish_id="mine"
        )

        assert outcome == "published"
        assert [publish_id for _, publish_id, _ in lineage(store)].count("mine") == 1


@on_one_backend
class TestPinned:
    """A surface on which publishes are held back until somebody releases it."""

    @pytest.fixture(autouse=True)
    def _pinned(self, store: Store) -> None:
        publish(store, **publish_arguments(store, version=1))
        act(store, "pin", pinned=True)

    @pytest.mark.parametrize("day", [DAY, TOMORROW])
    def test_what_is_live_stays(self, backend: Backend, store: Store, day: date) -> None:
        before, watched = backend.contents(), Passing(store)

        outcome, live = publish(watched, **publish_arguments(store, day=day, version=2))

        assert outcome == "pinned"
        assert live == live_now(store)
        assert watched.writes == []
        assert backend.contents() == before

    def test_after_a_release_publishes_go_on(self, store: Store) -> None:
        act(store, "release")

        outcome, live = publish(store, **publish_arguments(store, version=2))

        assert outcome == "published"
        assert live.publication is not None
        assert not live.publication.pinned
        assert publish(store, **publish_arguments(store, version=3))[0] == "published"

    def test_a_rollback_and_a_pin_may_still_flip(self, store: Store) -> None:
        """It is the publishes of the daily runs that are held back, not people."""
        old = publish_arguments(store, day=DAY - timedelta(days=1), version=9)

        act(store, "rollback", window=old["window"], current=old["current"], pinned=True)

        assert live_now(store).current == old["current"]
        assert publish(store, **publish_arguments(store, version=2))[0] == "pinned"

    @pytest.mark.parametrize(
        ("day", "version", "outcome"),
        [
            (DAY, 1, "unchanged"),
            (DAY - timedelta(days=1), 2, "superseded"),
            (DAY, 2, "pinned"),
            (TOMORROW, 1, "pinned"),
        ],
    )
    def test_superseded_and_unchanged_are_said_first_and_stale_last(
        self, store: Store, day: date, version: int, outcome: str
    ) -> None:
        act(store, "rollback", pinned=True)

        arguments = publish_arguments(store, day=day, version=version)

        assert publish(store, **arguments, seen=1)[0] == outcome

    def test_surfaces_are_pinned_one_by_one(self, store: Store) -> None:
        cart = publish_arguments(store) | {"place": Place(TENANT, "cart")}

        assert [publish(store, **cart)[0] for _ in range(2)] == ["published", "unchanged"]


@on_one_backend
@pytest.mark.usefixtures("no_pause")
def test_a_publisher_that_loses_to_a_pin_is_held_back(store: Store) -> None:
    publish(store, **publish_arguments(store, version=1))
    losing = Losing(store, lambda: act(store, "pin", pinned=True, publish_id="pin"))

    outcome, live = publish(losing, **publish_arguments(store, version=2))

    assert (outcome, newest(live)) == ("pinned", "pin")
    assert attempts(losing) == 1


@on_one_backend
class TestRetiring:
    """Versions that retention has begun to delete; half of their blobs may be gone."""

    @pytest.fixture
    def retiring(self, store: Store) -> tuple[str, ...]:
        """Publish versions 1 and 2, and let retention retire the kinds of the first."""
        old = publish_arguments(store, version=1)
        publish(store, **old)
        publish(store, **publish_arguments(store, version=2))
        retiring = tuple(old["current"].values())
        act(store, "retention", retiring=retiring)
        return retiring

    @pytest.mark.parametrize("kept", [(), ("popularity",), ("cooc",)], ids=repr)
    def test_none_becomes_live_again(
        self, backend: Backend, store: Store, retiring: tuple[str, ...], kept: tuple[str, ...]
    ) -> None:
        arguments = publish_arguments(store, version=1)
        newer = publish_arguments(store, version=3)["current"]
        arguments["current"] |= {kind: newer[kind] for kind in kept}
        before = backend.contents()

        with pytest.raises(CandidateOvertakenError, match="retention is deleting") as stale:
            publish(store, **arguments)

        named = set(retiring) & set(arguments["current"].values())
        assert any(uri in str(stale.value) for uri in named)
        assert "Nothing was changed" in str(stale.value)
        assert backend.contents() == before

    @pytest.mark.parametrize("action", ["rollback", "pin", "release"])
    def test_no_other_action_makes_one_live_either(
        self, backend: Backend, store: Store, retiring: tuple[str, ...], action: Action
    ) -> None:
        before = backend.contents()
        current = {"popularity": retiring[0]}

        with pytest.raises(CandidateOvertakenError, match="retention is deleting"):
            act(store, action, current=current, retiring=())

        assert backend.contents() == before

    def test_other_versions_are_published_and_carry_it_forward(
        self, store: Store, retiring: tuple[str, ...]
    ) -> None:
        for number in (3, 4):
            outcome, live = publish(store, **publish_arguments(store, version=number))

            assert outcome == "published"
            assert live.publication is not None
            assert live.publication.retiring == retiring
            assert live.publication == live_now(store).publication
        with pytest.raises(CandidateOvertakenError, match="retention is deleting"):
            publish(store, **publish_arguments(store, version=1))

    def test_when_retention_is_done_a_version_that_was_made_again_is_published(
        self, store: Store, retiring: tuple[str, ...]
    ) -> None:
        with pytest.raises(CandidateOvertakenError):
            publish(store, **publish_arguments(store, version=1))
        act(store, "retention", retiring=())

        outcome, live = publish(store, **publish_arguments(store, version=1))

        assert outcome == "published"
        assert set(live.current.values()) == set(retiring)

    @pytest.mark.usefixtures("no_pause")
    @pytest.mark.parametrize("before", ["put_new", "compare_and_swap"])
    def test_retention_that_begins_between_the_decision_and_the_flip_wins(
        self, store: Store, before: str
    ) -> None:
        publish(store, **publish_arguments(store, version=1))
        wanted = publish_arguments(store, version=2)
        begins = partial(
            act,
            store,
            "retention",
            retiring=tuple(wanted["current"].values()),
            publish_id="retention",
        )

        with pytest.raises(CandidateOvertakenError, match="retention is deleting"):
            publish(Losing(store, begins, before=before), **wanted)

        assert newest(live_now(store)) == "retention"


@pytest.mark.parametrize(
    ("environment", "user"), [("alice", "alice"), (KeyError("uid"), None), (OSError("uid"), None)]
)
def test_a_flip_is_signed_by_user_and_host_also_where_the_user_has_no_name(
    monkeypatch: pytest.MonkeyPatch, environment: str | Exception, user: str | None
) -> None:
    """In a container a user may be no more than a number."""

    def getuser() -> str:
        if isinstance(environment, Exception):
            raise environment
        return environment

    monkeypatch.setattr(getpass, "getuser", getuser)
    monkeypatch.setattr(socket, "gethostname", lambda: "worker-3")

    assert actor() == f"{user or os.getuid()}@worker-3"


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


@on_one_backend
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
    assert attempts(deaf) == 1
    assert [publish_id for _, publish_id, _ in lineage(store)] == order[::-1]
    assert [generation for generation, _, _ in lineage(store)] == [*range(len(order), 0, -1)]


@on_one_backend
@pytest.mark.usefixtures("no_pause")
def test_a_lost_answer_below_a_later_window_is_still_a_success(store: Store) -> None:
    later = publish_arguments(store, day=TOMORROW, version=2)
    deaf = Deaf(store, lambda: publish(store, **later, publish_id="other"))

    outcome, _ = publish(deaf, **publish_arguments(store, day=DAY), publish_id="mine")

    assert outcome == "published"
    assert [publish_id for _, publish_id, _ in lineage(store)] == ["other", "mine"]


@on_one_backend
@pytest.mark.usefixtures("no_pause")
def test_forty_publishes_with_every_third_answer_lost_are_forty_flips(store: Store) -> None:
    """With re-reading and trying again alone they are 78."""
    deaf = Deaf(store, every=3)

    for number in range(40):
        outcome, _ = publish(deaf, **publish_arguments(store, version=number))
        assert outcome == "published"

    assert [generation for generation, _, _ in lineage(store)] == [*range(40, 0, -1)]


@on_one_backend
@pytest.mark.usefixtures("no_pause")
def test_a_conflict_without_end_is_given_up_with_the_old_manifest_live(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flips, "_ATTEMPTS", 3)
    publish(store, **publish_arguments(store, version=1))
    old = live_now(store)
    conflict = ManifestConflictError(store.uri(MANIFEST), expected="a", found="b")
    failing = Failing(store, *[conflict] * 99)

    with pytest.raises(ManifestConflictError) as given_up:
        publish(failing, **publish_arguments(store, version=2))

    assert given_up.value is conflict
    assert attempts(failing) == 3
    assert live_now(store) == old


@on_every_backend
def test_two_publishers_at_once_lose_nothing_and_no_reader_sees_half(backend: Backend) -> None:
    done = [PROCESSES.Event(), PROCESSES.Event()]

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


def act(
    store: Store,
    action: Action,
    *,
    window: Window | None = None,
    current: Mapping[str, str] | None = None,
    publish_id: str | None = None,
    **members: Any,
) -> None:
    """Flip to what is live, except for what is given."""

    def decide(live: Live | None) -> Change:
        assert live, "nothing is published"
        assert live.window
        return Change(action, window or live.window, current or live.current, **members)

    outcome, _ = flip(store, PLACE, decide=decide, why=WHY, publish_id=publish_id)
    assert outcome == "published"


def newest(live: Live | None) -> str | None:
    return live.publication.publish_id if live and live.publication else None


def attempts(store: Passing) -> int:
    """Return how often it was asked to flip."""
    return [call for call, _ in store.writes].count("compare_and_swap")
