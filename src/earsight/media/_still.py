"""One frame of a clip, found by seeking: for a face of it, however long it is."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight.errors import MediaError
from earsight.media._pass import pick_streams
from earsight.media._sight import Scaler
from earsight.media._source import (
    HEAD,
    MAX_PIXELS,
    check_head,
    decode_picture,
    open_container,
    open_file,
    open_picture,
    picture_format,
    too_large,
)

_MAX_FRAMES = 300  # decoded after a seek, in search of the moment that is asked for


def still(path: Path, at: float, short_side: int) -> npt.NDArray[np.uint8]:
    """Return the frame on screen at `at` seconds, or the last before it: (height, width, 3) RGB.

    Args:
        path: A video or a picture.
        at: Seconds from its beginning; beyond its end: the last frame that is found there.
        short_side: Pixels of the shorter side.

    Raises:
        MediaError: It cannot be read, or has no sight.
    """
    from av import FFmpegError, VideoFrame

    try:
        with open_file(Path(path)) as file:
            head = file.read(HEAD)
            check_head(head)
            if kind := picture_format(head):
                pixels = np.asarray(decode_picture(open_picture(file, kind)))
                return Scaler().rgb(VideoFrame.from_ndarray(pixels, format="rgb24"), short_side)
            with open_container(file) as container:
                return _from_video(container, at, short_side)
    except (FFmpegError, OSError, ValueError, MemoryError) as error:
        raise MediaError(f"No frame of it could be read: {error}.") from error


def _from_video(container: Any, at: float, short_side: int) -> npt.NDArray[np.uint8]:
    _, stream = pick_streams(container)
    if stream is None or stream.codec_context is None:
        raise MediaError("It has no sight.")
    context = stream.codec_context
    if context.width * context.height > MAX_PIXELS:
        raise MediaError(too_large(context.width, context.height))
    context.thread_type = "AUTO"
    context.options = {"max_pixels": str(MAX_PIXELS)}
    origin = (container.start_time or 0) / 1e6
    shown = _first(container, stream, at, origin, seeks=at > 0)
    if shown is None:  # nothing came after the seek: the file has no index, or ends before
        shown = _first(container, stream, at, origin, seeks=False, rewinds=at > 0)
    if shown is None:
        raise MediaError("No frame of it could be read.")
    return Scaler(stream.sample_aspect_ratio).rgb(shown, short_side)


def _first(
    container: Any, stream: Any, at: float, origin: float, *, seeks: bool, rewinds: bool = False
) -> Any:
    """Return the frame at `at`; None where nothing can be decoded from where the seek led."""
    from av import FFmpegError

    try:
        if seeks or rewinds:
            container.seek(round((origin + (at if seeks else 0.0)) * 1e6))
    except FFmpegError:
        return None
    shown = None
    decoded = 0
    try:
        for frame in container.decode(stream):
            time = None if frame.time is None else frame.time - origin
            if shown is not None and time is not None and time > at:
                break
            shown = frame
            decoded += 1
            if decoded == _MAX_FRAMES:
                break
    except FFmpegError:
        pass  # what was decoded until then is shown
    return shown
