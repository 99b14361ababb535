"""The tables of the online service's database mode: `service_tables` of a sink in PostgreSQL.

They are the service's own: it makes them, and others may write other rows. Of a tenant and a
namespace, which is the surface, they hold what is live: its tags, and the counts of the live
window's last day. Other days stay as they are. What is not in what is live any more is removed in
the transaction that makes it live.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql

from recsys_assets.config import ServiceTables
from recsys_assets.sinks.postgres_tables import copy_rows
from recsys_assets.sinks.sink import Delivery


@dataclass(frozen=True)
class _Table:
    """A table: its columns, and which tell its rows within a tenant and a namespace."""

    name: str
    columns: Mapping[str, str]
    key: Sequence[str]
    by_day: bool
    # The columns of the kind's rows that it has under other names.
    renamed: Mapping[str, str]


_SCORE: Final = "numeric(18, 6)"
_TABLES: Final[Mapping[str, _Table]] = {
    "content_sim": _Table(
        "item_tags",
        {"item_id": "text", "tags": "text[]", "price": _SCORE, "created_at": "timestamptz"},
        ["item_id"],
        by_day=False,
        renamed={},
    ),
    "popularity": _Table(
        "item_popularity_daily",
        {"item_id": "text", "score": _SCORE},
        ["item_id"],
        by_day=True,
        renamed={"count": "score"},
    ),
    "cooc": _Table(
        "item_covisit_daily",
        {"item_id": "text", "neighbor_id": "text", "score": _SCORE},
        ["item_id", "neighbor_id"],
        by_day=True,
        renamed={"neighbour_id": "neighbor_id", "count": "score"},
    ),
}


class OfService:
    """Fills the tables: first the rows are sent, where nobody sees them, then they are merged."""

    def __init__(self, connection: Any, settings: ServiceTables, delivery: Delivery) -> None:
        self._connection = connection
        self._schema = sql.Identifier(settings.db_schema)
        self._tenant = settings.tenant or delivery.place.tenant
        self._delivery = delivery
        self._filled = {kind: of for kind, of in _TABLES.items() if kind in delivery.versions}

    def _run(self, statement: str, values: Mapping[str, Any], /, **names: sql.Composable) -> Any:
        text = sql.SQL(statement).format(schema=self._schema, **names)
        return self._connection.execute(text, values)

    def stage(self) -> None:
        """Send the rows into tables of this connection alone."""
        for kind, table in self._filled.items():
            rows = self._delivery.rows(kind).rename(dict(table.renamed)).drop_nulls([*table.key])
            if kind == "content_sim":
                details = self._delivery.details(kind).unique("item_id", keep="last")
                rows = rows.join(details, on="item_id", how="left", maintain_order="left")
            # A repeated item has one row there, as it has one entry in the service.
            rows = rows.unique(table.key, keep="last", maintain_order=True)
            columns = [
                sql.SQL(f"{{}} {of}").format(sql.Identifier(name))
                for name, of in table.columns.items()
            ]
            self._run(
                "create temp table {staged} ({columns})",
                {},
                staged=sql.Identifier(f"staged_{table.name}"),
                columns=sql.SQL(", ").join(columns),
            )
            copy_rows(
                self._connection,
                sql.Identifier("pg_temp", f"staged_{table.name}"),
                rows.select(table.columns.keys()),
            )
            self._run("analyze {staged}", {}, staged=sql.Identifier(f"staged_{table.name}"))

    def merge(self) -> None:
        """Put the rows in the place of those that are there, in a transaction of the caller's."""
        of: dict[str, Any] = {
            "tenant": self._tenant_id(),
            "namespace": self._delivery.place.surface,
            "day": self._delivery.publication.window.last_day,
        }
        if "content_sim" in self._filled and self._wants_a_time():
            self._run(
                "update pg_temp.staged_item_tags s set created_at = coalesce((select t.created_at "
                "from {schema}.item_tags t where t.tenant_id = %(tenant)s "
                "and t.namespace = %(namespace)s and t.item_id = s.item_id), now()) "
                "where s.created_at is null",
                of,
            )
        for table in self._filled.values():
            self._merge(table, of)

    def _wants_a_time(self) -> bool:
        """Tell whether the service's table takes no tags without `created_at`.

        Then an item whose catalog does not say keeps the one it has, and a new one has now.
        """
        found = self._run(
            "select attnotnull from pg_attribute where attname = 'created_at' "
            "and attrelid = to_regclass(%(table)s)",
            {
                "table": sql.Composed([self._schema, sql.SQL(".item_tags")]).as_string(
                    self._connection
                )
            },
        ).fetchone()
        return found is not None and bool(found[0])

    def _tenant_id(self) -> Any:
        """Return the id of the tenant, who is made where there is none."""
        self._run(
            "insert into {schema}.tenants (id, external_id, name, status) "
            "values (gen_random_uuid(), %(tenant)s, %(tenant)s, 'active') "
            "on conflict (external_id) do nothing",
            {"tenant": self._tenant},
        )
        found = self._run(
            "select id from {schema}.tenants where external_id = %(tenant)s",
            {"tenant": self._tenant},
        )
        return found.fetchone()[0]

    def _merge(self, table: _Table, of: Mapping[str, Any]) -> None:
        days = ["day"] if table.by_day else []
        fixed = ["tenant_id", "namespace", *days]
        values = [name for name in table.columns if name not in table.key]
        names: dict[str, sql.Composable] = {
            "table": sql.Identifier(table.name),
            "staged": sql.Identifier("pg_temp", f"staged_{table.name}"),
            "fixed": _listed("{}", fixed),
            "columns": _listed("{}", [*table.columns]),
            "key": _listed("{}", [*fixed, *table.key]),
            "same": _listed("s.{0} = t.{0}", table.key, " and "),
            "day_is": sql.SQL("and t.day = %(day)s") if days else sql.SQL(""),
            "day": sql.SQL(", %(day)s") if days else sql.SQL(""),
            "set": _listed("{0} = excluded.{0}", values),
            "old": _listed("t.{}", values),
            "new": _listed("excluded.{}", values),
        }
        self._run(
            "delete from {schema}.{table} t where t.tenant_id = %(tenant)s "
            "and t.namespace = %(namespace)s {day_is} "
            "and not exists (select 1 from {staged} s where {same})",
            of,
            **names,
        )
        self._run(
            "insert into {schema}.{table} as t ({fixed}, {columns}) "
            "select %(tenant)s, %(namespace)s {day}, {columns} from {staged} "
            "on conflict ({key}) do update set {set} "
            "where ({old}) is distinct from ({new})",
            of,
            **names,
        )


def _listed(each: str, names: Sequence[str], between: str = ", ") -> sql.Composed:
    return sql.SQL(between).join([sql.SQL(each).format(sql.Identifier(name)) for name in names])
