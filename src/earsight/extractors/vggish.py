"""VGGish: sound as AudioSet and YouTube-8M publish it, by a VGG trained on millions of videos."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import InputError, WeightsError
from earsight.extractors._base import FeatureExtractor
from earsight.extractors.preprocessing import log_mel
from earsight.extractors.runtime import onnx
from earsight.features import FeatureSequence
from earsight.media import AudioBlock

FRAMES = 96  # in an example
EXAMPLE_SAMPLES = (FRAMES - 1) * log_mel.HOP + log_mel.WINDOW  # 15,600, 0.975 s
SPAN = 0.96  # seconds in an example
HOPS = (0.96, 1.0)  # seconds: AudioSet's, YouTube-8M's
OFFSET = 0.01  # of the logarithm; YAMNet's is a tenth of it
LIMIT = 2.0  # principal components are clipped to ±LIMIT before they become 8 bits
BATCH = 16  # examples: the ten of a ten-second clip at once
CONVERSION = 2  # raised whenever `convert` changes


@dataclass(kw_only=True)
class VGGish(FeatureExtractor):
    """Sound as VGGish hears it: a vector of 128 for each 0.96 s.

    Examples of 96 log-mel frames, log(mel + 0.01). As in the official code, an example that the
    end of a clip leaves incomplete is left out; but a clip shorter than one example (0.975 s of
    samples) is padded with silence to one.

    Args:
        hop: Seconds from one example to the next: 0.96 as for AudioSet, end to end, or 1.0 as for
            YouTube-8M, which leaves 0.04 s unheard between two.
        activation: "official" is the last layer's output as it is; "relu" what the common ports
            to torch return, max(output, 0).
        postprocess: Whether to give the form in which AudioSet and YouTube-8M publish it: with
            the embedding e and AudioSet's own V (128×128) and mean,
            y = clip(V (e − mean), −2, 2), then ⌊(y + 2) · 255/4⌋: whole numbers from 0 to 255.

    Raises:
        InputError: A `hop` of another length; or "relu" before `postprocess`, which was made for
            the official embedding.

    Reference:
        Hershey et al., CNN Architectures for Large-Scale Audio Classification (ICASSP 2017);
        https://github.com/tensorflow/models/tree/master/research/audioset/vggish

    >>> VGGish(postprocess=True).pretrained
    ('vggish', 'vggish_pca')
    """

    name: ClassVar[str] = "vggish"
    modality: ClassVar[str] = "audio"
    version: ClassVar[int] = 2
    dims: ClassVar[Mapping[str, int]] = {"embedding": 128}
    needs: ClassVar[int] = log_mel.RATE

    hop: float = 0.96
    activation: Literal["official", "relu"] = "official"
    postprocess: bool = False

    def __post_init__(self) -> None:
        if self.hop not in HOPS:
            raise InputError(
                f"`hop` of vggish must be 0.96 (AudioSet) or 1.0 (YouTube-8M) s; got {self.hop!r}."
            )
        if self.activation not in ("official", "relu"):
            raise InputError(
                f"`activation` of vggish must be 'official' or 'relu'; got {self.activation!r}."
            )
        if self.postprocess and self.activation == "relu":
            raise InputError(
                "`postprocess` of vggish needs activation='official', for which its PCA was made; "
                "got 'relu'. Leave one of them out."
            )

    @property
    def variant(self) -> str:
        """Nothing, "relu" or "pca": the three are different features."""
        return "pca" if self.postprocess else self.activation.removeprefix("official")

    @property
    def pretrained(self) -> tuple[str, ...]:
        """The network, and AudioSet's PCA where it is asked for."""
        return ("vggish", "vggish_pca") if self.postprocess else ("vggish",)

    def finish(self, embedding: FloatArray) -> FloatArray:
        """Turn the network's output into what `activation` and `postprocess` ask for.

        Args:
            embedding: (n, 128) float32, before any activation.

        Returns:
            (n, 128) float32.
        """
        if self.postprocess:
            return quantised(embedding, *_pca())
        return np.maximum(embedding, 0) if self.activation == "relu" else embedding

    def _session(self) -> "_Session":
        return _Session(self)


class _Session:
    def __init__(self, kind: VGGish) -> None:
        self._kind = kind
        self._start = 0.0
        every = round(kind.hop * log_mel.RATE / log_mel.HOP)  # frames
        self._mel = log_mel.LogMelStream(FRAMES, every=every, offset=OFFSET)
        self._batches = onnx.Batches(_network, BATCH)
        self._n_examples = 0

    def feed(self, block: AudioBlock) -> None:
        if self._mel.n_samples == 0:
            self._start = block.start
        self._push(block.samples)

    def close(self) -> dict[str, FeatureSequence]:
        n = self._mel.n_samples
        if n == 0:
            return {}
        if self._n_examples == 0:
            self._push(np.zeros(EXAMPLE_SAMPLES - n, dtype=np.float32))
        values = self._kind.finish(self._batches.close()["embedding"])
        # The middle of an example; of a clip shorter than one, the middle of the clip.
        first = min(SPAN, n / log_mel.RATE) / 2
        times = self._start + first + self._kind.hop * np.arange(len(values))
        return {"embedding": FeatureSequence(values, times, SPAN)}

    def _push(self, samples: FloatArray) -> None:
        for example in self._mel.push(samples):  # (96, 64)
            self._batches.add(example[None])
            self._n_examples += 1


def quantised(embedding: FloatArray, vectors: FloatArray, means: FloatArray) -> FloatArray:
    """Return the whitened principal components in 8 bits, as whole numbers from 0 to 255.

    Args:
        embedding: (n, 128).
        vectors: (128, 128), a component in each row.
        means: (128,).

    Returns:
        (n, 128) float32; the official code cuts off what is behind the point, and so does this.

    >>> quantised(np.array([[0.0, 9.0]]), np.eye(2), np.zeros(2))
    array([[127., 255.]], dtype=float32)
    """
    components = np.clip((embedding - means) @ vectors.T, -LIMIT, LIMIT)
    return (
        np.asarray((components + LIMIT) * (255 / (2 * LIMIT))).astype(np.uint8).astype(np.float32)
    )


def _network(examples: onnx.Array) -> onnx.Heads:
    return onnx.run(_model(), examples=examples)  # (n, 1, 96, 64) -> (n, 128)


def _model() -> Path:
    from earsight import weights

    return weights.converted("vggish", CONVERSION, convert) / "model.onnx"


def _pca() -> tuple[FloatArray, FloatArray]:  # (128, 128), (128,)
    from earsight import weights

    (path,) = weights.fetch("vggish_pca").values()
    with np.load(path, allow_pickle=False) as file:
        return file["pca_eigen_vectors"], file["pca_means"].reshape(-1)


def convert(originals: Mapping[str, Path], folder: Path) -> None:
    """Make `model.onnx` from an original state dict.

    Raises:
        WeightsError: The file is damaged, holds more than tensors, or is of another network.
    """
    from earsight import weights
    from earsight.extractors.networks import vggish

    (original,) = originals.values()
    arrays = weights.read_state_dict(original)
    try:
        vggish.write(arrays, folder / "model.onnx")
    except (KeyError, ValueError) as error:
        raise WeightsError(
            f"{original} is not VGGish, whose layers are features.N and embeddings.N: {error}"
        ) from error
