"""`sinks` of a surface: what is taken, and what each mistake is told as."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, get_args

import pytest

from recsys_assets.config import AnySink, FilesSink, PostgresSink
from recsys_assets_tests.config.files import SURFACE, UNTOLD, load, problems

DATABASE: Final = {"name": "db", "type": "postgres", "dsn_env": "SINK_DSN"}
CACHE: Final = {"name": "cache", "type": "redis", "url_env": "SINK_URL"}
HOOK: Final = {"name": "hook", "type": "webhook", "url_env": "X", "secret_env": "Y"}
TABLE: Final = {"name": "table", "type": "files"}
KINDS_OF_SINKS: Final = get_args(get_args(AnySink)[0])
TYPES: Final = ", ".join(
    repr(name) for kind in KINDS_OF_SINKS for name in get_args(kind.model_fields["type"].annotation)
)


def test_each_has_the_keys_of_its_type_and_a_path_is_relative_to_the_file(file: Path) -> None:
    sinks = [DATABASE | {"schema": "shop"}, TABLE | {"path": "out", "format": "csv"}]
    database, table = load(file, {**SURFACE, "sinks": sinks}).surfaces[0].sinks

    assert isinstance(database, PostgresSink)
    assert (database.db_schema, database.service_tables) == ("shop", None)
    assert isinstance(table, FilesSink)
    assert (table.path, table.format) == (str(file.parent / "out"), "csv")


def test_a_variant_has_its_own_or_none(file: Path) -> None:
    base = {**SURFACE, "sinks": [DATABASE]}
    variant = {key: SURFACE[key] for key in ("tenant", "artifacts")} | {"variant_of": "demo/home"}
    config = load(
        file,
        base,
        {**variant, "surface": "plain"},
        {**variant, "surface": "other", "sinks": [TABLE]},
    )

    names = [[sink.name for sink in surface.sinks] for surface in config.surfaces]
    assert names == [["db"], [], ["table"]]


@pytest.mark.parametrize(
    ("sink", "told"),
    [
        ({"name": "db", "type": "postgres"}, "sink db: dsn_env: is required"),
        ({"name": "db"}, "sink db: type: is required"),
        ({"name": "db", "type": UNTOLD}, f"sink db: type: must be one of {TYPES}"),
        (UNTOLD, "sink number 1: Input should be a valid dictionary or object to extract fields "
         "from, got text"),
        (TABLE | {"dsn_env": "X"}, "sink table: dsn_env: unknown key (did you mean 'dsn_env'?)"),
        (TABLE | {"fromat": "csv"}, "sink table: fromat: unknown key (did you mean 'format'?)"),
        (TABLE | {"name": f"{UNTOLD} "}, "sink number 1: name: must be small letters, digits and "
         "'_', at most 40, a letter first"),
        (DATABASE | {"dsn_env": f"postgresql://u:{UNTOLD}@h/x"}, "sink db: dsn_env: must be the "
         "name of an environment variable: the URL is a secret and stays out of this file"),
        (DATABASE | {"schema": "pg_catalog"}, "sink db: schema: must be the name of a schema, of "
         "63 bytes at most, not the server's own"),
        ({"name": "cache", "type": "redis"}, "sink cache: url_env: is required"),
        (CACHE | {"url_env": f"redis://:{UNTOLD}@h/0"}, "sink cache: url_env: must be the name of "
         "an environment variable: the URL is a secret and stays out of this file"),
        (CACHE | {"prefix": "{x}"}, "sink cache: prefix: must be 1 to 100 letters, digits and any "
         "of '_', '.', ':', '-'"),
        ({"name": "hook", "type": "webhook", "url_env": "X"}, "sink hook: secret_env: is required"),
        (HOOK | {"headers_env": {"A\n": "X"}}, "sink hook: headers_env.(a key).(a key): must be "
         "the name of a header: letters, digits and '-', a letter first"),
        (HOOK | {"headers_env": {"Content-Type": "X"}}, "sink hook: headers_env.(a key).(a key): "
         "must be no header that the sink sets itself"),
        (HOOK | {"headers_env": {"Authorization": f"Bearer {UNTOLD}"}}, "sink hook: headers_env.(a "
         "key): must be the name of an environment variable: the URL is a secret and stays out of "
         "this file"),
        (HOOK | {"body": "json"}, "sink hook: body: Input should be 'event' or 'service', "
         "got text"),
        (DATABASE | {"grace_minutes": 0}, "sink db: grace_minutes: Input should be greater than or "
         "equal to 1, got 0"),
        (TABLE | {"path": f"s3://u:{UNTOLD}@bucket"}, "sink table: path: must be "
         "s3://bucket/prefix, with nothing else in it: credentials and options come from the "
         "environment"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_sink_and_quotes_no_secret(file: Path, sink: Any, told: str) -> None:
    (problem,) = problems(file, {**SURFACE, "sinks": [sink]})

    assert problem == f"surface demo/home: {told}"
    assert UNTOLD not in problem


def test_two_of_a_name_are_refused(file: Path) -> None:
    (problem,) = problems(file, {**SURFACE, "sinks": [TABLE, DATABASE | {"name": "table"}]})

    assert problem == "surface demo/home: sinks: there are two that are called table"
