"""Networks that read sequences: what they find stands beside the mean of each clip.

A step enters with its time in seconds, never with its number, so that modalities, and clips, may
have any rate. A batch is padded to its longest sequence; a mask keeps what is padded out of every
sum, so that neither it nor the other clips of the batch change a result.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earsight.arrays import FloatArray, IntArray
from earsight.errors import InputError
from earsight.features import StepTable
from earsight.methods._base import Rows
from earsight.methods._deep.network import Dropout, linear
from earsight.methods._deep.types import WIDTH, Arrays

HEADS = 4
DROPOUT = 0.35  # of the steps: half as much, and `contrastive` learns its training pairs by heart
HELD = 512 * 2**20  # bytes of steps that training holds in memory; longer ones are read in batches
_WAVES = 0.5 * 2.0 ** np.arange(9)  # seconds: the wavelengths in which a time is told, to 128
_TO_SETTLE = 256  # clips by which an encoder's columns are brought to one scale
_TOGETHER = 4096  # steps that are encoded at a time, padding included


@dataclass(frozen=True)
class Padded:
    """Sequences of a batch, as long as the longest of them.

    Attributes:
        values: (b, steps, d), 0 where there is no step.
        times: (b, steps) seconds, float64.
        lengths: (b,) whole numbers, on the CPU.
    """

    values: Tensor
    times: Tensor
    lengths: Tensor

    @property
    def mask(self) -> Tensor:
        """(b, steps) where there is a step."""
        steps = torch.arange(self.values.shape[1], device=self.values.device)
        return steps < self.lengths.to(self.values.device)[:, None]


class Steps:
    """The sequences of one modality, given out in batches; in memory where they are short."""

    def __init__(self, table: StepTable, device: str) -> None:
        self.table, self.device = table.held(HELD), device

    def __getitem__(self, clips: Tensor | IntArray) -> Padded:
        """Return the sequences of some clips."""
        table = self.table.take(np.asarray(torch.as_tensor(clips).cpu()))
        lengths = torch.from_numpy(table.lengths)
        mask = torch.arange(int(lengths.max())) < lengths[:, None]  # (b, steps)
        flat = torch.from_numpy(np.ascontiguousarray(table.gather()))  # (Σ lengths, d)
        values = torch.zeros(*mask.shape, table.dim, dtype=flat.dtype)
        values[mask] = flat
        times = torch.zeros(mask.shape, dtype=torch.float64)
        times[mask] = torch.from_numpy(np.concatenate([table.times[a:b] for a, b in table.bounds]))
        return Padded(values.to(self.device), times.to(self.device), lengths)


class Encoder(nn.Module):  # type: ignore[misc]  # mypy sees torch as Any
    """Sequences (b, steps, d) → (b, WIDTH).

    Each step becomes W·x + U·p(t), with x standardised and p(t) the sines and cosines of its time
    at wavelengths from half a second to two minutes; for a GRU, the time since the step before
    as well. Its times tell a GRU what a common grid would, without a spacing to choose, empty
    cells to fill or steps to merge.

    Args:
        kind: "attention", "gru" or "transformer".
        shift, scale: (d,) what standardises a step.
        rng: Draws the weights.
    """

    def __init__(
        self, kind: str, shift: FloatArray, scale: FloatArray, rng: np.random.Generator
    ) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("shift", torch.from_numpy(np.asarray(shift, np.float32)))
        self.register_buffer("scale", torch.from_numpy(np.asarray(scale, np.float32)))
        self.content = linear(len(shift), WIDTH, rng)
        self.time = linear(2 * len(_WAVES) + 1, WIDTH, rng)
        self.dropout = Dropout(DROPOUT)
        self.reader = _READERS[kind](rng)
        self.register_buffer("middle", torch.zeros(WIDTH))
        self.register_buffer("spread", torch.ones(WIDTH))

    def settle(self, table: StepTable, size: float) -> None:
        """Bring each column to mean 0 and deviation `size` over some clips, before training."""
        some = np.unique(np.linspace(0, len(table) - 1, _TO_SETTLE).astype(np.intp))
        self.eval()
        found = torch.from_numpy(encode(self, table.take(some)))
        self.middle.copy_(found.mean(0))
        self.spread.copy_(found.std(0, correction=0).clamp(min=1e-6) / size)
        self.train()

    def forward(self, steps: Padded) -> Tensor:
        """Return what was found in each sequence, (b, WIDTH)."""
        kind = self.shift.dtype
        x = (steps.values.to(kind) - self.shift) * self.scale  # (b, steps, d)
        h = self.content(x) + self.time(_told(steps.times, gaps=self.kind == "gru").to(kind))
        found: Tensor = self.reader(self.dropout(h), steps)
        return (found - self.middle) / self.spread

    def arrays(self) -> Arrays:
        """Return the encoder for `restored`."""
        state = {name: x.detach().cpu().numpy() for name, x in self.state_dict().items()}
        return {"kind": self.kind, "state": state}


def restored(arrays: Mapping[str, Any]) -> Encoder:
    """Return the encoder that gave these arrays, in evaluation mode and float64.

    In this precision it is not seen which clips shared a batch.
    """
    state = arrays["state"]
    rng = np.random.default_rng(0)  # what it draws is replaced
    encoder = Encoder(arrays["kind"], state["shift"], state["scale"], rng)
    encoder.load_state_dict({name: torch.from_numpy(x) for name, x in state.items()})
    encoder.double().eval()
    return encoder


def encode(encoder: Encoder, table: StepTable) -> FloatArray:
    """Read all sequences of a table, (n, WIDTH), a few thousand steps at a time."""
    out = np.empty((len(table), WIDTH), np.float64)
    steps = Steps(table, encoder.shift.device)
    order = np.argsort(table.lengths, kind="stable")
    start = 0
    with torch.no_grad():
        while start < len(order):
            stop = start + 1
            while stop < len(order) and _fits(table, order[start : stop + 1]):
                stop += 1
            chosen = order[start:stop]
            out[chosen] = encoder(steps[chosen]).cpu().numpy()
            start = stop
    return out


def _fits(table: StepTable, clips: IntArray) -> bool:
    return len(clips) * int(table.lengths[clips[-1]]) <= _TOGETHER


class Poolers(nn.Module):  # type: ignore[misc]
    """The encoders of all modalities that are read; none, and nothing to train, for "mean".

    Args:
        kind: The pooling.
        rows: What is learned from, its views as they enter the networks.
        rng: Draws the weights.
    """

    def __init__(self, kind: str, rows: Rows, rng: np.random.Generator) -> None:
        super().__init__()
        self.names = list(rows.steps)
        self.encoders = nn.ModuleList(
            Encoder(kind, *_standardisation(table, name), rng) for name, table in rows.steps.items()
        )
        for encoder, (name, table) in zip(self.encoders, rows.steps.items(), strict=True):
            encoder.settle(table, _size(rows.views[name].shape[1]))

    def columns(self, name: str) -> int:
        """Return how many columns a modality gains."""
        return WIDTH if name in self.names else 0

    def forward(self, views: dict[str, Tensor], steps: Mapping[str, Padded]) -> dict[str, Tensor]:
        """Return the rows of a batch, (b, d), each with what was found in its sequence."""
        found = {n: e(steps[n]) for n, e in zip(self.names, self.encoders, strict=True)}
        return {n: torch.cat([x, found[n]], 1) if n in found else x for n, x in views.items()}

    def rows(self, rows: Rows) -> dict[str, FloatArray]:
        """Return all rows likewise, as they enter the networks; for use while training."""
        encoders = dict(zip(self.names, self.encoders, strict=True))
        return {
            name: np.hstack([x, encode(encoders[name], rows.steps[name])])
            if name in encoders
            else x
            for name, x in rows.views.items()
        }

    def arrays(self) -> dict[str, Arrays]:
        """Return modality → its encoder as arrays."""
        return {n: e.arrays() for n, e in zip(self.names, self.encoders, strict=True)}


def _size(d: int) -> float:
    """Return the deviation at which new columns start beside d columns of unit variance.

    All together they have a quarter of the variance of those: enough to be learned from, and not so
    much that what nothing has been learned of yet drowns a handful of good columns.
    """
    return min(1.0, float(np.sqrt(d / (4 * WIDTH))))


def _standardisation(table: StepTable, name: str) -> tuple[FloatArray, FloatArray]:
    """Return mean and 1/deviation of each column over all steps; 0 where nothing varies."""
    n, total, squares = 0, np.zeros(table.dim), np.zeros(table.dim)
    first: FloatArray | None = None
    for sequence in table:
        values = sequence.values.astype(np.float64)
        first = values[0] if first is None else first
        # About a fixed vector: uncentred sums lose what varies little about a large mean.
        n, total = n + len(values), total + (values - first).sum(0)
        squares += np.square(values - first).sum(0)
    if first is None or not np.isfinite(squares).all():
        raise InputError(f"The steps of {name!r} must be small enough to be squared. Scale them.")
    deviation = np.sqrt(np.maximum(squares / n - np.square(total / n), 0.0))
    mean = first + total / n
    varies = deviation > 4 * float(np.finfo(np.float32).eps) * np.maximum(np.abs(mean), deviation)
    return mean, np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)


def _told(times: Tensor, *, gaps: bool) -> Tensor:
    """Return sines and cosines of seconds, and the time since the step before or 0."""
    waves = torch.from_numpy(_WAVES).to(times.device)
    angles = 2 * torch.pi * times[..., None] / waves  # (b, steps, waves)
    since = torch.zeros_like(times)
    if gaps:
        since[:, 1:] = torch.log1p((times[:, 1:] - times[:, :-1]).clamp(min=0.0))
    return torch.cat([angles.sin(), angles.cos(), since[..., None]], dim=-1)


class _Attention(nn.Module):  # type: ignore[misc]
    """Each head weighs the steps by a learned query, and sums its share of the columns."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.within = linear(WIDTH, WIDTH, rng)
        self.queries = linear(WIDTH, HEADS, rng)
        self.values = linear(WIDTH, WIDTH, rng)
        with torch.no_grad():  # heads that weigh all steps alike are means, and slow to leave that
            self.queries.weight.mul_(3.0)

    def forward(self, h: Tensor, steps: Padded) -> Tensor:
        h = torch.relu(self.within(torch.relu(h)))
        scores = self.queries(h).masked_fill(~steps.mask[..., None], -torch.inf)
        weights = scores.softmax(1)  # (b, steps, heads)
        values = self.values(h).unflatten(-1, (HEADS, -1))  # (b, steps, heads, w / heads)
        return (weights[..., None] * values).sum(1).flatten(1)


class _GRU(nn.GRU):  # type: ignore[misc]
    """A GRU whose weights are drawn by whoever makes it: torch's own state is not used."""

    def reset_parameters(self) -> None:
        """Leave the weights for `_Recurrent`."""


class _Recurrent(nn.Module):  # type: ignore[misc]
    """A GRU each way; the mean of its states."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.gru = _GRU(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        with torch.no_grad():
            for parameter in self.gru.parameters():
                if parameter.ndim == 1:
                    parameter.zero_()
                else:
                    drawn = rng.standard_normal(parameter.shape, dtype=np.float32)
                    parameter.copy_(torch.from_numpy(drawn / np.sqrt(drawn.shape[1])))

    def forward(self, h: Tensor, steps: Padded) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            h, steps.lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = self.gru(packed)
        padded, _ = nn.utils.rnn.pad_packed_sequence(
            states, batch_first=True, total_length=h.shape[1]
        )
        mask = steps.mask[..., None]  # (b, steps, 1)
        return torch.where(mask, padded, 0.0).sum(1) / mask.sum(1)


class _Transformer(nn.Module):  # type: ignore[misc]
    """One layer, normalised before each part; then attention over its steps."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))
        self.asked = linear(WIDTH, 3 * WIDTH, rng)
        self.told = linear(WIDTH, WIDTH, rng)
        self.wide, self.narrow = linear(WIDTH, 2 * WIDTH, rng), linear(2 * WIDTH, WIDTH, rng)
        self.pooled = _Attention(rng)
        self.dropout = Dropout(0.1)

    def forward(self, h: Tensor, steps: Padded) -> Tensor:
        asked = self.asked(self.norms[0](h)).unflatten(-1, (3, HEADS, -1))
        query, key, value = asked.permute(2, 0, 3, 1, 4)  # (b, heads, steps, w / heads) each
        seen = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=steps.mask[:, None, None, :]
        )
        h = h + self.dropout(self.told(seen.transpose(1, 2).flatten(2)))
        inner = self.dropout(torch.relu(self.wide(self.norms[1](h))))
        return self.pooled(self.norms[2](h + self.narrow(inner)), steps)


_READERS: dict[str, Callable[[np.random.Generator], nn.Module]] = {
    "attention": _Attention,
    "gru": _Recurrent,
    "transformer": _Transformer,
}
