"""The exceptions of transload: one tree under `TransloadError`, one class for each kind of error.

The text of an exception is one line: what failed, where, why, and what to do. It never holds a secret.
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "AuthError",
    "Cancelled",
    "ConfigError",
    "ConflictError",
    "DataError",
    "InternalError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitedError",
    "SchemaChangedError",
    "TlsError",
    "TransloadError",
    "TransloadTimeoutError",
    "TypeMappingError",
    "UnreachableError",
    "UnsupportedError",
]


class TransloadError(Exception):
    """What every failed operation of the engine raises."""

    kind: ClassVar[str] = "internal"
    """What went wrong, in few, stable words; the same in every language."""

    retryable: bool
    """Whether the same call may succeed later without a change."""
    message: str
    """What failed, without context."""
    operation: str | None
    """The operation that failed, where known."""
    context: dict[str, str]
    """Facts: connection, table, column, job and so on."""
    hint: str | None
    """What to do about it, where known."""
    causes: list[str]
    """Texts of the causes, outermost first."""
    report: dict[str, Any] | None
    """The report of the run that failed; only on errors of `Runner.run`."""

    def __init__(
        self,
        text: str = "",
        *,
        retryable: bool = False,
        message: str | None = None,
        operation: str | None = None,
        context: dict[str, str] | None = None,
        hint: str | None = None,
        causes: list[str] | None = None,
        report: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(text)
        self.retryable = retryable
        self.message = text if message is None else message
        self.operation = operation
        self.context = {} if context is None else context
        self.hint = hint
        self.causes = [] if causes is None else causes
        self.report = report


class ConfigError(TransloadError):
    """A document, option or argument is wrong."""

    kind = "config"


class AuthError(TransloadError):
    """The credentials were refused."""

    kind = "auth"


class PermissionDeniedError(TransloadError):
    """The credentials are fine, the right is missing."""

    kind = "permission"


class UnreachableError(TransloadError):
    """The host or service could not be reached."""

    kind = "unreachable"


class TlsError(TransloadError):
    """The TLS handshake or certificate check failed."""

    kind = "tls"


class TransloadTimeoutError(TransloadError):
    """A deadline passed."""

    kind = "timeout"


class NotFoundError(TransloadError):
    """A database, schema, table, column, file or secret does not exist."""

    kind = "not_found"


class ConflictError(TransloadError):
    """Somebody else changed the same thing, or it exists already."""

    kind = "conflict"


class TypeMappingError(TransloadError):
    """A type has no mapping, or an override is impossible."""

    kind = "type_mapping"


class SchemaChangedError(TransloadError):
    """The source or target no longer has the schema that the job relies on."""

    kind = "schema_changed"


class DataError(TransloadError):
    """A value is broken or does not fit."""

    kind = "data"


class RateLimitedError(TransloadError):
    """The system asks to slow down."""

    kind = "rate_limited"


class Cancelled(TransloadError):
    """The caller cancelled."""

    kind = "cancelled"


class UnsupportedError(TransloadError):
    """The connector cannot do this."""

    kind = "unsupported"


class InternalError(TransloadError):
    """A defect in transload."""

    kind = "internal"


_BY_KIND: dict[str, type[TransloadError]] = {cls.kind: cls for cls in TransloadError.__subclasses__()}


def from_engine(text: str, error: dict[str, Any], report: dict[str, Any] | None) -> TransloadError:
    """The exception for the JSON form of an error; the engine calls this."""
    fields = {key: value for key, value in error.items() if key != "kind"}
    # A kind that a newer engine may add is still a TransloadError.
    return _BY_KIND.get(error["kind"], TransloadError)(text, report=report, **fields)
