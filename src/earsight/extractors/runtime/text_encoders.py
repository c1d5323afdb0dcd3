"""What encoders of text share: which texts they take, batches without padding, one clip's state."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.extractors._base import TextBlock
from earsight.features import FeatureSequence

BATCH = 32  # texts
Tokens = npt.NDArray[np.int64]


class Encoder(Protocol):
    """Turns texts into vectors."""

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Return one vector for each text."""


def embed(
    texts: Sequence[str],
    tokenise: Callable[[str], list[int]],
    network: Callable[[Tokens], FloatArray],
    *,
    dim: int,
    max_tokens: int,
) -> FloatArray:
    """Return one vector for each text, (n, dim) float32.

    Texts with as many tokens as each other share a batch, so that nothing is ever padded.

    Args:
        texts: What to read.
        tokenise: From a text to its tokens, the special ones included.
        network: From tokens (n, tokens) to vectors (n, dim).
        dim: Width of the vectors.
        max_tokens: What the network was trained to read at most.

    Raises:
        InputError: A text is empty, or has more tokens.

    >>> embed(["a bc", "d"], lambda text: [len(w) for w in text.split()],
    ...       lambda tokens: tokens.sum(axis=1, keepdims=True), dim=1, max_tokens=2)
    array([[3.],
           [1.]], dtype=float32)
    """
    rows = [_tokens(text, tokenise, max_tokens) for text in texts]
    vectors = np.zeros((len(rows), dim), dtype=np.float32)
    for length in sorted({len(row) for row in rows}):
        alike = [i for i, row in enumerate(rows) if len(row) == length]
        for batch in (alike[i : i + BATCH] for i in range(0, len(alike), BATCH)):
            vectors[batch] = network(np.array([rows[i] for i in batch]))  # (n, tokens) -> (n, dim)
    return vectors


def _tokens(text: str, tokenise: Callable[[str], list[int]], max_tokens: int) -> list[int]:
    if not text.strip():
        raise InputError("A text must say something; got an empty one.")
    tokens = tokenise(text)
    if len(tokens) > max_tokens:
        words = round(0.7 * max_tokens, -1)
        raise InputError(
            f"A text must have at most {max_tokens} tokens, about {words:.0f} words; got "
            f"{len(tokens)} in {text[:40]!r}…. Shorten it, or split it into several texts."
        )
    return tokens


class TextSession:
    """Reads one text file: one vector, at time 0."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._sequence: dict[str, FeatureSequence] = {}

    def feed(self, block: TextBlock) -> None:
        """Take the text."""
        values = self._encoder.embed([block.text])
        self._sequence = {"embedding": FeatureSequence(values, np.zeros(1))}

    def close(self) -> dict[str, FeatureSequence]:
        """Return its vector."""
        return self._sequence
