"""Post a report to a webhook, as one JSON object. The URL is a secret and never shown."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from recsys_assets.config import Alerts
from recsys_assets.errors import WebhookError
from recsys_assets.texts import as_chat

# Days of a report, and of a failure in it.
MAX_DAYS: Final = 10
# A receiver that wants nothing but a text says so with one of these.
_REFUSED: Final = {400, 413, 422}


def post(url: str, alerts: Alerts, report: Mapping[str, Any]) -> None:
    """Post a report; only its text to a receiver that refuses the rest.

    The text is what a chat shows, so it is escaped as Slack asks. The other members are as given.

    Raises:
        WebhookError: it was not taken; says what happened, without the URL.
    """
    variable = alerts.webhook_env
    if not url.startswith(("http://", "https://")):
        raise WebhookError(f"${variable} must hold an http:// or https:// URL; nothing was posted")
    text = {"text": as_chat(report["text"])}
    answer = _send(url, {**report, **text}, alerts.timeout_seconds)
    if answer in _REFUSED:
        answer = _send(url, text, alerts.timeout_seconds)
    if answer:
        said = f"answered {answer}" if isinstance(answer, int) else f"did not answer ({answer})"
        raise WebhookError(
            f"the webhook at ${variable} {said}: run {report['run_id']} is not reported yet",
            advice="The next tick tries again.",
        )


def bounded(name: str, values: Sequence[Any], most: int) -> dict[str, Any]:
    """Return the first of some values as members of a report, and how many more there are."""
    return {name: values[:most], f"more_{name}": max(0, len(values) - most)}


def _send(url: str, body: Mapping[str, Any], timeout_s: int) -> int | str | None:
    """Return None when it was taken, else the status, else the type of what went wrong.

    Nothing of an exception gets out: most hold the URL.
    """
    from urllib import error, request  # not before something failed

    class DoNotFollow(request.HTTPRedirectHandler):
        """A followed POST becomes a GET without the report."""

        def redirect_request(self, *_: Any) -> None:
            return None

    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "recsys-assets"}
    try:
        message = request.Request(url, data=data, headers=headers)  # noqa: S310 (checked by post)
        with request.build_opener(DoNotFollow).open(message, timeout=timeout_s):
            return None
    except error.HTTPError as refused:
        return refused.code
    except (OSError, ValueError, http.client.HTTPException) as problem:
        reason = getattr(problem, "reason", None)
        return type(reason if isinstance(reason, Exception) else problem).__name__
