"""MiniLM: what a text means, by a small sentence encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import copyfile
from typing import Any, ClassVar

from earsight.arrays import FloatArray
from earsight.extractors._base import FeatureExtractor, TextBlock
from earsight.extractors.runtime import onnx
from earsight.extractors.runtime.text_encoders import TextSession, embed

DIM = 384
MAX_TOKENS = 256  # what the network was trained to read
N_HEADS = 12
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
        return embed(
            texts,
            lambda text: list(_tokenizer(made).encode(text).ids),
            lambda tokens: onnx.run(made / "model.onnx", tokens=tokens)["embedding"],
            dim=DIM,
            max_tokens=MAX_TOKENS,
        )

    def _session(self) -> TextSession:
        return TextSession(self)


@cache
def _tokenizer(made: Path) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(made / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def artefacts() -> Path:
    """Return the folder with the converted network and the tokenizer, made where it is missing."""
    from earsight import weights

    return weights.converted("minilm", CONVERSION, convert)


def convert(originals: Mapping[str, Path], folder: Path) -> None:
    """Make `model.onnx` from the original safetensors, with the tokenizer's file beside it."""
    from safetensors.numpy import load_file

    from earsight.extractors.networks import bert

    bert.write(load_file(originals["model.safetensors"]), N_HEADS, folder / "model.onnx")
    copyfile(originals["tokenizer.json"], folder / "tokenizer.json")
