"""Semantic matching: a calibrated classifier for each modality, posteriors as the joint space."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from earsight.arrays import FloatArray
from earsight.methods._base import JointEmbedding, Rows
from earsight.methods._checks import check_array, check_choice, check_same
from earsight.methods._posterior.classifiers import Classifier, fit_classifier
from earsight.methods._posterior.posteriors import (
    HEADS,
    Head,
    class_codes,
    content_keys,
    head_width,
    inner_folds,
    with_head,
)

MAX_SVM_ROWS = 4000


@dataclass(kw_only=True)
class Semantic(JointEmbedding):
    """The posterior over classes, each modality from a classifier of its own.

        p(x)ᶜ = P(class c | x),    then a head: p, or p − p̄, or p beside its padding

    Rows are brought to zero mean and unit deviation, after a signed square root where that
    predicts inner folds of the training rows better (histograms want it). The classifier is an
    RBF support vector machine whose decisions become probabilities by Platt's method on held-out
    folds, or a multinomial logistic regression. Rows need not be paired; groups stay whole.

    Attributes:
        classifier: "svm", "logistic", or "auto": svm up to 4,000 rows, logistic above.
        head: "centred" for the cosine of p − p̄, "cosine" for that of p, "probability" for the
            inner product p·q itself (see `posteriors.with_head`).
        classifier_: Which was used.
        classes_: (C,) sorted.
        roots_: modality → whether the square root was taken.
        mean_: modality → (C,) p̄, the mean posterior of the training rows.

    Reference: Rasiwasia et al., A new approach to cross-modal multimedia retrieval, 2010; Platt,
    Probabilistic outputs for support vector machines, 1999.

    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["dog", "rain"], 20)
    >>> x = np.where(y == "dog", 1.0, -1.0)[:, None] + rng.normal(size=(40, 3))
    >>> model = Semantic(head="cosine").fit({"audio": x, "visual": x[:, ::-1]}, labels=y)
    >>> model.classifier_, model.transform("audio", [[1.0, 1.0, 1.0]])[0].argmax()
    ('svm', np.int64(0))
    """

    name: ClassVar[str] = "semantic"
    needs_labels: ClassVar[bool] = True
    needs_pairs: ClassVar[bool] = False

    classifier: Literal["auto", "svm", "logistic"] = "auto"
    head: Head = "centred"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("classifier", self.classifier, ("auto", "svm", "logistic"))
        check_choice("head", self.head, HEADS)

    def _fit(self, rows: Rows) -> None:
        self.classes_, codes = class_codes(self.name, rows)
        n = max(len(x) for x in rows.views.values())
        self.classifier_ = self.classifier
        if self.classifier == "auto":
            self.classifier_ = "svm" if n <= MAX_SVM_ROWS else "logistic"
        groups = rows.groups or dict.fromkeys(rows.views)
        self._classifiers = {}
        for name, x in rows.views.items():
            keys = content_keys({name: x}, self.seed)
            folds = inner_folds(codes[name], groups[name], keys)
            # In the order of the keys, so that the solvers see the same rows in any order.
            self._classifiers[name] = fit_classifier(
                self.classifier_, x, codes[name], folds=folds, order=np.argsort(keys)
            )
        self.roots_ = {name: one.scaling.root for name, one in self._classifiers.items()}
        self.mean_ = {
            name: self._classifiers[name].posterior(x).mean(axis=0)
            for name, x in rows.views.items()
        }
        self.n_components_ = head_width(self.head, len(self.classes_))

    def _project(self, modality: str, x: FloatArray) -> FloatArray:
        p = self._classifiers[modality].posterior(x)
        return with_head(p, self.head, self.mean_[modality], list(self.dims_).index(modality))

    def learned(self) -> dict[str, Any]:
        """Return what was learned, the classifiers as arrays: no object of another library."""
        states = {name: one.state() for name, one in self._classifiers.items()}
        return super().learned() | {"classifiers": states}

    def restore(self, learned: Mapping[str, Any]) -> None:
        """Take back what `learned` returned."""
        own = dict(learned)
        states = own.pop("classifiers")
        self._classifiers = {name: Classifier.of(state) for name, state in states.items()}
        super().restore(own)

    def _check_learned(self) -> None:
        super()._check_learned()
        n_classes = len(self.classes_)
        check_same("n_components_", self.n_components_, head_width(self.head, n_classes))
        for modality, d in self.dims_.items():
            check_array("mean_", self.mean_[modality], n_classes)
            self._classifiers[modality].check(d, n_classes)
