"""VGGish as a torch module; needed once, to convert the original weights."""

from collections.abc import Mapping

from torch import Tensor, nn

LAYERS = (1, "pool", 1, "pool", 2, "pool", 2, "pool")  # how many convolutions between the pools
MEL_FRAMES, MEL_BANDS = 96, 64

State = Mapping[str, Tensor]


class VGG(nn.Module):  # type: ignore[misc]  # mypy sees torch as Any
    """The whole network, from log-mel examples to the embedding before its activation.

    Its keys are those of the published state dicts: features.N and embeddings.{0, 2, 4}. The
    widths come with the weights: 64, 128, 256, 256, 512, 512, then 4096, 4096, 128.

    Args:
        state: The original state dict.

    Raises:
        KeyError: A layer is missing.
        RuntimeError: A layer has another shape than the ones around it ask for, or there are more.
    """

    def __init__(self, state: State) -> None:
        super().__init__()
        self.features = nn.Sequential()
        width = 1
        for layer in LAYERS:
            if layer == "pool":
                self.features.append(nn.MaxPool2d(2))
                continue
            for _ in range(int(layer)):
                n_out = len(state[f"features.{len(self.features)}.weight"])
                self.features.extend([nn.Conv2d(width, n_out, 3, padding=1), nn.ReLU()])
                width = n_out
        first, second, last = (len(state[f"embeddings.{i}.weight"]) for i in (0, 2, 4))
        self.embeddings = nn.Sequential(
            nn.Linear(width * (MEL_FRAMES // 16) * (MEL_BANDS // 16), first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, last),  # the ports put a ReLU here; the official embedding has none
        )
        self.load_state_dict(state, assign=True)  # 288 MB that need not be here twice

    def forward(self, examples: Tensor) -> Tensor:
        """(n, 1, 96, 64) → (n, 128)."""
        x = self.features(examples)  # (n, 512, 6, 4)
        x = x.permute(0, 2, 3, 1).flatten(
            1
        )  # (n, 6·4·512): the channels last, as TensorFlow has it
        y: Tensor = self.embeddings(x)
        return y
