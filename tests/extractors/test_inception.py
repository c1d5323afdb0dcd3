"""Inception: its network against the original, its scaling, its PCAs and their 8-bit form."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import earsight
from _clips import make_clip
from earsight import discovery, weights
from earsight.errors import InputError, WeightsError
from earsight.extractors import extract_all, inception
from earsight.extractors.inception import dequantise, fit_pca, quantise, resize
from earsight.extractors.preprocessing.pca import read_pca

# The network


def test_the_converted_network_equals_the_original() -> None:
    """The TorchScript archive, run by torch as it is, batch norm unfolded; and any batch alike."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript old
        original = torch.jit.load(str(weights.fetch("inception")["default_1.pt"]))
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (3, 12, 12, 3))
    frames = np.stack([resize(frame) for frame in coarse.astype(np.uint8)])
    frames[2] = rng.uniform(0, 255, frames[2].shape)
    with torch.no_grad(), torch.jit.optimized_execution(False):
        expected = original((torch.from_numpy(frames).permute(0, 3, 1, 2) - 128) / 128).numpy()
    found = inception._network(frames)["embedding"]
    assert found.shape == (3, 2048) and expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)
    alone = np.concatenate([inception._network(frame[None])["embedding"] for frame in frames])
    np.testing.assert_allclose(alone, expected, atol=1e-4)


@pytest.mark.parametrize("fault", ["cut off", "another network", "another file"])
def test_broken_weights_are_refused(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "default_1.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    if fault == "cut off":
        path.write_bytes(path.read_bytes()[:-100])
    name = "other.pth" if fault == "another file" else path.name
    with pytest.raises(WeightsError, match=r"not a readable TorchS|is no Inception|got other.pth"):
        inception.convert({name: path}, tmp_path)


# Scaling


def slow_resize(frame: np.ndarray) -> np.ndarray:
    """One pixel at a time, by the definition."""
    height, width = frame.shape[:2]
    out = np.empty((299, 299, 3))
    for i in range(299):
        for j in range(0, 299, 23):
            y, x = i * height / 299, j * width / 299
            top, left = math.floor(y + 1e-9), math.floor(x + 1e-9)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            a, b = y - top, x - left
            out[i, j] = (1 - a) * ((1 - b) * frame[top, left] + b * frame[top, right]) + a * (
                (1 - b) * frame[bottom, left] + b * frame[bottom, right]
            )
    return out[:, ::23]


@pytest.mark.parametrize("size", [(360, 640), (1, 1), (7, 5), (299, 299), (301, 299), (900, 3)])
def test_scaling_is_its_definition(size: tuple[int, int]) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = resize(frame)
    assert found.shape == (299, 299, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found[:, ::23], slow_resize(frame.astype(float)), atol=0.05)
    if size == (299, 299):
        assert np.array_equal(found, frame)


# Principal components


@pytest.fixture
def features() -> np.ndarray:
    rng = np.random.default_rng(2)
    mixing = rng.normal(size=(2048, 2048)) * np.geomspace(1, 0.05, 2048)[:, None]
    return (rng.normal(size=(40, 2048)) @ mixing / 45 + rng.normal(size=2048)).astype(np.float32)


def youtube8m(folder: Path, seed: int = 3) -> Path:
    """A folder of the shapes that yt8m_pca.tgz holds: columns, and eigenvectors row by row."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    np.save(folder / "mean.npy", rng.uniform(0, 1, (2048, 1)))
    np.save(folder / "eigenvals.npy", np.geomspace(20, 1e-5, 2048)[:, None])
    np.save(folder / "eigenvecs.npy", rng.normal(size=(2048, 2048)).astype(np.float32) / 45)
    return folder


def test_youtube8m_s_pca_is_the_published_formula(features: np.ndarray, tmp_path: Path) -> None:
    folder = youtube8m(tmp_path / "yt8m")
    mean, values, vectors = (
        np.load(folder / f"{name}.npy").astype(np.float64)
        for name in ("mean", "eigenvals", "eigenvecs")
    )
    expected = (features - mean[:, 0]) @ vectors.T[:, :1024] / np.sqrt(values[:1024, 0] + 1e-4)
    kind = inception.Inception(pca=str(folder))
    assert kind.dim == 1024 and kind.key() == "inception.yt8m"
    found = read_pca(folder, 2048).apply(features)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_pca_of_one_s_own_whitens_what_it_was_fitted_on(
    features: np.ndarray, tmp_path: Path
) -> None:
    fit_pca(features, tmp_path / "own.safetensors", n_components=39)
    pca = read_pca(tmp_path / "own.safetensors", 2048)
    y = pca.apply(features).astype(np.float64)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-4)
    # Divided by √(λ + 10⁻⁴), so a little below 1.
    expected = np.diag(pca.eigenvalues / (pca.eigenvalues + 1e-4))
    np.testing.assert_allclose(np.cov(y.T), expected, atol=1e-3)
    assert (np.diff(pca.eigenvalues) <= 0).all()
    fit_pca(features, tmp_path / "again.safetensors", n_components=39)
    again = read_pca(tmp_path / "again.safetensors", 2048)
    assert again.checksum == pca.checksum and again.name == pca.name == f"pca-{pca.checksum[:8]}"
    fit_pca(features, tmp_path / "less.safetensors", n_components=5)
    less = read_pca(tmp_path / "less.safetensors", 2048)
    np.testing.assert_allclose(less.apply(features), y[:, :5], atol=1e-5)


@pytest.mark.parametrize("n", [5, 12, 13, 200], ids=["few", "square", "square + 1", "many"])
def test_principal_components_are_those_of_the_covariance(n: int, tmp_path: Path) -> None:
    """However many rows: the eigenvectors of np.cov, found one at a time by their property."""
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, 12)) @ rng.normal(size=(12, 12)) + 3
    rank = min(n - 1, 12)
    fit_pca(x, tmp_path / "own.safetensors", n_components=rank)
    pca = read_pca(tmp_path / "own.safetensors", 12)
    np.testing.assert_allclose(pca.mean, x.mean(axis=0), atol=1e-5)
    covariance = np.cov(x.T)
    for value, vector in zip(pca.eigenvalues, pca.eigenvectors, strict=True):
        np.testing.assert_allclose(covariance @ vector, value * vector, atol=1e-3)
        assert vector[np.abs(vector).argmax()] > 0
    np.testing.assert_allclose(pca.eigenvectors @ pca.eigenvectors.T, np.eye(rank), atol=1e-5)
    assert pca.eigenvalues.sum() == pytest.approx(np.trace(covariance), rel=1e-4)


def test_a_pca_keeps_no_more_than_there_is(features: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"from 1 to 39, the rank of these 40 features; got 40"):
        fit_pca(features, tmp_path / "own.safetensors", n_components=40)
    with pytest.raises(InputError, match=r"must end in .safetensors; got 'own.pkl'"):
        fit_pca(features, tmp_path / "own.pkl", n_components=2)
    with pytest.raises(InputError, match=r"from 1 to 0"):
        fit_pca(np.ones((3, 2048)), tmp_path / "own.safetensors", n_components=1)
    assert not list(tmp_path.iterdir())


def test_names_and_fingerprints_tell_pcas_apart(features: np.ndarray, tmp_path: Path) -> None:
    youtube8m(tmp_path / "yt8m")
    fit_pca(features, tmp_path / "own.safetensors", n_components=5)
    fit_pca(features[:30], tmp_path / "other.safetensors", n_components=5)
    places = [None, *(str(tmp_path / n) for n in ("yt8m", "own.safetensors", "other.safetensors"))]
    kinds = [inception.Inception(pca=place) for place in places]
    assert len({kind.key() for kind in kinds}) == 4
    assert len({kind.fingerprint for kind in kinds}) == 4
    (tmp_path / "own.safetensors").rename(tmp_path / "moved.safetensors")
    moved = inception.Inception(pca=str(tmp_path / "moved.safetensors"))
    assert (moved.key(), moved.fingerprint) == (kinds[2].key(), kinds[2].fingerprint)
    youtube8m(tmp_path / "changed", seed=4)
    changed = inception.Inception(pca=str(tmp_path / "changed"))
    assert changed.fingerprint != kinds[1].fingerprint


def test_one_run_of_the_network_serves_both_forms(
    features: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_pca(features, tmp_path / "own.safetensors", n_components=5)
    runs: list[int] = []

    def network(frames: np.ndarray) -> dict[str, np.ndarray]:
        runs.append(len(frames))
        return {"embedding": frames.reshape(len(frames), -1)[:, :2048].copy()}

    monkeypatch.setattr(inception, "_network", network)
    clip = make_clip(tmp_path / "clip.mp4", 2.5, audio=False)
    spec = f"inception:pca={tmp_path / 'own.safetensors'}"
    own = earsight.extractor("inception", **discovery.parse_spec(spec)[1])
    found, _ = extract_all(clip, [earsight.extractor("inception"), own])
    assert runs == [3] and set(found) == {"inception", own.key()}
    whole, reduced = found["inception"], found[own.key()]
    expected = read_pca(tmp_path / "own.safetensors", 2048).apply(whole.values)
    np.testing.assert_allclose(reduced.values, expected, atol=1e-5)
    assert np.array_equal(whole.times, reduced.times)
    assert np.array_equal(own.extract(clip).values, reduced.values)


def damaged(folder: Path, fault: str) -> Path:
    match fault:
        case "nothing there":
            return folder / "nowhere"
        case "a matrix is missing":
            (folder / "mean.npy").unlink()
        case "a pickle":
            np.save(folder / "mean.npy", np.array([Path("x")], dtype=object))
        case "other shapes":
            np.save(folder / "eigenvecs.npy", np.zeros((3, 2048)))
        case "other width":
            np.save(folder / "mean.npy", np.zeros(7))
            np.save(folder / "eigenvecs.npy", np.zeros((1024, 7)))
        case "not finite":
            np.save(folder / "mean.npy", np.full((2048, 1), np.nan))
        case "negative variance":
            np.save(folder / "eigenvals.npy", -np.ones((2048, 1)))
        case "cut off":
            path = folder / "eigenvecs.npy"
            path.write_bytes(path.read_bytes()[:-9])
        case "a file of another kind":
            (folder / "pca.safetensors").write_bytes(b"no tensors")
            return folder / "pca.safetensors"
    return folder


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (
            "nothing there",
            InputError,
            r"`pca` must be a folder with .*nowhere', which is not there",
        ),
        ("a matrix is missing", InputError, r"`pca`: the folder .* lacks mean.npy"),
        ("a pickle", WeightsError, r"`pca`: .* cannot be read: .*allow_pickle"),
        ("other shapes", WeightsError, r"eigenvectors \(k, d\); got .*\(3, 2048\)"),
        ("other width", InputError, r"features of width 2048; .* is for 7"),
        ("not finite", WeightsError, r"must hold finite numbers"),
        ("negative variance", WeightsError, r"no variance below 0"),
        ("cut off", WeightsError, r"cannot be read"),
        ("a file of another kind", WeightsError, r"cannot be read"),
    ],
)
def test_bad_matrices_are_refused(
    fault: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    place = damaged(youtube8m(tmp_path / "yt8m"), fault)
    with pytest.raises(error, match=message):
        inception.Inception(pca=str(place))


def test_the_matrix_that_was_hashed_is_the_one_that_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where somebody fits it anew between the two."""
    rng = np.random.default_rng(0)
    place, other = tmp_path / "pca.safetensors", tmp_path / "other.safetensors"
    fit_pca(rng.normal(size=(9, 6)), place, 3)
    fit_pca(rng.normal(size=(9, 6)), other, 3)
    meant, real = read_pca(place, 6), Path.read_bytes

    def overtaken(self: Path) -> bytes:
        blob = real(self)
        if self == place:
            place.write_bytes(real(other))
        return blob

    monkeypatch.setattr(Path, "read_bytes", overtaken)
    found = read_pca(place, 6)
    assert found.checksum == meant.checksum
    assert np.array_equal(found.eigenvectors, meant.eigenvectors)


# The 8-bit form


def slow_quantise(x: float) -> int:
    """As YouTube-8M's extraction writes a feature."""
    return round((min(max(x, -2.0), 2.0) + 2.0) * (255.0 / 4.0))


@given(arrays(np.float32, st.integers(1, 20), elements=st.floats(-4, 4, width=32)))
def test_codes_are_the_published_ones_and_come_back_within_a_step(x: np.ndarray) -> None:
    codes = quantise(x)
    assert codes.dtype == np.uint8
    assert codes.tolist() == [slow_quantise(float(value)) for value in x]
    assert np.abs(dequantise(codes) - np.clip(x, -2, 2)).max() <= 4 / 510 + 4 / 512 + 1e-6


def test_every_code_is_itself_again_but_for_the_published_shift() -> None:
    """Reading adds half of a 256th of the range; less than half a step of a 255th rounds away."""
    codes = np.arange(256, dtype=np.uint8)
    values = dequantise(codes)
    np.testing.assert_allclose(values, np.arange(256) * 4 / 255 - 2 + 4 / 512, atol=1e-6)
    assert np.array_equal(quantise(values - np.float32(4 / 512)), codes)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_code(bad: float) -> None:
    with pytest.raises(InputError, match=r"must be finite to be quantised"):
        quantise(np.array([0.0, bad]))


# Bad and odd inputs, for every network that looks at single frames


@pytest.mark.parametrize("kind", ["inception", "efficientnet"])
@pytest.mark.parametrize(
    "make",
    [
        lambda folder: make_clip(folder / "odd.mp4", 1.0, audio=False, size=(82, 66)),
        lambda folder: make_clip(folder / "tall.mp4", 1.0, audio=False, size=(40, 600)),
        lambda folder: make_clip(
            folder / "variable.mp4", audio=False, frame_times=[0.0, 0.02, 0.9, 1.7, 1.71]
        ),
    ],
    ids=["odd", "tall", "variable"],
)
def test_odd_clips_give_finite_features(
    kind: str, make: Callable[[Path], Path], tmp_path: Path
) -> None:
    extractor = earsight.extractor(kind, fps=1.0)
    found, report = extract_all(make(tmp_path), [extractor])
    sequence = found[kind]
    assert len(sequence) == math.ceil(report.duration - 1e-3)
    assert np.isfinite(sequence.values).all() and sequence.values.any()


def test_ten_bits_look_like_eight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same grey ramp, kept losslessly with 8 and with 10 bits, is the same to the network."""
    ramp = np.repeat(np.linspace(20, 230, 64).astype(np.uint8)[None], 48, axis=0)
    shown = []
    zero = {"embedding": np.zeros((1, 2048), np.float32)}
    monkeypatch.setattr(inception, "_network", lambda frames: shown.append(frames[0]) or zero)
    for depth in ("gray", "gray10le"):
        with av.open(str(tmp_path / f"{depth}.mkv"), "w") as out:
            stream = out.add_stream("ffv1", rate=1)
            stream.width, stream.height, stream.pix_fmt = 64, 48, depth
            frame = av.VideoFrame.from_ndarray(ramp, format="gray").reformat(format=depth)
            out.mux(stream.encode(frame))
            out.mux(stream.encode())
        inception.Inception().extract(tmp_path / f"{depth}.mkv")
    np.testing.assert_allclose(shown[1], shown[0], atol=1.5)
    assert np.ptp(shown[0]) > 150
