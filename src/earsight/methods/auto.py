"""The recommended learner, without having to know its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from earsight import discovery
from earsight.arrays import FloatArray
from earsight.methods._base import JointEmbedding, Rows

SUPERVISED, UNSUPERVISED = "concord", "cca"


@dataclass(kw_only=True)
class Auto(JointEmbedding):
    """The learner that Earsight recommends: one if `fit` gets labels, another if it does not.

    It has no size of its own: the learner takes what suits it (`n_components_`).

    Attributes:
        chosen_: Name of the learner that was fitted.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(40, 5))
    >>> Auto().fit({"audio": x, "visual": x + 1.0}).chosen_
    'cca'
    """

    name: ClassVar[str] = "auto"
    needs_pairs: ClassVar[bool] = False  # the learner that is chosen may; then it says so

    def _fit(self, rows: Rows) -> None:
        self.chosen_ = UNSUPERVISED if rows.labels is None else SUPERVISED
        self._model = _make(self.chosen_, self.seed)
        labels: Any = rows.labels
        groups: Any = rows.groups
        if rows.paired:
            labels, groups = (each and next(iter(each.values())) for each in (labels, groups))
        self._model.fit(rows.views, labels, groups)
        self.n_components_ = self._model.n_components_

    def _project(self, modality: str, x: FloatArray) -> FloatArray:
        return self._model.transform(modality, x)

    def learned(self) -> dict[str, Any]:
        """Return the choice, and what the chosen learner learned."""
        return super().learned() | {"model": self._model.learned()}

    def restore(self, learned: Mapping[str, Any]) -> None:
        """Take back what `learned` returned."""
        own = dict(learned)
        self._model = _make(own["chosen_"], self.seed)
        self._model.restore(own.pop("model"))
        super().restore(own)


def _make(name: str, seed: int) -> JointEmbedding:
    model: JointEmbedding = discovery.make("methods", name, {"seed": seed})
    return model
