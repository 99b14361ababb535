"""Objects in a bucket of S3, Google Cloud Storage or Azure Blob Storage, through obstore.

Credentials, region and endpoint come from the environment.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PreconditionError,
)
from obstore.store import AzureStore, GCSStore, S3Store

from recsys_assets.errors import (
    ManifestConflictError,
    PublishOutcomeUnknownError,
    StorageError,
    StoreUnavailableError,
)
from recsys_assets.storage.answers import Answers, refuse_unusable_endpoints
from recsys_assets.storage.private import private_directory
from recsys_assets.storage.ranges import Ranges
from recsys_assets.storage.store import Stored, Versioned

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode
    from obstore.store import RetryConfig

# A larger file goes up in parts, a few at a time, so memory does not grow with it. A multipart
# upload cannot be conditional.
_ONE_PUT_BYTES: Final = 16 * 2**20
_PARTS_AT_ONCE: Final = 4
# Smaller objects are read by one request, larger ones in blocks of this.
_BLOCK_BYTES: Final = 8 * 2**20
# About 15 s of trying against a store that answers with errors, a minute against a silent one.
_RETRY: Final[RetryConfig] = {
    "max_retries": 10,
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=4),
        # The jitter is drawn from below what this gives, so that 2 would hardly grow at all.
        "base": 4,
    },
    "retry_timeout": timedelta(seconds=60),
}
# Before each attempt to create; about 6 s in all, when the object is neither taken nor there.
_CREATE_PAUSES_S: Final = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0, 2.0)
_PROBE: Final = "registry/.conditional-writes"
_NO_SUCH_VERSION: Final[PutMode] = {"e_tag": '"0"', "version": "1"}


class ObjectStore:
    """A `Store` below `scheme://bucket/prefix`."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        scheme, _, path = self._url.partition("://")
        bucket, _, prefix = path.partition("/")
        self._answers = Answers(scheme, bucket)
        refuse_unusable_endpoints()
        # Not obstore's from_url: that decodes a `%20` in the prefix, which nobody else does.
        try:
            self._store = _open(scheme, bucket, prefix or None)
        except BaseError as error:
            self._answers.fail("open", self.uri(""), error)

    def uri(self, key: str) -> str:
        """Return the URL, literally: nothing is percent-encoded."""
        return f"{self._url}/{key}"

    def key(self, uri: str) -> str:
        """Return the key behind a URI of this store."""
        if not uri.startswith(f"{self._url}/"):
            raise StorageError(f"{uri} is not below {self._url}/: another root wrote it")
        return uri.removeprefix(f"{self._url}/")

    def read(self, key: str) -> Versioned | None:
        """Return a small object whole, or None when it is absent."""
        try:
            found = obstore.get(self._store, key)
            data = bytes(found.bytes())
        except (NotFoundError, FileNotFoundError) as error:
            self._answers.refuse_missing_bucket(error)
            return None
        except BaseError as error:
            self._answers.fail("read", self.uri(key), error)
        meta = found.meta
        # Google compares generations (version), the others ETags.
        tag = {"e_tag": meta["e_tag"], "version": meta["version"]}
        return Versioned(data, json.dumps({name: text for name, text in tag.items() if text}))

    def open(self, key: str) -> tuple[BinaryIO, int]:
        """Return an object for reading and its size; a large one is read block by block."""
        try:
            found = obstore.get(self._store, key)
            size = found.meta["size"]
            if size <= _BLOCK_BYTES:
                return io.BytesIO(bytes(found.bytes())), size
        except (NotFoundError, FileNotFoundError) as error:
            self._answers.refuse_missing_bucket(error)
            raise FileNotFoundError(f"{self.uri(key)} is not there") from None
        except BaseError as error:
            self._answers.fail("read", self.uri(key), error)
        e_tag = found.meta["e_tag"]

        def read_range(start: int, end: int) -> bytes:
            try:
                # If-Match: what is replaced meanwhile is an error, not a mixture.
                part = obstore.get(
                    self._store, key, options={"range": (start, end), "if_match": e_tag}
                )
                return bytes(part.bytes())
            except (NotFoundError, FileNotFoundError):
                raise StorageError(f"{self.uri(key)} was removed while it was read") from None
            except PreconditionError:
                raise StorageError(
                    f"{self.uri(key)} was replaced while it was read", advice="Run again."
                ) from None
            except BaseError as error:
                self._answers.fail("read", self.uri(key), error)

        return io.BufferedReader(Ranges(read_range, size), buffer_size=_BLOCK_BYTES), size

    def location(self, key: str) -> str:
        """Return the URL; Polars takes the same environment variables."""
        return self.uri(key)

    def list(self, prefix: str) -> Iterator[Stored]:
        """Yield the objects below a prefix."""
        try:
            for batch in obstore.list(self._store, prefix=prefix):
                for found in batch:
                    yield _as_stored(found)
        except (NotFoundError, FileNotFoundError) as error:  # Azure, of a container
            self._answers.refuse_missing_bucket(error)
        except BaseError as error:
            self._answers.fail("list", self.uri(prefix), error)

    def stat(self, key: str) -> Stored | None:
        """Return size, time and ETag of one object, or None when it is absent."""
        try:
            return _as_stored(obstore.head(self._store, key))
        except (NotFoundError, FileNotFoundError) as error:
            self._answers.refuse_missing_bucket(error)
            return None
        except BaseError as error:
            self._answers.fail("read", self.uri(key), error)

    def put_new(self, key: str, content: bytes | Path) -> bool:
        """Write an object unless it is there already.

        Of two that race, one writes. Not so with a file that goes up in parts: there the last one
        stays, so a large object must be the same to its readers whoever wrote it.
        """
        if isinstance(content, Path) and content.stat().st_size > _ONE_PUT_BYTES:
            written = not self._exists(key)
            if written:
                self._put(key, content)
        else:
            written = self._create(key, content)
        _take_over(content)
        return written

    def replace(self, key: str, content: bytes | Path) -> None:
        """Write an object, whatever was there."""
        self._put(key, content)
        _take_over(content)

    def write_derived(self, key: str, data: bytes) -> None:
        """Write what can be made again, whatever was there."""
        self._put(key, data)

    def delete(self, key: str) -> None:
        """Remove an object; absent is fine."""
        try:
            obstore.delete(self._store, key)
        except (NotFoundError, FileNotFoundError) as error:
            self._answers.refuse_missing_bucket(error)
        except BaseError as error:
            self._answers.fail("delete", self.uri(key), error)

    def compare_and_swap(self, key: str, data: bytes, *, expected: str | None) -> None:
        """Write an object if its tag is still `expected`; None means that it must be absent.

        A conflict can also be our own success, when its answer was lost and obstore sent it again.
        """
        if expected is None:
            self._refuse_without_conditions()
        try:
            self._put(key, data, mode=json.loads(expected) if expected else "create")
        except _ConditionError:
            raise ManifestConflictError(
                self.uri(key), expected=expected, found="another version"
            ) from None
        except StoreUnavailableError as error:
            if error.refused:
                raise
            raise PublishOutcomeUnknownError(
                f"{error} Whether {self.uri(key)} was flipped is unknown. Publish the same day "
                "again once the store answers: it settles which of the two is live."
            ) from None

    def settle(self, key: str) -> None:
        """Do nothing: what an object store shows is durable."""

    def left_behind(self, *, before: datetime) -> Iterator[Stored]:
        """Yield nothing: uploads that were cut off are for a lifecycle rule of the bucket."""
        yield from ()

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a private directory of this machine, below $TMPDIR."""
        with private_directory(Path(tempfile.gettempdir())) as at:
            yield at

    def _create(self, key: str, content: bytes | Path) -> bool:
        """Write an object unless it is there; return whether it was written.

        S3 answers 409 also when another request was in the way and nothing is stored; obstore
        tells both as "already exists". So only what can be seen is taken to be there.
        """
        for pause_s in _CREATE_PAUSES_S:
            time.sleep(pause_s)
            try:
                self._put(key, content, mode="create")
            except _ConditionError:
                if self._exists(key):
                    return False
            else:
                return True
        raise StoreUnavailableError(
            f"cannot write {self.uri(key)}: the store answered {len(_CREATE_PAUSES_S)} times that "
            "it is there already, or that another request is in the way, and it is not there. Run "
            "again once the store has recovered."
        )

    def _exists(self, key: str) -> bool:
        try:
            obstore.head(self._store, key)
        except (NotFoundError, FileNotFoundError):
            return False
        except BaseError as error:
            self._answers.fail("read", self.uri(key), error)
        return True

    def _put(self, key: str, content: bytes | Path, *, mode: PutMode = "overwrite") -> None:
        try:
            if mode == "overwrite":
                obstore.put(
                    self._store,
                    key,
                    content,
                    chunk_size=_ONE_PUT_BYTES,
                    max_concurrency=_PARTS_AT_ONCE,
                )
            else:
                data = content if isinstance(content, bytes) else content.read_bytes()
                obstore.put(self._store, key, data, mode=mode, use_multipart=False)
        except (BaseError, FileNotFoundError) as error:
            self._answers.refuse_missing_bucket(error)
            # Not found: If-Match of an object that is gone.
            unmet = (AlreadyExistsError, PreconditionError, NotFoundError, FileNotFoundError)
            if mode != "overwrite" and isinstance(error, unmet):
                raise _ConditionError from None
            self._answers.fail("write", self.uri(key), error)

    def _refuse_without_conditions(self) -> None:
        """Make sure, before a surface's first manifest, that the store obeys conditions."""
        refused = []
        for mode in ("create", "create", _NO_SUCH_VERSION):
            try:
                self._put(_PROBE, b"", mode=mode)
                refused.append(False)
            except _ConditionError:
                refused.append(True)
        # The first one may hold: the probe need not be there yet.
        if not all(refused[1:]):
            raise StorageError(
                f"{self._url} ignores conditional writes (If-None-Match, If-Match): two publishers "
                "would overwrite each other. Nothing was published; use a store that honours them."
            )


def _as_stored(found: ObjectMeta) -> Stored:
    tag = found["e_tag"] or found["version"] or found["last_modified"].isoformat()
    tag = tag.strip('"')  # Azure quotes it in an answer about one object, not in a listing
    return Stored(found["path"], found["size"], found["last_modified"], tag)


def _take_over(content: bytes | Path) -> None:
    """Remove a file that is stored now: a long run's would pile up in the scratch directory."""
    if isinstance(content, Path):
        content.unlink(missing_ok=True)


class _ConditionError(Exception):
    """The condition of a write did not hold."""


def _open(scheme: str, bucket: str, prefix: str | None) -> S3Store | GCSStore | AzureStore:
    # No client options: giving any would hide those in the environment, AWS_ALLOW_HTTP among them.
    if scheme == "s3":
        # One at a time all the same, and not every store with S3's API has the bulk request.
        return S3Store(bucket, prefix=prefix, retry_config=_RETRY, disable_bulk_delete=True)
    if scheme == "gs":
        return GCSStore(bucket, prefix=prefix, retry_config=_RETRY)
    return AzureStore(bucket, prefix=prefix, retry_config=_RETRY)
