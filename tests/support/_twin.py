"""An extractor whose sound, sight and text share a space of three colours; for tests.

Low, middle and high tones, red, green and blue pictures, and their names are its three directions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from earsight import discovery, engine
from earsight.extractors import FeatureExtractor
from earsight.extractors._base import TextBlock
from earsight.features import FeatureSequence
from earsight.media import FrameRequest

NAMES = ("red", "green", "blue")
TONES = (200, 1000, 4000)
COLOURS = ((220, 20, 20), (20, 220, 20), (20, 20, 220))


@dataclass(kw_only=True)
class Twin(FeatureExtractor):
    """Three directions with a cone of their own for each modality, as trained spaces have."""

    name: ClassVar[str] = "twin"
    dims: ClassVar[dict[str, int]] = {"embedding": 4}

    modality: Literal["audio", "visual", "text"] = "audio"
    cone: float = 0.5

    @property
    def space(self) -> str:
        return f"{self.name}-{self.version}-{self.cone}"

    @property
    def needs(self) -> Any:
        return {"audio": 16000, "visual": FrameRequest(2.0, 16), "text": TextBlock}[self.modality]

    def _session(self) -> "_Session":
        return _Session(self)

    def vector(self, seen: np.ndarray) -> np.ndarray:
        cones = ("audio", "visual", "text")
        return np.append(seen, self.cone * (cones.index(self.modality) - 1)).astype(np.float32)


class _Session:
    def __init__(self, twin: Twin) -> None:
        self.twin = twin
        self.seen: list[np.ndarray] = []
        self.times: list[float] = []

    def feed(self, block: Any) -> None:
        if isinstance(block, TextBlock):
            self.seen.append(np.array([float(name in block.text) for name in NAMES]))
            self.times.append(0.0)
        elif hasattr(block, "samples"):
            spectrum = np.abs(np.fft.rfft(block.samples))
            hertz = 16000 * spectrum.argmax() / len(block.samples)
            self.seen.append(np.eye(3)[int(hertz > 500) + int(hertz > 2000)])
            self.times.append(block.start)
        else:
            for time, frame in zip(block.times, block.frames, strict=True):
                self.seen.append(frame.mean(axis=(0, 1)) / 255)
                self.times.append(float(time))

    def close(self) -> dict[str, FeatureSequence]:
        if not self.seen:
            return {}
        values = np.stack([self.twin.vector(seen) for seen in self.seen])
        return {"embedding": FeatureSequence(values, np.array(self.times))}


@dataclass(kw_only=True)
class Mute(Twin):
    """The same without text."""

    name: ClassVar[str] = "mute"

    modality: Literal["audio", "visual"] = "audio"


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let both be found by name, and let clips be read in this process, which knows them."""
    for kind in (Twin, Mute):
        monkeypatch.setitem(discovery.names("extractors"), kind.name, "_twin")

    def here(work: Any, items: Any, **_: Any) -> Iterator[tuple[Any, Any]]:
        return ((item, work(item)) for item in items)

    monkeypatch.setattr(engine, "run", here)


@contextmanager
def registered() -> Iterator[None]:
    """`register` for as long as this lasts."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        register(monkeypatch)
        yield
