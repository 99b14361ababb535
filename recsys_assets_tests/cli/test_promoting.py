"""`promote`: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsys_assets_tests.cli.conftest import NAME, REASON, done, refused, run
from recsys_assets_tests.shop import Shop, on


@pytest.fixture
def target(shop: Shop) -> Shop:
    """Give an empty root beside the one where three days are live."""
    return Shop(shop.root.with_name("target"), shop.time)


def words(shop: Shop, target: Shop, *more: str) -> list[str]:
    return ["promote", NAME, "--from", str(shop.root), "--to", str(target.root), *REASON, *more]


def test_it_says_what_it_copied_and_what_is_live(shop: Shop, target: Shop) -> None:
    result = done(run(*words(shop, target)))

    taken = f"generation 3 of file://{shop.root}, {on(3)},"
    there = f"live below file://{target.root}"
    size = sum(
        (shop.root / shop.store.key(uri)).stat().st_size for uri in shop.live.current.values()
    )
    copied = f"copied: 2 of 2 documents and 0 days of events (none), {size:,} bytes\n"
    assert result.stdout == f"{copied}{taken} is {there}, as generation 1\n"
    assert "demo/home done in " in result.stderr
    assert target.newest.reason.startswith("incident 7 (promoted from ")

    again = done(run(*words(shop, target)))

    assert again.stdout == f"{taken} is {there} already, as generation 1; nothing to do\n"


def test_a_dry_run_changes_nothing_and_says_what_would_have_to_be_forced(
    shop: Shop, target: Shop
) -> None:
    target.day(on(1), 7)
    before = target.files()

    result = done(run(*words(shop, target, "--dry-run")))

    lines = result.stdout.splitlines()
    assert lines[0].startswith("to copy: 2 of 2 documents and 0 days of events")
    assert "would become live below" in lines[1]
    assert lines[2].startswith("needs --force: generation 1 below ")
    assert lines[3:] == ["dry run: nothing was changed"]
    message = refused(run(*words(shop, target)), code=1)
    assert "Error: will not promote demo/home: generation 1 below " in message
    assert target.files() == before
    assert "as generation 2" in done(run(*words(shop, target, "--force"))).stdout


def test_json_says_the_same(shop: Shop, target: Shop) -> None:
    found = [
        json.loads(done(run(*words(shop, target, "--json", *more))).stdout)
        for more in (["--dry-run"], [], [])
    ]

    assert [(each["outcome"], each["generation_there"]) for each in found] == [
        ("dry run", 0),
        ("published", 1),
        ("unchanged", 1),
    ]
    assert found[1]["from"] == f"file://{shop.root}"
    assert found[1]["to"] == f"file://{target.root}"
    assert found[1]["generation"] == 3
    assert found[1]["current"] == dict(target.live.current)
    assert found[1]["copied"]["blobs"] == ["popularity", "cooc"]
    assert found[1]["needs_force"] is None


def test_a_root_is_relative_to_the_working_directory(
    shop: Shop, target: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop.root.parent)

    done(run("promote", NAME, "--from", "root", "--to", "target", *REASON))

    assert target.newest.promoted_from is not None
    assert target.newest.promoted_from.root == f"file://{shop.root}"


@pytest.mark.parametrize("option", ["--from", "--to"])
def test_a_root_with_a_secret_is_refused_and_not_repeated(
    shop: Shop, tmp_path: Path, option: str
) -> None:
    other = "--to" if option == "--from" else "--from"

    message = refused(
        run("promote", NAME, option, "s3://key:secret@bucket/x", other, str(tmp_path), *REASON),
        code=2,
    )

    assert message.startswith(f"Error: {option}: ")
    assert "secret" not in message
