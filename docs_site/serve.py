"""Serve the site beside a command: `python serve.py FOLDER PORT COMMAND...`.

The command takes the place of this program and is told where the docs are, by RECSYS_DOCS_URL. The
server ends with it, however it ends. Where the port is taken, the command runs without the docs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

HOST: Final = "127.0.0.1"
VARIABLE: Final = "RECSYS_DOCS_URL"


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and does not talk about it."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main(folder: str, port: int, command: list[str]) -> None:
    """Serve the folder for as long as the command runs."""
    url = f"http://{HOST}:{port}/docs"
    try:
        server = ThreadingHTTPServer(
            (HOST, port), partial(Quiet, directory=str(Path(folder).absolute()))
        )
    except OSError as error:
        print(
            f"The docs are not served: port {port}: {error.strerror}. Checks name their runbooks "
            "without a link. Choose another: make dev DOCS_PORT=3002",
            file=sys.stderr,
        )
    else:
        of_command = os.getpid()
        if not os.fork():
            serve(server, while_parent_is=of_command)
        server.socket.close()  # the child has it
        os.environ.setdefault(VARIABLE, url)
        print(f"The docs are on {url}/", file=sys.stderr)
    os.execvp(command[0], command)  # noqa: S606 (the Makefile says what)


def serve(server: ThreadingHTTPServer, *, while_parent_is: int) -> None:
    """Serve until the parent is gone; never return."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command; this follows it
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while os.getppid() == while_parent_is:
        time.sleep(0.2)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
