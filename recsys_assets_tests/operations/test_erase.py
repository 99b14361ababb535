"""An erased person is in no place any more, comes back through none, and nobody else goes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pytest

from recsys_assets.audit.candidates import audit_candidate
from recsys_assets.compute.profiles import Profile
from recsys_assets.compute.samples import Sample, hashes
from recsys_assets.config import Config, Surface
from recsys_assets.errors import (
    CandidateOvertakenError,
    EraseKeyError,
    InputError,
    StorageError,
)
from recsys_assets.events.accepted import accept_day, accepted_days
from recsys_assets.events.days import parse_day
from recsys_assets.events.erased import Erased, erased_of
from recsys_assets.kinds import KINDS
from recsys_assets.live.verify import verify_surface
from recsys_assets.operations.erase import Clock, Erasure, erase
from recsys_assets.operations.find_user import Held, find_user, in_raw, raw_days
from recsys_assets.operations.in_sinks import InSinks
from recsys_assets.operations.pointer import pin, plan_rollback, roll_back
from recsys_assets.operations.publish import publish_candidate
from recsys_assets.operations.retention import retain
from recsys_assets.places import Place
from recsys_assets.sinks.delivering import deliver
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.erasures import KEY_VARIABLE, EraseKey, erase_key, read_erased
from recsys_assets.storage.profiles import write_profile
from recsys_assets.storage.publications import Publication, Why, read_live
from recsys_assets.storage.store import Store
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import make_day
from recsys_assets_tests.storage.conftest import CrashError, Crashing, Passing, new_prefix, use
from recsys_assets_tests.storage.servers import Server

SECRET = "a secret that nobody knows"  # noqa: S105 (of a test)
PLACE = Place("demo", "home")
WHY = Why("run-1", "ada", "ticket 7")
ANN = "ann"
DAYS = [day(0), day(1), day(2)]


def raw(of: date) -> list[dict[str, Any] | str]:
    """Ann is there on the first day and the last; a session and a refused line hold her id."""
    others = [
        event("a", of=of, user_id="bob", session_id="bob-1"),
        event("b", of=of, user_id="bob", session_id="bob-1"),
        event("a", of=of, user_id="ann-marie", session_id="ann-marie-7"),
        event("b", of=of, user_id="ann-marie", session_id="ann-marie-7"),
    ]
    if of == day(1):
        return [*others]
    return [
        *others,
        event("a", of=of, user_id=ANN, session_id="s1"),
        event("b", of=of, user_id=ANN, session_id="s1"),
        event("b", of=of, user_id=None, session_id="web:ann/2"),
        event("a", of=of, user_id="bob", session_id="bob-2", request_id="r.ann.1"),
        json.dumps(event("a", of=of, user_id=ANN, v=2)),
    ]


class Site:
    """A base and a variant of two days, each day published, the last one live."""

    def __init__(self, project: Project, store: Store, *, is_made: bool = False) -> None:
        self.project, self.store = project, store
        self.config = self._configured()
        if is_made:
            return
        for of in DAYS:
            project.land(of, raw(of))
            for surface in self.surfaces:
                make_day(store, surface, of)
            deliver(store, self.config.root, self.surfaces[0], self.surfaces[0].sinks[0])

    def _configured(self) -> Config:
        loose = {"max_rejected_share": 1, "max_rejected_bytes_share": 1}
        files = {"name": "table", "type": "files"}
        base = {"gates": {"mode": "warn"}, "guardrails": loose, "sinks": [files]}
        variant = {"surface": "other", "variant_of": "demo/home", "window_days": 2}
        return self.project.configure(base, variant)

    @property
    def surfaces(self) -> list[Surface]:
        return [*self.config.surfaces]

    @property
    def key(self) -> EraseKey:
        return erase_key(PLACE)

    def erase(
        self, *ids: str, store: Store | None = None, seconds: float = 0, why: Why = WHY
    ) -> Erasure:
        entries = [self.key.entry(each) for each in ids or (ANN,)]
        return erase(
            store or self.store,
            self.surfaces,
            self.key,
            entries,
            why,
            ids=ids or (ANN,),
            reader_seconds=seconds,
            holders=[self.sinks],
        )

    @property
    def sinks(self) -> InSinks:
        return InSinks(self.store, self.config.root)

    def find(self, user: str = ANN) -> list[Held]:
        key = EraseKey(PLACE, b"k" * 16)
        erased = Erased(key, [key.entry(user)])
        holders = [self.sinks]
        return [*find_user(self.store, self.surfaces, erased, ids=[user], holders=holders)]

    def newest(self, number: int = 0) -> Publication:
        live = read_live(self.store, self.surfaces[number].place)
        assert live
        assert live.publication
        return live.publication

    def document(self, kind: str, number: int = 0) -> str:
        file, _ = self.store.open(self.store.key(self.newest(number).current[kind]))
        with file:
            return file.read().decode()


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, SECRET)


@pytest.fixture(scope="module")
def made(once: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the days once; each test begins with a copy of them, where they were."""
    Site(once, once.store)
    return shutil.copytree(once.folder / "var", tmp_path_factory.mktemp("made") / "var")


@pytest.fixture
def site(once: Project, made: Path, fast: None, secret: None) -> Site:
    shutil.rmtree(once.folder / "var")
    shutil.copytree(made, once.folder / "var")
    return Site(once, once.store, is_made=True)


def nothing_of_her(root: Path) -> bool:
    """Look through every byte below a root that is no compressed table or document."""
    texts = (path.read_bytes() for path in root.rglob("*.json"))
    return not any(b'"ann"' in text for text in texts)


def test_she_is_nowhere_and_nobody_else_is_gone(site: Site) -> None:
    sample = pl.DataFrame(dict.fromkeys(("user", "session", "item"), hashes(pl.Series([ANN]))))
    write_profile(
        site.store, PLACE, "f" * 64, Profile(day(0), {"rows": 1}, [1] * 24, Sample(sample, 0))
    )
    assert {each.place for each in site.find()} == set(layout.HOLD_IDS)

    done = site.erase()

    assert (done.days, done.events, done.held) == ([day(0), day(2)], 8, [])
    assert site.find() == []
    assert nothing_of_her(site.project.folder / "var")
    assert '"user_id":"ann-marie"' in site.document("implicit")
    assert all(site.find(user) for user in ("bob", "ann-marie"))
    frame = pl.concat(
        each.frame.collect() for each in accepted_days(site.store, PLACE, DAYS).values()
    )
    assert frame["user_id"].to_list().count("ann-marie") == 2 * len(DAYS)
    assert set(frame["session_id"]) == {"bob-1", "ann-marie-7"}


def test_a_day_is_the_same_as_if_it_were_read_again(site: Site) -> None:
    site.erase()
    base = site.surfaces[0]
    erased = erased_of(site.store, base)
    for of in DAYS:
        stored = Path(site.store.location(layout.canonical(PLACE, of))).read_bytes()
        with site.store.scratch() as scratch:
            parsed = parse_day(base, of, scratch=scratch, erased=erased)
            assert parsed.path.read_bytes() == stored
            total = parsed.events + parsed.redelivered + parsed.erased + parsed.refused.total()
            assert total == parsed.lines
            assert ANN not in str(parsed.first_refused).replace("ann-marie", "")


def test_only_days_that_held_her_have_another_fingerprint(site: Site) -> None:
    before = {of: each.fingerprint for of, each in accepted_days(site.store, PLACE, DAYS).items()}
    stale = {of: Path(site.store.location(layout.canonical(PLACE, of))).stat() for of in DAYS}

    site.erase()

    after = {of: each.fingerprint for of, each in accepted_days(site.store, PLACE, DAYS).items()}
    assert {of for of in DAYS if after[of] != before[of]} == {day(0), day(2)}
    untouched = Path(site.store.location(layout.canonical(PLACE, day(1)))).stat()
    assert untouched.st_mtime_ns == stale[day(1)].st_mtime_ns


def test_what_is_live_is_made_again_and_a_pin_stays(site: Site) -> None:
    before = [site.newest(number) for number in range(2)]
    pin(site.store, site.surfaces[0], WHY)

    done = site.erase()

    for number, was in enumerate(before):
        newest = site.newest(number)
        assert (newest.action, newest.window, newest.retiring) == ("erase", was.window, ())
        assert newest.current.keys() == was.current.keys()
        assert newest.current["content_sim"] == was.current["content_sim"]
        assert newest.current["implicit"] != was.current["implicit"]
        assert not done.remade[site.surfaces[number].name].failed
        assert (newest.who, newest.reason) == (WHY.who, WHY.reason)
    assert [site.newest(number).pinned for number in range(2)] == [True, False]
    # What is staged of each day is publishable: it is of the events as they are.
    assert make_day(site.store, site.surfaces[1], DAYS[-1]) == "unchanged"


def test_she_does_not_come_back_and_only_with_the_key_a_day_is_read(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.erase()
    assert make_day(site.store, site.surfaces[0], day(2)) == "unchanged"
    assert site.find() == []
    for value, said in (
        ("", "is not set"),
        ("another secret", "shorter"),
        ("x" * 20, "not the key"),
    ):
        monkeypatch.setenv(KEY_VARIABLE, value)
        with pytest.raises(EraseKeyError, match=said) as refused:
            erased_of(site.store, site.surfaces[1])
        assert not value or value not in str(refused.value)


def test_a_day_that_was_read_before_is_not_stored_after(site: Site) -> None:
    base = site.surfaces[0]
    with site.store.scratch() as scratch:
        parsed = parse_day(base, day(0), scratch=scratch)
        site.erase()
        with pytest.raises(StorageError, match="materialize the day again"):
            accept_day(site.store, PLACE, parsed)
    assert site.find() == []


def test_a_candidate_that_was_gathered_before_is_not_published_after(site: Site) -> None:
    base, of = site.surfaces[0], DAYS[-1]
    accepted = accepted_days(site.store, PLACE, [of])
    candidate = audit_candidate(site.store, base, of, accepted).value
    assert candidate
    site.erase()
    with pytest.raises(CandidateOvertakenError, match=r"generation 5 \(erase, ada\) came in"):
        publish_candidate(site.store, PLACE, replace(candidate, current={}), WHY)
    with pytest.raises(CandidateOvertakenError):
        publish_candidate(site.store, PLACE, candidate, WHY)
    assert site.find() == []


def test_a_day_that_is_stored_meanwhile_is_not_lost(site: Site) -> None:
    """It is accepted after the erasure has read the day, and before it writes it."""
    base, of = site.surfaces[0], day(0)
    late = event("late", of=of, user_id="eve")

    class Meanwhile(Passing):
        is_done = False

        def open(self, key: str) -> tuple[BinaryIO, int]:
            opened = super().open(key)
            if key == layout.canonical(PLACE, of) and not self.is_done:
                self.is_done = True
                raw_file = site.project.land(of, [late], part=".late")
                with self.scratch() as scratch:
                    erased = erased_of(self, base)
                    accept_day(self, PLACE, parse_day(base, of, scratch=scratch, erased=erased))
                raw_file.unlink()
            return opened

    assert site.erase(store=Meanwhile(site.store)).held == []
    frame = accepted_days(site.store, PLACE, [of])[of].frame.collect()
    assert frame["user_id"].to_list().count("eve") == 1
    assert site.find() == []


def test_going_back_across_it_is_refused_and_names_it(site: Site) -> None:
    base = site.surfaces[0]
    site.erase()
    with pytest.raises(StorageError, match=r"person who was erased \(generation 4, .*ticket 7"):
        plan_rollback(site.store, base, to="1")
    # Of the second day she was not, so it stays; nor is a catalog made of events.
    assert roll_back(site.store, plan_rollback(site.store, base, to="2"), WHY)[0] == "published"
    tags = plan_rollback(site.store, base, to="1", kind="content_sim")
    assert roll_back(site.store, tags, WHY)[0] == "published"

    verified = verify_surface(
        site.store, base, last=99, grace=timedelta(0), now=datetime.now(UTC) + timedelta(days=1)
    )
    assert verified.findings == []
    assert {uri.split("/")[-2] for uri in verified.erased} == {
        kind.name for kind in KINDS.values() if kind.reads == "events"
    }


def test_a_kind_that_cannot_be_made_leaves_the_manifest(site: Site) -> None:
    config = site.config
    kinds: dict[str, Any] = {kind: {} for kind in ("popularity", "content_sim")}
    site.config = site.project.configure({"artifacts": kinds})
    assert config

    done = site.erase()

    assert site.newest().current.keys() == {"popularity", "content_sim"}
    failed = done.remade["demo/home"].failed
    assert "has no implicit any more" in failed["implicit", day(2)]
    assert [each for each in site.find() if each.key.split("/")[2] == "home"] == []


def test_a_damaged_day_is_told_with_what_to_do(site: Site) -> None:
    site.store.replace(layout.canonical(PLACE, day(1)), b"damaged")
    for work in (site.find, site.erase):
        with pytest.raises(StorageError, match="Materialize canonical_events of 2026-01-02 again"):
            work()
    make_day(site.store, site.surfaces[0], day(1))
    assert site.erase().held == []


def test_readers_of_the_manifest_before_have_their_time(site: Site) -> None:
    old = set(site.newest().current.values())
    waited = list[bool]()
    now = datetime.now(UTC)

    def sleep(seconds: float) -> None:
        nonlocal now
        now += timedelta(seconds=seconds)
        waited.append(all(site.store.stat(site.store.key(uri)) for uri in old))

    entries = [site.key.entry(ANN)]
    clock = Clock(lambda: now, sleep)
    erase(site.store, site.surfaces[:1], site.key, entries, WHY, reader_seconds=30, clock=clock)

    assert len(waited) == 30
    assert all(waited)
    assert sum(bool(site.store.stat(site.store.key(uri))) for uri in old) == 1  # content_sim


def test_the_same_again_changes_nothing(site: Site) -> None:
    site.erase()
    before = site.project.blobs()
    done = site.erase(why=Why("run-2", "bea", "ticket 7, again"))
    assert site.project.blobs() == before
    assert (done.blobs, done.others, done.held) == (0, 0, [])


class Killed(Crashing):
    """Dies at its n-th write, deletions among them."""

    def delete(self, key: str) -> None:
        self._die(after=False)
        super().delete(key)
        self._die(after=True)


def test_killed_at_any_write_the_same_command_finishes_it(site: Site) -> None:
    """One root, many kills: each goes on from what the one before left, and gets further."""
    before = site.newest().current
    died = 0
    for number in range(200):
        passing = Killed(site.store, write=number // 2, after=bool(number % 2))
        try:
            done = site.erase(store=passing)
        except CrashError:
            died += 1
            continue
        break
    assert died > 10
    assert done.held == []
    assert site.find() == []
    newest = site.newest()
    assert (newest.action, newest.retiring) == ("erase", ())
    assert newest.current.keys() == before.keys()
    found = verify_surface(
        site.store, site.surfaces[0], last=99, grace=timedelta(0), now=datetime.now(UTC)
    )
    assert found.findings == []


def test_two_at_a_time_are_kept_apart(site: Site) -> None:
    """While one is deleting, another one, and retention, are refused; the same goes on."""

    class Meanwhile(Passing):
        seen: list[str]

        def delete(self, key: str) -> None:
            if key.startswith("objectstore") and site.newest().action != "publish":
                with pytest.raises(InputError, match="an erasure of demo/home is running"):
                    site.erase("bob", why=Why("run-2", "bea", "ticket 8"))
                with pytest.raises(InputError, match="an erasure of demo/home is running"):
                    retain(site.store, site.surfaces[0], site.config.retention, WHY)
                raise CrashError
            super().delete(key)

    with pytest.raises(CrashError):
        site.erase(store=Meanwhile(site.store))
    listed = read_erased(site.store, PLACE)
    assert listed
    assert len(listed.entries) == 1

    assert site.erase(why=Why("run-3", "ada", "ticket 7")).held == []
    assert site.find() == []


def test_raw_files_that_hold_her_are_told(site: Site) -> None:
    site.erase()
    base, erased = site.surfaces[0], erased_of(site.store, site.surfaces[0])
    assert erased
    days = raw_days(site.store, base, erased)
    assert days == [day(0), day(2)]
    found = [*in_raw(base, days, erased)]
    assert [(Path(each.uri).name, each.said) for each in found] == [
        (f"exposure.{of}.jsonl", "5 rows") for of in days
    ]


def test_nothing_says_who_it_was(site: Site) -> None:
    site.erase()
    stored = Path(site.store.location(layout.erased(PLACE))).read_text()
    assert ANN not in stored
    (entry,) = json.loads(stored)["entries"]
    assert entry["shape"] == "xxx"
    assert entry["hash"] == site.key.hash(ANN)
    assert SECRET not in repr(site.key)


def test_on_an_object_store(
    project: Project,
    s3_server: Server,
    fast: None,
    secret: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(s3_server, monkeypatch)
    site = Site(project, open_store(s3_server.url(new_prefix())))
    assert {each.place for each in site.find()} >= {"canonical", "rejected", "objectstore"}
    assert site.erase().held == []
    assert site.find() == []
