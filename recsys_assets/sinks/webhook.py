"""A request that tells of each flip: `type: webhook`.

Nothing holds what is live there, so what it holds is what was acknowledged last. That is kept in
the root by compare-and-swap, after the answer: who is killed between the two tells it again. So a
receiver is told of what is live at least once, and knows by the generation what it knows already.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import re
import time
from collections.abc import Collection
from typing import Any, Final
from urllib import error as urls
from urllib import request

from recsys_assets.config import WebhookSink
from recsys_assets.errors import (
    ConfigError,
    ManifestConflictError,
    PublishOutcomeUnknownError,
    SinkError,
    StoreUnavailableError,
)
from recsys_assets.places import Place
from recsys_assets.sinks.sink import Delivered, Delivery, Sink, outcome_before
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.deliveries import Held
from recsys_assets.storage.registry import to_bytes, verify_blob
from recsys_assets.storage.store import Store

SIGNATURE: Final = "X-Recsys-Signature"
TIMESTAMP: Final = "X-Recsys-Timestamp"
GENERATION: Final = "X-Recsys-Generation"
# Refusals that pass.
_PASSING: Final = {408, 429}
_ATTEMPTS: Final = 20


class _DoNotFollow(request.HTTPRedirectHandler):
    """Another host must not get the headers, and a followed POST becomes a GET."""

    def redirect_request(self, *_: Any) -> None:
        return None


def open_sink(sink: WebhookSink, root: str) -> Sink:
    """Return the sink; what was acknowledged is kept below `root`."""
    return Webhook(sink, open_store(root))


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return what is sent in the header of the signature."""
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret, signed, hashlib.sha256).hexdigest()


class Webhook:
    """Whoever is told."""

    def __init__(self, sink: WebhookSink, store: Store) -> None:
        self._sink = sink
        self._store = store
        self._where = f"the webhook in ${sink.url_env}"

    def held(self, places: Collection[Place]) -> dict[Place, Held]:
        """Return what was acknowledged last."""
        found = {place: self._read(place)[1] for place in places}
        return {place: held for place, held in found.items() if held}

    def deliver(self, delivery: Delivery) -> Delivered:
        """Tell of it, once what it names is verified, and keep that it was acknowledged."""
        _, held = self._read(delivery.place)
        outcome = outcome_before(held, delivery)
        if outcome and held:
            return Delivered(outcome, held)
        current = delivery.publication.current
        for kind, version in delivery.versions.items():
            verify_blob(self._store, self._store.key(current[kind]), version)
        started = time.monotonic()
        self._post(delivery)
        took_s = time.monotonic() - started
        return self._keep(delivery, took_s)

    def _keep(self, delivery: Delivery, took_s: float) -> Delivered:
        """Keep that it was acknowledged, unless something newer was meanwhile."""
        key = layout.acknowledged(delivery.place, self._sink.name)
        members = {"v": 1, "generation": delivery.generation, "versions": delivery.versions}
        for _ in range(_ATTEMPTS):
            tag, held = self._read(delivery.place)
            outcome = outcome_before(held, delivery)
            if outcome and held:
                return Delivered(outcome, held)
            try:
                self._store.compare_and_swap(key, to_bytes(members), expected=tag)
            except ManifestConflictError:
                continue
            except (PublishOutcomeUnknownError, StoreUnavailableError) as error:
                raise SinkError(str(error)) from None
            return Delivered("delivered", delivery.held, flip_s=took_s)
        raise SinkError("others keep delivering of the same surface", advice="Deliver it again.")

    def _read(self, place: Place) -> tuple[str | None, Held | None]:
        """Return what was acknowledged and its tag; what is damaged counts as nothing."""
        key = layout.acknowledged(place, self._sink.name)
        try:
            found = self._store.read(key)
        except (OSError, StoreUnavailableError) as error:
            raise SinkError(f"{self._store.uri(key)} cannot be read: {error}") from None
        if found is None:
            return None, None
        try:
            members = json.loads(found.data)
            return found.tag, Held(int(members["generation"]), dict(members["versions"]))
        except (ValueError, KeyError, TypeError):  # it is told again, and this is replaced
            return found.tag, None

    def _post(self, delivery: Delivery) -> None:
        """Post it.

        Raises:
            ConfigError: a variable is not set, or holds what cannot be sent.
            SinkError: it was not acknowledged. Nothing of the address or the headers is told.
        """
        url = _variable(self._sink.url_env, f"{self._where} takes its address from there")
        if not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", url):
            raise ConfigError(
                f"${self._sink.url_env} must hold an address, https://host/path, without a user"
            )
        secret = _variable(self._sink.secret_env, f"{self._where} is signed with what it holds")
        body, timestamp = self._body(delivery), str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "recsys-assets",
            TIMESTAMP: timestamp,
            SIGNATURE: signature(secret.encode(), timestamp, body),
            GENERATION: str(delivery.generation),
        }
        for name, variable in self._sink.headers_env.items():
            value = _variable(variable, f"{self._where} takes its header {name} from there")
            if not re.fullmatch(r"[\x20-\x7e]+", value):
                raise ConfigError(f"${variable} must be one line of ASCII: it is the header {name}")
            headers[name] = value
        self._judge(self._send(request.Request(url, body, headers, method="POST")))  # noqa: S310 (checked above)

    def _send(self, posted: request.Request) -> int | str:
        """Return the status, or the type of what went wrong: what is in that may hold the URL."""
        opener = request.build_opener(_DoNotFollow)
        try:
            with opener.open(posted, timeout=self._sink.timeout_s) as answer:
                return int(answer.status)
        except urls.HTTPError as error:
            with error:
                return error.code
        except urls.URLError as error:
            return type(error.reason).__name__ if error.reason is not None else "URLError"
        except (OSError, http.client.HTTPException, ValueError) as error:
            return type(error).__name__

    def _judge(self, answer: int | str) -> None:
        """Raise SinkError unless it was acknowledged."""
        if isinstance(answer, str):
            raise SinkError(
                f"{self._where} did not answer within {self._sink.timeout_s} s ({answer})",
                advice="Is it up, and are host, port and TLS right?",
            )
        if 200 <= answer < 300:
            return
        if 300 <= answer < 400:
            raise SinkError(
                f"{self._where} answered {answer}, a redirect, which is not followed",
                advice="Put the address that it leads to into the variable.",
                soon=False,
            )
        refused = 400 <= answer < 500 and answer not in _PASSING
        raise SinkError(
            f"{self._where} answered {answer}",
            advice="It refuses what it was told: look at its address, its headers and its secret."
            if refused
            else "It is told again.",
            soon=not refused,
        )

    def _body(self, delivery: Delivery) -> bytes:
        publication = delivery.publication
        if self._sink.body == "service":
            return _as_json({"targets": ["popularity"], "surface": publication.surface})
        return _as_json(
            {
                "v": 1,
                "tenant": publication.tenant,
                "surface": publication.surface,
                "generation": publication.generation,
                "publish_id": publication.publish_id,
                "action": publication.action,
                "day": str(publication.window.last_day),
                "versions": delivery.versions,
                "published_at": publication.published_at,
            }
        )


def _as_json(members: dict[str, Any]) -> bytes:
    return json.dumps(members, ensure_ascii=False).encode()


def _variable(name: str, why: str) -> str:
    """Return what an environment variable holds."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigError(f"${name} is not set: {why}")
    return value
