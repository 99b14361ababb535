"""What an object store answers when it cannot be used: said in our own words, no secret in them."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from recsys_assets.errors import StoreUnavailableError
from recsys_assets.storage import open_store
from recsys_assets_tests.storage.conftest import BODY, KEY, OPERATIONS, assert_reveals_nothing, use
from recsys_assets_tests.storage.proxy import Proxy, Treatment, always
from recsys_assets_tests.storage.servers import Server

Break = Callable[[pytest.MonkeyPatch, Proxy], object]


def treated(treatment: Treatment) -> Break:
    return lambda _, proxy: setattr(proxy, "treat", always(treatment))


def said(status: int, code: str) -> Break:
    body = BODY.replace("<Code>Strange</Code>", f"<Code>{code}</Code>")
    return treated(Treatment(status=status, body=body))


def environment(**variables: str | None) -> Break:
    def change(monkeypatch: pytest.MonkeyPatch, _: Proxy) -> None:
        for name, value in variables.items():
            if value is None:
                monkeypatch.delenv(name)
            else:
                monkeypatch.setenv(name, value)

    return change


CREDENTIALS = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"
# Nothing listens on it: a port below 1024 that is not assigned.
NOWHERE = "http://127.0.0.1:1"
NO_CREDENTIALS = environment(
    AWS_ACCESS_KEY_ID=None,
    AWS_SECRET_ACCESS_KEY=None,
    AWS_METADATA_ENDPOINT=NOWHERE,  # where the role of a machine is asked for
)
FAILURES: dict[str, tuple[Break, str, str]] = {
    "wrong secret": (environment(AWS_SECRET_ACCESS_KEY="x" * 20), "denied (403", CREDENTIALS),
    "wrong key id": (environment(AWS_ACCESS_KEY_ID="akidother"), "denied (403", CREDENTIALS),
    "no credentials": (NO_CREDENTIALS, "no credentials are set", CREDENTIALS),
    "http not allowed": (environment(AWS_ALLOW_HTTP=None), "", "AWS_ENDPOINT_URL"),
    "unreachable": (environment(AWS_ENDPOINT_URL=NOWHERE), "no answer came", "Check the network"),
    "500 for ever": (treated(Treatment(status=500, body=BODY)), "answered 500", "Run again"),
    "503 for ever": (treated(Treatment(status=503, body=BODY)), "answered 503", "Run again"),
    "429 for ever": (treated(Treatment(status=429, body=BODY)), "answered 429", "Run again"),
    "401": (treated(Treatment(status=401, body=BODY)), "denied (401", CREDENTIALS),
    "403": (treated(Treatment(status=403, body=BODY)), "denied (403", CREDENTIALS),
    "400": (treated(Treatment(status=400, body=BODY)), "answered 400", ""),
    "409": (treated(Treatment(status=409, body=BODY)), "", "again once it has recovered"),
    "501": (treated(Treatment(status=501, body=BODY)), "does not know", "docs/object-stores.md"),
    "expired token": (said(400, "ExpiredToken"), "no longer valid (400", "AWS_SESSION_TOKEN"),
    "another expired token": (said(403, "ExpiredToken"), "no longer valid (403", "has a role"),
    "clock": (said(403, "RequestTimeTooSkewed"), "clock of this machine", "Set it right (NTP)"),
    "region": (said(301, "PermanentRedirect"), "in another region (301", "Set AWS_REGION"),
    "signed for another region": (
        said(400, "AuthorizationHeaderMalformed"),
        "in another region (400",
        "Set AWS_REGION",
    ),
    "resets": (treated(Treatment(reset=True)), "no answer came", "Check the network"),
    "silence": (treated(Treatment(delay_s=0.3)), "no answer came", "Check the network"),
}


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("failure", FAILURES)
def test_a_store_that_cannot_be_used_is_said_so_with_what_to_do(
    s3_url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    open_store(s3_url).put_new(KEY, b"one")
    make, problem, advice = FAILURES[failure]
    monkeypatch.setenv("AWS_TIMEOUT", "0.3s" if failure != "silence" else "0.1s")
    make(monkeypatch, proxy)

    for name, operate in OPERATIONS.items():
        with pytest.raises(StoreUnavailableError) as error:
            operate(open_store(s3_url))
        said = str(error.value)
        assert problem in said, name
        assert advice in said, name
        assert s3_url in said, name
        assert_reveals_nothing(error.value)


@pytest.mark.parametrize(
    "endpoint", ["localhost:8333", "127.0.0.1:8333", "revealed", "", "http://", "ftp://localhost"]
)
@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT"])
def test_an_endpoint_that_is_no_url_is_refused_at_once_and_not_quoted(
    s3_url: str, monkeypatch: pytest.MonkeyPatch, variable: str, endpoint: str
) -> None:
    """The client would panic, which no `except Exception` catches."""
    monkeypatch.setenv(variable, endpoint)

    with pytest.raises(StoreUnavailableError, match="is no URL: it must be http") as error:
        open_store(s3_url)

    assert f"${variable}" in str(error.value)
    assert_reveals_nothing(error.value)


# Azure answers a delete, which is a batch, that nothing is there: as it should be afterwards.
TOLD_OF_BUCKETS = [
    (server, operation)
    for server in ("s3", "azure")
    for operation in OPERATIONS
    if (server, operation) != ("azure", "delete")
]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(("server", "operation"), TOLD_OF_BUCKETS)
def test_a_bucket_that_does_not_exist_is_named(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, server: str, operation: str
) -> None:
    """An empty bucket would look the same to a read, and that day would have no events."""
    running: Server = request.getfixturevalue(f"{server}_server")
    use(running, monkeypatch)
    store = open_store(f"{running.scheme}://nowhere/prefix")

    with pytest.raises(StoreUnavailableError, match="does not exist: create it") as error:
        OPERATIONS[operation](store)

    assert f"{running.scheme}://nowhere does not exist" in str(error.value)
    assert_reveals_nothing(error.value)


@pytest.mark.usefixtures("hasty")
def test_a_wrong_key_of_azure_is_denied_and_not_said(
    azure_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(azure_server, monkeypatch)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", base64.b64encode(b"another").decode())

    for name, operate in OPERATIONS.items():
        with pytest.raises(StoreUnavailableError, match="access was denied") as error:
            operate(open_store(azure_server.url("prefix")))
        assert "AZURE_STORAGE_ACCOUNT_KEY" in str(error.value), name
        assert_reveals_nothing(error.value)
