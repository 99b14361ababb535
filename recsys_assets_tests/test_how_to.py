"""Pages that change the configuration of the shop first, followed literally."""

from __future__ import annotations

import inspect
import io
import re
import shlex
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import pytest
import uvicorn

import recsys_assets_reader
from recsys_assets_reader import serve
from recsys_assets_tests.operations.kafka import noida
from recsys_assets_tests.test_docs import (
    EXAMPLE,
    Shop,
    example_project,
    examples,
    page,
    shop,
    steps,
)
from recsys_assets_tests.test_extending import change

__all__ = ["example_project", "shop"]  # fixtures


def follow(shop: Shop, name: str) -> None:
    """Make the changes of a page, and run its commands."""
    assert "run-locally.md#the-shop-with-three-days" in page(name).partition("```diff")[0]
    change(shop.folder, name)
    for step in steps(name, f"run: {Path(name).stem}"):
        shop.follow(step)


def test_items_are_withdrawn_as_the_page_says(shop: Shop) -> None:
    follow(shop, "withdraw-items.md")


def test_a_topic_is_landed_as_the_page_says(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = sorted((EXAMPLE / "raw/shop/home").iterdir())
    lines = [line for path in raw for line in path.read_bytes().splitlines()]
    with noida(tmp_path) as broker:
        monkeypatch.setenv("KAFKA_BROKERS", broker.address)
        broker.make("exposures")
        broker.send("exposures", lines, at_ms=int(time.time() * 1000))

        follow(shop, "land-from-kafka.md")


def test_what_is_live_is_read_from_python_as_the_page_says(shop: Shop) -> None:
    codes = examples("read-from-python.md", "runnable: reader")
    shown = examples("read-from-python.md", "printed: reader")
    assert len(codes) == len(shown) > 1
    for code, wanted in zip(codes, shown, strict=True):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(code.replace("/tmp/shop", str(shop.folder)), {})  # noqa: S102, S108
        assert printed.getvalue() == wanted


@contextmanager
def served(shop: Shop, command: str, patch: pytest.MonkeyPatch) -> Iterator[int]:
    """Serve as a command of a page does, in a thread and on a port that is free; return that."""
    started: list[uvicorn.Server] = []

    def run(app: serve.Application, **options: object) -> None:
        server = uvicorn.Server(uvicorn.Config(app, **(options | {"port": 0})))  # type: ignore[arg-type]
        started.append(server)
        server.run()

    patch.setattr(uvicorn, "run", run)
    words = shlex.split(command.replace("/tmp/shop", str(shop.folder)))  # noqa: S108
    assert words[:3] == ["python", "-m", "recsys_assets_reader.serve"]
    thread = threading.Thread(target=serve.main, args=(words[3:],))
    thread.start()
    until = time.monotonic() + 120
    while not (started and started[0].started):
        assert thread.is_alive()
        assert time.monotonic() < until
        time.sleep(0.01)
    try:
        yield started[0].servers[0].sockets[0].getsockname()[1]
    finally:
        started[0].should_exit = True
        thread.join(30)


def test_what_is_live_is_served_as_the_page_says(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    (command,) = [
        line[2:]
        for line in page("read-from-python.md").splitlines()
        if line.startswith("$ python -m recsys_assets_reader.serve")
    ]
    asked = steps("read-from-python.md", "asked: serve")
    with served(shop, command, monkeypatch) as port:
        for step in asked:
            curl, url = shlex.split(step.command)
            assert curl == "curl"
            address = url.replace("8321", str(port))
            with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 (of this test)
                assert answer.read().decode().splitlines() == list(step.shown)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/?item=cup", timeout=60) as answer:
            assert "Item cup: Cup" in answer.read().decode()


def test_the_page_on_the_reader_names_its_options_look_ups_and_defaults() -> None:
    text = page("read-from-python.md")
    rows = re.findall(r"^\| `(\w+)", text, re.MULTILINE)
    options = inspect.signature(recsys_assets_reader.open).parameters

    assert set(options) <= set(rows)
    assert {"popular", "neighbours", "next_items", "items_of", "tags"} <= set(rows)
    for name in recsys_assets_reader.__all__:
        if name.endswith("Error"):
            assert f"`{name}`" in text, name
    for path in (*serve._LOOK_UPS, "/health"):
        assert f"`{path}" in text, path
    said = " ".join(text.split())
    assert f"between looks at the manifest, {options['every_s'].default:g} by default" in said
    assert options["max_bytes"].default == 2**30
    assert f"up to {serve.MOST:,}" in said
    assert f"--port {serve.PORT}" in said
