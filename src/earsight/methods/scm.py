"""Semantic correlation matching: semantic matching on the outputs of CCA."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from earsight.arrays import FloatArray
from earsight.methods._base import JointEmbedding, Rows
from earsight.methods._checks import check_choice, check_same
from earsight.methods._posterior.posteriors import HEADS, Head
from earsight.methods.cca import CCA
from earsight.methods.semantic import Semantic


@dataclass(kw_only=True)
class SCM(JointEmbedding):
    """CCA first, then the posterior over classes from each modality's canonical vector.

        p(x)ᶜ = P(class c | diag(ρ) Wᵀ(x − mean))

    Attributes:
        classifier, head: As for `semantic`.
        classifier_: Which was used.

    Reference: Rasiwasia et al., A new approach to cross-modal multimedia retrieval, 2010.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(60, 4))
    >>> y = (x[:, 0] > 0).astype(int)
    >>> model = SCM().fit({"audio": x, "visual": x[:, ::-1]}, labels=y)
    >>> model.n_components_
    2
    """

    name: ClassVar[str] = "scm"
    for_comparison_only: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    classifier: Literal["auto", "svm", "logistic"] = "auto"
    head: Head = "centred"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("classifier", self.classifier, ("auto", "svm", "logistic"))
        check_choice("head", self.head, HEADS)

    def _fit(self, rows: Rows) -> None:
        self._parts = self._make_parts()
        cca, semantic = self._parts
        labels, groups = (each and next(iter(each.values())) for each in (rows.labels, rows.groups))
        cca.fit(rows.views, groups=groups)
        projected = {name: cca.transform(name, x) for name, x in rows.views.items()}
        semantic.fit(projected, labels, groups)
        self.classifier_ = semantic.classifier_
        self.n_components_ = semantic.n_components_

    def _project(self, modality: str, x: FloatArray) -> FloatArray:
        cca, semantic = self._parts
        return semantic.transform(modality, cca.transform(modality, x))

    def _make_parts(self) -> tuple[CCA, Semantic]:
        semantic = Semantic(classifier=self.classifier, head=self.head, seed=self.seed)
        return CCA(seed=self.seed), semantic

    def learned(self) -> dict[str, Any]:
        """Return what both parts learned."""
        cca, semantic = self._parts
        return super().learned() | {"cca": cca.learned(), "semantic": semantic.learned()}

    def restore(self, learned: Mapping[str, Any]) -> None:
        """Take back what `learned` returned."""
        own = dict(learned)
        self._parts = self._make_parts()
        for part in self._parts:
            part.restore(own.pop(part.name))
        super().restore(own)

    def _check_learned(self) -> None:
        super()._check_learned()
        cca, semantic = self._parts
        check_same("dims_ of cca", cca.dims_, self.dims_)
        points = dict.fromkeys(self.dims_, cca.n_components_)
        check_same("dims_ of semantic", semantic.dims_, points)
        check_same("n_components_", self.n_components_, semantic.n_components_)
