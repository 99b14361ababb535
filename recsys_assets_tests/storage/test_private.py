"""A directory of one's own is gone with its process."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from recsys_assets.storage.private import private_directory

CHILD = """
import sys, time
from pathlib import Path
from recsys_assets.storage.private import private_directory
with private_directory(Path(sys.argv[1])) as directory:
    (directory / "spilled").mkdir()
    print(directory, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_is_held_is_not(
    tmp_path: Path,
) -> None:
    for other in ("others", "recsys_assets-of-another-machine-x"):
        (tmp_path / other).mkdir()
    with (
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as child,
        ExitStack() as opened,
    ):
        assert child.stdout
        theirs = Path(child.stdout.readline().strip())
        ours = opened.enter_context(private_directory(tmp_path))
        assert theirs != ours
        assert (theirs / "spilled").is_dir()
        assert ours.stat().st_mode & 0o777 == 0o700

        child.kill()
        child.wait()
        opened.enter_context(private_directory(tmp_path))

        assert not theirs.exists()
        assert ours.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "others",
        "recsys_assets-of-another-machine-x",
    ]
