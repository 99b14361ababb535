"""What a test does when this machine lacks something that it needs."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip_or_fail_in_ci(reason: str) -> NoReturn:
    """Skip the test and say why; where `$CI` is set, fail it: nothing may be left out there."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; $CI is set, so it has to be there")
    pytest.skip(reason)
