"""Documents by owner in Redis, on a real server: what is where, what goes away, what is told."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import traceback
from collections.abc import Iterator
from itertools import count
from threading import Event, Thread
from typing import Any, Final

import polars as pl
import pytest
import redis

from recsys_assets import contracts
from recsys_assets.config import RedisSink
from recsys_assets.errors import ConfigError, RecsysAssetsError, SinkError
from recsys_assets.kinds import KINDS
from recsys_assets.sinks import open_sink
from recsys_assets.sinks.redis import texts_of
from recsys_assets_tests import redis_server
from recsys_assets_tests.config.files import UNTOLD
from recsys_assets_tests.redis_server import PASSWORD, url_of
from recsys_assets_tests.shop import Shop, on
from recsys_assets_tests.sinks.conftest import CutOffError, Tried, in_redis
from recsys_assets_tests.test_docs import example, section

GRACE_MS: Final = 3_600_000


@pytest.fixture
def tried(shop: Shop, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Tried:
    return in_redis(shop, redis_url, monkeypatch)


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def prefix(tried: Tried) -> str:
    assert isinstance(tried.config, RedisSink)
    return f"{tried.config.prefix}:{{demo/home}}:"


def lives(tried: Tried, client: Any) -> dict[str, int]:
    """Return the time to live of each key, -1 where it stays."""
    start = prefix(tried)
    return {key.removeprefix(start): client.pttl(key) for key in client.scan_iter(f"{start}*")}


def kept(tried: Tried, client: Any) -> set[str]:
    return {key.partition(":")[0] for key, left in lives(tried, client).items() if left == -1}


@pytest.mark.parametrize("name", KINDS)
def test_the_documents_of_every_kind_are_found_by_owner_whatever_ids_are(name: str) -> None:
    kind, schema = KINDS[name], contracts.dtypes(KINDS[name].contract)
    layout, odd = kind.layout, ["", 'q"uote', "line\nbreak", "{a}:b", "ü€𝄞"]
    frame = pl.DataFrame(
        {
            column: [[of, "x"] for of in odd] if isinstance(dtype, pl.List)
            else odd if dtype == pl.String
            else [number + (0 if dtype.is_integer() else 0.25) for number in range(len(odd))]
            for column, dtype in schema.items()
        }
    ).cast(dict(schema)).select(schema.names())  # type: ignore[arg-type]  # fmt: skip
    alone = pl.DataFrame([["nobody"]], schema=[layout.owner], orient="row")
    whole = pl.concat([frame, alone], how="diagonal") if layout.entry else frame

    found = {of: json.loads(text) for of, text in texts_of(whole, layout).iter_rows()}

    rows = frame.to_dicts()
    if name == "popularity":
        assert found == {str(place): row for place, row in enumerate(rows)}
        return
    by_owner = {row.pop(layout.owner): row for row in rows}
    if layout.entry:
        assert found == {of: [row] for of, row in by_owner.items()} | {"nobody": []}
    else:
        assert found == by_owner


def test_what_is_live_stays_and_what_has_left_goes_after_the_grace(
    tried: Tried, client: Any
) -> None:
    for day in (1, 2):
        tried.publish(day, day)
        tried.deliver()

    assert kept(tried, client) == {"live", "popularity", "cooc"}
    leaving = [left for left in lives(tried, client).values() if left != -1]
    assert len(leaving) == 2
    assert all(GRACE_MS - 60_000 < left <= GRACE_MS for left in leaving)
    tried.shop.rollback("previous")
    assert tried.deliver().rows == {}, "it is there still"
    assert kept(tried, client) == {"live", "popularity", "cooc"}
    assert tried.number == 1


def test_whatever_a_killed_deliverer_left_goes_away_by_itself(tried: Tried, client: Any) -> None:
    tried.publish(1, 1)
    tried.deliver()
    for at in count():
        tried.publish(at + 2, at + 2)
        with tried.cut(at) as calls, contextlib.suppress(CutOffError):
            tried.deliver()
        named = json.loads(client.get(f"{prefix(tried)}live"))["versions"]
        stay = {key for key, left in lives(tried, client).items() if left == -1}
        assert stay == {"live", *(f"{kind}:{version}" for kind, version in named.items())}
        if len(calls) <= at:
            break
    assert at > 5
    loading = [key for key in lives(tried, client) if key.count(":") == 2]
    assert loading, "some were killed while they loaded"


def test_a_slow_deliverer_cannot_put_a_time_to_live_on_what_is_live(
    tried: Tried, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one loads the same versions and makes them live, while it still loads them."""
    from recsys_assets.sinks.redis import Redis

    tried.publish(1, 1)
    inner, calls = Redis._run, list[str]()

    def run(self: Any, client: Any, command: str, *values: Any) -> Any:
        calls.append(command)
        if command == "eval" and calls.count("eval") == 1:
            tried.deliver()
        return inner(self, client, command, *values)

    monkeypatch.setattr(Redis, "_run", run)
    assert tried.deliver().outcome == "unchanged"

    assert lives(tried, client).keys() >= {"live"}
    assert set(lives(tried, client).values()) == {-1}
    assert tried.number == 1


def test_a_reader_reads_as_the_docs_say(tried: Tried, client: Any) -> None:
    code: dict[str, Any] = {}
    exec(example("sinks.md", "example: redis reader"), code)  # noqa: S102 (of this repository)
    start = prefix(tried).rstrip(":")
    tried.publish(1, 7)
    tried.deliver()

    assert code["popular"](client, 5, start) == [{"item_id": "a", "count": 7}]
    assert code["next_items"](client, "a", start, "cooc") == [{"neighbour_id": "b", "count": 7}]
    assert code["next_items"](client, "nobody", start, "cooc") == []
    version = tried.deliver().held.versions["cooc"]
    tried.publish(2, 8)

    class Slow:
        """The version goes away after what is live was read."""

        def get(self, key: str) -> str:
            text: str = client.get(key)
            if version in text:
                tried.deliver()
                client.delete(f"{start}:cooc:{version}")
            return text

        hget = client.hget

    assert code["next_items"](Slow(), "a", start, "cooc") == [{"neighbour_id": "b", "count": 8}]


def test_the_rights_that_the_docs_name_are_enough(
    tried: Tried, redis_url: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has one fewer is refused."""
    text = section("sinks.md", "Redis")
    rights = re.search(r"user needs `([^`]+)`", text)
    assert rights
    commands = rights[1].split()
    url = redis_url.replace(f":{PASSWORD}", f"writer:{UNTOLD}")
    monkeypatch.setenv("SINK_URL", url)
    of = {"username": "writer", "enabled": True, "passwords": [f"+{UNTOLD}"], "keys": ["of-*"]}
    for number, without in enumerate(commands, start=1):
        client.acl_deluser("writer")
        client.acl_setuser(**of, commands=[each for each in commands if each != without])
        tried.publish(number, number)
        if without != "+unlink":  # where two load the same at once
            with pytest.raises(SinkError, match="the user may not do that"):
                tried.deliver()
    client.acl_setuser(**of, commands=commands)
    assert tried.deliver().outcome == "delivered"


def test_what_was_evicted_or_lost_is_behind_and_loaded_again(tried: Tried, client: Any) -> None:
    tried.publish(1, 1)
    version = tried.deliver().held.versions["cooc"]
    client.delete(f"{prefix(tried)}cooc:{version}")

    held = tried.held
    assert held
    assert set(held.versions) == {"popularity"}
    again = tried.deliver()
    assert (again.outcome, again.rows) == ("delivered", {"cooc": 1})
    assert tried.number == 1


def test_readers_never_see_half_while_deliverers_are_cut_off(tried: Tried, redis_url: str) -> None:
    """As docs/sinks.md has it: read what is live, then the key; when that is gone, once more."""
    tried.publish(1, 1)
    tried.deliver()
    start, seen, torn, end = prefix(tried), list[int](), list[Any](), Event()

    def read() -> None:
        with redis.Redis.from_url(redis_url, decode_responses=True) as client:
            while not end.is_set():
                versions = json.loads(str(client.get(f"{start}live")))["versions"]
                entries: Any = client.zrange(f"{start}popularity:{versions['popularity']}", 0, 0)
                found = client.hget(f"{start}cooc:{versions['cooc']}", "a")
                numbers = {json.loads(entry)["count"] for entry in entries}
                numbers |= {entry["count"] for entry in json.loads(str(found or "[]"))}
                (seen if len(numbers) == 1 and entries and found else torn).append(numbers)  # type: ignore[arg-type]

    readers = [Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for at in range(10):
            tried.publish(at + 2, at + 2)
            with tried.cut(at) as _, contextlib.suppress(CutOffError):
                tried.deliver()
    finally:
        end.set()
        for reader in readers:
            reader.join()

    assert len(seen) > 20
    assert torn == []


def test_a_cluster_holds_a_surface_on_one_node(
    shop: Shop, redis_program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node of a cluster refuses commands and scripts whose keys do not lie together."""
    with redis_server.running(redis_program, cluster=True) as url:
        tried = in_redis(shop, url, monkeypatch, cluster=True)
        for day in (1, 2):
            tried.publish(day, day)
            assert tried.deliver().outcome == "delivered"
        shop.rollback("previous")
        tried.deliver()
        assert (tried.number, tried.deliver().outcome) == (1, "unchanged")
        held = tried.held
        assert held
        assert held.generation == 3


@pytest.mark.parametrize(
    ("url", "error", "told"),
    [
        ("", ConfigError, r"^\$SINK_URL is not set: the Redis in \$SINK_URL takes its address"),
        (f"http://u:{UNTOLD}@h/0", ConfigError, "holds no address: redis://user"),
        (f"redis://h:{UNTOLD}/0", ConfigError, "holds no address: redis://user"),
        (f"redis://:{UNTOLD}@127.0.0.1:1/0", SinkError, "nothing answers there"),
        ("wrong password", SinkError, "user or password is wrong"),
        ("no password", SinkError, "it wants a password"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_and_not_shown(
    tried: Tried,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    error: type[RecsysAssetsError],
    told: str,
) -> None:
    wrong = redis_url.replace(PASSWORD, UNTOLD)
    without = redis_url.replace(f":{PASSWORD}@", "")
    url = {"wrong password": wrong, "no password": without}.get(url, url)
    monkeypatch.setenv("SINK_URL", url)

    with pytest.raises(error, match=told) as raised:
        _ = tried.held

    assert UNTOLD not in "".join(traceback.format_exception(raised.value))


def test_one_that_is_silent_is_given_up_in_time(
    tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recsys_assets.sinks import redis as redis_sink

    monkeypatch.setattr(redis_sink, "_LOOKING_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("SINK_URL", url_of(silent.getsockname()[1]))
        with pytest.raises(SinkError, match="it does not answer in time"):
            _ = tried.held
        silent.setblocking(False)
        tries = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                tries += 1
    assert tries == 2, "once more, and no more often: a tick has 60 s"


def test_what_the_server_refuses_is_told_without_what_was_sent(
    tried: Tried, redis_url: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried.publish(1, 1)
    client.set(f"{prefix(tried)}live", "{")
    with pytest.raises(SinkError, match=r"names nothing that is live: .* Remove it and deliver"):
        tried.deliver()
    client.delete(f"{prefix(tried)}live")
    client.rpush(f"{prefix(tried)}live", "x")
    with pytest.raises(SinkError, match=r"a key of the sink is something else's\. Give the sink"):
        tried.deliver()
    client.delete(f"{prefix(tried)}live")
    client.acl_setuser("reader", enabled=True, passwords=[f"+{UNTOLD}"], commands=["+get"],
                       keys=["*"])  # fmt: skip
    monkeypatch.setenv("SINK_URL", redis_url.replace(f":{PASSWORD}", f"reader:{UNTOLD}"))
    with pytest.raises(SinkError, match="the user may not do that") as raised:
        tried.deliver()
    assert UNTOLD not in "".join(traceback.format_exception(raised.value))
    client.config_set("maxmemory", 1)
    try:
        monkeypatch.setenv("SINK_URL", redis_url)
        with pytest.raises(SinkError, match="its memory is full"):
            tried.deliver()
    finally:
        client.config_set("maxmemory", 0)
    assert tried.deliver().outcome == "delivered"


def test_without_the_extra_it_is_named(tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "recsys_assets.sinks.redis")
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"pip install 'recsys-assets\[redis-sink\]'"):
        open_sink(tried.config, "root")


def test_one_connection_and_two_round_trips_ask_for_all_surfaces(
    tried: Tried, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recsys_assets.places import Place
    from recsys_assets.sinks.redis import Redis

    tried.publish(on(1).day - 7, 1)
    tried.deliver()
    calls, inner = list[int](), Redis._each

    def each(self: Any, client: Any, command: str, keys: Any) -> Any:
        calls.append(len(keys))
        return inner(self, client, command, keys)

    monkeypatch.setattr(Redis, "_each", each)
    places = [tried.shop.place, *(Place("demo", f"s{number}") for number in range(50))]
    assert list(open_sink(tried.config, "root").held(places)) == [tried.shop.place]
    assert calls == [51, 2]
