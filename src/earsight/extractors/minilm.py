"""MiniLM: what a text means, by a small sentence encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import copyfile
from typing import Any, ClassVar

import numpy as np

from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.extractors import _onnx
from earsight.extractors._base import FeatureExtractor, TextBlock
from earsight.features import FeatureSequence

DIM = 384
MAX_TOKENS = 256  # what the network was trained to read
N_HEADS = 12
BATCH = 32
CONVERSION = 1  # raised whenever `convert` changes


@dataclass(kw_only=True)
class MiniLM(FeatureExtractor):
    """Text as all-MiniLM-L6-v2 reads it: one unit vector of 384 for a whole text.

    Reference:
        Wang et al., MiniLM: Deep Self-Attention Distillation (NeurIPS 2020); Reimers and Gurevych,
        Sentence-BERT (EMNLP 2019). https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
    """

    name: ClassVar[str] = "minilm"
    modality: ClassVar[str] = "text"
    dims: ClassVar[Mapping[str, int]] = {"embedding": DIM}
    needs: ClassVar[type[TextBlock]] = TextBlock
    pretrained: ClassVar[tuple[str, ...]] = ("minilm",)

    @property
    def space(self) -> str:
        """The text space; `words` maps sound and sight into it."""
        return f"minilm-{self.fingerprint[:16]}"

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Return one unit vector for each text, (n, 384) float32.

        Raises:
            InputError: A text is empty, or has more than 256 tokens.
        """
        made = artefacts()
        rows = [_tokens(made, text) for text in texts]
        vectors = np.zeros((len(rows), DIM), dtype=np.float32)
        # Texts with as many tokens as each other share a batch, so that nothing is ever padded.
        for length in sorted({len(row) for row in rows}):
            alike = [i for i, row in enumerate(rows) if len(row) == length]
            for batch in (alike[i : i + BATCH] for i in range(0, len(alike), BATCH)):
                tokens = np.array([rows[i] for i in batch])  # (n, tokens)
                vectors[batch] = _onnx.run(made / "model.onnx", tokens=tokens)["embedding"]
        return vectors

    def _session(self) -> "_Session":
        return _Session(self)


class _Session:
    def __init__(self, encoder: MiniLM) -> None:
        self._encoder = encoder
        self._sequence: dict[str, FeatureSequence] = {}

    def feed(self, block: TextBlock) -> None:
        values = self._encoder.embed([block.text])
        self._sequence = {"embedding": FeatureSequence(values, np.zeros(1))}

    def close(self) -> dict[str, FeatureSequence]:
        return self._sequence


def _tokens(made: Path, text: str) -> list[int]:
    if not text.strip():
        raise InputError("A text must say something; got an empty one.")
    tokens: list[int] = _tokenizer(made).encode(text).ids
    if len(tokens) > MAX_TOKENS:
        raise InputError(
            f"A text must have at most {MAX_TOKENS} tokens, about 180 words; got {len(tokens)} in "
            f"{text[:40]!r}…. Shorten it, or split it into several texts."
        )
    return tokens


@cache
def _tokenizer(made: Path) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(made / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@cache
def artefacts() -> Path:
    """Return the folder with the converted network and the tokenizer, made where it is missing."""
    from earsight import weights

    return weights.converted("minilm", CONVERSION, convert)


def convert(originals: Mapping[str, Path], folder: Path) -> None:
    """Make `model.onnx` from the original safetensors, with the tokenizer's file beside it."""
    import torch
    from safetensors.torch import load_file

    from earsight.extractors._bert import SentenceBert

    network = SentenceBert(load_file(originals["model.safetensors"]), N_HEADS).eval()
    tokens = torch.zeros((2, 3), dtype=torch.int64)
    _onnx.export(network, tokens, "tokens", MiniLM.heads, folder / "model.onnx", free=2)
    copyfile(originals["tokenizer.json"], folder / "tokenizer.json")
