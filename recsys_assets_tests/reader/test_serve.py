from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import recsys_assets_reader as reading
from recsys_assets_reader import serve
from recsys_assets_reader.serve import Application, application
from recsys_assets_reader.titles import read_titles
from recsys_assets_tests.reader.published import EXAMPLES, Published
from recsys_assets_tests.shop import unsynced


@dataclass(frozen=True)
class Answer:
    """What came back of a request."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def found(self) -> Any:
        return json.loads(self.text)["found"]


def ask(app: Application, path: str, *, method: str = "GET", host: str = "localhost:1") -> Answer:
    """Send one request, as a server would."""
    before, _, query = path.partition("?")
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": before,
        "query_string": query.encode(),
        "headers": [(b"accept", b"*/*"), (b"host", host.encode())],
    }
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    start, body = sent
    headers = {name.decode(): of.decode() for name, of in start["headers"]}
    return Answer(start["status"], headers, body["body"].decode())


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    published = Published(str(tmp_path_factory.mktemp("served") / "root"))
    odd = [('<script>"&', 2), ("tea", 1)]
    with unsynced():
        published.day(1, EXAMPLES | {"popularity": odd})
    return published


@pytest.fixture
def reader(published: Published) -> reading.Reader:
    return reading.open(published.root, "shop/home", every_s=None)


@pytest.fixture
def app(reader: reading.Reader) -> Application:
    return application(reader, {"tea": "Green <b>tea</b>", "cup": "Cup"})


def test_look_ups_are_answered_as_json(app: Application) -> None:
    answers = {
        "/popular?k=1": [{"item_id": '<script>"&', "score": 2}],
        "/neighbours?item=tea": [{"item_id": "cup", "score": 2}],
        "/next_items?user=bob&k=1": [{"item_id": "cup", "score": 1}],
        "/items_of?user=bob&k=1": [{"item_id": "tea", "score": 2}],
        "/items_of?user=absent": [],
        "/tags?item=tea": ["hot", "green"],
    }
    for path, found in answers.items():
        answer = ask(app, path)
        assert (answer.status, answer.found) == (200, found), path
        assert answer.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/popular?k=0", 400, "k is a whole number from 1 to 1,000"),
        ("/popular?k=1001", 400, "k is a whole number"),
        ("/popular?k=%C2%B2", 400, "k is a whole number"),
        (f"/popular?k={'9' * 5000}", 400, "k is a whole number"),
        ("/neighbours", 400, "item is missing: ?item=..."),
        ("/items_of?user=", 400, "user is missing"),
        ("/absent", 404, "there are /, /health, /popular"),
        ("/../etc/passwd", 404, "there are /"),
    ],
)
def test_what_cannot_be_answered_is_said(
    app: Application, path: str, status: int, said: str
) -> None:
    answer = ask(app, path)

    assert answer.status == status
    assert answer.text.startswith(said)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_kind_that_is_not_read_is_said(published: Published) -> None:
    reader = reading.open(published.root, "shop/home", kinds=["cooc"], every_s=None)

    answer = ask(application(reader), "/popular")

    assert (answer.status, answer.text[:22]) == (404, "popularity is not read")
    assert "popularity is not live." in ask(application(reader), "/").text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_only_reads(app: Application, method: str) -> None:
    answer = ask(app, "/popular", method=method)

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_head_is_the_answer_without_its_text(app: Application) -> None:
    whole, head = ask(app, "/popular"), ask(app, "/popular", method="HEAD")

    assert (head.status, head.headers, head.text) == (whole.status, whole.headers, "")
    assert int(head.headers["content-length"]) == len(whole.text.encode())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8321", "[::1]:8321", "LOCALHOST:1"])
def test_names_of_this_machine_are_answered_to(app: Application, host: str) -> None:
    assert ask(app, "/popular", host=host).status == 200


@pytest.mark.parametrize("host", ["evil.example:8321", "", "localhost.evil.example", "[::2]:1"])
def test_a_page_of_another_site_cannot_read_through_a_name_that_leads_here(
    app: Application, reader: reading.Reader, host: str
) -> None:
    refused = ask(app, "/items_of?user=bob", host=host)

    assert (refused.status, "tea" in refused.text) == (421, False)
    assert ask(application(reader, hosts=None), "/popular", host=host).status == 200


def test_the_page_escapes_whatever_ids_and_titles_hold(app: Application) -> None:
    page = ask(app, "/").text
    item = ask(app, "/?item=tea").text
    typed = ask(app, "/?user=%3Cimg%20src%3Dx%3E%22").text

    assert "&lt;script&gt;&quot;&amp;" in page
    assert '<a href="/?item=%3Cscript%3E%22%26">' in page
    assert "Green &lt;b&gt;tea&lt;/b&gt;" in item
    assert "&lt;img src=x&gt;&quot;" in typed
    for text in (page, item, typed):
        assert not re.search("<script|<b>|<img", text)


def test_nothing_else_is_loaded_or_run_by_the_page(app: Application) -> None:
    answer = ask(app, "/")
    (style,) = re.findall("<style>(.*)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    policy = answer.headers["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; ")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_health_says_when_what_is_shown_is_too_old(reader: reading.Reader) -> None:
    fresh = ask(application(reader), "/health")
    old = ask(application(reader, max_age_s=-1), "/health")

    assert (fresh.status, old.status) == (200, 503)
    assert json.loads(fresh.text)["generation"] == 1
    assert json.loads(old.text)["missing"] == []


def test_the_page_says_that_what_is_shown_may_be_old(
    published: Published, reader: reading.Reader, app: Application
) -> None:
    assert "Not known to be live" not in ask(app, "/").text
    manifest = published.file.read_bytes()
    published.file.write_bytes(b"{}")
    with pytest.raises(reading.ManifestError):
        reader.refresh()

    assert "Not known to be live for 0 s." in ask(app, "/").text
    published.file.write_bytes(manifest)


def test_servers_that_ask_for_a_beginning_and_an_end_get_both(app: Application) -> None:
    asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []

    async def receive() -> Any:
        return next(asked)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(app({"type": "lifespan"}, receive, send))  # type: ignore[arg-type]

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


CSV = "\ufeffID, Title ,tags\ntea,Green tea,hot\ncup,,x\nshort\n,none,x\ntea,again,x\n"
JSON_LINES = '{"item_id":"tea","title":"Green tea"}\n\n[]\n{"item_id":"cup"}\n{"item_id":"tea"}\n'


@pytest.mark.parametrize(("name", "text"), [("c.csv", CSV), ("c.jsonl", JSON_LINES)])
def test_titles_are_those_of_the_catalog(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with gzip.open(tmp_path / f"{name}.gz", "wt", encoding="utf-8") as file:
        file.write(text)

    for path in (tmp_path / name, tmp_path / f"{name}.gz"):
        assert read_titles(path) == {"tea": "Green tea"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"item_id,name\ntea,Tea\n", "needs a column item_id or itemid or id and a column title"),
        (b"", "it has: none"),
        (b"\xff\xfe", "cannot be read: "),
        (None, "cannot be read: "),
    ],
)
def test_a_catalog_without_titles_is_told(tmp_path: Path, data: bytes | None, said: str) -> None:
    if data is not None:
        (tmp_path / "catalog.csv").write_bytes(data)

    with pytest.raises(reading.ReaderError, match=f"catalog .*{said}"):
        read_titles(tmp_path / "catalog.csv")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Note how uvicorn is started, without starting it."""
    import uvicorn

    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: calls.append({"app": app} | options))
    return calls


def test_it_listens_on_loopback_and_logs_no_address(
    published: Published, served: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    serve.main([published.root, "shop/home", "--port", "0"])

    (call,) = served
    assert (call["host"], call["access_log"]) == ("127.0.0.1", False)
    assert "Serving shop/home on http://127.0.0.1:0/" in capsys.readouterr().err
    assert ask(call["app"], "/popular", host="evil.example").status == 421

    serve.main([published.root, "shop/home", "--host", "0.0.0.0"])  # noqa: S104

    assert "Warning: whoever reaches this port can read the lists" in capsys.readouterr().err


def test_what_is_missing_is_said_before_it_serves(
    published: Published, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as ended:
        serve.main([published.root, "shop/search"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("Error: there is no manifest at ")

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit):
        serve.main([published.root, "shop/home"])
    assert "pip install 'recsys-assets-reader[serve]'" in capsys.readouterr().err
