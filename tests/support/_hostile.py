"""Saved models of every kind, and how a stranger might change their files; for tests."""

import hashlib
import json
import struct
import warnings
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from hypothesis import HealthCheck

import earsight
from earsight.features import FeatureSequence, StepTable

KINDS = {
    "cca": {},
    "cluster_cca": {"n_components": 2},
    "semantic": {},
    "scm": {"classifier": "logistic"},
    "concord": {},
    "zero_shot": {"prior": {"audio": [0.0] * 4}},
    "auto": {},
    "tnn": {"epochs": 1, "hidden": (5,), "n_components": 3},
    "dcca": {"epochs": 1, "hidden": (5,), "n_components": 2},
    "contrastive": {"epochs": 1, "hidden": (5,), "pooling": "gru"},
}
WIDTH, N = 4, 24
LABELS = np.arange(N) % 3
Files = dict[str, bytes]


def views(pooling: bool) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    rows = {name: rng.normal(size=(N, WIDTH)) + LABELS[:, None] for name in ("audio", "visual")}
    if not pooling:
        return rows
    return {
        name: StepTable.of(
            FeatureSequence(np.stack([row, row + 1]).astype(np.float32), np.arange(2.0))
            for row in x
        )
        for name, x in rows.items()
    }


@cache
def saved(name: str) -> tuple[tuple[str, bytes], ...]:
    """Return the files of a fitted model, as pairs."""
    from tempfile import TemporaryDirectory

    model = earsight.method(name, **KINDS[name]).fit(views("pooling" in KINDS[name]), labels=LABELS)
    with TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        return tuple((path.name, path.read_bytes()) for path in (Path(folder) / "model").iterdir())


def files_of(name: str) -> Files:
    return dict(saved(name))


def written(files: Files, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def used(folder: Path) -> None:
    """Load a model and map a row of each modality: finite points, or an error of ours."""
    model = earsight.load_model(folder)
    for modality in ("audio", "visual"):
        for scale in (1.0, 1e6):
            x = np.linspace(-scale, scale, WIDTH)[None]
            steps = StepTable.of([FeatureSequence(x.astype(np.float32), np.zeros(1))])
            points = model.transform(modality, steps)
            assert points.shape[0] == 1 and np.isfinite(points).all()


def tensors_name(files: Files) -> str:
    return next(name for name in files if name.startswith("tensors-"))


def with_tensors(files: Files, data: bytes) -> Files:
    """Put other tensors in the place of a model's, with the checksum that they have."""
    header = json.loads(files["model.json"])
    digest = hashlib.sha256(data).hexdigest()
    name = f"tensors-{digest[:12]}.safetensors"
    header |= {"tensors": name, "sha256": digest}
    return {"model.json": json.dumps(header).encode(), name: data}


def taken_apart(data: bytes) -> tuple[dict[str, Any], bytes]:
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def joined(header: Any, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


STRANGE = [
    *(None, True, False, 0, 1, -1, 3, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, 5e-324),
    *("", "a", "audio", "..", "../../etc/hosts", "/etc/hosts", "\0", "\ud800", "x" * 5000),
    *("F64", "BF16", "F8_E4M3", "I64", "BOOL", "tensor", "concord", "auto", "svm"),
    *([], {}, [[]], [1, 2], ["a"], [["a", 1]], {"tensor": "a"}, {"mapping": []}),
    *({"strings": ["a"]}, {"strings": [1]}, {"mapping": [["a", 1], ["a", 2]]}, {"mapping": {}}),
    *({"tensor": []}, {"tensor": "learned/mean_/audio", "mapping": []}, [2**40], [0, 2**62]),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all that lies in a JSON value, but not itself."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    return [p for key, item in items for p in [(*path, key), *places(item, (*path, key))]]


def mutated(value: Any, r: Random) -> Any:
    """Change a JSON value in one to three places, at random."""
    value = json.loads(json.dumps(value))
    for _ in range(r.randint(1, 3)):
        found = places(value)
        if not found:
            return r.choice(STRANGE)
        *above, key = r.choice(found)
        inside = value
        for each in above:
            inside = inside[each]
        match r.choice(["replace", "delete", "copy", "nest", "other", "rename"]):
            case "replace":
                inside[key] = r.choice(STRANGE)
            case "delete":
                del inside[key]
            case "copy" if isinstance(inside, list):
                inside.append(inside[key])
            case "nest":
                for _ in range(r.choice([1, 3, 70, 200])):
                    inside[key] = [inside[key]] if r.random() < 0.5 else {"a": inside[key]}
            case "rename" if isinstance(inside, dict):
                name = r.choice([x for x in STRANGE if isinstance(x, str)])
                inside[name] = inside.pop(key)
            case _:  # what stands elsewhere
                other: Any = value
                for each in r.choice(found):
                    if not isinstance(other, dict | list):
                        break
                    if isinstance(other, list) and not (type(each) is int and each < len(other)):
                        break
                    if isinstance(other, dict) and each not in other:
                        break
                    other = other[each]
                inside[key] = json.loads(flat(other))
    return value


def flat(value: Any) -> str:
    """Write JSON that may be nested too deep for `json` itself to write."""
    try:
        return json.dumps(value)
    except RecursionError:
        return "[" * 5000 + "]" * 5000


def hostile(r: Random) -> tuple[str, Files]:
    """Draw a saved model in which something is wrong."""
    name = r.choice(list(KINDS))
    files = files_of(name)
    header, tensors = json.loads(files["model.json"]), files[tensors_name(files)]
    match r.choice(["json", "learned", "header", "arrays", "bytes", "swap", "text"]):
        case "json":
            files["model.json"] = flat(mutated(header, r)).encode("utf-8", "surrogatepass")
        case "learned":
            part = r.choice(["learned", "hyperparameters"])
            header[part] = mutated(header[part], r)
            files["model.json"] = flat(header).encode("utf-8", "surrogatepass")
        case "header":
            about, body = taken_apart(tensors)
            text = flat(mutated(about, r)).encode("utf-8", "surrogatepass")
            size = r.choice([len(text)] * 6 + [0, 8, 2**31, 2**63, 2**64 - 1])
            files = with_tensors(files, struct.pack("<Q", size) + text + body)
        case "arrays":  # the header is true, the numbers and shapes are not those of the model
            from safetensors.numpy import load, save

            arrays = dict(load(tensors))
            for _ in range(r.randint(1, 3)):
                key = r.choice(list(arrays))
                arrays[key] = changed(arrays[key], r)
            files = with_tensors(files, save(arrays))
        case "bytes":
            data = bytearray(r.choice([tensors, files["model.json"]]))
            own = len(data) == len(files["model.json"])
            for _ in range(r.randint(1, 8)):
                data[r.randint(0, len(data) - 1)] = r.randint(0, 255)
            data = data[: r.choice([len(data)] * 4 + [0, 7, 9, len(data) // 2])]
            if own:
                files["model.json"] = bytes(data)
            else:
                files = with_tensors(files, bytes(data))
        case "swap":
            other = files_of(r.choice(list(KINDS)))
            if r.random() < 0.5:
                files = with_tensors(files, other[tensors_name(other)])
            else:
                header["method"] = json.loads(other["model.json"])["method"]
                if r.random() < 0.5:
                    header["hyperparameters"] = json.loads(other["model.json"])["hyperparameters"]
                files["model.json"] = json.dumps(header).encode()
        case "text":
            files["model.json"] = r.choice(
                [b"", b"[]", b"null", b"\xff", b"{" * 9999, b"[" * 9999, b"1" * 5000]
            )
    return name, files


def changed(x: np.ndarray, r: Random) -> np.ndarray:
    """Return an array of another shape, type or content."""
    match r.choice(["nan", "huge", "cut", "flat", "deep", "type", "empty", "negative"]):
        case "nan":
            return np.full_like(x, np.nan) if x.dtype.kind == "f" else x - 1
        case "huge":
            return np.full_like(x, 1e300 if x.dtype == np.float64 else 1)
        case "cut":
            return np.ascontiguousarray(x[:-1]) if x.ndim else x
        case "flat":
            return x.reshape(-1, 1)
        case "deep":
            return x[None].copy()
        case "type":
            kinds = [np.float16, np.int8, np.bool_, np.uint64, np.complex64, np.float32]
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return x.astype(r.choice(kinds))
        case "empty":
            return np.empty((0, *x.shape[1:]), x.dtype)
        case _:
            return -x if x.dtype.kind == "f" else x


USUAL = {"derandomize": True, "deadline": None, "suppress_health_check": list(HealthCheck)}


def with_model(files: Files, **changes: Any) -> Files:
    header = json.loads(files["model.json"]) | changes
    return files | {"model.json": flat(header).encode("utf-8", "surrogatepass")}


def learned(files: Files, **changes: Any) -> Files:
    """Change parts of what was learned; None leaves a part out."""
    pairs = dict(json.loads(files["model.json"])["learned"]["mapping"]) | changes
    kept = [[name, value] for name, value in pairs.items() if value is not None]
    return with_model(files, learned={"mapping": kept})


def chosen(files: Files, **changes: Any) -> Files:
    pairs = dict(json.loads(files["model.json"])["hyperparameters"]["mapping"]) | changes
    return with_model(files, hyperparameters={"mapping": [[*pair] for pair in pairs.items()]})


def mapping(**values: Any) -> Any:
    return {"mapping": [[*pair] for pair in values.items()]}


def tensor(name: str) -> Any:
    return {"tensor": name}
