"""From decoded video frames to RGB blocks on every asked grid of times."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from earsight.errors import MediaError
from earsight.media._source import MAX_PIXELS, on_white, too_large
from earsight.media._types import FrameBlock, FrameRequest

Picture = npt.NDArray[np.uint8]

# Containers round timestamps to a millisecond: a frame this little after a grid time is on it.
TOLERANCE = 1e-3

BLOCK_FRAMES = 8
BLOCK_BYTES = 1 << 25


class Sight:
    """One video track. Memory: one decoded frame, and a block for each request.

    A frame is on screen from its timestamp to the next one's, the last for its own duration. The
    first also answers the grid time just before it, so that any clip gives at least one frame.
    """

    def __init__(
        self, requests: Sequence[FrameRequest], aspect: Fraction | None, step: float, max_gap: float
    ) -> None:
        self._lanes = [_Lane(request) for request in dict.fromkeys(requests)]
        self._scaler = Scaler(aspect)
        self._step = step  # seconds a frame is taken to last where the clip does not say
        self._max_gap = max_gap
        self._shift = 0.0
        self._shown: Any = None
        self._scaled: dict[int | None, Picture] = {}  # of the frame shown, by short side
        self._time = 0.0  # of the frame shown
        self.first = 0.0  # time of the first frame
        self.end = 0.0
        self.has_lost = False  # set from outside: a packet of this track could not be decoded
        self.missing = 0.0  # seconds for which a frame stayed on screen because others were lost
        self.n_frames = 0
        self.n_errors = 0

    @property
    def seconds(self) -> float:
        """Seconds from the first frame to the end of the last one, less what was lost between."""
        return self.end - self.first - self.missing

    @property
    def is_read(self) -> bool:
        """Whether any of it could be read."""
        return self.n_frames > 0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the last frame: upright, square pixels."""
        return (0, 0) if self._shown is None else self._scaler.size(self._shown, None)

    def feed(self, frame: Any, time: float | None) -> Iterator[FrameBlock]:
        """Take the next decoded frame, which appears at `time` s (None: unknown)."""
        time = self._believed(time)
        if self._shown is None:
            self.first = time
            for lane in self._lanes:
                lane.begin(time)
        else:
            if self.has_lost:
                self.missing += max(time - self.end, 0.0)
            yield from self._deliver(time)
        self.has_lost = False
        length = frame.duration * float(frame.time_base) if frame.duration else self._step
        self.n_frames += 1
        self._shown, self._time, self._scaled = frame, time, {}
        self.end = max(self.end, time + min(length, self._max_gap))

    def close(self) -> Iterator[FrameBlock]:
        """Yield what is left."""
        if self._shown is None:
            return
        yield from self._deliver(self.end, last=True)
        for lane in self._lanes:
            yield from lane.flush()

    def _believed(self, time: float | None) -> float:
        """Return the time of the next frame: never before the last one's, never a wild jump."""
        if time is None:
            return self.end
        time += self._shift
        if self._shown is not None and not -self._max_gap <= time - self.end <= self._max_gap:
            self._shift += self.end - time
            self.n_errors += 1
            time = self.end
        return max(time, self._time) if self._shown is not None else time

    def _deliver(self, until: float, *, last: bool = False) -> Iterator[FrameBlock]:
        """Deliver the frame shown for every grid time before `until`."""
        for lane in self._lanes:
            for _ in range(lane.due(until, last=last)):
                side = lane.request.short_side
                if side not in self._scaled:
                    self._scaled[side] = self._scaler.rgb(self._shown, side)
                yield from lane.add(self._time, self._scaled[side])


class _Lane:
    """One request: where it stands on its grid, and the frames that do not fill a block yet."""

    def __init__(self, request: FrameRequest) -> None:
        self.request = request
        self._next = 0  # number of the grid time to be answered next
        self._n_given = 0
        self._times: list[float] = []
        self._frames: list[Picture] = []

    def begin(self, time: float) -> None:
        if self.request.fps is not None:
            self._next = int(np.floor((time + TOLERANCE) * self.request.fps))

    def due(self, until: float, *, last: bool) -> int:
        """Return how often the frame shown up to `until` is to be delivered, and step on."""
        if self.request.fps is None:
            return 1
        stop = int(np.ceil((until - TOLERANCE) * self.request.fps))
        n = max(stop - self._next, 0)
        if last and not n and not self._n_given:
            n = 1
        self._next += n
        self._n_given += n
        return n

    def add(self, time: float, picture: Picture) -> Iterator[FrameBlock]:
        if self._frames and self._frames[0].shape != picture.shape:  # the clip changed its size
            yield from self.flush()
        self._times.append(time)
        self._frames.append(picture)
        if len(self._frames) >= min(BLOCK_FRAMES, max(BLOCK_BYTES // picture.nbytes, 1)):
            yield from self.flush()

    def flush(self) -> Iterator[FrameBlock]:
        if self._frames:
            yield FrameBlock(self.request, np.array(self._times), np.stack(self._frames))
            self._times, self._frames = [], []


class Scaler:
    """Turns decoded frames into upright RGB of an asked short side, straight by swscale."""

    def __init__(self, aspect: Fraction | None = None) -> None:
        from av.video.reformatter import VideoReformatter

        plausible = aspect is not None and Fraction(1, 4) <= aspect <= 4
        self._aspect = aspect if plausible and aspect is not None else Fraction(1)
        self._make = VideoReformatter
        self._reformatters: dict[int | None, Any] = {}  # one for each size: they keep their tables
        self._turn: tuple[bool, bool, bool] | None = None

    def size(self, frame: Any, short_side: int | None) -> tuple[int, int]:
        """Return width and height of the upright result for one decoded frame."""
        width, height = self._unturned_size(frame, short_side)
        return (height, width) if self._orientation(frame)[0] else (width, height)

    def rgb(self, frame: Any, short_side: int | None) -> Picture:
        """Return (height, width, 3) uint8: bilinear, areas averaged when shrinking, on white.

        Raises:
            MediaError: The result would have more than `MAX_PIXELS` pixels.
        """
        from av import VideoFrame
        from PIL import Image

        width, height = self._unturned_size(frame, short_side)
        if width * height > MAX_PIXELS:
            raise MediaError(too_large(width, height))
        transposed, flip_x, flip_y = self._orientation(frame)
        if any(component.is_alpha for component in frame.format.components):
            opaque = np.array(on_white(Image.fromarray(frame.to_ndarray(format="rgba"))))
            frame = VideoFrame.from_ndarray(opaque, format="rgb24")
        picture = self._convert(frame, width, height, short_side)
        if transposed:
            picture = picture.transpose(1, 0, 2)
        return np.ascontiguousarray(picture[:: -1 if flip_y else 1, :: -1 if flip_x else 1])

    def _orientation(self, frame: Any) -> tuple[bool, bool, bool]:
        """Return how the first frame is to be turned; asking each would keep each in memory."""
        if self._turn is None:
            self._turn = _read_display_matrix(frame)
        return self._turn

    def _unturned_size(self, frame: Any, short_side: int | None) -> tuple[int, int]:
        width, height = float(frame.width * self._aspect), float(frame.height)
        scale = 1.0 if short_side is None else short_side / min(width, height)
        return max(round(width * scale), 1), max(round(height * scale), 1)

    def _convert(self, frame: Any, width: int, height: int, key: int | None) -> Picture:
        from av.video.reformatter import ColorRange, Colorspace, Interpolation

        if key not in self._reformatters:
            self._reformatters[key] = self._make()
        unknown = frame.colorspace == _UNSPECIFIED
        hd = frame.height >= 720  # the convention where a clip does not name its colour matrix
        rgb = self._reformatters[key].reformat(
            frame,
            width,
            height,
            format="rgb24",
            src_colorspace=(Colorspace.ITU709 if hd else Colorspace.ITU601) if unknown else None,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BILINEAR
            | Interpolation.ACCURATE_RND
            | Interpolation.FULL_CHR_H_INT,
            threads=1,
        )
        return np.asarray(rgb.to_ndarray())


_UNSPECIFIED = 2  # libav's AVCOL_SPC_UNSPECIFIED


def _read_display_matrix(frame: Any) -> tuple[bool, bool, bool]:
    """Read the display matrix: transpose, then mirror left and right, then top and bottom.

    The matrix is nine 32-bit numbers a b u, c d v, x y w, with x′ = a x + c y, y′ = b x + d y.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0
