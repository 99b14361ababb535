"""Everything recsys_assets_reader raises on purpose.

ReaderError
+-- NotPublishedError     there is no manifest at this URI; nothing was ever live there
+-- StoreError            the store denies, fails or stays silent; try again
+-- ManifestError         what is there is no manifest that this version reads
+-- DocumentError         a document is missing, is none, or does not hash to its version
+-- KindNotReadError      the reader was opened without the kind that is asked for

Once something is live, `refresh` raises them and the look-ups go on with what was live before.
"""

from __future__ import annotations


class ReaderError(Exception):
    """Base class, so that a caller can catch what is ours and nothing else."""


class NotPublishedError(ReaderError):
    """There is no manifest."""


class StoreError(ReaderError):
    """The store did not give an object, and did not say that there is none."""


class ManifestError(ReaderError):
    """A manifest cannot be read."""


class DocumentError(ReaderError):
    """A document cannot be read."""


class KindNotReadError(ReaderError):
    """A kind is asked for that was not among the `kinds` of `open`."""
