"""Clips joined into recordings: as one media file, or as the sequences that it would give."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np

from earsight import engine
from earsight.demo.clip import take
from earsight.demo.encode import FPS, write_clip
from earsight.demo.sounds import RATE as DRAWN_RATE
from earsight.demo.stage import HEIGHT, WIDTH, Brush
from earsight.features import FeatureSequence
from earsight.library.embedding.extraction import Sources, read_clip
from earsight.media import AudioBlock, Decoder, FrameBlock, FrameRequest

SIZE, RATE = (480, 270), 44_100
SIDES = {"audio": "visual", "visual": "audio"}
ROLES = {side: f"words.{side}" for side in SIDES}
LOOKS = 2  # frames a second that the networks of the words look at


@dataclass(frozen=True)
class Clip:
    """A clip as the library's extractors hear and see it."""

    path: Path
    label: str
    seconds: float
    sequences: Mapping[str, FeatureSequence]

    @property
    def real(self) -> bool:
        return not self.path.stem.startswith(f"{self.label}_")


def read(paths: Sequence[Path], sources: Sources) -> list[Clip]:
    """Read clips; those without sound or without sight are left out."""
    return _together(partial(_read, sources=sources), paths)


def sketch(labels: Sequence[tuple[str, int]], seed: int, sources: Sources) -> list[Clip]:
    """Draw clips of a class and a number, read them, and keep no file.

    They are those that `draw` makes, but only the frames that the networks look at are painted, two
    a second, and each stays until the next: they see the same in a third of the time.
    """
    with tempfile.TemporaryDirectory() as name:
        return _together(partial(_sketched, seed=seed, sources=sources, folder=Path(name)), labels)


def _together(work: Any, items: Sequence[Any]) -> list[Clip]:
    """Do the work in all processes, and return what it gave in the order of the items."""
    done: dict[Any, Any] = {}
    running = engine.run(work, items, workers=engine.default_workers(), start=_one_thread)
    for item, clip in running:
        if isinstance(clip, engine.WorkerDied):
            raise RuntimeError(f"the process that read {item} died")
        done[item] = clip
    return [done[item] for item in items if done[item] is not None]


def _one_thread() -> None:
    os.environ["EARSIGHT_THREADS"] = "1"


def _read(path: Path, *, sources: Sources) -> Clip | None:
    got = read_clip(path, sources, whole=True)
    if not set(ROLES.values()) <= got.sequences.keys():
        return None
    return Clip(path, path.parent.name, got.report.duration, got.sequences)


def _sketched(one: tuple[str, int], *, seed: int, sources: Sources, folder: Path) -> Clip | None:
    label, number = one
    shot = take(label, seed, number)

    def frames() -> Iterator[np.ndarray]:
        n = round(shot.scene.duration * FPS)
        looked = [int(k * FPS / LOOKS) for k in range(1 + n * LOOKS // FPS)]
        for first, beyond in zip(looked, [*looked[1:], n], strict=True):
            stage = shot.scene.backdrop.copy()
            shot.scene.paint(Brush(stage), first / FPS)
            yield from repeat(np.asarray(shot.camera.shoot(stage, first / FPS)), beyond - first)

    path = folder / label / f"{label}_{number:02d}.mp4"
    path.parent.mkdir(exist_ok=True)
    write_clip(path, frames(), (WIDTH, HEIGHT), shot.sound, rate=DRAWN_RATE)
    try:
        return _read(path, sources=sources)
    finally:
        path.unlink()


def starts(clips: Sequence[Clip]) -> np.ndarray:
    """Return where each clip starts in their recording, and where the last ends: (n + 1,)."""
    return np.cumsum([0.0, *(round(clip.seconds * FPS) / FPS for clip in clips)])


def joined(clips: Sequence[Clip]) -> dict[str, FeatureSequence]:
    """Return the sequences of a recording of clips."""
    made = {}
    for role in clips[0].sequences:
        own = [clip.sequences[role] for clip in clips]
        values = np.concatenate([one.values for one in own])
        times = [one.times + start for one, start in zip(own, starts(clips)[:-1], strict=True)]
        weights = [np.ones(len(o)) if o.weights is None else o.weights for o in own]
        mass = np.concatenate(weights).astype(np.float32)
        order = np.argsort(np.concatenate(times), kind="stable")
        made[role] = FeatureSequence(
            values[order], np.concatenate(times)[order], own[0].span, mass[order]
        )
    return made


def film(clips: Sequence[Clip], path: Path) -> None:
    """Encode clips, one after another, as one media file."""
    lengths = [round(clip.seconds * FPS) for clip in clips]

    def sound(clip: Clip, n_frames: int) -> np.ndarray:
        blocks = [b.samples for b in Decoder(clip.path, audio=[RATE]) if isinstance(b, AudioBlock)]
        samples = np.concatenate(blocks)[: n_frames * RATE // FPS]
        return np.pad(samples, (0, n_frames * RATE // FPS - len(samples)))

    def frames() -> Iterator[np.ndarray]:
        for clip, n_frames in zip(clips, lengths, strict=True):
            seen = (
                framed(picture)
                for block in Decoder(clip.path, frames=[FrameRequest(FPS, SIZE[1])])
                if isinstance(block, FrameBlock)
                for picture in block.frames
            )
            shown = 0
            for picture in islice(seen, n_frames):
                shown += 1
                yield picture
            yield from repeat(picture, n_frames - shown)

    heard = np.concatenate([sound(*one) for one in zip(clips, lengths, strict=True)])
    write_clip(path, frames(), SIZE, heard, rate=RATE)


def framed(picture: np.ndarray) -> np.ndarray:
    """Put a picture into the middle of the recording's frame; what is wider is cut at the sides."""
    height, width = picture.shape[:2]
    made = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    cut = picture[: SIZE[1], max(0, width - SIZE[0]) // 2 :][:, : SIZE[0]]
    top, left = (SIZE[1] - min(height, SIZE[1])) // 2, (SIZE[0] - cut.shape[1]) // 2
    made[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return made
