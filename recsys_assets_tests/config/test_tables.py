"""Sources of `type: postgres`: which keys they take, and what a name of a table or a query is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from recsys_assets_tests.config.files import SURFACE, UNTOLD, load, problems

TABLE: Final = {"type": "postgres", "dsn_env": "SHOP_DSN", "table": "events", "time_column": "ts"}


def of(**keys: Any) -> dict[str, Any]:
    """Return a surface of a table, with keys of its source put in or, by None, taken out."""
    source = {key: value for key, value in {**TABLE, **keys}.items() if value is not None}
    return {**SURFACE, "source": source}


def test_a_table_is_where_a_variable_says_and_looked_at_for_a_week(file: Path) -> None:
    source = load(file, of()).surfaces[0].source
    assert (source.path, source.landing.lookback_days) == ("$SHOP_DSN", 7)
    assert (source.is_mapped, source.is_by_day) == (True, True)
    source = load(file, of(landing={"lookback_days": 400})).surfaces[0].source
    assert (source.landing.lookback_days, source.landing.settle_seconds) == (400, 60)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"path": "raw"}, "path: goes with files, this is `type: postgres`"),
        ({"pattern": "{day}"}, "pattern: goes with files, this is `type: postgres`"),
        (
            {"follow_links_outside": True},
            "follow_links_outside: goes with files, this is `type: postgres`",
        ),
        (
            {"dsn_env": None},
            "dsn_env: is required with `type: postgres`: the name of an environment variable",
        ),
        ({"table": None}, "`type: postgres` needs either `table` or `query`"),
        ({"query": "select 1"}, "`type: postgres` needs either `table` or `query`"),
        ({"time_column": None}, "time_column: is required with `type: postgres`"),
        ({"delimiter": ";"}, "delimiter: goes with `type: csv`, this is postgres"),
        (
            {"landing": {"success_marker": "{day}"}},
            "landing.success_marker: goes with files, this is `type: postgres`",
        ),
        (
            {"landing": {"kafka": {"brokers_env": "B", "topic": "t"}}},
            "landing.kafka: goes with files, this is `type: postgres`",
        ),
        *(
            (
                {**dict.fromkeys(TABLE), "type": "csv", "path": "raw", key: value},
                f"{key}: goes with {others}`type: postgres`, this is csv",
            )
            for key, value, others in (
                ("dsn_env", "X", ""),
                ("query", "select 1", ""),
                ("table", "t", "`type: iceberg` or "),
                ("time_column", "t", "`type: delta` or `type: iceberg` or "),
                ("order_by", ["t"], "`type: delta` or `type: iceberg` or "),
            )
        ),
    ],
)  # fmt: skip
def test_keys_that_do_not_go_together_are_told(file: Path, keys: dict[str, Any], says: str) -> None:
    assert problems(file, of(**keys)) == [f"surface demo/home: source: {says}"]


@pytest.mark.parametrize("table", ["events", "shop.events", 'we"ird; x', "Groß", "a b.c d", "a--b"])
def test_a_name_of_a_table_is_what_it_is_there(file: Path, table: str) -> None:
    assert load(file, of(table=table)).surfaces[0].source.table == table


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("", "must be the name of a table, or schema.table"),
        ("a.", "must be the name of a table, or schema.table"),
        (" a", "must be the name of a table, or schema.table"),
        ("a\nb", "must be the name of a table, or schema.table"),
        (f"postgresql://u:{UNTOLD}@h/x", "must be the name of a table, not a URL"),
    ],
)
def test_what_is_no_name_of_a_table_is_refused(file: Path, table: str, says: str) -> None:
    (problem,) = problems(file, of(table=table))
    assert problem.startswith(f"surface demo/home: source.table: {says}")
    assert UNTOLD not in problem


@pytest.mark.parametrize(
    "query",
    [
        "select * from events",
        "select ';' as a from events -- all; of it",
        "select ';''' as \"a;\"\"b\" from events /* of;\n it */",
        "select $$;$$, $x$;$$;$x$ from events",
    ],
)
def test_a_query_may_hold_what_ends_no_statement(file: Path, query: str) -> None:
    given = of(table=None, query=query)
    assert load(file, given).surfaces[0].source.query == query


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("select 1;", "must end without a semicolon: it is read as a table, from (...)"),
        ("select 1 ;\n ", "must end without a semicolon: it is read as a table, from (...)"),
        ("select 1; select 2", "must be one select, without a semicolon: it is read as a table"),
        ("select 1;;", "must be one select, without a semicolon: it is read as a table"),
        ("select 1) x; drop table events --", "must be one select, without a semicolon"),
        ("", "must be a select"),
        ("select '\0'", "must be a select"),
    ],
)
def test_a_query_is_one_statement(file: Path, query: str, says: str) -> None:
    (problem,) = problems(file, of(table=None, query=query))
    assert problem.startswith(f"surface demo/home: source.query: {says}")


@pytest.mark.parametrize("key", ["dsn_env", "time_column", "order_by"])
def test_an_address_in_place_of_a_name_is_not_shown(file: Path, key: str) -> None:
    found = problems(file, of(**{key: f"postgresql://u[{UNTOLD}@h/x"}))
    assert found
    assert UNTOLD not in "".join(found)
