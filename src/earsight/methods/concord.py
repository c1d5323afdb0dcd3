"""Our own learner: rank by the probability of sharing a class, and by the own half within it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from earsight.arrays import FloatArray, IntArray, Labels, unit_rows
from earsight.errors import InputError
from earsight.methods._base import JointEmbedding, Rows, check_choice
from earsight.methods._pool import MAX_EXACT, Pool, fit_pool
from earsight.methods._posteriors import (
    HEADS,
    Head,
    class_codes,
    content_keys,
    inner_folds,
    log_loss,
    padding,
    with_head,
)
from earsight.methods.cca import CCA
from earsight.retrieval import evaluate

GAINS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
KEPT, KEPT_AT_LEAST = 0.995, 0.95  # of the inner MAP
OWN_RANK = 10  # the own half should be among the first so many as often as by c alone
MAX_OWN_WIDTH = 1024  # C·k, the width of p⊗c
MIN_ROWS_OWN = 20
RANKED = 1000  # rows of a fold that the inner MAP is measured on, at most


@dataclass(kw_only=True)
class Concord(JointEmbedding):
    """Calibrated posteriors of pooled closed forms, and canonical vectors within a class.

        S = p·q·(1 + g·c·c′),    as one vector  [p, √g·(p⊗c)]/√(1+g)  beside its padding

    p and q are posteriors of the two modalities, each from six ridge regressions (two transforms,
    three kernels), stackers on what these say of held-out folds, and a linear mixture of all by
    EM. p·q is the probability that two items share a class, and ranking by it is the best ranking
    by class there is. c and c′ are unit-length, correlation-weighted canonical vectors: where rows
    are paired they order items within a class; g is the largest gain that keeps 99.5 % of the MAP
    on held-out folds, and more, down to 95 %, where c alone would find the own half more often.
    Where rows are paired, and few, a modality may also learn from the other: its targets are then
    half the class and half the other half's held-out posterior, which varies less; it does where
    that lowers its held-out log-loss.

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
        pools_: modality → its posterior's arrays.
        own_: modality → mean (d,) and weights (d, k) of c; empty where g = 0.

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
        pools, held_out = {}, {}
        for name, x in rows.views.items():
            pools[name], held_out[name] = fit_pool(
                x, codes[name], targets[name], folds[name], keys[name]
            )
        if rows.paired and all(len(x) <= MAX_EXACT for x in rows.views.values()):
            first, second = rows.views
            teachers = {first: held_out[second], second: held_out[first]}
            for name, x in rows.views.items():
                softer = (targets[name] + teachers[name]) / 2
                pool, p = fit_pool(
                    x, codes[name], softer, folds[name], keys[name], pools[name].ridges
                )
                if log_loss(p, codes[name]) < log_loss(held_out[name], codes[name]):
                    pools[name], held_out[name] = pool, p
        self._pools = pools
        self.mean_ = {name: p.mean(axis=0) for name, p in held_out.items()}
        self.gain_, self.own_ = 0.0, {}
        own_half = _OwnHalf.of(rows, len(self.classes_)) if self.head == "probability" else None
        if own_half is not None:
            first = next(iter(folds))
            self.gain_ = own_half.gain(held_out, codes[first], folds[first])
            self.own_ = own_half.maps() if self.gain_ else {}
        width = len(self.classes_)
        if self.head == "probability":
            width += 2 + width * (own_half.width if self.gain_ and own_half else 0)
        self.n_components_ = width

    def _project(self, modality: str, x: FloatArray) -> FloatArray:
        p = self._pools[modality].posterior(x)
        place = list(self.dims_).index(modality)
        if not self.gain_:
            return with_head(p, self.head, self.mean_[modality], place)
        own = self.own_[modality]
        return joined(p, unit_rows((x - own["mean"]) @ own["weights"]), self.gain_, place)

    def learned(self) -> dict[str, Any]:
        """Return what was learned, the pools as their arrays."""
        pools = {name: pool.state() for name, pool in self._pools.items()}
        return super().learned() | {"pools": pools}

    def restore(self, learned: Mapping[str, Any]) -> None:
        """Take back what `learned` returned."""
        own = dict(learned)
        self._pools = {name: Pool.of(state) for name, state in own.pop("pools").items()}
        super().restore(own)


def joined(p: FloatArray, c: FloatArray, gain: float, place: int) -> FloatArray:
    """Return [p, √g·(p⊗c)]/√(1+g) beside its padding, (n, C + C·k + 2).

    Between modalities its inner product is p·q·(1 + g·c·c′)/(1 + g).

    Args:
        p: (n, C) posteriors.
        c: (n, k) unit-length canonical vectors.
        gain: g ≥ 0.
        place: 0 for the first modality, 1 for the second.
    """
    outer = (p[:, :, None] * c[:, None, :]).reshape(len(p), -1)
    vectors = np.hstack([p, np.sqrt(gain) * outer]) / np.sqrt(1 + gain)
    return np.hstack([vectors, padding(vectors, place)])


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


@dataclass(frozen=True)
class _OwnHalf:
    """Canonical vectors of paired rows, and how much they may say.

    Attributes:
        views: modality → (n, d).
        groups: (n,) or None.
        width: k.
    """

    views: dict[str, FloatArray]
    groups: Labels | None
    width: int

    @classmethod
    def of(cls, rows: Rows, n_classes: int) -> "_OwnHalf | None":
        """Return None where rows are unpaired, few, or the space would be too wide."""
        n = len(next(iter(rows.views.values())))
        groups = None if rows.groups is None else next(iter(rows.groups.values()))
        n_units = n if groups is None else len(np.unique(groups))
        width = min(10, MAX_OWN_WIDTH // n_classes)
        if not rows.paired or n_units < MIN_ROWS_OWN or width < 1:
            return None
        whole = cls(rows.views, groups, width)
        maps = whole.maps()
        if not maps:
            return None
        return cls(rows.views, groups, next(iter(maps.values()))["weights"].shape[1])

    def maps(self, chosen: IntArray | slice = slice(None)) -> dict[str, dict[str, FloatArray]]:
        """Fit CCA to some rows; return modality → mean (d,) and weights (d, k), or nothing.

        With more columns than rows it is solved in the span of the rows, which loses nothing.
        """
        reduced, means, bases = {}, {}, {}
        for name, view in self.views.items():
            x = view[chosen].astype(np.float64)
            means[name], deviation = x.mean(axis=0), x.std(axis=0)
            varies = deviation > 8 * float(np.finfo(view.dtype).eps) * np.abs(x).max(axis=0)
            factor = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
            x = (x - means[name]) * factor
            span = np.eye(x.shape[1]) if len(x) > x.shape[1] else _span(x)
            bases[name], reduced[name] = factor[:, None] * span, x @ span
        groups = None if self.groups is None else self.groups[chosen]
        try:
            model = CCA(standardize=False).fit(reduced, groups=groups)
        except InputError:  # nothing varies together: there is no own half to find
            return {}
        k = min(self.width, model.n_components_)
        return {
            name: {
                "mean": means[name],
                "weights": bases[name] @ (model.weights_[name] * model.correlations_)[:, :k],
            }
            for name in self.views
        }

    def gain(
        self, posteriors: dict[str, FloatArray], codes: IntArray, folds: list[IntArray]
    ) -> float:
        """Choose g on held-out folds.

        The largest that keeps 99.5 % of the MAP; or, where c alone finds the own half among the
        first ten more often than that, the smallest that finds it as often, or else the largest
        that keeps 95 % of the MAP.
        """
        gains = np.array((0.0, *GAINS))
        score, found, alone = np.zeros(len(gains)), np.zeros(len(gains)), 0.0
        for held_out in folds:
            maps = self.maps(np.setdiff1d(np.arange(len(codes)), held_out))
            if not maps:
                return 0.0
            ranked = held_out[:: -(-len(held_out) // RANKED)]
            k = min(OWN_RANK, len(ranked))
            c = {
                name: unit_rows((self.views[name][ranked] - own["mean"]) @ own["weights"])
                for name, own in maps.items()
            }
            alone += sum(one.recall[k] for one in evaluate(c, ks=[k]).values())
            for i, g in enumerate(gains):
                vectors = {
                    name: joined(posteriors[name][ranked], c[name], g, place)
                    for place, name in enumerate(c)
                }
                scores = evaluate(vectors, labels=codes[ranked], ks=[k]).values()
                score[i] += sum(one.map for one in scores)
                found[i] += sum(one.recall[k] for one in scores)
        free = int(np.flatnonzero(score >= KEPT * score[0]).max())
        allowed = int(np.flatnonzero(score >= KEPT_AT_LEAST * score[0]).max())
        enough = np.flatnonzero(found[: allowed + 1] >= alone)
        wanted = int(enough[0]) if len(enough) else allowed
        return float(gains[max(free, wanted)])


def _span(x: FloatArray) -> FloatArray:
    """Return an orthonormal basis (d, r) of the rows of x (n, d), n at most d."""
    from scipy import linalg

    values, vectors = linalg.eigh(x @ x.T, check_finite=False)
    kept = values > 1e-10 * max(float(values.max()), 1e-300)
    return np.asarray(x.T @ vectors[:, kept] / np.sqrt(values[kept]))
