"""Our own method: rank by the probability of sharing a class, and by pairs within it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from earsight.arrays import FloatArray, IntArray, Labels
from earsight.methods._base import JointEmbedding, Rows
from earsight.methods._checks import check_array, check_choice, check_number, check_same
from earsight.methods._posterior.ensemble import MAX_EXACT, Ensemble, fit_ensemble
from earsight.methods._posterior.pair_term import PairTerm, canonical, joined
from earsight.methods._posterior.posteriors import (
    HEADS,
    Head,
    class_codes,
    content_keys,
    head_width,
    inner_folds,
    log_loss,
    with_head,
)


@dataclass(kw_only=True)
class Concord(JointEmbedding):
    """Calibrated posteriors of an ensemble of closed forms, and canonical vectors within a class.

        S = p·q·(1 + g·c·c′),    as one vector  [p, √g·(p⊗c)]/√(1+g)  beside its padding

    p and q are posteriors of the two modalities, each from eight ridge regressions (two transforms,
    four kernels), stackers on what these say of held-out folds, and a linear mixture of all by
    EM. p·q is the probability that two items share a class, and ranking by it is the best ranking
    by class there is. Where rows are paired, and few, a modality may also learn from the other:
    its targets are then half the class and half the paired item's held-out posterior, which varies
    less; it does where that lowers its held-out log-loss.

    c and c′ are unit-length, correlation-weighted canonical vectors: where rows are paired they
    order items within a class. They are those of all pairs, or of what lies within the classes: a
    row less the mean that its posterior lets expect, so that c does not say once more what p says.
    Held-out folds choose between the two and g, so that 99.5 % of the MAP are kept, and less, down
    to 95 %, only where c alone would find the paired item more often (see `pair_term.PairTerm`).

    Between modalities the cosine is S/(1 + g), on a probability's scale. Within one it has the
    padding on top, so that two items of which little is known are near: to rank by S there too,
    leave the last two columns out.

    Rows need not be paired; then g = 0. Every choice is made on inner folds of the training rows,
    whole groups in one fold. Above 4,000 rows the kernels are seen through 1,000 landmarks, and the
    targets are the classes. No random start, and the order of rows does not matter.

    Attributes:
        head: "probability" is the above; "cosine" and "centred" are the posteriors alone.
        classes_: (C,) sorted.
        gain_: g.
        within_: Whether c is of what lies within the classes.
        own_: modality → weights (d, k) of c, and means (C, k); empty where g = 0.

    Reference: Rasiwasia et al., A new approach to cross-modal multimedia retrieval, 2010, for
    posteriors as a joint space; the rest is ours.

    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["dog", "rain"], 20)
    >>> x = np.where(y == "dog", 1.0, -1.0)[:, None] + rng.normal(size=(40, 3))
    >>> model = Concord().fit({"audio": x, "visual": x[:, ::-1] ** 3}, labels=y)
    >>> dog = model.transform("audio", [[1.0, 1.0, 1.0]])[0]
    >>> found = model.transform("visual", [[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])
    >>> bool(dog @ found[0] > dog @ found[1])
    True
    """

    name: ClassVar[str] = "concord"
    needs_labels: ClassVar[bool] = True
    needs_pairs: ClassVar[bool] = False

    head: Head = "probability"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("head", self.head, HEADS)

    def _fit(self, rows: Rows) -> None:
        self.classes_, codes = class_codes(self.name, rows)
        keys, folds = _splits(rows, codes, self.seed)
        targets = {name: np.eye(len(self.classes_))[own] for name, own in codes.items()}
        fits = {
            name: partial(fit_ensemble, x, codes=codes[name], folds=folds[name], keys=keys[name])
            for name, x in rows.views.items()
        }
        ensembles, held_out = {}, {}
        for name, fit in fits.items():
            ensembles[name], held_out[name] = fit(targets[name])
        if rows.paired and all(len(x) <= MAX_EXACT for x in rows.views.values()):
            first, second = rows.views
            teachers = {first: held_out[second], second: held_out[first]}
            for name, fit in fits.items():
                softer = (targets[name] + teachers[name]) / 2
                ensemble, p = fit(softer, ridges=ensembles[name].ridges)
                if log_loss(p, codes[name]) < log_loss(held_out[name], codes[name]):
                    ensembles[name], held_out[name] = ensemble, p
        self._ensembles = ensembles
        self.mean_ = {name: p.mean(axis=0) for name, p in held_out.items()}
        pair_term = PairTerm()
        if self.head == "probability":
            first = next(iter(folds))
            pair_term = PairTerm.choose(rows, codes[first], held_out, folds[first])
        self.gain_, self.within_ = pair_term.gain, pair_term.within
        self.own_ = dict(pair_term.maps or {})
        self.n_components_ = head_width(self.head, len(self.classes_))
        if self.gain_:
            weights = next(iter(self.own_.values()))["weights"]
            self.n_components_ += len(self.classes_) * weights.shape[1]

    def _project(self, modality: str, x: FloatArray) -> FloatArray:
        p = self._ensembles[modality].posterior(x)
        place = list(self.dims_).index(modality)
        if not self.gain_:
            return with_head(p, self.head, self.mean_[modality], place)
        return joined(p, canonical(x, p, self.own_[modality]), self.gain_, place)

    def learned(self) -> dict[str, Any]:
        """Return what was learned, the ensembles as their arrays."""
        states = {name: one.state() for name, one in self._ensembles.items()}
        return super().learned() | {"pools": states}

    def restore(self, learned: Mapping[str, Any]) -> None:
        """Take back what `learned` returned."""
        own = dict(learned)
        self._ensembles = {name: Ensemble.of(state) for name, state in own.pop("pools").items()}
        super().restore(own)

    def _check_learned(self) -> None:
        super()._check_learned()
        n_classes = len(self.classes_)
        check_number("gain_", self.gain_, at_least=0)
        width = head_width(self.head, n_classes)
        if self.gain_:
            k = next(iter(self.own_.values()))["weights"].shape[1]
            width += n_classes * k
        check_same("n_components_", self.n_components_, width)
        for modality, d in self.dims_.items():
            self._ensembles[modality].check(d, n_classes)
            check_array("mean_", self.mean_[modality], n_classes)
            if self.gain_:
                check_array("weights", self.own_[modality]["weights"], d, k)
                check_array("means", self.own_[modality]["means"], n_classes, k)


def _splits(
    rows: Rows, codes: dict[str, IntArray], seed: int
) -> tuple[dict[str, Labels], dict[str, list[IntArray]]]:
    """Return modality → keys, and modality → inner folds: the same for both where paired."""
    groups = rows.groups or dict.fromkeys(rows.views)
    if rows.paired:
        first = next(iter(rows.views))
        keys = content_keys(rows.views, seed)
        folds = inner_folds(codes[first], groups[first], keys)
        return dict.fromkeys(rows.views, keys), dict.fromkeys(rows.views, folds)
    own_keys = {name: content_keys({name: x}, seed) for name, x in rows.views.items()}
    return own_keys, {
        name: inner_folds(codes[name], groups[name], own_keys[name]) for name in rows.views
    }
