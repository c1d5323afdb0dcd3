"""The one training loop of all networks.

Everything random is drawn from generators made of the model's seed and the number of the epoch:
torch's own state is neither used nor moved, and an epoch is the same whether or not the ones
before it ran in this process.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from earsight.arrays import FloatArray, IntArray, Labels
from earsight.errors import InputError, TrainingError
from earsight.methods._base import Rows
from earsight.methods._deep import distributed, sampling
from earsight.methods._deep.base import DeepEmbedding, Epoch
from earsight.methods._deep.checkpoint import Checkpoint, Standing, restored, stored
from earsight.methods._deep.encoders import Padded, Steps
from earsight.methods._deep.network import Dropout, growth, usual_sizes
from earsight.retrieval import evaluate

_WORK_FOR_THREADS = 100_000_000
# Weights so many times their usual size were not learned: units saturate, and what is left is a
# random map. All defaults stay near 1, a learning rate a hundred times too large below 20.
_MOST_GROWTH = 100.0


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Attributes:
        views: modality → (b, d) float32.
        labels: modality → (b,) numbers of the classes, in sorted order of all classes; None
            where there are no labels.
        groups: Likewise, modality → (b,) numbers of the groups.
        paired: Row i of every view is the same item.
        progress: The share of the training that is over, from 0 to below 1.
        generator: For what else is random in the loss; on the batch's device.
        steps: modality → the sequences of the rows, where the model reads them.
    """

    views: dict[str, Tensor]
    labels: dict[str, Tensor] | None
    groups: dict[str, Tensor] | None
    paired: bool
    progress: float
    generator: torch.Generator
    steps: dict[str, Padded] = field(default_factory=dict)


class Problem(Protocol):
    """What a kind gives to `train`.

    Attributes:
        module: Everything that is trained.
    """

    module: nn.Module

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, a scalar."""

    def points(self, kept: Rows, held: Rows) -> Mapping[str, FloatArray]:
        """Map held-out rows into the joint space, modality → (n, k), as `transform` would.

        Whatever is fitted on the networks' outputs is fitted on those of `kept`.
        """


Score = Callable[[Mapping[str, FloatArray], Rows], float]


def held_out_map(points: Mapping[str, FloatArray], rows: Rows) -> float:
    """Mean MAP over all directions: by class, or by pair where there are no labels."""
    labels: Any = rows.labels
    if rows.paired:
        n = len(next(iter(points.values())))
        labels = np.arange(n) if rows.labels is None else next(iter(rows.labels.values()))
    scores = evaluate(points, labels, ks=())
    return float(np.mean([direction.map for direction in scores.values()]))


def train(
    model: DeepEmbedding,
    rows: Rows,
    problem: Problem,
    *,
    by_class: bool = False,
    score: Score = held_out_map,
) -> None:
    """Train `problem.module`; leave it in its best state, in evaluation mode, on the CPU.

    Sets `history_`, `best_epoch_` and `stopped_` of the model. With held-out rows the best state
    is that of the highest score, the untrained one included; without them it is the last.

    Args:
        model: Tells how (its fields), and is told how it went.
        rows: Training rows, as the networks take them. Unpaired rows need labels.
        problem: What is trained, and by which loss.
        by_class: Draw batches class by class though rows are paired.
        score: What decides between epochs, of held-out points and their rows.

    Raises:
        TrainingError: The loss or a weight is no longer finite, or weights grew a hundredfold.
        InputError: `device` is "cuda" and there is none; under torchrun, fewer GPUs than ranks.
    """
    device = pick_device(model.device)
    ranks = distributed.ranks(device)
    kept_rows, held_rows = rows, None
    if model.patience is not None:
        kept, held = sampling.hold_out(rows, model.seed)
        if held is not None:
            kept_rows, held_rows = sampling.take(rows, kept), sampling.take(rows, held)
    module = problem.module.to(device)
    ranks.share(module, model.name)
    steps = _Steps(model, kept_rows, problem, device, by_class, ranks)
    checkpoint = Checkpoint.of(model, rows)
    state = Standing()
    if checkpoint and (found := checkpoint.read()):
        state = restored(found, module, steps.optimizer)
    if [state.epoch] != ranks.from_first(lambda: [state.epoch]):
        raise InputError(
            f"`checkpoint` must be a folder that all ranks see; got {model.checkpoint!r}, which is "
            f"another one for rank {ranks.rank}."
        )
    if not state.history:
        _close_epoch(state, math.nan, model, problem, kept_rows, held_rows, score, ranks)
    with _threads_for(model.batch_size * max(p.numel() for p in module.parameters())):
        while state.epoch < model.epochs and not _waited(state, model, held_rows):
            state.epoch += 1
            loss = steps.epoch(state.epoch)
            _close_epoch(state, loss, model, problem, kept_rows, held_rows, score, ranks)
            if checkpoint and ranks.rank == 0:
                checkpoint.write(*stored(state, module, steps.optimizer))
    module.load_state_dict(state.best)
    module.to("cpu").eval()
    model.history_ = np.asarray(state.history)
    model.best_epoch_ = state.best_epoch
    model.stopped_ = _why(state, model, held_rows)


class _Steps:
    """The steps of an epoch."""

    def __init__(
        self,
        model: DeepEmbedding,
        rows: Rows,
        problem: Problem,
        device: str,
        by_class: bool,
        ranks: distributed.Alone,
    ) -> None:
        self.model, self.rows, self.problem, self.device = model, rows, problem, device
        self.ranks = ranks
        self.by_class, self.usual = by_class, usual_sizes(problem.module)
        # `fused` does a step in one kernel: for small networks the steps are most of the time.
        self.optimizer = torch.optim.AdamW(
            problem.module.parameters(),
            lr=model.learning_rate,
            weight_decay=model.weight_decay,
            fused=True,
        )
        self.views = {
            name: torch.from_numpy(np.ascontiguousarray(x, np.float32)).to(device)
            for name, x in rows.views.items()
        }
        self.steps = {name: Steps(table, device) for name, table in rows.steps.items()}
        self.codes = _numbers(rows.labels)
        self.labels, self.groups = (
            numbers and {name: torch.from_numpy(x).to(device) for name, x in numbers.items()}
            for numbers in (self.codes, _numbers(rows.groups))
        )

    def epoch(self, number: int) -> float:
        """Take all steps of one epoch; return the mean loss."""
        model, module = self.model, self.problem.module
        rng = np.random.default_rng([model.seed, number])
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        for layer in module.modules():
            if isinstance(layer, Dropout):
                layer.generator = generator
        module.train()
        drawn = list(
            sampling.batches(
                self.rows.views, self.codes, model.batch_size, rng,
                paired=self.rows.paired, by_class=self.by_class,
            )
        )  # fmt: skip
        total = 0.0
        for step, chosen in enumerate(drawn):
            progress = (number - 1 + step / len(drawn)) / model.epochs
            loss = self.problem.loss(self._batch(chosen, progress, generator))
            value = float(loss.detach())
            if not math.isfinite(value):
                what = f"the loss is {value} in epoch {number}, step {step + 1}"
                raise _diverged(model, f"train on finite numbers; {what}")
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.ranks.add_gradients(module)
            self.optimizer.step()
            total += value
        if not all(math.isfinite(float(p.detach().sum())) for p in module.parameters()):
            what = f"weights are not finite after epoch {number}"
            raise _diverged(model, f"train on finite numbers; {what}")
        if (times := growth(module, self.usual)) > _MOST_GROWTH:
            what = f"after epoch {number} they are {times:,.0f} times their usual size"
            raise _diverged(model, f"keep its weights in bounds; {what}")
        return total / len(drawn)

    def _batch(self, chosen: sampling.Draw, progress: float, generator: torch.Generator) -> Batch:
        index = {name: torch.from_numpy(own).to(self.device) for name, own in chosen.items()}
        return Batch(
            {name: x[index[name]] for name, x in self.views.items()},
            self.labels and {name: x[index[name]] for name, x in self.labels.items()},
            self.groups and {name: x[index[name]] for name, x in self.groups.items()},
            self.rows.paired,
            progress,
            generator,
            {name: steps[chosen[name]] for name, steps in self.steps.items()},
        )


def _numbers(column: dict[str, Labels] | None) -> dict[str, IntArray] | None:
    """Number the values of labels or groups in sorted order, alike in all modalities."""
    if column is None:
        return None
    values = np.unique(np.concatenate(list(column.values())))
    return {name: np.searchsorted(values, x) for name, x in column.items()}


@contextmanager
def _threads_for(work: int) -> Iterator[None]:
    """Train small networks on one thread, and leave torch's number of threads as it was.

    Threads wait for each other after every operation. Where those are short, that gains nothing,
    and on a machine that is busy otherwise it makes training many times slower.

    Args:
        work: Multiplications of the largest layer in one step.
    """
    before = torch.get_num_threads()
    try:
        if work < _WORK_FOR_THREADS:
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)


def _diverged(model: DeepEmbedding, what: str) -> TrainingError:
    ridge = ", a larger `ridge`" if hasattr(model, "ridge") else ""
    return TrainingError(
        f"{model.name} must {what}. Steps too large are the usual cause: "
        f"try a smaller `learning_rate` (now {model.learning_rate:g}){ridge} or a larger "
        f"`batch_size` (now {model.batch_size})."
    )


def _close_epoch(
    state: Standing,
    loss: float,
    model: DeepEmbedding,
    problem: Problem,
    kept: Rows,
    held: Rows | None,
    score: Score,
    ranks: distributed.Alone,
) -> None:
    """Score the epoch, remember its networks if they are the best, and tell who listens."""
    map_ = figure = math.nan
    if held is not None:
        asked = held
        problem.module.eval()
        map_, figure = ranks.from_first(lambda: _scores(problem, kept, asked, score))
    best = max((row[2] for row in state.history), default=-math.inf)
    state.history.append([loss, map_, figure])
    if held is None or figure > best or not state.best:
        state.best_epoch = state.epoch
        state.best = {name: x.detach().clone() for name, x in problem.module.state_dict().items()}
    if model.on_epoch is not None:
        model.on_epoch(Epoch(state.epoch, model.epochs, loss, map_, figure))


def _scores(problem: Problem, kept: Rows, held: Rows, score: Score) -> list[float]:
    """Return the MAP of held-out rows, and what decides."""
    with torch.no_grad():
        points = problem.points(kept, held)
    map_ = held_out_map(points, held)
    return [map_, map_ if score is held_out_map else score(points, held)]


def _waited(state: Standing, model: DeepEmbedding, held: object) -> bool:
    patience = model.patience
    waiting = held is not None and patience is not None
    return waiting and state.epoch - state.best_epoch >= (patience or 0)


def _why(state: Standing, model: DeepEmbedding, held: object) -> str:
    if held is not None and _waited(state, model, held):
        return (
            f"after {state.epoch} of {model.epochs} epochs, {model.patience} without a better "
            f"held-out score; kept epoch {state.best_epoch}"
        )
    if held is not None:
        return f"after all {model.epochs} epochs; kept epoch {state.best_epoch}"
    reason = (
        "`patience` is None"
        if model.patience is None
        else f"fewer than {sampling.MIN_UNITS} independent rows, so none held out"
    )
    return f"after all {model.epochs} epochs; never early: {reason}"


@cache
def start() -> None:
    """Load what torch loads at its first step, so that no fit is timed with it: done once."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()


def pick_device(wanted: str) -> str:
    """Return "cpu" or "cuda".

    Raises:
        InputError: "cuda" is asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError('`device` is "cuda", but torch finds no CUDA here; use "auto" or "cpu".')
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted
