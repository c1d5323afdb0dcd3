"""A small BERT encoder as a torch module; needed once, to convert the original weights."""

import math
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-12  # of layer norm

State = Mapping[str, Tensor]


def _linear(state: State, name: str) -> nn.Linear:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def _norm(state: State, name: str) -> nn.LayerNorm:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    layer = nn.LayerNorm(len(weight), eps=EPSILON)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


class Layer(nn.Module):  # type: ignore[misc]  # mypy sees torch as Any
    """Self-attention and two linear layers, each added to its input and normalised after it."""

    def __init__(self, state: State, name: str, n_heads: int) -> None:
        super().__init__()
        attention = f"{name}.attention"
        self.n_heads = n_heads
        self.query = _linear(state, f"{attention}.self.query")
        self.key = _linear(state, f"{attention}.self.key")
        self.value = _linear(state, f"{attention}.self.value")
        self.mixed = _linear(state, f"{attention}.output.dense")
        self.mixed_norm = _norm(state, f"{attention}.output.LayerNorm")
        self.wide = _linear(state, f"{name}.intermediate.dense")
        self.narrow = _linear(state, f"{name}.output.dense")
        self.narrow_norm = _norm(state, f"{name}.output.LayerNorm")

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, width) → the same shape."""

        def split(y: Tensor) -> Tensor:  # (n, heads, tokens, width / heads)
            return y.unflatten(2, (self.n_heads, -1)).transpose(1, 2)

        q, k, v = split(self.query(x)), split(self.key(x)), split(self.value(x))
        affinity = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])  # (n, heads, tokens, tokens)
        heard = (affinity.softmax(dim=3) @ v).transpose(1, 2).flatten(2)  # (n, tokens, width)
        x = self.mixed_norm(x + self.mixed(heard))
        y: Tensor = self.narrow_norm(x + self.narrow(functional.gelu(self.wide(x))))
        return y


class SentenceBert(nn.Module):  # type: ignore[misc]  # mypy sees torch as Any
    """Token numbers → one unit vector a text: the mean over tokens, scaled to length 1.

    There is no mask: texts of one batch have the same number of tokens.

    Args:
        state: The original state dict.
        n_heads: Attention heads in a layer.
    """

    def __init__(self, state: State, n_heads: int) -> None:
        super().__init__()
        table = "embeddings.{}_embeddings.weight".format
        self.words = nn.Embedding.from_pretrained(state[table("word")])
        # Every token is of the first segment, whose vector is therefore part of each position's.
        self.positions = nn.Parameter(state[table("position")] + state[table("token_type")][0])
        self.norm = _norm(state, "embeddings.LayerNorm")
        n_layers = len({key.split(".")[2] for key in state if key.startswith("encoder.layer.")})
        self.layers = nn.Sequential(
            *(Layer(state, f"encoder.layer.{i}", n_heads) for i in range(n_layers))
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, tokens) whole numbers → (n, width)."""
        x = self.norm(self.words(tokens) + self.positions[: tokens.shape[1]])  # (n, tokens, width)
        return functional.normalize(self.layers(x).mean(dim=1), dim=1)  # (n, width)
