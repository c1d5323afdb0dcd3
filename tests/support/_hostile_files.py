"""Feature files as no Earsight writes them: valid ones with something changed."""

import io
import math
import struct
import warnings
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
from hypothesis import strategies as st

from _features import AUDIO, RNG, VISUAL, make_steps, save
from earsight.features import PairedFeatures, write_features

LAYOUTS = ["ours", "author's", "3-dimensional"]


def make(path, layout):
    if layout == "ours":
        steps = {"audio": make_steps([2, 1, 3, 1, 2, 1], 3)}
        columns = {"labels": list("xyxyxy"), "ids": list("abcdef"), "group": np.arange(6)}
        provenance = {"hop": 0.5, "audio": {"extractor": "vggish", "weights": {"a": "b"}}}
        views = {"audio": AUDIO, "visual": VISUAL}
        write_features(path, PairedFeatures(views, **columns, steps=steps, provenance=provenance))
    elif layout == "author's":
        parts = {"audio": AUDIO, "visual": VISUAL, "lab": np.arange(6)}
        arrays = {f"{m}_train": x[:4] for m, x in parts.items()}
        save(path, **arrays, **{f"{m}_test": x[4:] for m, x in parts.items()})
    else:
        save(path, audio=RNG.normal(size=(6, 4, 3)).astype("f4"), visual=VISUAL, labels=range(6))
    return path


@cache
def content_of(layout, ending):
    with TemporaryDirectory() as folder:
        return make(Path(folder) / f"a.{ending}", layout).read_bytes()


BYTES = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8
)
NUMBERS = st.sampled_from([0, 1, 5, 6, 7, 2**16 - 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from(
    [
        "<f4",
        ">f4",
        "<f8",
        "<f2",
        "<f16",
        "<i1",
        "<u1",
        "<i8",
        ">i8",
        "<u8",
        "|b1",
        "<c8",
        "<U1",
        ">U3",
        "<U0",
        "|S1",
        "|S0",
        "|O",
        "|V4",
        "<M8[s]",
        "<m8",
        "(3,)f4",
        "f4,i4",
        "(1000000,)f8",
        "nonsense",
    ]
)
AXES = st.sampled_from([0, 1, 2, 3, 5, 6, 7, 8, -1, 2**31, 2**40, 2**62, 2**64])
SHAPES = st.lists(AXES, max_size=4).map(tuple)
TEXTS = st.sampled_from(
    [
        *("NaN", "[1, Infinity]", "[" * 5000, "9" * 5000, '"\\ud800"', '{"audio": 3}', "", "\0"),
        *('["audio", "audio"]', '["labels"]', '[["audio"]]', "{}", "1e999", '{"hop": 1e308}'),
        *('{"audio": {"hop": "x"}}', '{"format": [1]}', '{"clips": "\\udc80"}', '["nowhere"]'),
        '{"modalities": ["audio"], "format": 1}',
    ]
)


def harmed(content, changes):
    data = bytearray(content)
    for place, value in changes:
        data[int(place * len(data))] = value
    return bytes(data)


def npy(array_bytes, descr, shape, columns_first=False, version=(1, 0)):
    header = f"{{'descr': {descr!r}, 'fortran_order': {columns_first}, 'shape': {shape!r}, }}"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + length + header.encode() + array_bytes


@st.composite
def npz_headers(draw):
    """A valid archive in which some arrays say something else of themselves."""
    content = content_of(draw(st.sampled_from(LAYOUTS)), "npz")
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        names = old.namelist()
        chosen = draw(st.sets(st.sampled_from(names), min_size=1, max_size=2))
        for name in names:
            data = old.read(name)
            if name in chosen:
                body = draw(st.binary(max_size=200)) * draw(st.sampled_from([1, 1, 3]))
                dtype, shape = draw(DTYPES), draw(SHAPES)
                version = draw(st.sampled_from([(1, 0), (2, 0), (3, 0)]))
                data = npy(body, dtype, shape, draw(st.booleans()), version)
            as_name = draw(st.sampled_from([name, name, name, names[0]]))
            with warnings.catch_warnings(action="ignore"):  # that a name comes twice
                new.writestr(as_name, data)
    return out.getvalue()


@st.composite
def npz_arrays(draw):
    """An archive of arrays that say the truth, some of which do not belong there."""
    content = content_of(draw(st.sampled_from(LAYOUTS)), "npz")
    with np.load(io.BytesIO(content)) as old:
        arrays = dict(old)
    for name in draw(st.sets(st.sampled_from([*arrays, "attributes", "format"]), min_size=1)):
        arrays[name] = draw(ARRAYS | TEXTS.map(np.asarray))
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


@st.composite
def zip_directories(draw):
    """A valid archive whose directory has other numbers."""
    data = bytearray(content_of(draw(st.sampled_from(LAYOUTS)), "npz"))
    marks = [at for sign in (b"PK\1\2", b"PK\3\4", b"PK\5\6") for at in _places(data, sign)]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.sampled_from(marks)) + draw(st.integers(4, 44))
        value = draw(NUMBERS)
        width = draw(st.sampled_from([2, 4]))
        end = min(len(data), at + width)
        data[at:end] = struct.pack("<I", value)[: max(0, end - at)]
    return bytes(data)


def _places(data, sign):
    at = data.find(sign)
    while at >= 0:
        yield at
        at = data.find(sign, at + 1)


@st.composite
def small_arrays(draw):
    dtype = draw(
        st.sampled_from(["f4", ">f8", "f2", "i1", "u1", "u8", "?", "c8", "U2", "S3", "M8[s]"])
    )
    shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 5, 6, 7]), max_size=4))
    size = int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize
    fill = draw(st.binary(min_size=1, max_size=16))
    return np.frombuffer((fill * (size + 1))[:size], dtype).reshape(shape)


ARRAYS = small_arrays()


@st.composite
def changed_bytes(draw):
    return harmed(content_of(draw(st.sampled_from(LAYOUTS)), "npz"), draw(BYTES))


STRINGS = h5py.string_dtype()
ODD_DTYPES = [
    h5py.ref_dtype,
    h5py.regionref_dtype,
    h5py.vlen_dtype(np.dtype("f4")),
    h5py.enum_dtype({"a": 1, "b": 2}),
    h5py.opaque_dtype(np.dtype("M8[s]")),
    np.dtype([("x", "f4"), ("y", "S3")]),
    np.dtype(("f4", (2, 2))),
    np.dtype("V5"),
    STRINGS,
]
DECLARED = st.lists(st.sampled_from([0, 1, 3, 5, 6, 7, 2**20, 10**9, 2**40]), max_size=4)
ATTRIBUTES = (
    TEXTS.filter(lambda text: "\0" not in text)
    | ARRAYS.filter(lambda array: array.dtype.kind not in "UM")
    | st.sampled_from(
        [
            *(np.nan, np.inf, 10**18, b"\xff\xfe", h5py.Empty("f4"), h5py.Empty(STRINGS)),
            *(np.array(["a", b"\xff"], dtype=STRINGS), np.array(["audio"] * 40, dtype=STRINGS)),
            np.zeros(2, dtype=[("x", "f4")]),
        ]
    )
)


def replace(file, name, draw):
    """Put something else in the place of a member."""
    kind = draw(st.sampled_from(["array", "declared", "odd", "texts", "empty", "link", "group"]))
    if name in file:
        del file[name]
    if kind == "array":
        array = draw(ARRAYS.filter(lambda array: array.dtype.kind not in "UM"))
        file.create_dataset(name, data=array)
    elif kind == "declared":
        shape = tuple(draw(DECLARED))
        chunks = tuple(max(1, min(axis, 8)) for axis in shape) or None
        most = (None,) * len(shape) or None
        dtype = draw(st.sampled_from(["f4", "u1", "S9", "i8", "f2"]))
        fill = None if dtype == "S9" else draw(st.sampled_from([0, 1]))
        made = file.create_dataset(name, shape, dtype, chunks=chunks, maxshape=most, fillvalue=fill)
        if draw(st.booleans()) and 0 < math.prod(shape) < 2**60:
            made[(0,) * made.ndim] = 1
    elif kind == "odd":
        file.create_dataset(name, (6,), draw(st.sampled_from(ODD_DTYPES)))
    elif kind == "texts":
        texts = draw(
            st.lists(st.sampled_from(["a", "", b"\xff", b"\xed\xb2\x80", "é" * 50]), min_size=6)
        )
        file.create_dataset(name, data=texts[:6], dtype=STRINGS)
    elif kind == "empty":
        file.create_dataset(name, data=h5py.Empty("f4"))
    elif kind == "group":
        file.create_group(name)
    else:
        to = draw(st.sampled_from(["/", "/visual", "/nowhere", f"/{name}"]))
        links = (h5py.SoftLink(to), h5py.ExternalLink("nowhere.h5", to))
        file[name] = draw(st.sampled_from([*links, np.dtype("f4"), file["/"]]))


@st.composite
def hdf5(draw):
    """A valid file in which some members or attributes are others."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        path.write_bytes(content_of(draw(st.sampled_from(LAYOUTS)), "h5"))
        with h5py.File(path, "r+") as file:
            names = [*file, *("audio_steps", "audio_offsets", "audio_times", "labels", "odd")]
            for _ in range(draw(st.integers(1, 3))):
                name = draw(st.sampled_from(names))
                if draw(st.booleans()):
                    replace(file, name, draw)
                    continue
                owner = file[name] if isinstance(file.get(name), h5py.Dataset) else file
                keys = ["format", "modalities", "hop", "clips", "audio", "extractor", "ä"]
                owner.attrs[draw(st.sampled_from(keys))] = draw(ATTRIBUTES)
        return path.read_bytes()


NPZ = npz_headers() | npz_arrays() | zip_directories() | changed_bytes()
HDF5 = hdf5()
