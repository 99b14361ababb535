"""Checks and verdicts as Dagster shows them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any, Final

import dagster as dg
import pytest

from recsys_assets.audit.checks import CHECKS
from recsys_assets.defs.checks import check_results, check_spec
from recsys_assets.verdicts import Check, Verdict, failed, passed, skipped

DAYS = [date(2026, 1, number) for number in range(1, 5)]
BY_NAME: Final = {check.name: check for check in CHECKS}
CONTRACT, MAX_EVENTS = BY_NAME["contract"], BY_NAME["max_events"]
GUARDRAILS: Final = [check.name for check in CHECKS if check.runbook == "limit-exceeded"]


def value_of(result: dg.AssetCheckResult, key: str) -> Any:
    metadata: Any = result.metadata[key]
    return metadata.value


def test_one_day_that_passes_shows_its_numbers() -> None:
    (result,) = check_results([CONTRACT], {DAYS[0]: {"contract": passed(rows=3)}})

    assert result.passed
    assert result.check_name == "contract"
    assert value_of(result, "rows") == 3
    assert value_of(result, "partition") == "2026-01-01"
    assert value_of(result, "partitions") == 1
    assert "failed_partitions" not in result.metadata


def test_one_day_that_fails_shows_the_day_the_numbers_and_the_sample() -> None:
    verdict = Verdict(
        "failed",
        description="too many",
        failures=1,
        rows=[{"line": 3}],
        numbers={"value": 21, "limit": 20},
    )

    (result,) = check_results([MAX_EVENTS], {DAYS[0]: {"max_events": verdict}})

    assert not result.passed
    assert result.description == "2026-01-01: too many"
    assert value_of(result, "failed_partitions") == {"2026-01-01": "too many"}
    assert value_of(result, "failures") == 1
    assert (value_of(result, "value"), value_of(result, "limit")) == (21, 20)
    table = result.metadata["sample"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data for record in table.records] == [{"day": "2026-01-01", "line": "3"}]


def test_the_verdicts_of_several_days_fold_into_one_result_per_check() -> None:
    contract, events = check_results(
        [CONTRACT, MAX_EVENTS],
        {
            DAYS[0]: {"contract": passed(), "max_events": passed()},
            DAYS[1]: {"contract": failed("second", failures=2), "max_events": passed()},
            DAYS[2]: {"contract": passed(), "max_events": passed()},
            DAYS[3]: {"contract": failed("fourth", failures=3)},
        },
    )

    assert (contract.check_name, contract.passed) == ("contract", False)
    assert contract.description == "2 of 4 days failed; 2026-01-02: second"
    assert value_of(contract, "failed_partitions") == {
        "2026-01-02": "second",
        "2026-01-04": "fourth",
    }
    assert value_of(contract, "failures") == 5
    assert value_of(contract, "partition") == "2026-01-01 to 2026-01-04"
    assert value_of(contract, "partitions") == 4
    assert (events.check_name, events.passed) == ("max_events", True)
    assert value_of(events, "partitions") == 3
    assert "failed_partitions" not in events.metadata


def test_a_day_that_warned_is_not_told_among_those_that_failed() -> None:
    warned = Verdict("warned", "some", failures=1)

    (mixed,) = check_results(
        [CONTRACT], {DAYS[0]: {"contract": warned}, DAYS[1]: {"contract": failed("all")}}
    )
    (only,) = check_results(
        [CONTRACT], {DAYS[0]: {"contract": warned}, DAYS[1]: {"contract": warned}}
    )

    assert (mixed.severity, mixed.description) == (dg.AssetCheckSeverity.ERROR, "2026-01-02: all")
    assert value_of(mixed, "failed_partitions") == {"2026-01-02": "all"}
    assert value_of(mixed, "warned_partitions") == {"2026-01-01": "some"}
    assert (only.severity, only.passed) == (dg.AssetCheckSeverity.WARN, False)
    assert only.description == "2 of 2 days warned; 2026-01-01: some"
    assert value_of(only, "warned_partitions") == {"2026-01-01": "some", "2026-01-02": "some"}
    assert "failed_partitions" not in only.metadata


def test_one_failed_day_among_several_is_named_alone() -> None:
    (result,) = check_results(
        [CONTRACT], {DAYS[0]: {"contract": passed(rows=3)}, DAYS[1]: {"contract": failed("bad")}}
    )

    assert result.description == "2026-01-02: bad"
    assert "rows" not in result.metadata, "the numbers of one day say nothing about several"


def test_the_sample_of_several_days_is_capped_and_names_the_days() -> None:
    def bad(rows: list[dict[str, Any]]) -> dict[str, Verdict]:
        return {"contract": failed("", failures=len(rows), rows=rows)}

    (result,) = check_results(
        [CONTRACT],
        {
            DAYS[0]: bad([{"line": n} for n in range(8)]),
            DAYS[1]: bad([{"reason": "x"} for _ in range(8)]),
        },
    )

    table = result.metadata["sample"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data for record in table.records] == [
        *({"day": "2026-01-01", "line": str(n), "reason": ""} for n in range(8)),
        *({"day": "2026-01-02", "line": "", "reason": "x"} for _ in range(2)),
    ]
    assert value_of(result, "failures") == 16


def test_no_days_give_no_results() -> None:
    assert check_results([CONTRACT], {}) == []


def test_what_was_skipped_is_shown_as_passed_with_its_reason() -> None:
    verdicts = {"contract": passed(), "max_events": skipped("there was nothing to count")}

    _, result = check_results([CONTRACT, MAX_EVENTS], {DAYS[0]: verdicts})

    assert result.passed
    assert result.description == "there was nothing to count"


def test_what_was_skipped_on_a_day_that_is_refused_is_not_shown() -> None:
    verdicts = {"contract": failed("bad"), "max_events": skipped("there was nothing to count")}

    results = check_results([CONTRACT, MAX_EVENTS], {DAYS[0]: verdicts})

    assert [result.check_name for result in results] == ["contract"]


@pytest.mark.parametrize("name", [check.name for check in CHECKS if check.blocks])
def test_a_check_that_blocks_is_an_error(name: str) -> None:
    spec = check_spec(dg.AssetKey("asset"), BY_NAME[name])
    verdict = failing(BY_NAME[name])
    (result,) = check_results([BY_NAME[name]], {DAYS[0]: {name: verdict}})

    assert (spec.name, spec.asset_key, spec.blocking) == (name, dg.AssetKey("asset"), True)
    assert spec.description
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.ERROR


@pytest.mark.parametrize("name", [check.name for check in CHECKS if not check.blocks])
def test_a_check_that_does_not_block_warns(name: str) -> None:
    check = BY_NAME[name]
    spec = check_spec(dg.AssetKey("asset"), check)
    (result,) = check_results([check], {DAYS[0]: {check.name: failing(check)}})

    assert not spec.blocking
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.WARN


def failing(check: Check) -> Verdict:
    """Return the verdict of a check of the table when it finds something wrong."""
    verdict = replace(check, look=lambda _: failed("bad")).judge(None)
    assert verdict is not None
    return verdict


@pytest.mark.parametrize("name", GUARDRAILS)
def test_the_check_of_a_guardrail_names_its_knob(name: str) -> None:
    description = check_spec(dg.AssetKey("asset"), BY_NAME[name]).description

    assert description is not None
    assert description.startswith(f"Guardrail `guardrails.{name}`: ")


def test_every_check_says_where_it_is_written_what_to_do() -> None:
    asset = dg.AssetKey("asset")
    spec = check_spec(asset, BY_NAME["max_users"])
    linked = check_spec(asset, CONTRACT, docs_url="https://wiki.example.org/docs")

    assert spec.description is not None
    assert spec.description.endswith(" Runbook: `docs/runbooks/limit-exceeded.md#max_users`")
    assert linked.description is not None
    assert linked.description.endswith(
        " [Runbook](https://wiki.example.org/docs/runbooks/validation-failed.md#contract)"
    )
