"""What the deep methods and their training loop hand to each other; no torch is imported."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from earsight.arrays import FloatArray
from earsight.methods._base import Rows

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from earsight.methods._deep.encoders import Padded

WIDTH = 32  # columns that an encoder of sequences adds to the mean, and its width within
Activation = Literal["relu", "tanh", "sigmoid"]
Pooling = Literal["mean", "attention", "gru", "transformer"]
Arrays = dict[str, Any]
"""One network as `save` writes it: its arrays, and the names of its activations."""
Score = Callable[[Mapping[str, FloatArray], Rows], float]
"""What decides between epochs, of held-out points and their rows."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """How training stands after an epoch.

    Attributes:
        number: 0 is the state before training.
        of: How many epochs there may be.
        loss: Mean over the batches; NaN for epoch 0.
        map: MAP of the held-out rows, mean over both directions, by class where there are labels,
            else each clip its own class (which makes it the MRR); NaN where nothing is held out.
        score: What decides which epoch is kept: the MAP, unless the method has its own measure.
    """

    number: int
    of: int
    loss: float
    map: float
    score: float


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step of training sees.

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

    views: "dict[str, Tensor]"
    labels: "dict[str, Tensor] | None" = None
    groups: "dict[str, Tensor] | None" = None
    paired: bool = True
    progress: float = 0.0
    generator: "Generator"
    steps: "dict[str, Padded]" = field(default_factory=dict)


class Problem(Protocol):
    """What a method gives to `train`.

    Attributes:
        module: Everything that is trained.
    """

    module: "nn.Module"

    def loss(self, batch: Batch) -> "Tensor":
        """Return the loss of a batch, a scalar."""

    def points(self, kept: Rows, held: Rows) -> Mapping[str, FloatArray]:
        """Map held-out rows into the joint space, modality → (n, k), as `transform` would.

        Whatever is fitted on the networks' outputs is fitted on those of `kept`.
        """
