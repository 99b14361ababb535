"""Days of a table in Dagster: made, seen by the landing sensor, made again; no secret is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from recsys_assets.definitions import build_definitions
from recsys_assets.events.sources import postgres as of_postgres
from recsys_assets_tests.config.files import UNTOLD
from recsys_assets_tests.defs.test_foreign_text import acts, descriptions, logged
from recsys_assets_tests.defs.test_sensors import EVENT_KINDS, Factory, of_events
from recsys_assets_tests.postgres import Database
from recsys_assets_tests.project import Project, day
from recsys_assets_tests.test_texts import HOSTILE

KINDS: dict[str, Any] = {kind: {} for kind in EVENT_KINDS}
SMALL: dict[str, Any] = {"artifacts": KINDS, "catalog": None}


@pytest.fixture
def shop(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(of_postgres, "_looks", {})
    monkeypatch.setattr(of_postgres, "_LONG_S", 1000.0)  # looks are not kept on a busy machine
    monkeypatch.setenv("SHOP_DSN", replace(database, password=UNTOLD).url)
    database.run(
        "create table events (id bigserial, ts timestamptz, session_id text, user_id text, "
        "item_id text)"
    )
    return database


def source(**keys: Any) -> dict[str, Any]:
    return {
        "type": "postgres",
        "dsn_env": "SHOP_DSN",
        "time_column": "ts",
        "order_by": ["id"],
        "landing": {"settle_seconds": 0, "lookback_days": 40},
        **({} if "query" in keys else {"table": "events"}),
        **keys,
    }


def add(shop: Database, number: int, *items: str) -> None:
    at = f"{day(number)} 12:00Z"
    values = ", ".join(f"('{at}', 's', 'u', $x${item}$x$)" for item in items)
    shop.run(f"insert into events (ts, session_id, user_id, item_id) values {values}")


def stored(project: Project) -> Iterator[str]:
    """Yield all that runs have left: what is below the root, and the event log."""
    for path in (project.folder / "var").rglob("*"):
        if path.is_file():
            yield path.read_bytes().decode("latin-1")
    for of in project.instance.get_runs():
        yield str(of)
        yield from map(str, project.instance.all_logs(of.run_id))


def test_a_day_whose_rows_change_is_made_again_and_no_other(
    project: Project, shop: Database
) -> None:
    add(shop, 0, "a", "b")
    add(shop, 1, "a", "c")
    factory = Factory(project, project.configure({**SMALL, "source": source()}))

    reported = factory.tick()
    assert [of.partition for of in reported] == [str(day(0)), str(day(1))]
    assert reported[0].metadata["first_files"].value == f"events {day(0)}"
    assert factory.requested() == of_events([day(0), day(1)], [day(0), day(1)])
    factory.make(0, 1)
    assert (factory.tick(), factory.requested()) == ([], {})

    for statement in (
        f"update events set item_id = 'd' where item_id = 'b' and ts::date = '{day(0)}'",
        f"delete from events where item_id = 'd' and ts::date = '{day(0)}'",
        f"insert into events (ts, session_id, item_id) values ('{day(0)} 13:00Z', 't', 'e')",
    ):
        shop.run(statement)
        factory.tick()
        assert factory.asked()["canonical_events"] == [day(0)], statement
        assert factory.run()
        assert (factory.tick(), factory.asked(), factory.requested()) == ([], {}, {})


def test_history_that_was_made_is_no_news_to_another_instance(
    project: Project, shop: Database
) -> None:
    add(shop, 0, "a", "b")
    config = project.configure({**SMALL, "source": source()})
    assert project.materialize(config, [day(0)]).succeeded
    factory = Factory(project, config)
    assert factory.tick() == []
    add(shop, 0, "c")
    factory.tick()
    assert factory.asked()["canonical_events"] == [day(0)]


def test_a_day_without_rows_and_one_whose_table_is_not_there_say_so(
    project: Project, shop: Database
) -> None:
    config = project.configure({**SMALL, "source": source()})
    report = project.materialize(config, [day(0)])
    assert report.outcome(day(0)) == "no files"
    assert (
        f"no row of table 'events' in $SHOP_DSN is of {day(0)} by 'ts'"
        in report.failures[0].description
    )

    shop.run("drop table events")
    report = project.materialize(config, [day(0)])
    assert report.outcome(day(0)) == "blocked"
    assert 'relation "events" does not exist. Is the table' in report.failures[0].description


def test_an_address_is_shown_nowhere_also_when_it_fails(
    project: Project, shop: Database, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    add(shop, 0, "a", "")
    config = project.configure(
        {**SMALL, "source": source(), "guardrails": {"max_rejected_share": 0.9,
                                                     "max_rejected_bytes_share": 0.9}}
    )  # fmt: skip
    assert project.materialize(config, [day(0)]).succeeded
    for dsn in (
        f"postgresql://dagster:{UNTOLD}@127.0.0.1:1/x",
        f"postgresql://{UNTOLD}@127.0.0.1:{shop.port}/postgres",
        f"{UNTOLD}",
    ):
        monkeypatch.setenv("SHOP_DSN", dsn)
        report = project.materialize(config, [day(0)])
        assert "the database at the address in $SHOP_DSN cannot be used" in str(report.failures)
    texts = [*stored(project), caplog.text]
    assert sum("SHOP_DSN" in text for text in texts) > 3
    assert [text for text in texts if UNTOLD in text] == []


def test_names_and_values_do_nothing_where_they_are_shown(project: Project, shop: Database) -> None:
    hostile = "a`![x](www.evil.example)<b>"
    shop.run(
        f'alter table events rename to "{hostile}"',
        f'alter table "{hostile}" rename ts to "*t*"',
        f'insert into "{hostile}" ("*t*", session_id, item_id) values '
        + "".join(f"('{day(0)} 12:00Z', 's', $x${text}$x$), " for text in HOSTILE)
        + f"('{day(0)} 12:00Z', '', $x${HOSTILE[0]}$x$)",
    )
    columns = {"ts": "*t*", "session_id": "session_id", "item_id": "item_id"}
    keys = {"time_column": "*t*", "columns": columns}
    # A name with a dot cannot be the name of a table.
    query = f'select *, $q$`</pre>![x](http://evil.example)$q$ as q from "{hostile}"'
    limits = {"max_rejected_share": 0.9, "max_rejected_bytes_share": 0.9}
    config = project.configure(
        {**SMALL, "source": source(query=query, **keys), "guardrails": limits},
        {**SMALL, "surface": "cart", "source": source(table="a`<b>*x*", **keys)},
    )

    found = [text for text in descriptions(build_definitions(config)) if text]
    assert any("a`<b>*x*" in text for text in found)
    assert [acts(text) for text in found if acts(text)] == []
    assert project.materialize(config, [day(0)]).published == [day(0)]
    assert not project.materialize(config, [day(0)], surface=1).succeeded
    shown = list(logged(project))
    assert any("a`<b>" in text for text in shown)
    assert [acts(text) for text in shown if acts(text)] == []
