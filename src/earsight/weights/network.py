"""How long a source is waited for, and that it did not deliver; apart from what opens sockets."""

from dataclasses import dataclass


class UnavailableError(Exception):
    """One source did not deliver; the text is the reason, and the next source is tried."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for a connection, and for the next bytes of an answer."""

    connect: float = 5.0
    read: float = 60.0
