from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from recsys_assets_tests.needed import (
    GROUPS,
    OF_TIME,
    VARIABLE,
    required_groups,
    skip_unless_required,
)

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
SKIPPED: Final = (pytest.skip.Exception, "^promtool: tea is absent$")
FAILED: Final = (
    pytest.fail.Exception,
    r"^tea is absent; \$RECSYS_REQUIRE names promtool, so it has to be there$",
)


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (None, SKIPPED),
        ("", SKIPPED),
        ("shared,browser", SKIPPED),
        ("promtool", FAILED),
        ("shared, promtool ,", FAILED),
    ],
)
def test_what_is_absent_skips_a_test_and_fails_it_where_its_group_is_required(
    monkeypatch: pytest.MonkeyPatch,
    value: str | None,
    outcome: tuple[type[BaseException], str],
) -> None:
    monkeypatch.setenv("CI", "true")  # which hosted runners set, and which decides nothing
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    exception, said = outcome

    with pytest.raises(exception, match=said):
        skip_unless_required("promtool", "tea is absent")


def test_a_group_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "shared,promtol")

    with pytest.raises(pytest.UsageError, match=f"promtol; there are: {', '.join(GROUPS)}$"):
        required_groups()


def run(required: str, *selected: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *selected],
        cwd=ROOT,
        env={**os.environ, VARIABLE: required, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_needs_time_is_skipped_where_nobody_asks_for_it() -> None:
    of_all = [str(HERE / name) for name in ("test_extending.py", "test_deploy.py")]
    done = run("", "-m", " or ".join(OF_TIME), *of_all)

    for group, reason in OF_TIME.items():
        assert re.search(rf"SKIPPED \[\d\] .*: {group}: {reason}", done.stdout)
    assert re.fullmatch(r"\d skipped, \d+ deselected in .*", done.stdout.splitlines()[-1])


def test_a_run_with_an_unknown_group_ends_before_its_first_test() -> None:
    done = run("promtol", str(HERE / "test_needed.py"))

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "names no group of tests: promtol; there are: shared, " in done.stderr
    assert "passed" not in done.stdout


def test_no_test_is_skipped_in_another_way() -> None:
    """A skip that belongs to no group could not be required of any machine."""
    ways = re.compile(r"pytest\.(?:skip\(|importorskip)|mark\.skip|\bskipif\b|unittest")
    found = {
        path.name
        for path in HERE.rglob("*.py")
        if ways.search(path.read_text(encoding="utf-8")) and path != Path(__file__)
    }

    assert found == {"needed.py"}


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_is_used_and_described(group: str) -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in HERE.rglob("*.py"))
    way = (
        rf"pytest\.mark\.{group}\b" if group in OF_TIME else rf'skip_unless_required\(\s*"{group}"'
    )
    assert re.search(way, tests.replace("tea is absent", ""))

    text = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| `{group}` \|", text, re.MULTILINE)


def test_ci_requires_every_group_but_the_one_that_takes_rights() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    (named,) = re.findall(rf"^export {VARIABLE}=(\S+)$", script, re.MULTILINE)

    assert set(named.split(",")) == set(GROUPS) - {"mount"}
