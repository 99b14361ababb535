"""A Spark cluster by Spark Connect: `type: spark`. Rows come back in pieces.

The address may hold a token, so what the client says is told without it, and never as a cause.
What it says of an address that it does not take is not told at all: there a secret may be anywhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import grpc
import polars as pl
import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql.connect.client import DefaultChannelBuilder
from pyspark.sql.connect.client.retries import DefaultPolicy
from pyspark.sql.connect.session import SparkSession

from recsys_assets.config import Engine as Configured
from recsys_assets.config import is_object_url
from recsys_assets.engines.engine import by_columns
from recsys_assets.errors import ConfigError, EngineError
from recsys_assets.events.accepted import AcceptedDay

_ADDRESS: Final = re.compile(r"sc://[^/;:@][^/;@]*(/|$)")
_LEAST_VERSION: Final = 4
# Of a server that does not answer: a third of a minute. The client's own are ten minutes.
_RETRIES: Final = {"max_retries": 6, "max_backoff": 10_000}
_SETTINGS: Final = {
    "spark.sql.session.timeZone": "UTC",
    # Spark has no timestamps in nanoseconds: they are read as the numbers that they are stored as.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    # For the first rows of an order each task would take memory for as many as the limit allows.
    "spark.sql.execution.topKSortFallbackThreshold": "100000",
}
# Of a server that has them.
_NANOSECONDS: Final = (
    "unix_micros(date_trunc('second', ts)) * 1000 + cast(date_format(ts, 'SSSSSSSSS') as bigint)"
)
_COLUMNS: Final = "user_id, session_id, item_id, file, line"
# Of the key of a day: canonical/<tenant>/<surface>/exposures/<day>.parquet.
_SEGMENTS: Final = 5
_MOST_SAID: Final = 300
# What a failure says, in lower case, and what it means.
_MEANINGS: Final = (
    ("maxresultsize", "its spark.driver.maxResultSize is less than the rows take: set it to 0"),
    ("outofmemory", "it has not the memory: give it more, or more executors"),
    ("stopped sparkcontext", "it has stopped: most often it had not the memory, its log tells"),
    ("java heap space", "it has not the memory: give it more, or more executors"),
    ("unavailable", "it does not answer: is it up, and may it be reached from here?"),
    ("retries_exceeded", "it does not answer: is it up, and may it be reached from here?"),
    ("deadline", "it does not answer in time"),
    ("unauthenticated", "it does not know us: is the token right?"),
    ("permission", "it does not let us in, or not at the files: look at the rights of both"),
    ("session_closed", "it was started again, or closed the session"),
    ("session_not_found", "it was started again, or closed the session"),
    ("operation_not_found", "it was started again while it computed"),
    ("path_not_found", "it does not find the files of `root`: look at engine.root"),
    # Sail reads what is not there as files without columns.
    ("missing from the schema", "it does not find the files of `root`: look at engine.root"),
)


def open_engine(configured: Configured) -> Spark:
    """Return the engine.

    Raises:
        ConfigError: the variable of its address is not set, or holds none.
    """
    variable = configured.remote_env or ""
    address = os.environ.get(variable, "").strip()
    try:
        # The client would take what follows a name as a part of it, and show it.
        if not _ADDRESS.match(address):
            raise ValueError
        DefaultChannelBuilder(address)
    except (PySparkException, ValueError):
        raise ConfigError(
            f"${variable} is not set, or is no address: `engine: {{type: spark}}` takes that of a "
            "Spark Connect server from there, sc://host:15002, or "
            "sc://host:15002/;use_ssl=true;token=..."
        ) from None
    return Spark(variable, address, configured.root)


@dataclass(frozen=True)
class Spark:
    """A Spark Connect server, its address, and where it finds what is in `root`."""

    variable: str
    address: str = field(repr=False)
    root: str | None

    @contextmanager
    def session(self, days: Sequence[AcceptedDay], _: Path) -> Iterator[_Session]:
        """Open a session of its own; days are read where they lie."""
        with self._told():
            spark = SparkSession(connection=self.address)
            try:
                spark.client.set_retry_policies([DefaultPolicy(**_RETRIES)])
                self._refuse_old(spark.version)
                session = _Session(spark, self)
                session.read(days)
            except BaseException:
                _close(spark)
                raise
        try:
            yield session
        finally:
            _close(spark)

    def _refuse_old(self, version: str) -> None:
        if int(version.partition(".")[0]) < _LEAST_VERSION:
            raise EngineError(
                f"the Spark server of ${self.variable} is {version}, and has to be "
                f"{_LEAST_VERSION}.0 or later",
                advice="Put the address of such a one there.",
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raise in the place of the client's errors what they mean, without secrets."""
        try:
            yield
        except (PySparkException, grpc.RpcError, ValueError) as error:
            said = str(error)
            found = f"{type(error).__name__} {said}".lower()
            meaning = next((means for phrase, means in _MEANINGS if phrase in found), None)
            raise EngineError(
                f"the Spark server of ${self.variable}: {meaning or self._shown(said)}",
                advice="Nothing was changed; materialize the artifact again once it is mended.",
            ) from None

    def _shown(self, said: str) -> str:
        of_call = re.search(r'details = "(.+)"', said)
        said = of_call[1] if of_call else said
        _, *parameters = self.address.split(";")
        secrets = [self.address, *(each.partition("=")[2] for each in parameters)]
        for secret in sorted({*secrets, *map(unquote, secrets)} - {"", "true"}, key=len)[::-1]:
            said = said.replace(secret, "***")
        return said.strip().partition("\n")[0][:_MOST_SAID]


class _Session:
    def __init__(self, spark: SparkSession, engine: Spark) -> None:
        self._spark = spark
        self._engine = engine
        self._told = engine._told

    def read(self, days: Sequence[AcceptedDay]) -> None:
        for key, value in _SETTINGS.items():
            self._spark.conf.set(key, value)
        parts = []
        for number, (columns, those) in enumerate(by_columns(days).items()):
            paths = [self._path(day.location) for day in those]
            self._spark.read.parquet(*paths).createOrReplaceTempView(f"part{number}")
            (of,) = self._rows(f"select typeof((select max(ts) from part{number})) as type")
            ts = "ts" if of["type"] == "bigint" else f"{_NANOSECONDS} as ts"
            parts.append(f"select {ts}, {_COLUMNS}, {columns} from part{number}")
        self.define("stored", " union all ".join(parts))

    def _path(self, location: str) -> str:
        if self._engine.root is None:
            return location if is_object_url(location) else f"file://{location}"
        below_root = location.split("/")[-_SEGMENTS:]
        return "/".join([self._engine.root, *below_root])

    def _rows(self, text: str) -> list[dict[str, str]]:
        return [row for frame in self.query(text) for row in frame.to_dicts()]

    def define(self, name: str, text: str) -> None:
        """Give a query a name."""
        with self._told():
            self._spark.sql(text).createOrReplaceTempView(name)

    def give(self, name: str, frame: pl.DataFrame) -> None:
        """Give rows a name."""
        with self._told():
            self._spark.createDataFrame(frame.to_arrow()).createOrReplaceTempView(name)

    def query(self, text: str) -> Iterator[pl.DataFrame]:
        """Yield the rows of a query."""
        with self._told():
            asked = self._spark.sql(text)
            client = self._spark.client
            # Not public, and what `toLocalIterator` is made of, which makes an object of each row.
            answers = client.to_table_as_iterator(asked._plan.to_proto(client), {})
        empty = True
        while True:
            with self._told():
                answer = next(answers, None)
            if answer is None:
                break
            if isinstance(answer, pa.Table):
                empty = False
                yield pl.DataFrame(answer)
        if empty:
            raise EngineError(f"the Spark server of ${self._engine.variable} answered with nothing")


def _close(spark: SparkSession) -> None:
    # A server that is away can be told nothing, and this says so in words of its own.
    with suppress(Exception):
        spark.client.release_session()
    with suppress(Exception):
        spark.client.close()
