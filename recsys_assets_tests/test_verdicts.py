"""What a check is, and what it finds out about a day."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recsys_assets.config import Guardrails
from recsys_assets.verdicts import (
    Check,
    Verdict,
    at_least,
    at_most,
    complete,
    failed,
    guardrail,
    judge,
    passed,
    skipped,
)


def check(name: str, found: Verdict | None, *, blocks: bool = True) -> Check:
    """Build a check that finds the same on every day."""
    return Check(name, ["manifest"], f"About {name}.", "a-page", lambda _: found, blocks=blocks)


@pytest.mark.parametrize(
    ("name", "limit", "within", "over"),
    [
        ("max_artifact_bytes", 1000, 1000, 1001),
        ("max_oversized_session_share", 0.5, 0.5, 0.500001),
        ("max_oversized_session_share", 0, 0.0, 0.000001),
    ],
)
def test_a_value_at_the_limit_passes_and_one_above_fails(
    name: str, limit: float, within: float, over: float
) -> None:
    limits = Guardrails.model_validate({name: limit})
    sample = [{"session_id": "bot"}]

    good = at_most(limits, name, within, rows=sample)
    bad = at_most(limits, name, over, rows=sample)

    assert (good.passed, good.failures, good.rows) == (True, 0, ())
    assert (bad.passed, bad.failures, bad.rows) == (False, 1, sample)
    assert bad.numbers == {"value": over, "limit": limit}


def test_an_exceeded_limit_names_the_knob_the_limit_and_the_value() -> None:
    verdict = at_most(Guardrails.model_validate({}), "max_artifact_bytes", 12_345_678)

    assert verdict.description == ("guardrails.max_artifact_bytes is 10,000,000, found 12,345,678")


def test_a_count_at_the_lower_limit_passes_and_one_below_fails() -> None:
    limits = Guardrails.model_validate({"min_events": 10})

    good = at_least(limits, "min_events", 10, because="; all is well")
    bad = at_least(limits, "min_events", 9, because="; something was refused")

    assert (good.outcome, good.failures) == ("passed", 0)
    assert (bad.outcome, bad.failures) == ("failed", 1)
    assert bad.description == "guardrails.min_events is 10, found 9; something was refused"
    assert bad.numbers == {"value": 9, "limit": 10}


def test_only_what_failed_or_warned_has_not_passed() -> None:
    outcomes = {
        found.outcome: found.passed
        for found in (passed(), skipped("nothing"), failed("bad"), Verdict("warned"))
    }

    assert outcomes == {"passed": True, "skipped": True, "failed": False, "warned": False}


def test_a_check_that_does_not_block_turns_a_failure_into_a_warning_and_nothing_else() -> None:
    found = [passed(rows=1), skipped("nothing to see"), failed("bad", failures=2, rows=[{"a": 1}])]

    assert [check("x", each, blocks=True).judge(None) for each in found] == found
    assert [check("x", each, blocks=False).judge(None) for each in found] == [
        *found[:2],
        replace(found[2], outcome="warned"),
    ]


def test_verdicts_are_those_of_the_checks_by_name() -> None:
    checks = [check("b", passed(rows=2)), check("a", failed("bad")), check("c", None)]

    assert judge(checks, None) == {"b": passed(rows=2), "a": failed("bad")}


def test_a_declared_check_that_gave_no_verdict_fails() -> None:
    checks = [check("first", passed()), check("forgotten", None), check("last", passed())]

    verdicts = complete(checks, {"last": passed(), "first": passed()})

    assert list(verdicts) == ["first", "forgotten", "last"]
    assert verdicts["first"] == verdicts["last"] == passed()
    assert verdicts["forgotten"].outcome == "failed"
    assert verdicts["forgotten"].description.startswith("check forgotten gave no verdict, so the ")


def test_even_a_check_that_does_not_block_must_give_a_verdict() -> None:
    verdicts = complete([check("window", None, blocks=False)], {})

    assert verdicts["window"].outcome == "failed"


def test_a_verdict_of_a_check_that_is_not_declared_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"checks that are not declared: \['b', 'c'\]"):
        complete([check("a", passed())], {"c": passed(), "a": passed(), "b": failed("bad")})


def test_a_guardrail_that_is_no_key_of_the_configuration_cannot_be_declared() -> None:
    with pytest.raises(KeyError):
        guardrail("max_evnts", ["manifest"], lambda _: passed())
