"""State dicts, in both forms that torch has written: as torch reads them, and nothing else."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from earsight.errors import WeightsError
from earsight.weights import read_state_dict

FORMS = pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])


def saved(state: Mapping[str, object], path: Path, old: bool) -> Path:
    torch.save(state, path, _use_new_zipfile_serialization=not old)
    return path


@FORMS
def test_tensors_are_those_that_torch_reads(old: bool, tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    state = torch.nn.BatchNorm1d(3).state_dict() | {
        "transposed": whole.T,
        "part": whole[1:3, 2:5],
        "empty": torch.zeros(0, 3),
        "single": torch.tensor(2.5, dtype=torch.float64),
        "half": torch.ones(2, dtype=torch.float16),
        "bytes": torch.ones(3, dtype=torch.uint8),
        "truth": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    path = saved(state, tmp_path / "net.pth", old)
    expected, found = torch.load(path, weights_only=True), read_state_dict(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        array = tensor.detach().numpy()
        assert found[name].dtype == array.dtype and found[name].flags.c_contiguous
        assert np.array_equal(found[name], array), name


class Runs:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path("run"),)


@FORMS
@pytest.mark.parametrize(
    "fault",
    ["code", "a module", "no tensors", "a list", "cut off", "empty", "beyond", "short", "bfloat16"],
)
def test_what_is_no_state_dict_is_refused_and_runs_nothing(
    fault: str, old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    contents = {
        "code": {"w": Runs()},
        "a module": torch.nn.Linear(2, 2),
        "no tensors": {"w": "text"},
        "a list": [torch.zeros(1)],
        "bfloat16": {"w": torch.zeros(1, dtype=torch.bfloat16)},
    }
    path = saved(contents.get(fault, {"w": torch.zeros(3, 5)}), tmp_path / "net.pth", old)
    blob = path.read_bytes()
    # The shape (3, 5) and the number of elements, 15, as the pickle writes small numbers.
    changes = {"beyond": (b"K\x03K\x05", b"K\x7fK\x05"), "short": (b"K\x0f", b"K\x10")}
    if fault == "cut off":
        path.write_bytes(blob[:-200])
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault in changes and old:
        path.write_bytes(blob.replace(*changes[fault], 1))
    elif fault in changes:
        with zipfile.ZipFile(path) as made, zipfile.ZipFile(tmp_path / "bad.pth", "w") as bad:
            for name in made.namelist():
                bad.writestr(name, made.read(name).replace(*changes[fault], 1))
        path = tmp_path / "bad.pth"
    with pytest.raises(WeightsError, match="not a readable state dict of tensors alone"):
        read_state_dict(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("blob", [b"no file of torch", pickle.dumps(1) * 4, pickle.dumps({}) * 3])
def test_other_files_are_refused(blob: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(blob)
    with pytest.raises(WeightsError, match="not a readable state dict"):
        read_state_dict(tmp_path / "net.pth")
