"""What a check is, and what it finds out about a day."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    surely_at_least,
    surely_at_most,
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


@pytest.mark.parametrize(
    ("found", "of", "limit", "outcome"),
    [
        (0, 0, 0.0, "passed"),
        (0, 98, 0.0, "passed"),
        (1, 98, 0.0, "failed"),  # none is allowed
        (1, 98, 0.01, "passed"),
        (2, 98, 0.01, "passed"),
        (3, 98, 0.01, "failed"),
        (1, 1, 0.01, "failed"),
        (1, 1, 1.0, "passed"),
        (10_000, 1_000_000, 0.01, "passed"),
        (10_195, 1_000_000, 0.01, "passed"),
        (10_196, 1_000_000, 0.01, "failed"),
    ],
)
def test_a_share_of_few_is_held_to_what_it_is_surely_above(
    found: int, of: int, limit: float, outcome: str
) -> None:
    limits = Guardrails.model_validate({"max_oversized_session_share": limit})

    assert surely_at_most(limits, "max_oversized_session_share", found, of).outcome == outcome


@given(st.integers(1, 10**7), st.data())
def test_what_a_share_is_surely_above_is_below_it_and_solves_its_equation(
    of: int, data: st.DataObject
) -> None:
    found = data.draw(st.integers(0, of))

    least = surely_at_least(found, of)

    assert 0 <= least <= found / of
    if found:  # as far from the share as 1.96 deviations of its own
        deviation = (least * (1 - least) / of) ** 0.5
        assert found / of - least == pytest.approx(1.96 * deviation, rel=1e-3, abs=1e-9)


def test_too_few_to_tell_is_said() -> None:
    found = surely_at_most(Guardrails.model_validate({}), "max_oversized_session_share", 1, 98)

    assert found.description == (
        "guardrails.max_oversized_session_share is 0.01, found 0.0102: 1 of 98, too few to tell"
    )
    assert found.numbers["value"] == 1 / 98
