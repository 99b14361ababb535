from __future__ import annotations

import pytest

from recsys_assets_tests.needed import skip_or_fail_in_ci


@pytest.mark.parametrize(
    ("ci", "outcome", "said"),
    [
        (None, pytest.skip.Exception, "tea is absent$"),
        ("", pytest.skip.Exception, "tea is absent$"),
        ("true", pytest.fail.Exception, r"tea is absent; \$CI is set, so it has to be there$"),
    ],
)
def test_who_lacks_something_is_told_and_ci_fails(
    monkeypatch: pytest.MonkeyPatch, ci: str | None, outcome: type[BaseException], said: str
) -> None:
    monkeypatch.delenv("CI", raising=False)
    if ci is not None:
        monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match=said):
        skip_or_fail_in_ci("tea is absent")
