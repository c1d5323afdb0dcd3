"""How a long use case tells what it is doing; a terminal and a page each show it their way."""

from typing import Protocol


class Progress(Protocol):
    """Receives what a use case has to say while it works."""

    def start(self, what: str, total: int) -> None:
        """A step of `total` items begins."""

    def advance(self, note: str = "") -> None:
        """One item of the current step is done."""

    def finish(self) -> None:
        """The current step is over."""

    def say(self, text: str) -> None:
        """A line for people: a decision, a choice, a warning."""


class Silent:
    """Says nothing; the default of the Python functions, whose reports hold it all anyway."""

    def start(self, what: str, total: int) -> None:
        """Do nothing."""

    def advance(self, note: str = "") -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""
