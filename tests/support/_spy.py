"""Data drawn for comparisons, and a method that remembers what it was fitted on; for tests."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from earsight import discovery
from earsight.datasets import synthetic
from earsight.experiments import runs
from earsight.experiments.protocol import Protocol
from earsight.features import PairedFeatures
from earsight.methods import JointEmbedding, Rows

DIRECTIONS = ("audio->visual", "visual->audio")
QUICK = Protocol(folds=3, seeds=2)


def drawn(n: int = 120, **columns: Any) -> PairedFeatures:
    data = synthetic(n=n, dims=(12, 15), classes=4)
    return PairedFeatures(data.views, columns.pop("labels", data.labels), **columns)


def split_of(n: int, test: int) -> np.ndarray:
    return np.repeat(["train", "test"], [n - test, test])


@dataclass(kw_only=True)
class Spy(JointEmbedding):
    """Projects at random; remembers what it was fitted on."""

    name: ClassVar[str] = "spy"
    needs_pairs: ClassVar[bool] = False
    fits: ClassVar[list[Rows]] = []
    random: bool = True

    def _fit(self, rows: Rows) -> None:
        self.fits.append(rows)
        rng = np.random.default_rng(self.seed if self.random else 0)
        self.n_components_ = 3
        self.maps_ = {m: rng.normal(size=(x.shape[1], 3)) for m, x in rows.views.items()}

    def _project(self, modality: str, x: Any) -> Any:
        return x @ self.maps_[modality]


@pytest.fixture(name="spy")
def spy_fixture(monkeypatch: pytest.MonkeyPatch) -> type[Spy]:
    """The method "spy", beside those that there are."""

    def make(floor: str, name: str, parameters: dict[str, Any]) -> Any:
        if name != "spy":
            return discovery.make(floor, name, parameters)
        return Spy(seed=parameters["seed"], random=parameters.get("random") != "no")

    monkeypatch.setattr(runs, "make", make)
    Spy.fits.clear()
    return Spy
