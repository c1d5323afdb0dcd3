"""Tensors out of TorchScript archives: as torch reads them, and nothing else that a pickle says."""

import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from earsight.errors import WeightsError
from earsight.weights.torchscript import read_torchscript


class Inner(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, (1, 3))
        self.norm = torch.nn.BatchNorm2d(4)  # its count of batches is a whole number
        self.sizes = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))


class Outer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Inner(), Inner()
        self.single = torch.nn.Parameter(torch.tensor(2.5))
        self.none = torch.nn.Parameter(torch.zeros(0, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.single * self.first(x)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript old
        torch.jit.script(Outer()).save(str(tmp_path / "net.pt"))
    return tmp_path / "net.pt"


def rewritten(archive: Path, member: str, content: bytes) -> Path:
    changed = archive.with_name("changed.pt")
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith(member) else old.read(name))
    return changed


def test_tensors_are_those_that_torch_reads(archive: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.jit.load(str(archive)).state_dict()
    found = read_torchscript(archive)
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.numpy().dtype
        assert np.array_equal(found[name], value.numpy()), name


def test_a_class_may_stand_in_no_package(tmp_path: Path) -> None:
    class Net(torch.nn.Linear):
        __module__ = "__main__"
        __qualname__ = "Net"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Net(2, 3), torch.zeros(1, 2)).save(str(tmp_path / "net.pt"))
    with zipfile.ZipFile(tmp_path / "net.pt") as opened:
        (pickled,) = (opened.read(n) for n in opened.namelist() if n.endswith("/data.pkl"))
    assert b"c__torch__\n" in pickled
    assert read_torchscript(tmp_path / "net.pt")["weight"].shape == (3, 2)


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("run"),))


def test_a_pickle_with_code_inside_runs_nothing(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    changed = rewritten(archive, "/data.pkl", pickle.dumps(_Runs(), protocol=2))
    with pytest.raises(WeightsError, match=r"asks for .*getattr; only modules that hold tensors"):
        read_torchscript(changed)
    assert not (tmp_path / "run").exists()


def test_the_program_inside_is_never_compiled(archive: Path) -> None:
    changed = rewritten(archive, ".py", b"this is no program")
    with pytest.raises(RuntimeError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(str(changed))
    assert read_torchscript(changed).keys() == read_torchscript(archive).keys()


@pytest.mark.parametrize(
    "fault", ["cut off", "empty", "no archive", "a state dict", "short data", "later zip", "cycle"]
)
def test_a_damaged_archive_is_told(fault: str, archive: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.pt"
    match fault:
        case "cut off":
            path.write_bytes(archive.read_bytes()[:-500])
        case "empty":
            path.write_bytes(b"")
        case "no archive":
            with zipfile.ZipFile(path, "w") as made:
                made.writestr("readme", "no tensors")
        case "a state dict":
            torch.save({"weight": torch.zeros(2)}, path)
        case "short data":
            path = rewritten(archive, "/data/0", b"\0" * 8)
        case "later zip":  # the version that is needed to read the first member
            blob = archive.read_bytes()
            at = blob.index(b"PK\x01\x02")
            path.write_bytes(blob[: at + 6] + b"\x78" + blob[at + 7 :])
        case "cycle":  # a module within itself
            endless = b"\x80\x02c__torch__\nNet\nq\x00)\x81q\x01}X\x01\x00\x00\x00ah\x01sb."
            path = rewritten(archive, "/data.pkl", endless)
    with pytest.raises(WeightsError, match=r"is not a readable TorchScript archive"):
        read_torchscript(path)


def test_a_tensor_beyond_its_storage_is_refused(archive: Path) -> None:
    """Its shape says more than its bytes hold; memory beyond them must not be read."""
    with zipfile.ZipFile(archive) as opened:
        (name,) = (n for n in opened.namelist() if n.endswith("/data.pkl"))
        content = opened.read(name)
    # The first kernel's shape, (4, 3, 1, 3), as the pickle writes small numbers: K4 K3 K1 K3.
    grown = content.replace(b"K\x04K\x03K\x01K\x03", b"K\xffK\x03K\x01K\x03", 1)
    assert grown != content
    with pytest.raises(WeightsError, match=r"is not a readable TorchScript archive"):
        read_torchscript(rewritten(archive, "/data.pkl", grown))
