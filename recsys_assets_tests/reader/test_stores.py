"""The same on object stores, against real servers."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

import recsys_assets_reader as reading
from recsys_assets_reader import stores
from recsys_assets_reader.stores import Stores
from recsys_assets_tests.reader.published import EXAMPLES, Published
from recsys_assets_tests.storage.conftest import use
from recsys_assets_tests.storage.servers import KEY_ID, SECRET, Server


@pytest.fixture(params=["s3", "azure", "gcs"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Server:
    found: Server = request.getfixturevalue(f"{request.param}_server")
    use(found, monkeypatch)
    return found


def test_what_is_in_a_bucket_is_read_verified_and_followed(server: Server) -> None:
    # A name as it is: nothing is decoded.
    published = Published(server.url(f"readers/{uuid4().hex} %20"))
    published.day(1, EXAMPLES)
    uri = f"{published.root}/{published.manifest}"
    found = Stores().read(uri)
    assert found
    assert Stores().read(uri, unless=found.tag) is None

    reader = reading.open(published.root, "shop/home", every_s=None)

    assert reader.popular(1) == [("tea", 3)]
    assert reader.tags("tea") == ["hot", "green"]
    assert not reader.refresh()
    published.day(2, EXAMPLES | {"popularity": [("jar", 1)]})
    assert reader.refresh()
    assert reader.popular() == [("jar", 1)]
    with pytest.raises(reading.DocumentError, match=r"are left of `max_bytes`"):
        reading.open(published.root, "shop/home", every_s=None, max_bytes=10)
    with pytest.raises(reading.NotPublishedError):
        reading.open(published.root, "shop/search", every_s=None)


def test_a_server_that_is_away_is_told_without_a_secret(
    s3_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(s3_server, monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setitem(stores._RETRY, "max_retries", 0)

    with pytest.raises(reading.StoreError) as raised:
        reading.open("s3://tests/away", "shop/home", every_s=None)

    said = str(raised.value)
    assert said.startswith("cannot read s3://tests/away/registry/current/shop/home/manifest.json: ")
    assert "Check the network and AWS_ACCESS_KEY_ID" in said
    assert KEY_ID not in said
    assert SECRET not in said


@pytest.mark.parametrize("endpoint", ["host:9000", "http://", "secret"])
def test_an_endpoint_that_is_no_url_is_refused(
    monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """The library would panic over it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)

    with pytest.raises(reading.StoreError, match=r"^\$AWS_ENDPOINT_URL is no URL: it must be http"):
        reading.open("s3://tests/refused", "shop/home", every_s=None)


def test_a_name_of_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    published = Published(str(tmp_path / "a b %20é"))
    published.day(1, EXAMPLES)

    assert reading.open(published.root, "shop/home", every_s=None).popular(1) == [("tea", 3)]
