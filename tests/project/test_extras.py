"""What comes with an extra is not needed without it, and who needs it says how to get it."""

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

import earsight
from earsight import extras
from earsight.errors import InputError, WeightsError
from earsight.experiments.compare import lacking_methods, split_specs

ROOT = Path(__file__).parents[2]


def without(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "is_here", lambda name: name != extra)


def test_each_extra_is_one_of_the_package_and_brings_its_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra, package in extras.PACKAGES.items():
        brought = {Requirement(line).name for line in project["optional-dependencies"][extra]}
        assert package in brought, extra
    always = {Requirement(line).name for line in project["dependencies"]}
    assert not always & {"opencv-python-headless", "pandas", *extras.PACKAGES.values()}


@pytest.mark.parametrize(
    "method", ["tnn", "dcca", "c_dcca", "s_dcca", "contrastive", "adversarial"]
)
def test_a_method_that_trains_networks_says_what_it_needs(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("deep", monkeypatch)
    x = np.random.default_rng(0).normal(size=(40, 5))
    said = rf"Training {method} needs torch, which is not installed: pip install 'earsight\[deep\]'"
    with pytest.raises(InputError, match=said):
        earsight.method(method).fit({"audio": x, "visual": x}, labels=np.arange(40) % 4)


def test_a_comparison_leaves_them_out_and_auto_does_not_need_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert lacking_methods() == {} and "tnn" in split_specs("all")
    without("deep", monkeypatch)
    (names,) = lacking_methods().values()
    assert {"tnn", "dcca", "contrastive"} <= set(names)
    assert "cca" in split_specs("all") and not set(names) & set(split_specs("all"))
    assert split_specs("all,tnn")[-1] == "tnn"  # who asks for one is told what it needs


def test_a_foundation_model_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    without("foundation", monkeypatch)
    with pytest.raises(WeightsError, match=r"needs transformers.*pip install 'earsight\[found"):
        earsight.extractor("clip").fetch_weights()


def test_networks_are_written_and_run_without_torch_opencv_and_pandas() -> None:
    """In a process where none of them can be imported."""
    code = """
import sys
for name in ("torch", "cv2", "pandas"):
    sys.modules[name] = None
import numpy as np
import earsight
from pathlib import Path
from tempfile import TemporaryDirectory
from earsight import weights
from earsight.extractors import efficientnet, motion
with TemporaryDirectory() as folder:
    efficientnet.convert(weights.fetch("efficientnet_lite0"), Path(folder))
    frames = np.zeros((1, 224, 224, 3), dtype=np.uint8)
    session = efficientnet.onnx.session(Path(folder) / "model.onnx")
    assert session.run(["embedding"], {"frames": frames})[0].shape == (1, 1280)
assert motion.small_grey(frames).shape == (1, 128, 160)
x = np.random.default_rng(0).normal(size=(40, 5))
for labels in (None, np.arange(40) % 4):
    earsight.method("auto").fit({"audio": x, "visual": x + 1.0}, labels)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
