"""Reading objects by URI: files of this machine, S3, Google Cloud Storage, Azure Blob Storage.

Paths and keys are taken literally, as the producer writes them: nothing is percent-decoded.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from collections.abc import Mapping
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from recsys_assets_reader.errors import DocumentError, StoreError

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, RetryConfig, S3Store

FILE: Final = "file://"
_OBJECT_URL: Final = re.compile(r"(s3|gs|az)://([^/]+)/(.+)", re.DOTALL)
# A store that is away is asked again by whoever follows it, so a single read gives up soon.
_RETRY: Final[RetryConfig] = {
    "max_retries": 4,
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=2),
        "base": 4,
    },
    "retry_timeout": timedelta(seconds=20),
}
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
_CREDENTIALS: Final = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (or a role of the machine), AWS_REGION and "
    "AWS_ENDPOINT_URL",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or a managed identity",
}


class Found(NamedTuple):
    """The bytes of an object, and a tag that is another one whenever they are others."""

    data: bytes
    tag: str


class Stores:
    """Reads from any store. Safe to share between threads."""

    def __init__(self, mounts: Mapping[str, str] | None = None) -> None:
        """Remember where prefixes of URIs are found from here, the first that fits."""
        self._mounts = dict(mounts or {})
        self._buckets: dict[tuple[str, str], S3Store | GCSStore | AzureStore] = {}
        self._lock = Lock()

    def read(self, uri: str, *, unless: str | None = None, most: int | None = None) -> Found | None:
        """Return an object whole; None when it still has the tag `unless`.

        Args:
            uri: `file://` and a path, a path, or the URL of an object.
            unless: a tag that was found before.
            most: how many bytes it may have.

        Raises:
            FileNotFoundError: there is no such object.
            DocumentError: it is larger than `most`.
            StoreError: it cannot be read.
        """
        for prefix, there in self._mounts.items():
            if uri.startswith(prefix):
                uri = there + uri.removeprefix(prefix)
                break
        of_object = _OBJECT_URL.fullmatch(uri)
        if of_object:
            scheme, bucket, key = of_object.groups()
            return self._read_object(uri, scheme, bucket, key, unless, most)
        if "://" in uri.removeprefix(FILE):
            raise StoreError(f"{uri!r} is of no store that is read: file, s3, gs, az")
        return _read_file(uri, unless, most)

    def _read_object(
        self, uri: str, scheme: str, bucket: str, key: str, unless: str | None, most: int | None
    ) -> Found | None:
        import obstore  # takes 50 ms that readers of files save
        from obstore.exceptions import BaseError, NotFoundError, NotModifiedError

        try:
            found = obstore.get(
                self._bucket(scheme, bucket),
                key,
                options={"if_none_match": unless} if unless else {},
            )
            meta = found.meta
            _refuse_larger(uri, meta["size"], most)
            # Grows in place, and gives away what it holds without a copy.
            buffer = io.BytesIO()
            for chunk in found.stream():
                buffer.write(chunk)
        except NotModifiedError:
            return None
        except (NotFoundError, FileNotFoundError):
            raise FileNotFoundError(f"{uri} is not there") from None
        except BaseError as error:
            # `from None`: the answer of a store can hold key ids and the signed request.
            raise StoreError(
                f"cannot read {uri}: {_told(error)}. Check the network and {_CREDENTIALS[scheme]}."
            ) from None
        data = buffer.getvalue()
        tag = meta["e_tag"] or meta["version"] or hashlib.sha256(data).hexdigest()
        return None if tag == unless else Found(data, tag)

    def _bucket(self, scheme: str, bucket: str) -> S3Store | GCSStore | AzureStore:
        from obstore.store import AzureStore, GCSStore, S3Store

        with self._lock:
            opened = self._buckets.get((scheme, bucket))
            if opened is None:
                _refuse_unusable_endpoints()
                kind: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[scheme]
                # No client options: giving any would hide those in the environment.
                opened = self._buckets[scheme, bucket] = kind(bucket, retry_config=_RETRY)
            return opened


def _read_file(uri: str, unless: str | None, most: int | None) -> Found | None:
    try:
        with open(uri.removeprefix(FILE), "rb", opener=_at_once) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise StoreError(f"{uri} is no file")
            # The producer replaces files whole: another one is another inode, or has another time.
            tag = f"{found.st_ino}-{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_size}"
            if tag == unless:
                return None
            _refuse_larger(uri, found.st_size, most)
            return Found(file.read(), tag)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{uri} is not there") from None
    except (OSError, ValueError) as error:  # a zero byte in a path, for example
        raise StoreError(f"cannot read {uri}: {error}") from None


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe, which is then refused, would block


def _refuse_larger(uri: str, size_bytes: int, most: int | None) -> None:
    if most is not None and size_bytes > most:
        raise DocumentError(
            f"{uri} has {size_bytes:,} bytes, and {most:,} are left of `max_bytes`: raise it, or "
            "read fewer `kinds`"
        )


def _told(error: Exception) -> str:
    status = re.search(r"status(?: code)?: (\d{3})", str(error))
    code = re.search(r"<Code>(\w+)</Code>", str(error))
    said = " ".join(found[1] for found in (status, code) if found)
    return f"it answered {said}" if said else f"no answer that can be used ({type(error).__name__})"


def _refuse_unusable_endpoints() -> None:
    """Refuse what obstore would panic over at the first request."""
    for name in _ENDPOINTS:
        endpoint = urlsplit(os.environ.get(name, "http://unset"))
        if endpoint.scheme not in {"http", "https"} or not endpoint.hostname:
            # Not quoted back: it may hold a password.
            raise StoreError(f"${name} is no URL: it must be http(s)://host, or unset")
