"""What can go wrong, in the domain's words: adapters translate drivers' errors into these, the edge maps them on."""

from __future__ import annotations


class QuantumError(Exception):
    """Base of every error that is expected and has a sentence for people."""


class Rejected(QuantumError):
    """The request is wrong and will be wrong again; it names the thing and the limit.

    Attributes:
        reason: stable identifier for programs, for example `too_old` or `series_limit`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Conflict(QuantumError):
    """The request contradicts what is stored: a name that is taken, a version that moved on."""


class NotFound(QuantumError):
    """The named object does not exist (or is not the asker's to see)."""


class Unavailable(QuantumError):
    """A part that is needed does not answer, or its answer is unknown; the same request may be sent again."""


class StorageFull(Unavailable):
    """The store has no room; what was not answered is not stored, and sending it again will work once there is room."""


class OutOfRoom(Unavailable):
    """There is no memory for new series; nothing of the request was stored, and sending it again may work later."""

    retry_after_s = 30


class Throttled(Unavailable):
    """The asker used up what it may have in this time; after `retry_after_s` seconds the same may be sent again.

    Attributes:
        reason: id of the limit, for example `samples_per_second`.
    """

    def __init__(self, reason: str, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Overloaded(Unavailable):
    """A bounded queue is full; sending again after `retry_after_s` seconds is expected to work."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
