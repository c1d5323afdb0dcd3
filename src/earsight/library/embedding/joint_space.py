"""The joint space: the zero-shot space, and a learned embedding beside it.

Both together are one vector, [√w·z ; √(1−w)·e], both parts of unit length, so that its cosine is
w·cos(z, z′) + (1−w)·cos(e, e′). Texts and typed words have the first part alone.
"""

import json
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from earsight.arrays import FloatArray, unit_rows
from earsight.errors import InputError, LibraryError, ModelFileError
from earsight.library.embedding.extraction import TEXT, TYPED, WORDS, zero_shot_role
from earsight.methods import (
    MODEL_FILE,
    TENSORS_FILE,
    JointEmbedding,
    model_files,
    read_model,
)
from earsight.untrusted import parse_json

SPACE_FILE, ZERO_SHOT, LEARNED = "space.json", "bridge", "learned"  # "bridge": a name on disk
REBUILD = "Make it anew: earsight index CLIPS --rebuild."
LARGEST = 1000  # bytes of the header
LEAST = 0.01  # of the weight, by whose root cosines are divided
Rows = Mapping[str, FloatArray]  # role → (n, d): "words.audio", "audio", …


def method_name(model: JointEmbedding) -> str:
    """Return a fitted model's name; for `auto`, that of the method it chose."""
    return str(getattr(model, "chosen_", model.name))


@dataclass(frozen=True)
class JointSpace:
    """The fitted zero-shot space, and the learned embedding that may be beside it.

    Attributes:
        zero_shot: A fitted `zero_shot` over the vectors of the zero-shot space.
        learned: A fitted method over the features, or None.
        weight: w, the share of the zero-shot space in the cosine; 1 without a learned embedding.
        zero_shot_name: "words", or the name of the space that the extractors share.
    """

    zero_shot: JointEmbedding
    learned: JointEmbedding | None = None
    weight: float = 1.0
    zero_shot_name: str = WORDS

    def embed(self, modality: str, rows: Rows) -> FloatArray:
        """Map rows of one modality into the space: (n, k) float32 of unit length.

        Args:
            modality: "audio", "visual", "text" or "typed"; the last two have the zero-shot part
                alone.
            rows: The vectors by role: the zero-shot ones and, with a learned part, `<modality>`.

        Raises:
            LibraryError: Rows of a role are missing, or do not fit the model.
        """
        role = zero_shot_role(self.zero_shot_name, modality)
        points = self._points(self.zero_shot, modality, role, rows)  # (n, d)
        if self.learned is None:
            return points
        if modality in (TEXT, TYPED):
            nothing = np.zeros((len(points), self.learned.n_components_), np.float32)
            return np.concatenate([points, nothing], axis=1)
        learned = self._points(self.learned, modality, modality, rows)  # (n, n_components)
        parts = [np.sqrt(self.weight) * points, np.sqrt(1 - self.weight) * learned]
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
                f"{error} {REBUILD}"
            ) from error

    def scale(self, by: str, for_: str) -> float:
        """Return what inner products are divided by to be cosines of what both sides have.

        [z ; 0] with [√w·z′ ; √(1−w)·e′] gives √w·cos(z, z′).
        """
        return float(np.sqrt(self.weight)) if (by == TEXT) != (for_ == TEXT) else 1.0

    @property
    def name(self) -> str:
        """What people see: "words", or "words + cluster_cca"."""
        if self.learned is None:
            return self.zero_shot_name
        return f"{self.zero_shot_name} + {method_name(self.learned)}"

    def files(self) -> dict[str, bytes]:
        """Return name → content of what `load` reads, in the order of their writing."""
        parts = {ZERO_SHOT: self.zero_shot} | ({LEARNED: self.learned} if self.learned else {})
        found = {
            f"{part}/{name}": data
            for part, model in parts.items()
            for name, data in model_files(model).items()
        }
        kept = {"format": 1, "weight": self.weight, "bridge": self.zero_shot_name}
        return found | {SPACE_FILE: json.dumps(kept).encode()}

    @classmethod
    def load(cls, files: Mapping[str, bytes], where: str) -> "JointSpace":
        """Make a space of what `files` returned, which may come from somebody else.

        Args:
            files: Name → content.
            where: What messages call their folder.

        Raises:
            ModelFileError: Something is missing or damaged.
        """
        try:
            weight, name = _read_header(files[SPACE_FILE])
        except (KeyError, ValueError) as error:
            raise ModelFileError(
                f"The model in {where} is missing or damaged: {SPACE_FILE} {error}. {REBUILD}"
            ) from error
        zero_shot = _part(files, ZERO_SHOT, where)
        if not any(name.startswith(f"{LEARNED}/") for name in files):
            if weight != 1:
                raise ModelFileError(
                    f"The model in {where} is damaged: its weight is {weight}, and there is "
                    f"nothing beside the zero-shot space. {REBUILD}"
                )
            return cls(zero_shot, zero_shot_name=name)
        return cls(zero_shot, _part(files, LEARNED, where), weight, name)


def _part(files: Mapping[str, bytes], part: str, where: str) -> JointEmbedding:
    return read_model(lambda name: files[f"{part}/{name}"], f"{where}/{part}")


def is_file(name: str) -> bool:
    """Whether a file of a space may have this name.

    >>> is_file("bridge/model.json"), is_file("bridge/../../model.json")
    (True, False)
    """
    part, _, file = name.rpartition("/")
    if part in (ZERO_SHOT, LEARNED):
        return file == MODEL_FILE or TENSORS_FILE.fullmatch(file) is not None
    return name == SPACE_FILE


def _read_header(data: bytes) -> tuple[float, str]:
    """Return the weight and the name of the zero-shot space.

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
    weight, name = kept["weight"], kept["bridge"]
    if type(weight) not in (int, float) or not LEAST <= weight <= 1:
        raise ValueError(f"must have a weight between {LEAST} and 1; got {reprlib.repr(weight)}")
    if not isinstance(name, str) or not re.fullmatch(r"\w{1,64}", name):
        raise ValueError(f"must have a short name as bridge; got {reprlib.repr(name)}")
    return float(weight), name


def _unit(points: FloatArray) -> FloatArray:
    with np.errstate(over="ignore"):
        scaled = unit_rows(points)
        if not np.isfinite(np.linalg.norm(points, axis=1)).all():
            raise InputError("points too large to be squared")
    return scaled
