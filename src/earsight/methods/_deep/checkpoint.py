"""The state of a training on disk: one safetensors file, replaced whole after each epoch."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from earsight.errors import InputError, ModelFileError
from earsight.methods._base import Rows
from earsight.methods._deep.base import DeepEmbedding
from earsight.methods._files import write_file

State = tuple[dict[str, Any], dict[str, torch.Tensor]]


@dataclass
class Standing:
    """Where training stands: all of it goes into a checkpoint."""

    epoch: int = 0
    history: list[list[float]] = field(default_factory=list)
    best_epoch: int = 0
    best: dict[str, torch.Tensor] = field(default_factory=dict)


class Checkpoint:
    """One training's file: `<folder>/<method>-<fingerprint>.safetensors`.

    The fingerprint is made of the data, the hyper-parameters and the version of torch, so that
    trainings share a folder and none goes on from another's state.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, model: DeepEmbedding, rows: Rows) -> "Checkpoint | None":
        """Return the checkpoint of a training; None where the model asks for none.

        Raises:
            InputError: `checkpoint` is not a folder and cannot be made one.
        """
        if model.checkpoint is None:
            return None
        folder = Path(model.checkpoint)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"`checkpoint` must be a folder that can be written; got {model.checkpoint!r} "
                f"({error.strerror})."
            ) from error
        return cls(folder / f"{model.name}-{_fingerprint(model, rows)[:16]}.safetensors")

    def write(self, facts: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Replace the state by a newer one; a kill leaves one or the other."""
        write_file(self.path, safetensors.torch.save(tensors, {"training": json.dumps(facts)}))

    def read(self) -> State | None:
        """Return the state, or None where there is none.

        Raises:
            ModelFileError: The file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                facts = json.loads(file.metadata()["training"])
                return facts, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"The checkpoint {self.path} is damaged: {error}. "
                "Remove it to train from the start."
            ) from error


def _fingerprint(model: DeepEmbedding, rows: Rows) -> str:
    chosen = model.saved_params()
    digest = hashlib.sha256(json.dumps([chosen, torch.__version__, rows.paired]).encode())
    for part in (rows.views, rows.labels or {}, rows.groups or {}):
        for name, column in part.items():
            digest.update(f"{name} {column.dtype} {column.shape}".encode())
            digest.update(column.tobytes())
    for name, table in rows.steps.items():
        digest.update(f"{name} steps {table.dim} {table.lengths.tolist()}".encode())
        for sequence in table:
            digest.update(sequence.times.tobytes() + sequence.values.tobytes())
    return digest.hexdigest()


def stored(state: Standing, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """Return where training stands as facts and tensors, for `Checkpoint.write`."""
    tensors = {f"module/{name}": x for name, x in module.state_dict().items()}
    tensors |= {f"best/{name}": x for name, x in state.best.items()}
    for number, each in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": x for name, x in each.items()}
    facts = {"epoch": state.epoch, "history": state.history, "best_epoch": state.best_epoch}
    return facts, {name: x.detach().cpu().contiguous() for name, x in tensors.items()}


def restored(
    found: State,
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
) -> Standing:
    """Bring networks and optimizer to where a training stood, and return that."""
    facts, tensors = found
    parts: dict[str, dict[str, torch.Tensor]] = {"module": {}, "best": {}, "optimizer": {}}
    for path, tensor in tensors.items():
        part, _, name = path.partition("/")
        parts[part][name] = tensor
    module.load_state_dict(parts["module"])
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for path, tensor in parts["optimizer"].items():
        number, _, name = path.partition("/")
        moments.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict(
        {"state": moments, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    return Standing(
        epoch=facts["epoch"],
        history=facts["history"],
        best_epoch=facts["best_epoch"],
        best=parts["best"],
    )
