"""The whole project while the world around it breaks.

However it breaks, what was live stays live and whole, an error says what happened, nothing outside
the root is touched, and doing it again once the world is whole finishes.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import gc
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from recsys_assets.config import Config, load_config
from recsys_assets.definitions import build_definitions
from recsys_assets.defs.materialize import RangeResult, materialize
from recsys_assets.places import Place
from recsys_assets.storage import flips, layout, objects, open_store
from recsys_assets.storage.publications import Live, Publication, history, read_live
from recsys_assets.storage.registry import verify_blob, version_of
from recsys_assets_tests.needed import skip_unless_required
from recsys_assets_tests.project import Project, day, event, expected_versions, golden_surface
from recsys_assets_tests.shop import make_day
from recsys_assets_tests.storage import servers
from recsys_assets_tests.storage.conftest import at_once, new_prefix, use
from recsys_assets_tests.storage.proxy import KIND, Proxy, Request, Treatment, always, proxy_before
from recsys_assets_tests.storage.servers import Server
from recsys_assets_tests.test_golden import GOLDEN, load_case

PLACE = Place("demo", "home")
YESTERDAY, TODAY = day(0), day(1)
# Every way of writing, in few assets: events give one, the catalog the other.
SURFACE: dict[str, Any] = {"artifacts": {"popularity": {}, "content_sim": {}}}


@pytest.fixture
def config(project: Project) -> Config:
    """A project on the local disk, with yesterday published and today landed."""
    return landed(project, project.configure(SURFACE))


def landed(project: Project, config: Config) -> Config:
    project.land(YESTERDAY, [event("a"), event("b")])
    project.land(TODAY, [event("b", of=TODAY), event("c", of=TODAY)])
    assert make_day(project.store, config.surfaces[0], YESTERDAY) == "published"
    return config


def live(config: Config) -> Live | None:
    """Return what is live, and make sure of every URI in it and of its history."""
    store = open_store(config.root)
    found = read_live(store, PLACE)
    if found:
        for uri in found.current.values():
            key = store.key(uri)
            verify_blob(store, key, key.rpartition("/")[2].removesuffix(".json"))
        generations = [publication.generation for publication in history(store, found)]
        assert generations == [*range(len(generations), 0, -1)]
    return found


def chain(config: Config) -> list[Publication]:
    found = live(config)
    return list(history(open_store(config.root), found)) if found else []


def around(folder: Path) -> dict[str, bytes | None]:
    """Return all that is in the project's folder but not below its root."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.relative_to(folder).parts[0] != "var"
    }


def said(report: RangeResult) -> str:
    return "\n".join(failure.description for failure in report.failures)


def assert_finishes(project: Project, config: Config, of: date = TODAY) -> None:
    report = project.materialize(config, [of])
    assert report.failures == []
    now = live(config)
    assert now
    assert now.window
    assert now.window.end == of + timedelta(days=1)


# A local disk


class FullDisk:
    """Fails one kind of call below a root, the n-th and all that follow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self._root = root
        self.kind, self.at, self.calls, self.full = "", 0, 0, False
        for module, name in [(os, "link"), (os, "replace"), (os, "fsync"), (os, "mkdir")]:
            monkeypatch.setattr(module, name, self._failing(name, getattr(module, name)))
        monkeypatch.setattr(io, "open", self._failing("open", io.open))
        monkeypatch.setattr(builtins, "open", io.open)

    def start(self, kind: str, at: int) -> None:
        self.kind, self.at, self.calls, self.full = kind, at, 0, False

    def stop(self) -> None:
        self.kind = ""

    def _failing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if name == self.kind and self._writes_below_root(name, *arguments):
                self.calls += 1
                if self.calls > self.at:
                    self.full = True
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments, **options)

        return call

    def _writes_below_root(self, name: str, what: Any, mode: Any = "r", *_: Any) -> bool:
        if name == "open" and not set("wxa+") & set(str(mode)):
            return False
        if isinstance(what, int):
            with contextlib.suppress(OSError):
                what = Path(f"/proc/self/fd/{what}").readlink()
        return self._root in Path(str(what)).parents or self._root == Path(str(what))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "stride"), [("link", 1), ("replace", 2), ("fsync", 9), ("open", 5), ("mkdir", 17)]
)
def test_a_disk_that_gets_full_at_any_call_keeps_what_is_live(
    project: Project,
    config: Config,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    stride: int,
) -> None:
    root, before, outside = project.folder / "var", live(config), around(project.folder)
    shutil.copytree(root, saved := tmp_path_factory.mktemp("saved") / "var")
    disk = FullDisk(monkeypatch, root)
    failed = 0
    for at in range(0, 1000, stride):
        disk.start(kind, at)
        report = project.materialize(config, [TODAY])
        disk.stop()
        if not disk.full:
            break
        if not report.succeeded:  # a directory that is there need not be made
            failed += 1
            assert "No space left on device" in said(report)
        if report.succeeded or "may not survive a power cut" in said(report):
            assert is_of(live(config), TODAY)
        else:
            assert live(config) == before
        assert around(project.folder) == outside
        # As the assets do it, without Dagster, which every other test here asks to finish.
        assert make_day(project.store, config.surfaces[0], TODAY) in {"published", "unchanged"}
        assert is_of(live(config), TODAY)
        shutil.rmtree(root)
        shutil.copytree(saved, root)

    assert report.succeeded
    assert failed >= {"link": 5, "replace": 3, "fsync": 5, "open": 2, "mkdir": 1}[kind]


def test_a_flip_that_may_not_last_is_said_to_be_one(
    project: Project, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk's own words would not say that the day is live already, nor what to do."""
    directory, sync = project.folder / "var/registry/current/demo/home", os.fsync

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == directory:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fsync)
        report = project.materialize(config, [TODAY])

    assert is_of(live(config), TODAY)
    assert not report.succeeded
    assert "was flipped but may not survive a power cut" in said(report)
    assert "Publish the same day again" in said(report)
    assert_finishes(project, config)
    assert len(chain(config)) == 2


@pytest.fixture
def small_disk(project: Project) -> Iterator[Path]:
    """A file system of half a megabyte, mounted as the root's parent."""
    directory = project.folder / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(directory)]
    try:
        mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        skip_unless_required("mount", "only where this process may mount a file system")
    yield directory
    gc.collect()  # what failed may be garbage that still has files open
    subprocess.run(["umount", str(directory)], check=True)


def test_a_really_full_disk_keeps_what_is_live(
    project: Project, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writers of Parquet and documents make their own system calls, so they are asked too."""
    monkeypatch.setenv("RECSYS_ROOT", str(small_disk / "root"))
    config = project.configure(SURFACE)
    project.land(YESTERDAY, [event("a")])
    project.land(TODAY, [event(f"item {n}", of=TODAY) for n in range(3000)])
    assert project.materialize(config, [YESTERDAY]).succeeded
    before, failed = live(config), 0
    free = shutil.disk_usage(small_disk).free
    for left in range(4096, free, 24 * 1024):
        (small_disk / "balloon").write_bytes(bytes(shutil.disk_usage(small_disk).free - left))
        report = project.materialize(config, [TODAY])
        (small_disk / "balloon").unlink()
        if report.succeeded:
            break
        failed += 1
        assert "o space left on device" in said(report), said(report)
        assert live(config) == before

    assert failed >= 2
    assert_finishes(project, config)


# As root, the permission bits of files mean nothing while these capabilities are there.
_WITHOUT_PRIVILEGES = """
import ctypes, os, sys
if os.geteuid() == 0:
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
"""
_MATERIALIZE = """
import json, sys
from recsys_assets_tests.test_hostile import materialize_with_each_closed
print(json.dumps(materialize_with_each_closed(*sys.argv[1:])))
"""


def materialize_alone(config_file: str | Path, of: date) -> tuple[str, str]:
    """Materialize a day as another host would: all of it in this process, from the files alone."""
    config = load_config(config_file)
    with dg.DagsterInstance.ephemeral() as instance:
        report = materialize(
            build_definitions(config),
            config.surfaces[0],
            [of],
            store=open_store(config.root),
            instance=instance,
        )
        return report.outcome(of), said(report)


def materialize_with_each_closed(
    config_file: str, *paths: str
) -> dict[str, tuple[str, str, str | None]]:
    """Materialize today with one directory after the other read-only, or one file unreadable.

    Returns outcome, description of the failures, and what is live afterwards, by path.
    """
    config, results = load_config(config_file), {}
    for path in map(Path, paths):
        mode = path.stat().st_mode
        path.chmod(0o555 if path.is_dir() else 0)
        outcome, text = materialize_alone(config_file, TODAY)
        path.chmod(mode)
        now = live(config)
        results[str(path)] = outcome, text, now.tag if now else None
    return results


# In the order of a day, since each leaves what comes before it done.
CLOSED = [
    "raw/demo/home/exposure.2026-01-02.jsonl",
    "var/.scratch",
    "var/canonical/demo/home/exposures",
    "var/objectstore/demo/home/popularity",
    "var/registry/records/demo/home/popularity",
    "var/staged/demo/home/default/popularity",
    "catalog.csv",
    "var/registry/publications/demo/home",
    "var/registry/current/demo/home",
]


@pytest.mark.long
def test_what_may_not_be_read_or_written_is_named_and_keeps_what_is_live(
    project: Project, config: Config
) -> None:
    before, outside = live(config), around(project.folder)
    paths = [str(project.folder / name) for name in CLOSED]

    ran = subprocess.run(
        [sys.executable, "-c", _WITHOUT_PRIVILEGES, _MATERIALIZE, project.config_file, *paths],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    results = json.loads(ran.stdout.splitlines()[-1])
    assert list(results) == paths
    for path, (outcome, text, tag) in results.items():
        assert outcome == "blocked", path
        assert "Permission denied" in text
        assert path in text
        assert before
        assert tag == before.tag
    assert around(project.folder) == outside
    assert_finishes(project, config)


@pytest.fixture
def keys_of_today(
    project: Project, config: Config, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What publishing today writes, by layer; found in a copy of the project."""
    del config  # it is in the files
    copy = Project(tmp_path_factory.mktemp("copy") / "project", project.instance)
    shutil.copytree(project.folder, copy.folder, ignore=shutil.ignore_patterns("var"))
    copied = load_config(copy.config_file)
    assert make_day(copy.store, copied.surfaces[0], TODAY) == "published"
    made = live(copied)
    assert made
    version = version_of(made.current["popularity"])
    return {
        "canonical": layout.canonical(PLACE, TODAY),
        "blob": layout.blob(PLACE, "popularity", version),
        "record": layout.record(PLACE, "popularity", version),
        "staged": layout.staged(PLACE, "default", "popularity", TODAY),
        "manifest": layout.manifest(PLACE),
    }


@pytest.mark.parametrize("layer", ["canonical", "blob", "record", "staged", "manifest"])
def test_a_directory_where_a_file_should_be_is_named_and_left_alone(
    project: Project, config: Config, keys_of_today: dict[str, str], layer: str
) -> None:
    at = project.folder / "var" / keys_of_today[layer]
    if layer == "manifest":
        at.unlink()
    before = live(config) if layer != "manifest" else None
    (at / "theirs").mkdir(parents=True)
    outside = around(project.folder)

    report = project.materialize(config, [TODAY])

    assert not report.succeeded
    assert str(at) in said(report)
    assert "directory" in said(report).lower()
    if layer != "manifest":
        assert live(config) == before
    assert [path.name for path in at.iterdir()] == ["theirs"]
    assert around(project.folder) == outside
    shutil.rmtree(at)
    assert_finishes(project, config)


def test_a_clock_that_was_set_back_does_not_decide_what_is_newer(
    project: Project, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Wrong:
            return cls(1999, 1, 1, tzinfo=tz)

    with monkeypatch.context() as set_back:
        set_back.setattr(flips, "datetime", Wrong)
        assert_finishes(project, config)

    newest, oldest = chain(config)
    assert (newest.generation, newest.parent) == (2, oldest.publish_id)
    assert newest.published_at < oldest.published_at
    assert project.materialize(config, [YESTERDAY]).outcome(YESTERDAY) == "superseded"
    project.land(TODAY, [event("d", of=TODAY)])
    assert_finishes(project, config)
    assert [publication.generation for publication in chain(config)] == [3, 2, 1]


@pytest.mark.parametrize("damage", ["deleted", "altered", "cut short"])
def test_a_blob_that_changed_behind_our_back_is_found_and_can_be_made_again(
    project: Project, config: Config, damage: str
) -> None:
    store, before = open_store(config.root), live(config)
    assert before
    uri = before.current["popularity"]
    path = Path(store.location(store.key(uri)))
    written = path.read_bytes()
    changed = {
        "deleted": None,
        "altered": written.replace(b'"a"', b'"z"'),
        "cut short": written[:-9],
    }[damage]
    path.unlink()
    if changed is not None:
        path.write_bytes(changed)

    with dg.DagsterInstance.ephemeral() as instance:
        job = build_definitions(config).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=instance,
            partition_key=str(YESTERDAY),
            asset_selection=[dg.AssetKey(["demo", "home", "manifest"])],
            raise_on_error=False,
        )
        (check,) = result.get_asset_check_evaluations()
    assert not result.success
    assert not check.passed
    assert uri in str(check.metadata)
    assert read_live(store, PLACE) == before

    if changed is not None:  # what is there is never overwritten: somebody has to look at it
        report = project.materialize(config, [YESTERDAY])
        assert not report.succeeded
        assert uri in said(report)
        assert "Move it away" in said(report)
        assert path.read_bytes() == changed
        path.unlink()
    assert_finishes(project, config, YESTERDAY)
    assert path.exists()


def test_two_hosts_that_publish_a_day_at_once_leave_one_publication(
    project: Project, config: Config
) -> None:
    outside = around(project.folder)

    answers = at_once(materialize_alone, [(project.config_file, TODAY)] * 2)

    assert_one_publication_of_two(config, answers)
    assert around(project.folder) == outside
    assert_finishes(project, config)


def assert_one_publication_of_two(config: Config, answers: list[tuple[str, str]]) -> None:
    """Equal versions: the second finds them live, or is told to look again."""
    outcomes = sorted(outcome for outcome, _ in answers)
    assert outcomes in (["published", "unchanged"], ["blocked", "published"]), answers
    for outcome, text in answers:
        assert (outcome == "blocked") == bool(text)
        assert "materialize manifest of the day again" in text or outcome != "blocked"
    assert [publication.window.start for publication in chain(config)] == [TODAY, YESTERDAY]


# An object store


@pytest.fixture
def s3(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL for a project's root, which load_config takes from here on."""
    use(s3_server, monkeypatch)
    url = s3_server.url(new_prefix())
    monkeypatch.setenv("RECSYS_ROOT", f"{url}/root")
    return url


@pytest.fixture
def proxy(s3: str, s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    del s3  # its environment is changed here
    with proxy_before(s3_server.endpoint) as running:
        use(s3_server, monkeypatch, running.url)
        yield running


@pytest.fixture
def s3_config(project: Project, s3: str) -> Config:
    """A project all of whose data is in S3, with yesterday published and today landed."""
    surface = SURFACE | {
        "source": {"path": f"{s3}/raw"},
        "catalog": {"path": f"{s3}/catalog.csv"},
    }
    config = project.configure(surface)
    raw = open_store(s3)
    raw.replace("catalog.csv", (project.folder / "catalog.csv").read_bytes())
    for of in (YESTERDAY, TODAY):
        path = project.land(of, [event("a", of=of), event(str(of), of=of)])
        raw.replace(f"raw/demo/home/{path.name}", path.read_bytes())
        path.unlink()
    assert project.materialize(config, [YESTERDAY]).succeeded
    return config


@pytest.mark.parametrize("name", ["exotic", "synth20k"])
def test_a_project_in_s3_gives_the_reference_versions(project: Project, s3: str, name: str) -> None:
    case = load_case(GOLDEN, name)
    store, raw = open_store(s3), GOLDEN / case["raw"]
    for path in sorted(raw.rglob("*")):
        if path.is_file():
            store.replace(f"raw/{path.relative_to(raw)}", path.read_bytes())
    surface = golden_surface(case, raw, None) | {"source": {"path": f"{s3}/raw"}}
    if case["catalog"]:
        catalog = f"{s3}/{Path(case['catalog']).name}"
        store.replace(Path(case["catalog"]).name, (GOLDEN / case["catalog"]).read_bytes())
        surface["catalog"] = {"path": catalog}
    config, expected = project.configure(surface), expected_versions(case)
    before = around(project.folder)

    report = project.materialize(config, sorted({of for of, _ in expected}))

    assert report.failures == []
    assert config.root.startswith("s3://")
    actual = {(of, kind): report.metadata[of][kind]["version"] for of, kind in expected}
    assert actual == expected
    found = read_live(open_store(config.root), config.surfaces[0].place)
    assert found
    assert {uri.split("://")[0] for uri in found.current.values()} == {"s3"}
    assert around(project.folder) == before
    assert not (project.folder / "var").exists()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_RETRY", {"max_retries": 0})


@pytest.mark.slow
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("failure", ["503", "lost answer"])
def test_a_store_that_goes_down_in_the_middle_keeps_what_is_live(
    project: Project, proxy: Proxy, s3_config: Config, failure: str
) -> None:
    """The places where it goes down are spread over the requests of a day."""
    down = {
        "503": Treatment(status=503, body="<Code>SlowDown</Code>"),
        "lost answer": Treatment(lose_answer=True),
    }[failure]
    before, failed, at = live(s3_config), 0, 0
    while True:
        first, proxy.treat = len(proxy.requests), always(KIND)

        def treat(_: Request, after: int = first + at) -> Treatment:
            return down if len(proxy.requests) > after else KIND

        proxy.treat = treat
        report = project.materialize(s3_config, [TODAY])
        proxy.treat = always(KIND)
        if report.succeeded:
            break
        failed += 1
        assert s3_config.root.removesuffix("/root") in said(report)
        now = live(s3_config)
        assert now == before or (failure == "lost answer" and is_of(now, TODAY))
        at += 11

    assert failed >= 4
    assert_finishes(project, s3_config)
    assert len(chain(s3_config)) == 2


def is_of(found: Live | None, of: date) -> bool:
    return bool(found and found.window and found.window.end == of + timedelta(days=1))


def test_a_lost_answer_of_the_flip_is_a_publish_like_any_other(
    project: Project, proxy: Proxy, s3_config: Config
) -> None:
    lost: list[Request] = []

    def treat(request: Request) -> Treatment:
        if request.method == "PUT" and request.path.endswith("manifest.json") and not lost:
            lost.append(request)
            return Treatment(lose_answer=True)
        return KIND

    proxy.treat = treat
    report = project.materialize(s3_config, [TODAY])

    assert len(lost) == 1
    assert report.failures == []
    assert report.outcome(TODAY) == "published"
    assert [publication.generation for publication in chain(s3_config)] == [2, 1]


def test_two_hosts_that_publish_a_day_at_once_in_s3_leave_one_publication(
    project: Project, s3_config: Config
) -> None:
    answers = at_once(materialize_alone, [(project.config_file, TODAY)] * 2)

    assert_one_publication_of_two(s3_config, answers)
    assert_finishes(project, s3_config)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("variable", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"])
def test_no_event_of_a_run_that_was_denied_holds_a_secret(
    project: Project,
    s3_config: Config,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    variable: str,
) -> None:
    before = live(s3_config)
    with monkeypatch.context() as wrong:
        wrong.setenv(variable, "anotherrevealed")
        report = project.materialize(s3_config, [TODAY])

    assert "access was denied (403" in said(report)
    assert "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in said(report)
    events = "".join(
        repr(entry) for run in report.run_ids for entry in project.instance.all_logs(run)
    )
    assert "access was denied (403" in events
    printed = capfd.readouterr()
    for secret in (servers.SECRET, servers.KEY_ID, "revealed", "RequestId", "<Code>"):
        assert secret not in events + printed.out + printed.err
    assert live(s3_config) == before
    assert_finishes(project, s3_config)
