"""What CLIP, CLAP and PE-AV share: a model with several senses, and windows of a stream."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray
from earsight.errors import InputError, WeightsError
from earsight.extractors._base import FeatureExtractor
from earsight.extractors.runtime import hub, text_encoders
from earsight.features import FeatureSequence
from earsight.media import AudioBlock, FrameBlock

Pixels = npt.NDArray[np.float32]


class Foundation(FeatureExtractor):
    """A model of the `transformers` package that maps several modalities into one space.

    A kind has the fields `modality` and `model`, and writes what each of its senses does.

    Attributes:
        model_type: What its config.json must say.
        architecture: Its class in `transformers`.
        licence: Of the default model, as its publisher states it.
        size: Of the default model's files, in bytes; about; None where nobody has looked.
    """

    model_type: ClassVar[str]
    architecture: ClassVar[str]
    licence: ClassVar[str]
    size: ClassVar[int | None]

    model: str

    @property
    @final
    def folder(self) -> Path:
        """Where the model's files are, fetched if need be and of the right kind.

        Raises:
            WeightsError: They cannot be had, or are of another kind of model.
        """
        return self._folder(fetch=True)

    @property
    def space(self) -> str:
        """The model's one space, by its files: all its modalities share it."""
        files = json.dumps([self.version, self.checksums])
        return f"{self.name}-{hashlib.sha256(files.encode()).hexdigest()[:16]}"

    @property
    def at_hand(self) -> bool:
        """Whether the model's files are on this machine."""
        try:
            self._folder(fetch=False)
        except WeightsError:
            return False
        return True

    @property
    def checksums(self) -> dict[str, str]:
        """SHA-256 of each file of the model."""
        return hub.checksums(self.folder)

    @final
    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Return the vectors of some texts, (n, dim) float32.

        Raises:
            InputError: A text is empty or too long, or the model is set to another modality.
        """
        if self.modality != "text":
            raise InputError(f"Texts are read by {self.name}:modality=text; got {self.modality}.")
        tokenizer = hub.part("AutoTokenizer", self.folder)
        longest = hub.stated(self.folder, "text_config", "max_position_embeddings")
        return text_encoders.embed(
            texts,
            lambda text: list(tokenizer(text)["input_ids"]),
            lambda tokens: self._run(partial(self._read, _tensor(tokens))),
            dim=self.dim,
            max_tokens=min(longest, tokenizer.model_max_length),
        )

    @abstractmethod
    def _read(self, tokens: Any) -> Any:
        """Map tokens (n, tokens) to vectors (n, dim), both torch tensors."""

    @property
    def _network(self) -> Any:
        return hub.load(self.architecture, self.folder)

    def _run(self, network: Callable[[], Any]) -> FloatArray:
        import torch

        with torch.inference_mode():
            return np.asarray(network().numpy(), dtype=np.float32)

    def _run_one(self, network: Callable[[], Any]) -> FloatArray:
        """Run a batch of one: (1, dim) -> (dim,)."""
        return np.asarray(self._run(network)[0])

    def _folder(self, *, fetch: bool) -> Path:
        folder = hub.folder_of(self.model, fetch=fetch)
        found = hub.settings(folder, "config.json").get("model_type")
        if found != self.model_type:
            raise WeightsError(
                f"{self.name} takes a model of the type {self.model_type}; {folder} holds {found}."
            )
        return folder

    def _fetch(self) -> None:
        hub.require()
        _ = self.checksums  # the files come, and are what they should be

    def _recipe(self) -> dict[str, object]:
        # The files, wherever they are, and not the name by which they were asked for.
        parameters = {name: value for name, value in self._fields().items() if name != "model"}
        return super()._recipe() | {"parameters": parameters, "files": self.checksums}


def _tensor(array: npt.NDArray[Any]) -> Any:
    import torch

    return torch.from_numpy(array)


def one_of(kind: str, field: str, value: object, allowed: Sequence[str]) -> None:
    """Check a choice.

    Raises:
        InputError: `value` is not allowed.
    """
    if value not in allowed:
        raise InputError(f"`{field}` of {kind} must be one of {', '.join(allowed)}; got {value!r}.")


def seconds(kind: str, value: float) -> None:
    """Check the length of a window.

    Raises:
        InputError: It is not above 0, or not finite.
    """
    if not 0 < value < float("inf"):
        raise InputError(f"`window` of {kind} must be above 0 s and finite; got {value}.")


class SoundWindows:
    """Cuts sound into windows, one after another, and maps each to a vector.

    The last window is as long as the clip allows, and counts as much when pooled. Memory: a window.

    Args:
        rate: Samples a second.
        window: Seconds.
        network: From samples (n,) float32 to a vector (dim,).
    """

    def __init__(self, rate: int, window: float, network: Callable[[FloatArray], FloatArray]):
        self._rate, self._window, self._network = rate, window, network
        self._size = max(1, round(rate * window))
        self._start: float | None = None
        self._rest = np.zeros(0, dtype=np.float32)
        self._lengths: list[int] = []
        self._values: list[FloatArray] = []

    def feed(self, block: AudioBlock) -> None:
        """Take the next samples."""
        if self._start is None:
            self._start = block.start
        self._rest = np.concatenate([self._rest, block.samples])
        while len(self._rest) >= self._size:
            self._add(self._rest[: self._size])
            self._rest = self._rest[self._size :].copy()

    def close(self) -> dict[str, FeatureSequence]:
        """Return the sequence."""
        if len(self._rest):
            self._add(self._rest)
        if not self._values or self._start is None:
            return {}
        lengths = np.array(self._lengths) / self._rate
        times = self._start + np.cumsum(lengths) - lengths / 2
        values, weights = np.stack(self._values), lengths.astype(np.float32)
        return {"embedding": FeatureSequence(values, times, self._window, weights)}

    def _add(self, samples: FloatArray) -> None:
        self._lengths.append(len(samples))
        self._values.append(self._network(samples))


class SightWindows:
    """Groups frames, so many to a window, and maps each window to a vector.

    The last window has as many as are left, and counts as much when pooled. Memory: a window.

    Args:
        size: Frames in a window; 1: each frame for itself.
        window: Seconds that a window spans.
        prepare: From a frame (height, width, 3) uint8 to the network's pixels (3, h, w).
        network: From pixels (n, 3, h, w) to a vector (dim,).
    """

    def __init__(
        self,
        size: int,
        window: float,
        prepare: Callable[[npt.NDArray[np.uint8]], Pixels],
        network: Callable[[Pixels], FloatArray],
    ) -> None:
        self._size, self._window = size, window
        self._prepare, self._network = prepare, network
        self._pixels: list[Pixels] = []
        self._seen: list[float] = []  # times of the frames in the window
        self._times: list[float] = []
        self._counts: list[int] = []
        self._values: list[FloatArray] = []

    def feed(self, block: FrameBlock) -> None:
        """Take the next frames."""
        for time, frame in zip(block.times, block.frames, strict=True):
            self._pixels.append(self._prepare(frame))
            self._seen.append(float(time))
            if len(self._seen) == self._size:
                self._add()

    def close(self) -> dict[str, FeatureSequence]:
        """Return the sequence."""
        if self._seen:
            self._add()
        if not self._values:
            return {}
        values, weights = np.stack(self._values), np.array(self._counts, dtype=np.float32)
        times = np.array(self._times)
        return {"embedding": FeatureSequence(values, times, self._window, weights)}

    def _add(self) -> None:
        self._values.append(self._network(np.stack(self._pixels)))
        self._times.append((self._seen[0] + self._seen[-1]) / 2)
        self._counts.append(len(self._seen))
        self._pixels.clear()
        self._seen.clear()
