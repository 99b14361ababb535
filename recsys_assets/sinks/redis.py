"""Documents by owner in Redis: `type: redis`.

    <prefix>:{tenant/surface}:live                names what is live: generation, versions
    <prefix>:{tenant/surface}:<kind>:<version>    a hash by owner, or a list by place
    ...:<version>:<token>                         the same while it is loaded

All keys of a surface have one hash tag, so they lie on one node of a cluster, where a script may
change several of them at once. A version gets the key of its name once it is complete: that is its
mark. Until a flip names it, each key has a time to live, and what has left gets one in the flip.
So what nobody names goes away by itself, whoever is killed when.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import polars as pl
import redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.retry import Retry

from recsys_assets.config import RedisSink
from recsys_assets.documents import ListLayout
from recsys_assets.errors import ConfigError, SinkError
from recsys_assets.kinds import KINDS, OF_USERS
from recsys_assets.places import Place
from recsys_assets.sinks.sink import Delivered, Delivery, Sink, outcome_before
from recsys_assets.storage.deliveries import Held

# Seconds that the server may take for one answer, and where it only says what it holds: a tick of
# a sensor has 60. What failed is done once more, at once.
_ANSWER_S: Final = 10
_LOOKING_S: Final = 4
# Owners that are sent in one request, and of how many bytes at most, unless one is larger.
_OWNERS: Final = 2_000
_BYTES: Final = 2**20
# What is being loaded goes away this long after the last request of whoever loads it.
_LOADING_MS: Final = 10 * 60_000
_ATTEMPTS: Final = 20

# A part of a version. One step: a key without a time to live would stay for ever.
_ADD: Final = """
redis.call(ARGV[1], KEYS[1], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
# A version gets its name, unless it has it already; then it stays for the grace at least.
_NAME: Final = """
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('UNLINK', KEYS[1])
elseif redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
else
  redis.call('RENAME', KEYS[1], KEYS[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[1])
end
if redis.call('PTTL', KEYS[2]) >= 0 then
  redis.call('PEXPIRE', KEYS[2], ARGV[1])
end
return 1
"""
# KEYS: what names what is live, the versions that become it, then those that leave. ARGV: what is
# named now, what is to be named, how many become it, the grace.
_FLIP: Final = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 'moved' end
local last = 1 + tonumber(ARGV[3])
for at = 2, last do
  if redis.call('EXISTS', KEYS[at]) == 0 then return 'gone' end
end
for at = 2, last do redis.call('PERSIST', KEYS[at]) end
redis.call('SET', KEYS[1], ARGV[2])
for at = last + 1, #KEYS do redis.call('PEXPIRE', KEYS[at], ARGV[4]) end
return 'done'
"""
# What the server says first, and what it means. More of it is not repeated: it may quote an id.
_SAYS: Final = {
    "NOAUTH": ("it wants a password", "Put it into the address."),
    "WRONGPASS": ("user or password is wrong", "Put others into the address."),
    "NOPERM": ("the user may not do that", "docs/sinks.md has the rights that it needs."),
    "OOM": ("its memory is full", "Raise `maxmemory`, or give the sink a server of its own."),
    "READONLY": ("it is a replica", "The address must be that of the primary."),
    "MISCONF": ("it cannot save to its disk, and takes nothing", "Its own log says why."),
    "LOADING": ("it is starting", "It is tried again."),
    "MOVED": ("it is a node of a cluster", "Set `cluster: true` of the sink."),
    "CLUSTERDOWN": ("the cluster is down", "`redis-cli cluster info` says more."),
    "WRONGTYPE": ("a key of the sink is something else's", "Give the sink another `prefix`."),
}


def open_sink(sink: RedisSink, root: str) -> Sink:
    """Return the sink; where everything is written does not matter to it."""
    return Redis(sink)


@dataclass(frozen=True)
class _Live:
    """What stands in the key `live`: what is held, the text of it, and versions without a row."""

    text: str
    held: Held
    empty: frozenset[str]


class Redis:
    """A server, or a cluster."""

    def __init__(self, sink: RedisSink) -> None:
        self._sink = sink
        self._where = f"the Redis in ${sink.url_env}"
        self._grace_ms = sink.grace_minutes * 60_000

    def held(self, places: Collection[Place]) -> dict[Place, Held]:
        """Return what it holds of surfaces; a version whose key was evicted is not held."""
        places = list(places)
        with self._connected(_LOOKING_S) as client:
            texts = self._each(client, "get", [self._live_key(place) for place in places])
            found = {
                place: self._parsed(place, text)
                for place, text in zip(places, texts, strict=True)
                if text is not None
            }
            return {
                place: Held(live.held.generation, self._there(client, place, live))
                for place, live in found.items()
            }

    def deliver(self, delivery: Delivery) -> Delivered:
        """Load the versions that are not there, and make them live in one script."""
        rows = dict[str, int]()
        with self._connected(_ANSWER_S) as client:
            for _ in range(_ATTEMPTS):
                before = self._live(client, delivery.place)
                outcome = outcome_before(before.held if before else None, delivery)
                if before and outcome:
                    there = self._there(client, delivery.place, before)
                    if outcome == "outdated" or there == delivery.versions:
                        return Delivered(outcome, before.held, rows)
                empty = self._load(client, delivery, before, rows)
                started = time.monotonic()
                if self._flip(client, delivery, before, empty) == "done":
                    flip_s = time.monotonic() - started
                    return Delivered("delivered", delivery.held, rows, flip_s)
        raise SinkError(
            f"what is loaded into {self._where} is gone before it is live, or others keep "
            "delivering of the same surface",
            advice="Look at `maxmemory-policy`, raise grace_minutes, and deliver it again.",
        )

    def users(self, place: Place) -> Iterator[tuple[str, Iterable[str]]]:
        """Yield each key of a kind of users, also one being loaded, and whose ids it has."""
        with self._connected(_ANSWER_S) as client:
            for key, kind in self._keys_of(client, place):
                if kind in OF_USERS:
                    # In parts: a command of Redis that gives all fields holds up everybody else.
                    found = client.hscan_iter(key, count=_OWNERS)
                    yield f"{self._where}: {key}", (of for of, _ in found)

    def purge(self, place: Place) -> None:
        """Remove the versions that are not live, whenever they left, and what is being loaded."""
        with self._connected(_ANSWER_S) as client:
            live = self._live(client, place)
            named = live.held.versions.items() if live else ()
            kept = {self._key(place, kind, version) for kind, version in named}
            for key, _ in self._keys_of(client, place):
                if key not in kept:
                    self._run(client, "unlink", key)

    def _keys_of(self, client: Any, place: Place) -> Iterator[tuple[str, str]]:
        """Yield the keys of versions of a surface, and the kind of each."""
        prefix = f"{self._sink.prefix}:{{{place.name}}}:"
        pattern = re.sub(r"([][*?^\\])", r"\\\1", prefix)
        for key in client.scan_iter(match=f"{pattern}*:*", count=_OWNERS):
            kind, _, version = key.removeprefix(prefix).partition(":")
            if version:
                yield key, kind

    def _load(
        self, client: Any, delivery: Delivery, before: _Live | None, rows: dict[str, int]
    ) -> frozenset[str]:
        """Load what is not there, count it in `rows`; return the versions that have no row."""
        empty = set[str]()
        for kind, version in delivery.versions.items():
            if before and version in before.empty:
                empty.add(version)
            elif not self._run(client, "exists", self._key(delivery.place, kind, version)):
                frame = delivery.rows(kind)
                rows[kind] = frame.height
                if frame.is_empty():
                    empty.add(version)
                else:
                    self._fill(client, delivery.place, kind, version, frame)
        return frozenset(empty)

    def _fill(
        self, client: Any, place: Place, kind: str, version: str, frame: pl.DataFrame
    ) -> None:
        """Load a version under a name that nobody else uses, then give it its own."""
        layout, key = KINDS[kind].layout, self._key(place, kind, version)
        loading = f"{key}:{uuid4().hex}"
        owners = texts_of(frame, layout)
        command = "ZADD" if is_by_place(layout) else "HSET"
        for batch in _batches(owners):
            self._run(client, "eval", _ADD, 1, loading, command, _LOADING_MS, *batch)
        self._run(client, "eval", _NAME, 2, loading, key, self._grace_ms)

    def _flip(
        self, client: Any, delivery: Delivery, before: _Live | None, empty: frozenset[str]
    ) -> str:
        place, versions = delivery.place, delivery.versions
        comes = [
            self._key(place, kind, version)
            for kind, version in versions.items()
            if version not in empty
        ]
        leaves = [
            self._key(place, kind, version)
            for kind, version in (before.held.versions.items() if before else ())
            if versions.get(kind) != version
        ]
        publication = delivery.publication
        members = {
            "v": 1,
            "generation": delivery.generation,
            "versions": versions,
            "empty": sorted(empty),
            "window": publication.window.to_json(),
            "published_at": publication.published_at,
        }
        keys = [self._live_key(place), *comes, *leaves]
        values = [before.text if before else "", json.dumps(members), len(comes), self._grace_ms]
        return str(self._run(client, "eval", _FLIP, len(keys), *keys, *values))

    def _live(self, client: Any, place: Place) -> _Live | None:
        text = self._run(client, "get", self._live_key(place))
        return None if text is None else self._parsed(place, text)

    def _parsed(self, place: Place, text: str) -> _Live:
        try:
            members = json.loads(text)
            held = Held(int(members["generation"]), dict(members["versions"]))
            return _Live(text, held, frozenset(members["empty"]))
        except (ValueError, KeyError, TypeError) as error:
            raise SinkError(
                f"the key {self._live_key(place)} in {self._where} names nothing that is live: "
                f"{error!r}",
                advice="Remove it and deliver again.",
            ) from None

    def _there(self, client: Any, place: Place, live: _Live) -> dict[str, str]:
        """Return the versions that are named and there."""
        versions = live.held.versions
        keys = [self._key(place, kind, version) for kind, version in versions.items()]
        there = self._each(client, "exists", keys)
        return {
            kind: version
            for (kind, version), is_there in zip(versions.items(), there, strict=True)
            if is_there or version in live.empty
        }

    def _live_key(self, place: Place) -> str:
        return f"{self._sink.prefix}:{{{place.name}}}:live"

    def _key(self, place: Place, kind: str, version: str) -> str:
        return f"{self._sink.prefix}:{{{place.name}}}:{kind}:{version}"

    def _each(self, client: Any, command: str, keys: Sequence[str]) -> list[Any]:
        """Return the answer of each key, all of one round trip to each node."""
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            getattr(pipeline, command)(key)
        return list(pipeline.execute())

    def _run(self, client: Any, command: str, *values: Any) -> Any:
        return getattr(client, command)(*values)

    @contextmanager
    def _connected(self, timeout_s: float) -> Iterator[Any]:
        """Connect; tell what goes wrong, without the address and without what was sent.

        Raises:
            ConfigError: the variable is not set, or holds no address.
            SinkError: the server cannot be reached, or refuses something.
        """
        url, problem, advice = self._address(), "", ""
        options: dict[str, Any] = {
            "decode_responses": True,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "retry": Retry(NoBackoff(), 1),
        }
        try:
            make = RedisCluster.from_url if self._sink.cluster else redis.Redis.from_url
            with make(url, **options) as client:
                yield client
        except redis.RedisError as error:
            problem, advice = _said(error)
        if problem:  # not above: what the driver said would go with it
            raise SinkError(f"{self._where} cannot be used: {problem}", advice=advice) from None

    def _address(self) -> str:
        """Return the address."""
        variable = self._sink.url_env
        url, form = os.environ.get(variable, "").strip(), "redis://user:password@host:port/0"
        if not url:
            raise ConfigError(
                f"${variable} is not set: {self._where} takes its address from there, {form}"
            )
        try:
            redis.connection.parse_url(url)  # type: ignore[no-untyped-call]
        except ValueError:  # which quotes it
            url = ""
        if not url:
            raise ConfigError(f"${variable} holds no address: {form}, or rediss:// for TLS")
        return url


def _said(error: redis.RedisError) -> tuple[str, str]:
    """Return what it means that the driver raised this, and what to do about it."""
    text = str(error)
    code = next((code for code in _SAYS if re.search(rf"\b{code}\b", text)), "")
    if "can't run this command" in text:  # in a script
        code = "NOPERM"
    if isinstance(error, redis.AuthenticationError):
        code = "WRONGPASS" if "invalid" in text.lower() else "NOAUTH"
    # The driver takes the code off the text of what it has classes for.
    named: Mapping[type[redis.RedisError], str] = {
        redis.exceptions.OutOfMemoryError: "OOM",
        redis.exceptions.ReadOnlyError: "READONLY",
        redis.exceptions.BusyLoadingError: "LOADING",
        redis.exceptions.NoPermissionError: "NOPERM",
        redis.exceptions.ClusterDownError: "CLUSTERDOWN",
        redis.exceptions.MovedError: "MOVED",
    }
    code = next((of for kind, of in named.items() if isinstance(error, kind)), code)
    if code:
        return _SAYS[code]
    if isinstance(error, redis.TimeoutError):
        return "it does not answer in time", "Is it up, and not too busy?"
    if isinstance(error, redis.ConnectionError | redis.exceptions.RedisClusterException):
        return "nothing answers there", "Is the server up, and are host, port and TLS right?"
    return f"it refuses a command ({type(error).__name__})", "Its own log says more."


def is_by_place(layout: ListLayout) -> bool:
    """Tell whether a kind is one list for everybody: its owners have a number each."""
    return layout.entry is None and layout.value != "tags"


def texts_of(frame: pl.DataFrame, layout: ListLayout) -> pl.DataFrame:
    """Return a row an owner, in published order: what it is found by, and its JSON.

    What a list for everybody is found by is its place, from 0.
    """
    if is_by_place(layout):
        text = pl.struct(frame.columns).struct.json_encode()
        return frame.select(pl.int_range(pl.len()).cast(pl.String).alias("of"), text.alias("text"))
    text = pl.struct(pl.exclude(layout.owner)).struct.json_encode()
    if layout.entry is None:
        return frame.select(pl.col(layout.owner).alias("of"), text.alias("text"))
    entries = text.filter(pl.col(layout.entry).is_not_null()).str.join(",")
    return frame.group_by(pl.col(layout.owner).alias("of"), maintain_order=True).agg(
        pl.format("[{}]", entries).alias("text")
    )


def _batches(owners: pl.DataFrame) -> Iterator[list[str]]:
    """Yield what owners are found by and their texts, in turn, in batches of a bounded size."""
    batch, size = list[str](), 0
    for of, text in owners.iter_rows():
        if batch and (len(batch) == 2 * _OWNERS or size + len(text) > _BYTES):
            yield batch
            batch, size = [], 0
        batch += (of, text)
        size += len(text)
    if batch:
        yield batch
