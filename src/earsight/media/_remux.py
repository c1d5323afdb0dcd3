"""A copy of a clip with its sound moved in time: packets are copied, nothing is decoded."""

import heapq
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earsight.errors import InputError, MediaError
from earsight.media._source import HEAD, check_head, open_container, open_file

if TYPE_CHECKING:
    from av.container import InputContainer

_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}


def shift_sound(
    clip: Path, out: Path, seconds: float, *, sound: Path | None = None, force: bool = False
) -> None:
    """Write a copy of `clip` whose sound comes `seconds` later (below 0: earlier).

    Video and sound are copied packet by packet, not encoded again. Sound that would begin before
    the picture does is left out, to the packet (about 20 ms); what stays is exact to the time
    base of the container.

    Args:
        clip: Whose sight is copied.
        out: An .mp4, .m4v, .mov or .mkv file; it appears when it is whole.
        seconds: By how much the sound is moved.
        sound: Whose sound is copied; default: the clip's own.
        force: Replace a file that is there.

    Raises:
        InputError: `out` has another ending, is there already, or is one of the sources.
        MediaError: A source cannot be opened or lacks its stream, or its codec does not fit into
            the container.
    """
    ending = out.suffix.lower()
    if ending not in _CONTAINERS:
        raise InputError(f"The copy must be one of {', '.join(_CONTAINERS)}; got {out.name!r}.")
    for source in filter(None, (clip, sound)):
        if out.exists() and source.exists() and out.samefile(source):
            raise InputError(f"The copy must not replace its source; got {out}.")
    if out.exists() and not force:
        raise InputError(f"{out} is there already. Name another file, or give --force.")
    descriptor, name = tempfile.mkstemp(prefix=".earsight-", suffix=ending, dir=out.parent)
    os.close(descriptor)
    try:
        _write(clip, Path(name), _CONTAINERS[ending], Fraction(seconds), sound=sound or clip)
        Path(name).chmod(0o644)
        Path(name).replace(out)
    finally:
        Path(name).unlink(missing_ok=True)


def _write(clip: Path, out: Path, container: str, shift: Fraction, *, sound: Path) -> None:
    import av

    with ExitStack() as stack:
        pictures, sounds = (stack.enter_context(_open(path)) for path in (clip, sound))
        if not pictures.streams.video:
            raise MediaError(f"{clip} has no sight to copy.")
        if not sounds.streams.audio:
            raise MediaError(f"{sound} has no sound to copy.")
        try:
            made = stack.enter_context(av.open(str(out), "w", format=container))
            streams = [
                made.add_stream_from_template(pictures.streams.video[0]),
                made.add_stream_from_template(sounds.streams.audio[0]),
            ]
            seen = _packets(pictures, pictures.streams.video[0], streams[0], Fraction(0))
            heard = _packets(sounds, sounds.streams.audio[0], streams[1], shift)
            for packet in heapq.merge(seen, heard, key=_when):
                made.mux(packet)
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaError(
                f"The streams of {clip} cannot be copied into {out.suffix}: {error}. Try .mkv, "
                "which takes nearly every codec."
            ) from error


@contextmanager
def _open(path: Path) -> "Iterator[InputContainer]":
    try:
        with open_file(path) as file:
            check_head(file.read(HEAD))
            with open_container(file) as container:
                yield container
    except MediaError as error:
        raise MediaError(f"{path} cannot be copied. {error}") from error


def _packets(source: "InputContainer", stream: Any, target: Any, shift: Fraction) -> Iterator[Any]:
    """Yield a stream's packets for `target`, counted from the container's start and shifted."""
    start = Fraction(source.start_time or 0, 1_000_000)
    moved = round((shift - start) / stream.time_base)
    for packet in _decodable(source.demux(stream)):
        packet.pts += moved
        packet.dts += moved
        if shift < 0 and packet.pts < 0 and stream.type == "audio":
            continue
        packet.stream = target
        yield packet


def _decodable(packets: Iterable[Any]) -> Iterator[Any]:
    """Give the first packets a decoding time where they have none, as in Matroska.

    They get it back from the first packet that has one, a frame at a time.
    """
    waiting: list[Any] = []
    for packet in packets:
        if packet.pts is None:
            continue
        if packet.dts is None:
            waiting.append(packet)
            continue
        for back, earlier in enumerate(reversed(waiting), start=1):
            earlier.dts = packet.dts - back * max(1, packet.duration or 1)
        yield from waiting
        waiting.clear()
        yield packet
    for packet in waiting:
        packet.dts = packet.pts
        yield packet


def _when(packet: Any) -> Fraction:
    return Fraction(packet.dts * packet.time_base)
