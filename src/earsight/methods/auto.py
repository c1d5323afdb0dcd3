"""The recommended method, without having to know its name."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from earsight import discovery
from earsight.arrays import FloatArray
from earsight.errors import InputError
from earsight.methods._base import JointEmbedding, Rows
from earsight.methods._checks import check_choice, check_number, check_same

SUPERVISED, UNSUPERVISED = "concord", "cca"


@dataclass(kw_only=True)
class Auto(JointEmbedding):
    """The method that Earsight recommends: one if `fit` gets labels, another if it does not.

    With labels it is `concord`, without them `cca`: `contrastive` may find the paired item more
    often, but where it does it can rank by class much worse (docs/methods.md).

    Attributes:
        n_components: Width of the joint space, for a method that lets it be chosen (cca does,
            concord's follows from the classes); None: what suits the method.
        chosen_: Name of the method that was fitted.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(40, 5))
    >>> Auto().fit({"audio": x, "visual": x + 1.0}).chosen_
    'cca'
    """

    name: ClassVar[str] = "auto"
    needs_pairs: ClassVar[bool] = False  # the method that is chosen may; then it says so

    n_components: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_components is not None:
            check_number("n_components", self.n_components, whole=True, at_least=1)

    def _fit(self, rows: Rows) -> None:
        self.chosen_ = UNSUPERVISED if rows.labels is None else SUPERVISED
        self._model = self._make(self.chosen_)
        labels: Any = rows.labels
        groups: Any = rows.groups
        if rows.paired:
            labels, groups = (each and next(iter(each.values())) for each in (labels, groups))
        self._model.fit(rows.views, labels, groups)
        self.n_components_ = self._model.n_components_

    def _project(self, modality: str, x: FloatArray) -> FloatArray:
        return self._model.transform(modality, x)

    def learned(self) -> dict[str, Any]:
        """Return the choice, and what the chosen method learned."""
        return super().learned() | {"model": self._model.learned()}

    def restore(self, learned: Mapping[str, Any]) -> None:
        """Take back what `learned` returned."""
        own = dict(learned)
        check_choice("chosen_", own["chosen_"], (SUPERVISED, UNSUPERVISED))
        self._model = self._make(own["chosen_"])
        self._model.restore(own.pop("model"))
        super().restore(own)

    def _check_learned(self) -> None:
        super()._check_learned()
        check_same("dims_", self.dims_, self._model.dims_)
        check_same("n_components_", self.n_components_, self._model.n_components_)

    def _make(self, name: str) -> JointEmbedding:
        parameters = {"seed": self.seed}
        if self.n_components is not None:
            known = {each.name for each in fields(discovery.load("methods", name))}
            if "n_components" not in known:
                raise InputError(
                    f"`n_components` must be None here: auto chose {name}, whose width follows "
                    f"from the classes; got {self.n_components}. Leave it out, or choose a method "
                    "that has it, such as cluster_cca."
                )
            parameters["n_components"] = self.n_components
        model: JointEmbedding = discovery.make("methods", name, parameters)
        return model
