"""What the project relies on inside Dagster is as it was seen.

Where this fails after an upgrade, look at what Dagster changed and at each use of it; then bring
the name, the text or the hash here up to date, and the version in `defs/internals.py` with it.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.definitions.partitions.context import PartitionLoadingContext
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.definitions.temporal_context import TemporalContext
from dagster._core.errors import (
    DagsterAssetCheckFailedError,
    DagsterExecutionInterruptedError,
    DagsterStepOutputNotFoundError,
)
from dagster._core.events import RunFailureReason
from dagster._core.execution import compute_logs
from dagster._core.execution.plan import execute_plan
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.executor import in_process
from dagster._core.instance import utils
from dagster._core.instance.methods.storage_methods import StorageMethods
from dagster._core.storage import tags
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorageWatchdog
from dagster._core.storage.runs import SqliteRunStorage, SqlRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._grpc import impl as grpc_impl
from dagster._grpc.server import DagsterApiServer

import recsys_assets
from recsys_assets.defs import event_log, internals, jobs, materialize, schedules
from recsys_assets_tests.project import Project, event

PRODUCT: Final = Path(recsys_assets.__file__).parent

# SHA-256 of the source of each method of Dagster that the event log overrides or calls, of those
# that make what is matched as text, of what starts processes, and of what executes steps.
SEEN: Final[dict[tuple[Any, str], str]] = {
    (dg.AssetCheckResult, "_get_target_materialization_data"): (
        "0a5b790fb28c90c18a6ea6b035fa46c196fe987e6052ed73db508d71ddb66447"
    ),
    (execute_plan, "inner_plan_execution_iterator"): (
        "87243a56e08e8a6aea84fe2ad40e0e910b3ec177644bef898ca91c9502c024af"
    ),
    (execute_plan, "dagster_event_sequence_for_step"): (
        "20e8cc1d3d5ff2a436bdc4a3175b050374779ab7533e7ee259eb4fc447be2ae6"
    ),
    (execute_plan, "_trigger_hook"): (
        "b3235dc375f5bd53ead4ab2a7064518332ca19cb66d48814a0873fa048dbed2b"
    ),
    (execute_plan, "_handle_compute_log_setup_error"): (
        "96d5aace78bc0c2f686ce6331f0f8e42073da5b34c16995013faa8e5fa6cf0e2"
    ),
    (in_process, "inprocess_execution_iterator"): (
        "f1aa59fb87c1692af3855a5f8534f5dcae42dc818f77c9ebfc375a19959ab372"
    ),
    (ActiveExecution, "get_steps_to_execute"): (
        "682e584ce6cbf345dc2216ff83b690aacbdba1ab644729caac8d152de6ee70b0"
    ),
    (ActiveExecution, "concurrency_event_iterator"): (
        "e825f2aadcb04e9b662d663c3d59c5ebd12a48d1667fa120d23c349b442c18d6"
    ),
    (ActiveExecution, "sleep_interval"): (
        "f49c9f3e9028a7d105fe95ff5dab1293a9ff13ad71a40c91e2fd7e4284accea2"
    ),
    (ActiveExecution, "handle_event"): (
        "0e837b38915477d865bb9143ef5a8c55dec04c2c0bdac844d356a5630967a8c8"
    ),
    (ActiveExecution, "verify_complete"): (
        "76ab8558e975f8b43bd2f7ccb04c03ee7446b6506a57f6ed80bc85da19555f29"
    ),
    (ActiveExecution, "plan_events_iterator"): (
        "dbacdc0d17ac6beaa3cb31c8a61b896121292db7df0e547bb163ce8a5686c396"
    ),
    (SqliteRunStorage, "connect"): (
        "d343abae6e9bea85f827fc5bb9ffaaa3a09dd605600c358b42a604cb053d16ff"
    ),
    (SqliteRunStorage, "from_local"): (
        "50b4181e14913751eefcd621898bcf3036cb5c600a871c155370c3c5ace52b0d"
    ),
    (SqliteScheduleStorage, "connect"): (
        "d343abae6e9bea85f827fc5bb9ffaaa3a09dd605600c358b42a604cb053d16ff"
    ),
    (SqliteScheduleStorage, "from_local"): (
        "06ae7e70b419ac91ca5bf58a706b66de790dc53b612e5d2f95539d664ccd4499"
    ),
    (DagsterSqliteStorage, "__init__"): (
        "bcf5aa27a5dd083f7876a9ed00ca5c009a759fb41ff1df935977eec94344bd7a"
    ),
    (StorageMethods, "dispose"): (
        "1fb99b3f740edd4d110aa1f662f479dbfd6fef87d91195fc822e302687192a01"
    ),
    (SqliteEventLogStorage, "__init__"): (
        "264c15baa761a7bb4fd59f529de849ffd483fa20494c0898448891460b47ea60"
    ),
    (SqliteEventLogStorage, "_connect"): (
        "b8435f2665689760a1e1d98e17b78ceef5a48256dc11b562a20c840abc37d170"
    ),
    (SqliteEventLogStorage, "_event_insert_timestamp"): (
        "02e6947ee3f9408aeb9607d8ce8e8118770302b27e4009fcb6bfa0c28770834b"
    ),
    (SqliteEventLogStorage, "_event_to_row"): (
        "93d47fbe7edc4f70af0df5fab8c188ad91786e0922269e0971ebdc17b0e778f4"
    ),
    (SqliteEventLogStorage, "_get_asset_entry_values"): (
        "bb3b9df2c6c371fea1c6537e35a65d8836d4e16c5094c79df357c11d57bae1c3"
    ),
    (SqliteEventLogStorage, "_has_asset_key_index_cols_on_connection"): (
        "8d359e6b6224b3fd95cc6fe3611613e8fcbd2cda25faeacc27d6fe0e48c996af"
    ),
    (SqliteEventLogStorage, "_store_asset_check_evaluation_planned"): (
        "bbecef7ab5ce9d01c1bcf3f46067c9067bfe855601181eb77a6910b8483b4674"
    ),
    (SqliteEventLogStorage, "_store_asset_event"): (
        "fdb9340b9eef1c9bdbf159bcc9aaa334a029167764bc74d9cfd57c0a7d7a36af"
    ),
    (SqliteEventLogStorage, "_store_asset_event_tags"): (
        "85d6f17ef04b926f1714e8ea8824966230ffdd3a89e55b61a66b8ca3db0eaa2e"
    ),
    (SqliteEventLogStorage, "_initdb"): (
        "7a302d98eb61a34d52a0bcfe1bd8258e05c1871b69231b21954ba9a704e2fbe4"
    ),
    (SqliteEventLogStorage, "path_for_shard"): (
        "0eaeb69bc81ba0a73b1d11eb86e5001fccd425cdde06896d97ba96feb8ee70a6"
    ),
    (grpc_impl, "core_execute_run"): (
        "b7189f5db76a30e1066a2bc1036ed17650af6fd81539d1228e48976ffdd17aa0"
    ),
    (DagsterApiServer, "StartRun"): (
        "ec53adf5e40c9c7c941dd936c04131705d9c1abfd5bcc34fd6c104ff1c0ebfd5"
    ),
    (SqliteEventLogStorage, "config_type"): (
        "749b9d6bc31d00f21e37ad0851251ed5344d3e4e2338348de3aa2cfe3e93b9bd"
    ),
    (SqliteEventLogStorage, "conn_string_for_shard"): (
        "896bc510d776042e710bb5b47fcfec62c8c0c8518fa4d1d3a836bbbf8d73634a"
    ),
    (SqliteEventLogStorage, "dispose"): (
        "df16dafbfa8427c18f32482fc9cb11a9352b1b6d41beab491bcee388ee498255"
    ),
    (SqliteEventLogStorage, "from_config_value"): (
        "28e08f095dc13fb205bd9f8e66d8e69a9569100cb75b56cc3646fc4d5f4eb29b"
    ),
    (SqliteEventLogStorage, "has_table"): (
        "577d801c70b2a4a50ef067b8ba609e19c199a70e46f50cbb8561c28bcc3731f9"
    ),
    (SqliteEventLogStorage, "index_connection"): (
        "8caf95ebe806cabd99a96114fdbb6aa25cd582c9ad591034085fa410d912ee83"
    ),
    (SqliteEventLogStorage, "run_connection"): (
        "54e64bd6f8b77093cd1e85f18cab0816140f1c6aa8775c4ebf6473c1b518179b"
    ),
    (SqliteEventLogStorage, "store_event"): (
        "f89aed40602438b9bbbc885d4dca38ef3fcf6f067db70fca22dd40eca8a6e03c"
    ),
    (SqliteEventLogStorage, "store_event_batch"): (
        "d710189545dbace2e8481787c3711f9c9fb86ff9f32607c465d57ce7669a05a2"
    ),
    (SqliteEventLogStorage, "watch"): (
        "a223e2f9cf3abda9078c77059ca42a3e8bdfc932eeac2474d771366c24e776d9"
    ),
    (SqliteEventLogStorage, "wipe"): (
        "de02c63676e7d4779bcb1a3b9a71fb7539b9a949e8da0418db2ebd58475e40ab"
    ),
    (SqliteEventLogStorageWatchdog, "__init__"): (
        "5b69b9886efb95b74e11ea5efb6ddf8a2ef1e4136e79f88a60ef25918c3a2c68"
    ),
    (SqliteEventLogStorageWatchdog, "_process_log"): (
        "530cb3c17fcf7a3fab0f77fef1892ef019b1c4073816ddb10f752564c6712ed9"
    ),
    (SqliteEventLogStorageWatchdog, "on_modified"): (
        "c7dc16446530a1774b5e88a024285e95602365c26f8b7e5aa8c048562ac3506e"
    ),
    (SqlRunStorage, "replace_job_origin"): (
        "7002741b767f399ccbcc36a6f600a99262a695f8c1f9d3ff2829873a626eff55"
    ),
    (compute_logs, "execute_posix_tail"): (
        "077339d7ae0f3da9f700cc9f0c9e953bf68f4bfe852a895a71be3cbe2bcf8ab5"
    ),
    (dg.TimeWindowPartitionsDefinition, "get_paginated_partition_keys"): (
        "7854222feac0f89861ca6ead681b0c2cf176ffc180446e087b2aa7d681f1d6b7"
    ),
    (dg.DagsterInstance, "_get_event_batch_size"): (
        "92c419ba6dbea022252ed97035953d88331464f9e456cda7d800725fd41f0dcd"
    ),
    (dg.DagsterInstance, "report_engine_event"): (
        "1fc828dfb792a6451bb12dda2d71e5c397b7870d427b05af90fc2c95898ecd02"
    ),
}


def source_of(owner: Any, name: str) -> str:
    """Return the source of a method, or of what a property calls, wherever it is inherited from."""
    found: Any = inspect.getattr_static(owner, name)
    function = getattr(found, "__func__", None) or getattr(found, "fget", None) or found
    return inspect.getsource(inspect.unwrap(function))


def test_the_version_is_the_one_it_was_seen_in() -> None:
    assert dg.__version__ == internals.SEEN_IN, (
        f"Dagster is {dg.__version__}, what the project relies on inside it was seen in "
        f"{internals.SEEN_IN}. If all else in this file passes, name the new version as SEEN_IN "
        "in recsys_assets/defs/internals.py; what does not pass is to be looked at first."
    )


@pytest.mark.parametrize(("owner", "name"), SEEN, ids=lambda each: getattr(each, "__name__", each))
def test_the_source_of_a_method_is_as_it_was_seen(owner: Any, name: str) -> None:
    source = source_of(owner, name)

    digest = hashlib.sha256(source.encode()).hexdigest()

    assert digest == SEEN[owner, name], (
        f"Dagster has changed {owner.__name__}.{name}; look at what relies on it in "
        f"recsys_assets/defs, then put {digest} here. It is now:\n{source}"
    )


@pytest.mark.parametrize(
    ("ours", "base"),
    [
        (event_log.PooledSqliteEventLogStorage, SqliteEventLogStorage),
        (event_log._Watchdog, SqliteEventLogStorageWatchdog),
    ],
)
def test_every_method_that_the_event_log_overrides_or_calls_is_in_the_list(
    ours: type, base: type
) -> None:
    names = {name for name in vars(ours) if inspect.isroutine(vars(ours)[name])}
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(ours)))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"self", "super()"}:
            names.add(node.attr)
    of_dagster = {
        name
        for name in names
        for owner in base.__mro__
        if owner.__module__.startswith("dagster.") and name in vars(owner)
        if inspect.isroutine(vars(owner)[name]) or isinstance(vars(owner)[name], property)
    }

    assert len(of_dagster) > 1
    assert of_dagster - {name for owner, name in SEEN if owner is base} == set()


DAY: Final = date(2026, 1, 1)


def test_names_are_those_of_dagster() -> None:
    assert internals.ASSET_JOB == IMPLICIT_ASSET_JOB_NAME
    assert DagsterExecutionInterruptedError.__name__ == internals._INTERRUPTED
    refusals = {DagsterAssetCheckFailedError.__name__, DagsterStepOutputNotFoundError.__name__}
    assert refusals == internals._REFUSED_BY_CHECK
    assert {KeyboardInterrupt.__name__, internals._INTERRUPTED} == internals._INTERRUPTIONS
    assert internals.MAX_RUNTIME == tags.MAX_RUNTIME_SECONDS_TAG
    assert internals.PARTITION == tags.PARTITION_NAME_TAG
    assert internals.RANGE_START == tags.ASSET_PARTITION_RANGE_START_TAG
    assert internals.RANGE_END == tags.ASSET_PARTITION_RANGE_END_TAG
    assert internals.WILL_RETRY == tags.WILL_RETRY_TAG
    assert internals.RETRIED_AS == tags.AUTO_RETRY_RUN_ID_TAG
    assert internals.BACKFILL == tags.BACKFILL_ID_TAG
    assert internals.CODE_LOCATION_TAG == tags.CODE_LOCATION_TAG
    assert internals.REPOSITORY_TAG == tags.REPOSITORY_LABEL_TAG
    assert internals.REPOSITORY == SINGLETON_REPOSITORY_NAME
    assert internals.DATA_VERSION == DATA_VERSION_TAG
    assert internals.FAILURE_REASON == tags.RUN_FAILURE_REASON_TAG
    assert RunFailureReason.UNEXPECTED_TERMINATION.value == internals._CUT_SHORT
    # Those that are documented stay where they are used.
    assert set(schedules.FIRST) == {tags.PRIORITY_TAG}
    assert set(jobs._TAGS) == {tags.MAX_RETRIES_TAG}
    assert {tags.USER_TAG, tags.MAX_RETRIES_TAG} == set(materialize._partitions(DAY, DAY)["tags"])


def test_batches_of_events_are_switched_on_by_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        monkeypatch.delenv(internals.BATCH_SIZE_VARIABLE, raising=False)
        assert not instance._is_batch_writing_enabled()
        monkeypatch.setenv(internals.BATCH_SIZE_VARIABLE, "7")
        assert instance._get_event_batch_size() == 7
        assert utils._get_event_batch_size() == 7


def test_a_run_counts_with_a_code_location() -> None:
    @dg.job(tags={"mine": "yes"})
    def nothing() -> None:
        pass

    with dg.DagsterInstance.ephemeral() as instance:
        run_id = nothing.execute_in_process(instance=instance).run_id
        before = instance.get_run_by_id(run_id)
        assert before is not None
        assert before.remote_job_origin is None

        internals.count_with_location(instance, run_id, "here")

        for tag, value in [(tags.CODE_LOCATION_TAG, "here"), ("mine", "yes")]:
            assert [run.run_id for run in instance.get_runs(dg.RunsFilter(tags={tag: value}))]
        label = {tags.REPOSITORY_LABEL_TAG: "__repository__@here"}
        (run,) = instance.get_runs(dg.RunsFilter(tags=label))
        assert run.remote_job_origin is not None
        assert run.remote_job_origin.location_name == "here"
        assert run.remote_job_origin.job_name == "nothing"
        assert run.status == dg.DagsterRunStatus.SUCCESS


NOW: Final = datetime(2026, 3, 4, 5, tzinfo=UTC)


def newest(paginated: Any, end: str | None) -> list[str]:
    """Return the newest two days of daily partitions, asked for as the UI does."""
    days = dg.DailyPartitionsDefinition("2026-01-01", end_date=end)
    context = PartitionLoadingContext(
        temporal_context=TemporalContext(effective_dt=NOW, last_event_id=None),
        dynamic_partitions_store=None,
    )
    found = paginated(days, context=context, limit=2, ascending=False)
    return list(found.results)


def test_dagster_counts_the_newest_partitions_from_today_whatever_their_end() -> None:
    """When this fails, Dagster has mended it: then `end_newest_partitions` can go."""
    as_it_is = inspect.unwrap(dg.TimeWindowPartitionsDefinition.get_paginated_partition_keys)

    assert newest(as_it_is, "2026-02-01") == ["2026-03-03", "2026-03-02"]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("2026-02-01", ["2026-01-31", "2026-01-30"]),
        (None, ["2026-03-03", "2026-03-02"]),
        ("2026-04-01", ["2026-03-03", "2026-03-02"]),
    ],
)
def test_the_newest_partitions_end_where_partitions_do(
    end: str | None, expected: list[str]
) -> None:
    internals.end_newest_partitions()

    assert newest(dg.TimeWindowPartitionsDefinition.get_paginated_partition_keys, end) == expected


def failure_of(error: BaseException, *, cause: BaseException | None = None) -> dg.DagsterEvent:
    """Return the event of a step that such an error ended."""

    @dg.asset
    def breaks() -> None:
        raise error from cause

    result = dg.materialize([breaks], raise_on_error=False)
    (event,) = [each for each in result.all_events if each.is_step_failure]
    return event


def test_a_step_that_broke_says_what_ours_said() -> None:
    event = failure_of(RuntimeError("no room"), cause=ValueError("within"))

    assert internals.failure_message(event) == "RuntimeError: no room\n"
    assert not internals.was_interrupted(event)
    assert not internals.was_stopped_by_user(event)
    assert not internals.is_of_a_check(event)


def test_an_interrupt_is_told_by_who_caused_it() -> None:
    from_outside = failure_of(DagsterExecutionInterruptedError())
    by_hand = failure_of(KeyboardInterrupt())

    assert internals.was_interrupted(from_outside)
    assert internals.was_stopped_by_user(from_outside)
    assert internals.was_stopped_by_user(by_hand)
    assert not internals.was_interrupted(by_hand)


def test_a_step_that_a_failed_check_ended_is_told() -> None:
    @dg.asset(check_specs=[dg.AssetCheckSpec("gate", asset="thing", blocking=True)])
    def thing() -> Iterator[Any]:
        yield dg.Output(1)
        yield dg.AssetCheckResult(passed=False, check_name="gate")

    result = dg.materialize([thing], raise_on_error=False)

    (event,) = [each for each in result.all_events if each.is_step_failure]
    assert internals.is_of_a_check(event)


def test_who_saw_a_run_end_stands_before_what_it_says() -> None:
    @dg.job
    def nothing() -> None:
        pass

    with dg.DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(nothing)
        outside = instance.report_engine_event("it is gone", run, cls=DagsterApiServer)
        inside = instance.report_engine_event("it goes on", run)

    assert outside.message == "[DagsterApiServer] it is gone"
    assert internals.says_why_run_ended(outside)
    assert not internals.says_why_run_ended(inside)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("colour: red\n", 'Received unexpected config entry "colour" at the root.'),
        ("telemetry: [1]\n", "Value at path root:telemetry must be dict."),
    ],
)
def test_dagster_puts_its_whole_schema_behind_what_is_wrong_with_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str, problem: str
) -> None:
    (tmp_path / "dagster.yaml").write_text(settings)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    with pytest.raises(dg.DagsterInvalidConfigError) as caught:
        dg.DagsterInstance.get()

    assert " Expected:" in str(caught.value)
    assert internals.problem_of_instance(caught.value).endswith(problem)


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Give every module of the project but the one that may know Dagster's inside."""
    for path in sorted(PRODUCT.rglob("*.py")):
        name = str(path.relative_to(PRODUCT))
        if name != "defs/internals.py":
            yield name, ast.parse(path.read_text(encoding="utf-8"))


def test_no_other_module_imports_what_dagster_keeps_to_itself() -> None:
    found = [
        (name, imported)
        for name, module in sources()
        for node in ast.walk(module)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for imported in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [f"{node.module}.{alias.name}" for alias in node.names]
        )
        if imported.startswith("dagster") and "._" in imported
        # They override the event log and the executor, and `SEEN` has what they rely on.
        if name
        not in {
            "defs/event_log.py",
            "defs/postgres_storage.py",
            "defs/side_by_side.py",
            "defs/sqlite_storage.py",
            "defs/stored_events.py",
        }
    ]

    assert found == []


def test_no_other_module_names_such_a_text() -> None:
    texts = {
        text
        for name, text in vars(internals).items()
        if name.strip("_").isupper() and isinstance(text, str) and name != "SEEN_IN"
    }
    assert {internals.ASSET_JOB, internals.RANGE_START, internals._INTERRUPTED} <= texts

    found = [
        (name, node.value)
        for name, module in sources()
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if any(text in node.value for text in (*texts, "Expected:"))
    ]

    assert found == []


def test_the_checks_of_a_step_share_what_they_are_about(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each has it: the materialization that came with them."""
    config = project.configure({"artifacts": {"popularity": {}}})
    project.land(DAY, [event("a")])
    assert project.materialize(config, [DAY]).succeeded
    asked = []
    fetch = dg.DagsterInstance.fetch_materializations

    def counting(self: Any, *arguments: Any, **named: Any) -> Any:
        asked.append(arguments)
        return fetch(self, *arguments, **named)

    monkeypatch.setattr(dg.DagsterInstance, "fetch_materializations", counting)
    assert project.materialize(config, [DAY]).succeeded

    assert len(asked) == 3  # canonical_events, popularity, manifest
    key = dg.AssetKey(["demo", "home", "canonical_events"])
    (made,) = project.instance.fetch_materializations(key, limit=1).records
    for check in ("max_rejected_share", "min_events"):
        (record,) = project.instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(key, check), limit=1
        )
        assert record.event
        assert record.event.dagster_event
        target = record.event.dagster_event.asset_check_evaluation_data.target_materialization_data
        assert target
        assert target.storage_id == made.storage_id
