"""Try the storage on buckets of your own: `make test-clouds`, or this module with --help.

For each bucket that the environment names, the tests that decide whether a store can be a root are
run below a prefix of their own: what every store owes, races of publishers, names and large files,
days that are published, rolled back and verified, and the reader. Afterwards all that is there is
deleted, also after a failure or Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final
from uuid import uuid4

from recsys_assets.errors import RecsysAssetsError
from recsys_assets.storage import open_store
from recsys_assets_tests.storage.servers import OWN

HERE: Final = Path(__file__).parent
# How the tests name each store.
_NAMES: Final = {"s3": "s3", "gs": "gcs", "az": "azure"}
_TESTS: Final = (
    "storage/test_store.py",
    "storage/test_objects.py",
    "storage/test_flips.py::test_two_publishers_at_once_lose_nothing_and_no_reader_sees_half",
    "cli/test_changing.py::test_a_bad_day_from_the_rollback_to_the_release",
    "reader/test_stores.py::test_what_is_in_a_bucket_is_read_verified_and_followed",
)
_ENDS_WITHIN_S: Final = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Try each bucket; return 0 if all is well, 1 if not, 2 if nothing could be tried, or 130."""
    parser = argparse.ArgumentParser(
        prog="make test-clouds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Buckets: "
        + ", ".join(f"{OWN[scheme]}={scheme}://bucket/prefix" for scheme in OWN)
        + ". Credentials: the variables of docs/object-stores.md. By make: ARGS=--yes.",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask before it writes")
    asked = parser.parse_args(arguments)
    try:
        prefixes = _prefixes()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(_plan(prefixes))
    if not (asked.yes or _agreed()):
        print("Nothing was written. --yes goes on without asking.", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    outcomes = []
    try:
        for scheme, prefix in prefixes.items():
            outcomes.append(_try(scheme, prefix))
    except KeyboardInterrupt:
        return 130
    return 0 if all(outcomes) else 1


def _prefixes() -> dict[str, str]:
    """Return, by scheme, where to write: a new prefix below what the environment names."""
    new = f"recsys-test-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}"
    found = {scheme: os.environ[name] for scheme, name in OWN.items() if os.environ.get(name)}
    if not found:
        raise ValueError(
            f"No bucket is named: set {', '.join(OWN.values())}, or some of them, to a URL like "
            "s3://bucket/prefix. --help says what happens then."
        )
    for scheme, url in found.items():
        if not url.startswith(f"{scheme}://") or not url.removeprefix(f"{scheme}://").strip("/"):
            raise ValueError(f"${OWN[scheme]} is no {scheme}://bucket or {scheme}://bucket/prefix")
    return {scheme: f"{url.rstrip('/')}/{new}" for scheme, url in found.items()}


def _plan(prefixes: dict[str, str]) -> str:
    return "\n".join(
        [
            "This will be written, and deleted afterwards, also after a failure or Ctrl-C:",
            *(f"  {prefix}/" for prefix in prefixes.values()),
            "Each: some 400 objects, 100 MB and 3,000 requests, a third of them writes.",
            "Nothing else is written, read or listed. The bucket has to be there.",
        ]
    )


def _agreed() -> bool:
    return sys.stdin.isatty() and input("Go on? [y/N] ").strip().lower() in {"y", "yes"}


def _try(scheme: str, prefix: str) -> bool:
    """Run the tests below a prefix, then delete it; tell whether both went well."""
    print(f"\n{prefix}/", flush=True)
    passed = False
    try:
        passed = _passes(scheme, prefix)
    finally:
        cleaned = _delete(prefix)
    return passed and cleaned


def _passes(scheme: str, prefix: str) -> bool:
    others = {name for name in OWN.values() if name != OWN[scheme]}
    environment = {name: value for name, value in os.environ.items() if name not in others}
    options = ["-q", "-p", "no:cacheprovider", "-k", _NAMES[scheme]]
    tests = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *(str(HERE / test) for test in _TESTS)],
        cwd=HERE.parent,
        env={**environment, OWN[scheme]: prefix},
        start_new_session=True,  # it is ended here, with all its processes
    )
    try:
        return tests.wait() == 0
    finally:
        if tests.poll() is None:
            tests.send_signal(signal.SIGINT)
        try:
            tests.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            tests.kill()
            tests.wait()
        _end_group(tests.pid)


def _end_group(group: int) -> None:
    """End what the tests may have left: it could write while it is deleted."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def _delete(prefix: str) -> bool:
    """Delete all below a prefix of ours; tell whether nothing is left."""
    former = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}
    print(f"Deleting {prefix}/ ...", flush=True)
    try:
        store = open_store(prefix)
        keys = [found.key for found in store.list("")]
        for key in keys:
            store.delete(key)
        left = sum(1 for _ in store.list(""))
    except RecsysAssetsError as error:
        print(f"{error}\nNot all of {prefix}/ was deleted: delete it yourself.", file=sys.stderr)
        return False
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)
    print(f"{len(keys)} objects were deleted, {left} are left.")
    return not left


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
