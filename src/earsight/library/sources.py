"""What a library stores of each clip: the extractors, the windows, and the job of one worker."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from earsight.arrays import FloatArray
from earsight.discovery import make, parse_spec
from earsight.errors import InputError
from earsight.extractors import FeatureExtractor, extract_all
from earsight.features import FeatureSequence
from earsight.media import Report, Status

MODALITIES = ("audio", "visual")
SPLIT_ABOVE = 30.0  # seconds; a longer file is kept as windows
WINDOW = 10.0
HOP = 5.0


@dataclass(frozen=True)
class Sources:
    """The extractors of a library, as the command line writes them.

    `audio` and `visual` feed what is learned; the words bridge is stored always.
    """

    audio: str = "yamnet"
    visual: str = "efficientnet"

    def extractors(self) -> dict[str, FeatureExtractor]:
        """Return role → extractor: "words.audio", "words.visual", "audio", "visual"."""
        return _extractors(self)

    def prepare(self) -> None:
        """Fetch the weights that are not here yet, before any worker starts."""
        for extractor in self.extractors().values():
            extractor.fetch_weights()

    def priors(self) -> dict[str, FloatArray]:
        """Return where the bridge expects each modality to centre: modality → (384,)."""
        return {
            m: make("extractors", "words", {"modality": m}).prior for m in (*MODALITIES, "text")
        }

    @property
    def fingerprint(self) -> str:
        """Short hex digest of all that decides what is stored of a clip."""
        whole = "".join(
            f"{role}={extractor.fingerprint};" for role, extractor in self.extractors().items()
        )
        whole += f"windows={SPLIT_ABOVE},{WINDOW},{HOP}"
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


@cache
def _extractors(sources: Sources) -> dict[str, FeatureExtractor]:
    made = {f"words.{m}": make("extractors", "words", {"modality": m}) for m in MODALITIES}
    for modality, spec in asdict(sources).items():
        extractor = make("extractors", *parse_spec(spec))
        if extractor.modality != modality:
            raise InputError(
                f"--{modality} takes an extractor of {modality} features; "
                f"{spec} reads {extractor.modality}."
            )
        made[modality] = extractor
    return made


@dataclass(frozen=True)
class Window:
    """One row of a clip: the vectors of `start` to `end` seconds, by role."""

    index: int
    start: float
    end: float
    vectors: Mapping[str, FloatArray]


@dataclass(frozen=True)
class Extracted:
    """All that was read from one file; `again` if what went wrong may pass."""

    report: Report
    windows: list[Window]
    sequences: Mapping[str, FeatureSequence]
    again: bool = False


def spans(duration: float) -> list[tuple[float, float]]:
    """Cut a clip into its windows: itself up to 30 s, else 10 s windows overlapping by 5 s.

    >>> spans(12.0)
    [(0.0, 12.0)]
    >>> spans(31.0)[-2:]
    [(20.0, 30.0), (25.0, 31.0)]
    """
    if duration <= SPLIT_ABOVE:
        return [(0.0, duration)]
    starts = [0.0]
    while starts[-1] + WINDOW < duration:
        starts.append(starts[-1] + HOP)
    return [(start, min(start + WINDOW, duration)) for start in starts]


def read_clip(path: Path, sources: Sources, *, whole: bool = False) -> Extracted:
    """Decode one file once and return its windows and sequences.

    Args:
        path: A video, a sound file or a picture.
        sources: The library's extractors.
        whole: One window over all of it, however long (for a query).
    """
    extractors = sources.extractors()
    found, report = extract_all(path, extractors.values())
    by_role = {
        role: found[extractor.key()]
        for role, extractor in extractors.items()
        if len(found.get(extractor.key(), ()))
    }
    cuts = [(0.0, report.duration)] if whole else spans(report.duration)
    windows = []
    for index, (start, end) in enumerate(cuts):
        vectors = {}
        for role, sequence in by_role.items():
            # A clip of one window pools all its steps, also those at its very end.
            part = sequence if len(cuts) == 1 else sequence.between(start, end)
            if len(part):
                vectors[role] = part.mean()
        for modality in MODALITIES:
            # The bridge and the features answer together, so a row has both or neither.
            if (f"words.{modality}" in vectors) != (modality in vectors):
                vectors.pop(f"words.{modality}", None)
                vectors.pop(modality, None)
        if vectors:
            windows.append(Window(index, start, end, vectors))
    if not windows and report.status != Status.UNREADABLE:
        report = replace(
            report, status=Status.UNREADABLE, message="Nothing in it could be seen or heard."
        )
    return Extracted(report, windows, by_role)


def report_of(extracted: Extracted) -> dict[str, Any]:
    """Return what the library keeps of a report, ready for JSON."""
    rows = {m: sum(m in window.vectors for window in extracted.windows) for m in MODALITIES}
    kept = asdict(extracted.report) | {"again": extracted.again, "rows": rows}
    del kept["status"], kept["duration"]
    return kept
