"""What an object store's errors are told as: in our own words, never with its answer in them.

The answers can hold key ids, the request and the signed string; logs are read by many.
"""

from __future__ import annotations

import os
import re
from typing import Final, NoReturn
from urllib.parse import urlsplit

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

from recsys_assets.errors import StoreUnavailableError

_BUCKET_IS_MISSING: Final = ("NoSuchBucket", "ContainerNotFound", "specified bucket does not exist")
CREDENTIALS: Final = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (or a role of the machine), AWS_REGION and "
    "AWS_ENDPOINT_URL",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or a managed identity",
}

# Of codes that say more than the status: the problem, and what to do. All refuse the request.
_TOKEN: Final = (
    "the temporary credentials are no longer valid",
    "Set new ones, AWS_SESSION_TOKEN with its key, in every process that touches the store; or "
    "leave all three out where the machine has a role, which renews them.",
)
_CLOCK: Final = (
    "the clock of this machine differs too much from the store's",
    "Set it right (NTP), then run again.",
)
_REGION: Final = (
    "the bucket is in another region",
    "Set AWS_REGION to the bucket's region, and AWS_ENDPOINT_URL to none or to one of that region.",
)
_TOLD_BY_CODE: Final = {
    "ExpiredToken": _TOKEN,
    "ExpiredTokenException": _TOKEN,
    "InvalidToken": _TOKEN,
    "TokenRefreshRequired": _TOKEN,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "redirect without LOCATION": _REGION,  # obstore's words for a 301; it leaves the answer out
}

# Where a client asks the machine for its role when the environment holds no credentials.
_ASKED_THE_MACHINE: Final = (
    "/latest/api/token",
    "/latest/meta-data",
    "/metadata/identity",
    "/computeMetadata/",
)
_ENDPOINTS: Final = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")


class Answers:
    """Tells the errors of one bucket."""

    def __init__(self, scheme: str, bucket: str) -> None:
        self._scheme, self._bucket = scheme, bucket

    def refuse_missing_bucket(self, error: Exception) -> None:
        """Raise where not an object is missing but its bucket."""
        if any(sign in str(error) for sign in _BUCKET_IS_MISSING):
            raise StoreUnavailableError(
                f"{self._scheme}://{self._bucket} does not exist: create it, or correct `root` "
                "(or source.path, catalog.path) in surfaces.yaml.",
                refused=True,
            ) from None

    def fail(self, verb: str, uri: str, error: Exception) -> NoReturn:
        """Raise what became of an attempt to `verb` the object at `uri`."""
        self.refuse_missing_bucket(error)
        text = str(error)
        code = re.search(r"<Code>(\w+)</Code>", text)
        status = re.search(r"status(?: code)?: (\d{3})", text)
        said = " ".join(found.group(1) for found in (status, code) if found)
        refused = True
        told = next((told for sign, told in _TOLD_BY_CODE.items() if sign in text), None)
        if told:
            problem, advice = f"{told[0]} ({said or '301'})", told[1]
        elif any(sign in text for sign in _ASKED_THE_MACHINE):
            problem = "no credentials are set, and this machine has no role"
            advice = f"Set {CREDENTIALS[self._scheme]}."
        elif isinstance(error, PermissionDeniedError | UnauthenticatedError) or said[:3] in {
            "401",
            "403",
        }:
            problem = f"access was denied ({said or type(error).__name__})"
            advice = f"Check {CREDENTIALS[self._scheme]} and the rights on the bucket."
        elif said.startswith("501"):
            problem = f"the store does not know this request ({said})"
            advice = "docs/object-stores.md says what a store must be able to do."
        elif said:
            problem, advice = f"the store answered {said}", "Run again once it has recovered."
            refused = False
        elif "error sending request" in text or "timed out" in text or "onnect" in text:
            problem = "no answer came in time"
            advice = "Check the network and the endpoint, then run again."
            refused = False
        else:
            problem = f"{type(error).__name__} without an answer"
            advice = f"Check {CREDENTIALS[self._scheme]}."
            refused = False
        # `from None`: the original error quotes the store's answer.
        raise StoreUnavailableError(
            f"cannot {verb} {uri}: {problem}", advice=advice, refused=refused
        ) from None


def refuse_unusable_endpoints() -> None:
    """Refuse what obstore would panic over at the first request."""
    for name in _ENDPOINTS:
        endpoint = urlsplit(os.environ.get(name, "http://unset"))
        if endpoint.scheme not in {"http", "https"} or not endpoint.hostname:
            # Not quoted back: it may hold a password.
            raise StoreUnavailableError(f"${name} is no URL: it must be http(s)://host, or unset.")
