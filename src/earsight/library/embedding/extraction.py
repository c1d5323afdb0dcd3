"""What a library stores of each clip: which extractors read it, and into which windows.

The zero-shot space is where the modalities meet with nothing learned. By default it is "words":
the names of classes that are heard and seen, embedded by a text model. Where the chosen extractors
share a space of their own (`FeatureExtractor.space`), that is the zero-shot space, with its own
reader of text, and nothing is stored twice.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from earsight.arrays import FloatArray
from earsight.discovery import load, make, parse_spec
from earsight.errors import InputError
from earsight.extractors import FeatureExtractor, extract_all
from earsight.features import FeatureSequence
from earsight.library.catalog.records import MODALITIES, Content
from earsight.media import Report, Status
from earsight.paths import escaped

TEXT = "text"  # what lies beside a media file
TYPED = "typed"  # words for a search; they are read as texts are, and centred by themselves
WORDS = "words"  # the default zero-shot space
OFF = "none"  # in place of an extractor
EARS, EYES = "yamnet", "efficientnet"  # which extractors name what is heard and seen, by default
SPLIT_ABOVE = 30.0  # seconds; a longer file is kept as windows
WINDOW = 10.0
HOP = 5.0


def zero_shot_role(space: str, modality: str) -> str:
    """Return the role under which a modality's vectors in the zero-shot space are kept.

    >>> zero_shot_role("words", "audio"), zero_shot_role("pe_av", "audio")
    ('words.audio', 'audio')
    >>> zero_shot_role("words", "typed")
    'words.text'
    """
    modality = TEXT if modality == TYPED else modality
    return f"{WORDS}.{modality}" if space == WORDS else modality


def modality_of(role: str) -> str:
    """Return the modality that a role is about.

    >>> modality_of("words.audio"), modality_of("audio")
    ('audio', 'audio')
    """
    return role.removeprefix(f"{WORDS}.")


@dataclass(frozen=True)
class Sources:
    """The extractors of a library, as the command line writes them.

    The features of `audio` and `visual` are learned from; one of them may be "none", for a library
    of pictures or of sounds. The zero-shot space is stored beside them, unless they share a space
    of their own; `ears` and `eyes` name what is heard and seen for it (see the extractor `words`).
    """

    audio: str = "yamnet"
    visual: str = "efficientnet"
    ears: str = EARS
    eyes: str = EYES

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those of audio and visual that have an extractor."""
        return tuple(m for m in MODALITIES if getattr(self, m) != OFF)

    @property
    def description(self) -> str:
        """Which extractor reads what, for people.

        >>> Sources(eyes="i3d").description
        'audio by yamnet, visual by efficientnet, sights named by i3d'
        """
        parts = [f"audio by {self.audio}", f"visual by {self.visual}"]
        parts += [f"sounds named by {self.ears}"] if self.ears != EARS else []
        parts += [f"sights named by {self.eyes}"] if self.eyes != EYES else []
        return ", ".join(parts)

    def extractors(self) -> dict[str, FeatureExtractor]:
        """Return role → extractor: "words.audio", "audio", …, and the one that reads text."""
        return _made(self).extractors

    @property
    def zero_shot(self) -> str:
        """The zero-shot space: "words", or the name of the space that the extractors share."""
        return _made(self).zero_shot

    @property
    def text(self) -> FeatureExtractor | None:
        """The reader of texts and typed words; None where the zero-shot space has no text."""
        return self.extractors().get(zero_shot_role(self.zero_shot, TEXT))

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that are stored."""
        return tuple(self.extractors())

    def prepare(self) -> None:
        """Fetch the weights that are not here yet, before any worker starts."""
        for extractor in self.extractors().values():
            extractor.fetch_weights()

    def priors(self) -> dict[str, FloatArray]:
        """Return the expected centre of each modality in the zero-shot space: modality → (d,).

        Words centre on the mean of the class names. A space that was trained as one has prior 0,
        which a collection moves as it grows. Typed words have the prior of texts alone, because
        the texts beside clips are not what people type.
        """
        read = [*self.modalities, *([TEXT] if self.text else [])]
        if self.zero_shot == WORDS:
            priors = {m: _words(self, m).prior for m in read}
        else:
            extractors = self.extractors()
            priors = {m: np.zeros(extractors[m].dim, np.float32) for m in read}
        return priors | ({TYPED: priors[TEXT]} if self.text else {})

    @property
    def fingerprint(self) -> str:
        """Short hex digest of all that decides what is stored of a clip."""
        whole = "".join(
            f"{role}={extractor.fingerprint};" for role, extractor in self.extractors().items()
        )
        whole += f"windows={SPLIT_ABOVE},{WINDOW},{HOP}"
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Made:
    extractors: dict[str, FeatureExtractor]
    zero_shot: str


def forget_extractors() -> None:
    """Forget the extractors made so far: a file of theirs may have changed since."""
    _made.cache_clear()


@cache
def _made(sources: Sources) -> _Made:
    if not sources.modalities:
        raise InputError("--audio and --visual cannot both be none; a library needs one of them.")
    own = {m: _extractor(m, getattr(sources, m)) for m in sources.modalities}
    spaces = {extractor.space for extractor in own.values()}
    shared = next(iter(spaces)) if len(spaces) == 1 else None
    if shared is None:
        read = (*sources.modalities, TEXT)
        words: dict[str, FeatureExtractor] = {f"{WORDS}.{m}": _words(sources, m) for m in read}
        return _Made(words | own, WORDS)
    if (sources.ears, sources.eyes) != (EARS, EYES):
        raise InputError(
            f"--ears and --eyes name sounds and sights for the zero-shot space `words`; "
            f"{sources.audio} and {sources.visual} share a space of their own, so `words` is not "
            "used. Leave --ears and --eyes out."
        )
    names = {extractor.name for extractor in own.values()}
    specs = (sources.audio, sources.visual)
    texts = [text for spec in specs if (text := _reader(spec, shared))]
    return _Made(own | ({TEXT: texts[0]} if texts else {}), "/".join(sorted(names)))


def _words(sources: Sources, modality: str) -> Any:
    """Return the extractor of one modality for `words`; text knows both kinds of names."""
    by = {"audio": {"ears": sources.ears}, "visual": {"eyes": sources.eyes}}
    named = by.get(modality, {"ears": sources.ears, "eyes": sources.eyes})
    return make("extractors", WORDS, {"modality": modality, **named})


def _extractor(modality: str, spec: str) -> FeatureExtractor:
    if parse_spec(spec)[0] == WORDS:
        raise InputError(
            f"--{modality} takes an extractor of features; `words` is the zero-shot space, and "
            "is there anyway."
        )
    return extractor_for(modality, spec)


def extractor_for(modality: str, spec: str) -> FeatureExtractor:
    """Make one extractor, for one modality if its kind serves several.

    Raises:
        InputError: There is no such kind or hyper-parameter, or it reads another modality.
    """
    name, parameters = parse_spec(spec)
    if _serves_several(name):
        parameters.setdefault("modality", modality)
    extractor: FeatureExtractor = make("extractors", name, dict(parameters))
    if extractor.modality != modality:
        raise InputError(
            f"--{modality} takes an extractor of {modality} features; "
            f"{spec} reads {extractor.modality}."
        )
    return extractor


def _serves_several(name: str) -> bool:
    return "modality" in [field.name for field in fields(load("extractors", name))]


def _reader(spec: str, space: str) -> FeatureExtractor | None:
    """Return the same kind's own reader of text, where it has one in this space."""
    name, parameters = parse_spec(spec)
    if spec == OFF or not _serves_several(name):
        return None
    try:
        reader: FeatureExtractor = make("extractors", name, {**parameters, "modality": TEXT})
    except InputError:  # it serves sound and sight alone
        return None
    return reader if reader.space == space else None


@dataclass(frozen=True)
class Window:
    """One row of a file: the vectors of `start` to `end` seconds, by role."""

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


def read_clip(
    path: Path, sources: Sources, *, whole: bool = False, max_seconds: float = math.inf
) -> Extracted:
    """Decode one file once and return its windows and sequences.

    Args:
        path: A video, a sound file or a picture.
        sources: The library's extractors.
        whole: One window over all of it, however long (for a query).
        max_seconds: A longer file is refused.
    """
    texts = (TEXT, zero_shot_role(sources.zero_shot, TEXT))
    extractors = {r: one for r, one in sources.extractors().items() if r not in texts}
    found, report = extract_all(path, extractors.values(), max_seconds=max_seconds)
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
        for modality in sources.modalities:
            # A row has features and a zero-shot vector, or neither: both are ranked together.
            both = {modality, zero_shot_role(sources.zero_shot, modality)}
            if not both <= vectors.keys():
                vectors = {role: x for role, x in vectors.items() if role not in both}
        if vectors:
            windows.append(Window(index, start, end, vectors))
    all_on = sources.modalities == MODALITIES
    if not windows and all_on and report.status != Status.UNREADABLE:
        report = replace(
            report, status=Status.UNREADABLE, message="Nothing in it could be seen or heard."
        )
    return Extracted(report, windows, by_role)


def why_no_vectors(extracted: Extracted, sources: Sources) -> str:
    """Say why reading a file gave no vector."""
    read = " and ".join({"audio": "sound", "visual": "sight"}[m] for m in sources.modalities)
    return extracted.report.message or f"It has no {read}, and this library reads nothing else."


def stored_content(content: str, extracted: Extracted) -> Content:
    """Return the catalog's row of a content, from what was read of it."""
    report = extracted.report
    windows = [{modality_of(role) for role in one.vectors} for one in extracted.windows]
    rows = {m: sum(m in one for one in windows) for m in (*MODALITIES, TEXT)}
    kept = asdict(report) | {"again": extracted.again, "rows": rows}
    kept["message"] = escaped(report.message)
    del kept["status"], kept["duration"]
    return Content(content, str(report.status), report.duration, kept, len(windows))
