"""Limits of feature files: what they may ask for, by value, and what is refused unread."""

import io
import os
import struct
import tracemalloc
import zipfile
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

from _features import AUDIO, make_steps, save
from _hostile_files import STRINGS, make, npy
from earsight.errors import FeatureFileError
from earsight.features import PairedFeatures, read_features, write_features
from earsight.untrusted import LIMIT


@contextmanager
def little_memory(most=8 << 20):
    """Nothing in here may take more, which numpy's arrays count towards."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def refused(path, message):
    with little_memory(), pytest.raises(FeatureFileError, match=message) as error:
        read_features(path)
    assert str(path) in str(error.value)


def bomb(path, **others):
    """20 MB of zeros in 20 KB, and small arrays beside."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("audio.npy", "w", force_zip64=True) as file:
            file.write(npy(b"", "<f4", (5_000_000, 1)))
            for _ in range(20):
                file.write(bytes(1_000_000))
        for name, array in others.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asarray(array))
    assert path.stat().st_size < 30_000
    return path


def test_a_zip_bomb_is_refused_by_its_counts(tmp_path):
    path = bomb(tmp_path / "a.npz", labels=range(6))
    refused(path, "`labels` must have one value for each of the 5000000 rows; got 6")


def test_a_zip_bomb_is_refused_by_its_size(tmp_path, monkeypatch):
    path = bomb(tmp_path / "a.npz")
    monkeypatch.setenv(LIMIT, "10MB")
    refused(path, r"asks for 40,\d*,\d* bytes of memory, more than .* 10,000,000.*BYTES=1GiB")
    monkeypatch.setenv(LIMIT, "50MB")
    assert read_features(path).views["audio"].shape == (5_000_000, 1)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ((6, 4), "must have the 96 bytes that its shape .* the archive says 72"),
        ((2**40, 2**20), "must have the 4,611,686,018,427,387,904 bytes"),
        ((-6, -3), "must be plain numbers or text"),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, said, message):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("audio.npy", npy(AUDIO.tobytes(), "<f4", said))
    refused(tmp_path / "a.npz", message)


@pytest.mark.parametrize("by", [-1, 1])
def test_a_directory_that_lies_is_refused(tmp_path, by):
    """The sizes of the archive and the header agree, and other bytes come."""
    path = tmp_path / "a.npz"
    data = npy(AUDIO.tobytes(), "<f4", (6, 3))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("audio.npy", data)
    content = path.read_bytes()
    real, said = struct.pack("<I", len(data)), struct.pack("<I", len(data) + 12 * by)
    other = content.replace(real, said)
    shape = npy(b"", "<f4", (6 + by, 3))
    inner = zipfile.ZipFile(io.BytesIO(content)).infolist()[0]
    assert other != content and inner.file_size == len(data)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("audio.npy", shape + AUDIO.tobytes())
    path.write_bytes(path.read_bytes().replace(real, said))
    refused(path, "must have the .* bytes that it declares|damaged")


def test_a_name_that_comes_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in ("audio.npy", "audio"):
            archive.writestr(name, npy(AUDIO.tobytes(), "<f4", (6, 3)))
    refused(tmp_path / "a.npz", "`audio` comes twice")


def test_other_compressions_than_numpys_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("audio.npy", npy(AUDIO.tobytes(), "<f4", (6, 3)))
    refused(tmp_path / "a.npz", "`audio` must be stored or deflated")


def test_too_many_arrays_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for number in range(1001):
            archive.writestr(f"{number}.npy", b"")
    refused(tmp_path / "a.npz", "may hold 1000 arrays; got 1001")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number in range(1001):
            file[str(number)] = h5py.SoftLink("/")
    refused(tmp_path / "a.h5", "may hold 1000 arrays; got 1001")


@pytest.mark.parametrize("n", [10**12, 10**8])
@pytest.mark.parametrize("name", ["audio", "audio_steps", "labels"])
def test_rows_that_hdf5_only_declares_are_refused(tmp_path, n, name):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if name != "audio":
            file["audio"] = AUDIO
        shape = (n,) if name == "labels" else (n, 3)
        file.create_dataset(name, shape, "f4", chunks=True)[0] = 1
    assert (tmp_path / "a.h5").stat().st_size < 10_000_000
    refused(tmp_path / "a.h5", rf"`{name}` declares [\d,]* bytes, .* its numbers are not there")


@pytest.mark.parametrize(
    ("arrays", "n", "message"),
    [
        ({"audio": (9_000_000, 1)}, 1, "The file asks for 72,000,000 bytes"),
        ({"audio": (1_000_000, 2, 1)}, 1, "The file asks for 88,000,000 bytes"),
        ({"audio_steps": (2, 1_000_000)}, 2, "The file asks for "),
        ({"audio": (6, 3), "labels": (3_000_000, 3)}, 6, "`labels` must have one value for each"),
    ],
)
def test_what_hdf5_asks_for_is_below_a_limit(tmp_path, monkeypatch, arrays, n, message):
    monkeypatch.setenv(LIMIT, "16MiB")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, shape in arrays.items():
            file.create_dataset(name, shape, "f4")
        if "audio_steps" in file:
            file["audio_offsets"] = np.arange(n + 1)
    refused(tmp_path / "a.h5", message)


def test_steps_count_when_they_are_read(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    steps = PairedFeatures({"a": AUDIO}, steps={"a": make_steps([9_000] * 6, 3)})
    write_features(path, steps)
    features = read_features(path)
    monkeypatch.setenv(LIMIT, "640kB")
    with pytest.raises(FeatureFileError, match="rows 0 to 54000, asks for 648,000 bytes"):
        list(features.steps["a"])
    monkeypatch.setenv(LIMIT, "650kB")
    assert len([*features.steps["a"]]) == 6


def test_texts_that_all_lie_in_one_place_count_each(tmp_path, monkeypatch):
    """A damaged file may say of a million rows that they are one long text."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["audio"] = np.ones((1000, 1), "f4")
        ids = file.create_dataset("ids", (1000,), STRINGS)
        ids[0] = "x" * 1_000_000
        ids[1:] = "x"
        at = ids.id.get_offset()
    data = bytearray(path.read_bytes())
    data[at : at + 16_000] = data[at : at + 16] * 1000
    path.write_bytes(data)
    monkeypatch.setenv(LIMIT, "1GiB")
    refused(path, "`ids` asks for 3,000,160,000 bytes")
    monkeypatch.setenv(LIMIT, "64MiB")
    with h5py.File(path, "r+") as file:  # where the lengths cannot be had, few are read at once
        del file["ids"]
        ids = file.create_dataset("ids", (1000,), STRINGS, chunks=(1000,))
        ids[:] = "x" * 100_000
    with little_memory(64 << 20), pytest.raises(FeatureFileError, match="`ids` asks for"):
        read_features(path)


def test_what_is_put_in_the_place_of_steps_is_not_followed(tmp_path):
    path = make(tmp_path / "a.h5", "ours")
    features = read_features(path)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["audio_steps"] = np.ones((10, 3), "f4")
    with h5py.File(path, "r+") as file:
        del file["audio_steps"]
        file["audio_steps"] = h5py.ExternalLink("other.h5", "audio_steps")
    with pytest.raises(FeatureFileError, match="`audio_steps` is a link"):
        features.steps["audio"][0]
    with h5py.File(path, "r+") as file:
        del file["audio_steps"]
        file["audio_steps"] = np.ones((10, 4), "f4")
    with pytest.raises(FeatureFileError, match="`audio_steps` has changed"):
        features.steps["audio"][0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[" * 100 + "]" * 100, "nested 64 times"),
        ('{"a": NaN}', "JSON has no NaN"),
        ('{"a": "\\ud800"}', "no Unicode text|surrogates"),
        ("1" * 5000, "integer string conversion"),
        (b"caf\xe9", "not UTF-8"),
        (np.nan, "must be finite"),
        (np.zeros(1, [("x", "f4")]), "must be numbers or text"),
        (h5py.Empty("f4"), "must be numbers or text"),
    ],
    ids=range(8),
)
def test_attributes_that_are_no_plain_values_are_refused(tmp_path, value, message):
    with h5py.File(save(tmp_path / "a.h5", audio=AUDIO), "r+") as file:
        file["audio"].attrs["extractor"] = value
    refused(tmp_path / "a.h5", f"`extractor`.*({message})")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (np.array(["a", "b\0c"] * 3), "`ids` holds text with a NUL"),
        (np.array(["a", "\udcff"] * 3), "`ids` holds what is no Unicode"),
        (np.full(12, 0x110000, "<u4").view("<U2"), "`ids` holds what is no Unicode"),
        (np.array([b"a", b"\xff"] * 3), "`ids` holds text that is not UTF-8"),
    ],
)
def test_columns_that_are_no_text_are_refused(tmp_path, text, message):
    refused(save(tmp_path / "a.npz", audio=AUDIO, ids=text), message)


def test_a_pipe_in_the_place_of_a_file_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    refused(tmp_path / "a.npz", "is missing")
