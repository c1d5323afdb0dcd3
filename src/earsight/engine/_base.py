"""What all engines share."""

from typing import TypeVar

from earsight.errors import EarsightError

TICK = 0.5  # seconds

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerDied(EarsightError):  # noqa: N818 - it is what happened, told in the summary
    """The process that worked on an item was killed or crashed."""


class TookTooLong(EarsightError):  # noqa: N818 - it is what happened, told in the message
    """Work was ended because its time was over."""


class NoTimeLeft(TookTooLong):
    """Work was ended, or not begun, because the time of all of it was over; it may be quick."""
