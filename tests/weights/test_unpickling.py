"""Old pickles give arrays and run nothing; class names stand in the order of the outputs."""

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earsight import data
from earsight.errors import WeightsError
from earsight.weights.unpickling import unpickle_arrays


@pytest.mark.parametrize("protocol", range(6))
def test_pickled_arrays_are_read(tmp_path: Path, protocol: int) -> None:
    arrays = {
        "conv1": {"w": np.arange(6.0).reshape(2, 3), "b": np.float32([1, 2])},
        "names": [b"a"],
    }
    (tmp_path / "a").write_bytes(pickle.dumps(arrays, protocol))
    read = unpickle_arrays(tmp_path / "a")
    np.testing.assert_array_equal(read["conv1"]["w"], arrays["conv1"]["w"])
    np.testing.assert_array_equal(read["conv1"]["b"], arrays["conv1"]["b"])
    assert read["names"] == [b"a"]


def test_npy_files_are_read_pickled_or_plain(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", {"w": np.eye(3)})
    np.testing.assert_array_equal(unpickle_arrays(tmp_path / "a.npy")["w"], np.eye(3))
    np.save(tmp_path / "b.npy", np.eye(3))
    np.testing.assert_array_equal(unpickle_arrays(tmp_path / "b.npy"), np.eye(3))


class Trap:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("inside", ["plain", "npy"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, protocol: int, inside: str) -> None:
    mark = tmp_path / "ran"
    trap = {"w": np.eye(2), "x": Trap(os.mkdir, str(mark))}
    blob = pickle.dumps(trap, protocol)
    if inside == "npy":
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head, {"descr": "|O", "fortran_order": False, "shape": ()}
        )
        blob = head.getvalue() + blob
    (tmp_path / "a").write_bytes(blob)
    with pytest.raises(WeightsError, match=r"asks for (posix|nt)\.mkdir"):
        unpickle_arrays(tmp_path / "a")
    assert not mark.exists()


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "|b1", "<i8", "<c8", "|S3", "<U2", "|O"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_every_form_of_an_array_is_read(tmp_path: Path, dtype: str, protocol: int) -> None:
    row = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)
    arrays = [row, np.asfortranarray(row), row[:, :0], row[0, 0:1].reshape(())]
    (tmp_path / "a").write_bytes(pickle.dumps(arrays, protocol))
    for read, array in zip(unpickle_arrays(tmp_path / "a"), arrays, strict=True):
        assert type(read) is np.ndarray and read.dtype == array.dtype
        assert np.array_equal(read, array) and read.flags.writeable


class Stated:
    """An array or a dtype as a pickle may have it, with any state."""

    def __init__(self, of: object, state: object) -> None:
        self.of, self.state = of, state

    def __reduce__(self) -> tuple[object, ...]:
        function, arguments, *_ = self.of.__reduce__()  # type: ignore[misc]
        return function, arguments, self.state


F4 = np.dtype("<f4")


@pytest.mark.parametrize(
    "wrong",
    [
        Stated(np.zeros(1), (1, (9,), F4, False, b"\0" * 4)),
        Stated(np.zeros(1), (1, (-1, -1), F4, False, b"\0" * 4)),
        Stated(np.zeros(1), (1, (1,), np.dtype("O"), False, b"\0" * 8)),
        Stated(np.zeros(1), (1, (1,), F4, False, [1.0])),
        Stated(
            np.zeros(1), (1, (1,), Stated(F4, (3, "<", None, None, None, 9**9, -1, 63)), 0, b"")
        ),
        Stated(
            np.zeros(1), (1, (1,), Stated(F4, (3, "<", (F4, (9**9,)), None, None, 4, 4, 0)), 0, b"")
        ),
        Stated(np.zeros(1), ()),
    ],
    ids=["short", "negative", "pointers", "list", "alignment", "subarray", "nothing"],
)
def test_an_array_that_says_more_than_it_holds_is_refused(tmp_path: Path, wrong: Stated) -> None:
    """numpy's own unpickling trusts such numbers, up to a crash."""
    (tmp_path / "a").write_bytes(pickle.dumps({"w": wrong}, 2))
    with pytest.raises(WeightsError, match="not a readable pickle"):
        unpickle_arrays(tmp_path / "a")


@pytest.mark.parametrize(
    "blob", [b"", b"no pickle", pickle.dumps({"a": 1})[:-4], b"\x93NUMPY\x01\x00"]
)
def test_a_damaged_pickle_is_called_that(tmp_path: Path, blob: bytes) -> None:
    (tmp_path / "a").write_bytes(blob)
    with pytest.raises(WeightsError, match="not a readable pickle"):
        unpickle_arrays(tmp_path / "a")


def test_class_names_are_in_the_networks_order() -> None:
    audio, image = data.audioset_names(), data.imagenet_names()
    assert len(audio) == len(set(audio)) == 521 and len(image) == 1000
    assert audio[69] == "Dog" and audio[0] == "Speech" and audio[520] == "Field recording"
    assert image[281].startswith("tabby") and image[967] == "espresso"
