"""The frames that an extractor with eyes asks for."""

from earsight.errors import InputError
from earsight.media import FrameRequest


def frames_at(fps: float, short_side: int) -> FrameRequest:
    """Return a request for `fps` frames a second; "every frame" is none of an extractor's rates.

    Raises:
        InputError: `fps` is no number above 0, or not finite.
    """
    if not isinstance(fps, int | float) or not 0 < fps < float("inf"):
        raise InputError(f"`fps` must be above 0 and finite, in frames a second; got {fps}.")
    return FrameRequest(fps, short_side)
