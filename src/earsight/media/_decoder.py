"""One pass over one file: demultiplex, decode, hand on, and keep the account."""

import math
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from earsight.errors import InputError, MediaError
from earsight.media._pass import pick_streams, read_container
from earsight.media._sight import Scaler
from earsight.media._source import (
    HEAD,
    check_head,
    decode_picture,
    open_container,
    open_file,
    open_picture,
    picture_format,
)
from earsight.media._types import AudioBlock, FrameBlock, FrameRequest, Report, Status
from earsight.media._whole import broken_at, is_cut_off

Block = AudioBlock | FrameBlock

# A file may last so many seconds, and one more for each so many bytes: digital silence as FLAC has
# 24 bytes a second, but timestamps alone can claim an hour for each packet.
ANY_SECONDS = 6 * 3600.0
BYTES_A_SECOND = 16


class Decoder:
    """One pass over one file that serves every request at once.

    Time 0 is the container's start, for sound and sight alike. Blocks come as they are decoded:
    audio of at most 1 s, frames at most 8 at a time, each kind in the order of time. The samples
    of one rate are consecutive from the first block to the last: lost stretches are filled with
    silence, which `report.details` counts. Memory does not grow with the clip.

    Iterating never raises for a bad file: what could be read comes, and `report` says the rest. A
    missing or refused file gives no block and `Status.UNREADABLE`. Streams nobody asked for are
    not decoded; for them the status takes the container's word. Iterating again reads again.
    A file that lasts for more than 6 hours and a second for each 16 of its bytes is given up there.

    Args:
        path: A file on this machine; any name that the system allows.
        audio: Sample rates in Hz at which mono sound is wanted.
        frames: Requests for frames.
        threads: Decoding threads; 0: as many as there are cores.
        max_seconds: A file that declares or holds more is refused, for strangers' files: a tiny
            one can hold hours of silence.

    Raises:
        InputError: A rate below 1, a negative number of threads, or `max_seconds` not above 0.

    >>> import tempfile, wave
    >>> path = Path(tempfile.mkdtemp()) / "silence.wav"
    >>> with wave.open(str(path), "wb") as file:
    ...     file.setparams((1, 2, 8000, 0, "NONE", ""))
    ...     file.writeframes(bytes(2 * 12000))
    >>> decoder = Decoder(path, audio=[8000], frames=[FrameRequest(2.0, 256)])
    >>> [(block.start, len(block.samples)) for block in decoder]
    [(0.0, 8000), (1.0, 4000)]
    >>> decoder.report.status, decoder.report.duration
    (<Status.NO_VIDEO: 'no_video'>, 1.5)
    """

    report: Report

    def __init__(
        self,
        path: Path,
        *,
        audio: Sequence[int] = (),
        frames: Sequence[FrameRequest] = (),
        threads: int = 0,
        max_seconds: float = math.inf,
    ) -> None:
        if any(rate < 1 for rate in audio):
            raise InputError(f"`audio` must be sample rates of at least 1 Hz; got {list(audio)}.")
        if threads < 0:
            raise InputError(f"`threads` must be 0 (all cores) or more; got {threads}.")
        if not max_seconds > 0:
            raise InputError(f"`max_seconds` must be above 0; got {max_seconds}.")
        self.path = Path(path)
        self.report = Report()
        self._max_seconds = max_seconds
        self._rates = tuple(audio)
        self._requests = tuple(frames)
        self._threads = threads

    def __iter__(self) -> Generator[Block, None, None]:
        from av import FFmpegError

        self.report = Report()
        try:
            with open_file(self.path) as file:
                head = file.read(HEAD)
                check_head(head)
                if kind := picture_format(head):
                    yield from self._picture(file, kind)
                else:
                    self.report.details["is_cut_off"] = is_cut_off(file)
                    self.report.details["broken_at"] = broken_at(file)
                    with open_container(file) as container:
                        self._check_length((container.duration or 0) / 1e6)
                        blocks = read_container(
                            container,
                            self._rates,
                            self._requests,
                            self._threads,
                            report=self.report,
                        )
                        given: Counter[FrameRequest] = Counter()
                        for block in blocks:
                            reached = _reached(block, given)
                            self._check_length(reached)
                            _check_share(reached, container.size)
                            yield block
        except (MediaError, FFmpegError, OSError, MemoryError) as error:
            self.report.status = Status.UNREADABLE
            self.report.message = str(error)

    def _check_length(self, seconds: float) -> None:
        if seconds > self._max_seconds:
            raise MediaError(
                f"It is longer than the {self._max_seconds:,.0f} s that are opened here; cut a "
                "shorter piece."
            )

    def _picture(self, file: BinaryIO, kind: str) -> Iterator[FrameBlock]:
        """Deliver a still picture: one frame at time 0, of duration 0."""
        from av import VideoFrame

        pixels = np.asarray(decode_picture(open_picture(file, kind)))
        frame = VideoFrame.from_ndarray(pixels, format="rgb24")
        scaler = Scaler()
        report = self.report
        report.height, report.width = pixels.shape[:2]
        report.n_frames = 1
        report.details["container"] = kind.lower()
        for request in dict.fromkeys(self._requests):
            picture = scaler.rgb(frame, request.short_side)
            yield FrameBlock(request, np.zeros(1), picture[None])
        report.status = Status.NO_AUDIO


def _check_share(seconds: float, size: int) -> None:
    if seconds > ANY_SECONDS + size / BYTES_A_SECOND:
        raise MediaError(
            f"It lasts for more than {seconds:,.0f} s, which is out of all proportion to its "
            f"{size:,} bytes; encode it anew, or cut a shorter piece."
        )


def _reached(block: Block, given: Counter[FrameRequest]) -> float:
    """Return the seconds that a block leads to; `given` counts the frames of each request.

    Frames are counted, because one that stays on screen for hours comes again and again with one
    and the same timestamp.
    """
    if isinstance(block, AudioBlock):
        return block.start
    given[block.request] += len(block.times)
    grid = given[block.request] / block.request.fps if block.request.fps else 0.0
    return max(grid, float(block.times[-1]))


def kind(path: Path) -> Literal["audio", "visual", "both"] | None:
    """Tell what a file holds by its headers alone; None: nothing that Earsight opens.

    Why a file is None, the report of a `Decoder` says.
    """
    try:
        with open_file(Path(path)) as file:
            head = file.read(HEAD)
            check_head(head)
            if name := picture_format(head):
                open_picture(file, name)
                return "visual"
            with open_container(file) as container:
                sound, sight = pick_streams(container)
    except (MediaError, OSError):
        return None
    if sound is not None and sight is not None:
        return "both"
    if sound is not None:
        return "audio"
    return "visual" if sight is not None else None
