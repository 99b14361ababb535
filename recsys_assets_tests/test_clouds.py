from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from recsys_assets.storage import open_store
from recsys_assets_tests import clouds
from recsys_assets_tests.storage.conftest import new_prefix, use
from recsys_assets_tests.storage.servers import OWN, Server, own


@pytest.fixture(autouse=True)
def _nobody_s(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OWN.values():
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def bucket(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name a prefix for the tests that somebody has something in."""
    url = s3_server.url(new_prefix())
    use(s3_server, monkeypatch)
    monkeypatch.setenv("RECSYS_TEST_S3", url)
    open_store(url).put_new("theirs", b"one")
    return url


def instead_of_tests(monkeypatch: pytest.MonkeyPatch, then: Callable[[], bool]) -> list[str]:
    """Write two objects where the tests would, then do something else; say where it was."""
    prefixes = []

    def passes(scheme: str, prefix: str) -> bool:
        prefixes.append(prefix)
        for key in ("one", "a/with space%20.json"):
            assert open_store(prefix).put_new(key, b"one")
        return then()

    monkeypatch.setattr(clouds, "_passes", passes)
    return prefixes


def fail() -> bool:
    return False


def interrupt() -> bool:
    raise KeyboardInterrupt


def end() -> bool:
    os.kill(os.getpid(), signal.SIGTERM)
    raise AssertionError("not reached")


@pytest.mark.parametrize(
    ("then", "code"), [(lambda: True, 0), (fail, 1), (interrupt, 130), (end, 130)]
)
def test_what_was_written_is_deleted_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    bucket: str,
    then: Callable[[], bool],
    code: int,
) -> None:
    prefixes = instead_of_tests(monkeypatch, then)
    former = signal.getsignal(signal.SIGTERM)

    try:
        assert clouds.main(["--yes"]) == code
    finally:
        signal.signal(signal.SIGTERM, former)

    (prefix,) = prefixes
    assert prefix.startswith(f"{bucket}/recsys-test-")
    assert [found.key for found in open_store(bucket).list("")] == ["theirs"]
    said = capsys.readouterr().out
    assert said.index(f"  {prefix}/") < said.index("Deleting ")
    assert said.endswith("2 objects were deleted, 0 are left.\n")


def test_without_a_yes_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bucket: str
) -> None:
    prefixes = instead_of_tests(monkeypatch, fail)

    assert clouds.main([]) == 2  # pytest's input is no terminal

    assert prefixes == []
    assert "Nothing was written." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (None, "No bucket is named: set RECSYS_TEST_S3, "),
        ("gs://bucket", "$RECSYS_TEST_S3 is no s3://bucket or "),
        ("s3://", "$RECSYS_TEST_S3 is no s3://bucket or "),
    ],
)
def test_what_is_no_bucket_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    url: str | None,
    said: str,
) -> None:
    if url:
        monkeypatch.setenv("RECSYS_TEST_S3", url)

    assert clouds.main(["--yes"]) == 2

    assert capsys.readouterr().err.startswith(said)


def test_the_tests_write_where_they_are_told_with_the_credentials_of_the_shell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECSYS_TEST_GCS", "gs://bucket/prefix/")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/of/mine")

    store = own("gs")

    assert store
    assert store.url("a b") == "gs://bucket/prefix/a b"
    assert store.environment()["GOOGLE_APPLICATION_CREDENTIALS"] == "/of/mine"
    assert own("s3") is None


def test_every_test_that_it_runs_is_there() -> None:
    for test in clouds._TESTS:
        path, _, name = test.partition("::")
        assert f"def {name}" in (clouds.HERE / path).read_text(encoding="utf-8")
