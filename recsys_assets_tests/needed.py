"""What a test does when this machine lacks something that it needs.

Such tests form groups by what they need. `$RECSYS_REQUIRE` names those that this machine must have,
separated by commas: there the test fails. Elsewhere it is skipped and says why. What needs nothing
but time forms groups too, which run only where they are named.
"""

from __future__ import annotations

import os
from typing import Final, Literal, NoReturn, get_args

import pytest

VARIABLE: Final = "RECSYS_REQUIRE"
Group = Literal[
    "shared",
    "browser",
    "promtool",
    "postgres",
    "redis",
    "sail",
    "spark",
    "azurite",
    "gcs",
    "docs",
    "kubernetes",
    "nginx",
    "mount",
    "wheel",
    "extended",
    "long",
    "image",
    "systemd",
]
GROUPS: Final[tuple[str, ...]] = get_args(Group)
# The markers of groups that need time alone, and why they are skipped.
OF_TIME: Final[dict[Group, str]] = {
    "extended": "runs the suite, or much of it, in a copy of the project",
    "long": "takes ten seconds or so",
    "image": "builds the container image and runs it",
}


def required_groups() -> frozenset[str]:
    """Return the groups that may not be skipped.

    Raises:
        pytest.UsageError: `$RECSYS_REQUIRE` names one that does not exist, and so requires nothing.
    """
    named = {name.strip() for name in os.environ.get(VARIABLE, "").split(",")} - {""}
    if unknown := sorted(named - set(GROUPS)):
        raise pytest.UsageError(
            f"${VARIABLE} names no group of tests: {', '.join(unknown)}; "
            f"there are: {', '.join(GROUPS)}"
        )
    return frozenset(named)


def skip_unless_required(group: Group, reason: str) -> NoReturn:
    """Skip the test and say why; where its group is required, fail it."""
    if group in required_groups():
        pytest.fail(f"{reason}; ${VARIABLE} names {group}, so it has to be there")
    pytest.skip(f"{group}: {reason}")


def examples(number: int) -> int:
    """Return how many examples Hypothesis tries: a fifth of them where `long` is not required."""
    return number if "long" in required_groups() else max(5, number // 5)
