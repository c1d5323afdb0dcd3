"""What every feature extractor is, and the one pass that runs several of them on one clip."""

import dataclasses
import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Protocol, final

from earsight.errors import InputError, MediaError
from earsight.extractors.preprocessing.text_files import read_text
from earsight.extractors.runtime.threads import n_threads
from earsight.features import FeatureSequence
from earsight.media import AudioBlock, Decoder, FrameBlock, FrameRequest, Report, Status
from earsight.prefetch import ahead

TEXT_SUFFIXES = frozenset({".txt", ".md", ".srt"})
_PERCEIVED = {"audio": "sound", "visual": "sight", "text": "text"}


@dataclasses.dataclass(frozen=True)
class TextBlock:
    """The whole text of a text file."""

    text: str


Block = AudioBlock | FrameBlock | TextBlock
Need = int | FrameRequest | type[TextBlock]  # a sample rate in Hz, frames, or a file's text


class Session(Protocol):
    """What one extractor keeps while one clip streams past. Memory: a batch, and its results."""

    def feed(self, block: Any) -> None:
        """Take the next block of what the extractor needs, and of nothing else."""

    def close(self) -> dict[str, FeatureSequence]:
        """Return one sequence for each head; none where the clip had nothing to see or hear."""


class FeatureExtractor(ABC):
    """Turns a clip into sequences of vectors.

    A kind is one file: a keyword-only dataclass whose fields are its hyper-parameters. A kind with
    eyes or ears of its own says what it `needs` from the decoder and opens a `_session`. A kind
    without names its `source` and `_derive`s its sequence from that one's head.

    Attributes:
        name: The file's name, and the kind's.
        heads: The named outputs; the first is the one that `extract` returns.
        version: Raised whenever the code's output changes, so that fingerprints change with it.
    """

    name: ClassVar[str]
    heads: ClassVar[tuple[str, ...]] = ("embedding",)
    version: ClassVar[int] = 1

    @property
    def pretrained(self) -> tuple[str, ...]:
        """Names in the catalogue of weights; empty: no weights. A hyper-parameter may choose."""
        return ()

    @property
    @abstractmethod
    def modality(self) -> str:
        """What is perceived: "audio", "visual" or "text"."""

    @property
    @abstractmethod
    def dims(self) -> Mapping[str, int]:
        """Width of each head's vectors."""

    @property
    def dim(self) -> int:
        """Width of the vectors that `extract` returns."""
        return self.dims[self.heads[0]]

    @property
    def variant(self) -> str:
        """What tells features apart that must never be mixed, as a part of `key`; often empty."""
        return str(self._fields().get("modality", ""))

    @property
    def space(self) -> str | None:
        """Name of the space shared with other extractors (cosine has meaning there), or None."""
        return None

    @property
    def needs(self) -> Need | None:
        """What the decoder must deliver; None for a kind with a `source`."""
        return None

    @property
    def source(self) -> "tuple[FeatureExtractor, str] | None":
        """The extractor and the head that this one derives its sequence from, if it does."""
        return None

    @property
    def hop(self) -> float | None:
        """Seconds from one step to the next; None where a kind does not say, or has one step."""
        if self.source is not None:
            return self.source[0].hop
        needs = self.needs
        return 1 / needs.fps if isinstance(needs, FrameRequest) and needs.fps else None

    @property
    def at_hand(self) -> bool:
        """Whether all weights are on this machine."""
        from earsight import weights

        own = all(map(weights.local, self.pretrained))
        return own and (self.source is None or self.source[0].at_hand)

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of each set of weights, by name; its source's as well."""
        from earsight import weights

        own = {name: weights.checksum(name) for name in self.pretrained}
        return own | (self.source[0].checksums if self.source else {})

    @property
    @final
    def fingerprint(self) -> str:
        """Hex SHA-256 of all that decides the output: code, hyper-parameters, weights, source."""
        from earsight import weights

        facts = self._recipe() | {
            "weights": {name: weights.checksum(name) for name in self.pretrained},
            "source": self.source and (self.source[0].fingerprint, self.source[1]),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @final
    def key(self, head: str | None = None) -> str:
        """Return the name under which `extract_all` files a head: "yamnet", "yamnet.scores".

        A `variant` comes between: "i3d.kinetics.scores". A kind that serves several modalities
        has them for variants: "words.audio".
        """
        parts = (self.name, self.variant, "" if head in (None, self.heads[0]) else head)
        return ".".join(part for part in parts if part)

    @final
    def fetch_weights(self) -> None:
        """Make sure that the weights are on this machine, this kind's and its source's.

        Raises:
            WeightsError: They cannot be had; each source that was tried is listed.
        """
        self._fetch()
        if self.source is not None:
            self.source[0].fetch_weights()

    @final
    def extract(self, clip: Path | str) -> FeatureSequence:
        """Return the first head's sequence of one clip: (n_steps, dim) float32 and its times.

        Raises:
            MediaError: The file cannot be read, or has nothing of this extractor's modality.
        """
        found, report = extract_all(clip, [self])
        if self.key() not in found:
            why = f" {report.message}" if report.message else ""
            raise MediaError(
                f"{clip} has no {_PERCEIVED[self.modality]} for {self.name} to read; "
                f"its status is {report.status.value}.{why}"
            )
        return found[self.key()]

    def _session(self) -> Session:
        """Open the state for one clip. Kinds without a `source` write this."""
        raise NotImplementedError(f"{self.name} has neither a session nor a source.")

    def _derive(self, sequence: FeatureSequence) -> FeatureSequence:
        """Map the source's sequence to this kind's own. Kinds with a `source` write this."""
        raise NotImplementedError(f"{self.name} derives nothing.")

    def _fetch(self) -> None:
        """Fetch what is `pretrained`. Kinds whose weights are in no catalogue write their own."""
        from earsight import weights

        for name in self.pretrained:
            if not weights.local(name):
                weights.fetch(name)

    def _fields(self) -> dict[str, object]:
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)  # type: ignore[arg-type]  # kinds are dataclasses
        }

    def _recipe(self) -> dict[str, object]:
        return {"name": self.name, "version": self.version, "parameters": self._fields()}


def extract_all(
    clip: Path | str, extractors: Iterable[FeatureExtractor], *, max_seconds: float = math.inf
) -> tuple[dict[str, FeatureSequence], Report]:
    """Run several extractors on one clip: one opening, one decoding, each network once.

    Args:
        clip: A video, a sound file, a picture, or a text file (.txt, .md, .srt).
        extractors: Any kinds; two that need the same network with the same hyper-parameters, by
            themselves or as their source, share one run of it.
        max_seconds: A longer clip is refused.

    Returns:
        Sequences by `FeatureExtractor.key`: "yamnet", "yamnet.scores", "words.audio". What the
        clip does not have is left out. And the decoder's report: a broken clip is no exception.

    Raises:
        InputError: Two extractors would file under the same key; or a text is empty or too long.
        WeightsError: A network's weights cannot be had.
    """
    extractors = list(extractors)
    keys = [extractor.key() for extractor in extractors]
    if len(set(keys)) != len(keys):
        raise InputError(
            f"Each extractor must have a key of its own in one pass; got {', '.join(keys)}. "
            "Run the same kind with other hyper-parameters in a pass of its own."
        )
    networks = {_identity(network): network for network in map(_network, extractors)}
    sessions = {identity: network._session() for identity, network in networks.items()}
    listeners: dict[Need, list[Session]] = {}
    for identity, network in networks.items():
        if network.needs is not None:
            listeners.setdefault(network.needs, []).append(sessions[identity])

    reader = _reader(Path(clip), list(listeners), max_seconds)
    # A worker that may use one thread alone leaves the other cores to other workers.
    with closing(iter(reader) if n_threads() == 1 else ahead(reader)) as blocks:
        for block in blocks:
            for session in listeners.get(_need(block), ()):
                session.feed(block)
    heads = {identity: session.close() for identity, session in sessions.items()}

    found: dict[str, FeatureSequence] = {}
    for extractor in extractors:
        ours = heads[_identity(_network(extractor))]
        if extractor.source is None:
            found |= {extractor.key(head): sequence for head, sequence in ours.items()}
        elif extractor.source[1] in ours:
            found[extractor.key()] = extractor._derive(ours[extractor.source[1]])
    return found, reader.report


def extract_text(text: str, extractor: FeatureExtractor) -> FeatureSequence:
    """Run an extractor of text on a text at hand: (n_steps, dim) float32 and its times.

    Raises:
        InputError: The extractor reads no text, or refuses this one (empty, too long).
    """
    network = _network(extractor)
    if network.needs is not TextBlock:
        raise InputError(f"{extractor.name} reads {_PERCEIVED[extractor.modality]}, not text.")
    session = network._session()
    session.feed(TextBlock(text))
    heads = session.close()
    if extractor.source is None:
        return heads[extractor.heads[0]]
    return extractor._derive(heads[extractor.source[1]])


def _network(extractor: FeatureExtractor) -> FeatureExtractor:
    return extractor if extractor.source is None else extractor.source[0]


def _identity(network: FeatureExtractor) -> str:
    return json.dumps(network._recipe(), sort_keys=True)


def _need(block: Block) -> Need:
    match block:
        case AudioBlock():
            return block.rate
        case FrameBlock():
            return block.request
        case TextBlock():
            return TextBlock


def _reader(clip: Path, needs: list[Need], max_seconds: float) -> "Decoder | _TextFile":
    if clip.suffix.lower() in TEXT_SUFFIXES:
        return _TextFile(clip)
    return Decoder(
        clip,
        audio=[need for need in needs if isinstance(need, int)],
        frames=[need for need in needs if isinstance(need, FrameRequest)],
        threads=n_threads(),
        max_seconds=max_seconds,
    )


class _TextFile:
    """Reads a text file as the decoder reads a clip: blocks, then a report."""

    def __init__(self, path: Path) -> None:
        self.report = Report(message="It is a text file.")
        self._path = path

    def __iter__(self) -> Generator[TextBlock, None, None]:
        try:
            text = read_text(self._path)
        except (OSError, ValueError) as error:
            self.report.message = f"It cannot be read as UTF-8 text: {error}."
            return
        self.report.status = Status.OK
        yield TextBlock(text)
