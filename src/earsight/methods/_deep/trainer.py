"""The one training loop of all networks.

Everything random is drawn from generators made of the model's seed and the number of the epoch:
torch's own state is neither used nor moved, and an epoch is the same whether or not the ones
before it ran in this process.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from earsight.arrays import FloatArray, IntArray, Labels
from earsight.errors import InputError, TrainingError
from earsight.methods._base import Rows
from earsight.methods._deep import distributed, sampling
from earsight.methods._deep.base import DeepEmbedding
from earsight.methods._deep.checkpoint import Checkpoint, Standing, restored, stored
from earsight.methods._deep.encoders import Steps
from earsight.methods._deep.network import Dropout, growth, usual_sizes
from earsight.methods._deep.types import Batch, Epoch, Problem, Score
from earsight.retrieval import evaluate

_WORK_FOR_THREADS = 100_000_000
# Weights so many times their usual size were not learned: units saturate, and what is left is a
# random map. All defaults stay near 1, a learning rate a hundred times too large below 20.
_MOST_GROWTH = 100.0


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
    kept_rows, held_rows = rows, None
    if model.patience is not None:
        kept, held = sampling.hold_out(rows, model.seed)
        if held is not None:
            kept_rows, held_rows = sampling.take(rows, kept), sampling.take(rows, held)
    training = Training(model, problem, kept_rows, held_rows, by_class=by_class, score=score)
    ranks, state, module = training.ranks, training.state, problem.module
    checkpoint = Checkpoint.of(model, rows)
    if checkpoint and (found := checkpoint.read()):
        state = training.state = restored(found, module, training.optimizer)
    if [state.epoch] != ranks.from_first(lambda: [state.epoch]):
        raise InputError(
            f"`checkpoint` must be a folder that all ranks see; got {model.checkpoint!r}, which is "
            f"another one for rank {ranks.rank}."
        )
    if not state.history:
        training.close_epoch(math.nan)
    with _threads_for(model.batch_size * max(p.numel() for p in module.parameters())):
        while state.epoch < model.epochs and not training.has_waited():
            state.epoch += 1
            training.close_epoch(training.epoch(state.epoch))
            if checkpoint and ranks.rank == 0:
                checkpoint.write(*stored(state, module, training.optimizer))
    module.load_state_dict(state.best)
    module.to("cpu").eval()
    model.history_ = np.asarray(state.history)
    model.best_epoch_ = state.best_epoch
    model.stopped_ = training.why_it_stopped()


class Training:
    """One training: its steps, what each epoch is worth, and when it is enough.

    Args:
        model, problem: As for `train`.
        kept, held: The rows that train, and those that decide between epochs; None: there are none.
        by_class, score: As for `train`.
    """

    def __init__(
        self,
        model: DeepEmbedding,
        problem: Problem,
        kept: Rows,
        held: Rows | None = None,
        *,
        by_class: bool = False,
        score: Score = held_out_map,
    ) -> None:
        self.model, self.problem, self.kept, self.held = model, problem, kept, held
        self.by_class, self.score = by_class, score
        self.device = pick_device(model.device)
        self.ranks = distributed.ranks(self.device)
        module = problem.module.to(self.device)
        self.ranks.share(module, model.name)
        self.usual = usual_sizes(module)
        # `fused` does a step in one kernel: for small networks the steps are most of the time.
        self.optimizer = torch.optim.AdamW(
            module.parameters(), lr=model.learning_rate, weight_decay=model.weight_decay, fused=True
        )
        self.state = Standing()
        self.views = {
            name: torch.from_numpy(np.ascontiguousarray(x, np.float32)).to(self.device)
            for name, x in kept.views.items()
        }
        self.steps = {name: Steps(table, self.device) for name, table in kept.steps.items()}
        self.codes = _numbers(kept.labels)
        self.labels, self.groups = (
            numbers and {name: torch.from_numpy(x).to(self.device) for name, x in numbers.items()}
            for numbers in (self.codes, _numbers(kept.groups))
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
        if self.codes is not None and (self.by_class or not self.kept.paired):
            drawn = sampling.balanced(self.codes, model.batch_size, rng, paired=self.kept.paired)
        else:
            drawn = sampling.shuffled(self.kept.views, model.batch_size, rng)
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
        labels, groups = (
            column and {name: x[index[name]] for name, x in column.items()}
            for column in (self.labels, self.groups)
        )
        return Batch(
            views={name: x[index[name]] for name, x in self.views.items()},
            labels=labels,
            groups=groups,
            paired=self.kept.paired,
            progress=progress,
            generator=generator,
            steps={name: steps[chosen[name]] for name, steps in self.steps.items()},
        )

    def close_epoch(self, loss: float) -> None:
        """Score the epoch, remember its networks if they are the best, and tell who listens."""
        state, module = self.state, self.problem.module
        map_ = figure = math.nan
        if self.held is not None:
            module.eval()
            map_, figure = self.ranks.from_first(self._scores)
        best = max((row[2] for row in state.history), default=-math.inf)
        state.history.append([loss, map_, figure])
        if self.held is None or figure > best or not state.best:
            state.best_epoch = state.epoch
            state.best = {name: x.detach().clone() for name, x in module.state_dict().items()}
        if self.model.on_epoch is not None:
            of = self.model.epochs
            self.model.on_epoch(Epoch(number=state.epoch, of=of, loss=loss, map=map_, score=figure))

    def _scores(self) -> list[float]:
        """Return the MAP of held-out rows, and what decides."""
        assert self.held is not None  # or there is nothing to score
        with torch.no_grad():
            points = self.problem.points(self.kept, self.held)
        map_ = held_out_map(points, self.held)
        return [map_, map_ if self.score is held_out_map else self.score(points, self.held)]

    def has_waited(self) -> bool:
        """Whether `patience` epochs brought no better score."""
        patience = self.model.patience
        if self.held is None or patience is None:
            return False
        return self.state.epoch - self.state.best_epoch >= patience

    def why_it_stopped(self) -> str:
        """Return it in words."""
        state, model = self.state, self.model
        if self.has_waited():
            return (
                f"after {state.epoch} of {model.epochs} epochs, {model.patience} without a better "
                f"held-out score; kept epoch {state.best_epoch}"
            )
        if self.held is not None:
            return f"after all {model.epochs} epochs; kept epoch {state.best_epoch}"
        reason = (
            "`patience` is None"
            if model.patience is None
            else f"fewer than {sampling.MIN_UNITS} independent rows, so none held out"
        )
        return f"after all {model.epochs} epochs; never early: {reason}"


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
