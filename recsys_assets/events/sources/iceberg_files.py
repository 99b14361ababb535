"""Files of an Iceberg table by their place, with the credentials that all other files have."""

from __future__ import annotations

import os
import re
from typing import Any, Final
from urllib.parse import urlsplit

from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import StaticTable

from recsys_assets.errors import RawEventsError
from recsys_assets.storage import open_store

_METADATA: Final = ".metadata.json"


def table_at(path: str) -> StaticTable:
    """Return the table whose metadata file, or folder, is at a path or URL.

    Raises:
        RawEventsError: it is a folder, and does not say which its newest metadata file is.
        FileNotFoundError: there is no such file.
    """
    files = StoreFiles()
    location = path if path.endswith(_METADATA) else _newest(path, files)
    metadata = FromInputFile.table_metadata(files.new_input(location))
    return StaticTable((path,), metadata, location, files, NoopCatalog(path))


def _newest(path: str, files: StoreFiles) -> str:
    """Return the metadata file that a folder names, as tables without a catalog do.

    The newest file of a folder is not it: a writer that lost the race leaves one behind.
    """
    try:
        with files.new_input(f"{path}/metadata/version-hint.text").open() as raw:
            hint = raw.read().decode().strip()
    except FileNotFoundError:
        raise RawEventsError(
            f"source.path {path} has no metadata/version-hint.text: a table of a catalog is named "
            "by source.table, or by the path of a metadata file"
        ) from None
    if hint.isdecimal():
        hint = f"v{hint}"
    return f"{path}/metadata/{hint.removesuffix(_METADATA)}{_METADATA}"


class StoreFiles(FileIO):
    """Reads files by their URL through the stores of this project."""

    def new_input(self, location: str) -> InputFile:
        """Return a file to read."""
        return _StoreFile(location)

    def new_output(self, location: str) -> OutputFile:
        """Refuse: tables are only read."""
        raise NotImplementedError(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Refuse: tables are only read."""
        raise NotImplementedError(location)


class _StoreFile(InputFile):
    """A file that is read."""

    def __len__(self) -> int:
        with self.open() as raw:
            return int(raw.seek(0, os.SEEK_END))

    def exists(self) -> bool:
        """Tell whether it is there."""
        try:
            self.open().close()
        except FileNotFoundError:
            return False
        return True

    def open(self, seekable: bool = True) -> Any:
        """Open it."""
        root, key = _place(self.location)
        return open_store(root).open(key)[0]


def _place(location: str) -> tuple[str, str]:
    """Return the bucket or directory of a file, and its name there."""
    of = urlsplit(location)
    if of.scheme in {"", "file"}:
        path = f"/{location.removeprefix('file:').lstrip('/')}" if of.scheme else location
        return os.path.split(path)
    key = location.partition("://")[2].partition("/")[2]
    if re.fullmatch("abfss?|wasbs?", of.scheme):  # container@account.host
        return f"az://{of.username}", key
    scheme = "s3" if of.scheme in {"s3a", "s3n"} else of.scheme
    return f"{scheme}://{of.netloc}", key
