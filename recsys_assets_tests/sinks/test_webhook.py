"""What a webhook is told, how it is signed, and what becomes of a request that is not taken."""

from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from recsys_assets.config import Surface
from recsys_assets.errors import ConfigError, RecsysAssetsError, SinkError
from recsys_assets.live.sinks import sink_statuses
from recsys_assets.sinks.delivering import deliver, look
from recsys_assets.sinks.watching import Seen, watch
from recsys_assets.storage import layout
from recsys_assets.storage.deliveries import Known, read_known
from recsys_assets_tests.config.files import UNTOLD
from recsys_assets_tests.shop import Shop
from recsys_assets_tests.sinks.conftest import Receiver, Tried, in_webhook
from recsys_assets_tests.test_docs import example

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def tried(shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Tried:
    return in_webhook(shop, receiver, monkeypatch)


def surface_of(tried: Tried) -> Surface:
    return tried.shop.surface.model_copy(update={"sinks": [tried.config]})


def send(tried: Tried, now: datetime = NOW) -> None:
    root = str(tried.shop.root)
    deliver(tried.shop.store, root, surface_of(tried), tried.config, clock=lambda: now)


def fail(tried: Tried, receiver: Receiver, status: int, now: datetime = NOW) -> str:
    receiver.answers = [(status, "")]
    with pytest.raises(SinkError) as raised:
        send(tried, now)
    return str(raised.value)


def known(tried: Tried) -> Known:
    return read_known(tried.shop.store, tried.shop.place, tried.config.name)


def is_due(tried: Tried, now: datetime) -> bool:
    root = str(tried.shop.root)
    seen = dict[str, Seen]()
    found = watch(tried.shop.store, root, [surface_of(tried)], seen, going_on=(), now=now)
    return bool(found.behind)


def verified(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """As docs/sinks.md has it."""
    code: dict[str, Any] = {}
    exec(example("sinks.md", "example: verify a webhook"), code)  # noqa: S102 (of this repository)
    return bool(code["is_ours"](secret, headers, body))


def test_it_is_told_what_is_live_signed_and_with_the_headers_of_the_environment(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_AUTHORIZATION", "Bearer t0ken")
    more = {"headers_env": {"Authorization": "HOOK_AUTHORIZATION"}}
    tried = in_webhook(shop, receiver, monkeypatch, **more)
    published = tried.publish(1, 1)
    tried.deliver()

    ((headers, body),) = receiver.told
    assert json.loads(body) == {
        "v": 1,
        "tenant": "demo",
        "surface": "home",
        "generation": 1,
        "publish_id": published.publish_id,
        "action": "publish",
        "day": "2020-01-08",
        "versions": tried.deliver().held.versions,
        "published_at": published.published_at,
    }
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["X-Recsys-Generation"] == "1"
    assert verified("s3cret-of-hook", headers, body)
    assert not verified("s3cret-of-hook", headers, body + b" ")
    assert not verified("another", headers, body)
    assert not verified("s3cret-of-hook", headers | {"X-Recsys-Timestamp": "1"}, body)


def test_the_cache_of_the_online_service_gets_the_body_that_it_takes(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = in_webhook(shop, receiver, monkeypatch, body="service")
    tried.publish(1, 1)
    tried.deliver()

    assert json.loads(receiver.told[0][1]) == {"targets": ["popularity"], "surface": "home"}


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_told_again_soon_and_twice_as_late_each_time(
    tried: Tried, receiver: Receiver, status: int
) -> None:
    tried.publish(1, 1)
    said = fail(tried, receiver, status)

    assert said == f"the webhook in $HOOK_URL answered {status}. It is told again."
    assert not is_due(tried, NOW + timedelta(seconds=29))
    assert is_due(tried, NOW + timedelta(seconds=30))
    send(tried)
    assert known(tried).failure is None
    assert not is_due(tried, NOW + timedelta(hours=2))


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_what_is_refused_is_not_told_again_soon(
    tried: Tried, receiver: Receiver, status: int
) -> None:
    tried.publish(1, 1)
    said = fail(tried, receiver, status)

    assert f"answered {status}. It refuses what it was told: look at its address" in said
    assert not is_due(tried, NOW + timedelta(minutes=59))
    assert is_due(tried, NOW + timedelta(hours=1))


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_not_followed(tried: Tried, receiver: Receiver, status: int) -> None:
    """Another host must not get the headers; and some are followed by a GET, without the body."""
    tried.publish(1, 1)
    receiver.answers = [(status, receiver.url)]

    with pytest.raises(SinkError, match=f"answered {status}, a redirect, which is not followed"):
        tried.deliver()

    assert (len(receiver.told), tried.held) == (1, None)


def test_a_dead_letter_stands_until_it_is_delivered_by_hand_or_something_newer_is_live(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = in_webhook(shop, receiver, monkeypatch, max_tries=2)
    tried.publish(1, 1)
    fail(tried, receiver, 500)
    assert is_due(tried, NOW + timedelta(days=1))
    fail(tried, receiver, 500)

    assert not is_due(tried, NOW + timedelta(days=1)), "it is dead"
    (status,) = sink_statuses(shop.store, surface_of(tried), shop.live, now=NOW)
    assert status.is_late
    failed = status.to_json()["failed"]
    assert (failed["dead"], failed["tries"]) == (1, 2)

    tried.publish(2, 2)
    assert is_due(tried, NOW + timedelta(days=1)), "of each flip it is told once"
    fail(tried, receiver, 500)
    assert not is_due(tried, NOW + timedelta(days=1))
    send(tried)
    assert (tried.number, known(tried).failure) == (2, None)


def test_an_answer_that_was_lost_is_told_again_with_the_same_generation(
    tried: Tried, receiver: Receiver
) -> None:
    tried.publish(1, 1)
    tried.deliver()
    (tried.shop.root / layout.acknowledged(tried.shop.place, "hook")).write_bytes(b"{")

    assert tried.deliver().outcome == "delivered"
    assert [json.loads(body)["generation"] for _, body in receiver.told] == [1, 1]


def test_two_of_one_address_are_told_each(tried: Tried) -> None:
    """Of what is one place, such as a database, all are asked at once; these are two places."""
    tried.publish(1, 1)
    tried.deliver()
    other = tried.config.model_copy(update={"name": "other"})
    surface = tried.shop.surface.model_copy(update={"sinks": [tried.config, other]})
    targets = [(surface, sink) for sink in surface.sinks]

    found = {target[1].name: held for target, held in look(targets, str(tried.shop.root))}

    assert found == {"hook": tried.held, "other": None}


@pytest.mark.parametrize(
    ("variable", "value", "error", "told"),
    [
        ("HOOK_URL", "", ConfigError, r"^\$HOOK_URL is not set: the webhook in \$HOOK_URL takes"),
        ("HOOK_SECRET", "", ConfigError, r"^\$HOOK_SECRET is not set: .* is signed with"),
        ("HOOK_AUTHORIZATION", "", ConfigError, r"^\$HOOK_AUTHORIZATION is not set: .* header"),
        ("HOOK_AUTHORIZATION", f"{UNTOLD}\nX: y", ConfigError, "must be one line of ASCII"),
        ("HOOK_URL", f"file:///{UNTOLD}", ConfigError, "must hold an address, https://host/path"),
        ("HOOK_URL", f"http://u:{UNTOLD}@h/", ConfigError, "without a user"),
        ("HOOK_URL", f"http://127.0.0.1:1/{UNTOLD}", SinkError, "did not answer within 10 s"),
        ("HOOK_URL", f"http://127.0.0.1:{UNTOLD}/", SinkError, "did not answer within 10 s"),
    ],
)
def test_what_cannot_be_used_is_told_and_not_shown(
    shop: Shop,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    error: type[RecsysAssetsError],
    told: str,
) -> None:
    monkeypatch.setenv("HOOK_AUTHORIZATION", "Bearer t0ken")
    more: dict[str, Any] = {"headers_env": {"Authorization": "HOOK_AUTHORIZATION"}}
    tried = in_webhook(shop, receiver, monkeypatch, **more)
    monkeypatch.setenv(variable, value)
    tried.publish(1, 1)

    with pytest.raises(error, match=told) as raised:
        send(tried)

    said = "".join(traceback.format_exception(raised.value))
    stored = Path(shop.root / layout.delivery(shop.place, "hook")).read_text()
    for secret in (UNTOLD, "t0ken", "s3cret-of-hook", "k3y-of-url"):
        assert secret not in said + stored
    assert receiver.told == []


def test_one_that_is_silent_is_given_up_in_time(
    shop: Shop, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = in_webhook(shop, receiver, monkeypatch, timeout_s=1)
    tried.publish(1, 1)
    with receiver.lock, pytest.raises(SinkError, match=r"did not answer within 1 s \(Timeout"):
        tried.deliver()
