"""The space in which a library answers: the bridge, and what was learned beside it.

Side by side they are one vector, [√w·b ; √(1−w)·e], both parts of unit length, so that its cosine
is w·cos(b, b′) + (1−w)·cos(e, e′). Texts and typed words have the first part alone.
"""

import json
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from earsight.arrays import FloatArray, unit_rows
from earsight.errors import InputError, LibraryError, ModelFileError
from earsight.library.embedding.extraction import TEXT, TYPED, WORDS, bridge_role
from earsight.methods._base import JointEmbedding
from earsight.methods._files import HEADER as MODEL
from earsight.methods._files import TENSORS, model_files, read_model
from earsight.untrusted import parse_json

HEADER, BRIDGE, LEARNED = "space.json", "bridge", "learned"
ANEW = "Make it anew: earsight index CLIPS --rebuild."
LARGEST = 1000  # bytes of the header
LEAST = 0.01  # of the weight, by whose root cosines are divided
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

        Raises:
            LibraryError: Rows of a role are missing, or do not fit the model.
        """
        role = bridge_role(self.bridge_name, modality)
        bridge = self._points(self.bridge, modality, role, rows)
        if self.learned is None:
            return bridge
        if modality in (TEXT, TYPED):
            nothing = np.zeros((len(bridge), self.learned.n_components_), np.float32)
            return np.concatenate([bridge, nothing], axis=1)
        learned = self._points(self.learned, modality, modality, rows)
        parts = [np.sqrt(self.weight) * bridge, np.sqrt(1 - self.weight) * learned]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def _points(self, model: JointEmbedding, modality: str, role: str, rows: Rows) -> FloatArray:
        """Return the points of one part, of unit length."""
        try:
            if role not in rows:
                raise InputError(f"there are no vectors {role!r}")
            return _unit(model.transform(modality, rows[role]))
        except InputError as error:
            raise LibraryError(
                f"The model of the library, {self.name!r}, and its vectors do not fit each other: "
                f"{error} {ANEW}"
            ) from error

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

    def files(self) -> dict[str, bytes]:
        """Return name → content of what `load` reads, in the order of their writing."""
        parts = {BRIDGE: self.bridge} | ({LEARNED: self.learned} if self.learned else {})
        found = {
            f"{part}/{name}": data
            for part, model in parts.items()
            for name, data in model_files(model).items()
        }
        kept = {"format": 1, "weight": self.weight, "bridge": self.bridge_name}
        return found | {HEADER: json.dumps(kept).encode()}

    @classmethod
    def load(cls, files: Mapping[str, bytes], where: str) -> "Space":
        """Make a space of what `files` returned, which may come from somebody else.

        Args:
            files: Name → content.
            where: What messages call their folder.

        Raises:
            ModelFileError: Something is missing or damaged.
        """
        try:
            weight, bridge_name = _read_header(files[HEADER])
        except (KeyError, ValueError) as error:
            raise ModelFileError(
                f"The model in {where} is missing or damaged: {HEADER} {error}. {ANEW}"
            ) from error
        bridge = _part(files, BRIDGE, where)
        if not any(name.startswith(f"{LEARNED}/") for name in files):
            if weight != 1:
                raise ModelFileError(
                    f"The model in {where} is damaged: its weight is {weight}, and there is "
                    f"nothing beside the bridge. {ANEW}"
                )
            return cls(bridge, bridge_name=bridge_name)
        return cls(bridge, _part(files, LEARNED, where), weight, bridge_name)


def _part(files: Mapping[str, bytes], part: str, where: str) -> JointEmbedding:
    return read_model(lambda name: files[f"{part}/{name}"], f"{where}/{part}")


def is_file(name: str) -> bool:
    """Whether a file of a space may have this name.

    >>> is_file("bridge/model.json"), is_file("bridge/../../model.json")
    (True, False)
    """
    part, _, file = name.rpartition("/")
    if part in (BRIDGE, LEARNED):
        return file == MODEL or TENSORS.fullmatch(file) is not None
    return name == HEADER


def _read_header(data: bytes) -> tuple[float, str]:
    """Return the weight and the bridge's name.

    Raises:
        ValueError: Something else is written there.
    """
    if len(data) > LARGEST:
        raise ValueError(f"has {len(data):,} bytes; at most {LARGEST:,} are read")
    kept = parse_json(data)
    if not isinstance(kept, dict) or kept.keys() != {"format", "weight", "bridge"}:
        raise ValueError("must have format, weight and bridge, and nothing else")
    if kept["format"] is True or kept["format"] != 1:
        raise ValueError("is of another format; update Earsight")
    weight, bridge = kept["weight"], kept["bridge"]
    if type(weight) not in (int, float) or not LEAST <= weight <= 1:
        raise ValueError(f"must have a weight between {LEAST} and 1; got {reprlib.repr(weight)}")
    if not isinstance(bridge, str) or not re.fullmatch(r"\w{1,64}", bridge):
        raise ValueError(f"must have a short name as bridge; got {reprlib.repr(bridge)}")
    return float(weight), bridge


def _unit(points: FloatArray) -> FloatArray:
    with np.errstate(over="ignore"):
        scaled = unit_rows(points)
        if not np.isfinite(np.linalg.norm(points, axis=1)).all():
            raise InputError("points too large to be squared")
    return scaled
