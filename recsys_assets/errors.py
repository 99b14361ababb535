"""Everything recsys_assets raises on purpose.

RecsysAssetsError
+-- ConfigError                   configuration or environment is wrong; fix it, start again
+-- InputError                    an input cannot be used; repair it, materialize the day again
|   +-- RawEventsError            a raw file is unreadable or damaged
|   +-- CatalogError              the catalog is unreadable or has no usable columns
|   +-- DeniedItemsError          the list of withdrawn items is unreadable
|   +-- EraseKeyError           the key of the list of erased persons is lost, or another one
|   +-- MissingPartitionError     nothing accepted is stored for the day; upstream comes first
+-- EngineError                   an engine is away, refuses or lacks memory; nothing changed
+-- ParsingError                  a process that parsed raw events ended; nothing changed
+-- SourceUnavailableError        the database of a source does not answer; nothing changed
+-- TopicError                    a topic cannot be landed; what is landed stays, land it again
+-- StorageError                  what is stored is not what was written
|   +-- CorruptBlobError          a blob does not hash to its version; never published
|   +-- CandidateOvertakenError   flipped since the audit; materialize manifest again
+-- StoreUnavailableError         the object store denies, fails or stays silent; nothing changed
+-- ManifestConflictError         others kept publishing first; nothing changed, safe to retry
+-- PublishOutcomeUnknownError    the flip may or may not have happened; publish again
+-- SinkError                     a sink refused a delivery and holds what it held; deliver again
+-- WebhookError                  a failed run could not be reported; the next tick tries again
"""

from __future__ import annotations


class RecsysAssetsError(Exception):
    """Base class, so that a caller can catch what is ours and nothing else.

    Attributes:
        problem: what is wrong and where, for whoever shows it with another advice, or with none.
    """

    def __init__(self, problem: str, *, advice: str = "") -> None:
        super().__init__(f"{problem}. {advice}" if advice else problem)
        self.problem = problem


class ConfigError(RecsysAssetsError):
    """The configuration file or an environment variable cannot be used."""


class InputError(RecsysAssetsError):
    """An input of one day cannot be used; other days and surfaces are not affected."""


class RawEventsError(InputError):
    """A raw file is unreadable, or its compressed stream is damaged."""


class CatalogError(InputError):
    """The catalog is unreadable, or lacks a column that content_sim needs."""


class DeniedItemsError(InputError):
    """The list of withdrawn items is unreadable, or a line of it is no id."""


class EraseKeyError(InputError):
    """The key that erased persons are recognised by is not set, or is another one."""


class MissingPartitionError(InputError):
    """Nothing accepted is stored for the day that was asked for."""


class EngineError(RecsysAssetsError):
    """An engine cannot compute an artifact now: it is away, refuses, or has not the memory."""


class ParsingError(RecsysAssetsError):
    """A process that parsed raw events was killed, or could not begin."""


class SourceUnavailableError(RecsysAssetsError):
    """The database that events come from lets nobody in, or the connection to it broke."""


class TopicError(RecsysAssetsError):
    """A topic cannot be landed as it is; what is landed stays, and no message twice."""


class StorageError(RecsysAssetsError):
    """The stored bytes contradict what the layout promises."""


class CorruptBlobError(StorageError):
    """A stored blob does not hash to the version in its name."""

    def __init__(self, uri: str, *, expected: str, found: str) -> None:
        # `found` is the other version, or says why the bytes have none.
        but = found if " " in found else f"hashes to {found}"
        super().__init__(
            f"{uri} should hash to {expected} but {but}: it was altered after it was written",
            advice="Move it away and materialize the day again; it was not published.",
        )
        self.uri = uri
        self.expected = expected
        self.found = found


class CandidateOvertakenError(StorageError):
    """What is live, or retention, moved since the candidate was audited; nothing was changed."""


class StoreUnavailableError(RecsysAssetsError):
    """An object store denies access, answers with errors, stays silent or has no such bucket."""

    def __init__(self, problem: str, *, advice: str = "", refused: bool = False) -> None:
        super().__init__(problem, advice=advice)
        self.refused = refused  # the store said no: what was asked for was not done


class ManifestConflictError(RecsysAssetsError):
    """The live manifest is not the one that this started from; nothing was flipped."""

    def __init__(self, uri: str, *, expected: str | None, found: str | None) -> None:
        super().__init__(
            f"{uri} moved meanwhile: expected {expected or 'nothing'}, found {found or 'nothing'}",
            advice="Nothing was flipped; look at what is live now, then do it again.",
        )
        self.uri = uri
        self.expected = expected
        self.found = found


class PublishOutcomeUnknownError(RecsysAssetsError):
    """Storage failed after the point of no return; publishing again settles it."""


class SinkError(RecsysAssetsError):
    """A sink cannot be reached, or refuses a delivery; readers of it see what they saw before."""

    def __init__(self, problem: str, *, advice: str = "", soon: bool = True) -> None:
        super().__init__(problem, advice=advice)
        self.soon = soon  # whether the same delivery may succeed soon, without anybody's doing


class WebhookError(RecsysAssetsError):
    """The webhook did not take a report; the message never holds its URL."""
