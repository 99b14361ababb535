"""Cut the power under a publisher, again and again, and count what was lost of what it had said.

The root is on an ext4 image that is mounted through a loop device. A publisher runs; at a random
moment the file system is shut down without writing its log (EXT4_IOC_SHUTDOWN, NOLOGFLUSH), as a
power cut would, and mounted anew, which replays the log. Then every acknowledged publish must be in
the history of what is live, and every object that the manifest names must hold what was written.

The control publishes without fsync and must lose some. Linux and root only; exits with 2 where a
loop device cannot be mounted.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from publishing import KINDS, PLACE, measured, print_versions

from recsys_assets.errors import StorageError
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import history, read_live

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_NO_LOG_FLUSH = 2
_IMAGE_MIB = 256
_LONGEST_LIFE_S = 0.3
_PUBLISH = """
import os, sys, publishing
if sys.argv[3] == "without fsync":
    os.fsync = lambda _: None
publishing.publish_for_ever(sys.argv[1], sys.argv[2], "swap")
"""


class CannotMountError(Exception):
    """This machine, or this user, cannot mount a loop device."""


def main() -> int:
    """Cut so often; the exit code is 1 when something was lost, 2 when nothing could be tried."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=49, help="power cuts (49)")
    parser.add_argument("--control", type=int, default=5, help="power cuts of the control (5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where the image is made")
    options = parser.parse_args()
    options.backend = "local, ext4 on a loop device"
    print_versions(options)
    try:
        with measured("power cuts"):
            print(f"  input: {options.times} cuts at 0 to {_LONGEST_LIFE_S} s, {_IMAGE_MIB} MiB")
            broken = cut_power(options.times, options, "with fsync")
            lost_by_control = cut_power(options.control, options, "without fsync")
    except CannotMountError as error:
        print(f"cannot be tried here: {error}")
        return 2
    if not lost_by_control:
        print("the control lost nothing: too few cuts to say anything")
    print("A PROMISE WAS BROKEN" if broken else "every promise was kept")
    return 1 if broken else 0


def cut_power(times: int, options: argparse.Namespace, how: str) -> int:
    """Cut the power so often in a new image; return how many things are broken or lost."""
    draw = random.Random(options.seed)  # noqa: S311
    acknowledged: list[str] = []
    kept = broken = lost = 0
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        image, mounted = Path(name, "image"), Path(name, "mounted")
        make_image(image)
        mounted.mkdir()
        for number in range(times):
            with mount(image, mounted):
                life_s = draw.uniform(0, _LONGEST_LIFE_S)
                said = publish_until_cut(mounted, number, life_s, how)
            with mount(image, mounted):
                missing, damaged = check(mounted / "root", [*acknowledged, *said])
            lost, broken = lost + len(missing), broken + damaged
            kept += not missing and not damaged
            # What is lost was counted; only what is there can be lost by the next cut.
            acknowledged += [each for each in said if each not in missing]
            acknowledged = [each for each in acknowledged if each not in missing]
    print(
        f"  {how:14}{kept:4} of {times} cuts harmless; {len(acknowledged) + lost} acknowledged: "
        f"{lost} lost; {broken} damaged"
    )
    return lost + broken


def make_image(image: Path) -> None:
    """Make an ext4 file system in a file."""
    if os.geteuid() != 0:
        raise CannotMountError("only root may mount")
    if not all(map(shutil.which, ("mkfs.ext4", "mount", "umount"))):
        raise CannotMountError("mkfs.ext4, mount or umount is missing")
    with image.open("wb") as file:
        file.truncate(_IMAGE_MIB * 2**20)
    run("mkfs.ext4", "-q", "-F", str(image))


@contextlib.contextmanager
def mount(image: Path, directory: Path) -> Iterator[None]:
    """Mount an image; mounting replays its log."""
    run("mount", "-o", "loop", str(image), str(directory))
    try:
        yield
    finally:
        run("umount", str(directory))


def run(*command: str) -> None:
    """Run a command of the system."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise CannotMountError(f"{command[0]}: {ran.stderr.strip()}")


def publish_until_cut(mounted: Path, number: int, life_s: float, how: str) -> list[str]:
    """Start a publisher, cut the power so long after its first answer; return its answers."""
    with subprocess.Popen(
        [sys.executable, "-c", _PUBLISH, str(mounted / "root"), str(number), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parent,
    ) as publisher:
        assert publisher.stdout is not None
        first = publisher.stdout.readline()
        assert first, "the publisher failed before its first publish"
        time.sleep(life_s)
        shut_down(mounted)
        # What it says from here on was not said before the cut, but it was promised all the same.
        publisher.kill()
        rest = publisher.stdout.read()
    return [line for line in (first + rest).split("\n")[:-1] if line]


def shut_down(mounted: Path) -> None:
    """Stop a file system where it is, its log not written."""
    directory = os.open(mounted, os.O_RDONLY)
    try:
        fcntl.ioctl(directory, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
    except OSError as error:
        raise CannotMountError(f"EXT4_IOC_SHUTDOWN: {error.strerror}") from None
    finally:
        os.close(directory)


def check(root: Path, acknowledged: list[str]) -> tuple[set[str], int]:
    """Return which publishes are in no history, and how much of what is live is damaged."""
    store = LocalStore(root)
    try:
        live = read_live(store, PLACE)
        chain = [publication.publish_id for publication in history(store, live)] if live else []
    except StorageError:
        return set(acknowledged), 1
    damaged = 0
    for kind, uri in live.current.items() if live else ():
        name, _, index = Path(uri).stem.rpartition("-")
        found = store.read(store.key(uri))
        damaged += found is None or found.data != f"{kind} {name} {index}".encode()
    damaged += bool(live and set(live.current) != set(KINDS))
    return set(acknowledged) - set(chain), damaged


if __name__ == "__main__":
    sys.exit(main())
