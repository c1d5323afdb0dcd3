"""The space in which a library answers: the bridge, and what was learned beside it.

Side by side they are one vector, [√w·b ; √(1−w)·e], both parts of unit length, so that its cosine
is w·cos(b, b′) + (1−w)·cos(e, e′). Texts and typed words have the first part alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earsight.arrays import FloatArray, unit_rows
from earsight.errors import ModelFileError
from earsight.library.sources import TEXT, TYPED, WORDS, bridge_role
from earsight.methods._base import JointEmbedding
from earsight.methods._files import load_model, save_model

Rows = Mapping[str, FloatArray]  # role → (n, d): "words.audio", "audio", …


def method_name(model: JointEmbedding) -> str:
    """Return a fitted model's name; for `auto`, that of the method it chose."""
    return str(getattr(model, "chosen_", model.name))


@dataclass(frozen=True)
class Space:
    """The fitted bridge, and the learned embedding that may stand beside it.

    Attributes:
        bridge: A fitted `zero_shot` over the vectors of the bridge.
        learned: A fitted method over the features, or None.
        weight: w, the bridge's share of the cosine; 1 without a learned part.
        bridge_name: "words", or the name of the space that the extractors share.
    """

    bridge: JointEmbedding
    learned: JointEmbedding | None = None
    weight: float = 1.0
    bridge_name: str = WORDS

    def embed(self, modality: str, rows: Rows) -> FloatArray:
        """Map rows of one modality into the space: (n, k) float32 of unit length.

        Args:
            modality: "audio", "visual", "text" or "typed"; the last two have the bridge's part
                alone.
            rows: The vectors by role: the bridge's and, with a learned part, `<modality>`.
        """
        role = bridge_role(self.bridge_name, modality)
        bridge = unit_rows(self.bridge.transform(modality, rows[role]))
        if self.learned is None:
            return bridge
        if modality in (TEXT, TYPED):
            nothing = np.zeros((len(bridge), self.learned.n_components_), np.float32)
            return np.concatenate([bridge, nothing], axis=1)
        learned = unit_rows(self.learned.transform(modality, rows[modality]))
        parts = [np.sqrt(self.weight) * bridge, np.sqrt(1 - self.weight) * learned]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def scale(self, by: str, for_: str) -> float:
        """Return what inner products are divided by to be cosines of what both sides have.

        [b ; 0] with [√w·b′ ; √(1−w)·e′] gives √w·cos(b, b′).
        """
        return float(np.sqrt(self.weight)) if (by == TEXT) != (for_ == TEXT) else 1.0

    @property
    def name(self) -> str:
        """What people see: "words", or "words + cluster_cca"."""
        if self.learned is None:
            return self.bridge_name
        return f"{self.bridge_name} + {method_name(self.learned)}"

    def save(self, folder: Path) -> None:
        """Write the parts into `folder`, which must not exist."""
        folder.mkdir(parents=True)
        save_model(self.bridge, folder / "bridge")
        if self.learned is not None:
            save_model(self.learned, folder / "learned")
        (folder / "space.json").write_text(
            json.dumps({"format": 1, "weight": self.weight, "bridge": self.bridge_name})
        )

    @classmethod
    def load(cls, folder: Path) -> "Space":
        """Read a space that `save` wrote.

        Raises:
            ModelFileError: It is missing or damaged.
        """
        try:
            kept = json.loads((folder / "space.json").read_text())
            weight, bridge_name = kept["weight"], kept.get("bridge", WORDS)
        except (OSError, ValueError, KeyError) as error:
            raise ModelFileError(
                f"The model in {folder} is missing or damaged ({error}). "
                "Make it anew: earsight index CLIPS --rebuild."
            ) from error
        learned = folder / "learned"
        return cls(
            load_model(folder / "bridge"),
            load_model(learned) if learned.is_dir() else None,
            weight,
            bridge_name,
        )
