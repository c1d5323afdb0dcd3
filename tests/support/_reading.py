"""Reads a clip whole for tests, and checks what every block owes."""

from pathlib import Path

import numpy as np
import pytest

from earsight.media import (
    AudioBlock,
    Decoder,
    FrameBlock,
    FrameRequest,
    Report,
)

CORNERS = np.zeros((48, 64, 3), np.uint8)
CORNERS[:24, :32] = (220, 30, 30)  # red: top left
CORNERS[:24, 32:] = (30, 200, 30)  # green: top right
CORNERS[24:, :32] = (30, 30, 220)  # blue: bottom left


def read(
    path: Path, audio: tuple[int, ...] = (16000,), frames: tuple[FrameRequest, ...] = ()
) -> tuple[dict[int, np.ndarray], dict[FrameRequest, tuple[np.ndarray, np.ndarray]], Report]:
    """Read everything: samples by rate, (times, frames) by request; every block is checked."""
    decoder = Decoder(path, audio=audio, frames=frames, threads=1)
    sounds: dict[int, list[AudioBlock]] = {}
    sights: dict[FrameRequest, list[FrameBlock]] = {}
    for block in decoder:
        if isinstance(block, AudioBlock):
            assert block.samples.dtype == np.float32 and 0 < len(block.samples) <= block.rate
            assert np.abs(block.samples).max() <= 1.0
            before = sounds.setdefault(block.rate, [])
            if before:
                due = before[-1].start + len(before[-1].samples) / block.rate
                assert block.start == pytest.approx(due, abs=1 / block.rate)
            before.append(block)
        else:
            assert block.frames.dtype == np.uint8 and block.frames.ndim == 4
            assert 0 < len(block.times) == len(block.frames) <= 8
            sights.setdefault(block.request, []).append(block)
    return (
        {rate: np.concatenate([b.samples for b in blocks]) for rate, blocks in sounds.items()},
        {
            request: (
                np.concatenate([b.times for b in blocks]),
                np.concatenate([b.frames for b in blocks]),
            )
            for request, blocks in sights.items()
        },
        decoder.report,
    )
