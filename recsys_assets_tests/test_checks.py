from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from recsys_assets import checks
from recsys_assets.checks import (
    Verdict,
    at_most,
    check_results,
    check_spec,
    hold_groups_to_contract,
    hold_to_contract,
    judge_events,
)
from recsys_assets.config import Guardrails, Surface
from recsys_assets.contracts import COOC, POPULARITY, canonical_event, dtypes
from recsys_assets.events.partition import StagedPartition
from recsys_assets.events.sources import RawFile
from recsys_assets.storage.local import LocalStore
from recsys_assets_tests.frames import DAY, shown

DAYS = [date(2026, 1, number) for number in range(1, 5)]
EVENT_LIMITS = {
    "min_events": 10,
    "max_events": 20,
    "max_sessions": 5,
    "max_distinct_items": 6,
    "max_users": 7,
    "max_rejected_share": 0.25,
}
DISTINCT = {"session_id": 5, "item_id": 6, "user_id": 7}


def popularity(*rows: tuple[str | None, int]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=dtypes(POPULARITY), orient="row")


def surface(**limits: Any) -> Surface:
    return Surface.model_validate(
        {
            "tenant": "demo",
            "surface": "home",
            "start_date": DAY,
            "source": {"path": "/data/raw"},
            "artifacts": {"popularity": {}},
            "guardrails": {**EVENT_LIMITS, **limits},
        }
    )


def staged(
    *, events: int = 15, lines: int = 20, refused: int = 0, files: int = 1
) -> StagedPartition:
    return StagedPartition(
        day=DAY,
        path=Path("/staged.parquet"),
        rejected_path=None,
        fingerprint="f",
        files=[RawFile(f"{number}.jsonl", LocalStore("/")) for number in range(files)],
        lines=lines,
        events=events,
        refused=Counter({"bad JSON": refused}),
        first_refused=[{"line": 3, "reason": "bad JSON"}],
        redelivered=4,
        outside_window=2,
        other_surface=1,
        seconds=0.0,
    )


def verdict_on(name: str, verdicts: list[Verdict]) -> Verdict:
    (verdict,) = [verdict for verdict in verdicts if verdict.check == name]
    return verdict


def value_of(result: dg.AssetCheckResult, key: str) -> Any:
    metadata: Any = result.metadata[key]
    return metadata.value


def test_a_frame_that_holds_its_contract_passes_with_its_number_of_rows() -> None:
    assert hold_to_contract(POPULARITY, popularity(("b", 2), ("a", 1))) == Verdict(
        "contract", passed=True, numbers={"rows": 2}
    )


def test_a_broken_rule_is_named_with_its_number_of_cases_and_a_sample() -> None:
    verdict = hold_to_contract(POPULARITY, popularity(("c", 2), ("a", 3), ("b", 3), ("c", 1)))

    assert not verdict.passed
    assert verdict.check == "contract"
    assert verdict.description == (
        "3 cases break contract 'popularity': item_is_unique (2), by_count_then_id (1)"
    )
    assert verdict.failures == 3
    assert {
        "check": "by_count_then_id",
        "column": "popularity",
        "failure_case": '{"item_id":"a","count":3}',
        "index": 1,
    } in verdict.rows


def test_every_broken_rule_is_reported_at_once() -> None:
    verdict = hold_to_contract(POPULARITY, popularity((" ", 1), (None, 0)))

    for rule in [
        "trimmed_and_not_blank (1)",
        "not_nullable (1)",
        "greater_than_or_equal_to(1) (1)",
    ]:
        assert rule in verdict.description
    assert {row["check"] for row in verdict.rows} >= {
        "trimmed_and_not_blank",
        "not_nullable",
        "greater_than_or_equal_to(1)",
    }


def test_values_are_looked_at_and_not_only_names_and_dtypes() -> None:
    """The contract of a LazyFrame would pass here."""
    assert not hold_to_contract(POPULARITY, popularity(("a", 0))).passed


def test_the_sample_is_bounded_and_the_count_is_not() -> None:
    verdict = hold_to_contract(POPULARITY, popularity(*((f"{n:03}", 0) for n in range(100))))

    assert verdict.failures == 100
    assert len(verdict.rows) == checks.MAX_SHOWN_ROWS == 10


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_groups_that_hold_the_contract_pass_with_all_their_rows(size: int) -> None:
    events = shown(*"abcabc")

    verdict = hold_groups_to_contract(canonical_event(DAY), events.iter_slices(size))

    assert verdict == Verdict("contract", passed=True, numbers={"rows": 6})


def test_no_groups_hold_the_contract() -> None:
    assert hold_groups_to_contract(canonical_event(DAY), []) == Verdict(
        "contract", passed=True, numbers={"rows": 0}
    )


def test_an_order_break_exactly_between_two_groups_is_caught() -> None:
    events = shown(*"abcd")

    for first, second in [(events[2:], events[:2]), (events[:2], events[1:])]:
        verdict = hold_groups_to_contract(canonical_event(DAY), [first, second])
        assert not verdict.passed
        assert (
            verdict.description == "1 cases break contract 'canonical_event': in_source_order (1)"
        )


def test_an_order_break_across_an_empty_group_is_caught() -> None:
    events = shown(*"abcd")

    verdict = hold_groups_to_contract(canonical_event(DAY), [events[2:], events[:0], events[:2]])

    assert not verdict.passed


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_bad_group_fails_wherever_it_stands_and_ends_the_reading(at: int) -> None:
    groups = list(shown(*"abc").iter_slices(1))
    groups[at] = groups[at].with_columns(item_id=pl.lit(" "))
    read = []

    def reading() -> Any:
        for number, group in enumerate(groups):
            read.append(number)
            yield group

    verdict = hold_groups_to_contract(canonical_event(DAY), reading())

    assert "trimmed_and_not_blank (1)" in verdict.description
    assert read == list(range(at + 1))


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

    assert (good.check, good.passed, good.failures, good.rows) == (name, True, 0, ())
    assert (bad.check, bad.passed, bad.failures, bad.rows) == (name, False, 1, sample)
    assert bad.numbers == {"value": over, "limit": limit}


def test_an_exceeded_limit_names_the_knob_the_limit_and_the_value() -> None:
    verdict = at_most(Guardrails.model_validate({}), "max_artifact_bytes", 12_345_678)

    assert verdict.description == ("guardrails.max_artifact_bytes is 10,000,000, found 12,345,678")


def test_a_day_within_its_limits_passes_every_guardrail_in_their_order() -> None:
    verdicts = judge_events(surface(), staged(), {"session_id": 1, "item_id": 1, "user_id": 0})

    assert [verdict.check for verdict in verdicts] == list(checks.EVENT_GUARDRAILS)
    assert all(verdict.passed for verdict in verdicts)


def test_a_day_that_hits_every_upper_limit_exactly_passes() -> None:
    assert all(
        verdict.passed
        for verdict in judge_events(surface(), staged(events=20, lines=20, refused=5), DISTINCT)
    )


def test_a_day_of_exactly_the_fewest_events_passes() -> None:
    assert all(verdict.passed for verdict in judge_events(surface(), staged(events=10), DISTINCT))


@pytest.mark.parametrize(
    ("name", "day", "distinct", "limit", "value"),
    [
        ("min_events", staged(events=9), DISTINCT, "10", "9"),
        ("max_events", staged(events=21), DISTINCT, "20", "21"),
        ("max_sessions", staged(), {**DISTINCT, "session_id": 6}, "5", "6"),
        ("max_distinct_items", staged(), {**DISTINCT, "item_id": 7}, "6", "7"),
        ("max_users", staged(), {**DISTINCT, "user_id": 8}, "7", "8"),
        ("max_rejected_share", staged(refused=6), DISTINCT, "0.25", "0.3"),
    ],
)
def test_one_more_fails_only_its_own_guardrail_which_names_knob_limit_and_value(
    name: str, day: StagedPartition, distinct: dict[str, int], limit: str, value: str
) -> None:
    verdicts = judge_events(surface(), day, distinct)

    assert [verdict.check for verdict in verdicts if not verdict.passed] == [name]
    verdict = verdict_on(name, verdicts)
    assert verdict.description.startswith(f"guardrails.{name} is {limit}, found {value}")
    assert verdict.numbers == {"value": float(value), "limit": float(limit)}
    assert verdict.failures == 1


def test_an_empty_day_passes_when_no_event_is_needed() -> None:
    day = staged(events=0, lines=0, files=0)

    verdicts = judge_events(surface(min_events=0), day, dict.fromkeys(DISTINCT, 0))

    assert all(verdict.passed for verdict in verdicts)


def test_too_few_events_without_a_file_say_where_files_were_looked_for() -> None:
    verdict = verdict_on(
        "min_events", judge_events(surface(), staged(events=0, lines=0, files=0), DISTINCT)
    )

    assert verdict.description == (
        "guardrails.min_events is 10, found 0; no raw file matches "
        "'demo/home/exposure.2026-01-01*.jsonl*' below /data/raw"
    )


def test_too_few_events_of_some_files_say_what_became_of_the_lines() -> None:
    verdict = verdict_on(
        "min_events", judge_events(surface(), staged(events=0, lines=1012, refused=5), DISTINCT)
    )

    assert verdict.description == (
        "guardrails.min_events is 10, found 0; 1,012 raw lines: 5 refused, 2 outside the day, "
        "1 of other surfaces, 4 redelivered"
    )


def test_too_many_refused_lines_show_the_first_of_them_and_few_do_not() -> None:
    bad = verdict_on("max_rejected_share", judge_events(surface(), staged(refused=6), DISTINCT))
    good = verdict_on("max_rejected_share", judge_events(surface(), staged(refused=5), DISTINCT))

    assert bad.rows == [{"line": 3, "reason": "bad JSON"}]
    assert bad.description.endswith("found 0.3: bad JSON (6)")
    assert good.rows == ()


def test_one_day_that_passes_shows_its_numbers() -> None:
    (result,) = check_results({DAYS[0]: [Verdict("contract", passed=True, numbers={"rows": 3})]})

    assert result.passed
    assert result.check_name == "contract"
    assert value_of(result, "rows") == 3
    assert value_of(result, "partition") == "2026-01-01"
    assert value_of(result, "partitions") == 1
    assert "failed_partitions" not in result.metadata


def test_one_day_that_fails_shows_the_day_the_numbers_and_the_sample() -> None:
    verdict = Verdict(
        "max_events",
        passed=False,
        description="too many",
        failures=1,
        rows=[{"line": 3}],
        numbers={"value": 21, "limit": 20},
    )

    (result,) = check_results({DAYS[0]: [verdict]})

    assert not result.passed
    assert result.description == "2026-01-01: too many"
    assert value_of(result, "failed_partitions") == {"2026-01-01": "too many"}
    assert value_of(result, "failures") == 1
    assert (value_of(result, "value"), value_of(result, "limit")) == (21, 20)
    table = result.metadata["sample"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data for record in table.records] == [{"day": "2026-01-01", "line": "3"}]


def test_the_verdicts_of_several_days_fold_into_one_result_per_check() -> None:
    def bad(description: str, failures: int) -> Verdict:
        return Verdict("contract", passed=False, description=description, failures=failures)

    contract, events = check_results(
        {
            DAYS[0]: [Verdict("contract", passed=True), Verdict("max_events", passed=True)],
            DAYS[1]: [bad("second", 2), Verdict("max_events", passed=True)],
            DAYS[2]: [Verdict("contract", passed=True), Verdict("max_events", passed=True)],
            DAYS[3]: [bad("fourth", 3)],
        }
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


def test_one_failed_day_among_several_is_named_alone() -> None:
    (result,) = check_results(
        {
            DAYS[0]: [Verdict("contract", passed=True, numbers={"rows": 3})],
            DAYS[1]: [Verdict("contract", passed=False, description="bad", failures=1)],
        }
    )

    assert result.description == "2026-01-02: bad"
    assert "rows" not in result.metadata, "the numbers of one day say nothing about several"


def test_the_sample_of_several_days_is_capped_and_names_the_days() -> None:
    def bad(rows: list[dict[str, Any]]) -> Verdict:
        return Verdict("contract", passed=False, failures=len(rows), rows=rows)

    (result,) = check_results(
        {
            DAYS[0]: [bad([{"line": n} for n in range(8)])],
            DAYS[1]: [bad([{"reason": "x"} for _ in range(8)])],
        }
    )

    table = result.metadata["sample"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data for record in table.records] == [
        *({"day": "2026-01-01", "line": str(n), "reason": ""} for n in range(8)),
        *({"day": "2026-01-02", "line": "", "reason": "x"} for _ in range(2)),
    ]
    assert value_of(result, "failures") == 16


def test_no_days_give_no_results() -> None:
    assert check_results({}) == []


@pytest.mark.parametrize(
    "name",
    [
        "contract",
        "inputs",
        "publishable",
        "max_artifact_bytes",
        "max_oversized_session_share",
        *EVENT_LIMITS,
    ],
)
def test_every_check_blocks_and_is_an_error(name: str) -> None:
    spec = check_spec(dg.AssetKey("asset"), name)
    (result,) = check_results({DAYS[0]: [Verdict(name, passed=False)]})

    assert (spec.name, spec.asset_key, spec.blocking) == (name, dg.AssetKey("asset"), True)
    assert spec.description
    assert result.severity == dg.AssetCheckSeverity.ERROR


def test_only_an_incomplete_window_warns_and_does_not_block() -> None:
    spec = check_spec(dg.AssetKey("asset"), "window_is_complete")
    (result,) = check_results({DAYS[0]: [Verdict("window_is_complete", passed=False)]})

    assert not spec.blocking
    assert result.severity == dg.AssetCheckSeverity.WARN


@pytest.mark.parametrize("name", EVENT_LIMITS)
def test_the_check_of_a_guardrail_names_its_knob(name: str) -> None:
    description = check_spec(dg.AssetKey("asset"), name).description

    assert description is not None
    assert description.startswith(f"Guardrail `guardrails.{name}`: ")


def test_every_check_says_where_it_is_written_what_to_do() -> None:
    spec = check_spec(dg.AssetKey("asset"), "max_users")
    linked = check_spec(dg.AssetKey("asset"), "contract", docs_url="https://wiki.example.org/docs")

    assert spec.description is not None
    assert spec.description.endswith(" Runbook: `docs/runbooks/limit-exceeded.md#max_users`")
    assert linked.description is not None
    assert linked.description.endswith(
        " [Runbook](https://wiki.example.org/docs/runbooks/validation-failed.md#contract)"
    )


def test_a_check_that_is_neither_known_nor_a_guardrail_cannot_be_declared() -> None:
    with pytest.raises(KeyError):
        check_spec(dg.AssetKey("asset"), "max_evnts")


def test_a_contract_with_nulls_for_an_empty_list_passes_as_a_check() -> None:
    frame = pl.DataFrame([("a", None, None)], schema=dtypes(COOC), orient="row")

    assert hold_to_contract(COOC, frame).passed
