"""What every feature extractor is, and the one pass that runs several of them on one clip."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, final

from earsight.features import FeatureSequence
from earsight.media import AudioBlock, FrameBlock, FrameRequest, Report

Need = int | FrameRequest  # a sample rate in Hz, or frames


class Session(Protocol):
    """What one extractor keeps while one clip streams past. Memory: a batch, and its results."""

    def feed(self, block: AudioBlock | FrameBlock) -> None:
        """Take the next block of what the extractor needs."""

    def close(self) -> dict[str, FeatureSequence]:
        """Return one sequence for each head; none where the clip had nothing to see or hear."""


@dataclass(kw_only=True)
class FeatureExtractor(ABC):
    """Turns a clip into sequences of vectors.

    A kind is one file: a keyword-only dataclass whose fields are its hyper-parameters. A kind with
    a network says what it `needs` from the decoder and opens a `_session`. A kind without one
    names its `source` (extractor, head) and `_derive`s its sequence from that one's.
    """

    name: ClassVar[str]
    heads: ClassVar[tuple[str, ...]] = ("embedding",)


def extract_all(
    clip: Path, extractors: Iterable[FeatureExtractor]
) -> tuple[dict[str, FeatureSequence], Report]: ...
