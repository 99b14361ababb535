"""What others wrote, wherever the UI shows it as Markdown: it is read, and does nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from markdown_it import MarkdownIt

from recsys_assets.definitions import build_definitions
from recsys_assets_tests.lake import to_delta, to_iceberg
from recsys_assets_tests.project import DAY, Project, day, event
from recsys_assets_tests.test_texts import HOSTILE

# Of a name of a file, which has no slash.
_NAMES = [text.replace("/", ":") for text in HOSTILE if "\n" not in text]
_ALL = " ".join(HOSTILE)


def acts(markdown: str) -> list[str]:
    """Return what a Markdown text would do besides being read: fetch, link, insert HTML."""
    tokens = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(markdown)
    inner = [token for of in tokens for token in (of, *(of.children or ()))]
    found = [
        str(token.attrs.get("src") or token.attrs.get("href") or token.content or token.tag)
        for token in inner
        if token.type in {"image", "link_open", "html_inline", "html_block", "heading_open"}
        or token.type in {"fence", "code_block", "em_open", "strong_open", "s_open"}
        or (token.type == "text" and any(to in token.content.lower() for to in ("http:", "www.")))
    ]
    return [each for each in found if not each.startswith("data:image/svg+xml;base64,")]


def descriptions(definitions: dg.Definitions) -> Iterator[str | None]:
    graph = definitions.resolve_asset_graph()
    yield from (graph.get(key).description for key in graph.get_all_asset_keys())
    yield from (graph.get(key).description for key in graph.asset_check_keys)
    for of in (*(definitions.sensors or ()), *(definitions.schedules or ())):
        yield of.description if isinstance(of, dg.SensorDefinition | dg.ScheduleDefinition) else ""


def logged(project: Project) -> Iterator[str]:
    """Yield what the event log holds of descriptions, and of metadata in Markdown."""
    for run in project.instance.get_runs():
        for entry in project.instance.all_logs(run.run_id):
            data: Any = entry.dagster_event and entry.dagster_event.event_specific_data
            for of in (
                data,
                getattr(data, "materialization", None),
                getattr(data, "asset_observation", None),
            ):
                if text := getattr(of, "description", None):
                    yield text
                for value in (getattr(of, "metadata", None) or {}).values():
                    if isinstance(value, dg.MarkdownMetadataValue):
                        yield value.value or ""


def assert_nothing_acts(project: Project, *, said: str) -> None:
    shown = list(logged(project))

    assert any(said in text for text in shown), shown
    assert [acts(text) for text in shown if acts(text)] == []


def test_the_test_would_see_what_acts() -> None:
    for text in ("![x](http://evil.example)", "[x](y)", "<b>x</b>", "http://evil.example", "*x*"):
        assert acts(f"found {text} there"), text
    assert not acts("found `![x](http://evil.example)` there")
    assert not acts("![x](data:image/svg+xml;base64,AA==)")


def test_names_of_places_in_the_descriptions_of_what_is_defined(project: Project) -> None:
    hostile = "a![x](www.evil.example)<b>`"
    config = project.configure(
        {
            "tenant": hostile,
            "source": {"path": f"raw`{hostile}", "pattern": f"{hostile}``{{day}}*"},
            "catalog": {"path": f"{hostile}`.csv"},
        }
    )

    found = [text for text in descriptions(build_definitions(config)) if text]

    assert sum("www.evil.example" in text for text in found) >= 4
    assert [acts(text) for text in found if acts(text)] == []


def test_the_name_of_a_raw_file_that_cannot_be_read(project: Project) -> None:
    config = project.configure()
    path = project.land(DAY, [], part=" ".join(_NAMES)[:180])
    path.rename(path.with_name(f"{path.name}.gz"))

    report = project.materialize(config, [DAY])

    assert [failure.check for failure in report.failures] == ["inputs"]
    assert_nothing_acts(project, said="cannot be read to its end")


def test_the_header_of_a_catalog(project: Project) -> None:
    config = project.configure()
    project.land(DAY, [event("a")])
    (project.folder / "catalog.csv").write_text(f'"{_ALL.replace(chr(34), "")}",tags\n')

    project.materialize(config, [DAY])

    assert_nothing_acts(project, said="no column for item_id")


def test_ids_titles_tags_and_refused_lines(project: Project) -> None:
    config = project.configure({"guardrails": {"max_rejected_share": 0.1}})
    events = [
        event(text, user_id=text, session_id=text, rank=rank) for rank, text in enumerate(HOSTILE)
    ]
    project.land(DAY, events)
    project.land(day(1), [*events, *(text.replace("\n", " ") for text in HOSTILE)])
    rows = "".join(f'"{text}","{text}","{text}"\n' * 2 for text in HOSTILE if '"' not in text)
    (project.folder / "catalog.csv").write_text(f"id,tags,title\n{rows}")

    report = project.materialize(config, [DAY, day(1)])

    assert report.published == [DAY]
    assert_nothing_acts(project, said="items with several rows in the catalog")


def test_the_reason_of_a_flip(project: Project) -> None:
    config = project.configure()
    project.land(DAY, [event("a")])
    project.materialize(config, [DAY])
    asked = {"surface": "demo/home", "reason": _ALL, "who": "![x](http://evil.example)"}

    definitions = build_definitions(config)
    definitions.resolve_job_def("pin").execute_in_process(
        run_config={"ops": {"hold": {"config": asked}}}, instance=project.instance
    )
    with dg.build_sensor_context(project.instance) as context:
        result = definitions.get_repository_def().get_sensor_def("flips")(context)

    assert isinstance(result, dg.SensorResult)
    said = [str(each.description) for each in result.asset_events]
    assert said[-1].startswith("pin by `![x](http://evil.example):` ")
    assert [acts(text) for text in said if acts(text)] == []


def test_what_is_live_and_cannot_be_read(project: Project) -> None:
    config = project.configure({"tenant": "a![x](www.evil.example)"})
    definitions = build_definitions(config)
    check = next(
        key for key in definitions.resolve_asset_graph().asset_check_keys if key.name == "fresh"
    )

    definitions.resolve_implicit_global_asset_job_def().get_subset(
        asset_check_selection={check}
    ).execute_in_process(instance=project.instance, raise_on_error=False)

    assert_nothing_acts(project, said="www.evil.example")


def _csv(rows: pl.DataFrame, path: Path) -> dict[str, Any]:
    rows.write_csv(path / f"{DAY}.csv")
    return {"pattern": "{day}.csv"}


def _jsonl(rows: pl.DataFrame, path: Path) -> dict[str, Any]:
    rows.write_ndjson(path / f"{DAY}.jsonl")
    return {"pattern": "{day}.jsonl"}


def _parquet(rows: pl.DataFrame, path: Path) -> dict[str, Any]:
    rows.write_parquet(path / f"{DAY}.parquet")
    return {"pattern": "{day}.parquet"}


def _delta(rows: pl.DataFrame, path: Path) -> dict[str, Any]:
    elsewhere = path.with_name("table")  # deltalake reads such names, and does not write them
    to_delta(rows, elsewhere)
    path.rmdir()
    elsewhere.rename(path)
    return {}


def _iceberg(rows: pl.DataFrame, path: Path) -> dict[str, Any]:
    to_iceberg(rows, path)
    return {}


# Postgres, whose names and addresses may be much else, is in test_postgres.py.
@pytest.mark.parametrize("write", [_jsonl, _csv, _parquet, _delta, _iceberg])
def test_names_of_columns_and_values_of_every_source(
    project: Project, write: Callable[[pl.DataFrame, Path], dict[str, Any]]
) -> None:
    names = {"ts": "*t*", "session_id": "<b>s</b>", "item_id": "`i` <i>"}
    texts = [*HOSTILE, ""]
    rows = pl.DataFrame(
        {"*t*": [f"{DAY}T12:00:00Z"] * len(texts), "<b>s</b>": texts, "`i` <i>": ["a", *texts[1:]]}
    )
    path = project.folder / "a`![x](www.evil.example)<b>"
    path.mkdir()
    keys = write(rows, path)
    source = {"type": write.__name__[1:], "path": path.name, **keys, "columns": names}
    limits = {"max_rejected_share": 0.9, "max_rejected_bytes_share": 0.9}
    small: dict[str, Any] = {"artifacts": {"popularity": {}}, "guardrails": limits}
    lacking = {**source, "columns": {**names, "user_id": "<b>u"}}
    config = project.configure(
        {**small, "source": source}, {**small, "surface": "cart", "source": lacking}
    )

    found = [text for text in descriptions(build_definitions(config)) if text]
    report = project.materialize(config, [DAY])

    assert [acts(text) for text in found if acts(text)] == []
    assert report.published == [DAY]
    if write is not _jsonl:  # each of whose lines has its own fields
        assert not project.materialize(config, [DAY], surface=1).succeeded
        assert_nothing_acts(project, said="no field")
    assert [acts(text) for text in logged(project) if acts(text)] == []
