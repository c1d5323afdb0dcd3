"""One pass over one container: demultiplex, decode, hand on, and settle the account."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from earsight.errors import MediaError
from earsight.media._sight import Sight
from earsight.media._sound import Sound
from earsight.media._source import MAX_PIXELS, check_rate, too_large
from earsight.media._types import AudioBlock, FrameBlock, FrameRequest, Report, Status
from earsight.media._whole import OGG_PAGE

if TYPE_CHECKING:
    from av.container import InputContainer

# Jumps of the timestamps longer than this are not believed. Only MPEG streams restart their clock.
MAX_GAP = 3600.0
MAX_GAP_MPEG = 10.0

# So many reads in a row may fail before a file is taken to be at its end.
MAX_FAILED_READS = 100

# A container's duration is believed up to this shortfall: seconds, or share of the whole.
SLACK_SECONDS = 0.5
SLACK_SHARE = 0.02

# These formats do not store how long they are; libav guesses it from the bit rate.
GUESSED_DURATION = frozenset({"aac", "ac3", "amr", "eac3", "mp3", "mpeg", "mpegts", "mpegvideo"})


def pick_streams(container: "InputContainer") -> tuple[Any, Any]:
    """Return the sound and the sight track to read, each None where there is none.

    The first track of its kind that can be decoded; a cover picture is not sight.
    """
    from av.stream import Disposition

    def first(streams: Sequence[Any]) -> Any:
        return next((s for s in streams if s.codec_context), streams[0] if streams else None)

    cover = Disposition.attached_pic | Disposition.timed_thumbnails
    sights = [s for s in container.streams.video if not s.disposition & cover]
    return first(container.streams.audio), first(sights)


def read_container(
    container: "InputContainer",
    rates: Sequence[int],
    requests: Sequence[FrameRequest],
    threads: int,
    *,
    report: Report,
) -> Iterator[AudioBlock | FrameBlock]:
    """Yield every block that the requests ask for, then complete the report.

    Raises:
        MediaError: Neither sound nor sight is there, frames are too large to be opened, or the
            sample rate is none that sound has.
    """
    sound_stream, sight_stream = pick_streams(container)
    if sound_stream is None and sight_stream is None:
        raise MediaError("It holds neither sound nor sight.")
    gap = MAX_GAP_MPEG if container.format.name in ("mpeg", "mpegts") else MAX_GAP
    tracks: dict[int, Sound | Sight] = {}
    sound = sight = None
    if sound_stream is not None and rates:
        if sound_stream.codec_context is not None and sound_stream.codec_context.sample_rate:
            check_rate(sound_stream.codec_context.sample_rate)
        sound = Sound(rates, gap)
        tracks[sound_stream.index] = sound
    if sight_stream is not None and requests:
        context = sight_stream.codec_context
        if context is not None and context.width * context.height > MAX_PIXELS:
            raise MediaError(too_large(context.width, context.height))
        rate = float(sight_stream.average_rate or sight_stream.guessed_rate or 25)
        sight = Sight(requests, sight_stream.sample_aspect_ratio, 1.0 / rate, gap)
        tracks[sight_stream.index] = sight
    streams = [s for s in (sound_stream, sight_stream) if s is not None]
    _describe(container, streams, report)
    yield from _decode(container, tracks, threads, report)
    for track in tracks.values():
        yield from track.close()
        report.n_errors += track.n_errors
    _settle(container, (sound_stream, sound), (sight_stream, sight), report)


def _describe(container: "InputContainer", streams: list[Any], report: Report) -> None:
    details = report.details
    details["container"] = container.format.name
    if container.duration is not None:
        details["declared_seconds"] = container.duration / 1e6
    for stream in streams:
        context = stream.codec_context
        details[f"{stream.type}_codec"] = context.name if context else None
        if stream.type == "video" and context:
            report.width, report.height = context.width, context.height


def _decode(
    container: "InputContainer", tracks: dict[int, Sound | Sight], threads: int, report: Report
) -> Iterator[AudioBlock | FrameBlock]:
    """Feed the tracks with every frame that can be decoded, and count what cannot."""
    from av import FFmpegError

    streams = [container.streams[i] for i in tracks if container.streams[i].codec_context]
    for stream in streams:
        stream.codec_context.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    if not streams:
        return
    origin = (container.start_time or 0) / 1e6

    def decoded(stream: Any, packet: Any) -> Iterator[AudioBlock | FrameBlock]:
        try:
            frames = stream.codec_context.decode(packet)
        except FFmpegError:
            report.n_errors += 1
            tracks[stream.index].has_lost = True
            return
        for frame in frames:
            frame.time_base = stream.time_base  # frames of the final flush come without
            report.n_errors += frame.is_corrupt
            # The container's start is given in microseconds, so no finer difference is meant.
            time = None if frame.time is None else round(frame.time - origin, 6) + 0.0
            try:
                yield from tracks[stream.index].feed(frame, time)
            except (
                FFmpegError,
                ValueError,
            ):  # pixels or samples of a kind that libav cannot convert
                report.n_errors += 1

    for packet in _packets(container, streams, tracks.values(), report):
        yield from decoded(packet.stream, packet)
    for stream in streams:
        yield from decoded(stream, None)


def _packets(
    container: "InputContainer",
    streams: list[Any],
    tracks: Iterable[Sound | Sight],
    report: Report,
) -> Iterator[Any]:
    """Yield packets to the file's end, past whatever cannot be read."""
    from av import FFmpegError

    failed = 0
    while failed < MAX_FAILED_READS:
        try:
            for packet in container.demux(streams):
                failed = 0
                if packet.pos is not None:
                    report.details["last_byte"] = packet.pos + packet.size
                if packet.size:  # an empty packet would end the decoding; that is for later
                    yield packet
            return
        except (FFmpegError, OSError, IndexError):  # IndexError: damage looked like a new stream
            failed += 1
            report.n_errors += 1
            for track in tracks:
                track.has_lost = True


def _settle(
    container: "InputContainer",
    sound: tuple[Any, Sound | None],
    sight: tuple[Any, Sight | None],
    report: Report,
) -> None:
    """Complete the report: what was read, set against what the container declares."""
    declared = [(name, *pair) for name, pair in (("sound", sound), ("sight", sight)) if pair[0]]
    asked = [(name, stream, track) for name, stream, track in declared if track is not None]
    problems = []
    for name, stream, track in asked:
        codec = stream.codec_context.name if stream.codec_context else "unknown coding"
        expected = max(track.end - track.first, _declared_seconds(container, stream))
        if not track.is_read:
            problems.append(f"{name} is declared ({codec}), but none of it could be read")
            if name == "sight" and not report.width:  # libav saw no frame that it may open
                problems.append(f"frames of more than {MAX_PIXELS:,} pixels are refused")
        elif _is_short(track.seconds, expected):
            problems.append(f"only {track.seconds:.1f} of {expected:.1f} s of {name} could be read")
    report.duration = max((track.end for _, _, track in asked), default=0.0)
    whole = container.duration / 1e6 if container.duration and _knows_duration(container) else 0.0
    if not problems and asked == declared and _is_short(report.duration, whole):
        problems.append(f"only {report.duration:.1f} of {whole:.1f} s could be read")
    if not problems and report.details["is_cut_off"]:
        problems.append("the file was cut off")
    if not problems and (at := report.details["broken_at"]) is not None:
        problems.append(f"it is damaged at byte {at:,}, and no frame after that could be read")
    unread = container.size - report.details.get("last_byte", container.size)
    if not problems and container.format.name == "ogg" and unread > OGG_PAGE:
        problems.append(f"the last {unread:,} bytes could not be read")
    if report.n_errors:
        problems.append(f"damaged packets, frames or timestamps: {report.n_errors}")
    text = "; ".join(problems)
    report.message = f"{text[:1].upper()}{text[1:]}." if problems else ""
    report.status = _status(declared, asked, bool(problems))
    if sound[1] is not None:
        report.audio_seconds = sound[1].seconds
        report.details["audio_seconds_filled_with_silence"] = sound[1].missing
    if sight[1] is not None:
        report.visual_seconds, report.n_frames = sight[1].seconds, sight[1].n_frames
        if sight[1].is_read:
            report.width, report.height = sight[1].size


Track = tuple[str, Any, Sound | Sight]


def _status(declared: list[Any], asked: list[Track], has_problems: bool) -> Status:
    if len(asked) == len(declared) and not any(track.is_read for _, _, track in asked):
        return Status.UNREADABLE
    if has_problems:
        return Status.PARTIAL
    kinds = {name for name, _, _ in declared}
    if kinds == {"sight"}:
        return Status.NO_AUDIO
    return Status.NO_VIDEO if kinds == {"sound"} else Status.OK


def _knows_duration(container: "InputContainer") -> bool:
    return container.format.name not in GUESSED_DURATION


def _declared_seconds(container: "InputContainer", stream: Any) -> float:
    """Return how long a track says it is, 0 where it does not say."""
    if stream.duration is None or not _knows_duration(container):
        return 0.0
    return float(stream.duration * stream.time_base)


def _is_short(seconds: float, expected: float) -> bool:
    return seconds < expected - max(SLACK_SECONDS, SLACK_SHARE * expected)
