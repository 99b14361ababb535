"""An example of serving: a small ASGI application on a reader, with a page to look things up.

    python -m recsys_assets_reader.serve s3://bucket/prefix shop/home --catalog catalog.csv

It only reads. It knows no users and no passwords: it listens on loopback, and what is in front of
it decides who may ask. Take it as it is for a look, or as a pattern for a service of your own.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from dataclasses import asdict
from html import escape
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from recsys_assets_reader.errors import ReaderError
from recsys_assets_reader.reader import EVERY_S, Reader, Scored, Snapshot, open
from recsys_assets_reader.titles import read_titles

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
Titles = Mapping[str, str]

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
PORT: Final = 8321
MOST: Final = 1000  # entries of one answer
_SHOWN: Final = 20  # where nothing is said
_MAX_AGE_S: Final = 300.0

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}"
    "th,td{text-align:left;padding:.2rem 1.2rem .2rem 0;border-bottom:1px solid #ddd}"
    "td.number{text-align:right}form{display:inline-block;margin-right:2rem}"
    ".stale{background:#fff3cd;padding:.5rem}small{color:#555}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    # Nothing is loaded or run, whatever a title may hold; and addresses hold ids of users.
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class _RefusedError(Exception):
    """A request that is answered with a status and a sentence."""

    def __init__(self, status: HTTPStatus, said: str) -> None:
        super().__init__(said)
        self.status = status


def application(
    reader: Reader,
    titles: Titles | None = None,
    *,
    hosts: Collection[str] | None = LOOPBACK,
    max_age_s: float = _MAX_AGE_S,
) -> Application:
    """Return the ASGI application.

    Args:
        reader: what is served.
        titles: of items, for the page.
        hosts: what a request may name as its host, so that no page of another site can read ours by
            a name that leads here; None takes any.
        max_age_s: after how long without knowing what is live `/health` answers 503.
    """
    named = titles or {}

    def answer(path: str, query: Mapping[str, str]) -> tuple[HTTPStatus, str, str]:
        snapshot = reader.snapshot  # one for the whole answer
        if path == "/":
            return HTTPStatus.OK, "text/html", _page(reader, snapshot, named, query)
        if path == "/health":
            status = reader.status()
            fresh = status.age_s <= max_age_s
            code = HTTPStatus.OK if fresh else HTTPStatus.SERVICE_UNAVAILABLE
            return code, "application/json", _json(asdict(status))
        look_up = _LOOK_UPS.get(path)
        if look_up is None:
            raise _RefusedError(
                HTTPStatus.NOT_FOUND, f"there are /, /health, {', '.join(_LOOK_UPS)}"
            )
        found = look_up(snapshot, query)
        return (
            HTTPStatus.OK,
            "application/json",
            _json({"generation": snapshot.generation, "found": found}),
        )

    async def app(
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            return
        head = scope["method"] == "HEAD"
        try:
            _refuse_others(scope, hosts)
            query = dict(parse_qsl(scope["query_string"].decode("ascii", "replace")))
            status, kind, text = answer(scope["path"], query)
        except _RefusedError as refused:
            status, kind, text = refused.status, "text/plain", f"{refused}\n"
        except ReaderError as error:  # a kind that is not read
            status, kind, text = HTTPStatus.NOT_FOUND, "text/plain", f"{error}\n"
        body = text.encode("utf-8", "replace")
        headers = {
            **_HEADERS,
            "content-type": f"{kind}; charset=utf-8",
            "content-length": str(len(body)),
        }
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["allow"] = "GET, HEAD"
        await send(
            {
                "type": "http.response.start",
                "status": int(status),
                "headers": [(name.encode(), of.encode()) for name, of in headers.items()],
            }
        )
        await send({"type": "http.response.body", "body": b"" if head else body})

    return app


async def _live(
    receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Say that there is nothing to begin or to end."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _refuse_others(scope: Message, hosts: Collection[str] | None) -> None:
    if scope["method"] not in {"GET", "HEAD"}:
        raise _RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "this only reads: GET or HEAD")
    named = next((of.decode("latin-1") for name, of in scope["headers"] if name == b"host"), "")
    host = named.rpartition("]")[0].removeprefix("[") or named.partition(":")[0]
    if hosts is not None and host.lower() not in hosts:
        raise _RefusedError(
            HTTPStatus.MISDIRECTED_REQUEST, f"this answers to {', '.join(hosts)} only"
        )


def _k(query: Mapping[str, str]) -> int:
    text = query.get("k", str(_SHOWN))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST):
        raise _RefusedError(HTTPStatus.BAD_REQUEST, f"k is a whole number from 1 to {MOST:,}")
    return int(text)


def _id(query: Mapping[str, str], name: str) -> str:
    if not query.get(name):
        raise _RefusedError(HTTPStatus.BAD_REQUEST, f"{name} is missing: ?{name}=...")
    return query[name]


def _entries(found: Iterable[Scored]) -> list[dict[str, Any]]:
    return [each._asdict() for each in found]


_LOOK_UPS: Final[Mapping[str, Callable[[Snapshot, Mapping[str, str]], list[Any]]]] = {
    "/popular": lambda shown, query: _entries(shown.popular(_k(query))),
    "/neighbours": lambda shown, query: _entries(shown.neighbours(_id(query, "item"), _k(query))),
    "/next_items": lambda shown, query: _entries(shown.next_items(_id(query, "user"), _k(query))),
    "/items_of": lambda shown, query: _entries(shown.items_of(_id(query, "user"), _k(query))),
    "/tags": lambda shown, query: list(shown.tags(_id(query, "item"))),
}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _page(reader: Reader, shown: Snapshot, titles: Titles, query: Mapping[str, str]) -> str:
    """Write the page: what is popular, or what is known of an item or a user."""
    item, user = query.get("item", "").strip(), query.get("user", "").strip()
    name = f"{shown.tenant}/{shown.surface}"
    if item:
        parts = [f"<h2>Item {_called(item, titles)}</h2>", *_of_item(shown, titles, item)]
    elif user:
        parts = [f"<h2>User {escape(user)}</h2>", *_of_user(shown, titles, user)]
    else:
        parts = _section(shown, "popularity", "Popular", lambda: shown.popular(_SHOWN), titles)
    body = "\n".join(
        [
            f'<h1><a href="/">{escape(name)}</a></h1>',
            _form("item", item),
            _form("user", user),
            _state(reader, shown),
            *parts,
        ]
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(name)}</title><style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _of_item(shown: Snapshot, titles: Titles, item: str) -> list[str]:
    tags = ", ".join(map(escape, shown.tags(item))) if "content_sim" in shown.documents else ""
    return [
        f"<p>Tags: {tags or 'none'}</p>",
        *_section(
            shown, "cooc", "Seen together with it", lambda: shown.neighbours(item, _SHOWN), titles
        ),
    ]


def _of_user(shown: Snapshot, titles: Titles, user: str) -> list[str]:
    return [
        *_section(
            shown, "session_seq", "What came next", lambda: shown.next_items(user, _SHOWN), titles
        ),
        *_section(shown, "implicit", "Was shown", lambda: shown.items_of(user, _SHOWN), titles),
    ]


def _section(
    shown: Snapshot,
    kind: str,
    heading: str,
    look_up: Callable[[], Iterable[Scored]],
    titles: Titles,
) -> list[str]:
    if kind not in shown.documents:
        return [f"<h3>{heading}</h3>", f"<p>{kind} is not live.</p>"]
    rows = [
        f'<tr><td><a href="/?{escape(urlencode({"item": item}))}">{escape(item)}</a></td>'
        f'<td>{escape(titles.get(item, ""))}</td><td class="number">{number:,g}</td></tr>'
        for item, number in look_up()
    ]
    if not rows:
        return [f"<h3>{heading}</h3>", "<p>Nothing is listed.</p>"]
    head = "<tr><th>item</th><th>title</th><th>how often</th></tr>"
    return [f"<h3>{heading}</h3>", f"<table>{head}{''.join(rows)}</table>"]


def _called(item: str, titles: Titles) -> str:
    title = titles.get(item)
    return f"{escape(item)}: {escape(title)}" if title else escape(item)


def _form(name: str, value: str) -> str:
    return (
        f'<form action="/"><label>{name} <input name="{name}" value="{escape(value)}"></label> '
        "<button>Look up</button></form>"
    )


def _state(reader: Reader, shown: Snapshot) -> str:
    status = reader.status()
    stale = f'<p class="stale">Not known to be live for {status.age_s:.0f} s.</p>'
    return (
        f"<p><small>generation {shown.generation or 'unknown'}, flipped "
        f"{escape(shown.updated_at)}</small></p>{stale if status.error else ''}"
    )


def main(arguments: list[str] | None = None) -> None:
    """Serve what is live for a surface until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m recsys_assets_reader.serve",
        description="Serve what is live for a surface: a page, and JSON. It only reads.",
    )
    parser.add_argument("root", help="the root: a directory, or s3://, gs://, az://")
    parser.add_argument("surface", help="tenant/surface")
    parser.add_argument("--catalog", type=Path, help="CSV or .jsonl with titles for the page")
    parser.add_argument("--title-column", default="title", help="of the catalog (title)")
    parser.add_argument("--host", default=LOOPBACK[0], help=f"to listen on ({LOOPBACK[0]})")
    parser.add_argument("--port", type=int, default=PORT, help=f"to listen on ({PORT})")
    parser.add_argument(
        "--every", type=float, default=EVERY_S, metavar="S", help=f"look for a flip ({EVERY_S:g} s)"
    )
    options = parser.parse_args(arguments)
    try:
        import uvicorn
    except ImportError:
        parser.error("uvicorn is missing: pip install 'recsys-assets-reader[serve]'")
    try:
        titles = read_titles(options.catalog, options.title_column) if options.catalog else {}
        reader = open(options.root, options.surface, every_s=options.every)
    except (ReaderError, ValueError) as error:
        parser.exit(1, f"Error: {error}\n")
    loopback = options.host in LOOPBACK
    if not loopback:
        sys.stderr.write("Warning: whoever reaches this port can read the lists of every user.\n")
    with reader:
        app = application(reader, titles, hosts=LOOPBACK if loopback else None)
        sys.stderr.write(f"Serving {options.surface} on http://{options.host}:{options.port}/\n")
        # No access log: addresses hold ids of users.
        uvicorn.run(
            app, host=options.host, port=options.port, access_log=False, log_level="warning"
        )


if __name__ == "__main__":
    main()
