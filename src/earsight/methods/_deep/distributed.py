"""One training by several processes, the ranks that torchrun starts; nothing but torch.

Every rank draws the same batches from the same seed. A network maps a rank's own rows of a batch;
the outputs of all rows are then brought together with their gradient, so that the loss, of
whatever form (of pairs, of triplets, of covariances), is that of the whole batch, on each rank.
Gradients of weights are added up over the ranks. So the curve of losses is that of one process
with the same batches, up to rounding.
"""

import atexit
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from earsight.errors import InputError, TrainingError
from earsight.methods._deep.encoders import Encoder, Padded
from earsight.methods._deep.network import Dropout, Network
from earsight.methods._torchrun import launched

_PATIENCE = 300.0  # seconds for which the others are waited for; torch waits for 30 minutes
_BY_ROW = (Network, Encoder)  # what maps each row of a batch by itself


class Alone:
    """One process: nothing to share."""

    rank = 0

    def share(self, module: nn.Module, name: str) -> None:
        """Have the ranks share the work of a module, from the first one's weights on."""

    def add_gradients(self, module: nn.Module) -> None:
        """Make each gradient that of all ranks together."""

    def from_first(self, compute: Callable[[], list[float]]) -> list[float]:
        """Return what the first rank computes."""
        return compute()


class Ranks(Alone):
    """This process among the others, connected.

    Args:
        device: "cpu" or "cuda"; on CUDA each rank of a machine has a GPU of its own.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.rank, self.of = distributed.get_rank(), distributed.get_world_size()

    def share(self, module: nn.Module, name: str) -> None:
        """Attach to every network its share of the rows, and the gathering of all outputs.

        Raises:
            InputError: Something is trained that does not map rows one by one.
        """
        networks = [each for each in module.modules() if isinstance(each, _BY_ROW)]
        shared = {id(p) for network in networks for p in network.parameters()}
        if any(p.requires_grad and id(p) not in shared for p in module.parameters()):
            raise InputError(
                f"{name} cannot be trained by several ranks: it has weights outside its networks. "
                "Run it without torchrun."
            )
        with _together(self.rank):
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, src=0)
        for network in networks:
            _Share(network, self.rank, self.of)

    def add_gradients(self, module: nn.Module) -> None:
        """Add up, in one message."""
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        with _together(self.rank):
            distributed.all_reduce(flat)
        for gradient, total in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(total.view_as(gradient))

    def from_first(self, compute: Callable[[], list[float]]) -> list[float]:
        """Have the first rank compute; wait, and take over what it found."""
        found: list[Any] = [
            torch.tensor(compute(), dtype=torch.float64) if self.rank == 0 else None
        ]
        size = torch.tensor([0 if found[0] is None else len(found[0])], device=self.device)
        with _together(self.rank):
            distributed.broadcast(size, src=0)
            values = torch.zeros(int(size), dtype=torch.float64, device=self.device)
            if found[0] is not None:
                values.copy_(found[0])
            distributed.broadcast(values, src=0)
        return [float(value) for value in values]


def ranks(device: str) -> Alone:
    """Return the ranks of this training, connected; one process alone outside torchrun.

    Args:
        device: What trains, "cpu" (gloo connects) or "cuda" (nccl).

    Raises:
        InputError: There are more ranks on this machine than GPUs; or EARSIGHT_RANK_TIMEOUT, the
            seconds for which the others are waited for, is no number above 0.
    """
    if not distributed.is_available() or launched()[1] == 1:
        return Alone()
    if device == "cuda":
        own, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if own >= gpus:
            raise InputError(
                f"Each rank needs a GPU of its own; torchrun started {own + 1} or more here, and "
                f'there are {gpus}. Start fewer, or train with device="cpu".'
            )
        torch.cuda.set_device(own)
    if not distributed.is_initialized():
        patience = timedelta(seconds=_patience())
        with _together(launched()[0]):
            distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=patience)
        atexit.register(_end)
    return Ranks(device)


def _patience() -> float:
    """Return for how many seconds the others are waited for."""
    given = os.environ.get("EARSIGHT_RANK_TIMEOUT", str(_PATIENCE))
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", given) or float(given) == 0:
        raise InputError(f"EARSIGHT_RANK_TIMEOUT must be seconds above 0; got {given!r}.")
    return float(given)


def _end() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def _together(rank: int) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of gloo and nccl alike
        cause = str(error).partition(". ")[0]
        if re.search("timed? ?out", cause, re.IGNORECASE):
            cause += f" (they are waited for {_patience():g} s; EARSIGHT_RANK_TIMEOUT changes that)"
        raise TrainingError(
            f"Another rank of this training ended, or cannot be reached, so rank {rank} ends too: "
            f"{cause}. No model was written; a `checkpoint` is as after its "
            "last epoch. See what torchrun tells of the others, and run the same command again."
        ) from error


class _Share:
    """Gives a network its rows, and takes care that dropout is that of the whole batch."""

    def __init__(self, network: nn.Module, rank: int, of: int) -> None:
        self.rank, self.of = rank, of
        self.dropouts = [each for each in network.modules() if isinstance(each, Dropout)]
        self.n = 0
        network.register_forward_pre_hook(self.before)
        network.register_forward_hook(self.after)

    def before(self, network: nn.Module, given: tuple[Any]) -> tuple[Any] | None:
        """Cut out the own rows; a rank for which none is left maps the first, unheard."""
        if not network.training:
            return None
        (rows,) = given
        self.n = len(rows.lengths if isinstance(rows, Padded) else rows)
        start, stop = self._own()
        start, stop = (start, stop) if start < stop else (0, 1)
        for dropout in self.dropouts:
            dropout.share = (start, stop, self.n)
        if isinstance(rows, Padded):
            cut = slice(start, stop)
            own = replace(
                rows, values=rows.values[cut], times=rows.times[cut], lengths=rows.lengths[cut]
            )
            return (own,)
        return (rows[start:stop],)

    def after(self, network: nn.Module, _: object, output: Tensor) -> Tensor | None:
        """Return the outputs of all rows."""
        if not network.training:
            return None
        for dropout in self.dropouts:
            dropout.share = None
        gathered: Tensor = _Gathered.apply(output, self.n, self.rank, self.of)
        return gathered

    def _own(self) -> tuple[int, int]:
        return _cut(self.n, self.rank, self.of)


def _cut(n: int, rank: int, of: int) -> tuple[int, int]:
    """Return where a rank's rows begin and end: as many for each rank, fewer for the last."""
    each = -(-n // of)
    return min(n, rank * each), min(n, (rank + 1) * each)


class _Gathered(torch.autograd.Function):  # type: ignore[misc]  # mypy sees torch as Any
    """Own rows → all rows. As the loss is the same on each rank, the gradient is cut, not added."""

    @staticmethod
    def forward(ctx, own, n, rank, of):  # type: ignore[no-untyped-def]
        start, stop = _cut(n, rank, of)
        ctx.cut, ctx.shape = (start, stop), own.shape
        each = -(-n // of)
        sent = own.new_zeros(each, *own.shape[1:])
        sent[: stop - start] = own[: stop - start]
        parts = [torch.empty_like(sent) for _ in range(of)]
        with _together(rank):
            distributed.all_gather(parts, sent)
        return torch.cat(parts)[:n]

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        start, stop = ctx.cut
        own = gradient.new_zeros(ctx.shape)
        own[: stop - start] = gradient[start:stop]
        return own, None, None, None
