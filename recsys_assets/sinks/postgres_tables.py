"""The tables that a sink has for itself in PostgreSQL.

deliveries         a row a surface: the generation it was delivered at
versions           a row a version that is loaded; left_at is null of those that are live
<kind>_versions    the rows of a kind, a partition a version, `<kind>_<id>`
live, <kind>       views of what is live
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

import polars as pl
from psycopg import Error, sql

from recsys_assets import contracts
from recsys_assets.kind import Kind
from recsys_assets.kinds import KINDS, OF_USERS
from recsys_assets.places import Place
from recsys_assets.sinks.sink import Delivery
from recsys_assets.storage.deliveries import Held

_COPY_ROWS: Final = 50_000
# Seconds that a statement waits for a lock: of those that want the same one, each has it briefly.
LOCK_S: Final = 30
_COMMON: Final = """
create table if not exists {schema}.deliveries (
    tenant text, surface text, generation bigint not null, first_day date not null,
    last_day date not null, published_at timestamptz not null,
    delivered_at timestamptz not null default now(), primary key (tenant, surface));
create table if not exists {schema}.versions (
    id bigint generated always as identity primary key, version text not null unique,
    tenant text not null, surface text not null, kind text not null, rows bigint not null,
    loaded_at timestamptz not null default now(), left_at timestamptz default now());
create index if not exists versions_of_surface on {schema}.versions (tenant, surface, kind);
create or replace view {schema}.live as
    select tenant, surface, v.kind, v.version, v.rows, d.generation, d.first_day, d.last_day,
        d.published_at, d.delivered_at
    from {schema}.versions v join {schema}.deliveries d using (tenant, surface)
    where v.left_at is null;
"""
_OF_KIND: Final = """
create table if not exists {schema}.{table} (version_id bigint not null, {columns},
    primary key ({key})) partition by list (version_id);
create or replace view {schema}.{kind} as
    select v.tenant, v.surface, v.version, {names}
    from {schema}.versions v join {schema}.{table} a on a.version_id = v.id
    where v.kind = {kind_text} and v.left_at is null;
"""


class Tables:
    """The tables in a schema, by way of a connection that commits each statement."""

    def __init__(self, connection: Any, schema: str) -> None:
        self._connection = connection
        self._schema_name = schema
        self._schema = sql.Identifier(schema)

    def _run(self, statement: str, values: Iterable[Any] = (), /, **names: sql.Composable) -> Any:
        text = sql.SQL(statement).format(schema=self._schema, **names)
        return self._connection.execute(text, list(values) or None)

    def _is_there(self, table: str) -> bool:
        of = sql.Identifier(self._schema_name, table).as_string(self._connection)
        return self._run("select to_regclass(%s)", [of]).fetchone()[0] is not None

    def held(self, places: Collection[Place]) -> dict[Place, Held]:
        """Return what there is of surfaces, in one statement."""
        if not self._is_there("deliveries"):
            return {}
        found: dict[Place, Held] = {}
        rows = self._run(
            "select d.tenant, d.surface, d.generation, v.kind, v.version "
            "from {schema}.deliveries d left join {schema}.versions v "
            "on v.tenant = d.tenant and v.surface = d.surface and v.left_at is null "
            "where (d.tenant, d.surface) in (select * from unnest(%s::text[], %s::text[]))",
            [[place.tenant for place in places], [place.surface for place in places]],
        )
        for tenant, surface, generation, kind, version in rows:
            held = found.setdefault(Place(tenant, surface), Held(generation, {}))
            if kind is not None:
                found[Place(tenant, surface)] = Held(generation, {**held.versions, kind: version})
        return found

    def make(self, kinds: Collection[str]) -> None:
        """Create what is not there yet; of two that do, one waits for the other."""
        views = ("live", *kinds)
        if all(map(self._is_there, views)):
            return
        with self._connection.transaction():
            self._run("select pg_advisory_xact_lock(hashtextextended(%s, 1))", [self._schema_name])
            # Not `if not exists`, which wants the right to make one also where it is there.
            name = self._schema.as_string(self._connection)
            if self._run("select to_regnamespace(%s)", [name]).fetchone()[0] is None:
                self._run("create schema {schema}")
            self._run(_COMMON)
            for kind in kinds:
                names = self._names(KINDS[kind])
                self._run(_OF_KIND, **names)
                if KINDS[kind].layout.entry is None:  # others begin their key with it
                    self._run(
                        "create index if not exists {index} on {schema}.{table} "
                        "(version_id, {owner})",
                        **names,
                    )

    def _names(self, kind: Kind) -> dict[str, sql.Composable]:
        """Return how the tables of a kind are written."""
        columns = {"place": "integer", **_columns(kind)}
        owner = kind.layout.owner
        key = ["version_id", *([owner] if kind.layout.entry else []), "place"]
        typed = [
            sql.SQL(f"{{}} {of} not null").format(sql.Identifier(of_))
            for of_, of in columns.items()
        ]
        return {
            "kind": sql.Identifier(kind.name),
            "kind_text": sql.Literal(kind.name),
            "table": sql.Identifier(f"{kind.name}_versions"),
            "index": sql.Identifier(f"{kind.name}_by_{owner}"),
            "owner": sql.Identifier(owner),
            "key": _identifiers(key),
            "names": _identifiers(columns),
            "columns": sql.SQL(", ").join(typed),
        }

    def wait_for_turn(self, place: Place) -> None:
        """Wait for whoever else delivers of this surface; who is killed is waited for no longer.

        The turn ends with the connection.
        """
        self._run("set lock_timeout = 0")  # it takes as long as a load
        key = [f"{self._schema_name}/{place.name}"]
        self._run("select pg_advisory_lock(hashtextextended(%s, 2))", key)
        self._run("set lock_timeout = {seconds}", seconds=sql.Literal(f"{LOCK_S}s"))

    def has(self, version: str) -> bool:
        """Tell whether a version is loaded."""
        found = self._run("select 1 from {schema}.versions where version = %s", [version])
        return found.fetchone() is not None

    def load(self, place: Place, kind: Kind, version: str, rows: pl.DataFrame) -> int:
        """Load a version as a partition that nothing names yet; return the rows.

        One transaction: whoever is killed meanwhile leaves nothing. An owner without entries has no
        rows.
        """
        rows = _placed(rows, kind)
        with self._connection.transaction():
            (number,) = self._run(
                "insert into {schema}.versions (version, tenant, surface, kind, rows) "
                "values (%s, %s, %s, %s, %s) returning id",
                [version, place.tenant, place.surface, kind.name, rows.height],
            ).fetchone()
            names: dict[str, sql.Composable] = {
                **self._names(kind),
                "partition": sql.Identifier(f"{kind.name}_{number}"),
                "number": sql.Literal(number),
            }
            # Not like its parent: nothing is locked there, and indexes of all rows are made at
            # once. With the check, attaching it need not look at the rows.
            self._run(
                "create table {schema}.{partition} (version_id bigint not null default {number} "
                "check (version_id = {number}), {columns})",
                **names,
            )
            partition = sql.Identifier(self._schema_name, f"{kind.name}_{number}")
            copy_rows(self._connection, partition, rows, freeze=True)
            self._run("alter table {schema}.{partition} add primary key ({key})", **names)
            if kind.layout.entry is None:
                self._run("create index on {schema}.{partition} (version_id, {owner})", **names)
            self._run(
                "alter table {schema}.{table} attach partition {schema}.{partition} "
                "for values in ({number})",
                **names,
            )
        self._run("analyze {schema}.{partition}", **names)
        return rows.height

    def flip(self, delivery: Delivery) -> bool:
        """Make the versions of a delivery live, unless a newer one is; tell whether they are.

        In a transaction of the caller's.
        """
        place, publication = delivery.place, delivery.publication
        moved = self._run(
            "insert into {schema}.deliveries as d "
            "(tenant, surface, generation, first_day, last_day, published_at) "
            "values (%s, %s, %s, %s, %s, %s) on conflict (tenant, surface) do update set "
            "generation = excluded.generation, first_day = excluded.first_day, "
            "last_day = excluded.last_day, published_at = excluded.published_at, "
            "delivered_at = now() where d.generation < excluded.generation",
            [
                *(place.tenant, place.surface, delivery.generation),
                *(publication.window.start, publication.window.last_day),
                publication.published_at,
            ],
        )
        if not moved.rowcount:
            return False
        versions = [*delivery.versions.values()]
        self._run(
            "update {schema}.versions set left_at = now() where tenant = %s and surface = %s "
            "and left_at is null and version <> all(%s)",
            [place.tenant, place.surface, versions],
        )
        self._run("update {schema}.versions set left_at = null where version = any(%s)", [versions])
        return True

    def users(self, place: Place) -> Iterator[tuple[str, Iterator[str]]]:
        """Yield the tables of versions of a surface, and of forgotten ones, and whose ids each has.

        The ids come as they are read, so a table is read before the next one is asked for.
        """
        if not self._is_there("versions"):
            return
        tables = self._run(
            "select c.relname from pg_class c "
            "join pg_namespace n on n.oid = c.relnamespace and n.nspname = %s "
            "left join {schema}.versions v on c.relname = v.kind || '_' || v.id "
            "where c.relkind = 'r' and c.relname ~ %s "
            "and (v.id is null or (v.tenant = %s and v.surface = %s)) order by 1",
            [self._schema_name, _named(OF_USERS), place.tenant, place.surface],
        ).fetchall()
        for (table,) in tables:
            owner = KINDS[table.rpartition("_")[0]].layout.owner
            statement = sql.SQL("select distinct {} from {}").format(
                sql.Identifier(owner), sql.Identifier(self._schema_name, table)
            )
            with self._connection.cursor() as cursor:
                yield table, (user for (user,) in cursor.stream(statement))

    def clean(self, place: Place, grace_minutes: int) -> list[str]:
        """Drop the versions of a surface that left longer ago; return what went wrong.

        First a version is forgotten, so that none is taken for loaded while it is dropped. One at a
        time drops; others leave it to that one, and without a grace they wait for it.
        """
        try:
            self._run(
                "delete from {schema}.versions where tenant = %s and surface = %s "
                "and left_at < now() - make_interval(mins => %s)",
                [place.tenant, place.surface, grace_minutes],
            )
            lock = "pg_try_advisory_lock" if grace_minutes else "pg_advisory_lock"
            key = "(hashtextextended(%s, 3))"
            (mine,) = self._run(f"select {lock}{key}", [self._schema_name]).fetchone()
            if mine is not False:  # whoever waited is told nothing
                try:
                    self._drop_forgotten()
                finally:  # the server may take a while to see that the connection has ended
                    if not self._connection.broken:
                        self._run(f"select pg_advisory_unlock{key}", [self._schema_name])
        except Error as error:
            if self._connection.broken:
                return ["the connection broke while old versions were dropped"]
            return [f"old versions could not be dropped: {error.diag.message_primary}"]
        return []

    def _drop_forgotten(self) -> None:
        found = self._run(
            "select c.relname, p.relname, i.inhdetachpending from pg_class c "
            "join pg_namespace n on n.oid = c.relnamespace and n.nspname = %s "
            "left join pg_inherits i on i.inhrelid = c.oid "
            "left join pg_class p on p.oid = i.inhparent "
            "where c.relkind = 'r' and c.relname ~ %s and not exists (select 1 from "
            "{schema}.versions v where c.relname = v.kind || '_' || v.id)",
            [self._schema_name, _named(KINDS)],
        ).fetchall()
        for name, parent, is_pending in found:
            names: dict[str, sql.Composable] = {"partition": sql.Identifier(name)}
            if parent is not None:
                how = "finalize" if is_pending else "concurrently"
                self._run(
                    "alter table {schema}.{parent} detach partition {schema}.{partition} {how}",
                    how=sql.SQL(how),
                    parent=sql.Identifier(parent),
                    **names,
                )
            self._run("drop table if exists {schema}.{partition}", **names)


def _named(kinds: Iterable[str]) -> str:
    """Return the pattern of the names of the partitions of some kinds."""
    return f"^({'|'.join(kinds)})_[0-9]+$"


def copy_rows(
    connection: Any, table: sql.Composable, rows: pl.DataFrame, *, freeze: bool = False
) -> None:
    """Append rows to a table, into the columns that have their names.

    Frozen, they are not looked at again for it; the table must be of the same transaction.
    """
    statement = sql.SQL("copy {} ({}) from stdin (format csv, freeze {})").format(
        table, _identifiers(rows.columns), sql.Literal(freeze)
    )
    texts = [
        _array_text(pl.col(name)) if dtype == pl.List else pl.col(name)
        for name, dtype in rows.schema.items()
    ]
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for piece in rows.iter_slices(_COPY_ROWS):
            copy.write(piece.select(texts).write_csv(include_header=False))


def _array_text(column: pl.Expr) -> pl.Expr:
    """Write lists of texts as PostgreSQL reads arrays."""
    element = pl.element().str.replace_all("\\", "\\\\", literal=True)
    quoted = pl.concat_str(
        pl.lit('"'), element.str.replace_all('"', '\\"', literal=True), pl.lit('"')
    )
    return pl.concat_str(pl.lit("{"), column.list.eval(quoted).list.join(","), pl.lit("}"))


def _placed(rows: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """Number rows from 1: within their owner's list, where there are lists."""
    if kind.layout.entry is None:
        return rows.with_row_index("place", offset=1)
    entries = rows.filter(pl.col(kind.layout.entry).is_not_null())
    first = pl.col(kind.layout.owner).ne_missing(pl.col(kind.layout.owner).shift())
    at = pl.int_range(pl.len())
    start = pl.when(first).then(at).forward_fill()
    return entries.with_columns(place=at - start + 1)


def _columns(kind: Kind) -> dict[str, str]:
    return {name: _type(dtype) for name, dtype in contracts.dtypes(kind.contract).items()}


def _type(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.List):
        return f"{_type(pl.String())}[]"
    if dtype.is_integer():
        return "bigint"
    return "double precision" if dtype.is_float() else "text"


def _identifiers(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
