"""A new method beside CCA: python new_method.py (docs/extending.md: on the command line, too)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import earsight
from earsight.datasets import synthetic
from earsight.methods import JointEmbedding, Rows


@dataclass(kw_only=True)
class PLS(JointEmbedding):
    """Partial least squares: the directions of largest covariance, max tr(AᵀΣxyB)."""

    name: ClassVar[str] = "pls"
    n_components: int = 4

    def _fit(self, rows: Rows) -> None:
        self.n_components_ = self.n_components
        self.mean_ = {view: x.mean(axis=0) for view, x in rows.views.items()}
        x, y = (rows.views[view] - self.mean_[view] for view in rows.views)
        u, _, vt = np.linalg.svd(x.T @ y, full_matrices=False)
        self.axes_ = dict(zip(rows.views, (u[:, : self.n_components], vt[: self.n_components].T)))

    def _project(self, modality: str, x: np.ndarray) -> np.ndarray:
        return (x - self.mean_[modality]) @ self.axes_[modality]


data = synthetic(n=600, dims=(30, 40), classes=5)
for model in (PLS(), earsight.method("cca", n_components=4)):
    model.fit(data.take(np.arange(400)).views)
    held_out = data.take(np.arange(400, 600))
    points = {view: model.transform(view, x) for view, x in held_out.views.items()}
    scores = earsight.evaluate(points, labels=held_out.labels)["audio", "visual"]
    print(f"{model.name}: MAP {scores.map:.3f} (chance {scores.map_chance:.3f})")
